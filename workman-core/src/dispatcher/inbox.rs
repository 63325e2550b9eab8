//! [`Inbox`]: everything that the dispatcher hears of, from workers, handles, the store, the sensor and the clock, as one
//! [`Event`] after the other.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use crate::foreign::Panicked;
use crate::id::WorkId;
use crate::sensor::Bell;
use crate::store::Change;
use crate::time::{Clock, LONGEST_REST, LONGEST_SLEEP};
use crate::worker::FromWorker;

/// What handles tell the dispatcher.
pub(crate) enum Control {
    /// Reserved slots are free again, and a claim has missed them.
    SlotsFree,
    /// Somebody asks how the engine is doing.
    Asked,
    /// A command of this manager may have left a cascade, and it does not listen to the store.
    Cascade,
    /// Say when nothing runs and nothing can start.
    WhenIdle(oneshot::Sender<()>),
    /// Start nothing more, and stop what runs.
    Shutdown { grace: Duration, done: oneshot::Sender<ShutdownReport> },
    /// The last handle is gone.
    HandlesGone,
}

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Runs that ended by themselves within the grace period.
    pub ended: usize,
    /// Runs that did not end in time: async workers were dropped, blocking ones go on without effect. Their work runs again.
    pub given_up: Vec<WorkId>,
    /// Why work could not be given back: what the store said to the end, or that it has not answered; or why there was no shutdown.
    pub error: Option<String>,
    /// Works that this manager had when it could not give them back. What the store knows of them is uncertain: an end may be written
    /// or not. The next opening of the store rescues those that run as far as it knows.
    pub uncertain: Vec<WorkId>,
}

/// What has happened.
pub(super) enum Event {
    /// A worker has said something, or a run is over.
    Worker(FromWorker),
    /// A handle wishes something.
    Handle(Control),
    /// The store has committed, or says that it can't tell what.
    Store(Change),
    /// The store is closed: it will say nothing any more.
    StoreClosed,
    /// The sensor has news.
    Sensed,
    /// A time has come that somebody waited for.
    Woken,
}

/// What was awaited, or what has happened meanwhile.
pub(super) enum Heard<T> {
    Answer(T),
    Meanwhile(Event),
}

/// When to look again if nothing happens before, on the monotonic clock, and how long to trust that, because that clock stands
/// still in suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wake {
    at: Duration,
    longest: Duration,
}

impl Wake {
    /// Somebody waits for it.
    pub(super) fn at(at: Duration) -> Self {
        Wake { at, longest: LONGEST_SLEEP }
    }

    /// Nobody waits for it, so it is no reason to look at the clock every minute.
    pub(super) fn at_leisure(at: Duration) -> Self {
        Wake { at, longest: LONGEST_REST }
    }

    /// One that serves both.
    pub(super) fn and(self, other: Wake) -> Self {
        Wake { at: self.at.min(other.at), longest: self.longest.min(other.longest) }
    }
}

/// Every source of events.
pub(super) struct Inbox {
    workers: UnboundedReceiver<FromWorker>,
    handles: UnboundedReceiver<Control>,
    /// None once it has ended.
    changes: Option<BoxStream<'static, Change>>,
    bell: Bell,
    timer: Option<Timer>,
}

/// The pipes that end at a dispatcher.
pub(crate) struct Pipes {
    pub(crate) controls: UnboundedReceiver<Control>,
    pub(crate) changes: BoxStream<'static, Change>,
}

impl Inbox {
    pub(super) fn new(pipes: Pipes, workers: UnboundedReceiver<FromWorker>, bell: Bell) -> Self {
        let (handles, changes) = (pipes.controls, Some(pipes.changes));
        Inbox { workers, handles, changes, bell, timer: None }
    }

