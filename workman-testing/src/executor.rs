//! The deterministic executor: one thing runs at a time, and a seed says which is next.
//!
//! It knows no work and no policy. Its tasks are the engine of a manager, the futures of async workers and the threads of
//! blocking ones; all of them belong to one *process*, and a crash drops the tasks of the process with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use workman_core::Runtime;
use workman_core::runtime::{completer_waits, own_waits};

use crate::baton::{Baton, Job, Pause, Stuck, ThreadSetup};

/// A task of the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

/// The future that [`Executor::block_on`] was given.
const MAIN: TaskId = TaskId(0);

/// Runs the tasks of one test.
pub(crate) struct Executor {
    state: Mutex<State>,
    woken: Condvar,
    /// Tasks that are ready, for those who ask often.
    ready: AtomicU64,
}

struct State {
    random: u64,
    queue: Vec<TaskId>,
    queued: BTreeSet<TaskId>,
    main_woken: bool,
    tasks: BTreeMap<TaskId, Task>,
    next_task: u64,
    process: u64,
}

struct Task {
    kind: Kind,
    waker: Arc<TaskWaker>,
    /// What its last poll waited for.
    waits_for: WaitsFor,
    /// Whether it was given real time since its last poll, in vain.
    had_its_time: bool,
    /// Whether it asks its context again and again without ever waiting.
    spins: bool,
}

/// What a task that is not ready waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    /// Virtual time, a stop, another work, or the test.
    Workman,
    /// Whoever holds the completer of its attempt.
    Completer,
    /// Something else, if anybody holds its waker.
    World,
}

/// What can only come from outside, in real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Nothing.
    Nothing,
    /// Completers and nothing else: a timeout or a stop can end these waits too, and the test may hold them itself.
    Completers,
    /// A socket, a thread, a channel.
    World,
}

