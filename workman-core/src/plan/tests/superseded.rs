//! A name that nobody can get on with: who takes it, what stays, and what frees it.

use super::*;
use crate::policy::OnDeath;
use crate::record::{CascadeVerb, ParkReason};

const KEEP_PERIODIC: UniquePolicy = UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Keep);
const RENEW: UniquePolicy = UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::CancelAndReenqueue);

fn undecodable() -> ParkReason {
    ParkReason::Undecodable { message: "what?".into() }
}

fn too_large() -> ParkReason {
    ParkReason::TooLarge { size: 9, limit: 5 }
}

/// A house and a manager in it.
fn house() -> (House, u64) {
    let mut house = House::new();
    let epoch = house.attach();
    (house, epoch)
}

/// Claims the work, which must be the next in line, and parks it.
fn park(house: &mut House, epoch: u64, number: u128, why: ParkReason) {
    let claimed = house.run(epoch, number);
    house.settle(&claimed, End::Unrunnable { why });
}

fn is_superseded(house: &House, number: u128) -> bool {
    let spec = house.dump().specs[&id(number)].clone();
    let superseded = house.record(number).is_superseded();
    assert!(!superseded || spec.name.is_none(), "what is superseded has no name");
    superseded
}

#[test]
fn a_holder_that_could_not_begin_gives_way_under_every_policy_that_would_wait_for_it() {
    for why in [undecodable(), too_large()] {
        for policy in [KEEP, APPEND, APPEND_OR_REPLACE, KEEP_PERIODIC] {
            let (mut house, epoch) = house();
            house.enqueue([work(1).name("n").tag("t"), work(9).name("other").delay(HOUR)]);
            park(&mut house, epoch, 1, why.clone());
            let new = if policy == KEEP_PERIODIC { work(2).name("n").every(HOUR) } else { work(2).name("n") };
            assert_eq!(house.unique(new, policy), Enqueued::Superseded(vec![id(1)]), "{policy:?}");
            assert!(is_superseded(&house, 1) && !is_superseded(&house, 2) && !is_superseded(&house, 9));
            assert_eq!(house.record(1).standing, Standing::Parked { why: why.clone() }, "it stays as it was");
            assert_eq!(numbers(&house.claim(epoch, 9)), [2], "the new one runs");
            assert_eq!(house.cancel(WorkSelector::unique("n")), 1, "the name is the new one's alone");
            assert_eq!(house.cancel(WorkSelector::tag("t")), 1, "the old one is found by all the rest");
        }
    }
}

#[test]
fn policies_that_end_the_old_work_or_change_it_do_so_also_if_it_could_not_begin() {
    for policy in [REPLACE, RENEW] {
        let (mut house, epoch) = house();
        house.enqueue([work(1).name("n")]);
        park(&mut house, epoch, 1, undecodable());
        let new = if policy == RENEW { work(2).name("n").every(HOUR) } else { work(2).name("n") };
        assert_eq!(house.unique(new, policy), Enqueued::Replaced(vec![id(1)]));
        assert!(house.find(1).is_none());
    }
    let (mut house, epoch) = house();
    house.enqueue([work(1).name("n").every(HOUR)]);
    park(&mut house, epoch, 1, undecodable());
    assert_eq!(house.unique(work(2).name("n").every(HOUR), UPDATE), Enqueued::Updated(id(1)));
    assert_eq!(house.state(1), WorkState::Enqueued);
    assert_eq!(numbers(&house.claim(epoch, 1)), [1], "it tries its new input");
}

