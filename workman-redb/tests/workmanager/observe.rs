//! What observers are shown.

use futures::{FutureExt, StreamExt};
use workman_core::{
    ConstraintKind, ExistingWorkPolicy, WorkContext, WorkError, WorkInfo, WorkQuery, WorkSelector, WorkState, worker,
};

use crate::bench::{Bench, CHARGING, DAY, MINUTE, held, on_both_stores, say, secs};

use WorkState::{Blocked, Enqueued as Waits, Running, Succeeded};

type Watch = futures::stream::BoxStream<'static, Vec<WorkInfo>>;

/// What is shown now, if it is not what was shown last.
#[track_caller]
fn next(test: &Bench, watch: &mut Watch) -> Option<Vec<WorkInfo>> {
    test.run_until_idle();
    watch.next().now_or_never().map(|shown| shown.unwrap())
}

fn states(shown: Option<Vec<WorkInfo>>) -> Option<Vec<WorkState>> {
    shown.map(|works| works.iter().map(|work| work.state).collect())
}

/// Work that nobody watches.
fn unrelated(test: &Bench) {
    test.enqueue(say::request("unrelated".into()).initial_delay(DAY));
}

/// WorkInfoFlowsTest `flowById`: exactly one snapshot for each state, and none for other works.
#[test]
fn obs_1_a_watched_id_shows_each_change_of_it_and_nothing_else() {
    on_both_stores(|test| {
        test.lose(ConstraintKind::Charging);
        let request = held::request("x".into()).constraints(CHARGING);
        let mut watch = test.manager().watch(WorkQuery::id(request.id()));
        assert_eq!(states(next(&test, &mut watch)), Some(vec![]));
        unrelated(&test);
        assert_eq!(next(&test, &mut watch), None);
        test.enqueue(request);
        assert_eq!(states(next(&test, &mut watch)), Some(vec![Waits]));
        test.meet(ConstraintKind::Charging);
        test.advance(secs(5));
        assert_eq!(states(next(&test, &mut watch)), Some(vec![Running]));
        unrelated(&test);
        assert_eq!(next(&test, &mut watch), None);
        test.open("x");
        test.run_until_idle();
        assert_eq!(states(next(&test, &mut watch)), Some(vec![Succeeded]));
        test.advance(MINUTE);
        assert_eq!(next(&test, &mut watch), None);
    });
}

/// WorkInfoFlowsTest `flowByName`: one, then two; nothing for other works.
#[test]
fn obs_1_a_watched_name_shows_the_works_of_that_name() {
    on_both_stores(|test| {
        let mut watch = test.manager().watch(WorkQuery::unique("name"));
        assert_eq!(states(next(&test, &mut watch)), Some(vec![]));
        unrelated(&test);
        assert_eq!(next(&test, &mut watch), None);
        let later = |name: &str| say::request(name.into()).initial_delay(DAY);
        test.enqueue_unique("name", ExistingWorkPolicy::Keep, later("1"));
        assert_eq!(states(next(&test, &mut watch)), Some(vec![Waits]));
        test.enqueue_unique("name", ExistingWorkPolicy::Keep, later("dropped"));
        assert_eq!(next(&test, &mut watch), None);
        test.enqueue_unique("name", ExistingWorkPolicy::Append, later("2"));
        let mut both = states(next(&test, &mut watch)).unwrap();
        both.sort();
        assert_eq!(both, [Waits, Blocked]);
    });
}

/// WorkInfoFlowsTest `flowByTag`: the same by tag; the same request twice is no error and no news.
#[test]
fn obs_1_a_watched_tag_shows_the_works_with_that_tag() {
    on_both_stores(|test| {
        let mut watch = test.manager().watch(WorkQuery::tag("tag"));
        assert_eq!(states(next(&test, &mut watch)), Some(vec![]));
        let other = say::request("other".into()).initial_delay(DAY);
        test.enqueue(other.clone());
        test.enqueue(other);
        assert_eq!(next(&test, &mut watch), None);
        let tagged = say::request("1".into()).initial_delay(DAY).tag("tag");
        test.enqueue(tagged.clone());
        assert_eq!(states(next(&test, &mut watch)), Some(vec![Waits]));
        test.enqueue(tagged);
        assert_eq!(next(&test, &mut watch), None);
        test.enqueue(say::request("2".into()).initial_delay(DAY).tag("tag"));
        assert_eq!(states(next(&test, &mut watch)), Some(vec![Waits, Waits]));
    });
}

/// LiveDataUtilsTest and WorkInfoTest: equal snapshots are shown once, and each field that changes makes another.
#[test]
fn obs_1_equal_snapshots_are_shown_once_and_a_change_of_any_field_is_news() {
    on_both_stores(|test| {
        let request = say::request("x".into()).initial_delay(DAY);
        let id = request.id();
        let mut watch = test.manager().watch(WorkQuery::id(id));
        assert_eq!(states(next(&test, &mut watch)), Some(vec![]));
        test.enqueue(request);
        let first = next(&test, &mut watch).unwrap().remove(0);
        let same = say::request("x".into()).initial_delay(DAY).with_id(id);
        test.wait(test.manager().update(same));
        let second = next(&test, &mut watch).unwrap().remove(0);
        assert_ne!(first, second, "only the generation is another");
        assert_eq!((first.generation, second.generation), (0, 1));
        test.cancel(WorkSelector::tag("nobody"));
        assert_eq!(next(&test, &mut watch), None);
    });
}

