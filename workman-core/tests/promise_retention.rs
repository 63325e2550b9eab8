//! Finished work is kept for a while, and then it goes, while the process lives and at its next start.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/stores.rs"]
mod stores;
#[path = "promise_support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use stores::{CountingHome, Ears, Overheard};
use support::{Bystanders, DAY, HOUR, MINUTE, RedbHome, secs};
use workman_core::store::{Command, RowKey, Rows, Unit};
use workman_core::{
    ActionError, Builder, Clock, HealthStatus, Limits, OutputError, Timestamp, WorkGraph, WorkId, WorkQuery,
    WorkSelector, WorkState, worker,
};
use workman_testing::{TestDriver, VirtualClock};

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
fn rec_6_of_too_many_the_oldest_go_after_a_minute() {
    let test = TestDriver::new().limits(limits(|limits| limits.retained = 2));
    let ids: Vec<WorkId> = (0..5).map(|number| finish(&test, number)).collect();
    assert_eq!(stored(&test, &ids), [true; 5], "somebody may still want to read them");
    test.advance(MINUTE);
    assert_eq!(stored(&test, &ids), [false, false, false, true, true]);
    let kept = test.enqueue(answers::request(9).keep_results_for_at_least(DAY));
    test.advance(2 * MINUTE);
    assert_eq!(stored(&test, &[ids[3], ids[4], kept]), [true, true, true], "what asked to be kept crowds out nothing");
    finish(&test, 6);
    test.advance(2 * MINUTE);
    assert_eq!(stored(&test, &[ids[3], ids[4], kept]), [false, true, true], "and is passed over");
}

#[test]
fn works_that_finish_together_are_counted_together() {
    let test = TestDriver::new().limits(limits(|limits| limits.retained = 3));
    let requests: Vec<_> = (0..500).map(answers::request).collect();
    let chain = test.manager().begin_with(requests);
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    test.advance(2 * MINUTE);
    let left = stored(&test, &ids).into_iter().filter(|stored| *stored).count();
    assert_eq!(left, 3);
}

#[test]
fn all_that_one_call_may_enqueue_can_be_read_when_it_has_finished() {
    let test = TestDriver::new();
    let works = u32::try_from(Limits::default().works).unwrap();
    let retained = Limits::default().retained;
    let manager = test.manager();
    let handles = test.block_on(manager.enqueue_all((0..works).map(answers::request))).unwrap();
    test.run_until_idle();
    for (number, handle) in (0..).zip(&handles) {
        assert_eq!(test.block_on(handle.output()).unwrap(), number);
    }
    test.advance(2 * MINUTE);
    let left = handles.iter().filter(|handle| test.block_on(handle.output()).is_ok()).count();
    assert_eq!(left, retained, "a minute was time enough");
}

#[test]
fn who_waits_when_the_work_ends_gets_its_output_however_little_is_kept() {
    for change in [|limits: &mut Limits| limits.retained = 0, |limits: &mut Limits| limits.retention = Duration::ZERO] {
        let test = TestDriver::new().limits(limits(change));
        let manager = test.manager();
        let handle = test.block_on(manager.enqueue(answers::request(5))).unwrap();
        assert_eq!(test.block_on(handle.output()).unwrap(), 5);
        test.advance(MINUTE - secs(1));
        assert_eq!(test.block_on(handle.output()).unwrap(), 5);
        test.advance(secs(1) + MINUTE);
        assert!(matches!(test.block_on(handle.output()), Err(OutputError::Gone)));
    }
}

/// Counts timers.
struct Counting(VirtualClock, Arc<AtomicU64>);

impl Clock for Counting {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.sleep(length)
    }
}

#[test]
fn g15_finished_work_alone_wakes_nobody_within_the_hour() {
    let test = TestDriver::new();
    let sleeps = Arc::new(AtomicU64::new(0));
    let (clock, count) = (test.clock().clone(), Arc::clone(&sleeps));
    let test = test.shape(move |builder| builder.clock(Counting(clock.clone(), Arc::clone(&count))));
    let id = test.enqueue(answers::request(1));
    test.advance(5 * MINUTE);
    let wakes = |length| {
        let before = sleeps.load(Ordering::SeqCst);
        test.advance(length);
        sleeps.load(Ordering::SeqCst) - before
    };
    assert!(wakes(HOUR) <= 1);
    assert!(wakes(22 * HOUR) <= 22);
    assert_eq!(stored(&test, &[id]), [true]);
    test.advance(HOUR);
    assert_eq!(stored(&test, &[id]), [false]);
    assert_eq!(wakes(DAY), 0, "nothing is stored any more");
}

#[test]
fn after_a_suspend_old_work_goes_within_the_hour() {
    let test = TestDriver::new();
    let id = finish(&test, 1);
    test.advance(MINUTE);
    test.clock().suspend(2 * DAY);
    test.advance(HOUR);
    assert_eq!(stored(&test, &[id]), [false]);
}

/// How many commits it takes to finish so many works one by one.
fn commits_of(test: &TestDriver, works: u32, pause: Duration) -> u64 {
    let before = test.commits();
    for number in 0..works {
        finish(test, number);
        test.advance(pause);
    }
    test.commits() - before
}

