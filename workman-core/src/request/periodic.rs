//! What only a [`PeriodicRequest`] says: its schedule, and when its next run is due.

use super::terms::whole_backoff;
use crate::foreign::foreign;
use crate::policy::BackoffPolicy;
use std::fmt;
use std::time::Duration;

use super::PeriodicRequest;
use super::parts::RequestParts;
use crate::id::wall_of_ids;
use crate::plan::NextScheduleTime;
use crate::record::Schedule;
use crate::time::{Timestamp, in_whole_millis};

impl PeriodicRequest {
    pub(crate) fn new(mut parts: RequestParts, schedule: Schedule) -> Self {
        parts.terms.schedule = schedule;
        parts.periodic = true;
        PeriodicRequest { parts }
    }

    pub(crate) fn into_parts(self) -> RequestParts {
        self.parts
    }

    /// When the next run is due, by the wall clock, instead of when the period or the backoff say: once, then the period goes
    /// on from there. A time that is over means at once.
    ///
    /// Enqueued under a name with `Update`, this moves the next run of work that is there already. With
    /// [`CancelAndReenqueue`](crate::policy::ExistingPeriodicWorkPolicy::CancelAndReenqueue) it is refused.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use workman_core::{Timestamp, worker};
    ///
    /// #[worker]
    /// fn back_up() {}
    ///
    /// let hour = Duration::from_secs(3600);
    /// let (now, tonight) = (Timestamp::from(UNIX_EPOCH), UNIX_EPOCH + 10 * hour);
    /// let request = back_up::periodic(24 * hour).next_schedule_time_override(tonight);
    /// assert_eq!(request.next_runs_from(now, 2), [now + 10 * hour, now + 34 * hour]);
    /// ```
    #[doc(alias = "setNextScheduleTimeOverride")]
    pub fn next_schedule_time_override(mut self, at: impl Into<Timestamp>) -> Self {
        self.parts.next_schedule_time = NextScheduleTime::At(at.into());
        self
    }

    /// The next run is due when the period and the backoff say, also if an earlier request of this work said otherwise.
    pub fn clear_next_schedule_time_override(mut self) -> Self {
        self.parts.next_schedule_time = NextScheduleTime::Cleared;
        self
    }

    /// When the first `count` runs would be due if the work were enqueued now: as [`next_runs_from`](Self::next_runs_from).
    #[must_use]
    pub fn next_runs(&self, count: usize) -> Vec<Timestamp> {
        self.next_runs_from(wall_of_ids(), count)
    }

    /// When the first `count` runs would be due if the work were enqueued at `at`: with its delay, its flex and its override,
    /// each run taken to succeed as soon as it is due. Constraints, slots, retries and `Limits::minimums` are left aside.
    ///
    /// ```
    /// use std::time::Duration;
    /// use workman_core::{Schedule, Timestamp, worker};
    ///
    /// #[worker]
    /// fn rotate_logs() {}
    ///
    /// let minutes = |n: u64| Duration::from_secs(60 * n);
    /// let hourly = Schedule::every(minutes(60)).flex(minutes(15));
    /// let request = rotate_logs::periodic(hourly).initial_delay(minutes(10));
    /// let at = Timestamp::from_millis(0);
    /// assert_eq!(request.next_runs_from(at, 3), [at + minutes(55), at + minutes(115), at + minutes(175)]);
    /// ```
    #[must_use]
    pub fn next_runs_from(&self, at: impl Into<Timestamp>, count: usize) -> Vec<Timestamp> {
        self.parts.runs_from(at.into(), count)
    }
}

impl fmt::Debug for PeriodicRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.describe(&mut f.debug_struct("PeriodicRequest"))
    }
}

impl From<Duration> for Schedule {
    /// A period of this length, all of which the first run may use.
    fn from(interval: Duration) -> Self {
        Schedule::every(interval)
    }
}

impl RequestParts {
    /// The waits after the first `count` failed attempts.
    pub(super) fn backoff_delays(&self, count: usize) -> Vec<Duration> {
        let backoff = whole_backoff(self.terms.backoff);
        let own = self.def.defaults.backoff_fn.filter(|_| backoff.policy() == BackoffPolicy::Custom);
        // Where the function panics, the wait is what it would be without it, as after a run.
        let asked = |failures| own.and_then(|delay_after| foreign(|| delay_after(failures)).ok());
        let delay = |failures| match asked(failures) {
            Some(said) => backoff.own_delay_of(self.id, failures, in_whole_millis(said)),
            None => backoff.delay_of(self.id, failures),
        };
        (1..=u32::MAX).take(count).map(delay).collect()
    }

    /// When the first `count` runs are due, if the work is enqueued at `at` and each run succeeds as soon as it is due.
    pub(super) fn runs_from(&self, at: Timestamp, count: usize) -> Vec<Timestamp> {
        let schedule = match self.terms.schedule {
            Schedule::Every { interval, flex } => {
                Schedule::every(in_whole_millis(interval)).flex(in_whole_millis(flex))
            }
            Schedule::Once => Schedule::Once,
        };
        let first = match self.next_schedule_time {
            NextScheduleTime::At(due) => due.max(at),
            NextScheduleTime::Unchanged | NextScheduleTime::Cleared => {
                at + in_whole_millis(self.terms.initial_delay) + schedule.first_offset()
            }
        };
        schedule.runs_from(first, count)
    }
}
