//! A plan in the making: records as they will be, and the writes and hints that go with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::gates::GateDraft;
use super::view::{Halt, Snapshot, Want};
use super::{Applied, ById, CASCADE_LIMIT, HISTORY_LIMIT, Hint, Plan, Write};
use crate::constraints::Constraints;
use crate::data::Payload;
use crate::id::WorkId;
use crate::record::{
    AttemptEnd, AttemptRecord, Cascade, CascadeVerb, Finish, Lane, LaneId, Meta, Standing, Terms, Urgency, Wait,
    WorkRecord, WorkSpec,
};
use crate::state::{StopReason, WorkState};
use crate::time::{Due, NextDue, Timestamp};

/// Records in here hide those of the snapshot, so that one plan can move a work twice.
pub(super) struct Draft<'a> {
    pub(super) view: &'a Snapshot,
    pub(super) now: Timestamp,
    pub(super) meta: Meta,
    /// How many dependents this commit may still look at.
    pub(super) cascade_left: usize,
    /// Why works are cancelled now, as whoever does so has said.
    pub(super) because: Option<Arc<str>>,
    /// Whose dependents are left for later commits. Made for the first of them.
    left: Option<BTreeSet<WorkId>>,
    /// Whether one of those has succeeded.
    left_behind_success: bool,
    /// The works that have succeeded and behind which a cancellation goes on, by this commit or by one to come, each with the
    /// number before which what it means was born. Made when it is first asked for.
    passed: Option<BTreeMap<WorkId, u64>>,
    /// The works that this plan moves; `None` if they go.
    moved: ById<Option<Left>>,
    deleted: Vec<WorkId>,
    /// What works of this plan gave.
    given: Vec<(WorkId, Payload)>,
    /// What is written beside the works.
    rest: Vec<Write>,
    hints: Vec<Hint>,
    first_due: NextDue,
    first_until: Option<Timestamp>,
    /// As they were said, so some come more than once.
    heated: Vec<LaneId>,
    /// The one that was asked for last: most works of a plan are of one lane.
    lane: Option<Lane>,
    new_lanes: Vec<Lane>,
    /// What it does to gates.
    pub(super) gates: GateDraft,
}

/// A work as a plan leaves it, with what its request said if it is new or another.
type Left = (WorkRecord, Option<Arc<WorkSpec>>);

/// Where the end of a work has got to: the dependents of `of` behind `after` come next.
#[derive(Clone, Copy)]
pub(super) struct Front {
    pub(super) of: WorkId,
    pub(super) after: Option<WorkId>,
    /// If `of` has succeeded and a cancellation goes on behind it: only works born before this number are meant, as in a
    /// selection. What is enqueued behind it later has nothing to do with it.
    pub(super) born_before: Option<u64>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(view: &'a Snapshot, now: Timestamp) -> Self {
        Draft {
            view,
            now,
            meta: view.meta.clone(),
            cascade_left: CASCADE_LIMIT,
            because: None,
            left: None,
            left_behind_success: false,
            passed: None,
            moved: ById::default(),
            deleted: Vec::new(),
            given: Vec::new(),
            rest: Vec::new(),
            hints: Vec::new(),
            first_due: NextDue::default(),
            first_until: None,
            heated: Vec::new(),
            lane: None,
            new_lanes: Vec::new(),
            gates: GateDraft::default(),
        }
    }

    /// So many works more are about to be moved.
    pub(super) fn expect(&mut self, works: usize) {
        self.moved.reserve(works);
    }

    /// The record as this plan leaves it.
    pub(super) fn work(&self, id: WorkId) -> Result<Option<&WorkRecord>, Halt> {
        match self.moved.get(&id) {
            Some(moved) => Ok(moved.as_ref().map(|(record, _)| record)),
            None => self.view.work(id),
        }
    }

    /// The works that this plan has moved so far.
    pub(super) fn moved_ids(&self) -> Vec<WorkId> {
        self.moved.ids().collect()
    }

