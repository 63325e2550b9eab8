//! Chains and dependents (sections 1, 4, 7 and 12 of the upstream suite).

use workman_core::{Request, WorkId, WorkQuery, WorkSelector, WorkState};

use crate::bench::{DAY, HOUR, MINUTE, fails, flaky, held, join, millis, on_both_stores, say, secs, slow};

use WorkState::{Blocked, Cancelled, Enqueued as Waits, Failed, Running, Succeeded};

fn later(name: &str) -> Request<workman_core::Nothing, String> {
    say::request(name.into()).initial_delay(DAY)
}

/// WorkManagerImplTest 7: each work waits for the works of the step before it, directly, and for no others.
#[test]
fn dep_1_prerequisites_are_the_direct_ones_in_the_order_of_declaration() {
    on_both_stores(|test| {
        let chain = test.manager().begin_with([later("1a"), later("1b")]).then(say::request("2".into()));
        let ids = test.chain(chain.then([say::request("3a".into()), say::request("3b".into())]));
        test.crash_and_restart();
        let prerequisites: Vec<Vec<WorkId>> = ids.iter().map(|id| test.info(*id).prerequisites).collect();
        assert_eq!(prerequisites, [vec![], vec![], vec![ids[0], ids[1]], vec![ids[2]], vec![ids[2]]]);
        assert_eq!(test.states(&ids), [Waits, Waits, Blocked, Blocked, Blocked]);
        assert_eq!(test.info(ids[2]).open_prerequisites, 2);
    });
}

/// WorkContinuationImplTest 3, 5, TestSchedulerTest and TestSchedulerRealExecutorTest `testWorker_withDependentWork_*`: a chain is
/// stored at once, and runs by itself in its order.
#[test]
fn dep_1_a_chain_is_stored_in_one_commit_and_runs_in_its_order() {
    on_both_stores(|test| {
        let chain = test.manager().begin_with(say::request("a".into())).then(say::request("b".into()));
        let chain = chain.then([join::request("c".into()), join::request("d".into())]);
        test.run_until_idle();
        let before = test.commits();
        let ids = test.wait(chain.then(join::request("e".into())).enqueue()).ids;
        assert_eq!(test.commits(), before + 1);
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded; 5]);
        assert_eq!(test.output::<String>(ids[4]), "b c b d e");
        let mut said = test.diary();
        said[2..4].sort();
        assert_eq!(said, ["a", "b", "b c", "b d", "b c b d e"]);
    });
}

/// WorkContinuationImplTest 6: to enqueue a chain again, with the same requests, changes nothing.
#[test]
fn dep_5_a_chain_that_is_enqueued_again_is_the_same_works() {
    on_both_stores(|test| {
        let (first, second) = (say::request("a".into()), say::request("b".into()));
        let chain = || test.manager().begin_with(first.clone()).then(second.clone());
        let ids = test.chain(chain());
        test.run_until_idle();
        assert_eq!(test.chain(chain()), ids);
        test.run_until_idle();
        assert_eq!((test.diary().len(), test.query(WorkQuery::all()).len()), (2, 2));
    });
}

/// WorkContinuationImplTest 12, 14: a request that comes twice in one chain would be its own prerequisite.
#[test]
fn dep_7_a_request_twice_in_one_chain_is_refused_and_nothing_is_stored() {
    on_both_stores(|test| {
        let (a, b) = (say::request("a".into()), say::request("b".into()));
        let manager = test.manager();
        for chain in [
            manager.begin_with(a.clone()).then(a.clone()),
            manager.begin_with(a.clone()).then(b.clone()).then(a.clone()),
            manager.begin_with(vec![a.clone(), a.clone()]).then(b.clone()),
        ] {
            test.refused(chain.enqueue());
        }
        assert_eq!(test.query(WorkQuery::all()).len(), 0);
    });
}

