//! WorkManager's rules by their ids, where no other test is about them: states, dependents, retries, times, cancellation, constraints,
//! slots, recovery, observation.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use support::{Bystanders, DAY, HOUR, MINUTE, ends, secs};
use workman_core::{
    ActionError, AttemptEnd, Backoff, Clock, ConstraintKind, Constraints, EnqueueError, Enqueued, ExistingWorkPolicy,
    NoteError, Nothing, Request, StopReason, WorkContext, WorkError, WorkId, WorkInfo, WorkManager, WorkQuery,
    WorkSelector, WorkState, worker,
};
use workman_testing::{Fault, Signal, TestDriver, VirtualClock};

const MILLI: Duration = Duration::from_millis(1);
const LONG: Duration = secs(365 * 24 * 3600);

/// What workers said.
type Log = Arc<Mutex<Vec<String>>>;

fn driver() -> (TestDriver, Log) {
    let log = Log::default();
    (TestDriver::new().state(log.clone()), log)
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

fn after_start(length: Duration) -> workman_core::Timestamp {
    VirtualClock::START + length
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
async fn ends_in(how: String, cx: &WorkContext) -> Result<String, WorkError> {
    match how.as_str() {
        "error" if cx.attempt() == 0 => Err("once".into()),
        "permanent" => Err(WorkError::permanent("gone")),
        "panic" => panic!("at once"),
        _ => Ok(how),
    }
}

#[worker]
async fn takes(seconds: u64, cx: &WorkContext) -> Result<u64, WorkError> {
    cx.sleep(secs(seconds)).await?;
    Ok(seconds)
}

/// Deaf to its stop: it ends well when the test lets it go.
#[worker]
async fn deaf(#[state] go: Signal, #[state] log: Log) -> String {
    go.wait().await;
    log.lock().unwrap().push("ends well".to_owned());
    "well".to_owned()
}

#[worker]
fn deaf_blocking(#[state] go: Signal, #[state] log: Log) -> String {
    go.wait_blocking();
    log.lock().unwrap().push("ends well".to_owned());
    "well".to_owned()
}

fn deaf_driver() -> (TestDriver, Log, Signal) {
    let go = Signal::new();
    let (test, log) = driver();
    (test.state(go.clone()), log, go)
}

// ---- states ----

#[test]
fn sm_1_finished_work_is_moved_by_nothing() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let keep = |request: Request<Nothing, String>| test.enqueue(request.keep_results_for_at_least(LONG));
    let works = [
        (keep(ends_in::request("well".into())), WorkState::Succeeded),
        (keep(ends_in::request("permanent".into())), WorkState::Failed),
        (keep(ends_in::request("late".into()).initial_delay(HOUR)), WorkState::Cancelled),
    ];
    test.run_until_idle();
    assert_eq!(test.cancel(WorkSelector::id(works[2].0)), 1);
    let before = works.map(|(id, _)| test.info(id));
    assert_eq!(before.each_ref().map(|info| info.state), works.map(|(_, state)| state));

    let manager = test.manager();
    for (id, _) in works {
        assert_eq!(test.cancel(WorkSelector::id(id)), 0);
        let refused = test.block_on(manager.retry(id)).unwrap_err();
        assert!(matches!(refused, ActionError::Refused(_)), "{refused}");
    }
    test.crash_and_restart();
    test.advance(DAY);
    test.restart();
    test.advance(DAY);
    assert_eq!(works.map(|(id, _)| test.info(id)), before);
    bystanders.are_untouched(&test);
}

#[test]
fn sm_2_and_tst_4_nothing_starts_a_millisecond_before_its_time() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let delayed = test.enqueue(ends_in::request("late".into()).initial_delay(MINUTE));
    let backed_off = test.enqueue(fails::request(1).backoff(Backoff::linear(MINUTE)));
    let periodic = test.enqueue_periodic(ends_in::periodic("again".into(), MINUTE));
    test.advance(MINUTE - MILLI);
    // Other work is claimed now, and what is due in a millisecond is no part of it.
    test.enqueue(ends_in::request("decoy".into()));
    test.run_until_idle();
    let runs = || [delayed, backed_off, periodic].map(|id| test.info(id).runs);
    assert_eq!(runs(), [0, 1, 1]);
    test.advance(MILLI);
    assert_eq!(runs(), [1, 2, 2]);
    bystanders.are_untouched(&test);
}

