//! An attempt that takes too long is asked to stop, then given up, and has failed.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::LazyLock;
use std::time::Duration;

use support::{Bystanders, HOUR, MINUTE, secs};
use workman_core::{
    AttemptEnd, Backoff, ConstraintKind, Constraints, NetworkType, StopReason, WorkContext, WorkError, WorkId,
    WorkSelector, WorkState, worker,
};
use workman_testing::{Signal, TestDriver};

const GRACE: Duration = secs(10);

/// Runs until it is stopped, and says so.
#[worker(backoff = Backoff::linear(Duration::from_secs(30)))]
async fn sleeps(cx: &WorkContext, length: Duration) -> Result<u32, WorkError> {
    cx.sleep(length).await?;
    Ok(1)
}

/// Takes no notice of being stopped.
#[worker(backoff = Backoff::linear(Duration::from_secs(30)))]
async fn hangs(#[state] never: Signal) -> Result<(), WorkError> {
    never.wait().await;
    Ok(())
}

#[worker]
fn sleeps_blocking(cx: &WorkContext) -> Result<(), WorkError> {
    Ok(cx.sleep_blocking(HOUR)?)
}

/// Ends well a little after it was told to stop.
#[worker]
async fn winds_up(cx: &WorkContext) -> Result<u32, WorkError> {
    let stopped = cx.until_stopped().await;
    assert_eq!(stopped.reason, StopReason::Timeout);
    Ok(7)
}

/// Fails once it was told to stop, by an error of its own.
#[worker]
async fn despairs(cx: &WorkContext) -> Result<(), WorkError> {
    while cx.stop_reason().is_none() {
        futures::future::select(Box::pin(cx.until_stopped()), Box::pin(std::future::pending::<()>())).await;
    }
    Err(WorkError::permanent("an error of its own"))
}

fn timed_out(end: &AttemptEnd) -> bool {
    matches!(end, AttemptEnd::Failed { error } if error.message.contains("did not end within"))
}

#[test]
fn sch_4_an_attempt_that_ends_in_time_is_not_stopped_and_without_a_timeout_none_is() {
    let test = TestDriver::new();
    let in_time = test.enqueue(sleeps::request(MINUTE - secs(1)).timeout(MINUTE));
    let unlimited = test.enqueue(sleeps::request(100 * HOUR));
    test.advance(100 * HOUR);
    assert_eq!((test.state_of(unlimited), test.info(unlimited).runs), (WorkState::Succeeded, 1));
    // The one in time was kept for a day, and has gone since.
    assert!(test.find(in_time).is_none());
}

#[test]
fn an_async_worker_that_takes_no_notice_is_dropped_after_the_grace_period() {
    let test = TestDriver::new().state(Signal::new());
    let id = test.enqueue(hangs::request().timeout(MINUTE));
    test.advance(MINUTE + GRACE - secs(1));
    assert_eq!(test.state_of(id), WorkState::Running);
    test.advance(secs(1));
    let info = test.info(id);
    assert_eq!((info.state, info.failures, info.stop_reason), (WorkState::Enqueued, 1, Some(StopReason::Timeout)));
    test.advance(secs(30));
    assert_eq!(test.info(id).runs, 2);
}

#[test]
fn a_blocking_worker_that_looks_is_stopped() {
    let test = TestDriver::new();
    let id = test.enqueue(sleeps_blocking::request().timeout(MINUTE));
    test.advance(MINUTE);
    assert_eq!((test.state_of(id), test.info(id).failures), (WorkState::Enqueued, 1));
}

#[test]
fn a_success_within_the_grace_period_counts() {
    let test = TestDriver::new();
    let id = test.enqueue(winds_up::request().timeout(MINUTE));
    test.advance(MINUTE);
    assert_eq!(test.output::<u32>(id), 7);
    assert_eq!(test.info(id).failures, 0);
}

