//! Workers: how they are called, how they end, what they are told.

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use workman_core::seams::Registry;
use workman_core::store::End;
use workman_core::{
    ActionError, ConstraintKind, Explanation, NoteError, OutputError, StopReason, WorkContext, WorkError, WorkQuery,
    WorkSelector, WorkState, worker,
};
use workman_core::{AttemptEnd, ParkReason};
use workman_testing::TestWorker;

use crate::bench::{CHARGING, DAY, Diary, Gates, HOUR, MINUTE, flaky, held, millis, on_both_stores, panics, say, secs};

use WorkState::{Cancelled, Enqueued as Waits, Failed, Running, Succeeded};

/// WorkerWrapperTestKt 2 and WorkerWrapperTest 12: it is running while its body runs, and runs once.
#[test]
fn sm_8_work_is_running_while_its_body_runs_and_runs_once() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("x".into()));
        test.run_until_idle();
        assert_eq!(test.state_of(id), Running);
        test.enqueue(say::request("other".into()));
        test.advance(DAY / 4);
        assert_eq!((test.state_of(id), test.info(id).runs), (Running, 1), "no limit of time, and no second run");
        test.open("x");
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).runs), (Succeeded, 1));
    });
}

/// Panics in a thread.
#[worker]
fn panics_in_a_thread(text: String) -> u32 {
    panic!("{text}")
}

/// WorkerWrapperTest 39, with D8 and D17: a panic is contained, is a failed attempt that is tried again,
/// and its text is kept. With one attempt it is WorkManager's rule.
#[test]
fn sm_6_a_panic_is_a_failed_attempt_with_its_text() {
    on_both_stores(|test| {
        let tried_again = test.enqueue(panics::request("Thrown in doWork".into()));
        let once = [
            test.enqueue(panics::request("Thrown in doWork".into()).max_attempts(1)),
            test.enqueue(panics_in_a_thread::request("Thrown in doWork".into()).max_attempts(1)),
        ];
        test.run_until_idle();
        assert_eq!((test.state_of(tried_again), test.due_in(tried_again)), (Waits, secs(30)));
        for id in once {
            let info = test.info(id);
            assert_eq!((info.state, info.failures, &info.output), (Failed, 1, &None));
            assert!(matches!(&info.attempts[0].end, AttemptEnd::Failed { error } if error.panicked));
            assert!(info.last_error().unwrap().to_string().contains("Thrown in doWork"));
        }
        test.enqueue(say::request("others go on".into()));
        test.run_until_idle();
        assert_eq!(test.diary().last().unwrap(), "others go on");
    });
}

/// WorkerWrapperTest 8, 42, with D9: work of an unknown worker waits for it, visibly, and fails nobody.
#[test]
fn rec_5_work_of_an_unknown_worker_waits_for_it_and_counts_no_attempt() {
    on_both_stores(|test| {
        let chain = test.manager().begin_with(say::request("x".into()).initial_delay(HOUR));
        let ids = test.chain(chain.then(say::request("y".into())));
        let periodic = test.enqueue_periodic(say::periodic("p".into(), DAY).initial_delay(HOUR));
        test.next_build(Registry::new());
        test.crash_and_restart();
        test.advance(2 * HOUR);
        assert_eq!(test.states(&[ids[0], ids[1], periodic]), [Waits, WorkState::Blocked, Waits]);
        assert_eq!((test.info(ids[0]).runs, test.info(ids[0]).failures), (0, 0));
        assert_eq!(test.explain(ids[0]), Explanation::NoWorker("say".into()));
        let said = test.explain(ids[0]).to_string();
        assert!(said.starts_with("no worker named \"say\" in this build: link its crate"), "{said}");
        let checked = test.wait(test.manager().check());
        assert!(checked.works.iter().any(|info| info.id == ids[0]));
        test.next_build(Registry::linked());
        test.crash_and_restart();
        test.run_until_idle();
        assert_eq!(test.states(&[ids[0], ids[1], periodic]), [Succeeded, Succeeded, Waits]);
    });
}

/// An older build's version of a worker.
#[worker]
fn measures_text(value: String) -> usize {
    value.len()
}

