//! [`WorkInfo`]: what everybody may know about a work, as a snapshot.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::constraints::Constraints;
use crate::data::Payload;
use crate::id::WorkId;
use crate::policy::{Backoff, OnInterruption, OutOfQuotaPolicy};
use crate::record::{AttemptEnd, AttemptRecord, ErrorText, GateTarget, InputShape, ParkReason, Schedule, Wait};
use crate::state::{StopReason, WorkState};
use crate::time::{Due, Timestamp};

/// A snapshot of one work. Equal snapshots mean that nothing visible has changed.
///
/// Its times are by the wall clock as it stands when the snapshot is taken, so they move with a clock that is set: what happened
/// an hour ago is shown as an hour ago. A [`Store`](crate::store::Store) that is asked itself answers with its own times.
///
/// Input, progress and output can be left out by the query ([`WorkQuery::without_payloads`](crate::WorkQuery::without_payloads)).
/// Then they are payloads that say so ([`Payload::is_left_out`]), where there are any.
///
/// It can be serialized, to show it to others, with all that it holds, and by formats that describe themselves (JSON, say) read
/// again: an id is its text, a moment the milliseconds since 1970, a name of a state or a reason in `snake_case`, a payload the
/// text of its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[doc(alias("JobInfo", "status"))]
pub struct WorkInfo {
    /// Who it is.
    pub id: WorkId,
    /// The worker's name.
    pub worker: Arc<str>,
    /// The unique name that it belongs to.
    pub name: Option<Arc<str>>,
    /// Its tags; the worker's name is always one.
    pub tags: Vec<Arc<str>>,
    /// Its arguments, an object keyed by argument name. `Debug` does not show them.
    pub input: Payload,
    /// What it waits for, or waited, in declaration order.
    pub prerequisites: Vec<WorkId>,
    /// How it takes what they gave.
    pub takes: InputShape,
    /// Where it stands.
    pub state: WorkState,
    /// Why it can't run until somebody helps, if that is so.
    pub parked: Option<ParkReason>,
    /// When it may run next, by the wall clock: delay, backoff, period and override, never constraints. Only while it is enqueued;
    /// it may lie in the past. None if that never comes: a snooze of `Duration::MAX`, say
    /// ([`Explanation::Never`](crate::Explanation::Never)).
    pub next_run: Option<Timestamp>,
    /// What it waits for until then.
    pub waits_for: Option<Wait>,
    /// The gate that holds it, if one does: it could run. Works of a worker, and all works together, are not held one by one.
    pub held: Option<GateTarget>,
    /// What it shares a limit by.
    pub limit_key: Option<Arc<str>>,
    /// The serial lane that it runs in.
    pub serial: Option<Arc<str>>,
    /// The override of the next run, if periodic work has one, by the wall clock: what counts in place of period and backoff, once.
    /// While the work runs, an override that was given during the run.
    pub next_run_override: Option<Timestamp>,
    /// The same as `next_run`, in the time in which it was said.
    pub(crate) due: Option<Due>,
    /// When it may run.
    pub constraints: Constraints,
    /// Once, or again and again; with the length of a period and its flex.
    pub schedule: Schedule,
    /// How long it waits after it was enqueued or unblocked.
    pub initial_delay: Duration,
    /// The moment by the wall clock before which one-time work does not run.
    pub run_at: Option<Timestamp>,
    /// How long it waits after a failed attempt.
    pub backoff: Backoff,
    /// After how many failed attempts it fails for good, or the period of periodic work; `None` is never.
    pub max_attempts: Option<u32>,
    /// What an interruption by the system does to it.
    pub on_interruption: OnInterruption,
    /// How long an attempt may take.
    pub timeout: Option<Duration>,
    /// Greater runs first.
    pub priority: i8,
    /// Whether it goes before all other work; `None` if it never asked for that.
    pub expedited: Option<Expedited>,
    /// How long it asked to be kept after it finished, at the least.
    pub keep_results_for_at_least: Duration,
    /// What its runs are called in traces, if not by the worker's name.
    pub trace_tag: Option<Arc<str>>,
    /// How often it was updated.
    pub generation: u32,
    /// Completed periods.
    pub periods: u64,
    /// Failed attempts, of the current period if there are periods.
    pub failures: u32,
    /// Runs that were given back.
    pub interruptions: u32,
    /// Deaths of the process under it since its last finished attempt or checkpoint.
    pub deaths: u32,
    /// How many runs in a row were stopped for a constraint that was lost. Each makes its pause before the next longer.
    pub flaps: u32,
    /// Whether newer work has taken its unique name, since it could not begin (`Enqueued::Superseded`). Where it is parked, nothing
    /// but `retry` frees it.
    pub superseded: bool,
    /// How often it was started.
    pub runs: u64,
    /// Prerequisites that have not succeeded yet.
    pub open_prerequisites: u32,
    /// When it was first stored, by the wall clock.
    pub created: Timestamp,
    /// When it finished, by the wall clock.
    pub finished: Option<Timestamp>,
    /// Why it was cancelled, if whoever did so has said it ([`Cancelling::because`](crate::Cancelling::because)); the same of all that
    /// was cancelled with it.
    pub cancel_reason: Option<Arc<str>>,
    /// Why the last run was stopped, if it was: from that stop until the work runs again, is cancelled or finishes. Of work that
    /// has ended it is the stop that ended it, if one did. A run that is told to stop shows it once it is over.
    pub stop_reason: Option<StopReason>,
    /// The last attempts, oldest first, ten at the most; their times are those of the wall clock.
    pub attempts: Vec<AttemptRecord>,
    /// How far it is, as its worker last said. Left out, it says only that there may be some.
    pub progress: Option<Payload>,
    /// What it gave.
    pub output: Option<Payload>,
}

