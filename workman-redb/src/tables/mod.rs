//! [`Tables`]: the tables of one transaction as [`Rows`], for reading and for writing.
//!
//! Every row is checked when it is read, every index entry too. This module begins and ends no transaction.

mod flush;
mod pending;
mod read;
mod replay;
mod whole;
mod write;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use workman_core::store::{Lane, LaneId, Tally, WorkRecord};
use workman_core::{StoreError, StoreErrorKind, WorkId, store};

use crate::envelope::Damage;
use crate::error::failed;
use crate::journal::{Place, RowLog};
use crate::keys::ENTRY;
use crate::rows::{ENTRY_NAME, NAMES, TableId, WORK_NAMES, WorkTableId};

use pending::Pending;
pub(crate) use whole::Copied;

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

    fn open_bytes(&self, name: &str) -> Result<Self::Bytes, TableError>;
    fn open_works(&self, name: &str) -> Result<Self::Works, TableError>;
    fn open_entries(&self, name: &str) -> Result<Self::Entries, TableError>;
}

/// A snapshot.
pub(crate) struct Reads<'t>(&'t ReadTransaction);

impl Access for Reads<'_> {
    type Bytes = ReadOnlyTable<Bytes, Bytes>;
    type Works = ReadOnlyTable<Id, Bytes>;
    type Entries = ReadOnlyTable<Entry, Sum>;

    fn open_bytes(&self, name: &str) -> Result<Self::Bytes, TableError> {
        self.0.open_table(TableDefinition::new(name))
    }

    fn open_works(&self, name: &str) -> Result<Self::Works, TableError> {
        self.0.open_table(TableDefinition::new(name))
    }

    fn open_entries(&self, name: &str) -> Result<Self::Entries, TableError> {
        self.0.open_table(TableDefinition::new(name))
    }
}

/// A transaction that writes. A table that is missing is made when it is opened.
pub(crate) struct Writes<'t>(&'t WriteTransaction);

impl<'t> Access for Writes<'t> {
    type Bytes = Table<'t, Bytes, Bytes>;
    type Works = Table<'t, Id, Bytes>;
    type Entries = Table<'t, Entry, Sum>;

    fn open_bytes(&self, name: &str) -> Result<Self::Bytes, TableError> {
        self.0.open_table(TableDefinition::new(name))
    }

    fn open_works(&self, name: &str) -> Result<Self::Works, TableError> {
        self.0.open_table(TableDefinition::new(name))
    }

    fn open_entries(&self, name: &str) -> Result<Self::Entries, TableError> {
        self.0.open_table(TableDefinition::new(name))
    }
}

/// Tables that are read in a snapshot.
pub(crate) type SnapshotTables<'p, 't> = Tables<'p, Reads<'t>>;
/// Tables that are written.
pub(crate) type WriteTables<'p, 't> = Tables<'p, Writes<'t>>;

/// What the writer keeps in memory from one commit to the next, because nobody else writes the file.
#[derive(Default)]
pub(crate) struct Kept {
    /// All lanes there are: a claim looks for its lane among all of them.
    lanes: BTreeMap<LaneId, Lane>,
    /// The records of claimed works: whoever claims one settles it.
    running: BTreeMap<WorkId, WorkRecord>,
    /// The tallies that were written: each commit counts on from that of its lane.
    tallies: BTreeMap<LaneId, Tally>,
    known: Known,
}

/// Which ids are taken, above some id: ids grow, so a new work is known to be new without a look at a table, and without asking
/// who else may know of it.
#[derive(Default)]
struct Known {
    /// Of the ids up to this one nothing is known.
    up_to: Option<WorkId>,
    /// Those above that were ever written, in order.
    taken: Vec<WorkId>,
}

/// So many ids are known at the most.
const MOST_KNOWN: usize = 8_192;

impl Known {
    fn up_to(id: Option<WorkId>) -> Self {
        Known { up_to: id, taken: Vec::new() }
    }

    /// Whether there is certainly no work of this id.
    fn is_free(&self, id: WorkId) -> bool {
        Some(id) > self.up_to
            && self.taken.last().is_none_or(|last| id > *last || self.taken.binary_search(&id).is_err())
    }

    fn take(&mut self, id: WorkId) {
        if Some(id) <= self.up_to {
            return;
        }
        match self.taken.last() {
            Some(last) if id <= *last => {
                let Err(place) = self.taken.binary_search(&id) else { return };
                self.taken.insert(place, id);
            }
            _ => self.taken.push(id),
        }
        if self.taken.len() > MOST_KNOWN {
            self.up_to = self.taken.drain(..MOST_KNOWN / 2).next_back();
        }
    }
}

