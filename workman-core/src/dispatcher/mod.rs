//! The dispatcher: one loop that claims what may start, runs it, and settles what ended.
//!
//! It re-derives everything from the store, so every hint may be lost: a hint only makes it look sooner. It decides nothing
//! about a work; it says which lanes are open and which slots are free, and sends ends as commands. It has no thread of its own: a
//! program polls it on one, a test driver in place.

mod attempts;
mod lanes;
mod slots;
mod undecodable;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender};
use futures::channel::oneshot;
use futures::future::{self, BoxFuture};
use futures::stream::BoxStream;

use crate::constraints::{ConstraintKind, Constraints};
use crate::health::Health;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::observe::Hub;
use crate::plan::{Applied, Claim, Claimed, Command, Hint, Note, Settle, SuspectsAllowed, WorkerKind};
use crate::record::{Lane, LaneId, Notes};
use crate::runtime::Runtime;
use crate::sensor::{ConstraintSensor, Dwell};
use crate::state::StopReason;
use crate::store::{Change, Store, StoreError, Unit, UnitResult};
use crate::time::{Clock, LONGEST_SLEEP, Timestamp};
use crate::worker::{Attempt, FromWorker, Registry, States};

use attempts::Attempts;
use lanes::Lanes;
pub(crate) use slots::{Offers, Reservation, Slots};

/// What the handles of a manager and its dispatcher share.
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) sensor: Arc<dyn ConstraintSensor>,
    pub(crate) registry: Registry,
    pub(crate) states: Arc<States>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) missing_sensor: MissingSensor,
    pub(crate) role: Role,
    pub(crate) epoch: u64,
    pub(crate) hub: Arc<Hub>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) health: Health,
    pub(crate) dwell: Mutex<Dwell>,
    /// The lanes that are open now: what is ready there may rank higher than what is offered a slot.
    pub(crate) rivals: Mutex<Vec<LaneId>>,
    /// The attempts that run here, for those who want to see uncommitted progress.
    pub(crate) live: Mutex<BTreeMap<WorkId, Arc<Attempt>>>,
    pub(crate) dispatcher: UnboundedSender<Control>,
}

/// What to do about constraints that no sensor observes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingSensor {
    /// A request with such a constraint is refused.
    #[default]
    Refuse,
    /// Such work waits, visibly, until a program with a sensor runs it.
    Wait,
    /// The constraint counts as met.
    AssumeMet,
}

/// What a manager does beside enqueueing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It runs work.
    Runs,
    /// It leaves running to others.
    EnqueuesOnly,
}

/// What handles tell the dispatcher.
pub(crate) enum Control {
    /// Reserved slots are free again, and a claim has missed them.
    SlotsFree,
    /// Say when nothing runs and nothing can start.
    WhenIdle(oneshot::Sender<()>),
    /// Start nothing more, and stop what runs.
    Shutdown { grace: Duration, done: oneshot::Sender<ShutdownReport> },
    /// The last handle is gone.
    HandlesGone,
}

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Runs that ended by themselves within the grace period.
    pub ended: usize,
    /// Runs that did not end in time: async workers were dropped, blocking ones go on without effect. Their work runs again.
    pub given_up: Vec<WorkId>,
    /// What the store said, if giving the work back failed; it is rescued at the next start then.
    pub error: Option<String>,
}

impl Core {
    pub(crate) fn unit(&self, command: Command) -> Unit {
        Unit { command, wall: self.clock.wall() }
    }

    pub(crate) fn dwell(&self) -> MutexGuard<'_, Dwell> {
        self.dwell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rivals(&self) -> MutexGuard<'_, Vec<LaneId>> {
        self.rivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The constraints that count: without those that nobody observes, if the builder said so.
    pub(crate) fn effective(&self, constraints: Constraints) -> Constraints {
        if self.missing_sensor != MissingSensor::AssumeMet || constraints.is_none() {
            return constraints;
        }
        let conditions = self.sensor.conditions();
        let unobserved = ConstraintKind::ALL.into_iter().filter(|kind| !conditions.observes(*kind));
        unobserved.fold(constraints, Constraints::without)
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, BTreeMap<WorkId, Arc<Attempt>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the manager is on its way out.
enum Phase {
    Running,
    Leaving { done: Option<oneshot::Sender<ShutdownReport>>, report: ShutdownReport },
}

/// Whether the sensor has news.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sensed {
    Change,
    Nothing,
}

/// Where a reclaim stands: what was offered meanwhile must not start before its fate is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reclaim {
    Settled,
    Wanted,
    Announced,
}

