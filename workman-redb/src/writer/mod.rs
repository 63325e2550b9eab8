//! [`Writer`]: turns the calls that wait into one commit, and brings a dead handle back.
//!
//! A group of calls is planned and applied in one redb transaction and made durable by one sync; then one change is
//! announced and every call answered. The writer takes no decision about works: `Transaction::run_unit` asks the planner.

mod recover;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, WriteTransaction};
use workman_core::store::{Change, ChangeFeed, Command, Opening, RowKey, Rows, Transaction, Unit, UnitResult, foreign};
use workman_core::{Clock, StoreError, StoreErrorKind};

use crate::ballast::Ballast;
use crate::durability::Durability;
use crate::error::{failed, in_doubt, is_disk_full, kills_the_handle, panicked, replaced};
use crate::handle::Handle;
use crate::report::VerifyReport;
use crate::tables::{Kept, WriteTables};
use crate::verify::{Integrity, verify};

/// What one call of `transact` brings, and what it is answered.
pub(crate) type Units = Vec<Unit>;
pub(crate) type Answer = Result<Vec<UnitResult>, StoreError>;

/// The writing side of a store.
pub(crate) struct Writer {
    handle: Arc<Handle>,
    feed: Arc<ChangeFeed>,
    clock: Arc<dyn Clock>,
    durability: Durability,
    ballast: Option<Ballast>,
    opening: Opening,
    /// The number of the newest commit that was announced.
    commit: u64,
    /// The number of the newest commit that is known to be synced.
    synced: u64,
    /// The number that the file must show: that of the newest commit that it was seen to hold.
    shown: u64,
    kept: Option<Kept>,
    /// The commit of which nobody knows yet whether it happened.
    doubt: Option<Doubt>,
    /// Since when there are commits that are not synced.
    unsynced_since: Option<Duration>,
    /// Failed reopenings in a row, and when the next is due.
    down: Option<Down>,
}

/// What a commit leaves behind, if it happens.
struct Doubt {
    number: u64,
    change: Change,
    opening: Opening,
}

struct Down {
    failures: u32,
    retry_at: Duration,
}

/// Whether an error may have left something behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Applying,
    Committing,
}

impl Writer {
    /// Begins a new incarnation of the store that was opened, and writes it down before anybody is answered: who opens the store
    /// after this process must not count as it did, even if it never got to a commit.
    ///
    /// # Errors
    /// When what the store says about itself can't be read or written.
    pub(crate) fn begin(
        handle: Arc<Handle>,
        feed: Arc<ChangeFeed>,
        clock: Arc<dyn Clock>,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        let commit = handle.read(|tables| {
            if tables.get(RowKey::Meta)?.is_none() {
                tables.confirm_empty()?;
            }
            tables.commit()
        })?;
        let mut ballast = handle.file().map(|file| Ballast::beside(file, clock.monotonic()));
        let entered = match (handle.enter(), &mut ballast) {
            (Err(error), Some(ballast)) if is_disk_full(&error) => {
                ballast.spend(clock.monotonic());
                handle.take_down();
                handle.reopen(&(commit..=commit))?;
                handle.enter()
            }
            (entered, _) => entered,
        };
        Ok(Writer {
            handle,
            feed,
            clock,
            durability,
            ballast,
            opening: Opening::new(entered?),
            commit,
            synced: commit,
            shown: commit,
            kept: None,
            doubt: None,
            unsynced_since: None,
            down: None,
        })
    }

    /// Where changes are told.
    pub(crate) fn feed(&self) -> Arc<ChangeFeed> {
        Arc::clone(&self.feed)
    }

