//! [`Writer`]: turns the calls that wait into one commit, and brings a dead handle back.
//!
//! A group of calls is planned and applied in a redb transaction, written to the journal and made durable by one sync of that; then
//! one change is announced and every call answered. redb's transaction goes on ([`unseen`]). The writer takes no decision about
//! works: `Transaction::run_unit` asks the planner.

mod checkpoint;
mod recover;
mod unseen;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, WriteTransaction};
use workman_core::store::{Change, ChangeFeed, Command, Opening, RowKey, Rows, Transaction, Unit, UnitResult, foreign};
use workman_core::{Clock, StoreError, StoreErrorKind};

use crate::alone::make_durable;
use crate::ballast::Ballast;
use crate::codec::JournalRow;
use crate::durability::Durability;
use crate::error::{is_disk_full, kills_the_handle, panicked, replaced, unwritten};
use crate::handle::Handle;
use crate::home::Sought;
use crate::journal::{Found, Journal, Trust};
use crate::report::VerifyReport;
use crate::tables::{Kept, WriteTables};
use crate::verify::{Integrity, verify};

/// What one call of `transact` brings, and what it is answered.
pub(crate) type Units = Vec<Unit>;
pub(crate) type Answer = Result<Vec<UnitResult>, StoreError>;

/// The writing side of a store.
pub(crate) struct Writer {
    /// Holds the commits that readers can't see yet, if there are any. It ends before its database.
    unseen: Option<WriteTransaction>,
    handle: Arc<Handle>,
    feed: Arc<ChangeFeed>,
    clock: Arc<dyn Clock>,
    durability: Durability,
    ballast: Option<Ballast>,
    journal: Journal,
    opening: Opening,
    /// The number of the newest commit that was announced.
    commit: u64,
    /// The number of the newest commit that is known to be synced.
    synced: u64,
    /// The number that the file must show: that of the newest commit that it was seen to hold.
    shown: u64,
    /// The number of the newest commit that readers can see.
    seen: u64,
    /// So many commits more are shown as soon as they are made, because somebody has looked.
    watched: u32,
    kept: Option<Kept>,
    /// The commit of which nobody knows yet whether it happened.
    doubt: Option<Doubt>,
    /// Since when there are commits that are not synced.
    unsynced_since: Option<Duration>,
    /// When the last commit was made.
    committed_at: Duration,
    /// Failed checkpoints in a row, and when the next is due.
    overdue: Option<Retry>,
    /// Failed reopenings in a row, and when the next is due.
    down: Option<Retry>,
}

/// What a commit leaves behind, if it happens.
struct Doubt {
    number: u64,
    change: Change,
    opening: Opening,
}

/// Tries that failed, in a row.
struct Retry {
    failures: u32,
    /// When the next is due.
    at: Duration,
}

impl Retry {
    /// The pause after the first failure; it doubles up to [`LONGEST`](Self::LONGEST).
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    /// After one failure more than `before`.
    fn after(before: Option<&Retry>, now: Duration) -> Self {
        let failures = before.map_or(0, |retry| retry.failures).saturating_add(1);
        let pause = Self::FIRST.saturating_mul(1 << (failures - 1).min(16)).min(Self::LONGEST);
        Retry { failures, at: now + pause }
    }
}

/// Whether an error may have left something behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Applying,
    /// Into the journal, then into the store.
    Committing,
    /// Into the store alone.
    Checkpointing,
}

impl Writer {
    /// Begins a new incarnation of the store that was opened, and writes it down before anybody is answered: who opens the store
    /// after this process must not count as it did, even if it never got to a commit.
    ///
    /// # Errors
    /// When what the store says about itself can't be read or written.
    pub(crate) fn begin(
        handle: Arc<Handle>,
        mut sought: Sought,
        feed: Arc<ChangeFeed>,
        clock: Arc<dyn Clock>,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        handle.read(|tables| {
            if tables.get(RowKey::Meta)?.is_none() {
                tables.confirm_empty()?;
            }
            Ok(())
        })?;
        let commit = sought.found.newest();
        let now = clock.monotonic();
        let mut ballast = handle.file().map(|file| Ballast::beside(file, now));
        let mut journal = match (handle.begin_journal(&mut sought), &mut ballast) {
            (Err(error), Some(ballast)) if is_disk_full(&error) => {
                ballast.spend(now);
                handle.begin_journal(&mut sought)?
            }
            (begun, _) => begun?,
        };
        let entered = match (handle.enter(&mut journal, &sought.found), &mut ballast) {
            (Err(error), Some(ballast)) if is_disk_full(&error) => {
                ballast.spend(now);
                handle.take_down();
                handle.reopen(&(commit..=commit), &mut journal)?;
                handle.enter(&mut journal, &Found::nothing(commit))
            }
            (entered, _) => entered,
        };
        let opening = Opening::new(entered?);
        Ok(Writer {
            unseen: None,
            handle,
            feed,
            clock,
            durability,
            ballast,
            journal,
            opening,
            commit,
            synced: commit,
            shown: commit,
            seen: commit,
            watched: 0,
            kept: None,
            doubt: None,
            unsynced_since: None,
            committed_at: now,
            overdue: None,
            down: None,
        })
    }

