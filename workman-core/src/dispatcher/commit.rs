//! The store's side of the [`Dispatcher`]: which commands its owners give to one transaction, and who of them hears of which answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::attempts::Suspicion;
use super::claims::Again;
use super::core::Asking;
use super::exit::Trying;
use super::inbox::Control;
use super::inbox::{Event, Heard};
use super::outbox::{Recovery, log_settled};
use super::prune::{Company, Pruned};
use super::standstill::Waits;
use super::{Dispatcher, Started, SweepState, sweep};
use crate::health::Awaited;
use crate::id::WorkId;
use crate::plan::{Applied, Barred, Claim, Command, Death, Refusal};
use crate::record::{LaneId, Standing, Wait};
use crate::state::StopReason;
use crate::store::{StoreError, StoreErrorKind, Unit, UnitResult};
use crate::time::Spoken;

impl Dispatcher {
    /// The commands of the next transaction, or none if there is nothing to do now.
    pub(super) fn units(&mut self) -> Vec<Unit> {
        let now = self.now();
        if !self.outbox.opens(now) {
            return Vec::new();
        }
        // What is deleted comes first, so that the hints of this very commit say what is left.
        let company = self.outbox.company();
        let mut commands = Vec::new();
        if self.exit.runs() {
            let (core, ends) = (&self.core, self.outbox.ended());
            let stride = || sweep::stride_beside(ends, &core.health);
            commands.extend(self.prune.command(|| Self::moment(core), company, stride).map(Command::Prune));
        }
        // What was said rides on any commit.
        if self.outbox.writes_notes(now) || company == Company::Ends || self.claims.looks() {
            commands.extend(self.take_notes());
        }
        commands.extend(self.outbox.take_ends().into_iter().map(Command::Settle));
        commands.extend(self.claims.errands(self.core.epoch, || self.attempts.held()));
        if self.exit.runs() {
            let asked = self.standstill.asks();
            let claim = self.claims.claim(&self.core, company, || self.attempts.beside(), &asked, now);
            commands.extend(claim.map(Command::Claim));
        }
        if commands.is_empty() {
            self.outbox.answer_flushes();
        }
        self.core.units(commands)
    }

    pub(super) fn take_notes(&mut self) -> Vec<Command> {
        let (mut notes, noted) = self.outbox.take_notes();
        notes.extend(self.attempts.take_notes(&noted));
        notes.into_iter().map(Command::Note).collect()
    }

    /// Writes these, and starts what was claimed before while the store is busy with them.
    pub(super) async fn transact(&mut self, units: Vec<Unit>) {
        self.outbox.on_sent();
        self.attempts.begin_cohort();
        let store = Arc::clone(&self.core.store);
        let asking = Asking::new(Arc::clone(&self.core), awaited(&units));
        let mut answers = store.transact(units.clone());
        let mut meanwhile = Vec::new();
        let answers = loop {
            let polled = poll_fn(|cx| Poll::Ready(answers.as_mut().poll(cx))).await;
            match polled {
                Poll::Ready(answers) => break Some(answers),
                Poll::Pending if self.start_some() == Started::Some => {}
                Poll::Pending => break self.answered(&mut answers, &mut meanwhile).await,
            }
        };
        let Some(answers) = answers else {
            self.exit.on_uncertain(units.iter().filter_map(settled));
            return self.exit.on_silence(self.core.silence());
        };
        drop(asking);
        match answers {
            Ok(answers) => {
                self.prune.on_written();
                if self.outbox.on_written() == Recovery::Recovered {
                    self.core.health.recovered();
                }
                self.on_answers(units, answers);
                self.outbox.answer_flushes();
            }
            // One row that can't be read must not hold up everything else.
            Err(error) if error.kind() == StoreErrorKind::Corrupted && may_be_split(&units) => {
                self.one_by_one(units).await;
            }
            Err(error) => self.on_failed(units, &error),
        }
        self.count_running();
        meanwhile.into_iter().for_each(|event| self.on_event(event));
    }

    /// Waits for an answer of the store. A manager that is told to leave meanwhile begins with that, and waits no longer than it may:
    /// `None` if there was no answer until then. What else it is told comes later.
    pub(super) async fn answered<F: Future + Unpin>(
        &mut self,
        answer: &mut F,
        later: &mut Vec<Event>,
    ) -> Option<F::Output> {
        loop {
            let clock = Arc::clone(&self.core.clock);
            let ends_at = self.exit.ends_at();
            let wake = ends_at.map(|ends_at| self.attempts.next_wake().map_or(ends_at, |wake| wake.and(ends_at)));
            match self.inbox.beside(answer, wake, &*clock).await {
                Heard::Answer(answer) => return Some(answer),
                Heard::Meanwhile(event @ Event::Handle(Control::Shutdown { .. } | Control::HandlesGone)) => {
                    self.on_event(event);
                }
                Heard::Meanwhile(Event::Woken) => {}
                Heard::Meanwhile(event) => later.push(event),
            }
            let now = self.now();
            for over in self.attempts.stop_what_must(now) {
                self.on_over(over);
            }
            if self.exit.is_over(now) {
                return None;
            }
        }
    }

