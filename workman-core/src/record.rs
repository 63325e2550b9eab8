//! What a store keeps of a work: the small [`WorkRecord`] that changes and the [`WorkSpec`] that is written once.
//!
//! A record is never changed in place. The planner makes a whole new one, and where it stands ([`Standing`]) says which
//! index holds it, so a store derives every index from a record's before and after.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::constraints::Constraints;
use crate::data::Payload;
use crate::id::WorkId;
use crate::policy::{
    Backoff, DEATHS_TO_SUSPECT, DEFAULT_MAX_ATTEMPTS, EXPEDITED_WINDOW, InputMerger, OnDeath, OnInterruption,
    OutOfQuotaPolicy,
};
use crate::state::{StopReason, WorkState};
use crate::time::{Due, Timestamp};

/// Everything about a work that its request said. Written once, and anew only by an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkSpec {
    /// The worker's registered name.
    pub worker: Arc<str>,
    /// The arguments, an object keyed by argument name.
    pub input: Payload,
    /// The tags, without the worker's name, which always counts as one; sorted, each once.
    pub tags: Vec<Arc<str>>,
    /// The unique name that the work belongs to.
    pub name: Option<Arc<str>>,
    /// When it may run.
    pub constraints: Constraints,
    /// What it waits for.
    pub prerequisites: Prerequisites,
    /// What its runs are called in traces; the worker's name if nothing was said.
    pub trace_tag: Option<Arc<str>>,
}

/// The part of a request by which the planner decides. It lies in the record, so that a settle reads nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Greater runs first.
    pub priority: i8,
    /// How long it waits after it was enqueued or unblocked.
    pub initial_delay: Duration,
    /// How long it waits after a failed attempt.
    pub backoff: Backoff,
    /// After how many failed attempts it fails for good; `None` is never.
    pub max_attempts: Option<u32>,
    /// How long an attempt may take; `None` is as long as it likes.
    pub timeout: Option<Duration>,
    /// What an interruption by the system does to it.
    pub on_interruption: OnInterruption,
    /// Whether it asked to be expedited, and what happens if that can't be.
    pub expedited: Option<OutOfQuotaPolicy>,
    /// How long it is kept after it finished, at the least, beside what the manager keeps.
    pub retention: Duration,
    /// What a death of the process does to it.
    pub on_death: OnDeath,
    /// Whether its output is dropped instead of stored.
    pub discards_output: bool,
    /// Once, or again and again.
    pub schedule: Schedule,
}

impl WorkSpec {
    /// What a request says that asks for nothing but this.
    #[must_use]
    pub fn new(worker: impl Into<Arc<str>>, input: Payload) -> Self {
        WorkSpec {
            worker: worker.into(),
            input,
            tags: Vec::new(),
            name: None,
            constraints: Constraints::NONE,
            prerequisites: Prerequisites::default(),
            trace_tag: None,
        }
    }
}

impl Terms {
    /// Whether a work of these terms is one of those of which only so many are kept, once it has finished. One that asked to be
    /// kept is not.
    #[must_use]
    pub const fn counts_when_finished(&self) -> bool {
        self.retention.is_zero()
    }

    /// The urgency of new work: expedited if it asks for it. Whether there is time left for such work is seen when it could run.
    #[must_use]
    pub const fn urgency(&self) -> Urgency {
        if self.expedited.is_some() { Urgency::Expedited } else { Urgency::Ordinary }
    }
}

impl Default for Terms {
    /// What a request gets that asks for nothing: it runs once, as soon as it can, and is tried again as often as is usual.
    fn default() -> Self {
        Terms {
            priority: 0,
            initial_delay: Duration::ZERO,
            backoff: Backoff::default(),
            max_attempts: Some(DEFAULT_MAX_ATTEMPTS),
            timeout: None,
            on_interruption: OnInterruption::default(),
            expedited: None,
            retention: Duration::ZERO,
            on_death: OnDeath::default(),
            discards_output: false,
            schedule: Schedule::Once,
        }
    }
}

/// When a work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Schedule {
    /// Once.
    Once,
    /// Again, `interval` after each completed run.
    Every {
        /// The length of a period.
        interval: Duration,
        /// The part at the end of the first period in which its run may be: the first run is due `interval - flex` later than
        /// it would be. All of the period if nothing was said. WorkManager's meaning (PER-2, PER-4).
        flex: Duration,
    },
}

