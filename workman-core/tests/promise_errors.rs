//! What is refused, with which words; and what can't run, and says so.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use support::{Bystanders, HOUR};
use workman_core::{
    Conditions, ConstraintKind, Constraints, EnqueueError, ExistingWorkPolicy, Explanation, ManualSensor,
    MissingSensor, Nothing, OutOfQuotaPolicy, PeriodicRequest, Request, StartError, Timestamp, WorkState, worker,
};
use workman_testing::TestDriver;

#[worker]
async fn store_text(text: String) -> usize {
    text.len()
}

#[worker]
async fn blur(radius: f64) -> f64 {
    radius
}

#[worker]
async fn open(path: PathBuf) -> bool {
    path.exists()
}

#[worker]
async fn tick() {}

fn text(size: usize) -> Request<Nothing, usize> {
    store_text::request("x".repeat(size))
}

/// Refused, with this text, and nothing is stored.
fn refused<O>(request: Request<Nothing, O>, wanted: &str) {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let (id, commits) = (request.id(), test.commits());
    let error = test.try_enqueue(request).unwrap_err();
    assert_eq!(error.to_string(), wanted);
    assert!(!error.is_indeterminate());
    assert_eq!((test.find(id), test.commits()), (None, commits));
    bystanders.are_untouched(&test);
}

#[test]
fn data_4_bad_requests_are_refused_by_name_and_nothing_is_stored() {
    refused(
        text(2 << 20),
        "the input of worker `store_text` has 2097163 bytes, the limit is 1048576: store large data elsewhere and pass where \
         it is, or raise `Limits::payload`",
    );
    refused(
        blur::request(f64::NAN),
        "the argument `radius` of worker `blur` can't be encoded: NaN is no JSON number; an `Option` has `None` for it",
    );
    refused(
        text(1).tag("line\nbreak"),
        "the tag \"line\\nbreak\" of a request for worker `store_text` has the control character '\\n'; \
         it must read well in one line",
    );
    refused(
        text(1).tag(""),
        "the tag \"\" of a request for worker `store_text` is empty; leave it out, or say what it is for",
    );
    assert!(matches!(
        TestDriver::new().try_enqueue(text(1).max_attempts(0)),
        Err(EnqueueError::Request(workman_core::RequestError::NoAttempts { .. }))
    ));
}

/// What is refused is told what to do instead.
#[test]
fn expedited_work_with_a_charger_or_a_delay_and_a_series_that_never_goes_on_are_told_the_way_out() {
    let policy = OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest;
    let said = |request: Request<Nothing, ()>| TestDriver::new().try_enqueue(request).unwrap_err().to_string();
    let charging = tick::request().constraints(Constraints::new().requires_charging());
    assert!(said(charging.expedited(policy)).ends_with("leave out the constraint, or give it a `priority` instead"));
    let delayed = tick::request().initial_delay(HOUR).expedited(policy);
    assert!(said(delayed).ends_with("leave out the delay, or give it a `priority` instead"));
    let test = TestDriver::new();
    let never = tick::periodic(HOUR).next_schedule_time_override(Timestamp::MAX);
    let error = test.block_on(test.manager().enqueue_periodic(never)).unwrap_err();
    assert!(error.to_string().ends_with("to end the series, cancel it"), "{error}");
}

/// A byte that begins no character.
#[cfg(unix)]
fn not_unicode() -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(vec![0x66, 0xff])
}

/// Half a surrogate pair.
#[cfg(windows)]
fn not_unicode() -> OsString {
    std::os::windows::ffi::OsStringExt::from_wide(&[0x66, 0xd800])
}

#[cfg(any(unix, windows))]
#[test]
fn a_path_that_is_not_unicode_is_refused_before_it_is_stored() {
    let test = TestDriver::new();
    let path = PathBuf::from(not_unicode());
    let error = test.try_enqueue(open::request(path)).unwrap_err().to_string();
    assert!(error.starts_with("the argument `path` of worker `open` can't be encoded"), "{error}");
    assert_eq!(test.commits(), 1, "nothing but the start of the manager");
}

