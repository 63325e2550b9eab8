//! What the end of an attempt is worth, and what is said about it.

use std::fmt;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use super::Core;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::{Advice, Applied, Claimed, End, Settle};
use crate::policy::{Backoff, BackoffPolicy};
use crate::record::ErrorText;
use crate::state::{StopReason, WorkState};
use crate::store::UnitResult;
use crate::worker::WorkerDef;

/// By what the end of a run is judged: limits, and its terms as they were when it was claimed.
pub(super) struct Judge {
    worker: Arc<str>,
    /// Failed attempts before this one.
    failures: u32,
    backoff: Backoff,
    backoff_fn: Option<fn(u32) -> Duration>,
    /// How long the attempt may take.
    timeout: Option<Duration>,
    limits: Arc<Limits>,
}

impl Judge {
    pub(super) fn new(claimed: &Claimed, def: &WorkerDef, limits: &Arc<Limits>) -> Self {
        Judge {
            worker: Arc::clone(&claimed.spec.worker),
            failures: claimed.record.failures,
            backoff: claimed.record.terms.backoff,
            backoff_fn: def.defaults.backoff_fn,
            timeout: claimed.record.terms.timeout,
            limits: Arc::clone(limits),
        }
    }

    /// What is to be settled.
    pub(super) fn judge(&self, end: End) -> End {
        match self.within_limits(end) {
            End::Failed { error, advice: Advice::ByPolicy } => End::Failed { error, advice: self.advice() },
            end => match (end, self.timeout) {
                (End::Interrupted { reason: StopReason::Timeout }, Some(limit)) => {
                    End::TimedOut { limit, advice: self.advice() }
                }
                (end, _) => end,
            },
        }
    }

    /// When an attempt that begins now has taken too long, on the monotonic clock.
    pub(super) fn times_out_at(&self, now: Duration) -> Option<Duration> {
        self.timeout.map(|timeout| now.saturating_add(timeout))
    }

    fn within_limits(&self, end: End) -> End {
        let limits = &self.limits;
        match end {
            End::Succeeded { output } if output.len() > limits.payload => {
                let (worker, size, limit) = (&self.worker, output.len(), limits.payload);
                let text = format!(
                    "the output of worker \"{worker}\" has {size} bytes, the limit is {limit}; see `Limits::payload`"
                );
                End::Failed { error: ErrorText::new(text), advice: Advice::ByPolicy }
            }
            End::Failed { error, advice } => End::Failed { error: error.within(limits.error_text), advice },
            end => end,
        }
    }

    /// What the worker's own function says, if its work asks for that: the planner runs no code of the program's.
    fn advice(&self) -> Advice {
        let Some(backoff_fn) = self.backoff_fn.filter(|_| self.backoff.policy() == BackoffPolicy::Custom) else {
            return Advice::ByPolicy;
        };
        let failures = self.failures.saturating_add(1);
        match catch_unwind(|| backoff_fn(failures)) {
            Ok(delay) => Advice::After(delay.min(self.backoff.max_delay())),
            Err(_) => {
                tracing::error!(worker = %self.worker, failures, "the worker's backoff function panicked; the wait doubles instead");
                Advice::ByPolicy
            }
        }
    }
}

/// Says what became of an attempt. The first failure is a warning, since the program's author may not expect a retry.
pub(super) fn log_settled(settle: &Settle, answer: &UnitResult, core: &Core) {
    let id = settle.id;
    match (&settle.end, answer) {
        (End::Failed { error, .. }, Ok(applied)) => log_failed(id, error, applied, core),
        (End::TimedOut { limit, .. }, Ok(applied)) => {
            log_failed(id, &format_args!("did not end within {limit:?}"), applied, core);
        }
        (End::Unrunnable { why }, Ok(_)) => tracing::warn!(%id, %why, "parked"),
        (_, Ok(_)) => tracing::debug!(%id, "settled"),
        (_, Err(refusal)) => tracing::debug!(%id, %refusal, "the end of a run came too late"),
    }
}

