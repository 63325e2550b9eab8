//! Going on: a gate lets on what it held.

use std::collections::{BTreeMap, BTreeSet};

use super::line::{first_shut, hold, show};
use super::row::{name_gates, room, sweep_later};
use super::serial::{head_of, leave_serial, may_be_next};
use super::{FIRST_SIZE, SHOWN_LIMIT, Sweep, larger_than, size_for};
use crate::index::{IndexKey, standing_key};
use crate::plan::draft::Draft;
use crate::plan::view::{Halt, Want};
use crate::record::{GateId, GateTarget, LaneId, Standing, WorkRecord};

/// The most gates that one commit of a sweep looks at.
const SWEEP_LIMIT: usize = 16;

/// Asks at once for what [`fill`] will look at first: each time that a plan asks costs a round trip where the store is a server.
pub(super) fn foresee(draft: &mut Draft<'_>, gates: &BTreeSet<GateId>) -> Result<(), Halt> {
    let mut wants = Vec::new();
    for gate in gates {
        if matches!(draft.gate(*gate)?.target, GateTarget::Serial(_)) {
            wants.push(Want::Serial { gate: *gate, limit: FIRST_SIZE });
            continue;
        }
        let most = room(draft, *gate)?.min(SHOWN_LIMIT);
        let lanes = draft.gate(*gate)?.lanes.iter().filter(|(_, lane)| lane.held > 0);
        let lanes = lanes.map(|(id, lane)| (*id, most.saturating_sub(lane.shown as usize)));
        let wanted = lanes.filter(|(_, wanted)| *wanted > 0);
        wants.extend(wanted.map(|(lane, wanted)| Want::Held { gate: *gate, lane, limit: size_for(wanted) }));
    }
    draft.view.require(wants)
}

/// Lets on as many of the works that a gate holds as it may.
pub(super) fn fill(draft: &mut Draft<'_>, gate: GateId) -> Result<(), Halt> {
    if matches!(draft.gate(gate)?.target, GateTarget::Serial(_)) {
        return go_on(draft, gate);
    }
    let row = draft.gate(gate)?;
    let lanes: Vec<LaneId> = row.lanes.iter().filter(|(_, lane)| lane.held > 0).map(|(lane, _)| *lane).collect();
    for lane in lanes {
        fill_lane(draft, gate, lane)?;
    }
    Ok(())
}

/// Many are let on at a time where many may be, so that not every claim moves some.
fn fill_lane(draft: &mut Draft<'_>, gate: GateId, lane: LaneId) -> Result<(), Halt> {
    let most = room(draft, gate)?.min(SHOWN_LIMIT);
    let shown = |draft: &mut Draft<'_>| -> Result<usize, Halt> {
        Ok(draft.gate(gate)?.lanes.get(&lane).map_or(0, |lane| lane.shown as usize))
    };
    if most >= SHOWN_LIMIT && shown(draft)? > most / 2 {
        return Ok(());
    }
    loop {
        let wanted = most.saturating_sub(shown(draft)?);
        if wanted == 0 {
            return Ok(());
        }
        if draft.gates.left == 0 {
            sweep_later(draft, gate);
            return Ok(());
        }
        let held = best_held(draft, gate, lane, wanted.min(draft.gates.left))?;
        if held.is_empty() {
            return Ok(());
        }
        for record in held {
            let_on(draft, record, gate)?;
        }
    }
}

/// A work leaves the gate that held it: it is ready, or the next gate holds it.
fn let_on(draft: &mut Draft<'_>, record: WorkRecord, gate: GateId) -> Result<(), Halt> {
    draft.gates.left = draft.gates.left.saturating_sub(1);
    name_gates(draft, &record)?;
    let row = draft.gate(gate)?;
    let is_serial = matches!(row.target, GateTarget::Serial(_));
    if let Some(lane) = row.lanes.get_mut(&record.lane) {
        lane.held = lane.held.saturating_sub(1);
    }
    if !is_serial && record.rare.as_ref().is_some_and(|rare| rare.serial.is_some()) {
        leave_serial(draft, &record)?;
    }
    match first_shut(draft, &record, Some(gate))? {
        Some(next) => hold(draft, record, next),
        None => show(draft, record),
    }
}

/// The first works that are held at a gate in a lane, as this plan leaves them.
fn best_held(draft: &Draft<'_>, gate: GateId, lane: LaneId, wanted: usize) -> Result<Vec<WorkRecord>, Halt> {
    let is_held = |record: &WorkRecord| {
        record.lane == lane && matches!(record.standing, Standing::Held { gate: at, .. } if at == gate)
    };
    let mut held: BTreeMap<IndexKey, WorkRecord> = BTreeMap::new();
    for id in draft.gates.held_here.get(&(gate, lane)).into_iter().flatten() {
        if let Some(record) = draft.work(*id)?.filter(|record| is_held(record)) {
            held.insert(standing_key(record), record.clone());
        }
    }
    let mut limit = size_for(wanted);
    let list = loop {
        let list = draft.view.list(Want::Held { gate, lane, limit })?;
        let mut stored = 0;
        for id in &list.ids {
            stored += usize::from(draft.work(*id)?.is_some_and(is_held));
        }
        if stored >= wanted || list.next.is_none() {
            break list;
        }
        limit = larger_than(limit);
    };
    for id in &list.ids {
        if let Some(record) = draft.work(*id)?.filter(|record| is_held(record)) {
            held.insert(standing_key(record), record.clone());
        }
    }
    Ok(held.into_values().take(wanted).collect())
}

/// The next work of a serial lane, if it is held there and may go on.
fn go_on(draft: &mut Draft<'_>, gate: GateId) -> Result<(), Halt> {
    let Some(head) = head_of(draft, gate)? else { return Ok(()) };
    let is_held = matches!(head.standing, Standing::Held { gate: at, .. } if at == gate);
    if is_held && may_be_next(draft, gate, &head)? { let_on(draft, head, gate) } else { Ok(()) }
}

/// Looks at the gates that hold something, from where the last commit of the sweep has stopped.
pub(super) fn sweep(draft: &mut Draft<'_>) -> Result<(), Halt> {
    if draft.gates.sweep == Sweep::No {
        return Ok(());
    }
    let from = draft.meta.gates.refill.take().unwrap_or(GateId(0));
    let gates = draft.view.list(Want::Holding { from, limit: SWEEP_LIMIT })?.gates.clone();
    draft.view.require(gates.iter().map(|gate| Want::Gate(*gate)))?;
    let next = gates.last().filter(|_| gates.len() == SWEEP_LIMIT).and_then(|last| last.0.checked_add(1));
    draft.gates.touched.extend(gates);
    if let Some(next) = next {
        sweep_later(draft, GateId(next));
    }
    Ok(())
}
