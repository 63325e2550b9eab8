//! [`Lanes`]: which lanes exist, which may have something ready, which are open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Rivals, Role};
use crate::constraints::Constraints;
use crate::plan::{FreeSlots, OpenLane, WorkerKind};
use crate::record::{Lane, LaneId, Urgency};
use crate::sensor::Dwell;

/// More lanes than this are not looked into on the chance that something turns up in them.
const MOST_COLD: usize = 16;

/// Which lanes a claim looks into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those in which something may be ready.
    Hot,
    /// All, since the commit of the claim itself may make something ready: what is due, and what waits for the works that end.
    /// Otherwise that would take a commit of its own to find.
    Known,
}

/// Lanes by number, and those in which something may be ready. A closed lane is never read, whatever lies in it.
#[derive(Default)]
pub(super) struct Lanes {
    known: BTreeMap<LaneId, Known>,
    hot: BTreeSet<LaneId>,
}

struct Known {
    constraints: Constraints,
    /// Which slots its worker takes; `None` if this build can't run it.
    kind: Option<WorkerKind>,
    urgency: Urgency,
}

impl Lanes {
    /// Adds a lane, hot: nobody knows yet what lies in it.
    pub(super) fn add(&mut self, lane: &Lane, core: &Core) {
        let worker = core.registry.get(&lane.worker);
        let worker = worker.filter(|worker| worker.missing_states(&core.states).is_empty());
        let kind = worker.map(|worker| worker.def.kind);
        if kind.is_none() && core.unknown_workers().insert(Arc::clone(&lane.worker)) {
            match core.role {
                Role::Runs => {
                    tracing::warn!(worker = %lane.worker, "can't run in this build; work of this worker waits, if there is any")
                }
                // It runs no worker at all, and knows none.
                Role::EnqueuesOnly => {}
            }
        }
        let constraints = core.effective(&lane.constraints);
        let conditions = core.senses.conditions();
        let unobserved = constraints.kinds().find(|kind| !conditions.observes(*kind));
        if let Some(unobserved) = unobserved.filter(|_| !self.known.contains_key(&lane.id)) {
            tracing::warn!(worker = %lane.worker, constraint = %unobserved, "nobody observes this constraint here; work that asks for it waits");
        }
        self.known.insert(lane.id, Known { constraints, kind, urgency: lane.urgency });
        self.hot.insert(lane.id);
    }

    /// Something may be ready in this lane.
    pub(super) fn heat(&mut self, lane: LaneId) {
        self.hot.insert(lane);
    }

    /// Something may be ready in any lane.
    pub(super) fn heat_all(&mut self) {
        self.hot.extend(self.known.keys());
    }

    /// Nothing is left in this lane.
    pub(super) fn cool(&mut self, lane: LaneId) {
        self.hot.remove(&lane);
    }

    /// The lanes that may be read: the worker is here, its slots have free for work of that urgency, its constraints hold.
    pub(super) fn open(
        &self,
        reach: Reach,
        dwell: &Dwell,
        now: Duration,
        (for_async, for_blocking): (FreeSlots, FreeSlots),
    ) -> Vec<OpenLane> {
        let has_free = |open: &OpenLane| {
            let free = match open.kind {
                WorkerKind::Async => for_async,
                WorkerKind::Blocking => for_blocking,
            };
            free.ordinary > 0 || (open.urgency == Urgency::Expedited && free.reserved > 0)
        };
        let open = |lane: &LaneId| self.opened(*lane, dwell, now).filter(has_free);
        match reach {
            Reach::Known if self.known.len() <= MOST_COLD => self.known.keys().filter_map(open).collect(),
            _ => self.hot.iter().filter_map(open).collect(),
        }
    }

    /// Which slots the worker of this lane takes.
    pub(super) fn kind_of(&self, lane: LaneId) -> Option<WorkerKind> {
        self.known.get(&lane)?.kind
    }

    /// The lanes of these kinds that may be read, whatever free there is.
    pub(super) fn within(&self, reach: Reach, kinds: &[WorkerKind], dwell: &Dwell, now: Duration) -> Vec<LaneId> {
        let opened = |lane: &LaneId| self.opened(*lane, dwell, now).filter(|open| kinds.contains(&open.kind));
        match reach {
            _ if kinds.is_empty() => Vec::new(),
            Reach::Known if self.known.len() <= MOST_COLD => {
                self.known.keys().filter_map(opened).map(|open| open.lane).collect()
            }
            _ => self.hot.iter().filter_map(opened).map(|open| open.lane).collect(),
        }
    }

    /// All lanes that may be read, hot or not, whatever free there is.
    pub(super) fn rivals(&self, dwell: &Dwell, now: Duration) -> Rivals {
        let open = self.known.keys().filter_map(|lane| self.opened(*lane, dwell, now)).map(|open| open.lane).collect();
        let lanes = self.known.keys().next_back().map_or(0, |last| last.0.saturating_add(1));
        Rivals { open, lanes }
    }

    fn opened(&self, lane: LaneId, dwell: &Dwell, now: Duration) -> Option<OpenLane> {
        let known = self.known.get(&lane)?;
        let kind = known.kind?;
        dwell.may_start(&known.constraints, now).is_ok().then_some(OpenLane { lane, kind, urgency: known.urgency })
    }
}
