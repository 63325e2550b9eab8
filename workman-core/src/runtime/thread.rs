//! [`ThreadRuntime`]: a small executor on plain threads, for programs that have no async runtime.
//!
//! Two crews of threads, one that polls futures and one that runs blocking jobs, so that the second can't stall the
//! first. A thread starts when there is more to do than threads are free, and waits on a condition variable without a
//! timeout when there is nothing: an idle program makes no wake-ups.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures::future::BoxFuture;

use super::Runtime;
use crate::foreign::{Panicked, discard, foreign};

/// The built-in runtime: a few threads of the standard library.
///
/// Futures share a fixed number of threads; each blocking job has a thread to itself, which is used again afterwards.
/// Threads start when they are first needed.
///
/// Dropping the runtime drops all futures and all jobs that have not started; a job that runs is not interrupted. The
/// threads then end by themselves: the drop waits for none of them, so it may happen anywhere, also on one of them. A
/// future that holds the runtime keeps it alive.
///
/// ```
/// use workman_core::{Runtime, ThreadRuntime};
///
/// let (answer, question) = std::sync::mpsc::channel();
/// let runtime = ThreadRuntime::new();
/// runtime.spawn(Box::pin(async move { answer.send(42).unwrap() }));
/// assert_eq!(question.recv(), Ok(42));
/// ```
pub struct ThreadRuntime {
    tasks: Arc<Tasks>,
    blocking: Arc<Crew<Job>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl ThreadRuntime {
    /// One thread for futures per core, and at least two: a future that blocks by mistake then stalls only some others.
    #[must_use]
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with_threads(cores.max(2))
    }

    /// At most this many threads for futures, and at least one. Blocking jobs have threads of their own.
    #[must_use]
    pub fn with_threads(threads: usize) -> Self {
        ThreadRuntime {
            tasks: Arc::new(Tasks {
                crew: Crew::new("workman-async", Threads::Shared { most: threads.max(1) }, Task::run),
                pending: Mutex::default(),
            }),
            blocking: Crew::new("workman-blocking", Threads::OneEach, |job| job()),
        }
    }
}

impl Default for ThreadRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime for ThreadRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.tasks.add(task);
    }

    fn spawn_blocking(&self, job: Job) {
        if let Err(job) = self.blocking.push(job) {
            drop_caught(job);
        }
    }

    fn spare(&self) -> Option<Box<dyn Send>> {
        Some(Box::new(Spare::new(&self.tasks.crew)))
    }

    fn name(&self) -> &'static str {
        "built-in threads"
    }
}

impl Drop for ThreadRuntime {
    fn drop(&mut self) {
        self.blocking.close();
        self.tasks.close();
    }
}

/// A queue and the threads that empty it.
struct Crew<T> {
    name: &'static str,
    threads: Threads,
    perform: fn(T),
    start: Start,
    state: Mutex<CrewState<T>>,
    changed: Condvar,
}

/// How a thread of this name is started.
type Start = fn(&'static str, Job) -> io::Result<()>;

fn start_thread(name: &'static str, run: Job) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(run).map(drop)
}

/// How many threads a crew has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Threads {
    /// So many at the most. Items take turns, so one that has none yet can wait for one.
    Shared { most: usize },
    /// One for each item, which may keep it for ever, so no other can wait for it.
    OneEach,
}

struct CrewState<T> {
    queue: VecDeque<T>,
    threads: usize,
    /// Threads that an item keeps for ever, as far as anybody knows.
    stuck: usize,
    /// Threads that wait for something to do.
    free: usize,
    /// One of them was called and has not come yet. It calls the next one if there is more to do than one can take, so a burst
    /// of items costs those who push it one call.
    called: bool,
    closed: bool,
}

impl Threads {
    /// How many there may be while so many are stuck: as many again stand in for those, and no more.
    fn most(self, stuck: usize) -> usize {
        match self {
            Threads::Shared { most } => most.saturating_add(stuck.min(most)),
            Threads::OneEach => usize::MAX,
        }
    }
}

