//! How often a plan asks, and for what: each round is a trip to the server for a store that has one.

use super::super::{Offer, PROMOTE_LIMIT, Want, Write};
use super::*;

/// More works than a store that asks for each of them could hide.
const MANY: u128 = 30;

/// Asserts that the command is planned after this many rounds of loading, and does it.
fn in_rounds(house: &mut House, rounds: usize, command: &Command) -> Applied {
    let scopes = house.scopes(command);
    assert_eq!(scopes.len(), rounds, "{command:?} asks for {scopes:?}");
    house.done(command)
}

/// Many works that run, each with an attempt behind it, a tag, and a work that waits for it.
fn running(house: &mut House, wish: impl Fn(NewWork) -> NewWork) -> (u64, Vec<Claimed>) {
    let epoch = house.attach();
    house.enqueue((1..=MANY).map(|number| wish(work(number).tag("t"))));
    house.enqueue((1..=MANY).map(|number| work(100 + number).after([number])));
    for claimed in house.claim(epoch, MANY as usize) {
        house.settle(&claimed, interrupted());
    }
    let claimed = house.claim(epoch, MANY as usize);
    assert_eq!(claimed.len() as u128, MANY);
    (epoch, claimed)
}

#[test]
fn an_enqueue_loads_all_that_it_certainly_needs_at_once() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=MANY).map(work));
    let chain = || {
        let outside = (1..=MANY).map(|number| work(100 + number).after([number]).worker(&format!("w{number}")));
        outside.chain([work(200).after([101])]).map(|work| work.name("n")).collect::<Vec<_>>()
    };
    let unique = Unique { name: "n".into(), policy: KEEP };
    let command = Command::Enqueue(Enqueue { works: chain(), unique: Some(unique), offer: None });
    in_rounds(&mut house, 1, &command);
    in_rounds(&mut house, 2, &enqueue(chain()));
    let wanted = house.scopes(&enqueue([work(300), work(301).after([300, 1])]));
    let works = wanted[0].iter().filter(|want| matches!(want, Want::Work(_))).count();
    assert_eq!(works, 3, "each work once: {wanted:?}");
    let lanes = house.dump().meta.next_lane;
    let offer = Offer { epoch, generation: 0, slots: 1, ids: vec![id(400)], rivals: Vec::new(), lanes };
    let new_lane = vec![work(400).worker("new lane")];
    let command = Command::Enqueue(Enqueue { works: new_lane, unique: None, offer: Some(offer) });
    in_rounds(&mut house, 1, &command);
    assert_eq!(house.state(400), WorkState::Running, "in a lane that is new nobody is a rival");
}

#[test]
fn a_claim_loads_all_its_lanes_at_once_and_none_for_which_there_is_no_room() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=MANY).map(|number| work(number).worker(&format!("w{number}"))));
    let claim = house.claim_all(epoch, 2);
    let full = Claim { async_slots_free: 0.into(), blocking_slots_free: 5.into(), ..claim.clone() };
    let no_suspects = Claim { suspects: SuspectsAllowed::None, ..claim.clone() };
    let lists = |house: &House, claim: &Claim| {
        let scopes = house.scopes(&Command::Claim(claim.clone()));
        scopes.iter().flatten().filter(|want| matches!(want, Want::Ready { .. })).count() as u128
    };
    assert_eq!(lists(&house, &full), 0);
    assert_eq!(lists(&house, &no_suspects), MANY);
    assert_eq!(lists(&house, &claim), 2 * MANY);
    in_rounds(&mut house, 1, &Command::Claim(claim));
    assert_eq!(house.count(WorkState::Running), 2);
}

/// Many expedited works, each of a lane of its own and with a work that waits for it, and a claim that has a slot for each.
fn expedited(budget: Duration, policy: OutOfQuotaPolicy) -> (House, Claim) {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=MANY).map(|number| work(number).worker(&format!("w{number}")).expedited(policy)));
    house.enqueue((1..=MANY).map(|number| work(100 + number).after([number])));
    let claim = Claim { expedited_budget: budget, ..house.claim_all(epoch, MANY as usize) };
    (house, claim)
}

