//! Names whose holders could not begin: a newer build reads the input of its worker no more, and says `Keep` at its start.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use workman_core::seams::Registry;
use workman_core::{
    Enqueued, ExistingPeriodicWorkPolicy, ExistingWorkPolicy, Explanation, ParkReason, WorkGraph, WorkId, WorkQuery,
    WorkSelector, WorkState, worker,
};

use workman_testing::TestDriver;

use crate::bench::{Bench, DAY, HOUR, join, on_both_stores, say, secs};

use ExistingWorkPolicy::{Append, AppendOrReplace, Keep, Replace};
use WorkState::{Blocked, Cancelled, Enqueued as Waits, Running, Succeeded};

/// What an older build passed to its worker.
#[worker]
fn older(value: String) -> String {
    value
}

/// What this build passes.
#[worker]
fn newer(value: u64) -> String {
    value.to_string()
}

/// Gives more than some take.
#[worker]
fn wide() -> String {
    "x".repeat(500)
}

fn build(test: &Bench, measure: fn(&mut Registry)) {
    let mut registry = Registry::new();
    registry.add::<say>().add::<join>();
    measure(&mut registry);
    test.next_build(registry);
}

fn older_build(test: &Bench) {
    build(test, |registry| {
        registry.add_as::<older>("measure");
    });
}

fn newer_build(test: &Bench) {
    build(test, |registry| {
        registry.add_as::<newer>("measure");
    });
}

/// Lets the next build start, and what is due.
fn start(test: &Bench) {
    test.restart();
    test.advance(DAY);
    test.diary();
}

/// Works of an older build that hold these names, and which this build can't begin.
fn stuck<const N: usize>(test: &Bench, names: [&str; N]) -> [WorkId; N] {
    older_build(test);
    test.restart();
    let request = || older::request("old".into()).initial_delay(HOUR).keep_results_for_at_least(30 * DAY);
    let ids = names.map(|name| test.enqueue_unique(name, Keep, request()).id);
    newer_build(test);
    start(test);
    assert!(ids.iter().all(|id| matches!(test.info(*id).parked, Some(ParkReason::Undecodable { .. }))));
    ids
}

/// D9, UNQ-1, UNQ-2, UNQ-5: what nobody can begin keeps nobody else from his name.
#[test]
fn work_that_can_not_begin_gives_its_name_to_the_next_request() {
    on_both_stores(|test| {
        for policy in [Keep, Append, AppendOrReplace] {
            let test = test.another();
            let [old] = stuck(&test, ["name"]);
            let new = test.enqueue_unique("name", policy, newer::request(7));
            assert_eq!(new.how, Enqueued::Superseded(vec![old]), "{policy:?}");
            test.run_until_idle();
            assert_eq!(test.output::<String>(new.id), "7");
            let info = test.info(old);
            assert_eq!((info.state, info.name.clone(), info.superseded), (Waits, None, true), "it stays, in sight");
            assert!(test.wait(test.manager().check()).works.iter().any(|info| info.id == old));
            assert!(matches!(test.explain(old), Explanation::Superseded { .. }));
            let said = test.explain(old).to_string();
            assert!(
                said.contains("newer work has taken its unique name") && said.contains("`retry` frees it"),
                "{said}"
            );
            assert!(!test.info(new.id).superseded);
            assert_eq!(test.named("name"), [new.id]);
            test.advance(10 * DAY);
            assert_eq!(test.state_of(old), Waits, "it is not pruned");
        }
        let [old] = stuck(&test, ["name"]);
        let new = test.enqueue_unique("name", Replace, newer::request(7));
        assert_eq!((new.how, test.find(old)), (Enqueued::Replaced(vec![old]), None), "Replace ends it");
    });
}

