//! Inputs, outputs and the two mergers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use workman_core::{
    EnqueueError, InputMerger, Nothing, ParkReason, Request, RequestError, WorkContext, WorkError, WorkId, WorkQuery,
    WorkState, worker,
};
use workman_testing::TestDriver;

use crate::bench::{Bench, HOUR, on_both_stores, say};

use InputMerger::{ArrayCreating, Overwriting};
use WorkState::{Enqueued as Waits, Failed, Succeeded};

/// Gives any JSON.
#[worker]
pub(crate) async fn give(value: Value) -> Value {
    value
}

/// Gives its whole input, as it was merged. What it is told is only a part of that.
#[worker]
pub(crate) async fn echo(own: Option<Value>, cx: &WorkContext) -> Result<Value, WorkError> {
    let _ = own;
    Ok(cx.input()?)
}

/// Adds up the numbers under one key, its own and those of its prerequisites.
#[worker]
async fn sum(numbers: Vec<i64>) -> i64 {
    numbers.iter().sum()
}

/// Runs works that give these values, in this order, and one behind them that merges; answers its id.
fn merge(test: &Bench, merger: InputMerger, values: &[Value]) -> WorkId {
    let given: Vec<Request<Nothing, Value>> = values.iter().map(|value| give::request(value.clone())).collect();
    let chain = test.manager().begin_with(given).then(echo::request(None).input_merger(merger));
    let id = *test.chain(chain).last().unwrap();
    test.run_until_idle();
    id
}

/// What came out, without the own input.
fn merged(test: &Bench, merger: InputMerger, values: &[Value]) -> Value {
    let mut output: Value = test.output(merge(test, merger, values));
    output.as_object_mut().unwrap().remove("own");
    output
}

/// OverwritingInputMergerTest and DATA-2: a single input is as it was; of several the last that has a key counts, and the
/// order is that of declaration (D7).
#[test]
fn data_2_of_one_key_the_last_value_counts_in_the_order_of_declaration() {
    on_both_stores(|test| {
        assert_eq!(merged(&test, Overwriting, &[json!({"key": "value"})]), json!({"key": "value"}));
        let values = [json!({"a": 1, "b": 1}), json!({"b": [2], "c": null}), json!({"c": {"x": 3}})];
        assert_eq!(merged(&test, Overwriting, &values), json!({"a": 1, "b": [2], "c": {"x": 3}}));
        let twice = [json!({"key": 1}), json!({"key": 2})];
        assert_eq!(merged(&test, Overwriting, &twice), json!({"key": 2}));
        let twice = [json!({"key": 2}), json!({"key": 1})];
        assert_eq!(merged(&test, Overwriting, &twice), json!({"key": 1}));
    });
}

/// ArrayCreatingInputMergerTest, all cases: scalars become arrays of one, arrays are joined in order, null counts as a string.
#[test]
fn data_3_values_of_one_key_are_joined_in_order() {
    on_both_stores(|test| {
        let joined = |one: Value, other: Value| {
            merged(&test, ArrayCreating, &[json!({"k": one}), json!({"k": other})])["k"].clone()
        };
        assert_eq!(merged(&test, ArrayCreating, &[json!({"k": 3})]), json!({"k": [3]}));
        assert_eq!(joined(json!([0, 1, 2]), json!([0, 1, 2])), json!([0, 1, 2, 0, 1, 2]));
        assert_eq!(joined(json!([0, 1, 2]), json!(3)), json!([0, 1, 2, 3]));
        assert_eq!(joined(json!(3), json!([0, 1, 2])), json!([3, 0, 1, 2]));
        assert_eq!(joined(json!(null), json!(null)), json!([null, null]));
        assert_eq!(joined(json!("b"), json!(null)), json!(["b", null]));
        assert_eq!(joined(json!(null), json!("b")), json!([null, "b"]));
        assert_eq!(joined(json!(["b", "c"]), json!(null)), json!(["b", "c", null]));
        assert_eq!(joined(json!(null), json!(["b", "c"])), json!([null, "b", "c"]));
        assert_eq!(merged(&test, ArrayCreating, &[json!({"k": 1}), json!({"l": 2})]), json!({"k": [1], "l": [2]}));
    });
}

