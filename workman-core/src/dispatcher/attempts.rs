//! [`Attempts`]: what runs in this process. It is started and stopped here, and given up when it does not stop.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::AbortHandle;

use super::core::Core;
use super::exit::Parting;
use super::inbox::Wake;
use super::slots::{Beside, Place, Places};
use crate::constraints::{ConstraintKind, Constraints};
use crate::id::WorkId;
use crate::plan::{Claimed, End, Note, Settle, WorkerKind};
use crate::state::StopReason;
use crate::worker::{Attempt, Ending, FromWorker, RegisteredWorker, Run};

/// An async worker that was dropped has this long to be gone before it is given up like a blocking one.
const DROP_GRACE: Duration = Duration::from_secs(1);

/// What runs here, and what was given up and still runs.
pub(super) struct Attempts {
    core: Arc<Core>,
    to_dispatcher: UnboundedSender<FromWorker>,
    running: BTreeMap<WorkId, Running>,
    /// Workers that would not stop. Their work is given back, but not started here before they end.
    abandoned: BTreeMap<(WorkId, u64), Place>,
    /// Attempts that failed, until it is known what comes of that: then the log says which they were.
    failed: BTreeMap<(WorkId, u64), Arc<Attempt>>,
    /// What both of them hold, so that nobody has to count.
    places: Places,
    /// Raised by each commit that is sent, and how many of those that run have started since.
    cohort: u64,
    young: usize,
    /// When each run is to be asked to stop, or patience with it ends.
    deadlines: BTreeSet<(Duration, WorkId)>,
    /// Runs that go on only while constraints hold.
    constrained: BTreeSet<WorkId>,
    /// Whether one of those may have to stop, as far as is known.
    conditions_changed: bool,
    /// When conditions may count by the passing of time alone, on the monotonic clock.
    dwell_at: Option<Duration>,
}

/// A run, and what is to become of it.
struct Running {
    attempt: Arc<Attempt>,
    abort: AbortHandle,
    place: Place,
    cohort: u64,
    constraints: Constraints,
    /// When the attempt has taken too long, on the monotonic clock.
    times_out_at: Option<Duration>,
    /// The store has moved on: the end of this run is of no interest.
    fenced: bool,
    /// When patience ends, and whether the worker's future was dropped already.
    deadline: Option<(Duration, Patience)>,
}

/// How far it is on its way out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Asked,
    Dropped,
}

/// A run that is over here.
pub(super) struct Over {
    pub(super) id: WorkId,
    pub(super) parting: Parting,
    /// What it said that was not taken yet.
    pub(super) last_words: Option<Note>,
    /// What is to be settled, unless the store has moved on.
    pub(super) end: Option<Settle>,
}

/// Whether conditions count as they did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Conditions {
    MayHaveChanged,
    AsBefore,
}

impl Attempts {
    pub(super) fn new(core: Arc<Core>) -> (Self, UnboundedReceiver<FromWorker>) {
        let (to_dispatcher, from_workers) = unbounded();
        let attempts = Attempts {
            core,
            to_dispatcher,
            running: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            failed: BTreeMap::new(),
            places: Places::default(),
            cohort: 0,
            young: 0,
            deadlines: BTreeSet::new(),
            constrained: BTreeSet::new(),
            conditions_changed: false,
            dwell_at: None,
        };
        (attempts, from_workers)
    }

