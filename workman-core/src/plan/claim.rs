//! Claim: what starts now, in rank order, within the free slots.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::Draft;
use super::quota::{self, Budget, Fallen};
use super::reading::{DUE, Reading, free};
use super::turnstile::{Turnstile, Word};
use super::view::{Halt, List, Snapshot, Want};
use super::{
    Applied, Claim, Claimed, FreeSlots, GATE_LIMIT, Hint, PROMOTE_LIMIT, Plan, Refusal, SuspectsAllowed, WorkerKind,
    cascade, periodic,
};
use crate::id::WorkId;
use crate::index::rank;
use crate::record::{GateId, LaneId, Rare, Standing, Urgency, WorkRecord, WorkSpec};
use crate::time::{Due, NextDue, Timestamp};

pub(super) fn plan(view: &Snapshot, claim: &Claim, now: Timestamp) -> Result<Plan, Halt> {
    if !view.meta.is_attached(claim.epoch) {
        return Err(Refusal::EpochClosed(claim.epoch).into());
    }
    let mut draft = Draft::new(view, now);
    if cascade::is_pending(&draft) {
        return drain_first(draft);
    }
    let mut turnstile = Turnstile::new(&mut draft, claim)?;
    let reading = Reading::new(view, claim, Budget::of(&draft, claim), turnstile.as_ref())?;
    let due = view.list(DUE)?;
    let is_shut = |lane: &LaneId| turnstile.as_ref().is_some_and(|turnstile| turnstile.is_shut(*lane));
    let shut = claim.watched.iter().copied().filter(is_shut).collect();
    if claim.lanes.is_empty() && !claim.watched.is_empty() {
        return look(draft, &reading, due, shut);
    }
    let mut done = Done::default();
    let passing = turnstile.as_ref().map_or(Ok(Vec::new()), |turnstile| turnstile.passing(&mut draft))?;
    let mut candidates = candidates(&draft, &reading, &due.ids, &passing, &mut done)?;
    spend(&mut draft, &reading, &mut candidates, &mut done)?;
    draft.expect(candidates.len().min(GATE_LIMIT) + due.ids.len());
    let chosen = choose(&mut draft, claim, candidates, turnstile.as_mut(), &mut done)?;
    let mut works = Vec::with_capacity(chosen.len());
    for (Candidate { id, .. }, counted) in chosen {
        if let Some(record) = draft.work(id)?.cloned() {
            works.push(begin(&mut draft, record, view.spec(id)?, claim.epoch, counted)?);
            done.with.push(id);
        }
    }
    done.with.sort_unstable();
    promote(&mut draft, &due.ids, &mut done)?;
    draft.settle_gates()?;
    done.filled.extend(&draft.gates.shown);
    done.filled.iter().for_each(|lane| draft.hint(Hint::Ready(*lane)));
    let drained = drained(view, &reading, &done)?;
    let has_held = turnstile.as_ref().is_some_and(|turnstile| turnstile.held > 0);
    let again = due.ids.len() >= PROMOTE_LIMIT
        || (done.fell && is_any_expedited_left(view, &reading, &done)?)
        || (has_held && done.is_free);
    let openings = turnstile.map_or(Ok(NextDue::default()), |turnstile| turnstile.next_due(&mut draft))?;
    let next_due = openings.iter().fold(due.next_due, NextDue::and);
    draft.done(Applied::Claimed { works, drained, shut, next_due, now, again })
}

/// Hands the work to a manager: the fence goes up before any user code runs. Whatever comes of this run, the next one is an
/// ordinary one, and an override of the next run is spent.
pub(super) fn begin(
    draft: &mut Draft<'_>,
    record: WorkRecord,
    spec: &Arc<WorkSpec>,
    epoch: u64,
    counted: Vec<GateId>,
) -> Result<Claimed, Halt> {
    draft.claimed_turn(&record);
    let checkpoint = draft.view.notes_of(&record)?.checkpoint;
    let lane = match record.urgency {
        Urgency::Ordinary => record.lane,
        Urgency::Expedited => draft.lane(&spec.worker, &spec.constraints, Urgency::Ordinary)?,
    };
    let record = WorkRecord {
        lane,
        period: record.period.map(|period| periodic::claimed(draft, &record, period)),
        fence: record.fence + 1,
        run_generation: record.generation,
        started: Some(draft.now),
        ..record.standing_at(Standing::Running { epoch })
    };
    let record = if counted.is_empty() { record } else { record.with_rare(|rare| Rare { counted, ..rare }) };
    draft.put(record.clone());
    Ok(Claimed { record, spec: Arc::clone(spec), checkpoint, born_from: draft.meta.next_seq })
}

/// Nothing is claimed while a cascade is on its way: released work must not run before its siblings fail.
fn drain_first(mut draft: Draft<'_>) -> Result<Plan, Halt> {
    cascade::drain(&mut draft)?;
    let now = draft.now;
    draft.done(Applied::Claimed {
        works: Vec::new(),
        drained: Vec::new(),
        shut: Vec::new(),
        next_due: NextDue::default(),
        now,
        again: true,
    })
}