/// DATA-3: values of different types under one key can't be merged. D9: the work does not fail, it is
/// parked with the reason.
#[test]
fn data_3_and_data_5_values_of_different_types_park_the_work_with_the_key() {
    on_both_stores(|test| {
        for (one, other) in [(json!(3), json!("3")), (json!([true]), json!(1)), (json!(null), json!(1))] {
            let id = merge(&test, ArrayCreating, &[json!({"k": one}), json!({"k": other})]);
            let info = test.info(id);
            assert_eq!((info.state, info.failures), (Waits, 0));
            let why = info.parked.unwrap();
            assert!(matches!(&why, ParkReason::Undecodable { message } if message.contains("`k`")), "{why}");
        }
        let no_object = test.info(merge(&test, Overwriting, &[json!({}), json!([1])]));
        assert!(no_object.parked.unwrap().to_string().contains("object"));
    });
}

/// WorkerWrapperTest 14: two prerequisites that echo, merged into one array.
#[test]
fn data_1_and_data_3_outputs_of_all_prerequisites_are_merged() {
    on_both_stores(|test| {
        let outputs = merged(&test, ArrayCreating, &[json!({"key": "value1"}), json!({"key": "value2"})]);
        assert_eq!(outputs, json!({"key": ["value1", "value2"]}));
    });
}

/// DATA-1: the own input comes first, and only direct prerequisites count.
#[test]
fn data_1_the_own_input_comes_first_and_only_direct_prerequisites_count() {
    on_both_stores(|test| {
        let own = || sum::request(vec![1]).input_merger(ArrayCreating);
        let chain = test.manager().begin_with([give::request(json!({"numbers": 2})), give::request(json!({"x": 0}))]);
        let ids = test.chain(chain.then(own()));
        let alone = test.enqueue(own());
        let overwritten = test.manager().begin_with(give::request(json!({"numbers": [5, 6]})));
        let overwritten = overwritten.then(sum::request(vec![1]).input_merger(Overwriting));
        let overwritten = test.chain(overwritten)[1];
        let deep = test.manager().begin_with(give::request(json!({"far": 1})));
        let deep = deep.then(give::request(json!({"near": 2}))).then(echo::request(None).input_merger(Overwriting));
        let deep = test.chain(deep)[2];
        test.run_until_idle();
        assert_eq!((test.output::<i64>(ids[2]), test.output::<i64>(alone)), (3, 1));
        assert_eq!(test.output::<i64>(overwritten), 11, "a prerequisite overrides the own input");
        assert_eq!(test.output::<Value>(deep), json!({"near": 2, "own": null}));
    });
}

/// OneTimeWorkRequestTest: there the overwriting merger is the default. Here outputs are taken by type, and a request that says
/// nothing merges nothing.
#[test]
fn a_request_that_names_no_merger_merges_nothing() {
    on_both_stores(|test| {
        let chain = test.manager().begin_with(give::request(json!({"numbers": [9]}))).then(sum::request(vec![1]));
        let ids = test.chain(chain);
        test.run_until_idle();
        assert_eq!(test.output::<i64>(ids[1]), 1);
    });
}

/// Of each kind of value there is.
type All = (bool, i8, i32, i64, f32, f64, String, Vec<bool>, Vec<u8>, BTreeMap<String, Option<String>>);

#[worker]
fn gives_back(all: All) -> All {
    all
}

fn all() -> All {
    let map = [("one", Some("two")), ("null", None), ("", Some(""))];
    let map = map.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
    (true, -1, i32::MIN, i64::MAX, 99.25, 1e300, "two ä\n".into(), vec![false, true], vec![1, 2, 255], map.into())
}

/// DataTest, serialization and typed getters: every kind of value comes back as it was, through the store and a crash.
#[test]
fn every_kind_of_value_comes_back_as_it_was() {
    on_both_stores(|test| {
        let id = test.enqueue(gives_back::request(all()).initial_delay(HOUR));
        test.crash_and_restart();
        test.advance(HOUR);
        test.crash_and_restart();
        assert_eq!(test.output::<All>(id), all());
    });
}

