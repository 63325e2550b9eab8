//! [`WorkContext`]: what a running worker may know and say. It never sees the store.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use futures::channel::oneshot;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::here::{Hold, RunHere};
use super::{OwnWaits, ReadBack, Role, WorkerDef};
use crate::data::{DecodeError, EncodeError, Payload};
use crate::foreign;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::observe::{Hub, News};
use crate::plan::{End, WorkerKind};
use crate::record::GateId;
use crate::record::Notes;
use crate::runtime;
use crate::state::StopReason;
use crate::store::ExpectedTime;
use crate::time::LONGEST_SLEEP;

/// The worker's side of one attempt: identity, stop signal, sleeping, progress and checkpoints.
///
/// A worker asks for it with an argument of type `&WorkContext`, or `WorkContext` to keep it: one that returns a stream can't
/// borrow it, and a thread or a callback may want one of its own. Nothing that it offers writes to the store directly: what is
/// said here is seen by observers in the process at once, and is on disk with the next commit, one second later at the latest.
///
/// Once the work is to stop, [`sleep`](Self::sleep), [`set_progress`](Self::set_progress) and
/// [`save_checkpoint`](Self::save_checkpoint) answer [`Stopped`]. Any error that the worker returns after that is an
/// interruption and no failed attempt, whatever its type. After a stop for the timeout of an attempt it is a failed attempt, which
/// took too long; the error is kept as the reason for that, and one that says that the work is never to be tried again is obeyed.
#[derive(Clone)]
#[doc(alias("WorkerParameters", "JobContext", "ListenableWorker", "CoroutineWorker"))]
pub struct WorkContext {
    attempt: Arc<Attempt>,
    input: Payload,
}

/// One attempt, shared between its worker and the dispatcher.
pub(crate) struct Attempt {
    pub(crate) id: WorkId,
    pub(crate) fence: u64,
    pub(crate) worker: Arc<str>,
    pub(crate) def: &'static WorkerDef,
    pub(crate) tags: Vec<Arc<str>>,
    /// The gates that count it.
    pub(crate) gates: Vec<GateId>,
    pub(crate) number: u32,
    /// How many there are before the work fails for good; none if they have no end.
    pub(crate) most: Option<u32>,
    pub(crate) generation: u32,
    pub(crate) trace_tag: Arc<str>,
    pub(crate) period: Option<u64>,
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) read_back: ReadBack,
    pub(crate) output: Fate,
    /// The manager's clock, and what the store makes of it.
    pub(crate) time: Arc<ExpectedTime>,
    pub(crate) engine: UnboundedSender<FromWorker>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) live: Arc<Live>,
    pub(crate) shared: Mutex<Shared>,
}

/// What becomes of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is stored.
    Kept,
    /// Its request has said that nobody wants it.
    Discarded,
}

/// The attempts that have said how far they are, for those who want to see that before it is written. Each stays until its end
/// is on disk.
#[derive(Default)]
pub(crate) struct Live {
    attempts: Mutex<BTreeMap<WorkId, Arc<Attempt>>>,
    pub(crate) queued: Queued,
}

/// How many runs were given to the runtime that it has not come to yet, and since when it has come to none.
#[derive(Default)]
pub(crate) struct Queued {
    count: AtomicUsize,
    /// On the monotonic clock, in milliseconds.
    since_ms: AtomicU64,
}

impl Queued {
    pub(crate) fn add(&self, now: Duration) {
        if self.count.fetch_add(1, Ordering::AcqRel) == 0 {
            self.note(now);
        }
    }

    fn remove(&self, now: Duration) {
        self.note(now);
        let _ = self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1));
    }

    fn note(&self, now: Duration) {
        self.since_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// How many wait for the runtime, and for how long it has come to none of them.
    pub(crate) fn waiting(&self, now: Duration) -> (usize, Duration) {
        let count = self.count.load(Ordering::Acquire);
        let since = Duration::from_millis(self.since_ms.load(Ordering::Acquire));
        (count, if count > 0 { now.saturating_sub(since) } else { Duration::ZERO })
    }
}

