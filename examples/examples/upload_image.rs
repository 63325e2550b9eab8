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
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde::{Deserialize, Serialize};
use workman_core::{Backoff, ThreadRuntime, WorkManager, worker};
use workman_examples::cli::{self, Failure};
use workman_examples::loopback::{self, Server};
use workman_redb::RedbStore;

/// Where something is to be found.
#[derive(Debug, Serialize, Deserialize)]
struct Url(String);

/// Uploads one image and says where it went.
#[worker(permanent = loopback::is_permanent)]
fn upload_image(#[state] http: ureq::Agent, #[state] server: SocketAddr, path: PathBuf) -> Result<Url, ureq::Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let url = format!("http://{server}/{}", loopback::encoded(&name));
    http.put(&url).send(&fs::read(&path)?)?;
    Ok(Url(url))
}

/// Uploads an image, and says where it went.
#[derive(Parser)]
struct Options {
    /// The image
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/images/hills.png"))]
    image: PathBuf,
}

async fn example(Options { image }: Options) -> Result<(), Failure> {
    let server = Server::start(|request| {
        println!(
            "the server has {} bytes of {}",
            request.body_length().unwrap_or_default(),
            loopback::name_of(request)
        );
        Ok((201, Vec::new()))
    })?;
    server.refuse(1);

    let store = cli::place("upload_image")?.join("works.redb");
    println!("the work is kept in {}", store.display());
    let manager = WorkManager::builder(RedbStore::open(store)?)
        .runtime(ThreadRuntime::new())
        .state(loopback::client())
        .state(server.address())
        .start()?;

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
    cli::run(example(Options::parse()))
}
