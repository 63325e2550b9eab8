//! Chains and dependents.

use workman_core::{EnqueueError, Nothing, Refusal, Request, WorkGraph, WorkId, WorkQuery, WorkSelector, WorkState};

use crate::bench::{DAY, HOUR, MINUTE, fails, flaky, held, join, millis, on_both_stores, say, secs, slow};

use WorkState::{Blocked, Cancelled, Enqueued as Waits, Failed, Running, Succeeded};

fn later(name: &str) -> Request<Nothing, String> {
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
fn unq_8_a_chain_that_is_enqueued_again_is_the_same_works() {
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

/// WorkContinuationImplTest 11, 12, 14: a request that would wait for itself is refused, wherever it stands.
#[test]
fn dep_7_a_work_that_waits_for_itself_is_refused_and_nothing_is_stored() {
    on_both_stores(|test| {
        let [a, b, c] = ["a", "b", "c"].map(|name| say::request(name.into()));
        let manager = test.manager();
        let begin = |request: &Request<_, _>| manager.begin_with(request.clone());
        let joined = manager.combine((begin(&a), begin(&b).then(c.clone()))).then(b.clone());
        let same_twice = manager.combine([begin(&a), begin(&a)]).then(c.clone()).then(a.clone());
        for chain in [
            begin(&a).then(a.clone()),
            begin(&a).then(b.clone()).then(a.clone()),
            begin(&a).then(b.clone()).then(c.clone()).then(b.clone()),
            joined,
            same_twice,
        ] {
            let refused = test.refused(chain.enqueue());
            assert!(matches!(refused, EnqueueError::Cycle { .. }), "{refused}");
        }
        assert_eq!(test.query(WorkQuery::all()).len(), 0);
    });
}

/// WorkContinuationImplTest 8, 9, 15, 17: chains that share works are joined without a circle, and each shared work is one.
#[test]
fn dep_7_and_dep_9_chains_that_share_works_are_joined_and_each_work_is_one() {
    on_both_stores(|test| {
        let manager = test.manager();
        let begin = |name: &str| manager.begin_with(say::request(name.into()));
        let levels = manager.combine([
            manager.combine([begin("1"), begin("2")]).then(join::request("12".into())),
            manager.combine([begin("3"), begin("4")]).then(join::request("34".into())),
        ]);
        let before = test.commits();
        let ids = test.wait(levels.then(join::request("end".into())).enqueue()).ids;
        assert_eq!((ids.len(), test.commits()), (7, before + 1), "in one commit, and no work of ours beside them");
        test.run_until_idle();
        assert_eq!(test.output::<String>(*ids.last().unwrap()), "1 2 12 3 4 34 end");

        let one = begin("one");
        let shared = manager.combine([
            manager.combine([one.clone(), begin("two")]).then(join::request("x".into())),
            manager.combine([one, begin("three")]).then(join::request("y".into())),
        ]);
        let ids = test.chain(shared.then(join::request("end".into())));
        test.run_until_idle();
        assert_eq!((ids.len(), test.output::<String>(*ids.last().unwrap())), (6, "one two x one three y end".into()));
        assert_eq!(test.diary().iter().filter(|said| *said == "one").count(), 1);

        let [a, b, c] = ["a", "b", "c"].map(|name| say::request(name.into()));
        let lists = manager.combine([manager.begin_with(vec![a, b.clone()]), manager.begin_with(vec![b, c])]);
        let ids = test.chain(lists.then(say::request("end".into())));
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded; 4]);
    });
}

/// WorkContinuationImplTest 2, 18: an enqueued chain tells all of its works, those that it was appended to too.
#[test]
fn obs_2_a_chain_tells_all_of_its_works() {
    on_both_stores(|test| {
        let manager = test.manager();
        let begin = |name: &str| manager.begin_with(say::request(name.into()));
        let chain = manager.combine([begin("a").then(say::request("b".into())), begin("c")]);
        let stored = test.wait(chain.then(say::request("d".into())).enqueue());
        let more = test.wait(stored.then(say::request("e".into())).enqueue());
        test.enqueue(say::request("stranger".into()));
        test.run_until_idle();
        let told = |query: WorkQuery| {
            let mut told: Vec<WorkId> = test.query(query).into_iter().map(|info| info.id).collect();
            told.sort();
            told
        };
        let mut all = stored.ids.clone();
        all.sort();
        assert_eq!((told(stored.query()), all.len()), (all.clone(), 4));
        all.extend(&more.ids);
        all.sort();
        assert_eq!(told(more.query()), all);
    });
}

