//! Deaths, and constraints that come and go: what may run again, when, and beside whom.

use std::time::Duration;

use workman_core::{
    Backoff, ConstraintKind, Explanation, Outcome, StopReason, Wait, WorkContext, WorkError, WorkId, WorkState, worker,
};

use crate::bench::{Bench, CHARGING, DAY, Diary, HOUR, MINUTE, held, millis, on_both_stores, say, secs};

use WorkState::{Enqueued as Waits, Running, Succeeded};

/// Saves a checkpoint after so many seconds, and goes on until it is stopped.
#[worker]
async fn saves(after: u64, cx: &WorkContext) -> Result<(), WorkError> {
    cx.sleep(secs(after)).await?;
    cx.save_checkpoint(&1).map_err(|error| error.to_string())?;
    cx.until_stopped().await;
    cx.stopped()
}

/// Asks to be run again at once, for ever.
#[worker]
fn impatient(how: String, #[state] diary: Diary) -> Result<Outcome<()>, WorkError> {
    diary.write(&how);
    match how.as_str() {
        "snooze" => Ok(Outcome::Snooze(Duration::ZERO)),
        _ => Err(WorkError::retry_after(Duration::ZERO)),
    }
}

/// Lets the process die so often that what ran is suspected, and waits until it may run again.
fn suspect(test: &Bench) {
    for _ in 0..2 {
        test.run_until_idle();
        test.crash_and_restart();
    }
    test.advance(secs(30));
}

fn running(test: &Bench, ids: &[WorkId]) -> usize {
    ids.iter().filter(|id| test.state_of(**id) == Running).count()
}

/// D2: one suspect runs at a time, until one is known to be innocent: that runs on beside the next.
#[test]
fn a_suspect_that_a_checkpoint_has_cleared_holds_up_no_other() {
    on_both_stores(|test| {
        let ids: Vec<WorkId> = (0..3).map(|_| test.enqueue(saves::request(20))).collect();
        suspect(&test);
        assert_eq!(running(&test, &ids), 1);
        for cleared in 1..3 {
            test.advance(secs(19));
            assert_eq!(running(&test, &ids), cleared, "nothing is said yet");
            test.advance(secs(3));
            assert_eq!(running(&test, &ids), cleared + 1);
        }
        test.advance(MINUTE);
        assert!(ids.iter().all(|id| test.info(*id).deaths == 0));
    });
}

/// D2: a run that has lasted clears its work, once and for a restart too, and says so in one commit.
#[test]
fn a_suspect_that_has_run_for_ten_minutes_is_cleared_and_holds_up_no_other() {
    on_both_stores(|test| {
        let ids: Vec<WorkId> = ["a", "b"].map(|name| test.enqueue(held::request(name.into()))).into();
        suspect(&test);
        assert_eq!(running(&test, &ids), 1);
        let before = test.commits();
        test.advance(10 * MINUTE - millis(1));
        assert_eq!((running(&test, &ids), test.commits()), (1, before));
        let blamed: Vec<u32> = ids.iter().map(|id| test.info(*id).deaths).collect();
        assert_eq!(blamed, [2, 2]);
        test.advance(millis(1));
        assert_eq!(running(&test, &ids), 2);
        assert!(test.commits() <= before + 2, "a note, and the claim of the other");
        assert_eq!(ids.iter().map(|id| test.info(*id).deaths).sum::<u32>(), 2);
        test.crash_and_restart();
        test.run_until_idle();
        let mut blamed: Vec<u32> = ids.iter().map(|id| test.info(*id).deaths).collect();
        blamed.sort_unstable();
        assert_eq!(blamed, [1, 3]);
        test.advance(HOUR);
        assert_eq!(ids.iter().map(|id| test.info(*id).deaths).sum::<u32>(), 0);
    });
}

/// D2: long, innocent work in a program that is killed every evening is never poisoned.
#[test]
fn work_that_runs_all_day_in_a_program_that_is_killed_every_evening_is_never_poisoned() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("long".into()).max_attempts(1));
        for _ in 0..20 {
            test.advance(8 * HOUR);
            assert_eq!((test.state_of(id), test.info(id).deaths), (Running, 0));
            test.crash_and_restart();
        }
        test.open("long");
        test.run_until_idle();
        assert_eq!(test.state_of(id), Succeeded);
    });
}

#[test]
fn the_time_after_which_a_run_clears_its_work_is_a_limit_from_none_to_never() {
    on_both_stores(|test| {
        for (within, cleared) in [(Duration::ZERO, true), (secs(60), true), (HOUR, false), (Duration::MAX, false)] {
            let mut limits = workman_testing::TestDriver::default_limits();
            limits.suspect_within = within;
            let test = test.another().shaped(|driver| driver.limits(limits));
            let id = test.enqueue(held::request("x".into()));
            suspect(&test);
            test.advance(10 * MINUTE);
            assert_eq!((test.state_of(id), test.info(id).deaths), (Running, if cleared { 0 } else { 2 }), "{within:?}");
        }
    });
}

