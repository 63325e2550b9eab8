//! [`Health`]: whether the engine gets on with its store.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Damage, StoreError};

/// How the engine is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthStatus {
    /// All is well.
    #[default]
    Healthy,
    /// Something fails: the store (nothing is lost, and the same is tried again, later and later), or the runtime. Or something
    /// in the store is damaged: it is passed over and the rest goes on, and that is said until the store is opened anew.
    Degraded {
        /// What it is.
        error: String,
        /// How often in a row; how many things, if that is what is damaged.
        failures: u32,
    },
    /// The manager has ended, or its store is closed.
    Ended,
}

#[derive(Default)]
pub(crate) struct Health {
    status: Mutex<HealthStatus>,
    damage: Mutex<Vec<Damage>>,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, HealthStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the engine is doing, and its store.
    pub(crate) fn status(&self) -> HealthStatus {
        let status = self.engine();
        let damage = self.damage();
        match damage.first() {
            Some(first) if status == HealthStatus::Healthy => {
                let error = format!("the store is damaged: {first}; `WorkManager::check` lists all that was met");
                HealthStatus::Degraded { error, failures: u32::try_from(damage.len()).unwrap_or(u32::MAX) }
            }
            _ => status,
        }
    }

    /// How the engine is doing: what is damaged holds up nothing else.
    pub(crate) fn engine(&self) -> HealthStatus {
        self.lock().clone()
    }

    /// Something in the store is damaged, and was passed over.
    pub(crate) fn damaged(&self, damage: Damage) {
        let mut known = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&damage) {
            known.push(damage);
        }
    }

    /// All that is damaged and was met.
    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
