//! What a person does by hand, on the virtual clock: one work, and many at once.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use workman_core::{
    ActionError, Cancelling, ExistingWorkPolicy, Explanation, Outcome, Refusal, Selection, SteerResult, Timestamp,
    Wait, WorkError, WorkId, WorkInfo, WorkQuery, WorkSelector, WorkState, worker,
};
use workman_testing::{Fault, TestDriver};

use WorkState::{Blocked, Cancelled, Enqueued, Failed, Succeeded};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[worker]
fn send(number: u32) -> u32 {
    number
}

#[worker(max_attempts = 1)]
fn pay(order: u32) -> u32 {
    order
}

#[worker]
fn ship(#[prerequisite] order: u32) -> u32 {
    order
}

fn many(test: &TestDriver, count: u32, tag: &str) -> Vec<WorkId> {
    let requests = (0..count).map(|number| send::request(number).tag(tag).initial_delay(DAY));
    let handles = test.block_on(test.manager().enqueue_all(requests)).unwrap();
    handles.iter().map(|handle| handle.id()).collect()
}

/// The chain of an order whose payment has failed.
fn unpaid(test: &TestDriver, order: u32) -> [WorkId; 2] {
    let (pay, ship) = (pay::request(order), ship::request());
    let ids = [pay.id(), ship.id()];
    test.block_on(test.manager().begin_with(pay).then(ship).enqueue()).unwrap();
    ids
}

/// What is told of a progress.
type Told = Arc<Mutex<Vec<usize>>>;

fn listener() -> (Told, impl FnMut(usize) + Send + 'static) {
    let told = Told::default();
    let to = Arc::clone(&told);
    (told, move |done| to.lock().unwrap().push(done))
}

// ---- why ----

#[test]
fn work_that_was_cancelled_says_why_and_so_does_what_was_cancelled_with_it() {
    let test = TestDriver::new();
    let [pay, ship] = unpaid(&test, 7);
    let other = test.enqueue(send::request(1));
    assert_eq!(test.cancel(Cancelling::of(pay).because("the order was called off")), 2);
    assert_eq!(test.cancel(other), 1);
    for id in [pay, ship] {
        assert_eq!(test.info(id).cancel_reason.as_deref(), Some("the order was called off"));
        assert_eq!(test.explain(id), Explanation::Cancelled { because: "the order was called off".into() });
        assert_eq!(test.explain(id).to_string(), "cancelled: the order was called off");
    }
    assert_eq!((test.info(other).cancel_reason, test.explain(other)), (None, Explanation::Finished(Cancelled)));
    let long = Cancelling::of(WorkSelector::All).because("x".repeat(1_025));
    let refused = test.block_on(test.manager().cancel(long)).unwrap_err();
    assert!(matches!(refused, ActionError::Refused(Refusal::ReasonTooLong { size: 1_025, .. })), "{refused}");
}

// ---- many at once ----

#[test]
fn a_query_is_cancelled_in_bounded_commits_that_tell_how_far_they_are_and_others_stay_as_they_are() {
    let test = TestDriver::new();
    let works = many(&test, 2_500, "mail");
    let others = many(&test, 3, "other");
    let (told, tell) = listener();
    let query = WorkQuery::tag("mail").state(Enqueued).state(Succeeded);
    assert_eq!(test.cancel(Cancelling::of(query).because("too many").on_progress(tell)), 2_500);
    let told = told.lock().unwrap().clone();
    assert!(told.len() >= 3 && told.is_sorted() && told.last() == Some(&2_500), "{told:?}");
    for id in works.iter().step_by(83) {
        assert_eq!((test.state_of(*id), test.info(*id).cancel_reason.as_deref()), (Cancelled, Some("too many")));
    }
    assert!(others.iter().all(|id| test.state_of(*id) == Enqueued));
    assert_eq!(test.cancel(WorkQuery::tag("mail")), 0);
    assert_eq!(test.cancel(WorkQuery::in_state(Succeeded)), 0, "what is over is never meant");
}

#[test]
fn a_selection_goes_on_when_who_is_told_of_it_panics_and_tells_them_nothing_more() {
    let test = TestDriver::new();
    for query in [false, true] {
        many(&test, 2_500, "mail");
        let told = Told::default();
        let to = Arc::clone(&told);
        let cancelling = if query { WorkQuery::tag("mail").into() } else { Cancelling::of(WorkSelector::tag("mail")) };
        let cancelling = cancelling.on_progress(move |done| {
            to.lock().unwrap().push(done);
            panic!("this panic belongs to the test");
        });
        assert_eq!(test.cancel(cancelling), 2_500);
        assert_eq!(told.lock().unwrap().len(), 1);
    }
}

