//! What the tests share: a driver on either store, a diary in which workers write, gates at which they wait, and the workers.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use workman_core::store::Store;
use workman_core::{
    Chain, Constraints, Timestamp, WorkContext, WorkError, WorkId, WorkQuery, WorkState, steps, worker,
};
use workman_redb::RedbStore;
use workman_testing::{MemoryHome, Signal, StoreHome, TestDriver};

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const MINUTE: Duration = secs(60);
pub(crate) const HOUR: Duration = secs(3600);
pub(crate) const DAY: Duration = secs(24 * 3600);

/// Runs a test on a memory store, and then on a redb file.
pub(crate) fn on_both_stores(test: impl Fn(Bench)) {
    for kind in [Kind::Memory, Kind::Redb] {
        // Shown when the test fails.
        println!("on the store {kind:?}");
        test(Bench::on(kind));
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Memory,
    Redb,
}

/// A driver, and what its workers share with the test.
pub(crate) struct Bench {
    driver: TestDriver,
    kind: Kind,
    diary: Diary,
    gates: Gates,
}

impl Bench {
    fn on(kind: Kind) -> Self {
        let driver = match kind {
            Kind::Memory => TestDriver::new().store(MemoryHome::new()),
            Kind::Redb => TestDriver::new().store(RedbHome::new()),
        };
        let (diary, gates) = (Diary::default(), Gates::default());
        let clock = driver.clock().clone();
        let driver = driver.state(diary.clone()).state(gates.clone()).state(clock);
        Bench { driver, kind, diary, gates }
    }

    /// Another world on a store of the same kind.
    pub(crate) fn another(&self) -> Self {
        Bench::on(self.kind)
    }

    /// The same with a driver that is shaped further.
    pub(crate) fn shaped(self, shape: impl FnOnce(TestDriver) -> TestDriver) -> Self {
        let Bench { driver, kind, diary, gates } = self;
        Bench { driver: shape(driver), kind, diary, gates }
    }

    /// What workers wrote since the last look.
    #[track_caller]
    pub(crate) fn diary(&self) -> Vec<String> {
        std::mem::take(&mut *self.diary.0.lock().unwrap())
    }

    /// Lets those go on who wait at this gate, now or later.
    pub(crate) fn open(&self, gate: &str) {
        self.gates.get(gate).set();
    }

    /// Waits for an answer that must not be an error.
    #[track_caller]
    pub(crate) fn wait<T, E: Debug>(&self, answer: impl Future<Output = Result<T, E>>) -> T {
        self.block_on(answer).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Waits for an answer that must be an error.
    #[track_caller]
    pub(crate) fn refused<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> E {
        match self.block_on(answer) {
            Ok(_) => panic!("it was not refused"),
            Err(error) => error,
        }
    }

    /// Stores a chain; answers the ids in the order of declaration.
    #[track_caller]
    pub(crate) fn chain<S: steps::Shape>(&self, chain: Chain<S>) -> Vec<WorkId> {
        self.wait(chain.enqueue()).ids
    }

    /// The states of works.
    #[track_caller]
    pub(crate) fn states(&self, ids: &[WorkId]) -> Vec<WorkState> {
        ids.iter().map(|id| self.state_of(*id)).collect()
    }

    /// The ids of all works under a name, in the order in which they were stored.
    #[track_caller]
    pub(crate) fn named(&self, name: &str) -> Vec<WorkId> {
        let mut works = self.query(WorkQuery::unique(name));
        works.sort_by_key(|work| work.created);
        works.into_iter().map(|work| work.id).collect()
    }

    /// The time of the store.
    pub(crate) fn now(&self) -> Timestamp {
        use workman_core::Clock;
        self.clock().wall()
    }

    /// How long from now until the work is due; zero if it is due.
    #[track_caller]
    pub(crate) fn due_in(&self, id: WorkId) -> Duration {
        let info = self.info(id);
        info.next_run.unwrap_or_else(|| panic!("it is {} and has no next run", info.state)).since(self.now())
    }
}

impl Deref for Bench {
    type Target = TestDriver;

    fn deref(&self) -> &TestDriver {
        &self.driver
    }
}

/// What workers write down.
#[derive(Clone, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(crate) fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
}

/// Gates by name, shut until the test opens them.
#[derive(Clone, Default)]
pub(crate) struct Gates(Arc<Mutex<BTreeMap<String, Signal>>>);

impl Gates {
    pub(crate) fn get(&self, name: &str) -> Signal {
        self.0.lock().unwrap().entry(name.to_owned()).or_default().clone()
    }
}

/// Works in a redb file, opened in place without threads.
struct RedbHome {
    folder: PathBuf,
}

impl RedbHome {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A crash of the process loses no page of the system's, so a file in memory shows the same, sooner.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let folder = place.join(format!("workman-workmanager-{}-{count}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        RedbHome { folder }
    }
}

impl StoreHome for RedbHome {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(RedbStore::builder(self.folder.join("works.redb")).inline().open().unwrap())
    }
}

impl Drop for RedbHome {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What was asked of the machine in most of the upstream cases: a charger, which the test plugs in and out.
pub(crate) const CHARGING: Constraints = Constraints::new().requires_charging();

/// Writes its name down and gives it.
#[worker]
pub(crate) async fn say(name: String, #[state] diary: Diary) -> String {
    diary.write(&name);
    name
}

/// Another worker that does the same.
#[worker]
pub(crate) async fn tell(name: String, #[state] diary: Diary) -> String {
    diary.write(format!("tell {name}"));
    name
}

/// Says its name after this many seconds.
#[worker]
pub(crate) async fn slow(
    name: String,
    seconds: u64,
    cx: &WorkContext,
    #[state] diary: Diary,
) -> Result<String, WorkError> {
    cx.sleep(secs(seconds)).await?;
    diary.write(&name);
    Ok(name)
}

/// Fails so many times before it succeeds, and writes down the number of each attempt.
#[worker]
pub(crate) async fn flaky(
    name: String,
    failures: u32,
    cx: &WorkContext,
    #[state] diary: Diary,
) -> Result<String, WorkError> {
    diary.write(format!("{name} {}", cx.attempt()));
    if cx.attempt() < failures { Err("not yet".into()) } else { Ok(name) }
}

/// Fails for good.
#[worker]
pub(crate) async fn fails(name: String, #[state] diary: Diary) -> Result<String, WorkError> {
    diary.write(&name);
    Err(WorkError::permanent(format!("{name} failed")))
}

/// Waits at the gate of its name, and passes up a stop.
#[worker]
pub(crate) async fn held(
    name: String,
    cx: &WorkContext,
    #[state] gates: Gates,
    #[state] diary: Diary,
) -> Result<String, WorkError> {
    diary.write(&name);
    let gate = gates.get(&name);
    let (open, stop) = (std::pin::pin!(gate.wait()), std::pin::pin!(cx.until_stopped()));
    futures::future::select(open, stop).await;
    match cx.stop_reason() {
        Some(reason) => {
            diary.write(format!("{name} stopped: {reason}"));
            cx.stopped()
        }
        None => Ok(name),
    }
}

/// Gives what its prerequisites gave, in order, and its own name behind it.
#[worker]
pub(crate) async fn join(name: String, #[prerequisites] parts: Vec<String>, #[state] diary: Diary) -> String {
    let all = [parts.join(" "), name].join(" ");
    diary.write(&all);
    all
}

/// Panics with this text.
#[worker]
pub(crate) async fn panics(text: String) -> u32 {
    panic!("{text}")
}
