//! Who waits for something outside: what no virtual clock brings about, and what therefore costs real time.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use workman_core::seams::own_waits;

use super::{Executor, Kind, MAIN, State, Task, TaskWaker, WaitsFor};

/// What can only come from outside, in real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Nothing.
    Nothing,
    /// Completers and nothing else: a timeout or a stop can end these waits too, and the test may hold them itself.
    Completers,
    /// A socket, a thread, a channel.
    World,
}

impl Executor {
    /// What workers wait for that were not given real time for it yet.
    pub(crate) fn awaited(&self) -> Awaited {
        let state = self.lock();
        let mut awaited = Awaited::Nothing;
        for task in state.tasks.values().filter(|task| !task.had_its_time && task.waits_outside()) {
            if task.waits_for == WaitsFor::World {
                return Awaited::World;
            }
            awaited = Awaited::Completers;
        }
        awaited
    }

    /// Those who wait for something outside have had their time; they get more when they were woken, or see
    /// [`grant_time`](Self::grant_time).
    pub(crate) fn end_time(&self) {
        self.lock().tasks.values_mut().filter(|task| task.waits_outside()).for_each(|task| task.had_its_time = true);
    }

    /// The test has done something: who waits for something outside may be served now.
    pub(crate) fn grant_time(&self) {
        self.lock().tasks.values_mut().for_each(|task| task.had_its_time = false);
    }

    /// Waits, in real time, until something is ready. Says whether something is.
    pub(crate) fn wait_for_the_world(&self, patience: Duration) -> bool {
        let mut state = self.lock();
        state.waiting += 1;
        let nothing = |state: &mut State| state.queue.is_empty() && !state.main_woken;
        let waited = self.woken.wait_timeout_while(state, patience, nothing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        !nothing(&mut state)
    }

    /// A waker for the future that a test waits for.
    pub(crate) fn main(self: &Arc<Self>) -> MainFuture {
        let waker = Arc::new(TaskWaker { id: MAIN, executor: Arc::clone(self) });
        MainFuture { executor: Arc::clone(self), waker, waits_for_workman: false }
    }

    /// Whether the test's own future was woken since the last call.
    pub(crate) fn take_main(&self) -> bool {
        std::mem::take(&mut self.lock().main_woken)
    }
}

impl Task {
    /// Wakers that are always held: the task's own; with an async worker that of the handle that can abort it, with a blocking one
    /// that waits those of its baton and of its thread.
    fn own_wakers(&self) -> usize {
        if matches!(self.kind, Kind::Blocking(_)) { 3 } else { 2 }
    }

    /// Whether a worker waits for something outside: it waits for nothing of workman's, and somebody holds its waker.
    fn waits_outside(&self) -> bool {
        let is_worker = !matches!(self.kind, Kind::Engine(_));
        is_worker && self.waits_for != WaitsFor::Workman && Arc::strong_count(&self.waker) > self.own_wakers()
    }
}

/// What the executor knows of the future that a test waits for.
pub(crate) struct MainFuture {
    executor: Arc<Executor>,
    waker: Arc<TaskWaker>,
    waits_for_workman: bool,
}

impl MainFuture {
    pub(crate) fn poll<T>(&mut self, future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        let waits = own_waits();
        let waker = Waker::from(Arc::clone(&self.waker));
        let polled = self.executor.within(|| future.poll(&mut Context::from_waker(&waker)));
        self.waits_for_workman = own_waits() != waits;
        polled
    }

    pub(crate) fn waits_for_the_world(&self) -> bool {
        !self.waits_for_workman && Arc::strong_count(&self.waker) > 1
    }
}
