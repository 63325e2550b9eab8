//! Unique names: what happens to the work that holds a name, and whether the new work is stored at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::draft::Draft;
use super::view::{Halt, Want};
use super::{Enqueued, NewWork, Refusal, Unique, UniquePolicy, cascade, prune, update};
use crate::id::WorkId;
use crate::policy::{ExistingPeriodicWorkPolicy, ExistingWorkPolicy};
use crate::record::{CascadeVerb, InputShape, Prerequisites, WorkRecord, WorkSpec};
use crate::state::{StopReason, WorkState};
use crate::store::index::IndexKey;

/// The most works that may hold a name when it is taken from them, all of them in one commit: two of the largest chains.
const MEMBERS_LIMIT: usize = 32_768;

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
            keep(draft, unique, &members)
        }
        UniquePolicy::OneTime(ExistingWorkPolicy::Replace)
        | UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::CancelAndReenqueue) => replace(draft, unique, &members),
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
fn keep(draft: &mut Draft<'_>, unique: &Unique, members: &[WorkRecord]) -> Result<Enqueued, Halt> {
    let holds = |member: &&WorkRecord| matches!(member.state(), WorkState::Enqueued | WorkState::Running);
    match members.iter().find(holds) {
        Some(holder) => Ok(Enqueued::Kept(holder.id)),
        None => {
            clear(draft, unique, members)?;
            Ok(Enqueued::Inserted)
        }
    }
}

fn replace(draft: &mut Draft<'_>, unique: &Unique, members: &[WorkRecord]) -> Result<Enqueued, Halt> {
    let ids: Vec<WorkId> = members.iter().map(|member| member.id).collect();
    clear(draft, unique, members)?;
    Ok(if ids.is_empty() { Enqueued::Inserted } else { Enqueued::Replaced(ids) })
}

/// UNQ-2, UNQ-5: what the leaves make of the new work is found out at its birth; a failed or cancelled one ends it there.
fn append(draft: &Draft<'_>, unique: &Unique, members: &[WorkRecord], new: &[&NewWork]) -> Result<Enqueued, Halt> {
    let leaves = leaves(draft, members)?;
    let heads = heads(new);
    if let Some(typed) = new.iter().find(|work| heads.contains(&work.id) && !takes_more(work)) {
        return Err(Refusal::TypedHead { name: unique.name.clone(), work: typed.id }.into());
    }
    let heads = heads.len();
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
        replace(draft, unique, members)
    } else {
        append(draft, unique, members, new)
    }
}

/// The members that no other member waits for, oldest first. Most of a long line are inside it, and one look at their
/// dependents says so.
fn leaves<'a>(draft: &Draft<'_>, members: &'a [WorkRecord]) -> Result<Vec<&'a WorkRecord>, Halt> {
    const FIRST: usize = 4;
    let waited_for = members.iter().filter(|member| member.rows.dependents);
    draft.view.require(waited_for.map(|member| Want::Dependents { of: member.id, after: None, limit: FIRST }))?;
    let all: BTreeSet<WorkId> = members.iter().map(|member| member.id).collect();
    let mut leaves = Vec::new();
    for member in members {
        if !member.rows.dependents || !waits_any(draft, member.id, &all, FIRST)? {
            leaves.push(member);
        }
    }
    Ok(leaves)
}

/// Whether one of these waits for a work, or waited.
fn waits_any(draft: &Draft<'_>, of: WorkId, members: &BTreeSet<WorkId>, first: usize) -> Result<bool, Halt> {
    const MORE: usize = 4_096;
    let (mut after, mut limit) = (None, first);
    loop {
        let list = draft.view.list(Want::Dependents { of, after, limit })?;
        if list.ids.iter().any(|id| members.contains(id)) {
            return Ok(true);
        }
        let Some(IndexKey::Dependent { id, .. }) = list.next else { return Ok(false) };
        (after, limit) = (Some(id), MORE);
    }
}

/// The works that wait for no other of their enqueue.
fn heads(new: &[&NewWork]) -> BTreeSet<WorkId> {
    let own: BTreeSet<WorkId> = new.iter().map(|work| work.id).collect();
    let is_head = |work: &&&NewWork| !work.spec.prerequisites.ids.iter().any(|id| own.contains(id));
    new.iter().filter(is_head).map(|work| work.id).collect()
}

