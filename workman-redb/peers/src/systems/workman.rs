//! workman on its own store, as the README has it: everything is synced when it is acknowledged.
//!
//! Here it is a system among the others, in the same run and in turns with them, and its callers are tasks on the threads of tokio as
//! theirs are. What it costs beside the disk and beside raw redb is told by its own workloads, in `workman-redb/benches`.
//!
//! The only setting is the number of slots. Finished works are kept for as long as anything here lasts, as by the others.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use workman_core::store::{PageRequest, Store};
use workman_core::{Builder, Limits, Nothing, Request, TokioRuntime, WorkManager, WorkQuery, WorkState, worker};
use workman_redb::RedbStore;

use crate::peer::{Bodies, Counts, Due, Durability, Input, Peer, Place, WEEK};

/// How many slots; nothing for those of a program that does not say.
const SETTINGS: &[(&str, Option<usize>)] = &[
    ("default slots", None),
    ("16 slots", Some(16)),
    ("64 slots", Some(64)),
    ("256 slots", Some(256)),
    ("1024 slots", Some(1024)),
    ("4096 slots", Some(4096)),
];

/// More finished works than are made here.
const RETAINED: usize = 100_000_000;
/// How long the engine may need for what it has begun, when it is asked whether all is done.
const PATIENCE: Duration = Duration::from_secs(1);
const PAGE: usize = 4_096;

/// The body of every work; its arguments are encoded as the input of the others is.
#[worker]
async fn noop(body: String, #[state] bodies: Bodies) {
    bodies.run(&Input { body });
}

/// An open store, and its managers: one that only enqueues, and one that runs once there is one.
#[derive(Clone)]
pub(super) struct Workman {
    store: Arc<RedbStore>,
    enqueuer: WorkManager,
    runner: Arc<OnceLock<(WorkManager, Bodies)>>,
}

impl Workman {
    fn manager(&self) -> &WorkManager {
        self.runner.get().map_or(&self.enqueuer, |(manager, _)| manager)
    }

    fn builder(store: &Arc<RedbStore>, slots: Option<usize>) -> Result<Builder> {
        let mut limits = Limits::default();
        limits.retained = RETAINED;
        if let Some(slots) = slots {
            (limits.async_slots, limits.blocking_slots) = (slots, slots);
        }
        Ok(WorkManager::builder(store.clone()).runtime(TokioRuntime::current()?).limits(limits))
    }

    /// What is in the store, work by work.
    async fn counted(&self) -> Result<Counts> {
        let (mut counts, mut after) = (Counts::default(), None);
        loop {
            let query = WorkQuery::all().without_payloads();
            let page = self.store.query(PageRequest { query, after, limit: PAGE }).await?;
            let done = page.works.iter().filter(|work| work.state == WorkState::Succeeded).count() as u64;
            counts.done += done;
            counts.waiting += page.works.len() as u64 - done;
            after = page.next;
            if after.is_none() {
                return Ok(counts);
            }
        }
    }
}

fn request(input: Input) -> Request<Nothing, ()> {
    noop::request(input.body)
}

impl Peer for Workman {
    const NAME: &'static str = "workman";
    // Its own benchmarks call it the same, so that their figures stand in one column.
    const DURABILITIES: &'static [Durability] = &[Durability { name: "synced", says: "synced", syncs: true }];
    const AT_16: &'static [&'static str] = &["16 slots"];
    const DEFAULT: &'static [&'static str] = &["default slots"];
    const DRAIN: &'static [&'static str] = &["64 slots", "256 slots", "1024 slots", "4096 slots"];
    const PICKUP: &'static [&'static str] = &["16 slots"];
    const TELLS_THE_END: bool = true;

    async fn open(place: Place<'_>) -> Result<Self> {
        let store = Arc::new(RedbStore::open(place.folder.join("workman.redb"))?);
        let enqueuer = Self::builder(&store, None)?.state(Bodies::default()).enqueue_only().start()?;
        Ok(Self { store, enqueuer, runner: Arc::default() })
    }

    async fn enqueue(&self, input: Input) -> Result<()> {
        self.manager().enqueue(request(input)).await?;
        Ok(())
    }

    async fn enqueue_many(&self, inputs: Vec<Input>, due: Due) -> Result<()> {
        let requests = inputs.into_iter().map(|input| match due {
            Due::Now => request(input),
            Due::NextWeek => request(input).initial_delay(WEEK),
        });
        self.manager().enqueue_all(requests).await?;
        Ok(())
    }

    async fn work(&self, setting: &str, bodies: Bodies) -> Result<()> {
        let slots = super::setting(SETTINGS, setting)?;
        let manager = Self::builder(&self.store, slots)?.state(bodies.clone()).start()?;
        self.runner.set((manager, bodies)).ok().context("the worker was started before")
    }

    async fn enqueue_and_await(&self, input: Input) -> Result<()> {
        let work = self.manager().enqueue(request(input)).await?;
        work.output().await?;
        Ok(())
    }

    /// While it runs the engine knows whether anything is left; to read all works for that would take longer than to run some of them.
    async fn counts(&self) -> Result<Counts> {
        match self.runner.get() {
            Some((manager, bodies)) if manager.drain(PATIENCE).await?.idle => {
                Ok(Counts { waiting: 0, done: bodies.count() })
            }
            _ => self.counted().await,
        }
    }

    async fn close(self) -> Result<()> {
        self.enqueuer.shutdown(Duration::ZERO).await;
        if let Some((manager, _)) = self.runner.get() {
            manager.shutdown(Duration::ZERO).await;
        }
        self.store.close().await;
        Ok(())
    }
}
