//! What happens after a failed attempt, a death, or when a name is taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::WorkId;

/// How the delay grows from one failed attempt to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackoffPolicy {
    /// The delay times the number of failed attempts.
    Linear,
    /// The delay doubled for each failed attempt after the first.
    Exponential,
    /// What the worker's own function says (`#[worker(backoff_fn = ..)]`) for each failed attempt, no more than the ceiling and
    /// less the jitter. Where that function can't be asked, for the wait of a suspect and in a build that lacks it, exponential.
    Custom,
}

/// How long to wait after a failed attempt, measured from its end.
///
/// With `n` failed attempts so far, linear is `delay × n` and exponential is `delay × 2^(n-1)`, neither above the ceiling
/// (WorkManager's rule BO-2, computed exactly instead of in 32-bit floats). The default is exponential from 30 s, which gives
/// 30 s, 60 s, 2 min, 4 min … up to 5 h, without jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Backoff {
    policy: BackoffPolicy,
    delay: Duration,
    ceiling: Duration,
    jitter: u8,
}

impl Backoff {
    /// The delay after the first failed attempt unless a request says otherwise.
    pub const DEFAULT_DELAY: Duration = Duration::from_secs(30);
    /// No delay grows above this unless a request says otherwise: 5 hours.
    pub const DEFAULT_CEILING: Duration = Duration::from_secs(5 * 3600);

    /// `delay × n`.
    #[must_use]
    pub const fn linear(delay: Duration) -> Self {
        Self::new(BackoffPolicy::Linear, delay)
    }

    /// `delay × 2^(n-1)`.
    #[must_use]
    pub const fn exponential(delay: Duration) -> Self {
        Self::new(BackoffPolicy::Exponential, delay)
    }

    /// This growth from this delay, up to the default ceiling.
    #[must_use]
    pub const fn new(policy: BackoffPolicy, delay: Duration) -> Self {
        Backoff { policy, delay, ceiling: Self::DEFAULT_CEILING, jitter: 0 }
    }

    /// Shortens each delay by a random part of up to `percent` of it, so that what failed together is not tried again
    /// together. A request with more than 100 is refused. 50 is what is called equal jitter and 100 full jitter in
    /// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>. The part follows from the id of the
    /// work and the attempt, so it is the same whenever it is computed.
    #[must_use]
    pub const fn jitter(mut self, percent: u8) -> Self {
        self.jitter = percent;
        self
    }

    pub(crate) const fn with_policy(mut self, policy: BackoffPolicy) -> Self {
        self.policy = policy;
        self
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

    /// By how many percent a delay may be shortened.
    #[must_use]
    pub const fn jitter_percent(&self) -> u8 {
        self.jitter
    }

    /// The wait after the `failures`-th failed attempt, before any jitter; none after none.
    #[must_use]
    pub fn delay_after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = match self.policy {
            BackoffPolicy::Linear => failures,
            BackoffPolicy::Exponential | BackoffPolicy::Custom => 1_u32.checked_shl(doublings).unwrap_or(u32::MAX),
        };
        self.delay.saturating_mul(factor).min(self.ceiling)
    }

    /// The wait of this work after its `failures`-th failed attempt, in whole milliseconds.
    #[must_use]
    pub fn delay_of(&self, id: WorkId, failures: u32) -> Duration {
        self.less_jitter(self.delay_after(failures), id, failures)
    }

    /// The wait of this work where its worker's own function says this much, in whole milliseconds as all that is stored.
    pub(crate) fn own_delay_of(&self, id: WorkId, failures: u32, said: Duration) -> Duration {
        self.less_jitter(said.min(self.ceiling), id, failures)
    }

    fn less_jitter(&self, delay: Duration, id: WorkId, failures: u32) -> Duration {
        let most = delay.as_millis() * u128::from(self.jitter.min(100)) / 100;
        let part = u128::from(mix(id, failures)) * most / u128::from(u64::MAX);
        delay.saturating_sub(Duration::from_millis(u64::try_from(part).unwrap_or(u64::MAX)))
    }

    /// The waits after the first failed attempt, the second and so on, before any jitter.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        let backoff = *self;
        (1..=u32::MAX).map(move |failures| backoff.delay_after(failures))
    }
}

/// A number that looks random and follows from the work and the attempt: the finalizer of SplitMix64
/// (<https://prng.di.unimi.it/splitmix64.c>) over both.
fn mix(id: WorkId, failures: u32) -> u64 {
    let bits = id.as_u128();
    let step = |state: u64, word: u64| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let words = [u64::try_from(bits >> 64).unwrap_or(0), u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)];
    step(words.into_iter().fold(0, step), u64::from(failures))
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Self::DEFAULT_DELAY)
    }
}

