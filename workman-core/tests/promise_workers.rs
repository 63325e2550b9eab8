//! Kinds of workers: settled elsewhere, and item by item; and what a worker learns about its run.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use support::{Bystanders, MINUTE, secs};
use workman_core::{
    AttemptEnd, Completer, ConstraintKind, Constraints, Outcome, Payload, StopReason, WorkContext, WorkError, WorkId,
    WorkInfo, WorkQuery, WorkState, worker,
};
use workman_testing::{Signal, TestDriver};

// ---- settled elsewhere ----

#[worker]
fn download(url: String, done: Completer<usize>) {
    // As a library of the old kind, which calls back from a thread of its own.
    thread::spawn(move || match url.as_str() {
        "" => drop(done),
        "bad" => done.fail(WorkError::permanent("no such address")),
        "busy" => done.settle(Outcome::Snooze(MINUTE)),
        "slow" => done.fail(WorkError::retry_after(MINUTE).because("busy")),
        url => done.succeed(url.len()),
    });
}

#[test]
fn a_callback_on_another_thread_says_how_the_attempt_ended() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let [good, bad, slow, busy] = ["url", "bad", "slow", "busy"].map(|url| test.enqueue(download::request(url.into())));
    test.run_until_idle();
    assert_eq!(test.output::<usize>(good), 3);
    assert_eq!((test.state_of(bad), test.info(bad).failures), (WorkState::Failed, 1));
    assert_eq!(test.info(slow).last_error().unwrap().to_string(), "busy");
    assert_eq!((test.info(busy).failures, test.info(busy).runs), (0, 1));
    test.advance(MINUTE);
    assert_eq!([slow, busy].map(|id| test.info(id).runs), [2, 2]);
    bystanders.are_untouched(&test);
}

#[test]
fn a_completer_that_is_dropped_is_a_failed_attempt_that_says_so() {
    let test = TestDriver::new();
    let id = test.enqueue(download::request(String::new()));
    test.run_until_idle();
    let info = test.info(id);
    assert_eq!((info.state, info.failures), (WorkState::Enqueued, 1));
    let text = info.last_error().unwrap().to_string();
    assert_eq!(text, "the completer of worker `download` was dropped before it was settled");
    test.advance(secs(30));
    assert_eq!(test.info(id).failures, 2, "it was tried again by its backoff");
}

/// Where a worker leaves its completer, and what it heard.
#[derive(Clone, Default)]
struct Shelf {
    completers: Arc<Mutex<Vec<Completer<u32>>>>,
    heard: Arc<Mutex<Vec<StopReason>>>,
    returns: Signal,
}

impl Shelf {
    fn take(&self) -> Completer<u32> {
        self.completers.lock().unwrap().remove(0)
    }

    fn heard(&self) -> Vec<StopReason> {
        self.heard.lock().unwrap().clone()
    }
}

/// Hands its completer over, and returns when it is told to.
#[worker]
async fn shelved(#[state] shelf: Shelf, done: Completer<u32>) {
    let heard = shelf.heard.clone();
    done.on_stop(move |reason| heard.lock().unwrap().push(reason));
    shelf.completers.lock().unwrap().push(done);
    shelf.returns.wait().await;
}

fn shelf() -> (TestDriver, Shelf, WorkId) {
    let shelf = Shelf::default();
    let test = TestDriver::new().state(shelf.clone());
    test.meet(ConstraintKind::Charging);
    let id = test.enqueue(shelved::request().constraints(Constraints::new().requires_charging()));
    test.run_until_idle();
    assert_eq!(test.state_of(id), WorkState::Running);
    (test, shelf, id)
}

/// Told to stop by the loss of its constraint, after the dwell of 5 s.
fn stop(test: &TestDriver) {
    test.lose(ConstraintKind::Charging);
    test.advance(secs(5));
}

