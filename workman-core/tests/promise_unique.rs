//! Unique names: one holder, and a policy for the next.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use support::{Bystanders, HOUR, MINUTE, secs};
use workman_core::{
    EnqueueError, Enqueued, ExistingPeriodicWorkPolicy, ExistingWorkPolicy, Refusal, StopReason, WorkContext,
    WorkError, WorkQuery, WorkSelector, WorkState, worker,
};
use workman_testing::{Fault, Named, TestDriver};

/// What a run of this worker said at its end, for those who want to know of runs that left no record.
type Log = Arc<Mutex<Vec<String>>>;

#[worker]
async fn step(name: String, takes: u64, #[state] log: Log, cx: &WorkContext) -> Result<String, WorkError> {
    let slept = cx.sleep(secs(takes)).await;
    log.lock().unwrap().push(slept.map_or_else(|stopped| format!("{name}: {}", stopped.reason), |()| name.clone()));
    slept?;
    Ok(name)
}

#[worker]
async fn stubborn(takes: u64, #[state] log: Log, cx: &WorkContext) -> Result<(), WorkError> {
    let (wanted, mut slept) = (secs(takes), secs(0));
    while slept < wanted {
        // Deaf to its stop: it goes to sleep again and again.
        if cx.sleep(secs(1)).await.is_err() {
            break;
        }
        slept += secs(1);
    }
    log.lock().unwrap().push("stubborn ends well".into());
    Ok(())
}

fn driver() -> (TestDriver, Log) {
    let log = Log::default();
    (TestDriver::new().state(log.clone()), log)
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// UNQ-1: the holder stays, whether it waits or runs; a finished one holds nothing.
#[test]
fn unq_1_keep_drops_the_request_while_the_holder_waits_or_runs() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let enqueue = |name: &str| {
        let request = step::request(name.into(), 10).initial_delay(MINUTE);
        test.enqueue_unique("sync", ExistingWorkPolicy::Keep, request)
    };
    let first = enqueue("first");
    assert_eq!(first.how, Enqueued::Inserted);
    test.advance(secs(30));
    assert_eq!(enqueue("second"), Named { how: Enqueued::Kept(first.id), id: first.id });
    test.advance(secs(35));
    assert_eq!(test.state_of(first.id), WorkState::Running);
    assert_eq!(enqueue("third").how, Enqueued::Kept(first.id));
    test.advance(secs(5));
    assert_eq!(take(&log), ["first"]);

    let fourth = enqueue("fourth");
    assert_eq!(fourth.how, Enqueued::Inserted, "a finished work holds no name");
    assert_eq!(test.query(WorkQuery::unique("sync")).len(), 1);
    test.advance(HOUR);
    assert_eq!(take(&log), ["fourth"]);
    bystanders.are_untouched(&test);
}

/// UNQ-4: the holder is stopped with its reason and deleted, with all that depended on it; its late settle is refused.
#[test]
fn unq_4_replace_stops_and_deletes_the_holder_and_all_that_depends_on_it() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let chain = test.manager().begin_unique("sync", ExistingWorkPolicy::Replace, step::request("old".into(), 100));
    let old = test.block_on(chain.then(step::request("after old".into(), 1)).enqueue()).unwrap().ids;
    test.advance(secs(50));
    let new = test.enqueue_unique("sync", ExistingWorkPolicy::Replace, step::request("new".into(), 100));
    assert_eq!(new.how, Enqueued::Replaced(old.clone()));
    test.run_until_idle();
    assert_eq!(take(&log), [format!("old: {}", StopReason::Replaced)]);
    test.advance(secs(100));
    assert_eq!(take(&log), ["new"]);
    assert!(old.iter().all(|id| test.find(*id).is_none()));
    assert_eq!(test.output::<String>(new.id), "new");
    bystanders.are_untouched(&test);
}

#[test]
fn unq_4_a_replaced_run_that_ends_well_all_the_same_changes_nothing() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let old = test.enqueue_unique("sync", ExistingWorkPolicy::Replace, stubborn::request(100));
    test.run_until_idle();
    let new = test.enqueue_unique("sync", ExistingWorkPolicy::Replace, step::request("new".into(), 20));
    test.run_until_idle();
    assert_eq!(take(&log), ["stubborn ends well"], "the old run has ended after its work was deleted");
    assert_eq!(test.find(old.id), None);
    test.advance(secs(20));
    assert_eq!(test.output::<String>(new.id), "new");
    bystanders.are_untouched(&test);
}

