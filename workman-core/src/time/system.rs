//! [`SystemClock`]: the machine's clocks and one timer thread that exists only once something sleeps.

#![allow(clippy::disallowed_methods, reason = "this file is the one door for time")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use futures::future::BoxFuture;

use super::{Clock, LONGEST_REST, Timestamp};
use crate::foreign::wake_all;

/// The machine's wall clock and monotonic clock.
///
/// Its timer thread starts with the first sleep, waits without waking while nothing sleeps, and ends when the clock
/// and all its sleeps are gone.
pub struct SystemClock {
    timer: Arc<Timer>,
}

/// What the monotonic clock counts from, the same for all clocks of a process: several managers may share a store, which would
/// else take the clock of each for one that was set.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl SystemClock {
    /// A clock with a timer of its own.
    #[must_use]
    pub fn new() -> Self {
        SystemClock { timer: Arc::new(Timer::default()) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn monotonic(&self) -> Duration {
        ORIGIN.elapsed()
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let deadline = Instant::now() + length.min(LONGEST_REST);
        Box::pin(Sleep { deadline, entry: None, timer: Arc::clone(&self.timer) })
    }
}

impl Drop for SystemClock {
    fn drop(&mut self) {
        self.timer.lock().clock_gone = true;
        self.timer.changed.notify_one();
    }
}

/// Sleepers in order of their deadline; the number keeps equal deadlines apart.
type Entry = (Instant, u64);

#[derive(Default)]
struct Timer {
    state: Mutex<TimerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TimerState {
    sleepers: BTreeMap<Entry, Waker>,
    next_number: u64,
    running: bool,
    clock_gone: bool,
}

impl Timer {
    fn lock(&self) -> MutexGuard<'_, TimerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(self: &Arc<Self>, deadline: Instant, waker: Waker) -> Entry {
        let mut state = self.lock();
        let entry = (deadline, state.next_number);
        state.next_number += 1;
        state.sleepers.insert(entry, waker);
        let first = state.sleepers.first_key_value().is_some_and(|(first, _)| *first == entry);
        if !state.running {
            state.running = true;
            let timer = Arc::clone(self);
            let thread = thread::Builder::new().name("workman-timer".into());
            if let Err(error) = thread.spawn(move || timer.run()) {
                state.running = false;
                tracing::error!(%error, "no timer thread could be started; delayed work waits for the next event");
            }
        } else if first {
            self.changed.notify_one();
        }
        entry
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let mut due = Vec::new();
            while let Some(entry) = state.sleepers.first_entry().filter(|entry| entry.key().0 <= now) {
                due.push(entry.remove());
            }
            if !due.is_empty() {
                drop(state);
                wake_all(due);
                state = self.lock();
                continue;
            }
            state = match state.sleepers.first_key_value() {
                Some((&(deadline, _), _)) => {
                    let waited = self.changed.wait_timeout(state, deadline - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None if state.clock_gone => break,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.running = false;
    }
}

struct Sleep {
    deadline: Instant,
    entry: Option<Entry>,
    timer: Arc<Timer>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        if let Some(entry) = self.entry {
            // Whoever waits for several things polls this often, and the timer's thread need not hear of it.
            if let Some(waker) = self.timer.lock().sleepers.get_mut(&entry) {
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
        }
        self.entry = Some(self.timer.register(self.deadline, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            let mut state = self.timer.lock();
            state.sleepers.remove(&entry);
            let last_gone = state.clock_gone && state.sleepers.is_empty();
            drop(state);
            if last_gone {
                self.timer.changed.notify_one();
            }
        }
    }
}
