//! [`Damage`]: what a store met that contradicts itself, and passed over.

use std::fmt;

use super::StoreError;
use crate::id::WorkId;
use crate::index::IndexKey;

/// Something in a store that can't be as it was written. It was passed over, and the rest goes on.
///
/// A store tells it through its [`ChangeFeed`](super::ChangeFeed), once for each thing: `WorkManager::health` is degraded from
/// then on, and `WorkManager::check` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The work that it is about.
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
