//! Chains that branch, come together, go on later, and must not go in circles.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/letters.rs"]
mod letters;
#[path = "promise_support/mod.rs"]
mod support;

use std::thread;

use letters::{letter, number, slow_letter};
use support::{Bystanders, HOUR, RedbHome, secs};
use workman_core::steps::{Many, One};
use workman_core::{
    Chain, EnqueueError, Enqueued, ExistingWorkPolicy, Limits, Nothing, Refusal, Request, RequestError, TakesAll,
    WorkId, WorkManager, WorkQuery, worker,
};
use workman_testing::TestDriver;

#[worker]
fn twice(#[prerequisite] text: String) -> String {
    text.repeat(2)
}

#[worker]
fn count(#[prerequisite] text: String) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

#[worker]
async fn join(#[prerequisites] parts: Vec<String>) -> String {
    parts.join(" ")
}

#[worker]
async fn repeat(#[prerequisites] both: (String, u32)) -> String {
    both.0.repeat(both.1 as usize)
}

#[worker]
async fn last_of_three(#[prerequisites] parts: (String, u32, String)) -> String {
    format!("{}-{}-{}", parts.0, parts.1, parts.2)
}

#[worker]
async fn last_of_one(#[prerequisites] part: (String,)) -> String {
    part.0
}

#[worker]
fn whatever(name: String) -> String {
    name
}

fn say(text: &str) -> Request<Nothing, String> {
    letter::request(text.into())
}

fn plain(name: &str) -> Request<Nothing, String> {
    whatever::request(name.into())
}

fn on_both_stores(name: &str, test: impl Fn(TestDriver)) {
    test(TestDriver::new());
    test(TestDriver::new().store(RedbHome::new(name)));
}

/// DEP-9: without a synthetic work in between, in the order in which the chains are given.
#[test]
fn dep_9_joined_chains_give_what_comes_next_their_outputs_in_order() {
    on_both_stores("joined", |test| {
        let bystanders = Bystanders::of(&test);
        let manager = test.manager();
        let slow = manager.begin_with(slow_letter::request("a".into(), 30)).then(twice::request());
        let list = manager.combine([slow, manager.begin_with(say("b")), manager.begin_with(say("c"))]);
        let list = test.block_on(list.then(join::request()).enqueue()).unwrap();
        let tuple = (manager.begin_with(say("xy")), manager.begin_with(number::request(3)));
        let tuple = test.block_on(manager.combine(tuple).then(repeat::request()).enqueue()).unwrap();
        test.advance(secs(30));
        assert_eq!(test.block_on(list.last.as_ref().unwrap().output()).unwrap(), "aa b c");
        assert_eq!(test.block_on(tuple.last.as_ref().unwrap().output()).unwrap(), "xyxyxy");
        assert_eq!((list.ids.len(), tuple.ids.len()), (5, 3), "no work beside those that were asked for");
        bystanders.are_untouched(&test);
    });
}

#[test]
fn chains_that_share_their_beginning_run_it_once() {
    on_both_stores("shared", |test| {
        let manager = test.manager();
        let start = manager.begin_with(say("abc"));
        let both = (start.clone().then(twice::request()), start.clone().then(count::request()));
        let chain = manager.combine(both).then(repeat::request());
        let stored = test.block_on(chain.enqueue()).unwrap();
        assert_eq!(stored.ids.len(), 4);
        test.run_until_idle();
        assert_eq!(test.output::<String>(stored.ids[3]), "abcabc".repeat(3));
        let of_first = test.info(stored.ids[0]);
        assert_eq!(of_first.runs, 1);

        let three = (start.clone(), start.clone().then(count::request()), start);
        let stored = test.block_on(manager.combine(three).then(last_of_three::request()).enqueue()).unwrap();
        test.run_until_idle();
        assert_eq!(test.block_on(stored.last.unwrap().output()).unwrap(), "abc-3-abc", "the same output twice");
        assert_eq!(test.info(of_first.id).runs, 1, "it was stored by the first chain");
    });
}

#[test]
fn a_tuple_of_one_fits_behind_one_work() {
    let test = TestDriver::new();
    let chain = test.manager().begin_with(say("a")).then(last_of_one::request());
    let stored = test.block_on(chain.enqueue()).unwrap();
    test.run_until_idle();
    assert_eq!(test.block_on(stored.last.unwrap().output()).unwrap(), "a");
}

/// A step behind a joined chain fans out, and a joined chain may be the last step.
#[test]
fn joins_of_joins_and_a_fan_out_behind_them() {
    let test = TestDriver::new();
    let manager = test.manager();
    let [one, two, three, four] = ["1", "2", "3", "4"].map(|text| manager.begin_with(say(text)));
    let inner = [manager.combine([one.clone(), two]), manager.combine([three, four])];
    let chain = manager.combine(inner).then([join::request(), join::request()]);
    let stored = test.block_on(chain.enqueue()).unwrap();
    test.run_until_idle();
    assert_eq!(stored.ids.len(), 6);
    for handle in stored.last.unwrap() {
        assert_eq!(test.block_on(handle.output()).unwrap(), "1 2 3 4");
    }

    let bare = manager.combine(vec![one.clone(), manager.begin_with(say("5"))]);
    let stored = test.block_on(bare.enqueue()).unwrap();
    test.run_until_idle();
    let outputs = stored.last.unwrap().into_iter().map(|handle| test.block_on(handle.output()).unwrap());
    assert_eq!(outputs.collect::<Vec<_>>(), ["1", "5"]);
    let none: Vec<Chain<One<String>>> = Vec::new();
    let empty = manager.combine(none).then(plain("x"));
    assert!(matches!(test.block_on(empty.enqueue()), Err(EnqueueError::Empty)));
    let empty = manager.combine([one.then(Vec::<Request<Nothing, String>>::new())]).then(plain("x"));
    assert!(matches!(test.block_on(empty.enqueue()), Err(EnqueueError::EmptyStep { step: 2 })));
}

/// The union of what is before a request in all its places, in the order of declaration.
#[test]
fn a_request_in_several_places_is_one_work_that_waits_for_all_of_them() {
    let test = TestDriver::new();
    let manager = test.manager();
    let (end, other) = (join::request(), plain("x"));
    let one = manager.begin_with([say("a"), say("b")]).then(end.clone());
    let two = manager.begin_with([say("c")]).then(end.clone());
    let chain = manager.combine([one, two]).then(other);
    let stored = test.block_on(chain.enqueue()).unwrap();
    assert_eq!(stored.ids.len(), 5);
    let info = test.info(end.id());
    assert_eq!(info.prerequisites, [stored.ids[0], stored.ids[1], stored.ids[3]]);
    test.run_until_idle();
    assert_eq!(test.output::<String>(end.id()), "a b c");

    let taker = twice::request();
    let [one, two] = ["a", "b"].map(|text| manager.begin_with(say(text)).then(taker.clone()));
    let error = test.block_on(manager.combine([one, two]).enqueue()).unwrap_err();
    let EnqueueError::Request(RequestError::Prerequisites { given: 2, .. }) = error else { panic!("{error}") };
}

/// DEP-7: all of the shapes that go in circles, each named by a work that waits for itself.
#[test]
fn dep_7_works_that_wait_for_each_other_in_a_circle_are_refused_by_name() {
    let test = TestDriver::new();
    let manager = test.manager();
    let begin = |request: &Request<Nothing, String>| manager.begin_with(request.clone());
    let [a, b, c] = ["a", "b", "c"].map(plain);
    let later: Chain<One<String>> = manager.combine([begin(&a), begin(&b).then(c.clone())]).then(b.clone());
    let twice_given = manager.combine([begin(&a), begin(&a)]).then(c.clone()).then(a.clone());
    let across = manager.combine([begin(&a).then(b.clone()), begin(&b).then(a.clone())]).then(c.clone());
    let long = begin(&a).then(b.clone()).then(c.clone()).then(plain("d")).then(b.clone()).then(plain("e"));
    let beside = manager.begin_with([a.clone(), b.clone()]).then([c.clone(), plain("d")]).then([plain("e"), a.clone()]);
    let beside = beside.then(plain("f"));
    let circles: [(Chain<One<String>>, &[WorkId]); 6] = [
        (begin(&a).then(a.clone()), &[a.id()]),
        (later, &[b.id(), c.id()]),
        (twice_given, &[a.id(), c.id()]),
        (across, &[a.id(), b.id()]),
        (long, &[b.id(), c.id()]),
        (beside, &[a.id(), c.id()]),
    ];
    for (chain, in_circle) in circles {
        let error = test.block_on(chain.enqueue()).unwrap_err();
        let EnqueueError::Cycle { id, .. } = &error else { panic!("{error}") };
        assert!(in_circle.contains(id), "{error}");
        let said = error.to_string();
        assert!(said.contains(&format!("work {id} of worker \"whatever\" waits for")), "{said}");
        assert!(said.ends_with("so make a new request where the worker is to run once more"), "{said}");
    }
    assert_eq!(test.query(WorkQuery::all()), [], "nothing of them is stored");

    let stored = test.block_on(begin(&a).enqueue()).unwrap();
    let error = test.block_on(stored.then(b.clone()).then(a.clone()).enqueue()).unwrap_err();
    let through = |id| [a.id(), b.id()].contains(&id);
    assert!(matches!(error, EnqueueError::Cycle { id, .. } if through(id)), "through a stored work: {error}");
}

#[test]
fn an_id_with_two_requests_is_refused_and_so_is_a_request_beside_itself() {
    let test = TestDriver::new();
    let manager = test.manager();
    let a = plain("a");
    let other =
        [plain("other").with_id(a.id()), a.clone().tag("x"), a.clone().priority(1), a.clone().initial_delay(HOUR)];
    for other in other {
        let chain = manager.combine([manager.begin_with(a.clone()), manager.begin_with(other)]).then(plain("b"));
        let error = test.block_on(chain.enqueue()).unwrap_err();
        assert!(matches!(&error, EnqueueError::Refused(Refusal::IdReused(id)) if *id == a.id()), "{error}");
    }
    let beside = manager.begin_with(plain("first")).then([a.clone(), a.clone()]);
    let error = test.block_on(beside.enqueue()).unwrap_err();
    assert!(matches!(error, EnqueueError::SameRequestTwice(id) if id == a.id()), "{error}");
    assert_eq!(test.query(WorkQuery::all()), []);
}

#[test]
fn dep_5_a_handle_of_before_the_restart_is_gone_on_behind() {
    let test = TestDriver::new().store(RedbHome::new("restart"));
    let id = test.enqueue(say("old"));
    test.run_until_idle();
    test.crash_and_restart();
    let manager = test.manager();
    let old = test.block_on(manager.handle(letter::worker(), id)).unwrap();
    let chain = old.then([twice::request(), twice::request()]).then(join::request());
    let stored = test.block_on(chain.enqueue()).unwrap();
    assert_eq!(stored.ids.len(), 3);
    test.run_until_idle();
    assert_eq!(test.block_on(stored.last.unwrap().output()).unwrap(), "oldold oldold");
}

#[test]
fn joined_chains_are_of_one_name() {
    let test = TestDriver::new();
    let manager = test.manager();
    use ExistingWorkPolicy::{Keep, Replace};
    let named = |name: &str, policy| manager.begin_unique(name.to_owned(), policy, plain(name));
    let mut said = Vec::new();
    for other in [named("b", Keep), named("a", Replace)] {
        let chain = manager.combine([named("a", Keep), other]).then(plain("end"));
        let error = test.block_on(chain.enqueue()).unwrap_err();
        assert!(matches!(error, EnqueueError::TwoNames { .. }), "{error}");
        said.push(error.to_string());
    }
    assert!(said[0].starts_with("chains under the unique names \"a\" and \"b\" can't be joined"), "{said:?}");
    let policies = "chains under the unique name \"a\" with two policies, `Keep` and `Replace`, can't be joined";
    assert!(said[1].starts_with(policies), "{said:?}");
    let start = named("a", Keep);
    let branches = [start.clone().then(plain("x")), start.then(plain("y")), manager.begin_with(plain("z"))];
    let stored = test.block_on(manager.combine(branches).then(plain("end")).enqueue()).unwrap();
    assert_eq!(stored.how, Enqueued::Inserted);
    assert_eq!(test.query(WorkQuery::unique("a")).len(), 5, "the whole chain has the name");
}

/// In little more stack than one call needs, so that nothing may call itself.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(512 * 1024).spawn(test).unwrap().join().unwrap();
}

