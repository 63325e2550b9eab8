//! [`OpenError`]: why a store could not be opened.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use workman_core::{StoreError, StoreErrorKind};

use super::failure::is_disk_full;
use super::fault::JournalFault;
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
    /// The journal beside the store is not the one that belongs to it, or is damaged. What the store acknowledged last may lie
    /// only there.
    Journal {
        /// The file of the store.
        path: PathBuf,
        /// The file of the journal.
        journal: PathBuf,
        /// What is wrong with it.
        fault: JournalFault,
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
            | OpenError::Journal { path, .. }
            | OpenError::Io { path, .. } => path,
        }
    }

    /// Whether somebody else has the store open, so that waiting may help.
    #[must_use]
    pub fn is_already_open(&self) -> bool {
        matches!(self, OpenError::AlreadyOpen { .. })
    }

    pub(crate) fn not_a_store(path: &Path, why: &str) -> Self {
        OpenError::NotAStore { path: path.to_owned(), why: why.into() }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenError::NotWritable { path, source }
            }
            io::ErrorKind::IsADirectory => OpenError::Directory { path },
            io::ErrorKind::WouldBlock => OpenError::AlreadyOpen { path },
            _ if is_held_by_another(&source) => OpenError::AlreadyOpen { path },
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
            OpenError::Journal { journal, fault, .. } => write!(
                f,
                "the store {path} can't be opened with its journal {}: {fault}; both were left as they are",
                journal.display()
            ),
            OpenError::Io { path, .. } if path.as_os_str().is_empty() => {
                f.write_str("the path of the store is empty; give that of a file, such as work.redb")
            }
            OpenError::Io { .. } => write!(f, "the store {path} could not be opened"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Its text has that of its source.
            OpenError::NotLockable { source, .. } => source.source(),
            OpenError::Journal { fault: JournalFault::Unusable(source), .. } => source.source(),
            OpenError::NotWritable { source, .. } | OpenError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A sharing or a lock violation of Windows, which the standard library has no names for.
fn is_held_by_another(error: &io::Error) -> bool {
    cfg!(windows) && matches!(error.raw_os_error(), Some(32 | 33))
}
