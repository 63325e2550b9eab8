//! What a plan does to gates: the one place where it is counted what passes them, what is held at them, and what goes on.
//!
//! It is the last step of every plan that has to do with gates (`Draft::done`). What each gate counts follows from the records before
//! the plan and after it; what has come to line up is admitted or held; and a gate at which something has changed lets on as many as it
//! may. The nouns are here.

mod count;
mod fill;
mod line;
mod row;
mod serial;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::id::WorkId;
use crate::record::{GateId, GateLimits, GateRow, GateSetting, GateSettings, GateTarget, LaneId, Pause};
use crate::time::{NextDue, Timestamp};

/// The most works that one commit moves to gates or from them, beside those that it moves anyway.
pub const GATE_LIMIT: usize = 256;

/// The most works of one lane that a gate shows that holds others back: enough for every claim, and little to take back when it shuts.
const SHOWN_LIMIT: usize = 64;

/// How many works are loaded first of those that a gate holds, if so many may go on: few sizes, so that few lists are loaded twice.
const SIZES: [usize; 4] = [2, 16, SHOWN_LIMIT, GATE_LIMIT];

fn size_for(wanted: usize) -> usize {
    SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(wanted)
}

const FIRST_SIZE: usize = SIZES[0];

fn larger_than(limit: usize) -> usize {
    size_for(limit.saturating_add(1)).max(limit.saturating_mul(2))
}

/// What a plan does to gates.
#[derive(Default)]
pub(super) struct GateDraft {
    /// What the gates stand before that this plan has to do with.
    targets: BTreeMap<GateId, GateTarget>,
    /// What is wanted of gates from now on, if this plan changes it.
    settings: Option<Arc<GateSettings>>,
    /// The gates as this plan leaves them.
    rows: BTreeMap<GateId, GateRow>,
    /// Those at which something has changed.
    touched: BTreeSet<GateId>,
    /// The works that this plan has left at each gate, or moved within it.
    held_here: BTreeMap<(GateId, LaneId), Vec<WorkId>>,
    /// The works of each serial lane that this plan has moved.
    members: BTreeMap<GateId, Vec<WorkId>>,
    /// Runs that these counted never began.
    returned: Vec<GateId>,
    /// Whether it goes through the gates whose settings have changed.
    sweep: Sweep,
    /// How many works it may still move to gates or from them.
    left: usize,
    is_settled: bool,
    /// The lanes in which works are shown that were held.
    pub(in crate::plan) shown: BTreeSet<LaneId>,
    /// When the next of them has to be looked at.
    pub(in crate::plan) next_due: NextDue,
}

/// Whether a plan goes through the gates whose settings have changed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sweep {
    #[default]
    No,
    Yes,
}

/// A work that has come to line up.
struct Arrival {
    id: WorkId,
    seq: u64,
    /// Whether it lines up at the end, and not where it was.
    is_last: bool,
}

/// Which way a record goes past a gate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Comes,
    Leaves,
}

impl Step {
    fn of(self, count: u64) -> u64 {
        match self {
            Step::Comes => count.saturating_add(1),
            Step::Leaves => count.saturating_sub(1),
        }
    }

    fn of_few(self, count: u32) -> u32 {
        u32::try_from(self.of(u64::from(count))).unwrap_or(u32::MAX)
    }
}

/// The longest text of a gate, in bytes.
const LONGEST_TEXT: usize = 1_024;

/// What was wanted of a gate, and what is from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateChange {
    /// The gate.
    pub target: GateTarget,
    /// What counted.
    pub before: GateSetting,
    /// What counts.
    pub after: GateSetting,
}

/// What is wrong with what is wanted of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GateProblem {
    /// None may run at once.
    NoneAtOnce,
    /// A rate of nothing, or in no time.
    NoRate,
    /// A rate and a burst over more time than there is.
    LongRate,
    /// A burst of nothing.
    NoBurst,
    /// A weight of nothing.
    NoWeight,
    /// Something but a key has a weight.
    WeightOfNoKey,
    /// A serial lane has a limit.
    LimitOfSerial,
    /// A pattern of keys that does not end with its one star.
    Pattern,
    /// The text is empty, too long or has control characters in it.
    Text,
}

impl fmt::Display for GateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GateProblem::NoneAtOnce => "0 at once would let nothing run, ever; pause it instead",
            GateProblem::NoRate => "a rate of 0, or in no time, would let nothing begin; pause it instead",
            GateProblem::LongRate => {
                "the burst would take more than a thousand years to fill; limit how many run at once instead"
            }
            GateProblem::NoBurst => "a burst of 0 would let nothing begin; the least is 1",
            GateProblem::NoWeight => "a weight of 0 would give it no turn; the least is 1",
            GateProblem::WeightOfNoKey => "only keys take turns, so nothing else has a weight",
            GateProblem::LimitOfSerial => "one work at a time is what a serial lane is; it can be paused, not limited",
            GateProblem::Pattern => {
                "a pattern of keys ends with its one star, as `customer/*`; for one key there is `Gate::key`"
            }
            GateProblem::Text => {
                "what it stands before is empty, longer than 1,024 bytes, or has control characters in it"
            }
        })
    }
}

/// What is wrong with these limits, if they make no sense.
pub(crate) fn wrong_with(target: &GateTarget, limits: &GateLimits) -> Option<GateProblem> {
    let (_, text) = target.parts();
    let may_be_empty = matches!(target, GateTarget::Everything | GateTarget::Keys(_));
    if text.len() > LONGEST_TEXT || (text.is_empty() && !may_be_empty) || text.chars().any(char::is_control) {
        return Some(GateProblem::Text);
    }
    let is_key = matches!(target, GateTarget::Key(_) | GateTarget::Keys(_));
    match (limits.at_once, limits.rate, limits.weight) {
        (Some(0), ..) => Some(GateProblem::NoneAtOnce),
        (_, Some(rate), _) if rate.count == 0 || rate.per.is_zero() => Some(GateProblem::NoRate),
        (_, Some(rate), _) if rate.burst == 0 => Some(GateProblem::NoBurst),
        (_, Some(rate), _) if !rate.is_countable() => Some(GateProblem::LongRate),
        (.., Some(0)) => Some(GateProblem::NoWeight),
        (.., Some(_)) if !is_key => Some(GateProblem::WeightOfNoKey),
        _ if matches!(target, GateTarget::Serial(_)) && !limits.is_nothing() => Some(GateProblem::LimitOfSerial),
        _ => None,
    }
}

/// What is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateLook {
    /// All gates of which something is wanted.
    Wanted,
    /// Those that a work meets, in the order in which it does.
    Of(WorkId),
}

/// A gate, what is wanted of it and what goes on there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateStatus {
    /// What it stands before.
    pub target: GateTarget,
    /// What the code and a person have said of this gate itself.
    pub setting: GateSetting,
    /// How much may pass: of a key what is said for those like it, if nothing is said for it.
    pub limits: GateLimits,
    /// The pause that shuts it, if one does.
    pub pause: Option<Pause>,
    /// How many works run that it counts.
    pub running: u32,
    /// The first of those, if the gates of one work were asked for.
    pub holders: Vec<WorkId>,
    /// How many works it holds. Works of a worker, and all works together, are not held one by one: their lanes are shut.
    pub held: u64,
    /// The work whose failure holds the serial lane.
    pub halted: Option<WorkId>,
    /// Whether nothing may begin now.
    pub shut: bool,
    /// When it opens by the passing of time alone, by the wall clock, if it is shut and does.
    pub opens: Option<Timestamp>,
}
