//! [`Decision`]: what the planner answers to a command, and how much one answer may be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Refusal;
use super::gates::{GateChange, GateStatus};
use super::view::Scope;
use crate::data::Payload;
use crate::id::WorkId;
use crate::index::IndexKey;
use crate::record::{
    AttemptRecord, Cascade, GateId, GateRow, GateSettings, Lane, LaneId, Meta, Notes, Standing, WorkRecord, WorkSpec,
};
use crate::state::{StopReason, WorkState};
use crate::time::{Due, NextDue, Timestamp};

/// The most records that one commit releases, fails or cancels along edges; the rest becomes a [`Cascade`].
pub const CASCADE_LIMIT: usize = 10_000;

/// The most delayed works that one claim moves to their lanes.
pub const PROMOTE_LIMIT: usize = 256;

/// The most claims of dead managers that one commit gives back.
pub const RESCUE_LIMIT: usize = 1_000;

/// The most works of a selection that one commit ends.
pub const SELECT_LIMIT: usize = 1_000;

/// The most bytes of the reason of a cancellation: each work that it ends keeps it.
pub const REASON_LIMIT: usize = 1_024;

/// The most works that may hold a name when it is taken from them, all of them in one commit: two of the largest chains.
pub(super) const MEMBERS_LIMIT: usize = 32_768;

/// The most finished works that one commit of a pruning looks at.
pub const PRUNE_LIMIT: usize = 1_000;

/// How many works a commit of a cancellation or a pruning looks at while others wait for the store: their calls take as long as
/// that commit, so it must take little longer than one of theirs.
pub const SHORT_STRIDE: usize = 64;

/// How long finished work is kept at the least, however little is to be kept: whoever waits for it gets to read its output.
pub const PRUNE_GRACE: Duration = Duration::from_secs(60);

/// The most numbers of one kind that one plan uses.
pub const NUMBERS_A_PLAN: u64 = 65_536;

/// Attempts that are kept of each work.
pub const HISTORY_LIMIT: usize = 10;

/// "I must see this too", or "this is what happens".
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most steps are plans, and a box for each would cost more than it saves")]
pub enum Decision {
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
#[expect(missing_docs, reason = "the names of the fields say it")]
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
    /// What goes on at a gate.
    Gate(GateRow),
    /// Nothing goes on at a gate any more.
    GateIdle(GateId),
    /// What is wanted of gates.
    GateSettings(Arc<GateSettings>),
    /// A work goes, with all its rows.
    Delete(WorkId),
}

/// Something worth knowing after a commit.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum Hint {
    /// Something may be ready in this lane.
    Ready(LaneId),
    /// Something is due then.
    Due(Due),
    /// A lane is new.
    Lane(Lane),
    /// A run is over for the store, and its worker should hear of it.
    Stop {
        id: WorkId,
        /// The fence of the run.
        fence: u64,
        reason: StopReason,
    },
    /// Offered slots were taken.
    Claimed {
        /// By work of this manager.
        epoch: u64,
        /// Which of its offers were taken.
        generation: u64,
        works: Vec<Claimed>,
    },
    /// A cascade waits to be drained.
    Cascade,
    /// Gates may be open that were shut: what lines up may start.
    Opened,
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
    /// Works that are born from this number on were not there when it was claimed.
    pub born_from: u64,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// To [`Command::Enqueue`](super::Command::Enqueue).
    Enqueued {
        /// What happened.
        how: Enqueued,
        /// Works that the offer claimed; their manager is told by a hint.
        claimed: Vec<WorkId>,
    },
    /// To [`Command::Claim`](super::Command::Claim).
    Claimed {
        /// The works.
        works: Vec<Claimed>,
        /// Lanes in which nothing is left.
        drained: Vec<LaneId>,
        /// Of the lanes that are watched, those that a gate shuts: whatever waits there waits for no slot.
        shut: Vec<LaneId>,
        /// When the next delayed work is due.
        next_due: NextDue,
        /// The store time of the claim.
        now: Timestamp,
        /// Whether there was more to do than one commit may.
        again: bool,
    },
    /// To [`Command::Settle`](super::Command::Settle), [`Command::Retry`](super::Command::Retry).
    Settled {
        /// The state now.
        state: WorkState,
        /// When it may run next.
        next_run: Option<Due>,
        /// Failed attempts so far, of the period that the attempt belonged to.
        failures: u32,
    },
    /// To [`Command::Steer`](super::Command::Steer), for a retry.
    Retried(RetryReport),
    /// To [`Command::Steer`](super::Command::Steer), for all but a retry.
    Steered(SteerResult),
    /// To [`Command::Note`](super::Command::Note).
    Noted {
        /// How far the work is still blamed for deaths of its process.
        blame: Blame,
    },
    /// To [`Command::Cancel`](super::Command::Cancel).
    Cancelled {
        /// How many works were ended, dependents included.
        count: usize,
        /// Only works born before this number are meant.
        before: u64,
        /// Where to go on; `None` when the selection is done.
        next: Option<IndexKey>,
    },
    /// To [`Command::Update`](super::Command::Update).
    Updated(UpdateResult),
    /// To [`Command::Prune`](super::Command::Prune).
    Pruned {
        /// How many works were deleted.
        count: usize,
        /// How many finished works are stored now.
        stored: u64,
        /// Only works born before this number are meant.
        before: u64,
        /// Where to go on; `None` when all has been looked at. After [`Stride::PastOne`](super::Stride::PastOne) it is the entry of
        /// the work that was left.
        next: Option<IndexKey>,
        /// When the first of the finished works that were looked at and stay has been kept long enough, or the first behind all.
        next_due: Option<Timestamp>,
    },
    /// To [`Command::Attach`](super::Command::Attach).
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
    /// To [`Command::Reclaim`](super::Command::Reclaim).
    Reclaimed {
        /// How many works were given back.
        count: usize,
        /// Of what the manager holds: what the store has given to others, or ended.
        stale: Vec<(WorkId, u64)>,
        /// All lanes there are.
        lanes: Vec<Lane>,
    },
    /// To [`Command::Detach`](super::Command::Detach) and [`Command::Rescue`](super::Command::Rescue).
    Released {
        /// How many works were given back.
        count: usize,
        /// Those of them under which the process died.
        died: Vec<Death>,
        /// Whether there is more to give back than one commit may.
        again: bool,
    },
    /// To [`Command::Gate`](super::Command::Gate).
    Gates {
        /// What is wanted of gates, where that has changed.
        changed: Vec<GateChange>,
        /// How many runs were stopped.
        stopped: usize,
    },
    /// To a look at gates.
    GatesSeen(Vec<GateStatus>),
    /// To [`Command::Drain`](super::Command::Drain).
    Drained {
        /// Whether something wide is still unfinished.
        again: bool,
    },
}

