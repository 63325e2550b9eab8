//! How many works there are, without a look at them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::WorkManager;
use crate::query::{PageRequest, WorkQuery};
use crate::record::Tally;
use crate::store::StoreError;

/// How many works a store holds, by worker and by where they stand, as of one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Counts {
    /// By the registered name of the worker, whether this program knows it or not. A worker without works is not among them.
    pub workers: BTreeMap<Arc<str>, Tally>,
    /// The number of the newest commit that is counted.
    pub commit: u64,
}

impl Counts {
    /// All works together.
    #[must_use]
    pub fn all(&self) -> Tally {
        self.workers.values().fold(Tally::default(), |sum, tally| sum.plus(tally))
    }

    /// The works of this worker; nothing but zeros if it has none.
    #[must_use]
    pub fn worker(&self, name: &str) -> Tally {
        self.workers.get(name).copied().unwrap_or_default()
    }
}

impl WorkManager {
    /// How many works of each worker stand where. The store keeps these numbers, so it takes no longer with a million works than
    /// with ten: it reads two small rows for each pair of worker and constraints.
    ///
    /// ```
    /// use workman_core::{WorkQuery, WorkState, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn resize(width: u32) -> u32 {
    ///     width / 2
    /// }
    ///
    /// let test = TestDriver::new();
    /// for width in 0..10 {
    ///     test.enqueue(resize::request(width));
    /// }
    /// assert_eq!(test.counts().worker("resize").ready, 10);
    /// test.run_until_idle();
    /// assert_eq!(test.counts().all().succeeded, 10);
    /// assert_eq!(test.count(WorkQuery::in_state(WorkState::Succeeded)), 10);
    /// ```
    ///
    /// # Errors
    /// When the store can't be read.
    #[doc(alias("statistics", "summary", "queue_depth"))]
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let query = WorkQuery::all().tallied();
        let page = self.page(PageRequest { query, after: None, limit: 1 }).await?;
        Ok(Counts { workers: page.tallies, commit: page.commit })
    }

    /// How many works match.
    ///
    /// What it costs depends on the query:
    /// - States, workers and [`parked`](WorkQuery::parked) are answered by numbers that the store keeps, as [`counts`](Self::counts)
    ///   is, whatever there is.
    /// - One tag, unique names or a gate alone: the entries of an index are counted, and no work is read.
    /// - Anything else reads the works that a [`page`](Self::page) of it would look at.
    ///
    /// The last two go on step by step so that others get their turn, and count a later commit with each. A work that moves
    /// meanwhile may be counted twice or not at all.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn count(&self, query: WorkQuery) -> Result<u64, StoreError> {
        let query = query.counted();
        let (mut sum, mut after) = (0_u64, None);
        loop {
            let page = self.page(PageRequest { query: query.clone(), after, limit: usize::MAX }).await?;
            sum = sum.saturating_add(page.counted);
            let Some(next) = page.next else { return Ok(sum) };
            after = Some(next);
        }
    }
}
