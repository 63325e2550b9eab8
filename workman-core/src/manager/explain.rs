//! Why a work is not running: the first reason, in plain words.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::WorkManager;
use crate::dispatcher::Role;
use crate::health::HealthStatus;
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::record::ParkReason;
use crate::sensor::Unmet;
use crate::state::WorkState;
use crate::store::StoreError;
use crate::worker::StateKey;

/// Why a work is not running; the first reason that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Explanation {
    /// No work has this id.
    NotFound,
    /// It is over.
    Finished(WorkState),
    /// It is running.
    Running,
    /// Its prerequisites have not all succeeded.
    Blocked {
        /// How many are open.
        open: u32,
    },
    /// It can't run until somebody helps.
    Parked {
        /// Its worker.
        worker: Arc<str>,
        /// What is wrong.
        why: ParkReason,
    },
    /// Its time has not come.
    NotDue {
        /// How long it still takes.
        left: Duration,
        /// How many attempts have failed; greater than 0 means that it waits for its backoff.
        failures: u32,
    },
    /// This manager only enqueues.
    EnqueuesOnly,
    /// This manager has ended.
    ManagerEnded,
    /// No worker has its worker's name here.
    NoWorker(Arc<str>),
    /// Its worker needs a state that the builder was not given.
    MissingState {
        /// The worker.
        worker: Arc<str>,
        /// The type.
        state: StateKey,
    },
    /// A constraint is not met.
    Constraint(Unmet),
    /// The manager can't get on: its store fails, or its runtime is gone.
    Degraded {
        /// What is wrong.
        error: String,
    },
    /// All slots for its kind of worker are taken.
    NoSlot,
    /// Nothing is in its way: it starts at any moment.
    Starting,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Explanation::NotFound => f.write_str("no such work"),
            Explanation::Finished(state) => write!(f, "{state}"),
            Explanation::Running => f.write_str("running"),
            Explanation::Blocked { open: 1 } => f.write_str("1 prerequisite is open"),
            Explanation::Blocked { open } => write!(f, "{open} prerequisites are open"),
            Explanation::Parked { worker, why } => {
                write!(f, "work of worker \"{worker}\" is parked: {why}; {}", way_out(why))
            }
            Explanation::NotDue { left, failures: 0 } => write!(f, "due in {left:?}"),
            Explanation::NotDue { left, failures } => write!(f, "due in {left:?}, after {failures} failed attempts"),
            Explanation::EnqueuesOnly => {
                f.write_str("this manager only enqueues; it runs where one without `enqueue_only()` is started")
            }
            Explanation::ManagerEnded => f.write_str("this manager has ended; start a new one"),
            Explanation::NoWorker(name) => write!(
                f,
                "no worker named \"{name}\" in this build: link its crate (`use my_workers as _;`), register it, or give a worker this alias"
            ),
            Explanation::MissingState { worker, state } => {
                write!(
                    f,
                    "worker \"{worker}\" needs a state of type `{}`; add `.state(..)` to the builder",
                    state.name()
                )
            }
            Explanation::Constraint(unmet) => unmet.fmt(f),
            Explanation::Degraded { error } => f.write_str(error),
            Explanation::NoSlot => f.write_str(
                "all slots for its kind of worker are taken; see `Limits::async_slots` and `Limits::blocking_slots`",
            ),
            Explanation::Starting => f.write_str("starting"),
        }
    }
}

/// What helps parked work.
fn way_out(why: &ParkReason) -> &'static str {
    match why {
        ParkReason::Undecodable { .. } => "a build that reads it tries again by itself, or say `retry`",
        ParkReason::Poisoned { .. } => "say `retry` when it does no harm any more",
        ParkReason::TooLarge { .. } => "raise `Limits::prerequisites` and say `retry`",
    }
}

impl WorkManager {
    /// Why a work is not running: the first reason that applies.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn explain(&self, id: WorkId) -> Result<Explanation, StoreError> {
        Ok(match self.info(id).await? {
            None => Explanation::NotFound,
            Some(info) => self.explain_info(&info),
        })
    }

    fn explain_info(&self, info: &WorkInfo) -> Explanation {
        let core = self.core();
        match info.state {
            WorkState::Running => return Explanation::Running,
            WorkState::Blocked => return Explanation::Blocked { open: info.open_prerequisites },
            WorkState::Enqueued => {}
            finished => return Explanation::Finished(finished),
        }
        if let Some(why) = &info.parked {
            return Explanation::Parked { worker: info.worker.clone(), why: why.clone() };
        }
        let left = info.next_run.map(|at| at.since(core.store_now())).unwrap_or_default();
        if !left.is_zero() {
            return Explanation::NotDue { left, failures: info.failures };
        }
        if core.role == Role::EnqueuesOnly {
            return Explanation::EnqueuesOnly;
        }
        let Some(worker) = core.registry.get(&info.worker) else { return Explanation::NoWorker(info.worker.clone()) };
        if let Some(state) = worker.missing_states(&core.states).first() {
            return Explanation::MissingState { worker: info.worker.clone(), state: *state };
        }
        let constraints = core.effective(info.constraints);
        if let Err(unmet) = core.dwell().may_start(&constraints, core.clock.monotonic()) {
            return Explanation::Constraint(unmet);
        }
        match core.health.status() {
            HealthStatus::Ended => Explanation::ManagerEnded,
            HealthStatus::Degraded { error, .. } => Explanation::Degraded { error },
            HealthStatus::Healthy if !core.slots.has_room(worker.def.kind) => Explanation::NoSlot,
            HealthStatus::Healthy => Explanation::Starting,
        }
    }
}
