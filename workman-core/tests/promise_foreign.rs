//! Code of the program's own may panic, ring or talk without end wherever it is called, and ends nothing but its own call.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::error::Error;
use std::fmt;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::executor::block_on;
use futures::pin_mut;
use futures::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use support::{Bystanders, RedbHome};
use workman_core::store::Store;
use workman_core::{
    Backoff, Completer, Conditions, ConstraintSensor, Constraints, HealthStatus, ManualSensor, MemoryStore,
    NetworkType, ThreadRuntime, WorkContext, WorkId, WorkManager, WorkState, worker,
};
use workman_redb::RedbStore;
use workman_testing::TestDriver;

/// Panics when it is dropped, with a value that does so again, and so on.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if let Some(next) = self.0.checked_sub(1) {
            panic_any(Bomb(next));
        }
    }
}

#[worker]
async fn adds(a: u32, b: u32) -> u32 {
    a + b
}

#[worker]
fn adds_here(a: u32, b: u32) -> u32 {
    a + b
}

/// Both kinds of workers run here.
fn is_well(manager: &WorkManager) {
    let works = [block_on(manager.enqueue(adds::request(1, 2))), block_on(manager.enqueue(adds_here::request(1, 2)))];
    for work in works {
        assert_eq!(block_on(work.unwrap().output()).unwrap(), 3);
    }
}

// ---- what a worker is given, gives, and says ----

/// Its drop panics once it is armed.
#[derive(Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
struct Sore {
    number: u32,
    armed: bool,
}

impl Clone for Sore {
    fn clone(&self) -> Self {
        Sore { number: self.number, armed: false }
    }
}

impl From<u32> for Sore {
    fn from(number: u32) -> Self {
        Sore { number, armed: false }
    }
}

impl From<Sore> for u32 {
    fn from(sore: Sore) -> u32 {
        sore.number
    }
}

impl Sore {
    fn armed(mut self) -> Self {
        self.armed = true;
        self
    }
}

impl Drop for Sore {
    fn drop(&mut self) {
        if self.armed {
            panic_any(Bomb(3));
        }
    }
}

impl fmt::Debug for Sore {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_any(Bomb(1))
    }
}

impl fmt::Display for Sore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sore {}", self.number)
    }
}

impl Error for Sore {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        panic!("no source")
    }
}

#[worker(max_attempts = 1)]
async fn drops_its_argument(given: Sore) {
    drop(given.armed());
}

#[worker(max_attempts = 1)]
fn drops_its_argument_here(given: Sore) {
    drop(given.armed());
}

#[worker]
async fn gives_it(given: Sore) -> Sore {
    given.armed()
}

#[worker(max_attempts = 1)]
fn fails_with_it(given: Sore) -> Result<(), Sore> {
    Err(given.armed())
}

#[worker(max_attempts = 1)]
fn panics_with_it(given: u32) {
    panic_any(Bomb(given));
}

#[worker(max_attempts = 1)]
async fn panics_with_it_later(cx: &WorkContext, given: u32) -> Result<(), String> {
    cx.sleep(Duration::from_secs(1)).await.map_err(|stopped| stopped.to_string())?;
    panic_any(Bomb(given))
}

#[test]
fn what_panics_when_it_is_dropped_is_a_failed_attempt_and_ends_nothing_else() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let sore = || Sore { number: 7, armed: false };
    let failed = [
        test.enqueue(drops_its_argument::request(sore())),
        test.enqueue(drops_its_argument_here::request(sore())),
        test.enqueue(fails_with_it::request(sore())),
        test.enqueue(panics_with_it::request(2)),
        test.enqueue(panics_with_it::request(1_000)),
        test.enqueue(panics_with_it_later::request(2)),
    ];
    let given = test.enqueue(gives_it::request(sore()));
    test.advance(Duration::from_secs(2));
    for id in failed {
        let info = test.info(id);
        assert_eq!((info.state, info.failures, info.interruptions), (WorkState::Failed, 1, 0), "{}", info.worker);
    }
    let said = test.info(failed[2]).last_error().unwrap().clone();
    assert_eq!(
        (said.message.as_str(), &*said.sources),
        ("sore 7", &["(its source panicked: no source)".to_owned()][..])
    );
    assert_eq!(test.output::<u32>(given), 7, "what it was to do is done");
    bystanders.are_untouched(&test);
}

