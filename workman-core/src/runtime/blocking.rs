//! How a blocking worker waits, and the seam through which a test takes that over.
//!
//! A test driver lets exactly one thread run at a time. It can do so because a blocking worker waits in [`block_on`] only
//! and passes [`pause_point`] whenever it asks its context something; both look for the hook of their thread first.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Blocks this thread on a future.
///
/// With a [`scoped_blocking_hook`] on this thread, the hook does the waiting.
///
/// ```
/// assert_eq!(workman_core::seams::block_on(async { 40 + 2 }), 42);
/// ```
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let Some(hook) = current_hook() else { return park_on(pin!(future)) };
    let mut output = None;
    hook.block_on(pin!(async { output = Some(future.await) }));
    output.expect("a blocking hook returns only when the future is ready")
}

/// A place where a blocking worker may be made to wait: nothing happens unless this thread has a hook.
pub fn pause_point() {
    if let Some(hook) = current_hook() {
        hook.pause();
    }
}

/// Takes over the waiting of a blocking worker's thread.
pub trait BlockingHook: Send + Sync {
    /// Returns when the future is ready, not earlier. It may unwind instead.
    fn block_on(&self, future: Pin<&mut dyn Future<Output = ()>>);

    /// Returns when this thread may go on. It may unwind instead.
    fn pause(&self);
}

thread_local! {
    static HOOK: RefCell<Option<Arc<dyn BlockingHook>>> = const { RefCell::new(None) };
}

/// Makes [`block_on`] and [`pause_point`] use `hook` on this thread until the guard is dropped.
#[must_use = "the hook is used until the guard is dropped"]
pub fn scoped_blocking_hook(hook: Arc<dyn BlockingHook>) -> ScopedHook {
    ScopedHook { before: HOOK.replace(Some(hook)), this_thread: PhantomData }
}

/// Restores the hook that was there before [`scoped_blocking_hook`]. It stays on its thread.
pub struct ScopedHook {
    before: Option<Arc<dyn BlockingHook>>,
    this_thread: PhantomData<*const ()>,
}

impl Drop for ScopedHook {
    fn drop(&mut self) {
        HOOK.set(self.before.take());
    }
}

thread_local! {
    static OWN_WAITS: Cell<u64> = const { Cell::new(0) };
}

/// Said by a future of workman, or of its clock, each time it answers `Pending`.
///
/// A test's executor reads [`own_waits`] around a poll and so knows a worker that waits for workman (virtual time, its
/// stop, another work) from one that waits for the world outside, which no virtual clock can bring about.
pub fn note_own_wait() {
    OWN_WAITS.set(OWN_WAITS.get().wrapping_add(1));
}

/// How often something on this thread has waited for workman.
#[must_use]
pub fn own_waits() -> u64 {
    OWN_WAITS.get()
}

thread_local! {
    static COMPLETER_WAITS: Cell<u64> = const { Cell::new(0) };
}

/// Said by an attempt each time it answers `Pending` because its [`Completer`](crate::Completer) is not settled yet.
///
/// A test's executor reads [`completer_waits`] around a poll. Who settles it may be a thread or the test itself, and a timeout
/// or a stop may come first, so such a wait is neither one for workman nor one for the world outside alone.
pub(crate) fn note_completer_wait() {
    COMPLETER_WAITS.set(COMPLETER_WAITS.get().wrapping_add(1));
}

/// How often an attempt on this thread has waited for its completer.
#[must_use]
pub fn completer_waits() -> u64 {
    COMPLETER_WAITS.get()
}

/// Lets others go on: other tasks of this executor, and other threads that wait for a core.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        thread::yield_now();
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The same future, known to wait for workman.
pub(crate) async fn own_wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            note_own_wait();
        }
        polled
    })
    .await
}

/// Whether this thread is one that a test driver lets run.
pub(super) fn is_hooked() -> bool {
    HOOK.with_borrow(Option::is_some)
}

/// A clone, so that a hook may itself block or set another hook.
fn current_hook() -> Option<Arc<dyn BlockingHook>> {
    HOOK.with_borrow(Clone::clone)
}

fn park_on<T>(mut future: Pin<&mut impl Future<Output = T>>) -> T {
    let parked = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parked));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        while !parked.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

/// The flag is what counts: a future that parks by itself while it is polled would swallow a mere unpark.
struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::channel::oneshot;

    use super::*;

    #[test]
    fn a_blocked_thread_goes_on_when_another_one_wakes_it() {
        let (answer, question) = oneshot::channel();
        let other = thread::spawn(move || answer.send(42));
        assert_eq!(block_on(question), Ok(42));
        other.join().unwrap().unwrap();
    }

    #[test]
    fn a_wake_up_during_a_poll_that_parks_is_not_lost() {
        let mut polls = 0;
        block_on(std::future::poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            thread::park();
            if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert_eq!(polls, 2);
    }

    #[derive(Default)]
    struct Diary(Mutex<Vec<&'static str>>);

    impl BlockingHook for Diary {
        fn block_on(&self, future: Pin<&mut dyn Future<Output = ()>>) {
            self.0.lock().unwrap().push("block");
            park_on(pin!(future));
        }

        fn pause(&self) {
            self.0.lock().unwrap().push("pause");
            pause_nowhere();
        }
    }

    /// A hook may call back into the seam without a deadlock, under a hook of its own.
    fn pause_nowhere() {
        struct Nowhere;
        impl BlockingHook for Nowhere {
            fn block_on(&self, _: Pin<&mut dyn Future<Output = ()>>) {}
            fn pause(&self) {}
        }
        let _hook = scoped_blocking_hook(Arc::new(Nowhere));
        pause_point();
    }

    #[test]
    fn a_hook_takes_over_its_own_thread_until_its_guard_is_dropped() {
        let diary = Arc::new(Diary::default());
        let hook = scoped_blocking_hook(Arc::clone(&diary) as Arc<dyn BlockingHook>);
        assert_eq!(block_on(async { 1 }), 1);
        pause_point();
        thread::spawn(pause_point).join().unwrap();
        drop(hook);
        pause_point();
        assert_eq!(*diary.0.lock().unwrap(), ["block", "pause"]);
    }
}
