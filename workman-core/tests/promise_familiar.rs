//! What somebody who comes from WorkManager looks for first: identity, tags, infos, queries, observation, constraints, payloads.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::task::{Context, Poll, Waker};

use futures::StreamExt;
use support::{HOUR, MINUTE, secs};
use workman_core::{
    AttemptEnd, Backoff, ConstraintKind, Constraints, ExistingWorkPolicy, HandleError, Network, NetworkType, Payload,
    Schedule, WorkContext, WorkError, WorkQuery, WorkState, worker,
};
use workman_testing::{TestDriver, TestWorker, VirtualClock};

/// Who a run is, as its context says.
type Who = (String, String, Vec<String>, u32);

#[worker]
async fn who_am_i(cx: &WorkContext) -> Result<Who, String> {
    if cx.attempt() == 0 {
        return Err("the first attempt fails".into());
    }
    Ok((cx.id().to_string(), cx.worker().to_owned(), cx.tags().map(str::to_owned).collect(), cx.attempt()))
}

#[test]
fn a_worker_alone_has_the_id_and_the_tags_of_its_request() {
    let request = who_am_i::request().tag("b").tag("a");
    let id = request.id().to_string();
    let wanted = (id, "who_am_i".to_owned(), vec!["a".to_owned(), "b".to_owned()], 4);
    assert_eq!(TestWorker::<who_am_i>::new(request).attempt(4).output(), wanted);
}

#[worker]
async fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[worker]
async fn slowly(cx: &WorkContext, by: u64) -> Result<u64, WorkError> {
    cx.sleep(secs(by)).await?;
    Ok(by)
}

#[test]
fn a_handle_is_typed_again_and_another_worker_is_refused() {
    let test = TestDriver::new();
    let id = test.enqueue(add::request(1, 2));
    test.run_until_idle();
    test.restart();
    let manager = test.manager();
    let handle = test.block_on(manager.handle(add::worker(), id)).unwrap();
    assert_eq!(test.block_on(handle.output()).unwrap(), 3_u32);
    let other = test.block_on(manager.handle(slowly::worker(), id)).unwrap_err();
    assert!(matches!(&other, HandleError::OtherWorker { found, .. } if &**found == "add"), "{other}");
    let unknown = test.block_on(manager.handle(add::worker(), add::request(0, 0).id())).unwrap_err();
    assert!(matches!(unknown, HandleError::NotFound(_)), "{unknown}");
}

#[worker]
async fn three_steps(cx: &WorkContext) -> Result<(), WorkError> {
    for step in 1..=3 {
        cx.set_progress(&step)?;
        cx.sleep(secs(60)).await?;
    }
    Ok(())
}

#[test]
fn obs_1_watching_shows_changes_and_no_snapshot_twice() {
    let test = TestDriver::new();
    let mut watched = test.manager().watch(WorkQuery::tag("three_steps"));
    assert_eq!(test.block_on(watched.next()).unwrap(), []);
    let id = test.enqueue(three_steps::request());
    let mut seen = Vec::new();
    for _ in 0..10 {
        test.advance(secs(30));
        test.enqueue(add::request(1, 1)); // a commit that changes nothing of what is watched
        test.run_until_idle();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(works)) = watched.poll_next_unpin(&mut context) {
            assert_eq!(works.len(), 1);
            assert_eq!(works[0].id, id);
            seen.push(works);
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "equal snapshots follow each other");
    let steps: Vec<_> = seen.iter().filter_map(|works| works[0].progress.as_ref()?.decode::<u32>().ok()).collect();
    assert!(steps.is_sorted() && steps.contains(&2), "{steps:?}");
    assert_eq!(seen.last().unwrap()[0].state, WorkState::Succeeded);
}

#[test]
fn obs_4_a_call_is_stored_when_its_future_is_ready() {
    let test = TestDriver::new();
    let (manager, request) = (test.manager(), add::request(1, 2));
    let (id, before) = (request.id(), test.commits());
    let call = manager.enqueue(request);
    assert_eq!(test.commits(), before, "a future that nobody polls does nothing");
    let handle = test.block_on(call).unwrap();
    assert_eq!((handle.id(), test.commits()), (id, before + 1));
    test.crash_and_restart();
    test.run_until_idle();
    assert_eq!(test.output::<u32>(id), 3);
}

#[test]
fn each_network_is_good_for_its_types() {
    use NetworkType::{Connected, Metered, NotRequired, NotRoaming, TemporarilyUnmetered, Unmetered};
    let roaming = Network::Connected { metered: true, roaming: true };
    for (network, good_for) in [
        (Network::Disconnected, &[NotRequired][..]),
        (Network::UNMETERED, &[NotRequired, Connected, Unmetered, NotRoaming, TemporarilyUnmetered]),
        (Network::METERED, &[NotRequired, Connected, NotRoaming, Metered]),
        (roaming, &[NotRequired, Connected, Metered]),
    ] {
        let test = TestDriver::new();
        test.set_network(network);
        for wanted in [NotRequired, Connected, Unmetered, NotRoaming, Metered, TemporarilyUnmetered] {
            let id = test.enqueue(add::request(1, 2).constraints(Constraints::new().network(wanted)));
            test.advance(MINUTE);
            let runs = test.state_of(id) == WorkState::Succeeded;
            assert_eq!(runs, good_for.contains(&wanted), "{wanted:?} on {network}");
        }
    }
}