impl<T: Send + 'static> Crew<T> {
    fn new(name: &'static str, threads: Threads, perform: fn(T)) -> Arc<Self> {
        let state = CrewState { queue: VecDeque::new(), threads: 0, stuck: 0, free: 0, called: false, closed: false };
        Arc::new(Crew {
            name,
            threads,
            perform,
            start: start_thread,
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// Queues the item, or gives it back if it can't be known that anybody will take it: the crew is closed, or gets no thread for it.
    fn push(self: &Arc<Self>, item: T) -> Result<(), T> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(item);
        }
        let mut calls = false;
        if state.queue.len() < state.free {
            calls = !mem::replace(&mut state.called, true);
        } else if state.threads < self.threads.most(state.stuck) {
            match self.start_thread() {
                Ok(()) => state.threads += 1,
                Err(error) if state.threads == 0 || self.threads == Threads::OneEach => {
                    tracing::warn!(%error, crew = self.name, "no thread could be started; what was to run is dropped");
                    return Err(item);
                }
                Err(error) => tracing::warn!(%error, crew = self.name, "no more threads; the run waits for one"),
            }
        }
        state.queue.push_back(item);
        // Whoever is called wants the lock first of all.
        drop(state);
        if calls {
            self.changed.notify_one();
        }
        Ok(())
    }

    fn start_thread(self: &Arc<Self>) -> io::Result<()> {
        let crew = Arc::clone(self);
        (self.start)(self.name, Box::new(move || crew.work()))
    }

    fn work(&self) {
        while let Some(item) = self.next() {
            if let Err(panicked) = foreign(|| (self.perform)(item)) {
                report(&panicked);
            }
        }
    }

    /// Waits for the next item; `None` once the crew is closed.
    fn next(&self) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(item) = state.queue.pop_front() {
                let calls = !state.queue.is_empty() && state.free > 0 && !mem::replace(&mut state.called, true);
                drop(state);
                if calls {
                    self.changed.notify_one();
                }
                return Some(item);
            }
            if state.threads > self.threads.most(state.stuck) {
                // It stood in for one that is there again.
                state.threads -= 1;
                return None;
            }
            state.free += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.free -= 1;
            state.called = false;
        }
    }

    /// One more thread is stuck, or one less. Items that wait get the thread that may be there now; one too many ends when it is free.
    fn on_stuck(self: &Arc<Self>, stuck: impl FnOnce(usize) -> usize) {
        let mut state = lock(&self.state);
        state.stuck = stuck(state.stuck);
        let wanted = state.queue.len() > state.free && state.threads < self.threads.most(state.stuck);
        if wanted && !state.closed && self.start_thread().is_ok() {
            state.threads += 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Drops what is queued and lets the threads end, each after what it is doing.
    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let queue = mem::take(&mut state.queue);
        drop(state);
        self.changed.notify_all();
        queue.into_iter().for_each(drop_caught);
    }
}

/// A thread of the crew is stuck, as long as this is there.
struct Spare {
    crew: Weak<Crew<Arc<Task>>>,
}

impl Spare {
    fn new(crew: &Arc<Crew<Arc<Task>>>) -> Self {
        crew.on_stuck(|stuck| stuck + 1);
        Spare { crew: Arc::downgrade(crew) }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(crew) = self.crew.upgrade() {
            crew.on_stuck(|stuck| stuck.saturating_sub(1));
        }
    }
}

/// The futures that wait to be woken or have done so, so that closing finds those too that only a waker far away still knows.
/// One that is ready at its first poll is never among them: its queue or its thread has it.
struct Tasks {
    crew: Arc<Crew<Arc<Task>>>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    tasks: BTreeMap<u64, Arc<Task>>,
    next_number: u64,
    closed: bool,
}

impl Tasks {
    fn add(self: &Arc<Self>, future: BoxFuture<'static, ()>) {
        let stage = Mutex::new(Stage::Queued(future));
        let task = Arc::new(Task { number: OnceLock::new(), stage, tasks: Arc::clone(self) });
        if let Err(task) = self.crew.push(task) {
            task.end();
        }
    }

    fn close(&self) {
        self.crew.close();
        let mut pending = lock(&self.pending);
        pending.closed = true;
        let tasks = mem::take(&mut pending.tasks);
        drop(pending);
        tasks.into_values().for_each(|task| task.end());
    }
}

/// One future and its way through the crew. It is its own waker.
struct Task {
    /// Its place among those that are pending; none before its first poll is over.
    number: OnceLock<u64>,
    stage: Mutex<Stage>,
    tasks: Arc<Tasks>,
}