#[test]
fn a_dry_run_counts_what_matches_shows_the_first_of_it_and_writes_nothing() {
    let test = TestDriver::new();
    let works = many(&test, 1_234, "mail");
    let commits = test.commits();
    let matching = test.block_on(test.manager().matching(WorkQuery::tag("mail"))).unwrap();
    let first: Vec<WorkId> = matching.first.iter().map(|info| info.id).collect();
    assert_eq!((matching.count, first.as_slice()), (1_234, &works[..100]));
    let none = test.block_on(test.manager().matching(WorkQuery::tag("mail").state(Failed))).unwrap();
    assert_eq!((none.count, none.first), (0, Vec::<WorkInfo>::new()));
    assert_eq!(test.commits(), commits);
}

#[test]
fn a_selection_that_the_store_breaks_off_says_how_much_is_done_and_the_next_call_does_the_rest() {
    let test = TestDriver::new();
    let works = many(&test, 3_000, "mail");
    let ended = |test: &TestDriver| works.iter().filter(|id| test.state_of(**id) == Cancelled).count();
    test.fail_at(test.commits() + 2, Fault::Rejected);
    let (told, tell) = listener();
    let cancelling = Cancelling::of(WorkQuery::tag("mail")).on_progress(tell);
    let error = test.block_on(test.manager().cancel(cancelling)).unwrap_err();
    assert_eq!((error.done(), ended(&test)), (1_000, 1_000), "{error}");
    assert_eq!(*told.lock().unwrap(), [1_000]);
    assert_eq!((test.cancel(WorkQuery::tag("mail")), ended(&test)), (2_000, 3_000));
}

#[test]
fn a_pruning_by_query_takes_what_has_finished_and_nobody_waits_for() {
    let test = TestDriver::new();
    let [gone, stays] = ["mail", "other"].map(|tag| test.enqueue(send::request(1).tag(tag)));
    let later = test.enqueue(send::request(2).tag("mail").initial_delay(DAY));
    test.run_until_idle();
    let (told, tell) = listener();
    let selection = Selection::of(WorkQuery::tag("mail")).on_progress(tell);
    assert_eq!(test.block_on(test.manager().prune_matching(selection)).unwrap(), 1);
    assert_eq!(told.lock().unwrap().last(), Some(&1));
    assert!(test.find(gone).is_none() && test.find(stays).is_some() && test.state_of(later) == Enqueued);
    let unfinished = WorkQuery::tag("mail").state(Enqueued);
    assert_eq!(test.block_on(test.manager().prune_matching(unfinished)).unwrap(), 0);
}

// ---- once more ----

#[test]
fn all_that_failed_comes_back_with_what_waits_for_it_and_the_report_says_what_does_not() {
    let test = TestDriver::new();
    let fails = || Err(WorkError::permanent("the bank is closed"));
    test.stub::<pay>([fails(), fails(), fails(), Ok(1), Ok(2), Ok(3)]);
    let orders = [1, 2, 3].map(|order| unpaid(&test, order));
    test.run_until_idle();
    assert!(orders.as_flattened().iter().all(|id| test.state_of(*id) == Failed));
    // The payment of the first is forgotten, and what came after it can't come back.
    let gone = WorkQuery::ids([orders[0][0]]);
    assert_eq!(test.block_on(test.manager().prune_matching(gone)).unwrap(), 1);
    let (told, tell) = listener();
    let selection = Selection::of(WorkQuery::in_state(Failed)).on_progress(tell);
    let report = test.block_on(test.manager().retry_all(selection)).unwrap();
    assert_eq!((report.retried, report.stayed, told.lock().unwrap().last().copied()), (4, 1, Some(4)));
    let [(stayed, why)] = report.first_stayed.as_slice() else { panic!("{report:?}") };
    assert!(matches!(why, Refusal::PrerequisiteGone { .. }), "{why}");
    assert_eq!((*stayed, test.state_of(orders[1][1])), (orders[0][1], Blocked));
    test.run_until_idle();
    assert_eq!(orders[1..].as_flattened().iter().filter(|id| test.state_of(**id) == Succeeded).count(), 4);
    let again = test.block_on(test.manager().retry_all(WorkQuery::all())).unwrap();
    assert_eq!((again.retried, again.stayed), (0, 1), "to say it again changes nothing");
}

