//! [`WorkQuery`] and [`WorkSelector`]: which works are meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::record::{Standing, WorkRecord, WorkSpec};
use crate::state::WorkState;
use crate::store::index::IndexKey;
use crate::time::Timestamp;

/// Which works to look at: OR inside a list, AND across lists (WorkManager's rule). An empty list asks for nothing,
/// so the empty query means all works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a query does nothing until a manager gets it"]
pub struct WorkQuery {
    pub(crate) ids: BTreeSet<WorkId>,
    pub(crate) names: BTreeSet<Arc<str>>,
    pub(crate) tags: BTreeSet<Arc<str>>,
    pub(crate) states: BTreeSet<WorkState>,
    pub(crate) parked: bool,
}

impl WorkQuery {
    /// All works.
    pub fn all() -> Self {
        Self::default()
    }

    /// The work with this id; say it again for another.
    pub fn id(id: WorkId) -> Self {
        Self::ids([id])
    }

    /// The works with these ids.
    pub fn ids(ids: impl IntoIterator<Item = WorkId>) -> Self {
        WorkQuery { ids: ids.into_iter().collect(), ..Self::default() }
    }

    /// The works under this unique name.
    pub fn unique(name: impl Into<Arc<str>>) -> Self {
        WorkQuery { names: [name.into()].into(), ..Self::default() }
    }

    /// The works with this tag; a worker's name is a tag of all its works.
    pub fn tag(tag: impl Into<Arc<str>>) -> Self {
        WorkQuery { tags: [tag.into()].into(), ..Self::default() }
    }

    /// The works in this state.
    pub fn in_state(state: WorkState) -> Self {
        WorkQuery { states: [state].into(), ..Self::default() }
    }

    /// The works that can't run until somebody helps: see [`ParkReason`](crate::record::ParkReason).
    pub fn parked() -> Self {
        WorkQuery { parked: true, ..Self::default() }
    }

    /// … and with this id, or another that was asked for.
    pub fn or_id(mut self, id: WorkId) -> Self {
        self.ids.insert(id);
        self
    }

    /// … and under this unique name, or another that was asked for.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.names.insert(name.into());
        self
    }

    /// … and with this tag, or another that was asked for.
    pub fn tagged(mut self, tag: impl Into<Arc<str>>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// … and in this state, or another that was asked for.
    pub fn state(mut self, state: WorkState) -> Self {
        self.states.insert(state);
        self
    }

    /// Whether a work is meant.
    #[must_use]
    pub fn matches(&self, record: &WorkRecord, spec: &WorkSpec) -> bool {
        let any = |list: bool, hit: bool| !list || hit;
        any(self.parked, matches!(record.standing, Standing::Parked { .. }))
            && any(!self.ids.is_empty(), self.ids.contains(&record.id))
            && any(!self.states.is_empty(), self.states.contains(&record.state()))
            && any(!self.names.is_empty(), spec.name.as_ref().is_some_and(|name| self.names.contains(name)))
            && any(
                !self.tags.is_empty(),
                self.tags.contains(&spec.worker) || spec.tags.iter().any(|tag| self.tags.contains(tag)),
            )
    }
}

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

/// A query and where to go on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Which works.
    pub query: WorkQuery,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// How many works at the most.
    pub limit: usize,
}

/// Where a page ended; only good for the same query on the same store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// After this id, in a query by ids.
    Id(WorkId),
    /// After this entry of an index.
    Key(IndexKey),
}

/// Some works as they were at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The works, in the order in which they were enqueued as far as the index allows. They may be fewer than asked for, and
    /// none, while `next` says that there is more: a page looks at a bounded part of an index.
    pub works: Vec<WorkInfo>,
    /// Where to go on, if there is more.
    pub next: Option<Cursor>,
    /// The number of the newest commit that the page shows.
    pub commit: u64,
    /// When everything was last cancelled at once, by the wall clock; it stands on every page, whatever was asked for.
    pub last_cancel_all: Option<Timestamp>,
}
