//! [`Attempts`]: what runs for this manager. It is started and stopped here, and given up when it does not stop.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::AbortHandle;

use super::core::Core;
use super::exit::Parting;
use super::inbox::Wake;
use super::slots::{Beside, Seat, Seats};
use crate::constraints::{ConstraintKind, Constraints};
use crate::foreign::{Panicked, foreign};
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::{Blame, Claimed, End, Endurance, Note, Settle, WorkerKind};
use crate::record::Notes;
use crate::state::StopReason;
use crate::time::Spoken;
use crate::worker::{
    Attempt, Ending, FromWorker, Hold, InTheWay, KnownRun, Listening, MayBegin, RegisteredWorker, Run, RunHere,
    RunsHere,
};

/// An async worker that was dropped has this long to be gone before it is given up like a blocking one.
const DROP_GRACE: Duration = Duration::from_secs(1);

/// The same while the manager leaves, which has its time.
const LAST_DROP_GRACE: Duration = Duration::from_millis(250);

/// A runtime that begins none of its runs for so long has no thread for them, or nobody drives it.
pub(crate) const BEGIN_WITHIN: Duration = Duration::from_secs(5);

/// How many workers are named that hold slots.
const NAMED: usize = 8;

/// What runs for this manager. What it has given up and still runs is known to the whole process ([`RunsHere`]).
pub(super) struct Attempts {
    core: Arc<Core>,
    to_dispatcher: UnboundedSender<FromWorker>,
    running: BTreeMap<WorkId, Running>,
    /// As long as this is there, the dispatcher hears when something is out of the way.
    _listening: Listening,
    /// Attempts that failed, until it is known what comes of that: then the log says which they were.
    failed: BTreeMap<(WorkId, u64), Arc<Attempt>>,
    /// What those hold that run, so that nobody has to count.
    places: Seats,
    /// Raised by each commit that is sent, and how many of those that run have started since.
    cohort: u64,
    young: usize,
    /// When each run is to be asked to stop, or patience with it ends.
    deadlines: BTreeSet<(Duration, WorkId)>,
    /// When each run of a work that is blamed for deaths has lasted long enough to clear it.
    trials: BTreeSet<(Duration, WorkId)>,
    /// Runs that go on only while constraints hold.
    constrained: BTreeSet<WorkId>,
    /// Whether one of those may have to stop, as far as is known.
    conditions_changed: bool,
    /// How long an async worker that was dropped has to be gone.
    drop_grace: Duration,
    /// How long a worker has to stop.
    grace: Duration,
    /// When conditions may count by the passing of time alone, on the monotonic clock.
    dwell_at: Option<Duration>,
}

/// A run, and what is to become of it.
struct Running {
    attempt: Arc<Attempt>,
    abort: AbortHandle,
    place: Seat,
    cohort: u64,
    constraints: Constraints,
    /// When it was given to the runtime, on the monotonic clock.
    given_at: Duration,
    /// When it has lasted long enough to clear its work of deaths; none if there is nothing to clear, or that is said already.
    clears_at: Option<Duration>,
    endurance: Endurance,
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
    pub(super) kind: WorkerKind,
    pub(super) parting: Parting,
    /// What it said that was not taken yet.
    pub(super) last_words: Option<Note>,
    /// What is to be settled, unless the store has moved on.
    pub(super) end: Option<Settle>,
    /// Whether the runtime has dropped it.
    pub(super) dropped: Option<Dropped>,
}

/// A run that the runtime did not bring to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) kind: WorkerKind,
    pub(super) begun: Begun,
}

/// Whether the runtime had come to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Yes,
    No,
}

