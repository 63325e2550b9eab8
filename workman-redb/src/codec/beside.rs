//! The bodies of the rows that lie beside the records: notes, attempts, lanes, cascades, and the store's own rows.

use std::hash::{BuildHasher, RandomState};

use workman_core::store::{Cascade, CascadeVerb, Codec, GateMeta, Lane, LaneId, Meta, Notes, RunTime, Tally, Urgency};
use workman_core::{AttemptEnd, AttemptRecord, Constraints, ErrorText, Payload, StopReason, WorkId};

use super::{Body, CodecError, Decoded, Encoded, Reader, Writer};

/// A lane without its number, which is the key.
pub(crate) fn write_lane(lane: &Lane, to: &mut Writer) -> Encoded {
    to.text(&lane.worker);
    lane.constraints.write(to)?;
    lane.urgency.write(to)
}

pub(crate) fn read_lane(id: LaneId, from: &mut Reader<'_>) -> Decoded<Lane> {
    Ok(Lane { id, worker: from.shared_text()?, constraints: Constraints::read(from)?, urgency: Urgency::read(from)? })
}

/// A cascade without its number, which is the key.
pub(crate) fn write_cascade(cascade: &Cascade, to: &mut Writer) -> Encoded {
    to.byte(match cascade.verb {
        CascadeVerb::Release => 1,
        CascadeVerb::Fail => 2,
        CascadeVerb::Cancel => 3,
    });
    to.id(cascade.of);
    to.option(cascade.after.as_ref(), |to, id| {
        to.id(*id);
        Ok(())
    })?;
    to.option(cascade.born_before.as_ref(), |to, bound| {
        to.u64(*bound);
        Ok(())
    })?;
    to.option(cascade.because.as_ref(), |to, because| {
        to.text(because);
        Ok(())
    })
}

pub(crate) fn read_cascade(number: u64, from: &mut Reader<'_>) -> Decoded<Cascade> {
    let verb = match from.byte()? {
        1 => CascadeVerb::Release,
        2 => CascadeVerb::Fail,
        3 => CascadeVerb::Cancel,
        byte => return Err(CodecError::Unknown("cascade verb", byte)),
    };
    Ok(Cascade {
        number,
        verb,
        of: from.id()?,
        after: from.option(Reader::id)?,
        born_before: from.option(Reader::u64)?,
        because: from.option(Reader::shared_text)?,
    })
}

/// Its lane is in the key.
impl Body for Tally {
    fn write(&self, to: &mut Writer) -> Encoded {
        self.counts().into_iter().for_each(|count| to.u64(count));
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let mut counts = Tally::default().counts();
        for count in &mut counts {
            *count = from.u64()?;
        }
        Ok(Tally::from_counts(counts))
    }
}

impl Body for Payload {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.byte(self.codec().code());
        to.blob(self.bytes());
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Payload::new(Codec::from_code(from.byte()?), from.blob()?))
    }
}

impl Body for Notes {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.option(self.progress.as_ref(), |to, payload| payload.write(to))?;
        to.option(self.checkpoint.as_ref(), |to, payload| payload.write(to))
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Notes { progress: from.option(Payload::read)?, checkpoint: from.option(Payload::read)? })
    }
}

impl Body for Vec<AttemptRecord> {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.list(self, |to, attempt| attempt.write(to))
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        from.list(AttemptRecord::read)
    }
}

impl Body for AttemptRecord {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.u32(self.number);
        to.u64(self.fence);
        to.u32(self.generation);
        to.time(self.started);
        to.time(self.ended);
        match &self.end {
            AttemptEnd::Succeeded => to.byte(1),
            AttemptEnd::Failed { error } => {
                to.byte(2);
                error.write(to)?;
            }
            AttemptEnd::Snoozed => to.byte(3),
            AttemptEnd::Interrupted { reason } => {
                to.byte(4);
                reason.write(to)?;
            }
            AttemptEnd::Died => to.byte(5),
            _ => return Err(CodecError::Unstorable("this end of an attempt")),
        }
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(AttemptRecord {
            number: from.u32()?,
            fence: from.u64()?,
            generation: from.u32()?,
            started: from.time()?,
            ended: from.time()?,
            end: match from.byte()? {
                1 => AttemptEnd::Succeeded,
                2 => AttemptEnd::Failed { error: ErrorText::read(from)? },
                3 => AttemptEnd::Snoozed,
                4 => AttemptEnd::Interrupted { reason: StopReason::read(from)? },
                5 => AttemptEnd::Died,
                byte => return Err(CodecError::Unknown("end of an attempt", byte)),
            },
        })
    }
}

