//! Waiting until something happens or is due. With nothing due there is no timer at all.

use std::task::Poll;
use std::time::Duration;

use futures::future::{self, BoxFuture};
use futures::{FutureExt, StreamExt};

use super::{Control, Dispatcher, Sensed};
use crate::store::Change;
use crate::time::{LONGEST_REST, LONGEST_SLEEP};
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
        let timer = self.next_wake().map(|(wait, longest)| self.core.clock.doze(wait, longest));
        let mut timer: BoxFuture<'static, ()> = timer.unwrap_or_else(|| Box::pin(future::pending()));
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
            let timed_out = timer.poll_unpin(cx).is_ready();
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

    /// How long until something may have to be done, and how long to trust that, because monotonic clocks stand still in suspend.
    /// Nobody waits for finished work to be deleted, so that is no reason to look at the clock every minute.
    fn next_wake(&self) -> Option<(Duration, Duration)> {
        let now = self.core.clock.monotonic();
        let until = |at: Duration| at.saturating_sub(now);
        if let Some(retry_at) = self.retry_at.filter(|at| *at > now) {
            // Nothing is written before that, whatever is due; only stops go on.
            let wake =
                [Some(retry_at), self.attempts.next_deadline(), self.dwell_at].into_iter().flatten().map(until).min();
            return wake.map(|wake| (wake, LONGEST_SLEEP));
        }
        let runs = self.runs();
        let due = self.next_due.filter(|_| runs && self.core.slots.has_any_room());
        let due = due.map(|due| due.since(self.core.store_now()));
        let moments = [self.write_notes_at, self.attempts.next_deadline(), self.dwell_at];
        let prune = self.keeper.next_wake(self.moment()).filter(|_| runs);
        let wake = moments.into_iter().flatten().map(until).chain(due).min();
        let longest = if wake.is_some() { LONGEST_SLEEP } else { LONGEST_REST };
        wake.into_iter().chain(prune).min().map(|wake| (wake, longest))
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
