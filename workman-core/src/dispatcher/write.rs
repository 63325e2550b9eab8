//! One transaction after another: what is to be written, and what the answers mean.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::lanes::Reach;
use super::queue::Started;
use super::retention::{Company, Damaged, Pruned};
use super::{Dispatcher, Moment, Progress, verdict};
use crate::id::WorkId;
use crate::plan::{Applied, Claim, Command, Note, Prune, Refusal, Room, SuspectsAllowed};
use crate::record::Lane;
use crate::state::StopReason;
use crate::store::{StoreError, StoreErrorKind, Unit, UnitResult};

/// The first wait after a store's error; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

impl Dispatcher {
    /// What was said is to be on disk this much later, at the latest.
    pub(super) fn write_notes_by(&mut self, delay: Duration) {
        let at = self.core.clock.monotonic().saturating_add(delay);
        self.write_notes_at = Some(self.write_notes_at.map_or(at, |before| before.min(at)));
    }

    /// The commands of the next transaction, or none if there is nothing to do now.
    pub(super) fn units(&mut self) -> Vec<Unit> {
        let now = self.core.clock.monotonic();
        if self.retry_at.is_some_and(|at| at > now) {
            return Vec::new();
        }
        self.retry_at = None;
        // What is deleted comes first, so that the hints of this very commit say what is left.
        let company = if self.ends.is_empty() { Company::Nothing } else { Company::Ends };
        let mut commands = Vec::from_iter(self.prune(company).map(Command::Prune));
        commands.extend(self.notes(now));
        commands.extend(std::mem::take(&mut self.ends).into_iter().map(Command::Settle));
        if self.rescue {
            commands.push(Command::Rescue);
        }
        if self.reclaim {
            commands.push(Command::Reclaim { epoch: self.core.epoch, held: self.held() });
        }
        if self.cascade {
            commands.push(Command::Drain);
        }
        commands.extend(self.claim(now, company).map(Command::Claim));
        if commands.is_empty() {
            self.answer_flushes();
        }
        self.core.units(commands)
    }

    /// Progress and checkpoints ride on any commit, and make one when they have waited long enough.
    fn notes(&mut self, now: Duration) -> Vec<Command> {
        let due = self.write_notes_at.is_some_and(|at| at <= now) || !self.flushes.is_empty();
        let rides = !self.ends.is_empty() || self.look;
        if !due && !rides {
            return Vec::new();
        }
        self.write_notes_at = None;
        self.take_notes()
    }

    /// Old work goes when there is time for that: not before the first claim, and not while the manager leaves.
    fn prune(&mut self, company: Company) -> Option<Prune> {
        let now = self.moment();
        if self.runs() && self.warm { self.keeper.command(now, company) } else { None }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { store: self.core.store_now(), monotonic: self.core.clock.monotonic() }
    }

    pub(super) fn take_notes(&mut self) -> Vec<Command> {
        let notes = self.attempts.take_notes();
        notes.into_iter().map(|(id, fence, notes)| Command::Note(Note { id, fence, notes })).collect()
    }

    fn claim(&mut self, now: Duration, company: Company) -> Option<Claim> {
        let due = self.wait_for_due().is_some_and(|wait| wait.is_zero());
        if !self.runs() || !(self.look || due) {
            return None;
        }
        self.count_running();
        // What is due is ordinary work, since expedited work has no delay: slots that are kept for it are no reason to look.
        let due = due && self.core.slots.has_any_room();
        if !(self.look || due) {
            return None;
        }
        self.look = false;
        let room = self.core.slots.begin_claim();
        let reach = if due || company == Company::Ends { Reach::Known } else { Reach::Hot };
        let lanes = {
            let dwell = self.core.dwell();
            *self.core.rivals() = self.lanes.rivals(&dwell, now);
            self.lanes.open(reach, &dwell, now, room)
        };
        if !self.reclaim {
            self.core.slots.take_offers(self.generation);
        }
        if room == (Room::default(), Room::default()) || (lanes.is_empty() && !due) {
            self.count_running();
            return None;
        }
        let suspects = self.attempts.places().suspects + self.queue.places().suspects;
        let suspects = if suspects > 0 { SuspectsAllowed::None } else { SuspectsAllowed::One };
        Some(Claim {
            epoch: self.core.epoch,
            lanes,
            async_room: room.0,
            blocking_room: room.1,
            expedited_budget: self.core.limits.expedited_budget,
            barred: self.attempts.barred(),
            suspects,
        })
    }

