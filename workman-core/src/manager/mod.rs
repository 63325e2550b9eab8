//! [`WorkManager`]: what a program holds in its hands.

mod beside;
mod builder;
mod count;
mod departure;
mod enqueue;
mod explain;
mod gates;
mod handle;
mod look;
mod mirror;
mod order;
mod program;
mod refused;
mod select;
mod selection;
mod steer;
mod watch;

use std::error::Error;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};

use crate::dispatcher::{BEGIN_WITHIN, Control, Core, Role, ShutdownReport};
use crate::health::{HealthStatus, SILENT_AFTER};
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::plan::{Enqueued, Refusal, Unique, UniquePolicy};
use crate::policy::{ExistingPeriodicWorkPolicy, ExistingWorkPolicy};
use crate::query::{PageRequest, WorkQuery};
use crate::request::{PeriodicRequest, RequestParts, Standalone};
use crate::runtime;
use crate::state::WorkState;
use crate::store::{Change, Store, StoreError, StoreErrorKind};
use crate::time::LONGEST_SLEEP;
use crate::worker::{Current, Worker, WorkerDef, WorkerType};

pub use builder::{Builder, Engine};
pub use count::Counts;
use departure::Departure;
pub use enqueue::Enqueueing;
pub(crate) use enqueue::Naming;
pub use explain::{Explanation, FailedPrerequisite};
pub use gates::{Gate, Pausing};
pub use handle::{OutputError, WorkHandle};
pub use look::{Findings, QueryError};
pub(crate) use order::Declared;
pub use refused::{ActionError, EnqueueError, StartError};
pub use selection::{Cancelling, Matching, RetriedAll, Selection};
pub use steer::{Updatable, UpdateError};

/// How long after its grace a shutdown returns at the latest, and a drain after its limit.
const AFTER_GRACE: Duration = Duration::from_secs(1);

/// How many works a report names at the most.
const NAMED: usize = 256;

/// How many runs health names that do not stop.
const NAMED_RUNS: usize = 8;

/// Enqueues, observes and steers work, and runs it.
///
/// Cloning is cheap, and all clones are one manager. When the last clone (a [`WorkHandle`] and a watched stream count as one)
/// is dropped, what runs is stopped and given back, as an interruption, before the drop returns: within a second, and not where a
/// worker of the manager drops it, which the manager would wait for. So a program may end right behind that, or open the same file. A
/// program may have several managers, on one store (an `Arc` of it) or on many.
///
/// A manager lives by its threads, and a child that is forked without `exec` has none of them: there every call is answered with
/// an error ([`StoreErrorKind::Lost`](crate::store::StoreErrorKind::Lost)) at once, streams end, and a drop ends nothing of the
/// parent's.
#[derive(Clone)]
#[doc(alias("Queue", "Client", "Scheduler", "JobQueue", "Storage"))]
pub struct WorkManager {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    /// The thread of the dispatcher, if it has one.
    departure: OnceLock<Arc<Departure>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.core.home.is_current() {
            // A forked child has a copy of what belongs to the parent, and must end nothing of it.
            let _kept = ManuallyDrop::new(Arc::clone(&self.core));
            return;
        }
        // A dispatcher that is gone has left already.
        let _ = self.core.dispatcher.unbounded_send(Control::HandlesGone);
        // A worker that has the last handle would wait for itself.
        if let Some(departure) = self.departure.get().filter(|_| running_in(&self.core).is_none()) {
            departure.wait();
        }
    }
}

/// The work of this manager that runs on this thread.
fn running_in(core: &Core) -> Option<Current> {
    Current::get().filter(|current| current.store == core.store.identity() && current.epoch == core.epoch)
}

impl fmt::Debug for WorkManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = self.core();
        let mut shown = f.debug_struct("WorkManager");
        shown.field("role", &core.role).field("workers", &core.registry.len()).field("epoch", &core.epoch);
        shown.finish_non_exhaustive()
    }
}

impl WorkManager {
    /// Starts to put a manager together on this store.
    pub fn builder(store: impl Store) -> Builder {
        Builder::new(Arc::new(store))
    }

    fn of(core: Arc<Core>) -> Self {
        WorkManager { inner: Arc::new(Inner { core, departure: OnceLock::new() }) }
    }

