//! Loading: what a plan asks for, found by key or in the order of the index.

use std::collections::{BTreeSet, VecDeque};

use super::super::StoreError;
use super::super::index::{IndexKey, IndexRange};
use super::{Row, RowKey, Rows, astray, get_record, get_spec, incomplete};
use crate::id::WorkId;
use crate::plan::{List, Scope, SelectorWanted, Snapshot, Want};
use crate::record::{Lane, LaneId, Meta, Notes, WorkRecord};
use crate::state::WorkState;
use crate::time::{Due, NextDue, Timestamp};

/// Loads a scope into a snapshot.
///
/// # Errors
/// When rows can't be read.
pub fn load(rows: &impl Rows, scope: &Scope, view: &mut Snapshot) -> Result<(), StoreError> {
    scope.iter().try_for_each(|want| load_one(rows, want, view))
}

fn load_one(rows: &impl Rows, want: &Want, view: &mut Snapshot) -> Result<(), StoreError> {
    match want {
        Want::Work(id) => load_record(rows, *id, view),
        Want::Spec(id) => load_spec(rows, *id, view),
        Want::Notes(id) => load_notes(rows, *id, view),
        Want::Name { name, limit } => load_range(rows, want, &IndexRange::name(name), *limit, view),
        Want::Leaves(name) => load_range(rows, want, &IndexRange::leaves(name), usize::MAX, view),
        Want::Holder(name) => load_range(rows, want, &IndexRange::holders(name), 1, view),
        Want::Dependents { of, after, limit } => load_dependents(rows, *of, *after, *limit, view),
        Want::Descendants { of, after, limit } => load_descendants(rows, want, (*of, *after), *limit, view),
        Want::Due { limit } => load_due(rows, want, *limit, view),
        Want::Ready { lane, suspects, limit } => {
            let keys = rows.scan(&IndexRange::ready_in(*lane, *suspects), *limit)?;
            load_claimable(rows, want, &keys, *limit, view)
        }
        Want::Lane { worker, constraints, urgency } => {
            let is_it =
                |lane: &Lane| lane.worker == *worker && lane.constraints == *constraints && lane.urgency == *urgency;
            let found = first_lanes(rows, view.meta.next_lane).find(|lane| lane.as_ref().is_ok_and(is_it));
            view.lanes.insert(want.clone(), found.transpose()?.into_iter().collect());
            Ok(())
        }
        Want::Lanes => {
            let lanes = first_lanes(rows, view.meta.next_lane).collect::<Result<_, _>>()?;
            view.lanes.insert(want.clone(), lanes);
            Ok(())
        }
        Want::Running { epoch, limit } => load_range(rows, want, &IndexRange::running(*epoch, *epoch), *limit, view),
        Want::DeadClaims { limit } => load_dead_claims(rows, want, *limit, view),
        Want::Selected { selector, before, after, limit } => {
            load_selected(rows, want, selector, *before, after.as_ref(), *limit, view)
        }
        Want::Finished { until, after, limit } => load_finished(rows, want, *until, after.as_ref(), *limit, view),
        Want::FinishedEntry { after } => {
            let keys = rows.scan(&IndexRange::finished().after(after.clone()), 1)?;
            let list =
                List { ids: keys.iter().map(IndexKey::id).collect(), next: keys.last().cloned(), ..List::default() };
            view.lists.insert(want.clone(), list);
            Ok(())
        }
        Want::Cascades => load_cascades(rows, view),
    }
}

/// The record of a work that the index lists.
fn load_listed<'v>(rows: &impl Rows, key: &IndexKey, view: &'v mut Snapshot) -> Result<&'v WorkRecord, StoreError> {
    load_record(rows, key.id(), view)?;
    view.works.get(&key.id()).and_then(Option::as_ref).ok_or_else(|| astray(key))
}

fn load_record(rows: &impl Rows, id: WorkId, view: &mut Snapshot) -> Result<(), StoreError> {
    if !view.works.contains_key(&id) {
        view.works.insert(id, get_record(rows, id)?);
    }
    Ok(())
}

fn load_spec(rows: &impl Rows, id: WorkId, view: &mut Snapshot) -> Result<(), StoreError> {
    if let Some(spec) = get_spec(rows, id)? {
        view.specs.insert(id, spec);
    }
    Ok(())
}

fn load_notes(rows: &impl Rows, id: WorkId, view: &mut Snapshot) -> Result<(), StoreError> {
    let notes = match rows.get(RowKey::Notes(id))? {
        Some(Row::Notes(_, notes)) => notes,
        _ => Notes::default(),
    };
    view.notes.insert(id, notes);
    Ok(())
}

/// The records of a list, and the list itself under its want.
fn load_list(
    rows: &impl Rows,
    want: &Want,
    keys: &[IndexKey],
    limit: usize,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    for key in keys {
        load_listed(rows, key, view)?;
    }
    let next = if keys.len() >= limit { keys.last().cloned() } else { None };
    let list = List { ids: keys.iter().map(IndexKey::id).collect(), next, ..List::default() };
    view.lists.insert(want.clone(), list);
    Ok(())
}