impl Live {
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkId, Arc<Attempt>>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of this run is on disk, or of no interest.
    pub(crate) fn forget(&self, id: WorkId, fence: u64) {
        let mut live = self.lock();
        if live.get(&id).is_some_and(|attempt| attempt.fence == fence) {
            live.remove(&id);
        }
    }
}

/// What a worker tells the dispatcher.
pub(crate) enum FromWorker {
    /// This work has notes that are to be written within the progress delay.
    Noted(WorkId),
    /// The notes are to be written now; the sender hears when they are.
    Flush(WorkId, oneshot::Sender<()>),
    /// Something was given to the runtime to see whether it runs such workers.
    Tried(WorkerKind, Tried),
    /// A run is over that others may have waited for, of this manager or of another one of its store.
    OutOfTheWay,
    /// A run is over.
    Ended {
        id: WorkId,
        /// The fence of the run.
        fence: u64,
        /// How it ended.
        end: End,
    },
}

/// What became of something that was given to a runtime to try it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    Run,
    Dropped,
}

/// What a worker wants to be called when its run is to stop.
type OnStop = Box<dyn FnOnce(StopReason) + Send>;

#[derive(Default)]
pub(crate) struct Shared {
    stop: Option<StopReason>,
    told: bool,
    begun: bool,
    entered: bool,
    over: bool,
    /// What is to be called when the run is to stop.
    on_stop: Vec<OnStop>,
    /// Those who wait for the stop, by a number of their own.
    wakers: BTreeMap<u64, Waker>,
    next_waker: u64,
    checkpoint: Option<Payload>,
    progress: Option<Payload>,
    unsaved: Notes,
    own_waits: OwnWaits,
    /// Nothing of the run is left: its thread is free, its future dropped.
    gone: bool,
    /// Until then: what others must know of it, and the thread that stands in for its own.
    here: Option<RunHere>,
    spare: Option<Box<dyn Send>>,
}

impl Shared {
    pub(crate) fn new(checkpoint: Option<Payload>) -> Self {
        Shared { checkpoint, ..Shared::default() }
    }
}

/// What an end is judged by that changes while the attempt runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circumstances {
    /// Why the run is to stop.
    pub(super) stop: Option<StopReason>,
    /// Whether its worker was told so.
    pub(super) told: bool,
    pub(super) own_waits: OwnWaits,
}

impl Attempt {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the worker to stop. The first reason stays.
    pub(crate) fn stop(&self, reason: StopReason) {
        let mut shared = self.lock();
        shared.stop.get_or_insert(reason);
        let wakers = std::mem::take(&mut shared.wakers);
        drop(shared);
        foreign::wake_all(wakers.into_values());
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.lock().stop
    }

    /// The run knows how long its work waits after it.
    pub(crate) fn set_own_waits(&self, waits: OwnWaits) {
        self.lock().own_waits = waits;
    }

    /// What its end is judged by, as it is now.
    pub(super) fn circumstances(&self) -> Circumstances {
        let Shared { stop, told, own_waits, .. } = *self.lock();
        Circumstances { stop, told, own_waits }
    }

    /// The runtime has come to the run. Whether it may begin: one that is over was taken back from a runtime that did not come.
    pub(super) fn begin(&self) -> bool {
        let mut shared = self.lock();
        shared.begun = !shared.over;
        let begun = shared.begun;
        drop(shared);
        if begun {
            self.live.queued.remove(self.time.clock().monotonic());
        }
        begun
    }

    /// The worker's own code is about to be polled or called for the first time. Whether it may: what is to stop by then never begins,
    /// unless it has taken too long, which is a failed attempt wherever it was.
    pub(crate) fn enter(&self) -> bool {
        let mut shared = self.lock();
        shared.entered = shared.stop.is_none_or(|reason| reason == StopReason::Timeout);
        shared.entered
    }

    /// Whether it is to stop for something other than its time, and its worker's own code has not begun.
    pub(super) fn is_stopped_unbegun(&self) -> bool {
        let shared = self.lock();
        !shared.entered && shared.stop.is_some_and(|reason| reason != StopReason::Timeout)
    }

