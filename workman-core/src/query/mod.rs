//! [`WorkQuery`] and [`WorkSelector`]: which works are meant.

mod page;
mod selector;
mod span;

use std::collections::BTreeSet;
use std::ops::RangeBounds;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::WorkId;
use crate::index::{IndexKey, standing_key};
use crate::record::{GateTarget, Standing, WorkRecord, WorkSpec};
use crate::state::WorkState;
use crate::time::{Due, Timestamp};

pub use page::{Cursor, Page, PageRequest};
pub use selector::WorkSelector;
pub(crate) use span::TimeSpan;

/// Which works to look at, and how much of them: OR inside a list, AND across lists (WorkManager's rule). What was never asked
/// for restricts nothing, so the empty query means all works. A list of ids that is asked for and empty means none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "a query does nothing until a manager gets it"]
#[doc(alias = "filter")]
pub struct WorkQuery {
    /// None is any; an empty list is none.
    pub(crate) ids: Option<BTreeSet<WorkId>>,
    pub(crate) names: BTreeSet<Arc<str>>,
    pub(crate) tags: BTreeSet<Arc<str>>,
    pub(crate) workers: BTreeSet<Arc<str>>,
    pub(crate) states: BTreeSet<WorkState>,
    pub(crate) parked: bool,
    pub(crate) held: BTreeSet<GateTarget>,
    pub(crate) created: Option<TimeSpan>,
    pub(crate) finished: Option<TimeSpan>,
    pub(crate) next_run: Option<TimeSpan>,
    pub(crate) error: Option<Arc<str>>,
    pub(crate) payloads: Payloads,
    #[serde(skip)]
    pub(crate) reach: Reach,
}

/// Whether a snapshot has the payloads of its works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payloads {
    #[default]
    Shown,
    LeftOut,
}

/// How far one page looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// At a bounded part of an index, so that others get their turn between pages.
    #[default]
    Bounded,
    /// At all of it.
    Whole,
    /// At all of it, and the page says where each work is placed among the others.
    Placed,
    /// At these works only, and at no index; the page says where each is placed among all that match.
    Among(BTreeSet<WorkId>),
    /// As far as [`Bounded`](Self::Bounded), and the page says how many match and shows none.
    Counted,
    /// At no work: the page says what is kept of all of them.
    Tallied,
}

impl WorkQuery {
    /// All works.
    pub fn all() -> Self {
        Self::default()
    }

    /// The work with this id; say it again for another.
    pub fn id(id: WorkId) -> Self {
        Self::ids([id])
    }

    /// The works with these ids. Without any it means no work at all, and not all of them.
    ///
    /// ```
    /// use workman_core::WorkQuery;
    ///
    /// assert_ne!(WorkQuery::ids([]), WorkQuery::all());
    /// ```
    pub fn ids(ids: impl IntoIterator<Item = WorkId>) -> Self {
        WorkQuery { ids: Some(ids.into_iter().collect()), ..Self::default() }
    }

    /// The works under this unique name.
    pub fn unique(name: impl Into<Arc<str>>) -> Self {
        WorkQuery { names: [name.into()].into(), ..Self::default() }
    }

    /// The works with this tag; a worker's name is a tag of all its works.
    pub fn tag(tag: impl Into<Arc<str>>) -> Self {
        WorkQuery { tags: [tag.into()].into(), ..Self::default() }
    }

    /// The works of this worker, by its registered name.
    pub fn worker(name: impl Into<Arc<str>>) -> Self {
        WorkQuery { workers: [name.into()].into(), ..Self::default() }
    }

    /// The works in this state.
    pub fn in_state(state: WorkState) -> Self {
        WorkQuery { states: [state].into(), ..Self::default() }
    }

    /// The works that can't run until somebody helps: see [`ParkReason`](crate::record::ParkReason).
    pub fn parked() -> Self {
        WorkQuery { parked: true, ..Self::default() }
    }

    /// The works that this gate holds: a limit, a rate or a pause of a tag, a unique name or a key, or a serial lane. What is paused or
    /// limited by its worker, or with everything, stands in its lane and at no gate, so that finds nothing.
    pub fn held_by(gate: GateTarget) -> Self {
        Self::default().at_gate(gate)
    }

    /// … and held by this gate, or another that was asked for. An index is read that lists nothing else.
    pub fn at_gate(mut self, gate: GateTarget) -> Self {
        self.held.insert(gate);
        self
    }

