//! The planner: every decision of workman, pure and synchronous.
//!
//! [`plan`] gets what a store loaded ([`Snapshot`]), a [`Command`] and the store's time, and answers either "I must see
//! this too" ([`Step::Load`]) or "this is what happens" ([`Step::Done`]). It knows no store, clock, randomness, thread,
//! log or user code; the same inputs give the same answer. Verbs live in a file each; this one holds the nouns and the match.

mod by_id;
mod cancel;
mod cascade;
mod claim;
mod draft;
mod enqueue;
mod followers;
pub mod invariants;
mod periodic;
mod prune;
mod quota;
mod recover;
mod settle;
#[cfg(test)]
mod tests;
mod unique;
mod update;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::data::Payload;
use crate::id::WorkId;
use crate::policy::{ExistingPeriodicWorkPolicy, ExistingWorkPolicy};
use crate::query::WorkSelector;
use crate::record::{
    AttemptRecord, Cascade, ErrorText, InputShape, Lane, LaneId, Meta, Notes, ParkReason, Terms, Urgency, WorkRecord,
    WorkSpec,
};
use crate::state::{StopReason, WorkState};
use crate::store::index::IndexKey;
use crate::time::{Due, NextDue, Timestamp};

pub use by_id::ById;
pub use view::{List, Scope, SelectorWanted, Snapshot, Want};

use view::Halt;

/// The most records that one commit releases, fails or cancels along edges; the rest becomes a [`Cascade`].
pub const CASCADE_LIMIT: usize = 10_000;

/// The most delayed works that one claim moves to their lanes.
pub const PROMOTE_LIMIT: usize = 256;

/// The most claims of dead managers that one commit gives back.
pub const RESCUE_LIMIT: usize = 1_000;

/// The most works of a selection that one commit ends.
pub const SELECT_LIMIT: usize = 1_000;

/// The most finished works that one commit of a pruning looks at.
pub const PRUNE_LIMIT: usize = 1_000;

/// How long finished work is kept at the least, however little is to be kept: whoever waits for it gets to read its output.
pub const PRUNE_GRACE: Duration = Duration::from_secs(60);

/// The most numbers of one kind that one plan uses.
pub const NUMBERS_A_PLAN: u64 = 65_536;

/// Attempts that are kept of each work.
pub const HISTORY_LIMIT: usize = 10;

/// What somebody wants to happen. The only way to change anything.
#[derive(Clone, Debug)]
pub enum Command {
    /// Store new work.
    Enqueue(Enqueue),
    /// Start what may start.
    Claim(Claim),
    /// An attempt is over.
    Settle(Settle),
    /// A running worker said how far it is.
    Note(Note),
    /// End work.
    Cancel(Cancel),
    /// Change stored work in place.
    Update(Box<NewWork>),
    /// Delete finished work.
    Prune(Prune),
    /// Free parked work, with its counters set back.
    Retry(WorkId),
    /// A manager starts.
    Attach,
    /// A manager ends; what it still holds is given back.
    Detach {
        /// The manager.
        epoch: u64,
    },
    /// A manager doesn't know whether an earlier claim was written: all that it doesn't hold is given back.
    Reclaim {
        /// The manager.
        epoch: u64,
        /// What it holds, with fences.
        held: Vec<(WorkId, u64)>,
    },
    /// Give back what dead managers held.
    Rescue,
    /// Go on with wide releases, failures and cancellations that one commit could not finish.
    Drain,
}

/// New work, in an order in which every work comes after its prerequisites.
#[derive(Clone, Debug)]
pub struct Enqueue {
    /// The works.
    pub works: Vec<NewWork>,
    /// The name that they take together, and what to do if it is taken.
    pub unique: Option<Unique>,
    /// Slots that the caller has reserved for works of this enqueue.
    pub offer: Option<Offer>,
}

