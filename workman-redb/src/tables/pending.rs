//! [`Pending`]: what a transaction has written and its tables do not hold yet.
//!
//! Row by row, each write walks down a tree. Sorted, the rows of a commit fall into runs of neighbours, and redb's cursors put
//! down a run at once and fill its pages: a thousand new works take a third of the time. So writes wait here until somebody
//! scans, until there are many, or until the commit.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use redb::{CursorError, Key, StorageError, Table, Value};
use workman_core::store::{Damage, IfMissing, IndexKey};
use workman_core::{StoreError, StoreErrorKind, WorkId};

use super::{Access, WriteTables, opened_mut};
use crate::codec::CodecError;
use crate::envelope::entry_sum;
use crate::error::failed;
use crate::keys::{self, ENTRY, Key as EntryKey};
use crate::rows::{ENTRY_NAME, NAMES, TableId, WORK_NAMES, WorkTableId};

/// As much as waits at the most.
const MOST_BYTES: usize = 1 << 20;
const MOST_CHANGES: usize = 1 << 14;

/// Fewer neighbours than this are put down one by one.
const SHORTEST_RUN: usize = 4;

/// Writes that wait.
#[derive(Default)]
pub(super) struct Pending {
    /// The rows, one behind the other.
    bytes: Vec<u8>,
    /// Where each row lies among them; `None` if it goes.
    works: [BTreeMap<WorkId, Option<Range<usize>>>; WORK_NAMES.len()],
    /// In the order in which they were made.
    entries: Vec<([u8; ENTRY], Change)>,
    labels: Vec<(Vec<u8>, Change)>,
}

/// What happens to an index entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Link([u8; 4]),
    Unlink(IfMissing),
}

impl Pending {
    /// The row of this work that waits; `Some(None)` if it is to go.
    pub(super) fn row(&self, table: WorkTableId, id: WorkId) -> Option<Option<&[u8]>> {
        let row = self.works[table as usize].get(&id)?;
        Some(row.clone().map(|range| &self.bytes[range]))
    }

    /// A row that `seal` puts behind what it is given.
    pub(super) fn put(
        &mut self,
        table: WorkTableId,
        id: WorkId,
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let begin = self.bytes.len();
        seal(&mut self.bytes)?;
        self.works[table as usize].insert(id, Some(begin..self.bytes.len()));
        Ok(())
    }

    pub(super) fn remove(&mut self, table: WorkTableId, id: WorkId) {
        self.works[table as usize].insert(id, None);
    }

    pub(super) fn link(&mut self, key: &IndexKey) {
        let key = keys::encode(key);
        let link = Change::Link(entry_sum(key.bytes()));
        self.change(key, link);
    }

    pub(super) fn unlink(&mut self, key: &IndexKey, if_missing: IfMissing) {
        self.change(keys::encode(key), Change::Unlink(if_missing));
    }

    fn change(&mut self, key: EntryKey, change: Change) {
        match key {
            EntryKey::Entry(key) => self.entries.push((key, change)),
            EntryKey::Label(key) => self.labels.push((key, change)),
        }
    }

    fn is_much(&self) -> bool {
        let rows: usize = self.works.iter().map(BTreeMap::len).sum();
        self.bytes.len() > MOST_BYTES || rows.max(self.entries.len()).max(self.labels.len()) > MOST_CHANGES
    }
}

/// What becomes of each key in the end, in order. What came and went again leaves nothing.
fn in_order<K: Ord>(mut changes: Vec<(K, Change)>) -> Vec<(K, Change)> {
    changes.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut net: Vec<(K, Change)> = Vec::with_capacity(changes.len());
    let mut first = Change::Unlink(IfMissing::Ignore);
    for (key, change) in changes {
        match net.last_mut().filter(|(last, _)| *last == key) {
            Some((_, last)) => *last = change,
            None => {
                drop_undone(&mut net, first);
                first = change;
                net.push((key, change));
            }
        }
    }
    drop_undone(&mut net, first);
    net
}

