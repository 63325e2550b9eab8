//! Claims: order, room, lanes, suspects.

use super::*;

fn open(house: &House, numbers: &[u128], kind: WorkerKind) -> Vec<OpenLane> {
    numbers
        .iter()
        .map(|number| OpenLane { lane: house.record(*number).lane, kind, urgency: Urgency::Ordinary })
        .collect()
}

#[test]
fn sch_2_and_sch_6_greater_priority_goes_first_and_equals_go_in_turn_across_lanes() {
    let mut house = House::new();
    let epoch = house.attach();
    let wishes = [(5, 0), (4, 9), (3, -9), (2, 0), (1, 9), (6, 127), (7, -128)];
    for (number, priority) in wishes {
        house.enqueue([work(number).priority(priority).worker(if number % 2 == 0 { "even" } else { "odd" })]);
    }
    assert_eq!(numbers(&house.claim(epoch, 4)), [6, 4, 1, 5]);
    assert_eq!(numbers(&house.claim(epoch, 4)), [2, 3, 7]);
}

#[test]
fn the_fence_goes_up_with_each_claim_and_bo_4_the_first_attempt_is_number_0() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    for run in 1..=3 {
        let claimed = house.run(epoch, 1);
        assert_eq!((claimed.record.fence, claimed.record.failures), (run, 0));
        assert_eq!(claimed.record.started, Some(house.now));
        assert_eq!(claimed.record.standing, Standing::Running { epoch });
        assert_eq!(claimed.spec, work(1).spec);
        house.settle(&claimed, interrupted());
    }
}

#[test]
fn sch_5_closed_lanes_are_never_read() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).worker("closed").priority(9), work(2)]);
    let lanes = open(&house, &[2], WorkerKind::Async);
    let claim = Claim { lanes, ..house.claim_all(epoch, 5) };
    let (works, ..) = house.claim_with(claim.clone());
    assert_eq!(numbers(&works), [2]);
    // Not even loaded: take the rows of the closed lane away, and nobody misses them.
    let mut scope = Vec::new();
    let mut view = Snapshot { meta: stored_meta(&house.rows).unwrap(), ..Snapshot::default() };
    view.meta.incarnation = house.opening.incarnation();
    while let Ok(Decision::Load(wanted)) = plan(&view, &Command::Claim(claim.clone()), house.now) {
        load(&house.rows, &wanted, &mut view, &mut Noticed::default()).unwrap();
        scope.extend(wanted.iter().cloned());
    }
    let closed = house.record(1).lane;
    let reads_closed =
        |want: &super::super::Want| matches!(want, super::super::Want::Ready { lane, .. } if *lane == closed);
    assert!(!scope.iter().any(reads_closed), "{scope:?}");
}

#[test]
fn room_counts_by_kind() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=3).map(|number| work(number).worker("async")));
    house.enqueue((11..=13).map(|number| work(number).worker("blocking").priority(1)));
    let mut lanes = open(&house, &[1], WorkerKind::Async);
    lanes.extend(open(&house, &[11], WorkerKind::Blocking));
    let claim = |async_slots_free: usize, blocking_slots_free: usize| Claim {
        async_slots_free: async_slots_free.into(),
        blocking_slots_free: blocking_slots_free.into(),
        lanes: lanes.clone(),
        ..house.claim_all(epoch, 0)
    };
    let (first, second, third) = (claim(2, 1), claim(0, 1), claim(5, 5));
    assert_eq!(numbers(&house.claim_with(first).0), [11, 1, 2]);
    assert_eq!(numbers(&house.claim_with(second).0), [12]);
    assert_eq!(numbers(&house.claim_with(third).0), [13, 3]);
}

#[test]
fn barred_work_waits_and_holds_nobody_up() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=4).map(work));
    let claim = Claim {
        barred: Barred { works: vec![id(1), id(2)], names: Vec::new(), gates: Vec::new() },
        ..house.claim_all(epoch, 1)
    };
    let (works, drained, ..) = house.claim_with(claim);
    assert_eq!(numbers(&works), [3]);
    assert!(drained.is_empty());
    assert_eq!(numbers(&house.claim(epoch, 5)), [1, 2, 4]);
}

#[test]
fn sm_2_work_that_is_due_exactly_now_can_be_claimed() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).delay(MINUTE), work(2).delay(2 * MINUTE)]);
    house.advance(MINUTE - Duration::from_millis(1));
    let claim = house.claim_all(epoch, 5);
    let (works, _, next_due, again) = house.claim_with(claim);
    assert!(works.is_empty() && !again);
    assert_eq!(next_due, Due::Store(house.now + Duration::from_millis(1)).into());
    house.advance(Duration::from_millis(1));
    let claim = house.claim_all(epoch, 5);
    let (works, _, next_due, _) = house.claim_with(claim);
    assert_eq!(numbers(&works), [1]);
    assert_eq!(next_due, Due::Store(house.now + MINUTE).into());
}

