//! [`Departure`]: the thread of a dispatcher, for whoever drops the last handle.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// How long the last handle waits. What is not given back by then is rescued at the next opening of the store.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the thread of a dispatcher has ended, and with it whatever held the store there.
///
/// A process may end, or open the same file, right after the last handle is gone. So its drop waits until what ran here is given back;
/// else that would count as the death of a process.
#[derive(Default)]
pub(super) struct Departure {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Starting,
    Here(ThreadId),
    Gone,
}

impl Departure {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This thread is the dispatcher's.
    pub(super) fn begin(&self) {
        *self.lock() = Stage::Here(thread::current().id());
    }

    /// Nothing is left of the dispatcher.
    pub(super) fn end(&self) {
        *self.lock() = Stage::Gone;
        self.changed.notify_all();
    }

    /// Waits for that, unless this is the thread that is to end.
    pub(super) fn wait(&self) {
        let stage = self.lock();
        if *stage == Stage::Here(thread::current().id()) {
            return;
        }
        let waited = self.changed.wait_timeout_while(stage, PATIENCE, |stage| *stage != Stage::Gone);
        let stage = *waited.unwrap_or_else(PoisonError::into_inner).0;
        if stage != Stage::Gone {
            tracing::warn!(
                "the last handle of a manager was dropped, and what ran here is not given back within a second"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_drop_waits_for_the_dispatcher_and_never_for_itself() {
        let departure = Arc::new(Departure::default());
        let other = Arc::clone(&departure);
        let thread = thread::spawn(move || {
            other.begin();
            other.wait();
            other.end();
        });
        departure.wait();
        assert!(*departure.lock() == Stage::Gone);
        thread.join().unwrap();
        departure.wait();
    }
}
