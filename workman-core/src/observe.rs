//! The hub that wakes observers after commits: handles that wait for an output, and watchers of queries.
//!
//! It carries no data but the numbers of commits. An observer that is woken reads the store, so it sees whole commits and never
//! half of one, and may skip states in between; what it has read already is no news. An observer that nobody wakes costs nothing.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::stream::Stream;

use crate::id::WorkId;
use crate::runtime;
use crate::store::HomeProcess;

/// Wakes observers.
#[derive(Default)]
pub(crate) struct Hub {
    home: HomeProcess,
    watchers: Mutex<Watchers>,
}

#[derive(Default)]
struct Watchers {
    of_work: BTreeMap<WorkId, Vec<Weak<Watcher>>>,
    of_all: Vec<Weak<Watcher>>,
    /// Whoever waits for the first of them.
    first: Option<Waker>,
    closed: bool,
}

impl Watchers {
    fn is_any(&self) -> bool {
        !(self.of_work.is_empty() && self.of_all.is_empty())
    }
}

#[derive(Default)]
struct Watcher {
    state: Mutex<WatcherState>,
}

#[derive(Default)]
struct WatcherState {
    /// The newest that was not signalled yet.
    news: Option<News>,
    /// What the observer has read.
    read: Option<News>,
    closed: bool,
    waker: Option<Waker>,
}

impl WatcherState {
    /// Whoever is to be woken for this.
    fn hear(&mut self, news: News) -> Option<Waker> {
        let news = Some(news).filter(|news| Some(*news) > self.read)?;
        self.news = self.news.max(Some(news));
        self.waker.take()
    }
}

/// What there is to see, the later the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// The commit with this number.
    Commit(u64),
    /// What no commit has, or nobody knows: whoever watches looks in any case.
    Unnumbered,
}

impl Hub {
    /// Signals when any of these works is touched; all works, if none is named. The first signal comes at once.
    pub(crate) fn watch(self: &Arc<Self>, ids: impl IntoIterator<Item = WorkId>) -> Signals {
        let ids: Vec<WorkId> = ids.into_iter().collect();
        if !self.is_at_home() {
            return Signals { watcher: Arc::default(), ids, hub: Arc::clone(self) };
        }
        let mut watchers = lock(&self.watchers);
        let state = WatcherState { news: Some(News::Unnumbered), closed: watchers.closed, ..WatcherState::default() };
        let watcher = Arc::new(Watcher { state: Mutex::new(state) });
        for id in &ids {
            watchers.of_work.entry(*id).or_default().push(Arc::downgrade(&watcher));
        }
        if ids.is_empty() {
            watchers.of_all.push(Arc::downgrade(&watcher));
        }
        let first = watchers.first.take();
        drop(watchers);
        first.into_iter().for_each(Waker::wake);
        Signals { watcher, ids, hub: Arc::clone(self) }
    }

    /// Whether this is the process whose engine signals here.
    pub(crate) fn is_at_home(&self) -> bool {
        self.home.is_current()
    }

    /// Whether anybody watches.
    pub(crate) fn is_observed(&self) -> bool {
        lock(&self.watchers).is_any()
    }

