//! Prune: finished work goes, in bounded commits, in the order in which it may be forgotten.
//!
//! Nothing goes that unfinished work depends on directly (DEP-6 would make that an error later, and its output may be wanted),
//! nor work whose end is still on its way to its dependents, since they are found through it.

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{Applied, Listed, PRUNE_LIMIT, Plan, Prune, Retention, Stride, followers};
use crate::id::WorkId;
use crate::index::standing_key;
use crate::record::{Standing, WorkRecord};
use crate::time::Timestamp;

/// How many finished works one commit looks at, at the least.
const LEAST_CHUNK: usize = 16;

/// How many dependents of each are loaded at first: most works have few.
const FIRST_DEPENDENTS: usize = 16;

/// How many are loaded of a work that has more. One with more than that goes after its dependents, with which its edges go, or
/// the deletion of one work would have no bound.
const MORE_DEPENDENTS: usize = 4_096;

/// Of how many works with more than a few dependents one commit looks at all of those.
const WIDE_LIMIT: usize = 2;

pub(super) fn plan(view: &Snapshot, prune: &Prune, now: Timestamp) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    let before = prune.before.unwrap_or(view.meta.next_seq);
    if prune.stride == Stride::PastOne {
        let next = view.list(Want::FinishedEntry { after: prune.after.clone() })?.next.clone();
        let stored = draft.meta.finished;
        return draft.done(Applied::Pruned { count: 0, stored, before, next, next_due: None });
    }
    let list = view.list(wanted(&draft, prune))?;
    let listed = list.ids.iter().filter_map(|id| view.works.get(id)?.as_ref());
    view.require(listed.clone().filter_map(first_dependents).chain(listed.clone().filter_map(followers::spec_wanted)))?;
    view.require(followers::followed_wanted(view, listed)?)?;
    let (mut count, mut wide) = (0, 0);
    let (mut young, mut next): (Option<Timestamp>, _) = (None, list.next.clone());
    for id in &list.ids {
        let finished = draft.work(*id)?.filter(|record| record.state().is_finished());
        let Some(record) = finished.cloned() else { continue };
        match stays_until(&draft, &record, prune.keep) {
            Stays::No => {}
            Stays::Alone(at) => {
                young = Some(young.map_or(at, |first| first.min(at)));
                continue;
            }
            Stays::WithAllBehind(at) => {
                young = Some(young.map_or(at, |first| first.min(at)));
                next = None;
                break;
            }
        }
        if record.seq >= before {
            continue;
        }
        count += usize::from(delete_if_alone(&mut draft, &record, &mut wide)?);
        if wide == WIDE_LIMIT && list.ids.last() != Some(id) {
            next = Some(standing_key(&record));
            break;
        }
    }
    let next_due = match (prune.keep, young) {
        (_, Some(at)) => Some(at),
        (Retention::Recent { age, .. }, None) => list.next_due.store.map(|until| until + age),
        (Retention::Nothing, None) => None,
    };
    let stored = draft.meta.finished;
    draft.done(Applied::Pruned { count, stored, before, next, next_due })
}

/// Deletes those of these works that have finished, in the order in which they are named.
pub(super) fn listed(view: &Snapshot, listed: &Listed, now: Timestamp) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    let before = listed.before.unwrap_or(view.meta.next_seq);
    view.require(listed.ids.iter().copied().map(Want::Work))?;
    let is_meant = |record: &&WorkRecord| record.seq < before && record.state().is_finished();
    let meant = listed.ids.iter().filter_map(|id| view.works.get(id)?.as_ref()).filter(is_meant);
    view.require(meant.clone().filter_map(first_dependents).chain(meant.clone().filter_map(followers::spec_wanted)))?;
    view.require(followers::followed_wanted(view, meant)?)?;
    let (mut count, mut wide, mut next) = (0, 0, None);
    for id in &listed.ids {
        let Some(record) = draft.work(*id)?.filter(is_meant).cloned() else { continue };
        count += usize::from(delete_if_alone(&mut draft, &record, &mut wide)?);
        if wide == WIDE_LIMIT && listed.ids.last() != Some(id) {
            next = Some(standing_key(&record));
            break;
        }
    }
    let stored = draft.meta.finished;
    draft.done(Applied::Pruned { count, stored, before, next, next_due: None })
}

