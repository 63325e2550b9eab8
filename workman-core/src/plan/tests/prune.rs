//! Pruning: which finished work goes, in which order, and what it costs.

use super::super::{Prune, Retention, Stride, Want};
use super::*;
use crate::index::standing_key;
use crate::record::Meta;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Prunes until all was looked at. Answers how many works went, in how many commands, and when there is more to do.
fn prune(house: &mut House, keep: Retention) -> (usize, usize, Option<Timestamp>) {
    let (mut total, mut commands, mut before, mut after) = (0, 0, None, None);
    loop {
        commands += 1;
        let command = Command::Prune(Prune { keep, before, after, stride: Stride::Full });
        let Applied::Pruned { count, before: bound, next, next_due, .. } = house.done(&command) else { panic!() };
        total += count;
        match next {
            Some(next) => (before, after) = (Some(bound), Some(next)),
            None => return (total, commands, next_due),
        }
    }
}

fn recent(age: Duration, count: usize) -> Retention {
    Retention::Recent { age, count, grace: Duration::ZERO }
}

fn meta(house: &House) -> Meta {
    stored_meta(&house.rows).unwrap()
}

/// Works without a wish to be kept that finish at once, all well.
fn finish(house: &mut House, epoch: u64, numbers: impl IntoIterator<Item = u128>) {
    for number in numbers {
        house.enqueue([work(number).priority(9).terms(|terms| terms.retention = Duration::ZERO)]);
        let claimed = house.run(epoch, number);
        house.settle(&claimed, success());
    }
}

fn ids(house: &House) -> Vec<u128> {
    house.dump().records.keys().map(|id| id.as_u128()).collect()
}

#[test]
fn everything_that_finished_goes_whatever_it_asked_for_and_nothing_else() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([
        work(1).tag("t").name("n").terms(|terms| terms.retention = 999 * DAY),
        work(2),
        work(3),
        work(4).every(HOUR),
        work(5).delay(HOUR),
        work(6),
    ]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    let claimed = house.run(epoch, 2);
    house.settle(&claimed, failure(Advice::Never));
    house.cancel(WorkSelector::Id(id(3)));
    house.cancel(WorkSelector::Id(id(4)));
    house.run(epoch, 6);
    assert_eq!(meta(&house).finished, 3, "1 asked to be kept");
    assert_eq!(prune(&mut house, Retention::Nothing), (4, 1, None));
    assert_eq!((ids(&house), meta(&house).finished), (vec![5, 6], 0));
    let rows: Vec<RowKey> =
        house.rows.keys().filter(|key| matches!(key, RowKey::Output(_) | RowKey::History(_))).collect();
    assert!(rows.is_empty(), "nothing of them stays: {rows:?}");
    let commits = house.commits;
    assert_eq!(prune(&mut house, Retention::Nothing), (0, 1, None));
    assert_eq!(house.commits, commits, "and to look for more is no commit");
}

#[test]
fn what_unfinished_work_depends_on_directly_stays_until_that_is_over() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).priority(9), work(2).after([1]).priority(9), work(3).after([2]).delay(HOUR), work(4)]);
    for number in [1, 2] {
        let claimed = house.run(epoch, number);
        house.settle(&claimed, success());
    }
    assert_eq!(
        prune(&mut house, Retention::Nothing).0,
        1,
        "DATA-6: the output of 2 is wanted, that of 1 is not any more"
    );
    assert_eq!(ids(&house), [2, 3, 4]);
    house.advance(HOUR);
    let claimed = house.claim(epoch, 9).into_iter().find(|claimed| claimed.record.id == id(3)).unwrap();
    assert_eq!(prune(&mut house, Retention::Nothing).0, 0, "nor while it runs");
    house.settle(&claimed, success());
    assert_eq!(prune(&mut house, Retention::Nothing).0, 2);
    assert_eq!(ids(&house), [4]);
}

#[test]
fn work_stays_for_what_it_asked_for_and_the_manager_s_time_on_top_to_the_millisecond() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).terms(|terms| terms.retention = HOUR)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    let at = house.now + HOUR + DAY;
    let until = house.now + HOUR;
    assert!(house.hints.contains(&Hint::Finished { stored: 0, until }), "{:?}", house.hints);
    assert_eq!(prune(&mut house, recent(DAY, 100)), (0, 1, Some(at)), "it says when there will be more to do");
    house.advance(HOUR);
    assert_eq!(prune(&mut house, recent(DAY, 100)), (0, 1, Some(at)));
    house.advance(DAY - Duration::from_millis(1));
    assert_eq!(prune(&mut house, recent(DAY, 100)), (0, 1, Some(at)));
    house.advance(Duration::from_millis(1));
    assert_eq!(prune(&mut house, recent(DAY, 100)), (1, 1, None));
}

