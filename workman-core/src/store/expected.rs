//! [`ExpectedTime`]: what a store would stamp now, without asking it.
//!
//! A manager has to know it all the time: when the next work is due, what a time in the store is by the wall clock. It follows the
//! same rules as an embedded store ([`StoreClock`]), and goes by what the store says whenever it says something. It decides
//! nothing: if it is wrong, something is asked for too early, or a little late.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::embedded::{Stamp, StoreClock};
use crate::time::{Clock, Reading, Timestamp};

/// A store's time may differ by less than this from what is expected, and it is no news to the rules.
const NEAR: Duration = Duration::from_secs(2);

/// What the store is expected to stamp.
pub(crate) struct ExpectedTime {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: StoreClock,
    /// By how much the store was last ahead of the rules.
    ahead_ms: i64,
}

impl ExpectedTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        ExpectedTime { clock, state: Mutex::default() }
    }

    /// The clock by which units are sent.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// What a unit would be stamped with that is sent now.
    pub(crate) fn now(&self) -> Stamp {
        self.at(self.clock.read())
    }

    /// What a unit would be stamped with that carries this reading.
    pub(crate) fn at(&self, read: Reading) -> Stamp {
        let mut state = self.lock();
        let Stamp { now, offset_ms } = state.rules.stamp(read, Timestamp::default());
        Stamp { now: now.shifted(state.ahead_ms), offset_ms }
    }

    /// The store stamped `now` on a unit with this reading.
    pub(crate) fn learn(&self, read: Reading, now: Timestamp) {
        let mut state = self.lock();
        let expected = state.rules.stamp(read, Timestamp::default()).now;
        if now.since(expected).max(expected.since(now)) < NEAR {
            state.ahead_ms = now.as_millis().saturating_sub(expected.as_millis());
        } else {
            *state = State { rules: StoreClock::set(read, now), ahead_ms: 0 };
        }
    }

    /// Somebody's unit was stamped with `now` a moment ago.
    pub(crate) fn learn_past(&self, now: Timestamp) {
        let read = self.clock.read();
        if now.since(self.at(read).now) >= NEAR {
            self.learn(read, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