/// The first works of a stretch of the index.
fn load_range(
    rows: &impl Rows,
    want: &Want,
    range: &IndexRange,
    limit: usize,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    let keys = rows.scan(range, limit)?;
    load_list(rows, want, &keys, limit, view)
}

/// A list of works that a claim may hand out: with their specs and notes.
fn load_claimable(
    rows: &impl Rows,
    want: &Want,
    keys: &[IndexKey],
    limit: usize,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    for key in keys {
        let id = key.id();
        if !view.works.contains_key(&id) {
            let (record, spec) = rows.get_listed(key)?.ok_or_else(|| astray(key))?;
            view.specs.insert(id, spec);
            view.works.insert(id, Some(record));
        }
        let record = load_listed(rows, key, view)?;
        if record.rows.notes {
            load_notes(rows, id, view)?;
        }
        if !view.specs.contains_key(&id) {
            load_spec(rows, id, view)?;
        }
    }
    load_list(rows, want, keys, limit, view)
}

/// What is due in either time. One scan finds both as long as not much is waiting: then what waits for the wall clock comes
/// right behind the rest.
fn load_due(rows: &impl Rows, want: &Want, limit: usize, view: &mut Snapshot) -> Result<(), StoreError> {
    let most = limit.saturating_add(1);
    let mut by_store = rows.scan(&IndexRange::waiting(), most)?;
    let store_ends = by_store.partition_point(|key| matches!(key, IndexKey::Waiting { due: Due::Store(_), .. }));
    let mut by_wall = by_store.split_off(store_ends);
    if store_ends == most {
        by_wall = rows.scan(&IndexRange::waiting_for_the_wall(), most)?;
    }
    // A time that somebody has named goes before all other, also where there is too much for one commit.
    let mut next_due = NextDue::default();
    let mut keys = due_of(&mut next_due, by_wall, limit, &view.meta);
    let left = limit - keys.len();
    keys.extend(due_of(&mut next_due, by_store, left, &view.meta));
    load_claimable(rows, want, &keys, usize::MAX, view)?;
    if let Some(list) = view.lists.get_mut(want) {
        list.next_due = next_due;
    }
    Ok(())
}

/// The first entries of one time that are due, and when the next is.
fn due_of(next: &mut NextDue, mut keys: Vec<IndexKey>, limit: usize, meta: &Meta) -> Vec<IndexKey> {
    let due = |key: &IndexKey| match key {
        IndexKey::Waiting { due, .. } => *due,
        _ => Due::Store(Timestamp::MAX),
    };
    let has_come = |key: &IndexKey| due(key).in_store_time(meta.clock_offset_ms) <= meta.latest;
    let come = keys.partition_point(has_come).min(limit);
    *next = keys.get(come).map_or(*next, |key| next.and(due(key)));
    keys.truncate(come);
    keys
}

fn load_dependents(
    rows: &impl Rows,
    of: WorkId,
    after: Option<WorkId>,
    limit: usize,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    let range = IndexRange::dependents(of).after(after.map(|id| IndexKey::Dependent { of, id }));
    let keys = rows.scan(&range, limit)?;
    load_list(rows, &Want::Dependents { of, after, limit }, &keys, limit, view)
}

/// Walks the edges breadth first and leaves a `Dependents` list for each work that it passed, until they hold `limit` entries:
/// edges are counted, since behind a mesh or a wide fan-out there are far more of them than works.
fn load_descendants(
    rows: &impl Rows,
    want: &Want,
    (of, after): (WorkId, Option<WorkId>),
    limit: usize,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    let mut line = VecDeque::from([(of, after)]);
    let (mut seen, mut looked_at) = (BTreeSet::new(), 0);
    while looked_at < limit
        && let Some((of, after)) = line.pop_front()
    {
        load_dependents(rows, of, after, limit, view)?;
        let list = view.lists.get(&Want::Dependents { of, after, limit });
        let ids = list.map(|list| list.ids.clone()).unwrap_or_default();
        looked_at += ids.len();
        for id in ids {
            let record = view.works.get(&id).and_then(Option::as_ref);
            let is_dead_end = |state| matches!(state, WorkState::Failed | WorkState::Cancelled);
            let walks_on = record.is_some_and(|record| record.rows.dependents && !is_dead_end(record.state()));
            if seen.insert(id) && walks_on {
                line.push_back((id, None));
            }
        }
    }
    view.lists.insert(want.clone(), List::default());
    Ok(())
}

