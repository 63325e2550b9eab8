//! Unique names: UNQ, and the updates that go through them.

use super::super::{Prune, Retention, Stride, Want};
use super::*;
use crate::policy::InputMerger;
use crate::record::InputShape;

/// A house in which the name "n" has members of these states, numbered from 1.
fn with_members(states: &[WorkState]) -> House {
    let mut house = House::new();
    let epoch = house.attach();
    let member = |place: usize| work(place as u128 + 1).name("n");
    house.enqueue([work(90).priority(-9)]);
    for (place, state) in states.iter().enumerate() {
        match state {
            WorkState::Blocked => house.enqueue([member(place).after([90])]),
            WorkState::Enqueued => house.enqueue([member(place).delay(HOUR)]),
            _ => house.enqueue([member(place).priority(9)]),
        };
        let number = place as u128 + 1;
        match state {
            WorkState::Blocked | WorkState::Enqueued => continue,
            WorkState::Cancelled => {
                house.cancel(WorkSelector::Id(id(number)));
                continue;
            }
            _ => {}
        }
        let claimed = house.run(epoch, number);
        match state {
            WorkState::Succeeded => drop(house.settle(&claimed, success())),
            WorkState::Failed => drop(house.settle(&claimed, failure(Advice::Never))),
            _ => {}
        }
    }
    for (place, state) in states.iter().enumerate() {
        assert_eq!(house.state(place as u128 + 1), *state);
    }
    house
}

/// All mixtures of up to three states.
fn mixtures() -> Vec<Vec<WorkState>> {
    let mut all = vec![Vec::new()];
    for first in WorkState::ALL {
        all.push(vec![first]);
        for second in WorkState::ALL {
            all.push(vec![first, second]);
            all.extend(WorkState::ALL.map(|third| vec![first, second, third]));
        }
    }
    all
}

#[test]
fn unq_1_keep_looks_at_enqueued_and_running_members_only() {
    for states in mixtures() {
        let mut house = with_members(&states);
        let answer = house.unique(work(50).name("n"), KEEP);
        let holds = |state: &&WorkState| matches!(state, WorkState::Enqueued | WorkState::Running);
        match states.iter().position(|state| holds(&state)) {
            Some(place) => {
                assert_eq!(answer, Enqueued::Kept(id(place as u128 + 1)), "{states:?}");
                assert!(house.find(50).is_none(), "{states:?}: the request is dropped");
                assert_eq!(house.dump().records.len(), states.len() + 1, "{states:?}");
            }
            None => {
                assert_eq!(answer, Enqueued::Inserted, "{states:?}");
                assert_eq!(house.dump().records.len(), 2, "{states:?}: the old members go");
                assert_eq!(house.state(50), WorkState::Enqueued);
            }
        }
    }
}

#[test]
fn unq_4_replace_takes_the_name_from_every_mixture() {
    for states in mixtures() {
        let mut house = with_members(&states);
        let fences: Vec<(WorkId, u64)> = (1..=states.len() as u128)
            .filter(|number| house.state(*number) == WorkState::Running)
            .map(|number| (id(number), house.record(number).fence))
            .collect();
        let answer = house.unique(work(50).name("n"), REPLACE);
        let ids: Vec<WorkId> = (1..=states.len() as u128).map(id).collect();
        let expected = if ids.is_empty() { Enqueued::Inserted } else { Enqueued::Replaced(ids) };
        assert_eq!(answer, expected, "{states:?}");
        assert_eq!(house.dump().records.len(), 2, "{states:?}");
        let stops: Vec<(WorkId, u64)> = house
            .hints
            .iter()
            .filter_map(|hint| match hint {
                Hint::Stop { id, fence, reason: StopReason::Replaced } => Some((*id, *fence)),
                _ => None,
            })
            .collect();
        assert_eq!(stops, fences, "{states:?}: running members are stopped with their reason");
        for (id, fence) in fences {
            let late = Command::Settle(Settle { id, fence, end: success() });
            assert_eq!(house.refused(&late), Refusal::Stale(id), "UNQ-6: the result of a replaced run is ignored");
        }
    }
}

