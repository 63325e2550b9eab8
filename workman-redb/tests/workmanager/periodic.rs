//! Periodic work.

use std::sync::{Arc, Mutex};

use workman_core::{
    Backoff, EnqueueError, ExistingPeriodicWorkPolicy, Explanation, RequestError, Schedule, StopReason, UpdateResult,
    Wait, WorkContext, WorkError, WorkManager, WorkSelector, WorkState, worker,
};

use crate::bench::{DAY, Diary, Gates, HOUR, MINUTE, fails, flaky, held, millis, on_both_stores, panics, say, secs};

use ExistingPeriodicWorkPolicy::{CancelAndReenqueue, Keep, Update};
use WorkState::{Cancelled, Enqueued as Waits, Running};

/// WorkerWrapperTest 21: after a success it is enqueued for its next period, with no failures.
#[test]
fn per_5_a_success_ends_the_period_and_the_next_begins_with_attempt_zero() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(flaky::periodic("x".into(), 2, DAY));
        test.advance(secs(90));
        assert_eq!(test.diary(), ["x 0", "x 1", "x 2"]);
        let info = test.info(id);
        assert_eq!((info.state, info.periods, info.failures), (Waits, 1, 0));
        test.advance(DAY);
        assert_eq!(test.diary(), ["x 0", "x 1", "x 2"], "the next period counts anew");
    });
}

/// WorkerWrapperTest 20, 47 and SM-7: a failed period does not end the series, whether the worker gave up or panicked.
#[test]
fn sm_7_a_failed_period_does_not_end_the_series() {
    on_both_stores(|test| {
        let failing = test.enqueue_periodic(fails::periodic("bad".into(), HOUR));
        let panicking = test.enqueue_periodic(panics::periodic("boom".into(), 15 * MINUTE).max_attempts(1));
        test.run_until_idle();
        for (id, interval) in [(failing, HOUR), (panicking, 15 * MINUTE)] {
            let info = test.info(id);
            assert_eq!((info.state, info.periods, info.failures), (Waits, 1, 0));
            assert_eq!(test.due_in(id), interval);
        }
        test.advance(HOUR);
        assert_eq!((test.info(failing).periods, test.info(panicking).periods), (2, 5));
    });
}

/// WorkerWrapperTest 23, TestSchedulerRealExecutorTest `testPeriodicWorkerRetry`: a retry stays in its period.
#[test]
fn per_5_a_retry_stays_in_its_period_and_backs_off() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(flaky::periodic("x".into(), 9, DAY).backoff(Backoff::linear(MINUTE)));
        test.run_until_idle();
        let info = test.info(id);
        assert_eq!((info.state, info.failures, info.periods), (Waits, 1, 0));
        assert_eq!(test.due_in(id), MINUTE);
        test.advance(MINUTE);
        assert_eq!((test.info(id).failures, test.due_in(id)), (2, 2 * MINUTE));
    });
}

/// WorkerWrapperTest 24: it does not run before its time, whatever happens meanwhile.
#[test]
fn sm_2_a_period_does_not_run_twice() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(say::periodic("x".into(), HOUR));
        test.run_until_idle();
        test.advance(HOUR - millis(1));
        test.crash_and_restart();
        test.enqueue(say::request("other".into()));
        test.enqueue_unique_periodic("n", Keep, say::periodic("y".into(), DAY));
        test.run_until_idle();
        let mut said = test.diary();
        said.sort();
        assert_eq!((said, test.info(id).periods), (vec!["other".into(), "x".into(), "y".to_owned()], 1));
        test.advance(millis(1));
        assert_eq!((test.diary(), test.info(id).periods), (vec!["x".to_owned()], 2));
    });
}

/// TestSchedulerTest `testWorker_withPeriodDelay_shouldRunAfterEachSetPeriodDelay`, TestSchedulerRealExecutorTest and
/// SchedulersTest `periodicReschedules`: once in each period, and never finished in between.
#[test]
fn per_3_it_runs_once_in_each_period_and_is_never_finished() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(say::periodic("x".into(), 10 * HOUR));
        test.run_until_idle();
        for period in 1..=6 {
            assert_eq!((test.info(id).periods, test.state_of(id)), (period, Waits));
            test.advance(10 * HOUR);
        }
        assert_eq!(test.diary().len(), 7);
    });
}