/// UNQ-8, PER: the call at each start of a program; the schedule is there once, and goes on from where it was.
#[test]
fn unq_9_a_periodic_work_that_is_enqueued_at_every_start_is_there_once_and_keeps_its_rhythm() {
    for policy in [ExistingPeriodicWorkPolicy::Keep, ExistingPeriodicWorkPolicy::Update] {
        let (test, log) = driver();
        let bystanders = Bystanders::of(&test);
        let enqueue = || test.enqueue_unique_periodic("judo-sync", policy, step::periodic("sync".into(), 0, HOUR));
        let first = enqueue();
        test.run_until_idle();
        for start in 0..6 {
            test.advance(20 * MINUTE);
            if start % 2 == 0 {
                test.crash_and_restart();
            } else {
                test.restart();
            }
            assert_eq!(enqueue().id, first.id);
            test.run_until_idle();
        }
        assert_eq!(take(&log).len(), 3, "at once, after one hour, after two");
        assert_eq!(test.query(WorkQuery::unique("judo-sync")).len(), 1);
        assert_eq!(test.info(first.id).periods, 3);
        bystanders.are_untouched(&test);
    }
}

/// UNQ-10, UPD-2: the id, the counters and the place in the period stay; everything else is the new request's.
#[test]
fn unq_10_an_update_keeps_the_id_and_the_place_in_the_period() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let enqueue = |name: &str, interval| {
        let request = step::periodic(name.into(), 0, interval).tag("tagged");
        test.enqueue_unique_periodic("sync", ExistingPeriodicWorkPolicy::Update, request)
    };
    let first = enqueue("hourly", HOUR);
    test.advance(30 * MINUTE);
    let before = test.info(first.id);
    assert_eq!(enqueue("two-hourly", 2 * HOUR).how, Enqueued::Updated(first.id));
    let after = test.info(first.id);
    assert_eq!((after.generation, after.periods, after.runs), (before.generation + 1, before.periods, before.runs));
    assert_eq!(after.next_run, Some(before.next_run.unwrap() + HOUR), "counted from the same moment");
    test.advance(90 * MINUTE);
    assert_eq!(take(&log), ["hourly", "two-hourly"]);
    bystanders.are_untouched(&test);
}

/// UPD-5: a run goes on with what it began with; the next period has the new terms.
#[test]
fn upd_4_an_update_of_a_running_period_does_not_disturb_the_run() {
    let (test, log) = driver();
    let enqueue = |name: &str| {
        let request = step::periodic(name.into(), 600, HOUR);
        test.enqueue_unique_periodic("sync", ExistingPeriodicWorkPolicy::Update, request)
    };
    let first = enqueue("old");
    test.advance(MINUTE);
    assert_eq!(enqueue("new").how, Enqueued::Updated(first.id));
    assert_eq!(test.state_of(first.id), WorkState::Running);
    test.advance(9 * MINUTE);
    assert_eq!(take(&log), ["old"]);
    test.advance(70 * MINUTE);
    assert_eq!(take(&log), ["new"]);
}

#[test]
fn unq_9_a_replaced_periodic_run_settles_too_late_and_the_new_period_starts_anew() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let policy = ExistingPeriodicWorkPolicy::Replace;
    let old = test.enqueue_unique_periodic("sync", policy, stubborn::periodic(100, HOUR));
    test.advance(10 * MINUTE);
    assert_eq!(take(&log), ["stubborn ends well"]);
    test.advance(50 * MINUTE);
    test.advance(secs(210));
    assert_eq!(test.state_of(old.id), WorkState::Enqueued);
    test.advance(HOUR);
    assert_eq!(test.state_of(old.id), WorkState::Running);
    let new = test.enqueue_unique_periodic("sync", policy, step::periodic("new".into(), 0, HOUR));
    assert_eq!(new.how, Enqueued::Replaced(vec![old.id]));
    test.advance(HOUR);
    let mut log = take(&log);
    log.sort();
    assert_eq!(log, ["new", "new", "stubborn ends well", "stubborn ends well"]);
    assert_eq!((test.find(old.id), test.info(new.id).periods), (None, 2));
    bystanders.are_untouched(&test);
}

