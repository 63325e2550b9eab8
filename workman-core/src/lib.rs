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
pub mod runtime;
pub mod sensor;
pub mod state;
pub mod store;
pub mod time;

#[cfg(feature = "smol")]
pub use runtime::SmolRuntime;
#[cfg(feature = "tokio")]
pub use runtime::TokioRuntime;
pub use runtime::{NoRuntime, Runtime, ThreadRuntime};
pub use sensor::{ConstraintSensor, ManualSensor, NoSensor};
pub use store::MemoryStore;
