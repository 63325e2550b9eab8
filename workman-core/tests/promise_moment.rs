//! A work starts on what its sensor says at that moment: on real threads, and with a sensor that knows before anybody has heard.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::channel::oneshot::{Receiver, channel};
use futures::executor::block_on;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use workman_core::{
    Conditions, ConstraintSensor, Constraints, Limits, MemoryStore, Runtime, ThreadRuntime, WorkHandle, WorkManager,
    WorkState, worker,
};

/// Knows at once whether the machine charges, and tells of it only when it begins to.
#[derive(Clone, Default)]
struct Reserved {
    charging: Arc<AtomicBool>,
    listeners: Arc<Mutex<Vec<UnboundedSender<()>>>>,
}

impl Reserved {
    fn set(&self, charging: bool) {
        self.charging.store(charging, Ordering::SeqCst);
        if charging {
            self.listeners.lock().unwrap().retain(|listener| listener.unbounded_send(()).is_ok());
        }
    }
}

impl ConstraintSensor for Reserved {
    fn conditions(&self) -> Conditions {
        Conditions { charging: Some(self.charging.load(Ordering::SeqCst)), ..Conditions::UNKNOWN }
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let (listener, changes) = unbounded();
        self.listeners.lock().unwrap().push(listener);
        changes.boxed()
    }
}

/// How often a body was entered.
#[derive(Clone, Default)]
struct Entered(Arc<AtomicUsize>);

impl Entered {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[worker]
async fn polled(#[state] entered: Entered) {
    entered.0.fetch_add(1, Ordering::SeqCst);
}

#[worker]
fn called(#[state] entered: Entered) {
    entered.0.fetch_add(1, Ordering::SeqCst);
}

#[worker]
async fn marks() {}

#[worker]
fn marks_blocking() {}

fn start(sensor: &Reserved, entered: &Entered, runtime: impl Runtime) -> WorkManager {
    start_with(sensor, entered, runtime, &Arc::default())
}

fn start_with(
    sensor: &Reserved,
    entered: &Entered,
    runtime: impl Runtime,
    slot: &Arc<Mutex<Option<Receiver<()>>>>,
) -> WorkManager {
    let mut limits = Limits::default();
    limits.dwell = Duration::ZERO;
    let builder = WorkManager::builder(MemoryStore::new()).runtime(runtime).sensor(sensor.clone());
    builder.state(entered.clone()).state(Arc::clone(slot)).limits(limits).start().unwrap()
}

fn charging() -> Constraints {
    Constraints::new().requires_charging()
}

/// Some works of both kinds, some of them a moment later, so that they come by an offer and by a claim.
fn enqueue_some(manager: &WorkManager) -> Vec<WorkHandle<()>> {
    block_on(async {
        let mut handles = Vec::new();
        for later in [Duration::ZERO, Duration::from_millis(1)] {
            let polled = polled::request().constraints(charging()).initial_delay(later);
            handles.push(manager.enqueue(polled).await.unwrap());
            let called = called::request().constraints(charging()).initial_delay(later);
            handles.push(manager.enqueue(called).await.unwrap());
        }
        handles
    })
}

/// The manager has claimed and started what it could meanwhile.
fn has_looked(manager: &WorkManager) {
    block_on(async {
        let later = Duration::from_millis(2);
        manager.enqueue(marks::request().initial_delay(later)).await.unwrap().output().await.unwrap();
        manager.enqueue(marks_blocking::request()).await.unwrap().output().await.unwrap();
    });
}

#[test]
fn nothing_that_is_enqueued_offered_or_claimed_starts_on_conditions_that_its_sensor_knows_to_be_past() {
    let (sensor, entered) = (Reserved::default(), Entered::default());
    sensor.set(true);
    let manager = start(&sensor, &entered, ThreadRuntime::new());
    for round in 0..50 {
        let before = entered.count();
        sensor.set(false);
        let handles: Vec<WorkHandle<()>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| enqueue_some(&manager))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        has_looked(&manager);
        assert_eq!(entered.count(), before, "round {round}");
        sensor.set(true);
        block_on(async {
            for handle in &handles {
                handle.output().await.unwrap();
            }
        });
        assert_eq!(entered.count(), before + handles.len(), "round {round}");
    }
}

/// Waits until the test lets it go.
#[worker]
async fn holds_back(#[state] go: Arc<Mutex<Option<Receiver<()>>>>) {
    let go = go.lock().unwrap().take();
    go.unwrap().await.unwrap();
}

#[test]
fn what_was_enqueued_before_is_not_claimed_on_conditions_that_are_past() {
    let (sensor, entered) = (Reserved::default(), Entered::default());
    let slot: Arc<Mutex<Option<Receiver<()>>>> = Arc::default();
    sensor.set(true);
    let manager = start_with(&sensor, &entered, ThreadRuntime::new(), &slot);
    for round in 0..50 {
        let (go, going) = channel();
        *slot.lock().unwrap() = Some(going);
        sensor.set(true);
        let behind = (polled::request().constraints(charging()), called::request().constraints(charging()));
        let stored = block_on(manager.begin_with(holds_back::request()).then(behind).enqueue()).unwrap();
        sensor.set(false);
        go.send(()).unwrap();
        let first: WorkHandle<()> = block_on(manager.handle(holds_back::worker(), stored.ids[0])).unwrap();
        block_on(first.output()).unwrap();
        has_looked(&manager);
        assert_eq!(entered.count(), 2 * round, "round {round}");
        sensor.set(true);
        assert!(block_on(manager.drain(Duration::from_secs(60))).unwrap().idle);
        while entered.count() < 2 * (round + 1) {
            thread::yield_now();
        }
    }
}

/// Runs what it is given when it is told to.
#[derive(Clone, Default)]
struct Patient {
    kept: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>,
    keeps: Arc<AtomicBool>,
    inner: Arc<ThreadRuntime>,
}

impl Patient {
    fn go_on(&self) {
        self.keeps.store(false, Ordering::SeqCst);
        self.kept.lock().unwrap().drain(..).for_each(|task| self.inner.spawn(task));
    }
}

impl Runtime for Patient {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        if self.keeps.load(Ordering::SeqCst) {
            return self.kept.lock().unwrap().push(task);
        }
        self.inner.spawn(task);
    }

    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) {
        self.spawn(Box::pin(async move { job() }));
    }
}

#[test]
fn what_has_waited_for_a_thread_since_it_was_started_does_not_begin_on_conditions_that_are_past() {
    let (sensor, entered, runtime) = (Reserved::default(), Entered::default(), Patient::default());
    sensor.set(true);
    let manager = start(&sensor, &entered, runtime.clone());
    runtime.keeps.store(true, Ordering::SeqCst);
    let handles = block_on(async {
        let polled = manager.enqueue(polled::request().constraints(charging())).await.unwrap();
        [polled, manager.enqueue(called::request().constraints(charging())).await.unwrap()]
    });
    while runtime.kept.lock().unwrap().len() < handles.len() {
        thread::yield_now();
    }
    sensor.set(false);
    runtime.go_on();
    has_looked(&manager);
    assert_eq!(entered.count(), 0);
    for handle in &handles {
        let info = block_on(handle.info()).unwrap().unwrap();
        let counts = (info.state, info.failures, info.interruptions, info.attempts.len());
        assert_eq!(counts, (WorkState::Enqueued, 0, 0, 0), "that was no attempt");
    }
    sensor.set(true);
    block_on(async {
        for handle in &handles {
            handle.output().await.unwrap();
        }
    });
    assert_eq!(entered.count(), 2);
}
