//! The dispatcher keeps its own rules: slots, time, failures of the store, the end of a manager.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use support::{Bystanders, HOUR, RedbHome, secs};
use workman_core::seams::block_on;
use workman_core::store::Store;
use workman_core::{
    Clock, EnqueueError, Limits, MemoryStore, OutputError, ThreadRuntime, Timestamp, WorkContext, WorkError,
    WorkManager, WorkQuery, WorkSelector, WorkState, worker,
};
use workman_testing::{Fault, StoreHome, TestDriver, VirtualClock};

/// How many run now, and how many ever did at once.
#[derive(Clone, Default)]
struct Crowd {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

#[worker]
async fn crowded(cx: &WorkContext, #[state] crowd: Crowd) -> Result<(), WorkError> {
    let now = crowd.now.fetch_add(1, Ordering::SeqCst) + 1;
    crowd.most.fetch_max(now, Ordering::SeqCst);
    let slept = cx.sleep(secs(1)).await;
    crowd.now.fetch_sub(1, Ordering::SeqCst);
    Ok(slept?)
}

#[worker]
async fn notes_and_waits(cx: &WorkContext) -> Result<u32, WorkError> {
    if let Some(saved) = cx.checkpoint::<u32>()? {
        return Ok(saved);
    }
    cx.save_checkpoint(&7_u32)?;
    cx.sleep(HOUR).await?;
    Ok(0)
}

#[worker]
async fn shows_and_waits(cx: &WorkContext) -> Result<(), WorkError> {
    cx.set_progress(&1_u32)?;
    Ok(cx.sleep(HOUR).await?)
}

#[worker]
fn answers() -> u32 {
    42
}

#[worker]
async fn greets() {}

#[worker]
async fn waits(cx: &WorkContext) -> Result<(), WorkError> {
    cx.sleep(HOUR).await?;
    Ok(())
}

/// What each run was given: its key and its token.
type Ledger = Arc<std::sync::Mutex<Vec<(String, u64)>>>;

#[worker(backoff = workman_core::Backoff::linear(Duration::from_secs(1)))]
async fn signs(cx: &WorkContext, #[state] ledger: Ledger, failures: u32) -> Result<(), String> {
    ledger.lock().unwrap().push((cx.idempotency_key(), cx.fencing_token()));
    if cx.attempt() < failures { Err("again".to_owned()) } else { Ok(()) }
}

/// G7: one key for all attempts of a work, or of one period; a token that only grows.
#[test]
fn g7_the_key_stays_over_all_attempts_and_the_token_grows() {
    let ledger = Ledger::default();
    let test = TestDriver::new().state(Arc::clone(&ledger));
    let bystanders = Bystanders::of(&test);
    let once = test.enqueue(signs::request(3));
    test.advance(secs(10));
    let taken = std::mem::take(&mut *ledger.lock().unwrap());
    assert_eq!(taken.len(), 4);
    assert!(taken.iter().all(|(key, _)| *key == once.to_string()), "{taken:?}");
    assert!(taken.is_sorted_by(|(_, a), (_, b)| a < b), "{taken:?}");

    test.enqueue_periodic(signs::periodic(1, HOUR));
    test.advance(HOUR + secs(10));
    let taken = std::mem::take(&mut *ledger.lock().unwrap());
    let (keys, tokens): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
    assert_eq!((&keys[0], &keys[2]), (&keys[1], &keys[3]));
    assert!(keys[0] != keys[2] && tokens.is_sorted_by(|a, b| a < b), "{keys:?} {tokens:?}");
    bystanders.are_untouched(&test);
}

/// What a settle releases is claimed by the commit that settles.
#[test]
fn a_step_of_a_chain_costs_one_commit() {
    let test = TestDriver::new();
    test.run_until_idle();
    let before = test.commits();
    let [first, second, third, fourth] = [(); 4].map(|()| greets::request());
    let chain = test.manager().begin_with(first).then(second).then(third).then(fourth);
    test.block_on(chain.enqueue()).unwrap();
    test.run_until_idle();
    assert_eq!(test.query(WorkQuery::in_state(WorkState::Succeeded)).len(), 4);
    assert_eq!(test.commits() - before, 1 + 4, "one that enqueues and starts the first, and one for each end");
}

/// What ends at about the same time is settled, and its slots are claimed anew, by one commit and not by one for each end.
#[test]
fn ends_that_come_together_share_a_commit() {
    for seed in 1..=20 {
        let mut limits = TestDriver::default_limits();
        limits.async_slots = 8;
        let test = TestDriver::with_seed(seed).limits(limits);
        let works: Vec<_> = (0..32).map(|_| greets::request()).collect();
        test.run_until_idle();
        let before = test.commits();
        test.block_on(test.manager().enqueue_all(works)).unwrap();
        test.run_until_idle();
        let (all, commits) = (test.query(WorkQuery::in_state(WorkState::Succeeded)).len(), test.commits() - before);
        assert_eq!(all, 32);
        assert_eq!(
            commits,
            1 + 32 / 8,
            "with seed {seed}: one that enqueues and starts the first eight, and one for each eight"
        );
    }
}

/// Whoever takes his time holds up nobody: an end is on disk without any time passing.
#[test]
fn an_end_does_not_wait_for_those_who_take_their_time() {
    let test = TestDriver::new();
    let slow = test.enqueue(waits::request());
    let quick = test.enqueue(greets::request());
    test.run_until_idle();
    assert_eq!(test.state_of(quick), WorkState::Succeeded);
    assert_eq!(test.state_of(slow), WorkState::Running);
}

/// Enqueues come one after the other, and the dispatcher hears of each only later.
#[test]
fn no_more_run_at_once_than_there_are_slots() {
    let mut limits = TestDriver::default_limits();
    limits.async_slots = 2;
    let crowd = Crowd::default();
    let test = TestDriver::new().limits(limits).state(crowd.clone());
    let works: Vec<_> = (0..50).map(|_| test.enqueue(crowded::request())).collect();
    for _ in 0..25 {
        test.run_until_idle();
        assert!(crowd.now.load(Ordering::SeqCst) <= 2);
        test.advance(secs(1));
    }
    assert_eq!(crowd.most.load(Ordering::SeqCst), 2);
    assert!(works.iter().all(|id| test.state_of(*id) == WorkState::Succeeded));
}

/// The driver would never come to rest if the dispatcher did not.
#[test]
fn a_failing_store_is_left_alone_between_the_tries_and_nothing_is_lost() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let delayed = test.enqueue(answers::request().initial_delay(secs(5)));
    let noted = test.enqueue(notes_and_waits::request());
    test.run_until_idle();
    for _ in 0..5 {
        test.fail_at(test.commits() + 1, Fault::Rejected);
        test.advance(secs(3));
    }
    // The last fault may still wait for a commit; it gets one that nobody needs.
    let _ = test.try_enqueue(answers::request());
    test.advance(secs(60));
    assert_eq!(test.output::<u32>(delayed), 42);
    test.crash_and_restart();
    test.run_until_idle();
    assert_eq!(test.output::<u32>(noted), 7, "the checkpoint was written at the retry");
    bystanders.are_untouched(&test);
}

