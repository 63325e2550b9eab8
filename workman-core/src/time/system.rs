//! [`SystemClock`]: the machine's clocks and one timer thread that exists only once something sleeps.

#![allow(clippy::disallowed_methods, reason = "this file is the one door for time")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
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
        Self::with(start)
    }

    fn with(start: fn(&Arc<Timer>) -> io::Result<()>) -> Self {
        SystemClock { timer: Arc::new(Timer { start, state: Mutex::default(), changed: Condvar::new() }) }
    }

    fn wait(&self, length: Duration, doze: Option<Doze>) -> BoxFuture<'static, ()> {
        let deadline = Instant::now() + length.min(LONGEST_REST);
        Box::pin(Sleep { deadline, doze, number: None, timer: Arc::clone(&self.timer) })
    }
}

fn start(timer: &Arc<Timer>) -> io::Result<()> {
    let timer = Arc::clone(timer);
    thread::Builder::new().name("workman-timer".into()).spawn(move || timer.run()).map(drop)
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
        self.wait(length, None)
    }

    /// The timer's thread looks by itself whether the hands have moved apart, so nobody else is woken to find that out.
    fn doze(&self, length: Duration, longest: Duration) -> BoxFuture<'static, ()> {
        if length <= longest {
            return self.sleep(length);
        }
        let longest = longest.clamp(SHORTEST_LOOK, LONGEST_REST);
        self.wait(length, Some(Doze { hands: Hands::now(), longest }))
    }
}

impl Drop for SystemClock {
    fn drop(&mut self) {
        self.timer.lock().clock_gone = true;
        self.timer.changed.notify_one();
    }
}

/// Hands that differ by no more have not been set: a clock that is slewed drifts by less than this in minutes.
const TOLERANCE: Duration = Duration::from_millis(100);

/// The hands are looked at no more often than this.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// Both hands at one moment.
#[derive(Clone, Copy)]
struct Hands {
    wall: Timestamp,
    at: Instant,
}

impl Hands {
    fn now() -> Self {
        Hands { wall: SystemTime::now().into(), at: Instant::now() }
    }

    /// Whether somebody has set the wall clock since, or the machine has slept.
    fn have_moved_apart(self, now: Hands) -> bool {
        let expected = self.wall + now.at.saturating_duration_since(self.at);
        expected.since(now.wall).max(now.wall.since(expected)) > TOLERANCE
    }
}

/// A sleep that is over earlier if the hands move apart. That is looked at every so often.
#[derive(Clone, Copy)]
struct Doze {
    hands: Hands,
    longest: Duration,
}

struct Timer {
    start: fn(&Arc<Timer>) -> io::Result<()>,
    state: Mutex<TimerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TimerState {
    /// When the timer's thread has to look at whom; the number keeps equal moments apart.
    order: BTreeSet<(Instant, u64)>,
    sleepers: BTreeMap<u64, Sleeper>,
    next_number: u64,
    running: bool,
    /// No thread could be started at the last try.
    failed: bool,
    clock_gone: bool,
}

struct Sleeper {
    /// When it is looked at.
    look_at: Instant,
    deadline: Instant,
    doze: Option<Doze>,
    waker: Waker,
}

impl Sleeper {
    /// When it is looked at next, if it is not to be woken now.
    fn goes_on_until(&self, now: Hands) -> Option<Instant> {
        let doze = self.doze.filter(|doze| now.at < self.deadline && !doze.hands.have_moved_apart(now))?;
        Some(self.deadline.min(now.at + doze.longest))
    }
}

/// How long whoever sleeps waits by itself while no thread can be started that would wake it.
const MAKESHIFT: Duration = Duration::from_millis(10);

impl Timer {
    fn lock(&self) -> MutexGuard<'_, TimerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(state: &mut TimerState, deadline: Instant, doze: Option<Doze>, waker: Waker) -> u64 {
        let number = state.next_number;
        state.next_number += 1;
        let look_at = doze.map_or(deadline, |doze| deadline.min(doze.hands.at + doze.longest));
        state.order.insert((look_at, number));
        state.sleepers.insert(number, Sleeper { look_at, deadline, doze, waker });
        number
    }

