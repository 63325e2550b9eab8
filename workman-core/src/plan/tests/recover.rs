//! Managers that come, go and die.

use super::super::Blame;
use super::*;
use crate::policy::{DEATHS_AS_SUSPECT, DEATHS_TO_SUSPECT, OutOfQuotaPolicy};
use crate::record::{AttemptEnd, ParkReason};

/// Runs the work and lets the process die under it.
fn die_running(house: &mut House, number: u128) {
    let epoch = house.attach();
    house.run(epoch, number);
    house.die();
    house.attach();
    assert_eq!(house.rescue(), 1);
}

#[test]
fn attach_numbers_managers_and_tells_what_there_is() {
    let mut house = House::new();
    assert_eq!(house.attach(), 0);
    house.enqueue([work(1).delay(MINUTE), work(2).worker("other").delay(HOUR)]);
    let answer = house.done(&Command::Attach);
    let Applied::Attached { epoch: 1, lanes, next_due, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(lanes.len(), 2);
    assert_eq!(next_due, Due::Store(house.now + MINUTE).into());
    house.advance(2 * MINUTE);
    let answer = house.done(&Command::Attach);
    assert!(matches!(answer, Applied::Attached { epoch: 2, next_due, .. } if next_due == Due::Store(house.now).into()));
}

#[test]
fn detach_gives_back_what_the_manager_holds_as_an_interruption() {
    let mut house = House::new();
    let (epoch, other) = (house.attach(), house.attach());
    house.enqueue([work(1), work(2), work(3)]);
    assert_eq!(numbers(&house.claim(epoch, 2)), [1, 2]);
    house.run(other, 3);
    let answer = house.done(&Command::Detach { epoch });
    assert_eq!(released(&answer), (2, false));
    use WorkState::{Enqueued, Running};
    assert_eq!(house.states([1, 2, 3]), [Enqueued, Enqueued, Running]);
    let record = house.record(1);
    assert_eq!((record.interruptions, record.deaths, record.failures), (1, 0, 0));
    assert_eq!(record.stop, Some(StopReason::Shutdown));
    let commits = house.commits;
    assert_eq!(released(&house.done(&Command::Detach { epoch })), (0, false));
    assert_eq!(house.commits, commits, "to end twice is to end once");
    assert_eq!(house.rescue(), 0, "who is there is not rescued");
}

#[test]
fn detach_and_rescue_go_in_bounded_commits() {
    let limit = super::super::RESCUE_LIMIT;
    for dies in [false, true] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue((1..=limit as u128 + 7).map(work));
        assert_eq!(house.claim(epoch, 2 * limit).len(), limit + 7);
        let command = if dies { Command::Rescue } else { Command::Detach { epoch } };
        if dies {
            house.die();
        }
        assert_eq!(released(&house.done(&command)), (limit, true));
        assert_eq!(released(&house.done(&command)), (7, false));
        assert_eq!(released(&house.done(&command)), (0, false));
    }
}

