//! [`OpenError`], and how an error of redb becomes a [`StoreError`] that is honest about the data.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use workman_core::{StoreError, StoreErrorKind};

use crate::report::VerifyReport;

/// Why a store could not be opened. The file is as it was before, whatever the error.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the store open, or this one has it open already.
    AlreadyOpen {
        /// The file.
        path: PathBuf,
    },
    /// The folder in which the file should lie does not exist.
    MissingFolder {
        /// The file.
        path: PathBuf,
    },
    /// There is a folder where the file should be.
    Directory {
        /// The folder.
        path: PathBuf,
    },
    /// The path is a symbolic link to a file that is not there.
    BrokenLink {
        /// The link.
        path: PathBuf,
    },
    /// The lock of the store, a file beside it, can't be opened or locked.
    NotLockable {
        /// The file of the store.
        path: PathBuf,
        /// The file of the lock.
        lock: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file, or the folder in which it should be made, can't be written by this process.
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a file, and it is no store: empty, of another program, or of another kind.
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer version of this crate wrote the file.
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// The file is a store, and damaged.
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file was verified before it was opened, as the builder was asked to, and something is wrong with it.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        report: Box<VerifyReport>,
    },
    /// The system refused something else.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// The file that could not be opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            OpenError::AlreadyOpen { path }
            | OpenError::MissingFolder { path }
            | OpenError::Directory { path }
            | OpenError::BrokenLink { path }
            | OpenError::NotLockable { path, .. }
            | OpenError::NotWritable { path, .. }
            | OpenError::NotAStore { path, .. }
            | OpenError::NewerFormat { path, .. }
            | OpenError::Corrupted { path, .. }
            | OpenError::Damaged { path, .. }
            | OpenError::Io { path, .. } => path,
        }
    }

    /// Whether somebody else has the store open, so that waiting may help.
    #[must_use]
    pub fn is_already_open(&self) -> bool {
        matches!(self, OpenError::AlreadyOpen { .. })
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenError::NotWritable { path, source }
            }
            io::ErrorKind::IsADirectory => OpenError::Directory { path },
            io::ErrorKind::WouldBlock => OpenError::AlreadyOpen { path },
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                OpenError::Corrupted { path, why: source.to_string() }
            }
            _ => OpenError::Io { path, source },
        }
    }

    /// What the first commit of an opening met.
    pub(crate) fn beginning(path: &Path, error: StoreError) -> Self {
        let path = path.to_owned();
        match error.kind() {
            StoreErrorKind::Corrupted => OpenError::Corrupted { path, why: error.to_string() },
            _ if is_disk_full(&error) => {
                OpenError::Io { path, source: io::Error::new(io::ErrorKind::StorageFull, error) }
            }
            _ => OpenError::Io { path, source: io::Error::other(error) },
        }
    }

    pub(crate) fn redb(path: &Path, error: impl Into<redb::Error>) -> Self {
        let at = path.to_owned();
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => OpenError::AlreadyOpen { path: at },
            redb::Error::Io(source) => Self::io(path, source),
            redb::Error::UpgradeRequired(version) => {
                OpenError::NotAStore { path: at, why: format!("it is a redb file of the old format {version}") }
            }
            other => OpenError::Corrupted { path: at, why: other.to_string() },
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            OpenError::AlreadyOpen { .. } => write!(
                f,
                "the store {path} is open already, in another process or in this one; close it there, share that \
                 handle, or wait for it with `open_waiting`"
            ),
            OpenError::MissingFolder { .. } => {
                write!(f, "the folder of the store {path} does not exist; create it first")
            }
            OpenError::Directory { .. } => {
                write!(f, "{path} is a folder; give the path of a file in it, such as {path}/work.redb")
            }
            OpenError::BrokenLink { .. } => write!(
                f,
                "{path} is a symbolic link to a file that is not there; give the path of the file itself, or mend the link"
            ),
            OpenError::NotLockable { lock, source, .. } => write!(
                f,
                "the lock {} of the store {path} can't be taken: {source}; it must be a regular file that this process may write; \
                 mend that, or remove it while nobody has the store open",
                lock.display()
            ),
            OpenError::NotWritable { .. } => write!(
                f,
                "the store {path} can't be written by this process; give it the right to write the file and its folder"
            ),
            OpenError::NotAStore { why, .. } => write!(
                f,
                "{path} is no store of workman: {why}; it was left as it is: move it away, or give another path"
            ),
            OpenError::NewerFormat { found, supported, .. } => write!(
                f,
                "the store {path} was written by a newer workman (format {found}, this build reads up to {supported}); \
                 it was left as it is: use a newer version of the program"
            ),
            OpenError::Corrupted { why, .. } => write!(
                f,
                "the store {path} is damaged: {why}; it was left as it is: keep a copy, and restore a backup or move \
                 it away to start with an empty store"
            ),
            OpenError::Damaged { report, .. } => write!(
                f,
                "the store {path} is damaged, and was left as it is: restore a backup, or let `RedbStore::repair` make its \
                 index anew; {report}"
            ),
            OpenError::Io { .. } => write!(f, "the store {path} could not be opened"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Its text has that of its source.
            OpenError::NotLockable { source, .. } => source.source(),
            OpenError::NotWritable { source, .. } | OpenError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// An error of redb before a commit began: certainly nothing was written.
pub(crate) fn failed(place: &str, error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    let (kind, message) = match &error {
        redb::Error::Corrupted(_) => (StoreErrorKind::Corrupted, format!("the store {place} is damaged: {error}")),
        _ if is_full(&error) => (
            StoreErrorKind::Rejected,
            format!("the disk of the store {place} is full; free some space, then the same call works again"),
        ),
        _ => (StoreErrorKind::Rejected, format!("the store {place} could not be used: {error}")),
    };
    StoreError::new(kind, message).caused_by(error)
}

/// An error of redb in a commit: it may have happened, or not.
pub(crate) fn in_doubt(place: &str, error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    StoreError::new(StoreErrorKind::Indeterminate, format!("a commit to the store {place} failed: {error}"))
        .caused_by(error)
}

/// Somebody put an older file, or a part of one, in the place of this one while it was open.
pub(crate) fn replaced(place: &str, stored: u64, shown: u64) -> StoreError {
    let message = format!(
        "the store {place} shows commit {stored}, and {shown} was the last that was written: the file was replaced or damaged \
         while it was open; nothing is written to it any more"
    );
    StoreError::new(StoreErrorKind::Corrupted, message)
}

/// A panic below us, as an error of this kind.
pub(crate) fn panicked(place: &str, kind: StoreErrorKind, said: &workman_core::store::Panicked) -> StoreError {
    StoreError::new(kind, format!("the store {place} panicked, which a damaged file can make it do: {said}"))
        .caused_by(Panicked)
}

/// Whether the handle that gave this error must not be used any more: redb latches its first I/O error for good.
pub(crate) fn kills_the_handle(error: &StoreError) -> bool {
    cause(error).is_some() || error.source().is_some_and(|source| source.is::<Panicked>() || is_cut(source))
}

/// What redb has in memory of a file that was cut short is not to be written, nor to be believed.
fn is_cut(source: &(dyn Error + 'static)) -> bool {
    source.downcast_ref().is_some_and(|astray| matches!(astray, Astray::Cut { .. }))
}

/// Whether the disk was full.
pub(crate) fn is_disk_full(error: &StoreError) -> bool {
    cause(error).is_some_and(is_full)
}

fn cause(error: &StoreError) -> Option<&redb::Error> {
    error.source().and_then(|source| source.downcast_ref())
}

fn is_full(error: &redb::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, redb::Error::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded))
}

/// The mark of an error that was a panic.
#[derive(Debug)]
struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a panic")
    }
}

