//! The bodies of rows: how each noun of the core lies in bytes, field by field, as `docs/format.md` says.
//!
//! Written by hand, because a format is a promise: every enum has explicit bytes, every body has a version, and a byte that
//! is not known is an error and never a guess. Integers are little-endian base 128, so that small ones are small. This
//! module knows no table, key or checksum.

mod beside;
mod bytes;
mod gate;
mod record;
mod spec;
mod terms;

use std::fmt;

pub(crate) use beside::{Format, JournalRow, Opening, Salt, Usage, read_cascade, read_lane, write_cascade, write_lane};
pub(crate) use bytes::{Body, Reader, Writer};
pub(crate) use gate::{read_gate, read_settings, write_gate};
pub(crate) use record::{Birth, read_birth, read_state, write_birth, write_state};
pub(crate) use spec::{read_spec, write_spec};

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
    /// Two rows that belong together say different things.
    Mismatch(&'static str),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Short => f.write_str("it ends too early"),
            CodecError::Long => f.write_str("it is longer than what it says"),
            CodecError::Unknown(what, byte) => write!(f, "the byte {byte} is no {what} that this build knows"),
            CodecError::Range(what) => write!(f, "a number is too large for {what}"),
            CodecError::Text => f.write_str("a text in it is not UTF-8"),
            CodecError::Mismatch(what) => write!(f, "it is of another {what} than the row that belongs to it"),
            CodecError::Unstorable(what) => write!(f, "this version of workman-redb can't store {what}"),
        }
    }
}

type Decoded<T> = Result<T, CodecError>;
type Encoded = Result<(), CodecError>;
