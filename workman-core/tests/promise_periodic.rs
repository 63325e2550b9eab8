//! Overrides of the next run, flex, and updates of a schedule from inside its own run.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Bystanders, DAY, HOUR, MINUTE, RedbHome};
use workman_core::{
    Backoff, Clock, EnqueueError, Enqueued, ExistingPeriodicWorkPolicy, Explanation, PeriodicRequest, Schedule,
    Timestamp, UpdateResult, Wait, WorkContext, WorkError, WorkId, WorkManager, WorkState, worker,
};
use workman_testing::TestDriver;

/// What a run is to do, one after the other; success if nothing is left.
#[derive(Clone, Debug)]
enum Deed {
    Fail,
    Sleep(Duration),
    /// Enqueues itself anew under its name, with an override.
    Reschedule(ExistingPeriodicWorkPolicy, Timestamp),
}

type Deeds = Arc<Mutex<Vec<Deed>>>;
type Managers = Arc<Mutex<Option<WorkManager>>>;

#[worker]
async fn sync(cx: &WorkContext, #[state] deeds: Deeds, #[state] managers: Managers) -> Result<(), WorkError> {
    let deeds = std::mem::take(&mut *deeds.lock().unwrap());
    for deed in deeds {
        match deed {
            Deed::Fail => return Err("as it was told".into()),
            Deed::Sleep(length) => cx.sleep(length).await?,
            Deed::Reschedule(policy, at) => {
                let manager = managers.lock().unwrap().clone().unwrap();
                let request = sync::periodic(HOUR).next_schedule_time_override(at);
                manager.enqueue_unique_periodic("sync", policy, request).await.unwrap();
            }
        }
    }
    Ok(())
}

struct Scene {
    test: TestDriver,
    deeds: Deeds,
    managers: Managers,
    start: Timestamp,
}

impl Scene {
    fn new() -> Self {
        Self::on(TestDriver::new())
    }

    fn on(test: TestDriver) -> Self {
        let (deeds, managers) = (Deeds::default(), Managers::default());
        let test = test.state(deeds.clone()).state(managers.clone());
        let start = test.clock().wall();
        Scene { test, deeds, managers, start }
    }

    fn next_run_does(&self, deeds: impl IntoIterator<Item = Deed>) {
        *self.deeds.lock().unwrap() = deeds.into_iter().collect();
    }

    fn at(&self, after: Duration) -> Timestamp {
        self.start + after
    }

    fn go_to(&self, after: Duration) {
        self.test.advance(self.at(after).since(self.test.clock().wall()));
    }

    /// When it is due next, since the start.
    fn due(&self, id: WorkId) -> Duration {
        self.test.info(id).next_run.unwrap().since(self.start)
    }

    fn update(&self, request: PeriodicRequest) -> UpdateResult {
        let manager = self.test.manager();
        self.test.block_on(manager.update(request)).unwrap()
    }
}

#[test]
fn per_6_an_override_holds_the_run_back_until_its_time_and_the_next_is_one_interval_later() {
    let scene = Scene::new();
    let bystanders = Bystanders::of(&scene.test);
    let request = sync::periodic(HOUR).next_schedule_time_override(scene.at(14 * HOUR));
    let id = scene.test.enqueue_periodic(request);
    let info = scene.test.info(id);
    assert_eq!((info.next_run, info.next_run_override), (Some(scene.at(14 * HOUR)), Some(scene.at(14 * HOUR))));
    let left = 14 * HOUR - scene.test.clock().wall().since(scene.start);
    assert_eq!(scene.test.explain(id), Explanation::NotDue { left, wait: Wait::Override, times: 0 });
    scene.go_to(14 * HOUR - Duration::from_millis(1));
    assert_eq!((scene.test.info(id).runs, scene.due(id)), (0, 14 * HOUR));
    scene.go_to(14 * HOUR);
    let info = scene.test.info(id);
    assert_eq!((info.runs, info.periods, info.next_run_override), (1, 1, None), "it is spent");
    assert_eq!(scene.due(id), 15 * HOUR);
    assert_eq!(scene.test.explain(id), Explanation::NotDue { left: HOUR, wait: Wait::Period, times: 0 });
    bystanders.are_untouched(&scene.test);
}

