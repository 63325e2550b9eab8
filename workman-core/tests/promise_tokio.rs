//! Workers that need tokio, with the manager started from a plain `fn main`, with and without a runtime given.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::time::Duration;

use futures::StreamExt;
use futures::executor::block_on;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime as Tokio;
use workman_core::{
    HealthStatus, MemoryStore, OutputError, StartError, StopReason, ThreadRuntime, TokioRuntime, WorkManager,
    WorkState, worker,
};

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
async fn waits_for_ever() {
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

#[test]
fn without_a_runtime_and_outside_of_tokio_the_start_fails_and_says_what_to_add() {
    let Err(StartError::NoRuntime(error)) = WorkManager::builder(MemoryStore::new()).start() else {
        panic!("it should not have started");
    };
    assert!(error.to_string().contains(".runtime(TokioRuntime::new("), "{error}");
}

#[test]
fn a_tokio_worker_on_plain_threads_fails_with_the_way_out() {
    let builder = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new());
    let manager = builder.start().unwrap();
    let output = block_on(async { manager.enqueue(fetch::request(1)).await.unwrap().output().await });
    let Err(OutputError::Failed { last_error: Some(error), .. }) = output else { panic!("it should have failed") };
    assert!(error.to_string().contains("TokioRuntime::new"), "{error}");
}

/// W10: the runtime goes away under its workers.
#[test]
fn a_runtime_that_goes_away_interrupts_its_works_and_is_reported() {
    let tokio = Tokio::new().unwrap();
    let runtime = TokioRuntime::new(tokio.handle().clone());
    let manager = WorkManager::builder(MemoryStore::new()).runtime(runtime).start().unwrap();
    let work = block_on(manager.enqueue(waits_for_ever::request())).unwrap();
    let mut watched = work.watch();
    while block_on(watched.next()).unwrap().state != WorkState::Running {}
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
