//! Nothing but workers, as an app may keep them in a crate of their own.

use workman_core::worker;

/// How long a text is.
#[worker]
pub fn measure(text: String) -> usize {
    text.len()
}
