//! The reference store keeps the contract.

use workman_core::MemoryStore;
use workman_core::store::Dump;
use workman_testing::conformance::StoreFactory;

/// A piece of memory, kept by an opening that is closed as soon as another is made.
struct Memory(MemoryStore);

impl StoreFactory for Memory {
    type Store = MemoryStore;

    fn new() -> Self {
        Memory(MemoryStore::new())
    }

    fn open(&self) -> MemoryStore {
        self.0.reopen()
    }

    fn dump(&self, store: &MemoryStore) -> Option<Dump> {
        Some(store.dump())
    }
}

workman_testing::store_conformance!(Memory);
