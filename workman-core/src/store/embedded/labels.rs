//! What follows a work beside its standing: its labels, which come from what its request said, and what goes with it.

use super::super::StoreError;
use super::super::index::{IndexKey, IndexRange, label_keys, standing_key};
use super::{IfMissing, RowKey, RowsMut, Transaction, get_record};
use crate::id::WorkId;
use crate::record::{RowsPresent, WorkRecord, WorkSpec};

/// The labels of a work become those of another spec, or go.
pub(super) fn relabel(
    transaction: &mut Transaction,
    rows: &mut impl RowsMut,
    record: &WorkRecord,
    before: Option<&WorkSpec>,
    after: Option<&WorkSpec>,
) -> Result<(), StoreError> {
    // What is waited for twice is one edge.
    let labels = |spec: &WorkSpec| {
        let mut labels: Vec<IndexKey> = label_keys(record.id, record.seq, spec).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    };
    let (before, after) = (before.map(labels).unwrap_or_default(), after.map(labels).unwrap_or_default());
    let is_in = |labels: &[IndexKey], key: &IndexKey| labels.binary_search(key).is_ok();
    for gone in before.iter().filter(|gone| !is_in(&after, gone)) {
        let if_missing = if_missing(rows, record, gone)?;
        transaction.unlink(rows, gone, if_missing)?;
    }
    after.iter().filter(|new| !is_in(&before, new)).try_for_each(|new| rows.link(new))
}

/// An edge goes with the prerequisite too, so it is missed only where that is still there: the one that was waited for, since
/// every work is born after its prerequisites.
fn if_missing(rows: &impl RowsMut, record: &WorkRecord, label: &IndexKey) -> Result<IfMissing, StoreError> {
    let IndexKey::Dependent { of, .. } = label else { return Ok(IfMissing::Refuse) };
    let prerequisite = get_record(rows, *of)?.filter(|prerequisite| prerequisite.seq < record.seq);
    Ok(if prerequisite.is_some() { IfMissing::Refuse } else { IfMissing::Ignore })
}

/// C14: whatever its record vouches for goes with a work.
pub(super) fn delete(transaction: &mut Transaction, rows: &mut impl RowsMut, id: WorkId) -> Result<(), StoreError> {
    let Some((record, spec)) = rows.get_work(id)? else { return Ok(()) };
    transaction.unlink(rows, &standing_key(&record), IfMissing::Refuse)?;
    relabel(transaction, rows, &record, Some(&*spec), None)?;
    let RowsPresent { output, notes, history, dependents } = record.rows;
    if dependents {
        rows.catch_up()?;
        let edges = rows.scan(&IndexRange::dependents(id), usize::MAX)?;
        edges.iter().try_for_each(|edge| rows.unlink(edge, IfMissing::Ignore).map(drop))?;
    }
    let beside = [(output, RowKey::Output(id)), (notes, RowKey::Notes(id)), (history, RowKey::History(id))];
    let beside = beside.into_iter().filter(|(is_there, _)| *is_there).map(|(_, key)| key);
    beside.chain([RowKey::Record(id), RowKey::Spec(id)]).try_for_each(|key| rows.remove(key))
}
