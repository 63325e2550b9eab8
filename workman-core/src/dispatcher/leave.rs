//! The end of a manager: nothing starts any more, what runs is stopped, and what is left is given back.

use std::time::Duration;

use futures::channel::oneshot;

use super::write::wait_after;
use super::{Dispatcher, Phase, ShutdownReport};
use crate::plan::{Applied, Command};
use crate::state::StopReason;

/// However short the grace of a shutdown is, giving work back is tried for this long while the store fails.
const LEAST_FAREWELL: Duration = Duration::from_secs(2);

/// What is said at the very end of a manager, and to whom.
#[must_use = "somebody may wait for it"]
pub(crate) struct Farewell {
    waiting: Vec<oneshot::Sender<ShutdownReport>>,
    report: ShutdownReport,
}

impl Farewell {
    pub(crate) fn say(self) {
        for done in self.waiting {
            // Who does not wait any more does not want to know.
            let _ = done.send(self.report.clone());
        }
    }
}

impl Dispatcher {
    pub(super) fn begin_leaving(&mut self, grace: Duration, done: Option<oneshot::Sender<ShutdownReport>>) {
        self.core.slots.refuse_offers();
        match &mut self.phase {
            Phase::Leaving { waiting, .. } => waiting.extend(done),
            Phase::Running => {
                let until = self.core.clock.monotonic().saturating_add(grace.max(LEAST_FAREWELL));
                self.phase = Phase::Leaving { waiting: Vec::from_iter(done), until };
                self.attempts.stop_all(StopReason::Shutdown, grace);
            }
        }
    }

    pub(super) fn stop_what_must(&mut self) {
        let now = self.core.clock.monotonic();
        let lost = self.attempts.lost_constraints(&self.core.dwell(), now);
        self.attempts.stop_for_constraints(&lost, now);
        self.attempts.stop_for_timeouts(now);
        self.ends.extend(self.attempts.give_up(now));
    }

    /// Whether nothing is left to run here.
    pub(super) fn is_over(&self) -> bool {
        self.store_gone || (matches!(self.phase, Phase::Leaving { .. }) && self.attempts.is_empty())
    }

    /// Writes and gives back what is left. Who waits for the end is told by the answer, when nothing of the engine is left that
    /// holds the store.
    pub(super) async fn leave(&mut self) -> Farewell {
        self.attempts.abandon_all();
        let error = if self.store_gone { None } else { self.give_back().await };
        self.detached = error.is_none();
        self.core.health.ended();
        self.core.hub.close();
        let waiting = match &mut self.phase {
            Phase::Leaving { waiting, .. } => std::mem::take(waiting),
            Phase::Running => Vec::new(),
        };
        Farewell { waiting, report: ShutdownReport { error, ..self.attempts.report() } }
    }

    /// The ends that are not settled yet, and then all claims, tried again until it is time to go.
    async fn give_back(&mut self) -> Option<String> {
        let until = match &self.phase {
            Phase::Leaving { until, .. } => *until,
            Phase::Running => self.core.clock.monotonic(),
        };
        let notes = self.take_notes();
        let ends = self.ends.drain(..).map(Command::Settle);
        let mut commands: Vec<Command> = notes.into_iter().chain(ends).collect();
        let mut failures = 0;
        loop {
            let detach = Command::Detach { epoch: self.core.epoch };
            let units = self.core.units(commands.iter().cloned().chain([detach]));
            match self.core.store.transact(units).await {
                Ok(answers) if matches!(answers.last(), Some(Ok(Applied::Released { again: true, .. }))) => {
                    commands.clear()
                }
                Ok(_) => return None,
                Err(error) => {
                    failures += 1;
                    let wait = wait_after(failures);
                    if error.is_closed() || self.core.clock.monotonic().saturating_add(wait) > until {
                        return Some(error.to_string());
                    }
                    self.core.clock.sleep(wait).await;
                }
            }
        }
    }
}