/// The decode-only pass of a start frees what it can read, but not what newer work has superseded: both would run.
#[test]
fn superseded_work_begins_only_when_somebody_says_so() {
    on_both_stores(|test| {
        let [superseded, kept] = stuck(&test, ["one", "two"]);
        let new = test.enqueue_unique("one", Keep, newer::request(1).initial_delay(20 * DAY));
        older_build(&test);
        start(&test);
        assert_eq!(test.states(&[superseded, kept]), [Waits, Succeeded]);
        start(&test);
        assert!(test.info(superseded).parked.is_some());
        test.wait(test.manager().update(older::request("other".into()).with_id(superseded)));
        test.run_until_idle();
        assert!(test.info(superseded).parked.is_some(), "nor does an update begin it");
        test.retry(superseded);
        test.run_until_idle();
        assert_eq!(test.output::<String>(superseded), "other");
        assert_eq!((test.state_of(new.id), test.info(superseded).superseded), (Waits, true));
    });
}

/// A chain holds its name together, so it gives it up together; what it has given already stays.
#[test]
fn a_chain_of_which_a_step_can_not_begin_gives_its_name_up_as_a_whole() {
    on_both_stores(|test| {
        for policy in [Keep, Append, AppendOrReplace] {
            let test = test.another();
            let stored = chain_with_a_step_of_an_older_build(&test);
            assert_eq!(test.states(&stored), [Succeeded, Waits, Blocked]);
            let next = test.manager().begin_unique("name", policy, say::request("1".into()));
            let next = test.wait(next.then(join::request("2".into())).enqueue());
            let Enqueued::Superseded(old) = next.how else { panic!("{policy:?}: {:?}", next.how) };
            assert_eq!((old.len(), old.contains(&stored[1]), old.contains(&stored[2])), (2, true, true));
            test.run_until_idle();
            assert_eq!(test.output::<String>(next.ids[1]), "1 2");
            assert_eq!(test.output::<String>(stored[0]), "head", "nothing is deleted");
            assert_eq!(test.states(&stored), [Succeeded, Waits, Blocked]);
            older_build(&test);
            start(&test);
            test.retry(stored[1]);
            test.run_until_idle();
            assert_eq!(test.states(&stored), [Succeeded; 3], "the chain goes on where it was");
        }
    });
}

/// A chain under one name: its head, a work that an older build alone can read, and what waits for that.
fn chain_with_a_step_of_an_older_build(test: &Bench) -> Vec<WorkId> {
    older_build(test);
    test.restart();
    let mut graph = WorkGraph::new();
    let head = graph.add(say::request("head".into()).keep_results_for_at_least(30 * DAY));
    let reads = graph.add(older::request("old".into()).initial_delay(HOUR));
    let behind = graph.add(say::request("behind".into()));
    graph.edge(head, reads).edge(reads, behind).unique("name", Append);
    test.wait(test.manager().enqueue_graph(graph));
    newer_build(test);
    start(test);
    [head, reads, behind].map(|node| node.id()).into()
}

/// What it takes is too large here: the same.
#[test]
fn work_that_takes_too_much_gives_its_name_up_too_and_fits_again_only_by_retry() {
    on_both_stores(|test| {
        let limit = Arc::new(AtomicUsize::new(100));
        let at_each_start = Arc::clone(&limit);
        let test = test.shaped(|driver| {
            driver.shape(move |builder| {
                let mut limits = TestDriver::default_limits();
                limits.prerequisites = at_each_start.load(Ordering::Relaxed);
                builder.limits(limits)
            })
        });
        let chain = test.manager().begin_unique("name", Keep, wide::request()).then(join::request("all".into()));
        let ids = test.chain(chain);
        test.run_until_idle();
        assert!(matches!(test.info(ids[1]).parked, Some(ParkReason::TooLarge { .. })));
        let new = test.enqueue_unique("name", Keep, say::request("new".into()));
        assert_eq!(new.how, Enqueued::Superseded(vec![ids[1]]));
        limit.store(10_000, Ordering::Relaxed);
        start(&test);
        assert!(test.info(ids[1]).parked.is_some());
        test.retry(ids[1]);
        test.run_until_idle();
        assert_eq!(test.state_of(ids[1]), Succeeded);
    });
}

