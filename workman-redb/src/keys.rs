//! Index entries as bytes that sort as [`IndexKey`] does within their table, and the keys of works' rows.
//!
//! Numbers are big-endian; times have their sign bit flipped; a text has each zero byte followed by 255, and ends with two
//! zero bytes, so that a text sorts before all that it begins.

use std::sync::Arc;

use workman_core::store::{Due, GateId, IndexKey, LaneId};
use workman_core::{Timestamp, WorkId};

/// The bytes of every entry that has no text in it: its kind, its fields, and zeros behind the shorter ones.
pub(crate) const ENTRY: usize = 33;

/// The bytes of an entry, by the table in which it lies: keys of one length are half the work for redb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Where a work stands, or an edge.
    Entry([u8; ENTRY]),
    /// A name or a tag, where a work stands among the members of its name, and what lies at gates.
    Label(Vec<u8>),
}

impl Key {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Key::Entry(bytes) => bytes,
            Key::Label(bytes) => bytes,
        }
    }
}

/// The bytes of an entry.
pub(crate) fn encode(key: &IndexKey) -> Key {
    match key {
        IndexKey::Blocked { seq, id } => entry(0, &[&seq.to_be_bytes(), &bits(*id)]),
        IndexKey::Waiting { due: Due::Store(due), turn, id } => {
            entry(1, &[&time(*due), &turn.to_be_bytes(), &bits(*id)])
        }
        IndexKey::Waiting { due: Due::Wall(due), turn, id } => {
            entry(2, &[&time(*due), &turn.to_be_bytes(), &bits(*id)])
        }
        IndexKey::Ready { lane, suspect, rank, turn, id } => {
            let flags = [u8::from(*suspect), *rank];
            entry(3, &[&lane.0.to_be_bytes(), &flags, &turn.to_be_bytes(), &bits(*id)])
        }
        IndexKey::Parked { lane, seq, id } => entry(4, &[&lane.0.to_be_bytes(), &seq.to_be_bytes(), &bits(*id)]),
        IndexKey::Running { epoch, id } => entry(5, &[&epoch.to_be_bytes(), &bits(*id)]),
        IndexKey::Finished { until, seq, id } => entry(6, &[&time(*until), &seq.to_be_bytes(), &bits(*id)]),
        IndexKey::Name { name, seq, id } => label(7, name, &[&seq.to_be_bytes(), &bits(*id)]),
        IndexKey::Tag { tag, id, seq } => label(8, tag, &[&bits(*id), &seq.to_be_bytes()]),
        IndexKey::Dependent { of, id } => entry(9, &[&bits(*of), &bits(*id)]),
        IndexKey::Leaf { name, seq, id } => label(10, name, &[&seq.to_be_bytes(), &bits(*id)]),
        IndexKey::Unfinished { name, unblocked, seq, id } => {
            label(11, name, &[&[u8::from(*unblocked)], &seq.to_be_bytes(), &bits(*id)])
        }
        IndexKey::Held { gate, lane, suspect, rank, turn, id } => {
            let flags = [u8::from(*suspect), *rank];
            at_gate(12, &[&gate.0.to_be_bytes(), &lane.0.to_be_bytes(), &flags, &turn.to_be_bytes(), &bits(*id)])
        }
        IndexKey::Serial { gate, seq, id } => at_gate(13, &[&gate.0.to_be_bytes(), &seq.to_be_bytes(), &bits(*id)]),
        IndexKey::Opens { due, gate } => {
            let wall = [u8::from(matches!(due, Due::Wall(_)))];
            at_gate(14, &[&wall, &time(due.at()), &gate.0.to_be_bytes()])
        }
    }
}

/// The entry with these bytes; `None` if there is none.
pub(crate) fn decode(bytes: &[u8; ENTRY]) -> Option<IndexKey> {
    let mut from = &bytes[..];
    let key = take_key(&mut from)?;
    (!is_label(&key) && from.iter().all(|byte| *byte == 0)).then_some(key)
}

