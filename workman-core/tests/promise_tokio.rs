//! Workers that need tokio: with the manager started from a plain `fn main`, with and without a runtime given, and in tests.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::process::Command;
use std::time::Duration;

use futures::StreamExt;
use futures::executor::block_on;
use support::RedbHome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime as Tokio;
use workman_core::{
    HealthStatus, MemoryStore, OutputError, StopReason, ThreadRuntime, TokioRuntime, WorkContext, WorkError,
    WorkManager, WorkQuery, WorkState, worker,
};
use workman_redb::RedbStore;
use workman_testing::{TestDriver, TestWorker};

/// Needs tokio's timer and tokio's sockets.
#[worker(retry = never)]
async fn fetch(port: u16) -> Result<String, std::io::Error> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[worker]
fn waits_here(cx: &WorkContext) -> Result<(), WorkError> {
    Ok(cx.sleep_blocking(Duration::from_secs(3600))?)
}

#[worker]
async fn waits_for_ever(cx: &WorkContext) {
    let _ = cx.set_progress(&"it has begun");
    tokio::time::sleep(Duration::from_secs(3600)).await;
}

/// A server on loopback that greets whoever comes.
fn greeter(tokio: &Tokio) -> u16 {
    let listener = tokio.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"hello").await.unwrap();
        }
    });
    port
}

#[test]
fn a_worker_uses_tokio_when_its_runtime_is_given() {
    let tokio = Tokio::new().unwrap();
    let port = greeter(&tokio);
    let runtime = TokioRuntime::new(tokio.handle().clone());
    let manager = WorkManager::builder(MemoryStore::new()).runtime(runtime).start().unwrap();
    let text = block_on(async { manager.enqueue(fetch::request(port)).await.unwrap().output().await.unwrap() });
    assert_eq!(text, "hello");
}

#[test]
fn without_a_runtime_the_ambient_one_is_used() {
    let tokio = Tokio::new().unwrap();
    let port = greeter(&tokio);
    let manager = {
        let _inside = tokio.enter();
        WorkManager::builder(MemoryStore::new()).start().unwrap()
    };
    let text = block_on(async { manager.enqueue(fetch::request(port)).await.unwrap().output().await.unwrap() });
    assert_eq!(text, "hello");
}

#[worker(retry = never)]
fn needs_nothing() -> u8 {
    7
}

/// A program that never heard of tokio runs, though another crate has turned the feature on; who does need it is told what to add.
#[test]
fn without_a_runtime_and_outside_of_tokio_workers_run_on_threads_and_who_misses_tokio_is_told_the_way_out() {
    let given = || WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new());
    for builder in [WorkManager::builder(MemoryStore::new()), given()] {
        let manager = builder.start().unwrap();
        let output = block_on(async { manager.enqueue(needs_nothing::request()).await.unwrap().output().await });
        assert_eq!(output.unwrap(), 7);
        let output = block_on(async { manager.enqueue(fetch::request(1)).await.unwrap().output().await });
        let Err(OutputError::Failed { last_error: Some(error), .. }) = output else { panic!("it should have failed") };
        let advice = &error.sources[0];
        assert!(advice.contains("`.runtime(TokioRuntime::new(handle))`"), "{advice}");
        assert!(!advice.contains("turn on the feature"), "it is on: {advice}");
    }
}

/// A worker that blocks, and uses the runtime that is around it meanwhile.
#[worker(retry = never)]
fn fetch_blocking(port: u16) -> Result<String, std::io::Error> {
    tokio::runtime::Handle::current().block_on(fetch(port))
}

