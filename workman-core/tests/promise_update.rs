//! Updates in place: what stays, what changes, and when it counts.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use support::{Bystanders, DAY, HOUR, MINUTE, RedbHome, secs};
use workman_core::{
    Backoff, ConstraintKind, Constraints, EnqueueError, ExistingWorkPolicy, NetworkType, Refusal, RequestError,
    StopReason, Updatable, UpdateError, UpdateResult, WorkContext, WorkError, WorkId, WorkQuery, WorkSelector,
    WorkState, worker,
};
use workman_testing::TestDriver;

/// What ran, in order: worker, input and number of the attempt.
type Log = Arc<Mutex<Vec<String>>>;

#[worker]
async fn first(say: String, takes: u64, #[state] log: Log, cx: &WorkContext) -> Result<String, WorkError> {
    log.lock().unwrap().push(format!("first {say} {}", cx.attempt()));
    cx.set_progress(&say)?;
    cx.sleep(secs(takes)).await?;
    if say == "fail" { Err("as it was told".into()) } else { Ok(say) }
}

#[worker]
async fn second(say: String, #[state] log: Log, cx: &WorkContext) -> Result<String, WorkError> {
    log.lock().unwrap().push(format!("second {say} {}", cx.attempt()));
    Ok(say)
}

#[worker]
fn count(#[prerequisites] said: Vec<String>) -> usize {
    said.len()
}

#[worker]
fn repeat(#[prerequisite] said: String) -> String {
    said
}

fn driver() -> (TestDriver, Log) {
    let log = Log::default();
    let test = TestDriver::new().state(log.clone());
    test.lose(ConstraintKind::Charging);
    (test, log)
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

fn charging() -> Constraints {
    Constraints::new().requires_charging()
}

#[track_caller]
fn update(test: &TestDriver, request: impl Updatable) -> UpdateResult {
    try_update(test, request).unwrap_or_else(|error| panic!("{error}"))
}

fn try_update(test: &TestDriver, request: impl Updatable) -> Result<UpdateResult, UpdateError> {
    let manager = test.manager();
    test.block_on(manager.update(request))
}

#[test]
fn upd_1_unknown_work_is_an_error_and_finished_work_stays_as_it_is() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let unknown = first::request("x".into(), 0);
    let id = unknown.id();
    let error = try_update(&test, unknown).unwrap_err();
    assert!(matches!(error, UpdateError::Refused(Refusal::NotFound(of)) if of == id), "{error:?}");
    assert!(!error.is_indeterminate());
    assert!(test.find(id).is_none(), "an update stores no new work");

    let id = test.enqueue(first::request("x".into(), 0));
    test.run_until_idle();
    let before = test.info(id);
    assert_eq!(update(&test, second::request("y".into()).with_id(id).tag("t")), UpdateResult::NotApplied);
    test.run_until_idle();
    assert_eq!(test.info(id), before);
    assert_eq!(take(&log), ["first x 0"]);
    bystanders.are_untouched(&test);
}

#[test]
fn upd_1_one_time_work_stays_one_time_and_periodic_work_periodic() {
    let (test, _log) = driver();
    let once = test.enqueue(first::request("x".into(), 0).initial_delay(HOUR));
    let periodic = test.enqueue_periodic(first::periodic("x".into(), 0, HOUR).initial_delay(HOUR));
    let before = (test.info(once), test.info(periodic));
    let errors = [
        try_update(&test, first::periodic("x".into(), 0, HOUR).with_id(once)).unwrap_err(),
        try_update(&test, first::request("x".into(), 0).with_id(periodic)).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, UpdateError::Refused(Refusal::OtherSchedule(_))), "{error}");
    }
    assert_eq!((test.info(once), test.info(periodic)), before);
}

#[test]
fn upd_2_everything_but_state_counters_and_place_is_taken_from_the_request() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(first::request("x".into(), 0).initial_delay(DAY).tag("previous"));
    let before = test.info(id);
    let changed = second::request("y".into()).with_id(id).initial_delay(HOUR).tag("test").priority(3);
    assert_eq!(update(&test, changed.constraints(charging())), UpdateResult::AppliedImmediately);
    let info = test.info(id);
    assert_eq!((info.generation, info.created, info.state), (1, before.created, WorkState::Enqueued));
    assert_eq!((&*info.worker, info.priority, info.constraints), ("second", 3, charging()));
    let tags: Vec<&str> = info.tags.iter().map(|tag| &**tag).collect();
    assert_eq!(tags, ["second", "test"], "tags are replaced and not merged");
    assert_eq!(info.next_run, Some(info.created + HOUR), "the delay counts from the enqueue");
    let ids = |tag: &str| test.query(WorkQuery::tag(tag)).iter().map(|info| info.id).collect::<Vec<WorkId>>();
    assert_eq!((ids("previous"), ids("first")), (vec![], vec![]), "and so are the entries under them");
    assert_eq!((ids("test"), ids("second")), (vec![id], vec![id]));

    test.meet(ConstraintKind::Charging);
    test.advance(HOUR);
    assert_eq!(take(&log), ["second y 0"]);
    bystanders.are_untouched(&test);
}

