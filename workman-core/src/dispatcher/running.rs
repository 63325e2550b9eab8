//! One run as the dispatcher sees it: what it holds, and until when there is patience with it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::AbortHandle;

use super::slots::Place;
use super::verdict::Judge;
use crate::constraints::Constraints;
use crate::state::StopReason;
use crate::worker::Attempt;

/// A run, and what is to become of it.
pub(super) struct Running {
    pub(super) attempt: Arc<Attempt>,
    pub(super) abort: AbortHandle,
    pub(super) place: Place,
    pub(super) cohort: u64,
    pub(super) constraints: Constraints,
    pub(super) judge: Judge,
    /// When the attempt has taken too long, on the monotonic clock.
    pub(super) times_out_at: Option<Duration>,
    /// The store has moved on: the end of this run is of no interest.
    pub(super) fenced: bool,
    /// When patience ends, and whether the worker's future was dropped already.
    pub(super) deadline: Option<(Duration, Patience)>,
}

impl Running {
    /// When somebody has to look at it again.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadline.map(|(at, _)| at).or(self.times_out_at)
    }

    /// Asks the worker to stop until then, or earlier if that was said before.
    pub(super) fn ask_to_stop(&mut self, reason: StopReason, deadline: Duration) {
        self.attempt.stop(reason);
        if self.deadline.is_none_or(|(at, patience)| patience == Patience::Asked && deadline < at) {
            self.deadline = Some((deadline, Patience::Asked));
        }
    }
}

/// How far it is on its way out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Asked,
    Dropped,
}
