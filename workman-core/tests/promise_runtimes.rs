//! The same program runs on every runtime, from a plain `fn main`; blocking workers stall nobody, panics end nobody else.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use futures::executor::block_on;
use workman_core::{
    Backoff, Limits, MemoryStore, OutputError, Runtime, ThreadRuntime, WorkContext, WorkError, WorkManager, worker,
};

#[worker]
async fn square(cx: &WorkContext, number: u64) -> Result<u64, WorkError> {
    cx.sleep(Duration::from_millis(1)).await?;
    Ok(number * number)
}

#[worker]
fn sum(#[prerequisites] squares: Vec<u64>) -> u64 {
    squares.into_iter().sum()
}

/// A gate that blocking workers wait at until the test opens it.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

#[worker]
fn waits_at_the_gate(#[state] gate: Gate) -> u32 {
    gate.wait();
    1
}

#[worker(max_attempts = 2, backoff = Backoff::linear(Duration::from_millis(1)))]
async fn panics_later(cx: &WorkContext) -> Result<(), WorkError> {
    cx.sleep(Duration::from_millis(1)).await?;
    panic!("attempt {}", cx.attempt());
}

#[worker(retry = never)]
fn panics_at_once() {
    std::panic::panic_any(7_u8);
}

/// The program that is the same everywhere.
fn runs_the_same_program(runtime: impl Runtime) {
    let manager = WorkManager::builder(MemoryStore::new()).runtime(runtime).start().unwrap();
    block_on(async {
        let chain = manager.begin_with((1..=4).map(square::request).collect::<Vec<_>>()).then(sum::request());
        let enqueued = chain.enqueue().await.unwrap();
        assert_eq!(enqueued.last.unwrap().output().await.unwrap(), 30);
        manager.shutdown(Duration::from_secs(5)).await;
    });
}

#[test]
fn the_same_program_runs_on_built_in_threads() {
    runs_the_same_program(ThreadRuntime::new());
}

#[cfg(feature = "tokio")]
#[test]
fn the_same_program_runs_on_tokio() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    runs_the_same_program(workman_core::TokioRuntime::new(tokio.handle().clone()));
}

#[cfg(feature = "smol")]
#[test]
fn the_same_program_runs_on_smol() {
    runs_the_same_program(workman_core::SmolRuntime::new());
}

#[test]
fn blocking_workers_never_stall_async_ones() {
    let gate = Gate::default();
    let mut limits = Limits::default();
    limits.blocking_slots = 8;
    let builder = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::with_threads(1));
    let manager = builder.state(gate.clone()).limits(limits).start().unwrap();
    block_on(async {
        let waiting = manager.enqueue_all((0..8).map(|_| waits_at_the_gate::request())).await.unwrap();
        for number in 0..20 {
            let squared = manager.enqueue(square::request(number)).await.unwrap();
            assert_eq!(squared.output().await.unwrap(), number * number);
        }
        gate.open();
        for work in waiting {
            assert_eq!(work.output().await.unwrap(), 1);
        }
    });
}

/// W1: a panic is a failed attempt with its message.
#[test]
fn a_panic_is_a_failed_attempt_with_its_message_and_ends_nothing_else() {
    let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start().unwrap();
    block_on(async {
        let later = manager.enqueue(panics_later::request()).await.unwrap();
        let at_once = manager.enqueue(panics_at_once::request()).await.unwrap();
        let Err(OutputError::Failed { attempts: 2, last_error: Some(error), .. }) = later.output().await else {
            panic!("it should have failed twice");
        };
        assert_eq!((error.message.as_str(), error.panicked), ("attempt 1", true));
        let Err(OutputError::Failed { attempts: 1, last_error: Some(error), .. }) = at_once.output().await else {
            panic!("it should have failed once");
        };
        assert!(error.panicked);
        let bystander = manager.enqueue(square::request(3)).await.unwrap();
        assert_eq!(bystander.output().await.unwrap(), 9);
    });
}
