//! The life of one work: success, failed attempts and their backoff, stops, deaths, and what survives them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Bystanders, HOUR, MINUTE, ends, secs};
use workman_core::{
    AttemptEnd, Backoff, ConstraintKind, Constraints, NoteError, Outcome, StopReason, Stopped, WorkContext, WorkError,
    WorkSelector, WorkState, worker,
};
use workman_testing::{Signal, TestDriver, VirtualClock};

type Url = String;

#[worker]
async fn upload_image(path: PathBuf) -> Result<Url, WorkError> {
    Ok(format!("https://example.org/{}", path.display()))
}

#[test]
fn a_failed_upload_is_tried_again_after_thirty_seconds() {
    let url = Url::from("https://example.org/cat.png");
    let test = TestDriver::new(); // memory store, virtual clock, deterministic executor; no runtime needed
    test.stub::<upload_image>([Err("offline".into()), Ok(url)]); // optional: the worker faked, its codec real
    let upload = test.enqueue(upload_image::request("cat.png".into())); // ids are Copy
    test.run_until_idle();
    assert_eq!(test.info(upload).state, WorkState::Enqueued); // failed once, waits
    test.advance(Duration::from_secs(30));
    assert_eq!(test.info(upload).state, WorkState::Succeeded);
}

/// SM-1, G1: a finished work stays as it is.
#[test]
fn sm_1_a_work_succeeds_once_and_gives_its_output() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(upload_image::request("cat.png".into()));
    test.run_until_idle();
    let info = test.info(id);
    assert_eq!((info.state, info.runs, info.failures), (WorkState::Succeeded, 1, 0));
    assert_eq!(test.output::<Url>(id), "https://example.org/cat.png");
    assert_eq!(test.cancel(WorkSelector::id(id)), 0, "a finished work can't be cancelled");
    test.advance(HOUR);
    test.crash_and_restart();
    test.run_until_idle();
    assert_eq!(test.info(id), info);
    bystanders.are_untouched(&test);
}

/// BO-1, BO-2: 30 s, 60 s, 2 min …, from the end of the failed attempt, and not a millisecond earlier.
#[test]
fn bo_2_and_bo_7_failed_attempts_are_repeated_at_exactly_the_default_backoff() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(failing::request(11));
    let mut waited = Vec::new();
    test.run_until_idle();
    for runs in 1..12 {
        let info = test.info(id);
        assert_eq!((info.state, info.runs, info.failures), (WorkState::Enqueued, u64::from(runs), runs));
        let wait = info.next_run.unwrap().since(ends(&info).pop().unwrap());
        test.advance(wait - Duration::from_millis(1));
        assert_eq!(test.info(id).runs, u64::from(runs), "not a millisecond earlier");
        test.advance(Duration::from_millis(1));
        waited.push(wait.as_secs());
    }
    assert_eq!(waited, [30, 60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 18000], "BO-3: five hours at the most");
    assert_eq!(test.output::<u32>(id), 11);
    bystanders.are_untouched(&test);
}

/// Fails as often as it is told, or permanently, or names its own time.
#[worker]
async fn failing(times: u32, cx: &WorkContext) -> Result<u32, String> {
    if cx.attempt() < times { Err(format!("attempt {} failed", cx.attempt())) } else { Ok(cx.attempt()) }
}

/// G10: automatic attempts end, visibly.
#[test]
fn g10_a_work_fails_for_good_when_its_attempts_are_spent() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let linear = Backoff::linear(secs(10));
    let failed = test.enqueue(failing::request(100).max_attempts(3).backoff(linear));
    let saved = test.enqueue(failing::request(2).max_attempts(3).backoff(linear));
    test.advance(HOUR);
    let info = test.info(failed);
    assert_eq!((info.state, info.runs, info.failures), (WorkState::Failed, 3, 3));
    assert_eq!(info.last_error().unwrap().message, "attempt 2 failed");
    assert_eq!(ends(&info), [0, 10, 30].map(|s| VirtualClock::START + secs(s)));
    assert_eq!(test.output::<u32>(saved), 2);
    bystanders.are_untouched(&test);
}

#[worker]
async fn choosy(how: String) -> Result<Outcome<u32>, WorkError> {
    match how.as_str() {
        "permanent" => Err(WorkError::permanent("gone")),
        "retry_after" => Err(WorkError::retry_after(secs(7)).because("busy")),
        "snooze" => Ok(Outcome::Snooze(secs(9))),
        _ => panic!("no such {how}"),
    }
}

