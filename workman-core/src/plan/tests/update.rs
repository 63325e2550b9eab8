//! Updates in place: UPD.

use super::*;
use crate::constraints::Constraints;
use crate::policy::OutOfQuotaPolicy;
use crate::record::{InputShape, ParkReason};

fn notes(house: &House, number: u128) -> Option<Notes> {
    match house.rows.get(RowKey::Notes(id(number))).unwrap() {
        Some(Row::Notes(_, notes)) => Some(notes),
        _ => None,
    }
}

#[test]
fn upd_1_unknown_work_is_refused_and_finished_work_is_left_alone() {
    let mut house = House::new();
    let epoch = house.attach();
    assert_eq!(house.refused(&Command::Update(Box::new(work(1)))), Refusal::NotFound(id(1)));
    house.enqueue([work(1), work(2), work(3), work(4).every(HOUR)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    let claimed = house.run(epoch, 2);
    house.settle(&claimed, failure(Advice::Never));
    house.cancel(WorkSelector::All);
    let (before, commits) = (house.dump(), house.commits);
    for changed in [work(1), work(2), work(3), work(4).every(MINUTE)] {
        assert_eq!(house.update(changed.tag("new").priority(9)), UpdateResult::NotApplied);
    }
    assert_eq!((house.dump(), house.commits), (before, commits), "and nothing is written");
}

#[test]
fn upd_1_one_time_work_stays_one_time_and_periodic_work_periodic_in_every_state() {
    for over in [false, true] {
        let mut house = House::new();
        house.enqueue([work(1), work(2).every(HOUR)]);
        if over {
            house.cancel(WorkSelector::All);
        }
        for changed in [work(1).every(HOUR), work(2)] {
            let other = changed.id;
            assert_eq!(house.refused(&Command::Update(Box::new(changed))), Refusal::OtherSchedule(other));
        }
    }
}

#[test]
fn upd_2_counters_and_marks_stay_and_the_rest_is_the_request_s() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).tag("old").delay(MINUTE), work(2)]);
    house.advance(MINUTE);
    for end in [failure(Advice::After(MINUTE)), interrupted()] {
        let mut works = house.claim(epoch, 9);
        works.retain(|claimed| claimed.record.id == id(1));
        house.settle(&works.remove(0), end);
        house.advance(HOUR);
    }
    let before = house.record(1);
    assert_eq!((before.failures, before.interruptions), (1, 1));
    let changed = work(1)
        .spec(|spec| {
            spec.input = payload("other");
            spec.constraints = Constraints::new().requires_charging();
            spec.trace_tag = Some("trace".into());
            spec.name = Some("its own wish".into());
            spec.prerequisites.ids = vec![id(2)];
        })
        .tag("new")
        .worker("other")
        .attempts(7)
        .backoff(Backoff::linear(MINUTE))
        .terms(|terms| terms.timeout = Some(HOUR));
    assert_eq!(house.update(changed.clone()), UpdateResult::AppliedImmediately);
    let after = house.record(1);
    let kept = WorkRecord {
        lane: after.lane,
        terms: changed.terms.clone(),
        generation: 1,
        standing: after.standing.clone(),
        turn: after.turn,
        ..before.clone()
    };
    assert_eq!(after, kept);
    assert_eq!(after.state(), before.state());
    let spec = house.dump().specs[&id(1)].clone();
    let expected =
        WorkSpec { name: None, prerequisites: work(1).spec.prerequisites.clone(), ..(*changed.spec).clone() };
    assert_eq!(*spec, expected, "UPD-6: neither name nor edges");
    let tags: Vec<IndexKey> = house
        .dump()
        .index
        .into_iter()
        .filter(|key| matches!(key, IndexKey::Tag { id, .. } if *id == super::id(1)))
        .collect();
    let tagged = |tag: &str| IndexKey::Tag { tag: tag.into(), seq: after.seq, id: id(1) };
    assert_eq!(tags, [tagged("new"), tagged("other")], "the entries of the old tags are gone");
    assert_eq!(house.update(changed), UpdateResult::AppliedImmediately);
    assert_eq!(house.record(1).generation, 2);
}