#[test]
fn upd_2_and_bo_2_failed_attempts_stay_counted_and_the_new_backoff_counts_from_the_last_of_them() {
    let (test, log) = driver();
    let slowly = Backoff::linear(10 * DAY).ceiling(100 * DAY);
    let id = test.enqueue(first::request("fail".into(), 0).backoff(slowly));
    test.run_until_idle();
    assert_eq!(test.info(id).failures, 1);
    test.advance(HOUR);
    update(&test, second::request("x".into()).with_id(id).backoff(Backoff::linear(2 * HOUR)));
    test.advance(HOUR - secs(1));
    assert_eq!(take(&log), ["first fail 0"]);
    test.advance(secs(1));
    assert_eq!(take(&log), ["second x 1"], "two hours after the failed attempt");
    assert_eq!(test.state_of(id), WorkState::Succeeded);
}

#[test]
fn upd_3_waiting_work_starts_when_its_new_terms_let_it_and_nothing_else_is_needed() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let constrained = test.enqueue(first::request("a".into(), 0).constraints(charging()));
    let delayed = test.enqueue(first::request("b".into(), 0).initial_delay(10 * DAY));
    test.run_until_idle();
    assert_eq!(take(&log), [""; 0]);
    assert_eq!(update(&test, first::request("a".into(), 0).with_id(constrained)), UpdateResult::AppliedImmediately);
    test.run_until_idle();
    assert_eq!(take(&log), ["first a 0"]);
    assert_eq!(update(&test, second::request("b".into()).with_id(delayed)), UpdateResult::AppliedImmediately);
    test.run_until_idle();
    assert_eq!(take(&log), ["second b 0"], "the new worker runs");
    assert_eq!(test.info(delayed).generation, 1);
    bystanders.are_untouched(&test);
}

#[test]
fn upd_3_progress_of_an_earlier_run_is_gone() {
    let (test, _log) = driver();
    test.meet(ConstraintKind::Charging);
    let id = test.enqueue(first::request("x".into(), 1_000).constraints(charging()));
    test.advance(secs(10));
    test.lose(ConstraintKind::Charging);
    test.advance(MINUTE);
    let stopped = test.info(id);
    assert_eq!((stopped.state, stopped.stop_reason), (WorkState::Enqueued, Some(StopReason::ConstraintCharging)));
    assert!(stopped.progress.is_some(), "what it showed before it was stopped is still seen");
    let changed = first::request("x".into(), 1_000).constraints(charging()).tag("bla").with_id(id);
    assert_eq!(update(&test, changed), UpdateResult::AppliedImmediately);
    assert_eq!(test.info(id).progress, None);
}

/// Of each attempt the generation that it ran.
fn generations(test: &TestDriver, id: WorkId) -> Vec<u32> {
    test.info(id).attempts.iter().map(|attempt| attempt.generation).collect()
}

#[test]
fn an_attempt_that_was_cancelled_or_died_says_what_it_ran_as() {
    let (test, _log) = driver();
    let [stopped, lost] = [1, 2].map(|_| test.enqueue(first::request("x".into(), 100)));
    test.advance(secs(10));
    for id in [stopped, lost] {
        assert_eq!(update(&test, first::request("y".into(), 100).with_id(id)), UpdateResult::AppliedForNextRun);
    }
    test.cancel(WorkSelector::id(stopped));
    test.crash_and_restart();
    assert_eq!(generations(&test, stopped), [0]);
    assert_eq!(generations(&test, lost)[..1], [0]);
    assert_eq!((test.info(stopped).generation, test.info(lost).generation), (1, 1));
}

#[test]
fn upd_4_a_run_goes_on_as_it_began() {
    let (test, log) = driver();
    let bystanders = Bystanders::of(&test);
    let id = test.enqueue(first::request("x".into(), 100).tag("old"));
    test.advance(secs(10));
    let never = Constraints::new().network(NetworkType::Metered).requires_charging();
    let changed = second::request("y".into()).with_id(id).constraints(never);
    assert_eq!(update(&test, changed), UpdateResult::AppliedForNextRun);
    assert!(test.info(id).progress.is_some(), "it is not disturbed");
    test.advance(MINUTE);
    assert_eq!(test.state_of(id), WorkState::Running, "nor stopped for a constraint that it began without");
    test.advance(MINUTE);
    assert_eq!(test.output::<String>(id), "x");
    assert_eq!(take(&log), ["first x 0"]);
    assert_eq!(generations(&test, id), [0], "though the work is of generation 1 now");
    bystanders.are_untouched(&test);
}