/// What a worker gives after its work was cancelled is dropped, however long it takes.
#[test]
fn sm_4_and_can_3_a_cancelled_run_that_ends_well_stays_cancelled() {
    for request in [deaf::request(), deaf_blocking::request()] {
        let (test, log, go) = deaf_driver();
        let bystanders = Bystanders::of(&test);
        let id = test.enqueue(request);
        test.run_until_idle();
        assert_eq!(test.cancel(WorkSelector::id(id)), 1);
        let before = test.info(id);
        assert_eq!((before.state, before.stop_reason), (WorkState::Cancelled, Some(StopReason::CancelledByApp)));
        test.advance(secs(5));
        assert_eq!(take(&log), Vec::<String>::new(), "it goes on, since it is deaf");
        go.set();
        test.run_until_idle();
        assert_eq!(take(&log), ["ends well"]);
        test.advance(HOUR);
        assert_eq!((test.info(id), &before.output), (before.clone(), &None));
        bystanders.are_untouched(&test);
    }
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

#[test]
fn sm_7_no_failure_of_any_kind_ends_a_series() {
    for how in ["error", "permanent", "panic"] {
        let test = TestDriver::new();
        let bystanders = Bystanders::of(&test);
        let id = test.enqueue_periodic(ends_in::periodic(how.into(), HOUR).max_attempts(1));
        test.run_until_idle();
        for period in 1..=3 {
            let info = test.info(id);
            assert_eq!((info.state, info.periods, info.failures), (WorkState::Enqueued, period, 0), "{how}");
            assert_eq!(info.next_run, Some(after_start(HOUR * u32::try_from(period).unwrap())), "{how}");
            test.advance(HOUR);
        }
        bystanders.are_untouched(&test);
    }
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
async fn tells(how: String, cx: &WorkContext, #[state] log: Log) -> Result<(), WorkError> {
    cx.set_progress(&1)?;
    let _ = cx.sleep(secs(10)).await;
    match how.as_str() {
        "permanent" => Err(WorkError::permanent("gone")),
        "stopped" => {
            let late = cx.set_progress(&2);
            log.lock().unwrap().push(format!("{}", matches!(late, Err(NoteError::Stopped(_)))));
            Ok(())
        }
        _ => Ok(()),
    }
}

#[test]
fn sm_9_progress_is_seen_while_the_work_runs_and_is_gone_when_it_finishes() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let works = ["well", "permanent", "stopped"].map(|how| test.enqueue(tells::request(how.into())));
    test.advance(secs(5));
    let progress = |id| test.info(id).progress.map(|progress| progress.decode::<u32>().unwrap());
    assert_eq!(works.map(progress), [Some(1); 3]);
    assert_eq!(test.cancel(WorkSelector::id(works[2])), 1);
    assert_eq!(progress(works[2]), None, "cancelled");
    test.advance(secs(5));
    assert_eq!(take(&log), ["true"], "a run that is over can say nothing more");
    use WorkState::{Cancelled, Failed, Succeeded};
    assert_eq!(works.map(|id| test.state_of(id)), [Succeeded, Failed, Cancelled]);
    assert_eq!(works.map(progress), [None; 3]);
    bystanders.are_untouched(&test);
}

#[test]
fn sm_10_a_stop_after_a_cancellation_does_not_bring_the_work_back() {
    let (test, _log, go) = deaf_driver();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(deaf::request().constraints(charging()).backoff_for_system_interruptions());
    test.run_until_idle();
    assert_eq!(test.cancel(WorkSelector::id(id)), 1);
    test.lose(ConstraintKind::Charging);
    test.advance(secs(6));
    go.set();
    test.restart();
    test.meet(ConstraintKind::Charging);
    test.advance(HOUR);
    let info = test.info(id);
    assert_eq!((info.state, info.runs, info.interruptions), (WorkState::Cancelled, 1, 0));
    assert_eq!(info.stop_reason, Some(StopReason::CancelledByApp));
    bystanders.are_untouched(&test);
}

// ---- dependents ----

#[worker]
async fn collects(#[prerequisites] parts: Vec<u64>) -> u64 {
    parts.iter().sum()
}

/// A work with two prerequisites, of which one ends after three seconds and one after ten.
fn joined(test: &TestDriver, quick: Request<Nothing, u64>) -> [WorkId; 3] {
    let chain = test.manager().begin_with([quick, takes::request(10)]).then(collects::request());
    test.block_on(chain.enqueue()).unwrap().ids.try_into().unwrap()
}

#[worker]
async fn gives_up(seconds: u64, cx: &WorkContext) -> Result<u64, WorkError> {
    cx.sleep(secs(seconds)).await?;
    Err(WorkError::permanent("gone"))
}

#[test]
fn dep_2_and_dep_3_dependents_that_have_ended_stay_as_they_ended() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let [first, second, after] = joined(&test, gives_up::request(3));
    assert_eq!(test.cancel(WorkSelector::id(after)), 1);
    test.advance(secs(3));
    use WorkState::{Cancelled, Failed, Running, Succeeded};
    assert_eq!([first, second, after].map(|id| test.state_of(id)), [Failed, Running, Cancelled]);

    let [first, second, after] = joined(&test, gives_up::request(3));
    test.advance(secs(3));
    assert_eq!(test.cancel(WorkSelector::id(second)), 1, "the work after it has failed already");
    assert_eq!([first, second, after].map(|id| test.state_of(id)), [Failed, Cancelled, Failed]);

    let [first, second, after] = joined(&test, takes::request(3));
    test.advance(secs(5));
    assert_eq!(test.cancel(WorkSelector::id(second)), 2);
    assert_eq!([first, second, after].map(|id| test.state_of(id)), [Succeeded, Cancelled, Cancelled]);
    bystanders.are_untouched(&test);
}

