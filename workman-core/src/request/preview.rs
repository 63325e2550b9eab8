//! What a request would do: when its runs are due, how long it waits between attempts.

use std::time::Duration;

use super::parts::RequestParts;
use super::terms::whole_backoff;
use crate::foreign::foreign;
use crate::plan::NextScheduleTime;
use crate::policy::BackoffPolicy;
use crate::record::Schedule;
use crate::time::{Timestamp, in_whole_millis};

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