#[test]
fn a_poisoned_holder_is_kept_and_so_is_one_that_can_get_on() {
    for policy in [KEEP, APPEND, APPEND_OR_REPLACE] {
        let (mut house, epoch) = house();
        house.enqueue([work(1).name("n"), work(2).name("n").after([1])]);
        park(&mut house, epoch, 1, ParkReason::Poisoned { deaths: 7 });
        let expected = if policy == KEEP { Enqueued::Kept(id(1)) } else { Enqueued::Appended(vec![id(2)]) };
        assert_eq!(house.unique(work(3).name("n"), policy), expected, "{policy:?}");
    }
    // One that can't get on beside one that can, in either order of their births, and whatever that one waits for.
    for live in [work(2).name("n"), work(2).name("n").delay(HOUR), work(2).name("n").after([90])] {
        for policy in [KEEP, APPEND, APPEND_OR_REPLACE] {
            for (stuck, other) in [(1, 2), (2, 1)] {
                let (mut house, epoch) = house();
                house.enqueue([work(90).delay(HOUR)]);
                let live = NewWork { id: id(other), ..live.clone() };
                let both = [work(stuck).name("n").priority(9), live];
                house.enqueue(if stuck < other { both.to_vec() } else { both.into_iter().rev().collect() });
                park(&mut house, epoch, stuck, undecodable());
                let how = house.unique(work(50).name("n"), policy);
                assert!(!matches!(how, Enqueued::Superseded(_) | Enqueued::Replaced(_)), "{policy:?}: {how:?}");
                assert!(!is_superseded(&house, stuck));
            }
        }
    }
}

#[test]
fn a_chain_behind_work_that_could_not_begin_gives_way_as_a_whole() {
    for policy in [KEEP, APPEND, APPEND_OR_REPLACE] {
        let (mut house, epoch) = house();
        let named = |number| work(number).name("n");
        // 1 has succeeded, 2 can't begin, 3 to 5 wait for that, 6 ended for itself, 7 is of no name.
        let chain = [named(1), named(2).after([1]), named(3).after([2]), named(4).after([2]), named(5).after([3, 4])];
        house.enqueue(chain.into_iter().chain([named(6), work(7).after([5])]));
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, success());
        house.cancel(WorkSelector::Id(id(6)));
        park(&mut house, epoch, 2, undecodable());
        let how = house.unique(named(50), policy);
        let Enqueued::Superseded(old) = how else { panic!("{policy:?}: {how:?}") };
        assert_eq!(BTreeSet::from_iter(old), BTreeSet::from([2, 3, 4, 5].map(id)));
        assert_eq!(
            [1, 2, 3, 4, 5, 6, 7].map(|n| is_superseded(&house, n)),
            [false, true, true, true, true, false, false]
        );
        assert_eq!(house.state(1), WorkState::Succeeded, "nothing is deleted");
        assert_eq!(house.unique(named(51), KEEP), Enqueued::Kept(id(50)));
        // Somebody can read it now, and says so: the chain goes on, beside the new work.
        house.done(&Command::Retry(id(2)));
        house.cancel(WorkSelector::Id(id(50)));
        let claimed = house.run(epoch, 2);
        house.settle(&claimed, success());
        assert_eq!(numbers(&house.claim(epoch, 9)), [3, 4]);
        assert_eq!(house.states([5, 7]), [WorkState::Blocked; 2]);
    }
}

#[test]
fn work_that_waits_outside_of_its_name_for_what_could_not_begin_gives_way_too() {
    for levels in 0..6_u128 {
        for policy in [KEEP, APPEND, APPEND_OR_REPLACE] {
            let (mut house, epoch) = house();
            // Work 10 has no name and can't begin; some wait for it, one behind the other, and the holder for the last of them.
            house.enqueue((0..=levels).map(|n| if n == 0 { work(10) } else { work(10 + n).after([9 + n]) }));
            house.enqueue([work(1).name("n").after([10 + levels])]);
            park(&mut house, epoch, 10, undecodable());
            let how = house.unique(work(50).name("n"), policy);
            match (levels, policy) {
                (0..=4, _) => {
                    assert_eq!(how, Enqueued::Superseded(vec![id(1)]), "{levels}, {policy:?}");
                    assert!(!is_superseded(&house, 10), "it held no name");
                }
                // Nobody looks further, so it counts as work that waits for its turn.
                (_, KEEP) => assert_eq!(how, Enqueued::Inserted, "UNQ-1"),
                _ => assert_eq!(how, Enqueued::Appended(vec![id(1)])),
            }
        }
    }
}

