//! Settle: what the end of an attempt makes of a work, and what a running worker says on the way.

use std::time::Duration;

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{Advice, Applied, Blame, End, Endurance, Note, Plan, Refusal, Settle, Write, cascade, periodic};
use crate::data::Payload;
use crate::id::WorkId;
use crate::policy::{OnInterruption, SHORTEST_WAIT, pause_after_flaps};
use crate::record::{
    AttemptEnd, CascadeVerb, ErrorText, Finish, Notes, ParkReason, RowsPresent, Standing, Urgency, Wait, WorkRecord,
};
use crate::state::StopReason;
use crate::time::{Due, Timestamp};

pub(super) fn settle(view: &Snapshot, settle: &Settle, now: Timestamp) -> Result<Plan, Halt> {
    let record = held(view, settle.id, settle.fence)?;
    view.require(wants(record, &settle.end))?;
    let mut draft = Draft::new(view, now);
    draft.expect(1);
    let record = record.clone();
    let failures = match &settle.end {
        End::Succeeded { output } => succeed(&mut draft, cleared(record), output)?,
        End::Failed { error, advice } => fail(&mut draft, cleared(record), error.clone(), None, *advice)?,
        End::TimedOut { limit, advice, error } => {
            let error = ErrorText::timed_out(*limit, error.clone());
            fail(&mut draft, cleared(record), error, Some(StopReason::Timeout), *advice)?
        }
        End::Snoozed { delay } => snooze(&mut draft, cleared(record), *delay),
        End::Interrupted { reason } => interrupt(&mut draft, record, *reason, None),
        End::HeldBack { reason, delay } => interrupt(&mut draft, record, *reason, Some(*delay)),
        End::GivenUp { reason, delay } => {
            let record = WorkRecord { turn: draft.next_seq(), ..record };
            interrupt(&mut draft, record, *reason, *delay)
        }
        End::NotBegun => give_back(&mut draft, record),
        End::Unrunnable { why } => park(&mut draft, record, why.clone()),
    };
    let answer = settled(draft.work(settle.id)?.ok_or(Refusal::NotFound(settle.id))?, failures);
    draft.done(answer)
}

/// What an end will ask for, so that nothing is made before it is there.
fn wants(record: &WorkRecord, end: &End) -> Option<Want> {
    let releases = matches!(end, End::Succeeded { .. }) && record.period.is_none();
    if releases { cascade::wants(CascadeVerb::Release, record, cascade::width(1)) } else { None }
}

pub(super) fn settled(record: &WorkRecord, failures: u32) -> Applied {
    Applied::Settled { state: record.state(), next_run: record.next_run(), failures }
}

/// The record, if the run that asks still holds it.
fn held(view: &Snapshot, id: WorkId, fence: u64) -> Result<&WorkRecord, Halt> {
    view.work(id)?.filter(|record| record.is_held_under(fence)).ok_or(Halt::Refuse(Refusal::Stale(id)))
}

/// A finished attempt shows that the work does not kill its process.
fn cleared(record: WorkRecord) -> WorkRecord {
    WorkRecord { deaths: 0, ..record }
}

fn succeed(draft: &mut Draft<'_>, record: WorkRecord, output: &Payload) -> Result<u32, Halt> {
    let mut record = draft.end_run(record);
    let (id, failures) = (record.id, record.failures);
    if let Some(period) = record.period {
        draft.remember(&mut record, AttemptEnd::Succeeded);
        periodic::succeed(draft, record, &period);
        return Ok(failures);
    }
    record.ended = Some(draft.now);
    if !record.terms.discards_output {
        record.rows.output = true;
        draft.give(record.id, output.clone());
    }
    draft.finish(record, Finish::Succeeded);
    cascade::spread(draft, CascadeVerb::Release, id, StopReason::CancelledByApp, cascade::width(1))?;
    Ok(failures)
}

fn fail(
    draft: &mut Draft<'_>,
    record: WorkRecord,
    error: ErrorText,
    stop: Option<StopReason>,
    advice: Advice,
) -> Result<u32, Halt> {
    let mut record = WorkRecord { stop, ..draft.end_run(record) };
    draft.remember(&mut record, AttemptEnd::Failed { error });
    record.failures += 1;
    let failures = record.failures;
    let wait = match advice {
        Advice::Never | Advice::Unstorable => None,
        _ if record.terms.max_attempts.is_some_and(|max| failures >= max) => None,
        Advice::ByPolicy => Some((record.terms.backoff.delay_of(record.id, failures), Wait::Backoff)),
        Advice::ByFunction(delay) => Some((unless_bounded(&record, delay), Wait::OwnBackoff)),
        Advice::After(delay) => Some((unless_bounded(&record, delay), Wait::Asked)),
    };
    match (wait.map(|(delay, why)| (draft.now + delay, why)), record.period) {
        (Some((due, why)), Some(period)) if due < periodic::regular_due(&record, &period) => {
            let (due, why) = periodic::next_run(&record, due, why);
            draft.line_up(record, due, why);
        }
        (_, Some(period)) => {
            periodic::fail(draft, record, &period);
        }
        (Some((due, why)), None) => {
            draft.line_up(record, Due::Store(due), why);
        }
        (None, None) => fail_for_good(draft, record, cascade::width(1))?,
    }
    Ok(failures)
}

