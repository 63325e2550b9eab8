//! What is too wide for one commit.

use super::super::{CASCADE_LIMIT, Want};
use super::*;

/// More than one commit ends.
const WIDE: u128 = CASCADE_LIMIT as u128 + 2_000;

/// Stores works without the suspicion, which costs seconds for so many; the commands after this are looked at as ever.
fn populate(house: &mut House, works: impl IntoIterator<Item = NewWork>) {
    house.commit(&enqueue(works)).unwrap();
    house.seen = house.dump();
}

/// Work 1 with very many dependents, and a manager that runs it.
fn wide(house: &mut House, dependents: u128, wish: impl Fn(NewWork) -> NewWork) -> (u64, Claimed) {
    let epoch = house.attach();
    house.enqueue([wish(work(1).priority(9))]);
    populate(house, (1_000..1_000 + dependents).map(|number| work(number).after([1])));
    let claimed = house.run(epoch, 1);
    (epoch, claimed)
}

/// Claims until nothing but the claim itself is left to do; answers how many commits drained before that.
fn drain(house: &mut House, epoch: u64) -> usize {
    for round in 0..10 {
        let left = house.count(WorkState::Blocked);
        let claim = house.claim_all(epoch, 3);
        let (works, _, _, again) = house.claim_with(claim);
        if !again {
            return round;
        }
        assert!(works.is_empty(), "nothing is claimed while a cascade is on its way");
        assert!(left - house.count(WorkState::Blocked) <= CASCADE_LIMIT, "commits are bounded");
    }
    panic!("a cascade never ends")
}

#[test]
fn a_wide_release_is_drained_in_bounded_commits_before_any_claim() {
    let mut house = House::new();
    let (epoch, claimed) = wide(&mut house, 25_000, |work| work);
    house.settle(&claimed, success());
    assert_eq!(house.count(WorkState::Enqueued), CASCADE_LIMIT);
    assert!(house.hints.contains(&Hint::Cascade));
    assert_eq!(drain(&mut house, epoch), 2);
    assert_eq!(house.count(WorkState::Blocked), 0);
    assert_eq!(house.count(WorkState::Running), 3);
}

#[test]
fn a_wide_failure_and_a_wide_cancellation_reach_everybody() {
    for fails in [true, false] {
        let mut house = House::new();
        let (epoch, claimed) = wide(&mut house, WIDE, |work| work);
        if fails {
            house.settle(&claimed, failure(Advice::Never));
        } else {
            house.cancel(WorkSelector::Id(id(1)));
        }
        let state = if fails { WorkState::Failed } else { WorkState::Cancelled };
        assert_eq!(house.count(state), CASCADE_LIMIT + 1);
        drain(&mut house, epoch);
        assert_eq!(house.count(state) as u128, WIDE + 1);
    }
}

#[test]
fn a_wide_replacement_reaches_everybody() {
    let mut house = House::new();
    let (epoch, _) = wide(&mut house, WIDE, |work| work.name("n"));
    assert_eq!(house.unique(work(2).name("n"), REPLACE), Enqueued::Replaced(vec![id(1)]));
    assert_eq!((house.cascades(), house.state(1)), (1, WorkState::Cancelled));
    let again = house.unique(work(3).name("n"), REPLACE);
    assert_eq!(
        again,
        Enqueued::Replaced(vec![id(2)]),
        "what was replaced has lost its name, though it is still needed"
    );
    drain(&mut house, epoch);
    assert_eq!(house.count(WorkState::Blocked), 0, "what depended on the replaced work is cancelled");
}

#[test]
fn the_rest_of_a_release_survives_the_replacement_of_its_work() {
    let mut house = House::new();
    let (epoch, claimed) = wide(&mut house, WIDE, |work| work.name("n"));
    house.settle(&claimed, success());
    assert_eq!(house.unique(work(2).name("n"), REPLACE), Enqueued::Replaced(vec![id(1)]));
    drain(&mut house, epoch);
    assert_eq!(house.count(WorkState::Blocked), 0, "what waited for the replaced work is released");
}

