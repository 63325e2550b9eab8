//! Cancel, and what any end does to the works that wait for it: release, failure, cancellation.
//!
//! One commit looks at [`CASCADE_LIMIT`] dependents at the most, whatever it ends; the rest is written down as cascades.

use std::collections::VecDeque;
use std::sync::Arc;

use super::draft::{Draft, Front};
use super::view::{Halt, SelectorWanted, Snapshot, Want};
use super::{Applied, CASCADE_LIMIT, Cancel, Hint, Listed, Plan, REASON_LIMIT, Refusal, SELECT_LIMIT, Write, periodic};
use crate::id::WorkId;
use crate::record::{Cascade, CascadeVerb, Finish, Wait, WorkRecord};
use crate::state::{StopReason, WorkState};
use crate::time::{Due, Timestamp};

/// Ends one work, or a selection in bounded commits.
pub(super) fn cancel(view: &Snapshot, cancel: &Cancel, now: Timestamp) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    draft.because = reason(cancel.because.as_ref())?;
    let before = cancel.before.unwrap_or(view.meta.next_seq);
    let selector = match SelectorWanted::of(&cancel.selector) {
        Ok(selector) => selector,
        Err(id) => {
            let count = cancel_one(&mut draft, id, width(1))?;
            draft.because = None;
            return draft.done(Applied::Cancelled { count, before, next: None });
        }
    };
    if selector == SelectorWanted::All && cancel.before.is_none() {
        draft.meta.last_cancel_all = Some(Due::Store(now).on_the_wall(view.meta.clock_offset_ms));
        draft.hint(Hint::CancelledAll);
    }
    let limit = cancel.stride.of(SELECT_LIMIT);
    let list = view.list(Want::Selected { selector, before, after: cancel.after.clone(), limit })?;
    let width = width(list.ids.len());
    let records = list.ids.iter().filter_map(|id| view.works.get(id).and_then(Option::as_ref));
    let dependents = records.filter_map(|record| wants(CascadeVerb::Cancel, record, width));
    view.require(dependents)?;
    let mut count = 0;
    for id in &list.ids {
        count += cancel_one(&mut draft, *id, width)?;
    }
    // What a gate makes of it has reasons of its own.
    draft.because = None;
    draft.done(Applied::Cancelled { count, before, next: list.next.clone() })
}

/// Ends those of these works that are unfinished. One that has succeeded since somebody saw it is not meant any more.
pub(super) fn cancel_listed(
    view: &Snapshot,
    listed: &Listed,
    because: Option<&Arc<str>>,
    now: Timestamp,
) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    draft.because = reason(because)?;
    let before = listed.before.unwrap_or(view.meta.next_seq);
    view.require(listed.ids.iter().copied().map(Want::Work))?;
    let width = width(listed.ids.len());
    let records = listed.ids.iter().filter_map(|id| view.works.get(id)?.as_ref());
    view.require(records.filter_map(|record| wants(CascadeVerb::Cancel, record, width)))?;
    let mut count = 0;
    for id in &listed.ids {
        let is_meant = |record: &&WorkRecord| record.seq < before && !record.state().is_finished();
        if draft.work(*id)?.filter(is_meant).is_some() {
            count += cancel_one(&mut draft, *id, width)?;
        }
    }
    draft.because = None;
    draft.done(Applied::Cancelled { count, before, next: None })
}

/// What is kept of why somebody cancels or pauses: a reason that says nothing is none.
pub(super) fn reason(said: Option<&Arc<str>>) -> Result<Option<Arc<str>>, Halt> {
    match said {
        Some(said) if said.len() > REASON_LIMIT => {
            Err(Refusal::ReasonTooLong { size: said.len(), limit: REASON_LIMIT }.into())
        }
        said => Ok(said.filter(|said| !said.is_empty()).cloned()),
    }
}

