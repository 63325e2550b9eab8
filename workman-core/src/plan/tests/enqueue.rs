//! Births: SM's table, DEP, and idempotence.

use super::super::Offer;
use super::*;
use crate::constraints::Constraints;

#[test]
fn dep_5_a_work_is_born_as_its_prerequisites_are() {
    use WorkState::{Blocked, Cancelled, Enqueued, Failed, Running, Succeeded};
    let mut house = House::new();
    let epoch = house.attach();
    // 1 succeeded, 2 failed, 3 cancelled, 4 running, 5 enqueued, 6 blocked
    house.enqueue((1..=4).map(work));
    let claimed = house.claim(epoch, 4);
    house.settle(&claimed[0], success());
    house.settle(&claimed[1], failure(Advice::Never));
    house.cancel(WorkSelector::Id(id(3)));
    house.enqueue([work(5), work(6).after([5])]);
    assert_eq!(house.states([1, 2, 3, 4, 5, 6]), [Succeeded, Failed, Cancelled, Running, Enqueued, Blocked]);
    let table: [(&[u128], WorkState, u32); 12] = [
        (&[], Enqueued, 0),
        (&[1], Enqueued, 0),
        (&[4], Blocked, 1),
        (&[5], Blocked, 1),
        (&[6], Blocked, 1),
        (&[1, 4, 5], Blocked, 2),
        (&[2], Failed, 0),
        (&[3], Cancelled, 0),
        (&[3, 2], Failed, 0),
        (&[2, 3], Failed, 0),
        (&[5, 3], Cancelled, 0),
        (&[1, 4, 2], Failed, 0),
    ];
    for (place, (prerequisites, state, open)) in table.into_iter().enumerate() {
        let number = 100 + place as u128;
        house.enqueue([work(number).after(prerequisites.iter().copied()).delay(MINUTE)]);
        let born = house.record(number);
        assert_eq!((born.state(), born.open), (state, open), "after {prerequisites:?}");
        assert_eq!((born.fence, born.failures, born.started, born.ended), (0, 0, None, None), "it never ran");
        if state == Enqueued {
            assert_eq!(house.due_in(number), 60, "NRT-1: the delay counts from the enqueue");
        }
    }
}

#[test]
fn dep_5_a_chain_behind_stored_work_looks_at_it_now() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1]), work(3).after([2])]);
    let first = house.run(epoch, 1);
    house.settle(&first, success());
    assert_eq!(house.states([2, 3]), [WorkState::Enqueued, WorkState::Blocked]);
    assert_eq!(house.enqueue([work(4).after([1, 2])]), Enqueued::Inserted);
    assert_eq!(house.record(4).open, 1);
}

#[test]
fn dep_6_a_missing_prerequisite_is_an_error() {
    let mut house = House::new();
    let refusal = house.refused(&enqueue([work(1), work(2).after([1, 9])]));
    assert_eq!(refusal, Refusal::MissingPrerequisite { work: id(2), prerequisite: id(9) });
}

#[test]
fn dep_7_a_cycle_is_refused() {
    let mut house = House::new();
    for (works, at) in [
        (vec![work(1).after([1])], 1),
        (vec![work(1).after([2]), work(2).after([1])], 1),
        (vec![work(1).after([2]), work(2)], 1),
        (vec![work(1), work(2).after([1, 3]), work(3).after([2])], 2),
    ] {
        assert_eq!(house.refused(&enqueue(works)), Refusal::Cycle(id(at)));
    }
}

#[test]
fn dep_10_periodic_work_is_no_prerequisite() {
    let mut house = House::new();
    house.enqueue([work(1).every(HOUR)]);
    let refusal = house.refused(&enqueue([work(2).after([1])]));
    let refused =
        |name| Refusal::PeriodicPrerequisite { work: id(2), worker: "worker".into(), prerequisite: id(1), name };
    assert_eq!(refusal, refused(None));
    let mut house = House::new();
    house.enqueue([work(1).every(HOUR).name("n")]);
    assert_eq!(house.refused(&unique(work(2).name("n"), APPEND)), refused(Some("n".into())));
    let mut house = House::new();
    house.enqueue([work(1).every(HOUR), work(3).name("n")]);
    let asked = unique(work(2).name("n").after([1]), APPEND);
    assert_eq!(house.refused(&asked), refused(None), "it asked for 1 itself, and the name has nothing to do with it");
}

#[test]
fn a_prerequisite_that_is_named_twice_counts_once() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1, 1])]);
    let first = house.run(epoch, 1);
    house.settle(&first, success());
    house.run(epoch, 2);
}

#[test]
fn unq_8_enqueue_is_idempotent_on_the_id() {
    let mut house = House::new();
    let epoch = house.attach();
    let chain = || [work(1), work(2).after([1])];
    house.enqueue(chain());
    let before = house.dump();
    assert_eq!(house.enqueue(chain()), Enqueued::Inserted);
    assert_eq!(house.dump(), before);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    let before = house.dump();
    assert_eq!(house.enqueue(chain()), Enqueued::Inserted, "also when the work has gone on since");
    assert_eq!(house.dump(), before);
    assert_eq!(house.enqueue([work(5), work(5)]), Enqueued::Inserted, "also within one enqueue");
}

#[test]
fn unq_8_an_id_that_is_used_for_another_request_is_refused() {
    let mut house = House::new();
    house.enqueue([work(1)]);
    for other in [work(1).priority(1), work(1).tag("t"), work(1).spec(|spec| spec.input = payload("other"))] {
        assert_eq!(house.refused(&enqueue([work(7), other])), Refusal::IdReused(id(1)));
    }
    assert_eq!(house.refused(&enqueue([work(2), work(2).priority(1)])), Refusal::IdReused(id(2)));
}