    /// Whether there is a thread that wakes sleepers. One that could not be started is tried again by whoever sleeps.
    fn runs(self: &Arc<Self>, state: &mut TimerState) -> bool {
        if !state.running {
            let started = (self.start)(self);
            if let (Err(error), false) = (&started, state.failed) {
                tracing::warn!(%error, "no timer thread could be started; it is tried again");
            }
            (state.running, state.failed) = (started.is_ok(), started.is_err());
        }
        state.running
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let due = state.take_due();
            if !due.is_empty() {
                drop(state);
                wake_all(due);
                state = self.lock();
                continue;
            }
            state = match state.order.first() {
                Some((look_at, _)) => {
                    let left = look_at.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None if state.clock_gone => break,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.running = false;
    }
}

impl TimerState {
    /// Whoever is to be woken now. Those who doze on are looked at later.
    fn take_due(&mut self) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some((look_at, number)) = self.order.first().copied() {
            let now = Hands::now();
            if look_at > now.at {
                break;
            }
            self.order.pop_first();
            let Some(sleeper) = self.sleepers.get_mut(&number) else { continue };
            match sleeper.goes_on_until(now) {
                Some(later) => {
                    sleeper.look_at = later;
                    self.order.insert((later, number));
                }
                None => due.extend(self.sleepers.remove(&number).map(|sleeper| sleeper.waker)),
            }
        }
        due
    }
}

struct Sleep {
    deadline: Instant,
    doze: Option<Doze>,
    number: Option<u64>,
    timer: Arc<Timer>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        let timer = Arc::clone(&self.timer);
        let mut guard = timer.lock();
        let state = &mut *guard;
        match self.number.map(|number| state.sleepers.get_mut(&number)) {
            // Whoever waits for several things polls this often, and the timer's thread need not hear of it.
            Some(Some(sleeper)) => sleeper.waker.clone_from(cx.waker()),
            // Somebody was woken early, since the hands have moved apart.
            Some(None) if self.doze.is_some() => return Poll::Ready(()),
            Some(None) | None => {
                let number = Timer::register(state, self.deadline, self.doze, cx.waker().clone());
                self.number = Some(number);
                if state.running && state.order.first().is_some_and(|(_, first)| *first == number) {
                    timer.changed.notify_one();
                }
            }
        }
        let runs = timer.runs(state);
        drop(guard);
        if !runs {
            thread::sleep(MAKESHIFT.min(self.deadline.saturating_duration_since(Instant::now())));
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.timer.lock();
        let sleeper = state.sleepers.remove(&number);
        if let Some(sleeper) = &sleeper {
            state.order.remove(&(sleeper.look_at, number));
        }
        let last_gone = state.clock_gone && state.sleepers.is_empty();
        drop(state);
        if last_gone {
            self.timer.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::runtime::block_on;

    const MS: Duration = Duration::from_millis(1);

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_doze_wakes_nobody_as_long_as_the_hands_stay_together() {
        let clock = SystemClock::new();
        let wakes = Arc::new(Wakes::default());
        let mut doze = clock.doze(Duration::from_secs(3_600), 5 * MS);
        let waker = Waker::from(Arc::clone(&wakes));
        assert!(doze.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        block_on(clock.sleep(100 * MS));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        let look_at = clock.timer.lock().order.first().map(|(at, _)| *at).expect("it is looked at again");
        assert!(look_at < Instant::now() + 10 * MS);
        drop(doze);
        assert!(clock.timer.lock().order.is_empty());
    }

    #[test]
    fn a_doze_is_over_once_the_hands_move_apart_either_way_and_at_its_end() {
        let clock = SystemClock::new();
        for (ahead, behind) in [(200, 0), (0, 200)] {
            let now = Hands::now();
            let hands = Hands { wall: now.wall.shifted(ahead - behind), ..now };
            assert!(hands.have_moved_apart(now) && !now.have_moved_apart(now));
            block_on(clock.wait(Duration::from_secs(3_600), Some(Doze { hands, longest: 5 * MS })));
        }
        let began = Instant::now();
        block_on(clock.doze(30 * MS, 5 * MS));
        assert!(began.elapsed() >= 30 * MS);
    }

    #[test]
    fn the_first_of_many_sleepers_wakes_first_and_one_that_is_dropped_never_does() {
        let clock = SystemClock::new();
        let dropped = Arc::new(Wakes::default());
        let mut cancelled = clock.sleep(5 * MS);
        let waker = Waker::from(Arc::clone(&dropped));
        assert!(cancelled.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(cancelled);
        let order = Mutex::new(Vec::new());
        let sleep = |ms: u32| {
            let (clock, order) = (&clock, &order);
            async move {
                clock.sleep(ms * MS).await;
                order.lock().expect("nobody panics").push(ms);
            }
        };
        block_on(futures::future::join3(sleep(30), sleep(10), sleep(20)));
        assert_eq!(order.into_inner().expect("nobody panics"), [10, 20, 30]);
        assert_eq!(dropped.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_sleep_ends_though_no_timer_thread_can_be_started_and_the_next_try_may_succeed() {
        static TRIES: AtomicU32 = AtomicU32::new(0);
        let clock = SystemClock::with(|timer| {
            if TRIES.fetch_add(1, Ordering::SeqCst) < 3 { Err(io::Error::other("no thread")) } else { start(timer) }
        });
        let began = Instant::now();
        block_on(clock.sleep(15 * MS));
        assert!(began.elapsed() >= 15 * MS && !clock.timer.lock().running);
        block_on(clock.sleep(60 * MS));
        assert!(clock.timer.lock().running);
        assert_eq!(TRIES.load(Ordering::SeqCst), 4);
    }
}
