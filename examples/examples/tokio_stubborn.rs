//! A blocking worker that never looks whether it is to stop, and a program that ends all the same.
//!
//! ```text
//! cargo run -p workman-examples --features tokio --example tokio_stubborn
//! ```
//! What to watch: the work is given back after the grace period, and the program ends at once. Under `#[tokio::main]` it would
//! wait for the worker's thread, and that for ever.

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use workman_core::{MemoryStore, WorkManager, worker};

/// Waits for nothing that ever comes, like a call into a library that hangs.
#[worker]
fn hang(#[state] started: mpsc::Sender<()>) {
    let _ = started.send(());
    loop {
        thread::park();
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (started, hanging) = mpsc::channel::<()>();
    let manager = WorkManager::builder(MemoryStore::new()).state(started).start()?;
    manager.enqueue(hang::request()).await?;
    tokio::task::spawn_blocking(move || hanging.recv()).await??;
    let report = manager.shutdown(Duration::from_millis(100)).await;
    println!("given back: {}", report.given_up.len());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let tokio = tokio::runtime::Runtime::new()?;
    let result = tokio.block_on(run()); // what `#[tokio::main] async fn main` did
    tokio.shutdown_background(); // waits for no blocking worker
    result
}
