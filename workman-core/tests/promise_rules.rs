//! WorkManager's rules by their ids, where no other test is about them: what needs a fault of the store, a stubborn worker, or a look
//! at who runs beside whom.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use support::{Bystanders, DAY, HOUR, MINUTE, secs};
use workman_core::{
    ActionError, Backoff, Clock, ConstraintKind, Constraints, EnqueueError, ExistingWorkPolicy, StopReason,
    WorkContext, WorkError, WorkSelector, WorkState, worker,
};
use workman_testing::{Fault, Signal, TestDriver};

const MILLI: Duration = Duration::from_millis(1);

/// What workers said.
type Log = Arc<Mutex<Vec<String>>>;

fn driver() -> (TestDriver, Log) {
    let log = Log::default();
    (TestDriver::new().state(log.clone()), log)
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

fn charging() -> Constraints {
    Constraints::new().requires_charging()
}

/// Fails as often as it is told, then gives the number of its attempt.
#[worker]
async fn fails(times: u32, cx: &WorkContext) -> Result<u32, String> {
    if cx.attempt() < times { Err(format!("attempt {} failed", cx.attempt())) } else { Ok(cx.attempt()) }
}

#[worker]
async fn takes(seconds: u64, cx: &WorkContext) -> Result<u64, WorkError> {
    cx.sleep(secs(seconds)).await?;
    Ok(seconds)
}

fn deaf_driver() -> (TestDriver, Log, Signal) {
    let go = Signal::new();
    let (test, log) = driver();
    (test.state(go.clone()), log, go)
}

// ---- states ----

#[test]
fn sm_2_and_tst_4_nothing_starts_a_millisecond_before_its_time() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let delayed = test.enqueue(takes::request(0).initial_delay(MINUTE));
    let backed_off = test.enqueue(fails::request(1).backoff(Backoff::linear(MINUTE)));
    let periodic = test.enqueue_periodic(takes::periodic(0, MINUTE));
    test.advance(MINUTE - MILLI);
    // Other work is claimed now, and what is due in a millisecond is no part of it.
    test.enqueue(takes::request(0));
    test.run_until_idle();
    let runs = || [delayed, backed_off, periodic].map(|id| test.info(id).runs);
    assert_eq!(runs(), [0, 1, 1]);
    test.advance(MILLI);
    assert_eq!(runs(), [1, 2, 2]);
    bystanders.are_untouched(&test);
}

/// Told to stop, it ends as it says.
#[worker]
async fn stopped_and_ends(well: bool, cx: &WorkContext) -> Result<u32, WorkError> {
    let stopped = cx.until_stopped().await;
    if well { Ok(7) } else { Err(stopped.into()) }
}

#[test]
fn sm_5_a_run_that_is_stopped_and_ends_well_has_succeeded_and_any_other_runs_again() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let [well, not] = [true, false].map(|well| test.enqueue(stopped_and_ends::request(well).constraints(charging())));
    test.run_until_idle();
    test.lose(ConstraintKind::Charging);
    test.advance(secs(5));
    assert_eq!(test.output::<u32>(well), 7);
    let info = test.info(not);
    assert_eq!((info.state, info.interruptions, info.failures), (WorkState::Enqueued, 1, 0));
    test.meet(ConstraintKind::Charging);
    test.advance(secs(5));
    assert_eq!((test.info(well).runs, test.info(not).runs), (1, 2));
    bystanders.are_untouched(&test);
}

/// How many run now, and how many ever did at once.
#[derive(Clone, Default)]
struct Crowd {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    runs: Arc<AtomicUsize>,
}

struct Inside(Crowd);