fn roomy() -> TestDriver {
    let mut limits: Limits = TestDriver::default_limits();
    (limits.works, limits.retained) = (20_001, 20_001);
    TestDriver::new().limits(limits)
}

fn take_all() -> Request<TakesAll<Vec<String>>, String> {
    join::request()
}

/// A ladder: each rung branches off what is before it and joins again. Copies would double with each rung.
fn ladder(manager: &WorkManager, rungs: usize) -> Chain<One<String>> {
    let mut chain = manager.begin_with(plain("start"));
    for _ in 0..rungs {
        let branches: [Chain<One<String>>; 2] = [chain.clone().then(plain("left")), chain.then(plain("right"))];
        chain = manager.combine(branches).then(plain("rung"));
    }
    chain
}

#[test]
fn ten_thousand_works_that_branch_and_join_three_thousand_times_are_stored_at_once() {
    on_a_small_stack(|| {
        let test = roomy();
        let chain = ladder(&test.manager(), 3_333);
        let stored = test.block_on(chain.clone().enqueue()).unwrap();
        assert_eq!(stored.ids.len(), 10_000);
        assert_eq!(test.info(stored.ids[9_999]).prerequisites, stored.ids[9_997..9_999]);
        let error = test.block_on(chain.then(plain("x").with_id(stored.ids[0])).enqueue()).unwrap_err();
        assert!(matches!(error, EnqueueError::Refused(Refusal::IdReused(_))), "{error}");
    });
}

