//! The ends of attempts: SM, BO, PER and rule 18 of the semantics.

use super::*;
use crate::policy::{OnInterruption, OutOfQuotaPolicy};
use crate::record::{AttemptEnd, AttemptRecord, ParkReason};

fn history(house: &House, number: u128) -> Vec<AttemptRecord> {
    match house.rows.get(RowKey::History(id(number))).unwrap() {
        Some(Row::History(_, attempts)) => attempts,
        _ => Vec::new(),
    }
}

fn notes(house: &House, number: u128) -> Option<Notes> {
    match house.rows.get(RowKey::Notes(id(number))).unwrap() {
        Some(Row::Notes(_, notes)) => Some(notes),
        _ => None,
    }
}

#[test]
fn sm_success_ends_one_time_work_and_stores_its_output() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).terms(|terms| terms.discards_output = true)]);
    for number in [1, 2] {
        let claimed = house.run(epoch, number);
        let answer = house.settle(&claimed, success());
        assert_eq!(answer, Applied::Settled { state: WorkState::Succeeded, next_run: None, failures: 0 });
    }
    let output = |number| house.rows.get(RowKey::Output(id(number))).unwrap();
    assert_eq!(output(1), Some(Row::Output(id(1), payload("null"))));
    assert_eq!(output(2), None, "an output that nobody wants is dropped");
}

#[test]
fn a_commit_that_finishes_works_hints_at_the_first_that_may_be_forgotten() {
    let mut house = House::new();
    let kept = |number, hours| work(number).tag("t").terms(|terms| terms.retention = HOUR * hours);
    house.enqueue([kept(1, 3), kept(2, 1), kept(3, 2), kept(4, 0)]);
    let finished = |stored, until| Hint::Finished { stored, until };
    house.cancel(WorkSelector::Id(id(4)));
    assert_eq!(house.hints, [finished(1, house.now)]);
    house.cancel(WorkSelector::tag("t"));
    assert_eq!(house.hints, [finished(1, house.now + HOUR)]);
}

#[test]
fn the_run_time_of_expedited_work_is_counted_however_it_ends_and_that_of_other_work_is_not() {
    type Ending = fn(&mut House, &Claimed);
    let ends: [Ending; 5] = [
        |house, claimed| drop(house.settle(claimed, success())),
        |house, claimed| drop(house.settle(claimed, failure(Advice::ByPolicy))),
        |house, claimed| drop(house.settle(claimed, End::Snoozed { delay: HOUR })),
        |house, claimed| drop(house.settle(claimed, interrupted())),
        |house, _| assert_eq!(house.cancel(WorkSelector::Id(id(1))), 1),
    ];
    for end in ends {
        for (policy, used) in [(Some(OutOfQuotaPolicy::DropWorkRequest), 7 * MINUTE), (None, Duration::ZERO)] {
            let mut house = House::new();
            let epoch = house.attach();
            house.enqueue([work(1).terms(|terms| terms.expedited = policy)]);
            let claimed = house.run(epoch, 1);
            house.advance(7 * MINUTE);
            end(&mut house, &claimed);
            assert_eq!(house.dump().meta.expedited.used(house.now), used);
        }
    }
}

#[test]
fn bo_1_and_bo_2_and_bo_4_and_bo_8_retries_wait_for_their_backoff_from_the_end_of_the_attempt() {
    let linear = Backoff::linear(Duration::from_secs(10)).ceiling(Duration::from_secs(25));
    let table: [(Backoff, &[u64]); 3] = [
        (Backoff::default(), &[30, 60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360, 18_000, 18_000]),
        (linear, &[10, 20, 25, 25]),
        (Backoff::exponential(Duration::ZERO), &[0, 0, 0]),
    ];
    for (backoff, delays) in table {
        let mut house = House::new();
        let epoch = house.attach();
        // BO-8: the initial delay plays no part in retries.
        house.enqueue([work(1).delay(HOUR).terms(|terms| terms.backoff = backoff)]);
        house.advance(HOUR);
        for (number, delay) in delays.iter().enumerate() {
            let claimed = house.run(epoch, 1);
            assert_eq!(claimed.record.failures as usize, number, "BO-4: the number of the attempt");
            house.advance(7 * MINUTE);
            let answer = house.settle(&claimed, failure(Advice::ByPolicy));
            let next_run = Some(Due::Store(house.now + Duration::from_secs(*delay)));
            let failures = u32::try_from(number).unwrap() + 1;
            assert_eq!(answer, Applied::Settled { state: WorkState::Enqueued, next_run, failures });
            house.advance(Duration::from_secs(*delay));
        }
    }
}