    /// Starts a run of this worker.
    pub(super) fn start(&mut self, claimed: Claimed, worker: RegisteredWorker) {
        let (id, fence) = (claimed.record.id, claimed.record.fence);
        let attempt = Arc::new(self.core.attempt(&claimed, worker.def, self.to_dispatcher.clone()));
        let (abort, registration) = AbortHandle::new_pair();
        let running = Running {
            times_out_at: attempt.times_out_at(self.core.clock.monotonic()),
            attempt: Arc::clone(&attempt),
            abort,
            place: Place::of(&claimed, worker.def.kind),
            cohort: self.cohort,
            constraints: claimed.spec.constraints.clone(),
            fenced: false,
            deadline: None,
        };
        tracing::debug!(%id, worker = %attempt.worker, attempt = attempt.number, fence, "starts");
        self.insert(id, running);
        let run = Run {
            store: Arc::clone(&self.core.store),
            worker,
            states: Arc::clone(&self.core.states),
            claimed,
            attempt: Arc::clone(&attempt),
            abort: registration,
        };
        // A runtime is not our code; if it panics, the run reports itself as interrupted.
        if catch_unwind(AssertUnwindSafe(|| run.start(&self.core.runtime))).is_err() {
            let Attempt { worker, number, .. } = &*attempt;
            tracing::error!(%id, %worker, attempt = number, "the runtime panicked when it was given a worker");
        }
    }

    fn insert(&mut self, id: WorkId, running: Running) {
        // An earlier run of the same work, of which the store knows nothing any more, is nobody's business now.
        self.remove(id);
        self.places.add(running.place);
        self.young += 1;
        self.deadlines.extend(running.next_deadline().map(|at| (at, id)));
        if !running.constraints.is_none() {
            self.constrained.insert(id);
            // They may have changed since it was claimed.
            self.conditions_changed = true;
        }
        self.running.insert(id, running);
    }

    fn remove(&mut self, id: WorkId) -> Option<Running> {
        let running = self.running.remove(&id)?;
        self.places.remove(running.place);
        self.young -= usize::from(running.cohort == self.cohort);
        if let Some(at) = running.next_deadline() {
            self.deadlines.remove(&(at, id));
        }
        if !running.constraints.is_none() {
            self.constrained.remove(&id);
        }
        Some(running)
    }

