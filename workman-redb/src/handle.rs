//! [`Handle`]: the one open database, and how it is replaced when it died.
//!
//! After its first I/O error a redb handle answers nothing but errors. It is dropped then and the file opened again; the
//! store itself stays open, so claims stay alive. Readers share the handle with the writer; only the writer replaces it, and nobody
//! reads from a new one before it has what is in the journal.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Database, ReadableDatabase};
use workman_core::store::foreign;
use workman_core::{StoreError, StoreErrorKind, WorkId};

use crate::alone::{write_alone, write_unsynced};
use crate::codec::{JournalRow, Opening, Salt, Usage};
use crate::error::{JournalFault, OpenError, failed, panicked, unmade, unwritten};
use crate::home::{Home, JournalNeed, Opened, Refused, Setup, Sought};
use crate::journal::{Found, Header, Journal, Trust, keep_aside};
use crate::looks::Looks;
use crate::papers::Papers;
use crate::tables::{SnapshotTables, WriteTables};
use crate::tenure::Tenure;

/// The open database.
pub(crate) struct Handle {
    home: Home,
    place: String,
    setup: Setup,
    instance: WorkId,
    slot: RwLock<Slot>,
    tenure: Option<Tenure>,
    /// The openings that are ours, or followed by ours: one, but while our own is being written.
    openings: Mutex<Vec<Opening>>,
    /// Grows with each replacement, so that a reader's complaint about an old handle does not cost a new one.
    generation: AtomicU64,
    looks: Looks,
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
    pub(crate) fn open(home: &Home, setup: &Setup) -> Result<Opened, OpenError> {
        guarded(home, || home.open(setup))
    }

    /// The handle of a store that was opened, and its journal as it was found.
    pub(crate) fn new(opened: Opened, home: Home, setup: Setup) -> (Self, Sought) {
        let Opened { database, papers, sought, tenure } = opened;
        let handle = Handle {
            place: home.path().display().to_string(),
            home,
            setup,
            instance: papers.format.instance,
            slot: RwLock::new(Slot::Open(database)),
            tenure,
            openings: Mutex::new(vec![papers.opening]),
            generation: AtomicU64::new(0),
            looks: Looks::default(),
        };
        (handle, sought)
    }

    /// The journal of the store that was opened. One that is not to be used is given another name, after the store has what could
    /// be used of it.
    ///
    /// # Errors
    /// When there can't be one.
    pub(crate) fn begin_journal(&self, sought: &mut Sought) -> Result<Journal, StoreError> {
        let place = &*self.place;
        if let Some(fault) = &sought.fault {
            tracing::error!(store = place, %fault, "the store is opened without its journal, which is kept under another name");
            // First its other name, then a store that does without it, then a new one in its place: the power may fail in between.
            self.file().map_or(Ok(()), keep_aside).map_err(|error| unmade(place, error))?;
            let row = JournalRow { usage: Usage::Idle, salt: Salt::generate() };
            self.write(|tables| tables.replay(sought.found.commits()).and_then(|()| tables.put_journal(row)))?;
            sought.found = match self.home.journal_anew().map_err(|error| unmade(place, error))? {
                Some(file) => Found::blank(file, sought.found.newest()),
                None => Found::nothing(sought.found.newest()),
            };
            sought.fault = None;
        }
        foreign(|| self.make_journal(sought))
            .unwrap_or_else(|said| Err(panicked(place, StoreErrorKind::Rejected, &said)))
    }

    fn make_journal(&self, sought: &mut Sought) -> Result<Journal, StoreError> {
        let incarnation = lock(&self.openings).iter().map(|opening| opening.incarnation).max().unwrap_or(0);
        let length = Journal::length_for(self.setup.journal);
        let header = Header { instance: self.instance, length, incarnation };
        Journal::begin(&mut sought.found, self.file(), header).map_err(|error| unmade(&self.place, error))
    }

    /// Writes down that the store was opened here, and what its journal holds. Until that is on disk, nobody may be answered.
    ///
    /// # Errors
    /// When it could not be written; it may be tried again after a reopening.
    pub(crate) fn enter(&self, journal: &mut Journal, found: &Found) -> Result<u64, StoreError> {
        let opening = {
            let mut openings = lock(&self.openings);
            let newest = openings.iter().map(|opening| opening.incarnation).max().unwrap_or(0);
            let incarnation = newest.checked_add(1).ok_or_else(|| self.counted_out())?;
            let opening = Opening { incarnation, id: WorkId::generate() };
            openings.push(opening);
            opening
        };
        let row = JournalRow { usage: Usage::InUse, salt: Salt::generate() };
        self.write(|tables| {
            tables.replay(found.commits())?;
            tables.put_opening(opening)?;
            tables.put_journal(row)
        })?;
        journal.restart(row);
        let length = Journal::length_for(self.setup.journal);
        if let Err(error) = quietly(|| journal.resize(length)) {
            tracing::warn!(store = &*self.place, %error, length, "the journal could not be made as long as it should be");
        }
        *lock(&self.openings) = vec![opening];
        Ok(opening.incarnation)
    }

