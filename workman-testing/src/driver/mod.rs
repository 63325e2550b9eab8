//! [`TestDriver`]: a program with its manager, its clock and its machine, all in a test's hands.
//!
//! # Why waiting for somebody else costs real time
//! A worker that waits for a completer or for a channel may be served by another thread, which runs in real time, or by the
//! test, which can do so only once the driver returns. Nothing tells the two apart: a completer in a callback of a library
//! and one in a `Mutex` of the test look the same. To let virtual time go on at once would make the first kind of test a
//! race between the thread and the clock, which passes on one machine and fails on the next. To wait makes the second kind
//! slow and changes no result. So the driver waits unless the test says that there is
//! [nobody outside](TestDriver::nobody_outside).
//!
//! When nobody has come within the patience of the test, a wait for a channel or a socket fails it, for then it is a
//! mistake or a machine that is too slow. A completer is different: to be settled by others is what it is for, and when
//! they never do, the timeout or the stop of the run is the answer, which the virtual clock brings. So there the test goes
//! on, and says on its standard error what the time went into.
//!
//! The driver gives real time once per wait and per verb: after a verb has returned, the test may have let somebody go who
//! settles on a thread. [`TestDriver::block_on`] always gives it, for no virtual time passes there, and the future that
//! the test waits for could not get ready otherwise.

mod process;
mod verbs;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use workman_core::seams::{DriverHere, IdSource, Registry, ScopedIds, scoped_ids};
use workman_core::{Builder, ConstraintSensor, Limits, ManualSensor, WorkManager, Worker};

use crate::clock::VirtualClock;
use crate::executor::Executor;
use crate::fault::{Broken, CrashPoint, Fault, FaultStore, Ledger};
use crate::home::{MemoryHome, StoreHome};

pub use verbs::Named;

/// The seed of a driver that was given none.
const DEFAULT_SEED: u64 = 0x776f_726b_6d61_6e21;

/// How long a worker may wait for something outside, in real time.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the production planner and dispatcher on a virtual clock, one thing at a time, in an order that a seed decides.
///
/// A driver is a program's whole world: the store with its works, the clock, the machine's conditions, and one process at a
/// time with its manager. The process starts with the first verb that needs it, so everything that shapes it
/// ([`store`](Self::store), [`limits`](Self::limits), [`stub`](Self::stub) …) comes before.
///
/// ```
/// use std::time::Duration;
/// use workman_core::{WorkState, worker};
/// use workman_testing::TestDriver;
///
/// #[worker]
/// async fn upload(path: String) -> Result<u64, String> {
///     Err(format!("{path}: offline"))
/// }
///
/// let test = TestDriver::new();
/// test.stub::<upload>([Err("offline".into()), Ok(7)]);        // the worker faked, its codec real
/// let id = test.enqueue(upload::request("cat.png".into()));
/// test.run_until_idle();
/// assert_eq!(test.info(id).state, WorkState::Enqueued);       // failed once, waits
/// test.advance(Duration::from_secs(30));
/// assert_eq!(test.info(id).state, WorkState::Succeeded);
/// assert_eq!(test.output::<u64>(id), 7);
/// ```
///
/// # What waits for what
/// Nothing waits in real time, as long as workers wait for their context, for other works, or for a [`Signal`](crate::Signal). A
/// worker that waits for the world outside (a socket, another thread) gets five seconds of real time
/// ([`patience`](Self::patience)); then the test fails, and the message names the worker, the attempt and the remedy. A blocking
/// worker is a real thread, and only it runs until it ends or enters a call of its context.
///
/// A worker with a [`Completer`](workman_core::Completer) gets that time too, so that a thread that settles it at once is always
/// heard before virtual time goes on. But when nobody settles it, the test does not fail: virtual time goes on, and with it
/// the timeout, the lost constraints and the cancellation of that run.
/// ```
/// use std::thread;
/// use workman_core::{Completer, worker};
/// use workman_testing::TestDriver;
///
/// #[worker]
/// fn add(a: u32, b: u32, done: Completer<u32>) {
///     thread::spawn(move || done.succeed(a + b));
/// }
///
/// let test = TestDriver::new();
/// let id = test.enqueue(add::request(1, 2));
/// test.run_until_idle();                                      // waits for the thread
/// assert_eq!(test.output::<u32>(id), 3);
/// ```
/// Where no other thread does anything, the test says so with [`nobody_outside`](Self::nobody_outside), and nothing waits in real
/// time.
///
/// A future of the manager (`handle.output()`, say) is waited for with [`block_on`](Self::block_on): the driver lets nothing run while
/// somebody else waits on its thread, so that is refused with a panic that says so.
///
/// # Workers that need tokio
/// They find it when the driver is made inside of a tokio runtime, in a `#[tokio::test]` of any flavour (with the feature `tokio` of
/// `workman-core`), blocking workers too. Timers and sockets of tokio take real time, which is given as to everything outside. A
/// runtime of one thread stands still while the driver has its thread, so workers get another one beside it; tasks that the test itself
/// has spawned go on when the test awaits something, or from the start in a `#[tokio::test(flavor = "multi_thread")]`.
///
/// # Seeds
/// The order of things that could happen in any order follows from the seed: a fixed one, or that of
/// [`with_seed`](Self::with_seed), or the environment variable `WORKMAN_SEED`, which wins. A failing test prints it.
///
/// # What is checked
/// Everything that must hold in every store ([`Dump::broken_invariants`](workman_core::store::Dump::broken_invariants)) is held
/// against all that is stored, and the test fails when something does not hold, whoever broke it:
/// - after each commit, as long as no more than eight works are stored; with more works after every so manyth commit, an eighth of
///   the number of works apart, since a check looks at all of them;
/// - in a verb that makes more than 1,024 commits, say an [`advance`](Self::advance) by a year, less and less often the longer it
///   goes on, and again when the verb ends;
/// - when a process ends, and when the driver is dropped, if there were commits since the last check.
///
/// Dropping the driver ends its process like a crash.
#[must_use = "a driver does nothing until it is told to"]
pub struct TestDriver {
    seed: u64,
    clock: VirtualClock,
    sensor: ManualSensor,
    /// An item says that the manager has not heard of a change of the sensor.
    sensed: RefCell<BoxStream<'static, ()>>,
    executor: Arc<Executor>,
    ids: Arc<IdSource>,
    setup: RefCell<Setup>,
    ledger: RefCell<Arc<Ledger>>,
    process: RefCell<Option<Process>>,
    patience: Duration,
    nobody_outside: bool,
    /// Whether the test was told that a completer took real time.
    noted_completers: Cell<bool>,
    /// Requests get their ids on this thread, so the driver stays on it.
    scope: Option<ScopedIds>,
    /// Who waits on this thread by another executor waits in vain.
    _here: DriverHere,
    this_thread: PhantomData<*const ()>,
}

