//! Updates of stored work.

use workman_core::{
    Backoff, ConstraintKind, Constraints, ExistingWorkPolicy, Nothing, Refusal, Request, Updatable, UpdateError,
    UpdateResult, WorkContext, WorkId, WorkQuery, WorkSelector, WorkState, worker,
};

use crate::bench::{
    Bench, CHARGING, DAY, Diary, Gates, HOUR, MINUTE, fails, flaky, held, join, millis, on_both_stores, say, tell,
};
use crate::periodic::gated;

use UpdateResult::{AppliedForNextRun, AppliedImmediately, NotApplied};
use WorkState::{Blocked, Enqueued as Waits, Failed, Running, Succeeded};

#[track_caller]
fn update(test: &Bench, request: impl Updatable) -> UpdateResult {
    test.wait(test.manager().update(request))
}

#[track_caller]
fn refusal(test: &Bench, request: impl Updatable) -> Refusal {
    let error = test.refused(test.manager().update(request));
    assert!(!error.is_indeterminate());
    match error {
        UpdateError::Refused(refusal) => refusal,
        other => panic!("{other}"),
    }
}

/// Work that waits for a charger which is not there.
fn waiting(test: &Bench, request: Request<Nothing, String>) -> WorkId {
    test.lose(ConstraintKind::Charging);
    let id = test.enqueue(request.constraints(CHARGING));
    test.advance(MINUTE);
    assert_eq!(test.state_of(id), Waits);
    id
}

/// WorkUpdateTest 1, 7: an update is enough to make it run; the new worker with the new input runs.
#[test]
fn upd_2_and_upd_3_waiting_work_runs_as_soon_as_its_new_terms_let_it() {
    on_both_stores(|test| {
        let id = waiting(&test, say::request("old".into()));
        assert_eq!(update(&test, tell::request("new".into()).with_id(id)), AppliedImmediately);
        test.run_until_idle();
        assert_eq!((test.output::<String>(id), test.diary()), ("new".to_owned(), vec!["tell new".to_owned()]));
        assert_eq!(&*test.info(id).worker, "tell");

        let delayed = test.enqueue(say::request("x".into()).initial_delay(10 * DAY));
        assert_eq!(update(&test, say::request("x".into()).with_id(delayed).initial_delay(HOUR)), AppliedImmediately);
        assert_eq!(test.due_in(delayed), HOUR, "the delay still counts from the enqueue");
        test.advance(HOUR);
        assert_eq!(test.state_of(delayed), Succeeded);
    });
}

/// WorkUpdateTest 2: a run goes on as it began, and its success is final.
#[test]
fn upd_4_a_run_goes_on_as_it_began() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("x".into()));
        test.run_until_idle();
        test.lose(ConstraintKind::Charging);
        let request = tell::request("new".into()).with_id(id).constraints(CHARGING).tag("new");
        assert_eq!(update(&test, request), AppliedForNextRun);
        test.advance(HOUR);
        assert_eq!(test.state_of(id), Running, "the new constraint does not stop it");
        test.open("x");
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.diary()), (Succeeded, vec!["x".to_owned()]));
        assert_eq!(generations(&test, id), [0], "though the work is of generation 1 now");
    });
}

/// Of each attempt the generation that it ran.
fn generations(test: &Bench, id: WorkId) -> Vec<u32> {
    test.info(id).attempts.iter().map(|attempt| attempt.generation).collect()
}

/// The neighbourhood of 2: an attempt that was cancelled, or died, says what it ran as too.
#[test]
fn an_attempt_that_was_cancelled_or_died_says_what_it_ran_as() {
    on_both_stores(|test| {
        let ids = ["a", "b"].map(|name| test.enqueue(held::request(name.into())));
        test.run_until_idle();
        for id in ids {
            assert_eq!(update(&test, say::request("new".into()).with_id(id)), AppliedForNextRun);
        }
        test.cancel(WorkSelector::id(ids[0]));
        test.crash_and_restart();
        test.run_until_idle();
        assert_eq!(ids.map(|id| test.info(id).generation), [1, 1]);
        assert_eq!((generations(&test, ids[0]), generations(&test, ids[1])), (vec![0], vec![0, 1]));
    });
}