#[test]
fn unq_4_replace_cancels_what_depends_on_the_holder() {
    let mut house = House::new();
    house.enqueue([work(1).name("n"), work(2).after([1]), work(3).after([2]), work(4)]);
    house.unique(work(5).name("n"), REPLACE);
    assert!(house.find(1).is_none());
    assert_eq!(house.states([2, 3, 4]), [WorkState::Cancelled, WorkState::Cancelled, WorkState::Enqueued]);
}

#[test]
fn unq_a_repeated_replace_of_the_same_request_replaces_nothing() {
    let mut house = House::new();
    house.unique(work(1).name("n"), REPLACE);
    house.unique(work(2).name("n"), REPLACE);
    let before = house.dump();
    assert_eq!(house.unique(work(2).name("n"), REPLACE), Enqueued::Inserted);
    assert_eq!(house.dump(), before);
}

#[test]
fn of_a_replaced_work_no_row_stays() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).name("n"), work(2).name("n")]);
    let claimed = house.run(epoch, 1);
    house.done(&note(&claimed, Some("1"), Some("2")));
    house.settle(&claimed, failure(Advice::After(Duration::ZERO)));
    for claimed in house.claim(epoch, 2) {
        house.done(&note(&claimed, Some("1"), None));
    }
    house.unique(work(3).name("n"), REPLACE);
    let mut of_works = house.rows.keys().filter_map(key_of);
    assert!(of_works.all(|work| work == id(3)));
}

/// The work that a row is about.
fn key_of(key: RowKey) -> Option<WorkId> {
    match key {
        RowKey::Record(id) | RowKey::Spec(id) | RowKey::Output(id) | RowKey::Notes(id) | RowKey::History(id) => {
            Some(id)
        }
        _ => None,
    }
}

#[test]
fn unq_names_are_apart() {
    let mut house = House::new();
    house.unique(work(1).name("n"), REPLACE);
    assert_eq!(house.unique(work(2).name("nn"), REPLACE), Enqueued::Inserted);
    assert_eq!(house.unique(work(3).name("N"), KEEP), Enqueued::Inserted);
    assert_eq!(house.dump().records.len(), 3);
}

#[test]
fn unq_10_update_of_a_free_name_inserts() {
    for states in [&[][..], &[WorkState::Cancelled], &[WorkState::Failed, WorkState::Succeeded]] {
        let mut house = with_members(states);
        assert_eq!(house.unique(work(50).name("n").every(HOUR), UPDATE), Enqueued::Inserted);
        assert_eq!(house.dump().records.len(), 2, "finished members go");
    }
}

#[test]
fn unq_10_update_of_one_time_work_or_a_chain_is_refused() {
    for states in [&[WorkState::Enqueued][..], &[WorkState::Blocked], &[WorkState::Running, WorkState::Blocked]] {
        let mut house = with_members(states);
        let refusal = house.refused(&unique(work(50).name("n").every(HOUR), UPDATE));
        assert!(matches!(refusal, Refusal::NotPeriodic { id, .. } if id == super::id(1)), "{refusal:?}");
    }
}

#[test]
fn unq_10_a_periodic_work_that_shares_its_name_is_not_updated() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).name("n"), work(2).name("n").every(HOUR).delay(HOUR)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    let refusal = house.refused(&unique(work(3).name("n").every(HOUR), UPDATE));
    assert_eq!(refusal, Refusal::NotPeriodic { name: "n".into(), id: id(2) });
}

#[test]
fn unq_10_and_upd_2_update_keeps_the_id_and_the_counters() {
    let mut house = House::new();
    let epoch = house.attach();
    house.unique(work(1).name("n").every(HOUR), UPDATE);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    house.advance(HOUR);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::ByPolicy));
    let before = house.record(1);
    let updated = work(2).name("n").every(2 * HOUR).worker("other").tag("t").priority(7);
    assert_eq!(house.unique(updated.clone(), UPDATE), Enqueued::Updated(id(1)));
    let after = house.record(1);
    assert!(house.find(2).is_none());
    assert_eq!(after.terms, updated.terms);
    assert_eq!(after.generation, before.generation + 1);
    let kept = |record: &WorkRecord| (record.seq, record.fence, record.failures, record.created, record.enqueued);
    assert_eq!(kept(&after), kept(&before));
    assert_eq!(after.period.unwrap().count, 1);
    assert_eq!(house.due_in(1), 30, "BO: it waits for its backoff as before");
    assert_ne!(after.lane, before.lane);
}

