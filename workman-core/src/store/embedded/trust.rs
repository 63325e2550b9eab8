//! Whom to believe: an entry is compared with its record, and a record with the entry that it asks for.
//!
//! A page of a file may be older than the others, and its rows are sound all the same. So no row is believed alone: an entry that
//! contradicts its record is passed over, and a record that is not listed where it says that it stands is an error.

use std::sync::Arc;

use super::super::{Damage, StoreError, StoreErrorKind};
use super::rows::{Rows, astray, get_record, get_spec};
use crate::id::WorkId;
use crate::index::{IndexKey, asks_for, serial_key, standing_key};
use crate::plan::Snapshot;
use crate::record::{Standing, WorkRecord, WorkSpec};

/// What was noticed while a unit was loaded and applied.
#[derive(Debug, Default)]
pub struct Noticed {
    /// What is to be told.
    pub damage: Vec<Damage>,
    /// Entries that contradict their records, which stand elsewhere.
    pub(super) stale: Vec<IndexKey>,
}

/// What is loaded so far.
pub(super) struct Loading<'a> {
    pub(super) view: &'a mut Snapshot,
    pub(super) noticed: &'a mut Noticed,
    /// The run that is settled.
    pub(super) settles: Option<(WorkId, u64)>,
}

/// What an entry turned out to be.
pub(super) enum Listed<T> {
    /// It is what its record asks for.
    Fits(T),
    /// Its record says otherwise, and is listed where it says.
    Stale,
    /// There is no such record, or it can't be read, or it is not listed where it says: nobody knows which of both is right.
    Unknown(StoreError),
}

impl Noticed {
    /// Notes what is passed over; what it is, if it is known.
    pub(super) fn pass_over<T>(&mut self, key: &IndexKey, listed: Listed<T>) -> Option<T> {
        match listed {
            Listed::Fits(found) => return Some(found),
            Listed::Stale => {
                self.damage.push(Damage::contradicts(key));
                self.stale.push(key.clone());
            }
            Listed::Unknown(error) => self.damage.push(Damage::unreadable(key.id(), &error)),
        }
        None
    }

    /// As [`pass_over`](Self::pass_over), for those who must not miss a work: what is not known is an error.
    pub(super) fn pass_over_known<T>(&mut self, key: &IndexKey, listed: Listed<T>) -> Result<Option<T>, StoreError> {
        match listed {
            Listed::Unknown(error) => Err(error),
            known => Ok(self.pass_over(key, known)),
        }
    }
}

/// The record of a work, or that there is certainly none.
pub(super) fn record_by_id(rows: &impl Rows, id: WorkId) -> Result<Option<WorkRecord>, StoreError> {
    let found = get_record(rows, id)?;
    match &found {
        Some(record) if !rows.stands(record)? => return Err(unlisted(record)),
        Some(_) => {}
        None => rows.confirm_absent(id)?,
    }
    Ok(found)
}

/// A work, or that there is certainly none.
pub(super) fn work_by_id(rows: &impl Rows, id: WorkId) -> Result<Option<(WorkRecord, Arc<WorkSpec>)>, StoreError> {
    let found = rows.get_work(id)?;
    match &found {
        Some((record, _)) if !rows.stands(record)? => return Err(unlisted(record)),
        Some(_) => {}
        None if get_record(rows, id)?.is_some() => return Err(specless(id)),
        None => rows.confirm_absent(id)?,
    }
    Ok(found)
}

/// As [`record_by_id`], for the settling of a run: what the work gave must not be lost since the index lacks an entry.
pub(super) fn held_record(
    rows: &impl Rows,
    (id, fence): (WorkId, u64),
    noticed: &mut Noticed,
) -> Result<Option<WorkRecord>, StoreError> {
    let found = get_record(rows, id)?;
    match &found {
        Some(record) if record.is_held_under(fence) => {
            if !rows.stands(record)? {
                noticed.damage.push(Damage::missing(&standing_key(record)));
            }
            Ok(found)
        }
        _ => record_by_id(rows, id),
    }
}