/// The loop and its state.
pub(crate) struct Dispatcher {
    core: Arc<Core>,
    lanes: Lanes,
    attempts: Attempts,
    /// Ends that are not settled yet.
    ends: Vec<Settle>,
    /// Work that was claimed by an offer while a reclaim was on its way.
    limbo: Vec<Claimed>,
    reclaim: Reclaim,
    rescue: bool,
    cascade: bool,
    /// Whether something happened since the last claim that may let something start.
    look: bool,
    next_due: Option<Timestamp>,
    /// What is added to the wall clock to get store time.
    skew_ms: i64,
    /// When progress is to be written, on the monotonic clock.
    write_notes_at: Option<Duration>,
    /// When conditions may count by the passing of time alone, on the monotonic clock.
    dwell_at: Option<Duration>,
    flushes: Vec<(WorkId, oneshot::Sender<()>)>,
    idle_waiters: Vec<oneshot::Sender<()>>,
    failures: u32,
    retry_at: Option<Duration>,
    phase: Phase,
    controls: UnboundedReceiver<Control>,
    from_workers: UnboundedReceiver<FromWorker>,
    changes: BoxStream<'static, Change>,
    sensed: BoxStream<'static, ()>,
    store_gone: bool,
}

/// The pipes that end at a dispatcher.
pub(crate) struct Pipes {
    pub(crate) controls: UnboundedReceiver<Control>,
    pub(crate) changes: BoxStream<'static, Change>,
}

/// The first wait after a store's error; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

impl Dispatcher {
    /// A dispatcher for a manager that has just attached.
    pub(crate) fn new(core: Arc<Core>, lanes: &[Lane], next_due: Option<Timestamp>, pipes: Pipes) -> Self {
        let (attempts, from_workers) = Attempts::new(Arc::clone(&core));
        let sensed = core.sensor.changes().fuse().boxed();
        let mut dispatcher = Dispatcher {
            lanes: Lanes::default(),
            attempts,
            ends: Vec::new(),
            limbo: Vec::new(),
            reclaim: Reclaim::Settled,
            rescue: false,
            cascade: true,
            look: true,
            next_due,
            skew_ms: 0,
            write_notes_at: None,
            dwell_at: None,
            flushes: Vec::new(),
            idle_waiters: Vec::new(),
            failures: 0,
            retry_at: None,
            phase: Phase::Running,
            controls: pipes.controls,
            from_workers,
            changes: pipes.changes.fuse().boxed(),
            sensed,
            store_gone: false,
            core,
        };
        lanes.iter().for_each(|lane| dispatcher.add_lane(lane));
        dispatcher
    }

    /// More was left to rescue than one commit may.
    pub(crate) fn rescue_more(&mut self) {
        self.rescue = true;
    }

    /// Runs until the manager has left.
    pub(crate) async fn run(mut self) {
        self.core.slots.set_offers(if self.core.role == Role::Runs { Offers::Taken } else { Offers::Refused });
        if self.core.role == Role::Runs {
            undecodable::retry(&self.core).await;
        }
        loop {
            self.take_events();
            self.stop_what_must();
            if self.is_over() {
                break;
            }
            let units = self.units();
            if units.is_empty() {
                self.tell_idle();
                self.wait().await;
            } else {
                self.transact(units).await;
            }
        }
        self.leave().await;
    }

    fn add_lane(&mut self, lane: &Lane) {
        self.lanes.add(lane, &self.core);
    }

    // ---- what has happened ----

    /// Takes everything that has happened so far, without waiting.
    fn take_events(&mut self) {
        while let Some(Some(event)) = self.from_workers.next().now_or_never() {
            self.on_worker(event);
        }
        while let Some(Some(control)) = self.controls.next().now_or_never() {
            self.on_control(control);
        }
        loop {
            match self.changes.next().now_or_never() {
                Some(Some(change)) => self.on_change(change),
                Some(None) => {
                    self.store_gone = true;
                    break;
                }
                None => break,
            }
        }
        let mut sensed = Sensed::Nothing;
        while let Some(Some(())) = self.sensed.next().now_or_never() {
            sensed = Sensed::Change;
        }
        self.observe_conditions(sensed);
    }

    /// What the sensor says counts from now on; what it said before may count by the passing of time alone.
    fn observe_conditions(&mut self, sensed: Sensed) {
        let now = self.core.clock.monotonic();
        let due = self.dwell_at.is_some_and(|at| at <= now);
        if sensed == Sensed::Nothing && !due {
            return;
        }
        let mut dwell = self.core.dwell();
        if sensed == Sensed::Change {
            dwell.observe(self.core.sensor.conditions(), now);
        }
        self.dwell_at = dwell.next_change(now);
        drop(dwell);
        self.look = true;
    }