/// One new work.
#[derive(Clone, Debug)]
pub struct NewWork {
    /// Who it is.
    pub id: WorkId,
    /// What its request said.
    pub spec: Arc<WorkSpec>,
    /// What the planner decides by.
    pub terms: Terms,
    /// What the request said about the next run of periodic work.
    pub next_schedule_time: NextScheduleTime,
}

impl NewWork {
    /// A work of this id.
    #[must_use]
    pub fn new(id: WorkId, spec: WorkSpec, terms: Terms) -> Self {
        NewWork { id, spec: Arc::new(spec), terms, next_schedule_time: NextScheduleTime::Unchanged }
    }
}

/// What a request says about the next run of periodic work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextScheduleTime {
    /// Nothing: an override that is stored stays.
    #[default]
    Unchanged,
    /// It is due then, by the wall clock, whatever the period and the backoff say.
    At(Timestamp),
    /// It is due when the period and the backoff say.
    Cleared,
}

/// A unique name and what to do if it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// The name.
    pub name: Arc<str>,
    /// What to do.
    pub policy: UniquePolicy,
}

/// What to do if a unique name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UniquePolicy {
    /// By one-time work.
    OneTime(ExistingWorkPolicy),
    /// By periodic work.
    Periodic(ExistingPeriodicWorkPolicy),
}

/// Slots that are reserved, so that work can be claimed by the commit that enqueues it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The manager.
    pub epoch: u64,
    /// Which of the manager's offers these are; it comes back with what they claimed.
    pub generation: u64,
    /// How many slots.
    pub room: usize,
    /// The works of the enqueue that fit the slots. Those that are expedited are left to a claim, which knows their budget.
    pub ids: Vec<WorkId>,
    /// Open lanes in which something may be ready; it goes first if it ranks higher.
    pub rivals: Vec<LaneId>,
    /// How many lanes the manager knows. Those that are newer count as rivals, whether they are open or not.
    pub lanes: u32,
}

/// A wish to start work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The manager.
    pub epoch: u64,
    /// The open lanes in which something may be ready. Closed lanes are never read.
    pub lanes: Vec<OpenLane>,
    /// Free slots for async workers.
    pub async_room: Room,
    /// Free slots for blocking workers.
    pub blocking_room: Room,
    /// How long expedited work may run in all within [`EXPEDITED_WINDOW`](crate::policy::EXPEDITED_WINDOW).
    pub expedited_budget: Duration,
    /// Work that must not start in this process now: its abandoned worker still runs.
    pub barred: Vec<WorkId>,
    /// Whether a suspect may start: none runs in this process.
    pub suspects: SuspectsAllowed,
}

/// Free slots of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// For any work.
    pub ordinary: usize,
    /// For expedited work only.
    pub reserved: usize,
}

impl From<usize> for Room {
    /// So many slots for any work, and none beside.
    fn from(ordinary: usize) -> Self {
        Room { ordinary, reserved: 0 }
    }
}

/// Whether a claim may take a suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspectsAllowed {
    /// No: one runs already.
    None,
    /// One.
    One,
}

/// A lane that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenLane {
    /// The lane.
    pub lane: LaneId,
    /// Which slots its worker takes.
    pub kind: WorkerKind,
    /// Whether its work goes first.
    pub urgency: Urgency,
}

/// Which slots a worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerKind {
    /// An `async fn`, polled on the runtime.
    Async,
    /// A plain `fn`, on a thread for blocking code.
    Blocking,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// The work.
    pub id: WorkId,
    /// The fence under which it ran; an old one is refused.
    pub fence: u64,
    /// How it ended.
    pub end: End,
}

