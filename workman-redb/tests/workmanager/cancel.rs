//! Cancel and prune.

use workman_core::{Request, StopReason, WorkId, WorkQuery, WorkSelector, WorkState};

use crate::bench::{Bench, DAY, HOUR, MINUTE, fails, flaky, held, join, millis, on_both_stores, say, slow};
use crate::kinds::deaf_thread;

use WorkState::{Blocked, Cancelled, Enqueued as Waits, Failed, Running, Succeeded};

fn later(name: &str) -> Request<workman_core::Nothing, String> {
    say::request(name.into()).initial_delay(DAY)
}

/// WorkManagerImplTest 46 and StopReasonTest `testStopReasonWhenCancelledPreRun`: one work, and no other; it has no stop reason,
/// since nothing was stopped.
#[test]
fn can_1_a_work_is_cancelled_by_its_id_and_no_other() {
    on_both_stores(|test| {
        let ids = ["a", "b"].map(|name| test.enqueue(say::request(name.into()).initial_delay(HOUR)));
        assert_eq!(test.cancel(WorkSelector::id(ids[0])), 1);
        assert_eq!(test.states(&ids), [Cancelled, Waits]);
        assert_eq!(test.info(ids[0]).stop_reason, None);
        test.advance(HOUR);
        assert_eq!(test.states(&ids), [Cancelled, Succeeded]);
        assert_eq!(test.diary(), ["b"]);
    });
}

/// CAN-4: what is unknown or finished is none, and no error.
#[test]
fn can_4_cancelling_what_is_unknown_or_over_does_nothing() {
    on_both_stores(|test| {
        let done = test.enqueue(say::request("done".into()));
        test.run_until_idle();
        let before = test.info(done);
        let unknown = WorkId::from_u128(7);
        for selector in [
            WorkSelector::id(unknown),
            WorkSelector::id(done),
            WorkSelector::tag("say"),
            WorkSelector::tag("nobody"),
            WorkSelector::unique("nobody"),
            WorkSelector::All,
        ] {
            assert_eq!(test.cancel(selector.clone()), 0, "{selector:?}");
        }
        assert_eq!(test.info(done), before);
    });
}

/// WorkManagerImplTest 47 and DEP-3: dependents go too, all the way; what is finished stays.
#[test]
fn can_1_and_dep_3_dependents_are_cancelled_with_it_and_what_is_finished_stays() {
    on_both_stores(|test| {
        let chain = test.manager().begin_with(say::request("done".into())).then(held::request("runs".into()));
        let ids = test.chain(chain.then([say::request("b".into()), say::request("c".into())]).then(later("d")));
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded, Running, Blocked, Blocked, Blocked]);
        assert_eq!(test.cancel(WorkSelector::id(ids[1])), 4);
        assert_eq!(test.states(&ids), [Succeeded, Cancelled, Cancelled, Cancelled, Cancelled]);
        let reasons: Vec<Option<StopReason>> = ids.iter().map(|id| test.info(*id).stop_reason).collect();
        assert_eq!(reasons, [None, Some(StopReason::CancelledByApp), None, None, None], "only one was stopped");
        test.run_until_idle();
        assert_eq!(test.diary(), ["done".to_owned(), "runs".into(), "runs stopped: cancelled by the program".into()]);
    });
}

/// CAN-1: a work that is over is not finished again, and what depends on it is cancelled, directly or through works that are over
/// too; what runs is told. Other prerequisites of what is cancelled stay.
#[test]
fn can_1_a_finished_work_stays_and_what_depends_on_it_is_cancelled() {
    on_both_stores(|test| {
        let manager = test.manager();
        let start = manager.begin_with(say::request("1".into())).then(say::request("2".into()));
        let branches = [start.clone().then(held::request("3".into())), manager.begin_with(later("4"))];
        let ids = test.chain(manager.combine(branches).then(join::request("5".into())));
        let other = test.chain(start.then(later("6")));
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded, Succeeded, Running, Waits, Blocked]);
        let before = [test.info(ids[0]), test.info(ids[1])];
        assert_eq!(test.cancel(WorkSelector::id(ids[0])), 3);
        assert_eq!(test.states(&ids), [Succeeded, Succeeded, Cancelled, Waits, Cancelled]);
        assert_eq!(test.state_of(other[2]), Cancelled);
        assert_eq!([test.info(ids[0]), test.info(ids[1])], before);
        test.run_until_idle();
        assert_eq!(test.diary(), ["1", "2", "3", "3 stopped: cancelled by the program"]);
        let commits = test.commits();
        assert_eq!(test.cancel(WorkSelector::id(ids[0])), 0, "again is nothing");
        assert_eq!(test.commits(), commits);
        let later = test.wait(manager.begin_with(later("7")).enqueue());
        assert_eq!(test.states(&later.ids), [Waits], "and nothing else has changed");
    });
}

