//! [`JournalFile`]: the file itself, and what is found in it when a store is opened.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;
use workman_core::WorkId;

use super::record::{self, HEADER, Header, LONGEST, Misfit, NoHeader, START, Tail};
use crate::codec::{JournalRow, Salt, Usage};
use crate::error::{Astray, JournalFault};
use crate::tenure::{Mark, Pin, private, sibling, sync_folder};

/// Where the journal of a store lies.
pub(crate) fn path_beside(store: &Path) -> PathBuf {
    sibling(store, ".journal")
}

/// The file of a journal, or what shows one.
pub(crate) struct JournalFile {
    backend: Box<dyn StorageBackend>,
    /// Which file it is; a disk of somebody else's making has none.
    mark: Option<Mark>,
    /// Keeps its name to it.
    _pin: Option<Pin>,
}

impl JournalFile {
    /// The file beside this store, if there is one.
    ///
    /// # Errors
    /// When it can't be opened for writing, or is no file.
    pub(crate) fn beside(store: &Path) -> io::Result<Option<Self>> {
        let path = path_beside(store);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => {
                let file = OpenOptions::new().read(true).write(true).open(&path)?;
                Ok(Some(JournalFile { _pin: Some(Pin::put(&path)?), ..Self::of(path, file)? }))
            }
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One on a disk of somebody else's making.
    pub(crate) fn on(backend: Box<dyn StorageBackend>) -> Self {
        JournalFile { backend, mark: None, _pin: None }
    }

    fn of(path: PathBuf, file: File) -> io::Result<Self> {
        let mark = Mark::of(path, &file)?;
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(JournalFile { backend: Box::new(backend), mark: Some(mark), _pin: None })
    }

    /// Makes one beside a store, under another name until it is complete, so that there is never half a journal.
    ///
    /// # Errors
    /// When there is no room, or no right.
    pub(super) fn make_beside(store: &Path, header: Header) -> io::Result<Self> {
        let (path, fresh) = (path_beside(store), sibling(store, ".journal.new"));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = private(OpenOptions::new().read(true).write(true).create_new(true)).open(&fresh)?;
        let made = Self::of(path.clone(), file).and_then(|made| made.lay_out(header).map(|()| made));
        let made = made.inspect_err(|_| drop(fs::remove_file(&fresh)))?;
        fs::rename(&fresh, &path)?;
        sync_folder(path.parent().unwrap_or(&path))?;
        Ok(JournalFile { _pin: Some(Pin::put(&path)?), ..made })
    }

    /// Writes an empty journal. All of its room is written, so that a disk which is full later does not matter to it.
    pub(super) fn lay_out(&self, header: Header) -> io::Result<()> {
        self.backend.set_len(header.length)?;
        self.fill(0, header.length)?;
        self.write(0, &header.encode())?;
        self.sync()
    }

    /// Makes an empty journal longer or shorter. The header never promises more than there is.
    pub(super) fn resize(&self, from: Header, to: Header) -> io::Result<()> {
        if to.length > from.length {
            self.backend.set_len(to.length.max(self.backend.len()?))?;
            self.fill(from.length, to.length)?;
            self.sync()?;
        }
        self.write(0, &to.encode())?;
        self.sync()?;
        if to.length < from.length { self.backend.set_len(to.length) } else { Ok(()) }
    }

    pub(super) fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut at = from;
        while at < to {
            let length = (to - at).min(ZEROS.len() as u64);
            self.write(at, &ZEROS[..length as usize])?;
            at += length;
        }
        Ok(())
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.backend.write(at, bytes)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    /// All of it, up to this length.
    fn read(&self, most: u64) -> io::Result<Vec<u8>> {
        let length = self.backend.len()?.min(most);
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?];
        self.backend.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// The commits up to `end` that follow this one.
    pub(super) fn look_back(&self, salt: Salt, stored: u64, end: u64) -> io::Result<Found> {
        let bytes = self.read(end)?;
        let unusable = |_| io::Error::new(io::ErrorKind::InvalidData, "it does not hold what was written");
        let tail = record::read(&bytes, Some(salt), stored).map_err(unusable)?;
        Ok(Found { file: None, bytes, tail })
    }

    pub(super) fn check(&self, length: u64) -> Result<(), Astray> {
        let Some(mark) = &self.mark else { return Ok(()) };
        match mark.find() {
            Ok(Some(found)) if found.len() >= length => Ok(()),
            Ok(_) => Err(Astray::JournalReplaced(mark.path().to_owned())),
            Err(error) => Err(Astray::JournalGone(mark.path().to_owned(), error)),
        }
    }
}

/// Gives the journal beside a store, if there is one, another name beside its own: somebody may want what is in it when a new one
/// has taken its place.
///
/// # Errors
/// When that can't be done.
pub(crate) fn keep_aside(store: &Path) -> io::Result<()> {
    let path = path_beside(store);
    for number in 1.. {
        let aside = sibling(store, &format!(".journal.discarded-{number}"));
        match fs::hard_link(&path, &aside) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(_) if fs::symlink_metadata(&aside).is_ok() => {}
            // Some file systems have no second names.
            Err(_) => {
                fs::copy(&path, &aside)?;
                OpenOptions::new().write(true).open(&aside)?.sync_all()?;
                break;
            }
        }
    }
    sync_folder(path.parent().unwrap_or(&path))
}

