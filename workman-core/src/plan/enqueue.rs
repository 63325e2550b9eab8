//! Enqueue: new work, alone, in chains, under a name.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{
    Applied, Claimed, Enqueue, Enqueued, Hint, NewWork, NextScheduleTime, Offer, Plan, Refusal, periodic, unique,
};
use crate::id::WorkId;
use crate::record::{CascadeVerb, Finish, LaneId, Meta, RowsPresent, Standing, Terms, Urgency, WorkRecord, WorkSpec};
use crate::state::WorkState;
use crate::store::index::{Suspects, rank};
use crate::time::Timestamp;

pub(super) fn plan(view: &Snapshot, enqueue: &Enqueue, now: Timestamp) -> Result<Plan, Halt> {
    view.require(wants(enqueue))?;
    let mut draft = Draft::new(view, now);
    let new = new_works(view, enqueue)?;
    if new.is_empty() {
        return Ok(draft.done(Applied::Enqueued { how: Enqueued::Inserted, claimed: Vec::new() }));
    }
    let how = match &enqueue.unique {
        None => Enqueued::Inserted,
        Some(unique) => unique::resolve(&mut draft, unique, &new)?,
    };
    let appended: Vec<NewWork> = match &how {
        Enqueued::Kept(_) | Enqueued::Updated(_) => {
            return Ok(draft.done(Applied::Enqueued { how, claimed: Vec::new() }));
        }
        Enqueued::Appended(after) => unique::behind(&new, after),
        Enqueued::Inserted | Enqueued::Replaced(_) => Vec::new(),
    };
    let new: Vec<&NewWork> = if appended.is_empty() { new } else { appended.iter().collect() };
    insert_all(&mut draft, &new).map_err(|halt| under_name(halt, enqueue, &how))?;
    let claimed = take_offer(&mut draft, enqueue, &new)?;
    Ok(draft.done(Applied::Enqueued { how, claimed }))
}

/// Who waits for the holder of a name did not ask for that work but for the name, and is told so.
fn under_name(halt: Halt, enqueue: &Enqueue, how: &Enqueued) -> Halt {
    match (halt, how) {
        (Halt::Refuse(Refusal::PeriodicPrerequisite { work, worker, prerequisite, .. }), Enqueued::Appended(after))
            if after.contains(&prerequisite) =>
        {
            let name = enqueue.unique.as_ref().map(|unique| unique.name.clone());
            Halt::Refuse(Refusal::PeriodicPrerequisite { work, worker, prerequisite, name })
        }
        (halt, _) => halt,
    }
}

/// Everything that is certainly needed, so that one round of loading is enough for most requests.
fn wants(enqueue: &Enqueue) -> impl Iterator<Item = Want> + '_ {
    let own: BTreeSet<WorkId> = enqueue.works.iter().map(|work| work.id).collect();
    let prerequisites = enqueue.works.iter().flat_map(|work| &work.spec.prerequisites.ids);
    let outside: BTreeSet<WorkId> = prerequisites.filter(|id| !own.contains(id)).copied().collect();
    let lanes = enqueue.works.iter().map(|work| Want::Lane {
        worker: work.spec.worker.clone(),
        constraints: work.spec.constraints,
        urgency: urgency_at_birth(&work.terms),
    });
    let name = enqueue.unique.iter().map(|unique| Want::Name(unique.name.clone()));
    own.into_iter().chain(outside).map(Want::Work).chain(lanes).chain(name)
}

/// The works that are not stored yet. A stored one must be the same request: enqueue is idempotent on the id.
fn new_works<'a>(view: &Snapshot, enqueue: &'a Enqueue) -> Result<Vec<&'a NewWork>, Halt> {
    let stored = enqueue.works.iter().map(|work| work.id);
    let is_compared =
        |record: &WorkRecord| record.generation == 0 || enqueue.unique.as_ref().is_some_and(unique::updates);
    let stored = stored.filter(|id| view.works.get(id).and_then(Option::as_ref).is_some_and(is_compared));
    view.require(stored.map(Want::Spec))?;
    let mut new = Vec::with_capacity(enqueue.works.len());
    let mut first_of: BTreeMap<WorkId, &NewWork> = BTreeMap::new();
    for work in &enqueue.works {
        if let Some(first) = first_of.insert(work.id, work) {
            if first.spec != work.spec || first.terms != work.terms {
                return Err(Refusal::IdReused(work.id).into());
            }
            continue;
        }
        match view.work(work.id)? {
            None => new.push(work),
            Some(record) if updates_itself(view, enqueue, record, work)? => new.push(work),
            // An update changed it since, so the first request can't be compared any more.
            Some(record) if record.generation > 0 => {}
            Some(record) => {
                if record.terms != work.terms || !is_same(view.spec(work.id)?, &work.spec, enqueue) {
                    return Err(Refusal::IdReused(work.id).into());
                }
            }
        }
    }
    Ok(new)
}

