//! [`ChangeFeed`]: tells every subscriber of every commit, and never waits for a slow one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::StreamExt;
use futures::stream::{BoxStream, Stream};

use super::{Change, Damage, HomeProcess};
use crate::foreign::wake_all;

/// Changes that a subscriber may be behind before it is told that it lags.
const BUFFER: usize = 1024;

/// The sending side of [`Store::changes`](super::Store::changes), for those who write a store.
#[derive(Default)]
pub struct ChangeFeed {
    subscribers: Mutex<Subscribers>,
}

/// As many things that are damaged are remembered; of more than that nothing is said any more.
const DAMAGES: usize = 1024;

#[derive(Default)]
struct Subscribers {
    queues: Vec<Weak<Queue>>,
    closed: bool,
    damage: Vec<Damage>,
}

#[derive(Default)]
struct Queue {
    home: HomeProcess,
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    changes: VecDeque<Change>,
    /// Beside the others, since commits can be looked up, and what is damaged is told once.
    damage: VecDeque<Damage>,
    waker: Option<Waker>,
    closed: bool,
}

impl ChangeFeed {
    /// A feed that nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that is announced from now on.
    pub fn subscribe(&self) -> BoxStream<'static, Change> {
        let queue = Arc::new(Queue::default());
        let mut subscribers = lock(&self.subscribers);
        // Who subscribes again and again without a commit between leaves nothing behind.
        subscribers.queues.retain(|queue| queue.strong_count() > 0);
        let mut state = lock(&queue.state);
        state.closed = subscribers.closed;
        state.damage.extend(subscribers.damage.iter().cloned());
        drop(state);
        subscribers.queues.push(Arc::downgrade(&queue));
        Subscription { queue }.boxed()
    }

    /// Logs what is damaged and tells every subscriber, those who come later too; each thing once.
    pub fn report(&self, damage: impl IntoIterator<Item = Damage>) {
        for damage in damage {
            let mut subscribers = lock(&self.subscribers);
            if subscribers.damage.len() >= DAMAGES || subscribers.damage.contains(&damage) {
                continue;
            }
            subscribers.damage.push(damage.clone());
            drop(subscribers);
            tracing::error!(id = %damage.id, %damage, "the store is damaged");
            self.each(|state| state.damage.push_back(damage.clone()));
        }
    }

    /// Tells every subscriber of a commit. Call it after the commit is durable, in the order of commits.
    ///
    /// A subscriber whose buffer is full loses what it has not read and is told so once, in the place of the loss;
    /// what comes after that waits for it as before.
    pub fn announce(&self, change: &Change) {
        self.each(|state| {
            if state.changes.len() >= BUFFER {
                state.changes.clear();
                state.changes.push_back(Change::Lagged);
            }
            state.changes.push_back(change.clone());
        });
    }

    /// Ends every subscription once it has read what was announced.
    pub fn close(&self) {
        lock(&self.subscribers).closed = true;
        self.each(|state| state.closed = true);
    }

    fn each(&self, mut change: impl FnMut(&mut QueueState)) {
        let mut wakers: Vec<Waker> = Vec::new();
        lock(&self.subscribers).queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut state = lock(&queue.state);
            change(&mut state);
            // A task with several subscriptions, as a manager's, is woken once: a second time it may have gone to sleep again.
            let waker = state.waker.take().filter(|waker| !wakers.iter().any(|other| other.will_wake(waker)));
            wakers.extend(waker);
            true
        });
        wake_all(wakers);
    }
}

struct Subscription {
    queue: Arc<Queue>,
}

impl Stream for Subscription {
    type Item = Change;