/// CAN-1 and SM-1: what had failed once and waits for its next attempt is cancelled with a finished work; a failed work has nothing
/// behind it that could be.
#[test]
fn can_1_what_waits_for_its_next_attempt_is_cancelled_with_a_finished_work() {
    on_both_stores(|test| {
        let chain = test.manager().begin_with(say::request("1".into()));
        let ids = test.chain(chain.then(flaky::request("2".into(), 9)).then(say::request("3".into())));
        let failed = test.chain(test.manager().begin_with(fails::request("x".into())).then(say::request("y".into())));
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded, Waits, Blocked]);
        assert_eq!(test.cancel(WorkSelector::id(ids[0])), 2);
        assert_eq!(test.cancel(WorkSelector::id(failed[0])), 0);
        assert_eq!(test.states(&failed), [Failed, Failed]);
        test.advance(HOUR);
        assert_eq!(test.states(&ids), [Succeeded, Cancelled, Cancelled]);
        assert_eq!(test.diary(), ["1", "x", "2 0"]);
    });
}

/// WorkManagerImplTest 49: all with a tag, and no other.
#[test]
fn can_1_all_works_with_a_tag_are_cancelled() {
    on_both_stores(|test| {
        let with = |tag: &str| test.enqueue(later("x").tag(tag));
        let ids = [with("X"), with("X"), with("Y"), with("Y")];
        assert_eq!(test.cancel(WorkSelector::tag("X")), 2);
        assert_eq!(test.states(&ids), [Cancelled, Cancelled, Waits, Waits]);
        assert_eq!(test.cancel(WorkSelector::tag("say")), 2, "the worker's name is a tag");
        assert_eq!(test.states(&ids), [Cancelled; 4]);
    });
}

/// WorkManagerImplTest 50: dependents of tagged work go too, however deep and through whom; its other prerequisites stay. The
/// shape is 0 -> 1 -> 2, 0 -> 3, 4 -> 5 and 5 appended behind 2 under a name.
#[test]
fn can_1_and_dep_3_a_tag_takes_dependents_along_and_no_other_prerequisite() {
    on_both_stores(|test| {
        let manager = test.manager();
        let other = test.enqueue_unique("name", workman_core::ExistingWorkPolicy::Keep, later("other")).id;
        let tagged = manager.begin_unique("name", workman_core::ExistingWorkPolicy::Append, later("in name"));
        let appended = test.chain(tagged);
        let chain = manager.begin_with(later("0").tag("T")).then([say::request("1".into()), say::request("3".into())]);
        let ids = test.chain(chain.then(say::request("2".into())));
        assert_eq!(test.cancel(WorkSelector::tag("T")), 4);
        assert_eq!(test.states(&ids), [Cancelled; 4]);
        assert_eq!(test.states(&[other, appended[0]]), [Waits, Blocked]);
        let pair = [later("a").tag("U"), later("b")];
        let ids = test.chain(manager.begin_with(pair).then(say::request("both".into())));
        assert_eq!(test.cancel(WorkSelector::tag("U")), 2);
        assert_eq!(test.states(&ids), [Cancelled, Waits, Cancelled], "the other prerequisite stays");
    });
}

/// WorkManagerImplTest 52: all of a name that is not finished.
#[test]
fn can_1_a_name_is_cancelled_but_for_what_is_finished() {
    on_both_stores(|test| {
        use workman_core::ExistingWorkPolicy::{Append, Keep};
        let manager = test.manager();
        let done = test.chain(manager.begin_unique("name", Keep, say::request("done".into())));
        test.run_until_idle();
        let rest = test.chain(manager.begin_unique("name", Append, held::request("runs".into())).then(later("b")));
        let stranger = test.enqueue_unique("other", Keep, later("x")).id;
        test.run_until_idle();
        assert_eq!(test.states(&rest), [Running, Blocked]);
        assert_eq!(test.cancel(WorkSelector::unique("name")), 2);
        assert_eq!(test.states(&[done[0], rest[0], rest[1], stranger]), [Succeeded, Cancelled, Cancelled, Waits]);
    });
}