/// What dies in a crash.
struct Process {
    manager: WorkManager,
    store: Arc<FaultStore>,
}

/// Puts a stub in a registry.
type FakeWorker = Box<dyn Fn(&mut Registry)>;

/// What every process of the test starts with.
struct Setup {
    registry: Option<Registry>,
    limits: Limits,
    shape: Vec<Box<dyn Fn(Builder) -> Builder>>,
    stubs: Vec<FakeWorker>,
}

impl TestDriver {
    /// A world with a memory store, an ideal machine, and all workers that are linked. Workers of one name are no concern of a test
    /// that runs none of them; one that means one of them says which, with [`register`](Self::register) or [`stub`](Self::stub).
    pub fn new() -> Self {
        Self::with_seed(DEFAULT_SEED)
    }

    /// The same with another seed, unless `WORKMAN_SEED` is set.
    pub fn with_seed(seed: u64) -> Self {
        let asked = std::env::var("WORKMAN_SEED").ok().and_then(|seed| parse_seed(&seed));
        let seed = asked.unwrap_or(seed);
        let clock = VirtualClock::new();
        let ids = Arc::new(IdSource::new(Arc::new(clock.clone()), seed));
        let sensor = ManualSensor::new();
        TestDriver {
            seed,
            sensed: RefCell::new(sensor.changes()),
            sensor,
            executor: Executor::new(seed),
            scope: Some(scoped_ids(Arc::clone(&ids))),
            ids,
            setup: RefCell::new(Setup {
                registry: None,
                limits: Self::default_limits(),
                shape: Vec::new(),
                stubs: Vec::new(),
            }),
            ledger: RefCell::new(Ledger::new(Arc::new(MemoryHome::new()), seed, Broken::default())),
            process: RefCell::new(None),
            patience: DEFAULT_PATIENCE,
            nobody_outside: false,
            _here: DriverHere::new(),
            noted_completers: Cell::new(false),
            clock,
            this_thread: PhantomData,
        }
    }

    /// The limits of a test: the defaults, with four slots of each kind on every machine.
    #[must_use]
    pub fn default_limits() -> Limits {
        let mut limits = Limits::default();
        (limits.async_slots, limits.blocking_slots) = (4, 4);
        limits
    }

    // ---- what every process starts with ----

    /// Keeps the works there.
    #[track_caller]
    pub fn store(self, home: impl StoreHome) -> Self {
        self.must_not_run("store");
        let broken = self.ledger.borrow().broken();
        self.ledger.replace(Ledger::new(Arc::new(home), self.seed, broken));
        self
    }

    /// Other limits; start from [`default_limits`](Self::default_limits).
    #[track_caller]
    pub fn limits(self, limits: Limits) -> Self {
        self.must_not_run("limits");
        self.setup.borrow_mut().limits = limits;
        self
    }