    /// Changes when a run is to be looked at again.
    fn with_deadline(&mut self, id: WorkId, change: impl FnOnce(&mut Running)) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let before = running.next_deadline();
        change(running);
        let after = running.next_deadline();
        if before != after {
            before.map(|at| self.deadlines.remove(&(at, id)));
            self.deadlines.extend(after.map(|at| (at, id)));
        }
    }

    /// The runs that are to be looked at now, in the order of their ids.
    fn overdue(&self, now: Duration) -> BTreeSet<WorkId> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// A run is over; `None` if nobody knows of it any more.
    pub(super) fn on_ended(&mut self, id: WorkId, fence: u64, end: End) -> Option<Over> {
        if let Some(place) = self.abandoned.remove(&(id, fence)) {
            self.places.remove(place);
        }
        if self.running.get(&id).is_none_or(|running| running.attempt.fence != fence) {
            return None;
        }
        let running = self.remove(id)?;
        running.attempt.end();
        let dropped = matches!(running.deadline, Some((_, Patience::Dropped)));
        let parting = if dropped { Parting::GivenUp } else { Parting::ByItself };
        if running.fenced {
            self.core.live.forget(id, fence);
            return Some(Over { id, parting, last_words: None, end: None });
        }
        self.keep_failed(&running.attempt, &end);
        // What is over for good has no further run that could want its notes.
        let last_words = if matches!(end, End::Succeeded { .. }) { None } else { unsaved(&running.attempt) };
        Some(Over { id, parting, last_words, end: Some(Settle { id, fence, end }) })
    }

    fn keep_failed(&mut self, attempt: &Arc<Attempt>, end: &End) {
        if matches!(end, End::Failed { .. } | End::TimedOut { .. } | End::Unrunnable { .. }) {
            self.failed.insert((attempt.id, attempt.fence), Arc::clone(attempt));
        }
    }

    /// The attempt that failed with this fence, once.
    pub(super) fn take_failed(&mut self, id: WorkId, fence: u64) -> Option<Arc<Attempt>> {
        self.failed.remove(&(id, fence))
    }

    /// The store has moved on without this run: it is told to stop, and its end is of no interest.
    pub(super) fn fence_off(&mut self, id: WorkId, fence: u64, reason: StopReason) {
        let deadline = self.core.clock.monotonic().saturating_add(self.core.limits.grace);
        self.with_deadline(id, |running| {
            if running.attempt.fence == fence {
                running.fenced = true;
                running.ask_to_stop(reason, deadline);
            }
        });
    }

    pub(super) fn stop_all(&mut self, reason: StopReason, grace: Duration) {
        let deadline = self.core.clock.monotonic().saturating_add(grace);
        let all: Vec<WorkId> = self.running.keys().copied().collect();
        for id in all {
            self.with_deadline(id, |running| running.ask_to_stop(reason, deadline));
        }
    }

    /// What the sensor says counts from now on.
    pub(super) fn on_sensed(&mut self, now: Duration) {
        // A sensor is the program's code; if it panics, what it said before still counts.
        match catch_unwind(AssertUnwindSafe(|| self.core.sensor.conditions())) {
            Ok(conditions) => self.core.dwell().observe(conditions, now),
            Err(_) => tracing::error!("the sensor panicked when it was asked"),
        }
        self.reckon(now);
    }

    /// What the sensor said may count by the passing of time alone.
    pub(super) fn on_time(&mut self, now: Duration) -> Conditions {
        if self.dwell_at.is_none_or(|at| at > now) {
            return Conditions::AsBefore;
        }
        self.reckon(now);
        Conditions::MayHaveChanged
    }

    fn reckon(&mut self, now: Duration) {
        self.dwell_at = self.core.dwell().next_change(now);
        self.conditions_changed = true;
    }

    /// Asks what lacks a constraint or has taken too long to stop, and gives up what was asked in vain. Answers the latter.
    pub(super) fn stop_what_must(&mut self, now: Duration) -> Vec<Over> {
        self.stop_for_constraints(now);
        self.stop_for_timeouts(now);
        self.give_up(now)
    }

    /// What runs without a constraint that it needs stops once that has been lost for the dwell time.
    fn stop_for_constraints(&mut self, now: Duration) {
        if !std::mem::take(&mut self.conditions_changed) {
            return;
        }
        let lost: Vec<(WorkId, ConstraintKind)> = {
            let dwell = self.core.dwell();
            let constrained = self.constrained.iter().filter_map(|id| self.running.get_key_value(id));
            let running = constrained.filter(|(_, running)| running.deadline.is_none());
            running.filter_map(|(id, running)| Some((*id, dwell.must_stop(&running.constraints, now)?))).collect()
        };
        let deadline = now.saturating_add(self.core.limits.grace);
        for (id, kind) in lost {
            self.with_deadline(id, |running| {
                let Attempt { worker, number, .. } = &*running.attempt;
                tracing::info!(%id, %worker, attempt = number, constraint = %kind, "stops, since a constraint was lost");
                running.ask_to_stop(kind.stop_reason(), deadline);
            });
        }
    }

    /// What was asked to stop already stays asked for that reason.
    fn stop_for_timeouts(&mut self, now: Duration) {
        let deadline = now.saturating_add(self.core.limits.grace);
        for id in self.overdue(now) {
            self.with_deadline(id, |running| {
                if running.deadline.is_none() {
                    let Attempt { worker, number, .. } = &*running.attempt;
                    tracing::info!(%id, %worker, attempt = number, "stops, since it ran longer than an attempt may");
                    running.ask_to_stop(StopReason::Timeout, deadline);
                }
            });
        }
    }

    /// Drops async workers whose grace is over, and gives up what can't be dropped.
    fn give_up(&mut self, now: Duration) -> Vec<Over> {
        let mut over = Vec::new();
        for id in self.overdue(now) {
            self.with_deadline(id, |running| match running.deadline {
                Some((_, Patience::Asked)) if running.place.kind == WorkerKind::Async => {
                    running.abort.abort();
                    running.deadline = Some((now.saturating_add(DROP_GRACE), Patience::Dropped));
                }
                Some(_) => over.push(id),
                None => {}
            });
        }
        over.into_iter().filter_map(|id| self.abandon(id)).collect()
    }

    fn abandon(&mut self, id: WorkId) -> Option<Over> {
        let running = self.remove(id)?;
        let fence = running.attempt.fence;
        let Attempt { worker, number, .. } = &*running.attempt;
        tracing::warn!(%id, %worker, attempt = number, "does not stop; its work is given back, and waits here until the worker ends");
        running.attempt.end();
        if running.fenced {
            self.core.live.forget(id, fence);
        }
        self.places.add(running.place);
        self.abandoned.insert((id, fence), running.place);
        let end = Ending::Cut(running.attempt.given_up());
        let end = (!running.fenced).then(|| Settle { id, fence, end: running.attempt.verdict(end) });
        end.iter().for_each(|settle| self.keep_failed(&running.attempt, &settle.end));
        Some(Over { id, parting: Parting::GivenUp, last_words: unsaved(&running.attempt), end })
    }

    /// The manager ends: whatever still runs is told so, and nobody waits for it.
    pub(super) fn abandon_all(&mut self) {
        let all: Vec<WorkId> = self.running.keys().copied().collect();
        for running in all.into_iter().filter_map(|id| self.remove(id)).collect::<Vec<_>>() {
            running.attempt.stop(StopReason::Shutdown);
            running.abort.abort();
            running.attempt.end();
            self.core.live.forget(running.attempt.id, running.attempt.fence);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// A commit is sent: what starts from now on begins a cohort of its own.
    pub(super) fn begin_cohort(&mut self) {
        self.cohort += 1;
        self.young = 0;
    }

    /// Runs that have started since the last commit was sent.
    pub(super) fn young(&self) -> usize {
        self.young
    }

    /// What the runs hold. An abandoned worker holds its slot until it ends.
    pub(super) fn places(&self) -> Places {
        self.places
    }

    /// What matters to what may start beside them. Work whose abandoned worker still runs must not.
    pub(super) fn beside(&self) -> Beside {
        Beside { places: self.places, barred: self.abandoned.keys().map(|(id, _)| *id).collect() }
    }

    /// The runs that the store should know of.
    pub(super) fn held(&self) -> Vec<(WorkId, u64)> {
        let held = self.running.values().filter(|running| !running.fenced);
        held.map(|running| (running.attempt.id, running.attempt.fence)).collect()
    }

    /// Whether a run of this work could say something.
    pub(super) fn runs(&self, id: WorkId) -> bool {
        self.running.contains_key(&id)
    }

    /// What these runs have said since they were last asked.
    pub(super) fn take_notes(&self, of: &BTreeSet<WorkId>) -> impl Iterator<Item = Note> {
        let running = of.iter().filter_map(|id| self.running.get(id)).filter(|running| !running.fenced);
        running.filter_map(|running| unsaved(&running.attempt))
    }

    /// Keeps notes whose write failed with their run; answers them if that is over.
    pub(super) fn put_back(&self, note: Note) -> Option<Note> {
        match self.running.get(&note.id).filter(|running| running.attempt.fence == note.fence) {
            Some(running) => {
                running.attempt.put_back(note.notes);
                None
            }
            None => Some(note),
        }
    }

    /// When a run is to be asked to stop, or patience with one ends.
    pub(super) fn next_wake(&self) -> Option<Wake> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        deadline.into_iter().chain(self.dwell_at).min().map(Wake::at)
    }
}

impl Running {
    /// When somebody has to look at it again.
    fn next_deadline(&self) -> Option<Duration> {
        self.deadline.map(|(at, _)| at).or(self.times_out_at)
    }

    /// Asks the worker to stop until then, or earlier if that was said before.
    fn ask_to_stop(&mut self, reason: StopReason, deadline: Duration) {
        self.attempt.stop(reason);
        if self.deadline.is_none_or(|(at, patience)| patience == Patience::Asked && deadline < at) {
            self.deadline = Some((deadline, Patience::Asked));
        }
    }
}

fn unsaved(attempt: &Attempt) -> Option<Note> {
    attempt.take_unsaved().map(|notes| Note { id: attempt.id, fence: attempt.fence, notes })
}