#[test]
fn a_blocked_holder_whose_prerequisite_gets_on_is_no_reason_to_give_way() {
    let (mut house, epoch) = house();
    // 2 waits for what could not begin, 3 for what can.
    house.enqueue([work(1).name("n").priority(9), work(90).delay(HOUR)]);
    house.enqueue([work(2).name("n").after([1]), work(3).name("n").after([90])]);
    park(&mut house, epoch, 1, undecodable());
    assert_eq!(house.unique(work(50).name("n"), APPEND), Enqueued::Appended(vec![id(2), id(3)]));
    // What waits for both waits for what could not begin.
    house.cancel(WorkSelector::Id(id(3)));
    house.cancel(WorkSelector::Id(id(50)));
    house.done(&Command::Prune(super::super::Prune {
        keep: super::super::Retention::Nothing,
        before: None,
        after: None,
        stride: Stride::Full,
    }));
    house.enqueue([work(4).name("n").after([1, 90])]);
    assert!(matches!(house.unique(work(51).name("n"), APPEND), Enqueued::Superseded(old) if old.len() == 3));
}

#[test]
fn nothing_but_retry_frees_what_was_superseded_and_its_mark_stays() {
    let (mut house, epoch) = house();
    house.enqueue([work(1).name("n")]);
    park(&mut house, epoch, 1, undecodable());
    house.unique(work(2).name("n").delay(HOUR), KEEP);
    assert_eq!(house.update(work(1).priority(3)), UpdateResult::AppliedImmediately);
    assert!(matches!(house.record(1).standing, Standing::Parked { .. }), "an update leaves it parked");
    house.done(&Command::Retry(id(1)));
    assert_eq!(house.record(1).terms.priority, 3);
    park(&mut house, epoch, 1, too_large());
    assert!(is_superseded(&house, 1), "it can't begin once more, and is still not the holder of its name");
    house.done(&Command::Retry(id(1)));
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    assert_eq!(house.state(1), WorkState::Succeeded);
}

#[test]
fn unq_8_the_old_and_the_new_request_are_the_same_works_also_after_one_gave_way_to_the_other() {
    let (mut house, epoch) = house();
    for policy in [KEEP, APPEND] {
        house.unique(work(1).name("n"), policy);
        if house.find(2).is_none() {
            park(&mut house, epoch, 1, undecodable());
        }
        house.unique(work(2).name("n").delay(HOUR), policy);
        let before = house.dump();
        assert_eq!(house.unique(work(2).name("n").delay(HOUR), policy), Enqueued::Inserted);
        assert_eq!(house.unique(work(1).name("n"), policy), Enqueued::Inserted);
        assert_eq!(house.dump(), before);
        let other = house.refused(&unique(work(1).name("n").priority(5), policy));
        assert_eq!(other, Refusal::IdReused(id(1)));
    }
}

#[test]
fn a_name_is_taken_over_in_few_rounds_and_one_that_gets_on_is_not_looked_through() {
    let (mut house, epoch) = house();
    let chain = |from: u128| (from..from + 500).map(move |n| if n == from { work(n) } else { work(n).after([n - 1]) });
    house.enqueue(chain(1).map(|work| work.name("n")));
    let append = unique(work(9_000).name("n"), APPEND);
    assert!(house.loaded(&append) < 10, "{}", house.loaded(&append));
    park(&mut house, epoch, 1, undecodable());
    assert!(house.scopes(&append).len() <= 8, "{:?}", house.scopes(&append).len());
    assert!(
        matches!(house.done(&append), Applied::Enqueued { how: Enqueued::Superseded(old), .. } if old.len() == 500)
    );
    assert!(house.loaded(&unique(work(9_001).name("n"), KEEP)) < 10);
}

#[test]
fn a_cascade_that_is_on_its_way_reaches_what_lost_its_name_meanwhile() {
    let (mut house, epoch) = house();
    let named = |number: u128| work(number).name("n");
    let wide = 10_500;
    house.enqueue([named(1).terms(|terms| terms.on_death = OnDeath::Fail).priority(9), named(2).priority(8)]);
    house.enqueue((100..100 + wide).map(|n| named(n).after([1, 2])));
    let claimed = house.run(epoch, 1);
    park(&mut house, epoch, 2, undecodable());
    house.settle(&claimed, success());
    assert_eq!((house.cascades() > 0, CascadeVerb::Release), (true, CascadeVerb::Release));
    assert!(matches!(house.unique(named(50), KEEP), Enqueued::Superseded(old) if old.len() as u128 == wide + 1));
    while house.cascades() > 0 {
        house.done(&Command::Drain);
    }
    assert!(house.dump().records.values().filter(|record| record.is_superseded()).all(|record| record.open <= 1));
}
