//! Where each row lies and what its bytes are: tables, keys and envelopes.

use std::sync::Arc;

use workman_core::store::{Codec, GateId, LaneId, WorkRecord, WorkSpec};
use workman_core::{Payload, WorkId};

use crate::codec::{self, Birth, CodecError, Reader};
use crate::envelope::{self, Damage, Kind};
use crate::keys;

/// The tables whose keys have many lengths or few rows, in the order in which [`NAMES`] names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableId {
    Meta,
    Notes,
    History,
    Lane,
    Cascade,
    Label,
    Gate,
}

impl TableId {
    /// In the order of [`NAMES`].
    pub(crate) const ALL: [TableId; NAMES.len()] = [
        TableId::Meta,
        TableId::Notes,
        TableId::History,
        TableId::Lane,
        TableId::Cascade,
        TableId::Label,
        TableId::Gate,
    ];
}

/// What these tables are called in the file.
pub(crate) const NAMES: [&str; 7] = ["meta", "notes", "history", "lane", "cascade", "label", "gate"];

/// The tables that have a row for nearly every work under its id, in the order in which [`WORK_NAMES`] names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkTableId {
    Work,
    State,
    Output,
}

impl WorkTableId {
    /// In the order of [`WORK_NAMES`].
    pub(crate) const ALL: [WorkTableId; WORK_NAMES.len()] =
        [WorkTableId::Work, WorkTableId::State, WorkTableId::Output];
}

/// What these tables are called in the file.
pub(crate) const WORK_NAMES: [&str; 3] = ["work", "state", "result"];

/// What the table of entries is called in the file.
pub(crate) const ENTRY_NAME: &str = "entry";

/// Of the table `meta`: what the file is.
pub(crate) const FORMAT_KEY: &[u8] = b"format";
/// Of the table `meta`: the store's own row.
pub(crate) const STORE_KEY: &[u8] = b"store";
/// Of the table `meta`: the number of the commit that wrote it.
pub(crate) const COMMIT_KEY: &[u8] = b"commit";

/// Of the table `meta`: what is wanted of gates.
pub(crate) const GATES_KEY: &[u8] = b"gates";

/// Of the table `meta`: how many works of a lane stand where, by the lane's number behind these. They lie where each commit writes
/// anyway, since a table more would be a page more for each.
pub(crate) const TALLY_KEY: &[u8] = b"tally";

/// Of the table `meta`: who opened the store last.
pub(crate) const OPENING_KEY: &[u8] = b"opening";

/// Of the table `meta`: what the store has to find in its journal.
pub(crate) const JOURNAL_KEY: &[u8] = b"journal";

/// Where a row lies that is neither a work nor an output.
pub(crate) struct Address {
    pub(crate) table: TableId,
    pub(crate) kind: Kind,
    bytes: [u8; 16],
    length: usize,
}

impl Address {
    fn new(table: TableId, kind: Kind, key: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes[..key.len()].copy_from_slice(key);
        Address { table, kind, bytes, length: key.len() }
    }

    pub(crate) fn notes(id: WorkId) -> Self {
        Self::new(TableId::Notes, Kind::Notes, &keys::bits(id))
    }

    pub(crate) fn history(id: WorkId) -> Self {
        Self::new(TableId::History, Kind::History, &keys::bits(id))
    }

    pub(crate) fn lane(id: LaneId) -> Self {
        Self::new(TableId::Lane, Kind::Lane, &id.0.to_be_bytes())
    }

    pub(crate) fn cascade(number: u64) -> Self {
        Self::new(TableId::Cascade, Kind::Cascade, &number.to_be_bytes())
    }

    pub(crate) fn gate(id: GateId) -> Self {
        Self::new(TableId::Gate, Kind::Gate, &id.0.to_be_bytes())
    }

    pub(crate) fn gate_settings() -> Self {
        Self::new(TableId::Meta, Kind::GateSettings, GATES_KEY)
    }