    /// Gives workers this state, as [`Builder::state`] does: one of each type.
    pub fn state<T: Clone + Send + Sync + 'static>(self, state: T) -> Self {
        self.shape(move |builder| builder.state(state.clone()))
    }

    /// Runs this worker. As with [`Builder::register`], one such call means that only named workers run.
    #[track_caller]
    pub fn register<W: Worker>(self) -> Self {
        self.must_not_run("register");
        self.setup.borrow_mut().registry.get_or_insert_with(Registry::new).add::<W>();
        self
    }

    /// Changes the builder of every process in any other way: `.shape(Builder::enqueue_only)`.
    #[track_caller]
    pub fn shape(self, shape: impl Fn(Builder) -> Builder + 'static) -> Self {
        self.must_not_run("shape");
        self.setup.borrow_mut().shape.push(Box::new(shape));
        self
    }

    /// How long a worker may wait for the world outside, in real time; five seconds unless said otherwise. A blocking worker
    /// has to end or to enter a call of its context within it.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// No thread but that of the test does anything for workers: it settles their completers and feeds their channels, or
    /// nobody does. So no worker gets real time for the world outside, and none fails the test by waiting for it.
    ///
    /// A blocking worker must still wait with its context or with a [`Signal`](crate::Signal). If a thread does settle
    /// something after all, wait for it with [`block_on`](Self::block_on), or join it, and then say
    /// [`run_until_idle`](Self::run_until_idle).
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    /// use workman_core::{Completer, StopReason, WorkState, worker};
    /// use workman_testing::TestDriver;
    ///
    /// /// A service that will call back, some time.
    /// type Service = Arc<Mutex<Vec<Completer<u32>>>>;
    ///
    /// #[worker]
    /// fn ask(#[state] service: Service, done: Completer<u32>) {
    ///     service.lock().unwrap().push(done);
    /// }
    ///
    /// let service = Service::default();
    /// let test = TestDriver::new().nobody_outside().state(service.clone());
    ///
    /// let answered = test.enqueue(ask::request());
    /// test.run_until_idle();
    /// assert_eq!(test.state_of(answered), WorkState::Running);
    /// let done = service.lock().unwrap().pop().unwrap();
    /// done.succeed(7);                                        // the test calls back
    /// test.run_until_idle();
    /// assert_eq!(test.output::<u32>(answered), 7);
    ///
    /// let forgotten = test.enqueue(ask::request().timeout(Duration::from_secs(30)).max_attempts(1));
    /// test.advance(Duration::from_secs(30));                  // nobody calls back
    /// assert!(service.lock().unwrap()[0].is_stopped());
    /// test.advance(TestDriver::default_limits().grace);
    /// assert_eq!(test.state_of(forgotten), WorkState::Failed);
    /// assert_eq!(test.info(forgotten).stop_reason, Some(StopReason::Timeout));
    /// ```
    pub fn nobody_outside(mut self) -> Self {
        self.nobody_outside = true;
        self
    }

    /// The workers of the next build of the program: those of the processes that start from now on.
    pub fn next_build(&self, workers: Registry) {
        self.setup.borrow_mut().registry = Some(workers);
    }

    // ---- the world ----

    /// The seed of this test.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The clock, to set the wall clock or to suspend the machine; [`advance`](Self::advance) lets things happen meanwhile.
    #[must_use]
    pub fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// The machine's conditions, ideal at first.
    #[must_use]
    pub fn sensor(&self) -> &ManualSensor {
        &self.sensor
    }

    // ---- faults ----

    /// How many commits the store has made, in all processes.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.ledger.borrow().commits()
    }

    /// Lets the process die at this commit; the first is number 1. See [`has_crashed`](Self::has_crashed).
    pub fn crash_at(&self, commit: u64, point: CrashPoint) {
        self.ledger.borrow().crash_at(commit, point);
    }

    /// Lets the store fail at this commit, and go on afterwards.
    pub fn fail_at(&self, commit: u64, fault: Fault) {
        self.ledger.borrow().fail_at(commit, fault);
    }

    /// Whether the process has died at a point that [`crash_at`](Self::crash_at) asked for. Nothing runs any more until
    /// [`crash_and_restart`](Self::crash_and_restart).
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.ledger.borrow().has_crashed()
    }

    #[track_caller]
    fn must_not_run(&self, what: &str) {
        if self.process.borrow().is_some() {
            self.fail(format_args!("`{what}` shapes the process and comes before the first verb that starts it"));
        }
    }

    #[track_caller]
    fn fail(&self, what: fmt::Arguments<'_>) -> ! {
        panic!("{what}\n(WORKMAN_SEED={} repeats this run)", self.seed)
    }
}

impl Default for TestDriver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDriver").field("seed", &self.seed).field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Drop for TestDriver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this test ran with WORKMAN_SEED={}", self.seed);
        }
        self.end_process();
        self.scope = None;
        if !std::thread::panicking() {
            self.check();
        }
    }
}

fn parse_seed(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
