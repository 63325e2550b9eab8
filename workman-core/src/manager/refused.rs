//! [`EnqueueError`], [`StartError`] and [`ActionError`]: why work was not stored, a manager not started, an action not done, and
//! what to do about it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::constraints::ConstraintKind;
use crate::id::WorkId;
use crate::plan::Refusal;
use crate::policy::ExistingWorkPolicy;
use crate::request::RequestError;
use crate::store::{StoreError, StoreErrorKind};
use crate::worker::{DuplicateWorker, StateKey};

/// Why work was not stored, or not certainly.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum EnqueueError {
    /// A request is not valid.
    Request(RequestError),
    /// There is nothing to enqueue: an empty list of requests or of chains, or a graph without works.
    Empty,
    /// A step of a chain has no works. It is not passed over, since what comes next takes the outputs of that step.
    EmptyStep {
        /// Which; the first is 1.
        step: usize,
    },
    /// Too many works in one call.
    TooManyWorks { count: usize, limit: usize },
    /// Too many edges between the works of one call.
    TooManyEdges { count: usize, limit: usize },
    /// One step, or one list, has two works of one id: a request was cloned. Make a new request for each work.
    SameRequestTwice(WorkId),
    /// The works of one call wait for each other in a circle: this one waits for itself, directly or through others.
    Cycle {
        id: WorkId,
        /// The workers of the circle: that of the work first, and each before the one that it waits for. The first ten.
        workers: Vec<Arc<str>>,
    },
    /// Chains of different unique names, or of one name with different policies, are joined.
    TwoNames {
        /// One name.
        first: Arc<str>,
        /// The other.
        second: Arc<str>,
        /// What each of them says is to happen if the name is taken; nothing if its works are stored already.
        policies: [Option<ExistingWorkPolicy>; 2],
    },
    /// An edge of a graph begins or ends at a node of another graph.
    UnknownNode(WorkId),
    /// A worker of a graph takes a tuple of another length than it has prerequisites.
    TupleLength {
        worker: Arc<str>,
        /// How many outputs it takes.
        takes: usize,
        /// How many prerequisites it has.
        given: usize,
    },
    /// A worker of a graph takes another type than its prerequisite gives.
    OtherType {
        worker: Arc<str>,
        /// The type that it takes there.
        takes: &'static str,
        /// The worker of the prerequisite.
        prerequisite: Arc<str>,
        /// The type that this one gives.
        gives: &'static str,
    },
    /// A constraint is asked for that nobody observes.
    NoSensor {
        worker: Arc<str>,
        /// The constraint.
        kind: ConstraintKind,
    },
    /// The worker is here, but a state that it needs is not.
    MissingState {
        worker: Arc<str>,
        /// The type.
        state: StateKey,
    },
    /// The planner said no.
    Refused(Refusal),
    /// The store failed. [`is_indeterminate`](Self::is_indeterminate) says whether the work may be stored all the same.
    Store {
        /// The ids of the works; enqueueing requests with these ids again is safe.
        ids: Vec<WorkId>,
        /// What the store said.
        error: StoreError,
    },
}

impl EnqueueError {
    /// Whether the work may be stored in spite of the error. If not, it certainly isn't.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        matches!(self, EnqueueError::Store { error, .. } if error.is_indeterminate())
    }
}

impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnqueueError::Request(error) => error.fmt(f),
            EnqueueError::Empty => f.write_str(
                "there is nothing to enqueue: the list, or the graph, is empty; where nothing to do is no mistake, look before the call",
            ),
            EnqueueError::EmptyStep { step } => write!(
                f,
                "step {step} of the chain has no works, so what comes next would wait for nothing and take nothing; leave out the step, or use a `WorkGraph` for a shape that is known at run time only"
            ),
            EnqueueError::TooManyWorks { count, limit } => {
                write!(f, "{count} works in one call, the limit is {limit}; use several calls, or see `Limits::works`")
            }
            EnqueueError::TooManyEdges { count, limit } => write!(
                f,
                "{count} edges between the works of one call, the limit is {limit}; put a joining work between two wide steps, or see `Limits::edges`"
            ),
            EnqueueError::SameRequestTwice(id) => {
                write!(
                    f,
                    "two works of this call have the id {id} and stand side by side: a clone of a request is the same work; make a new request for each"
                )
            }
            EnqueueError::Cycle { id, workers } => circle(f, *id, workers),
            EnqueueError::TwoNames { first, second, policies } if first == second => {
                let [one, two] = policies.map(|policy| match policy {
                    Some(policy) => format!("`{policy:?}`"),
                    None => "that of stored work, which is not asked again".into(),
                });
                write!(
                    f,
                    "chains under the unique name \"{first}\" with two policies, {one} and {two}, can't be joined: a chain has one name and one policy; give the name to one of them, and it is that of the whole"
                )
            }
            EnqueueError::TwoNames { first, second, .. } => write!(
                f,
                "chains under the unique names \"{first}\" and \"{second}\" can't be joined: a chain has one name and one policy; give a name to one of them, and it is that of the whole"
            ),
            EnqueueError::UnknownNode(id) => {
                write!(
                    f,
                    "an edge of the graph begins or ends at work {id}, which is a node of another graph; for stored work use `after_stored`"
                )
            }
            EnqueueError::TupleLength { worker, takes, given } => {
                write!(
                    f,
                    "worker \"{worker}\" takes a tuple of {takes} outputs, and has {}",
                    counted(*given, "prerequisite")
                )
            }
            EnqueueError::OtherType { worker, takes, prerequisite, gives } => write!(
                f,
                "worker \"{worker}\" takes `{takes}` where its prerequisite, of worker \"{prerequisite}\", gives `{gives}`; put a worker between them that makes the one of the other"
            ),
            EnqueueError::NoSensor { worker, kind } => write!(
                f,
                "worker \"{worker}\" asks for the constraint \"{kind}\", which nobody observes: add `.sensor(..)` to the builder, or `.missing_sensor(MissingSensor::Wait)` or `(MissingSensor::AssumeMet)`"
            ),
            EnqueueError::MissingState { worker, state } => write!(
                f,
                "worker \"{worker}\" needs a state of type `{}`; add `.state(..)` with such a value to the builder",
                state.name()
            ),
            EnqueueError::Refused(refusal) => refusal.fmt(f),
            EnqueueError::Store { error, .. } => write!(f, "the store failed: {error}"),
        }
    }
}

/// Names the workers of the circle, and at the end the first of them again.
fn circle(f: &mut fmt::Formatter<'_>, id: WorkId, workers: &[Arc<str>]) -> fmt::Result {
    f.write_str("works of this call wait for each other in a circle: ")?;
    match workers {
        [] | [_] => {
            let worker = workers.first().map_or("", |worker| &**worker);
            write!(f, "work {id} of worker \"{worker}\" waits for itself")?;
        }
        [first, others @ ..] => {
            write!(f, "work {id} of worker \"{first}\" waits for work of ")?;
            let names = others.iter().map(|worker| format!("\"{worker}\"")).collect::<Vec<_>>();
            write!(f, "{}, and so for itself", names.join(", which waits for work of "))?;
        }
    }
    f.write_str("; a clone of a request is the same work, so make a new request where the worker is to run once more")
}

/// So many of something, as it is said.
pub(super) fn counted(count: impl fmt::Display, what: &str) -> String {
    let count = count.to_string();
    let end = if count == "1" { "" } else { "s" };
    format!("{count} {what}{end}")
}

impl Error for EnqueueError {
    /// The texts of these errors contain those of the errors in them, so the chain goes on behind those.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            EnqueueError::Request(error) => error.source(),
            EnqueueError::Refused(refusal) => refusal.source(),
            EnqueueError::Store { error, .. } => error.source(),
            _ => None,
        }
    }
}

