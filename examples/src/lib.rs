//! Shared rooms of the example programs: what a real program has around its workers.
//!
//! - [`gallery`]: image files, filters, and files that are written whole or not at all;
//! - [`loopback`]: an HTTP server on loopback that can refuse requests;
//! - [`mailbox`]: a mail server behind it that is down at first, and can hold a mail while somebody is killed;
//! - [`journal`]: a line on disk for each effect, so that a test can count effects;
//! - [`cli`]: how an example ends, and the place where it keeps its files;
//! - [`process`]: the examples as real processes, for tests.
//!
//! The programs themselves lie in `examples/`, and begin with what to watch.

#![forbid(unsafe_code)]

pub mod cli;
pub mod gallery;
pub mod journal;
pub mod loopback;
pub mod mailbox;
pub mod process;
