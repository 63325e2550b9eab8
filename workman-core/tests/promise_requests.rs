//! Requests: what they may say, what is refused and by which name, and what they would do.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Bystanders, DAY, HOUR, MINUTE, secs};
use workman_core::seams::Registry;
use workman_core::{
    Backoff, BackoffPolicy, ConstraintKind, Constraints, EnqueueError, Enqueued, ExistingPeriodicWorkPolicy, Limits,
    MissingSensor, NetworkType, Nothing, OutOfQuotaPolicy, PeriodicRequest, Request, RequestError, Schedule, Timestamp,
    WorkManagerLimits, WorkQuery, WorkState, worker,
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

fn until(now: Timestamp, end: Timestamp) -> Duration {
    end.since(now)
}

#[test]
fn an_initial_delay_that_reaches_the_end_of_time_is_refused_and_one_millisecond_less_is_not() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let now = test.info(test.enqueue(once())).created;
    let to_the_end = until(now, Timestamp::MAX);
    for delay in [to_the_end, to_the_end + secs(1), Duration::from_millis(i64::MAX as u64), Duration::MAX] {
        let error = refused(&test, once().initial_delay(delay));
        assert!(matches!(error, RequestError::TooLong { field: "initial_delay", .. }), "{error}");
        assert!(error.to_string().contains("`initial_delay`"), "{error}");
    }
    let id = test.enqueue(once().initial_delay(to_the_end - Duration::from_millis(1)));
    test.advance(100 * DAY);
    assert_eq!(test.state_of(id), WorkState::Enqueued);
    bystanders.are_untouched(&test);
}

