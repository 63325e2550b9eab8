//! Update: stored work takes everything from a new request but its id, its state, its counters, its name and its edges.

use std::sync::Arc;

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{Applied, NewWork, Plan, Refusal, UpdateResult, Write, periodic};
use crate::record::{Notes, ParkReason, Period, Prerequisites, RowsPresent, Standing, Urgency, WorkRecord, WorkSpec};
use crate::time::{Due, Timestamp};

/// UPD-1: unknown work can't be updated, and finished work is left as it is.
pub(super) fn plan(view: &Snapshot, work: &NewWork, now: Timestamp) -> Result<Plan, Halt> {
    view.require([Want::Work(work.id), Want::Spec(work.id)])?;
    let record = view.work(work.id)?.ok_or(Refusal::NotFound(work.id))?;
    let mut draft = Draft::new(view, now);
    let result = apply(&mut draft, record, work)?;
    Ok(draft.done(Applied::Updated(result)))
}

/// Changes `before` to what `work` says.
pub(super) fn apply(draft: &mut Draft<'_>, before: &WorkRecord, work: &NewWork) -> Result<UpdateResult, Halt> {
    if before.period.is_some() != work.terms.schedule.interval().is_some() {
        return Err(Refusal::OtherSchedule(before.id).into());
    }
    if before.state().is_finished() {
        return Ok(UpdateResult::NotApplied);
    }
    let stored = Arc::clone(draft.view.spec(before.id)?);
    let spec = spec(before, &stored, &work.spec)?;
    let runs = matches!(before.standing, Standing::Running { .. });
    let urgency = urgency(before, work);
    let lane_of = if runs { Urgency::Ordinary } else { urgency };
    let lane = draft.lane(&spec.worker, spec.constraints, lane_of)?;
    let terms = work.terms.clone();
    let period = before.period.map(|period| {
        let period = if runs {
            periodic::due_at(&terms, period, period.due)
        } else {
            Period { due: periodic::due_from_anchor(&terms, &period), ..period }
        };
        periodic::overridden(period, work.next_schedule_time)
    });
    let record = WorkRecord { lane, urgency, terms, period, generation: before.generation + 1, ..before.clone() };
    let record = if runs { record } else { without_progress(draft, record, &stored, &spec)? };
    reschedule(draft, before, record);
    draft.put_spec(before.id, Arc::new(spec))?;
    Ok(if runs { UpdateResult::AppliedForNextRun } else { UpdateResult::AppliedImmediately })
}

/// UPD-6: the name and the edges stay.
fn spec(before: &WorkRecord, stored: &WorkSpec, new: &WorkSpec) -> Result<WorkSpec, Halt> {
    let ids = stored.prerequisites.ids.clone();
    let takes = new.prerequisites.shape;
    if !takes.fits(ids.len()) {
        return Err(Refusal::OtherShape { id: before.id, takes, given: ids.len() }.into());
    }
    Ok(WorkSpec { name: stored.name.clone(), prerequisites: Prerequisites { shape: takes, ids }, ..new.clone() })
}

/// Work that has run is never expedited again; a run that is goes on as it is, since its time is counted.
fn urgency(before: &WorkRecord, work: &NewWork) -> Urgency {
    let has_run = before.fence > 0;
    if has_run { before.urgency } else { work.terms.urgency() }
}

/// UPD-3: the progress of an earlier run is gone. Its checkpoint is kept where it still means the same: the same worker with the
/// same input.
fn without_progress(
    draft: &mut Draft<'_>,
    record: WorkRecord,
    stored: &WorkSpec,
    spec: &WorkSpec,
) -> Result<WorkRecord, Halt> {
    let notes = draft.view.notes_of(&record)?;
    if !record.rows.notes {
        return Ok(record);
    }
    let same = stored.worker == spec.worker && stored.input == spec.input;
    let kept =
        notes.checkpoint.filter(|_| same).map(|checkpoint| Notes { progress: None, checkpoint: Some(checkpoint) });
    let rows = RowsPresent { notes: kept.is_some(), ..record.rows };
    draft.write(Write::Notes(record.id, kept));
    Ok(WorkRecord { rows, ..record })
}

/// Puts updated work where its new terms want it; counters and the place in the series stay (UPD-2, UPD-5). A run goes on
/// as it began, poisoned work stays parked, and work that was parked for its input tries the new one. A wait that is neither
/// the work's own delay or period nor its policy's stays: a program that says `Update` at every start would else forgive a
/// suspect each time.
fn reschedule(draft: &mut Draft<'_>, before: &WorkRecord, record: WorkRecord) {
    match &record.standing {
        Standing::Running { .. }
        | Standing::Blocked
        | Standing::Finished { .. }
        | Standing::Parked { why: ParkReason::Poisoned { .. } } => return draft.put(record),
        Standing::Parked { .. } | Standing::Waiting { .. } | Standing::Ready { .. } => {}
    }
    let regular = record.period.map_or(record.enqueued + record.terms.initial_delay, |period| period.due);
    match wait_of(before) {
        Wait::Suspect(until) => {
            let due = periodic::overriding(&record).map_or(until, |due| draft.later(until, due));
            draft.line_up_in_turn(record, due);
        }
        Wait::Other(until) => {
            let due = periodic::overriding(&record).unwrap_or(until);
            draft.line_up_in_turn(record, due);
        }
        Wait::Backoff { ended } => {
            let delay = record.terms.backoff.delay_of(record.id, record.failures);
            let due = periodic::next_run(&record, ended + delay);
            line_up(draft, before, record, due);
        }
        Wait::Regular => {
            let due = periodic::next_run(&record, regular);
            line_up(draft, before, record, due);
        }
    }
}

/// Work goes to the end of the line only if it is to wait for another time, or in another lane. What lined up before and still may
/// run never left its line, whatever time it lines up since: with a turn that is new at each start of a program, work that is
/// updated at each start would come to its turn in none of them.
fn line_up(draft: &mut Draft<'_>, before: &WorkRecord, record: WorkRecord, due: Due) {
    let stays = match before.standing {
        Standing::Ready { since } => due == since || draft.has_come(due),
        Standing::Waiting { due: before } => due == before,
        _ => false,
    };
    if stays && record.lane == before.lane {
        draft.line_up_in_turn(record, due);
    } else {
        draft.line_up(record, due);
    }
}

/// What work waits for.
enum Wait {
    /// Its delay, or the regular time of its period.
    Regular,
    /// The end of the backoff that its policy asks for.
    Backoff { ended: Timestamp },
    /// What follows from the deaths of its process.
    Suspect(Due),
    /// What an attempt asked for, or nothing any more: it was stopped.
    Other(Due),
}

/// The record does not say what it waits for, but each kind of wait has its own time.
fn wait_of(record: &WorkRecord) -> Wait {
    let backoff = record.ended.filter(|_| record.failures > 0);
    let by_policy = backoff.map_or(Wait::Regular, |ended| Wait::Backoff { ended });
    let Some(at) = record.next_run() else { return by_policy };
    let regular = record.period.map_or(record.enqueued + record.terms.initial_delay, |period| period.due);
    let end_of_backoff = |ended| ended + record.terms.backoff.delay_of(record.id, record.failures);
    if record.is_suspect() {
        Wait::Suspect(at)
    } else if periodic::overriding(record) == Some(at)
        || backoff.is_some_and(|ended| at == Due::Store(end_of_backoff(ended)))
    {
        by_policy
    } else if at == Due::Store(regular) {
        Wait::Regular
    } else {
        Wait::Other(at)
    }
}
