//! What a person does by hand to one work: run it now, set its next run to another time, try it again after it failed.
//!
//! Each is idempotent, since an answer may be lost and the call made again: what is so already changes nothing and says that.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{
    Applied, CASCADE_LIMIT, Hint, Plan, Refusal, RetryReport, StayedFailed, SteerResult, cascade, periodic, recover,
};
use crate::id::WorkId;
use crate::record::{Period, Standing, Wait, WorkRecord};
use crate::state::WorkState;
use crate::time::{Due, Timestamp};

/// Skips what the work waits for by the clock, once. A person who says so means suspects too: its deaths stay counted, so it still
/// runs with no other suspect.
pub(super) fn run_now(view: &Snapshot, id: WorkId, gates: Gates, now: Timestamp) -> Result<Plan, Halt> {
    let record = view.work(id)?.ok_or(Refusal::NotFound(id))?;
    let mut draft = Draft::new(view, now);
    let result = match record.standing {
        Standing::Waiting { .. } => {
            let wall = Due::Store(now).on_the_wall(draft.meta.clock_offset_ms);
            let (due, why) = match record.period {
                Some(_) => (Due::Wall(wall), Wait::Override),
                None => (Due::Store(now), Wait::Nothing),
            };
            draft.line_up(overridden(record, wall), due, why);
            SteerResult::Applied
        }
        Standing::Ready { .. } => SteerResult::Unchanged,
        Standing::Held { .. } => SteerResult::Held,
        _ => elsewhere(record),
    };
    let is_due = matches!(result, SteerResult::Applied | SteerResult::Unchanged | SteerResult::Held);
    if gates == Gates::Pass && is_due {
        if draft.meta.gates.passing.len() >= PASSING_LIMIT {
            return Err(Refusal::TooManyPassing { limit: PASSING_LIMIT }.into());
        }
        let is_new = draft.meta.gates.passing.insert(id);
        draft.hint(Hint::Ready(record.lane));
        let result = if is_new { SteerResult::Applied } else { SteerResult::Unchanged };
        return draft.done(Applied::Steered(result));
    }
    draft.done(Applied::Steered(result))
}

/// Whether a work that is to run now passes its gates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gates {
    Keep,
    Pass,
}

/// The most works that may be about to pass their gates: a person says so one by one.
const PASSING_LIMIT: usize = 64;

/// Sets the next run to a time by the wall clock. The wait of a suspect is not shortened by that: a program that says so at every
/// start would let loose what kills its process.
pub(super) fn reschedule(view: &Snapshot, id: WorkId, at: Timestamp, now: Timestamp) -> Result<Plan, Halt> {
    let record = view.work(id)?.ok_or(Refusal::NotFound(id))?;
    // An interval before the last moment that there is, a period can't end any more.
    if at + record.terms.schedule.interval().unwrap_or_default() == Timestamp::MAX {
        return Err(Refusal::Never(id).into());
    }
    let mut draft = Draft::new(view, now);
    let due = Due::Wall(at);
    let result = match record.standing {
        Standing::Waiting { due: until, why }
        | Standing::Ready { since: until, why }
        | Standing::Held { since: until, why, .. } => {
            if (until, why) == (due, Wait::Override) {
                SteerResult::Unchanged
            } else if record.is_suspect() && draft.store_time(due) < draft.store_time(until) {
                SteerResult::Suspect
            } else {
                draft.line_up(overridden(record, at), due, Wait::Override);
                SteerResult::Applied
            }
        }
        Standing::Running { .. } if record.period.is_some_and(|period| period.next_run != Some(at)) => {
            draft.put(overridden(record, at));
            SteerResult::AppliedForNextRun
        }
        Standing::Running { .. } if record.period.is_some() => SteerResult::AppliedForNextRun,
        _ => elsewhere(record),
    };
    draft.done(Applied::Steered(result))
}

/// The record with this moment as the override of its series; one-time work has none.
fn overridden(record: &WorkRecord, wall: Timestamp) -> WorkRecord {
    let period = record.period.map(|period| Period { next_run: Some(wall), ..period });
    WorkRecord { period, ..record.clone() }
}

/// Why work that waits for no time was left as it is.
fn elsewhere(record: &WorkRecord) -> SteerResult {
    match record.standing {
        Standing::Blocked => SteerResult::Blocked,
        Standing::Parked { .. } => SteerResult::Parked,
        Standing::Running { .. } => SteerResult::Running,
        Standing::Finished { .. } => SteerResult::Finished,
        Standing::Waiting { .. } | Standing::Ready { .. } | Standing::Held { .. } => SteerResult::Unchanged,
    }
}

