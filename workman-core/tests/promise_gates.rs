//! Gates hold: limits, keys, rates, serial lanes and pauses, through the public interface alone. `docs/gates.md` names these tests.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use support::{HOUR, MINUTE, RedbHome, secs};
use workman_core::seams::Registry;
use workman_core::{
    ActionError, Explanation, Gate, GateTarget, HealthStatus, MemoryStore, OnSerialFailure, Pausing, StopReason,
    ThreadRuntime, WorkContext, WorkError, WorkId, WorkManager, WorkQuery, WorkState, worker,
};
use workman_testing::{CrashPoint, TestDriver};

/// Takes a minute, and says when it began.
#[worker]
async fn minute(cx: &WorkContext, #[state] log: Log, number: u32) -> Result<u32, WorkError> {
    log.lock().unwrap().push(number);
    cx.sleep(MINUTE).await?;
    Ok(number)
}

#[worker(max_attempts = 1)]
async fn fails(cx: &WorkContext, #[state] log: Log, number: u32) -> Result<u32, WorkError> {
    log.lock().unwrap().push(number);
    cx.sleep(MINUTE).await?;
    Err(WorkError::permanent("no"))
}

/// Holds its slot for a day.
#[worker]
async fn lasts(cx: &WorkContext) -> Result<(), WorkError> {
    cx.sleep(24 * HOUR).await?;
    Ok(())
}

#[worker]
fn at_once(number: u32) -> u32 {
    number
}

/// Does not care that it is told to stop.
#[worker]
async fn ignores(#[state] gate: workman_testing::Signal) {
    gate.wait().await;
}

type Log = Arc<Mutex<Vec<u32>>>;

fn world() -> (TestDriver, Log) {
    let log = Log::default();
    (TestDriver::new().state(log.clone()), log)
}

fn running(test: &TestDriver) -> usize {
    test.query(WorkQuery::in_state(WorkState::Running)).len()
}

fn begun(log: &Log) -> Vec<u32> {
    log.lock().unwrap().clone()
}

fn of(customer: u32, number: u32) -> workman_core::Request<workman_core::Nothing, u32> {
    minute::request(number).limit_key(format!("customer/{customer}"))
}

#[test]
fn no_more_works_of_a_worker_run_at_once_than_its_limit_says() {
    let (test, log) = world();
    let test = test.shape(|builder| builder.limit(Gate::worker::<minute>().at_once(1)));
    for number in 1..=3 {
        test.enqueue(minute::request(number));
    }
    let other = test.enqueue(at_once::request(7));
    test.run_until_idle();
    assert_eq!((begun(&log), test.output::<u32>(other)), (vec![1], 7));
    test.advance(MINUTE);
    assert_eq!(begun(&log), [1, 2]);
    test.advance(MINUTE);
    test.advance(MINUTE);
    assert_eq!(begun(&log), [1, 2, 3]);
}

#[test]
fn two_of_each_customer_run_and_three_of_the_one_that_is_excepted() {
    let (test, _) = world();
    let mut limits = TestDriver::default_limits();
    limits.async_slots = 20;
    let test = test
        .limits(limits)
        .shape(|builder| builder.limit(Gate::keys("customer/*").at_once(2)).limit(Gate::key("customer/3").at_once(3)));
    let count = |customer| {
        let works = test.query(WorkQuery::in_state(WorkState::Running));
        works.iter().filter(|info| info.tags.iter().any(|tag| **tag == format!("c{customer}"))).count()
    };
    for customer in 1..=3 {
        for number in 0..4 {
            test.enqueue(of(customer, number).tag(format!("c{customer}")));
        }
    }
    test.run_until_idle();
    assert_eq!([1, 2, 3].map(count), [2, 2, 3]);
}

#[test]
fn a_rate_lets_so_many_begin_in_its_time_and_a_burst_after_a_rest() {
    let (test, _) = world();
    let test = test.shape(|builder| builder.limit(Gate::tag("mail").rate(6, MINUTE).burst(2)));
    let ids: Vec<WorkId> = (0..5).map(|number| test.enqueue(at_once::request(number).tag("mail"))).collect();
    let done = || ids.iter().filter(|id| test.state_of(**id) == WorkState::Succeeded).count();
    test.run_until_idle();
    assert_eq!(done(), 2, "a burst");
    let told = test.explain(ids[4]).to_string();
    assert!(told.contains("tag `mail`") && told.contains("opens by itself at"), "{told}");
    for expected in [3, 4, 5] {
        test.advance(secs(9));
        assert_eq!(done(), expected - 1);
        test.advance(secs(1));
        assert_eq!(done(), expected);
    }
}

