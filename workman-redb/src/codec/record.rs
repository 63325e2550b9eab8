//! The body of a [`WorkRecord`], in two parts: what it was born with, and what changes.

use workman_core::store::{
    Due, Finish, LaneId, Period, Rare, RowsPresent, SerialPlace, Standing, Terms, Urgency, WorkRecord,
};
use workman_core::{ParkReason, StopReason, Timestamp, Wait, WorkId};

use super::gate::{read_gate_id, write_gate_id};
use super::{Body, CodecError, Decoded, Encoded, Reader, Writer};

/// What of a record never changes, or only together with its spec: its birth and its terms, without the id, which is the key.
pub(crate) struct Birth {
    id: WorkId,
    seq: u64,
    created: Timestamp,
    generation: u32,
    terms: Terms,
}

impl Birth {
    /// That of this record.
    pub(crate) fn of(record: WorkRecord) -> Self {
        let WorkRecord { id, seq, created, generation, terms, .. } = record;
        Birth { id, seq, created, generation, terms }
    }
}

pub(crate) fn write_birth(record: &WorkRecord, to: &mut Writer) -> Encoded {
    to.u64(record.seq);
    to.time(record.created);
    to.u32(record.generation);
    record.terms.write(to)
}

pub(crate) fn read_birth(id: WorkId, from: &mut Reader<'_>) -> Decoded<Birth> {
    Ok(Birth { id, seq: from.u64()?, created: from.time()?, generation: from.u32()?, terms: Terms::read(from)? })
}

/// What of a record changes. It begins with the generation of the birth that it belongs to: in a damaged file either of both
/// rows may be an older one.
pub(crate) fn write_state(record: &WorkRecord, to: &mut Writer) -> Encoded {
    to.u32(record.generation);
    to.u64(record.turn);
    to.u32(record.lane.0);
    record.urgency.write(to)?;
    record.standing.write(to)?;
    to.time(record.enqueued);
    to.u64(record.fence);
    to.u32(record.run_generation);
    to.u32(record.failures);
    to.u32(record.interruptions);
    to.u32(record.deaths);
    to.u32(record.open);
    to.option(record.followers.as_ref(), |to, followers| {
        to.u32(*followers);
        Ok(())
    })?;
    to.option(record.period.as_ref(), |to, period| period.write(to))?;
    to.option(record.started.as_ref(), |to, at| to.timed(*at))?;
    to.option(record.ended.as_ref(), |to, at| to.timed(*at))?;
    to.option(record.stop.as_ref(), |to, stop| stop.write(to))?;
    let RowsPresent { output, notes, history, dependents } = record.rows;
    to.bits([output, notes, history, dependents, record.rare.is_some()]);
    record.rare.as_ref().map_or(Ok(()), |rare| rare.write(to))
}

/// The whole record.
pub(crate) fn read_state(birth: Birth, from: &mut Reader<'_>) -> Decoded<WorkRecord> {
    let Birth { id, seq, created, generation, terms } = birth;
    if from.u32()? != generation {
        return Err(CodecError::Mismatch("generation"));
    }
    let is_rare;
    Ok(WorkRecord {
        id,
        seq,
        turn: from.u64()?,
        lane: LaneId(from.u32()?),
        urgency: Urgency::read(from)?,
        terms,
        generation,
        standing: Standing::read(from)?,
        created,
        enqueued: from.time()?,
        fence: from.u64()?,
        run_generation: from.u32()?,
        failures: from.u32()?,
        interruptions: from.u32()?,
        deaths: from.u32()?,
        open: from.u32()?,
        followers: from.option(Reader::u32)?,
        period: from.option(Period::read)?,
        started: from.option(Reader::time)?,
        ended: from.option(Reader::time)?,
        stop: from.option(StopReason::read)?,
        rows: {
            let [output, notes, history, dependents, rare] = from.bits("row")?;
            is_rare = rare;
            RowsPresent { output, notes, history, dependents }
        },
        rare: if is_rare { Some(Rare::read(from)?.into()) } else { None },
    })
}

impl Body for Rare {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.u32(self.flaps);
        to.flag(self.superseded);
        to.list(&self.gates, |to, gate| {
            write_gate_id(*gate, to);
            Ok(())
        })?;
        to.option(self.serial.as_ref(), |to, serial| serial.write(to))?;
        to.list(&self.counted, |to, gate| {
            write_gate_id(*gate, to);
            Ok(())
        })?;
        to.option(self.scheduled_for.as_ref(), |to, at| to.timed(*at))?;
        to.option(self.cancelled_because.as_ref(), |to, because| {
            to.text(because);
            Ok(())
        })
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let (flaps, superseded) = (from.u32()?, from.flag()?);
        let gates = from.list(read_gate_id)?;
        let (serial, counted) = (from.option(SerialPlace::read)?, from.list(read_gate_id)?);
        let (scheduled_for, cancelled_because) = (from.option(Reader::time)?, from.option(Reader::shared_text)?);
        Ok(Rare { flaps, superseded, gates, serial, counted, scheduled_for, cancelled_because })
    }
}

