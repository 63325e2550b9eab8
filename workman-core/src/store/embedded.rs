//! What every embedded store does the same way: load, plan, apply, read.
//!
//! An embedded store (memory, one file) brings [`Rows`], six verbs over rows and index entries inside one transaction of its
//! own. [`run_unit`] loads for the planner and applies what it decided, [`page`] answers queries, [`dump`] feeds
//! the invariants. No policy is in here, and no decision: only how rows are found and how indexes follow from them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::index::{IndexKey, IndexRange, label_keys, standing_key};
use super::{Change, StoreError, Unit, UnitResult};
use crate::constraints::Constraints;
use crate::data::Payload;
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::plan::{Hint, List, Plan, Scope, SelectorWanted, Snapshot, Step, Want, Write, plan};
use crate::query::{Cursor, Page, PageRequest, WorkQuery};
use crate::record::{
    AttemptEnd, AttemptRecord, Cascade, Finish, Lane, LaneId, Meta, Notes, Standing, WorkRecord, WorkSpec,
};
use crate::state::WorkState;
use crate::time::Timestamp;

/// The key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// A work's record.
    Record(WorkId),
    /// What its request said.
    Spec(WorkId),
    /// What it gave.
    Output(WorkId),
    /// What its worker said on the way.
    Notes(WorkId),
    /// Its attempts that are over.
    History(WorkId),
    /// A lane.
    Lane(LaneId),
    /// A cascade.
    Cascade(u64),
    /// The store's own row.
    Meta,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// A work's record.
    Record(WorkRecord),
    /// What its request said.
    Spec(WorkId, Arc<WorkSpec>),
    /// What it gave.
    Output(WorkId, Payload),
    /// What its worker said on the way.
    Notes(WorkId, Notes),
    /// Its attempts that are over.
    History(WorkId, Vec<AttemptRecord>),
    /// A lane.
    Lane(Lane),
    /// A cascade.
    Cascade(Cascade),
    /// The store's own row.
    Meta(Meta),
}

impl Row {
    /// Where the row lies.
    #[must_use]
    pub const fn key(&self) -> RowKey {
        match self {
            Row::Record(record) => RowKey::Record(record.id),
            Row::Spec(id, _) => RowKey::Spec(*id),
            Row::Output(id, _) => RowKey::Output(*id),
            Row::Notes(id, _) => RowKey::Notes(*id),
            Row::History(id, _) => RowKey::History(*id),
            Row::Lane(lane) => RowKey::Lane(lane.id),
            Row::Cascade(cascade) => RowKey::Cascade(cascade.number),
            Row::Meta(_) => RowKey::Meta,
        }
    }
}

/// Rows and index entries inside one transaction, reading what it wrote.
pub trait Rows {
    /// The row, if there is one.
    ///
    /// # Errors
    /// When it can't be read, or is not what was written.
    fn get(&self, key: RowKey) -> Result<Option<Row>, StoreError>;

    /// The first entries of a stretch, in order; no more than `limit`.
    ///
    /// # Errors
    /// When they can't be read.
    fn scan(&self, range: &IndexRange, limit: usize) -> Result<Vec<IndexKey>, StoreError>;
}

/// [`Rows`] that can be written.
pub trait RowsMut: Rows {
    /// Writes a row, new or anew.
    ///
    /// # Errors
    /// When it can't be written.
    fn put(&mut self, row: Row) -> Result<(), StoreError>;

    /// Removes a row, if there is one.
    ///
    /// # Errors
    /// When it can't be removed.
    fn remove(&mut self, key: RowKey) -> Result<(), StoreError>;

    /// Adds an index entry.
    ///
    /// # Errors
    /// When it can't be written.
    fn link(&mut self, key: &IndexKey) -> Result<(), StoreError>;

    /// Removes an index entry.
    ///
    /// # Errors
    /// When it can't be removed.
    fn unlink(&mut self, key: &IndexKey) -> Result<(), StoreError>;
}

/// What one transaction has gathered so far: the store's own row, and what its commit will announce.
#[derive(Debug)]
pub struct Transaction {
    meta: Meta,
    before: Meta,
    written: bool,
    touched: BTreeSet<WorkId>,
    hints: Vec<Hint>,
}

