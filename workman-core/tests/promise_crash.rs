//! Crashes: before, after and in the middle of every commit. What was acknowledged is done once, whatever happens.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use support::{Bystanders, DAY, HOUR, RedbHome, secs};
use workman_core::{
    EnqueueError, ExistingWorkPolicy, ParkReason, Request, WorkContext, WorkError, WorkId, WorkInfo, WorkQuery,
    WorkState, worker,
};
use workman_testing::{CrashPoint, Fault, MemoryHome, StoreHome, TestDriver};

#[worker]
async fn begin(number: u32, cx: &WorkContext) -> Result<u32, WorkError> {
    attempts_fail(cx, 1)?;
    Ok(number)
}

/// Async, with a checkpoint on the way.
#[worker]
async fn add(#[prerequisite] sum: u32, number: u32, cx: &WorkContext) -> Result<u32, WorkError> {
    attempts_fail(cx, 2)?;
    cx.save_checkpoint(&sum)?;
    cx.sleep(secs(3)).await?;
    Ok(cx.checkpoint::<u32>()?.unwrap_or(sum) + number)
}

#[worker]
fn double(#[prerequisite] sum: u32, cx: &WorkContext) -> Result<u32, WorkError> {
    attempts_fail(cx, 1)?;
    cx.sleep_blocking(secs(2))?;
    Ok(2 * sum)
}

fn attempts_fail(cx: &WorkContext, times: u32) -> Result<(), WorkError> {
    if cx.attempt() < times { Err(format!("attempt {}", cx.attempt()).into()) } else { Ok(()) }
}

const STEPS: usize = 5;

/// A chain of five with retries, enqueued as a program would that starts again and again.
fn enqueue(test: &TestDriver) -> Result<(), EnqueueError> {
    let manager = test.manager();
    let chain = manager.begin_unique("chain", ExistingWorkPolicy::Keep, begin::request(1));
    let chain = chain.then(add::request(2)).then(double::request()).then(add::request(4)).then(double::request());
    test.block_on(chain.enqueue()).map(|_| ())
}

/// Runs the program until nothing is left to do, starting it again each time that it dies.
fn run(test: &TestDriver) {
    loop {
        let stored = enqueue(test);
        if stored.is_ok() {
            // Not as long as finished work is kept, or the chain would be stored anew.
            test.advance(2 * HOUR);
        } else if !test.has_crashed() {
            continue;
        }
        if !test.has_crashed() {
            return;
        }
        test.crash_and_restart();
    }
}

fn outputs(test: &TestDriver) -> Vec<u32> {
    let mut works = test.query(WorkQuery::unique("chain"));
    works.sort_by_key(|work| work.id);
    assert_eq!(works.len(), STEPS, "the chain is stored once");
    let failures: Vec<u32> = works.iter().map(|work| work.failures).collect();
    assert_eq!(failures, [1, 2, 1, 2, 1], "neither crashes nor faults count as failed attempts");
    works.iter().map(|work| test.output::<u32>(work.id)).collect()
}

const WANTED: [u32; STEPS] = [1, 3, 6, 10, 20];

/// Each commit of the scenario once, with this happening at it.
fn sweep<H: StoreHome>(home: impl Fn() -> H, happens: impl Fn(&TestDriver, u64)) -> u64 {
    for commit in 1.. {
        let test = TestDriver::with_seed(commit).store(home());
        let bystanders = Bystanders::of(&test);
        let first = test.commits();
        happens(&test, first + commit);
        run(&test);
        assert_eq!(outputs(&test), WANTED, "at commit {commit}");
        bystanders.are_untouched(&test);
        if first + commit > test.commits() {
            return commit;
        }
    }
    unreachable!("commits end")
}

/// G1, G2, G3, G5, G8: whatever commit the process dies at, the chain is there once, ends, and gives the same.
#[test]
fn a_crash_before_after_or_in_the_middle_of_any_commit_loses_and_doubles_nothing() {
    for point in CrashPoint::ALL {
        let commits = sweep(MemoryHome::new, |test, commit| test.crash_at(commit, point));
        assert!(commits > 20, "{commits} commits are swept");
    }
}

#[test]
fn the_same_holds_for_a_redb_file() {
    for (number, point) in CrashPoint::ALL.into_iter().enumerate() {
        let home = || RedbHome::new(&format!("crash-{number}"));
        sweep(home, |test, commit| test.crash_at(commit, point));
    }
}

/// Two deaths in a row: the second in the recovery from the first.
#[test]
fn a_crash_during_the_recovery_from_a_crash_loses_and_doubles_nothing() {
    for (first, second) in [(CrashPoint::Before, CrashPoint::After), (CrashPoint::After, CrashPoint::Indeterminate)] {
        sweep(MemoryHome::new, |test, commit| {
            test.crash_at(commit, first);
            test.crash_at(commit + 1, second);
        });
    }
}

