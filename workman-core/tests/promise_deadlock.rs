//! A worker that waits for work which waits for that worker is told so, and nothing else is taken for that.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use futures::stream::{self, Stream};
use support::{Bystanders, MINUTE};
use workman_core::seams::block_on;
use workman_core::{
    Completer, Enqueued, ExistingWorkPolicy, Explanation, MemoryStore, OutputError, ThreadRuntime, WorkContext,
    WorkError, WorkId, WorkManager, WorkQuery, WorkState, worker,
};
use workman_testing::TestDriver;

/// A manager for a worker, which gives it up when it is done with it: a manager that its own workers hold would never end.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Option<WorkManager>>>);

impl Desk {
    fn take(&self) -> WorkManager {
        self.0.lock().unwrap().take().unwrap()
    }

    fn give(&self, manager: WorkManager) {
        *self.0.lock().unwrap() = Some(manager);
    }
}

fn test() -> (TestDriver, Desk) {
    let desk = Desk::default();
    let test = TestDriver::new().state(desk.clone());
    desk.give(test.manager());
    (test, desk)
}

#[worker]
fn step(number: u32) -> u32 {
    number
}

/// What a worker heard when it waited for this work.
async fn awaited(manager: &WorkManager, id: WorkId) -> Result<String, WorkError> {
    let handle = manager.handle(step::worker(), id).await?;
    Ok(match handle.output().await {
        Err(error @ OutputError::Deadlock { .. }) => error.to_string(),
        other => format!("{other:?}"),
    })
}

/// Appends steps to a name and waits for the last of them.
async fn append_and_await(desk: &Desk, name: &str, steps: u32) -> Result<String, WorkError> {
    let manager = desk.take();
    let mut last = step::request(0);
    let mut chain = manager.begin_unique(name, ExistingWorkPolicy::Append, last.clone());
    for number in 1..steps {
        last = step::request(number);
        chain = chain.then(last.clone());
    }
    let enqueued = chain.enqueue().await?;
    assert!(matches!(enqueued.how, Enqueued::Appended(_) | Enqueued::Inserted), "{:?}", enqueued.how);
    awaited(&manager, last.id()).await
}

#[worker]
async fn appends(#[state] desk: Desk, steps: u32) -> Result<String, WorkError> {
    append_and_await(&desk, "mine", steps).await
}

#[worker]
fn appends_blocking(#[state] desk: Desk, steps: u32) -> Result<String, WorkError> {
    block_on(append_and_await(&desk, "mine", steps))
}

#[worker]
async fn appends_completing(#[state] desk: Desk, done: Completer<String>, steps: u32) -> Result<(), WorkError> {
    done.succeed(append_and_await(&desk, "mine", steps).await?);
    Ok(())
}

#[worker]
fn appends_streaming(#[state] desk: Desk, steps: u32) -> impl Stream<Item = Result<String, WorkError>> {
    stream::once(async move { append_and_await(&desk, "mine", steps).await })
}

/// Semantics, line 4: there it waits for ever (DEP-8), here it hears of it at once, whatever kind of worker it is.
#[test]
fn dep_8_a_worker_that_appends_to_its_own_name_and_awaits_that_is_refused() {
    let requests = [
        appends::request(1),
        appends_blocking::request(1),
        appends_completing::request(1),
        appends_streaming::request(1),
    ];
    for request in requests {
        let (test, _desk) = test();
        let bystanders = Bystanders::of(&test);
        let id = request.id();
        test.enqueue_unique("mine", ExistingWorkPolicy::Keep, request);
        test.run_until_idle();
        let heard: String = test.output(id);
        let worker = test.info(id).worker;
        assert!(
            heard.starts_with(&format!("deadlock: work {id} of worker \"{worker}\" waits for the output of ")),
            "{heard}"
        );
        let appended = test.query(WorkQuery::tag("step"));
        assert_eq!(appended.iter().map(|info| info.state).collect::<Vec<_>>(), [WorkState::Succeeded]);
        bystanders.are_untouched(&test);
    }
}

/// The way from the awaited work back to the one that runs may be long, and wide.
#[test]
fn dep_8_a_circle_through_many_stored_works_is_seen() {
    let (test, _desk) = test();
    let id = test.enqueue_unique("mine", ExistingWorkPolicy::Keep, appends::request(1_000)).id;
    test.run_until_idle();
    assert!(test.output::<String>(id).starts_with("deadlock"));
}

#[worker]
async fn awaits_itself(cx: &WorkContext, #[state] desk: Desk) -> Result<String, WorkError> {
    let handle = desk.take().handle(awaits_itself::worker(), cx.id()).await?;
    match handle.output().await {
        Err(error @ OutputError::Deadlock { .. }) => Ok(error.to_string()),
        other => Ok(format!("{other:?}")),
    }
}

