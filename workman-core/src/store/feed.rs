//! [`ChangeFeed`]: tells every subscriber of every commit, and never waits for a slow one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::StreamExt;
use futures::stream::{BoxStream, Stream};

use super::Change;

/// Changes that a subscriber may be behind before it is told that it lags.
const BUFFER: usize = 1024;

/// The sending side of [`Store::changes`](super::Store::changes), for those who write a store.
#[derive(Default)]
pub struct ChangeFeed {
    subscribers: Mutex<Subscribers>,
}

#[derive(Default)]
struct Subscribers {
    queues: Vec<Weak<Queue>>,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    changes: VecDeque<Change>,
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
        lock(&queue.state).closed = subscribers.closed;
        subscribers.queues.push(Arc::downgrade(&queue));
        Subscription { queue }.boxed()
    }

    /// Tells every subscriber of a commit. Call it after the commit is durable, in the order of commits.
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
        let mut wakers = Vec::new();
        lock(&self.subscribers).queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut state = lock(&queue.state);
            change(&mut state);
            wakers.extend(state.waker.take());
            true
        });
        wakers.into_iter().for_each(Waker::wake);
    }
}

struct Subscription {
    queue: Arc<Queue>,
}

impl Stream for Subscription {
    type Item = Change;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        let mut state = lock(&self.queue.state);
        match state.changes.pop_front() {
            Some(change) => Poll::Ready(Some(change)),
            None if state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
