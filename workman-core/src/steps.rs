//! What ends a chain, and what fits behind it: the types by which the compiler checks a [`Chain`](crate::Chain).
//!
//! [`Standalone`] and [`TakesNothing`] are how it tells what can be enqueued alone.
//!
//! A program names them only where it takes or gives a chain: `Chain<One<String>>` ends in one work that gives a `String`.

pub use crate::chain::{Alike, Branches, Erased, Fits, Many, One, Several, Shape, Start, Step};
pub use crate::request::{Standalone, TakesNothing};
