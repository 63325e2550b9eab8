//! [`Papers`]: what a store says about itself.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition, TableError};
use workman_core::WorkId;

use crate::alone::write_alone;
use crate::codec::{Body, Format, JournalRow, Opening, Salt, Usage};
use crate::envelope::{self, Damage, Kind};
use crate::error::OpenError;
use crate::rows::{COMMIT_KEY, FORMAT_KEY, JOURNAL_KEY, NAMES, OPENING_KEY, TableId};

/// The version of the file format that this build writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// What a store says that it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Papers {
    pub(crate) format: Format,
    pub(crate) opening: Opening,
    /// The number of its newest commit.
    pub(crate) commit: u64,
    pub(crate) journal: JournalRow,
}

impl Papers {
    /// What a database says that it is; `None` if it is empty.
    pub(crate) fn read(path: &Path, database: &Database) -> Result<Option<Self>, OpenError> {
        let redb = |error: redb::Error| OpenError::redb(path, error);
        let meta: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(NAMES[TableId::Meta as usize]);
        let transaction = database.begin_read().map_err(|error| redb(error.into()))?;
        let table = match transaction.open_table(meta) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_))
                if transaction.list_tables().map_err(|error| redb(error.into()))?.next().is_none() =>
            {
                return Ok(None);
            }
            Err(TableError::Storage(error)) => return Err(redb(error.into())),
            Err(_) => return Err(OpenError::not_a_store(path, "it is a redb file of another program")),
        };
        let Some(row) = table.get(FORMAT_KEY).map_err(|error| redb(error.into()))? else {
            return Err(OpenError::not_a_store(path, "it is a redb file of another program"));
        };
        let damaged = |key: &[u8], damage: Damage| {
            let why = format!("its row `{}`: {damage}", String::from_utf8_lossy(key));
            OpenError::Corrupted { path: path.to_owned(), why }
        };
        let newer = |found| OpenError::NewerFormat { path: path.to_owned(), found, supported: FORMAT };
        let format = match envelope::open(Kind::Format, FORMAT_KEY, row.value(), |_, from| Format::read(from)) {
            Ok(format) if format.version <= FORMAT => format,
            Ok(format) => return Err(newer(format.version)),
            Err(Damage::Newer(_)) => return Err(newer(FORMAT + 1)),
            Err(damage) => return Err(damaged(FORMAT_KEY, damage)),
        };
        let opening = table.get(OPENING_KEY).map_err(|error| redb(error.into()))?;
        let opening = opening.map_or(Err(Damage::Missing), |row| {
            envelope::open(Kind::Opening, OPENING_KEY, row.value(), |_, from| Opening::read(from))
        });
        let commit = table.get(COMMIT_KEY).map_err(|error| redb(error.into()))?;
        let commit =
            commit.map_or(Ok(0), |row| envelope::open(Kind::Commit, COMMIT_KEY, row.value(), |_, from| from.u64()));
        let journal = table.get(JOURNAL_KEY).map_err(|error| redb(error.into()))?;
        let journal = journal.map_or(Err(Damage::Missing), |row| {
            envelope::open(Kind::Journal, JOURNAL_KEY, row.value(), |_, from| JournalRow::read(from))
        });
        Ok(Some(Papers {
            format,
            opening: opening.map_err(|damage| damaged(OPENING_KEY, damage))?,
            commit: commit.map_err(|damage| damaged(COMMIT_KEY, damage))?,
            journal: journal.map_err(|damage| damaged(JOURNAL_KEY, damage))?,
        }))
    }

    /// Makes the tables of an empty database, and says what it is.
    pub(crate) fn begin(path: &Path, database: &Database) -> Result<Self, OpenError> {
        let format = Format { version: FORMAT, instance: WorkId::generate() };
        let opening = Opening { incarnation: 0, id: WorkId::generate() };
        let journal = JournalRow { usage: Usage::Idle, salt: Salt::generate() };
        let made = write_alone(&path.display().to_string(), database, |tables| {
            tables.make_all()?;
            tables.put_format(format)?;
            tables.put_opening(opening)?;
            tables.put_journal(journal)
        });
        made.map_err(|error| OpenError::beginning(path, error))?;
        Ok(Papers { format, opening, commit: 0, journal })
    }
}
