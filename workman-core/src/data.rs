//! [`Payload`]: encoded inputs, outputs, progress and checkpoints, behind a codec seam.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) mod merge;
pub(crate) mod object;
mod strict;

/// How a payload's bytes are to be read. The code is stored beside the bytes, so that codecs can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Codec(u8);

impl Codec {
    /// JSON text, by `serde_json`.
    pub const JSON: Codec = Codec(1);

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

impl Payload {
    /// Bytes that are already encoded.
    pub fn new(codec: Codec, bytes: impl Into<Arc<[u8]>>) -> Self {
        Payload { codec, bytes: bytes.into() }
    }

    /// Encodes a value as JSON.
    ///
    /// # Errors
    /// [`EncodeError`] when the value would not decode again: a float that is not finite, a path that is not UTF-8, a
    /// map whose keys are no strings, or what its own `Serialize` refuses.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        strict::to_vec(value).map(|bytes| Payload::new(Codec::JSON, bytes))
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no such value or the codec is unknown to this build.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match self.codec {
            Codec::JSON => serde_json::from_slice(&self.bytes).map_err(|error| DecodeError::new(error.to_string())),
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

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}
