//! [`Core`]: what the handles of a manager and its dispatcher share.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;

use super::inbox::Control;
use super::slots::Slots;
use crate::constraints::{ConstraintKind, Constraints};
use crate::foreign::Kept;
use crate::health::{Asked, Awaited, Health};
use crate::limits::Limits;
use crate::observe::Hub;
use crate::plan::{Claimed, Command};
use crate::query::{Page, PageRequest};
use crate::record::LaneId;
use crate::runtime::{Driven, Runtime};
use crate::sensor::{Dwell, Senses};
use crate::store::Stamp;
use crate::store::{ExpectedTime, HomeProcess, Store, StoreError, Unit, UnitResult};
use crate::time::{Clock, Due, Timestamp};
use crate::worker::{Attempt, Fate, FromWorker, Live, ReadBack, Registry, RunsHere, Shared, States, WorkerDef};

/// What the handles of a manager and its dispatcher share.
pub(crate) struct Core {
    pub(crate) home: HomeProcess,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What the store makes of that clock.
    pub(crate) time: Arc<ExpectedTime>,
    pub(crate) runtime: Kept<Arc<dyn Runtime>>,
    pub(crate) senses: Arc<Senses>,
    pub(crate) registry: Registry,
    pub(crate) states: Arc<States>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) missing_sensor: MissingSensor,
    pub(crate) driven: Driven,
    pub(crate) role: Role,
    pub(crate) read_back: ReadBack,
    pub(crate) epoch: u64,
    pub(crate) hub: Arc<Hub>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) health: Health,
    pub(crate) dwell: Mutex<Dwell>,
    /// What may go before work that is offered a slot.
    pub(crate) rivals: Mutex<Rivals>,
    /// Workers that lanes name and that can't run here: unknown to this build, or without a state that they need.
    pub(crate) unknown_workers: Mutex<BTreeSet<Arc<str>>>,
    pub(crate) live: Arc<Live>,
    /// What goes on of this store in this process, whoever began it.
    pub(crate) here: Arc<RunsHere>,
    pub(crate) dispatcher: UnboundedSender<Control>,
}

/// Where something may be ready that ranks higher than what is offered a slot.
#[derive(Clone, Default)]
pub(crate) struct Rivals {
    /// The lanes that were open at the last claim.
    pub(crate) open: Vec<LaneId>,
    /// How many lanes there were then.
    pub(crate) lanes: u32,
}

/// What to do about constraints that no sensor observes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingSensor {
    /// A request with such a constraint is refused.
    #[default]
    Refuse,
    /// Such work waits, visibly, until a program with a sensor runs it.
    Wait,
    /// The constraint counts as met.
    AssumeMet,
}

/// What a manager does beside enqueueing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It runs work.
    Runs,
    /// It leaves running to others.
    EnqueuesOnly,
}

/// The store is asked something, as long as this is there.
pub(crate) struct Asking<C: Deref<Target = Core>>(C, Awaited);

impl<C: Deref<Target = Core>> Asking<C> {
    pub(crate) fn new(core: C, awaited: Awaited) -> Self {
        core.health.asks(awaited, core.clock.monotonic());
        Asking(core, awaited)
    }
}

impl<C: Deref<Target = Core>> Drop for Asking<C> {
    fn drop(&mut self) {
        self.0.health.asks_no_more(self.1, self.0.clock.monotonic());
    }
}

/// A command that may leave a cascade is on its way to the store.
pub(crate) struct Wide<'a>(&'a Core);

impl Drop for Wide<'_> {
    fn drop(&mut self) {
        // Also when the caller gave up waiting: what was sent is done. A dispatcher that is gone drains nothing; the next does.
        let _ = self.0.dispatcher.unbounded_send(Control::Cascade);
    }
}