#[test]
fn con_1_constraints_are_values_that_are_all_asked_for() {
    let both = Constraints::new().requires_charging().requires_storage_not_low();
    assert_eq!(both, Constraints::new().requires_storage_not_low().requires_charging());
    assert_eq!(Constraints::new(), Constraints::NONE);
    assert_ne!(both, Constraints::NONE);
    assert!(Constraints::NONE.is_none() && !both.is_none());

    let test = TestDriver::new();
    test.lose(ConstraintKind::Charging);
    test.lose(ConstraintKind::StorageNotLow);
    let id = test.enqueue(add::request(1, 2).constraints(both));
    test.meet(ConstraintKind::Charging);
    test.advance(HOUR);
    assert_eq!(test.state_of(id), WorkState::Enqueued, "one of two is not enough");
    test.meet(ConstraintKind::StorageNotLow);
    test.advance(HOUR);
    assert_eq!(test.state_of(id), WorkState::Succeeded);
}

#[test]
fn an_info_says_what_was_asked_for_and_what_became_of_it() {
    let test = TestDriver::new();
    let constraints = Constraints::new().requires_charging();
    let backoff = Backoff::linear(secs(7));
    let request =
        slowly::request(60).tag("mine").constraints(constraints.clone()).initial_delay(secs(10)).backoff(backoff);
    let id = test.enqueue_unique("name", ExistingWorkPolicy::Keep, request).id;
    let after = test.block_on(test.manager().begin_with(add::request(1, 2)).then(add::request(3, 4)).enqueue());
    let after = after.unwrap().ids;
    test.advance(HOUR);

    let info = test.info(id);
    assert_eq!((info.id, &*info.worker, info.name.as_deref()), (id, "slowly", Some("name")));
    assert!(["mine", "slowly"].iter().all(|tag| info.tags.iter().any(|of| **of == **tag)));
    assert_eq!((info.constraints, info.schedule, info.generation), (constraints, Schedule::Once, 0));
    assert_eq!((info.initial_delay, info.backoff), (secs(10), backoff));
    assert_eq!(info.input.decode::<std::collections::BTreeMap<String, u64>>().unwrap()["by"], 60);
    let (begin, end) = (VirtualClock::START + secs(10), VirtualClock::START + secs(70));
    assert_eq!((info.created, info.finished), (VirtualClock::START, Some(end)));
    let attempt = &info.attempts[0];
    assert_eq!((attempt.started, attempt.ended, &attempt.end), (begin, end, &AttemptEnd::Succeeded));
    assert_eq!(test.info(after[1]).prerequisites, [after[0]]);

    let periodic = test.enqueue_periodic(three_steps::periodic(HOUR));
    assert_eq!(test.info(periodic).schedule.interval(), Some(HOUR));
}

#[test]
fn sm_1_three_states_are_final() {
    let finished = WorkState::ALL.into_iter().filter(|state| state.is_finished());
    assert_eq!(finished.collect::<Vec<_>>(), [WorkState::Succeeded, WorkState::Failed, WorkState::Cancelled]);
}

#[test]
fn a_manager_that_only_enqueues_runs_nothing() {
    let test = TestDriver::new().shape(|builder| builder.enqueue_only());
    let id = test.enqueue(add::request(1, 2));
    test.advance(HOUR);
    assert_eq!((test.state_of(id), test.info(id).runs), (WorkState::Enqueued, 0));
    assert_eq!(test.explain(id), workman_core::Explanation::EnqueuesOnly);
}

#[worker]
fn greet(name: Option<String>, titles: Vec<Option<String>>) -> String {
    let titles: Vec<_> = titles.iter().map(|title| title.as_deref().unwrap_or("-")).collect();
    format!("{} {}", titles.join(" "), name.as_deref().unwrap_or("nobody"))
}

#[test]
fn an_optional_argument_may_be_missing() {
    let test = TestDriver::new();
    let some = test.enqueue(greet::request(Some("Ann".into()), vec![Some("Dr".into()), None]));
    let none = test.enqueue(greet::request(None, Vec::new()));
    test.run_until_idle();
    assert_eq!((test.output::<String>(some), test.output::<String>(none)), ("Dr - Ann".into(), " nobody".into()));
}

#[test]
fn a_payload_is_bytes_with_a_codec() {
    let payload = Payload::encode(&("cat", 3)).unwrap();
    let again = Payload::new(payload.codec(), payload.bytes());
    assert_eq!(again.decode::<(String, u8)>().unwrap(), ("cat".to_owned(), 3));
    assert_eq!((again.len(), again), (9, payload));
}

#[test]
fn a_driver_names_an_id_that_it_does_not_know() {
    let test = TestDriver::new();
    let unknown = add::request(1, 2).id();
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test.info(unknown))).unwrap_err();
    let message = asked.downcast_ref::<String>().unwrap();
    assert!(message.contains(&unknown.to_string()), "{message}");
}
