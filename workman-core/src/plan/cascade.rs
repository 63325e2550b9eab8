//! What happens to the works that wait for one that finished: release, failure, cancellation.
//!
//! One commit looks at [`CASCADE_LIMIT`] dependents at the most, whatever it ends; the rest is written down as cascades.

use std::collections::VecDeque;

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{Applied, CASCADE_LIMIT, Plan, Write};
use crate::id::WorkId;
use crate::record::{Cascade, CascadeVerb, Finish, WorkRecord};
use crate::state::{StopReason, WorkState};
use crate::time::Timestamp;

/// One bounded chunk of what is left over. Needs no manager that could claim, since a process may do nothing but enqueue, or
/// have no slot free for a long time.
pub(super) fn plan(view: &Snapshot, now: Timestamp) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    if is_pending(&draft) {
        drain(&mut draft)?;
    }
    let again = is_pending(&draft);
    Ok(draft.done(Applied::Drained { again }))
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
    if !draft.work(of)?.is_some_and(|record| record.rows.dependents) {
        return Ok(0);
    }
    pass_on(draft, verb, (of, None), reason, width)
}

/// Goes on with the cascades that are first in line.
pub(super) fn drain(draft: &mut Draft<'_>) -> Result<(), Halt> {
    let mut pending = draft.view.cascades()?;
    let mut size = CHUNK;
    while draft.cascade_room > 0 && !pending.is_empty() {
        let (chunk, rest) = pending.split_at(size.min(pending.len()));
        let width = width(chunk.len());
        draft.view.require(chunk.iter().map(|cascade| want(cascade.verb, cascade.of, cascade.after, width)))?;
        for cascade in chunk {
            go_on(draft, *cascade, width)?;
        }
        (pending, size) = (rest, 2 * size);
    }
    Ok(())
}

fn go_on(draft: &mut Draft<'_>, cascade: Cascade, width: usize) -> Result<(), Halt> {
    if draft.cascade_room > 0 {
        draft.write(Write::CascadeDone(cascade.number));
        draft.meta.first_cascade = cascade.number + 1;
        pass_on(draft, cascade.verb, (cascade.of, cascade.after), StopReason::CancelledByApp, width)?;
    }
    Ok(())
}

fn pass_on(
    draft: &mut Draft<'_>,
    verb: CascadeVerb,
    from: (WorkId, Option<WorkId>),
    reason: StopReason,
    width: usize,
) -> Result<usize, Halt> {
    draft.view.require([want(verb, from.0, from.1, width)])?;
    match verb {
        CascadeVerb::Release => release(draft, from, width).map(|()| 0),
        CascadeVerb::Fail | CascadeVerb::Cancel => end(draft, verb, from, reason, width),
    }
}

/// DEP-1: each direct dependent has one open prerequisite less; with none left it is enqueued, and its delay counts from now.
fn release(draft: &mut Draft<'_>, (of, after): (WorkId, Option<WorkId>), width: usize) -> Result<(), Halt> {
    let released = take(draft, CascadeVerb::Release, (of, after), width)?;
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
            let due = draft.now + dependent.terms.initial_delay;
            draft.line_up(WorkRecord { enqueued: draft.now, ..dependent }, due);
        }
    }
    Ok(())
}

/// DEP-2, DEP-3: all that depends on a work, directly or not, ends the same way, unless it has ended already. Iterative, since
/// chains may be ten thousand works deep.
fn end(
    draft: &mut Draft<'_>,
    verb: CascadeVerb,
    from: (WorkId, Option<WorkId>),
    reason: StopReason,
    width: usize,
) -> Result<usize, Halt> {
    let mut line = VecDeque::from([from]);
    let mut count = 0;
    while let Some((of, after)) = line.pop_front() {
        // Behind `width` works nothing is loaded any more. Asking for it would begin the plan anew for each work.
        if !draft.view.has(&Want::Dependents { of, after, limit: width }) {
            draft.leave_cascade(verb, of, after);
            continue;
        }
        for id in take(draft, verb, (of, after), width)? {
            let Some(dependent) = draft.work(id)?.filter(|work| !work.state().is_finished()).cloned() else {
                continue;
            };
            count += 1;
            if dependent.rows.dependents {
                line.push_back((id, None));
            }
            match verb {
                CascadeVerb::Fail => draft.finish(dependent, Finish::Failed),
                _ => draft.cancel(dependent, reason),
            }
        }
    }
    Ok(count)
}

/// The next direct dependents, as many as this commit may still look at. What is behind them is left for later.
fn take(
    draft: &mut Draft<'_>,
    verb: CascadeVerb,
    (of, after): (WorkId, Option<WorkId>),
    width: usize,
) -> Result<Vec<WorkId>, Halt> {
    let list = draft.view.list(Want::Dependents { of, after, limit: width })?;
    let taken: Vec<WorkId> = list.ids.iter().take(draft.cascade_room).copied().collect();
    draft.cascade_room -= taken.len();
    if taken.len() < list.ids.len() || list.next.is_some() {
        draft.leave_cascade(verb, of, taken.last().copied().or(after));
    }
    Ok(taken)
}