    /// From now on the last handle waits for a thread to end.
    fn departs(&self) -> Arc<Departure> {
        Arc::clone(self.inner.departure.get_or_init(Arc::default))
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    // ---- enqueue ----

    /// Stores one work. When this returns, it is on disk. Dropping the future after its first poll does not withdraw it.
    ///
    /// It takes a request that stands alone. A [`PeriodicRequest`] is for [`enqueue_periodic`](Self::enqueue_periodic); the request
    /// of a worker that takes from prerequisites comes behind them ([`begin_with`](Self::begin_with)), or is made by
    /// `my_worker::with(..)`, which gives what it would take.
    ///
    /// After a [`shutdown`](Self::shutdown) work is stored all the same, and runs when the next manager starts on this store;
    /// [`health`](Self::health) says whether this one has ended.
    ///
    /// # Errors
    /// See [`EnqueueError`].
    #[doc(alias("submit", "spawn", "push", "perform_later", "send"))]
    pub fn enqueue<R: Standalone>(&self, request: R) -> Enqueueing<'_, WorkHandle<R::Output>> {
        let parts = request.into_request().into_parts();
        let stored = Box::pin(self.submit([Declared::first(vec![parts])], Naming::None));
        Enqueueing::new(self, stored, |manager, stored| {
            stored.ids.first().map(|id| WorkHandle::new(manager.clone(), *id)).ok_or(EnqueueError::Empty)
        })
    }

