//! [`Tables`]: the tables of one transaction as [`Rows`], for reading and for writing.
//!
//! Every row is checked when it is read, every index entry too. This module begins and ends no transaction.

mod read;
mod write;

use std::collections::BTreeMap;
use std::marker::PhantomData;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use workman_core::id::WorkId;
use workman_core::record::{Lane, LaneId, WorkRecord};
use workman_core::store::{StoreError, StoreErrorKind};

use crate::envelope::Damage;
use crate::error::failed;
use crate::keys::ENTRY;
use crate::rows::{ENTRY_NAME, NAMES, WORK_NAMES};

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
