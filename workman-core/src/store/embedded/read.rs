//! Reading: query pages, what everybody may know about a work, and the dump for the invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::super::{Damage, StoreError};
use super::count;
use super::gather::{LOOK_LIMIT, Looks, each_entry};
use super::invariants::Dump;
use super::load::{first_lanes, unfinished_ranges};
use super::ranges::ranges_of;
use super::rows::{Row, RowKey, Rows, get_spec, stored_meta, vouched};
use super::trust::{Noticed, listed_work, record_by_id, work_by_id};
use crate::data::Payload;
use crate::id::WorkId;
use crate::index::{IndexKey, IndexRange};
use crate::info::{Expedited, ExpeditedState, WorkInfo, last_error};
use crate::query::{Cursor, Page, PageRequest, Payloads, Reach, WorkQuery};
use crate::record::{AttemptEnd, AttemptRecord, Finish, LaneId, Standing, Urgency, WorkRecord, WorkSpec, held_by};
use crate::state::{StopReason, WorkState};
use crate::time::{Due, Timestamp};

/// Answers a query page. What it passes over since it contradicts its record, which is shown where it stands, goes to `damage`.
///
/// # Errors
/// When rows can't be read, or are not what was written.
pub fn page(
    rows: &impl Rows,
    request: &PageRequest,
    commit: u64,
    damage: &mut Vec<Damage>,
) -> Result<Page, StoreError> {
    let meta = stored_meta(rows)?;
    let query = &request.query;
    let mut found = Found::new(rows, query);
    let mut tallies = BTreeMap::new();
    let next = match (&query.reach, &query.ids) {
        _ if request.limit == 0 => None,
        (Reach::Tallied, _) => {
            tallies = count::by_worker(rows, &meta)?;
            None
        }
        (Reach::Counted, _) if query.asks_for_kept_counts() => {
            found.counted = count::matching(&count::by_worker(rows, &meta)?, query);
            None
        }
        (Reach::Counted, _) if query.asks_for_labels() => {
            let (counted, next) = count::entries(rows, ranges_of(query), request.after.as_ref())?;
            (found.counted, found.looked) = (counted as u64, counted);
            next
        }
        (Reach::Among(ids), _) => look_at(&mut found, ids, None, usize::MAX)?,
        (_, Some(ids)) => look_at(&mut found, ids, request.after.as_ref(), request.limit)?,
        (reach, None) => look_through(&mut found, reach, request, damage)?,
    };
    let Found { works, looked, places, counted, .. } = found;
    Ok(Page { works, looked, places, counted, tallies, next, commit, last_cancel_all: meta.last_cancel_all })
}

/// What a page has found so far.
struct Found<'a, R> {
    rows: &'a R,
    query: &'a WorkQuery,
    works: Vec<WorkInfo>,
    looked: usize,
    places: Vec<Cursor>,
    /// How many match, if they are counted and not taken in.
    counted: u64,
}

impl<'a, R: Rows> Found<'a, R> {
    fn new(rows: &'a R, query: &'a WorkQuery) -> Self {
        Found { rows, query, works: Vec::new(), looked: 0, places: Vec::new(), counted: 0 }
    }

    /// Takes the work in if it matches, and says whether it does.
    fn take(&mut self, (record, spec): &(WorkRecord, Arc<WorkSpec>)) -> Result<bool, StoreError> {
        if !self.query.matches(record, spec) || !self.says(record)? {
            return Ok(false);
        }
        if self.query.reach == Reach::Counted {
            self.counted += 1;
            return Ok(true);
        }
        let carried = match self.query.payloads {
            Payloads::Shown => Carried::read(self.rows, record, spec)?,
            Payloads::LeftOut => Carried::left_out(record),
        };
        self.works.push(outline(self.rows, record, spec, carried)?);
        if matches!(self.query.reach, Reach::Placed | Reach::Among(_)) {
            self.places.push(self.query.place_of(record, spec));
        }
        Ok(true)
    }
}

impl<R: Rows> Found<'_, R> {
    /// Whether its last error has the text in it that is asked for.
    fn says(&self, record: &WorkRecord) -> Result<bool, StoreError> {
        let Some(text) = &self.query.error else { return Ok(true) };
        let key = record.rows.history.then_some(RowKey::History(record.id));
        let Some(Row::History(_, attempts)) = beside(self.rows, key, record.id, "list of attempts")? else {
            return Ok(false);
        };
        Ok(last_error(&attempts).is_some_and(|error| error.to_string().contains(&**text)))
    }
}

/// How far a page looks.
const fn looks_of(reach: &Reach) -> Looks {
    match reach {
        Reach::Bounded | Reach::Counted => Looks::Bounded,
        _ => Looks::All,
    }
}

