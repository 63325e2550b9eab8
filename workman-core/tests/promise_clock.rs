//! Clocks that are set back, set forward, or stand still; and a year of periods.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Bystanders, DAY, HOUR, MINUTE, RedbHome, secs};
use workman_core::{Clock, Outcome, Schedule, Timestamp, WorkContext, WorkError, WorkState, worker};
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

/// The monotonic clock of Windows counts the time asleep, those of Linux and macOS do not. There is no jump of one clock against the
/// other then, so nothing is taken for a clock that was set, and no wait is longer for one that was behind.
#[test]
fn rec_2_where_the_monotonic_clock_counts_a_suspend_overdue_work_starts_as_soon_and_no_wait_is_longer() {
    for set_back in [Duration::ZERO, HOUR] {
        on_both_stores("counted", |test, runs| {
            let bystanders = Bystanders::of(&test);
            test.enqueue(noted::request().initial_delay(4 * HOUR));
            test.enqueue(noted::request().initial_delay(10 * HOUR));
            test.enqueue(naps::request());
            test.advance(HOUR / 2);
            back(&test, set_back);
            test.advance(HOUR / 4);
            test.clock().suspend_counted(8 * HOUR);
            test.advance(MINUTE);
            let ran = seconds(&runs);
            assert_eq!(ran.len(), 2, "{ran:?}, {set_back:?}");
            assert!(ran.iter().all(|at| (31_500..=31_560).contains(at)), "{ran:?}, {set_back:?}");
            // The delay of ten hours is over an hour and a quarter after the waking up.
            test.advance(HOUR + 13 * MINUTE);
            assert_eq!(seconds(&runs), [] as [u64; 0], "{set_back:?}");
            test.advance(2 * MINUTE);
            assert_eq!(seconds(&runs).len(), 1, "{set_back:?}");
            bystanders.are_untouched(&test);
        });
    }
}

/// A driver on each of the two stores.
fn on_both_stores(name: &str, check: impl Fn(TestDriver, Runs)) {
    let (test, runs) = driver();
    check(test, runs);
    let (test, runs) = driver();
    check(test.store(RedbHome::new(name)), runs);
}

/// Sets the wall clock `ahead` of where it is.
fn forward(test: &TestDriver, ahead: Duration) {
    test.clock().set_wall(test.clock().wall() + ahead);
}

fn back(test: &TestDriver, behind: Duration) {
    test.clock().set_wall(test.clock().wall() - behind);
}

/// Row 20: a machine without a battery for its clock boots a year early, and is set right a minute later, three times.
#[test]
fn rec_8_a_clock_that_is_early_at_every_boot_shortens_no_delay_no_period_and_no_retention() {
    on_both_stores("early-boots", |test, runs| {
        let bystanders = Bystanders::of(&test);
        let finished = test.enqueue(noted::request());
        test.run_until_idle();
        let delayed = test.enqueue(noted::request().initial_delay(7 * DAY));
        let series = test.enqueue_periodic(noted::periodic(DAY).initial_delay(DAY));
        let flexed = test.enqueue_periodic(noted::periodic(Schedule::every(2 * DAY).flex(HOUR)));
        for boot in 0..3 {
            test.advance(HOUR);
            test.boot_at(test.clock().wall() - 365 * DAY);
            test.advance(MINUTE);
            forward(&test, 365 * DAY);
            test.advance(HOUR);
            assert_eq!(seconds(&runs), if boot == 0 { vec![0] } else { vec![] }, "boot {boot}");
            assert!(test.find(finished).is_some(), "boot {boot}: a result is kept for a day");
        }
        let passed = 3 * (2 * HOUR + MINUTE);
        test.advance(DAY - passed - secs(1));
        assert_eq!(seconds(&runs), [] as [u64; 0]);
        test.advance(secs(1));
        assert_eq!((seconds(&runs), test.info(series).periods), (vec![86_400], 1));
        test.advance(DAY);
        assert_eq!((test.info(flexed).periods, test.info(series).periods), (1, 2));
        test.advance(5 * DAY - secs(1));
        assert_eq!(test.state_of(delayed), WorkState::Enqueued);
        test.advance(secs(1));
        assert_eq!(test.state_of(delayed), WorkState::Succeeded);
        assert!(test.find(finished).is_none());
        bystanders.are_untouched(&test);
    });
}

