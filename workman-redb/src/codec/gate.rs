//! The bodies of what is wanted of gates and of what goes on there.

use std::sync::Arc;

use workman_core::store::{
    Bucket, Due, FairLane, GateId, GateLane, GateMeta, GateRow, GateSetting, GateSettings, LaneId, Pause, SerialLane,
    SerialPlace,
};
use workman_core::{GateLimits, GateTarget, OnSerialFailure, Rate, WorkId};

use super::{Body, CodecError, Decoded, Encoded, Reader, Writer};

pub(super) fn write_gate_id(id: GateId, to: &mut Writer) {
    to.id(WorkId::from_u128(id.0));
}

pub(super) fn read_gate_id(from: &mut Reader<'_>) -> Decoded<GateId> {
    from.id().map(|id| GateId(id.as_u128()))
}

/// What goes on at a gate, without its number, which is the key.
pub(crate) fn write_gate(gate: &GateRow, to: &mut Writer) -> Encoded {
    gate.target.write(to)?;
    to.u32(gate.running);
    to.i64(gate.bucket.full_at);
    to.option(gate.halted.as_ref(), |to, id| {
        to.id(*id);
        Ok(())
    })?;
    to.option(gate.ends_before.as_ref(), |to, seq| {
        to.u64(*seq);
        Ok(())
    })?;
    to.option(gate.opens.as_ref(), |to, due| {
        to.flag(matches!(due, Due::Wall(_)));
        to.timed(due.at())
    })?;
    let lanes: Vec<(&LaneId, &GateLane)> = gate.lanes.iter().collect();
    to.list(&lanes, |to, (id, lane)| {
        to.u32(id.0);
        to.u32(lane.shown);
        to.u64(lane.held);
        to.u64(lane.finish);
        to.u32(lane.part);
        Ok(())
    })
}

pub(crate) fn read_gate(id: GateId, from: &mut Reader<'_>) -> Decoded<GateRow> {
    Ok(GateRow {
        id,
        target: GateTarget::read(from)?,
        running: from.u32()?,
        bucket: Bucket { full_at: from.i64()? },
        halted: from.option(Reader::id)?,
        ends_before: from.option(Reader::u64)?,
        opens: from.option(|from| {
            let is_of_the_wall = from.flag()?;
            let at = from.time()?;
            Ok(if is_of_the_wall { Due::Wall(at) } else { Due::Store(at) })
        })?,
        lanes: from.list(read_lane)?.into_iter().collect(),
    })
}

fn read_lane(from: &mut Reader<'_>) -> Decoded<(LaneId, GateLane)> {
    let id = LaneId(from.u32()?);
    Ok((id, GateLane { shown: from.u32()?, held: from.u64()?, finish: from.u64()?, part: from.u32()? }))
}

impl Body for GateTarget {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.byte(match self {
            GateTarget::Everything => 1,
            GateTarget::Worker(_) => 2,
            GateTarget::Tag(_) => 3,
            GateTarget::Name(_) => 4,
            GateTarget::Key(_) => 5,
            GateTarget::Keys(_) => 6,
            GateTarget::Serial(_) => 7,
            _ => return Err(CodecError::Unstorable("this kind of gate")),
        });
        to.text(self.parts().1);
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let kind = from.byte()?;
        let text = from.shared_text()?;
        Ok(match kind {
            1 => GateTarget::Everything,
            2 => GateTarget::Worker(text),
            3 => GateTarget::Tag(text),
            4 => GateTarget::Name(text),
            5 => GateTarget::Key(text),
            6 => GateTarget::Keys(text),
            7 => GateTarget::Serial(text),
            byte => return Err(CodecError::Unknown("kind of gate", byte)),
        })
    }
}

impl Body for GateLimits {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.bits([self.at_once.is_some(), self.rate.is_some(), self.weight.is_some()]);
        self.at_once.iter().for_each(|at_once| to.u32(*at_once));
        if let Some(Rate { count, per, burst }) = self.rate {
            to.u32(count);
            to.duration(per);
            to.u32(burst);
        }
        self.weight.iter().for_each(|weight| to.u32(*weight));
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let [at_once, rate, weight] = from.bits("limit")?;
        Ok(GateLimits {
            at_once: at_once.then(|| from.u32()).transpose()?,
            rate: rate.then(|| read_rate(from)).transpose()?,
            weight: weight.then(|| from.u32()).transpose()?,
        })
    }
}

