//! Where each row lies and what its bytes are: [`Row`] and [`RowKey`] on one side, tables, keys and envelopes on the other.

use std::sync::Arc;

use workman_core::data::{Codec, Payload};
use workman_core::record::{Meta, Notes};
use workman_core::store::embedded::{Row, RowKey};

use crate::codec::{self, Body, CodecError};
use crate::envelope::{self, Damage, Kind};
use crate::keys;

/// The tables of a file, in the order in which [`NAMES`] names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableId {
    Meta,
    Record,
    Spec,
    Output,
    Notes,
    History,
    Lane,
    Cascade,
    Index,
}

/// What the tables are called in the file.
pub(crate) const NAMES: [&str; 9] =
    ["meta", "record", "spec", "output", "notes", "history", "lane", "cascade", "index"];

/// Of the table `meta`: what the file is.
pub(crate) const FORMAT_KEY: &[u8] = b"format";
/// Of the table `meta`: the store's own row.
pub(crate) const STORE_KEY: &[u8] = b"store";
/// Of the table `meta`: the number of the commit that wrote it.
pub(crate) const COMMIT_KEY: &[u8] = b"commit";

/// Where a row lies.
pub(crate) struct Address {
    pub(crate) table: TableId,
    pub(crate) kind: Kind,
    bytes: [u8; 16],
    length: usize,
}

impl Address {
    pub(crate) fn of(key: RowKey) -> Self {
        match key {
            RowKey::Record(id) => Self::new(TableId::Record, Kind::Record, &keys::bits(id)),
            RowKey::Spec(id) => Self::new(TableId::Spec, Kind::Spec, &keys::bits(id)),
            RowKey::Output(id) => Self::new(TableId::Output, Kind::Output, &keys::bits(id)),
            RowKey::Notes(id) => Self::new(TableId::Notes, Kind::Notes, &keys::bits(id)),
            RowKey::History(id) => Self::new(TableId::History, Kind::History, &keys::bits(id)),
            RowKey::Lane(id) => Self::new(TableId::Lane, Kind::Lane, &id.0.to_be_bytes()),
            RowKey::Cascade(number) => Self::new(TableId::Cascade, Kind::Cascade, &number.to_be_bytes()),
            RowKey::Meta => Self::new(TableId::Meta, Kind::Meta, STORE_KEY),
        }
    }

    fn new(table: TableId, kind: Kind, key: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes[..key.len()].copy_from_slice(key);
        Address { table, kind, bytes, length: key.len() }
    }

    /// The key in the table.
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A row in its envelope.
///
/// # Errors
/// When it is of a kind that this build can't store.
pub(crate) fn encode(row: &Row, at: &Address) -> Result<Vec<u8>, CodecError> {
    let codec = match row {
        Row::Spec(_, spec) => spec.input.codec().code(),
        Row::Output(_, output) => output.codec().code(),
        _ => 0,
    };
    envelope::seal(at.kind, at.key(), codec, |to| match row {
        Row::Record(record) => codec::write_record(record, to),
        Row::Spec(_, spec) => codec::write_spec(spec, to),
        Row::Output(_, output) => {
            to.rest(output.bytes());
            Ok(())
        }
        Row::Notes(_, notes) => notes.write(to),
        Row::History(_, history) => history.write(to),
        Row::Lane(lane) => codec::write_lane(lane, to),
        Row::Cascade(cascade) => codec::write_cascade(cascade, to),
        Row::Meta(meta) => meta.write(to),
    })
}

/// The row that lies there.
///
/// # Errors
/// When it is not what was written there.
pub(crate) fn decode(key: RowKey, at: &Address, bytes: &[u8]) -> Result<Row, Damage> {
    envelope::open(at.kind, at.key(), bytes, |codec, from| {
        Ok(match key {
            RowKey::Record(id) => Row::Record(codec::read_record(id, from)?),
            RowKey::Spec(id) => Row::Spec(id, Arc::new(codec::read_spec(codec, from)?)),
            RowKey::Output(id) => Row::Output(id, Payload::new(Codec::from_code(codec), from.rest())),
            RowKey::Notes(id) => Row::Notes(id, Notes::read(from)?),
            RowKey::History(id) => Row::History(id, Vec::read(from)?),
            RowKey::Lane(id) => Row::Lane(codec::read_lane(id, from)?),
            RowKey::Cascade(number) => Row::Cascade(codec::read_cascade(number, from)?),
            RowKey::Meta => Row::Meta(Meta::read(from)?),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Random;

    fn rows(random: &mut Random) -> [Row; 8] {
        let id = random.id();
        [
            Row::Record(random.record()),
            Row::Spec(id, Arc::new(random.spec())),
            Row::Output(id, random.payload()),
            Row::Notes(id, random.notes()),
            Row::History(id, random.history()),
            Row::Lane(random.lane()),
            Row::Cascade(random.cascade()),
            Row::Meta(random.meta()),
        ]
    }

    #[test]
    fn every_row_comes_back_as_it_was() {
        let mut random = Random::new(0x000c_0dec);
        for _ in 0..500 {
            for row in rows(&mut random) {
                let at = Address::of(row.key());
                let bytes = encode(&row, &at).unwrap();
                assert_eq!(decode(row.key(), &at, &bytes), Ok(row), "{}", random.seed());
            }
        }
    }

    /// A body that was cut or altered before it was sealed is refused, or is another value; it never panics.
    #[test]
    fn bodies_that_mean_nothing_are_refused_without_a_panic() {
        let mut random = Random::new(0x00b0_d1e5);
        for _ in 0..300 {
            for row in rows(&mut random) {
                let at = Address::of(row.key());
                let bytes = encode(&row, &at).unwrap();
                let envelope::Unsealed { codec, body, .. } = envelope::unseal(at.kind, at.key(), &bytes).unwrap();
                let mut body = body.to_vec();
                if !body.is_empty() {
                    let place = random.below(body.len() as u64) as usize;
                    if random.flip() {
                        body.truncate(place);
                    } else {
                        body[place] = random.next() as u8;
                    }
                }
                let sealed = envelope::seal(at.kind, at.key(), codec, |to| {
                    to.rest(&body);
                    Ok(())
                });
                if let Err(damage) = decode(row.key(), &at, &sealed.unwrap()) {
                    assert!(matches!(damage, Damage::Body(_)), "{damage} ({})", random.seed());
                }
            }
        }
    }

    #[test]
    fn a_plain_record_is_lean() {
        let mut random = Random::new(1);
        let mut record = random.record();
        record.terms.backoff = Default::default();
        (record.seq, record.turn, record.fence) = (100_000, 100_000, 3);
        (record.failures, record.interruptions, record.deaths, record.open, record.generation) = (0, 0, 0, 0, 0);
        let row = Row::Record(record);
        let length = encode(&row, &Address::of(row.key())).unwrap().len();
        assert!(length < 160, "{length} bytes");
    }
}