#[test]
fn can_6_a_stop_is_heard_once_by_the_holder_of_a_completer() {
    let (test, shelf, id) = shelf();
    let done = shelf.take();
    assert!(!done.is_stopped() && done.stop_reason().is_none());
    stop(&test);
    assert_eq!(shelf.heard(), [StopReason::ConstraintCharging]);
    assert!(done.is_stopped());
    assert_eq!(done.stop_reason(), Some(StopReason::ConstraintCharging));
    let late = shelf.heard.clone();
    done.on_stop(move |reason| late.lock().unwrap().push(reason));
    assert_eq!(shelf.heard().len(), 2, "whoever asks after the stop is called at once");
    done.fail("cancelled");
    shelf.returns.set();
    test.run_until_idle();
    let info = test.info(id);
    assert_eq!((info.failures, info.interruptions, shelf.heard().len()), (0, 1, 2));
    assert!(matches!(info.attempts[0].end, AttemptEnd::Interrupted { .. }), "{:?}", info.attempts);
}

#[test]
fn a_completer_that_is_dropped_after_a_stop_is_an_interruption() {
    let (test, shelf, id) = shelf();
    stop(&test);
    drop(shelf.take());
    shelf.returns.set();
    test.run_until_idle();
    assert_eq!((test.info(id).failures, test.info(id).interruptions), (0, 1));
}

#[test]
fn a_completer_may_still_succeed_within_the_grace_period() {
    let (test, shelf, id) = shelf();
    stop(&test);
    test.advance(secs(9));
    shelf.take().succeed(8);
    shelf.returns.set();
    test.run_until_idle();
    assert_eq!(test.output::<u32>(id), 8);
}

#[test]
fn a_completer_gives_the_context_of_its_attempt() {
    let (test, shelf, id) = shelf();
    let done = shelf.take();
    done.context().set_progress(&50).unwrap();
    done.context().save_checkpoint(&5).unwrap();
    assert_eq!((done.context().id(), done.context().fencing_token()), (id, 1));
    test.run_until_idle();
    assert_eq!(test.info(id).progress, Some(Payload::encode(&50).unwrap()));
    done.succeed(1);
    shelf.returns.set();
    test.run_until_idle();
    assert_eq!((test.state_of(id), test.info(id).progress), (WorkState::Succeeded, None));
}

#[test]
fn a_worker_with_a_completer_holds_a_slot_for_async_workers_until_it_is_settled() {
    let mut limits = TestDriver::default_limits();
    limits.async_slots = 1;
    let shelf = Shelf::default();
    let test = TestDriver::new().limits(limits).state(shelf.clone());
    let ids = [1, 2].map(|_| test.enqueue(shelved::request()));
    test.run_until_idle();
    let running = || test.query(WorkQuery::in_state(WorkState::Running)).len();
    assert_eq!(running(), 1);
    shelf.take().succeed(1);
    test.run_until_idle();
    assert_eq!(running(), 1, "its function has not returned");
    assert!(shelf.completers.lock().unwrap().is_empty(), "so the other has not begun");
    shelf.returns.set();
    settle_as_they_come(&shelf);
    test.run_until_idle();
    assert!(ids.iter().all(|id| test.state_of(*id) == WorkState::Succeeded));
}

/// From a thread, as the world would.
fn settle_as_they_come(shelf: &Shelf) {
    let completers = Arc::clone(&shelf.completers);
    thread::spawn(move || {
        loop {
            let next = completers.lock().unwrap().pop();
            match next {
                Some(done) => return done.succeed(2),
                None => thread::yield_now(),
            }
        }
    });
}

// ---- item by item ----

/// Gives each number after a second.
#[worker]
async fn counts(to: u32, cx: WorkContext) -> impl Stream<Item = Result<u32, WorkError>> {
    stream::iter(1..=to).then(move |number| {
        let cx = cx.clone();
        async move {
            cx.sleep(secs(1)).await?;
            Ok(number)
        }
    })
}

fn progress(info: &WorkInfo) -> Option<u32> {
    info.progress.as_ref().map(|progress| progress.decode().unwrap())
}

/// Counts the streams that were dropped.
#[derive(Clone, Default)]
struct Drops(Arc<AtomicU64>);

struct Dropped(Drops);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[worker]
fn never_stops(#[state] drops: Drops, #[state] never: Signal) -> BoxStream<'static, u32> {
    let guard = Dropped(drops);
    let wait = move |number| {
        let (never, _) = (never.clone(), &guard);
        async move {
            if number > 1 {
                never.wait().await;
            }
            number
        }
    };
    stream::iter(1..).then(wait).boxed()
}

