//! [`MemoryStore`]: the reference store. Nothing survives the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::embedded::{Dump, Opening, RowMap, Transaction, page};
use super::{Change, ChangeFeed, Ownership, Store, StoreError, Unit, UnitResult};
use crate::query::{Page, PageRequest};

/// Keeps everything in memory: for tests, for examples, and for work that may die with its process.
///
/// It keeps the whole contract of [`Store`] but durability: what is acknowledged survives a [`reopen`](Self::reopen),
/// not the process. Every call runs in place, without threads.
///
/// # Examples
/// ```
/// use workman_core::MemoryStore;
///
/// let store = MemoryStore::new();
/// let same_works = store.reopen();      // `store` is closed now, as if its process had died
/// ```
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    incarnation: u64,
    instance: u128,
    opening: Mutex<Opening>,
    feed: ChangeFeed,
}

#[derive(Default)]
struct Data {
    rows: RowMap,
    commit: u64,
    /// The only opening that may use the data; 0 when none may.
    open: u64,
    openings: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::open(Arc::default(), next_instance())
    }

    /// Opens the same works anew, as the next process would. This opening is closed by that.
    #[must_use]
    pub fn reopen(&self) -> Self {
        self.feed.close();
        Self::open(Arc::clone(&self.data), self.instance)
    }

    /// Everything that is stored, for [`Dump::broken_invariants`].
    #[must_use]
    pub fn dump(&self) -> Dump {
        lock(&self.data).rows.dump()
    }

    fn open(data: Arc<Mutex<Data>>, instance: u128) -> Self {
        let mut opened = lock(&data);
        opened.openings += 1;
        opened.open = opened.openings;
        let incarnation = opened.open;
        drop(opened);
        MemoryStore {
            data,
            incarnation,
            instance,
            opening: Mutex::new(Opening::new(incarnation)),
            feed: ChangeFeed::new(),
        }
    }

    fn data(&self) -> Result<MutexGuard<'_, Data>, StoreError> {
        let data = lock(&self.data);
        if data.open == self.incarnation { Ok(data) } else { Err(StoreError::closed()) }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        let mut data = self.data()?;
        let commit = data.commit + 1;
        let mut opening = lock(&self.opening);
        let mut transaction = Transaction::begin(&data.rows, &mut opening)?;
        let results = units.iter().map(|unit| transaction.run_unit(&mut data.rows, unit)).collect::<Result<_, _>>();
        self.feed.report(transaction.take_damage());
        let results = results?; // writing to memory can't fail, so nothing has to be taken back
        if let Some(change) = transaction.finish(&mut data.rows, commit)? {
            data.commit = commit;
            // Still under the lock, so that changes are announced in the order of commits.
            self.feed.announce(&change);
        }
        Ok(results)
    }

    async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        let data = self.data()?;
        let mut damage = Vec::new();
        let page = page(&data.rows, &request, data.commit, &mut damage);
        self.feed.report(damage);
        page
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        self.feed.subscribe()
    }

    fn ownership(&self) -> Ownership {
        Ownership::Exclusive
    }

    fn instance(&self) -> u128 {
        self.instance
    }

    async fn close(&self) {
        let mut data = lock(&self.data);
        if data.open == self.incarnation {
            data.open = 0;
        }
        drop(data);
        self.feed.close();
    }
}

/// A number that no other store has: one in a file has random bits above these, and an address has none.
fn next_instance() -> u128 {
    static MADE: AtomicU64 = AtomicU64::new(1);
    u128::from(MADE.fetch_add(1, Ordering::Relaxed)) << u64::BITS
}

fn lock<T>(data: &Mutex<T>) -> MutexGuard<'_, T> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}
