//! [`Slots`]: where workers run, and how many of them at once. Only running work holds a slot; waiting work never does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::UnboundedSender;

use super::inbox::Control;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::{Barred, Claimed, FreeSlots, WorkerKind};
use crate::record::Urgency;

/// Slots of one manager, shared by its dispatcher, which runs and claims, and by callers, who reserve some for work that
/// they are about to enqueue.
///
/// A reserved slot belongs to a work. If the enqueue claims that work, its slot stays reserved until the dispatcher counts
/// it among those that run, so that nobody gets it twice in between.
///
/// Some slots are kept for expedited work, beside the others. Expedited work that runs is in those first, whenever it began:
/// so it leaves ordinary work as many slots as it can.
pub(crate) struct Slots {
    counts: Mutex<Counts>,
    dispatcher: UnboundedSender<Control>,
}

#[derive(Default)]
struct Counts {
    for_async: Count,
    for_blocking: Count,
    /// By work that is being enqueued. None of it is expedited.
    reserved: BTreeMap<WorkId, WorkerKind>,
    /// Which offers are good; `None` refuses all.
    offers: Option<u64>,
    /// The dispatcher has missed slots that were reserved, and wants to hear when they are free.
    starved: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Slots for any work, and those that are kept for expedited work.
    capacity: FreeSlots,
    running: InUse,
    claiming: FreeSlots,
    /// The runtime takes no more than so many for now.
    ceiling: Option<usize>,
}

/// How many slots of one kind are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InUse {
    pub(crate) ordinary: usize,
    pub(crate) expedited: usize,
}

impl InUse {
    pub(crate) fn add(&mut self, urgency: Urgency) {
        match urgency {
            Urgency::Ordinary => self.ordinary += 1,
            Urgency::Expedited => self.expedited += 1,
        }
    }

    pub(crate) fn remove(&mut self, urgency: Urgency) {
        let count = match urgency {
            Urgency::Ordinary => &mut self.ordinary,
            Urgency::Expedited => &mut self.expedited,
        };
        *count = count.saturating_sub(1);
    }

    pub(crate) fn all(self) -> usize {
        self.ordinary + self.expedited
    }

    fn and(self, other: InUse) -> InUse {
        InUse { ordinary: self.ordinary + other.ordinary, expedited: self.expedited + other.expedited }
    }
}

/// What is taken of both kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) for_async: InUse,
    pub(crate) for_blocking: InUse,
}

impl Taken {
    pub(crate) fn of(&mut self, kind: WorkerKind) -> &mut InUse {
        match kind {
            WorkerKind::Async => &mut self.for_async,
            WorkerKind::Blocking => &mut self.for_blocking,
        }
    }

    /// Both together.
    pub(crate) fn and(self, other: Taken) -> Taken {
        Taken {
            for_async: self.for_async.and(other.for_async),
            for_blocking: self.for_blocking.and(other.for_blocking),
        }
    }
}

/// What a work takes up while it runs, or is about to.
#[derive(Clone, Copy)]
pub(super) struct Seat {
    pub(super) kind: WorkerKind,
    pub(super) urgency: Urgency,
    pub(super) suspect: bool,
}

impl Seat {
    pub(super) fn of(claimed: &Claimed, kind: WorkerKind) -> Self {
        Seat { kind, urgency: claimed.record.urgency, suspect: claimed.record.is_suspect() }
    }
}

/// A sum of places.
#[derive(Clone, Copy, Default)]
pub(super) struct Seats {
    pub(super) taken: Taken,
    pub(super) suspects: usize,
}

impl Seats {
    pub(super) fn add(&mut self, place: Seat) {
        self.taken.of(place.kind).add(place.urgency);
        self.suspects += usize::from(place.suspect);
    }

    pub(super) fn remove(&mut self, place: Seat) {
        self.taken.of(place.kind).remove(place.urgency);
        self.suspects = self.suspects.saturating_sub(usize::from(place.suspect));
    }
}

/// What runs, as far as it matters to what may start.
pub(super) struct Beside {
    pub(super) places: Seats,
    /// What must not start here.
    pub(super) barred: Barred,
}

impl Count {
    /// What these leave free.
    fn beside(&self, running: InUse) -> FreeSlots {
        let beyond = running.expedited.saturating_sub(self.capacity.reserved);
        let below = self
            .ceiling
            .map_or(usize::MAX, |ceiling| ceiling.saturating_sub(running.ordinary.saturating_add(running.expedited)));
        FreeSlots {
            ordinary: self.capacity.ordinary.saturating_sub(running.ordinary.saturating_add(beyond)).min(below),
            reserved: self.capacity.reserved.saturating_sub(running.expedited).min(below),
        }
    }

    fn free(&self, reserved_by_callers: usize) -> FreeSlots {
        let free = self.beside(self.running);
        FreeSlots {
            ordinary: free.ordinary.saturating_sub(self.claiming.ordinary.saturating_add(reserved_by_callers)),
            reserved: free.reserved.saturating_sub(self.claiming.reserved),
        }
    }
}

impl Counts {
    fn of(&mut self, kind: WorkerKind) -> &mut Count {
        match kind {
            WorkerKind::Async => &mut self.for_async,
            WorkerKind::Blocking => &mut self.for_blocking,
        }
    }

    fn free(&mut self, kind: WorkerKind) -> FreeSlots {
        let reserved = self.reserved.values().filter(|reserved| **reserved == kind).count();
        self.of(kind).free(reserved)
    }
}