#[test]
fn due_work_ranks_with_ready_work_by_priority_and_turn() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).delay(MINUTE), work(2).delay(MINUTE).priority(5), work(3), work(4).priority(5)]);
    house.advance(MINUTE);
    assert_eq!(numbers(&house.claim(epoch, 3)), [2, 4, 1]);
}

#[test]
fn due_work_in_closed_lanes_is_promoted_once() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).delay(MINUTE).worker("closed"), work(2)]);
    house.advance(MINUTE);
    let lanes = open(&house, &[2], WorkerKind::Async);
    let claim = Claim { lanes, ..house.claim_all(epoch, 5) };
    let (works, ..) = house.claim_with(claim.clone());
    assert_eq!(numbers(&works), [2]);
    assert!(matches!(house.record(1).standing, Standing::Ready { .. }));
    assert!(house.hints.contains(&Hint::Ready(house.record(1).lane)), "whoever opens the lane hears of it");
    let commits = house.commits;
    house.claim_with(claim);
    assert_eq!(house.commits, commits, "a claim that finds nothing writes nothing");
    assert_eq!(numbers(&house.claim(epoch, 5)), [1]);
}

#[test]
fn more_due_work_than_one_commit_promotes_comes_in_the_next() {
    let mut house = House::new();
    let epoch = house.attach();
    let limit = super::super::PROMOTE_LIMIT as u128;
    house.enqueue((1..=limit + 10).map(|number| work(number).delay(MINUTE)));
    house.advance(MINUTE);
    let claim = house.claim_all(epoch, 1);
    let (works, drained, _, again) = house.claim_with(claim.clone());
    assert!(works.len() == 1 && drained.is_empty() && again);
    let (_, _, next_due, again) = house.claim_with(claim);
    assert!(!again && next_due == NextDue::default());
    assert_eq!(house.claim(epoch, usize::MAX / 2).len() as u128, limit + 8);
}

#[test]
fn a_lane_is_drained_when_nothing_is_left_in_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2), work(3).worker("other")]);
    let (first, other) = (house.record(1).lane, house.record(3).lane);
    let claim = house.claim_all(epoch, 2);
    let (works, drained, ..) = house.claim_with(claim);
    assert_eq!((numbers(&works), drained), (vec![1, 2], vec![]), "a full list may go on behind its end");
    let claim = house.claim_all(epoch, 5);
    let (works, drained, ..) = house.claim_with(claim);
    assert_eq!((numbers(&works), drained), (vec![3], vec![first, other]));
}

#[test]
fn suspects_run_one_at_a_time_and_hold_up_nobody() {
    let mut house = House::new();
    let mut epoch = house.attach();
    house.enqueue([work(1).priority(9), work(2).priority(9), work(3)]);
    for _ in 0..2 {
        assert_eq!(numbers(&house.claim(epoch, 2)), [1, 2]);
        house.die();
        epoch = house.attach();
        assert_eq!(house.rescue(), 2);
        house.advance(HOUR);
    }
    assert!(house.record(1).is_suspect() && house.record(2).is_suspect());
    assert_eq!(numbers(&house.claim(epoch, 5)), [1, 3], "one suspect, and who is none");
    let claim = Claim { suspects: SuspectsAllowed::None, ..house.claim_all(epoch, 5) };
    let (works, drained, ..) = house.claim_with(claim);
    assert!(works.is_empty() && drained.is_empty(), "the second waits until the first is over");
    assert_eq!(numbers(&house.claim(epoch, 5)), [2]);
}

#[test]
fn a_manager_that_ended_or_never_was_claims_nothing() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let stranger = Command::Claim(house.claim_all(epoch + 1, 5));
    assert_eq!(house.refused(&stranger), Refusal::EpochClosed(epoch + 1));
    let late = Command::Claim(house.claim_all(epoch, 5));
    house.done(&Command::Detach { epoch });
    assert_eq!(house.refused(&late), Refusal::EpochClosed(epoch));
    let epoch = house.attach();
    house.die();
    let dead = Command::Claim(house.claim_all(epoch, 5));
    assert_eq!(house.refused(&dead), Refusal::EpochClosed(epoch));
}

