//! One transaction after another: what is to be written, and what the answers mean.

use std::time::Duration;

use super::{Dispatcher, Offers, Phase, Reclaim, attempts};
use crate::plan::{Applied, Claim, Claimed, Command, Note, SuspectsAllowed};
use crate::record::Lane;
use crate::store::{StoreError, Unit, UnitResult};
use crate::time::Timestamp;

/// The first wait after a store's error; it doubles up to the longest.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

impl Dispatcher {
    pub(super) fn stop_what_must(&mut self) {
        let now = self.core.clock.monotonic();
        {
            let dwell = self.core.dwell();
            self.attempts.stop_for_constraints(&dwell, now);
        }
        let given_up = self.attempts.give_up(now);
        if let Phase::Leaving { report, .. } = &mut self.phase {
            report.given_up.extend(given_up.iter().map(|settle| settle.id));
        }
        self.ends.extend(given_up);
    }

    /// Whether nothing is left to run or to write.
    pub(super) fn is_over(&self) -> bool {
        let leaving = matches!(self.phase, Phase::Leaving { .. });
        let tried_enough = self.failures > 0;
        self.store_gone || (leaving && self.attempts.is_empty() && (self.ends.is_empty() || tried_enough))
    }

    /// The commands of the next transaction, or none if there is nothing to do now.
    pub(super) fn units(&mut self) -> Vec<Unit> {
        let now = self.core.clock.monotonic();
        if self.retry_at.is_some_and(|at| at > now) {
            return Vec::new();
        }
        let mut commands = self.notes(now);
        commands.extend(self.ends.iter().cloned().map(Command::Settle));
        if self.rescue {
            commands.push(Command::Rescue);
        }
        if self.reclaim == Reclaim::Wanted {
            commands.push(Command::Reclaim { epoch: self.core.epoch, held: self.attempts.held() });
        }
        commands.extend(self.claim(now).map(Command::Claim));
        if commands.is_empty() {
            self.answer_flushes();
        }
        commands.into_iter().map(|command| self.core.unit(command)).collect()
    }

    /// Progress and checkpoints ride on any commit, and make one when they have waited long enough.
    fn notes(&mut self, now: Duration) -> Vec<Command> {
        let due = self.write_notes_at.is_some_and(|at| at <= now) || !self.flushes.is_empty();
        let rides = !self.ends.is_empty() || self.look;
        if !due && !rides {
            return Vec::new();
        }
        self.write_notes_at = None;
        let notes = self.attempts.take_notes();
        notes.into_iter().map(|(id, fence, notes)| Command::Note(Note { id, fence, notes })).collect()
    }

    fn claim(&mut self, now: Duration) -> Option<Claim> {
        let due = self.next_due.is_some_and(|due| due <= self.store_now());
        if !self.runs() || !(self.look || due) {
            return None;
        }
        self.look = false;
        self.release_room();
        let room = self.core.slots.begin_claim();
        let lanes = self.lanes.open(&self.core.dwell(), now, room);
        *self.core.rivals() = self.lanes.all_open(&self.core.dwell(), now);
        if room == (0, 0) || (lanes.is_empty() && !due && !self.cascade) {
            self.release_room();
            return None;
        }
        let suspects = if self.attempts.runs_suspect() { SuspectsAllowed::None } else { SuspectsAllowed::One };
        Some(Claim {
            epoch: self.core.epoch,
            lanes,
            async_room: room.0,
            blocking_room: room.1,
            barred: self.attempts.barred(),
            suspects,
        })
    }

    fn release_room(&self) {
        let (for_async, for_blocking) = self.attempts.running();
        self.core.slots.set_running(for_async, for_blocking);
    }

    pub(super) fn store_now(&self) -> Timestamp {
        Timestamp::from_millis(self.core.clock.wall().as_millis().saturating_add(self.skew_ms))
    }

    pub(super) async fn transact(&mut self, units: Vec<Unit>) {
        let answers = self.core.store.transact(units.clone()).await;
        match answers {
            Ok(answers) => {
                self.succeeded();
                self.ends.clear();
                self.rescue = false;
                for (unit, answer) in units.into_iter().zip(answers) {
                    self.on_answer(unit.command, answer);
                }
                self.answer_flushes();
            }
            Err(error) => self.failed(units, &error),
        }
        self.release_room();
    }

    /// All that was said is on disk.
    fn answer_flushes(&mut self) {
        for (_, done) in self.flushes.drain(..) {
            // A worker that does not wait any more does not want to know.
            let _ = done.send(());
        }
    }

    fn on_answer(&mut self, command: Command, answer: UnitResult) {
        match (command, answer) {
            (Command::Settle(settle), answer) => {
                self.attempts.forget(settle.id, settle.fence);
                attempts::log_settled(&settle, &answer, &self.core);
            }
            (Command::Claim(_), Ok(Applied::Claimed { works, drained, next_due, again })) => {
                drained.into_iter().for_each(|lane| self.lanes.cool(lane));
                self.next_due = next_due;
                self.cascade = again;
                self.look |= again;
                works.into_iter().for_each(|claimed| self.start(claimed));
            }
            (Command::Rescue, Ok(Applied::Released { count, again })) => {
                tracing::info!(count, "works of a dead process were given back");
                self.rescue = again;
            }
            (Command::Reclaim { .. }, Ok(Applied::Reclaimed { count, lanes })) => self.on_reclaimed(count, &lanes),
            (Command::Note(_), Ok(_)) => {}
            (Command::Note(note), Err(_)) => self.flushes.retain(|(id, _)| *id != note.id),
            (command, Err(refusal)) => tracing::debug!(?command, %refusal, "refused"),
            (command, Ok(answer)) => tracing::error!(?command, ?answer, "a command got the answer to another"),
        }
    }

    fn on_reclaimed(&mut self, count: usize, lanes: &[Lane]) {
        lanes.iter().for_each(|lane| self.add_lane(lane));
        self.look = true;
        if count == 0 {
            // Nothing was written, so nothing will be announced, and what is in limbo came after the reclaim.
            self.reclaim = Reclaim::Settled;
            let limbo = std::mem::take(&mut self.limbo);
            limbo.into_iter().for_each(|claimed| self.start(claimed));
        } else if self.reclaim == Reclaim::Wanted {
            self.reclaim = Reclaim::Announced;
        }
        self.core.slots.set_offers(if self.runs() { Offers::Taken } else { Offers::Refused });
    }

    fn succeeded(&mut self) {
        if self.failures > 0 {
            tracing::info!("the store works again");
            self.core.health.recovered();
        }
        (self.failures, self.retry_at) = (0, None);
    }

    /// G14: an error of the store never ends the loop. What was to be written is kept and tried again, later and later.
    fn failed(&mut self, units: Vec<Unit>, error: &StoreError) {
        if error.is_closed() {
            self.store_gone = true;
            return;
        }
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(LONGEST_RETRY);
        self.failures += 1;
        self.retry_at = Some(self.core.clock.monotonic() + wait);
        tracing::warn!(%error, ?wait, "the store failed; the same is tried again");
        self.core.health.failed(error);
        for unit in units {
            match unit.command {
                Command::Note(note) => self.attempts.put_back(note.id, note.fence, note.notes),
                Command::Claim(_) => {
                    self.look = true;
                    if error.is_indeterminate() {
                        self.want_reclaim();
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn start(&mut self, claimed: Claimed) {
        self.attempts.start(claimed);
        self.release_room();
    }
}
