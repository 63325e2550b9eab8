//! The attempts that run in this process: their start, their stop, and what their end is worth.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::AbortHandle;

use super::verdict::Judge;
use super::{Core, ShutdownReport, Taken, TakenNotes};
use crate::constraints::{ConstraintKind, Constraints};
use crate::id::WorkId;
use crate::plan::{Claimed, End, Settle, WorkerKind};
use crate::record::{Notes, Urgency};
use crate::sensor::Dwell;
use crate::state::StopReason;
use crate::worker::{Attempt, FromWorker, Run, Shared};

/// An async worker that was dropped has this long to be gone before it is given up like a blocking one.
const DROP_GRACE: Duration = Duration::from_secs(1);

/// What runs here, and what was given up and still runs.
pub(super) struct Attempts {
    core: Arc<Core>,
    to_dispatcher: UnboundedSender<FromWorker>,
    running: BTreeMap<WorkId, Running>,
    /// Workers that would not stop. Their work is given back, but not started here before they end.
    abandoned: BTreeMap<(WorkId, u64), Abandoned>,
    /// What workers said right before their end.
    last_words: Vec<TakenNotes>,
    /// What has ended since the manager began to leave, and what had to be made to.
    report: ShutdownReport,
}

struct Running {
    attempt: Arc<Attempt>,
    abort: AbortHandle,
    kind: WorkerKind,
    urgency: Urgency,
    suspect: bool,
    constraints: Constraints,
    judge: Judge,
    /// When the attempt has taken too long, on the monotonic clock.
    times_out_at: Option<Duration>,
    /// The store has moved on: the end of this run is of no interest.
    fenced: bool,
    /// When patience ends, and whether the worker's future was dropped already.
    deadline: Option<(Duration, Patience)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Asked,
    Dropped,
}

struct Abandoned {
    kind: WorkerKind,
    urgency: Urgency,
    suspect: bool,
}

impl Attempts {
    pub(super) fn new(core: Arc<Core>) -> (Self, UnboundedReceiver<FromWorker>) {
        let (to_dispatcher, from_workers) = unbounded();
        let attempts = Attempts {
            core,
            to_dispatcher,
            running: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            last_words: Vec::new(),
            report: ShutdownReport::default(),
        };
        (attempts, from_workers)
    }

    /// Starts a run. Answers what is to be settled if that is not possible.
    pub(super) fn start(&mut self, claimed: Claimed) -> Option<Settle> {
        let (id, fence) = (claimed.record.id, claimed.record.fence);
        let Some(worker) = self.core.registry.get(&claimed.spec.worker).cloned() else {
            // Its lane is closed here, so nobody can have claimed it for this manager.
            tracing::error!(%id, worker = %claimed.spec.worker, "claimed work of a worker that is not here");
            let end = End::Interrupted { reason: StopReason::RuntimeGone };
            return Some(Settle { id, fence, end });
        };
        let attempt = Arc::new(self.attempt(&claimed));
        let (abort, registration) = AbortHandle::new_pair();
        let judge = Judge::new(&claimed, &self.core.limits);
        let running = Running {
            attempt: Arc::clone(&attempt),
            abort,
            kind: worker.def.kind,
            urgency: claimed.record.urgency,
            suspect: claimed.record.is_suspect(),
            constraints: claimed.spec.constraints,
            times_out_at: judge.times_out_at(self.core.clock.monotonic()),
            judge,
            fenced: false,
            deadline: None,
        };
        tracing::debug!(%id, worker = %claimed.spec.worker, attempt = claimed.record.failures, fence, "starts");
        self.core.live().insert(id, Arc::clone(&attempt));
        self.running.insert(id, running);
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
        None
    }

    fn attempt(&self, claimed: &Claimed) -> Attempt {
        Attempt {
            id: claimed.record.id,
            fence: claimed.record.fence,
            worker: Arc::clone(&claimed.spec.worker),
            tags: claimed.spec.tags.clone(),
            number: claimed.record.failures,
            generation: claimed.record.generation,
            trace_tag: Arc::clone(claimed.spec.trace_tag.as_ref().unwrap_or(&claimed.spec.worker)),
            period: claimed.record.period.map(|period| period.count),
            notes_limit: self.core.limits.progress,
            clock: Arc::clone(&self.core.clock),
            engine: self.to_dispatcher.clone(),
            hub: Arc::clone(&self.core.hub),
            shared: Mutex::new(Shared::new(claimed.checkpoint.clone())),
        }
    }

    /// A run is over. Answers what is to be settled, unless the store has moved on.
    pub(super) fn on_ended(&mut self, id: WorkId, fence: u64, end: End) -> Option<Settle> {
        self.abandoned.remove(&(id, fence));
        if self.running.get(&id).is_none_or(|running| running.attempt.fence != fence) {
            return None;
        }
        let running = self.running.remove(&id)?;
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
        let mut live = self.core.live();
        if live.get(&id).is_some_and(|attempt| attempt.fence == fence) {
            live.remove(&id);
        }
    }

    /// The store has moved on without this run: it is told to stop, and its end is of no interest.
    pub(super) fn fence_off(&mut self, id: WorkId, fence: u64, reason: StopReason) {
        let deadline = self.core.clock.monotonic().saturating_add(self.core.limits.grace);
        if let Some(running) = self.running.get_mut(&id).filter(|running| running.attempt.fence == fence) {
            running.fenced = true;
            running.ask_to_stop(reason, deadline);
        }
    }