    async fn one_by_one(&mut self, units: Vec<Unit>) {
        for unit in units {
            let answer = {
                let _asking = Asking::new(Arc::clone(&self.core), awaited(std::slice::from_ref(&unit)));
                self.core.store.transact(vec![unit.clone()]).await
            };
            match answer {
                Ok(answers) => self.on_answers(vec![unit], answers),
                Err(error) if error.kind() == StoreErrorKind::Corrupted => self.on_damaged(unit, &error),
                Err(error) => self.on_failed(vec![unit], &error),
            }
        }
    }

    /// The ends that are not settled yet, and then all claims, tried again until it is time to go. Answers why that failed.
    pub(super) async fn give_back(&mut self) -> Option<String> {
        let mut left = self.take_notes();
        left.extend(self.outbox.take_ends().into_iter().map(Command::Settle));
        loop {
            let detach = Command::Detach { epoch: self.core.epoch };
            let units = self.core.units(left.iter().cloned().chain([detach]));
            let store = Arc::clone(&self.core.store);
            let asking = Asking::new(Arc::clone(&self.core), awaited(&units));
            let answer = self.answered(&mut store.transact(units), &mut Vec::new()).await;
            let Some(answer) = answer else {
                self.exit.on_silence(self.core.silence());
                return self.exit.silence();
            };
            drop(asking);
            match answer {
                Ok(answers) if matches!(answers.last(), Some(Ok(Applied::Released { again: true, .. }))) => {
                    left.clear()
                }
                Ok(_) => return None,
                Err(error) if self.exit.tries_again(&error, self.now()) == Trying::InVain => {
                    return Some(error.to_string());
                }
                Err(_) => {
                    while self.exit.rests(self.now()) {
                        self.wait().await;
                        self.on_time();
                    }
                }
            }
        }
    }

    // ---- what the store answers ----

    fn on_answers(&mut self, units: Vec<Unit>, answers: Vec<UnitResult>) {
        for (unit, answer) in units.into_iter().zip(answers) {
            self.on_answer(unit, answer);
        }
    }

    fn on_answer(&mut self, unit: Unit, answer: UnitResult) {
        match (unit.command, answer) {
            (Command::Settle(settle), answer) => {
                // Observers saw the last progress of the run until now: what was stored is older, and progress never goes back.
                self.core.live.forget(settle.id, settle.fence);
                let attempt = self.attempts.take_failed(settle.id, settle.fence);
                log_settled(&settle, &answer, attempt.as_deref(), &self.core);
            }
            (Command::Claim(claim), Ok(Applied::Claimed { works, drained, shut, next_due, now, again })) => {
                self.core.time.learn(unit.at, now);
                let Claim { watched, barred, .. } = claim;
                let with: Vec<LaneId> =
                    watched.iter().copied().filter(|lane| !drained.contains(lane) && !shut.contains(lane)).collect();
                // What is barred may stand in the others, so they are looked into as before.
                let is_empty = |lane: &LaneId| barred == Barred::default() || !watched.contains(lane);
                self.claims.on_claimed(drained.into_iter().filter(is_empty).collect(), next_due, again.into());
                self.on_watched(&with);
                works.into_iter().for_each(|claimed| self.line_up(claimed));
            }
            (Command::Rescue, Ok(Applied::Released { died, again, .. })) => {
                log_deaths(&died);
                self.claims.on_rescued(again.into());
            }
            (Command::Reclaim { .. }, Ok(Applied::Reclaimed { stale, lanes, .. })) => {
                // What was named and is held no more is told to stop.
                for (id, fence) in stale {
                    self.attempts.fence_off(id, fence, StopReason::CancelledByApp);
                }
                self.claims.on_reclaimed(&lanes, &self.core);
            }
            (Command::Drain, Ok(Applied::Drained { again })) => self.claims.on_drained(again.into()),
            (Command::Prune(_), Ok(Applied::Pruned { count, stored, next, next_due, .. })) => {
                let pruned = Pruned { count, stored, next, next_due };
                if let Some(error) = self.prune.on_pruned(pruned, Self::moment(&self.core)).and_then(|met| met.error) {
                    self.core.health.failed(&error);
                }
            }
            (Command::Note(note), Ok(Applied::Noted { blame })) => {
                if self.attempts.on_noted(note.id, note.fence, blame) == Suspicion::Over {
                    self.claims.look();
                }
            }
            (Command::Note(note), Err(_)) => {
                self.outbox.forget_flushes(note.id);
                self.attempts.fence_off(note.id, note.fence, StopReason::CancelledByApp);
            }
            (_, Err(Refusal::EpochClosed(epoch))) => {
                tracing::error!(epoch, "the store does not know this manager any more; it ends");
                self.exit.on_store_gone();
            }
            (command, Err(refusal)) => tracing::debug!(?command, %refusal, "refused"),
            (command, Ok(answer)) => tracing::error!(?command, ?answer, "a command got the answer to another"),
        }
    }

