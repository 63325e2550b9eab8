//! Queries and snapshots.

use workman_core::{ExistingWorkPolicy, Request, WorkId, WorkQuery, WorkSelector, WorkState};

use crate::bench::{Bench, CHARGING, DAY, held, on_both_stores, say, tell};

use WorkState::{Blocked, Cancelled, Enqueued as Waits, Running, Succeeded};

fn later(name: &str) -> Request<workman_core::Nothing, String> {
    say::request(name.into()).initial_delay(DAY)
}

fn ids(test: &Bench, query: WorkQuery) -> Vec<WorkId> {
    let mut ids: Vec<WorkId> = test.query(query).into_iter().map(|info| info.id).collect();
    ids.sort();
    ids
}

/// WorkManagerImplTest 37, 38, 41: a snapshot by id, and none for an unknown one.
#[test]
fn obs_2_a_work_is_found_by_its_id_and_an_unknown_one_is_none() {
    on_both_stores(|test| {
        let id = test.enqueue(say::request("x".into()).constraints(CHARGING));
        test.run_until_idle();
        let info = test.info(id);
        assert_eq!((info.id, info.state, info.constraints), (id, Succeeded, CHARGING));
        assert_eq!(test.find(WorkId::from_u128(1)), None);
    });
}

/// WorkManagerImplTest 43, 44: by tag and by name in every state; what is unknown gives an empty list.
#[test]
fn obs_2_works_are_found_by_tag_and_by_name_and_unknown_ones_are_an_empty_list() {
    on_both_stores(|test| {
        let first = held::request("w0".into()).tag("first").tag("second");
        let chain = test.manager().begin_unique("name", ExistingWorkPolicy::Keep, first);
        let named = test.chain(chain.then(say::request("w1".into()).tag("first")).then(say::request("w2".into())));
        let done = test.enqueue(tell::request("w3".into()).tag("second"));
        test.run_until_idle();
        assert_eq!(test.states(&named), [Running, Blocked, Blocked]);
        assert_eq!(ids(&test, WorkQuery::tag("first")), named[..2]);
        assert_eq!(ids(&test, WorkQuery::tag("second")), [named[0], done]);
        assert_eq!(ids(&test, WorkQuery::tag("third")), []);
        assert_eq!(ids(&test, WorkQuery::unique("name")), named);
        assert_eq!(ids(&test, WorkQuery::unique("dummy")), []);
        let info = test.info(named[0]);
        assert!(["first", "second", "held"].iter().all(|tag| info.tags.iter().any(|found| **found == **tag)));
        assert_eq!((info.failures, info.output, info.progress), (0, None, None));
        assert_eq!(info.name.as_deref(), Some("name"));
    });
}

/// The works of RawWorkInfoDaoTest: one runs unnamed, one waits under a name, one was cancelled.
fn three(test: &Bench) -> [WorkId; 3] {
    let runs = test.enqueue(held::request("a".into()).tag("both").tag("a"));
    let named = test.enqueue_unique("name", ExistingWorkPolicy::Keep, later("b").tag("both").tag("b")).id;
    let cancelled = test.enqueue(tell::request("c".into()).initial_delay(DAY));
    test.cancel(WorkSelector::id(cancelled));
    test.run_until_idle();
    assert_eq!(test.states(&[runs, named, cancelled]), [Running, Waits, Cancelled]);
    [runs, named, cancelled]
}

/// RawWorkInfoDaoTest, one criterion each: OR inside of it.
#[test]
fn a_list_in_a_query_means_any_of_it() {
    on_both_stores(|test| {
        let [a, b, c] = three(&test);
        assert_eq!(ids(&test, WorkQuery::unique("name")), [b]);
        assert_eq!(ids(&test, WorkQuery::unique("name").name("other")), [b]);
        assert_eq!(ids(&test, WorkQuery::id(a)), [a]);
        assert_eq!(ids(&test, WorkQuery::id(a).or_id(c)), [a, c]);
        assert_eq!(ids(&test, WorkQuery::ids([c, a, WorkId::from_u128(9)])), [a, c]);
        assert_eq!(ids(&test, WorkQuery::tag("held")), [a]);
        assert_eq!(ids(&test, WorkQuery::tag("held").tagged("tell")), [a, c]);
        assert_eq!(ids(&test, WorkQuery::in_state(Waits).state(Cancelled)), [b, c]);
        assert_eq!(ids(&test, WorkQuery::in_state(Succeeded)), []);
        assert_eq!(ids(&test, WorkQuery::tag("both").tagged("a").tagged("b")), [a, b], "each once");
    });
}

/// RawWorkInfoDaoTest, several criteria: AND between them. Every pair, and all four.
#[test]
fn several_lists_in_a_query_must_all_be_met() {
    on_both_stores(|test| {
        let [a, b, c] = three(&test);
        assert_eq!(ids(&test, WorkQuery::ids([a, b]).tagged("held")), [a]);
        assert_eq!(ids(&test, WorkQuery::in_state(Running).tagged("held")), [a]);
        assert_eq!(ids(&test, WorkQuery::in_state(Waits).tagged("held")), []);
        assert_eq!(ids(&test, WorkQuery::ids([b, a]).name("name")), [b]);
        assert_eq!(ids(&test, WorkQuery::tag("held").tagged("say").name("name")), [b]);
        assert_eq!(ids(&test, WorkQuery::ids([a, b, c]).state(Cancelled)), [c]);
        assert_eq!(ids(&test, WorkQuery::unique("name").state(Running)), []);
        let all = WorkQuery::in_state(Waits).state(Running).tagged("say").tagged("held").name("name").or_id(b).or_id(a);
        assert_eq!(ids(&test, all), [b]);
    });
}

/// RawWorkInfoDaoTest `invalidWorkQuery`: a query that asks for nothing is an error there. Here it means all works, and has a name
/// of its own.
#[test]
fn a_query_that_asks_for_nothing_means_all_works() {
    on_both_stores(|test| {
        assert_eq!(ids(&test, WorkQuery::all()), []);
        let three = three(&test);
        assert_eq!(ids(&test, WorkQuery::all()), three);
        assert_eq!(WorkQuery::all(), WorkQuery::default());
    });
}

/// OBS-3 and WorkSpecDaoTest `testWorkSpecsForInserting`: whatever its state and its time, what is stored is found, also
/// by the next process.
#[test]
fn obs_3_finished_and_distant_work_is_found_after_a_restart() {
    on_both_stores(|test| {
        let done = test.enqueue(say::request("done".into()));
        let distant = test.enqueue(later("distant"));
        let rest = test.chain(test.manager().begin_with(later("a")).then(later("b")));
        test.run_until_idle();
        test.crash_and_restart();
        assert_eq!(ids(&test, WorkQuery::all()), [done, distant, rest[0], rest[1]]);
        assert_eq!(test.output::<String>(done), "done");
    });
}
