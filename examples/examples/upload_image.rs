//! Define work, enqueue it, get a typed answer back.
//!
//! ```text
//! cargo run --example upload_image
//! cargo run --example upload_image -- my-cat.png
//! ```
//! What to watch: the server refuses the first request. Nobody handles that here: the attempt has failed, and a second later
//! the work is tried again. `upload.output()` waits meanwhile, without polling.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use workman_core::{Backoff, ThreadRuntime, WorkManager, worker};
use workman_examples::cli::{self, Args, Failure};
use workman_examples::http::{self, HttpError, Server};
use workman_redb::RedbStore;

/// Where something is to be found.
#[derive(Debug, Serialize, Deserialize)]
struct Url(String);

/// Uploads one image and says where it went.
#[worker(permanent = HttpError::is_permanent)]
fn upload_image(#[state] server: SocketAddr, path: PathBuf) -> Result<Url, HttpError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    http::put(server, &format!("/{name}"), &fs::read(&path)?)?;
    Ok(Url(format!("http://{server}/{name}")))
}

async fn example(args: Args) -> Result<(), Failure> {
    let image = args.rest()?.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("images/hills.png"));
    let server = Server::start(|request| {
        println!("the server has {} bytes of {}", request.body.len(), request.path);
        Ok((201, Vec::new()))
    })?;
    server.refuse(1);

    let store = cli::place("upload_image")?.join("works.redb");
    println!("the work is kept in {}", store.display());
    let manager =
        WorkManager::builder(RedbStore::open(store)?).runtime(ThreadRuntime::new()).state(server.address()).start()?;

    let request = upload_image::request(image).backoff(Backoff::exponential(Duration::from_secs(1)));
    let upload = manager.enqueue(request).await?; // durable once this returns
    println!("{} is on disk", upload.id());
    let Url(url) = upload.output().await?; // typed, waits without polling

    let info = upload.info().await?.ok_or("the work is gone")?;
    println!("{url} after {} attempts; the first said: {}", info.runs, info.last_error().ok_or("it did not fail")?);
    manager.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

fn main() -> ExitCode {
    cli::run(include_str!("upload_image.rs"), example)
}
