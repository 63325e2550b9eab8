//! Failed attempts, stops and what follows them.

use workman_core::{Backoff, ConstraintKind, StopReason, WorkSelector, WorkState};

use crate::bench::{CHARGING, DAY, HOUR, MINUTE, fails, flaky, held, millis, on_both_stores, say, secs};

use WorkState::{Enqueued as Waits, Failed, Running, Succeeded};

/// WorkerWrapperTest 2, 3, with D2: runs and failed attempts are counted apart.
#[test]
fn bo_5_every_start_is_a_run_and_only_a_failed_attempt_is_a_failure() {
    on_both_stores(|test| {
        let good = test.enqueue(say::request("good".into()));
        let bad = test.enqueue(fails::request("bad".into()));
        let third = test.enqueue(flaky::request("third".into(), 2));
        test.run_until_idle();
        let counts = |id| (test.info(id).runs, test.info(id).failures, test.info(id).interruptions);
        assert_eq!((counts(good), counts(bad), counts(third)), ((1, 0, 0), (1, 1, 0), (1, 1, 0)));
        test.advance(secs(90));
        assert_eq!((counts(third), test.state_of(third)), ((3, 2, 0), Succeeded));
    });
}

/// WorkerWrapperTest 18 and TestSchedulerTest `testOneTimeWorkerRetry`: while it backs off nothing makes it run, and it does not
/// spin. Not a restart, not a constraint that is lost and met.
#[test]
fn bo_2_work_that_backs_off_does_not_run_before_its_time_whatever_happens() {
    on_both_stores(|test| {
        let id = test.enqueue(flaky::request("x".into(), 9).backoff(Backoff::linear(HOUR)).constraints(CHARGING));
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).failures), (Waits, 1));
        test.advance(30 * MINUTE);
        test.crash_and_restart();
        test.lose(ConstraintKind::Charging);
        test.advance(MINUTE);
        test.meet(ConstraintKind::Charging);
        test.enqueue(say::request("other".into()));
        test.advance(29 * MINUTE - millis(1));
        assert_eq!((test.diary(), test.info(id).failures), (vec!["x 0".to_owned(), "other".into()], 1));
        test.advance(millis(1));
        assert_eq!((test.diary(), test.info(id).failures), (vec!["x 1".to_owned()], 2));
        assert_eq!(test.due_in(id), 2 * HOUR, "from the end of the attempt");
    });
}

/// WorkerWrapperTestKt 5 and BO-4: the worker sees how many attempts failed before this one.
#[test]
fn bo_4_the_first_attempt_has_the_number_zero() {
    on_both_stores(|test| {
        let id = test.enqueue(flaky::request("x".into(), 3));
        test.advance(HOUR);
        assert_eq!(test.diary(), ["x 0", "x 1", "x 2", "x 3"]);
        assert_eq!(test.output::<String>(id), "x");
    });
}

/// WorkerWrapperTestKt 3, WorkerWrapperTest 36, ConstraintTrackingWorkerTest: a stop by the system gives the attempt back without a
/// failure and without a backoff (D2), and the work says why it was stopped.
#[test]
fn bo_6_and_con_1_a_lost_constraint_is_no_failed_attempt_and_has_no_backoff() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("x".into()).constraints(CHARGING));
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).stop_reason), (Running, None));
        test.lose(ConstraintKind::Charging);
        test.advance(secs(5));
        let info = test.info(id);
        assert_eq!((info.state, info.stop_reason), (Waits, Some(StopReason::ConstraintCharging)));
        assert_eq!((info.failures, info.interruptions, info.runs), (0, 1, 1));
        test.advance(DAY);
        assert_eq!(test.state_of(id), Waits, "it does not start by itself while the charger is out");
        test.meet(ConstraintKind::Charging);
        test.advance(secs(5));
        assert_eq!((test.state_of(id), test.info(id).stop_reason), (Running, None));
        test.open("x");
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).stop_reason), (Succeeded, None));
        let stop = format!("x stopped: {}", StopReason::ConstraintCharging);
        assert_eq!(test.diary(), ["x".to_owned(), stop, "x".into()]);
    });
}

/// TestSchedulerTest `testWorker_withConstraints_shouldNoOp`, ConstraintTrackingWorkerTest `onConstraintsNotMet`, the first case of
/// WorkUpdateTest: without its constraint work does not begin, and waiting is no attempt.
#[test]
fn con_1_work_does_not_begin_before_its_constraint_is_met() {
    on_both_stores(|test| {
        test.lose(ConstraintKind::Charging);
        let id = test.enqueue(say::request("x".into()).constraints(CHARGING));
        let periodic = test.enqueue_periodic(say::periodic("p".into(), DAY).constraints(CHARGING));
        test.advance(HOUR);
        for id in [id, periodic] {
            let info = test.info(id);
            assert_eq!((info.state, info.runs, info.failures), (Waits, 0, 0));
            assert!(info.next_run.unwrap() <= test.now(), "the next run counts no constraints");
        }
        test.meet(ConstraintKind::Charging);
        test.advance(secs(5));
        assert_eq!((test.state_of(id), test.info(periodic).periods), (Succeeded, 1));
    });
}

