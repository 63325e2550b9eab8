//! What the driver promises those who test with it: nothing hangs, nothing is silent, and a seed repeats everything.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::stream::{self, Stream, StreamExt};
use workman_core::store::{Advice, Dump, End, Store};
use workman_core::{
    Completer, ConstraintKind, Constraints, Limits, Network, NetworkType, Payload, StopReason, WorkContext, WorkError,
    WorkSelector, WorkState, Worker, worker,
};
use workman_testing::{MemoryHome, Signal, StoreHome, TestDriver, TestWorker};

/// Long enough to be seen to wait, short enough for a test.
const PATIENCE: Duration = Duration::from_millis(100);

fn message_of(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string())
}

type Inbox = Arc<Mutex<Option<oneshot::Receiver<u32>>>>;

#[worker]
async fn waits_outside(#[state] inbox: Inbox) -> Result<u32, String> {
    let answer = inbox.lock().unwrap().take().ok_or("no inbox")?;
    answer.await.map_err(|error| error.to_string())
}

fn with_inbox() -> (TestDriver, oneshot::Sender<u32>) {
    let (sender, receiver) = oneshot::channel();
    let inbox: Inbox = Arc::new(Mutex::new(Some(receiver)));
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
fn blocks(#[state] gate: Arc<Mutex<mpsc::Receiver<()>>>) {
    let _ = gate.lock().unwrap().recv();
}

#[test]
fn a_blocking_worker_that_does_not_give_its_thread_back_fails_the_test() {
    let (open, gate) = mpsc::channel();
    let gate = Arc::new(Mutex::new(gate));
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
    let start = Arc::new(workman_core::SystemClock::new());
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

fn every_quarter(_: u32) -> Duration {
    Duration::from_secs(900)
}

fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

#[worker(timeout = Duration::from_secs(60), backoff_fn = every_quarter)]
async fn naps(cx: &WorkContext, length: Duration, text: String) -> Result<String, WorkError> {
    cx.sleep(length).await?;
    if text == "fails" { Err("it failed".into()) } else { Ok(text) }
}

#[worker(permanent = is_missing)]
fn opens(kind: String) -> Result<(), std::io::Error> {
    Err(if kind == "missing" { std::io::ErrorKind::NotFound } else { std::io::ErrorKind::TimedOut }.into())
}

/// What a manager makes of the end of an attempt is what the worker's test sees.
#[test]
fn a_worker_alone_is_judged_as_by_a_manager() {
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
    let nap = |length, text: &str| TestWorker::<naps>::new(naps::request(length, text.into()).tag("a"));
    let after = |delay| Advice::ByFunction(delay);
    assert_eq!(nap(minute / 2, "done").run(), End::Succeeded { output: Payload::encode(&"done").unwrap() });
    let timed_out = End::TimedOut { limit: minute, advice: after(15 * minute), error: None };
    assert_eq!(nap(hour, "done").run(), timed_out);
    let patient = TestWorker::<naps>::new(naps::request(hour, "done".into()).timeout(2 * hour));
    assert_eq!(patient.output(), "done");
    let End::Failed { error, advice } = nap(minute / 2, "fails").run() else { panic!("it failed") };
    assert_eq!((error.to_string().as_str(), advice), ("it failed", after(15 * minute)));
    // The first stop counts, and a test may say that the time is over.
    let reason = StopReason::Shutdown;
    assert_eq!(nap(hour, "").stop_after(minute / 2, reason).run(), End::Interrupted { reason });
    assert_eq!(nap(hour, "").stop_after(2 * minute, reason).run(), timed_out);
    let earlier = End::TimedOut { limit: minute / 4, advice: after(15 * minute), error: None };
    assert_eq!(nap(hour, "").stop_after(minute / 4, StopReason::Timeout).run(), earlier);

    let mut limits = Limits::default();
    (limits.payload, limits.error_text) = (8, 4);
    for (text, said) in [("fails", "i…"), ("too large", "the output of worker \"naps\" has 11 bytes, the limit is 8")]
    {
        let End::Failed { error, .. } = nap(minute / 2, text).limits(limits.clone()).run() else { panic!("it failed") };
        assert!(error.to_string().starts_with(said), "{error}");
    }

    for (kind, wanted) in [("missing", Advice::Never), ("slow", Advice::ByPolicy)] {
        let End::Failed { advice, .. } = TestWorker::<opens>::new(opens::request(kind.into())).run() else {
            panic!("it failed")
        };
        assert_eq!(advice, wanted, "{kind}");
    }
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

/// Where workers leave their completers for the test.
type Desk = Arc<Mutex<Vec<Completer<u32>>>>;

#[worker]
fn leaves_it(#[state] desk: Desk, done: Completer<u32>) {
    desk.lock().unwrap().push(done);
}

fn with_desk(test: TestDriver) -> (TestDriver, Desk) {
    let desk = Desk::default();
    (test.state(desk.clone()), desk)
}

/// Nobody outside, in so much real time that a test that takes it is seen to.
fn alone() -> TestDriver {
    TestDriver::new().patience(Duration::from_secs(60)).nobody_outside()
}

fn drivers() -> [TestDriver; 2] {
    [alone(), TestDriver::new().patience(PATIENCE)]
}

const GRACE: Duration = Duration::from_secs(10);

#[test]
fn a_callback_that_never_comes_ends_with_the_timeout_of_the_attempt() {
    for test in drivers() {
        let (test, desk) = with_desk(test);
        let id = test.enqueue(leaves_it::request().timeout(Duration::from_secs(30)).max_attempts(1));
        test.advance(Duration::from_secs(29));
        assert_eq!((test.state_of(id), desk.lock().unwrap()[0].is_stopped()), (WorkState::Running, false));
        test.advance(Duration::from_secs(1));
        assert_eq!(desk.lock().unwrap()[0].stop_reason(), Some(StopReason::Timeout));
        test.advance(GRACE);
        assert_eq!(test.state_of(id), WorkState::Failed);
        assert_eq!(test.info(id).stop_reason, Some(StopReason::Timeout));
    }
}

#[test]
fn a_completer_that_the_test_holds_is_settled_when_the_test_says_so() {
    for test in drivers() {
        let (test, desk) = with_desk(test);
        let ids = [test.enqueue(leaves_it::request()), test.enqueue(leaves_it::request())];
        test.run_until_idle();
        test.advance(Duration::from_secs(3600));
        assert_eq!(ids.map(|id| test.state_of(id)), [WorkState::Running; 2]);
        for (number, id) in (1..).zip(ids) {
            let at = desk.lock().unwrap().iter().position(|done| done.context().id() == id).unwrap();
            desk.lock().unwrap().remove(at).succeed(number);
        }
        test.run_until_idle();
        assert_eq!(ids.map(|id| test.output::<u32>(id)), [1, 2]);
    }
}

#[test]
fn a_completer_that_the_test_holds_hears_of_lost_constraints_and_of_its_cancellation() {
    for test in drivers() {
        let (test, desk) = with_desk(test);
        let charging = Constraints::new().requires_charging();
        let ids = [test.enqueue(leaves_it::request().constraints(charging)), test.enqueue(leaves_it::request())];
        test.run_until_idle();
        let told: Arc<Mutex<Vec<StopReason>>> = Arc::default();
        for done in &*desk.lock().unwrap() {
            let told = Arc::clone(&told);
            done.on_stop(move |reason| told.lock().unwrap().push(reason));
        }
        test.lose(ConstraintKind::Charging);
        test.advance(TestDriver::default_limits().dwell);
        assert_eq!(*told.lock().unwrap(), [StopReason::ConstraintCharging]);
        test.cancel(WorkSelector::id(ids[1]));
        test.run_until_idle();
        assert_eq!(*told.lock().unwrap(), [StopReason::ConstraintCharging, StopReason::CancelledByApp]);
        test.advance(GRACE);
        assert_eq!(ids.map(|id| test.state_of(id)), [WorkState::Enqueued, WorkState::Cancelled]);
        assert_eq!(test.info(ids[0]).failures, 0, "an interruption is no failure");
    }
}

#[worker]
fn leaves_it_to_a_thread(#[state] go: Signal, done: Completer<u32>) {
    thread::spawn(move || {
        go.wait_blocking();
        done.succeed(4);
    });
}

#[test]
fn a_thread_that_waits_for_the_test_and_settles_is_waited_for() {
    let go = Signal::new();
    let test = TestDriver::new().patience(Duration::from_secs(1)).state(go.clone());
    let id = test.enqueue(leaves_it_to_a_thread::request());
    test.run_until_idle();
    assert_eq!(test.state_of(id), WorkState::Running);
    go.set();
    test.run_until_idle();
    assert_eq!(test.output::<u32>(id), 4);
}

#[test]
fn a_thread_that_settles_after_all_is_waited_for_with_block_on_or_by_joining_it() {
    let go = Signal::new();
    let (test, desk) = with_desk(alone().state(go.clone()));
    let manager = test.manager();
    let handle = test.block_on(manager.enqueue(leaves_it_to_a_thread::request())).unwrap();
    let id = test.enqueue(leaves_it::request());
    test.run_until_idle();
    go.set();
    assert_eq!(test.block_on(handle.output()).unwrap(), 4);

    let done = desk.lock().unwrap().pop().unwrap();
    thread::spawn(move || done.succeed(5)).join().unwrap();
    test.run_until_idle();
    assert_eq!(test.output::<u32>(id), 5);
}

/// Settled by a thread that ends when it hears of the stop, and not before.
#[worker]
fn ends_when_stopped(done: Completer<u32>) {
    let stopped = Signal::new();
    let hears = stopped.clone();
    done.on_stop(move |_| hears.set());
    thread::spawn(move || {
        stopped.wait_blocking();
        done.succeed(6);
    });
}

#[test]
fn a_thread_that_settles_when_it_hears_of_the_stop_is_heard_before_the_grace_period_passes() {
    let test = TestDriver::new().patience(Duration::from_secs(1));
    let charging = Constraints::new().requires_charging();
    let id = test.enqueue(ends_when_stopped::request().constraints(charging));
    test.run_until_idle();
    test.lose(ConstraintKind::Charging);
    test.advance(Duration::from_secs(3600));
    assert_eq!(test.output::<u32>(id), 6, "it was done in the end");

    let id = test.enqueue(ends_when_stopped::request());
    test.run_until_idle();
    test.shutdown(GRACE);
    test.restart();
    assert_eq!(test.output::<u32>(id), 6);
}

#[test]
fn a_worker_alone_whose_callback_never_comes_hears_of_its_stop_and_is_given_up() {
    let (seconds, reason) = (Duration::from_secs(5), StopReason::CancelledByApp);
    let desk = Desk::default();
    let worker = TestWorker::<leaves_it>::new(leaves_it::request()).state(desk.clone()).nobody_outside();
    assert_eq!(worker.stop_after(seconds, reason).run(), End::Interrupted { reason });
    assert_eq!(desk.lock().unwrap()[0].stop_reason(), Some(reason));
    let worker = TestWorker::<leaves_it>::new(leaves_it::request()).state(desk.clone()).nobody_outside();
    let message = message_of(|| drop(worker.run()));
    assert!(message.contains("waits for something that never happens"), "{message}");
}

#[worker]
fn asks_in_a_loop(cx: &WorkContext) -> Result<(), WorkError> {
    while !cx.is_stopped() {}
    cx.stopped()
}

#[test]
fn a_worker_alone_that_asks_in_a_loop_hears_of_its_stop() {
    let (seconds, reason) = (Duration::from_secs(5), StopReason::CancelledByApp);
    let worker = TestWorker::<asks_in_a_loop>::new(asks_in_a_loop::request());
    assert_eq!(worker.stop_after(seconds, reason).run(), End::Interrupted { reason });
}

type Numbers = Arc<Mutex<Option<futures::channel::mpsc::UnboundedReceiver<u32>>>>;

#[worker]
fn passes_on(#[state] numbers: Numbers) -> impl Stream<Item = u32> {
    stream::iter(numbers.lock().unwrap().take()).flatten()
}

#[test]
fn a_stream_that_waits_for_a_channel_of_the_test_runs_as_far_as_it_was_fed() {
    let (feed, numbers) = futures::channel::mpsc::unbounded();
    let test = alone().state(Numbers::new(Mutex::new(Some(numbers))));
    let id = test.enqueue(passes_on::request());
    test.advance(Duration::from_secs(3600));
    feed.unbounded_send(1).unwrap();
    test.run_until_idle();
    assert_eq!(test.info(id).progress.unwrap().decode::<u32>().unwrap(), 1);
    feed.unbounded_send(2).unwrap();
    drop(feed);
    test.run_until_idle();
    assert_eq!(test.output::<u32>(id), 2);
}

#[worker]
async fn gives_five() -> u32 {
    5
}

#[test]
fn what_the_machine_is_said_to_be_like_counts_for_the_next_verb() {
    let unmetered = Constraints::new().network(NetworkType::Unmetered);
    let charging = Constraints::new().requires_charging();
    type Verb = fn(&TestDriver);
    let says: [(Constraints, Verb, Verb); 3] = [
        (charging.clone(), |test| test.lose(ConstraintKind::Charging), |test| test.meet(ConstraintKind::Charging)),
        (unmetered, |test| test.set_network(Network::METERED), |test| test.set_network(Network::UNMETERED)),
        (charging, |test| test.sensor().set_charging(false), |test| test.sensor().set_charging(true)),
    ];
    for (constraints, worse, better) in says {
        let test = TestDriver::new();
        let before = test.enqueue(gives_five::request().constraints(constraints.clone()));
        test.run_until_idle();
        assert_eq!(test.state_of(before), WorkState::Succeeded);
        worse(&test);
        let id = test.enqueue(gives_five::request().constraints(constraints));
        assert_eq!(test.state_of(id), WorkState::Enqueued);
        test.run_until_idle();
        assert_eq!(test.state_of(id), WorkState::Enqueued);
        better(&test);
        assert_ne!(test.state_of(id), WorkState::Succeeded, "no worker runs by it");
        test.run_until_idle();
        assert_eq!(test.state_of(id), WorkState::Succeeded, "it was a short loss");
    }
}

#[test]
fn a_loss_lasts_from_the_moment_on_at_which_the_test_says_it() {
    let (test, desk) = with_desk(alone());
    let id = test.enqueue(leaves_it::request().constraints(Constraints::new().requires_charging()));
    test.run_until_idle();
    test.lose(ConstraintKind::Charging);
    test.clock().advance(TestDriver::default_limits().dwell);
    test.run_until_idle();
    assert!(desk.lock().unwrap()[0].is_stopped(), "it has lasted long enough");
    test.advance(GRACE);
    assert_eq!(test.info(id).stop_reason, Some(StopReason::ConstraintCharging));
}

/// A store that loses an index entry in this run of its worker.
struct Breakable {
    inner: MemoryHome,
    runs: Arc<AtomicU64>,
    breaks_in: u64,
}

impl StoreHome for Breakable {
    fn open(&self) -> Arc<dyn Store> {
        self.inner.open()
    }

    fn dump(&self) -> Option<Dump> {
        let mut dump = self.inner.dump()?;
        if self.runs.load(Ordering::SeqCst) >= self.breaks_in {
            dump.index.pop_first();
        }
        Some(dump)
    }
}

#[worker]
async fn breaks_the_store(#[state] runs: Arc<AtomicU64>) {
    runs.fetch_add(1, Ordering::SeqCst);
}

fn on_a_store_that_breaks_in(run: u64) -> TestDriver {
    let runs = Arc::new(AtomicU64::new(0));
    let home = Breakable { inner: MemoryHome::new(), runs: Arc::clone(&runs), breaks_in: run };
    TestDriver::new().store(home).state(runs)
}

/// Which commits a message is about.
fn commits_in(message: &str) -> Vec<u64> {
    let (commits, _) = message.split_once(" the store breaks its invariants: the index lacks").unwrap();
    commits.split(' ').filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn a_store_that_breaks_fails_the_test_at_that_commit() {
    let test = on_a_store_that_breaks_in(1);
    test.enqueue(breaks_the_store::request());
    let before = test.commits();
    let message = message_of(|| test.run_until_idle());
    assert_eq!(commits_in(&message), [before + 2], "its claim was sound, and its end was not: {message}");
}

#[test]
fn a_store_that_breaks_on_a_long_walk_fails_the_test_in_the_same_verb() {
    let quarter = Duration::from_secs(900);
    for run in [1, 1_000, 2_000] {
        let test = on_a_store_that_breaks_in(run);
        test.enqueue_periodic(breaks_the_store::periodic(quarter));
        let message = message_of(|| test.advance(quarter * 2_000 - Duration::from_secs(1)));
        let commits = commits_in(&message);
        let (first, last) = (commits[0], *commits.last().unwrap());
        assert!(run <= last && last - first <= last / 64, "run {run}: {message}");
    }
}

#[test]
fn a_store_with_many_works_that_breaks_is_found_when_the_process_ends_at_the_latest() {
    let ends: [fn(TestDriver); 3] = [drop, |test| test.crash_and_restart(), |test| drop(test.restart())];
    for end in ends {
        let test = on_a_store_that_breaks_in(1);
        let manager = test.manager();
        let later = (0..1_000).map(|_| gives_five::request().initial_delay(Duration::from_secs(3_600)));
        test.block_on(manager.enqueue_all(later)).unwrap();
        test.enqueue(breaks_the_store::request());
        test.run_until_idle();
        let last = test.commits();
        let message = message_of(|| end(test));
        let commits = commits_in(&message);
        assert!((commits[0]..=*commits.last().unwrap()).contains(&last), "{message}");
    }
}

#[worker]
async fn takes_the_word_of_a_thread(words: u32) -> u32 {
    let mut sum = 0;
    for word in 0..words {
        let (sender, receiver) = oneshot::channel();
        let thread = thread::spawn(move || {
            (0..word % 2 * 1_000).for_each(|_| thread::yield_now());
            sender.send(word)
        });
        sum += receiver.await.unwrap();
        thread.join().unwrap().unwrap();
    }
    sum
}

#[test]
fn a_worker_alone_waits_for_another_thread_as_long_as_one_of_a_manager_does() {
    let test = TestDriver::new();
    let managed = test.enqueue(takes_the_word_of_a_thread::request(20));
    test.run_until_idle();
    let alone = TestWorker::<takes_the_word_of_a_thread>::new(takes_the_word_of_a_thread::request(20));
    assert_eq!((test.output::<u32>(managed), alone.output()), (190, 190));
}