#[test]
fn work_that_is_born_during_a_release_is_not_released_twice() {
    let mut house = House::new();
    let (epoch, claimed) = wide(&mut house, WIDE, |work| work);
    house.enqueue([work(2).delay(HOUR)]);
    house.settle(&claimed, success());
    // One behind the part that is done, one before it; both wait for work 2 as well.
    let late = 5_000_000;
    house.enqueue([work(500).after([1, 2]), work(late).after([1, 2]), work(501).after([1]), work(late + 1).after([1])]);
    drain(&mut house, epoch);
    use WorkState::{Blocked, Enqueued};
    assert_eq!(house.states([500, late]), [Blocked, Blocked]);
    assert_eq!([house.record(500).open, house.record(late).open], [1, 1]);
    let free = house.states([501, late + 1]);
    assert!(free.iter().all(|state| *state != Blocked), "{free:?}");
    house.cancel(WorkSelector::tag("nobody"));
    house.advance(HOUR);
    assert_eq!(house.state(2), Enqueued);
}

#[test]
fn an_id_that_is_used_again_at_the_very_end_of_the_part_that_is_done_waits_for_nothing() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    // The last one that the first commit releases has a name, so that it can be replaced.
    let last = 1_000 + CASCADE_LIMIT as u128 - 1;
    let dependent = |number| if number == last { work(number).name("n") } else { work(number) };
    populate(&mut house, (1_000..1_000 + WIDE).map(|number| dependent(number).after([1])));
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    assert_eq!(house.states([last, last + 1]), [WorkState::Enqueued, WorkState::Blocked]);
    assert_eq!(house.unique(work(2).name("n"), REPLACE), Enqueued::Replaced(vec![id(last)]));
    house.enqueue([work(last).after([1])]);
    drain(&mut house, epoch);
    assert_ne!(house.state(last), WorkState::Blocked);
}

#[test]
fn a_cascade_of_others_keeps_no_replaced_work() {
    let mut house = House::new();
    let (_, claimed) = wide(&mut house, WIDE, |work| work);
    house.enqueue([work(2).name("n")]);
    house.settle(&claimed, success());
    assert_eq!(house.cascades(), 1);
    house.unique(work(3).name("n"), REPLACE);
    assert!(house.find(2).is_none());
}

#[test]
fn a_deep_chain_ends_as_a_whole() {
    let mut house = House::new();
    let epoch = house.attach();
    let last = CASCADE_LIMIT as u128 + 500;
    populate(&mut house, std::iter::once(work(1)).chain((2..=last).map(|number| work(number).after([number - 1]))));
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::Never));
    drain(&mut house, epoch);
    assert_eq!(house.count(WorkState::Failed) as u128, last);
}

#[test]
fn many_small_families_drain_in_few_commits() {
    let mut house = House::new();
    let epoch = house.attach();
    let families = CASCADE_LIMIT as u128 + 2_000;
    house.enqueue([work(1)]);
    populate(&mut house, (0..families).map(|number| work(100_000 + number).after([1])));
    populate(&mut house, (0..families).map(|number| work(200_000 + number).after([100_000 + number])));
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::Never));
    let rounds = drain(&mut house, epoch);
    assert_eq!(house.count(WorkState::Failed) as u128, 2 * families + 1);
    assert!(rounds <= 5, "{rounds} commits");
}

#[test]
fn a_commit_ends_no_more_than_it_may_however_the_tree_branches() {
    let mut house = House::new();
    let epoch = house.attach();
    let width = CASCADE_LIMIT as u128 - 10;
    house.enqueue([work(1)]);
    populate(&mut house, (0..width).map(|number| work(100_000 + number).after([1])));
    populate(&mut house, (0..width).map(|number| work(200_000 + number).after([100_000])));
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::Never));
    assert!(house.count(WorkState::Failed) <= CASCADE_LIMIT + 1);
    drain(&mut house, epoch);
    assert_eq!(house.count(WorkState::Blocked), 0);
}

