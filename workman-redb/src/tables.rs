//! [`Tables`]: the tables of one transaction as [`Rows`], for reading and for writing.
//!
//! Every row is checked when it is read, every index entry too. This module begins and ends no transaction.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use workman_core::record::{Lane, LaneId};
use workman_core::store::embedded::{Row, RowKey, Rows, RowsMut};
use workman_core::store::index::{IndexKey, IndexRange};
use workman_core::store::{StoreError, StoreErrorKind};

use crate::codec::{Body, CodecError, Format};
use crate::envelope::{self, Damage, Kind, entry_sum};
use crate::error::failed;
use crate::keys;
use crate::rows::{self, Address, COMMIT_KEY, FORMAT_KEY, NAMES, TableId};

type Bytes = &'static [u8];

/// Tables that are read in a snapshot.
pub(crate) type SnapshotTables<'p> = Tables<'p, ReadOnlyTable<Bytes, Bytes>>;
/// Tables that are written.
pub(crate) type WriteTables<'p, 't> = Tables<'p, Table<'t, Bytes, Bytes>>;

/// All lanes there are. A claim looks for its lane among all of them, so the writer keeps them in memory.
pub(crate) type Lanes = BTreeMap<LaneId, Lane>;

/// The tables of one transaction.
pub(crate) struct Tables<'p, T> {
    /// The file, for messages.
    place: &'p str,
    tables: [T; NAMES.len()],
    lanes: Option<Lanes>,
}

fn definition(name: &str) -> TableDefinition<'_, Bytes, Bytes> {
    TableDefinition::new(name)
}