/// TestSchedulerRealExecutorTest `testWorker_withPeriodicWorkerWithInitialDelay_shouldRun`: the delay is that of the first run.
#[test]
fn per_2_the_initial_delay_counts_for_the_first_run_only() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(say::periodic("x".into(), HOUR).initial_delay(3 * HOUR));
        test.advance(3 * HOUR - millis(1));
        assert_eq!(test.info(id).periods, 0);
        test.advance(millis(1));
        assert_eq!((test.info(id).periods, test.due_in(id)), (1, HOUR));
        test.advance(HOUR);
        assert_eq!(test.info(id).periods, 2);
    });
}

/// TestSchedulerTest `testWorker_withPeriodicWorkerFlex_shouldRun`: the driver there ignores the flex. D15: this
/// one is the production planner, so the first run is in the last part of the period.
#[test]
fn per_2_and_per_4_with_flex_the_first_run_is_in_the_last_part_of_its_period() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(say::periodic("x".into(), Schedule::every(10 * HOUR).flex(5 * HOUR)));
        test.advance(5 * HOUR - millis(1));
        assert_eq!(test.diary().len(), 0);
        test.advance(millis(1));
        assert_eq!((test.diary().len(), test.due_in(id)), (1, 10 * HOUR), "flex is only for the first run");
    });
}

/// PER-3: what was missed is made up for once.
#[test]
fn per_3_missed_periods_are_made_up_for_by_one_run() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(say::periodic("x".into(), HOUR));
        test.run_until_idle();
        let _ = test.shutdown(secs(1));
        test.clock().suspend(10 * HOUR + 20 * MINUTE);
        test.restart();
        test.run_until_idle();
        assert_eq!((test.diary().len(), test.due_in(id)), (2, HOUR), "from the end of the late run");
    });
}

/// Stops a period's run with the program's own reason; the series goes on.
///
/// WorkerWrapperTest 36 for periodic work: a stop gives the run back within its period.
#[test]
fn bo_6_a_stopped_run_of_a_period_is_given_back_within_the_period() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(held::periodic("x".into(), DAY));
        test.run_until_idle();
        assert_eq!(test.state_of(id), Running);
        test.restart();
        let info = test.info(id);
        assert_eq!((info.periods, info.failures, info.interruptions), (0, 0, 1));
        test.run_until_idle();
        assert_eq!(test.state_of(id), Running);
        assert!(test.diary().contains(&format!("x stopped: {}", StopReason::Shutdown)));
        test.cancel(WorkSelector::id(id));
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).periods), (Cancelled, 0));
    });
}

/// PER-8: a period has no output and shows no end.
#[test]
fn per_8_a_period_shows_no_output() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(say::periodic("x".into(), HOUR));
        test.advance(3 * HOUR);
        let info = test.info(id);
        assert_eq!((info.state, info.output, info.finished, info.periods), (Waits, None, None, 4));
    });
}

/// Runs longer than its period.
#[worker]
async fn long(cx: &WorkContext, #[state] diary: Diary) -> Result<(), WorkError> {
    diary.write("begins");
    cx.sleep(90 * MINUTE).await?;
    diary.write("ends");
    Ok(())
}

/// SM-8 and PER-3: a run that takes longer than the interval is never joined by another.
#[test]
fn sm_8_a_run_that_takes_longer_than_its_interval_has_no_second_beside_it() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(long::periodic(HOUR));
        test.advance(90 * MINUTE);
        assert_eq!((test.diary(), test.due_in(id)), (vec!["begins".to_owned(), "ends".into()], HOUR));
        test.advance(HOUR + 90 * MINUTE);
        assert_eq!((test.diary().len(), test.info(id).periods), (2, 2));
    });
}