/// StopReasonTest.kt `testStopReasonWhenCancelled` and WorkerWrapperTestKt 3: what the worker sees is what is stored.
#[test]
fn can_2_a_cancelled_run_is_told_and_says_why() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("x".into()));
        test.run_until_idle();
        assert_eq!(test.cancel(WorkSelector::tag("held")), 1);
        test.advance(HOUR);
        let info = test.info(id);
        assert_eq!((info.state, info.stop_reason), (WorkState::Cancelled, Some(StopReason::CancelledByApp)));
        assert_eq!((info.runs, info.failures, info.interruptions), (1, 0, 0));
        assert_eq!(test.diary(), ["x".to_owned(), format!("x stopped: {}", StopReason::CancelledByApp)]);
    });
}

/// WorkManagerImplTest 58, ForceStopRunnableTest `test_UnfinishedWork_getsScheduled`, with D1 and D2: what was
/// running when the process died runs again, and only its deaths are counted.
#[test]
fn rec_1_what_ran_when_the_process_died_runs_again() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("x".into()).max_attempts(1));
        test.run_until_idle();
        test.crash_and_restart();
        test.run_until_idle();
        let info = test.info(id);
        assert_eq!((info.state, info.runs, info.failures, info.deaths), (Running, 2, 0, 1));
        test.open("x");
        test.run_until_idle();
        assert_eq!(test.state_of(id), Succeeded);
    });
}

/// D2: attempts have an end, unless a request says otherwise.
#[test]
fn bo_3_attempts_end_where_the_request_says() {
    on_both_stores(|test| {
        let every_second = Backoff::linear(secs(1)).ceiling(secs(1));
        let few = test.enqueue(flaky::request("few".into(), 99).max_attempts(2).backoff(every_second));
        let saved = test.enqueue(flaky::request("saved".into(), 1).max_attempts(2).backoff(every_second));
        let plain = test.enqueue(flaky::request("plain".into(), 99).backoff(every_second));
        let endless = test.enqueue(flaky::request("endless".into(), 99).unlimited_attempts().backoff(every_second));
        test.advance(secs(30));
        assert_eq!((test.state_of(few), test.info(few).failures, test.info(few).runs), (Failed, 2, 2));
        assert_eq!(test.info(few).last_error().unwrap().to_string(), "not yet");
        assert_eq!(test.output::<String>(saved), "saved", "the last of them counts as well");
        assert_eq!((test.state_of(plain), test.info(plain).failures), (Failed, 20), "unless it says otherwise");
        assert_eq!((test.state_of(endless), test.info(endless).failures), (Waits, 31));
    });
}

/// `setBackoffForSystemInterruptions` and BO-6: work that asked for it backs off after a lost constraint, in one count with
/// its failures; the program's own stops cost nothing.
#[test]
fn bo_6_work_that_asked_for_it_backs_off_after_an_interruption_by_the_system() {
    on_both_stores(|test| {
        let request = held::request("x".into()).constraints(CHARGING).backoff(Backoff::linear(HOUR));
        let id = test.enqueue(request.backoff_for_system_interruptions());
        test.run_until_idle();
        for hours in [1, 2] {
            test.lose(ConstraintKind::Charging);
            test.advance(secs(5));
            let info = test.info(id);
            assert_eq!((info.state, info.failures, test.due_in(id)), (Waits, 0, hours * HOUR));
            test.meet(ConstraintKind::Charging);
            test.advance(hours * HOUR - millis(1));
            assert_eq!(test.state_of(id), Waits);
            test.advance(millis(1));
            assert_eq!(test.state_of(id), Running);
        }
        test.restart();
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).interruptions), (Running, 3), "a shutdown has no backoff");
    });
}

/// SM-10: the flag does not bring cancelled work back.
#[test]
fn sm_10_a_stop_after_a_cancellation_does_not_bring_the_work_back() {
    on_both_stores(|test| {
        let request = held::request("x".into()).constraints(CHARGING).backoff_for_system_interruptions();
        let id = test.enqueue(request);
        test.run_until_idle();
        test.cancel(WorkSelector::id(id));
        test.lose(ConstraintKind::Charging);
        test.advance(HOUR);
        test.restart();
        test.meet(ConstraintKind::Charging);
        test.advance(HOUR);
        let info = test.info(id);
        assert_eq!((info.state, info.stop_reason), (WorkState::Cancelled, Some(StopReason::CancelledByApp)));
        assert_eq!((info.runs, info.interruptions), (1, 0));
    });
}

/// BO-8: the delay before the first run plays no part in a retry.
#[test]
fn bo_8_the_initial_delay_plays_no_part_in_a_retry() {
    on_both_stores(|test| {
        let once = test.enqueue(flaky::request("once".into(), 9).initial_delay(DAY));
        let again = test.enqueue_periodic(flaky::periodic("again".into(), 9, 9 * DAY).initial_delay(DAY));
        test.advance(DAY);
        assert_eq!([once, again].map(|id| (test.info(id).failures, test.due_in(id))), [(1, secs(30)); 2]);
    });
}
