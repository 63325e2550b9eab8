//! [`JournalFault`]: what is wrong with the journal of a store.

use std::fmt;
use std::io;

/// What is wrong with the journal of a store.
#[derive(Debug)]
#[non_exhaustive]
pub enum JournalFault {
    /// The system refused it.
    Unusable(
        /// What the system said.
        io::Error,
    ),
    /// The store was not closed, and there is no journal.
    Missing,
    /// It is a file of another program.
    Foreign,
    /// It belongs to another store, which has yet to find something in it.
    OfAnotherStore,
    /// A newer version of this crate wrote it.
    Newer {
        /// The version of the file.
        found: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// It goes on from a commit that the store does not have: the store is older than its journal.
    Ahead {
        /// The commit with which it begins.
        found: u64,
        /// The newest commit of the store.
        stored: u64,
    },
    /// A commit in it is damaged, and later ones are not.
    Damaged {
        /// The number of the commit.
        commit: u64,
        /// The byte at which it should begin.
        at: u64,
    },
    /// Somebody has cut it short.
    Short {
        /// How many bytes it has.
        length: u64,
        /// How many it should have.
        expected: u64,
    },
}

impl fmt::Display for JournalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GO_ON: &str = "to go on without what only the journal held, open the store once with `RedbStore::builder(..).discard_journal()`";
        match self {
            JournalFault::Unusable(error) => write!(
                f,
                "it can't be used: {error}; it must be a regular file that this process may read and write, in a folder that it may \
                 write, with room for it; mend that, or move it away"
            ),
            JournalFault::Missing => write!(
                f,
                "it is missing, and the store was not closed, so its last commits may lie only there; put the journal back, or {GO_ON}"
            ),
            JournalFault::Foreign => write!(
                f,
                "it is a file of another program, or its first bytes are lost; move it away if it is not yours, put the journal back if \
                 there was one, or {GO_ON}"
            ),
            JournalFault::OfAnotherStore => write!(
                f,
                "it belongs to another store, whose last commits may lie only there; put it back beside that one, or {GO_ON}"
            ),
            JournalFault::Newer { found, supported } => write!(
                f,
                "a newer workman wrote it (version {found}, this build reads up to {supported}); use a newer version of the program"
            ),
            JournalFault::Ahead { found, stored } => write!(
                f,
                "it begins with commit {found}, and the store ends with {stored}: the store is an older copy than its journal; put \
                 the newer store back, or {GO_ON}"
            ),
            JournalFault::Damaged { commit, at } => write!(
                f,
                "its commit {commit}, at byte {at}, is damaged, and later ones are not; restore a backup, or {GO_ON}, which takes \
                 what lies before the damage"
            ),
            JournalFault::Short { length, expected } => write!(
                f,
                "somebody has cut it short, from {expected} to {length} bytes; restore a backup, or {GO_ON}, which takes what is left"
            ),
        }
    }
}
