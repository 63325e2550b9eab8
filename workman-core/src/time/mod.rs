//! The one door through which time enters: [`Timestamp`], the [`Clock`] trait and the [`SystemClock`].
//!
//! Nothing else in workman reads a clock or sleeps (`clippy.toml` bans it), so a test that brings a virtual
//! clock has brought all the time there is. The planner gets its `now` passed in.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use futures::future::BoxFuture;

mod due;
mod spoken;
mod system;

pub use due::{Due, NextDue};
pub(crate) use spoken::Spoken;
pub use system::SystemClock;

/// No sleep until something shall happen is trusted for longer than this: monotonic clocks stand still while a machine is
/// suspended, so a sleeper looks at the wall clock again at least this often.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The same for what nobody waits for: the deletion of finished work. After a suspend it comes later by this much at the most.
pub const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// A moment, in whole milliseconds since the Unix epoch (UTC).
///
/// Times inside a store are *store time*: the wall clock plus an offset that keeps it from ever running backwards, and from
/// jumping when a clock that was behind is set right. As long as nobody sets the clock back the two are the same; times that are
/// shown to people are always those of the wall clock. All arithmetic saturates.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment there is.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest moment there is; nothing due then ever runs.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// The moment that lies `ms` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Timestamp(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment so many milliseconds later, or earlier if they are negative.
    #[must_use]
    pub const fn shifted(self, ms: i64) -> Self {
        Timestamp(self.0.saturating_add(ms))
    }

    /// How long it is from `earlier` to this moment; zero when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        let ms = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_millis(u64::try_from(ms.max(0)).unwrap_or(u64::MAX))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, length: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(whole_millis(length)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, length: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(whole_millis(length)))
    }
}

impl From<SystemTime> for Timestamp {
    /// The millisecond in which the moment lies. What lies beyond the range becomes [`MIN`](Timestamp::MIN) or
    /// [`MAX`](Timestamp::MAX).
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use workman_core::Timestamp;
    ///
    /// assert_eq!(Timestamp::from(UNIX_EPOCH + Duration::from_micros(1_999)), Timestamp::from_millis(1));
    /// assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_micros(1_999)), Timestamp::from_millis(-2));
    /// ```
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => Timestamp::default() - before.duration(),
        }
    }
}

/// The number, and what it means.
impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({}, {self})", self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.div_euclid(86_400_000);
        let ms = self.0.rem_euclid(86_400_000);
        let (year, month, day) = civil_from_days(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1000 % 60,
            ms % 1000
        )
    }
}

/// Rounds up, so that nothing is ever due before the stated delay has passed.
fn whole_millis(length: Duration) -> i64 {
    let ms = length.as_millis();
    let ms = if length.subsec_nanos().is_multiple_of(1_000_000) { ms } else { ms + 1 };
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Rounded up, so that no delay gets shorter, and every store keeps the same.
pub(crate) fn in_whole_millis(length: Duration) -> Duration {
    let part = u64::from(length.subsec_nanos().div_ceil(1_000_000));
    let whole = length.as_secs().checked_mul(1000).and_then(|ms| ms.checked_add(part));
    Duration::from_millis(whole.unwrap_or(u64::MAX))
}

/// Days since 1970-01-01 to year, month, day: the proleptic Gregorian calendar by Howard Hinnant's
/// `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// What both hands of a clock have said at one moment.
///
/// Neither tells enough: the wall clock may be set, and the monotonic one knows no date and stands still in suspend. By two
/// readings of both a store sees how far the wall clock was set in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What the wall clock said.
    pub wall: Timestamp,
    /// What the monotonic clock said.
    pub monotonic: Duration,
}

/// Where workman gets its time from: [`SystemClock`] in production, a virtual clock in tests.
///
/// A clock has two hands, since they answer different questions: the wall clock says *when*, the monotonic clock *how
/// long*. It also owns the sleeping, so that a virtual clock can move it.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. It may jump either way.
    fn wall(&self) -> Timestamp;

    /// Time since some fixed point, never running backwards. It may stand still while the machine is suspended. All clocks by
    /// which one opening of a store is used should count from the same point, or they are taken for clocks that were set.
    fn monotonic(&self) -> Duration;

    /// Both hands at one moment.
    fn read(&self) -> Reading {
        // In this order: a thread that has to wait in between comes back with an old wall time, which harms nobody. The other way
        // round it would look as if the wall clock had been set forward.
        let wall = self.wall();
        Reading { wall, monotonic: self.monotonic() }
    }

    /// Resolves after `length` of monotonic time; dropping the future cancels the wake-up. Callers never pass more
    /// than [`LONGEST_REST`] and look at the clock again afterwards.
    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()>;

    /// Waits for a moment of the wall clock that is `length` away as the hands stand: as [`sleep`](Self::sleep), but over after
    /// `longest` at the latest, since the hands may have moved apart meanwhile. Callers look at the clock afterwards.
    ///
    /// A clock that knows whether its hands have moved apart need not wake anybody to find out.
    fn doze(&self, length: Duration, longest: Duration) -> BoxFuture<'static, ()> {
        self.sleep(length.min(longest))
    }
}

/// A clock that several managers share.
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn wall(&self) -> Timestamp {
        (**self).wall()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }

    fn read(&self) -> Reading {
        (**self).read()
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        (**self).sleep(length)
    }

    fn doze(&self, length: Duration, longest: Duration) -> BoxFuture<'static, ()> {
        (**self).doze(length, longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_never_rounds_a_delay_down() {
        let t = Timestamp::from_millis(5);
        assert_eq!(t + Duration::from_nanos(1), Timestamp::from_millis(6));
        assert_eq!(t + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Duration::from_secs(1), Timestamp::MIN);
        assert_eq!(t.since(Timestamp::MAX), Duration::ZERO);
        assert_eq!(Timestamp::MAX.since(Timestamp::MIN), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn delays_are_rounded_up_to_whole_milliseconds() {
        let most = Duration::from_millis(u64::MAX);
        for (nanos, ms) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2), (999_999_999, 1_000)] {
            let length = Duration::new(3, nanos);
            assert_eq!(in_whole_millis(length), Duration::from_millis(3_000 + ms), "{length:?}");
        }
        assert_eq!(in_whole_millis(most), most);
        assert_eq!(in_whole_millis(most + Duration::from_nanos(1)), most);
        assert_eq!(in_whole_millis(Duration::MAX), most);
    }

    #[test]
    fn a_timestamp_reads_as_utc() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(951_782_400_123).to_string(), "2000-02-29T00:00:00.123Z");
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(format!("{:?}", Timestamp::from_millis(1)), "Timestamp(1, 1970-01-01T00:00:00.001Z)");
        assert!(format!("{:?} {:?}", Timestamp::MIN, Timestamp::MAX).contains("Timestamp(9223372036854775807, "));
    }
}
