//! What is read again after every change, and shown if it is not what it was.

use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};

use super::WorkManager;
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::observe::Signals;
use crate::query::{PageRequest, WorkQuery};
use crate::store::StoreError;
use crate::time::Timestamp;

/// No work has this id, so a query for it reads no work, and signals about it come only when everything may have changed.
const NO_WORK: WorkId = WorkId::from_u128(0);

impl WorkManager {
    /// What matches, now and after every change. Equal snapshots are left out, states in between may be skipped, the last
    /// one never is. Nothing is polled: an unchanged store costs nothing. Ends when the manager is shut down; until then the
    /// stream holds it, as a handle does.
    pub fn watch(&self, query: WorkQuery) -> BoxStream<'static, Vec<WorkInfo>> {
        let signals = self.core().hub.watch(query.ids.iter().copied());
        self.follow(signals, move |manager| {
            let query = query.clone();
            Box::pin(async move { manager.query(query).await })
        })
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
        self.follow(signals, |manager| Box::pin(async move { manager.last_cancel_all().await }))
    }

    /// What `read` answers, after each signal, if it is not what it was.
    fn follow<T>(
        &self,
        signals: Signals,
        read: impl Fn(WorkManager) -> BoxFuture<'static, Result<T, StoreError>> + Send + 'static,
    ) -> BoxStream<'static, T>
    where
        T: Clone + PartialEq + Send + 'static,
    {
        let start = (self.clone(), read, signals, None::<T>);
        stream::unfold(start, |(manager, read, mut signals, last)| async move {
            let mut read_again = false;
            loop {
                if !read_again {
                    signals.next().await?;
                }
                read_again = false;
                let seen = match read(manager.clone()).await {
                    Ok(seen) => seen,
                    Err(error) if error.is_closed() => return None,
                    Err(error) => {
                        tracing::warn!(%error, "what is watched could not be read; it is read again in a second");
                        manager.core().clock.sleep(Duration::from_secs(1)).await;
                        read_again = true;
                        continue;
                    }
                };
                if last.as_ref() != Some(&seen) {
                    return Some((seen.clone(), (manager, read, signals, Some(seen))));
                }
            }
        })
        .boxed()
    }
}