    /// … and first stored in these times. Said again, the last one counts; a range that is empty or reversed means no work.
    ///
    /// Nothing is sorted by this: the works are looked at that the query finds without it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use workman_core::{WorkQuery, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn tick() {}
    ///
    /// let test = TestDriver::new();
    /// let first = test.enqueue(tick::request());
    /// let start = test.info(first).created;
    /// test.advance(Duration::from_secs(60));
    /// test.enqueue(tick::request());
    /// assert_eq!(test.count(WorkQuery::worker("tick").created(..start + Duration::from_secs(60))), 1);
    /// assert_eq!(test.count(WorkQuery::all().created(start..)), 2);
    /// ```
    pub fn created(mut self, within: impl RangeBounds<Timestamp>) -> Self {
        self.created = Some(TimeSpan::of(&within));
        self
    }

    /// … and finished in these times. Said again, the last one counts; a range that is empty or reversed means no work.
    ///
    /// Without names, tags and workers, of finished works those are looked at that are kept until after the first of these times.
    pub fn finished(mut self, within: impl RangeBounds<Timestamp>) -> Self {
        self.finished = Some(TimeSpan::of(&within));
        self
    }

    /// … and with a [`next_run`](crate::WorkInfo::next_run) in these times. What runs, is parked or has finished has none. Said
    /// again, the last one counts; a range that is empty or reversed means no work.
    ///
    /// Without names, tags and workers, of the works that wait those are looked at that are due in these times, and all that could run.
    pub fn next_run(mut self, within: impl RangeBounds<Timestamp>) -> Self {
        self.next_run = Some(TimeSpan::of(&within));
        self
    }

    /// … and whose last error, as [`WorkInfo::last_error`](crate::WorkInfo::last_error) shows it, has this text in it, letter by
    /// letter. Said again, the last one counts. The attempts are read of each work that all else of the query finds.
    pub fn error_contains(mut self, text: impl Into<Arc<str>>) -> Self {
        self.error = Some(text.into());
        self
    }

    /// … and with this id, or another that was asked for.
    pub fn or_id(mut self, id: WorkId) -> Self {
        self.ids.get_or_insert_default().insert(id);
        self
    }

