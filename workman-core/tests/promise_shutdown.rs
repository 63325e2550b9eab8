//! The way out: a shutdown is bounded whatever the store does, is refused where it would wait for itself, and the last handle leaves
//! nothing behind that would look like the death of a process.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::process::{Command, exit};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use support::{HOUR, RedbHome, secs};

use workman_core::seams::block_on;
use workman_core::store::{Change, Ownership, Page, PageRequest, Store, Unit, UnitResult};
use workman_core::{
    Clock, HealthStatus, MemoryStore, StoreError, SystemClock, ThreadRuntime, WorkContext, WorkError, WorkHandle,
    WorkManager, WorkQuery, WorkState, worker,
};
use workman_redb::RedbStore;
use workman_testing::{StoreHome, TestDriver};

#[worker]
async fn waits(cx: &WorkContext) -> Result<(), WorkError> {
    Ok(cx.sleep(HOUR).await?)
}

#[worker]
fn waits_here(cx: &WorkContext) -> Result<(), WorkError> {
    Ok(cx.sleep_blocking(HOUR)?)
}

#[worker]
async fn ends_in(cx: &WorkContext, seconds: u64) -> Result<u64, WorkError> {
    cx.sleep(secs(seconds)).await?;
    Ok(seconds)
}

#[worker]
async fn never_stops() {
    std::future::pending().await
}

// ---- a store that does not answer ----

/// What a store does with a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    AsUsual,
    Never,
    /// It keeps the thread that asks.
    NotBeforeThawed,
}

#[derive(Clone)]
struct Ice(Arc<(Mutex<(Answers, bool)>, Condvar)>);

impl Ice {
    fn new() -> Self {
        Ice(Arc::new((Mutex::new((Answers::AsUsual, false)), Condvar::new())))
    }

    fn set(&self, answers: Answers) {
        self.0.0.lock().unwrap().0 = answers;
        self.0.1.notify_all();
    }

    /// Says whether there is an answer at all.
    fn pass(&self) -> bool {
        let mut state = self.0.0.lock().unwrap();
        state.1 = state.0 != Answers::AsUsual;
        self.0.1.notify_all();
        while state.0 == Answers::NotBeforeThawed {
            state = self.0.1.wait(state).unwrap();
        }
        state.0 == Answers::AsUsual
    }

    fn wait_until_somebody_is_stuck(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |(_, stuck)| !*stuck).unwrap());
    }
}

struct Freezer {
    store: MemoryStore,
    ice: Ice,
}

#[async_trait]
impl Store for Freezer {
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        if !self.ice.pass() {
            std::future::pending::<()>().await;
        }
        self.store.transact(units).await
    }

    async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        if self.ice.0.0.lock().unwrap().0 == Answers::Never {
            std::future::pending::<()>().await;
        }
        self.store.query(request).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        self.store.changes()
    }

    fn ownership(&self) -> Ownership {
        self.store.ownership()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

struct Fridge(Ice);

impl StoreHome for Fridge {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(Freezer { store: MemoryStore::new(), ice: self.0.clone() })
    }
}

#[test]
fn a_drain_is_over_a_second_after_its_limit_though_the_store_never_answers_and_says_since_when() {
    let ice = Ice::new();
    let store = Freezer { store: MemoryStore::new(), ice: ice.clone() };
    let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
    ice.set(Answers::Never);
    let (clock, limit) = (SystemClock::new(), Duration::from_millis(50));
    let before = clock.monotonic();
    let error = block_on(manager.drain(limit)).unwrap_err();
    let lasted = clock.monotonic() - before;
    assert!(lasted < limit + secs(2), "{lasted:?}");
    assert!(error.is_retryable() && error.to_string().contains("has not answered since"), "{error}");
}

#[test]
fn a_shutdown_is_over_a_second_after_its_grace_though_the_store_never_answers_and_says_what_is_uncertain() {
    for grace in [Duration::ZERO, secs(3)] {
        let ice = Ice::new();
        let test = TestDriver::new().store(Fridge(ice.clone()));
        let works =
            [test.enqueue(waits::request()), test.enqueue(never_stops::request()), test.enqueue(ends_in::request(2))];
        test.advance(secs(1));
        ice.set(Answers::Never);
        test.advance(secs(3));
        assert_eq!(test.manager().health(), HealthStatus::Healthy, "two seconds are no silence");
        test.advance(secs(10));
        let HealthStatus::Degraded { error, .. } = test.manager().health() else { panic!("it is silent") };
        assert!(error.starts_with("the store has not answered since 20") && error.ends_with("for 12.0 s"), "{error}");

        let began = test.clock().monotonic();
        let report = test.shutdown(grace);
        let took = test.clock().monotonic() - began;
        assert!(took <= grace + secs(1), "{took:?} with a grace of {grace:?}");
        assert!(report.error.as_ref().is_some_and(|error| error.contains("has not answered since")), "{report:?}");
        let mut all = works.to_vec();
        all.sort();
        assert_eq!(report.uncertain, all);
        ice.set(Answers::AsUsual);
    }
}

#[test]
fn a_store_that_works_leaves_nothing_uncertain() {
    let test = TestDriver::new();
    let works = [test.enqueue(waits::request()), test.enqueue(never_stops::request())];
    test.run_until_idle();
    let began = test.clock().monotonic();
    let report = test.shutdown(secs(2));
    assert!(test.clock().monotonic() - began <= secs(3));
    assert_eq!((report.error, report.uncertain.len()), (None, 0));
    assert!(works.iter().all(|id| test.state_of(*id) == WorkState::Enqueued));
}