    /// The store has said in which of the lanes that are watched something waits.
    fn on_watched(&mut self, waiting: &[LaneId]) {
        let (kinds, now) = (self.claims.kinds_of(waiting), self.now());
        for kind in self.standstill.asks() {
            let answer = match () {
                () if kinds.contains(&kind) => Waits::Yes(self.attempts.who_holds(kind)),
                () if self.claims.seems_to_wait(kind, &self.core, now) => Waits::ItOnlySeems,
                () => Waits::No,
            };
            self.standstill.on_answer(kind, answer, now, &self.core.health);
        }
    }

    /// G14: an error of the store never ends the loop. What was to be written is kept and tried again, later and later.
    fn on_failed(&mut self, units: Vec<Unit>, error: &StoreError) {
        if error.is_closed() {
            if error.is_lost() {
                tracing::error!(%error, "the store is lost to this process; its manager ends");
                self.core.health.lost(error);
            }
            return self.exit.on_store_gone();
        }
        let now = self.now();
        let wait = self.outbox.on_failed(now);
        tracing::warn!(%error, next_in = %Spoken(wait), "the store failed; the same is tried again");
        self.core.health.failed(error);
        let mut ends = Vec::new();
        for unit in units {
            match unit.command {
                Command::Settle(settle) => ends.push(settle),
                Command::Note(note) => {
                    self.outbox.on_noted(note.id, now.saturating_add(wait));
                    self.attempts.put_back(note).into_iter().for_each(|note| self.outbox.on_last_words(note));
                }
                Command::Claim(_) => self.claims.on_claim_failed(error, &self.core.slots),
                _ => {}
            }
        }
        self.outbox.put_back(ends);
    }

    /// This can't be written, since a row that it needs is damaged.
    fn on_damaged(&mut self, unit: Unit, error: &StoreError) {
        // A pass finds a way around what is damaged, step by step, and only the end of that is news.
        if matches!(unit.command, Command::Prune(_)) {
            if self.prune.on_damage(error, Self::moment(&self.core)) == SweepState::Over {
                self.core.health.failed(error);
            }
            return;
        }
        tracing::error!(command = ?unit.command, %error, "can't be written, since a row that it needs is damaged");
        self.core.health.failed(error);
        match unit.command {
            Command::Rescue => self.claims.on_rescued(Again::Done),
            Command::Claim(_) => self.on_failed(vec![unit], error),
            Command::Settle(settle) => drop(self.attempts.take_failed(settle.id, settle.fence)),
            _ => {}
        }
    }
}

/// A run waits for its claim and for its end. Nobody waits for what is done in between.
fn awaited(units: &[Unit]) -> Awaited {
    let is_upkeep = |unit: &Unit| matches!(unit.command, Command::Prune(_) | Command::Drain);
    if units.iter().all(is_upkeep) { Awaited::ByNobody } else { Awaited::BySomebody }
}

/// The work whose end it brings.
fn settled(unit: &Unit) -> Option<WorkId> {
    match &unit.command {
        Command::Settle(settle) => Some(settle.id),
        _ => None,
    }
}

/// Says under which works the process died: one of them may have killed it.
pub(crate) fn log_deaths(died: &[Death]) {
    for Death { id, worker, deaths, then } in died {
        match then {
            Standing::Parked { why } => {
                tracing::warn!(%id, %worker, deaths, %why, "its process died while it ran; it is parked");
            }
            Standing::Finished { .. } => {
                tracing::warn!(%id, %worker, deaths, "its process died while it ran; it has failed for good");
            }
            Standing::Waiting { why: Wait::Period, .. } => {
                tracing::warn!(%id, %worker, deaths, "its process died while it ran; its period ends, and the next will come");
            }
            Standing::Ready { .. } => {
                tracing::info!(%id, %worker, deaths, "its process died while it ran; it runs again");
            }
            _ => {
                tracing::warn!(%id, %worker, deaths, "its process died while it ran; it runs again later, with no other suspect")
            }
        }
    }
}

/// Whether a damaged row that one of these units met may be left alone, so that the others get on.
fn may_be_split(units: &[Unit]) -> bool {
    units.len() > 1 || matches!(units, [Unit { command: Command::Prune(_), .. }])
}
