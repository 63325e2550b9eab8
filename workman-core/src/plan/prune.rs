//! Prune: finished work goes, in bounded commits, in the order in which it may be forgotten.
//!
//! Nothing goes that unfinished work depends on directly (DEP-6 would make that an error later, and its output may be wanted),
//! nor work whose end is still on its way to its dependents, since they are found through it.

use super::draft::Draft;
use super::view::{Halt, Snapshot, Want};
use super::{Applied, Plan, Prune, Retention};
use crate::id::WorkId;
use crate::record::{Standing, WorkRecord};
use crate::store::index::IndexKey;
use crate::time::Timestamp;

/// How many finished works one commit looks at.
const CHUNK: usize = 256;

/// How many dependents of each are loaded at first, and how many then at a time: most works have few.
const FIRST_DEPENDENTS: usize = 16;
const MORE_DEPENDENTS: usize = 4_096;

pub(super) fn plan(view: &Snapshot, prune: &Prune, now: Timestamp) -> Result<Plan, Halt> {
    let mut draft = Draft::new(view, now);
    let before = prune.before.unwrap_or(view.meta.next_seq);
    let until = match prune.keep {
        Retention::Nothing => Timestamp::MAX,
        Retention::Recent { .. } => now,
    };
    let list = view.list(Want::Finished { until, after: prune.after.clone(), limit: CHUNK })?;
    view.require(list.ids.iter().filter_map(|id| first_dependents(view.works.get(id)?.as_ref()?)))?;
    let mut count = 0;
    let mut young = None;
    for id in &list.ids {
        let Some(record) = draft.work(*id)?.cloned() else { continue };
        if let Some(at) = stays_until(&draft, &record, prune.keep) {
            young = Some(at);
            break;
        }
        if record.seq < before && !draft.has_cascade(*id)? && !is_awaited(&draft, &record)? {
            draft.delete(*id)?;
            count += 1;
        }
    }
    let next = list.next.clone().filter(|_| young.is_none());
    let next_due = match (prune.keep, young) {
        (_, Some(at)) => Some(at),
        (Retention::Recent { age, .. }, None) => list.next_due.map(|until| until + age),
        (Retention::Nothing, None) => None,
    };
    Ok(draft.done(Applied::Pruned { count, before, next, next_due }))
}

/// Until when the work, and all that come after it in the index, are kept; `None` if it may go now.
fn stays_until(draft: &Draft<'_>, record: &WorkRecord, keep: Retention) -> Option<Timestamp> {
    let (Retention::Recent { age, count }, Standing::Finished { at, .. }) = (keep, &record.standing) else {
        return None;
    };
    let until = *at + record.terms.retention + age;
    let surplus = usize::try_from(draft.meta.finished).map_or(true, |finished| finished > count);
    (until > draft.now && !surplus).then_some(until)
}

fn first_dependents(record: &WorkRecord) -> Option<Want> {
    let want = Want::Dependents { of: record.id, after: None, limit: FIRST_DEPENDENTS };
    record.rows.dependents.then_some(want)
}

/// Whether something unfinished depends on it directly.
fn is_awaited(draft: &Draft<'_>, record: &WorkRecord) -> Result<bool, Halt> {
    if !record.rows.dependents {
        return Ok(false);
    }
    let (mut after, mut limit): (Option<WorkId>, usize) = (None, FIRST_DEPENDENTS);
    loop {
        let list = draft.view.list(Want::Dependents { of: record.id, after, limit })?;
        for id in &list.ids {
            if draft.work(*id)?.is_some_and(|dependent| !dependent.state().is_finished()) {
                return Ok(true);
            }
        }
        let Some(IndexKey::Dependent { id, .. }) = list.next else { return Ok(false) };
        (after, limit) = (Some(id), MORE_DEPENDENTS);
    }
}
