//! Expedited work goes first, into a slot of its own, on a budget of run time; its retries do not.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Bystanders, HOUR, MINUTE, RedbHome, secs};
use workman_core::{
    Limits, OutOfQuotaPolicy, Request, WorkContext, WorkError, WorkId, WorkSelector, WorkState, worker,
};
use workman_testing::TestDriver;

use OutOfQuotaPolicy::{DropWorkRequest as DROP, RunAsNonExpeditedWorkRequest as FALL_BACK};

/// Who started, in order.
type Log = Arc<Mutex<Vec<u32>>>;

#[worker]
async fn takes(cx: &WorkContext, #[state] log: Log, number: u32, length: Duration) -> Result<(), WorkError> {
    log.lock().unwrap().push(number);
    Ok(cx.sleep(length).await?)
}

#[worker]
fn takes_blocking(cx: &WorkContext, #[state] log: Log, number: u32, length: Duration) -> Result<(), WorkError> {
    log.lock().unwrap().push(number);
    Ok(cx.sleep_blocking(length)?)
}

struct Stage {
    test: TestDriver,
    log: Log,
}

impl Stage {
    /// One slot of each kind, and one more for expedited work.
    fn new() -> Self {
        Self::with(|_| {}, |test| test)
    }

    fn with(change: impl FnOnce(&mut Limits), shape: impl FnOnce(TestDriver) -> TestDriver) -> Self {
        let mut limits = TestDriver::default_limits();
        (limits.async_slots, limits.blocking_slots) = (1, 1);
        change(&mut limits);
        let log = Log::default();
        let test = shape(TestDriver::new().limits(limits).state(Arc::clone(&log)));
        Stage { test, log }
    }

    fn started(&self) -> Vec<u32> {
        self.log.lock().unwrap().clone()
    }

    /// Uses up a budget of ten minutes.
    fn spend(&self) {
        let spender = self.test.enqueue(takes::request(0, 10 * MINUTE).expedited(FALL_BACK));
        self.test.advance(10 * MINUTE);
        assert_eq!(self.test.state_of(spender), WorkState::Succeeded);
        self.log.lock().unwrap().clear();
    }
}

fn ordinary(number: u32) -> Request<workman_core::Nothing, ()> {
    takes::request(number, HOUR)
}

#[test]
fn expedited_work_goes_before_every_priority() {
    let stage = Stage::with(|limits| limits.expedited_slots = 0, |test| test);
    let test = &stage.test;
    let bystanders = Bystanders::of(test);
    test.enqueue(takes::request(1, MINUTE));
    test.run_until_idle();
    test.enqueue(takes::request(2, MINUTE).priority(127));
    test.enqueue(takes::request(3, MINUTE).priority(-128).expedited(FALL_BACK));
    test.advance(MINUTE);
    assert_eq!(stage.started(), [1, 3], "without a slot of its own it waits for the first that is free");
    test.advance(MINUTE);
    assert_eq!(stage.started(), [1, 3, 2]);
    bystanders.are_untouched(test);
}

#[test]
fn expedited_work_starts_although_all_slots_are_busy_and_takes_none_from_the_others() {
    let stage = Stage::new();
    let test = &stage.test;
    test.enqueue(ordinary(1));
    test.enqueue(ordinary(2));
    test.enqueue(takes_blocking::request(11, HOUR));
    test.enqueue(takes_blocking::request(12, HOUR));
    test.run_until_idle();
    test.enqueue(takes::request(3, 2 * HOUR).expedited(FALL_BACK));
    test.enqueue(takes::request(4, MINUTE).expedited(FALL_BACK));
    test.enqueue(takes_blocking::request(13, MINUTE).expedited(FALL_BACK));
    test.run_until_idle();
    let mut started = stage.started();
    started.sort_unstable();
    assert_eq!(started, [1, 3, 11, 13], "one of each kind beside the ordinary one");
    test.advance(HOUR);
    assert!(stage.started().contains(&4), "the ordinary slot was free for it first");
    test.advance(MINUTE);
    assert!(stage.started().contains(&2), "what runs in a slot of its own leaves the other to ordinary work");
}

#[test]
fn expedited_work_that_began_in_an_ordinary_slot_counts_as_in_its_own() {
    let stage = Stage::new();
    let test = &stage.test;
    test.enqueue(takes::request(1, HOUR).expedited(FALL_BACK));
    test.enqueue(ordinary(2));
    test.enqueue(ordinary(3));
    test.run_until_idle();
    assert_eq!(stage.started(), [1, 2]);
}

