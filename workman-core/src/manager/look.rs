//! How a program looks at its works: one, all that match, or a page at a time.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;

use super::WorkManager;
use super::refused::counted;
use crate::data::Payload;
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::query::{Page, PageRequest, Payloads, WorkQuery};
use crate::state::WorkState;
use crate::store::{Damage, StoreError, StoreErrorKind};

impl WorkManager {
    /// What is known of a work now; `None` if it is not stored.
    ///
    /// # Errors
    /// When the store can't be read.
    #[doc(alias("getWorkInfoById", "status", "state"))]
    pub async fn info(&self, id: WorkId) -> Result<Option<WorkInfo>, StoreError> {
        self.first(WorkQuery::id(id)).await
    }

    /// As [`info`](Self::info), for those who need no payload.
    pub(super) async fn outline(&self, id: WorkId) -> Result<Option<WorkInfo>, StoreError> {
        self.first(WorkQuery::id(id).without_payloads()).await
    }

    async fn first(&self, query: WorkQuery) -> Result<Option<WorkInfo>, StoreError> {
        let page = self.page(PageRequest { query, after: None, limit: 1 }).await?;
        Ok(page.works.into_iter().next())
    }

    /// All works that match, oldest first as far as the index allows, as they were at one commit: what one enqueue, one update or
    /// one end of a work changed is seen in whole or not at all.
    ///
    /// All of it is in memory at once. For lists of many works, see [`WorkQuery::without_payloads`]; for more than
    /// [`Limits::query`](crate::Limits::query), see [`page`](Self::page), which shows a commit a page.
    ///
    /// # Errors
    /// [`QueryError::TooMany`] when more than `Limits::query` works match, and [`QueryError::Store`] when the store can't be read.
    #[doc(alias("getWorkInfos", "list"))]
    pub async fn query(&self, query: WorkQuery) -> Result<Vec<WorkInfo>, QueryError> {
        let limit = self.core().limits.query;
        Ok(self.snapshot(query.in_one_page(), limit).await?.works)
    }

    /// All works of a query that is one page, if they are no more than `limit`.
    pub(super) async fn snapshot(&self, query: WorkQuery, limit: usize) -> Result<Page, QueryError> {
        let request = PageRequest { query, after: None, limit: limit.saturating_add(1) };
        let page = self.page(request).await.map_err(QueryError::Store)?;
        QueryError::refuse(page.works.len(), limit)?;
        if page.next.is_some() && page.works.len() < limit.saturating_add(1) {
            let text = "the store breaks its contract: it cut a page short that was to show all";
            return Err(QueryError::Store(StoreError::new(StoreErrorKind::Rejected, text)));
        }
        Ok(page)
    }

    /// Some of the works that match, as they were at one commit. The next page shows a later one, so a work that moves meanwhile
    /// may be on both or on neither.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn page(&self, request: PageRequest) -> Result<Page, StoreError> {
        self.core().home.check()?;
        // Taken first: a run whose end is committed after the page was read is live here still.
        let live = self.core().live.lock().clone();
        let payloads = request.query.payloads;
        let mut page = self.core().query(request).await?;
        for info in page.works.iter_mut().filter(|info| info.state == WorkState::Running) {
            if let Some(attempt) = live.get(&info.id).filter(|attempt| attempt.fence == info.runs) {
                let progress = match payloads {
                    Payloads::Shown => attempt.progress(),
                    Payloads::LeftOut => attempt.progress().map(|_| Payload::left_out()),
                };
                info.progress = progress.or(info.progress.take());
            }
        }
        Ok(page)
    }

    /// What needs somebody's help. [`explain`](Self::explain) says more of each work, and [`info`](Self::info) has the payloads,
    /// which are left out here.
    ///
    /// Parked works are of one commit, and so are those of each unknown worker, but these commits may differ.
    ///
    /// # Errors
    /// As [`query`](Self::query), for each of these lists.
    pub async fn check(&self) -> Result<Findings, QueryError> {
        let mut works = self.query(WorkQuery::parked().without_payloads()).await?;
        let mut listed: BTreeSet<WorkId> = works.iter().map(|info| info.id).collect();
        let unknown_workers = self.core().unknown_workers().clone();
        for worker in unknown_workers {
            let waiting = WorkQuery::tag(worker.clone()).state(WorkState::Enqueued).without_payloads();
            let mut waiting = self.query(waiting).await?;
            // A tag may be called like a worker; and what was freed since the list of parked works was read is in that one.
            waiting.retain(|info| info.worker == worker && info.parked.is_none() && listed.insert(info.id));
            works.extend(waiting);
        }
        self.learn_damage();
        Ok(Findings { works, damage: self.core().health.damage() })
    }
}

/// What needs somebody's help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// All works that can't run until somebody helps: parked ones, each with its reason in [`WorkInfo::parked`], and those whose
    /// worker is unknown to this build or lacks a state.
    pub works: Vec<WorkInfo>,
    /// What is damaged in the store and was met and passed over since it was opened. The rest goes on. What nobody has looked at
    /// yet is found by verifying, as `RedbStore::verify` does.
    pub damage: Vec<Damage>,
}

/// Why a query was not answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum QueryError {
    /// More works match than one snapshot may show.
    TooMany {
        /// How many at least; nobody counted further.
        found: usize,
        /// The limit, [`Limits::query`](crate::Limits::query).
        limit: usize,
    },
    /// The store can't be read.
    Store(StoreError),
}

impl QueryError {
    /// An error, if so many works are more than may be shown.
    pub(super) fn refuse(found: usize, limit: usize) -> Result<(), Self> {
        if found > limit { Err(QueryError::TooMany { found, limit }) } else { Ok(()) }
    }

    /// Whether more works match than one snapshot may show.
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        matches!(self, QueryError::TooMany { .. })
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::TooMany { found, limit } => write!(
                f,
                "the query matches at least {}, and one snapshot shows {limit} at the most: ask for less, read page by page (`WorkManager::page`), or raise `Limits::query`",
                counted(*found, "work")
            ),
            QueryError::Store(error) => error.fmt(f),
        }
    }
}

impl Error for QueryError {
    /// The text contains that of the store's error, so the chain goes on behind it.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            QueryError::Store(error) => error.source(),
            QueryError::TooMany { .. } => None,
        }
    }
}