    /// Others know of the run from its beginning.
    pub(crate) fn enter_as(&self, run: Option<RunHere>) {
        self.lock().here = run;
    }

    /// The store, or the manager, goes on without the run. Unless nothing is left of it, others know of it from now on.
    pub(crate) fn leave_behind(&self, hold: Hold, known: impl FnOnce() -> RunHere) {
        let now = self.time.clock().wall();
        let mut shared = self.lock();
        if !shared.gone {
            shared.here.get_or_insert_with(known).hold(hold, now);
        }
    }

    /// Another thread stands in for that of the run until nothing is left of it.
    pub(crate) fn stand_in(&self, spare: Option<Box<dyn Send>>) {
        let mut shared = self.lock();
        let unused = if shared.gone { spare } else { std::mem::replace(&mut shared.spare, spare) };
        drop(shared);
        foreign::discard("a spare thread", unused);
    }

    /// Nothing of the run is left.
    pub(super) fn leave(&self) {
        let mut shared = self.lock();
        shared.gone = true;
        let (here, spare) = (shared.here.take(), shared.spare.take());
        drop(shared);
        foreign::discard("a spare thread", spare);
        drop(here);
    }

    /// The run is not to begin any more. Whether it had not.
    pub(crate) fn withdraw(&self) -> bool {
        let mut shared = self.lock();
        if shared.begun || shared.over {
            return false;
        }
        shared.over = true;
        drop(shared);
        self.leave();
        self.live.queued.remove(self.time.clock().monotonic());
        true
    }

    /// Whether the runtime has come to the run.
    pub(crate) fn has_begun(&self) -> bool {
        self.lock().begun
    }

    /// The attempt is over: whatever still holds the context can say nothing any more.
    pub(crate) fn end(&self) {
        if !self.withdraw() {
            self.lock().over = true;
        }
        self.forget_on_stop();
    }

    /// Nothing is called any more. What would have been may hold this attempt, so it must not lie here for ever.
    pub(super) fn forget_on_stop(&self) {
        let uncalled = std::mem::take(&mut self.lock().on_stop);
        // It is the program's: what it does when it is dropped is no business of whoever ends the attempt.
        foreign::discard("what was to be called at a stop", uncalled);
    }

    /// Calls this when the run is to stop, at once if it already is, and never once it is over.
    pub(super) fn on_stop(&self, callback: OnStop) {
        let mut shared = self.lock();
        match shared.stop {
            Some(reason) => {
                shared.told = true;
                drop(shared);
                callback(reason);
            }
            None if shared.over => {}
            None => shared.on_stop.push(callback),
        }
    }

    /// What is to be called now, if the run is to stop.
    pub(super) fn take_on_stop(&self) -> Option<(StopReason, Vec<OnStop>)> {
        let mut shared = self.lock();
        let reason = shared.stop?;
        let callbacks = std::mem::take(&mut shared.on_stop);
        shared.told |= !callbacks.is_empty();
        Some((reason, callbacks))
    }

    /// What was said since the last call, if anything.
    pub(crate) fn take_unsaved(&self) -> Option<Notes> {
        let notes = std::mem::take(&mut self.lock().unsaved);
        (notes != Notes::default()).then_some(notes)
    }

    /// Puts back notes whose write failed, unless newer ones were said meanwhile.
    pub(crate) fn put_back(&self, notes: Notes) {
        let unsaved = &mut self.lock().unsaved;
        unsaved.progress = unsaved.progress.take().or(notes.progress);
        unsaved.checkpoint = unsaved.checkpoint.take().or(notes.checkpoint);
    }

    /// The latest progress, committed or not.
    pub(crate) fn progress(&self) -> Option<Payload> {
        self.lock().progress.clone()
    }
}

impl WorkContext {
    pub(crate) fn new(attempt: Arc<Attempt>, input: Payload) -> Self {
        WorkContext { attempt, input }
    }

    pub(super) fn run(&self) -> &Arc<Attempt> {
        &self.attempt
    }