#[test]
fn they_end_nothing_on_real_threads_either() {
    let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start().unwrap();
    let works = [
        block_on(manager.enqueue(panics_with_it::request(1))).unwrap(),
        block_on(manager.enqueue(drops_its_argument::request(Sore { number: 1, armed: false }))).unwrap(),
    ];
    for work in works {
        assert!(block_on(work.output()).is_err());
    }
    is_well(&manager);
    assert_eq!(manager.health(), HealthStatus::Healthy);
}

/// The second look at a start reads what is parked, and drops what it has read.
#[test]
fn what_panics_when_a_second_look_drops_it_stays_parked_and_the_others_are_looked_at() {
    #[derive(Serialize, Deserialize)]
    #[serde(try_from = "u32", into = "u32")]
    struct Late(Sore);

    static READS: AtomicBool = AtomicBool::new(true);

    impl Clone for Late {
        fn clone(&self) -> Self {
            Late(self.0.clone())
        }
    }

    impl TryFrom<u32> for Late {
        type Error = String;

        fn try_from(number: u32) -> Result<Self, String> {
            if READS.load(Ordering::SeqCst) {
                Ok(Late(Sore { number, armed: ARMED.load(Ordering::SeqCst) == number }))
            } else {
                Err("not yet".to_owned())
            }
        }
    }

    impl From<Late> for u32 {
        fn from(late: Late) -> u32 {
            late.0.number
        }
    }

    static ARMED: AtomicU32 = AtomicU32::new(u32::MAX);

    #[worker]
    fn takes_late(late: Late) -> u32 {
        late.0.number
    }

    let test = TestDriver::new();
    let works = [1, 2, 3].map(|number| {
        let late = Late(Sore { number, armed: false });
        test.enqueue(takes_late::request(late).initial_delay(Duration::from_secs(1)))
    });
    READS.store(false, Ordering::SeqCst);
    test.advance(Duration::from_secs(2));
    assert!(works.iter().all(|id| test.info(*id).parked.is_some()));
    READS.store(true, Ordering::SeqCst);
    ARMED.store(1, Ordering::SeqCst);
    test.restart();
    test.run_until_idle();
    assert_eq!(works.map(|id| test.info(id).parked.is_some()), [true, false, false]);
    assert_eq!(works.map(|id| test.state_of(id)), [WorkState::Enqueued, WorkState::Succeeded, WorkState::Succeeded]);
}

// ---- what errors say ----

#[derive(Debug)]
struct OwnSource;

impl fmt::Display for OwnSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bad icon")
    }
}

impl Error for OwnSource {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

/// Each has another source, for ever.
#[derive(Debug)]
struct Deeper(u64);

static DEPTHS: [Deeper; 100] = {
    let mut depths = [const { Deeper(0) }; 100];
    let mut at = 0;
    while at < 100 {
        depths[at] = Deeper(at as u64);
        at += 1;
    }
    depths
};

impl fmt::Display for Deeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "depth {}", self.0)
    }
}

impl Error for Deeper {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&DEPTHS[usize::try_from(self.0 + 1).unwrap() % 100])
    }
}

/// It talks without end, and may not hear that nobody listens any more.
#[derive(Debug)]
struct Endless {
    listens: bool,
}

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        loop {
            let written = f.write_str("and on ");
            if self.listens {
                written?;
            }
        }
    }
}

impl Error for Endless {}

#[worker(max_attempts = 1)]
fn fails_with(which: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
    Err(match which {
        0 => Box::new(OwnSource),
        1 => Box::new(Deeper(0)),
        which => Box::new(Endless { listens: which == 2 }),
    })
}

