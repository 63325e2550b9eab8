//! Unique names: UNQ and UPD.

use super::*;

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
    let rows: Vec<&RowKey> = house.shelf.rows.keys().filter(|key| key_of(key).is_some()).collect();
    assert!(rows.iter().all(|key| key_of(key) == Some(id(3))), "{rows:?}");
}

/// The work that a row is about.
fn key_of(key: &RowKey) -> Option<WorkId> {
    match key {
        RowKey::Record(id) | RowKey::Spec(id) | RowKey::Output(id) | RowKey::Notes(id) | RowKey::History(id) => {
            Some(*id)
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