/// The tables of one transaction. Each is opened when it is first used, since opening one costs as much as several rows.
pub(crate) struct Tables<'p, A: Access> {
    /// The file, for messages.
    place: &'p str,
    access: A,
    tables: [OnceCell<A::Bytes>; NAMES.len()],
    works: [OnceCell<A::Works>; WORK_NAMES.len()],
    entries: OnceCell<A::Entries>,
    kept: Option<Kept>,
    /// What was written and is not in the tables yet.
    pending: Pending,
    /// What was found damaged and did not stop the writing.
    damage: Vec<store::Damage>,
    /// Whether anything was written to the tables themselves.
    is_written: bool,
    /// Where the writes are noted for the journal, if anybody wants that.
    log: Option<RowLog>,
}

impl<'p, 't> SnapshotTables<'p, 't> {
    /// The tables as they are now.
    pub(crate) fn snapshot(place: &'p str, transaction: &'t ReadTransaction) -> Self {
        Tables::of(place, Reads(transaction))
    }
}

impl<'p, 't> WriteTables<'p, 't> {
    /// The tables for writing. `kept` is what the last commit knew.
    pub(crate) fn open(
        place: &'p str,
        transaction: &'t WriteTransaction,
        kept: Option<Kept>,
    ) -> Result<Self, StoreError> {
        let mut tables = Tables::of(place, Writes(transaction));
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let lanes = tables.stored_lanes()?;
                let known = Known::up_to(tables.greatest_id(&lanes)?);
                Kept { lanes, known, ..Kept::default() }
            }
        };
        tables.kept = Some(kept);
        Ok(tables)
    }

    /// Notes each row write from now on.
    pub(crate) fn begin_log(&mut self, log: RowLog) {
        self.log = Some(log);
    }

    /// What was written since [`begin_log`](Self::begin_log).
    pub(crate) fn end_log(&mut self) -> Option<RowLog> {
        self.log.take()
    }

    fn log_put(&mut self, place: Place, key: &[u8], row: &[u8]) {
        self.log.iter_mut().for_each(|log| log.put(place, key, row));
    }

    fn log_removal(&mut self, place: Place, key: &[u8]) {
        self.log.iter_mut().for_each(|log| log.remove(place, key));
    }

    /// Makes the tables that are missing, so that every snapshot finds all of them.
    pub(crate) fn make_all(&self) -> Result<(), StoreError> {
        TableId::ALL.iter().try_for_each(|table| self.table(*table).map(drop))?;
        WorkTableId::ALL.iter().try_for_each(|table| self.work_table(*table).map(drop))?;
        self.entry_table().map(drop)
    }

    /// What was found damaged since this was asked last.
    pub(crate) fn take_damage(&mut self) -> Vec<store::Damage> {
        std::mem::take(&mut self.damage)
    }

    /// Whether anything of what was put or taken away is in the tables already. What only waits is forgotten with these.
    pub(crate) fn is_written(&self) -> bool {
        self.is_written
    }

    /// Ends the writing, and keeps what the next can use.
    pub(crate) fn into_kept(self) -> Option<Kept> {
        self.kept
    }
}

impl<'p, A: Access> Tables<'p, A> {
    fn of(place: &'p str, access: A) -> Self {
        Tables {
            place,
            access,
            tables: Default::default(),
            works: Default::default(),
            entries: OnceCell::new(),
            kept: None,
            pending: Pending::default(),
            damage: Vec::new(),
            is_written: false,
            log: None,
        }
    }

    fn table(&self, table: TableId) -> Result<&A::Bytes, StoreError> {
        let open = || self.access.open_bytes(NAMES[table as usize]);
        opened(&self.tables[table as usize], open).map_err(|error| failed(self.place, error))
    }

    fn work_table(&self, table: WorkTableId) -> Result<&A::Works, StoreError> {
        let open = || self.access.open_works(WORK_NAMES[table as usize]);
        opened(&self.works[table as usize], open).map_err(|error| failed(self.place, error))
    }

    fn entry_table(&self) -> Result<&A::Entries, StoreError> {
        opened(&self.entries, || self.access.open_entries(ENTRY_NAME)).map_err(|error| failed(self.place, error))
    }
}

fn opened<T>(cell: &OnceCell<T>, open: impl FnOnce() -> Result<T, TableError>) -> Result<&T, TableError> {
    match cell.get() {
        Some(table) => Ok(table),
        None => {
            let table = open()?;
            Ok(cell.get_or_init(|| table))
        }
    }
}

fn opened_mut<T>(cell: &mut OnceCell<T>, open: impl FnOnce() -> Result<T, TableError>) -> Result<&mut T, TableError> {
    opened(cell, open)?;
    match cell.get_mut() {
        Some(table) => Ok(table),
        None => unreachable!("it was opened right before"),
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