    /// Where changes are told.
    pub(crate) fn feed(&self) -> Arc<ChangeFeed> {
        Arc::clone(&self.feed)
    }

    /// Runs a group of calls as one commit, and answers each.
    pub(crate) fn serve(&mut self, calls: &[Units]) -> Vec<Answer> {
        if let Err(error) = self.recover().and_then(|()| self.mind_the_journal()) {
            return calls.iter().map(|_| Err(error.clone())).collect();
        }
        if calls.iter().any(enqueues) && self.has_no_room() {
            return calls.iter().map(|call| if enqueues(call) { Err(self.full()) } else { self.alone(call) }).collect();
        }
        match self.commit_group(calls) {
            Ok(results) => results.into_iter().map(Ok).collect(),
            // A row that can't be used harms only the calls that need it. Nothing was written yet.
            Err(error) if calls.len() > 1 && !kills_the_handle(&error) => {
                calls.iter().map(|call| self.alone(call)).collect()
            }
            Err(error) => calls.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Looks at everything in the file. A handle that redb found something wrong with is replaced.
    ///
    /// # Errors
    /// When there is no handle.
    pub(crate) fn verify(&mut self) -> Result<VerifyReport, StoreError> {
        self.recover()?;
        // redb takes back what it has not made durable when it looks at its pages.
        self.checkpoint(self.usage())?;
        let handle = Arc::clone(&self.handle);
        let (report, integrity) = handle.alone(|database| verify(handle.place(), database))?;
        if integrity == Integrity::Broken {
            self.give_up();
            let _ = self.recover();
        }
        Ok(report)
    }

    /// When commits must be synced that are not. A journal that failed has nothing to sync: a checkpoint comes first.
    fn sync_at(&self) -> Option<Duration> {
        let (Durability::Relaxed { within }, Some(since)) = (self.durability, self.unsynced_since) else { return None };
        (self.journal.trust() == Trust::Sound).then(|| since.saturating_add(within))
    }

    /// Syncs what is not synced yet, whether the store itself can be used or not.
    fn sync(&mut self) {
        if self.unsynced_since.is_none() || self.journal.trust() != Trust::Sound {
            return;
        }
        let place = self.handle.place();
        let synced = foreign(|| self.journal.sync().map_err(|error| unwritten(place, error)));
        match synced.unwrap_or_else(|said| Err(panicked(place, StoreErrorKind::Indeterminate, &said))) {
            Ok(()) => (self.unsynced_since, self.synced) = (None, self.commit),
            Err(error) => self.after(&error),
        }
    }

    /// Ends the writing side: nothing stays unsynced, and the file is complete without its journal, if that can be.
    pub(crate) fn end(&mut self) {
        self.sync();
        self.finish();
        self.unseen = None;
        self.handle.close();
        self.feed.close();
    }

    fn alone(&mut self, call: &Units) -> Answer {
        self.recover()?;
        let mut results = self.commit_group(std::slice::from_ref(call))?;
        Ok(results.pop().unwrap_or_default())
    }

    /// Plans, applies and commits. Whatever goes wrong, the answer says what that means for the data.
    fn commit_group(&mut self, calls: &[Units]) -> Result<Vec<Vec<UnitResult>>, StoreError> {
        if self.overdue.is_some() {
            // While a group may find no room at its end, it takes no others with it.
            self.show();
            self.recover()?;
        }
        let synced = self.syncs_now();
        let phase = Cell::new(Phase::Applying);
        let handle = Arc::clone(&self.handle);
        let tried =
            foreign(|| handle.with(|database| self.try_commit(handle.place(), database, calls, synced, &phase)));
        let kind = match phase.get() {
            Phase::Applying => StoreErrorKind::Corrupted,
            Phase::Committing | Phase::Checkpointing => StoreErrorKind::Indeterminate,
        };
        let tried = tried.unwrap_or_else(|said| Err(panicked(handle.place(), kind, &said)));
        let was_checkpoint = phase.get() == Phase::Checkpointing;
        if was_checkpoint {
            self.checkpointed(tried.as_ref().err());
        }
        match &tried {
            Ok(_) => self.committed(synced || was_checkpoint),
            Err(error) => self.after(error),
        }
        self.restore();
        tried
    }

    fn try_commit(
        &mut self,
        place: &str,
        database: &Database,
        calls: &[Units],
        synced: bool,
        phase: &Cell<Phase>,
    ) -> Result<Vec<Vec<UnitResult>>, StoreError> {
        let transaction = self.next_transaction(database)?;
        let mut tables = WriteTables::open(place, &transaction, self.kept.take())?;
        let applied = self.apply(place, &mut tables, calls);
        let (is_written, kept) = (tables.is_written(), tables.into_kept());
        let (results, made) = match applied {
            Ok(applied) => applied,
            Err(error) if is_written => return Err(error),
            Err(error) => return self.go_on(transaction).and(Err(error)),
        };
        match made {
            None => self.go_on(transaction)?,
            Some((doubt, Way::Journal(record))) => {
                let number = doubt.number;
                self.doubt = Some(doubt);
                phase.set(Phase::Committing);
                let written = self.journal.append(record, number, self.commit - self.synced);
                let written = written.and_then(|()| if synced { self.journal.sync() } else { Ok(()) });
                written.map_err(|error| unwritten(place, error))?;
                self.unseen = Some(transaction);
            }
            Some((doubt, Way::Checkpoint(row))) => {
                self.doubt = Some(doubt);
                phase.set(Phase::Checkpointing);
                make_durable(place, transaction)?;
                self.journal.restart(row);
            }
        }
        self.kept = kept;
        Ok(results)
    }

    /// Plans and applies the calls of a group, one behind the other. Answers how it gets on disk, if there is anything to get there.
    fn apply(&mut self, place: &str, tables: &mut WriteTables<'_, '_>, calls: &[Units]) -> Result<Applied, StoreError> {
        tables.begin_log(self.journal.log(self.share()));
        let stored = tables.commit()?;
        if stored != self.shown {
            return Err(replaced(place, stored, self.shown));
        }
        let mut opening = self.opening.clone();
        let mut gathered = Transaction::begin(tables, &mut opening)?;
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            let units = call.iter().map(|unit| gathered.run_unit(tables, unit));
            let answers = units.collect::<Result<Vec<_>, StoreError>>();
            self.feed.report(gathered.take_damage());
            results.push(answers?);
        }
        let number = self.commit + 1;
        let Some(change) = gathered.finish(tables, number)? else {
            self.opening = opening;
            tables.end_log().into_iter().for_each(|log| self.journal.dismiss(log));
            return Ok((results, None));
        };
        tables.put_commit(number)?;
        tables.flush()?;
        self.feed.report(tables.take_damage());
        // A record has no gap before its number: after commits that are lost, the next is a checkpoint.
        let log = tables.end_log().filter(|_| number == stored + 1);
        let way = match log.and_then(|log| self.journal.admit(log)) {
            Some(record) => Way::Journal(record),
            None => Way::Checkpoint(self.begin_checkpoint(tables)?),
        };
        Ok((results, Some((Doubt { number, change, opening }, way))))
    }

    /// Announces what was committed, if anything was.
    fn committed(&mut self, synced: bool) {
        let Some(Doubt { number, change, opening }) = self.doubt.take() else { return };
        (self.commit, self.shown, self.opening) = (number, number, opening);
        if synced {
            self.synced = number;
        }
        self.committed_at = self.clock.monotonic();
        self.unsynced_since = match self.unsynced_since {
            _ if synced => None,
            None => Some(self.committed_at),
            since => since,
        };
        self.show_if_watched();
        self.feed.announce(&change);
    }

    fn syncs_now(&self) -> bool {
        match self.durability {
            Durability::Synced => true,
            Durability::Relaxed { .. } => self.sync_at().is_some_and(|at| at <= self.clock.monotonic()),
        }
    }

    fn has_no_room(&mut self) -> bool {
        let now = self.clock.monotonic();
        self.ballast.as_mut().is_some_and(|ballast| !ballast.is_laid(now))
    }

    fn full(&self) -> StoreError {
        let message = format!(
            "the disk of the store {} is full; new work is refused so that running work can finish, until there is room",
            self.handle.place()
        );
        StoreError::new(StoreErrorKind::Rejected, message)
    }
}

/// What the calls of a group are answered, and what is committed if anything is.
type Applied = (Vec<Vec<UnitResult>>, Option<(Doubt, Way)>);

/// How a commit gets on disk.
enum Way {
    Journal(Vec<u8>),
    Checkpoint(JournalRow),
}

fn enqueues(call: &Units) -> bool {
    call.iter().any(|unit| matches!(unit.command, Command::Enqueue(_)))
}
