//! Periods: PER and NRT, with flex and overrides.

use super::*;
use crate::plan::PROMOTE_LIMIT;

fn success_of(house: &mut House, epoch: u64) -> Applied {
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success())
}

fn flex(flex: Duration) -> impl FnOnce(&mut Terms) {
    move |terms| terms.schedule = terms.schedule.clone().flex(flex)
}

/// Seconds from the start of the house to when work 1 may run.
fn due_at(house: &House, start: Timestamp) -> u64 {
    house.now.since(start).as_secs() + house.due_in(1)
}

#[test]
fn per_2_and_per_4_flex_delays_the_first_run_and_no_other() {
    // WorkManager's example: a period of 60 minutes, flex of 15, a delay of 10, enqueued at 0, done at 57.
    let mut house = House::new();
    let start = house.now;
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR).delay(10 * MINUTE).terms(flex(15 * MINUTE))]);
    assert_eq!(due_at(&house, start), 55 * 60);
    house.advance(55 * MINUTE);
    let claimed = house.run(epoch, 1);
    house.advance(2 * MINUTE);
    house.settle(&claimed, success());
    assert_eq!(due_at(&house, start), 117 * 60);

    let table = [(HOUR, 0), (30 * MINUTE, 1_800), (Duration::ZERO, 3_600)];
    for (length, due_in) in table {
        let mut house = House::new();
        house.enqueue([work(1).every(HOUR).terms(flex(length))]);
        assert_eq!(house.due_in(1), due_in, "{length:?}");
    }
}

#[test]
fn per_3_the_next_period_begins_one_interval_after_the_completion_and_missed_ones_are_one() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR)]);
    for late in [Duration::ZERO, 7 * MINUTE, 100 * HOUR] {
        house.advance(late);
        success_of(&mut house, epoch);
        assert_eq!(house.due_in(1), 3_600, "after {late:?}");
        assert!(house.claim(epoch, 1).is_empty(), "one run makes up for all that were missed");
        house.advance(HOUR);
    }
}

#[test]
fn per_5_a_period_that_ends_counts_once_and_sets_the_failures_and_interruptions_back() {
    for last in [success(), failure(Advice::Never)] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1).every(HOUR)]);
        for failures in 1..=2 {
            let claimed = house.run(epoch, 1);
            house.settle(&claimed, failure(Advice::ByPolicy));
            let record = house.record(1);
            assert_eq!((record.failures, record.period.unwrap().count), (failures, 0), "a retry stays in its period");
            house.advance(MINUTE);
        }
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, interrupted());
        assert_eq!(house.record(1).interruptions, 1);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, last.clone());
        let record = house.record(1);
        assert_eq!((record.failures, record.interruptions, record.period.unwrap().count), (0, 0, 1), "{last:?}");
        assert_eq!((record.state(), house.due_in(1)), (WorkState::Enqueued, 58 * 60), "at its regular time");
    }
}

#[test]
fn nrt_2_and_nrt_3_backoff_goes_before_the_period_and_nrt_1_an_override_before_both() {
    let hourly = || work(1).every(100 * HOUR).backoff(Backoff::linear(30 * MINUTE));
    let mut house = House::new();
    let start = house.now;
    let epoch = house.attach();
    house.enqueue([hourly()]);
    success_of(&mut house, epoch);
    assert_eq!(due_at(&house, start), 100 * 3_600, "NRT-3: the period");
    house.advance(100 * HOUR);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::ByPolicy));
    assert_eq!(due_at(&house, start), 100 * 3_600 + 1_800, "NRT-2: the backoff");
    house.update(hourly().at(start + 110 * HOUR));
    assert_eq!((due_at(&house, start), house.record(1).failures), (110 * 3_600, 1), "NRT-1: the override");
    house.update(hourly().at(start + 112 * HOUR));
    assert_eq!(due_at(&house, start), 112 * 3_600, "the last one counts");
    house.update(hourly().wish(NextScheduleTime::Cleared));
    assert_eq!(due_at(&house, start), 100 * 3_600 + 1_800, "PER-7: and the backoff again, once it is cleared");
}

