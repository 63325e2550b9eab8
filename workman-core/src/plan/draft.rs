//! A plan in the making: records as they will be, and the writes and hints that go with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::view::{Halt, Snapshot, Want};
use super::{Applied, CASCADE_LIMIT, Claimed, HISTORY_LIMIT, Hint, Plan, Write, periodic};
use crate::constraints::Constraints;
use crate::id::WorkId;
use crate::record::{
    AttemptEnd, AttemptRecord, Cascade, CascadeVerb, Finish, Lane, LaneId, Meta, RowsPresent, Standing, Urgency,
    WorkRecord, WorkSpec,
};
use crate::state::StopReason;
use crate::time::Timestamp;

/// Records in here hide those of the snapshot, so that one plan can move a work twice.
pub(super) struct Draft<'a> {
    pub(super) view: &'a Snapshot,
    pub(super) now: Timestamp,
    pub(super) meta: Meta,
    /// How many dependents this commit may still look at.
    pub(super) cascade_room: usize,
    left: BTreeSet<WorkId>,
    records: BTreeMap<WorkId, WorkRecord>,
    specs: BTreeMap<WorkId, Arc<WorkSpec>>,
    deleted: BTreeSet<WorkId>,
    writes: Vec<Write>,
    hints: Vec<Hint>,
    first_due: Option<Timestamp>,
    first_until: Option<Timestamp>,
    heated: BTreeSet<LaneId>,
    lanes: Vec<Lane>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(view: &'a Snapshot, now: Timestamp) -> Self {
        Draft {
            view,
            now,
            meta: view.meta.clone(),
            cascade_room: CASCADE_LIMIT,
            left: BTreeSet::new(),
            records: BTreeMap::new(),
            specs: BTreeMap::new(),
            deleted: BTreeSet::new(),
            writes: Vec::new(),
            hints: Vec::new(),
            first_due: None,
            first_until: None,
            heated: BTreeSet::new(),
            lanes: Vec::new(),
        }
    }

    /// The record as this plan leaves it.
    pub(super) fn work(&self, id: WorkId) -> Result<Option<&WorkRecord>, Halt> {
        if self.deleted.contains(&id) {
            return Ok(None);
        }
        match self.records.get(&id) {
            Some(record) => Ok(Some(record)),
            None => self.view.work(id),
        }
    }

    pub(super) fn put(&mut self, record: WorkRecord) {
        self.records.insert(record.id, record);
    }

    /// What the request of this work said, now or anew.
    pub(super) fn put_spec(&mut self, id: WorkId, spec: Arc<WorkSpec>) -> Result<(), Halt> {
        if !self.records.contains_key(&id) {
            self.work(id)?.cloned().into_iter().for_each(|record| self.put(record));
        }
        self.specs.insert(id, spec);
        Ok(())
    }

    pub(super) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Says it once; of due times only the first counts.
    pub(super) fn hint(&mut self, hint: Hint) {
        match hint {
            Hint::Due(due) => self.first_due = Some(self.first_due.map_or(due, |first| first.min(due))),
            Hint::Ready(lane) => {
                self.heated.insert(lane);
            }
            other => self.hints.push(other),
        }
    }

    /// The next number for a birth or a place in line.
    pub(super) fn next_seq(&mut self) -> u64 {
        let seq = self.meta.next_seq;
        self.meta.next_seq += 1;
        seq
    }

    /// The lane of these three, made now if it is new.
    pub(super) fn lane(
        &mut self,
        worker: &Arc<str>,
        constraints: Constraints,
        urgency: Urgency,
    ) -> Result<LaneId, Halt> {
        let is_it = |lane: &&Lane| lane.worker == *worker && lane.constraints == constraints && lane.urgency == urgency;
        if let Some(lane) = self.lanes.iter().find(is_it) {
            return Ok(lane.id);
        }
        let want = Want::Lane { worker: Arc::clone(worker), constraints, urgency };
        let stored = self.view.lanes.get(&want).ok_or(want)?;
        if let Some(lane) = stored.iter().find(is_it) {
            return Ok(lane.id);
        }
        let lane = Lane { id: LaneId(self.meta.next_lane), worker: Arc::clone(worker), constraints, urgency };
        self.meta.next_lane += 1;
        self.lanes.push(lane.clone());
        self.write(Write::Lane(lane.clone()));
        self.hint(Hint::Lane(lane.clone()));
        Ok(lane.id)
    }

    /// Lines the record up: to wait until `due`, or in its lane when that has come. It goes to the end of the line.
    pub(super) fn line_up(&mut self, record: WorkRecord, due: Timestamp) -> WorkRecord {
        let turn = self.next_seq();
        self.line_up_in_turn(WorkRecord { turn, ..record }, due)
    }

    /// As [`line_up`](Self::line_up), at the place in line that it had.
    pub(super) fn line_up_in_turn(&mut self, record: WorkRecord, due: Timestamp) -> WorkRecord {
        let lined_up = if due <= self.now {
            self.hint(Hint::Ready(record.lane));
            record.standing_at(Standing::Ready { since: due })
        } else {
            self.hint(Hint::Due(due));
            record.standing_at(Standing::Waiting { due })
        };
        self.put(lined_up.clone());
        lined_up
    }

    /// Ends the work. What it said on the way goes; what depends on it is the caller's business.
    pub(super) fn finish(&mut self, record: &WorkRecord, how: Finish) {
        if record.rows.notes {
            self.write(Write::Notes(record.id, None));
        }
        let rows = RowsPresent { notes: false, ..record.rows };
        let finished = WorkRecord { rows, ..record.standing_at(Standing::Finished { how, at: self.now }) };
        self.meta.finished += u64::from(finished.counts_as_finished());
        let until = self.now + record.terms.retention;
        self.first_until = Some(self.first_until.map_or(until, |first| first.min(until)));
        self.put(finished);
    }

    /// A run is over. If it was expedited, its run time is counted, and the work is ordinary from now on.
    pub(super) fn end_run(&mut self, record: &WorkRecord) -> WorkRecord {
        self.lose_run(record, Duration::MAX)
    }

    /// The process died under a run. Nobody knows when, so of the time since its start no more than `most` is counted.
    pub(super) fn lose_run(&mut self, record: &WorkRecord, most: Duration) -> WorkRecord {
        if record.urgency == Urgency::Expedited {
            let length = record.started.map_or(Duration::ZERO, |started| self.now.since(started));
            self.meta.expedited = self.meta.expedited.with(length.min(most), self.now);
        }
        WorkRecord { urgency: Urgency::Ordinary, ..record.clone() }
    }

    /// What [`cancel`](Self::cancel) will ask for, so that a plan of many works can ask for all of it at once.
    pub(super) fn wanted_to_stop(record: &WorkRecord) -> Option<Want> {
        let runs = matches!(record.standing, Standing::Running { .. });
        (runs && record.rows.history).then_some(Want::History(record.id))
    }

    /// Cancels the work. If it runs, its worker is told, and the attempt stays on record.
    pub(super) fn cancel(&mut self, record: &WorkRecord, reason: StopReason) -> Result<(), Halt> {
        let mut record = record.clone();
        if let Standing::Running { .. } = record.standing {
            record = self.end_run(&record);
            self.hint(Hint::Stop { id: record.id, fence: record.fence, reason });
            self.remember(&mut record, AttemptEnd::Interrupted { reason })?;
            record.stop = Some(reason);
        }
        self.finish(&record, Finish::Cancelled);
        Ok(())
    }

    /// Notes that an attempt ended; the last ones stay.
    pub(super) fn remember(&mut self, record: &mut WorkRecord, end: AttemptEnd) -> Result<(), Halt> {
        let mut history = self.view.history_of(record)?;
        history.push(AttemptRecord {
            number: record.failures,
            fence: record.fence,
            started: record.started.unwrap_or(self.now),
            ended: self.now,
            end,
        });
        history.drain(..history.len().saturating_sub(HISTORY_LIMIT));
        record.rows.history = true;
        record.ended = Some(self.now);
        self.write(Write::History(record.id, history));
        Ok(())
    }

    /// Hands the work to a manager: the fence goes up before any user code runs. Whatever comes of this run, the next one is an
    /// ordinary one, and an override of the next run is spent.
    pub(super) fn claim(&mut self, record: &WorkRecord, spec: &Arc<WorkSpec>, epoch: u64) -> Result<Claimed, Halt> {
        let checkpoint = self.view.notes_of(record)?.checkpoint;
        let lane = match record.urgency {
            Urgency::Ordinary => record.lane,
            Urgency::Expedited => self.lane(&spec.worker, spec.constraints, Urgency::Ordinary)?,
        };
        let record = WorkRecord {
            lane,
            period: record.period.map(|period| periodic::claimed(record, period, self.now)),
            fence: record.fence + 1,
            started: Some(self.now),
            stop: None,
            ..record.standing_at(Standing::Running { epoch })
        };
        self.put(record.clone());
        Ok(Claimed { record, spec: Arc::clone(spec), checkpoint })
    }

    /// Leaves the rest of something wide for later commits.
    pub(super) fn leave_cascade(&mut self, verb: CascadeVerb, of: WorkId, after: Option<WorkId>) {
        let number = self.meta.next_cascade;
        self.meta.next_cascade += 1;
        if self.left.is_empty() {
            self.hint(Hint::Cascade);
        }
        self.left.insert(of);
        self.write(Write::Cascade(Cascade { number, verb, of, after }));
    }

    /// Whether dependents of this work are still to be told of its end.
    pub(super) fn has_cascade(&self, of: WorkId) -> Result<bool, Halt> {
        Ok(self.left.contains(&of) || self.view.cascades()?.iter().any(|cascade| cascade.of == of))
    }

    /// The work goes, with all its rows.
    pub(super) fn delete(&mut self, id: WorkId) -> Result<(), Halt> {
        let Some(record) = self.work(id)? else { return Ok(()) };
        let counted = u64::from(record.counts_as_finished());
        self.meta.finished = self.meta.finished.saturating_sub(counted);
        self.records.remove(&id);
        self.specs.remove(&id);
        self.deleted.insert(id);
        self.write(Write::Delete(id));
        Ok(())
    }

    /// The finished plan. Of works that go nothing is written.
    pub(super) fn done(self, applied: Applied) -> Plan {
        let (deletes, mut rest): (Vec<_>, Vec<_>) =
            self.writes.into_iter().partition(|w| matches!(w, Write::Delete(_)));
        rest.retain(|write| match write {
            Write::Output(id, _) | Write::Notes(id, _) | Write::History(id, _) => !self.deleted.contains(id),
            _ => true,
        });
        let mut specs = self.specs;
        let records = self.records.into_values().map(|record| match specs.remove(&record.id) {
            Some(spec) => Write::Work(record, spec),
            None => Write::Record(record),
        });
        let writes = deletes.into_iter().chain(records).chain(rest).collect();
        let mut hints = self.hints;
        hints.extend(self.heated.into_iter().map(Hint::Ready));
        hints.extend(self.first_due.map(Hint::Due));
        let stored = self.meta.finished;
        hints.extend(self.first_until.map(|until| Hint::Finished { stored, until }));
        Plan { writes, meta: self.meta, hints, applied }
    }
}