/// What to do when work is enqueued under a unique name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[doc(alias("conflict", "uniqueness"))]
pub enum ExistingWorkPolicy {
    /// The old work stays and the new request is dropped, if any old work is enqueued or running. If none is, all of the old is
    /// deleted and the new takes the name. If none of the old could even begin (it is parked, since its input does not decode or what
    /// it takes is too large, or it waits for such work), the old stays, and the new takes the name:
    /// [`Enqueued::Superseded`](crate::Enqueued::Superseded).
    Keep,
    /// The old work is stopped and deleted, and the new takes the name.
    Replace,
    /// The new work waits for all of the old that nothing waits for yet. If any of that has failed, or was cancelled, the new
    /// work is stored as failed or cancelled at once, and so is everything appended later, until it is pruned: mostly
    /// [`AppendOrReplace`](Self::AppendOrReplace) is what is wanted. Where none of the old could even begin, as with
    /// [`Keep`](Self::Keep).
    Append,
    /// As [`Append`](Self::Append), but where some of the old has failed or was cancelled, all of the old goes and the new
    /// takes the name.
    AppendOrReplace,
}

/// What to do when periodic work is enqueued under a unique name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExistingPeriodicWorkPolicy {
    /// The old work stays as it is and the new request is dropped, if the old is enqueued or running. Old work that has finished
    /// (a schedule ends by being cancelled) is deleted, and the new takes the name. If the old could not even begin, it stays too and
    /// the new takes the name: [`Enqueued::Superseded`](crate::Enqueued::Superseded).
    Keep,
    /// The old work keeps its id, its place in the period and its counters, and takes everything else from the request. It keeps
    /// its turn too, unless it is to wait for another time or has another worker or other constraints. The policy to use at
    /// every start of a program.
    Update,
    /// The old work is stopped and deleted and the period starts anew. A program that says this at every start
    /// starts the period anew at every start, and a long period may never be reached; nor may its turn, since the new work goes
    /// to the end of the line. Use [`Update`](Self::Update) there.
    CancelAndReenqueue,
}

impl ExistingPeriodicWorkPolicy {
    /// The old name of [`CancelAndReenqueue`](Self::CancelAndReenqueue).
    #[expect(non_upper_case_globals, reason = "it stands for a variant and is written like one")]
    pub const Replace: Self = Self::CancelAndReenqueue;
}

/// What happens to expedited work when the budget of run time for such work is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfQuotaPolicy {
    /// It runs as ordinary work.
    RunAsNonExpeditedWorkRequest,
    /// It is cancelled, with all that depends on it.
    DropWorkRequest,
}

/// How the outputs of prerequisites, each a JSON object, are merged with the input of a work.
///
/// The work's own input comes first, then the outputs of its direct prerequisites in the order of their declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputMerger {
    /// Of one key, the last value counts.
    Overwriting,
    /// Of one key, all values are put into an array: a scalar counts as an array of one, arrays are joined. Values of different
    /// types under one key can't be merged; null counts as a string.
    ArrayCreating,
}

/// What happens to work that was interrupted by the system: a constraint was lost, or more important work came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInterruption {
    /// It runs again as soon as it may.
    #[default]
    RunAgain,
    /// It waits for its backoff first, as if the attempt had failed.
    BackOff,
}

/// What a death of the process does to the work that was running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias("visibility_timeout", "poison_pill", "dead_letter"))]
pub enum OnDeath {
    /// It runs again; after too many deaths it is parked as poisoned and waits for `retry`.
    #[default]
    Park,
    /// The first death fails it: for work that must never run twice.
    Fail,
}

/// In what stretch of time expedited work has its budget of run time.
pub const EXPEDITED_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Deaths after which a work is a suspect: it waits for its backoff and runs with no other suspect.
pub const DEATHS_TO_SUSPECT: u32 = 2;

/// Deaths as the sole suspect after which a work is parked as poisoned.
pub const DEATHS_AS_SUSPECT: u32 = 5;

/// How long a work waits after a run that was stopped for a lost constraint. It doubles with each such run in a row.
pub const FIRST_FLAP: Duration = Duration::from_secs(5);

/// No work waits longer than this for a constraint that comes and goes.
pub const LONGEST_FLAP: Duration = Duration::from_secs(5 * 60);

/// The least that a work waits that asks itself for its next run and may do so without end: nothing spins through the store.
pub const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// How long a work waits once so many runs in a row were stopped for a lost constraint.
#[must_use]
pub(crate) fn pause_after_flaps(flaps: u32) -> Duration {
    Backoff::exponential(FIRST_FLAP).ceiling(LONGEST_FLAP).delay_after(flaps)
}

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