/// CAN: `cancel` by name ends a schedule for good.
#[test]
fn sm_1_a_cancelled_schedule_never_runs_again() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let policy = ExistingPeriodicWorkPolicy::Keep;
    let hourly = step::periodic("x".into(), 0, HOUR).keep_results_for_at_least(100 * HOUR);
    let id = test.enqueue_unique_periodic("sync", policy, hourly).id;
    test.run_until_idle();
    assert_eq!(test.cancel(WorkSelector::unique("sync")), 1);
    test.advance(20 * HOUR);
    assert_eq!(take(&log), ["x"]);
    assert_eq!(test.state_of(id), WorkState::Cancelled);
    bystanders.are_untouched(&test);
}

#[test]
fn unq_10_an_update_of_a_name_that_one_time_work_holds_is_refused() {
    let (test, _log) = driver();
    test.enqueue_unique("sync", ExistingWorkPolicy::Keep, step::request("once".into(), 0).initial_delay(HOUR));
    let (manager, policy) = (test.manager(), ExistingPeriodicWorkPolicy::Update);
    let periodic = step::periodic("x".into(), 0, HOUR);
    let refused = test.block_on(manager.enqueue_unique_periodic("sync", policy, periodic)).unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::NotPeriodic { .. })), "{refused}");
}

#[test]
fn unq_7_and_unq_4_a_replacement_that_is_not_committed_stops_and_starts_nothing() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let old = test.enqueue_unique("sync", ExistingWorkPolicy::Replace, step::request("old".into(), 100));
    test.advance(secs(10));
    test.fail_at(test.commits() + 1, Fault::Rejected);
    let (manager, new) = (test.manager(), step::request("new".into(), 1));
    let id = new.id();
    let refused = test.block_on(manager.enqueue_unique("sync", ExistingWorkPolicy::Replace, new));
    assert!(matches!(&refused, Err(error) if !error.is_indeterminate()), "{refused:?}");
    test.advance(secs(90));
    assert_eq!(take(&log), ["old"], "it was not even asked to stop");
    assert_eq!((test.output::<String>(old.id), test.find(id)), ("old".into(), None));
    bystanders.are_untouched(&test);
}

#[test]
fn unq_3_what_is_appended_takes_the_outputs_of_what_it_was_appended_to() {
    let (test, _log) = driver();
    let bystanders = Bystanders::of(&test);
    let first = test.enqueue_unique("queue", ExistingWorkPolicy::Append, step::request("one".into(), 5));
    let second = test.enqueue_unique("queue", ExistingWorkPolicy::Append, step::request("two".into(), 5));
    assert_eq!((first.how, second.how), (Enqueued::Inserted, Enqueued::Appended(vec![first.id])));
    assert_eq!(test.state_of(second.id), WorkState::Blocked);
    test.advance(secs(10));
    assert_eq!(test.output::<String>(second.id), "two");
    let third = test.enqueue_unique("queue", ExistingWorkPolicy::AppendOrReplace, step::request("three".into(), 5));
    assert_eq!(third.how, Enqueued::Appended(vec![second.id]), "behind the last only");
    assert_eq!(test.info(third.id).prerequisites, [second.id], "the edge stays although the work has succeeded");
    test.advance(secs(5));
    assert_eq!(test.output::<String>(third.id), "three");
    assert_eq!(test.query(WorkQuery::unique("queue")).len(), 3);
    bystanders.are_untouched(&test);
}

#[test]
fn unq_4_append_or_replace_stops_what_runs_and_begins_anew_where_a_leaf_ended_badly() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let manager = test.manager();
    let heads = [step::request("runs".into(), 1_000), step::request("ends".into(), 1_000)];
    let old = test.block_on(manager.begin_unique("n", ExistingWorkPolicy::Keep, heads).enqueue()).unwrap().ids;
    test.advance(secs(10));
    test.cancel(WorkSelector::id(old[1]));
    let new = test.enqueue_unique("n", ExistingWorkPolicy::AppendOrReplace, step::request("new".into(), 1));
    assert_eq!(new.how, Enqueued::Replaced(old.clone()));
    test.advance(secs(1));
    let mut said = take(&log);
    said.sort();
    let expected =
        [format!("ends: {}", StopReason::CancelledByApp), "new".into(), format!("runs: {}", StopReason::Replaced)];
    assert_eq!(said, expected);
    assert!(old.iter().all(|id| test.find(*id).is_none()));
    bystanders.are_untouched(&test);
}