/// How an attempt ended, as the planner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Well.
    Succeeded {
        /// What it gave.
        output: Payload,
    },
    /// With an error or a panic.
    Failed {
        /// What it said.
        error: ErrorText,
        /// What is to be done.
        advice: Advice,
    },
    /// It took longer than an attempt may; a failed attempt.
    TimedOut {
        /// How long it might have taken.
        limit: Duration,
        /// What is to be done.
        advice: Advice,
        /// What it said of its own when it was told to stop.
        error: Option<ErrorText>,
    },
    /// It asks to be run again later; no failed attempt.
    Snoozed {
        /// How much later.
        delay: Duration,
    },
    /// It was stopped; no failed attempt.
    Interrupted {
        /// Why.
        reason: StopReason,
    },
    /// It was stopped, and its worker's own backoff function has said how long the work waits if it has to wait for that; no
    /// failed attempt.
    HeldBack {
        /// Why.
        reason: StopReason,
        /// How long.
        delay: Duration,
    },
    /// It could not even begin; no attempt at all.
    Unrunnable {
        /// What is wrong.
        why: ParkReason,
    },
}

/// What is to be done after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// What the request's policy says.
    ByPolicy,
    /// Never again.
    Never,
    /// Never again: it has done what it was to do, and only what it gave can't be stored. A stop changes nothing about that.
    Unstorable,
    /// Again after this long, if attempts are left.
    After(Duration),
}

/// What a running worker said on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The work.
    pub id: WorkId,
    /// The fence under which it runs; an old one is refused.
    pub fence: u64,
    /// What it said; what is `None` stays as it was.
    pub notes: Notes,
}

/// A wish to end work. A selection goes on until `Applied::Cancelled::next` is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Which works.
    pub selector: WorkSelector,
    /// Only works born before this number; `None` in the first command of a selection.
    pub before: Option<u64>,
    /// Where the command before ended.
    pub after: Option<IndexKey>,
}

/// A wish to delete finished work that nothing unfinished depends on. Goes on until `Applied::Pruned::next` is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// What is to stay.
    pub keep: Retention,
    /// Only works born before this number; `None` in the first command.
    pub before: Option<u64>,
    /// Where the command before ended.
    pub after: Option<IndexKey>,
    /// How far this command goes.
    pub stride: Stride,
}

/// How many finished works one command of a pruning looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stride {
    /// As many as a commit may.
    #[default]
    Full,
    /// So many at the most, and one at the least: something behind `after` can't be read.
    AtMost(usize),
    /// None: it goes past the next one, of which nothing is loaded, since that is what can't be read.
    PastOne,
}

/// Which finished work stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// None.
    Nothing,
    /// What asked for it, and of the rest what finished less than `age` ago, `count` works at the most beside those that finished
    /// less than `grace` ago.
    Recent {
        /// How long.
        age: Duration,
        /// How many.
        count: usize,
        /// How long each is spared, however many there are.
        grace: Duration,
    },
}

/// "I must see this too", or "this is what happens".
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most steps are plans, and a box for each would cost more than it saves")]
pub enum Step {
    /// Call again with this loaded as well.
    Load(Scope),
    /// Write this.
    Done(Plan),
}

/// What happens: writes for the store, hints for the living, an answer for the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is written, in order.
    pub writes: Vec<Write>,
    /// The store's own row, as it shall be.
    pub meta: Meta,
    /// What is worth knowing after the commit. The store is the truth: losing them delays work, nothing else.
    pub hints: Vec<Hint>,
    /// The answer.
    pub applied: Applied,
}

/// One row that changes. Indexes follow from the rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A work that is new, or that is another than it was: its record and what its request said.
    Work(WorkRecord, Arc<WorkSpec>),
    /// A stored work's record anew. Its birth and its terms are what they were.
    Record(WorkRecord),
    /// As [`Record`](Self::Record), with what the work gave.
    Finished(WorkRecord, Payload),
    /// What its worker said on the way; `None` forgets it.
    Notes(WorkId, Option<Notes>),
    /// An attempt is over. It goes behind those before it, of which only the last ones stay. So nobody has to load them first.
    Attempt {
        /// The work.
        id: WorkId,
        /// The attempt.
        attempt: AttemptRecord,
        /// How many of those before it stay; 0 if there are none.
        keep: usize,
    },
    /// A lane that is new.
    Lane(Lane),
    /// The rest of a wide release, failure or cancellation.
    Cascade(Cascade),
    /// That rest is done.
    CascadeDone(u64),
    /// A work goes, with all its rows.
    Delete(WorkId),
}