impl Inside {
    fn enter(crowd: &Crowd) -> Self {
        crowd.runs.fetch_add(1, Ordering::SeqCst);
        let now = crowd.now.fetch_add(1, Ordering::SeqCst) + 1;
        crowd.most.fetch_max(now, Ordering::SeqCst);
        Inside(crowd.clone())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[worker]
async fn alone(#[state] crowd: Crowd, #[state] go: Signal) {
    let _inside = Inside::enter(&crowd);
    go.wait().await;
}

#[worker]
fn alone_blocking(#[state] crowd: Crowd, #[state] go: Signal) {
    let _inside = Inside::enter(&crowd);
    go.wait_blocking();
}

/// A run that does not stop is over for the store and not for the world: the work waits until it is gone.
#[test]
fn sm_8_a_work_never_runs_twice_at_once() {
    for request in [alone::request(), alone_blocking::request()] {
        let (crowd, go) = (Crowd::default(), Signal::new());
        let test = TestDriver::new().state(crowd.clone()).state(go.clone());
        let bystanders = Bystanders::of(&test);
        let id = test.enqueue(request.clone().constraints(charging()));
        test.run_until_idle();
        test.lose(ConstraintKind::Charging);
        test.advance(secs(14));
        test.meet(ConstraintKind::Charging);
        for _ in 0..20 {
            test.advance(secs(1));
            assert!(crowd.now.load(Ordering::SeqCst) <= 1, "the old run and the new one overlap");
            let again = test.try_enqueue(request.clone().constraints(charging())).unwrap();
            assert_eq!(again, id, "the same request is the same work");
        }
        go.set();
        test.advance(HOUR);
        assert_eq!(test.state_of(id), WorkState::Succeeded);
        assert_eq!(crowd.most.load(Ordering::SeqCst), 1);
        bystanders.are_untouched(&test);
    }
}

#[worker]
async fn collects(#[prerequisites] parts: Vec<u64>) -> u64 {
    parts.iter().sum()
}

// ---- unique names ----

#[test]
fn unq_7_old_and_new_work_of_a_name_change_places_in_one_commit_or_not_at_all() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let replace = |request| test.enqueue_unique("name", ExistingWorkPolicy::Replace, request);
    let old = replace(hears::request()).id;
    test.run_until_idle();
    test.fail_at(test.commits() + 1, Fault::Rejected);
    let (manager, new) = (test.manager(), hears::request());
    let failed = test.block_on(manager.enqueue_unique("name", ExistingWorkPolicy::Replace, new.clone())).map(|_| ());
    assert!(matches!(failed, Err(EnqueueError::Store { .. })), "{failed:?}");
    test.advance(MINUTE);
    assert_eq!((test.state_of(old), test.find(new.id()), take(&log)), (WorkState::Running, None, Vec::new()));

    let commits = test.commits();
    let new = replace(new).id;
    assert_eq!((test.commits(), test.find(old)), (commits + 1, None));
    test.run_until_idle();
    assert_eq!((take(&log), test.state_of(new)), (vec![StopReason::Replaced.to_string()], WorkState::Running));
    bystanders.are_untouched(&test);
}

// ---- cancellation ----

#[worker]
async fn hears(#[state] log: Log, cx: &WorkContext) -> Result<(), WorkError> {
    let stopped = cx.until_stopped().await;
    log.lock().unwrap().push(stopped.reason.to_string());
    Err(stopped.into())
}

#[test]
fn can_2_a_worker_hears_of_its_cancellation_once_it_is_stored_and_not_before() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(hears::request());
    test.run_until_idle();
    test.fail_at(test.commits() + 1, Fault::Rejected);
    let manager = test.manager();
    let failed = test.block_on(manager.cancel(WorkSelector::id(id))).unwrap_err();
    assert!(matches!(failed, ActionError::Store { done: 0, .. }), "{failed}");
    test.advance(MINUTE);
    assert_eq!((test.state_of(id), take(&log)), (WorkState::Running, Vec::new()));

    assert_eq!(test.cancel(WorkSelector::id(id)), 1);
    assert_eq!(test.state_of(id), WorkState::Cancelled);
    test.run_until_idle();
    assert_eq!(take(&log), [StopReason::CancelledByApp.to_string()]);
    bystanders.are_untouched(&test);
}

/// Says why it is to stop when it hears of it and when it is let go, and that it is dropped.
#[worker]
async fn reads_its_reason(cx: &WorkContext, #[state] log: Log, #[state] go: Signal) {
    let _last = LastWord(log.clone());
    cx.until_stopped().await;
    log.lock().unwrap().push(cx.stop_reason().unwrap().to_string());
    go.wait().await;
    log.lock().unwrap().push(cx.stop_reason().unwrap().to_string());
    std::future::pending::<()>().await;
}

struct LastWord(Log);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("dropped".to_owned());
    }
}

#[test]
fn can_6_a_run_can_read_why_it_is_stopped_before_it_is_dropped_and_the_first_stop_wins() {
    let (test, log, go) = deaf_driver();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(reads_its_reason::request().constraints(charging()));
    test.run_until_idle();
    test.lose(ConstraintKind::Charging);
    test.advance(secs(5));
    let reason = StopReason::ConstraintCharging.to_string();
    assert_eq!(take(&log), std::slice::from_ref(&reason));
    assert_eq!(test.cancel(WorkSelector::id(id)), 1);
    go.set();
    test.run_until_idle();
    assert_eq!(take(&log), [reason]);
    test.advance(secs(10));
    assert_eq!((take(&log), test.state_of(id)), (vec!["dropped".to_owned()], WorkState::Cancelled));
    bystanders.are_untouched(&test);
}

// ---- constraints ----

#[test]
fn con_2_a_loss_that_is_said_again_is_no_new_loss() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(takes::request(3600).constraints(charging()));
    test.run_until_idle();
    for _ in 0..4 {
        test.lose(ConstraintKind::Charging);
        test.advance(secs(1));
    }
    assert_eq!(test.state_of(id), WorkState::Running);
    test.lose(ConstraintKind::Charging);
    test.advance(secs(1));
    assert_eq!(test.state_of(id), WorkState::Enqueued, "five seconds after the first time");
    bystanders.are_untouched(&test);
}

// ---- slots ----

fn one_slot() -> TestDriver {
    let mut limits = TestDriver::default_limits();
    limits.async_slots = 1;
    TestDriver::new().limits(limits)
}

