//! Unique work: each policy against each state of the name.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use workman_core::{
    Chain, EnqueueError, Enqueued, ExistingPeriodicWorkPolicy, ExistingWorkPolicy, InputMerger, Nothing, Refusal,
    Request, StopReason, WorkError, WorkGraph, WorkId, WorkManager, WorkQuery, WorkSelector, WorkState, worker,
};

use crate::bench::{Bench, DAY, Diary, HOUR, MINUTE, fails, held, join, on_both_stores, say, secs, slow, tell};
use crate::data::{echo, give};

use ExistingPeriodicWorkPolicy::{CancelAndReenqueue, Update};
use ExistingWorkPolicy::{Append, AppendOrReplace, Keep, Replace};
use WorkState::{Blocked, Cancelled, Enqueued as Waits, Failed, Running, Succeeded};

const KEEP: ExistingPeriodicWorkPolicy = ExistingPeriodicWorkPolicy::Keep;

/// Work that waits for a day.
fn later(name: &str) -> Request<Nothing, String> {
    say::request(name.into()).initial_delay(DAY)
}

/// Gives the name to work that ends in this state.
fn ended(test: &Bench, name: &str, state: WorkState) -> WorkId {
    let request = match state {
        Succeeded => say::request("old".into()),
        Failed => fails::request("old".into()),
        _ => later("old"),
    };
    let id = test.enqueue_unique(name, Keep, request).id;
    test.run_until_idle();
    if state == Cancelled {
        test.cancel(WorkSelector::id(id));
    }
    assert_eq!(test.state_of(id), state);
    test.diary();
    id
}

fn two_steps(test: &Bench, policy: ExistingWorkPolicy) -> (Enqueued, Vec<WorkId>) {
    let first = later("1");
    let chain: Chain<_> = test.manager().begin_unique("name", policy, first).then(say::request("2".into()));
    let stored = test.wait(chain.enqueue());
    (stored.how, stored.ids)
}

/// UNQ-2: after a life in which members were pruned, cancelled and appended, what is appended stands behind the last that is stored.
#[test]
fn unq_2_what_is_appended_stands_behind_the_last_member_that_is_stored() {
    on_both_stores(|test| {
        let append = |request| test.enqueue_unique("name", Append, request);
        let first = append(say::request("1".into()).keep_results_for_at_least(10 * DAY)).id;
        let second = append(say::request("2".into())).id;
        test.run_until_idle();
        test.advance(2 * DAY);
        assert_eq!((test.state_of(first), test.find(second)), (Succeeded, None), "the last one was not kept");
        assert_eq!(append(later("3")).how, Enqueued::Appended(vec![first]));
        test.restart();
        let fourth = test.enqueue_unique("name", Append, say::request("4".into()));
        let third = test.named("name")[1];
        assert_eq!(fourth.how, Enqueued::Appended(vec![third]), "also after a restart");
        assert_eq!(test.cancel(WorkSelector::unique("name")), 2);
        assert_eq!(test.states(&[first, third, fourth.id]), [Succeeded, Cancelled, Cancelled]);
        let fifth = test.enqueue_unique("name", AppendOrReplace, say::request("5".into()));
        assert!(matches!(fifth.how, Enqueued::Replaced(_)), "{:?}", fifth.how);
        assert_eq!(test.named("name"), [fifth.id]);
    });
}

/// WorkManagerImplTest 20: the old rows are gone, not left as cancelled, and the name is the new chain's.
#[test]
fn unq_7_replace_deletes_all_of_the_old_and_the_name_is_the_new_chains() {
    on_both_stores(|test| {
        for state in [Waits, Running, Succeeded, Failed, Cancelled] {
            let test = test.another();
            let old = match state {
                Running => test.enqueue_unique("name", Keep, held::request("old".into())).id,
                _ => ended(&test, "name", state),
            };
            test.run_until_idle();
            let commits = test.commits();
            let (how, new) = two_steps(&test, Replace);
            assert_eq!(how, Enqueued::Replaced(vec![old]), "{state}");
            assert_eq!(test.commits(), commits + 1, "old and new change places at once");
            assert_eq!((test.find(old), test.named("name")), (None, new.clone()), "{state}");
            assert_eq!(test.states(&new), [Waits, Blocked]);
        }
    });
}

