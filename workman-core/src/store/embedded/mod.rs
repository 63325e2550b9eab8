//! What every embedded store does the same way: load, plan, apply, read.
//!
//! An embedded store (memory, one file) brings [`Rows`] and [`RowsMut`], six verbs over rows and index entries inside one
//! transaction of its own. [`Transaction::run_unit`] loads for the planner and applies what it decided, [`page`] answers
//! queries, [`dump`] feeds the invariants. No policy is in here, and no decision: only how rows are found and how indexes
//! follow from them.

mod load;
mod read;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::index::{IndexKey, IndexRange, label_keys, standing_key};
use super::{Change, StoreError, StoreErrorKind, Unit, UnitResult};
use crate::data::Payload;
use crate::id::WorkId;
use crate::plan::{Hint, Plan, Scope, Snapshot, Step, Write, plan};
use crate::record::{AttemptRecord, Cascade, Lane, LaneId, Meta, Notes, WorkRecord, WorkSpec};
use crate::time::Timestamp;

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
}

/// [`Rows`] that can be written.
pub trait RowsMut: Rows {
    /// Writes a row, new or anew.
    ///
    /// # Errors
    /// When it can't be written.
    fn put(&mut self, row: Row) -> Result<(), StoreError>;

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
}

/// What one transaction has gathered so far: the store's own row, and what its commit will announce.
#[derive(Debug)]
pub struct Transaction {
    meta: Meta,
    before: Meta,
    written: bool,
    touched: BTreeSet<WorkId>,
    hints: Vec<Hint>,
}

impl Transaction {
    /// Begins with the stored meta row. `incarnation` is that of this opening of the store.
    ///
    /// # Errors
    /// When the meta row can't be read.
    pub fn begin(rows: &impl Rows, incarnation: u64) -> Result<Self, StoreError> {
        let stored = stored_meta(rows)?;
        let meta = Meta { incarnation, ..stored.clone() };
        Ok(Transaction { before: stored, meta, written: false, touched: BTreeSet::new(), hints: Vec::new() })
    }

    /// Plans one unit and applies what was decided. The unit is planned completely before its first write.
    ///
    /// # Errors
    /// When rows can't be read or written; the whole transaction must then be given up.
    pub fn run_unit(&mut self, rows: &mut impl RowsMut, unit: &Unit) -> Result<UnitResult, StoreError> {
        stamp(&mut self.meta, unit.wall);
        let now = self.meta.latest;
        let mut view = Snapshot { meta: self.meta.clone(), ..Snapshot::default() };
        let mut asked = Scope::default();
        let decided = loop {
            match plan(&view, &unit.command, now) {
                // The same inputs give the same answer, so loading it again would never end.
                Ok(Step::Load(scope)) if scope == asked => return Err(incomplete(&scope)),
                Ok(Step::Load(scope)) => {
                    load(rows, &scope, &mut view)?;
                    asked = scope;
                }
                Ok(Step::Done(plan)) => break plan,
                Err(refusal) => return Ok(Err(refusal)),
            }
        };
        let Plan { writes, meta, hints, applied } = decided;
        self.written |= !writes.is_empty() || meta != view.meta;
        self.meta = meta;
        self.hints.extend(hints);
        for write in writes {
            apply(rows, write, &mut self.touched)?;
        }
        Ok(Ok(applied))
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
        Ok(Some(Change::Commit { commit, now, touched: self.touched.into_iter().collect(), hints: self.hints.into() }))
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

fn get_record(rows: &impl Rows, id: WorkId) -> Result<Option<WorkRecord>, StoreError> {
    Ok(match rows.get(RowKey::Record(id))? {
        Some(Row::Record(record)) => Some(record),
        _ => None,
    })
}

fn get_spec(rows: &impl Rows, id: WorkId) -> Result<Option<Arc<WorkSpec>>, StoreError> {
    Ok(match rows.get(RowKey::Spec(id))? {
        Some(Row::Spec(_, spec)) => Some(spec),
        _ => None,
    })
}

fn apply(rows: &mut impl RowsMut, write: Write, touched: &mut BTreeSet<WorkId>) -> Result<(), StoreError> {
    match write {
        Write::Record(record) => {
            touched.insert(record.id);
            let before = get_record(rows, record.id)?.map(|before| standing_key(&before));
            let after = standing_key(&record);
            if before.as_ref() != Some(&after) {
                if let Some(before) = before {
                    rows.unlink(&before)?;
                }
                rows.link(&after)?;
            }
            rows.put(Row::Record(record))
        }
        Write::Spec(id, spec) => put_spec(rows, id, spec),
        Write::Output(id, output) => rows.put(Row::Output(id, output)),
        Write::Notes(id, Some(notes)) => {
            touched.insert(id);
            rows.put(Row::Notes(id, notes))
        }
        Write::Notes(id, None) => rows.remove(RowKey::Notes(id)),
        Write::History(id, history) => rows.put(Row::History(id, history)),
        Write::Lane(lane) => rows.put(Row::Lane(lane)),
        Write::Cascade(cascade) => rows.put(Row::Cascade(cascade)),
        Write::CascadeDone(number) => rows.remove(RowKey::Cascade(number)),
        Write::Delete(id) => {
            touched.insert(id);
            delete(rows, id)
        }
    }
}

/// A spec comes right after its record, so the birth number of its labels is known.
fn put_spec(rows: &mut impl RowsMut, id: WorkId, spec: Arc<WorkSpec>) -> Result<(), StoreError> {
    let seq = get_record(rows, id)?.map_or(0, |record| record.seq);
    let before = match get_spec(rows, id)? {
        Some(before) => label_keys(id, seq, &before).collect(),
        None => BTreeSet::new(),
    };
    let after: BTreeSet<IndexKey> = label_keys(id, seq, &spec).collect();
    for gone in before.difference(&after) {
        rows.unlink(gone)?;
    }
    for new in after.difference(&before) {
        rows.link(new)?;
    }
    rows.put(Row::Spec(id, spec))
}

fn delete(rows: &mut impl RowsMut, id: WorkId) -> Result<(), StoreError> {
    if let Some(record) = get_record(rows, id)? {
        rows.unlink(&standing_key(&record))?;
        if let Some(spec) = get_spec(rows, id)? {
            for key in label_keys(id, record.seq, &spec) {
                rows.unlink(&key)?;
            }
        }
        for edge in rows.scan(&IndexRange::dependents(id), usize::MAX)? {
            rows.unlink(&edge)?;
        }
    }
    let keys = [RowKey::Record(id), RowKey::Spec(id), RowKey::Output(id), RowKey::Notes(id), RowKey::History(id)];
    keys.into_iter().try_for_each(|key| rows.remove(key))
}
