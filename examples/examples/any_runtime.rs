//! The same workers on built-in threads, on tokio and on smol, from a plain `fn main`.
//!
//! ```text
//! cargo run -p workman-examples --example any_runtime                          # threads: no runtime needed
//! cargo run -p workman-examples --example any_runtime --features tokio,smol    # all three
//! ```
//! What to watch: one program, and only the line that names the runtime differs. A blocking worker runs beside an async one
//! and does not stall it. With tokio, a worker uses tokio's timer and a tokio socket, though `main` knows nothing of tokio.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use workman_core::{Runtime, ThreadRuntime, WorkContext, WorkError, WorkManager, worker};
use workman_examples::cli::{self, Failure};
use workman_examples::process::empty_folder;
use workman_redb::RedbStore;

/// Blocks a thread, as a call into a C library would.
#[worker]
fn weigh(text: String) -> (String, usize) {
    let name = thread::current().name().unwrap_or("a thread").to_owned();
    (name, text.len())
}

/// Waits without a thread.
#[worker]
async fn fetch(cx: &WorkContext, text: String) -> Result<String, WorkError> {
    cx.sleep(Duration::from_millis(20)).await?;
    Ok(text)
}

/// Joins what both gave.
#[worker]
fn label(#[prerequisites] parts: (String, (String, usize))) -> String {
    let (text, (thread, weight)) = parts;
    format!("{text} weighs {weight}, says {thread}")
}

/// The program. It does not know what it runs on.
async fn run(runtime: impl Runtime) -> Result<(), Failure> {
    let name = runtime.name();
    let folder = empty_folder("any-runtime")?;
    let store = RedbStore::open(folder.join("works.redb"))?;
    let manager = WorkManager::builder(store).runtime(runtime).start()?;
    let chain = manager
        .begin_with((fetch::request("a parcel".into()), weigh::request("a parcel".into())))
        .then(label::request())
        .enqueue()
        .await?;
    let last = chain.last.ok_or("a new chain has a last step")?;
    println!("{name}: {}", last.output().await?);
    #[cfg(feature = "tokio")]
    if name == "tokio" {
        on_tokio::run(&manager).await?;
    }
    manager.shutdown(Duration::from_secs(1)).await;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

async fn example() -> Result<(), Failure> {
    println!("the works are in {}, and are removed at the end", std::env::temp_dir().display());
    run(ThreadRuntime::new()).await?;
    #[cfg(feature = "tokio")]
    {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        run(workman_core::TokioRuntime::new(tokio.handle().clone())).await?;
    }
    #[cfg(feature = "smol")]
    run(workman_core::SmolRuntime::new()).await?;
    Ok(())
}

/// What only works on tokio.
#[cfg(feature = "tokio")]
mod on_tokio {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener};
    use std::thread;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;
    use workman_core::{WorkError, WorkManager, worker};
    use workman_examples::cli::Failure;

    /// Waits on tokio's timer and listens to a tokio socket.
    #[worker]
    async fn greet(server: SocketAddr) -> Result<String, WorkError> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut greeting = String::new();
        TcpStream::connect(server).await?.read_to_string(&mut greeting).await?;
        Ok(greeting)
    }

    /// The host is a plain socket on a thread: tokio's reactor runs where the workers do, and not here.
    pub(super) async fn run(manager: &WorkManager) -> Result<(), Failure> {
        let server = TcpListener::bind(("127.0.0.1", 0))?;
        let address = server.local_addr()?;
        let host = thread::spawn(move || server.accept()?.0.write_all(b"good morning over a tokio socket"));
        let greeting = manager.enqueue(greet::request(address)).await?;
        println!("  {}", greeting.output().await?);
        host.join().map_err(|_| "the host panicked")??;
        Ok(())
    }
}

fn main() -> ExitCode {
    cli::run(example())
}
