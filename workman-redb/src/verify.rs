//! A file is held against itself ([`verify`]), and made anew from what can be read of it ([`repair_file`]).
//!
//! A store at work looks at what it needs, so damage may lie unseen where nobody looks. Verifying looks at everything: at redb's
//! own checksums, which redb itself does not look at when it reads, and at every row and entry.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase};
use workman_core::store::{Audit, foreign};
use workman_core::{StoreError, StoreErrorKind, WorkId};

use crate::alone::write_alone;
use crate::codec::{Format, JournalRow, Opening, Salt, Usage};
use crate::error::{OpenError, failed, panicked};
use crate::handle::Handle;
use crate::home::{Home, Inspected, JournalNeed, Setup};
use crate::journal::path_beside;
use crate::papers::FORMAT;
use crate::report::{RepairReport, VerifyReport};
use crate::tables::{Copied, SnapshotTables, WriteTables};
use crate::tenure::{Lock, Place, private, sibling, sync_folder};

/// Whether redb's own look at the file found it sound. Otherwise its handle must not be used any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integrity {
    Sound,
    Broken,
}

/// Looks at everything in a database.
pub(crate) fn verify(place: &str, database: &mut Database) -> (VerifyReport, Integrity) {
    let (wrong, integrity) = match guarded(place, || Ok(database.check_integrity())) {
        Ok(Ok(true)) => (None, Integrity::Sound),
        Ok(Ok(false)) => (Some("redb's book of free pages does not fit the file".to_owned()), Integrity::Broken),
        Ok(Err(error)) => (Some(format!("pages of the file are not what redb wrote: {error}")), Integrity::Broken),
        Err(error) => (Some(error.to_string()), Integrity::Broken),
    };
    let looked = guarded(place, || {
        let transaction = database.begin_read().map_err(|error| failed(place, error))?;
        let tables = SnapshotTables::snapshot(place, &transaction);
        let mut audit = Audit::begin(&tables);
        let (works, entries) = tables.audit(&mut audit);
        let (findings, total) = audit.end();
        Ok(VerifyReport { works, entries, findings, total })
    });
    let mut report = looked.unwrap_or_else(|error| {
        let findings = vec![format!("the file can't be gone through: {error}")];
        VerifyReport { total: 1, findings, ..VerifyReport::default() }
    });
    if let Some(wrong) = wrong {
        report.findings.insert(0, wrong);
        report.total += 1;
    }
    (report, integrity)
}

/// Looks at everything in a file that nobody has open, as its next opening would show it, and writes nothing to it.
pub(crate) fn verify_file(path: &Path, cache: usize) -> Result<VerifyReport, OpenError> {
    let looked = guarded_open(path, || {
        let mut inspected = Home::inspect(path, &setup(cache, JournalNeed::Needed))?;
        catch_up(path, &inspected)?;
        let report = verify(&path.display().to_string(), &mut inspected.database).0;
        Ok((report, inspected))
    });
    let (report, inspected) = looked?;
    drop(discard(inspected));
    Ok(report)
}

fn setup(cache: usize, need: JournalNeed) -> Setup {
    Setup { cache, journal: 0, need }
}

/// Puts what the journal holds into a database whose writes stay in memory.
fn catch_up(path: &Path, inspected: &Inspected) -> Result<(), OpenError> {
    let place = path.display().to_string();
    let caught_up = write_alone(&place, &inspected.database, |tables| tables.replay(inspected.sought.found.commits()));
    caught_up.map_err(|error| OpenError::beginning(path, error))
}

