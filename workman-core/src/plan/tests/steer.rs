//! What a person does by hand: run now, another time, and once more after a failure.

use super::super::{CASCADE_LIMIT, RetryReport, StayedFailed, SteerResult, Steering};
use super::*;
use crate::policy::DEATHS_TO_SUSPECT;
use crate::record::{ParkReason, Wait};

use WorkState::{Blocked, Cancelled, Enqueued, Failed, Running, Succeeded};

fn steered(house: &mut House, number: u128, how: Steering) -> SteerResult {
    match house.done(&Command::Steer { id: id(number), how }) {
        Applied::Steered(result) => result,
        other => panic!("{other:?}"),
    }
}

fn run_now(house: &mut House, number: u128) -> SteerResult {
    steered(house, number, Steering::RunNow)
}

fn retry(house: &mut House, number: u128) -> RetryReport {
    match house.done(&try_again(number)) {
        Applied::Retried(report) => report,
        other => panic!("{other:?}"),
    }
}

fn try_again(number: u128) -> Command {
    Command::Steer { id: id(number), how: Steering::Retry }
}

fn retried(report: &RetryReport) -> Vec<u128> {
    report.retried.iter().map(|id| id.as_u128()).collect()
}

/// Runs the work and lets it fail for good.
fn fail(house: &mut House, epoch: u64, number: u128) {
    let claimed = house.run(epoch, number);
    house.settle(&claimed, failure(Advice::Never));
}

fn succeed(house: &mut House, epoch: u64, number: u128) {
    let claimed = house.run(epoch, number);
    house.settle(&claimed, success());
}

#[test]
fn run_now_skips_whatever_wait_there_is_once_and_changes_nothing_the_second_time() {
    type Ending = Option<fn() -> End>;
    let waits: [(Wait, Duration, Ending); 3] = [
        (Wait::Delay, HOUR, None),
        (Wait::Backoff, Duration::ZERO, Some(|| failure(Advice::ByPolicy))),
        (Wait::Asked, Duration::ZERO, Some(|| End::Snoozed { delay: 9 * HOUR })),
    ];
    for (why, delay, end) in waits {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1).delay(delay), work(2).delay(HOUR)]);
        if let Some(end) = end {
            let claimed = house.run(epoch, 1);
            house.settle(&claimed, end());
        }
        let (before, bystander) = (house.record(1), house.record(2));
        assert_eq!(before.wait(), Some(why));
        assert_eq!(run_now(&mut house, 1), SteerResult::Applied);
        let commits = house.commits;
        assert_eq!(run_now(&mut house, 1), SteerResult::Unchanged);
        assert_eq!(house.commits, commits, "to say it twice is to say it once");
        assert_eq!(house.record(1).failures, before.failures, "no attempt is given or taken");
        assert_eq!(house.record(2), bystander);
        assert_eq!(numbers(&house.claim(epoch, 9)), [1], "{why}");
    }
}

#[test]
fn the_next_period_is_counted_from_a_run_by_hand() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(24 * HOUR)]);
    succeed(&mut house, epoch, 1);
    house.advance(3 * HOUR);
    assert_eq!(run_now(&mut house, 1), SteerResult::Applied);
    assert_eq!(house.record(1).wait(), Some(Wait::Override));
    succeed(&mut house, epoch, 1);
    assert_eq!((house.due_in(1), house.record(1).wait()), (24 * 3_600, Some(Wait::Period)));
    assert_eq!(house.record(1).period.unwrap().count, 2);
}

#[test]
fn a_suspect_is_let_run_by_a_person_and_stays_one_but_a_new_time_does_not_shorten_its_wait() {
    let mut house = House::new();
    house.enqueue([work(1)]);
    for _ in 0..DEATHS_TO_SUSPECT {
        let epoch = house.attach();
        house.run(epoch, 1);
        house.die();
        house.attach();
        house.rescue();
    }
    let until = house.now + HOUR;
    let before = house.record(1);
    assert!(before.is_suspect());
    let soon = Steering::At(house.now);
    assert_eq!(steered(&mut house, 1, soon), SteerResult::Suspect);
    assert_eq!(house.record(1), before);
    assert_eq!(steered(&mut house, 1, Steering::At(until)), SteerResult::Applied, "longer is no danger");
    assert_eq!(run_now(&mut house, 1), SteerResult::Applied);
    assert!(house.record(1).is_suspect(), "it runs with no other suspect still");
}

