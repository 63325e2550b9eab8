//! Pruning: finished work goes when it is told to, and what is still needed stays. When everything was last cancelled at once.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use futures::StreamExt;
use support::{DAY, HOUR, MINUTE, RedbHome, secs};
use workman_core::{
    Clock, Enqueued, ExistingWorkPolicy, Timestamp, WorkId, WorkManager, WorkQuery, WorkSelector, WorkState, worker,
};
use workman_testing::TestDriver;

#[worker]
fn say(text: String) -> String {
    text
}

#[worker]
fn fail() -> Result<String, String> {
    Err("as ever".into())
}

#[worker]
fn count(#[prerequisites] said: Vec<String>) -> usize {
    said.len()
}

fn quick(text: &str) -> workman_core::Request<workman_core::Nothing, String> {
    say::request(text.into())
}

#[track_caller]
fn prune(test: &TestDriver) -> usize {
    let manager = test.manager();
    test.block_on(manager.prune()).unwrap()
}

/// WorkManager's own case: what is finished goes, however long it asked to be kept, unless something unfinished depends on it.
#[test]
fn rec_6_and_data_6_pruning_takes_finished_work_and_leaves_what_unfinished_work_depends_on() {
    let test = TestDriver::new();
    let waiting = test.enqueue(quick("waits").initial_delay(HOUR));
    let done = test.enqueue(quick("done"));
    let kept = test.enqueue(quick("kept").keep_results_for_at_least(999 * DAY));
    let failed = test.enqueue(fail::request().max_attempts(1));
    let cancelled = test.enqueue(quick("cancelled").initial_delay(HOUR));
    test.cancel(WorkSelector::id(cancelled));
    let manager = test.manager();
    let chain = manager.begin_with([quick("a"), quick("b")]).then(count::request().initial_delay(HOUR));
    let chain = test.block_on(chain.enqueue()).unwrap().ids;
    test.run_until_idle();
    assert_eq!(prune(&test), 4);
    for id in [done, kept, failed, cancelled] {
        assert!(test.find(id).is_none(), "{id}");
    }
    assert_eq!(test.state_of(waiting), WorkState::Enqueued);
    assert_eq!(test.state_of(chain[0]), WorkState::Succeeded);
    assert_eq!(prune(&test), 0, "to prune again is no harm");

    test.advance(HOUR);
    assert_eq!(test.output::<usize>(chain[2]), 2, "its prerequisites were still there");
    assert_eq!(prune(&test), 4);
    assert_eq!(test.query(WorkQuery::all()), []);
}

#[test]
fn a_name_that_holds_nothing_but_pruned_work_is_free() {
    let test = TestDriver::new();
    let failed = test.enqueue_unique("n", ExistingWorkPolicy::Keep, fail::request().max_attempts(1)).id;
    test.run_until_idle();
    assert_eq!(test.state_of(failed), WorkState::Failed);
    assert_eq!(prune(&test), 1);
    assert_eq!(test.query(WorkQuery::unique("n")), []);
    let fresh = test.enqueue_unique("n", ExistingWorkPolicy::Append, quick("fresh"));
    test.run_until_idle();
    assert_eq!((fresh.how, test.state_of(fresh.id)), (Enqueued::Inserted, WorkState::Succeeded));
}

/// UNQ-5: WorkManager's rule, kept; the way out is `prune`, or `AppendOrReplace` in the first place.
#[test]
fn unq_5_what_is_appended_behind_failed_work_is_born_failed_until_somebody_prunes() {
    let test = TestDriver::new();
    let append = |request| test.enqueue_unique("n", ExistingWorkPolicy::Append, request);
    let failed = append(fail::request().max_attempts(1));
    test.run_until_idle();
    let mut last = failed.id;
    for text in ["one", "two"] {
        let born = append(quick(text));
        assert_eq!(born.how, Enqueued::Appended(vec![last]), "behind what, and not what came of it");
        last = born.id;
        let said = test.explain(born.id).to_string();
        assert!(said.starts_with(&format!("failed, since its prerequisite {} of worker", failed.id)), "{said}");
        assert_eq!(test.state_of(born.id), WorkState::Failed, "{text}");
    }
    assert_eq!(prune(&test), 3);
    let born = append(quick("three"));
    test.run_until_idle();
    assert_eq!(test.output::<String>(born.id), "three");
}

#[test]
fn everything_goes_in_bounded_commits_also_behind_a_wide_fan_out() {
    let test = TestDriver::new().store(RedbHome::new("prune"));
    let manager = test.manager();
    let chain = manager.begin_with(quick("root")).then((0..6_000).map(|n| quick(&n.to_string())).collect::<Vec<_>>());
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    assert_eq!(test.cancel(WorkSelector::id(ids[0])), 6_001);
    let before = test.commits();
    assert_eq!(prune(&test), 6_001);
    let commits = test.commits() - before;
    assert!((6..=60).contains(&commits), "{commits} commits");
    assert_eq!(test.query(WorkQuery::all()), []);
    test.crash_and_restart();
    assert_eq!(test.query(WorkQuery::all()), []);
}

async fn next(watched: &mut (impl StreamExt<Item = Option<Timestamp>> + Unpin)) -> Option<Timestamp> {
    watched.next().await.unwrap()
}

/// CAN-5. The time is the wall clock's, kept by the store.
#[test]
fn can_5_the_last_cancellation_of_everything_is_remembered_and_watched() {
    let test = TestDriver::new().store(RedbHome::new("last-cancel"));
    let manager = test.manager();
    let last = |test: &TestDriver, manager: &WorkManager| test.block_on(manager.last_cancel_all()).unwrap();
    let mut watched = manager.watch_last_cancel_all();
    assert_eq!((last(&test, &manager), test.block_on(next(&mut watched))), (None, None));

    let work = test.enqueue(quick("x").initial_delay(HOUR));
    test.cancel(WorkSelector::id(work));
    test.cancel(WorkSelector::tag("say"));
    test.cancel(WorkSelector::unique("n"));
    assert_eq!(last(&test, &manager), None, "only all at once counts");

    test.advance(MINUTE);
    let at = test.clock().wall();
    assert_eq!(test.cancel(WorkSelector::All), 0, "it counts even if there was nothing to cancel");
    assert_eq!((last(&test, &manager), test.block_on(next(&mut watched))), (Some(at), Some(at)));

    test.enqueue(quick("y").initial_delay(HOUR));
    test.advance(secs(20));
    let later = test.clock().wall();
    test.cancel(WorkSelector::All);
    assert_eq!(test.block_on(next(&mut watched)), Some(later), "nothing came between the two");
    drop((watched, manager));
    test.crash_and_restart();
    assert_eq!(last(&test, &test.manager()), Some(later));
}

#[test]
fn who_watches_the_last_cancellation_is_told_of_no_other_change() {
    let test = TestDriver::new();
    let manager = test.manager();
    let mut watched = manager.watch_last_cancel_all();
    assert_eq!(test.block_on(next(&mut watched)), None);
    let ids: Vec<WorkId> = (0..5).map(|n| test.enqueue(quick(&n.to_string()))).collect();
    test.run_until_idle();
    test.cancel(WorkSelector::id(ids[0]));
    let still = test.block_on(async { futures::future::poll_immediate(watched.next()).await.is_none() });
    assert!(still, "works came and went, and that says nothing about it");
}
