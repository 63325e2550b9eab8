//! Why a work is not running: the first reason, in plain words.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::WorkManager;
use super::culprit::FailedPrerequisite;
use super::refused::counted;
use crate::dispatcher::Role;
use crate::health::HealthStatus;
use crate::id::WorkId;
use crate::info::{ExpeditedState, WorkInfo};
use crate::plan::Refusal;
use crate::policy::BackoffPolicy;
use crate::query::{PageRequest, WorkQuery};
use crate::record::{AttemptEnd, ParkReason};
use crate::sensor::Unmet;
use crate::state::WorkState;
use crate::store::StoreError;
use crate::time::{Due, Timestamp};
use crate::worker::StateKey;

/// How many open prerequisites an explanation names.
const NAMED_PREREQUISITES: usize = 10;

/// Why a work is not running; the first reason that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Explanation {
    /// No work has this id.
    NotFound(WorkId),
    /// It is over.
    Finished(WorkState),
    /// It failed because something that it waited for did, directly or through others.
    PrerequisiteFailed(FailedPrerequisite),
    /// It is running.
    Running,
    /// Its prerequisites have not all succeeded.
    Blocked {
        /// How many are open.
        open: u32,
        /// Which, in the order of their ids; the first ten.
        on: Vec<WorkId>,
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
        /// What it waits for.
        wait: Wait,
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
    /// It asked to be expedited, but the budget for such work is spent, and all ordinary slots are taken.
    OutOfQuota,
    /// Nothing is in its way: it starts at any moment.
    Starting,
}

/// What work waits for whose time has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// The end of its initial delay.
    Delay,
    /// The part of its first period in which its run may be: what its flex leaves, after its initial delay.
    FirstRun,
    /// The next period.
    Period,
    /// The time that an override names, in place of everything else.
    Override,
    /// The time that its last attempt asked for: `Outcome::Snooze` or `WorkError::retry_after`.
    Asked,
    /// Its backoff, since its process died while it ran.
    Deaths(u32),
    /// Its backoff.
    Backoff {
        /// How many attempts have failed.
        failures: u32,
        /// How often it was interrupted.
        interruptions: u32,
    },
}

impl Wait {
    /// What `info` waits for until `next_run`.
    fn of(info: &WorkInfo) -> Self {
        let (failures, interruptions) = (info.failures, info.interruptions);
        if matches!(info.due, Some(Due::Wall(_))) {
            return Wait::Override;
        }
        let Some(last) = info.attempts.last() else { return Wait::before_the_first(info) };
        match &last.end {
            AttemptEnd::Snoozed => Wait::Asked,
            AttemptEnd::Died if info.deaths > 0 => Wait::Deaths(info.deaths),
            AttemptEnd::Failed { .. } if failures > 0 && asked_for(info, last.ended) => Wait::Asked,
            _ if failures > 0 || interruptions > 0 || info.deaths > 0 => Wait::Backoff { failures, interruptions },
            _ if info.periods > 0 => Wait::Period,
            _ => Wait::before_the_first(info),
        }
    }

    /// What work waits for that has not run.
    fn before_the_first(info: &WorkInfo) -> Self {
        if info.periods > 0 {
            Wait::Period
        } else if info.schedule.first_offset().is_zero() {
            Wait::Delay
        } else {
            Wait::FirstRun
        }
    }
}