#[test]
fn bo_3_the_last_of_max_attempts_fails_for_good() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).attempts(3), work(2).after([1])]);
    for failures in 1..=3 {
        house.advance(HOUR);
        let claimed = house.run(epoch, 1);
        let state = if failures < 3 { WorkState::Enqueued } else { WorkState::Failed };
        match house.settle(&claimed, failure(Advice::After(MINUTE))) {
            Applied::Settled { state: now, failures: counted, .. } => assert_eq!((now, counted), (state, failures)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(house.state(2), WorkState::Failed, "DEP-2");
    assert_eq!(history(&house, 1).len(), 3);
}

#[test]
fn unlimited_attempts_never_end() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).terms(|terms| terms.max_attempts = None)]);
    for failures in 0..50 {
        house.advance(5 * HOUR);
        let claimed = house.run(epoch, 1);
        assert_eq!(claimed.record.failures, failures);
        house.settle(&claimed, failure(Advice::ByPolicy));
    }
    let numbers: Vec<u32> = history(&house, 1).iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (40..50).collect::<Vec<_>>(), "the last ten attempts stay");
}

#[test]
fn advice_beats_the_policy() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::After(Duration::from_secs(7))));
    assert_eq!(house.due_in(1), 7);
    house.advance(Duration::from_secs(7));
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::Never));
    assert_eq!(house.state(1), WorkState::Failed);
}

#[test]
fn an_attempt_that_took_too_long_is_a_failed_one_and_says_so() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).attempts(2), work(2).after([1])]);
    let timed_out = |advice| End::TimedOut { limit: 7 * MINUTE, advice, error: Some(ErrorText::new("its own")) };
    let claimed = house.run(epoch, 1);
    let answer = house.settle(&claimed, timed_out(Advice::ByPolicy));
    let next_run = Some(Due::Store(house.now + Duration::from_secs(30)));
    assert_eq!(answer, Applied::Settled { state: WorkState::Enqueued, next_run, failures: 1 });
    let record = house.record(1);
    assert_eq!((record.failures, record.interruptions, record.stop), (1, 0, Some(StopReason::Timeout)));
    let AttemptEnd::Failed { error } = &history(&house, 1)[0].end else { panic!("it failed") };
    assert_eq!(error.to_string(), "did not end within 420s, the timeout of an attempt: its own");
    house.advance(HOUR);
    let claimed = house.run(epoch, 1);
    assert_eq!(house.stop_reason(1), None);
    let answer = house.settle(&claimed, timed_out(Advice::After(MINUTE)));
    assert_eq!(answer, Applied::Settled { state: WorkState::Failed, next_run: None, failures: 2 });
    assert_eq!(house.state(2), WorkState::Failed, "DEP-2");
}

#[test]
fn a_snooze_is_no_failure_and_goes_to_the_end_of_the_line() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, End::Snoozed { delay: MINUTE });
    assert_eq!((house.record(1).failures, house.record(1).interruptions), (0, 0));
    house.advance(MINUTE);
    assert_eq!(numbers(&house.claim(epoch, 2)), [2, 1]);
    let claimed = Claimed { record: house.record(1), spec: work(1).spec, checkpoint: None, born_from: 0 };
    house.settle(&claimed, End::Snoozed { delay: HOUR });
    assert_eq!(house.due_in(1), 3_600);
    assert_eq!(history(&house, 1).last().map(|attempt| attempt.end.clone()), Some(AttemptEnd::Snoozed));
}

#[test]
fn bo_5_and_bo_6_an_interruption_keeps_its_turn_and_is_counted_apart() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).attempts(1), work(2)]);
    for count in 1..=30 {
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, interrupted());
        let record = house.record(1);
        assert_eq!((record.interruptions, record.failures, record.deaths), (count, 0, 0));
        assert_eq!(record.stop, Some(StopReason::Preempted));
        assert_eq!(record.turn, record.seq, "it keeps its place in line");
    }
    house.run(epoch, 1);
    assert_eq!(house.stop_reason(1), None, "a new run was not stopped yet");
}