#[test]
fn nrt_4_one_time_work_is_due_when_it_was_enqueued_or_released_and_its_delay_later() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).delay(MINUTE), work(3).after([1]).delay(MINUTE)]);
    assert_eq!((house.due_in(1), house.due_in(2)), (0, 60));
    house.advance(30 * MINUTE);
    let claimed = house.claim(epoch, 2).into_iter().find(|claimed| claimed.record.id == id(1)).unwrap();
    house.settle(&claimed, success());
    assert_eq!(house.due_in(3), 60);
}

#[test]
fn per_6_an_override_replaces_the_next_run_once_and_what_follows_counts_from_its_time() {
    let mut house = House::new();
    let start = house.now;
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR).delay(5 * HOUR).at(start + 14 * HOUR)]);
    assert_eq!(due_at(&house, start), 14 * 3_600, "also of the first run, whatever its delay says");
    house.advance(5 * HOUR + MINUTE);
    assert!(house.claim(epoch, 1).is_empty());
    house.advance(9 * HOUR - MINUTE);
    success_of(&mut house, epoch);
    let period = house.record(1).period.unwrap();
    assert_eq!((period.count, period.next_run), (1, None), "it is spent");
    assert_eq!(due_at(&house, start), 15 * 3_600, "one interval after the run");
}

#[test]
fn per_6_a_retry_after_an_overridden_run_waits_for_its_backoff_and_ends_with_its_period() {
    let mut house = House::new();
    let start = house.now;
    let epoch = house.attach();
    let hourly = || work(1).every(HOUR).backoff(Backoff::linear(30 * MINUTE));
    house.enqueue([hourly().at(start + 14 * HOUR)]);
    house.advance(14 * HOUR);
    for (failures, due) in [(1, 14 * 3_600 + 1_800), (0, 15 * 3_600)] {
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, failure(Advice::ByPolicy));
        let record = house.record(1);
        assert_eq!((record.failures, record.period.unwrap().next_run, due_at(&house, start)), (failures, None, due));
        house.advance(Duration::from_secs(house.due_in(1)));
    }
}

#[test]
fn per_6_and_upd_5_an_update_behind_an_overridden_run_keeps_counting_from_its_time() {
    let mut house = House::new();
    let start = house.now;
    let epoch = house.attach();
    let hourly = || work(1).every(HOUR).delay(20 * MINUTE).backoff(Backoff::linear(MINUTE));
    house.enqueue([hourly().at(start + 14 * HOUR)]);
    for (count, run_at) in [(0, 14 * HOUR), (1, 17 * HOUR)] {
        house.now = start + run_at;
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, failure(Advice::ByPolicy));
        house.update(hourly());
        let period = house.record(1).period.unwrap();
        assert_eq!((period.count, period.due), (count, start + run_at), "the period is due when it ran");
        house.advance(MINUTE);
        success_of(&mut house, epoch);
        assert_eq!(due_at(&house, start), (run_at + HOUR).as_secs(), "one interval after the run");
        house.update(hourly().at(start + 17 * HOUR));
    }
}

#[test]
fn per_6_an_override_in_the_past_runs_now_and_the_end_of_time_never() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR).at(Timestamp::MIN), work(2).every(HOUR).at(Timestamp::MAX)]);
    assert_eq!(house.due_in(1), 0);
    success_of(&mut house, epoch);
    assert_eq!(house.due_in(1), 3_600);
    house.advance(1_000_000 * HOUR);
    assert_eq!(numbers(&house.claim(epoch, 9)), [1]);
}