#[test]
fn ten_thousand_chains_are_joined_and_what_comes_next_gets_all_their_outputs() {
    on_a_small_stack(|| {
        let test = roomy();
        let manager = test.manager();
        let start = manager.begin_with(say("a"));
        let wide: Vec<_> = (0..10_000).map(|_| start.clone().then(twice::request())).collect();
        let chain: Chain<Many<String>> = manager.combine(wide);
        let stored = test.block_on(chain.then(take_all()).enqueue()).unwrap();
        assert_eq!(stored.ids.len(), 10_002);
        test.run_until_idle();
        assert_eq!(test.output::<String>(stored.ids[10_001]).len(), 29_999);
    });
}

#[test]
fn a_circle_of_ten_thousand_works_is_found_and_a_chain_of_a_million_steps_is_dropped() {
    on_a_small_stack(|| {
        let test = roomy();
        let manager = test.manager();
        let first = plain("first");
        let mut chain = manager.begin_with(first.clone());
        for _ in 0..10_000 {
            chain = chain.then(plain("on"));
        }
        let error = test.block_on(chain.clone().then(first.clone()).enqueue()).unwrap_err();
        assert!(matches!(error, EnqueueError::Cycle { id, .. } if id == first.id()), "{error}");
        let step = plain("again");
        for _ in 0..1_000_000 {
            chain = chain.then(step.clone());
        }
        drop(chain.clone());
        drop(chain);
    });
}

