//! [`Page`]: what a store is asked for a query, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::WorkQuery;
use crate::id::WorkId;
use crate::index::IndexKey;
use crate::info::WorkInfo;
use crate::record::Tally;
use crate::time::Timestamp;

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
    /// How many works match, of those that were looked at for this page, if the query is one that counts them.
    pub counted: u64,
    /// How many works of each worker stand where, if that was asked for.
    pub tallies: BTreeMap<Arc<str>, Tally>,
    /// Where to go on, if there is more.
    pub next: Option<Cursor>,
    /// The number of the newest commit that the page shows.
    pub commit: u64,
    /// When everything was last cancelled at once, by the wall clock; it stands on every page, whatever was asked for.
    pub last_cancel_all: Option<Timestamp>,
}