impl Schedule {
    /// A period of this length; the first run is due at once.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Schedule::Every { interval, flex: interval }
    }

    /// The same period; the first run is due `flex` before the end of the first period.
    #[must_use]
    pub const fn flex(self, flex: Duration) -> Self {
        match self {
            Schedule::Once => Schedule::Once,
            Schedule::Every { interval, .. } => Schedule::Every { interval, flex },
        }
    }

    /// How much later than its initial delay the first run is due.
    #[must_use]
    pub const fn first_offset(self) -> Duration {
        match self {
            Schedule::Once => Duration::ZERO,
            Schedule::Every { interval, flex } => interval.saturating_sub(flex),
        }
    }

    /// When the first `count` runs are due if the first is due at `first` and each succeeds as soon as it is due (PER-3).
    pub(crate) fn runs_from(self, first: Timestamp, count: usize) -> Vec<Timestamp> {
        let next = |due: &Timestamp| self.interval().map(|interval| *due + interval).filter(|next| next > due);
        std::iter::successors(Some(first), next).take(count).collect()
    }

    /// The length of a period, if there are periods.
    #[must_use]
    pub const fn interval(self) -> Option<Duration> {
        match self {
            Schedule::Once => None,
            Schedule::Every { interval, .. } => Some(interval),
        }
    }
}

/// What a work waits for, in declaration order, and how it takes the outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prerequisites {
    /// How the worker takes the outputs.
    pub shape: InputShape,
    /// The works, in declaration order.
    pub ids: Vec<WorkId>,
}

/// How a worker takes the outputs of its prerequisites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InputShape {
    /// Not at all.
    #[default]
    Nothing,
    /// The one output.
    One,
    /// A list of outputs of one type, however short.
    List,
    /// A tuple of outputs, each of its own type.
    Tuple,
    /// Merged with the work's own input.
    Merged(InputMerger),
}

impl InputShape {
    /// Whether a worker that takes in this way may have so many prerequisites.
    #[must_use]
    pub const fn fits(self, prerequisites: usize) -> bool {
        match self {
            InputShape::Nothing | InputShape::Merged(_) => true,
            InputShape::One => prerequisites == 1,
            InputShape::List | InputShape::Tuple => prerequisites > 0,
        }
    }
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InputShape::Nothing => "nothing from prerequisites",
            InputShape::One => "the output of one prerequisite",
            InputShape::List => "the outputs of one or more prerequisites",
            InputShape::Tuple => "a tuple of the outputs of its prerequisites",
            InputShape::Merged(_) => "its input merged with the outputs of its prerequisites",
        })
    }
}

/// Worker, constraints and urgency, interned. Ready work queues up lane by lane, and a closed lane is never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// What a lane stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The number that records carry.
    pub id: LaneId,
    /// The worker's name.
    pub worker: Arc<str>,
    /// The constraints.
    pub constraints: Constraints,
    /// Whether its work goes before all other.
    pub urgency: Urgency,
}

/// Whether work goes before all other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// It goes by its priority.
    #[default]
    Ordinary,
    /// It goes first, into a slot that is reserved for such work if no other is free, on a budget of run time.
    Expedited,
}

