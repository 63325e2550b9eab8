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
    /// Commits are acknowledged at once and written to disk together, at the latest after `within`. **If the process is
    /// killed, or the power fails, the last `within` is lost**: work that was acknowledged is gone, and work that had
    /// finished runs again. The promises G1 (no lost work) and G3 (an error is honest) do not hold. The file itself is never
    /// damaged: it shows an earlier commit. A store that is closed or dropped loses nothing.
    Relaxed {
        /// The most that may be lost.
        within: Duration,
    },
}

impl Durability {
    /// [`Relaxed`](Self::Relaxed) with a second at stake.
    pub const RELAXED: Durability = Durability::Relaxed { within: Duration::from_secs(1) };
}
