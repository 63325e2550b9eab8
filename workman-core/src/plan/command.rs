//! [`Command`]: what somebody wants to happen, the only way to change anything.

use std::sync::Arc;
use std::time::Duration;

use super::gates::GateLook;
use crate::data::Payload;
use crate::id::WorkId;
use crate::index::IndexKey;
use crate::policy::{ExistingPeriodicWorkPolicy, ExistingWorkPolicy};
use crate::query::WorkSelector;
use crate::record::{ErrorText, GateId, GateLimits, GateTarget, LaneId, Notes, ParkReason, Terms, Urgency, WorkSpec};
use crate::state::StopReason;
use crate::time::Timestamp;

/// What somebody wants to happen. The only way to change anything.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
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
    /// End these works, or delete them: what is named one by one.
    Listed(Listed),
    /// Change stored work in place.
    Update(Box<NewWork>),
    /// Delete finished work.
    Prune(Prune),
    /// Free parked work, with its counters set back.
    Retry(WorkId),
    /// Do by hand what a person wants of one work.
    Steer { id: WorkId, how: Steering },
    /// A manager starts.
    Attach,
    /// A manager ends; what it still holds is given back.
    Detach { epoch: u64 },
    /// A manager doesn't know whether an earlier claim was written: all that it doesn't hold is given back.
    Reclaim {
        epoch: u64,
        /// What it holds, with fences.
        held: Vec<(WorkId, u64)>,
    },
    /// Give back what dead managers held.
    Rescue,
    /// Change what is wanted of gates.
    Gate(Box<GateCommand>),
    /// Go on with wide releases, failures and cancellations that one commit could not finish.
    Drain,
}

/// What a person does by hand to one work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// It is due now, whatever it waits for by the clock.
    RunNow,
    /// It is due now, and passes all gates once.
    RunNowPastGates,
    /// Its next run is due then, by the wall clock.
    At(Timestamp),
    /// It is parked or has failed, and is tried again. [`Command::Retry`] is the engine's own and takes parked work only.
    Retry,
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
    pub slots: usize,
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
    pub async_slots_free: FreeSlots,
    /// Free slots for blocking workers.
    pub blocking_slots_free: FreeSlots,
    /// How long expedited work may run in all within [`EXPEDITED_WINDOW`](crate::policy::EXPEDITED_WINDOW).
    pub expedited_budget: Duration,
    /// Work that must not start in this process now.
    pub barred: Barred,
    /// Lanes that are open but for a free slot. Nothing of theirs starts; those in which nothing waits are answered as drained.
    pub watched: Vec<LaneId>,
    /// Whether a suspect may start: none runs in this process.
    pub suspects: SuspectsAllowed,
}

/// What somebody wants of gates.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum GateCommand {
    /// A person limits what passes, whatever the code says, or clears that.
    Limit { target: GateTarget, limits: Option<GateLimits> },
    /// Nothing passes for now.
    Pause {
        target: GateTarget,
        /// Why.
        reason: Option<Arc<str>>,
        /// Until when, by the wall clock; until somebody ends it if nothing is said.
        until: Option<Timestamp>,
        /// What becomes of what runs.
        running: OnPause,
    },
    /// A pause ends, and a serial lane that a failure holds goes on.
    Resume { target: GateTarget },
    /// A program starts, and this is what its code says.
    Program {
        limits: Vec<(GateTarget, GateLimits)>,
        /// The workers that it has: of these nothing but this is said by code any more.
        workers: Vec<Arc<str>>,
    },
    /// Nothing changes: somebody looks.
    Look(GateLook),
}

/// What a pause does to what runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPause {
    /// It goes on to its end.
    #[default]
    LetFinish,
    /// It is stopped, and given back as it was.
    Stop,
}

/// What must not start in a process: a run still goes on there, though the store has moved on without it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Barred {
    /// The works of such runs.
    pub works: Vec<WorkId>,
    /// The unique names under which such runs began.
    pub names: Vec<BarredName>,
    /// The gates that counted such runs, each as often as it did: in this process they still do.
    pub gates: Vec<GateId>,
}