/// WorkManagerImplTest 53: everything that is not finished.
#[test]
fn can_1_everything_is_cancelled_but_for_what_is_finished() {
    on_both_stores(|test| {
        let done = [test.enqueue(say::request("good".into())), test.enqueue(fails::request("bad".into()))];
        test.run_until_idle();
        let periodic = test.enqueue_periodic(say::periodic("p".into(), HOUR));
        let chain = test.chain(test.manager().begin_with(held::request("runs".into())).then(later("b")));
        let waits = test.enqueue(later("waits"));
        test.run_until_idle();
        assert_eq!(test.cancel(WorkSelector::All), 4);
        assert_eq!(test.states(&done), [Succeeded, Failed]);
        assert_eq!(test.states(&[periodic, chain[0], chain[1], waits]), [Cancelled; 4]);
        test.run_until_idle();
        test.diary();
        test.advance(DAY);
        assert_eq!(test.diary(), [] as [&str; 0]);
    });
}

/// SM-4 and CAN-3: the success of a worker that does not hear the stop never wins.
#[test]
fn sm_4_and_can_3_a_result_after_the_cancellation_is_ignored() {
    on_both_stores(|test| {
        for (request, gate) in [(deaf::request(), "deaf"), (deaf_thread::request(), "deaf thread")] {
            let id = test.enqueue(request);
            test.run_until_idle();
            assert_eq!(test.state_of(id), Running);
            test.cancel(WorkSelector::id(id));
            let before = test.info(id);
            assert_eq!((before.state, before.stop_reason), (Cancelled, Some(StopReason::CancelledByApp)));
            test.open(gate);
            test.advance(HOUR);
            assert_eq!(test.info(id), before);
        }
    });
}

/// Waits at its gate whatever it is told.
#[workman_core::worker]
async fn deaf(#[state] gates: crate::bench::Gates) -> u32 {
    gates.get("deaf").wait().await;
    7
}

/// TestSchedulerTest `testWorker_withPeriod_cancelAndResume_shouldRun`: cancelled periodic work stays cancelled.
#[test]
fn sm_1_cancelled_periodic_work_never_runs_again() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(say::periodic("x".into(), 10 * MINUTE));
        test.advance(10 * MINUTE);
        assert_eq!(test.diary(), ["x", "x"]);
        test.cancel(WorkSelector::id(id));
        test.advance(DAY / 2);
        test.crash_and_restart();
        test.advance(HOUR);
        assert_eq!((test.diary().len(), test.state_of(id)), (0, Cancelled));
    });
}

#[track_caller]
fn prune(test: &Bench) -> usize {
    test.wait(test.manager().prune())
}

/// WorkManagerImplTest 56 (and REC-6): prune ignores how long results are to be kept, and spares only what unfinished
/// work waits for.
#[test]
fn rec_6_and_data_6_prune_deletes_all_finished_work_that_nothing_unfinished_waits_for() {
    on_both_stores(|test| {
        let waits = test.enqueue(later("waits"));
        let good = test.enqueue(say::request("good".into()));
        let bad = test.enqueue(fails::request("bad".into()));
        let kept = test.enqueue(say::request("kept".into()).keep_results_for_at_least(999 * DAY));
        let cancelled = test.enqueue(later("cancelled"));
        test.cancel(WorkSelector::id(cancelled));
        let chain = test.manager().begin_with(say::request("a".into())).then(say::request("b".into()));
        let chain = test.chain(chain.then(join::request("c".into()).initial_delay(DAY)));
        let periodic = test.enqueue_periodic(say::periodic("p".into(), 9 * DAY));
        test.run_until_idle();
        assert_eq!(test.states(&chain), [Succeeded, Succeeded, Waits]);
        assert_eq!(prune(&test), 5, "all but those that unfinished work waits for directly");
        let gone: Vec<bool> = [waits, good, bad, kept, cancelled, chain[0], chain[1], chain[2], periodic]
            .map(|id| test.find(id).is_none())
            .into();
        assert_eq!(gone, [false, true, true, true, true, true, false, false, false]);
        assert_eq!(prune(&test), 0);
        test.advance(DAY);
        assert_eq!(test.output::<String>(chain[2]), "b c", "the output that it waited for was there");
        assert_eq!(prune(&test), 3);
        assert_eq!(test.query(WorkQuery::all()).len(), 1, "the periodic one");
    });
}

