//! Expedited work: it goes first, in slots of its own, on a budget of run time.

use super::super::{FreeSlots, Offer, PROMOTE_LIMIT, Want};
use super::*;
use crate::index::Suspects;
use crate::policy::EXPEDITED_WINDOW;
use OutOfQuotaPolicy::{DropWorkRequest as DROP, RunAsNonExpeditedWorkRequest as FALL_BACK};

const BUDGET: Duration = Duration::from_secs(600);

fn claim(house: &House, epoch: u64, ordinary: usize, reserved: usize) -> Claim {
    Claim { async_slots_free: FreeSlots { ordinary, reserved }, ..house.claim_all(epoch, 0) }
}

/// A manager whose budget is spent.
fn spent(house: &mut House) -> u64 {
    let epoch = house.attach();
    spend(house, epoch, BUDGET);
    epoch
}

fn spend(house: &mut House, epoch: u64, length: Duration) {
    house.enqueue([work(9_999).expedited(FALL_BACK).priority(127)]);
    let claimed = house.run(epoch, 9_999);
    assert_eq!(claimed.record.urgency, Urgency::Expedited);
    house.advance(length);
    house.settle(&claimed, success());
}

fn urgency(house: &House, number: u128) -> Urgency {
    house.record(number).urgency
}

#[test]
fn expedited_work_goes_before_every_priority_and_among_itself_by_priority_and_turn() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).priority(127), work(2).expedited(FALL_BACK).priority(-128)]);
    house.enqueue([work(3).expedited(DROP), work(4).expedited(FALL_BACK), work(5).expedited(DROP).priority(1)]);
    let claim = house.claim_all(epoch, 5);
    let (works, ..) = house.claim_with(claim);
    assert_eq!(numbers(&works), [5, 3, 4, 2, 1]);
}

#[test]
fn expedited_work_takes_reserved_slots_first_and_ordinary_ones_then() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=3).map(work));
    house.enqueue((11..=14).map(|number| work(number).expedited(FALL_BACK)));
    let (room_for_all, only_reserved, none) =
        (claim(&house, epoch, 3, 1), claim(&house, epoch, 0, 1), claim(&house, epoch, 0, 0));
    assert!(house.claim_with(none).0.is_empty());
    assert_eq!(numbers(&house.claim_with(only_reserved.clone()).0), [11], "ordinary work takes no reserved slot");
    assert_eq!(numbers(&house.claim_with(room_for_all.clone()).0), [12, 13, 14, 1]);
    assert!(house.claim_with(only_reserved).0.is_empty());
    assert_eq!(numbers(&house.claim_with(room_for_all).0), [2, 3]);
}

#[test]
fn slots_of_one_kind_are_not_reserved_for_the_other() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).worker("blocking").expedited(FALL_BACK)]);
    let mut lanes = house.lanes();
    lanes.iter_mut().for_each(|open| open.kind = WorkerKind::Blocking);
    let async_only = Claim { lanes: lanes.clone(), ..claim(&house, epoch, 0, 1) };
    assert!(house.claim_with(async_only.clone()).0.is_empty());
    let blocking = Claim { blocking_slots_free: async_only.async_slots_free, async_slots_free: 0.into(), ..async_only };
    assert_eq!(numbers(&house.claim_with(blocking).0), [1]);
}

#[test]
fn a_lane_of_expedited_work_is_drained_when_nothing_is_left_in_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).expedited(FALL_BACK), work(2).expedited(FALL_BACK)]);
    let lane = house.record(1).lane;
    let (one, two) = (claim(&house, epoch, 0, 1), claim(&house, epoch, 0, 2));
    let (works, drained, _, again) = house.claim_with(one);
    assert_eq!((numbers(&works), drained, again), (vec![1], vec![], false));
    let (works, drained, ..) = house.claim_with(two);
    assert_eq!((numbers(&works), drained), (vec![2], vec![lane]));
}

#[test]
fn the_run_time_of_expedited_work_is_counted_and_no_other() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).expedited(FALL_BACK), work(3).expedited(FALL_BACK)]);
    let runs = house.claim(epoch, 3);
    house.advance(4 * MINUTE);
    runs.iter().for_each(|run| drop(house.settle(run, failure(Advice::ByPolicy))));
    assert_eq!(house.dump().meta.expedited.used(house.now), 8 * MINUTE);
    for number in [2, 3] {
        assert_eq!(urgency(&house, number), Urgency::Ordinary, "a retry is not expedited");
        assert_eq!(house.record(number).lane, house.record(1).lane);
    }
    house.advance(HOUR);
    let runs = house.claim(epoch, 3);
    house.advance(HOUR);
    runs.iter().for_each(|run| drop(house.settle(run, success())));
    assert_eq!(house.dump().meta.expedited.used(house.now), 8 * MINUTE);
}

