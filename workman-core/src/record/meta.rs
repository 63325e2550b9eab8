//! [`Meta`]: what a store knows about itself, and the rows that belong to no single work: lanes and cascades.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::gate::GateId;
use crate::constraints::Constraints;
use crate::id::WorkId;
use crate::policy::EXPEDITED_WINDOW;
use crate::time::Timestamp;

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
    /// Finished works that are stored and did not ask to be kept: those that [`counts_as_finished`](super::WorkRecord::counts_as_finished)
    /// says.
    pub finished: u64,
    /// When everything was last cancelled at once, by the wall clock (CAN-5).
    pub last_cancel_all: Option<Timestamp>,
    /// The run time that expedited work has used.
    pub expedited: RunTime,
    /// What goes on at gates.
    pub gates: GateMeta,
}

/// What a store knows of its gates without looking at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateMeta {
    /// Of how many gates something is wanted: with none there is no row of settings.
    pub settings: u32,
    /// At how many gates something goes on: so many rows there are.
    pub rows: u64,
    /// How many of those have to be looked at again at some time.
    pub openings: u64,
    /// Settings have changed, and the gates from this one on have not been looked at since.
    pub refill: Option<GateId>,
    /// The works that pass all gates at their next run, since somebody said so.
    pub passing: BTreeSet<WorkId>,
    /// The greatest turn of a work that was claimed.
    pub claimed: u64,
    /// The lanes in which works with keys line up, by rank as in the index, each with the greatest turn of those that were claimed
    /// since the first came.
    pub fair: BTreeMap<(LaneId, u8), FairLane>,
}

/// How far a lane is in which works with keys take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FairLane {
    /// The greatest turn that was claimed: what start-time fair queuing calls the virtual time.
    pub turn: u64,
    /// How many works with keys line up.
    pub waiting: u64,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Of a cancellation: why, as whoever did so has said.
    pub because: Option<Arc<str>>,
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