#[test]
fn a_stop_between_two_items_interrupts_and_drops_the_stream_at_once() {
    let drops = Drops::default();
    let test = TestDriver::new().state(drops.clone()).state(Signal::new());
    test.meet(ConstraintKind::Charging);
    let id = test.enqueue(never_stops::request().constraints(Constraints::new().requires_charging()));
    test.run_until_idle();
    assert_eq!((progress(&test.info(id)), drops.0.load(Ordering::SeqCst)), (Some(1), 0));
    test.lose(ConstraintKind::Charging);
    test.advance(secs(5));
    let info = test.info(id);
    assert_eq!((info.state, info.failures, info.interruptions), (WorkState::Enqueued, 0, 1));
    assert_eq!(drops.0.load(Ordering::SeqCst), 1);
}

#[worker]
fn fails_after(items: u32) -> Pin<Box<dyn Stream<Item = Result<u32, String>> + Send>> {
    Box::pin(stream::iter((0..items).map(Ok).chain([Err("torn".to_owned()), Ok(9)])))
}

#[test]
fn an_item_that_is_an_error_is_a_failed_attempt_and_so_is_a_stream_without_items() {
    let test = TestDriver::new();
    let torn = test.enqueue(fails_after::request(2));
    let empty = test.enqueue(counts::request(0));
    test.run_until_idle();
    let error = |id| test.info(id).last_error().unwrap().to_string();
    assert_eq!(error(torn), "torn");
    assert_eq!(error(empty), "the stream of worker `counts` gave no item: its last item would be the output");
    assert_eq!([torn, empty].map(|id| test.info(id).failures), [1, 1]);
}

#[worker]
fn grows(sizes: Vec<usize>) -> impl Stream<Item = String> {
    stream::iter(sizes).map(|size| "x".repeat(size))
}

#[test]
fn only_the_last_item_may_be_too_large_for_progress() {
    let mut limits = TestDriver::default_limits();
    limits.progress = 102;
    let test = TestDriver::new().limits(limits);
    let fits = test.enqueue(grows::request(vec![1, 100, 5_000]));
    let early = test.enqueue(grows::request(vec![1, 101, 2]));
    test.run_until_idle();
    assert_eq!(test.output::<String>(fits).len(), 5_000);
    let error = test.info(early).last_error().unwrap().to_string();
    let wanted =
        "item 2 of the stream of worker `grows` has 103 bytes, and the limit of progress is 102: only the last item";
    assert!(error.starts_with(wanted), "{error}");
}

#[worker]
fn always_ready() -> impl Stream<Item = u64> {
    stream::iter(0..)
}

/// A stream that never waits gives way after each item, so it hears of its stop.
#[test]
fn a_stream_that_is_always_ready_does_not_keep_the_runtime_to_itself() {
    use workman_core::seams::block_on;
    use workman_core::{MemoryStore, ThreadRuntime, WorkManager, WorkSelector};

    let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start().unwrap();
    let work = block_on(manager.enqueue(always_ready::request())).unwrap();
    let mut infos = work.watch();
    while block_on(infos.next()).unwrap().progress.is_none() {}
    assert_eq!(block_on(manager.cancel(WorkSelector::id(work.id()))).unwrap(), 1);
    assert_eq!(block_on(manager.shutdown(Duration::from_secs(60))).given_up, []);
}

// ---- what a worker learns ----

#[worker]
fn introduces(cx: &WorkContext, name: String) -> Result<(u32, String, String), WorkError> {
    #[derive(serde::Deserialize)]
    struct Whole {
        name: String,
    }
    assert_eq!(cx.input::<Whole>()?.name, name);
    Ok((cx.generation(), cx.trace_tag().to_owned(), name))
}

#[test]
fn a_run_knows_the_generation_with_which_it_began_and_its_trace_tag() {
    let test = TestDriver::new();
    let request = introduces::request("old".into()).initial_delay(MINUTE);
    let id = test.enqueue(request);
    let update = introduces::request("new".into()).with_id(id).trace_tag("morning");
    test.block_on(test.manager().update(update)).unwrap();
    let plain = test.enqueue(introduces::request("plain".into()));
    test.run_until_idle();
    assert_eq!(test.output::<(u32, String, String)>(id), (1, "morning".into(), "new".into()));
    assert_eq!(test.output::<(u32, String, String)>(plain), (0, "introduces".into(), "plain".into()));
}
