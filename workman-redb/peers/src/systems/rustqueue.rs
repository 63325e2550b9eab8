//! rustqueue 0.3 on redb 2, whose commits it leaves at `Durability::Immediate`: everything is synced when it is acknowledged.
//!
//! Two variants, both durable. By default each push and each acknowledgement commits alone. With write coalescing, pushes and
//! acknowledgements wait in a buffer for 1 ms or until 64 are there, and are answered after the commit of the batch (read in
//! `storage/buffered_redb.rs`), which is far faster from many callers and slower from one.
//!
//! Its embedded worker, `run_worker`, pulls one job, runs it, acknowledges it, and sleeps for 500 ms when there is none. "16 workers"
//! are sixteen such loops. The other settings are what its documented parts, `pull` and `ack_batch`, give in one's own loop: a batch
//! pulled, run and acknowledged at once, and a shorter sleep. `QueueManager`, on which `RustQueue` is a thin cover, is used for all,
//! because the calls for batches are only there.

use std::sync::Arc;
use std::time::Duration;

use ::rustqueue::engine::queue::{BatchAckItem, BatchPushItem};
use ::rustqueue::engine::scheduler::start_scheduler;
use ::rustqueue::storage::{BufferedRedbConfig, BufferedRedbStorage, RedbStorage};
use ::rustqueue::{Job, JobOptions, QueueManager, StorageBackend};
use anyhow::{Result, bail};
use serde::Deserialize;

use crate::peer::{Bodies, Counts, Due, Durability, Input, Peer, Place, WEEK};

const QUEUE: &str = "bench";
const NOOP: &str = "noop";
const COALESCING: &str = "coalescing";

#[derive(Clone, Copy)]
struct Setting {
    loops: usize,
    pull: u32,
    sleep: Duration,
}

const fn loops(loops: usize, pull: u32, sleep_ms: u64) -> Setting {
    Setting { loops, pull, sleep: Duration::from_millis(sleep_ms) }
}

const SETTINGS: &[(&str, Setting)] = &[
    ("1 worker", loops(1, 1, 500)),
    ("16 workers", loops(16, 1, 500)),
    ("1 worker, poll 1 ms", loops(1, 1, 1)),
    ("own loop, pulls of 16", loops(1, 16, 1)),
    ("own loop, pulls of 256", loops(1, 256, 1)),
    ("own loop, pulls of 1000", loops(1, 1000, 1)),
    ("2 own loops, pulls of 256", loops(2, 256, 1)),
];

/// An open queue.
#[derive(Clone)]
pub(super) struct RustQueue {
    manager: Arc<QueueManager>,
}

impl Peer for RustQueue {
    const NAME: &'static str = "rustqueue";
    const DURABILITIES: &'static [Durability] = &[
        Durability { name: "default", says: "syncs each commit (default: redb 2 Immediate)", syncs: true },
        Durability { name: COALESCING, says: "syncs each commit (redb 2 Immediate, coalesces for 1 ms)", syncs: true },
    ];
    const AT_16: &'static [&'static str] = &["16 workers", "own loop, pulls of 16"];
    const DEFAULT: &'static [&'static str] = &["1 worker"];
    const DRAIN: &'static [&'static str] =
        &["own loop, pulls of 256", "own loop, pulls of 1000", "2 own loops, pulls of 256"];
    const PICKUP: &'static [&'static str] = &["16 workers", "1 worker, poll 1 ms"];
    const TELLS_THE_END: bool = false;

    async fn open(place: Place<'_>) -> Result<Self> {
        let redb = Arc::new(RedbStorage::new(place.folder.join("rustqueue.redb"))?);
        let storage: Arc<dyn StorageBackend> = match place.durability {
            COALESCING => {
                Arc::new(BufferedRedbStorage::new(redb, BufferedRedbConfig { interval_ms: 1, max_batch: 64 }))
            }
            _ => redb,
        };
        Ok(Self { manager: Arc::new(QueueManager::new(storage)) })
    }

    async fn enqueue(&self, input: Input) -> Result<()> {
        self.manager.push(QUEUE, NOOP, serde_json::to_value(input)?, None).await?;
        Ok(())
    }

    async fn enqueue_many(&self, inputs: Vec<Input>, due: Due) -> Result<()> {
        let options = match due {
            Due::Now => None,
            Due::NextWeek => {
                Some(JobOptions { delay_ms: u64::try_from(WEEK.as_millis()).ok(), ..JobOptions::default() })
            }
        };
        let items = inputs.into_iter().map(|input| {
            Ok(BatchPushItem { name: NOOP.to_owned(), data: serde_json::to_value(input)?, options: options.clone() })
        });
        self.manager.push_batch(QUEUE, items.collect::<Result<_>>()?).await?;
        Ok(())
    }

    async fn work(&self, setting: &str, bodies: Bodies) -> Result<()> {
        let setting = super::setting(SETTINGS, setting)?;
        // What `run_worker` starts as well, with its defaults: it looks for delayed and for stalled jobs.
        drop(start_scheduler(self.manager.clone(), 1000, 30_000, Default::default()));
        for _ in 0..setting.loops {
            let (manager, bodies) = (self.manager.clone(), bodies.clone());
            tokio::spawn(async move {
                loop {
                    match pull_run_acknowledge(&manager, setting.pull, &bodies).await {
                        Ok(0) => tokio::time::sleep(setting.sleep).await,
                        Ok(_) => {}
                        Err(error) => {
                            eprintln!("rustqueue: a worker ends: {error:#}");
                            return;
                        }
                    }
                }
            });
        }
        Ok(())
    }

    async fn enqueue_and_await(&self, _: Input) -> Result<()> {
        bail!("rustqueue has nothing to await the end of a job with")
    }

    async fn counts(&self) -> Result<Counts> {
        let counts = self.manager.get_queue_stats(QUEUE).await?;
        let waiting = counts.waiting + counts.active + counts.delayed + counts.failed + counts.blocked;
        Ok(Counts { waiting, done: counts.completed })
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

async fn pull_run_acknowledge(manager: &QueueManager, pull: u32, bodies: &Bodies) -> Result<usize> {
    let jobs: Vec<Job> = manager.pull(QUEUE, pull).await?;
    for job in &jobs {
        bodies.run(&Input::deserialize(&job.data)?);
    }
    match jobs.as_slice() {
        [] => {}
        [job] => manager.ack(job.id, None).await?,
        _ => {
            let items = jobs.iter().map(|job| BatchAckItem { id: job.id, result: None });
            let refused = manager.ack_batch(items.collect()).await?.iter().filter(|result| !result.ok).count();
            if refused > 0 {
                bail!("{refused} acknowledgements were refused");
            }
        }
    }
    Ok(jobs.len())
}