/// WorkerWrapperTest 11: five hundred dependents in a row fail or are cancelled with the first, and they all run if it succeeds.
#[test]
fn dep_2_and_dep_3_a_deep_chain_ends_as_its_root_does() {
    on_both_stores(|test| {
        let deep = |root: Request<workman_core::Nothing, String>| {
            let first = test.manager().begin_with(root);
            let chain = (1..501).fold(first, |chain, n| chain.then(say::request(n.to_string())));
            test.chain(chain)
        };
        let failed = deep(fails::request("root".into()));
        test.run_until_idle();
        assert!(failed.iter().all(|id| test.state_of(*id) == Failed));
        let cancelled = deep(later("root"));
        test.cancel(WorkSelector::id(cancelled[0]));
        assert!(cancelled.iter().all(|id| test.state_of(*id) == Cancelled));
        test.diary();
        let good = deep(say::request("root".into()));
        test.run_until_idle();
        assert_eq!((test.state_of(good[500]), test.diary().len()), (Succeeded, 501));
    });
}

/// WorkerWrapperTest 15: the times of a dependent count from its unblocking.
#[test]
fn dep_1_a_dependent_is_enqueued_when_it_is_unblocked_and_its_delay_counts_from_there() {
    on_both_stores(|test| {
        let first = slow::request("first".into(), 100);
        let ids = test.chain(test.manager().begin_with(first).then(say::request("x".into()).initial_delay(MINUTE)));
        assert_eq!(test.info(ids[1]).next_run, None);
        test.advance(secs(100));
        assert_eq!((test.state_of(ids[1]), test.due_in(ids[1])), (Waits, MINUTE));
        test.advance(MINUTE - millis(1));
        assert_eq!(test.state_of(ids[1]), Waits);
        test.advance(millis(1));
        assert_eq!(test.state_of(ids[1]), Succeeded);
    });
}

/// Reference DEP-1: the last prerequisite unblocks, not the first.
#[test]
fn dep_1_a_work_is_unblocked_by_the_last_of_its_prerequisites() {
    on_both_stores(|test| {
        let step = [slow::request("a".into(), 10), slow::request("b".into(), 30), slow::request("c".into(), 20)];
        let ids = test.chain(test.manager().begin_with(step).then(join::request("end".into())));
        for open in [3, 2, 1] {
            assert_eq!((test.state_of(ids[3]), test.info(ids[3]).open_prerequisites), (Blocked, open));
            test.advance(secs(10));
        }
        assert_eq!(test.output::<String>(ids[3]), "a b c end", "in the order of declaration, not of ends");
    });
}

/// WorkerWrapperTest 17: dependents fail with it, but for what was cancelled before. A cancelled one keeps its own dependents
/// cancelled.
#[test]
fn dep_2_a_failure_fails_all_dependents_but_those_that_were_cancelled() {
    on_both_stores(|test| {
        let first = held::request("gate".into());
        let chain = test.manager().begin_with(first).then(fails::request("bad".into()));
        let ids = test.chain(chain.then([say::request("w".into()), say::request("x".into())]).then(later("y")));
        test.run_until_idle();
        test.cancel(WorkSelector::id(ids[3]));
        assert_eq!(test.states(&ids), [Running, Blocked, Blocked, Cancelled, Cancelled]);
        test.open("gate");
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded, Failed, Failed, Cancelled, Cancelled]);
        let failed = test.info(ids[2]);
        assert_eq!((failed.output, failed.runs), (None, 0));
    });
}

/// Reference DEP-2, BO: a failed attempt that is tried again takes nobody along; the last one does.
#[test]
fn dep_2_dependents_wait_while_attempts_are_left() {
    on_both_stores(|test| {
        let first = flaky::request("first".into(), 9).max_attempts(3);
        let ids = test.chain(test.manager().begin_with(first).then(say::request("x".into())));
        test.advance(secs(30));
        assert_eq!(test.states(&ids), [Waits, Blocked]);
        test.advance(secs(60));
        assert_eq!(test.states(&ids), [Failed, Failed]);
        assert_eq!(test.diary(), ["first 0", "first 1", "first 2"]);
    });
}

/// SchedulersTest `runDependency`, across a crash: a release is not lost with the process.
#[test]
fn dep_1_a_chain_goes_on_in_the_next_process() {
    on_both_stores(|test| {
        let chain = test.manager().begin_with(slow::request("a".into(), 60)).then(slow::request("b".into(), 60));
        let ids = test.chain(chain.then(join::request("c".into())));
        test.advance(secs(90));
        test.crash_and_restart();
        assert_eq!(test.state_of(ids[0]), Succeeded);
        test.advance(HOUR);
        assert_eq!(test.states(&ids), [Succeeded; 3]);
        assert_eq!(test.diary(), ["a", "b", "b c"]);
    });
}