#[test]
fn keys_take_turns_and_one_of_twice_the_weight_has_two() {
    let (test, log) = world();
    let mut limits = TestDriver::default_limits();
    limits.async_slots = 1;
    let test = test.limits(limits).shape(|builder| builder.limit(Gate::key("customer/2").weight(2)));
    for number in 10..14 {
        test.enqueue(of(1, number));
    }
    for number in 20..24 {
        test.enqueue(of(2, number));
    }
    test.advance(6 * MINUTE);
    let order = begun(&log);
    assert_eq!(order.iter().filter(|number| **number >= 20).count(), 4, "{order:?}");
    assert!(order[..6].iter().any(|number| *number < 20), "{order:?}");
}

#[test]
fn the_works_of_a_serial_lane_run_one_by_one_in_order_and_a_failure_does_what_was_said() {
    use OnSerialFailure::{End, Hold, Skip};
    for (on_failure, expected) in [(Hold, vec![1]), (Skip, vec![1, 2, 3]), (End, vec![1])] {
        let (test, log) = world();
        let first = test.enqueue(fails::request(1).serial("account/7", on_failure));
        let rest = [2, 3].map(|number| test.enqueue(minute::request(number).serial("account/7", on_failure)));
        test.run_until_idle();
        assert_eq!((begun(&log), running(&test)), (vec![1], 1));
        test.advance(5 * MINUTE);
        assert_eq!(begun(&log), expected, "{on_failure:?}");
        let states = rest.map(|id| test.state_of(id));
        match on_failure {
            Hold => {
                let told = test.explain(rest[0]).to_string();
                assert!(told.contains(&first.to_string()) && told.contains("resume"), "{told}");
                test.resume(Gate::serial("account/7"));
                test.advance(3 * MINUTE);
                assert_eq!(begun(&log), [1, 2, 3]);
            }
            Skip => assert_eq!(states, [WorkState::Succeeded; 2]),
            _ => assert_eq!(states, [WorkState::Cancelled; 2]),
        }
    }
}

#[test]
fn a_pause_lets_nothing_begin_until_its_end_whatever_it_stands_before() {
    for gate in [Gate::everything(), Gate::worker::<at_once>(), Gate::tag("t"), Gate::name("n"), Gate::key("k")] {
        let test = TestDriver::new();
        test.pause(Pausing::of(gate.clone()).because("the server moves"));
        let request = at_once::request(1).tag("t").limit_key("k");
        let id = test.enqueue_unique("n", workman_core::ExistingWorkPolicy::Keep, request).id;
        test.advance(HOUR);
        assert_eq!(test.state_of(id), WorkState::Enqueued, "{gate:?}");
        let told = test.explain(id);
        assert!(matches!(told, Explanation::Held(_)), "{told:?}");
        assert!(told.to_string().contains("the server moves"), "{told}");
        test.restart();
        test.advance(HOUR);
        assert_eq!(test.state_of(id), WorkState::Enqueued, "{gate:?} after a restart");
        test.resume(gate);
        test.run_until_idle();
        assert_eq!(test.output::<u32>(id), 1);
    }
}

#[test]
fn a_pause_that_names_its_end_ends_by_itself() {
    for gate in [Gate::everything(), Gate::worker::<at_once>(), Gate::tag("t")] {
        let test = TestDriver::new();
        let id = test.enqueue(at_once::request(1).tag("t").initial_delay(secs(1)));
        let info = test.info(id);
        test.pause(Pausing::of(gate).until(info.created + 10 * MINUTE));
        test.advance(9 * MINUTE);
        assert_eq!(test.state_of(id), WorkState::Enqueued);
        test.advance(MINUTE);
        assert_eq!(test.state_of(id), WorkState::Succeeded);
    }
}