#[test]
fn upd_5_the_next_run_follows_from_the_last_completion_and_the_new_interval() {
    let mut house = House::new();
    let epoch = house.attach();
    house.unique(work(1).name("n").every(HOUR), UPDATE);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    house.advance(10 * MINUTE);
    for (interval, due_in) in [(2 * HOUR, 110 * 60), (30 * MINUTE, 20 * 60), (5 * MINUTE, 0), (HOUR, 50 * 60)] {
        house.unique(work(2).name("n").every(interval), UPDATE);
        assert_eq!(house.due_in(1), due_in, "every {interval:?}");
    }
}

#[test]
fn upd_5_the_first_run_follows_from_the_enqueue_and_the_new_delay() {
    let mut house = House::new();
    house.unique(work(1).name("n").every(HOUR).delay(30 * MINUTE), UPDATE);
    house.advance(10 * MINUTE);
    house.unique(work(2).name("n").every(HOUR).delay(15 * MINUTE), UPDATE);
    assert_eq!(house.due_in(1), 5 * 60);
}

#[test]
fn upd_4_a_run_goes_on_as_it_began_and_the_next_is_new() {
    let mut house = House::new();
    let epoch = house.attach();
    house.unique(work(1).name("n").every(HOUR), UPDATE);
    let claimed = house.run(epoch, 1);
    house.unique(work(2).name("n").every(2 * HOUR), UPDATE);
    assert_eq!(house.state(1), WorkState::Running);
    house.settle(&claimed, success());
    assert_eq!(house.due_in(1), 2 * 3_600);
}

#[test]
fn an_update_that_is_sent_again_changes_nothing_but_the_generation() {
    let mut house = House::new();
    house.unique(work(1).name("n").every(HOUR).delay(MINUTE), UPDATE);
    house.unique(work(2).name("n").every(HOUR).delay(HOUR), UPDATE);
    let before = house.record(1);
    assert_eq!(house.unique(work(2).name("n").every(HOUR).delay(HOUR), UPDATE), Enqueued::Updated(id(1)));
    let after = house.record(1);
    assert_eq!(WorkRecord { generation: before.generation, turn: before.turn, ..after }, before);
}

#[test]
fn an_update_frees_work_that_was_parked_for_its_input_and_not_the_poisoned() {
    let mut house = House::new();
    let epoch = house.attach();
    house.unique(work(1).name("n").every(HOUR), UPDATE);
    let claimed = house.run(epoch, 1);
    let why = crate::record::ParkReason::Undecodable { message: "what?".into() };
    house.settle(&claimed, End::Unrunnable { why });
    assert!(matches!(house.record(1).standing, Standing::Parked { .. }));
    house.unique(work(2).name("n").every(HOUR), UPDATE);
    let claimed = house.run(epoch, 1);
    let why = crate::record::ParkReason::Poisoned { deaths: 7 };
    house.settle(&claimed, End::Unrunnable { why });
    house.unique(work(3).name("n").every(HOUR), UPDATE);
    assert!(matches!(house.record(1).standing, Standing::Parked { .. }));
}

/// What the table of the policies says of new work behind leaves of these states.
fn born_behind(leaves: &[WorkState]) -> WorkState {
    use WorkState::{Blocked, Cancelled, Enqueued, Failed, Succeeded};
    if leaves.contains(&Failed) {
        Failed
    } else if leaves.contains(&Cancelled) {
        Cancelled
    } else if leaves.iter().all(|state| *state == Succeeded) {
        Enqueued
    } else {
        Blocked
    }
}

