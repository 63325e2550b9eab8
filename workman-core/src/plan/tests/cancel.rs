//! Cancellation: CAN.

use super::super::{CASCADE_LIMIT, Listed, ListedVerb, Prune, REASON_LIMIT, Retention, SELECT_LIMIT, Stride};
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
    let limit = SELECT_LIMIT;
    house.enqueue((1..=2 * limit as u128 + 5).map(|number| work(number).tag("t")));
    let (mut before, mut after, mut counts) = (None, None, Vec::new());
    for young in 1..10 {
        let cancel = Cancel { selector: WorkSelector::tag("t"), before, after, stride: Stride::Full, because: None };
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

/// Others wait for the store meanwhile, so a command may be told to end few works, and it never ends none for ever.
#[test]
fn a_selection_goes_as_far_as_its_stride_and_reaches_everything_whatever_that_is() {
    let works = 23;
    for (stride, most) in [
        (Stride::AtMost(7), 7),
        (Stride::AtMost(1), 1),
        (Stride::AtMost(0), 1),
        (Stride::PastOne, 1),
        (Stride::AtMost(usize::MAX), 23),
        (Stride::Full, 23),
    ] {
        for selector in [WorkSelector::tag("t"), WorkSelector::unique("n"), WorkSelector::All] {
            let mut house = House::new();
            house.enqueue((1..=works).map(|number| work(number).tag("t").name("n")));
            house.enqueue([work(100).after([1])]);
            let (mut before, mut after, mut total, mut commands) = (None, None, 0, 0);
            loop {
                let cancel = Cancel { selector: selector.clone(), before, after, stride, because: None };
                let Applied::Cancelled { count, before: bound, next } = house.done(&Command::Cancel(cancel)) else {
                    panic!("{selector:?}")
                };
                assert!(count <= most + 1, "{stride:?} ended {count} works and what depends on them");
                (total, commands, before, after) = (total + count, commands + 1, Some(bound), next);
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(total, 24, "{stride:?} {selector:?}");
            assert!(commands >= 23_usize.div_ceil(most), "{stride:?} {selector:?}");
        }
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
    let last = |house: &House| stored_meta(&house.rows).unwrap().last_cancel_all;
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
    let go_on =
        Cancel { selector: WorkSelector::All, before: Some(1), after: None, stride: Stride::Full, because: None };
    house.done(&Command::Cancel(go_on));
    assert_eq!(last(&house), Some(at), "a selection that goes on is the same one");
    // The wall clock is set back by half an hour; store time goes on and does not say that.
    let wall = Timestamp::from_millis(house.now.as_millis() - 1_800_000);
    let at = Reading { wall, ..house.clock() };
    let mut transaction = Transaction::begin(&house.rows, &mut house.opening).unwrap();
    let unit = Unit { command: cancel(WorkSelector::All), at };
    assert!(transaction.run_unit(&mut house.rows, &unit).unwrap().is_ok());
    transaction.finish(&mut house.rows, house.commits + 1).unwrap();
    assert_eq!(last(&house), Some(wall));
}

/// Claims and settles these, which must be next in line one after the other.
fn succeed(house: &mut House, epoch: u64, numbers: impl IntoIterator<Item = u128>) {
    for number in numbers {
        let claimed = house.run(epoch, number);
        house.settle(&claimed, success());
    }
}

#[test]
fn can_1_and_can_4_a_finished_work_stays_and_all_that_depends_on_it_ends_through_finished_works_too() {
    use WorkState::{Blocked, Cancelled, Enqueued, Running, Succeeded};
    let mut house = House::new();
    let epoch = house.attach();
    // 1 -> 2 -> 3 (runs) -> 5, 2 -> 4 (waits), 1 -> 6 and 9 -> 6 (blocked), 9 (waits).
    house.enqueue([
        work(9).delay(HOUR),
        work(1),
        work(2).after([1]),
        work(3).after([2]).priority(1),
        work(4).after([2]).delay(HOUR),
        work(5).after([3]),
        work(6).after([1, 9]),
    ]);
    succeed(&mut house, epoch, [1, 2]);
    let runs = house.run(epoch, 3);
    let states = [Succeeded, Succeeded, Running, Enqueued, Blocked, Blocked, Enqueued];
    assert_eq!(house.states([1, 2, 3, 4, 5, 6, 9]), states);
    let finished = [house.record(1), house.record(2)];
    assert_eq!(house.cancel(WorkSelector::Id(id(1))), 4);
    assert_eq!([house.record(1), house.record(2)], finished, "what has finished is not finished again");
    assert_eq!(house.states([3, 4, 5, 6, 9]), [Cancelled, Cancelled, Cancelled, Cancelled, Enqueued]);
    let stop = Hint::Stop { id: id(3), fence: runs.record.fence, reason: StopReason::CancelledByApp };
    assert!(house.hints.contains(&stop), "what runs is told");
    let (dump, commits) = (house.dump(), house.commits);
    for number in 1..=6 {
        assert_eq!(house.cancel(WorkSelector::Id(id(number))), 0, "{number}: again is nothing");
    }
    assert_eq!((house.dump(), house.commits), (dump, commits), "C6");
}

#[test]
fn can_1_a_dependent_that_waits_for_its_next_attempt_or_was_stopped_ends_with_a_finished_work_too() {
    for end in [failure(Advice::After(HOUR)), interrupted(), End::Snoozed { delay: HOUR }] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1), work(2).after([1]), work(3)]);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, success());
        let mut works = house.claim(epoch, 2);
        works.retain(|claimed| claimed.record.id == id(2));
        house.settle(&works.remove(0), end.clone());
        assert_eq!(house.cancel(WorkSelector::Id(id(1))), 1, "{end:?}");
        assert_eq!(house.states([1, 2, 3]), [WorkState::Succeeded, WorkState::Cancelled, WorkState::Running]);
        assert_eq!(house.stop_reason(2), None);
        house.advance(2 * HOUR);
        assert!(house.claim(epoch, 5).is_empty(), "{end:?}");
    }
}

