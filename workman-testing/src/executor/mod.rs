//! The deterministic executor: one thing runs at a time, and a seed says which is next.
//!
//! It knows no work and no policy. Its tasks are the engine of a manager, the futures of async workers and the threads of
//! blocking ones; all of them belong to one *process*, and a crash drops the tasks of the process with it.

mod outside;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use workman_core::Runtime;
use workman_core::seams::{Ambient, IdSource, completer_waits, own_waits, polled_by_driver};

use crate::baton::{Baton, Job, Others, Pause, Stuck, ThreadSetup};

pub(crate) use outside::Awaited;

/// A task of the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

/// The future that [`Executor::block_on`] was given.
const MAIN: TaskId = TaskId(0);

/// Runs the tasks of one test.
pub(crate) struct Executor {
    /// What surrounded the test that made it, and surrounds everything that it polls.
    ambient: Ambient,
    state: Mutex<State>,
    woken: Condvar,
    /// Tasks that are ready, for those who ask often.
    ready: AtomicU64,
}

struct State {
    random: u64,
    /// Tasks that are ready, each once.
    queue: Vec<TaskId>,
    main_woken: bool,
    /// Threads that wait for something to be ready.
    waiting: usize,
    tasks: BTreeMap<TaskId, Task>,
    next_task: u64,
    process: u64,
}

struct Task {
    kind: Kind,
    waker: Arc<TaskWaker>,
    /// Whether it is in the queue.
    queued: bool,
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

impl WaitsFor {
    /// Polls something, and says what it waits for if it is not ready.
    fn poll<T>(poll: impl FnOnce() -> Poll<T>) -> (Poll<T>, Self) {
        let (own, completers) = (own_waits(), completer_waits());
        let polled = poll();
        let waits_for = match (own_waits() != own, completer_waits() != completers) {
            (true, _) => WaitsFor::Workman,
            (false, true) => WaitsFor::Completer,
            (false, false) => WaitsFor::World,
        };
        (polled, waits_for)
    }
}

enum Kind {
    /// The engine of a manager; `None` while it is polled.
    Engine(Option<BoxFuture<'static, ()>>),
    /// An async worker.
    Async(Option<BoxFuture<'static, ()>>),
    /// A blocking worker.
    Blocking(Arc<Baton>),
}

impl State {
    /// One of those that are ready, by chance. Chance is asked only where there is a choice, so a seed stands for the same order
    /// however often somebody is alone.
    fn take_ready(&mut self) -> Option<TaskId> {
        let count = self.queue.len();
        if count < 2 {
            return self.queue.pop();
        }
        self.random = split_mix(self.random);
        let at = usize::try_from(self.random % count as u64).unwrap_or(0);
        Some(self.queue.swap_remove(at))
    }
}

impl Executor {
    /// An executor inside of what surrounds this call.
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let state = State {
            random: seed,
            queue: Vec::new(),
            main_woken: false,
            waiting: 0,
            tasks: BTreeMap::new(),
            next_task: 1,
            process: 0,
        };
        let ambient = Ambient::current();
        Arc::new(Executor { ambient, state: Mutex::new(state), woken: Condvar::new(), ready: AtomicU64::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is ready.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ready.load(Ordering::Acquire) == 0
    }

    /// Polls something where workers find what they need, and those who wait for a manager know that it goes on.
    fn within<T>(&self, poll: impl FnOnce() -> T) -> T {
        polled_by_driver(|| self.ambient.within(poll))
    }

    fn wake(&self, id: TaskId) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if id == MAIN {
            state.main_woken = true;
        } else if let Some(task) = state.tasks.get_mut(&id).filter(|task| !task.queued) {
            task.queued = true;
            state.queue.push(id);
        }
        self.ready.store(state.queue.len() as u64, Ordering::Release);
        let somebody_waits = state.waiting > 0;
        drop(guard);
        // To notify nobody costs a call of the system all the same.
        if somebody_waits {
            self.woken.notify_all();
        }
    }

    // ---- processes ----

    /// A new process begins; what the one before spawns from now on is dropped.
    pub(crate) fn begin_process(self: &Arc<Self>, ids: Arc<IdSource>) -> TestRuntime {
        let setup = ThreadSetup { ids, ambient: self.ambient.clone() };
        let mut state = self.lock();
        state.process += 1;
        TestRuntime { executor: Arc::clone(self), process: state.process, setup }
    }

    /// The process is dead: its futures are dropped, its threads unwind. Answers how many threads did not end.
    pub(crate) fn end_process(&self, patience: Duration) -> usize {
        let mut state = self.lock();
        state.process += 1;
        state.queue.clear();
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
        let (kind, waits_for) = (kind(&waker), WaitsFor::World);
        let task = Task { kind, waker, queued: false, waits_for, had_its_time: false, spins: false };
        state.tasks.insert(id, task);
        drop(state);
        self.wake(id);
    }

    // ---- running ----

    /// Runs one task that is ready. Says whether there was one.
    pub(crate) fn run_one(&self, patience: Duration) -> Result<bool, Stuck> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(id) = state.take_ready() else { return Ok(false) };
        self.ready.store(state.queue.len() as u64, Ordering::Release);
        let Some(task) = state.tasks.get_mut(&id) else { return Ok(true) };
        (task.queued, task.spins, task.had_its_time) = (false, false, false);
        match &mut task.kind {
            Kind::Engine(future) | Kind::Async(future) => {
                let (Some(future), waker) = (future.take(), Arc::clone(&task.waker)) else { return Ok(true) };
                drop(guard);
                self.poll(id, future, waker);
            }
            Kind::Blocking(baton) => {
                let baton = Arc::clone(baton);
                drop(guard);
                let pause = baton.hand_over(patience)?;
                self.note_pause(id, pause);
            }
        }
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
        self.ready.store(state.queue.len() as u64, Ordering::Release);
        let task = state.tasks.get_mut(&id)?;
        task.queued = false;
        let Kind::Engine(future) = &mut task.kind else { return None };
        Some((id, future.take()?, Arc::clone(&task.waker)))
    }

    fn poll(&self, id: TaskId, mut future: BoxFuture<'static, ()>, waker: Arc<TaskWaker>) {
        let waker = Waker::from(waker);
        let poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
        let (polled, waits_for) = WaitsFor::poll(|| self.within(poll));
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
}

impl Others for Executor {
    fn are_quiet(&self) -> bool {
        self.is_quiet()
    }
}

pub(crate) struct TaskWaker {
    id: TaskId,
    executor: Arc<Executor>,
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
        let others = Arc::clone(&self.executor) as Arc<dyn Others>;
        let baton = |waker: &Arc<TaskWaker>| {
            Kind::Blocking(Baton::new(Job::new(job), Waker::from(Arc::clone(waker)), others, setup))
        };
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