/// While the clock is early it counts too: the wait goes on where it was.
#[test]
fn a_backoff_goes_on_while_the_clock_is_early_and_is_shown_by_the_clock_there_is() {
    on_both_stores("early-backoff", |test, _| {
        let test = test.state(Arc::new(AtomicU64::new(0)));
        let id = test.enqueue(fails_periodically::request());
        test.run_until_idle();
        assert_eq!(test.info(id).next_run, Some(test.clock().wall() + secs(30)));
        test.boot_at(test.clock().wall() - 30 * DAY);
        test.advance(secs(10));
        assert_eq!(test.info(id).next_run, Some(test.clock().wall() + secs(20)));
        forward(&test, 30 * DAY);
        assert_eq!(test.info(id).next_run, Some(test.clock().wall() + secs(20)), "with what is true now");
        test.advance(secs(19));
        assert_eq!(test.info(id).failures, 1);
        test.advance(secs(1));
        assert_eq!(test.info(id).failures, 2);
    });
}

/// PER-6: eight o'clock is eight o'clock by the clock on the wall, whichever way it was set since.
#[test]
fn per_6_an_override_is_kept_by_the_wall_clock_through_steps_and_boots() {
    on_both_stores("override", |test, runs| {
        let bystanders = Bystanders::of(&test);
        let eight = test.clock().wall() + 8 * HOUR;
        let id = test.enqueue_periodic(noted::periodic(DAY).next_schedule_time_override(eight));
        test.run_until_idle();
        let is_shown = |test: &TestDriver| {
            let info = test.info(id);
            assert_eq!((info.next_run, info.next_run_override), (Some(eight), Some(eight)));
        };
        back(&test, HOUR);
        is_shown(&test);
        test.advance(HOUR);
        test.boot_at(test.clock().wall() - 365 * DAY);
        is_shown(&test);
        test.advance(HOUR);
        forward(&test, 365 * DAY);
        is_shown(&test);
        // It is one o'clock, and two hours have passed.
        assert_eq!(eight.since(test.clock().wall()), 7 * HOUR);
        test.advance(7 * HOUR - secs(1));
        assert_eq!(seconds(&runs), [] as [u64; 0]);
        test.advance(secs(1));
        assert_eq!(seconds(&runs), [9 * 3600]);
        assert_eq!(test.info(id).next_run, Some(eight + DAY), "and the next period counts from there");
        bystanders.are_untouched(&test);
    });
}

#[test]
fn an_override_whose_time_is_leapt_over_runs_within_a_minute_and_once() {
    on_both_stores("leapt", |test, runs| {
        let at = test.clock().wall() + 8 * HOUR;
        let id = test.enqueue_periodic(noted::periodic(DAY).next_schedule_time_override(at));
        test.run_until_idle();
        forward(&test, 9 * HOUR);
        test.advance(MINUTE);
        back(&test, 9 * HOUR);
        test.advance(10 * HOUR);
        assert_eq!((seconds(&runs), test.info(id).periods), (vec![60], 1));
    });
}

/// Row 20's last sentence.
#[test]
fn rec_8_a_suspend_is_believed_and_lengthens_a_wait_by_what_the_clock_was_set_back_once() {
    for (set_back, wait) in [(Duration::ZERO, HOUR), (HOUR, 2 * HOUR)] {
        on_both_stores("suspend", |test, runs| {
            test.enqueue(noted::request().initial_delay(10 * HOUR));
            test.advance(HOUR);
            back(&test, set_back);
            test.advance(MINUTE);
            test.clock().suspend(8 * HOUR);
            // Nine hours of ten have passed, but for what the clock was behind.
            test.advance(wait - 3 * MINUTE);
            assert_eq!(seconds(&runs), [] as [u64; 0], "{set_back:?}");
            test.advance(3 * MINUTE);
            assert_eq!(seconds(&runs).len(), 1, "{set_back:?}");
        });
    }
}

/// The sleep of a worker is a delay as well.
#[test]
fn a_clock_that_is_set_right_does_not_shorten_the_sleep_of_a_worker() {
    let (test, runs) = driver();
    test.run_until_idle();
    test.boot_at(test.clock().wall() - 30 * DAY);
    test.enqueue(naps::request());
    test.advance(MINUTE);
    forward(&test, 30 * DAY);
    test.advance(58 * MINUTE);
    assert_eq!(seconds(&runs), [] as [u64; 0]);
    test.advance(MINUTE);
    assert_eq!(seconds(&runs), [3600]);
}

