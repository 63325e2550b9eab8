//! [`SteadyClock`]: a wall clock that nobody can set back while its process runs.
//!
//! A store learns of the time by its commits, and between two of them hours may pass. A wall clock that is set back meanwhile
//! would take these hours from whatever waits. The monotonic clock knows better: at least so much has passed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;

use super::{Clock, Timestamp};

/// A wall clock may be behind by this much, and a thousandth of what has passed, without having been set back: time servers
/// slow clocks down.
const TOLERANCE: Duration = Duration::from_secs(2);

/// The same clock, with a wall clock that goes on by itself when it is set back. Forward jumps are believed.
pub(crate) struct SteadyClock {
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

struct Seen {
    wall: Timestamp,
    monotonic: Duration,
    offset_ms: i64,
}

impl SteadyClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let seen = Seen { wall: clock.wall(), monotonic: clock.monotonic(), offset_ms: 0 };
        SteadyClock { clock, seen: Mutex::new(seen) }
    }
}

impl Clock for SteadyClock {
    fn wall(&self) -> Timestamp {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall, monotonic) = (self.clock.wall(), self.clock.monotonic());
        let passed = monotonic.saturating_sub(seen.monotonic);
        let expected = seen.wall + passed;
        let mut now = Timestamp::from_millis(wall.as_millis().saturating_add(seen.offset_ms));
        if expected.since(now) >= TOLERANCE + passed / 1000 {
            seen.offset_ms = expected.as_millis().saturating_sub(wall.as_millis());
            now = expected;
        }
        (seen.wall, seen.monotonic) = (now, monotonic);
        now
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(length)
    }
}
