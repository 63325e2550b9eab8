//! [`WorkSelector`]: one work, or a kind of works.

use std::sync::Arc;

use crate::id::WorkId;

/// Which works an action means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkSelector {
    /// This one.
    Id(WorkId),
    /// All with this tag; a worker's name is a tag of all its works.
    Tag(Arc<str>),
    /// All under this unique name.
    Unique(Arc<str>),
    /// All there are, of every part of the program that shares the store.
    All,
}

impl WorkSelector {
    /// This one.
    #[must_use]
    pub const fn id(id: WorkId) -> Self {
        WorkSelector::Id(id)
    }

    /// All with this tag.
    pub fn tag(tag: impl Into<Arc<str>>) -> Self {
        WorkSelector::Tag(tag.into())
    }

    /// All under this unique name.
    pub fn unique(name: impl Into<Arc<str>>) -> Self {
        WorkSelector::Unique(name.into())
    }
}

impl From<WorkId> for WorkSelector {
    fn from(id: WorkId) -> Self {
        WorkSelector::Id(id)
    }
}