#[test]
fn a_pause_that_stops_gives_back_what_runs_and_no_attempt_is_lost() {
    let (test, log) = world();
    let id = test.enqueue(minute::request(1));
    test.run_until_idle();
    assert_eq!(test.pause(Pausing::of(Gate::worker::<minute>()).stop_running()), 1);
    test.run_until_idle();
    let info = test.info(id);
    assert_eq!((info.state, info.failures, info.stop_reason), (WorkState::Enqueued, 0, Some(StopReason::Paused)));
    test.resume(Gate::worker::<minute>());
    test.advance(MINUTE);
    assert_eq!((test.state_of(id), begun(&log)), (WorkState::Succeeded, vec![1, 1]));
}

#[test]
fn limits_and_pauses_outlive_deaths_and_restarts_and_no_slot_leaks() {
    let log = Log::default();
    let test = TestDriver::new().state(log.clone()).store(RedbHome::new("gates"));
    test.limit(Gate::tag("t").at_once(1));
    test.pause(Gate::tag("p"));
    let ids = [1, 2].map(|number| test.enqueue(minute::request(number).tag("t")));
    let paused = test.enqueue(at_once::request(3).tag("p"));
    for _ in 0..3 {
        test.run_until_idle();
        assert_eq!(running(&test), 1);
        test.crash_and_restart();
    }
    let next = test.commits() + 2;
    test.crash_at(next, CrashPoint::After);
    test.advance(MINUTE);
    test.crash_and_restart();
    test.advance(10 * MINUTE);
    assert!(ids.iter().all(|id| test.state_of(*id) == WorkState::Succeeded), "a slot has leaked");
    assert_eq!(test.state_of(paused), WorkState::Enqueued);
    let limited = test.gates().into_iter().find(|gate| gate.target == GateTarget::Tag("t".into())).unwrap();
    assert_eq!((limited.running, limited.held, limited.limits.at_once), (0, 0, Some(1)));
}

#[test]
fn what_a_person_says_counts_until_it_is_cleared_and_lowering_stops_nobody() {
    let (test, _) = world();
    let test = test.shape(|builder| builder.limit(Gate::worker::<minute>().at_once(3)));
    for number in 0..6 {
        test.enqueue(minute::request(number));
    }
    test.run_until_idle();
    test.limit(Gate::worker::<minute>().at_once(1));
    test.run_until_idle();
    assert_eq!(running(&test), 3);
    test.restart();
    test.run_until_idle();
    assert_eq!(running(&test), 1, "the code says three again, and a person one");
    let manager = test.manager();
    test.block_on(manager.clear_limit(Gate::worker::<minute>())).unwrap();
    test.run_until_idle();
    assert_eq!(running(&test), 3);
}

#[test]
fn wishes_that_make_no_sense_are_refused_and_names_that_nobody_has_are_none() {
    let test = TestDriver::new();
    let manager = test.manager();
    let long = "k".repeat(10 * 1024);
    let senseless = [
        Gate::tag("t").at_once(0),
        Gate::tag("t").rate(0, MINUTE),
        Gate::tag("t").rate(1, Duration::ZERO),
        Gate::tag("t").rate(1, MINUTE).burst(0),
        Gate::key("k").weight(0),
        Gate::tag("t").weight(2),
        Gate::serial("s").at_once(1),
        Gate::keys("no star").at_once(1),
        Gate::key(long.clone()).at_once(1),
    ];
    for gate in senseless {
        let refused = test.block_on(manager.limit(gate.clone()));
        assert!(matches!(refused, Err(ActionError::Refused(_))), "{gate:?}: {refused:?}");
    }
    let error = test.try_enqueue(at_once::request(1).limit_key(long)).unwrap_err().to_string();
    assert!(error.contains("limit_key") && error.contains("the limit is 128"), "{}", &error[error.len() - 200..]);
    test.pause(Gate::tag("nobody"));
    test.pause(Gate::of(GateTarget::Worker("nobody".into())));
    let gates = test.gates();
    assert!(gates.len() == 2 && gates.iter().all(|gate| gate.shut && gate.held == 0), "{gates:?}");
}