    /// Progress that is encoded already and small enough.
    pub(super) fn set_encoded_progress(&self, progress: Payload) -> Result<(), NoteError> {
        self.note(Notes { progress: Some(progress), checkpoint: None })
    }

    /// The work.
    #[must_use]
    pub fn id(&self) -> WorkId {
        self.attempt.id
    }

    /// The worker's registered name.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.attempt.worker
    }

    /// The tags of the work, without the worker's name.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.attempt.tags.iter().map(|tag| &**tag)
    }

    /// The number of this attempt: how many failed before it, so 0 is the first.
    #[must_use]
    #[doc(alias("getRunAttemptCount", "retry_count"))]
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// How often the work had been updated when this run began. An update during the run counts from the next one on.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.attempt.generation
    }

    /// What the runs of this work are called in traces: what its request said, or else its worker's name.
    #[must_use]
    pub fn trace_tag(&self) -> &str {
        &self.attempt.trace_tag
    }

    /// The whole input of this run, an object keyed by argument name. If the request has an
    /// [`InputMerger`](crate::policy::InputMerger), the outputs of the prerequisites are merged into it.
    ///
    /// # Errors
    /// [`DecodeError`] when the object does not decode as this.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.input.decode()
    }

    /// A key that is the same for all attempts of this work, or of this period of periodic work. Give it to a service that
    /// remembers keys, and a repeated attempt has no second effect.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        match self.attempt.period {
            Some(period) => format!("{}/{period}", self.attempt.id),
            None => self.attempt.id.to_string(),
        }
    }

    /// A number that grows with every run of this work. A service that refuses smaller numbers than it has seen can't be
    /// disturbed by a run that was given up.
    #[must_use]
    pub fn fencing_token(&self) -> u64 {
        self.attempt.fence
    }

    /// Whether this run is to stop.
    #[must_use]
    #[doc(alias("isStopped", "is_cancelled", "cancelled"))]
    pub fn is_stopped(&self) -> bool {
        runtime::pause_point();
        self.attempt.stop_reason().is_some()
    }

    /// Why this run is to stop, once it is.
    #[must_use]
    #[doc(alias = "getStopReason")]
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.attempt.stop_reason()
    }

    /// The value to return after [`is_stopped`](Self::is_stopped) said so: the run counts as interrupted, not as failed.
    ///
    /// # Errors
    /// Always: `Stopped`, as the worker's own error type.
    pub fn stopped<T, E: From<Stopped>>(&self) -> Result<T, E> {
        Err(E::from(self.tell_stopped().unwrap_or(Stopped { reason: StopReason::CancelledByApp })))
    }

    /// Resolves when this run is to stop.
    #[doc(alias("onStopped", "cancelled", "cancellation_token"))]
    pub async fn until_stopped(&self) -> Stopped {
        UntilStopped::new(&self.attempt).await
    }

    /// Waits, on the manager's clock, so it costs nothing in tests. After a suspend it is over when the wall clock says so, but a
    /// clock that was behind and is set right shortens it no more than any other delay.
    ///
    /// # Errors
    /// [`Stopped`], at once, when this run is to stop.
    pub async fn sleep(&self, length: Duration) -> Result<(), Stopped> {
        let time = &*self.attempt.time;
        let clock = time.clock();
        let (begin, monotonic) = (time.now().now, clock.monotonic());
        loop {
            if let Some(stopped) = self.tell_stopped() {
                return Err(stopped);
            }
            let passed = clock.monotonic().saturating_sub(monotonic).max(time.now().now.since(begin));
            let Some(left) = length.checked_sub(passed).filter(|left| !left.is_zero()) else { return Ok(()) };
            let nap = clock.doze(left, LONGEST_SLEEP);
            futures::future::select(nap, UntilStopped::new(&self.attempt)).await;
        }
    }

    /// As [`sleep`](Self::sleep), for blocking workers.
    ///
    /// # Errors
    /// [`Stopped`], at once, when this run is to stop.
    pub fn sleep_blocking(&self, length: Duration) -> Result<(), Stopped> {
        runtime::block_on(self.sleep(length))
    }

    /// Says how far the work is. Observers in this process see it at once; it is gone when the work finishes.
    ///
    /// # Errors
    /// [`NoteError`] when the run is to stop, or the value can't be encoded or is too large. It is not read back, as its type may
    /// be one that is only written.
    #[doc(alias("setProgress", "setProgressAsync", "report_progress"))]
    pub fn set_progress<T: Serialize>(&self, progress: &T) -> Result<(), NoteError> {
        let payload = self.encode("progress", progress)?;
        self.note(Notes { progress: Some(payload), checkpoint: None })
    }

    /// Says where a later run of this work is to go on, should this one be interrupted, fail, or die.
    ///
    /// # Errors
    /// [`NoteError`] when the run is to stop, or the value can't be encoded, would not decode again (as far as it is
    /// [read back](Payload::encode)), or is too large. What was saved before stays.
    #[doc(alias("checkpoint", "heartbeat_details", "savepoint"))]
    pub fn save_checkpoint<T: Serialize + DeserializeOwned>(&self, checkpoint: &T) -> Result<(), NoteError> {
        let what = "checkpoint";
        let payload = self.encode(what, checkpoint)?;
        let Attempt { read_back, def, .. } = &*self.attempt;
        let read = read_back.check(def, Role::Checkpoint, || payload.read_back::<T>());
        read.map_err(|source| NoteError::Encode { what, source })?;
        self.note(Notes { progress: None, checkpoint: Some(payload) })
    }

    /// The last checkpoint of this work, or of this period of periodic work.
    ///
    /// # Errors
    /// [`DecodeError`] when it was saved as something else.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, DecodeError> {
        let checkpoint = self.attempt.lock().checkpoint.clone();
        checkpoint.map(|payload| payload.decode()).transpose()
    }

    /// Makes progress and checkpoint durable now.
    ///
    /// # Errors
    /// [`Stopped`] when the run was ended before they were written.
    pub async fn flush(&self) -> Result<(), Stopped> {
        if !self.attempt.hub.is_at_home() {
            // A forked child has no engine that would write it.
            return Err(Stopped { reason: StopReason::Shutdown });
        }
        let (done, written) = oneshot::channel();
        let sent = self.attempt.engine.unbounded_send(FromWorker::Flush(self.attempt.id, done));
        if sent.is_ok() && runtime::own_wait(written).await.is_ok() {
            return Ok(());
        }
        let reason = self.attempt.stop_reason().unwrap_or(StopReason::Shutdown);
        self.attempt.stop(reason);
        Err(self.tell_stopped().unwrap_or(Stopped { reason }))
    }

    /// As [`flush`](Self::flush), for blocking workers.
    ///
    /// # Errors
    /// [`Stopped`] when the run was ended before they were written.
    pub fn flush_blocking(&self) -> Result<(), Stopped> {
        runtime::block_on(self.flush())
    }

    /// `Stopped`, if the run is to stop; the context remembers that it said so.
    fn tell_stopped(&self) -> Option<Stopped> {
        let mut shared = self.attempt.lock();
        let reason = shared.stop?;
        shared.told = true;
        Some(Stopped { reason })
    }

    fn encode<T: Serialize>(&self, what: &'static str, value: &T) -> Result<Payload, NoteError> {
        let payload = Payload::encode(value).map_err(|source| NoteError::Encode { what, source })?;
        let (size, limit) = (payload.len(), self.attempt.limits.progress);
        if size > limit { Err(NoteError::TooLarge { what, size, limit }) } else { Ok(payload) }
    }

    fn note(&self, notes: Notes) -> Result<(), NoteError> {
        runtime::pause_point();
        if let Some(stopped) = self.tell_stopped() {
            return Err(NoteError::Stopped(stopped));
        }
        let mut shared = self.attempt.lock();
        if shared.over {
            return Err(NoteError::Stopped(Stopped { reason: StopReason::RuntimeGone }));
        }
        let first = shared.unsaved == Notes::default();
        if notes.progress.is_some() {
            shared.progress.clone_from(&notes.progress);
            shared.unsaved.progress = notes.progress;
            // Under the lock, so that it is never there once the attempt is over.
            self.attempt.live.lock().insert(self.attempt.id, Arc::clone(&self.attempt));
        }
        if notes.checkpoint.is_some() {
            shared.checkpoint.clone_from(&notes.checkpoint);
            shared.unsaved.checkpoint = notes.checkpoint;
        }
        drop(shared);
        self.attempt.hub.touch(News::Unnumbered, &[self.attempt.id]);
        if first {
            // A dispatcher that is gone writes nothing any more; the run is fenced then, and hears of it by its stop.
            let _ = self.attempt.engine.unbounded_send(FromWorker::Noted(self.attempt.id));
        }
        Ok(())
    }
}

