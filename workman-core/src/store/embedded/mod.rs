//! What every embedded store does the same way: load, plan, apply, read.
//!
//! An embedded store (memory, one file) brings [`Rows`] and [`RowsMut`], six verbs over rows and index entries inside one
//! transaction of its own. [`Transaction::run_unit`] loads for the planner and applies what it decided, [`page`] answers
//! queries, [`dump`] feeds the invariants. No policy is in here, and no decision: only how rows are found and how indexes
//! follow from them.

mod audit;
mod labels;
mod load;
mod read;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use super::index::{IndexKey, IndexRange, standing_key};
use super::{Change, Damage, StoreError, StoreErrorKind, Unit, UnitResult};
use crate::data::Payload;
use crate::id::WorkId;
use crate::plan::{Command, Hint, Plan, Scope, Snapshot, Step, Want, Write, plan};
use crate::record::{AttemptRecord, Cascade, Lane, LaneId, Meta, Notes, WorkRecord, WorkSpec};
use crate::time::Timestamp;

pub use audit::Audit;
use labels::{delete, relabel};
pub use load::load;
use load::{Loading, load_for};
pub use read::{Dump, dump, info, page};
pub use trust::Noticed;
use trust::{is_stale, not_there, record_by_id, vouched};

/// The key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// A work's record.
    Record(WorkId),
    /// What its request said.
    Spec(WorkId),
    /// What it gave.
    Output(WorkId),
    /// What its worker said on the way.
    Notes(WorkId),
    /// Its attempts that are over.
    History(WorkId),
    /// A lane.
    Lane(LaneId),
    /// A cascade.
    Cascade(u64),
    /// The store's own row.
    Meta,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// A work's record.
    Record(WorkRecord),
    /// What its request said.
    Spec(WorkId, Arc<WorkSpec>),
    /// What it gave.
    Output(WorkId, Payload),
    /// What its worker said on the way.
    Notes(WorkId, Notes),
    /// Its attempts that are over.
    History(WorkId, Vec<AttemptRecord>),
    /// A lane.
    Lane(Lane),
    /// A cascade.
    Cascade(Cascade),
    /// The store's own row.
    Meta(Meta),
}

impl Row {
    /// Where the row lies.
    #[must_use]
    pub const fn key(&self) -> RowKey {
        match self {
            Row::Record(record) => RowKey::Record(record.id),
            Row::Spec(id, _) => RowKey::Spec(*id),
            Row::Output(id, _) => RowKey::Output(*id),
            Row::Notes(id, _) => RowKey::Notes(*id),
            Row::History(id, _) => RowKey::History(*id),
            Row::Lane(lane) => RowKey::Lane(lane.id),
            Row::Cascade(cascade) => RowKey::Cascade(cascade.number),
            Row::Meta(_) => RowKey::Meta,
        }
    }
}

/// Rows and index entries inside one transaction, reading what it wrote.
pub trait Rows {
    /// The row, if there is one.
    ///
    /// # Errors
    /// When it can't be read, or is not what was written.
    fn get(&self, key: RowKey) -> Result<Option<Row>, StoreError>;

    /// The first entries of a stretch, in order; no more than `limit`.
    ///
    /// # Errors
    /// When they can't be read.
    fn scan(&self, range: &IndexRange, limit: usize) -> Result<Vec<IndexKey>, StoreError>;

    /// A work's record and what its request said, if both are there. A store in which they lie together finds both at once.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_work(&self, id: WorkId) -> Result<Option<(WorkRecord, Arc<WorkSpec>)>, StoreError> {
        let Some(record) = get_record(self, id)? else { return Ok(None) };
        Ok(get_spec(self, id)?.map(|spec| (record, spec)))
    }

    /// Whether the entry is there that says where this record stands. A store need not look if it has written the record in
    /// this very transaction, or keeps it in memory.
    ///
    /// # Errors
    /// When entries can't be read.
    fn stands(&self, record: &WorkRecord) -> Result<bool, StoreError> {
        Ok(!self.scan(&IndexRange::one(&standing_key(record)), 1)?.is_empty())
    }

    /// Asked when no work was found under this id: whether nothing else in the store knows of one. In a damaged file a row can
    /// be hidden.
    ///
    /// # Errors
    /// `Corrupted` if something does.
    fn confirm_absent(&self, _id: WorkId) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Whether a work that is written has rows already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is new.
    New,
    /// It is stored, and becomes another.
    Stored,
}