#[test]
fn whoever_asks_is_told_the_gate_its_limit_and_who_holds_it() {
    let (test, _) = world();
    test.limit(Gate::keys("customer/*").at_once(1));
    let ids = [1, 2].map(|number| test.enqueue(of(9, number)));
    test.run_until_idle();
    assert_eq!(test.info(ids[1]).held, Some(GateTarget::Key("customer/9".into())));
    assert_eq!(test.info(ids[0]).held, None);
    let told = test.explain(ids[1]).to_string();
    for part in ["key `customer/9`", "1 at once", &ids[0].to_string()] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_run_that_ignores_its_stop_counts_at_its_gate_as_long_as_it_goes_on() {
    let signal = workman_testing::Signal::new();
    let test = TestDriver::new().state(signal.clone()).nobody_outside();
    test.limit(Gate::tag("t").at_once(1));
    let first = test.enqueue(ignores::request().tag("t"));
    let second = test.enqueue(at_once::request(2).tag("t"));
    test.run_until_idle();
    test.cancel(workman_core::WorkSelector::Id(first));
    test.run_until_idle();
    assert_eq!((test.state_of(first), test.state_of(second)), (WorkState::Cancelled, WorkState::Enqueued));
    signal.set();
    test.run_until_idle();
    assert_eq!(test.state_of(second), WorkState::Succeeded);
}

#[test]
fn a_paused_lane_is_not_said_to_stand_still_for_want_of_slots() {
    let (test, _) = world();
    let mut limits = TestDriver::default_limits();
    limits.async_slots = 1;
    let test = test.limits(limits);
    test.enqueue(lasts::request());
    test.run_until_idle();
    test.pause(Gate::worker::<fails>());
    let held = test.enqueue(fails::request(1));
    test.advance(HOUR);
    assert_eq!(test.manager().health(), HealthStatus::Healthy);
    assert!(matches!(test.explain(held), Explanation::Held(_)));
    // Once nothing but the slot is in its way, it is said that it waits for that.
    test.resume(Gate::worker::<fails>());
    test.advance(HOUR);
    assert!(matches!(test.manager().health(), HealthStatus::Degraded { .. }), "{:?}", test.manager().health());
}

/// As many as a debug build can make in a second or so: what counts is how much is committed, and that does not grow.
#[test]
fn thousands_that_are_held_cost_the_others_no_commit_and_no_look() {
    let commits = |held: u32| {
        let test = TestDriver::new();
        test.pause(Gate::key("full"));
        for number in 0..held {
            test.enqueue(at_once::request(number).limit_key("full"));
        }
        test.run_until_idle();
        let before = test.commits();
        let ids: Vec<WorkId> = (0..20).map(|number| test.enqueue(at_once::request(number).limit_key("idle"))).collect();
        test.run_until_idle();
        assert!(ids.iter().all(|id| test.state_of(*id) == WorkState::Succeeded));
        test.commits() - before
    };
    assert_eq!(commits(5_000), commits(5));
}

#[test]
fn a_slot_that_one_manager_frees_wakes_the_other() {
    for gate in [Gate::everything(), Gate::tag("t")] {
        let store: Arc<dyn workman_core::store::Store> = Arc::new(MemoryStore::new());
        let signal = workman_testing::Signal::new();
        let builder = || WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new());
        // Neither can run what the other does, so the second has to hear of the slot.
        let first = builder().workers(Registry::new()).register::<ignores>().state(signal.clone()).start().unwrap();
        let second = builder().workers(Registry::new()).register::<at_once>().start().unwrap();
        futures::executor::block_on(async {
            first.limit(gate.at_once(1)).await.unwrap();
            let runs = first.enqueue(ignores::request().tag("t")).await.unwrap();
            let mut watched = runs.watch();
            while watched.next().await.unwrap().state != WorkState::Running {}
            let waits = second.enqueue(at_once::request(7).tag("t")).await.unwrap();
            assert!(
                second.drain(Duration::from_secs(60)).await.unwrap().idle,
                "it has looked, and found nothing to do"
            );
            assert!(matches!(second.explain(waits.id()).await.unwrap(), Explanation::Held(_)));
            signal.set();
            assert_eq!(waits.output().await.unwrap(), 7);
            first.shutdown(Duration::ZERO).await;
            second.shutdown(Duration::ZERO).await;
        });
    }
}
