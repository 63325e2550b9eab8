//! What follows an error of the disk: the handle is given up, the file opened again with growing pauses, and what became of the
//! last commit is found out.

use std::sync::Arc;

use workman_core::store::Change;
use workman_core::{StoreError, StoreErrorKind};

use super::{Doubt, Retry, Writer};
use crate::error::{is_disk_full, kills_the_handle};

impl Writer {
    /// Brings the handle back if it is down, unless that was tried too short a while ago.
    ///
    /// # Errors
    /// `Rejected` when the handle stays down.
    pub(crate) fn recover(&mut self) -> Result<(), StoreError> {
        if !self.handle.is_down() {
            return Ok(());
        }
        let now = self.clock.monotonic();
        if let Some(down) = &self.down
            && now < down.at
        {
            let message = format!(
                "the store {} is down after an error; opening it again failed {} times, the next try is in {:?}",
                self.handle.place(),
                down.failures,
                down.at - now
            );
            return Err(StoreError::new(StoreErrorKind::Rejected, message));
        }
        self.reopen()
    }

    /// Replaces the handle after a reader's complaint, unless that has happened since.
    pub(crate) fn replace(&mut self, generation: u64) -> Result<(), StoreError> {
        if self.handle.generation() == generation {
            self.give_up();
        }
        self.recover()
    }

    /// What an error asks for: room, a new handle, or nothing.
    pub(super) fn after(&mut self, error: &StoreError) {
        self.kept = None;
        if !kills_the_handle(error) {
            return;
        }
        tracing::warn!(store = self.handle.place(), %error, "the store had an error, and is opened again");
        if let Some(ballast) = self.ballast.as_mut().filter(|_| is_disk_full(error)) {
            ballast.spend(self.clock.monotonic());
        }
        self.give_up();
        // Whoever asks next is told if it stays down.
        let _ = self.recover();
    }

    pub(super) fn give_up(&mut self) {
        (self.unseen, self.kept) = (None, None);
        self.down = None;
        self.handle.take_down();
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        let handle = Arc::clone(&self.handle);
        let doubted = self.doubt.as_ref().map(|doubt| doubt.number);
        // Everything that was synced is there, and nothing that is not ours.
        match handle.reopen(&(self.synced..=doubted.unwrap_or(self.commit)), &mut self.journal) {
            Ok(stored) => {
                tracing::info!(store = handle.place(), "the store is open again");
                self.down = None;
                self.resume(stored);
                Ok(())
            }
            Err(error) if error.is_lost() => {
                tracing::error!(store = handle.place(), %error, "the store is somebody else's");
                self.feed.close();
                Err(error)
            }
            Err(error) => {
                handle.take_down();
                let now = self.clock.monotonic();
                if let Some(ballast) = self.ballast.as_mut().filter(|_| is_disk_full(&error)) {
                    ballast.spend(now);
                }
                let down = Retry::after(self.down.as_ref(), now);
                let (failures, next_try_in) = (down.failures, down.at - now);
                self.down = Some(down);
                tracing::error!(store = handle.place(), %error, failures, ?next_try_in, "the store could not be opened again");
                let message = format!("the store {} is down: {error}", handle.place());
                Err(StoreError::new(StoreErrorKind::Rejected, message).caused_by(error))
            }
        }
    }

    /// Finds out what became of the last commit, and tells the subscribers.
    fn resume(&mut self, stored: u64) {
        let shown = std::mem::replace(&mut self.shown, stored);
        self.unsynced_since = None;
        self.seen(stored);
        match self.doubt.take() {
            Some(Doubt { number, change, opening }) if number == stored => {
                (self.commit, self.opening) = (number, opening);
                self.feed.announce(&change);
            }
            _ => {}
        }
        if stored < shown {
            // Only relaxed commits can be lost like this.
            tracing::error!(
                store = self.handle.place(),
                from = stored + 1,
                to = shown,
                "commits that were not synced yet are lost"
            );
            self.feed.announce(&Change::Lagged);
        }
        self.synced = stored;
    }
}