/// Something worth knowing after a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Hint {
    /// Something may be ready in this lane.
    Ready(LaneId),
    /// Something is due then.
    Due(Due),
    /// A lane is new.
    Lane(Lane),
    /// A run is over for the store, and its worker should hear of it.
    Stop {
        /// The work.
        id: WorkId,
        /// The fence of the run.
        fence: u64,
        /// Why.
        reason: StopReason,
    },
    /// Offered slots were taken.
    Claimed {
        /// By work of this manager.
        epoch: u64,
        /// Which of its offers were taken.
        generation: u64,
        /// The work.
        works: Vec<Claimed>,
    },
    /// A cascade waits to be drained.
    Cascade,
    /// Everything was cancelled at once.
    CancelledAll,
    /// Works have finished.
    Finished {
        /// How many finished works are stored now.
        stored: u64,
        /// Until when the first of them asked to be kept.
        until: Timestamp,
    },
}

/// A work that was claimed, with all that its run needs but the outputs of its prerequisites.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// Its record, running.
    pub record: WorkRecord,
    /// What its request said.
    pub spec: Arc<WorkSpec>,
    /// Where an earlier run stopped.
    pub checkpoint: Option<Payload>,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// To [`Command::Enqueue`].
    Enqueued {
        /// What happened.
        how: Enqueued,
        /// Works that the offer claimed; their manager is told by a hint.
        claimed: Vec<WorkId>,
    },
    /// To [`Command::Claim`].
    Claimed {
        /// The works.
        works: Vec<Claimed>,
        /// Lanes in which nothing is left.
        drained: Vec<LaneId>,
        /// When the next delayed work is due.
        next_due: NextDue,
        /// The store time of the claim.
        now: Timestamp,
        /// Whether there was more to do than one commit may.
        again: bool,
    },
    /// To [`Command::Settle`], [`Command::Retry`].
    Settled {
        /// The state now.
        state: WorkState,
        /// When it may run next.
        next_run: Option<Due>,
        /// Failed attempts so far, of the period that the attempt belonged to.
        failures: u32,
    },
    /// To [`Command::Note`].
    Noted,
    /// To [`Command::Cancel`].
    Cancelled {
        /// How many works were ended, dependents included.
        count: usize,
        /// Only works born before this number are meant.
        before: u64,
        /// Where to go on; `None` when the selection is done.
        next: Option<IndexKey>,
    },
    /// To [`Command::Update`].
    Updated(UpdateResult),
    /// To [`Command::Prune`].
    Pruned {
        /// How many works were deleted.
        count: usize,
        /// How many finished works are stored now.
        stored: u64,
        /// Only works born before this number are meant.
        before: u64,
        /// Where to go on; `None` when all has been looked at. After [`Stride::PastOne`] it is the entry of the work that was left.
        next: Option<IndexKey>,
        /// When the first of the finished works that were looked at and stay has been kept long enough, or the first behind all.
        next_due: Option<Timestamp>,
    },
    /// To [`Command::Attach`].
    Attached {
        /// The manager's number.
        epoch: u64,
        /// All lanes there are.
        lanes: Vec<Lane>,
        /// When the next delayed work is due.
        next_due: NextDue,
        /// The store time of the attachment.
        now: Timestamp,
    },
    /// To [`Command::Reclaim`].
    Reclaimed {
        /// How many works were given back.
        count: usize,
        /// Of what the manager holds: what the store has given to others, or ended.
        stale: Vec<(WorkId, u64)>,
        /// All lanes there are.
        lanes: Vec<Lane>,
    },
    /// To [`Command::Detach`] and [`Command::Rescue`].
    Released {
        /// How many works were given back.
        count: usize,
        /// Whether there is more to give back than one commit may.
        again: bool,
    },
    /// To [`Command::Drain`].
    Drained {
        /// Whether something wide is still unfinished.
        again: bool,
    },
}