    /// Runs a group of calls as one commit, and answers each.
    pub(crate) fn serve(&mut self, calls: &[Units]) -> Vec<Answer> {
        if let Err(error) = self.recover() {
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
        let handle = Arc::clone(&self.handle);
        let (report, integrity) = handle.alone(|database| verify(handle.place(), database))?;
        if integrity == Integrity::Broken {
            self.give_up();
            let _ = self.recover();
        }
        Ok(report)
    }

    /// How long until commits must be synced that are not.
    pub(crate) fn sync_due(&self) -> Option<Duration> {
        let (Durability::Relaxed { within }, Some(since)) = (self.durability, self.unsynced_since) else { return None };
        Some((since + within).saturating_sub(self.clock.monotonic()))
    }

    /// Syncs what is not synced yet.
    pub(crate) fn sync(&mut self) {
        if self.unsynced_since.is_none() || self.handle.is_down() {
            return;
        }
        let place = self.handle.place();
        let synced = foreign(|| {
            self.handle.with(|database| {
                let transaction = begin(place, database, true)?;
                transaction.commit().map_err(|error| in_doubt(place, error))
            })
        });
        match synced.unwrap_or_else(|said| Err(panicked(place, StoreErrorKind::Indeterminate, &said))) {
            Ok(()) => (self.unsynced_since, self.synced) = (None, self.commit),
            Err(error) => self.after(&error),
        }
    }

    /// Ends the writing side: nothing stays unsynced.
    pub(crate) fn end(&mut self) {
        self.sync();
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
        let synced = self.syncs_now();
        let phase = Cell::new(Phase::Applying);
        let handle = Arc::clone(&self.handle);
        let tried =
            foreign(|| handle.with(|database| self.try_commit(handle.place(), database, calls, synced, &phase)));
        let kind = match phase.get() {
            Phase::Applying => StoreErrorKind::Corrupted,
            Phase::Committing => StoreErrorKind::Indeterminate,
        };
        let tried = tried.unwrap_or_else(|said| Err(panicked(handle.place(), kind, &said)));
        match &tried {
            Ok(_) => self.committed(synced),
            Err(error) => self.after(error),
        }
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
        let transaction = begin(place, database, synced)?;
        let mut tables = WriteTables::open(place, &transaction, self.kept.take())?;
        let stored = tables.commit()?;
        if stored != self.shown {
            return Err(replaced(place, stored, self.shown));
        }
        let mut opening = self.opening.clone();
        let mut gathered = Transaction::begin(&tables, &mut opening)?;
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            let units = call.iter().map(|unit| gathered.run_unit(&mut tables, unit));
            let answers = units.collect::<Result<Vec<_>, StoreError>>();
            self.feed.report(gathered.take_damage());
            results.push(answers?);
        }
        let number = self.commit + 1;
        let Some(change) = gathered.finish(&mut tables, number)? else {
            self.opening = opening;
            self.kept = tables.into_kept();
            transaction.abort().map_err(|error| failed(place, error))?;
            return Ok(results);
        };
        tables.put_commit(number)?;
        tables.flush()?;
        self.feed.report(tables.take_damage());
        let kept = tables.into_kept();
        self.doubt = Some(Doubt { number, change, opening });
        phase.set(Phase::Committing);
        transaction.commit().map_err(|error| in_doubt(place, error))?;
        self.kept = kept;
        Ok(results)
    }

    /// Announces what was committed, if anything was.
    fn committed(&mut self, synced: bool) {
        let Some(Doubt { number, change, opening }) = self.doubt.take() else { return };
        (self.commit, self.shown, self.opening) = (number, number, opening);
        if synced {
            self.synced = number;
        }
        self.unsynced_since = match self.unsynced_since {
            _ if synced => None,
            None => Some(self.clock.monotonic()),
            since => since,
        };
        self.feed.announce(&change);
    }

    fn syncs_now(&self) -> bool {
        match self.durability {
            Durability::Synced => true,
            Durability::Relaxed { .. } => self.sync_due().is_some_and(|due| due.is_zero()),
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

fn begin(place: &str, database: &Database, synced: bool) -> Result<WriteTransaction, StoreError> {
    let mut transaction = database.begin_write().map_err(|error| failed(place, error))?;
    if synced {
        // A process that was killed opens the file again in milliseconds, whatever its size, and a damaged page in the
        // newest commit is an error instead of a commit that never happened.
        transaction.set_quick_repair(true);
    } else {
        transaction.set_durability(redb::Durability::None).map_err(|error| failed(place, error))?;
    }
    Ok(transaction)
}

fn enqueues(call: &Units) -> bool {
    call.iter().any(|unit| matches!(unit.command, Command::Enqueue(_)))
}
