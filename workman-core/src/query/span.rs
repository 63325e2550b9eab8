//! [`TimeSpan`]: from when to when.

use std::ops::{Bound, RangeBounds};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The times from the first to the last, both included; none if the first is later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimeSpan {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl TimeSpan {
    const NOTHING: TimeSpan = TimeSpan { first: Timestamp::MAX, last: Timestamp::MIN };

    /// Timestamps are whole milliseconds, so the one before an end is the last that is meant.
    pub(super) fn of(range: &impl RangeBounds<Timestamp>) -> Self {
        let first = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) if *before < Timestamp::MAX => before.shifted(1),
            Bound::Excluded(_) => return TimeSpan::NOTHING,
            Bound::Unbounded => Timestamp::MIN,
        };
        let last = match range.end_bound() {
            Bound::Included(last) => *last,
            Bound::Excluded(end) if *end > Timestamp::MIN => end.shifted(-1),
            Bound::Excluded(_) => return TimeSpan::NOTHING,
            Bound::Unbounded => Timestamp::MAX,
        };
        if first > last { TimeSpan::NOTHING } else { TimeSpan { first, last } }
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.first.as_millis() > self.last.as_millis()
    }

    pub(super) fn contains(self, at: Timestamp) -> bool {
        (self.first..=self.last).contains(&at)
    }
}