/// WorkManagerImplTest 20, its neighbourhood: an old chain goes with all its steps, also those that depend on it without
/// having the name. A run is stopped first, and says why.
#[test]
fn unq_6_and_unq_7_replace_stops_what_runs_and_drops_its_result() {
    on_both_stores(|test| {
        let old = test.manager().begin_unique("name", Keep, held::request("old".into())).then(say::request("b".into()));
        let old = test.chain(old);
        test.run_until_idle();
        assert_eq!(test.states(&old), [Running, Blocked]);
        let new = test.enqueue_unique("name", Replace, say::request("new".into()));
        assert_eq!(new.how, Enqueued::Replaced(old.clone()));
        assert!(old.iter().all(|id| test.find(*id).is_none()));
        test.run_until_idle();
        test.open("old");
        test.run_until_idle();
        let mut said = test.diary();
        said.sort();
        assert_eq!(said, ["new".into(), "old".to_owned(), format!("old stopped: {}", StopReason::Replaced)]);
        assert_eq!(test.named("name"), [new.id]);
    });
}

/// WorkManagerImplTest 22, 23, EnqueueRunnableTest: while the old work is enqueued or running, all of the new is dropped.
#[test]
fn unq_1_keep_drops_the_whole_new_chain_while_the_old_work_is_enqueued_or_runs() {
    on_both_stores(|test| {
        let old = test.enqueue_unique("name", Keep, held::request("old".into()).initial_delay(HOUR));
        assert_eq!(old.how, Enqueued::Inserted);
        for state in [Waits, Running] {
            assert_eq!(test.state_of(old.id), state);
            let commits = test.commits();
            let (how, new) = two_steps(&test, Keep);
            assert_eq!(how, Enqueued::Kept(old.id));
            assert!(new.iter().all(|id| test.find(*id).is_none()));
            assert_eq!(test.named("name"), [old.id]);
            test.run_until_idle();
            assert!(test.commits() <= commits + 1, "a dropped enqueue starts nothing");
            test.advance(HOUR);
        }
        assert_eq!(test.diary(), ["old"]);
    });
}

/// WorkManagerImplTest 25 and its one-time neighbours: finished work does not hold a name.
#[test]
fn unq_1_keep_replaces_what_is_finished() {
    on_both_stores(|test| {
        for state in [Succeeded, Failed, Cancelled] {
            let test = test.another();
            let old = ended(&test, "name", state);
            let (how, new) = two_steps(&test, Keep);
            assert_eq!(how, Enqueued::Inserted, "{state}");
            assert_eq!((test.find(old), test.named("name")), (None, new));
        }
    });
}

/// UNQ-1: what is enqueued holds the name for what is blocked behind it.
#[test]
fn unq_1_keep_names_the_enqueued_holder_and_keeps_the_blocked_work_behind_it() {
    on_both_stores(|test| {
        let first = test.enqueue_unique("name", Keep, later("1")).id;
        let chain = test.manager().begin_unique("name", Append, later("2"));
        let second = test.chain(chain)[0];
        assert_eq!(test.states(&[first, second]), [Waits, Blocked]);
        assert_eq!(test.enqueue_unique("name", Keep, later("3")).how, Enqueued::Kept(first));
        assert_eq!(test.named("name"), [first, second]);
    });
}