/// Deletes finished work that nothing unfinished depends on and whose end has reached all that it concerns. Answers whether it did, and
/// counts those that take a longer look.
fn delete_if_alone(draft: &mut Draft<'_>, record: &WorkRecord, wide: &mut usize) -> Result<bool, Halt> {
    if draft.has_cascade(record)? {
        return Ok(false);
    }
    *wide += usize::from(needs_a_longer_look(draft, record)?);
    if is_awaited(draft, record)? {
        return Ok(false);
    }
    followers::leave(draft, record)?;
    draft.delete(record.id)?;
    Ok(true)
}

/// The works to look at.
fn wanted(draft: &Draft<'_>, prune: &Prune) -> Want {
    let (until, limit) = match prune.keep {
        Retention::Nothing => (Timestamp::MAX, PRUNE_LIMIT),
        Retention::Recent { age, count, .. } => match surplus(draft, count) {
            0 => (draft.now - age, PRUNE_LIMIT),
            // The one behind the surplus says that the rest stays. Where works finish all the time, only a few go at a time.
            surplus if prune.after.is_none() => (draft.now, surplus.saturating_add(1).clamp(LEAST_CHUNK, PRUNE_LIMIT)),
            // What lies in front is waited for: the others are reached in long steps.
            _ => (draft.now, PRUNE_LIMIT),
        },
    };
    Want::Finished { until, after: prune.after.clone(), limit: prune.stride.of(limit) }
}

/// How many more finished works are stored than shall be.
fn surplus(draft: &Draft<'_>, count: usize) -> usize {
    usize::try_from(draft.meta.finished).unwrap_or(usize::MAX).saturating_sub(count)
}

/// Whether a work stays, and until when.
enum Stays {
    No,
    /// It asked to be kept, so that only its age counts.
    Alone(Timestamp),
    WithAllBehind(Timestamp),
}

fn stays_until(draft: &Draft<'_>, record: &WorkRecord, keep: Retention) -> Stays {
    let (Retention::Recent { age, count, grace }, Standing::Finished { at, .. }) = (keep, &record.standing) else {
        return Stays::No;
    };
    let until = *at + record.terms.retention + age;
    let spared = until.min(*at + grace);
    if until <= draft.now {
        Stays::No
    } else if surplus(draft, count) == 0 {
        Stays::WithAllBehind(until)
    } else if !record.counts_as_finished() {
        Stays::Alone(until)
    } else if spared <= draft.now {
        Stays::No
    } else {
        Stays::WithAllBehind(spared)
    }
}

/// What [`is_awaited`] will ask for, so that a plan of many works can ask for all of it at once.
pub(super) fn first_dependents(record: &WorkRecord) -> Option<Want> {
    let want = Want::Dependents { of: record.id, after: None, limit: FIRST_DEPENDENTS };
    record.rows.dependents.then_some(want)
}

/// The works that depend on one directly.
enum Dependents<'a> {
    Few(&'a [WorkId]),
    /// The first of them.
    Many(&'a [WorkId]),
}

fn dependents<'a>(draft: &Draft<'a>, record: &WorkRecord) -> Result<Dependents<'a>, Halt> {
    let Some(want) = first_dependents(record) else { return Ok(Dependents::Few(&[])) };
    let list = draft.view.list(want)?;
    Ok(if list.next.is_some() { Dependents::Many(&list.ids) } else { Dependents::Few(&list.ids) })
}

/// Whether something unfinished depends on this work directly, or so much that it goes later anyway, or something of which nobody
/// knows where it stands.
pub(super) fn is_awaited(draft: &Draft<'_>, record: &WorkRecord) -> Result<bool, Halt> {
    if let Some(want) = first_dependents(record)
        && draft.view.list(want)?.unknown > 0
    {
        return Ok(true);
    }
    match dependents(draft, record)? {
        Dependents::Many(_) if needs_a_longer_look(draft, record)? => are_many_awaited(draft, record.id),
        Dependents::Few(ids) | Dependents::Many(ids) => is_any_unfinished(draft, ids),
    }
}

/// Whether its first dependents do not say that it is awaited, and there are more.
fn needs_a_longer_look(draft: &Draft<'_>, record: &WorkRecord) -> Result<bool, Halt> {
    match dependents(draft, record)? {
        Dependents::Few(_) => Ok(false),
        Dependents::Many(first) => Ok(!is_any_unfinished(draft, first)?),
    }
}

/// Whether something unfinished depends on this work, or so much that it goes later anyway.
fn are_many_awaited(draft: &Draft<'_>, of: WorkId) -> Result<bool, Halt> {
    let list = draft.view.list(Want::Dependents { of, after: None, limit: MORE_DEPENDENTS })?;
    Ok(list.next.is_some() || list.unknown > 0 || is_any_unfinished(draft, &list.ids)?)
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