/// A unique name under which a run began that still goes on, though the store has moved on without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarredName {
    /// The name.
    pub name: Arc<str>,
    /// Works of the name that were born from this number on wait. Those before stood beside that run from its beginning.
    pub born_from: u64,
}

/// Free slots of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeSlots {
    /// For any work.
    pub ordinary: usize,
    /// For expedited work only.
    pub reserved: usize,
}

impl From<usize> for FreeSlots {
    /// So many slots for any work, and none beside.
    fn from(ordinary: usize) -> Self {
        FreeSlots { ordinary, reserved: 0 }
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

impl WorkerKind {
    /// As people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            WorkerKind::Async => "async",
            WorkerKind::Blocking => "blocking",
        }
    }
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
#[expect(missing_docs, reason = "the names of the fields say it")]
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
    Interrupted { reason: StopReason },
    /// It was stopped, and its worker's own backoff function has said how long the work waits if it has to wait for that; no
    /// failed attempt.
    HeldBack {
        reason: StopReason,
        /// How long.
        delay: Duration,
    },
    /// It was stopped, has not ended in the time that it had, and may still go on where it ran; no failed attempt. The work goes to the
    /// end of the line: else a program that ends and starts again would begin with what hung before, and with nothing else.
    GivenUp {
        reason: StopReason,
        /// How long the work waits if it has to wait for that, as its worker's own backoff function says.
        delay: Option<Duration>,
    },
    /// It was to stop before it began; no attempt at all, and the work is as it was.
    NotBegun,
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
    /// Again after this long, as the worker's own backoff function says, if attempts are left.
    ByFunction(Duration),
    /// Again after this long, since the attempt asked for it, if attempts are left.
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
    /// Whether the run has lasted so long that its work can't be what kills the process.
    pub endurance: Endurance,
}

/// How long a run has lasted, as far as it matters to the deaths of its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endurance {
    /// Not long enough to say anything.
    #[default]
    Unproven,
    /// So long that its work is no more to blame than any other.
    Proven,
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
    /// How far this command goes through a selection.
    pub stride: Stride,
    /// Why, as all works that it ends show.
    pub because: Option<Arc<str>>,
}

/// A wish that means works by their ids, since nobody but who asks knows how they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The works, no more than [`SELECT_LIMIT`](super::SELECT_LIMIT) of them; those that are not stored are passed over.
    pub ids: Vec<WorkId>,
    /// Only works born before this number; `None` in the first command of a selection.
    pub before: Option<u64>,
    /// What is to happen.
    pub verb: ListedVerb,
}

/// What happens to works that are named one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedVerb {
    /// Those that are unfinished are cancelled, and what depends on them.
    Cancel {
        /// Why, as all works that it ends show.
        because: Option<Arc<str>>,
    },
    /// Those that have finished are deleted, but for what unfinished work depends on. The answer says behind which work it stopped, if
    /// it did.
    Prune,
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

/// How many works one command of a cancellation or of a pruning looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stride {
    /// As many as a commit may.
    #[default]
    Full,
    /// So many at the most, and one at the least: others wait for the store, or something behind `after` can't be read.
    AtMost(usize),
    /// None: it goes past the next one, of which nothing is loaded, since that is what can't be read. A cancellation passes over
    /// such works by itself, and looks at one.
    PastOne,
}

impl Stride {
    /// Of so many that a commit may look at.
    pub(crate) fn of(self, limit: usize) -> usize {
        match self {
            Stride::Full => limit,
            Stride::AtMost(most) => limit.min(most.max(1)),
            Stride::PastOne => limit.min(1),
        }
    }
}

/// Which finished work stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum Retention {
    /// None.
    Nothing,
    /// What asked for it, and of the rest what finished less than `age` ago, `count` works at the most beside those that finished
    /// less than `grace` ago.
    Recent {
        /// How long.
        age: Duration,
        count: usize,
        /// How long each is spared, however many there are.
        grace: Duration,
    },
}