/// WorkManagerImplTest 19, 23, 25: the periodic policies, by name.
#[test]
fn unq_9_periodic_keep_keeps_what_lives_and_replaces_what_is_over() {
    on_both_stores(|test| {
        let every = |name: &str| say::periodic(name.into(), 15 * MINUTE);
        let old = test.enqueue_unique_periodic("name", CancelAndReenqueue, every("old"));
        assert_eq!((old.how, test.named("name")), (Enqueued::Inserted, vec![old.id]));
        let dropped = test.enqueue_unique_periodic("name", KEEP, every("new"));
        assert_eq!((dropped.how, test.named("name")), (Enqueued::Kept(old.id), vec![old.id]));
        assert_eq!(test.query(WorkQuery::all()).len(), 1);
        test.cancel(WorkSelector::id(old.id));
        let new = test.enqueue_unique_periodic("name", KEEP, every("new"));
        assert_eq!((new.how, test.find(old.id)), (Enqueued::Inserted, None));
        assert_eq!(test.named("name"), [new.id]);
    });
}

/// The neighbourhood of 20 for periodic work: the series starts over.
#[test]
fn unq_9_cancel_and_reenqueue_starts_the_period_over_under_either_of_its_names() {
    on_both_stores(|test| {
        for (policy, runs) in [(CancelAndReenqueue, false), (ExistingPeriodicWorkPolicy::Replace, true)] {
            let test = test.another();
            let old = test.enqueue_unique_periodic("name", policy, held::periodic("old".into(), HOUR));
            test.run_until_idle();
            if !runs {
                test.open("old");
            }
            test.advance(30 * MINUTE);
            assert_eq!(test.state_of(old.id), if runs { Running } else { Waits });
            let new = test.enqueue_unique_periodic("name", policy, say::periodic("new".into(), HOUR));
            assert_eq!((new.how, test.find(old.id)), (Enqueued::Replaced(vec![old.id]), None));
            test.open("old");
            test.run_until_idle();
            assert_eq!((test.find(old.id), test.info(new.id).periods, test.due_in(new.id)), (None, 1, HOUR));
            assert_eq!(test.diary().len(), if runs { 3 } else { 2 }, "a run that is under way is told to stop");
        }
    });
}

/// UNQ-9: the call at each start of a program; the schedule is there once, and goes on from where it was.
#[test]
fn unq_9_a_periodic_work_that_is_enqueued_at_every_start_is_there_once_and_keeps_its_rhythm() {
    on_both_stores(|test| {
        for policy in [KEEP, Update] {
            let test = test.another();
            let enqueue = || test.enqueue_unique_periodic("sync", policy, say::periodic("sync".into(), HOUR)).id;
            let first = enqueue();
            test.run_until_idle();
            for start in 0..6 {
                test.advance(20 * MINUTE);
                if start % 2 == 0 {
                    test.crash_and_restart();
                } else {
                    test.restart();
                }
                assert_eq!(enqueue(), first);
                test.run_until_idle();
            }
            assert_eq!(test.diary().len(), 3, "at once, after one hour, after two");
            assert_eq!((test.named("sync"), test.info(first).periods), (vec![first], 3));
        }
    });
}

/// WorkManagerImplTest 26: the id and the place in the series stay, everything else is the request's.
#[test]
fn unq_10_update_keeps_the_stored_id_and_the_place_in_the_series() {
    on_both_stores(|test| {
        let old = test.enqueue_unique_periodic("name", KEEP, say::periodic("old".into(), 15 * MINUTE));
        test.run_until_idle();
        let before = test.now();
        test.advance(5 * MINUTE);
        let request = tell::periodic("new".into(), 30 * MINUTE).tag("fresh");
        let own = request.id();
        let new = test.enqueue_unique_periodic("name", Update, request);
        assert_eq!((new.how, test.named("name")), (Enqueued::Updated(old.id), vec![old.id]));
        assert_eq!(test.find(own), None, "the request's own id is never stored");
        let info = test.info(old.id);
        assert_eq!((&*info.worker, info.periods, info.generation), ("tell", 1, 1));
        assert_eq!(info.next_run, Some(before + 30 * MINUTE));
        assert!(info.tags.iter().any(|tag| &**tag == "fresh"));
        test.diary();
        test.advance(25 * MINUTE);
        assert_eq!(test.diary(), ["tell new"]);
    });
}

