//! [`RowMap`]: rows and index entries in maps.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::rows::vouched;
use super::{Dump, IfMissing, Origin, Row, RowKey, Rows, RowsMut, Unlinked};
use crate::data::Payload;
use crate::id::WorkId;
use crate::index::{IndexKey, IndexRange};
use crate::record::{
    AttemptRecord, Cascade, GateId, GateRow, GateSettings, Lane, LaneId, Meta, Notes, Tally, WorkRecord, WorkSpec,
};
use crate::store::StoreError;

/// The rows and index entries of a store, in memory: those of [`MemoryStore`](crate::MemoryStore), and where a store of your
/// own can start.
///
/// It has no commits. A store that may have to take a transaction back clones it first; writing never fails, so it needs
/// that only if it fails itself. A store that keeps rows elsewhere wraps it to begin with, verb by verb, and then takes it out.
///
/// # Examples
/// ```
/// use workman_core::StoreError;
/// use workman_core::store::{Opening, RowMap, Transaction, Unit, UnitResult};
///
/// /// One commit: all units, or none of them.
/// fn transact(rows: &mut RowMap, opening: &mut Opening, units: &[Unit]) -> Result<Vec<UnitResult>, StoreError> {
///     let mut next = rows.clone();
///     let mut transaction = Transaction::begin(&next, opening)?;
///     let answers = units.iter().map(|unit| transaction.run_unit(&mut next, unit)).collect::<Result<_, _>>()?;
///     if let Some(_change) = transaction.finish(&mut next, 1)? {
///         *rows = next; // and say so to who watches
///     }
///     Ok(answers)
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RowMap {
    works: BTreeMap<WorkId, WorkRows>,
    lanes: BTreeMap<LaneId, Lane>,
    cascades: BTreeMap<u64, Cascade>,
    gates: BTreeMap<GateId, GateRow>,
    settings: Option<Arc<GateSettings>>,
    tallies: BTreeMap<LaneId, Tally>,
    meta: Option<Meta>,
    /// The index entries. What is added or taken away here, past the planner, is damage: tests do that.
    pub index: BTreeSet<IndexKey>,
}

/// The rows of one work, which are mostly wanted together.
#[derive(Clone, Debug, Default)]
struct WorkRows {
    record: Option<WorkRecord>,
    spec: Option<Arc<WorkSpec>>,
    output: Option<Payload>,
    notes: Option<Notes>,
    history: Option<Vec<AttemptRecord>>,
}

impl WorkRows {
    fn is_empty(&self) -> bool {
        let WorkRows { record, spec, output, notes, history } = self;
        record.is_none() && spec.is_none() && output.is_none() && notes.is_none() && history.is_none()
    }

    fn keys(&self, id: WorkId) -> impl Iterator<Item = RowKey> + use<> {
        let WorkRows { record, spec, output, notes, history } = self;
        let keys = [
            record.is_some().then_some(RowKey::Record(id)),
            spec.is_some().then_some(RowKey::Spec(id)),
            output.is_some().then_some(RowKey::Output(id)),
            notes.is_some().then_some(RowKey::Notes(id)),
            history.is_some().then_some(RowKey::History(id)),
        ];
        keys.into_iter().flatten()
    }
}

impl RowMap {
    /// The keys of all rows.
    pub fn keys(&self) -> impl Iterator<Item = RowKey> {
        let works = self.works.iter().flat_map(|(id, rows)| rows.keys(*id));
        let lanes = self.lanes.keys().map(|id| RowKey::Lane(*id));
        let cascades = self.cascades.keys().map(|number| RowKey::Cascade(*number));
        let gates = self.gates.keys().map(|id| RowKey::Gate(*id));
        let settings = self.settings.is_some().then_some(RowKey::GateSettings);
        let tallies = self.tallies.keys().map(|lane| RowKey::Tally(*lane));
        works
            .chain(lanes)
            .chain(cascades)
            .chain(gates)
            .chain(settings)
            .chain(tallies)
            .chain(self.meta.is_some().then_some(RowKey::Meta))
    }

    /// All of it, whether anything points at it or not, for [`Dump::broken_invariants`].
    #[must_use]
    pub fn dump(&self) -> Dump {
        let works = self.works.iter();
        Dump {
            meta: self.meta.clone().unwrap_or_default(),
            records: works.clone().filter_map(|(id, rows)| Some((*id, rows.record.clone()?))).collect(),
            specs: works.filter_map(|(id, rows)| Some((*id, rows.spec.clone()?))).collect(),
            lanes: self.lanes.values().cloned().collect(),
            gates: self.gates.clone(),
            settings: self.settings.clone().unwrap_or_default(),
            tallies: self.tallies.clone(),
            index: self.index.clone(),
        }
    }

    fn rows_of(&mut self, id: WorkId) -> &mut WorkRows {
        self.works.entry(id).or_default()
    }

    /// Takes a row away, and the place of its work with the last one.
    fn empty(&mut self, id: WorkId, take: impl FnOnce(&mut WorkRows)) {
        if let Entry::Occupied(mut place) = self.works.entry(id) {
            take(place.get_mut());
            if place.get().is_empty() {
                place.remove();
            }
        }
    }
}

