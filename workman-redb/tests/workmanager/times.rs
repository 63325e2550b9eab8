//! When work is due: `calculateNextRunTime` and the times in `WorkInfo`.

use workman_core::{Backoff, Builder, Clock, Schedule, WorkContext, WorkSelector, WorkState, worker};
use workman_testing::VirtualClock;

use crate::bench::{DAY, Diary, HOUR, MINUTE, flaky, held, millis, on_both_stores, say, secs, slow};

use WorkState::Enqueued as Waits;

/// WorkManagerImplTest 16, 17: work is due from its enqueue on, not from the making of its request.
#[test]
fn nrt_4_a_delay_counts_from_the_enqueue_and_not_from_the_making_of_the_request() {
    on_both_stores(|test| {
        let once = say::request("once".into()).initial_delay(MINUTE);
        let again = say::periodic("again".into(), HOUR).initial_delay(MINUTE);
        test.advance(DAY);
        let before = test.now();
        let ids = [test.enqueue(once), test.enqueue_periodic(again)];
        for id in ids {
            let info = test.info(id);
            assert_eq!((info.created, info.next_run), (before, Some(before + MINUTE)));
        }
        test.advance(MINUTE - millis(1));
        assert_eq!(test.diary().len(), 0);
        test.advance(millis(1));
        assert_eq!(test.diary().len(), 2);
    });
}

/// WorkManagerImplTest 76, 77: the next run of enqueued work is its enqueue and its delay, and other work has none.
#[test]
fn nrt_4_the_next_run_is_told_while_work_is_enqueued_and_only_then() {
    on_both_stores(|test| {
        let test = test.shaped(|driver| driver.shape(Builder::enqueue_only));
        let now = test.now();
        let plain = test.enqueue(say::request("plain".into()));
        let delayed = test.enqueue(say::request("delayed".into()).initial_delay(secs(2)));
        let chain = test.chain(test.manager().begin_with(say::request("a".into())).then(say::request("b".into())));
        test.advance(HOUR);
        assert_eq!(test.info(plain).next_run, Some(now), "it may lie in the past");
        assert_eq!(test.info(delayed).next_run, Some(now + secs(2)));
        assert_eq!(test.info(chain[1]).next_run, None, "blocked");
        test.cancel(WorkSelector::All);
        assert_eq!([plain, delayed].map(|id| test.info(id).next_run), [None, None]);
    });
}

/// The neighbourhood of 76: no next run while it runs, nor when it is over.
#[test]
fn nrt_4_running_and_finished_work_has_no_next_run() {
    on_both_stores(|test| {
        let id = test.enqueue(slow::request("x".into(), 60));
        test.run_until_idle();
        assert_eq!((test.state_of(id), test.info(id).next_run), (WorkState::Running, None));
        test.advance(MINUTE);
        assert_eq!((test.state_of(id), test.info(id).next_run), (WorkState::Succeeded, None));
    });
}

/// A moment that one-time work names is one of the wall clock: a clock that is set takes it along. A delay and prerequisites may make
/// it later, never earlier, and it does not hold up a retry.
#[test]
fn one_time_work_runs_at_the_moment_that_it_names_by_the_wall_clock_and_never_before() {
    on_both_stores(|test| {
        let start = test.now();
        let named = test.enqueue(say::request("named".into()).run_at(start + HOUR));
        let delayed = test.enqueue(say::request("delayed".into()).run_at(start + MINUTE).initial_delay(2 * HOUR));
        let past = test.enqueue(say::request("past".into()).run_at(start - DAY));
        let first = say::request("first".into());
        let second = say::request("second".into()).run_at(start + 3 * HOUR);
        let chain = test.chain(test.manager().begin_with(first).then(second));
        test.run_until_idle();
        assert_eq!([past, chain[0]].map(|id| test.state_of(id)), [WorkState::Succeeded; 2]);
        let due = |id| test.info(id).next_run;
        assert_eq!([named, delayed, chain[1]].map(due), [1, 2, 3].map(|hours| Some(start + hours * HOUR)));
        assert_eq!(test.info(named).run_at, Some(start + HOUR));
        test.clock().set_wall(start + HOUR - 2 * MINUTE);
        test.advance(2 * MINUTE - millis(1));
        assert_eq!(test.state_of(named), Waits);
        test.advance(millis(1));
        assert_eq!(test.state_of(named), WorkState::Succeeded);
        assert_eq!([delayed, chain[1]].map(|id| test.state_of(id)), [Waits; 2]);
        test.advance(2 * HOUR);
        assert_eq!([delayed, chain[1]].map(|id| test.state_of(id)), [WorkState::Succeeded; 2]);
    });
}

/// WorkManagerImplTest 40: interval, flex and delay come back.
#[test]
fn interval_and_flex_come_back_from_the_store() {
    on_both_stores(|test| {
        let schedule = Schedule::every(60 * MINUTE).flex(30 * MINUTE);
        let id = test.enqueue_periodic(say::periodic("x".into(), schedule.clone()).initial_delay(millis(1_234)));
        test.crash_and_restart();
        assert_eq!(test.info(id).schedule, schedule);
        assert_eq!(test.due_in(id), millis(1_234) + 30 * MINUTE);
        let plain = test.enqueue_periodic(say::periodic("y".into(), 25 * HOUR + MINUTE).initial_delay(HOUR));
        let interval = 25 * HOUR + MINUTE;
        assert_eq!(test.info(plain).schedule, Schedule::Every { interval, flex: interval }, "without flex all of it");
    });
}

