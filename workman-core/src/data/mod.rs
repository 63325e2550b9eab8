//! [`Payload`]: encoded inputs, outputs, progress and checkpoints, behind a codec seam.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::foreign::foreign;

pub(crate) mod merge;
pub(crate) mod object;
mod read_back;
mod strict;

/// How a payload's bytes are to be read. The code is stored beside the bytes, so that codecs can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Codec(u8);

impl Codec {
    /// JSON text, by `serde_json`.
    pub const JSON: Codec = Codec(1);

    /// No bytes, since whoever asked wanted none: see [`WorkQuery::without_payloads`](crate::query::WorkQuery::without_payloads).
    /// Nothing that is stored has this codec.
    pub const LEFT_OUT: Codec = Codec(0);

    /// The codec with this stored code, known to this build or not.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        Codec(code)
    }

    /// The code that is stored.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

/// Encoded bytes and how to read them. Cloning is cheap. `Debug` shows the size, never the content.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    codec: Codec,
    bytes: Arc<[u8]>,
}

/// How a payload is written by other serializers.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form<'a> {
    /// JSON, as text.
    Json(Cow<'a, str>),
    /// Anything else, and what was left out.
    Bytes { codec: u8, bytes: Cow<'a, [u8]> },
}

impl Serialize for Payload {
    /// The text of the JSON, or `codec` and `bytes` if it is another codec's.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(&self.bytes).ok().filter(|_| self.codec == Codec::JSON);
        let bytes = || Form::Bytes { codec: self.codec.code(), bytes: Cow::Borrowed(&self.bytes) };
        text.map_or_else(bytes, |text| Form::Json(Cow::Borrowed(text))).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Form::deserialize(deserializer)? {
            Form::Json(text) => Payload::new(Codec::JSON, text.as_bytes()),
            Form::Bytes { codec, bytes } => Payload::new(Codec::from_code(codec), &*bytes),
        })
    }
}

impl Payload {
    /// Bytes that are already encoded.
    pub fn new(codec: Codec, bytes: impl Into<Arc<[u8]>>) -> Self {
        Payload { codec, bytes: bytes.into() }
    }

    /// What stands for a payload in a snapshot that was read without.
    pub(crate) fn left_out() -> Self {
        static LEFT_OUT: LazyLock<Payload> = LazyLock::new(|| Payload::new(Codec::LEFT_OUT, []));
        LEFT_OUT.clone()
    }

    /// Whether a query left it out: it has no bytes here, and to decode it is an error that says so. What is stored is whole.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.codec == Codec::LEFT_OUT
    }

    /// Encodes a value as JSON. Every float that is finite comes back bit for bit, and so does every integer of up to 128 bits.
    ///
    /// # Errors
    /// [`EncodeError`] when the value would not decode again, as far as that shows while it is written: a float that is not finite,
    /// `Some` of nothing (`Some(None)`, `Some(())`), lists and objects that lie in each other more than 127 deep, a path that is
    /// not UTF-8, a map whose keys are no strings, numbers or the like, and what its own `Serialize` refuses, or panics on.
    ///
    /// # What does not show while it is written
    /// serde can write forms that it does not read. A worker's inputs, outputs and checkpoints are read back before they are stored:
    /// all of them in builds with debug assertions and under `TestDriver` and `TestWorker`; else the first eight of each worker in
    /// a process, and again eight after one that was refused. Here nothing is, since the type may be one that is only written.
    ///
    /// | form | instead |
    /// |---|---|
    /// | `u128`, `i128` in what is `untagged`, `flatten`ed or has a `tag` | text, by `serialize_with` and `deserialize_with` |
    /// | a `flatten`ed map whose keys are no strings | the map in a field of its own, or keys of text |
    /// | a `flatten`ed map with the key of a field, two fields renamed to one | other names |
    /// | `skip_serializing` alone | `skip`, or `default` with it |
    /// | `skip_deserializing` alone | `skip` |
    /// | an `untagged` variant that an earlier one takes (`f64` before `u64`) | the narrow one first, or a tag |
    /// | map keys that differ and are written alike | a list of pairs |
    /// | a `Deserialize` that mends what it reads (trims it, rounds it) | mending when the value is made |
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use serde::{Deserialize, Serialize};
    /// use workman_core::worker;
    /// use workman_testing::TestDriver;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Sales {
    ///     shop: String,
    ///     #[serde(flatten)]
    ///     by_year: BTreeMap<u32, u64>, // the keys become text, and behind `flatten` nobody makes numbers of them again
    /// }
    ///
    /// #[worker]
    /// fn count_years(sales: Sales) -> usize {
    ///     sales.by_year.len()
    /// }
    ///
    /// let sales = Sales { shop: "north".into(), by_year: BTreeMap::from([(2026, 7)]) };
    /// let refused = TestDriver::new().try_enqueue(count_years::request(sales)).unwrap_err().to_string();
    /// assert!(refused.contains("the argument `sales` of worker `count_years`"), "{refused}");
    /// ```
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let mut scratch = Scratch::take();
        strict::write(&mut scratch, value, strict::Position::Alone)?;
        Ok(Payload::new(Codec::JSON, &**scratch))
    }

    /// Refuses a payload that was encoded from such a value and does not decode to it.
    pub(crate) fn read_back<T: Serialize + DeserializeOwned>(&self) -> Result<(), EncodeError> {
        read_back::check::<T>(&self.bytes)
    }

    /// Decodes the value.
    ///
    /// JSON has one kind of number, and the type that is wanted says what fits it. An integer takes integers within its range and
    /// nothing else, not even `1.0`. A float takes every number within its range, and is the nearest one to it: an integer beyond
    /// 2^53 has no other `f64`, so what is to stay exact is taken as an integer.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no such value, the codec is unknown to this build, or a query left the payload out.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match self.codec {
            Codec::JSON => serde_json::from_slice(&self.bytes).map_err(|error| DecodeError::of(&error)),
            Codec::LEFT_OUT => {
                Err(DecodeError::new("it was read by a query `without_payloads()`, which leaves payloads out"))
            }
            other => Err(DecodeError::new(format!("codec {} is unknown to this build", other.code()))),
        }
    }

    /// How the bytes are to be read.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of encoded bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The thread's buffer to encode into: how large a value is, is known only afterwards, and most are small and one of many.
