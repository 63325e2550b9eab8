//! [`VirtualClock`]: time that moves only when a test says so.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use workman_core::runtime::note_own_wait;
use workman_core::{Clock, Timestamp};

const NANOS_A_MILLI: i128 = 1_000_000;

/// A clock whose two hands move only by what is called here. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use workman_core::Clock;
/// use workman_testing::VirtualClock;
///
/// let clock = VirtualClock::new();
/// let before = clock.wall();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.wall().since(before), Duration::from_secs(60));
///
/// clock.suspend(Duration::from_secs(3600));          // the machine sleeps: only the wall clock goes on
/// assert_eq!(clock.monotonic(), Duration::from_secs(60));
/// ```
#[derive(Clone)]
pub struct VirtualClock {
    hands: Arc<Mutex<Hands>>,
}

struct Hands {
    wall_ns: i128,
    monotonic: Duration,
    sleepers: BTreeMap<SleeperKey, Waker>,
    next_number: u64,
}

/// By deadline; the number keeps equal deadlines apart.
type SleeperKey = (Duration, u64);

impl VirtualClock {
    /// Where every virtual clock starts: 2024-01-01, midnight UTC, a Monday.
    pub const START: Timestamp = Timestamp::from_millis(1_704_067_200_000);

    /// A clock at [`START`](Self::START).
    #[must_use]
    pub fn new() -> Self {
        let hands = Hands {
            wall_ns: i128::from(Self::START.as_millis()) * NANOS_A_MILLI,
            monotonic: Duration::ZERO,
            sleepers: BTreeMap::new(),
            next_number: 0,
        };
        VirtualClock { hands: Arc::new(Mutex::new(hands)) }
    }

    /// Lets this much time pass on both hands. Sleepers are woken in the order of their deadlines, each at its time.
    ///
    /// Nothing is run in between: [`TestDriver::advance`](crate::TestDriver::advance) does that.
    pub fn advance(&self, length: Duration) {
        let end = self.monotonic().saturating_add(length);
        while self.step(end) {}
    }

    /// Sets the wall clock, as a user or a time server would. Nobody is woken by that.
    pub fn set_wall(&self, wall: Timestamp) {
        self.lock().wall_ns = i128::from(wall.as_millis()) * NANOS_A_MILLI;
    }

    /// Suspends the machine: the wall clock goes on, the monotonic one stands still, and nobody is woken.
    pub fn suspend(&self, length: Duration) {
        self.lock().pass_on_the_wall(length);
    }

    /// Moves to the next deadline, if it is not after `end`, and wakes who sleeps until then; otherwise to `end`. Says whether
    /// somebody was woken.
    pub(crate) fn step(&self, end: Duration) -> bool {
        let mut hands = self.lock();
        let next = hands.sleepers.keys().next().map(|(deadline, _)| *deadline).filter(|deadline| *deadline <= end);
        let now = next.unwrap_or(end).max(hands.monotonic);
        let passed = now - hands.monotonic;
        hands.pass_on_the_wall(passed);
        hands.monotonic = now;
        let later = hands.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut hands.sleepers, later);
        drop(hands);
        let woken = !due.is_empty();
        due.into_values().for_each(Waker::wake);
        woken
    }

    /// When the next sleeper wants to be woken, on the monotonic clock.
    #[cfg(test)]
    fn next_deadline(&self) -> Option<Duration> {
        self.lock().sleepers.keys().next().map(|(deadline, _)| *deadline)
    }

    fn lock(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hands {
    fn pass_on_the_wall(&mut self, length: Duration) {
        self.wall_ns = self.wall_ns.saturating_add(i128::try_from(length.as_nanos()).unwrap_or(i128::MAX));
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualClock").field("wall", &self.wall()).field("monotonic", &self.monotonic()).finish()
    }
}

impl Clock for VirtualClock {
    fn wall(&self) -> Timestamp {
        let ms = self.lock().wall_ns.div_euclid(NANOS_A_MILLI);
        Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let mut hands = self.lock();
        let key = (hands.monotonic.saturating_add(length), hands.next_number);
        hands.next_number += 1;
        drop(hands);
        Box::pin(Sleep { clock: self.clone(), key })
    }
}

struct Sleep {
    clock: VirtualClock,
    key: SleeperKey,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut hands = self.clock.lock();
        if hands.monotonic >= self.key.0 {
            return Poll::Ready(());
        }
        hands.sleepers.insert(self.key, cx.waker().clone());
        note_own_wait();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.clock.lock().sleepers.remove(&self.key);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sleepers_wake_at_their_deadline_and_not_before() {
        let clock = VirtualClock::new();
        let mut sleep = clock.sleep(2 * SECOND);
        assert_eq!((&mut sleep).now_or_never(), None);
        clock.advance(SECOND);
        assert_eq!((&mut sleep).now_or_never(), None);
        clock.advance(SECOND);
        assert_eq!(sleep.now_or_never(), Some(()));
        assert_eq!(clock.next_deadline(), None);
    }

    #[test]
    fn a_step_stops_at_the_next_deadline() {
        let clock = VirtualClock::new();
        let mut sleeps = [clock.sleep(3 * SECOND), clock.sleep(SECOND)];
        for sleep in &mut sleeps {
            assert_eq!(sleep.now_or_never(), None);
        }
        assert!(clock.step(10 * SECOND));
        assert_eq!(clock.monotonic(), SECOND);
        drop(sleeps);
        assert!(!clock.step(10 * SECOND), "a dropped sleep is forgotten");
        assert_eq!(clock.monotonic(), 10 * SECOND);
    }

    #[test]
    fn the_hands_move_apart_only_when_told_to() {
        let clock = VirtualClock::new();
        clock.advance(Duration::from_micros(1500));
        assert_eq!(clock.wall(), VirtualClock::START + Duration::from_millis(1));
        clock.suspend(SECOND);
        clock.set_wall(Timestamp::from_millis(7));
        assert_eq!((clock.wall().as_millis(), clock.monotonic()), (7, Duration::from_micros(1500)));
    }
}