/// Whether the failed attempt that ended then asked for a time of its own: the policy asks for another. A backoff function gives
/// its delays in the same way, so of those nothing is known.
fn asked_for(info: &WorkInfo, ended: Timestamp) -> bool {
    let by_policy = ended + info.backoff.delay_of(info.id, info.failures);
    info.backoff.policy() != BackoffPolicy::Custom && info.next_run != Some(by_policy)
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Delay => f.write_str("its initial delay"),
            Wait::FirstRun => f.write_str("the first run of its period"),
            Wait::Period => f.write_str("its next period"),
            Wait::Asked => f.write_str("what its last attempt asked for"),
            Wait::Deaths(deaths) => write!(f, "its backoff after {} of its process", counted(deaths, "death")),
            Wait::Override => f.write_str("the time that an override names"),
            Wait::Backoff { failures, interruptions: 0 } => {
                write!(f, "its backoff after {}", counted(failures, "failed attempt"))
            }
            Wait::Backoff { failures: 0, interruptions } => {
                write!(f, "its backoff after {}", counted(interruptions, "interruption"))
            }
            Wait::Backoff { failures, interruptions } => {
                let (failures, interruptions) =
                    (counted(failures, "failed attempt"), counted(interruptions, "interruption"));
                write!(f, "its backoff after {failures} and {interruptions}")
            }
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Explanation::NotFound(id) => Refusal::NotFound(*id).fmt(f),
            Explanation::Finished(state) => write!(f, "{state}"),
            Explanation::PrerequisiteFailed(prerequisite) => write!(f, "failed, since {prerequisite}"),
            Explanation::Running => f.write_str("running"),
            Explanation::Blocked { open, on } => {
                let are = if *open == 1 { "prerequisite is" } else { "prerequisites are" };
                write!(f, "{open} {are} open")?;
                on.iter().enumerate().try_for_each(|(place, id)| write!(f, "{}{id}", if place == 0 { ": " } else { ", " }))?;
                f.write_str(if on.len() < *open as usize { " .." } else { "" })
            }
            Explanation::Parked { worker, why } => {
                write!(f, "work of worker \"{worker}\" is parked: {why}; {}", way_out(why))
            }
            Explanation::NotDue { left, wait } => write!(f, "due in {left:?}: it waits for {wait}"),
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
            Explanation::OutOfQuota => f.write_str(
                "the budget of expedited work is spent, so it is ordinary work now, and all slots for that are taken; see `Limits::expedited_budget`",
            ),
            Explanation::Starting => f.write_str("starting"),
        }
    }
}

/// What helps parked work.
fn way_out(why: &ParkReason) -> &'static str {
    match why {
        ParkReason::Undecodable { .. } => {
            "a build that reads it tries again by itself; `update` gives it another input, and `retry` tries again now"
        }
        ParkReason::Poisoned { .. } => "say `retry` when it does no harm any more",
        ParkReason::TooLarge { .. } => "a manager that starts with a greater one tries again by itself",
    }
}

impl WorkManager {
    /// Why a work is not running: the first reason that applies.
    ///
    /// The work is read first, and what it waits for or failed by after it: a prerequisite that ends in between is not named.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn explain(&self, id: WorkId) -> Result<Explanation, StoreError> {
        Ok(match self.outline(id).await? {
            None => Explanation::NotFound(id),
            Some(info) if info.state == WorkState::Failed => {
                let culprit = self.failed_prerequisite(&info).await?;
                culprit.map_or(Explanation::Finished(info.state), Explanation::PrerequisiteFailed)
            }
            Some(info) if info.state == WorkState::Blocked => {
                Explanation::Blocked { open: info.open_prerequisites, on: self.open_prerequisites(&info).await? }
            }
            Some(info) => self.explain_info(&info),
        })
    }

    /// The first prerequisites that have not succeeded.
    async fn open_prerequisites(&self, info: &WorkInfo) -> Result<Vec<WorkId>, StoreError> {
        let query = WorkQuery::ids(info.prerequisites.iter().copied());
        let query = query.state(WorkState::Blocked).state(WorkState::Enqueued).state(WorkState::Running);
        let query = query.without_payloads();
        let page = self.page(PageRequest { query, after: None, limit: NAMED_PREREQUISITES }).await?;
        Ok(page.works.into_iter().map(|info| info.id).collect())
    }

    fn explain_info(&self, info: &WorkInfo) -> Explanation {
        let core = self.core();
        match info.state {
            WorkState::Running => return Explanation::Running,
            WorkState::Blocked => return Explanation::Blocked { open: info.open_prerequisites, on: Vec::new() },
            WorkState::Enqueued => {}
            finished => return Explanation::Finished(finished),
        }
        if let Some(why) = &info.parked {
            return Explanation::Parked { worker: info.worker.clone(), why: why.clone() };
        }
        let left = info.due.map(|due| core.until(due)).unwrap_or_default();
        if !left.is_zero() {
            return Explanation::NotDue { left, wait: Wait::of(info) };
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
        match core.health.engine() {
            HealthStatus::Ended | HealthStatus::Lost { .. } => Explanation::ManagerEnded,
            HealthStatus::Degraded { error, .. } => Explanation::Degraded { error },
            HealthStatus::Healthy if !core.slots.has_room(worker.def.kind) => match info.expedited {
                Some(expedited) if expedited.state == ExpeditedState::FellBack => Explanation::OutOfQuota,
                _ => Explanation::NoSlot,
            },
            HealthStatus::Healthy => Explanation::Starting,
        }
    }
}
