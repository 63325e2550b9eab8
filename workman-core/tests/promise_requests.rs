//! Requests: what they may say, what is refused and by which name, and what they would do.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{DAY, HOUR, MINUTE, secs};
use workman_core::seams::Registry;
use workman_core::{
    Backoff, BackoffPolicy, EnqueueError, Enqueued, ExistingPeriodicWorkPolicy, MissingSensor, Nothing,
    PeriodicRequest, Request, RequestError, Timestamp, WorkManagerLimits, WorkQuery, worker,
};
use workman_testing::TestDriver;

type Log = Arc<Mutex<Vec<String>>>;

#[worker]
fn greet(name: String) -> String {
    name
}

#[worker]
fn tick() {}

#[worker]
fn logs_tick(#[state] log: Log) {
    log.lock().unwrap().push("tick".into());
}

#[worker]
async fn fails() -> Result<(), String> {
    Err("offline".into())
}

fn once() -> Request<Nothing, String> {
    greet::request("Ada".into())
}

/// What is refused, with its text; nothing is stored then.
#[track_caller]
fn refused(test: &TestDriver, request: Request<Nothing, String>) -> RequestError {
    let id = request.id();
    let Err(EnqueueError::Request(error)) = test.try_enqueue(request) else { panic!("it was not refused") };
    assert_eq!(test.find(id), None);
    error
}

#[track_caller]
fn refused_periodic(test: &TestDriver, request: PeriodicRequest) -> RequestError {
    let (id, manager) = (request.id(), test.manager());
    let stored = test.block_on(manager.enqueue_periodic(request));
    let Err(EnqueueError::Request(error)) = stored else { panic!("it was not refused") };
    assert_eq!(test.find(id), None);
    error
}

#[test]
fn a_timeout_of_zero_is_refused() {
    let test = TestDriver::new();
    let error = refused(&test, once().timeout(Duration::ZERO));
    assert_eq!(
        error.to_string(),
        "a request for worker `greet` has a `timeout` of zero; leave it out, and an attempt may take as long as it likes"
    );
}

#[test]
fn per_6_an_override_at_the_end_of_time_or_for_a_period_that_is_replaced_is_refused() {
    let test = TestDriver::new();
    let error = refused_periodic(&test, tick::periodic(HOUR).next_schedule_time_override(Timestamp::MAX));
    assert_eq!(error, RequestError::OverrideNever { worker: "tick".into() });
    assert!(error.to_string().contains("`next_schedule_time_override`"), "{error}");

    let manager = test.manager();
    let enqueue = |policy, request: PeriodicRequest| {
        test.block_on(manager.enqueue_unique_periodic("ticks", policy, request)).map(|work| work.how)
    };
    let moved = || tick::periodic(HOUR).next_schedule_time_override(Timestamp::from_millis(123_456));
    for policy in [ExistingPeriodicWorkPolicy::CancelAndReenqueue, ExistingPeriodicWorkPolicy::Replace] {
        let error = enqueue(policy, moved()).unwrap_err();
        let EnqueueError::Request(RequestError::OverrideReplaced { .. }) = &error else { panic!("{error}") };
        assert!(error.to_string().contains("use `Update` or `Keep`"), "{error}");
        assert_eq!(test.query(WorkQuery::unique("ticks")), []);
        enqueue(policy, moved().clear_next_schedule_time_override()).unwrap();
        test.block_on(manager.cancel(workman_core::WorkSelector::unique("ticks"))).unwrap();
        test.block_on(manager.prune()).unwrap();
    }
    assert_eq!(enqueue(ExistingPeriodicWorkPolicy::Keep, moved()).unwrap(), Enqueued::Inserted);
    let how = enqueue(ExistingPeriodicWorkPolicy::Update, moved()).unwrap();
    assert!(matches!(how, Enqueued::Updated(_)), "{how:?}");
}

#[test]
fn what_is_wrong_with_one_work_of_a_chain_stores_nothing_of_it() {
    let test = TestDriver::new();
    let chain = test.manager().begin_with(once()).then([once(), once().timeout(Duration::ZERO)]);
    assert!(matches!(test.block_on(chain.enqueue()), Err(EnqueueError::Request(RequestError::NoTimeout { .. }))));
    assert_eq!(test.query(WorkQuery::all()), []);
}

