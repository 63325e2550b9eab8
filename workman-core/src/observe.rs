//! The hub that wakes observers after commits: handles that wait for an output, and watchers of queries.
//!
//! It carries no data. An observer that is woken reads the store, so it sees whole commits and never half of one, and
//! may skip states in between. An observer that nobody wakes costs nothing.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::stream::Stream;

use crate::id::WorkId;
use crate::runtime;

/// Wakes observers.
#[derive(Default)]
pub(crate) struct Hub {
    watchers: Mutex<Watchers>,
}

#[derive(Default)]
struct Watchers {
    of_work: BTreeMap<WorkId, Vec<Weak<Watcher>>>,
    of_all: Vec<Weak<Watcher>>,
    closed: bool,
}

#[derive(Default)]
struct Watcher {
    state: Mutex<WatcherState>,
}

#[derive(Default)]
struct WatcherState {
    touched: bool,
    closed: bool,
    waker: Option<Waker>,
}

impl Hub {
    /// Signals when any of these works is touched; all works, if none is named. The first signal comes at once.
    pub(crate) fn watch(self: &Arc<Self>, ids: impl IntoIterator<Item = WorkId>) -> Signals {
        let ids: Vec<WorkId> = ids.into_iter().collect();
        let mut watchers = lock(&self.watchers);
        let state = WatcherState { touched: true, closed: watchers.closed, waker: None };
        let watcher = Arc::new(Watcher { state: Mutex::new(state) });
        for id in &ids {
            watchers.of_work.entry(*id).or_default().push(Arc::downgrade(&watcher));
        }
        if ids.is_empty() {
            watchers.of_all.push(Arc::downgrade(&watcher));
        }
        Signals { watcher, ids, hub: Arc::clone(self) }
    }

    /// Nobody listens to this watcher any more.
    fn unwatch(&self, watcher: &Arc<Watcher>, ids: &[WorkId]) {
        let is_other = |other: &Weak<Watcher>| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(watcher));
        let mut watchers = lock(&self.watchers);
        for id in ids {
            if let Some(of_work) = watchers.of_work.get_mut(id) {
                of_work.retain(is_other);
                if of_work.is_empty() {
                    watchers.of_work.remove(id);
                }
            }
        }
        if ids.is_empty() {
            watchers.of_all.retain(is_other);
        }
    }

    /// Something visible about these works has changed.
    pub(crate) fn touch(&self, ids: impl IntoIterator<Item = WorkId>) {
        let mut watchers = lock(&self.watchers);
        let mut wake = Vec::new();
        let mut any = false;
        for id in ids {
            any = true;
            if let Some(of_work) = watchers.of_work.get_mut(&id) {
                signal(of_work, &mut wake);
                if of_work.is_empty() {
                    watchers.of_work.remove(&id);
                }
            }
        }
        if any {
            signal(&mut watchers.of_all, &mut wake);
        }
        drop(watchers);
        wake.into_iter().for_each(Waker::wake);
    }

    /// Nobody knows what has changed.
    pub(crate) fn touch_all(&self) {
        self.each(|state| state.touched = true);
    }

    /// The manager has ended: every stream of signals ends.
    pub(crate) fn close(&self) {
        lock(&self.watchers).closed = true;
        // The last commit may not have been seen yet.
        self.each(|state| (state.closed, state.touched) = (true, true));
    }

    fn each(&self, change: impl Fn(&mut WatcherState)) {
        let mut watchers = lock(&self.watchers);
        let Watchers { of_work, of_all, .. } = &mut *watchers;
        let mut wake = Vec::new();
        for watcher in of_work.values().flatten().chain(of_all.iter()).filter_map(Weak::upgrade) {
            let mut state = lock(&watcher.state);
            change(&mut state);
            wake.extend(state.waker.take());
        }
        drop(watchers);
        wake.into_iter().for_each(Waker::wake);
    }
}

/// Touches the watchers that are still there and forgets the others.
fn signal(watchers: &mut Vec<Weak<Watcher>>, wake: &mut Vec<Waker>) {
    watchers.retain(|watcher| {
        let Some(watcher) = watcher.upgrade() else { return false };
        let mut state = lock(&watcher.state);
        state.touched = true;
        wake.extend(state.waker.take());
        true
    });
}

/// One item whenever something that is watched may have changed since the last. Ends with the manager.
pub(crate) struct Signals {
    watcher: Arc<Watcher>,
    ids: Vec<WorkId>,
    hub: Arc<Hub>,
}

impl Drop for Signals {
    fn drop(&mut self) {
        // The waker goes first, and outside of all locks: it may hold whatever holds these signals.
        let waker = lock(&self.watcher.state).waker.take();
        drop(waker);
        self.hub.unwatch(&self.watcher, &self.ids);
    }
}

impl Stream for Signals {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let mut state = lock(&self.watcher.state);
        if std::mem::take(&mut state.touched) {
            return Poll::Ready(Some(()));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        runtime::note_own_wait();
        Poll::Pending
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