/// A newer build's, with another type.
#[worker]
fn measures_number(value: u64) -> u64 {
    value
}

/// WorkerWrapperTest 43, with D9: what can't begin is parked with its reason and counts no attempt.
#[test]
fn sm_3_work_that_can_not_begin_is_parked_with_its_reason_and_counts_no_attempt() {
    on_both_stores(|test| {
        let build = |add: fn(&mut Registry)| {
            let mut registry = Registry::new();
            add(&mut registry);
            test.next_build(registry);
        };
        let old: fn(&mut Registry) = |registry| {
            registry.add_as::<measures_text>("measure");
        };
        let new: fn(&mut Registry) = |registry| {
            registry.add_as::<measures_number>("measure");
        };
        build(old);
        let id = test.enqueue(measures_text::request("bar".into()).initial_delay(HOUR));
        build(new);
        test.crash_and_restart();
        test.advance(HOUR);
        let info = test.info(id);
        assert_eq!((info.state, info.failures), (Waits, 0));
        let why = info.parked.unwrap();
        assert!(matches!(&why, ParkReason::Undecodable { message } if message.contains("value")), "{why}");
        assert!(matches!(test.explain(id), Explanation::Parked { .. }));
        assert_eq!(test.wait(test.manager().check()).works.iter().map(|work| work.id).collect::<Vec<_>>(), [id]);
        test.crash_and_restart();
        test.run_until_idle();
        assert!(test.info(id).parked.is_some(), "it was tried again, and this build can't read it either");
        build(old);
        test.crash_and_restart();
        test.run_until_idle();
        assert_eq!(test.output::<usize>(id), 3);
    });
}

/// Says what it was told, for ever.
#[worker]
async fn listens(cx: &WorkContext, #[state] diary: Diary) -> Result<(), WorkError> {
    diary.write(format!("{:?} {}", cx.stop_reason(), cx.is_stopped()));
    cx.until_stopped().await;
    diary.write(format!("{:?} {}", cx.stop_reason(), cx.is_stopped()));
    let late = cx.set_progress(&"late");
    assert!(matches!(late, Err(NoteError::Stopped(stopped)) if Some(stopped.reason) == cx.stop_reason()));
    cx.stopped()
}

/// StopReasonTest.kt, all of its cases, WorkerWrapperTest 36, 44 and CoroutineWorkerTest `cancellingFutureCancelsJob`: no reason while
/// it runs, the same reason for worker and snapshot, no error, and no failure.
#[test]
fn can_6_a_stopped_worker_sees_the_reason_that_the_snapshot_tells() {
    on_both_stores(|test| {
        let ids = [CHARGING, workman_core::Constraints::NONE]
            .map(|constraints| test.enqueue(listens::request().constraints(constraints)));
        test.run_until_idle();
        assert_eq!(test.diary(), ["None false"; 2]);
        test.lose(ConstraintKind::Charging);
        test.advance(secs(5));
        let charging = Some(StopReason::ConstraintCharging);
        assert_eq!(test.diary(), [format!("{charging:?} true")]);
        let info = test.info(ids[0]);
        assert_eq!((info.state, info.stop_reason, info.failures), (Waits, charging, 0));
        assert_eq!(info.last_error(), None);
        test.cancel(WorkSelector::id(ids[1]));
        test.run_until_idle();
        let cancelled = Some(StopReason::CancelledByApp);
        assert_eq!(test.diary(), [format!("{cancelled:?} true")]);
        assert_eq!((test.state_of(ids[1]), test.info(ids[1]).stop_reason), (Cancelled, cancelled));
    });
}

/// Is stopped once and then ends as its request says.
#[worker]
async fn stopped_once(ends: bool, cx: &WorkContext, #[state] gates: Gates) -> Result<(), WorkError> {
    let gate = gates.get("end");
    futures::future::select(std::pin::pin!(gate.wait()), std::pin::pin!(cx.until_stopped())).await;
    match cx.stop_reason() {
        Some(_) => cx.stopped(),
        None if ends => Ok(()),
        None => Err("no".into()),
    }
}