#[test]
fn more_edges_than_may_be_are_counted_before_they_are_made() {
    let test = roomy();
    let wide = || (0..9_000).map(|_| plain("x")).collect::<Vec<_>>();
    let error = test.block_on(test.manager().begin_with(wide()).then(wide()).enqueue()).unwrap_err();
    assert!(matches!(error, EnqueueError::TooManyEdges { count: 81_000_000, .. }), "{error}");
}

/// The work of the name has succeeded, a step behind it still waits, and the program starts again and says its name.
#[test]
fn unq_1_and_data_6_a_name_that_is_taken_anew_leaves_the_output_that_others_wait_for() {
    for policy in [ExistingWorkPolicy::Keep, ExistingWorkPolicy::Replace] {
        on_both_stores("kept-output", |test| {
            let first = test.enqueue_unique("daily", policy, plain("a")).id;
            test.run_until_idle();
            let handle = test.block_on(test.manager().handle(whatever::worker(), first)).unwrap();
            let behind = handle.then(twice::request().initial_delay(HOUR));
            let behind = test.block_on(behind.enqueue()).unwrap().ids[0];
            let second = test.enqueue_unique("daily", policy, plain("b")).id;
            test.run_until_idle();
            assert_eq!(test.query(WorkQuery::unique("daily")).len(), 1, "the name is the new work's");
            test.advance(HOUR);
            assert_eq!((test.output::<String>(second), test.output::<String>(behind)), ("b".into(), "aa".into()));
        });
    }
}
