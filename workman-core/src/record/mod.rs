//! What a store keeps of a work: the small [`WorkRecord`] that changes and the [`WorkSpec`] that is written once.
//!
//! A record is never changed in place. The planner makes a whole new one, and where it stands ([`Standing`]) says which
//! index holds it, so a store derives every index from a record's before and after.

mod gate;
mod gate_row;
mod meta;
mod spec;
mod tally;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::data::Payload;
use crate::foreign::{foreign, shown};
use crate::id::WorkId;
use crate::policy::DEATHS_TO_SUSPECT;
use crate::state::{StopReason, WorkState};
use crate::time::{Due, Timestamp};

pub use gate::{
    Bucket, Effective, GateId, GateLimits, GateSetting, GateSettings, GateTarget, MOST_GATE_SETTINGS, OnSerialFailure,
    Passage, Pause, Rate, SerialPlace,
};
pub use gate_row::{GateLane, GateRow};
pub(crate) use gate_row::{Mark, held_by, marks, serial_of, targets_of};
pub use meta::{Cascade, CascadeVerb, FairLane, GateMeta, Lane, LaneId, Meta, RunTime, Urgency};
pub use spec::{InputShape, Prerequisites, Schedule, SerialLane, Terms, WorkSpec};
pub use tally::Tally;
pub(crate) use tally::TallyChanges;

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
    /// What few works have.
    pub rare: Option<Box<Rare>>,
}

/// What few works have, apart from the record, so that the others stay small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    /// How many runs in a row were stopped for a constraint that was lost.
    pub flaps: u32,
    /// Whether newer work has taken its unique name, since it could not begin. It has no name any more, and nothing but `retry` frees
    /// it where it is parked.
    pub superseded: bool,
    /// The gates that it must pass before it runs, in the order in which it meets them, beside its serial lane and what shuts whole
    /// lanes.
    pub gates: Vec<GateId>,
    /// Its place in a serial lane: the first gate that it meets.
    pub serial: Option<SerialPlace>,
    /// While it runs: the gates that count it. What was counted at its claim stays counted until the run ends.
    pub counted: Vec<GateId>,
    /// The time by the wall clock that its calendar named for this run. Stored; no work has one yet.
    pub scheduled_for: Option<Timestamp>,
    /// Why it was cancelled, as whoever did so has said.
    pub cancelled_because: Option<Arc<str>>,
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
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum Standing {
    /// Waits for prerequisites.
    Blocked,
    /// Waits for its time.
    Waiting {
        /// The time.
        due: Due,
        /// What it waits for.
        why: Wait,
    },
    /// Lines up in its lane.
    Ready {
        /// Since when it could run.
        since: Due,
        /// What it waited for until then.
        why: Wait,
    },
    /// Could run, but a gate holds it.
    Held {
        /// The gate.
        gate: GateId,
        /// Since when it could run.
        since: Due,
        /// What it waited for until then.
        why: Wait,
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
        at: Timestamp,
    },
}

/// What a work waits for that is neither blocked nor parked: why its next run is due when it is.
///
/// The numbers are those that a store writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[repr(u8)]
pub enum Wait {
    /// Nothing: it was stopped and given back, or freed by hand.
    Nothing = 0,
    /// The end of its initial delay.
    Delay = 1,
    /// The part of its first period in which its run may be: what its flex leaves, after its initial delay.
    FirstRun = 2,
    /// The next period.
    Period = 3,
    /// The time that an override names, in place of everything else.
    Override = 4,
    /// The time that its last attempt asked for: `Outcome::Snooze` or `WorkError::retry_after`.
    Asked = 5,
    /// Its backoff after a failed attempt, as its policy says.
    Backoff = 6,
    /// Its backoff after a failed attempt, as its worker's own function says.
    OwnBackoff = 7,
    /// Its backoff after an interruption: it asked for one.
    Interruption = 8,
    /// Its backoff as a suspect, since its process died while it ran.
    Deaths = 9,
    /// A pause after a constraint that came and went: longer for each run in a row that was stopped for it.
    Flapping = 10,
    /// A change of what triggers it. Nothing waits for this yet.
    Trigger = 11,
}

impl Wait {
    /// All there are, in the order of their numbers.
    pub(crate) const ALL: [Wait; 12] = [
        Wait::Nothing,
        Wait::Delay,
        Wait::FirstRun,
        Wait::Period,
        Wait::Override,
        Wait::Asked,
        Wait::Backoff,
        Wait::OwnBackoff,
        Wait::Interruption,
        Wait::Deaths,
        Wait::Flapping,
        Wait::Trigger,
    ];

    /// Its number, for stores.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The one of this number; none if this build knows none.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Wait::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wait::Nothing => "nothing",
            Wait::Delay => "its initial delay",
            Wait::FirstRun => "the first run of its period",
            Wait::Period => "its next period",
            Wait::Override => "the time that an override names",
            Wait::Asked => "what its last attempt asked for",
            Wait::Backoff => "its backoff after a failed attempt",
            Wait::OwnBackoff => "its backoff, as its worker's own function says",
            Wait::Interruption => "its backoff after an interruption",
            Wait::Deaths => "its backoff after the death of its process",
            Wait::Flapping => "a pause, since a constraint came and went",
            Wait::Trigger => "what triggers it",
        })
    }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[doc(alias("dead_letter", "poison_pill", "quarantine"))]
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