/// CAN-1, CAN-4: the work and all that depends on it; nothing if it is unknown. One that has succeeded stays as it is, and what
/// depends on it ends. What depends on one that failed or was cancelled has ended with it, or is about to, the same way.
fn cancel_one(draft: &mut Draft<'_>, id: WorkId, width: usize) -> Result<usize, Halt> {
    let Some(record) = draft.work(id)?.cloned() else { return Ok(0) };
    let ended = match record.state() {
        WorkState::Failed | WorkState::Cancelled => return Ok(0),
        WorkState::Succeeded => 0,
        WorkState::Blocked | WorkState::Enqueued | WorkState::Running => {
            draft.cancel(record, StopReason::CancelledByApp);
            1
        }
    };
    Ok(ended + spread(draft, CascadeVerb::Cancel, id, StopReason::CancelledByApp, width)?)
}

/// One bounded chunk of what is left over. Needs no manager that could claim, since a process may do nothing but enqueue, or
/// have no slot free for a long time.
pub(super) fn plan(view: &Snapshot, now: Timestamp) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    if is_pending(&draft) {
        drain(&mut draft)?;
    }
    draft.sweep_gates();
    draft.settle_gates()?;
    let again = is_pending(&draft) || draft.meta.gates.refill.is_some();
    draft.done(Applied::Drained { again })
}

/// Whether something wide is unfinished.
pub(super) fn is_pending(draft: &Draft<'_>) -> bool {
    draft.meta.first_cascade < draft.meta.next_cascade
}

/// How many cascades are loaded first while one commit drains them; then twice as many each time.
const CHUNK: usize = 32;

/// How many dependents to load for each of `roots` works whose end is passed on by one plan. Most works have few, so
/// all of them together may have more than one commit looks at.
pub(super) fn width(roots: usize) -> usize {
    (4 * CASCADE_LIMIT / roots.max(1)).clamp(4, CASCADE_LIMIT)
}

/// What [`spread`] will ask for, so that a plan of many roots can ask for all of it at once.
pub(super) fn wants(verb: CascadeVerb, of: &WorkRecord, width: usize) -> Option<Want> {
    of.rows.dependents.then(|| want(verb, of.id, None, width))
}

fn want(verb: CascadeVerb, of: WorkId, after: Option<WorkId>, limit: usize) -> Want {
    match verb {
        CascadeVerb::Release => Want::Dependents { of, after, limit },
        CascadeVerb::Fail | CascadeVerb::Cancel => Want::Descendants { of, after, limit },
    }
}

/// Passes the end of `of` on to its dependents, as far as one commit may; the rest is left for later. Answers how many ended.
pub(super) fn spread(
    draft: &mut Draft<'_>,
    verb: CascadeVerb,
    of: WorkId,
    reason: StopReason,
    width: usize,
) -> Result<usize, Halt> {
    let Some(record) = draft.work(of)?.filter(|record| record.rows.dependents) else { return Ok(0) };
    let is_passed = verb == CascadeVerb::Cancel && record.state() == WorkState::Succeeded;
    let born_before = is_passed.then_some(draft.meta.next_seq);
    if let Some(bound) = born_before {
        draft.passes(of, bound)?;
    }
    pass_on(draft, verb, Front { of, after: None, born_before }, reason, width)
}

/// Goes on with the cascades that are first in line.
pub(super) fn drain(draft: &mut Draft<'_>) -> Result<(), Halt> {
    let mut pending = draft.view.cascades()?;
    let mut size = CHUNK;
    while draft.cascade_left > 0 && !pending.is_empty() {
        let (chunk, rest) = pending.split_at(size.min(pending.len()));
        let width = width(chunk.len());
        draft.view.require(chunk.iter().map(|cascade| want(cascade.verb, cascade.of, cascade.after, width)))?;
        for cascade in chunk {
            go_on(draft, cascade, width)?;
        }
        (pending, size) = (rest, 2 * size);
    }
    Ok(())
}

fn go_on(draft: &mut Draft<'_>, cascade: &Cascade, width: usize) -> Result<(), Halt> {
    if draft.cascade_left > 0 {
        draft.write(Write::CascadeDone(cascade.number));
        draft.meta.first_cascade = cascade.number + 1;
        let Cascade { verb, of, after, born_before, ref because, .. } = *cascade;
        draft.because.clone_from(because);
        pass_on(draft, verb, Front { of, after, born_before }, StopReason::CancelledByApp, width)?;
        draft.because = None;
    }
    Ok(())
}