/// What it means if an entry that is taken away is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// The store is damaged: the unit must not happen (`Corrupted`).
    Refuse,
    /// The store is damaged, and the unit happens all the same: it is told as [`Damage::missing`].
    Tell,
    /// Nothing.
    Ignore,
}

/// Whether an entry that was taken away was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// It was.
    There,
    /// It was not.
    Missing,
    /// Nobody has looked yet.
    Later,
}

impl From<bool> for Unlinked {
    /// What a set answers that something was taken from.
    fn from(was_there: bool) -> Self {
        if was_there { Unlinked::There } else { Unlinked::Missing }
    }
}

/// [`Rows`] that can be written.
pub trait RowsMut: Rows {
    /// Writes a row, new or anew. Of a record, everything but birth and terms may have changed since
    /// [`put_work`](Self::put_work) wrote it.
    ///
    /// # Errors
    /// When it can't be written.
    fn put(&mut self, row: Row) -> Result<(), StoreError>;

    /// Writes a work that is new, or another than it was.
    ///
    /// # Errors
    /// When it can't be written.
    fn put_work(&mut self, record: WorkRecord, spec: Arc<WorkSpec>, _origin: Origin) -> Result<(), StoreError> {
        let id = record.id;
        self.put(Row::Record(record))?;
        self.put(Row::Spec(id, spec))
    }

    /// Writes a record anew with what its work gave.
    ///
    /// # Errors
    /// When they can't be written.
    fn put_result(&mut self, record: WorkRecord, output: Payload) -> Result<(), StoreError> {
        let id = record.id;
        self.put(Row::Record(record))?;
        self.put(Row::Output(id, output))
    }

    /// Adds an attempt that is over to those of a work, of which the last `keep` stay. With 0 none is stored yet.
    ///
    /// # Errors
    /// When they can't be read or written.
    fn put_attempt(&mut self, id: WorkId, attempt: AttemptRecord, keep: usize) -> Result<(), StoreError> {
        let mut history = match if keep > 0 { self.get(RowKey::History(id))? } else { None } {
            Some(Row::History(_, history)) => history,
            _ if keep > 0 => vouched(None, id, "list of attempts")?,
            _ => Vec::new(),
        };
        history.drain(..history.len().saturating_sub(keep));
        history.push(attempt);
        self.put(Row::History(id, history))
    }

    /// Removes a row, if there is one.
    ///
    /// # Errors
    /// When it can't be removed.
    fn remove(&mut self, key: RowKey) -> Result<(), StoreError>;

    /// Adds an index entry.
    ///
    /// # Errors
    /// When it can't be written.
    fn link(&mut self, key: &IndexKey) -> Result<(), StoreError>;

    /// Removes an index entry, and says whether it was there. A store that gathers what is to go does not know yet; when it
    /// finds out, it must do itself what `if_missing` says.
    ///
    /// # Errors
    /// When it can't be removed.
    fn unlink(&mut self, key: &IndexKey, if_missing: IfMissing) -> Result<Unlinked, StoreError>;

    /// Called before a [`scan`](Rows::scan) that is to find what was linked, and not what was unlinked: a store may gather
    /// both until then.
    ///
    /// # Errors
    /// When entries can't be written or removed.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What one transaction has gathered so far: the store's own row, and what its commit will announce.
#[derive(Debug)]
pub struct Transaction {
    meta: Meta,
    before: Meta,
    written: bool,
    /// In order only when the transaction ends.
    touched: Vec<WorkId>,
    hints: Vec<Hint>,
    noticed: Noticed,
    /// The work whose run the unit settles that is applied now.
    settles: Option<WorkId>,
    /// How many stale entries were dropped.
    dropped: usize,
}

/// The most entries that one transaction drops because they contradict their records.
const DROP_LIMIT: usize = 256;

impl Transaction {
    /// Begins with the stored meta row. `incarnation` is that of this opening of the store.
    ///
    /// # Errors
    /// When the meta row can't be read.
    pub fn begin(rows: &impl Rows, incarnation: u64) -> Result<Self, StoreError> {
        let stored = stored_meta(rows)?;
        let meta = Meta { incarnation, ..stored.clone() };
        Ok(Transaction {
            before: stored,
            meta,
            written: false,
            touched: Vec::new(),
            hints: Vec::new(),
            noticed: Noticed::default(),
            settles: None,
            dropped: 0,
        })
    }

