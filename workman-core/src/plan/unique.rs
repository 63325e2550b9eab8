//! Unique names: what happens to the work that holds a name, and whether the new work is stored at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::answer::MEMBERS_LIMIT;
use super::draft::Draft;
use super::view::{Halt, SelectorWanted, Want};
use super::{Enqueued, NewWork, Refusal, Unique, UniquePolicy, cascade, prune, superseded, update};
use crate::id::WorkId;
use crate::policy::{ExistingPeriodicWorkPolicy, ExistingWorkPolicy};
use crate::record::{CascadeVerb, InputShape, Prerequisites, WorkRecord, WorkSpec};
use crate::state::{StopReason, WorkState};

/// The most works of a name that new work is appended to at once.
const LEAVES_LIMIT: usize = 4_096;

/// The most edges from new works to those that they are appended to.
const EDGES_LIMIT: usize = 262_144;

/// What [`resolve`] will ask for first. Only what takes the name from its members looks at all of them.
pub(super) fn wants(unique: &Unique) -> impl Iterator<Item = Want> {
    let name = &unique.name;
    let (first, second) = match unique.policy {
        UniquePolicy::OneTime(ExistingWorkPolicy::Keep) | UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Keep) => {
            (Want::Holder(Arc::clone(name)), Some(Want::members(name, 1)))
        }
        UniquePolicy::OneTime(ExistingWorkPolicy::Replace)
        | UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::CancelAndReenqueue) => (Want::all_members(name), None),
        UniquePolicy::OneTime(ExistingWorkPolicy::Append | ExistingWorkPolicy::AppendOrReplace) => {
            (Want::Leaves(Arc::clone(name)), None)
        }
        UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Update) => (Want::members(name, 2), None),
    };
    std::iter::once(first).chain(second)
}

/// Applies the policy to the holders of the name. `Inserted`, `Replaced` and `Superseded` ask the caller to store the new work,
/// `Appended` to store it [`behind`] those.
pub(super) fn resolve(draft: &mut Draft<'_>, unique: &Unique, new: &[&NewWork]) -> Result<Enqueued, Halt> {
    match unique.policy {
        UniquePolicy::OneTime(ExistingWorkPolicy::Keep) | UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Keep) => {
            keep(draft, unique)
        }
        UniquePolicy::OneTime(ExistingWorkPolicy::Replace)
        | UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::CancelAndReenqueue) => replace(draft, unique),
        UniquePolicy::OneTime(ExistingWorkPolicy::Append) => append(draft, unique, new),
        UniquePolicy::OneTime(ExistingWorkPolicy::AppendOrReplace) => append_or_replace(draft, unique, new),
        UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Update) => update(draft, unique, new),
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

/// UNQ-1: only enqueued or running work counts as holding the name.
fn keep(draft: &mut Draft<'_>, unique: &Unique) -> Result<Enqueued, Halt> {
    if let Some(holder) = draft.view.list(Want::Holder(Arc::clone(&unique.name)))?.ids.first().copied() {
        let is_stuck = draft.work(holder)?.is_some_and(WorkRecord::can_not_begin);
        let taken = if is_stuck { superseded::take_over(draft, unique)? } else { None };
        return Ok(taken.unwrap_or(Enqueued::Kept(holder)));
    }
    if draft.view.list(Want::members(&unique.name, 1))?.ids.is_empty() {
        return Ok(Enqueued::Inserted);
    }
    let members = draft.listed(Want::all_members(&unique.name))?;
    if members.iter().any(|member| member.state() == WorkState::Blocked)
        && let Some(taken) = superseded::take_over(draft, unique)?
    {
        return Ok(taken);
    }
    clear(draft, unique, &members)?;
    Ok(Enqueued::Inserted)
}

fn replace(draft: &mut Draft<'_>, unique: &Unique) -> Result<Enqueued, Halt> {
    let members = draft.listed(Want::all_members(&unique.name))?;
    let ids: Vec<WorkId> = members.iter().map(|member| member.id).collect();
    clear(draft, unique, &members)?;
    Ok(if ids.is_empty() { Enqueued::Inserted } else { Enqueued::Replaced(ids) })
}