/// The name that runs have in traces is stored with the request; two requests that differ in it are two requests.
#[test]
fn a_trace_tag_is_cut_to_127_characters() {
    let test = TestDriver::new();
    let stored = |tag: String, id| test.try_enqueue(once().with_id(id).trace_tag(tag));
    let long = "ä".repeat(126) + "öü";
    let id = stored(long.clone(), once().id()).unwrap();
    assert_eq!(stored("ä".repeat(126) + "ö", id).ok(), Some(id), "the same after it was cut");
    assert!(stored("ä".repeat(126), id).is_err(), "not the same if it is shorter");
}

#[test]
fn a_request_begins_with_what_its_worker_says_and_the_overwriting_of_it_wins() {
    #[worker(backoff = Backoff::linear(Duration::from_secs(7)))]
    fn patient() {}
    let delays = |request: Request<Nothing, ()>| request.backoff_delays(3);
    assert_eq!(delays(patient::request()), [secs(7), secs(14), secs(21)]);
    assert_eq!(delays(patient::request().backoff(Backoff::exponential(secs(1)))), [secs(1), secs(2), secs(4)]);
    assert_eq!(tick::periodic(HOUR).backoff_delays(2), [secs(30), secs(60)]);
    assert_eq!(tick::periodic(HOUR).backoff_delays(0), []);
}

/// Twice a second more than there were failures.
fn slower_and_slower(failures: u32) -> Duration {
    secs(2 * u64::from(failures) + 1)
}

#[worker(backoff_fn = slower_and_slower)]
async fn fails_slower_and_slower() -> Result<(), String> {
    Err("offline".into())
}

#[test]
fn bo_2_a_workers_own_backoff_is_previewed_and_waited_and_the_requests_goes_before_it() {
    let test = TestDriver::new();
    let request = fails_slower_and_slower::request();
    assert_eq!(request.backoff_delays(3), [secs(3), secs(5), secs(7)]);
    let own = fails_slower_and_slower::request().backoff(Backoff::linear(secs(100)));
    assert_eq!(own.backoff_delays(2), [secs(100), secs(200)]);
    for request in [request, own] {
        let (first, id) = (request.backoff_delays(1)[0], test.enqueue(request));
        test.run_until_idle();
        let info = test.info(id);
        assert_eq!(info.next_run.unwrap().since(info.attempts[0].ended), first);
    }
    assert_eq!(Backoff::new(BackoffPolicy::Custom, secs(1)).delay_after(2), secs(2));
}

/// NRT-1, PER-6: an override goes before delay and flex, and the period goes on from it; one that is past means now.
#[test]
fn nrt_1_and_per_6_an_override_is_previewed_and_happens() {
    let log = Log::default();
    let test = TestDriver::new().state(log.clone());
    let start = test.info(test.enqueue(once())).created;
    let later = start + 14 * HOUR;
    let moved = logs_tick::periodic(DAY).initial_delay(2 * DAY).next_schedule_time_override(later);
    assert_eq!(moved.next_runs(2), [later, later + DAY]);
    assert_eq!(moved.clone().clear_next_schedule_time_override().next_runs(1), [start + 2 * DAY]);
    assert_eq!(moved.next_runs_from(later + HOUR, 2), [later + HOUR, later + HOUR + DAY], "past: at once");
    let id = test.enqueue_periodic(moved);
    assert_eq!(test.info(id).next_runs(2), [later, later + DAY]);
    test.advance(14 * HOUR - Duration::from_millis(1));
    assert_eq!(log.lock().unwrap().len(), 0);
    test.advance(Duration::from_millis(1));
    assert_eq!(log.lock().unwrap().len(), 1);
    test.advance(DAY);
    assert_eq!(log.lock().unwrap().len(), 2);
}

