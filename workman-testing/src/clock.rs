//! [`VirtualClock`]: time that moves only when a test says so.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use workman_core::seams::note_own_wait;
use workman_core::store::Reading;
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
    /// The same in whole milliseconds, for those who ask.
    wall: Timestamp,
    monotonic: Duration,
    sleepers: BTreeMap<SleeperKey, Waker>,
    /// Those among them who want to look at the wall clock again once the hands have moved apart.
    dozers: BTreeMap<u64, Dozer>,
    next_number: u64,
}

/// By deadline; the number keeps equal deadlines apart.
type SleeperKey = (Duration, u64);

/// Somebody who would look at the wall clock every `longest` if the clock did not know better.
struct Dozer {
    begin: Duration,
    longest: Duration,
    deadline: Duration,
}

impl VirtualClock {
    /// Where every virtual clock starts: 2024-01-01, midnight UTC, a Monday.
    pub const START: Timestamp = Timestamp::from_millis(1_704_067_200_000);

    /// A clock at [`START`](Self::START).
    #[must_use]
    pub fn new() -> Self {
        let hands = Hands {
            wall_ns: in_nanos(Self::START),
            wall: Self::START,
            monotonic: Duration::ZERO,
            sleepers: BTreeMap::new(),
            dozers: BTreeMap::new(),
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
        let mut hands = self.lock();
        hands.set_wall(in_nanos(wall));
        hands.have_moved_apart();
    }

    /// Suspends the machine: the wall clock goes on, the monotonic one stands still, and nobody is woken.
    pub fn suspend(&self, length: Duration) {
        let mut hands = self.lock();
        hands.pass_on_the_wall(length);
        hands.have_moved_apart();
    }

    /// As [`suspend`](Self::suspend), on a machine whose monotonic clock counts the time asleep, as that of Windows does.
    pub fn suspend_counted(&self, length: Duration) {
        let mut hands = self.lock();
        hands.pass_on_the_wall(length);
        hands.monotonic = hands.monotonic.saturating_add(length);
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
        let mut due = Vec::new();
        while let Some(sleeper) = hands.sleepers.first_entry().filter(|sleeper| sleeper.key().0 <= now) {
            due.push(sleeper.remove());
        }
        drop(hands);
        let woken = !due.is_empty();
        due.into_iter().for_each(Waker::wake);
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
        self.set_wall(self.wall_ns.saturating_add(i128::try_from(length.as_nanos()).unwrap_or(i128::MAX)));
    }

    fn set_wall(&mut self, wall_ns: i128) {
        self.wall_ns = wall_ns;
        let ms = wall_ns.div_euclid(NANOS_A_MILLI);
        let nearest = if ms < 0 { i64::MIN } else { i64::MAX };
        self.wall = Timestamp::from_millis(i64::try_from(ms).unwrap_or(nearest));
    }

    /// Whoever dozes looks at the wall clock when it would have done so next.
    fn have_moved_apart(&mut self) {
        for (number, dozer) in &mut self.dozers {
            let look = dozer.next_look(self.monotonic);
            if look < dozer.deadline {
                if let Some(waker) = self.sleepers.remove(&(dozer.deadline, *number)) {
                    self.sleepers.insert((look, *number), waker);
                }
                dozer.deadline = look;
            }
        }
    }

    fn add_sleeper(&mut self, length: Duration) -> SleeperKey {
        let key = (self.monotonic.saturating_add(length), self.next_number);
        self.next_number += 1;
        key
    }

    /// Where a sleeper stands now.
    fn key_of(&self, sleep: &Sleep) -> SleeperKey {
        let dozer = if sleep.dozes { self.dozers.get(&sleep.key.1) } else { None };
        dozer.map_or(sleep.key, |dozer| (dozer.deadline, sleep.key.1))
    }
}

impl Dozer {
    /// When it would look next if it looked every `longest`.
    fn next_look(&self, now: Duration) -> Duration {
        let longest = self.longest.as_nanos().max(1);
        let looks = now.saturating_sub(self.begin).as_nanos() / longest + 1;
        let passed = u64::try_from(looks.saturating_mul(longest)).map_or(Duration::MAX, Duration::from_nanos);
        self.begin.saturating_add(passed)
    }
}

fn in_nanos(wall: Timestamp) -> i128 {
    i128::from(wall.as_millis()) * NANOS_A_MILLI
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
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn read(&self) -> Reading {
        let hands = self.lock();
        Reading { wall: hands.wall, monotonic: hands.monotonic }
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let key = self.lock().add_sleeper(length);
        Box::pin(Sleep { clock: self.clone(), key, dozes: false })
    }

    /// Over at its time: as long as the hands move together there is nothing to look at, and nobody is woken for it.
    fn doze(&self, length: Duration, longest: Duration) -> BoxFuture<'static, ()> {
        if length <= longest {
            return self.sleep(length);
        }
        let mut hands = self.lock();
        let key = hands.add_sleeper(length);
        let dozer = Dozer { begin: hands.monotonic, longest, deadline: key.0 };
        hands.dozers.insert(key.1, dozer);
        drop(hands);
        Box::pin(Sleep { clock: self.clone(), key, dozes: true })
    }
}

struct Sleep {
    clock: VirtualClock,
    /// Where it stood at first.
    key: SleeperKey,
    dozes: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut hands = self.clock.lock();
        let key = hands.key_of(&self);
        if hands.monotonic >= key.0 {
            return Poll::Ready(());
        }
        hands.sleepers.insert(key, cx.waker().clone());
        note_own_wait();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let mut hands = self.clock.lock();
        let key = hands.key_of(self);
        let waker = hands.sleepers.remove(&key);
        if self.dozes {
            hands.dozers.remove(&key.1);
        }
        drop(hands);
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
    fn who_dozes_is_left_alone_while_the_hands_move_together() {
        let clock = VirtualClock::new();
        let mut doze = clock.doze(100 * SECOND, 10 * SECOND);
        assert_eq!((&mut doze).now_or_never(), None);
        assert_eq!(clock.next_deadline(), Some(100 * SECOND));
        clock.advance(99 * SECOND);
        assert_eq!((&mut doze).now_or_never(), None);
        clock.advance(SECOND);
        assert_eq!(doze.now_or_never(), Some(()));
        assert_eq!((clock.next_deadline(), clock.lock().dozers.len()), (None, 0));
    }

    #[test]
    fn who_dozes_looks_at_the_wall_clock_at_its_next_turn_once_the_hands_have_moved_apart() {
        type Apart = fn(&VirtualClock);
        let ways: [Apart; 2] = [|clock| clock.suspend(SECOND), |clock| clock.set_wall(Timestamp::from_millis(7))];
        for (apart, before) in ways.into_iter().flat_map(|apart| [(apart, 0), (apart, 19), (apart, 20), (apart, 95)]) {
            let clock = VirtualClock::new();
            clock.advance(3 * SECOND);
            let mut dozes = [clock.doze(100 * SECOND, 10 * SECOND), clock.doze(100 * SECOND, 10 * SECOND)];
            let [polled, _] = &mut dozes;
            assert_eq!(polled.now_or_never(), None);
            clock.advance(before * SECOND);
            apart(&clock);
            for doze in &mut dozes {
                assert_eq!(doze.now_or_never(), None, "nobody is woken by that itself");
            }
            let turn = (before / 10 + 1) * 10;
            assert_eq!(clock.next_deadline(), Some((3 + turn) * SECOND), "{before} seconds before");
            clock.advance((turn - before) * SECOND);
            assert_eq!(dozes.map(FutureExt::now_or_never), [Some(()); 2]);
        }
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
