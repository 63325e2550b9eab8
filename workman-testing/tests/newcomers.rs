//! What somebody runs into who writes a first test: each says what to do.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use workman_core::seams::Registry;
use workman_core::seams::block_on;
use workman_core::{Completer, MemoryStore, ThreadRuntime, WorkError, WorkId, WorkManager, WorkState, Worker, worker};
use workman_testing::{TestDriver, TestWorker};

fn message_of<T>(test: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).err().expect("it panics");
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string())
}

#[worker]
fn double(number: u32) -> u32 {
    2 * number
}

#[worker]
fn triple(number: u32) -> u32 {
    3 * number
}

#[test]
fn a_request_for_another_worker_is_told_with_both() {
    let message = message_of(|| TestWorker::<double>::new(triple::request(1)));
    for part in ["`double`", "`triple`", "newcomers.rs"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(TestWorker::<double>::new(double::request(4)).output(), 8);
}

#[test]
fn an_output_that_another_executor_waits_for_is_told_which_one_to_use() {
    let test = TestDriver::new();
    let manager = test.manager();
    let handle = test.block_on(manager.enqueue(double::request(4))).unwrap();
    let is_told = |message: String| assert!(message.contains("`test.block_on(..)`"), "{message}");
    is_told(message_of(|| block_on(handle.output())));
    is_told(message_of(|| block_on(manager.drain(Duration::from_secs(1)))));
    // Who only looks is not meant, and neither is what needs nobody to go on.
    assert!(handle.output().now_or_never().is_none());
    assert!(block_on(handle.info()).unwrap().is_some());
    let mut watched = handle.watch();
    assert!(block_on(watched.next()).is_some());
    assert_eq!(test.block_on(handle.output()).unwrap(), 8);
    assert_eq!(block_on(handle.output()).unwrap(), 8, "it is there");
    is_told(message_of(|| block_on(manager.shutdown(Duration::ZERO))));
}

#[test]
fn a_manager_of_its_own_beside_a_driver_goes_on_by_itself() {
    let _test = TestDriver::new();
    let mut workers = Registry::new();
    workers.add::<double>();
    let builder = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).workers(workers);
    let manager = builder.start().unwrap();
    let output = block_on(async { manager.enqueue(double::request(21)).await.unwrap().output().await });
    assert_eq!(output.unwrap(), 42);
}

// ---- stubs obey the attribute of their worker ----

#[derive(Debug)]
enum MailError {
    NoSuchAddress,
    Busy,
}

impl MailError {
    fn is_permanent(&self) -> bool {
        matches!(self, MailError::NoSuchAddress)
    }
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for MailError {}

#[worker(permanent = MailError::is_permanent, max_attempts = 3)]
async fn mail(to: String) -> Result<u8, MailError> {
    Err(if to.is_empty() { MailError::NoSuchAddress } else { MailError::Busy })
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

#[worker(permanent = is_gone)]
fn load() -> io::Result<u8> {
    Ok(1)
}

#[allow(clippy::ptr_arg, reason = "it is asked about the error as it is")]
fn says_never(error: &String) -> bool {
    error.starts_with("never")
}

#[worker(permanent = says_never)]
async fn texts(done: Completer<u8>) -> Result<(), String> {
    done.succeed(1);
    Ok(())
}

fn is_final(error: &WorkError) -> bool {
    error.to_string() == "final"
}

#[worker(permanent = is_final)]
fn own_errors() -> Result<u8, WorkError> {
    Ok(1)
}

fn any<E>(_: &E) -> bool {
    true
}

#[worker(permanent = any)]
fn boxed() -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
    Ok(1)
}

/// How work stands after one attempt of this stub.
fn after<W: Worker<Output = u8>>(error: WorkError, enqueue: impl FnOnce(&TestDriver) -> WorkId) -> WorkState {
    let test = TestDriver::new();
    test.stub::<W>([Err(error), Ok(1), Ok(1)]);
    let id = enqueue(&test);
    test.run_until_idle();
    test.state_of(id)
}

#[test]
fn a_stub_is_asked_what_its_worker_says_is_permanent() {
    use WorkState::{Enqueued, Failed};

    let mail = |error: WorkError| after::<mail>(error, |test| test.enqueue(mail::request("a".into())));
    assert_eq!(mail(MailError::NoSuchAddress.into()), Failed);
    assert_eq!(mail(MailError::Busy.into()), Enqueued);
    assert_eq!(mail("NoSuchAddress".into()), Enqueued, "a text is none of its errors");
    let load = |error: WorkError| after::<load>(error, |test| test.enqueue(load::request()));
    assert_eq!(load(io::Error::from(io::ErrorKind::NotFound).into()), Failed);
    assert_eq!(load(io::Error::other("busy").into()), Enqueued);
    let texts = |error: WorkError| after::<texts>(error, |test| test.enqueue(texts::request()));
    assert_eq!((texts("never again".into()), texts("later".into())), (Failed, Enqueued));
    let own = |error: WorkError| after::<own_errors>(error, |test| test.enqueue(own_errors::request()));
    assert_eq!((own("final".into()), own("not".into())), (Failed, Enqueued));
    assert_eq!(after::<boxed>("any".into(), |test| test.enqueue(boxed::request())), Failed);
}

#[test]
fn a_stub_has_the_attempts_of_its_worker() {
    let test = TestDriver::new();
    test.stub::<mail>([Err(MailError::Busy.into()), Err(MailError::Busy.into()), Err(MailError::Busy.into())]);
    let id = test.enqueue(mail::request("a".into()));
    test.advance(Duration::from_secs(3_600));
    assert_eq!((test.state_of(id), test.info(id).failures), (WorkState::Failed, 3));
}
