//! [`Astray`]: why a store is not to be used where it is.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use workman_core::{StoreError, StoreErrorKind};

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
    /// Its journal is not found.
    JournalGone(PathBuf, io::Error),
    /// Its journal is another file, or was cut short.
    JournalReplaced(PathBuf),
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
            Astray::JournalGone(journal, error) => write!(
                f,
                "its journal {} was deleted or renamed while it was open ({error}); what was acknowledged is in the store itself; put \
                 the journal back and the same call works again, or open the store anew; nothing is stored meanwhile",
                journal.display()
            ),
            Astray::JournalReplaced(journal) => write!(
                f,
                "its journal {} is another file now, or was cut short; what was acknowledged is in the store itself; put the journal \
                 back and the same call works again, or move that file away and open the store anew; nothing is stored meanwhile",
                journal.display()
            ),
        }
    }
}

impl Error for Astray {}