/// The store whose journal is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) instance: WorkId,
    /// The number of its newest commit.
    pub(crate) commit: u64,
    pub(crate) row: JournalRow,
}

/// A journal as it was found, and what it holds that its store does not. Nothing was written to it.
pub(crate) struct Found {
    file: Option<(JournalFile, Option<Header>)>,
    bytes: Vec<u8>,
    tail: Tail,
}

impl Found {
    /// No journal, and a store that has everything.
    pub(crate) fn nothing(commit: u64) -> Self {
        Found { file: None, bytes: Vec::new(), tail: Tail::empty(commit) }
    }

    /// A file that is to become a journal, and a store that has everything.
    pub(crate) fn blank(file: JournalFile, commit: u64) -> Self {
        Found { file: Some((file, None)), ..Self::nothing(commit) }
    }

    /// Looks into a journal for what follows the newest commit of a store.
    ///
    /// # Errors
    /// When it can't be read; within, why it is not the one that belongs to the store, or is damaged, with what can be used of it
    /// all the same.
    pub(crate) fn look(file: Option<JournalFile>, wanted: Wanted) -> io::Result<Result<Self, (JournalFault, Self)>> {
        let is_in_use = wanted.row.usage == Usage::InUse;
        let nothing = Self::nothing(wanted.commit);
        let Some(file) = file else {
            return Ok(if is_in_use { Err((JournalFault::Missing, nothing)) } else { Ok(nothing) });
        };
        // Of what is none of ours no more is read, however long it is.
        let header = match Header::decode(&file.read(HEADER as u64)?) {
            Ok(header) => header,
            // On such a disk there are no other names under which it could have been made.
            Err(NoHeader::Blank) if !is_in_use && file.mark.is_none() => {
                return Ok(Ok(Found { file: Some((file, None)), ..nothing }));
            }
            // Nobody needs what such a one holds, if it begins with nothing.
            Err(NoHeader::Damaged) if !is_in_use && record::read(&file.read(START + LONGEST)?, None, 0).is_ok() => {
                return Ok(Ok(Found { file: Some((file, None)), ..nothing }));
            }
            Err(error) => return Ok(Err((fault_of(error, wanted.commit), nothing))),
        };
        let is_ours = header.instance == wanted.instance;
        let (salt, stored) = match (is_ours, is_in_use) {
            (true, true) => (Some(wanted.row.salt), wanted.commit),
            (true, false) => (None, wanted.commit),
            (false, true) => return Ok(Err((JournalFault::OfAnotherStore, nothing))),
            (false, false) => (None, 0),
        };
        let bytes = file.read(START + LONGEST)?;
        let tail = match record::read(&bytes, salt, stored) {
            Ok(tail) => tail,
            Err(Misfit::Ahead { .. }) if !is_ours => return Ok(Err((JournalFault::OfAnotherStore, nothing))),
            Err(Misfit::Ahead { found }) => return Ok(Err((JournalFault::Ahead { found, stored }, nothing))),
            Err(Misfit::Hole { number, before }) => {
                let fault = JournalFault::Damaged { commit: number, at: before.end };
                return Ok(Err((fault, Found { file: None, bytes, tail: before })));
            }
        };
        let length = bytes.len() as u64;
        if length < header.length && is_in_use {
            let fault = JournalFault::Short { length, expected: header.length };
            return Ok(Err((fault, Found { file: None, bytes, tail })));
        }
        let tail = if is_ours { tail } else { Tail::empty(wanted.commit) };
        // A shorter one holds nothing, and is laid out anew.
        let header = Some(header).filter(|header| header.length <= length);
        Ok(Ok(Found { file: Some((file, header)), bytes, tail }))
    }

    /// The row writes of the commits that the store does not have, in order.
    pub(crate) fn commits(&self) -> impl Iterator<Item = &[u8]> {
        self.tail.commits.iter().map(|rows: &Range<usize>| &self.bytes[rows.clone()])
    }

    /// Whether the store has everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.tail.commits.is_empty()
    }

    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// The number of the newest commit, wherever it lies.
    pub(crate) fn newest(&self) -> u64 {
        self.tail.number
    }

    pub(super) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The file, with its header if that is ours and whole.
    pub(super) fn take(&mut self) -> Option<(JournalFile, Option<Header>)> {
        self.file.take()
    }
}

fn fault_of(error: NoHeader, stored: u64) -> JournalFault {
    match error {
        NoHeader::Blank | NoHeader::Foreign => JournalFault::Foreign,
        NoHeader::Damaged => JournalFault::Damaged { commit: stored.saturating_add(1), at: 0 },
        NoHeader::Newer(found) => JournalFault::Newer { found, supported: record::VERSION },
    }
}
