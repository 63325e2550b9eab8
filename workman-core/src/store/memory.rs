//! [`MemoryStore`]: the reference store. Nothing survives the process.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::embedded::{Dump, IfMissing, Opening, Origin, Row, RowKey, Rows, RowsMut, Transaction, Unlinked, page};
use super::{Change, ChangeFeed, Ownership, Store, StoreError, Unit, UnitResult};
use crate::data::Payload;
use crate::id::WorkId;
use crate::index::{IndexKey, IndexRange};
use crate::query::{Page, PageRequest};
use crate::record::{AttemptRecord, Cascade, Lane, LaneId, Meta, Notes, WorkRecord, WorkSpec};

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
    opening: Mutex<Opening>,
    feed: ChangeFeed,
}

#[derive(Default)]
struct Data {
    works: BTreeMap<WorkId, WorkRows>,
    lanes: BTreeMap<LaneId, Lane>,
    cascades: BTreeMap<u64, Cascade>,
    meta: Option<Meta>,
    index: BTreeSet<IndexKey>,
    commit: u64,
    /// The only opening that may use the data; 0 when none may.
    open: u64,
    openings: u64,
}

/// The rows of one work, which are mostly wanted together.
#[derive(Default)]
struct WorkRows {
    record: Option<WorkRecord>,
    spec: Option<Arc<WorkSpec>>,
    output: Option<Payload>,
    notes: Option<Notes>,
    history: Option<Vec<AttemptRecord>>,
}

impl WorkRows {
    fn is_empty(&self) -> bool {
        let WorkRows { record, spec, output, notes, history } = self;
        record.is_none() && spec.is_none() && output.is_none() && notes.is_none() && history.is_none()
    }
}

impl Data {
    /// All of it, whether anything points at it or not.
    fn dump(&self) -> Dump {
        let works = self.works.iter();
        Dump {
            meta: self.meta.clone().unwrap_or_default(),
            records: works.clone().filter_map(|(id, rows)| Some((*id, rows.record.clone()?))).collect(),
            specs: works.filter_map(|(id, rows)| Some((*id, rows.spec.clone()?))).collect(),
            lanes: self.lanes.values().cloned().collect(),
            index: self.index.clone(),
        }
    }

    fn rows_of(&mut self, id: WorkId) -> &mut WorkRows {
        self.works.entry(id).or_default()
    }

    /// Takes a row away, and the place of its work with the last one.
    fn empty(&mut self, id: WorkId, take: impl FnOnce(&mut WorkRows)) {
        if let Entry::Occupied(mut place) = self.works.entry(id) {
            take(place.get_mut());
            if place.get().is_empty() {
                place.remove();
            }
        }
    }
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

    /// Everything that is stored, for [`Dump::broken_invariants`].
    #[must_use]
    pub fn dump(&self) -> Dump {
        lock(&self.data).dump()
    }

    fn open(data: Arc<Mutex<Data>>) -> Self {
        let mut opened = lock(&data);
        opened.openings += 1;
        opened.open = opened.openings;
        let incarnation = opened.open;
        drop(opened);
        MemoryStore { data, incarnation, opening: Mutex::new(Opening::new(incarnation)), feed: ChangeFeed::new() }
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
        let mut transaction = Transaction::begin(&*data, &mut opening)?;
        let results =
            units.iter().map(|unit| transaction.run_unit(&mut *data, unit)).collect::<Result<Vec<_>, StoreError>>();
        self.feed.report(transaction.take_damage());
        let results = results?;
        if let Some(change) = transaction.finish(&mut *data, commit)? {
            data.commit = commit;
            // Still under the lock, so that changes are announced in the order of commits.
            self.feed.announce(&change);
        }
        Ok(results)
    }

