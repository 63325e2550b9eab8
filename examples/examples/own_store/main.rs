//! A store of one's own: [`store::SnapshotStore`], a hundred lines that keep every promise of the contract.
//!
//! ```text
//! cargo run --example own_store
//! cargo test -p workman-examples --test own_store      # its contract, clause by clause
//! ```
//! What to watch: a store knows no policy. It loads rows, applies what the planner decided, and swaps in the result; chains,
//! retries and rescue work without a line about them. The second start finds what the first left.

mod store;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use workman_core::{Backoff, ThreadRuntime, WorkContext, WorkManager, WorkQuery, worker};
use workman_examples::cli::{self, Failure};

use store::SnapshotStore;

/// Fails the first time.
#[worker(backoff = Backoff::linear(Duration::from_millis(50)))]
fn knead(cx: &WorkContext, grams: u32) -> Result<u32, String> {
    if cx.attempt() == 0 { Err("the yeast is asleep".into()) } else { Ok(grams) }
}

/// Takes what the kneaders gave.
#[worker]
fn bake(#[prerequisites] doughs: Vec<u32>) -> String {
    format!("a loaf of {} g", doughs.iter().sum::<u32>())
}

async fn example() -> Result<(), Failure> {
    println!("everything is in memory");
    let store = Arc::new(SnapshotStore::new());
    let manager = WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new()).start()?;
    let chain = manager.begin_with([knead::request(400), knead::request(350)]).then(bake::request()).enqueue().await?;
    let loaf = chain.last.ok_or("a new chain has a last step")?;
    println!("{}", loaf.output().await?);
    manager.shutdown(Duration::from_secs(1)).await;

    let manager = WorkManager::builder(store.reopen()).runtime(ThreadRuntime::new()).start()?;
    for work in manager.query(WorkQuery::all()).await? {
        println!("after a restart: {} has {}, attempts: {}", work.worker, work.state, work.runs);
    }
    manager.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

fn main() -> ExitCode {
    cli::run(example())
}