#[test]
fn an_interrupted_or_rescued_run_is_not_expedited_again() {
    let mut house = House::new();
    let mut epoch = house.attach();
    house.enqueue((1..=2).map(|number| work(number).expedited(FALL_BACK)));
    let interrupted_run = house.run(epoch, 1);
    house.advance(MINUTE);
    house.settle(&interrupted_run, interrupted());
    assert_eq!(urgency(&house, 1), Urgency::Ordinary);
    let only_reserved = claim(&house, epoch, 0, 1);
    assert_eq!(numbers(&house.claim_with(only_reserved).0), [2]);
    house.die();
    house.advance(7 * HOUR);
    epoch = house.attach();
    house.rescue();
    assert_eq!(urgency(&house, 2), Urgency::Ordinary);
    let only_reserved = claim(&house, epoch, 0, 1);
    assert!(house.claim_with(only_reserved).0.is_empty());
    let used = house.dump().meta.expedited.used(house.now);
    assert_eq!(
        used,
        16 * MINUTE,
        "nobody knows how long a dead run took, so no more than a quarter of an hour is counted"
    );
}

#[test]
fn a_cancelled_run_has_used_its_time() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).expedited(FALL_BACK)]);
    house.run(epoch, 1);
    house.advance(3 * MINUTE);
    house.cancel(WorkSelector::Id(id(1)));
    assert_eq!(house.dump().meta.expedited.used(house.now), 3 * MINUTE);
}

#[test]
fn the_budget_is_spent_exactly_when_all_of_it_is_used_and_comes_back_after_the_window() {
    let mut house = House::new();
    let epoch = house.attach();
    spend(&mut house, epoch, BUDGET - Duration::from_millis(1));
    house.enqueue([work(1).expedited(FALL_BACK)]);
    let run = house.run(epoch, 1);
    assert_eq!(run.record.urgency, Urgency::Expedited);
    house.advance(Duration::from_millis(1));
    house.settle(&run, success());
    house.enqueue([work(2).expedited(FALL_BACK)]);
    assert_eq!(house.run(epoch, 2).record.urgency, Urgency::Ordinary);
    house.advance(EXPEDITED_WINDOW);
    house.enqueue([work(3).expedited(FALL_BACK)]);
    assert_eq!(house.run(epoch, 3).record.urgency, Urgency::Expedited);
}

#[test]
fn without_a_budget_nothing_is_expedited() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).expedited(FALL_BACK), work(2).priority(1)]);
    let claim = Claim { expedited_budget: Duration::ZERO, ..house.claim_all(epoch, 5) };
    let (works, ..) = house.claim_with(claim);
    assert_eq!(numbers(&works), [2, 1]);
    assert_eq!(works[1].record.urgency, Urgency::Ordinary);
}

#[test]
fn beyond_the_budget_work_goes_on_as_ordinary_in_that_very_claim() {
    let mut house = House::new();
    let epoch = spent(&mut house);
    house.enqueue([work(1).expedited(FALL_BACK), work(2).priority(1), work(3).expedited(FALL_BACK)]);
    let lane = house.record(2).lane;
    let turn = house.record(3).turn;
    let narrow = claim(&house, epoch, 2, 1);
    let (works, drained, _, again) = house.claim_with(narrow);
    assert_eq!(numbers(&works), [2, 1], "no reserved slot, and no first place");
    assert!(works.iter().all(|run| run.record.urgency == Urgency::Ordinary && run.record.lane == lane));
    let waits = house.record(3);
    assert_eq!((waits.urgency, waits.lane, waits.turn), (Urgency::Ordinary, lane, turn));
    assert!(matches!(waits.standing, Standing::Ready { .. }));
    assert!(house.hints.contains(&Hint::Ready(lane)) && !drained.contains(&lane), "something was added to that lane");
    assert_eq!((drained.len(), again), (1, false), "nothing is left in the lane of expedited work");
    assert_eq!(numbers(&house.claim(epoch, 5)), [3]);
}

