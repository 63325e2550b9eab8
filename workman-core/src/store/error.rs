//! [`StoreError`]: what can go wrong below the planner.

use crate::id::WorkId;
use crate::index::IndexKey;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// An error of a store. It says what happened to the data before it says what happened to the machine.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What an error means for the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Certainly nothing was written.
    Rejected,
    /// All of it may have been written, or nothing. Sending it again with the same ids is safe.
    Indeterminate,
    /// The store is closed, or its process ended. Nothing was written.
    Closed,
    /// The store is lost to this process for good: somebody else has had it meanwhile, or this is a forked child of the
    /// process that opened it. Nothing was written. Open it anew.
    Lost,
    /// What was read is not what was written. Nothing was changed by the call.
    Corrupted,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        StoreError { kind, message: message.into(), source: None }
    }

    /// The store is closed.
    #[must_use]
    pub fn closed() -> Self {
        Self::new(StoreErrorKind::Closed, "the store is closed")
    }

    /// The same error with the one that caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What it means for the data.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether all or nothing may have been written.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        self.kind == StoreErrorKind::Indeterminate
    }

    /// Whether this handle of the store is of no use any more: it is closed, or lost.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Closed | StoreErrorKind::Lost)
    }

    /// Whether the store is lost to this process.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.kind == StoreErrorKind::Lost
    }

    /// Whether one row or entry is damaged and the rest of the store works: nothing below the store said that it failed.
    #[must_use]
    pub fn is_of_one_row(&self) -> bool {
        self.kind == StoreErrorKind::Corrupted && self.source.is_none()
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Rejected | StoreErrorKind::Indeterminate)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.is_indeterminate() {
            f.write_str(" (the write may or may not have happened; repeating it with the same ids is safe)")?;
        }
        Ok(())
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

/// Something in a store that can't be as it was written. It was passed over, and the rest goes on.
///
/// A store tells it through its [`ChangeFeed`](super::ChangeFeed), once for each thing: `WorkManager::health` is degraded from
/// then on, and `WorkManager::check` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The work that it is about; the id of zeros if it is about none.
    pub id: WorkId,
    /// What is wrong.
    pub what: String,
}

impl Damage {
    /// An index entry that says something else than its record.
    pub(super) fn contradicts(key: &IndexKey) -> Self {
        let what =
            format!("the index lists {key:?}, and the record of that work says otherwise; the entry is passed over");
        Damage { id: key.id(), what }
    }

    /// An entry that should have been there.
    #[must_use]
    pub fn missing(key: &IndexKey) -> Self {
        Damage { id: key.id(), what: format!("the index lacks {key:?}, which follows from the record of that work") }
    }

    /// Something of gates that can't be read.
    pub(super) fn of_gates(error: &StoreError) -> Self {
        Damage {
            id: WorkId::from_u128(0),
            what: format!("a gate lets nothing on until the store is repaired: {error}"),
        }
    }

    /// Something of a work that can't be read.
    pub(super) fn unreadable(id: WorkId, error: &StoreError) -> Self {
        Damage { id, what: format!("something of work {id} is passed over: {error}") }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
