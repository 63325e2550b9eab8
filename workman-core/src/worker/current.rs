//! Which work runs here: the one whose function is being called, or polled, on this thread.
//!
//! A worker that waits for work which itself waits for that worker would wait for ever. Whoever waits looks here first.

use std::cell::RefCell;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;

use crate::id::WorkId;

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// A work that runs. The same id in another store is another work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    /// [`Store::identity`](crate::store::Store::identity).
    pub(crate) store: usize,
    /// The manager that runs it.
    pub(crate) epoch: u64,
    pub(crate) id: WorkId,
    pub(crate) worker: Arc<str>,
}

impl Current {
    /// The work that runs on this thread now. Of one that runs inside of another, it is the inner one.
    pub(crate) fn get() -> Option<Current> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// It runs on this thread until the guard is dropped.
    pub(super) fn enter(&self) -> Entered {
        Entered { before: CURRENT.replace(Some(self.clone())), this_thread: PhantomData }
    }

    /// The future, with this entered whenever it is polled.
    pub(super) async fn beside<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let _entered = self.enter();
            future.as_mut().poll(cx)
        })
        .await
    }
}

/// Restores what ran before. It stays on its thread.
pub(super) struct Entered {
    before: Option<Current>,
    this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn work(id: u128) -> Current {
        Current { store: 1, epoch: 1, id: WorkId::from_u128(id), worker: "worker".into() }
    }

    #[test]
    fn a_work_is_current_while_it_is_polled_and_not_between() {
        let (outer, inner) = (work(1), work(2));
        let mut polls = 0;
        let mut future = pin!(outer.beside(poll_fn(|_| {
            assert_eq!(Current::get(), Some(work(1)));
            let _entered = inner.enter();
            assert_eq!(Current::get(), Some(work(2)));
            polls += 1;
            if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
        })));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        assert_eq!(Current::get(), None);
        assert!(future.as_mut().poll(&mut cx).is_ready());
        assert_eq!(Current::get(), None);
    }

    #[test]
    fn a_panic_leaves_no_work_behind() {
        let panicked = std::panic::catch_unwind(|| {
            let _entered = work(1).enter();
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(Current::get(), None);
    }
}
