//! [`SteadyWall`]: the wall clock as one process takes it, and what a store would stamp.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Clock, Timestamp};

/// The wall clock as this process takes it: a step back is absorbed by the monotonic clock, so that no wait gets longer.
#[derive(Default)]
pub(crate) struct SteadyWall {
    /// When the wall clock was last believed, by both clocks.
    believed: Mutex<Option<(Timestamp, Duration)>>,
    /// What is added to get store time, as the store last said.
    skew_ms: AtomicI64,
}

impl SteadyWall {
    pub(crate) fn now(&self, clock: &dyn Clock) -> Timestamp {
        let (wall, monotonic) = (clock.wall(), clock.monotonic());
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        // Cut and not rounded up, and counted from where it began: or each of thousands of calls a second would gain a part of a
        // millisecond, and time would run away.
        let elapsed = |then: Duration| i64::try_from(monotonic.saturating_sub(then).as_millis()).unwrap_or(i64::MAX);
        let steady = believed.map(|(at, then)| Timestamp::from_millis(at.as_millis().saturating_add(elapsed(then))));
        match steady {
            Some(steady) if steady > wall => steady,
            _ => {
                *believed = Some((wall, monotonic));
                wall
            }
        }
    }

    /// What the store would stamp on a unit that is sent at this time.
    pub(crate) fn store_time(&self, wall: Timestamp) -> Timestamp {
        let skew = self.skew_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(wall.as_millis().saturating_add(skew))
    }

    /// The store stamped `now` on a unit that was sent at `wall`.
    pub(crate) fn learn_skew(&self, now: Timestamp, wall: Timestamp) {
        self.skew_ms.store(now.as_millis().saturating_sub(wall.as_millis()), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    /// Both clocks, in microseconds.
    struct Hands(Mutex<(i64, u64)>);

    impl Hands {
        fn pass(&self, micros: u64) {
            let mut now = self.0.lock().unwrap();
            *now = (now.0 + i64::try_from(micros).unwrap(), now.1 + micros);
        }
    }

    impl Clock for Hands {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.0.lock().unwrap().0 / 1_000)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.0.lock().unwrap().1)
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            futures::future::pending().boxed()
        }
    }

    #[test]
    fn time_does_not_run_away_however_often_it_is_asked_for() {
        let (hands, steady) = (Hands(Mutex::new((5_000_000, 0))), SteadyWall::default());
        for _ in 0..10_000 {
            hands.pass(10);
            assert_eq!(steady.now(&hands), hands.wall());
        }
        hands.0.lock().unwrap().0 -= 60_000_000;
        let before = steady.now(&hands);
        for _ in 0..10_000 {
            hands.pass(10);
            let now = steady.now(&hands);
            assert!(now >= before);
        }
        let gained = steady.now(&hands).since(before);
        assert_eq!(gained, Duration::from_millis(100), "a step back is absorbed, and nothing else");
    }
}