#[test]
fn a_claim_of_expedited_work_loads_what_hangs_on_it_at_once_and_only_if_it_is_to_be_dropped() {
    for (budget, policy, edges) in [
        (HOUR, OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest, 0),
        (HOUR, OutOfQuotaPolicy::DropWorkRequest, 0),
        (Duration::ZERO, OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest, 0),
        (Duration::ZERO, OutOfQuotaPolicy::DropWorkRequest, MANY),
    ] {
        let (mut house, claim) = expedited(budget, policy);
        let command = Command::Claim(claim);
        let scopes = house.scopes(&command);
        let wanted = scopes.iter().flatten().filter(|want| matches!(want, Want::Descendants { .. })).count();
        assert_eq!(wanted as u128, edges, "{budget:?}, {policy:?}: {scopes:?}");
        in_rounds(&mut house, 2, &command);
    }
}

#[test]
fn lanes_of_expedited_work_share_what_one_commit_looks_at_once_the_budget_is_spent() {
    let (house, claim) = expedited(Duration::ZERO, OutOfQuotaPolicy::DropWorkRequest);
    let limits = |claim: Claim| -> BTreeSet<usize> {
        let scopes = house.scopes(&Command::Claim(claim));
        let limit = |want: &Want| match want {
            Want::Ready { limit, .. } => Some(*limit),
            _ => None,
        };
        scopes.iter().flatten().filter_map(limit).collect()
    };
    let mut claim = Claim { suspects: SuspectsAllowed::None, ..claim };
    claim.lanes.retain(|open| open.urgency == Urgency::Expedited);
    assert_eq!(limits(claim.clone()), BTreeSet::from([PROMOTE_LIMIT / MANY as usize]));
    claim.lanes.truncate(1);
    assert_eq!(limits(claim), BTreeSet::from([PROMOTE_LIMIT]));
}

#[test]
fn a_settle_loads_its_work_and_then_what_hangs_on_it() {
    let mut house = House::new();
    let (_, claimed) = running(&mut house, |work| work);
    in_rounds(&mut house, 2, &settle(&claimed[0], success()));
    in_rounds(&mut house, 1, &settle(&claimed[1], interrupted()));
    in_rounds(&mut house, 2, &settle(&claimed[2], failure(Advice::Never)));
}

#[test]
fn a_selection_and_a_replacement_of_many_running_works_load_in_two_rounds() {
    let mut house = House::new();
    running(&mut house, |work| work);
    in_rounds(&mut house, 2, &cancel(WorkSelector::tag("t")));
    let mut house = House::new();
    running(&mut house, |work| work.name("n"));
    in_rounds(&mut house, 2, &unique(work(1_000).name("n"), REPLACE));
    let mut house = House::new();
    running(&mut house, |work| work.name("n"));
    house.cancel(WorkSelector::tag("t"));
    in_rounds(&mut house, 1, &unique(work(1_000).name("n"), REPLACE));
}

/// A store that reads before it writes, as most do, reads no row that is not there.
#[test]
fn a_selection_adds_an_attempt_to_those_that_run_and_keeps_those_before_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue((1..=4).map(|number| work(number).tag("t")));
    for claimed in house.claim(epoch, 2) {
        house.settle(&claimed, failure(Advice::After(Duration::ZERO)));
    }
    // 3 and 4 run for the first time, 1 for the second, and 2 has an attempt behind it and waits.
    assert_eq!(numbers(&house.claim(epoch, 3)), [3, 4, 1]);
    let plan = house.think(&cancel(WorkSelector::tag("t"))).0.unwrap();
    let attempts = plan.writes.iter().filter_map(|write| match write {
        Write::Attempt { id, keep, .. } => Some((*id, *keep)),
        _ => None,
    });
    assert_eq!(attempts.collect::<BTreeMap<_, _>>(), BTreeMap::from([(id(1), 9), (id(3), 0), (id(4), 0)]));
}

#[test]
fn managers_come_and_go_in_few_rounds_whatever_they_hold() {
    let mut house = House::new();
    let (epoch, claimed) = running(&mut house, |work| work);
    let held = claimed.iter().take(5).map(|claimed| (claimed.record.id, claimed.record.fence)).collect();
    in_rounds(&mut house, 1, &Command::Attach);
    in_rounds(&mut house, 1, &Command::Reclaim { epoch, held });
    let mut house = House::new();
    let (epoch, _) = running(&mut house, |work| work);
    in_rounds(&mut house, 1, &Command::Detach { epoch });
    for (on_death, rounds) in [(OnDeath::Park, 1), (OnDeath::Fail, 2)] {
        let mut house = House::new();
        running(&mut house, |work| work.terms(|terms| terms.on_death = on_death));
        house.die();
        in_rounds(&mut house, rounds, &Command::Rescue);
    }
}
