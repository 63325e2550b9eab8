//! From requests to one command: names, sensors, limits, offers, and what the answer means.

use std::cell::OnceCell;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

use super::order::{Declared, Node, Ordered, ordered};
use super::refused::EnqueueError;
use super::{UniqueWork, WorkHandle, WorkManager};
use crate::constraints::Conditions;
use crate::dispatcher::{Core, MissingSensor, Reservation, Rivals, Role};
use crate::foreign::Panicked;
use crate::id::WorkId;
use crate::index::rank;
use crate::info::WorkInfo;
use crate::plan::{Applied, Command, Enqueue, Enqueued, NewWork, Offer, Unique, UniquePolicy, WorkerKind};
use crate::policy::ExistingWorkPolicy;
use crate::request::{RequestParts, check_name, read_back};
use crate::store::{StoreError, StoreErrorKind, Unit};
use crate::time::Timestamp;
use crate::worker::{RegisteredWorker, WorkerDef};

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
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        match self {
            Naming::None => None,
            Naming::New(unique) => Some(&unique.name),
            Naming::Inherited(name) => Some(name),
        }
    }

    /// What is to happen if the name is taken, if that is asked.
    fn policy(&self) -> Option<ExistingWorkPolicy> {
        match self {
            Naming::New(Unique { policy: UniquePolicy::OneTime(policy), .. }) => Some(*policy),
            _ => None,
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
                Err(EnqueueError::TwoNames { first, second, policies: [self.policy(), other.policy()] })
            }
        }
    }
}

/// Open lanes beyond this number are too many to look into for an offer.
const RIVALS: usize = 16;

