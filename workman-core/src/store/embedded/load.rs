//! Loading: what a plan asks for, found by key or in the order of the index.

use std::collections::{BTreeSet, VecDeque};

use super::super::{Damage, StoreError};
use super::gather::{Looks, Peek, each_entry, gather};
use super::load_gates::{gather_claims, keep, load_gates, load_listed};
use super::rows::{Row, RowKey, Rows, get_spec, incomplete, vouched};
use super::trust::{Listed, Loading, Noticed, held_record, listed_record, listed_work, record_by_id};
use crate::id::WorkId;
use crate::index::{IndexKey, IndexRange, Suspects};
use crate::plan::{List, Scope, SelectorWanted, Snapshot, Want};
use crate::record::{Lane, LaneId};
use crate::state::WorkState;
use crate::time::{Due, NextDue, Timestamp};

/// Loads a scope into a snapshot, and notes what it passes over.
///
/// # Errors
/// When rows can't be read, or are not what was written.
pub fn load(rows: &impl Rows, scope: &Scope, view: &mut Snapshot, noticed: &mut Noticed) -> Result<(), StoreError> {
    load_for(rows, scope, &mut Loading { view, noticed, settles: None })
}

/// As [`load`], for the settling of a run, if it is one.
pub(super) fn load_for(rows: &impl Rows, scope: &Scope, to: &mut Loading<'_>) -> Result<(), StoreError> {
    scope.iter().try_for_each(|want| load_one(rows, want, to))
}

fn load_one(rows: &impl Rows, want: &Want, to: &mut Loading<'_>) -> Result<(), StoreError> {
    match want {
        Want::Work(id) => load_record(rows, *id, to),
        Want::Spec(id) => load_spec(rows, *id, to),
        Want::Notes(id) => load_notes(rows, *id, to),
        Want::Name { name, limit } => load_members(rows, want, IndexRange::name(name), *limit, to),
        Want::Leaves(name) => load_members(rows, want, IndexRange::leaves(name), usize::MAX, to),
        Want::Holder(name) => load_members(rows, want, IndexRange::holders(name), 1, to),
        Want::Dependents { of, after, limit } => load_dependents(rows, *of, *after, *limit, to),
        Want::Descendants { of, after, limit } => {
            let ends_otherwise = |state| !matches!(state, WorkState::Failed | WorkState::Cancelled);
            load_descendants(rows, want, (*of, *after), *limit, ends_otherwise, to)
        }
        Want::FailedBehind { of, limit } => {
            load_descendants(rows, want, (*of, None), *limit, |state| state == WorkState::Failed, to)
        }
        Want::Due { limit } => load_due(rows, want, *limit, to),
        Want::Ready { lane, suspects, limit } => load_ready(rows, want, (*lane, *suspects), *limit, to),
        Want::Lane { worker, constraints, urgency } => {
            let is_it =
                |lane: &Lane| lane.worker == *worker && lane.constraints == *constraints && lane.urgency == *urgency;
            let found = first_lanes(rows, to.view.meta.next_lane).find(|lane| lane.as_ref().map_or(true, is_it));
            to.view.lanes.insert(want.clone(), found.transpose()?.into_iter().collect());
            Ok(())
        }
        Want::Lanes => {
            let lanes = first_lanes(rows, to.view.meta.next_lane).collect::<Result<_, _>>()?;
            to.view.lanes.insert(want.clone(), lanes);
            Ok(())
        }
        Want::LaneOf(id) => {
            let lane = match rows.get(RowKey::Lane(*id))? {
                Some(Row::Lane(lane)) => Some(lane),
                _ if id.0 >= to.view.meta.next_lane => None,
                _ => return Err(incomplete(&Want::Lanes.into())),
            };
            to.view.lanes.insert(want.clone(), lane.into_iter().collect());
            Ok(())
        }
        Want::GateSettings | Want::Gate(_) | Want::Openings { .. } | Want::Holding { .. } => load_gates(rows, want, to),
        Want::Held { gate, lane, limit } => load_listed(rows, want, IndexRange::held_in(*gate, *lane), *limit, to),
        Want::Serial { gate, limit } => load_listed(rows, want, IndexRange::serial(*gate), *limit, to),
        Want::Claims => load_listed(rows, want, IndexRange::running(0, u64::MAX), usize::MAX, to),
        Want::Running { epoch, limit } => {
            let gathered = gather_claims(rows, IndexRange::running(*epoch, *epoch), *limit, to)?;
            to.view.lists.insert(want.clone(), gathered.list());
            Ok(())
        }
        Want::DeadClaims { limit } => load_dead_claims(rows, want, *limit, to),
        Want::Selected { selector, before, after, limit } => {
            load_selected(rows, want, selector, *before, after.as_ref(), *limit, to)
        }
        Want::Finished { until, after, limit } => load_finished(rows, want, *until, after.as_ref(), *limit, to),
        Want::FinishedEntry { after } => {
            let keys = rows.scan(&IndexRange::finished().after(after.clone()), 1)?;
            let ids = keys.iter().map(IndexKey::id).collect();
            to.view.lists.insert(want.clone(), List { ids, next: keys.last().cloned(), ..List::default() });
            Ok(())
        }
        Want::Cascades => load_cascades(rows, to.view),
    }
}

