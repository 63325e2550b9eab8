//! Workers that do not just return: with a completer, with a stream, with a context of their own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use support::run_of;
use workman_core::seams::{Body, Invocation, States, detached_context};
use workman_core::store::{Advice, WorkerKind};
use workman_core::{Backoff, Completer, Outcome, Payload, StopReason, WorkContext, WorkError, Worker, worker};

const MINUTE: Duration = Duration::from_secs(60);

#[worker]
fn settled_elsewhere(n: u8, done: Completer<u8>) {
    thread::spawn(move || done.succeed(n + 1));
}

#[worker]
async fn settled_first(done: Completer<String>, cx: &WorkContext) -> Result<(), std::io::Error> {
    assert_eq!(done.context().id(), cx.id());
    done.settle(Outcome::Success("early".to_owned()));
    Ok(())
}

#[worker(permanent = is_short)]
fn refused(done: Completer<u8>, why: String) -> Result<(), String> {
    done.succeed(8);
    if why.is_empty() { Ok(()) } else { Err(why) }
}

#[expect(clippy::ptr_arg, reason = "it gets what the worker returns")]
fn is_short(error: &String) -> bool {
    error.len() < 3
}

#[worker]
fn ended_otherwise(done: Completer<u8>, how: u8) {
    match how {
        0 => drop(done),
        1 => done.fail(WorkError::permanent("no")),
        2 => done.settle(Outcome::Failed(WorkError::retry_after(MINUTE))),
        _ => done.fail("plain"),
    }
}

#[test]
fn a_completer_settles_the_attempt_from_any_thread() {
    assert_eq!(settled_elsewhere::DEF.kind, WorkerKind::Async);
    assert_eq!(run_of(settled_elsewhere::request(7)).output::<settled_elsewhere>(), 8);
    assert_eq!(run_of(settled_first::request()).output::<settled_first>(), "early");
}

#[test]
fn an_error_of_the_function_is_the_failed_attempt_whatever_the_completer_was_given() {
    assert_eq!(run_of(refused::request("busy".into())).failure::<refused>(), ("busy".into(), Advice::ByPolicy));
    assert_eq!(run_of(refused::request("no".into())).failure::<refused>(), ("no".into(), Advice::Never));
    assert_eq!(run_of(refused::request(String::new())).output::<refused>(), 8);
}

#[test]
fn a_completer_says_what_a_worker_may_say_and_its_drop_is_a_failed_attempt() {
    let failure = |how| run_of(ended_otherwise::request(how)).failure::<ended_otherwise>();
    let dropped = "the completer of worker `ended_otherwise` was dropped before it was settled";
    assert_eq!(failure(0), (dropped.into(), Advice::ByPolicy));
    assert_eq!(failure(1), ("no".into(), Advice::Never));
    assert_eq!(failure(2).1, Advice::After(MINUTE));
    assert_eq!(failure(3), ("plain".into(), Advice::ByPolicy));
}

type Heard = Arc<Mutex<Vec<(StopReason, bool)>>>;

#[worker]
async fn waits(done: Completer<u8>, #[state] heard: Heard) {
    let asked = done.context().clone();
    done.on_stop(|_| panic!("on purpose"));
    done.on_stop(move |reason| heard.lock().unwrap_or_else(PoisonError::into_inner).push((reason, asked.is_stopped())));
    std::future::pending().await
}