#[test]
fn upd_4_the_attempt_after_a_failed_one_is_the_new_worker_s() {
    let (test, log) = driver();
    let id = test.enqueue(first::request("fail".into(), 100));
    test.advance(secs(10));
    let changed = second::request("y".into()).with_id(id).backoff(Backoff::linear(secs(7)));
    assert_eq!(update(&test, changed), UpdateResult::AppliedForNextRun);
    test.advance(secs(96));
    assert_eq!(take(&log), ["first fail 0"]);
    test.advance(secs(1));
    assert_eq!(take(&log), ["second y 1"], "seven seconds after the end of the attempt");
    assert_eq!(test.output::<String>(id), "y");
    assert_eq!(generations(&test, id), [0, 1]);
}

#[test]
fn upd_5_a_periodic_work_keeps_its_count_of_periods_and_counts_from_its_last_completion() {
    let (test, log) = driver();
    let id = test.enqueue_periodic(first::periodic("x".into(), 0, DAY).tag("previous"));
    test.run_until_idle();
    test.advance(2 * HOUR);
    let info = test.info(id);
    let changed = second::periodic("y".into(), 3 * HOUR).with_id(id).tag("test");
    assert_eq!(update(&test, changed), UpdateResult::AppliedImmediately);
    let changed = test.info(id);
    assert_eq!((changed.periods, changed.generation), (1, 1));
    assert_eq!(changed.next_run.unwrap() + (DAY - 3 * HOUR), info.next_run.unwrap(), "from the same moment");
    test.advance(HOUR);
    assert_eq!(take(&log), ["first x 0", "second y 0"]);
    assert_eq!(test.info(id).periods, 2);
    let sooner = second::periodic("z".into(), MINUTE).with_id(id);
    test.advance(HOUR);
    update(&test, sooner);
    test.run_until_idle();
    assert_eq!(take(&log), ["second z 0"], "a period that is over already is due at once");
}

#[test]
fn upd_6_edges_and_unique_names_survive_an_update() {
    let (test, _log) = driver();
    let manager = test.manager();
    let chain = manager
        .begin_unique("n", ExistingWorkPolicy::Keep, first::request("x".into(), 0).constraints(charging()))
        .then(repeat::request());
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    update(&test, repeat::request().tag("later").with_id(ids[1]));
    update(&test, second::request("y".into()).with_id(ids[0]));
    test.run_until_idle();
    assert_eq!(test.output::<String>(ids[1]), "y");
    let info = test.info(ids[1]);
    assert_eq!((info.name.as_deref(), &info.prerequisites), (Some("n"), &vec![ids[0]]));
    assert_eq!(test.query(WorkQuery::unique("n")).len(), 2);
}

#[test]
fn upd_6_a_worker_that_takes_other_outputs_than_there_are_is_refused() {
    let (test, _log) = driver();
    let manager = test.manager();
    let chain = manager.begin_with(first::request("x".into(), 0).initial_delay(HOUR)).then(repeat::request());
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    let before = test.info(ids[0]);
    let error = try_update(&test, repeat::request().with_id(ids[0])).unwrap_err();
    assert!(matches!(error, UpdateError::Refused(Refusal::OtherShape { given: 0, .. })), "{error}");
    assert_eq!(test.info(ids[0]), before);
    update(&test, count::request().with_id(ids[1]));
    test.advance(HOUR);
    assert_eq!(test.output::<usize>(ids[1]), 1, "a list of one fits one prerequisite");
}

#[test]
fn a_request_that_no_enqueue_would_take_changes_nothing() {
    let (test, _log) = driver();
    let id = test.enqueue(first::request("x".into(), 0).initial_delay(HOUR));
    let before = test.info(id);
    let error = try_update(&test, first::request("x".into(), 0).with_id(id).max_attempts(0)).unwrap_err();
    let UpdateError::Request(EnqueueError::Request(RequestError::NoAttempts { worker })) = &error else {
        panic!("{error:?}")
    };
    assert_eq!((&**worker, error.is_indeterminate()), ("first", false));
    assert_eq!(test.info(id), before);
}

#[test]
fn an_update_outlives_the_process() {
    let log = Log::default();
    let test = TestDriver::new().store(RedbHome::new("update")).state(log.clone());
    let id = test.enqueue(first::request("x".into(), 0).initial_delay(HOUR));
    update(&test, second::request("y".into()).with_id(id).initial_delay(HOUR).tag("t"));
    let before = test.info(id);
    test.crash_and_restart();
    assert_eq!(test.info(id), before);
    test.advance(HOUR);
    assert_eq!(take(&log), ["second y 0"]);
    assert_eq!(test.query(WorkQuery::tag("t")).len(), 1);
}
