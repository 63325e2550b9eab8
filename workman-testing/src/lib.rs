//! Deterministic tests for workman: a clock that moves when told to, an executor that runs one thing at a time in an order
//! that a seed decides, sensors and faults in the test's hands, and crashes at any commit.
//!
//! Nothing here decides about work. A [`TestDriver`] runs the production planner, the production dispatcher and a real store; it
//! owns the time, the order, the conditions and the faults.

#![allow(rustdoc::redundant_explicit_links, reason = "they read better in the source")]

mod baton;
mod clock;
mod driver;
mod executor;
mod fault;
mod home;
mod signal;

pub use clock::VirtualClock;
pub use driver::{Named, TestDriver};
pub use fault::{CrashPoint, Fault, FaultStore};
pub use home::{MemoryHome, StoreHome};
pub use signal::Signal;
