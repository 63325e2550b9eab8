//! [`Handle`]: the one open database, and how it is replaced when it died.
//!
//! After its first I/O error a redb handle answers nothing but errors. It is dropped then and the file opened again; the
//! store itself stays open, so claims stay alive. Readers share the handle with the writer; only the writer replaces it.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Database, ReadableDatabase};
use workman_core::store::foreign;
use workman_core::{StoreError, StoreErrorKind, WorkId};

use crate::codec::Opening;
use crate::error::{OpenError, failed, panicked};
use crate::home::{Home, Opened, Papers, Refused, write_alone};
use crate::tables::SnapshotTables;
use crate::tenure::Tenure;

/// The open database.
pub(crate) struct Handle {
    home: Home,
    place: String,
    cache: usize,
    instance: WorkId,
    slot: RwLock<Slot>,
    tenure: Option<Tenure>,
    /// The openings that are ours, or followed by ours: one, but while our own is being written.
    openings: Mutex<Vec<Opening>>,
    /// Grows with each replacement, so that a reader's complaint about an old handle does not cost a new one.
    generation: AtomicU64,
}

enum Slot {
    Open(Database),
    Down,
    Closed,
    /// It is somebody else's now.
    Lost(StoreError),
}

impl Handle {
    /// Opens the store, and makes it if there is none.
    pub(crate) fn open(home: &Home, cache: usize) -> Result<Opened, OpenError> {
        guarded(home, || home.open(cache))
    }

    pub(crate) fn new(opened: Opened, home: Home, cache: usize) -> Self {
        let Opened { database, papers, tenure } = opened;
        Handle {
            place: home.path().display().to_string(),
            home,
            cache,
            instance: papers.format.instance,
            slot: RwLock::new(Slot::Open(database)),
            tenure,
            openings: Mutex::new(vec![papers.opening]),
            generation: AtomicU64::new(0),
        }
    }

    /// Writes down that the store was opened here. Until that is on disk, nobody may be answered.
    ///
    /// # Errors
    /// When it could not be written; it may be tried again after a reopening.
    pub(crate) fn enter(&self) -> Result<u64, StoreError> {
        let opening = {
            let mut openings = lock(&self.openings);
            let newest = openings.iter().map(|opening| opening.incarnation).max().unwrap_or(0);
            let incarnation = newest.checked_add(1).ok_or_else(|| self.counted_out())?;
            let opening = Opening { incarnation, id: WorkId::generate() };
            openings.push(opening);
            opening
        };
        let place = &*self.place;
        let entered =
            foreign(|| self.with(|database| write_alone(place, database, |tables| tables.put_opening(opening))));
        entered.unwrap_or_else(|said| Err(panicked(place, StoreErrorKind::Corrupted, &said)))?;
        *lock(&self.openings) = vec![opening];
        Ok(opening.incarnation)
    }

    fn counted_out(&self) -> StoreError {
        let message = format!("the store {} says that it was opened more often than can be counted", self.place);
        StoreError::new(StoreErrorKind::Corrupted, message)
    }