#[test]
fn per_1_and_obs_5_a_zero_period_and_an_empty_chain_are_refused() {
    let test = TestDriver::new();
    let manager = test.manager();
    let zero: PeriodicRequest = tick::periodic(Duration::ZERO);
    let error = test.block_on(manager.enqueue_periodic(zero)).unwrap_err();
    assert!(matches!(error, EnqueueError::Request(workman_core::RequestError::NoInterval { .. })), "{error}");

    let nobody = Vec::<Request<Nothing, ()>>::new();
    let chains = [manager.begin_with(nobody.clone()), manager.begin_with(tick::request()).then(nobody.clone())];
    for (at, chain) in chains.into_iter().enumerate() {
        let error = test.block_on(chain.enqueue()).unwrap_err();
        assert!(matches!(error, EnqueueError::EmptyStep { step } if step == at + 1), "{error}");
        assert!(error.to_string().starts_with(&format!("step {} of the chain has no works", at + 1)), "{error}");
    }
    let branches = [manager.begin_with(tick::request()).then(tick::request()), manager.begin_with(tick::request())];
    let joined = manager.combine(branches).then(nobody.clone());
    assert!(matches!(test.block_on(joined.enqueue()), Err(EnqueueError::EmptyStep { step: 3 })));
    let error = test.block_on(manager.enqueue_all(nobody)).unwrap_err();
    assert!(error.to_string().starts_with("there is nothing to enqueue: the list, or the graph, is empty"), "{error}");
    let error = test.block_on(manager.enqueue_unique("", ExistingWorkPolicy::Keep, tick::request())).unwrap_err();
    assert!(error.to_string().starts_with("the unique name \"\" is empty"), "{error}");
    let name = "n".repeat(257);
    let error = test.block_on(manager.enqueue_unique(name, ExistingWorkPolicy::Keep, tick::request())).unwrap_err();
    assert!(error.to_string().ends_with("has 257 bytes, the limit is 256; see `Limits::name`"), "{error}");
}

#[worker]
async fn uses_a_database(#[state] database: Arc<String>) -> String {
    database.to_string()
}

#[test]
fn a_state_that_was_never_given_is_a_start_error_for_registered_workers_and_a_refusal_for_linked_ones() {
    let test = TestDriver::new().register::<uses_a_database>();
    let error = test.try_start().unwrap_err();
    assert!(matches!(error, StartError::MissingState { .. }), "{error}");
    assert!(error.to_string().contains("Arc<alloc::string::String>"), "{error}");

    let test = TestDriver::new();
    let error = test.try_enqueue(uses_a_database::request()).unwrap_err();
    assert!(matches!(error, EnqueueError::MissingState { .. }), "{error}");

    let test = TestDriver::new().state(Arc::new(String::from("db")));
    let id = test.enqueue(uses_a_database::request());
    test.run_until_idle();
    assert_eq!(test.output::<String>(id), "db");
}

/// Rule 19: a constraint that nobody observes.
#[test]
fn con_5_a_constraint_that_nobody_observes_is_refused_or_waits_or_is_assumed_met() {
    let unobserved = Conditions { charging: None, ..Conditions::IDEAL };
    let driver = |policy| {
        TestDriver::new().shape(move |builder| builder.sensor(ManualSensor::with(unobserved)).missing_sensor(policy))
    };
    let request = || tick::request().constraints(Constraints::new().requires_charging());

    let error = driver(MissingSensor::Refuse).try_enqueue(request()).unwrap_err();
    assert!(matches!(error, EnqueueError::NoSensor { kind: ConstraintKind::Charging, .. }), "{error}");

    let test = driver(MissingSensor::Wait);
    let id = test.enqueue(request());
    test.advance(HOUR);
    assert_eq!(test.state_of(id), WorkState::Enqueued);
    assert!(matches!(test.explain(id), Explanation::Constraint(unmet) if !unmet.observed()));

    let test = driver(MissingSensor::AssumeMet);
    let id = test.enqueue(request());
    test.run_until_idle();
    assert_eq!(test.state_of(id), WorkState::Succeeded);
}