/// WorkManagerImplTest 28 and UNQ-10: nothing there, or one cancelled work, is as if the name were free.
#[test]
fn unq_10_update_of_a_free_name_or_a_cancelled_work_enqueues() {
    on_both_stores(|test| {
        let first = test.enqueue_unique_periodic("name", Update, say::periodic("x".into(), DAY).initial_delay(DAY));
        assert_eq!((first.how, test.state_of(first.id)), (Enqueued::Inserted, Waits));
        test.cancel(WorkSelector::unique("name"));
        let second = test.enqueue_unique_periodic("name", Update, say::periodic("y".into(), DAY));
        assert_ne!(second.id, first.id);
        assert_eq!((test.find(first.id), test.named("name")), (None, vec![second.id]));
        test.run_until_idle();
        assert_eq!(test.diary(), ["y"]);
    });
}

/// WorkManagerImplTest 29 and UNQ-10: one-time work, or a chain, can't become periodic by an update.
#[test]
fn unq_10_update_of_a_name_that_one_time_work_holds_is_refused() {
    on_both_stores(|test| {
        let manager = test.manager();
        let one = test.enqueue_unique("one", Keep, later("x")).id;
        let many = manager.begin_unique("many", Keep, later("a")).then(say::request("b".into()));
        let many = test.chain(many);
        for (name, holder) in [("one", one), ("many", many[0])] {
            let periodic = say::periodic("y".into(), DAY);
            let refused = test.refused(manager.enqueue_unique_periodic(name, Update, periodic));
            assert!(matches!(refused, EnqueueError::Refused(Refusal::NotPeriodic { .. })), "{refused}");
            assert_eq!(test.info(holder).generation, 0);
        }
        assert_eq!(test.query(WorkQuery::all()).len(), 3, "nothing was stored");
    });
}

/// WorkManagerImplTest 31: a list of works is appended side by side.
#[test]
fn a_list_that_is_appended_waits_side_by_side() {
    on_both_stores(|test| {
        let old = test.enqueue_unique("name", Append, slow::request("old".into(), 60));
        assert_eq!(old.how, Enqueued::Inserted);
        let list = [say::request("a1".into()), say::request("a2".into())];
        let stored = test.wait(test.manager().begin_unique("name", Append, list).enqueue());
        assert_eq!(stored.how, Enqueued::Appended(vec![old.id]));
        test.run_until_idle();
        assert_eq!(test.states(&stored.ids), [Blocked, Blocked]);
        assert!(stored.ids.iter().all(|id| test.info(*id).prerequisites == [old.id]));
        test.advance(MINUTE);
        assert_eq!(test.states(&stored.ids), [Succeeded, Succeeded]);
        let mut said = test.diary();
        said.sort();
        assert_eq!(said, ["a1", "a2", "old"]);
    });
}

/// WorkManagerImplTest 32: new work waits for the leaves only, and its second step for its first.
#[test]
fn what_is_appended_waits_for_the_leaves_only() {
    on_both_stores(|test| {
        let manager = test.manager();
        let old = manager.begin_unique("name", Keep, slow::request("1".into(), 60)).then(say::request("2".into()));
        let old = test.chain(old.then([slow::request("3".into(), 10), slow::request("4".into(), 20)]));
        let new = manager.begin_unique("name", Append, say::request("a1".into())).then(say::request("a2".into()));
        let new = test.wait(new.enqueue());
        assert_eq!(new.how, Enqueued::Appended(vec![old[2], old[3]]));
        let new = new.ids;
        assert_eq!(test.info(new[0]).prerequisites, [old[2], old[3]]);
        assert_eq!(test.info(new[1]).prerequisites, [new[0]]);
        assert_eq!(test.states(&new), [Blocked, Blocked]);
        let mut named = test.named("name");
        named.sort();
        let mut all: Vec<WorkId> = old.iter().chain(&new).copied().collect();
        all.sort();
        assert_eq!(named, all);
        test.advance(secs(79));
        assert_eq!(test.states(&new), [Blocked, Blocked]);
        test.advance(secs(1));
        assert_eq!(test.diary(), ["1", "2", "3", "4", "a1", "a2"]);
    });
}

