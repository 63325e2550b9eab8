//! Requests and what they become.

use std::time::Duration;

use workman_core::steps::Many;
use workman_core::{
    Backoff, Chain, ConstraintKind, Constraints, EnqueueError, ExistingWorkPolicy, NameProblem, NetworkType,
    OutOfQuotaPolicy, RequestError, Schedule, Timestamp, WorkContext, WorkGraph, WorkId, WorkInfo, WorkManagerLimits,
    WorkQuery, WorkState, worker,
};
use workman_testing::TestDriver;

use crate::bench::{Bench, CHARGING, DAY, Diary, HOUR, MINUTE, flaky, join, millis, on_both_stores, say, secs, tell};

fn tags(info: &WorkInfo) -> Vec<&str> {
    info.tags.iter().map(|tag| &**tag).collect()
}

fn refusal(test: &Bench, request: workman_core::Request<workman_core::Nothing, String>) -> RequestError {
    match test.try_enqueue(request) {
        Err(EnqueueError::Request(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// WorkManagerImplTest 4, 14, 43: the worker's name is always a tag, and each tag counts once.
#[test]
fn the_workers_name_is_a_tag_beside_those_of_the_request() {
    on_both_stores(|test| {
        let plain = test.enqueue(say::request("plain".into()));
        assert_eq!(tags(&test.info(plain)), ["say"]);
        let a = say::request("a".into()).tag("first").tag("second").tag("first").tag("say");
        let b = tell::request("b".into()).tag("first");
        let c = say::request("c".into());
        let ids = test.chain(test.manager().begin_with(a).then(b).then(c));
        let tagged = |tag: &str| -> Vec<WorkId> {
            let found = test.query(WorkQuery::tag(tag));
            ids.iter().copied().filter(|id| found.iter().any(|info| info.id == *id)).collect()
        };
        assert_eq!(tagged("first"), ids[..2]);
        assert_eq!(tagged("second"), ids[..1]);
        assert_eq!(tagged("third"), []);
        assert_eq!(tagged("say"), [ids[0], ids[2]]);
        assert_eq!(tagged("tell"), [ids[1]]);
        let mut all = tags(&test.info(ids[0])).into_iter().map(str::to_owned).collect::<Vec<_>>();
        all.sort();
        assert_eq!(all, ["first", "say", "second"]);
    });
}

/// WorkManagerImplTest 5, EnqueueRunnableTest: many works in one call are stored together; an empty call is refused on the spot.
#[test]
fn obs_5_many_works_in_one_call_are_stored_together_and_none_is_refused() {
    on_both_stores(|test| {
        let manager = test.manager();
        let requests: Vec<_> = ["a", "b", "c"].map(|name| say::request(name.into()).initial_delay(HOUR)).into();
        let wanted: Vec<WorkId> = requests.iter().map(workman_core::Request::id).collect();
        let stored = test.wait(manager.enqueue_all(requests));
        assert_eq!(stored.iter().map(workman_core::WorkHandle::id).collect::<Vec<_>>(), wanted);
        assert!(wanted.iter().all(|id| test.state_of(*id) == WorkState::Enqueued));

        let nothing: Vec<workman_core::Request<workman_core::Nothing, String>> = Vec::new();
        assert!(matches!(test.refused(manager.enqueue_all(nothing.clone())), EnqueueError::Empty));
        assert!(matches!(
            test.refused(manager.begin_with(nothing.clone()).enqueue()),
            EnqueueError::EmptyStep { step: 1 }
        ));
        let chain = manager.begin_with(say::request("first".into())).then(nothing).then(say::request("last".into()));
        assert!(matches!(test.refused(chain.enqueue()), EnqueueError::EmptyStep { step: 2 }));
        assert_eq!(test.query(WorkQuery::all()).len(), 3, "a refused chain leaves nothing");
    });
}

/// OBS-5: a step without works is refused and named, whether it is a vector or an array, the first, in between, the last, in a
/// branch, or behind what is stored; and so is what has no step at all.
#[test]
fn obs_5_a_step_without_works_is_refused_wherever_it_stands() {
    type Requests = Vec<workman_core::Request<workman_core::Nothing, String>>;
    on_both_stores(|test| {
        let manager = test.manager();
        let say = |name: &str| say::request(name.into());
        let none: [workman_core::Request<workman_core::Nothing, String>; 0] = [];
        let stored = test.wait(manager.begin_with(say("stored")).enqueue());
        let (before, commits) = (test.query(WorkQuery::all()).len(), test.commits());
        let branch = |step: Requests| manager.begin_with(say("a")).then(say("b")).then(step);
        let chains = [
            (1, manager.begin_with(none.clone())),
            (1, manager.begin_with(none.clone()).then(none.clone())),
            (2, manager.begin_with(say("a")).then(none.clone())),
            (2, manager.begin_with([say("a"), say("b")]).then(none.clone()).then([say("c")])),
            (2, manager.begin_unique("name", ExistingWorkPolicy::Append, say("a")).then(none.clone())),
            (1, stored.then(none.clone())),
            (2, stored.then(say("a")).then(Requests::new())),
            (3, manager.combine([branch(Requests::new()), branch(vec![say("c")])])),
            (3, manager.combine([branch(Requests::new())]).then([say("c")])),
        ];
        for (step, chain) in chains {
            let error = test.refused(chain.enqueue());
            assert!(matches!(error, EnqueueError::EmptyStep { step: named } if named == step), "{step}: {error}");
            assert!(error.to_string().starts_with(&format!("step {step} of the chain has no works")), "{error}");
        }
        let typed = manager.begin_with(none.clone()).then(join::request("typed".into()));
        assert!(matches!(test.refused(typed.enqueue()), EnqueueError::EmptyStep { step: 1 }));

        let no_chains: [Chain<Many<String>>; 0] = [];
        let empty = [
            test.refused(manager.combine(no_chains).then(say("a")).enqueue()),
            test.refused(manager.enqueue_all(none)),
            test.refused(manager.enqueue_graph(WorkGraph::new())),
        ];
        for error in empty {
            assert!(matches!(error, EnqueueError::Empty), "{error}");
        }
        assert_eq!((test.query(WorkQuery::all()).len(), test.commits()), (before, commits), "nothing was stored");
    });
}

/// WorkManagerImplTest 11, 38: every constraint comes back from the store, and none leaks down a chain.
#[test]
fn constraints_come_back_from_the_store_and_do_not_leak_down_a_chain() {
    on_both_stores(|test| {
        let all = Constraints::new()
            .requires_charging()
            .requires_device_idle()
            .network(NetworkType::Metered)
            .requires_battery_not_low()
            .requires_storage_not_low();
        let first = say::request("a".into()).constraints(all.clone()).initial_delay(HOUR);
        let ids = test.chain(test.manager().begin_with(first).then(say::request("b".into())));
        let each = [
            CHARGING,
            Constraints::new().requires_device_idle(),
            Constraints::new().requires_battery_not_low(),
            Constraints::new().requires_storage_not_low(),
            Constraints::new().network(NetworkType::Connected),
            Constraints::new().network(NetworkType::Unmetered),
            Constraints::new().network(NetworkType::NotRoaming),
        ];
        let alone = each.clone().map(|one| test.enqueue(say::request("c".into()).constraints(one).initial_delay(HOUR)));
        test.crash_and_restart();
        assert_eq!(test.info(ids[0]).constraints, all);
        assert_eq!(test.info(ids[1]).constraints, Constraints::NONE);
        assert_eq!(alone.map(|id| test.info(id).constraints), each);
    });
}

/// WorkManagerImplTest 13: each work of a chain has its own backoff; the default is exponential from 30 s.
#[test]
fn bo_3_each_work_of_a_chain_backs_off_on_its_own_terms() {
    on_both_stores(|test| {
        let first = flaky::request("a".into(), 2).backoff(Backoff::linear(secs(50)));
        let ids = test.chain(test.manager().begin_with(first).then(flaky::request("b".into(), 2)));
        test.run_until_idle();
        assert_eq!(test.due_in(ids[0]), secs(50));
        test.advance(secs(50));
        assert_eq!(test.due_in(ids[0]), secs(100));
        test.advance(secs(100));
        assert_eq!(test.due_in(ids[1]), secs(30));
        test.advance(secs(30));
        assert_eq!(test.due_in(ids[1]), secs(60));
        test.advance(secs(60));
        assert_eq!(test.diary(), ["a 0", "a 1", "a 2", "b 0", "b 1", "b 2"]);
    });
}

/// WorkTest `testBuild_GeneratesSimilarWorkSpecsOnBuild`: two requests made in the same way differ in their ids only. A clone of
/// a request is the same work here, since its id is known before it is stored.
#[test]
fn unq_8_requests_made_alike_differ_in_their_ids_only_and_a_clone_is_the_same_work() {
    on_both_stores(|test| {
        let make = || {
            let request = say::request("x".into()).tag("t").priority(3).initial_delay(HOUR);
            request.constraints(CHARGING).keep_results_for_at_least(DAY).backoff(Backoff::linear(MINUTE))
        };
        let (one, two) = (make(), make());
        assert_ne!(one.id(), two.id());
        let first = test.enqueue(one.clone());
        let mut twin = test.info(test.enqueue(two));
        twin.id = first;
        assert_eq!(twin, test.info(first));
        assert_eq!(test.enqueue(one), first);
        assert_eq!(test.query(WorkQuery::all()).len(), 2);
    });
}

/// WorkTest `testBuild_withInitialDelay`.
#[test]
fn nrt_4_an_initial_delay_is_kept_to_the_millisecond() {
    on_both_stores(|test| {
        let id = test.enqueue(say::request("x".into()).initial_delay(millis(123)));
        assert_eq!(test.due_in(id), millis(123));
        test.advance(millis(122));
        assert_eq!(test.state_of(id), WorkState::Enqueued);
        test.advance(millis(1));
        assert_eq!(test.state_of(id), WorkState::Succeeded);
    });
}

/// WorkTest `testBuild_initialDelayMaxLong` and `initialDelayTooLarge`: what reaches the last moment is refused, by the name of its
/// field; a millisecond less is not. The same for the other lengths of time.
#[test]
fn what_reaches_the_end_of_time_is_refused_by_the_name_of_its_field() {
    on_both_stores(|test| {
        let left = millis(Timestamp::MAX.since(test.now()).as_millis() as u64);
        for delay in [Duration::MAX, millis(i64::MAX as u64), left] {
            let refused = refusal(&test, say::request("x".into()).initial_delay(delay));
            assert!(matches!(refused, RequestError::TooLong { field: "initial_delay", .. }), "{refused}");
        }
        let id = test.enqueue(say::request("x".into()).initial_delay(left - millis(1)));
        assert_eq!(test.info(id).next_run, Some(Timestamp::from_millis(i64::MAX - 1)));
        let kept = refusal(&test, say::request("x".into()).keep_results_for_at_least(Duration::MAX));
        assert!(matches!(kept, RequestError::TooLong { field: "keep_results_for_at_least", .. }), "{kept}");
        let slow = refusal(&test, say::request("x".into()).timeout(Duration::MAX));
        assert!(matches!(slow, RequestError::TooLong { field: "timeout", .. }), "{slow}");
        let flexed = Schedule::every(Duration::MAX).flex(secs(1));
        for (schedule, wanted) in [(Schedule::every(Duration::MAX), "interval"), (flexed, "initial_delay")] {
            let refused = test.refused(test.manager().enqueue_periodic(say::periodic("x".into(), schedule)));
            let EnqueueError::Request(RequestError::TooLong { field, .. }) = refused else { panic!("{refused}") };
            assert_eq!(field, wanted, "flex is part of the first delay");
        }
        test.advance(HOUR);
        assert_eq!((test.query(WorkQuery::all()).len(), test.diary().len()), (1, 0));
    });
}

/// WorkTest on backoff criteria: 5 h is the ceiling unless a request says otherwise. The minimum of 10 s is Android's own
/// and comes with `WorkManagerLimits::android()`; without it a backoff may be short.
#[test]
fn bo_2_a_backoff_is_kept_as_it_was_asked_for_up_to_its_ceiling() {
    on_both_stores(|test| {
        let waits = |backoff: Backoff| {
            let id = test.enqueue(flaky::request("x".into(), 9).backoff(backoff));
            test.run_until_idle();
            test.due_in(id)
        };
        assert_eq!(waits(Backoff::exponential(5 * HOUR + millis(123))), 5 * HOUR);
        assert_eq!(waits(Backoff::linear(5 * HOUR + millis(123))), 5 * HOUR);
        assert_eq!(waits(Backoff::linear(9 * HOUR).ceiling(8 * HOUR)), 8 * HOUR);
        assert_eq!(waits(Backoff::linear(millis(3))), millis(3));
    });
}

/// As on Android.
fn android(test: Bench) -> Bench {
    test.shaped(|driver| {
        let mut limits = TestDriver::default_limits();
        limits.minimums = WorkManagerLimits::android();
        driver.limits(limits)
    })
}

/// PeriodicWorkTest and PeriodicWorkRequestTest, all cases on interval and flex: what is in range is kept, what is below is raised and
/// what is above is cut with `WorkManagerLimits::android()`.
#[test]
fn with_androids_limits_interval_and_flex_are_raised_and_cut() {
    on_both_stores(|test| {
        let test = android(test);
        let stored = |schedule: Schedule| {
            let id = test.enqueue_periodic(say::periodic("x".into(), schedule).initial_delay(DAY));
            test.info(id).schedule
        };
        let (quarter, five) = (15 * MINUTE, 5 * MINUTE);
        let (more, less) = (quarter + millis(123), quarter - millis(123));
        assert_eq!(stored(Schedule::every(more)), Schedule::every(more), "no flex means all of it");
        assert_eq!(stored(Schedule::every(less)), Schedule::every(quarter));
        assert_eq!(stored(Schedule::every(secs(0))), Schedule::every(quarter));
        let flex = |interval, flex| Schedule::every(interval).flex(flex);
        assert_eq!(stored(flex(more, five + millis(123))), flex(more, five + millis(123)));
        assert_eq!(stored(flex(less, five - millis(123))), flex(quarter, five));
        assert_eq!(stored(flex(less, five + millis(123))), flex(quarter, five + millis(123)));
        assert_eq!(stored(flex(more, five - millis(123))), flex(more, five));
        assert_eq!(stored(flex(quarter, 10 * MINUTE)), flex(quarter, 10 * MINUTE));
        assert_eq!(stored(flex(quarter, HOUR)), Schedule::every(quarter), "a flex is cut to its interval");
        assert_eq!(stored(flex(51 * HOUR, 62 * MINUTE)), flex(51 * HOUR, 62 * MINUTE));
        let long = 3 * HOUR + 25 * MINUTE;
        assert_eq!(stored(flex(long, long - quarter)), flex(long, long - quarter));
    });
}

/// The same without Android's limits: any interval is legal, and nonsense is refused instead of changed.
#[test]
fn per_1_without_limits_any_interval_is_kept_and_nonsense_is_refused() {
    on_both_stores(|test| {
        let manager = test.manager();
        let stored = |schedule: Schedule| {
            let id = test.enqueue_periodic(say::periodic("x".into(), schedule).initial_delay(DAY));
            test.info(id).schedule
        };
        for schedule in [Schedule::every(millis(1)), Schedule::every(secs(10)).flex(millis(1))] {
            assert_eq!(stored(schedule.clone()), schedule);
        }
        for (interval, flex) in [(HOUR, HOUR + millis(1)), (HOUR, secs(0))] {
            let nonsense = say::periodic("x".into(), Schedule::every(interval).flex(flex));
            let refused = test.refused(manager.enqueue_periodic(nonsense));
            assert!(matches!(refused, EnqueueError::Request(RequestError::Flex { .. })), "{refused}");
            assert!(refused.to_string().contains("a flex of"), "{refused}");
        }
        let none = test.refused(manager.enqueue_periodic(say::periodic("x".into(), secs(0))));
        assert!(matches!(none, EnqueueError::Request(RequestError::NoInterval { .. })), "{none}");
    });
}

/// WorkTest `lessThanMinBackoffDuration` and the clamped backoff of WorkSpecTest, with Android's limits.
#[test]
fn with_androids_limits_a_backoff_is_at_least_ten_seconds() {
    on_both_stores(|test| {
        let test = android(test);
        let delays = |backoff: Backoff| {
            let id = test.enqueue(flaky::request("x".into(), 9).backoff(backoff));
            test.run_until_idle();
            let first = test.due_in(id);
            test.advance(first);
            (first, test.due_in(id))
        };
        assert_eq!(delays(Backoff::exponential(secs(10) - millis(123))), (secs(10), secs(20)));
        assert_eq!(delays(Backoff::linear(secs(5))), (secs(10), secs(20)));
        assert_eq!(delays(Backoff::linear(secs(11))), (secs(11), secs(22)));
    });
}

/// PeriodicWorkTest `testBuild_backoffAndIdleMode`: for work of both kinds. Without a backoff of its own an idle machine may be asked
/// for.
#[test]
fn a_backoff_and_an_idle_machine_do_not_go_together() {
    on_both_stores(|test| {
        let idle = Constraints::new().requires_device_idle();
        let once = say::request("x".into()).backoff(Backoff::exponential(secs(20))).constraints(idle.clone());
        let refused = refusal(&test, once);
        assert!(matches!(refused, RequestError::BackoffWhenIdle { .. }), "{refused}");
        assert!(refused.to_string().contains("`backoff`"), "{refused}");
        let periodic =
            say::periodic("x".into(), 15 * MINUTE).backoff(Backoff::exponential(secs(20))).constraints(idle.clone());
        let refused = test.refused(test.manager().enqueue_periodic(periodic));
        assert!(matches!(refused, EnqueueError::Request(RequestError::BackoffWhenIdle { .. })), "{refused}");
        assert_eq!(test.query(WorkQuery::all()).len(), 0);
        test.enqueue(say::request("x".into()).constraints(idle));
    });
}

/// WorkRequestTest and WorkTest, all cases on expedited work: network and storage constraints only, and no delay. Periodic work
/// has no `expedited` at all: that does not compile.
#[test]
fn expedited_work_waits_for_network_and_storage_only_and_not_for_later() {
    on_both_stores(|test| {
        let expedited = |constraints| {
            let request = say::request("x".into()).expedited(OutOfQuotaPolicy::DropWorkRequest);
            request.constraints(constraints)
        };
        let metered = Constraints::new().network(NetworkType::Metered);
        for fits in [Constraints::NONE, metered.clone(), metered.clone().requires_storage_not_low()] {
            assert_eq!(test.info(test.enqueue(expedited(fits.clone()))).constraints, fits);
        }
        for (other, kind) in [
            (metered.clone().requires_storage_not_low().requires_device_idle(), ConstraintKind::DeviceIdle),
            (metered.requires_charging(), ConstraintKind::Charging),
            (Constraints::new().requires_battery_not_low(), ConstraintKind::BatteryNotLow),
        ] {
            let refused = refusal(&test, expedited(other));
            assert!(
                matches!(refused, RequestError::ExpeditedConstraint { kind: found, .. } if found == kind),
                "{refused}"
            );
        }
        let delayed = refusal(&test, expedited(Constraints::NONE).initial_delay(secs(10)));
        assert!(matches!(delayed, RequestError::ExpeditedDelay { .. }), "{delayed}");
        assert!(delayed.to_string().contains("`initial_delay`"), "{delayed}");
        assert_eq!(test.query(WorkQuery::all()).len(), 3);
    });
}

/// PeriodicWorkRequestTest on the override: it is kept by a clone too, and the last moment is refused.
#[test]
fn per_6_an_override_is_kept_and_the_last_moment_is_refused() {
    on_both_stores(|test| {
        let at = test.now() + 9 * HOUR;
        let request = say::periodic("x".into(), HOUR).next_schedule_time_override(at);
        let id = test.enqueue_periodic(request.clone());
        assert_eq!(test.info(id).next_run, Some(at));
        assert_eq!(test.enqueue_periodic(request), id);
        let never = say::periodic("x".into(), HOUR).next_schedule_time_override(Timestamp::MAX);
        let refused = test.refused(test.manager().enqueue_periodic(never));
        assert!(matches!(refused, EnqueueError::Request(RequestError::OverrideNever { .. })), "{refused}");
    });
}

/// Says what its runs are called in traces.
#[worker]
async fn trace(cx: &WorkContext, #[state] diary: Diary) {
    diary.write(cx.trace_tag());
}

/// WorkerWrapperTest 46: a trace tag has 127 characters at the most; without one it is the worker's name.
#[test]
fn a_trace_tag_is_cut_to_127_characters() {
    on_both_stores(|test| {
        let asked = ["t".repeat(256), "ä".repeat(256), "short".to_owned(), "u".repeat(127)];
        for tag in &asked {
            test.enqueue(trace::request().trace_tag(tag.as_str()));
            test.run_until_idle();
        }
        test.enqueue(trace::request());
        test.run_until_idle();
        let lengths: Vec<usize> = test.diary().iter().map(|tag| tag.chars().count()).collect();
        assert_eq!(lengths, [127, 127, 5, 127, "trace".len()]);
    });
}

/// The checks of `build()`: what makes no sense is refused before anything is stored, and the error
/// says what is meant.
#[test]
fn a_request_that_makes_no_sense_is_refused_with_its_field() {
    on_both_stores(|test| {
        let no_attempts = refusal(&test, say::request("x".into()).max_attempts(0));
        assert!(matches!(no_attempts, RequestError::NoAttempts { .. }), "{no_attempts}");
        let tag = refusal(&test, say::request("x".into()).tag(""));
        assert!(matches!(tag, RequestError::Tag { problem: NameProblem::Empty, .. }), "{tag}");
        let long = refusal(&test, say::request("x".into()).tag("t".repeat(129)));
        let too_long = NameProblem::TooLong { size: 129, limit: 128 };
        assert!(matches!(long, RequestError::Tag { problem, .. } if problem == too_long), "{long}");
        let many = (0..33).fold(say::request("x".into()), |request, n| request.tag(format!("t{n}")));
        assert!(matches!(refusal(&test, many), RequestError::TooManyTags { count: 33, limit: 32, .. }));
        let most = (0..32).fold(say::request("x".into()), |request, n| request.tag(format!("t{n}")));
        assert_eq!(test.info(test.enqueue(most)).tags.len(), 33, "the worker's name does not count");
        let timeout = refusal(&test, say::request("x".into()).timeout(secs(0)));
        assert!(matches!(timeout, RequestError::NoTimeout { .. }), "{timeout}");
        assert_eq!(test.query(WorkQuery::all()).len(), 1);
    });
}

/// Gives two numbers, so that all of what it is given must come back.
#[worker]
fn measure(width: u32, heights: Vec<i64>, name: Option<String>) -> (u32, i64, Option<String>) {
    (width, heights.iter().sum(), name)
}

/// WorkerWrapperTest 33: a worker gets the input of its request, and one without inputs an empty one.
#[test]
fn a_worker_gets_the_input_that_was_stored() {
    on_both_stores(|test| {
        let id = test.enqueue(measure::request(3, vec![i64::MIN, i64::MAX], None).initial_delay(HOUR));
        let empty = test.enqueue(nothing::request().initial_delay(HOUR));
        test.crash_and_restart();
        test.advance(HOUR);
        assert_eq!(test.output::<(u32, i64, Option<String>)>(id), (3, -1, None));
        assert_eq!(test.info(empty).input.decode::<std::collections::BTreeMap<String, u8>>().unwrap().len(), 0);
        assert_eq!(test.state_of(empty), WorkState::Succeeded);
    });
}

#[worker]
fn nothing() {}
