//! What every embedded store does the same way: load, plan, apply, read.
//!
//! An embedded store (memory, one file) brings [`Rows`] and [`RowsMut`], six verbs over rows and index entries inside one
//! transaction of its own. [`Transaction::run_unit`] loads for the planner and applies what it decided, [`page`] answers
//! queries, [`dump`] feeds the invariants. No policy is in here, and no decision: only how rows are found and how indexes
//! follow from them.

mod clock;
mod labels;
mod load;
mod read;

use std::borrow::Cow;
use std::sync::Arc;

use super::index::{IndexKey, IndexRange, Membership, standing_key};
use super::{Change, StoreError, StoreErrorKind, Unit, UnitResult};
use crate::data::Payload;
use crate::id::WorkId;
use crate::plan::{Hint, Plan, Scope, Snapshot, Step, Want, Write, plan};
use crate::record::{AttemptRecord, Cascade, Lane, LaneId, Meta, Notes, WorkRecord, WorkSpec};

pub use clock::{Stamp, StoreClock};
use labels::{delete, move_membership, relabel};
pub use load::load;
pub use read::{Dump, dump, info, page};

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

    /// As [`get_work`](Self::get_work), of a work that this entry lists. A store may use what the entry says to see that the
    /// work is what it should be.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_listed(&self, key: &IndexKey) -> Result<Option<(WorkRecord, Arc<WorkSpec>)>, StoreError> {
        self.get_work(key.id())
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
        let before = if keep > 0 { self.get(RowKey::History(id))? } else { None };
        let mut history = match before {
            Some(Row::History(_, history)) => history,
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

    /// Removes an index entry.
    ///
    /// # Errors
    /// When it can't be removed.
    fn unlink(&mut self, key: &IndexKey) -> Result<(), StoreError>;

    /// Called before a [`scan`](Rows::scan) that is to find what was linked, and not what was unlinked: a store may gather
    /// both until then.
    ///
    /// # Errors
    /// When entries can't be written or removed.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What a store knows as long as it is open, and begins anew with when it is opened again.
#[derive(Clone, Debug)]
pub struct Opening {
    incarnation: u64,
    clock: StoreClock,
}

impl Opening {
    /// The opening with this number.
    #[must_use]
    pub fn new(incarnation: u64) -> Self {
        Opening { incarnation, clock: StoreClock::default() }
    }

    /// Which opening this is.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }
}

impl Default for Opening {
    /// The first one.
    fn default() -> Self {
        Opening::new(1)
    }
}

/// What one transaction has gathered so far: the store's own row, and what its commit will announce.
#[derive(Debug)]
pub struct Transaction<'o> {
    opening: &'o mut Opening,
    /// As the opening's. What is given up has told nobody the time, so only the end of the transaction makes it the opening's.
    clock: StoreClock,
    meta: Meta,
    before: Meta,
    written: bool,
    /// In order only when the transaction ends.
    touched: Vec<WorkId>,
    hints: Vec<Hint>,
}

impl<'o> Transaction<'o> {
    /// Begins with the stored meta row.
    ///
    /// # Errors
    /// When the meta row can't be read.
    pub fn begin(rows: &impl Rows, opening: &'o mut Opening) -> Result<Self, StoreError> {
        let stored = stored_meta(rows)?;
        let meta = Meta { incarnation: opening.incarnation, ..stored.clone() };
        let clock = opening.clock.clone();
        Ok(Transaction { opening, clock, before: stored, meta, written: false, touched: Vec::new(), hints: Vec::new() })
    }