impl fmt::Debug for WorkContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkContext")
            .field("id", &self.attempt.id)
            .field("worker", &self.attempt.worker)
            .field("attempt", &self.attempt.number)
            .field("fence", &self.attempt.fence)
            .finish_non_exhaustive()
    }
}

/// Wakes a task when the attempt is to stop.
pub(super) struct StopWatch<'a> {
    attempt: &'a Attempt,
    number: Option<u64>,
}

impl<'a> StopWatch<'a> {
    pub(super) fn new(attempt: &'a Attempt) -> Self {
        StopWatch { attempt, number: None }
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<StopReason> {
        let mut shared = self.attempt.lock();
        if let Some(reason) = shared.stop {
            return Poll::Ready(reason);
        }
        let number = self.number.unwrap_or(shared.next_waker);
        if self.number.is_none() {
            shared.next_waker += 1;
        }
        let former = shared.wakers.insert(number, cx.waker().clone());
        drop(shared);
        drop(former);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for StopWatch<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.attempt.lock().wakers.remove(&number);
            drop(waker);
        }
    }
}

/// Resolves when the attempt is to stop; the context remembers that it said so.
struct UntilStopped<'a>(StopWatch<'a>);

impl<'a> UntilStopped<'a> {
    fn new(attempt: &'a Attempt) -> Self {
        UntilStopped(StopWatch::new(attempt))
    }
}

