//! Reading: rows and index entries, each checked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use redb::{AccessGuard, Key, ReadableTable, Value};
use workman_core::store::{
    GateId, GateRow, IndexKey, IndexRange, Lane, LaneId, Meta, Notes, Row, RowKey, Rows, Tally, WorkRecord, WorkSpec,
    standing_key,
};
use workman_core::{Payload, StoreError, WorkId};

use super::{Access, Bytes, Tables, damaged};
use crate::codec::{Body, CodecError, Opening, Reader, read_cascade, read_gate, read_lane, read_settings};
use crate::envelope::{self, Damage, Kind, entry_sum};
use crate::error::failed;
use crate::keys::{self, ENTRY, Key as EntryKey};
use crate::rows::{
    self, Address, COMMIT_KEY, ENTRY_NAME, NAMES, OPENING_KEY, TableId, WORK_NAMES, WorkRows, WorkTableId,
};

/// A record, and what its request said.
type Work = (WorkRecord, Arc<WorkSpec>);

/// A row as it lies in its table, or is about to.
enum RowBytes<'a> {
    Stored(AccessGuard<'a, Bytes>),
    Pending(&'a [u8]),
}

impl RowBytes<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            RowBytes::Stored(row) => row.value(),
            RowBytes::Pending(row) => row,
        }
    }
}