impl Transaction {
    /// Begins with the stored meta row. `incarnation` is that of this opening of the store.
    ///
    /// # Errors
    /// When the meta row can't be read.
    pub fn begin(rows: &impl Rows, incarnation: u64) -> Result<Self, StoreError> {
        let stored = stored_meta(rows)?;
        let meta = Meta { incarnation, ..stored.clone() };
        Ok(Transaction { before: stored, meta, written: false, touched: BTreeSet::new(), hints: Vec::new() })
    }

    /// Plans one unit and applies what was decided. The unit is planned completely before its first write.
    ///
    /// # Errors
    /// When rows can't be read or written; the whole transaction must then be given up.
    pub fn run_unit(&mut self, rows: &mut impl RowsMut, unit: &Unit) -> Result<UnitResult, StoreError> {
        stamp(&mut self.meta, unit.wall);
        let now = self.meta.latest;
        let mut view = Snapshot { meta: self.meta.clone(), ..Snapshot::default() };
        let decided = loop {
            match plan(&view, &unit.command, now) {
                Ok(Step::Load(scope)) => load(rows, &scope, &mut view)?,
                Ok(Step::Done(plan)) => break plan,
                Err(refusal) => return Ok(Err(refusal)),
            }
        };
        let Plan { writes, meta, hints, applied } = decided;
        self.written |= !writes.is_empty() || meta != view.meta;
        self.meta = meta;
        self.hints.extend(hints);
        for write in writes {
            apply(rows, write, &mut self.touched)?;
        }
        Ok(Ok(applied))
    }

    /// Ends the transaction: writes the meta row and answers what the commit announces; `None` when nothing was written
    /// and there is nothing to commit.
    ///
    /// # Errors
    /// When the meta row can't be written.
    pub fn finish(self, rows: &mut impl RowsMut, commit: u64) -> Result<Option<Change>, StoreError> {
        if !self.written {
            return Ok(None);
        }
        let now = self.meta.latest;
        if self.meta != self.before {
            rows.put(Row::Meta(self.meta))?;
        }
        Ok(Some(Change::Commit { commit, now, touched: self.touched.into_iter().collect(), hints: self.hints.into() }))
    }
}

/// The meta row, or that of an empty store.
///
/// # Errors
/// When it can't be read.
pub fn stored_meta(rows: &impl Rows) -> Result<Meta, StoreError> {
    Ok(match rows.get(RowKey::Meta)? {
        Some(Row::Meta(meta)) => meta,
        _ => Meta::default(),
    })
}

/// A wall clock that is behind by less than this is jitter between threads; store time just stands still.
const JITTER: Duration = Duration::from_secs(2);

/// Moves store time on: wall time plus an offset that grows when the wall clock is set back.
fn stamp(meta: &mut Meta, wall: Timestamp) {
    let shifted = Timestamp::from_millis(wall.as_millis().saturating_add(meta.clock_offset_ms));
    if meta.latest.since(shifted) >= JITTER {
        meta.clock_offset_ms = meta.latest.as_millis().saturating_sub(wall.as_millis());
    }
    meta.latest = meta.latest.max(shifted);
}

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
        Want::History(id) => {
            if let Some(Row::History(_, history)) = rows.get(RowKey::History(*id))? {
                view.histories.insert(*id, history);
            } else {
                view.histories.insert(*id, Vec::new());
            }
            Ok(())
        }
        Want::Name(name) => {
            let keys = rows.scan(&IndexRange::name(name), usize::MAX)?;
            load_list(rows, want, &keys, usize::MAX, view)?;
            keys.iter().try_for_each(|key| load_spec(rows, key.id(), view))
        }
        Want::Dependents { of, after, limit } => load_dependents(rows, *of, *after, *limit, view),
        Want::Descendants { of, after, limit } => load_descendants(rows, want, (*of, *after), *limit, view),
        Want::Due { limit } => load_due(rows, want, *limit, view),
        Want::Ready { lane, suspects, limit } => {
            let keys = rows.scan(&IndexRange::ready_in(*lane, *suspects), *limit)?;
            load_claimable(rows, want, &keys, *limit, view)
        }
        Want::Lane { worker, constraints } => load_lane(rows, want, worker, constraints, view),
        Want::Lanes => {
            view.lanes.insert(want.clone(), all_lanes(rows)?);
            Ok(())
        }
        Want::Running { epoch, limit } => {
            let keys = rows.scan(&IndexRange::running(*epoch, *epoch), *limit)?;
            load_list(rows, want, &keys, *limit, view)
        }
        Want::DeadClaims { limit } => load_dead_claims(rows, want, *limit, view),
        Want::Selected { selector, before, after, limit } => {
            load_selected(rows, want, selector, *before, after.as_ref(), *limit, view)
        }
        Want::Cascade => load_cascade(rows, view),
    }
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
        load_record(rows, key.id(), view)?;
    }
    let next = if keys.len() >= limit { keys.last().cloned() } else { None };
    let list = List { ids: keys.iter().map(IndexKey::id).collect(), next, next_due: None };
    view.lists.insert(want.clone(), list);
    Ok(())
}

