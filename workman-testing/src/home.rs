//! [`StoreHome`]: where the works of a test live, across the deaths of its processes.

use std::sync::{Arc, Mutex, PoisonError};

use workman_core::MemoryStore;
use workman_core::store::{Dump, Store};

/// Opens the store of a test, once for each process.
///
/// The store must answer in place: a call that waits for another thread would be taken for a worker that is stuck.
/// `RedbStore::builder(path).inline()` is such a store.
///
/// ```
/// use std::sync::Arc;
/// use workman_core::store::Store;
/// use workman_testing::{MemoryHome, StoreHome, TestDriver};
///
/// struct Counted(MemoryHome);
///
/// impl StoreHome for Counted {
///     fn open(&self) -> Arc<dyn Store> {
///         println!("a process begins");
///         self.0.open()
///     }
/// }
///
/// let test = TestDriver::new().store(Counted(MemoryHome::new()));
/// test.crash_and_restart();
/// ```
pub trait StoreHome: Send + Sync + 'static {
    /// Opens the store as the next process would: empty at first, later with all the works that were there. The opening
    /// before is gone by then, or must be closed by this.
    fn open(&self) -> Arc<dyn Store>;

    /// Everything that is stored, if the store can tell; the driver then checks all invariants, as it says in
    /// [What is checked](crate::TestDriver#what-is-checked).
    fn dump(&self) -> Option<Dump> {
        None
    }
}

/// Works in memory.
#[derive(Default)]
pub struct MemoryHome {
    store: Mutex<Option<Arc<MemoryStore>>>,
}

impl MemoryHome {
    /// No works yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl StoreHome for MemoryHome {
    fn open(&self) -> Arc<dyn Store> {
        let mut place = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let store = Arc::new(place.as_ref().map_or_else(MemoryStore::new, |store| store.reopen()));
        *place = Some(Arc::clone(&store));
        store
    }

    fn dump(&self) -> Option<Dump> {
        let place = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        place.as_ref().map(|store| store.dump())
    }
}