#[test]
fn other_lengths_that_reach_the_end_of_time_are_refused_by_their_names() {
    let test = TestDriver::new();
    let name = |error| match error {
        RequestError::TooLong { field, .. } => field,
        other => panic!("{other}"),
    };
    let never = Duration::MAX;
    assert_eq!(name(refused(&test, once().keep_results_for_at_least(never))), "keep_results_for_at_least");
    assert_eq!(name(refused(&test, once().timeout(never))), "timeout");
    assert_eq!(name(refused_periodic(&test, tick::periodic(never))), "interval");
    let far = Schedule::every(never).flex(secs(1));
    assert_eq!(name(refused_periodic(&test, tick::periodic(far))), "initial_delay", "flex is part of the first delay");
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
fn a_flex_of_zero_or_longer_than_its_interval_is_refused_and_any_other_is_kept() {
    let test = TestDriver::new();
    for flex in [Duration::ZERO, HOUR + Duration::from_millis(1)] {
        let error = refused_periodic(&test, tick::periodic(Schedule::every(HOUR).flex(flex)));
        assert_eq!(error, RequestError::Flex { worker: "tick".into(), flex, interval: HOUR });
        assert!(error.to_string().contains("a flex of"), "{error}");
    }
    for flex in [Duration::from_millis(1), 10 * MINUTE, HOUR] {
        let schedule = Schedule::every(HOUR).flex(flex);
        let id = test.enqueue_periodic(tick::periodic(schedule.clone()));
        assert_eq!(test.info(id).schedule, schedule);
    }
}

#[test]
fn expedited_work_waits_for_network_and_storage_only_and_is_not_delayed() {
    let test = TestDriver::new();
    let expedited = || once().expedited(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest);
    let fine = Constraints::new().network(NetworkType::Metered).requires_storage_not_low();
    for constraints in [Constraints::NONE, Constraints::new().network(NetworkType::Metered), fine.clone()] {
        let id = test.enqueue(expedited().constraints(constraints.clone()));
        assert_eq!(test.info(id).constraints, constraints);
    }
    for (constraints, kind) in [
        (fine.clone().requires_charging(), ConstraintKind::Charging),
        (fine.clone().requires_battery_not_low(), ConstraintKind::BatteryNotLow),
        (fine.requires_device_idle(), ConstraintKind::DeviceIdle),
    ] {
        let error = refused(&test, expedited().constraints(constraints));
        assert_eq!(error, RequestError::ExpeditedConstraint { worker: "greet".into(), kind });
        assert!(error.to_string().contains("expedited work supports network and storage constraints only"), "{error}");
    }
    let error = refused(&test, expedited().initial_delay(secs(10)));
    assert_eq!(error, RequestError::ExpeditedDelay { worker: "greet".into() });
    assert!(error.to_string().contains("`initial_delay`"), "{error}");
}

#[test]
fn a_backoff_of_its_own_and_an_idle_machine_do_not_go_together() {
    let test = TestDriver::new();
    let idle = Constraints::new().requires_device_idle();
    let error = refused(&test, once().constraints(idle.clone()).backoff(Backoff::exponential(secs(20))));
    assert_eq!(error, RequestError::BackoffWhenIdle { worker: "greet".into() });
    assert!(error.to_string().contains("`backoff`"), "{error}");
    let periodic = tick::periodic(15 * MINUTE).constraints(idle.clone()).backoff(Backoff::exponential(secs(20)));
    assert!(matches!(refused_periodic(&test, periodic), RequestError::BackoffWhenIdle { .. }));
    test.enqueue(once().constraints(idle));
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

/// PER-1, BO-2: the clamps of Android, on demand.
#[test]
fn per_1_androids_minimums_raise_what_is_less_and_only_if_they_are_asked_for() {
    let mut limits = TestDriver::default_limits();
    limits.minimums = WorkManagerLimits::android();
    let (android, plain) = (TestDriver::new().limits(limits), TestDriver::new());
    let ms = Duration::from_millis;
    let schedule =
        |test: &TestDriver, schedule: Schedule| test.info(test.enqueue_periodic(tick::periodic(schedule))).schedule;
    let every = |interval, flex| Schedule::every(interval).flex(flex);
    for (asked, raised) in [
        (Schedule::every(15 * MINUTE + ms(123)), Schedule::every(15 * MINUTE + ms(123))),
        (Schedule::every(15 * MINUTE - ms(123)), Schedule::every(15 * MINUTE)),
        (every(15 * MINUTE + ms(123), 5 * MINUTE + ms(123)), every(15 * MINUTE + ms(123), 5 * MINUTE + ms(123))),
        (every(15 * MINUTE - ms(123), 5 * MINUTE - ms(123)), every(15 * MINUTE, 5 * MINUTE)),
        (every(15 * MINUTE - ms(123), 5 * MINUTE + ms(123)), every(15 * MINUTE, 5 * MINUTE + ms(123))),
        (every(HOUR, 2 * HOUR), Schedule::every(HOUR)),
        (Schedule::every(Duration::ZERO), Schedule::every(15 * MINUTE)),
    ] {
        assert_eq!(schedule(&android, asked.clone()), raised, "{asked:?}");
    }
    let short = every(secs(1), ms(1));
    assert_eq!(schedule(&plain, short.clone()), short);

    let wait = |test: &TestDriver, backoff| {
        let id = test.enqueue(fails::request().backoff(backoff));
        test.run_until_idle();
        let info = test.info(id);
        info.next_run.unwrap().since(info.attempts[0].ended)
    };
    for (asked, raised) in [(secs(10) - ms(123), secs(10)), (secs(10) + ms(123), secs(10) + ms(123))] {
        assert_eq!(wait(&android, Backoff::linear(asked)), raised);
        assert_eq!(wait(&plain, Backoff::linear(asked)), asked);
    }
    assert_eq!(wait(&android, Backoff::exponential(5 * HOUR + ms(123))), 5 * HOUR);
    assert_eq!(Limits::default().minimums, WorkManagerLimits::NONE);
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

/// BO-2, BO-3: the preview is what happens, jitter included.
#[test]
fn bo_2_the_previewed_delays_are_those_that_are_waited() {
    let test = TestDriver::new();
    let backoff = Backoff::exponential(secs(10)).ceiling(secs(60)).jitter(40);
    let request = fails::request().backoff(backoff).max_attempts(6);
    let previewed = request.backoff_delays(5);
    assert!(previewed.iter().zip(backoff.delays()).all(|(delay, most)| *delay <= most && *delay >= most * 6 / 10));
    let id = test.enqueue(request);
    let mut waited = Vec::new();
    for delay in &previewed {
        test.run_until_idle();
        let info = test.info(id);
        waited.push(info.next_run.unwrap().since(info.attempts.last().unwrap().ended));
        test.advance(*delay);
    }
    assert_eq!(waited, previewed);
    assert_eq!(test.state_of(id), WorkState::Failed);
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

/// PER-2, PER-3, PER-4: delay and what flex leaves before the first, one interval between all others.
#[test]
fn per_2_and_per_4_and_nrt_3_previewed_runs_are_those_that_happen() {
    let log = Log::default();
    let test = TestDriver::new().state(log.clone());
    let schedule = Schedule::every(HOUR).flex(15 * MINUTE);
    let request = logs_tick::periodic(schedule).initial_delay(10 * MINUTE);
    let previewed = request.next_runs(4);
    let id = test.enqueue_periodic(request);
    let created = test.info(id).created;
    let from_here: Vec<Timestamp> = [55, 115, 175, 235].into_iter().map(|n| created + n * MINUTE).collect();
    assert_eq!(previewed, from_here);
    assert_eq!(test.info(id).next_runs(4), from_here, "stored work says the same");
    let mut now = created;
    for (runs, due) in previewed.into_iter().enumerate() {
        test.advance(due.since(now) - Duration::from_millis(1));
        assert_eq!(log.lock().unwrap().len(), runs, "not before");
        test.advance(Duration::from_millis(1));
        assert_eq!(log.lock().unwrap().len(), runs + 1);
        now = due;
    }
    assert_eq!(test.info(id).next_runs(1), [now + HOUR]);
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
