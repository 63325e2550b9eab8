//! Cancellation: CAN.

use super::*;

#[test]
fn can_1_a_work_and_all_that_depends_on_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2), work(3).after([1, 2]), work(4).after([3]), work(5).after([2])]);
    let claimed = house.run(epoch, 1);
    assert_eq!(house.cancel(WorkSelector::Id(id(1))), 3);
    use WorkState::{Blocked, Cancelled, Enqueued};
    assert_eq!(house.states([1, 2, 3, 4, 5]), [Cancelled, Enqueued, Cancelled, Cancelled, Blocked]);
    let stop = Hint::Stop { id: id(1), fence: claimed.record.fence, reason: StopReason::CancelledByApp };
    assert!(house.hints.contains(&stop), "CAN-2: the worker is told after the commit");
    assert_eq!(house.record(1).stop, Some(StopReason::CancelledByApp));
    assert_eq!(house.record(3).stop, None, "what did not run was not stopped");
}

#[test]
fn can_4_unknown_and_finished_work_is_left_alone() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    let commits = house.commits;
    assert_eq!(house.cancel(WorkSelector::Id(id(99))), 0);
    assert_eq!(house.cancel(WorkSelector::Id(id(1))), 0);
    assert_eq!(house.cancel(WorkSelector::tag("nobody")), 0);
    assert_eq!(house.commits, commits);
    assert_eq!(house.state(1), WorkState::Succeeded);
}

#[test]
fn can_1_selections_mean_what_they_say() {
    let build = || {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(9).priority(9)]);
        let claimed = house.run(epoch, 9);
        house.settle(&claimed, success());
        house.enqueue([
            work(1).tag("t"),
            work(2).tag("t").name("n"),
            work(3).name("n").after([1]),
            work(4).worker("other"),
        ]);
        house
    };
    let table: [(WorkSelector, &[u128]); 6] = [
        (WorkSelector::tag("t"), &[1, 2, 3]),
        (WorkSelector::unique("n"), &[2, 3]),
        (WorkSelector::tag("other"), &[4]),
        (WorkSelector::tag("worker"), &[1, 2, 3]),
        (WorkSelector::All, &[1, 2, 3, 4]),
        (WorkSelector::Id(id(4)), &[4]),
    ];
    for (selector, cancelled) in table {
        let mut house = build();
        assert_eq!(house.cancel(selector.clone()), cancelled.len(), "{selector:?}");
        for number in 1..=4 {
            let is_cancelled = house.state(number) == WorkState::Cancelled;
            assert_eq!(is_cancelled, cancelled.contains(&number), "{selector:?}: work {number}");
        }
        assert_eq!(house.state(9), WorkState::Succeeded);
    }
}

#[test]
fn selections_go_in_bounded_pages_and_mean_older_works() {
    let mut house = House::new();
    let limit = super::super::SELECT_LIMIT;
    house.enqueue((1..=2 * limit as u128 + 5).map(|number| work(number).tag("t")));
    let (mut before, mut after, mut counts) = (None, None, Vec::new());
    for young in 1..10 {
        let cancel = Cancel { selector: WorkSelector::tag("t"), before, after };
        let Applied::Cancelled { count, before: upper, next } = house.done(&Command::Cancel(cancel)) else { panic!() };
        counts.push(count);
        house.enqueue([work(1_000_000 + young).tag("t")]);
        if next.is_none() {
            break;
        }
        (before, after) = (Some(upper), next);
    }
    assert_eq!(counts, [limit, limit, 5]);
    for young in 1..=3 {
        assert_eq!(house.state(1_000_000 + young), WorkState::Enqueued);
    }
}

#[test]
fn sm_1_a_cancelled_periodic_work_ends_its_series() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(HOUR)]);
    let claimed = house.run(epoch, 1);
    house.cancel(WorkSelector::Id(id(1)));
    assert_eq!(house.refused(&settle(&claimed, success())), Refusal::Stale(id(1)));
    house.advance(24 * HOUR);
    assert!(house.claim(epoch, 5).is_empty());
}

#[test]
fn can_5_the_wall_time_of_the_last_cancellation_of_everything_is_kept() {
    let mut house = House::new();
    let last = |house: &House| stored_meta(&house.shelf).unwrap().last_cancel_all;
    house.enqueue([work(1).tag("t").name("n")]);
    for selector in [WorkSelector::Id(id(1)), WorkSelector::tag("t"), WorkSelector::unique("n")] {
        house.cancel(selector);
        assert_eq!(last(&house), None, "one of many is not everything");
    }
    house.advance(HOUR);
    house.cancel(WorkSelector::All);
    assert_eq!(last(&house), Some(house.now), "also if there was nothing left");
    assert_eq!(house.hints, [Hint::CancelledAll]);
    let at = house.now;
    house.advance(HOUR);
    let go_on = Cancel { selector: WorkSelector::All, before: Some(1), after: None };
    house.done(&Command::Cancel(go_on));
    assert_eq!(last(&house), Some(at), "a selection that goes on is the same one");
    // The wall clock is set back by half an hour; store time stands still and does not say that.
    let wall = Timestamp::from_millis(house.now.as_millis() - 1_800_000);
    let mut transaction = Transaction::begin(&house.shelf, house.incarnation).unwrap();
    let unit = Unit { command: cancel(WorkSelector::All), wall };
    assert!(transaction.run_unit(&mut house.shelf, &unit).unwrap().is_ok());
    transaction.finish(&mut house.shelf, house.commits + 1).unwrap();
    assert_eq!(last(&house), Some(wall));
}
