//! Workers that do not stop: nothing runs twice beside them in a process, whichever manager began them; a thread is lost with them
//! and no slot; and whoever asks is told which they are.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use futures::executor::block_on;
use support::{HOUR, MINUTE, RedbHome, secs};
use workman_core::store::Store;
use workman_core::{
    Clock, ExistingWorkPolicy, Explanation, HealthStatus, Limits, MemoryStore, ThreadRuntime, UniqueWork, WorkHandle,
    WorkId, WorkManager, WorkState, worker,
};
use workman_redb::RedbStore;
use workman_testing::{TestDriver, VirtualClock};

/// A moment that a worker does not use to stop.
const MOMENT: Duration = Duration::from_millis(20);

/// Holds those who pass it until it is opened, and counts them.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Passing>, Condvar)>);

#[derive(Default)]
struct Passing {
    open: bool,
    /// By number: how many are inside, were at the most, and have come.
    inside: BTreeMap<u32, [usize; 3]>,
}

impl Gate {
    fn pass(&self, number: u32) {
        let (passing, changed) = &*self.0;
        let mut now = passing.lock().unwrap();
        let [inside, most, come] = now.inside.entry(number).or_default();
        (*inside, *come) = (*inside + 1, *come + 1);
        *most = (*most).max(*inside);
        changed.notify_all();
        let mut now = changed.wait_while(now, |now| !now.open).unwrap();
        now.inside.entry(number).or_default()[0] -= 1;
    }

    /// Waits until so many have come.
    fn wait_for(&self, number: u32, count: usize) {
        let (passing, changed) = &*self.0;
        drop(changed.wait_while(passing.lock().unwrap(), |now| now.come(number) < count).unwrap());
    }

    fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    fn come(&self, number: u32) -> usize {
        self.0.0.lock().unwrap().come(number)
    }

    fn most(&self, number: u32) -> usize {
        self.0.0.lock().unwrap().inside.get(&number).map_or(0, |counts| counts[1])
    }
}

impl Passing {
    fn come(&self, number: u32) -> usize {
        self.inside.get(&number).map_or(0, |counts| counts[2])
    }
}

/// Whoever fails must not hang by it.
impl Drop for Opens<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

struct Opens<'a>(&'a Gate);

#[worker]
fn stubborn(#[state] gate: Gate, number: u32) -> u32 {
    gate.pass(number);
    number
}

/// Never gives way, though it could.
#[worker]
async fn greedy(#[state] gate: Gate, number: u32) -> u32 {
    gate.pass(number);
    number
}

#[worker]
fn quick(number: u32) -> u32 {
    number
}

#[worker]
async fn quick_async(number: u32) -> u32 {
    number
}

fn limits(blocking_slots: usize) -> Limits {
    let mut limits = Limits::default();
    (limits.blocking_slots, limits.expedited_slots, limits.grace) = (blocking_slots, 0, MOMENT);
    limits
}

fn start(store: impl Store, gate: &Gate, limits: Limits) -> WorkManager {
    let builder = WorkManager::builder(store).runtime(ThreadRuntime::with_threads(1)).state(gate.clone());
    builder.limits(limits).start().unwrap()
}

/// A manager has looked at all that was there, since it has run what came last.
fn has_looked(manager: &WorkManager) {
    assert_eq!(block_on(async { manager.enqueue(quick::request(1)).await.unwrap().output().await }).unwrap(), 1);
}

fn explained(manager: &WorkManager, id: WorkId) -> Explanation {
    block_on(manager.explain(id)).unwrap()
}

fn is_held_up_by(manager: &WorkManager, id: WorkId, by: WorkId) -> bool {
    matches!(explained(manager, id), Explanation::StillRuns { worker, id, .. } if id == by && *worker == *"stubborn")
}

