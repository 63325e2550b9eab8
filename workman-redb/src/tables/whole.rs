//! Going through whole tables, row by row as they lie: for those who verify a file, or copy what can be read of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redb::{Key, ReadableTable, Table, Value};
use workman_core::store::{
    Audit, Cascade, CascadeVerb, GateId, GateTally, IndexKey, IndexRange, Lane, LaneId, Meta, Row, RowKey, Rows,
    RowsMut, Standing, Tally, Urgency, WorkRecord, WorkSpec, keys_of,
};
use workman_core::{Constraints, StoreError, StoreErrorKind, Timestamp, WorkId};

use super::{SnapshotTables, WriteTables};
use crate::envelope::entry_sum;
use crate::error::failed;
use crate::keys;
use crate::rows::{self, ENTRY_NAME, NAMES, TableId, WORK_NAMES, WorkTableId};

/// Hands every row of a table to `see`, from its first to its last. A page that can't be read hides those behind it, so then the
/// rest is read from the end.
fn each<K: Key + 'static, V: Value + 'static>(
    table: &impl ReadableTable<K, V>,
    mut see: impl FnMut(K::SelfType<'_>, V::SelfType<'_>),
) -> Result<(), redb::StorageError> {
    let mut broken = None;
    let mut seen = 0_u64;
    for row in table.iter()? {
        match row {
            Ok((key, value)) => {
                see(key.value(), value.value());
                seen += 1;
            }
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    let Some(error) = broken else { return Ok(()) };
    let most = table.len().unwrap_or(u64::MAX).saturating_sub(seen);
    for row in table.iter()?.rev().take(usize::try_from(most).unwrap_or(usize::MAX)) {
        let Ok((key, value)) = row else { break };
        see(key.value(), value.value());
    }
    Err(error)
}

fn id_of(bits: [u8; 16]) -> WorkId {
    WorkId::from_u128(u128::from_be_bytes(bits))
}

impl SnapshotTables<'_, '_> {
    /// Holds everything in the file against everything else. Answers how many works there are, and how many entries.
    pub(crate) fn audit(&self, audit: &mut Audit) -> (u64, u64) {
        let works = self.each_work(|id| drop(audit.work(self, id)));
        let works = works.unwrap_or_else(|error| {
            told(audit, WORK_NAMES[WorkTableId::Work as usize], &error);
            0
        });
        let mut entries = 0;
        let mut wrong = Vec::new();
        let walked = self.each_entry(&mut |key, bytes| {
            entries += 1;
            match key {
                Some(key) => audit.entry(self, &key),
                None => wrong.push(format!("the index holds an entry that was not written like this: {bytes:02x?}")),
            }
        });
        wrong.into_iter().for_each(|wrong| audit.find(wrong));
        walked.unwrap_or_else(|error| told(audit, ENTRY_NAME, &error));
        self.audit_beside(audit);
        (works, entries)
    }

    fn each_work(&self, mut see: impl FnMut(WorkId)) -> Result<u64, StoreError> {
        let mut count = 0;
        let walked = each(self.work_table(WorkTableId::Work)?, |key, _| {
            count += 1;
            see(id_of(*key));
        });
        walked.map(|()| count).map_err(|error| failed(self.place, error))
    }

    /// Every entry, and `None` for one that is not as it was written.
    fn each_entry(&self, see: &mut dyn FnMut(Option<IndexKey>, &[u8])) -> Result<(), StoreError> {
        let entries = each(self.entry_table()?, |key, sum| {
            see(if *sum == entry_sum(key) { keys::decode(key) } else { None }, key);
        });
        let labels = each(self.table(TableId::Label)?, |key, sum| {
            see(if *sum == entry_sum(key) { keys::decode_label(key) } else { None }, key);
        });
        entries.and(labels).map_err(|error| failed(self.place, error))
    }

    fn audit_beside(&self, audit: &mut Audit) {
        for table in [WorkTableId::State, WorkTableId::Output] {
            let name = WORK_NAMES[table as usize];
            let walked = self.work_table(table).and_then(|rows| {
                each(rows, |key, _| audit.row_beside(self, id_of(*key), name))
                    .map_err(|error| failed(self.place, error))
            });
            walked.unwrap_or_else(|error| told(audit, name, &error));
        }
        for table in [TableId::Meta, TableId::Notes, TableId::History, TableId::Lane, TableId::Cascade, TableId::Gate] {
            let name = NAMES[table as usize];
            let walked = self.table(table).and_then(|rows| {
                let see = |key: &[u8], _: &[u8]| self.audit_key(audit, table, key);
                each(rows, see).map_err(|error| failed(self.place, error))
            });
            walked.unwrap_or_else(|error| told(audit, name, &error));
        }
    }

    fn audit_key(&self, audit: &mut Audit, table: TableId, key: &[u8]) {
        let name = NAMES[table as usize];
        match (table, key.try_into(), key.try_into(), key.try_into()) {
            (TableId::Gate, Ok(id), _, _) => audit.gate(self, GateId(u128::from_be_bytes(id))),
            // Each of the others is looked at by whoever opens the store.
            (TableId::Meta, ..) => {
                rows::lane_of_tally(key).into_iter().for_each(|lane| audit.number(RowKey::Tally(lane)));
            }
            (TableId::Notes | TableId::History, Ok(id), _, _) => audit.row_beside(self, id_of(id), name),
            (TableId::Lane, _, Ok(number), _) => {
                audit.number(RowKey::Lane(LaneId(u32::from_be_bytes(number))));
            }
            (TableId::Cascade, _, _, Ok(number)) => audit.number(RowKey::Cascade(u64::from_be_bytes(number))),
            _ => audit
                .find(format!("there is a row under the key {key:02x?} in table `{name}`, which is none of its keys")),
        }
    }
}

fn told(audit: &mut Audit, table: &str, error: &StoreError) {
    audit.find(format!("table `{table}` can't be read from its first row to its last: {error}"));
}

/// What was copied from one file to another.
#[derive(Default)]
pub(crate) struct Copied {
    /// Works whose record can be read.
    pub(crate) works: u64,
    /// Entries that their records ask for and the old file lacked.
    pub(crate) added: u64,
    /// Entries of the old file that no record asks for.
    pub(crate) dropped: u64,
    /// What can't be read, and was copied as it lies.
    pub(crate) unreadable: Vec<String>,
}

impl WriteTables<'_, '_> {
    /// Copies every row of another file as it lies, and makes all entries anew from the records.
    ///
    /// # Errors
    /// When this file can't be written.
    pub(crate) fn copy_from(&mut self, from: &SnapshotTables<'_, '_>) -> Result<Copied, StoreError> {
        let mut copied = Copied::default();
        let mut held = 0;
        let is_copied = |table: &TableId| !matches!(table, TableId::Label | TableId::Gate);
        for table in TableId::ALL.into_iter().filter(is_copied) {
            match from.table(table) {
                Ok(rows) => {
                    let walked = copy(self.place, self.table_mut(table)?, rows)?;
                    note(&mut copied, NAMES[table as usize], walked);
                }
                Err(error) => copied.unreadable.push(error.to_string()),
            }
        }
        for table in WorkTableId::ALL {
            match from.work_table(table) {
                Ok(rows) => {
                    let walked = copy(self.place, self.work_table_mut(table)?, rows)?;
                    note(&mut copied, WORK_NAMES[table as usize], walked);
                }
                Err(error) => copied.unreadable.push(error.to_string()),
            }
        }
        let mut lanes = BTreeMap::new();
        let mut ids = Vec::new();
        let listed = from.each_work(|id| ids.push(id));
        listed.map(drop).unwrap_or_else(|error| copied.unreadable.push(error.to_string()));
        ids.sort_unstable();
        ids.dedup();
        let (mut sum, mut tally) = (Sum::default(), GateTally::default());
        for id in ids {
            match from.get_work(id) {
                Ok(Some((record, spec))) => {
                    copied.works += 1;
                    sum.add(&record);
                    tally.add(&record, &spec);
                    lanes.entry(record.lane).or_insert_with(|| lane_of(&record, &spec));
                    for key in entries_of(from, &record, &spec) {
                        self.link(&key)?;
                        let there = from.scan(&IndexRange::one(&key), 1);
                        if there.is_ok_and(|found| !found.is_empty()) { held += 1 } else { copied.added += 1 }
                    }
                }
                Ok(None) => copied.unreadable.push(format!("work {id} is not found by its id")),
                Err(error) => copied.unreadable.push(error.to_string()),
            }
        }
        let meta = self.renumber(from, &sum)?;
        let meta = self.recount(from, (&tally, meta), (&mut copied, &mut held))?;
        let mut entries = 0_u64;
        let walked = from.each_entry(&mut |_, _| entries += 1);
        walked.unwrap_or_else(|error| copied.unreadable.push(error.to_string()));
        copied.dropped = entries.saturating_sub(held);
        self.recount_works(sum.tallies)?;
        self.fill_in(from, &meta, lanes, &mut copied)?;
        Ok(copied)
    }

    /// Copies every row of another file as it lies.
    ///
    /// # Errors
    /// When one can't be read, or this file can't be written.
    pub(crate) fn copy_all(&mut self, from: &SnapshotTables<'_, '_>) -> Result<(), StoreError> {
        let place = self.place;
        for table in TableId::ALL {
            let walked = copy(place, self.table_mut(table)?, from.table(table)?)?;
            all_of(place, NAMES[table as usize], walked)?;
        }
        for table in WorkTableId::ALL {
            let walked = copy(place, self.work_table_mut(table)?, from.work_table(table)?)?;
            all_of(place, WORK_NAMES[table as usize], walked)?;
        }
        let walked = copy(place, self.entry_table_mut()?, from.entry_table()?)?;
        all_of(place, ENTRY_NAME, walked)
    }

    /// The store's own row, and lanes that are missing, as the records have it. Numbers never fall.
    fn renumber(&mut self, from: &SnapshotTables<'_, '_>, sum: &Sum) -> Result<Meta, StoreError> {
        let stored = match from.get(RowKey::Meta) {
            Ok(Some(Row::Meta(meta))) => meta,
            // No manager is attached, so every claim is a dead one.
            _ => Meta::default(),
        };
        let meta = Meta {
            next_epoch: stored.next_epoch.max(sum.next_epoch),
            next_seq: stored.next_seq.max(sum.next_seq),
            next_lane: stored.next_lane.max(sum.next_lane),
            latest: stored.latest.max(sum.latest),
            finished: sum.finished,
            ..stored
        };
        self.put_commit(from.commit().unwrap_or_default() + 1)?;
        Ok(meta)
    }

    /// What goes on at gates, as the records have it. What can be read and follows from no record is kept: what is left of a rate, a
    /// failure that holds its serial lane. Of settings that can't be read nothing is left.
    fn recount(
        &mut self,
        from: &SnapshotTables<'_, '_>,
        (tally, meta): (&GateTally, Meta),
        (copied, held): (&mut Copied, &mut u64),
    ) -> Result<Meta, StoreError> {
        let settings = match from.get(RowKey::GateSettings) {
            Ok(Some(Row::GateSettings(settings))) => settings.gates.len(),
            Ok(_) if meta.gates.settings == 0 => 0,
            _ => {
                copied.unreadable.push("what was wanted of gates can't be read: limits and pauses are gone".to_owned());
                self.remove(RowKey::GateSettings)?;
                0
            }
        };
        let mut gates: BTreeSet<GateId> = tally.gates().collect();
        let walked = from.table(TableId::Gate).and_then(|rows| {
            let see = |key: &[u8], _: &[u8]| gates.extend(key.try_into().map(u128::from_be_bytes).map(GateId));
            each(rows, see).map_err(|error| failed(self.place, error))
        });
        walked.unwrap_or_else(|error| copied.unreadable.push(error.to_string()));
        let (mut rows, mut openings) = (0, 0);
        for gate in gates {
            let stored = match from.get(RowKey::Gate(gate)) {
                Ok(Some(Row::Gate(row))) => Some(row),
                Ok(_) => None,
                Err(error) => {
                    copied.unreadable.push(format!("what went on at a gate was counted anew: {error}"));
                    None
                }
            };
            let Some(row) = tally.recounted(gate, stored, meta.latest) else { continue };
            if let Some(key) = row.opens.map(|due| IndexKey::Opens { due, gate }) {
                self.link(&key)?;
                let is_there = from.scan(&IndexRange::one(&key), 1).is_ok_and(|found| !found.is_empty());
                if is_there {
                    *held += 1
                } else {
                    copied.added += 1
                }
                openings += 1;
            }
            rows += 1;
            self.put(Row::Gate(row))?;
        }
        let numbers = (u32::try_from(settings).unwrap_or(u32::MAX), rows, openings);
        let meta = Meta { gates: tally.recounted_meta(&meta.gates, numbers), ..meta };
        self.put(Row::Meta(meta.clone()))?;
        Ok(meta)
    }

    /// The tallies, as the records have it. Those of the old file were copied, damaged ones too.
    fn recount_works(&mut self, tallies: BTreeMap<LaneId, Tally>) -> Result<(), StoreError> {
        let mut copied = Vec::new();
        each(self.table(TableId::Meta)?, |key, _| copied.extend(rows::lane_of_tally(key)))
            .map_err(|error| failed(self.place, error))?;
        copied.into_iter().try_for_each(|lane| self.remove(RowKey::Tally(lane)))?;
        tallies.into_iter().try_for_each(|(lane, tally)| self.put(Row::Tally(lane, tally)))
    }

    /// Rows that the store's own row vouches for and that can't be read. A lane is what its works say, and one without works a
    /// name that no worker has; of a cascade nothing is left.
    fn fill_in(
        &mut self,
        from: &SnapshotTables<'_, '_>,
        meta: &Meta,
        mut lanes: BTreeMap<LaneId, Lane>,
        copied: &mut Copied,
    ) -> Result<(), StoreError> {
        for id in (0..meta.next_lane).map(LaneId) {
            if !matches!(from.get(RowKey::Lane(id)), Ok(Some(_))) {
                copied.unreadable.push(format!("lane {} can't be read, and was made anew from its works", id.0));
                self.put(Row::Lane(lanes.remove(&id).unwrap_or_else(|| empty_lane(id))))?;
            }
        }
        for number in meta.first_cascade..meta.next_cascade {
            if !matches!(from.get(RowKey::Cascade(number)), Ok(Some(_))) {
                copied
                    .unreadable
                    .push(format!("cascade {number} can't be read: some work may wait for one that has ended"));
                let (verb, of) = (CascadeVerb::Release, WorkId::from_u128(0));
                let (after, born_before, because) = (None, None, None);
                self.put(Row::Cascade(Cascade { number, verb, of, after, born_before, because }))?;
            }
        }
        Ok(())
    }
}

/// Copies the rows of a table that can be reached, and answers why not all can.
fn copy<K: Key + 'static, V: Value + 'static>(
    place: &str,
    to: &mut Table<'_, K, V>,
    from: &impl ReadableTable<K, V>,
) -> Result<Option<String>, StoreError> {
    let mut put = Ok(());
    let walked = each(from, |key, row| {
        if put.is_ok() {
            put = to.insert(key, row).map(drop);
        }
    });
    put.map_err(|error| failed(place, error))?;
    Ok(walked.err().map(|error| error.to_string()))
}

fn all_of(place: &str, table: &str, broken: Option<String>) -> Result<(), StoreError> {
    let Some(error) = broken else { return Ok(()) };
    let message = format!("table `{table}` of the store {place} can't be read from its first row to its last: {error}");
    Err(StoreError::new(StoreErrorKind::Corrupted, message))
}

fn note(copied: &mut Copied, name: &str, broken: Option<String>) {
    let broken = broken.map(|error| format!("table `{name}` can't be read from its first row to its last: {error}"));
    copied.unreadable.extend(broken);
}

/// What all records say together.
#[derive(Default)]
struct Sum {
    next_epoch: u64,
    next_seq: u64,
    next_lane: u32,
    latest: Timestamp,
    finished: u64,
    tallies: BTreeMap<LaneId, Tally>,
}

impl Sum {
    fn add(&mut self, record: &WorkRecord) {
        self.next_seq = self.next_seq.max(record.seq.max(record.turn) + 1);
        self.next_lane = self.next_lane.max(record.lane.0 + 1);
        self.latest = self.latest.max(record.created).max(record.enqueued);
        self.finished += u64::from(record.counts_as_finished());
        let tally = self.tallies.entry(record.lane).or_default();
        *tally = tally.with(record);
        if let Standing::Running { epoch } = record.standing {
            self.next_epoch = self.next_epoch.max(epoch + 1);
        }
    }
}

/// The lane in which a record says that it stands. From its claim on that is the ordinary one.
fn lane_of(record: &WorkRecord, spec: &WorkSpec) -> Lane {
    let urgency = match record.standing {
        Standing::Running { .. } => Urgency::Ordinary,
        _ => record.urgency,
    };
    Lane { id: record.lane, worker: Arc::clone(&spec.worker), constraints: spec.constraints.clone(), urgency }
}

fn empty_lane(id: LaneId) -> Lane {
    let worker = format!("workman/lost-lane-{}", id.0).into();
    Lane { id, worker, constraints: Constraints::NONE, urgency: Urgency::Ordinary }
}

/// The entries that a record asks for. Of its edges those whose other end is there: every work is born after its prerequisites.
fn entries_of(from: &SnapshotTables<'_, '_>, record: &WorkRecord, spec: &WorkSpec) -> Vec<IndexKey> {
    let is_there = |of| matches!(from.record(of), Ok(Some(other)) if other.seq < record.seq);
    let is_kept = |key: &IndexKey| match key {
        IndexKey::Dependent { of, .. } => is_there(*of),
        _ => true,
    };
    keys_of(record, spec).filter(is_kept).collect()
}