/// The table of policies: appended to what has succeeded, new work runs at once and has edges to it; appended to what
/// failed or was cancelled, it is born in that state, and so is all that comes later.
#[test]
fn unq_2_and_unq_5_what_is_appended_is_born_in_the_state_of_the_leaves() {
    on_both_stores(|test| {
        for (old, born) in [(Succeeded, [Waits, Blocked]), (Failed, [Failed; 2]), (Cancelled, [Cancelled; 2])] {
            let test = test.another();
            let old_id = ended(&test, "name", old);
            let (how, new) = two_steps(&test, Append);
            assert_eq!(how, Enqueued::Appended(vec![old_id]), "{old}");
            assert_eq!(test.states(&new), born, "{old}");
            assert_eq!(test.info(new[0]).prerequisites, [old_id]);
            let (_, again) = two_steps(&test, Append);
            let again = test.states(&again);
            assert_eq!(again, if old == Succeeded { [Blocked; 2] } else { born }, "poisoned until somebody prunes");
        }
    });
}

/// UNQ-2: failed beats cancelled beats blocked.
#[test]
fn unq_2_where_leaves_disagree_failed_beats_cancelled_beats_blocked() {
    on_both_stores(|test| {
        let leaves = |test: &Bench, failing: &str| {
            let list = [later("waits"), say::request("good".into()), fails::request(failing.into())];
            let ids = test.chain(test.manager().begin_unique("name", Keep, list));
            test.run_until_idle();
            ids
        };
        let ids = leaves(&test, "bad");
        assert_eq!(test.states(&ids), [Waits, Succeeded, Failed]);
        let beside_waiting = two_steps(&test, Append).1;
        assert_eq!(test.states(&beside_waiting), [Failed; 2], "even if another leaf still waits");

        let test = test.another();
        let list = [later("waits"), later("cancelled")];
        let ids = test.chain(test.manager().begin_unique("name", Keep, list));
        test.cancel(WorkSelector::id(ids[1]));
        let new = two_steps(&test, Append).1;
        assert_eq!(test.states(&new), [Cancelled; 2]);
    });
}

/// WorkManagerImplTest 34 and its failed neighbour: what ended badly goes, and the new work has no edges to it.
#[test]
fn unq_4_append_or_replace_starts_over_where_a_leaf_ended_badly() {
    on_both_stores(|test| {
        for state in [Failed, Cancelled] {
            let test = test.another();
            let old = ended(&test, "name", state);
            let (how, new) = two_steps(&test, AppendOrReplace);
            assert_eq!(how, Enqueued::Replaced(vec![old]), "{state}");
            assert_eq!((test.find(old), test.named("name")), (None, new.clone()));
            assert_eq!(test.states(&new), [Waits, Blocked]);
            assert_eq!(test.info(new[0]).prerequisites, []);
        }
    });
}

/// The neighbourhood of 34, and D6: all of the name goes, a leaf that runs is stopped first.
#[test]
fn unq_4_append_or_replace_stops_a_leaf_that_still_runs_before_it_goes() {
    on_both_stores(|test| {
        let list = [held::request("runs".into()), fails::request("bad".into())];
        let old = test.chain(test.manager().begin_unique("name", Keep, list));
        test.run_until_idle();
        assert_eq!(test.states(&old), [Running, Failed]);
        let (how, new) = two_steps(&test, AppendOrReplace);
        assert_eq!(how, Enqueued::Replaced(old.clone()));
        test.run_until_idle();
        test.open("runs");
        test.run_until_idle();
        assert!(test.diary().contains(&format!("runs stopped: {}", StopReason::Replaced)));
        assert_eq!(test.named("name"), new);
    });
}

