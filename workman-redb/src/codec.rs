//! The bodies of rows: how each noun of the core lies in bytes, field by field, as `docs/format.md` says.
//!
//! Written by hand, because a format is a promise: every enum has explicit bytes, every body has a version, and a byte that
//! is not known is an error and never a guess. Integers are little-endian base 128, so that small ones are small. This
//! module knows no table, key or checksum.

mod beside;
mod bytes;
mod terms;

use std::fmt;
use std::sync::Arc;

use workman_core::constraints::{ConstraintKind, Constraints, NetworkType};
use workman_core::data::{Codec, Payload};
use workman_core::id::WorkId;
use workman_core::policy::InputMerger;
use workman_core::record::{
    Finish, InputShape, LaneId, ParkReason, Period, Prerequisites, RowsPresent, Standing, Terms, Urgency, WorkRecord,
    WorkSpec,
};
use workman_core::state::StopReason;
use workman_core::time::Timestamp;

pub(crate) use beside::{Format, read_cascade, read_lane, write_cascade, write_lane};
pub(crate) use bytes::{Reader, Writer};

/// Why bytes and a value do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodecError {
    /// The bytes end too early.
    Short,
    /// The bytes go on after the value.
    Long,
    /// A byte stands for nothing that this build knows.
    Unknown(&'static str, u8),
    /// A number is larger than its field.
    Range(&'static str),
    /// A text is no UTF-8.
    Text,
    /// The value is of a kind that this build can't store.
    Unstorable(&'static str),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Short => f.write_str("it ends too early"),
            CodecError::Long => f.write_str("it is longer than what it says"),
            CodecError::Unknown(what, byte) => write!(f, "the byte {byte} is no {what} that this build knows"),
            CodecError::Range(what) => write!(f, "a number is too large for {what}"),
            CodecError::Text => f.write_str("a text in it is not UTF-8"),
            CodecError::Unstorable(what) => write!(f, "this version of workman-redb can't store {what}"),
        }
    }
}

type Decoded<T> = Result<T, CodecError>;
type Encoded = Result<(), CodecError>;

/// A value with bytes of its own.
pub(crate) trait Body: Sized {
    fn write(&self, to: &mut Writer) -> Encoded;
    fn read(from: &mut Reader<'_>) -> Decoded<Self>;
}

/// What of a record never changes, or only together with its spec: its birth and its terms, without the id, which is the key.
pub(crate) struct Birth {
    id: WorkId,
    seq: u64,
    created: Timestamp,
    generation: u32,
    terms: Terms,
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

/// What of a record changes.
pub(crate) fn write_state(record: &WorkRecord, to: &mut Writer) -> Encoded {
    to.u64(record.turn);
    to.u32(record.lane.0);
    record.urgency.write(to)?;
    record.standing.write(to)?;
    to.time(record.enqueued);
    to.u64(record.fence);
    to.u32(record.failures);
    to.u32(record.interruptions);
    to.u32(record.deaths);
    to.u32(record.open);
    to.option(record.period.as_ref(), |to, period| period.write(to))?;
    to.option(record.started.as_ref(), |to, at| to.timed(*at))?;
    to.option(record.ended.as_ref(), |to, at| to.timed(*at))?;
    to.option(record.stop.as_ref(), |to, stop| stop.write(to))?;
    record.rows.write(to)
}

/// The whole record.
pub(crate) fn read_state(birth: Birth, from: &mut Reader<'_>) -> Decoded<WorkRecord> {
    let Birth { id, seq, created, generation, terms } = birth;
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
        failures: from.u32()?,
        interruptions: from.u32()?,
        deaths: from.u32()?,
        open: from.u32()?,
        period: from.option(Period::read)?,
        started: from.option(Reader::time)?,
        ended: from.option(Reader::time)?,
        stop: from.option(StopReason::read)?,
        rows: RowsPresent::read(from)?,
    })
}

/// A record of format 1 or 2.
pub(crate) fn read_record_of_format_2(id: WorkId, from: &mut Reader<'_>) -> Decoded<WorkRecord> {
    Ok(WorkRecord {
        id,
        seq: from.u64()?,
        turn: from.u64()?,
        lane: LaneId(from.u32()?),
        generation: from.u32()?,
        standing: Standing::read(from)?,
        created: from.time()?,
        enqueued: from.time()?,
        fence: from.u64()?,
        failures: from.u32()?,
        interruptions: from.u32()?,
        deaths: from.u32()?,
        open: from.u32()?,
        period: from.option(Period::read)?,
        started: from.option(Reader::time)?,
        ended: from.option(Reader::time)?,
        stop: from.option(StopReason::read)?,
        rows: RowsPresent::read(from)?,
        terms: Terms::read(from)?,
        urgency: from.since(2, Urgency::Ordinary, Urgency::read)?,
    })
}