/// The record that an entry lists. Of an edge only what stands in the record is looked at, unless its next step sets its work
/// free: a work may wait for ten thousand others, and its spec names all of them.
pub(super) fn listed_record(rows: &impl Rows, key: &IndexKey) -> Result<Listed<WorkRecord>, StoreError> {
    if let IndexKey::Name { .. } | IndexKey::Tag { .. } | IndexKey::Leaf { .. } | IndexKey::Unfinished { .. } = key {
        return Ok(match listed_work(rows, key)? {
            Listed::Fits((record, _)) => Listed::Fits(record),
            Listed::Stale => Listed::Stale,
            Listed::Unknown(error) => Listed::Unknown(error),
        });
    }
    let record = match get_record(rows, key.id()) {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(Listed::Unknown(astray(key))),
        Err(error) => return unknown(error),
    };
    if serial_key(&record).is_some_and(|serial| serial == *key) {
        return Ok(if rows.stands(&record)? { Listed::Fits(record) } else { Listed::Unknown(unlisted(&record)) });
    }
    if !matches!(key, IndexKey::Dependent { .. }) {
        return if standing_key(&record) == *key { Ok(Listed::Fits(record)) } else { contradicted(rows, &record) };
    }
    if record.standing == Standing::Blocked && record.open <= 1 {
        return match get_spec(rows, record.id) {
            Ok(Some(spec)) => labelled(rows, key, record, &spec),
            Ok(None) => Ok(Listed::Unknown(specless(record.id))),
            Err(error) => unknown(error),
        };
    }
    Ok(if rows.stands(&record)? { Listed::Fits(record) } else { Listed::Unknown(unlisted(&record)) })
}

/// The work that an entry lists.
pub(super) fn listed_work(rows: &impl Rows, key: &IndexKey) -> Result<Listed<(WorkRecord, Arc<WorkSpec>)>, StoreError> {
    let (record, spec) = match rows.get_work(key.id()) {
        Ok(Some(work)) => work,
        Ok(None) => return Ok(Listed::Unknown(astray(key))),
        Err(error) => return unknown(error),
    };
    if standing_key(&record) == *key {
        return Ok(Listed::Fits((record, spec)));
    }
    Ok(match labelled(rows, key, record, &spec)? {
        Listed::Fits(record) => Listed::Fits((record, spec)),
        Listed::Stale => Listed::Stale,
        Listed::Unknown(error) => Listed::Unknown(error),
    })
}

/// Whether an entry may go: its record asks for another, and that is there.
pub(super) fn is_stale(rows: &impl Rows, key: &IndexKey) -> Result<bool, StoreError> {
    let Some((record, spec)) = rows.get_work(key.id())? else { return Ok(false) };
    Ok(!asks_for(&record, &spec, key) && rows.stands(&record)?)
}

/// A label is right if its spec says so and its record is listed where it says.
fn labelled(
    rows: &impl Rows,
    key: &IndexKey,
    record: WorkRecord,
    spec: &WorkSpec,
) -> Result<Listed<WorkRecord>, StoreError> {
    if !asks_for(&record, spec, key) {
        return contradicted(rows, &record);
    }
    Ok(if rows.stands(&record)? { Listed::Fits(record) } else { Listed::Unknown(unlisted(&record)) })
}

fn contradicted<T>(rows: &impl Rows, record: &WorkRecord) -> Result<Listed<T>, StoreError> {
    Ok(if rows.stands(record)? { Listed::Stale } else { Listed::Unknown(unlisted(record)) })
}

fn unknown<T>(error: StoreError) -> Result<Listed<T>, StoreError> {
    if error.is_of_one_row() { Ok(Listed::Unknown(error)) } else { Err(error) }
}

fn corrupted(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupted, message)
}

/// The record may be older than the index, or the index older than the record.
fn unlisted(record: &WorkRecord) -> StoreError {
    let id = record.id;
    corrupted(format!("the record of work {id} is {}, and the index does not list it there", record.state()))
}

fn specless(id: WorkId) -> StoreError {
    corrupted(format!("what work {id} was asked for is missing, and its record is there"))
}

/// An entry that is taken away was not there.
pub(super) fn not_there(key: &IndexKey) -> StoreError {
    corrupted(Damage::missing(key).what)
}