/// WorkManagerImplTest 35: while nothing ended badly it appends.
#[test]
fn append_or_replace_appends_while_nothing_ended_badly() {
    on_both_stores(|test| {
        for state in [Waits, Succeeded] {
            let test = test.another();
            let old = ended(&test, "name", state);
            let (how, new) = two_steps(&test, AppendOrReplace);
            assert_eq!(how, Enqueued::Appended(vec![old]));
            assert_eq!(test.info(new[0]).prerequisites, [old]);
            assert_eq!(test.states(&new)[0], if state == Waits { Blocked } else { Waits });
        }
    });
}

/// UNQ-3: the outputs of the leaves that have succeeded are merged into the input of what is appended, also when they did so
/// before it came.
#[test]
fn unq_3_appended_work_takes_the_outputs_of_the_leaves() {
    on_both_stores(|test| {
        let leaves = [give::request(json!({"k": 1})), give::request(json!({"k": 2}))];
        let first = test.chain(test.manager().begin_unique("name", Append, leaves));
        test.run_until_idle();
        assert_eq!(test.states(&first), [Succeeded; 2]);
        let merges = || echo::request(None).input_merger(InputMerger::ArrayCreating);
        let second = test.enqueue_unique("name", Append, merges());
        assert_eq!(second.how, Enqueued::Appended(first));
        let third = test.enqueue_unique("name", AppendOrReplace, merges());
        test.run_until_idle();
        assert_eq!(test.output::<Value>(second.id), json!({"k": [1, 2], "own": [null]}));
        assert_eq!(test.output::<Value>(third.id), json!({"k": [1, 2], "own": [null, null]}));
    });
}

/// TestSchedulerTest and TestSchedulerRealExecutorTest, `testWorkerUnique`: of two requests under a name with REPLACE the second is the
/// one that runs.
#[test]
fn of_two_replacing_requests_the_second_runs_when_its_delay_is_over() {
    on_both_stores(|test| {
        let first = test.enqueue_unique("name", Replace, later("1")).id;
        let second = test.enqueue_unique("name", Replace, later("2")).id;
        assert_eq!(test.find(first), None);
        test.advance(DAY);
        assert_eq!((test.find(first), test.state_of(second)), (None, Succeeded));
        assert_eq!(test.diary(), ["2"]);
    });
}

/// UNQ-8: the same request twice is one work; with other contents it is refused.
#[test]
fn unq_8_the_same_request_twice_is_one_work_under_every_policy() {
    on_both_stores(|test| {
        for policy in [Keep, Append, AppendOrReplace] {
            let test = test.another();
            let request = later("x");
            let first = test.enqueue_unique("name", policy, request.clone());
            let again = test.enqueue_unique("name", policy, request);
            assert_eq!(again.id, first.id, "{policy:?}");
            assert_eq!(test.named("name"), [first.id]);
            let other = say::request("other".into()).with_id(first.id);
            let refused = test.refused(test.manager().enqueue(other));
            assert!(matches!(refused, EnqueueError::Refused(Refusal::IdReused(id)) if id == first.id), "{refused}");
        }
    });
}

/// What a worker needs to enqueue under its own name. It takes it out, since a manager that is state of its own never ends.
#[derive(Clone, Default)]
struct Inside(Arc<Mutex<Option<WorkManager>>>);

/// A bench whose workers can enqueue.
fn inside(test: Bench) -> Bench {
    let inside = Inside::default();
    let test = test.shaped(|driver| driver.state(inside.clone()));
    *inside.0.lock().unwrap() = Some(test.manager());
    test
}

