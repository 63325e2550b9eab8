//! What happens to the works that wait for one that finished: release, failure, cancellation.

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

/// Passes the end of `of` on to its dependents, as far as one commit may; the rest is left for later.
pub(super) fn spread(
    draft: &mut Draft<'_>,
    verb: CascadeVerb,
    of: &WorkRecord,
    reason: StopReason,
) -> Result<usize, Halt> {
    if !of.rows.dependents {
        return Ok(0);
    }
    match verb {
        CascadeVerb::Release => release(draft, of.id, None),
        CascadeVerb::Fail | CascadeVerb::Cancel => end(draft, verb, of.id, None, reason),
    }
}

/// Goes on with the cascade that is first in line.
pub(super) fn drain(draft: &mut Draft<'_>) -> Result<(), Halt> {
    let Some(Cascade { number, verb, of, after }) = draft.view.cascade.as_ref().ok_or(Want::Cascade)?.clone() else {
        return Ok(());
    };
    draft.write(Write::CascadeDone(number));
    draft.meta.first_cascade = number + 1;
    match verb {
        CascadeVerb::Release => release(draft, of, after)?,
        CascadeVerb::Fail | CascadeVerb::Cancel => end(draft, verb, of, after, StopReason::CancelledByApp)?,
    };
    Ok(())
}

/// DEP-1: each direct dependent has one open prerequisite less; with none left it is enqueued, and its delay counts from now.
fn release(draft: &mut Draft<'_>, of: WorkId, after: Option<WorkId>) -> Result<usize, Halt> {
    let list = draft.view.list(Want::Dependents { of, after, limit: CASCADE_LIMIT })?;
    for id in &list.ids {
        let Some(dependent) = draft.work(*id)?.filter(|work| work.state() == WorkState::Blocked).cloned() else {
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
    if list.next.is_some() {
        draft.leave_cascade(CascadeVerb::Release, of, list.ids.last().copied());
    }
    Ok(list.ids.len())
}

/// DEP-2, DEP-3: all that depends on `of`, directly or not, ends the same way, unless it has ended already. Iterative, since
/// chains may be ten thousand works deep.
fn end(
    draft: &mut Draft<'_>,
    verb: CascadeVerb,
    of: WorkId,
    after: Option<WorkId>,
    reason: StopReason,
) -> Result<usize, Halt> {
    draft.view.require([Want::Descendants { of, after, limit: CASCADE_LIMIT }])?;
    let mut line = VecDeque::from([(of, after)]);
    let mut count = 0;
    while let Some((of, after)) = line.pop_front() {
        if count >= CASCADE_LIMIT {
            draft.leave_cascade(verb, of, after);
            continue;
        }
        let list = draft.view.list(Want::Dependents { of, after, limit: CASCADE_LIMIT })?;
        for id in &list.ids {
            let Some(dependent) = draft.work(*id)?.filter(|work| !work.state().is_finished()).cloned() else {
                continue;
            };
            match verb {
                CascadeVerb::Fail => draft.finish(&dependent, Finish::Failed),
                _ => draft.cancel(&dependent, reason),
            }
            count += 1;
            if dependent.rows.dependents {
                line.push_back((*id, None));
            }
        }
        if list.next.is_some() {
            draft.leave_cascade(verb, of, list.ids.last().copied());
        }
    }
    Ok(count)
}
