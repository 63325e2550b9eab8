//! Chains: what runs after what, what it is given, and what a failure or a cancellation takes along.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/letters.rs"]
mod letters;
#[path = "promise_support/mod.rs"]
mod support;

use letters::{letter, number, slow_letter};
use support::{Bystanders, HOUR, MINUTE, secs};
use workman_core::{Limits, WorkContext, WorkError, WorkId, WorkQuery, WorkSelector, WorkState, worker};
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
async fn fails(permanently: bool) -> Result<String, WorkError> {
    if permanently { Err(WorkError::permanent("gone")) } else { Err("offline".into()) }
}

/// DEP-1, DATA: a step begins when all of the step before have succeeded, and gets their outputs in declaration order.
#[test]
fn dep_1_and_data_1_a_fan_in_gets_its_outputs_in_the_order_of_declaration() {
    for seed in 0..10 {
        let test = TestDriver::with_seed(seed);
        let bystanders = Bystanders::of(&test);
        let letters = ["a", "b", "c", "d", "e"];
        let parts: Vec<_> = (0..5).map(|at| slow_letter::request(letters[at].into(), 50 - 10 * at as u64)).collect();
        let chain = test.manager().begin_with(parts).then(join::request("!".into())).then(twice::request());
        let ids = test.block_on(chain.enqueue()).unwrap().ids;
        test.run_until_idle();
        assert_eq!(test.info(ids[5]).open_prerequisites, 5);
        test.advance(secs(49));
        assert_eq!((test.state_of(ids[5]), test.info(ids[5]).open_prerequisites), (WorkState::Blocked, 1));
        test.advance(secs(1));
        assert_eq!(test.output::<String>(ids[5]), "abcde!");
        assert_eq!(test.output::<String>(ids[6]), "abcde!abcde!");
        bystanders.are_untouched(&test);
    }
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

/// DEP-1: the initial delay of a dependent counts from the moment at which it is unblocked.
#[test]
fn dep_1_a_delay_in_a_chain_counts_from_the_unblocking() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let first = slow_letter::request("a".into(), 100);
    let chain = test.manager().begin_with(first).then(twice::request().initial_delay(MINUTE));
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    test.advance(secs(100));
    let info = test.info(ids[1]);
    assert_eq!((info.state, info.next_run), (WorkState::Enqueued, Some(info.created + secs(160))));
    test.advance(secs(59));
    assert_eq!(test.state_of(ids[1]), WorkState::Enqueued);
    test.advance(secs(1));
    assert_eq!(test.state_of(ids[1]), WorkState::Succeeded);
    bystanders.are_untouched(&test);
}

/// DEP-2: a failure takes along all that depends on it, and nothing else; a retry takes nobody along.
#[test]
fn dep_2_and_dep_4_a_failure_fails_all_that_depends_on_it_and_no_sibling() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let good = letter::request("good".into());
    let bad = fails::request(true);
    let side_by_side = vec![good, bad];
    let chain = test.manager().begin_with(letter::request("first".into())).then(side_by_side);
    let chain = chain.then(join::request(String::new())).then(twice::request()).then(twice::request());
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    test.run_until_idle();
    let states: Vec<WorkState> = ids.iter().map(|id| test.state_of(*id)).collect();
    use WorkState::{Failed, Succeeded};
    assert_eq!(states, [Succeeded, Succeeded, Failed, Failed, Failed, Failed]);
    for id in &ids[3..] {
        let info = test.info(*id);
        assert_eq!((info.runs, info.failures, info.output), (0, 0, None), "it never ran");
    }
    bystanders.are_untouched(&test);
}

#[test]
fn a_retry_leaves_its_dependents_blocked() {
    let test = TestDriver::new();
    let chain = test.manager().begin_with(fails::request(false).max_attempts(2)).then(twice::request());
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    test.advance(secs(29));
    assert_eq!(test.state_of(ids[1]), WorkState::Blocked);
    test.advance(secs(1));
    assert_eq!(test.state_of(ids[1]), WorkState::Failed, "the last attempt failed");
}

/// CAN-4, DEP-3: a cancellation takes along all that depends on the work, but nothing that is finished.
#[test]
fn can_1_and_dep_3_a_cancellation_cancels_all_that_depends_on_it_and_nothing_finished() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let chain = test.manager().begin_with(letter::request("a".into())).then(slow_join());
    let chain = chain.then([twice::request(), twice::request()]).then(join::request(String::new()));
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    test.run_until_idle();
    assert_eq!(test.state_of(ids[1]), WorkState::Running);
    assert_eq!(test.cancel(WorkSelector::id(ids[1])), 4);
    test.advance(HOUR);
    let states: Vec<WorkState> = ids.iter().map(|id| test.state_of(*id)).collect();
    use WorkState::{Cancelled, Succeeded};
    assert_eq!(states, [Succeeded, Cancelled, Cancelled, Cancelled, Cancelled]);
    bystanders.are_untouched(&test);
}

fn slow_join() -> workman_core::Request<workman_core::TakesAll<Vec<String>>, String> {
    slowly::request()
}

#[worker]
async fn slowly(#[prerequisites] parts: Vec<String>, cx: &WorkContext) -> Result<String, WorkError> {
    cx.sleep(HOUR).await?;
    Ok(parts.concat())
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
        crowd(&test, deep, fails::request(true));
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
