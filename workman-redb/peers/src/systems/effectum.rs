//! effectum 0.7: SQLite, one writer thread that puts up to 50 operations into a transaction.
//!
//! Its queue wants `PRAGMA journal = wal`, which SQLite does not know (the pragma is `journal_mode`), so the file stays in the
//! journal mode DELETE; with `synchronous = NORMAL`, which effectum sets, a commit in that mode syncs the journal and the file. That
//! is its default and the variant that counts. A file that was made with a write-ahead log keeps it, and NORMAL does not sync at a
//! commit then: the second variant, faster and not durable. effectum sets `synchronous` itself, so a synced log cannot be had.
//!
//! A worker fetches works when fewer than `min_concurrency` run, up to `max_concurrency`. The two are the only settings there are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::effectum::{Error, Job, JobRunner, Queue, RunningJob, Worker};
use anyhow::{Context, Result, bail};
use sqlx::sqlite::SqliteJournalMode;
use sqlx::{Connection, SqliteConnection};

use crate::peer::{Bodies, Counts, Due, Durability, Input, Peer, Place, WEEK};
use crate::sqlite::{self, Journal};

const TYPE: &str = "noop";
const FILE: &str = "effectum.db";
const WAL: &str = "wal";

/// At most so many works at once, and the number below which more are fetched.
const SETTINGS: &[(&str, (u16, u16))] = &[
    ("1 at once, the default", (1, 1)),
    ("16 at once", (16, 16)),
    ("64 at once", (64, 64)),
    ("200 at once", (200, 200)),
    ("256 at once, fetch below 128", (256, 128)),
    ("1000 at once, fetch below 500", (1000, 500)),
    ("1000 at once", (1000, 1000)),
];

/// An open queue, and its worker once there is one.
#[derive(Clone)]
pub(super) struct Effectum {
    queue: Arc<Queue>,
    workers: Arc<Mutex<Vec<Worker>>>,
    file: std::path::PathBuf,
}

impl Peer for Effectum {
    const NAME: &'static str = "effectum";
    const DURABILITIES: &'static [Durability] = &[
        Durability { name: "default", says: "syncs each transaction (default: DELETE, NORMAL)", syncs: true },
        Durability { name: WAL, says: "does not sync (WAL, NORMAL)", syncs: false },
    ];
    const AT_16: &'static [&'static str] = &["16 at once"];
    const DEFAULT: &'static [&'static str] = &["1 at once, the default"];
    const DRAIN: &'static [&'static str] =
        &["64 at once", "200 at once", "256 at once, fetch below 128", "1000 at once, fetch below 500", "1000 at once"];
    const PICKUP: &'static [&'static str] = &["16 at once", "200 at once"];
    const TELLS_THE_END: bool = false;

    async fn open(place: Place<'_>) -> Result<Self> {
        let file = place.folder.join(FILE);
        if place.durability == WAL && !file.exists() {
            let options = sqlite::options(&file, Journal::Unset).journal_mode(SqliteJournalMode::Wal);
            SqliteConnection::connect_with(&options).await?.close().await?;
        }
        let queue = Queue::new(&file).await.context("effectum opens its queue")?;
        Ok(Self { queue: Arc::new(queue), workers: Arc::default(), file })
    }

    async fn enqueue(&self, input: Input) -> Result<()> {
        Job::builder(TYPE).json_payload(&input)?.add_to(&self.queue).await?;
        Ok(())
    }

    async fn enqueue_many(&self, inputs: Vec<Input>, due: Due) -> Result<()> {
        let next_week = time::OffsetDateTime::now_utc() + WEEK;
        let jobs = inputs.iter().map(|input| {
            let job = Job::builder(TYPE).json_payload(input)?;
            Ok(match due {
                Due::Now => job.build(),
                Due::NextWeek => job.run_at(next_week).build(),
            })
        });
        self.queue.add_jobs(jobs.collect::<Result<_>>()?).await?;
        Ok(())
    }

    async fn work(&self, setting: &str, bodies: Bodies) -> Result<()> {
        let (at_once, fetch_below) = super::setting(SETTINGS, setting)?;
        let worker = Worker::builder(&self.queue, bodies)
            .max_concurrency(at_once)
            .min_concurrency(fetch_below)
            .jobs([JobRunner::builder(TYPE, run).build()])
            .build()
            .await?;
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        Ok(())
    }

    async fn enqueue_and_await(&self, _: Input) -> Result<()> {
        bail!("effectum has nothing to await the end of a job with")
    }

    async fn counts(&self) -> Result<Counts> {
        let query = "select (select count(*) from active_jobs), \
                     (select count(*) from jobs) - (select count(*) from active_jobs)";
        sqlite::counts(&self.file, query).await
    }

    async fn close(self) -> Result<()> {
        self.queue.close(Duration::from_secs(60)).await?;
        Ok(())
    }
}

async fn run(job: RunningJob, bodies: Bodies) -> Result<(), Error> {
    bodies.run(&job.json_payload()?);
    Ok(())
}
