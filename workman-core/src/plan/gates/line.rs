//! Lining up: the turn of what comes, and whether a gate holds it.

use super::row::room;
use super::serial::{may_be_next, occupy};
use super::{Arrival, FIRST_SIZE};
use crate::index::{rank, standing_key};
use crate::plan::Hint;
use crate::plan::draft::Draft;
use crate::plan::view::{Halt, Want};
use crate::record::{GateId, Standing, WorkRecord};

/// Start-time fair queuing (Goyal, Vin, Cheng 1996, <https://doi.org/10.1145/248157.248171>) with works of length 1: the turn of a work
/// with a key is the later of the greatest turn that was claimed in its lane since works with keys line up there, and the turn behind the
/// last work of its key. So the works of one key come one after the other, those of many in turns, and a new key does not wait
/// behind all that another has lined up.
pub(super) fn take_turns(draft: &mut Draft<'_>, arrivals: &mut [Arrival]) -> Result<(), Halt> {
    let settings = draft.settings()?;
    arrivals.sort_unstable_by_key(|arrival| arrival.seq);
    for arrival in arrivals.iter().filter(|arrival| arrival.is_last) {
        let Some(record) = draft.work(arrival.id)?.cloned() else { continue };
        let Some(key) = record.key_gate() else { continue };
        let virtual_time =
            draft.meta.gates.fair.get(&(record.lane, rank(record.terms.priority))).map_or(0, |fair| fair.turn);
        let row = draft.gate(key)?;
        let weight = settings.of(&row.target).limits.weight.unwrap_or(1);
        let lane = row.lanes.entry(record.lane).or_default();
        if virtual_time > lane.finish {
            (lane.finish, lane.part) = (virtual_time, 0);
        }
        let turn = lane.finish;
        lane.part += 1;
        if lane.part >= weight {
            (lane.finish, lane.part) = (turn.saturating_add(1), 0);
        }
        // Every work that comes takes a number, so that this is only a bound.
        let turn = turn.min(draft.meta.next_seq.saturating_sub(1));
        draft.put(WorkRecord { turn, ..record });
    }
    Ok(())
}

/// What has come is ready if all its gates let it on and nothing is held there that would go first; if not, it is held.
pub(super) fn admit(draft: &mut Draft<'_>, arrivals: Vec<Arrival>) -> Result<(), Halt> {
    let mut records = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        records.extend(draft.work(arrival.id)?.cloned());
    }
    records.sort_by_cached_key(standing_key);
    let lanes = records.iter().filter_map(|record| record.rare.as_ref()?.serial);
    draft.view.require(lanes.map(|serial| Want::Serial { gate: serial.gate, limit: FIRST_SIZE }))?;
    for record in records {
        match first_shut(draft, &record, None)? {
            Some(gate) => hold(draft, record, gate)?,
            None => show(draft, record)?,
        }
    }
    Ok(())
}

/// The first gate of a work that does not let it on; `from` is the one that has just let it go.
pub(super) fn first_shut(
    draft: &mut Draft<'_>,
    record: &WorkRecord,
    from: Option<GateId>,
) -> Result<Option<GateId>, Halt> {
    let serial = record.rare.as_ref().and_then(|rare| rare.serial);
    if let Some(serial) = serial.filter(|serial| Some(serial.gate) != from)
        && !may_be_next(draft, serial.gate, record)?
    {
        return Ok(Some(serial.gate));
    }
    for gate in record.gates() {
        let room = room(draft, *gate)?;
        let lane = draft.gate(*gate)?.lanes.get(&record.lane).copied().unwrap_or_default();
        let waits_behind = lane.held > 0 && from.is_none();
        if Some(*gate) != from && (waits_behind || lane.shown as usize >= room) {
            return Ok(Some(*gate));
        }
    }
    Ok(None)
}

pub(super) fn hold(draft: &mut Draft<'_>, record: WorkRecord, gate: GateId) -> Result<(), Halt> {
    let (Some(since), Some(why)) = (record.next_run(), record.wait()) else { return Ok(()) };
    let lane = draft.gate(gate)?.lanes.entry(record.lane).or_default();
    lane.held = lane.held.saturating_add(1);
    draft.gates.touched.insert(gate);
    draft.gates.held_here.entry((gate, record.lane)).or_default().push(record.id);
    let record = occupy(draft, record, Some(gate))?;
    draft.put(record.standing_at(Standing::Held { gate, since, why }));
    Ok(())
}

pub(super) fn show(draft: &mut Draft<'_>, record: WorkRecord) -> Result<(), Halt> {
    let (Some(since), Some(why)) = (record.next_run(), record.wait()) else { return Ok(()) };
    for gate in record.gates() {
        let lane = draft.gate(*gate)?.lanes.entry(record.lane).or_default();
        lane.shown = lane.shown.saturating_add(1);
    }
    let record = occupy(draft, record, None)?;
    draft.hint(Hint::Ready(record.lane));
    draft.gates.shown.insert(record.lane);
    draft.put(record.standing_at(Standing::Ready { since, why }));
    Ok(())
}