/// The neighbourhood of 2: the next run is by the new terms, whether the one before failed or was a period's.
#[test]
fn upd_4_the_run_after_it_is_by_the_new_terms() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(held::periodic("x".into(), HOUR));
        test.run_until_idle();
        assert_eq!(update(&test, tell::periodic("y".into(), 2 * HOUR).with_id(id)), AppliedForNextRun);
        test.open("x");
        test.run_until_idle();
        let info = test.info(id);
        assert_eq!((&*info.worker, info.periods, info.generation), ("tell", 1, 1));
        assert_eq!(test.due_in(id), 2 * HOUR);
        test.advance(2 * HOUR);
        assert_eq!(test.diary(), ["x", "tell y"]);

        let id = test.enqueue(gated::request());
        test.run_until_idle();
        let request = tell::request("z".into()).with_id(id).backoff(Backoff::linear(MINUTE));
        assert_eq!(update(&test, request), AppliedForNextRun);
        test.open("fail");
        test.run_until_idle();
        assert_eq!((test.info(id).failures, test.due_in(id)), (1, MINUTE));
        test.advance(MINUTE);
        assert_eq!((test.output::<String>(id), generations(&test, id)), ("z".to_owned(), vec![0, 1]));
    });
}

/// WorkUpdateTest 4: an unknown id is an error.
#[test]
fn upd_1_an_unknown_work_can_not_be_updated() {
    on_both_stores(|test| {
        let id = WorkId::from_u128(7);
        assert!(
            matches!(refusal(&test, say::request("x".into()).with_id(id)), Refusal::NotFound(found) if found == id)
        );
        let refused = refusal(&test, say::periodic("x".into(), HOUR).with_id(id));
        assert!(matches!(refused, Refusal::NotFound(found) if found == id));
        assert_eq!(test.find(id), None);
    });
}

/// UPD-1: finished work is left as it is.
#[test]
fn upd_1_finished_work_is_left_as_it_is() {
    on_both_stores(|test| {
        let ids = [
            test.enqueue(say::request("good".into())),
            test.enqueue(fails::request("bad".into())),
            test.enqueue(say::request("ended".into()).initial_delay(DAY)),
        ];
        test.run_until_idle();
        test.cancel(WorkSelector::id(ids[2]));
        for id in ids {
            let before = test.info(id);
            assert_eq!(update(&test, say::request("new".into()).with_id(id).tag("t")), NotApplied);
            test.run_until_idle();
            assert_eq!(test.info(id), before);
        }
    });
}

/// WorkUpdateTest 5: tags are replaced, not merged.
#[test]
fn upd_2_tags_and_everything_else_that_a_request_says_are_replaced() {
    on_both_stores(|test| {
        let request = say::request("x".into()).initial_delay(10 * DAY).tag("previous").tag("both").priority(5);
        let id = test.enqueue(request.constraints(CHARGING));
        let request = say::request("x".into()).initial_delay(10 * DAY).tag("test").tag("both");
        assert_eq!(update(&test, request.with_id(id)), AppliedImmediately);
        let info = test.info(id);
        let tags: Vec<&str> = info.tags.iter().map(|tag| &**tag).collect();
        assert!(["test", "both", "say"].iter().all(|tag| tags.contains(tag)) && tags.len() == 3, "{tags:?}");
        assert_eq!(
            (info.priority, &info.constraints),
            (0, &Constraints::NONE),
            "what it does not say is as in a new one"
        );
        assert_eq!(test.query(WorkQuery::tag("previous")), []);
        assert_eq!(test.query(WorkQuery::tag("test")), [info]);
        test.crash_and_restart();
        assert_eq!(test.query(WorkQuery::tag("test")).len(), 1);
    });
}

/// Shows progress until it is stopped.
#[worker]
async fn progresses(cx: &WorkContext) -> Result<String, workman_core::WorkError> {
    cx.set_progress(&"half")?;
    cx.until_stopped().await;
    cx.stopped()
}