// ---- retries ----

#[test]
fn bo_3_a_work_gives_up_after_twenty_failed_attempts_unless_it_says_otherwise() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let keep = |request: Request<Nothing, u32>| test.enqueue(request.keep_results_for_at_least(LONG));
    let (ends, goes_on) = (keep(fails::request(100)), keep(fails::request(100).unlimited_attempts()));
    test.advance(10 * DAY);
    let info = test.info(ends);
    assert_eq!((info.state, info.runs, info.failures), (WorkState::Failed, 20, 20));
    let info = test.info(goes_on);
    assert_eq!(info.state, WorkState::Enqueued);
    assert!(info.failures > 20, "{} attempts", info.failures);
    bystanders.are_untouched(&test);
}

#[worker]
async fn fails_once_a_period(cx: &WorkContext, #[state] log: Log) -> Result<(), String> {
    log.lock().unwrap().push(cx.attempt().to_string());
    if cx.attempt() == 0 { Err("once".into()) } else { Ok(()) }
}

#[test]
fn bo_4_and_bo_5_the_count_of_attempts_begins_at_0_in_each_period() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    test.enqueue_periodic(fails_once_a_period::periodic(HOUR));
    test.advance(2 * HOUR + MINUTE);
    assert_eq!(take(&log), ["0", "1", "0", "1", "0", "1"]);
    bystanders.are_untouched(&test);
}