    pub(crate) fn tally(lane: LaneId) -> Self {
        let mut key = [0; TALLY_KEY.len() + 4];
        let (name, number) = key.split_at_mut(TALLY_KEY.len());
        name.copy_from_slice(TALLY_KEY);
        number.copy_from_slice(&lane.0.to_be_bytes());
        Self::new(TableId::Meta, Kind::Tally, &key)
    }

    pub(crate) fn meta() -> Self {
        Self::new(TableId::Meta, Kind::Meta, STORE_KEY)
    }

    /// The key in the table.
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The lane whose tally lies under this key of the table `meta`; none if it is another row's.
pub(crate) fn lane_of_tally(key: &[u8]) -> Option<LaneId> {
    let number = key.strip_prefix(TALLY_KEY)?.try_into().ok()?;
    Some(LaneId(u32::from_be_bytes(number)))
}

/// A work in its envelope: all of its record, and what its request said.
///
/// # Errors
/// When it holds what this build can't store.
pub(crate) fn seal_work(row: &mut Vec<u8>, record: &WorkRecord, spec: &WorkSpec) -> Result<(), CodecError> {
    envelope::seal(row, Kind::Work, &keys::bits(record.id), spec.input.codec().code(), |to| {
        codec::write_birth(record, to)?;
        codec::write_state(record, to)?;
        codec::write_spec(spec, to)
    })
}

/// What has changed of a record since its work was written.
///
/// # Errors
/// When it holds what this build can't store.
pub(crate) fn seal_state(row: &mut Vec<u8>, record: &WorkRecord) -> Result<(), CodecError> {
    envelope::seal(row, Kind::State, &keys::bits(record.id), 0, |to| codec::write_state(record, to))
}

/// An output in its envelope.
///
/// # Errors
/// When it is too long.
pub(crate) fn seal_output(row: &mut Vec<u8>, id: WorkId, output: &Payload) -> Result<(), CodecError> {
    envelope::seal(row, Kind::Output, &keys::bits(id), output.codec().code(), |to| {
        to.rest(output.bytes());
        Ok(())
    })
}

/// An output out of its envelope.
///
/// # Errors
/// When it is not what was written there.
pub(crate) fn open_output(id: WorkId, row: &[u8]) -> Result<Payload, Damage> {
    envelope::open(Kind::Output, &keys::bits(id), row, |codec, from| {
        Ok(Payload::new(Codec::from_code(codec), from.rest()))
    })
}

/// A work's two rows as they lie in the file: that of its birth, and what has changed since, if anything has.
#[derive(Clone, Copy)]
pub(crate) struct WorkRows<'a> {
    pub(crate) id: WorkId,
    pub(crate) work: &'a [u8],
    pub(crate) state: Option<&'a [u8]>,
}

impl WorkRows<'_> {
    /// The record.
    ///
    /// # Errors
    /// Which of the rows is not what was written there, and why.
    pub(crate) fn record(self) -> Result<WorkRecord, (WorkTableId, Damage)> {
        let of_work = |damage| (WorkTableId::Work, damage);
        let unsealed = envelope::unseal(Kind::Work, &keys::bits(self.id), self.work).map_err(of_work)?;
        let mut from = Reader::new(unsealed.body);
        let birth = codec::read_birth(self.id, &mut from).map_err(Damage::Body).map_err(of_work)?;
        match self.state {
            None => codec::read_state(birth, &mut from).map_err(Damage::Body).map_err(of_work),
            Some(state) => self.changed(birth, state),
        }
    }

    /// The record as it has become.
    fn changed(self, birth: Birth, state: &[u8]) -> Result<WorkRecord, (WorkTableId, Damage)> {
        envelope::open(Kind::State, &keys::bits(self.id), state, |_, from| codec::read_state(birth, from))
            .map_err(|damage| (WorkTableId::State, damage))
    }

    /// The record, and what the request said. `worker_of` gives the name of a lane's worker, if it is known.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub(crate) fn work<'l>(
        self,
        worker_of: impl FnOnce(LaneId) -> Option<&'l Arc<str>>,
    ) -> Result<(WorkRecord, WorkSpec), (WorkTableId, Damage)> {
        let born = envelope::open(Kind::Work, &keys::bits(self.id), self.work, |codec, from| {
            let record = codec::read_state(codec::read_birth(self.id, from)?, from)?;
            let spec = codec::read_spec(codec, worker_of(record.lane), from)?;
            Ok((record, spec))
        });
        let (born, spec) = born.map_err(|damage| (WorkTableId::Work, damage))?;
        let record = match self.state {
            None => born,
            Some(state) => self.changed(Birth::of(born), state)?,
        };
        Ok((record, spec))
    }
}

