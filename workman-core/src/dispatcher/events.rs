//! What has happened: ends of runs, wishes of handles, commits, conditions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::{FutureExt, StreamExt};

use super::write::wait_after;
use super::{Control, Dispatcher, Phase, RUNTIME_GONE, Role, Sensed};
use crate::plan::{Claimed, End, Hint};
use crate::state::StopReason;
use crate::store::Change;
use crate::time::NextDue;
use crate::worker::FromWorker;

impl Dispatcher {
    /// Takes everything that has happened so far, without waiting.
    pub(super) fn take_events(&mut self) {
        while let Some(Some(event)) = self.from_workers.next().now_or_never() {
            self.on_worker(event);
        }
        while let Some(Some(control)) = self.controls.next().now_or_never() {
            self.on_control(control);
        }
        loop {
            match self.changes.next().now_or_never() {
                Some(Some(change)) => self.on_change(change),
                Some(None) => {
                    self.store_gone = true;
                    break;
                }
                None => break,
            }
        }
        let mut sensed = Sensed::Nothing;
        while let Some(Some(())) = self.sensed.next().now_or_never() {
            sensed = Sensed::Change;
        }
        self.observe_conditions(sensed);
    }

    /// What the sensor says counts from now on; what it said before may count by the passing of time alone.
    pub(super) fn observe_conditions(&mut self, sensed: Sensed) {
        let now = self.core.clock.monotonic();
        let due = self.dwell_at.is_some_and(|at| at <= now);
        if sensed == Sensed::Nothing && !due {
            return;
        }
        let mut dwell = self.core.dwell();
        if sensed == Sensed::Change {
            // A sensor is the program's code; if it panics, what it said before still counts.
            match catch_unwind(AssertUnwindSafe(|| self.core.sensor.conditions())) {
                Ok(conditions) => dwell.observe(conditions, now),
                Err(_) => tracing::error!("the sensor panicked when it was asked"),
            }
        }
        self.dwell_at = dwell.next_change(now);
        drop(dwell);
        self.attempts.on_conditions();
        self.look = true;
    }

    pub(super) fn on_worker(&mut self, event: FromWorker) {
        match event {
            FromWorker::Noted(id) => {
                self.attempts.on_noted(id);
                self.write_notes_by(self.core.limits.progress_delay);
            }
            FromWorker::Flush(id, done) => self.flushes.push((id, done)),
            FromWorker::Ended { id, fence, end } => {
                self.look = true;
                self.heed(&end);
                self.ends.extend(self.attempts.on_ended(id, fence, end));
            }
        }
    }

    /// Some ends say more about this process than about their work, and the same would happen to the next.
    fn heed(&mut self, end: &End) {
        match end {
            End::Interrupted { reason: StopReason::RuntimeGone } if !self.runtime_gone => {
                self.runtime_gone = true;
                self.core.slots.refuse_offers();
                tracing::error!("{RUNTIME_GONE}");
                self.core.health.degraded(RUNTIME_GONE);
            }
            End::Interrupted { reason: StopReason::StoreUnavailable } => {
                self.unreadable += 1;
                self.retry_at = Some(self.core.clock.monotonic() + wait_after(self.unreadable));
            }
            End::Succeeded { .. } => self.unreadable = 0,
            _ => {}
        }
    }

    /// Whether this manager may start work at all.
    pub(super) fn runs(&self) -> bool {
        self.core.role == Role::Runs && matches!(self.phase, Phase::Running) && !self.runtime_gone
    }

    pub(super) fn on_control(&mut self, control: Control) {
        match control {
            Control::SlotsFree => self.look = true,
            Control::Cascade => self.cascade = true,
            Control::WhenIdle(waiter) => self.idle_waiters.push(waiter),
            Control::Shutdown { grace, done } => self.begin_leaving(grace, Some(done)),
            Control::HandlesGone => self.begin_leaving(Duration::ZERO, None),
        }
    }

    pub(super) fn on_change(&mut self, change: Change) {
        match change {
            Change::Lagged => self.look_at_everything(),
            Change::Damaged(damage) => self.core.health.damaged(damage),
            Change::Commit { hints, now, .. } => {
                if !hints.is_empty() {
                    self.core.time.learn_past(now);
                }
                hints.iter().for_each(|hint| self.on_hint(hint));
            }
        }
    }

    /// Hints were lost, so everything that they could have said is found out anew.
    pub(super) fn look_at_everything(&mut self) {
        self.lanes.heat_all();
        self.next_due = NextDue::NOW;
        self.keeper.look_at_everything();
        (self.cascade, self.look) = (true, true);
        self.want_reclaim();
    }

    fn on_hint(&mut self, hint: &Hint) {
        match hint {
            Hint::Ready(lane) => {
                self.lanes.heat(*lane);
                self.look = true;
            }
            Hint::Due(due) => self.next_due = self.next_due.and(*due),
            Hint::Lane(lane) => self.add_lane(lane),
            Hint::Stop { id, fence, reason } => {
                self.queue.withdraw(*id);
                self.attempts.fence_off(*id, *fence, *reason);
            }
            Hint::Cascade => self.cascade = true,
            Hint::Finished { stored, until } => self.keeper.on_finished(*stored, *until),
            Hint::CancelledAll => {}
            Hint::Claimed { epoch, generation, works } if *epoch == self.core.epoch => {
                self.on_offer_taken(*generation, works);
            }
            Hint::Claimed { .. } => {}
        }
    }

    /// Work was claimed for slots that a caller had reserved. If the offer is of a time before the last reclaim was wanted, nobody
    /// knows whether the work was given back since: another reclaim makes sure that it is.
    fn on_offer_taken(&mut self, generation: u64, works: &[Claimed]) {
        if generation != self.generation {
            self.reclaim = true;
        } else if self.runs() {
            works.iter().cloned().for_each(|claimed| self.line_up(claimed));
            self.count_running();
        }
        self.core.slots.heard_of(works.iter().map(|claimed| claimed.record.id));
    }

    /// An answer was lost: the store may think that this manager runs more than it does.
    pub(super) fn want_reclaim(&mut self) {
        self.reclaim = true;
        self.generation += 1;
        self.queue.clear();
        self.core.slots.refuse_offers();
        self.core.slots.forget_reservations();
    }
}
