//! Checkpoints: when the store takes over what its journal holds, and what happens when it can't.

use std::sync::Arc;
use std::time::Duration;

use workman_core::{StoreError, StoreErrorKind};

use super::{Retry, Writer};
use crate::codec::{JournalRow, Salt, Usage};
use crate::error::unwritten;
use crate::handle::quietly;
use crate::journal::{Share, Trust};
use crate::tables::WriteTables;

/// So long after the last commit the store takes over what is worth it, so that the next opening has little to do.
const IDLE: Duration = Duration::from_secs(1);

impl Writer {
    /// When something must be done though nobody asks.
    pub(crate) fn due_at(&self) -> Option<Duration> {
        [self.sync_at(), self.checkpoint_at()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn tend(&mut self) {
        let now = self.clock.monotonic();
        if self.sync_at().is_some_and(|at| at <= now) {
            self.sync();
        }
        if self.checkpoint_at().is_some_and(|at| at <= now) {
            // It is told, and tried again.
            let _ = self.checkpoint(self.usage());
        }
    }

    /// A store that is down is opened again for who asks, and one that is lost is never written again.
    fn checkpoint_at(&self) -> Option<Duration> {
        if !self.handle.is_open() {
            return None;
        }
        match &self.overdue {
            Some(overdue) => Some(overdue.at),
            None => self.journal.is_worth_a_checkpoint().then(|| self.committed_at + IDLE),
        }
    }

    /// What a store may say of its journal: that of one whose file is not where it was is not to be asked for at the next opening.
    pub(super) fn usage(&self) -> Usage {
        let is_away = self.journal.trust() == Trust::Away || self.journal.check().is_err();
        if is_away { Usage::Idle } else { Usage::InUse }
    }

    /// How much of the journal a commit may take.
    pub(super) fn share(&self) -> Share {
        if self.overdue.is_some() { Share::All } else { Share::Quarter }
    }

    /// Looks after the journal before a commit. One that is not where it was is not written to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn mind_the_journal(&mut self) -> Result<(), StoreError> {
        if self.overdue.as_ref().is_some_and(|overdue| overdue.at <= self.clock.monotonic()) {
            // The journal may still have room if it fails again.
            let _ = self.checkpoint(self.usage());
            self.recover()?;
        }
        let (checked, is_away) = (self.journal.check(), self.journal.trust() == Trust::Away);
        match checked {
            Ok(()) if is_away => {
                quietly(|| self.journal.claim()).map_err(|error| unwritten(self.handle.place(), error))?;
                self.checkpoint(Usage::InUse)
            }
            Ok(()) => Ok(()),
            Err(astray) => {
                let refusal = astray.refusal(self.handle.place());
                if !is_away {
                    tracing::error!(store = self.handle.place(), error = %refusal, "the store takes over what its journal held");
                    self.checkpoint(Usage::Idle)?;
                }
                Err(refusal)
            }
        }
    }

    /// Makes durable what was committed, and empties the journal.
    ///
    /// # Errors
    /// When it is not certain that it is on disk. The journal has it then.
    pub(super) fn checkpoint(&mut self, usage: Usage) -> Result<(), StoreError> {
        // Who reads meanwhile does not wait for the disk.
        self.show();
        let row = JournalRow { usage, salt: Salt::generate() };
        let made = Arc::clone(&self.handle).write(|tables| tables.put_journal(row));
        self.checkpointed(made.as_ref().err());
        match &made {
            Ok(()) => {
                self.journal.restart(row);
                // Commits that are lost are not synced by it.
                (self.synced, self.unsynced_since) = (self.shown, None);
            }
            Err(error) => self.after(error),
        }
        made
    }

    /// Makes the commit whose rows are in these tables a checkpoint.
    ///
    /// # Errors
    /// `Rejected` while that is no use.
    pub(super) fn begin_checkpoint(&self, tables: &mut WriteTables<'_, '_>) -> Result<JournalRow, StoreError> {
        let now = self.clock.monotonic();
        if let Some(overdue) = self.overdue.as_ref().filter(|overdue| overdue.at > now) {
            let message = format!(
                "the journal of the store {} is full, and its file could not be written {} times; free some space, or see in the log \
                 what its disk said; the next try is in {:?}",
                self.handle.place(),
                overdue.failures,
                overdue.at - now
            );
            return Err(StoreError::new(StoreErrorKind::Rejected, message));
        }
        let row = JournalRow { usage: self.usage(), salt: Salt::generate() };
        tables.put_journal(row)?;
        Ok(row)
    }

    /// Takes note of how a checkpoint ended.
    pub(super) fn checkpointed(&mut self, error: Option<&StoreError>) {
        let Some(error) = error else {
            self.overdue = None;
            let written = self.handle.take_written();
            if let Some(ballast) = &mut self.ballast {
                ballast.reckon_with(written);
            }
            return;
        };
        let overdue = Retry::after(self.overdue.as_ref(), self.clock.monotonic());
        let failures = overdue.failures;
        tracing::warn!(store = self.handle.place(), %error, failures, "the store could not take over what its journal holds; it is tried again");
        self.overdue = Some(overdue);
    }

    /// The last checkpoint, after which nobody needs the journal.
    pub(super) fn finish(&mut self) {
        if self.handle.is_down() || self.journal.trust() == Trust::Away {
            return;
        }
        match self.checkpoint(Usage::Idle) {
            Ok(()) => {
                if let Err(error) = quietly(|| self.journal.erase()) {
                    tracing::debug!(store = self.handle.place(), %error, "the journal of the closed store could not be erased");
                }
            }
            Err(error) if error.is_lost() => {}
            Err(error) => {
                tracing::warn!(store = self.handle.place(), %error, "the store is closed with its last commits in its journal; the next opening puts them into it");
            }
        }
    }
}
