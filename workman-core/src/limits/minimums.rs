//! [`WorkManagerLimits`]: the minimums of Android, for those who want them.

use std::time::Duration;

/// The least that a request may ask for. What is less is raised to it, with a warning in the log, as Android does.
///
/// There are none unless `Limits::minimums` says so, and then only nonsense is refused: a period of no length, a flex longer than
/// its interval. With [`android`](Self::android) that is raised or cut too.
///
/// ```
/// use std::time::Duration;
/// use workman_core::{Limits, WorkManagerLimits};
///
/// let mut limits = Limits::default();
/// assert_eq!(limits.minimums, WorkManagerLimits::NONE);
/// limits.minimums = WorkManagerLimits::android();
/// assert_eq!(limits.minimums.interval, Duration::from_secs(15 * 60));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkManagerLimits {
    /// The least interval of periodic work.
    pub interval: Duration,
    /// The least flex of periodic work; with one, a flex that is longer than the interval is cut to it.
    pub flex: Duration,
    /// The least delay of a backoff, whether a request or a worker's own function says it; it counts before jitter.
    pub backoff: Duration,
}

impl WorkManagerLimits {
    /// None: the default.
    pub const NONE: Self =
        WorkManagerLimits { interval: Duration::ZERO, flex: Duration::ZERO, backoff: Duration::ZERO };

    /// Those of Android's WorkManager: an interval of 15 minutes, a flex of 5 minutes, a backoff of 10 seconds.
    #[must_use]
    pub const fn android() -> Self {
        WorkManagerLimits {
            interval: Duration::from_secs(15 * 60),
            flex: Duration::from_secs(5 * 60),
            backoff: Duration::from_secs(10),
        }
    }
}
