//! WorkManager's own test cases, on the memory store and on redb, through the public interface and the virtual clock.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod backoff;
mod bench;
mod cancel;
mod chains;
mod data;
mod kinds;
mod observe;
mod periodic;
mod query;
mod requests;
mod times;
mod unique;
mod update;
mod workers;
