//! How what waits ([`Pending`](super::pending::Pending)) gets into its tables: sorted, in runs.

use std::borrow::Borrow;
use std::ops::{Bound, Range};

use redb::{CursorError, Key, StorageError, Table, Value};
use workman_core::store::{Damage, IfMissing, IndexKey};
use workman_core::{StoreError, StoreErrorKind};

use super::pending::{Edit, in_order};
use super::{Access, WriteTables, opened_mut};
use crate::error::failed;
use crate::journal::Place;
use crate::keys;
use crate::rows::{ENTRY_NAME, NAMES, TableId, WORK_NAMES, WorkTableId};

/// Fewer neighbours than this are put down one by one.
const SHORTEST_RUN: usize = 4;

impl<'t> WriteTables<'_, 't> {
    /// Puts everything that waits into its table.
    ///
    /// # Errors
    /// When it can't be written; the transaction must then be given up.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        for table in WorkTableId::ALL {
            self.flush_works(table)?;
        }
        self.pending.bytes.clear();
        self.flush_index()
    }

    pub(super) fn flush_if_much(&mut self) -> Result<(), StoreError> {
        if self.pending.is_much() { self.flush() } else { Ok(()) }
    }

    /// Puts the index entries that wait into their tables, so that they are found by a scan.
    pub(super) fn flush_index(&mut self) -> Result<(), StoreError> {
        let place = self.place;
        let entries = in_order(std::mem::take(&mut self.pending.entries));
        if !entries.is_empty() {
            self.log_entries(Place::Entries, entries.iter().map(|(key, change)| (&key[..], change)));
            let changes = entries.iter().map(|(key, change)| (key, link_of(change)));
            let missing = change_all(self.entry_table_mut()?, changes).map_err(|error| failed(place, error))?;
            let missing = missing.into_iter().map(|key| (keys::decode(key), change_of(&entries, key)));
            self.damage.extend(damage_of(missing)?);
        }
        let labels = in_order(std::mem::take(&mut self.pending.labels));
        if !labels.is_empty() {
            self.log_entries(Place::Bytes(TableId::Label), labels.iter().map(|(key, change)| (&**key, change)));
            let changes = labels.iter().map(|(key, change)| (&**key, link_of(change).map(|sum| &sum[..])));
            let missing = change_all(self.table_mut(TableId::Label)?, changes).map_err(|error| failed(place, error))?;
            let missing = missing.into_iter().map(|key| (keys::decode_label(key), change_of(&labels, key)));
            self.damage.extend(damage_of(missing)?);
        }
        Ok(())
    }

    fn flush_works(&mut self, table: WorkTableId) -> Result<(), StoreError> {
        let (place, rows) = (self.place, std::mem::take(&mut self.pending.works[table as usize]));
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<([u8; 16], Option<Range<usize>>)> =
            rows.into_iter().map(|(id, row)| (keys::bits(id), row)).collect();
        if let Some(log) = &mut self.log {
            for (key, row) in &rows {
                match row {
                    Some(row) => log.put(Place::Works(table), key, &self.pending.bytes[row.clone()]),
                    None => log.remove(Place::Works(table), key),
                }
            }
        }
        self.is_written = true;
        let open = || self.access.open_works(WORK_NAMES[table as usize]);
        let table = opened_mut(&mut self.works[table as usize], open).map_err(|error| failed(place, error))?;
        let bytes = &self.pending.bytes;
        let rows = rows.iter().map(|(key, row)| (key, row.clone().map(|range| &bytes[range])));
        // A row beside a record may be missing: whoever reads it is told.
        change_all(table, rows).map(drop).map_err(|error| failed(place, error))
    }

    fn log_entries<'k>(&mut self, place: Place, changes: impl Iterator<Item = (&'k [u8], &'k Edit)>) {
        let Some(log) = &mut self.log else { return };
        for (key, change) in changes {
            match change {
                Edit::Link(_) => log.put(place, key, &[]),
                Edit::Unlink(_) => log.remove(place, key),
            }
        }
    }

    pub(super) fn work_table_mut(
        &mut self,
        table: WorkTableId,
    ) -> Result<&mut <super::Writes<'t> as Access>::Works, StoreError> {
        self.is_written = true;
        let open = || self.access.open_works(WORK_NAMES[table as usize]);
        opened_mut(&mut self.works[table as usize], open).map_err(|error| failed(self.place, error))
    }

    pub(super) fn entry_table_mut(&mut self) -> Result<&mut <super::Writes<'t> as Access>::Entries, StoreError> {
        self.is_written = true;
        let open = || self.access.open_entries(ENTRY_NAME);
        opened_mut(&mut self.entries, open).map_err(|error| failed(self.place, error))
    }

    pub(super) fn table_mut(
        &mut self,
        table: TableId,
    ) -> Result<&mut <super::Writes<'t> as Access>::Bytes, StoreError> {
        self.is_written = true;
        let open = || self.access.open_bytes(NAMES[table as usize]);
        opened_mut(&mut self.tables[table as usize], open).map_err(|error| failed(self.place, error))
    }
}

fn link_of(change: &Edit) -> Option<&[u8; 4]> {
    match change {
        Edit::Link(sum) => Some(sum),
        Edit::Unlink(_) => None,
    }
}