/// StopReasonTest.kt `testStopReasonPropagated` and `testStopReasonWhenCancelledPreRun`, and what comes after: the reason of the last
/// stop is told while the work waits, and no longer.
#[test]
fn a_stop_reason_is_told_until_the_work_runs_again_is_cancelled_or_finishes() {
    on_both_stores(|test| {
        let stopped = |ends: bool| {
            let test = test.another();
            let id = test.enqueue(stopped_once::request(ends).constraints(CHARGING).max_attempts(1));
            test.run_until_idle();
            test.lose(ConstraintKind::Charging);
            test.advance(secs(5));
            assert_eq!(test.info(id).stop_reason, Some(StopReason::ConstraintCharging));
            (test, id)
        };
        let (waits, id) = stopped(true);
        waits.cancel(WorkSelector::id(id));
        assert_eq!((waits.state_of(id), waits.info(id).stop_reason), (Cancelled, None), "nothing was stopped by that");

        for (ends, state) in [(true, Succeeded), (false, Failed)] {
            let (test, id) = stopped(ends);
            test.crash_and_restart();
            assert_eq!(test.info(id).stop_reason, Some(StopReason::ConstraintCharging), "also after a restart");
            test.meet(ConstraintKind::Charging);
            test.advance(MINUTE);
            assert_eq!((test.state_of(id), test.info(id).stop_reason), (Running, None));
            test.open("end");
            test.run_until_idle();
            assert_eq!((test.state_of(id), test.info(id).stop_reason), (state, None), "no stop ended it");
        }

        let (runs, id) = stopped(true);
        runs.meet(ConstraintKind::Charging);
        runs.advance(MINUTE);
        runs.crash_and_restart();
        runs.run_until_idle();
        assert_eq!((runs.info(id).deaths, runs.info(id).stop_reason), (1, None), "a death is no stop");
        runs.cancel(WorkSelector::id(id));
        assert_eq!(runs.info(id).stop_reason, Some(StopReason::CancelledByApp), "that stopped it");
    });
}

/// Host StopReasonTest: every reason has WorkManager's code where it has one, and an unknown code is none, never a panic.
#[test]
fn stop_reasons_have_the_codes_of_workmanager() {
    let codes = [
        (StopReason::CancelledByApp, 1),
        (StopReason::Preempted, 2),
        (StopReason::Timeout, 3),
        (StopReason::ConstraintBatteryNotLow, 5),
        (StopReason::ConstraintCharging, 6),
        (StopReason::ConstraintConnectivity, 7),
        (StopReason::ConstraintDeviceIdle, 8),
        (StopReason::ConstraintStorageNotLow, 9),
        (StopReason::Quota, 10),
    ];
    for (reason, code) in codes {
        assert_eq!((reason.code(), StopReason::from_code(code)), (code, Some(reason)));
    }
    assert_eq!([0, 99, 255].map(StopReason::from_code), [None; 3]);
}

/// Does not hear a stop, and fails after it.
#[worker]
async fn fails_late(permanently: bool, #[state] gates: Gates) -> Result<(), WorkError> {
    gates.get("late").wait().await;
    if permanently { Err(WorkError::permanent("late")) } else { Err("late".into()) }
}

/// ConstraintTrackingWorkerTest `testSelfCancellingWorker` and SM-5: an end of the worker's own making, when nobody stopped
/// it or before it heard, counts as what it is.
#[test]
fn an_end_that_is_no_answer_to_a_stop_counts_as_what_it_is() {
    on_both_stores(|test| {
        let for_good = test.enqueue(fails_late::request(true).constraints(CHARGING));
        let again = test.enqueue(fails_late::request(false).constraints(CHARGING));
        test.run_until_idle();
        test.open("late");
        test.run_until_idle();
        assert_eq!(test.states(&[for_good, again]), [Failed, Waits]);
        assert_eq!((test.info(again).failures, test.info(again).stop_reason), (1, None));
    });
}