    pub(super) fn stop_all(&mut self, reason: StopReason, grace: Duration) {
        self.report = ShutdownReport::default();
        let deadline = self.core.clock.monotonic().saturating_add(grace);
        self.running.values_mut().for_each(|running| running.ask_to_stop(reason, deadline));
    }

    /// What runs without a constraint that it needs, once that has been lost for the dwell time.
    pub(super) fn lost_constraints(&self, dwell: &Dwell, now: Duration) -> Vec<(WorkId, ConstraintKind)> {
        let running = self.running.iter().filter(|(_, running)| running.deadline.is_none());
        running.filter_map(|(id, running)| Some((*id, dwell.must_stop(&running.constraints, now)?))).collect()
    }

    pub(super) fn stop_for_constraints(&mut self, lost: &[(WorkId, ConstraintKind)], now: Duration) {
        let deadline = now.saturating_add(self.core.limits.grace);
        for (id, kind) in lost {
            if let Some(running) = self.running.get_mut(id) {
                tracing::info!(%id, constraint = %kind, "stops, since a constraint was lost");
                running.ask_to_stop(kind.stop_reason(), deadline);
            }
        }
    }

    /// Asks what has taken too long to stop, unless it was asked to already.
    pub(super) fn stop_for_timeouts(&mut self, now: Duration) {
        let deadline = now.saturating_add(self.core.limits.grace);
        for (id, running) in &mut self.running {
            if running.deadline.is_none() && running.times_out_at.is_some_and(|at| at <= now) {
                tracing::info!(%id, worker = %running.attempt.worker, "stops, since it ran longer than an attempt may");
                running.ask_to_stop(StopReason::Timeout, deadline);
            }
        }
    }

    /// Drops async workers whose grace is over, and gives up what can't be dropped. Answers what is to be settled.
    pub(super) fn give_up(&mut self, now: Duration) -> Vec<Settle> {
        let mut over = Vec::new();
        for (id, running) in &mut self.running {
            match running.deadline {
                Some((at, _)) if at > now => {}
                Some((_, Patience::Asked)) if running.kind == WorkerKind::Async => {
                    running.abort.abort();
                    running.deadline = Some((now.saturating_add(DROP_GRACE), Patience::Dropped));
                }
                Some(_) => over.push(*id),
                None => {}
            }
        }
        over.into_iter().filter_map(|id| self.abandon(id)).collect()
    }

    fn abandon(&mut self, id: WorkId) -> Option<Settle> {
        let running = self.running.remove(&id)?;
        let (fence, reason) = (running.attempt.fence, running.attempt.stop_reason().unwrap_or(StopReason::Shutdown));
        tracing::warn!(%id, worker = %running.attempt.worker, "does not stop; its work is given back, and waits here until the worker ends");
        running.attempt.end();
        self.report.given_up.push(id);
        if running.fenced {
            self.forget(id, fence);
        }
        self.last_words.extend(running.attempt.take_unsaved().map(|notes| (id, fence, notes)));
        let Running { kind, urgency, suspect, .. } = running;
        self.abandoned.insert((id, fence), Abandoned { kind, urgency, suspect });
        let end = || running.judge.judge(End::Interrupted { reason }, &running.attempt);
        (!running.fenced).then(|| Settle { id, fence, end: end() })
    }

    /// The manager ends: whatever still runs is told so, and nobody waits for it.
    pub(super) fn abandon_all(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
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

    /// Runs that hold slots. An abandoned worker holds its slot until it ends.
    pub(super) fn taken(&self) -> Taken {
        let mut taken = Taken::default();
        for running in self.running.values() {
            taken.of(running.kind).add(running.urgency);
        }
        for abandoned in self.abandoned.values() {
            taken.of(abandoned.kind).add(abandoned.urgency);
        }
        taken
    }

    pub(super) fn runs_suspect(&self) -> bool {
        self.running.values().any(|running| running.suspect)
            || self.abandoned.values().any(|abandoned| abandoned.suspect)
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
        let deadline = |running: &Running| running.deadline.map(|(at, _)| at).or(running.times_out_at);
        self.running.values().filter_map(deadline).min()
    }

    /// What workers said since it was last taken, with their last words first.
    pub(super) fn take_notes(&mut self) -> Vec<TakenNotes> {
        let mut notes = std::mem::take(&mut self.last_words);
        for running in self.running.values().filter(|running| !running.fenced) {
            let attempt = &running.attempt;
            notes.extend(attempt.take_unsaved().map(|notes| (attempt.id, attempt.fence, notes)));
        }
        notes
    }

    /// Keeps notes whose write failed.
    pub(super) fn put_back(&mut self, id: WorkId, fence: u64, notes: Notes) {
        match self.running.get(&id).filter(|running| running.attempt.fence == fence) {
            Some(running) => running.attempt.put_back(notes),
            None => self.last_words.push((id, fence, notes)),
        }
    }
}

impl Running {
    fn ask_to_stop(&mut self, reason: StopReason, deadline: Duration) {
        self.attempt.stop(reason);
        if self.deadline.is_none_or(|(at, patience)| patience == Patience::Asked && deadline < at) {
            self.deadline = Some((deadline, Patience::Asked));
        }
    }
}