#[test]
fn nothing_to_enqueue_is_nothing_to_do() {
    let mut house = House::new();
    assert_eq!(house.enqueue([]), Enqueued::Inserted);
    assert_eq!(house.commits, 0);
}

#[test]
fn births_are_numbered_in_the_order_of_the_request() {
    let mut house = House::new();
    house.enqueue([work(9), work(3), work(7).after([9])]);
    let seqs = [9, 3, 7].map(|number| house.record(number).seq);
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    assert!(house.record(9).rows.dependents && !house.record(3).rows.dependents);
}

#[test]
fn a_commit_hints_at_each_lane_once_and_at_the_first_due_time_only() {
    let mut house = House::new();
    house.enqueue([work(1), work(2)]);
    house.enqueue([work(3), work(4), work(5).delay(HOUR), work(6).delay(MINUTE), work(7).delay(2 * HOUR)]);
    let lane = house.record(1).lane;
    assert_eq!(house.hints, [Hint::Ready(lane), Hint::Due(Due::Store(house.now + MINUTE))]);
}

#[test]
fn a_lane_is_made_once_for_each_pair_of_worker_and_constraints() {
    let mut house = House::new();
    let constrained = |number| work(number).spec(|spec| spec.constraints = Constraints::new().requires_charging());
    house.enqueue([work(1), constrained(2), work(3), constrained(4), work(5).worker("other")]);
    house.enqueue([work(6), constrained(7), constrained(8).worker("other"), constrained(9).worker("other")]);
    let lanes = [1, 2, 3, 4, 5, 6, 7, 8, 9].map(|number| house.record(number).lane.0);
    assert_eq!(lanes, [0, 1, 0, 1, 2, 0, 1, 3, 3]);
    assert_eq!(house.hints.iter().filter(|hint| matches!(hint, Hint::Lane(_))).count(), 1);
}

fn offer(house: &mut House, epoch: u64, works: Vec<NewWork>, room: usize, rivals: Vec<LaneId>) -> Vec<u128> {
    let ids = works.iter().map(|work| work.id).collect();
    taken(house, works, Offer { epoch, generation: 7, slots: room, ids, rivals, lanes: u32::MAX })
}

fn taken(house: &mut House, works: Vec<NewWork>, offer: Offer) -> Vec<u128> {
    house.done(&Command::Enqueue(Enqueue { works, unique: None, offer: Some(offer) }));
    let claimed = house.hints.iter().find_map(|hint| match hint {
        Hint::Claimed { generation: 7, works, .. } => Some(numbers(works)),
        _ => None,
    });
    claimed.unwrap_or_default()
}

#[test]
fn sch_1_an_offered_slot_is_taken_by_the_commit_that_enqueues() {
    let mut house = House::new();
    let epoch = house.attach();
    assert_eq!(offer(&mut house, epoch, vec![work(1)], 1, vec![]), [1]);
    assert_eq!(house.record(1).fence, 1);
    assert_eq!(house.state(1), WorkState::Running);
    assert_eq!(offer(&mut house, epoch, vec![work(2), work(3).priority(5), work(4)], 2, vec![]), [3, 2]);
    assert_eq!(offer(&mut house, epoch, vec![work(5).delay(MINUTE)], 1, vec![]), [0_u128; 0], "it is not due");
    assert_eq!(offer(&mut house, epoch, vec![work(6).after([1])], 1, vec![]), [0_u128; 0], "it is blocked");
    assert_eq!(offer(&mut house, epoch + 1, vec![work(7)], 1, vec![]), [0_u128; 0], "nobody is there");
}

#[test]
fn an_offer_is_left_to_a_rival_that_ranks_higher_or_came_first() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).worker("rival").priority(3)]);
    let rivals = vec![house.record(1).lane];
    assert_eq!(offer(&mut house, epoch, vec![work(2).priority(2)], 1, rivals.clone()), [0_u128; 0]);
    assert_eq!(offer(&mut house, epoch, vec![work(3).priority(3)], 1, rivals.clone()), [0_u128; 0]);
    assert_eq!(offer(&mut house, epoch, vec![work(4).priority(4)], 1, rivals.clone()), [4]);
    assert_eq!(offer(&mut house, epoch, vec![work(5).priority(2)], 1, vec![]), [0_u128; 0], "work 3 is of its lane");
    assert_eq!(offer(&mut house, epoch, vec![work(6).worker("third")], 1, vec![]), [6], "closed lanes are no rivals");
}

#[test]
fn an_offer_is_for_the_works_that_it_names() {
    let mut house = House::new();
    let epoch = house.attach();
    let offer = Offer { epoch, generation: 7, slots: 2, ids: vec![id(2)], rivals: Vec::new(), lanes: u32::MAX };
    assert_eq!(taken(&mut house, vec![work(1), work(2), work(3)], offer), [2], "the others do not fit the slots");
}

#[test]
fn an_offer_looks_into_sixteen_newer_lanes_and_is_left_to_a_claim_where_there_are_more() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=17).map(|number| work(number).worker(&format!("w{number}"))));
    assert_eq!(house.claim(epoch, 17).len(), 17);
    for (number, lanes, claimed) in [(100, 1, vec![100]), (101, 0, vec![])] {
        let offer = Offer { epoch, generation: 7, slots: 1, ids: vec![id(number)], rivals: Vec::new(), lanes };
        assert_eq!(taken(&mut house, vec![work(number).worker("w1")], offer), claimed, "the offer knows {lanes} lanes");
    }
}