#[test]
fn reclaim_gives_back_what_nobody_holds_as_if_it_had_never_run() {
    let mut house = House::new();
    let (epoch, other) = (house.attach(), house.attach());
    house.enqueue([work(1), work(2), work(3), work(4)]);
    let held = house.claim(epoch, 1).remove(0);
    let lost = house.claim(epoch, 2);
    house.run(other, 4);
    let command = Command::Reclaim { epoch, held: vec![(held.record.id, held.record.fence), (id(2), 99)] };
    let answer = house.done(&command);
    let Applied::Reclaimed { count: 2, stale, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(stale, [(id(2), 99)], "what is held by nobody any more is named");
    use WorkState::{Enqueued, Running};
    assert_eq!(house.states([1, 2, 3, 4]), [Running, Enqueued, Enqueued, Running]);
    let record = house.record(2);
    assert_eq!((record.interruptions, record.deaths, record.failures), (0, 0, 0));
    assert_eq!(house.refused(&settle(&lost[0], success())), Refusal::Stale(id(2)));
    house.settle(&held, success());
    assert_eq!(house.refused(&Command::Reclaim { epoch: 99, held: Vec::new() }), Refusal::EpochClosed(99));
}

#[test]
fn rec_1_a_death_is_counted_and_the_work_goes_on_at_once_at_its_place() {
    let mut house = House::new();
    house.enqueue([work(1), work(2)]);
    die_running(&mut house, 1);
    let record = house.record(1);
    assert_eq!((record.deaths, record.failures, record.interruptions), (1, 0, 0));
    assert_eq!((house.due_in(1), record.turn), (0, record.seq));
    let ends = match house.rows.get(RowKey::History(id(1))).unwrap() {
        Some(Row::History(_, attempts)) => attempts.into_iter().map(|attempt| attempt.end).collect(),
        _ => Vec::new(),
    };
    assert_eq!(ends, [AttemptEnd::Died]);
}

#[test]
fn a_run_that_is_over_however_it_ended_leaves_nothing_expedited() {
    type Ending = fn(&mut House, &Claimed, u64);
    let ways: [(&str, Ending); 7] = [
        ("failed", |house, claimed, _| drop(house.settle(claimed, failure(Advice::ByPolicy)))),
        ("snoozed", |house, claimed, _| drop(house.settle(claimed, End::Snoozed { delay: HOUR }))),
        ("interrupted", |house, claimed, _| drop(house.settle(claimed, interrupted()))),
        ("unrunnable", |house, claimed, _| {
            let why = ParkReason::Undecodable { message: "what?".into() };
            house.settle(claimed, End::Unrunnable { why });
        }),
        ("given back by its manager", |house, _, epoch| drop(house.done(&Command::Detach { epoch }))),
        ("claimed by nobody", |house, _, epoch| drop(house.done(&Command::Reclaim { epoch, held: Vec::new() }))),
        ("dead", |house, _, _| {
            house.die();
            assert_eq!(house.rescue(), 1);
        }),
    ];
    for (way, end) in ways {
        let mut house = House::new();
        let epoch = house.attach();
        let policy = Some(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest);
        house.enqueue([work(1).terms(|terms| terms.expedited = policy)]);
        let urgency = |house: &House| {
            let record = house.record(1);
            let lane = house.dump().lanes.into_iter().find(|lane| lane.id == record.lane).unwrap();
            (record.urgency, lane.urgency)
        };
        assert_eq!(urgency(&house), (Urgency::Expedited, Urgency::Expedited));
        let claimed = house.run(epoch, 1);
        end(&mut house, &claimed, epoch);
        assert_eq!(urgency(&house), (Urgency::Ordinary, Urgency::Ordinary), "{way}");
    }
}

#[test]
fn rec_1_only_claims_of_dead_managers_are_rescued() {
    let mut house = House::new();
    let dead = house.attach();
    house.enqueue((1..=4).map(work));
    house.run(dead, 1);
    house.die();
    let alive = [house.attach(), house.attach()];
    house.run(alive[0], 2);
    house.run(alive[1], 3);
    assert_eq!(house.rescue(), 1);
    assert_eq!(house.rescue(), 0);
    use WorkState::{Enqueued, Running};
    assert_eq!(house.states([1, 2, 3, 4]), [Enqueued, Running, Running, Enqueued]);
}

#[test]
fn a_rescue_before_anybody_attached_sees_every_claim_as_dead() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    house.run(epoch, 1);
    house.die();
    assert_eq!(house.rescue(), 1);
}

#[test]
fn bo_9_deaths_make_a_suspect_and_then_poison() {
    let mut house = House::new();
    house.enqueue([work(1)]);
    let waits: Vec<u64> = (1..DEATHS_TO_SUSPECT + DEATHS_AS_SUSPECT)
        .map(|death| {
            die_running(&mut house, 1);
            assert_eq!(house.record(1).deaths, death);
            assert_eq!(house.record(1).is_suspect(), death >= 2);
            let wait = house.due_in(1);
            house.advance(Duration::from_secs(wait));
            wait
        })
        .collect();
    assert_eq!(waits, [0, 30, 60, 120, 240, 480], "a suspect waits for its backoff");
    die_running(&mut house, 1);
    let deaths = DEATHS_TO_SUSPECT + DEATHS_AS_SUSPECT;
    assert_eq!(house.record(1).standing, Standing::Parked { why: ParkReason::Poisoned { deaths } });
    assert_eq!(house.record(1).failures, 0, "deaths use up no attempts");
    let epoch = house.attach();
    assert!(house.claim(epoch, 5).is_empty());
    house.done(&Command::Retry(id(1)));
    assert_eq!(house.run(epoch, 1).record.deaths, 0);
}

#[test]
fn bo_9_periodic_work_that_kills_its_process_loses_its_period_and_never_the_series() {
    for (interval, waits) in [(24 * HOUR, None), (MINUTE, Some(60))] {
        let mut house = House::new();
        house.enqueue([work(1).every(interval)]);
        let began = house.now;
        for period in 1..4 {
            for death in 1..=DEATHS_TO_SUSPECT + DEATHS_AS_SUSPECT {
                assert_eq!(house.record(1).deaths + 1, death, "each period begins with none");
                let wait = Duration::from_secs(house.due_in(1));
                house.advance(wait);
                die_running(&mut house, 1);
            }
            let record = house.record(1);
            assert_eq!((record.deaths, record.failures, record.period.unwrap().count), (0, 0, period));
            // A day's next run comes when it would come; one that is due by now is that of the last claim.
            match waits {
                None => assert_eq!(house.now + Duration::from_secs(house.due_in(1)), began + interval * period as u32),
                Some(pause) => assert_eq!(house.due_in(1), pause),
            }
        }
        let wait = Duration::from_secs(house.due_in(1));
        house.advance(wait);
        let epoch = house.attach();
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, success());
        assert_eq!(house.record(1).period.unwrap().count, 4);
    }
}