/// WorkUpdateTest 8: the progress of a run that was stopped stays until an update, which deletes it.
#[test]
fn upd_3_and_sm_9_an_update_deletes_the_progress_of_an_earlier_run() {
    on_both_stores(|test| {
        let id = test.enqueue(progresses::request().constraints(CHARGING));
        test.advance(MINUTE);
        let progress = |test: &Bench| test.info(id).progress.map(|progress| progress.decode::<String>().unwrap());
        assert_eq!((test.state_of(id), progress(&test).as_deref()), (Running, Some("half")));
        let same = progresses::request().constraints(CHARGING).with_id(id);
        assert_eq!(update(&test, same), AppliedForNextRun);
        assert_eq!(progress(&test).as_deref(), Some("half"), "a run is not disturbed");
        test.lose(ConstraintKind::Charging);
        test.advance(MINUTE);
        assert_eq!((test.state_of(id), progress(&test).as_deref()), (Waits, Some("half")));
        let request = progresses::request().constraints(CHARGING).tag("bla").with_id(id);
        assert_eq!(update(&test, request), AppliedImmediately);
        assert_eq!(progress(&test), None);
        assert!(test.info(id).tags.iter().any(|tag| &**tag == "bla"));
    });
}

/// WorkUpdateTest 10, 11: the edges of a chain stay, whether it was made at once or by appending, and so do those of its leaf.
#[test]
fn upd_6_edges_and_names_stay() {
    on_both_stores(|test| {
        let manager = test.manager();
        test.lose(ConstraintKind::Charging);
        let root = || say::request("1".into()).constraints(CHARGING);
        let at_once = manager.begin_unique("at once", ExistingWorkPolicy::Keep, root()).then(join::request("2".into()));
        let at_once = test.chain(at_once);
        let first = test.enqueue_unique("appended", ExistingWorkPolicy::Append, root()).id;
        let second = say::request("2".into()).constraints(CHARGING);
        let second = test.enqueue_unique("appended", ExistingWorkPolicy::Append, second).id;
        let ids = [at_once[0], at_once[1], first, second];
        assert_eq!(test.states(&ids), [Waits, Blocked, Waits, Blocked]);

        for root in [at_once[0], first] {
            assert_eq!(update(&test, say::request("new".into()).with_id(root)), AppliedImmediately);
        }
        let leaf = say::request("leaf".into()).with_id(second);
        assert_eq!(update(&test, leaf), AppliedImmediately);
        assert_eq!(test.states(&ids), [Waits, Blocked, Waits, Blocked]);
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded; 4]);
        assert_eq!(test.output::<String>(at_once[1]), "new 2");
        assert_eq!(test.info(second).prerequisites, [first]);
        assert_eq!((test.named("at once").len(), test.named("appended").len()), (2, 2));
    });
}

/// WorkUpdateTest 13, 14: one-time work can't become periodic, nor the other way round.
#[test]
fn upd_1_what_runs_once_can_not_become_periodic_nor_the_other_way_round() {
    on_both_stores(|test| {
        let once = test.enqueue(say::request("x".into()).initial_delay(DAY));
        let periodic = test.enqueue_periodic(say::periodic("y".into(), DAY).initial_delay(DAY));
        let before = [once, periodic].map(|id| test.info(id));
        let refused = refusal(&test, say::periodic("x".into(), DAY).with_id(once));
        assert!(matches!(refused, Refusal::OtherSchedule(id) if id == once), "{refused}");
        let refused = refusal(&test, say::request("y".into()).with_id(periodic));
        assert!(matches!(refused, Refusal::OtherSchedule(id) if id == periodic), "{refused}");
        let fresh = say::periodic("x".into(), DAY);
        assert!(matches!(refusal(&test, fresh), Refusal::NotFound(_)));
        assert_eq!([once, periodic].map(|id| test.info(id)), before);
    });
}

/// WorkUpdateTest 16 and UPD-5: the place in the series stays, so a shorter interval may make it due at once.
#[test]
fn upd_5_the_place_in_the_series_stays() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(say::periodic("x".into(), DAY).tag("previous"));
        test.advance(6 * HOUR);
        let again = |interval| say::periodic("x".into(), interval).with_id(id).constraints(CHARGING).tag("test");
        assert_eq!(update(&test, again(DAY)), AppliedImmediately);
        assert_eq!((test.info(id).periods, test.due_in(id)), (1, 18 * HOUR));
        assert_eq!(update(&test, again(2 * DAY)), AppliedImmediately);
        assert_eq!((test.info(id).periods, test.due_in(id)), (1, 42 * HOUR));
        assert_eq!(update(&test, again(6 * HOUR)), AppliedImmediately);
        assert_eq!(test.diary(), ["x"]);
        test.run_until_idle();
        assert_eq!((test.diary().len(), test.info(id).periods, test.info(id).generation), (1, 2, 3));
    });
}

