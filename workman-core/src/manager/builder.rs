//! [`Builder`]: puts a manager together and starts it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

use futures::channel::mpsc::unbounded;
use futures::future::{BoxFuture, Either, select};
use futures::{StreamExt, stream};

use super::WorkManager;
use super::beside::beside;
use super::gates::Gate;
use super::program::{log_gates, program};
use super::refused::StartError;
use crate::dispatcher::{Core, Dispatcher, Farewell, MissingSensor, Pipes, Role, Slots, log_deaths};
use crate::foreign::{Kept, foreign};
use crate::health::Health;
use crate::limits::Limits;
use crate::observe::Hub;
use crate::plan::{Applied, Command, Death, GateCommand};
use crate::record::Lane;
use crate::runtime::{self, Driven, Runtime, ThreadRuntime};
use crate::sensor::{ConstraintSensor, Dwell, NoSensor, Senses};
use crate::store::{ExpectedTime, HomeProcess, Store, Unit};
use crate::time::{Clock, NextDue, Reading, SystemClock, Timestamp};
use crate::worker::{ReadBack, Registry, RunsHere, StateKey, States, Worker};

/// Puts a [`WorkManager`] together. Made by [`WorkManager::builder`].
#[must_use = "a builder does nothing until it is started"]
#[doc(alias("Configuration", "config"))]
pub struct Builder {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    runtime: Option<Arc<dyn Runtime>>,
    sensor: Arc<dyn ConstraintSensor>,
    missing_sensor: MissingSensor,
    registry: Option<Registry>,
    states: States,
    /// A type of which there was a state already.
    twice: Option<StateKey>,
    limits: Limits,
    role: Role,
    read_back: ReadBack,
    driven: Driven,
    gates: Vec<Gate>,
}

