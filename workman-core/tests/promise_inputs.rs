//! Inputs that are put together when a work starts: its own, and the outputs of what it waited for, merged.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/stores.rs"]
mod stores;
#[path = "promise_support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use stores::{Ears, Overheard};
use support::{Bystanders, MINUTE, RedbHome, secs};
use workman_core::seams::Registry;
use workman_core::store::Page;
use workman_core::{
    InputMerger, Limits, Nothing, ParkReason, Payload, Request, StoreError, WorkContext, WorkError, WorkId, WorkInfo,
    WorkState, worker,
};
use workman_testing::TestDriver;

/// A step of a chain whose data has no shape that the compiler knows. The later it stands the sooner it ends.
#[worker]
async fn gives(cx: &WorkContext, value: String, takes: u64) -> Result<Value, WorkError> {
    cx.sleep(secs(takes)).await?;
    Ok(value.parse()?)
}

fn give(value: &Value) -> Request<Nothing, Value> {
    gives::request(value.to_string(), 0)
}

/// What its run was given.
#[worker]
fn shows(cx: &WorkContext, #[default] own: Value) -> Result<Value, WorkError> {
    let input: Value = cx.input()?;
    assert_eq!(own, input.get("own").cloned().unwrap_or_default());
    Ok(input)
}

/// Runs `shows` after steps that give these values, and answers its id.
fn after(test: &TestDriver, merger: InputMerger, own: &Value, given: &[Value]) -> WorkId {
    let count = given.len() as u64;
    let steps: Vec<_> =
        given.iter().zip((0..count).rev()).map(|(value, takes)| gives::request(value.to_string(), takes)).collect();
    let merged = shows::request(own.clone()).input_merger(merger);
    let id = merged.id();
    test.block_on(test.manager().begin_with(steps).then(merged).enqueue()).unwrap();
    test.advance(secs(count));
    id
}

fn merged(test: &TestDriver, merger: InputMerger, own: &Value, given: &[Value]) -> Value {
    test.output(after(test, merger, own, given))
}

fn on_each_store(name: &str, check: impl Fn(&TestDriver)) {
    for test in [TestDriver::new(), TestDriver::new().store(RedbHome::new(name))] {
        let bystanders = Bystanders::of(&test);
        check(&test);
        bystanders.are_untouched(&test);
    }
}

fn parked_because(test: &TestDriver, id: WorkId) -> String {
    let info = test.info(id);
    assert_eq!((info.state, info.failures, info.attempts.len()), (WorkState::Enqueued, 0, 0));
    assert!(matches!(info.parked, Some(ParkReason::Undecodable { .. })), "{:?}", info.parked);
    test.explain(id).to_string()
}

/// There it fails for good (semantics, line 9): here it waits, and says what is wrong.
#[test]
fn data_3_values_of_different_types_park_the_work_with_key_and_types() {
    on_each_store("types", |test| {
        let id = after(test, InputMerger::ArrayCreating, &json!([1]), &[json!({"own": 2}), json!({"own": "3"})]);
        let why = parked_because(test, id);
        assert!(why.starts_with("work of worker \"shows\" is parked"), "{why}");
        let mixed =
            "the values under the key `own` are of different types and can't be put into one array: number and string";
        assert!(why.contains(mixed), "{why}");
        let [first, second] = [0, 1].map(|at| test.info(id).prerequisites[at]);
        assert!(why.contains("the number in its input"), "{why}");
        assert!(!why.contains(&first.to_string()), "it gave a number as well: {why}");
        assert!(why.contains(&format!("the string in the output of prerequisite 2 ({second})")), "{why}");
        assert!(why.contains("`update` this one"), "{why}");
    });
}

#[test]
fn an_output_that_is_no_object_parks_the_work_and_names_the_prerequisite() {
    on_each_store("objects", |test| {
        for merger in [InputMerger::Overwriting, InputMerger::ArrayCreating] {
            let id = after(test, merger, &json!(1), &[json!({}), json!([1])]);
            let culprit = test.info(id).prerequisites[1];
            let why = parked_because(test, id);
            assert!(why.contains(&format!("the output of prerequisite 2 ({culprit}): only a JSON object")), "{why}");
        }
    });
}

