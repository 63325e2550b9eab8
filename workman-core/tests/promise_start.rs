//! What a start asks of a program, and what one that only enqueues does not need.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use workman_core::seams::Registry;
use workman_core::{
    Constraints, EnqueueError, Explanation, MemoryStore, NetworkType, StartError, ThreadRuntime, WorkManager, worker,
};
use workman_testing::{TestDriver, TestWorker};

#[derive(Clone)]
struct Database(&'static str);

#[worker]
fn saves(#[state] database: Database, row: u32) -> String {
    format!("{row} in {}", database.0)
}

mod here {
    #[workman_core::worker]
    pub(crate) fn same() -> u8 {
        1
    }
}

mod there {
    #[workman_core::worker]
    pub(crate) fn same() -> u8 {
        2
    }
}

fn only(registry: impl FnOnce(&mut Registry)) -> Registry {
    let mut workers = Registry::new();
    registry(&mut workers);
    workers
}

#[test]
fn two_states_of_one_type_are_refused_at_the_start_whoever_is_to_get_them() {
    let workers = [only(|_| ()), only(|workers| _ = workers.add::<saves>())];
    for workers in workers {
        let builder = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).workers(workers);
        let builder = builder.state(Database("one")).state(7_u8).state(Database("other"));
        let Err(error) = builder.start() else { panic!("nobody can say which is meant") };
        assert!(matches!(error, StartError::StateTwice { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("::Database`") && text.contains("struct Other("), "{text}");
    }
    let builder = WorkManager::builder(MemoryStore::new()).enqueue_only();
    assert!(builder.state(1_u8).state(2_u8).start().is_err(), "there is no use for a second one anywhere");
    let alone = || TestWorker::<saves>::new(saves::request(1)).state(Database("one")).state(Database("other"));
    assert!(std::panic::catch_unwind(alone).is_err());
}

#[test]
fn a_program_that_only_enqueues_needs_no_state_no_sensor_and_no_workers_that_can_be_told_apart() {
    let store = Arc::new(MemoryStore::new());
    let workers = only(|workers| _ = workers.add::<saves>().add::<here::same>().add::<there::same>());
    let manager = WorkManager::builder(Arc::clone(&store)).workers(workers.clone()).enqueue_only().start().unwrap();
    let at_home = Constraints::new().network(NetworkType::Unmetered);
    let saved = block_on(manager.enqueue(saves::request(1).constraints(at_home.clone()))).unwrap();
    block_on(manager.enqueue(here::same::request())).unwrap();
    assert_eq!(block_on(manager.explain(saved.id())).unwrap(), Explanation::EnqueuesOnly);

    // Who runs them needs all of it.
    let runs = || WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new());
    assert!(matches!(runs().workers(workers).start(), Err(StartError::DuplicateWorker(_))));
    let workers = only(|workers| _ = workers.add::<saves>());
    assert!(matches!(runs().workers(workers.clone()).start(), Err(StartError::MissingState { .. })));
    let manager = runs().workers(workers).state(Database("one")).start().unwrap();
    let refused = block_on(manager.enqueue(saves::request(1).constraints(at_home)));
    assert!(matches!(refused, Err(EnqueueError::NoSensor { .. })), "{refused:?}");
    block_on(manager.shutdown(Duration::ZERO));
}

#[test]
fn workers_of_one_name_are_no_concern_of_a_test_that_runs_neither() {
    let test = TestDriver::new().state(Database("one"));
    let id = test.enqueue(saves::request(3));
    test.run_until_idle();
    assert_eq!(test.output::<String>(id), "3 in one");
}

fn message_of(test: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test)).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_test_that_runs_one_of_two_workers_of_one_name_is_told_both_places_and_how_to_say_which() {
    for request in [here::same::request, there::same::request] {
        let test = TestDriver::new().state(Database("one"));
        let message = message_of(|| {
            test.enqueue(request());
            test.run_until_idle();
        });
        for part in ["two workers are called \"same\"", "promise_start.rs", "`register` or `stub`", "WORKMAN_SEED"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}

#[test]
fn a_test_that_names_or_fakes_one_of_two_workers_of_one_name_runs_that_one() {
    let named = TestDriver::new().register::<there::same>();
    let id = named.enqueue(there::same::request());
    named.run_until_idle();
    assert_eq!(named.output::<u8>(id), 2);

    let faked = TestDriver::new().state(Database("one"));
    faked.stub::<here::same>([Ok(9)]);
    let id = faked.enqueue(here::same::request());
    faked.run_until_idle();
    assert_eq!(faked.output::<u8>(id), 9);
    // The other one is not taken for it.
    let message = message_of(|| {
        faked.enqueue(there::same::request());
        faked.run_until_idle();
    });
    assert!(message.contains("two workers are called \"same\""), "{message}");
}
