//! The hub that wakes observers after commits: handles that wait for an output, and watchers of queries.
//!
//! It carries no data but the numbers of commits and the ids that they touched. An observer that is woken reads the store, so it
//! sees whole commits and never half of one, and may skip states in between; what it has read already is no news. An observer
//! that nobody wakes costs nothing.
//!
//! Who reads only what was touched needs to know that nothing is missing: the hub keeps which commits it has passed on in a row,
//! and a watcher that gathers keeps what they touched since its last look.

mod touched;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::stream::Stream;

use crate::foreign::wake_all;
use crate::id::WorkId;
use crate::runtime;
use crate::store::HomeProcess;
pub(crate) use touched::Touched;

/// No work has this id. Whoever watches it hears only of what concerns everything: that all was cancelled, that commits were
/// missed, that the manager has ended.
pub(crate) const NO_WORK: WorkId = WorkId::from_u128(0);

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
    /// The commits that were passed on last, without a gap.
    passed: Option<Passed>,
    /// Those who wait for more of them.
    awaiting: Vec<Weak<Watcher>>,
    closed: bool,
}

/// All commits from one to another.
#[derive(Clone, Copy)]
struct Passed {
    from: u64,
    to: u64,
}

impl Watchers {
    fn is_any(&self) -> bool {
        !(self.of_work.is_empty() && self.of_all.is_empty())
    }

    /// All that this commit touched was told to whom it concerns.
    fn pass(&mut self, news: News, wake: &mut Vec<Waker>) {
        let News::Commit(commit) = news else { return };
        self.passed = Some(match self.passed {
            Some(Passed { from, to }) if to.checked_add(1) == Some(commit) => Passed { from, to: commit },
            _ => Passed { from: commit, to: commit },
        });
        self.wake_awaiting(wake);
    }

    fn wake_awaiting(&mut self, wake: &mut Vec<Waker>) {
        let awaiting = self.awaiting.drain(..).filter_map(|watcher| watcher.upgrade());
        wake.extend(awaiting.filter_map(|watcher| lock(&watcher.state).waker.take()));
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
    /// What was touched that the observer has not read, if it gathers that.
    touched: Option<Touched>,
    closed: bool,
    waker: Option<Waker>,
}

impl WatcherState {
    /// Whoever is to be woken for this.
    fn hear(&mut self, news: News, ids: &[WorkId]) -> Option<Waker> {
        let news = Some(news).filter(|news| Some(*news) > self.read)?;
        self.news = self.news.max(Some(news));
        if let Some(touched) = &mut self.touched {
            touched.note(news, ids);
        }
        self.waker.take()
    }

    /// Anything may have changed, and the numbers of commits may begin anew.
    fn lose_track(&mut self) -> Option<Waker> {
        self.read = None;
        if let Some(touched) = &mut self.touched {
            touched.lose();
        }
        self.hear(News::Unnumbered, &[])
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
    /// Signals when any of these works is touched. The first signal comes at once.
    pub(crate) fn watch(self: &Arc<Self>, ids: impl IntoIterator<Item = WorkId>) -> Signals {
        self.add(Some(ids.into_iter().collect()), None)
    }

    /// Signals when any of these works is touched, or any at all if none are named, and gathers which. The first signal comes at
    /// once.
    pub(crate) fn gather(self: &Arc<Self>, ids: Option<&BTreeSet<WorkId>>) -> Signals {
        self.add(ids.map(|ids| ids.iter().copied().collect()), Some(Touched::default()))
    }

    fn add(self: &Arc<Self>, mut ids: Option<Vec<WorkId>>, touched: Option<Touched>) -> Signals {
        if let Some(ids) = ids.as_mut().filter(|ids| ids.is_empty()) {
            ids.push(NO_WORK);
        }
        if !self.is_at_home() {
            return Signals { watcher: Arc::default(), ids, hub: Arc::clone(self) };
        }
        let mut watchers = lock(&self.watchers);
        let state =
            WatcherState { news: Some(News::Unnumbered), touched, closed: watchers.closed, ..WatcherState::default() };
        let watcher = Arc::new(Watcher { state: Mutex::new(state) });
        match &ids {
            Some(ids) => ids.iter().for_each(|id| {
                watchers.of_work.entry(*id).or_default().push(Arc::downgrade(&watcher));
            }),
            None => watchers.of_all.push(Arc::downgrade(&watcher)),
        }
        let first = watchers.first.take();
        drop(watchers);
        wake_all(first);
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
    fn unwatch(&self, watcher: &Arc<Watcher>, ids: Option<&[WorkId]>) {
        let is_other = |other: &Weak<Watcher>| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(watcher));
        let mut watchers = lock(&self.watchers);
        watchers.awaiting.retain(is_other);
        let Some(ids) = ids else { return watchers.of_all.retain(is_other) };
        for id in ids {
            if let Some(of_work) = watchers.of_work.get_mut(id) {
                of_work.retain(is_other);
                if of_work.is_empty() {
                    watchers.of_work.remove(id);
                }
            }
        }
    }

    /// Something visible about these works has changed, and nothing else in this commit.
    pub(crate) fn touch(&self, news: News, ids: &[WorkId]) {
        let mut watchers = lock(&self.watchers);
        let mut wake = Vec::new();
        for id in ids {
            if let Some(of_work) = watchers.of_work.get_mut(id) {
                signal(of_work, news, std::slice::from_ref(id), &mut wake);
                if of_work.is_empty() {
                    watchers.of_work.remove(id);
                }
            }
        }
        if !ids.is_empty() {
            signal(&mut watchers.of_all, news, ids, &mut wake);
        }
        watchers.pass(news, &mut wake);
        drop(watchers);
        wake_all(wake);
    }

    /// Commits were missed: everything may have changed.
    pub(crate) fn touch_all(&self) {
        lock(&self.watchers).passed = None;
        self.each(WatcherState::lose_track);
    }

    /// The manager has ended: every stream of signals ends.
    pub(crate) fn close(&self) {
        lock(&self.watchers).closed = true;
        // The last commit may not have been seen yet.
        self.each(|state| {
            state.closed = true;
            state.lose_track()
        });
    }

    fn each(&self, change: impl Fn(&mut WatcherState) -> Option<Waker>) {
        let mut watchers = lock(&self.watchers);
        let Watchers { of_work, of_all, .. } = &mut *watchers;
        let mut wake = Vec::new();
        for watcher in of_work.values().flatten().chain(of_all.iter()).filter_map(Weak::upgrade) {
            wake.extend(change(&mut lock(&watcher.state)));
        }
        watchers.wake_awaiting(&mut wake);
        drop(watchers);
        wake_all(wake);
    }
}

/// Touches the watchers that are still there and forgets the others.
fn signal(watchers: &mut Vec<Weak<Watcher>>, news: News, ids: &[WorkId], wake: &mut Vec<Waker>) {
    watchers.retain(|watcher| {
        let Some(watcher) = watcher.upgrade() else { return false };
        wake.extend(lock(&watcher.state).hear(news, ids));
        true
    });
}

/// One item whenever something that is watched may have changed since the last. Ends with the manager.
pub(crate) struct Signals {
    watcher: Arc<Watcher>,
    /// None are all.
    ids: Option<Vec<WorkId>>,
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
        if let Some(touched) = &mut state.touched {
            touched.was_read(commit);
        }
    }