#[test]
fn a_run_that_did_not_stop_is_an_interruption_and_its_work_goes_to_the_end_of_the_line() {
    let reason = StopReason::Shutdown;
    for (end, turns) in [
        (End::Interrupted { reason }, [1, 2, 3]),
        (End::GivenUp { reason, delay: None }, [2, 3, 1]),
        (End::GivenUp { reason, delay: Some(HOUR) }, [2, 3, 1]),
    ] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue((1..=3).map(work));
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, end);
        let record = house.record(1);
        assert_eq!((record.interruptions, record.failures, record.deaths), (1, 0, 0));
        assert_eq!((record.stop, house.due_in(1)), (Some(reason), 0), "BO-6: a shutdown backs off nothing");
        let last = history(&house, 1).last().map(|attempt| attempt.end.clone());
        assert_eq!(last, Some(AttemptEnd::Interrupted { reason }));
        assert_eq!(numbers(&house.claim(epoch, 3)), turns);
    }
}

#[test]
fn bo_6_an_interruption_by_the_system_backs_off_where_the_request_asks_for_it() {
    let asks = || work(1).terms(|terms| terms.on_interruption = OnInterruption::BackOff);
    let table = [
        (work(1), StopReason::ConstraintConnectivity, 5),
        (work(1), StopReason::Shutdown, 0),
        (asks(), StopReason::Shutdown, 0),
        (asks(), StopReason::ConstraintConnectivity, 60),
    ];
    let own = |reason| End::HeldBack { reason, delay: Duration::from_secs(7) };
    for (work, reason, waits) in table.clone() {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work]);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, failure(Advice::After(Duration::ZERO)));
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, End::Interrupted { reason });
        assert_eq!((house.due_in(1), house.record(1).failures), (waits, 1), "{reason:?}");
    }
    for (work, reason, waits) in table {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work]);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, own(reason));
        assert_eq!(house.due_in(1), waits.min(7), "what the worker's own function says goes before the policy");
    }
}

#[test]
fn con_1_a_run_that_was_stopped_before_it_began_leaves_its_work_as_it_was() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2), work(3).every(HOUR)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, End::Interrupted { reason: StopReason::ConstraintCharging });
    house.advance(MINUTE);
    for number in [1, 3] {
        let before = house.record(number);
        let attempts = history(&house, number).len();
        house.cancel(WorkSelector::Id(id(2)));
        let claimed = house.run(epoch, number);
        house.settle(&claimed, End::NotBegun);
        let after = house.record(number);
        assert!(matches!(after.standing, Standing::Ready { .. }));
        let counters = |record: &WorkRecord| (record.failures, record.interruptions, record.deaths, record.flaps());
        assert_eq!(counters(&after), counters(&before));
        assert_eq!((after.stop, after.turn, after.ended), (before.stop, before.turn, before.ended));
        assert_eq!(after.period, before.period);
        assert_eq!((after.fence, history(&house, number).len()), (before.fence + 1, attempts), "it is no attempt");
        let claimed = house.run(epoch, number);
        house.settle(&claimed, success());
    }
}

#[test]
fn sm_3_work_that_can_not_begin_is_parked_and_counts_nothing() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1])]);
    let claimed = house.run(epoch, 1);
    let why = ParkReason::TooLarge { size: 2, limit: 1 };
    house.settle(&claimed, End::Unrunnable { why: why.clone() });
    let record = house.record(1);
    assert_eq!(record.standing, Standing::Parked { why });
    assert_eq!((record.failures, record.interruptions, record.deaths), (0, 0, 0));
    assert!(history(&house, 1).is_empty());
    assert!(house.claim(epoch, 5).is_empty());
    assert_eq!(house.state(2), WorkState::Blocked);
}