#[test]
fn bo_5_and_rec_1_a_death_uses_up_no_attempt_and_the_work_goes_on_at_once() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let running = test.enqueue(takes::request(60).max_attempts(1));
    let backed_off = test.enqueue(fails::request(1).backoff(Backoff::linear(MINUTE)));
    test.advance(secs(30));
    let waits = test.info(backed_off);
    test.crash_and_restart();
    let info = test.info(running);
    assert_eq!((info.failures, info.interruptions, info.deaths), (0, 0, 1));
    assert_eq!(test.info(backed_off), waits, "what did not run is left alone");
    test.run_until_idle();
    assert_eq!(test.state_of(running), WorkState::Running);
    test.advance(MINUTE);
    assert_eq!(test.output::<u64>(running), 60);
    assert_eq!(test.output::<u32>(backed_off), 1);
    bystanders.are_untouched(&test);
}

/// The end of the program is no interruption by the system.
#[test]
fn bo_6_work_that_asks_for_it_backs_off_after_a_stop_by_the_system_and_only_then() {
    let (test, _log) = driver();
    let bystanders = Bystanders::of(&test);
    let request = hears::request().constraints(charging()).backoff(Backoff::linear(MINUTE));
    let id = test.enqueue(request.backoff_for_system_interruptions());
    test.run_until_idle();
    test.restart();
    test.run_until_idle();
    assert_eq!((test.state_of(id), test.info(id).interruptions), (WorkState::Running, 1));
    test.lose(ConstraintKind::Charging);
    test.advance(secs(5));
    test.meet(ConstraintKind::Charging);
    let info = test.info(id);
    assert_eq!((info.state, info.failures, info.interruptions), (WorkState::Enqueued, 0, 2));
    assert_eq!(info.next_run, Some(ends(&info).pop().unwrap() + 2 * MINUTE), "the second interruption");
    test.advance(2 * MINUTE - MILLI);
    assert_eq!(test.state_of(id), WorkState::Enqueued);
    test.advance(MILLI);
    assert_eq!(test.state_of(id), WorkState::Running);
    bystanders.are_untouched(&test);
}

#[test]
fn bo_8_the_initial_delay_plays_no_part_in_a_retry() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(fails::request(1).initial_delay(HOUR).backoff(Backoff::linear(MINUTE)));
    test.advance(HOUR);
    let info = test.info(id);
    assert_eq!((info.failures, info.next_run), (1, Some(after_start(HOUR + MINUTE))));
    test.advance(MINUTE);
    assert_eq!(test.output::<u32>(id), 1);
    bystanders.are_untouched(&test);
}

// ---- the next run ----

#[test]
fn nrt_2_a_backed_off_work_is_due_when_its_last_attempt_ended_plus_its_backoff() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let backoff = Backoff::exponential(MINUTE).ceiling(3 * MINUTE);
    let once = test.enqueue(fails::request(9).initial_delay(secs(10)).backoff(backoff));
    let periodic = test.enqueue_periodic(fails::periodic(9, DAY).initial_delay(secs(10)).backoff(backoff));
    test.advance(secs(10));
    for minutes in [1, 2, 3, 3] {
        for id in [once, periodic] {
            let info = test.info(id);
            assert_eq!(info.next_run, Some(ends(&info).pop().unwrap() + minutes * MINUTE));
        }
        test.advance(minutes * MINUTE);
    }
    bystanders.are_untouched(&test);
}

#[test]
fn nrt_3_a_period_is_due_after_the_delay_and_then_one_interval_after_the_last_completion() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let plain = test.enqueue_periodic(takes::periodic(120, HOUR));
    let delayed = test.enqueue_periodic(takes::periodic(120, HOUR).initial_delay(10 * MINUTE));
    let due = |id| test.info(id).next_run;
    assert_eq!(due(delayed), Some(after_start(10 * MINUTE)));
    test.advance(30 * MINUTE);
    assert_eq!((due(plain), due(delayed)), (Some(after_start(62 * MINUTE)), Some(after_start(72 * MINUTE))));
    bystanders.are_untouched(&test);
}