fn load_record(rows: &impl Rows, id: WorkId, to: &mut Loading<'_>) -> Result<(), StoreError> {
    if !to.view.works.contains_key(&id) {
        let record = match to.settles {
            Some(run) if run.0 == id => held_record(rows, run, to.noticed)?,
            _ => record_by_id(rows, id)?,
        };
        to.view.works.insert(id, record);
    }
    Ok(())
}

fn load_spec(rows: &impl Rows, id: WorkId, to: &mut Loading<'_>) -> Result<(), StoreError> {
    if let Some(spec) = get_spec(rows, id)? {
        to.view.specs.insert(id, spec);
    }
    Ok(())
}

/// Nobody asks for notes but of a record that vouches for them.
fn load_notes(rows: &impl Rows, id: WorkId, to: &mut Loading<'_>) -> Result<(), StoreError> {
    let notes = match rows.get(RowKey::Notes(id))? {
        Some(Row::Notes(_, notes)) => Some(notes),
        _ => None,
    };
    to.view.notes.insert(id, vouched(notes, id, "progress or checkpoint")?);
    Ok(())
}

/// Who holds a name must be known, or two would.
fn load_members(
    rows: &impl Rows,
    want: &Want,
    mut range: IndexRange,
    limit: usize,
    to: &mut Loading<'_>,
) -> Result<(), StoreError> {
    let mut list = List::default();
    loop {
        let left = limit - list.ids.len();
        let gathered = gather(rows, range.clone(), (left, Peek::Nothing), |_| true, &mut |key| {
            let record = to.noticed.pass_over_known(key, listed_record(rows, key)?)?;
            let fits = record.is_some();
            record.into_iter().for_each(|record| keep(to.view, record));
            Ok(fits)
        })?;
        list.ids.extend(gathered.ids);
        list.next = gathered.next;
        if list.next.is_none() || list.ids.len() >= limit {
            break;
        }
        range = range.after(list.next.clone());
    }
    to.view.lists.insert(want.clone(), list);
    Ok(())
}

fn load_ready(
    rows: &impl Rows,
    want: &Want,
    (lane, suspects): (LaneId, Suspects),
    limit: usize,
    to: &mut Loading<'_>,
) -> Result<(), StoreError> {
    let range = IndexRange::ready_in(lane, suspects);
    let gathered = gather(rows, range, (limit, Peek::Nothing), |_| true, &mut |key| load_claimable(rows, key, to))?;
    to.view.lists.insert(want.clone(), gathered.list());
    Ok(())
}

