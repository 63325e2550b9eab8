//! Numbers, texts, lists and options as bytes.

use std::sync::Arc;
use std::time::Duration;

use workman_core::{Timestamp, WorkId};

use super::{CodecError, Decoded, Encoded};

/// A value with bytes of its own.
pub(crate) trait Body: Sized {
    fn write(&self, to: &mut Writer) -> Encoded;
    fn read(from: &mut Reader<'_>) -> Decoded<Self>;
}

/// Puts values one after the other.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Goes on behind `bytes`.
    pub(crate) fn behind(bytes: Vec<u8>) -> Self {
        Writer { bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Base 128, low digits first; the top bit says that more follow.
    pub(crate) fn u64(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.u64(u64::from(number));
    }

    /// Zigzag, so that small negative numbers are small too.
    pub(crate) fn i64(&mut self, number: i64) {
        self.u64(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    pub(crate) fn time(&mut self, at: Timestamp) {
        self.i64(at.as_millis());
    }

    pub(crate) fn timed(&mut self, at: Timestamp) -> Encoded {
        self.time(at);
        Ok(())
    }

    pub(crate) fn duration(&mut self, length: Duration) {
        self.u64(length.as_secs());
        self.u32(length.subsec_nanos());
    }

    pub(crate) fn id(&mut self, id: WorkId) {
        self.rest(&id.as_u128().to_be_bytes());
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    /// The first in the lowest bit.
    pub(crate) fn bits<const N: usize>(&mut self, bits: [bool; N]) {
        self.byte(bits.into_iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(bit)));
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.rest(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.blob(text.as_bytes());
    }

    /// Bytes without their length: they end with the row, or their length is fixed.
    pub(crate) fn rest(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T) -> Encoded) -> Encoded {
        self.flag(value.is_some());
        value.map_or(Ok(()), |value| write(self, value))
    }

    pub(crate) fn list<T>(&mut self, list: &[T], mut write: impl FnMut(&mut Self, &T) -> Encoded) -> Encoded {
        self.u64(list.len() as u64);
        list.iter().try_for_each(|item| write(self, item))
    }
}

/// Takes values one after the other, and trusts no length.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a body.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Decoded<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(CodecError::Long) }
    }

    pub(crate) fn byte(&mut self) -> Decoded<u8> {
        let (first, rest) = self.bytes.split_first().ok_or(CodecError::Short)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(crate) fn u64(&mut self) -> Decoded<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let digit = u64::from(byte & 0x7f);
            if shift == 63 && digit > 1 {
                break;
            }
            number |= digit << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(CodecError::Range("64 bits"))
    }

    pub(crate) fn u32(&mut self) -> Decoded<u32> {
        u32::try_from(self.u64()?).map_err(|_| CodecError::Range("32 bits"))
    }

    pub(crate) fn i64(&mut self) -> Decoded<i64> {
        let number = self.u64()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(crate) fn time(&mut self) -> Decoded<Timestamp> {
        self.i64().map(Timestamp::from_millis)
    }

    pub(crate) fn duration(&mut self) -> Decoded<Duration> {
        let (seconds, nanos) = (self.u64()?, self.u32()?);
        if nanos >= 1_000_000_000 {
            return Err(CodecError::Range("nanoseconds"));
        }
        Ok(Duration::new(seconds, nanos))
    }

    pub(crate) fn id(&mut self) -> Decoded<WorkId> {
        let (bits, rest) = self.bytes.split_first_chunk().ok_or(CodecError::Short)?;
        self.bytes = rest;
        Ok(WorkId::from_u128(u128::from_be_bytes(*bits)))
    }

    pub(crate) fn flag(&mut self) -> Decoded<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            byte => Err(CodecError::Unknown("flag", byte)),
        }
    }

    pub(crate) fn bits<const N: usize>(&mut self, what: &'static str) -> Decoded<[bool; N]> {
        let byte = self.byte()?;
        if u32::from(byte) >> N != 0 {
            return Err(CodecError::Unknown(what, byte));
        }
        Ok(std::array::from_fn(|bit| byte >> bit & 1 == 1))
    }

    pub(crate) fn blob(&mut self) -> Decoded<&'a [u8]> {
        let length = usize::try_from(self.u64()?).map_err(|_| CodecError::Short)?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Decoded<&'a str> {
        std::str::from_utf8(self.blob()?).map_err(|_| CodecError::Text)
    }

    pub(crate) fn shared_text(&mut self) -> Decoded<Arc<str>> {
        self.text().map(Arc::from)
    }

    /// As many bytes.
    pub(crate) fn take(&mut self, length: usize) -> Decoded<&'a [u8]> {
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or(CodecError::Short)?;
        self.bytes = rest;
        Ok(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Decoded<T>) -> Decoded<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    /// Each item takes a byte at least, so a wrong length can't make us reserve more than the row is long.
    pub(crate) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Decoded<T>) -> Decoded<Vec<T>> {
        let length = usize::try_from(self.u64()?).map_err(|_| CodecError::Short)?;
        if length > self.bytes.len() {
            return Err(CodecError::Short);
        }
        (0..length).map(|_| read(self)).collect()
    }
}
