//! The program for tokio on the README, word for word: it copies a file, and ends in order when it is told to.
//!
//! ```text
//! echo hello > notes.txt; mkdir backup
//! cargo run -p workman-examples --features tokio --example tokio_main &
//! kill -TERM $!
//! ```
//! What to watch: the worker is tokio's, and so is the wait for its output, or for SIGTERM. Without the file the copy is tried
//! again, later and later; `kill -9` the program meanwhile, and its next start goes on with that.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use workman_core::{WorkManager, worker};
use workman_redb::RedbStore;

/// Copies a file and says how large it was. If it fails, it is tried again, later and later.
#[worker]
async fn back_up(file: PathBuf, to: PathBuf) -> Result<u64, std::io::Error> {
    tokio::fs::copy(file, to).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let manager = WorkManager::builder(RedbStore::open("app.redb")?).start()?; // workers run on this tokio
    let copy = manager.enqueue(back_up::request("notes.txt".into(), "backup/notes.txt".into())).await?;
    println!("stored"); // whatever ends the program now, its next start goes on with it
    tokio::select! {
        bytes = copy.output() => println!("{} bytes", bytes?), // waits through all attempts
        _ = terminate.recv() => {}                             // SIGTERM
    }
    manager.shutdown(Duration::from_secs(10)).await; // nothing new starts; what does not end in time is given back
    Ok(())
}
