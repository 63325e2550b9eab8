//! Deterministic tests for workman: a clock that moves when told to, an executor that runs one thing at a time in an order
//! that a seed decides, sensors and faults in the test's hands, and crashes at any commit.
//!
//! Nothing here decides about work. A [`TestDriver`] runs the production planner, the production dispatcher and a real store; it
//! owns the time, the order, the conditions and the faults. Those who write a store of their own find its contract as tests in
//! [`conformance`].

#![forbid(unsafe_code)]
#![allow(rustdoc::redundant_explicit_links, reason = "they read better in the source")]

mod baton;
mod clock;
pub mod conformance;
mod driver;
mod executor;
mod fault;
mod home;
mod signal;
mod worker;

pub use clock::VirtualClock;
pub use driver::{Named, TestDriver};
pub use fault::{CrashPoint, Fault, FaultStore};
pub use home::{MemoryHome, StoreHome};
pub use signal::Signal;
pub use worker::TestWorker;
