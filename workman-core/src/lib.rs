//! Reliable persistent background work.

pub mod chain;
pub mod constraints;
pub mod data;
mod dispatcher;
mod health;
pub mod id;
pub mod info;
pub mod limits;
mod manager;
mod observe;
pub mod plan;
pub mod policy;
pub mod query;
pub mod record;
pub mod request;
pub mod runtime;
pub mod sensor;
pub mod state;
pub mod store;
pub mod time;
pub mod worker;

#[doc(hidden)]
#[path = "private/mod.rs"]
pub mod __private;

pub use chain::{Chain, EnqueuedChain};
pub use constraints::{Conditions, ConstraintKind, Constraints, Network, NetworkType};
pub use data::Payload;
pub use dispatcher::{MissingSensor, ShutdownReport};
pub use health::HealthStatus;
pub use id::WorkId;
pub use info::WorkInfo;
pub use limits::Limits;
pub use manager::{
    ActionError, Builder, DrainReport, Engine, EnqueueError, Explanation, HandleError, OutputError, StartError,
    UniqueWork, WorkHandle, WorkManager,
};
pub use plan::{Enqueued, Refusal};
pub use policy::{Backoff, BackoffPolicy, ExistingPeriodicWorkPolicy, ExistingWorkPolicy, OnDeath};
pub use query::{WorkQuery, WorkSelector};
pub use request::{Nothing, PeriodicRequest, Request, RequestError, Takes, TakesAll};
#[cfg(feature = "smol")]
pub use runtime::SmolRuntime;
#[cfg(feature = "tokio")]
pub use runtime::TokioRuntime;
pub use runtime::{NoRuntime, Runtime, ThreadRuntime};
pub use sensor::{ConstraintSensor, ManualSensor, NoSensor};
pub use state::{StopReason, WorkState};
pub use store::{MemoryStore, Store, StoreError, StoreErrorKind};
pub use time::{Clock, SystemClock, Timestamp};
pub use worker::{NoteError, Outcome, Stopped, WorkContext, WorkError, Worker};
pub use workman_macros::worker;