/// What was to become of a key that is among these.
fn change_of<K: Borrow<Q>, Q: Ord + ?Sized>(changes: &[(K, Edit)], key: &Q) -> Option<Edit> {
    let at = changes.binary_search_by(|(other, _)| other.borrow().cmp(key));
    at.ok().map(|at| changes[at].1)
}

/// Entries that were to go and were not there, as the one who took them away wants it.
fn damage_of(missing: impl Iterator<Item = (Option<IndexKey>, Option<Edit>)>) -> Result<Vec<Damage>, StoreError> {
    let mut damage = Vec::new();
    for (key, change) in missing {
        let (Some(key), Some(Edit::Unlink(if_missing))) = (key, change) else { continue };
        match if_missing {
            IfMissing::Refuse => {
                return Err(StoreError::new(StoreErrorKind::Corrupted, Damage::missing(&key).what));
            }
            IfMissing::Tell => damage.push(Damage::missing(&key)),
            IfMissing::Ignore => {}
        }
    }
    Ok(damage)
}

/// Writes rows and takes rows away, in the order of their keys. Answers those that were to go and were not there.
pub(super) fn change_all<'a, K, V>(
    table: &mut Table<'_, K, V>,
    changes: impl Iterator<Item = (K::SelfType<'a>, Option<V::SelfType<'a>>)>,
) -> Result<Vec<K::SelfType<'a>>, StorageError>
where
    K: Key + 'static,
    V: Value + 'static,
    K::SelfType<'a>: Copy,
    V::SelfType<'a>: Copy,
{
    let mut run: Vec<(K::SelfType<'a>, V::SelfType<'a>)> = Vec::new();
    let mut missing = Vec::new();
    for (key, value) in changes {
        match value {
            Some(value) => run.push((key, value)),
            None => {
                put_run(table, &run)?;
                run.clear();
                if table.remove(key)?.is_none() {
                    missing.push(key);
                }
            }
        }
    }
    put_run(table, &run)?;
    Ok(missing)
}

/// Writes rows in the order of their keys, those that lie between the same two rows of the table at once.
fn put_run<'a, K, V>(
    table: &mut Table<'_, K, V>,
    mut run: &[(K::SelfType<'a>, V::SelfType<'a>)],
) -> Result<(), StorageError>
where
    K: Key + 'static,
    V: Value + 'static,
    K::SelfType<'a>: Copy,
    V::SelfType<'a>: Copy,
{
    while run.len() >= SHORTEST_RUN {
        let mut cursor = table.upper_bound_mut(Bound::Excluded(run[0].0))?;
        let mut put = 0;
        while let Some((key, value)) = run.get(put) {
            match cursor.insert_before(key, value) {
                Ok(()) => put += 1,
                Err(CursorError::UnorderedKey) => break,
                Err(CursorError::Storage(error)) => return Err(error),
                Err(error) => return Err(StorageError::Corrupted(error.to_string())),
            }
        }
        cursor.close()?;
        // The first of the rest is there already, or lies behind a row that is.
        run = &run[put..];
        if put < SHORTEST_RUN
            && let Some(((key, value), rest)) = run.split_first()
        {
            table.insert(key, value)?;
            run = rest;
        }
    }
    run.iter().try_for_each(|(key, value)| table.insert(key, value).map(drop))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableTable, TableDefinition};
    use workman_core::WorkId;

    use super::*;
    use crate::sample::Random;

    /// Runs that fit into a gap, runs that meet rows which are there, overwritten rows, rows that go.
    #[test]
    fn runs_of_changes_leave_what_single_changes_would() {
        let definition: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("work");
        let mut random = Random::new(0x0007_e57e);
        for _ in 0..40 {
            let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
            let mut expected: BTreeMap<[u8; 16], Vec<u8>> = BTreeMap::new();
            for _ in 0..10 {
                let mut changes: BTreeMap<[u8; 16], Option<Vec<u8>>> = BTreeMap::new();
                let (first, width) = (random.below(200), 1 + random.below(120));
                for _ in 0..random.below(80) {
                    let key = keys::bits(WorkId::from_u128(u128::from(first + random.below(width))));
                    let row = (random.below(4) > 0).then(|| vec![random.next() as u8; random.below(900) as usize]);
                    changes.insert(key, row);
                }
                let transaction = database.begin_write().unwrap();
                let mut table = transaction.open_table(definition).unwrap();
                change_all(&mut table, changes.iter().map(|(key, row)| (key, row.as_deref()))).unwrap();
                drop(table);
                transaction.commit().unwrap();
                for (key, row) in changes {
                    match row {
                        Some(row) => drop(expected.insert(key, row)),
                        None => drop(expected.remove(&key)),
                    }
                }
                let transaction = database.begin_write().unwrap();
                let table = transaction.open_table(definition).unwrap();
                let rows = table.iter().unwrap().map(|row| row.unwrap());
                let rows: BTreeMap<[u8; 16], Vec<u8>> =
                    rows.map(|(key, row)| (*key.value(), row.value().to_vec())).collect();
                assert_eq!(rows, expected, "{}", random.seed());
            }
        }
    }
}