impl<A: Access> Tables<'_, A> {
    /// The number of the newest commit.
    pub(crate) fn commit(&self) -> Result<u64, StoreError> {
        let row = self.table(TableId::Meta)?.get(COMMIT_KEY).map_err(|error| failed(self.place, error))?;
        let number = row.map(|row| envelope::open(Kind::Commit, COMMIT_KEY, row.value(), |_, from| from.u64()));
        let number = number.transpose();
        let number =
            number.map_err(|damage| self.damaged(TableId::Meta, &String::from_utf8_lossy(COMMIT_KEY), damage))?;
        Ok(number.unwrap_or(0))
    }

    /// Who opened the store last.
    pub(crate) fn opening(&self) -> Result<Opening, StoreError> {
        let row = self.table(TableId::Meta)?.get(OPENING_KEY).map_err(|error| failed(self.place, error))?;
        let opening = row.map_or(Err(Damage::Missing), |row| {
            envelope::open(Kind::Opening, OPENING_KEY, row.value(), |_, from| Opening::read(from))
        });
        opening.map_err(|damage| self.damaged(TableId::Meta, &String::from_utf8_lossy(OPENING_KEY), damage))
    }

    pub(super) fn stored_lanes(&self) -> Result<BTreeMap<LaneId, Lane>, StoreError> {
        let mut lanes = BTreeMap::new();
        let rows = self.table(TableId::Lane)?.iter().map_err(|error| failed(self.place, error))?;
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

    /// The greatest id that is taken. In a damaged file the table of works may lack its last rows, so the tags of the workers of
    /// these lanes are asked too.
    pub(super) fn greatest_id(&self, lanes: &BTreeMap<LaneId, Lane>) -> Result<Option<WorkId>, StoreError> {
        let last = self.work_table(WorkTableId::Work)?.last().map_err(|error| failed(self.place, error))?;
        let mut greatest = last.map(|(key, _)| WorkId::from_u128(u128::from_be_bytes(*key.value())));
        for worker in workers_of(lanes) {
            let range = IndexRange::tag(worker);
            let (first, last) = (keys::encode(&range.first), keys::encode(&range.last));
            let labels = self.table(TableId::Label)?.range::<&[u8]>(first.bytes()..=last.bytes());
            let last = labels.and_then(|mut labels| labels.next_back().transpose());
            let last = last.map_err(|error| failed(self.place, error))?;
            let tag = last.and_then(|(key, _)| keys::decode_label(key.value()));
            greatest = greatest.max(tag.map(|tag| tag.id()));
        }
        Ok(greatest)
    }

    /// A store whose own row is missing must be a new one.
    ///
    /// # Errors
    /// `Corrupted` if there is a work in it.
    pub(crate) fn confirm_empty(&self) -> Result<(), StoreError> {
        match self.greatest_id(&self.stored_lanes()?)? {
            Some(_) => Err(self.damaged(TableId::Meta, "Meta", Damage::Missing)),
            None => Ok(()),
        }
    }

    /// Whether it takes a look at the table to know that there is no such work.
    fn may_hold(&self, id: WorkId) -> bool {
        self.kept.as_ref().is_none_or(|kept| !kept.known.is_free(id))
    }

    pub(super) fn damaged(&self, table: TableId, key: &str, damage: Damage) -> StoreError {
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
        let row = self.table(at.table)?.get(at.key()).map_err(|error| failed(self.place, error))?;
        row.map(|row| self.open_row(key, at, row.value(), read)).transpose()
    }

    fn row_of_work(&self, table: WorkTableId, id: WorkId) -> Result<Option<RowBytes<'_>>, StoreError> {
        if let Some(pending) = self.pending.row(table, id) {
            return Ok(pending.map(RowBytes::Pending));
        }
        let row = self.work_table(table)?.get(&keys::bits(id)).map_err(|error| failed(self.place, error))?;
        Ok(row.map(RowBytes::Stored))
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
        let rows = WorkRows { id, work: work.bytes(), state: state.as_ref().map(RowBytes::bytes) };
        read(rows).map(Some).map_err(|(table, damage)| self.damaged_work(table, id, damage))
    }

    fn damaged_work(&self, table: WorkTableId, id: WorkId, damage: Damage) -> StoreError {
        damaged(self.place, WORK_NAMES[table as usize], &format!("{:?}", RowKey::Record(id)), damage)
    }

    /// Whether this very transaction has written a row of this work or taken it away. Its entries went down no later than its
    /// rows, or wait as well.
    fn is_pending(&self, id: WorkId) -> bool {
        [WorkTableId::Work, WorkTableId::State].iter().any(|table| self.pending.row(*table, id).is_some())
    }

    fn running(&self, id: WorkId) -> Option<&WorkRecord> {
        self.kept.as_ref().and_then(|kept| kept.running.get(&id))
    }

    pub(super) fn record(&self, id: WorkId) -> Result<Option<WorkRecord>, StoreError> {
        if let Some(running) = self.running(id) {
            return Ok(Some(running.clone()));
        }
        self.look_at(id, |rows| rows.record())
    }

    fn work(&self, id: WorkId) -> Result<Option<Work>, StoreError> {
        let lanes = self.kept.as_ref().map(|kept| &kept.lanes);
        let worker_of = |lane| lanes.and_then(|lanes| lanes.get(&lane)).map(|lane| &lane.worker);
        let work = self.look_at(id, |rows| rows.work(worker_of))?;
        Ok(work.map(|(record, spec)| (record, Arc::new(spec))))
    }

    /// Whether a row beside a work is there, or an entry that says that the work has its worker's tag. Lanes name all workers.
    fn knows_of(&self, id: WorkId) -> Result<bool, StoreError> {
        for table in [WorkTableId::State, WorkTableId::Output] {
            if self.row_of_work(table, id)?.is_some() {
                return Ok(true);
            }
        }
        let stored;
        let lanes = match &self.kept {
            Some(kept) => &kept.lanes,
            None => {
                stored = self.stored_lanes()?;
                &stored
            }
        };
        for worker in workers_of(lanes) {
            if !self.scan(&IndexRange::tag_of(worker, id), 1)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The rows on both sides of where a work would lie are works. If they are not, another page lies where theirs was, and
    /// nothing is to be concluded from what it lacks.
    fn check_neighbours(&self, id: WorkId) -> Result<(), StoreError> {
        let (key, table) = (keys::bits(id), self.work_table(WorkTableId::Work)?);
        let failed = |error| failed(self.place, error);
        let before = table.range::<&[u8; 16]>(..&key).map_err(failed)?.next_back();
        let after = table.range::<&[u8; 16]>(&key..).map_err(failed)?.next();
        for row in [before, after].into_iter().flatten() {
            let (key, row) = row.map_err(failed)?;
            envelope::unseal(Kind::Work, key.value(), row.value())
                .map_err(|damage| self.damaged_work(WorkTableId::Work, id, damage))?;
        }
        Ok(())
    }

    fn output(&self, id: WorkId) -> Result<Option<Payload>, StoreError> {
        let output = self.row_of_work(WorkTableId::Output, id)?;
        let output = output.map(|row| rows::open_output(id, row.bytes())).transpose();
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
        let stretch = self.entry_table()?.range::<&[u8; ENTRY]>(stretch).map_err(|error| failed(self.place, error))?;
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
        let stretch = self.table(TableId::Label)?.range::<&[u8]>(stretch).map_err(|error| failed(self.place, error))?;
        self.entries(stretch.take(limit), range, |key, sum| {
            let label = if **sum == entry_sum(key) { keys::decode_label(key) } else { None };
            label.ok_or_else(|| self.damaged(TableId::Label, &format!("{key:02x?}"), Damage::Checksum))
        })
    }
}

fn workers_of(lanes: &BTreeMap<LaneId, Lane>) -> BTreeSet<&Arc<str>> {
    lanes.values().map(|lane| &lane.worker).collect()
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
            RowKey::Gate(id) => self.row_at(key, &Address::gate(id), |from| read_gate(id, from))?.map(Row::Gate),
            RowKey::GateSettings => self.row_at(key, &Address::gate_settings(), read_settings)?.map(Row::GateSettings),
            RowKey::Tally(lane) => match self.kept.as_ref().and_then(|kept| kept.tallies.get(&lane)) {
                Some(tally) => Some(*tally),
                None => self.row_at(key, &Address::tally(lane), Tally::read)?,
            }
            .map(|tally| Row::Tally(lane, tally)),
            RowKey::Meta => match self.row_at(key, &Address::meta(), Meta::read)? {
                Some(meta) => Some(Row::Meta(meta)),
                // Each commit writes both.
                None if self.commit()? > 0 => return Err(self.damaged(TableId::Meta, "Meta", Damage::Missing)),
                None => None,
            },
        })
    }

    fn gates(&self) -> Result<Vec<GateRow>, StoreError> {
        let rows = self.table(TableId::Gate)?.iter().map_err(|error| failed(self.place, error))?;
        let mut gates = Vec::new();
        for row in rows {
            let (key, value) = row.map_err(|error| failed(self.place, error))?;
            let id = key.value().try_into().map(u128::from_be_bytes).map(GateId);
            let id = id.map_err(|_| self.damaged(TableId::Gate, "of no number", Damage::Checksum))?;
            let read = |from: &mut Reader<'_>| read_gate(id, from);
            gates.push(self.open_row(RowKey::Gate(id), &Address::gate(id), value.value(), read)?);
        }
        Ok(gates)
    }

    fn get_work(&self, id: WorkId) -> Result<Option<Work>, StoreError> {
        self.work(id)
    }

    fn stands(&self, record: &WorkRecord) -> Result<bool, StoreError> {
        if self.running(record.id).is_some() || self.is_pending(record.id) {
            return Ok(true);
        }
        match keys::encode(&standing_key(record)) {
            EntryKey::Entry(entry) => {
                let found = self.entry_table()?.get(&entry).map_err(|error| failed(self.place, error))?;
                Ok(found.is_some_and(|sum| *sum.value() == entry_sum(&entry)))
            }
            EntryKey::Label(label) => {
                let found = self.table(TableId::Label)?.get(&label[..]).map_err(|error| failed(self.place, error))?;
                Ok(found.is_some_and(|sum| *sum.value() == entry_sum(&label)))
            }
        }
    }

    fn confirm_absent(&self, id: WorkId) -> Result<(), StoreError> {
        if !self.may_hold(id) || self.is_pending(id) {
            return Ok(());
        }
        self.check_neighbours(id)?;
        if self.knows_of(id)? { Err(self.damaged_work(WorkTableId::Work, id, Damage::Missing)) } else { Ok(()) }
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
