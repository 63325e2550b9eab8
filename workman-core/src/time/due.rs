//! [`Due`]: a moment in the time in which somebody has said it, and [`NextDue`], the first of many.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// When something is due, in the time in which that was said.
///
/// A delay, a backoff and a period are lengths, so they end in store time, which nobody can set. A moment that a user has
/// named is one of the wall clock, and stays that, however often the clock is set in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// In store time.
    Store(Timestamp),
    /// By the wall clock.
    Wall(Timestamp),
}

impl Due {
    /// The number, whichever time it is of.
    #[must_use]
    pub const fn at(self) -> Timestamp {
        match self {
            Due::Store(at) | Due::Wall(at) => at,
        }
    }

    /// Whether it never comes: it is the last moment that there is.
    #[must_use]
    pub fn is_never(self) -> bool {
        self.at() == Timestamp::MAX
    }

    /// The store time of this moment if that is the wall clock plus so much, as it is now.
    #[must_use]
    pub const fn in_store_time(self, offset_ms: i64) -> Timestamp {
        match self {
            Due::Store(at) => at,
            Due::Wall(at) => at.shifted(offset_ms),
        }
    }

    /// What the wall clock says at this moment if store time is the wall clock plus so much, as it is now.
    #[must_use]
    pub const fn on_the_wall(self, offset_ms: i64) -> Timestamp {
        match self {
            Due::Store(at) => at.shifted(offset_ms.saturating_neg()),
            Due::Wall(at) => at,
        }
    }
}

/// The first thing that is due in each of the two times. Which of them comes first depends on how the clock will be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextDue {
    /// In store time.
    pub store: Option<Timestamp>,
    /// By the wall clock.
    pub wall: Option<Timestamp>,
}

impl NextDue {
    /// Something may be due now, or has been for ever.
    pub const NOW: NextDue = NextDue { store: Some(Timestamp::MIN), wall: None };

    /// As this, but with one more thing that is due.
    #[must_use]
    pub fn and(self, due: Due) -> Self {
        let earlier = |first: Option<Timestamp>, at: Timestamp| Some(first.map_or(at, |first| first.min(at)));
        match due {
            Due::Store(at) => NextDue { store: earlier(self.store, at), ..self },
            Due::Wall(at) => NextDue { wall: earlier(self.wall, at), ..self },
        }
    }

    /// Both, the one of store time first.
    pub fn iter(self) -> impl Iterator<Item = Due> {
        self.store.map(Due::Store).into_iter().chain(self.wall.map(Due::Wall))
    }

    /// How long it is from this moment until the first of them, as the clocks stand; `None` if nothing is due.
    #[must_use]
    pub fn wait(self, store: Timestamp, offset_ms: i64) -> Option<Duration> {
        self.iter().map(|due| due.in_store_time(offset_ms).since(store)).min()
    }
}

impl From<Due> for NextDue {
    fn from(due: Due) -> Self {
        NextDue::default().and(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn each_time_is_converted_into_the_other_with_what_is_true_now() {
        for (offset, wall) in [(0, 100), (40, 60), (-40, 140)] {
            assert_eq!(Due::Store(at(100)).on_the_wall(offset), at(wall));
            assert_eq!(Due::Wall(at(wall)).in_store_time(offset), at(100));
            assert_eq!(Due::Store(at(100)).in_store_time(offset), at(100));
            assert_eq!(Due::Wall(at(100)).on_the_wall(offset), at(100));
        }
        assert_eq!(Due::Wall(Timestamp::MAX).in_store_time(1), Timestamp::MAX);
        assert_eq!(Due::Store(Timestamp::MIN).on_the_wall(i64::MIN), at(-1));
    }

    #[test]
    fn what_comes_first_depends_on_how_far_the_times_are_apart() {
        let next = NextDue::from(Due::Store(at(500))).and(Due::Wall(at(450))).and(Due::Wall(at(470)));
        assert_eq!(next, NextDue { store: Some(at(500)), wall: Some(at(450)) });
        assert_eq!(next.wait(at(400), 0), Some(Duration::from_millis(50)));
        assert_eq!(next.wait(at(400), 80), Some(Duration::from_millis(100)));
        assert_eq!(next.wait(at(600), 0), Some(Duration::ZERO));
        assert_eq!(NextDue::default().wait(at(400), 0), None);
        assert_eq!(NextDue::NOW.wait(at(0), 0), Some(Duration::ZERO));
    }
}