/// UNQ-9: the series of a newer build begins though that of an older one can't; `Update` gives the old one its new input.
#[test]
fn unq_9_periodic_work_that_can_not_begin_keeps_no_newer_series_from_its_name() {
    use ExistingPeriodicWorkPolicy::{Keep, Update};
    on_both_stores(|test| {
        for policy in [Keep, Update] {
            let test = test.another();
            older_build(&test);
            test.restart();
            let first = test.enqueue_unique_periodic("sync", Update, older::periodic("old".into(), DAY));
            test.run_until_idle();
            newer_build(&test);
            start(&test);
            assert!(test.info(first.id).parked.is_some());
            let next = test.enqueue_unique_periodic("sync", policy, newer::periodic(7, DAY));
            test.run_until_idle();
            match policy {
                Update => assert_eq!(next.how, Enqueued::Updated(first.id)),
                _ => assert_eq!(next.how, Enqueued::Superseded(vec![first.id])),
            }
            assert!(test.info(next.id).periods > 0);
            test.advance(3 * DAY);
            assert!(test.info(next.id).periods > 3);
        }
    });
}

/// What has begun, what is poisoned and what only this build does not know is kept: it would be run twice, or begin to kill again.
#[test]
fn a_holder_that_is_poisoned_or_of_an_unknown_worker_keeps_its_name() {
    on_both_stores(|test| {
        let unknown = test.enqueue_unique("unknown", Keep, say::request("x".into()).initial_delay(HOUR)).id;
        let deadly = test.enqueue_unique("deadly", Keep, crate::bench::held::request("x".into())).id;
        for _ in 0..7 {
            test.advance(HOUR);
            test.crash_and_restart();
        }
        assert!(test.info(deadly).parked.is_none(), "it has lasted for an hour each time");
        for _ in 0..6 {
            test.advance(secs(500));
            assert_eq!(test.state_of(deadly), Running);
            test.crash_and_restart();
        }
        assert!(matches!(test.info(deadly).parked, Some(ParkReason::Poisoned { deaths: 7 })));
        for policy in [Keep, Append] {
            let kept = test.enqueue_unique("deadly", policy, say::request("y".into()));
            let expected = if policy == Keep { Enqueued::Kept(deadly) } else { Enqueued::Appended(vec![deadly]) };
            assert_eq!(kept.how, expected);
        }
        assert_eq!(test.state_of(unknown), Succeeded);
        let unknown = test.enqueue_unique("unknown", Keep, say::request("x".into()).initial_delay(HOUR)).id;
        let mut registry = Registry::new();
        registry.add::<join>();
        test.next_build(registry);
        test.crash_and_restart();
        test.advance(DAY);
        let kept = test.wait(test.manager().enqueue_unique("unknown", Keep, say::request("y".into())));
        assert_eq!(kept.how, Enqueued::Kept(unknown));
        assert_eq!(test.explain(unknown), Explanation::NoWorker("say".into()));
    });
}

/// Its name is gone, its id and its tags are not; and an end of what it waits for reaches it as before.
#[test]
fn superseded_work_is_found_cancelled_and_failed_as_any_other() {
    on_both_stores(|test| {
        let [parked] = stuck(&test, ["name"]);
        let behind = {
            let mut graph = WorkGraph::new();
            let behind = graph.add(say::request("behind".into()));
            graph.after_stored(behind, parked);
            graph.unique("name", Append);
            let how = test.wait(test.manager().enqueue_graph(graph)).how;
            assert_eq!(how, Enqueued::Superseded(vec![parked]), "what is appended to it by its id waits for it alone");
            behind.id()
        };
        assert_eq!(test.state_of(behind), Blocked);
        let new = test.enqueue_unique("name", AppendOrReplace, say::request("new".into()));
        assert_eq!(new.how, Enqueued::Superseded(vec![behind]));
        assert_eq!(test.query(WorkQuery::tag("measure")).len(), 1);
        assert_eq!(test.cancel(WorkSelector::unique("name")), 1);
        assert_eq!(test.states(&[parked, behind]), [Waits, Blocked]);
        assert_eq!(test.cancel(WorkSelector::id(parked)), 2);
        assert_eq!(test.states(&[parked, behind]), [Cancelled; 2]);
        test.advance(32 * DAY);
        assert_eq!((test.find(parked), test.find(behind)), (None, None), "and pruned");
    });
}
