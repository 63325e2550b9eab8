//! [`Tables`]: the tables of one transaction as [`Rows`], for reading and for writing.
//!
//! Every row is checked when it is read, every index entry too. This module begins and ends no transaction.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use redb::{
    AccessGuard, Key, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, Value,
    WriteTransaction,
};
use workman_core::data::Payload;
use workman_core::id::WorkId;
use workman_core::record::{Lane, LaneId, Meta, Notes, Standing, WorkRecord, WorkSpec};
use workman_core::store::embedded::{Origin, Row, RowKey, Rows, RowsMut};
use workman_core::store::index::{IndexKey, IndexRange};
use workman_core::store::{StoreError, StoreErrorKind};

use crate::codec::{Body, CodecError, Format, Reader, Writer, read_cascade, read_lane, write_cascade, write_lane};
use crate::envelope::{self, Damage, Kind, entry_sum};
use crate::error::failed;
use crate::keys::{self, ENTRY, Key as EntryKey};
use crate::rows::{
    self, Address, COMMIT_KEY, ENTRY_NAME, FORMAT_KEY, NAMES, TableId, WORK_NAMES, WorkRows, WorkTableId,
};

/// What has many lengths.
type Bytes = &'static [u8];
/// The id of a work.
type Id = &'static [u8; 16];
type Entry = &'static [u8; ENTRY];
type Sum = &'static [u8; 4];

/// The kinds of tables of a transaction that reads, or of one that writes.
pub(crate) trait Access {
    type Bytes: ReadableTable<Bytes, Bytes>;
    type Works: ReadableTable<Id, Bytes>;
    type Entries: ReadableTable<Entry, Sum>;
}

/// Of a snapshot.
pub(crate) struct Reads;

impl Access for Reads {
    type Bytes = ReadOnlyTable<Bytes, Bytes>;
    type Works = ReadOnlyTable<Id, Bytes>;
    type Entries = ReadOnlyTable<Entry, Sum>;
}

/// Of a transaction that writes.
pub(crate) struct Writes<'t>(PhantomData<&'t ()>);

impl<'t> Access for Writes<'t> {
    type Bytes = Table<'t, Bytes, Bytes>;
    type Works = Table<'t, Id, Bytes>;
    type Entries = Table<'t, Entry, Sum>;
}

/// Tables that are read in a snapshot.
pub(crate) type SnapshotTables<'p> = Tables<'p, Reads>;
/// Tables that are written.
pub(crate) type WriteTables<'p, 't> = Tables<'p, Writes<'t>>;

/// What the writer keeps in memory from one commit to the next, because nobody else writes the file.
#[derive(Default)]
pub(crate) struct Kept {
    /// All lanes there are: a claim looks for its lane among all of them.
    lanes: BTreeMap<LaneId, Lane>,
    /// The records of claimed works: whoever claims one settles it.
    running: BTreeMap<WorkId, WorkRecord>,
    /// No work has a greater id. Ids grow, so a new work is known to be new without a look at the table.
    greatest: Option<WorkId>,
}

/// The tables of one transaction.
pub(crate) struct Tables<'p, A: Access> {
    /// The file, for messages.
    place: &'p str,
    tables: [A::Bytes; NAMES.len()],
    works: [A::Works; WORK_NAMES.len()],
    entries: A::Entries,
    kept: Option<Kept>,
    /// Where rows are put into their envelopes.
    row: Vec<u8>,
}