impl Builder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Builder {
            store,
            clock: Arc::new(SystemClock::new()),
            runtime: None,
            sensor: Arc::new(NoSensor),
            missing_sensor: MissingSensor::default(),
            registry: None,
            states: States::default(),
            twice: None,
            limits: Limits::default(),
            role: Role::Runs,
            read_back: ReadBack::default(),
            driven: Driven::default(),
            gates: Vec::new(),
        }
    }

    /// Runs workers there. Without this call: with the feature `tokio` on the tokio runtime that surrounds the call of `start`, if one
    /// does; otherwise on built-in threads. The log says which.
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// Asks this sensor whether constraints hold. Without one, requests with constraints are refused.
    #[doc(alias = "ConstraintTracker")]
    pub fn sensor(mut self, sensor: impl ConstraintSensor) -> Self {
        self.sensor = Arc::new(sensor);
        self
    }

    /// What to do about constraints that the sensor does not observe.
    pub fn missing_sensor(mut self, policy: MissingSensor) -> Self {
        self.missing_sensor = policy;
        self
    }

    /// Says what the program wants of a gate: it is stored at the start, and counts until another program says something else of it, or a
    /// person does ([`WorkManager::limit`]). Said twice, the later counts; `#[worker(concurrency = 2)]` says it of a worker, and
    /// this goes before it.
    ///
    /// What the program before said of workers that this one has and says nothing of is forgotten, and so is what it said of everything
    /// else if no other manager is attached to the store. A limit that changes is logged with both.
    #[doc(alias("concurrency", "throttle"))]
    pub fn limit(mut self, gate: Gate) -> Self {
        self.gates.push(gate);
        self
    }

    /// Gives workers this value: each argument `#[state] x: T` gets a clone of it. There is one value of each type: a second one makes
    /// `start` fail, and a type of your own around it tells the two apart.
    ///
    /// # A manager as its own state
    /// The manager keeps its states until it ends, and it ends when its last clone is dropped. So a state that holds a clone of
    /// this very manager, in an `Arc<OnceLock<WorkManager>>` say, keeps it running for ever, and its store open: only
    /// [`shutdown`](WorkManager::shutdown) ends the work then, and even that does not close the store in this process. A
    /// [`WorkHandle`](crate::WorkHandle) counts as a clone. What belongs after a work is better said when that is enqueued, as
    /// a prerequisite. A worker that must enqueue what it finds gets a `Weak`, and the program keeps the `Arc`:
    /// ```
    /// use std::sync::{Arc, OnceLock, Weak};
    /// use workman_core::{MemoryStore, ThreadRuntime, WorkManager, WorkQuery, worker};
    ///
    /// /// The manager, as long as the program keeps it.
    /// type Manager = Arc<OnceLock<Weak<WorkManager>>>;
    ///
    /// #[worker]
    /// async fn unpack(#[state] manager: Manager) -> Result<(), String> {
    ///     let manager = manager.get().and_then(Weak::upgrade).ok_or("the program ends")?;
    ///     manager.enqueue(index::request("a.txt".into())).await.map_err(|error| error.to_string())?;
    ///     Ok(())
    /// }
    ///
    /// #[worker]
    /// async fn index(file: String) -> usize {
    ///     file.len()
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let slot = Manager::default();
    /// let builder = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).state(slot.clone());
    /// let manager = Arc::new(builder.start()?);
    /// let _ = slot.set(Arc::downgrade(&manager));             // work of an earlier process may have run already
    /// manager.enqueue(unpack::request()).await?.output().await?;
    /// assert_eq!(manager.query(WorkQuery::tag("index")).await?.len(), 1);
    /// drop(manager);                                          // the last: the manager ends
    /// assert!(slot.get().and_then(Weak::upgrade).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[doc(alias("Data", "Extension", "context", "dependency"))]
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        if let Err(twice) = self.states.insert(state) {
            self.twice.get_or_insert(twice);
        }
        self
    }

    /// Runs this worker. With one such call, only workers that are named by one run here; with none, all that are linked.
    pub fn register<W: Worker>(mut self) -> Self {
        self.registry.get_or_insert_with(Registry::new).add::<W>();
        self
    }

    /// As [`register`](Self::register), under another name: for two libraries that chose the same.
    pub fn register_as<W: Worker>(mut self, name: &str) -> Self {
        self.registry.get_or_insert_with(Registry::new).add_as::<W>(name);
        self
    }

    /// Runs exactly these workers.
    pub fn workers(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Changes limits and defaults.
    #[doc(alias("concurrency", "workers", "setExecutor"))]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Takes the time from there.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Only enqueues: a program that leaves running to another, or to its next start. It needs no runtime, no state and no sensor,
    /// and workers of one name are no concern of its; those who run them look at all that.
    pub fn enqueue_only(mut self) -> Self {
        self.role = Role::EnqueuesOnly;
        self
    }

    /// Which values are read back before they are stored; for those who test in builds without debug assertions.
    #[doc(hidden)]
    pub fn read_back(mut self, which: ReadBack) -> Self {
        self.read_back = which;
        self
    }

    /// A test drives it, on its own thread.
    #[doc(hidden)]
    pub fn driven_by_test(mut self) -> Self {
        self.driven = Driven::ByTest;
        self
    }

    /// Starts the manager on a thread of its own. What a dead process was running is given back before this returns.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(self) -> Result<WorkManager, StartError> {
        let (manager, engine) = self.start_inline()?;
        let thread = thread::Builder::new().name("workman-dispatcher".into());
        let departure = manager.departs();
        let run = move || {
            departure.begin();
            // A dispatcher that panics gives its works back and closes the hub as it is dropped.
            if let Err(panicked) = foreign(|| runtime::block_on(engine)) {
                tracing::error!(%panicked, "the dispatcher has ended by a bug of workman; nothing runs here any more");
            }
            departure.end();
        };
        thread.spawn(run).map_err(StartError::Thread)?;
        Ok(manager)
    }

    /// Starts the manager without a thread: whoever polls the [`Engine`] drives it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_inline(self) -> Result<(WorkManager, Engine), StartError> {
        if let Some(state) = self.twice {
            return Err(StartError::StateTwice { state });
        }
        let mut registry = self.registry.unwrap_or_else(Registry::linked);
        if self.role == Role::Runs {
            registry = registry.validate().map_err(StartError::DuplicateWorker)?;
            check_workers(&registry, &self.states)?;
        }
        let runtime = self.runtime.unwrap_or_else(|| match self.role {
            Role::Runs => runtime::default_runtime(),
            Role::EnqueuesOnly => Arc::new(ThreadRuntime::new()),
        });
        // Those who run work look at every commit; those who only enqueue would be woken by their own for nothing.
        let (changes, changes_for_observers) = match self.role {
            Role::Runs => (self.store.changes(), Some(self.store.changes())),
            Role::EnqueuesOnly => (stream::pending().boxed(), None),
        };
        let program = program(self.role, &registry, &self.gates)?;
        let attached = attach(&*self.store, &*self.clock, program)?;
        let time = ExpectedTime::new(Arc::clone(&self.clock));
        time.learn(attached.at, attached.now);
        let (to_dispatcher, controls) = unbounded();
        let senses = Arc::new(Senses::new(self.sensor));
        let dwell = Dwell::new(self.limits.dwell, senses.conditions());
        let home = HomeProcess::current();
        let core = Arc::new(Core {
            home,
            slots: Arc::new(Slots::new(&self.limits, to_dispatcher.clone())),
            here: RunsHere::of(self.store.instance()),
            store: self.store,
            clock: self.clock,
            time: Arc::new(time),
            runtime: Kept::new("the runtime", runtime),
            senses,
            registry,
            states: Arc::new(self.states),
            limits: Arc::new(self.limits),
            missing_sensor: self.missing_sensor,
            driven: self.driven,
            role: self.role,
            read_back: self.read_back,
            epoch: attached.epoch,
            hub: Arc::new(Hub::default()),
            health: Health::default(),
            dwell: Mutex::new(dwell),
            rivals: Mutex::default(),
            unknown_workers: Mutex::default(),
            live: Arc::default(),
            dispatcher: to_dispatcher,
        });
        tracing::info!(
            epoch = core.epoch,
            runtime = core.runtime.name(),
            workers = core.registry.len(),
            rescued = attached.died.len(),
            "workman starts"
        );
        log_deaths(&attached.died);
        let pipes = Pipes { controls, changes };
        let mut dispatcher = Dispatcher::new(Arc::clone(&core), &attached.lanes, attached.next_due, pipes);
        if attached.more_to_rescue {
            dispatcher.rescue_more();
        }
        let beside = beside(Arc::clone(&core), changes_for_observers);
        let engine = async move { first_of(dispatcher, beside).await.say() };
        Ok((WorkManager::of(core), Engine { home, run: Box::pin(engine) }))
    }
}