    /// What was touched since this was asked for last, and not read.
    pub(crate) fn take_touched(&self) -> Touched {
        lock(&self.watcher.state).touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Waits until commits up to this one were passed on, or some that nobody knows.
    pub(crate) async fn have_passed(&self, commit: u64) {
        poll_fn(|cx| {
            let mut watchers = lock(&self.hub.watchers);
            if watchers.closed || watchers.passed.is_none_or(|passed| passed.to >= commit) {
                return Poll::Ready(());
            }
            lock(&self.watcher.state).waker = Some(cx.waker().clone());
            let own = Arc::downgrade(&self.watcher);
            watchers.awaiting.retain(|other| !other.ptr_eq(&own));
            watchers.awaiting.push(own);
            runtime::note_own_wait();
            Poll::Pending
        })
        .await;
    }

    /// Whether all that the commits behind `after` up to `to` have touched is among these works and those that were taken before.
    /// If some of these commits were not passed on, nobody knows.
    pub(crate) fn are_within(&self, after: u64, to: u64, ids: &BTreeSet<WorkId>) -> bool {
        let watchers = lock(&self.hub.watchers);
        let all_passed =
            watchers.passed.is_some_and(|passed| passed.from <= after.saturating_add(1) && to <= passed.to);
        let state = lock(&self.watcher.state);
        (to == after || (to > after && all_passed))
            && state.touched.as_ref().is_some_and(|touched| touched.is_within(to, ids))
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
        self.hub.unwatch(&self.watcher, self.ids.as_deref());
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
        let before = state.waker.replace(cx.waker().clone());
        // It is not ours, and is dropped outside of the lock.
        drop(state);
        drop(before);
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

    use super::touched::MOST_TOUCHED;
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
        hub.touch(News::Commit(7), &[WORK]);
        assert!(!has_news(&mut signals), "the page has shown it");
        hub.touch(News::Commit(8), &[WORK]);
        assert!(has_news(&mut signals));
    }

    #[test]
    fn a_page_that_was_read_takes_back_older_signals_and_no_newer_ones() {
        let hub = Arc::new(Hub::default());
        let mut signals = hub.watch([WORK]);
        assert!(has_news(&mut signals));
        hub.touch(News::Commit(3), &[WORK]);
        signals.has_read(3);
        assert!(!has_news(&mut signals));
        hub.touch(News::Commit(5), &[WORK]);
        hub.touch(News::Commit(4), &[WORK]);
        signals.has_read(4);
        assert!(has_news(&mut signals), "commit 5 was not read yet");
    }

    #[test]
    fn what_has_no_number_is_news_whatever_was_read() {
        let hub = Arc::new(Hub::default());
        let mut signals = hub.watch([WORK]);
        assert!(has_news(&mut signals));
        signals.has_read(u64::MAX);
        hub.touch(News::Unnumbered, &[WORK]);
        assert!(has_news(&mut signals));
        hub.touch_all();
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
        hub.touch(News::Commit(2), &[WORK]);
        assert!(lock(&signals.watcher.state).waker.is_some(), "its waker was not used");
        hub.touch(News::Commit(3), &[WORK]);
        assert!(lock(&signals.watcher.state).waker.is_none());
    }

    const OTHER: WorkId = WorkId::from_u128(2);

    fn commits(hub: &Hub, commits: impl IntoIterator<Item = u64>) {
        commits.into_iter().for_each(|commit| hub.touch(News::Commit(commit), &[]));
    }

    fn ids(ids: impl IntoIterator<Item = WorkId>) -> BTreeSet<WorkId> {
        ids.into_iter().collect()
    }

    #[test]
    fn who_gathers_knows_what_was_touched_since_the_last_look() {
        let hub = Arc::new(Hub::default());
        let (all, one) = (hub.gather(None), hub.gather(Some(&ids([OTHER]))));
        hub.touch(News::Commit(1), &[WORK]);
        hub.touch(News::Unnumbered, &[OTHER]);
        assert_eq!(all.take_touched().into_ids(), Some(ids([WORK, OTHER])));
        assert_eq!(one.take_touched().into_ids(), Some(ids([OTHER])));
        assert_eq!(all.take_touched().into_ids(), Some(ids([])));
        hub.touch_all();
        assert_eq!(all.take_touched().into_ids(), None, "commits were missed");
        (1..=1 + MOST_TOUCHED as u128).for_each(|id| hub.touch(News::Commit(2), &[WorkId::from_u128(id)]));
        assert_eq!(all.take_touched().into_ids(), None, "they are too many to keep");
    }

    #[test]
    fn what_a_page_shows_needs_no_second_look_unless_it_was_touched_again() {
        let hub = Arc::new(Hub::default());
        let signals = hub.gather(None);
        hub.touch(News::Commit(1), &[WORK, OTHER]);
        hub.touch(News::Commit(3), &[OTHER]);
        signals.has_read(2);
        assert_eq!(signals.take_touched().into_ids(), Some(ids([OTHER])));
    }

    #[test]
    fn a_page_is_whole_only_if_no_commit_up_to_it_was_missed_or_touched_something_else() {
        let hub = Arc::new(Hub::default());
        let signals = hub.gather(None);
        signals.has_read(4);
        commits(&hub, 5..=7);
        hub.touch(News::Commit(8), &[WORK]);
        hub.touch(News::Commit(9), &[OTHER]);
        let (one, both) = (ids([WORK]), ids([WORK, OTHER]));
        assert!(signals.are_within(4, 8, &one));
        assert!(signals.are_within(4, 4, &ids([])), "a page of the same commit");
        assert!(!signals.are_within(4, 9, &one), "the other one is half of commit 9");
        assert!(signals.are_within(4, 9, &both));
        assert!(!signals.are_within(4, 10, &both), "commit 10 is not announced");
        assert!(!signals.are_within(3, 9, &both), "nor was commit 4");
        assert!(!signals.are_within(9, 8, &both), "an older page");
        commits(&hub, [11]);
        assert!(!signals.are_within(4, 11, &both), "commit 10 was never announced");
        assert!(signals.are_within(10, 11, &both));
        hub.touch_all();
        commits(&hub, [12]);
        assert!(!signals.are_within(10, 12, &both), "commits were missed");
        signals.take_touched();
        assert!(signals.are_within(11, 12, &both));
    }

    #[test]
    fn who_waits_for_a_commit_to_be_announced_is_woken_by_it_and_by_the_end() {
        let hub = Arc::new(Hub::default());
        let signals = hub.gather(Some(&ids([WORK])));
        commits(&hub, [1]);
        assert!(signals.have_passed(1).now_or_never().is_some());
        let mut waits = Box::pin(signals.have_passed(3));
        assert!(waits.as_mut().now_or_never().is_none());
        commits(&hub, [2]);
        assert!(waits.as_mut().now_or_never().is_none());
        assert_eq!(lock(&hub.watchers).awaiting.len(), 1);
        commits(&hub, [3]);
        assert!(lock(&signals.watcher.state).waker.is_none(), "its waker was used");
        assert!(waits.now_or_never().is_some());
        assert!(signals.have_passed(4).now_or_never().is_none());
        hub.close();
        assert!(signals.have_passed(4).now_or_never().is_some());
    }

    #[test]
    fn a_watcher_of_no_work_hears_that_commits_were_missed_and_of_the_end() {
        let hub = Arc::new(Hub::default());
        let mut signals = hub.gather(Some(&ids([])));
        assert!(has_news(&mut signals));
        hub.touch(News::Commit(1), &[WORK]);
        assert!(!has_news(&mut signals));
        hub.touch_all();
        assert!(has_news(&mut signals));
        hub.close();
        assert!(has_news(&mut signals));
        assert_eq!(signals.next().now_or_never(), Some(None));
    }
}