/// Opens every table by the same call, or answers the first error.
fn open_all<T, E, const N: usize>(
    names: [&'static str; N],
    mut open: impl FnMut(&'static str) -> Result<T, E>,
) -> Result<[T; N], E> {
    let mut failed = None;
    let tables = names.map(|name| match open(name) {
        Ok(table) => Some(table),
        Err(error) => {
            failed.get_or_insert(error);
            None
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(tables.map(|table| match table {
            Some(table) => table,
            None => unreachable!("a table that is not open left its error"),
        })),
    }
}

impl<'p> SnapshotTables<'p> {
    /// The tables as they are now.
    pub(crate) fn snapshot(place: &'p str, transaction: &ReadTransaction) -> Result<Self, TableError> {
        Ok(Tables {
            place,
            tables: open_all(NAMES, |name| transaction.open_table(TableDefinition::new(name)))?,
            works: open_all(WORK_NAMES, |name| transaction.open_table(TableDefinition::new(name)))?,
            entries: transaction.open_table(TableDefinition::new(ENTRY_NAME))?,
            kept: None,
            row: Vec::new(),
        })
    }
}

impl<'p, 't> WriteTables<'p, 't> {
    /// The tables for writing; those that are missing are made. `kept` is what the last commit knew.
    pub(crate) fn open(
        place: &'p str,
        transaction: &'t WriteTransaction,
        kept: Option<Kept>,
    ) -> Result<Self, StoreError> {
        let mut tables = Self::open_tables(place, transaction).map_err(|error| failed(place, error))?;
        let kept = match kept {
            Some(kept) => kept,
            None => Kept {
                lanes: tables.stored_lanes()?,
                running: BTreeMap::new(),
                greatest: tables.greatest_id().map_err(|error| failed(place, error))?,
            },
        };
        tables.kept = Some(kept);
        Ok(tables)
    }

    fn open_tables(place: &'p str, transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Tables {
            place,
            tables: open_all(NAMES, |name| transaction.open_table(TableDefinition::new(name)))?,
            works: open_all(WORK_NAMES, |name| transaction.open_table(TableDefinition::new(name)))?,
            entries: transaction.open_table(TableDefinition::new(ENTRY_NAME))?,
            kept: None,
            row: Vec::new(),
        })
    }

    /// Ends the writing, and keeps what the next can use.
    pub(crate) fn into_kept(self) -> Option<Kept> {
        self.kept
    }

    /// Writes the row that says what the file is.
    pub(crate) fn put_format(&mut self, format: Format) -> Result<(), StoreError> {
        self.put_sealed(TableId::Meta, FORMAT_KEY, |row| {
            envelope::seal(row, Kind::Format, FORMAT_KEY, 0, |to| format.write(to))
        })
    }

    /// Writes the number of this commit, so that a snapshot knows which commit it shows.
    pub(crate) fn put_commit(&mut self, commit: u64) -> Result<(), StoreError> {
        self.put_sealed(TableId::Meta, COMMIT_KEY, |row| {
            envelope::seal(row, Kind::Commit, COMMIT_KEY, 0, |to| {
                to.u64(commit);
                Ok(())
            })
        })
    }

    fn put_at(
        &mut self,
        at: &Address,
        body: impl FnOnce(&mut Writer) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        self.put_sealed(at.table, at.key(), |row| envelope::seal(row, at.kind, at.key(), 0, body))
    }

    fn put_sealed(
        &mut self,
        table: TableId,
        key: &[u8],
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        seal(&mut self.row).map_err(unstorable)?;
        self.tables[table as usize].insert(key, &*self.row).map_err(|error| failed(self.place, error))?;
        Ok(())
    }

    fn put_of_work(
        &mut self,
        table: WorkTableId,
        id: WorkId,
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        seal(&mut self.row).map_err(unstorable)?;
        let table = &mut self.works[table as usize];
        table.insert(&keys::bits(id), &*self.row).map_err(|error| failed(self.place, error))?;
        Ok(())
    }

    fn remove_of_work(&mut self, table: WorkTableId, id: WorkId) -> Result<(), StoreError> {
        let table = &mut self.works[table as usize];
        table.remove(&keys::bits(id)).map_err(|error| failed(self.place, error))?;
        Ok(())
    }

    fn remove_at(&mut self, at: &Address) -> Result<(), StoreError> {
        self.tables[at.table as usize].remove(at.key()).map_err(|error| failed(self.place, error))?;
        Ok(())
    }

    /// Of the records that were just written only those of claimed works are kept.
    fn keep_record(&mut self, id: WorkId, record: Option<WorkRecord>) {
        let Some(kept) = &mut self.kept else { return };
        match record.filter(|record| matches!(record.standing, Standing::Running { .. })) {
            Some(record) => drop(kept.running.insert(id, record)),
            None => drop(kept.running.remove(&id)),
        }
    }

    /// Takes over an output as it lay in a file of an older format, envelope and all.
    pub(crate) fn adopt_output(&mut self, id: WorkId, row: &[u8]) -> Result<(), StoreError> {
        let table = &mut self.works[WorkTableId::Output as usize];
        table.insert(&keys::bits(id), row).map_err(|error| failed(self.place, error))?;
        Ok(())
    }
}

fn unstorable(error: CodecError) -> StoreError {
    StoreError::new(StoreErrorKind::Rejected, error.to_string())
}

/// A row that can't be used, and what to do.
pub(crate) fn damaged(place: &str, table: &str, key: &str, damage: Damage) -> StoreError {
    let advice = match damage {
        Damage::Newer(_) => "use a newer version of the program",
        _ => "keep a copy of the file, and restore a backup; what does not need this row still works",
    };
    StoreError::new(
        StoreErrorKind::Corrupted,
        format!("the row {key} in table `{table}` of the store {place} can't be used: {damage}; {advice}"),
    )
}

impl<A: Access> Tables<'_, A> {
    /// The number of the newest commit.
    pub(crate) fn commit(&self) -> Result<u64, StoreError> {
        let row = self.table(TableId::Meta).get(COMMIT_KEY).map_err(|error| failed(self.place, error))?;
        let number = row.map(|row| envelope::open(Kind::Commit, COMMIT_KEY, row.value(), |_, from| from.u64()));
        let number = number.transpose();
        let number =
            number.map_err(|damage| self.damaged(TableId::Meta, &String::from_utf8_lossy(COMMIT_KEY), damage))?;
        Ok(number.unwrap_or(0))
    }

    fn stored_lanes(&self) -> Result<BTreeMap<LaneId, Lane>, StoreError> {
        let mut lanes = BTreeMap::new();
        let rows = self.table(TableId::Lane).iter().map_err(|error| failed(self.place, error))?;
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

    fn greatest_id(&self) -> Result<Option<WorkId>, redb::StorageError> {
        let last = self.works[WorkTableId::Work as usize].last()?;
        Ok(last.map(|(key, _)| WorkId::from_u128(u128::from_be_bytes(*key.value()))))
    }

    /// Whether it takes a look at the table to know that there is no such work.
    fn may_hold(&self, id: WorkId) -> bool {
        self.kept.as_ref().is_none_or(|kept| Some(id) <= kept.greatest)
    }

    fn table(&self, table: TableId) -> &A::Bytes {
        &self.tables[table as usize]
    }

    fn damaged(&self, table: TableId, key: &str, damage: Damage) -> StoreError {
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
        let row = self.table(at.table).get(at.key()).map_err(|error| failed(self.place, error))?;
        row.map(|row| self.open_row(key, at, row.value(), read)).transpose()
    }

    fn row_of_work(&self, table: WorkTableId, id: WorkId) -> Result<Option<AccessGuard<'_, Bytes>>, StoreError> {
        self.works[table as usize].get(&keys::bits(id)).map_err(|error| failed(self.place, error))
    }

    /// Looks at a work's rows, if it has any.
    fn look_at<T>(
        &self,
        id: WorkId,
        read: impl FnOnce(WorkRows<'_>) -> Result<T, (WorkTableId, Damage)>,
    ) -> Result<Option<T>, StoreError> {
        if !self.may_hold(id) {
            return Ok(None);
        }
        let Some(work) = self.row_of_work(WorkTableId::Work, id)? else { return Ok(None) };
        let state = self.row_of_work(WorkTableId::State, id)?;
        let rows = WorkRows { id, work: work.value(), state: state.as_ref().map(AccessGuard::value) };
        read(rows).map(Some).map_err(|(table, damage)| {
            damaged(self.place, WORK_NAMES[table as usize], &format!("{:?}", RowKey::Record(id)), damage)
        })
    }

    fn record(&self, id: WorkId) -> Result<Option<WorkRecord>, StoreError> {
        let running = self.kept.as_ref().and_then(|kept| kept.running.get(&id));
        running.map_or_else(|| self.look_at(id, |rows| rows.record()), |record| Ok(Some(record.clone())))
    }

    fn work(&self, id: WorkId) -> Result<Option<(WorkRecord, Arc<WorkSpec>)>, StoreError> {
        let lanes = self.kept.as_ref().map(|kept| &kept.lanes);
        let worker_of = |lane| lanes.and_then(|lanes| lanes.get(&lane)).map(|lane| &lane.worker);
        let work = self.look_at(id, |rows| rows.work(worker_of))?;
        Ok(work.map(|(record, spec)| (record, Arc::new(spec))))
    }

    fn output(&self, id: WorkId) -> Result<Option<Payload>, StoreError> {
        let output = self.row_of_work(WorkTableId::Output, id)?;
        let output = output.map(|row| rows::open_output(id, row.value())).transpose();
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
        let stretch = self.entries.range::<&[u8; ENTRY]>(stretch).map_err(|error| failed(self.place, error))?;
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
        let stretch = self.table(TableId::Label).range::<&[u8]>(stretch).map_err(|error| failed(self.place, error))?;
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

    fn get_work(&self, id: WorkId) -> Result<Option<(WorkRecord, Arc<WorkSpec>)>, StoreError> {
        self.work(id)
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

impl RowsMut for WriteTables<'_, '_> {
    fn put(&mut self, row: Row) -> Result<(), StoreError> {
        match row {
            Row::Record(record) => {
                self.put_of_work(WorkTableId::State, record.id, |row| rows::seal_state(row, &record))?;
                self.keep_record(record.id, Some(record));
                Ok(())
            }
            Row::Spec(id, spec) => {
                let record = self.record(id)?.ok_or_else(|| {
                    StoreError::new(
                        StoreErrorKind::Rejected,
                        format!("what work {id} was asked for comes with its record"),
                    )
                })?;
                self.put_work(record, spec, Origin::Stored)
            }
            Row::Output(id, output) => {
                self.put_of_work(WorkTableId::Output, id, |row| rows::seal_output(row, id, &output))
            }
            Row::Notes(id, notes) => self.put_at(&Address::notes(id), |to| notes.write(to)),
            Row::History(id, history) => self.put_at(&Address::history(id), |to| history.write(to)),
            Row::Lane(lane) => {
                self.put_at(&Address::lane(lane.id), |to| write_lane(&lane, to))?;
                self.kept.iter_mut().for_each(|kept| drop(kept.lanes.insert(lane.id, lane.clone())));
                Ok(())
            }
            Row::Cascade(cascade) => self.put_at(&Address::cascade(cascade.number), |to| write_cascade(&cascade, to)),
            Row::Meta(meta) => self.put_at(&Address::meta(), |to| meta.write(to)),
        }
    }

    fn put_work(&mut self, record: WorkRecord, spec: Arc<WorkSpec>, origin: Origin) -> Result<(), StoreError> {
        self.put_of_work(WorkTableId::Work, record.id, |row| rows::seal_work(row, &record, &spec))?;
        self.kept.iter_mut().for_each(|kept| kept.greatest = kept.greatest.max(Some(record.id)));
        match origin {
            Origin::New => Ok(()),
            // What has changed since its birth would hide what is written here.
            Origin::Stored => self.put(Row::Record(record)),
        }
    }

    fn remove(&mut self, key: RowKey) -> Result<(), StoreError> {
        match key {
            // Both go with the work's one row.
            RowKey::Record(id) => {
                self.keep_record(id, None);
                self.remove_of_work(WorkTableId::Work, id)?;
                self.remove_of_work(WorkTableId::State, id)
            }
            RowKey::Spec(_) => Ok(()),
            RowKey::Output(id) => self.remove_of_work(WorkTableId::Output, id),
            RowKey::Notes(id) => self.remove_at(&Address::notes(id)),
            RowKey::History(id) => self.remove_at(&Address::history(id)),
            RowKey::Lane(id) => {
                self.kept.iter_mut().for_each(|kept| drop(kept.lanes.remove(&id)));
                self.remove_at(&Address::lane(id))
            }
            RowKey::Cascade(number) => self.remove_at(&Address::cascade(number)),
            RowKey::Meta => self.remove_at(&Address::meta()),
        }
    }

    fn link(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        let key = keys::encode(key);
        let sum = entry_sum(key.bytes());
        match &key {
            EntryKey::Entry(entry) => self.entries.insert(entry, &sum).map(drop),
            EntryKey::Label(label) => self.tables[TableId::Label as usize].insert(&**label, &sum[..]).map(drop),
        }
        .map_err(|error| failed(self.place, error))
    }

    fn unlink(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        match &keys::encode(key) {
            EntryKey::Entry(entry) => self.entries.remove(entry).map(drop),
            EntryKey::Label(label) => self.tables[TableId::Label as usize].remove(&**label).map(drop),
        }
        .map_err(|error| failed(self.place, error))
    }
}
