//! Why a work is not running: the first reason, in plain words.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::WorkManager;
use super::refused::{ActionError, counted};
use crate::dispatcher::Role;
use crate::health::HealthStatus;
use crate::id::WorkId;
use crate::info::{ExpeditedState, WorkInfo};
use crate::plan::{GateStatus, Refusal};
use crate::query::{PageRequest, WorkQuery};
use crate::record::{ErrorText, ParkReason, Wait};
use crate::sensor::Unmet;
use crate::state::WorkState;
use crate::store::{Stamp, StoreError};
use crate::time::{Due, Spoken, Timestamp};
use crate::worker::{KnownRun, StateKey};

/// How many open prerequisites an explanation names.
const NAMED_PREREQUISITES: usize = 10;

/// Why a work is not running; the first reason that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum Explanation {
    /// No work has this id.
    NotFound(WorkId),
    /// It is over.
    Finished(WorkState),
    /// It was cancelled, and whoever did so has said why.
    Cancelled {
        /// What they said.
        because: Arc<str>,
    },
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
    /// It could not begin, and newer work has taken its unique name: nothing but `retry` frees it.
    Superseded {
        /// Its worker.
        worker: Arc<str>,
        /// What was wrong.
        why: ParkReason,
    },
    /// Its time has not come.
    NotDue {
        /// How long it still takes.
        left: Duration,
        /// What it waits for.
        wait: Wait,
        /// How often that has happened, if it is something that happens: failed attempts, interruptions, deaths or lost constraints.
        times: u32,
    },
    /// Its time never comes: what it waits for reaches the last moment that there is.
    Never {
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
        worker: Arc<str>,
        /// The type.
        state: StateKey,
    },
    /// A gate holds it: a limit is reached, somebody has paused it, or its serial lane is not that far.
    Held(Box<GateStatus>),
    /// A constraint is not met.
    Constraint(Unmet),
    /// A run that was told to stop goes on in this process: an earlier one of this work, or one that began under its unique name, of
    /// a work that was cancelled or replaced since. It starts when that ends.
    StillRuns {
        /// The worker that does not stop.
        worker: Arc<str>,
        /// Its work.
        id: WorkId,
        /// When it was told to stop.
        since: Timestamp,
    },
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

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Explanation::NotFound(id) => Refusal::NotFound(*id).fmt(f),
            Explanation::Finished(state) => write!(f, "{state}"),
            Explanation::Cancelled { because } => write!(f, "cancelled: {because}"),
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
            Explanation::Superseded { worker, why } => write!(
                f,
                "work of worker \"{worker}\" is parked: {why}; newer work has taken its unique name since, so it does not begin by itself any more: `retry` frees it, `cancel` ends it"
            ),
            Explanation::NotDue { left, wait, times } => {
                write!(f, "due in {}: it waits for {}", Spoken(*left), waits_for(*wait, *times))
            }
            Explanation::Never { wait } => write!(
                f,
                "never due: it waits for {wait}, and that lies at the end of all time; `run_now` or `reschedule` says another time, `cancel` ends it"
            ),
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
            Explanation::Held(gate) => write!(f, "held by {gate}"),
            Explanation::Constraint(unmet) => unmet.fmt(f),
            Explanation::StillRuns { worker, id, since } => write!(
                f,
                "it waits for the end of a run of worker \"{worker}\" (work {id}), which was told to stop at {since} and still goes on in this process"
            ),
            Explanation::Degraded { error } => f.write_str(error),
            Explanation::NoSlot => f.write_str(
                "no slot for its kind of worker is free: all are taken, or there is none; see `Limits::async_slots` and `Limits::blocking_slots`",
            ),
            Explanation::OutOfQuota => f.write_str(
                "the budget of expedited work is spent, so it is ordinary work now, and all slots for that are taken; see `Limits::expedited_budget`",
            ),
            Explanation::Starting => f.write_str("starting"),
        }
    }
}

/// What work waits for, and how often that has happened.
fn waits_for(wait: Wait, times: u32) -> String {
    match wait {
        Wait::Backoff => format!("its backoff after {}", counted(times, "failed attempt")),
        Wait::Interruption => format!("its backoff after {}", counted(times, "interruption")),
        Wait::Deaths => format!("its backoff after {} of its process", counted(times, "death")),
        Wait::Flapping => format!("a pause after {} in a row that lost a constraint", counted(times, "run")),
        other => other.to_string(),
    }
}