/// ControlledWorkerWrapperTest and WorkerWrapperTest 41: work that is cancelled, or loses its constraint, before its run begins never
/// begins, and may run later.
#[test]
fn con_1_what_is_stopped_before_it_begins_never_begins() {
    on_both_stores(|test| {
        let cancelled = test.enqueue(say::request("cancelled".into()).initial_delay(HOUR));
        let constrained = test.enqueue(say::request("constrained".into()).initial_delay(HOUR).constraints(CHARGING));
        test.advance(HOUR - secs(1));
        test.cancel(WorkSelector::id(cancelled));
        test.lose(ConstraintKind::Charging);
        test.advance(HOUR);
        assert_eq!(test.diary(), [] as [&str; 0]);
        assert_eq!((test.info(constrained).runs, test.info(constrained).interruptions), (0, 0));
        test.meet(ConstraintKind::Charging);
        test.advance(secs(5));
        assert_eq!((test.diary(), test.state_of(constrained)), (vec!["constrained".to_owned()], Succeeded));
    });
}

/// WorkManagerImplLargeExecutorTest: of two hundred works side by side, never more run than there are slots, and each runs once.
#[test]
fn sch_6_no_more_run_at_once_than_there_are_slots_and_each_runs_once() {
    on_both_stores(|test| {
        let test = test.shaped(|driver| {
            let mut limits = workman_testing::TestDriver::default_limits();
            limits.async_slots = 50;
            driver.limits(limits)
        });
        let requests: Vec<_> = (0..200).map(|n| naps::request(1 + n * 7 % 10)).collect();
        let ids = test.chain(test.manager().begin_with(requests));
        let mut most = 0;
        for _ in 0..60 {
            test.advance(secs(1));
            most = most.max(test.query(WorkQuery::in_state(Running)).len());
        }
        assert_eq!(most, 50);
        assert!(ids.iter().all(|id| (test.state_of(*id), test.info(*id).runs) == (Succeeded, 1)));
    });
}

/// Sleeps.
#[worker]
async fn naps(seconds: u64, cx: &WorkContext) -> Result<(), WorkError> {
    cx.sleep(secs(seconds)).await?;
    Ok(())
}

/// ResultTest: what each answer of a worker makes of its work.
#[test]
fn each_answer_ends_the_work_as_it_says() {
    on_both_stores(|test| {
        let good = test.enqueue(answers::request("success".into()));
        let bad = test.enqueue(answers::request("failure".into()));
        let again = test.enqueue(answers::request("retry".into()));
        let later = test.enqueue(answers::request("later".into()));
        test.run_until_idle();
        assert_eq!(test.states(&[good, bad, again, later]), [Succeeded, Failed, Waits, Waits]);
        assert_eq!(test.output::<u32>(good), 1);
        assert_eq!(test.info(bad).last_error().unwrap().to_string(), "failure");
        assert_eq!((test.due_in(again), test.due_in(later)), (secs(30), 2 * MINUTE));
        assert_eq!((test.info(bad).failures, test.info(again).failures, test.info(later).failures), (1, 1, 1));
        let handle = test.wait(test.manager().handle(answers::worker(), bad));
        assert!(matches!(test.refused(handle.output()), OutputError::Failed { attempts: 1, .. }));
    });
}

/// Answers as it is told.
#[worker]
async fn answers(how: String) -> Result<u32, WorkError> {
    match &*how {
        "success" => Ok(1),
        "failure" => Err(WorkError::permanent("failure")),
        "later" => Err(WorkError::retry_after(2 * MINUTE)),
        _ => Err("retry".into()),
    }
}

/// TestWorkerBuilderTest: a worker alone, with a chosen attempt, and the id of its request.
#[test]
fn a_worker_alone_gets_its_request_and_what_the_test_chooses() {
    let request = tells::request("x".into()).tag("test");
    let id = request.id();
    assert_eq!(TestWorker::<tells>::new(request).attempt(2).output(), format!("{id} tells 2 x"));
    assert_eq!(TestWorker::<tells>::new(tells::request("y".into())).output().split(' ').nth(2), Some("0"));
    assert_eq!(TestWorker::<blocks>::new(blocks::request(3)).output(), 6, "and one that blocks");
    let stopped = TestWorker::<naps>::new(naps::request(9)).stop_after(secs(3), StopReason::Shutdown).run();
    assert_eq!(stopped, End::Interrupted { reason: StopReason::Shutdown });
}