#[test]
fn nrt_4_a_one_time_work_is_due_its_delay_after_the_enqueue_or_the_release_and_never_while_it_is_blocked() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    test.advance(MINUTE);
    let delayed = test.enqueue(takes::request(0).initial_delay(HOUR));
    assert_eq!(test.info(delayed).next_run, Some(after_start(MINUTE + HOUR)));
    let chain = test.manager().begin_with(takes::request(60)).then(collects::request().initial_delay(HOUR));
    let after = test.block_on(chain.enqueue()).unwrap().ids[1];
    test.run_until_idle();
    assert_eq!(test.info(after).next_run, None);
    test.advance(MINUTE);
    assert_eq!(test.info(after).next_run, Some(after_start(2 * MINUTE + HOUR)));
    bystanders.are_untouched(&test);
}

#[test]
fn per_8_periodic_work_shows_no_output_and_no_success() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue_periodic(ends_in::periodic("well".into(), HOUR));
    for period in 1..=3 {
        test.run_until_idle();
        let info = test.info(id);
        assert_eq!((info.state, info.periods, info.output), (WorkState::Enqueued, period, None));
        assert_eq!(info.attempts.last().map(|attempt| &attempt.end), Some(&AttemptEnd::Succeeded));
        test.advance(HOUR);
    }
    bystanders.are_untouched(&test);
}

// ---- unique names ----

/// The manager of the program, for workers that enqueue.
type Here = Arc<Mutex<Option<WorkManager>>>;

#[worker]
async fn replaces_itself(#[state] here: Here, #[state] log: Log, cx: &WorkContext) -> Result<String, EnqueueError> {
    // A manager that its own workers hold would never end.
    let manager = here.lock().unwrap().take().unwrap();
    let replaced = manager.enqueue_unique("self", ExistingWorkPolicy::Replace, ends_in::request("new".into())).await?;
    let reason = cx.until_stopped().await.reason;
    log.lock().unwrap().push(format!("{} {reason}", replaced.how == Enqueued::Replaced(vec![cx.id()])));
    Ok("old".into())
}

#[test]
fn unq_6_a_worker_that_replaces_itself_is_stopped_and_its_result_is_dropped() {
    let here = Here::default();
    let (test, log) = driver();
    let test = test.state(here.clone());
    let bystanders = Bystanders::of(&test);
    *here.lock().unwrap() = Some(test.manager());
    let old = test.enqueue_unique("self", ExistingWorkPolicy::Keep, replaces_itself::request());
    test.run_until_idle();
    assert_eq!(take(&log), [format!("true {}", StopReason::Replaced)]);
    let holders = test.query(WorkQuery::unique("self"));
    assert_eq!(holders.len(), 1);
    assert_eq!((test.find(old.id), test.output::<String>(holders[0].id)), (None, "new".into()));
    bystanders.are_untouched(&test);
}

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

#[test]
fn can_1_everything_means_each_unfinished_work() {
    let test = TestDriver::new();
    let done = test.enqueue(takes::request(0));
    let running = test.enqueue(takes::request(60));
    let delayed = test.enqueue(takes::request(0).initial_delay(HOUR));
    let periodic = test.enqueue_periodic(takes::periodic(0, HOUR));
    let [first, second, after] = joined(&test, takes::request(3));
    test.run_until_idle();
    assert_eq!(test.cancel(WorkSelector::All), 6);
    test.advance(DAY / 2);
    assert_eq!(test.state_of(done), WorkState::Succeeded);
    for id in [running, delayed, periodic, first, second, after] {
        assert_eq!(test.state_of(id), WorkState::Cancelled);
    }
}

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

// ---- input and output ----