#[test]
fn unq_2_append_fails_before_it_is_cancelled_and_before_it_waits_behind_every_mixture() {
    for states in mixtures() {
        let mut house = with_members(&states);
        let answer = house.unique(work(50).name("n"), APPEND);
        let numbers: Vec<u128> = (1..=states.len() as u128).collect();
        let ids: Vec<WorkId> = numbers.iter().copied().map(id).collect();
        let expected = if ids.is_empty() { Enqueued::Inserted } else { Enqueued::Appended(ids) };
        assert_eq!(answer, expected, "{states:?}");
        assert_eq!(house.state(50), born_behind(&states), "{states:?}");
        assert_eq!(house.prerequisites(50), numbers, "{states:?}: UNQ-3: the edges stay, oldest first");
        for (place, state) in states.iter().enumerate() {
            assert_eq!(house.state(place as u128 + 1), *state, "{states:?}: the members are left alone");
        }
    }
}

#[test]
fn unq_4_append_or_replace_clears_the_name_where_a_leaf_ended_badly_and_appends_elsewhere() {
    for states in mixtures() {
        let mut house = with_members(&states);
        let running: Vec<u128> =
            (1..=states.len() as u128).filter(|number| house.state(*number) == WorkState::Running).collect();
        let fences: Vec<u64> = running.iter().map(|number| house.record(*number).fence).collect();
        let answer = house.unique(work(50).name("n"), APPEND_OR_REPLACE);
        let ids: Vec<WorkId> = (1..=states.len() as u128).map(id).collect();
        let clears = matches!(born_behind(&states), WorkState::Failed | WorkState::Cancelled);
        let expected = match () {
            () if ids.is_empty() => Enqueued::Inserted,
            () if clears => Enqueued::Replaced(ids),
            () => Enqueued::Appended(ids),
        };
        assert_eq!(answer, expected, "{states:?}");
        if !clears {
            assert_eq!(house.state(50), born_behind(&states), "{states:?}");
            assert_eq!(house.prerequisites(50).len(), states.len(), "{states:?}");
            continue;
        }
        assert_eq!((house.state(50), house.prerequisites(50)), (WorkState::Enqueued, vec![]), "{states:?}");
        assert_eq!(house.dump().records.len(), 2, "{states:?}: all of the old goes");
        let hints = house.hints.clone();
        for (number, fence) in running.into_iter().zip(fences) {
            let stop = Hint::Stop { id: id(number), fence, reason: StopReason::Replaced };
            assert!(hints.contains(&stop), "{states:?}: what runs is stopped first");
            let late = Command::Settle(Settle { id: id(number), fence, end: success() });
            assert_eq!(house.refused(&late), Refusal::Stale(id(number)), "{states:?}");
        }
    }
}

#[test]
fn unq_3_new_work_is_appended_to_leaves_only_and_only_the_head_of_a_chain_is() {
    for policy in [APPEND, APPEND_OR_REPLACE] {
        let mut house = House::new();
        let named = |number| work(number).name("n");
        house.enqueue([named(1), named(2).after([1]), named(3).after([2]), named(4).after([2]), work(5).after([4])]);
        let answer = house.done(&unique_all(vec![named(6), named(7).after([6]), named(8)], policy));
        assert_eq!(how(answer), Enqueued::Appended(vec![id(3), id(4)]));
        assert_eq!((house.prerequisites(6), house.prerequisites(8)), (vec![3, 4], vec![3, 4]), "list, side by side");
        assert_eq!(house.prerequisites(7), [6]);
        assert_eq!(house.states([6, 7, 8]), [WorkState::Blocked; 3]);
        let answer = house.unique(named(9), policy);
        assert_eq!(
            answer,
            Enqueued::Appended(vec![id(7), id(8)]),
            "what another name waits for is a leaf all the same"
        );
    }
}

#[test]
fn unq_3_and_dep_1_appended_work_runs_when_all_leaves_have_succeeded() {
    let mut house = with_members(&[WorkState::Running, WorkState::Succeeded]);
    house.unique(work(50).name("n").delay(MINUTE), APPEND);
    assert_eq!(house.record(50).open, 1);
    house.advance(HOUR);
    let claimed = Claimed { record: house.record(1), spec: work(1).spec, checkpoint: None, born_from: 0 };
    house.settle(&claimed, success());
    assert_eq!((house.state(50), house.due_in(50)), (WorkState::Enqueued, 60), "its delay counts from its release");
}