impl Body for Standing {
    fn write(&self, to: &mut Writer) -> Encoded {
        match self {
            Standing::Blocked => to.byte(1),
            Standing::Waiting { due, why } => write_due([2, 7], *due, *why, to),
            Standing::Ready { since, why } => write_due([3, 8], *since, *why, to),
            Standing::Held { gate, since, why } => {
                write_due([9, 10], *since, *why, to);
                write_gate_id(*gate, to);
            }
            Standing::Parked { why } => {
                to.byte(4);
                why.write(to)?;
            }
            Standing::Running { epoch } => {
                to.byte(5);
                to.u64(*epoch);
            }
            Standing::Finished { how, at } => {
                to.byte(6);
                to.byte(match how {
                    Finish::Succeeded => 1,
                    Finish::Failed => 2,
                    Finish::Cancelled => 3,
                });
                to.time(*at);
            }
        }
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let byte = from.byte()?;
        let wait = || Wait::from_code(byte >> 4).ok_or(CodecError::Unknown("reason to wait", byte >> 4));
        Ok(match byte {
            1 => Standing::Blocked,
            4 => Standing::Parked { why: ParkReason::read(from)? },
            5 => Standing::Running { epoch: from.u64()? },
            6 => {
                let how = match from.byte()? {
                    1 => Finish::Succeeded,
                    2 => Finish::Failed,
                    3 => Finish::Cancelled,
                    byte => return Err(CodecError::Unknown("finish", byte)),
                };
                Standing::Finished { how, at: from.time()? }
            }
            _ => match byte & 0xf {
                2 => Standing::Waiting { due: Due::Store(from.time()?), why: wait()? },
                7 => Standing::Waiting { due: Due::Wall(from.time()?), why: wait()? },
                3 => Standing::Ready { since: Due::Store(from.time()?), why: wait()? },
                8 => Standing::Ready { since: Due::Wall(from.time()?), why: wait()? },
                code @ (9 | 10) => {
                    let at = from.time()?;
                    let since = if code == 9 { Due::Store(at) } else { Due::Wall(at) };
                    Standing::Held { gate: read_gate_id(from)?, since, why: wait()? }
                }
                _ => return Err(CodecError::Unknown("standing", byte)),
            },
        })
    }
}

/// A standing with a moment, by its code for either time in the lower half of a byte, and its reason in the upper half.
fn write_due([store, wall]: [u8; 2], due: Due, why: Wait, to: &mut Writer) {
    let code = match due {
        Due::Store(_) => store,
        Due::Wall(_) => wall,
    };
    to.byte(why.code() << 4 | code);
    to.time(due.at());
}

impl Body for ParkReason {
    fn write(&self, to: &mut Writer) -> Encoded {
        match self {
            ParkReason::Undecodable { message } => {
                to.byte(1);
                to.text(message);
            }
            ParkReason::Poisoned { deaths } => {
                to.byte(2);
                to.u32(*deaths);
            }
            ParkReason::TooLarge { size, limit } => {
                to.byte(3);
                to.u64(*size);
                to.u64(*limit);
            }
            _ => return Err(CodecError::Unstorable("this reason to park a work")),
        }
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(match from.byte()? {
            1 => ParkReason::Undecodable { message: from.shared_text()? },
            2 => ParkReason::Poisoned { deaths: from.u32()? },
            3 => ParkReason::TooLarge { size: from.u64()?, limit: from.u64()? },
            byte => return Err(CodecError::Unknown("reason to park", byte)),
        })
    }
}

impl Body for Period {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.u64(self.count);
        to.time(self.due);
        to.time(self.anchor);
        to.option(self.next_run.as_ref(), |to, at| to.timed(*at))
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Period { count: from.u64()?, due: from.time()?, anchor: from.time()?, next_run: from.option(Reader::time)? })
    }
}

impl Body for Urgency {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.byte(match self {
            Urgency::Ordinary => 0,
            Urgency::Expedited => 1,
        });
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        match from.byte()? {
            0 => Ok(Urgency::Ordinary),
            1 => Ok(Urgency::Expedited),
            byte => Err(CodecError::Unknown("urgency", byte)),
        }
    }
}

impl Body for StopReason {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.byte(self.code());
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let code = from.byte()?;
        StopReason::from_code(code).ok_or(CodecError::Unknown("stop reason", code))
    }
}