/// The part of a work that changes. Small, fixed in shape, rewritten as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkRecord {
    /// Who it is.
    pub id: WorkId,
    /// Its birth number: the store hands out each once, in order.
    pub seq: u64,
    /// Its place in line among equals, from the same numbers; new each time it lines up anew.
    pub turn: u64,
    /// The interned worker, constraints and urgency. From its claim on the lane of its ordinary urgency.
    pub lane: LaneId,
    /// Whether it is expedited, or runs as such; never again after its first run, or once the budget was spent.
    pub urgency: Urgency,
    /// What the planner decides by.
    pub terms: Terms,
    /// How often it was updated.
    pub generation: u32,
    /// Where it stands.
    pub standing: Standing,
    /// When it was first stored.
    pub created: Timestamp,
    /// When it was last enqueued: at first, when it was unblocked, when a period began.
    pub enqueued: Timestamp,
    /// Raised by each claim; (id, fence) is the identity of a run.
    pub fence: u64,
    /// The generation at the last claim: an update during a run counts from the next one on. 0 before the first claim.
    pub run_generation: u32,
    /// Failed attempts, of the current period if there are periods. The number that the next attempt gets.
    pub failures: u32,
    /// Runs that were given back: stops, shutdowns.
    pub interruptions: u32,
    /// Deaths of the process under it since its last finished attempt or checkpoint.
    pub deaths: u32,
    /// Prerequisites that have not succeeded yet.
    pub open: u32,
    /// How many stored members of its unique name wait for it, or waited; `None` if it has no name. With none it is a leaf of
    /// its name, behind which new work is appended.
    pub followers: Option<u32>,
    /// Where periodic work is in its series.
    pub period: Option<Period>,
    /// When the last attempt was claimed.
    pub started: Option<Timestamp>,
    /// When the last attempt ended.
    pub ended: Option<Timestamp>,
    /// Why the last run was stopped, if it was. A run that goes on keeps that of the run before, in case it turns out to have never
    /// begun, and shows none.
    pub stop: Option<StopReason>,
    /// Which of the rows beside it exist, so that nobody looks for the others.
    pub rows: RowsPresent,
}

/// Where periodic work is in its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Completed periods.
    pub count: u64,
    /// When the current period is regularly due; backoff does not move it.
    pub due: Timestamp,
    /// What `due` is counted from: `anchor + interval`, or `anchor + initial delay` (and what flex adds) while `count` is 0.
    pub anchor: Timestamp,
    /// When the next run is due instead, whatever the period and the backoff say: an override, by the wall clock, since a user
    /// has named that moment. Spent by the claim, so one that is there when a run ends was given during that run.
    pub next_run: Option<Timestamp>,
}

/// Which rows exist beside a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsPresent {
    /// An output.
    pub output: bool,
    /// Progress or a checkpoint.
    pub notes: bool,
    /// Attempts that ended other than well.
    pub history: bool,
    /// Works that wait for it, or waited.
    pub dependents: bool,
}

/// Where a work stands. Each standing has one index, and the record is in exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Waits for prerequisites.
    Blocked,
    /// Waits for its time.
    Waiting {
        /// The time.
        due: Due,
    },
    /// Lines up in its lane.
    Ready {
        /// Since when it could run.
        since: Due,
    },
    /// Can't run until somebody helps.
    Parked {
        /// What is wrong.
        why: ParkReason,
    },
    /// A worker runs it.
    Running {
        /// The manager that claimed it.
        epoch: u64,
    },
    /// Over.
    Finished {
        /// How.
        how: Finish,
        /// When.
        at: Timestamp,
    },
}

/// How a work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finish {
    /// Well.
    Succeeded,
    /// Badly.
    Failed,
    /// By the program's wish.
    Cancelled,
}

/// Why a work can't run until somebody helps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParkReason {
    /// Its input, or an output that it takes, does not decode in this build.
    Undecodable {
        /// What the decoder said.
        message: Arc<str>,
    },
    /// The process died under it too often.
    Poisoned {
        /// How often.
        deaths: u32,
    },
    /// The outputs that it takes are too large together.
    TooLarge {
        /// Their size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

impl fmt::Display for ParkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParkReason::Undecodable { message } => write!(f, "input does not decode: {message}"),
            ParkReason::Poisoned { deaths } => write!(f, "poisoned: the process died {deaths} times while it ran"),
            ParkReason::TooLarge { size, limit } => {
                write!(
                    f,
                    "what it takes from its prerequisites has {size} bytes, the limit is {limit}; see `Limits::prerequisites`"
                )
            }
        }
    }
}

impl WorkRecord {
    /// The state that everybody sees.
    #[must_use]
    pub const fn state(&self) -> WorkState {
        match self.standing {
            Standing::Blocked => WorkState::Blocked,
            Standing::Waiting { .. } | Standing::Ready { .. } | Standing::Parked { .. } => WorkState::Enqueued,
            Standing::Running { .. } => WorkState::Running,
            Standing::Finished { how: Finish::Succeeded, .. } => WorkState::Succeeded,
            Standing::Finished { how: Finish::Failed, .. } => WorkState::Failed,
            Standing::Finished { how: Finish::Cancelled, .. } => WorkState::Cancelled,
        }
    }

