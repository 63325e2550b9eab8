//! taquba 0.16 on a local folder: SlateDB, a log-structured store that writes objects.
//!
//! An acknowledgement waits for the next flush of the write-ahead log, every 100 ms by default. On a local folder the default object
//! store does not sync what it writes; `LocalFileSystem::with_fsync` does, files and their folders. The variant that counts syncs and
//! flushes every millisecond: a sync takes as long or longer, and all who call meanwhile are in the next flush, so neither one caller
//! nor many gain by waiting. The other variant is the default of both.
//!
//! Works are claimed in batches of as many as may run at once and acknowledged one by one, each of which waits for a flush, so what
//! drains fastest is to run very many at once. Delayed works have no call for batches; many enqueues in one `commit_effects` do it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::taquba::object_store::local::LocalFileSystem;
use ::taquba::{
    EnqueueOptions, EnqueueRequest, JobRecord, LeaseHandle, OpenOptions, Queue, SettlementEffects, WaitOutcome, Worker,
    WorkerError, run_worker_concurrent,
};
use anyhow::{Result, bail};

use crate::peer::{Bodies, Counts, Due, Durability, Input, Peer, Place, WEEK};

const QUEUE: &str = "bench";
const DEFAULT: &str = "default";

/// How many run at once.
const SETTINGS: &[(&str, usize)] = &[
    ("1 at once", 1),
    ("16 at once", 16),
    ("64 at once", 64),
    ("256 at once", 256),
    ("1000 at once", 1000),
    ("5000 at once", 5000),
];

/// An open queue.
#[derive(Clone)]
pub(super) struct Taquba {
    queue: Arc<Queue>,
}

struct Noop(Bodies);

impl Worker for Noop {
    async fn process(&self, job: &JobRecord, _: &LeaseHandle) -> Result<(), WorkerError> {
        self.0.run(&serde_json::from_slice(&job.payload)?);
        Ok(())
    }
}

impl Peer for Taquba {
    const NAME: &'static str = "taquba";
    const DURABILITIES: &'static [Durability] = &[
        Durability { name: "fsync", says: "syncs each flush (local files with fsync, flush 1 ms)", syncs: true },
        Durability { name: DEFAULT, says: "does not sync (default: local files, flush 100 ms)", syncs: false },
    ];
    const AT_16: &'static [&'static str] = &["16 at once"];
    const DEFAULT: &'static [&'static str] = &["1 at once"];
    const DRAIN: &'static [&'static str] = &["64 at once", "256 at once", "1000 at once", "5000 at once"];
    const PICKUP: &'static [&'static str] = &["16 at once"];
    const TELLS_THE_END: bool = true;

    async fn open(place: Place<'_>) -> Result<Self> {
        let files = LocalFileSystem::new_with_prefix(place.folder)?;
        let (files, options) = match place.durability {
            DEFAULT => (files, OpenOptions::default()),
            _ => (files.with_fsync(true), OpenOptions::default().flush_interval(Duration::from_millis(1))),
        };
        let queue = Queue::open_with_options(Arc::new(files), "taquba", options).await?;
        Ok(Self { queue: Arc::new(queue) })
    }

    async fn enqueue(&self, input: Input) -> Result<()> {
        self.queue.enqueue(QUEUE, serde_json::to_vec(&input)?).await?;
        Ok(())
    }

    async fn enqueue_many(&self, inputs: Vec<Input>, due: Due) -> Result<()> {
        let payloads = inputs.iter().map(serde_json::to_vec).collect::<Result<Vec<_>, _>>()?;
        match due {
            Due::Now => {
                self.queue.enqueue_batch(QUEUE, payloads).await?;
            }
            Due::NextWeek => {
                let options = EnqueueOptions::default().run_at(SystemTime::now() + WEEK);
                let requests = payloads.into_iter().map(|payload| EnqueueRequest {
                    queue: QUEUE.to_owned(),
                    payload,
                    options: options.clone(),
                });
                self.queue.commit_effects(SettlementEffects::default().enqueues(requests.collect())).await?;
            }
        }
        Ok(())
    }

    async fn work(&self, setting: &str, bodies: Bodies) -> Result<()> {
        let at_once = super::setting(SETTINGS, setting)?;
        let queue = self.queue.clone();
        tokio::spawn(async move {
            let poll = Duration::from_secs(1);
            let worker = Arc::new(Noop(bodies));
            let ended = run_worker_concurrent(&queue, QUEUE, worker, at_once, poll, std::future::pending()).await;
            if let Err(error) = ended {
                eprintln!("taquba: the worker ends: {error}");
            }
        });
        Ok(())
    }

    async fn enqueue_and_await(&self, input: Input) -> Result<()> {
        let id = self.queue.enqueue(QUEUE, serde_json::to_vec(&input)?).await?;
        match self.queue.wait_for_completion(&id).await? {
            // Without retention a job that is done already is gone.
            WaitOutcome::Done(_) | WaitOutcome::NotFound => Ok(()),
            WaitOutcome::Dead(_) | WaitOutcome::Cancelled => bail!("the job came to a bad end"),
        }
    }

    async fn counts(&self) -> Result<Counts> {
        // The view shows transitions that no flush has written yet; a write that waits for its flush comes after all of them.
        let stats = self.queue.view().stats(QUEUE).await?;
        self.queue.kv_put(b"barrier", b"").await?;
        let waiting = stats.pending + stats.claimed + stats.scheduled;
        Ok(Counts { waiting: waiting.unsigned_abs(), done: stats.done.unsigned_abs() })
    }

    async fn close(self) -> Result<()> {
        if let Some(queue) = Arc::into_inner(self.queue) {
            queue.close().await?;
        }
        Ok(())
    }
}
