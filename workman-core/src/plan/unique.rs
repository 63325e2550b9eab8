//! Unique names: what happens to the work that holds a name, and whether the new work is stored at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::draft::Draft;
use super::view::{Halt, Want};
use super::{Enqueued, NewWork, Refusal, Unique, UniquePolicy, cascade, update};
use crate::id::WorkId;
use crate::policy::{ExistingPeriodicWorkPolicy, ExistingWorkPolicy};
use crate::record::{CascadeVerb, Prerequisites, WorkRecord, WorkSpec};
use crate::state::{StopReason, WorkState};

/// The most works of a name that new work is appended to at once.
const LEAVES_LIMIT: usize = 4_096;

/// The most edges from new works to those that they are appended to.
const EDGES_LIMIT: usize = 262_144;

/// Applies the policy to the holders of the name. `Inserted` and `Replaced` ask the caller to store the new work, `Appended`
/// to store it [`behind`] those.
pub(super) fn resolve(draft: &mut Draft<'_>, unique: &Unique, new: &[&NewWork]) -> Result<Enqueued, Halt> {
    let members = members(draft, unique)?;
    match unique.policy {
        UniquePolicy::OneTime(ExistingWorkPolicy::Keep) | UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Keep) => {
            keep(draft, &members)
        }
        UniquePolicy::OneTime(ExistingWorkPolicy::Replace)
        | UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::CancelAndReenqueue) => replace(draft, &members),
        UniquePolicy::OneTime(ExistingWorkPolicy::Append) => append(draft, unique, &members, new),
        UniquePolicy::OneTime(ExistingWorkPolicy::AppendOrReplace) => append_or_replace(draft, unique, &members, new),
        UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Update) => update(draft, unique, &members, new),
    }
}

/// Whether new work may be stored behind the holders of the name.
pub(super) fn appends(unique: &Unique) -> bool {
    matches!(unique.policy, UniquePolicy::OneTime(ExistingWorkPolicy::Append | ExistingWorkPolicy::AppendOrReplace))
}

/// Whether the holder of the name may be updated in place.
pub(super) fn updates(unique: &Unique) -> bool {
    unique.policy == UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Update)
}

fn members(draft: &mut Draft<'_>, unique: &Unique) -> Result<Vec<WorkRecord>, Halt> {
    let list = draft.view.list(Want::Name(unique.name.clone()))?;
    let mut members = Vec::with_capacity(list.ids.len());
    for id in &list.ids {
        members.extend(draft.work(*id)?.cloned());
    }
    Ok(members)
}

/// UNQ-1: only enqueued or running work counts as holding the name.
fn keep(draft: &mut Draft<'_>, members: &[WorkRecord]) -> Result<Enqueued, Halt> {
    let holds = |member: &&WorkRecord| matches!(member.state(), WorkState::Enqueued | WorkState::Running);
    match members.iter().find(holds) {
        Some(holder) => Ok(Enqueued::Kept(holder.id)),
        None => {
            clear(draft, members)?;
            Ok(Enqueued::Inserted)
        }
    }
}

fn replace(draft: &mut Draft<'_>, members: &[WorkRecord]) -> Result<Enqueued, Halt> {
    let ids: Vec<WorkId> = members.iter().map(|member| member.id).collect();
    clear(draft, members)?;
    Ok(if ids.is_empty() { Enqueued::Inserted } else { Enqueued::Replaced(ids) })
}

/// UNQ-2, UNQ-5: what the leaves make of the new work is found out at its birth; a failed or cancelled one ends it there.
fn append(draft: &Draft<'_>, unique: &Unique, members: &[WorkRecord], new: &[&NewWork]) -> Result<Enqueued, Halt> {
    let leaves = leaves(draft, members)?;
    let heads = new.iter().filter(|work| work.spec.prerequisites.ids.is_empty()).count();
    let limit = LEAVES_LIMIT.min(EDGES_LIMIT / heads.max(1)).max(1);
    match leaves.len() {
        0 => Ok(Enqueued::Inserted),
        count if count > limit => Err(Refusal::TooManyLeaves { name: unique.name.clone(), count, limit }.into()),
        _ => Ok(Enqueued::Appended(leaves.into_iter().map(|leaf| leaf.id).collect())),
    }
}

