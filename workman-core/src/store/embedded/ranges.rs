//! Which stretches of the index a query goes through.

use std::collections::BTreeSet;

use crate::index::IndexRange;
use crate::query::{TimeSpan, WorkQuery};
use crate::record::{GateId, GateTarget};
use crate::state::WorkState;
use crate::time::Timestamp;

/// The stretches in which every work that matches is found, in their order; the rest is filtered.
pub(super) fn ranges_of(query: &WorkQuery) -> Vec<IndexRange> {
    if [query.created, query.finished, query.next_run].into_iter().flatten().any(TimeSpan::is_empty) {
        return Vec::new();
    }
    if !query.held.is_empty() {
        let gates: BTreeSet<GateId> = query.held.iter().map(GateTarget::id).collect();
        return gates.into_iter().map(IndexRange::held_at).collect();
    }
    if !query.names.is_empty() {
        return query.names.iter().map(IndexRange::name).collect();
    }
    if !query.tags.is_empty() {
        return query.tags.iter().map(IndexRange::tag).collect();
    }
    if !query.workers.is_empty() {
        return query.workers.iter().map(IndexRange::tag).collect();
    }
    if query.parked {
        return vec![IndexRange::parked()];
    }
    standings_of(query)
}

/// The stretches of where works stand in which every work that matches is found, in their order.
fn standings_of(query: &WorkQuery) -> Vec<IndexRange> {
    let may_be = |state: &WorkState| {
        (query.states.is_empty() || query.states.contains(state))
            && (query.finished.is_none() || state.is_finished())
            && (query.next_run.is_none() || *state == WorkState::Enqueued)
    };
    let mut ranges = Vec::new();
    if may_be(&WorkState::Blocked) {
        ranges.push(IndexRange::blocked());
    }
    if may_be(&WorkState::Enqueued) {
        match query.next_run {
            Some(span) => ranges.extend(IndexRange::due_within(span.first, span.last)),
            None => ranges.push(IndexRange::waiting()),
        }
        ranges.push(IndexRange::ready());
        ranges.extend(query.next_run.is_none().then(IndexRange::parked));
    }
    if may_be(&WorkState::Running) {
        ranges.push(IndexRange::running(0, u64::MAX));
    }
    if [WorkState::Succeeded, WorkState::Failed, WorkState::Cancelled].iter().any(may_be) {
        ranges.push(IndexRange::finished_from(query.finished.map_or(Timestamp::MIN, |span| span.first)));
    }
    // Their entries sort behind those of all others.
    if may_be(&WorkState::Enqueued) {
        ranges.push(IndexRange::held());
    }
    ranges
}