impl Slots {
    /// All slots free. Reservations are refused until the dispatcher says otherwise.
    pub(crate) fn new(limits: &Limits, dispatcher: UnboundedSender<Control>) -> Self {
        let count =
            |ordinary| Count { capacity: FreeSlots { ordinary, reserved: limits.expedited_slots }, ..Count::default() };
        let counts = Counts {
            for_async: count(limits.async_slots),
            for_blocking: count(limits.blocking_slots),
            ..Counts::default()
        };
        Slots { counts: Mutex::new(counts), dispatcher }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on no more than so many of a kind may run, or as many as there are slots.
    pub(crate) fn set_ceiling(&self, kind: WorkerKind, ceiling: Option<usize>) {
        self.lock().of(kind).ceiling = ceiling;
    }

    /// From now on callers may reserve slots, and what is claimed for them carries this number.
    pub(crate) fn take_offers(&self, generation: u64) {
        self.lock().offers = Some(generation);
    }

    /// From now on callers may reserve nothing.
    pub(crate) fn refuse_offers(&self) {
        self.lock().offers = None;
    }

    /// Reserves a slot for as many of these works as there is free for; `None` if there is none.
    pub(crate) fn reserve(self: &Arc<Self>, kind: WorkerKind, ids: &[WorkId]) -> Option<Reservation> {
        let mut counts = self.lock();
        let generation = counts.offers?;
        let free = counts.free(kind).ordinary.min(ids.len());
        let ids: BTreeSet<WorkId> = ids.iter().take(free).copied().collect();
        counts.reserved.extend(ids.iter().map(|id| (*id, kind)));
        drop(counts);
        (free > 0).then(|| Reservation { slots: Arc::clone(self), generation, ids })
    }

    /// The dispatcher has heard of these works; from now on it counts them itself.
    pub(crate) fn heard_of(&self, ids: impl IntoIterator<Item = WorkId>) {
        self.release(ids);
    }

    /// Nobody knows what became of reserved slots: they are free, and what turns up for them has to wait its turn.
    pub(crate) fn forget_reservations(&self) {
        self.lock().reserved.clear();
    }

    /// Takes all that is free for a claim: (async, blocking).
    pub(crate) fn begin_claim(&self) -> (FreeSlots, FreeSlots) {
        let mut counts = self.lock();
        let mut take = |kind| {
            let free = counts.free(kind);
            counts.of(kind).claiming = free;
            free
        };
        let free = (take(WorkerKind::Async), take(WorkerKind::Blocking));
        counts.starved = !counts.reserved.is_empty();
        free
    }

    /// No claim is under way; this is what runs now, or is about to.
    pub(crate) fn set_running(&self, taken: Taken) {
        let mut counts = self.lock();
        for (kind, running) in [(WorkerKind::Async, taken.for_async), (WorkerKind::Blocking, taken.for_blocking)] {
            let count = counts.of(kind);
            (count.running, count.claiming) = (running, FreeSlots::default());
        }
    }

    /// Whether a slot of this kind is free for ordinary work.
    pub(crate) fn has_free(&self, kind: WorkerKind) -> bool {
        self.lock().free(kind).ordinary > 0
    }

    /// Whether runs hold all slots of this kind. With no slots at all there is nothing to hold, and what the runtime does not take is
    /// another trouble.
    pub(crate) fn are_all_held(&self, kind: WorkerKind) -> bool {
        let mut counts = self.lock();
        let count = *counts.of(kind);
        count.capacity.ordinary > 0 && count.ceiling.is_none() && count.beside(count.running).ordinary == 0
    }

    /// Whether any slot is free for ordinary work. If reservations are all that is in the way, the dispatcher hears when they
    /// are gone.
    pub(crate) fn has_any_free(&self) -> bool {
        let mut counts = self.lock();
        let free = [WorkerKind::Async, WorkerKind::Blocking].into_iter().any(|kind| counts.free(kind).ordinary > 0);
        counts.starved |= !counts.reserved.is_empty();
        free
    }

    /// Whether one more may run beside these, whatever is reserved.
    pub(crate) fn may_run(&self, kind: WorkerKind, urgency: Urgency, running: InUse) -> bool {
        let free = self.lock().of(kind).beside(running);
        free.ordinary > 0 || (urgency == Urgency::Expedited && free.reserved > 0)
    }

    fn release(&self, ids: impl IntoIterator<Item = WorkId>) {
        let mut counts = self.lock();
        for id in ids {
            counts.reserved.remove(&id);
        }
        if std::mem::take(&mut counts.starved) {
            drop(counts);
            // A dispatcher that is gone needs no slots.
            let _ = self.dispatcher.unbounded_send(Control::SlotsFree);
        }
    }
}

/// Slots that are kept for work that is being enqueued; free again when dropped, but for what was claimed.
pub(crate) struct Reservation {
    slots: Arc<Slots>,
    generation: u64,
    ids: BTreeSet<WorkId>,
}

impl Reservation {
    /// The works that have a slot.
    pub(crate) fn ids(&self) -> &BTreeSet<WorkId> {
        &self.ids
    }

    /// The number that what is claimed for these slots must carry.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// These works were claimed: their slots are the dispatcher's business now.
    pub(crate) fn hand_over(&mut self, claimed: &[WorkId]) {
        for id in claimed {
            self.ids.remove(id);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.slots.release(std::mem::take(&mut self.ids));
    }
}
