//! From requests to one command: names, sensors, limits, offers, and what the answer means.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::WorkManager;
use crate::constraints::ConstraintKind;
use crate::dispatcher::{Core, MissingSensor, Reservation, Role};
use crate::id::WorkId;
use crate::plan::{Applied, Command, Enqueue, Enqueued, NewWork, Offer, Refusal, Unique, WorkerKind};
use crate::record::LaneId;
use crate::request::{RequestDraft, RequestError, check_name};
use crate::store::index::rank;
use crate::store::{StoreError, StoreErrorKind};
use crate::worker::StateKey;

/// A request and the works of the same enqueue that it comes after, by their place in it.
pub(crate) struct Node {
    pub(crate) draft: RequestDraft,
    pub(crate) after: Vec<usize>,
}

impl Node {
    pub(crate) fn alone(draft: RequestDraft) -> Self {
        Node { draft, after: Vec::new() }
    }
}

/// Open lanes beyond this number are too many to look into for an offer.
const RIVALS: usize = 16;

impl WorkManager {
    /// Stores all nodes, or none.
    pub(crate) async fn submit(&self, nodes: Vec<Node>, unique: Option<Unique>) -> Result<Stored, EnqueueError> {
        let core = self.core();
        let works = new_works(core, nodes, unique.as_ref())?;
        let ids: Vec<WorkId> = works.iter().map(|work| work.id).collect();
        let (offer, mut reservation) = offer(core, &works).unzip();
        let unit = core.unit(Command::Enqueue(Enqueue { works, unique, offer }));
        let answers = core.store.transact(vec![unit]).await;
        let answer = match answers {
            Ok(answers) => answers.into_iter().next(),
            Err(error) => return Err(EnqueueError::Store { ids, error }),
        };
        match answer {
            Some(Ok(Applied::Enqueued { how, claimed })) => {
                if let Some(reservation) = &mut reservation {
                    reservation.hand_over(&claimed);
                }
                Ok(Stored { how, ids })
            }
            Some(Err(refusal)) => Err(EnqueueError::Refused(refusal)),
            other => {
                let error = StoreError::new(
                    StoreErrorKind::Indeterminate,
                    format!("the store breaks its contract: it answered {other:?}"),
                );
                Err(EnqueueError::Store { ids, error })
            }
        }
    }
}

/// What was stored, in the order of the nodes.
pub(crate) struct Stored {
    pub(crate) how: Enqueued,
    pub(crate) ids: Vec<WorkId>,
}

impl Stored {
    /// Whether the nodes themselves are stored.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.how, Enqueued::Inserted | Enqueued::Replaced(_))
    }
}

fn new_works(core: &Core, nodes: Vec<Node>, unique: Option<&Unique>) -> Result<Vec<NewWork>, EnqueueError> {
    let limits = &core.limits;
    if nodes.is_empty() {
        return Err(EnqueueError::Empty);
    }
    if nodes.len() > limits.works {
        return Err(EnqueueError::TooManyWorks { count: nodes.len(), limit: limits.works });
    }
    let edges = nodes.iter().map(|node| node.after.len()).sum();
    if edges > limits.edges {
        return Err(EnqueueError::TooManyEdges { count: edges, limit: limits.edges });
    }
    if let Some(unique) = unique {
        check_name(&unique.name, limits).map_err(EnqueueError::Request)?;
    }
    let ids: Vec<WorkId> = nodes.iter().map(|node| node.draft.id).collect();
    let mut seen = BTreeSet::new();
    if let Some(id) = ids.iter().find(|id| !seen.insert(**id)) {
        return Err(EnqueueError::SameRequestTwice(*id));
    }
    let name = unique.map(|unique| Arc::clone(&unique.name));
    let works = nodes.into_iter().map(|node| {
        let prerequisites = node.after.iter().filter_map(|place| ids.get(*place)).copied().collect();
        new_work(core, node.draft, prerequisites, name.clone())
    });
    works.collect()
}