/// DataTest, equality and hash: equal inputs are equal however they were made, and a value of another kind is another.
#[test]
fn equal_inputs_are_equal_and_other_ones_are_not() {
    on_both_stores(|test| {
        let stored = |value: Value| {
            let id = test.enqueue(give::request(value).initial_delay(HOUR));
            test.info(id).input
        };
        let one = stored(json!({"a": [1, 2, 3], "b": 1}));
        assert_eq!(one, stored(json!({"b": 1, "a": [1, 2, 3]})));
        for other in [
            json!({"a": [1, 2, 3], "b": 100}),
            json!({"a": [11, 12, 13], "b": 1}),
            json!({"a": ["1", "2", "3"], "b": 1}),
            json!({"a": [1, 2, 3]}),
            json!(null),
        ] {
            assert_ne!(one, stored(other));
        }
    });
}

/// DataTest `testSerializePastMaxSize`: the limit is checked when it is enqueued, exactly (D7: 1 MiB here), and names worker and
/// size; an output beyond it is a failed attempt that says so.
#[test]
fn data_4_the_limit_is_checked_at_the_enqueue_and_at_the_end_of_the_run() {
    on_both_stores(|test| {
        let test = test.shaped(|driver| {
            let mut limits = TestDriver::default_limits();
            limits.payload = 100;
            driver.limits(limits)
        });
        // {"name":"xx..x"}
        let fits = test.enqueue(say::request("x".repeat(89)));
        assert_eq!(test.info(fits).input.len(), 100);
        match test.try_enqueue(say::request("x".repeat(90))) {
            Err(EnqueueError::Request(RequestError::InputTooLarge { worker, size: 101, limit: 100 })) => {
                assert_eq!(&*worker, "say");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(test.query(WorkQuery::all()).len(), 1);
        let grows = |to| test.enqueue(grows::request(to).max_attempts(1));
        let ids = [grows(98), grows(99)];
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded, Failed]);
        let error = test.info(ids[1]).last_error().unwrap().to_string();
        assert!(error.contains("grows") && error.contains("101") && error.contains("100"), "{error}");
    });
}

#[worker]
fn grows(to: usize) -> String {
    "x".repeat(to)
}

/// DATA-4, D7: what is too large only after a merge parks the work with its size; nothing fails.
#[test]
fn data_4_outputs_that_are_too_large_together_park_the_work_with_their_size() {
    on_both_stores(|test| {
        let test = test.shaped(|driver| {
            let mut limits = TestDriver::default_limits();
            limits.prerequisites = 250;
            driver.limits(limits)
        });
        let text = "x".repeat(88);
        let values: Vec<Value> = (0..3).map(|n| json!({ n.to_string(): text })).collect();
        let id = merge(&test, Overwriting, &values[..2]);
        assert_eq!(test.state_of(id), Succeeded);
        let id = merge(&test, Overwriting, &values);
        let info = test.info(id);
        assert_eq!((info.state, info.failures, &*info.worker), (Waits, 0, "echo"));
        assert!(matches!(info.parked, Some(ParkReason::TooLarge { size, limit: 250 }) if size > 250), "{info:?}");
    });
}

/// DataTest `testDataExtensions` and DATA-5, D9: a value of another kind is an error and no default.
#[test]
fn a_value_of_another_kind_is_an_error_and_no_default() {
    on_both_stores(|test| {
        let id = test.enqueue(give::request(json!({"one": 1, "three": "Three"})).initial_delay(HOUR));
        let input = test.info(id).input;
        let mut value = input.decode::<BTreeMap<String, Value>>().unwrap().remove("value").unwrap();
        assert_eq!(value["one"].take(), json!(1));
        assert!(input.decode::<BTreeMap<String, i64>>().is_err());
        assert!(input.decode::<Vec<Value>>().is_err());
        let keys: BTreeSet<String> = input.decode::<BTreeMap<String, Value>>().unwrap().into_keys().collect();
        assert_eq!(keys, BTreeSet::from(["value".to_owned()]));
    });
}

/// The limits of data: what would not decode again is refused by worker and argument.
#[test]
fn what_would_not_decode_again_is_refused_by_its_name() {
    on_both_stores(|test| {
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            match test.try_enqueue(half::request(nonsense)) {
                Err(EnqueueError::Request(RequestError::Unencodable { worker, argument, .. })) => {
                    assert_eq!((&*worker, argument), ("half", "number"));
                }
                other => panic!("{other:?}"),
            }
        }
        let id = test.enqueue(half::request(f64::MIN_POSITIVE));
        test.run_until_idle();
        assert_eq!(test.output::<f64>(id), f64::MIN_POSITIVE / 2.0);
    });
}

#[worker]
fn half(number: f64) -> f64 {
    number / 2.0
}