#[test]
fn sm_4_a_run_that_was_fenced_off_changes_nothing() {
    type Fencing = fn(&mut House, &Claimed);
    let ways: [(&str, Fencing); 5] = [
        ("cancelled", |house, _| assert_eq!(house.cancel(WorkSelector::Id(id(1))), 1)),
        ("replaced", |house, _| drop(house.unique(work(9).name("n"), REPLACE))),
        ("settled", |house, claimed| drop(house.settle(claimed, success()))),
        ("interrupted and run again", |house, claimed| {
            house.settle(claimed, interrupted());
            let Standing::Running { epoch } = claimed.record.standing else { panic!("it runs") };
            house.run(epoch, 1);
        }),
        ("rescued", |house, _| {
            house.die();
            house.attach();
            house.rescue();
        }),
    ];
    for (way, fence_off) in ways {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1).name("n")]);
        let claimed = house.run(epoch, 1);
        fence_off(&mut house, &claimed);
        for end in [success(), failure(Advice::ByPolicy), interrupted(), End::Snoozed { delay: HOUR }] {
            assert_eq!(house.refused(&settle(&claimed, end)), Refusal::Stale(id(1)), "{way}");
        }
        assert_eq!(house.refused(&note(&claimed, Some("1"), Some("2"))), Refusal::Stale(id(1)), "{way}");
    }
}

#[test]
fn sm_8_a_settle_needs_the_exact_fence() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let claimed = house.run(epoch, 1);
    for fence in [0, 2, u64::MAX] {
        let guess = Command::Settle(Settle { id: id(1), fence, end: success() });
        assert_eq!(house.refused(&guess), Refusal::Stale(id(1)));
    }
    house.settle(&claimed, success());
}

#[test]
fn notes_are_merged_and_sm_9_go_when_the_work_finishes() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let claimed = house.run(epoch, 1);
    house.done(&note(&claimed, Some("1"), None));
    house.done(&note(&claimed, None, Some("2")));
    house.done(&note(&claimed, Some("3"), None));
    let said = Notes { progress: Some(payload("3")), checkpoint: Some(payload("2")) };
    assert_eq!(notes(&house, 1), Some(said.clone()));
    house.settle(&claimed, interrupted());
    assert_eq!(notes(&house, 1), Some(said), "a checkpoint survives the end of a run");
    let claimed = house.run(epoch, 1);
    assert_eq!(claimed.checkpoint, Some(payload("2")));
    house.settle(&claimed, success());
    assert_eq!(notes(&house, 1), None);
}

#[test]
fn a_checkpoint_or_a_finished_attempt_clears_the_deaths() {
    let mut house = House::new();
    let mut epoch = house.attach();
    house.enqueue([work(1)]);
    let mut die = |house: &mut House| {
        house.run(epoch, 1);
        house.die();
        epoch = house.attach();
        house.rescue();
        house.advance(HOUR);
        epoch
    };
    let epoch = die(&mut house);
    let claimed = house.run(epoch, 1);
    house.done(&note(&claimed, Some("1"), None));
    assert_eq!(house.record(1).deaths, 1, "progress alone clears nothing");
    house.done(&note(&claimed, None, Some("1")));
    assert_eq!(house.record(1).deaths, 0);
    house.settle(&claimed, interrupted());
    let mut house_two = House::new();
    let mut epoch = house_two.attach();
    for end in [failure(Advice::ByPolicy), End::Snoozed { delay: HOUR }] {
        house_two.unique(work(1).name("n"), REPLACE);
        house_two.cancel(WorkSelector::All);
        house_two.unique(work(2).name("n"), REPLACE);
        house_two.run(epoch, 2);
        house_two.die();
        epoch = house_two.attach();
        house_two.rescue();
        let claimed = house_two.run(epoch, 2);
        assert_eq!(claimed.record.deaths, 1);
        house_two.settle(&claimed, end);
        assert_eq!(house_two.record(2).deaths, 0);
    }
}

/// One row of rule 18's table: what happens in one period of an hour, in minutes since the work was enqueued.
struct Row18 {
    what: &'static str,
    /// When each attempt ends, and how.
    ends: &'static [(u64, Option<u64>)],
    /// When the next period is due, and with which number.
    next_due: u64,
    period: u64,
    failures: u32,
}