/// The last key was changed from `first` on. If its last change takes back the first, it is as it was.
fn drop_undone<K>(net: &mut Vec<(K, Change)>, first: Change) {
    let undone = |(_, last): &mut (K, Change)| matches!((first, *last), (Change::Link(_), Change::Unlink(_)));
    let redone = |(_, last): &mut (K, Change)| matches!((first, *last), (Change::Unlink(_), Change::Link(_)));
    net.pop_if(|last| undone(last) || redone(last));
}

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
            let table = opened_mut(&mut self.entries, || self.access.open_entries(ENTRY_NAME));
            let table = table.map_err(|error| failed(place, error))?;
            let changes = entries.iter().map(|(key, change)| (key, link_of(change)));
            let missing = change_all(table, changes).map_err(|error| failed(place, error))?;
            let missing = missing.into_iter().map(|key| (keys::decode(key), change_of(&entries, key)));
            self.damage.extend(damage_of(missing)?);
        }
        let labels = in_order(std::mem::take(&mut self.pending.labels));
        if !labels.is_empty() {
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
        let open = || self.access.open_works(WORK_NAMES[table as usize]);
        let table = opened_mut(&mut self.works[table as usize], open).map_err(|error| failed(place, error))?;
        let bytes = &self.pending.bytes;
        let rows = rows.iter().map(|(key, row)| (key, row.clone().map(|range| &bytes[range])));
        // A row beside a record may be missing: whoever reads it is told.
        change_all(table, rows).map(drop).map_err(|error| failed(place, error))
    }

    pub(super) fn work_table_mut(
        &mut self,
        table: WorkTableId,
    ) -> Result<&mut <super::Writes<'t> as Access>::Works, StoreError> {
        let open = || self.access.open_works(WORK_NAMES[table as usize]);
        opened_mut(&mut self.works[table as usize], open).map_err(|error| failed(self.place, error))
    }

    pub(super) fn table_mut(
        &mut self,
        table: TableId,
    ) -> Result<&mut <super::Writes<'t> as Access>::Bytes, StoreError> {
        let open = || self.access.open_bytes(NAMES[table as usize]);
        opened_mut(&mut self.tables[table as usize], open).map_err(|error| failed(self.place, error))
    }
}

fn link_of(change: &Change) -> Option<&[u8; 4]> {
    match change {
        Change::Link(sum) => Some(sum),
        Change::Unlink(_) => None,
    }
}

/// What was to become of a key that is among these.
fn change_of<K: Borrow<Q>, Q: Ord + ?Sized>(changes: &[(K, Change)], key: &Q) -> Option<Change> {
    let at = changes.binary_search_by(|(other, _)| other.borrow().cmp(key));
    at.ok().map(|at| changes[at].1)
}

/// Entries that were to go and were not there, as the one who took them away wants it.
fn damage_of(missing: impl Iterator<Item = (Option<IndexKey>, Option<Change>)>) -> Result<Vec<Damage>, StoreError> {
    let mut damage = Vec::new();
    for (key, change) in missing {
        let (Some(key), Some(Change::Unlink(if_missing))) = (key, change) else { continue };
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
fn change_all<'a, K, V>(
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
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableTable, TableDefinition};

    use super::*;
    use crate::sample::Random;

    const LINK: Change = Change::Link([7; 4]);
    const GO: Change = Change::Unlink(IfMissing::Refuse);

    #[test]
    fn what_came_and_went_leaves_nothing_and_the_rest_is_in_order() {
        let changes = vec![
            (5, LINK),
            (1, GO),
            (5, GO),
            (3, LINK),
            (2, GO),
            (2, LINK),
            (4, LINK),
            (4, GO),
            (4, LINK),
            (6, GO),
            (6, LINK),
            (6, GO),
        ];
        assert_eq!(in_order(changes), [(1, GO), (3, LINK), (4, LINK), (6, GO)]);
        assert_eq!(in_order(Vec::<(u8, Change)>::new()), []);
        assert_eq!(in_order(vec![(1, LINK), (1, GO)]), []);
    }

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