/// WorkSpecTest, first runs of periodic work: with flex at its part of the period, without it at once, in both cases after the
/// delay.
#[test]
fn nrt_3_and_per_2_the_first_run_is_due_after_its_delay_and_in_its_flex() {
    on_both_stores(|test| {
        let interval = 15 * MINUTE + secs(5);
        let first = |schedule: Schedule, delay: u64| {
            let id = test.enqueue_periodic(held::periodic("x".into(), schedule).initial_delay(millis(delay)));
            test.run_until_idle();
            match test.state_of(id) {
                WorkState::Running => millis(0),
                _ => test.due_in(id),
            }
        };
        assert_eq!(first(Schedule::every(interval).flex(5 * MINUTE + secs(5)), 0), secs(600));
        assert_eq!(first(Schedule::every(interval).flex(5 * MINUTE + secs(5)), 10_000), secs(610));
        assert_eq!(first(Schedule::every(interval).flex(interval), 0), millis(0));
        assert_eq!(first(Schedule::every(interval), 0), millis(0));
        assert_eq!(first(Schedule::every(interval), 10_000), secs(10));
    });
}

/// WorkSpecTest, later runs: one interval after the end of the one before; flex and delay count for the first run only.
#[test]
fn per_3_and_per_4_later_runs_are_one_interval_after_the_end_of_the_run_before() {
    on_both_stores(|test| {
        let schedule = Schedule::every(HOUR).flex(15 * MINUTE);
        let id = test.enqueue_periodic(slow::periodic("x".into(), 120, schedule).initial_delay(10 * MINUTE));
        assert_eq!(test.due_in(id), 55 * MINUTE, "the delay, and the part of the period before the flex");
        test.advance(57 * MINUTE);
        assert_eq!((test.diary(), test.due_in(id)), (vec!["x".to_owned()], HOUR));
        test.advance(HOUR + 2 * MINUTE);
        assert_eq!((test.info(id).periods, test.due_in(id)), (2, HOUR), "fixed delay, not fixed rate");
    });
}

/// WorkSpecTest `rerunAttempt_*`: exponential 10, 20, 40 s, linear 10, 20, 30 s, neither above five hours, however many.
#[test]
fn bo_2_attempts_are_repeated_at_the_exact_delays_of_their_policy() {
    on_both_stores(|test| {
        let delays = |backoff: Backoff, count: u32| -> Vec<u64> {
            let id = test.enqueue(flaky::request("x".into(), 99).backoff(backoff).unlimited_attempts());
            test.run_until_idle();
            let delay = |_| {
                let delay = test.due_in(id);
                test.advance(delay);
                delay.as_secs()
            };
            let delays = (0..count).map(delay).collect();
            test.cancel(WorkSelector::id(id));
            delays
        };
        let default = [30, 60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360, 18_000];
        assert_eq!(delays(Backoff::default(), 11), default, "BO-7: nothing is added");
        assert_eq!(delays(Backoff::exponential(secs(10)), 5), [10, 20, 40, 80, 160]);
        assert_eq!(delays(Backoff::linear(secs(10)), 5), [10, 20, 30, 40, 50]);
        assert_eq!(delays(Backoff::exponential(5 * HOUR + millis(1)), 2), [18_000, 18_000]);
        assert_eq!(delays(Backoff::exponential(HOUR), 40)[3..], [18_000; 37], "no overflow");
    });
}

/// The preview of a periodic request tells the runs that come, and so does the snapshot at each of them.
#[test]
fn per_2_and_per_3_and_per_6_the_preview_tells_the_runs_that_come() {
    on_both_stores(|test| {
        let start = test.now();
        let every = |schedule: Schedule| notes_time::periodic(schedule);
        let flexible = Schedule::every(HOUR).flex(15 * MINUTE);
        for request in [
            every(Schedule::every(HOUR)),
            every(flexible.clone()),
            every(flexible.clone()).initial_delay(10 * MINUTE),
            every(flexible).initial_delay(10 * MINUTE).next_schedule_time_override(start + 100 * HOUR),
            every(Schedule::every(MINUTE)).next_schedule_time_override(start),
        ] {
            let test = test.another();
            let told = request.next_runs_from(test.now(), 4);
            let id = test.enqueue_periodic(request);
            for (run, due) in told.iter().enumerate() {
                let info = test.info(id);
                if info.state == Waits {
                    assert_eq!(info.next_runs(4 - run), told[run..]);
                }
                test.advance(due.since(test.now()));
                assert_eq!(test.info(id).periods, run as u64 + 1);
            }
            let ran: Vec<String> = told.iter().map(ToString::to_string).collect();
            assert_eq!(test.diary(), ran);
        }
    });
}

/// Writes down when it runs.
#[worker]
async fn notes_time(cx: &WorkContext, #[state] diary: Diary, #[state] clock: VirtualClock) {
    let _ = cx;
    diary.write(clock.wall().to_string());
}

/// The preview of backoffs tells the waits that come, with the jitter of the work's own id.
#[test]
fn bo_2_the_preview_of_backoffs_tells_the_waits_that_come() {
    on_both_stores(|test| {
        let jitter = Backoff::exponential(secs(10)).jitter(50);
        for backoff in [Backoff::default(), Backoff::linear(millis(1_234)), jitter, jitter.ceiling(secs(33))] {
            let request = flaky::request("x".into(), 99).backoff(backoff);
            let told = request.backoff_delays(6);
            let id = test.enqueue(request);
            test.run_until_idle();
            for delay in told {
                assert_eq!(test.due_in(id), delay, "{backoff:?}");
                assert!(delay <= backoff.delay_after(u32::MAX));
                test.advance(delay);
            }
            test.cancel(WorkSelector::id(id));
        }
    });
}
