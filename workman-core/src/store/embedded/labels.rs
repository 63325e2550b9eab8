//! What follows a work beside its standing: its labels, which come from what its request said, and what goes with it.

use std::sync::Arc;

use super::super::StoreError;
use super::super::index::{IndexKey, IndexRange, label_keys, member_keys, standing_key};
use super::{RowKey, RowsMut};
use crate::id::WorkId;
use crate::record::{RowsPresent, WorkRecord, WorkSpec};

/// A work as it is stored, or as it is to be.
type Work<'a> = (&'a WorkRecord, &'a WorkSpec);

/// The labels of a work become those that it has afterwards, or go.
pub(super) fn relabel(
    rows: &mut impl RowsMut,
    before: Option<Work<'_>>,
    after: Option<Work<'_>>,
) -> Result<(), StoreError> {
    let (before, after) = (before.map(labels).unwrap_or_default(), after.map(labels).unwrap_or_default());
    let is_in = |labels: &[IndexKey], key: &IndexKey| labels.binary_search(key).is_ok();
    before.iter().filter(|gone| !is_in(&after, gone)).try_for_each(|gone| rows.unlink(gone))?;
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
    rows: &mut impl RowsMut,
    name: &Arc<str>,
    before: &WorkRecord,
    after: &WorkRecord,
) -> Result<(), StoreError> {
    let (before, after): (Vec<IndexKey>, Vec<IndexKey>) =
        (member_keys(before, name).collect(), member_keys(after, name).collect());
    before.iter().filter(|gone| !after.contains(gone)).try_for_each(|gone| rows.unlink(gone))?;
    after.iter().filter(|new| !before.contains(new)).try_for_each(|new| rows.link(new))
}

/// C14: whatever its record vouches for goes with a work.
pub(super) fn delete(rows: &mut impl RowsMut, id: WorkId) -> Result<(), StoreError> {
    let Some((record, spec)) = rows.get_work(id)? else { return Ok(()) };
    rows.unlink(&standing_key(&record))?;
    relabel(rows, Some((&record, &spec)), None)?;
    let RowsPresent { output, notes, history, dependents } = record.rows;
    if dependents {
        rows.catch_up()?;
        let edges = rows.scan(&IndexRange::dependents(id), usize::MAX)?;
        edges.iter().try_for_each(|edge| rows.unlink(edge))?;
    }
    let beside = [(output, RowKey::Output(id)), (notes, RowKey::Notes(id)), (history, RowKey::History(id))];
    let beside = beside.into_iter().filter(|(is_there, _)| *is_there).map(|(_, key)| key);
    beside.chain([RowKey::Record(id), RowKey::Spec(id)]).try_for_each(|key| rows.remove(key))
}