fn log_failed(id: WorkId, error: &dyn fmt::Display, applied: &Applied, core: &Core) {
    let Applied::Settled { state, next_run, failures, .. } = applied else { return };
    let next = next_run.map(|at| at.since(core.store_now()));
    match (state, failures) {
        (WorkState::Failed, _) => tracing::warn!(%id, attempt = failures, %error, "failed for good"),
        (_, 1) => {
            tracing::warn!(%id, attempt = failures, %error, next_in = ?next, "an attempt failed; it is tried again");
        }
        _ => tracing::info!(%id, attempt = failures, %error, next_in = ?next, "an attempt failed; it is tried again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Codec, Payload};

    const MINUTE: Duration = Duration::from_secs(60);

    fn judge(policy: BackoffPolicy, backoff_fn: Option<fn(u32) -> Duration>) -> Judge {
        let mut limits = Limits::default();
        (limits.payload, limits.error_text) = (4, 3);
        let backoff = Backoff::new(policy, MINUTE).ceiling(10 * MINUTE);
        Judge {
            worker: "worker".into(),
            failures: 2,
            backoff,
            backoff_fn,
            timeout: Some(MINUTE),
            limits: Arc::new(limits),
        }
    }

    fn advice(judge: &Judge, advice: Advice) -> Advice {
        match judge.judge(End::Failed { error: ErrorText::new("no"), advice }) {
            End::Failed { advice, .. } => advice,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bo_2_a_custom_backoff_is_asked_with_the_number_of_failed_attempts() {
        let judge = judge(BackoffPolicy::Custom, Some(|failures| failures * MINUTE));
        assert_eq!(advice(&judge, Advice::ByPolicy), Advice::After(3 * MINUTE), "this attempt has failed too");
        assert_eq!(advice(&judge, Advice::Never), Advice::Never);
        assert_eq!(advice(&judge, Advice::After(MINUTE)), Advice::After(MINUTE), "what the attempt itself says counts");
    }

    #[test]
    fn bo_3_a_custom_backoff_does_not_grow_above_the_ceiling() {
        let judge = judge(BackoffPolicy::Custom, Some(|_| Duration::MAX));
        assert_eq!(advice(&judge, Advice::ByPolicy), Advice::After(10 * MINUTE));
    }

    #[test]
    fn a_backoff_function_counts_only_for_work_that_asks_for_it_and_where_it_gives_an_answer() {
        let own: fn(u32) -> Duration = |_| MINUTE;
        assert_eq!(advice(&judge(BackoffPolicy::Exponential, Some(own)), Advice::ByPolicy), Advice::ByPolicy);
        assert_eq!(advice(&judge(BackoffPolicy::Custom, None), Advice::ByPolicy), Advice::ByPolicy);
        let panics = judge(BackoffPolicy::Custom, Some(|_| panic!("in a backoff function")));
        assert_eq!(advice(&panics, Advice::ByPolicy), Advice::ByPolicy);
    }

    #[test]
    fn a_stop_for_the_timeout_is_a_failed_attempt_and_no_interruption() {
        let judge = judge(BackoffPolicy::Custom, Some(|failures| failures * MINUTE));
        let stopped = |reason| judge.judge(End::Interrupted { reason });
        let timed_out = End::TimedOut { limit: MINUTE, advice: Advice::After(3 * MINUTE) };
        assert_eq!(stopped(StopReason::Timeout), timed_out);
        assert_eq!(stopped(StopReason::Shutdown), End::Interrupted { reason: StopReason::Shutdown });
        assert_eq!(judge.times_out_at(MINUTE), Some(2 * MINUTE));
        assert_eq!(judge.times_out_at(Duration::MAX), Some(Duration::MAX));
    }

    #[test]
    fn what_an_attempt_gives_is_held_to_its_limits() {
        let judge = judge(BackoffPolicy::Linear, None);
        let output = |size| End::Succeeded { output: Payload::new(Codec::JSON, vec![b'1'; size]) };
        assert_eq!(judge.judge(output(4)), output(4));
        let End::Failed { error, advice: Advice::ByPolicy } = judge.judge(output(5)) else { panic!("it is too large") };
        assert!(error.message.contains("\"worker\" has 5 bytes, the limit is 4"), "{error}");
        let End::Failed { error, .. } =
            judge.judge(End::Failed { error: ErrorText::new("12345"), advice: Advice::Never })
        else {
            panic!("it failed")
        };
        assert_eq!(error.message.len(), 3);
    }
}