impl Body for ErrorText {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.text(&self.message);
        to.list(&self.sources, |to, source| {
            to.text(source);
            Ok(())
        })?;
        to.flag(self.panicked);
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let text = |from: &mut Reader<'_>| from.text().map(String::from);
        Ok(ErrorText { message: text(from)?, sources: from.list(text)?, panicked: from.flag()? })
    }
}

impl Body for Meta {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.u64(self.incarnation);
        to.u64(self.epochs_of);
        to.u64(self.open_epochs.len() as u64);
        for (epoch, until) in &self.open_epochs {
            to.u64(*epoch);
            to.time(*until);
        }
        to.u64(self.next_epoch);
        to.u64(self.next_seq);
        to.u32(self.next_lane);
        to.i64(self.clock_offset_ms);
        to.time(self.latest);
        to.u64(self.first_cascade);
        to.u64(self.next_cascade);
        to.u64(self.finished);
        to.option(self.last_cancel_all.as_ref(), |to, at| to.timed(*at))?;
        self.expedited.write(to)?;
        self.gates.write(to)
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Meta {
            incarnation: from.u64()?,
            epochs_of: from.u64()?,
            open_epochs: from.list(|from| Ok((from.u64()?, from.time()?)))?.into_iter().collect(),
            next_epoch: from.u64()?,
            next_seq: from.u64()?,
            next_lane: from.u32()?,
            clock_offset_ms: from.i64()?,
            latest: from.time()?,
            first_cascade: from.u64()?,
            next_cascade: from.u64()?,
            finished: from.u64()?,
            last_cancel_all: from.option(Reader::time)?,
            expedited: RunTime::read(from)?,
            gates: GateMeta::read(from)?,
        })
    }
}

impl Body for RunTime {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.u64(self.steps.len() as u64);
        for (start, used) in &self.steps {
            to.time(*start);
            to.duration(*used);
        }
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(RunTime { steps: from.list(|from| Ok((from.time()?, from.duration()?)))?.into_iter().collect() })
    }
}

/// The row that says what the file is. Its body never changes, whatever the format becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// The version of everything else in the file.
    pub(crate) version: u32,
    /// Made with the file, so that a reopened file is known to be the same.
    pub(crate) instance: WorkId,
}

impl Body for Format {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.u32(self.version);
        to.id(self.instance);
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Format { version: from.u32()?, instance: from.id()? })
    }
}

/// What a store's own row says of its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalRow {
    pub(crate) usage: Usage,
    /// That of the records which follow the checkpoint that wrote this.
    pub(crate) salt: Salt,
}

/// Whether commits may lie in the journal that the store does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    Idle,
    InUse,
}

/// Random, and new with each checkpoint: what lies in the file from before has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) [u8; 16]);

impl Salt {
    /// From the random numbers that the system gives to hash tables. Ids would not do: a test may repeat those.
    pub(crate) fn generate() -> Self {
        let half = || RandomState::new().hash_one(0_u8);
        Salt((u128::from(half()) << 64 | u128::from(half())).to_be_bytes())
    }
}

impl Body for JournalRow {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.flag(self.usage == Usage::InUse);
        to.rest(&self.salt.0);
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let usage = if from.flag()? { Usage::InUse } else { Usage::Idle };
        let salt = from.take(16)?.try_into().map_err(|_| CodecError::Short)?;
        Ok(JournalRow { usage, salt: Salt(salt) })
    }
}

/// The row that says who opened the store last. Its commit has no number, since it says nothing of works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// How often the store was opened.
    pub(crate) incarnation: u64,
    /// Made with each opening, so that two who count alike are told apart.
    pub(crate) id: WorkId,
}

impl Body for Opening {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.u64(self.incarnation);
        to.id(self.id);
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Opening { incarnation: from.u64()?, id: from.id()? })
    }
}
