//! Why a work is not running, and what a snapshot of it says.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use futures::StreamExt;
use support::{HOUR, MINUTE, secs};
use workman_core::{
    Backoff, ConstraintKind, Constraints, Explanation, Limits, OutOfQuotaPolicy, Outcome, OutputError, Schedule,
    StopReason, Wait, WorkContext, WorkError, WorkId, WorkInfo, WorkQuery, WorkState, worker,
};
use workman_testing::TestDriver;

#[worker]
async fn sleeps(cx: &WorkContext, length: u64) -> Result<u64, WorkError> {
    cx.sleep(secs(length)).await?;
    Ok(length)
}

#[worker]
fn fails() -> Result<(), String> {
    Err("as ever".into())
}

#[worker]
fn count(#[prerequisites] slept: Vec<u64>) -> usize {
    slept.len()
}

#[test]
fn blocked_work_names_the_prerequisites_that_are_open() {
    let mut limits = Limits::default();
    limits.async_slots = 32;
    let test = TestDriver::new().limits(limits);
    let manager = test.manager();
    let heads: Vec<_> = (0..15).map(|n| sleeps::request(n * 10)).collect();
    let ids = test.block_on(manager.begin_with(heads).then(count::request()).enqueue()).unwrap().ids;
    test.advance(secs(25));
    let Explanation::Blocked { open: 12, on } = test.explain(ids[15]) else { panic!("{:?}", test.explain(ids[15])) };
    let mut open: Vec<WorkId> = ids[3..15].to_vec();
    open.sort_unstable();
    assert_eq!(on, open[..10], "the first ten");
    let said = test.explain(ids[15]).to_string();
    assert!(said.starts_with("12 prerequisites are open: ") && said.ends_with(" .."), "{said}");
    test.advance(secs(110));
    assert_eq!(test.explain(ids[15]).to_string(), format!("1 prerequisite is open: {}", ids[14]));
}

#[test]
fn work_that_is_not_due_says_what_it_waits_for() {
    let test = TestDriver::new();
    let delayed = test.enqueue(sleeps::request(1).initial_delay(HOUR));
    let failed = test.enqueue(fails::request().backoff(Backoff::linear(MINUTE)));
    let periodic = test.enqueue_periodic(fails::periodic(HOUR).max_attempts(1));
    test.run_until_idle();
    assert_eq!(test.explain(delayed), Explanation::NotDue { left: HOUR, wait: Wait::Delay, times: 0 });
    let (wait, times) = (Wait::Backoff, 1);
    assert_eq!(test.explain(failed), Explanation::NotDue { left: MINUTE, wait, times });
    assert_eq!(test.explain(failed).to_string(), "due in 1 min: it waits for its backoff after 1 failed attempt");
    assert_eq!(test.explain(periodic), Explanation::NotDue { left: HOUR, wait: Wait::Period, times: 0 });
}

#[worker]
fn asks_for_a_minute(how: String) -> Result<Outcome<()>, WorkError> {
    match how.as_str() {
        "snooze" => Ok(Outcome::Snooze(MINUTE)),
        _ => Err(WorkError::retry_after(MINUTE)),
    }
}

#[test]
fn a_wait_is_named_for_what_asked_for_it() {
    let test = TestDriver::new();
    let ids = ["snooze", "retry_after"].map(|how| test.enqueue(asks_for_a_minute::request(how.into())));
    let flexed = test.enqueue_periodic(fails::periodic(Schedule::every(HOUR).flex(MINUTE)));
    let dies = test.enqueue(sleeps::request(3_600).backoff(Backoff::linear(MINUTE)));
    test.run_until_idle();
    for id in ids {
        assert_eq!(test.explain(id), Explanation::NotDue { left: MINUTE, wait: Wait::Asked, times: 0 });
    }
    assert_eq!(test.explain(ids[0]).to_string(), "due in 1 min: it waits for what its last attempt asked for");
    assert_eq!(test.explain(flexed), Explanation::NotDue { left: 59 * MINUTE, wait: Wait::FirstRun, times: 0 });
    assert!(test.explain(flexed).to_string().ends_with("it waits for the first run of its period"));
    test.crash_and_restart();
    test.run_until_idle();
    test.crash_and_restart();
    test.run_until_idle();
    assert_eq!(test.explain(dies), Explanation::NotDue { left: MINUTE, wait: Wait::Deaths, times: 2 });
    assert!(test.explain(dies).to_string().ends_with("its backoff after 2 deaths of its process"));
}