    /// The runs that the store should know of.
    fn held(&self) -> Vec<(WorkId, u64)> {
        self.attempts.held().into_iter().chain(self.queue.held()).collect()
    }

    /// No claim is under way: what runs, or is about to, holds its slots, and the rest is free.
    pub(super) fn count_running(&self) {
        self.core.slots.set_running(self.attempts.places().taken.and(self.queue.places().taken));
    }

    /// Writes these, and starts what was claimed before while the store is busy with them.
    pub(super) async fn transact(&mut self, units: Vec<Unit>) {
        self.linger.on_sent();
        self.attempts.begin_cohort();
        let store = Arc::clone(&self.core.store);
        let mut answers = store.transact(units.clone());
        let answers = loop {
            let polled = poll_fn(|cx| Poll::Ready(answers.as_mut().poll(cx))).await;
            match polled {
                Poll::Ready(answers) => break answers,
                Poll::Pending if self.start_some() == Started::Some => {}
                Poll::Pending => break answers.await,
            }
        };
        match answers {
            Ok(answers) => {
                self.succeeded();
                self.on_answers(units, answers);
                self.answer_flushes();
            }
            // One row that can't be read must not hold up everything else.
            Err(error) if error.kind() == StoreErrorKind::Corrupted && may_be_split(&units) => {
                self.one_by_one(units).await
            }
            Err(error) => self.failed(units, &error),
        }
        self.count_running();
    }

    async fn one_by_one(&mut self, units: Vec<Unit>) {
        for unit in units {
            match self.core.store.transact(vec![unit.clone()]).await {
                Ok(answers) => self.on_answers(vec![unit], answers),
                Err(error)
                    if error.kind() == StoreErrorKind::Corrupted && matches!(unit.command, Command::Prune(_)) =>
                {
                    self.on_damaged_prune(&error);
                }
                Err(error) if error.kind() == StoreErrorKind::Corrupted => {
                    tracing::error!(command = ?unit.command, %error, "can't be written, since a row that it needs is damaged");
                    self.core.health.failed(&error);
                    match unit.command {
                        Command::Rescue => self.rescue = false,
                        Command::Claim(_) => self.failed(vec![unit], &error),
                        _ => {}
                    }
                }
                Err(error) => self.failed(vec![unit], &error),
            }
        }
    }

    /// A pass finds a way around what is damaged, step by step, and only the end of that is news.
    fn on_damaged_prune(&mut self, error: &StoreError) {
        if self.keeper.on_damage(error, self.moment()) == Progress::Over {
            tracing::error!(%error, "finished work can't be deleted, since what lists it is damaged; it is tried again later");
            self.core.health.failed(error);
        }
    }

    fn on_answers(&mut self, units: Vec<Unit>, answers: Vec<UnitResult>) {
        for (unit, answer) in units.into_iter().zip(answers) {
            self.on_answer(unit, answer);
        }
    }

    /// All that was said is on disk.
    fn answer_flushes(&mut self) {
        for (_, done) in self.flushes.drain(..) {
            // A worker that does not wait any more does not want to know.
            let _ = done.send(());
        }
    }