    /// What messages call the store.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The file behind the path, beside which everything lies that belongs to it.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.tenure.as_ref().map(|tenure| &*tenure.place().real)
    }

    /// Uses the database, if it is still where it was opened. What is written to a file that was deleted or replaced is gone at the
    /// next start, and what is read from it is another truth than that of the next who opens the path.
    ///
    /// # Errors
    /// What the use answers; `Closed`; `Lost`; `Rejected` while there is no handle, or no file.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(database) => {
                self.check()?;
                use_it(database)
            }
            Slot::Down => Err(down(&self.place)),
            Slot::Closed => Err(StoreError::closed()),
            Slot::Lost(error) => Err(error.clone()),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let Some(tenure) = &self.tenure else { return Ok(()) };
        tenure.check().map_err(|astray| astray.refusal(&self.place))
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
        foreign(|| {
            self.with(|database| {
                let transaction = database.begin_read().map_err(|error| failed(place, error))?;
                let tables = SnapshotTables::snapshot(place, &transaction);
                look(&tables)
            })
        })
        .unwrap_or_else(|said| Err(panicked(place, StoreErrorKind::Corrupted, &said)))
    }

    /// Uses the database alone: waits for the reads that are under way, and holds up those that come.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub(crate) fn alone<T>(&self, use_it: impl FnOnce(&mut Database) -> T) -> Result<T, StoreError> {
        match &mut *self.slot.write().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(database) => {
                self.check()?;
                Ok(use_it(database))
            }
            Slot::Down => Err(down(&self.place)),
            Slot::Closed => Err(StoreError::closed()),
            Slot::Lost(error) => Err(error.clone()),
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        matches!(&*self.slot.read().unwrap_or_else(PoisonError::into_inner), Slot::Down)
    }

    /// Lets go of a database that must not be used any more.
    pub(crate) fn take_down(&self) {
        if !matches!(&*self.slot.read().unwrap_or_else(PoisonError::into_inner), Slot::Lost(_) | Slot::Closed) {
            self.exchange(Slot::Down);
        }
    }

    /// Opens the store again, and says which commit it shows; `commits` are those that it may show.
    ///
    /// # Errors
    /// `Rejected` when it can't be opened now, or is another store; `Lost` when somebody else has opened or written it meanwhile.
    pub(crate) fn reopen(&self, commits: &RangeInclusive<u64>) -> Result<u64, StoreError> {
        let reopened = guarded(&self.home, || {
            self.home.reopen(self.cache, self.tenure.as_ref(), |papers| self.recognise(papers, commits))
        });
        let why = match reopened {
            Ok((database, papers)) => {
                self.exchange(Slot::Open(database));
                return Ok(papers.commit);
            }
            Err(Refused::Open(error)) => {
                return Err(StoreError::new(StoreErrorKind::Rejected, error.to_string()).caused_by(error));
            }
            Err(Refused::Astray(astray)) => return Err(astray.refusal(&self.place)),
            Err(Refused::Taken(by)) => format!(
                "somebody else has opened it (as number {}) while this process had no hold of its file after an error",
                by.incarnation
            ),
            Err(Refused::Strange(commit)) => format!(
                "it shows commit {commit} and must show one of {} to {}; somebody else has written to it, or put an older copy in \
                 its place",
                commits.start(),
                commits.end()
            ),
        };
        Err(self.lose(&why))
    }

    fn recognise(&self, papers: Papers, commits: &RangeInclusive<u64>) -> Result<(), Refused> {
        if papers.format.instance != self.instance {
            let path = self.home.path().to_owned();
            let why = "it is another store than the one that was opened".into();
            return Err(Refused::Open(OpenError::NotAStore { path, why }));
        }
        if !lock(&self.openings).contains(&papers.opening) {
            return Err(Refused::Taken(papers.opening));
        }
        if commits.contains(&papers.commit) { Ok(()) } else { Err(Refused::Strange(papers.commit)) }
    }

    /// The store is not ours any more, for good: what this process knows of it may not be true, and its claims may be another's.
    fn lose(&self, why: &str) -> StoreError {
        let message = format!(
            "the store {} is lost to this process: {why}; nothing is stored or run here any more: close it, and open it anew",
            self.place
        );
        let error = StoreError::new(StoreErrorKind::Lost, message);
        self.exchange(Slot::Lost(error.clone()));
        error
    }

    /// Closes the database for good, and gives the lock back.
    pub(crate) fn close(&self) {
        self.exchange(Slot::Closed);
        if let Some(tenure) = &self.tenure {
            tenure.end();
        }
    }

    /// Waits for the reads that are under way. A damaged file can make redb panic when it is closed, which harms nobody.
    fn exchange(&self, slot: Slot) {
        let mut guard = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *guard, slot);
        self.generation.fetch_add(1, Ordering::AcqRel);
        if foreign(|| drop(old)).is_err() {
            tracing::error!(store = self.place, "redb panicked while it closed the store");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

fn down(place: &str) -> StoreError {
    let message = format!("the store {place} is down after an error and could not be opened again yet");
    StoreError::new(StoreErrorKind::Rejected, message)
}

/// A damaged file can make redb panic when it is opened.
fn guarded<T, E: From<OpenError>>(home: &Home, open: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    foreign(open).unwrap_or_else(|said| {
        let path = home.path().to_owned();
        let why = panicked(&path.display().to_string(), StoreErrorKind::Corrupted, &said).to_string();
        Err(OpenError::Corrupted { path, why }.into())
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