impl Rows for RowMap {
    fn get(&self, key: RowKey) -> Result<Option<Row>, StoreError> {
        let rows = |id| self.works.get(&id);
        Ok(match key {
            RowKey::Record(id) => rows(id).and_then(|rows| rows.record.clone()).map(Row::Record),
            RowKey::Spec(id) => rows(id).and_then(|rows| rows.spec.clone()).map(|spec| Row::Spec(id, spec)),
            RowKey::Output(id) => rows(id).and_then(|rows| rows.output.clone()).map(|output| Row::Output(id, output)),
            RowKey::Notes(id) => rows(id).and_then(|rows| rows.notes.clone()).map(|notes| Row::Notes(id, notes)),
            RowKey::History(id) => rows(id).and_then(|rows| rows.history.clone()).map(|past| Row::History(id, past)),
            RowKey::Lane(id) => self.lanes.get(&id).cloned().map(Row::Lane),
            RowKey::Cascade(number) => self.cascades.get(&number).cloned().map(Row::Cascade),
            RowKey::Gate(id) => self.gates.get(&id).cloned().map(Row::Gate),
            RowKey::GateSettings => self.settings.clone().map(Row::GateSettings),
            RowKey::Tally(lane) => self.tallies.get(&lane).map(|tally| Row::Tally(lane, *tally)),
            RowKey::Meta => self.meta.clone().map(Row::Meta),
        })
    }

    fn scan(&self, range: &IndexRange, limit: usize) -> Result<Vec<IndexKey>, StoreError> {
        let first = match &range.after {
            Some(after) if *after >= range.last => return Ok(Vec::new()),
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(&range.first),
        };
        Ok(self.index.range((first, Bound::Included(&range.last))).take(limit).cloned().collect())
    }

    fn gates(&self) -> Result<Vec<GateRow>, StoreError> {
        Ok(self.gates.values().cloned().collect())
    }

    fn get_work(&self, id: WorkId) -> Result<Option<(WorkRecord, Arc<WorkSpec>)>, StoreError> {
        let work = self.works.get(&id).and_then(|rows| rows.record.as_ref().zip(rows.spec.as_ref()));
        Ok(work.map(|(record, spec)| (record.clone(), Arc::clone(spec))))
    }
}

impl RowsMut for RowMap {
    fn put(&mut self, row: Row) -> Result<(), StoreError> {
        match row {
            Row::Record(record) => {
                let rows = self.rows_of(record.id);
                rows.record = Some(record);
            }
            Row::Spec(id, spec) => self.rows_of(id).spec = Some(spec),
            Row::Output(id, output) => self.rows_of(id).output = Some(output),
            Row::Notes(id, notes) => self.rows_of(id).notes = Some(notes),
            Row::History(id, history) => self.rows_of(id).history = Some(history),
            Row::Lane(lane) => {
                self.lanes.insert(lane.id, lane);
            }
            Row::Cascade(cascade) => {
                self.cascades.insert(cascade.number, cascade);
            }
            Row::Gate(gate) => drop(self.gates.insert(gate.id, gate)),
            Row::GateSettings(settings) => self.settings = Some(settings),
            Row::Tally(lane, tally) => drop(self.tallies.insert(lane, tally)),
            Row::Meta(meta) => self.meta = Some(meta),
        }
        Ok(())
    }

    fn put_work(&mut self, record: WorkRecord, spec: Arc<WorkSpec>, _origin: Origin) -> Result<(), StoreError> {
        let rows = self.rows_of(record.id);
        (rows.record, rows.spec) = (Some(record), Some(spec));
        Ok(())
    }

    fn put_attempt(&mut self, id: WorkId, attempt: AttemptRecord, keep: usize) -> Result<(), StoreError> {
        let rows = self.rows_of(id);
        if keep > 0 && rows.history.is_none() {
            vouched(None::<()>, id, "list of attempts")?;
        }
        let history = rows.history.get_or_insert_default();
        history.drain(..history.len().saturating_sub(keep));
        history.push(attempt);
        Ok(())
    }

    fn remove(&mut self, key: RowKey) -> Result<(), StoreError> {
        match key {
            RowKey::Record(id) => self.empty(id, |rows| rows.record = None),
            RowKey::Spec(id) => self.empty(id, |rows| rows.spec = None),
            RowKey::Output(id) => self.empty(id, |rows| rows.output = None),
            RowKey::Notes(id) => self.empty(id, |rows| rows.notes = None),
            RowKey::History(id) => self.empty(id, |rows| rows.history = None),
            RowKey::Lane(id) => {
                self.lanes.remove(&id);
            }
            RowKey::Cascade(number) => {
                self.cascades.remove(&number);
            }
            RowKey::Gate(id) => drop(self.gates.remove(&id)),
            RowKey::GateSettings => self.settings = None,
            RowKey::Tally(lane) => drop(self.tallies.remove(&lane)),
            RowKey::Meta => self.meta = None,
        }
        Ok(())
    }

    fn link(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        let is_new = self.index.insert(key.clone());
        debug_assert!(is_new, "{key:?} was linked twice");
        Ok(())
    }

    fn unlink(&mut self, key: &IndexKey, _: IfMissing) -> Result<Unlinked, StoreError> {
        Ok(self.index.remove(key).into())
    }
}