    /// Stores many works in one commit: all or none.
    ///
    /// # Errors
    /// See [`EnqueueError`]. An empty list is refused ([`EnqueueError::Empty`]): mostly whoever made it expected something in it.
    #[doc(alias("insert_all", "bulk", "batch"))]
    pub fn enqueue_all<R: Standalone>(
        &self,
        requests: impl IntoIterator<Item = R>,
    ) -> Enqueueing<'_, Vec<WorkHandle<R::Output>>> {
        let works = requests.into_iter().map(|request| request.into_request().into_parts()).collect();
        let stored = Box::pin(self.submit([Declared::first(works)], Naming::None));
        Enqueueing::new(self, stored, |manager, stored| {
            Ok(stored.ids.into_iter().map(|id| WorkHandle::new(manager.clone(), id)).collect())
        })
    }

    /// Stores one work under a unique name. If the name is taken, the policy says what happens, and [`UniqueWork::how`] what has
    /// happened:
    ///
    /// - [`Keep`](ExistingWorkPolicy::Keep): if any work of the name is enqueued or runs, the request is dropped: `Kept`.
    /// - [`Replace`](ExistingWorkPolicy::Replace): what is there is stopped and deleted: `Replaced`.
    /// - [`AppendOrReplace`](ExistingWorkPolicy::AppendOrReplace): the work waits for what is there, as if it stood behind it in a
    ///   chain: `Appended`. If some of that has failed or was cancelled, it is replaced: `Replaced`. This is the way to do one thing
    ///   after the other.
    /// - [`Append`](ExistingWorkPolicy::Append): the same, but behind failed or cancelled work it fails, or is cancelled, itself.
    ///
    /// A name that nobody holds is taken: `Inserted`. Where the request is stored there is a handle of it. The holder of a name
    /// that was kept has a handle too, if it is the same worker's, by any of the worker's names.
    ///
    /// ```
    /// # use futures::executor::block_on;
    /// use workman_core::{Enqueued, ExistingWorkPolicy};
    /// # use workman_core::{MemoryStore, ThreadRuntime, WorkManager, worker};
    ///
    /// #[worker]
    /// fn append_line(line: String) -> usize {
    ///     line.len()
    /// }
    ///
    /// # let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
    /// # block_on(async {
    /// let policy = ExistingWorkPolicy::AppendOrReplace;
    /// let first = manager.enqueue_unique("log", policy, append_line::request("one".into())).await?;
    /// let second = manager.enqueue_unique("log", policy, append_line::request("second".into())).await?;
    /// let first = first.handle.expect("the name was free");
    /// assert_eq!(second.how, Enqueued::Appended(vec![first.id()]));
    /// assert_eq!(second.handle.expect("it is stored").output().await?, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`EnqueueError`].
    #[doc(alias("enqueueUniqueWork", "deduplicate", "singleton"))]
    pub fn enqueue_unique<R: Standalone>(
        &self,
        name: impl Into<Arc<str>>,
        policy: ExistingWorkPolicy,
        request: R,
    ) -> Enqueueing<'_, UniqueWork<R::Output>> {
        let unique = Unique { name: name.into(), policy: UniquePolicy::OneTime(policy) };
        let parts = request.into_request().into_parts();
        Enqueueing::new(
            self,
            Box::pin(self.submit_unique(parts, unique)),
            |manager, held| Ok(held.unique_work(manager)),
        )
    }

    /// Stores periodic work.
    ///
    /// # Errors
    /// See [`EnqueueError`].
    #[doc(alias("recurring", "repeat", "interval"))]
    pub async fn enqueue_periodic(&self, request: PeriodicRequest) -> Result<WorkHandle<()>, EnqueueError> {
        let stored = self.submit([Declared::first(vec![request.into_parts()])], Naming::None).await?;
        stored.ids.first().map(|id| WorkHandle::new(self.clone(), *id)).ok_or(EnqueueError::Empty)
    }

    /// Stores periodic work under a name that only one can hold: the call to make at every start of a program.
    ///
    /// # Errors
    /// See [`EnqueueError`].
    #[doc(alias("enqueueUniquePeriodicWork", "cron", "recurring"))]
    pub async fn enqueue_unique_periodic(
        &self,
        name: impl Into<Arc<str>>,
        policy: ExistingPeriodicWorkPolicy,
        request: PeriodicRequest,
    ) -> Result<UniqueWork<()>, EnqueueError> {
        let unique = Unique { name: name.into(), policy: UniquePolicy::Periodic(policy) };
        Ok(self.submit_unique(request.into_parts(), unique).await?.unique_work(self))
    }

    /// Stores one work under a name. The id that is answered is that of the holder, if it is of the same worker.
    async fn submit_unique(&self, parts: RequestParts, unique: Unique) -> Result<enqueue::Stored, EnqueueError> {
        let def = parts.def;
        let stored = self.submit([Declared::first(vec![parts])], Naming::New(unique)).await?;
        let own = stored.ids.first().copied();
        let (id, same_worker) = match stored.how {
            Enqueued::Kept(id) => (Some(id), stored.holder.is_some_and(|info| self.is_named(def, &info.worker))),
            Enqueued::Updated(id) => (Some(id), true),
            _ => (own, true),
        };
        Ok(enqueue::Stored { ids: id.filter(|_| same_worker).into_iter().collect(), holder: None, ..stored })
    }

    /// Whether work that is stored under this name is this worker's: by its name here, its own name or an alias.
    fn is_named(&self, def: &'static WorkerDef, name: &str) -> bool {
        let registry = &self.core().registry;
        match registry.get(name) {
            Some(registered) => std::ptr::eq(registered.def, def),
            // A worker that this manager does not run still has its own names.
            None => def.name == name || def.aliases.contains(&name),
        }
    }

    // ---- look ----

    /// A typed handle of a work that an earlier run of the program enqueued.
    ///
    /// # Errors
    /// [`HandleError`] when there is no such work, or it is another worker's.
    pub async fn handle<W: Worker>(
        &self,
        _worker: WorkerType<W>,
        id: WorkId,
    ) -> Result<WorkHandle<W::Output>, HandleError> {
        let info = self.outline(id).await.map_err(HandleError::Store)?.ok_or(HandleError::NotFound(id))?;
        if self.is_named(W::DEF, &info.worker) {
            return Ok(WorkHandle::new(self.clone(), id));
        }
        let wanted = self.core().registry.of(W::DEF).map_or(W::DEF.name, |worker| &*worker.name);
        Err(HandleError::OtherWorker { id, wanted: wanted.into(), found: info.worker })
    }

    /// How the engine is doing.
    #[must_use]
    pub fn health(&self) -> HealthStatus {
        if let Err(error) = self.core().home.check() {
            return HealthStatus::Lost { error: error.to_string() };
        }
        if self.core().role == Role::EnqueuesOnly {
            self.learn_damage();
        }
        let core = self.core();
        let (queued, waited) = core.live.queued.waiting(core.clock.monotonic());
        if waited >= BEGIN_WITHIN {
            // Somebody looks, so the engine does too. If it is gone there is nothing to look at.
            let _ = core.dispatcher.unbounded_send(Control::SlotsFree);
        }
        if core.health.stands_still() {
            let _ = core.dispatcher.unbounded_send(Control::Asked);
        }
        let silent = core.health.silence(core.clock.monotonic()) >= SILENT_AFTER;
        match core.health.status() {
            HealthStatus::Healthy | HealthStatus::Degraded { .. } if silent => {
                HealthStatus::Degraded { error: core.silence().unwrap_or_default(), failures: 1 }
            }
            HealthStatus::Healthy if waited >= BEGIN_WITHIN => HealthStatus::Degraded {
                error: format!("the runtime has begun none of {queued} runs for {} s", waited.as_secs()),
                failures: 1,
            },
            HealthStatus::Healthy => self.leftovers().unwrap_or_default(),
            status => status,
        }
    }

    /// Runs that were told to stop long ago and go on in this process, if there are any.
    fn leftovers(&self) -> Option<HealthStatus> {
        let core = self.core();
        let now = core.clock.wall();
        let left = core.here.leftovers().into_iter().filter(|run| now.since(run.since) >= core.limits.standstill);
        let left: Vec<String> =
            left.map(|run| format!("\"{}\" (work {}, since {})", run.worker, run.id, run.since)).collect();
        let failures = u32::try_from(left.len()).unwrap_or(u32::MAX);
        let more = if left.len() > NAMED_RUNS { ", .." } else { "" };
        let named = left.get(..left.len().min(NAMED_RUNS)).unwrap_or_default().join(", ");
        let error = format!(
            "{} told to stop and still on in this process, while their works, and what has taken their unique names, wait: {named}{more}",
            refused::counted(failures, "run"),
        );
        (failures > 0).then_some(HealthStatus::Degraded { error, failures })
    }

    /// Whether this manager would run such work, if its runtime ran anything.
    pub(super) fn has_lost_runtime_of(&self, worker: &str) -> bool {
        let worker = self.core().registry.get(worker);
        worker.is_some_and(|worker| self.core().health.has_lost_runtime(worker.def.kind))
    }

    /// A store tells each new subscriber at once what it knows to be damaged.
    pub(super) fn learn_damage(&self) {
        let mut changes = self.core().store.changes();
        while let Some(Some(Change::Damaged(damage))) = changes.next().now_or_never() {
            self.core().health.damaged(damage);
        }
    }

    // ---- end ----

    /// Waits until nothing runs and nothing can start, for `limit` at the most, and says what remains: for programs that do
    /// what is due and end. It returns a second after the limit at the latest.
    ///
    /// # Errors
    /// When the store can't be read, or has not answered within that second, and inside of a worker of this manager, which it would wait
    /// for.
    #[doc(alias("wait_until_idle", "flush"))]
    pub async fn drain(&self, limit: Duration) -> Result<DrainReport, StoreError> {
        self.core().home.check()?;
        self.refuse_inside("drain").map_err(|why| StoreError::new(StoreErrorKind::Rejected, why))?;
        let clock = &self.core().clock;
        let last = clock.monotonic().saturating_add(limit).saturating_add(AFTER_GRACE);
        let idle = self.wait_until_idle(limit).await;
        let query = WorkQuery::in_state(WorkState::Enqueued).state(WorkState::Running).state(WorkState::Blocked);
        let query = query.without_payloads();
        let page = Box::pin(self.page(PageRequest { query, after: None, limit: NAMED }));
        let page = select(page, Box::pin(self.time_passes(last.saturating_sub(clock.monotonic()))));
        let page = match self.core().driven.wait("manager.drain(..)", page).await {
            Either::Left((page, _)) => page?,
            Either::Right(_) => {
                let why = self.core().silence().unwrap_or_else(|| "the store does not answer".to_owned());
                return Err(StoreError::new(StoreErrorKind::Rejected, format!("{why}, so nobody knows what is left")));
            }
        };
        Ok(DrainReport { idle, more: page.next.is_some(), remaining: page.works })
    }

    async fn wait_until_idle(&self, limit: Duration) -> bool {
        let (waiter, idle) = oneshot::channel();
        if self.core().dispatcher.unbounded_send(Control::WhenIdle(waiter)).is_err() {
            return false;
        }
        match self.core().driven.wait("manager.drain(..)", select(idle, Box::pin(self.time_passes(limit)))).await {
            Either::Left((idle, _)) => idle.is_ok(),
            Either::Right(_) => false,
        }
    }

    async fn time_passes(&self, length: Duration) {
        let clock = &self.core().clock;
        let end = clock.monotonic().saturating_add(length);
        while let Some(left) = end.checked_sub(clock.monotonic()).filter(|left| !left.is_zero()) {
            clock.sleep(left.min(LONGEST_SLEEP)).await;
        }
    }

    /// What waits until nothing runs can't be asked for by what runs.
    fn refuse_inside(&self, verb: &str) -> Result<(), String> {
        let Some(Current { worker, id, .. }) = running_in(self.core()) else { return Ok(()) };
        Err(format!(
            "`{verb}` was called inside of worker \"{worker}\" (work {id}) of this very manager and would wait for it, so it did nothing: let the worker return, and call it where no worker runs"
        ))
    }

    /// Ends the manager: starts nothing more, asks what runs to stop, waits for `grace` at the most, and gives back what did not
    /// finish, as interruptions. All clones are of no use afterwards but to read and to write down: what is enqueued through them
    /// is stored as always, and runs when the next manager starts on this store.
    ///
    /// The store is closed when the last clone, handle and stream is dropped too: open the same file after that. What was given up
    /// and still runs does not keep it open, and its work starts in the next manager of this process when that run ends.
    ///
    /// It returns a second after the grace at the latest, whatever the store does: one that does not answer leaves works of which
    /// nobody knows what is stored, and the report says which ([`ShutdownReport::uncertain`]). Inside of a worker of this manager
    /// it would wait for that worker: it does nothing then, and the report has an error that says so.
    #[doc(alias("stop", "graceful_shutdown", "close"))]
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport {
        if let Err(error) = self.core().home.check() {
            return ShutdownReport { error: Some(error.to_string()), ..ShutdownReport::default() };
        }
        if let Err(why) = self.refuse_inside("shutdown") {
            return ShutdownReport { error: Some(why), ..ShutdownReport::default() };
        }
        let (done, report) = oneshot::channel();
        if self.core().dispatcher.unbounded_send(Control::Shutdown { grace, done }).is_err() {
            return ShutdownReport::default();
        }
        let patience = Box::pin(self.time_passes(grace.saturating_add(AFTER_GRACE)));
        let report = select(Box::pin(runtime::own_wait(report)), patience);
        match self.core().driven.wait("manager.shutdown(..)", report).await {
            Either::Left((report, _)) => report.unwrap_or_default(),
            Either::Right(_) => {
                let error = self.core().silence().unwrap_or_else(|| "the engine does not answer".to_owned());
                let error = format!(
                    "{error}; what ran here may be given back or not, the next opening of the store rescues it"
                );
                ShutdownReport { error: Some(error), ..ShutdownReport::default() }
            }
        }
    }
}