/// WorkManagerImplTest 8, 10 and DEP-5: new work behind an enqueued chain looks at the states as they are now.
#[test]
fn dep_5_what_goes_on_behind_an_enqueued_chain_is_born_as_that_stands_now() {
    on_both_stores(|test| {
        let manager = test.manager();
        let behind = |root: Request<Nothing, String>, cancelled: Option<()>| {
            let stored = test.wait(manager.begin_with(root).enqueue());
            test.run_until_idle();
            cancelled.map(|()| test.cancel(WorkSelector::id(stored.ids[0])));
            let children = stored.then([join::request("1".into()), join::request("2".into())]);
            let ids = test.wait(children.then(later("3")).enqueue()).ids;
            (stored.ids[0], ids)
        };
        let (root, children) = behind(say::request("good".into()), None);
        assert_eq!(test.states(&[root, children[2]]), [Succeeded, Blocked]);
        test.run_until_idle();
        assert_eq!(test.states(&children), [Succeeded, Succeeded, Waits]);
        assert_eq!(test.output::<String>(children[1]), "good 2");
        let (root, children) = behind(fails::request("bad".into()), None);
        assert_eq!((test.state_of(root), test.states(&children)), (Failed, vec![Failed; 3]));
        let (root, children) = behind(later("cancelled"), Some(()));
        assert_eq!((test.state_of(root), test.states(&children)), (Cancelled, vec![Cancelled; 3]));
        let (root, children) = behind(held::request("gate".into()), None);
        assert_eq!((test.state_of(root), test.states(&children)), (Running, vec![Blocked; 3]));
        test.open("gate");
        test.run_until_idle();
        assert_eq!(test.states(&children[..2]), [Succeeded; 2]);
    });
}

/// The neighbourhood of 8 and DEP-6, D3: after a prune there is nothing to go on from, and that is
/// an error.
#[test]
fn dep_6_a_prerequisite_that_is_gone_is_an_error_and_nothing_is_stored() {
    on_both_stores(|test| {
        let stored = test.wait(test.manager().begin_with(say::request("a".into())).enqueue());
        test.run_until_idle();
        assert_eq!(test.wait(test.manager().prune()), 1);
        let refused = test.refused(stored.then(say::request("b".into())).enqueue());
        let gone = stored.ids[0];
        let told = matches!(
            refused,
            EnqueueError::Refused(Refusal::MissingPrerequisite { prerequisite, .. }) if prerequisite == gone
        );
        assert!(told, "{refused}");
        assert_eq!(test.query(WorkQuery::all()).len(), 0);
    });
}

/// DEP-10: periodic work has no place in a chain. The types forbid it; a graph behind stored work finds it out.
#[test]
fn dep_10_periodic_work_is_nobodys_prerequisite() {
    on_both_stores(|test| {
        let periodic = test.enqueue_periodic(say::periodic("p".into(), DAY));
        let mut graph = WorkGraph::new();
        let node = graph.add(say::request("x".into()));
        graph.after_stored(node, periodic);
        let refused = test.refused(test.manager().enqueue_graph(graph));
        assert!(matches!(refused, EnqueueError::Refused(Refusal::PeriodicPrerequisite { .. })), "{refused}");
        assert_eq!(test.query(WorkQuery::all()).len(), 1);
    });
}

/// WorkerWrapperTest 11: five hundred dependents in a row fail or are cancelled with the first, and they all run if it succeeds.
#[test]
fn dep_2_and_dep_3_a_deep_chain_ends_as_its_root_does() {
    on_both_stores(|test| {
        let deep = |root: Request<Nothing, String>| {
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

/// DEP-1: the last prerequisite unblocks, not the first.
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
        let chain = test.manager().begin_with(first).then([fails::request("bad".into()), say::request("good".into())]);
        let ids = test.chain(chain.then([say::request("w".into()), say::request("x".into())]).then(later("y")));
        test.run_until_idle();
        test.cancel(WorkSelector::id(ids[4]));
        assert_eq!(test.states(&ids), [Running, Blocked, Blocked, Blocked, Cancelled, Cancelled]);
        test.open("gate");
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded, Failed, Succeeded, Failed, Cancelled, Cancelled], "and no sibling");
        let failed = test.info(ids[3]);
        assert_eq!((failed.output, failed.runs), (None, 0));
    });
}

/// DEP-2, BO: a failed attempt that is tried again takes nobody along; the last one does.
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