    /// When it may run next; none if it is not waiting for that.
    #[must_use]
    pub const fn next_run(&self) -> Option<Due> {
        match self.standing {
            Standing::Waiting { due } => Some(due),
            Standing::Ready { since } => Some(since),
            _ => None,
        }
    }

    /// Whether it is one of the finished works of which only so many are kept. What asked to be kept is not.
    #[must_use]
    pub const fn counts_as_finished(&self) -> bool {
        self.state().is_finished() && self.terms.counts_when_finished()
    }

    /// Whether the process died under it often enough for it to run apart from others of its kind.
    #[must_use]
    pub const fn is_suspect(&self) -> bool {
        self.deaths >= DEATHS_TO_SUSPECT
    }

    /// Whether it is being run under this fence.
    #[must_use]
    pub fn is_held_under(&self, fence: u64) -> bool {
        self.fence == fence && matches!(self.standing, Standing::Running { .. })
    }

    /// This record standing elsewhere.
    #[must_use]
    pub fn standing_at(self, standing: Standing) -> WorkRecord {
        WorkRecord { standing, ..self }
    }
}

/// Progress and checkpoint of a work: what its worker said on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// How far it is, for observers. Gone when the work finishes.
    pub progress: Option<Payload>,
    /// Where a later run goes on. Gone when the work or the period finishes.
    pub checkpoint: Option<Payload>,
}

/// One attempt that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The number of the attempt: failed attempts before it, so 0 is the first.
    pub number: u32,
    /// The fence it ran under.
    pub fence: u64,
    /// The generation of the work when it was claimed, so what it ran as: [`WorkInfo::generation`](crate::info::WorkInfo::generation)
    /// is greater if the work was updated since.
    pub generation: u32,
    /// When it was claimed.
    pub started: Timestamp,
    /// When its end was recorded.
    pub ended: Timestamp,
    /// How it ended.
    pub end: AttemptEnd,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptEnd {
    /// Well.
    Succeeded,
    /// With an error or a panic.
    Failed {
        /// What it said.
        error: ErrorText,
    },
    /// It asked to be run again later.
    Snoozed,
    /// It was stopped, and given back.
    Interrupted {
        /// Why.
        reason: StopReason,
    },
    /// The process died under it.
    Died,
}

/// An error as it is stored: its message and those of its sources, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorText {
    /// What the error said.
    pub message: String,
    /// What its sources said, from the outside in.
    pub sources: Vec<String>,
    /// Whether it was a panic.
    pub panicked: bool,
}

impl ErrorText {
    /// A plain message.
    pub fn new(message: impl Into<String>) -> Self {
        ErrorText { message: message.into(), sources: Vec::new(), panicked: false }
    }

    /// The message of a panic.
    pub fn panic(message: impl Into<String>) -> Self {
        ErrorText { panicked: true, ..Self::new(message) }
    }

    /// The text of an attempt that took longer than this. An attempt that takes too long is a failed one, or work that hangs
    /// would be run for ever.
    #[must_use]
    pub fn timed_out(limit: Duration, own: Option<ErrorText>) -> Self {
        let sources = own.into_iter().flat_map(|own| std::iter::once(own.message).chain(own.sources)).collect();
        let message = format!("did not end within {limit:?}, the timeout of an attempt");
        ErrorText { sources, ..Self::new(message) }
    }

    /// The text of an error and its sources.
    #[must_use]
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let sources = std::iter::successors(error.source(), |error| error.source());
        ErrorText { message: error.to_string(), sources: sources.map(ToString::to_string).collect(), panicked: false }
    }

    /// The same text within `limit` bytes; what is cut off is marked with an ellipsis.
    #[must_use]
    pub fn within(mut self, limit: usize) -> Self {
        cut(&mut self.message, limit);
        let mut left = limit - self.message.len();
        self.sources.retain_mut(|source| {
            cut(source, left);
            left -= source.len();
            !source.is_empty()
        });
        self
    }
}

fn cut(text: &mut String, limit: usize) {
    const MARK: &str = "…";
    if text.len() <= limit {
        return;
    }
    let end = text.floor_char_boundary(limit.saturating_sub(MARK.len()));
    text.truncate(end);
    if limit >= MARK.len() {
        text.push_str(MARK);
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.panicked { "panicked: " } else { "" })?;
        f.write_str(&self.message)?;
        self.sources.iter().try_for_each(|source| write!(f, ": {source}"))
    }
}

