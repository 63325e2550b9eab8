//! Prune: finished work goes, in bounded commits, in the order in which it may be forgotten.
//!
//! Nothing goes that unfinished work depends on directly (DEP-6 would make that an error later, and its output may be wanted),
//! nor work whose end is still on its way to its dependents, since they are found through it.

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{Applied, PRUNE_LIMIT, Plan, Prune, Retention};
use crate::id::WorkId;
use crate::record::{Standing, WorkRecord};
use crate::store::index::standing_key;
use crate::time::Timestamp;

/// How many finished works one commit looks at, at the least.
const LEAST_CHUNK: usize = 16;

/// How many dependents of each are loaded at first: most works have few.
const FIRST_DEPENDENTS: usize = 16;

/// How many are loaded of a work that has more. One with more than that goes after its dependents, with which its edges go, or
/// the deletion of one work would have no bound.
const MORE_DEPENDENTS: usize = 4_096;

/// How many works with more than a few dependents one commit looks at.
const WIDE_LIMIT: usize = 2;

pub(super) fn plan(view: &Snapshot, prune: &Prune, now: Timestamp) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    let before = prune.before.unwrap_or(view.meta.next_seq);
    let until = match prune.keep {
        Retention::Nothing => Timestamp::MAX,
        Retention::Recent { .. } => now,
    };
    let limit = look_limit(&draft, prune.keep);
    let list = view.list(Want::Finished { until, after: prune.after.clone(), limit })?;
    view.require(list.ids.iter().filter_map(|id| first_dependents(view.works.get(id)?.as_ref()?)))?;
    let (mut count, mut wide) = (0, 0);
    let (mut young, mut next) = (None, list.next.clone());
    for id in &list.ids {
        let Some(record) = draft.work(*id)?.cloned() else { continue };
        match stays_until(&draft, &record, prune.keep) {
            Stays::No => {}
            Stays::Alone(at) => {
                young.get_or_insert(at);
                continue;
            }
            Stays::WithAllBehind(at) => {
                young.get_or_insert(at);
                next = None;
                break;
            }
        }
        if record.seq >= before || draft.has_cascade(*id)? {
            continue;
        }
        wide += usize::from(is_wide(&draft, &record)?);
        let awaited = is_awaited(&draft, &record)?;
        if !awaited {
            draft.delete(*id)?;
            count += 1;
        }
        if wide == WIDE_LIMIT && list.ids.last() != Some(id) {
            next = Some(standing_key(&record));
            break;
        }
    }
    let next_due = match (prune.keep, young) {
        (_, Some(at)) => Some(at),
        (Retention::Recent { age, .. }, None) => list.next_due.map(|until| until + age),
        (Retention::Nothing, None) => None,
    };
    let stored = draft.meta.finished;
    Ok(draft.done(Applied::Pruned { count, stored, before, next, next_due }))
}

/// How many works to look at. Where works finish all the time, there are a few too many again and again.
fn look_limit(draft: &Draft<'_>, keep: Retention) -> usize {
    match keep {
        Retention::Recent { count, .. } if is_surplus(draft, count) => {
            let surplus = usize::try_from(draft.meta.finished).map_or(usize::MAX, |finished| finished - count);
            surplus.clamp(LEAST_CHUNK, PRUNE_LIMIT)
        }
        _ => PRUNE_LIMIT,
    }
}

/// Whether more finished works are stored than shall be.
fn is_surplus(draft: &Draft<'_>, count: usize) -> bool {
    usize::try_from(draft.meta.finished).map_or(true, |finished| finished > count)
}

/// Whether a work stays, and until when.
enum Stays {
    No,
    /// It asked to be kept, so that only its age counts.
    Alone(Timestamp),
    WithAllBehind(Timestamp),
}

fn stays_until(draft: &Draft<'_>, record: &WorkRecord, keep: Retention) -> Stays {
    let (Retention::Recent { age, count }, Standing::Finished { at, .. }) = (keep, &record.standing) else {
        return Stays::No;
    };
    let until = *at + record.terms.retention + age;
    if until <= draft.now {
        Stays::No
    } else if !is_surplus(draft, count) {
        Stays::WithAllBehind(until)
    } else if record.counts_as_finished() {
        Stays::No
    } else {
        Stays::Alone(until)
    }
}

/// What [`is_awaited`] will ask for, so that a plan of many works can ask for all of it at once.
pub(super) fn first_dependents(record: &WorkRecord) -> Option<Want> {
    let want = Want::Dependents { of: record.id, after: None, limit: FIRST_DEPENDENTS };
    record.rows.dependents.then_some(want)
}

/// Whether more depends on it directly than most works have.
fn is_wide(draft: &Draft<'_>, record: &WorkRecord) -> Result<bool, Halt> {
    first_dependents(record).map_or(Ok(false), |want| Ok(draft.view.list(want)?.next.is_some()))
}

/// Whether something unfinished depends on this work directly, or so much that it goes later anyway.
pub(super) fn is_awaited(draft: &Draft<'_>, record: &WorkRecord) -> Result<bool, Halt> {
    let Some(want) = first_dependents(record) else { return Ok(false) };
    let few = draft.view.list(want)?;
    if few.next.is_none() {
        return is_any_unfinished(draft, &few.ids);
    }
    let many = draft.view.list(Want::Dependents { of: record.id, after: None, limit: MORE_DEPENDENTS })?;
    Ok(many.next.is_some() || is_any_unfinished(draft, &many.ids)?)
}

/// Dependents that this very plan deletes have finished.
fn is_any_unfinished(draft: &Draft<'_>, ids: &[WorkId]) -> Result<bool, Halt> {
    for id in ids {
        if draft.work(*id)?.is_some_and(|dependent| !dependent.state().is_finished()) {
            return Ok(true);
        }
    }
    Ok(false)
}
