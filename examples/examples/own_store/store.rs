//! [`SnapshotStore`]: every commit makes a new version of everything, and readers keep theirs.
//!
//! That is simple, and right, and slow for many works, since a commit copies all rows. A commit that fails half-way needs no
//! undo: its version is dropped. The rows are a [`RowMap`]; a store that keeps them elsewhere implements `Rows` and `RowsMut`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use workman_core::StoreError;
use workman_core::store::{
    Change, ChangeFeed, Opening, Ownership, Page, PageRequest, RowMap, Store, Transaction, Unit, UnitResult, page,
};

/// Keeps works in memory, one immutable version after the other.
pub(crate) struct SnapshotStore {
    shelf: Arc<Mutex<Shelf>>,
    incarnation: u64,
    /// What the time is made of as long as this opening lasts.
    opening: Mutex<Opening>,
    feed: ChangeFeed,
}

/// What all openings share: the newest version, and which opening may use it.
#[derive(Default)]
struct Shelf {
    newest: Arc<Version>,
    openings: u64,
    open: Option<u64>,
}

#[derive(Clone, Default)]
struct Version {
    commit: u64,
    rows: RowMap,
}

impl SnapshotStore {
    /// An empty store.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::open(Arc::default())
    }

    /// Opens the same works anew, as the next process would; this opening is closed by that.
    #[must_use]
    pub(crate) fn reopen(&self) -> Self {
        self.feed.close();
        Self::open(Arc::clone(&self.shelf))
    }

    fn open(shelf: Arc<Mutex<Shelf>>) -> Self {
        let mut opened = lock(&shelf);
        opened.openings += 1;
        let incarnation = opened.openings;
        opened.open = Some(incarnation);
        drop(opened);
        SnapshotStore { shelf, incarnation, opening: Mutex::new(Opening::new(incarnation)), feed: ChangeFeed::new() }
    }

    fn shelf(&self) -> Result<MutexGuard<'_, Shelf>, StoreError> {
        let shelf = lock(&self.shelf);
        if shelf.open == Some(self.incarnation) { Ok(shelf) } else { Err(StoreError::closed()) }
    }
}

#[async_trait]
impl Store for SnapshotStore {
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        let mut shelf = self.shelf()?;
        let mut next = Version::clone(&shelf.newest);
        next.commit += 1;
        let mut opening = lock(&self.opening);
        let mut transaction = Transaction::begin(&next.rows, &mut opening)?;
        let answers = units.iter().map(|unit| transaction.run_unit(&mut next.rows, unit)).collect::<Result<_, _>>();
        self.feed.report(transaction.take_damage());
        let answers = answers?;
        let commit = next.commit;
        if let Some(change) = transaction.finish(&mut next.rows, commit)? {
            shelf.newest = Arc::new(next);
            self.feed.announce(&change); // still under the lock: changes come in the order of commits
        }
        Ok(answers)
    }

    async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        let version = Arc::clone(&self.shelf()?.newest); // from here on nobody waits for this reader
        let mut damage = Vec::new();
        let page = page(&version.rows, &request, version.commit, &mut damage);
        self.feed.report(damage);
        page
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        self.feed.subscribe()
    }

    fn ownership(&self) -> Ownership {
        Ownership::Exclusive
    }

    async fn close(&self) {
        let mut shelf = lock(&self.shelf);
        shelf.open = shelf.open.filter(|open| *open != self.incarnation);
        drop(shelf);
        self.feed.close();
    }
}

fn lock<T>(shelf: &Mutex<T>) -> MutexGuard<'_, T> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