#[test]
fn sm_6_a_permanent_error_fails_the_work_at_once() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(choosy::request("permanent".into()));
    test.run_until_idle();
    let info = test.info(id);
    assert_eq!((info.state, info.runs, info.failures), (WorkState::Failed, 1, 1));
    assert_eq!(info.last_error().unwrap().to_string(), "gone");
    bystanders.are_untouched(&test);
}

#[test]
fn sm_6_retry_after_replaces_the_backoff_and_counts_as_a_failed_attempt() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(choosy::request("retry_after".into()).max_attempts(3));
    test.advance(secs(100));
    let info = test.info(id);
    assert_eq!((info.state, info.failures), (WorkState::Failed, 3));
    assert_eq!(ends(&info), [0, 7, 14].map(|s| VirtualClock::START + secs(s)));
    bystanders.are_untouched(&test);
}

#[test]
fn a_snooze_is_no_failed_attempt() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(choosy::request("snooze".into()).max_attempts(1));
    test.advance(secs(9 * 5));
    let info = test.info(id);
    assert_eq!((info.state, info.runs, info.failures), (WorkState::Enqueued, 6, 0));
    assert!(info.attempts.iter().all(|attempt| attempt.end == AttemptEnd::Snoozed));
    bystanders.are_untouched(&test);
}

#[worker]
fn choosy_blocking(times: u32, cx: &WorkContext) -> u32 {
    assert!(cx.attempt() >= times, "attempt {} panics", cx.attempt());
    cx.attempt()
}

/// A panic is a failed attempt, with its text, in async and in blocking workers, and takes nobody along.
#[test]
fn sm_6_a_panic_is_a_failed_attempt() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let in_async = test.enqueue(choosy::request("worker".into()).max_attempts(1));
    let in_blocking = test.enqueue(choosy_blocking::request(1));
    test.run_until_idle();
    let info = test.info(in_async);
    let error = info.last_error().unwrap();
    assert_eq!((info.state, error.panicked, error.message.as_str()), (WorkState::Failed, true, "no such worker"));
    assert_eq!(test.info(in_blocking).last_error().unwrap().message, "attempt 0 panics");
    test.advance(secs(30));
    assert_eq!(test.output::<u32>(in_blocking), 1);
    bystanders.are_untouched(&test);
}

/// Counts up, one a second, and goes on where an earlier run stopped.
#[worker]
async fn count(cx: &WorkContext, to: u32) -> Result<u32, WorkError> {
    let from = cx.checkpoint::<u32>()?.unwrap_or(0);
    for i in from + 1..=to {
        cx.sleep(secs(1)).await?;
        cx.set_progress(&i)?;
        cx.save_checkpoint(&i)?;
    }
    Ok(to - from)
}

#[worker]
fn count_blocking(cx: &WorkContext, to: u32) -> Result<u32, WorkError> {
    let from = cx.checkpoint::<u32>()?.unwrap_or(0);
    for i in from + 1..=to {
        cx.sleep_blocking(secs(1))?;
        cx.set_progress(&i)?;
        cx.save_checkpoint(&i)?;
    }
    Ok(to - from)
}

/// Progress is seen at once; a checkpoint is on disk a second later at the latest, and survives a crash.
#[test]
fn a_checkpoint_survives_a_crash_and_the_next_run_goes_on_there() {
    for request in [count::request(1000), count_blocking::request(1000)] {
        let test = TestDriver::new();
        let bystanders = Bystanders::of(&test);
        let id = test.enqueue(request.initial_delay(MINUTE));
        test.advance(MINUTE + secs(500));
        let progress: u32 = test.info(id).progress.unwrap().decode().unwrap();
        assert_eq!(progress, 500);
        test.crash_and_restart();
        assert_eq!(test.info(id).deaths, 1);
        test.run_until_idle();
        assert_eq!(test.info(id).state, WorkState::Running, "one death: it goes on at once");
        test.advance(secs(501));
        let done: u32 = test.output(id);
        assert!((500..=501).contains(&done), "at most the last second was lost: {done}");
        let info = test.info(id);
        assert_eq!((info.failures, info.deaths, info.progress), (0, 0, None), "SM-9: progress is gone at the end");
        bystanders.are_untouched(&test);
    }
}

