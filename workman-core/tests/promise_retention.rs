//! Finished work is kept for a while, and then it goes, while the process lives and at its next start.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::time::Duration;

use support::{Bystanders, DAY, HOUR, MINUTE, RedbHome, secs};
use workman_core::{Builder, Limits, WorkId, WorkQuery, WorkState, worker};
use workman_testing::TestDriver;

#[worker]
fn answers(number: u32) -> u32 {
    number
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = TestDriver::default_limits();
    change(&mut limits);
    limits
}

fn finish(test: &TestDriver, number: u32) -> WorkId {
    let id = test.enqueue(answers::request(number));
    test.run_until_idle();
    assert_eq!(test.state_of(id), WorkState::Succeeded);
    id
}

fn stored(test: &TestDriver, ids: &[WorkId]) -> Vec<bool> {
    ids.iter().map(|id| test.find(*id).is_some()).collect()
}

#[test]
fn rec_6_finished_work_is_kept_for_a_day_and_goes_within_a_minute_then() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let id = finish(&test, 1);
    test.advance(DAY - secs(1));
    assert_eq!(test.output::<u32>(id), 1);
    test.advance(secs(1) + MINUTE);
    assert!(test.find(id).is_none());
    bystanders.are_untouched(&test);
}

#[test]
fn rec_6_what_asked_to_be_kept_longer_is() {
    let test = TestDriver::new();
    let kept = test.enqueue(answers::request(1).keep_results_for_at_least(3 * DAY));
    let plain = finish(&test, 2);
    test.advance(2 * DAY);
    assert_eq!(stored(&test, &[kept, plain]), [true, false]);
    test.advance(2 * DAY - MINUTE);
    assert_eq!(stored(&test, &[kept]), [true]);
    test.advance(2 * MINUTE);
    assert_eq!(stored(&test, &[kept]), [false]);
}

#[test]
fn rec_6_of_too_many_the_oldest_go_at_once() {
    let test = TestDriver::new().limits(limits(|limits| limits.retained = 2));
    let ids: Vec<WorkId> = (0..5).map(|number| finish(&test, number)).collect();
    assert_eq!(stored(&test, &ids), [false, false, false, true, true]);
    let kept = test.enqueue(answers::request(9).keep_results_for_at_least(DAY));
    test.run_until_idle();
    assert_eq!(stored(&test, &[ids[3], ids[4], kept]), [true, true, true], "what asked to be kept crowds out nothing");
    finish(&test, 6);
    assert_eq!(stored(&test, &[ids[3], ids[4], kept]), [false, true, true], "and is passed over");
}

#[test]
fn works_that_finish_together_are_counted_together() {
    let test = TestDriver::new().limits(limits(|limits| limits.retained = 3));
    let requests: Vec<_> = (0..500).map(answers::request).collect();
    let chain = test.manager().begin_with(requests);
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    test.run_until_idle();
    let left = stored(&test, &ids).into_iter().filter(|stored| *stored).count();
    assert_eq!(left, 3);
}

fn old_work_goes_at_the_next_start(end: impl Fn(&TestDriver)) {
    for home in [None, Some(RedbHome::new("retention"))] {
        let test = TestDriver::new();
        let test = match home {
            Some(home) => test.store(home),
            None => test,
        };
        let bystanders = Bystanders::of(&test);
        let old = finish(&test, 1);
        test.clock().suspend(DAY);
        end(&test);
        test.run_until_idle();
        assert!(test.find(old).is_none());
        bystanders.are_untouched(&test);
        let young = finish(&test, 2);
        test.advance(HOUR);
        end(&test);
        test.advance(DAY - 2 * HOUR);
        assert_eq!(test.output::<u32>(young), 2);
        test.advance(HOUR + 2 * MINUTE);
        assert!(test.find(young).is_none());
    }
}

#[test]
fn rec_6_old_work_goes_after_a_restart_and_after_a_crash() {
    old_work_goes_at_the_next_start(|test| drop(test.restart()));
    old_work_goes_at_the_next_start(TestDriver::crash_and_restart);
}

/// What is wanted by unfinished work stays however old it is or how many there are, and nobody goes round in circles for it.
#[test]
fn data_6_and_rec_6_what_unfinished_work_waits_for_stays_and_is_not_looked_at_again_and_again() {
    let test = TestDriver::new().limits(limits(|limits| (limits.retained, limits.retention) = (0, HOUR)));
    let first: Vec<_> = (0..20).map(answers::request).collect();
    let chain = test.manager().begin_with(first).then(answers::request(99).initial_delay(3 * DAY));
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    let wakes = || {
        let before = test.commits();
        test.advance(DAY);
        test.commits() - before
    };
    test.run_until_idle();
    assert_eq!(wakes(), 0, "there is nothing to write");
    assert!(stored(&test, &ids).iter().all(|stored| *stored));
    let others = [100, 101].map(|number| {
        let id = test.enqueue(answers::request(number));
        test.run_until_idle();
        id
    });
    assert_eq!(stored(&test, &others), [false, true], "after a pass that left too much there is none for a minute");
    test.advance(MINUTE);
    assert_eq!(stored(&test, &others), [false, false]);
    test.advance(3 * DAY);
    assert!(stored(&test, &ids).iter().all(|stored| !stored), "its dependents are over, and so is its time");
}

#[test]
fn failed_and_cancelled_work_goes_too_and_unfinished_work_never() {
    let test = TestDriver::new();
    let failed = test.enqueue(fails::request());
    let cancelled = test.enqueue(answers::request(1).initial_delay(HOUR));
    let waits = test.enqueue(answers::request(2).initial_delay(100 * DAY));
    test.cancel(workman_core::WorkSelector::id(cancelled));
    test.run_until_idle();
    let states = [failed, cancelled, waits].map(|id| test.state_of(id));
    assert_eq!(states, [WorkState::Failed, WorkState::Cancelled, WorkState::Enqueued]);
    test.advance(DAY + MINUTE);
    assert_eq!(stored(&test, &[failed, cancelled, waits]), [false, false, true]);
}

#[worker(max_attempts = 1)]
fn fails() -> Result<(), String> {
    Err("no".into())
}

#[test]
fn a_manager_that_only_enqueues_deletes_nothing() {
    let test = TestDriver::new().limits(limits(|limits| limits.retained = 0)).shape(Builder::enqueue_only);
    let id = test.enqueue(answers::request(1));
    test.cancel(workman_core::WorkSelector::id(id));
    test.advance(2 * DAY);
    assert_eq!(test.state_of(id), WorkState::Cancelled);
}

#[test]
fn without_a_limit_everything_stays() {
    let test = TestDriver::new().limits(limits(|limits| {
        (limits.retained, limits.retention) = (usize::MAX, Duration::MAX);
    }));
    let ids: Vec<WorkId> = (0..5).map(|number| finish(&test, number)).collect();
    test.advance(1_000 * DAY);
    assert_eq!(test.query(WorkQuery::ids(ids)).len(), 5);
}

#[test]
fn a_store_that_fails_delays_the_deletion_and_nothing_else() {
    let test = TestDriver::new();
    let id = finish(&test, 1);
    test.advance(DAY - secs(1));
    test.fail_at(test.commits() + 1, workman_testing::Fault::Rejected);
    test.advance(secs(1) + 2 * MINUTE);
    assert!(test.find(id).is_none());
}
