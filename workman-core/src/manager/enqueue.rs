//! From requests to one command: names, sensors, limits, offers, and what the answer means.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::WorkManager;
use super::order::{Declared, Ordered, ordered};
use crate::constraints::ConstraintKind;
use crate::dispatcher::{Core, MissingSensor, Reservation, Rivals, Role};
use crate::id::WorkId;
use crate::plan::{Applied, Command, Enqueue, Enqueued, NewWork, Offer, Refusal, Unique, WorkerKind};
use crate::request::{RequestDraft, RequestError, check_name};
use crate::store::index::rank;
use crate::store::{StoreError, StoreErrorKind};
use crate::worker::StateKey;

/// Under which name works are stored.
#[derive(Clone)]
pub(crate) enum Naming {
    /// None.
    None,
    /// This one, which they take by its policy.
    New(Unique),
    /// This one, which the works that they come after have taken.
    Inherited(Arc<str>),
}

impl Naming {
    fn name(&self) -> Option<&Arc<str>> {
        match self {
            Naming::None => None,
            Naming::New(unique) => Some(&unique.name),
            Naming::Inherited(name) => Some(name),
        }
    }

    /// For works that come after those that are stored under this name.
    pub(crate) fn inherited(&self) -> Naming {
        self.name().map_or(Naming::None, |name| Naming::Inherited(Arc::clone(name)))
    }

    /// For works that come after those of two names.
    pub(crate) fn joined_with(&self, other: Naming) -> Result<Naming, EnqueueError> {
        match (self, &other) {
            (Naming::None, _) => Ok(other),
            (_, Naming::None) => Ok(self.clone()),
            (Naming::New(one), Naming::New(two)) if one == two => Ok(other),
            (Naming::Inherited(one), Naming::Inherited(two)) if one == two => Ok(other),
            _ => {
                let [first, second] = [self, &other].map(|naming| naming.name().cloned().unwrap_or_default());
                Err(EnqueueError::TwoNames { first, second })
            }
        }
    }
}

/// Open lanes beyond this number are too many to look into for an offer.
const RIVALS: usize = 16;

impl WorkManager {
    /// Stores all that is declared, or nothing.
    pub(crate) async fn submit(&self, declared: Vec<Declared>, naming: Naming) -> Result<Stored, EnqueueError> {
        let core = self.core();
        let Ordered { works, ids } = ordered(declared, &core.limits)?;
        let works = new_works(core, works, &naming)?;
        let unique = match naming {
            Naming::New(unique) => Some(unique),
            Naming::None | Naming::Inherited(_) => None,
        };
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

/// What was stored, in the order of declaration.
pub(crate) struct Stored {
    pub(crate) how: Enqueued,
    pub(crate) ids: Vec<WorkId>,
}

impl Stored {
    /// Whether the works themselves are stored.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.how, Enqueued::Inserted | Enqueued::Replaced(_) | Enqueued::Appended(_))
    }
}

fn new_works(
    core: &Core,
    works: Vec<(RequestDraft, Vec<WorkId>)>,
    naming: &Naming,
) -> Result<Vec<NewWork>, EnqueueError> {
    let name = naming.name();
    if let Some(name) = name {
        check_name(name, &core.limits).map_err(EnqueueError::Request)?;
    }
    if let Naming::New(unique) = naming {
        let checked = works.iter().try_for_each(|(draft, _)| draft.check_override(unique.policy));
        checked.map_err(EnqueueError::Request)?;
    }
    works.into_iter().map(|(draft, prerequisites)| new_work(core, draft, prerequisites, name.cloned())).collect()
}

fn new_work(
    core: &Core,
    draft: RequestDraft,
    prerequisites: Vec<WorkId>,
    name: Option<Arc<str>>,
) -> Result<NewWork, EnqueueError> {
    placed(core, draft)?.new_work(&core.limits, core.store_now(), prerequisites, name).map_err(EnqueueError::Request)
}

/// What stored work is to become. Its name and its prerequisites are not part of that.
pub(super) fn changed_work(core: &Core, draft: RequestDraft) -> Result<NewWork, EnqueueError> {
    placed(core, draft)?.changed_work(&core.limits, core.store_now()).map_err(EnqueueError::Request)
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
    let Rivals { open: rivals, lanes } = core.rivals().clone();
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
    Some((Offer { epoch, generation, room, ids, rivals, lanes }, reservation))
}

/// Which slots the work takes, if nothing keeps it from running here and now. Expedited work is left to a claim, which knows its
/// budget.
fn startable(core: &Core, work: &NewWork) -> Option<WorkerKind> {
    if work.terms.expedited.is_some() {
        return None;
    }
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
    /// One step, or one list, has two works of one id: a request was cloned. Make a new request for each work.
    SameRequestTwice(WorkId),
    /// The works of one call wait for each other in a circle: this one waits for itself, directly or through others.
    Cycle(WorkId),
    /// Chains of different unique names, or of one name with different policies, are joined.
    TwoNames {
        /// One name.
        first: Arc<str>,
        /// The other.
        second: Arc<str>,
    },
    /// An edge of a graph begins or ends at a node of another graph.
    UnknownNode(WorkId),
    /// A worker of a graph takes a tuple of another length than it has prerequisites.
    TupleLength {
        /// The worker.
        worker: Arc<str>,
        /// How many outputs it takes.
        takes: usize,
        /// How many prerequisites it has.
        given: usize,
    },
    /// A worker of a graph takes another type than its prerequisite gives.
    OtherType {
        /// The worker.
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
                    "two works of this call have the id {id} and stand side by side: a clone of a request is the same work; make a new request for each"
                )
            }
            EnqueueError::Cycle(id) => write!(
                f,
                "works of this call wait for each other in a circle: work {id} waits for itself, directly or through others"
            ),
            EnqueueError::TwoNames { first, second } => write!(
                f,
                "chains under the unique names \"{first}\" and \"{second}\" can't be joined: a chain has one name and one policy"
            ),
            EnqueueError::UnknownNode(id) => {
                write!(
                    f,
                    "an edge of the graph begins or ends at work {id}, which is a node of another graph; for stored work use `after_stored`"
                )
            }
            EnqueueError::TupleLength { worker, takes, given } => {
                write!(f, "worker \"{worker}\" takes a tuple of {takes} outputs, and has {given} prerequisites")
            }
            EnqueueError::OtherType { worker, takes, prerequisite, gives } => write!(
                f,
                "worker \"{worker}\" takes `{takes}` where its prerequisite, of worker \"{prerequisite}\", gives `{gives}`"
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