    /// Waits until somebody watches.
    pub(crate) async fn observed(&self) {
        poll_fn(|cx| {
            let mut watchers = lock(&self.watchers);
            if watchers.is_any() {
                return Poll::Ready(());
            }
            watchers.first = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
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
    pub(crate) fn touch(&self, news: News, ids: impl IntoIterator<Item = WorkId>) {
        let mut watchers = lock(&self.watchers);
        let mut wake = Vec::new();
        let mut any = false;
        for id in ids {
            any = true;
            if let Some(of_work) = watchers.of_work.get_mut(&id) {
                signal(of_work, news, &mut wake);
                if of_work.is_empty() {
                    watchers.of_work.remove(&id);
                }
            }
        }
        if any {
            signal(&mut watchers.of_all, news, &mut wake);
        }
        drop(watchers);
        wake.into_iter().for_each(Waker::wake);
    }

    /// Everything may have changed.
    pub(crate) fn touch_all(&self, news: News) {
        self.each(|state| state.hear(news));
    }

    /// The manager has ended: every stream of signals ends.
    pub(crate) fn close(&self) {
        lock(&self.watchers).closed = true;
        // The last commit may not have been seen yet.
        self.each(|state| {
            state.closed = true;
            state.hear(News::Unnumbered)
        });
    }

    fn each(&self, change: impl Fn(&mut WatcherState) -> Option<Waker>) {
        let mut watchers = lock(&self.watchers);
        let Watchers { of_work, of_all, .. } = &mut *watchers;
        let mut wake = Vec::new();
        for watcher in of_work.values().flatten().chain(of_all.iter()).filter_map(Weak::upgrade) {
            wake.extend(change(&mut lock(&watcher.state)));
        }
        drop(watchers);
        wake.into_iter().for_each(Waker::wake);
    }
}

/// Touches the watchers that are still there and forgets the others.
fn signal(watchers: &mut Vec<Weak<Watcher>>, news: News, wake: &mut Vec<Waker>) {
    watchers.retain(|watcher| {
        let Some(watcher) = watcher.upgrade() else { return false };
        wake.extend(lock(&watcher.state).hear(news));
        true
    });
}

/// One item whenever something that is watched may have changed since the last. Ends with the manager.
pub(crate) struct Signals {
    watcher: Arc<Watcher>,
    ids: Vec<WorkId>,
    hub: Arc<Hub>,
}

impl Signals {
    /// The observer has read a page that shows this commit and all before: they are no news to it any more.
    pub(crate) fn has_read(&self, commit: u64) {
        let mut state = lock(&self.watcher.state);
        state.read = state.read.max(Some(News::Commit(commit)));
        if state.news <= state.read {
            state.news = None;
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        if !self.hub.is_at_home() {
            return;
        }
        // The waker goes first, and outside of all locks: it may hold whatever holds these signals.
        let waker = lock(&self.watcher.state).waker.take();
        drop(waker);
        self.hub.unwatch(&self.watcher, &self.ids);
    }
}

impl Stream for Signals {
    type Item = ();

    /// In a forked child nobody signals anything, and a thread that is not there may hold the lock: the stream ends.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        if !self.hub.is_at_home() {
            return Poll::Ready(None);
        }
        let mut state = lock(&self.watcher.state);
        if state.news.take().is_some() {
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

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    const WORK: WorkId = WorkId::from_u128(1);

    fn has_news(signals: &mut Signals) -> bool {
        match signals.next().now_or_never() {
            None => false,
            Some(news) => news.is_some(),
        }
    }

    #[test]
    fn what_an_observer_has_read_is_no_news_to_it() {
        let hub = Arc::new(Hub::default());
        let mut signals = hub.watch([WORK]);
        assert!(has_news(&mut signals), "the first look comes at once");
        signals.has_read(7);
        hub.touch(News::Commit(7), [WORK]);
        assert!(!has_news(&mut signals), "the page has shown it");
        hub.touch(News::Commit(8), [WORK]);
        assert!(has_news(&mut signals));
    }

    #[test]
    fn a_page_that_was_read_takes_back_older_signals_and_no_newer_ones() {
        let hub = Arc::new(Hub::default());
        let mut signals = hub.watch([WORK]);
        assert!(has_news(&mut signals));
        hub.touch(News::Commit(3), [WORK]);
        signals.has_read(3);
        assert!(!has_news(&mut signals));
        hub.touch(News::Commit(5), [WORK]);
        hub.touch(News::Commit(4), [WORK]);
        signals.has_read(4);
        assert!(has_news(&mut signals), "commit 5 was not read yet");
    }

    #[test]
    fn what_has_no_number_is_news_whatever_was_read() {
        let hub = Arc::new(Hub::default());
        let mut signals = hub.watch([WORK]);
        assert!(has_news(&mut signals));
        signals.has_read(u64::MAX);
        hub.touch(News::Unnumbered, [WORK]);
        assert!(has_news(&mut signals));
        hub.touch_all(News::Unnumbered);
        assert!(has_news(&mut signals));
        hub.close();
        signals.has_read(u64::MAX);
        assert!(has_news(&mut signals), "the last look comes before the end");
    }

    #[test]
    fn a_commit_that_was_read_wakes_nobody() {
        let hub = Arc::new(Hub::default());
        let mut signals = hub.watch([WORK]);
        assert!(has_news(&mut signals));
        assert!(!has_news(&mut signals), "it waits now");
        signals.has_read(2);
        hub.touch(News::Commit(2), [WORK]);
        assert!(lock(&signals.watcher.state).waker.is_some(), "its waker was not used");
        hub.touch(News::Commit(3), [WORK]);
        assert!(lock(&signals.watcher.state).waker.is_none());
    }
}
