//! A name that nobody can get on with: all unfinished work that holds it could not begin, or waits for such work.
//!
//! Who keeps that work, or appends to it, would wait for as long as no build comes that can read it, and his own work would never
//! run. So the new work takes the name. The old is left as it is, without its name and marked, until somebody frees it by its id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::answer::MEMBERS_LIMIT;
use super::draft::Draft;
use super::view::{Halt, SelectorWanted, Want};
use super::{Enqueued, Refusal, Unique};
use crate::id::WorkId;
use crate::index::IndexKey;
use crate::record::{Standing, WorkRecord, WorkSpec};
use crate::state::WorkState;

/// How far it is followed, work by work, for what blocked work waits outside of its name. What is further away counts as if it could
/// begin: the name is kept then.
const LEVELS_OUTSIDE: usize = 4;

/// Whether appending to this leaf says nothing of whether the name can get on: it is blocked, or ended badly beside what is.
pub(super) fn may_be_stuck(leaf: &WorkRecord) -> bool {
    !is_live(leaf) && leaf.state() != WorkState::Succeeded
}

/// Whether it runs, or may some day without anybody's help; or is poisoned, which nobody passes over.
pub(super) fn is_live(record: &WorkRecord) -> bool {
    matches!(record.state(), WorkState::Enqueued | WorkState::Running) && !record.can_not_begin()
}

/// Takes the name from its holders if none that is unfinished can get on. Answers `None` if one can, or if all have finished.
pub(super) fn take_over(draft: &mut Draft<'_>, unique: &Unique) -> Result<Option<Enqueued>, Halt> {
    let name = &unique.name;
    if let Some(oldest) = draft.view.list(Want::Holder(Arc::clone(name)))?.ids.first()
        && draft.work(*oldest)?.is_some_and(is_live)
    {
        return Ok(None);
    }
    let unfinished = unfinished(draft, unique)?;
    let mut blocked = Vec::new();
    for id in &unfinished {
        match draft.work(*id)?.filter(|record| !record.can_not_begin()) {
            Some(record) if record.standing == Standing::Blocked => blocked.push(*id),
            Some(_) => return Ok(None),
            None => {}
        }
    }
    if unfinished.is_empty() || !are_behind_stuck_work(draft, &blocked)? {
        return Ok(None);
    }
    unname_all(draft, unique)?;
    Ok(Some(Enqueued::Superseded(unfinished)))
}

/// The holders that have not finished, those that are blocked first.
fn unfinished(draft: &Draft<'_>, unique: &Unique) -> Result<Vec<WorkId>, Halt> {
    let selector = SelectorWanted::Unique(Arc::clone(&unique.name));
    let mut found: Vec<WorkId> = Vec::new();
    let mut after: Option<IndexKey> = None;
    loop {
        let want =
            Want::Selected { selector: selector.clone(), before: u64::MAX, after: after.take(), limit: MEMBERS_LIMIT };
        let list = draft.view.list(want)?;
        found.extend(&list.ids);
        if found.len() > MEMBERS_LIMIT {
            let (name, count, limit) = (unique.name.clone(), found.len(), MEMBERS_LIMIT);
            return Err(Refusal::TooManyMembers { name, count, limit }.into());
        }
        match &list.next {
            None => return Ok(found),
            next => after.clone_from(next),
        }
    }
}

/// Whether each of these waits for work that could not begin, directly or through others.
fn are_behind_stuck_work(draft: &Draft<'_>, blocked: &[WorkId]) -> Result<bool, Halt> {
    // By their births, since every work is born after its prerequisites.
    let mut known: BTreeMap<u64, WorkId> = BTreeMap::new();
    let mut front: Vec<WorkId> = blocked.to_vec();
    for _ in 0..=LEVELS_OUTSIDE {
        draft.view.require(front.iter().copied().map(Want::Spec))?;
        for id in &front {
            known.extend(draft.work(*id)?.map(|record| (record.seq, *id)));
        }
        let mut awaited = BTreeSet::new();
        for id in &front {
            awaited.extend(draft.view.spec(*id)?.prerequisites.ids.iter().copied());
        }
        draft.view.require(awaited.iter().copied().map(Want::Work))?;
        front.clear();
        for id in awaited {
            let waits = draft.work(id)?.filter(|record| record.standing == Standing::Blocked);
            front.extend(waits.filter(|record| !known.contains_key(&record.seq)).map(|record| record.id));
        }
        if front.is_empty() || known.len() > MEMBERS_LIMIT {
            break;
        }
    }
    let mut stuck: BTreeSet<WorkId> = BTreeSet::new();
    for (seq, id) in &known {
        for of in &draft.view.spec(*id)?.prerequisites.ids {
            let elder = draft.work(*of)?.filter(|record| record.seq < *seq);
            if elder.is_some_and(WorkRecord::can_not_begin) || stuck.contains(of) {
                stuck.insert(*id);
            }
        }
    }
    Ok(blocked.iter().all(|id| stuck.contains(id)))
}

/// All holders lose the name and stay. What has not finished is marked, so that nothing frees it by itself.
fn unname_all(draft: &mut Draft<'_>, unique: &Unique) -> Result<(), Halt> {
    let members = draft.listed(Want::all_members(&unique.name))?;
    if members.len() > MEMBERS_LIMIT {
        let (name, count, limit) = (unique.name.clone(), members.len(), MEMBERS_LIMIT);
        return Err(Refusal::TooManyMembers { name, count, limit }.into());
    }
    draft.view.require(members.iter().map(|member| Want::Spec(member.id)))?;
    draft.expect(members.len());
    for member in members {
        let spec = WorkSpec { name: None, ..(**draft.view.spec(member.id)?).clone() };
        let member = if member.state().is_finished() { member } else { draft.gated(member.superseded(), &spec)? };
        draft.put_work(WorkRecord { followers: None, ..member }, Arc::new(spec));
    }
    Ok(())
}