/// Row 20: nothing waits longer than its stated delay.
#[test]
fn a_clock_set_back_makes_no_wait_longer() {
    let test = TestDriver::new();
    let delayed = test.enqueue(answers::request().initial_delay(secs(2)));
    test.run_until_idle();
    let wall = test.clock().wall();
    test.clock().set_wall(wall - HOUR);
    test.advance(secs(2));
    assert_eq!(test.output::<u32>(delayed), 42);
}

#[test]
fn a_request_that_was_cloned_is_no_second_work() {
    let test = TestDriver::new();
    let request = answers::request();
    let chain = test.manager().begin_with([request.clone(), request.clone()]).then(answers::request());
    let error = test.block_on(chain.enqueue()).err().unwrap();
    assert!(matches!(error, EnqueueError::SameRequestTwice(id) if id == request.id()), "{error}");
    assert!(error.to_string().contains("make a new request"), "{error}");
}

/// CAN-1, DEP-3: also where nobody runs anything.
#[test]
fn a_cancellation_too_wide_for_one_commit_is_finished_by_a_manager_that_only_enqueues() {
    let test = TestDriver::new().shape(workman_core::Builder::enqueue_only);
    let mut chain = test.manager().begin_with(answers::request());
    for _ in 0..12_000 {
        chain = chain.then(answers::request());
    }
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    test.cancel(WorkSelector::id(ids[0]));
    test.run_until_idle();
    assert!(ids.iter().all(|id| test.state_of(*id) == WorkState::Cancelled));
}

