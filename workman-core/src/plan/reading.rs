//! [`Reading`]: what of the lanes a claim reads, and what of that is barred.

use std::collections::{BTreeMap, BTreeSet};

use super::quota::Budget;
use super::turnstile::Turnstile;
use super::view::{Halt, Snapshot, Want};
use super::{Claim, FreeSlots, OpenLane, PROMOTE_LIMIT, SuspectsAllowed, WorkerKind};
use crate::id::WorkId;
use crate::index::Suspects;
use crate::record::{LaneId, Urgency, WorkRecord};

/// What is due, and has to line up.
pub(super) const DUE: Want = Want::Due { limit: PROMOTE_LIMIT };

/// What of the open lanes is read.
pub(super) struct Reading<'a> {
    pub(super) claim: &'a Claim,
    pub(super) budget: Budget,
    pub(super) bars: Bars<'a>,
    /// Of each lane, in the order of the claim: what is no suspect, and what is.
    pub(super) lists: Vec<[Option<Listed>; 2]>,
    /// Of the lanes that are watched only, the same two.
    pub(super) watched: Vec<Listed>,
}

/// So much of a lane.
pub(super) struct Listed {
    pub(super) lane: LaneId,
    suspects: Suspects,
    /// How many works that are not barred there is use for.
    of_use: usize,
    limit: usize,
}

impl Listed {
    pub(super) fn want(&self) -> Want {
        Want::Ready { lane: self.lane, suspects: self.suspects, limit: self.limit }
    }
}

impl<'a> Reading<'a> {
    /// What of the lanes is of use, and what is due. Nobody knows how many works of a barred name stand in front, so with such names
    /// more and more is read, until there is enough behind them.
    pub(super) fn new(
        view: &Snapshot,
        claim: &'a Claim,
        budget: Budget,
        turnstile: Option<&Turnstile>,
    ) -> Result<Self, Halt> {
        let mut reading = Reading { claim, budget, bars: Bars::of(claim), lists: Vec::new(), watched: Vec::new() };
        let expedited = claim.lanes.iter().filter(|open| open.urgency == Urgency::Expedited).count();
        let lists = claim.lanes.iter().map(|open| {
            let is_shut = turnstile.is_some_and(|turnstile| turnstile.is_shut(open.lane));
            let free = if is_shut { 0 } else { reading.use_for(open, expedited) };
            let reach = turnstile.map_or(free, |turnstile| if free > 0 { turnstile.reach(free) } else { 0 });
            let suspects = if claim.suspects == SuspectsAllowed::One { free.min(1) } else { 0 };
            [(Suspects::None, reach), (Suspects::Only, suspects)]
                .map(|(suspects, of_use)| reading.listed(open.lane, suspects, of_use))
        });
        let lists = lists.collect();
        let both = |lane: &LaneId| [Suspects::None, Suspects::Only].map(|suspects| reading.listed(*lane, suspects, 1));
        let watched = claim.watched.iter().flat_map(both).flatten().collect();
        (reading.lists, reading.watched) = (lists, watched);
        view.require(reading.wants().chain([DUE]))?;
        while !reading.bars.names.is_empty() && reading.reaches_further(view)? {
            view.require(reading.wants())?;
        }
        Ok(reading)
    }

    fn use_for(&self, open: &OpenLane, expedited: usize) -> usize {
        let free = free(self.claim, open.kind);
        match open.urgency {
            Urgency::Ordinary => free.ordinary,
            Urgency::Expedited => self.budget.share(expedited, free.ordinary.saturating_add(free.reserved)),
        }
    }

    fn listed(&self, lane: LaneId, suspects: Suspects, of_use: usize) -> Option<Listed> {
        // What still goes on beside the store keeps as many others where they are.
        let barred = &self.claim.barred;
        let limit = of_use.saturating_add(barred.works.len()).saturating_add(barred.gates.len());
        (of_use > 0).then_some(Listed { lane, suspects, of_use, limit })
    }

    fn wants(&self) -> impl Iterator<Item = Want> + '_ {
        self.lists.iter().flatten().flatten().chain(&self.watched).map(Listed::want)
    }

    /// Doubles what is read of each lane in which barred works have left too little. Whether there is one.
    fn reaches_further(&mut self, view: &Snapshot) -> Result<bool, Halt> {
        let mut further = false;
        for listed in self.lists.iter_mut().flatten().flatten().chain(&mut self.watched) {
            let list = view.list(listed.want())?;
            let of_use = list.ids.len() - self.bars.count(view, &list.ids)?;
            if list.next.is_some() && of_use < listed.of_use {
                listed.limit = listed.limit.saturating_mul(2);
                further = true;
            }
        }
        Ok(further)
    }

    /// The lanes that are watched only and in which something waits that is not barred.
    pub(super) fn waiting(&self, view: &Snapshot) -> Result<BTreeSet<LaneId>, Halt> {
        let mut waiting = BTreeSet::new();
        for listed in &self.watched {
            let list = view.list(listed.want())?;
            if list.ids.len() > self.bars.count(view, &list.ids)? || list.next.is_some() {
                waiting.insert(listed.lane);
            }
        }
        Ok(waiting)
    }
}

/// What must not start, to be asked for one work after the other.
pub(super) struct Bars<'a> {
    works: BTreeSet<WorkId>,
    names: BTreeMap<&'a str, u64>,
}

impl<'a> Bars<'a> {
    fn of(claim: &'a Claim) -> Self {
        let mut names: BTreeMap<&str, u64> = BTreeMap::new();
        for barred in &claim.barred.names {
            let born_from = names.entry(&barred.name).or_insert(barred.born_from);
            *born_from = barred.born_from.min(*born_from);
        }
        Bars { works: claim.barred.works.iter().copied().collect(), names }
    }

    pub(super) fn hold(&self, view: &Snapshot, record: &WorkRecord) -> Result<bool, Halt> {
        if self.works.contains(&record.id) {
            return Ok(true);
        }
        if self.names.is_empty() {
            return Ok(false);
        }
        let name = view.spec(record.id)?.name.as_deref();
        Ok(name.and_then(|name| self.names.get(name)).is_some_and(|born_from| record.seq >= *born_from))
    }

    /// How many of these are barred.
    fn count(&self, view: &Snapshot, ids: &[WorkId]) -> Result<usize, Halt> {
        let mut count = 0;
        for id in ids {
            count += usize::from(view.work(*id)?.map_or(Ok(false), |record| self.hold(view, record))?);
        }
        Ok(count)
    }
}

/// What is free for such workers.
pub(super) fn free(claim: &Claim, kind: WorkerKind) -> FreeSlots {
    match kind {
        WorkerKind::Async => claim.async_slots_free,
        WorkerKind::Blocking => claim.blocking_slots_free,
    }
}