/// Nothing is free, and nothing is written: of the lanes that are watched it is said in which nothing waits, lined up or due.
fn look(draft: Draft<'_>, reading: &Reading<'_>, due: &List, shut: Vec<LaneId>) -> Result<Plan, Halt> {
    let mut waiting = reading.waiting(draft.view)?;
    for id in &due.ids {
        if let Some(record) = draft.work(*id)?.filter(|record| is_due(&draft, record))
            && !reading.bars.hold(draft.view, record)?
        {
            waiting.insert(record.lane);
        }
    }
    let drained = reading.claim.watched.iter().copied().filter(|lane| !waiting.contains(lane)).collect();
    let next_due = if due.ids.is_empty() { due.next_due } else { NextDue::from(Due::Store(draft.now)) };
    let now = draft.now;
    draft.done(Applied::Claimed { works: Vec::new(), drained, shut, next_due, now, again: false })
}

/// Whether the work waits for nothing but its place in line.
fn is_due(draft: &Draft<'_>, record: &WorkRecord) -> bool {
    matches!(record.standing, Standing::Waiting { due, .. } if draft.has_come(due))
}

/// What this plan has dealt with.
#[derive(Default)]
struct Done {
    /// Works that were claimed or dropped, or that left their lane for another; in order in the end.
    with: Vec<WorkId>,
    /// Lanes to which something was added.
    filled: BTreeSet<LaneId>,
    /// Whether expedited work found its budget spent.
    fell: bool,
    /// Whether slots are left.
    is_free: bool,
}

/// A work that may start, by rank.
struct Candidate {
    urgency: Urgency,
    rank: u8,
    turn: u64,
    id: WorkId,
    kind: WorkerKind,
    suspect: bool,
    /// The lane that it went to, since the budget of expedited work is spent.
    fallen_into: Option<LaneId>,
}

fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|candidate| (Reverse(candidate.urgency), candidate.rank, candidate.turn, candidate.id));
}

/// What lines up in open lanes, and what has just become due for them, best first.
/// A list says no more than where to look: what does not stand there is none of them, and dealt with.
fn candidates(
    draft: &Draft<'_>,
    reading: &Reading<'_>,
    due: &[WorkId],
    passing: &[WorkRecord],
    done: &mut Done,
) -> Result<Vec<Candidate>, Halt> {
    let claim = reading.claim;
    let mut found = Vec::new();
    let kinds: BTreeMap<LaneId, WorkerKind> = claim.lanes.iter().map(|open| (open.lane, open.kind)).collect();
    let mut consider = |record: &WorkRecord| {
        let Some(kind) = kinds.get(&record.lane) else { return Ok(()) };
        if reading.bars.hold(draft.view, record)? {
            return Ok(());
        }
        let candidate = Candidate {
            urgency: record.urgency,
            rank: rank(record.terms.priority),
            turn: record.turn,
            id: record.id,
            kind: *kind,
            suspect: record.is_suspect(),
            fallen_into: None,
        };
        found.push(candidate);
        Ok::<(), Halt>(())
    };
    for listed in reading.lists.iter().flatten().flatten() {
        for id in &draft.view.list(listed.want())?.ids {
            match draft.work(*id)?.filter(|record| matches!(record.standing, Standing::Ready { .. })) {
                Some(record) => consider(record)?,
                None => done.with.push(*id),
            }
        }
    }
    passing.iter().try_for_each(&mut consider)?;
    for id in due {
        // What has gates has to line up there first.
        let may_start = |record: &&WorkRecord| is_due(draft, record) && !record.is_gated();
        draft.work(*id)?.filter(may_start).map_or(Ok(()), &mut consider)?;
    }
    sort(&mut found);
    // A lane that is open twice is read once.
    found.dedup_by_key(|candidate| candidate.id);
    Ok(found)
}

/// Expedited work goes first as long as there is time for it. What could start beyond that is expedited no more, a bounded
/// number in one commit.
fn spend(
    draft: &mut Draft<'_>,
    reading: &Reading<'_>,
    candidates: &mut Vec<Candidate>,
    done: &mut Done,
) -> Result<(), Halt> {
    let could_start = |candidate: &Candidate| {
        let free = free(reading.claim, candidate.kind);
        candidate.urgency == Urgency::Expedited && (free.ordinary > 0 || free.reserved > 0)
    };
    let ids: Vec<WorkId> =
        candidates.iter().filter(|candidate| could_start(candidate)).map(|candidate| candidate.id).collect();
    let ids = &ids[..ids.len().min(PROMOTE_LIMIT)];
    draft.view.require(quota::wants(draft, ids, reading.budget)?)?;
    if reading.budget == Budget::Left {
        return Ok(());
    }
    let mut fallen = BTreeMap::new();
    for id in ids {
        let Some(record) = draft.work(*id)?.cloned() else { continue };
        fallen.insert(*id, quota::fall(draft, &record, ids.len())?);
    }
    for candidate in candidates.iter_mut() {
        if let Some(Fallen::IntoLane(lane)) = fallen.get(&candidate.id) {
            (candidate.urgency, candidate.fallen_into) = (Urgency::Ordinary, Some(*lane));
        }
    }
    candidates.retain(|candidate| candidate.urgency == Urgency::Ordinary);
    sort(candidates);
    done.fell = !fallen.is_empty();
    done.with.extend(fallen.into_keys());
    Ok(())
}