/// Whether the request has the id of the work that it is to update: a program may give its periodic work an id of its own. The
/// very request that stored the work changes nothing.
fn updates_itself(view: &Snapshot, enqueue: &Enqueue, record: &WorkRecord, work: &NewWork) -> Result<bool, Halt> {
    let Some(unique) = enqueue.unique.as_ref().filter(|unique| unique::updates(unique)) else { return Ok(false) };
    let spec = view.spec(work.id)?;
    let is_the_first = record.generation == 0
        && record.terms == work.terms
        && *spec == work.spec
        && work.next_schedule_time == NextScheduleTime::Unchanged;
    Ok(spec.name.as_ref() == Some(&unique.name) && !record.state().is_finished() && !is_the_first)
}

/// Whether the stored spec is what this enqueue would store. Works that were appended have got prerequisites since.
fn is_same(stored: &WorkSpec, wanted: &WorkSpec, enqueue: &Enqueue) -> bool {
    let may_be_appended = enqueue.unique.as_ref().is_some_and(unique::appends);
    stored == wanted || (may_be_appended && unique::is_appended(stored, wanted))
}

fn insert_all(draft: &mut Draft<'_>, new: &[&NewWork]) -> Result<(), Halt> {
    let mut has_dependents: BTreeSet<WorkId> = BTreeSet::new();
    let coming: BTreeSet<WorkId> = new.iter().map(|work| work.id).collect();
    for work in new {
        has_dependents.extend(&work.spec.prerequisites.ids);
    }
    for work in new {
        insert(draft, work, &coming)?;
    }
    for id in has_dependents {
        if let Some(record) = draft.work(id)?.filter(|record| !record.rows.dependents).cloned() {
            draft.put(WorkRecord { rows: RowsPresent { dependents: true, ..record.rows }, ..record });
        }
    }
    Ok(())
}

fn insert(draft: &mut Draft<'_>, work: &NewWork, coming: &BTreeSet<WorkId>) -> Result<(), Halt> {
    let born = birth_state(draft, work, coming)?;
    let urgency = urgency_at_birth(&work.terms);
    let lane = draft.lane(&work.spec.worker, work.spec.constraints, urgency)?;
    let seq = draft.next_seq();
    let now = draft.now;
    let period = periodic::first(draft, work);
    let due = period.map_or(now + work.terms.initial_delay, |period| period.next_run.unwrap_or(period.due));
    let record = WorkRecord {
        id: work.id,
        seq,
        turn: seq,
        lane,
        urgency,
        terms: work.terms.clone(),
        generation: 0,
        standing: Standing::Blocked,
        created: now,
        enqueued: now,
        fence: 0,
        failures: 0,
        interruptions: 0,
        deaths: 0,
        open: 0,
        period,
        started: None,
        ended: None,
        stop: None,
        rows: RowsPresent::default(),
    };
    match born {
        Birth::Open(0) => {
            draft.line_up_in_turn(record, due);
        }
        Birth::Open(open) => draft.put(WorkRecord { open, ..record }),
        Birth::Over(how) => draft.finish(&record, how),
    }
    draft.put_spec(work.id, work.spec.clone())
}

/// New work is expedited if it asks for it; whether there is time left for such work is seen when it could run.
pub(super) fn urgency_at_birth(terms: &Terms) -> Urgency {
    if terms.expedited.is_some() { Urgency::Expedited } else { Urgency::Ordinary }
}

/// What its prerequisites make of a work at its birth.
enum Birth {
    Open(u32),
    Over(Finish),
}

/// A failed prerequisite makes the work failed, a cancelled one cancelled, and failure wins.
fn birth_state(draft: &Draft<'_>, work: &NewWork, coming: &BTreeSet<WorkId>) -> Result<Birth, Halt> {
    let (mut open, mut over) = (0, None);
    let mut seen = BTreeSet::new();
    for id in work.spec.prerequisites.ids.iter().filter(|id| seen.insert(**id)) {
        let Some(prerequisite) = draft.work(*id)? else {
            let refusal = if coming.contains(id) {
                Refusal::Cycle(work.id)
            } else {
                Refusal::MissingPrerequisite { work: work.id, prerequisite: *id }
            };
            return Err(refusal.into());
        };
        if prerequisite.period.is_some() {
            let worker = work.spec.worker.clone();
            return Err(Refusal::PeriodicPrerequisite { work: work.id, worker, prerequisite: *id, name: None }.into());
        }
        match prerequisite.state() {
            WorkState::Succeeded if is_yet_to_release(draft, *id, work.id)? => open += 1,
            WorkState::Succeeded => {}
            WorkState::Failed => over = Some(Finish::Failed),
            WorkState::Cancelled => over = over.or(Some(Finish::Cancelled)),
            _ => open += 1,
        }
    }
    Ok(over.map_or(Birth::Open(open), Birth::Over))
}