/// UNQ-5: a name whose last work failed takes new work again after a prune.
#[test]
fn unq_5_a_poisoned_name_is_free_again_after_a_prune() {
    on_both_stores(|test| {
        use workman_core::ExistingWorkPolicy::Append;
        let first = test.enqueue_unique("name", Append, fails::request("bad".into()));
        test.run_until_idle();
        let second = test.enqueue_unique("name", Append, say::request("2".into()));
        assert_eq!((second.how, test.state_of(second.id)), (workman_core::Enqueued::Appended(vec![first.id]), Failed));
        let said = test.explain(second.id).to_string();
        assert!(said.starts_with(&format!("failed, since its prerequisite {} of worker", first.id)), "{said}");
        assert_eq!(prune(&test), 2);
        let third = test.enqueue_unique("name", Append, say::request("3".into()));
        test.run_until_idle();
        assert_eq!((third.how, test.state_of(third.id)), (workman_core::Enqueued::Inserted, Succeeded));
    });
}
/// WorkManagerImplTest 59: finished work goes a day after its end (D11: after its end, not its enqueue, and
/// while the process lives), and unfinished work never does.
#[test]
fn rec_6_finished_work_goes_a_day_after_its_end_and_unfinished_work_never() {
    on_both_stores(|test| {
        let long = test.enqueue(slow::request("long".into(), 3 * 3600));
        let keeps = test.enqueue(say::request("kept".into()).keep_results_for_at_least(DAY));
        let waits = test.enqueue(say::request("waits".into()).initial_delay(10 * DAY));
        test.advance(3 * HOUR);
        assert_eq!(test.states(&[long, keeps, waits]), [Succeeded, Succeeded, Waits]);
        test.advance(DAY - millis(1));
        assert!(test.find(long).is_some(), "a day after its end, not after its enqueue");
        test.advance(MINUTE);
        assert!(test.find(long).is_none());
        assert!(test.find(keeps).is_some(), "it asked for a day more");
        test.advance(DAY);
        assert_eq!((test.find(keeps), test.state_of(waits)), (None, Waits));
    });
}

/// REC-6 and DATA-6: what has finished stays beyond its time while unfinished work waits for it, and goes after that.
#[test]
fn rec_6_and_data_6_finished_work_stays_while_unfinished_work_waits_for_it() {
    on_both_stores(|test| {
        let chain = test.manager().begin_with(say::request("a".into())).then(say::request("b".into()));
        let ids = test.chain(chain.then(join::request("c".into()).initial_delay(3 * DAY)));
        test.advance(2 * DAY);
        assert_eq!(
            (test.find(ids[0]), test.states(&ids[1..])),
            (None, vec![Succeeded, Waits]),
            "only what is waited for"
        );
        test.advance(DAY);
        assert_eq!(test.output::<String>(ids[2]), "b c");
        test.advance(DAY + HOUR);
        assert!(ids.iter().all(|id| test.find(*id).is_none()));
    });
}

/// DEP-3: dependents that have finished stay as they ended when what they waited for is cancelled, whatever it is itself.
#[test]
fn dep_3_and_can_4_dependents_that_have_finished_stay_as_they_ended() {
    on_both_stores(|test| {
        let ids = test.chain(test.manager().begin_with(say::request("a".into())).then(held::request("b".into())));
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded, Running]);
        test.open("b");
        test.run_until_idle();
        let (before, commits) = (test.info(ids[1]), test.commits());
        assert_eq!(test.cancel(WorkSelector::id(ids[0])), 0);
        assert_eq!((test.info(ids[1]), test.commits()), (before, commits));
        assert_eq!(test.states(&ids), [Succeeded; 2]);

        let step = [fails::request("bad".into()), later("later")];
        let ids = test.chain(test.manager().begin_with(step).then(say::request("behind".into())));
        test.run_until_idle();
        assert_eq!(test.cancel(WorkSelector::id(ids[1])), 1, "the work behind it has failed already");
        assert_eq!(test.states(&ids), [Failed, Cancelled, Failed]);
    });
}