/// Runs a work that does not stop, ends its manager as `leave` does, and gives the works to the next one.
fn the_next_manager<S: Store>(
    store: S,
    leave: impl FnOnce(WorkManager, WorkId),
    again: impl FnOnce() -> Box<dyn FnOnce(&Gate) -> WorkManager>,
) {
    let gate = Gate::default();
    let _opens = Opens(&gate);
    let first = start(store, &gate, limits(4));
    let id = block_on(first.enqueue(stubborn::request(7))).unwrap().id();
    gate.wait_for(7, 1);
    leave(first, id);
    let next = again()(&gate);
    has_looked(&next);
    assert_eq!(gate.come(7), 1, "it does not begin beside itself");
    assert!(is_held_up_by(&next, id, id), "{}", explained(&next, id));
    gate.open();
    let handle: WorkHandle<u32> = block_on(next.handle(stubborn::worker(), id)).unwrap();
    assert_eq!(block_on(handle.output()).unwrap(), 7);
    assert_eq!((gate.come(7), gate.most(7)), (2, 1));
}

fn shut_down(manager: WorkManager, id: WorkId) {
    assert_eq!(block_on(manager.shutdown(MOMENT)).given_up, [id]);
}

fn dropped(manager: WorkManager, _: WorkId) {
    drop(manager);
}

#[test]
fn a_work_that_goes_on_after_its_manager_starts_in_the_next_one_when_that_is_over() {
    for leave in [shut_down, dropped] {
        let store = Arc::new(MemoryStore::new());
        let again = Arc::clone(&store);
        the_next_manager(store, leave, || Box::new(move |gate| start(again, gate, limits(4))));
    }
}

#[test]
fn a_work_that_goes_on_after_its_file_was_closed_is_known_to_whoever_opens_that_again() {
    for (name, leave) in [("shut_down", shut_down as fn(WorkManager, WorkId)), ("dropped", dropped)] {
        let home = RedbHome::new(&format!("hung-{name}"));
        let file = home.file();
        let store = RedbStore::open(&file).unwrap();
        the_next_manager(store, leave, || {
            let store = RedbStore::open_waiting(&file, secs(10)).unwrap();
            Box::new(move |gate| start(store, gate, limits(4)))
        });
    }
}

#[test]
fn a_manager_beside_hears_of_the_end_of_a_run_that_another_has_given_up() {
    let (store, gate) = (Arc::new(MemoryStore::new()), Gate::default());
    let _opens = Opens(&gate);
    let first = start(Arc::clone(&store), &gate, limits(4));
    let id = block_on(first.enqueue(stubborn::request(7))).unwrap().id();
    gate.wait_for(7, 1);
    let beside = start(Arc::clone(&store), &gate, limits(4));
    shut_down(first, id);
    has_looked(&beside);
    assert_eq!(gate.come(7), 1);
    assert!(is_held_up_by(&beside, id, id));
    gate.open();
    gate.wait_for(7, 2);
    assert_eq!(gate.most(7), 1);
}

/// Takes the name "n" from whoever has it.
type Takes = fn(&WorkManager, WorkId) -> UniqueWork<u32>;

fn by_replacing(manager: &WorkManager, _: WorkId) -> UniqueWork<u32> {
    block_on(manager.enqueue_unique("n", ExistingWorkPolicy::Replace, quick::request(9))).unwrap()
}

fn by_cancelling(manager: &WorkManager, id: WorkId) -> UniqueWork<u32> {
    block_on(manager.cancel(id)).unwrap();
    block_on(manager.enqueue_unique("n", ExistingWorkPolicy::Keep, quick::request(9))).unwrap()
}

#[test]
fn what_takes_a_name_from_a_run_starts_when_that_is_over_whichever_manager_stored_it() {
    for (takes, beside) in
        [(by_replacing as Takes, false), (by_replacing, true), (by_cancelling, false), (by_cancelling, true)]
    {
        for grace in [MOMENT, HOUR] {
            let (store, gate) = (Arc::new(MemoryStore::new()), Gate::default());
            let _opens = Opens(&gate);
            let mut limits = limits(4);
            limits.grace = grace;
            let first = start(Arc::clone(&store), &gate, limits.clone());
            let other = beside.then(|| start(Arc::clone(&store), &gate, limits));
            let holder = block_on(first.enqueue_unique("n", ExistingWorkPolicy::Keep, stubborn::request(7))).unwrap();
            let holder = holder.handle.unwrap().id();
            gate.wait_for(7, 1);
            let manager = other.as_ref().unwrap_or(&first);
            let taken = takes(manager, holder).handle.unwrap();
            has_looked(manager);
            has_looked(&first);
            let info = block_on(taken.info()).unwrap().unwrap();
            assert_eq!(info.state, WorkState::Enqueued, "beside: {beside}, grace: {grace:?}");
            assert!(is_held_up_by(manager, taken.id(), holder), "{}", explained(manager, taken.id()));
            gate.open();
            assert_eq!(block_on(taken.output()).unwrap(), 9);
            assert_eq!(gate.come(7), 1);
        }
    }
}