/// Frees parked work, or takes failed work back with all that failed because of it.
pub(super) fn retry(view: &Snapshot, id: WorkId, now: Timestamp) -> Result<Plan, Halt> {
    let record = view.work(id)?.ok_or(Refusal::NotFound(id))?;
    match record.state() {
        WorkState::Failed => revive(view, record, now),
        WorkState::Enqueued => {
            let freed = recover::retry(view, id, now)?;
            Ok(Plan { applied: Applied::Retried(RetryReport { retried: vec![id], stayed: Vec::new() }), ..freed })
        }
        state => Err(Refusal::NotRetryable { id, state }.into()),
    }
}

/// The work and its dependents in one commit, or nothing of them: half a chain that comes back could not be told from one whose other
/// half has failed anew.
fn revive(view: &Snapshot, root: &WorkRecord, now: Timestamp) -> Result<Plan, Halt> {
    let id = root.id;
    let mut draft = Draft::new(view, now);
    // It would fail what this brings back: it is yet to tell of the end that this undoes.
    if cascade::is_pending(&draft) {
        return Err(Refusal::StillEnding(id).into());
    }
    let mut failed = failed_behind(view, root)?;
    // Every work is born after its prerequisites, so each is looked at once all of these are decided.
    failed.sort_unstable_by_key(|record| record.seq);
    view.require(failed.iter().map(|record| Want::Spec(record.id)))?;
    let mut awaited = BTreeSet::new();
    for record in &failed {
        awaited.extend(view.spec(record.id)?.prerequisites.ids.iter().copied());
    }
    view.require(awaited.into_iter().map(Want::Work))?;
    let mut report = RetryReport::default();
    for record in failed {
        match open(&draft, record)? {
            Ok(open) => {
                bring_back(&mut draft, record, open);
                report.retried.push(record.id);
            }
            Err(why) if record.id == id => return Err(why.refusal(id).into()),
            Err(why) => report.stayed.push((record.id, why)),
        }
    }
    draft.done(Applied::Retried(report))
}

/// The failed work and all failed work behind it. What was cancelled there stays so, and what is behind that was cancelled with it.
fn failed_behind<'a>(view: &'a Snapshot, root: &'a WorkRecord) -> Result<Vec<&'a WorkRecord>, Halt> {
    let limit = CASCADE_LIMIT;
    if root.rows.dependents {
        view.require([Want::FailedBehind { of: root.id, limit }])?;
    }
    let too_wide = || Halt::Refuse(Refusal::TooManyDependents { id: root.id, limit });
    let (mut found, mut seen) = (vec![root], BTreeSet::from([root.id]));
    let mut at = 0;
    while let Some(of) = found.get(at).copied() {
        at += 1;
        if !of.rows.dependents {
            continue;
        }
        let behind = Want::Dependents { of: of.id, after: None, limit };
        if !view.has(&behind) {
            return Err(too_wide());
        }
        let list = view.list(behind)?;
        for id in &list.ids {
            let failed = view.work(*id)?.filter(|record| record.state() == WorkState::Failed && record.seq > of.seq);
            found.extend(failed.filter(|record| seen.insert(record.id)));
        }
        if list.next.is_some() || found.len() > limit {
            return Err(too_wide());
        }
    }
    Ok(found)
}

/// How many prerequisites of a failed work have yet to succeed, as the plan leaves them; or why it can't wait for them.
fn open(draft: &Draft<'_>, record: &WorkRecord) -> Result<Result<u32, StayedFailed>, Halt> {
    let ids: BTreeSet<WorkId> = draft.view.spec(record.id)?.prerequisites.ids.iter().copied().collect();
    let mut open = 0;
    for of in ids {
        // One that is younger has taken the id of the one that was meant.
        let Some(stored) = draft.work(of)?.filter(|stored| stored.seq < record.seq) else {
            return Ok(Err(StayedFailed::PrerequisiteGone(of)));
        };
        match stored.state() {
            WorkState::Succeeded => {}
            WorkState::Failed | WorkState::Cancelled => return Ok(Err(StayedFailed::PrerequisiteEnded(of))),
            WorkState::Enqueued | WorkState::Running | WorkState::Blocked => open += 1,
        }
    }
    Ok(Ok(open))
}

/// Failed work as it was before its first attempt. Its attempts stay on record, and its fence, so that a late settle of one is refused.
fn bring_back(draft: &mut Draft<'_>, record: &WorkRecord, open: u32) {
    let counted = u64::from(record.counts_as_finished());
    draft.meta.finished = draft.meta.finished.saturating_sub(counted);
    let (failures, interruptions, deaths, stop) = (0, 0, 0, None);
    let back = WorkRecord { failures, interruptions, deaths, stop, open, enqueued: draft.now, ..record.clone() };
    let back = back.flapped(0);
    if open > 0 {
        draft.put(back.standing_at(Standing::Blocked));
    } else {
        let (due, why) = periodic::next_run(&back, draft.now, Wait::Nothing);
        draft.line_up(back, due, why);
    }
}