#[test]
fn no_output_and_null_add_nothing() {
    on_each_store("nothing", |test| {
        let steps = [give(&json!({"own": 2})).discard_output(), give(&json!(null)).discard_output()];
        let last = shows::request(json!(1)).input_merger(InputMerger::Overwriting);
        let id = last.id();
        test.block_on(test.manager().begin_with(steps).then(last).enqueue()).unwrap();
        test.run_until_idle();
        assert_eq!(test.output::<Value>(id), json!({"own": 1}));
        assert_eq!(merged(test, InputMerger::Overwriting, &json!(1), &[json!(null)]), json!({"own": 1}));
        let alone = test.enqueue(shows::request(json!(1)).input_merger(InputMerger::ArrayCreating));
        test.run_until_idle();
        assert_eq!(test.output::<Value>(alone), json!({"own": [1]}), "a work without prerequisites");
    });
}

/// There 10 KiB; here `Limits::prerequisites`, and the work waits for a greater limit instead of failing.
#[test]
fn data_4_what_is_merged_has_a_limit_and_the_refusal_names_size_and_worker() {
    let with_limit = |limit| {
        let mut limits = TestDriver::default_limits();
        limits.prerequisites = limit;
        TestDriver::new().limits(limits)
    };
    let (own, given) = (json!("a".repeat(100)), [json!({"key": "b".repeat(100)})]);
    let size = json!({"key": given[0]["key"], "own": own}).to_string().len();
    let test = with_limit(size);
    assert_eq!(merged(&test, InputMerger::Overwriting, &own, &given)["own"], own);
    let test = with_limit(size - 1);
    let id = after(&test, InputMerger::Overwriting, &own, &given);
    let info = test.info(id);
    let limit = size as u64 - 1;
    assert_eq!(info.parked, Some(ParkReason::TooLarge { size: size as u64, limit }));
    let why = test.explain(id).to_string();
    assert!(why.starts_with("work of worker \"shows\" is parked: "), "{why}");
    assert!(why.contains(&format!("{size} bytes")) && why.contains(&format!("the limit is {limit}")), "{why}");
    assert_eq!(Limits::default().prerequisites, 64 << 20);
}

/// DATA-6: what the prerequisite gave is read when the work starts.
#[test]
fn data_6_outputs_are_read_when_the_run_begins() {
    on_each_store("late", |test| {
        let first = gives::request(json!({"own": 2}).to_string(), 60);
        let last = shows::request(json!(1)).input_merger(InputMerger::Overwriting).initial_delay(MINUTE);
        let id = last.id();
        test.block_on(test.manager().begin_with(first).then(last).enqueue()).unwrap();
        test.advance(MINUTE);
        test.crash_and_restart();
        test.advance(MINUTE);
        assert_eq!(test.output::<Value>(id), json!({"own": 2}));
    });
}

#[worker]
fn takes_number(own: u32) -> u32 {
    own
}

#[worker]
fn takes_text(own: String) -> String {
    own
}

/// A build is asked with what is merged, not with the input alone.
#[test]
fn a_later_build_that_reads_what_is_merged_frees_the_work() {
    let build = |add: fn(&mut Registry)| {
        let mut registry = Registry::new();
        registry.add::<gives>();
        add(&mut registry);
        registry
    };
    let test = TestDriver::new();
    test.next_build(build(|registry| _ = registry.add::<takes_number>()));
    let last = takes_number::request(1).input_merger(InputMerger::Overwriting);
    let id = last.id();
    test.block_on(test.manager().begin_with(give(&json!({"own": "text"}))).then(last).enqueue()).unwrap();
    test.run_until_idle();
    assert!(parked_because(&test, id).contains("argument `own`"));
    test.restart();
    test.run_until_idle();
    assert!(test.info(id).parked.is_some(), "its own input is a number, but what is merged is none");
    test.next_build(build(|registry| _ = registry.add_as::<takes_text>("takes_number")));
    test.restart();
    test.run_until_idle();
    assert_eq!(test.output::<String>(id), "text");
}