#[test]
fn every_call_of_shutdown_waits_for_the_end() {
    let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start().unwrap();
    let work = block_on(manager.enqueue(shows_and_waits::request())).unwrap();
    block_on(async {
        let mut watched = work.watch();
        // What has not begun would be no interruption.
        while watched.next().await.unwrap().progress.is_none() {}
        let first = manager.shutdown(Duration::MAX);
        let second = manager.shutdown(Duration::from_secs(1));
        let (first, second) = futures::future::join(first, second).await;
        assert_eq!((&first.given_up, &first.error), (&Vec::new(), &None));
        // One that comes when all has ended has nothing to count.
        assert_eq!((&first.given_up, &first.error), (&second.given_up, &second.error));
        let info = work.info().await.unwrap().unwrap();
        assert_eq!((info.state, info.interruptions, info.failures), (WorkState::Enqueued, 1, 0));
        assert!(matches!(work.output().await, Err(OutputError::ManagerEnded)));
    });
}

#[test]
fn an_engine_that_is_dropped_gives_its_works_back_and_wakes_who_waits() {
    let builder = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new());
    let (manager, engine) = builder.start_inline().unwrap();
    let work = block_on(manager.enqueue(waits::request())).unwrap();
    drop(engine);
    assert!(matches!(block_on(work.output()), Err(OutputError::ManagerEnded)));
    let info = block_on(work.info()).unwrap().unwrap();
    assert_eq!((info.state, info.deaths), (WorkState::Enqueued, 0));
}

/// A clock that looks at the wall as often as it is asked to, as one of a machine that sleeps must.
struct Plain(VirtualClock);

impl Clock for Plain {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(length)
    }
}

/// Counts how often somebody is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn g15_with_something_due_in_an_hour_an_engine_wakes_once_in_65_seconds_at_the_most() {
    for store in [Arc::new(MemoryStore::new()) as Arc<dyn Store>, RedbHome::new("idle").open()] {
        let (clock, wakes) = (VirtualClock::new(), Arc::new(Wakes::default()));
        let builder = WorkManager::builder(store).clock(Plain(clock.clone())).runtime(ThreadRuntime::new());
        let (manager, mut engine) = builder.start_inline().unwrap();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let later = block_on(manager.enqueue(greets::request().initial_delay(HOUR))).unwrap();
        // Until it lies down.
        let mut settle = || {
            let before = wakes.0.load(Ordering::SeqCst);
            loop {
                let seen = wakes.0.load(Ordering::SeqCst);
                assert!(engine.poll_unpin(&mut cx).is_pending());
                if wakes.0.load(Ordering::SeqCst) == seen {
                    return seen - before;
                }
            }
        };
        settle();
        let mut woken = 0;
        for _ in 0..65 {
            let before = wakes.0.load(Ordering::SeqCst);
            clock.advance(secs(1));
            if wakes.0.load(Ordering::SeqCst) > before {
                woken += 1 + settle();
            }
        }
        assert!(woken <= 1, "{woken} times");
        for _ in 65..3_601 {
            clock.advance(secs(1));
            settle();
        }
        assert_eq!(block_on(later.info()).unwrap().unwrap().runs, 1, "it has not slept through it");
    }
}

#[test]
fn the_longest_limits_are_legal() {
    let mut limits = Limits::default();
    (limits.grace, limits.progress_delay, limits.dwell) = (Duration::MAX, Duration::MAX, Duration::MAX);
    (limits.async_slots, limits.blocking_slots) = (1, 1);
    let test = TestDriver::new().limits(limits);
    let noted = test.enqueue(notes_and_waits::request());
    test.run_until_idle();
    assert_eq!(test.cancel(WorkSelector::id(noted)), 1);
    test.run_until_idle();
    let next = test.enqueue(answers::request());
    test.run_until_idle();
    assert_eq!(test.output::<u32>(next), 42);
}
