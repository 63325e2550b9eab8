//! [`Rows`] and [`RowsMut`]: what an embedded store brings, one transaction of its own over rows and index entries.

use std::sync::Arc;

use super::super::{StoreError, StoreErrorKind};
use crate::data::Payload;
use crate::id::WorkId;
use crate::index::{IndexKey, IndexRange, standing_key};
use crate::plan::Scope;
use crate::record::{
    AttemptRecord, Cascade, GateId, GateRow, GateSettings, Lane, LaneId, Meta, Notes, Tally, WorkRecord, WorkSpec,
};

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
    /// What goes on at a gate.
    Gate(GateId),
    /// What is wanted of gates.
    GateSettings,
    /// How many works of a lane stand where.
    Tally(LaneId),
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
    /// What goes on at a gate.
    Gate(GateRow),
    /// What is wanted of gates.
    GateSettings(Arc<GateSettings>),
    /// How many works of a lane stand where: there is none where there are no works.
    Tally(LaneId, Tally),
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
            Row::Gate(gate) => RowKey::Gate(gate.id),
            Row::GateSettings(_) => RowKey::GateSettings,
            Row::Tally(lane, _) => RowKey::Tally(*lane),
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

    /// What goes on at all gates.
    ///
    /// # Errors
    /// When it can't be read.
    fn gates(&self) -> Result<Vec<GateRow>, StoreError>;

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
    /// The store is damaged, and the unit happens all the same: it is told as a missing entry of [`Damage`](crate::store::Damage).
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

    /// As [`catch_up`](Self::catch_up), if it is this stretch that is scanned. A store may have gathered nothing that lies there.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    fn catch_up_within(&mut self, _stretch: &IndexRange) -> Result<(), StoreError> {
        self.catch_up()
    }
}

/// A row that another one vouches for is missing. Loading it again for ever would not bring it back.
pub(super) fn incomplete(scope: &Scope) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupted, format!("the store lacks rows that its records vouch for: {scope:?}"))
}

/// An index entry vouches for its work. In a damaged file the record may be gone all the same, and to pass over the entry
/// would be to lose the work without a word.
pub(super) fn astray(key: &IndexKey) -> StoreError {
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

/// How many works of a lane stand where.
pub(super) fn get_tally(rows: &impl Rows, lane: LaneId) -> Result<Tally, StoreError> {
    Ok(match rows.get(RowKey::Tally(lane))? {
        Some(Row::Tally(_, tally)) => tally,
        _ => Tally::default(),
    })
}

pub(super) fn get_record(rows: &(impl Rows + ?Sized), id: WorkId) -> Result<Option<WorkRecord>, StoreError> {
    Ok(match rows.get(RowKey::Record(id))? {
        Some(Row::Record(record)) => Some(record),
        _ => None,
    })
}

pub(super) fn get_spec(rows: &(impl Rows + ?Sized), id: WorkId) -> Result<Option<Arc<WorkSpec>>, StoreError> {
    Ok(match rows.get(RowKey::Spec(id))? {
        Some(Row::Spec(_, spec)) => Some(spec),
        _ => None,
    })
}

/// A row beside a record that the record vouches for.
pub(super) fn vouched<T>(row: Option<T>, id: WorkId, what: &str) -> Result<T, StoreError> {
    let missing = || format!("the {what} of work {id} is missing, and its record vouches for it");
    row.ok_or_else(|| StoreError::new(StoreErrorKind::Corrupted, missing()))
}
