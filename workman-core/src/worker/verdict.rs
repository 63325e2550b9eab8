//! The verdict over an [`Ending`]: what an attempt came to, and what that is worth.
//!
//! There is this one, for the runs of a manager, for those that it had to give up, and for a worker that is tested alone.

use std::time::Duration;

use super::context::{Attempt, Circumstances, Fate, Stopped};
use super::{Role, Unstorable};
use crate::data::Payload;
use crate::limits::Limits;
use crate::plan::{Advice, End};
use crate::record::ErrorText;
use crate::state::StopReason;

/// How a run came to its end.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Its worker answered so.
    Answered(End),
    /// Its worker panicked with this.
    Panicked(ErrorText),
    /// Its worker did not come to an answer: it was not begun, or was given up.
    Cut(End),
}

impl Attempt {
    /// What is to be settled.
    pub(crate) fn verdict(&self, ending: Ending) -> End {
        let unreadable = match &ending {
            Ending::Answered(End::Succeeded { output }) => self.read_back(Role::Output, output).err(),
            _ => None,
        };
        let ending = unreadable.map_or(ending, Ending::Answered);
        let judge = Judge { worker: &self.worker, timeout: self.timeout, limits: &self.limits };
        judge.weigh(ending, self.circumstances())
    }

    /// Reads back what the worker gave, or would give if it ended now, if it is one of those values that are.
    ///
    /// # Errors
    /// What the attempt ends with if nobody could read it.
    pub(super) fn read_back(&self, role: Role, output: &Payload) -> Result<(), End> {
        if role == Role::Output && self.output == Fate::Discarded {
            return Ok(());
        }
        let read = self.read_back.check(self.def, role, || (self.def.reads_output)(output));
        read.map_err(|error| Unstorable { worker: self.worker.to_string(), error }.into_end())
    }

    /// How it ends if it does not stop by itself.
    pub(crate) fn given_up(&self) -> End {
        if self.is_stopped_unbegun() {
            return End::NotBegun;
        }
        End::Interrupted { reason: self.stop_reason().unwrap_or(StopReason::Shutdown) }
    }

    /// When it has taken too long if it begins now, on the monotonic clock.
    pub(crate) fn times_out_at(&self, now: Duration) -> Option<Duration> {
        self.timeout.map(|timeout| now.saturating_add(timeout))
    }
}

/// By what an end is judged: limits, and the terms of the work as they were when it was claimed.
struct Judge<'a> {
    worker: &'a str,
    /// How long the attempt may take.
    timeout: Option<Duration>,
    limits: &'a Limits,
}

