//! Clocks that are set back, set forward, or stand still; and a year of periods.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Bystanders, DAY, HOUR, MINUTE, secs};
use workman_core::{Clock, WorkContext, WorkError, WorkState, worker};
use workman_testing::{TestDriver, VirtualClock};

type Runs = Arc<Mutex<Vec<Duration>>>;

/// Notes when it ran, on the clock that nobody can set.
#[worker]
async fn noted(#[state] clock: VirtualClock, #[state] runs: Runs) {
    runs.lock().unwrap().push(clock.monotonic());
}

fn driver() -> (TestDriver, Runs) {
    let runs = Runs::default();
    let test = TestDriver::new();
    let clock = test.clock().clone();
    (test.state(clock).state(runs.clone()), runs)
}

fn seconds(runs: &Runs) -> Vec<u64> {
    std::mem::take(&mut *runs.lock().unwrap()).iter().map(Duration::as_secs).collect()
}

/// T1, G13: nothing waits longer than its stated delay, and nothing runs twice.
#[test]
fn rec_8_a_clock_that_is_set_back_delays_nothing_and_repeats_nothing() {
    for back in [secs(1), HOUR, 365 * DAY] {
        let (test, runs) = driver();
        let bystanders = Bystanders::of(&test);
        test.enqueue(noted::request().initial_delay(HOUR));
        let periodic = test.enqueue_periodic(noted::periodic(HOUR));
        test.run_until_idle();
        for _ in 0..4 {
            test.advance(30 * MINUTE);
            test.clock().set_wall(test.clock().wall() - back);
        }
        // Store time stands still where the wall clock went back by less than two seconds, and jumps on otherwise.
        test.advance(2 * HOUR + MINUTE);
        let ran = seconds(&runs);
        let wanted = [0, 3600, 3600, 7200, 10_800, 14_400];
        assert_eq!(ran.len(), wanted.len(), "{ran:?} after {back:?}");
        for (ran, wanted) in ran.iter().zip(wanted) {
            assert!(ran.abs_diff(wanted) <= 60, "{ran} instead of {wanted}, set back by {back:?}");
        }
        assert_eq!(test.info(periodic).periods, 5);
        bystanders.are_untouched(&test);
    }
}

/// T2: a forward jump is believed, and what was missed is made up for once.
#[test]
fn per_3_a_clock_that_is_set_forward_runs_what_is_due_once() {
    let (test, runs) = driver();
    let bystanders = Bystanders::of(&test);
    let once = test.enqueue(noted::request().initial_delay(12 * HOUR));
    let periodic = test.enqueue_periodic(noted::periodic(HOUR));
    test.run_until_idle();
    test.clock().set_wall(test.clock().wall() + 24 * HOUR);
    test.advance(MINUTE);
    assert_eq!(seconds(&runs), [0, 60, 60], "within a minute, and no burst");
    assert_eq!((test.state_of(once), test.info(periodic).periods), (WorkState::Succeeded, 2));
    bystanders.are_untouched(&test);
}

#[worker]
async fn naps(cx: &WorkContext, #[state] clock: VirtualClock, #[state] runs: Runs) -> Result<(), WorkError> {
    cx.sleep(HOUR).await?;
    runs.lock().unwrap().push(clock.monotonic());
    Ok(())
}

/// T4: after a suspend everything that is overdue runs within a minute, and a sleep is over when the wall clock says so.
#[test]
fn rec_2_overdue_work_starts_within_a_minute_after_a_suspend() {
    let (test, runs) = driver();
    let bystanders = Bystanders::of(&test);
    test.enqueue(noted::request().initial_delay(4 * HOUR));
    test.enqueue(naps::request());
    test.advance(MINUTE);
    test.clock().suspend(8 * HOUR);
    test.advance(MINUTE);
    assert_eq!(seconds(&runs), [120, 120]);
    bystanders.are_untouched(&test);
}

/// PER-3: the next period begins one interval after the completion of the one before.
#[test]
fn per_3_a_period_begins_one_interval_after_the_last_completed() {
    let (test, runs) = driver();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue_periodic(noted::periodic(15 * MINUTE).initial_delay(MINUTE));
    test.advance(HOUR);
    assert_eq!(seconds(&runs), [60, 960, 1860, 2760]);
    assert_eq!((test.info(id).periods, test.info(id).state), (4, WorkState::Enqueued));
    bystanders.are_untouched(&test);
}

#[worker]
async fn fails_periodically(cx: &WorkContext, #[state] counter: Arc<AtomicU64>) -> Result<(), String> {
    counter.fetch_add(1, Ordering::Relaxed);
    Err(format!("attempt {}", cx.attempt()))
}

/// Rule 18: retries stay inside their period, and a series never ends by failing.
#[test]
fn sm_7_and_per_5_a_failing_series_goes_on_at_its_regular_times() {
    let counter = Arc::new(AtomicU64::new(0));
    let test = TestDriver::new().state(counter.clone());
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue_periodic(fails_periodically::periodic(15 * MINUTE));
    test.advance(24 * HOUR - secs(1));
    let info = test.info(id);
    assert_eq!((info.state, info.periods), (WorkState::Enqueued, 96), "attempts of a period end before the next");
    assert_eq!(counter.load(Ordering::Relaxed), 96 * 5, "at 0, 30, 90, 210 and 450 seconds of each period");
    bystanders.are_untouched(&test);
}

#[worker]
async fn counted(#[state] counter: Arc<AtomicU64>) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Four works every 15 minutes for this long: each period runs once, at its time.
fn periods_of(length: Duration) {
    let counter = Arc::new(AtomicU64::new(0));
    let test = TestDriver::new().state(counter.clone());
    let works: Vec<_> = (0..4).map(|_| test.enqueue_periodic(counted::periodic(15 * MINUTE))).collect();
    test.advance(length - secs(1));
    let periods = length.as_secs() / 900;
    for id in works {
        assert_eq!(test.info(id).periods, periods);
    }
    assert_eq!(counter.load(Ordering::Relaxed), 4 * periods);
}

#[test]
fn per_3_a_week_of_quarter_hours_runs_each_period_once() {
    periods_of(7 * DAY);
}

/// 140,160 runs. Without optimisation it takes minutes, so only optimised tests have it.
#[cfg(not(debug_assertions))]
#[test]
fn a_year_of_quarter_hours_runs_each_period_once() {
    periods_of(365 * DAY);
}