/// WorkUpdateTest 17: the failed attempts stay, and the wait is counted anew from the end of the last one.
#[test]
fn upd_2_failed_attempts_stay() {
    on_both_stores(|test| {
        let id = test.enqueue(flaky::request("old".into(), 9).backoff(Backoff::linear(10 * DAY)));
        test.run_until_idle();
        assert_eq!((test.diary(), test.due_in(id)), (vec!["old 0".to_owned()], 5 * HOUR), "the ceiling");
        test.advance(HOUR);
        let request = flaky::request("new".into(), 1).backoff(Backoff::linear(2 * HOUR)).with_id(id);
        assert_eq!(update(&test, request), AppliedImmediately);
        assert_eq!((test.info(id).failures, test.due_in(id)), (1, HOUR));
        test.advance(HOUR - millis(1));
        assert_eq!(test.diary(), [] as [&str; 0]);
        test.advance(millis(1));
        assert_eq!((test.diary(), test.state_of(id)), (vec!["new 1".to_owned()], Succeeded));
    });
}

/// BO-1, UPD-2: an update that allows fewer attempts than have failed leaves one more.
#[test]
fn upd_2_attempts_are_spent_by_the_terms_of_the_last_update() {
    on_both_stores(|test| {
        let id = test.enqueue(flaky::request("x".into(), 9).max_attempts(9));
        test.advance(30 * crate::bench::secs(1));
        assert_eq!(test.info(id).failures, 2);
        update(&test, flaky::request("x".into(), 9).max_attempts(3).with_id(id));
        test.advance(MINUTE);
        assert_eq!((test.state_of(id), test.info(id).failures), (Failed, 3));
    });
}

/// Writes down by which generation it runs.
#[worker]
async fn generation(cx: &WorkContext, #[state] diary: Diary) {
    diary.write(cx.generation().to_string());
}

/// WorkUpdateTest 20: worker and snapshot tell the same generation.
#[test]
fn upd_2_each_update_raises_the_generation_that_worker_and_snapshot_tell() {
    on_both_stores(|test| {
        let ids = [0, 1, 3].map(|updates| {
            let id = test.enqueue(generation::request().initial_delay(HOUR));
            for _ in 0..updates {
                update(&test, generation::request().initial_delay(HOUR).with_id(id));
            }
            assert_eq!(test.info(id).generation, updates);
            id
        });
        let last = update(&test, generation::request().with_id(ids[1]));
        assert_eq!(last, AppliedImmediately);
        test.run_until_idle();
        assert_eq!((test.diary(), test.info(ids[1]).generation), (vec!["2".to_owned()], 2));
        test.crash_and_restart();
        assert_eq!(test.info(ids[2]).generation, 3);
        test.advance(HOUR);
        let mut told = test.diary();
        told.sort();
        assert_eq!(told, ["0", "3"]);
    });
}

/// WorkUpdateTest 22, 25: the last override counts, and clearing one, or none, is an update like any other.
#[test]
fn per_6_and_per_7_the_last_override_counts_and_clearing_falls_back_to_the_period() {
    on_both_stores(|test| {
        let start = test.now();
        let id = test.enqueue_periodic(say::periodic("x".into(), DAY));
        test.run_until_idle();
        let again = || say::periodic("x".into(), DAY).with_id(id);
        for hours in [10, 12] {
            assert_eq!(update(&test, again().next_schedule_time_override(start + hours * HOUR)), AppliedImmediately);
            assert_eq!(test.due_in(id), hours * HOUR);
        }
        update(&test, again().tag("unrelated"));
        assert_eq!(test.due_in(id), 12 * HOUR, "an update that says nothing of it leaves it");
        update(&test, again().clear_next_schedule_time_override());
        assert_eq!(test.due_in(id), DAY);
        assert_eq!(update(&test, again().clear_next_schedule_time_override()), AppliedImmediately);
        assert_eq!((test.due_in(id), test.info(id).generation, test.info(id).periods), (DAY, 5, 1));
    });
}