#[test]
fn the_text_of_an_error_is_bounded_in_depth_and_bytes() {
    let test = TestDriver::new();
    let [own, deep, endless, deaf] = [0, 1, 2, 3].map(|which| test.enqueue(fails_with::request(which)));
    test.run_until_idle();
    let said = |id: WorkId| {
        assert_eq!(test.state_of(id), WorkState::Failed);
        test.info(id).last_error().unwrap().clone()
    };
    assert_eq!((said(own).message.as_str(), said(own).sources.len()), ("bad icon", 0));
    assert_eq!((said(deep).sources.len(), said(deep).sources[31].as_str()), (32, "depth 32"));
    let limit = TestDriver::default_limits().error_text;
    for id in [endless, deaf] {
        assert_eq!((said(id).message.len(), said(id).panicked), (limit, false), "and it is no panic");
        assert!(said(id).message.starts_with("and on and on"));
    }
}

// ---- who waits ----

struct Panics(AtomicU32);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic_any(Bomb(1));
    }
}

/// Observers, those who wait for a commit and those who wait for the end: their wakers belong to the program.
#[test]
fn whoever_panics_when_it_is_woken_stops_neither_the_engine_nor_the_store() {
    let home = RedbHome::new("foreign-wakers");
    wakes_in_vain(RedbStore::open(home.file()).unwrap());
    wakes_in_vain(MemoryStore::new());
}

fn wakes_in_vain(store: impl Store) {
    let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
    let panics = Arc::new(Panics(AtomicU32::new(0)));
    let waker = Waker::from(Arc::clone(&panics));
    let mut cx = Context::from_waker(&waker);
    for round in 0..10 {
        let enqueue = manager.enqueue(adds::request(round, 2));
        pin_mut!(enqueue);
        let work = match enqueue.as_mut().poll(&mut cx) {
            Poll::Ready(work) => work.unwrap(),
            Poll::Pending => block_on(enqueue).unwrap(),
        };
        {
            let (output, mut watch) = (work.output(), work.watch());
            pin_mut!(output);
            let _ = (output.poll(&mut cx), watch.poll_next_unpin(&mut cx));
            is_well(&manager);
        }
        assert_eq!(block_on(work.output()).unwrap(), round + 2);
    }
    let shutdown = manager.shutdown(Duration::from_secs(10));
    pin_mut!(shutdown);
    let report = match shutdown.as_mut().poll(&mut cx) {
        Poll::Ready(report) => report,
        Poll::Pending => block_on(shutdown),
    };
    assert_eq!(report.error, None);
    assert!(panics.0.load(Ordering::SeqCst) > 0, "nobody was woken, so this says nothing");
}

static CALLED: AtomicU32 = AtomicU32::new(0);

#[worker]
async fn calls_back(cx: &WorkContext, done: Completer<u32>) {
    done.on_stop(|_| panic_any(Bomb(1)));
    done.on_stop(|_| _ = CALLED.fetch_add(1, Ordering::SeqCst));
    let armed = Bomb(1);
    done.on_stop(move |_| drop(armed));
    cx.until_stopped().await;
    std::future::pending::<()>().await;
}

#[test]
fn of_several_calls_at_a_stop_each_is_made_whatever_another_does() {
    let test = TestDriver::new();
    let work = test.enqueue(calls_back::request().timeout(Duration::from_secs(5)).max_attempts(1));
    test.advance(Duration::from_secs(6));
    assert_eq!((test.state_of(work), CALLED.load(Ordering::SeqCst)), (WorkState::Failed, 1));
}

// ---- sensors ----

/// What a sensor may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Its n-th reading panics.
    Reading(u32),
    /// Its readings panic until then.
    Readings(u32),
    Listening,
    Item,
    AlwaysReady,
    NeverReady,
    /// It panics when it is dropped, and so does its stream.
    Drop,
}

struct Faulty {
    good: ManualSensor,
    wrong: Wrong,
    calls: AtomicU32,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if self.wrong == Wrong::Drop {
            panic_any(Bomb(1));
        }
    }
}

