//! Reliable persistent background work.

pub mod constraints;
pub mod data;
pub mod id;
pub mod info;
pub mod limits;
pub mod plan;
pub mod policy;
pub mod query;
pub mod record;
pub mod request;
pub mod state;
pub mod store;
pub mod time;
pub mod worker;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

mod runtime;

pub use store::MemoryStore;
pub use workman_macros::worker;