    /// In a forked child nobody announces anything, and a thread that is not there may hold the lock: the stream ends.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        if !self.queue.home.is_current() {
            return Poll::Ready(None);
        }
        let mut state = lock(&self.queue.state);
        let damage = state.damage.pop_front().map(Change::Damaged);
        match damage.or_else(|| state.changes.pop_front()) {
            Some(change) => Poll::Ready(Some(change)),
            None if state.closed => Poll::Ready(None),
            None => {
                let before = state.waker.replace(cx.waker().clone());
                // It is not ours, and is dropped outside of the lock.
                drop(state);
                drop(before);
                Poll::Pending
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use futures::FutureExt;

    use super::*;
    use crate::time::Timestamp;

    fn commit(number: u64) -> Change {
        Change::Commit {
            commit: number,
            now: Timestamp::default(),
            touched: Arc::default(),
            hints: Arc::from(Vec::new()),
        }
    }

    /// Everything that can be read without waiting: numbers, 0 for "lagged", and whether the stream has ended.
    fn read(stream: &mut BoxStream<'static, Change>) -> (Vec<u64>, bool) {
        let mut numbers = Vec::new();
        loop {
            match stream.next().now_or_never() {
                Some(Some(Change::Commit { commit, .. })) => numbers.push(commit),
                Some(Some(Change::Lagged)) => numbers.push(0),
                Some(Some(Change::Damaged(damage))) => panic!("{damage}"),
                Some(None) => return (numbers, true),
                None => return (numbers, false),
            }
        }
    }

    #[test]
    fn every_subscriber_reads_every_commit_since_it_subscribed_in_order() {
        let feed = ChangeFeed::new();
        let mut early = feed.subscribe();
        feed.announce(&commit(1));
        let mut late = feed.subscribe();
        feed.announce(&commit(2));
        assert_eq!(read(&mut early), (vec![1, 2], false));
        assert_eq!(read(&mut late), (vec![2], false));
    }

    #[test]
    fn what_is_damaged_is_told_once_to_each_subscriber_however_late_or_slow_it_is() {
        let feed = ChangeFeed::new();
        let damage = |number| Damage { id: crate::id::WorkId::from_u128(number), what: format!("thing {number}") };
        let mut early = feed.subscribe();
        feed.report([damage(1), damage(2), damage(1)]);
        (1..=2 * BUFFER as u64).for_each(|number| feed.announce(&commit(number)));
        feed.report([damage(2)]);
        let mut late = feed.subscribe();
        for stream in [&mut early, &mut late] {
            for number in [1, 2] {
                let next = stream.next().now_or_never().flatten();
                assert!(matches!(&next, Some(Change::Damaged(told)) if *told == damage(number)), "{next:?}");
            }
        }
        assert!(!read(&mut early).0.is_empty(), "the commits are told as well");
        assert_eq!(read(&mut late), (Vec::new(), false));
        (0..2 * DAMAGES as u128).for_each(|number| feed.report([damage(number)]));
        assert_eq!(lock(&feed.subscribers).damage.len(), DAMAGES);
    }

    #[test]
    fn a_slow_subscriber_is_told_once_and_reads_everything_newer() {
        let feed = ChangeFeed::new();
        let (mut slow, mut quick) = (feed.subscribe(), feed.subscribe());
        let full = u64::try_from(BUFFER).unwrap();
        for number in 1..=full + 3 {
            feed.announce(&commit(number));
            assert_eq!(read(&mut quick), (vec![number], false), "a slow neighbour costs a quick reader nothing");
        }
        let newer: Vec<u64> = [0].into_iter().chain(full + 1..=full + 3).collect();
        assert_eq!(read(&mut slow), (newer, false));
        feed.announce(&commit(full + 4));
        assert_eq!(read(&mut slow), (vec![full + 4], false), "who has caught up does not lag any more");
    }

    #[test]
    fn a_full_buffer_is_no_lag_yet() {
        let feed = ChangeFeed::new();
        let mut slow = feed.subscribe();
        let all: Vec<u64> = (1..=u64::try_from(BUFFER).unwrap()).collect();
        all.iter().for_each(|number| feed.announce(&commit(*number)));
        assert_eq!(read(&mut slow), (all, false));
    }

    #[test]
    fn who_lags_again_and_again_is_told_once_and_keeps_a_bounded_buffer() {
        let feed = ChangeFeed::new();
        let mut slow = feed.subscribe();
        let last = u64::try_from(5 * BUFFER).unwrap();
        (1..=last).for_each(|number| feed.announce(&commit(number)));
        let (numbers, _) = read(&mut slow);
        assert!(numbers.len() <= BUFFER + 1, "{} changes were kept", numbers.len());
        assert_eq!(numbers.iter().filter(|number| **number == 0).count(), 1);
        assert_eq!(numbers.first(), Some(&0));
        let newer: Vec<u64> = (last - u64::try_from(numbers.len()).unwrap() + 2..=last).collect();
        assert_eq!(numbers.get(1..), Some(newer.as_slice()));
    }

    #[test]
    fn a_closed_feed_ends_its_streams_after_what_was_announced() {
        let feed = ChangeFeed::new();
        let mut early = feed.subscribe();
        feed.announce(&commit(1));
        feed.close();
        assert_eq!(read(&mut early), (vec![1], true));
        assert_eq!(read(&mut feed.subscribe()), (vec![], true), "a late subscriber does not wait for ever");
    }

    #[test]
    fn a_subscriber_that_went_away_is_forgotten() {
        let feed = ChangeFeed::new();
        let mut stays = feed.subscribe();
        drop(feed.subscribe());
        feed.announce(&commit(1));
        assert_eq!(lock(&feed.subscribers).queues.len(), 1);
        for _ in 0..100 {
            drop(feed.subscribe());
        }
        assert!(lock(&feed.subscribers).queues.len() <= 2, "subscriptions without commits pile up");
        assert_eq!(read(&mut stays), (vec![1], false));
    }

    #[test]
    fn a_task_with_several_subscriptions_is_woken_once_and_finds_something_in_each() {
        let feed = ChangeFeed::new();
        let (mut one, mut two) = (feed.subscribe(), feed.subscribe());
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        assert!(one.poll_next_unpin(&mut cx).is_pending() && two.poll_next_unpin(&mut cx).is_pending());
        feed.announce(&commit(1));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!((read(&mut one), read(&mut two)), ((vec![1], false), (vec![1], false)));
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waiting_subscriber_is_woken_by_a_commit_and_by_the_end() {
        let feed = ChangeFeed::new();
        let mut stream = feed.subscribe();
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || crate::runtime::block_on(stream.by_ref().map(|_| ()).count()));
            feed.announce(&commit(1));
            feed.announce(&commit(2));
            feed.close();
            assert_eq!(reader.join().unwrap(), 2);
        });
    }
}
