//! What was claimed and does not run yet: it lines up here, and is started a few at a time, so that ends are heard in between.

use std::collections::VecDeque;

use super::slots::{Place, Places};
use super::{Dispatcher, Phase, Role};
use crate::id::WorkId;
use crate::plan::{Claimed, End, Settle};
use crate::state::StopReason;
use crate::worker::RegisteredWorker;

/// How many are started before somebody looks what has happened meanwhile.
const AT_ONCE: usize = 32;

/// Claimed work in the order in which it starts. All of it holds its slots already.
#[derive(Default)]
pub(super) struct Queue {
    next: VecDeque<Queued>,
    /// Claimed beyond what may run: a slot was reserved for it, and nobody knew any more. It starts when one is free.
    beyond: Vec<Queued>,
    places: Places,
}

struct Queued {
    claimed: Claimed,
    worker: RegisteredWorker,
}

/// Whether anything was started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Started {
    Some,
    None,
}

impl Queued {
    fn place(&self) -> Place {
        Place::of(&self.claimed, self.worker.def.kind)
    }
}

impl Queue {
    fn push(&mut self, queued: Queued) {
        self.places.add(queued.place());
        self.next.push_back(queued);
    }

    fn pop(&mut self) -> Option<Queued> {
        let queued = self.next.pop_front()?;
        self.places.remove(queued.place());
        Some(queued)
    }

    /// It goes on waiting, though the others don't.
    fn set_aside(&mut self, queued: Queued) {
        self.places.add(queued.place());
        self.beyond.push(queued);
    }

    /// A slot may be free for what was claimed beyond what may run.
    pub(super) fn try_again(&mut self) {
        for queued in self.beyond.drain(..).rev() {
            self.next.push_front(queued);
        }
    }

    /// The store has moved on without this one.
    pub(super) fn withdraw(&mut self, id: WorkId) {
        let Queue { next, beyond, places } = self;
        let mut stays = |queued: &Queued| {
            let stays = queued.claimed.record.id != id;
            if !stays {
                places.remove(queued.place());
            }
            stays
        };
        next.retain(&mut stays);
        beyond.retain(stays);
    }

    pub(super) fn clear(&mut self) {
        *self = Queue::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty() && self.beyond.is_empty()
    }

    /// What it holds.
    pub(super) fn places(&self) -> Places {
        self.places
    }

    /// The runs that the store should know of.
    pub(super) fn held(&self) -> impl Iterator<Item = (WorkId, u64)> + '_ {
        let queued = self.next.iter().chain(&self.beyond);
        queued.map(|queued| (queued.claimed.record.id, queued.claimed.record.fence))
    }
}

impl Dispatcher {
    /// Claimed work is to start, as soon as there is time for that.
    pub(super) fn line_up(&mut self, claimed: Claimed) {
        let (id, fence) = (claimed.record.id, claimed.record.fence);
        match self.core.registry.get(&claimed.spec.worker).cloned() {
            Some(worker) => self.queue.push(Queued { claimed, worker }),
            None => {
                // Its lane is closed here, so nobody can have claimed it for this manager.
                tracing::error!(%id, worker = %claimed.spec.worker, "claimed work of a worker that is not here");
                let end = End::Interrupted { reason: StopReason::RuntimeGone };
                self.ends.push(Settle { id, fence, end });
            }
        }
    }

    /// Starts some of what was claimed. What has no slot waits for one.
    pub(super) fn start_some(&mut self) -> Started {
        let mut started = Started::None;
        if self.core.role != Role::Runs || !matches!(self.phase, Phase::Running) {
            return started;
        }
        for _ in 0..AT_ONCE {
            let Some(queued) = self.queue.pop() else { break };
            let Place { kind, urgency, .. } = queued.place();
            if self.core.slots.may_run(kind, urgency, *self.attempts.places().taken.of(kind)) {
                self.attempts.start(queued.claimed, queued.worker);
                started = Started::Some;
            } else {
                self.queue.set_aside(queued);
            }
        }
        if started == Started::Some {
            self.linger.on_started(self.core.clock.monotonic());
        }
        started
    }
}
