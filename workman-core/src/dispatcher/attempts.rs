//! The attempts that run in this process: their start, their stop, and what their end is worth.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::AbortHandle;

use super::running::{Patience, Running};
use super::slots::{Place, Places};
use super::verdict::Judge;
use super::{Core, ShutdownReport, TakenNotes};
use crate::constraints::ConstraintKind;
use crate::id::WorkId;
use crate::plan::{Claimed, End, Settle, WorkerKind};
use crate::record::Notes;
use crate::sensor::Dwell;
use crate::state::StopReason;
use crate::worker::{Attempt, Fate, FromWorker, RegisteredWorker, Run, Shared, WorkerDef};

/// An async worker that was dropped has this long to be gone before it is given up like a blocking one.
const DROP_GRACE: Duration = Duration::from_secs(1);

/// What runs here, and what was given up and still runs.
pub(super) struct Attempts {
    core: Arc<Core>,
    to_dispatcher: UnboundedSender<FromWorker>,
    running: BTreeMap<WorkId, Running>,
    /// Workers that would not stop. Their work is given back, but not started here before they end.
    abandoned: BTreeMap<(WorkId, u64), Place>,
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
    /// Runs that may have said something that was not taken yet.
    noted: BTreeSet<WorkId>,
    /// What workers said right before their end.
    last_words: Vec<TakenNotes>,
    /// What has ended since the manager began to leave, and what had to be made to.
    report: ShutdownReport,
}

impl Attempts {
    pub(super) fn new(core: Arc<Core>) -> (Self, UnboundedReceiver<FromWorker>) {
        let (to_dispatcher, from_workers) = unbounded();
        let attempts = Attempts {
            core,
            to_dispatcher,
            running: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            places: Places::default(),
            cohort: 0,
            young: 0,
            deadlines: BTreeSet::new(),
            constrained: BTreeSet::new(),
            conditions_changed: false,
            noted: BTreeSet::new(),
            last_words: Vec::new(),
            report: ShutdownReport::default(),
        };
        (attempts, from_workers)
    }