/// Why a manager could not be started.
#[derive(Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum StartError {
    /// Two workers have one name.
    DuplicateWorker(DuplicateWorker),
    /// A worker that was registered by name needs a state that the builder was not given.
    MissingState {
        worker: Arc<str>,
        /// The type.
        state: StateKey,
    },
    /// The builder was given two states of one type.
    StateTwice {
        /// The type.
        state: StateKey,
    },
    /// What the program wants of a gate makes no sense.
    Gate(Refusal),
    /// The store failed.
    Store(StoreError),
    /// The store answered something that is no answer: it breaks the contract of [`Store`](crate::store::Store).
    StoreContract(String),
    /// No thread could be started.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::DuplicateWorker(error) => error.fmt(f),
            StartError::MissingState { worker, state } => write!(
                f,
                "worker \"{worker}\" needs a state of type `{}`; add `.state(..)` with such a value to the builder",
                state.name()
            ),
            StartError::StateTwice { state } => write!(
                f,
                "two states of type `{0}` were given, and an argument `#[state] x: {0}` can't say which it means; leave one out, or give one a type of its own, `struct Other({0})`",
                state.name()
            ),
            StartError::Gate(refusal) => write!(f, "a limit of this program: {refusal}"),
            StartError::Store(error) => write!(f, "the store failed at the start: {error}"),
            StartError::StoreContract(answer) => write!(f, "the store breaks its contract: it answered {answer}"),
            StartError::Thread(error) => write!(f, "the dispatcher's thread could not be started: {error}"),
        }
    }
}

impl Error for StartError {
    /// The texts of these errors contain those of the errors in them, so the chain goes on behind those.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StartError::DuplicateWorker(error) => error.source(),
            StartError::Gate(refusal) => Some(refusal),
            StartError::Store(error) => error.source(),
            StartError::Thread(error) => error.source(),
            StartError::MissingState { .. } | StartError::StateTwice { .. } | StartError::StoreContract(_) => None,
        }
    }
}

/// Why an action was not done, or only in part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ActionError {
    /// The planner said no.
    Refused(Refusal),
    /// The store failed; what was done before stays done, and doing it again is safe.
    Store {
        /// What the store said.
        error: StoreError,
        /// Works that were done before.
        done: usize,
    },
    /// Works that the store can't read were left as they are; all others are done.
    Damaged {
        /// What the store said to the last of them.
        error: StoreError,
        /// The works. A store that is full of them names the first 64, and what comes behind those is not done.
        works: Vec<WorkId>,
        /// Works that were done.
        done: usize,
    },
}

/// The store answered to a command what no store may.
pub(super) fn broken(answer: &impl fmt::Debug) -> StoreError {
    StoreError::new(StoreErrorKind::Indeterminate, format!("the store breaks its contract: it answered {answer:?}"))
}

impl ActionError {
    /// How many works it was done to before the error; they stay as they are now. The others are untouched, and to call again goes on.
    #[must_use]
    pub fn done(&self) -> usize {
        match self {
            ActionError::Refused(_) => 0,
            ActionError::Store { done, .. } | ActionError::Damaged { done, .. } => *done,
        }
    }

    pub(super) fn answered(answer: &impl fmt::Debug, done: usize) -> Self {
        ActionError::Store { error: broken(answer), done }
    }
}

impl Error for ActionError {
    /// The texts of these errors contain those of the errors in them, so the chain goes on behind those.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ActionError::Refused(refusal) => refusal.source(),
            ActionError::Store { error, .. } | ActionError::Damaged { error, .. } => error.source(),
        }
    }
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ActionError::Refused(refusal) => refusal.fmt(f),
            ActionError::Store { error, done } => {
                write!(f, "the store failed after {}: {error}", counted(*done, "work"))
            }
            ActionError::Damaged { error, works, done } => {
                let works: Vec<String> = works.iter().map(WorkId::to_string).collect();
                let done = counted(*done, "work");
                write!(f, "{done} went, and damaged ones were left ({}): {error}", works.join(", "))
            }
        }
    }
}
