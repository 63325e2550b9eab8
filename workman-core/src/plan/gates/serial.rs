//! Serial lanes: who is next, who is out, and what a failure ends.

use std::collections::BTreeMap;

use super::row::{name_gates, passage};
use super::{FIRST_SIZE, larger_than};
use crate::id::WorkId;
use crate::plan::draft::Draft;
use crate::plan::view::{Halt, Want};
use crate::plan::{GATE_LIMIT, cascade};
use crate::record::{CascadeVerb, GateId, OnSerialFailure, Passage, Rare, SerialPlace, WorkRecord};
use crate::state::{StopReason, WorkState};

/// Where a failure ends a serial lane, those behind it are cancelled, a bounded number in one commit.
pub(super) fn end_lanes(draft: &mut Draft<'_>) -> Result<(), Halt> {
    let mut ends: BTreeMap<GateId, u64> = BTreeMap::new();
    for id in draft.moved_ids() {
        let Some(failed) = newly_failed(draft, id)?.cloned() else { continue };
        let serial = failed.rare.as_ref().and_then(|rare| rare.serial);
        if let Some(serial) = serial.filter(|serial| serial.on_failure == OnSerialFailure::End) {
            name_gates(draft, &failed)?;
            ends.insert(serial.gate, draft.meta.next_seq);
        }
    }
    for gate in draft.gates.touched.clone() {
        if let Some(before) = draft.gate(gate)?.ends_before {
            let ends_before = ends.entry(gate).or_insert(before);
            *ends_before = before.max(*ends_before);
        }
    }
    for (gate, before) in ends {
        let list = draft.view.list(Want::Serial { gate, limit: GATE_LIMIT })?;
        let behind = list.ids.iter().filter_map(|id| draft.view.works.get(id).and_then(Option::as_ref));
        let width = cascade::width(list.ids.len());
        draft.view.require(behind.filter_map(|record| cascade::wants(CascadeVerb::Cancel, record, width)))?;
        for id in &list.ids {
            let is_behind = |record: &&WorkRecord| record.seq < before && !record.state().is_finished();
            let Some(record) = draft.work(*id)?.filter(is_behind).cloned() else { continue };
            draft.cancel(record, StopReason::CancelledByApp);
            cascade::spread(draft, CascadeVerb::Cancel, *id, StopReason::CancelledByApp, width)?;
        }
        draft.gate(gate)?.ends_before = list.next.is_some().then_some(before);
        draft.gates.touched.insert(gate);
    }
    Ok(())
}

/// The record, if this plan lets it fail.
fn newly_failed<'d>(draft: &'d Draft<'_>, id: WorkId) -> Result<Option<&'d WorkRecord>, Halt> {
    let was_over =
        draft.view.works.get(&id).and_then(Option::as_ref).is_some_and(|record| record.state().is_finished());
    Ok(draft.work(id)?.filter(|record| !was_over && record.state() == WorkState::Failed))
}

/// Whether a work is the one that its serial lane lets on: the first by birth, while nothing of the lane is out.
pub(super) fn may_be_next(draft: &mut Draft<'_>, gate: GateId, record: &WorkRecord) -> Result<bool, Halt> {
    let row = draft.gate(gate)?;
    let is_halted = row.halted.is_some_and(|halted| halted != record.id);
    if is_halted || row.running > 0 || row.ends_before.is_some_and(|before| record.seq < before) {
        return Ok(false);
    }
    if matches!(passage(draft, gate)?, Passage::Shut(_)) {
        return Ok(false);
    }
    Ok(head_of(draft, gate)?.is_some_and(|head| head.id == record.id))
}

/// The first work of a serial lane that has not finished, as this plan leaves it.
pub(super) fn head_of(draft: &Draft<'_>, gate: GateId) -> Result<Option<WorkRecord>, Halt> {
    let is_member = |record: &WorkRecord| {
        let serial = record.rare.as_ref().and_then(|rare| rare.serial);
        serial.is_some_and(|serial| serial.gate == gate) && !record.state().is_finished()
    };
    let mut head: Option<WorkRecord> = None;
    let mut take = |record: &WorkRecord| {
        if is_member(record) && head.as_ref().is_none_or(|head| record.seq < head.seq) {
            head = Some(record.clone());
        }
    };
    for id in draft.gates.members.get(&gate).into_iter().flatten() {
        draft.work(*id)?.into_iter().for_each(&mut take);
    }
    let mut limit = FIRST_SIZE;
    loop {
        let list = draft.view.list(Want::Serial { gate, limit })?;
        let mut is_found = false;
        for id in &list.ids {
            if let Some(record) = draft.work(*id)? {
                is_found |= is_member(record);
                take(record);
            }
        }
        if is_found || list.next.is_none() {
            return Ok(head);
        }
        limit = larger_than(limit);
    }
}

/// A work that its serial lane has let on occupies it.
pub(super) fn occupy(draft: &mut Draft<'_>, record: WorkRecord, held_at: Option<GateId>) -> Result<WorkRecord, Halt> {
    let Some(serial) = record.rare.as_ref().and_then(|rare| rare.serial) else { return Ok(record) };
    let is_out = held_at != Some(serial.gate);
    let row = draft.gate(serial.gate)?;
    row.running = row.running.saturating_add(u32::from(is_out));
    Ok(record.with_rare(|rare| Rare { serial: Some(SerialPlace { is_out, ..serial }), ..rare }))
}

/// What is held behind its serial lane occupies that, and is about to be put anew.
pub(super) fn leave_serial(draft: &mut Draft<'_>, record: &WorkRecord) -> Result<(), Halt> {
    if let Some(serial) = record.rare.as_ref().and_then(|rare| rare.serial) {
        let row = draft.gate(serial.gate)?;
        row.running = row.running.saturating_sub(1);
    }
    Ok(())
}
