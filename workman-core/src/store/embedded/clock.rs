//! [`StoreClock`]: what store time is at a reading of the clocks.
//!
//! Store time is the wall clock plus an offset. The rules, in the order in which they came to be needed:
//! - Store time never runs backwards: a wall clock that is set back adds to the offset, exactly as far as it was set.
//! - A wall clock that is set forward takes from the offset first, so that a machine that boots with an early clock and is set
//!   right later loses nothing. What goes beyond the offset is believed, since a machine that slept looks the same.
//! - How far the wall clock was set is seen by the monotonic clock of the same reading. A difference of less than [`JITTER_MS`] is
//!   no setting, and a slow one is a clock that is being drawn to the right time: the wall clock is followed.
//! - A reading that can't be true moves nothing: the other hand tells the time until it is better.
//!
//! This reads no clock, and what it remembers is gone with the opening: the next one begins with the newest stamp alone.

use std::time::Duration;

use crate::time::{Reading, Timestamp};

/// A wall clock that is off by less than this is a thread that had to wait, or two hands that were not read at once.
const JITTER_MS: i64 = 2_000;

/// A wall clock that moves against the monotonic one by no more than this part of the time that passes is being drawn to the
/// right time, which goes by a two-thousandth at the most.
const SLEW: i64 = 1_024;

/// A reading may reach the store this much later than one that was taken after it.
const LATE: Duration = Duration::from_secs(60);

/// The last millisecond of the year 9999. Nothing is believed that a wall clock says beyond it, or before 1970: such a reading
/// is a broken clock, and store time would never come back from there.
const LAST_WALL: Timestamp = Timestamp::from_millis(253_402_300_799_999);

/// No machine runs for a thousand years.
const LONGEST_UPTIME: Duration = Duration::from_secs(1_000 * 365 * 86_400);

/// Nobody leaves a store alone for longer while its process runs, and sets the clock back meanwhile.
const LONGEST_LULL: Duration = Duration::from_secs(366 * 86_400);

/// More clocks than these on one opening of a store are forgotten; the next reading of each is as its first.
const CLOCKS: usize = 4;

/// What a store knows as long as it is open, and begins anew with when it is opened again.
#[derive(Clone, Debug)]
pub struct Opening {
    pub(super) incarnation: u64,
    pub(super) clock: StoreClock,
}

impl Opening {
    /// The opening with this number.
    #[must_use]
    pub fn new(incarnation: u64) -> Self {
        Opening { incarnation, clock: StoreClock::default() }
    }

    /// Which opening this is.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }
}

impl Default for Opening {
    /// The first one.
    fn default() -> Self {
        Opening::new(1)
    }
}

/// Makes store time of readings, for one opening of a store.
///
/// ```
/// use std::time::Duration;
/// use workman_core::store::StoreClock;
/// use workman_core::Timestamp;
/// use workman_core::store::Reading;
///
/// let day = Duration::from_secs(86_400);
/// let stored = Timestamp::from_millis(1_800_000_000_000);
/// let mut clock = StoreClock::default();
/// let mut stamp = |wall, seconds| {
///     clock.stamp(Reading { wall, monotonic: Duration::from_secs(seconds) }, stored)
/// };
///
/// let boot = stamp(stored - 30 * day, 0);             // the machine boots with its clock a month early
/// assert_eq!((boot.now, boot.offset_ms), (stored, 30 * 86_400_000));
/// let right = stamp(stored + Duration::from_secs(60), 60);
/// assert_eq!((right.now, right.offset_ms), (stored + Duration::from_secs(60), 0));
/// ```
#[derive(Clone, Debug, Default)]
pub struct StoreClock {
    latest: Timestamp,
    alone: Alone,
    /// One for each clock by which the store is used, the last one first.
    hands: [Option<Hands>; CLOCKS],
}

/// What is known of wall times that come without a monotonic time that could be true.
#[derive(Clone, Debug, Default)]
struct Alone {
    wall: Timestamp,
    offset_ms: i64,
}

/// A wall clock that goes forward so far between two readings was set, if there is nothing else to tell it by.
const LONGEST_STEP_MS: i64 = 86_400_000;

