//! Managers come and go: attach, detach, the rescue of what dead ones held, and the freeing of parked work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::draft::Draft;
use super::settle::{fail_for_good, give_back, interrupt, settled};
use super::view::{Halt, Snapshot, Want};
use super::{Applied, Death, PROMOTE_LIMIT, Plan, RESCUE_LIMIT, Refusal, cascade, periodic};
use crate::id::WorkId;
use crate::policy::{DEATHS_AS_SUSPECT, DEATHS_TO_SUSPECT, OnDeath};
use crate::record::{AttemptEnd, CascadeVerb, LaneId, ParkReason, Standing, Wait, WorkRecord};
use crate::state::StopReason;
use crate::time::{Due, NextDue, Timestamp};

/// Gives a manager its number. Managers of earlier openings of the store are gone.
pub(super) fn attach(view: &Snapshot, now: Timestamp) -> Result<Plan, Halt> {
    let due = Want::Due { limit: PROMOTE_LIMIT };
    view.require([Want::Lanes, due.clone()])?;
    let mut draft = Draft::new(view, now);
    if draft.meta.epochs_of != draft.meta.incarnation {
        draft.meta.open_epochs.clear();
        draft.meta.epochs_of = draft.meta.incarnation;
    }
    let epoch = draft.meta.next_epoch;
    draft.meta.next_epoch += 1;
    draft.meta.open_epochs.insert(epoch, Timestamp::MAX);
    let lanes = view.lanes.get(&Want::Lanes).cloned().unwrap_or_default();
    let due = view.list(due)?;
    let next_due = if due.ids.is_empty() { due.next_due } else { NextDue::from(Due::Store(now)) };
    draft.done(Applied::Attached { epoch, lanes, next_due, now })
}

/// A manager ends in order: what it still holds was interrupted.
pub(super) fn detach(view: &Snapshot, epoch: u64, now: Timestamp) -> Result<Plan, Halt> {
    let held = view.list(Want::Running { epoch, limit: RESCUE_LIMIT })?;
    let mut draft = Draft::new(view, now);
    let mut count = 0;
    for id in &held.ids {
        if let Some(record) = draft.work(*id)?.filter(|record| runs_for(record, epoch)).cloned() {
            interrupt(&mut draft, record, StopReason::Shutdown, None);
            count += 1;
        }
    }
    let again = held.next.is_some();
    if !again {
        draft.meta.open_epochs.remove(&epoch);
    }
    draft.done(Applied::Released { count, died: Vec::new(), again })
}

/// Whether this manager runs the work: a list says no more than where to look.
fn runs_for(record: &WorkRecord, epoch: u64) -> bool {
    record.standing == Standing::Running { epoch }
}

/// What a manager was given by a claim whose answer was lost never ran: it goes back as it was.
pub(super) fn reclaim(view: &Snapshot, epoch: u64, held: &[(WorkId, u64)], now: Timestamp) -> Result<Plan, Halt> {
    if !view.meta.is_attached(epoch) {
        return Err(Refusal::EpochClosed(epoch).into());
    }
    let works = held.iter().map(|(id, _)| Want::Work(*id));
    view.require(works.chain([Want::Lanes, Want::Running { epoch, limit: usize::MAX }]))?;
    let claimed = view.list(Want::Running { epoch, limit: usize::MAX })?;
    let mut draft = Draft::new(view, now);
    let held: BTreeSet<(WorkId, u64)> = held.iter().copied().collect();
    let mut count = 0;
    for id in &claimed.ids {
        let orphan = draft.work(*id)?.filter(|record| runs_for(record, epoch)).cloned();
        let orphan = orphan.filter(|record| !held.contains(&(record.id, record.fence)));
        if let Some(record) = orphan {
            give_back(&mut draft, record);
            count += 1;
        }
    }
    let mut stale = Vec::new();
    for (id, fence) in &held {
        if view.work(*id)?.is_none_or(|record| !record.is_held_under(*fence)) {
            stale.push((*id, *fence));
        }
    }
    let lanes = view.lanes.get(&Want::Lanes).cloned().unwrap_or_default();
    draft.done(Applied::Reclaimed { count, stale, lanes })
}

