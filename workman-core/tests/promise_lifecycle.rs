//! The life of one work: success, failed attempts and their backoff, stops, deaths, and what survives them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Bystanders, MINUTE, secs};
use workman_core::{
    AttemptEnd, ConstraintKind, Constraints, NoteError, Outcome, StopReason, Stopped, WorkContext, WorkError,
    WorkState, worker,
};
use workman_testing::TestDriver;

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

#[worker]
async fn snoozes() -> Outcome<u32> {
    Outcome::Snooze(secs(9))
}

#[test]
fn a_snooze_is_no_failed_attempt() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(snoozes::request().max_attempts(1));
    test.advance(secs(9 * 5));
    let info = test.info(id);
    assert_eq!((info.state, info.runs, info.failures), (WorkState::Enqueued, 6, 0));
    assert!(info.attempts.iter().all(|attempt| attempt.end == AttemptEnd::Snoozed));
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