#[test]
fn a_worker_that_awaits_its_own_output_is_refused() {
    let (test, _desk) = test();
    let id = test.enqueue(awaits_itself::request());
    test.run_until_idle();
    let own = format!("deadlock: worker \"awaits_itself\" waits for the output of its own work {id}");
    let heard: String = test.output(id);
    assert!(heard.starts_with(&own), "{heard}");
}

#[worker]
async fn awaits(#[state] desk: Desk, id: u128) -> Result<String, WorkError> {
    let manager = desk.take();
    awaited(&manager, WorkId::from_u128(id)).await
}

#[test]
fn waiting_for_work_that_goes_on_without_the_worker_is_no_deadlock() {
    let (test, desk) = test();
    let chain = test.manager().begin_with(step::request(1).initial_delay(MINUTE)).then(step::request(2));
    let later = test.block_on(chain.enqueue()).unwrap().ids;
    let waiting = [later[0], later[1]].map(|id| {
        let waiting = test.enqueue(awaits::request(id.as_u128()));
        test.run_until_idle();
        desk.give(test.manager());
        waiting
    });
    drop(desk.take());
    assert!(waiting.iter().all(|id| test.state_of(*id) == WorkState::Running));
    test.advance(MINUTE);
    assert_eq!(waiting.map(|id| test.output::<String>(id)), ["Ok(1)", "Ok(2)"]);
}

/// Whoever is no worker may wait for anything.
#[test]
fn waiting_outside_of_a_worker_is_no_deadlock() {
    let (test, _desk) = test();
    let request = step::request(1);
    let id = test.enqueue(request.initial_delay(MINUTE));
    let manager = test.manager();
    let handle = test.block_on(manager.handle(step::worker(), id)).unwrap();
    let output = test.block_on(futures::future::join(handle.output(), async { test.clock().advance(MINUTE) })).0;
    assert_eq!(output.unwrap(), 1);
}

#[worker]
fn runs_another_manager(cx: &WorkContext) -> Result<u32, WorkError> {
    let inner = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
    let work = block_on(inner.enqueue(step::request(8).with_id(cx.id())))?;
    Ok(block_on(work.output())?)
}

/// The same id in another store is another work.
#[test]
fn a_worker_may_wait_for_work_of_its_own_id_in_another_store() {
    let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start().unwrap();
    let work = block_on(manager.enqueue(runs_another_manager::request())).unwrap();
    assert_eq!(block_on(work.output()).unwrap(), 8);
}

#[worker]
async fn awaits_elsewhere(#[state] desk: Desk, cx: &WorkContext) -> Result<String, WorkError> {
    let manager = desk.take();
    let handle = manager.handle(awaits_elsewhere::worker(), cx.id()).await?;
    Ok(handle.output().await.unwrap_or_else(|error| error.to_string()))
}

/// The store is what counts, not the manager: a program may enqueue with one and run with another.
#[test]
fn a_second_manager_on_the_same_store_sees_the_same_circle() {
    let store = Arc::new(MemoryStore::new());
    let desk = Desk::default();
    let runs = WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new()).state(desk.clone()).start();
    let runs = runs.unwrap();
    desk.give(WorkManager::builder(store).runtime(ThreadRuntime::new()).enqueue_only().start().unwrap());
    let work = block_on(runs.enqueue(awaits_elsewhere::request())).unwrap();
    let heard = block_on(work.output()).unwrap();
    assert!(heard.starts_with("deadlock"), "{heard}");
}

#[worker]
async fn child() -> u32 {
    3
}

#[worker]
async fn parent(#[state] desk: Desk) -> Result<u32, WorkError> {
    let manager = desk.take();
    let child = manager.enqueue(child::request()).await?;
    desk.give(manager);
    Ok(child.output().await?)
}

#[test]
fn work_that_a_worker_awaits_while_it_holds_the_last_slot_is_said_to_have_none() {
    let desk = Desk::default();
    let mut limits = TestDriver::default_limits();
    limits.async_slots = 1;
    let test = TestDriver::new().limits(limits).state(desk.clone());
    desk.give(test.manager());
    let parent = test.enqueue(parent::request().timeout(MINUTE).max_attempts(1));
    test.run_until_idle();
    let child = test.query(WorkQuery::tag("child")).remove(0).id;
    assert_eq!((test.state_of(parent), test.explain(child)), (WorkState::Running, Explanation::NoSlot));
    test.advance(2 * MINUTE);
    assert_eq!(
        (test.state_of(parent), test.output::<u32>(child)),
        (WorkState::Failed, 3),
        "the timeout frees the slot"
    );
    drop(desk.take());
}