impl ParkReason {
    /// Whether the work could not even begin. A program that asks for the same again may do so under its name: it would else wait
    /// behind what nobody can run. Poisoned work has begun, and would begin to kill its process anew.
    #[must_use]
    pub const fn keeps_from_beginning(&self) -> bool {
        match self {
            ParkReason::Undecodable { .. } | ParkReason::TooLarge { .. } => true,
            ParkReason::Poisoned { .. } => false,
        }
    }
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
            Standing::Waiting { .. } | Standing::Ready { .. } | Standing::Held { .. } | Standing::Parked { .. } => {
                WorkState::Enqueued
            }
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
            Standing::Waiting { due, .. } => Some(due),
            Standing::Ready { since, .. } | Standing::Held { since, .. } => Some(since),
            _ => None,
        }
    }

    /// What it waits for until its next run, or waited for.
    #[must_use]
    pub const fn wait(&self) -> Option<Wait> {
        match self.standing {
            Standing::Waiting { why, .. } | Standing::Ready { why, .. } | Standing::Held { why, .. } => Some(why),
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

    /// How many runs in a row were stopped for a constraint that was lost.
    #[must_use]
    pub fn flaps(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.flaps)
    }

    /// Whether newer work has taken its unique name, since it could not begin.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.superseded)
    }

    /// This record after so many runs in a row that were stopped for a lost constraint.
    #[must_use]
    pub(crate) fn flapped(self, flaps: u32) -> WorkRecord {
        if self.flaps() == flaps { self } else { self.with_rare(|rare| Rare { flaps, ..rare }) }
    }

    /// This record once newer work has taken its unique name.
    #[must_use]
    pub(crate) fn superseded(self) -> WorkRecord {
        self.with_rare(|rare| Rare { superseded: true, ..rare })
    }

    /// Why it was cancelled, if somebody has said so.
    #[must_use]
    pub fn cancelled_because(&self) -> Option<&Arc<str>> {
        self.rare.as_ref()?.cancelled_because.as_ref()
    }

    /// This record cancelled for this reason.
    #[must_use]
    pub(crate) fn because(self, reason: Option<&Arc<str>>) -> WorkRecord {
        match reason {
            Some(reason) => self.with_rare(|rare| Rare { cancelled_because: Some(Arc::clone(reason)), ..rare }),
            None => self,
        }
    }

    /// The gates that it must pass, beside its serial lane.
    #[must_use]
    pub fn gates(&self) -> &[GateId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.gates)
    }

    /// The gate of its limit key.
    pub(crate) fn key_gate(&self) -> Option<GateId> {
        self.gates().iter().copied().find(|gate| gate.is_of_key())
    }

    /// The gates that count its run.
    #[must_use]
    pub fn counted(&self) -> &[GateId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.counted)
    }

    /// Whether gates have to do with it.
    pub(crate) fn is_gated(&self) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| !rare.gates.is_empty() || !rare.counted.is_empty() || rare.serial.is_some())
    }

    pub(crate) fn with_rare(self, change: impl FnOnce(Rare) -> Rare) -> WorkRecord {
        let rare = change(self.rare.map(|rare| *rare).unwrap_or_default());
        WorkRecord { rare: (rare != Rare::default()).then(|| Box::new(rare)), ..self }
    }

    /// Whether it is parked without ever having begun.
    #[must_use]
    pub const fn can_not_begin(&self) -> bool {
        matches!(&self.standing, Standing::Parked { why } if why.keeps_from_beginning())
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[doc(alias("history", "RunAttempt"))]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
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
    Interrupted { reason: StopReason },
    /// The process died under it.
    Died,
}

/// An error as it is stored: its message and those of its sources, outermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorText {
    /// What the error said.
    pub message: String,
    /// What its sources said, from the outside in.
    pub sources: Vec<String>,
    /// Whether it was a panic.
    pub panicked: bool,
}

/// How many sources of an error are asked for, and how many bytes all texts together may have.
const MOST_SOURCES: usize = 32;
const MOST_TEXT: usize = 1 << 20;

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

    /// The text of an error and its sources: 32 of these at the most, and a mebibyte in all. An error that is its own source is
    /// said once, one that panics when it is asked for its text or its source is what it was until then.
    #[must_use]
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut room = MOST_TEXT;
        let mut say = |error: &(dyn std::error::Error + 'static)| {
            let text = shown(&error, room);
            room = room.saturating_sub(text.len());
            text
        };
        let (mut of, mut said) = (ErrorText::new(say(error)), error);
        while of.sources.len() < MOST_SOURCES {
            let next = match foreign(|| said.source()) {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(panicked) => {
                    of.sources.push(format!("(its source panicked: {panicked})"));
                    break;
                }
            };
            let text = say(next);
            // An error may lie at the address of the one that it is the first field of, but hardly says the same then.
            if std::ptr::addr_eq(said, next) && of.sources.last().unwrap_or(&of.message) == &text {
                break;
            }
            of.sources.push(text);
            said = next;
        }
        of
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