/// How often it was told to re-schedule itself, and with which policy.
#[derive(Clone, Default)]
pub(crate) struct Own {
    manager: Arc<Mutex<Option<WorkManager>>>,
    policy: Arc<Mutex<Option<ExistingPeriodicWorkPolicy>>>,
}

/// From inside its first run it enqueues itself with an override, ten hours from then.
#[worker]
async fn reschedules_itself(cx: &WorkContext, #[state] own: Own, #[state] diary: Diary) -> Result<(), WorkError> {
    diary.write(format!("runs {}", cx.attempt()));
    let (manager, policy) = (own.manager.lock().unwrap().clone(), own.policy.lock().unwrap().take());
    if let (Some(manager), Some(policy)) = (manager, policy) {
        let now = manager.info(cx.id()).await?.map(|info| info.created).unwrap_or_default();
        let request = reschedules_itself::periodic(HOUR).next_schedule_time_override(now + 10 * HOUR);
        manager.enqueue_unique_periodic("N", policy, request).await?;
    }
    Ok(())
}

/// WorkManagerImplTest 70, 74: a worker re-schedules itself from inside its own run: with `Update` the override counts, also after the
/// run has ended; with `Keep` nothing changes.
#[test]
fn per_6_a_worker_may_set_its_own_next_run_from_inside_the_run() {
    on_both_stores(|test| {
        for (policy, next) in [(Update, 10 * HOUR), (Keep, HOUR)] {
            let own = Own::default();
            let test = test.another().shaped(|driver| driver.state(own.clone()));
            *own.manager.lock().unwrap() = Some(test.manager());
            *own.policy.lock().unwrap() = Some(policy);
            let id = test.enqueue_unique_periodic("N", Update, reschedules_itself::periodic(HOUR)).id;
            test.run_until_idle();
            assert_eq!((test.named("N"), test.info(id).failures), (vec![id], 0));
            assert_eq!((test.info(id).periods, test.due_in(id)), (1, next), "{policy:?}");
            test.advance(next);
            assert_eq!(test.diary(), ["runs 0", "runs 0"]);
            assert_eq!(test.due_in(id), HOUR, "an override counts once");
            own.manager.lock().unwrap().take();
        }
    });
}

/// WorkManagerImplTest 71, 73: an override with a policy that starts the period over is refused; with `Keep` and `Update` it counts.
#[test]
fn per_6_an_override_goes_with_keep_and_update_only() {
    on_both_stores(|test| {
        let manager = test.manager();
        let at = test.now() + 123_456 * millis(1);
        let request = || say::periodic("x".into(), HOUR).next_schedule_time_override(at);
        for policy in [CancelAndReenqueue, ExistingPeriodicWorkPolicy::Replace] {
            let refused = test.refused(manager.enqueue_unique_periodic("n", policy, request()));
            assert!(matches!(refused, EnqueueError::Request(RequestError::OverrideReplaced { .. })), "{refused}");
        }
        assert_eq!(test.named("n"), []);
        for (name, policy) in [("keep", Keep), ("update", Update)] {
            let id = test.enqueue_unique_periodic(name, policy, request()).id;
            assert_eq!(test.info(id).next_run, Some(at));
        }
    });
}

/// WorkerWrapperTest 26 and TestSchedulerTest `testOverrideWorker_doesntRunYet`, `afterExpiring`: the override puts off the next
/// run, once, and the series goes on from the run itself.
#[test]
fn per_6_and_nrt_1_an_override_puts_off_the_next_run_once() {
    on_both_stores(|test| {
        let start = test.now();
        let id = test.enqueue_periodic(say::periodic("x".into(), HOUR).next_schedule_time_override(start + 14 * HOUR));
        test.advance(5 * HOUR + millis(1));
        assert_eq!((test.diary().len(), test.info(id).periods), (0, 0), "not even the first run");
        assert_eq!(test.info(id).next_run, Some(start + 14 * HOUR));
        assert_eq!(test.info(id).next_run_override, Some(start + 14 * HOUR));
        let left = 9 * HOUR - millis(1);
        assert_eq!(test.explain(id), Explanation::NotDue { left, wait: Wait::Override, times: 0 });
        test.advance(left);
        assert_eq!((test.diary().len(), test.info(id).periods, test.due_in(id)), (1, 1, HOUR));
        assert_eq!(test.info(id).next_run_override, None, "it is spent");
        assert_eq!(test.explain(id), Explanation::NotDue { left: HOUR, wait: Wait::Period, times: 0 });
        for runs in 1..=5 {
            test.advance(HOUR);
            assert_eq!((test.diary().len(), test.info(id).periods), (1, runs + 1));
        }
    });
}