/// Whether a work may get prerequisites that its request did not name: not if its worker takes their outputs one by one.
fn takes_more(work: &NewWork) -> bool {
    matches!(work.spec.prerequisites.shape, InputShape::Nothing | InputShape::Merged(_))
}

/// The same works, those that wait for no other of their enqueue behind these as well.
pub(super) fn behind(new: &[&NewWork], after: &[WorkId]) -> Vec<NewWork> {
    let heads = heads(new);
    let appended = |work: &NewWork| {
        let mut ids = work.spec.prerequisites.ids.clone();
        ids.extend(after);
        let prerequisites = Prerequisites { ids, shape: work.spec.prerequisites.shape };
        NewWork { spec: Arc::new(WorkSpec { prerequisites, ..(*work.spec).clone() }), ..work.clone() }
    };
    new.iter().map(|work| if heads.contains(&work.id) { appended(work) } else { (*work).clone() }).collect()
}

/// Whether a stored spec is what `wanted` became when it was appended.
pub(super) fn is_appended(stored: &WorkSpec, wanted: &WorkSpec) -> bool {
    let prerequisites = wanted.prerequisites.clone();
    stored.prerequisites.ids.starts_with(&prerequisites.ids) && WorkSpec { prerequisites, ..stored.clone() } == *wanted
}

/// UNQ-10: one live periodic work is updated in place and keeps its id.
fn update(draft: &mut Draft<'_>, unique: &Unique, members: &[WorkRecord], new: &[&NewWork]) -> Result<Enqueued, Halt> {
    let live: Vec<&WorkRecord> = members.iter().filter(|member| !member.state().is_finished()).collect();
    let (Some(work), [member]) = (new.first(), live.as_slice()) else {
        if let Some(first) = live.first() {
            return Err(Refusal::NotPeriodic { name: unique.name.clone(), id: first.id }.into());
        }
        clear(draft, unique, members)?;
        return Ok(Enqueued::Inserted);
    };
    if member.period.is_none() || members.len() > 1 {
        return Err(Refusal::NotPeriodic { name: unique.name.clone(), id: member.id }.into());
    }
    update::apply(draft, member, work)?;
    Ok(Enqueued::Updated(member.id))
}

/// Ends and deletes all holders of a name. A running one is stopped with its reason first; its fence is gone with its record.
fn clear(draft: &mut Draft<'_>, unique: &Unique, members: &[WorkRecord]) -> Result<(), Halt> {
    if members.len() > MEMBERS_LIMIT {
        let (name, count, limit) = (unique.name.clone(), members.len(), MEMBERS_LIMIT);
        return Err(Refusal::TooManyMembers { name, count, limit }.into());
    }
    let width = cascade::width(members.len());
    let live = members.iter().filter(|member| !member.state().is_finished());
    let dependents = live.filter_map(|member| cascade::wants(CascadeVerb::Cancel, member, width));
    // What depended on work that failed or was cancelled has ended with it, unless a cascade is still to tell it.
    let succeeded = members.iter().filter(|member| member.state() == WorkState::Succeeded);
    let awaited = succeeded.filter_map(prune::first_dependents);
    draft.view.require(dependents.chain(awaited))?;
    for member in members {
        let Some(member) = draft.work(member.id)?.filter(|work| !work.state().is_finished()).cloned() else { continue };
        let id = member.id;
        draft.cancel(member, StopReason::Replaced);
        cascade::spread(draft, CascadeVerb::Cancel, id, StopReason::Replaced, width)?;
    }
    for member in members {
        let is_awaited = member.state() == WorkState::Succeeded && prune::is_awaited(draft, member)?;
        if is_awaited || draft.has_cascade(member.id)? {
            unname(draft, member.id)?;
        } else {
            draft.delete(member.id)?;
        }
    }
    Ok(())
}

/// A holder can't go whose end has not reached all its dependents yet, since they are found through it, or whose output is
/// awaited by work outside of the name. It loses its name and is kept as finished work is.
fn unname(draft: &mut Draft<'_>, id: WorkId) -> Result<(), Halt> {
    let spec = WorkSpec { name: None, ..(**draft.view.spec(id)?).clone() };
    draft.put_spec(id, Arc::new(spec))
}
