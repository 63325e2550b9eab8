//! Cancel: by id, or a selection in bounded commits.

use super::draft::Draft;
use super::view::{Halt, SelectorWanted, Snapshot, Want};
use super::{Applied, Cancel, Hint, Plan, SELECT_LIMIT, cascade};
use crate::id::WorkId;
use crate::record::CascadeVerb;
use crate::state::{StopReason, WorkState};
use crate::time::{Due, Timestamp};

pub(super) fn plan(view: &Snapshot, cancel: &Cancel, now: Timestamp) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    let before = cancel.before.unwrap_or(view.meta.next_seq);
    let selector = match SelectorWanted::of(&cancel.selector) {
        Ok(selector) => selector,
        Err(id) => {
            let count = cancel_one(&mut draft, id, cascade::width(1))?;
            return Ok(draft.done(Applied::Cancelled { count, before, next: None }));
        }
    };
    if selector == SelectorWanted::All && cancel.before.is_none() {
        draft.meta.last_cancel_all = Some(Due::Store(now).on_the_wall(view.meta.clock_offset_ms));
        draft.hint(Hint::CancelledAll);
    }
    let list = view.list(Want::Selected { selector, before, after: cancel.after.clone(), limit: SELECT_LIMIT })?;
    let width = cascade::width(list.ids.len());
    let records = list.ids.iter().filter_map(|id| view.works.get(id).and_then(Option::as_ref));
    let dependents = records.filter_map(|record| cascade::wants(CascadeVerb::Cancel, record, width));
    view.require(dependents)?;
    let mut count = 0;
    for id in &list.ids {
        count += cancel_one(&mut draft, *id, width)?;
    }
    Ok(draft.done(Applied::Cancelled { count, before, next: list.next.clone() }))
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
    Ok(ended + cascade::spread(draft, CascadeVerb::Cancel, id, StopReason::CancelledByApp, width)?)
}
