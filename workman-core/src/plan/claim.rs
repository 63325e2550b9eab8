//! Claim: what starts now, in rank order, within the free slots.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Draft;
use super::enqueue::is_attached;
use super::view::{Halt, Snapshot, Want};
use super::{Applied, Claim, Hint, PROMOTE_LIMIT, Plan, Refusal, SuspectsAllowed, WorkerKind, cascade};
use crate::id::WorkId;
use crate::record::{LaneId, Standing, WorkRecord};
use crate::store::index::{Suspects, rank};
use crate::time::Timestamp;

pub(super) fn plan(view: &Snapshot, claim: &Claim, now: Timestamp) -> Result<Plan, Halt> {
    if !is_attached(&view.meta, claim.epoch) {
        return Err(Refusal::EpochClosed(claim.epoch).into());
    }
    let mut draft = Draft::new(view, now);
    if cascade::is_pending(&draft) {
        return drain_first(draft);
    }
    view.require(wants(claim))?;
    let due = view.list(DUE)?;
    let candidates = candidates(&draft, claim, &due.ids, now)?;
    let chosen = choose(claim, &candidates);
    let mut works = Vec::with_capacity(chosen.len());
    for id in &chosen {
        if let Some(record) = draft.work(*id)?.cloned() {
            works.push(draft.claim(&record, view.spec(*id)?, claim.epoch)?);
        }
    }
    let mut filled: BTreeSet<LaneId> = BTreeSet::new();
    let chosen: BTreeSet<WorkId> = chosen.into_iter().collect();
    for id in due.ids.iter().filter(|id| !chosen.contains(id)) {
        if let Some(record) = draft.work(*id)?.cloned() {
            filled.insert(record.lane);
            promote(&mut draft, record);
        }
    }
    let drained = drained(view, claim, &chosen, &filled)?;
    let again = due.ids.len() >= PROMOTE_LIMIT;
    Ok(draft.done(Applied::Claimed { works, drained, next_due: due.next_due, now, again }))
}

/// Nothing is claimed while a cascade is on its way: released work must not run before its siblings fail.
fn drain_first(mut draft: Draft<'_>) -> Result<Plan, Halt> {
    cascade::drain(&mut draft)?;
    let now = draft.now;
    Ok(draft.done(Applied::Claimed { works: Vec::new(), drained: Vec::new(), next_due: None, now, again: true }))
}

const DUE: Want = Want::Due { limit: PROMOTE_LIMIT };

fn ready_wanted(claim: &Claim, lane: LaneId, kind: WorkerKind, suspects: Suspects) -> Option<Want> {
    let room = match (suspects, claim.suspects) {
        (Suspects::Only, SuspectsAllowed::None) => 0,
        (Suspects::Only, SuspectsAllowed::One) => room(claim, kind).min(1),
        (Suspects::None, _) => room(claim, kind),
    };
    (room > 0).then(|| Want::Ready { lane, suspects, limit: room + claim.barred.len() })
}

fn room(claim: &Claim, kind: WorkerKind) -> usize {
    match kind {
        WorkerKind::Async => claim.async_room.ordinary,
        WorkerKind::Blocking => claim.blocking_room.ordinary,
    }
}

fn lists(claim: &Claim) -> impl Iterator<Item = (LaneId, WorkerKind, Want)> + '_ {
    claim.lanes.iter().flat_map(move |open| {
        let wanted = move |suspects| ready_wanted(claim, open.lane, open.kind, suspects);
        [wanted(Suspects::None), wanted(Suspects::Only)].into_iter().flatten().map(|want| (open.lane, open.kind, want))
    })
}

fn wants(claim: &Claim) -> impl Iterator<Item = Want> + '_ {
    lists(claim).map(|(_, _, want)| want).chain([DUE])
}

/// A work that may start, by rank.
struct Candidate {
    rank: u8,
    turn: u64,
    id: WorkId,
    kind: WorkerKind,
    suspect: bool,
}

/// What lines up in open lanes, and what has just become due for them, best first.
fn candidates(draft: &Draft<'_>, claim: &Claim, due: &[WorkId], now: Timestamp) -> Result<Vec<Candidate>, Halt> {
    let mut found: BTreeMap<WorkId, Candidate> = BTreeMap::new();
    let kinds: BTreeMap<LaneId, WorkerKind> = claim.lanes.iter().map(|open| (open.lane, open.kind)).collect();
    let barred: BTreeSet<WorkId> = claim.barred.iter().copied().collect();
    let mut consider = |record: &WorkRecord| {
        let Some(kind) = kinds.get(&record.lane) else { return };
        if barred.contains(&record.id) {
            return;
        }
        let (rank, suspect) = (rank(record.terms.priority), record.is_suspect());
        found.insert(record.id, Candidate { rank, turn: record.turn, id: record.id, kind: *kind, suspect });
    };
    for (_, _, want) in lists(claim) {
        for id in &draft.view.list(want)?.ids {
            draft.work(*id)?.into_iter().for_each(&mut consider);
        }
    }
    for id in due {
        let due = draft.work(*id)?.filter(|record| matches!(record.standing, Standing::Waiting { due } if due <= now));
        due.into_iter().for_each(&mut consider);
    }
    let mut candidates: Vec<Candidate> = found.into_values().collect();
    candidates.sort_by_key(|candidate| (candidate.rank, candidate.turn, candidate.id));
    Ok(candidates)
}

/// The best, as many as there are slots, and one suspect at the most.
fn choose(claim: &Claim, candidates: &[Candidate]) -> Vec<WorkId> {
    let (mut async_room, mut blocking_room) = (claim.async_room.ordinary, claim.blocking_room.ordinary);
    let mut suspect_allowed = claim.suspects == SuspectsAllowed::One;
    let mut chosen = Vec::new();
    for candidate in candidates {
        let room = match candidate.kind {
            WorkerKind::Async => &mut async_room,
            WorkerKind::Blocking => &mut blocking_room,
        };
        if *room == 0 || (candidate.suspect && !suspect_allowed) {
            continue;
        }
        *room -= 1;
        suspect_allowed &= !candidate.suspect;
        chosen.push(candidate.id);
    }
    chosen
}

/// Delayed work whose time has come lines up in its lane, at the place in line that it has.
fn promote(draft: &mut Draft<'_>, record: WorkRecord) {
    if let Standing::Waiting { due } = record.standing {
        draft.hint(Hint::Ready(record.lane));
        draft.put(record.standing_at(Standing::Ready { since: due }));
    }
}

/// Lanes in which nothing is left for this manager: all that lined up was chosen, and nothing was added. What is barred
/// waits for its thread, and what is suspect for another suspect; both are told to the dispatcher when that ends.
fn drained(
    view: &Snapshot,
    claim: &Claim,
    chosen: &BTreeSet<WorkId>,
    filled: &BTreeSet<LaneId>,
) -> Result<Vec<LaneId>, Halt> {
    let is_left = |want| -> Result<bool, Halt> {
        let list = view.list(want)?;
        Ok(list.next.is_some() || list.ids.iter().any(|id| !chosen.contains(id)))
    };
    let mut drained = Vec::new();
    for open in claim.lanes.iter().filter(|open| !filled.contains(&open.lane)) {
        let wanted = |suspects| ready_wanted(claim, open.lane, open.kind, suspects);
        if let (Some(others), Some(suspects)) = (wanted(Suspects::None), wanted(Suspects::Only))
            && !is_left(others)?
            && !is_left(suspects)?
        {
            drained.push(open.lane);
        }
    }
    Ok(drained)
}