#[test]
fn a_preview_ends_with_the_end_of_time_and_of_the_work() {
    let test = TestDriver::new();
    let far = tick::periodic(Duration::from_millis(i64::MAX as u64 / 2));
    assert_eq!(far.next_runs_from(Timestamp::from_millis(0), 9).len(), 4, "the last is the end itself");
    let soon = test.enqueue(once().initial_delay(HOUR));
    assert_eq!(test.info(soon).next_runs(3).len(), 1, "one-time work runs once");
    test.advance(HOUR);
    assert_eq!(test.info(soon).next_runs(3), []);
}

#[test]
fn a_time_of_the_system_is_a_timestamp() {
    let time: SystemTime = UNIX_EPOCH + secs(86_400) + Duration::from_nanos(1_999_999);
    assert_eq!(Timestamp::from(time), Timestamp::from_millis(86_400_001));
    assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_millis(5)), Timestamp::from_millis(-5));
    let request = tick::periodic(HOUR).next_schedule_time_override(time);
    assert_eq!(request.next_runs_from(UNIX_EPOCH, 1), [Timestamp::from_millis(86_400_001)]);
}

#[worker(name = "new-name", aliases = ["old-name"])]
fn renamed() -> u32 {
    7
}

#[worker]
fn before_renaming() -> u32 {
    7
}

/// UNQ-1: the handle of a holder that is kept is typed when it is the same worker, by any of its names, and none if not.
#[test]
fn unq_1_the_handle_of_a_kept_holder_is_typed_if_the_worker_is_the_same_by_any_of_its_names() {
    let mut old = Registry::new();
    old.add_as::<before_renaming>("old-name");
    let mut new = Registry::new();
    new.add::<renamed>().add_as::<greet>("greeter");
    let test = TestDriver::new().shape(|builder| builder.missing_sensor(MissingSensor::Wait));
    test.next_build(old);
    let holder =
        test.enqueue_unique("x", workman_core::ExistingWorkPolicy::Keep, before_renaming::request().initial_delay(DAY));
    test.next_build(new);
    test.restart();
    let manager = test.manager();
    let keep = workman_core::ExistingWorkPolicy::Keep;
    let kept = test.block_on(manager.enqueue_unique("x", keep, renamed::request())).unwrap();
    assert_eq!((kept.how, kept.handle.map(|handle| handle.id())), (Enqueued::Kept(holder.id), Some(holder.id)));
    let other = test.block_on(manager.enqueue_unique("x", keep, once())).unwrap();
    assert_eq!((other.how, other.handle.is_none()), (Enqueued::Kept(holder.id), true));

    let greeter = test.enqueue_unique("y", keep, once().initial_delay(DAY));
    assert_eq!(&*test.info(greeter.id).worker, "greeter");
    let kept = test.block_on(manager.enqueue_unique("y", keep, once())).unwrap();
    assert_eq!(kept.handle.map(|handle| handle.id()), Some(greeter.id), "under the name that it has here");
}

/// What a log may show: everything that was asked for, and never the input.
#[test]
fn debug_shows_what_was_asked_for_and_never_the_input() {
    let request = || once().tag("mine").initial_delay(MINUTE).priority(3).timeout(secs(5));
    let shown = format!("{:?}", request());
    for part in ["\"greet\"", "initial_delay: 60s", "priority: 3", "timeout: Some(5s)", "[\"mine\"]", "schedule: Once"]
    {
        assert!(shown.contains(part), "{shown}");
    }
    let periodic = format!("{:?}", tick::periodic(HOUR).tag("clock"));
    assert!(periodic.contains("interval: 3600s") && periodic.contains("[\"clock\"]"), "{periodic}");

    let test = TestDriver::new();
    let manager = test.manager();
    let shown = format!("{manager:?}");
    assert!(shown.starts_with("WorkManager { role: Runs, workers: "), "{shown}");
    let keep = workman_core::ExistingWorkPolicy::Keep;
    let chain = manager.begin_unique("trip", keep, request()).then([tick::request(), tick::request()]);
    let chain = format!("{chain:?}");
    assert!(chain.contains("name: Some(\"trip\"), steps: 2, workers: [\"greet\", \"tick\", \"tick\"]"), "{chain}");
    let many: Vec<_> = (0..100).map(|_| tick::request()).collect();
    let many = format!("{:?}", manager.begin_with(many));
    assert_eq!(many.matches("tick").count(), 16, "{many}");
    for shown in [shown, chain, format!("{:?}", request())] {
        assert!(!shown.contains("Ada"), "{shown}");
    }
}

