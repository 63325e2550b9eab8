//! Reading: rows and index entries, each checked.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use redb::{AccessGuard, Key, ReadableTable, Value};
use workman_core::data::Payload;
use workman_core::id::WorkId;
use workman_core::record::{Lane, LaneId, Meta, Notes, WorkRecord, WorkSpec};
use workman_core::store::StoreError;
use workman_core::store::embedded::{Row, RowKey, Rows};
use workman_core::store::index::{IndexKey, IndexRange, standing_key};

use super::{Access, Bytes, Tables, damaged};
use crate::codec::{Body, CodecError, Reader, read_cascade, read_lane};
use crate::envelope::{self, Damage, Kind, entry_sum};
use crate::error::failed;
use crate::keys::{self, ENTRY, Key as EntryKey};
use crate::rows::{self, Address, COMMIT_KEY, ENTRY_NAME, NAMES, TableId, WORK_NAMES, WorkRows, WorkTableId};

/// A record, and what its request said.
type Work = (WorkRecord, Arc<WorkSpec>);

/// Since when a work is as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Since {
    /// It has no row that says what has changed.
    Birth,
    /// It has one, or was written by this very transaction.
    Change,
}

/// A row as it lies in its table, or is about to.
enum RowBytes<'a> {
    Stored(AccessGuard<'a, Bytes>),
    Pending(&'a [u8]),
}

impl RowBytes<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            RowBytes::Stored(row) => row.value(),
            RowBytes::Pending(row) => row,
        }
    }
}