/// The claim of a process in which a run goes on that began under the name "n", when works up to this one were there.
fn beside_a_run_of_the_name(house: &House, epoch: u64, room: usize, born_from: u64) -> Claim {
    let names = vec![BarredName { name: "n".into(), born_from }];
    Claim { barred: Barred { works: Vec::new(), names, gates: Vec::new() }, ..house.claim_all(epoch, room) }
}

#[test]
fn what_took_a_name_from_a_run_waits_while_that_goes_on_and_what_stood_beside_it_does_not() {
    let mut house = House::new();
    let epoch = house.attach();
    let named = |number| work(number).name("n");
    let unique = Some(Unique { name: "n".into(), policy: UniquePolicy::OneTime(ExistingWorkPolicy::Replace) });
    let chain = Enqueue { works: vec![named(1), named(2)], unique, offer: None };
    house.done(&Command::Enqueue(chain));
    let first = house.run(epoch, 1);
    let claim = beside_a_run_of_the_name(&house, epoch, 5, first.born_from);
    assert_eq!(numbers(&house.claim_with(claim).0), [2], "it stood beside it from the beginning");
    house.unique(named(3), UniquePolicy::OneTime(ExistingWorkPolicy::Replace));
    house.unique(work(4).name("another"), UniquePolicy::OneTime(ExistingWorkPolicy::Replace));
    house.enqueue([work(5)]);
    let claim = beside_a_run_of_the_name(&house, epoch, 5, first.born_from);
    let (works, drained, ..) = house.claim_with(claim);
    assert_eq!(numbers(&works), [4, 5]);
    assert!(drained.is_empty(), "whoever hears of the end of that run looks there again");
    assert_eq!(numbers(&house.claim(epoch, 5)), [3]);
}

#[test]
fn however_many_works_of_a_barred_name_stand_in_front_what_stands_behind_them_starts() {
    for (in_front, room) in [(1, 1), (7, 3), (100, 2)] {
        let mut house = House::new();
        let epoch = house.attach();
        let unique = Some(Unique { name: "n".into(), policy: UniquePolicy::OneTime(ExistingWorkPolicy::Replace) });
        let works = (1..=in_front).map(|number| work(number).name("n")).collect();
        house.done(&Command::Enqueue(Enqueue { works, unique, offer: None }));
        house.enqueue((1..=4).map(|number| work(1_000 + number)));
        let claim = beside_a_run_of_the_name(&house, epoch, room, 0);
        let (works, drained, ..) = house.claim_with(claim);
        let wanted: Vec<u128> = (1_001..=1_004).take(room).collect();
        assert_eq!(numbers(&works), wanted);
        assert!(drained.is_empty());
    }
}

#[test]
fn due_work_of_a_barred_name_lines_up_and_does_not_start() {
    let mut house = House::new();
    let epoch = house.attach();
    house.unique(work(1).name("n").delay(MINUTE), UniquePolicy::OneTime(ExistingWorkPolicy::Replace));
    house.advance(MINUTE);
    let claim = beside_a_run_of_the_name(&house, epoch, 5, 0);
    assert_eq!(numbers(&house.claim_with(claim).0), []);
    assert!(matches!(house.record(1).standing, Standing::Ready { .. }));
    assert_eq!(numbers(&house.claim(epoch, 5)), [1]);
}

#[test]
fn of_lanes_that_are_watched_it_is_said_whether_anything_waits_there_and_nothing_is_written() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([
        work(1).worker("ready"),
        work(2).worker("barred"),
        work(3).worker("due").delay(MINUTE),
        work(4).worker("delayed").delay(HOUR),
    ]);
    house.unique(work(5).worker("named").name("n"), UniquePolicy::OneTime(ExistingWorkPolicy::Replace));
    house.advance(MINUTE);
    let lane = |house: &House, number: u128| open(house, &[number], WorkerKind::Async)[0].lane;
    let watched: Vec<LaneId> = (1..=5).map(|number| lane(&house, number)).collect();
    let barred =
        Barred { works: vec![id(2)], names: vec![BarredName { name: "n".into(), born_from: 0 }], gates: Vec::new() };
    let claim = Claim { lanes: Vec::new(), watched, barred, ..house.claim_all(epoch, 0) };
    let before = house.dump();
    let (works, drained, next_due, again) = house.claim_with(claim);
    assert_eq!((numbers(&works), again), (Vec::new(), false));
    assert_eq!(drained, [2, 4, 5].map(|number| lane(&house, number)));
    assert_eq!(house.dump(), before);
    assert_eq!(next_due, Due::Store(house.now).into(), "what is due is not forgotten");
}
