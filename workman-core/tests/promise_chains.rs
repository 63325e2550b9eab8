//! Chains of different workers, and chains of ten thousand works, deep or wide.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/letters.rs"]
mod letters;
#[path = "promise_support/mod.rs"]
mod support;

use letters::{letter, number, slow_letter};
use support::Bystanders;
use workman_core::{Limits, WorkError, WorkId, WorkQuery, WorkSelector, WorkState, worker};
use workman_testing::TestDriver;

#[worker]
async fn join(#[prerequisites] parts: Vec<String>, end: String) -> String {
    parts.concat() + &end
}

#[worker]
fn twice(#[prerequisite] text: String) -> String {
    text.repeat(2)
}

#[worker]
async fn repeat(#[prerequisites] both: (String, u32)) -> String {
    both.0.repeat(both.1 as usize)
}

#[worker]
async fn fails() -> Result<String, WorkError> {
    Err(WorkError::permanent("gone"))
}

#[test]
fn different_workers_side_by_side_give_a_tuple_and_a_single_one_a_list() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let chain = test.manager().begin_with((letter::request("ab".into()), number::request(3))).then(repeat::request());
    let tuple = test.block_on(chain.enqueue()).unwrap();
    let chain = test.manager().begin_with(letter::request("x".into())).then(join::request("y".into()));
    let list = test.block_on(chain.enqueue()).unwrap();
    test.run_until_idle();
    assert_eq!(test.block_on(tuple.last.unwrap().output()).unwrap(), "ababab");
    assert_eq!(test.block_on(list.last.unwrap().output()).unwrap(), "xy");
    bystanders.are_untouched(&test);
}

fn roomy() -> Limits {
    let mut limits = TestDriver::default_limits();
    (limits.works, limits.retained) = (20_001, 20_001);
    limits
}

/// A chain of one work that fails or is cancelled, and a crowd behind it.
fn crowd(test: &TestDriver, deep: bool, first: workman_core::Request<workman_core::Nothing, String>) -> Vec<WorkId> {
    let chain = test.manager().begin_with(first);
    let stored = if deep {
        let mut chain = chain.then(twice::request());
        for _ in 1..10_000 {
            chain = chain.then(twice::request());
        }
        test.block_on(chain.enqueue()).unwrap().ids
    } else {
        let wide: Vec<_> = (0..10_000).map(|_| twice::request()).collect();
        test.block_on(chain.then(wide).then(join::request(String::new())).enqueue()).unwrap().ids
    };
    assert!(stored.len() > 10_000);
    stored
}

fn all_are(test: &TestDriver, state: WorkState, count: usize) {
    assert_eq!(test.query(WorkQuery::in_state(state).tagged("twice")).len(), count);
}

/// DEP-2, DEP-3, law 8: however deep or wide, in bounded commits.
#[test]
fn dep_2_and_dep_3_ten_thousand_dependents_fail_or_are_cancelled_with_the_work_that_they_depend_on() {
    for deep in [true, false] {
        let test = TestDriver::new().limits(roomy());
        let bystanders = Bystanders::of(&test);
        crowd(&test, deep, fails::request());
        test.run_until_idle();
        all_are(&test, WorkState::Failed, 10_000);

        let ids = crowd(&test, deep, slow_letter::request("a".into(), 10));
        test.run_until_idle();
        assert_eq!(test.cancel(WorkSelector::id(ids[0])), ids.len().min(10_001), "the rest follows");
        test.run_until_idle();
        all_are(&test, WorkState::Cancelled, 10_000);
        bystanders.are_untouched(&test);
    }
}

#[test]
fn ten_thousand_works_side_by_side_all_run_and_join() {
    let test = TestDriver::new().limits(roomy());
    let bystanders = Bystanders::of(&test);
    let ids = crowd(&test, false, letter::request("a".into()));
    test.run_until_idle();
    all_are(&test, WorkState::Succeeded, 10_000);
    assert_eq!(test.output::<String>(*ids.last().unwrap()).len(), 20_000);
    bystanders.are_untouched(&test);
}