#[test]
fn unq_2_and_dep_2_appended_work_fails_with_the_leaf_that_it_waits_for() {
    let mut house = with_members(&[WorkState::Running]);
    house.unique(work(50).name("n"), APPEND);
    house.unique(work(51).name("n"), APPEND);
    let claimed = Claimed { record: house.record(1), spec: work(1).spec, checkpoint: None, born_from: 0 };
    house.settle(&claimed, failure(Advice::Never));
    assert_eq!(house.states([50, 51]), [WorkState::Failed; 2]);
    assert_eq!(house.unique(work(52).name("n"), APPEND), Enqueued::Appended(vec![id(51)]));
    assert_eq!(house.state(52), WorkState::Failed, "UNQ-5: the name stays spoilt");
    assert_eq!(house.unique(work(53).name("n"), APPEND_OR_REPLACE), Enqueued::Replaced([1, 50, 51, 52].map(id).into()));
    assert_eq!(house.state(53), WorkState::Enqueued);
}

#[test]
fn unq_8_work_that_was_appended_is_enqueued_again_without_effect_whatever_became_of_it() {
    for policy in [APPEND, APPEND_OR_REPLACE] {
        let mut house = with_members(&[WorkState::Running]);
        let chain = || unique_all(vec![work(50).name("n"), work(51).name("n").after([50])], policy);
        house.done(&chain());
        let again = |house: &mut House, when| {
            let before = house.dump();
            assert_eq!(how(house.done(&chain())), Enqueued::Inserted, "{when}");
            assert_eq!(house.dump(), before, "{when}");
        };
        again(&mut house, "at once");
        let claimed = Claimed { record: house.record(1), spec: work(1).spec, checkpoint: None, born_from: 0 };
        house.settle(&claimed, success());
        again(&mut house, "when it is released");
        house.cancel(WorkSelector::Id(id(50)));
        again(&mut house, "when it is over");
        for other in [work(50).name("n").tag("t"), work(50).name("n").priority(1), work(50).name("n").after([90])] {
            assert_eq!(house.refused(&unique(other, policy)), Refusal::IdReused(id(50)));
        }
        assert_eq!(
            house.refused(&unique(work(50).name("n"), KEEP)),
            Refusal::IdReused(id(50)),
            "it has prerequisites now"
        );
    }
}

#[test]
fn new_work_is_not_appended_to_more_leaves_than_one_work_may_wait_for() {
    let mut house = House::new();
    let named = |number| work(number).name("n");
    house.enqueue((1..=4_096).map(named));
    assert!(matches!(house.unique(named(5_000), APPEND), Enqueued::Appended(leaves) if leaves.len() == 4_096));
    house.enqueue((10_001..=14_097).map(|number| work(number).name("m")));
    let refusal = house.refused(&unique(work(20_000).name("m"), APPEND));
    assert_eq!(refusal, Refusal::TooManyLeaves { name: "m".into(), count: 4_097, limit: 4_096 });
    let many = unique_all((20_001..=20_128).map(|number| work(number).name("m")).collect(), APPEND);
    let Refusal::TooManyLeaves { count: 4_097, limit: 2_048, .. } = house.refused(&many) else {
        panic!("edges are counted, not works alone")
    };
}

#[test]
fn unq_9_keep_and_replace_mean_the_same_for_periodic_work() {
    let keep = UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Keep);
    let renew = UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::CancelAndReenqueue);
    assert_eq!(renew, UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Replace), "it has two names");
    let hourly = |number| work(number).name("n").every(HOUR).delay(MINUTE);
    let mut house = House::new();
    assert_eq!(house.unique(hourly(1), keep), Enqueued::Inserted);
    house.advance(MINUTE / 2);
    let before = house.dump();
    assert_eq!(house.unique(hourly(2).priority(3), keep), Enqueued::Kept(id(1)));
    assert_eq!(house.dump(), before);
    assert_eq!(house.unique(hourly(3), renew), Enqueued::Replaced(vec![id(1)]));
    assert_eq!((house.find(1), house.due_in(3)), (None, 60), "the period starts anew");
    house.cancel(WorkSelector::All);
    assert_eq!(house.unique(hourly(4), keep), Enqueued::Inserted, "a cancelled holder holds nothing");
    assert_eq!(house.find(3), None);
}