/// The process died under these. Of each it is told what it was, since one of them may have killed it.
pub(super) fn rescue(view: &Snapshot, now: Timestamp) -> Result<Plan, Halt> {
    let dead = Want::DeadClaims { limit: RESCUE_LIMIT };
    view.require([dead.clone(), Want::Lanes])?;
    let dead = view.list(dead)?;
    let workers = view.lanes.get(&Want::Lanes).into_iter().flatten().map(|lane| (lane.id, &lane.worker));
    let workers: BTreeMap<LaneId, &Arc<str>> = workers.collect();
    let width = cascade::width(dead.ids.len());
    let fatal = dead.ids.iter().filter_map(|id| view.works.get(id).and_then(Option::as_ref));
    let fatal = fatal.filter(|record| record.terms.on_death == OnDeath::Fail && record.period.is_none());
    view.require(fatal.filter_map(|record| cascade::wants(CascadeVerb::Fail, record, width)))?;
    let mut draft = Draft::new(view, now);
    let mut died = Vec::new();
    for id in &dead.ids {
        let Some(record) = draft.work(*id)?.filter(|record| has_died(view, record)).cloned() else { continue };
        let (id, deaths) = (record.id, record.deaths.saturating_add(1));
        let worker = workers.get(&record.lane).map(|worker| Arc::clone(worker)).unwrap_or_default();
        bury(&mut draft, record, width)?;
        let then = draft.work(id)?.map(|record| record.standing.clone());
        died.extend(then.map(|then| Death { id, worker, deaths, then }));
    }
    draft.done(Applied::Released { count: died.len(), died, again: dead.next.is_some() })
}

/// Whether a manager runs the work that is not attached.
fn has_died(view: &Snapshot, record: &WorkRecord) -> bool {
    matches!(record.standing, Standing::Running { epoch } if !view.meta.is_attached(epoch))
}

/// What a run that died has used of the budget of expedited work, at the most: nobody knows when it died.
const LOST_RUN: Duration = Duration::from_secs(15 * 60);

/// One more death: the work goes on at once, after a backoff as a suspect, or not until somebody frees it. Of periodic work only the
/// period ends: what kills its process today may do no harm tomorrow, and a series that stands still is missed by nobody.
fn bury(draft: &mut Draft<'_>, mut record: WorkRecord, width: usize) -> Result<(), Halt> {
    record = draft.lose_run(record, LOST_RUN);
    draft.remember(&mut record, AttemptEnd::Died);
    record.deaths = record.deaths.saturating_add(1);
    if record.terms.on_death == OnDeath::Fail {
        return match record.period {
            Some(period) => {
                periodic::fail(draft, record, &period);
                Ok(())
            }
            None => fail_for_good(draft, record, width),
        };
    }
    if record.deaths >= DEATHS_TO_SUSPECT + DEATHS_AS_SUSPECT {
        if let Some(period) = record.period {
            periodic::fail(draft, record, &period);
            return Ok(());
        }
        let why = ParkReason::Poisoned { deaths: record.deaths };
        draft.put(record.standing_at(Standing::Parked { why }));
        return Ok(());
    }
    let wait = wait_as_suspect(&record).map(|wait| Due::Store(draft.now + wait));
    let (due, why) = periodic::next_run(&record, draft.now, Wait::Nothing);
    let (due, why) = match wait {
        Some(wait) if draft.store_time(due) <= draft.store_time(wait) => (wait, Wait::Deaths),
        _ => (due, why),
    };
    draft.line_up_in_turn(record, due, why);
    Ok(())
}

/// How long a suspect waits after the death of its process; none if it is no suspect.
fn wait_as_suspect(record: &WorkRecord) -> Option<Duration> {
    let more_deaths = record.deaths.checked_sub(DEATHS_TO_SUSPECT)?;
    Some(record.terms.backoff.delay_after(more_deaths + 1))
}

/// Frees parked work; what it was parked for is forgiven.
pub(super) fn retry(view: &Snapshot, id: WorkId, now: Timestamp) -> Result<Plan, Halt> {
    let record = view.work(id)?.ok_or(Refusal::NotFound(id))?;
    if !matches!(record.standing, Standing::Parked { .. }) {
        return Err(Refusal::NotParked { id, state: record.state() }.into());
    }
    let mut draft = Draft::new(view, now);
    let freed = WorkRecord { deaths: 0, enqueued: now, ..record.clone() };
    let (due, why) = periodic::next_run(&freed, now, Wait::Nothing);
    draft.line_up(freed, due, why);
    let answer = draft.work(id)?.map(|freed| settled(freed, freed.failures)).ok_or(Refusal::NotFound(id))?;
    draft.done(answer)
}