#[test]
fn of_too_many_the_oldest_go_and_those_that_asked_to_be_kept_stay() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(50).terms(|terms| terms.retention = HOUR), work(51)]);
    let claimed = house.run(epoch, 50);
    house.settle(&claimed, success());
    house.advance(MINUTE);
    for number in 1..=5 {
        finish(&mut house, epoch, [number]);
        house.advance(MINUTE);
    }
    let (count, _, next_due) = prune(&mut house, recent(DAY, 3));
    assert_eq!((count, ids(&house)), (2, vec![3, 4, 5, 50, 51]), "of five, since 50 does not count");
    assert_eq!(next_due, Some(house.now + DAY - 3 * MINUTE), "3 is the next, a day after it finished");
    let (count, _, next_due) = prune(&mut house, recent(DAY, 0));
    assert_eq!((count, ids(&house)), (3, vec![50, 51]));
    assert_eq!(next_due, Some(house.now + 54 * MINUTE + DAY), "its hour, and the manager's day on top");
    house.advance(54 * MINUTE);
    let at = Some(house.now + DAY);
    assert_eq!(prune(&mut house, recent(DAY, 0)), (0, 1, at));
    finish(&mut house, epoch, [6]);
    assert_eq!((prune(&mut house, recent(DAY, 0)), ids(&house)), ((1, 1, at), vec![50, 51]), "it goes past 50 to 6");
    house.advance(DAY);
    assert_eq!(prune(&mut house, recent(DAY, 0)), (1, 1, None));
}

#[test]
fn of_too_many_those_stay_that_finished_less_than_the_grace_ago_to_the_millisecond() {
    let mut house = House::new();
    let epoch = house.attach();
    let keep = |count| Retention::Recent { age: DAY, count, grace: MINUTE };
    let start = house.now;
    for number in 1..=4 {
        finish(&mut house, epoch, [number]);
        house.advance(20 * SECOND);
    }
    house.advance(40 * SECOND - Duration::from_millis(1));
    assert_eq!(prune(&mut house, keep(2)), (2, 1, Some(start + DAY + 40 * SECOND)), "2 was enough");
    assert_eq!(prune(&mut house, keep(0)), (1, 1, Some(start + 2 * MINUTE)), "3 has had its minute, 4 has not");
    house.advance(Duration::from_millis(1));
    assert_eq!((prune(&mut house, keep(0)), ids(&house)), ((1, 1, None), vec![]));
}

#[test]
fn what_has_its_time_behind_it_is_found_without_looking_at_the_rest() {
    let mut house = House::new();
    let epoch = house.attach();
    finish(&mut house, epoch, 1..=3);
    let first = house.now;
    house.advance(HOUR);
    finish(&mut house, epoch, 4..=6);
    house.advance(DAY - HOUR);
    let command = Prune { keep: recent(DAY, 100), before: None, after: None, stride: Stride::Full };
    let until = first;
    let wanted = Want::Finished { until, after: None, limit: 1_000 };
    assert_eq!(house.scopes(&Command::Prune(command))[0], Scope::from(wanted), "only what ended until then");
    assert_eq!(prune(&mut house, recent(DAY, 100)), (3, 1, Some(first + HOUR + DAY)));
}

#[test]
fn a_stride_bounds_what_is_looked_at_and_one_goes_past_a_work_unseen() {
    let mut house = House::new();
    let epoch = house.attach();
    finish(&mut house, epoch, 1..=5);
    let command = |after, stride| Command::Prune(Prune { keep: Retention::Nothing, before: None, after, stride });
    let Applied::Pruned { count: 2, next, .. } = house.done(&command(None, Stride::AtMost(2))) else { panic!() };
    let scopes = house.scopes(&command(next.clone(), Stride::PastOne));
    assert!(!scopes.iter().flatten().any(|want| matches!(want, Want::Work(_))), "{scopes:?}");
    let Applied::Pruned { count: 0, next, stored: 3, .. } = house.done(&command(next, Stride::PastOne)) else {
        panic!()
    };
    assert_eq!(next.as_ref().map(IndexKey::id), Some(id(3)));
    house.done(&command(next, Stride::Full));
    assert_eq!(ids(&house), [3]);
    let none = house.done(&command(Some(standing_key(&house.record(3))), Stride::PastOne));
    assert!(matches!(none, Applied::Pruned { next: None, .. }), "there is nothing behind it");
}

#[test]
fn a_long_way_past_works_that_are_waited_for_is_gone_in_long_steps() {
    let mut house = House::new();
    let epoch = house.attach();
    finish(&mut house, epoch, 1..=150);
    house.enqueue([work(1_000).after(1..=75).delay(HOUR), work(1_001).after(76..=150).delay(HOUR)]);
    finish(&mut house, epoch, 901..=902);
    let (count, commands, _) = prune(&mut house, recent(DAY, 150));
    assert_eq!((count, commands), (2, 2));
}

#[test]
fn work_that_was_born_after_the_first_command_is_not_meant() {
    let mut house = House::new();
    let epoch = house.attach();
    finish(&mut house, epoch, [1]);
    let before = Some(meta(&house).next_seq);
    finish(&mut house, epoch, [2]);
    let command = Command::Prune(Prune { keep: Retention::Nothing, before, after: None, stride: Stride::Full });
    assert!(matches!(house.done(&command), Applied::Pruned { count: 1, next: None, .. }));
    assert_eq!(ids(&house), [2]);
}