/// What a program says of the next attempt is at least a moment, unless the number of attempts has an end anyway.
fn unless_bounded(record: &WorkRecord, delay: Duration) -> Duration {
    if record.terms.max_attempts.is_some() { delay } else { delay.max(SHORTEST_WAIT) }
}

/// DEP-2: the work fails, and with it all that depends on it.
pub(super) fn fail_for_good(draft: &mut Draft<'_>, record: WorkRecord, width: usize) -> Result<(), Halt> {
    let id = record.id;
    draft.finish(record, Finish::Failed);
    cascade::spread(draft, CascadeVerb::Fail, id, StopReason::CancelledByApp, width)?;
    Ok(())
}

fn snooze(draft: &mut Draft<'_>, record: WorkRecord, delay: Duration) -> u32 {
    let mut record = draft.end_run(record);
    draft.remember(&mut record, AttemptEnd::Snoozed);
    let failures = record.failures;
    // Nothing limits how often it may say so.
    let (due, why) = periodic::next_run(&record, draft.now + delay.max(SHORTEST_WAIT), Wait::Asked);
    draft.line_up(record, due, why);
    failures
}

/// An interruption is no failure: the attempt is given back, and the work keeps its place in line. It waits only if its request
/// asked for that, and only if the system interrupted it and not the end of the program (BO-6). Periodic work waits no longer
/// than until its next period would be due, since nothing else ends this one. What the worker's own function says of the wait
/// goes before the policy. After a lost constraint each work waits a little, and longer for each such run in a row: one that comes
/// and goes would else start the same work over and over.
pub(super) fn interrupt(
    draft: &mut Draft<'_>,
    record: WorkRecord,
    reason: StopReason,
    own_delay: Option<Duration>,
) -> u32 {
    let flaps = if reason.is_lost_constraint() { record.flaps().saturating_add(1) } else { 0 };
    let mut record = draft.end_run(record);
    draft.remember(&mut record, AttemptEnd::Interrupted { reason });
    let record = WorkRecord { interruptions: record.interruptions + 1, stop: Some(reason), ..record.flapped(flaps) };
    let (delay, why) = match (record.terms.on_interruption, own_delay) {
        (OnInterruption::BackOff, Some(own)) if reason.is_of_the_system() => (own, Wait::OwnBackoff),
        (OnInterruption::BackOff, None) if reason.is_of_the_system() => {
            (after_interruption(&record), Wait::Interruption)
        }
        _ => (Duration::ZERO, Wait::Nothing),
    };
    let pause = pause_after_flaps(flaps);
    let (delay, why) = if pause > delay { (pause, Wait::Flapping) } else { (delay, why) };
    let due = draft.now + delay;
    let due = record.period.map_or(due, |period| due.min(periodic::regular_due(&record, &period).max(draft.now)));
    let (due, why) = periodic::next_run(&record, due, why);
    let failures = record.failures;
    draft.line_up_in_turn(record, due, why);
    failures
}

/// How long the policy lets a work wait after an interruption, which counts like a failed attempt there (BO-6).
pub(super) fn after_interruption(record: &WorkRecord) -> Duration {
    record.terms.backoff.delay_of(record.id, record.failures.saturating_add(record.interruptions))
}

/// The run never began: the work lines up again where it was, and nothing counts.
pub(super) fn give_back(draft: &mut Draft<'_>, record: WorkRecord) -> u32 {
    draft.return_tokens(record.counted());
    let record = WorkRecord { urgency: Urgency::Ordinary, ..record };
    let (failures, (due, why)) = (record.failures, periodic::next_run(&record, draft.now, Wait::Nothing));
    draft.line_up_in_turn(record, due, why);
    failures
}

/// The run never began, so nothing counts.
fn park(draft: &mut Draft<'_>, record: WorkRecord, why: ParkReason) -> u32 {
    draft.return_tokens(record.counted());
    let record = WorkRecord { urgency: Urgency::Ordinary, ..record.standing_at(Standing::Parked { why }) };
    let failures = record.failures;
    draft.put(record);
    failures
}

/// Stores what a running worker said. A checkpoint shows that the work gets on, and a long run that the process lives beside it,
/// so its deaths are forgiven.
pub(super) fn note(view: &Snapshot, note: &Note, now: Timestamp) -> Result<Plan, Halt> {
    let record = held(view, note.id, note.fence)?;
    let before = view.notes_of(record)?;
    let mut draft = Draft::new(view, now);
    let is_cleared = note.notes.checkpoint.is_some() || note.endurance == Endurance::Proven;
    let deaths = if is_cleared { 0 } else { record.deaths };
    let says_something = note.notes != Notes::default();
    let rows = RowsPresent { notes: record.rows.notes || says_something, ..record.rows };
    if (deaths, rows) != (record.deaths, record.rows) {
        draft.put(WorkRecord { deaths, rows, ..record.clone() });
    }
    let blame = match deaths {
        0 => Blame::None,
        _ if record.is_suspect() => Blame::Suspect,
        _ => Blame::Shared,
    };
    if !says_something {
        return draft.done(Applied::Noted { blame });
    }
    let notes = Notes {
        progress: note.notes.progress.clone().or(before.progress),
        checkpoint: note.notes.checkpoint.clone().or(before.checkpoint),
    };
    draft.write(Write::Notes(note.id, Some(notes)));
    draft.done(Applied::Noted { blame })
}