impl Core {
    /// Writes for a call of the program.
    pub(crate) async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        self.home.check()?;
        let asking = Asking::new(self, Awaited::BySomebody);
        let answers = self.store.transact(units).await;
        drop(asking);
        self.health.heard(Asked::Write, answers.as_ref().err());
        answers
    }

    /// Reads for a call of the program, which wants to see the times of the wall clock.
    pub(crate) async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        self.home.check()?;
        let asking = Asking::new(self, Awaited::ByNobody);
        let mut page = self.store.query(request).await;
        drop(asking);
        self.health.heard(Asked::Read, page.as_ref().err());
        if let Ok(page) = &mut page {
            let Stamp { offset_ms, .. } = self.time.now();
            page.works.iter_mut().for_each(|info| info.show_by_the_wall(offset_ms));
        }
        page
    }

    pub(crate) fn unit(&self, command: Command) -> Unit {
        Unit { command, at: self.clock.read() }
    }

    /// Commands that are sent together.
    pub(crate) fn units(&self, commands: impl IntoIterator<Item = Command>) -> Vec<Unit> {
        let at = self.clock.read();
        commands.into_iter().map(|command| Unit { command, at }).collect()
    }

    /// What the store would stamp now.
    pub(crate) fn store_now(&self) -> Timestamp {
        self.time.now().now
    }

    /// For how long the store has answered nothing, and since when.
    pub(crate) fn silence(&self) -> Option<String> {
        let silence = self.health.silence(self.clock.monotonic());
        (silence > Duration::ZERO).then(|| {
            let since = self.clock.wall() - silence;
            format!("the store has not answered since {since}, for {:.1} s", silence.as_secs_f64())
        })
    }

    /// How long it is until then, as the clocks stand.
    pub(crate) fn until(&self, due: Due) -> Duration {
        let Stamp { now, offset_ms } = self.time.now();
        due.in_store_time(offset_ms).since(now)
    }

    /// What to hold while a command is written that may leave the rest of something wide. Who listens to the store hears of that;
    /// a manager that only enqueues does not listen, and looks when this is dropped.
    pub(crate) fn wide(&self) -> Option<Wide<'_>> {
        (self.role == Role::EnqueuesOnly).then_some(Wide(self))
    }

    /// The attempt for which this was claimed.
    pub(super) fn attempt(
        &self,
        claimed: &Claimed,
        def: &'static WorkerDef,
        engine: UnboundedSender<FromWorker>,
    ) -> Attempt {
        Attempt {
            id: claimed.record.id,
            fence: claimed.record.fence,
            worker: Arc::clone(&claimed.spec.worker),
            def,
            tags: claimed.spec.tags.clone(),
            gates: claimed.record.counted().to_vec(),
            number: claimed.record.failures,
            most: claimed.record.terms.max_attempts,
            generation: claimed.record.generation,
            trace_tag: Arc::clone(claimed.spec.trace_tag.as_ref().unwrap_or(&claimed.spec.worker)),
            period: claimed.record.period.map(|period| period.count),
            timeout: claimed.record.terms.timeout,
            limits: Arc::clone(&self.limits),
            read_back: self.read_back,
            output: if claimed.record.terms.discards_output { Fate::Discarded } else { Fate::Kept },
            time: Arc::clone(&self.time),
            engine,
            hub: Arc::clone(&self.hub),
            live: Arc::clone(&self.live),
            shared: Mutex::new(Shared::new(claimed.checkpoint.clone())),
        }
    }

    /// Whether these hold at this moment, whatever was heard before: the sensor is asked once more, since it may know of a change of which
    /// nobody has heard yet. Of one that panics, what it said before still counts.
    pub(crate) fn hold_now(&self, constraints: &Constraints) -> bool {
        let now = self.clock.monotonic();
        if let Ok(conditions) = self.senses.ask() {
            self.dwell().observe(conditions, now);
        }
        self.dwell().may_start(constraints, now).is_ok()
    }

    pub(crate) fn dwell(&self) -> MutexGuard<'_, Dwell> {
        self.dwell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rivals(&self) -> MutexGuard<'_, Rivals> {
        self.rivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The constraints that count: without those that nobody observes, if the builder said so.
    pub(crate) fn effective(&self, constraints: &Constraints) -> Constraints {
        if self.missing_sensor != MissingSensor::AssumeMet || constraints.is_none() {
            return constraints.clone();
        }
        let conditions = self.senses.conditions();
        let unobserved = ConstraintKind::ALL.into_iter().filter(|kind| !conditions.observes(*kind));
        unobserved.fold(constraints.clone(), Constraints::without)
    }

    pub(crate) fn unknown_workers(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.unknown_workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Core {
    /// One that nobody drives, on a store in memory and a clock that stands still at zero.
    pub(super) fn still(registry: Registry, limits: Limits) -> Core {
        use futures::channel::mpsc::unbounded;

        use crate::MemoryStore;
        use crate::plan::Applied;
        use crate::runtime::block_on;
        use crate::sensor::{ConstraintSensor, NoSensor};

        /// Drops what it is given, and never moves.
        struct Still;

        impl Runtime for Still {
            fn spawn(&self, _: futures::future::BoxFuture<'static, ()>) {}
            fn spawn_blocking(&self, _: Box<dyn FnOnce() + Send>) {}
        }

        impl Clock for Still {
            fn wall(&self) -> Timestamp {
                Timestamp::default()
            }

            fn monotonic(&self) -> Duration {
                Duration::ZERO
            }

            fn sleep(&self, _: Duration) -> futures::future::BoxFuture<'static, ()> {
                Box::pin(futures::future::pending())
            }
        }

        let dispatcher = unbounded().0;
        let store = Arc::new(MemoryStore::new());
        let mut core = Core {
            home: HomeProcess::current(),
            here: RunsHere::of(store.instance()),
            store,
            clock: Arc::new(Still),
            time: Arc::new(ExpectedTime::new(Arc::new(Still))),
            runtime: Kept::new("the runtime", Arc::new(Still)),
            senses: Arc::new(Senses::new(Arc::new(NoSensor))),
            registry,
            states: Arc::default(),
            missing_sensor: MissingSensor::default(),
            driven: Driven::default(),
            role: Role::Runs,
            read_back: ReadBack::default(),
            epoch: 0,
            hub: Arc::default(),
            slots: Arc::new(Slots::new(&limits, dispatcher.clone())),
            health: Health::default(),
            dwell: Mutex::new(Dwell::new(limits.dwell, NoSensor.conditions())),
            limits: Arc::new(limits),
            rivals: Mutex::default(),
            unknown_workers: Mutex::default(),
            live: Arc::default(),
            dispatcher,
        };
        let attached = block_on(core.store.transact(vec![core.unit(Command::Attach)]));
        match attached.expect("it is in memory").pop() {
            Some(Ok(Applied::Attached { epoch, .. })) => core.epoch = epoch,
            other => panic!("{other:?}"),
        }
        core
    }
}
