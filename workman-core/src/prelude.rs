//! What most programs use: `use workman_core::prelude::*;`.
//!
//! It is a second way to names of the root, and the only one.
//!
//! ```
//! use std::time::Duration;
//! use workman_core::prelude::*;
//!
//! #[worker]
//! async fn tidy_up(cx: &WorkContext) -> Result<(), WorkError> {
//!     cx.sleep(Duration::from_millis(1)).await?;
//!     Ok(())
//! }
//!
//! let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
//! let request = tidy_up::request().backoff(Backoff::linear(Duration::from_secs(60)));
//! # futures::executor::block_on(async {
//! manager.enqueue_unique("tidy", ExistingWorkPolicy::Keep, request).await?;
//! # Ok::<(), EnqueueError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use crate::chain::WorkGraph;
pub use crate::constraints::{Constraints, NetworkType};
pub use crate::id::WorkId;
pub use crate::info::WorkInfo;
pub use crate::manager::{EnqueueError, WorkHandle, WorkManager};
pub use crate::plan::Enqueued;
pub use crate::policy::{Backoff, ExistingPeriodicWorkPolicy, ExistingWorkPolicy, InputMerger, OutOfQuotaPolicy};
pub use crate::query::{WorkQuery, WorkSelector};
#[cfg(feature = "smol")]
pub use crate::runtime::SmolRuntime;
pub use crate::runtime::ThreadRuntime;
#[cfg(feature = "tokio")]
pub use crate::runtime::TokioRuntime;
pub use crate::state::{StopReason, WorkState};
pub use crate::store::memory::MemoryStore;
pub use crate::worker::{Completer, Outcome, WorkContext, WorkError};
pub use workman_macros::worker;
