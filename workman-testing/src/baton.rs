//! Blocking workers in tests: each is a real thread, and exactly one of them, or the test's own thread, has the baton.
//!
//! A worker has it until it ends, waits for its context, or asks its context something while others are ready. One that does
//! not give it back within the patience of the test is stuck.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use workman_core::seams::{Ambient, BlockingHook, IdSource, own_waits, scoped_blocking_hook, scoped_ids};

/// A worker that asks whether it is stopped this often, while nothing else is ready, waits for its stop.
const QUESTIONS: u32 = 100_000;
/// The same for one that did so before.
const MORE_QUESTIONS: u32 = 1_000;

/// A worker did not give the baton back in time.
#[derive(Debug)]
pub(crate) struct Stuck;

/// What every thread of a worker gets.
#[derive(Clone)]
pub(crate) struct ThreadSetup {
    pub(crate) ids: Arc<IdSource>,
    pub(crate) ambient: Ambient,
}

/// What a worker's thread runs.
pub(crate) struct Job(Box<dyn FnOnce() + Send>);

impl Job {
    pub(crate) fn new(job: Box<dyn FnOnce() + Send>) -> Self {
        Job(job)
    }
}

/// Why a worker gave the baton back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// It is over.
    Ended,
    /// It waits to be woken.
    Waits { for_workman: bool },
    /// Others may go first.
    Yields,
    /// It asks its context in a loop, and nothing else is ready.
    Spins,
}

/// What else could run.
pub(crate) trait Others: Send + Sync {
    /// Whether nothing else is ready.
    fn are_quiet(&self) -> bool;
}

enum Turn {
    NotStarted(Job),
    Worker,
    Driver(Pause),
    Killed,
}

/// The thread of one blocking worker, and whose turn it is.
pub(crate) struct Baton {
    turn: Mutex<Turn>,
    changed: Condvar,
    waker: Waker,
    others: Arc<dyn Others>,
    setup: ThreadSetup,
    questions_left: AtomicU32,
}

impl Baton {
    /// A worker that has not begun. `waker` asks for another turn of it.
    pub(crate) fn new(job: Job, waker: Waker, others: Arc<dyn Others>, setup: ThreadSetup) -> Arc<Self> {
        Arc::new(Baton {
            turn: Mutex::new(Turn::NotStarted(job)),
            changed: Condvar::new(),
            waker,
            others,
            setup,
            questions_left: AtomicU32::new(QUESTIONS),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the worker run until it gives the baton back.
    pub(crate) fn hand_over(self: &Arc<Self>, patience: Duration) -> Result<Pause, Stuck> {
        let mut turn = self.lock();
        match std::mem::replace(&mut *turn, Turn::Worker) {
            Turn::NotStarted(job) => self.start(job),
            over @ (Turn::Driver(Pause::Ended) | Turn::Killed) => {
                *turn = over;
                return Ok(Pause::Ended);
            }
            Turn::Worker | Turn::Driver(_) => self.changed.notify_all(),
        }
        let waited = self.changed.wait_timeout_while(turn, patience, |turn| matches!(turn, Turn::Worker));
        match *waited.unwrap_or_else(PoisonError::into_inner).0 {
            Turn::Driver(pause) => Ok(pause),
            _ => Err(Stuck),
        }
    }

    fn start(self: &Arc<Self>, Job(job): Job) {
        let baton = Arc::clone(self);
        let run = move || {
            let _ids = scoped_ids(Arc::clone(&baton.setup.ids));
            let _hook = scoped_blocking_hook(Arc::new(Hook { baton: Arc::clone(&baton) }));
            let _: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| baton.setup.ambient.within(job)));
            *baton.lock() = Turn::Driver(Pause::Ended);
            baton.changed.notify_all();
        };
        let thread = thread::Builder::new().name("workman-test-worker".into()).spawn(run);
        thread.expect("a test can start a thread");
    }

    /// The process has died: the worker unwinds at the place where it waits. Says whether it has ended.
    pub(crate) fn kill(&self, patience: Duration) -> bool {
        let mut turn = self.lock();
        match std::mem::replace(&mut *turn, Turn::Killed) {
            Turn::NotStarted(job) => {
                drop(turn);
                drop(job);
                return true;
            }
            Turn::Driver(Pause::Ended) => return true,
            Turn::Worker | Turn::Driver(_) | Turn::Killed => self.changed.notify_all(),
        }
        let waited = self.changed.wait_timeout_while(turn, patience, |turn| matches!(turn, Turn::Killed));
        matches!(*waited.unwrap_or_else(PoisonError::into_inner).0, Turn::Driver(Pause::Ended))
    }

    /// On the worker's thread: gives the baton back, and returns when it comes again.
    fn give_back(&self, pause: Pause) {
        let mut turn = self.lock();
        if !matches!(*turn, Turn::Killed) {
            *turn = Turn::Driver(pause);
            self.changed.notify_all();
            let waited = self.changed.wait_while(turn, |turn| matches!(turn, Turn::Driver(_)));
            turn = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let killed = matches!(*turn, Turn::Killed);
        drop(turn);
        if killed {
            resume_unwind(Box::new("the process of this worker has died"));
        }
    }
}

struct Hook {
    baton: Arc<Baton>,
}

impl BlockingHook for Hook {
    fn block_on(&self, mut future: Pin<&mut dyn Future<Output = ()>>) {
        // One of its own: who waits for the outside is known by how many there are.
        let waker = self.baton.waker.clone();
        let mut cx = Context::from_waker(&waker);
        loop {
            let waits = own_waits();
            if future.as_mut().poll(&mut cx).is_ready() {
                return;
            }
            if thread::panicking() {
                // It waits while it unwinds, from a `Drop`: to unwind again would abort the test.
                thread::park();
            }
            self.baton.give_back(Pause::Waits { for_workman: own_waits() != waits });
        }
    }

    fn pause(&self) {
        if thread::panicking() {
            return;
        }
        if !self.baton.others.are_quiet() {
            self.baton.give_back(Pause::Yields);
        } else if self.baton.questions_left.fetch_sub(1, Ordering::Relaxed) <= 1 {
            self.baton.questions_left.store(MORE_QUESTIONS, Ordering::Relaxed);
            self.baton.give_back(Pause::Spins);
        }
    }
}