/// Looks works up by their ids.
fn look_at<R: Rows>(
    found: &mut Found<'_, R>,
    ids: &BTreeSet<WorkId>,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Option<Cursor>, StoreError> {
    let from = match after {
        Some(Cursor::Id(id)) => Bound::Excluded(*id),
        _ => Bound::Unbounded,
    };
    let look_limit = match looks_of(&found.query.reach) {
        Looks::Bounded if found.query.reach == Reach::Counted => LOOK_LIMIT,
        Looks::Bounded => limit.max(LOOK_LIMIT),
        Looks::All => usize::MAX,
    };
    for id in ids.range((from, Bound::Unbounded)) {
        found.looked += 1;
        if let Some(stored) = work_by_id(found.rows, *id)? {
            found.take(&stored)?;
        }
        if found.works.len() >= limit || found.looked >= look_limit {
            return Ok(Some(Cursor::Id(*id)));
        }
    }
    Ok(None)
}

/// Looks through the indexes in which the works lie that are asked for.
fn look_through<R: Rows>(
    found: &mut Found<'_, R>,
    reach: &Reach,
    request: &PageRequest,
    damage: &mut Vec<Damage>,
) -> Result<Option<Cursor>, StoreError> {
    let from = match &request.after {
        Some(Cursor::Key(key)) => Some(key),
        _ => None,
    };
    let limit = match reach {
        Reach::Counted => LOOK_LIMIT,
        _ => request.limit,
    };
    let looks = looks_of(reach);
    let (rows, query) = (found.rows, found.query);
    let mut seen = BTreeSet::new();
    let mut noticed = Noticed::default();
    let next = each_entry(rows, ranges_of(query), from, limit, looks, &mut |key| {
        found.looked += 1;
        if seen.contains(&key.id()) {
            return Ok(false);
        }
        let listed = noticed.pass_over_known(key, listed_work(rows, key)?)?;
        let Some(work) = listed.filter(|(_, spec)| query.finds_under(key, spec)) else { return Ok(false) };
        seen.insert(key.id());
        found.take(&work)
    });
    damage.extend(noticed.damage);
    Ok(next?.map(Cursor::Key))
}

/// The payloads of a work, as a snapshot shows them.
struct Carried {
    input: Payload,
    progress: Option<Payload>,
    output: Option<Payload>,
}

impl Carried {
    fn read(rows: &impl Rows, record: &WorkRecord, spec: &WorkSpec) -> Result<Self, StoreError> {
        let id = record.id;
        let output = beside(rows, record.rows.output.then_some(RowKey::Output(id)), id, "output")?;
        let notes = beside(rows, record.rows.notes.then_some(RowKey::Notes(id)), id, "progress or checkpoint")?;
        let progress = match notes {
            Some(Row::Notes(_, notes)) => notes.progress,
            _ => None,
        };
        let output = match output {
            Some(Row::Output(_, output)) => Some(output),
            _ => None,
        };
        Ok(Carried { input: spec.input.clone(), progress, output })
    }

    /// The rows in which output and notes lie are not read; the record says whether they are there. Notes may be a checkpoint alone.
    fn left_out(record: &WorkRecord) -> Self {
        let there = |is_there: bool| is_there.then(Payload::left_out);
        Carried { input: Payload::left_out(), progress: there(record.rows.notes), output: there(record.rows.output) }
    }
}

/// What everybody may know about a work that carries this.
fn outline(rows: &impl Rows, record: &WorkRecord, spec: &WorkSpec, carried: Carried) -> Result<WorkInfo, StoreError> {
    let id = record.id;
    let history = beside(rows, record.rows.history.then_some(RowKey::History(id)), id, "list of attempts")?;
    let mut attempts = match history {
        Some(Row::History(_, attempts)) => attempts,
        _ => Vec::new(),
    };
    attempts.extend(last_success(record));
    let mut tags: Vec<Arc<str>> = std::iter::once(&spec.worker).chain(&spec.tags).cloned().collect();
    tags.sort_unstable();
    tags.dedup();
    Ok(WorkInfo {
        id: record.id,
        worker: Arc::clone(&spec.worker),
        name: spec.name.clone(),
        tags,
        state: record.state(),
        parked: match &record.standing {
            Standing::Parked { why } => Some(why.clone()),
            _ => None,
        },
        next_run: record.next_run().filter(|due| !due.is_never()).map(Due::at),
        due: record.next_run(),
        waits_for: record.wait(),
        held: held_by(record, spec),
        limit_key: spec.limit_key.clone(),
        serial: spec.serial.as_ref().map(|serial| Arc::clone(&serial.lane)),
        next_run_override: record.period.and_then(|period| period.next_run),
        input: carried.input,
        prerequisites: spec.prerequisites.ids.clone(),
        takes: spec.prerequisites.shape,
        constraints: spec.constraints.clone(),
        schedule: record.terms.schedule.clone(),
        initial_delay: record.terms.initial_delay,
        run_at: Some(record.terms.run_at).filter(|at| *at > Timestamp::MIN),
        backoff: record.terms.backoff,
        max_attempts: record.terms.max_attempts,
        on_interruption: record.terms.on_interruption,
        timeout: record.terms.timeout,
        priority: record.terms.priority,
        expedited: expedited(record),
        keep_results_for_at_least: record.terms.retention,
        trace_tag: spec.trace_tag.clone(),
        generation: record.generation,
        periods: record.period.map_or(0, |period| period.count),
        failures: record.failures,
        interruptions: record.interruptions,
        deaths: record.deaths,
        flaps: record.flaps(),
        superseded: record.is_superseded(),
        runs: record.fence,
        open_prerequisites: record.open,
        created: record.created,
        finished: match record.standing {
            Standing::Finished { at, .. } => Some(at),
            _ => None,
        },
        cancel_reason: record.cancelled_because().cloned(),
        stop_reason: record.stop.filter(|_| record.state() != WorkState::Running),
        attempts,
        progress: carried.progress,
        output: carried.output,
    })
}

/// A row beside a record, if the record vouches for one.
fn beside(rows: &impl Rows, key: Option<RowKey>, id: WorkId, what: &str) -> Result<Option<Row>, StoreError> {
    key.map(|key| vouched(rows.get(key)?, id, what)).transpose()
}

/// A run that was granted keeps its urgency until it ends, so a first run without it fell back. Only what is dropped is
/// cancelled for its quota without a run.
fn expedited(record: &WorkRecord) -> Option<Expedited> {
    let is_cancelled = matches!(record.standing, Standing::Finished { how: Finish::Cancelled, .. });
    let is_dropped = is_cancelled && record.fence == 0 && record.stop == Some(StopReason::Quota);
    let is_first_run = record.fence == 1 && matches!(record.standing, Standing::Running { .. });
    let state = match record.urgency {
        Urgency::Expedited => ExpeditedState::Granted,
        Urgency::Ordinary if is_dropped => ExpeditedState::Dropped,
        Urgency::Ordinary if record.fence == 0 || is_first_run => ExpeditedState::FellBack,
        Urgency::Ordinary => ExpeditedState::Used,
    };
    record.terms.expedited.map(|policy| Expedited { policy, state })
}

/// One-time work succeeds once, so that attempt lies in the record itself and costs no row.
fn last_success(record: &WorkRecord) -> Option<AttemptRecord> {
    match (&record.standing, record.started, record.ended) {
        (Standing::Finished { how: Finish::Succeeded, .. }, Some(started), Some(ended)) => Some(AttemptRecord {
            number: record.failures,
            fence: record.fence,
            generation: record.run_generation,
            started,
            ended,
            end: AttemptEnd::Succeeded,
        }),
        _ => None,
    }
}

/// Reads everything that hangs on an index entry.
///
/// # Errors
/// When rows can't be read.
pub fn dump(rows: &impl Rows) -> Result<Dump, StoreError> {
    let meta = stored_meta(rows)?;
    let lanes = first_lanes(rows, meta.next_lane).collect::<Result<_, _>>()?;
    let mut dump = Dump { meta, lanes, ..Dump::default() };
    let mut ranges = unfinished_ranges();
    ranges.push(IndexRange::finished());
    for range in ranges {
        dump.index.extend(rows.scan(&range, usize::MAX)?);
    }
    let ids: BTreeSet<WorkId> = dump.index.iter().map(IndexKey::id).collect();
    for id in ids {
        dump.records.extend(record_by_id(rows, id)?.map(|record| (id, record)));
        dump.specs.extend(get_spec(rows, id)?.map(|spec| (id, spec)));
        dump.index.extend(rows.scan(&IndexRange::dependents(id), usize::MAX)?);
    }
    let specs = dump.specs.values();
    let names: BTreeSet<&Arc<str>> = specs.clone().filter_map(|spec| spec.name.as_ref()).collect();
    let tags: BTreeSet<&Arc<str>> = specs.flat_map(|spec| std::iter::once(&spec.worker).chain(&spec.tags)).collect();
    let of_name = |name| [IndexRange::name(name), IndexRange::leaves(name), IndexRange::unfinished(name)];
    for range in names.into_iter().flat_map(of_name).chain(tags.into_iter().map(IndexRange::tag)) {
        dump.index.extend(rows.scan(&range, usize::MAX)?);
    }
    for range in IndexRange::openings() {
        dump.index.extend(rows.scan(&range, usize::MAX)?);
    }
    dump.gates = rows.gates()?.into_iter().map(|gate| (gate.id, gate)).collect();
    let serial = dump.records.values().filter_map(|record| Some(record.rare.as_ref()?.serial?.gate));
    for serial in serial.chain(dump.gates.keys().copied()).collect::<BTreeSet<_>>() {
        dump.index.extend(rows.scan(&IndexRange::serial(serial), usize::MAX)?);
    }
    if let Some(Row::GateSettings(settings)) = rows.get(RowKey::GateSettings)? {
        dump.settings = settings;
    }
    for number in 0..dump.meta.next_lane {
        if let Some(Row::Tally(lane, tally)) = rows.get(RowKey::Tally(LaneId(number)))? {
            dump.tallies.insert(lane, tally);
        }
    }
    Ok(dump)
}
