//! [`Signal`]: a way for a test to hold a worker at a place and let it go.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use workman_core::seams::{block_on, note_own_wait};

/// Something that a test sets and workers wait for. Clones are the same signal.
///
/// The driver knows that a worker that waits here waits for the test. A worker that waits for a channel of another crate
/// looks like one that waits for the world outside, and gets a few seconds of real time before the test fails, unless the test
/// says that there is [nobody outside](crate::TestDriver::nobody_outside).
///
/// A thread that is no worker may wait here too, say one that holds a completer. It goes on in real time: after
/// [`set`](Self::set), [`run_until_idle`](crate::TestDriver::run_until_idle) waits for what it settles.
///
/// ```
/// use workman_testing::Signal;
///
/// let go = Signal::new();
/// go.set();
/// go.wait_blocking(); // at once
/// ```
#[derive(Clone, Default)]
pub struct Signal {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    set: bool,
    wakers: Vec<Waker>,
}

impl Signal {
    /// A signal that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody go who waits, now or later.
    pub fn set(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.set = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).set
    }

    /// Returns once the signal is set.
    pub async fn wait(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.set {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.wakers.push(cx.waker().clone());
            }
            note_own_wait();
            Poll::Pending
        })
        .await;
    }

    /// As [`wait`](Self::wait), for blocking workers.
    pub fn wait_blocking(&self) {
        block_on(self.wait());
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("set", &self.is_set()).finish()
    }
}