/// What is known of one clock.
#[derive(Clone, Copy, Debug)]
struct Hands {
    /// What its wall clock said when its monotonic clock began, as far as is believed now.
    zero_ms: i64,
    /// When, by its monotonic clock, that was last seen to be so.
    seen: Duration,
    /// The newest reading of its monotonic clock.
    newest: Duration,
    /// What is added to its wall clock.
    offset_ms: i64,
}

/// What became of a reading.
enum Heeded<'c> {
    /// It is one of this clock.
    Of(&'c mut Hands),
    /// It comes too late to say anything.
    Late { offset_ms: i64 },
}

/// The time of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The store time.
    pub now: Timestamp,
    /// What has to be added to the wall clock to get store time.
    pub offset_ms: i64,
}

impl Stamp {
    /// What the wall clock says, or said last if it says nonsense.
    #[must_use]
    pub const fn wall(self) -> Timestamp {
        self.now.shifted(self.offset_ms.saturating_neg())
    }
}

impl StoreClock {
    /// Whoever was told that a reading was stamped with `now` can go on from there.
    #[must_use]
    pub fn set(read: Reading, now: Timestamp) -> Self {
        let mut clock = StoreClock::default();
        clock.stamp(read, now);
        clock
    }

    /// The stamp of a reading, in a store whose newest stamp is `latest`. It is never earlier than any before it.
    pub fn stamp(&mut self, read: Reading, latest: Timestamp) -> Stamp {
        self.latest = self.latest.max(latest);
        let monotonic = Some(read.monotonic).filter(|monotonic| *monotonic <= LONGEST_UPTIME);
        let wall = self.believed(read.wall, monotonic);
        let latest = self.latest;
        let offset = match monotonic.map(|monotonic| self.heed(wall, monotonic)) {
            Some(Heeded::Of(hands)) => &mut hands.offset_ms,
            Some(Heeded::Late { offset_ms }) => return Stamp { now: latest, offset_ms },
            None => self.alone.heed(wall),
        };
        // An opening, or the first reading of another clock. Where one is followed, it is behind by less than this.
        if latest.as_millis().saturating_sub(wall.shifted(*offset).as_millis()) >= JITTER_MS {
            *offset = latest.as_millis().saturating_sub(wall.as_millis());
        }
        let offset_ms = *offset;
        self.latest = latest.max(wall.shifted(offset_ms));
        Stamp { now: self.latest, offset_ms }
    }

    /// The wall time of a reading. If it can't be true, that by which store time goes on as the monotonic clock does, or stands
    /// still if there is nothing to go by.
    fn believed(&self, wall: Timestamp, monotonic: Option<Duration>) -> Timestamp {
        if (Timestamp::default()..=LAST_WALL).contains(&wall) {
            return wall;
        }
        match (&self.hands[0], monotonic) {
            (Some(hands), Some(monotonic)) => Timestamp::from_millis(hands.zero_ms.saturating_add(millis(monotonic))),
            (None, Some(_)) => self.latest,
            (_, None) => self.latest.shifted(self.alone.offset_ms.saturating_neg()),
        }
    }

    /// The clock that this reading is from, with all that the reading says about it.
    fn heed(&mut self, wall: Timestamp, monotonic: Duration) -> Heeded<'_> {
        let zero_ms = wall.as_millis().saturating_sub(millis(monotonic));
        let agrees = |hands: &Option<Hands>| {
            hands.is_some_and(|hands| hands.zero_ms.abs_diff(zero_ms) < JITTER_MS.unsigned_abs())
        };
        let known = self.hands.iter().position(agrees);
        let place = match (known, self.hands[0]) {
            (Some(place), _) => place,
            (None, Some(last)) if last.goes_on_at(monotonic) => 0,
            (None, Some(last)) if last.was_before(monotonic) => return Heeded::Late { offset_ms: last.offset_ms },
            (None, _) => {
                self.hands[CLOCKS - 1] = None;
                CLOCKS - 1
            }
        };
        self.hands[..=place].rotate_right(1);
        let new = Hands { zero_ms, seen: monotonic, newest: monotonic, offset_ms: 0 };
        let hands = self.hands[0].get_or_insert(new);
        hands.heed(zero_ms, monotonic);
        Heeded::Of(hands)
    }
}