    fn on_answer(&mut self, unit: Unit, answer: UnitResult) {
        match (unit.command, answer) {
            (Command::Settle(settle), answer) => {
                self.attempts.forget(settle.id, settle.fence);
                verdict::log_settled(&settle, &answer, &self.core);
            }
            (Command::Claim(_), Ok(Applied::Claimed { works, drained, next_due, now, again })) => {
                self.core.time.learn(unit.at, now);
                drained.into_iter().for_each(|lane| self.lanes.cool(lane));
                self.next_due = next_due;
                self.look |= again;
                works.into_iter().for_each(|claimed| self.line_up(claimed));
            }
            (Command::Rescue, Ok(Applied::Released { count, again })) => {
                tracing::info!(count, "works of a dead process were given back");
                self.rescue = again;
            }
            (Command::Reclaim { .. }, Ok(Applied::Reclaimed { stale, lanes, .. })) => self.on_reclaimed(&stale, &lanes),
            (Command::Drain, Ok(Applied::Drained { again })) => self.cascade = again,
            (Command::Prune(_), Ok(Applied::Pruned { count, stored, next, next_due, .. })) => {
                let now = self.moment();
                if let Some(Damaged { id, error }) =
                    self.keeper.on_pruned(Pruned { count, stored, next, next_due }, now)
                {
                    tracing::error!(%id, ?error, "finished work is damaged and stays; the others go");
                    error.iter().for_each(|error| self.core.health.failed(error));
                }
            }
            (Command::Note(_), Ok(_)) => {}
            (Command::Note(note), Err(_)) => {
                self.flushes.retain(|(id, _)| *id != note.id);
                self.attempts.fence_off(note.id, note.fence, StopReason::CancelledByApp);
            }
            (_, Err(Refusal::EpochClosed(epoch))) => {
                tracing::error!(epoch, "the store does not know this manager any more; it ends");
                self.store_gone = true;
            }
            (command, Err(refusal)) => tracing::debug!(?command, %refusal, "refused"),
            (command, Ok(answer)) => tracing::error!(?command, ?answer, "a command got the answer to another"),
        }
    }

    /// All that this manager did not name was given back, and what it named and does not hold is told to stop.
    fn on_reclaimed(&mut self, stale: &[(WorkId, u64)], lanes: &[Lane]) {
        for (id, fence) in stale {
            self.attempts.fence_off(*id, *fence, StopReason::CancelledByApp);
        }
        lanes.iter().for_each(|lane| self.add_lane(lane));
        (self.reclaim, self.look) = (false, true);
    }

    fn succeeded(&mut self) {
        if self.failures > 0 {
            tracing::info!("the store works again");
            if !self.runtime_gone {
                self.core.health.recovered();
            }
        }
        (self.failures, self.warm) = (0, true);
    }

    /// G14: an error of the store never ends the loop. What was to be written is kept and tried again, later and later.
    fn failed(&mut self, units: Vec<Unit>, error: &StoreError) {
        if error.is_closed() {
            if error.is_lost() {
                tracing::error!(%error, "the store is lost to this process; its manager ends");
                self.core.health.lost(error);
            }
            self.store_gone = true;
            return;
        }
        self.failures += 1;
        let wait = wait_after(self.failures);
        self.retry_at = Some(self.core.clock.monotonic() + wait);
        tracing::warn!(%error, ?wait, "the store failed; the same is tried again");
        self.core.health.failed(error);
        let mut ends = Vec::new();
        for unit in units {
            match unit.command {
                Command::Settle(settle) => ends.push(settle),
                Command::Note(note) => {
                    self.attempts.put_back(note.id, note.fence, note.notes);
                    self.write_notes_by(wait);
                }
                Command::Claim(_) => {
                    self.look = true;
                    if error.is_indeterminate() {
                        self.want_reclaim();
                    }
                }
                _ => {}
            }
        }
        self.ends.splice(0..0, ends);
    }
}

/// Whether a damaged row that one of these units met may be left alone, so that the others get on.
fn may_be_split(units: &[Unit]) -> bool {
    units.len() > 1 || matches!(units, [Unit { command: Command::Prune(_), .. }])
}

/// How long to wait after so many failures in a row.
pub(super) fn wait_after(failures: u32) -> Duration {
    let doubled = 1_u32 << failures.saturating_sub(1).min(16);
    FIRST_RETRY.saturating_mul(doubled).min(LONGEST_RETRY)
}