#[test]
fn beyond_the_budget_work_is_dropped_with_all_that_depends_on_it() {
    let mut house = House::new();
    let epoch = spent(&mut house);
    house.enqueue([work(1).expedited(DROP), work(2).after([1]), work(3).after([2]), work(4)]);
    let only_reserved = claim(&house, epoch, 0, 1);
    let (works, _, _, again) = house.claim_with(only_reserved);
    assert!(works.is_empty() && !again);
    assert_eq!(house.states([1, 2, 3]), [WorkState::Cancelled; 3]);
    assert_eq!(house.record(1).stop, Some(StopReason::Quota));
    assert_eq!(urgency(&house, 1), Urgency::Ordinary, "it was not granted what it asked for, and says so");
    assert_eq!(house.record(2).stop, None);
    assert_eq!(house.state(4), WorkState::Enqueued);
    assert!(house.hints.iter().any(|hint| matches!(hint, Hint::Finished { .. })));
}

#[test]
fn work_that_could_not_start_now_keeps_its_hope() {
    let mut house = House::new();
    let epoch = spent(&mut house);
    house.enqueue([work(1).expedited(DROP), work(2).worker("closed").expedited(DROP)]);
    let no_room = claim(&house, epoch, 0, 0);
    house.claim_with(no_room);
    let closed = house.record(2).lane;
    let lanes = house.lanes().into_iter().filter(|open| open.lane != closed).collect();
    let no_kind = Claim { lanes, async_slots_free: 0.into(), ..claim(&house, epoch, 0, 0) };
    house.claim_with(Claim { blocking_slots_free: 5.into(), ..no_kind.clone() });
    assert_eq!(house.states([1, 2]), [WorkState::Enqueued; 2]);
    house.claim_with(Claim { async_slots_free: 5.into(), ..no_kind });
    assert_eq!(house.states([1, 2]), [WorkState::Cancelled, WorkState::Enqueued], "a closed lane is never read");
}

#[test]
fn delayed_expedited_work_without_a_slot_keeps_its_hope_when_it_is_due() {
    let mut house = House::new();
    let epoch = spent(&mut house);
    house.enqueue([work(1).delay(MINUTE).expedited(DROP)]);
    house.advance(MINUTE);
    let no_room = claim(&house, epoch, 0, 0);
    house.claim_with(no_room);
    assert_eq!((house.state(1), urgency(&house, 1)), (WorkState::Enqueued, Urgency::Expedited));
}

#[test]
fn the_lanes_of_those_that_wait_beyond_the_budget_are_told_and_no_others() {
    let mut house = House::new();
    let epoch = spent(&mut house);
    house.enqueue([work(1).worker("a").expedited(FALL_BACK), work(2).worker("b").expedited(FALL_BACK)]);
    let narrow = claim(&house, epoch, 1, 0);
    assert_eq!(numbers(&house.claim_with(narrow).0), [1]);
    let ready: Vec<&Hint> = house.hints.iter().filter(|hint| matches!(hint, Hint::Ready(_))).collect();
    assert_eq!(ready, [&Hint::Ready(house.record(2).lane)]);
}

#[test]
fn delayed_expedited_work_finds_the_budget_spent_when_it_is_due() {
    let mut house = House::new();
    let epoch = spent(&mut house);
    house.enqueue([work(1).delay(MINUTE).expedited(FALL_BACK), work(2).delay(MINUTE).expedited(DROP), work(3)]);
    house.advance(MINUTE);
    let (works, drained, ..) = {
        let claim = claim(&house, epoch, 1, 0);
        house.claim_with(claim)
    };
    assert_eq!(numbers(&works), [1]);
    assert_eq!((house.state(2), house.state(3)), (WorkState::Cancelled, WorkState::Enqueued));
    assert!(!drained.contains(&house.record(3).lane));
}

/// A great many go in bounded commits, each of which gets on, and nothing is forgotten.
#[test]
fn many_beyond_the_budget_are_dealt_with_a_bounded_number_a_commit() {
    for policy in [FALL_BACK, DROP] {
        let mut house = House::new();
        let epoch = spent(&mut house);
        let count = 700;
        let worker = |number: u128| if number.is_multiple_of(2) { "even" } else { "odd" };
        house.enqueue((1..=count).map(|number| work(number).worker(worker(number)).expedited(policy)));
        house.enqueue([work(3_000).after([1])]);
        let expedited = |house: &House| {
            let records = house.dump().records.into_values();
            records.filter(|record| record.urgency == Urgency::Expedited && !record.state().is_finished()).count()
        };
        let mut rounds = 0;
        loop {
            let before = expedited(&house);
            let narrow = claim(&house, epoch, 0, 1);
            let (works, _, _, again) = house.claim_with(narrow);
            assert!(works.is_empty());
            let moved = before - expedited(&house);
            assert!(moved <= PROMOTE_LIMIT, "{moved} in one commit");
            rounds += 1;
            if !again {
                break;
            }
            assert!(moved > 0, "a claim that asks for another one has done something");
        }
        assert!(rounds < 30, "{rounds}");
        assert_eq!(expedited(&house), 0);
        match policy {
            FALL_BACK => assert_eq!(house.claim(epoch, 5_000).len(), 700),
            DROP => assert_eq!(house.count(WorkState::Cancelled), 701),
        }
    }
}

