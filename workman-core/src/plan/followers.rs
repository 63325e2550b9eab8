//! Followers: which members of a unique name wait for which, counted as they come and go.
//!
//! A member without followers is a leaf of its name. The count lies in its record, so that a store derives from that where
//! something is to be appended, and nobody has to look at the members inside.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{Enqueue, Enqueued, NewWork, Refusal};
use crate::id::WorkId;
use crate::record::{WorkRecord, WorkSpec};

/// The ids of an enqueue in order, each once, with the place of the first work that has it.
pub(super) struct Own {
    pub(super) ids: Vec<(WorkId, usize)>,
}

impl Own {
    /// One id is one work: a request that comes twice is meant once, and two requests of one id are a mistake.
    pub(super) fn of(enqueue: &Enqueue) -> Result<Self, Refusal> {
        let places = enqueue.works.iter().enumerate();
        let mut ids: Vec<(WorkId, usize)> = places.map(|(place, work)| (work.id, place)).collect();
        ids.sort_unstable();
        for pair in ids.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let (first, again) = (&enqueue.works[pair[0].1], &enqueue.works[pair[1].1]);
            if first.spec != again.spec || first.terms != again.terms {
                return Err(Refusal::IdReused(first.id));
            }
        }
        ids.dedup_by_key(|(id, _)| *id);
        Ok(Own { ids })
    }

    pub(super) fn contains(&self, id: WorkId) -> bool {
        self.place(id).is_some()
    }

    pub(super) fn work<'a>(&self, enqueue: &'a Enqueue, id: WorkId) -> Option<&'a NewWork> {
        self.place(id).map(|place| &enqueue.works[place])
    }

    fn place(&self, id: WorkId) -> Option<usize> {
        self.ids.binary_search_by_key(&id, |(own, _)| *own).ok().map(|at| self.ids[at].1)
    }
}

/// What new works wait for.
pub(super) struct Edges {
    /// Each work that one of them waits for, in order, with how many of them are followers of it: wait for it and have the same
    /// unique name.
    pub(super) awaited: Vec<(WorkId, u32)>,
}

impl Edges {
    pub(super) fn of(draft: &Draft<'_>, new: &[&NewWork], among: &Among<'_>) -> Result<Self, Halt> {
        let mut edges: Vec<(WorkId, usize)> = Vec::new();
        for (at, work) in new.iter().enumerate() {
            edges.extend(work.spec.prerequisites.ids.iter().map(|of| (*of, at)));
        }
        edges.sort_unstable();
        edges.dedup();
        let is_named = new.iter().any(|work| work.spec.name.is_some());
        let awaited = edges.chunk_by(|(one, _), (other, _)| one == other);
        if is_named {
            draft.view.require(awaited.clone().filter_map(|edges| among.spec_wanted(draft, edges[0].0)))?;
        }
        let mut counted = Vec::new();
        for edges in awaited {
            let of = edges[0].0;
            let name = if is_named { among.name_of(draft, of)? } else { None };
            let followers = edges.iter().filter(|(_, at)| name.is_some() && new[*at].spec.name.as_ref() == name);
            counted.push((of, u32::try_from(followers.count()).unwrap_or(u32::MAX)));
        }
        Ok(Edges { awaited: counted })
    }

    /// How many followers a work gets; none if no new work waits for it.
    pub(super) fn followers(&self, of: WorkId) -> Option<u32> {
        self.awaited.binary_search_by_key(&of, |(of, _)| *of).ok().map(|at| self.awaited[at].1)
    }
}

/// Where the unique name of a prerequisite is known from.
pub(super) struct Among<'a> {
    enqueue: &'a Enqueue,
    own: &'a Own,
    /// The members of the name of the enqueue that its works are appended to.
    leaves: BTreeSet<WorkId>,
}

impl<'a> Among<'a> {
    pub(super) fn new(enqueue: &'a Enqueue, own: &'a Own, how: &Enqueued) -> Self {
        let leaves = match how {
            Enqueued::Appended(after) => after.iter().copied().collect(),
            _ => BTreeSet::new(),
        };
        Among { enqueue, own, leaves }
    }

    /// Of a work that is stored and has a name, its spec says which.
    fn spec_wanted(&self, draft: &Draft<'_>, id: WorkId) -> Option<Want> {
        let stored = draft.work(id).ok().flatten().is_some_and(|record| record.followers.is_some());
        (stored && !self.leaves.contains(&id)).then_some(Want::Spec(id))
    }

    fn name_of(&self, draft: &Draft<'a>, id: WorkId) -> Result<Option<&'a Arc<str>>, Halt> {
        let spec: &'a WorkSpec = match draft.work(id)? {
            Some(stored) if stored.followers.is_none() => return Ok(None),
            Some(_) if self.leaves.contains(&id) => {
                return Ok(self.enqueue.unique.as_ref().map(|unique| &unique.name));
            }
            Some(_) => draft.view.spec(id)?,
            None => match self.own.work(self.enqueue, id) {
                Some(new) => &new.spec,
                None => return Ok(None),
            },
        };
        Ok(spec.name.as_ref())
    }
}

/// What [`leave`] will ask for about the work itself.
pub(super) fn spec_wanted(record: &WorkRecord) -> Option<Want> {
    record.followers.map(|_| Want::Spec(record.id))
}

/// What [`leave`] will ask for about the works that these follow, so that a plan of many can ask for all of it at once.
pub(super) fn followed_wanted<'a>(
    view: &Snapshot,
    records: impl Iterator<Item = &'a WorkRecord>,
) -> Result<Vec<Want>, Halt> {
    let mut wants = Vec::new();
    for record in records.filter(|record| record.followers.is_some()) {
        for of in &view.spec(record.id)?.prerequisites.ids {
            match view.works.get(of) {
                None => wants.push(Want::Work(*of)),
                Some(Some(stored)) if is_followed(stored, record) => wants.push(Want::Spec(*of)),
                Some(_) => {}
            }
        }
    }
    Ok(wants)
}

/// A member goes: those that it followed may be leaves again. Where a whole name is taken from its members nobody has to say
/// this, since none of them is left.
pub(super) fn leave(draft: &mut Draft<'_>, record: &WorkRecord) -> Result<(), Halt> {
    if record.followers.is_none() {
        return Ok(());
    }
    let spec = draft.view.spec(record.id)?;
    let mut followed = spec.prerequisites.ids.clone();
    followed.sort_unstable();
    followed.dedup();
    for of in followed {
        let Some(before) = draft.work(of)?.filter(|before| is_followed(before, record)).cloned() else { continue };
        if draft.view.spec(of)?.name == spec.name {
            let followers = before.followers.map(|followers| followers.saturating_sub(1));
            draft.put(WorkRecord { followers, ..before });
        }
    }
    Ok(())
}

/// Whether `by` may be among the followers of this work. Every work is born after its prerequisites, so one that is younger has
/// taken the id of the one that was meant.
fn is_followed(record: &WorkRecord, by: &WorkRecord) -> bool {
    record.seq < by.seq && record.followers.is_some_and(|followers| followers > 0)
}