/// The name, the tag or the membership with these bytes; `None` if there is none.
pub(crate) fn decode_label(mut bytes: &[u8]) -> Option<IndexKey> {
    let key = take_key(&mut bytes)?;
    (is_label(&key) && bytes.is_empty()).then_some(key)
}

fn is_label(key: &IndexKey) -> bool {
    use IndexKey::{Held, Leaf, Name, Opens, Serial, Tag, Unfinished};
    matches!(
        key,
        Name { .. } | Tag { .. } | Leaf { .. } | Unfinished { .. } | Held { .. } | Serial { .. } | Opens { .. }
    )
}

fn take_key(from: &mut &[u8]) -> Option<IndexKey> {
    Some(match take::<1>(from)? {
        [0] => IndexKey::Blocked { seq: take_u64(from)?, id: take_id(from)? },
        [1] => IndexKey::Waiting { due: Due::Store(take_time(from)?), turn: take_u64(from)?, id: take_id(from)? },
        [2] => IndexKey::Waiting { due: Due::Wall(take_time(from)?), turn: take_u64(from)?, id: take_id(from)? },
        [3] => IndexKey::Ready {
            lane: take_lane(from)?,
            suspect: take_bool(from)?,
            rank: take::<1>(from)?[0],
            turn: take_u64(from)?,
            id: take_id(from)?,
        },
        [4] => IndexKey::Parked { lane: take_lane(from)?, seq: take_u64(from)?, id: take_id(from)? },
        [5] => IndexKey::Running { epoch: take_u64(from)?, id: take_id(from)? },
        [6] => IndexKey::Finished { until: take_time(from)?, seq: take_u64(from)?, id: take_id(from)? },
        [7] => IndexKey::Name { name: take_text(from)?, seq: take_u64(from)?, id: take_id(from)? },
        [8] => IndexKey::Tag { tag: take_text(from)?, id: take_id(from)?, seq: take_u64(from)? },
        [9] => IndexKey::Dependent { of: take_id(from)?, id: take_id(from)? },
        [10] => IndexKey::Leaf { name: take_text(from)?, seq: take_u64(from)?, id: take_id(from)? },
        [11] => IndexKey::Unfinished {
            name: take_text(from)?,
            unblocked: take_bool(from)?,
            seq: take_u64(from)?,
            id: take_id(from)?,
        },
        [12] => IndexKey::Held {
            gate: take_gate(from)?,
            lane: take_lane(from)?,
            suspect: take_bool(from)?,
            rank: take::<1>(from)?[0],
            turn: take_u64(from)?,
            id: take_id(from)?,
        },
        [13] => IndexKey::Serial { gate: take_gate(from)?, seq: take_u64(from)?, id: take_id(from)? },
        [14] => {
            let is_of_the_wall = take_bool(from)?;
            let at = take_time(from)?;
            let due = if is_of_the_wall { Due::Wall(at) } else { Due::Store(at) };
            IndexKey::Opens { due, gate: take_gate(from)? }
        }
        _ => return None,
    })
}

/// The key of a work's rows.
pub(crate) fn bits(id: WorkId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

fn entry(kind: u8, fields: &[&[u8]]) -> Key {
    let mut bytes = [0; ENTRY];
    bytes[0] = kind;
    let mut end = 1;
    for field in fields {
        bytes[end..end + field.len()].copy_from_slice(field);
        end += field.len();
    }
    Key::Entry(bytes)
}

fn label(kind: u8, text: &str, fields: &[&[u8]]) -> Key {
    // One more for a zero byte in the text costs no more than growing.
    let mut bytes = Vec::with_capacity(text.len() + 29);
    bytes.push(kind);
    put_text(&mut bytes, text);
    fields.iter().for_each(|field| bytes.extend_from_slice(field));
    Key::Label(bytes)
}

/// Longer than an entry without a text, so it lies with the labels.
fn at_gate(kind: u8, fields: &[&[u8]]) -> Key {
    Key::Label([&[kind][..], &fields.concat()].concat())
}

const SIGN: u64 = 1 << 63;

fn time(at: Timestamp) -> [u8; 8] {
    (at.as_millis().cast_unsigned() ^ SIGN).to_be_bytes()
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    for part in text.split_inclusive('\0') {
        to.extend_from_slice(part.as_bytes());
        if part.ends_with('\0') {
            to.push(0xff);
        }
    }
    to.extend_from_slice(&[0, 0]);
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*first)
}

