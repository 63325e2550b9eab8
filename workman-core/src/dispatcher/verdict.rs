//! What the end of an attempt is worth, and what is said about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Core;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::{Advice, Applied, Claimed, End, Settle};
use crate::record::ErrorText;
use crate::state::{StopReason, WorkState};
use crate::store::UnitResult;
use crate::worker::{Attempt, OwnWaits};

/// By what the end of a run is judged: limits, and its terms as they were when it was claimed.
pub(super) struct Judge {
    worker: Arc<str>,
    /// How long the attempt may take.
    timeout: Option<Duration>,
    limits: Arc<Limits>,
}

impl Judge {
    pub(super) fn new(claimed: &Claimed, limits: &Arc<Limits>) -> Self {
        Judge {
            worker: Arc::clone(&claimed.spec.worker),
            timeout: claimed.record.terms.timeout,
            limits: Arc::clone(limits),
        }
    }

    /// What is to be settled.
    pub(super) fn judge(&self, end: End, attempt: &Attempt) -> End {
        self.weigh(end, attempt.stop_reason(), attempt.own_waits())
    }

    fn weigh(&self, end: End, stop: Option<StopReason>, own: OwnWaits) -> End {
        let advice = |advice| match (advice, own.failed) {
            (Advice::ByPolicy, Some(delay)) => Advice::After(delay),
            (advice, _) => advice,
        };
        let limit = self.timeout.filter(|_| stop == Some(StopReason::Timeout));
        match (end, limit, own.interrupted) {
            (End::Interrupted { reason: StopReason::Timeout }, Some(limit), _) => {
                End::TimedOut { limit, advice: advice(Advice::ByPolicy), error: None }
            }
            (End::Failed { error, advice: said }, Some(limit), _) if !error.panicked => {
                let room = self.limits.error_text.saturating_sub(ErrorText::timed_out(limit, None).message.len());
                End::TimedOut { limit, advice: advice(said), error: Some(error.within(room)) }
            }
            (End::Interrupted { reason }, _, Some(delay)) => End::HeldBack { reason, delay },
            (end, ..) => match self.within_limits(end) {
                End::Failed { error, advice: said } => End::Failed { error, advice: advice(said) },
                end => end,
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
}

/// Says what became of an attempt. The first failure is a warning, since the program's author may not expect a retry.
pub(super) fn log_settled(settle: &Settle, answer: &UnitResult, core: &Core) {
    let id = settle.id;
    match (&settle.end, answer) {
        (End::Failed { error, .. }, Ok(applied)) => log_failed(id, error, applied, core),
        (End::TimedOut { limit, error, .. }, Ok(applied)) => {
            log_failed(id, &ErrorText::timed_out(*limit, error.clone()), applied, core);
        }
        (End::Unrunnable { why }, Ok(_)) => tracing::warn!(%id, %why, "parked"),
        (_, Ok(_)) => tracing::debug!(%id, "settled"),
        (_, Err(refusal)) => tracing::debug!(%id, %refusal, "the end of a run came too late"),
    }
}

fn log_failed(id: WorkId, error: &dyn fmt::Display, applied: &Applied, core: &Core) {
    let Applied::Settled { state, next_run, failures, .. } = applied else { return };
    let next = next_run.map(|due| core.until(due));
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
    const OWN: OwnWaits = OwnWaits { failed: Some(MINUTE), interrupted: Some(Duration::from_secs(90)) };
    const NO_WORD: OwnWaits = OwnWaits { failed: None, interrupted: None };

    fn judge() -> Judge {
        let mut limits = Limits::default();
        (limits.payload, limits.error_text) = (4, 60);
        Judge { worker: "worker".into(), timeout: Some(MINUTE), limits: Arc::new(limits) }
    }

    fn failed(text: &str, advice: Advice) -> End {
        End::Failed { error: ErrorText::new(text), advice }
    }

    #[test]
    fn bo_2_what_the_workers_own_function_said_counts_unless_the_attempt_itself_says_something() {
        let advice = |advice, own| match judge().weigh(failed("no", advice), None, own) {
            End::Failed { advice, .. } => advice,
            other => panic!("{other:?}"),
        };
        assert_eq!(advice(Advice::ByPolicy, OWN), Advice::After(MINUTE));
        assert_eq!(advice(Advice::ByPolicy, NO_WORD), Advice::ByPolicy);
        assert_eq!(advice(Advice::Never, OWN), Advice::Never);
        assert_eq!(advice(Advice::After(2 * MINUTE), OWN), Advice::After(2 * MINUTE));
    }

    #[test]
    fn a_stop_for_the_timeout_is_a_failed_attempt_and_no_interruption() {
        let stopped = |reason, own| judge().weigh(End::Interrupted { reason }, Some(reason), own);
        let timed_out = |advice| End::TimedOut { limit: MINUTE, advice, error: None };
        assert_eq!(stopped(StopReason::Timeout, OWN), timed_out(Advice::After(MINUTE)));
        assert_eq!(stopped(StopReason::Timeout, NO_WORD), timed_out(Advice::ByPolicy));
        let reason = StopReason::Shutdown;
        assert_eq!(stopped(reason, NO_WORD), End::Interrupted { reason });
        assert_eq!(stopped(reason, OWN), End::HeldBack { reason, delay: Duration::from_secs(90) });
        assert_eq!(judge().times_out_at(MINUTE), Some(2 * MINUTE));
        assert_eq!(judge().times_out_at(Duration::MAX), Some(Duration::MAX));
    }

    #[test]
    fn an_error_after_the_timeout_keeps_its_advice_and_what_there_is_room_for_of_its_text() {
        let weigh = |end| judge().weigh(end, Some(StopReason::Timeout), OWN);
        let End::TimedOut { limit, advice: Advice::Never, error } = weigh(failed(&"x".repeat(60), Advice::Never))
        else {
            panic!("it took too long")
        };
        let whole = ErrorText::timed_out(limit, error);
        assert!(whole.sources[0].starts_with("xx"), "{whole}");
        assert_eq!(whole.message.len() + whole.sources[0].len(), 60);
        let panicked = End::Failed { error: ErrorText::panic("oh"), advice: Advice::ByPolicy };
        assert!(matches!(weigh(panicked), End::Failed { .. }), "a panic says more than that it took too long");
    }

    #[test]
    fn what_an_attempt_gives_is_held_to_its_limits() {
        let weigh = |end| judge().weigh(end, None, NO_WORD);
        let output = |size| End::Succeeded { output: Payload::new(Codec::JSON, vec![b'1'; size]) };
        assert_eq!(weigh(output(4)), output(4));
        let End::Failed { error, advice: Advice::ByPolicy } = weigh(output(5)) else { panic!("it is too large") };
        assert!(error.message.contains("\"worker\" has 5 bytes, the limit is 4"), "{error}");
        let End::Failed { error, .. } = weigh(failed(&"x".repeat(61), Advice::Never)) else { panic!("it failed") };
        assert_eq!(error.message.len(), 60);
    }
}