    /// The works that this plan has moved so far, and that stay.
    pub(super) fn moved(&self) -> impl Iterator<Item = &WorkRecord> {
        self.moved.values().filter_map(|left| left.as_ref().map(|(record, _)| record))
    }

    /// What the request of a work said, as this plan leaves it.
    pub(super) fn spec_of(&self, id: WorkId) -> Result<Arc<WorkSpec>, Halt> {
        match self.moved.get(&id) {
            Some(Some((_, Some(spec)))) => Ok(Arc::clone(spec)),
            _ => self.view.spec(id).cloned(),
        }
    }

    /// The works of a list, as this plan leaves them.
    pub(super) fn listed(&self, want: Want) -> Result<Vec<WorkRecord>, Halt> {
        let list = self.view.list(want)?;
        let mut records = Vec::with_capacity(list.ids.len());
        for id in &list.ids {
            records.extend(self.work(*id)?.cloned());
        }
        Ok(records)
    }

    /// Moves a work; what its request said stays.
    pub(super) fn put(&mut self, record: WorkRecord) {
        let spec = self.moved.get(&record.id).and_then(|moved| moved.as_ref()?.1.clone());
        self.moved.insert(record.id, Some((record, spec)));
    }

    /// Puts a work that is new, or another than it was.
    pub(super) fn put_work(&mut self, record: WorkRecord, spec: Arc<WorkSpec>) {
        self.moved.insert(record.id, Some((record, Some(spec))));
    }

    /// Replaces what the request of a work said.
    pub(super) fn put_spec(&mut self, id: WorkId, spec: Arc<WorkSpec>) -> Result<(), Halt> {
        if let Some(record) = self.work(id)?.cloned() {
            self.put_work(record, spec);
        }
        Ok(())
    }

    /// The work gave this; its record is moved by this plan too.
    pub(super) fn give(&mut self, id: WorkId, output: Payload) {
        self.given.push((id, output));
    }

    pub(super) fn write(&mut self, write: Write) {
        self.rest.push(write);
    }

