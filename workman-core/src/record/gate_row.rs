//! [`GateRow`]: what goes on at a gate, and what of a record each gate counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gate::{Bucket, GateId, GateTarget, SerialPlace};
use super::meta::LaneId;
use super::spec::WorkSpec;
use super::{Standing, WorkRecord};
use crate::id::WorkId;
use crate::time::{Due, Timestamp};

/// What goes on at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateRow {
    /// The gate.
    pub id: GateId,
    /// What it stands before.
    pub target: GateTarget,
    /// How many works run that it counts.
    pub running: u32,
    /// What is left of its rate.
    pub bucket: Bucket,
    /// The work that failed and holds a serial lane.
    pub halted: Option<WorkId>,
    /// Of a serial lane that was ended by a failure: works born before this number that have not been told yet.
    pub ends_before: Option<u64>,
    /// When it has to be looked at again, since time alone opens it.
    pub opens: Option<Due>,
    /// Its works that line up, by lane.
    pub lanes: BTreeMap<LaneId, GateLane>,
}

/// The works of one gate that line up in one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateLane {
    /// Those that are ready.
    pub shown: u32,
    /// Those that are held at this gate.
    pub held: u64,
    /// Of a key: the turn behind its last work, as start-time fair queuing has it.
    pub finish: u64,
    /// How many of its works have that turn already, as its weight allows.
    pub part: u32,
}

impl GateRow {
    /// The row of a gate at which nothing goes on.
    #[must_use]
    pub fn new(target: GateTarget) -> Self {
        GateRow {
            id: target.id(),
            target,
            running: 0,
            bucket: Bucket::default(),
            halted: None,
            ends_before: None,
            opens: None,
            lanes: BTreeMap::new(),
        }
    }

    /// Whether nothing goes on.
    #[must_use]
    pub fn is_idle(&self, now: Timestamp) -> bool {
        let is_full = self.bucket.full() <= now;
        self.running == 0 && self.lanes.is_empty() && self.halted.is_none() && self.ends_before.is_none() && is_full
    }

    /// How many works are held at it.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.lanes.values().fold(0, |sum, lane| sum.saturating_add(lane.held))
    }
}

/// The gate that holds a work, if one does, by what its request said.
pub(crate) fn held_by(record: &WorkRecord, spec: &WorkSpec) -> Option<GateTarget> {
    let Standing::Held { gate, .. } = record.standing else { return None };
    targets_of(spec).find(|target| target.id() == gate)
}

/// All that a gate may stand before that a work of this request meets.
pub(crate) fn targets_of(spec: &WorkSpec) -> impl Iterator<Item = GateTarget> + '_ {
    let serial = spec.serial.iter().map(|serial| GateTarget::Serial(Arc::clone(&serial.lane)));
    let key = spec.limit_key.iter().cloned().map(GateTarget::Key);
    let tags = spec.tags.iter().cloned().map(GateTarget::Tag);
    let name = spec.name.iter().cloned().map(GateTarget::Name);
    let lanes = [GateTarget::Worker(Arc::clone(&spec.worker)), GateTarget::Everything];
    serial.chain(key).chain(tags).chain(name).chain(lanes)
}

/// What a record means to the gates: what each of them counts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is ready, and each of its gates shows it.
    Shown(GateId, LaneId),
    /// It is held at this gate.
    Held(GateId, LaneId),
    /// It runs, and this gate counts it; or it occupies this serial lane.
    Running(GateId),
}

/// All that the gates count of a record.
pub(crate) fn marks(record: &WorkRecord) -> impl Iterator<Item = Mark> + '_ {
    let rare = record.rare.as_deref();
    let gates: &[GateId] = rare.map_or(&[], |rare| &rare.gates);
    let counted: &[GateId] = rare.map_or(&[], |rare| &rare.counted);
    let lane = record.lane;
    let shown = matches!(record.standing, Standing::Ready { .. }).then_some(gates).into_iter().flatten();
    let held = match record.standing {
        Standing::Held { gate, .. } => Some(Mark::Held(gate, lane)),
        _ => None,
    };
    let running = matches!(record.standing, Standing::Running { .. }).then_some(counted).into_iter().flatten();
    let shown = shown.map(move |gate| Mark::Shown(*gate, lane));
    shown.chain(held).chain(running.copied().chain(occupied(record)).map(Mark::Running))
}

/// The serial lane that a work occupies: the lane has let it on, and it has not finished.
fn occupied(record: &WorkRecord) -> Option<GateId> {
    serial_of(record).filter(|serial| serial.is_out).map(|serial| serial.gate)
}

/// The entry that says where a work stands in its serial lane; none once it has finished.
pub(crate) fn serial_of(record: &WorkRecord) -> Option<SerialPlace> {
    let serial = record.rare.as_ref().and_then(|rare| rare.serial);
    serial.filter(|_| !matches!(record.standing, Standing::Finished { .. }))
}
