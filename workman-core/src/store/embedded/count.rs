//! Counting without reading records: by the tallies of the lanes, or by the entries of one index.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::StoreError;
use super::gather::{Looks, each_entry};
use super::rows::{Row, RowKey, Rows, get_tally, incomplete};
use crate::index::IndexRange;
use crate::plan::Want;
use crate::query::{Cursor, WorkQuery};
use crate::record::{LaneId, Meta, Tally};
use crate::state::WorkState;

/// How many entries one page counts: an entry costs a fraction of what a record does.
const COUNT_LIMIT: usize = 16_384;

/// How many works of each worker stand where.
pub(super) fn by_worker(rows: &impl Rows, meta: &Meta) -> Result<BTreeMap<Arc<str>, Tally>, StoreError> {
    let mut workers: BTreeMap<Arc<str>, Tally> = BTreeMap::new();
    for lane in (0..meta.next_lane).map(LaneId) {
        let tally = get_tally(rows, lane)?;
        if tally == Tally::default() {
            continue;
        }
        let Some(Row::Lane(lane)) = rows.get(RowKey::Lane(lane))? else { return Err(incomplete(&Want::Lanes.into())) };
        let sum = workers.entry(lane.worker).or_default();
        *sum = sum.plus(&tally);
    }
    Ok(workers)
}

/// How many works of these match a query that asks for states and workers alone.
pub(super) fn matching(workers: &BTreeMap<Arc<str>, Tally>, query: &WorkQuery) -> u64 {
    let meant = |worker: &Arc<str>| query.workers.is_empty() || query.workers.contains(worker);
    let states = |state: &WorkState| query.states.is_empty() || query.states.contains(state);
    let count = |tally: &Tally| match (query.parked, states(&WorkState::Enqueued)) {
        (true, true) => tally.parked,
        (true, false) => 0,
        (false, _) => WorkState::ALL
            .iter()
            .filter(|state| states(state))
            .map(|state| tally.in_state(*state))
            .fold(0, u64::saturating_add),
    };
    workers.iter().filter(|(worker, _)| meant(worker)).map(|(_, tally)| count(tally)).fold(0, u64::saturating_add)
}

/// How many entries there are behind `after`, up to a limit; and where to go on.
pub(super) fn entries(
    rows: &impl Rows,
    ranges: Vec<IndexRange>,
    after: Option<&Cursor>,
) -> Result<(usize, Option<Cursor>), StoreError> {
    let from = match after {
        Some(Cursor::Key(key)) => Some(key),
        _ => None,
    };
    let mut counted = 0;
    let next = each_entry(rows, ranges, from, COUNT_LIMIT, Looks::Bounded, &mut |_| {
        counted += 1;
        Ok(true)
    })?;
    Ok((counted, next.map(Cursor::Key)))
}