#[test]
fn a_selection_of_wide_works_stays_within_one_limit() {
    let mut house = House::new();
    let epoch = house.attach();
    for root in 1..=4_u128 {
        house.enqueue([work(root).tag("t")]);
        let first = root * 100_000;
        populate(&mut house, (first..first + CASCADE_LIMIT as u128 / 2).map(|number| work(number).after([root])));
    }
    house.cancel(WorkSelector::tag("t"));
    assert!(house.count(WorkState::Cancelled) <= CASCADE_LIMIT + 4);
    drain(&mut house, epoch);
    assert_eq!(house.count(WorkState::Blocked), 0);
}

/// More roots than one commit ends the dependents of, all with the same dependents: each counts as often as it is reached.
fn mesh(house: &mut House) -> usize {
    let roots = 80;
    house.enqueue((1..=roots).map(|root| work(root).tag("root")));
    let width = CASCADE_LIMIT as u128 / 30;
    house.enqueue((0..width).map(|number| work(1_000 + number).after(1..=roots)));
    roots as usize
}

#[test]
fn a_selection_asks_at_once_for_what_its_works_pass_their_end_on_to_and_for_little_more_than_it_may_look_at() {
    let mut house = House::new();
    mesh(&mut house);
    let scopes = house.scopes(&cancel(WorkSelector::tag("root")));
    assert!(scopes.len() <= 4, "{} rounds of loading", scopes.len());
    assert!(edges_wanted(&scopes).iter().sum::<usize>() <= 4 * CASCADE_LIMIT);
}

#[test]
fn a_drain_looks_at_no_more_than_it_can_go_on_with() {
    let mut house = House::new();
    let roots = mesh(&mut house);
    house.cancel(WorkSelector::tag("root"));
    let pending = house.cascades();
    assert!((roots / 2..roots).contains(&pending), "{pending} cascades");
    let wanted = edges_wanted(&house.scopes(&Command::Drain));
    assert!(wanted.len() < pending, "{} of {pending}", wanted.len());
    assert!(wanted.iter().sum::<usize>() <= 4 * CASCADE_LIMIT);
    let first_new = house.dump().meta.next_cascade;
    assert_eq!(house.done(&Command::Drain), Applied::Drained { again: true });
    let new = house.rows.keys().filter(|key| matches!(key, RowKey::Cascade(number) if *number >= first_new));
    assert_eq!(new.count(), 1, "what there is no room for stays as it was");
    assert_eq!(house.done(&Command::Drain), Applied::Drained { again: false });
    assert_eq!(house.cascades(), 0);
}

/// The limits of the lists of dependents that a plan asks for.
fn edges_wanted(scopes: &[Scope]) -> Vec<usize> {
    let limits = scopes.iter().flatten().filter_map(|want| match want {
        Want::Dependents { limit, .. } | Want::Descendants { limit, .. } => Some(*limit),
        _ => None,
    });
    limits.collect()
}

#[test]
fn dep_1_released_work_is_enqueued_anew_and_its_delay_counts_from_there() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1]).delay(MINUTE)]);
    let (born, claimed) = (house.now, house.run(epoch, 1));
    house.advance(HOUR);
    house.settle(&claimed, success());
    let released = house.record(2);
    assert_eq!((released.created, released.enqueued), (born, house.now));
    assert_eq!(house.due_in(2), 60);
}

#[test]
fn a_drain_needs_no_manager() {
    let mut house = House::new();
    let (epoch, claimed) = wide(&mut house, WIDE, |work| work);
    house.settle(&claimed, success());
    house.done(&Command::Detach { epoch });
    assert_eq!(house.done(&Command::Drain), Applied::Drained { again: false });
    assert_eq!(house.count(WorkState::Blocked), 0);
    let commits = house.commits;
    assert_eq!(house.done(&Command::Drain), Applied::Drained { again: false });
    assert_eq!(house.commits, commits, "with nothing left over there is no commit");
}