impl WorkManager {
    /// Stores all that is declared, or nothing.
    pub(crate) async fn submit(
        &self,
        declared: impl IntoIterator<Item = Declared>,
        naming: Naming,
    ) -> Result<Stored, EnqueueError> {
        let core = self.core();
        let Ordered { works, ids } = ordered(declared, &core.limits)?;
        if let Err(error) = core.home.check() {
            return Err(EnqueueError::Store { ids, error });
        }
        // What is enqueued is checked by the time at which it is sent.
        let at = core.clock.read();
        let works = new_works(core, works, &naming, core.time.at(at).now)?;
        let unique = match naming {
            Naming::New(unique) => Some(unique),
            Naming::None | Naming::Inherited(_) => None,
        };
        // Who takes a name may cancel what depends on its holders.
        let wide = unique.as_ref().and_then(|_| core.wide());
        let is_taken = unique.as_ref().is_some_and(|unique| core.here.is_taken(&unique.name));
        let (offer, mut reservation) = if is_taken { None } else { offer(core, &works) }.unzip();
        let unit = Unit { command: Command::Enqueue(Enqueue { works, unique, offer }), at };
        let answers = core.transact(vec![unit]).await;
        drop(wide);
        let answer = match answers {
            Ok(answers) => answers.into_iter().next(),
            Err(error) => return Err(EnqueueError::Store { ids, error }),
        };
        match answer {
            Some(Ok(Applied::Enqueued { how, claimed })) => {
                if let Some(reservation) = &mut reservation {
                    reservation.hand_over(&claimed);
                }
                let holder =
                    self.holder(&how).await.map_err(|error| EnqueueError::Store { ids: ids.clone(), error })?;
                Ok(Stored { how, ids, holder })
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

impl WorkManager {
    /// The work that was kept instead, if one was. A name whose holder does not get on is told of, since whoever relies on it sees
    /// no error.
    async fn holder(&self, how: &Enqueued) -> Result<Option<WorkInfo>, StoreError> {
        let id = match how {
            Enqueued::Kept(id) => *id,
            Enqueued::Superseded(old) => {
                tracing::warn!(
                    ?old,
                    "could not begin and held a unique name, which newer work has taken; `retry` frees what was parked"
                );
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let holder = self.outline(id).await?;
        if let Some(info) = &holder {
            let (name, worker) = (info.name.as_deref().unwrap_or_default(), &info.worker);
            let core = self.core();
            match &info.parked {
                Some(why) => {
                    tracing::warn!(%id, %worker, name, %why, "was kept under its unique name, and does not get on")
                }
                None if core.role == Role::Runs && core.registry.get(worker).is_none() => {
                    tracing::warn!(%id, %worker, name, "was kept under its unique name, and this build has no such worker");
                }
                None => {}
            }
        }
        Ok(holder)
    }
}

/// What was stored, in the order of declaration.
pub(crate) struct Stored {
    pub(crate) how: Enqueued,
    pub(crate) ids: Vec<WorkId>,
    /// Of what was kept instead: what is known of it.
    pub(crate) holder: Option<WorkInfo>,
}

impl Stored {
    /// Whether the works themselves are stored.
    pub(crate) fn is_new(&self) -> bool {
        !matches!(self.how, Enqueued::Kept(_) | Enqueued::Updated(_))
    }

    /// What a unique enqueue did; the ids are those that there is a handle of.
    pub(super) fn unique_work<O>(self, manager: &WorkManager) -> UniqueWork<O> {
        let handle = self.ids.first().map(|id| WorkHandle::new(manager.clone(), *id));
        UniqueWork { how: self.how, handle }
    }
}

/// Works on their way into the store, and `T` once they are there. Nothing happens before it is polled; dropped after that, it
/// withdraws nothing.
///
/// A type with a name, and no `async fn`: so a request that does not fit is one error of the compiler, and not one more for each use of
/// the future.
#[must_use = "nothing is stored before this is awaited"]
pub struct Enqueueing<'a, T> {
    manager: &'a WorkManager,
    stored: BoxFuture<'a, Result<Stored, EnqueueError>>,
    typed: fn(&WorkManager, Stored) -> Result<T, EnqueueError>,
}

impl<'a, T> Enqueueing<'a, T> {
    pub(super) fn new(
        manager: &'a WorkManager,
        stored: BoxFuture<'a, Result<Stored, EnqueueError>>,
        typed: fn(&WorkManager, Stored) -> Result<T, EnqueueError>,
    ) -> Self {
        Enqueueing { manager, stored, typed }
    }
}

impl<T> Future for Enqueueing<'_, T> {
    type Output = Result<T, EnqueueError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (manager, typed) = (self.manager, self.typed);
        self.stored.as_mut().poll(cx).map(|stored| stored.and_then(|stored| typed(manager, stored)))
    }
}

fn new_works(core: &Core, works: Vec<Node>, naming: &Naming, now: Timestamp) -> Result<Vec<NewWork>, EnqueueError> {
    let name = naming.name();
    if let Some(name) = name {
        check_name(name, &core.limits).map_err(EnqueueError::Request)?;
    }
    if let Naming::New(unique) = naming {
        let checked = works.iter().try_for_each(|node| node.parts.check_override(unique.policy));
        checked.map_err(EnqueueError::Request)?;
    }
    let mut placing = Placing::new(core);
    let new_work = |Node { mut parts, after, .. }: Node| {
        placing.place(&mut parts)?;
        let def = parts.def;
        let work = parts.new_work(&core.limits, now, after, name.cloned()).map_err(EnqueueError::Request)?;
        read_back(core.read_back, def, &work).map_err(EnqueueError::Request)?;
        Ok(work)
    };
    works.into_iter().map(new_work).collect()
}

/// What stored work is to become. Its name and its prerequisites are not part of that.
pub(super) fn changed_work(core: &Core, mut parts: RequestParts) -> Result<NewWork, EnqueueError> {
    Placing::new(core).place(&mut parts)?;
    let def = parts.def;
    let work = parts.changed_work(&core.limits, core.store_now()).map_err(EnqueueError::Request)?;
    read_back(core.read_back, def, &work).map_err(EnqueueError::Request)?;
    Ok(work)
}

/// What is the same for all requests of a call, and is asked once.
struct Placing<'a> {
    core: &'a Core,
    /// What the sensor says, once a request has constraints.
    conditions: OnceCell<Conditions>,
    /// The worker of the request before, which has what it needs: most calls are about one worker.
    last: Option<&'a RegisteredWorker>,
}

impl<'a> Placing<'a> {
    fn new(core: &'a Core) -> Self {
        Placing { core, conditions: OnceCell::new(), last: None }
    }

    /// Puts the request under the name that its worker has here, if this manager has what it needs.
    fn place(&mut self, parts: &mut RequestParts) -> Result<(), EnqueueError> {
        if let Some(registered) = self.registered(parts.def)? {
            parts.registered = Some(Arc::clone(&registered.name));
        }
        // Sensors are a matter of those who run it.
        let asks_sensor = self.core.role == Role::Runs && self.core.missing_sensor == MissingSensor::Refuse;
        if asks_sensor && !parts.constraints.is_none() {
            let conditions = self.conditions.get_or_init(|| self.core.senses.conditions());
            if let Some(kind) = parts.constraints.kinds().find(|kind| !conditions.observes(*kind)) {
                return Err(EnqueueError::NoSensor { worker: parts.worker(), kind });
            }
        }
        Ok(())
    }

    fn registered(&mut self, def: &'static WorkerDef) -> Result<Option<&'a RegisteredWorker>, EnqueueError> {
        if self.last.is_some_and(|last| std::ptr::eq(last.def, def)) {
            return Ok(self.last);
        }
        let Some(registered) = self.core.registry.of(def) else { return Ok(None) };
        if self.core.role == Role::Runs
            && let Some(state) = registered.missing_states(&self.core.states).first().copied()
        {
            return Err(EnqueueError::MissingState { worker: Arc::clone(&registered.name), state });
        }
        self.last = Some(registered);
        Ok(self.last)
    }
}

/// Reserves free slots for works that could run at once, so that the commit that stores them claims them too.
fn offer(core: &Core, works: &[NewWork]) -> Option<(Offer, Reservation)> {
    if core.role != Role::Runs {
        return None;
    }
    let asked = OnceCell::new();
    let mut startable = works.iter().filter_map(|work| startable(core, work, &asked).map(|kind| (work, kind)));
    let (first, kind) = startable.next()?;
    // While all slots are taken, nobody looks at the others.
    if !core.slots.has_free(kind) {
        return None;
    }
    let Rivals { open: rivals, lanes } = core.rivals().clone();
    if rivals.len() > RIVALS {
        return None;
    }
    let others = startable.filter(|(_, fits)| *fits == kind).map(|(work, _)| work);
    let mut fitting: Vec<&NewWork> = iter::once(first).chain(others).collect();
    fitting.sort_by_key(|work| rank(work.terms.priority));
    let ids: Vec<WorkId> = fitting.iter().map(|work| work.id).collect();
    let reservation = core.slots.reserve(kind, &ids)?;
    let ids: Vec<WorkId> = reservation.ids().iter().copied().collect();
    let (epoch, generation, slots) = (core.epoch, reservation.generation(), ids.len());
    Some((Offer { epoch, generation, slots, ids, rivals, lanes }, reservation))
}

/// Which slots the work takes, if nothing keeps it from running here and now, as the sensor says when it is asked, which it is once.
/// Expedited work is left to a claim, which knows its budget.
fn startable(core: &Core, work: &NewWork, asked: &OnceCell<Result<(), Panicked>>) -> Option<WorkerKind> {
    if work.terms.expedited.is_some() {
        return None;
    }
    if !work.spec.prerequisites.ids.is_empty()
        || !work.terms.initial_delay.is_zero()
        || work.terms.run_at > Timestamp::MIN
    {
        return None;
    }
    let worker = core.registry.get(&work.spec.worker)?;
    let constraints = core.effective(&work.spec.constraints);
    if !constraints.is_none() {
        asked.get_or_init(|| {
            core.senses.ask().map(|conditions| core.dwell().observe(conditions, core.clock.monotonic()))
        });
    }
    let open = core.dwell().may_start(&constraints, core.clock.monotonic()).is_ok();
    open.then_some(worker.def.kind)
}