#[test]
fn per_6_a_retry_after_an_overridden_run_waits_for_its_backoff() {
    let scene = Scene::new();
    let request = sync::periodic(100 * HOUR).backoff(Backoff::linear(30 * MINUTE));
    let id = scene.test.enqueue_periodic(request.next_schedule_time_override(scene.at(14 * HOUR)));
    scene.next_run_does([Deed::Fail]);
    scene.go_to(14 * HOUR);
    let info = scene.test.info(id);
    assert_eq!((info.state, info.failures, info.periods, info.next_run_override), (WorkState::Enqueued, 1, 0, None));
    assert_eq!(scene.due(id), 14 * HOUR + 30 * MINUTE);
    let (wait, times) = (Wait::Backoff, 1);
    assert_eq!(scene.test.explain(id), Explanation::NotDue { left: 30 * MINUTE, wait, times });
}

#[test]
fn per_6_an_override_that_is_given_during_a_run_is_the_next_run_whether_it_succeeds_or_fails() {
    for fails in [false, true] {
        let scene = Scene::on(TestDriver::new().store(RedbHome::new(&format!("override-{fails}"))));
        let request = || sync::periodic(100 * HOUR).backoff(Backoff::linear(30 * MINUTE));
        let id = scene.test.enqueue_periodic(request().next_schedule_time_override(scene.at(14 * HOUR)));
        let last = if fails { vec![Deed::Fail] } else { vec![] };
        scene.next_run_does([vec![Deed::Sleep(HOUR)], last].concat());
        scene.go_to(14 * HOUR + MINUTE);
        let later = request().with_id(id).next_schedule_time_override(scene.at(34 * HOUR));
        assert_eq!(scene.update(later), UpdateResult::AppliedForNextRun);
        scene.go_to(16 * HOUR);
        let info = scene.test.info(id);
        assert_eq!((info.failures, info.periods), (u32::from(fails), u64::from(!fails)), "fails: {fails}");
        assert_eq!((scene.due(id), info.generation), (34 * HOUR, 1), "before period and backoff alike");
        scene.test.crash_and_restart();
        assert_eq!(scene.due(id), 34 * HOUR);
        scene.go_to(34 * HOUR);
        assert_eq!(scene.due(id), 134 * HOUR, "fails: {fails}");
    }
}

#[test]
fn per_7_an_override_that_is_cleared_during_a_run_leaves_the_period_its_regular_time() {
    let scene = Scene::new();
    let id = scene.test.enqueue_periodic(sync::periodic(100 * HOUR).next_schedule_time_override(scene.at(14 * HOUR)));
    scene.next_run_does([Deed::Sleep(HOUR)]);
    scene.go_to(14 * HOUR + MINUTE);
    let request = || sync::periodic(100 * HOUR).with_id(id);
    scene.update(request().next_schedule_time_override(scene.at(34 * HOUR)));
    scene.update(request().clear_next_schedule_time_override());
    scene.go_to(16 * HOUR);
    let info = scene.test.info(id);
    assert_eq!((info.periods, info.next_run_override, info.generation), (1, None, 2));
    assert_eq!(scene.due(id), 115 * HOUR, "one interval after it was completed");
}

