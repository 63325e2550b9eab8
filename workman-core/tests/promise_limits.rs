//! Each number that a program may give means what it says at its ends: nothing, one, and as much as can be said.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::time::Duration;

use support::{DAY, secs};
use workman_core::{
    ExistingWorkPolicy, Limits, OutOfQuotaPolicy, QueryError, ThreadRuntime, WorkContext, WorkId, WorkQuery, WorkState,
    worker,
};
use workman_testing::TestDriver;

/// Uses what has a limit: an input, progress, a checkpoint, an output.
#[worker]
async fn uses_all(cx: &WorkContext, text: String) -> Result<String, String> {
    let said = cx.set_progress(&text).err().map(|error| error.to_string());
    let saved = cx.save_checkpoint(&text).err().map(|error| error.to_string());
    match said.or(saved) {
        Some(refused) => Err(refused),
        None => Ok(text),
    }
}

#[worker]
fn uses_a_thread(text: String) -> usize {
    text.len()
}

#[worker]
fn joins(#[prerequisites] texts: Vec<usize>, own: u32) -> usize {
    texts.len() + own as usize
}

#[worker(max_attempts = 1)]
fn fails() -> Result<(), String> {
    Err("it did not work".to_owned())
}

fn with(change: impl Fn(&mut Limits)) -> TestDriver {
    let mut limits = TestDriver::default_limits();
    change(&mut limits);
    TestDriver::new().limits(limits)
}

fn text() -> String {
    "text".to_owned()
}

/// A little of everything; answers the states of an async work, a blocking one, one behind two others, and one that fails.
fn a_day_of(test: &TestDriver) -> Option<[WorkState; 4]> {
    let polled = test.try_enqueue(uses_all::request(text())).ok()?;
    let called = test.try_enqueue(uses_a_thread::request(text())).ok()?;
    let fails = test.try_enqueue(fails::request()).ok()?;
    let chain = test.manager().begin_with(vec![uses_a_thread::request(text()), uses_a_thread::request(text())]);
    let chain = test.block_on(chain.then(joins::request(2)).enqueue()).ok()?;
    test.advance(secs(59));
    let last = *chain.ids.last().unwrap();
    Some([polled, called, last, fails].map(|id| test.find(id).map_or(WorkState::Cancelled, |info| info.state)))
}

use WorkState::{Blocked, Enqueued, Failed, Succeeded};

const WELL: [WorkState; 4] = [Succeeded, Succeeded, Succeeded, Failed];

type Set<T> = fn(&mut Limits, T);

#[test]
fn as_much_as_can_be_said_is_no_limit_and_no_error() {
    let sizes: [Set<usize>; 14] = [
        |limits, most| limits.payload = most,
        |limits, most| limits.progress = most,
        |limits, most| limits.error_text = most,
        |limits, most| limits.tags = most,
        |limits, most| limits.tag = most,
        |limits, most| limits.name = most,
        |limits, most| limits.works = most,
        |limits, most| limits.edges = most,
        |limits, most| limits.prerequisites = most,
        |limits, most| limits.query = most,
        |limits, most| limits.async_slots = most,
        |limits, most| limits.blocking_slots = most,
        |limits, most| limits.retained = most,
        |limits, most| limits.expedited_slots = most,
    ];
    for (at, set) in sizes.into_iter().enumerate() {
        assert_eq!(a_day_of(&with(|limits| set(limits, usize::MAX))), Some(WELL), "number {at}");
    }
    let lengths: [Set<Duration>; 5] = [
        |limits, most| limits.grace = most,
        |limits, most| limits.dwell = most,
        |limits, most| limits.retention = most,
        |limits, most| limits.expedited_budget = most,
        |limits, most| limits.progress_delay = most,
    ];
    for (at, set) in lengths.into_iter().enumerate() {
        assert_eq!(a_day_of(&with(|limits| set(limits, Duration::MAX))), Some(WELL), "length {at}");
        assert_eq!(a_day_of(&with(|limits| set(limits, Duration::ZERO))), Some(WELL), "length {at} of nothing");
    }
    let all = with(|limits| {
        sizes.iter().for_each(|set| set(limits, usize::MAX));
        lengths.iter().for_each(|set| set(limits, Duration::MAX));
    });
    assert_eq!(a_day_of(&all), Some(WELL));
    assert_eq!(all.query(WorkQuery::all()).len(), 6);
    let expedited = uses_all::request(text()).expedited(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest);
    let expedited = all.enqueue(expedited);
    all.run_until_idle();
    assert_eq!(all.state_of(expedited), Succeeded);
}

#[test]
fn with_no_slots_of_a_kind_its_work_waits_and_says_so_and_one_slot_is_one() {
    let test = with(|limits| limits.async_slots = 0);
    assert_eq!(a_day_of(&test), Some([Enqueued, Succeeded, Succeeded, Failed]));
    let test = with(|limits| limits.blocking_slots = 0);
    assert_eq!(a_day_of(&test), Some([Succeeded, Enqueued, Blocked, Enqueued]));
    let test = with(|limits| (limits.async_slots, limits.blocking_slots) = (1, 1));
    assert_eq!(a_day_of(&test), Some(WELL));
    let test = with(|limits| (limits.async_slots, limits.expedited_slots) = (0, 1));
    let expedited = test.enqueue(uses_all::request(text()).expedited(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest));
    test.run_until_idle();
    assert_eq!(test.state_of(expedited), Succeeded, "it has a slot of its own");
    let test = with(|limits| (limits.async_slots, limits.expedited_slots) = (1, 0));
    let expedited = test.enqueue(uses_all::request(text()).expedited(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest));
    test.run_until_idle();
    assert_eq!(test.state_of(expedited), Succeeded, "it has the others'");
    let test = with(|limits| limits.expedited_budget = Duration::ZERO);
    let dropped = test.enqueue(uses_all::request(text()).expedited(OutOfQuotaPolicy::DropWorkRequest));
    test.run_until_idle();
    assert_eq!(test.state_of(dropped), WorkState::Cancelled, "no budget is none");
}