/// What a request said, without its input's codec, which the envelope carries. The input lies at the end, as it is.
pub(crate) fn write_spec(spec: &WorkSpec, to: &mut Writer) -> Encoded {
    to.text(&spec.worker);
    to.list(&spec.tags, |to, tag| {
        to.text(tag);
        Ok(())
    })?;
    to.option(spec.name.as_ref(), |to, name| {
        to.text(name);
        Ok(())
    })?;
    spec.constraints.write(to)?;
    to.byte(match spec.prerequisites.shape {
        InputShape::Nothing => 0,
        InputShape::One => 1,
        InputShape::List => 2,
        InputShape::Tuple => 3,
        InputShape::Merged(InputMerger::Overwriting) => 4,
        InputShape::Merged(InputMerger::ArrayCreating) => 5,
    });
    to.list(&spec.prerequisites.ids, |to, id| {
        to.id(*id);
        Ok(())
    })?;
    to.option(spec.trace_tag.as_ref(), |to, tag| {
        to.text(tag);
        Ok(())
    })?;
    to.rest(spec.input.bytes());
    Ok(())
}

/// `worker` is shared if it is the one that is named, so that the works of one lane do not each bring a copy of its name.
pub(crate) fn read_spec(codec: u8, worker: Option<&Arc<str>>, from: &mut Reader<'_>) -> Decoded<WorkSpec> {
    let name = from.text()?;
    let worker = worker.filter(|worker| ***worker == *name).map_or_else(|| Arc::from(name), Arc::clone);
    let tags = from.list(Reader::shared_text)?;
    let name = from.option(Reader::shared_text)?;
    let constraints = Constraints::read(from)?;
    let shape = match from.byte()? {
        0 => InputShape::Nothing,
        1 => InputShape::One,
        2 => InputShape::List,
        3 => InputShape::Tuple,
        4 => InputShape::Merged(InputMerger::Overwriting),
        5 => InputShape::Merged(InputMerger::ArrayCreating),
        byte => return Err(CodecError::Unknown("input shape", byte)),
    };
    let prerequisites = Prerequisites { shape, ids: from.list(Reader::id)? };
    let trace_tag = from.since(2, None, |from| from.option(Reader::shared_text))?;
    let input = Payload::new(Codec::from_code(codec), from.rest());
    Ok(WorkSpec { worker, input, tags, name, constraints, prerequisites, trace_tag })
}

impl Body for Standing {
    fn write(&self, to: &mut Writer) -> Encoded {
        match self {
            Standing::Blocked => to.byte(1),
            Standing::Waiting { due } => {
                to.byte(2);
                to.time(*due);
            }
            Standing::Ready { since } => {
                to.byte(3);
                to.time(*since);
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
        Ok(match from.byte()? {
            1 => Standing::Blocked,
            2 => Standing::Waiting { due: from.time()? },
            3 => Standing::Ready { since: from.time()? },
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
            byte => return Err(CodecError::Unknown("standing", byte)),
        })
    }
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
        Ok(Period {
            count: from.u64()?,
            due: from.time()?,
            anchor: from.time()?,
            next_run: from.since(2, None, |from| from.option(Reader::time))?,
        })
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

impl Body for RowsPresent {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.bits([self.output, self.notes, self.history, self.dependents]);
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let [output, notes, history, dependents] = from.bits("row")?;
        Ok(RowsPresent { output, notes, history, dependents })
    }
}

impl Body for Constraints {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.byte(match self.network_type() {
            NetworkType::NotRequired => 0,
            NetworkType::Connected => 1,
            NetworkType::Unmetered => 2,
            NetworkType::NotRoaming => 3,
            NetworkType::Metered => 4,
            NetworkType::TemporarilyUnmetered => 5,
        });
        to.bits([
            self.requires(ConstraintKind::Charging),
            self.requires(ConstraintKind::BatteryNotLow),
            self.requires(ConstraintKind::StorageNotLow),
            self.requires(ConstraintKind::DeviceIdle),
        ]);
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let mut constraints = Constraints::new().network(match from.byte()? {
            0 => NetworkType::NotRequired,
            1 => NetworkType::Connected,
            2 => NetworkType::Unmetered,
            3 => NetworkType::NotRoaming,
            4 => NetworkType::Metered,
            5 => NetworkType::TemporarilyUnmetered,
            byte => return Err(CodecError::Unknown("network", byte)),
        });
        let [charging, battery_not_low, storage_not_low, device_idle] = from.bits("constraint")?;
        if charging {
            constraints = constraints.requires_charging();
        }
        if battery_not_low {
            constraints = constraints.requires_battery_not_low();
        }
        if storage_not_low {
            constraints = constraints.requires_storage_not_low();
        }
        if device_idle {
            constraints = constraints.requires_device_idle();
        }
        Ok(constraints)
    }
}