    /// Starts a run of this worker.
    pub(super) fn start(&mut self, claimed: Claimed, worker: RegisteredWorker) {
        let (id, fence) = (claimed.record.id, claimed.record.fence);
        let attempt = Arc::new(self.attempt(&claimed, worker.def));
        let (abort, registration) = AbortHandle::new_pair();
        let judge = Judge::new(&claimed, &self.core.limits);
        let running = Running {
            attempt: Arc::clone(&attempt),
            abort,
            place: Place::of(&claimed, worker.def.kind),
            cohort: self.cohort,
            constraints: claimed.spec.constraints,
            times_out_at: judge.times_out_at(self.core.clock.monotonic()),
            judge,
            fenced: false,
            deadline: None,
        };
        tracing::debug!(%id, worker = %claimed.spec.worker, attempt = claimed.record.failures, fence, "starts");
        self.insert(id, running);
        let run = Run {
            store: Arc::clone(&self.core.store),
            worker,
            states: Arc::clone(&self.core.states),
            limits: Arc::clone(&self.core.limits),
            claimed,
            attempt,
            abort: registration,
        };
        // A runtime is not our code; if it panics, the run reports itself as interrupted.
        if catch_unwind(AssertUnwindSafe(|| run.start(&self.core.runtime))).is_err() {
            tracing::error!(%id, "the runtime panicked when it was given a worker");
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
        self.noted.remove(&id);
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

    fn attempt(&self, claimed: &Claimed, def: &'static WorkerDef) -> Attempt {
        Attempt {
            id: claimed.record.id,
            fence: claimed.record.fence,
            worker: Arc::clone(&claimed.spec.worker),
            def,
            tags: claimed.spec.tags.clone(),
            number: claimed.record.failures,
            generation: claimed.record.generation,
            trace_tag: Arc::clone(claimed.spec.trace_tag.as_ref().unwrap_or(&claimed.spec.worker)),
            period: claimed.record.period.map(|period| period.count),
            notes_limit: self.core.limits.progress,
            read_back: self.core.read_back,
            output: if claimed.record.terms.discards_output { Fate::Discarded } else { Fate::Kept },
            time: Arc::clone(&self.core.time),
            engine: self.to_dispatcher.clone(),
            hub: Arc::clone(&self.core.hub),
            live: Arc::clone(&self.core.live),
            shared: Mutex::new(Shared::new(claimed.checkpoint.clone())),
        }
    }

    /// A run is over. Answers what is to be settled, unless the store has moved on.
    pub(super) fn on_ended(&mut self, id: WorkId, fence: u64, end: End) -> Option<Settle> {
        if let Some(place) = self.abandoned.remove(&(id, fence)) {
            self.places.remove(place);
        }
        if self.running.get(&id).is_none_or(|running| running.attempt.fence != fence) {
            return None;
        }
        let running = self.remove(id)?;
        running.attempt.end();
        match running.deadline {
            Some((_, Patience::Dropped)) => self.report.given_up.push(id),
            _ => self.report.ended += 1,
        }
        if running.fenced {
            self.forget(id, fence);
            return None;
        }
        let end = running.judge.judge(end, &running.attempt);
        if !matches!(end, End::Succeeded { .. }) {
            self.last_words.extend(running.attempt.take_unsaved().map(|notes| (id, fence, notes)));
        }
        Some(Settle { id, fence, end })
    }

    /// Observers see the last progress of a run until its end is on disk: what is stored is older, and progress never goes back.
    pub(super) fn forget(&self, id: WorkId, fence: u64) {
        self.core.live.forget(id, fence);
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
        self.report = ShutdownReport::default();
        let deadline = self.core.clock.monotonic().saturating_add(grace);
        let all: Vec<WorkId> = self.running.keys().copied().collect();
        for id in all {
            self.with_deadline(id, |running| running.ask_to_stop(reason, deadline));
        }
    }

    /// Conditions may count differently from now on.
    pub(super) fn on_conditions(&mut self) {
        self.conditions_changed = true;
    }

    /// What runs without a constraint that it needs, once that has been lost for the dwell time.
    pub(super) fn lost_constraints(&mut self, dwell: &Dwell, now: Duration) -> Vec<(WorkId, ConstraintKind)> {
        if !std::mem::take(&mut self.conditions_changed) {
            return Vec::new();
        }
        let constrained = self.constrained.iter().filter_map(|id| self.running.get_key_value(id));
        let running = constrained.filter(|(_, running)| running.deadline.is_none());
        running.filter_map(|(id, running)| Some((*id, dwell.must_stop(&running.constraints, now)?))).collect()
    }

    pub(super) fn stop_for_constraints(&mut self, lost: &[(WorkId, ConstraintKind)], now: Duration) {
        let deadline = now.saturating_add(self.core.limits.grace);
        for (id, kind) in lost {
            tracing::info!(%id, constraint = %kind, "stops, since a constraint was lost");
            self.with_deadline(*id, |running| running.ask_to_stop(kind.stop_reason(), deadline));
        }
    }

    /// Asks what has taken too long to stop, unless it was asked to already.
    pub(super) fn stop_for_timeouts(&mut self, now: Duration) {
        let deadline = now.saturating_add(self.core.limits.grace);
        for id in self.overdue(now) {
            self.with_deadline(id, |running| {
                if running.deadline.is_none() {
                    tracing::info!(%id, worker = %running.attempt.worker, "stops, since it ran longer than an attempt may");
                    running.ask_to_stop(StopReason::Timeout, deadline);
                }
            });
        }
    }

    /// Drops async workers whose grace is over, and gives up what can't be dropped. Answers what is to be settled.
    pub(super) fn give_up(&mut self, now: Duration) -> Vec<Settle> {
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

    fn abandon(&mut self, id: WorkId) -> Option<Settle> {
        let running = self.remove(id)?;
        let (fence, reason) = (running.attempt.fence, running.attempt.stop_reason().unwrap_or(StopReason::Shutdown));
        tracing::warn!(%id, worker = %running.attempt.worker, "does not stop; its work is given back, and waits here until the worker ends");
        running.attempt.end();
        self.report.given_up.push(id);
        if running.fenced {
            self.forget(id, fence);
        }
        self.last_words.extend(running.attempt.take_unsaved().map(|notes| (id, fence, notes)));
        self.places.add(running.place);
        self.abandoned.insert((id, fence), running.place);
        let end = || running.judge.judge(End::Interrupted { reason }, &running.attempt);
        (!running.fenced).then(|| Settle { id, fence, end: end() })
    }

    /// The manager ends: whatever still runs is told so, and nobody waits for it.
    pub(super) fn abandon_all(&mut self) {
        let all: Vec<WorkId> = self.running.keys().copied().collect();
        for running in all.into_iter().filter_map(|id| self.remove(id)).collect::<Vec<_>>() {
            running.attempt.stop(StopReason::Shutdown);
            running.abort.abort();
            running.attempt.end();
            self.forget(running.attempt.id, running.attempt.fence);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// How the runs have ended since the manager began to leave.
    pub(super) fn report(&self) -> ShutdownReport {
        self.report.clone()
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

    /// Work that must not start here: its abandoned worker still runs.
    pub(super) fn barred(&self) -> Vec<WorkId> {
        self.abandoned.keys().map(|(id, _)| *id).collect()
    }

    /// The runs that the store should know of.
    pub(super) fn held(&self) -> Vec<(WorkId, u64)> {
        let held = self.running.values().filter(|running| !running.fenced);
        held.map(|running| (running.attempt.id, running.attempt.fence)).collect()
    }

    /// When a run is to be asked to stop, or patience with one ends.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A run has said something.
    pub(super) fn on_noted(&mut self, id: WorkId) {
        self.noted.insert(id);
    }

    /// What workers said since it was last taken, with their last words first.
    pub(super) fn take_notes(&mut self) -> Vec<TakenNotes> {
        let mut notes = std::mem::take(&mut self.last_words);
        let noted = std::mem::take(&mut self.noted);
        for running in noted.iter().filter_map(|id| self.running.get(id)).filter(|running| !running.fenced) {
            let attempt = &running.attempt;
            notes.extend(attempt.take_unsaved().map(|notes| (attempt.id, attempt.fence, notes)));
        }
        notes
    }

    /// Keeps notes whose write failed.
    pub(super) fn put_back(&mut self, id: WorkId, fence: u64, notes: Notes) {
        match self.running.get(&id).filter(|running| running.attempt.fence == fence) {
            Some(running) => {
                running.attempt.put_back(notes);
                self.noted.insert(id);
            }
            None => self.last_words.push((id, fence, notes)),
        }
    }
}
