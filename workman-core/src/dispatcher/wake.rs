//! Waiting until something happens or is due. With nothing due there is no timer at all.

use std::task::Poll;
use std::time::Duration;

use futures::future::{self, BoxFuture};
use futures::{FutureExt, StreamExt};

use super::{Control, Dispatcher, Sensed};
use crate::store::Change;
use crate::store::embedded::Stamp;
use crate::time::{LONGEST_REST, LONGEST_SLEEP, NextDue};
use crate::worker::FromWorker;

impl Dispatcher {
    pub(super) fn tell_idle(&mut self) {
        let quiet =
            self.attempts.is_empty() && self.ends.is_empty() && self.queue.is_empty() && self.retry_at.is_none();
        if quiet {
            for waiter in self.idle_waiters.drain(..) {
                let _ = waiter.send(());
            }
        }
    }

    /// Waits until something happens or is due. With nothing due there is no timer at all.
    pub(super) async fn wait(&mut self) {
        self.set_timer();
        let timer = &mut self.timer;
        let (controls, from_workers) = (&mut self.controls, &mut self.from_workers);
        let (changes, sensed) = (&mut self.changes, &mut self.sensed);
        let mut seen = Seen::default();
        let event = future::poll_fn(|cx| {
            if let Poll::Ready(Some(control)) = controls.poll_next_unpin(cx) {
                seen.control = Some(control);
            }
            if let Poll::Ready(Some(event)) = from_workers.poll_next_unpin(cx) {
                seen.from_worker = Some(event);
            }
            match changes.poll_next_unpin(cx) {
                Poll::Ready(Some(change)) => seen.change = Some(change),
                Poll::Ready(None) => seen.store_gone = true,
                Poll::Pending => {}
            }
            if let Poll::Ready(Some(())) = sensed.poll_next_unpin(cx) {
                seen.sensed = true;
            }
            let timed_out = timer.as_mut().is_some_and(|timer| timer.doze.poll_unpin(cx).is_ready());
            if timed_out {
                *timer = None;
            }
            if timed_out || seen.anything() { Poll::Ready(()) } else { Poll::Pending }
        });
        event.await;
        self.take_seen(seen);
    }

    fn take_seen(&mut self, seen: Seen) {
        self.store_gone |= seen.store_gone;
        seen.control.into_iter().for_each(|control| self.on_control(control));
        seen.from_worker.into_iter().for_each(|event| self.on_worker(event));
        seen.change.into_iter().for_each(|change| self.on_change(change));
        if seen.sensed {
            self.observe_conditions(Sensed::Change);
        }
    }

    /// A timer that is set to the right moment stays: what happens meanwhile is seldom a reason for another.
    fn set_timer(&mut self) {
        let now = self.core.clock.monotonic();
        let wake = self.next_wake(now);
        if !self.timer.as_ref().zip(wake).is_some_and(|(timer, (at, longest))| timer.serves(at, longest)) {
            let clock = &self.core.clock;
            self.timer =
                wake.map(|(at, longest)| Timer { at, longest, doze: clock.doze(at.saturating_sub(now), longest) });
        }
    }

    /// How long until delayed work is due, as the clocks stand; none if there is no such work.
    pub(super) fn wait_for_due(&self) -> Option<Duration> {
        if self.next_due == NextDue::default() {
            return None;
        }
        let Stamp { now, offset_ms } = self.core.time.now();
        self.next_due.wait(now, offset_ms)
    }

    /// When something may have to be done, on the monotonic clock, and how long to trust that, because that clock stands still in
    /// suspend. Nobody waits for finished work to be deleted, so that is no reason to look at the clock every minute.
    fn next_wake(&self, now: Duration) -> Option<(Duration, Duration)> {
        let stops = [self.attempts.next_deadline(), self.dwell_at].into_iter().flatten();
        if let Some(retry_at) = self.retry_at.filter(|at| *at > now) {
            // Nothing is written before that, whatever is due; only stops go on.
            return stops.chain([retry_at]).min().map(|wake| (wake, LONGEST_SLEEP));
        }
        let runs = self.runs();
        let due = self.wait_for_due().filter(|_| runs && self.core.slots.has_any_room());
        let due = due.map(|wait| now.saturating_add(wait));
        let wake = stops.chain(self.write_notes_at).chain(due).min();
        let prune = self.keeper.next_wake(self.moment()).filter(|_| runs).map(|prune| now.saturating_add(prune));
        let longest = if wake.is_some() { LONGEST_SLEEP } else { LONGEST_REST };
        wake.into_iter().chain(prune).min().map(|wake| (wake, longest))
    }
}

/// Store time counts milliseconds, so the same moment of it comes out differently on the monotonic clock, by less than this.
const CLOCKS_APART: Duration = Duration::from_millis(1);

/// What wakes the dispatcher if nothing else does.
pub(super) struct Timer {
    at: Duration,
    longest: Duration,
    doze: BoxFuture<'static, ()>,
}

impl Timer {
    /// Whether it is never later than asked for, and hardly earlier.
    fn serves(&self, at: Duration, longest: Duration) -> bool {
        self.longest == longest && self.at <= at && at - self.at < CLOCKS_APART
    }
}

/// What one wait saw.
#[derive(Default)]
struct Seen {
    control: Option<Control>,
    from_worker: Option<FromWorker>,
    change: Option<Change>,
    sensed: bool,
    store_gone: bool,
}

impl Seen {
    fn anything(&self) -> bool {
        let event = self.control.is_some() || self.from_worker.is_some() || self.change.is_some();
        event || self.sensed || self.store_gone
    }
}