/// Whether a run is of a work that may have killed the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    Over,
    AsBefore,
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
        let hears: UnboundedSender<FromWorker> = to_dispatcher.clone();
        // A dispatcher that is gone waits for nothing.
        let listening = core.here.listen(move || _ = hears.unbounded_send(FromWorker::OutOfTheWay));
        let grace = core.limits.grace;
        let attempts = Attempts {
            core,
            to_dispatcher,
            running: BTreeMap::new(),
            _listening: listening,
            failed: BTreeMap::new(),
            places: Seats::default(),
            cohort: 0,
            young: 0,
            deadlines: BTreeSet::new(),
            trials: BTreeSet::new(),
            constrained: BTreeSet::new(),
            conditions_changed: false,
            drop_grace: DROP_GRACE,
            grace,
            dwell_at: None,
        };
        (attempts, from_workers)
    }

    /// Where runs say how they are.
    pub(super) fn pipe(&self) -> UnboundedSender<FromWorker> {
        self.to_dispatcher.clone()
    }

    /// Whether a constraint of this work is not met at this moment, whatever was so when it was claimed or offered.
    pub(super) fn comes_too_late(&mut self, claimed: &Claimed) -> bool {
        let constraints = self.core.effective(&claimed.spec.constraints);
        if constraints.is_none() {
            return false;
        }
        let holds = self.core.hold_now(&constraints);
        self.reckon(self.core.clock.monotonic());
        !holds
    }

    /// The same once more, when the run has a thread. It holds nothing of the manager meanwhile.
    fn may_begin(&self, claimed: &Claimed) -> Option<MayBegin> {
        if claimed.spec.constraints.is_none() {
            return None;
        }
        let constraints = self.core.effective(&claimed.spec.constraints);
        let core = Arc::downgrade(&self.core);
        Some(Box::new(move || core.upgrade().is_some_and(|core| core.hold_now(&constraints))))
    }

    /// Makes way for a run of this work, or says what goes on here that must end first. A run of the very same work of which the store
    /// knows nothing any more is told so.
    pub(super) fn enter(&mut self, claimed: &Claimed, kind: WorkerKind) -> Result<Option<RunHere>, InTheWay> {
        let id = claimed.record.id;
        if let Some(fence) = self.running.get(&id).map(|earlier| earlier.attempt.fence) {
            self.fence_off(id, fence, StopReason::CancelledByApp);
        }
        self.core.here.enter(claimed, kind, || self.core.clock.wall())
    }

    /// Starts a run of this worker, unless the runtime does not take it. `here` is what [`enter`](Self::enter) has answered.
    pub(super) fn start(
        &mut self,
        claimed: Claimed,
        worker: RegisteredWorker,
        here: Option<RunHere>,
    ) -> Option<Dropped> {
        let kind = worker.def.kind;
        let (id, fence) = (claimed.record.id, claimed.record.fence);
        let attempt = Arc::new(self.core.attempt(&claimed, worker.def, self.to_dispatcher.clone()));
        if here.is_some() {
            attempt.enter_as(here);
        }
        let (abort, registration) = AbortHandle::new_pair();
        let now = self.core.clock.monotonic();
        let clears_at = now.saturating_add(self.core.limits.suspect_within);
        let running = Running {
            given_at: now,
            clears_at: (claimed.record.deaths > 0 && clears_at < Duration::MAX).then_some(clears_at),
            endurance: Endurance::Unproven,
            times_out_at: attempt.times_out_at(now),
            attempt: Arc::clone(&attempt),
            abort,
            place: Seat::of(&claimed, worker.def.kind),
            cohort: self.cohort,
            constraints: claimed.spec.constraints.clone(),
            fenced: false,
            deadline: None,
        };
        tracing::debug!(%id, worker = %attempt.worker, attempt = attempt.number, fence, "starts");
        self.insert(id, running);
        self.core.live.queued.add(now);
        let may_begin = self.may_begin(&claimed);
        let run = Run {
            may_begin,
            store: Arc::clone(&self.core.store),
            worker,
            states: Arc::clone(&self.core.states),
            epoch: self.core.epoch,
            claimed,
            attempt: Arc::clone(&attempt),
            abort: registration,
        };
        // A runtime is not our code. One that panics may have kept the run all the same, so it must not begin any more.
        let panicked = foreign(|| run.start(&self.core.runtime)).err()?;
        let Attempt { worker, number, .. } = &*attempt;
        tracing::error!(%id, %worker, attempt = number, %panicked, "the runtime panicked when it was given a worker");
        self.withdraw(id).then_some(Dropped { kind, begun: Begun::No })
    }

    fn insert(&mut self, id: WorkId, running: Running) {
        // An earlier run of the same work, of which the store knows nothing any more, is nobody's business now.
        if let Some(earlier) = self.remove(id) {
            earlier.attempt.end();
        }
        self.places.add(running.place);
        self.young += 1;
        self.deadlines.extend(running.next_deadline().map(|at| (at, id)));
        self.trials.extend(running.clears_at.map(|at| (at, id)));
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
        if let Some(at) = running.clears_at {
            self.trials.remove(&(at, id));
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

    fn is_any_overdue(&self, now: Duration) -> bool {
        self.deadlines.first().is_some_and(|(at, _)| *at <= now)
    }

    /// The runs that are to be looked at now, in the order of their ids.
    fn overdue(&self, now: Duration) -> BTreeSet<WorkId> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// A run is over; `None` if nobody knows of it any more.
    pub(super) fn on_ended(&mut self, id: WorkId, fence: u64, end: End) -> Option<Over> {
        if self.running.get(&id).is_none_or(|running| running.attempt.fence != fence) {
            return None;
        }
        let running = self.remove(id)?;
        let kind = running.place.kind;
        let begun = if running.attempt.has_begun() { Begun::Yes } else { Begun::No };
        running.attempt.end();
        let lost = is_by_runtime(&end).then_some(Dropped { kind, begun });
        let dropped = matches!(running.deadline, Some((_, Patience::Dropped)));
        let parting = if dropped { Parting::GivenUp } else { Parting::ByItself };
        if running.fenced {
            self.core.live.forget(id, fence);
            return Some(Over { id, kind, parting, last_words: None, end: None, dropped: lost });
        }
        self.keep_failed(&running.attempt, &end);
        // What is over for good has no further run that could want its notes.
        let last_words = if matches!(end, End::Succeeded { .. }) { None } else { unsaved(&running.attempt) };
        // What never began is given back as it was, and is no attempt.
        let end = (lost.is_none_or(|lost| lost.begun == Begun::Yes)).then_some(Settle { id, fence, end });
        Some(Over { id, kind, parting, last_words, end, dropped: lost })
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
        let core = Arc::clone(&self.core);
        self.with_deadline(id, |running| {
            if running.attempt.fence == fence {
                running.fenced = true;
                running.leave_behind(&core, Hold::FencedOff);
                running.ask_to_stop(reason, deadline);
            }
        });
    }

    /// The manager leaves: whatever runs is to stop within the grace.
    pub(super) fn stop_all(&mut self, reason: StopReason, grace: Duration) {
        (self.drop_grace, self.grace) = (LAST_DROP_GRACE, grace);
        let deadline = self.core.clock.monotonic().saturating_add(grace);
        let all: Vec<WorkId> = self.running.keys().copied().collect();
        for id in all {
            self.with_deadline(id, |running| running.ask_to_stop(reason, deadline));
        }
    }

    /// What the sensor says counts from now on. If it panics, what it said before still does.
    pub(super) fn on_sensed(&mut self, now: Duration) -> Result<(), Panicked> {
        let said = self.core.senses.ask();
        let said = said.map(|conditions| self.core.dwell().observe(conditions, now));
        self.reckon(now);
        said
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
        if !self.is_any_overdue(now) {
            return Vec::new();
        }
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
        let dropped_until = now.saturating_add(self.drop_grace);
        for id in self.overdue(now) {
            self.with_deadline(id, |running| match running.deadline {
                Some((_, Patience::Asked)) if running.place.kind == WorkerKind::Async => {
                    running.abort.abort();
                    running.deadline = Some((dropped_until, Patience::Dropped));
                }
                Some(_) => over.push(id),
                None => {}
            });
        }
        over.into_iter().filter_map(|id| self.abandon(id)).collect()
    }

    /// Takes back what the runtime has not come to for long. Answers of which kinds that was.
    pub(super) fn take_back(&mut self, now: Duration) -> BTreeSet<WorkerKind> {
        let (_, waited) = self.core.live.queued.waiting(now);
        if waited < BEGIN_WITHIN {
            return BTreeSet::new();
        }
        let late = self.running.iter().filter(|(_, running)| running.is_late(now)).map(|(id, _)| *id);
        let late: Vec<WorkId> = late.collect();
        let mut kinds = BTreeSet::new();
        for id in late {
            let kind = self.running[&id].place.kind;
            tracing::warn!(%id, "the runtime has not begun it for long; it is given back");
            if self.withdraw(id) {
                kinds.insert(kind);
            }
        }
        kinds
    }

    /// Takes back what the runtime has not begun: from now on it can't. Whether it had not.
    fn withdraw(&mut self, id: WorkId) -> bool {
        let Some(running) = self.running.get(&id).filter(|running| running.attempt.withdraw()) else { return false };
        running.attempt.stop(StopReason::RuntimeGone);
        self.remove(id);
        true
    }

    fn abandon(&mut self, id: WorkId) -> Option<Over> {
        let running = self.remove(id)?;
        let fence = running.attempt.fence;
        let Attempt { worker, number, .. } = &*running.attempt;
        tracing::warn!(%id, %worker, attempt = number, "does not stop; its work is given back, and waits here until the worker ends");
        running.attempt.end();
        // Before anybody can know that the work is free.
        running.leave_behind(&self.core, Hold::GivenUp);
        if running.place.kind == WorkerKind::Async {
            running.attempt.stand_in(foreign(|| self.core.runtime.spare()).ok().flatten());
        }
        if running.fenced {
            self.core.live.forget(id, fence);
        }
        let end = Ending::Cut(running.attempt.given_up());
        let end = (!running.fenced).then(|| running.attempt.verdict(end));
        let end = end.map(|end| Settle { id, fence, end: if self.grace.is_zero() { end } else { as_given_up(end) } });
        end.iter().for_each(|settle| self.keep_failed(&running.attempt, &settle.end));
        Some(Over {
            id,
            kind: running.place.kind,
            parting: Parting::GivenUp,
            last_words: unsaved(&running.attempt),
            end,
            dropped: None,
        })
    }

    /// The manager ends: whatever still runs is told so, and nobody waits for it.
    pub(super) fn abandon_all(&mut self) {
        let all: Vec<WorkId> = self.running.keys().copied().collect();
        for running in all.into_iter().filter_map(|id| self.remove(id)).collect::<Vec<_>>() {
            running.attempt.stop(StopReason::Shutdown);
            running.abort.abort();
            running.attempt.end();
            running.leave_behind(&self.core, Hold::GivenUp);
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

    /// What the runs hold. What was given up, by whomever, holds a thread and no slot: another thread stands in for it. But so it goes
    /// for as many as there are slots, and no more.
    pub(super) fn places(&self) -> Seats {
        let mut places = self.places;
        let given_up = self.core.here.given_up();
        places.suspects += given_up.suspects;
        let Limits { async_slots, blocking_slots, expedited_slots, .. } = *self.core.limits;
        for (kind, given_up, slots) in [
            (WorkerKind::Async, given_up.for_async, async_slots),
            (WorkerKind::Blocking, given_up.for_blocking, blocking_slots),
        ] {
            let beyond = given_up.saturating_sub(slots.saturating_add(expedited_slots));
            let taken = places.taken.of(kind);
            taken.ordinary += beyond.min(slots);
            taken.expedited += beyond.saturating_sub(slots);
        }
        places
    }

    /// Whose runs hold the slots of this kind.
    pub(super) fn who_holds(&self, kind: WorkerKind) -> String {
        let running = self.running.values().filter(|running| running.place.kind == kind);
        let mut workers: Vec<(&str, usize)> = Vec::new();
        let mut count = |worker| match workers.iter_mut().find(|(known, _)| *known == worker) {
            Some((_, runs)) => *runs += 1,
            None => workers.push((worker, 1)),
        };
        running.clone().for_each(|running| count(&*running.attempt.worker));
        let left = self.core.here.leftovers();
        left.iter().filter(|run| run.kind == kind && run.hold == Hold::GivenUp).for_each(|run| count(&*run.worker));
        let since = running.map(|running| running.given_at).max().unwrap_or_default();
        let lasts = self.core.clock.monotonic().saturating_sub(since);
        workers.sort_by_key(|(worker, runs)| (Reverse(*runs), *worker));
        let named: Vec<String> =
            workers.iter().take(NAMED).map(|(worker, runs)| format!("\"{worker}\" ({runs})")).collect();
        let more = if workers.len() > NAMED { ", .." } else { "" };
        format!(
            "all slots for {} workers have been taken for {} while work waits for one; they are held by runs of {}{more}",
            kind.as_str(),
            Spoken(lasts),
            named.join(", ")
        )
    }

    /// What matters to what may start beside them.
    pub(super) fn beside(&self) -> Beside {
        Beside { places: self.places(), barred: self.core.here.barred() }
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
    pub(super) fn take_notes(&mut self, of: &BTreeSet<WorkId>) -> Vec<Note> {
        let notes = of.iter().filter_map(|id| self.running.get_mut(id).filter(|running| !running.fenced)?.take_note());
        notes.collect()
    }

    /// Keeps notes whose write failed with their run; answers them if that is over.
    pub(super) fn put_back(&mut self, note: Note) -> Option<Note> {
        match self.running.get_mut(&note.id).filter(|running| running.attempt.fence == note.fence) {
            Some(running) => {
                if note.endurance == Endurance::Proven {
                    running.endurance = Endurance::Proven;
                }
                running.attempt.put_back(note.notes);
                None
            }
            None => Some(note),
        }
    }

    /// The runs that have lasted long enough by now to clear their works of deaths. Each has a note to say that.
    pub(super) fn proven(&mut self, now: Duration) -> Vec<WorkId> {
        let mut proven = Vec::new();
        while let Some((_, id)) = self.trials.first().copied().filter(|(at, _)| *at <= now) {
            self.trials.pop_first();
            if let Some(running) = self.running.get_mut(&id) {
                (running.clears_at, running.endurance) = (None, Endurance::Proven);
                proven.push(id);
            }
        }
        proven
    }

    /// The store has taken a note, and says how far the work is still blamed for deaths. What was a suspect and is none any more holds up
    /// no other.
    pub(super) fn on_noted(&mut self, id: WorkId, fence: u64, blame: Blame) -> Suspicion {
        let Some(running) = self.running.get_mut(&id).filter(|running| running.attempt.fence == fence) else {
            return Suspicion::AsBefore;
        };
        if blame == Blame::None
            && let Some(at) = running.clears_at.take()
        {
            self.trials.remove(&(at, id));
        }
        if !running.place.suspect || blame == Blame::Suspect {
            return Suspicion::AsBefore;
        }
        self.places.remove(running.place);
        running.place.suspect = false;
        self.places.add(running.place);
        Suspicion::Over
    }

    /// When a run is to be asked to stop, patience with one ends, or one has lasted long enough to clear its work.
    pub(super) fn next_wake(&self) -> Option<Wake> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let trial = self.trials.first().map(|(at, _)| *at);
        deadline.into_iter().chain(trial).chain(self.dwell_at).min().map(Wake::at)
    }
}

impl Running {
    /// Others know of it from now on, until nothing is left of it.
    fn leave_behind(&self, core: &Core, hold: Hold) {
        let Attempt { id, worker, gates, .. } = &*self.attempt;
        let Seat { kind, suspect, .. } = self.place;
        let known = || KnownRun {
            id: *id,
            worker: Arc::clone(worker),
            kind,
            suspect,
            since: core.clock.wall(),
            named: None,
            gates: gates.clone(),
            hold,
        };
        self.attempt.leave_behind(hold, || RunsHere::leave_behind(&core.here, known()));
    }

    /// Whether the runtime should have come to it by now.
    fn is_late(&self, now: Duration) -> bool {
        now.saturating_sub(self.given_at) >= BEGIN_WITHIN && !self.attempt.has_begun()
    }

    /// When somebody has to look at it again.
    fn next_deadline(&self) -> Option<Duration> {
        self.deadline.map(|(at, _)| at).or(self.times_out_at)
    }

    /// What it has said since it was last asked, and whether it has lasted long enough to clear its work, which is said once.
    fn take_note(&mut self) -> Option<Note> {
        let Attempt { id, fence, .. } = *self.attempt;
        let endurance = std::mem::take(&mut self.endurance);
        match self.attempt.take_unsaved() {
            Some(notes) => Some(Note { id, fence, notes, endurance }),
            None if endurance == Endurance::Proven => Some(Note { id, fence, notes: Notes::default(), endurance }),
            None => None,
        }
    }

    /// Asks the worker to stop until then, or earlier if that was said before.
    fn ask_to_stop(&mut self, reason: StopReason, deadline: Duration) {
        self.attempt.stop(reason);
        if self.deadline.is_none_or(|(at, patience)| patience == Patience::Asked && deadline < at) {
            self.deadline = Some((deadline, Patience::Asked));
        }
    }
}

/// How a run ends that had time to stop and did not.
fn as_given_up(end: End) -> End {
    match end {
        End::Interrupted { reason } => End::GivenUp { reason, delay: None },
        End::HeldBack { reason, delay } => End::GivenUp { reason, delay: Some(delay) },
        end => end,
    }
}

fn is_by_runtime(end: &End) -> bool {
    matches!(end, End::Interrupted { reason } | End::HeldBack { reason, .. } if *reason == StopReason::RuntimeGone)
}

fn unsaved(attempt: &Attempt) -> Option<Note> {
    let endurance = Endurance::Unproven;
    attempt.take_unsaved().map(|notes| Note { id: attempt.id, fence: attempt.fence, notes, endurance })
}
