//! Whether what a request says of times, attempts and urgency makes sense. Android's minimums are applied here, if wanted.

use std::time::Duration;

use super::error::RequestError;
use super::parts::RequestParts;
use crate::constraints::ConstraintKind;
use crate::limits::{Limits, WorkManagerLimits};
use crate::plan::{NextScheduleTime, UniquePolicy};
use crate::policy::{Backoff, ExistingPeriodicWorkPolicy};
use crate::record::{Schedule, Terms};
use crate::time::{Timestamp, in_whole_millis};

impl RequestParts {
    /// Durations become whole milliseconds here, so that every store keeps the same.
    pub(super) fn checked_terms(&self, limits: &Limits, now: Timestamp) -> Result<Terms, RequestError> {
        let terms = Terms {
            initial_delay: in_whole_millis(self.terms.initial_delay),
            backoff: self.raised_backoff(&limits.minimums),
            timeout: self.terms.timeout.map(in_whole_millis),
            retention: in_whole_millis(self.terms.retention),
            schedule: self.checked_schedule(&limits.minimums)?,
            ..self.terms.clone()
        };
        if terms.max_attempts == Some(0) {
            return Err(RequestError::NoAttempts { worker: self.worker() });
        }
        if terms.timeout == Some(Duration::ZERO) {
            return Err(RequestError::NoTimeout { worker: self.worker() });
        }
        self.check_backoff(terms.backoff)?;
        self.check_range(&terms, now)?;
        self.check_backoff_when_idle()?;
        self.check_expedited()?;
        self.check_override_comes(&terms.schedule)?;
        Ok(terms)
    }