fn new_work(
    core: &Core,
    draft: RequestDraft,
    prerequisites: Vec<WorkId>,
    name: Option<Arc<str>>,
) -> Result<NewWork, EnqueueError> {
    placed(core, draft)?.new_work(&core.limits, prerequisites, name).map_err(EnqueueError::Request)
}

/// What stored work is to become. Its name and its prerequisites are not part of that.
pub(super) fn changed_work(core: &Core, draft: RequestDraft) -> Result<NewWork, EnqueueError> {
    placed(core, draft)?.changed_work(&core.limits).map_err(EnqueueError::Request)
}

/// The request under the name that its worker has here, if this manager has what it needs.
fn placed(core: &Core, mut draft: RequestDraft) -> Result<RequestDraft, EnqueueError> {
    if let Some(registered) = core.registry.of(draft.def) {
        draft.worker = Arc::clone(&registered.name);
        if let Some(state) = registered.missing_states(&core.states).first().copied() {
            return Err(EnqueueError::MissingState { worker: Arc::clone(&registered.name), state });
        }
    }
    if core.missing_sensor == MissingSensor::Refuse {
        let conditions = core.sensor.conditions();
        if let Some(kind) = draft.constraints.kinds().find(|kind| !conditions.observes(*kind)) {
            return Err(EnqueueError::NoSensor { worker: Arc::clone(&draft.worker), kind });
        }
    }
    Ok(draft)
}

/// Reserves free slots for works that could run at once, so that the commit that stores them claims them too.
fn offer(core: &Core, works: &[NewWork]) -> Option<(Offer, Reservation)> {
    if core.role != Role::Runs {
        return None;
    }
    let rivals: Vec<LaneId> = core.rivals().clone();
    if rivals.len() > RIVALS {
        return None;
    }
    let startable: Vec<(&NewWork, WorkerKind)> =
        works.iter().filter_map(|work| startable(core, work).map(|kind| (work, kind))).collect();
    let (_, kind) = *startable.first()?;
    let mut fitting: Vec<&NewWork> =
        startable.iter().filter(|(_, fits)| *fits == kind).map(|(work, _)| *work).collect();
    fitting.sort_by_key(|work| rank(work.terms.priority));
    let ids: Vec<WorkId> = fitting.iter().map(|work| work.id).collect();
    let reservation = core.slots.reserve(kind, &ids)?;
    let ids: Vec<WorkId> = reservation.ids().iter().copied().collect();
    let (epoch, generation, room) = (core.epoch, reservation.generation(), ids.len());
    Some((Offer { epoch, generation, room, ids, rivals }, reservation))
}

/// Which slots the work takes, if nothing keeps it from running here and now.
fn startable(core: &Core, work: &NewWork) -> Option<WorkerKind> {
    if !work.spec.prerequisites.ids.is_empty() || !work.terms.initial_delay.is_zero() {
        return None;
    }
    let worker = core.registry.get(&work.spec.worker)?;
    let constraints = core.effective(work.spec.constraints);
    let open = core.dwell().may_start(&constraints, core.clock.monotonic()).is_ok();
    open.then_some(worker.def.kind)
}

/// Why work was not stored, or not certainly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EnqueueError {
    /// A request is not valid.
    Request(RequestError),
    /// There is nothing to enqueue.
    Empty,
    /// Too many works in one call.
    TooManyWorks {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many edges between the works of one call.
    TooManyEdges {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// One call has two works of one id: a request was cloned. Make a new request for each work.
    SameRequestTwice(WorkId),
    /// A constraint is asked for that nobody observes.
    NoSensor {
        /// The worker.
        worker: Arc<str>,
        /// The constraint.
        kind: ConstraintKind,
    },
    /// The worker is here, but a state that it needs is not.
    MissingState {
        /// The worker.
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
            EnqueueError::Empty => {
                f.write_str("there is nothing to enqueue: the list, or a step of the chain, is empty")
            }
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
                    "two works of this call have the id {id}: a clone of a request is the same work; make a new request for each"
                )
            }
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