/// Opens every table by the same call, or answers the first error.
fn open_all<T, E>(mut open: impl FnMut(&'static str) -> Result<T, E>) -> Result<[T; NAMES.len()], E> {
    let mut failed = None;
    let tables = NAMES.map(|name| match open(name) {
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
    pub(crate) fn snapshot(place: &'p str, transaction: &ReadTransaction) -> Result<Self, redb::TableError> {
        let tables = open_all(|name| transaction.open_table(definition(name)))?;
        Ok(Tables { place, tables, lanes: None })
    }
}

impl<'p, 't> WriteTables<'p, 't> {
    /// The tables for writing; those that are missing are made. `lanes` are all lanes if they are known already.
    pub(crate) fn open(
        place: &'p str,
        transaction: &'t WriteTransaction,
        lanes: Option<Lanes>,
    ) -> Result<Self, StoreError> {
        let tables = open_all(|name| transaction.open_table(definition(name)));
        let mut tables = Tables { place, tables: tables.map_err(|error| failed(place, error))?, lanes: None };
        let lanes = lanes.map_or_else(|| tables.stored_lanes(), Ok)?;
        tables.lanes = Some(lanes);
        Ok(tables)
    }

    /// Ends the writing, and keeps the lanes for the next.
    pub(crate) fn into_lanes(self) -> Option<Lanes> {
        self.lanes
    }

    /// Writes the row that says what the file is.
    pub(crate) fn put_format(&mut self, format: Format) -> Result<(), StoreError> {
        let row = envelope::seal(Kind::Format, FORMAT_KEY, 0, |to| format.write(to));
        self.put_bytes(TableId::Meta, FORMAT_KEY, row)
    }

    /// Writes the number of this commit, so that a snapshot knows which commit it shows.
    pub(crate) fn put_commit(&mut self, commit: u64) -> Result<(), StoreError> {
        let row = envelope::seal(Kind::Commit, COMMIT_KEY, 0, |to| {
            to.u64(commit);
            Ok(())
        });
        self.put_bytes(TableId::Meta, COMMIT_KEY, row)
    }

    fn put_bytes(&mut self, table: TableId, key: &[u8], row: Result<Vec<u8>, CodecError>) -> Result<(), StoreError> {
        let row = row.map_err(|error| StoreError::new(StoreErrorKind::Rejected, error.to_string()))?;
        self.tables[table as usize].insert(key, &*row).map_err(|error| failed(self.place, error))?;
        Ok(())
    }
}

impl<T: ReadableTable<Bytes, Bytes>> Tables<'_, T> {
    /// The number of the newest commit.
    pub(crate) fn commit(&self) -> Result<u64, StoreError> {
        Ok(self.meta_row(Kind::Commit, COMMIT_KEY, |from| from.u64())?.unwrap_or(0))
    }

    fn meta_row<V>(
        &self,
        kind: Kind,
        key: &[u8],
        read: impl FnOnce(&mut crate::codec::Reader<'_>) -> Result<V, CodecError>,
    ) -> Result<Option<V>, StoreError> {
        let row = self.table(TableId::Meta).get(key).map_err(|error| failed(self.place, error))?;
        row.map(|row| envelope::open(kind, key, row.value(), |_, from| read(from)))
            .transpose()
            .map_err(|damage| self.damaged(TableId::Meta, &String::from_utf8_lossy(key), damage))
    }

    fn stored_lanes(&self) -> Result<Lanes, StoreError> {
        let mut lanes = Lanes::new();
        let rows = self.table(TableId::Lane).iter().map_err(|error| failed(self.place, error))?;
        for row in rows {
            let (key, value) = row.map_err(|error| failed(self.place, error))?;
            let id = key.value().try_into().map(u32::from_be_bytes).map(LaneId);
            let id = id.map_err(|_| self.damaged(TableId::Lane, "of no number", Damage::Checksum))?;
            if let Row::Lane(lane) = self.decode(RowKey::Lane(id), value.value())? {
                lanes.insert(id, lane);
            }
        }
        Ok(lanes)
    }

    fn table(&self, table: TableId) -> &T {
        &self.tables[table as usize]
    }

    fn decode(&self, key: RowKey, bytes: &[u8]) -> Result<Row, StoreError> {
        let at = Address::of(key);
        rows::decode(key, &at, bytes).map_err(|damage| self.damaged(at.table, &format!("{key:?}"), damage))
    }

    fn damaged(&self, table: TableId, key: &str, damage: Damage) -> StoreError {
        let (place, table) = (self.place, NAMES[table as usize]);
        let advice = match damage {
            Damage::Newer(_) => "use a newer version of the program",
            _ => "keep a copy of the file, and restore a backup; what does not need this row still works",
        };
        StoreError::new(
            StoreErrorKind::Corrupted,
            format!("the row {key} in table `{table}` of the store {place} can't be used: {damage}; {advice}"),
        )
    }

    /// Checks an entry: its checksum, its form, and that it lies behind the one before it.
    fn entry(&self, key: &[u8], sum: &[u8], before: Option<&IndexKey>) -> Result<IndexKey, StoreError> {
        let entry = if sum == entry_sum(key) { keys::decode(key) } else { None };
        match entry {
            Some(entry) if before.is_none_or(|before| *before < entry) => Ok(entry),
            _ => Err(self.damaged(TableId::Index, &format!("{key:02x?}"), Damage::Checksum)),
        }
    }
}

impl<T: ReadableTable<Bytes, Bytes>> Rows for Tables<'_, T> {
    fn get(&self, key: RowKey) -> Result<Option<Row>, StoreError> {
        if let (RowKey::Lane(id), Some(lanes)) = (key, &self.lanes) {
            return Ok(lanes.get(&id).cloned().map(Row::Lane));
        }
        let at = Address::of(key);
        let row = self.table(at.table).get(at.key()).map_err(|error| failed(self.place, error))?;
        row.map(|row| self.decode(key, row.value())).transpose()
    }

    fn scan(&self, range: &IndexRange, limit: usize) -> Result<Vec<IndexKey>, StoreError> {
        let last = keys::encode(&range.last);
        let first = keys::encode(range.after.as_ref().unwrap_or(&range.first));
        // redb must not be asked for a stretch that ends before it begins.
        let first = match &range.after {
            Some(_) if first >= last => return Ok(Vec::new()),
            Some(_) => Bound::Excluded(&first[..]),
            None => Bound::Included(&first[..]),
        };
        let stretch = self.table(TableId::Index).range::<&[u8]>((first, Bound::Included(&last[..])));
        let mut entries: Vec<IndexKey> = Vec::new();
        for row in stretch.map_err(|error| failed(self.place, error))?.take(limit) {
            let (key, sum) = row.map_err(|error| failed(self.place, error))?;
            let entry = self.entry(key.value(), sum.value(), entries.last())?;
            if entry > range.last || range.after.as_ref().map_or(entry < range.first, |after| entry <= *after) {
                return Err(self.damaged(TableId::Index, &format!("{entry:?}"), Damage::Checksum));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl RowsMut for WriteTables<'_, '_> {
    fn put(&mut self, row: Row) -> Result<(), StoreError> {
        let at = Address::of(row.key());
        self.put_bytes(at.table, at.key(), rows::encode(&row, &at))?;
        if let (Row::Lane(lane), Some(lanes)) = (row, &mut self.lanes) {
            lanes.insert(lane.id, lane);
        }
        Ok(())
    }

    fn remove(&mut self, key: RowKey) -> Result<(), StoreError> {
        let at = Address::of(key);
        self.tables[at.table as usize].remove(at.key()).map_err(|error| failed(self.place, error))?;
        if let (RowKey::Lane(id), Some(lanes)) = (key, &mut self.lanes) {
            lanes.remove(&id);
        }
        Ok(())
    }

    fn link(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        let key = keys::encode(key);
        let sum = entry_sum(&key);
        let index = &mut self.tables[TableId::Index as usize];
        index.insert(&*key, &sum[..]).map_err(|error| failed(self.place, error))?;
        Ok(())
    }

    fn unlink(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        let index = &mut self.tables[TableId::Index as usize];
        index.remove(&*keys::encode(key)).map_err(|error| failed(self.place, error))?;
        Ok(())
    }
}
