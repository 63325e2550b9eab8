//! [`Durability`]: what an acknowledged commit survives.

use std::time::Duration;

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Everything: the death of the process, of the system, and a loss of power, provided that the disk keeps what it says
    /// it has written. Each commit waits for the disk; calls that wait at the same time share one commit.
    #[default]
    Synced,
    /// Commits are acknowledged when the system has them, and synced together, at the latest after `within`. **If the power or the
    /// system fails, the last `within` is lost**: work that was acknowledged is gone, and work that had finished runs again. So does an
    /// error of the disk that makes the system throw away what it has not written. The file itself is never damaged: it shows an earlier
    /// commit. A process that is killed loses nothing, nor does a store that is closed or dropped.
    ///
    /// With the commits goes what they promised: work may be lost (G1) and a success taken back (G3), a move is made again and a final
    /// state changes (G5), **a fencing token is handed out twice** (G6, G7; the idempotency key stays the same), observers have seen what
    /// is not so any more (G9), attempts and deaths are not counted (G10), a cancellation is undone (G12), a period succeeds twice (G13).
    /// `guarantees.md` has them one by one.
    Relaxed {
        /// The most that may be lost.
        within: Duration,
    },
}

impl Durability {
    /// [`Relaxed`](Self::Relaxed) with a second at stake.
    pub const RELAXED: Durability = Durability::Relaxed { within: Duration::from_secs(1) };
}
