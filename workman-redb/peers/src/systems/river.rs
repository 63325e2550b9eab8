//! riverqueue 0.5 on SQLite: the official port of River.
//!
//! Opened as its documentation says, in WAL mode; SQLite's default of `synchronous = FULL`, which it leaves alone, syncs every commit
//! and is named here all the same. There is one variant, since this is both the default and durable.
//!
//! By default a queue fetches at most every 100 ms, which bounds everything it does, and learns of inserts from a table that it polls
//! as often. The cool-down and the poll go down to 1 ms, and the number of workers up to 10,000.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, ensure};
use riverqueue::migrate::SqliteMigrator;
use riverqueue::sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use riverqueue::{
    Client, EventKind, InsertOpts, Job, JobArgs, QueueConfig, RunHandle, WorkContext, WorkOutcome, Workers, jiff,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::peer::{Bodies, Counts, Due, Durability, Input, Peer, Place, WEEK};
use crate::sqlite::{self, Journal};

const FILE: &str = "river.db";

#[derive(Clone, Copy)]
struct Setting {
    workers: usize,
    cooldown: Duration,
    poll: Duration,
}

const fn every(workers: usize, cooldown_ms: u64, poll_ms: u64) -> Setting {
    Setting { workers, cooldown: Duration::from_millis(cooldown_ms), poll: Duration::from_millis(poll_ms) }
}

const SETTINGS: &[(&str, Setting)] = &[
    ("10 workers", every(10, 100, 1000)),
    ("16 workers", every(16, 100, 1000)),
    ("16 workers, cool-down 1 ms", every(16, 1, 1000)),
    ("16 workers, cool-down and poll 1 ms", every(16, 1, 1)),
    ("256 workers, cool-down 1 ms", every(256, 1, 1000)),
    ("1000 workers, cool-down 1 ms", every(1000, 1, 1000)),
    ("10000 workers, cool-down 1 ms", every(10_000, 1, 1000)),
];

#[derive(Clone, Debug, Deserialize, JobArgs, Serialize)]
#[river(kind = "noop")]
#[serde(transparent)]
struct Noop {
    input: Input,
}

/// A client that inserts until there is one that works and inserts as well.
#[derive(Clone)]
pub(super) struct River {
    pool: SqlitePool,
    inserting: Client,
    working: Arc<OnceLock<Working>>,
    file: PathBuf,
}

struct Working {
    client: Client,
    run: Mutex<RunHandle>,
}

impl River {
    fn client(&self) -> &Client {
        self.working.get().map_or(&self.inserting, |working| &working.client)
    }
}

impl Peer for River {
    const NAME: &'static str = "riverqueue";
    const DURABILITIES: &'static [Durability] =
        &[Durability { name: "default", says: "syncs each transaction (default: WAL, FULL)", syncs: true }];
    const AT_16: &'static [&'static str] = &["16 workers", "16 workers, cool-down 1 ms"];
    const DEFAULT: &'static [&'static str] = &["10 workers"];
    const DRAIN: &'static [&'static str] =
        &["256 workers, cool-down 1 ms", "1000 workers, cool-down 1 ms", "10000 workers, cool-down 1 ms"];
    const PICKUP: &'static [&'static str] =
        &["16 workers", "16 workers, cool-down 1 ms", "16 workers, cool-down and poll 1 ms"];
    const TELLS_THE_END: bool = true;

    async fn open(place: Place<'_>) -> Result<Self> {
        let file = place.folder.join(FILE);
        let pool = SqlitePoolOptions::new().connect_with(sqlite::options(&file, Journal::WalFull)).await?;
        SqliteMigrator::new(pool.clone()).migrate_up().await?;
        let inserting = Client::builder(pool.clone()).allow_unregistered_job_kinds().build()?;
        Ok(Self { pool, inserting, working: Arc::default(), file })
    }

    async fn enqueue(&self, input: Input) -> Result<()> {
        self.client().insert(Noop { input }).await?;
        Ok(())
    }

    async fn enqueue_many(&self, inputs: Vec<Input>, due: Due) -> Result<()> {
        let options = match due {
            Due::Now => InsertOpts::default(),
            Due::NextWeek => InsertOpts::default().with_scheduled_at(jiff::Timestamp::now() + WEEK),
        };
        self.client().insert_many(inputs.into_iter().map(|input| (Noop { input }, options.clone()))).await?;
        Ok(())
    }

    async fn work(&self, setting: &str, bodies: Bodies) -> Result<()> {
        let Setting { workers: at_once, cooldown, poll } = super::setting(SETTINGS, setting)?;
        let mut workers = Workers::new();
        workers.add_fn(move |_: WorkContext, job: Job<Noop>| {
            bodies.run(&job.args.input);
            async { Ok::<_, std::io::Error>(WorkOutcome::Complete) }
        })?;
        let client = Client::builder(self.pool.clone())
            .workers(workers)
            .fetch_cooldown(cooldown)
            .queue("default", QueueConfig::new(at_once).with_fetch_cooldown(cooldown).with_fetch_poll_interval(poll))
            .build()?;
        let run = client.start()?;
        let started_twice = self.working.set(Working { client, run: Mutex::new(run) }).is_err();
        ensure!(!started_twice, "the worker was started before");
        Ok(())
    }

    async fn enqueue_and_await(&self, input: Input) -> Result<()> {
        let client = self.client();
        let mut ends = client.subscribe(&[EventKind::JobCompleted])?;
        let inserted = client.insert(Noop { input }).await?;
        while ends.recv().await?.as_job().map(|event| event.job.id) != Some(inserted.id()) {}
        Ok(())
    }

    async fn counts(&self) -> Result<Counts> {
        let query = "select count(*) filter (where state <> 'completed'), \
                     count(*) filter (where state = 'completed') from river_job";
        sqlite::counts(&self.file, query).await
    }

    async fn close(self) -> Result<()> {
        if let Some(working) = self.working.get() {
            working.run.lock().await.stop().await?;
        }
        self.pool.close().await;
        Ok(())
    }
}
