//! Shared rooms of the example programs: what a real program has around its workers.
//!
//! - [`gallery`]: image files, filters, and files that are written whole or not at all;
//! - [`http`]: a small real HTTP/1.1 server on loopback that can refuse requests, and its client;
//! - [`journal`]: a line on disk for each effect, so that a test can count effects;
//! - [`cli`]: arguments, and the place where an example keeps its files;
//! - [`process`]: the examples as real processes, for tests.
//!
//! The programs themselves lie in `examples/`, and begin with what to watch.

#![forbid(unsafe_code)]

pub mod cli;
pub mod gallery;
pub mod http;
pub mod journal;
pub mod process;