/// Work that never ran failed for another; which one is found through all that lies between, as long as it is stored.
#[test]
fn work_that_failed_through_a_prerequisite_names_it() {
    let test = TestDriver::new();
    let manager = test.manager();
    let first = [fails::request().max_attempts(1), fails::request().max_attempts(1)];
    let chain = manager.begin_with(first).then(fails::request()).then(sleeps::request(1)).enqueue();
    let chain = test.block_on(chain).unwrap();
    test.run_until_idle();
    assert_eq!(test.explain(chain.ids[0]), Explanation::Finished(WorkState::Failed), "it failed by itself");
    for id in &chain.ids[2..] {
        let Explanation::PrerequisiteFailed(prerequisite) = test.explain(*id) else { panic!("{}", test.explain(*id)) };
        assert!(chain.ids[..2].contains(&prerequisite.id), "{prerequisite}");
        let said = format!("failed, since its prerequisite {} of worker \"fails\" failed: as ever", prerequisite.id);
        assert_eq!(test.explain(*id).to_string(), said);
    }
    let error = test.block_on(chain.last.unwrap().output()).unwrap_err();
    let OutputError::Failed { attempts: 0, prerequisite: Some(prerequisite), .. } = &error else { panic!("{error}") };
    assert_eq!(error.to_string(), format!("the work failed, since {prerequisite}"));
    let alone = test.block_on(manager.enqueue(fails::request().max_attempts(1))).unwrap();
    test.run_until_idle();
    let error = test.block_on(alone.output()).unwrap_err();
    assert_eq!(error.to_string(), "the work failed for good after 1 failed attempt; the last error: as ever");
}

#[test]
fn what_is_not_stored_was_most_likely_pruned() {
    let test = TestDriver::new();
    let manager = test.manager();
    let gone = test.block_on(manager.enqueue(sleeps::request(0))).unwrap();
    test.run_until_idle();
    test.block_on(manager.prune()).unwrap();
    assert_eq!(test.explain(gone.id()), Explanation::NotFound(gone.id()));
    let likely = "it has finished and was pruned or kept long enough";
    let said = test.explain(gone.id()).to_string();
    assert!(said.starts_with(&format!("no work has the id {}; {likely}", gone.id())), "{said}");
    let said = test.block_on(gone.output()).unwrap_err().to_string();
    assert!(said.starts_with(&format!("the work is not stored: {likely}")), "{said}");
    let said = test.block_on(manager.handle(sleeps::worker(), gone.id())).unwrap_err().to_string();
    assert!(said.contains(likely), "{said}");
    let said = test.block_on(gone.then(sleeps::request(1)).enqueue()).unwrap_err().to_string();
    assert!(said.contains("was pruned or kept long enough") && said.contains("`how` is `Kept`"), "{said}");
}

#[test]
fn expedited_work_that_fell_back_says_so_while_it_waits_for_a_slot() {
    let mut limits = Limits::default();
    (limits.async_slots, limits.expedited_slots, limits.expedited_budget) = (1, 1, MINUTE);
    let test = TestDriver::new().limits(limits);
    let expedited = |n| sleeps::request(n).expedited(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest);
    let spends = test.enqueue(expedited(120));
    test.advance(secs(200));
    assert_eq!(test.state_of(spends), WorkState::Succeeded);
    test.enqueue(sleeps::request(1_000));
    test.run_until_idle();
    let fell_back = test.enqueue(expedited(1));
    test.run_until_idle();
    assert_eq!(test.explain(fell_back), Explanation::OutOfQuota);
    let ordinary = test.enqueue(sleeps::request(1));
    assert_eq!(test.explain(ordinary), Explanation::NoSlot);
}

/// A manager may leave a kind of worker to others.
#[test]
fn without_slots_of_a_kind_its_work_waits_and_says_so() {
    let mut limits = Limits::default();
    limits.async_slots = 0;
    let test = TestDriver::new().limits(limits);
    let (of_async, of_blocking) = (test.enqueue(sleeps::request(1)), test.enqueue(fails::request().max_attempts(1)));
    test.advance(HOUR);
    assert_eq!((test.info(of_async).runs, test.explain(of_async)), (0, Explanation::NoSlot));
    assert_eq!(test.state_of(of_blocking), WorkState::Failed, "it ran");
}

/// Equal snapshots are left out of a stream, so whatever a program may want to see must be part of them.
#[test]
fn obs_1_a_new_generation_and_a_stop_reason_are_changes_that_watchers_see() {
    let test = TestDriver::new();
    let charging = Constraints::new().requires_charging();
    let id = test.enqueue(sleeps::request(1_000).constraints(charging.clone()));
    let manager = test.manager();
    let mut watched = manager.watch(WorkQuery::id(id));
    let mut next = |test: &TestDriver| -> WorkInfo { test.block_on(watched.next()).unwrap().remove(0) };
    test.run_until_idle();
    let before = next(&test);
    assert_eq!((before.generation, before.state), (0, WorkState::Running));
    test.block_on(manager.update(sleeps::request(1_000).constraints(charging).with_id(id))).unwrap();
    let mut updated = next(&test);
    assert_eq!((updated.generation, updated.state), (1, WorkState::Running));
    updated.generation = 0;
    assert_eq!(updated, before, "and nothing else has changed");
    test.lose(ConstraintKind::Charging);
    test.advance(MINUTE);
    assert_eq!(next(&test).stop_reason, Some(StopReason::ConstraintCharging));
}