impl Alone {
    fn heed(&mut self, wall: Timestamp) -> &mut i64 {
        let moved = wall.as_millis().saturating_sub(self.wall.as_millis());
        if moved >= LONGEST_STEP_MS {
            self.offset_ms = self.offset_ms.saturating_sub(moved).max(0);
        }
        self.wall = wall;
        &mut self.offset_ms
    }
}

impl Hands {
    /// Whether a reading whose wall time says otherwise was taken a moment before the clock was set. It is no news.
    fn was_before(&self, monotonic: Duration) -> bool {
        (self.newest.saturating_sub(LATE)..self.newest).contains(&monotonic)
    }

    /// Whether this is a newer reading of the same clock, whatever its wall time says.
    fn goes_on_at(&self, monotonic: Duration) -> bool {
        (self.newest..=self.newest.saturating_add(LONGEST_LULL)).contains(&monotonic)
    }

    /// Takes in a reading that would put the beginning of the monotonic clock at `zero_ms`.
    fn heed(&mut self, zero_ms: i64, monotonic: Duration) {
        let moved = zero_ms.saturating_sub(self.zero_ms);
        let passed = millis(monotonic.saturating_sub(self.seen));
        let was_set = moved.saturating_abs() >= JITTER_MS;
        if was_set {
            self.offset_ms = self.offset_ms.saturating_sub(moved).max(0);
        }
        // What is neither is left until it is more, or has gone on for longer.
        if was_set || moved.saturating_abs() <= passed / SLEW {
            (self.zero_ms, self.seen) = (zero_ms, monotonic);
        }
        self.newest = self.newest.max(monotonic);
    }
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(86_400);

    /// Where everything begins here.
    const NOON: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// A machine and the opening of a store on it.
    struct Machine {
        wall: Timestamp,
        monotonic: Duration,
        clock: StoreClock,
        latest: Timestamp,
    }

    impl Machine {
        /// A store that was stamped last at noon is opened on a machine whose clock says this.
        fn boots_at(wall: Timestamp) -> Self {
            Machine { wall, monotonic: MINUTE, clock: StoreClock::default(), latest: NOON }
        }

        fn pass(&mut self, length: Duration) {
            (self.wall, self.monotonic) = (self.wall + length, self.monotonic + length);
        }

        fn read(&self) -> Reading {
            Reading { wall: self.wall, monotonic: self.monotonic }
        }

        fn stamp_of(&mut self, read: Reading) -> Stamp {
            let stamp = self.clock.stamp(read, self.latest);
            assert!(stamp.now >= self.latest, "store time ran backwards, from {} to {}", self.latest, stamp.now);
            self.latest = stamp.now;
            stamp
        }

        fn stamp(&mut self) -> Stamp {
            self.stamp_of(self.read())
        }

        /// How long after noon it is in store time, and how far that is ahead of the wall clock.
        fn looks(&mut self) -> (Duration, Duration) {
            let stamp = self.stamp();
            (stamp.now.since(NOON), Duration::from_millis(u64::try_from(stamp.offset_ms).unwrap()))
        }
    }

    #[test]
    fn as_long_as_nobody_sets_the_clock_store_time_is_the_wall_time() {
        let mut machine = Machine::boots_at(NOON);
        for length in [Duration::ZERO, Duration::from_millis(1), SECOND, HOUR, 300 * DAY] {
            machine.pass(length);
            assert_eq!(machine.stamp(), Stamp { now: machine.wall, offset_ms: 0 });
        }
    }

    #[test]
    fn a_clock_that_was_early_at_the_opening_and_is_set_right_costs_nothing() {
        for early in [3 * SECOND, HOUR, 30 * DAY, 20_000 * DAY] {
            let mut machine = Machine::boots_at(NOON - early);
            assert_eq!(machine.looks(), (Duration::ZERO, early));
            machine.pass(MINUTE);
            assert_eq!(machine.looks(), (MINUTE, early));
            // It was off for two hours, which the machine learns with the right time.
            machine.wall = machine.wall + early + 2 * HOUR;
            assert_eq!(machine.looks(), (MINUTE + 2 * HOUR, Duration::ZERO));
            machine.pass(DAY);
            assert_eq!(machine.looks(), (MINUTE + 2 * HOUR + DAY, Duration::ZERO));
        }
    }

