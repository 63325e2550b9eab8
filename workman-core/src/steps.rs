//! What ends a chain, and what fits behind it: the types by which the compiler checks a [`Chain`](crate::Chain).
//!
//! A program names them only where it takes or gives a chain: `Chain<One<String>>` ends in one work that gives a `String`.

pub use crate::chain::{Alike, Branches, Fits, Many, One, Several, Shape, Start, Step};
