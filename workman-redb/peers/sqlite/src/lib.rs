//! The bindings of SQLite 0.37 under the name of 0.28, so that all systems of the benchmark share one SQLite.

pub use newer::*;
