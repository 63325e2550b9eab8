//! Counting: what each gate counts, by the records before a plan and after it.

use std::collections::BTreeSet;

use super::row::{all_gates, name_gates, name_stored_gates};
use super::{Arrival, Step};
use crate::index::rank;
use crate::plan::draft::Draft;
use crate::plan::view::{Halt, Want};
use crate::record::{FairLane, GateId, Mark, OnSerialFailure, Rare, Standing, WorkRecord, marks};
use crate::state::WorkState;

/// Holds what each gate counts against what this plan has moved. Answers what has come to line up, which is not counted yet.
pub(super) fn count(draft: &mut Draft<'_>) -> Result<Vec<Arrival>, Halt> {
    let moved = draft.moved_ids();
    let mut pairs = Vec::new();
    for id in moved {
        let before = draft.view.works.get(&id).and_then(Option::as_ref).filter(|record| record.is_gated()).cloned();
        let after = draft.work(id)?.filter(|record| record.is_gated()).cloned();
        if before.is_some() || after.is_some() {
            pairs.push((before, after));
        }
    }
    let records = pairs.iter().flat_map(|(before, after)| before.iter().chain(after));
    let gates: BTreeSet<GateId> = records.flat_map(all_gates).collect();
    let meta = &draft.view.meta.gates;
    let unknown = gates.iter().filter(|_| meta.rows > 0).map(|gate| Want::Gate(*gate));
    let settings = (meta.settings > 0 && !gates.is_empty()).then_some(Want::GateSettings);
    draft.view.require(unknown.chain(settings))?;
    let mut arrivals = Vec::new();
    for (before, after) in pairs {
        if let Some(after) = &after {
            name_gates(draft, after)?;
        }
        if let Some(before) = &before {
            name_stored_gates(draft, before)?;
            tally(draft, before, Step::Leaves)?;
        }
        let Some(after) = after else { continue };
        note_place(draft, &after);
        note_serial(draft, before.as_ref(), &after)?;
        let is_new = before.as_ref().is_none_or(|before| is_elsewhere(before, &after));
        if matches!(after.standing, Standing::Ready { .. }) && is_new {
            let is_last = before.as_ref().is_none_or(|before| before.turn != after.turn || !lines_up(before));
            arrivals.push(Arrival { id: after.id, seq: after.seq, is_last });
            keyed_lane(draft, &after, Step::Comes);
        } else {
            tally(draft, &after, Step::Comes)?;
        }
        if !matches!(after.standing, Standing::Running { .. }) && !after.counted().is_empty() {
            draft.put(after.with_rare(|rare| Rare { counted: Vec::new(), ..rare }));
        }
    }
    Ok(arrivals)
}

/// Adds what the gates count of a record, or takes it away.
fn tally(draft: &mut Draft<'_>, record: &WorkRecord, step: Step) -> Result<(), Halt> {
    let marks: Vec<Mark> = marks(record).collect();
    for mark in marks {
        match mark {
            Mark::Shown(gate, lane) => {
                let lane = draft.gate(gate)?.lanes.entry(lane).or_default();
                lane.shown = step.of_few(lane.shown);
            }
            Mark::Held(gate, lane) => {
                let lane = draft.gate(gate)?.lanes.entry(lane).or_default();
                lane.held = step.of(lane.held);
            }
            Mark::Running(gate) => {
                let row = draft.gate(gate)?;
                row.running = step.of_few(row.running);
            }
        }
    }
    if lines_up(record) && !matches!(record.standing, Standing::Running { .. }) {
        keyed_lane(draft, record, step);
    }
    draft.gates.touched.extend(all_gates(record));
    Ok(())
}

/// Counts a work with a key among those of its lane that take turns.
fn keyed_lane(draft: &mut Draft<'_>, record: &WorkRecord, step: Step) {
    if record.key_gate().is_none() {
        return;
    }
    let claimed = draft.meta.gates.claimed;
    let new = FairLane { turn: claimed, waiting: 0 };
    let fair = draft.meta.gates.fair.entry((record.lane, rank(record.terms.priority))).or_insert(new);
    fair.waiting = step.of(fair.waiting);
}

/// Whether it stands in its lane, or was taken from there.
fn lines_up(record: &WorkRecord) -> bool {
    matches!(record.standing, Standing::Ready { .. } | Standing::Held { .. } | Standing::Running { .. })
}

/// Whether a record that is ready stands elsewhere than before.
fn is_elsewhere(before: &WorkRecord, after: &WorkRecord) -> bool {
    let place = |record: &WorkRecord| (record.lane, record.turn, record.rare.as_ref().and_then(|rare| rare.serial));
    !matches!(before.standing, Standing::Ready { .. })
        || place(before) != place(after)
        || before.gates() != after.gates()
}

/// Notes where a work stands that this plan has moved, so that nobody looks for it among all of them.
fn note_place(draft: &mut Draft<'_>, record: &WorkRecord) {
    if let Standing::Held { gate, .. } = record.standing {
        draft.gates.held_here.entry((gate, record.lane)).or_default().push(record.id);
    }
    if let Some(serial) = record.rare.as_ref().and_then(|rare| rare.serial) {
        draft.gates.members.entry(serial.gate).or_default().push(record.id);
    }
}

/// A failure holds the serial lane, if that was said; work that comes back frees it.
fn note_serial(draft: &mut Draft<'_>, before: Option<&WorkRecord>, after: &WorkRecord) -> Result<(), Halt> {
    let Some(serial) = after.rare.as_ref().and_then(|rare| rare.serial) else { return Ok(()) };
    let (id, was_over) = (after.id, before.is_some_and(|before| before.state().is_finished()));
    draft.gates.touched.insert(serial.gate);
    if after.state() == WorkState::Failed && !was_over {
        let holds = serial.on_failure == OnSerialFailure::Hold && before.is_some();
        if holds {
            draft.gate(serial.gate)?.halted.get_or_insert(id);
        }
    } else if was_over && !after.state().is_finished() {
        let row = draft.gate(serial.gate)?;
        row.halted = row.halted.filter(|halted| *halted != id);
    }
    Ok(())
}

/// What was taken for a run that never began is there again.
pub(super) fn give_back(draft: &mut Draft<'_>) -> Result<(), Halt> {
    let settings = draft.settings()?;
    for gate in std::mem::take(&mut draft.gates.returned) {
        let row = draft.gate(gate)?;
        if let Some(rate) = settings.of(&row.target).limits.rate {
            row.bucket = rate.give_back(row.bucket);
        }
    }
    Ok(())
}