#[test]
fn unq_10_a_program_may_give_its_periodic_work_an_id_of_its_own_and_update_it_by_its_name() {
    let mut house = House::new();
    let hourly = || work(1).name("n").every(HOUR).delay(HOUR);
    assert_eq!(house.unique(hourly(), UPDATE), Enqueued::Inserted);
    let before = house.dump();
    assert_eq!(house.unique(hourly(), UPDATE), Enqueued::Inserted, "UNQ-8: the very request that stored it");
    assert_eq!(house.dump(), before);
    for generation in 1..=2 {
        assert_eq!(house.unique(hourly().priority(3), UPDATE), Enqueued::Updated(id(1)));
        assert_eq!((house.record(1).terms.priority, house.record(1).generation), (3, generation));
    }
    assert_eq!(house.unique(hourly().at(house.now), UPDATE), Enqueued::Updated(id(1)));
    assert_eq!(house.due_in(1), 0);
    let elsewhere = hourly().name("m");
    assert_eq!(house.unique(elsewhere, UPDATE), Enqueued::Inserted, "the id counts, and it is not that name's");
    assert_eq!(house.record(1).generation, 3);
    house.cancel(WorkSelector::All);
    let over = house.dump();
    assert_eq!(house.unique(hourly().priority(4), UPDATE), Enqueued::Inserted, "finished work stays finished");
    assert_eq!(house.dump(), over);
}

#[test]
fn unq_1_and_data_6_what_work_outside_of_the_name_waits_for_loses_the_name_and_stays() {
    for policy in [KEEP, REPLACE, APPEND_OR_REPLACE] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1).name("n").priority(9)]);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, success());
        house.enqueue([work(2).after([1]).delay(HOUR), work(3).after([1]).priority(9)]);
        let claimed = house.run(epoch, 3);
        house.settle(&claimed, success());
        if policy == APPEND_OR_REPLACE {
            house.enqueue([work(4).name("n")]);
            house.cancel(WorkSelector::Id(id(4)));
        }
        house.unique(work(50).name("n"), policy);
        assert_eq!(house.state(1), WorkState::Succeeded, "{policy:?}: its output is awaited by 2");
        assert!(house.find(4).is_none(), "{policy:?}");
        let dump = house.dump();
        let named = |key: &&IndexKey| matches!(key, IndexKey::Name { name, .. } if &**name == "n");
        let named: Vec<WorkId> = dump.index.iter().filter(named).map(IndexKey::id).collect();
        assert_eq!(named, [id(50)], "{policy:?}");
        house.advance(HOUR);
        let claimed = house.claim(epoch, 9).into_iter().find(|claimed| claimed.record.id == id(2)).unwrap();
        house.settle(&claimed, success());
        house.unique(work(51).name("n"), REPLACE);
        let prune = Prune { keep: Retention::Nothing, stride: Stride::Full, before: None, after: None };
        house.done(&Command::Prune(prune));
        assert!(house.find(1).is_none(), "{policy:?}: then it goes like any other");
    }
}

#[test]
fn unq_3_a_head_that_waits_for_others_already_waits_for_the_leaves_as_well() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).name("n").delay(HOUR), work(2)]);
    let unique = Unique { name: "n".into(), policy: APPEND };
    let command = |works: Vec<NewWork>| Command::Enqueue(Enqueue { works, unique: Some(unique.clone()), offer: None });
    let merges =
        |work: NewWork| work.spec(|spec| spec.prerequisites.shape = InputShape::Merged(InputMerger::Overwriting));
    let works = || vec![merges(work(3).after([2])).name("n"), work(4).after([3]).name("n")];
    house.done(&command(works()));
    assert_eq!(house.record(3).open, 2, "2, which it asked for, and the holder of the name");
    let commits = house.commits;
    house.done(&command(works()));
    assert_eq!(house.commits, commits, "the same again is the same");
    let claimed = house.run(epoch, 2);
    house.settle(&claimed, success());
    assert_eq!(house.state(3), WorkState::Blocked);

    let takes = work(5).after([2]).name("n").spec(|spec| spec.prerequisites.shape = InputShape::One);
    let refused = house.refused(&command(vec![takes]));
    assert_eq!(refused, Refusal::TypedHead { name: "n".into(), work: id(5) });
}

