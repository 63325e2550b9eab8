//! What the driver promises those who test with it: nothing hangs, nothing is silent, and a seed repeats everything.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::stream::{self, Stream, StreamExt};
use workman_core::plan::End;
use workman_core::{Completer, StopReason, WorkContext, WorkError, WorkState, Worker, worker};
use workman_testing::{Signal, TestDriver, TestWorker};

/// Long enough to be seen to wait, short enough for a test.
const PATIENCE: Duration = Duration::from_millis(100);

fn message_of(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string())
}

type Inbox = std::sync::Arc<std::sync::Mutex<Option<oneshot::Receiver<u32>>>>;

#[worker]
async fn waits_outside(#[state] inbox: Inbox) -> Result<u32, String> {
    let answer = inbox.lock().unwrap().take().ok_or("no inbox")?;
    answer.await.map_err(|error| error.to_string())
}

fn with_inbox() -> (TestDriver, oneshot::Sender<u32>) {
    let (sender, receiver) = oneshot::channel();
    let inbox: Inbox = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    (TestDriver::new().patience(PATIENCE).state(inbox), sender)
}

#[test]
fn a_worker_that_waits_for_the_world_outside_for_ever_fails_the_test_with_its_name_and_the_remedy() {
    let (test, _sender) = with_inbox();
    let id = test.enqueue(waits_outside::request());
    let message = message_of(|| test.run_until_idle());
    for part in ["`waits_outside`, attempt 0", &id.to_string(), "Remedy", "WORKMAN_SEED="] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_worker_that_waits_for_another_thread_gets_real_time() {
    let (test, sender) = with_inbox();
    let test = test.patience(Duration::from_secs(20));
    let id = test.enqueue(waits_outside::request());
    let thread = thread::spawn(move || sender.send(7));
    test.run_until_idle();
    assert_eq!(test.output::<u32>(id), 7);
    thread.join().unwrap().unwrap();
}

#[worker]
fn blocks(#[state] gate: std::sync::Arc<std::sync::Mutex<mpsc::Receiver<()>>>) {
    let _ = gate.lock().unwrap().recv();
}

#[test]
fn a_blocking_worker_that_does_not_give_its_thread_back_fails_the_test() {
    let (open, gate) = mpsc::channel();
    let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
    let test = TestDriver::new().patience(PATIENCE).state(gate);
    test.enqueue(blocks::request());
    let message = message_of(|| test.run_until_idle());
    assert!(message.contains("`blocks`, attempt 0"), "{message}");
    open.send(()).unwrap();
}

#[worker]
async fn waits_for_the_test(#[state] go: Signal) -> u32 {
    go.wait().await;
    1
}

#[worker]
fn blocks_for_the_test(#[state] go: Signal) -> u32 {
    go.wait_blocking();
    2
}

#[worker]
async fn waits_for_its_stop(cx: &WorkContext) {
    cx.until_stopped().await;
}

#[worker]
async fn waits_for_nobody() {
    std::future::pending::<()>().await;
}

#[test]
fn workers_that_wait_for_the_test_or_for_workman_cost_no_real_time() {
    let go = Signal::new();
    let start = std::sync::Arc::new(workman_core::SystemClock::new());
    let test = TestDriver::new().patience(Duration::from_secs(20)).state(go.clone());
    let held = [test.enqueue(waits_for_the_test::request()), test.enqueue(blocks_for_the_test::request())];
    let others = [test.enqueue(waits_for_its_stop::request()), test.enqueue(waits_for_nobody::request())];
    test.run_until_idle();
    assert!(held.iter().chain(&others).all(|id| test.state_of(*id) == WorkState::Running));
    go.set();
    test.run_until_idle();
    assert_eq!(held.map(|id| test.output::<u32>(id)), [1, 2]);
    assert!(workman_core::Clock::monotonic(&*start) < Duration::from_secs(10), "nobody was given real time");
}

#[worker]
async fn fetch(url: String) -> Result<u32, String> {
    Err(url)
}

#[test]
fn a_stub_that_runs_out_of_results_fails_the_test() {
    let test = TestDriver::new();
    test.stub::<fetch>([Err("offline".into())]);
    test.enqueue(fetch::request("x".into()));
    let message = message_of(|| test.advance(Duration::from_secs(60)));
    assert!(
        message.contains("the stub of worker `fetch` was run once more than it has results, which are 1"),
        "{message}"
    );
}

#[test]
fn what_shapes_the_process_comes_before_its_start() {
    let test = TestDriver::new();
    test.run_until_idle();
    let message = message_of(|| test.stub::<fetch>([]));
    assert!(message.contains("`stub` shapes the process"), "{message}");
}

#[test]
fn waiting_for_what_only_time_can_bring_fails_at_once() {
    let test = TestDriver::new();
    let manager = test.manager();
    let request = fetch::request("x".into()).initial_delay(Duration::from_secs(60));
    let handle = test.block_on(manager.enqueue(request)).unwrap();
    let message = message_of(|| drop(test.block_on(handle.output())));
    assert!(message.contains("say `advance`"), "{message}");
}

#[tokio::test]
async fn a_driver_works_inside_of_tokio() {
    let test = TestDriver::new();
    test.stub::<fetch>([Ok(3)]);
    let id = test.enqueue(fetch::request("x".into()));
    tokio::task::yield_now().await;
    test.run_until_idle();
    assert_eq!(test.output::<u32>(id), 3);
    assert_eq!(<fetch as Worker>::DEF.name, "fetch");
}

#[test]
fn two_drivers_side_by_side_do_not_know_of_each_other() {
    let (one, two) = (TestDriver::new(), TestDriver::with_seed(2));
    let request = || fetch::request("x".into()).max_attempts(1);
    let (in_one, in_two) = (one.enqueue(request()), two.enqueue(request()));
    one.run_until_idle();
    assert_eq!((one.state_of(in_one), two.state_of(in_two)), (WorkState::Failed, WorkState::Enqueued));
    assert_eq!((one.find(in_two), two.find(in_one)), (None, None));
    drop(one);
    two.run_until_idle();
    assert_eq!(two.state_of(in_two), WorkState::Failed);
}

#[worker]
fn adds(#[prerequisites] parts: Vec<u32>, #[state] more: u32, cx: &WorkContext) -> Result<u32, String> {
    cx.sleep_blocking(Duration::from_secs(3600)).map_err(|stopped| stopped.to_string())?;
    Ok(parts.iter().sum::<u32>() + more + cx.attempt())
}

#[test]
fn a_worker_alone_gets_what_the_test_chooses() {
    let worker = || TestWorker::<adds>::new(adds::request()).prerequisite(&1_u32).prerequisite(&2_u32).state(10_u32);
    assert_eq!(worker().attempt(100).output(), 113);
    let reason = StopReason::Shutdown;
    assert_eq!(worker().stopped(reason).run(), End::Interrupted { reason });
    assert_eq!(worker().stop_after(Duration::from_secs(9), reason).run(), End::Interrupted { reason });
    let message = message_of(|| drop(TestWorker::<adds>::new(adds::request()).run()));
    assert!(message.contains("worker `adds` can't be started"), "{message}");
    let message = message_of(|| drop(TestWorker::<waits_for_nobody>::new(waits_for_nobody::request()).run()));
    assert!(message.contains("waits for something that never happens"), "{message}");
}

#[worker]
async fn settles(done: Completer<u32>, cx: &WorkContext, number: u32) {
    if number == 0 {
        cx.until_stopped().await;
        return;
    }
    thread::spawn(move || done.succeed(number));
}

#[worker]
fn counts(to: u32, cx: WorkContext) -> impl Stream<Item = Result<u32, WorkError>> {
    let from = cx.checkpoint().unwrap_or_default().unwrap_or(0);
    stream::iter(from + 1..=to).then(move |number| {
        let cx = cx.clone();
        async move {
            cx.sleep(Duration::from_secs(1)).await?;
            Ok(number)
        }
    })
}

#[test]
fn workers_that_do_not_just_return_run_alone_and_are_faked_too() {
    assert_eq!(TestWorker::<settles>::new(settles::request(8)).output(), 8);
    let (seconds, reason) = (Duration::from_secs(2), StopReason::CancelledByApp);
    let stopped = TestWorker::<settles>::new(settles::request(0)).stop_after(seconds, reason).run();
    assert_eq!(stopped, End::Interrupted { reason }, "it dropped its completer when it was stopped");
    assert_eq!(TestWorker::<counts>::new(counts::request(3)).checkpoint(&2).output(), 3);
    let stopped = TestWorker::<counts>::new(counts::request(3)).stop_after(seconds, reason).run();
    assert_eq!(stopped, End::Interrupted { reason });

    let test = TestDriver::new();
    test.stub::<settles>([Ok(1)]);
    test.stub::<counts>([Ok(2)]);
    let (settled, counted) = (test.enqueue(settles::request(8)), test.enqueue(counts::request(3)));
    test.run_until_idle();
    assert_eq!((test.output::<u32>(settled), test.output::<u32>(counted)), (1, 2));
}