#[test]
fn a_work_that_fails_anew_at_once_is_tried_once_by_one_call() {
    let test = TestDriver::new();
    test.stub::<pay>((0..8).map(|_| Err(WorkError::permanent("no"))));
    let id = test.enqueue(pay::request(1));
    test.run_until_idle();
    for runs in 2..5 {
        let report = test.block_on(test.manager().retry_all(WorkQuery::tag("pay"))).unwrap();
        test.run_until_idle();
        assert_eq!((report.retried, test.info(id).runs, test.state_of(id)), (1, runs, Failed));
    }
}

#[test]
fn failed_work_whose_name_newer_work_has_taken_is_refused_and_told_of_that() {
    let test = TestDriver::new();
    test.stub::<pay>([Err(WorkError::permanent("no")), Ok(2)]);
    let old = test.enqueue_unique("order", ExistingWorkPolicy::Keep, pay::request(1)).id;
    test.run_until_idle();
    let new = test.enqueue_unique("order", ExistingWorkPolicy::Keep, pay::request(2)).id;
    let refused = test.block_on(test.manager().retry(old)).unwrap_err();
    assert!(refused.to_string().contains("was replaced by other work of its unique name"), "{refused}");
    test.run_until_idle();
    assert_eq!(test.state_of(new), Succeeded);
}

// ---- the end of time ----

fn in_eternity(_: u32) -> Duration {
    Duration::MAX
}

#[worker(backoff_fn = in_eternity)]
fn gives_up(at: u32) -> Result<u32, String> {
    Err(format!("no more after {at}"))
}

#[test]
fn what_waits_until_the_end_of_time_says_so_and_a_person_can_let_it_run() {
    type Ending = fn() -> Outcome<u32>;
    let waits: [(Wait, Ending); 3] = [
        (Wait::Asked, || Outcome::Snooze(Duration::MAX)),
        (Wait::Asked, || Outcome::Failed(WorkError::retry_after(Duration::MAX))),
        (Wait::Asked, || Outcome::Snooze(Duration::from_millis(i64::MAX as u64))),
    ];
    for (wait, end) in waits {
        let test = TestDriver::new();
        test.stub_outcomes::<send>([end(), Outcome::Success(5)]);
        let id = test.enqueue(send::request(5));
        test.advance(DAY);
        assert_eq!(test.explain(id), Explanation::Never { wait });
        let info = test.info(id);
        assert_eq!(
            (info.state, info.next_run, info.waits_for, info.next_runs(3)),
            (Enqueued, None, Some(wait), vec![])
        );
        assert!(test.explain(id).to_string().starts_with("never due"), "{}", test.explain(id));
        assert_eq!(test.run_now(id), SteerResult::Applied);
        test.run_until_idle();
        assert_eq!(test.output::<u32>(id), 5);
    }
}

#[test]
fn a_backoff_function_that_answers_eternity_waits_for_its_ceiling_and_nobody_sets_the_end_of_time() {
    let test = TestDriver::new();
    let id = test.enqueue(gives_up::request(3));
    test.run_until_idle();
    let explained = test.explain(id);
    let Explanation::NotDue { left, wait: Wait::OwnBackoff, .. } = explained else { panic!("{explained}") };
    assert!(left <= 5 * HOUR, "{explained}");
    let refused = test.block_on(test.manager().reschedule(id, Timestamp::MAX)).unwrap_err();
    assert!(matches!(refused, ActionError::Refused(Refusal::Never(_))), "{refused}");
    let at = test.info(id).created + 2 * DAY;
    assert_eq!((test.reschedule(id, at), test.info(id).next_run), (SteerResult::Applied, Some(at)));
}

// ---- one work ----

#[test]
fn one_work_is_moved_back_and_forth_and_runs_once() {
    let test = TestDriver::new();
    let id = test.enqueue(send::request(3).initial_delay(HOUR));
    let at = |length: Duration| -> Timestamp { test.info(id).created + length };
    assert_eq!(test.reschedule(id, at(2 * HOUR)), SteerResult::Applied);
    test.advance(HOUR);
    assert_eq!((test.state_of(id), test.info(id).waits_for), (Enqueued, Some(Wait::Override)));
    assert_eq!(test.run_now(id), SteerResult::Applied);
    test.run_until_idle();
    assert_eq!((test.state_of(id), test.info(id).runs), (Succeeded, 1));
    assert_eq!(test.run_now(id), SteerResult::Finished);
    test.advance(2 * HOUR);
    assert_eq!(test.info(id).runs, 1);
}