    /// The next thing that has happened already, if there is one.
    pub(super) fn take(&mut self) -> Option<Event> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        }
    }

    /// The next thing that happens. Without a time to wake at there is no timer at all.
    pub(super) async fn next(&mut self, wake: Option<Wake>, clock: &dyn Clock) -> Event {
        self.set_timer(wake, clock);
        poll_fn(|cx| {
            let polled = self.poll(cx);
            if polled.is_pending() && self.timer.as_mut().is_some_and(|timer| timer.doze.poll_unpin(cx).is_ready()) {
                self.timer = None;
                return Poll::Ready(Event::Woken);
            }
            polled
        })
        .await
    }

    /// What is heard of while something is awaited that may never come: the wishes of handles, and a time that somebody waits for. All
    /// else waits.
    pub(super) async fn beside<F: Future + Unpin>(
        &mut self,
        awaited: &mut F,
        wake: Option<Wake>,
        clock: &dyn Clock,
    ) -> Heard<F::Output> {
        if wake.is_some() {
            self.set_timer(wake, clock);
        }
        poll_fn(|cx| {
            if let Poll::Ready(answer) = awaited.poll_unpin(cx) {
                return Poll::Ready(Heard::Answer(answer));
            }
            if let Poll::Ready(Some(control)) = self.handles.poll_next_unpin(cx) {
                return Poll::Ready(Heard::Meanwhile(Event::Handle(control)));
            }
            if wake.is_some() && self.timer.as_mut().is_some_and(|timer| timer.doze.poll_unpin(cx).is_ready()) {
                self.timer = None;
                return Poll::Ready(Heard::Meanwhile(Event::Woken));
            }
            Poll::Pending
        })
        .await
    }

    /// Ends come first, since each makes free for something.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(Some(said)) = self.workers.poll_next_unpin(cx) {
            return Poll::Ready(Event::Worker(said));
        }
        if let Poll::Ready(Some(control)) = self.handles.poll_next_unpin(cx) {
            return Poll::Ready(Event::Handle(control));
        }
        match self.changes.as_mut().map(|changes| changes.poll_next_unpin(cx)) {
            Some(Poll::Ready(Some(change))) => return Poll::Ready(Event::Store(change)),
            Some(Poll::Ready(None)) => {
                self.changes = None;
                return Poll::Ready(Event::StoreClosed);
            }
            Some(Poll::Pending) | None => {}
        }
        self.bell.poll(cx).map(|()| Event::Sensed)
    }

    /// The sensor was asked, since its bell rang. Whether it is well again.
    pub(super) fn on_asked(&mut self, answered: Result<(), Panicked>) -> bool {
        match answered {
            Ok(()) => self.bell.on_answered(),
            Err(panicked) => {
                self.bell.on_panicked(panicked);
                false
            }
        }
    }

    /// What comes by the passing of time alone. Answers what has gone wrong with the sensor since.
    pub(super) fn on_time(&mut self, now: Duration) -> Option<Panicked> {
        self.bell.on_time(now)
    }

    /// When the sensor is to be listened to again.
    pub(super) fn next_wake(&self) -> Option<Wake> {
        self.bell.next_wake().map(Wake::at)
    }

    /// A timer that is set to the right moment stays: what happens meanwhile is seldom a reason for another.
    fn set_timer(&mut self, wake: Option<Wake>, clock: &dyn Clock) {
        if !self.timer.as_ref().zip(wake).is_some_and(|(timer, wake)| timer.serves(wake)) {
            self.timer = wake.map(|wake| {
                let left = wake.at.saturating_sub(clock.monotonic());
                Timer { wake, doze: clock.doze(left, wake.longest) }
            });
        }
    }
}

/// Store time counts milliseconds, so the same moment of it comes out differently on the monotonic clock, by less than this.
const CLOCKS_APART: Duration = Duration::from_millis(1);

/// What wakes the dispatcher if nothing else does.
struct Timer {
    wake: Wake,
    doze: BoxFuture<'static, ()>,
}

impl Timer {
    /// Whether it is never later than asked for, and hardly earlier.
    fn serves(&self, Wake { at, longest }: Wake) -> bool {
        self.wake.longest == longest && self.wake.at <= at && at - self.wake.at < CLOCKS_APART
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wake_serves_whoever_waits_first_and_looks_at_the_clock_as_often_as_the_strictest_asks() {
        let (soon, leisure) = (Wake::at(2 * SECOND), Wake::at_leisure(SECOND));
        assert_eq!(soon.and(leisure), Wake::at(SECOND));
        assert_eq!(leisure.and(Wake::at_leisure(3 * SECOND)), leisure);
    }
}