/// Enqueues its successor under its own name, and then ends as it is told.
#[worker]
async fn succeeded_by(
    name: String,
    policy: String,
    fails: bool,
    #[state] inside: Inside,
    #[state] diary: Diary,
) -> Result<String, WorkError> {
    let manager = inside.0.lock().unwrap().take();
    let policy = match &*policy {
        "replace" => Replace,
        "keep" => Keep,
        "append" => Append,
        _ => AppendOrReplace,
    };
    diary.write(&name);
    if let Some(manager) = manager {
        manager.enqueue_unique("name", policy, say::request("successor".into())).await?;
    }
    if fails { Err(WorkError::permanent("failed")) } else { Ok(name) }
}

/// UNQ-6 and D6: a worker that replaces its own name is stopped, its row goes and its answer is
/// dropped; the new work runs.
#[test]
fn unq_6_a_worker_that_replaces_its_own_name_is_stopped_and_its_answer_is_dropped() {
    on_both_stores(|test| {
        for fails in [true, false] {
            let test = inside(test.another());
            let request = succeeded_by::request("old".into(), "replace".into(), fails);
            let old = test.enqueue_unique("name", Keep, request).id;
            test.run_until_idle();
            let named = test.named("name");
            assert_eq!((test.find(old), named.len()), (None, 1));
            assert_eq!(test.output::<String>(named[0]), "successor");
            assert_eq!(test.diary(), ["old", "successor"]);
        }
    });
}

/// UNQ-1, DEP-8: with KEEP a worker keeps itself; what it appends runs after it, and shares its fate if it fails. With
/// APPEND_OR_REPLACE the name is free for the next.
#[test]
fn dep_2_what_a_worker_appends_to_its_own_name_shares_its_fate() {
    on_both_stores(|test| {
        for (policy, fails, states) in [
            ("keep", false, vec![Succeeded]),
            ("append", false, vec![Succeeded; 2]),
            ("append", true, vec![Failed; 2]),
            ("append or replace", false, vec![Succeeded; 2]),
            ("append or replace", true, vec![Failed; 2]),
        ] {
            let test = inside(test.another());
            test.enqueue_unique("name", Keep, succeeded_by::request("old".into(), policy.into(), fails));
            test.run_until_idle();
            assert_eq!(test.states(&test.named("name")), states, "{policy}, {fails}");
            let next = test.enqueue_unique("name", AppendOrReplace, say::request("next".into()));
            test.run_until_idle();
            assert_eq!(test.state_of(next.id), Succeeded, "the name is not poisoned");
        }
    });
}

/// UNQ-1: a name that blocked work alone holds counts as free. Here it waits for work of no name, which stays.
#[test]
fn unq_1_a_name_that_only_blocked_work_holds_counts_as_free() {
    on_both_stores(|test| {
        let root = test.wait(test.manager().enqueue(later("root")));
        let mut graph = WorkGraph::new();
        let blocked = graph.add(say::request("blocked".into()));
        graph.after_stored(blocked, root.id());
        graph.unique("name", Keep);
        test.wait(test.manager().enqueue_graph(graph));
        assert_eq!(test.state_of(blocked.id()), Blocked);
        let new = test.enqueue_unique("name", Keep, say::request("new".into()));
        assert_eq!((new.how, test.find(blocked.id())), (Enqueued::Inserted, None));
        test.run_until_idle();
        assert_eq!(test.diary(), ["new"]);
        test.advance(DAY);
        assert_eq!((test.state_of(root.id()), test.diary()), (Succeeded, vec!["root".to_owned()]));
    });
}