#[test]
fn a_shutdown_returns_though_the_store_keeps_the_thread_of_the_engine() {
    let ice = Ice::new();
    let store = Freezer { store: MemoryStore::new(), ice: ice.clone() };
    let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
    block_on(manager.enqueue(ends_in::request(0))).unwrap();
    let work = block_on(manager.enqueue(waits::request())).unwrap();
    await_running(&work);
    ice.set(Answers::NotBeforeThawed);
    // The engine writes its end, and is stuck.
    let poke = manager.clone();
    let poke = std::thread::spawn(move || drop(block_on(poke.enqueue(ends_in::request(0)))));
    ice.wait_until_somebody_is_stuck();
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let report = block_on(manager.shutdown(Duration::from_millis(100)));
    let took = clock.monotonic() - began;
    assert!(report.error.is_some() && took < secs(10), "{report:?} after {took:?}");
    ice.set(Answers::AsUsual);
    poke.join().unwrap();
}

fn await_running<O>(work: &WorkHandle<O>) {
    let mut watched = work.watch();
    while block_on(watched.next()).unwrap().state != WorkState::Running {}
}

// ---- inside of a worker ----

#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Option<WorkManager>>>);

impl Desk {
    fn take(&self) -> WorkManager {
        self.0.lock().unwrap().take().unwrap()
    }
}

async fn tries_to_end(manager: WorkManager) -> Vec<String> {
    let shutdown = manager.shutdown(Duration::ZERO).await.error.unwrap_or_default();
    let drain = manager.drain(secs(60)).await.err().map(|error| error.to_string()).unwrap_or_default();
    vec![shutdown, drain]
}

#[worker]
async fn ends_its_manager(#[state] desk: Desk) -> Vec<String> {
    tries_to_end(desk.take()).await
}

#[worker]
fn ends_its_manager_here(#[state] desk: Desk) -> Vec<String> {
    block_on(tries_to_end(desk.take()))
}

#[test]
fn a_worker_that_ends_its_own_manager_is_told_why_not_and_the_manager_goes_on() {
    let desk = Desk::default();
    let test = TestDriver::new().state(desk.clone());
    for (name, request) in
        [("ends_its_manager", ends_its_manager::request()), ("ends_its_manager_here", ends_its_manager_here::request())]
    {
        *desk.0.lock().unwrap() = Some(test.manager());
        let work = test.enqueue(request);
        test.run_until_idle();
        let heard = test.output::<Vec<String>>(work);
        for (verb, said) in ["shutdown", "drain"].into_iter().zip(heard) {
            let wanted = format!("`{verb}` was called inside of worker \"{name}\" (work {work}) of this very manager");
            assert!(said.starts_with(&wanted), "{said}");
        }
    }
    let next = test.enqueue(ends_in::request(0));
    test.run_until_idle();
    assert_eq!(test.output::<u64>(next), 0);
}

#[test]
fn a_worker_may_end_another_manager() {
    let store = Arc::new(MemoryStore::new());
    let desk = Desk::default();
    let start = || WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new()).state(desk.clone());
    let (manager, other) = (start().start().unwrap(), start().enqueue_only().start().unwrap());
    *desk.0.lock().unwrap() = Some(other);
    let work = block_on(manager.enqueue(ends_its_manager::request())).unwrap();
    let heard = block_on(work.output()).unwrap();
    assert_eq!(heard[0], "");
}

// ---- the last handle ----

fn no_death_in(store: impl Store) {
    let manager = WorkManager::builder(store).enqueue_only().start().unwrap();
    let works = block_on(manager.query(WorkQuery::all())).unwrap();
    assert!(!works.is_empty());
    for work in works {
        // What was claimed and whose body had not begun is given back as it was.
        let begun = u32::from(!work.attempts.is_empty());
        let counts = (work.deaths, work.failures, work.interruptions);
        assert_eq!((work.state, counts), (WorkState::Enqueued, (0, 0, begun)), "{work:?}");
    }
}

fn enqueue_all(manager: &WorkManager) {
    let requests = [waits::request(), waits_here::request(), never_stops::request()];
    let works = requests.map(|request| block_on(manager.enqueue(request)).unwrap());
    works.iter().for_each(await_running);
}

#[test]
fn the_same_file_can_be_opened_on_the_line_behind_the_last_drop() {
    let home = RedbHome::new("leaving");
    for _ in 0..5 {
        let home = RedbHome::new("left");
        let store = RedbStore::open(home.file()).unwrap();
        let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
        enqueue_all(&manager);
        drop(manager);
        no_death_in(RedbStore::open(home.file()).unwrap());
    }
    let store = RedbStore::open(home.file()).unwrap();
    let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
    block_on(manager.shutdown(secs(1)));
    drop(manager);
    RedbStore::open(home.file()).unwrap();
}

const CHILD: &str = "WORKMAN_LEAVING";

/// Not a test of its own: what the children run.
#[test]
fn a_child_that_leaves() {
    let Ok(file) = std::env::var(CHILD) else { return };
    let store = RedbStore::open(file).unwrap();
    let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
    enqueue_all(&manager);
    drop(manager);
    exit(0);
}

/// As often as `WORKMAN_EXITS` says; a few times in the usual run.
#[test]
fn a_process_that_ends_right_behind_the_last_drop_has_interrupted_its_works_and_killed_none() {
    let rounds = std::env::var("WORKMAN_EXITS").map_or(5, |rounds| rounds.parse().unwrap());
    for round in 1..=rounds {
        let home = RedbHome::new("exits");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_child_that_leaves", "--nocapture"])
            .env(CHILD, home.file())
            .output()
            .unwrap();
        assert!(child.status.success(), "in round {round}: {child:?}");
        no_death_in(RedbStore::open(home.file()).unwrap());
    }
}