    fn on_worker(&mut self, event: FromWorker) {
        match event {
            FromWorker::Noted => {
                let at = self.core.clock.monotonic() + self.core.limits.progress_delay;
                self.write_notes_at.get_or_insert(at);
            }
            FromWorker::Flush(id, done) => self.flushes.push((id, done)),
            FromWorker::Ended { id, fence, end } => {
                self.look = true;
                self.ends.extend(self.attempts.on_ended(id, fence, end));
            }
        }
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::SlotsFree => self.look = true,
            Control::WhenIdle(waiter) => self.idle_waiters.push(waiter),
            Control::Shutdown { grace, done } => self.begin_leaving(grace, Some(done)),
            Control::HandlesGone => self.begin_leaving(Duration::ZERO, None),
        }
    }

    fn begin_leaving(&mut self, grace: Duration, done: Option<oneshot::Sender<ShutdownReport>>) {
        self.core.slots.set_offers(Offers::Refused);
        if let Phase::Leaving { done: waiting @ None, .. } = &mut self.phase {
            *waiting = done;
        } else if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Leaving { done, report: ShutdownReport::default() };
            self.attempts.stop_all(StopReason::Shutdown, grace);
        }
    }

    fn on_change(&mut self, change: Change) {
        match change {
            Change::Lagged => {
                self.lanes.heat_all();
                self.next_due = Some(Timestamp::MIN);
                self.cascade = true;
                self.look = true;
                self.want_reclaim();
            }
            Change::Commit { now, hints, .. } => {
                self.skew_ms = now.as_millis().saturating_sub(self.core.clock.wall().as_millis());
                hints.iter().for_each(|hint| self.on_hint(hint));
            }
        }
    }

    fn on_hint(&mut self, hint: &Hint) {
        match hint {
            Hint::Ready(lane) => {
                self.lanes.heat(*lane);
                self.look = true;
            }
            Hint::Due(due) => self.next_due = Some(self.next_due.map_or(*due, |next| next.min(*due))),
            Hint::Lane(lane) => self.add_lane(lane),
            Hint::Stop { id, fence, reason } => self.attempts.fence_off(*id, *fence, *reason),
            Hint::Cascade => (self.cascade, self.look) = (true, true),
            Hint::Claimed { epoch, works } if *epoch == self.core.epoch => match self.reclaim {
                Reclaim::Settled => works.iter().cloned().for_each(|claimed| self.start(claimed)),
                _ => self.limbo.extend(works.iter().cloned()),
            },
            Hint::Reclaimed { epoch } if *epoch == self.core.epoch => {
                // What is in limbo was claimed before the reclaim and has been given back.
                self.limbo.clear();
                if self.reclaim == Reclaim::Announced {
                    self.reclaim = Reclaim::Settled;
                }
            }
            Hint::Claimed { .. } | Hint::Reclaimed { .. } => {}
        }
    }

    /// An answer was lost: the store may think that this manager runs more than it does.
    fn want_reclaim(&mut self) {
        self.reclaim = Reclaim::Wanted;
        self.core.slots.set_offers(Offers::Refused);
    }

    // ---- what is to be done ----

    fn stop_what_must(&mut self) {
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
    fn is_over(&self) -> bool {
        let leaving = matches!(self.phase, Phase::Leaving { .. });
        let tried_enough = self.failures > 0;
        self.store_gone || (leaving && self.attempts.is_empty() && (self.ends.is_empty() || tried_enough))
    }

    /// The commands of the next transaction, or none if there is nothing to do now.
    fn units(&mut self) -> Vec<Unit> {
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
        let runs = self.core.role == Role::Runs && matches!(self.phase, Phase::Running);
        let due = self.next_due.is_some_and(|due| due <= self.store_now());
        if !runs || !(self.look || due) {
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

    fn store_now(&self) -> Timestamp {
        Timestamp::from_millis(self.core.clock.wall().as_millis().saturating_add(self.skew_ms))
    }

    // ---- writing ----

    async fn transact(&mut self, units: Vec<Unit>) {
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
            (Command::Settle(settle), answer) => attempts::log_settled(&settle, &answer, &self.core),
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
        self.core.slots.set_offers(if self.core.role == Role::Runs { Offers::Taken } else { Offers::Refused });
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

    fn start(&mut self, claimed: Claimed) {
        self.attempts.start(claimed);
        self.release_room();
    }

    // ---- waiting ----

    fn tell_idle(&mut self) {
        let quiet = self.attempts.is_empty() && self.ends.is_empty() && self.retry_at.is_none();
        if quiet {
            for waiter in self.idle_waiters.drain(..) {
                let _ = waiter.send(());
            }
        }
    }

    /// Waits until something happens or is due. With nothing due there is no timer at all.
    async fn wait(&mut self) {
        let timer = self.next_wake().map(|wait| self.core.clock.sleep(wait));
        let mut timer: BoxFuture<'static, ()> = timer.unwrap_or_else(|| Box::pin(future::pending()));
        let (controls, from_workers) = (&mut self.controls, &mut self.from_workers);
        let (changes, sensed) = (&mut self.changes, &mut self.sensed);
        let mut seen = Seen::default();
        let event = future::poll_fn(|cx| {
            if let Poll::Ready(Some(control)) = controls.poll_next_unpin(cx) {
                seen.control = Some(control);
            }
            if let Poll::Ready(Some(event)) = from_workers.poll_next_unpin(cx) {
                seen.from_worker = Some(event);
            }
            match changes.poll_next_unpin(cx) {
                Poll::Ready(Some(change)) => seen.change = Some(change),
                Poll::Ready(None) => seen.store_gone = true,
                Poll::Pending => {}
            }
            if let Poll::Ready(Some(())) = sensed.poll_next_unpin(cx) {
                seen.sensed = true;
            }
            let timed_out = timer.poll_unpin(cx).is_ready();
            if timed_out || seen.anything() { Poll::Ready(()) } else { Poll::Pending }
        });
        event.await;
        self.take_seen(seen);
    }

    fn take_seen(&mut self, seen: Seen) {
        self.store_gone |= seen.store_gone;
        seen.control.into_iter().for_each(|control| self.on_control(control));
        seen.from_worker.into_iter().for_each(|event| self.on_worker(event));
        seen.change.into_iter().for_each(|change| self.on_change(change));
        if seen.sensed {
            self.observe_conditions(Sensed::Change);
        }
    }

    /// How long until something may have to be done, capped because monotonic clocks stand still in suspend.
    fn next_wake(&self) -> Option<Duration> {
        let now = self.core.clock.monotonic();
        let until = |at: Duration| at.saturating_sub(now);
        let runs = self.core.role == Role::Runs && matches!(self.phase, Phase::Running);
        let can_claim =
            runs && (self.core.slots.has_room(WorkerKind::Async) || self.core.slots.has_room(WorkerKind::Blocking));
        let due = self.next_due.filter(|_| can_claim).map(|due| due.since(self.store_now()));
        let dwell = self.dwell_at.filter(|_| runs);
        let moments = [self.write_notes_at, self.retry_at, self.attempts.next_deadline(), dwell];
        let wake = moments.into_iter().flatten().map(until).chain(due).min()?;
        Some(wake.min(LONGEST_SLEEP))
    }

    // ---- coming and going ----

    /// Gives back what is left and tells everybody that the manager has ended.
    async fn leave(&mut self) {
        self.attempts.abandon_all();
        let mut error = None;
        let mut again = !self.store_gone;
        while again {
            let unit = self.core.unit(Command::Detach { epoch: self.core.epoch });
            again = match self.core.store.transact(vec![unit]).await {
                Ok(answers) => matches!(answers.first(), Some(Ok(Applied::Released { again: true, .. }))),
                Err(store_error) => {
                    error = Some(store_error.to_string());
                    false
                }
            };
        }
        self.core.health.ended();
        self.core.hub.close();
        if let Phase::Leaving { done: Some(done), report } = std::mem::replace(&mut self.phase, Phase::Running) {
            let ended = self.attempts.ended_while_leaving();
            let _ = done.send(ShutdownReport { error, ended, ..report });
        }
    }
}

/// What one wait saw.
#[derive(Default)]
struct Seen {
    control: Option<Control>,
    from_worker: Option<FromWorker>,
    change: Option<Change>,
    sensed: bool,
    store_gone: bool,
}

impl Seen {
    fn anything(&self) -> bool {
        let event = self.control.is_some() || self.from_worker.is_some() || self.change.is_some();
        event || self.sensed || self.store_gone
    }
}

/// Wakes observers after each commit, in a loop of its own so that nobody waits for the dispatcher.
pub(crate) async fn pump(hub: Arc<Hub>, mut changes: BoxStream<'static, Change>) {
    while let Some(change) = changes.next().await {
        match change {
            Change::Commit { touched, .. } => hub.touch(touched.iter().copied()),
            Change::Lagged => hub.touch_all(),
        }
    }
    hub.close();
}

/// Notes that are waiting to be written, for one attempt.
type TakenNotes = (WorkId, u64, Notes);