#[test]
fn upd_3_work_that_waits_is_put_where_its_new_terms_want_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).delay(HOUR), work(2), work(3).after([2])]);
    house.advance(10 * MINUTE);
    for (delay, due_in) in [(2 * HOUR, 110 * 60), (30 * MINUTE, 20 * 60), (5 * MINUTE, 0), (HOUR, 50 * 60)] {
        assert_eq!(house.update(work(1).delay(delay)), UpdateResult::AppliedImmediately);
        assert_eq!(house.due_in(1), due_in, "{delay:?}: counted from the enqueue");
    }
    assert_eq!(house.update(work(1)), UpdateResult::AppliedImmediately);
    assert!(house.hints.contains(&Hint::Ready(house.record(1).lane)), "somebody is told that it could start");
    house.update(work(2).delay(HOUR));
    assert_eq!(house.due_in(2), 50 * 60);
    house.update(work(3).after([2]).delay(MINUTE));
    assert_eq!((house.state(3), house.record(3).open), (WorkState::Blocked, 1), "blocked work stays blocked");
    house.run(epoch, 1);
    house.advance(HOUR);
    let claimed = house.run(epoch, 2);
    house.settle(&claimed, success());
    assert_eq!(house.due_in(3), 60, "and its new delay counts from its release");
}

#[test]
fn upd_3_a_retry_waits_for_the_backoff_of_its_new_terms_from_the_end_of_its_attempt() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).backoff(Backoff::linear(10 * MINUTE))]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::ByPolicy));
    assert_eq!(house.due_in(1), 600);
    house.advance(MINUTE);
    for (backoff, due_in) in [(HOUR, 59 * 60), (5 * MINUTE, 4 * 60), (MINUTE, 0), (HOUR, 59 * 60)] {
        house.update(work(1).backoff(Backoff::linear(backoff)).delay(2 * HOUR));
        assert_eq!(house.due_in(1), due_in, "{backoff:?}");
    }
}

#[test]
fn upd_3_progress_goes_and_a_checkpoint_stays_where_it_still_means_the_same() {
    type Change = fn(NewWork) -> NewWork;
    let table: [(&str, Change, bool); 4] = [
        ("other tags", |work| work.tag("t"), true),
        ("another delay", |work| work.delay(MINUTE), true),
        ("another worker", |work| work.worker("other"), false),
        ("another input", |work| work.spec(|spec| spec.input = payload("other")), false),
    ];
    for (what, change, stays) in table {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1)]);
        let claimed = house.run(epoch, 1);
        house.done(&note(&claimed, Some("half"), Some("here")));
        house.settle(&claimed, interrupted());
        house.update(change(work(1)));
        let expected = stays.then(|| Notes { progress: None, checkpoint: Some(payload("here")) });
        assert_eq!(notes(&house, 1), expected, "{what}");
        assert_eq!(house.record(1).rows.notes, stays, "{what}");
    }
}

#[test]
fn upd_4_a_run_goes_on_as_it_began() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).worker("old")]);
    let claimed = house.run(epoch, 1);
    house.done(&note(&claimed, Some("half"), Some("here")));
    let before = notes(&house, 1);
    let changed = work(1).worker("new").backoff(Backoff::linear(MINUTE)).delay(HOUR);
    assert_eq!(house.update(changed), UpdateResult::AppliedForNextRun);
    assert_eq!(house.hints.iter().filter(|hint| matches!(hint, Hint::Stop { .. } | Hint::Ready(_))).count(), 0);
    assert_eq!(notes(&house, 1), before, "what it has said stands");
    let record = house.record(1);
    assert!(record.is_held_under(claimed.record.fence), "its result counts");
    house.settle(&claimed, failure(Advice::ByPolicy));
    assert_eq!(house.due_in(1), 60, "what follows is by the new terms");
    house.advance(MINUTE);
    assert_eq!(&*house.run(epoch, 1).spec.worker, "new");
}

#[test]
fn upd_4_and_sm_1_a_run_that_succeeds_ends_one_time_work_whatever_was_updated_meanwhile() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let claimed = house.run(epoch, 1);
    house.update(work(1).worker("new").delay(HOUR));
    house.settle(&claimed, success());
    assert_eq!(house.state(1), WorkState::Succeeded);
}

#[test]
fn upd_4_the_period_of_a_run_is_due_when_it_was_and_the_next_by_the_new_interval() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).every(24 * HOUR)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    house.advance(24 * HOUR);
    let claimed = house.run(epoch, 1);
    let due = house.now;
    house.advance(MINUTE);
    house.update(work(1).every(HOUR));
    assert_eq!(house.record(1).period.unwrap().due, due);
    house.settle(&claimed, failure(Advice::ByPolicy));
    assert_eq!((house.due_in(1), house.record(1).failures), (30, 1), "a retry waits for its backoff");
    house.advance(MINUTE);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::Never));
    assert_eq!(house.due_in(1), 58 * 60, "one new interval after the run was due");
    house.update(work(1).every(2 * HOUR));
    assert_eq!(house.due_in(1), 118 * 60, "UPD-5");
}