enum Kind {
    /// The engine of a manager; `None` while it is polled.
    Engine(Option<BoxFuture<'static, ()>>),
    /// An async worker.
    Async(Option<BoxFuture<'static, ()>>),
    /// A blocking worker.
    Blocking(Arc<Baton>),
}

impl Executor {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let state = State {
            random: seed,
            queue: Vec::new(),
            queued: BTreeSet::new(),
            main_woken: false,
            tasks: BTreeMap::new(),
            next_task: 1,
            process: 0,
        };
        Arc::new(Executor { state: Mutex::new(state), woken: Condvar::new(), ready: AtomicU64::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is ready.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ready.load(Ordering::Acquire) == 0
    }

    fn wake(&self, id: TaskId) {
        let mut state = self.lock();
        if id == MAIN {
            state.main_woken = true;
        } else if state.queued.insert(id) {
            state.queue.push(id);
        }
        self.ready.store(state.queue.len() as u64, Ordering::Release);
        drop(state);
        self.woken.notify_all();
    }

    /// One of those that are ready, by chance.
    fn take_ready(&self) -> Option<TaskId> {
        let mut state = self.lock();
        let count = state.queue.len();
        if count == 0 {
            return None;
        }
        state.random = split_mix(state.random);
        let at = usize::try_from(state.random % count as u64).unwrap_or(0);
        let id = state.queue.swap_remove(at);
        state.queued.remove(&id);
        self.ready.store(state.queue.len() as u64, Ordering::Release);
        Some(id)
    }

    // ---- processes ----

    /// A new process begins; what the one before spawns from now on is dropped.
    pub(crate) fn begin_process(self: &Arc<Self>, setup: ThreadSetup) -> TestRuntime {
        let mut state = self.lock();
        state.process += 1;
        TestRuntime { executor: Arc::clone(self), process: state.process, setup }
    }

    /// The process is dead: its futures are dropped, its threads unwind. Answers how many threads did not end.
    pub(crate) fn end_process(&self, patience: Duration) -> usize {
        let mut state = self.lock();
        state.process += 1;
        state.queue.clear();
        state.queued.clear();
        self.ready.store(0, Ordering::Release);
        let tasks = std::mem::take(&mut state.tasks);
        drop(state);
        let mut alive = 0;
        for task in tasks.into_values() {
            match task.kind {
                Kind::Engine(future) | Kind::Async(future) => drop(future),
                Kind::Blocking(baton) => alive += usize::from(!baton.kill(patience)),
            }
        }
        alive
    }

    pub(crate) fn spawn_engine(self: &Arc<Self>, engine: BoxFuture<'static, ()>) {
        self.add(|_| Kind::Engine(Some(engine)), None);
    }

    /// Adds a task, unless its process is dead; what is not added is dropped here, with no lock held.
    fn add(self: &Arc<Self>, kind: impl FnOnce(&Arc<TaskWaker>) -> Kind, process: Option<u64>) {
        let mut state = self.lock();
        if process.is_some_and(|process| process != state.process) {
            return;
        }
        let id = TaskId(state.next_task);
        state.next_task += 1;
        let waker = Arc::new(TaskWaker { id, executor: Arc::clone(self) });
        let task = Task { kind: kind(&waker), waker, waits_for: WaitsFor::World, had_its_time: false, spins: false };
        state.tasks.insert(id, task);
        drop(state);
        self.wake(id);
    }

    // ---- running ----

    /// Runs one task that is ready. Says whether there was one.
    pub(crate) fn run_one(&self, patience: Duration) -> Result<bool, Stuck> {
        let Some(id) = self.take_ready() else { return Ok(false) };
        self.run(id, patience)?;
        Ok(true)
    }

    /// Runs engines until none of them is ready, and no worker.
    pub(crate) fn run_engines(&self) {
        while let Some((id, future, waker)) = self.take_engine() {
            self.poll(id, future, waker);
        }
    }

    /// An engine that is ready, to be polled.
    fn take_engine(&self) -> Option<(TaskId, BoxFuture<'static, ()>, Arc<TaskWaker>)> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let is_engine = |id: &TaskId| matches!(state.tasks.get(id).map(|task| &task.kind), Some(Kind::Engine(Some(_))));
        let at = state.queue.iter().position(is_engine)?;
        let id = state.queue.remove(at);
        state.queued.remove(&id);
        self.ready.store(state.queue.len() as u64, Ordering::Release);
        let task = state.tasks.get_mut(&id)?;
        let Kind::Engine(future) = &mut task.kind else { return None };
        Some((id, future.take()?, Arc::clone(&task.waker)))
    }

    fn run(&self, id: TaskId, patience: Duration) -> Result<(), Stuck> {
        let mut state = self.lock();
        let Some(task) = state.tasks.get_mut(&id) else { return Ok(()) };
        (task.spins, task.had_its_time) = (false, false);
        match &mut task.kind {
            Kind::Engine(future) | Kind::Async(future) => {
                let (Some(future), waker) = (future.take(), Arc::clone(&task.waker)) else { return Ok(()) };
                drop(state);
                self.poll(id, future, waker);
                Ok(())
            }
            Kind::Blocking(baton) => {
                let baton = Arc::clone(baton);
                drop(state);
                let pause = baton.hand_over(patience)?;
                self.note_pause(id, pause);
                Ok(())
            }
        }
    }

    fn poll(&self, id: TaskId, mut future: BoxFuture<'static, ()>, waker: Arc<TaskWaker>) {
        let (own, completers) = (own_waits(), completer_waits());
        let waker = Waker::from(waker);
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let waits_for = match (own_waits() != own, completer_waits() != completers) {
            (true, _) => WaitsFor::Workman,
            (false, true) => WaitsFor::Completer,
            (false, false) => WaitsFor::World,
        };
        let mut state = self.lock();
        let Some(task) = state.tasks.get_mut(&id) else { return };
        if polled.is_ready() {
            let task = state.tasks.remove(&id);
            drop(state);
            drop((task, future));
            return;
        }
        task.waits_for = waits_for;
        if let Kind::Engine(place) | Kind::Async(place) = &mut task.kind {
            *place = Some(future);
        }
    }

    fn note_pause(&self, id: TaskId, pause: Pause) {
        let mut state = self.lock();
        let Some(task) = state.tasks.get_mut(&id) else { return };
        match pause {
            Pause::Ended => {
                let task = state.tasks.remove(&id);
                drop(state);
                drop(task);
            }
            Pause::Waits { for_workman: true } => task.waits_for = WaitsFor::Workman,
            Pause::Waits { for_workman: false } => task.waits_for = WaitsFor::World,
            Pause::Yields => {
                drop(state);
                self.wake(id);
            }
            Pause::Spins => (task.spins, task.waits_for) = (true, WaitsFor::Workman),
        }
    }

    /// Those that ask their context in a loop get another turn: something may have changed.
    pub(crate) fn wake_spinners(&self) {
        let state = self.lock();
        let spinners: Vec<TaskId> = state.tasks.iter().filter(|(_, task)| task.spins).map(|(id, _)| *id).collect();
        drop(state);
        spinners.into_iter().for_each(|id| self.wake(id));
    }

    /// What workers wait for that were not given real time for it yet.
    pub(crate) fn awaited(&self) -> Awaited {
        let state = self.lock();
        let mut awaited = Awaited::Nothing;
        for task in state.tasks.values().filter(|task| !task.had_its_time && task.waits_outside()) {
            if task.waits_for == WaitsFor::World {
                return Awaited::World;
            }
            awaited = Awaited::Completers;
        }
        awaited
    }

    /// Those who wait for something outside have had their time; they get more when they were woken, or see
    /// [`grant_time`](Self::grant_time).
    pub(crate) fn end_time(&self) {
        self.lock().tasks.values_mut().filter(|task| task.waits_outside()).for_each(|task| task.had_its_time = true);
    }

    /// The test has done something: who waits for something outside may be served now.
    pub(crate) fn grant_time(&self) {
        self.lock().tasks.values_mut().for_each(|task| task.had_its_time = false);
    }

    /// Waits, in real time, until something is ready. Says whether something is.
    pub(crate) fn wait_for_the_world(&self, patience: Duration) -> bool {
        let state = self.lock();
        let nothing = |state: &mut State| state.queue.is_empty() && !state.main_woken;
        let waited = self.woken.wait_timeout_while(state, patience, nothing);
        !nothing(&mut waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// A waker for the future that a test waits for.
    pub(crate) fn main(self: &Arc<Self>) -> MainFuture {
        MainFuture { waker: Arc::new(TaskWaker { id: MAIN, executor: Arc::clone(self) }), waits_for_workman: false }
    }

    /// Whether the test's own future was woken since the last call.
    pub(crate) fn take_main(&self) -> bool {
        std::mem::take(&mut self.lock().main_woken)
    }
}

impl Task {
    /// Wakers that are always held: the task's own; with an async worker that of the handle that can abort it, with a blocking one
    /// that waits those of its baton and of its thread.
    fn own_wakers(&self) -> usize {
        if matches!(self.kind, Kind::Blocking(_)) { 3 } else { 2 }
    }

    /// Whether a worker waits for something outside: it waits for nothing of workman's, and somebody holds its waker.
    fn waits_outside(&self) -> bool {
        let is_worker = !matches!(self.kind, Kind::Engine(_));
        is_worker && self.waits_for != WaitsFor::Workman && Arc::strong_count(&self.waker) > self.own_wakers()
    }
}

/// What the executor knows of the future that a test waits for.
pub(crate) struct MainFuture {
    waker: Arc<TaskWaker>,
    waits_for_workman: bool,
}

impl MainFuture {
    pub(crate) fn poll<T>(&mut self, future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        let waits = own_waits();
        let waker = Waker::from(Arc::clone(&self.waker));
        let polled = future.poll(&mut Context::from_waker(&waker));
        self.waits_for_workman = own_waits() != waits;
        polled
    }

    pub(crate) fn waits_for_the_world(&self) -> bool {
        !self.waits_for_workman && Arc::strong_count(&self.waker) > 1
    }
}

pub(crate) struct TaskWaker {
    id: TaskId,
    executor: Arc<Executor>,
}

impl TaskWaker {
    pub(crate) fn executor(&self) -> &Arc<Executor> {
        &self.executor
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.executor.wake(self.id);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.executor.wake(self.id);
    }
}

/// Where the workers of one process run.
pub(crate) struct TestRuntime {
    executor: Arc<Executor>,
    process: u64,
    setup: ThreadSetup,
}

impl Runtime for TestRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.add(|_| Kind::Async(Some(task)), Some(self.process));
    }

    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) {
        let setup = self.setup.clone();
        let baton = |waker: &Arc<TaskWaker>| Kind::Blocking(Baton::new(Job::new(job), Arc::clone(waker), setup));
        self.executor.add(baton, Some(self.process));
    }

    fn name(&self) -> &'static str {
        "test"
    }
}

/// One step of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