/// Says what its context says.
#[worker]
async fn tells(name: String, cx: &WorkContext) -> String {
    format!("{} {} {} {name}", cx.id(), cx.worker(), cx.attempt())
}

/// Takes its time, in a thread.
#[worker]
fn blocks(number: u32, cx: &WorkContext) -> Result<u32, WorkError> {
    cx.sleep_blocking(HOUR)?;
    Ok(2 * number)
}

/// Says what its context says, in a manager.
#[worker]
async fn introduces_itself(cx: &WorkContext, #[state] diary: Diary) {
    let tags: Vec<&str> = cx.tags().collect();
    diary.write(format!("{} {} {tags:?} {}", cx.id(), cx.worker(), cx.attempt()));
}

/// DefaultWorkerFactoryTest: a worker is told which work it runs.
#[test]
fn a_worker_is_told_which_work_it_runs() {
    on_both_stores(|test| {
        let id = test.enqueue(introduces_itself::request().tag("b").tag("a"));
        test.run_until_idle();
        assert_eq!(test.diary(), [format!("{id} introduces_itself [\"a\", \"b\"] 0")]);
    });
}

/// ProcessorTests `testStartNewGenerationDoesntStopCurrentWorker`: an update does not disturb a run, and starts none beside it.
#[test]
fn sm_8_an_update_neither_stops_a_run_nor_starts_another_beside_it() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(held::periodic("x".into(), 10 * HOUR));
        test.run_until_idle();
        for _ in 0..3 {
            let again = held::periodic("x".into(), 10 * HOUR).with_id(id);
            assert_eq!(test.wait(test.manager().update(again)), workman_core::UpdateResult::AppliedForNextRun);
            test.advance(MINUTE);
        }
        let info = test.info(id);
        assert_eq!((info.state, info.runs, info.generation), (Running, 1, 3));
        assert_eq!(test.diary(), ["x"]);
    });
}

/// Test scheduler's `testWorker_afterSuccessfulRun_postConditions`: conditions that change after the end change nothing.
#[test]
fn sm_1_nothing_makes_finished_work_run_again() {
    on_both_stores(|test| {
        let good = test.enqueue(say::request("x".into()).constraints(CHARGING));
        let bad = test.enqueue(flaky::request("y".into(), 9).max_attempts(1).constraints(CHARGING));
        test.run_until_idle();
        let before = [good, bad].map(|id| test.info(id));
        assert_eq!(before.each_ref().map(|info| info.state), [Succeeded, Failed]);
        test.lose(ConstraintKind::Charging);
        test.advance(MINUTE);
        test.meet(ConstraintKind::Charging);
        for id in [good, bad] {
            assert_eq!(test.cancel(WorkSelector::id(id)), 0);
        }
        // What has failed a person may take back, and what has succeeded nobody.
        let refused = test.refused(test.manager().retry(good));
        assert!(matches!(refused, ActionError::Refused(_)), "{refused}");
        test.crash_and_restart();
        test.advance(HOUR);
        assert_eq!([good, bad].map(|id| test.info(id)), before);
    });
}

/// WorkSpecDaoTest on scheduled works and SCH-3, D13: what waits, is blocked or is over holds no slot.
#[test]
fn sch_3_only_what_runs_holds_a_slot() {
    on_both_stores(|test| {
        let test = test.shaped(|driver| {
            let mut limits = workman_testing::TestDriver::default_limits();
            limits.async_slots = 1;
            driver.limits(limits)
        });
        test.lose(ConstraintKind::Charging);
        for n in 0..25 {
            test.enqueue(say::request("later".into()).initial_delay(DAY).priority(9));
            test.enqueue(say::request("constrained".into()).constraints(CHARGING).priority(9));
            test.enqueue(flaky::request(n.to_string(), 9).priority(9));
        }
        test.run_until_idle();
        test.diary();
        let chain = test.manager().begin_with(say::request("now".into())).then(say::request("then".into()));
        test.chain(chain);
        test.run_until_idle();
        assert_eq!(test.diary(), ["now", "then"]);
    });
}