#[cfg(test)]
mod tests {
    use workman_core::store::{Meta, Notes, Tally};

    use super::*;
    use crate::codec::{
        Body, Writer, read_cascade, read_gate, read_lane, read_settings, write_cascade, write_gate, write_lane,
    };
    use crate::sample::Random;

    /// Reads a body and answers whether it is what was written.
    type Check = Box<dyn Fn(&mut Reader<'_>) -> Result<bool, CodecError>>;

    fn bodies(random: &mut Random) -> Vec<(Kind, Vec<u8>, Check)> {
        fn written(write: impl FnOnce(&mut Writer) -> Result<(), CodecError>) -> Vec<u8> {
            let mut to = Writer::default();
            write(&mut to).unwrap();
            to.into_bytes()
        }
        let (notes, history, meta) = (random.notes(), random.history(), random.meta());
        let (lane, cascade) = (random.lane(), random.cascade());
        let (gate, settings, tally) = (random.gate(), random.gate_settings(), random.tally());
        vec![
            (Kind::Notes, written(|to| notes.write(to)), Box::new(move |from| Ok(Notes::read(from)? == notes))),
            (Kind::History, written(|to| history.write(to)), Box::new(move |from| Ok(Vec::read(from)? == history))),
            (Kind::Meta, written(|to| meta.write(to)), Box::new(move |from| Ok(Meta::read(from)? == meta))),
            (
                Kind::Lane,
                written(|to| write_lane(&lane, to)),
                Box::new(move |from| Ok(read_lane(lane.id, from)? == lane)),
            ),
            (
                Kind::Cascade,
                written(|to| write_cascade(&cascade, to)),
                Box::new(move |from| Ok(read_cascade(cascade.number, from)? == cascade)),
            ),
            (
                Kind::Gate,
                written(|to| write_gate(&gate, to)),
                Box::new(move |from| Ok(read_gate(gate.id, from)? == gate)),
            ),
            (
                Kind::GateSettings,
                written(|to| settings.write(to)),
                Box::new(move |from| Ok(*read_settings(from)? == settings)),
            ),
            (Kind::Tally, written(|to| tally.write(to)), Box::new(move |from| Ok(Tally::read(from)? == tally))),
        ]
    }

    fn sealed_work(record: &WorkRecord, spec: &WorkSpec) -> Vec<u8> {
        let mut row = Vec::new();
        seal_work(&mut row, record, spec).unwrap();
        row
    }

    fn sealed_state(record: &WorkRecord) -> Vec<u8> {
        let mut row = Vec::new();
        seal_state(&mut row, record).unwrap();
        row
    }

    #[test]
    fn a_work_comes_back_as_it_was() {
        let mut random = Random::new(0x000c_0dec);
        for _ in 0..500 {
            let (record, spec, output) = (random.record(), random.spec(), random.payload());
            let (id, work) = (record.id, sealed_work(&record, &spec));
            let rows = WorkRows { id, work: &work, state: None };
            assert_eq!(rows.record(), Ok(record.clone()), "{}", random.seed());
            let worker = Arc::clone(&spec.worker);
            assert_eq!(rows.work(|_| Some(&worker)), Ok((record.clone(), spec.clone())), "{}", random.seed());
            let other = Arc::from("another");
            assert_eq!(rows.work(|_| Some(&other)), Ok((record, spec)), "{}", random.seed());
            let mut row = Vec::new();
            seal_output(&mut row, id, &output).unwrap();
            assert_eq!(open_output(id, &row), Ok(output), "{}", random.seed());
        }
    }

    #[test]
    fn what_has_changed_since_its_birth_hides_how_a_work_was_born() {
        let mut random = Random::new(0x57a7e);
        for _ in 0..500 {
            let (born, spec, changed) = (random.record(), random.spec(), random.record());
            let WorkRecord { id, seq, created, generation, terms, .. } = born.clone();
            let now = WorkRecord { id, seq, created, generation, terms, ..changed };
            let (work, state) = (sealed_work(&born, &spec), sealed_state(&now));
            let rows = WorkRows { id, work: &work, state: Some(&state) };
            assert_eq!(rows.record(), Ok(now.clone()), "{}", random.seed());
            assert_eq!(rows.work(|_| None), Ok((now, spec)), "{}", random.seed());
        }
    }

    #[test]
    fn every_other_row_comes_back_as_it_was() {
        let mut random = Random::new(0x00b0_d1e6);
        for _ in 0..300 {
            for (kind, body, read) in bodies(&mut random) {
                let mut row = Vec::new();
                let copy = |to: &mut Writer| {
                    to.rest(&body);
                    Ok(())
                };
                envelope::seal(&mut row, kind, b"key", 0, copy).unwrap();
                assert_eq!(envelope::open(kind, b"key", &row, |_, from| read(from)), Ok(true), "{}", random.seed());
            }
        }
    }

    /// A body that was cut or altered before it was sealed is refused, or is another value; it never panics.
    #[test]
    fn bodies_that_mean_nothing_are_refused_without_a_panic() {
        let mut random = Random::new(0x00b0_d1e5);
        let alter = |random: &mut Random, body: &mut Vec<u8>| {
            let place = random.below(body.len().max(1) as u64) as usize;
            match body.get_mut(place) {
                Some(byte) if random.flip() => *byte = random.next() as u8,
                _ => body.truncate(place),
            }
        };
        for _ in 0..300 {
            for (kind, mut body, read) in bodies(&mut random) {
                alter(&mut random, &mut body);
                let mut row = Vec::new();
                let copy = |to: &mut Writer| {
                    to.rest(&body);
                    Ok(())
                };
                envelope::seal(&mut row, kind, b"key", 0, copy).unwrap();
                if let Err(damage) = envelope::open(kind, b"key", &row, |_, from| read(from)) {
                    assert!(matches!(damage, Damage::Body(_)), "{damage} ({})", random.seed());
                }
            }
            let (record, spec) = (random.record(), random.spec());
            let id = record.id;
            let sealed = sealed_work(&record, &spec);
            let mut body = envelope::unseal(Kind::Work, &keys::bits(id), &sealed).unwrap().body.to_vec();
            alter(&mut random, &mut body);
            let mut row = Vec::new();
            let copy = |to: &mut Writer| {
                to.rest(&body);
                Ok(())
            };
            envelope::seal(&mut row, Kind::Work, &keys::bits(id), 1, copy).unwrap();
            let rows = WorkRows { id, work: &row, state: None };
            for refused in [rows.record().err(), rows.work(|_| None).err()].into_iter().flatten() {
                assert!(matches!(refused, (WorkTableId::Work, Damage::Body(_))), "{refused:?} ({})", random.seed());
            }
        }
    }

    #[test]
    fn a_plain_state_is_lean() {
        let mut random = Random::new(1);
        let mut record = random.record();
        (record.turn, record.fence, record.period, record.stop) = (100_000, 3, None, None);
        (record.failures, record.interruptions, record.deaths, record.open) = (0, 0, 0, 0);
        record.followers = None;
        let length = sealed_state(&record).len();
        assert!(length < 64, "{length} bytes");
    }
}
