//! The slots in which workers run. Only running work holds one; waiting work never does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::UnboundedSender;

use super::Control;
use crate::limits::Limits;
use crate::plan::WorkerKind;

/// Slots of one manager, shared by its dispatcher, which runs and claims, and by callers, who reserve some for work that
/// they are about to enqueue. Each party sets its own count, so nothing can drift.
pub(crate) struct Slots {
    counts: Mutex<Counts>,
    dispatcher: UnboundedSender<Control>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    for_async: Count,
    for_blocking: Count,
    offers: bool,
    starved: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    capacity: usize,
    running: usize,
    claiming: usize,
    reserved: usize,
}

impl Count {
    fn free(self) -> usize {
        self.capacity.saturating_sub(self.running + self.claiming + self.reserved)
    }
}

impl Counts {
    fn of(&mut self, kind: WorkerKind) -> &mut Count {
        match kind {
            WorkerKind::Async => &mut self.for_async,
            WorkerKind::Blocking => &mut self.for_blocking,
        }
    }
}

/// Whether slots may be reserved for an enqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offers {
    Taken,
    Refused,
}

impl Slots {
    /// All slots free. Reservations are refused until the dispatcher says otherwise.
    pub(crate) fn new(limits: &Limits, dispatcher: UnboundedSender<Control>) -> Self {
        let count = |capacity| Count { capacity, ..Count::default() };
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

    /// Whether callers may reserve slots from now on.
    pub(crate) fn set_offers(&self, offers: Offers) {
        self.lock().offers = offers == Offers::Taken;
    }

    /// Reserves up to `wanted` slots for work that is about to be enqueued; `None` if there is none to have.
    pub(crate) fn reserve(self: &Arc<Self>, kind: WorkerKind, wanted: usize) -> Option<Reservation> {
        let mut counts = self.lock();
        if !counts.offers {
            return None;
        }
        let count = counts.of(kind);
        let room = wanted.min(count.free());
        count.reserved += room;
        drop(counts);
        (room > 0).then(|| Reservation { slots: Arc::clone(self), kind, room })
    }

    /// Takes all that is free for a claim: (async, blocking).
    pub(crate) fn begin_claim(&self) -> (usize, usize) {
        let mut counts = self.lock();
        let mut take = |kind| {
            let count = counts.of(kind);
            count.claiming = count.free();
            count.claiming
        };
        let room = (take(WorkerKind::Async), take(WorkerKind::Blocking));
        counts.starved = room.0 == 0 || room.1 == 0;
        room
    }

    /// The claim is over; this is what runs now.
    pub(crate) fn set_running(&self, for_async: usize, for_blocking: usize) {
        let mut counts = self.lock();
        for (kind, running) in [(WorkerKind::Async, for_async), (WorkerKind::Blocking, for_blocking)] {
            let count = counts.of(kind);
            (count.running, count.claiming) = (running, 0);
        }
    }

    /// Whether a slot of this kind is free.
    pub(crate) fn has_room(&self, kind: WorkerKind) -> bool {
        self.lock().of(kind).free() > 0
    }
}

/// Slots that are kept for work that is being enqueued; free again when dropped.
pub(crate) struct Reservation {
    slots: Arc<Slots>,
    kind: WorkerKind,
    room: usize,
}

impl Reservation {
    /// How many slots.
    pub(crate) fn room(&self) -> usize {
        self.room
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut counts = self.slots.lock();
        counts.of(self.kind).reserved -= self.room;
        if std::mem::take(&mut counts.starved) {
            drop(counts);
            // A dispatcher that is gone needs no slots.
            let _ = self.slots.dispatcher.unbounded_send(Control::SlotsFree);
        }
    }
}