    /// Plans one unit and applies what was decided. The unit is planned completely before its first write.
    ///
    /// # Errors
    /// When rows can't be read or written; the whole transaction must then be given up.
    pub fn run_unit(&mut self, rows: &mut impl RowsMut, unit: &Unit) -> Result<UnitResult, StoreError> {
        stamp(&mut self.meta, unit.wall);
        let now = self.meta.latest;
        let mut view = Snapshot { meta: std::mem::take(&mut self.meta), ..Snapshot::default() };
        let mut asked = Scope::default();
        let settles = match &unit.command {
            Command::Settle(settle) => Some((settle.id, settle.fence)),
            _ => None,
        };
        let decided = loop {
            match plan(&view, &unit.command, now) {
                // The same inputs give the same answer, so loading it again would never end.
                Ok(Step::Load(scope)) if scope == asked => return Err(incomplete(&scope)),
                Ok(Step::Load(scope)) => {
                    if scope.iter().any(Want::is_found_by_scan) {
                        rows.catch_up()?;
                    }
                    let noticed = &mut self.noticed;
                    load_for(rows, &scope, &mut Loading { view: &mut view, noticed, settles })?;
                    asked = scope;
                }
                Ok(Step::Done(plan)) => break plan,
                Err(refusal) => {
                    self.meta = view.meta;
                    return Ok(Err(refusal));
                }
            }
        };
        let Plan { writes, meta, hints, applied } = decided;
        self.written |= !writes.is_empty() || meta != view.meta;
        self.meta = meta;
        self.hints.extend(hints);
        self.settles = settles.map(|(id, _)| id);
        for write in writes {
            self.apply(rows, &view, write)?;
        }
        self.drop_stale(rows)?;
        Ok(Ok(applied))
    }

    /// What was passed over so far and is to be told, whatever becomes of the transaction.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.noticed.damage)
    }

    /// Entries that contradict their records go, a bounded number. Each is looked at once more, as the unit has left it.
    fn drop_stale(&mut self, rows: &mut impl RowsMut) -> Result<(), StoreError> {
        for key in std::mem::take(&mut self.noticed.stale) {
            if self.dropped < DROP_LIMIT && is_stale(rows, &key)? {
                rows.unlink(&key, IfMissing::Ignore)?;
                (self.dropped, self.written) = (self.dropped + 1, true);
            }
        }
        Ok(())
    }

    /// Takes an entry away that must be there.
    fn unlink(&mut self, rows: &mut impl RowsMut, key: &IndexKey, if_missing: IfMissing) -> Result<(), StoreError> {
        match (rows.unlink(key, if_missing)?, if_missing) {
            (Unlinked::Missing, IfMissing::Refuse) => return Err(not_there(key)),
            (Unlinked::Missing, IfMissing::Tell) => self.noticed.damage.push(Damage::missing(key)),
            _ => {}
        }
        Ok(())
    }

    fn apply(&mut self, rows: &mut impl RowsMut, view: &Snapshot, write: Write) -> Result<(), StoreError> {
        match write {
            Write::Work(record, spec) => {
                let origin = self.move_to(rows, view, &record)?;
                let labelled = match origin {
                    Origin::Stored => get_spec(rows, record.id)?,
                    Origin::New => None,
                };
                relabel(self, rows, &record, labelled.as_deref(), Some(&*spec))?;
                rows.put_work(record, spec, origin)
            }
            Write::Record(record) => {
                self.move_to(rows, view, &record)?;
                rows.put(Row::Record(record))
            }
            Write::Finished(record, output) => {
                self.move_to(rows, view, &record)?;
                rows.put_result(record, output)
            }
            Write::Notes(id, Some(notes)) => {
                self.touched.push(id);
                rows.put(Row::Notes(id, notes))
            }
            Write::Notes(id, None) => rows.remove(RowKey::Notes(id)),
            Write::Attempt { id, attempt, keep } => match rows.put_attempt(id, attempt, keep) {
                // What became of the work matters more than the list of its attempts, which stays as it is.
                Err(error) if error.is_of_one_row() => {
                    self.noticed.damage.push(Damage::unreadable(id, &error));
                    Ok(())
                }
                put => put,
            },
            Write::Lane(lane) => rows.put(Row::Lane(lane)),
            Write::Cascade(cascade) => rows.put(Row::Cascade(cascade)),
            Write::CascadeDone(number) => rows.remove(RowKey::Cascade(number)),
            Write::Delete(id) => {
                self.touched.push(id);
                delete(self, rows, id)
            }
        }
    }