/// A work that a claim may hand out: with its spec and notes. One of which something can't be read stays where it is, and holds
/// up nobody.
fn load_claimable(rows: &impl Rows, key: &IndexKey, to: &mut Loading<'_>) -> Result<bool, StoreError> {
    let Some((record, spec)) = to.noticed.pass_over(key, listed_work(rows, key)?) else { return Ok(false) };
    if record.rows.notes && !to.view.notes.contains_key(&record.id) {
        match load_notes(rows, record.id, to) {
            Err(error) if error.is_of_one_row() => {
                to.noticed.damage.push(Damage::unreadable(record.id, &error));
                return Ok(false);
            }
            loaded => loaded?,
        }
    }
    to.view.specs.insert(record.id, spec);
    keep(to.view, record);
    Ok(true)
}

/// What is due in either time. What waits for the wall clock comes right behind the rest, so one look is enough unless some of the
/// rest has to wait.
fn load_due(rows: &impl Rows, want: &Want, limit: usize, to: &mut Loading<'_>) -> Result<(), StoreError> {
    let due_of = |key: &IndexKey| match key {
        IndexKey::Waiting { due, .. } => *due,
        _ => Due::Store(Timestamp::MAX),
    };
    let (latest, offset_ms) = (to.view.meta.latest, to.view.meta.clock_offset_ms);
    let is_due = move |key: &IndexKey| due_of(key).in_store_time(offset_ms) <= latest;
    let mut list = List::default();
    for range in [IndexRange::waiting(), IndexRange::waiting_for_the_wall()] {
        let left = limit - list.ids.len();
        let gathered = gather(rows, range, (left, Peek::Beyond), is_due, &mut |key| load_claimable(rows, key, to))?;
        list.ids.extend(gathered.ids);
        list.next_due = gathered.beyond.iter().fold(list.next_due, |next, key| next.and(due_of(key)));
        let is_all = gathered.beyond.is_none() && gathered.next.is_none();
        if is_all || list.next_due.wall.is_some() {
            break;
        }
    }
    to.view.lists.insert(want.clone(), list);
    Ok(())
}

/// A dependent of which nobody knows where it stands is left alone, and counted.
fn load_dependents(
    rows: &impl Rows,
    of: WorkId,
    after: Option<WorkId>,
    limit: usize,
    to: &mut Loading<'_>,
) -> Result<(), StoreError> {
    let range = IndexRange::dependents(of).after(after.map(|id| IndexKey::Dependent { of, id }));
    let mut unknown = 0;
    let gathered = gather(rows, range, (limit, Peek::Nothing), |_| true, &mut |key| {
        if let Some(Some(_)) = to.view.works.get(&key.id()) {
            return Ok(true);
        }
        let listed = listed_record(rows, key)?;
        unknown += usize::from(matches!(listed, Listed::Unknown(_)));
        let record = to.noticed.pass_over(key, listed);
        let fits = record.is_some();
        record.into_iter().for_each(|record| keep(to.view, record));
        Ok(fits)
    })?;
    let list = List { unknown, ..gathered.list() };
    to.view.lists.insert(Want::Dependents { of, after, limit }, list);
    Ok(())
}

/// Walks the edges breadth first and leaves a `Dependents` list for each work that it passed, until they hold `limit` entries:
/// edges are counted, since behind a mesh or a wide fan-out there are far more of them than works.
fn load_descendants(
    rows: &impl Rows,
    want: &Want,
    (of, after): (WorkId, Option<WorkId>),
    limit: usize,
    goes_on_behind: impl Fn(WorkState) -> bool,
    to: &mut Loading<'_>,
) -> Result<(), StoreError> {
    let mut line = VecDeque::from([(of, after)]);
    let (mut seen, mut looked_at) = (BTreeSet::new(), 0);
    while looked_at < limit
        && let Some((of, after)) = line.pop_front()
    {
        load_dependents(rows, of, after, limit, to)?;
        let list = to.view.lists.get(&Want::Dependents { of, after, limit });
        let ids = list.map(|list| list.ids.clone()).unwrap_or_default();
        looked_at += ids.len();
        for id in ids {
            let record = to.view.works.get(&id).and_then(Option::as_ref);
            let walks_on = record.is_some_and(|record| record.rows.dependents && goes_on_behind(record.state()));
            if seen.insert(id) && walks_on {
                line.push_back((id, None));
            }
        }
    }
    to.view.lists.insert(want.clone(), List::default());
    Ok(())
}