impl Error for Panicked {}

/// Why a store is not to be used where it is.
#[derive(Debug)]
pub(crate) enum Astray {
    /// Nothing is found at its path.
    Gone(io::Error),
    /// Another file is.
    Replaced,
    /// Somebody has cut its file short.
    Cut { from: u64, to: u64 },
    /// The file of its lock is not found.
    LockGone(PathBuf, io::Error),
    /// The file of its lock is another one.
    LockReplaced(PathBuf),
}

impl Astray {
    /// Certainly nothing was written, and nothing will be until it is found again.
    pub(crate) fn refusal(self, place: &str) -> StoreError {
        StoreError::new(StoreErrorKind::Rejected, format!("the store {place} is not as it was opened: {self}"))
            .caused_by(self)
    }
}

impl fmt::Display for Astray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Astray::Gone(error) => write!(
                f,
                "its file, its folder or a link on the way was deleted or renamed while it was open ({error}); put it back and the \
                 same call works again, or open the store anew; nothing is stored meanwhile"
            ),
            Astray::Replaced => f.write_str(
                "another file lies there now; put the one that was opened back and the same call works again, or open the store \
                 anew; nothing is stored meanwhile",
            ),
            Astray::Cut { from, to } => write!(
                f,
                "somebody has cut its file short, from {from} to {to} bytes; keep a copy of it, and restore a backup or move it \
                 away to start with an empty store"
            ),
            Astray::LockGone(lock, error) => write!(
                f,
                "its lock {} was deleted or renamed while it was open ({error}), so another process may have it, too; close the \
                 store and open it anew, and leave that file alone",
                lock.display()
            ),
            Astray::LockReplaced(lock) => write!(
                f,
                "its lock {} is another file than the one that was locked, so another process may have it, too; close the store \
                 and open it anew, and leave that file alone",
                lock.display()
            ),
        }
    }
}

impl Error for Astray {}