fn read_rate(from: &mut Reader<'_>) -> Decoded<Rate> {
    Ok(Rate { count: from.u32()?, per: from.duration()?, burst: from.u32()? })
}

impl Body for GateSettings {
    fn write(&self, to: &mut Writer) -> Encoded {
        let gates: Vec<(&GateTarget, &GateSetting)> = self.gates.iter().collect();
        to.list(&gates, |to, (target, setting)| {
            target.write(to)?;
            to.option(setting.code.as_ref(), |to, limits| limits.write(to))?;
            to.option(setting.hand.as_ref(), |to, limits| limits.write(to))?;
            to.option(setting.pause.as_ref(), |to, pause| {
                to.option(pause.reason.as_ref(), |to, reason| {
                    to.text(reason);
                    Ok(())
                })?;
                to.time(pause.since);
                to.option(pause.until.as_ref(), |to, until| to.timed(*until))
            })
        })
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let gates = from.list(|from| {
            let target = GateTarget::read(from)?;
            let (code, hand) = (from.option(GateLimits::read)?, from.option(GateLimits::read)?);
            let pause = from.option(|from| {
                let reason = from.option(Reader::shared_text)?;
                Ok(Pause { reason, since: from.time()?, until: from.option(Reader::time)? })
            })?;
            Ok((target, GateSetting { code, hand, pause }))
        })?;
        Ok(GateSettings { gates: gates.into_iter().collect() })
    }
}

impl Body for SerialLane {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.text(&self.lane);
        self.on_failure.write(to)
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(SerialLane { lane: from.shared_text()?, on_failure: OnSerialFailure::read(from)? })
    }
}

impl Body for SerialPlace {
    fn write(&self, to: &mut Writer) -> Encoded {
        write_gate_id(self.gate, to);
        to.flag(self.is_out);
        self.on_failure.write(to)
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(SerialPlace { gate: read_gate_id(from)?, is_out: from.flag()?, on_failure: OnSerialFailure::read(from)? })
    }
}

impl Body for OnSerialFailure {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.byte(match self {
            OnSerialFailure::Hold => 1,
            OnSerialFailure::Skip => 2,
            OnSerialFailure::End => 3,
            _ => return Err(CodecError::Unstorable("what a failure does to a serial lane")),
        });
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(match from.byte()? {
            1 => OnSerialFailure::Hold,
            2 => OnSerialFailure::Skip,
            3 => OnSerialFailure::End,
            byte => return Err(CodecError::Unknown("thing that a failure does to a serial lane", byte)),
        })
    }
}

impl Body for GateMeta {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.u32(self.settings);
        to.u64(self.rows);
        to.u64(self.openings);
        to.option(self.refill.as_ref(), |to, gate| {
            write_gate_id(*gate, to);
            Ok(())
        })?;
        let passing: Vec<&WorkId> = self.passing.iter().collect();
        to.list(&passing, |to, id| {
            to.id(**id);
            Ok(())
        })?;
        to.u64(self.claimed);
        to.u64(self.fair.len() as u64);
        for ((lane, rank), fair) in &self.fair {
            to.u32(lane.0);
            to.byte(*rank);
            to.u64(fair.turn);
            to.u64(fair.waiting);
        }
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(GateMeta {
            settings: from.u32()?,
            rows: from.u64()?,
            openings: from.u64()?,
            refill: from.option(read_gate_id)?,
            passing: from.list(Reader::id)?.into_iter().collect(),
            claimed: from.u64()?,
            fair: from.list(read_fair)?.into_iter().collect(),
        })
    }
}

fn read_fair(from: &mut Reader<'_>) -> Decoded<((LaneId, u8), FairLane)> {
    let lane = (LaneId(from.u32()?), from.byte()?);
    Ok((lane, FairLane { turn: from.u64()?, waiting: from.u64()? }))
}

/// What is wanted of gates.
pub(crate) fn read_settings(from: &mut Reader<'_>) -> Decoded<Arc<GateSettings>> {
    GateSettings::read(from).map(Arc::new)
}