/// The first so many lanes. One that is missing can only be missing in a damaged file.
pub(super) fn first_lanes(rows: &impl Rows, count: u32) -> impl Iterator<Item = Result<Lane, StoreError>> + '_ {
    (0..count).filter_map(|number| match rows.get(RowKey::Lane(LaneId(number))) {
        Ok(Some(Row::Lane(lane))) => Some(Ok(lane)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

fn load_dead_claims(rows: &impl Rows, want: &Want, limit: usize, view: &mut Snapshot) -> Result<(), StoreError> {
    let attached = view.meta.epochs_of == view.meta.incarnation;
    let alive = view.meta.open_epochs.keys().copied().filter(|_| attached);
    let mut keys = Vec::new();
    let mut from = 0;
    for epoch in alive.map(Some).chain([None]) {
        let to = epoch.map_or(Some(u64::MAX), |epoch| epoch.checked_sub(1));
        if let Some(to) = to.filter(|to| *to >= from) {
            keys.extend(rows.scan(&IndexRange::running(from, to), limit - keys.len())?);
        }
        from = epoch.map_or(u64::MAX, |epoch| epoch.saturating_add(1));
        if keys.len() >= limit {
            break;
        }
    }
    load_list(rows, want, &keys, limit, view)
}

fn load_selected(
    rows: &impl Rows,
    want: &Want,
    selector: &SelectorWanted,
    before: u64,
    after: Option<&IndexKey>,
    limit: usize,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    let ranges = match selector {
        SelectorWanted::Tag(tag) => vec![IndexRange::tag(tag)],
        SelectorWanted::Unique(name) => vec![IndexRange::unfinished(name)],
        SelectorWanted::All => unfinished_ranges(),
    };
    let mut ids = Vec::new();
    let next = walk(rows, ranges, after, limit, Looks::Bounded, &mut |key| {
        let record = load_listed(rows, key, view)?;
        let wanted = record.seq < before && !record.state().is_finished();
        if wanted {
            ids.push(key.id());
        }
        Ok(wanted)
    })?;
    view.lists.insert(want.clone(), List { ids, next, ..List::default() });
    Ok(())
}

fn load_finished(
    rows: &impl Rows,
    want: &Want,
    until: Timestamp,
    after: Option<&IndexKey>,
    limit: usize,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    let mut keys = rows.scan(&IndexRange::finished().after(after.cloned()), limit.saturating_add(1))?;
    let until_of = |key: &IndexKey| match key {
        IndexKey::Finished { until, .. } => *until,
        _ => Timestamp::MAX,
    };
    let found = keys.partition_point(|key| until_of(key) <= until).min(limit);
    let next_due = keys.get(found).map(until_of).filter(|next| *next > until);
    let next_due = NextDue { store: next_due, wall: None };
    keys.truncate(found);
    load_list(rows, want, &keys, limit, view)?;
    if let Some(list) = view.lists.get_mut(want) {
        list.next_due = next_due;
    }
    Ok(())
}

fn load_cascades(rows: &impl Rows, view: &mut Snapshot) -> Result<(), StoreError> {
    let mut cascades = Vec::new();
    for number in view.meta.first_cascade..view.meta.next_cascade {
        match rows.get(RowKey::Cascade(number))? {
            Some(Row::Cascade(cascade)) => cascades.push(cascade),
            _ => return Err(incomplete(&Want::Cascades.into())),
        }
    }
    view.cascades = Some(cascades);
    Ok(())
}

pub(super) fn unfinished_ranges() -> Vec<IndexRange> {
    vec![
        IndexRange::blocked(),
        IndexRange::waiting(),
        IndexRange::ready(),
        IndexRange::parked(),
        IndexRange::running(0, u64::MAX),
    ]
}

/// How many entries are read at a time while looking for those that fit.
const STRIDE: usize = 256;

/// How many entries are looked at in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// So many that others get their turn.
    Bounded,
    /// As many as it takes.
    All,
}

/// How many entries a bounded selection or page looks at, found or not; more only where more than this are wanted. A list that
/// was cut short by it says where to go on, even if nothing was found.
const LOOK_LIMIT: usize = 4_096;

/// Goes through stretches of the index behind `after` until `wanted` has said yes `limit` times, or it has looked at enough.
/// Answers the last entry it looked at if there may be more.
pub(super) fn walk(
    rows: &impl Rows,
    ranges: Vec<IndexRange>,
    after: Option<&IndexKey>,
    limit: usize,
    looks: Looks,
    wanted: &mut dyn FnMut(&IndexKey) -> Result<bool, StoreError>,
) -> Result<Option<IndexKey>, StoreError> {
    let (mut found, mut looked) = (0, 0);
    let look_limit = match looks {
        Looks::Bounded => limit.max(LOOK_LIMIT),
        Looks::All => usize::MAX,
    };
    for range in ranges {
        if after.is_some_and(|after| *after > range.last) {
            continue;
        }
        let mut last = after.filter(|after| **after >= range.first).cloned();
        loop {
            let keys = rows.scan(&range.clone().after(last), STRIDE)?;
            for key in &keys {
                found += usize::from(wanted(key)?);
                looked += 1;
                if found >= limit || looked >= look_limit {
                    return Ok(Some(key.clone()));
                }
            }
            match keys.last() {
                Some(key) if keys.len() == STRIDE => last = Some(key.clone()),
                _ => break,
            }
        }
    }
    Ok(None)
}