impl Future for UntilStopped<'_> {
    type Output = Stopped;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Stopped> {
        let polled = self.0.poll(cx);
        match polled {
            Poll::Ready(_) => self.0.attempt.lock().told = true,
            Poll::Pending => runtime::note_own_wait(),
        }
        polled.map(|reason| Stopped { reason })
    }
}

/// The run is to stop. Pass it up with `?`: the work is interrupted and runs again, unless it was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Why.
    pub reason: StopReason,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run was stopped: {}", self.reason)
    }
}

impl Error for Stopped {}

impl Stopped {
    /// What this error passes on, if that is all that it does. One that has something of its own to say, or that lies in an error of
    /// a worker, is an error of that worker.
    pub(super) fn passed_on_by(error: &(dyn Error + Send + Sync + 'static)) -> Option<Stopped> {
        match (error.downcast_ref(), error.downcast_ref()) {
            (Some(stopped), _) | (_, Some(NoteError::Stopped(stopped))) => Some(*stopped),
            _ => None,
        }
    }
}

/// Progress or a checkpoint was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum NoteError {
    /// The run is to stop.
    Stopped(Stopped),
    /// The value can't be encoded.
    Encode {
        /// Progress or checkpoint.
        what: &'static str,
        source: EncodeError,
    },
    /// The encoded value is too large.
    TooLarge {
        /// Progress or checkpoint.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoteError::Stopped(stopped) => stopped.fmt(f),
            NoteError::Encode { what, source } => write!(f, "the {what} can't be encoded: {source}"),
            NoteError::TooLarge { what, size, limit } => {
                write!(f, "the {what} has {size} bytes, the limit is {limit}; see `Limits::progress`")
            }
        }
    }
}

impl Error for NoteError {
    /// The texts of these errors contain those of the errors in them, so the chain goes on behind those.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            NoteError::Stopped(stopped) => stopped.source(),
            NoteError::Encode { source, .. } => source.source(),
            NoteError::TooLarge { .. } => None,
        }
    }
}