/// The first so many lanes. One that is missing would hide the works in it, so that is an error.
pub(super) fn first_lanes(rows: &impl Rows, count: u32) -> impl Iterator<Item = Result<Lane, StoreError>> + '_ {
    (0..count).map(|number| match rows.get(RowKey::Lane(LaneId(number)))? {
        Some(Row::Lane(lane)) => Ok(lane),
        _ => Err(incomplete(&Want::Lanes.into())),
    })
}

fn load_dead_claims(rows: &impl Rows, want: &Want, limit: usize, to: &mut Loading<'_>) -> Result<(), StoreError> {
    let meta = &to.view.meta;
    let attached = meta.epochs_of == meta.incarnation;
    let alive: Vec<u64> = meta.open_epochs.keys().copied().filter(|_| attached).collect();
    let mut list = List::default();
    let mut from = 0;
    for epoch in alive.into_iter().map(Some).chain([None]) {
        let last = epoch.map_or(Some(u64::MAX), |epoch| epoch.checked_sub(1));
        if let Some(last) = last.filter(|last| *last >= from) {
            let gathered = gather_claims(rows, IndexRange::running(from, last), limit - list.ids.len(), to)?;
            list.ids.extend(gathered.ids);
            list.next = gathered.next;
        }
        from = epoch.map_or(u64::MAX, |epoch| epoch.saturating_add(1));
        if list.next.is_some() {
            break;
        }
    }
    to.view.lists.insert(want.clone(), list);
    Ok(())
}

/// Whoever ends a selection must be told of a work of which nobody knows where it stands.
fn load_selected(
    rows: &impl Rows,
    want: &Want,
    selector: &SelectorWanted,
    before: u64,
    after: Option<&IndexKey>,
    limit: usize,
    to: &mut Loading<'_>,
) -> Result<(), StoreError> {
    let ranges = match selector {
        SelectorWanted::Tag(tag) => vec![IndexRange::tag(tag)],
        SelectorWanted::Unique(name) => vec![IndexRange::unfinished(name)],
        SelectorWanted::All => unfinished_ranges(),
    };
    let mut ids = Vec::new();
    let next = each_entry(rows, ranges, after, limit, Looks::Bounded, &mut |key| {
        let Some(record) = to.noticed.pass_over_known(key, listed_record(rows, key)?)? else { return Ok(false) };
        let wanted = record.seq < before && !record.state().is_finished();
        if wanted {
            ids.push(key.id());
        }
        keep(to.view, record);
        Ok(wanted)
    })?;
    to.view.lists.insert(want.clone(), List { ids, next, ..List::default() });
    Ok(())
}

/// A pruning goes around what can't be read, step by step, so that is an error here.
fn load_finished(
    rows: &impl Rows,
    want: &Want,
    until: Timestamp,
    after: Option<&IndexKey>,
    limit: usize,
    to: &mut Loading<'_>,
) -> Result<(), StoreError> {
    let until_of = |key: &IndexKey| match key {
        IndexKey::Finished { until, .. } => *until,
        _ => Timestamp::MAX,
    };
    let range = IndexRange::finished().after(after.cloned());
    let is_asked = |key: &IndexKey| until_of(key) <= until;
    let gathered = gather(rows, range, (limit, Peek::Beyond), is_asked, &mut |key| {
        let record = to.noticed.pass_over_known(key, listed_record(rows, key)?)?;
        let fits = record.is_some();
        record.into_iter().for_each(|record| keep(to.view, record));
        Ok(fits)
    })?;
    let store = gathered.beyond.as_ref().map(until_of).filter(|next| *next > until);
    let next_due = NextDue { store, wall: None };
    let next = gathered.next.filter(|_| gathered.ids.len() >= limit || gathered.beyond.is_none());
    to.view.lists.insert(want.clone(), List { ids: gathered.ids, next, next_due, ..List::default() });
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
        IndexRange::held(),
        IndexRange::parked(),
        IndexRange::running(0, u64::MAX),
    ]
}