///
/// Whoever encodes while another buffer is in use on this thread gets a new one.
struct Scratch {
    bytes: Vec<u8>,
}

impl Scratch {
    /// A buffer that has grown beyond this is not kept.
    const KEPT: usize = 16 << 10;

    /// An empty buffer.
    fn take() -> Self {
        // A thread that is about to end has none any more.
        let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
        bytes.clear();
        Scratch { bytes }
    }
}

impl Deref for Scratch {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.bytes.capacity() <= Self::KEPT {
            let bytes = std::mem::take(&mut self.bytes);
            // A thread that is about to end keeps nothing.
            let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_left_out() {
            return f.write_str("Payload(left out)");
        }
        write!(f, "Payload(codec {}, {} bytes)", self.codec.code(), self.bytes.len())
    }
}

/// A value can't be encoded so that it would decode again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError {
    message: String,
}

impl EncodeError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        EncodeError { message: message.into() }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EncodeError {}

/// Bytes do not decode to the wanted value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    message: String,
}

impl DecodeError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        DecodeError { message: message.into() }
    }

    /// What the reader said, without what it read: errors are logged, stored and shown, and a payload is nobody's business.
    pub(crate) fn of(error: &serde_json::Error) -> Self {
        DecodeError { message: without_text(&error.to_string()) }
    }
}

/// The message of serde without the text of the payload that it quotes. Numbers stay, and what the program's own types say.
fn without_text(message: &str) -> String {
    for kind in ["invalid type: ", "invalid value: "] {
        let Some(found) = message.strip_prefix(kind) else { continue };
        let quoted = ["string ", "character "].into_iter().find(|what| found.starts_with(what));
        // What is expected is text of the type, and the last that is said.
        return match (quoted, found.rfind(", expected ")) {
            (Some(what), Some(rest)) => format!("{kind}{}{}", what.trim_end(), &found[rest..]),
            _ => message.to_owned(),
        };
    }
    for kind in ["unknown variant", "unknown field"] {
        let Some(found) = message.strip_prefix(kind) else { continue };
        let rest = ["`, expected ", "`, there are no "].into_iter().find_map(|rest| found.rfind(rest));
        return rest.map_or_else(|| message.to_owned(), |rest| format!("{kind}{}", &found[rest + 1..]));
    }
    message.to_owned()
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

/// Calls the program's implementation of this trait of serde. A panic in it is an error of the value, as any other answer that is
/// of no use: whoever enqueues goes on, and whatever was written so far is the caller's to drop.
fn guarded<T>(implementation: &str, call: impl FnOnce() -> Result<T, EncodeError>) -> Result<T, EncodeError> {
    foreign(call).unwrap_or_else(|said| {
        Err(EncodeError::new(format!("its `{implementation}` panicked: {said}; it answers with an error instead")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that encodes another one while it is being encoded.
    struct Nested;

    impl Serialize for Nested {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let inner = Payload::encode("inner").map_err(serde::ser::Error::custom)?;
            serializer.collect_str(&String::from_utf8_lossy(inner.bytes()))
        }
    }

    #[test]
    fn a_value_that_encodes_another_one_on_the_way_disturbs_nothing() {
        let payload = Payload::encode(&("before", Nested, "after")).unwrap();
        assert_eq!(payload.bytes(), br#"["before","\"inner\"","after"]"#);
    }

    #[test]
    fn what_was_encoded_before_or_refused_leaves_nothing_behind() {
        assert!(Payload::encode(&("long before", f32::NAN)).is_err());
        let large = "x".repeat(2 * Scratch::KEPT);
        assert_eq!(Payload::encode(&large).unwrap().len(), large.len() + 2);
        assert_eq!(Payload::encode(&7).unwrap().bytes(), b"7");
        assert!(Scratch::take().capacity() <= Scratch::KEPT, "a large buffer stays with the thread for ever");
    }
}
