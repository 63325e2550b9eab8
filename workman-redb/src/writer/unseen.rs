//! What is committed and not to be seen yet: groups that are in the journal, in a transaction of redb that goes on.
//!
//! The journal makes a commit durable. redb's own commit, even the one without durability, copies pages and their parents, and is
//! needed only before a checkpoint and before somebody reads. So the transaction stays open from group to group, and is ended when a
//! reader asks. It holds nothing but whole groups that were answered: whoever gives it up puts them back from the journal.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use redb::{Database, WriteTransaction};
use workman_core::store::foreign;
use workman_core::{StoreError, StoreErrorKind};

use super::Writer;
use crate::alone::{commit_unsynced, write_unsynced};
use crate::error::{failed, panicked, replaced, unwritten};

/// After a look, so many commits are shown as soon as they are made: who looks often waits for no sync.
const WATCHED: u32 = 16;

impl Writer {
    /// Lets readers see everything that was committed. If that fails, the store is opened again, and shows it then.
    pub(crate) fn show(&mut self) {
        let Some(transaction) = self.unseen.take() else { return };
        let handle = Arc::clone(&self.handle);
        let shown = foreign(|| commit_unsynced(handle.place(), transaction));
        match shown.unwrap_or_else(|said| Err(panicked(handle.place(), StoreErrorKind::Corrupted, &said))) {
            Ok(()) => self.seen(self.shown),
            Err(error) => self.after(&error),
        }
    }

    /// Readers see everything up to this commit.
    pub(super) fn seen(&mut self, commit: u64) {
        self.seen = commit;
        match self.seen < self.shown {
            true => self.handle.looks().fall_behind(),
            false => self.handle.looks().catch_up(),
        }
    }

    /// After a commit: says whether it is to be seen, and lets it be if somebody has looked not long ago and may look again.
    pub(super) fn show_if_watched(&mut self) {
        self.seen(if self.unseen.is_some() { self.seen } else { self.shown });
        self.watched = if self.handle.looks().take_noted() { WATCHED } else { self.watched.saturating_sub(1) };
        if self.watched > 0 {
            self.show();
        }
    }

    /// The transaction for the next group: the one that goes on, or a new one.
    pub(super) fn next_transaction(&mut self, database: &Database) -> Result<WriteTransaction, StoreError> {
        match self.unseen.take() {
            Some(transaction) => Ok(transaction),
            None => database.begin_write().map_err(|error| failed(self.handle.place(), error)),
        }
    }

    /// Takes a transaction back into which a group has written nothing.
    pub(super) fn go_on(&mut self, transaction: WriteTransaction) -> Result<(), StoreError> {
        if self.seen < self.shown {
            self.unseen = Some(transaction);
            return Ok(());
        }
        transaction.abort().map_err(|error| failed(self.handle.place(), error))
    }

    /// A group that failed half-way has taken the transaction with it. What was in there before comes back from the journal.
    pub(super) fn restore(&mut self) {
        if self.unseen.is_some() || self.seen == self.shown || !self.handle.is_open() {
            return;
        }
        let handle = Arc::clone(&self.handle);
        let restored = foreign(|| handle.with(|database| self.put_back(handle.place(), database)));
        match restored.unwrap_or_else(|said| Err(panicked(handle.place(), StoreErrorKind::Corrupted, &said))) {
            Ok(()) => self.seen(self.shown),
            Err(error) => {
                tracing::warn!(store = handle.place(), %error, "the last commits could not be taken from the journal; the store is opened again");
                self.give_up();
                // Whoever asks next is told if it stays down.
                let _ = self.recover();
            }
        }
    }

    fn put_back(&self, place: &str, database: &Database) -> Result<(), StoreError> {
        let found = self.journal.look_back(self.seen).map_err(|error| unwritten(place, error))?;
        if found.newest() != self.shown {
            return Err(replaced(place, found.newest(), self.shown));
        }
        write_unsynced(place, database, |tables| tables.replay(found.commits()))
    }

    /// A forked child has the parent's open file: to end a transaction there would cut it.
    pub(crate) fn abandon(&mut self) {
        let _kept = self.unseen.take().map(ManuallyDrop::new);
    }
}