/// Stops by a lost charger and by the program differ in their reason only.
///
/// WorkInfoTest `testEqualityWithStopReason`.
#[test]
fn obs_1_another_stop_reason_is_another_snapshot() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("x".into()).constraints(CHARGING));
        test.run_until_idle();
        let mut watch = test.manager().watch(WorkQuery::id(id));
        let running = next(&test, &mut watch).unwrap().remove(0);
        test.lose(ConstraintKind::Charging);
        test.advance(secs(5));
        let stopped = next(&test, &mut watch).unwrap().remove(0);
        assert_eq!((running.stop_reason, stopped.stop_reason.is_some()), (None, true));
        let mut other = stopped.clone();
        other.stop_reason = None;
        assert_ne!(other, stopped);
    });
}

/// WorkManagerImplTest 55 and WorkManagerImplTestKt: the time of the last cancel-all is by the injected clock, is told once, and
/// is kept.
#[test]
fn can_5_the_last_cancel_all_is_told_with_its_time_and_is_kept() {
    on_both_stores(|test| {
        let manager = test.manager();
        let mut watch = manager.watch_last_cancel_all();
        assert_eq!(watch.next().now_or_never(), Some(Some(None)), "never");
        test.enqueue(say::request("x".into()).initial_delay(DAY));
        test.advance(secs(50));
        test.cancel(WorkSelector::tag("say"));
        test.cancel(WorkSelector::unique("name"));
        test.run_until_idle();
        assert_eq!(watch.next().now_or_never(), None, "only of everything");
        let at = test.now();
        test.cancel(WorkSelector::All);
        test.run_until_idle();
        assert_eq!(watch.next().now_or_never(), Some(Some(Some(at))));
        test.run_until_idle();
        assert_eq!(watch.next().now_or_never(), None, "once");
        assert_eq!(test.wait(manager.last_cancel_all()), Some(at));
        test.advance(secs(20));
        let at = test.now();
        assert_eq!(test.cancel(WorkSelector::All), 0, "it counts even if there was nothing to cancel");
        test.run_until_idle();
        assert_eq!(watch.next().now_or_never(), Some(Some(Some(at))));
        drop((watch, manager));
        test.advance(MINUTE);
        test.crash_and_restart();
        assert_eq!(test.wait(test.manager().last_cancel_all()), Some(at));
    });
}

/// Says twice how far it is.
#[worker]
async fn says_how_far(fails: bool, cx: &WorkContext) -> Result<u32, WorkError> {
    cx.set_progress(&50_u32)?;
    cx.sleep(MINUTE).await?;
    cx.set_progress(&100_u32)?;
    cx.sleep(MINUTE).await?;
    if fails { Err(WorkError::permanent("gone")) } else { Ok(7) }
}

/// CoroutineWorkerTest `testProgressUpdates` and SM-9: progress is shown while it runs, and gone when it ends, however it ends.
#[test]
fn sm_9_progress_is_shown_while_it_runs_and_gone_when_it_ends() {
    on_both_stores(|test| {
        let ids = [false, true, false].map(|fails| test.enqueue(says_how_far::request(fails)));
        test.run_until_idle();
        let progress = |id| test.info(id).progress.map(|progress| progress.decode::<u32>().unwrap());
        assert_eq!(ids.map(progress), [Some(50); 3]);
        test.advance(MINUTE);
        assert_eq!(ids.map(progress), [Some(100); 3]);
        test.cancel(WorkSelector::id(ids[2]));
        assert_eq!(progress(ids[2]), None);
        test.advance(MINUTE);
        assert_eq!((ids.map(progress), test.output::<u32>(ids[0])), ([None; 3], 7));
        assert_eq!(test.states(&ids), [Succeeded, WorkState::Failed, WorkState::Cancelled]);
    });
}

/// Keeps its context beyond its end.
#[worker]
async fn leaks(cx: &WorkContext, #[state] kept: Kept) {
    *kept.lock().unwrap() = Some(cx.clone());
}

type Kept = std::sync::Arc<std::sync::Mutex<Option<WorkContext>>>;

/// WorkProgressUpdaterTest `updateProgress_whenWorkFinished`: progress after the end is refused, and changes nothing.
#[test]
fn sm_9_progress_after_the_end_is_refused() {
    on_both_stores(|test| {
        let kept = Kept::default();
        let test = test.shaped(|driver| driver.state(Kept::clone(&kept)));
        let id = test.enqueue(leaks::request());
        test.run_until_idle();
        let before = test.info(id);
        assert_eq!(before.state, Succeeded);
        let context = kept.lock().unwrap().take().unwrap();
        assert!(context.set_progress(&1_u32).is_err());
        test.advance(MINUTE);
        assert_eq!(test.info(id), before);
    });
}

/// A query of several lists is watched like any other: works come and go as they match.
#[test]
fn obs_1_a_watched_query_shows_what_matches_now() {
    on_both_stores(|test| {
        let query = WorkQuery::tag("tag").state(Waits).state(Running);
        let mut watch = test.manager().watch(query);
        assert_eq!(states(next(&test, &mut watch)), Some(vec![]));
        let first = test.enqueue(held::request("1".into()).tag("tag").initial_delay(MINUTE));
        let other = test.enqueue(say::request("other".into()).initial_delay(DAY));
        assert_eq!(states(next(&test, &mut watch)), Some(vec![Waits]));
        test.cancel(WorkSelector::id(other));
        assert_eq!(next(&test, &mut watch), None);
        test.advance(MINUTE);
        assert_eq!(states(next(&test, &mut watch)), Some(vec![Running]));
        test.open("1");
        assert_eq!(states(next(&test, &mut watch)), Some(vec![]), "a finished one matches no more");
        assert_eq!(test.state_of(first), Succeeded);
    });
}
