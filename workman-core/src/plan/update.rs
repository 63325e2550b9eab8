//! Update: stored work takes everything from a new request but its id, its state, its counters, its name and its edges.

use std::sync::Arc;

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{Applied, NewWork, Plan, Refusal, UpdateResult, Write, periodic, settle};
use crate::record::{
    Notes, ParkReason, Period, Prerequisites, RowsPresent, Standing, Urgency, Wait, WorkRecord, WorkSpec,
};
use crate::time::{Due, Timestamp};

/// UPD-1: unknown work can't be updated, and finished work is left as it is.
pub(super) fn plan(view: &Snapshot, work: &NewWork, now: Timestamp) -> Result<Plan, Halt> {
    view.require([Want::Work(work.id), Want::Spec(work.id)])?;
    let record = view.work(work.id)?.ok_or(Refusal::NotFound(work.id))?;
    let mut draft = Draft::new(view, now);
    let result = apply(&mut draft, record, work)?;
    draft.done(Applied::Updated(result))
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
    let lane = draft.lane(&spec.worker, &spec.constraints, lane_of)?;
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
    let record = draft.gated(record, &spec)?;
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
        // Newer work has its name, so it does not begin unless somebody says so.
        Standing::Parked { .. } if record.is_superseded() => return draft.put(record),
        Standing::Parked { .. } | Standing::Waiting { .. } | Standing::Ready { .. } | Standing::Held { .. } => {}
    }
    let (until, why) = match (before.next_run(), before.wait()) {
        (Some(due), Some(why)) => (due, why),
        _ => (Due::Store(draft.now), Wait::Nothing),
    };
    let overriding = periodic::overriding(&record).map(|due| (due, Wait::Override));
    if before.is_suspect() {
        let (due, why) = match overriding {
            Some((due, why)) if draft.later(until, due) == due => (due, why),
            _ => (until, why),
        };
        return draft.line_up_in_turn(record, due, why);
    }
    match why {
        Wait::Nothing | Wait::Asked | Wait::OwnBackoff | Wait::Deaths | Wait::Flapping | Wait::Trigger => {
            let (due, why) = overriding.unwrap_or((until, why));
            draft.line_up_in_turn(record, due, why);
        }
        Wait::Delay | Wait::FirstRun | Wait::Period | Wait::Override | Wait::Backoff | Wait::Interruption => {
            let (due, why) = by_terms(draft, &record, why);
            line_up(draft, before, record, due, why);
        }
    }
}

/// When work is due by its terms that waited for this by its terms before. An override that is gone leaves what was there without it.
fn by_terms(draft: &Draft<'_>, record: &WorkRecord, waited: Wait) -> (Due, Wait) {
    let (due, why) = match (waited, record.ended, record.period) {
        (Wait::Backoff | Wait::Override, Some(ended), _) if record.failures > 0 => {
            (Due::Store(ended + record.terms.backoff.delay_of(record.id, record.failures)), Wait::Backoff)
        }
        (Wait::Interruption, Some(ended), _) => {
            (Due::Store(ended + settle::after_interruption(record)), Wait::Interruption)
        }
        (.., Some(period)) => (Due::Store(period.due), periodic::regular_wait(&record.terms, Some(&period))),
        _ => (periodic::after_delay(draft, &record.terms, record.enqueued), Wait::Delay),
    };
    periodic::overriding(record).map_or((due, why), |due| (due, Wait::Override))
}

/// Work goes to the end of the line only if it is to wait for another time, or in another lane. What lined up before and still may
/// run never left its line, whatever time it lines up since: with a turn that is new at each start of a program, work that is
/// updated at each start would come to its turn in none of them.
fn line_up(draft: &mut Draft<'_>, before: &WorkRecord, record: WorkRecord, due: Due, why: Wait) {
    let stays = match before.standing {
        Standing::Ready { since, .. } | Standing::Held { since, .. } => due == since || draft.has_come(due),
        Standing::Waiting { due: before, .. } => due == before,
        _ => false,
    };
    if stays && record.lane == before.lane {
        draft.line_up_in_turn(record, due, why);
    } else {
        draft.line_up(record, due, why);
    }
}