#[test]
fn a_finish_beyond_the_count_costs_no_commit_of_its_own() {
    let full = TestDriver::new().limits(limits(|limits| limits.retained = 10));
    let plain = TestDriver::new();
    commits_of(&full, 30, secs(20));
    let (full, plain) = (commits_of(&full, 60, secs(20)), commits_of(&plain, 60, secs(20)));
    assert!(full < plain + plain / 4, "60 works cost {plain} commits, and {full} once enough are kept");
}

/// Counts the transactions that look for what to delete.
#[derive(Clone, Default)]
struct Looks(Arc<AtomicU64>);

impl Ears for Looks {
    fn units(&self, units: &mut Vec<Unit>) {
        let looks = units.iter().filter(|unit| matches!(unit.command, Command::Prune(_))).count();
        self.0.fetch_add(looks.try_into().unwrap(), Ordering::SeqCst);
    }
}

#[worker]
fn sum(#[prerequisites] numbers: Vec<u32>) -> u32 {
    numbers.iter().sum()
}

#[test]
fn retention_does_not_walk_over_awaited_works_at_each_end() {
    const AWAITED: u32 = 3_200;
    let looks = Looks::default();
    let test =
        TestDriver::new().store(Overheard::by(&looks)).limits(limits(|limits| limits.retained = AWAITED as usize + 20));
    let manager = test.manager();
    let mut graph = WorkGraph::new();
    let end = graph.add(sum::request());
    for number in 0..AWAITED {
        let node = graph.add(answers::request(number));
        graph.edge(node, end);
    }
    let last = graph.add(answers::request(0).initial_delay(300 * DAY));
    graph.edge(last, end);
    test.block_on(manager.enqueue_graph(graph)).unwrap();
    test.advance(HOUR);
    let before = looks.0.load(Ordering::SeqCst);
    let ids: Vec<WorkId> = (0..320).map(|number| finish(&test, number)).collect();
    test.advance(2 * MINUTE);
    let left = stored(&test, &ids).into_iter().filter(|stored| *stored).count();
    assert_eq!(left, 20);
    let looks = looks.0.load(Ordering::SeqCst) - before;
    assert!(looks <= 30, "{looks} looks at {AWAITED} awaited works for 300 that could go");
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
    assert_eq!(stored(&test, &others), [true, true]);
    test.advance(2 * MINUTE);
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
    test.cancel(WorkSelector::id(cancelled));
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
    test.cancel(WorkSelector::id(id));
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

#[test]
fn everything_goes_in_bounded_commits_also_behind_a_wide_fan_out() {
    let test = TestDriver::new().store(RedbHome::new("prune"));
    let manager = test.manager();
    let chain = manager.begin_with(answers::request(0)).then((0..6_000).map(answers::request).collect::<Vec<_>>());
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    assert_eq!(test.cancel(WorkSelector::id(ids[0])), 6_001);
    let before = test.commits();
    assert_eq!(test.block_on(manager.prune()).unwrap(), 6_001);
    let commits = test.commits() - before;
    assert!((6..=60).contains(&commits), "{commits} commits");
    assert_eq!(test.query(WorkQuery::all()), []);
    test.crash_and_restart();
    assert_eq!(test.query(WorkQuery::all()), []);
}

/// Finished works, of which some are damaged.
fn damaged(places: &[usize]) -> (TestDriver, CountingHome, Vec<WorkId>) {
    let home = CountingHome::default();
    let test = TestDriver::new().store(home.clone());
    let ids: Vec<WorkId> = (0..50).map(|number| finish(&test, number)).collect();
    home.rows().unreadable.extend(places.iter().map(|place| ids[*place]));
    (test, home, ids)
}

#[test]
fn a_damaged_work_does_not_end_retention_for_the_others() {
    let (test, home, ids) = damaged(&[0, 20, 21]);
    test.advance(DAY + 2 * MINUTE);
    let left: Vec<usize> = (0..ids.len()).filter(|place| has(&home, ids[*place])).collect();
    assert_eq!(left, [0, 20, 21]);
    let HealthStatus::Degraded { error, .. } = test.manager().health() else { panic!("nobody was told") };
    assert!(error.contains(&ids[21].to_string()), "{error}");
    let later = finish(&test, 50);
    test.advance(DAY + 2 * MINUTE);
    assert!(!has(&home, later), "nor for those that come later");
    home.rows().unreadable.clear();
    assert_eq!(test.block_on(test.manager().prune()).unwrap(), 3, "what is readable again goes like any other");
}

#[test]
fn prune_leaves_what_is_damaged_and_says_so() {
    let (test, home, ids) = damaged(&[7, 30]);
    let error = test.block_on(test.manager().prune()).unwrap_err();
    let said = error.to_string();
    let ActionError::Damaged { works, done, .. } = error else { panic!("{said}") };
    assert_eq!((works, done), (vec![ids[7], ids[30]], 48));
    assert!(said.contains(&ids[7].to_string()) && said.contains("48"), "{said}");
    assert_eq!(ids.iter().filter(|id| has(&home, **id)).count(), 2);
}

fn has(home: &CountingHome, id: WorkId) -> bool {
    home.rows().rows.get(RowKey::Record(id)).unwrap().is_some()
}
