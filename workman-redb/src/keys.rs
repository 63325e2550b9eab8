//! Index entries as bytes that sort exactly as [`IndexKey`] does, and rows' addresses.
//!
//! Numbers are big-endian; times have their sign bit flipped; a text has each zero byte followed by 255, and ends with two
//! zero bytes, so that a text sorts before all that it begins.

use std::sync::Arc;

use workman_core::id::WorkId;
use workman_core::record::LaneId;
use workman_core::store::index::IndexKey;
use workman_core::time::Timestamp;

/// The bytes of an entry.
pub(crate) fn encode(key: &IndexKey) -> Vec<u8> {
    let mut to = Vec::with_capacity(48);
    match key {
        IndexKey::Blocked { seq, id } => put(&mut to, 1, &[&seq.to_be_bytes(), &bits(*id)]),
        IndexKey::Waiting { due, turn, id } => {
            put(&mut to, 2, &[&time(*due), &turn.to_be_bytes(), &bits(*id)]);
        }
        IndexKey::Ready { lane, suspect, rank, turn, id } => {
            let flags = [u8::from(*suspect), *rank];
            put(&mut to, 3, &[&lane.0.to_be_bytes(), &flags, &turn.to_be_bytes(), &bits(*id)]);
        }
        IndexKey::Parked { lane, seq, id } => {
            put(&mut to, 4, &[&lane.0.to_be_bytes(), &seq.to_be_bytes(), &bits(*id)]);
        }
        IndexKey::Running { epoch, id } => put(&mut to, 5, &[&epoch.to_be_bytes(), &bits(*id)]),
        IndexKey::Finished { until, seq, id } => {
            put(&mut to, 6, &[&time(*until), &seq.to_be_bytes(), &bits(*id)]);
        }
        IndexKey::Name { name, seq, id } => put(&mut to, 7, &[&text(name), &seq.to_be_bytes(), &bits(*id)]),
        IndexKey::Tag { tag, seq, id } => put(&mut to, 8, &[&text(tag), &seq.to_be_bytes(), &bits(*id)]),
        IndexKey::Dependent { of, id } => put(&mut to, 9, &[&bits(*of), &bits(*id)]),
    }
    to
}

/// The entry with these bytes; `None` if there is none.
pub(crate) fn decode(bytes: &[u8]) -> Option<IndexKey> {
    let (kind, mut from) = bytes.split_first()?;
    let from = &mut from;
    let key = match kind {
        1 => IndexKey::Blocked { seq: take_u64(from)?, id: take_id(from)? },
        2 => IndexKey::Waiting { due: take_time(from)?, turn: take_u64(from)?, id: take_id(from)? },
        3 => IndexKey::Ready {
            lane: take_lane(from)?,
            suspect: match take::<1>(from)? {
                [0] => false,
                [1] => true,
                _ => return None,
            },
            rank: take::<1>(from)?[0],
            turn: take_u64(from)?,
            id: take_id(from)?,
        },
        4 => IndexKey::Parked { lane: take_lane(from)?, seq: take_u64(from)?, id: take_id(from)? },
        5 => IndexKey::Running { epoch: take_u64(from)?, id: take_id(from)? },
        6 => IndexKey::Finished { until: take_time(from)?, seq: take_u64(from)?, id: take_id(from)? },
        7 => IndexKey::Name { name: take_text(from)?, seq: take_u64(from)?, id: take_id(from)? },
        8 => IndexKey::Tag { tag: take_text(from)?, seq: take_u64(from)?, id: take_id(from)? },
        9 => IndexKey::Dependent { of: take_id(from)?, id: take_id(from)? },
        _ => return None,
    };
    from.is_empty().then_some(key)
}

/// The key of a work's rows.
pub(crate) fn bits(id: WorkId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

fn put(to: &mut Vec<u8>, kind: u8, fields: &[&[u8]]) {
    to.push(kind);
    fields.iter().for_each(|field| to.extend_from_slice(field));
}

const SIGN: u64 = 1 << 63;

fn time(at: Timestamp) -> [u8; 8] {
    (at.as_millis().cast_unsigned() ^ SIGN).to_be_bytes()
}

fn text(text: &str) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len() + 2);
    for byte in text.bytes() {
        escaped.push(byte);
        if byte == 0 {
            escaped.push(0xff);
        }
    }
    escaped.extend_from_slice(&[0, 0]);
    escaped
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*first)
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

    #[test]
    fn bytes_sort_as_the_keys_do_and_come_back() {
        let mut random = Random::new(0x1dec_5eed);
        let keys: Vec<IndexKey> = (0..400).map(|_| random.index_key()).collect();
        let encoded: Vec<Vec<u8>> = keys.iter().map(encode).collect();
        for (a, a_bytes) in keys.iter().zip(&encoded) {
            assert_eq!(decode(a_bytes).as_ref(), Some(a));
            for (b, b_bytes) in keys.iter().zip(&encoded) {
                assert_eq!(a.cmp(b), a_bytes.cmp(b_bytes), "{a:?} and {b:?} ({})", random.seed());
            }
        }
    }

    #[test]
    fn bytes_that_are_no_entry_are_refused() {
        let mut random = Random::new(0xbad);
        for _ in 0..200 {
            let bytes = encode(&random.index_key());
            for length in 0..bytes.len() {
                assert_eq!(decode(&bytes[..length]), None, "{}", random.seed());
            }
            assert_eq!(decode(&[&bytes[..], &[0]].concat()), None, "{}", random.seed());
        }
    }
}