/// TestSchedulerTest `testOverrideWorker_firstRun_initialDelayMet_doesntRun` and PER-6: it takes the place of delay and flex;
/// one in the past means now.
#[test]
fn per_6_an_override_takes_the_place_of_delay_and_flex_and_one_in_the_past_means_now() {
    on_both_stores(|test| {
        let now = test.now();
        let schedule = Schedule::every(DAY).flex(HOUR);
        let request = |name: &str| say::periodic(name.into(), schedule.clone()).initial_delay(2 * HOUR);
        let later = test.enqueue_periodic(request("later").next_schedule_time_override(now + 10 * HOUR));
        let past = test.enqueue_periodic(request("past").next_schedule_time_override(now - HOUR));
        test.run_until_idle();
        assert_eq!((test.diary(), test.info(past).periods), (vec!["past".to_owned()], 1));
        test.advance(3 * HOUR);
        assert_eq!((test.diary().len(), test.due_in(later)), (0, 7 * HOUR), "its delay is over, and says nothing");
        test.advance(7 * HOUR);
        assert_eq!((test.diary(), test.due_in(later)), (vec!["later".to_owned()], DAY));
    });
}

/// WorkerWrapperTest 27: a retry of the run that was put off backs off from its end.
#[test]
fn per_6_a_retry_of_an_overridden_run_backs_off_from_its_end() {
    on_both_stores(|test| {
        let request = flaky::periodic("x".into(), 9, 100 * HOUR).backoff(Backoff::linear(30 * MINUTE));
        let id = test.enqueue_periodic(request.next_schedule_time_override(test.now() + 14 * HOUR));
        test.advance(14 * HOUR);
        let info = test.info(id);
        assert_eq!((info.state, info.periods, info.failures, info.next_run_override), (Waits, 0, 1, None));
        let (wait, times) = (Wait::Backoff, 1);
        assert_eq!(test.explain(id), Explanation::NotDue { left: 30 * MINUTE, wait, times });
    });
}

/// WorkerWrapperTest 29: an override that is given during the run beats the backoff of its failed attempt.
#[test]
fn per_6_and_nrt_1_an_override_given_during_a_run_beats_its_backoff() {
    on_both_stores(|test| {
        let start = test.now();
        let again = |at| gated::periodic(DAY).backoff(Backoff::linear(30 * MINUTE)).next_schedule_time_override(at);
        let id = test.enqueue_periodic(again(start + 14 * HOUR));
        test.advance(14 * HOUR);
        assert_eq!(test.state_of(id), Running);
        for at in [24, 34] {
            let override_again = again(start + at * HOUR).with_id(id);
            assert_eq!(test.wait(test.manager().update(override_again)), UpdateResult::AppliedForNextRun);
        }
        test.open("fail");
        test.run_until_idle();
        let info = test.info(id);
        assert_eq!((info.state, info.periods, info.failures, info.generation), (Waits, 0, 1, 2));
        assert_eq!(info.next_run, Some(start + 34 * HOUR));
        test.advance(20 * HOUR);
        assert_eq!((test.info(id).periods, test.due_in(id)), (1, DAY), "and what follows counts from there");
    });
}

/// Fails its first attempt as soon as the test lets it.
#[worker]
pub(crate) async fn gated(cx: &WorkContext, #[state] gates: Gates) -> Result<(), WorkError> {
    gates.get("fail").wait().await;
    if cx.attempt() == 0 { Err("first".into()) } else { Ok(()) }
}