#[worker(retry = never)]
async fn spawns(port: u16) -> Result<String, String> {
    tokio::spawn(fetch(port)).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// What a `#[tokio::test]` of this flavour does, with a server outside of it.
fn within(mut tokio: tokio::runtime::Builder, test: impl FnOnce(u16)) {
    let outside = Tokio::new().unwrap();
    let port = greeter(&outside);
    tokio.enable_all().build().unwrap().block_on(async { test(port) });
}

#[test]
fn a_test_in_tokio_of_any_flavour_runs_workers_that_need_it_blocking_ones_too() {
    use tokio::runtime::Builder;

    for tokio in [Builder::new_current_thread, Builder::new_multi_thread] {
        within(tokio(), |port| {
            let test = TestDriver::new();
            let ids = [
                test.enqueue(fetch::request(port)),
                test.enqueue(fetch_blocking::request(port)),
                test.enqueue(spawns::request(port)),
            ];
            test.run_until_idle();
            assert_eq!(ids.map(|id| test.output::<String>(id)), ["hello", "hello", "hello"]);
            test.crash_and_restart();
            let again = test.enqueue(fetch_blocking::request(port));
            let handle = test.block_on(test.manager().handle(fetch_blocking::worker(), again)).unwrap();
            assert_eq!(test.block_on(handle.output()).unwrap(), "hello");
            test.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        });
        within(tokio(), |port| {
            assert_eq!(TestWorker::<fetch>::new(fetch::request(port)).output(), "hello");
            assert_eq!(TestWorker::<fetch_blocking>::new(fetch_blocking::request(port)).output(), "hello");
        });
    }
}

/// In a plain `#[test]` there is none to be found, and the advice says which attribute has one.
#[test]
fn a_test_outside_of_tokio_tells_who_needs_it() {
    let test = TestDriver::new();
    let id = test.enqueue(fetch::request(1));
    test.run_until_idle();
    let error = test.info(id).last_error().unwrap().clone();
    assert!(error.sources[0].contains("`#[tokio::test]`"), "{error:?}");
}

/// W10: the runtime goes away under its workers.
#[test]
fn a_runtime_that_goes_away_interrupts_its_works_and_is_reported() {
    let tokio = Tokio::new().unwrap();
    let runtime = TokioRuntime::new(tokio.handle().clone());
    let manager = WorkManager::builder(MemoryStore::new()).runtime(runtime).start().unwrap();
    let work = block_on(manager.enqueue(waits_for_ever::request())).unwrap();
    let mut watched = work.watch();
    while block_on(watched.next()).unwrap().progress.is_none() {}
    tokio.shutdown_background();
    let info = block_on(async {
        loop {
            let info = watched.next().await.unwrap();
            if info.interruptions > 0 {
                return info;
            }
        }
    });
    assert_eq!((info.state, info.failures), (WorkState::Enqueued, 0));
    assert_eq!(info.stop_reason, Some(StopReason::RuntimeGone));
    assert!(matches!(manager.health(), HealthStatus::Degraded { .. }));
}

const CHILD: &str = "WORKMAN_LEAVING";

/// Not a test of its own: what the children run. The manager is dropped inside of the runtime, on its only thread if it has one.
#[test]
fn a_child_that_leaves() {
    let (Ok(flavour), Ok(file)) = (std::env::var(CHILD), std::env::var("WORKMAN_FILE")) else { return };
    let mut tokio = match flavour.as_str() {
        "one" => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    tokio.enable_all().build().unwrap().block_on(async {
        let manager = WorkManager::builder(RedbStore::open(file).unwrap()).start().unwrap();
        for request in [waits_for_ever::request(), waits_here::request()] {
            let mut watched = manager.enqueue(request).await.unwrap().watch();
            while watched.next().await.unwrap().state != WorkState::Running {}
        }
        drop(manager);
    });
    std::process::exit(0);
}

#[test]
fn a_tokio_program_that_ends_right_behind_the_last_drop_has_interrupted_its_works_and_killed_none() {
    let rounds = std::env::var("WORKMAN_EXITS").map_or(3, |rounds| rounds.parse().unwrap());
    for round in 1..=rounds {
        for flavour in ["one", "many"] {
            let home = RedbHome::new("tokio-exits");
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "a_child_that_leaves", "--nocapture"])
                .env(CHILD, flavour)
                .env("WORKMAN_FILE", home.file())
                .output()
                .unwrap();
            assert!(child.status.success(), "in round {round}: {child:?}");
            let store = RedbStore::open(home.file()).unwrap();
            let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).enqueue_only().start().unwrap();
            let works = block_on(manager.query(WorkQuery::all())).unwrap();
            assert_eq!(works.len(), 2);
            for work in works {
                // What was claimed and whose body had not begun is given back as it was.
                let begun = u32::from(!work.attempts.is_empty());
                let counts = (work.state, work.deaths, work.failures, work.interruptions);
                assert_eq!(counts, (WorkState::Enqueued, 0, 0, begun), "in round {round}: {work:?}");
            }
        }
    }
}

/// What tokio does when the system gives it no thread: it panics, and keeps the job. Here the runtime is gone, so it drops it.
#[test]
fn who_waits_for_an_output_of_a_tokio_that_has_ended_is_told() {
    let tokio = Tokio::new().unwrap();
    let runtime = TokioRuntime::new(tokio.handle().clone());
    tokio.shutdown_background();
    let manager = WorkManager::builder(MemoryStore::new()).runtime(runtime).start().unwrap();
    for request in [waits_for_ever::request(), waits_here::request()] {
        let work = block_on(manager.enqueue(request)).unwrap();
        assert!(matches!(block_on(work.output()), Err(OutputError::RuntimeGone)));
        let info = block_on(work.info()).unwrap().unwrap();
        assert_eq!((info.state, info.interruptions, info.attempts.len()), (WorkState::Enqueued, 0, 0));
    }
}