#[test]
fn a_long_line_is_appended_to_without_reading_what_its_works_were_asked() {
    let mut house = House::new();
    let line = (1..=200).map(|number| work(number).name("n").after(number.checked_sub(1).filter(|n| *n > 0)));
    house.enqueue(line.collect::<Vec<_>>());
    let unique = Unique { name: "n".into(), policy: APPEND };
    let command = Command::Enqueue(Enqueue { works: vec![work(300).name("n")], unique: Some(unique), offer: None });
    let scopes = house.scopes(&command);
    assert!(scopes.iter().flatten().all(|want| !matches!(want, Want::Spec(_))), "{scopes:?}");
    assert!(scopes.len() <= 3, "in {} rounds", scopes.len());
    assert_eq!(house.unique(work(300).name("n"), APPEND), Enqueued::Appended(vec![id(200)]));
}

#[test]
fn a_name_is_not_taken_from_more_works_than_one_commit_may_end() {
    let mut house = House::new();
    let few = || (0..33_000_u128).map(|number| work(1_000 + number).name("n").delay(HOUR));
    house.enqueue(few().take(32_768));
    assert_eq!(house.unique(work(1).name("n"), KEEP), Enqueued::Kept(id(1_000)));
    let command = unique(work(1).name("n"), REPLACE);
    assert!(house.decide(&command).is_ok(), "as many as it may end");
    house.enqueue(few().skip(32_768).take(1));
    let refused = house.refused(&command);
    assert_eq!(refused, Refusal::TooManyMembers { name: "n".into(), count: 32_769, limit: 32_768 });
}

/// A name whose members succeeded one after the other, each appended to the one before.
fn line_of_successes(count: u128) -> (House, u64) {
    let mut house = House::new();
    let epoch = house.attach();
    for number in 1..=count {
        house.commit(&unique(work(number).name("n"), APPEND_OR_REPLACE)).unwrap();
        let claim = house.claim_all(epoch, 1);
        let Ok(Applied::Claimed { works, .. }) = house.commit(&Command::Claim(claim)) else { panic!() };
        house.commit(&settle(&works[0], success())).unwrap();
    }
    house.seen = house.dump();
    (house, epoch)
}

#[test]
fn unq_3_appending_to_a_name_reads_the_same_few_works_however_many_have_held_it() {
    let appends =
        |house: &House| [APPEND, APPEND_OR_REPLACE].map(|policy| house.loaded(&unique(work(900).name("n"), policy)));
    let (few, many) = (line_of_successes(5).0, line_of_successes(150).0);
    assert_eq!(appends(&few), appends(&many));
    assert!(appends(&many).iter().all(|loaded| *loaded <= 3), "{:?}", appends(&many));
}

#[test]
fn unq_1_and_unq_10_no_policy_but_replace_reads_all_members_of_a_name_that_is_held() {
    let loaded = |count: u128| {
        let (mut house, _) = line_of_successes(count);
        house.commit(&unique(work(901).name("n").delay(HOUR), APPEND)).unwrap();
        house.commit(&unique(work(902).name("n"), APPEND)).unwrap();
        house.seen = house.dump();
        assert_eq!(house.unique(work(903).name("n"), KEEP), Enqueued::Kept(id(901)));
        let periodic = || work(904).name("n").every(HOUR);
        assert_eq!(house.refused(&unique(periodic(), UPDATE)), Refusal::NotPeriodic { name: "n".into(), id: id(901) });
        let mut commands: Vec<Command> =
            [KEEP, APPEND, APPEND_OR_REPLACE].map(|policy| unique(work(904).name("n"), policy)).into();
        commands.push(unique(periodic(), UPDATE));
        commands.push(cancel(WorkSelector::unique("n")));
        commands.iter().map(|command| house.loaded(command)).collect::<Vec<usize>>()
    };
    let (few, many) = (loaded(5), loaded(150));
    assert_eq!(few, many);
    assert!(many.iter().all(|loaded| *loaded <= 5), "{many:?}");
}