/// What a dependent takes is no copy: it stays with the work that gave it until the dependent starts, whenever that is.
#[test]
fn data_6_an_output_is_read_when_the_dependent_starts() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let chain = test.manager().begin_with(takes::request(7)).then(collects::request().initial_delay(10 * DAY));
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    test.advance(secs(7));
    assert_eq!(test.output::<u64>(ids[0]), 7);
    assert!(test.info(ids[1]).input.decode::<BTreeMap<String, u64>>().unwrap().is_empty());
    test.advance(5 * DAY);
    test.crash_and_restart();
    test.advance(5 * DAY);
    assert_eq!(test.output::<u64>(ids[1]), 7);
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

#[test]
fn con_5_work_whose_constraints_do_not_hold_is_not_started_and_counts_nothing() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    test.lose(ConstraintKind::Charging);
    test.run_until_idle();
    let id = test.enqueue(fails::request(0).max_attempts(1).constraints(charging()));
    test.advance(DAY / 2);
    let info = test.info(id);
    assert_eq!((info.state, info.runs, info.failures, info.interruptions), (WorkState::Enqueued, 0, 0, 0));
    test.meet(ConstraintKind::Charging);
    test.advance(secs(5));
    assert_eq!(test.output::<u32>(id), 0, "its first attempt");
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

#[test]
fn sch_3_work_that_waits_holds_no_slot() {
    let test = one_slot();
    let bystanders = Bystanders::of(&test);
    test.lose(ConstraintKind::Charging);
    test.run_until_idle();
    for number in 0..50 {
        test.enqueue(takes::request(1).initial_delay(HOUR + secs(number)).priority(9));
        test.enqueue(takes::request(1).constraints(charging()).priority(9));
        test.enqueue(fails::request(1).backoff(Backoff::linear(HOUR)).priority(9));
    }
    test.run_until_idle();
    let id = test.enqueue(takes::request(1));
    test.advance(secs(1));
    assert_eq!(test.output::<u64>(id), 1);
    bystanders.are_untouched(&test);
}

#[test]
fn sch_4_no_work_is_too_many_and_no_run_too_long() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let delayed: Vec<_> = (0..500).map(|_| test.enqueue(takes::request(1).initial_delay(DAY))).collect();
    let long = test.enqueue(takes::request(12 * 3600));
    test.advance(12 * HOUR);
    assert_eq!((test.output::<u64>(long), test.info(long).runs), (12 * 3600, 1));
    test.advance(12 * HOUR + MINUTE * 3);
    assert!(delayed.iter().all(|id| test.state_of(*id) == WorkState::Succeeded));
    bystanders.are_untouched(&test);
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

#[test]
fn rec_6_finished_work_is_kept_from_its_finish_and_not_from_its_enqueue() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let (quick, slow) = (test.enqueue(takes::request(0)), test.enqueue(takes::request(12 * 3600)));
    test.advance(DAY - MINUTE);
    assert!(test.find(quick).is_some());
    test.advance(3 * MINUTE);
    assert!(test.find(quick).is_none() && test.find(slow).is_some());
    test.advance(DAY / 2 - 5 * MINUTE);
    assert!(test.find(slow).is_some());
    test.advance(5 * MINUTE);
    assert!(test.find(slow).is_none());
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

#[test]
fn obs_3_finished_work_is_shown_as_long_as_it_is_stored() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(takes::request(0).tag("mine").keep_results_for_at_least(3 * DAY));
    test.run_until_idle();
    test.restart();
    test.crash_and_restart();
    test.advance(2 * DAY);
    let found: Vec<WorkInfo> = test.query(WorkQuery::tag("mine"));
    assert_eq!(found.iter().map(|info| (info.id, info.state)).collect::<Vec<_>>(), [(id, WorkState::Succeeded)]);
    bystanders.are_untouched(&test);
}

#[test]
fn obs_5_an_empty_list_is_an_error() {
    let test = TestDriver::new();
    let manager = test.manager();
    let error = test.block_on(manager.enqueue_all(Vec::<Request<Nothing, u64>>::new())).map(|_| ()).unwrap_err();
    assert!(matches!(error, EnqueueError::Empty), "{error}");
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
