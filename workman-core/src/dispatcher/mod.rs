//! [`Dispatcher`]: one loop that claims what may start, runs it, and settles what ended.
//!
//! It re-derives everything from the store, so every hint may be lost: a hint only makes it look sooner. It decides nothing
//! about a work; it says which lanes are open and which slots are free, and sends ends as commands. It has no thread of its own: a
//! program polls it on one, a test driver in place.
//!
//! Eight owners have a file and fields of their own, and nobody else touches those: the [`Inbox`] yields one [`Event`] after the
//! other; [`Claims`] has what is to start, [`Attempts`] what runs, the [`Outbox`] what is to be written, [`Pruning`] the deletion of
//! what is finished, [`Probes`] what the runtime is trusted with, [`Standstill`] what gets on, [`Exit`] the way out.
//! Here is the loop, and who hears of what has happened; who hears of what the store answers is in `commit`.

mod attempts;
mod claims;
mod commit;
mod core;
mod exit;
mod inbox;
mod lanes;
mod outbox;
mod probe;
mod prune;
mod slots;
mod standstill;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};

use crate::health::Trouble;
use crate::plan::{Claimed, Command, End, Hint, Settle};
use crate::record::Lane;
use crate::runtime;
use crate::sensor::Bell;
use crate::state::StopReason;
use crate::store::Change;
use crate::time::NextDue;
use crate::worker::{FromWorker, InTheWay};

pub(crate) use attempts::BEGIN_WITHIN;
use attempts::{Attempts, Begun, Conditions, Dropped, Over};
use claims::Claims;
pub(crate) use commit::log_deaths;
pub use core::MissingSensor;
pub(crate) use core::{Core, Rivals, Role};
pub(crate) use exit::Farewell;
use exit::{Exit, Leaving};
pub use inbox::ShutdownReport;
pub(crate) use inbox::{Control, Pipes};
use inbox::{Event, Inbox, Wake};
use outbox::Outbox;
use probe::Probes;
use prune::{Moment, Pruning};
pub(crate) use slots::{Reservation, Slots};
use standstill::Standstill;
pub(crate) use sweep::{Pace, Sweep, SweepState};

/// How long a dispatcher that is dropped waits for the store.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// How many are started before somebody looks what has happened meanwhile.
const AT_ONCE: usize = 32;

/// The loop, and the eight owners of its state.
pub(crate) struct Dispatcher {
    core: Arc<Core>,
    inbox: Inbox,
    claims: Claims,
    outbox: Outbox,
    attempts: Attempts,
    prune: Pruning,
    probes: Probes,
    standstill: Standstill,
    exit: Exit,
}

/// Whether anything was started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Started {
    Some,
    None,
}

impl Dispatcher {
    /// A dispatcher for a manager that has just attached.
    pub(crate) fn new(core: Arc<Core>, lanes: &[Lane], next_due: NextDue, pipes: Pipes) -> Self {
        let (attempts, from_workers) = Attempts::new(Arc::clone(&core));
        Dispatcher {
            inbox: Inbox::new(pipes, from_workers, Bell::new(Arc::clone(&core.senses))),
            claims: Claims::new(lanes, next_due, &core),
            outbox: Outbox::default(),
            probes: Probes::new(attempts.pipe()),
            attempts,
            prune: Pruning::new(&core.limits),
            standstill: Standstill::new(core.limits.standstill, core.clock.monotonic()),
            exit: Exit::new(core.role),
            core,
        }
    }

    /// More was left to rescue than one commit may.
    pub(crate) fn rescue_more(&mut self) {
        self.claims.rescue_more();
    }

    /// Runs until the manager has left.
    pub(crate) async fn run(mut self) -> Farewell {
        loop {
            while let Some(event) = self.inbox.take() {
                self.on_event(event);
            }
            self.on_time();
            if self.exit.store_is_gone()
                || self.exit.store_is_silent()
                || (self.exit.is_leaving() && self.attempts.is_empty())
            {
                break;
            }
            self.claims.try_again();
            if !self.outbox.is_crowded() && self.start_some() == Started::Some {
                continue;
            }
            if self.outbox.may_have_company(self.attempts.young()) && self.outbox.lingers(self.now()) {
                runtime::yield_now().await;
                continue;
            }
            let units = self.units();
            if units.is_empty() {
                if self.is_idle() {
                    self.exit.tell_idle();
                }
                self.wait().await;
            } else {
                self.transact(units).await;
            }
        }
        self.leave().await
    }

    fn now(&self) -> Duration {
        self.core.clock.monotonic()
    }

    fn moment(core: &Core) -> Moment {
        Moment { store: core.store_now(), monotonic: core.clock.monotonic() }
    }