/// What an enqueue did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enqueued {
    /// The works are stored. Also the answer when an earlier call of the same ids stored them.
    Inserted,
    /// The name was taken and its holder stays: the request was dropped.
    Kept(WorkId),
    /// The works are stored, and these went.
    Replaced(Vec<WorkId>),
    /// The works are stored behind these, which held the name. What had failed or was cancelled among these ended the new works
    /// at once, so whether they wait, run or have failed is in their own states: see `WorkManager::info`.
    Appended(Vec<WorkId>),
    /// The holder of the name keeps its id and takes the rest from the request.
    Updated(WorkId),
}

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpdateResult {
    /// Nothing: the work has finished.
    NotApplied,
    /// The work is what the request says from now on.
    AppliedImmediately,
    /// The work runs; it is what the request says from its next run on.
    AppliedForNextRun,
}

/// The planner said no. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No work has this id.
    NotFound(WorkId),
    /// The run that asks was fenced off: its work was cancelled, replaced, rescued or settled.
    Stale(WorkId),
    /// The id was used before, for another request.
    IdReused(WorkId),
    /// A prerequisite is not stored.
    MissingPrerequisite {
        /// The work.
        work: WorkId,
        /// What it waits for.
        prerequisite: WorkId,
    },
    /// A prerequisite is periodic, which never finishes.
    PeriodicPrerequisite {
        /// The work.
        work: WorkId,
        /// Its worker.
        worker: Arc<str>,
        /// What it waits for.
        prerequisite: WorkId,
        /// The unique name that `prerequisite` holds, if the work was to be appended to it.
        name: Option<Arc<str>>,
    },
    /// A work waits for itself, or for one that comes later.
    Cycle(WorkId),
    /// The unique name belongs to work that can't be updated: a chain, or one-time work.
    NotPeriodic {
        /// The name.
        name: Arc<str>,
        /// One of its works.
        id: WorkId,
    },
    /// So many works hold a name that it can't be taken from all of them in one commit.
    TooManyMembers {
        /// The name.
        name: Arc<str>,
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Work that takes the outputs of its prerequisites one by one can't wait for others that its request did not name.
    TypedHead {
        /// The name.
        name: Arc<str>,
        /// The work.
        work: WorkId,
    },
    /// New work would have to wait for too many works of its name at once.
    TooManyLeaves {
        /// The name.
        name: Arc<str>,
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// One-time work can't become periodic, nor periodic work one-time.
    OtherSchedule(WorkId),
    /// The new worker takes from its prerequisites in a way that does not fit as many as the work has. Only their number and the
    /// way of taking are compared; a type that does not fit parks the work when it is to start.
    OtherShape {
        /// The work.
        id: WorkId,
        /// How the new worker takes.
        takes: InputShape,
        /// How many prerequisites the work has.
        given: usize,
    },
    /// Only parked work can be freed.
    NotParked {
        /// The work.
        id: WorkId,
        /// Where it stands.
        state: WorkState,
    },
    /// The manager has ended, or the store was opened anew since.
    EpochClosed(u64),
}

impl Refusal {
    /// What may have become of work that is not stored, the likeliest first.
    pub(crate) const WHY_GONE: &str = "it has finished and was pruned or kept long enough (`keep_results_for_at_least` keeps it longer), was replaced by other work of its unique name, was never enqueued, or belongs to another store";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotFound(id) => {
                write!(f, "no work has the id {id}; {}", Refusal::WHY_GONE)
            }
            Refusal::Stale(id) => write!(
                f,
                "the run of work {id} was fenced off: the work was cancelled, replaced, rescued or settled meanwhile"
            ),
            Refusal::IdReused(id) => {
                write!(f, "the id {id} was used before for another request; make a new request for new work")
            }
            Refusal::MissingPrerequisite { work, prerequisite } => {
                write!(
                    f,
                    "work {work} waits for {prerequisite}, which is not stored; enqueue it first, or in the same call. If it was enqueued, it has finished and was pruned or kept long enough (`keep_results_for_at_least` keeps it longer); or the holder of its unique name was kept, and nothing of its chain was stored (`how` is `Kept`; go on behind the holder)"
                )
            }
            Refusal::PeriodicPrerequisite { work, worker, prerequisite, name: None } => write!(
                f,
                "work {work} of worker \"{worker}\" waits for {prerequisite}, which is periodic and never finishes; let the periodic worker enqueue what comes after each of its runs"
            ),
            Refusal::PeriodicPrerequisite { work, worker, prerequisite, name: Some(name) } => write!(
                f,
                "work {work} of worker \"{worker}\" can't be appended to the unique name \"{name}\": periodic work holds it ({prerequisite}) and never finishes; use `Replace`, or another name"
            ),
            Refusal::Cycle(id) => write!(
                f,
                "work {id} waits for itself or for work that comes after it; list each work after its prerequisites"
            ),
            Refusal::NotPeriodic { name, id } => {
                write!(
                    f,
                    "the unique name \"{name}\" belongs to work that is not periodic ({id}); use `Replace`, or another name"
                )
            }
            Refusal::TooManyMembers { name, count, limit } => write!(
                f,
                "{count} works hold the unique name \"{name}\", and it can be taken from {limit} at the most in one commit; cancel them by their name, prune what has finished, and enqueue again"
            ),
            Refusal::TypedHead { name, work } => write!(
                f,
                "work {work} takes the outputs of its prerequisites one by one, so it can't be appended to the works of the unique name \"{name}\" as well; begin with a work that takes nothing, or merges its inputs"
            ),
            Refusal::TooManyLeaves { name, count, limit } => write!(
                f,
                "{count} works of the unique name \"{name}\" have nothing behind them, and new work can be appended to {limit} at the most; put a joining work behind them"
            ),
            Refusal::OtherSchedule(id) => {
                write!(f, "work {id} can't be updated: one-time work can't become periodic, nor periodic work one-time")
            }
            Refusal::OtherShape { id, takes, given } => write!(
                f,
                "work {id} can't be updated: the new worker takes {takes}, and the work has {given}; an update keeps the prerequisites, so cancel the work and enqueue another for other ones"
            ),
            Refusal::NotParked { id, state } => write!(f, "work {id} is {state}, not parked; there is nothing to free"),
            Refusal::EpochClosed(epoch) => {
                write!(f, "manager {epoch} has ended, or the store was opened anew since; start a new manager")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// Decides what a command does.
///
/// # Errors
/// A [`Refusal`] when the command can't be done; nothing changes then.
pub fn plan(view: &Snapshot, command: &Command, now: Timestamp) -> Result<Step, Refusal> {
    let decided = match command {
        Command::Enqueue(enqueue) => enqueue::plan(view, enqueue, now),
        Command::Claim(claim) => claim::plan(view, claim, now),
        Command::Settle(settle) => settle::settle(view, settle, now),
        Command::Note(note) => settle::note(view, note, now),
        Command::Cancel(cancel) => cancel::plan(view, cancel, now),
        Command::Update(work) => update::plan(view, work, now),
        Command::Prune(prune) => prune::plan(view, prune, now),
        Command::Retry(id) => recover::retry(view, *id, now),
        Command::Attach => recover::attach(view, now),
        Command::Detach { epoch } => recover::detach(view, *epoch, now),
        Command::Reclaim { epoch, held } => recover::reclaim(view, *epoch, held, now),
        Command::Rescue => recover::rescue(view, now),
        Command::Drain => cascade::plan(view, now),
    };
    match decided {
        Ok(plan) => Ok(Step::Done(plan)),
        Err(Halt::Load(scope)) => Ok(Step::Load(scope)),
        Err(Halt::Refuse(refusal)) => Err(refusal),
    }
}