/// CAN-1: a selection means unfinished works, as upstream; what depends on a finished one of it is none of it.
#[test]
fn can_1_a_selection_means_its_unfinished_works_and_what_depends_on_those() {
    let build = || {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1).tag("t").name("n"), work(2).after([1]), work(3).tag("t").name("n").delay(HOUR)]);
        succeed(&mut house, epoch, [1]);
        house.enqueue([work(4).after([3])]);
        house
    };
    for selector in [WorkSelector::tag("t"), WorkSelector::unique("n")] {
        let mut house = build();
        assert_eq!(house.cancel(selector.clone()), 2, "{selector:?}");
        use WorkState::{Cancelled, Enqueued, Succeeded};
        assert_eq!(house.states([1, 2, 3, 4]), [Succeeded, Enqueued, Cancelled, Cancelled], "{selector:?}");
    }
    let mut house = build();
    assert_eq!(house.cancel(WorkSelector::All), 3);
}

#[test]
fn can_4_behind_work_that_failed_or_was_cancelled_there_is_nothing_to_cancel() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1]), work(3), work(4).after([3])]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::Never));
    house.cancel(WorkSelector::Id(id(3)));
    let commits = house.commits;
    assert_eq!([1, 3].map(|number| house.cancel(WorkSelector::Id(id(number)))), [0, 0]);
    assert_eq!((house.states([2, 4]), house.commits), ([WorkState::Failed, WorkState::Cancelled], commits));
}

