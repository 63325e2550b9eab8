//! Stores that look on: [`Overheard`] shows a test all that goes in and out, [`CountingHome`] counts what is read.

#![allow(dead_code, reason = "each test uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use workman_core::store::{
    Change, ChangeFeed, GateRow, IfMissing, IndexKey, IndexRange, Opening, Ownership, Page, PageRequest, Row, RowKey,
    RowMap, Rows, RowsMut, Store, Transaction, Unit, UnitResult, Unlinked, page,
};
use workman_core::{MemoryStore, StoreError, StoreErrorKind, WorkId};
use workman_testing::StoreHome;

/// What a test wants to hear of a store; what goes in it may change.
pub(crate) trait Ears: Clone + Send + Sync + 'static {
    fn units(&self, _units: &mut Vec<Unit>) {}
    fn answers(&self, _answers: &Result<Vec<UnitResult>, StoreError>) {}
    fn page(&self, _page: &Result<Page, StoreError>) {}
    fn change(&self, _change: &Change) {}
}

/// A store in memory, and a home of such stores.
pub(crate) struct Overheard<E>(MemoryStore, E);

impl<E: Ears> Overheard<E> {
    pub(crate) fn by(ears: &E) -> Self {
        Overheard(MemoryStore::new(), ears.clone())
    }
}

#[async_trait]
impl<E: Ears> Store for Overheard<E> {
    async fn transact(&self, mut units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        self.1.units(&mut units);
        let answers = self.0.transact(units).await;
        self.1.answers(&answers);
        answers
    }
    async fn query(&self, page: PageRequest) -> Result<Page, StoreError> {
        let page = self.0.query(page).await;
        self.1.page(&page);
        page
    }
    fn changes(&self) -> BoxStream<'static, Change> {
        let ears = self.1.clone();
        self.0.changes().inspect(move |change| ears.change(change)).boxed()
    }
    fn ownership(&self) -> Ownership {
        self.0.ownership()
    }
    async fn close(&self) {
        self.0.close().await;
    }
}

impl<E: Ears> StoreHome for Overheard<E> {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(Overheard(self.0.reopen(), self.1.clone()))
    }
}

/// Rows in memory that count how often somebody looked. Some of them can't be read.
#[derive(Clone, Default)]
pub(crate) struct CountedRows {
    pub(crate) rows: RowMap,
    pub(crate) unreadable: BTreeSet<WorkId>,
    seen: Cell<Seen>,
    commit: u64,
    openings: u64,
}

/// How much was read.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) rows: usize,
    /// Those of the rows that hold an output or what a worker said.
    pub(crate) payloads: usize,
    pub(crate) entries: usize,
}

impl CountedRows {
    /// What was read since this was asked last.
    pub(crate) fn take_seen(&self) -> Seen {
        self.seen.take()
    }

    fn saw(&self, what: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen.get();
        what(&mut seen);
        self.seen.set(seen);
    }
}

impl Rows for CountedRows {
    fn get(&self, key: RowKey) -> Result<Option<Row>, StoreError> {
        self.saw(|seen| {
            seen.rows += 1;
            seen.payloads += usize::from(matches!(key, RowKey::Output(_) | RowKey::Notes(_)));
        });
        match key {
            RowKey::Record(id) if self.unreadable.contains(&id) => {
                Err(StoreError::new(StoreErrorKind::Corrupted, format!("the record of {id} is damaged")))
            }
            _ => self.rows.get(key),
        }
    }
    fn gates(&self) -> Result<Vec<GateRow>, StoreError> {
        self.rows.gates()
    }
    fn scan(&self, range: &IndexRange, limit: usize) -> Result<Vec<IndexKey>, StoreError> {
        let found = self.rows.scan(range, limit)?;
        self.saw(|seen| seen.entries += found.len());
        Ok(found)
    }
}

impl RowsMut for CountedRows {
    fn put(&mut self, row: Row) -> Result<(), StoreError> {
        self.rows.put(row)
    }
    fn remove(&mut self, key: RowKey) -> Result<(), StoreError> {
        self.rows.remove(key)
    }
    fn link(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        self.rows.link(key)
    }
    fn unlink(&mut self, key: &IndexKey, if_missing: IfMissing) -> Result<Unlinked, StoreError> {
        self.rows.unlink(key, if_missing)
    }
}

/// Where stores over such rows are opened. Only what pages read is counted, and what the test reads itself.
#[derive(Clone, Default)]
pub(crate) struct CountingHome(Arc<Mutex<CountedRows>>);

impl CountingHome {
    pub(crate) fn rows(&self) -> MutexGuard<'_, CountedRows> {
        self.0.lock().unwrap()
    }
}

impl StoreHome for CountingHome {
    fn open(&self) -> Arc<dyn Store> {
        let mut rows = self.rows();
        rows.openings += 1;
        let opening = Mutex::new(Opening::new(rows.openings));
        Arc::new(CountingStore { home: self.clone(), opening, feed: ChangeFeed::new() })
    }
}

struct CountingStore {
    home: CountingHome,
    opening: Mutex<Opening>,
    feed: ChangeFeed,
}

#[async_trait]
impl Store for CountingStore {
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        let rows = &mut *self.home.rows();
        let (seen, commit) = (rows.seen.get(), rows.commit + 1);
        // Without damage nothing fails, so nothing has to be taken back.
        let before = (!rows.unreadable.is_empty()).then(|| rows.clone());
        let mut opening = self.opening.lock().unwrap();
        let mut transaction = Transaction::begin(rows, &mut opening)?;
        let answers: Result<Vec<_>, _> = units.iter().map(|unit| transaction.run_unit(rows, unit)).collect();
        if answers.is_err() {
            *rows = before.unwrap();
        } else if let Some(change) = transaction.finish(rows, commit)? {
            rows.commit = commit;
            self.feed.announce(&change);
        }
        rows.seen.set(seen);
        answers
    }
    async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        let rows = self.home.rows();
        let mut damage = Vec::new();
        let page = page(&*rows, &request, rows.commit, &mut damage);
        self.feed.report(damage);
        page
    }
    fn changes(&self) -> BoxStream<'static, Change> {
        self.feed.subscribe()
    }
    fn ownership(&self) -> Ownership {
        Ownership::Exclusive
    }
    async fn close(&self) {}
}