/// Runs both until the dispatcher ends. When this returns, neither holds the store any more.
async fn first_of(dispatcher: Dispatcher, beside: impl Future<Output = Infallible>) -> Farewell {
    match select(Box::pin(dispatcher.run()), Box::pin(beside)).await {
        Either::Left((farewell, _)) => farewell,
        Either::Right((never, _)) => match never {},
    }
}

/// What a manager says that can run nothing.
const NO_WORKER: &str = "no worker is linked into this program or registered, so nothing runs: name each by `.register::<my_worker>()`, \
    as a program in another language must that links a static library; or, if they lie in a crate of their own, say \
    `use my_workers as _;`";

fn check_workers(registry: &Registry, states: &States) -> Result<(), StartError> {
    if registry.is_empty() {
        tracing::warn!("{NO_WORKER}");
    }
    for worker in registry.iter() {
        let Some(state) = worker.missing_states(states).first().copied() else { continue };
        if worker.explicit {
            return Err(StartError::MissingState { worker: Arc::clone(&worker.name), state });
        }
        tracing::warn!(
            worker = %worker.name,
            state = state.name(),
            "a linked worker needs a state that was not given; its work waits. Add `.state(..)` to the builder"
        );
    }
    Ok(())
}

struct Attached {
    epoch: u64,
    lanes: Vec<Lane>,
    next_due: NextDue,
    /// The store's time and the clock of the attachment.
    now: Timestamp,
    at: Reading,
    died: Vec<Death>,
    more_to_rescue: bool,
}

fn attach(store: &dyn Store, clock: &dyn Clock, program: Option<GateCommand>) -> Result<Attached, StartError> {
    let at = clock.read();
    let unit = |command| Unit { command, at };
    let mut units = vec![unit(Command::Attach), unit(Command::Rescue)];
    units.extend(program.map(|program| unit(Command::Gate(Box::new(program)))));
    let answers = runtime::block_on(store.transact(units)).map_err(StartError::Store)?;
    let mut answers = answers.into_iter();
    match (answers.next(), answers.next()) {
        (
            Some(Ok(Applied::Attached { epoch, lanes, next_due, now })),
            Some(Ok(Applied::Released { died, again, .. })),
        ) => {
            match answers.next() {
                Some(Ok(Applied::Gates { changed, .. })) => log_gates(&changed),
                Some(Err(refusal)) => {
                    // It does not start, so it must not look as if it was there.
                    runtime::block_on(store.transact(vec![unit(Command::Detach { epoch })]))
                        .map_err(StartError::Store)?;
                    return Err(StartError::Gate(refusal));
                }
                _ => {}
            }
            Ok(Attached { epoch, lanes, next_due, now, at, died, more_to_rescue: again })
        }
        (attached, rescued) => Err(StartError::StoreContract(format!("{:?}", [attached, rescued]))),
    }
}

/// The running part of a manager that was started by [`Builder::start_inline`]: a future that ends when the manager has left.
#[must_use = "nothing runs until the engine is polled"]
pub struct Engine {
    home: HomeProcess,
    run: BoxFuture<'static, ()>,
}

impl Future for Engine {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.home.is_current() {
            // In a forked child nothing of the parent's is driven.
            return Poll::Ready(());
        }
        self.run.as_mut().poll(cx)
    }
}