impl ConstraintSensor for Faulty {
    fn conditions(&self) -> Conditions {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.wrong {
            Wrong::Reading(nth) if nth == call => panic_any(Bomb(1)),
            Wrong::Readings(until) if call < until => panic!("can't read /sys/class/power_supply"),
            _ => self.good.conditions(),
        }
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        match self.wrong {
            Wrong::Listening if self.calls.fetch_add(1, Ordering::SeqCst) < 3 => panic!("no thread for it"),
            Wrong::Item if self.calls.fetch_add(1, Ordering::SeqCst) < 3 => {
                let bomb = Bomb(1);
                stream::poll_fn(move |_| -> Poll<Option<()>> {
                    let _held = &bomb;
                    panic_any(Bomb(2))
                })
                .boxed()
            }
            Wrong::AlwaysReady => stream::repeat(()).boxed(),
            Wrong::NeverReady => stream::pending().boxed(),
            _ => self.good.changes(),
        }
    }
}

#[test]
fn a_sensor_ends_nothing_and_starves_nobody_whatever_it_does() {
    let readings = (0..12).map(Wrong::Reading);
    let others = [Wrong::Listening, Wrong::Item, Wrong::AlwaysReady, Wrong::NeverReady, Wrong::Drop];
    for wrong in readings.chain(others) {
        let sensor = Faulty { good: ManualSensor::new(), wrong, calls: AtomicU32::new(0) };
        let builder = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).sensor(sensor);
        let manager = builder.start().unwrap();
        for _ in 0..3 {
            is_well(&manager);
        }
        let unmetered = adds::request(1, 2).constraints(Constraints::new().network(NetworkType::Unmetered));
        let work = block_on(manager.enqueue(unmetered));
        // Where the very first reading panics, nobody knows yet what the sensor observes.
        if wrong != Wrong::Reading(0) || work.is_ok() {
            assert_eq!(block_on(work.unwrap().output()).unwrap(), 3, "{wrong:?}");
        }
        assert_eq!(block_on(manager.shutdown(Duration::from_secs(10))).error, None, "{wrong:?}");
    }
}

/// On the virtual clock: what it said last counts, health says so, and it is asked again later and later.
#[test]
fn a_sensor_that_can_not_be_read_for_a_while_is_asked_again_and_then_believed() {
    let good = ManualSensor::new();
    let given = good.clone();
    let until = 8;
    let test = TestDriver::new().shape(move |builder| {
        builder.sensor(Faulty { good: given.clone(), wrong: Wrong::Readings(until), calls: AtomicU32::new(0) })
    });
    let request = || adds::request(1, 2).constraints(Constraints::new().requires_charging());
    test.run_until_idle();
    let HealthStatus::Degraded { error, .. } = test.manager().health() else { panic!("it can't be read") };
    assert_eq!(error, "the sensor panicked: can't read /sys/class/power_supply");
    test.advance(Duration::from_secs(20));
    assert_eq!(test.manager().health(), HealthStatus::Healthy);
    let work = test.enqueue(request());
    test.run_until_idle();
    assert_eq!(test.output::<u32>(work), 3);
}

// ---- backoff ----

fn panics_too(_: u32) -> Duration {
    panic_any(Bomb(2))
}

#[worker(backoff_fn = panics_too, backoff = Backoff::exponential(Duration::from_secs(10)))]
fn fails_once(cx: &WorkContext) -> Result<(), String> {
    if cx.attempt() == 0 { Err("once".to_owned()) } else { Ok(()) }
}

#[test]
fn a_backoff_function_that_panics_leaves_its_work_the_usual_wait() {
    let test = TestDriver::new();
    let work = test.enqueue(fails_once::request());
    test.run_until_idle();
    assert_eq!(test.info(work).failures, 1);
    test.advance(Duration::from_secs(30));
    assert_eq!(test.state_of(work), WorkState::Succeeded);
}