#[test]
fn a_new_time_counts_once_by_the_wall_clock_and_waits_for_the_run_after_where_periodic_work_runs() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).delay(HOUR), work(2).every(24 * HOUR)]);
    let at = house.now + 5 * HOUR;
    assert_eq!(steered(&mut house, 1, Steering::At(at)), SteerResult::Applied);
    assert_eq!(steered(&mut house, 1, Steering::At(at)), SteerResult::Unchanged);
    assert_eq!((house.record(1).next_run(), house.due_in(1)), (Some(Due::Wall(at)), 5 * 3_600));
    let claimed = house.run(epoch, 2);
    assert_eq!(steered(&mut house, 2, Steering::At(at)), SteerResult::AppliedForNextRun);
    house.settle(&claimed, success());
    assert_eq!(house.due_in(2), 5 * 3_600);
    house.cancel(WorkSelector::Id(id(1)));
    house.advance(5 * HOUR);
    succeed(&mut house, epoch, 2);
    assert_eq!(house.due_in(2), 24 * 3_600, "it is spent");
    let soon = Steering::At(Timestamp::MIN);
    house.enqueue([work(3).delay(HOUR)]);
    assert_eq!(steered(&mut house, 3, soon), SteerResult::Applied);
    assert_eq!(house.due_in(3), 0, "a time that has passed is now");
}

#[test]
fn what_waits_for_no_time_says_where_it_stands_and_a_time_that_never_comes_is_refused() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([
        work(1),
        work(2).after([1]),
        work(3).priority(-1),
        work(4).priority(-2),
        work(5).every(HOUR).delay(HOUR),
    ]);
    house.run(epoch, 1);
    let parked = house.run(epoch, 3);
    house.settle(&parked, End::Unrunnable { why: ParkReason::Undecodable { message: "what?".into() } });
    house.cancel(WorkSelector::Id(id(4)));
    let at = Steering::At(house.now + HOUR);
    use SteerResult::{Blocked, Finished, Parked, Running};
    for (number, result) in [(1, Running), (2, Blocked), (3, Parked), (4, Finished)] {
        let before = house.dump();
        assert_eq!([Steering::RunNow, at].map(|how| steered(&mut house, number, how)), [result; 2]);
        assert_eq!(house.dump(), before);
    }
    let at = |at| Steering::At(at);
    for (number, never) in [(5, Timestamp::MAX), (5, Timestamp::MAX - MINUTE), (1, Timestamp::MAX)] {
        assert_eq!(house.refused(&Command::Steer { id: id(number), how: at(never) }), Refusal::Never(id(number)));
    }
    for how in [Steering::RunNow, at(house.now), Steering::Retry] {
        assert_eq!(house.refused(&Command::Steer { id: id(99), how }), Refusal::NotFound(id(99)));
    }
}

#[test]
fn failed_work_comes_back_with_all_that_failed_because_of_it_and_the_chain_runs_to_its_end() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1]), work(3).after([1, 2]), work(4).after([3]), work(9).delay(9 * HOUR)]);
    fail(&mut house, epoch, 1);
    assert_eq!(house.states([1, 2, 3, 4]), [Failed; 4]);
    let bystander = house.record(9);
    house.advance(HOUR);
    let report = retry(&mut house, 1);
    assert_eq!((retried(&report), report.stayed), (vec![1, 2, 3, 4], vec![]));
    assert_eq!(house.states([1, 2, 3, 4]), [Enqueued, Blocked, Blocked, Blocked]);
    assert_eq!((house.record(1).failures, house.record(9)), (0, bystander));
    assert!(house.record(1).rows.history, "what became of it before can still be read");
    for number in 1..=4 {
        succeed(&mut house, epoch, number);
    }
    assert_eq!(house.states([1, 2, 3, 4]), [Succeeded; 4]);
}

