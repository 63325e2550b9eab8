//! [`MemoryStore`]: the reference store. Nothing survives the process.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::embedded::{Dump, Row, RowKey, Rows, RowsMut, Transaction, dump, page};
use super::index::{IndexKey, IndexRange};
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
    feed: ChangeFeed,
}

#[derive(Default)]
struct Data {
    rows: BTreeMap<RowKey, Row>,
    index: BTreeSet<IndexKey>,
    commit: u64,
    /// The only opening that may use the data; 0 when none may.
    open: u64,
    openings: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::open(Arc::default())
    }

    /// Opens the same works anew, as the next process would. This opening is closed by that.
    #[must_use]
    pub fn reopen(&self) -> Self {
        self.feed.close();
        Self::open(Arc::clone(&self.data))
    }

    /// Everything that is stored, for [`invariants::check`](crate::plan::invariants::check).
    #[must_use]
    pub fn dump(&self) -> Dump {
        dump(&*lock(&self.data)).unwrap_or_default()
    }

    fn open(data: Arc<Mutex<Data>>) -> Self {
        let mut opened = lock(&data);
        opened.openings += 1;
        opened.open = opened.openings;
        let incarnation = opened.open;
        drop(opened);
        MemoryStore { data, incarnation, feed: ChangeFeed::new() }
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
        let mut transaction = Transaction::begin(&*data, self.incarnation)?;
        let results =
            units.iter().map(|unit| transaction.run_unit(&mut *data, unit)).collect::<Result<Vec<_>, StoreError>>()?;
        if let Some(change) = transaction.finish(&mut *data, commit)? {
            data.commit = commit;
            // Still under the lock, so that changes are announced in the order of commits.
            self.feed.announce(&change);
        }
        Ok(results)
    }

    async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        let data = self.data()?;
        page(&*data, &request, data.commit)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        self.feed.subscribe()
    }

    fn ownership(&self) -> Ownership {
        Ownership::Exclusive
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

/// Writing to memory can't fail, so nothing ever has to be taken back.
impl Rows for Data {
    fn get(&self, key: RowKey) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(&key).cloned())
    }

    fn scan(&self, range: &IndexRange, limit: usize) -> Result<Vec<IndexKey>, StoreError> {
        let first = match &range.after {
            Some(after) if *after >= range.last => return Ok(Vec::new()),
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(&range.first),
        };
        Ok(self.index.range((first, Bound::Included(&range.last))).take(limit).cloned().collect())
    }
}

impl RowsMut for Data {
    fn put(&mut self, row: Row) -> Result<(), StoreError> {
        self.rows.insert(row.key(), row);
        Ok(())
    }

    fn remove(&mut self, key: RowKey) -> Result<(), StoreError> {
        self.rows.remove(&key);
        Ok(())
    }

    fn link(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        self.index.insert(key.clone());
        Ok(())
    }

    fn unlink(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        self.index.remove(key);
        Ok(())
    }
}

fn lock(data: &Mutex<Data>) -> MutexGuard<'_, Data> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}