impl<A: Access> Tables<'_, A> {
    /// The number of the newest commit.
    pub(crate) fn commit(&self) -> Result<u64, StoreError> {
        let row = self.table(TableId::Meta)?.get(COMMIT_KEY).map_err(|error| failed(self.place, error))?;
        let number = row.map(|row| envelope::open(Kind::Commit, COMMIT_KEY, row.value(), |_, from| from.u64()));
        let number = number.transpose();
        let number =
            number.map_err(|damage| self.damaged(TableId::Meta, &String::from_utf8_lossy(COMMIT_KEY), damage))?;
        Ok(number.unwrap_or(0))
    }

    pub(super) fn stored_lanes(&self) -> Result<BTreeMap<LaneId, Lane>, StoreError> {
        let mut lanes = BTreeMap::new();
        let rows = self.table(TableId::Lane)?.iter().map_err(|error| failed(self.place, error))?;
        for row in rows {
            let (key, value) = row.map_err(|error| failed(self.place, error))?;
            let id = key.value().try_into().map(u32::from_be_bytes).map(LaneId);
            let id = id.map_err(|_| self.damaged(TableId::Lane, "of no number", Damage::Checksum))?;
            let lane =
                self.open_row(RowKey::Lane(id), &Address::lane(id), value.value(), |from| read_lane(id, from))?;
            lanes.insert(id, lane);
        }
        Ok(lanes)
    }

    pub(super) fn greatest_id(&self) -> Result<Option<WorkId>, StoreError> {
        let last = self.work_table(WorkTableId::Work)?.last().map_err(|error| failed(self.place, error))?;
        Ok(last.map(|(key, _)| WorkId::from_u128(u128::from_be_bytes(*key.value()))))
    }

    /// Whether it takes a look at the table to know that there is no such work.
    fn may_hold(&self, id: WorkId) -> bool {
        self.kept.as_ref().is_none_or(|kept| Some(id) <= kept.greatest)
    }

    pub(super) fn damaged(&self, table: TableId, key: &str, damage: Damage) -> StoreError {
        damaged(self.place, NAMES[table as usize], key, damage)
    }

    fn open_row<T>(
        &self,
        key: RowKey,
        at: &Address,
        row: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, CodecError>,
    ) -> Result<T, StoreError> {
        envelope::open(at.kind, at.key(), row, |_, from| read(from))
            .map_err(|damage| self.damaged(at.table, &format!("{key:?}"), damage))
    }

    fn row_at<T>(
        &self,
        key: RowKey,
        at: &Address,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, CodecError>,
    ) -> Result<Option<T>, StoreError> {
        let row = self.table(at.table)?.get(at.key()).map_err(|error| failed(self.place, error))?;
        row.map(|row| self.open_row(key, at, row.value(), read)).transpose()
    }

    fn row_of_work(&self, table: WorkTableId, id: WorkId) -> Result<Option<RowBytes<'_>>, StoreError> {
        if let Some(pending) = self.pending.row(table, id) {
            return Ok(pending.map(RowBytes::Pending));
        }
        let row = self.work_table(table)?.get(&keys::bits(id)).map_err(|error| failed(self.place, error))?;
        Ok(row.map(RowBytes::Stored))
    }

    /// Looks at a work's rows, if it has any. Says as well whether it is as it was born.
    fn look_at<T>(
        &self,
        id: WorkId,
        read: impl FnOnce(WorkRows<'_>) -> Result<T, (WorkTableId, Damage)>,
    ) -> Result<Option<(T, Since)>, StoreError> {
        if !self.may_hold(id) {
            return Ok(None);
        }
        let Some(work) = self.row_of_work(WorkTableId::Work, id)? else { return Ok(None) };
        let state = self.row_of_work(WorkTableId::State, id)?;
        let since = match (&work, &state) {
            (RowBytes::Stored(_), None) => Since::Birth,
            _ => Since::Change,
        };
        let rows = WorkRows { id, work: work.bytes(), state: state.as_ref().map(RowBytes::bytes) };
        let found = read(rows).map_err(|(table, damage)| self.damaged_work(table, id, damage))?;
        Ok(Some((found, since)))
    }

    fn damaged_work(&self, table: WorkTableId, id: WorkId, damage: Damage) -> StoreError {
        damaged(self.place, WORK_NAMES[table as usize], &format!("{:?}", RowKey::Record(id)), damage)
    }

    /// In a damaged file the row that says what has changed may be hidden, and its work would look newborn. Where a newborn work
    /// stands, its index entry is.
    fn check_birth(&self, record: &WorkRecord, since: Since) -> Result<(), StoreError> {
        let EntryKey::Entry(entry) = keys::encode(&standing_key(record)) else { return Ok(()) };
        let stands = || self.entry_table()?.get(&entry).map_err(|error| failed(self.place, error));
        if since == Since::Birth && stands()?.is_none() {
            return Err(self.damaged_work(WorkTableId::State, record.id, Damage::Missing));
        }
        Ok(())
    }

    pub(super) fn record(&self, id: WorkId) -> Result<Option<WorkRecord>, StoreError> {
        if let Some(running) = self.kept.as_ref().and_then(|kept| kept.running.get(&id)) {
            return Ok(Some(running.clone()));
        }
        let Some((record, since)) = self.look_at(id, |rows| rows.record())? else { return Ok(None) };
        self.check_birth(&record, since)?;
        Ok(Some(record))
    }

    fn work(&self, id: WorkId) -> Result<Option<Work>, StoreError> {
        let Some((work, since)) = self.unchecked_work(id)? else { return Ok(None) };
        self.check_birth(&work.0, since)?;
        Ok(Some(work))
    }

    fn unchecked_work(&self, id: WorkId) -> Result<Option<(Work, Since)>, StoreError> {
        let lanes = self.kept.as_ref().map(|kept| &kept.lanes);
        let worker_of = |lane| lanes.and_then(|lanes| lanes.get(&lane)).map(|lane| &lane.worker);
        let work = self.look_at(id, |rows| rows.work(worker_of))?;
        Ok(work.map(|((record, spec), since)| ((record, Arc::new(spec)), since)))
    }

    fn output(&self, id: WorkId) -> Result<Option<Payload>, StoreError> {
        let output = self.row_of_work(WorkTableId::Output, id)?;
        let output = output.map(|row| rows::open_output(id, row.bytes())).transpose();
        output.map_err(|damage| {
            let table = WORK_NAMES[WorkTableId::Output as usize];
            damaged(self.place, table, &format!("{:?}", RowKey::Output(id)), damage)
        })
    }

    /// The entries of a stretch of one table. Each is checked: its checksum, its form, and that it lies behind the one before it.
    fn entries<'a, K: Key + 'static, V: Value + 'static>(
        &self,
        stretch: impl Iterator<Item = Result<(AccessGuard<'a, K>, AccessGuard<'a, V>), redb::StorageError>>,
        range: &IndexRange,
        open: impl Fn(&K::SelfType<'_>, &V::SelfType<'_>) -> Result<IndexKey, StoreError>,
    ) -> Result<Vec<IndexKey>, StoreError> {
        let mut entries: Vec<IndexKey> = Vec::new();
        for row in stretch {
            let (key, sum) = row.map_err(|error| failed(self.place, error))?;
            let entry = open(&key.value(), &sum.value())?;
            let before = entries.last().or(range.after.as_ref());
            if entry > range.last || before.map_or(entry < range.first, |before| entry <= *before) {
                return Err(self.damaged_entry(&format!("{entry:?}")));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn damaged_entry(&self, entry: &str) -> StoreError {
        damaged(self.place, ENTRY_NAME, entry, Damage::Checksum)
    }

    fn scan_entries(
        &self,
        (first, last): (&[u8; ENTRY], &[u8; ENTRY]),
        range: &IndexRange,
        limit: usize,
    ) -> Result<Vec<IndexKey>, StoreError> {
        let stretch = (begin_of(first, range), Bound::Included(last));
        let stretch = self.entry_table()?.range::<&[u8; ENTRY]>(stretch).map_err(|error| failed(self.place, error))?;
        self.entries(stretch.take(limit), range, |key, sum| {
            let entry = if **sum == entry_sum(*key) { keys::decode(key) } else { None };
            entry.ok_or_else(|| self.damaged_entry(&format!("{key:02x?}")))
        })
    }

    fn scan_labels(
        &self,
        (first, last): (&[u8], &[u8]),
        range: &IndexRange,
        limit: usize,
    ) -> Result<Vec<IndexKey>, StoreError> {
        let stretch = (begin_of(first, range), Bound::Included(last));
        let stretch = self.table(TableId::Label)?.range::<&[u8]>(stretch).map_err(|error| failed(self.place, error))?;
        self.entries(stretch.take(limit), range, |key, sum| {
            let label = if **sum == entry_sum(key) { keys::decode_label(key) } else { None };
            label.ok_or_else(|| self.damaged(TableId::Label, &format!("{key:02x?}"), Damage::Checksum))
        })
    }
}

fn begin_of<T>(first: T, range: &IndexRange) -> Bound<T> {
    if range.after.is_some() { Bound::Excluded(first) } else { Bound::Included(first) }
}

impl<A: Access> Rows for Tables<'_, A> {
    fn get(&self, key: RowKey) -> Result<Option<Row>, StoreError> {
        Ok(match key {
            RowKey::Record(id) => self.record(id)?.map(Row::Record),
            RowKey::Spec(id) => self.work(id)?.map(|(_, spec)| Row::Spec(id, spec)),
            RowKey::Output(id) => self.output(id)?.map(|output| Row::Output(id, output)),
            RowKey::Notes(id) => self.row_at(key, &Address::notes(id), Notes::read)?.map(|notes| Row::Notes(id, notes)),
            RowKey::History(id) => {
                self.row_at(key, &Address::history(id), Vec::read)?.map(|history| Row::History(id, history))
            }
            RowKey::Lane(id) => match &self.kept {
                Some(kept) => kept.lanes.get(&id).cloned(),
                None => self.row_at(key, &Address::lane(id), |from| read_lane(id, from))?,
            }
            .map(Row::Lane),
            RowKey::Cascade(number) => {
                self.row_at(key, &Address::cascade(number), |from| read_cascade(number, from))?.map(Row::Cascade)
            }
            RowKey::Meta => self.row_at(key, &Address::meta(), Meta::read)?.map(Row::Meta),
        })
    }

    fn get_work(&self, id: WorkId) -> Result<Option<Work>, StoreError> {
        self.work(id)
    }

    fn get_listed(&self, key: &IndexKey) -> Result<Option<Work>, StoreError> {
        let Some((work, since)) = self.unchecked_work(key.id())? else { return Ok(None) };
        // An entry that lists the work where it stands is the one that would be looked for.
        if standing_key(&work.0) != *key {
            self.check_birth(&work.0, since)?;
        }
        Ok(Some(work))
    }

    fn scan(&self, range: &IndexRange, limit: usize) -> Result<Vec<IndexKey>, StoreError> {
        let first = keys::encode(range.after.as_ref().unwrap_or(&range.first));
        let last = keys::encode(&range.last);
        // redb must not be asked for a stretch that ends before it begins.
        if range.after.is_some() && first.bytes() >= last.bytes() {
            return Ok(Vec::new());
        }
        match (&first, &last) {
            (EntryKey::Entry(first), EntryKey::Entry(last)) => self.scan_entries((first, last), range, limit),
            (first, last) => self.scan_labels((first.bytes(), last.bytes()), range, limit),
        }
    }
}
