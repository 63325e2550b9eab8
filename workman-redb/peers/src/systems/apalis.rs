//! apalis-sqlite 1.0, the store on SQLite of apalis 1.0.
//!
//! Its `setup` sets WAL and `synchronous = OFF`, the latter on whichever one of ten connections it happens to get; that is the second
//! variant. The first runs apalis's migrations itself and opens every connection with WAL and `synchronous = FULL`, so that every
//! commit is synced, on one connection: with several, writers wait for each other by sleeping, and all rates were lower.
//!
//! A worker asks for new tasks when it is told to, and at its heartbeat, 30 s by default. What tells it is a poll strategy: an
//! interval, or SQLite's update hook as the README shows it, beside an interval of 500 ms because the hook fires before the commit and
//! what woke for it may find nothing. The hook needs the pool that apalis makes, so there it is ten connections in both variants.

use std::path::PathBuf;
use std::time::Duration;

use ::apalis::prelude::{
    BackendExt, BoxDynError, Data, Strategy, TaskBuilder, TaskSink, WorkerBuilder, WorkerBuilderExt,
};
use anyhow::{Context, Result, bail, ensure};
use apalis_sqlite::callback::HookCallbackListener;
use apalis_sqlite::{Config, SqlitePool, SqlitePoolOptions, SqliteStorage};
use futures::{StreamExt, stream};
use std::sync::{Arc, Mutex, PoisonError};

use crate::peer::{Bodies, Counts, Due, Durability, Input, Peer, Place, WEEK};
use crate::sqlite::{self, Journal};

const QUEUE: &str = "bench";
const FILE: &str = "apalis.db";
const DEFAULT: &str = "default";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    Hook,
    Every(Duration),
}

/// What locks a task before its body runs, and what does not say that it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Tasks,
    Nothing,
}

#[derive(Clone, Copy)]
struct Setting {
    at_once: usize,
    batch: usize,
    wake: Wake,
    lock: Lock,
}

const fn polling(at_once: usize, batch: usize, poll_ms: u64, lock: Lock) -> Setting {
    Setting { at_once, batch, wake: Wake::Every(Duration::from_millis(poll_ms)), lock }
}

const SETTINGS: &[(&str, Setting)] = &[
    ("16 at once, poll 100 ms", polling(16, 10, 100, Lock::Tasks)),
    ("16 at once, poll 1 ms", polling(16, 10, 1, Lock::Tasks)),
    ("16 at once, hook", Setting { at_once: 16, batch: 10, wake: Wake::Hook, lock: Lock::Tasks }),
    ("200 at once, batches of 200", polling(200, 200, 100, Lock::Tasks)),
    ("1000 at once, batches of 1000", polling(1000, 1000, 100, Lock::Tasks)),
    ("200 at once, batches of 200, no locks", polling(200, 200, 100, Lock::Nothing)),
    ("1000 at once, batches of 1000, no locks", polling(1000, 1000, 100, Lock::Nothing)),
];

/// An open store; its listener is taken by the worker.
#[derive(Clone)]
pub(super) struct Apalis {
    storage: SqliteStorage<Input>,
    listener: Arc<Mutex<Option<HookCallbackListener>>>,
    file: PathBuf,
}

impl Peer for Apalis {
    const NAME: &'static str = "apalis-sqlite";
    const DURABILITIES: &'static [Durability] = &[
        Durability { name: "full", says: "syncs each transaction (WAL, FULL)", syncs: true },
        Durability { name: DEFAULT, says: "syncs off on one of ten connections (default)", syncs: false },
    ];
    const AT_16: &'static str = "16 at once, poll 100 ms";
    const DRAIN: &'static [&'static str] = &[
        "16 at once, poll 1 ms",
        "200 at once, batches of 200",
        "1000 at once, batches of 1000",
        "200 at once, batches of 200, no locks",
        "1000 at once, batches of 1000, no locks",
    ];
    const PICKUP: &'static [&'static str] = &["16 at once, poll 100 ms", "16 at once, poll 1 ms", "16 at once, hook"];
    const TELLS_THE_END: bool = false;

    async fn open(place: Place<'_>) -> Result<Self> {
        let file = place.folder.join(FILE);
        let journal = if place.durability == DEFAULT { Journal::Unset } else { Journal::WalFull };
        let options = sqlite::options(&file, journal);
        let (pool, listener) = match super::setting(SETTINGS, place.setting)?.wake {
            Wake::Hook => {
                let (pool, listener) = SqliteStorage::connect_with_callback("sqlite::memory:")?;
                pool.set_connect_options(options);
                (pool, Some(listener))
            }
            Wake::Every(_) => {
                let connections = if place.durability == DEFAULT { 10 } else { 1 };
                (SqlitePoolOptions::new().max_connections(connections).connect_with(options).await?, None)
            }
        };
        migrate(&pool, place.durability).await?;
        let storage = SqliteStorage::new(&pool).with_config(Config::default().queue(QUEUE));
        Ok(Self { storage, listener: Arc::new(Mutex::new(listener)), file })
    }

    async fn enqueue(&self, input: Input) -> Result<()> {
        self.storage.clone().push(input).await?;
        Ok(())
    }

    async fn enqueue_many(&self, inputs: Vec<Input>, due: Due) -> Result<()> {
        let mut storage = self.storage.clone();
        match due {
            Due::Now => storage.push_bulk(inputs).await?,
            Due::NextWeek => {
                let tasks = inputs.into_iter().map(|input| TaskBuilder::new(input).run_after(WEEK).build());
                storage.push_all(stream::iter(tasks)).await?;
            }
        }
        Ok(())
    }

    async fn work(&self, setting: &str, bodies: Bodies) -> Result<()> {
        let Setting { at_once, batch, wake, lock } = super::setting(SETTINGS, setting)?;
        let strategy = match wake {
            Wake::Every(period) => Strategy::new().interval(period),
            Wake::Hook => {
                let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
                let listener = listener.context("the store was opened for another setting")?;
                Strategy::new().stream(listener.ready_chunks(batch)).interval(Duration::from_millis(500))
            }
        };
        let config = Config::default().queue(QUEUE).batch_size(batch).lock_tasks(lock == Lock::Tasks);
        let worker = WorkerBuilder::new("worker")
            .backend(self.storage.clone().with_config(config).poll_with_strategy(strategy))
            .concurrency(at_once)
            .data(bodies)
            .build(run);
        tokio::spawn(async move {
            if let Err(error) = worker.run().await {
                eprintln!("apalis: the worker ends: {error}");
            }
        });
        Ok(())
    }

    async fn enqueue_and_await(&self, _: Input) -> Result<()> {
        bail!("apalis looks for the end of a task every 500 ms and gives no id back from `push`")
    }

    async fn counts(&self) -> Result<Counts> {
        let query =
            "select count(*) filter (where status <> 'Done'), count(*) filter (where status = 'Done') from Jobs";
        sqlite::counts(&self.file, query).await
    }

    async fn close(self) -> Result<()> {
        self.storage.pool().close().await;
        Ok(())
    }
}

async fn migrate(pool: &SqlitePool, durability: &str) -> Result<()> {
    if durability == DEFAULT {
        SqliteStorage::setup(pool).await?;
        return Ok(());
    }
    SqliteStorage::migrations().run(pool).await?;
    let (synchronous,): (i64,) = sqlx::query_as("pragma synchronous").fetch_one(pool).await?;
    ensure!(synchronous == 2, "`synchronous` is FULL");
    Ok(())
}

async fn run(input: Input, bodies: Data<Bodies>) -> Result<(), BoxDynError> {
    bodies.run(&input);
    Ok(())
}
