//! [`GateTally`]: what gates have to count, by the records alone: for the invariants, for those who verify a file, and for those who
//! make it anew.

use std::collections::BTreeMap;

use crate::index::rank;
use crate::record::{
    FairLane, GateId, GateLane, GateMeta, GateRow, GateTarget, LaneId, Mark, Standing, WorkRecord, WorkSpec, marks,
    targets_of,
};
use crate::time::{Due, Timestamp};

/// What the records say of gates, all together.
#[derive(Clone, Debug, Default)]
pub struct GateTally {
    gates: BTreeMap<GateId, Counts>,
    /// Works with keys that line up, by lane and rank.
    keyed: BTreeMap<(LaneId, u8), u64>,
    targets: BTreeMap<GateId, GateTarget>,
}

/// What one gate has to count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    running: u32,
    /// Those that are ready, and those that it holds.
    lanes: BTreeMap<LaneId, (u32, u64)>,
}

impl Counts {
    fn of(row: &GateRow) -> Self {
        let lanes = row.lanes.iter().map(|(id, lane)| (*id, (lane.shown, lane.held))).collect();
        Counts { running: row.running, lanes }
    }
}

impl GateTally {
    /// Counts a work.
    pub fn add(&mut self, record: &WorkRecord, spec: &WorkSpec) {
        for mark in marks(record) {
            let (Mark::Shown(gate, _) | Mark::Held(gate, _) | Mark::Running(gate)) = mark;
            let counts = self.gates.entry(gate).or_default();
            match mark {
                Mark::Running(_) => counts.running += 1,
                Mark::Shown(_, lane) => counts.lanes.entry(lane).or_default().0 += 1,
                Mark::Held(_, lane) => counts.lanes.entry(lane).or_default().1 += 1,
            }
            if !self.targets.contains_key(&gate) {
                self.targets.extend(targets_of(spec).find(|target| target.id() == gate).map(|target| (gate, target)));
            }
        }
        let lines_up = matches!(record.standing, Standing::Ready { .. } | Standing::Held { .. });
        if lines_up && record.gates().iter().any(|gate| gate.is_of_key()) {
            *self.keyed.entry((record.lane, rank(record.terms.priority))).or_default() += 1;
        }
    }

    /// What is wrong with the row of a gate, if something is. It is asked once for each.
    pub(super) fn hold_against(&mut self, row: &GateRow) -> Option<String> {
        let (said, found) = (Counts::of(row), self.gates.remove(&row.id).unwrap_or_default());
        if row.target.id() != row.id {
            return Some(format!("the row of gate {:?} says that it is that of {}", row.id, row.target));
        }
        if said != found {
            return Some(format!("the gate before {} counts {said:?}, and has {found:?}", row.target));
        }
        let is_crowded = matches!(row.target, GateTarget::Serial(_)) && row.running > 1;
        is_crowded.then(|| format!("{} works of {} are out at once", row.running, row.target))
    }

    /// What is wrong with all that was not held against a row: works at gates that have none, and how many line up with keys.
    pub(super) fn hold_rest_against(&self, meta: &GateMeta) -> Vec<String> {
        let rowless = self.gates.iter().map(|(gate, counts)| match self.targets.get(gate) {
            Some(target) => format!("the gate before {target} has {counts:?}, and no row"),
            None => format!("gate {gate:?} has {counts:?}, and no row"),
        });
        let said: BTreeMap<_, _> = meta.fair.iter().map(|(lane, fair)| (*lane, fair.waiting)).collect();
        let keyed = (said != self.keyed)
            .then(|| format!("the store counts {said:?} works with keys that line up, and has {:?}", self.keyed));
        rowless.chain(keyed).collect()
    }

    /// The gates at which something has to be counted.
    pub fn gates(&self) -> impl Iterator<Item = GateId> + '_ {
        self.gates.keys().copied()
    }

    /// The row of a gate with what the records say; `stored` is what was there, if it can be read. None if nothing goes on there, or
    /// nobody knows what it stands before.
    #[must_use]
    pub fn recounted(&self, gate: GateId, stored: Option<GateRow>, now: Timestamp) -> Option<GateRow> {
        let stored = stored.filter(|row| row.target.id() == gate);
        let stored = stored.or_else(|| self.targets.get(&gate).cloned().map(GateRow::new))?;
        let counts = self.gates.get(&gate).cloned().unwrap_or_default();
        let lane = |id: &LaneId| stored.lanes.get(id).copied().unwrap_or_default();
        let lanes = counts.lanes.iter().map(|(id, (shown, held))| {
            let (shown, held) = (*shown, *held);
            (*id, GateLane { shown, held, ..lane(id) })
        });
        let lanes = lanes.collect();
        let row = GateRow { running: counts.running, lanes, ..stored };
        // Of what it holds the next sweep sees to it when it opens.
        let fills = (row.held() == 0).then(|| Due::Store(row.bucket.full()));
        let opens = row.opens.or(fills.filter(|due| due.at() > now));
        (!row.is_idle(now)).then_some(GateRow { opens, ..row })
    }

    /// What the store knows of its gates, with these numbers of settings, rows and openings. All gates are looked at again.
    #[must_use]
    pub fn recounted_meta(&self, stored: &GateMeta, (settings, rows, openings): (u32, u64, u64)) -> GateMeta {
        let fair = self.keyed.iter().map(|(lane, waiting)| {
            let turn = stored.fair.get(lane).map_or(stored.claimed, |fair| fair.turn);
            (*lane, FairLane { turn, waiting: *waiting })
        });
        let refill = (rows > 0).then_some(GateId(0));
        GateMeta {
            settings,
            rows,
            openings,
            refill,
            passing: stored.passing.clone(),
            claimed: stored.claimed,
            fair: fair.collect(),
        }
    }
}