/// D2, SM-7: seven deaths end a period, and the series goes on.
#[test]
fn bo_9_periodic_work_that_kills_its_process_loses_the_period_and_goes_on_with_the_next() {
    on_both_stores(|test| {
        let id = test.enqueue_periodic(held::periodic("p".into(), DAY));
        let began = test.now();
        test.run_until_idle();
        for _ in 0..7 {
            assert_eq!(test.state_of(id), Running);
            test.crash_and_restart();
            test.advance(secs(481));
        }
        let info = test.info(id);
        assert_eq!((info.state, info.parked.clone(), info.deaths, info.periods), (Waits, None, 0, 1));
        assert_eq!(info.next_run, Some(began + DAY));
        test.advance(DAY);
        assert_eq!(test.state_of(id), Running);
        test.open("p");
        test.run_until_idle();
        assert_eq!(test.info(id).periods, 2);
    });
}

/// D14: however often a constraint comes and goes, its work starts a few times an hour at the most.
#[test]
fn con_1_a_constraint_that_comes_and_goes_starts_its_work_less_and_less_often() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("x".into()).constraints(CHARGING));
        let other = test.enqueue(held::request("other".into()));
        test.run_until_idle();
        // Each loss and each return lasts just long enough to count.
        for _ in 0..720 {
            test.lose(ConstraintKind::Charging);
            test.advance(secs(5));
            test.meet(ConstraintKind::Charging);
            test.advance(secs(5));
        }
        let info = test.info(id);
        assert!(info.runs < 35, "{} starts in two hours", info.runs);
        assert_eq!((info.failures, u64::from(info.interruptions)), (0, info.runs - u64::from(info.state == Running)));
        assert_eq!((test.state_of(other), test.info(other).runs), (Running, 1));
        test.advance(5 * MINUTE);
        assert_eq!(test.state_of(id), Running);
        let flaps = test.info(id).flaps;
        test.lose(ConstraintKind::Charging);
        test.advance(secs(5));
        let wait = Wait::Flapping;
        assert_eq!(test.explain(id), Explanation::NotDue { left: 5 * MINUTE, wait, times: flaps + 1 });
        let said = test.explain(id).to_string();
        assert_eq!(
            said,
            format!("due in 5 min: it waits for a pause after {} runs in a row that lost a constraint", flaps + 1)
        );
        assert_eq!(test.info(id).stop_reason, Some(StopReason::ConstraintCharging));
        // It stays so through a restart, and one run that ends otherwise forgives it.
        test.restart();
        assert_eq!((test.due_in(id), test.info(id).flaps), (5 * MINUTE, flaps + 1));
        test.meet(ConstraintKind::Charging);
        test.advance(5 * MINUTE);
        test.open("x");
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).flaps), (Succeeded, 0));
    });
}

/// Row 24: what was claimed, or offered with its enqueue, begins on what the sensor says then, and not on what it said before.
#[test]
fn con_1_nothing_begins_on_conditions_that_its_sensor_knows_to_be_past() {
    on_both_stores(|test| {
        for round in 0..20 {
            let name = format!("{round}");
            let id = test.enqueue(say::request(name.clone()).constraints(CHARGING));
            // The engine has not heard of this yet.
            test.lose(ConstraintKind::Charging);
            test.run_until_idle();
            let info = test.info(id);
            assert_eq!((info.state, info.interruptions, info.flaps), (Waits, 0, 0), "round {round}");
            assert!(test.diary().is_empty() && info.attempts.is_empty() && info.stop_reason.is_none());
            assert!(matches!(test.explain(id), Explanation::Constraint(_)));
            test.meet(ConstraintKind::Charging);
            test.advance(secs(5));
            assert_eq!((test.state_of(id), test.diary()), (Succeeded, vec![name]));
        }
    });
}

/// Row 27: nothing spins through the store, whatever it asks for.
#[test]
fn what_asks_to_run_again_at_once_runs_once_a_second() {
    on_both_stores(|test| {
        let snooze = test.enqueue(impatient::request("snooze".into()).max_attempts(1));
        let retry = test.enqueue(impatient::request("retry".into()).unlimited_attempts());
        let ends = test.enqueue(impatient::request("ends".into()).max_attempts(3).backoff(Backoff::linear(HOUR)));
        test.advance(secs(10));
        let diary = test.diary();
        let count = |name: &str| diary.iter().filter(|line| *line == name).count();
        assert_eq!((count("snooze"), count("retry"), count("ends")), (11, 11, 3));
        assert_eq!(test.states(&[snooze, retry, ends]), [Waits, Waits, WorkState::Failed]);
        let next = test.enqueue(say::request("others go on".into()));
        test.run_until_idle();
        assert_eq!(test.state_of(next), Succeeded);
    });
}