/// A list of works that a claim may hand out: with their specs and notes.
fn load_claimable(
    rows: &impl Rows,
    want: &Want,
    keys: &[IndexKey],
    limit: usize,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    load_list(rows, want, keys, limit, view)?;
    for id in keys.iter().map(IndexKey::id) {
        load_spec(rows, id, view)?;
        if view.works.get(&id).is_some_and(|record| record.as_ref().is_some_and(|record| record.rows.notes)) {
            load_notes(rows, id, view)?;
        }
    }
    Ok(())
}

fn load_due(rows: &impl Rows, want: &Want, limit: usize, view: &mut Snapshot) -> Result<(), StoreError> {
    let mut keys = rows.scan(&IndexRange::waiting(), limit.saturating_add(1))?;
    let due_of = |key: &IndexKey| match key {
        IndexKey::Waiting { due, .. } => *due,
        _ => Timestamp::MAX,
    };
    let due = keys.partition_point(|key| due_of(key) <= view.meta.latest).min(limit);
    let next_due = keys.get(due).map(due_of);
    keys.truncate(due);
    load_claimable(rows, want, &keys, usize::MAX, view)?;
    if let Some(list) = view.lists.get_mut(want) {
        list.next_due = next_due;
    }
    Ok(())
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

/// Walks the edges breadth first and leaves a `Dependents` list for each work that it passed.
fn load_descendants(
    rows: &impl Rows,
    want: &Want,
    (of, after): (WorkId, Option<WorkId>),
    limit: usize,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    let mut line = VecDeque::from([(of, after)]);
    let mut seen = BTreeSet::new();
    while let Some((of, after)) = line.pop_front() {
        load_dependents(rows, of, after, limit, view)?;
        let list = view.lists.get(&Want::Dependents { of, after, limit });
        for id in list.map(|list| list.ids.clone()).unwrap_or_default() {
            let record = view.works.get(&id).and_then(Option::as_ref);
            let walks_on = record.is_some_and(|record| record.rows.dependents && !record.state().is_finished());
            if seen.insert(id) && walks_on && seen.len() < limit {
                line.push_back((id, None));
            }
        }
    }
    view.lists.insert(want.clone(), List::default());
    Ok(())
}

fn load_lane(
    rows: &impl Rows,
    want: &Want,
    worker: &Arc<str>,
    constraints: &Constraints,
    view: &mut Snapshot,
) -> Result<(), StoreError> {
    let found = all_lanes(rows)?.into_iter().find(|lane| lane.worker == *worker && lane.constraints == *constraints);
    view.lanes.insert(want.clone(), found.into_iter().collect());
    Ok(())
}

fn all_lanes(rows: &impl Rows) -> Result<Vec<Lane>, StoreError> {
    let count = stored_meta(rows)?.next_lane;
    let mut lanes = Vec::new();
    // Lanes that an earlier unit of the same transaction made lie behind the stored count.
    for number in 0.. {
        match rows.get(RowKey::Lane(LaneId(number)))? {
            Some(Row::Lane(lane)) => lanes.push(lane),
            _ if number >= count => break,
            _ => {}
        }
    }
    Ok(lanes)
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
        SelectorWanted::Unique(name) => vec![IndexRange::name(name)],
        SelectorWanted::All => unfinished_ranges(),
    };
    let mut ids = Vec::new();
    let next = walk(rows, ranges, after, limit, &mut |key| {
        load_record(rows, key.id(), view)?;
        let record = view.works.get(&key.id()).and_then(Option::as_ref);
        let wanted = record.is_some_and(|record| record.seq < before && !record.state().is_finished());
        if wanted {
            ids.push(key.id());
        }
        Ok(wanted)
    })?;
    view.lists.insert(want.clone(), List { ids, next, next_due: None });
    Ok(())
}