#[test]
fn works_of_one_chain_do_not_wait_for_each_other_though_they_share_a_name() {
    let (store, gate) = (Arc::new(MemoryStore::new()), Gate::default());
    let _opens = Opens(&gate);
    let manager = start(store, &gate, limits(2));
    let chain =
        manager.begin_unique("n", ExistingWorkPolicy::Replace, (1..=3).map(stubborn::request).collect::<Vec<_>>());
    let ids = block_on(chain.enqueue()).unwrap().ids;
    (1..=2).for_each(|number| gate.wait_for(number, 1));
    block_on(manager.cancel(ids[0])).unwrap();
    gate.wait_for(3, 1);
    assert_eq!([1, 2, 3].map(|number| gate.come(number)), [1, 1, 1]);
}

#[test]
fn a_thread_stands_in_for_one_that_a_worker_keeps_and_for_as_many_as_there_are_slots() {
    let (store, gate) = (Arc::new(MemoryStore::new()), Gate::default());
    let _opens = Opens(&gate);
    let mut limits = limits(2);
    limits.standstill = Duration::ZERO;
    let manager = start(store, &gate, limits);
    for number in 1..=4 {
        let id = block_on(manager.enqueue(stubborn::request(number))).unwrap().id();
        gate.wait_for(number, 1);
        block_on(manager.cancel(id)).unwrap();
        if number < 4 {
            has_looked(&manager);
        }
    }
    let waits = block_on(manager.enqueue(quick::request(5))).unwrap();
    let error = loop {
        match manager.health() {
            HealthStatus::Degraded { error, .. } if error.contains("all slots") => break error,
            _ => std::thread::yield_now(),
        }
    };
    assert!(error.contains("blocking") && error.contains("\"stubborn\" (4)"), "{error}");
    assert_eq!(block_on(waits.info()).unwrap().unwrap().state, WorkState::Enqueued);
    gate.open();
    assert_eq!(block_on(waits.output()).unwrap(), 5);
    while manager.health() != HealthStatus::Healthy {
        std::thread::yield_now();
    }
}

#[test]
fn a_thread_stands_in_for_one_that_a_future_keeps_which_never_gives_way() {
    let (store, gate) = (Arc::new(MemoryStore::new()), Gate::default());
    let _opens = Opens(&gate);
    let manager = start(store, &gate, limits(1));
    let id = block_on(manager.enqueue(greedy::request(1))).unwrap().id();
    gate.wait_for(1, 1);
    let waits = block_on(manager.enqueue(quick_async::request(2))).unwrap();
    block_on(manager.cancel(id)).unwrap();
    assert_eq!(block_on(waits.output()).unwrap(), 2, "the only thread is not");
}

#[test]
fn a_run_that_does_not_stop_is_named_by_health_until_it_ends() {
    let (store, gate) = (Arc::new(MemoryStore::new()), Gate::default());
    let _opens = Opens(&gate);
    let mut limits = limits(1);
    limits.standstill = Duration::ZERO;
    let manager = start(store, &gate, limits);
    let id = block_on(manager.enqueue(stubborn::request(1))).unwrap().id();
    gate.wait_for(1, 1);
    assert_eq!(manager.health(), HealthStatus::Healthy, "it runs, and nothing waits");
    block_on(manager.cancel(id)).unwrap();
    has_looked(&manager);
    let HealthStatus::Degraded { error, failures: 1 } = manager.health() else { panic!("{:?}", manager.health()) };
    assert!(error.contains("\"stubborn\"") && error.contains(&id.to_string()), "{error}");
    gate.open();
    while manager.health() != HealthStatus::Healthy {
        std::thread::yield_now();
    }
}