#[test]
fn per_6_an_override_that_is_given_during_a_run_outlives_it_however_it_ends() {
    let retry = || failure(Advice::ByPolicy);
    let ends: [(&str, End, u64, u32); 6] = [
        ("success", success(), 1, 0),
        ("a failed period", failure(Advice::Never), 1, 0),
        ("a retry", retry(), 0, 1),
        ("an own time", failure(Advice::After(HOUR)), 0, 1),
        ("a snooze", End::Snoozed { delay: HOUR }, 0, 0),
        ("an interruption", interrupted(), 0, 0),
    ];
    for (what, end, count, failures) in ends {
        let mut house = House::new();
        let start = house.now;
        let epoch = house.attach();
        house.enqueue([work(1).every(100 * HOUR).at(start + 14 * HOUR)]);
        house.advance(14 * HOUR);
        let claimed = house.run(epoch, 1);
        assert_eq!(house.update(work(1).every(100 * HOUR).at(start + 34 * HOUR)), UpdateResult::AppliedForNextRun);
        house.advance(MINUTE);
        house.settle(&claimed, end);
        let record = house.record(1);
        assert_eq!(due_at(&house, start), 34 * 3_600, "{what}");
        assert_eq!((record.period.unwrap().count, record.failures, record.generation), (count, failures, 1), "{what}");
        house.update(work(1).every(100 * HOUR).tag("unrelated"));
        assert_eq!(due_at(&house, start), 34 * 3_600, "PER-7: {what}: it survives an update that does not speak of it");
        house.advance(20 * HOUR);
        success_of(&mut house, epoch);
        assert_eq!(house.record(1).period.unwrap().next_run, None, "{what}: and is spent once");
    }
}

#[test]
fn per_6_an_override_that_is_given_during_a_run_outlives_the_process_and_a_lost_claim() {
    for die in [true, false] {
        let mut house = House::new();
        let start = house.now;
        let epoch = house.attach();
        house.enqueue([work(1).every(HOUR)]);
        house.run(epoch, 1);
        house.update(work(1).every(HOUR).at(start + 10 * HOUR));
        if die {
            house.die();
            house.attach();
            house.rescue();
        } else {
            house.done(&Command::Reclaim { epoch, held: Vec::new() });
        }
        assert_eq!(due_at(&house, start), 10 * 3_600, "die: {die}");
    }
}

#[test]
fn per_7_a_cleared_override_gives_way_to_the_regular_time() {
    let mut house = House::new();
    let start = house.now;
    let epoch = house.attach();
    let hourly = || work(1).every(100 * HOUR);
    house.enqueue([hourly().delay(MINUTE).at(start + 9 * HOUR)]);
    house.update(hourly().delay(MINUTE).wish(NextScheduleTime::Cleared));
    assert_eq!(due_at(&house, start), 60);
    house.advance(MINUTE);
    let claimed = house.run(epoch, 1);
    house.update(hourly().at(start + 5 * HOUR));
    house.update(hourly().wish(NextScheduleTime::Cleared));
    house.settle(&claimed, success());
    assert_eq!(due_at(&house, start), 100 * 3_600 + 60, "set and cleared in one run");
    house.update(hourly().wish(NextScheduleTime::Cleared));
    assert_eq!(
        (due_at(&house, start), house.record(1).generation),
        (100 * 3_600 + 60, 4),
        "clearing nothing is an update"
    );
}

#[test]
fn per_6_an_override_is_wall_time_and_the_store_s_time_may_run_apart_from_it() {
    let mut house = House::new();
    house.enqueue([work(1).every(HOUR)]);
    house.advance(HOUR);
    house.enqueue([work(2)]);
    // The wall clock is set back; store time goes on where it was.
    let wall = Timestamp::from_millis(house.now.as_millis() - 1_800_000);
    let at = Reading { wall, ..house.clock() };
    let unit = |command| Unit { command, at };
    let mut transaction = Transaction::begin(&house.rows, &mut house.opening).unwrap();
    let update = Command::Update(Box::new(work(1).every(HOUR).at(wall + 10 * MINUTE)));
    assert!(transaction.run_unit(&mut house.rows, &unit(update)).unwrap().is_ok());
    transaction.finish(&mut house.rows, house.commits + 1).unwrap();
    assert_eq!(house.due_in(1), 600, "ten minutes from now, by either clock");
}