fn load_cascade(rows: &impl Rows, view: &mut Snapshot) -> Result<(), StoreError> {
    let first = match rows.get(RowKey::Cascade(view.meta.first_cascade))? {
        Some(Row::Cascade(cascade)) => Some(cascade),
        _ => None,
    };
    view.cascade = Some(first);
    Ok(())
}

fn unfinished_ranges() -> Vec<IndexRange> {
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

/// Goes through stretches of the index behind `after` until `wanted` has said yes `limit` times. Answers the last entry it
/// looked at if there may be more.
fn walk(
    rows: &impl Rows,
    ranges: Vec<IndexRange>,
    after: Option<&IndexKey>,
    limit: usize,
    wanted: &mut dyn FnMut(&IndexKey) -> Result<bool, StoreError>,
) -> Result<Option<IndexKey>, StoreError> {
    let mut found = 0;
    for range in ranges {
        if after.is_some_and(|after| *after > range.last) {
            continue;
        }
        let mut last = after.filter(|after| **after >= range.first).cloned();
        loop {
            let keys = rows.scan(&range.clone().after(last), STRIDE)?;
            for key in &keys {
                found += usize::from(wanted(key)?);
                if found >= limit {
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

fn get_record(rows: &impl Rows, id: WorkId) -> Result<Option<WorkRecord>, StoreError> {
    Ok(match rows.get(RowKey::Record(id))? {
        Some(Row::Record(record)) => Some(record),
        _ => None,
    })
}

fn get_spec(rows: &impl Rows, id: WorkId) -> Result<Option<Arc<WorkSpec>>, StoreError> {
    Ok(match rows.get(RowKey::Spec(id))? {
        Some(Row::Spec(_, spec)) => Some(spec),
        _ => None,
    })
}

fn apply(rows: &mut impl RowsMut, write: Write, touched: &mut BTreeSet<WorkId>) -> Result<(), StoreError> {
    match write {
        Write::Record(record) => {
            touched.insert(record.id);
            let before = get_record(rows, record.id)?.map(|before| standing_key(&before));
            let after = standing_key(&record);
            if before.as_ref() != Some(&after) {
                if let Some(before) = before {
                    rows.unlink(&before)?;
                }
                rows.link(&after)?;
            }
            rows.put(Row::Record(record))
        }
        Write::Spec(id, spec) => put_spec(rows, id, spec),
        Write::Output(id, output) => rows.put(Row::Output(id, output)),
        Write::Notes(id, Some(notes)) => {
            touched.insert(id);
            rows.put(Row::Notes(id, notes))
        }
        Write::Notes(id, None) => rows.remove(RowKey::Notes(id)),
        Write::History(id, history) => rows.put(Row::History(id, history)),
        Write::Lane(lane) => rows.put(Row::Lane(lane)),
        Write::Cascade(cascade) => rows.put(Row::Cascade(cascade)),
        Write::CascadeDone(number) => rows.remove(RowKey::Cascade(number)),
        Write::Delete(id) => {
            touched.insert(id);
            delete(rows, id)
        }
    }
}

/// A spec comes right after its record, so the birth number of its labels is known.
fn put_spec(rows: &mut impl RowsMut, id: WorkId, spec: Arc<WorkSpec>) -> Result<(), StoreError> {
    let seq = get_record(rows, id)?.map_or(0, |record| record.seq);
    let before = match get_spec(rows, id)? {
        Some(before) => label_keys(id, seq, &before).collect(),
        None => BTreeSet::new(),
    };
    let after: BTreeSet<IndexKey> = label_keys(id, seq, &spec).collect();
    for gone in before.difference(&after) {
        rows.unlink(gone)?;
    }
    for new in after.difference(&before) {
        rows.link(new)?;
    }
    rows.put(Row::Spec(id, spec))
}

fn delete(rows: &mut impl RowsMut, id: WorkId) -> Result<(), StoreError> {
    if let Some(record) = get_record(rows, id)? {
        rows.unlink(&standing_key(&record))?;
        if let Some(spec) = get_spec(rows, id)? {
            for key in label_keys(id, record.seq, &spec) {
                rows.unlink(&key)?;
            }
        }
        for edge in rows.scan(&IndexRange::dependents(id), usize::MAX)? {
            rows.unlink(&edge)?;
        }
    }
    let keys = [RowKey::Record(id), RowKey::Spec(id), RowKey::Output(id), RowKey::Notes(id), RowKey::History(id)];
    keys.into_iter().try_for_each(|key| rows.remove(key))
}

/// Answers a query page.
///
/// # Errors
/// When rows can't be read.
pub fn page(rows: &impl Rows, request: &PageRequest, commit: u64) -> Result<Page, StoreError> {
    let PageRequest { query, after, limit } = request;
    let mut works = Vec::new();
    if !query.ids.is_empty() {
        let from = match after {
            Some(Cursor::Id(id)) => Some(*id),
            _ => None,
        };
        let mut next = None;
        for id in query.ids.iter().filter(|id| from.is_none_or(|from| **id > from)) {
            works.extend(matching(rows, query, *id)?);
            if works.len() >= *limit {
                next = Some(Cursor::Id(*id));
                break;
            }
        }
        return Ok(Page { works, next, commit });
    }
    let from = match after {
        Some(Cursor::Key(key)) => Some(key),
        _ => None,
    };
    let mut seen = BTreeSet::new();
    let next = walk(rows, ranges_of(query), from, *limit, &mut |key| {
        let first_time = seen.insert(key.id()) && !listed_before(rows, query, key)?;
        let info = if first_time { matching(rows, query, key.id())? } else { None };
        let wanted = info.is_some();
        works.extend(info);
        Ok(wanted)
    })?;
    Ok(Page { works, next: next.map(Cursor::Key), commit })
}

/// A work with two of the tags that are asked for is found under both; it belongs to the first.
fn listed_before(rows: &impl Rows, query: &WorkQuery, key: &IndexKey) -> Result<bool, StoreError> {
    let IndexKey::Tag { tag, id, .. } = key else { return Ok(false) };
    let Some(spec) = get_spec(rows, *id)? else { return Ok(false) };
    let first = std::iter::once(&spec.worker).chain(&spec.tags).filter(|tag| query.tags.contains(*tag)).min();
    Ok(first.is_some_and(|first| first < tag))
}

/// The stretches in which every work that matches is found; the rest is filtered.
fn ranges_of(query: &WorkQuery) -> Vec<IndexRange> {
    if !query.names.is_empty() {
        return query.names.iter().map(IndexRange::name).collect();
    }
    if !query.tags.is_empty() {
        return query.tags.iter().map(IndexRange::tag).collect();
    }
    let wants =
        |states: &[WorkState]| query.states.is_empty() || states.iter().any(|state| query.states.contains(state));
    let mut ranges = Vec::new();
    if wants(&[WorkState::Blocked]) {
        ranges.push(IndexRange::blocked());
    }
    if wants(&[WorkState::Enqueued]) {
        ranges.extend([IndexRange::waiting(), IndexRange::ready(), IndexRange::parked()]);
    }
    if wants(&[WorkState::Running]) {
        ranges.push(IndexRange::running(0, u64::MAX));
    }
    if wants(&[WorkState::Succeeded, WorkState::Failed, WorkState::Cancelled]) {
        ranges.push(IndexRange::finished());
    }
    ranges
}

fn matching(rows: &impl Rows, query: &WorkQuery, id: WorkId) -> Result<Option<WorkInfo>, StoreError> {
    let Some(record) = get_record(rows, id)? else { return Ok(None) };
    let Some(spec) = get_spec(rows, id)? else { return Ok(None) };
    if !query.matches(&record, &spec) {
        return Ok(None);
    }
    info(rows, &record, &spec).map(Some)
}

/// Puts together what everybody may know about a work.
///
/// # Errors
/// When rows can't be read.
pub fn info(rows: &impl Rows, record: &WorkRecord, spec: &WorkSpec) -> Result<WorkInfo, StoreError> {
    let output = if record.rows.output { rows.get(RowKey::Output(record.id))? } else { None };
    let notes = if record.rows.notes { rows.get(RowKey::Notes(record.id))? } else { None };
    let history = if record.rows.history { rows.get(RowKey::History(record.id))? } else { None };
    let mut attempts = match history {
        Some(Row::History(_, attempts)) => attempts,
        _ => Vec::new(),
    };
    attempts.extend(last_success(record));
    let tags: BTreeSet<&Arc<str>> = std::iter::once(&spec.worker).chain(&spec.tags).collect();
    Ok(WorkInfo {
        id: record.id,
        worker: Arc::clone(&spec.worker),
        name: spec.name.clone(),
        tags: tags.into_iter().cloned().collect(),
        state: record.state(),
        parked: match &record.standing {
            Standing::Parked { why } => Some(why.clone()),
            _ => None,
        },
        next_run: match record.standing {
            Standing::Waiting { due } => Some(due),
            Standing::Ready { since } => Some(since),
            _ => None,
        },
        input: spec.input.clone(),
        prerequisites: spec.prerequisites.ids.clone(),
        constraints: spec.constraints,
        schedule: record.terms.schedule,
        priority: record.terms.priority,
        generation: record.generation,
        periods: record.period.map_or(0, |period| period.count),
        failures: record.failures,
        interruptions: record.interruptions,
        deaths: record.deaths,
        runs: record.fence,
        open_prerequisites: record.open,
        created: record.created,
        finished: match record.standing {
            Standing::Finished { at, .. } => Some(at),
            _ => None,
        },
        stop_reason: record.stop,
        attempts,
        progress: match notes {
            Some(Row::Notes(_, notes)) => notes.progress,
            _ => None,
        },
        output: match output {
            Some(Row::Output(_, output)) => Some(output),
            _ => None,
        },
    })
}

/// One-time work succeeds once, so that attempt lies in the record itself and costs no row.
fn last_success(record: &WorkRecord) -> Option<AttemptRecord> {
    match (&record.standing, record.started, record.ended) {
        (Standing::Finished { how: Finish::Succeeded, .. }, Some(started), Some(ended)) => Some(AttemptRecord {
            number: record.failures,
            fence: record.fence,
            started,
            ended,
            end: AttemptEnd::Succeeded,
        }),
        _ => None,
    }
}

/// Everything that a store holds, for the invariants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dump {
    /// The store's own row.
    pub meta: Meta,
    /// Records by id.
    pub records: BTreeMap<WorkId, WorkRecord>,
    /// What requests said.
    pub specs: BTreeMap<WorkId, Arc<WorkSpec>>,
    /// All lanes.
    pub lanes: Vec<Lane>,
    /// All index entries.
    pub index: BTreeSet<IndexKey>,
}

/// Reads everything that hangs on an index entry.
///
/// # Errors
/// When rows can't be read.
pub fn dump(rows: &impl Rows) -> Result<Dump, StoreError> {
    let mut dump = Dump { meta: stored_meta(rows)?, lanes: all_lanes(rows)?, ..Dump::default() };
    let mut ranges = unfinished_ranges();
    ranges.push(IndexRange::finished());
    for range in ranges {
        dump.index.extend(rows.scan(&range, usize::MAX)?);
    }
    let ids: BTreeSet<WorkId> = dump.index.iter().map(IndexKey::id).collect();
    for id in ids {
        dump.records.extend(get_record(rows, id)?.map(|record| (id, record)));
        dump.specs.extend(get_spec(rows, id)?.map(|spec| (id, spec)));
        dump.index.extend(rows.scan(&IndexRange::dependents(id), usize::MAX)?);
    }
    for spec in dump.specs.values() {
        if let Some(name) = &spec.name {
            dump.index.extend(rows.scan(&IndexRange::name(name), usize::MAX)?);
        }
        for tag in std::iter::once(&spec.worker).chain(&spec.tags) {
            dump.index.extend(rows.scan(&IndexRange::tag(tag), usize::MAX)?);
        }
    }
    Ok(dump)
}
