//! [`Audit`]: holds everything in a store against everything else, for those who verify a file.
//!
//! A store that is at work looks at what it needs. An audit looks at all there is: each record against the entries that it asks
//! for, each entry against its record, each row against the record that vouches for it, and all numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Damage, StoreError};
use super::gate_tally::GateTally;
use super::invariants::{Dump, check_gate_numbers, check_record};
use super::rows::{Row, RowKey, Rows, get_record, incomplete, stored_meta, vouched};
use crate::id::WorkId;
use crate::index::{IndexKey, IndexRange, asks_for, keys_of};
use crate::plan::Want;
use crate::record::{GateId, Lane, LaneId, Meta, Tally, WorkRecord, WorkSpec};

/// So many findings are listed; all are counted.
const LISTED: usize = 1_000;

/// What is found while a store is gone through.
#[derive(Debug, Default)]
pub struct Audit {
    meta: Meta,
    lanes: BTreeMap<LaneId, Lane>,
    finished: u64,
    /// As the rows say, and as the records do.
    tallies: BTreeMap<LaneId, (Option<Tally>, Tally)>,
    births: Vec<(u64, WorkId)>,
    tally: GateTally,
    /// Of how many gates something is wanted, and how many have rows and openings.
    gates: (usize, u64, u64),
    findings: Vec<String>,
    total: u64,
}