/// Some are started by the commit that stores them, some by a claim, some after a delay: each once.
#[test]
fn sch_1_each_work_is_run_once_whoever_starts_it() {
    let crowd = Crowd::default();
    let go = Signal::new();
    go.set();
    let test = TestDriver::new().state(crowd.clone()).state(go);
    let bystanders = Bystanders::of(&test);
    let delays = (0..100_u64).map(|number| secs(number % 3));
    let works: Vec<_> = delays.map(|delay| test.enqueue(alone::request().initial_delay(delay))).collect();
    test.advance(MINUTE);
    assert!(works.iter().all(|id| test.state_of(*id) == WorkState::Succeeded && test.info(*id).runs == 1));
    assert_eq!(crowd.runs.load(Ordering::SeqCst), works.len());
    bystanders.are_untouched(&test);
}

#[worker]
async fn logs(number: u32, #[state] log: Log, cx: &WorkContext) -> Result<(), WorkError> {
    log.lock().unwrap().push(number.to_string());
    cx.sleep(secs(1)).await?;
    Ok(())
}

#[worker]
async fn logs_too(number: u32, #[state] log: Log, cx: &WorkContext) -> Result<(), WorkError> {
    log.lock().unwrap().push(number.to_string());
    cx.sleep(secs(1)).await?;
    Ok(())
}

/// Of one worker and of several, at once and after a delay.
#[test]
fn sch_2_and_sch_6_greater_priority_goes_first_and_equals_in_the_order_of_their_enqueue() {
    for (every, delay) in [(1, secs(0)), (2, secs(0)), (2, secs(10))] {
        let log = Log::default();
        let test = one_slot().state(log.clone());
        let bystanders = Bystanders::of(&test);
        test.enqueue(takes::request(5).initial_delay(delay));
        for (number, priority) in [(1, 0), (2, 0), (3, 5), (4, -5), (5, 5), (6, 0), (7, -5)] {
            let request = if number % every == 0 { logs::request(number) } else { logs_too::request(number) };
            test.enqueue(request.priority(priority).initial_delay(delay));
        }
        test.advance(secs(30));
        let first = if delay.is_zero() { "the slot was taken" } else { "the greatest goes first" };
        assert_eq!(take(&log), ["3", "5", "1", "2", "6", "4", "7"], "{first}");
        bystanders.are_untouched(&test);
    }
}

// ---- start and recovery ----

/// The store's time goes on where its last commit was, so that the work waits for its stated delay again at the most.
#[test]
fn rec_8_a_clock_that_was_set_back_while_the_program_was_off_delays_nothing() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let delayed = test.enqueue(takes::request(0).initial_delay(HOUR));
    test.advance(30 * MINUTE);
    test.clock().set_wall(test.clock().wall() - DAY);
    test.crash_and_restart();
    test.advance(30 * MINUTE - MILLI);
    assert_eq!(test.state_of(delayed), WorkState::Enqueued);
    test.advance(31 * MINUTE);
    assert_eq!(test.state_of(delayed), WorkState::Succeeded);
    bystanders.are_untouched(&test);
}

// ---- observation ----

#[test]
fn obs_1_the_works_of_a_chain_are_watched_together() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let chain = test.manager().begin_with([takes::request(1), takes::request(2)]).then(collects::request());
    let chain = test.block_on(chain.enqueue()).unwrap();
    let mut watched = test.manager().watch(chain.query());
    let mut states = || {
        let works = test.block_on(watched.next()).unwrap();
        chain.ids.iter().map(|id| works.iter().find(|info| info.id == *id).unwrap().state).collect::<Vec<_>>()
    };
    use WorkState::{Blocked, Running, Succeeded};
    test.run_until_idle();
    assert_eq!(states(), [Running, Running, Blocked]);
    test.advance(secs(1));
    assert_eq!(states(), [Succeeded, Running, Blocked]);
    test.advance(secs(1));
    assert_eq!(states(), [Succeeded; 3]);
    bystanders.are_untouched(&test);
}

// ---- the test driver ----

#[test]
fn tst_5_a_test_moves_time_loses_a_constraint_in_mid_run_and_kills_the_process() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(takes::request(60).constraints(charging()).initial_delay(HOUR));
    test.advance(HOUR);
    assert_eq!(test.state_of(id), WorkState::Running);
    test.lose(ConstraintKind::Charging);
    test.advance(secs(5));
    assert_eq!(test.info(id).stop_reason, Some(StopReason::ConstraintCharging));
    test.meet(ConstraintKind::Charging);
    test.advance(secs(10));
    test.crash_and_restart();
    test.run_until_idle();
    assert_eq!((test.info(id).deaths, test.state_of(id)), (1, WorkState::Running));
    test.advance(MINUTE);
    let info = test.info(id);
    assert_eq!((info.state, info.runs, info.interruptions), (WorkState::Succeeded, 3, 1));
    bystanders.are_untouched(&test);
}