#[test]
fn a_limit_of_nothing_refuses_whatever_is_more_and_a_limit_of_one_whatever_is_more_than_that() {
    let enqueued = |test: &TestDriver| test.try_enqueue(uses_all::request(text())).map(drop);
    for limit in [0, 1] {
        let test = with(|limits| limits.payload = limit);
        assert!(enqueued(&test).unwrap_err().to_string().contains("the limit is"), "an input has more bytes");
        let test = with(|limits| limits.name = limit);
        let named = |name: &str| {
            let (manager, request) = (test.manager(), uses_all::request(text()));
            test.block_on(manager.enqueue_unique(name, ExistingWorkPolicy::Keep, request)).is_ok()
        };
        assert_eq!((named("n"), named("no")), (limit == 1, false));
        let tagged = |tag: &str| uses_all::request(text()).tag(tag);
        let test = with(|limits| limits.tag = limit);
        assert!(test.try_enqueue(tagged("ab")).is_err());
        assert_eq!(test.try_enqueue(tagged("a")).is_ok(), limit == 1);
        let test = with(|limits| limits.tags = limit);
        assert!(test.try_enqueue(tagged("a").tag("b")).is_err());
        assert_eq!(test.try_enqueue(tagged("a")).is_ok(), limit == 1);
        let test = with(|limits| limits.works = limit);
        assert_eq!(enqueued(&test).is_ok(), limit == 1);
        let (manager, pair) = (test.manager(), [uses_all::request(text()), uses_all::request(text())]);
        assert!(test.block_on(manager.enqueue_all(pair)).is_err());
        let test = with(|limits| limits.edges = limit);
        let pair = |test: &TestDriver, first: usize| {
            let first = (0..first).map(|_| uses_a_thread::request(text())).collect::<Vec<_>>();
            let chain = test.manager().begin_with(first).then(joins::request(2));
            test.block_on(chain.enqueue()).map(drop)
        };
        assert_eq!((pair(&test, 1).is_ok(), pair(&test, 2).is_ok()), (limit == 1, false));

        let test = with(|limits| limits.progress = limit);
        let work = test.enqueue(uses_all::request(text()));
        test.run_until_idle();
        assert_eq!((test.state_of(work), test.info(work).failures), (Enqueued, 1));
        let test = with(|limits| limits.error_text = limit);
        let work = test.enqueue(fails::request());
        test.run_until_idle();
        assert_eq!(test.state_of(work), Failed);
        assert!(test.info(work).last_error().unwrap().to_string().len() <= limit);
        let test = with(|limits| limits.prerequisites = limit);
        pair(&test, 2).unwrap();
        test.run_until_idle();
        let parked = test.query(WorkQuery::parked());
        assert_eq!(parked.len(), 1, "what it takes is larger");
        let test = with(|limits| limits.query = limit);
        enqueued(&test).unwrap();
        let found = test.block_on(test.manager().query(WorkQuery::all()));
        assert_eq!(found.is_ok(), limit == 1);
        enqueued(&test).unwrap();
        assert!(matches!(test.block_on(test.manager().query(WorkQuery::all())), Err(QueryError::TooMany { .. })));
    }
}

#[test]
fn finished_work_that_shall_not_be_kept_at_all_is_there_for_a_minute_and_then_goes() {
    for set in [(|limits| limits.retained = 0) as fn(&mut Limits), |limits| limits.retention = Duration::ZERO] {
        let test = with(set);
        let work = test.enqueue(uses_a_thread::request(text()));
        test.run_until_idle();
        assert_eq!(test.output::<usize>(work), 4);
        test.advance(DAY);
        assert!(test.find(work).is_none());
    }
    let test = with(|limits| limits.retained = 1);
    let works = [(); 3].map(|()| test.enqueue(uses_a_thread::request(text())));
    test.advance(DAY / 2);
    assert_eq!(works.into_iter().filter(|id: &WorkId| test.find(*id).is_some()).count(), 1);
}

#[test]
fn a_built_in_runtime_of_no_threads_has_one_and_of_many_has_no_more_than_it_needs() {
    use futures::executor::block_on;
    use workman_core::{MemoryStore, WorkManager};

    for threads in [0, 1, usize::MAX] {
        let runtime = ThreadRuntime::with_threads(threads);
        let manager = WorkManager::builder(MemoryStore::new()).runtime(runtime).start().unwrap();
        let work = block_on(manager.enqueue(uses_all::request(text()))).unwrap();
        assert_eq!(block_on(work.output()).unwrap(), "text");
        let report = block_on(manager.shutdown(Duration::ZERO));
        assert_eq!(report.error, None);
    }
}