#[test]
fn work_whose_end_is_still_on_its_way_to_its_dependents_stays() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue(std::iter::once(work(1)).chain((2..=10_050).map(|number| work(number).after([1]))));
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::Never));
    assert!(meta(&house).next_cascade > meta(&house).first_cascade);
    prune(&mut house, Retention::Nothing);
    assert_eq!(house.state(1), WorkState::Failed, "the rest is found through it");
    while let Applied::Drained { again: true } = house.done(&Command::Drain) {}
    while prune(&mut house, Retention::Nothing).0 > 0 {}
    assert_eq!(ids(&house), []);
}

#[test]
fn many_go_in_commits_that_are_bounded_and_so_is_what_each_of_them_loads() {
    let mut house = House::new();
    house.enqueue((1..=1_500).map(work));
    house.enqueue(std::iter::once(work(10_000)).chain((10_001..=14_200).map(|number| work(number).after([10_000]))));
    let mut cancel =
        Cancel { selector: WorkSelector::All, before: None, after: None, stride: Stride::Full, because: None };
    loop {
        match house.done(&Command::Cancel(cancel.clone())) {
            Applied::Cancelled { next: Some(next), before, .. } => {
                (cancel.before, cancel.after) = (Some(before), Some(next))
            }
            Applied::Cancelled { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    while let Applied::Drained { again: true } = house.done(&Command::Drain) {}
    assert_eq!(meta(&house).finished, 5_701);
    let (count, commands, _) = prune(&mut house, Retention::Nothing);
    assert_eq!((count, commands), (5_700, 6), "a thousand at a time");
    assert_eq!(ids(&house), [10_000], "a work with thousands of dependents goes after them");
    assert_eq!(prune(&mut house, Retention::Nothing), (1, 1, None));
}

#[test]
fn works_with_many_dependents_are_looked_at_a_few_at_a_time_and_none_is_passed_over() {
    let mut house = House::new();
    let (roots, leaves) = (1..=5_u128, 100..=120_u128);
    house.enqueue(roots.clone().map(work).chain(leaves.map(|number| work(number).after(roots.clone()))));
    house.cancel(WorkSelector::Id(id(1)));
    house.cancel(WorkSelector::All);
    let (count, commands, _) = prune(&mut house, Retention::Nothing);
    assert_eq!((count, commands, ids(&house)), (26, 3, vec![]));
}

#[test]
fn finished_works_are_counted_whatever_becomes_of_them() {
    let mut house = House::new();
    let epoch = house.attach();
    finish(&mut house, epoch, 1..=3);
    house.enqueue([work(4).name("n"), work(5).name("m")]);
    assert_eq!(meta(&house).finished, 3);
    house.unique(work(6).name("n"), REPLACE);
    assert_eq!(meta(&house).finished, 3, "what is replaced is deleted");
    house.cancel(WorkSelector::unique("m"));
    assert_eq!(meta(&house).finished, 4);
    house.unique(work(7).name("m"), KEEP);
    assert_eq!(meta(&house).finished, 3);
    house.enqueue([work(8).after([1]), work(9).after([1])]);
    house.cancel(WorkSelector::Id(id(8)));
    assert_eq!(meta(&house).finished, 4);
    assert_eq!(prune(&mut house, Retention::Nothing).0, 3);
    assert_eq!(meta(&house).finished, 1, "1 is waited for by 9");
}

#[test]
fn a_few_too_many_are_found_without_looking_at_many_works() {
    let mut house = House::new();
    let epoch = house.attach();
    finish(&mut house, epoch, 1..=40);
    for (count, limit) in [(40, 1_000), (39, 16), (25, 16), (20, 21), (0, 41)] {
        let prune = Prune { keep: recent(DAY, count), before: None, after: None, stride: Stride::Full };
        let scopes = house.scopes(&Command::Prune(prune));
        let limit_of = |want: &Want| match want {
            Want::Finished { limit, .. } => Some(*limit),
            _ => None,
        };
        let limits: Vec<usize> = scopes[0].iter().filter_map(limit_of).collect();
        assert_eq!(limits, [limit], "{count} are to stay");
    }
    assert_eq!(prune(&mut house, recent(DAY, 5)).0, 35);
}

#[test]
fn of_work_with_many_dependents_only_the_first_are_loaded_if_one_of_them_is_unfinished() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    house.enqueue((2..=40).map(|number| work(number).after([1]).delay(HOUR)));
    let command = Prune { keep: Retention::Nothing, before: None, after: None, stride: Stride::Full };
    let scopes = house.scopes(&Command::Prune(command));
    let looks = scopes.iter().flatten().filter(|want| matches!(want, Want::Dependents { .. })).count();
    assert_eq!(looks, 1, "{scopes:?}");
}
