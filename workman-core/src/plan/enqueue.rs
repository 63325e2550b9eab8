//! Enqueue: new work, alone, in chains, under a name.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::draft::Draft;
use super::followers::{Among, Edges, Own};
use super::view::{Halt, Snapshot, Want};
use super::{
    Applied, Claimed, Enqueue, Enqueued, Hint, NewWork, NextScheduleTime, Offer, Plan, Refusal, claim, periodic, unique,
};
use crate::id::WorkId;
use crate::index::{Suspects, rank};
use crate::record::{CascadeVerb, Finish, LaneId, Meta, RowsPresent, Standing, Urgency, WorkRecord, WorkSpec};
use crate::state::WorkState;
use crate::time::Timestamp;

pub(super) fn plan(view: &Snapshot, enqueue: &Enqueue, now: Timestamp) -> Result<Plan, Halt> {
    let own = Own::of(enqueue)?;
    let found = look_up(view, enqueue, &own)?;
    let mut draft = Draft::new(view, now);
    let new = new_works(view, enqueue, &found)?;
    if new.is_empty() {
        return draft.done(Applied::Enqueued { how: Enqueued::Inserted, claimed: Vec::new() });
    }
    let how = match &enqueue.unique {
        None => Enqueued::Inserted,
        Some(unique) => unique::resolve(&mut draft, unique, &new)?,
    };
    let appended: Vec<NewWork> = match &how {
        Enqueued::Kept(_) | Enqueued::Updated(_) => {
            return draft.done(Applied::Enqueued { how, claimed: Vec::new() });
        }
        Enqueued::Appended(after) => unique::behind(&new, after),
        Enqueued::Inserted | Enqueued::Replaced(_) | Enqueued::Superseded(_) => Vec::new(),
    };
    let new: Vec<&NewWork> = if appended.is_empty() { new } else { appended.iter().collect() };
    view.require(rivals_wanted(view, enqueue, &own))?;
    let edges = Edges::of(&draft, &new, &Among::new(enqueue, &own, &how))?;
    insert_all(&mut draft, &new, &edges, &own).map_err(|halt| under_name(halt, enqueue, &how))?;
    let claimed = take_offer(&mut draft, enqueue, &new)?;
    draft.done(Applied::Enqueued { how, claimed })
}

/// A work of an enqueue, and what is stored under its id.
struct Found<'a> {
    place: usize,
    work: &'a NewWork,
    stored: Option<&'a WorkRecord>,
}

/// Each work of an enqueue, in order. Everything that is certainly needed is loaded at once, so that one round of loading is
/// enough for most requests.
fn look_up<'a>(view: &'a Snapshot, enqueue: &'a Enqueue, own: &Own) -> Result<Vec<Found<'a>>, Halt> {
    let mut found = Vec::with_capacity(own.ids.len());
    for (id, place) in &own.ids {
        if let Some(stored) = view.works.get(id) {
            found.push(Found { place: *place, work: &enqueue.works[*place], stored: stored.as_ref() });
        }
    }
    let sought = if found.len() < own.ids.len() { &own.ids[..] } else { &[] };
    view.require(sought.iter().map(|(id, _)| Want::Work(*id)).chain(beside(enqueue, own)))?;
    found.sort_unstable_by_key(|found| found.place);
    Ok(found)
}

