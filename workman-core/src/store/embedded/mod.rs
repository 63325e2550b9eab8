//! What every embedded store does the same way: load, plan, apply, read.
//!
//! An embedded store (memory, one file) brings [`Rows`] and [`RowsMut`], six verbs over rows and index entries inside one
//! transaction of its own; [`RowMap`] has them in memory. [`Transaction::run_unit`] loads for the planner and applies what it
//! decided, [`page`] answers queries, [`dump`] feeds the invariants. No policy is in here, and no decision: only how rows are found
//! and how indexes follow from them.

mod audit;
mod clock;
mod count;
mod gate_tally;
mod gather;
mod invariants;
mod load;
mod load_gates;
mod map;
mod ranges;
mod read;
mod rows;
mod transact;
mod trust;

pub use audit::Audit;
pub use clock::{Opening, Stamp, StoreClock};
pub use gate_tally::GateTally;
pub use invariants::Dump;
pub use load::load;
pub use map::RowMap;
pub use read::{dump, page};
pub use rows::{IfMissing, Origin, Row, RowKey, Rows, RowsMut, Unlinked, stored_meta};
pub use transact::Transaction;
pub use trust::Noticed;