    /// The index entry of a record moves from where it was. What the plan saw is what is stored.
    fn move_to(&mut self, rows: &mut impl RowsMut, view: &Snapshot, record: &WorkRecord) -> Result<Origin, StoreError> {
        self.touched.push(record.id);
        let before = match view.works.get(&record.id) {
            Some(seen) => seen.as_ref().map(standing_key),
            None => record_by_id(rows, record.id)?.as_ref().map(standing_key),
        };
        let after = standing_key(record);
        let if_missing = if self.settles == Some(record.id) { IfMissing::Tell } else { IfMissing::Refuse };
        match &before {
            Some(before) if *before == after => {}
            Some(before) => {
                self.unlink(rows, before, if_missing)?;
                rows.link(&after)?;
            }
            None => rows.link(&after)?,
        }
        Ok(if before.is_some() { Origin::Stored } else { Origin::New })
    }

    /// Ends the transaction: writes the meta row and answers what the commit announces; `None` when nothing was written
    /// and there is nothing to commit.
    ///
    /// # Errors
    /// When the meta row can't be written.
    pub fn finish(self, rows: &mut impl RowsMut, commit: u64) -> Result<Option<Change>, StoreError> {
        if !self.written {
            return Ok(None);
        }
        let now = self.meta.latest;
        if self.meta != self.before {
            rows.put(Row::Meta(self.meta))?;
        }
        let mut touched = self.touched;
        touched.sort_unstable();
        touched.dedup();
        Ok(Some(Change::Commit { commit, now, touched: touched.into(), hints: self.hints.into() }))
    }
}

/// A row that another one vouches for is missing. Loading it again for ever would not bring it back.
fn incomplete(scope: &Scope) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupted, format!("the store lacks rows that its records vouch for: {scope:?}"))
}

/// An index entry vouches for its work. In a damaged file the record may be gone all the same, and to pass over the entry
/// would be to lose the work without a word.
fn astray(key: &IndexKey) -> StoreError {
    StoreError::new(
        StoreErrorKind::Corrupted,
        format!("the index lists a work whose record or spec is missing: {key:?}"),
    )
}

/// The meta row, or that of an empty store.
///
/// # Errors
/// When it can't be read.
pub fn stored_meta(rows: &impl Rows) -> Result<Meta, StoreError> {
    Ok(match rows.get(RowKey::Meta)? {
        Some(Row::Meta(meta)) => meta,
        _ => Meta::default(),
    })
}

/// A wall clock that is behind by less than this is jitter between threads; store time just stands still.
const JITTER: Duration = Duration::from_secs(2);

/// Moves store time on: wall time plus an offset that grows when the wall clock is set back.
fn stamp(meta: &mut Meta, wall: Timestamp) {
    let shifted = Timestamp::from_millis(wall.as_millis().saturating_add(meta.clock_offset_ms));
    if meta.latest.since(shifted) >= JITTER {
        meta.clock_offset_ms = meta.latest.as_millis().saturating_sub(wall.as_millis());
    }
    meta.latest = meta.latest.max(shifted);
}

fn get_record(rows: &(impl Rows + ?Sized), id: WorkId) -> Result<Option<WorkRecord>, StoreError> {
    Ok(match rows.get(RowKey::Record(id))? {
        Some(Row::Record(record)) => Some(record),
        _ => None,
    })
}

fn get_spec(rows: &(impl Rows + ?Sized), id: WorkId) -> Result<Option<Arc<WorkSpec>>, StoreError> {
    Ok(match rows.get(RowKey::Spec(id))? {
        Some(Row::Spec(_, spec)) => Some(spec),
        _ => None,
    })
}
