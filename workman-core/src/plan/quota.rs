//! Expedited work beyond its budget: each goes on as ordinary work, or is dropped, as its request said.
//!
//! That is found out when a work could start and not before, since the budget comes back by the passing of time.

use super::draft::Draft;
use super::view::{Halt, Want};
use super::{Claim, PROMOTE_LIMIT, cascade};
use crate::id::WorkId;
use crate::policy::OutOfQuotaPolicy;
use crate::record::{CascadeVerb, Finish, LaneId, Urgency, WorkRecord};
use crate::state::StopReason;

/// What is left of the time for expedited work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Budget {
    Left,
    Spent,
}

impl Budget {
    /// As it is when the claim is planned. A run counts once it is over, so the last one may go beyond the budget.
    pub(super) fn of(draft: &Draft<'_>, claim: &Claim) -> Self {
        let used = draft.meta.expedited.used(draft.now);
        if used >= claim.expedited_budget { Budget::Spent } else { Budget::Left }
    }

    /// How many works to read from each of so many lanes of expedited work, if so many slots are free for it.
    pub(super) fn share(self, lanes: usize, slots: usize) -> usize {
        match self {
            Budget::Left => slots,
            Budget::Spent if slots == 0 => 0,
            Budget::Spent => (PROMOTE_LIMIT / lanes.max(1)).max(1),
        }
    }
}

/// What became of a work that found the budget spent.
pub(super) enum Fallen {
    /// It goes on in this lane, as ordinary work.
    IntoLane(LaneId),
    /// It is cancelled.
    Dropped,
}

/// What it takes to claim these expedited works, or to take them out of the expedited ones, in one round of loading.
pub(super) fn wants(draft: &Draft<'_>, ids: &[WorkId], budget: Budget) -> Result<Vec<Want>, Halt> {
    let width = cascade::width(ids.len());
    let mut wants = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(record) = draft.work(*id)? else { continue };
        wants.push(ordinary_lane(draft, record)?);
        if budget == Budget::Spent && drops(record) {
            wants.extend(cascade::wants(CascadeVerb::Cancel, record, width));
        }
    }
    Ok(wants)
}

fn drops(record: &WorkRecord) -> bool {
    record.terms.expedited == Some(OutOfQuotaPolicy::DropWorkRequest)
}

/// The lane that the work has once it is ordinary.
fn ordinary_lane(draft: &Draft<'_>, record: &WorkRecord) -> Result<Want, Halt> {
    let spec = draft.view.spec(record.id)?;
    let (worker, constraints) = (spec.worker.clone(), spec.constraints.clone());
    Ok(Want::Lane { worker, constraints, urgency: Urgency::Ordinary })
}

/// Takes the work out of the expedited ones; it is one of so many in this plan. It keeps its place in line.
pub(super) fn fall(draft: &mut Draft<'_>, record: &WorkRecord, of: usize) -> Result<Fallen, Halt> {
    if drops(record) {
        let stop = Some(StopReason::Quota);
        draft.finish(WorkRecord { urgency: Urgency::Ordinary, stop, ..record.clone() }, Finish::Cancelled);
        cascade::spread(draft, CascadeVerb::Cancel, record.id, StopReason::Quota, cascade::width(of))?;
        return Ok(Fallen::Dropped);
    }
    let spec = draft.view.spec(record.id)?;
    let lane = draft.lane(&spec.worker, &spec.constraints, Urgency::Ordinary)?;
    draft.put(WorkRecord { lane, urgency: Urgency::Ordinary, ..record.clone() });
    Ok(Fallen::IntoLane(lane))
}
