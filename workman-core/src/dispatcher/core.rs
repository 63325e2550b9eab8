//! What the handles of a manager and its dispatcher share, and what they say to each other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use futures::channel::oneshot;

use super::Slots;
use crate::constraints::{ConstraintKind, Constraints};
use crate::health::{Asked, Health};
use crate::id::WorkId;
use crate::limits::Limits;
use crate::observe::Hub;
use crate::plan::Command;
use crate::query::{Page, PageRequest};
use crate::record::LaneId;
use crate::runtime::Runtime;
use crate::sensor::{ConstraintSensor, Dwell};
use crate::store::{HomeProcess, Store, StoreError, Unit, UnitResult};
use crate::time::{Clock, Timestamp};
use crate::worker::{Live, ReadBack, Registry, States};

/// What the handles of a manager and its dispatcher share.
pub(crate) struct Core {
    pub(crate) home: HomeProcess,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wall: SteadyWall,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) sensor: Arc<dyn ConstraintSensor>,
    pub(crate) registry: Registry,
    pub(crate) states: Arc<States>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) missing_sensor: MissingSensor,
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
    pub(crate) strangers: Mutex<BTreeSet<Arc<str>>>,
    pub(crate) live: Arc<Live>,
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

/// A command that may leave a cascade is on its way to the store.
pub(crate) struct Wide<'a>(&'a Core);

impl Drop for Wide<'_> {
    fn drop(&mut self) {
        // Also when the caller gave up waiting: what was sent is done. A dispatcher that is gone drains nothing; the next does.
        let _ = self.0.dispatcher.unbounded_send(Control::Cascade);
    }
}

/// What handles tell the dispatcher.
pub(crate) enum Control {
    /// Reserved slots are free again, and a claim has missed them.
    SlotsFree,
    /// A command of this manager may have left a cascade, and it does not listen to the store.
    Cascade,
    /// Say when nothing runs and nothing can start.
    WhenIdle(oneshot::Sender<()>),
    /// Start nothing more, and stop what runs.
    Shutdown { grace: Duration, done: oneshot::Sender<ShutdownReport> },
    /// The last handle is gone.
    HandlesGone,
}

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Runs that ended by themselves within the grace period.
    pub ended: usize,
    /// Runs that did not end in time: async workers were dropped, blocking ones go on without effect. Their work runs again.
    pub given_up: Vec<WorkId>,
    /// What the store said, if giving work back failed to the end; the next opening of the store rescues it then.
    pub error: Option<String>,
}

/// The wall clock as this process takes it: a step back is absorbed by the monotonic clock, so that no wait gets longer.
#[derive(Default)]
pub(crate) struct SteadyWall {
    /// When the wall clock was last believed, by both clocks.
    believed: Mutex<Option<(Timestamp, Duration)>>,
    /// What is added to get store time, as the store last said.
    skew_ms: AtomicI64,
}

impl SteadyWall {
    fn now(&self, clock: &dyn Clock) -> Timestamp {
        let (wall, monotonic) = (clock.wall(), clock.monotonic());
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        // Cut and not rounded up, and counted from where it began: or each of thousands of calls a second would gain a part of a
        // millisecond, and time would run away.
        let elapsed = |then: Duration| i64::try_from(monotonic.saturating_sub(then).as_millis()).unwrap_or(i64::MAX);
        let steady = believed.map(|(at, then)| Timestamp::from_millis(at.as_millis().saturating_add(elapsed(then))));
        match steady {
            Some(steady) if steady > wall => steady,
            _ => {
                *believed = Some((wall, monotonic));
                wall
            }
        }
    }
}

impl Core {
    /// Writes for a call of the program.
    pub(crate) async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        self.home.check()?;
        let answers = self.store.transact(units).await;
        self.health.heard(Asked::Write, answers.as_ref().err());
        answers
    }

    /// Reads for a call of the program.
    pub(crate) async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        self.home.check()?;
        let page = self.store.query(request).await;
        self.health.heard(Asked::Read, page.as_ref().err());
        page
    }

    pub(crate) fn unit(&self, command: Command) -> Unit {
        Unit { command, wall: self.wall_now() }
    }

    /// The wall clock, as units carry it.
    pub(crate) fn wall_now(&self) -> Timestamp {
        self.wall.now(&*self.clock)
    }

    /// Commands that are sent together.
    pub(crate) fn units(&self, commands: impl IntoIterator<Item = Command>) -> Vec<Unit> {
        let wall = self.wall.now(&*self.clock);
        commands.into_iter().map(|command| Unit { command, wall }).collect()
    }

    /// What the store would stamp now.
    pub(crate) fn store_now(&self) -> Timestamp {
        self.store_time(self.wall_now())
    }

    /// What the store would stamp on a unit that is sent at this time.
    pub(crate) fn store_time(&self, wall: Timestamp) -> Timestamp {
        let skew = self.wall.skew_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(wall.as_millis().saturating_add(skew))
    }

    /// The store stamped `now` on a unit that was sent at `wall`.
    pub(crate) fn learn_skew(&self, now: Timestamp, wall: Timestamp) {
        self.wall.skew_ms.store(now.as_millis().saturating_sub(wall.as_millis()), Ordering::Relaxed);
    }

    /// What to hold while a command is written that may leave the rest of something wide. Who listens to the store hears of that;
    /// a manager that only enqueues does not listen, and looks when this is dropped.
    pub(crate) fn wide(&self) -> Option<Wide<'_>> {
        (self.role == Role::EnqueuesOnly).then_some(Wide(self))
    }

    pub(crate) fn dwell(&self) -> MutexGuard<'_, Dwell> {
        self.dwell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rivals(&self) -> MutexGuard<'_, Rivals> {
        self.rivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The constraints that count: without those that nobody observes, if the builder said so.
    pub(crate) fn effective(&self, constraints: Constraints) -> Constraints {
        if self.missing_sensor != MissingSensor::AssumeMet || constraints.is_none() {
            return constraints;
        }
        let conditions = self.sensor.conditions();
        let unobserved = ConstraintKind::ALL.into_iter().filter(|kind| !conditions.observes(*kind));
        unobserved.fold(constraints, Constraints::without)
    }

    pub(crate) fn strangers(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    /// Both clocks, in microseconds.
    struct Hands(Mutex<(i64, u64)>);

    impl Hands {
        fn pass(&self, micros: u64) {
            let mut now = self.0.lock().unwrap();
            *now = (now.0 + i64::try_from(micros).unwrap(), now.1 + micros);
        }
    }

    impl Clock for Hands {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.0.lock().unwrap().0 / 1_000)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.0.lock().unwrap().1)
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            futures::future::pending().boxed()
        }
    }

    #[test]
    fn time_does_not_run_away_however_often_it_is_asked_for() {
        let (hands, steady) = (Hands(Mutex::new((5_000_000, 0))), SteadyWall::default());
        for _ in 0..10_000 {
            hands.pass(10);
            assert_eq!(steady.now(&hands), hands.wall());
        }
        hands.0.lock().unwrap().0 -= 60_000_000;
        let before = steady.now(&hands);
        for _ in 0..10_000 {
            hands.pass(10);
            let now = steady.now(&hands);
            assert!(now >= before);
        }
        let gained = steady.now(&hands).since(before);
        assert_eq!(gained, Duration::from_millis(100), "a step back is absorbed, and nothing else");
    }
}