/// The best, as many as there are slots, and one suspect at the most. Expedited work takes the slots that are reserved for it
/// first, so that it leaves the others to ordinary work. What a gate does not let through it holds. Answers each with the gates that
/// count it.
fn choose(
    draft: &mut Draft<'_>,
    claim: &Claim,
    candidates: Vec<Candidate>,
    mut turnstile: Option<&mut Turnstile>,
    done: &mut Done,
) -> Result<Vec<(Candidate, Vec<GateId>)>, Halt> {
    let mut slots = (claim.async_slots_free, claim.blocking_slots_free);
    let mut suspect_allowed = claim.suspects == SuspectsAllowed::One;
    let mut chosen = Vec::new();
    if let Some(turnstile) = &turnstile {
        let mut works = Vec::new();
        for candidate in &candidates {
            works.extend(draft.work(candidate.id)?.zip(draft.view.specs.get(&candidate.id).map(|spec| &**spec)));
        }
        turnstile.foresee(draft, works.into_iter())?;
    }
    for candidate in candidates {
        let free = match candidate.kind {
            WorkerKind::Async => &mut slots.0,
            WorkerKind::Blocking => &mut slots.1,
        };
        let free = match candidate.urgency {
            Urgency::Expedited if free.reserved > 0 => &mut free.reserved,
            _ => &mut free.ordinary,
        };
        if *free == 0 || (candidate.suspect && !suspect_allowed) {
            done.filled.extend(candidate.fallen_into);
            continue;
        }
        let word = match &mut turnstile {
            Some(turnstile) => {
                let Some(record) = draft.work(candidate.id)?.cloned() else { continue };
                let spec = draft.view.spec(candidate.id)?;
                let word = turnstile.ask(draft, &record, spec)?;
                if let Word::Hold(gates, gate) = word {
                    turnstile.hold(draft, &record, gates, gate);
                    done.with.push(candidate.id);
                    continue;
                }
                word
            }
            None => Word::Begin(Vec::new()),
        };
        let Word::Begin(counted) = word else {
            done.filled.extend(candidate.fallen_into);
            continue;
        };
        *free -= 1;
        suspect_allowed &= !candidate.suspect;
        chosen.push((candidate, counted));
    }
    done.is_free = [slots.0, slots.1].iter().any(|slots: &FreeSlots| slots.ordinary > 0);
    Ok(chosen)
}

/// Delayed work whose time has come lines up in its lane, at the place in line that it has.
fn promote(draft: &mut Draft<'_>, due: &[WorkId], done: &mut Done) -> Result<(), Halt> {
    for id in due {
        // What this plan has claimed is left where it is, and not even copied.
        let Some(record) = draft.work(*id)? else { continue };
        if let Standing::Waiting { due, why } = record.standing
            && draft.has_come(due)
        {
            let record = record.clone();
            done.filled.insert(record.lane);
            draft.put(record.standing_at(Standing::Ready { since: due, why }));
        }
    }
    Ok(())
}

/// Lanes in which nothing is left for this manager: all that lined up was dealt with, and nothing was added. What is barred
/// waits for its thread, and what is suspect for another suspect; both are told to the dispatcher when that ends. Of those that are
/// watched, the ones in which nothing waits that is not barred.
fn drained(view: &Snapshot, reading: &Reading<'_>, done: &Done) -> Result<Vec<LaneId>, Halt> {
    let mut drained = Vec::new();
    for (open, lists) in reading.claim.lanes.iter().zip(&reading.lists) {
        if let [Some(others), Some(suspects)] = lists
            && !done.filled.contains(&open.lane)
            && !is_left(view, done, others.want())?
            && !is_left(view, done, suspects.want())?
        {
            drained.push(open.lane);
        }
    }
    let waiting = reading.waiting(view)?;
    let watched = reading.claim.watched.iter().filter(|lane| !waiting.contains(lane) && !done.filled.contains(lane));
    drained.extend(watched);
    Ok(drained)
}

fn is_left(view: &Snapshot, done: &Done, want: Want) -> Result<bool, Halt> {
    let list = view.list(want)?;
    Ok(list.next.is_some() || list.ids.iter().any(|id| done.with.binary_search(id).is_err()))
}

/// Whether expedited work lines up that has not heard yet that its budget is spent.
fn is_any_expedited_left(view: &Snapshot, reading: &Reading<'_>, done: &Done) -> Result<bool, Halt> {
    for (open, lists) in reading.claim.lanes.iter().zip(&reading.lists) {
        for listed in lists.iter().flatten() {
            if open.urgency == Urgency::Expedited && is_left(view, done, listed.want())? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
