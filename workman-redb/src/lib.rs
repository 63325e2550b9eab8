//! The embedded store of workman: one file, made with [redb](https://docs.rs/redb).
//!
//! [`RedbStore`] is the [`Store`](workman_core::store::Store) for a program that keeps its works to itself: no server, no
//! setup, one file that survives kills and power cuts.
//!
//! ```
//! use futures::executor::block_on;
//! use workman_core::store::{Applied, Command};
//! use workman_core::store::{Store, Unit};
//! use workman_core::{Clock, SystemClock};
//! use workman_redb::RedbStore;
//!
//! # let folder = std::env::temp_dir().join(format!("workman-doc-lib-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("work.redb");
//! let store = RedbStore::open(&path)?;
//! let attach = Unit { command: Command::Attach, at: SystemClock::new().read() };
//! let results = block_on(store.transact(vec![attach]))?;        // on disk when this returns
//! assert!(matches!(results[0], Ok(Applied::Attached { .. })));
//! block_on(store.close());
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised, and how
//! - **An acknowledged commit is on disk** ([`Durability::Synced`], the default), and the file opens again in milliseconds
//!   after a kill, whatever its size. [`Durability::Relaxed`] trades the last second before a power cut for speed, and says so.
//! - **A commit is one sync**, of a journal beside the file (`<file>.journal`). Now and then the file takes over what the journal
//!   holds; a close leaves nothing in it. The journal of a store that was killed belongs to it: without it, or with another one, the
//!   store is refused ([`OpenError::Journal`]) until it is back, or the program says that it may be
//!   [given up](RedbBuilder::discard_journal).
//! - **A sync is shared.** Calls that wait at the same time become one commit, so ten thousand calls from many threads cost
//!   a few hundred syncs.
//! - **What is read is what was written.** redb does not look at its checksums when it reads; every row has one of ours,
//!   bound to its key, that is looked at on every read, and rows, records and index entries are held against each other. Damage
//!   is an error with a name, or is passed over and told; `guarantees.md` says what is noticed when. [`RedbStore::verify`] looks
//!   at everything, and [`RedbStore::repair`] makes the index anew.
//! - **An error is honest.** `Rejected`: nothing was written. `Indeterminate`: a failing disk left it open, and sending the
//!   same again is safe. The store opens its file again by itself and goes on.
//! - **A full disk recovers.** A ballast beside the file (`<file>.ballast`, as large as a checkpoint) is given up when the disk
//!   is full, so that running work can finish; new work is refused until there is room for it again. The journal has its room from the
//!   beginning, and takes commits as long as that lasts.
//! - **One process has the store**, from opening to close, by a lock on a file beside it (`<file>.lock`), also while a failing disk makes
//!   the store open its file again. Each opening is written down before it is used. A store that was somebody else's meanwhile
//!   nevertheless is lost to this process, and says so ([`StoreErrorKind::Lost`](workman_core::StoreErrorKind::Lost)).
//! - **The file is where it was.** Before each commit and each look the path must lead to the file that was opened, and the file be as long
//!   as it was. If it was deleted, renamed, replaced or cut short, or its folder, a link on the way or its lock was, calls are
//!   `Rejected`, and nothing is made anew; if it comes back, the store goes on. So it is with the journal before each commit; the file
//!   takes over first what the journal held. A relative path is that of the opening, whatever the process's folder becomes.
//! - **Nothing is ever deleted without being asked.** A file that is not ours, newer than this build, or damaged is left as it is, and
//!   [`OpenError`] says what it is and what to do.
//!
//! # Files
//! | File | What it is |
//! |---|---|
//! | `<file>` | the store |
//! | `<file>.journal` | the last commits of an open store; of a killed one, too; of a closed one nothing |
//! | `<file>.lock` | empty; locked by who has the store open; stays |
//! | `<file>.ballast` | room to give up when the disk is full: a mebibyte or more |
//! | `<file>.new` | a store that is being made; renamed when it is complete |
//!
//! # What is not promised
//! A file system without file locks (some network file systems) can't keep a second process out: the store opens there, with a warning in
//! the log. Two hard links of one file have two locks beside them; redb's own lock on the file keeps the second process out then, but
//! not while a failing disk makes the first one open it again: give a store one name. Who removes the lock of an open store makes it
//! answer errors until it is opened anew. A child that was forked without `exec` has its parent's store only to be told so; and if the
//! parent is killed, such a child keeps its locks until it ends, too. Outside of Unix, whether a file is the same is seen by when it was
//! made. A backup is a copy of the file of a closed store, or what [`RedbStore::copy_to`] makes of an open one; a `cp` of that may be
//! torn. A bit that is lost in the very last commit of a killed process can't be told from a commit that was under way. A disk that lies
//! about its syncs can lose what it acknowledged; so can a system that, after a sync that failed, goes on to show pages that never
//! reached the disk.
//!
#![doc = include_str!("../docs/format.md")]
#![forbid(unsafe_code)]

mod alone;
mod ballast;
mod codec;
mod durability;
mod envelope;
mod error;
mod gate;
mod handle;
mod home;
mod journal;
mod keys;
mod looks;
mod opening;
mod papers;
mod report;
mod rows;
#[cfg(test)]
mod sample;
mod store;
mod tables;
mod tenure;
mod threads;
mod verify;
mod writer;

pub use durability::Durability;
pub use error::{JournalFault, OpenError};
pub use opening::DiskFile;
pub use report::{RepairReport, VerifyReport};
pub use store::{RedbBuilder, RedbStore};