    /// Says it once; of due times only the first in each time counts.
    pub(super) fn hint(&mut self, hint: Hint) {
        match hint {
            Hint::Due(due) => self.first_due = self.first_due.and(due),
            Hint::Ready(lane) if self.heated.last() == Some(&lane) => {}
            Hint::Ready(lane) => self.heated.push(lane),
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
        constraints: &Constraints,
        urgency: Urgency,
    ) -> Result<LaneId, Halt> {
        let is_it =
            |lane: &&Lane| lane.worker == *worker && lane.constraints == *constraints && lane.urgency == urgency;
        if let Some(lane) = self.lane.as_ref().filter(is_it) {
            return Ok(lane.id);
        }
        let lane = match self.new_lanes.iter().find(is_it) {
            Some(lane) => lane.clone(),
            None => {
                let want = Want::Lane { worker: Arc::clone(worker), constraints: constraints.clone(), urgency };
                let stored = self.view.lanes.get(&want).ok_or(want)?.iter().find(is_it);
                stored.cloned().unwrap_or_else(|| self.new_lane(worker, constraints, urgency))
            }
        };
        let id = lane.id;
        self.lane = Some(lane);
        Ok(id)
    }

    fn new_lane(&mut self, worker: &Arc<str>, constraints: &Constraints, urgency: Urgency) -> Lane {
        let (id, constraints) = (LaneId(self.meta.next_lane), constraints.clone());
        let lane = Lane { id, worker: Arc::clone(worker), constraints, urgency };
        self.meta.next_lane += 1;
        self.new_lanes.push(lane.clone());
        self.write(Write::Lane(lane.clone()));
        self.hint(Hint::Lane(lane.clone()));
        lane
    }

    /// The store time of a moment, as the clocks stand.
    pub(super) fn store_time(&self, due: Due) -> Timestamp {
        due.in_store_time(self.meta.clock_offset_ms)
    }

    /// Whether a moment has come.
    pub(super) fn has_come(&self, due: Due) -> bool {
        self.store_time(due) <= self.now
    }

    /// The later of two moments, as the clocks stand.
    pub(super) fn later(&self, one: Due, other: Due) -> Due {
        if self.store_time(other) > self.store_time(one) { other } else { one }
    }

    /// Lines the work up: to wait until `due`, or in its lane when that has come. It goes to the end of the line.
    pub(super) fn line_up(&mut self, mut record: WorkRecord, due: Due, why: Wait) {
        record.turn = self.next_seq();
        self.line_up_in_turn(record, due, why);
    }

    /// As [`line_up`](Self::line_up), at the place in line that it had.
    pub(super) fn line_up_in_turn(&mut self, mut record: WorkRecord, due: Due, why: Wait) {
        record.standing = self.in_line(record.lane, due, why);
        self.put(record);
    }

    /// Where work stands that is due then.
    pub(super) fn in_line(&mut self, lane: LaneId, due: Due, why: Wait) -> Standing {
        if self.has_come(due) {
            self.hint(Hint::Ready(lane));
            Standing::Ready { since: due, why }
        } else {
            self.hint(Hint::Due(due));
            Standing::Waiting { due, why }
        }
    }

    /// Ends the work. What it said on the way goes; what depends on it is the caller's business.
    pub(super) fn finish(&mut self, mut record: WorkRecord, how: Finish) {
        if record.rows.notes {
            self.write(Write::Notes(record.id, None));
        }
        record.rows.notes = false;
        record.standing = self.finished(&record.terms, how);
        self.put(record);
    }

    /// Where work of these terms stands that has ended.
    pub(super) fn finished(&mut self, terms: &Terms, how: Finish) -> Standing {
        let until = self.now + terms.retention;
        self.first_until = Some(self.first_until.map_or(until, |first| first.min(until)));
        self.meta.finished += u64::from(terms.counts_when_finished());
        Standing::Finished { how, at: self.now }
    }

    /// A run is over, and so is what was said of the stop before it, and of constraints that came and went. If it was expedited, its run
    /// time is counted, and the work is ordinary from now on.
    pub(super) fn end_run(&mut self, record: WorkRecord) -> WorkRecord {
        self.lose_run(record, Duration::MAX)
    }

    /// The process died under a run. Nobody knows when, so of the time since its start no more than `most` is counted.
    pub(super) fn lose_run(&mut self, record: WorkRecord, most: Duration) -> WorkRecord {
        if record.urgency == Urgency::Expedited {
            let length = record.started.map_or(Duration::ZERO, |started| self.now.since(started));
            self.meta.expedited = self.meta.expedited.with(length.min(most), self.now);
        }
        WorkRecord { urgency: Urgency::Ordinary, stop: None, ..record.flapped(0) }
    }

    /// Cancels the work. If it runs, its worker is told, and the attempt stays on record; if not, it was not stopped by this.
    pub(super) fn cancel(&mut self, mut record: WorkRecord, reason: StopReason) {
        record.stop = None;
        if let Standing::Running { .. } = record.standing {
            record = self.end_run(record);
            self.hint(Hint::Stop { id: record.id, fence: record.fence, reason });
            self.remember(&mut record, AttemptEnd::Interrupted { reason });
            record.stop = Some(reason);
        }
        let record = record.because(self.because.as_ref());
        self.finish(record, Finish::Cancelled);
    }

    /// Notes that an attempt ended; the last ones stay.
    pub(super) fn remember(&mut self, record: &mut WorkRecord, end: AttemptEnd) {
        let attempt = AttemptRecord {
            number: record.failures,
            fence: record.fence,
            generation: record.run_generation,
            started: record.started.unwrap_or(self.now),
            ended: self.now,
            end,
        };
        let keep = if record.rows.history { HISTORY_LIMIT - 1 } else { 0 };
        record.rows.history = true;
        record.ended = Some(self.now);
        self.write(Write::Attempt { id: record.id, attempt, keep });
    }

    /// Leaves the rest of something wide for later commits.
    pub(super) fn leave_cascade(&mut self, verb: CascadeVerb, from: Front) {
        let Front { of, after, born_before } = from;
        let number = self.meta.next_cascade;
        self.meta.next_cascade += 1;
        if self.left.is_none() {
            self.hint(Hint::Cascade);
        }
        self.left.get_or_insert_default().insert(of);
        self.left_behind_success |= born_before.is_some();
        let because = self.because.clone().filter(|_| verb == CascadeVerb::Cancel);
        self.write(Write::Cascade(Cascade { number, verb, of, after, born_before, because }));
    }

    /// Whether a cancellation that means works born before `bound` has yet to go on behind this one, which has succeeded. It does
    /// so once: through a mesh of finished works there are more ways than anybody could go.
    pub(super) fn passes(&mut self, of: WorkId, bound: u64) -> Result<bool, Halt> {
        if self.passed.is_none() {
            let bounds = self.view.cascades()?.iter().filter_map(|cascade| Some((cascade.of, cascade.born_before?)));
            let mut passed = BTreeMap::new();
            bounds.for_each(|(of, bound)| raise(&mut passed, of, bound));
            self.passed = Some(passed);
        }
        let passed = self.passed.get_or_insert_default();
        let is_new = passed.get(&of).is_none_or(|known| *known < bound);
        raise(passed, of, bound);
        Ok(is_new)
    }

    /// Whether dependents of this work are still to be told of an end: of its own, or of that of a work before it, which a
    /// cancellation passes on through what has succeeded.
    pub(super) fn has_cascade(&self, record: &WorkRecord) -> Result<bool, Halt> {
        let passes = record.state() == WorkState::Succeeded && record.rows.dependents;
        let is_told = |cascade: &Cascade| cascade.of == record.id || (passes && cascade.born_before.is_some());
        let is_left =
            self.left.as_ref().is_some_and(|left| left.contains(&record.id)) || (passes && self.left_behind_success);
        Ok(is_left || self.view.cascades()?.iter().any(is_told))
    }

    /// The work goes, with all its rows.
    pub(super) fn delete(&mut self, id: WorkId) -> Result<(), Halt> {
        let Some(record) = self.work(id)? else { return Ok(()) };
        let counted = u64::from(record.counts_as_finished());
        self.meta.finished = self.meta.finished.saturating_sub(counted);
        self.moved.insert(id, None);
        self.deleted.push(id);
        Ok(())
    }

    /// What is to be written. Of works that go nothing is written.
    pub(super) fn written(self, applied: Applied) -> Plan {
        let Draft { moved, deleted, mut given, mut rest, mut hints, mut heated, .. } = self;
        if !deleted.is_empty() {
            rest.retain(|write| match write {
                Write::Notes(id, _) | Write::Attempt { id, .. } => !matches!(moved.get(id), Some(None)),
                _ => true,
            });
        }
        let moved = moved.into_ordered();
        let mut writes = Vec::with_capacity(deleted.len() + moved.len() + rest.len());
        writes.extend(deleted.into_iter().map(Write::Delete));
        for (_, left) in moved {
            match left {
                Some((record, Some(spec))) => writes.push(Write::Work(record, spec)),
                Some((record, None)) => match given.iter().position(|(id, _)| *id == record.id) {
                    Some(at) => writes.push(Write::Finished(record, given.swap_remove(at).1)),
                    None => writes.push(Write::Record(record)),
                },
                None => {}
            }
        }
        writes.extend(rest);
        heated.sort_unstable();
        heated.dedup();
        hints.extend(heated.into_iter().map(Hint::Ready));
        hints.extend(self.first_due.iter().map(Hint::Due));
        let stored = self.meta.finished;
        hints.extend(self.first_until.map(|until| Hint::Finished { stored, until }));
        Plan { writes, meta: self.meta, hints, applied }
    }
}

fn raise(bounds: &mut BTreeMap<WorkId, u64>, of: WorkId, bound: u64) {
    let known = bounds.entry(of).or_insert(bound);
    *known = bound.max(*known);
}