/// Finished works in layers, each of which depends on all of the layer before; and one that waits behind the last layer. There are
/// more ways through it than could ever be walked.
#[test]
fn can_1_a_mesh_of_finished_works_is_walked_once_and_in_bounded_commits() {
    const WIDTH: u128 = 80;
    const DEPTH: u128 = 5;
    let mut house = House::new();
    let epoch = house.attach();
    let layer = |depth: u128| (0..WIDTH).map(move |place| 10 + depth * WIDTH + place);
    house.enqueue([work(1)]);
    for depth in 0..DEPTH {
        let after: Vec<u128> = if depth == 0 { vec![1] } else { layer(depth - 1).collect() };
        house.commit(&enqueue(layer(depth).map(|number| work(number).after(after.clone())))).unwrap();
    }
    house.commit(&enqueue([work(5).after(layer(DEPTH - 1)).delay(HOUR)])).unwrap();
    for _ in 0..=DEPTH {
        let claim = house.claim_all(epoch, 1_000);
        let Ok(Applied::Claimed { works, .. }) = house.commit(&Command::Claim(claim)) else { panic!() };
        works.iter().for_each(|claimed| drop(house.commit(&settle(claimed, success())).unwrap()));
    }
    house.seen = house.dump();
    assert_eq!((house.state(5), house.count(WorkState::Succeeded)), (WorkState::Enqueued, 401));
    let Applied::Cancelled { next: None, .. } = house.done(&cancel(WorkSelector::Id(id(1)))) else { panic!() };
    // What is stored behind it now was not meant; nor may the way be cut before it was walked.
    house.enqueue([work(6).after([1]), work(7).after([10])]);
    let before = house.count(WorkState::Succeeded);
    house.done(&Command::Prune(Prune { keep: Retention::Nothing, before: None, after: None, stride: Stride::Full }));
    assert_eq!(house.count(WorkState::Succeeded), before, "what leads to others is still needed");
    let edges = WIDTH * WIDTH * (DEPTH - 1) + 2 * WIDTH;
    let most = usize::try_from(edges).unwrap() / CASCADE_LIMIT + 2;
    let mut rounds = 0;
    while house.done(&Command::Drain) == (Applied::Drained { again: true }) {
        rounds += 1;
        assert!(rounds <= most, "{rounds} commits for {edges} edges");
    }
    let states = [WorkState::Succeeded, WorkState::Cancelled, WorkState::Enqueued, WorkState::Enqueued];
    assert_eq!(house.states([1, 5, 6, 7]), states);
    let commits = house.commits;
    house.done(&Command::Drain);
    assert_eq!(house.commits, commits);
}

/// A success that is wider than one commit, cancelled before it has reached all its dependents.
#[test]
fn can_1_what_a_wide_success_has_not_released_yet_is_cancelled_with_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let count = CASCADE_LIMIT as u128 + 500;
    house.commit(&enqueue((0..count).map(|number| work(100 + number).after([1])))).unwrap();
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    assert_eq!(house.cancel(WorkSelector::Id(id(1))), CASCADE_LIMIT);
    while house.done(&Command::Drain) == (Applied::Drained { again: true }) {}
    assert_eq!(house.count(WorkState::Cancelled) as u128, count);
    assert_eq!(house.state(1), WorkState::Succeeded);
}

// ---- why ----

fn cancel_because(selector: WorkSelector, because: &str) -> Command {
    Command::Cancel(Cancel { selector, before: None, after: None, stride: Stride::Full, because: Some(because.into()) })
}

fn reasons<const N: usize>(house: &House, numbers: [u128; N]) -> [Option<String>; N] {
    numbers.map(|number| house.record(number).cancelled_because().map(ToString::to_string))
}

#[test]
fn the_reason_of_a_cancellation_is_kept_by_all_that_it_ends_and_by_nothing_else() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1]), work(3).after([2]), work(4), work(5).after([4])]);
    house.run(epoch, 1);
    let said = Some("not wanted".to_owned());
    house.done(&cancel_because(WorkSelector::Id(id(1)), "not wanted"));
    house.cancel(WorkSelector::Id(id(4)));
    house.done(&cancel_because(WorkSelector::All, "too late: all has ended"));
    assert_eq!(reasons(&house, [1, 2, 3, 4, 5]), [said.clone(), said.clone(), said.clone(), None, None]);
    house.enqueue([work(6).after([3]), work(7).after([5])]);
    assert_eq!(house.states([6, 7]), [WorkState::Cancelled; 2]);
    assert_eq!(reasons(&house, [6, 7]), [said, None], "what is born behind it shows it too");
}