#[test]
fn a_runtime_that_goes_away_under_a_completer_is_heard_like_a_stop() {
    let heard = Heard::default();
    let mut states = States::default();
    states.insert(Arc::clone(&heard)).unwrap();
    let input = Payload::encode(&BTreeMap::<String, u8>::new()).unwrap();
    let context = detached_context(waits::DEF, input.clone());
    let invocation = Invocation { context, input, prerequisites: Vec::new(), states: Arc::new(states) };
    let Ok(Body::Async(mut body)) = (waits::DEF.start)(invocation) else { panic!("it starts") };
    assert!(body.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(heard.lock().unwrap().len(), 0);
    drop(body);
    assert_eq!(*heard.lock().unwrap(), [(StopReason::RuntimeGone, true)]);
}

#[worker]
fn plain_stream(to: u8) -> impl Stream<Item = u8> {
    stream::iter(0..to)
}

#[worker]
async fn bounded_stream(cx: WorkContext) -> impl Stream<Item = Result<String, WorkError>> + Send + use<> {
    stream::iter(["a", "b"]).map(move |item| Ok(format!("{item} {}", cx.worker())))
}

#[worker(permanent = is_short)]
fn boxed_stream(fails_with: String) -> BoxStream<'static, Result<u8, String>> {
    stream::iter([Ok(1), Err(fails_with), Ok(3)]).boxed()
}

#[worker(output = u8)]
fn object_stream() -> Pin<Box<dyn Stream<Item = Hidden> + Send>> {
    Box::pin(stream::iter([Ok(1), Ok(2)]))
}

type Hidden = Result<u8, String>;

#[worker]
async fn outcomes() -> BoxStream<'static, Result<Outcome<u8>, WorkError>> {
    stream::iter([Ok(Outcome::Success(1)), Err(WorkError::retry_after(MINUTE))]).boxed()
}

#[test]
fn the_last_item_of_a_stream_is_what_the_worker_gives() {
    assert_eq!(plain_stream::DEF.kind, WorkerKind::Async);
    assert_eq!(run_of(plain_stream::request(3)).output::<plain_stream>(), 2);
    assert_eq!(run_of(bounded_stream::request()).output::<bounded_stream>(), "b bounded_stream");
    assert_eq!(run_of(object_stream::request()).output::<object_stream>(), 2);
}

#[test]
fn an_item_that_is_an_error_ends_the_stream_as_a_failed_attempt() {
    let failure = |text: &str| run_of(boxed_stream::request(text.into())).failure::<boxed_stream>();
    assert_eq!(failure("busy"), ("busy".into(), Advice::ByPolicy));
    assert_eq!(failure("no"), ("no".into(), Advice::Never));
    assert_eq!(run_of(outcomes::request()).failure::<outcomes>().1, Advice::After(MINUTE));
}

#[test]
fn a_stream_without_an_item_is_a_failed_attempt_that_says_so() {
    let (text, advice) = run_of(plain_stream::request(0)).failure::<plain_stream>();
    assert_eq!(text, "the stream of worker `plain_stream` gave no item: its last item would be the output");
    assert_eq!(advice, Advice::ByPolicy);
}

#[worker]
fn keeps_context(cx: WorkContext) -> String {
    thread::spawn(move || cx.worker().to_owned()).join().unwrap_or_default()
}

#[test]
fn a_context_may_be_kept() {
    assert_eq!(run_of(keeps_context::request()).output::<keeps_context>(), "keeps_context");
}

fn double(failed_attempts: u32) -> Duration {
    MINUTE * failed_attempts
}

#[worker(timeout = Duration::from_secs(5), backoff_fn = double)]
fn hurried() {}

#[worker(backoff_fn = double, backoff = Backoff::linear(MINUTE).ceiling(Duration::from_secs(90)))]
fn capped() {}

#[test]
fn timeout_and_backoff_function_are_where_requests_start_from() {
    let defaults = hurried::DEF.defaults.clone();
    assert_eq!(defaults.timeout, Some(Duration::from_secs(5)));
    assert_eq!(defaults.backoff_fn.map(|function| function(3)), Some(3 * MINUTE));
    let defaults = capped::DEF.defaults.clone();
    assert_eq!((defaults.timeout, defaults.backoff_fn.map(|function| function(1))), (None, Some(MINUTE)));
    assert_eq!(defaults.backoff.max_delay(), Duration::from_secs(90));
    let delays = capped::request().backoff_delays(2);
    assert_eq!(delays, [MINUTE, Duration::from_secs(90)]);
}
