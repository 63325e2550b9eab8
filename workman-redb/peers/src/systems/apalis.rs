//! apalis-sqlite 1.0, the store on SQLite of apalis 1.0.
//!
//! Its `setup` sets WAL and `synchronous = OFF`, the latter on whichever one of ten connections it happens to get; that is the second
//! variant. The first does all of that but opens every connection with `synchronous = FULL`, so that every commit is synced.
//!
//! A worker asks for new tasks when it is told to, and at its heartbeat, 30 s by default. What tells it is a poll strategy: an
//! interval, or SQLite's update hook as the README shows it, beside an interval of 500 ms because the hook fires before the commit and
//! what woke for it may find nothing. An interval that is shorter than a fetch loses its wake-up and then waits for the heartbeat, as
//! those of 1 ms and of 10 ms did on a busy disk, so 100 ms is the shortest one here.
//!
//! What drains fastest is large batches, with or without a mark on the tasks that run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::apalis::prelude::{
    BackendExt, BoxDynError, Data, Strategy, TaskBuilder, TaskSink, WorkerBuilder, WorkerBuilderExt,
};
use anyhow::{Context, Result, bail, ensure};
use apalis_sqlite::callback::HookCallbackListener;
use apalis_sqlite::{Config, SqlitePool, SqlitePoolOptions, SqliteStorage};
use futures::{StreamExt, stream};

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

/// Whether a claimed task is marked once more before its body runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Tasks,
    Nothing,
}

#[derive(Clone, Copy)]
struct Setting {
    connections: u32,
    at_once: usize,
    batch: usize,
    wake: Wake,
    lock: Lock,
}

const fn polling(connections: u32, at_once: usize, batch: usize, lock: Lock) -> Setting {
    Setting { connections, at_once, batch, wake: Wake::Every(Duration::from_millis(100)), lock }
}

const SETTINGS: &[(&str, Setting)] = &[
    ("no limit, poll 100 ms", polling(10, 100_000, 10, Lock::Tasks)),
    ("16 at once, poll 100 ms", polling(10, 16, 10, Lock::Tasks)),
    ("16 at once, batches of 16", polling(10, 16, 16, Lock::Tasks)),
    ("16 at once, batches of 16, no locks", polling(10, 16, 16, Lock::Nothing)),
    ("16 at once, hook", Setting { wake: Wake::Hook, ..polling(10, 16, 10, Lock::Tasks) }),
    ("200 at once, batches of 200", polling(10, 200, 200, Lock::Tasks)),
    ("1000 at once, batches of 1000", polling(10, 1000, 1000, Lock::Tasks)),
    ("1000 at once, batches of 1000, one connection", polling(1, 1000, 1000, Lock::Tasks)),
    ("1000 at once, batches of 1000, no locks", polling(10, 1000, 1000, Lock::Nothing)),
    ("5000 at once, batches of 5000, no locks", polling(10, 5000, 5000, Lock::Nothing)),
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
    const AT_16: &'static [&'static str] =
        &["16 at once, poll 100 ms", "16 at once, batches of 16", "16 at once, batches of 16, no locks"];
    const DEFAULT: &'static [&'static str] = &["no limit, poll 100 ms"];
    const DRAIN: &'static [&'static str] = &[
        "200 at once, batches of 200",
        "1000 at once, batches of 1000",
        "1000 at once, batches of 1000, one connection",
        "1000 at once, batches of 1000, no locks",
        "5000 at once, batches of 5000, no locks",
    ];
    const PICKUP: &'static [&'static str] = &["16 at once, poll 100 ms", "16 at once, hook"];
    const TELLS_THE_END: bool = false;

    async fn open(place: Place<'_>) -> Result<Self> {
        let file = place.folder.join(FILE);
        let options = if place.durability == DEFAULT {
            sqlite::options(&file, Journal::Unset)
        } else {
            // What `setup` gives to one connection, but for the syncing.
            sqlite::options(&file, Journal::WalFull).pragma("cache_size", "64000").pragma("temp_store", "memory")
        };
        let setting = super::setting(SETTINGS, place.setting)?;
        let (pool, listener) = match setting.wake {
            Wake::Hook => {
                let (pool, listener) = SqliteStorage::connect_with_callback("sqlite::memory:")?;
                pool.set_connect_options(options);
                (pool, Some(listener))
            }
            Wake::Every(_) => {
                (SqlitePoolOptions::new().max_connections(setting.connections).connect_with(options).await?, None)
            }
        };
        set_up(&pool, place.durability, &file).await?;
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
        let Setting { at_once, batch, wake, lock, .. } = super::setting(SETTINGS, setting)?;
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

/// Prepares the file on a connection of its own where its settings are not those to measure with: `setup` also has SQLite look at what
/// is in the tables, without which acknowledgements scan all of them.
async fn set_up(pool: &SqlitePool, durability: &str, file: &Path) -> Result<()> {
    if durability == DEFAULT {
        return Ok(SqliteStorage::setup(pool).await?);
    }
    let apart = SqlitePool::connect_with(sqlite::options(file, Journal::Unset)).await?;
    SqliteStorage::setup(&apart).await?;
    apart.close().await;
    let (synchronous,): (i64,) = sqlx::query_as("pragma synchronous").fetch_one(pool).await?;
    ensure!(synchronous == 2, "`synchronous` is FULL");
    Ok(())
}

async fn run(input: Input, bodies: Data<Bodies>) -> Result<(), BoxDynError> {
    bodies.run(&input);
    Ok(())
}