enum Stage {
    /// Waits to be woken.
    Idle(BoxFuture<'static, ()>),
    /// Woken, and in the crew's queue once.
    Queued(BoxFuture<'static, ()>),
    /// A thread polls it and holds the future.
    Running { woken: bool },
    /// Finished, panicked or dropped.
    Ended,
}

impl Task {
    fn run(self: Arc<Self>) {
        let Some(mut future) = self.begin() else { return };
        let waker = Waker::from(Arc::clone(&self));
        let polled = foreign(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        match polled {
            Ok(Poll::Pending) => self.suspend(future),
            Ok(Poll::Ready(())) => self.end(),
            Err(panicked) => {
                self.end();
                drop_caught(future);
                report(&panicked);
            }
        }
    }

    fn begin(&self) -> Option<BoxFuture<'static, ()>> {
        let mut stage = lock(&self.stage);
        match mem::replace(&mut *stage, Stage::Running { woken: false }) {
            Stage::Queued(future) => Some(future),
            unchanged => {
                *stage = unchanged;
                None
            }
        }
    }

    /// From now on it is found when the runtime goes away, unless that has happened already.
    fn register(self: &Arc<Self>) {
        let mut pending = lock(&self.tasks.pending);
        if pending.closed {
            drop(pending);
            return self.end();
        }
        let number = pending.next_number;
        pending.next_number += 1;
        pending.tasks.insert(*self.number.get_or_init(|| number), Arc::clone(self));
    }

    fn suspend(self: &Arc<Self>, future: BoxFuture<'static, ()>) {
        if self.number.get().is_none() {
            self.register();
        }
        let mut stage = lock(&self.stage);
        match *stage {
            Stage::Running { woken: false } => *stage = Stage::Idle(future),
            Stage::Running { woken: true } => {
                *stage = Stage::Queued(future);
                drop(stage);
                self.queue();
            }
            // The runtime went away during the poll. The lock is released before foreign code runs.
            Stage::Idle(_) | Stage::Queued(_) | Stage::Ended => {
                drop(stage);
                drop(future);
            }
        }
    }

    /// A crew that gives the task back is closed, and whoever closes it ends all tasks, this one too. Ending it here would
    /// nest drops in wake-ups in drops, as deep as futures wake each other.
    fn queue(self: &Arc<Self>) {
        drop(self.tasks.crew.push(Arc::clone(self)));
    }

    /// Drops the future, or tells the thread that polls it to do so.
    fn end(&self) {
        if let Some(number) = self.number.get() {
            lock(&self.tasks.pending).tasks.remove(number);
        }
        let stage = mem::replace(&mut *lock(&self.stage), Stage::Ended);
        drop_caught(stage);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut stage = lock(&self.stage);
        match mem::replace(&mut *stage, Stage::Ended) {
            Stage::Idle(future) => {
                *stage = Stage::Queued(future);
                drop(stage);
                self.queue();
            }
            Stage::Running { .. } => *stage = Stage::Running { woken: true },
            unchanged => *stage = unchanged,
        }
    }
}

/// Drops what may be foreign code; a panic in there must not keep the others from being dropped.
fn drop_caught<T>(value: T) {
    discard("a run", value);
}

fn report(panicked: &Panicked) {
    tracing::error!(%panicked, "a panic reached the built-in runtime; its threads go on");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// The other end hears when it is dropped.
    type Alive = Sender<()>;

    fn wait_dropped(dropped: &Receiver<()>) {
        assert_eq!(dropped.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    }

    async fn for_ever(alive: Alive) {
        std::future::pending::<()>().await;
        drop(alive);
    }

    /// Waits until all is done, and says how many threads it took.
    fn threads_used<T>(crew: &Crew<T>) -> usize {
        loop {
            let state = lock(&crew.state);
            if state.queue.is_empty() && state.free == state.threads {
                return state.threads;
            }
            drop(state);
            thread::yield_now();
        }
    }

    #[test]
    fn threads_start_when_they_are_needed_and_are_used_again() {
        let runtime = ThreadRuntime::with_threads(4);
        assert_eq!((threads_used(&runtime.tasks.crew), threads_used(&runtime.blocking)), (0, 0));
        for _ in 0..5 {
            runtime.spawn(Box::pin(async {}));
            runtime.spawn_blocking(Box::new(|| {}));
            assert_eq!((threads_used(&runtime.tasks.crew), threads_used(&runtime.blocking)), (1, 1));
        }
    }

    /// With one free thread the second of two jobs must not be left to it as well.
    #[test]
    fn jobs_that_wait_for_each_other_all_get_a_thread() {
        for _ in 0..200 {
            let runtime = ThreadRuntime::with_threads(1);
            runtime.spawn_blocking(Box::new(|| {}));
            threads_used(&runtime.blocking);
            let meeting = Arc::new(Barrier::new(3));
            let (done, wait_done) = mpsc::channel();
            for _ in 0..3 {
                let (meeting, done) = (Arc::clone(&meeting), done.clone());
                runtime.spawn_blocking(Box::new(move || {
                    meeting.wait();
                    done.send(()).unwrap();
                }));
            }
            (0..3).for_each(|_| wait_done.recv_timeout(LIMIT).unwrap());
        }
    }

    #[test]
    fn a_crew_that_closes_drops_its_queue_and_takes_nothing_more() {
        let crew: Arc<Crew<Job>> = Crew::new("test", Threads::Shared { most: 1 }, |job| job());
        let (gate, wait_gate) = mpsc::channel::<()>();
        let (entered, wait_entered) = mpsc::channel();
        let first: Job = Box::new(move || {
            entered.send(()).unwrap();
            wait_gate.recv().unwrap_err();
        });
        assert!(crew.push(first).is_ok());
        wait_entered.recv_timeout(LIMIT).unwrap();
        let (queued, queued_dropped) = mpsc::channel::<()>();
        assert!(crew.push(Box::new(move || drop(queued))).is_ok());
        assert_eq!(queued_dropped.try_recv(), Err(TryRecvError::Empty));
        crew.close();
        assert_eq!(queued_dropped.try_recv(), Err(TryRecvError::Disconnected));
        assert!(crew.push(Box::new(|| {})).is_err());
        drop(gate);
    }

    #[test]
    fn an_ended_future_leaves_nothing_behind() {
        let runtime = ThreadRuntime::with_threads(1);
        let (alive, dropped) = mpsc::channel::<()>();
        runtime.spawn(Box::pin(async move { drop(alive) }));
        runtime.spawn(Box::pin(async { panic!("as this test wants it to") }));
        wait_dropped(&dropped);
        threads_used(&runtime.tasks.crew);
        assert!(lock(&runtime.tasks.pending).tasks.is_empty());
    }

    #[test]
    fn a_future_that_no_thread_gets_to_is_dropped_with_the_runtime() {
        let runtime = ThreadRuntime::with_threads(1);
        let (entered, wait_entered) = mpsc::channel();
        let (gate, wait_gate) = mpsc::channel::<()>();
        let (polled, polled_dropped) = mpsc::channel();
        runtime.spawn(Box::pin(async move {
            entered.send(()).unwrap();
            wait_gate.recv().unwrap_err();
            for_ever(polled).await;
        }));
        wait_entered.recv_timeout(LIMIT).unwrap();
        let (queued, queued_dropped) = mpsc::channel();
        runtime.spawn(Box::pin(for_ever(queued)));

        drop(runtime);
        wait_dropped(&queued_dropped);
        assert_eq!(polled_dropped.try_recv(), Err(TryRecvError::Empty), "a poll is not interrupted");
        drop(gate);
        wait_dropped(&polled_dropped);
    }

    #[test]
    fn a_waker_that_outlives_the_runtime_does_nothing() {
        let runtime = ThreadRuntime::with_threads(1);
        let (give, take) = mpsc::channel::<Waker>();
        let (alive, dropped) = mpsc::channel();
        runtime.spawn(Box::pin(async move {
            let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            give.send(waker).unwrap();
            for_ever(alive).await;
        }));
        let waker = take.recv_timeout(LIMIT).unwrap();
        drop(runtime);
        wait_dropped(&dropped);
        waker.wake();
    }

    #[test]
    fn a_future_that_panics_when_it_is_dropped_keeps_no_other_alive() {
        struct PanicsOnDrop;
        impl Drop for PanicsOnDrop {
            fn drop(&mut self) {
                panic!("as this test wants it to");
            }
        }
        let runtime = ThreadRuntime::with_threads(1);
        let (alive, dropped) = mpsc::channel();
        let bad = PanicsOnDrop;
        runtime.spawn(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(bad);
        }));
        runtime.spawn(Box::pin(for_ever(alive)));
        drop(runtime);
        wait_dropped(&dropped);
    }

    #[test]
    fn the_last_handle_may_be_dropped_by_a_future_of_its_own() {
        let runtime = Arc::new(ThreadRuntime::with_threads(2));
        let (pending, pending_dropped) = mpsc::channel();
        runtime.spawn(Box::pin(for_ever(pending)));
        let (last, when_last) = mpsc::channel::<Arc<ThreadRuntime>>();
        let (alive, dropped) = mpsc::channel::<()>();
        runtime.spawn(Box::pin(async move {
            drop(when_last.recv().unwrap());
            drop(alive);
        }));
        last.send(runtime).unwrap();
        wait_dropped(&pending_dropped);
        wait_dropped(&dropped);
    }

    #[test]
    fn the_last_handle_may_be_dropped_by_a_job_of_its_own() {
        let runtime = Arc::new(ThreadRuntime::with_threads(2));
        let (pending, pending_dropped) = mpsc::channel();
        runtime.spawn(Box::pin(for_ever(pending)));
        let (last, when_last) = mpsc::channel::<Arc<ThreadRuntime>>();
        runtime.spawn_blocking(Box::new(move || drop(when_last.recv().unwrap())));
        last.send(runtime).unwrap();
        wait_dropped(&pending_dropped);
    }

    #[test]
    fn threads_end_with_the_runtime() {
        thread_local! {
            static UNTIL_THE_END: std::cell::OnceCell<Alive> = const { std::cell::OnceCell::new() };
        }
        let runtime = ThreadRuntime::with_threads(1);
        let (alive, ended) = mpsc::channel();
        let (async_thread, blocking_thread) = (alive.clone(), alive);
        let (done, wait_done) = mpsc::channel();
        let done_too = done.clone();
        let stay = |alive, done: Alive| {
            UNTIL_THE_END.with(|slot| slot.set(alive)).unwrap();
            done.send(()).unwrap();
        };
        runtime.spawn(Box::pin(async move { stay(async_thread, done) }));
        runtime.spawn_blocking(Box::new(move || stay(blocking_thread, done_too)));
        for _ in 0..2 {
            wait_done.recv_timeout(LIMIT).unwrap();
        }
        drop(runtime);
        wait_dropped(&ended);
    }

    /// Fails with this, until the last of them.
    fn starts_at_last(name: &'static str, run: Job, failures: &AtomicU32) -> io::Result<()> {
        let fails = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Err(io::Error::other("no thread")) } else { start_thread(name, run) }
    }