#[test]
fn per_6_of_several_overrides_the_last_counts_and_none_forgets_failures() {
    let scene = Scene::new();
    let slow = || sync::periodic(30 * DAY).backoff(Backoff::linear(10 * DAY).ceiling(20 * DAY));
    let id = scene.test.enqueue_periodic(slow());
    scene.next_run_does([Deed::Fail]);
    scene.test.run_until_idle();
    assert_eq!((scene.due(id), scene.test.info(id).failures), (10 * DAY, 1));
    for hours in [10, 12] {
        scene.update(slow().with_id(id).next_schedule_time_override(scene.at(HOUR * hours)));
        assert_eq!((scene.due(id), scene.test.info(id).failures), (HOUR * hours, 1));
    }
    scene.update(slow().with_id(id).tag("unrelated"));
    assert_eq!(scene.due(id), 12 * HOUR, "PER-7: it survives an update that does not speak of it");
    assert_eq!(scene.update(slow().with_id(id).clear_next_schedule_time_override()), UpdateResult::AppliedImmediately);
    assert_eq!((scene.due(id), scene.test.info(id).generation), (10 * DAY, 4));
    scene.update(slow().with_id(id).clear_next_schedule_time_override());
    assert_eq!(scene.test.info(id).generation, 5, "to clear nothing is an update as well");
}

/// The worker says itself when it wants to run next.
#[test]
fn per_6_and_unq_10_a_worker_reschedules_itself_by_update_and_its_end_does_not_undo_that() {
    use ExistingPeriodicWorkPolicy::{Keep, Update};
    for (policy, due) in [(Update, 10 * HOUR), (Keep, HOUR)] {
        let scene = Scene::new();
        *scene.managers.lock().unwrap() = Some(scene.test.manager());
        scene.next_run_does([Deed::Reschedule(policy, scene.at(10 * HOUR))]);
        let id = scene.test.enqueue_unique_periodic("sync", Keep, sync::periodic(HOUR)).id;
        scene.test.run_until_idle();
        let info = scene.test.info(id);
        assert_eq!((info.periods, info.failures), (1, 0), "{policy:?}");
        assert_eq!(scene.due(id), due, "{policy:?}");
        scene.go_to(due);
        assert_eq!((scene.test.info(id).runs, scene.due(id)), (2, due + HOUR), "{policy:?}: and then every hour again");
        scene.managers.lock().unwrap().take();
    }
}

#[test]
fn per_6_an_override_and_a_replacement_do_not_go_together_and_nothing_is_stored() {
    let scene = Scene::new();
    let manager = scene.test.manager();
    let request = || sync::periodic(HOUR).next_schedule_time_override(Timestamp::from_millis(123_456));
    for policy in [ExistingPeriodicWorkPolicy::CancelAndReenqueue, ExistingPeriodicWorkPolicy::Replace] {
        let refused = scene.test.block_on(manager.enqueue_unique_periodic("sync", policy, request()));
        assert!(matches!(refused, Err(EnqueueError::Request(_))), "{refused:?}");
        assert_eq!(scene.test.query(workman_core::WorkQuery::all()), []);
    }
    for policy in [ExistingPeriodicWorkPolicy::Keep, ExistingPeriodicWorkPolicy::Update] {
        let named = scene.test.enqueue_unique_periodic(&format!("{policy:?}"), policy, request());
        assert_eq!(named.how, Enqueued::Inserted);
        scene.test.run_until_idle();
        assert_eq!(scene.test.info(named.id).runs, 1, "a time in the past is now");
    }
}

#[test]
fn per_4_flex_shapes_the_first_run_and_no_other_also_after_an_update() {
    let scene = Scene::new();
    let hourly = |flex| sync::periodic(Schedule::every(HOUR).flex(flex)).initial_delay(10 * MINUTE);
    let id = scene.test.enqueue_periodic(hourly(15 * MINUTE));
    assert_eq!(scene.due(id), 55 * MINUTE);
    scene.update(hourly(30 * MINUTE).with_id(id));
    assert_eq!((scene.due(id), scene.test.info(id).initial_delay), (40 * MINUTE, 10 * MINUTE));
    assert_eq!(scene.test.info(id).schedule, Schedule::every(HOUR).flex(30 * MINUTE));
    scene.go_to(42 * MINUTE);
    assert_eq!(scene.due(id), 100 * MINUTE);
    scene.update(hourly(MINUTE).with_id(id));
    assert_eq!(scene.due(id), 100 * MINUTE, "the second run is not moved");
}