/// What one store knows about itself. The store shows it to every plan.
///
/// Each `next_*` is the first of numbers that are reserved for the plan, [`NUMBERS_A_PLAN`](crate::plan::NUMBERS_A_PLAN) at
/// the least. A plan changes all but `incarnation`, `clock_offset_ms` and `latest`, so a store may keep this as one
/// row, or as sequences and tables to which it applies the difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Which opening of an exclusive store this is; 0 on a shared one.
    pub incarnation: u64,
    /// The incarnation that `open_epochs` belong to.
    pub epochs_of: u64,
    /// Managers that are attached, and until when: for good on an exclusive store, for a lease on a shared one.
    pub open_epochs: BTreeMap<u64, Timestamp>,
    /// The epoch that the next manager gets.
    pub next_epoch: u64,
    /// The next birth or line number.
    pub next_seq: u64,
    /// The next lane.
    pub next_lane: u32,
    /// What is added to the wall clock to get store time, as it was at the latest stamp. The next opening begins with another.
    pub clock_offset_ms: i64,
    /// The latest store time that was stamped, which no later stamp is earlier than.
    pub latest: Timestamp,
    /// The first cascade that is still to be drained; none if it equals `next_cascade`.
    pub first_cascade: u64,
    /// The number that the next cascade gets.
    pub next_cascade: u64,
    /// Finished works that are stored and did not ask to be kept: those that [`counts_as_finished`](WorkRecord::counts_as_finished)
    /// says.
    pub finished: u64,
    /// When everything was last cancelled at once, by the wall clock (CAN-5).
    pub last_cancel_all: Option<Timestamp>,
    /// The run time that expedited work has used.
    pub expedited: RunTime,
}

impl Meta {
    /// Whether the manager of this number may claim.
    #[must_use]
    pub fn is_attached(&self, epoch: u64) -> bool {
        self.epochs_of == self.incarnation && self.open_epochs.contains_key(&epoch)
    }
}

/// Run time in the window of [`EXPEDITED_WINDOW`], kept in steps of a quarter of an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// What was used in each step, by its start.
    pub steps: BTreeMap<Timestamp, Duration>,
}

impl RunTime {
    /// The length of a step.
    const STEP_MS: i64 = 15 * 60 * 1000;

    /// What was used in the window that ends now.
    #[must_use]
    pub fn used(&self, now: Timestamp) -> Duration {
        let steps = self.steps.range(now - EXPEDITED_WINDOW..);
        steps.fold(Duration::ZERO, |sum, (_, used)| sum.saturating_add(*used))
    }

    /// Adds a run of this length that ends now, and forgets what lies behind the window.
    #[must_use]
    pub fn with(&self, length: Duration, now: Timestamp) -> Self {
        let mut steps = self.steps.clone().split_off(&(now - EXPEDITED_WINDOW));
        let start = Timestamp::from_millis(now.as_millis().div_euclid(Self::STEP_MS).saturating_mul(Self::STEP_MS));
        let used = steps.entry(start).or_default();
        *used = used.saturating_add(length);
        RunTime { steps }
    }
}

/// The rest of a release, failure or cancellation that was too wide for one commit.
///
/// It is drained in bounded commits before anything else is claimed; blocked work can't run, so waiting is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cascade {
    /// Its place in line.
    pub number: u64,
    /// What happens to the dependents.
    pub verb: CascadeVerb,
    /// Whose dependents.
    pub of: WorkId,
    /// The last dependent that was done.
    pub after: Option<WorkId>,
    /// Of a cancellation behind a work that has succeeded: only works born before this number are meant.
    pub born_before: Option<u64>,
}

/// What happens to dependents when their prerequisite finishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CascadeVerb {
    /// It succeeded: they have one open prerequisite less.
    Release,
    /// It failed, and so do they and all that depends on them.
    Fail,
    /// It was cancelled, and so are they and all that depends on them.
    Cancel,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_text_is_cut_at_a_character_and_marked() {
        let long = ErrorText { message: "ä".repeat(10), sources: vec!["source".into()], panicked: false };
        assert_eq!(long.clone().within(100), long);
        let short = long.within(10);
        assert_eq!(short.message, "äää…");
        assert!(short.message.len() + short.sources.concat().len() <= 10);
    }
}