/// WorkUpdateTest 23: an override beats the backoff, and the failed attempts stay.
#[test]
fn nrt_1_and_bo_8_an_override_beats_the_backoff_and_the_failed_attempts_stay() {
    on_both_stores(|test| {
        let start = test.now();
        let request = || flaky::periodic("x".into(), 1, 10 * DAY).backoff(Backoff::linear(3 * HOUR));
        let id = test.enqueue_periodic(request());
        test.run_until_idle();
        assert_eq!((test.diary(), test.due_in(id)), (vec!["x 0".to_owned()], 3 * HOUR));
        update(&test, request().next_schedule_time_override(start + 10 * HOUR).with_id(id));
        assert_eq!((test.due_in(id), test.info(id).failures), (10 * HOUR, 1));
        update(&test, request().clear_next_schedule_time_override().with_id(id));
        assert_eq!((test.due_in(id), test.info(id).failures), (3 * HOUR, 1));
        update(&test, request().next_schedule_time_override(start).with_id(id));
        test.run_until_idle();
        assert_eq!((test.diary(), test.info(id).periods), (vec!["x 1".to_owned()], 1));
    });
}

/// PER-4: flex shapes the first run and no other, also when it comes by an update.
#[test]
fn per_4_and_upd_3_a_new_flex_shapes_the_first_run_and_no_other() {
    on_both_stores(|test| {
        let hourly = |flex| {
            let schedule = workman_core::Schedule::every(HOUR).flex(flex);
            say::periodic("x".into(), schedule).initial_delay(10 * MINUTE)
        };
        let id = test.enqueue_periodic(hourly(15 * MINUTE));
        assert_eq!(test.due_in(id), 55 * MINUTE);
        update(&test, hourly(30 * MINUTE).with_id(id));
        assert_eq!((test.due_in(id), test.info(id).initial_delay), (40 * MINUTE, 10 * MINUTE));
        test.advance(40 * MINUTE);
        assert_eq!((test.info(id).periods, test.due_in(id)), (1, HOUR));
        update(&test, hourly(MINUTE).with_id(id));
        assert_eq!(test.due_in(id), HOUR, "the second run is not moved");
    });
}

/// Waits at its gate, and then writes its tags down.
#[worker]
async fn tagged(cx: &WorkContext, #[state] gates: Gates, #[state] diary: Diary) {
    gates.get("tagged").wait().await;
    diary.write(cx.tags().collect::<Vec<_>>().join(" "));
}

/// UPD-4 for tags: whoever looks sees the new ones at once, and the run that is under way keeps its own.
#[test]
fn upd_4_a_run_keeps_its_tags_and_whoever_looks_sees_the_new_ones() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(tagged::periodic(HOUR).tag("old"));
        test.run_until_idle();
        assert_eq!(update(&test, tagged::periodic(HOUR).tag("new").with_id(id)), AppliedForNextRun);
        let found = |tag: &str| test.query(WorkQuery::tag(tag)).len();
        assert_eq!((found("old"), found("new"), test.state_of(id)), (0, 1, Running));
        test.open("tagged");
        test.advance(HOUR);
        assert_eq!(test.diary(), ["old", "new"]);
    });
}

/// UPD-6 at the leaf: blocked work is updated in place, and stays behind what it waits for; its delay counts from its release.
#[test]
fn upd_6_and_dep_1_blocked_work_is_updated_and_waits_on() {
    on_both_stores(|test| {
        let ids = test.chain(test.manager().begin_with(held::request("gate".into())).then(say::request("old".into())));
        test.run_until_idle();
        assert_eq!(update(&test, tell::request("new".into()).initial_delay(HOUR).with_id(ids[1])), AppliedImmediately);
        assert_eq!((test.states(&ids), test.info(ids[1]).open_prerequisites), (vec![Running, Blocked], 1));
        test.advance(2 * HOUR);
        test.open("gate");
        test.run_until_idle();
        assert_eq!((test.state_of(ids[1]), test.due_in(ids[1])), (Waits, HOUR));
        test.advance(HOUR);
        assert_eq!(test.diary(), ["gate", "tell new"]);
    });
}

/// UPD-1: an update that is refused changes nothing, and what is wrong with the request is told as at an enqueue.
#[test]
fn upd_1_an_update_that_makes_no_sense_is_refused_and_changes_nothing() {
    on_both_stores(|test| {
        let id = test.enqueue(say::request("x".into()).initial_delay(DAY));
        let before = test.info(id);
        let no_attempts = test.refused(test.manager().update(say::request("x".into()).max_attempts(0).with_id(id)));
        assert!(no_attempts.to_string().contains("0 attempts"), "{no_attempts}");
        let tag = test.refused(test.manager().update(say::request("x".into()).tag("").with_id(id)));
        assert!(tag.to_string().contains("is empty"), "{tag}");
        assert_eq!(test.info(id), before);
    });
}