#[test]
fn per_3_and_per_5_attempts_belong_to_one_period() {
    // An end with `None` is a success, with `Some(minutes)` a failure that asks for a retry after these minutes.
    let table = [
        Row18 { what: "PER-3: success", ends: &[(10, None)], next_due: 70, period: 1, failures: 0 },
        Row18 { what: "a late success", ends: &[(90, None)], next_due: 150, period: 1, failures: 0 },
        Row18 { what: "PER-5: retry", ends: &[(5, Some(20))], next_due: 25, period: 0, failures: 1 },
        Row18 { what: "retry, then success", ends: &[(5, Some(20)), (30, None)], next_due: 60, period: 1, failures: 0 },
        Row18 { what: "retry at the next period", ends: &[(5, Some(55))], next_due: 60, period: 1, failures: 0 },
        Row18 { what: "retry after it", ends: &[(5, Some(300))], next_due: 60, period: 1, failures: 0 },
        Row18 { what: "retry just before it", ends: &[(5, Some(54))], next_due: 59, period: 0, failures: 1 },
        Row18 { what: "a failure after it", ends: &[(100, Some(1))], next_due: 100, period: 1, failures: 0 },
        Row18 {
            what: "a retry that succeeds after it",
            ends: &[(5, Some(20)), (200, None)],
            next_due: 200,
            period: 1,
            failures: 0,
        },
        Row18 {
            what: "retries until the period ends",
            ends: &[(5, Some(20)), (30, Some(20)), (55, Some(20))],
            next_due: 60,
            period: 1,
            failures: 0,
        },
    ];
    for row in table {
        let mut house = House::new();
        let start = house.now;
        let epoch = house.attach();
        house.enqueue([work(1).every(HOUR)]);
        for (minute, retry) in row.ends {
            let record = house.record(1);
            if let Standing::Waiting { due, .. } = record.standing {
                house.now = due.at();
            }
            let claimed = house.run(epoch, 1);
            house.now = start + MINUTE * u32::try_from(*minute).unwrap();
            let end = match retry {
                Some(minutes) => failure(Advice::After(MINUTE * u32::try_from(*minutes).unwrap())),
                None => success(),
            };
            house.settle(&claimed, end);
        }
        let record = house.record(1);
        let due = record.next_run().unwrap_or_else(|| panic!("{}: {record:?}", row.what));
        let minutes = due.at().since(start).as_secs() / 60;
        let period = record.period.unwrap();
        assert_eq!((minutes, period.count, record.failures), (row.next_due, row.period, row.failures), "{}", row.what);
    }
}

#[test]
fn sm_7_and_per_5_spent_attempts_end_the_period_and_never_the_series() {
    let mut house = House::new();
    let start = house.now;
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR).attempts(2)]);
    for period in 0..3 {
        for attempt in 0..2 {
            let claimed = house.run(epoch, 1);
            assert_eq!((claimed.record.failures, claimed.record.period.unwrap().count), (attempt, period));
            house.settle(&claimed, failure(if period == 2 { Advice::Never } else { Advice::After(MINUTE) }));
            if period == 2 {
                break;
            }
            house.advance(MINUTE);
        }
        let next = start + HOUR * u32::try_from(period + 1).unwrap();
        assert_eq!(house.record(1).period.unwrap().due, next, "SM-7: failures do not push the series out");
        house.now = next;
    }
    assert_eq!(house.state(1), WorkState::Enqueued, "SM-1: periodic work never fails");
}

#[test]
fn per_2_the_first_run_waits_for_the_initial_delay_only() {
    let mut house = House::new();
    house.enqueue([work(1).every(HOUR), work(2).every(HOUR).delay(10 * MINUTE)]);
    assert_eq!((house.due_in(1), house.due_in(2)), (0, 600));
}

#[test]
fn per_3_a_new_period_is_enqueued_when_the_one_before_it_ends() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR)]);
    let born = house.now;
    for (number, end) in [success(), failure(Advice::Never)].into_iter().enumerate() {
        house.advance(2 * HOUR);
        let claimed = house.run(epoch, 1);
        assert_eq!(claimed.record.period.unwrap().count as usize, number);
        house.advance(MINUTE);
        house.settle(&claimed, end);
        assert_eq!((house.record(1).enqueued, house.record(1).created), (house.now, born));
    }
}