#[worker]
async fn flushing(cx: &WorkContext, here: u32) -> Result<(), WorkError> {
    if cx.checkpoint::<u32>()?.is_some() {
        return Ok(());
    }
    cx.save_checkpoint(&here)?;
    cx.flush().await?;
    std::future::pending().await
}

#[test]
fn a_flushed_checkpoint_is_durable_at_once() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(flushing::request(7));
    test.run_until_idle();
    test.crash_and_restart();
    test.run_until_idle();
    assert_eq!(test.info(id).state, WorkState::Succeeded);
    bystanders.are_untouched(&test);
}

#[worker]
async fn obedient(cx: &WorkContext) -> Result<(), Stopped> {
    Err(cx.until_stopped().await)
}

#[worker]
fn obedient_blocking(cx: &WorkContext) -> Result<(), Stopped> {
    while !cx.is_stopped() {}
    cx.stopped()
}

/// CON-1, SCH-1: a constraint that is lost for the dwell time stops the run as an interruption; when it has held for
/// the dwell time the work runs again.
#[test]
fn con_1_and_bo_6_a_lost_constraint_stops_the_run_after_the_dwell_time_and_its_return_starts_it_again() {
    for request in [obedient::request(), obedient_blocking::request()] {
        let test = TestDriver::new();
        let bystanders = Bystanders::of(&test);
        let id = test.enqueue(request.constraints(Constraints::new().requires_charging()));
        test.run_until_idle();
        assert_eq!(test.state_of(id), WorkState::Running);

        test.lose(ConstraintKind::Charging);
        test.advance(secs(4));
        test.meet(ConstraintKind::Charging);
        test.advance(MINUTE);
        let info = test.info(id);
        assert_eq!((info.state, info.runs), (WorkState::Running, 1), "a short loss changes nothing");

        test.lose(ConstraintKind::Charging);
        test.advance(secs(5));
        let info = test.info(id);
        assert_eq!((info.state, info.stop_reason), (WorkState::Enqueued, Some(StopReason::ConstraintCharging)));
        assert_eq!((info.failures, info.interruptions), (0, 1));

        test.meet(ConstraintKind::Charging);
        test.advance(Duration::from_millis(4999));
        assert_eq!(test.state_of(id), WorkState::Enqueued);
        test.advance(Duration::from_millis(1));
        let info = test.info(id);
        assert_eq!((info.state, info.runs), (WorkState::Running, 2));
        bystanders.are_untouched(&test);
    }
}

#[test]
fn con_1_and_con_3_each_constraint_stops_with_its_own_reason_and_no_other_work() {
    let constraints = [
        (ConstraintKind::Charging, Constraints::new().requires_charging()),
        (ConstraintKind::BatteryNotLow, Constraints::new().requires_battery_not_low()),
        (ConstraintKind::StorageNotLow, Constraints::new().requires_storage_not_low()),
        (ConstraintKind::Network, Constraints::new().network(workman_core::NetworkType::Connected)),
        (ConstraintKind::DeviceIdle, Constraints::new().requires_device_idle()),
    ];
    for (lost, _) in constraints.clone() {
        let mut limits = TestDriver::default_limits();
        limits.async_slots = 5;
        let test = TestDriver::new().limits(limits);
        let bystanders = Bystanders::of(&test);
        let works =
            constraints.clone().map(|(kind, asked)| (kind, test.enqueue(obedient::request().constraints(asked))));
        test.run_until_idle();
        test.lose(lost);
        test.advance(secs(5));
        for (kind, id) in works {
            let wanted = if kind == lost { (WorkState::Enqueued, 1) } else { (WorkState::Running, 0) };
            let info = test.info(id);
            assert_eq!((info.state, info.interruptions), wanted, "lost {lost}, asks for {kind}");
            assert_eq!(info.stop_reason, (kind == lost).then_some(lost.stop_reason()));
        }
        bystanders.are_untouched(&test);
    }
}