#[test]
fn an_interrupted_run_is_not_expedited_again() {
    let stage = Stage::new();
    let test = &stage.test;
    let id = test.enqueue(takes::request(1, MINUTE).expedited(FALL_BACK));
    test.run_until_idle();
    test.enqueue(ordinary(2).priority(1));
    test.run_until_idle();
    test.restart();
    test.run_until_idle();
    assert_eq!(stage.started(), [1, 2, 2], "by priority from now on");
    assert_eq!((test.info(id).interruptions, test.state_of(id)), (1, WorkState::Enqueued));
}

#[test]
fn when_the_budget_is_spent_it_runs_as_ordinary_work() {
    let stage = Stage::new();
    let test = &stage.test;
    let bystanders = Bystanders::of(test);
    stage.spend();
    test.enqueue(ordinary(1));
    test.run_until_idle();
    test.enqueue(takes::request(2, MINUTE).expedited(FALL_BACK));
    test.enqueue(takes::request(3, MINUTE).priority(1));
    test.run_until_idle();
    assert_eq!(stage.started(), [1], "its own slot is free, and not for it");
    test.advance(HOUR + 2 * MINUTE);
    assert_eq!(stage.started(), [1, 3, 2]);
    bystanders.are_untouched(test);
}

fn the_budget_survives(end: impl Fn(&TestDriver)) {
    for home in [None, Some(RedbHome::new("expedited"))] {
        let stage = Stage::with(
            |_| {},
            |test| match home {
                Some(home) => test.store(home),
                None => test,
            },
        );
        stage.spend();
        end(&stage.test);
        let dropped = stage.test.enqueue(takes::request(1, MINUTE).expedited(DROP));
        stage.test.run_until_idle();
        assert_eq!(stage.test.state_of(dropped), WorkState::Cancelled);
    }
}

#[test]
fn the_budget_survives_a_restart_and_a_crash() {
    the_budget_survives(|test| drop(test.restart()));
    the_budget_survives(TestDriver::crash_and_restart);
}

#[test]
fn a_cancelled_run_has_used_its_time() {
    let stage = Stage::new();
    let test = &stage.test;
    let long = test.enqueue(takes::request(1, HOUR).expedited(FALL_BACK));
    test.advance(10 * MINUTE);
    test.cancel(WorkSelector::id(long));
    let dropped = test.enqueue(takes::request(2, MINUTE).expedited(DROP));
    test.run_until_idle();
    assert_eq!(test.state_of(dropped), WorkState::Cancelled);
}

/// Far more than one commit deals with, while every ordinary slot is busy.
#[test]
fn hundreds_beyond_the_budget_are_all_dealt_with() {
    for policy in [FALL_BACK, DROP] {
        let stage = Stage::new();
        let test = &stage.test;
        stage.spend();
        test.enqueue(ordinary(1));
        test.run_until_idle();
        let requests: Vec<_> = (0..600).map(|_| takes::request(2, Duration::ZERO).expedited(policy)).collect();
        let ids: Vec<WorkId> = requests.iter().map(Request::id).collect();
        let chain = test.manager().begin_with(requests);
        drop(test.block_on(chain.enqueue()).unwrap());
        let before = test.commits();
        test.run_until_idle();
        let commits = test.commits() - before;
        assert!(commits < 20, "{commits} commits");
        test.advance(HOUR);
        let end = if policy == DROP { WorkState::Cancelled } else { WorkState::Succeeded };
        assert!(ids.iter().all(|id| test.state_of(*id) == end));
        assert_eq!(stage.started().len(), if policy == DROP { 1 } else { 601 });
    }
}

/// Ordinary work that waits is no reason to look at slots that are not for it.
#[test]
fn a_free_slot_for_expedited_work_makes_no_commits_for_ordinary_work() {
    let stage = Stage::new();
    let test = &stage.test;
    test.enqueue(ordinary(1));
    test.enqueue(takes_blocking::request(1, HOUR));
    for number in 2..5 {
        test.enqueue(ordinary(number));
        test.enqueue(ordinary(number).initial_delay(secs(10)));
    }
    test.run_until_idle();
    let before = test.commits();
    test.advance(30 * MINUTE);
    assert_eq!(test.commits(), before);
    test.enqueue(takes::request(9, MINUTE).expedited(DROP));
    test.run_until_idle();
    assert_eq!(stage.started(), [1, 1, 9]);
}