#[test]
fn what_is_appended_to_a_failed_name_comes_back_with_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.unique(work(1).name("n"), APPEND);
    fail(&mut house, epoch, 1);
    house.unique(work(2).name("n"), APPEND);
    assert_eq!(house.state(2), Failed);
    assert_eq!(retried(&retry(&mut house, 1)), [1, 2]);
    assert_eq!(house.unique(work(3).name("n"), APPEND), super::super::Enqueued::Appended(vec![id(2)]));
    assert_eq!(house.states([1, 2, 3]), [Enqueued, Blocked, Blocked]);
}

#[test]
fn a_dependent_of_two_failures_comes_back_with_the_second_and_one_whose_prerequisite_is_gone_stays() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2), work(3).after([1, 2]), work(4).after([3])]);
    fail(&mut house, epoch, 1);
    fail(&mut house, epoch, 2);
    let report = retry(&mut house, 2);
    assert_eq!(retried(&report), [2]);
    let (one, other) = (StayedFailed::PrerequisiteEnded(id(1)), StayedFailed::PrerequisiteEnded(id(3)));
    assert_eq!(report.stayed, [(id(3), one), (id(4), other)]);
    let refused = house.refused(&try_again(4));
    assert_eq!(refused, Refusal::PrerequisiteEnded { work: id(4), prerequisite: id(3) });
    assert_eq!(retried(&retry(&mut house, 1)), [1, 3, 4]);
    assert_eq!(house.states([1, 2, 3, 4]), [Enqueued, Enqueued, Blocked, Blocked]);
}

#[test]
fn failed_work_whose_prerequisite_was_pruned_is_refused() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1])]);
    succeed(&mut house, epoch, 1);
    fail(&mut house, epoch, 2);
    let keep = super::super::Retention::Recent { age: Duration::ZERO, count: 1, grace: Duration::ZERO };
    house.done(&Command::Prune(super::super::Prune { keep, before: None, after: None, stride: Stride::AtMost(1) }));
    assert_eq!((house.find(1), house.find(2).is_some()), (None, true), "the older one goes first");
    let gone = Refusal::PrerequisiteGone { work: id(2), prerequisite: id(1) };
    assert_eq!(house.refused(&try_again(2)), gone);
}

#[test]
fn what_somebody_cancelled_stays_so_and_what_is_under_way_is_not_tried_again() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1]), work(3).after([1])]);
    house.cancel(WorkSelector::Id(id(2)));
    fail(&mut house, epoch, 1);
    assert_eq!(retried(&retry(&mut house, 1)), [1, 3]);
    assert_eq!(house.state(2), Cancelled);
    house.run(epoch, 1);
    for (number, state) in [(1, Running), (2, Cancelled), (3, Blocked)] {
        assert_eq!(house.refused(&try_again(number)), Refusal::NotRetryable { id: id(number), state });
    }
}

#[test]
fn a_chain_of_any_depth_comes_back_whole_and_one_that_is_too_wide_not_at_all() {
    for (works, deep) in [(3_000, true), (CASCADE_LIMIT as u128 + 2, false)] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue((1..=works).map(|number| match number {
            1 => work(1),
            _ if deep => work(number).after([number - 1]),
            _ => work(number).after([1]),
        }));
        fail(&mut house, epoch, 1);
        if deep {
            assert_eq!(retry(&mut house, 1).retried.len() as u128, works);
            continue;
        }
        assert_eq!(house.refused(&try_again(1)), Refusal::StillEnding(id(1)), "some are yet to hear of the failure");
        while house.cascades() > 0 {
            house.done(&Command::Drain);
        }
        let limit = CASCADE_LIMIT;
        assert_eq!(house.refused(&try_again(1)), Refusal::TooManyDependents { id: id(1), limit });
    }
}