    /// Writes what is no commit of works, and syncs it.
    ///
    /// # Errors
    /// As [`with`](Self::with); a panic is `Corrupted`.
    pub(crate) fn write(
        &self,
        write: impl FnOnce(&mut WriteTables<'_, '_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let place = &*self.place;
        foreign(|| self.with(|database| write_alone(place, database, write)))
            .unwrap_or_else(|said| Err(panicked(place, StoreErrorKind::Corrupted, &said)))
    }

    fn counted_out(&self) -> StoreError {
        let message = format!("the store {} says that it was opened more often than can be counted", self.place);
        StoreError::new(StoreErrorKind::Corrupted, message)
    }

    /// What tells the file from every other store.
    pub(crate) fn instance(&self) -> WorkId {
        self.instance
    }

    /// What messages call the store.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn looks(&self) -> &Looks {
        &self.looks
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The file behind the path, beside which everything lies that belongs to it.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.tenure.as_ref().map(|tenure| &*tenure.place().real)
    }

    /// How many bytes were written to the file since this was asked last.
    pub(crate) fn take_written(&self) -> u64 {
        self.tenure.as_ref().map_or(0, |tenure| tenure.extent().take_written())
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

    /// Whether there is a database that can be used.
    pub(crate) fn is_open(&self) -> bool {
        matches!(&*self.slot.read().unwrap_or_else(PoisonError::into_inner), Slot::Open(_))
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

    /// Opens the store again, puts into it what its journal holds, and says which commit it shows then; `commits` are those that it
    /// may show.
    ///
    /// # Errors
    /// `Rejected` when it can't be opened now, or is another store; `Lost` when somebody else has opened or written it meanwhile.
    pub(crate) fn reopen(&self, commits: &RangeInclusive<u64>, journal: &mut Journal) -> Result<u64, StoreError> {
        let reopened = guarded(&self.home, || {
            let is_ours = |papers| self.recognise(papers, *commits.end());
            let setup = Setup { need: JournalNeed::Needed, ..self.setup };
            let (database, papers, sought) = self.home.reopen(&setup, self.tenure.as_ref(), is_ours)?;
            let newest = sought.found.newest();
            if !commits.contains(&newest) {
                return Err(Refused::Strange(newest));
            }
            self.catch_up(&database, &papers, sought.found, journal).map_err(Refused::Failed)?;
            Ok((database, newest))
        });
        let why = match reopened {
            Ok((database, newest)) => {
                self.exchange(Slot::Open(database));
                return Ok(newest);
            }
            Err(Refused::Failed(error)) => return Err(error),
            Err(Refused::Open(OpenError::Journal { fault: JournalFault::Ahead { found, stored }, .. })) => {
                format!(
                    "it shows commit {stored}, and its journal begins with {found}; somebody has put an older copy in its place"
                )
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

    /// Puts what the journal holds into a database that was opened again. Only a sound journal goes on as it is; before anything is
    /// written to another one, a checkpoint is on disk.
    fn catch_up(
        &self,
        database: &Database,
        papers: &Papers,
        mut found: Found,
        journal: &mut Journal,
    ) -> Result<(), StoreError> {
        let place = &*self.place;
        let is_away = papers.journal.usage == Usage::Idle && journal.trust() == Trust::Away;
        let goes_on = papers.journal.salt == journal.salt() && journal.trust() == Trust::Sound;
        if goes_on && !found.is_empty() {
            write_unsynced(place, database, |tables| tables.replay(found.commits()))?;
        }
        if goes_on {
            journal.take_up(&mut found);
            journal.sync().map_err(|error| unwritten(place, error))?;
        }
        if goes_on || is_away {
            return Ok(());
        }
        let usage = if found.has_file() { Usage::InUse } else { Usage::Idle };
        let row = JournalRow { usage, salt: Salt::generate() };
        write_alone(place, database, |tables| tables.replay(found.commits()).and_then(|()| tables.put_journal(row)))?;
        journal.take_up(&mut found);
        journal.restart(row);
        Ok(())
    }

    fn recognise(&self, papers: Papers, newest: u64) -> Result<(), Refused> {
        if papers.format.instance != self.instance {
            let path = self.home.path().to_owned();
            let why = "it is another store than the one that was opened".into();
            return Err(Refused::Open(OpenError::NotAStore { path, why }));
        }
        if !lock(&self.openings).contains(&papers.opening) {
            return Err(Refused::Taken(papers.opening));
        }
        if papers.commit <= newest { Ok(()) } else { Err(Refused::Strange(papers.commit)) }
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

/// Does what the store can do without; a panic is an error like any other.
pub(crate) fn quietly(attempt: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    foreign(attempt).unwrap_or_else(|said| Err(io::Error::other(said.to_string())))
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
