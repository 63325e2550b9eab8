//! What the attribute of a worker says of gates: how many of its works run at once, and the key that its requests share a limit by.
//!
//! A key is made of the texts of arguments, which is code of the program. What goes wrong there is carried along, as it is for an
//! argument that can't be encoded, and refused by `enqueue`, unless the request says a key of its own.

use std::fmt::Display;
use std::sync::Arc;

use crate::data::EncodeError;
use crate::foreign::add_shown;
use crate::worker::{Unencodable, by};

/// The longest text that a key may have before a manager's own limit is asked. Without it a text without an end would take all memory.
const LONGEST_TEXT: usize = 1 << 16;

/// `concurrency = n`.
///
/// # Panics
/// For 0, while the program is compiled.
#[must_use]
pub const fn at_once(count: u32) -> u32 {
    assert!(count > 0, "0 at once would let nothing run, ever; pause it instead: `manager.pause(..)`");
    count
}

/// Implemented by nothing: see `by`.
pub trait TextOfNobody: Display {}

/// What can be a part of a limit key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a part of a limit key: it has no text",
    label = "not `Display`, and `limit_key` names this argument",
    note = "a key is text: write `impl Display` for the type, or leave the option out and say `.limit_key(..)` on each request"
)]
pub trait KeyText<By>: Display {}

impl<T: Display> KeyText<by::Value> for T {}
impl<T: TextOfNobody> KeyText<by::Nobody> for T {}

/// An argument that is a part of the limit key.
pub struct KeyPart<T> {
    argument: &'static str,
    add: fn(&T, &mut String) -> Result<(), String>,
}

/// The argument with this name.
#[must_use]
pub const fn key_part<T: KeyText<By>, By>(argument: &'static str) -> KeyPart<T> {
    KeyPart { argument, add: |value, key| add_shown(value, key, LONGEST_TEXT) }
}

/// The key of a request, piece by piece.
pub struct Key {
    text: String,
    refused: Option<Unencodable>,
}

impl Key {
    /// Nothing yet.
    #[expect(clippy::new_without_default, reason = "only generated code makes one")]
    #[must_use]
    pub const fn new() -> Self {
        Key { text: String::new(), refused: None }
    }

    /// Text as it is.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// What this argument says of itself.
    #[must_use]
    pub fn part<T>(mut self, part: &KeyPart<T>, value: &T) -> Self {
        if self.refused.is_none() {
            let added = (part.add)(value, &mut self.text);
            let error =
                added.err().map(|problem| EncodeError::new(format!("it is a part of the limit key, and {problem}")));
            self.refused = error.map(|error| Unencodable { argument: part.argument, error });
        }
        self
    }

    /// The key, or which argument has no text.
    pub(super) fn finish(self) -> Result<Arc<str>, Unencodable> {
        self.refused.map_or_else(|| Ok(self.text.into()), Err)
    }
}
