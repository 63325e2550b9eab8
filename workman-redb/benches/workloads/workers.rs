//! The workers, as a program would write them. None does anything that the measured path could know of.

use std::future::pending;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use workman_core::{Nothing, Request, worker};

use crate::child::say;
use crate::options::{Options, Workers};

/// Takes its input, and that is all.
#[worker]
pub(crate) async fn no_op(input: String) {
    let _ = input;
}

/// The same on a thread where it might block.
#[worker]
pub(crate) fn blocking_no_op(input: String) {
    let _ = input;
}

/// How many runs of [`hold`] have begun.
pub(crate) static HELD: AtomicU64 = AtomicU64::new(0);

/// Begins and never ends. Under the name of [`no_op`] it shows what the rows of works look like while they run.
#[worker]
pub(crate) async fn hold(input: String) {
    let _ = input;
    HELD.fetch_add(1, Ordering::SeqCst);
    pending::<()>().await;
}

/// What [`announce`] says.
pub(crate) const FIRST_BODY: &str = "runs";

/// Whether it was said.
pub(crate) static SAID: OnceLock<()> = OnceLock::new();

/// Tells the parent of this process that it runs, once in a process.
#[worker]
pub(crate) async fn announce(input: String) {
    let _ = input;
    SAID.get_or_init(|| say(FIRST_BODY).expect("the parent listens"));
}

/// Waits for next week.
#[worker]
pub(crate) async fn later(input: String) {
    let _ = input;
}

/// Waits for a charger.
#[worker]
pub(crate) async fn on_charger(input: String) {
    let _ = input;
}

/// When the newest run of [`stamp`] or [`blocking_stamp`] began, in nanoseconds of [`now`].
static STAMP: AtomicU64 = AtomicU64::new(0);

/// Notes when it runs.
#[worker]
pub(crate) async fn stamp(input: String) {
    let _ = input;
    STAMP.store(nanoseconds(now()), Ordering::SeqCst);
}

/// The same on a thread where it might block.
#[worker]
pub(crate) fn blocking_stamp(input: String) {
    let _ = input;
    STAMP.store(nanoseconds(now()), Ordering::SeqCst);
}

/// When the newest run of a stamping worker began.
pub(crate) fn stamped() -> Duration {
    Duration::from_nanos(STAMP.load(Ordering::SeqCst))
}

/// The time since this was first asked for.
pub(crate) fn now() -> Duration {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A request for a worker that does nothing.
pub(crate) fn no_op_request(options: &Options) -> Request<Nothing, ()> {
    match options.workers {
        Workers::Async => no_op::request(input(options)),
        Workers::Blocking => blocking_no_op::request(input(options)),
    }
}

/// What the works of [`no_op_request`] are called.
pub(crate) fn no_op_name(options: &Options) -> &'static str {
    match options.workers {
        Workers::Async => "no_op",
        Workers::Blocking => "blocking_no_op",
    }
}

/// A request for a worker that notes when it runs.
pub(crate) fn stamp_request(options: &Options) -> Request<Nothing, ()> {
    match options.workers {
        Workers::Async => stamp::request(input(options)),
        Workers::Blocking => blocking_stamp::request(input(options)),
    }
}

/// An input that takes as many bytes as was asked for, with its name and all around it.
pub(crate) fn input(options: &Options) -> String {
    "x".repeat(options.payload.saturating_sub(r#"{"input":""}"#.len()))
}