fn pass_on(
    draft: &mut Draft<'_>,
    verb: CascadeVerb,
    from: Front,
    reason: StopReason,
    width: usize,
) -> Result<usize, Halt> {
    draft.view.require([want(verb, from.of, from.after, width)])?;
    match verb {
        CascadeVerb::Release => release(draft, from, width).map(|()| 0),
        CascadeVerb::Fail | CascadeVerb::Cancel => end(draft, verb, from, reason, width),
    }
}

/// DEP-1: each direct dependent has one open prerequisite less; with none left it is enqueued, and its delay counts from now.
fn release(draft: &mut Draft<'_>, from: Front, width: usize) -> Result<(), Halt> {
    let released = take(draft, CascadeVerb::Release, from, width)?;
    draft.expect(released.len());
    for id in released {
        let Some(dependent) = draft.work(id)?.filter(|work| work.state() == WorkState::Blocked).cloned() else {
            continue;
        };
        let open = dependent.open.saturating_sub(1);
        let dependent = WorkRecord { open, ..dependent };
        if open > 0 {
            draft.put(dependent);
        } else {
            let due = periodic::after_delay(draft, &dependent.terms, draft.now);
            draft.line_up(WorkRecord { enqueued: draft.now, ..dependent }, due, Wait::Delay);
        }
    }
    Ok(())
}

/// DEP-2, DEP-3: all that depends on a work, directly or not, ends the same way, unless it has ended already. What has succeeded
/// stays as it is, and a cancellation goes on behind it (CAN-1). Iterative, since chains may be ten thousand works deep.
fn end(draft: &mut Draft<'_>, verb: CascadeVerb, from: Front, reason: StopReason, width: usize) -> Result<usize, Halt> {
    let mut line = VecDeque::from([from]);
    let mut count = 0;
    while let Some(front) = line.pop_front() {
        // Behind `width` works nothing is loaded any more. Asking for it would begin the plan anew for each work.
        if !draft.view.has(&Want::Dependents { of: front.of, after: front.after, limit: width }) {
            draft.leave_cascade(verb, front);
            continue;
        }
        for id in take(draft, verb, front, width)? {
            let is_meant = |work: &&WorkRecord| front.born_before.is_none_or(|bound| work.seq < bound);
            let Some(dependent) = draft.work(id)?.filter(is_meant).cloned() else { continue };
            let behind = Front { of: id, after: None, born_before: None };
            match (dependent.state(), front.born_before) {
                (WorkState::Failed | WorkState::Cancelled, _) | (WorkState::Succeeded, None) => {}
                (WorkState::Succeeded, Some(bound)) => {
                    if dependent.rows.dependents && draft.passes(id, bound)? {
                        line.push_back(Front { born_before: Some(bound), ..behind });
                    }
                }
                _ => {
                    count += 1;
                    line.extend(dependent.rows.dependents.then_some(behind));
                    match verb {
                        CascadeVerb::Fail => draft.finish(dependent, Finish::Failed),
                        _ => draft.cancel(dependent, reason),
                    }
                }
            }
        }
    }
    Ok(count)
}

/// The next direct dependents, as many as this commit may still look at. What is behind them is left for later.
fn take(draft: &mut Draft<'_>, verb: CascadeVerb, from: Front, width: usize) -> Result<Vec<WorkId>, Halt> {
    let Front { of, after, .. } = from;
    let list = draft.view.list(Want::Dependents { of, after, limit: width })?;
    let taken: Vec<WorkId> = list.ids.iter().take(draft.cascade_left).copied().collect();
    draft.cascade_left -= taken.len();
    if taken.len() < list.ids.len() || list.next.is_some() {
        draft.leave_cascade(verb, Front { after: taken.last().copied().or(after), ..from });
    }
    Ok(taken)
}
