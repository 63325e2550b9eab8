//! An object keyed by name: how the arguments of a work are stored, one by one, behind the codec seam.
//!
//! Each value is encoded and decoded for itself, so that an argument that is new, renamed or gone leaves the others readable.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::strict::Position;
use super::{Codec, DecodeError, EncodeError, Payload, Scratch, read_back, strict};

/// Writes an object, value by value.
pub(crate) struct ObjectWriter {
    bytes: Scratch,
}

impl ObjectWriter {
    /// An object without values.
    pub(crate) fn new() -> Self {
        ObjectWriter { bytes: Scratch::take() }
    }

    /// Adds a value under a name that was not used before. A value that is refused leaves nothing of itself.
    pub(crate) fn add<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), EncodeError> {
        let start = self.bytes.len();
        let added = self.append(name, value);
        if added.is_err() {
            self.bytes.truncate(start);
        }
        added
    }

    fn append<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), EncodeError> {
        let separator = if self.bytes.is_empty() { b'{' } else { b',' };
        self.bytes.push(separator);
        strict::write(&mut self.bytes, name, Position::Alone)?;
        self.bytes.push(b':');
        strict::write(&mut self.bytes, value, Position::InObject)
    }

    /// The object.
    pub(crate) fn finish(mut self) -> Payload {
        if self.bytes.is_empty() {
            self.bytes.push(b'{');
        }
        self.bytes.push(b'}');
        Payload::new(Codec::JSON, &**self.bytes)
    }
}

/// Reads an object, value by value. Names that nobody asks for are ignored.
pub(crate) struct ObjectReader<'a> {
    values: BTreeMap<String, &'a RawValue>,
}

impl<'a> ObjectReader<'a> {
    /// Finds the names.
    pub(crate) fn read(payload: &'a Payload) -> Result<Self, DecodeError> {
        match payload.codec() {
            Codec::JSON => {
                serde_json::from_slice(payload.bytes()).map(|values| ObjectReader { values }).map_err(|error| {
                    DecodeError::new(format!("no object keyed by argument name: {}", DecodeError::of(&error)))
                })
            }
            other => Err(DecodeError::new(format!("codec {} is unknown to this build", other.code()))),
        }
    }

    /// Whether there is a value of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The value of this name, if there is one.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, DecodeError> {
        let Some(raw) = self.values.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|error| DecodeError::of(&error))
    }

    /// Refuses a value of this name that was written as such a one and is not read as it.
    pub(crate) fn read_back<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<(), EncodeError> {
        self.values.get(name).map_or(Ok(()), |raw| read_back::check::<T>(raw.get().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_by_name_whatever_lies_beside_them() {
        let mut writer = ObjectWriter::new();
        writer.add("a\"b", &1_u8).unwrap();
        writer.add("wide", &u128::MAX).unwrap();
        let payload = writer.finish();
        assert_eq!(payload.bytes(), br#"{"a\"b":1,"wide":340282366920938463463374607431768211455}"#);
        let reader = ObjectReader::read(&payload).unwrap();
        assert_eq!(reader.get("wide"), Ok(Some(u128::MAX)));
        assert_eq!(reader.get("a\"b"), Ok(Some(1_u8)));
        assert_eq!(reader.get::<u8>("gone"), Ok(None));
    }

    #[test]
    fn a_value_that_is_refused_leaves_the_others_as_they_are() {
        let mut writer = ObjectWriter::new();
        assert!(writer.add("first", &f32::NAN).is_err());
        writer.add("a", &1_u8).unwrap();
        assert!(writer.add("b", &f32::NAN).is_err());
        writer.add("c", &2_u8).unwrap();
        assert_eq!(writer.finish().bytes(), br#"{"a":1,"c":2}"#);
    }

    #[test]
    fn no_value_is_an_empty_object() {
        assert_eq!(ObjectWriter::new().finish().bytes(), b"{}");
    }

    #[test]
    fn what_is_no_object_or_in_an_unknown_codec_is_an_error() {
        assert!(ObjectReader::read(&Payload::new(Codec::JSON, *b"[]")).is_err());
        assert!(ObjectReader::read(&Payload::new(Codec::from_code(9), *b"{}")).is_err());
    }
}
