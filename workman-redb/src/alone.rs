//! Transactions that are no commits of works: what a store says about itself, and what its journal held.

use redb::{Database, WriteTransaction};
use workman_core::StoreError;

use crate::error::{failed, in_doubt};
use crate::tables::{Kept, WriteTables};

/// Writes what is no commit of works, in one transaction that is synced.
pub(crate) fn write_alone<T>(
    place: &str,
    database: &Database,
    write: impl FnOnce(&mut WriteTables<'_, '_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = database.begin_write().map_err(|error| failed(place, error))?;
    let written = write_in(place, &transaction, write)?;
    make_durable(place, transaction)?;
    Ok(written)
}

/// Commits with all that was committed before without durability. A process that was killed opens the file again in milliseconds,
/// whatever its size, and a damaged page in the newest commit is an error instead of a commit that never happened.
pub(crate) fn make_durable(place: &str, mut transaction: WriteTransaction) -> Result<(), StoreError> {
    transaction.set_quick_repair(true);
    transaction.commit().map_err(|error| in_doubt(place, error))
}

/// Lets readers see what is in the journal already. It is not synced.
pub(crate) fn commit_unsynced(place: &str, mut transaction: WriteTransaction) -> Result<(), StoreError> {
    transaction.set_durability(redb::Durability::None).map_err(|error| failed(place, error))?;
    transaction.commit().map_err(|error| failed(place, error))
}

/// As [`write_alone`], of what is in the journal already: it is not synced.
pub(crate) fn write_unsynced(
    place: &str,
    database: &Database,
    write: impl FnOnce(&mut WriteTables<'_, '_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let transaction = database.begin_write().map_err(|error| failed(place, error))?;
    write_in(place, &transaction, write)?;
    commit_unsynced(place, transaction)
}

fn write_in<T>(
    place: &str,
    transaction: &WriteTransaction,
    write: impl FnOnce(&mut WriteTables<'_, '_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut tables = WriteTables::open(place, transaction, Some(Kept::default()))?;
    let written = write(&mut tables)?;
    tables.flush()?;
    Ok(written)
}