#[test]
fn the_reason_goes_on_with_the_rest_of_a_wide_cancellation_and_each_of_two_keeps_its_own() {
    let mut house = House::new();
    let wide = CASCADE_LIMIT as u128 + 500;
    house.enqueue([work(1), work(2), work(3)]);
    house.enqueue((0..wide).map(|number| work(10_000 + number).after([1])));
    house.enqueue((0..wide).map(|number| work(50_000 + number).after([2])));
    house.enqueue((0..wide).map(|number| work(90_000 + number).after([3])));
    house.done(&cancel_because(WorkSelector::Id(id(1)), "one"));
    house.cancel(WorkSelector::Id(id(2)));
    house.done(&cancel_because(WorkSelector::Id(id(3)), "three"));
    while house.cascades() > 0 {
        house.done(&Command::Drain);
    }
    for number in (0..wide).step_by(97).chain([wide - 1]) {
        let found = reasons(&house, [10_000 + number, 50_000 + number, 90_000 + number]);
        assert_eq!(found, [Some("one".into()), None, Some("three".into())], "dependent {number}");
    }
}

#[test]
fn a_reason_that_is_too_long_is_refused_and_an_empty_one_is_none() {
    let mut house = House::new();
    house.enqueue([work(1), work(2), work(3)]);
    let long = "ä".repeat(REASON_LIMIT / 2);
    let refusal = Refusal::ReasonTooLong { size: REASON_LIMIT + 1, limit: REASON_LIMIT };
    assert_eq!(house.refused(&cancel_because(WorkSelector::All, &format!("{long}!"))), refusal);
    assert_eq!(house.states([1, 2, 3]), [WorkState::Enqueued; 3]);
    house.done(&cancel_because(WorkSelector::Id(id(1)), &long));
    house.done(&cancel_because(WorkSelector::Id(id(2)), ""));
    assert_eq!(reasons(&house, [1, 2, 3]), [Some(long), None, None]);
}

// ---- by list ----

fn listed<const N: usize>(numbers: [u128; N], before: Option<u64>, verb: ListedVerb) -> Command {
    Command::Listed(Listed { ids: numbers.map(id).to_vec(), before, verb })
}

#[test]
fn a_list_means_what_is_unfinished_and_old_enough_and_passes_nothing_on_through_what_has_succeeded() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1]), work(3), work(4).after([3])]);
    succeed(&mut house, epoch, [1]);
    let verb = ListedVerb::Cancel { because: Some("enough".into()) };
    let Applied::Cancelled { count, before, next } = house.done(&listed([1, 3, 4, 99], None, verb.clone())) else {
        panic!()
    };
    assert_eq!((count, next), (2, None));
    use WorkState::{Cancelled, Enqueued, Succeeded};
    assert_eq!(house.states([1, 2, 3, 4]), [Succeeded, Enqueued, Cancelled, Cancelled]);
    house.enqueue([work(5)]);
    house.done(&listed([5], Some(before), verb));
    assert_eq!(house.states([2, 5]), [Enqueued, Enqueued], "it was born after the first command");
}

#[test]
fn a_list_is_pruned_but_for_what_is_unfinished_awaited_or_too_young() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1]), work(3), work(4)]);
    succeed(&mut house, epoch, [1, 3]);
    let Applied::Pruned { count, before, next, .. } = house.done(&listed([1, 3, 4, 99], None, ListedVerb::Prune))
    else {
        panic!()
    };
    assert_eq!((count, next), (1, None));
    house.enqueue([work(5)]);
    succeed(&mut house, epoch, [4, 2, 5]);
    let again = house.done(&listed([1, 2, 5], Some(before), ListedVerb::Prune));
    assert!(matches!(again, Applied::Pruned { count: 2, .. }), "{again:?}");
    assert_eq!(house.states([4, 5]), [WorkState::Succeeded; 2]);
}
