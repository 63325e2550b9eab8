//! A long work that goes on where it stopped, however the program ended.
//!
//! ```text
//! cargo run --example count -- --to 1000 --pace 1000
//! ```
//! What to watch: close it half-way (Ctrl-C, or `kill -9`) and run it again. It goes on from its last checkpoint, which is
//! a second old at the most. `--to N` says how far, `--pace MS` how fast, `--delay MS` when it begins.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use workman_core::{Enqueued, ExistingWorkPolicy, ThreadRuntime, WorkContext, WorkError, WorkManager, worker};
use workman_examples::cli::{self, Failure, milliseconds};
use workman_redb::RedbStore;

#[derive(Serialize, Deserialize)]
struct Progress {
    done: u32,
    of: u32,
}

/// Counts, slowly.
#[worker]
async fn count(cx: &WorkContext, to: u32, pace: Duration) -> Result<u32, WorkError> {
    let from = cx.checkpoint::<u32>()?.unwrap_or(0); // where an earlier run of this work stopped
    for i in from + 1..=to {
        cx.sleep(pace).await?; // virtual in tests; `Stopped` when the work is stopped: an interruption, no failure
        cx.set_progress(&Progress { done: i, of: to })?; // observers see it at once
        cx.save_checkpoint(&i)?; // rides on the next commit, a second later at most; `cx.flush()` for now
    }
    Ok(to)
}

/// Counts as a work that goes on where it stopped, however the program ended.
#[derive(Parser)]
struct Options {
    /// How far
    #[arg(long, default_value_t = 10)]
    to: u32,
    /// Milliseconds from one number to the next
    #[arg(long, value_name = "MS", default_value = "200", value_parser = milliseconds)]
    pace: Duration,
    /// Milliseconds before it begins
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    delay: Duration,
    /// The file of the works
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

async fn example(Options { to, pace, delay, store }: Options) -> Result<(), Failure> {
    let store = store.map_or_else(|| cli::place("count").map(|place| place.join("works.redb")), Ok)?;
    println!("counting in {}", store.display());
    let manager = WorkManager::builder(RedbStore::open(store)?).runtime(ThreadRuntime::new()).start()?;

    let request = count::request(to, pace).initial_delay(delay).tag("worker_test");
    let counting = manager.enqueue_unique("count", ExistingWorkPolicy::Keep, request).await?;
    if let Enqueued::Kept(id) = counting.how {
        println!("going on with {id}");
    }
    let counting = counting.handle.ok_or("another worker has the name")?;
    let mut shown = 0;
    let mut infos = counting.watch();
    while let Some(info) = infos.next().await {
        if let Some(progress) = info.progress {
            let Progress { done, of } = progress.decode()?;
            if done != shown {
                println!("{done} of {of}");
            }
            shown = done;
        }
    }
    println!("counted to {}", counting.output().await?);
    manager.shutdown(Duration::from_secs(1)).await;
    Ok::<_, Failure>(())
}

fn main() -> ExitCode {
    cli::run(example(Options::parse()))
}