/// Makes a file anew from what can be read of it and of its journal, and keeps the old ones.
pub(crate) fn repair_file(path: &Path, cache: usize) -> Result<RepairReport, OpenError> {
    let io = |error| OpenError::io(path, error);
    let inspected = guarded_open(path, || Home::inspect(path, &setup(cache, JournalNeed::Dispensable)))?;
    guarded_open(path, || catch_up(path, &inspected))?;
    let (file, fault) = (inspected.file.clone(), inspected.sought.fault.as_ref().map(ToString::to_string));
    let fresh = sibling(&file, ".repair");
    let made = guarded_open(path, || make_anew(path, &fresh, &inspected.database, cache));
    let (copied, after) = match made {
        Ok(made) => made,
        Err(error) => {
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
    };
    // Some systems replace no file that is open. The lock stays ours.
    let lock = discard(inspected);
    let before = keep_old(&file).map_err(io)?;
    keep_journal(&file, &before).map_err(io)?;
    fs::rename(&fresh, &file).map_err(io)?;
    file.parent().map_or(Ok(()), sync_folder).map_err(io)?;
    // The new store has what could be used of such a journal, and would not open beside it. It is kept with the old file.
    match fs::remove_file(path_beside(&file)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound && fault.is_some() => return Err(io(error)),
        _ => {}
    }
    drop(lock);
    let Copied { works, added, dropped, mut unreadable } = copied;
    unreadable.extend(fault.map(|fault| format!("the journal: {fault}")));
    Ok(RepairReport { works, added, dropped, unreadable, before, after })
}

fn make_anew(path: &Path, fresh: &Path, old: &Database, cache: usize) -> Result<(Copied, VerifyReport), OpenError> {
    let place = path.display().to_string();
    let snapshot = old.begin_read().map_err(|error| OpenError::redb(path, error))?;
    let from = SnapshotTables::snapshot(&place, &snapshot);
    new_file(path, fresh, cache, |tables| {
        let copied = tables.copy_from(&from)?;
        tables.put_journal(JournalRow { usage: Usage::Idle, salt: Salt::generate() })?;
        Ok(copied)
    })
}

/// Makes a file with what `fill` puts into its tables, and looks at all of it.
fn new_file<T>(
    path: &Path,
    fresh: &Path,
    cache: usize,
    fill: impl FnOnce(&mut WriteTables<'_, '_>) -> Result<T, StoreError>,
) -> Result<(T, VerifyReport), OpenError> {
    let io = |error| OpenError::io(path, error);
    let redb = |error: redb::Error| OpenError::redb(path, error);
    let _ = fs::remove_file(fresh);
    let file = private(fs::OpenOptions::new().read(true).write(true).create_new(true)).open(fresh).map_err(io)?;
    let synced = file.try_clone().map_err(io)?;
    let mut builder = redb::Builder::new();
    builder.set_cache_size(cache);
    let backend = FileBackend::new(file).map_err(|error| redb(error.into()))?;
    let mut new = builder.create_with_backend(backend).map_err(|error| redb(error.into()))?;
    let place = path.display().to_string();
    let filled = write_alone(&place, &new, |tables| {
        tables.make_all()?;
        fill(tables)
    });
    let filled = filled.map_err(|error| match error.kind() {
        StoreErrorKind::Corrupted => OpenError::Corrupted { path: path.to_owned(), why: error.to_string() },
        _ => OpenError::Io { path: path.to_owned(), source: io::Error::other(error) },
    })?;
    let report = verify(&place, &mut new).0;
    drop(new);
    synced.sync_all().map_err(io)?;
    Ok((filled, report))
}

/// Copies everything that a store shows now to another path, as a store of its own that nobody has opened yet.
///
/// # Errors
/// When something can't be read or written, or lies there already; then nothing is left there.
pub(crate) fn copy_store(handle: &Handle, to: &Path, cache: usize) -> Result<(), OpenError> {
    let home = Home::File(to.to_owned()).settle()?;
    let place = Place::find(home.path())?;
    let is_taken = || OpenError::io(to, io::ErrorKind::AlreadyExists.into());
    if place.is_taken() {
        return Err(is_taken());
    }
    let _lock = Lock::take(&place)?;
    // Whoever had the lock before may have made a store.
    if place.is_taken() {
        return Err(is_taken());
    }
    let fresh = sibling(&place.real, ".new");
    let copied = handle.read(|from| {
        let copied = new_file(to, &fresh, cache, |tables| {
            tables.copy_all(from)?;
            tables.put_format(Format { version: FORMAT, instance: WorkId::generate() })?;
            tables.put_opening(Opening { incarnation: from.opening()?.incarnation, id: WorkId::generate() })?;
            tables.put_journal(JournalRow { usage: Usage::Idle, salt: Salt::generate() })
        });
        Ok(copied)
    });
    let done = copied.map_err(|error| OpenError::beginning(to, error)).and_then(|copied| copied).and_then(|_| {
        name_anew(&fresh, &place.real)
            .and_then(|()| sync_folder(place.folder()))
            .map_err(|error| OpenError::io(to, error))
    });
    done.inspect_err(|_| drop(fs::remove_file(&fresh)))
}

/// Gives a file a name that nobody else has taken meanwhile.
fn name_anew(file: &Path, name: &Path) -> io::Result<()> {
    match fs::hard_link(file, name) {
        // The other name is begun anew by whoever needs it.
        Ok(()) => drop(fs::remove_file(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // Some file systems have no second names.
        Err(_) if fs::symlink_metadata(name).is_err() => return fs::rename(file, name),
        Err(_) => return Err(io::ErrorKind::AlreadyExists.into()),
    }
    Ok(())
}

/// Gives the old file a second name. The new one then takes the first in one step, so there is always a store.
fn keep_old(path: &Path) -> io::Result<PathBuf> {
    for number in 1.. {
        let before = sibling(path, &format!(".before-repair-{number}"));
        // One that somebody has removed may have left its journal.
        if fs::symlink_metadata(path_beside(&before)).is_ok() {
            continue;
        }
        match fs::hard_link(path, &before) {
            Ok(()) => return Ok(before),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Some file systems have no second names.
            Err(_) if !before.exists() => return fs::copy(path, &before).map(|_| before),
            Err(_) => {}
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Gives the journal of the old file the name that belongs to it now. Until the new file has its name, the old one lies beside a copy.
fn keep_journal(path: &Path, before: &Path) -> io::Result<()> {
    let (journal, kept) = (path_beside(path), path_beside(before));
    match fs::copy(&journal, &kept) {
        // Windows syncs nothing that can't be written.
        Ok(_) => fs::OpenOptions::new().write(true).open(&kept)?.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// A damaged file can make redb panic when it is closed.
fn discard(inspected: Inspected) -> Lock {
    let Inspected { database, lock, .. } = inspected;
    let _ = foreign(|| drop(database));
    lock
}

fn guarded<T>(place: &str, look: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    foreign(look).unwrap_or_else(|said| Err(panicked(place, StoreErrorKind::Corrupted, &said)))
}

fn guarded_open<T>(path: &Path, look: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    foreign(look).unwrap_or_else(|said| {
        let place = path.display().to_string();
        let why = panicked(&place, StoreErrorKind::Corrupted, &said).to_string();
        Err(OpenError::Corrupted { path: path.to_owned(), why })
    })
}