/// How far a work is blamed for deaths of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Not at all.
    None,
    /// No more than what ran beside it.
    Shared,
    /// It is a suspect, which runs with no other.
    Suspect,
}

/// A work under which the process died.
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    /// The work.
    pub id: WorkId,
    /// Its worker.
    pub worker: Arc<str>,
    /// The how manieth death that was.
    pub deaths: u32,
    /// What came of it.
    pub then: Standing,
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
    /// The works are stored, and have taken the name from these: all unfinished work that held it could not begin (its input does not
    /// decode, or what it takes is too large), or waits for such work. It is still there, without its name, and
    /// `WorkManager::retry` frees it; nothing else does.
    Superseded(Vec<WorkId>),
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

/// What became of a wish to run work now, or at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SteerResult {
    /// The work is due when it was asked for.
    Applied,
    /// Periodic work runs; its next run is due when it was asked for.
    AppliedForNextRun,
    /// It was so already: nothing changed.
    Unchanged,
    /// Nothing: its time has come, and a gate holds it. `WorkManager::run_now_past_gates` lets it pass.
    Held,
    /// Nothing: the work waits for its prerequisites, and for no time.
    Blocked,
    /// Nothing: the work is parked. `WorkManager::retry` frees it.
    Parked,
    /// Nothing: the work runs.
    Running,
    /// Nothing: the work has finished. `WorkManager::retry` takes failed work back.
    Finished,
    /// Nothing: the process died under it, and a new time does not shorten its wait. `WorkManager::run_now` does.
    Suspect,
}

/// What a retry has taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryReport {
    /// The work, and the dependents that had failed because of it and are blocked again, each after its prerequisites.
    pub retried: Vec<WorkId>,
    /// Dependents that stay failed, and why.
    pub stayed: Vec<(WorkId, StayedFailed)>,
}

/// Why failed work does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StayedFailed {
    /// This prerequisite is not stored any more, so nobody could say what it gave.
    PrerequisiteGone(WorkId),
    /// This prerequisite has failed or was cancelled, and stays so.
    PrerequisiteEnded(WorkId),
}

impl StayedFailed {
    /// The same of the work that was asked for.
    pub(super) fn refusal(self, work: WorkId) -> Refusal {
        match self {
            StayedFailed::PrerequisiteGone(prerequisite) => Refusal::PrerequisiteGone { work, prerequisite },
            StayedFailed::PrerequisiteEnded(prerequisite) => Refusal::PrerequisiteEnded { work, prerequisite },
        }
    }
}

impl fmt::Display for StayedFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StayedFailed::PrerequisiteGone(id) => write!(f, "its prerequisite {id} is not stored any more"),
            StayedFailed::PrerequisiteEnded(id) => write!(f, "its prerequisite {id} has failed or was cancelled"),
        }
    }
}
