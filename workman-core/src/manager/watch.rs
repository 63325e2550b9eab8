//! What is read again after every change, and shown if it is not what it was.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::future::select;
use futures::stream::{self, BoxStream};

use super::WorkManager;
use super::look::QueryError;
use super::mirror::{Mirror, Shown};
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::observe::{NO_WORK, Signals};
use crate::query::{PageRequest, WorkQuery};
use crate::store::StoreError;
use crate::time::Timestamp;

/// How often in a row what was touched is read, while more and more is touched, before everything is read in one go.
const MOST_ROUNDS: usize = 4;

/// How long a commit that can be read is waited for to be announced. Some never are: those of a store that failed meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a store that can't be read is left alone.
const REST: Duration = Duration::from_secs(1);

impl WorkManager {
    /// What matches, now and after every change. Each item is a snapshot of one commit, as of [`query`](Self::query): what one
    /// enqueue, one update or one end of a work changed is in it in whole or not at all. Equal snapshots are left out, states in
    /// between may be skipped, the last one never is.
    ///
    /// Nothing is polled: an unchanged store costs nothing. After a change the works are read that it touched, and no others,
    /// unless very many were touched. The last snapshot is kept to compare it, so it is in memory once more: leave payloads out
    /// ([`WorkQuery::without_payloads`]) if nobody looks at them.
    ///
    /// Ends when the manager is shut down; until then the stream holds it, as a handle does. It ends too, with an error in the log,
    /// once more works match than [`Limits::query`](crate::Limits::query): a part of them would be taken for all.
    /// [`query`](Self::query) says so then.
    #[doc(alias("getWorkInfosFlow", "getWorkInfosLiveData", "observe", "subscribe"))]
    pub fn watch(&self, query: WorkQuery) -> BoxStream<'static, Vec<WorkInfo>> {
        self.watch_within(query, self.core().limits.query)
    }

    /// As [`watch`](Self::watch), with another limit.
    pub(super) fn watch_within(&self, query: WorkQuery, limit: usize) -> BoxStream<'static, Vec<WorkInfo>> {
        let signals = self.core().hub.gather(query.ids.as_ref());
        let query = query.with_places();
        let watch = Watch { manager: self.clone(), query, limit, signals, touched: Some(BTreeSet::new()), seen: None };
        stream::unfold(watch, |mut watch| async move { watch.next().await.map(|works| (works, watch)) }).boxed()
    }

    /// When everything was last cancelled at once ([`WorkSelector::All`](crate::query::WorkSelector::All)), by the wall clock;
    /// `None` if it never was. The store keeps it, so a part of a program that shares the store with others can see that
    /// somebody has ended its work.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn last_cancel_all(&self) -> Result<Option<Timestamp>, StoreError> {
        let page = PageRequest { query: WorkQuery::id(NO_WORK), after: None, limit: 1 };
        Ok(self.core().query(page).await?.last_cancel_all)
    }

    /// What [`last_cancel_all`](Self::last_cancel_all) answers, now and whenever that changes. Like [`watch`](Self::watch) it
    /// ends with the manager and holds it until then.
    pub fn watch_last_cancel_all(&self) -> BoxStream<'static, Option<Timestamp>> {
        let signals = self.core().hub.watch([NO_WORK]);
        let start = (self.clone(), signals, None::<Option<Timestamp>>);
        stream::unfold(start, |(manager, mut signals, last)| async move {
            let mut has_read = true;
            loop {
                if has_read {
                    signals.next().await?;
                }
                match manager.last_cancel_all().await {
                    Ok(seen) if last != Some(seen) => return Some((seen, (manager, signals, Some(seen)))),
                    Ok(_) => has_read = true,
                    Err(error) if error.is_closed() => return None,
                    Err(error) => {
                        manager.rest_after(&error).await;
                        has_read = false;
                    }
                }
            }
        })
        .boxed()
    }

    async fn rest_after(&self, error: &StoreError) {
        tracing::warn!(%error, "what is watched could not be read; it is read again in a second");
        self.core().clock.sleep(REST).await;
    }
}

/// A watched query, and what was shown of it last.
struct Watch {
    manager: WorkManager,
    query: WorkQuery,
    limit: usize,
    signals: Signals,
    /// What was touched since; none if that is not known.
    touched: Option<BTreeSet<WorkId>>,
    seen: Option<Mirror>,
}

impl Watch {
    /// The next snapshot that is another than the last.
    async fn next(&mut self) -> Option<Vec<WorkInfo>> {
        let mut has_read = true;
        loop {
            if has_read {
                self.signals.next().await?;
            }
            match self.look().await {
                Ok(Shown::Another) => return self.seen.as_ref().map(Mirror::works),
                Ok(Shown::TheSame) => has_read = true,
                Err(QueryError::Store(error)) if error.is_closed() => return None,
                Err(QueryError::Store(error)) => {
                    self.manager.rest_after(&error).await;
                    has_read = false;
                }
                Err(error @ QueryError::TooMany { .. }) => {
                    tracing::error!(%error, "what is watched is too much, so the stream ends");
                    return None;
                }
            }
        }
    }

    /// Brings what was seen up to a commit that is stored now.
    async fn look(&mut self) -> Result<Shown, QueryError> {
        for _ in 0..MOST_ROUNDS {
            self.gather();
            let (Some(seen), Some(touched)) = (&mut self.seen, &self.touched) else { break };
            if touched.is_empty() {
                return Ok(Shown::TheSame);
            }
            if !seen.is_better_patched(touched) {
                break;
            }
            let query = self.query.clone().among(touched.clone());
            let page = self.manager.page(PageRequest { query, after: None, limit: touched.len() });
            let page = page.await.map_err(QueryError::Store)?;
            let passed = Box::pin(self.signals.have_passed(page.commit));
            select(passed, Box::pin(self.manager.core().clock.sleep(PATIENCE))).await;
            if self.signals.are_within(seen.commit(), page.commit, touched) {
                self.signals.has_read(page.commit);
                let shown = seen.patch(touched, page);
                self.touched = Some(BTreeSet::new());
                QueryError::refuse(seen.len(), self.limit)?;
                return Ok(shown);
            }
        }
        self.look_at_all().await
    }

    /// Takes in what was touched meanwhile.
    fn gather(&mut self) {
        let taken = self.signals.take_touched().into_ids();
        self.touched = self.touched.take().zip(taken).map(|(mut touched, taken)| {
            touched.extend(taken);
            touched
        });
    }

    /// One snapshot is never half a commit, whatever was touched.
    async fn look_at_all(&mut self) -> Result<Shown, QueryError> {
        self.gather();
        let page = self.manager.snapshot(self.query.clone(), self.limit).await?;
        self.signals.has_read(page.commit);
        let now = Mirror::of(page, self.manager.core().store.ownership());
        let is_same = self.seen.as_ref().is_some_and(|seen| seen.shows_the_same(&now));
        (self.seen, self.touched) = (Some(now), Some(BTreeSet::new()));
        Ok(if is_same { Shown::TheSame } else { Shown::Another })
    }
}
