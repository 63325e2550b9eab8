//! What follows a work beside its standing: its labels, which come from what its request said, and what goes with it.

use std::sync::Arc;

use super::super::StoreError;
use super::super::index::{IndexKey, IndexRange, label_keys, member_keys, standing_key};
use super::{IfMissing, RowKey, RowsMut, Transaction, get_record};
use crate::id::WorkId;
use crate::record::{RowsPresent, WorkRecord, WorkSpec};

/// A work as it is stored, or as it is to be.
type Work<'a> = (&'a WorkRecord, &'a WorkSpec);

/// The labels of a work become those that it has afterwards, or go.
pub(super) fn relabel(
    transaction: &mut Transaction,
    rows: &mut impl RowsMut,
    before: Option<Work<'_>>,
    after: Option<Work<'_>>,
) -> Result<(), StoreError> {
    let seq = before.or(after).map_or(0, |(record, _)| record.seq);
    let (before, after) = (before.map(labels).unwrap_or_default(), after.map(labels).unwrap_or_default());
    let is_in = |labels: &[IndexKey], key: &IndexKey| labels.binary_search(key).is_ok();
    for gone in before.iter().filter(|gone| !is_in(&after, gone)) {
        let if_missing = if_missing(rows, seq, gone)?;
        transaction.unlink(rows, gone, if_missing)?;
    }
    after.iter().filter(|new| !is_in(&before, new)).try_for_each(|new| rows.link(new))
}

/// What is waited for twice is one edge.
fn labels((record, spec): Work<'_>) -> Vec<IndexKey> {
    let members = spec.name.iter().flat_map(|name| member_keys(record, name));
    let mut labels: Vec<IndexKey> = label_keys(record.id, record.seq, spec).chain(members).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

/// The entries of a member of this name follow its record.
pub(super) fn move_membership(
    transaction: &mut Transaction,
    rows: &mut impl RowsMut,
    name: &Arc<str>,
    (before, after): (&WorkRecord, &WorkRecord),
    if_missing: IfMissing,
) -> Result<(), StoreError> {
    let (before, after): (Vec<IndexKey>, Vec<IndexKey>) =
        (member_keys(before, name).collect(), member_keys(after, name).collect());
    for gone in before.iter().filter(|gone| !after.contains(gone)) {
        transaction.unlink(rows, gone, if_missing)?;
    }
    after.iter().filter(|new| !before.contains(new)).try_for_each(|new| rows.link(new))
}

/// An edge goes with the prerequisite too, so it is missed only where that is still there: the one that was waited for, since
/// every work is born after its prerequisites.
fn if_missing(rows: &impl RowsMut, seq: u64, label: &IndexKey) -> Result<IfMissing, StoreError> {
    let IndexKey::Dependent { of, .. } = label else { return Ok(IfMissing::Refuse) };
    let prerequisite = get_record(rows, *of)?.filter(|prerequisite| prerequisite.seq < seq);
    Ok(if prerequisite.is_some() { IfMissing::Refuse } else { IfMissing::Ignore })
}

/// C14: whatever its record vouches for goes with a work.
pub(super) fn delete(transaction: &mut Transaction, rows: &mut impl RowsMut, id: WorkId) -> Result<(), StoreError> {
    let Some((record, spec)) = rows.get_work(id)? else { return Ok(()) };
    transaction.unlink(rows, &standing_key(&record), IfMissing::Refuse)?;
    relabel(transaction, rows, Some((&record, &spec)), None)?;
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