fn take_bool(from: &mut &[u8]) -> Option<bool> {
    match take::<1>(from)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

fn take_u64(from: &mut &[u8]) -> Option<u64> {
    take(from).map(u64::from_be_bytes)
}

fn take_lane(from: &mut &[u8]) -> Option<LaneId> {
    take(from).map(|bytes| LaneId(u32::from_be_bytes(bytes)))
}

fn take_id(from: &mut &[u8]) -> Option<WorkId> {
    take(from).map(|bytes| WorkId::from_u128(u128::from_be_bytes(bytes)))
}

fn take_gate(from: &mut &[u8]) -> Option<GateId> {
    take(from).map(|bytes| GateId(u128::from_be_bytes(bytes)))
}

fn take_time(from: &mut &[u8]) -> Option<Timestamp> {
    take_u64(from).map(|bits| Timestamp::from_millis((bits ^ SIGN).cast_signed()))
}

fn take_text(from: &mut &[u8]) -> Option<Arc<str>> {
    let mut text = Vec::new();
    loop {
        match take::<1>(from)? {
            [0] => match take::<1>(from)? {
                [0] => return String::from_utf8(text).ok().map(Arc::from),
                [0xff] => text.push(0),
                _ => return None,
            },
            [byte] => text.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Random;

    fn decoded(key: &Key) -> Option<IndexKey> {
        match key {
            Key::Entry(bytes) => decode(bytes),
            Key::Label(bytes) => decode_label(bytes),
        }
    }

    #[test]
    fn bytes_sort_as_the_keys_of_their_table_do_and_come_back() {
        let mut random = Random::new(0x1dec_5eed);
        let keys: Vec<IndexKey> = (0..400).map(|_| random.index_key()).collect();
        let encoded: Vec<Key> = keys.iter().map(encode).collect();
        for (a, a_key) in keys.iter().zip(&encoded) {
            assert_eq!(decoded(a_key).as_ref(), Some(a));
            for (b, b_key) in keys.iter().zip(&encoded) {
                let same_table = matches!(a_key, Key::Entry(_)) == matches!(b_key, Key::Entry(_));
                if same_table {
                    assert_eq!(a.cmp(b), a_key.bytes().cmp(b_key.bytes()), "{a:?} and {b:?} ({})", random.seed());
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_entry_are_refused() {
        let mut random = Random::new(0xbad);
        for _ in 0..200 {
            match encode(&random.index_key()) {
                Key::Label(bytes) => {
                    for length in 0..bytes.len() {
                        assert_eq!(decode_label(&bytes[..length]), None, "{}", random.seed());
                    }
                    assert_eq!(decode_label(&[&bytes[..], &[0]].concat()), None, "{}", random.seed());
                }
                Key::Entry(mut bytes) => {
                    assert_eq!(decode_label(&bytes), None, "{}", random.seed());
                    let kind = bytes[0];
                    for other in [7, 8, 10, 11, 12, 13, 255] {
                        bytes[0] = other;
                        assert_eq!(decode(&bytes), None, "{}", random.seed());
                    }
                    bytes[0] = kind;
                    if !matches!(kind, 9 | 1 | 2 | 6) {
                        bytes[ENTRY - 1] = 1;
                        assert_eq!(decode(&bytes), None, "{}", random.seed());
                    }
                }
            }
        }
    }
}