    fn crew_of(threads: Threads, start: Start) -> Arc<Crew<Job>> {
        let mut crew = Crew::new("test", threads, |job: Job| job());
        Arc::get_mut(&mut crew).unwrap().start = start;
        crew
    }

    #[test]
    fn what_gets_no_thread_of_its_own_is_given_back_and_the_next_one_may_get_one() {
        static FAILURES: AtomicU32 = AtomicU32::new(0);
        let crew = crew_of(Threads::OneEach, |name, run| starts_at_last(name, run, &FAILURES));
        let (done, hears) = mpsc::channel();
        let (enter, entered) = mpsc::channel();
        let leave = Arc::new(Barrier::new(2));
        let (waits, busy) = (Arc::clone(&leave), done.clone());
        let stubborn: Job = Box::new(move || {
            enter.send(()).unwrap();
            waits.wait();
            busy.send(1).unwrap();
        });
        FAILURES.store(2, Ordering::SeqCst);
        let stubborn = crew.push(stubborn).err().and_then(|job| crew.push(job).err()).expect("it got no thread");
        assert!(crew.push(stubborn).is_ok());
        entered.recv().unwrap();
        FAILURES.store(1, Ordering::SeqCst);
        let other = done.clone();
        let Err(other) = crew.push(Box::new(move || other.send(2).unwrap())) else {
            panic!("nobody knows when it would run")
        };
        assert!(crew.push(other).is_ok());
        assert_eq!(hears.recv(), Ok(2));
        leave.wait();
        assert_eq!(hears.recv(), Ok(1));
        crew.close();
    }

    #[test]
    fn what_takes_turns_waits_for_the_threads_that_there_are() {
        static FAILURES: AtomicU32 = AtomicU32::new(1);
        let crew = crew_of(Threads::Shared { most: 2 }, |name, run| starts_at_last(name, run, &FAILURES));
        let (done, hears) = mpsc::channel();
        let job = |number| {
            let done = done.clone();
            Box::new(move || done.send(number).unwrap()) as Job
        };
        let Err(first) = crew.push(job(1)) else { panic!("there is no thread at all") };
        assert!(crew.push(first).is_ok());
        FAILURES.store(100, Ordering::SeqCst);
        assert!((2..=10).all(|number| crew.push(job(number)).is_ok()));
        assert_eq!((1..=10).map(|_| hears.recv().unwrap()).sum::<i32>(), 55);
        crew.close();
    }
}