fn offered(house: &mut House, epoch: u64, works: Vec<NewWork>, lanes: u32) -> Vec<u128> {
    let ids = works.iter().map(|work| work.id).collect();
    let offer = Offer { epoch, generation: 1, slots: 5, ids, rivals: Vec::new(), lanes };
    house.done(&Command::Enqueue(Enqueue { works, unique: None, offer: Some(offer) }));
    let claimed = |hint: &Hint| match hint {
        Hint::Claimed { works, .. } => numbers(works),
        _ => Vec::new(),
    };
    house.hints.iter().flat_map(claimed).collect()
}

#[test]
fn expedited_work_takes_no_offer_and_ordinary_work_does_not_overtake_it_by_one() {
    let mut house = House::new();
    let epoch = house.attach();
    assert_eq!(offered(&mut house, epoch, vec![work(1), work(2).expedited(DROP)], 9), [], "of one enqueue");
    assert_eq!(offered(&mut house, epoch, vec![work(3).worker("new").priority(127)], 0), [], "in a lane not known yet");
    house.claim(epoch, 5);
    assert_eq!(offered(&mut house, epoch, vec![work(4).worker("new")], 0), [4]);
}

#[test]
fn nothing_is_loaded_for_expedited_work_that_has_no_slot() {
    let mut house = House::new();
    let epoch = spent(&mut house);
    house.enqueue([work(1).expedited(FALL_BACK)]);
    let command = Command::Claim(claim(&house, epoch, 0, 0));
    let meta = stored_meta(&house.rows).unwrap();
    let view = Snapshot {
        meta: crate::record::Meta { incarnation: house.opening.incarnation(), ..meta },
        ..Snapshot::default()
    };
    let Ok(Decision::Load(scope)) = plan(&view, &command, house.now) else { panic!("a claim looks at what is due") };
    assert!(scope.iter().all(|want| matches!(want, Want::Due { .. })), "{scope:?}");
}

#[test]
fn what_is_read_beyond_the_budget_is_bounded_over_all_lanes() {
    for (lanes, each) in [(1, 256), (3, 85), (300, 1)] {
        let mut house = House::new();
        let epoch = spent(&mut house);
        house.enqueue((1..=lanes).map(|number| work(number).worker(&number.to_string()).expedited(FALL_BACK)));
        let mut claim = claim(&house, epoch, 0, 1);
        let spender = house.record(9_999).lane;
        let used = |open: &OpenLane| open.urgency == Urgency::Expedited && open.lane.0 > spender.0;
        claim.lanes.retain(used);
        let limit = |want: &Want| match want {
            Want::Ready { suspects: Suspects::None, limit, .. } => Some(*limit),
            _ => None,
        };
        let scopes = house.scopes(&Command::Claim(claim));
        let limits: Vec<usize> = scopes[0].iter().filter_map(limit).collect();
        assert_eq!(limits, vec![each; usize::try_from(lanes).unwrap()]);
    }
}

#[test]
fn due_work_without_a_slot_of_its_kind_lines_up_and_keeps_its_hope() {
    let mut house = House::new();
    let epoch = spent(&mut house);
    house.enqueue([work(1).delay(MINUTE).expedited(DROP)]);
    house.advance(MINUTE);
    let no_slot = Claim { blocking_slots_free: 5.into(), ..claim(&house, epoch, 0, 0) };
    let (works, drained, _, again) = house.claim_with(no_slot);
    assert!(works.is_empty() && drained.is_empty() && !again);
    let record = house.record(1);
    assert!(matches!(record.standing, Standing::Ready { .. }));
    assert_eq!(record.urgency, Urgency::Expedited);
}

#[test]
fn an_offer_looks_into_a_few_lanes_that_its_manager_does_not_know_and_no_more() {
    for (newer, taken) in [(16, true), (17, false)] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1)]);
        let known = house.dump().meta.next_lane;
        house.enqueue((0..newer).map(|number| work(100 + number).worker(&number.to_string()).priority(-1)));
        assert_eq!(house.dump().meta.next_lane, known + u32::try_from(newer).unwrap());
        house.claim(epoch, 1);
        let wanted = if taken { vec![200] } else { vec![] };
        assert_eq!(offered(&mut house, epoch, vec![work(200)], known), wanted);
    }
}