/// G3, G14: an error of the store ends nothing, and an indeterminate one is never taken for a refusal.
#[test]
fn a_store_that_fails_at_any_commit_loses_and_doubles_nothing() {
    for fault in [Fault::Rejected, Fault::IndeterminateApplied, Fault::IndeterminateLost] {
        sweep(MemoryHome::new, |test, commit| test.fail_at(commit, fault));
    }
}

/// Every handle of the old process is cut off before the next one begins.
#[test]
fn a_dead_process_is_answered_with_closed_and_writes_nothing() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let old = test.manager();
    test.crash_and_restart();
    let commits = test.commits();
    let refused = test.block_on(old.enqueue(begin::request(1))).unwrap_err();
    assert!(matches!(&refused, EnqueueError::Store { error, .. } if error.is_closed()), "{refused}");
    assert!(test.block_on(old.info(WorkId::from_u128(1))).unwrap_err().is_closed());
    assert_eq!(test.commits(), commits);
    bystanders.are_untouched(&test);
}

// ---- deaths ----

#[worker]
async fn deadly(cx: &WorkContext) -> Result<(), WorkError> {
    cx.sleep(HOUR).await?;
    Ok(())
}

#[worker]
async fn deadly_with_checkpoints(cx: &WorkContext) -> Result<u32, WorkError> {
    let done = cx.checkpoint::<u32>()?.unwrap_or(0) + 1;
    cx.save_checkpoint(&done)?;
    cx.flush().await?;
    cx.sleep(HOUR).await?;
    Ok(done)
}

fn start<O>(test: &TestDriver, request: Request<workman_core::Nothing, O>) -> WorkId {
    let id = test.enqueue(request);
    test.run_until_idle();
    assert_eq!(test.state_of(id), WorkState::Running);
    id
}

/// Lets the process die under a work, and waits until the work runs again; answers how long that took.
fn die(test: &TestDriver, id: WorkId) -> Option<u64> {
    test.crash_and_restart();
    test.run_until_idle();
    let info: WorkInfo = test.info(id);
    let wait = info.next_run.map_or(0, |at| at.since(workman_core::Clock::wall(test.clock())).as_secs());
    test.advance(secs(wait));
    (test.state_of(id) == WorkState::Running).then_some(wait)
}

/// G10: two deaths make a suspect, which waits for its backoff; five more as the sole suspect park it. `retry` frees it.
#[test]
fn bo_9_a_work_that_kills_its_process_again_and_again_is_parked_as_poisoned_and_can_be_freed() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = start(&test, deadly::request().max_attempts(1));
    let waits: Vec<Option<u64>> = (0..7).map(|_| die(&test, id)).collect();
    assert_eq!(waits, [Some(0), Some(30), Some(60), Some(120), Some(240), Some(480), None]);
    let info = test.info(id);
    assert_eq!(info.parked, Some(ParkReason::Poisoned { deaths: 7 }));
    assert_eq!((info.state, info.failures, info.interruptions), (WorkState::Enqueued, 0, 0), "no attempt was used up");
    test.advance(DAY);
    test.crash_and_restart();
    test.run_until_idle();
    assert_eq!(test.info(id).parked, Some(ParkReason::Poisoned { deaths: 7 }));

    test.retry(id);
    test.run_until_idle();
    assert_eq!((test.state_of(id), test.info(id).deaths), (WorkState::Running, 0));
    test.advance(HOUR);
    assert_eq!(test.state_of(id), WorkState::Succeeded);
    bystanders.are_untouched(&test);
}

#[test]
fn a_checkpoint_forgives_the_deaths_before_it() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = start(&test, deadly_with_checkpoints::request());
    for _ in 0..12 {
        assert_eq!(die(&test, id), Some(0));
        assert_eq!(test.info(id).deaths, 0, "the checkpoint was saved again");
    }
    test.advance(HOUR);
    assert_eq!(test.output::<u32>(id), 13);
    bystanders.are_untouched(&test);
}

/// Only one suspect runs at a time, so that the one that kills is known; others are not held up.
#[test]
fn suspects_run_one_at_a_time_and_hold_up_nobody_else() {
    let test = TestDriver::new();
    let suspects = [start(&test, deadly::request()), start(&test, deadly::request())];
    for _ in 0..2 {
        test.crash_and_restart();
        test.run_until_idle();
    }
    let innocent = start(&test, deadly_with_checkpoints::request());
    test.advance(secs(30));
    let running = suspects.iter().filter(|id| test.state_of(**id) == WorkState::Running).count();
    assert_eq!(running, 1);
    assert_eq!(test.state_of(innocent), WorkState::Running);
    test.advance(2 * HOUR);
    assert!(suspects.iter().all(|id| test.state_of(*id) == WorkState::Succeeded));
}