/// UNQ-2, UNQ-5: what the leaves make of the new work is found out at its birth; a failed or cancelled one ends it there.
fn append(draft: &mut Draft<'_>, unique: &Unique, new: &[&NewWork]) -> Result<Enqueued, Halt> {
    match take_over(draft, unique)? {
        Some(taken) => Ok(taken),
        None => behind_leaves(draft, unique, new),
    }
}

/// The leaves mostly tell that the name gets on, and nobody has to look at more.
fn take_over(draft: &mut Draft<'_>, unique: &Unique) -> Result<Option<Enqueued>, Halt> {
    let mut may_be_stuck = false;
    for id in &draft.view.list(Want::Leaves(Arc::clone(&unique.name)))?.ids {
        let Some(leaf) = draft.work(*id)? else { continue };
        if superseded::is_live(leaf) {
            return Ok(None);
        }
        may_be_stuck |= superseded::may_be_stuck(leaf);
    }
    if may_be_stuck { superseded::take_over(draft, unique) } else { Ok(None) }
}

fn behind_leaves(draft: &Draft<'_>, unique: &Unique, new: &[&NewWork]) -> Result<Enqueued, Halt> {
    let leaves = &draft.view.list(Want::Leaves(Arc::clone(&unique.name)))?.ids;
    let heads = heads(new);
    if let Some(typed) = new.iter().find(|work| heads.contains(&work.id) && !takes_more(work)) {
        return Err(Refusal::TypedHead { name: unique.name.clone(), work: typed.id }.into());
    }
    let heads = heads.len();
    let limit = LEAVES_LIMIT.min(EDGES_LIMIT / heads.max(1)).max(1);
    match leaves.len() {
        0 => Ok(Enqueued::Inserted),
        count if count > limit => Err(Refusal::TooManyLeaves { name: unique.name.clone(), count, limit }.into()),
        _ => Ok(Enqueued::Appended(leaves.clone())),
    }
}

/// UNQ-4: where a leaf ended badly, everything goes; what still runs is stopped first.
fn append_or_replace(draft: &mut Draft<'_>, unique: &Unique, new: &[&NewWork]) -> Result<Enqueued, Halt> {
    if let Some(taken) = take_over(draft, unique)? {
        return Ok(taken);
    }
    let ended_badly = |leaf: &WorkRecord| matches!(leaf.state(), WorkState::Failed | WorkState::Cancelled);
    if draft.listed(Want::Leaves(Arc::clone(&unique.name)))?.iter().any(ended_badly) {
        replace(draft, unique)
    } else {
        behind_leaves(draft, unique, new)
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
fn update(draft: &mut Draft<'_>, unique: &Unique, new: &[&NewWork]) -> Result<Enqueued, Halt> {
    let first = draft.listed(Want::members(&unique.name, 2))?;
    let not_periodic = |id| Err(Refusal::NotPeriodic { name: unique.name.clone(), id }.into());
    match (first.as_slice(), new.first()) {
        ([], _) => return Ok(Enqueued::Inserted),
        ([member], Some(work)) if !member.state().is_finished() => {
            if member.period.is_none() {
                return not_periodic(member.id);
            }
            update::apply(draft, member, work)?;
            return Ok(Enqueued::Updated(member.id));
        }
        _ => {}
    }
    let any = any_unfinished(&unique.name);
    draft.view.require([Want::Holder(Arc::clone(&unique.name)), any.clone()])?;
    let holder = draft.view.list(Want::Holder(Arc::clone(&unique.name)))?.ids.first();
    match holder.or(draft.view.list(any)?.ids.first()) {
        Some(live) => not_periodic(*live),
        None => {
            let members = draft.listed(Want::all_members(&unique.name))?;
            clear(draft, unique, &members)?;
            Ok(Enqueued::Inserted)
        }
    }
}

fn any_unfinished(name: &Arc<str>) -> Want {
    let selector = SelectorWanted::Unique(Arc::clone(name));
    Want::Selected { selector, before: u64::MAX, after: None, limit: 1 }
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
        if is_awaited || draft.has_cascade(member)? {
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
    if let Some(record) = draft.work(id)?.cloned() {
        draft.put_work(WorkRecord { followers: None, ..record }, Arc::new(spec));
    }
    Ok(())
}
