//! Upgrades: the works of formats 1 and 2 move to the tables of today, within the commit that opens the file.
//!
//! There a work's record and what its request said lay in tables of their own, and all index entries in one.

use std::sync::Arc;

use redb::{ReadableTable, Table, TableDefinition, TableHandle, WriteTransaction};
use workman_core::id::WorkId;
use workman_core::record::{WorkRecord, WorkSpec};
use workman_core::store::embedded::{Origin, RowsMut};
use workman_core::store::{StoreError, StoreErrorKind};

use crate::codec::{CodecError, Reader, read_record_of_format_2, read_spec};
use crate::envelope::{self, Damage, Kind, entry_sum};
use crate::error::failed;
use crate::keys;
use crate::tables::{WriteTables, damaged};

type Bytes = &'static [u8];
type Definition = TableDefinition<'static, Bytes, Bytes>;

const RECORD: Definition = TableDefinition::new("record");
const SPEC: Definition = TableDefinition::new("spec");
const OUTPUT: Definition = TableDefinition::new("output");
const INDEX: Definition = TableDefinition::new("index");

/// Moves everything out of the tables that are no more.
///
/// # Errors
/// When a row can't be read; the transaction must then be given up.
pub(crate) fn move_works(
    place: &str,
    transaction: &WriteTransaction,
    tables: &mut WriteTables<'_, '_>,
) -> Result<(), StoreError> {
    let old = Old { place, transaction };
    old.move_records(tables)?;
    old.each(OUTPUT, |key, row| tables.adopt_output(old.id(OUTPUT, key)?, row))?;
    old.each(INDEX, |key, sum| {
        let entry = if *sum == entry_sum(key) { keys::decode_of_format_2(key) } else { None };
        tables.link(&entry.ok_or_else(|| old.damaged(INDEX, &format!("{key:02x?}"), Damage::Checksum))?)
    })?;
    for table in [RECORD, SPEC, OUTPUT, INDEX] {
        transaction.delete_table(table).map_err(|error| failed(place, error))?;
    }
    Ok(())
}

/// The file as an older build left it.
#[derive(Clone, Copy)]
struct Old<'a> {
    place: &'a str,
    transaction: &'a WriteTransaction,
}

impl<'a> Old<'a> {
    fn move_records(self, tables: &mut WriteTables<'_, '_>) -> Result<(), StoreError> {
        let specs = self.open(SPEC)?;
        self.each(RECORD, |key, row| {
            let id = self.id(RECORD, key)?;
            let record = self.record(id, key, row)?;
            let spec = specs.get(key).map_err(|error| failed(self.place, error))?;
            let spec = spec.ok_or_else(|| self.damaged(SPEC, &id.to_string(), Damage::Checksum))?;
            let spec = self.spec(id, key, spec.value())?;
            tables.put_work(record, Arc::new(spec), Origin::New)
        })
    }

    fn record(self, id: WorkId, key: &[u8], row: &[u8]) -> Result<WorkRecord, StoreError> {
        self.row(RECORD, Kind::Record, id, key, row, |_, from| read_record_of_format_2(id, from))
    }

    fn spec(self, id: WorkId, key: &[u8], row: &[u8]) -> Result<WorkSpec, StoreError> {
        self.row(SPEC, Kind::Spec, id, key, row, |codec, from| read_spec(codec, None, from))
    }

    fn row<T>(
        self,
        table: Definition,
        kind: Kind,
        id: WorkId,
        key: &[u8],
        row: &[u8],
        read: impl FnOnce(u8, &mut Reader<'_>) -> Result<T, CodecError>,
    ) -> Result<T, StoreError> {
        envelope::open(kind, key, row, read).map_err(|damage| self.damaged(table, &id.to_string(), damage))
    }

    fn id(self, table: Definition, key: &[u8]) -> Result<WorkId, StoreError> {
        let bits = key.try_into().map(u128::from_be_bytes);
        bits.map(WorkId::from_u128)
            .map_err(|_| self.damaged(table, &format!("{key:02x?}"), Damage::Body(CodecError::Short)))
    }

    fn open(self, table: Definition) -> Result<Table<'a, Bytes, Bytes>, StoreError> {
        self.transaction.open_table(table).map_err(|error| failed(self.place, error))
    }

    fn each(
        self,
        table: Definition,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let rows = self.open(table)?;
        for row in rows.iter().map_err(|error| failed(self.place, error))? {
            let (key, value) = row.map_err(|error| failed(self.place, error))?;
            take(key.value(), value.value())?;
        }
        Ok(())
    }

    fn damaged(self, table: Definition, key: &str, damage: Damage) -> StoreError {
        let error = damaged(self.place, table.name(), key, damage);
        StoreError::new(StoreErrorKind::Corrupted, format!("the file can't be brought to the format of today: {error}"))
    }
}
