//! [`Refusal`]: the planner said no, and nothing was changed.

use std::fmt;
use std::sync::Arc;

use super::gates::GateProblem;
use crate::id::WorkId;
use crate::record::{GateTarget, InputShape};
use crate::state::WorkState;

/// The planner said no. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum Refusal {
    /// No work has this id.
    NotFound(WorkId),
    /// The run that asks was fenced off: its work was cancelled, replaced, rescued or settled.
    Stale(WorkId),
    /// The id was used before, for another request.
    IdReused(WorkId),
    /// A prerequisite is not stored.
    MissingPrerequisite {
        work: WorkId,
        /// What it waits for.
        prerequisite: WorkId,
    },
    /// A prerequisite is periodic, which never finishes.
    PeriodicPrerequisite {
        work: WorkId,
        /// Its worker.
        worker: Arc<str>,
        /// What it waits for.
        prerequisite: WorkId,
        /// The unique name that `prerequisite` holds, if the work was to be appended to it.
        name: Option<Arc<str>>,
    },
    /// A work waits for itself, or for one that comes later.
    Cycle(WorkId),
    /// The unique name belongs to work that can't be updated: a chain, or one-time work.
    NotPeriodic { name: Arc<str>, id: WorkId },
    /// So many works hold a name that it can't be taken from all of them in one commit.
    TooManyMembers { name: Arc<str>, count: usize, limit: usize },
    /// Work that takes the outputs of its prerequisites one by one can't wait for others that its request did not name.
    TypedHead { name: Arc<str>, work: WorkId },
    /// New work would have to wait for too many works of its name at once.
    TooManyLeaves { name: Arc<str>, count: usize, limit: usize },
    /// One-time work can't become periodic, nor periodic work one-time.
    OtherSchedule(WorkId),
    /// The new worker takes from its prerequisites in a way that does not fit as many as the work has. Only their number and the
    /// way of taking are compared; a type that does not fit parks the work when it is to start.
    OtherShape {
        id: WorkId,
        /// How the new worker takes.
        takes: InputShape,
        /// How many prerequisites the work has.
        given: usize,
    },
    /// Only parked work can be freed.
    NotParked {
        id: WorkId,
        /// Where it stands.
        state: WorkState,
    },
    /// What is wanted of a gate makes no sense.
    Gate {
        target: GateTarget,
        /// What is wrong.
        problem: GateProblem,
    },
    /// So many works are about to pass their gates already.
    TooManyPassing { limit: usize },
    /// Something is wanted of too many gates.
    TooManyGates { limit: usize },
    /// Only parked and failed work can be tried again.
    NotRetryable {
        id: WorkId,
        /// Where it stands.
        state: WorkState,
    },
    /// Failed work can't be tried again, since a prerequisite is not stored any more.
    PrerequisiteGone { work: WorkId, prerequisite: WorkId },
    /// Failed work can't be tried again, since a prerequisite has failed or was cancelled.
    PrerequisiteEnded { work: WorkId, prerequisite: WorkId },
    /// Something wide is still being ended or released; failed work is tried again once that is done.
    StillEnding(WorkId),
    /// So many edges lead to what depends on failed work that it can't come back in one commit.
    TooManyDependents { id: WorkId, limit: usize },
    /// The time lies so far ahead that the work would never run.
    Never(WorkId),
    /// The reason of a cancellation is too long to be kept with each work.
    ReasonTooLong { size: usize, limit: usize },
    /// The manager has ended, or the store was opened anew since.
    EpochClosed(u64),
}

impl Refusal {
    /// What may have become of work that is not stored, the likeliest first.
    pub(crate) const WHY_GONE: &str = "it has finished and was pruned or kept long enough (`keep_results_for_at_least` keeps it longer), was replaced by other work of its unique name, was never enqueued, or belongs to another store";

    fn say_of_steering(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotRetryable { id, state: WorkState::Cancelled } => write!(
                f,
                "work {id} was cancelled, by somebody's wish, and is not tried again; enqueue a new request for the same"
            ),
            Refusal::NotRetryable { id, state } => {
                write!(f, "work {id} is {state}; only work that is parked or has failed can be tried again")
            }
            Refusal::PrerequisiteGone { work, prerequisite } => write!(
                f,
                "work {work} can't be tried again: its prerequisite {prerequisite} is not stored any more, and with it what it gave; enqueue both anew (`keep_results_for_at_least` keeps results longer)"
            ),
            Refusal::PrerequisiteEnded { work, prerequisite } => write!(
                f,
                "work {work} can't be tried again: its prerequisite {prerequisite} has failed or was cancelled; retry that one if it has failed, and this work comes back with it"
            ),
            Refusal::StillEnding(id) => write!(
                f,
                "work {id} can't be tried again yet: an end or a release of very many works is still on its way; try again in a moment"
            ),
            Refusal::TooManyDependents { id, limit } => write!(
                f,
                "work {id} can't be tried again: more than {limit} edges lead to what depends on it, and all of that comes back together or not at all; enqueue it anew"
            ),
            Refusal::Never(id) => {
                write!(f, "work {id} would never run: the time lies at the end of all time; cancel the work instead")
            }
            Refusal::ReasonTooLong { size, limit } => write!(
                f,
                "the reason has {size} bytes, and each work that is cancelled keeps it: the limit is {limit}; say it in short"
            ),
            _ => Ok(()),
        }
    }
}