    #[test]
    fn a_clock_that_is_set_right_in_steps_costs_nothing_either() {
        let mut machine = Machine::boots_at(NOON - DAY);
        machine.stamp();
        for step in 1..=4_u32 {
            machine.wall = machine.wall + 6 * HOUR;
            assert_eq!(machine.looks(), (Duration::ZERO, DAY - 6 * HOUR * step));
        }
        machine.wall = machine.wall + 6 * HOUR;
        assert_eq!(machine.looks(), (6 * HOUR, Duration::ZERO), "what goes beyond is believed");
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing_also_if_nobody_looked_meanwhile() {
        let mut machine = Machine::boots_at(NOON);
        machine.stamp();
        machine.pass(5 * HOUR);
        machine.wall = machine.wall - DAY;
        assert_eq!(machine.looks(), (5 * HOUR, DAY));
        machine.pass(HOUR);
        assert_eq!(machine.looks(), (6 * HOUR, DAY));
        machine.wall = machine.wall + DAY;
        assert_eq!(machine.looks(), (6 * HOUR, Duration::ZERO));
    }

    /// Row for row what a suspend does: the wall clock goes on, the monotonic one stands.
    #[test]
    fn a_suspend_is_believed_but_for_what_the_clock_was_behind_once() {
        let mut machine = Machine::boots_at(NOON);
        machine.stamp();
        machine.wall = machine.wall + 8 * HOUR;
        assert_eq!(machine.looks(), (8 * HOUR, Duration::ZERO));
        machine.wall = machine.wall - HOUR;
        assert_eq!(machine.looks(), (8 * HOUR, HOUR));
        machine.wall = machine.wall + 8 * HOUR;
        assert_eq!(machine.looks(), (15 * HOUR, Duration::ZERO), "an hour is used up");
        machine.wall = machine.wall + 8 * HOUR;
        assert_eq!(machine.looks(), (23 * HOUR, Duration::ZERO), "once");
    }

    #[test]
    fn small_differences_are_no_settings_and_do_not_add_up() {
        let mut machine = Machine::boots_at(NOON - HOUR);
        machine.stamp();
        for round in 0..10_000_u32 {
            machine.pass(Duration::from_millis(20));
            let late = Duration::from_millis(u64::from(round * 7919 % 1_900));
            let read = Reading { wall: machine.wall - late, monotonic: machine.monotonic };
            machine.stamp_of(read);
        }
        assert_eq!(machine.looks(), (200 * SECOND, HOUR));
    }

    #[test]
    fn a_clock_that_is_drawn_to_the_right_time_is_followed() {
        for (ahead, hours) in [(true, 1), (false, 1), (true, 100), (false, 100)] {
            let mut machine = Machine::boots_at(NOON - HOUR);
            machine.stamp();
            let mut drawn = Duration::ZERO;
            for _ in 0..hours * 60 {
                machine.pass(MINUTE);
                drawn += Duration::from_millis(30);
                let by = Duration::from_millis(30);
                machine.wall = if ahead { machine.wall + by } else { machine.wall - by };
                assert_eq!(machine.looks().1, HOUR, "no part of that was a setting");
            }
            let passed = MINUTE * (hours * 60);
            assert_eq!(machine.looks().0, if ahead { passed + drawn } else { passed - drawn });
        }
    }

    #[test]
    fn readings_may_come_in_another_order_than_they_were_taken() {
        for forward in [true, false] {
            let mut machine = Machine::boots_at(NOON - DAY);
            machine.stamp();
            let before = machine.read();
            machine.pass(10 * SECOND);
            machine.wall = if forward { machine.wall + 2 * DAY } else { machine.wall - HOUR };
            let right = machine.looks();
            for _ in 0..100 {
                machine.stamp_of(before);
                assert_eq!(machine.looks(), right, "an old reading is no news");
            }
        }
    }

    #[test]
    fn a_reading_that_can_not_be_true_moves_nothing_and_is_forgotten() {
        let walls = [Timestamp::MIN, Timestamp::from_millis(-1), LAST_WALL + SECOND, Timestamp::MAX];
        for wall in walls {
            let mut machine = Machine::boots_at(NOON);
            machine.stamp();
            machine.pass(HOUR);
            let broken = machine.stamp_of(Reading { wall, ..machine.read() });
            assert_eq!((broken.now, broken.wall()), (NOON + HOUR, NOON + HOUR), "the monotonic clock tells the time");
            machine.pass(HOUR);
            assert_eq!(machine.looks(), (2 * HOUR, Duration::ZERO), "{wall:?}");
            // From the start on.
            let mut machine = Machine::boots_at(NOON + DAY);
            assert_eq!(machine.stamp_of(Reading { wall, ..machine.read() }).now, NOON);
            machine.pass(HOUR);
            assert_eq!(machine.stamp_of(Reading { wall, ..machine.read() }).now, NOON + HOUR);
            assert_eq!(machine.looks(), (DAY + HOUR, Duration::ZERO), "{wall:?}");
        }
    }

    #[test]
    fn a_monotonic_clock_that_breaks_does_no_harm_and_heals() {
        for monotonic in [Duration::ZERO, Duration::MAX, LONGEST_UPTIME, 400 * DAY] {
            let mut machine = Machine::boots_at(NOON - DAY);
            machine.pass(DAY);
            machine.stamp();
            machine.pass(HOUR);
            for _ in 0..100 {
                machine.pass(SECOND);
                machine.stamp_of(Reading { monotonic, ..machine.read() });
            }
            assert_eq!(machine.looks(), (HOUR + 100 * SECOND, Duration::ZERO), "{monotonic:?}");
            machine.pass(HOUR);
            machine.wall = machine.wall - HOUR;
            assert_eq!(machine.looks(), (2 * HOUR + 100 * SECOND, HOUR), "{monotonic:?}");
        }
    }

    #[test]
    fn one_that_never_works_leaves_the_wall_clock() {
        let mut machine = Machine::boots_at(NOON);
        machine.monotonic = Duration::MAX;
        let stamps: Vec<(Duration, i64)> = [(true, HOUR), (false, DAY), (true, HOUR), (true, HOUR)]
            .into_iter()
            .map(|(forward, by)| {
                machine.wall = if forward { machine.wall + by } else { machine.wall - by };
                let stamp = machine.stamp();
                (stamp.now.since(NOON), stamp.offset_ms)
            })
            .collect();
        let day = 86_400_000;
        assert_eq!(stamps, [(HOUR, 0), (HOUR, day), (2 * HOUR, day), (3 * HOUR, day)]);
    }

    #[test]
    fn clocks_that_know_nothing_of_each_other_do_not_drive_store_time_ahead() {
        let others = [(NOON, Duration::ZERO), (NOON + HOUR, HOUR), (NOON - DAY, 3 * DAY), (NOON, 5 * HOUR)];
        for (wall, monotonic) in others {
            let mut machine = Machine::boots_at(NOON);
            let mut other = (wall, monotonic);
            for _ in 0..1_000 {
                machine.stamp();
                machine.stamp_of(Reading { wall: other.0, monotonic: other.1 });
                machine.pass(SECOND);
                other = (other.0 + SECOND, other.1 + SECOND);
            }
            let apart = wall.since(NOON).max(NOON.since(wall)) + monotonic;
            let passed = machine.looks().0;
            assert!(passed >= 999 * SECOND && passed <= 1_000 * SECOND + apart, "{passed:?} with {wall} {monotonic:?}");
        }
    }

    #[test]
    fn no_two_readings_whatever_they_say_drive_it_out_of_the_range_or_stop_it() {
        let walls = [i64::MIN, -1, 0, 1, 1_800_000_000_000, LAST_WALL.as_millis(), i64::MAX];
        let monotonics = [Duration::ZERO, SECOND, DAY, 400 * DAY, LONGEST_UPTIME, Duration::MAX];
        let readings = || walls.iter().flat_map(|wall| monotonics.iter().map(move |monotonic| (*wall, *monotonic)));
        for first in readings() {
            for second in readings() {
                let mut machine = Machine::boots_at(NOON);
                for (wall, monotonic) in [first, second, first] {
                    machine.stamp_of(Reading { wall: Timestamp::from_millis(wall), monotonic });
                }
                let before = machine.stamp().now;
                assert!(before <= LAST_WALL + 2 * LONGEST_UPTIME, "{before} after {first:?} and {second:?}");
                machine.pass(HOUR);
                let now = machine.stamp().now;
                let passed = now.since(before);
                assert!(passed <= HOUR && HOUR - passed < 2 * SECOND, "{passed:?} after {first:?} and {second:?}");
            }
        }
    }
}