#[test]
fn a_permanent_error_after_the_timeout_is_not_tried_again_and_its_text_is_kept() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(despairs::request().timeout(MINUTE));
    test.advance(MINUTE);
    let info = test.info(id);
    assert_eq!((info.state, info.failures, info.stop_reason), (WorkState::Failed, 1, Some(StopReason::Timeout)));
    assert!(timed_out(&info.attempts[0].end), "{info:?}");
    let AttemptEnd::Failed { error } = &info.attempts[0].end else { panic!("{info:?}") };
    assert_eq!(error.sources, ["an error of its own"]);
    bystanders.are_untouched(&test);
}

#[test]
fn a_worker_that_only_says_that_it_was_stopped_adds_nothing_to_the_text_of_the_timeout() {
    let test = TestDriver::new();
    let id = test.enqueue(sleeps::request(HOUR).timeout(MINUTE));
    test.advance(MINUTE);
    let AttemptEnd::Failed { error } = test.info(id).attempts.remove(0).end else { panic!("it took too long") };
    assert_eq!(error.to_string(), "did not end within 60s, the timeout of an attempt");
}

#[test]
fn can_6_a_stop_for_another_reason_that_came_first_stays_that() {
    let test = TestDriver::new().state(Signal::new());
    let lost = test
        .enqueue(sleeps::request(HOUR).timeout(MINUTE).constraints(Constraints::new().network(NetworkType::Connected)));
    let cancelled = test.enqueue(hangs::request().timeout(MINUTE));
    test.advance(MINUTE - secs(5));
    test.lose(ConstraintKind::Network);
    test.cancel(WorkSelector::id(cancelled));
    test.advance(MINUTE);
    let info = test.info(lost);
    assert_eq!((info.failures, info.interruptions), (0, 1));
    assert_eq!(info.stop_reason, Some(StopReason::ConstraintConnectivity));
    let info = test.info(cancelled);
    assert_eq!((info.state, info.failures), (WorkState::Cancelled, 0));
    assert_eq!(info.stop_reason, Some(StopReason::CancelledByApp));
}

#[test]
fn each_attempt_has_its_own_time_and_one_that_was_interrupted_begins_anew() {
    let test = TestDriver::new();
    let id = test.enqueue(sleeps::request(HOUR).timeout(MINUTE));
    test.advance(secs(40));
    test.restart();
    test.advance(secs(40));
    assert_eq!((test.state_of(id), test.info(id).failures), (WorkState::Running, 0));
    test.advance(secs(20));
    assert_eq!(test.info(id).failures, 1);
}

#[test]
fn a_period_that_takes_too_long_fails_and_the_series_goes_on() {
    let test = TestDriver::new();
    let id = test.enqueue_periodic(sleeps::periodic(30 * HOUR, HOUR).timeout(MINUTE).max_attempts(1));
    test.advance(2 * HOUR);
    let info = test.info(id);
    assert_eq!((info.state, info.runs, info.periods), (WorkState::Running, 3, 2));
}

#[test]
fn a_timeout_of_centuries_is_none() {
    let test = TestDriver::new();
    let id = test.enqueue(sleeps::request(HOUR).timeout(300 * 365 * 24 * HOUR));
    test.advance(HOUR);
    assert_eq!(test.state_of(id), WorkState::Succeeded);
}

/// Ten seconds for each failed attempt; the third is one too many for it.
fn growing(failed_attempts: u32) -> Duration {
    assert!(failed_attempts < 3, "nobody asks for more");
    failed_attempts * secs(10)
}

#[worker(backoff_fn = growing, max_attempts = 4, timeout = secs(60))]
async fn grows(cx: &WorkContext, failures: u32) -> Result<(), WorkError> {
    if cx.attempt() < failures {
        return Err("again".into());
    }
    Ok(cx.sleep(HOUR).await?)
}

/// When the work runs again, in seconds from the end of its last attempt.
fn wait(test: &TestDriver, id: WorkId) -> u64 {
    let info = test.info(id);
    info.next_run.unwrap().since(info.attempts.last().unwrap().ended).as_secs()
}

