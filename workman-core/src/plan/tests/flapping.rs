//! What keeps a work from being started over and over: the pause after a lost constraint, and the least wait of what asks itself.

use super::*;
use crate::policy::OnInterruption;
use crate::record::{ParkReason, Wait};

const LOST: [StopReason; 5] = [
    StopReason::ConstraintBatteryNotLow,
    StopReason::ConstraintCharging,
    StopReason::ConstraintConnectivity,
    StopReason::ConstraintDeviceIdle,
    StopReason::ConstraintStorageNotLow,
];

/// Waits until work 1 is due, claims it and ends its run so; answers in how many seconds it may run again, and why.
fn end(house: &mut House, epoch: u64, end: End) -> (u64, Option<Wait>) {
    let wait = Duration::from_secs(house.due_in(1));
    house.advance(wait);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, end);
    (house.due_in(1), house.record(1).wait())
}

fn lose(house: &mut House, epoch: u64, reason: StopReason) -> (u64, Option<Wait>) {
    end(house, epoch, End::Interrupted { reason })
}

#[test]
fn con_1_each_run_in_a_row_that_lost_a_constraint_makes_the_pause_longer_up_to_five_minutes() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).attempts(1)]);
    for (place, pause) in [5, 10, 20, 40, 80, 160, 300, 300, 300].into_iter().enumerate() {
        // Whichever constraint it was.
        assert_eq!(lose(&mut house, epoch, LOST[place % LOST.len()]), (pause, Some(Wait::Flapping)));
        let record = house.record(1);
        assert_eq!((record.flaps(), record.interruptions), (place as u32 + 1, place as u32 + 1));
        assert_eq!((record.failures, record.turn), (0, record.seq), "BO-6: no failed attempt, and it keeps its turn");
    }
    house.update(work(1).attempts(1).tag("t"));
    assert_eq!((house.due_in(1), house.record(1).wait()), (300, Some(Wait::Flapping)), "an update leaves it alone");
}

#[test]
fn a_run_that_no_constraint_stopped_sets_the_pause_back() {
    let ends = [
        failure(Advice::ByPolicy),
        End::TimedOut { limit: MINUTE, advice: Advice::ByPolicy, error: None },
        End::Snoozed { delay: MINUTE },
        End::Interrupted { reason: StopReason::Shutdown },
        End::Interrupted { reason: StopReason::Preempted },
    ];
    for other in ends {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1)]);
        lose(&mut house, epoch, LOST[0]);
        assert_eq!(lose(&mut house, epoch, LOST[0]).0, 10);
        end(&mut house, epoch, other.clone());
        assert_eq!(house.record(1).flaps(), 0, "{other:?}");
        assert_eq!(lose(&mut house, epoch, LOST[0]).0, 5, "{other:?}");
    }
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR)]);
    lose(&mut house, epoch, LOST[0]);
    end(&mut house, epoch, success());
    assert_eq!(lose(&mut house, epoch, LOST[0]).0, 5, "the end of a period");
}

#[test]
fn a_run_that_never_began_says_nothing_of_constraints() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    lose(&mut house, epoch, LOST[0]);
    house.advance(MINUTE);
    house.run(epoch, 1);
    house.done(&Command::Reclaim { epoch, held: Vec::new() });
    assert_eq!(house.record(1).flaps(), 1);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, End::Unrunnable { why: ParkReason::Undecodable { message: "what?".into() } });
    house.done(&Command::Retry(id(1)));
    assert_eq!(lose(&mut house, epoch, LOST[0]).0, 10);
}

#[test]
fn of_the_pause_and_the_backoff_that_a_request_asked_for_the_longer_counts() {
    let mut house = House::new();
    let epoch = house.attach();
    let backoff = Backoff::linear(Duration::from_secs(15)).ceiling(Duration::from_secs(15));
    house.enqueue([work(1).backoff(backoff).terms(|terms| terms.on_interruption = OnInterruption::BackOff)]);
    assert_eq!(lose(&mut house, epoch, LOST[1]), (15, Some(Wait::Interruption)));
    assert_eq!(lose(&mut house, epoch, LOST[1]), (15, Some(Wait::Interruption)));
    assert_eq!(lose(&mut house, epoch, LOST[1]), (20, Some(Wait::Flapping)));
    let own = |seconds| End::HeldBack { reason: LOST[1], delay: Duration::from_secs(seconds) };
    assert_eq!(end(&mut house, epoch, own(50)), (50, Some(Wait::OwnBackoff)));
    assert_eq!(end(&mut house, epoch, own(0)), (80, Some(Wait::Flapping)), "it can't be talked into spinning");
}

#[test]
fn periodic_work_pauses_no_longer_than_until_its_next_period_and_an_override_goes_first() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(MINUTE)]);
    let pauses: Vec<u64> = (0..7).map(|_| lose(&mut house, epoch, LOST[2]).0).collect();
    assert!(pauses.iter().all(|pause| *pause <= 60) && pauses[..3] == [5, 10, 20], "{pauses:?}");
    house.update(work(1).every(MINUTE).at(house.now));
    assert_eq!((house.due_in(1), house.record(1).wait()), (0, Some(Wait::Override)));
}

#[test]
fn a_work_that_says_itself_when_it_runs_again_waits_a_second_at_the_least_if_nothing_else_ends_that() {
    let millis = Duration::from_millis;
    let unlimited = |work: NewWork| work.terms(|terms| terms.max_attempts = None);
    let waited = |work: NewWork, end: &End| {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work]);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, end.clone());
        match house.record(1).standing {
            Standing::Waiting { due: Due::Store(due), .. } => due.since(house.now),
            _ => Duration::ZERO,
        }
    };
    for (asked, waits) in [(0, 1_000), (1, 1_000), (999, 1_000), (1_000, 1_000), (1_001, 1_001)] {
        let (asked, waits) = (millis(asked), millis(waits));
        let snooze = End::Snoozed { delay: asked };
        for work in [work(1), unlimited(work(1)), work(1).every(HOUR)] {
            assert_eq!(waited(work, &snooze), waits, "a snooze costs no attempt");
        }
        for advice in [Advice::After(asked), Advice::ByFunction(asked)] {
            assert_eq!(waited(unlimited(work(1)), &failure(advice)), waits, "{advice:?}");
            assert_eq!(waited(work(1), &failure(advice)), asked, "{advice:?}: attempts have an end");
            let timed_out = End::TimedOut { limit: MINUTE, advice, error: None };
            assert_eq!(waited(unlimited(work(1)), &timed_out), waits, "{advice:?}");
        }
    }
}
