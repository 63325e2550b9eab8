//! The documents of the house.
//!
//! - [`architecture`]: the rooms, one direction of data, one worker's way through the program, the laws.
//! - [`lifecycle`]: states, moves, counters, chains, unique names, periods.
//! - [`guarantees`]: what is promised, which tests prove it, and what is not promised.
//! - [`when`]: which kind of work is what, when to use something else, how to come from another library.
//! - [`defaults`]: every default, with its reason.
//! - [`design`]: why it is built like this.
//! - [`performance`]: what a work costs, where the time goes, what would halve it.
//!
//! Beside them lie `docs/compare.md`, with every feature of WorkManager and what it is here, and `docs/rules.md`, with every rule by
//! its id, what proves it, and what is changed of WorkManager.

#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[doc = include_str!("../docs/lifecycle.md")]
pub mod lifecycle {}

#[doc = include_str!("../docs/gates.md")]
pub mod gates {}

#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("../docs/when.md")]
pub mod when {}

#[doc = include_str!("../docs/defaults.md")]
pub mod defaults {}

#[doc = include_str!("../docs/design.md")]
pub mod design {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}