/// What a unique enqueue did.
#[derive(Debug)]
pub struct UniqueWork<O> {
    /// What happened: it was inserted, the holder of the name was kept, replaced, updated, or appended to.
    pub how: Enqueued,
    /// The work that holds the name now; none if it is another worker's.
    pub handle: Option<WorkHandle<O>>,
}

/// What is left after a [`drain`](WorkManager::drain).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Whether nothing ran and nothing could start before the limit was reached.
    pub idle: bool,
    /// Unfinished works as they were right after the wait, with the reasons in their infos and without their payloads; 256 at the
    /// most.
    pub remaining: Vec<WorkInfo>,
    /// Whether there are more.
    pub more: bool,
}

/// Why there is no such handle.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum HandleError {
    /// No work has this id.
    NotFound(WorkId),
    /// The work belongs to another worker.
    OtherWorker {
        id: WorkId,
        /// The worker that was asked for.
        wanted: Arc<str>,
        /// The worker that it belongs to.
        found: Arc<str>,
    },
    /// The store can't be read.
    Store(StoreError),
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandleError::NotFound(id) => Refusal::NotFound(*id).fmt(f),
            HandleError::OtherWorker { id, wanted, found } => {
                write!(f, "work {id} belongs to worker \"{found}\", not to \"{wanted}\"")
            }
            HandleError::Store(error) => error.fmt(f),
        }
    }
}

impl Error for HandleError {
    /// The text contains that of the store's error, so the chain goes on behind it.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            HandleError::Store(error) => error.source(),
            _ => None,
        }
    }
}