/// UNQ-4: where a leaf ended badly, everything goes; what still runs is stopped first.
fn append_or_replace(
    draft: &mut Draft<'_>,
    unique: &Unique,
    members: &[WorkRecord],
    new: &[&NewWork],
) -> Result<Enqueued, Halt> {
    let ended_badly = |leaf: &&WorkRecord| matches!(leaf.state(), WorkState::Failed | WorkState::Cancelled);
    if leaves(draft, members)?.iter().any(ended_badly) {
        replace(draft, members)
    } else {
        append(draft, unique, members, new)
    }
}

/// The members that no other member waits for, oldest first.
fn leaves<'a>(draft: &Draft<'_>, members: &'a [WorkRecord]) -> Result<Vec<&'a WorkRecord>, Halt> {
    let mut inner: BTreeSet<WorkId> = BTreeSet::new();
    for member in members {
        inner.extend(&draft.view.spec(member.id)?.prerequisites.ids);
    }
    Ok(members.iter().filter(|member| !inner.contains(&member.id)).collect())
}

/// The same work behind these, unless it waits for others of its enqueue.
pub(super) fn behind(work: &NewWork, after: &[WorkId]) -> NewWork {
    if !work.spec.prerequisites.ids.is_empty() {
        return work.clone();
    }
    let prerequisites = Prerequisites { ids: after.to_vec(), shape: work.spec.prerequisites.shape };
    NewWork { spec: Arc::new(WorkSpec { prerequisites, ..(*work.spec).clone() }), ..work.clone() }
}

/// UNQ-10: one live periodic work is updated in place and keeps its id.
fn update(draft: &mut Draft<'_>, unique: &Unique, members: &[WorkRecord], new: &[&NewWork]) -> Result<Enqueued, Halt> {
    let live: Vec<&WorkRecord> = members.iter().filter(|member| !member.state().is_finished()).collect();
    let (Some(work), [member]) = (new.first(), live.as_slice()) else {
        if let Some(first) = live.first() {
            return Err(Refusal::NotPeriodic { name: unique.name.clone(), id: first.id }.into());
        }
        clear(draft, members)?;
        return Ok(Enqueued::Inserted);
    };
    if member.period.is_none() || members.len() > 1 {
        return Err(Refusal::NotPeriodic { name: unique.name.clone(), id: member.id }.into());
    }
    update::apply(draft, member, work)?;
    Ok(Enqueued::Updated(member.id))
}

/// Ends and deletes all holders of a name. A running one is stopped with its reason first; its fence is gone with its record.
fn clear(draft: &mut Draft<'_>, members: &[WorkRecord]) -> Result<(), Halt> {
    let width = cascade::width(members.len());
    let live = members.iter().filter(|member| !member.state().is_finished());
    let dependents = live.clone().filter_map(|member| cascade::wants(CascadeVerb::Cancel, member, width));
    draft.view.require(dependents.chain(live.filter_map(Draft::wanted_to_stop)))?;
    for member in members {
        let Some(member) = draft.work(member.id)?.filter(|work| !work.state().is_finished()).cloned() else { continue };
        draft.cancel(&member, StopReason::Replaced)?;
        cascade::spread(draft, CascadeVerb::Cancel, &member, StopReason::Replaced, width)?;
    }
    for member in members {
        if draft.has_cascade(member.id)? {
            unname(draft, member.id)?;
        } else {
            draft.delete(member.id)?;
        }
    }
    Ok(())
}

/// A holder whose end has not reached all its dependents yet can't go: they are found through it. It loses its name and is
/// kept as finished work is.
fn unname(draft: &mut Draft<'_>, id: WorkId) -> Result<(), Halt> {
    let spec = WorkSpec { name: None, ..(**draft.view.spec(id)?).clone() };
    draft.write(super::Write::Spec(id, Arc::new(spec)));
    Ok(())
}
