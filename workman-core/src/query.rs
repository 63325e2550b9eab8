//! [`WorkQuery`] and [`WorkSelector`]: which works are meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::WorkId;
use crate::index::{IndexKey, standing_key};
use crate::info::WorkInfo;
use crate::record::{Standing, WorkRecord, WorkSpec};
use crate::state::WorkState;
use crate::time::Timestamp;

/// Which works to look at, and how much of them: OR inside a list, AND across lists (WorkManager's rule). What was never asked
/// for restricts nothing, so the empty query means all works. A list of ids that is asked for and empty means none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "a query does nothing until a manager gets it"]
#[doc(alias = "filter")]
pub struct WorkQuery {
    /// None is any; an empty list is none.
    pub(crate) ids: Option<BTreeSet<WorkId>>,
    pub(crate) names: BTreeSet<Arc<str>>,
    pub(crate) tags: BTreeSet<Arc<str>>,
    pub(crate) states: BTreeSet<WorkState>,
    pub(crate) parked: bool,
    pub(crate) payloads: Payloads,
    #[serde(skip)]
    pub(crate) reach: Reach,
}

/// Whether a snapshot has the payloads of its works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payloads {
    #[default]
    Shown,
    LeftOut,
}

/// How far one page looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// At a bounded part of an index, so that others get their turn between pages.
    #[default]
    Bounded,
    /// At all of it.
    Whole,
    /// At all of it, and the page says where each work is placed among the others.
    Placed,
    /// At these works only, and at no index; the page says where each is placed among all that match.
    Among(BTreeSet<WorkId>),
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

    /// The works with these ids. Without any it means no work at all, and not all of them.
    ///
    /// ```
    /// use workman_core::WorkQuery;
    ///
    /// assert_ne!(WorkQuery::ids([]), WorkQuery::all());
    /// ```
    pub fn ids(ids: impl IntoIterator<Item = WorkId>) -> Self {
        WorkQuery { ids: Some(ids.into_iter().collect()), ..Self::default() }
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
        self.ids.get_or_insert_default().insert(id);
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

    /// … but without their payloads: input, output and progress. What lies in rows of its own is not read at all, so that a list
    /// of many works costs neither the time nor the memory for them.
    ///
    /// Each payload that there is, or may be, is a [`Payload`](crate::data::Payload) that
    /// [`is_left_out`](crate::data::Payload::is_left_out) then, and never `None`, which means that the work has none.
    ///
    /// ```
    /// use workman_core::{WorkQuery, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn shout(word: String) -> String {
    ///     word.to_uppercase()
    /// }
    ///
    /// let test = TestDriver::new();
    /// let id = test.enqueue(shout::request("quiet".into()));
    /// test.run_until_idle();
    /// let listed = test.query(WorkQuery::tag("shout").without_payloads()).remove(0);
    /// assert!(listed.input.is_left_out());
    /// assert!(listed.output.is_some_and(|output| output.is_left_out()));
    /// assert_eq!(listed.progress, None, "it is finished, so it has none");
    /// assert_eq!(test.output::<String>(id), "QUIET");
    /// ```
    pub fn without_payloads(mut self) -> Self {
        self.payloads = Payloads::LeftOut;
        self
    }

    /// … in one page, however much of an index has to be looked at: such a page is shorter than asked for only if it is the
    /// last, and shows one snapshot. [`WorkManager::query`](crate::WorkManager::query) and
    /// [`watch`](crate::WorkManager::watch) ask like this. While many works are looked at, other readers wait.
    pub fn in_one_page(mut self) -> Self {
        self.reach = Reach::Whole;
        self
    }

    /// As [`in_one_page`](Self::in_one_page), with the place of each work.
    pub(crate) fn with_places(mut self) -> Self {
        self.reach = Reach::Placed;
        self
    }

    /// Of what it asks for only these, each with its place among all of it.
    pub(crate) fn among(mut self, ids: BTreeSet<WorkId>) -> Self {
        self.reach = Reach::Among(ids);
        self
    }

    /// Where this work, which matches, stands in the order of the query.
    pub(crate) fn place_of(&self, record: &WorkRecord, spec: &WorkSpec) -> Cursor {
        let (seq, id) = (record.seq, record.id);
        if self.ids.is_some() {
            return Cursor::Id(id);
        }
        if let Some(name) = spec.name.as_ref().filter(|_| !self.names.is_empty()) {
            return Cursor::Key(IndexKey::Name { name: Arc::clone(name), seq, id });
        }
        let tag = self.first_tag_of(spec).map(Arc::clone);
        Cursor::Key(tag.map_or_else(|| standing_key(record), |tag| IndexKey::Tag { tag, seq, id }))
    }

    /// A work with several of the tags that are asked for is found under each; it belongs to the first.
    pub(crate) fn first_tag_of<'s>(&self, spec: &'s WorkSpec) -> Option<&'s Arc<str>> {
        std::iter::once(&spec.worker).chain(&spec.tags).filter(|tag| self.tags.contains(*tag)).min()
    }

    /// Whether a work is meant.
    #[must_use]
    pub fn matches(&self, record: &WorkRecord, spec: &WorkSpec) -> bool {
        let any = |list: bool, hit: bool| !list || hit;
        any(self.parked, matches!(record.standing, Standing::Parked { .. }))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
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

impl From<WorkId> for WorkSelector {
    fn from(id: WorkId) -> Self {
        WorkSelector::Id(id)
    }
}

/// A query and where to go on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Which works.
    pub query: WorkQuery,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// How many works at the most. With 0 the page has none, and says neither that nor where there are more.
    pub limit: usize,
}

/// Where a page ended; only good for the same query on the same store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// none, while `next` says that there is more: a page looks at a bounded part of an index, unless the query is one
    /// [`in_one_page`](WorkQuery::in_one_page).
    pub works: Vec<WorkInfo>,
    /// How many works and index entries were looked at for it, those that did not match included: what the page cost.
    pub looked: usize,
    /// Where each of the works stands among all that match, if the query asked for that; in another page it may be another.
    pub places: Vec<Cursor>,
    /// Where to go on, if there is more.
    pub next: Option<Cursor>,
    /// The number of the newest commit that the page shows.
    pub commit: u64,
    /// When everything was last cancelled at once, by the wall clock; it stands on every page, whatever was asked for.
    pub last_cancel_all: Option<Timestamp>,
}