#[test]
fn per_6_an_override_is_found_behind_any_number_of_other_waits_and_they_behind_any_number_of_overrides() {
    let many = u128::try_from(PROMOTE_LIMIT).unwrap() + 10;
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((10..10 + many).map(|number| work(number).delay(2 * HOUR)));
    let at = house.now + MINUTE;
    house.enqueue([work(1).every(HOUR).at(at)]);
    assert_eq!(house.hints.iter().filter(|hint| **hint == Hint::Due(Due::Wall(at))).count(), 1);
    house.advance(MINUTE);
    house.run(epoch, 1);
    let at = house.now + MINUTE;
    house.enqueue((1000..1000 + many).map(|number| work(number).every(HOUR).at(at)));
    house.enqueue([work(2).delay(MINUTE)]);
    house.advance(MINUTE);
    let mut claimed = 0;
    for _ in 0..3 {
        let claim = house.claim_all(epoch, 10_000);
        let (works, _, next_due, again) = house.claim_with(claim);
        claimed += works.len();
        if !again {
            assert_eq!((next_due.wall, next_due.store.is_some()), (None, true));
        }
    }
    assert_eq!((claimed, house.state(2)), (usize::try_from(many).unwrap() + 1, WorkState::Running));
}

#[test]
fn per_8_periodic_work_shows_no_output() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR)]);
    success_of(&mut house, epoch);
    assert_eq!(house.rows.get(RowKey::Output(id(1))).unwrap(), None);
    assert!(!house.record(1).rows.output);
}

#[test]
fn per_1_and_t5_times_at_the_ends_of_the_range_do_no_harm() {
    for interval in [Duration::from_millis(1), Duration::MAX] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1).every(interval)]);
        success_of(&mut house, epoch);
        house.update(work(1).every(interval).at(Timestamp::MAX));
        house.update(work(1).every(interval).terms(flex(Duration::ZERO)).wish(NextScheduleTime::Cleared));
        assert_eq!(house.due_in(1) == 0, interval != Duration::MAX);
    }
}

#[test]
fn per_3_and_per_5_a_period_that_is_late_by_an_interval_has_all_of_one_for_its_retries() {
    let late = [(59 * MINUTE, 0), (60 * MINUTE, 3_600), (50 * HOUR, 3_600)];
    for (late, next) in late {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1).every(HOUR).attempts(3).backoff(Backoff::linear(10 * MINUTE))]);
        house.advance(late);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, failure(Advice::ByPolicy));
        let record = house.record(1);
        let period = record.period.unwrap();
        match next {
            0 => assert_eq!((period.count, house.due_in(1)), (1, 60), "{late:?}: its successor comes first"),
            _ => {
                assert_eq!((period.count, record.failures, house.due_in(1)), (0, 1, 600), "{late:?}");
                house.advance(10 * MINUTE);
                let claimed = house.run(epoch, 1);
                house.settle(&claimed, success());
                assert_eq!(house.due_in(1), next - 600, "{late:?}: one interval after it was begun");
            }
        }
    }
}

#[test]
fn per_5_and_per_6_an_override_in_the_past_is_run_now_and_has_its_retries() {
    let mut house = House::new();
    let epoch = house.attach();
    let past = house.now - 100 * HOUR;
    house.enqueue([work(1).every(HOUR).at(past)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::ByPolicy));
    assert_eq!((house.record(1).failures, house.due_in(1)), (1, 30));
}

#[test]
fn sm_7_and_per_5_runs_that_take_longer_than_a_period_and_fail_pause_for_a_backoff() {
    let waits = |backoff: Backoff| {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1).every(HOUR).backoff(backoff)]);
        let mut waits = Vec::new();
        for _ in 0..3 {
            let claimed = house.run(epoch, 1);
            house.advance(2 * HOUR);
            house.settle(&claimed, failure(Advice::ByPolicy));
            waits.push(house.due_in(1));
            house.advance(Duration::from_secs(house.due_in(1)));
        }
        waits
    };
    assert_eq!(waits(Backoff::default()), [30; 3]);
    assert_eq!(waits(Backoff::linear(5 * HOUR)), [3_600; 3], "and for no longer than a period");
}

#[test]
fn a_period_that_fails_at_the_very_time_of_the_next_pauses_for_its_backoff() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR).backoff(Backoff::linear(MINUTE))]);
    let claimed = house.run(epoch, 1);
    house.advance(HOUR);
    house.settle(&claimed, failure(Advice::Never));
    assert_eq!((house.record(1).period.unwrap().count, house.due_in(1)), (1, 60));
}
