//! What happens after a failed attempt, a death, or when a name is taken.

use std::time::Duration;

/// How the delay grows from one failed attempt to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackoffPolicy {
    /// The delay times the number of failed attempts.
    Linear,
    /// The delay doubled for each failed attempt after the first.
    Exponential,
}

/// How long to wait after a failed attempt, measured from its end.
///
/// With `n` failed attempts so far, linear is `delay × n` and exponential is `delay × 2^(n-1)`, neither above the ceiling
/// (WorkManager's rule BO-2, computed exactly instead of in 32-bit floats). The default is exponential from 30 s, which gives
/// 30 s, 60 s, 2 min, 4 min … up to 5 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backoff {
    policy: BackoffPolicy,
    delay: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// The delay after the first failed attempt unless a request says otherwise.
    pub const DEFAULT_DELAY: Duration = Duration::from_secs(30);
    /// No delay grows above this unless a request says otherwise: 5 hours.
    pub const DEFAULT_CEILING: Duration = Duration::from_secs(5 * 3600);

    /// `delay × n`.
    #[must_use]
    pub const fn linear(delay: Duration) -> Self {
        Backoff { policy: BackoffPolicy::Linear, delay, ceiling: Self::DEFAULT_CEILING }
    }

    /// `delay × 2^(n-1)`.
    #[must_use]
    pub const fn exponential(delay: Duration) -> Self {
        Backoff { policy: BackoffPolicy::Exponential, delay, ceiling: Self::DEFAULT_CEILING }
    }

    /// No delay grows above `ceiling`.
    #[must_use]
    pub const fn ceiling(mut self, ceiling: Duration) -> Self {
        self.ceiling = ceiling;
        self
    }

    /// How the delay grows.
    #[must_use]
    pub const fn policy(&self) -> BackoffPolicy {
        self.policy
    }

    /// The delay after the first failed attempt.
    #[must_use]
    pub const fn first_delay(&self) -> Duration {
        self.delay
    }

    /// What no delay grows above.
    #[must_use]
    pub const fn max_delay(&self) -> Duration {
        self.ceiling
    }

    /// The wait after the `failures`-th failed attempt; none after none.
    #[must_use]
    pub fn delay_after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = match self.policy {
            BackoffPolicy::Linear => failures,
            BackoffPolicy::Exponential => 1_u32.checked_shl(doublings).unwrap_or(u32::MAX),
        };
        self.delay.saturating_mul(factor).min(self.ceiling)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Self::DEFAULT_DELAY)
    }
}

/// What to do when work is enqueued under a unique name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExistingWorkPolicy {
    /// The old work stays and the new request is dropped, if any old work is enqueued or running.
    Keep,
    /// The old work is stopped and deleted, and the new takes the name.
    Replace,
}

/// What to do when periodic work is enqueued under a unique name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExistingPeriodicWorkPolicy {
    /// The old work stays as it is.
    Keep,
    /// The old work keeps its id, its place in the period and its counters, and takes everything else from the request.
    /// The policy to use at every start of a program.
    Update,
    /// The old work is stopped and deleted and the period starts anew. A program that says this at every start
    /// starts the period anew at every start, and a long period may never be reached; use [`Update`](Self::Update) there.
    Replace,
}

/// What a death of the process does to the work that was running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnDeath {
    /// It runs again; after too many deaths it is parked as poisoned and waits for `retry`.
    #[default]
    Park,
    /// The first death fails it: for work that must never run twice.
    Fail,
}

/// Deaths after which a work is a suspect: it waits for its backoff and runs with no other suspect.
pub const DEATHS_TO_SUSPECT: u32 = 2;

/// Deaths as the sole suspect after which a work is parked as poisoned.
pub const DEATHS_AS_SUSPECT: u32 = 5;

/// Failed attempts after which a work fails for good, unless its worker or request says otherwise.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bo_2_and_bo_3_the_default_doubles_from_thirty_seconds_to_five_hours() {
        let minutes = |n| Backoff::default().delay_after(n).as_secs_f64() / 60.0;
        let delays: Vec<f64> = (0..=12).map(minutes).collect();
        assert_eq!(delays, [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]);
        assert_eq!(Backoff::default().delay_after(u32::MAX), Backoff::DEFAULT_CEILING);
    }

    #[test]
    fn bo_2_linear_grows_by_its_delay_up_to_the_ceiling() {
        let backoff = Backoff::linear(Duration::from_secs(10)).ceiling(Duration::from_secs(25));
        let seconds: Vec<u64> = (0..5).map(|n| backoff.delay_after(n).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 25, 25]);
    }
}