impl Audit {
    /// Begins with what the store says of itself.
    pub fn begin(rows: &impl Rows) -> Self {
        let mut audit = Audit::default();
        match stored_meta(rows) {
            Ok(meta) => audit.meta = meta,
            Err(error) => audit.find(error.to_string()),
        }
        for number in 0..audit.meta.next_lane {
            match rows.get(RowKey::Lane(LaneId(number))) {
                Ok(Some(Row::Lane(lane))) => drop(audit.lanes.insert(lane.id, lane)),
                Ok(_) => audit.find(format!("lane {number} is missing")),
                Err(error) => audit.find(error.to_string()),
            }
            match rows.get(RowKey::Tally(LaneId(number))) {
                Ok(row) => {
                    let said = match row {
                        Some(Row::Tally(_, tally)) => Some(tally),
                        _ => None,
                    };
                    audit.tallies.insert(LaneId(number), (said, Tally::default()));
                }
                Err(error) => audit.find(error.to_string()),
            }
        }
        for number in audit.meta.first_cascade..audit.meta.next_cascade {
            match rows.get(RowKey::Cascade(number)) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    audit.find(format!("cascade {number} is missing: dependents of a work that ended are not told"))
                }
                Err(error) => audit.find(error.to_string()),
            }
        }
        audit.settings(rows);
        audit
    }

    /// What is wanted of gates is there if the store says that something is.
    fn settings(&mut self, rows: &impl Rows) {
        match rows.get(RowKey::GateSettings) {
            Ok(Some(Row::GateSettings(settings))) => self.gates.0 = settings.gates.len(),
            Ok(_) if self.meta.gates.settings > 0 => self.find(incomplete(&Want::GateSettings.into()).to_string()),
            Ok(_) => {}
            Err(error) => self.find(error.to_string()),
        }
    }

    /// Notes what is wrong.
    pub fn find(&mut self, what: String) {
        self.total += 1;
        if self.findings.len() < LISTED {
            self.findings.push(what);
        }
    }

    /// Looks at a work of which there is a row, and answers it if it can be read.
    pub fn work(&mut self, rows: &impl Rows, id: WorkId) -> Option<(WorkRecord, Arc<WorkSpec>)> {
        let (record, spec) = match rows.get_work(id) {
            Ok(Some(work)) => work,
            Ok(None) => {
                self.find(format!("work {id} has a row and is not found by its id"));
                return None;
            }
            Err(error) => {
                self.find(error.to_string());
                return None;
            }
        };
        self.finished += u64::from(record.counts_as_finished());
        self.births.push((record.seq, id));
        self.tally.add(&record, &spec);
        if let Some((_, found)) = self.tallies.get_mut(&record.lane) {
            *found = found.with(&record);
        }
        let looked = [
            self.entries_of(rows, &record, &spec),
            self.beside(rows, &record),
            self.prerequisites(rows, &record, &spec),
        ];
        looked.into_iter().filter_map(Result::err).for_each(|error| self.find(error.to_string()));
        self.numbers_of(&record, &spec);
        Some((record, spec))
    }

    /// Looks at an entry.
    pub fn entry(&mut self, rows: &impl Rows, key: &IndexKey) {
        if let IndexKey::Opens { due, gate } = key {
            match rows.get(RowKey::Gate(*gate)) {
                Ok(Some(Row::Gate(row))) if row.opens == Some(*due) => {}
                Ok(_) => self.find(format!("the index holds {key:?}, and the row of that gate says otherwise")),
                Err(error) => self.find(error.to_string()),
            }
            return;
        }
        match rows.get_work(key.id()) {
            Ok(Some((record, spec))) if asks_for(&record, &spec, key) => {}
            Ok(Some(_)) => self.find(format!("the index holds {key:?}, and the record of that work says otherwise")),
            Ok(None) => self.find(format!("the index holds {key:?}, and there is no such work")),
            // The work is among the findings already.
            Err(_) => {}
        }
    }

    /// Looks at a row that lies beside a work.
    pub fn row_beside(&mut self, rows: &impl Rows, id: WorkId, table: &str) {
        if matches!(get_record(rows, id), Ok(None)) {
            self.find(format!("there is a row of work {id} in table `{table}`, and no such work"));
        }
    }

    /// Looks at the row of a gate, after all works.
    pub fn gate(&mut self, rows: &impl Rows, id: GateId) {
        self.gates.1 += 1;
        let row = match rows.get(RowKey::Gate(id)) {
            Ok(Some(Row::Gate(row))) => row,
            Ok(_) => return self.find(format!("gate {id:?} has a row and is not found by its number")),
            Err(error) => return self.find(error.to_string()),
        };
        if let Some(due) = row.opens {
            self.gates.2 += 1;
            let key = IndexKey::Opens { due, gate: id };
            match rows.scan(&IndexRange::one(&key), 1) {
                Ok(found) if found.is_empty() => self.find(Damage::missing(&key).what),
                Ok(_) => {}
                Err(error) => self.find(error.to_string()),
            }
        }
        self.tally.hold_against(&row).into_iter().for_each(|wrong| self.find(wrong));
    }

    /// A lane or a cascade that nothing vouches for is none that was written.
    pub fn number(&mut self, key: RowKey) {
        let is_vouched_for = match key {
            RowKey::Lane(lane) | RowKey::Tally(lane) => lane.0 < self.meta.next_lane,
            RowKey::Cascade(number) => (self.meta.first_cascade..self.meta.next_cascade).contains(&number),
            _ => true,
        };
        if !is_vouched_for {
            self.find(format!("there is a row {key:?} that the store's own row does not know of"));
        }
    }

    /// What is wrong, and how much that is in all: not all of it is listed if it is much.
    #[must_use]
    pub fn end(mut self) -> (Vec<String>, u64) {
        if self.finished != self.meta.finished {
            let (counted, found) = (self.meta.finished, self.finished);
            self.find(format!("the store counts {counted} finished works that nobody asked to keep, and has {found}"));
        }
        let gates = &self.meta.gates;
        let wrong = self.tally.hold_rest_against(gates).into_iter().chain(check_gate_numbers(gates, self.gates));
        wrong.collect::<Vec<_>>().into_iter().for_each(|wrong| self.find(wrong));
        for (lane, (said, found)) in std::mem::take(&mut self.tallies) {
            if said.unwrap_or_default() != found {
                self.find(format!("lane {} counts its works as {said:?}, and has {found:?}", lane.0));
            }
        }
        self.births.sort_unstable();
        let births = std::mem::take(&mut self.births);
        for pair in births.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            self.find(format!("{} and {} have the same birth number {}", pair[0].1, pair[1].1, pair[0].0));
        }
        (self.findings, self.total)
    }

    fn entries_of(&mut self, rows: &impl Rows, record: &WorkRecord, spec: &WorkSpec) -> Result<(), StoreError> {
        let keys: BTreeSet<IndexKey> = keys_of(record, spec).collect();
        for key in keys {
            if let IndexKey::Dependent { of, .. } = &key
                && !is_prerequisite(rows, *of, record)
            {
                continue;
            }
            if rows.scan(&IndexRange::one(&key), 1)?.is_empty() {
                self.find(Damage::missing(&key).what);
            }
        }
        Ok(())
    }

    fn beside(&mut self, rows: &impl Rows, record: &WorkRecord) -> Result<(), StoreError> {
        let id = record.id;
        let beside = [
            (record.rows.output, RowKey::Output(id), "output"),
            (record.rows.notes, RowKey::Notes(id), "progress or checkpoint"),
            (record.rows.history, RowKey::History(id), "list of attempts"),
        ];
        for (is_vouched_for, key, what) in beside {
            match (is_vouched_for, rows.get(key)?) {
                (true, row) => {
                    let row = vouched(row, id, what)?;
                    if let Row::History(_, attempts) = row
                        && attempts.iter().any(|attempt| attempt.fence > record.fence)
                    {
                        self.find(format!(
                            "work {id} has an attempt that its record does not know of: the record is older"
                        ));
                    }
                }
                (false, Some(_)) => self.find(format!("work {id} has a {what} that its record does not know of")),
                (false, None) => {}
            }
        }
        if !record.rows.dependents && !rows.scan(&IndexRange::dependents(id), 1)?.is_empty() {
            self.find(format!("work {id} has dependents that its record does not know of"));
        }
        Ok(())
    }

    /// What must hold of a record and its prerequisites at every commit.
    fn prerequisites(&mut self, rows: &impl Rows, record: &WorkRecord, spec: &Arc<WorkSpec>) -> Result<(), StoreError> {
        let mut known = Dump { meta: self.meta.clone(), ..Dump::default() };
        for id in spec.prerequisites.ids.iter().copied() {
            known.records.extend(get_record(rows, id)?.map(|record| (id, record)));
        }
        known.records.insert(record.id, record.clone());
        known.specs.insert(record.id, Arc::clone(spec));
        let mut wrong = Vec::new();
        check_record(&known, record, &mut wrong);
        wrong.into_iter().for_each(|wrong| self.find(wrong));
        Ok(())
    }

    fn numbers_of(&mut self, record: &WorkRecord, spec: &WorkSpec) {
        let id = record.id;
        if record.seq.max(record.turn) >= self.meta.next_seq {
            self.find(format!("{id} has a number that was not handed out yet"));
        }
        let fits = |lane: &Lane| lane.worker == spec.worker && lane.constraints == spec.constraints;
        if !self.lanes.get(&record.lane).is_some_and(fits) {
            self.find(format!(
                "{id} stands in lane {}, which is not that of its worker and constraints",
                record.lane.0
            ));
        }
    }
}

/// Whether a work waits or waited for this one, and not for another of the same id before: every work is born after its
/// prerequisites.
fn is_prerequisite(rows: &impl Rows, of: WorkId, record: &WorkRecord) -> bool {
    matches!(get_record(rows, of), Ok(Some(prerequisite)) if prerequisite.seq < record.seq)
}