#[test]
fn a_new_period_forgets_progress_and_checkpoint() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR)]);
    let claimed = house.run(epoch, 1);
    house.done(&note(&claimed, Some("1"), Some("2")));
    house.settle(&claimed, failure(Advice::After(MINUTE)));
    assert!(notes(&house, 1).is_some(), "a retry goes on where it was");
    house.advance(MINUTE);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    assert_eq!(notes(&house, 1), None);
    assert!(!house.record(1).rows.notes);
}

/// Claims and interrupts work 1; answers in how many seconds it may run again.
fn interrupt(house: &mut House, epoch: u64, reason: StopReason) -> u64 {
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, End::Interrupted { reason });
    house.due_in(1)
}

fn backs_off(work: NewWork) -> NewWork {
    work.terms(|terms| terms.on_interruption = OnInterruption::BackOff)
}

#[test]
fn bo_6_an_interruption_by_the_system_is_backed_off_if_the_request_asked_for_it_and_no_other_is() {
    let of_the_system = [
        StopReason::Preempted,
        StopReason::Quota,
        StopReason::ConstraintBatteryNotLow,
        StopReason::ConstraintCharging,
        StopReason::ConstraintConnectivity,
        StopReason::ConstraintDeviceIdle,
        StopReason::ConstraintStorageNotLow,
    ];
    let own = [StopReason::Shutdown, StopReason::RuntimeGone, StopReason::StoreUnavailable];
    for (reason, waits) in of_the_system.map(|r| (r, true)).into_iter().chain(own.map(|r| (r, false))) {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([backs_off(work(1))]);
        assert_eq!(interrupt(&mut house, epoch, reason), if waits { 30 } else { 0 }, "{reason}");
        assert_eq!((house.record(1).failures, house.record(1).interruptions), (0, 1), "{reason}: no failure");
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1)]);
        let pause = if reason.is_lost_constraint() { 5 } else { 0 };
        assert_eq!(interrupt(&mut house, epoch, reason), pause, "{reason}: nobody asked for it");
    }
}

#[test]
fn bo_6_interruptions_back_off_further_each_time_and_behind_failures() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([backs_off(work(1)).backoff(Backoff::linear(MINUTE)).attempts(2)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::ByPolicy));
    for minutes in 2..5 {
        house.advance(HOUR);
        assert_eq!(interrupt(&mut house, epoch, StopReason::ConstraintConnectivity), minutes * 60);
    }
    house.update(backs_off(work(1)).backoff(Backoff::linear(MINUTE)).tag("t"));
    assert_eq!(house.due_in(1), 4 * 60, "an update leaves that wait alone");
}

#[test]
fn bo_6_and_per_5_an_interrupted_period_waits_no_longer_than_until_the_next_would_be_due() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([backs_off(work(1).every(HOUR)).backoff(Backoff::linear(40 * MINUTE))]);
    assert_eq!(interrupt(&mut house, epoch, StopReason::Preempted), 40 * 60);
    house.advance(40 * MINUTE);
    assert_eq!(interrupt(&mut house, epoch, StopReason::Preempted), 20 * 60, "not 80 minutes");
    house.advance(50 * HOUR);
    assert_eq!(interrupt(&mut house, epoch, StopReason::Preempted), 3_600, "a period that is late is that of now");
    house.advance(HOUR);
    let claimed = house.run(epoch, 1);
    house.advance(2 * HOUR);
    house.settle(&claimed, End::Interrupted { reason: StopReason::Preempted });
    let Standing::Ready { since, .. } = house.record(1).standing else { panic!("it is ready") };
    assert_eq!(since, Due::Store(house.now), "and not since the past");
    assert_eq!(house.record(1).period.unwrap().count, 0, "nothing was completed");
}