#[test]
fn a_backoff_of_nothing_and_a_jitter_of_more_than_everything_are_refused_by_name() {
    let test = TestDriver::new();
    let refused = |backoff: Backoff| {
        let error = test.try_enqueue(fails::request().unlimited_attempts().backoff(backoff)).unwrap_err();
        error.to_string()
    };
    assert!(refused(Backoff::linear(Duration::ZERO)).contains("`backoff` with a delay of zero"));
    assert!(refused(Backoff::exponential(Duration::ZERO)).contains("`backoff` with a delay of zero"));
    assert!(refused(Backoff::linear(HOUR).ceiling(Duration::ZERO)).contains("`backoff` with a ceiling of zero"));
    assert!(refused(Backoff::linear(HOUR).jitter(101)).contains("`jitter` of 101 percent"));
    test.enqueue(fails::request().backoff(Backoff::linear(Duration::from_nanos(1)).jitter(100)));
}

fn at_once(_: u32) -> Duration {
    Duration::ZERO
}

#[worker(backoff_fn = at_once)]
fn eager() -> Result<(), String> {
    Err("no".into())
}

/// BO-1 with Android's minimums.
#[test]
fn bo_1_androids_least_backoff_holds_for_a_backoff_function_and_a_ceiling_too() {
    let mut limits = TestDriver::default_limits();
    limits.minimums = WorkManagerLimits::android();
    let test = TestDriver::new().limits(limits);
    let low = fails::request().backoff(Backoff::linear(MINUTE).ceiling(secs(1)));
    let from_nothing = fails::request().backoff(Backoff::linear(Duration::ZERO));
    let ids = [test.enqueue(eager::request()), test.enqueue(low), test.enqueue(from_nothing)];
    test.run_until_idle();
    for id in ids {
        let info = test.info(id);
        assert_eq!(info.failures, 1);
        assert_eq!(info.next_run, Some(info.attempts[0].ended + secs(10)));
    }
}

fn hours(failures: u32) -> Duration {
    failures * HOUR
}

#[worker(backoff_fn = hours, backoff = Backoff::linear(MINUTE).ceiling(secs(3 * 3600)).jitter(50))]
async fn fails_by_the_hour() -> Result<(), String> {
    Err("offline".into())
}

#[test]
fn bo_2_and_bo_3_ceiling_and_jitter_count_for_a_backoff_function_in_the_preview_and_in_earnest() {
    let test = TestDriver::new();
    let requests: Vec<_> = (0..8).map(|_| fails_by_the_hour::request()).collect();
    let previewed: Vec<_> = requests.iter().map(|request| request.backoff_delays(4)).collect();
    for delays in &previewed {
        let most = [HOUR, 2 * HOUR, 3 * HOUR, 3 * HOUR];
        assert!(delays.iter().zip(most).all(|(delay, most)| *delay <= most && *delay >= most / 2), "{delays:?}");
    }
    assert!(previewed.iter().any(|delays| delays != &previewed[0]), "what failed together is not tried again together");
    let ids: Vec<_> = requests.into_iter().map(|request| test.enqueue(request)).collect();
    test.run_until_idle();
    for (id, delays) in ids.into_iter().zip(previewed) {
        let info = test.info(id);
        assert_eq!(info.next_run, Some(info.attempts[0].ended + delays[0]));
    }
}

#[test]
fn per_6_an_override_after_which_no_period_can_end_is_refused_as_the_end_of_time_is() {
    let test = TestDriver::new().state(Log::default());
    let manager = test.manager();
    let refused = |before: Duration| {
        let request = logs_tick::periodic(HOUR).next_schedule_time_override(Timestamp::MAX - before);
        test.block_on(manager.enqueue_periodic(request)).is_err()
    };
    assert!(refused(Duration::ZERO) && refused(Duration::from_millis(1)) && refused(HOUR));
    assert!(!refused(HOUR + Duration::from_millis(1)));
}