/// The members that no other member waits for are those that no other *stored* member waits for.
#[test]
fn unq_2_and_unq_5_a_member_behind_which_nothing_is_stored_any_more_is_a_leaf_again() {
    let recent = Retention::Recent { age: MINUTE, count: 1_000, grace: Duration::ZERO };
    let prune = Command::Prune(Prune { keep: recent, stride: Stride::Full, before: None, after: None });
    for fails in [false, true] {
        let mut house = House::new();
        let epoch = house.attach();
        let kept = |work: NewWork| work.terms(|terms| terms.retention = 24 * HOUR);
        house.unique(kept(work(1).name("n")), APPEND);
        house.unique(work(2).name("n"), APPEND);
        house.enqueue([work(3).after([1]).name("other"), work(4).after([1])]);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, if fails { failure(Advice::Never) } else { success() });
        house.claim(epoch, 3).iter().for_each(|claimed| drop(house.settle(claimed, success())));
        assert_eq!(house.record(1).followers, Some(1), "neither the work outside nor that of another name");
        house.advance(HOUR);
        house.done(&prune);
        assert!(house.find(1).is_some() && house.find(2).is_none());
        assert_eq!(house.unique(work(5).name("n"), APPEND), Enqueued::Appended(vec![id(1)]));
        assert_eq!(house.state(5), if fails { WorkState::Failed } else { WorkState::Enqueued });
        assert_eq!(house.unique(work(6).name("n"), APPEND), Enqueued::Appended(vec![id(5)]));
    }
}

#[test]
fn unq_2_a_member_whose_prerequisite_went_does_not_follow_another_of_its_id() {
    let recent = Retention::Recent { age: MINUTE, count: 1_000, grace: Duration::ZERO };
    let mut house = House::new();
    let epoch = house.attach();
    let prune = Command::Prune(Prune { keep: recent, stride: Stride::Full, before: None, after: None });
    house.unique(work(1).name("n"), APPEND);
    house.unique(work(2).name("n").terms(|terms| terms.retention = 2 * HOUR), APPEND);
    for number in [1, 2] {
        let claimed = house.run(epoch, number);
        house.settle(&claimed, success());
    }
    house.advance(HOUR);
    house.done(&prune);
    assert!(house.find(1).is_none() && house.find(2).is_some());
    assert_eq!(house.unique(work(1).name("n").delay(24 * HOUR), APPEND), Enqueued::Appended(vec![id(2)]));
    assert_eq!(house.unique(work(3).name("n"), APPEND), Enqueued::Appended(vec![id(1)]));
    assert_eq!(house.record(1).followers, Some(1));
    // Work 1 has not finished, so 2, which it waited for, has nothing unfinished behind it only once that is cancelled.
    house.cancel(WorkSelector::Id(id(1)));
    house.advance(2 * HOUR);
    house.done(&prune);
    assert!(house.find(2).is_none());
}

#[test]
fn unq_2_leaves_are_those_of_their_own_name_and_an_edge_that_is_named_twice_counts_once() {
    let mut house = House::new();
    house.unique(work(1).name("n").delay(HOUR), APPEND);
    // A chain under another name, behind a member; one of no name; a member that names its prerequisite twice.
    house.enqueue([work(2).after([1]).name("other"), work(3).after([1])]);
    assert_eq!(house.unique(work(4).name("n"), APPEND), Enqueued::Appended(vec![id(1)]));
    house.enqueue([work(5).after([4, 4]).name("n"), work(6).after([4, 5, 3]).name("n")]);
    let followers = [1, 2, 3, 4, 5, 6].map(|number| house.record(number).followers);
    assert_eq!(followers, [Some(1), Some(0), None, Some(2), Some(1), Some(0)]);
    assert_eq!(house.unique(work(7).name("n"), APPEND), Enqueued::Appended(vec![id(6)]));
    assert_eq!(house.unique(work(8).name("other"), APPEND), Enqueued::Appended(vec![id(2)]));
}