    /// PER-6: a policy that starts the period anew would drop the period that the override belongs to, so upstream refuses the
    /// pair, and so does this.
    pub(crate) fn check_override(&self, policy: UniquePolicy) -> Result<(), RequestError> {
        let replaces = policy == UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::CancelAndReenqueue);
        match self.next_schedule_time {
            NextScheduleTime::At(_) if replaces => Err(RequestError::OverrideReplaced { worker: self.worker() }),
            _ => Ok(()),
        }
    }

    /// The last moment that there is never comes, and an interval before it, a period can't end any more.
    fn check_override_comes(&self, schedule: &Schedule) -> Result<(), RequestError> {
        if self.terms.run_at == Timestamp::MAX {
            return Err(RequestError::RunsNever { worker: self.worker() });
        }
        match self.next_schedule_time {
            NextScheduleTime::At(at) if at + schedule.interval().unwrap_or_default() == Timestamp::MAX => {
                Err(RequestError::OverrideNever { worker: self.worker() })
            }
            _ => Ok(()),
        }
    }

    fn checked_schedule(&self, minimums: &WorkManagerLimits) -> Result<Schedule, RequestError> {
        let (interval, flex) = match (self.periodic, &self.terms.schedule) {
            (true, Schedule::Every { interval, flex }) => self.raised_period(*interval, *flex, minimums),
            (false, Schedule::Once) => return Ok(Schedule::Once),
            _ => return Err(RequestError::NoInterval { worker: self.worker() }),
        };
        if interval.is_zero() {
            Err(RequestError::NoInterval { worker: self.worker() })
        } else if flex.is_zero() || flex > interval {
            Err(RequestError::Flex { worker: self.worker(), flex, interval })
        } else {
            Ok(Schedule::every(interval).flex(flex))
        }
    }

    /// A flex that is all of the period stays all of it.
    fn raised_period(&self, interval: Duration, flex: Duration, minimums: &WorkManagerLimits) -> (Duration, Duration) {
        let asked = (in_whole_millis(interval), in_whole_millis(flex));
        let interval = asked.0.max(minimums.interval);
        let flex = match asked.1 {
            flex if flex == asked.0 => interval,
            flex if minimums.flex.is_zero() => flex,
            flex => flex.max(minimums.flex).min(interval),
        };
        if interval != asked.0 {
            self.warn_of_minimum("interval", asked.0, interval);
        }
        if flex != asked.1 && asked.0 != asked.1 {
            self.warn_of_minimum("flex", asked.1, flex);
        }
        (interval, flex)
    }

    fn raised_backoff(&self, minimums: &WorkManagerLimits) -> Backoff {
        let asked = whole_backoff(self.terms.backoff);
        let least = asked.first_delay().min(asked.max_delay());
        if least >= minimums.backoff {
            return asked;
        }
        self.warn_of_minimum("backoff", least, minimums.backoff);
        let delay = asked.first_delay().max(minimums.backoff);
        let raised = Backoff::new(asked.policy(), delay).jitter(asked.jitter_percent());
        raised.ceiling(asked.max_delay().max(minimums.backoff))
    }

    /// Without a pause, work that fails would do nothing but fail.
    fn check_backoff(&self, backoff: Backoff) -> Result<(), RequestError> {
        let worker = || self.worker();
        match (backoff.first_delay(), backoff.max_delay(), backoff.jitter_percent()) {
            (Duration::ZERO, ..) => Err(RequestError::NoBackoff { worker: worker(), field: "delay" }),
            (_, Duration::ZERO, _) => Err(RequestError::NoBackoff { worker: worker(), field: "ceiling" }),
            (.., percent @ 101..) => Err(RequestError::Jitter { worker: worker(), percent }),
            _ => Ok(()),
        }
    }

    fn warn_of_minimum(&self, field: &str, asked: Duration, taken: Duration) {
        tracing::warn!(
            worker = &*self.worker(),
            field,
            ?asked,
            ?taken,
            "a request asks for what `Limits::minimums` does not allow; the nearest that is allowed is taken"
        );
    }

    /// Times saturate, so what reaches the last moment would never come.
    fn check_range(&self, terms: &Terms, now: Timestamp) -> Result<(), RequestError> {
        let first = terms.initial_delay.saturating_add(terms.schedule.first_offset());
        let lengths = [
            ("initial_delay", terms.initial_delay, first),
            ("interval", terms.schedule.interval().unwrap_or_default(), terms.schedule.interval().unwrap_or_default()),
            ("keep_results_for_at_least", terms.retention, terms.retention),
            ("timeout", terms.timeout.unwrap_or_default(), terms.timeout.unwrap_or_default()),
        ];
        match lengths.into_iter().find(|(_, _, reach)| now + *reach == Timestamp::MAX) {
            Some((field, length, _)) => Err(RequestError::TooLong { worker: self.worker(), field, length }),
            None => Ok(()),
        }
    }

    /// Work that waits for an idle machine is started by the machine's own rhythm, which a backoff would fight.
    fn check_backoff_when_idle(&self) -> Result<(), RequestError> {
        if self.own_backoff && self.constraints.requires(ConstraintKind::DeviceIdle) {
            return Err(RequestError::BackoffWhenIdle { worker: self.worker() });
        }
        Ok(())
    }

    /// Somebody waits for expedited work now, so it can't wait for a charger, or for later.
    fn check_expedited(&self) -> Result<(), RequestError> {
        if self.terms.expedited.is_none() {
            return Ok(());
        }
        let may_wait_for = |kind| matches!(kind, ConstraintKind::Network | ConstraintKind::StorageNotLow);
        if let Some(kind) = self.constraints.kinds().find(|kind| !may_wait_for(*kind)) {
            return Err(RequestError::ExpeditedConstraint { worker: self.worker(), kind });
        }
        if !self.terms.initial_delay.is_zero() || self.terms.run_at > Timestamp::MIN {
            return Err(RequestError::ExpeditedDelay { worker: self.worker() });
        }
        Ok(())
    }
}

pub(super) fn whole_backoff(backoff: Backoff) -> Backoff {
    let delay = in_whole_millis(backoff.first_delay());
    let rounded = Backoff::new(backoff.policy(), delay).jitter(backoff.jitter_percent());
    rounded.ceiling(in_whole_millis(backoff.max_delay()))
}