/// TestSchedulerTest `multipleSetInitialDelayMetMultiThreaded_noDeadLock`: many callers at once are all served.
#[test]
fn many_callers_at_once_are_all_served() {
    on_both_stores(|test| {
        let mut watch = test.manager().watch(WorkQuery::tag("say"));
        let manager = test.manager();
        let calls = (0..10).map(|n| manager.enqueue(say::request(n.to_string()).initial_delay(HOUR)));
        let handles: Vec<_> = test.block_on(join_all(calls)).into_iter().map(Result::unwrap).collect();
        test.advance(HOUR);
        assert!(handles.iter().all(|handle| test.state_of(handle.id()) == Succeeded));
        let shown = watch.next().now_or_never().flatten().unwrap();
        assert_eq!(shown.iter().filter(|info| info.state == Succeeded).count(), 10);
    });
}

/// ForceStopRunnableTest `test_doNothingWhenNotForceStopped`: a start changes nothing but what ran when the process died.
#[test]
fn rec_1_a_start_changes_nothing_that_did_not_run() {
    on_both_stores(|test| {
        let done = test.enqueue(say::request("done".into()));
        let waits = test.enqueue(say::request("waits".into()).initial_delay(DAY));
        let retried = test.enqueue(flaky::request("retried".into(), 9).backoff(workman_core::Backoff::linear(HOUR)));
        let blocked = test.chain(
            test.manager().begin_with(say::request("a".into()).initial_delay(DAY)).then(say::request("b".into())),
        );
        let periodic = test.enqueue_periodic(say::periodic("p".into(), DAY));
        let runs = test.enqueue(held::request("runs".into()));
        test.run_until_idle();
        let others = [done, waits, retried, blocked[0], blocked[1], periodic];
        let before = others.map(|id| test.info(id));
        test.crash_and_restart();
        test.run_until_idle();
        assert_eq!(others.map(|id| test.info(id)), before);
        assert_eq!((test.state_of(runs), test.info(runs).deaths), (Running, 1));
        test.restart();
        assert_eq!(others.map(|id| test.info(id)), before);
    });
}

/// GreedySchedulerTimeoutTest: an attempt that takes too long is stopped with that reason and is tried again. There it is a limit of
/// 90 minutes for all work, here each request's own; D2: it is a failed attempt.
#[test]
fn sch_4_an_attempt_that_takes_too_long_is_stopped_and_is_a_failed_one() {
    on_both_stores(|test| {
        let id = test.enqueue(listens::request().timeout(90 * MINUTE).max_attempts(2));
        let patient = test.enqueue(listens::request());
        test.advance(90 * MINUTE - millis(1));
        assert_eq!(test.states(&[id, patient]), [Running, Running]);
        test.advance(millis(1));
        let timeout = Some(StopReason::Timeout);
        let info = test.info(id);
        assert_eq!((info.state, info.stop_reason, info.failures), (Waits, timeout, 1));
        assert_eq!(test.diary(), ["None false".to_owned(), "None false".into(), format!("{timeout:?} true")]);
        assert_eq!(test.due_in(id), secs(30), "and it backs off");
        test.advance(2 * HOUR);
        assert_eq!(test.states(&[id, patient]), [Failed, Running], "attempts that take too long are spent too");
        assert!(test.info(id).last_error().unwrap().to_string().contains("5400s"));
    });
}

/// WorkerWrapperTest 40: a stop after the end is none: the work keeps its end, and no reason is shown.
#[test]
fn sm_10_a_stop_after_the_end_changes_nothing() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("x".into()).constraints(CHARGING));
        test.run_until_idle();
        test.open("x");
        test.lose(ConstraintKind::Charging);
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).stop_reason), (Succeeded, None), "before the dwell time is over");
        let before = test.info(id);
        test.advance(MINUTE);
        assert_eq!(test.cancel(WorkSelector::All), 0);
        test.restart();
        assert_eq!(test.info(id), before);
        assert_eq!(test.diary(), ["x"]);
    });
}
