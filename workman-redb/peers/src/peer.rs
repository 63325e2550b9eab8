//! What a system must be able to do to take part.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// A system under measurement, opened on a folder.
///
/// A setting is a name out of the system's own table: it says how many works run at once, and whatever else its worker can be told.
pub trait Peer: Clone + Send + Sync + Sized + 'static {
    /// Its name in the tables.
    const NAME: &'static str;
    /// The ways it can be told to keep what it acknowledges; the first is as durable as the system can be made.
    const DURABILITIES: &'static [Durability];
    /// The settings with sixteen works at once, the first as the documentation of the system has it.
    const AT_16: &'static [&'static str];
    /// The setting of a program that says nothing about how many at once, or what the first example of the system says where that has to
    /// be said. One only.
    const DEFAULT: &'static [&'static str];
    /// The settings with more at once among which the fastest to empty a backlog is looked for.
    const DRAIN: &'static [&'static str];
    /// The settings among which the fastest to pick up a single work is looked for.
    const PICKUP: &'static [&'static str];
    /// Whether a caller can await the end of a work that it has enqueued.
    const TELLS_THE_END: bool;

    /// Opens the store in `place`, which is made when the folder is empty.
    fn open(place: Place<'_>) -> impl Future<Output = Result<Self>> + Send;

    /// Enqueues one work that is due now, and returns when the system says that it has it.
    fn enqueue(&self, input: Input) -> impl Future<Output = Result<()>> + Send;

    /// Enqueues many works in one call of the system.
    fn enqueue_many(&self, inputs: Vec<Input>, due: Due) -> impl Future<Output = Result<()>> + Send;

    /// Starts the worker, which goes on until the process ends.
    fn work(&self, setting: &str, bodies: Bodies) -> impl Future<Output = Result<()>> + Send;

    /// Enqueues one work and awaits its end; only asked of systems that tell it.
    fn enqueue_and_await(&self, input: Input) -> impl Future<Output = Result<()>> + Send;

    /// What the store holds.
    fn counts(&self) -> impl Future<Output = Result<Counts>> + Send;

    /// Closes the store as the system's documentation says.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}

/// Where and how to open a store.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The folder that holds it.
    pub folder: &'a Path,
    /// The name of one of the system's durabilities.
    pub durability: &'a str,
    /// The name of one of its settings, for systems that decide at the opening how a worker is woken.
    pub setting: &'a str,
}

/// A way to keep what is acknowledged.
#[derive(Clone, Copy)]
pub struct Durability {
    /// What the system's module calls it.
    pub name: &'static str,
    /// What the tables call it.
    pub says: &'static str,
    /// Whether every acknowledgement waits until its work is on the disk.
    pub syncs: bool,
}

/// When works are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Due {
    /// At once.
    Now,
    /// In seven days, so never while anything is measured.
    NextWeek,
}

/// A week.
pub const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many works a store holds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Works that are yet to be done, those that are due later or run just now among them.
    pub waiting: u64,
    /// Works that were done.
    pub done: u64,
}

/// The input of every work: 100 bytes of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// Filler.
    pub body: String,
}

impl Default for Input {
    fn default() -> Self {
        Self { body: "x".repeat(100 - r#"{"body":""}"#.len()) }
    }
}

/// Counts the bodies that have run, for whoever waits for them. This is all that a worker does.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<Ran>);

#[derive(Debug)]
struct Ran {
    since: Instant,
    count: AtomicU64,
    awaited: AtomicU64,
    reached_at: AtomicU64,
    reached: Notify,
}

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Ran {
            since: Instant::now(),
            count: AtomicU64::new(0),
            awaited: AtomicU64::new(u64::MAX),
            reached_at: AtomicU64::new(0),
            reached: Notify::new(),
        }))
    }
}

impl Bodies {
    /// The body of every work.
    pub fn run(&self, input: &Input) {
        std::hint::black_box(&input.body);
        let count = self.0.count.fetch_add(1, SeqCst) + 1;
        if count == self.0.awaited.load(SeqCst) {
            self.0.reached_at.store(self.now(), SeqCst);
            self.0.reached.notify_one();
        }
    }

    /// How many have run.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count.load(SeqCst)
    }

    /// Says which body is awaited next; to be called before that body can run.
    pub fn expect(&self, count: u64) {
        self.0.awaited.store(count, SeqCst);
    }

    /// Waits until the expected body has run and says when that was, by the clock of [`Self::now`]; `None` after `patience`.
    pub async fn expected(&self, patience: Duration) -> Option<u64> {
        tokio::time::timeout(patience, self.0.reached.notified()).await.ok()?;
        Some(self.0.reached_at.load(SeqCst))
    }

    /// Nanoseconds since these bodies were made.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.0.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_hundred_bytes_of_json() {
        assert_eq!(serde_json::to_vec(&Input::default()).unwrap().len(), 100);
    }

    #[tokio::test]
    async fn the_expected_body_is_noticed_and_no_other() {
        let bodies = Bodies::default();
        bodies.expect(2);
        bodies.run(&Input::default());
        assert!(bodies.expected(Duration::ZERO).await.is_none());
        bodies.run(&Input::default());
        assert!(bodies.expected(Duration::ZERO).await.is_some_and(|at| at <= bodies.now()));
    }
}
