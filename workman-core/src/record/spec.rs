//! [`WorkSpec`] and [`Terms`]: what a request said.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::gate::OnSerialFailure;
use super::meta::Urgency;
use crate::constraints::Constraints;
use crate::data::Payload;
use crate::id::WorkId;
use crate::policy::{Backoff, DEFAULT_MAX_ATTEMPTS, InputMerger, OnDeath, OnInterruption, OutOfQuotaPolicy};
use crate::time::Timestamp;

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
    /// The trace in which it was enqueued (W3C `traceparent`). Stored and shown to nobody yet.
    pub traceparent: Option<Arc<str>>,
    /// Which version of its worker wrote the input. Stored and asked by nobody yet.
    pub worker_version: u32,
    /// What it shares a limit by with other works.
    pub limit_key: Option<Arc<str>>,
    /// The serial lane that it runs in.
    pub serial: Option<SerialLane>,
}

/// A serial lane, in which works run one after the other in the order in which they were enqueued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialLane {
    /// What it is called.
    pub lane: Arc<str>,
    /// What the failure of this work does to the lane.
    pub on_failure: OnSerialFailure,
}

/// The part of a request by which the planner decides. It lies in the record, so that a settle reads nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Greater runs first.
    pub priority: i8,
    /// How long it waits after it was enqueued or unblocked.
    pub initial_delay: Duration,
    /// The moment by the wall clock before which one-time work does not run; [`Timestamp::MIN`] if it named none.
    pub run_at: Timestamp,
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
    /// From when on it must not begin any more, by the wall clock; [`Timestamp::MAX`] is never. Stored and asked by nobody yet.
    pub expires_at: Timestamp,
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
            traceparent: None,
            worker_version: 0,
            limit_key: None,
            serial: None,
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
            run_at: Timestamp::MIN,
            backoff: Backoff::default(),
            max_attempts: Some(DEFAULT_MAX_ATTEMPTS),
            timeout: None,
            on_interruption: OnInterruption::default(),
            expedited: None,
            retention: Duration::ZERO,
            on_death: OnDeath::default(),
            discards_output: false,
            schedule: Schedule::Once,
            expires_at: Timestamp::MAX,
        }
    }
}

/// When a work runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[doc(alias("cron", "interval"))]
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
    pub const fn first_offset(&self) -> Duration {
        match self {
            Schedule::Once => Duration::ZERO,
            Schedule::Every { interval, flex } => interval.saturating_sub(*flex),
        }
    }

    /// When the first `count` runs are due if the first is due at `first` and each succeeds as soon as it is due (PER-3).
    pub(crate) fn runs_from(&self, first: Timestamp, count: usize) -> Vec<Timestamp> {
        let next = |due: &Timestamp| self.interval().map(|interval| *due + interval).filter(|next| next > due);
        std::iter::successors(Some(first), next).take(count).collect()
    }

    /// The length of a period, if there are periods.
    #[must_use]
    pub const fn interval(&self) -> Option<Duration> {
        match self {
            Schedule::Once => None,
            Schedule::Every { interval, .. } => Some(*interval),
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