impl Refusal {
    fn say_of_gates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Gate { target, problem } => write!(f, "the gate before {target} can't be set so: {problem}"),
            Refusal::TooManyPassing { limit } => write!(
                f,
                "{limit} works are about to pass their gates already, and have not begun; wait until they have, or lift the limit"
            ),
            Refusal::TooManyGates { limit } => write!(
                f,
                "limits and pauses are set for more than {limit} gates; set one for a pattern of keys (`Gate::keys`), and clear those that nobody needs"
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotFound(id) => write!(f, "no work has the id {id}; {}", Refusal::WHY_GONE),
            Refusal::Stale(id) => write!(
                f,
                "the run of work {id} was fenced off: the work was cancelled, replaced, rescued or settled meanwhile"
            ),
            Refusal::IdReused(id) => {
                write!(f, "the id {id} was used before for another request; make a new request for new work")
            }
            Refusal::MissingPrerequisite { work, prerequisite } => {
                write!(
                    f,
                    "work {work} waits for {prerequisite}, which is not stored; enqueue it first, or in the same call. If it was enqueued, it has finished and was pruned or kept long enough (`keep_results_for_at_least` keeps it longer); or the holder of its unique name was kept, and nothing of its chain was stored (`how` is `Kept`; go on behind the holder)"
                )
            }
            Refusal::PeriodicPrerequisite { work, worker, prerequisite, name: None } => write!(
                f,
                "work {work} of worker \"{worker}\" waits for {prerequisite}, which is periodic and never finishes; let the periodic worker enqueue what comes after each of its runs"
            ),
            Refusal::PeriodicPrerequisite { work, worker, prerequisite, name: Some(name) } => write!(
                f,
                "work {work} of worker \"{worker}\" can't be appended to the unique name \"{name}\": periodic work holds it ({prerequisite}) and never finishes; use `Replace`, or another name"
            ),
            Refusal::Cycle(id) => write!(
                f,
                "work {id} waits for itself or for work that comes after it; list each work after its prerequisites"
            ),
            Refusal::NotPeriodic { name, id } => {
                write!(
                    f,
                    "the unique name \"{name}\" belongs to work that is not periodic ({id}); use `Replace`, or another name"
                )
            }
            Refusal::TooManyMembers { name, count, limit } => write!(
                f,
                "{count} works hold the unique name \"{name}\", and it can be taken from {limit} at the most in one commit; cancel them by their name, prune what has finished, and enqueue again"
            ),
            Refusal::TypedHead { name, work } => write!(
                f,
                "work {work} takes the outputs of its prerequisites one by one, so it can't be appended to the works of the unique name \"{name}\" as well; begin with a work that takes nothing, or merges its inputs"
            ),
            Refusal::TooManyLeaves { name, count, limit } => write!(
                f,
                "{count} works of the unique name \"{name}\" have nothing behind them, and new work can be appended to {limit} at the most; put a joining work behind them"
            ),
            Refusal::OtherSchedule(id) => {
                write!(f, "work {id} can't be updated: one-time work can't become periodic, nor periodic work one-time")
            }
            Refusal::OtherShape { id, takes, given } => write!(
                f,
                "work {id} can't be updated: the new worker takes {takes}, and the work has {given}; an update keeps the prerequisites, so cancel the work and enqueue another for other ones"
            ),
            Refusal::NotParked { id, state } => write!(f, "work {id} is {state}, not parked; there is nothing to free"),
            Refusal::Gate { .. } | Refusal::TooManyPassing { .. } | Refusal::TooManyGates { .. } => {
                self.say_of_gates(f)
            }
            Refusal::NotRetryable { .. }
            | Refusal::PrerequisiteGone { .. }
            | Refusal::PrerequisiteEnded { .. }
            | Refusal::StillEnding(_)
            | Refusal::TooManyDependents { .. }
            | Refusal::ReasonTooLong { .. }
            | Refusal::Never(_) => self.say_of_steering(f),
            Refusal::EpochClosed(epoch) => {
                write!(f, "manager {epoch} has ended, or the store was opened anew since; start a new manager")
            }
        }
    }
}

impl std::error::Error for Refusal {}