#[test]
fn a_rescue_tells_of_each_work_what_it_was_and_what_came_of_it() {
    let mut house = House::new();
    let epoch = house.attach();
    let fails = |work: NewWork| work.terms(|terms| terms.on_death = OnDeath::Fail);
    house.enqueue([work(1).worker("one"), fails(work(2).worker("two")), work(3).worker("three").every(HOUR)]);
    assert_eq!(house.claim(epoch, 9).len(), 3);
    house.die();
    house.attach();
    let Applied::Released { count: 3, died, again: false } = house.done(&Command::Rescue) else { panic!("all died") };
    let told: Vec<(u128, &str, u32)> = died.iter().map(|d| (d.id.as_u128(), &*d.worker, d.deaths)).collect();
    assert_eq!(BTreeSet::from_iter(told), BTreeSet::from([(1, "one", 1), (2, "two", 1), (3, "three", 1)]));
    for death in died {
        assert_eq!(house.record(death.id.as_u128()).standing, death.then);
    }
}

#[test]
fn a_run_that_has_lasted_clears_its_work_of_deaths_by_one_note_that_says_nothing_else() {
    let mut house = House::new();
    house.enqueue([work(1)]);
    for _ in 0..3 {
        die_running(&mut house, 1);
        house.advance(HOUR);
    }
    let epoch = house.attach();
    let claimed = house.run(epoch, 1);
    assert!(claimed.record.is_suspect());
    let (id, fence) = (claimed.record.id, claimed.record.fence);
    let says = |endurance| Command::Note(Note { id, fence, notes: Notes::default(), endurance });
    let before = house.dump();
    assert_eq!(house.done(&says(Endurance::Unproven)), Applied::Noted { blame: Blame::Suspect });
    assert_eq!(house.dump(), before, "an empty note changes nothing");
    assert_eq!(house.done(&says(Endurance::Proven)), Applied::Noted { blame: Blame::None });
    let cleared = WorkRecord { deaths: 0, ..before.records[&id].clone() };
    assert_eq!(house.record(1), cleared, "there is no row of notes that is empty");
    let stale = Command::Note(Note { id, fence: fence - 1, notes: Notes::default(), endurance: Endurance::Proven });
    assert_eq!(house.refused(&stale), Refusal::Stale(id));
}

#[test]
fn on_death_fail_ends_one_time_work_and_one_period() {
    let mut house = House::new();
    let fails = |work: NewWork| work.terms(|terms| terms.on_death = OnDeath::Fail);
    house.enqueue([fails(work(1)), work(2).after([1])]);
    die_running(&mut house, 1);
    assert_eq!(house.states([1, 2]), [WorkState::Failed, WorkState::Failed]);
    house.enqueue([fails(work(3)).every(HOUR)]);
    die_running(&mut house, 3);
    let record = house.record(3);
    assert_eq!((record.state(), record.deaths, record.period.unwrap().count), (WorkState::Enqueued, 0, 1));
    assert_eq!(house.due_in(3), 3_600);
}

#[test]
fn retry_frees_parked_work_and_nothing_else() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2)]);
    assert_eq!(house.refused(&Command::Retry(id(9))), Refusal::NotFound(id(9)));
    let state = WorkState::Enqueued;
    assert_eq!(house.refused(&Command::Retry(id(1))), Refusal::NotParked { id: id(1), state });
    let claimed = house.run(epoch, 1);
    let state = WorkState::Running;
    assert_eq!(house.refused(&Command::Retry(id(1))), Refusal::NotParked { id: id(1), state });
    house.settle(&claimed, End::Unrunnable { why: ParkReason::Undecodable { message: "what?".into() } });
    house.advance(MINUTE);
    house.done(&Command::Retry(id(1)));
    assert_eq!(house.record(1).enqueued, house.now, "what waits from now on counts from now on");
    assert_eq!(numbers(&house.claim(epoch, 2)), [2, 1], "it goes to the end of the line");
}

#[test]
fn an_update_does_not_let_a_suspect_loose() {
    let mut house = House::new();
    house.unique(work(1).name("n").every(24 * HOUR), UPDATE);
    for waits in [0, 30, 60] {
        die_running(&mut house, 1);
        // As a program does at every start.
        house.unique(work(2).name("n").every(24 * HOUR), UPDATE);
        assert_eq!(house.due_in(1), waits, "a suspect waits for its backoff");
        house.advance(Duration::from_secs(waits));
    }
    assert_eq!(house.record(1).deaths, 3);
}

fn released(applied: &Applied) -> (usize, bool) {
    match applied {
        Applied::Released { count, again, .. } => (*count, *again),
        other => panic!("{other:?}"),
    }
}