/// How far the wish to be expedited is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Expedited {
    /// What it asked for, should the budget be spent.
    pub policy: OutOfQuotaPolicy,
    /// What came of it so far.
    pub state: ExpeditedState,
}

/// What came of the wish to be expedited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpeditedState {
    /// It goes first, or runs as expedited work now.
    Granted,
    /// The budget was spent before it ran, so it is ordinary work.
    FellBack,
    /// It has run already, and retries are never expedited.
    Used,
    /// The budget was spent before it ran, so it was cancelled, as it asked for.
    Dropped,
}

impl fmt::Display for ExpeditedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExpeditedState::Granted => "expedited",
            ExpeditedState::FellBack => "ordinary, since the budget of expedited work was spent",
            ExpeditedState::Used => "ordinary, since only the first run is expedited",
            ExpeditedState::Dropped => "dropped, since the budget of expedited work was spent",
        })
    }
}

impl WorkInfo {
    /// When the next `count` runs of periodic work are due, as things stand: each run is taken to succeed as soon as it is due,
    /// and constraints and slots are left aside. One-time work has one. None if it is not Enqueued: when running work runs
    /// next follows from its end.
    ///
    /// ```
    /// use std::time::Duration;
    /// use workman_core::worker;
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn sweep() {}
    ///
    /// let test = TestDriver::new();
    /// let day = Duration::from_secs(24 * 3600);
    /// let info = test.info(test.enqueue_periodic(sweep::periodic(day).initial_delay(day)));
    /// assert_eq!(info.next_runs(3), [info.created + day, info.created + 2 * day, info.created + 3 * day]);
    /// ```
    #[must_use]
    pub fn next_runs(&self, count: usize) -> Vec<Timestamp> {
        self.next_run.map_or_else(Vec::new, |first| self.schedule.runs_from(first, count))
    }

    /// Turns times of the store into those of the wall clock, with what is true now.
    pub(crate) fn show_by_the_wall(&mut self, offset_ms: i64) {
        if offset_ms == 0 {
            return;
        }
        let shown = |at: Timestamp| Due::Store(at).on_the_wall(offset_ms);
        self.next_run = self.due.filter(|due| !due.is_never()).map(|due| due.on_the_wall(offset_ms));
        self.created = shown(self.created);
        self.finished = self.finished.map(shown);
        for attempt in &mut self.attempts {
            (attempt.started, attempt.ended) = (shown(attempt.started), shown(attempt.ended));
        }
    }

    /// The error of the last attempt that had one.
    #[must_use]
    pub fn last_error(&self) -> Option<&ErrorText> {
        last_error(&self.attempts)
    }
}

/// The error of the last of these attempts that had one.
pub(crate) fn last_error(attempts: &[AttemptRecord]) -> Option<&ErrorText> {
    attempts.iter().rev().find_map(|attempt| match &attempt.end {
        AttemptEnd::Failed { error } => Some(error),
        _ => None,
    })
}
