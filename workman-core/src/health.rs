//! [`Health`]: whether the engine gets on with its store.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::StoreError;

/// How the engine is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthStatus {
    /// All is well.
    #[default]
    Healthy,
    /// Something fails: the store (nothing is lost, and the same is tried again, later and later), or the runtime.
    Degraded {
        /// What it is.
        error: String,
        /// How often in a row.
        failures: u32,
    },
    /// The manager has ended, or its store is closed.
    Ended,
}

#[derive(Default)]
pub(crate) struct Health {
    status: Mutex<HealthStatus>,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, HealthStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> HealthStatus {
        self.lock().clone()
    }

    pub(crate) fn failed(&self, error: &StoreError) {
        let mut status = self.lock();
        let before = match *status {
            HealthStatus::Degraded { failures, .. } => failures,
            _ => 0,
        };
        *status = HealthStatus::Degraded { error: error.to_string(), failures: before + 1 };
    }

    /// Something is wrong that does not pass.
    pub(crate) fn degraded(&self, error: &str) {
        *self.lock() = HealthStatus::Degraded { error: error.to_owned(), failures: 1 };
    }

    pub(crate) fn recovered(&self) {
        *self.lock() = HealthStatus::Healthy;
    }

    pub(crate) fn ended(&self) {
        *self.lock() = HealthStatus::Ended;
    }
}