    // ---- what has happened ----

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Worker(FromWorker::Noted(id)) if self.attempts.runs(id) => {
                self.outbox.on_noted(id, self.now().saturating_add(self.core.limits.progress_delay));
            }
            Event::Worker(FromWorker::Noted(_)) | Event::Woken => {}
            Event::Worker(FromWorker::Flush(id, done)) => self.outbox.on_flush(id, done),
            Event::Worker(FromWorker::Ended { id, fence, end }) => {
                self.claims.look();
                self.heed(&end);
                if let Some(over) = self.attempts.on_ended(id, fence, end) {
                    self.on_over(over);
                }
            }
            Event::Worker(FromWorker::Tried(kind, tried)) => {
                let now = self.now();
                if self.probes.on_tried(kind, tried, &self.core, now) {
                    self.claims.look();
                }
            }
            Event::Handle(Control::SlotsFree) | Event::Worker(FromWorker::OutOfTheWay) => self.claims.look(),
            Event::Handle(Control::Asked) => self.standstill.look_again(),
            Event::Handle(Control::Cascade) => self.claims.on_cascade(),
            Event::Handle(Control::WhenIdle(waiter)) => self.exit.wait_until_idle(waiter),
            Event::Handle(Control::Shutdown { grace, done }) => self.begin_leaving(grace, Some(done)),
            Event::Handle(Control::HandlesGone) => self.begin_leaving(Duration::ZERO, None),
            Event::Store(Change::Commit { hints, now, .. }) => {
                if !hints.is_empty() {
                    self.core.time.learn_past(now);
                }
                hints.iter().for_each(|hint| self.on_hint(hint));
            }
            Event::Store(Change::Lagged) => {
                self.claims.look_at_everything(&self.core.slots);
                self.prune.look_at_everything();
            }
            Event::Store(Change::Damaged(damage)) => self.core.health.damaged(damage),
            Event::StoreClosed => self.exit.on_store_gone(),
            Event::Sensed => {
                let answered = self.attempts.on_sensed(self.now());
                if self.inbox.on_asked(answered) {
                    self.core.health.is_over(Trouble::Sensor);
                }
                self.claims.look();
            }
        }
    }

    /// Some ends say more about this process than about their work, and the same would happen to the next.
    fn heed(&mut self, end: &End) {
        match end {
            End::Interrupted { reason } | End::HeldBack { reason, .. } if *reason == StopReason::StoreUnavailable => {
                self.outbox.on_unreadable(self.now());
            }
            End::Succeeded { .. } => self.outbox.on_readable(),
            _ => {}
        }
    }

    fn on_over(&mut self, over: Over) {
        self.claims.look();
        self.standstill.on_turn(over.kind, self.now(), &self.core.health);
        self.exit.count(over.id, over.parting);
        over.last_words.into_iter().for_each(|note| self.outbox.on_last_words(note));
        over.end.into_iter().for_each(|end| self.outbox.on_end(end));
        if let Some(dropped) = over.dropped {
            self.on_dropped(dropped);
        }
    }

    /// The runtime does not run what it was given.
    fn on_dropped(&mut self, Dropped { kind, begun }: Dropped) {
        if begun == Begun::No {
            self.claims.want_reclaim(&self.core.slots);
        }
        let mut places = self.attempts.places();
        let running = places.taken.of(kind).all();
        let now = self.now();
        self.probes.on_dropped(kind, running, &self.core, now);
    }

    fn begin_leaving(&mut self, grace: Duration, done: Option<oneshot::Sender<ShutdownReport>>) {
        self.core.slots.refuse_offers();
        if self.exit.leave(grace, done, self.now()) == Leaving::Begins {
            self.attempts.stop_all(StopReason::Shutdown, grace);
        }
    }

    fn on_hint(&mut self, hint: &Hint) {
        match hint {
            Hint::Ready(lane) => self.claims.on_ready(*lane),
            Hint::Due(due) => self.claims.on_due(*due),
            Hint::Lane(lane) => self.claims.add_lanes(std::slice::from_ref(lane), &self.core),
            Hint::Stop { id, fence, reason } => {
                self.claims.withdraw(*id);
                self.attempts.fence_off(*id, *fence, *reason);
            }
            Hint::Cascade => self.claims.on_cascade(),
            Hint::Opened => self.claims.look_into_all(),
            Hint::Finished { stored, until } => self.prune.on_finished(*stored, *until),
            Hint::Claimed { epoch, generation, works } if *epoch == self.core.epoch => {
                // The offer was taken.
                if self.claims.honours(*generation) && self.exit.runs() {
                    works.iter().for_each(|claimed| self.line_up(claimed.clone()));
                    self.count_running();
                }
                self.core.slots.heard_of(works.iter().map(|claimed| claimed.record.id));
            }
            Hint::CancelledAll | Hint::Claimed { .. } => {}
        }
    }

    /// What comes by the passing of time alone, and what follows from what has happened.
    fn on_time(&mut self) {
        let now = self.now();
        if let Some(panicked) = self.inbox.on_time(now) {
            tracing::error!(%panicked, "the sensor panicked; what it said before still counts, and it is asked again");
            self.core.health.is_in(Trouble::Sensor, format!("the sensor panicked: {panicked}"));
        }
        if self.attempts.on_time(now) == Conditions::MayHaveChanged {
            self.claims.look();
        }
        for over in self.attempts.stop_what_must(now) {
            self.on_over(over);
        }
        for kind in self.attempts.take_back(now) {
            self.on_dropped(Dropped { kind, begun: Begun::No });
        }
        if self.exit.runs() {
            self.probes.on_time(&self.core, now);
        }
        for id in self.attempts.proven(now) {
            self.outbox.on_noted(id, now);
        }
        if self.exit.runs() {
            let (core, claims) = (&self.core, &self.claims);
            self.standstill.on_time(now, |kind| core.slots.are_all_held(kind) && claims.seems_to_wait(kind, core, now));
        }
    }

    // ---- what starts ----

    fn line_up(&mut self, claimed: Claimed) {
        if let Some(end) = self.claims.line_up(claimed, &self.core) {
            self.outbox.on_end(end);
        }
    }

    /// Starts some of what was claimed.
    fn start_some(&mut self) -> Started {
        let mut started = Started::None;
        if !self.exit.runs() {
            return started;
        }
        for _ in 0..AT_ONCE {
            let Some(next) = self.claims.next(&self.core.slots, self.attempts.places()) else { break };
            started = Started::Some;
            let (id, fence) = (next.claimed.record.id, next.claimed.record.fence);
            let not_begun = Settle { id, fence, end: End::NotBegun };
            if self.attempts.comes_too_late(&next.claimed) {
                self.outbox.on_end(not_begun);
                continue;
            }
            match self.attempts.enter(&next.claimed, next.worker.def.kind) {
                Ok(here) => {
                    self.standstill.on_turn(next.worker.def.kind, self.now(), &self.core.health);
                    if let Some(dropped) = self.attempts.start(next.claimed, next.worker, here) {
                        self.on_dropped(dropped);
                    }
                }
                Err(InTheWay) => self.outbox.on_end(not_begun),
            }
        }
        if started == Started::Some {
            self.outbox.on_started(self.now());
        }
        started
    }

    fn count_running(&self) {
        self.claims.count(&self.core.slots, self.attempts.places());
    }

    // ---- waiting, and the end ----

    /// Waits until something happens or is due.
    async fn wait(&mut self) {
        let wake = self.next_wake(self.now());
        let event = self.inbox.next(wake, &*self.core.clock).await;
        self.on_event(event);
    }

    /// When the first of the owners has something to do. Nothing is claimed or deleted while the store is left alone, whatever is due.
    fn next_wake(&self, now: Duration) -> Option<Wake> {
        let writes = self.exit.runs() && self.outbox.held_until(now).is_none();
        let wakes = [
            self.attempts.next_wake(),
            self.outbox.next_wake(now),
            writes.then(|| self.claims.next_wake(&self.core, now)).flatten(),
            writes.then(|| self.prune.next_wake(Self::moment(&self.core))).flatten(),
            self.exit.next_wake(),
            self.inbox.next_wake(),
            self.exit.runs().then(|| self.probes.next_wake()).flatten(),
            self.exit.runs().then(|| self.standstill.next_wake()).flatten(),
        ];
        wakes.into_iter().flatten().reduce(Wake::and)
    }

    /// Whether nothing runs and nothing can start.
    fn is_idle(&self) -> bool {
        self.attempts.is_empty() && self.outbox.is_quiet() && self.claims.is_empty() && !self.probes.are_hopeful()
    }

    /// Writes and gives back what is left. Who waits for the end is told by the answer, when nothing of the engine is left that
    /// holds the store.
    async fn leave(&mut self) -> Farewell {
        self.exit.on_uncertain(self.attempts.held().into_iter().map(|(id, _)| id));
        self.exit.on_uncertain(self.outbox.ends());
        self.attempts.abandon_all();
        let error = match () {
            () if self.exit.store_is_gone() => None,
            () if self.exit.store_is_silent() => self.exit.silence(),
            () => self.give_back().await,
        };
        self.core.health.ended();
        self.core.hub.close();
        self.exit.farewell(error)
    }
}

/// A dispatcher that is dropped before it has left (its engine was dropped, or it panicked) leaves in a hurry.
impl Drop for Dispatcher {
    fn drop(&mut self) {
        if self.exit.has_left() {
            return;
        }
        self.attempts.abandon_all();
        let detach = self.core.store.transact(vec![self.core.unit(Command::Detach { epoch: self.core.epoch })]);
        let given_back = match runtime::block_on(select(detach, self.core.clock.sleep(LAST_PATIENCE))) {
            Either::Left((given_back, _)) => given_back.map(drop).map_err(|error| error.to_string()),
            Either::Right(_) => Err("the store does not answer".to_owned()),
        };
        if let Err(error) = given_back {
            tracing::warn!(error, "what ran here could not be given back; the next opening of the store rescues it");
        }
        self.core.health.ended();
        self.core.hub.close();
    }
}
