//! [`Limits`]: every limit of the house in one place.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

/// Every limit and default of one manager. Sizes are in bytes. Change single fields of `Limits::default()`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias("concurrency", "rate_limit"))]
pub struct Limits {
    /// Encoded input or output of one work. Payloads are JSON, in which a `Vec<u8>` is a list of numbers of about four bytes each:
    /// give the path of a file, or bytes as text.
    pub payload: usize,
    /// Encoded progress or checkpoint of one work.
    pub progress: usize,
    /// Stored text of one error, its sources included; longer text is cut.
    pub error_text: usize,
    /// Tags of one work.
    pub tags: usize,
    /// One tag.
    pub tag: usize,
    /// A unique name. A worker's name is part of the program; `#[worker]` holds it to 256 bytes.
    pub name: usize,
    /// Works in one enqueue.
    pub works: usize,
    /// Edges between the works of one enqueue.
    pub edges: usize,
    /// Outputs of all prerequisites of one work together, read when it starts.
    pub prerequisites: usize,
    /// Works that one [`query`](crate::WorkManager::query) answers, or one [`watch`](crate::WorkManager::watch) shows: they are one
    /// snapshot, read and kept at once. What asks for more is refused; with 0 whatever finds any.
    /// [`page`](crate::WorkManager::page) shows any number, a bit at a time.
    pub query: usize,
    /// Async workers running at once. With 0 none ever runs here: their work waits, and `explain` says that there is no slot.
    /// Expedited work has slots of its own (`expedited_slots`).
    pub async_slots: usize,
    /// Blocking workers running at once. With 0 none ever runs here, as with `async_slots`.
    pub blocking_slots: usize,
    /// How long a stopped worker may take to end before it is dropped (async) or given up (blocking). Another
    /// thread takes the place of one that was given up, for as many as there are slots.
    pub grace: Duration,
    /// How long a constraint must be lost before running work is stopped for it, and how long it must then
    /// hold again before that work starts again.
    pub dwell: Duration,
    /// How long finished work is kept, beside what its request asks for. Less than [`PRUNE_GRACE`](crate::plan::PRUNE_GRACE) (a minute)
    /// counts as that.
    pub retention: Duration,
    /// How many finished works are kept at the most, beside those whose requests ask for it and those that finished less than
    /// [`PRUNE_GRACE`](crate::plan::PRUNE_GRACE) (a minute) ago: that is long enough to read all outputs of one call, of which there may
    /// be more ([`works`](Self::works)).
    pub retained: usize,
    /// How long expedited work may run in all within 24 hours ([`EXPEDITED_WINDOW`](crate::policy::EXPEDITED_WINDOW)). A run
    /// counts once it is over; of one that died with its process a quarter of an hour counts at the most.
    pub expedited_budget: Duration,
    /// Slots of each kind (async, blocking) that are kept free for expedited work, beside the others.
    pub expedited_slots: usize,
    /// The least interval, flex and backoff; what asks for less is raised to it.
    pub minimums: WorkManagerLimits,
    /// A run that has lasted this long shows that its work does not kill the process: deaths of the process under it before are
    /// forgiven, as by a checkpoint. With `Duration::MAX` no run is ever long enough.
    pub suspect_within: Duration,
    /// When all slots of a kind have been held by the same runs for this long while work waits that could run, or a run that was told
    /// to stop this long ago still goes on, [`health`](crate::WorkManager::health) says so. With `Duration::MAX` it never does.
    pub standstill: Duration,
    /// Progress and checkpoints are on disk this long after they were given, at the latest.
    pub progress_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Limits {
            payload: 1 << 20,
            progress: 64 << 10,
            error_text: 4 << 10,
            tags: 32,
            tag: 128,
            name: 256,
            works: 16_384,
            edges: 262_144,
            prerequisites: 64 << 20,
            query: 100_000,
            async_slots: 2 * cores,
            blocking_slots: cores,
            grace: Duration::from_secs(10),
            dwell: Duration::from_secs(5),
            retention: Duration::from_secs(24 * 3600),
            retained: 10_000,
            expedited_budget: Duration::from_secs(10 * 60),
            expedited_slots: 1,
            minimums: WorkManagerLimits::NONE,
            suspect_within: Duration::from_secs(10 * 60),
            standstill: Duration::from_secs(5 * 60),
            progress_delay: Duration::from_secs(1),
        }
    }
}

/// The least that a request may ask for. What is less is raised to it, with a warning in the log, as Android does.
///
/// There are none unless `Limits::minimums` says so, and then only nonsense is refused: a period of no length, a flex longer than
/// its interval, a backoff of zero. With [`android`](Self::android) that is raised or cut too.
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