/// The clock of a test, which is there when its driver is.
type Slot = Arc<OnceLock<VirtualClock>>;

/// Takes its time, whatever it is told.
#[worker]
fn takes_its_time(#[state] clock: Slot, number: u32) -> u32 {
    workman_core::seams::block_on(clock.get().unwrap().sleep(HOUR));
    number
}

fn driver(blocking_slots: usize, home: Option<RedbHome>) -> TestDriver {
    let (mut limits, slot) = (Limits::default(), Slot::default());
    (limits.blocking_slots, limits.expedited_slots) = (blocking_slots, 0);
    let test = TestDriver::new().limits(limits).state(Gate::default()).state(Arc::clone(&slot));
    let test = match home {
        Some(home) => test.store(home),
        None => test,
    };
    assert!(slot.set(test.clock().clone()).is_ok());
    test
}

#[test]
fn slots_that_the_same_runs_hold_for_long_are_told_of_while_work_waits_and_no_longer() {
    let test = driver(2, None);
    let limit = Limits::default().standstill;
    let held: Vec<WorkId> = (1..=2).map(|number| test.enqueue(takes_its_time::request(number))).collect();
    test.run_until_idle();
    test.advance(2 * limit);
    let health = || test.manager().health();
    assert_eq!(health(), HealthStatus::Healthy, "nothing waits");
    let waits = test.enqueue(quick::request(3));
    test.advance(secs(1));
    let status = health();
    let HealthStatus::Degraded { error, .. } = status else {
        panic!("it has lasted that long: {status:?} {}", test.explain(waits))
    };
    assert!(error.contains("\"takes_its_time\" (2)") && error.contains("blocking"), "{error}");
    assert_eq!(test.explain(waits), Explanation::NoSlot);
    test.cancel(waits);
    let _asks = health();
    test.run_until_idle();
    assert_eq!(health(), HealthStatus::Healthy, "nothing waits any more");
    let due = test.enqueue(quick::request(4).initial_delay(MINUTE));
    test.advance(MINUTE + limit);
    assert!(matches!(health(), HealthStatus::Degraded { .. }), "what is due waits too");
    test.advance(HOUR);
    assert_eq!(held.iter().chain([&due]).map(|id| test.state_of(*id)).collect::<Vec<_>>(), [WorkState::Succeeded; 3]);
    assert_eq!(health(), HealthStatus::Healthy);
}

#[test]
fn slots_that_change_hands_are_no_standstill_however_long_the_line_is() {
    let test = driver(2, None);
    test.block_on(test.manager().enqueue_all((1..=6).map(takes_its_time::request))).unwrap();
    test.run_until_idle();
    let mut told = 0;
    for _ in 0..36 {
        test.advance(5 * MINUTE);
        told += usize::from(test.manager().health() != HealthStatus::Healthy);
    }
    assert!((1..36).contains(&told), "told {told} times: between the turns, an hour apart, and not after the last");
    assert_eq!(test.manager().health(), HealthStatus::Healthy);
}

#[test]
fn what_hung_before_an_orderly_restart_is_not_in_front_of_everybody_again() {
    for home in [None, Some(RedbHome::new("restart"))] {
        let test = driver(1, home);
        let hangs = test.enqueue(takes_its_time::request(1));
        let quick: Vec<WorkId> = (2..=4).map(|number| test.enqueue(quick::request(number))).collect();
        test.run_until_idle();
        assert_eq!(test.state_of(hangs), WorkState::Running);
        assert_eq!(test.restart().given_up, [hangs]);
        test.run_until_idle();
        assert_eq!(quick.iter().map(|id| test.state_of(*id)).collect::<Vec<_>>(), [WorkState::Succeeded; 3]);
        assert_eq!(test.state_of(hangs), WorkState::Running, "it has its turn");
        assert_eq!(test.info(hangs).interruptions, 1);
    }
}