    /// … and under this unique name, or another that was asked for.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.names.insert(name.into());
        self
    }

    /// … and with this tag, or another that was asked for.
    pub fn tagged(mut self, tag: impl Into<Arc<str>>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// … and of this worker, or another that was asked for. A [`tag`](Self::tag) may be called like a worker, and finds what has it.
    pub fn run_by(mut self, worker: impl Into<Arc<str>>) -> Self {
        self.workers.insert(worker.into());
        self
    }

    /// … and in this state, or another that was asked for.
    pub fn state(mut self, state: WorkState) -> Self {
        self.states.insert(state);
        self
    }

    /// … but without their payloads: input, output and progress. What lies in rows of its own is not read at all, so that a list
    /// of many works costs neither the time nor the memory for them.
    ///
    /// Each payload that there is, or may be, is a [`Payload`](crate::data::Payload) that
    /// [`is_left_out`](crate::data::Payload::is_left_out) then, and never `None`, which means that the work has none.
    ///
    /// ```
    /// use workman_core::{WorkQuery, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn shout(word: String) -> String {
    ///     word.to_uppercase()
    /// }
    ///
    /// let test = TestDriver::new();
    /// let id = test.enqueue(shout::request("quiet".into()));
    /// test.run_until_idle();
    /// let listed = test.query(WorkQuery::tag("shout").without_payloads()).remove(0);
    /// assert!(listed.input.is_left_out());
    /// assert!(listed.output.is_some_and(|output| output.is_left_out()));
    /// assert_eq!(listed.progress, None, "it is finished, so it has none");
    /// assert_eq!(test.output::<String>(id), "QUIET");
    /// ```
    pub fn without_payloads(mut self) -> Self {
        self.payloads = Payloads::LeftOut;
        self
    }

    /// … in one page, however much of an index has to be looked at: such a page is shorter than asked for only if it is the
    /// last, and shows one snapshot. [`WorkManager::query`](crate::WorkManager::query) and
    /// [`watch`](crate::WorkManager::watch) ask like this. While many works are looked at, other readers wait.
    pub fn in_one_page(mut self) -> Self {
        self.reach = Reach::Whole;
        self
    }

    /// As [`in_one_page`](Self::in_one_page), with the place of each work.
    pub(crate) fn with_places(mut self) -> Self {
        self.reach = Reach::Placed;
        self
    }

    /// Of what it asks for only these, each with its place among all of it.
    pub(crate) fn among(mut self, ids: BTreeSet<WorkId>) -> Self {
        self.reach = Reach::Among(ids);
        self
    }

    /// … and only how many they are: a page of it shows no work, and says in [`Page::counted`](crate::store::Page::counted) how many
    /// it has counted, and where to go on. [`WorkManager::count`](crate::WorkManager::count) asks like this.
    pub fn counted(mut self) -> Self {
        self.reach = Reach::Counted;
        self
    }

    /// The numbers that the store keeps of all works, whatever the query asks for: a page of it shows no work, and has them in
    /// [`Page::tallies`](crate::store::Page::tallies). [`WorkManager::counts`](crate::WorkManager::counts) asks like this.
    pub fn tallied(mut self) -> Self {
        self.reach = Reach::Tallied;
        self
    }

    /// Whether it asks for states and workers alone, which the tallies know.
    pub(crate) fn asks_for_kept_counts(&self) -> bool {
        !self.looks_inside()
            && self.held.is_empty()
            && self.ids.is_none()
            && self.names.is_empty()
            && self.tags.is_empty()
    }

    /// Whether each entry of the index that it is found by is a work that matches, and no two are the same.
    pub(crate) fn asks_for_labels(&self) -> bool {
        let Self { ids, names, tags, workers, states, parked, held, .. } = self;
        let named = !names.is_empty() && tags.is_empty() && held.is_empty();
        let tagged = names.is_empty() && tags.len() == 1 && held.is_empty();
        let held = names.is_empty() && tags.is_empty() && !held.is_empty();
        let alone = ids.is_none() && workers.is_empty() && states.is_empty() && !parked && !self.looks_inside();
        (named || tagged || held) && alone
    }

    /// Where this work, which matches, stands in the order of the query.
    pub(crate) fn place_of(&self, record: &WorkRecord, spec: &WorkSpec) -> Cursor {
        let (seq, id) = (record.seq, record.id);
        if self.ids.is_some() {
            return Cursor::Id(id);
        }
        if !self.held.is_empty() {
            return Cursor::Key(standing_key(record));
        }
        if let Some(name) = spec.name.as_ref().filter(|_| !self.names.is_empty()) {
            return Cursor::Key(IndexKey::Name { name: Arc::clone(name), seq, id });
        }
        let tag = self.label_of(spec).map(Arc::clone);
        Cursor::Key(tag.map_or_else(|| standing_key(record), |tag| IndexKey::Tag { tag, seq, id }))
    }

    /// The tag under which a work is found. One with several of those that are asked for belongs to the first; one of a worker that
    /// is asked for to that, whatever else it is tagged with.
    fn label_of<'s>(&self, spec: &'s WorkSpec) -> Option<&'s Arc<str>> {
        match self.tags.is_empty() {
            false => std::iter::once(&spec.worker).chain(&spec.tags).filter(|tag| self.tags.contains(*tag)).min(),
            true => Some(&spec.worker).filter(|worker| self.workers.contains(*worker)),
        }
    }

    /// Whether a work that this entry lists is found by it, and not by another.
    pub(crate) fn finds_under(&self, key: &IndexKey, spec: &WorkSpec) -> bool {
        let IndexKey::Tag { tag, .. } = key else { return true };
        self.label_of(spec) == Some(tag)
    }

    /// Whether it asks for what only the rows of a work say.
    const fn looks_inside(&self) -> bool {
        self.created.is_some() || self.finished.is_some() || self.next_run.is_some() || self.error.is_some()
    }

    /// Whether a work is meant, but for the text of its last error, which lies beside its record.
    #[must_use]
    pub fn matches(&self, record: &WorkRecord, spec: &WorkSpec) -> bool {
        let any = |list: bool, hit: bool| !list || hit;
        any(self.parked, matches!(record.standing, Standing::Parked { .. }))
            && self.is_in_time(record)
            && any(!self.held.is_empty(), self.holds(record))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
            && any(!self.workers.is_empty(), self.workers.contains(&spec.worker))
            && any(!self.states.is_empty(), self.states.contains(&record.state()))
            && any(!self.names.is_empty(), spec.name.as_ref().is_some_and(|name| self.names.contains(name)))
            && any(
                !self.tags.is_empty(),
                self.tags.contains(&spec.worker) || spec.tags.iter().any(|tag| self.tags.contains(tag)),
            )
    }
}

impl WorkQuery {
    fn is_in_time(&self, record: &WorkRecord) -> bool {
        let within = |span: Option<TimeSpan>, at: Option<Timestamp>| {
            span.is_none_or(|span| at.is_some_and(|at| span.contains(at)))
        };
        let finished = match record.standing {
            Standing::Finished { at, .. } => Some(at),
            _ => None,
        };
        within(self.created, Some(record.created))
            && within(self.finished, finished)
            && within(self.next_run, record.next_run().map(Due::at))
    }

    fn holds(&self, record: &WorkRecord) -> bool {
        let Standing::Held { gate, .. } = record.standing else { return false };
        self.held.iter().any(|target| target.id() == gate)
    }
}