#[worker]
fn big(size: usize) -> String {
    "x".repeat(size)
}

#[worker]
fn lengths(#[prerequisites] texts: Vec<String>) -> usize {
    texts.iter().map(String::len).sum()
}

fn join_of(test: &TestDriver, count: usize, size: usize) -> WorkId {
    let chain = test.manager().begin_with((0..count).map(|_| big::request(size)).collect::<Vec<_>>());
    let ids = test.block_on(chain.then(lengths::request()).enqueue()).unwrap().ids;
    test.run_until_idle();
    ids[count]
}

/// A manager of each start has the limits that hold then.
fn with_limits_of_now(prerequisites: &Arc<AtomicUsize>, payload: usize) -> TestDriver {
    let prerequisites = Arc::clone(prerequisites);
    TestDriver::new().shape(move |builder| {
        let mut limits = TestDriver::default_limits();
        limits.prerequisites = prerequisites.load(Ordering::SeqCst);
        limits.payload = payload;
        builder.limits(limits)
    })
}

#[test]
fn outputs_that_are_too_large_together_are_parked_with_their_whole_size() {
    for payload in [100, 1 << 20] {
        let test = with_limits_of_now(&Arc::new(AtomicUsize::new(1_000)), payload);
        let info = test.info(join_of(&test, 600, 98));
        assert_eq!(info.parked, Some(ParkReason::TooLarge { size: 600 * 100, limit: 1_000 }));
        let why = info.parked.unwrap().to_string();
        assert!(why.contains("60000 bytes, the limit is 1000; see `Limits::prerequisites`"), "{why}");
    }
}

#[test]
fn outputs_that_are_as_large_together_as_they_may_be_are_read_to_the_last() {
    for payload in [100, 7_000, 1 << 20] {
        let test = with_limits_of_now(&Arc::new(AtomicUsize::new(600 * 100)), payload);
        assert_eq!(test.output::<usize>(join_of(&test, 600, 98)), 600 * 98);
    }
}

#[test]
fn work_parked_for_too_large_outputs_is_tried_again_when_the_limit_was_raised() {
    let limit = Arc::new(AtomicUsize::new(10));
    let test = with_limits_of_now(&limit, 1 << 20);
    let bystanders = Bystanders::of(&test);
    let id = join_of(&test, 2, 98);
    for (raised_to, parked) in [(10, true), (199, true), (200, false)] {
        limit.store(raised_to, Ordering::SeqCst);
        test.restart();
        test.run_until_idle();
        assert_eq!(test.info(id).parked.is_some(), parked, "{raised_to}");
    }
    assert_eq!(test.output::<usize>(id), 2 * 98);
    bystanders.are_untouched(&test);
}

/// How many bytes of inputs and outputs the largest page had.
#[derive(Clone, Default)]
struct Heaviest(Arc<AtomicUsize>);

impl Ears for Heaviest {
    fn page(&self, page: &Result<Page, StoreError>) {
        let weight = |info: &WorkInfo| info.input.len() + info.output.as_ref().map_or(0, Payload::len);
        self.0.fetch_max(page.as_ref().unwrap().works.iter().map(weight).sum(), Ordering::SeqCst);
    }
}

#[test]
fn no_more_than_the_limit_is_read_at_a_time_before_it_is_known_to_be_kept() {
    let heaviest = Heaviest::default();
    let test = with_limits_of_now(&Arc::new(AtomicUsize::new(10_000)), 1_000).store(Overheard::by(&heaviest));
    let info = test.info(join_of(&test, 300, 900));
    assert_eq!(info.parked, Some(ParkReason::TooLarge { size: 300 * 902, limit: 10_000 }));
    let heaviest = heaviest.0.load(Ordering::SeqCst);
    assert!((902..=10_000).contains(&heaviest), "{heaviest}");
}
