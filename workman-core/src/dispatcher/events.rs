//! What has happened: ends of runs, wishes of handles, commits, conditions.

use std::time::Duration;

use futures::channel::oneshot;
use futures::{FutureExt, StreamExt};

use super::write::FIRST_RETRY;
use super::{Control, Dispatcher, Offers, Phase, Reclaim, Role, Sensed, ShutdownReport};
use crate::plan::{End, Hint};
use crate::state::StopReason;
use crate::store::Change;
use crate::time::Timestamp;
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
            dwell.observe(self.core.sensor.conditions(), now);
        }
        self.dwell_at = dwell.next_change(now);
        drop(dwell);
        self.look = true;
    }

    pub(super) fn on_worker(&mut self, event: FromWorker) {
        match event {
            FromWorker::Noted => {
                let at = self.core.clock.monotonic() + self.core.limits.progress_delay;
                self.write_notes_at.get_or_insert(at);
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
                self.core.slots.set_offers(Offers::Refused);
                let text = "the runtime of the workers has ended; nothing runs until a new manager is started";
                tracing::error!("{text}");
                self.core.health.degraded(text);
            }
            End::Interrupted { reason: StopReason::StoreUnavailable } => {
                self.retry_at = Some(self.core.clock.monotonic() + FIRST_RETRY);
            }
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
            Control::WhenIdle(waiter) => self.idle_waiters.push(waiter),
            Control::Shutdown { grace, done } => self.begin_leaving(grace, Some(done)),
            Control::HandlesGone => self.begin_leaving(Duration::ZERO, None),
        }
    }

    fn begin_leaving(&mut self, grace: Duration, done: Option<oneshot::Sender<ShutdownReport>>) {
        self.core.slots.set_offers(Offers::Refused);
        if let Phase::Leaving { done: waiting @ None, .. } = &mut self.phase {
            *waiting = done;
        } else if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Leaving { done, report: ShutdownReport::default() };
            self.attempts.stop_all(StopReason::Shutdown, grace);
        }
    }

    pub(super) fn on_change(&mut self, change: Change) {
        match change {
            Change::Lagged => {
                self.lanes.heat_all();
                self.next_due = Some(Timestamp::MIN);
                self.cascade = true;
                self.look = true;
                self.want_reclaim();
            }
            Change::Commit { now, hints, .. } => {
                self.skew_ms = now.as_millis().saturating_sub(self.core.clock.wall().as_millis());
                hints.iter().for_each(|hint| self.on_hint(hint));
            }
        }
    }

    fn on_hint(&mut self, hint: &Hint) {
        match hint {
            Hint::Ready(lane) => {
                self.lanes.heat(*lane);
                self.look = true;
            }
            Hint::Due(due) => self.next_due = Some(self.next_due.map_or(*due, |next| next.min(*due))),
            Hint::Lane(lane) => self.add_lane(lane),
            Hint::Stop { id, fence, reason } => self.attempts.fence_off(*id, *fence, *reason),
            Hint::Cascade => (self.cascade, self.look) = (true, true),
            Hint::Claimed { epoch, works } if *epoch == self.core.epoch => match self.reclaim {
                Reclaim::Settled => works.iter().cloned().for_each(|claimed| self.start(claimed)),
                _ => self.limbo.extend(works.iter().cloned()),
            },
            Hint::Reclaimed { epoch } if *epoch == self.core.epoch => {
                // What is in limbo was claimed before the reclaim and has been given back.
                self.limbo.clear();
                if self.reclaim == Reclaim::Announced {
                    self.reclaim = Reclaim::Settled;
                }
            }
            Hint::Claimed { .. } | Hint::Reclaimed { .. } => {}
        }
    }

    /// An answer was lost: the store may think that this manager runs more than it does.
    pub(super) fn want_reclaim(&mut self) {
        self.reclaim = Reclaim::Wanted;
        self.core.slots.set_offers(Offers::Refused);
    }
}