    /// Plans one unit and applies what was decided. The unit is planned completely before its first write.
    ///
    /// # Errors
    /// When rows can't be read or written; the whole transaction must then be given up.
    pub fn run_unit(&mut self, rows: &mut impl RowsMut, unit: &Unit) -> Result<UnitResult, StoreError> {
        let stamp = self.clock.stamp(unit.at, self.meta.latest);
        let now = stamp.now;
        (self.meta.latest, self.meta.clock_offset_ms) = (now, stamp.offset_ms);
        let mut view = Snapshot { meta: std::mem::take(&mut self.meta), ..Snapshot::default() };
        let mut asked = Scope::default();
        let decided = loop {
            match plan(&view, &unit.command, now) {
                // The same inputs give the same answer, so loading it again would never end.
                Ok(Step::Load(scope)) if scope == asked => return Err(incomplete(&scope)),
                Ok(Step::Load(scope)) => {
                    if scope.iter().any(Want::is_found_by_scan) {
                        rows.catch_up()?;
                    }
                    load(rows, &scope, &mut view)?;
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
        for write in writes {
            self.apply(rows, &view, write)?;
        }
        Ok(Ok(applied))
    }

    fn apply(&mut self, rows: &mut impl RowsMut, view: &Snapshot, write: Write) -> Result<(), StoreError> {
        match write {
            Write::Work(record, spec) => {
                let before = self.move_to(rows, view, &record)?;
                let labelled = match &before {
                    Some(_) => get_spec(rows, record.id)?,
                    None => None,
                };
                relabel(rows, before.as_deref().zip(labelled.as_deref()), Some((&record, &spec)))?;
                rows.put_work(record, spec, if before.is_some() { Origin::Stored } else { Origin::New })
            }
            Write::Record(record) => {
                self.move_member_to(rows, view, &record)?;
                rows.put(Row::Record(record))
            }
            Write::Finished(record, output) => {
                self.move_member_to(rows, view, &record)?;
                rows.put_result(record, output)
            }
            Write::Notes(id, Some(notes)) => {
                self.touched.push(id);
                rows.put(Row::Notes(id, notes))
            }
            Write::Notes(id, None) => rows.remove(RowKey::Notes(id)),
            Write::Attempt { id, attempt, keep } => rows.put_attempt(id, attempt, keep),
            Write::Lane(lane) => rows.put(Row::Lane(lane)),
            Write::Cascade(cascade) => rows.put(Row::Cascade(cascade)),
            Write::CascadeDone(number) => rows.remove(RowKey::Cascade(number)),
            Write::Delete(id) => {
                self.touched.push(id);
                delete(rows, id)
            }
        }
    }

    /// The index entry of a record moves from where it was; answers the record that was there. What the plan saw is what is
    /// stored.
    fn move_to<'v>(
        &mut self,
        rows: &mut impl RowsMut,
        view: &'v Snapshot,
        record: &WorkRecord,
    ) -> Result<Option<Cow<'v, WorkRecord>>, StoreError> {
        self.touched.push(record.id);
        let before = match view.works.get(&record.id) {
            Some(seen) => seen.as_ref().map(Cow::Borrowed),
            None => get_record(rows, record.id)?.map(Cow::Owned),
        };
        let (left, after) = (before.as_deref().map(standing_key), standing_key(record));
        if left.as_ref() != Some(&after) {
            left.iter().try_for_each(|left| rows.unlink(left))?;
            rows.link(&after)?;
        }
        Ok(before)
    }

    /// As [`move_to`](Self::move_to), of a work whose spec stays: its name is looked up only if its place among the members of that
    /// has changed.
    fn move_member_to(
        &mut self,
        rows: &mut impl RowsMut,
        view: &Snapshot,
        record: &WorkRecord,
    ) -> Result<(), StoreError> {
        let Some(before) = self.move_to(rows, view, record)? else { return Ok(()) };
        if Membership::of(&before) == Membership::of(record) {
            return Ok(());
        }
        let spec = match view.specs.get(&record.id) {
            Some(seen) => Some(Arc::clone(seen)),
            None => get_spec(rows, record.id)?,
        };
        let name = spec.as_ref().and_then(|spec| spec.name.as_ref());
        let name = name.ok_or_else(|| incomplete(&Want::Spec(record.id).into()))?;
        move_membership(rows, name, &before, record)
    }

    /// Ends the transaction: writes the meta row and answers what the commit announces; `None` when nothing was written
    /// and there is nothing to commit. A store whose commit fails after that goes on with the opening as it was before.
    ///
    /// # Errors
    /// When the meta row can't be written.
    pub fn finish(self, rows: &mut impl RowsMut, commit: u64) -> Result<Option<Change>, StoreError> {
        if !self.written {
            self.opening.clock = self.clock;
            return Ok(None);
        }
        let now = self.meta.latest;
        if self.meta != self.before {
            rows.put(Row::Meta(self.meta))?;
        }
        self.opening.clock = self.clock;
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
