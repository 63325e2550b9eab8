//! A runtime that does not run what it is given, for a moment or for good: it is tried again, health says so, nothing is latched,
//! and no work counts as running that nobody runs.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use futures::future::BoxFuture;
use support::{HOUR, MINUTE, secs};
use workman_core::{
    ConstraintKind, Constraints, ExistingWorkPolicy, HealthStatus, MemoryStore, OutputError, Runtime, ThreadRuntime,
    WorkId, WorkManager, WorkSelector, WorkState, worker,
};
use workman_testing::TestDriver;

#[worker]
async fn polled(number: u32) -> u32 {
    number
}

#[worker]
fn called(number: u32) -> u32 {
    number
}

type Job = Box<dyn FnOnce() + Send>;

/// What a runtime does with what it does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refuses {
    Drops,
    Panics,
    /// As tokio does when it can't start a thread: it has kept what it was given, and runs it when it can start one.
    PanicsAndKeeps,
}

/// Refuses so many of each kind, and runs the others.
struct Reluctant {
    inner: ThreadRuntime,
    how: Refuses,
    left: [AtomicU32; 2],
    kept: Mutex<Vec<Given>>,
}

impl Reluctant {
    fn new(how: Refuses, tasks: u32, jobs: u32) -> Self {
        Reluctant { inner: ThreadRuntime::new(), how, left: [tasks, jobs].map(AtomicU32::new), kept: Mutex::default() }
    }

    fn take(&self, kind: usize, given: Given) {
        let left = &self.left[kind];
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            let kept = std::mem::take(&mut *self.kept.lock().unwrap());
            for given in kept.into_iter().chain([given]) {
                match given {
                    Given::Task(task) => self.inner.spawn(task),
                    Given::Job(job) => self.inner.spawn_blocking(job),
                }
            }
            return;
        }
        match self.how {
            Refuses::Drops => return,
            Refuses::Panics => {}
            Refuses::PanicsAndKeeps => self.kept.lock().unwrap().push(given),
        }
        panic!("OS can't spawn worker thread");
    }
}

impl Runtime for Reluctant {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.take(0, Given::Task(task));
    }

    fn spawn_blocking(&self, job: Job) {
        self.take(1, Given::Job(job));
    }
}

/// Each kind alone, so that one that is refused can't hide behind the other.
#[test]
fn work_that_was_not_begun_for_a_moment_is_given_back_as_it_was_and_then_run() {
    for how in [Refuses::Drops, Refuses::Panics, Refuses::PanicsAndKeeps] {
        for (tasks, jobs) in [(4, 0), (0, 4), (4, 4)] {
            is_given_back(how, tasks, jobs);
        }
    }
}

fn is_given_back(how: Refuses, tasks: u32, jobs: u32) {
    {
        let builder = WorkManager::builder(MemoryStore::new()).runtime(Reluctant::new(how, tasks, jobs));
        let manager = builder.start().unwrap();
        let both = (0..20).flat_map(|number| [(number, polled::request(number)), (number, called::request(number))]);
        let handles = both.map(|(number, request)| (number, block_on(manager.enqueue(request)).unwrap()));
        for (number, handle) in handles.collect::<Vec<_>>() {
            assert_eq!(block_on(handle.output()).unwrap(), number, "{how:?}");
            let info = block_on(handle.info()).unwrap().unwrap();
            assert_eq!((info.failures, info.interruptions, info.deaths, info.attempts.len()), (0, 0, 0, 1));
        }
        assert_eq!(manager.health(), HealthStatus::Healthy, "{how:?}");
    }
}

/// Keeps everything until the test lets it go, as a runtime that nobody drives, or whose threads are all busy.
#[derive(Clone, Default)]
struct Lazy(Arc<Mutex<Vec<Given>>>);

enum Given {
    Task(BoxFuture<'static, ()>),
    Job(Job),
}

impl Lazy {
    fn run(&self) {
        for given in std::mem::take(&mut *self.0.lock().unwrap()) {
            match given {
                Given::Task(task) => block_on(task),
                Given::Job(job) => job(),
            }
        }
    }
}

impl Runtime for Lazy {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.lock().unwrap().push(Given::Task(task));
    }

    fn spawn_blocking(&self, job: Job) {
        self.0.lock().unwrap().push(Given::Job(job));
    }
}

