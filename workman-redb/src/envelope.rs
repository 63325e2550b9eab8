//! The envelope around every row: what it is, in which version, how long, and a checksum that belongs to its key.
//!
//! redb does not look at its own checksums when it reads, so a flipped bit would come back as an answer. The checksum here
//! is looked at on every read, and a row that was copied to another key or table is as wrong as one with a flipped bit.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codec::{CodecError, Reader, Writer};

/// What a row is. The bytes are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Work = 1,
    State = 2,
    Output = 3,
    Notes = 4,
    History = 5,
    Lane = 6,
    Cascade = 7,
    Meta = 8,
    Commit = 9,
    Format = 10,
    /// Not in an envelope of its own; only seeds the checksum of index entries.
    Index = 11,
    Opening = 12,
    Journal = 13,
    Gate = 14,
    GateSettings = 15,
    Tally = 16,
}

/// The version in which bodies are written, and the newest that is read.
const VERSION: u8 = 1;

/// Kind, version, flags, codec, length.
const HEADER: usize = 8;
const CHECKSUM: usize = 8;

/// Why a row can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// It is not what was written.
    Checksum,
    /// It was written by a newer version of this crate.
    Newer(u8),
    /// It is what was written, and means nothing.
    Body(CodecError),
    /// It is not there, and must be.
    Missing,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Checksum => f.write_str("its checksum does not match its content"),
            Damage::Newer(version) => write!(f, "it has version {version}, and this build reads up to {VERSION}"),
            Damage::Body(error) => error.fmt(f),
            Damage::Missing => f.write_str("it is missing, though another row vouches for it"),
        }
    }
}

/// Puts a body into its envelope, behind what `rows` holds already.
///
/// # Errors
/// When the value can't be stored.
pub(crate) fn seal(
    rows: &mut Vec<u8>,
    kind: Kind,
    key: &[u8],
    codec: u8,
    body: impl FnOnce(&mut Writer) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let begin = rows.len();
    rows.extend_from_slice(&[kind as u8, VERSION, 0, codec, 0, 0, 0, 0]);
    let mut writer = Writer::behind(std::mem::take(rows));
    let written = body(&mut writer);
    *rows = writer.into_bytes();
    written?;
    let row = &mut rows[begin..];
    let length = u32::try_from(row.len() - HEADER).map_err(|_| CodecError::Range("a row"))?;
    row[4..HEADER].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(kind, key, row);
    rows.extend_from_slice(&sum.to_le_bytes());
    Ok(())
}

/// Takes a body out of its envelope.
///
/// # Errors
/// When the row is not what was written under this key, or is newer than this build.
pub(crate) fn unseal<'a>(kind: Kind, key: &[u8], row: &'a [u8]) -> Result<Unsealed<'a>, Damage> {
    let (sealed, sum) = row.split_last_chunk::<CHECKSUM>().ok_or(Damage::Checksum)?;
    let ([stored_kind, version, flags, codec, length @ ..], body) =
        sealed.split_first_chunk::<HEADER>().ok_or(Damage::Checksum)?;
    if u64::from_le_bytes(*sum) != checksum(kind, key, sealed) {
        return Err(Damage::Checksum);
    }
    if *version > VERSION || *flags != 0 {
        return Err(Damage::Newer((*version).max(VERSION + 1)));
    }
    if *stored_kind != kind as u8 || u32::from_le_bytes(*length) as usize != body.len() {
        return Err(Damage::Checksum);
    }
    Ok(Unsealed { codec: *codec, body })
}

/// A body out of its envelope.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsealed<'a> {
    /// That of the payload that ends it.
    pub(crate) codec: u8,
    pub(crate) body: &'a [u8],
}

/// Reads a body that must fill its envelope.
///
/// # Errors
/// As [`unseal`], and when the body means nothing.
pub(crate) fn open<T>(
    kind: Kind,
    key: &[u8],
    row: &[u8],
    read: impl FnOnce(u8, &mut Reader<'_>) -> Result<T, CodecError>,
) -> Result<T, Damage> {
    let Unsealed { codec, body } = unseal(kind, key, row)?;
    let mut reader = Reader::new(body);
    let value = read(codec, &mut reader).map_err(Damage::Body)?;
    reader.end().map_err(Damage::Body)?;
    Ok(value)
}

/// The short checksum that an index entry carries as its value.
pub(crate) fn entry_sum(key: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = checksum(Kind::Index, key, &[]).to_le_bytes();
    [a, b, c, d]
}

fn checksum(kind: Kind, key: &[u8], sealed: &[u8]) -> u64 {
    xxh3_64_with_seed(sealed, xxh3_64_with_seed(key, kind as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Vec<u8> {
        let mut row = Vec::new();
        let body = |to: &mut Writer| {
            to.rest(b"body");
            Ok(())
        };
        seal(&mut row, Kind::Output, b"key", 7, body).unwrap();
        row
    }

    #[test]
    fn a_row_comes_back_under_its_own_key_and_kind_only() {
        let row = sealed();
        assert_eq!(unseal(Kind::Output, b"key", &row), Ok(Unsealed { codec: 7, body: &b"body"[..] }));
        assert_eq!(unseal(Kind::Output, b"kez", &row), Err(Damage::Checksum));
        assert_eq!(unseal(Kind::Notes, b"key", &row), Err(Damage::Checksum));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let row = sealed();
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(Kind::Output, b"key", &flipped).is_err(), "bit {bit}");
        }
        for length in 0..row.len() {
            assert!(unseal(Kind::Output, b"key", &row[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_newer_row_says_so() {
        let mut row = sealed();
        row.truncate(row.len() - CHECKSUM);
        row[1] = 9;
        row.extend_from_slice(&checksum(Kind::Output, b"key", &row).to_le_bytes());
        assert_eq!(unseal(Kind::Output, b"key", &row), Err(Damage::Newer(9)));
    }
}