#[test]
fn upd_6_a_worker_that_takes_what_there_is_not_is_refused() {
    let taking = |number, shape| work(number).spec(|spec| spec.prerequisites.shape = shape);
    let mut house = House::new();
    house.enqueue([work(1), work(2), work(3).after([1]), work(4).after([1, 2])]);
    let table = [(1, InputShape::One, 0), (1, InputShape::List, 0), (4, InputShape::One, 2)];
    for (number, takes, given) in table {
        let refusal = house.refused(&Command::Update(Box::new(taking(number, takes))));
        assert_eq!(refusal, Refusal::OtherShape { id: id(number), takes, given });
    }
    for (number, takes) in
        [(3, InputShape::One), (4, InputShape::Tuple), (4, InputShape::List), (3, InputShape::Nothing)]
    {
        assert_eq!(house.update(taking(number, takes)), UpdateResult::AppliedImmediately);
        assert_eq!(house.dump().specs[&id(number)].prerequisites.shape, takes);
    }
    assert_eq!((house.prerequisites(3), house.prerequisites(4)), (vec![1], vec![1, 2]));
}

#[test]
fn a_wait_that_is_not_by_the_terms_stays() {
    type Wait = (&'static str, fn(&mut House, &Claimed), u64);
    let waits: [Wait; 4] = [
        ("a time that the attempt named", |house, run| drop(house.settle(run, failure(Advice::After(HOUR)))), 3_600),
        ("a snooze", |house, run| drop(house.settle(run, End::Snoozed { delay: HOUR })), 3_600),
        ("an interruption", |house, run| drop(house.settle(run, interrupted())), 0),
        (
            "a death",
            |house, _| {
                house.die();
                house.attach();
                house.rescue();
            },
            0,
        ),
    ];
    for (what, end, due_in) in waits {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1)]);
        let claimed = house.run(epoch, 1);
        house.advance(MINUTE);
        end(&mut house, &claimed);
        let turn = house.record(1).turn;
        house.update(work(1).backoff(Backoff::linear(24 * HOUR)).delay(MINUTE / 2));
        assert_eq!((house.due_in(1), house.record(1).turn), (due_in, turn), "{what}");
    }
}

#[test]
fn a_suspect_is_not_forgiven_by_an_update_nor_started_by_an_override() {
    let mut house = House::new();
    house.enqueue([work(1).every(HOUR)]);
    for _ in 0..2 {
        let epoch = house.attach();
        house.run(epoch, 1);
        house.die();
        house.attach();
        house.rescue();
    }
    assert_eq!(house.due_in(1), 30);
    house.update(work(1).every(HOUR).backoff(Backoff::linear(Duration::ZERO)));
    assert_eq!((house.due_in(1), house.record(1).deaths), (30, 2));
    house.update(work(1).every(HOUR).at(house.now));
    assert_eq!(house.due_in(1), 30);
    house.update(work(1).every(HOUR).at(house.now + HOUR));
    assert_eq!(house.due_in(1), 3_600);
}

#[test]
fn work_that_was_parked_for_its_input_tries_the_new_one_and_poisoned_work_waits_for_help() {
    let undecodable = ParkReason::Undecodable { message: "what?".into() };
    let too_large = ParkReason::TooLarge { size: 2, limit: 1 };
    for (why, frees) in [(undecodable, true), (too_large, true), (ParkReason::Poisoned { deaths: 7 }, false)] {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue([work(1)]);
        let claimed = house.run(epoch, 1);
        house.settle(&claimed, End::Unrunnable { why: why.clone() });
        assert_eq!(house.update(work(1).spec(|spec| spec.input = payload("better"))), UpdateResult::AppliedImmediately);
        assert_eq!(house.record(1).standing == Standing::Parked { why: why.clone() }, !frees, "{why}");
        assert_eq!(house.claim(epoch, 9).len(), usize::from(frees), "{why}");
    }
}