/// A success that is still on its way to its dependents reaches this one as well, and then counts it down.
fn is_yet_to_release(draft: &Draft<'_>, prerequisite: WorkId, dependent: WorkId) -> Result<bool, Halt> {
    let mut cascades = draft.view.cascades()?.iter();
    Ok(cascades.any(|cascade| {
        cascade.verb == CascadeVerb::Release
            && cascade.of == prerequisite
            && cascade.after.is_none_or(|after| after < dependent)
    }))
}

/// Lanes that are newer than an offer are too many to look into beyond this number.
const NEWER_LANES: u32 = 16;

/// Claims new work for the slots that the caller has reserved, unless something that is ready already ranks higher.
fn take_offer(draft: &mut Draft<'_>, enqueue: &Enqueue, new: &[&NewWork]) -> Result<Vec<WorkId>, Halt> {
    let Some(offer) = enqueue.offer.as_ref().filter(|offer| is_attached(&draft.meta, offer.epoch)) else {
        return Ok(Vec::new());
    };
    let offered: BTreeSet<WorkId> = offer.ids.iter().copied().collect();
    let mut candidates = Vec::new();
    for work in new {
        match draft.work(work.id)?.filter(|record| matches!(record.standing, Standing::Ready { .. })) {
            // It goes first, and is left to a claim, which knows its budget.
            Some(record) if record.urgency == Urgency::Expedited => return Ok(Vec::new()),
            Some(record) if offered.contains(&work.id) => {
                candidates.push((rank(record.terms.priority), record.turn, *work));
            }
            _ => {}
        }
    }
    candidates.sort_by_key(|(rank, turn, _)| (*rank, *turn));
    candidates.truncate(offer.room);
    let Some((worst, _, _)) = candidates.last() else { return Ok(Vec::new()) };
    if best_rival(draft, offer, &candidates)?.is_some_and(|rival| rival <= *worst) {
        return Ok(Vec::new());
    }
    let mut works: Vec<Claimed> = Vec::with_capacity(candidates.len());
    for (_, _, work) in candidates {
        if let Some(record) = draft.work(work.id)?.cloned() {
            works.push(draft.claim(&record, &work.spec, offer.epoch)?);
        }
    }
    let claimed = works.iter().map(|work| work.record.id).collect();
    draft.hint(Hint::Claimed { epoch: offer.epoch, generation: offer.generation, works });
    Ok(claimed)
}

/// The rank of the best work that is ready already, in the lanes of the candidates, those that the offer names, and those that
/// its manager does not know yet. Expedited work beats every rank.
fn best_rival(draft: &Draft<'_>, offer: &Offer, candidates: &[(u8, u64, &NewWork)]) -> Result<Option<u8>, Halt> {
    let mut lanes: BTreeSet<LaneId> = offer.rivals.iter().copied().collect();
    let next_lane = draft.view.meta.next_lane;
    if next_lane.saturating_sub(offer.lanes) > NEWER_LANES {
        return Ok(Some(0));
    }
    lanes.extend((offer.lanes..next_lane).map(LaneId));
    for (_, _, work) in candidates {
        lanes.extend(draft.work(work.id)?.map(|record| record.lane).filter(|lane| lane.0 < draft.view.meta.next_lane));
    }
    let want = |lane| Want::Ready { lane, suspects: Suspects::None, limit: 1 };
    draft.view.require(lanes.iter().copied().map(want))?;
    let mut best: Option<u8> = None;
    for lane in lanes {
        for id in &draft.view.list(want(lane))?.ids {
            // A record that this very plan replaces is no rival.
            if let Some(record) = draft.work(*id)?.filter(|record| matches!(record.standing, Standing::Ready { .. })) {
                let rival = match record.urgency {
                    Urgency::Expedited => 0,
                    Urgency::Ordinary => rank(record.terms.priority),
                };
                best = Some(best.map_or(rival, |best| best.min(rival)));
            }
        }
    }
    Ok(best)
}

/// Whether the manager of this number may claim.
pub(super) fn is_attached(meta: &Meta, epoch: u64) -> bool {
    meta.epochs_of == meta.incarnation && meta.open_epochs.contains_key(&epoch)
}