impl Judge<'_> {
    fn weigh(&self, ending: Ending, now: Circumstances) -> End {
        let own = now.own_waits;
        let advice = |advice| match (advice, own.failed) {
            (Advice::ByPolicy, Some(delay)) => Advice::ByFunction(delay),
            (advice, _) => advice,
        };
        let limit = self.timeout.filter(|_| now.stop == Some(StopReason::Timeout));
        match (heard(ending, now), limit, own.interrupted) {
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

    fn within_limits(&self, end: End) -> End {
        let limits = self.limits;
        match end {
            End::Succeeded { output } if output.len() > limits.payload => {
                let (worker, size, limit) = (self.worker, output.len(), limits.payload);
                failed(format!(
                    "the output of worker \"{worker}\" has {size} bytes, the limit is {limit}; see `Limits::payload`"
                ))
            }
            End::Failed { error, advice } => End::Failed { error: error.within(limits.error_text), advice },
            end => end,
        }
    }
}

/// What was said, in view of the stop. Once a worker was told to stop, any error says no more than that it did. What ran too long
/// has failed by that, whether it looked or not, so there an error of its own stays what it is.
fn heard(ending: Ending, Circumstances { stop, told, .. }: Circumstances) -> End {
    match (ending, stop) {
        (Ending::Answered(End::Interrupted { .. }), Some(reason)) => End::Interrupted { reason },
        // Nobody stopped this run. As an interruption it would cost the work nothing, and be said again and again.
        (Ending::Answered(End::Interrupted { reason }), None) => failed(Stopped { reason }.to_string()),
        (Ending::Answered(end @ End::Failed { .. }), Some(StopReason::Timeout)) => end,
        // It has done what it was to do, and would do it twice.
        (Ending::Answered(end @ End::Failed { advice: Advice::Unstorable, .. }), _) => end,
        (Ending::Answered(End::Failed { .. }), Some(reason)) if told => End::Interrupted { reason },
        (Ending::Answered(end) | Ending::Cut(end), _) => end,
        (Ending::Panicked(error), _) => End::Failed { error, advice: Advice::ByPolicy },
    }
}

fn failed(text: String) -> End {
    End::Failed { error: ErrorText::new(text), advice: Advice::ByPolicy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Codec;
    use crate::worker::OwnWaits;
    use crate::worker::{NoteError, Outcome, WorkError};

    const MINUTE: Duration = Duration::from_secs(60);
    const OWN: OwnWaits = OwnWaits { failed: Some(MINUTE), interrupted: Some(Duration::from_secs(90)) };
    const NO_WORD: OwnWaits = OwnWaits { failed: None, interrupted: None };

    fn weigh(ending: Ending, now: Circumstances) -> End {
        let mut limits = Limits::default();
        (limits.payload, limits.error_text) = (4, 60);
        Judge { worker: "worker", timeout: Some(MINUTE), limits: &limits }.weigh(ending, now)
    }

    fn unstopped(own_waits: OwnWaits) -> Circumstances {
        Circumstances { own_waits, ..Circumstances::default() }
    }

    fn told(reason: StopReason, own_waits: OwnWaits) -> Circumstances {
        Circumstances { stop: Some(reason), told: true, own_waits }
    }

    fn failed(text: &str, advice: Advice) -> Ending {
        Ending::Answered(End::Failed { error: ErrorText::new(text), advice })
    }

    /// How a worker ends that returns this error.
    fn returned(error: impl Into<WorkError>) -> Ending {
        Ending::Answered(Outcome::<()>::Failed(error.into()).end("worker"))
    }

    fn timed_out(advice: Advice) -> End {
        End::TimedOut { limit: MINUTE, advice, error: None }
    }

    #[test]
    fn bo_2_what_the_workers_own_function_said_counts_unless_the_attempt_itself_says_something() {
        let advice = |advice, own| match weigh(failed("no", advice), unstopped(own)) {
            End::Failed { advice, .. } => advice,
            other => panic!("{other:?}"),
        };
        assert_eq!(advice(Advice::ByPolicy, OWN), Advice::ByFunction(MINUTE));
        assert_eq!(advice(Advice::ByPolicy, NO_WORD), Advice::ByPolicy);
        assert_eq!(advice(Advice::Never, OWN), Advice::Never);
        assert_eq!(advice(Advice::After(2 * MINUTE), OWN), Advice::After(2 * MINUTE));
    }

    #[test]
    fn a_stop_for_the_timeout_is_a_failed_attempt_and_no_interruption() {
        for end in [Ending::Answered, Ending::Cut] {
            let stopped = |reason, own| weigh(end(End::Interrupted { reason }), told(reason, own));
            assert_eq!(stopped(StopReason::Timeout, OWN), timed_out(Advice::ByFunction(MINUTE)));
            assert_eq!(stopped(StopReason::Timeout, NO_WORD), timed_out(Advice::ByPolicy));
            let reason = StopReason::Shutdown;
            assert_eq!(stopped(reason, NO_WORD), End::Interrupted { reason });
            assert_eq!(stopped(reason, OWN), End::HeldBack { reason, delay: Duration::from_secs(90) });
        }
    }

    #[test]
    fn an_error_after_the_timeout_keeps_its_advice_and_what_there_is_room_for_of_its_text() {
        let weigh = |end| weigh(end, told(StopReason::Timeout, OWN));
        let End::TimedOut { limit, advice: Advice::Never, error } = weigh(failed(&"x".repeat(60), Advice::Never))
        else {
            panic!("it took too long")
        };
        let whole = ErrorText::timed_out(limit, error);
        assert!(whole.sources[0].starts_with("xx"), "{whole}");
        assert_eq!(whole.message.len() + whole.sources[0].len(), 60);
        let panicked = Ending::Panicked(ErrorText::panic("oh"));
        assert!(matches!(weigh(panicked), End::Failed { .. }), "a panic says more than that it took too long");
    }

    #[test]
    fn what_an_attempt_gives_is_held_to_its_limits() {
        let weigh = |end| weigh(end, unstopped(NO_WORD));
        let output = |size| End::Succeeded { output: Payload::new(Codec::JSON, vec![b'1'; size]) };
        assert_eq!(weigh(Ending::Answered(output(4))), output(4));
        let End::Failed { error, advice: Advice::ByPolicy } = weigh(Ending::Answered(output(5))) else {
            panic!("it is too large")
        };
        assert!(error.message.contains("\"worker\" has 5 bytes, the limit is 4"), "{error}");
        for ending in [failed(&"x".repeat(61), Advice::Never), Ending::Panicked(ErrorText::panic("x".repeat(61)))] {
            let End::Failed { error, .. } = weigh(ending) else { panic!("it failed") };
            assert_eq!(error.message.len(), 60);
        }
    }

    #[test]
    fn an_error_that_passes_a_stop_on_adds_nothing_to_it_and_one_with_words_of_its_own_does() {
        let reason = StopReason::Timeout;
        let (stopped, weigh) = (Stopped { reason }, |ending| weigh(ending, told(reason, NO_WORD)));
        assert_eq!(weigh(returned(stopped)), timed_out(Advice::ByPolicy));
        assert_eq!(weigh(returned(NoteError::Stopped(stopped))), timed_out(Advice::ByPolicy));
        // The same text, but from somebody who means something by it.
        for (error, said) in [
            (WorkError::from(stopped.to_string()), Advice::ByPolicy),
            (WorkError::permanent(stopped), Advice::Never),
            (WorkError::retry_after(MINUTE).because(stopped), Advice::After(MINUTE)),
            (WorkError::from(stopped).because("half of it is done"), Advice::ByPolicy),
        ] {
            let End::TimedOut { advice, error: Some(_), .. } = weigh(returned(error)) else {
                panic!("it took too long")
            };
            assert_eq!(advice, said);
        }
    }

    #[test]
    fn after_any_other_stop_an_error_is_an_interruption_if_its_worker_was_told_and_a_panic_never_is() {
        let reason = StopReason::ConstraintCharging;
        let other = Stopped { reason: StopReason::Quota };
        let told = told(reason, NO_WORD);
        for error in [WorkError::permanent("gone"), "plain".into(), other.into(), WorkError::retry_after(MINUTE)] {
            assert_eq!(weigh(returned(error), told), End::Interrupted { reason });
        }
        let done = failed("nobody can read it", Advice::Unstorable);
        assert!(matches!(weigh(done, told), End::Failed { .. }), "it would be done twice");
        let untold = Circumstances { told: false, ..told };
        assert!(matches!(weigh(returned("plain"), untold), End::Failed { .. }));
        assert!(matches!(weigh(Ending::Panicked(ErrorText::panic("oh")), told), End::Failed { .. }));
    }

    #[test]
    fn a_stop_that_nobody_asked_for_is_a_failed_attempt() {
        for reason in [StopReason::Timeout, StopReason::StoreUnavailable, StopReason::Shutdown] {
            let End::Failed { error, advice: Advice::ByPolicy } =
                weigh(returned(Stopped { reason }), unstopped(NO_WORD))
            else {
                panic!("nobody stopped it")
            };
            assert!(error.message.starts_with("the run was stopped: "), "{error}");
            assert_eq!(
                weigh(Ending::Cut(End::Interrupted { reason }), unstopped(NO_WORD)),
                End::Interrupted { reason },
                "what did not even begin has not failed"
            );
        }
    }
}
