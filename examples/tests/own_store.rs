//! The store of the example `own_store` keeps the contract, clause by clause.

#[path = "../examples/own_store/store.rs"]
mod store;

use store::SnapshotStore;
use workman_testing::conformance::StoreFactory;

/// One store, and all its openings.
struct Shelf(SnapshotStore);

impl StoreFactory for Shelf {
    type Store = SnapshotStore;

    fn new() -> Self {
        Shelf(SnapshotStore::new())
    }

    fn open(&self) -> SnapshotStore {
        self.0.reopen()
    }
}

workman_testing::store_conformance!(Shelf);
