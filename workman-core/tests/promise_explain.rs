//! Why a work is not running, and what a snapshot of it says.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use futures::StreamExt;
use support::{HOUR, MINUTE, secs};
use workman_core::{
    Backoff, ConstraintKind, Constraints, Explanation, Limits, OutOfQuotaPolicy, StopReason, Wait, WorkContext,
    WorkError, WorkId, WorkInfo, WorkQuery, WorkState, worker,
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
    assert_eq!(test.explain(delayed), Explanation::NotDue { left: HOUR, wait: Wait::Delay });
    let wait = Wait::Backoff { failures: 1, interruptions: 0 };
    assert_eq!(test.explain(failed), Explanation::NotDue { left: MINUTE, wait });
    assert_eq!(test.explain(failed).to_string(), "due in 60s: it waits for its backoff after 1 failed attempts");
    assert_eq!(test.explain(periodic), Explanation::NotDue { left: HOUR, wait: Wait::Period });
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

/// Equal snapshots are left out of a stream, so whatever a program may want to see must be part of them.
#[test]
fn obs_1_a_new_generation_and_a_stop_reason_are_changes_that_watchers_see() {
    let test = TestDriver::new();
    let charging = Constraints::new().requires_charging();
    let id = test.enqueue(sleeps::request(1_000).constraints(charging));
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