#[test]
fn bo_3_jitter_shortens_each_delay_by_a_part_that_follows_from_work_and_attempt() {
    let backoff = Backoff::linear(100 * MINUTE).ceiling(100 * MINUTE).jitter(50);
    let delays = |number: u128| {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([NewWork { id: id(number), ..work(1) }.backoff(backoff)]);
        let mut delays = Vec::new();
        for failures in 1..=6 {
            let claimed = house.run(epoch, number);
            house.settle(&claimed, failure(Advice::ByPolicy));
            assert_eq!(house.due_in(number), backoff.delay_of(id(number), failures).as_secs());
            delays.push(house.due_in(number));
            house.advance(2 * HOUR);
        }
        delays
    };
    let all: Vec<Vec<u64>> = (1..=20).map(|number| delays(number * 0x9e37_79b9)).collect();
    assert_eq!(all[0], delays(0x9e37_79b9), "the same work waits as long each time it is asked");
    let flat: Vec<u64> = all.iter().flatten().copied().collect();
    assert!(flat.iter().all(|delay| (3_000..=6_000).contains(delay)), "from half of it to all of it: {flat:?}");
    let distinct: BTreeSet<u64> = flat.iter().copied().collect();
    assert!(distinct.len() > 100, "what failed together is tried apart: {flat:?}");
    assert!(flat.iter().any(|delay| *delay < 3_300) && flat.iter().any(|delay| *delay > 5_700), "{flat:?}");
}

#[test]
fn bo_8_an_initial_delay_plays_no_part_once_an_attempt_has_failed() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).delay(HOUR)]);
    house.advance(HOUR);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::ByPolicy));
    assert_eq!(house.due_in(1), 30);
    house.update(work(1).delay(100 * HOUR));
    assert_eq!(house.due_in(1), 30, "not even a new one");
}

/// A stop reason is that of the last stop until the work runs again, is cancelled or finishes.
#[test]
fn a_stop_reason_goes_with_the_next_run_that_began_and_with_every_other_end() {
    use WorkState::{Cancelled, Enqueued, Failed, Running, Succeeded};
    let timed_out = |advice| End::TimedOut { limit: MINUTE, advice, error: None };
    let unrunnable = || End::Unrunnable { why: ParkReason::Undecodable { message: "what?".into() } };
    let (preempted, timeout) = (Some(StopReason::Preempted), Some(StopReason::Timeout));
    let ends = [
        (success(), Succeeded, None),
        (failure(Advice::Never), Failed, None),
        (failure(Advice::ByPolicy), Enqueued, None),
        (End::Snoozed { delay: MINUTE }, Enqueued, None),
        (timed_out(Advice::ByPolicy), Enqueued, timeout),
        (timed_out(Advice::Never), Failed, timeout),
        (End::Interrupted { reason: StopReason::Shutdown }, Enqueued, Some(StopReason::Shutdown)),
        // It turned out that the second run never began.
        (unrunnable(), Enqueued, preempted),
    ];
    for periodic in [false, true] {
        for (end, state, reason) in &ends {
            let mut house = House::new();
            let epoch = house.attach();
            house.enqueue([if periodic { work(1).every(HOUR) } else { work(1) }]);
            let claimed = house.run(epoch, 1);
            house.settle(&claimed, interrupted());
            assert_eq!((house.state(1), house.stop_reason(1)), (Enqueued, preempted));
            let claimed = house.run(epoch, 1);
            assert_eq!((house.state(1), house.stop_reason(1)), (Running, None), "a run was not stopped yet");
            house.settle(&claimed, end.clone());
            let state = if periodic { Enqueued } else { *state };
            assert_eq!((house.state(1), house.stop_reason(1)), (state, *reason), "{end:?}, periodic: {periodic}");
            if !state.is_finished() {
                house.cancel(WorkSelector::Id(id(1)));
                assert_eq!((house.state(1), house.stop_reason(1)), (Cancelled, None), "{end:?}: that stopped nothing");
            }
        }
    }
}

#[test]
fn a_stop_reason_goes_with_a_run_whose_process_died_and_stays_if_the_run_was_never_handed_out() {
    for rescued in [true, false] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1)]);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, interrupted());
        house.run(epoch, 1);
        if rescued {
            house.die();
            house.attach();
            house.rescue();
        } else {
            house.done(&Command::Reclaim { epoch, held: Vec::new() });
        }
        let expected = if rescued { None } else { Some(StopReason::Preempted) };
        assert_eq!((house.state(1), house.stop_reason(1)), (WorkState::Enqueued, expected), "rescued: {rescued}");
    }
}
