//! The file keeps the contract of a store: with its threads, without them, and on a disk that fails.

mod support;

use std::io::ErrorKind;

use support::disk::{Disk, Fault};
use support::{Folder, block_on};
use workman_core::store::Dump;
use workman_redb::RedbStore;
use workman_testing::conformance::{FaultInjected, StoreFactory};

/// As a program opens it.
mod threaded {
    use super::*;

    struct File(Folder);

    impl StoreFactory for File {
        type Store = RedbStore;

        fn new() -> Self {
            File(Folder::new("conformance"))
        }

        fn open(&self) -> RedbStore {
            RedbStore::open(self.0.store()).unwrap()
        }

        fn open_beside(&self, _first: &RedbStore) -> Option<RedbStore> {
            RedbStore::open(self.0.store()).ok()
        }

        fn dump(&self, store: &RedbStore) -> Option<Dump> {
            Some(block_on(store.dump()).unwrap())
        }
    }

    workman_testing::store_conformance!(File);
}

/// As a test driver opens it: no threads, on a disk whose next sync can fail.
mod inline {
    use super::*;

    struct Failing(Disk);

    impl StoreFactory for Failing {
        type Store = RedbStore;

        fn new() -> Self {
            Failing(Disk::default())
        }

        fn open(&self) -> RedbStore {
            self.0.inline().open().unwrap()
        }

        fn fail_next_commit(&self, _store: &RedbStore) -> FaultInjected {
            self.0.plan_fault(0, Fault::Error(ErrorKind::Other));
            FaultInjected::Yes
        }

        fn dump(&self, store: &RedbStore) -> Option<Dump> {
            Some(block_on(store.dump()).unwrap())
        }
    }

    workman_testing::store_conformance!(Failing);
}
