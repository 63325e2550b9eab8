//! What every runtime promises, checked on every runtime that this build has. Signals only, no sleeps.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use workman_core::seams::block_on;
use workman_core::{Runtime, ThreadRuntime};

/// Longer than anything here takes; a test that would hang fails instead.
const LIMIT: Duration = Duration::from_secs(20);

/// All of the contract that a runtime can show while it lives.
fn keeps_the_contract(runtime: &dyn Runtime) {
    runs_what_is_spawned(runtime);
    polls_again_when_another_thread_wakes(runtime);
    loses_no_wake_up_that_comes_during_a_poll(runtime);
    survives_panics(runtime);
    blocking_jobs_stall_no_future(runtime);
}

fn runs_what_is_spawned(runtime: &dyn Runtime) {
    let (done, answers) = mpsc::channel();
    for number in 0..100 {
        let (from_future, from_job) = (done.clone(), done.clone());
        runtime.spawn(Box::pin(async move { from_future.send(number).unwrap() }));
        runtime.spawn_blocking(Box::new(move || from_job.send(100 + number).unwrap()));
    }
    let mut answers: Vec<i32> = (0..200).map(|_| answers.recv_timeout(LIMIT).unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, Vec::from_iter(0..200), "{}", runtime.name());
}

fn polls_again_when_another_thread_wakes(runtime: &dyn Runtime) {
    let (ping, wait_ping) = oneshot::channel::<()>();
    let (pong, wait_pong) = mpsc::channel();
    let (started, wait_started) = mpsc::channel();
    runtime.spawn(Box::pin(async move {
        started.send(()).unwrap();
        wait_ping.await.unwrap();
        pong.send(()).unwrap();
    }));
    wait_started.recv_timeout(LIMIT).unwrap();
    thread::spawn(move || ping.send(()).unwrap()).join().unwrap();
    wait_pong.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{}: {error}", runtime.name()));
}

fn loses_no_wake_up_that_comes_during_a_poll(runtime: &dyn Runtime) {
    let (done, wait_done) = mpsc::channel();
    for _ in 0..20 {
        let done = done.clone();
        let mut left = 100;
        runtime.spawn(Box::pin(async move {
            std::future::poll_fn(|cx| {
                left -= 1;
                let waker = cx.waker().clone();
                if left % 10 == 0 {
                    thread::spawn(move || waker.wake());
                } else {
                    waker.wake();
                }
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            done.send(()).unwrap();
        }));
    }
    for _ in 0..20 {
        wait_done.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{}: {error}", runtime.name()));
    }
}

fn survives_panics(runtime: &dyn Runtime) {
    for _ in 0..8 {
        runtime.spawn(Box::pin(async { panic!("a future panics, as this test wants it to") }));
        runtime.spawn_blocking(Box::new(|| panic!("a job panics, as this test wants it to")));
    }
    runs_what_is_spawned(runtime);
}

fn blocking_jobs_stall_no_future(runtime: &dyn Runtime) {
    let mut gates = Vec::new();
    let (entered, wait_entered) = mpsc::channel();
    for _ in 0..16 {
        let (gate, wait_gate) = mpsc::channel::<()>();
        let entered = entered.clone();
        runtime.spawn_blocking(Box::new(move || {
            entered.send(()).unwrap();
            wait_gate.recv().unwrap_err();
            entered.send(()).unwrap();
        }));
        gates.push(gate);
    }
    let wait_all = || (0..16).for_each(|_| wait_entered.recv_timeout(LIMIT).unwrap());
    wait_all();
    let (done, wait_done) = mpsc::channel();
    runtime.spawn(Box::pin(async move { done.send(()).unwrap() }));
    wait_done.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{}: {error}", runtime.name()));
    drop(gates);
    wait_all();
}

#[test]
fn the_built_in_threads_keep_the_contract() {
    keeps_the_contract(&ThreadRuntime::new());
}

#[test]
fn a_single_built_in_thread_keeps_the_contract() {
    keeps_the_contract(&ThreadRuntime::with_threads(1));
}

#[test]
fn built_in_threads_drop_what_has_not_ended_when_they_are_dropped() {
    let runtime = ThreadRuntime::new();
    let (alive, when_dropped) = oneshot::channel::<()>();
    let (started, wait_started) = mpsc::channel();
    runtime.spawn(Box::pin(async move {
        started.send(()).unwrap();
        std::future::pending::<()>().await;
        drop(alive);
    }));
    wait_started.recv_timeout(LIMIT).unwrap();
    drop(runtime);
    assert!(block_on(when_dropped).is_err());
}

#[test]
fn a_manager_without_a_runtime_gets_built_in_threads_also_where_another_crate_has_turned_tokio_on() {
    let runtime = workman_core::seams::default_runtime();
    assert_eq!(runtime.name(), "built-in threads");
    runs_what_is_spawned(runtime.as_ref());
}

#[cfg(feature = "smol")]
#[test]
fn smol_keeps_the_contract() {
    keeps_the_contract(&workman_core::SmolRuntime::new());
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use tokio::runtime::{Builder, Runtime as Tokio};
    use workman_core::TokioRuntime;
    use workman_core::seams::default_runtime;

    use super::*;

    fn tokio() -> Tokio {
        Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn tokio_keeps_the_contract() {
        let tokio = tokio();
        let runtime = TokioRuntime::new(tokio.handle().clone());
        let (stop, wait_stop) = oneshot::channel::<()>();
        let driver = thread::spawn(move || tokio.block_on(wait_stop));
        keeps_the_contract(&runtime);
        drop(stop);
        driver.join().unwrap().unwrap_err();
    }

    #[test]
    fn the_ambient_tokio_is_the_default() {
        let tokio = tokio();
        assert_eq!(tokio.block_on(async { default_runtime().name() }), "tokio");
        let text = TokioRuntime::current().unwrap_err().to_string();
        assert!(text.contains("`TokioRuntime::new(handle)`"), "{text}");
    }

    #[test]
    fn a_tokio_that_ends_drops_its_futures_and_those_that_come_too_late() {
        let tokio = tokio();
        let runtime = TokioRuntime::new(tokio.handle().clone());
        let (early, early_dropped) = oneshot::channel::<()>();
        runtime.spawn(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(early);
        }));
        tokio.block_on(async {});
        drop(tokio);
        assert!(block_on(early_dropped).is_err());

        let (late, late_dropped) = oneshot::channel::<()>();
        runtime.spawn(Box::pin(async { late.send(()).unwrap() }));
        assert!(block_on(late_dropped).is_err());

        let (late, late_dropped) = oneshot::channel::<()>();
        runtime.spawn_blocking(Box::new(|| late.send(()).unwrap()));
        assert!(block_on(late_dropped).is_err());
    }
}