#[test]
fn work_that_has_not_run_yet_may_become_expedited_and_work_that_has_may_not() {
    let drop_it = |terms: &mut Terms| terms.expedited = Some(OutOfQuotaPolicy::DropWorkRequest);
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    house.update(work(1).terms(drop_it));
    assert_eq!(house.record(1).urgency, Urgency::Expedited);
    let lane = |house: &House| house.dump().lanes[house.record(1).lane.0 as usize].clone();
    assert_eq!(lane(&house).urgency, Urgency::Expedited);
    house.update(work(1));
    assert_eq!((house.record(1).urgency, lane(&house).urgency), (Urgency::Ordinary, Urgency::Ordinary));
    let claimed = house.run(epoch, 1);
    house.update(work(1).terms(drop_it));
    assert_eq!((house.record(1).urgency, lane(&house).urgency), (Urgency::Ordinary, Urgency::Ordinary));
    house.settle(&claimed, interrupted());
    house.update(work(1).terms(drop_it));
    assert_eq!(house.record(1).urgency, Urgency::Ordinary, "retries are never expedited");
}

#[test]
fn upd_2_an_update_that_changes_neither_the_time_nor_the_lane_keeps_the_place_in_line() {
    let far = Constraints::new().requires_charging();
    let delayed = |seconds: u64| work(1).delay(Duration::from_secs(seconds));
    let periodic = |seconds: u64| work(1).every(Duration::from_secs(seconds));
    let at = move |house: &House, seconds: u64| periodic(600).at(house.now + Duration::from_secs(seconds));
    // The work, what it is updated to, and whether it keeps its turn.
    type Changed = Box<dyn Fn(&House) -> NewWork>;
    let table: [(&str, NewWork, Changed, bool); 10] = [
        ("ready", work(1), Box::new(|_| work(1).tag("new").priority(3)), true),
        (
            "ready, in another lane",
            work(1),
            Box::new(move |_| work(1).spec(|spec| spec.constraints = far.clone())),
            false,
        ),
        ("ready, later", work(1), Box::new(move |_| delayed(60)), false),
        ("delayed", delayed(60), Box::new(move |_| delayed(60).tag("new")), true),
        ("delayed, sooner", delayed(60), Box::new(move |_| delayed(50)), false),
        ("delayed, in another lane", delayed(60), Box::new(move |_| delayed(60).worker("other")), false),
        ("periodic, due", periodic(600), Box::new(move |_| periodic(600)), true),
        ("periodic, due, of another period", periodic(600), Box::new(move |_| periodic(900)), true),
        ("periodic, due, and told to run now", periodic(600), Box::new(move |house| at(house, 0)), true),
        ("periodic, due, and told to run later", periodic(600), Box::new(move |house| at(house, 9)), false),
    ];
    for (what, before, changed, keeps) in table {
        let mut house = House::new();
        house.enqueue([work(7), before, work(8)]);
        let turn = house.record(1).turn;
        house.advance(Duration::from_secs(1));
        for _ in 0..2 {
            let changed = changed(&house);
            house.update(changed);
        }
        assert_eq!(house.record(1).turn == turn, keeps, "{what}");
    }
}

#[test]
fn upd_2_a_backoff_of_the_same_length_keeps_the_place_in_line() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).priority(9), work(2)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, failure(Advice::ByPolicy));
    let turn = house.record(1).turn;
    house.update(work(1).priority(9).tag("new"));
    assert_eq!(house.record(1).turn, turn);
    house.update(work(1).priority(9).backoff(Backoff::exponential(MINUTE)));
    assert!(house.record(1).turn > turn, "it waits for another time");
}

/// One slot, a backlog that never ends, and a program that says at each start which periodic work it has.
#[test]
fn unq_10_a_program_that_says_update_at_every_start_runs_its_work_in_turn_as_with_keep() {
    let runs = |policy: UniquePolicy| {
        let mut house = House::new();
        let epoch = house.attach();
        house.enqueue((0..20).map(|number| work(100 + number)));
        let mut ran = Vec::new();
        for step in 0..120 {
            house.unique(work(1_000 + step).name("tick").every(MINUTE), policy);
            house.enqueue([work(200 + step)]);
            let claimed = house.claim(epoch, 1).remove(0);
            if claimed.spec.name.is_some() {
                ran.push(step);
            }
            house.advance(Duration::from_secs(5));
            house.settle(&claimed, success());
        }
        ran
    };
    let kept = runs(UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Keep));
    assert!(kept.len() >= 3, "{kept:?}");
    assert_eq!(runs(UPDATE), kept);
}