#[test]
fn bo_2_a_backoff_function_of_the_worker_counts_after_each_failed_attempt_timeouts_included() {
    let test = TestDriver::new();
    let id = test.enqueue(grows::request(1));
    test.run_until_idle();
    assert_eq!(wait(&test, id), 10);
    test.advance(secs(10) + MINUTE);
    assert_eq!(
        (test.info(id).failures, wait(&test, id)),
        (2, 20),
        "the worker's own timeout, without a word of the request"
    );
    test.advance(secs(20) + MINUTE);
    assert_eq!((test.info(id).failures, wait(&test, id)), (3, 120), "it panicked, and the default doubles");
}

#[test]
fn what_a_request_says_beats_the_backoff_function_of_its_worker() {
    let test = TestDriver::new();
    let id = test.enqueue(grows::request(9).backoff(Backoff::linear(secs(7))));
    test.run_until_idle();
    assert_eq!(wait(&test, id), 7);
}

/// A function that takes its time, until it is told to go on.
static GO: LazyLock<Signal> = LazyLock::new(Signal::new);

fn thinks(_: u32) -> Duration {
    GO.wait_blocking();
    HOUR
}

#[worker(backoff_fn = thinks)]
fn fails_and_thinks() -> Result<(), WorkError> {
    Err("no".into())
}

#[test]
fn a_slow_backoff_function_does_not_hold_up_other_work() {
    let test = TestDriver::new();
    let slow = test.enqueue(fails_and_thinks::request());
    test.run_until_idle();
    let other = test.enqueue(sleeps::request(MINUTE));
    test.advance(MINUTE);
    assert_eq!((test.state_of(slow), test.state_of(other)), (WorkState::Running, WorkState::Succeeded));
    GO.set();
    test.run_until_idle();
    assert_eq!((test.info(slow).failures, wait(&test, slow)), (1, 3600));
}

fn quarters(count: u32) -> Duration {
    count * 15 * MINUTE
}

#[worker(backoff_fn = quarters, timeout = MINUTE)]
fn hangs_in_quarters(#[state] go: Signal) {
    go.wait_blocking();
}

#[test]
fn bo_2_the_backoff_function_of_a_worker_that_was_given_up_counts_too() {
    let go = Signal::new();
    let test = TestDriver::new().state(go.clone());
    let id = test.enqueue(hangs_in_quarters::request());
    test.advance(MINUTE + GRACE);
    assert_eq!((test.info(id).failures, wait(&test, id)), (1, 900));
    go.set();
}

#[worker(backoff_fn = quarters)]
async fn runs_in_quarters(cx: &WorkContext, fails: u32) -> Result<(), WorkError> {
    if cx.attempt() < fails {
        return Err(WorkError::retry_after(Duration::ZERO));
    }
    Ok(cx.sleep(HOUR).await?)
}

#[test]
fn bo_6_an_interruption_by_the_system_waits_as_the_backoff_function_says_where_the_request_asks_for_a_wait() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let charging = Constraints::new().requires_charging();
    let asks = runs_in_quarters::request(1).constraints(charging.clone()).backoff_for_system_interruptions();
    let (asks, does_not) = (test.enqueue(asks), test.enqueue(runs_in_quarters::request(1).constraints(charging)));
    test.advance(MINUTE);
    for interruptions in 1..3 {
        test.lose(ConstraintKind::Charging);
        test.advance(secs(5));
        let info = test.info(asks);
        assert_eq!((info.failures, info.interruptions), (1, interruptions));
        let ended = info.attempts.last().unwrap().ended;
        let due = ended + quarters(1 + interruptions);
        assert_eq!(info.next_run, Some(due));
        let info = test.info(does_not);
        let pause = secs(if interruptions == 1 { 5 } else { 10 });
        assert_eq!(info.next_run, Some(info.attempts.last().unwrap().ended + pause), "as after any lost constraint");
        test.meet(ConstraintKind::Charging);
        test.advance(due.since(ended));
        assert_eq!(test.state_of(asks), WorkState::Running);
    }
    bystanders.are_untouched(&test);
}
