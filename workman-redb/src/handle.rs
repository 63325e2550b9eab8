//! [`Handle`]: the one open database, and how it is replaced when it died.
//!
//! After its first I/O error a redb handle answers nothing but errors. It is dropped then and the file opened again; the
//! store itself stays open, so claims stay alive. Readers share the handle with the writer; only the writer replaces it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadableDatabase};
use workman_core::id::WorkId;
use workman_core::store::{StoreError, StoreErrorKind};

use crate::codec::Format;
use crate::error::{OpenError, failed, panicked};
use crate::home::Home;
use crate::tables::SnapshotTables;

/// The open database.
pub(crate) struct Handle {
    home: Home,
    place: String,
    cache: usize,
    instance: WorkId,
    slot: RwLock<Slot>,
    /// Grows with each replacement, so that a reader's complaint about an old handle does not cost a new one.
    generation: AtomicU64,
}

enum Slot {
    Open(Database),
    Down,
    Closed,
}

/// A database that was opened and has no handle yet.
pub(crate) struct Opened {
    database: Database,
    format: Format,
}

impl Opened {
    /// The database, to be looked at before it is used.
    pub(crate) fn database(&mut self) -> &mut Database {
        &mut self.database
    }

    pub(crate) fn into_handle(self, home: Home, cache: usize) -> Handle {
        Handle {
            place: home.path().display().to_string(),
            home,
            cache,
            instance: self.format.instance,
            slot: RwLock::new(Slot::Open(self.database)),
            generation: AtomicU64::new(0),
        }
    }
}

impl Handle {
    /// Opens the store, and makes it if there is none.
    pub(crate) fn open(home: &Home, cache: usize) -> Result<Opened, OpenError> {
        guarded(home, || home.open(cache).map(|(database, format)| Opened { database, format }))
    }

    /// What messages call the store.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Uses the database.
    ///
    /// # Errors
    /// What the use answers; `Closed`; `Rejected` while there is no handle.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(database) => use_it(database),
            Slot::Down => Err(down(&self.place)),
            Slot::Closed => Err(StoreError::closed()),
        }
    }

    /// Reads one snapshot. The snapshot ends with the call, so it never keeps the file from reusing space.
    ///
    /// # Errors
    /// As [`with`](Self::with); a panic is `Corrupted`.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&SnapshotTables<'_, '_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let place = &*self.place;
        catch_unwind(AssertUnwindSafe(|| {
            self.with(|database| {
                let transaction = database.begin_read().map_err(|error| failed(place, error))?;
                let tables = SnapshotTables::snapshot(place, &transaction);
                look(&tables)
            })
        }))
        .unwrap_or_else(|payload| Err(panicked(place, StoreErrorKind::Corrupted, &*payload)))
    }

    /// Uses the database alone: waits for the reads that are under way, and holds up those that come.
    ///
    /// # Errors
    /// `Closed`; `Rejected` while there is no handle.
    pub(crate) fn alone<T>(&self, use_it: impl FnOnce(&mut Database) -> T) -> Result<T, StoreError> {
        match &mut *self.slot.write().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(database) => Ok(use_it(database)),
            Slot::Down => Err(down(&self.place)),
            Slot::Closed => Err(StoreError::closed()),
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        matches!(&*self.slot.read().unwrap_or_else(PoisonError::into_inner), Slot::Down)
    }

    /// Lets go of a database that must not be used any more.
    pub(crate) fn take_down(&self) {
        self.exchange(Slot::Down);
    }

    /// Opens the file again.
    ///
    /// # Errors
    /// When it can't be opened, or is another store.
    pub(crate) fn reopen(&self) -> Result<(), OpenError> {
        let database = guarded(&self.home, || self.home.reopen(self.cache, self.instance))?;
        self.exchange(Slot::Open(database));
        Ok(())
    }

    /// Closes the database for good.
    pub(crate) fn close(&self) {
        self.exchange(Slot::Closed);
    }

    /// Waits for the reads that are under way. A damaged file can make redb panic when it is closed, which harms nobody.
    fn exchange(&self, slot: Slot) {
        let mut guard = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *guard, slot);
        self.generation.fetch_add(1, Ordering::AcqRel);
        if catch_unwind(AssertUnwindSafe(|| drop(old))).is_err() {
            tracing::error!(store = self.place, "redb panicked while it closed the store");
        }
    }
}

fn down(place: &str) -> StoreError {
    let message = format!("the store {place} is down after an error and could not be opened again yet");
    StoreError::new(StoreErrorKind::Rejected, message)
}

/// A damaged file can make redb panic when it is opened.
fn guarded<T>(home: &Home, open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|payload| {
        let path = home.path().to_owned();
        let why = panicked(&path.display().to_string(), StoreErrorKind::Corrupted, &*payload).to_string();
        Err(OpenError::Corrupted { path, why })
    })
}