    async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        let data = self.data()?;
        let mut damage = Vec::new();
        let page = page(&*data, &request, data.commit, &mut damage);
        self.feed.report(damage);
        page
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
        let rows = |id| self.works.get(&id);
        Ok(match key {
            RowKey::Record(id) => rows(id).and_then(|rows| rows.record.clone()).map(Row::Record),
            RowKey::Spec(id) => rows(id).and_then(|rows| rows.spec.clone()).map(|spec| Row::Spec(id, spec)),
            RowKey::Output(id) => rows(id).and_then(|rows| rows.output.clone()).map(|output| Row::Output(id, output)),
            RowKey::Notes(id) => rows(id).and_then(|rows| rows.notes.clone()).map(|notes| Row::Notes(id, notes)),
            RowKey::History(id) => rows(id).and_then(|rows| rows.history.clone()).map(|past| Row::History(id, past)),
            RowKey::Lane(id) => self.lanes.get(&id).cloned().map(Row::Lane),
            RowKey::Cascade(number) => self.cascades.get(&number).cloned().map(Row::Cascade),
            RowKey::Meta => self.meta.clone().map(Row::Meta),
        })
    }

    fn scan(&self, range: &IndexRange, limit: usize) -> Result<Vec<IndexKey>, StoreError> {
        let first = match &range.after {
            Some(after) if *after >= range.last => return Ok(Vec::new()),
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(&range.first),
        };
        Ok(self.index.range((first, Bound::Included(&range.last))).take(limit).cloned().collect())
    }

    fn get_work(&self, id: WorkId) -> Result<Option<(WorkRecord, Arc<WorkSpec>)>, StoreError> {
        let work = self.works.get(&id).and_then(|rows| rows.record.as_ref().zip(rows.spec.as_ref()));
        Ok(work.map(|(record, spec)| (record.clone(), Arc::clone(spec))))
    }
}

impl RowsMut for Data {
    fn put(&mut self, row: Row) -> Result<(), StoreError> {
        match row {
            Row::Record(record) => {
                let rows = self.rows_of(record.id);
                rows.record = Some(record);
            }
            Row::Spec(id, spec) => self.rows_of(id).spec = Some(spec),
            Row::Output(id, output) => self.rows_of(id).output = Some(output),
            Row::Notes(id, notes) => self.rows_of(id).notes = Some(notes),
            Row::History(id, history) => self.rows_of(id).history = Some(history),
            Row::Lane(lane) => {
                self.lanes.insert(lane.id, lane);
            }
            Row::Cascade(cascade) => {
                self.cascades.insert(cascade.number, cascade);
            }
            Row::Meta(meta) => self.meta = Some(meta),
        }
        Ok(())
    }

    fn put_work(&mut self, record: WorkRecord, spec: Arc<WorkSpec>, _origin: Origin) -> Result<(), StoreError> {
        let rows = self.rows_of(record.id);
        (rows.record, rows.spec) = (Some(record), Some(spec));
        Ok(())
    }

    fn put_attempt(&mut self, id: WorkId, attempt: AttemptRecord, keep: usize) -> Result<(), StoreError> {
        let history = self.rows_of(id).history.get_or_insert_default();
        history.drain(..history.len().saturating_sub(keep));
        history.push(attempt);
        Ok(())
    }

    fn remove(&mut self, key: RowKey) -> Result<(), StoreError> {
        match key {
            RowKey::Record(id) => self.empty(id, |rows| rows.record = None),
            RowKey::Spec(id) => self.empty(id, |rows| rows.spec = None),
            RowKey::Output(id) => self.empty(id, |rows| rows.output = None),
            RowKey::Notes(id) => self.empty(id, |rows| rows.notes = None),
            RowKey::History(id) => self.empty(id, |rows| rows.history = None),
            RowKey::Lane(id) => {
                self.lanes.remove(&id);
            }
            RowKey::Cascade(number) => {
                self.cascades.remove(&number);
            }
            RowKey::Meta => self.meta = None,
        }
        Ok(())
    }

    fn link(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        self.index.insert(key.clone());
        Ok(())
    }

    fn unlink(&mut self, key: &IndexKey, _: IfMissing) -> Result<Unlinked, StoreError> {
        Ok(self.index.remove(key).into())
    }
}

fn lock<T>(data: &Mutex<T>) -> MutexGuard<'_, T> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}