/// Snoozes once, for two hours.
#[worker]
async fn snoozes(
    cx: &WorkContext,
    #[state] clock: VirtualClock,
    #[state] runs: Runs,
) -> Result<Outcome<()>, WorkError> {
    runs.lock().unwrap().push(clock.monotonic());
    let first = cx.fencing_token() == 1;
    Ok(if first { Outcome::Snooze(2 * HOUR) } else { Outcome::Success(()) })
}

#[test]
fn a_clock_that_is_set_right_shortens_no_snooze_and_no_timeout() {
    on_both_stores("snooze", |test, runs| {
        test.run_until_idle();
        test.boot_at(test.clock().wall() - 30 * DAY);
        let snoozed = test.enqueue(snoozes::request());
        let urgent = test.enqueue(naps::request().timeout(30 * MINUTE).max_attempts(1));
        test.advance(MINUTE);
        forward(&test, 30 * DAY);
        test.advance(29 * MINUTE - secs(1));
        assert_eq!((seconds(&runs), test.state_of(urgent)), (vec![0], WorkState::Running));
        test.advance(secs(1) + TestDriver::default_limits().grace);
        assert_eq!(test.state_of(urgent), WorkState::Failed, "the timeout of an attempt goes by the monotonic clock");
        test.advance(90 * MINUTE);
        assert_eq!(seconds(&runs), [7200]);
        assert_eq!(test.state_of(snoozed), WorkState::Succeeded);
    });
}

/// A clock that says nonsense for an hour, and then the time.
#[test]
fn a_clock_at_an_end_of_its_range_starts_nothing_spins_nowhere_and_leaves_nothing() {
    for wall in [Timestamp::MIN, Timestamp::from_millis(-1), Timestamp::MAX] {
        on_both_stores("range", |test, runs| {
            let bystanders = Bystanders::of(&test);
            let finished = test.enqueue(noted::request());
            test.run_until_idle();
            let delayed = test.enqueue(noted::request().initial_delay(3 * HOUR));
            let series = test.enqueue_periodic(noted::periodic(2 * HOUR).initial_delay(2 * HOUR));
            let right = test.clock().wall();
            test.clock().set_wall(wall);
            let before = test.commits();
            let broken = test.enqueue(noted::request().initial_delay(2 * HOUR));
            test.advance(HOUR);
            test.boot_at(wall);
            assert!(test.commits() - before < 20, "{} commits with {wall:?}", test.commits() - before);
            test.clock().set_wall(right + HOUR);
            test.run_until_idle();
            assert_eq!(seconds(&runs), [0], "nothing starts early with {wall:?}");
            test.advance(HOUR);
            assert_eq!((seconds(&runs), test.info(series).periods), (vec![7200, 7200], 1), "with {wall:?}");
            assert_eq!((test.state_of(broken), test.state_of(delayed)), (WorkState::Succeeded, WorkState::Enqueued));
            test.advance(HOUR);
            assert_eq!((seconds(&runs), test.info(series).created), (vec![10_800], right), "with {wall:?}");
            test.advance(20 * HOUR);
            assert!(test.find(finished).is_some(), "a result is kept for a day with {wall:?}");
            test.advance(2 * HOUR);
            assert!(test.find(finished).is_none());
            bystanders.are_untouched(&test);
        });
    }
}

/// The clock is years ahead for a while, which nobody can tell from a long sleep, and then right.
#[test]
fn after_a_clock_that_was_years_ahead_delays_take_as_long_as_they_say() {
    on_both_stores("ahead", |test, runs| {
        let series = test.enqueue_periodic(noted::periodic(HOUR));
        test.run_until_idle();
        let right = test.clock().wall();
        forward(&test, 5_000 * 365 * DAY);
        test.advance(MINUTE);
        test.boot_at(right + MINUTE);
        assert_eq!(seconds(&runs), [0, 60], "it is believed, once");
        let before = test.commits();
        let id = test.enqueue(noted::request().initial_delay(HOUR));
        assert_eq!(test.info(id).next_run, Some(right + MINUTE + HOUR));
        test.advance(HOUR);
        assert_eq!(seconds(&runs), [3660, 3660]);
        test.advance(3 * HOUR);
        assert_eq!(test.info(series).periods, 6);
        assert!(test.commits() - before < 40);
    });
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