/// WorkerWrapperTest 30: one that was set and cleared during the run leaves no trace.
#[test]
fn per_7_an_override_that_was_cleared_during_the_run_leaves_no_trace() {
    on_both_stores(|test| {
        let start = test.now();
        let request = || held::periodic("x".into(), 100 * HOUR);
        let id = test.enqueue_periodic(request().next_schedule_time_override(start + 14 * HOUR));
        test.advance(14 * HOUR);
        test.wait(test.manager().update(request().next_schedule_time_override(start + 20 * HOUR).with_id(id)));
        test.wait(test.manager().update(request().clear_next_schedule_time_override().with_id(id)));
        test.open("x");
        test.run_until_idle();
        let info = test.info(id);
        assert_eq!((info.periods, info.failures, info.generation), (1, 0, 2));
        assert_eq!(info.next_run, Some(start + 114 * HOUR));
    });
}

/// WorkerWrapperTest 29 and 30 with a success: an override that is given during the run is for the run after it.
#[test]
fn per_6_an_override_given_during_a_run_that_succeeds_is_for_the_run_after_it() {
    on_both_stores(|test| {
        let start = test.now();
        let id = test.enqueue_periodic(held::periodic("x".into(), HOUR));
        test.run_until_idle();
        let again = held::periodic("x".into(), HOUR).next_schedule_time_override(start + 34 * HOUR).with_id(id);
        assert_eq!(test.wait(test.manager().update(again)), UpdateResult::AppliedForNextRun);
        test.open("x");
        test.run_until_idle();
        let info = test.info(id);
        assert_eq!((info.periods, info.failures, info.next_run), (1, 0, Some(start + 34 * HOUR)));
        test.crash_and_restart();
        test.advance(34 * HOUR);
        assert_eq!((test.info(id).periods, test.due_in(id)), (2, HOUR), "and then the period counts again");
    });
}

/// PER-6: an override outlives a stop of the run during which it was given, and a run that was put off and stopped is due at once
/// again.
#[test]
fn per_6_and_bo_6_an_override_and_a_stop() {
    on_both_stores(|test| {
        let start = test.now();
        let request = |at| held::periodic("x".into(), DAY).next_schedule_time_override(at);
        let id = test.enqueue_periodic(request(start + 2 * HOUR));
        test.advance(2 * HOUR);
        assert_eq!(test.state_of(id), Running);
        test.restart();
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).periods), (Running, 0), "given back, and due at once");
        test.wait(test.manager().update(request(start + 9 * HOUR).with_id(id)));
        test.restart();
        test.run_until_idle();
        assert_eq!(test.info(id).next_run, Some(start + 9 * HOUR));
    });
}

/// D18: attempts belong to their period. One that needed retries keeps to its regular time, and one whose next attempt would come at
/// that time or later has failed.
#[test]
fn per_5_retries_do_not_push_the_series_out() {
    on_both_stores(|test| {
        let retried = test.enqueue_periodic(flaky::periodic("retried".into(), 1, HOUR));
        test.advance(30 * secs(1));
        assert_eq!((test.info(retried).periods, test.due_in(retried)), (1, HOUR - secs(30)));
        let backing_off = |delay| flaky::periodic("x".into(), 9, HOUR).backoff(Backoff::linear(delay));
        let in_time = test.enqueue_periodic(backing_off(HOUR - millis(1)));
        let too_late = test.enqueue_periodic(backing_off(HOUR));
        test.run_until_idle();
        assert_eq!((test.info(in_time).periods, test.info(in_time).failures), (0, 1));
        assert_eq!((test.info(too_late).periods, test.info(too_late).failures, test.due_in(too_late)), (1, 0, HOUR));
        test.advance(HOUR - millis(1));
        assert_eq!(
            (test.info(in_time).periods, test.due_in(in_time)),
            (1, millis(1)),
            "its next wait would be too long"
        );
    });
}
