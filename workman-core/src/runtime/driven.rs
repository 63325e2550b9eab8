//! [`Driven`]: whether a manager goes on by itself, or only while a test drives it; then who waits for it elsewhere waits for ever.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::task::Waker;

use futures::task::noop_waker_ref;

use super::blocking::is_hooked;

/// Who drives a manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Driven {
    /// A thread of its own, or whoever polls its engine.
    #[default]
    ByItself,
    /// A driver on the thread of a test.
    ByTest,
}

thread_local! {
    static DRIVERS: Cell<usize> = const { Cell::new(0) };
    static POLLS: Cell<usize> = const { Cell::new(0) };
}

/// Counts one as long as it lives. It stays on its thread.
struct Counted(&'static std::thread::LocalKey<Cell<usize>>, PhantomData<*const ()>);

impl Counted {
    fn new(count: &'static std::thread::LocalKey<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Counted(count, PhantomData)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A test driver is on this thread as long as this lives.
#[doc(hidden)]
#[must_use = "the driver is known until the guard is dropped"]
pub struct DriverHere(#[expect(dead_code, reason = "it counts")] Counted);

impl DriverHere {
    /// From now on.
    pub fn new() -> Self {
        DriverHere(Counted::new(&DRIVERS))
    }
}

impl Default for DriverHere {
    fn default() -> Self {
        Self::new()
    }
}

/// Polls something for a test driver.
#[doc(hidden)]
pub fn polled_by_driver<T>(poll: impl FnOnce() -> T) -> T {
    let _counted = Counted::new(&POLLS);
    poll()
}

impl Driven {
    /// Waits for something that the manager is to bring about.
    ///
    /// # Panics
    /// When this thread has the driver that would bring it about, and something else waits here, so that it never does. Whoever
    /// only looks (with a waker that wakes nobody) is not meant.
    pub(crate) async fn wait<T>(self, what: &str, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            if polled.is_pending() && self.waits_in_vain(cx.waker()) {
                panic!(
                    "`{what}` is awaited by an executor that does not drive the test, so it would wait for ever: use \
                     `test.block_on(..)`, or let the work end first, with `test.run_until_idle()` or `test.advance(..)`"
                );
            }
            polled
        })
        .await
    }

    fn waits_in_vain(self, waker: &Waker) -> bool {
        let looks = waker.will_wake(Waker::noop()) || waker.will_wake(noop_waker_ref());
        self == Driven::ByTest && DRIVERS.get() > 0 && POLLS.get() == 0 && !is_hooked() && !looks
    }
}