/// G10: a shutdown consumes no attempt.
#[test]
fn bo_5_a_shutdown_is_an_interruption_and_no_failed_attempt() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let works = [
        test.enqueue(obedient::request().max_attempts(1)),
        test.enqueue(obedient_blocking::request().max_attempts(1)),
        test.enqueue(count::request(1000).max_attempts(1)),
    ];
    test.advance(secs(10));
    let report = test.restart();
    assert_eq!((report.ended, report.given_up.len(), report.error), (3, 0, None));
    for id in works {
        let info = test.info(id);
        assert_eq!((info.failures, info.interruptions, info.deaths), (0, 1, 0));
        assert_eq!(info.stop_reason, Some(StopReason::Shutdown));
    }
    test.advance(secs(990));
    assert_eq!(test.output::<u32>(works[2]), 990, "what was said before the stop is on disk");
    bystanders.are_untouched(&test);
}

static DROPPED: AtomicU32 = AtomicU32::new(0);

struct CountsDrops;

impl Drop for CountsDrops {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

#[worker]
async fn deaf() {
    let _counts = CountsDrops;
    std::future::pending::<()>().await;
}

#[test]
fn an_async_worker_that_does_not_stop_is_dropped_after_the_grace_period() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(deaf::request().max_attempts(1));
    test.run_until_idle();
    let before = DROPPED.load(Ordering::Relaxed);
    let report = test.restart();
    assert_eq!((report.ended, report.given_up, DROPPED.load(Ordering::Relaxed) - before), (0, vec![id], 1));
    let info = test.info(id);
    assert_eq!((info.failures, info.interruptions, info.deaths), (0, 1, 0));
    bystanders.are_untouched(&test);
}

/// G12: a cancelled work never starts again, and what its run still gives is dropped.
#[test]
fn can_1_a_cancelled_run_is_told_to_stop_and_its_result_is_dropped() {
    let test = TestDriver::new().state(Signal::new());
    let bystanders = Bystanders::of(&test);
    let waiting = test.enqueue(obedient::request().initial_delay(HOUR));
    let running = test.enqueue(obedient::request());
    test.run_until_idle();
    assert_eq!(test.cancel(WorkSelector::tag("obedient")), 2);
    test.advance(2 * HOUR);
    for (id, runs, reason) in [(waiting, 0, None), (running, 1, Some(StopReason::CancelledByApp))] {
        let info = test.info(id);
        assert_eq!((info.state, info.runs, info.stop_reason), (WorkState::Cancelled, runs, reason));
        assert_eq!((info.failures, info.interruptions), (0, 0));
    }
    bystanders.are_untouched(&test);
}

type Diary = Arc<Mutex<Vec<u32>>>;

#[worker]
fn in_turn(#[state] diary: Diary, cx: &WorkContext, number: u32) -> Result<(), Stopped> {
    for _ in 0..3 {
        diary.lock().unwrap().push(number);
        cx.sleep_blocking(secs(1))?;
    }
    Ok(())
}

/// Blocking workers run side by side in virtual time, one at a time in real time, in an order that the seed decides.
#[test]
fn blocking_workers_take_turns_in_an_order_that_the_seed_decides() {
    let run = |seed| {
        let diary = Diary::default();
        let test = TestDriver::with_seed(seed).state(diary.clone());
        for number in 0..4 {
            test.enqueue(in_turn::request(number));
        }
        test.advance(secs(3));
        assert!(test.query(workman_core::WorkQuery::all()).iter().all(|info| info.state == WorkState::Succeeded));
        diary.lock().unwrap().clone()
    };
    let diaries: Vec<Vec<u32>> = (0..8).map(run).collect();
    for (seed, diary) in diaries.iter().enumerate() {
        assert_eq!(*diary, run(seed as u64), "the same seed, the same order");
        for second in diary.chunks(4) {
            let mut sorted = second.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3], "all run in each second");
        }
    }
    assert!(diaries.iter().any(|diary| *diary != diaries[0]), "another seed, another order");
}

#[worker]
async fn says_too_much(cx: &WorkContext) -> Result<(), WorkError> {
    match cx.set_progress(&"x".repeat(65 << 10)) {
        Err(NoteError::TooLarge { .. }) => Ok(()),
        other => Err(WorkError::permanent(format!("{other:?}"))),
    }
}

#[test]
fn progress_beyond_the_limit_is_refused_to_the_worker() {
    let test = TestDriver::new();
    let id = test.enqueue(says_too_much::request());
    test.run_until_idle();
    assert_eq!(test.state_of(id), WorkState::Succeeded);
}