fn times(info: &WorkInfo, wait: Wait) -> u32 {
    match wait {
        Wait::Backoff => info.failures,
        Wait::Interruption => info.interruptions,
        Wait::Deaths => info.deaths,
        Wait::Flapping => info.flaps,
        _ => 0,
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
            Some(info) => {
                let first = self.explain_info(&info);
                match self.gate_in_the_way(&info, &first).await? {
                    Some(gate) => Explanation::Held(Box::new(gate)),
                    None => first,
                }
            }
        })
    }

    /// The gate that holds a work, or shuts its lane, if nothing of this process is in its way before that.
    async fn gate_in_the_way(&self, info: &WorkInfo, first: &Explanation) -> Result<Option<GateStatus>, StoreError> {
        let may_be = matches!(first, Explanation::NoSlot | Explanation::OutOfQuota | Explanation::Starting);
        if info.held.is_none() && !may_be {
            return Ok(None);
        }
        let gates = match self.gates_of(info.id).await {
            Ok(gates) => gates,
            Err(ActionError::Store { error, .. }) => return Err(error),
            Err(_) => Vec::new(),
        };
        let is_it = |gate: &GateStatus| match &info.held {
            Some(held) => gate.target == *held,
            None => gate.shut,
        };
        Ok(gates.into_iter().find(is_it))
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
            finished => {
                let because = info.cancel_reason.clone();
                return because.map_or(Explanation::Finished(finished), |because| Explanation::Cancelled { because });
            }
        }
        if let Some(why) = &info.parked {
            let (worker, why) = (info.worker.clone(), why.clone());
            return if info.superseded {
                Explanation::Superseded { worker, why }
            } else {
                Explanation::Parked { worker, why }
            };
        }
        if info.due.is_some_and(Due::is_never) {
            return Explanation::Never { wait: info.waits_for.unwrap_or(Wait::Nothing) };
        }
        let left = info.due.map(|due| core.until(due)).unwrap_or_default();
        if !left.is_zero() {
            let wait = info.waits_for.unwrap_or(Wait::Nothing);
            return Explanation::NotDue { left, wait, times: times(info, wait) };
        }
        if core.role == Role::EnqueuesOnly {
            return Explanation::EnqueuesOnly;
        }
        let Some(worker) = core.registry.get(&info.worker) else { return Explanation::NoWorker(info.worker.clone()) };
        if let Some(state) = worker.missing_states(&core.states).first() {
            return Explanation::MissingState { worker: info.worker.clone(), state: *state };
        }
        let constraints = core.effective(&info.constraints);
        if let Err(unmet) = core.dwell().may_start(&constraints, core.clock.monotonic()) {
            return Explanation::Constraint(unmet);
        }
        if let Some(run) = self.in_the_way(info) {
            return Explanation::StillRuns { worker: run.worker, id: run.id, since: run.since };
        }
        match core.health.engine() {
            HealthStatus::Ended | HealthStatus::Lost { .. } => Explanation::ManagerEnded,
            HealthStatus::Degraded { error, .. } => Explanation::Degraded { error },
            HealthStatus::Healthy if !core.slots.has_free(worker.def.kind) => match info.expedited {
                Some(expedited) if expedited.state == ExpeditedState::FellBack => Explanation::OutOfQuota,
                _ => Explanation::NoSlot,
            },
            HealthStatus::Healthy => Explanation::Starting,
        }
    }
}

impl WorkManager {
    /// A run here that this work waits for, as far as times tell: of one name, what was there when the run began may be beside it.
    fn in_the_way(&self, info: &WorkInfo) -> Option<KnownRun> {
        let core = self.core();
        let Stamp { offset_ms, .. } = core.time.now();
        let is_later = |began: Timestamp| info.created >= Due::Store(began).on_the_wall(offset_ms);
        let bars = |run: &KnownRun| match run.began_as() {
            _ if run.id == info.id => true,
            Some((name, began)) => info.name.as_deref() == Some(name) && is_later(began),
            None => false,
        };
        core.here.leftovers().into_iter().find(bars)
    }
}

/// How many works are looked at on the way back, one behind the other; a longer chain is followed no further.
const MOST_STEPS: usize = 1_000;

/// The work whose failure failed what came after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedPrerequisite {
    /// The work.
    pub id: WorkId,
    /// Its worker.
    pub worker: Arc<str>,
    /// What the last of its attempts that failed said.
    pub last_error: Option<ErrorText>,
}

impl fmt::Display for FailedPrerequisite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its prerequisite {} of worker \"{}\" failed", self.id, self.worker)?;
        self.last_error.iter().try_for_each(|error| write!(f, ": {error}"))
    }
}

impl WorkManager {
    /// The first failure before this one, as far as works are stored still; none if the work failed by itself. Work that was run
    /// is no victim, since nothing runs behind failed work. Each step is a commit of its own, which does no harm: what has failed
    /// stays as it is until it goes.
    pub(super) async fn failed_prerequisite(&self, info: &WorkInfo) -> Result<Option<FailedPrerequisite>, StoreError> {
        let (mut found, mut steps) = (None, 0);
        let mut next = failed_before(info);
        while let Some(query) = next.take().filter(|_| steps < MOST_STEPS) {
            steps += 1;
            let page = self.page(PageRequest { query, after: None, limit: 1 }).await?;
            let Some(failed) = page.works.into_iter().next() else { break };
            next = failed_before(&failed);
            let last_error = failed.last_error().cloned();
            found = Some(FailedPrerequisite { id: failed.id, worker: failed.worker, last_error });
        }
        Ok(found)
    }
}

/// The failed works among what this one waited for, if it never ran.
fn failed_before(info: &WorkInfo) -> Option<WorkQuery> {
    let never_ran = info.runs == 0 && !info.prerequisites.is_empty();
    let query = || WorkQuery::ids(info.prerequisites.iter().copied()).state(WorkState::Failed).without_payloads();
    never_ran.then(query)
}