/// Policies count for the head of a chain: what goes on behind a chain has its name, and its policy is not asked again.
#[test]
fn what_goes_on_behind_a_named_chain_has_its_name_and_asks_no_policy() {
    on_both_stores(|test| {
        let chain = test.manager().begin_unique("name", Replace, later("1")).then(join::request("2".into()));
        let stored = test.wait(chain.enqueue());
        let more = test.wait(stored.then(join::request("3".into())).enqueue());
        assert_eq!(more.how, Enqueued::Inserted);
        let all: Vec<WorkId> = stored.ids.iter().chain(&more.ids).copied().collect();
        let mut named = test.named("name");
        named.sort();
        assert_eq!(named, all);
        test.advance(DAY);
        assert_eq!(test.output::<String>(more.ids[0]), "1 2 3");
    });
}

/// The neighbourhood of 22: a chain behind one that was dropped is no chain: nothing of it is stored.
#[test]
fn dep_6_what_goes_on_behind_a_dropped_chain_is_refused() {
    on_both_stores(|test| {
        let old = test.enqueue_unique("name", Keep, later("old")).id;
        let dropped = test.manager().begin_unique("name", Keep, later("new"));
        let dropped = test.wait(dropped.enqueue());
        assert_eq!(dropped.how, Enqueued::Kept(old));
        assert!(dropped.last.is_none());
        let refused = test.refused(dropped.then(say::request("x".into())).enqueue());
        assert!(matches!(refused, EnqueueError::Refused(Refusal::MissingPrerequisite { .. })), "{refused}");
        assert_eq!(test.query(WorkQuery::all()).len(), 1);
    });
}

/// The typed side of the policies: `Kept` gives a handle only when the worker is the same.
#[test]
fn a_kept_holder_is_a_typed_handle_only_if_it_is_the_same_worker() {
    on_both_stores(|test| {
        let manager = test.manager();
        let old = test.wait(manager.enqueue_unique("name", Keep, later("old"))).handle.unwrap();
        let same = test.wait(manager.enqueue_unique("name", Keep, say::request("new".into())));
        assert_eq!((same.how, same.handle.unwrap().id()), (Enqueued::Kept(old.id()), old.id()));
        let other = test.wait(manager.enqueue_unique("name", Keep, tell::request("new".into())));
        assert_eq!((other.how, other.handle.is_none()), (Enqueued::Kept(old.id()), true));
    });
}

/// UNQ-4: what was hung behind the old work without its name is cancelled with it, and stays as that.
#[test]
fn unq_4_what_depends_on_replaced_work_without_its_name_is_cancelled() {
    on_both_stores(|test| {
        for policy in [Replace, AppendOrReplace] {
            let test = test.another();
            let old = test.wait(test.manager().enqueue_unique("name", Keep, later("old"))).handle.unwrap();
            let behind = test.chain(old.then(join::request("behind".into())).then(join::request("further".into())));
            if policy == AppendOrReplace {
                test.cancel(WorkSelector::id(old.id()));
            }
            let new = test.enqueue_unique("name", policy, later("new"));
            assert_eq!((new.how, test.find(old.id())), (Enqueued::Replaced(vec![old.id()]), None));
            assert_eq!(test.states(&behind), [Cancelled; 2]);
            assert_eq!(test.wait(test.manager().prune()), 2);
        }
    });
}

/// The neighbourhood of 32: a leaf is what nothing of its own name waits for, whatever else waits for it.
#[test]
fn what_hangs_behind_a_name_without_being_of_it_makes_no_difference_to_its_leaves() {
    on_both_stores(|test| {
        let old =
            test.wait(test.manager().enqueue_unique("name", Keep, slow::request("old".into(), 60))).handle.unwrap();
        let behind = test.chain(old.then(join::request("behind".into())));
        let new = test.enqueue_unique("name", Append, say::request("new".into()));
        assert_eq!(new.how, Enqueued::Appended(vec![old.id()]));
        test.run_until_idle();
        assert_eq!(test.states(&[behind[0], new.id]), [Blocked; 2]);
        test.advance(MINUTE);
        assert_eq!(test.states(&[behind[0], new.id]), [Succeeded; 2]);
    });
}