/// What is needed beside the works themselves.
fn beside<'a>(enqueue: &'a Enqueue, own: &'a Own) -> impl Iterator<Item = Want> + 'a {
    let prerequisites = enqueue.works.iter().flat_map(|work| &work.spec.prerequisites.ids);
    let outside = prerequisites.filter(|id| !own.contains(**id)).copied().map(Want::Work);
    let lane = |work: &'a NewWork| (&work.spec.worker, &work.spec.constraints, work.terms.urgency());
    let mut before = None;
    // Most works of an enqueue are of the same lane as the one before.
    let lanes = enqueue.works.iter().filter(move |work| before.replace(lane(work)) != Some(lane(work)));
    let lanes = lanes.map(lane_wanted);
    outside.chain(lanes).chain(enqueue.unique.iter().flat_map(unique::wants))
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

fn lane_wanted(work: &NewWork) -> Want {
    let (worker, constraints) = (work.spec.worker.clone(), work.spec.constraints.clone());
    Want::Lane { worker, constraints, urgency: work.terms.urgency() }
}

/// The works that are not stored yet. A stored one must be the same request: enqueue is idempotent on the id.
fn new_works<'a>(view: &Snapshot, enqueue: &Enqueue, found: &[Found<'a>]) -> Result<Vec<&'a NewWork>, Halt> {
    let is_compared =
        |record: &&WorkRecord| record.generation == 0 || enqueue.unique.as_ref().is_some_and(unique::updates);
    let compared = found.iter().filter_map(|found| found.stored).filter(is_compared);
    view.require(compared.map(|record| Want::Spec(record.id)))?;
    let mut new = Vec::with_capacity(found.len());
    for Found { work, stored, .. } in found {
        match stored {
            None => new.push(*work),
            Some(record) if updates_itself(view, enqueue, record, work)? => new.push(*work),
            // An update changed it since, so the first request can't be compared any more.
            Some(record) if record.generation > 0 => {}
            Some(record) => {
                if record.terms != work.terms || !is_same(record, view.spec(work.id)?, &work.spec, enqueue) {
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

/// Whether the stored spec is what this enqueue would store. Works that were appended have got prerequisites since, and those that
/// were superseded have lost their name.
fn is_same(record: &WorkRecord, stored: &WorkSpec, wanted: &WorkSpec, enqueue: &Enqueue) -> bool {
    if record.is_superseded() {
        let named = WorkSpec { name: wanted.name.clone(), ..stored.clone() };
        return named == *wanted || unique::is_appended(&named, wanted);
    }
    let may_be_appended = enqueue.unique.as_ref().is_some_and(unique::appends);
    stored == wanted || (may_be_appended && unique::is_appended(stored, wanted))
}

fn insert_all(draft: &mut Draft<'_>, new: &[&NewWork], edges: &Edges, own: &Own) -> Result<(), Halt> {
    draft.expect(new.len());
    for work in new {
        insert(draft, work, edges, own)?;
    }
    for (id, more) in &edges.awaited {
        let stored = draft.view.work(*id)?.is_some();
        let changes = |record: &&WorkRecord| !record.rows.dependents || *more > 0;
        if let Some(record) = draft.work(*id)?.filter(|_| stored).filter(changes).cloned() {
            let followers = record.followers.map(|followers| followers.saturating_add(*more));
            draft.put(WorkRecord { followers, rows: RowsPresent { dependents: true, ..record.rows }, ..record });
        }
    }
    Ok(())
}

fn insert(draft: &mut Draft<'_>, work: &NewWork, edges: &Edges, own: &Own) -> Result<(), Halt> {
    let followers = edges.followers(work.id);
    let born = birth_state(draft, work, own)?;
    let urgency = work.terms.urgency();
    let lane = draft.lane(&work.spec.worker, &work.spec.constraints, urgency)?;
    let seq = draft.next_seq();
    let now = draft.now;
    let period = periodic::first(draft, work);
    let (due, why) = periodic::first_run(draft, &work.terms, period.as_ref());
    let (open, standing) = match &born {
        Birth::Open(0) => (0, draft.in_line(lane, due, why)),
        Birth::Open(open) => (*open, Standing::Blocked),
        Birth::Over(how, _) => (0, draft.finished(&work.terms, *how)),
    };
    let because = if let Birth::Over(_, because) = &born { because.as_ref() } else { None };
    let record = WorkRecord {
        id: work.id,
        seq,
        turn: seq,
        lane,
        urgency,
        terms: work.terms.clone(),
        generation: 0,
        standing,
        created: now,
        enqueued: now,
        fence: 0,
        run_generation: 0,
        failures: 0,
        interruptions: 0,
        deaths: 0,
        open,
        followers: work.spec.name.as_ref().map(|_| followers.unwrap_or(0)),
        period,
        started: None,
        ended: None,
        stop: None,
        rows: RowsPresent { dependents: followers.is_some(), ..RowsPresent::default() },
        rare: None,
    };
    let record = draft.gated(record, &work.spec)?.because(because);
    draft.put_work(record, work.spec.clone());
    Ok(())
}

/// What its prerequisites make of a work at its birth.
enum Birth {
    Open(u32),
    /// And why, if that was said of the cancelled prerequisite.
    Over(Finish, Option<Arc<str>>),
}

/// A failed prerequisite makes the work failed, a cancelled one cancelled, and failure wins.
fn birth_state(draft: &Draft<'_>, work: &NewWork, own: &Own) -> Result<Birth, Halt> {
    let (mut open, mut over) = (Vec::new(), None);
    for id in &work.spec.prerequisites.ids {
        let Some(prerequisite) = draft.work(*id)? else {
            let refusal = if own.contains(*id) {
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
            WorkState::Succeeded if is_yet_to_release(draft, *id, work.id)? => open.push(*id),
            WorkState::Succeeded => {}
            WorkState::Failed => over = Some((Finish::Failed, None)),
            WorkState::Cancelled => {
                over = over.or_else(|| Some((Finish::Cancelled, prerequisite.cancelled_because().cloned())));
            }
            _ => open.push(*id),
        }
    }
    // One that is named twice is waited for once.
    open.sort_unstable();
    open.dedup();
    let open = u32::try_from(open.len()).unwrap_or(u32::MAX);
    Ok(over.map_or(Birth::Open(open), |(how, because)| Birth::Over(how, because)))
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

/// The offer, if its manager may still claim.
fn offer_of<'a>(enqueue: &'a Enqueue, meta: &Meta) -> Option<&'a Offer> {
    enqueue.offer.as_ref().filter(|offer| meta.is_attached(offer.epoch))
}

/// The lanes that the offer names, and those that its manager does not know yet; none if those are too many.
fn rivals(offer: &Offer, meta: &Meta) -> Option<BTreeSet<LaneId>> {
    let known = offer.rivals.iter().copied();
    let is_few = meta.next_lane.saturating_sub(offer.lanes) <= NEWER_LANES;
    is_few.then(|| known.chain((offer.lanes..meta.next_lane).map(LaneId)).collect())
}

fn best_of(lane: LaneId) -> Want {
    Want::Ready { lane, suspects: Suspects::None, limit: 1 }
}

/// What [`best_rival`] will ask for, so that no work is made before all of it is there.
fn rivals_wanted(view: &Snapshot, enqueue: &Enqueue, own: &Own) -> Vec<Want> {
    let Some(offer) = offer_of(enqueue, &view.meta) else { return Vec::new() };
    let Some(mut lanes) = rivals(offer, &view.meta) else { return Vec::new() };
    let offered = offer.ids.iter().filter_map(|id| own.work(enqueue, *id));
    lanes.extend(offered.filter_map(|work| view.lanes.get(&lane_wanted(work))?.first()).map(|lane| lane.id));
    lanes.into_iter().map(best_of).collect()
}

/// Claims new work for the slots that the caller has reserved, unless something that is ready already ranks higher.
fn take_offer(draft: &mut Draft<'_>, enqueue: &Enqueue, new: &[&NewWork]) -> Result<Vec<WorkId>, Halt> {
    // With gates only a claim knows what may begin.
    let is_free = draft.meta.gates.settings == 0;
    let Some(offer) = offer_of(enqueue, &draft.meta).filter(|_| is_free) else { return Ok(Vec::new()) };
    let offered: BTreeSet<WorkId> = offer.ids.iter().copied().collect();
    let mut candidates = Vec::new();
    for work in new {
        match draft.work(work.id)?.filter(|record| matches!(record.standing, Standing::Ready { .. })) {
            // It goes first, and is left to a claim, which knows its budget.
            Some(record) if record.urgency == Urgency::Expedited => return Ok(Vec::new()),
            Some(record) if offered.contains(&work.id) && !record.is_gated() => {
                candidates.push((rank(record.terms.priority), record.turn, *work));
            }
            _ => {}
        }
    }
    candidates.sort_by_key(|(rank, turn, _)| (*rank, *turn));
    candidates.truncate(offer.slots);
    let Some((worst, _, _)) = candidates.last() else { return Ok(Vec::new()) };
    if best_rival(draft, offer, &candidates)?.is_some_and(|rival| rival <= *worst) {
        return Ok(Vec::new());
    }
    let mut works: Vec<Claimed> = Vec::with_capacity(candidates.len());
    for (_, _, work) in candidates {
        if let Some(record) = draft.work(work.id)?.cloned() {
            works.push(claim::begin(draft, record, &work.spec, offer.epoch, Vec::new())?);
        }
    }
    let claimed = works.iter().map(|work| work.record.id).collect();
    draft.hint(Hint::Claimed { epoch: offer.epoch, generation: offer.generation, works });
    Ok(claimed)
}

/// The rank of the best work that is ready already, in the lanes of the candidates, those that the offer names, and those that
/// its manager does not know yet. Expedited work beats every rank.
fn best_rival(draft: &Draft<'_>, offer: &Offer, candidates: &[(u8, u64, &NewWork)]) -> Result<Option<u8>, Halt> {
    let Some(mut lanes) = rivals(offer, &draft.view.meta) else { return Ok(Some(0)) };
    for (_, _, work) in candidates {
        lanes.extend(draft.work(work.id)?.map(|record| record.lane).filter(|lane| lane.0 < draft.view.meta.next_lane));
    }
    draft.view.require(lanes.iter().copied().map(best_of))?;
    let mut best: Option<u8> = None;
    for lane in lanes {
        for id in &draft.view.list(best_of(lane))?.ids {
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