fn error_of(test: &TestDriver) -> String {
    match test.manager().health() {
        HealthStatus::Degraded { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn work_that_a_runtime_keeps_and_does_not_begin_is_taken_back_and_runs_when_it_does() {
    let lazy = Lazy::default();
    let runtime = lazy.clone();
    let test = TestDriver::new().shape(move |builder| builder.runtime(runtime.clone()));
    let works = [test.enqueue(polled::request(7)), test.enqueue(called::request(8))];
    let states = |state| assert_eq!(works.map(|id| test.state_of(id)), [state; 2]);
    test.advance(secs(4));
    states(WorkState::Running);
    assert_eq!(test.manager().health(), HealthStatus::Healthy);
    test.advance(secs(2));
    assert_eq!(error_of(&test), "the runtime has begun none of 2 runs for 6 s");
    test.run_until_idle();
    states(WorkState::Enqueued);
    assert!(error_of(&test).contains("has no thread for them; it is tried again"), "{}", error_of(&test));
    test.advance(MINUTE);
    states(WorkState::Enqueued);
    let runs = |id: WorkId| (test.info(id).failures, test.info(id).interruptions, test.info(id).attempts.len());
    assert_eq!(works.map(runs), [(0, 0, 0); 2], "it was no attempt");

    lazy.run();
    test.run_until_idle();
    states(WorkState::Running);
    lazy.run();
    test.run_until_idle();
    assert_eq!(works.map(|id| test.output::<u32>(id)), [7, 8]);
    assert_eq!(test.manager().health(), HealthStatus::Healthy);
}

type Begun = Arc<AtomicU32>;

#[worker]
async fn begins(#[state] begun: Begun) {
    begun.fetch_add(1, Ordering::SeqCst);
}

#[worker]
fn begins_here(#[state] begun: Begun) {
    begun.fetch_add(1, Ordering::SeqCst);
}

/// A driver whose runtime comes to its runs when the test says so, and how many bodies have begun.
fn lazily() -> (TestDriver, Lazy, Begun) {
    let (lazy, begun) = (Lazy::default(), Begun::default());
    let (runtime, mut limits) = (lazy.clone(), TestDriver::default_limits());
    limits.dwell = secs(1);
    let test = TestDriver::new().shape(move |builder| builder.runtime(runtime.clone()));
    (test.limits(limits).state(Begun::clone(&begun)), lazy, begun)
}

/// What is stopped before its body was polled or called never begins, and is no attempt: for a constraint, a cancellation, a
/// replacement, a shutdown.
#[test]
fn con_1_what_is_told_to_stop_before_its_runtime_comes_to_it_never_begins_and_is_as_it_was() {
    let charging = Constraints::new().requires_charging();
    let (test, lazy, begun) = lazily();
    let constrained = [
        test.enqueue(begins::request().constraints(charging.clone())),
        test.enqueue(begins_here::request().constraints(charging)),
    ];
    let cancelled = [test.enqueue(begins::request()), test.enqueue(begins_here::request())];
    let replaced = test.enqueue_unique("name", ExistingWorkPolicy::Keep, begins_here::request()).id;
    test.run_until_idle();
    let all = constrained.into_iter().chain(cancelled).chain([replaced]);
    assert!(all.clone().all(|id| test.state_of(id) == WorkState::Running));
    test.lose(ConstraintKind::Charging);
    test.advance(secs(2));
    cancelled.iter().for_each(|id| assert_eq!(test.cancel(WorkSelector::id(*id)), 1));
    test.enqueue_unique("name", ExistingWorkPolicy::Replace, begins_here::request().initial_delay(HOUR));
    test.run_until_idle();
    lazy.run();
    test.run_until_idle();
    assert_eq!(begun.load(Ordering::SeqCst), 0);
    for id in constrained {
        let info = test.info(id);
        assert_eq!((info.state, info.interruptions, info.flaps), (WorkState::Enqueued, 0, 0));
        assert!(info.attempts.is_empty() && info.stop_reason.is_none());
    }
    test.meet(ConstraintKind::Charging);
    test.advance(secs(2));
    assert_eq!(constrained.map(|id| test.state_of(id)), [WorkState::Running; 2], "and at once when it may again");
    test.restart();
    for id in constrained {
        let info = test.info(id);
        assert_eq!(
            (info.interruptions, info.deaths, info.attempts.len()),
            (0, 0, 0),
            "a shutdown is no attempt either"
        );
    }
    lazy.run();
    assert_eq!(begun.load(Ordering::SeqCst), 0);
    test.run_until_idle();
    lazy.run();
    test.run_until_idle();
    assert_eq!((constrained.map(|id| test.state_of(id)), begun.load(Ordering::SeqCst)), ([WorkState::Succeeded; 2], 2));
}

/// Refuses everything until it is mended.
#[derive(Clone)]
struct Broken {
    lazy: Lazy,
    refuses: Arc<Mutex<bool>>,
}

impl Runtime for Broken {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        if !*self.refuses.lock().unwrap() {
            self.lazy.spawn(task);
        }
    }

    fn spawn_blocking(&self, job: Job) {
        if !*self.refuses.lock().unwrap() {
            self.lazy.spawn_blocking(job);
        }
    }
}

#[test]
fn who_waits_for_an_output_of_a_runtime_that_is_gone_is_told_and_it_is_tried_once_a_minute_for_ever() {
    let broken = Broken { lazy: Lazy::default(), refuses: Arc::new(Mutex::new(true)) };
    let runtime = broken.clone();
    let test = TestDriver::new().shape(move |builder| builder.runtime(runtime.clone()));
    let work = test.block_on(test.manager().enqueue(polled::request(7))).unwrap();
    test.advance(secs(1));
    assert!(error_of(&test).contains("does not run async workers"), "{}", error_of(&test));
    test.advance(secs(20));
    assert!(matches!(test.block_on(work.output()), Err(OutputError::RuntimeGone)));
    let before = test.commits();
    test.advance(24 * HOUR);
    assert!(test.commits() - before < 5, "to try it costs no commit");
    assert_eq!(test.state_of(work.id()), WorkState::Enqueued);
    assert_eq!(test.info(work.id()).interruptions, 0);

    *broken.refuses.lock().unwrap() = false;
    test.advance(MINUTE);
    for _ in 0..2 {
        broken.lazy.run();
        test.run_until_idle();
    }
    assert_eq!(test.block_on(work.output()).unwrap(), 7);
    assert_eq!(test.manager().health(), HealthStatus::Healthy);
}
