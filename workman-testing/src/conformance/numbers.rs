//! C9 and C10: store time, and the numbers that a store hands out.

use std::collections::BTreeSet;
use std::time::Duration;

use workman_core::store::{Command, NewWork, NextScheduleTime, Reading, Unit};
use workman_core::{Constraints, Timestamp, WorkSelector};

use super::StoreFactory;
use super::bench::{Bench, Wishes, cancel, enqueue, failure, given_back, id, stale, success, work, works};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// As long as nobody sets the clock back, an exclusive store's time is the wall time of the unit, to the millisecond.
pub fn c09_store_time_is_the_wall_time_of_the_unit<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    if !bench.is_exclusive() {
        return;
    }
    let watch = bench.watch();
    for number in 1..=5 {
        bench.advance(Duration::from_millis(12_345));
        bench.enqueue([work(number)]);
        assert_eq!(bench.stored(id(number)).created, bench.wall(), "C9: store time is the wall time of the unit");
        assert_eq!(watch.commit().now, bench.wall(), "C9: a commit is announced with its store time");
    }
    // Units of one call may bring times of their own.
    let early = bench.unit(enqueue([work(10)]));
    bench.advance(HOUR);
    let late = bench.unit(enqueue([work(11)]));
    workman_core::seams::block_on(workman_core::store::Store::transact(
        &bench.store,
        vec![early.clone(), late.clone()],
    ))
    .expect("a sound call");
    assert_eq!(bench.stored(id(10)).created, early.at.wall, "C9: each unit is stamped for itself");
    assert_eq!(bench.stored(id(11)).created, late.at.wall, "C9: each unit is stamped for itself");
}

/// A wall clock that is set back stops nothing: store time goes on from where it was.
pub fn c09_store_time_never_runs_backwards<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let watch = bench.watch();
    bench.enqueue([work(1)]);
    let noon = bench.stored(id(1)).created;
    let mut last = noon;
    let early = bench.wall() - HOUR;
    for (number, wall) in [(2, Some(early)), (3, None), (4, Some(Timestamp::from_millis(0)))] {
        match wall {
            Some(wall) => bench.set_wall(wall),
            None => bench.advance(MINUTE),
        }
        bench.enqueue([work(number)]);
        let created = bench.stored(id(number)).created;
        assert!(created >= last, "C9: store time ran backwards, from {last} to {created}");
        last = created;
    }
    if bench.is_exclusive() {
        assert_eq!(last, noon + MINUTE, "C9: the clock that was set back goes on at its pace");
        bench.advance(HOUR);
        bench.enqueue([work(5)]);
        assert_eq!(bench.stored(id(5)).created, last + HOUR, "C9: the offset is added once");
    }
    let mut before = Timestamp::MIN;
    for _ in 1..=4 {
        let now = watch.commit().now;
        assert!(now >= before, "C9: commits are announced with store time");
        before = now;
    }
}

/// A wall clock that is set back while the store is closed changes nothing either.
pub fn c09_store_time_never_runs_backwards_across_openings<F: StoreFactory>(factory: &F) {
    let mut bench = Bench::open(factory);
    bench.enqueue([work(1)]);
    let before = bench.stored(id(1)).created;
    bench.set_wall(bench.wall() - HOUR);
    bench = bench.reopen();
    bench.enqueue([work(2)]);
    let after = bench.stored(id(2)).created;
    assert!(after >= before, "C9: store time ran backwards across openings, from {before} to {after}");
    bench = bench.die();
    bench.advance(MINUTE);
    bench.enqueue([work(3)]);
    let later = bench.stored(id(3)).created;
    assert!(later >= after, "C9: store time ran backwards across openings, from {after} to {later}");
    if bench.is_exclusive() {
        assert_eq!(
            later, after,
            "C9: an opening begins where store time was, as long as the wall clock is behind that"
        );
        bench.advance(MINUTE);
        bench.enqueue([work(4)]);
        assert_eq!(bench.stored(id(4)).created, later + MINUTE, "C9: and goes on at the pace of the clock");
    }
}

/// A machine boots with its clock a month early and is set right a minute later: that is no time that has passed.
pub fn c09_a_clock_that_is_set_right_after_the_opening_moves_nothing<F: StoreFactory>(factory: &F) {
    let mut bench = Bench::open(factory);
    if !bench.is_exclusive() {
        return;
    }
    bench.enqueue([work(1).delay(10 * MINUTE)]);
    let (begin, right) = (bench.stored(id(1)).created, bench.wall());
    for round in 0..3_u32 {
        bench = bench.die();
        bench.set_wall(right - 720 * HOUR);
        bench.enqueue([work(u128::from(10 + 2 * round))]);
        bench.advance(MINUTE);
        // It was off for no time at all, and a minute has passed since in each round.
        bench.set_wall(right + MINUTE * (round + 1));
        bench.enqueue([work(u128::from(11 + 2 * round))]);
        let created = bench.stored(id(u128::from(11 + 2 * round))).created;
        assert_eq!(created, begin + MINUTE * (round + 1), "C9: what the clock was behind was taken for time");
    }
    let epoch = bench.attach().0;
    let ready = bench.claim(epoch, 20);
    assert!(
        ready.iter().all(|claimed| claimed.record.id != id(1)),
        "C9: a delay got shorter by what a clock was behind"
    );
    bench.set_wall(bench.wall() + 7 * MINUTE);
    bench.enqueue([work(20)]);
    assert_eq!(bench.stored(id(20)).created, begin + 10 * MINUTE, "C9: what goes beyond that is believed");
    assert_eq!(bench.claim_one(epoch).record.id, id(1));
}

/// A work that is due by the wall clock is due by the clock as it stands, whatever was set in between.
pub fn c09_an_override_is_due_by_the_wall_clock_as_it_stands<F: StoreFactory>(factory: &F) {
    let mut bench = Bench::open(factory);
    if !bench.is_exclusive() {
        return;
    }
    let at = bench.wall() + HOUR;
    let wish = NewWork { next_schedule_time: NextScheduleTime::At(at), ..work(1).every(24 * HOUR) };
    bench.enqueue([wish, work(2).delay(HOUR)]);
    assert_eq!(bench.stored(id(1)).next_run, Some(at), "C9: it is shown as it was said");
    bench = bench.reopen();
    let (epoch, _) = bench.attach();
    // The clock is set back by half an hour.
    bench.set_wall(bench.wall() - 30 * MINUTE);
    bench.enqueue([work(3).delay(24 * HOUR)]);
    assert_eq!(bench.stored(id(1)).next_run, Some(at), "C9: a set clock changes nothing about what was said");
    bench.advance(HOUR);
    assert_eq!(bench.claim_one(epoch).record.id, id(2), "C9: a delay ends in store time");
    bench.advance(30 * MINUTE - Duration::from_millis(1));
    assert!(bench.claim(epoch, 5).is_empty(), "C9: an override came too early by the wall clock");
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.claim_one(epoch).record.id, id(1), "C9: an override is due by the wall clock as it stands");
    bench.check();
}

/// One reading at an end of the range, from either hand, leaves nothing behind.
pub fn c09_a_reading_that_can_not_be_true_leaves_nothing_behind<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    if !bench.is_exclusive() {
        return;
    }
    bench.enqueue([work(1)]);
    let begin = bench.stored(id(1)).created;
    let ends = [Timestamp::MIN, Timestamp::from_millis(-1), Timestamp::MAX];
    let walls = ends.map(|wall| Reading { wall, ..bench.clock() });
    let monotonic = Reading { monotonic: Duration::MAX, ..bench.clock() };
    for (number, at) in walls.into_iter().chain([monotonic]).enumerate() {
        let number = 10 + number as u128;
        let unit = Unit { command: enqueue([work(number)]), at };
        let done = workman_core::seams::block_on(workman_core::store::Store::transact(&bench.store, vec![unit]));
        assert!(done.is_ok_and(|results| results[0].is_ok()), "C9: {at:?} is no reason to fail");
        assert_eq!(bench.stored(id(number)).created, begin, "C9: {at:?} was believed");
    }
    let bench = bench.die();
    bench.advance(HOUR);
    bench.enqueue([work(2)]);
    assert_eq!(bench.stored(id(2)).created, begin + HOUR, "C9: a broken reading left something behind");
    bench.check();
}

/// Delays count in store time: nothing waits longer because the wall clock was set back.
pub fn c09_work_is_due_in_store_time<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    if !bench.is_exclusive() {
        return;
    }
    let (epoch, _) = bench.attach();
    bench.enqueue([work(1).delay(10 * MINUTE)]);
    let due = bench.stored(id(1)).next_run.expect("delayed work says when it is due");
    assert_eq!(due, bench.wall() + 10 * MINUTE, "C9: delays count from the store time of the unit");
    bench.set_wall(bench.wall() - HOUR);
    bench.enqueue([work(2).delay(HOUR)]);
    bench.advance(10 * MINUTE - Duration::from_millis(1));
    assert!(bench.claim(epoch, 5).is_empty(), "C9: work was claimed before it was due");
    bench.advance(Duration::from_millis(1));
    let claimed = bench.claim(epoch, 5);
    assert_eq!(claimed.len(), 1, "C9: work that is due exactly now can be claimed");
    assert_eq!(claimed[0].record.id, id(1), "C9: a clock that was set back makes nothing wait longer");
}

/// No two works get the same number, and later ones get greater ones, across openings too.
pub fn c10_sequence_numbers_are_handed_out_once_and_grow<F: StoreFactory>(factory: &F) {
    let mut bench = Bench::open(factory);
    let (mut seen, mut last, mut highest) = (BTreeSet::new(), None, 0);
    for round in 0..3_u128 {
        let first = bench.next_seq();
        assert!(last.is_none() || first > highest, "C10: a number after an acknowledged commit is greater than all");
        bench.enqueue(works(round * 10 + 1..=round * 10 + 10));
        let (epoch, _) = bench.attach();
        for claimed in bench.claim(epoch, 10) {
            let record = &claimed.record;
            assert!(seen.insert(record.seq), "C10: the number {} was handed out twice", record.seq);
            assert!(record.seq >= first, "C10: numbers grow");
            assert!(last.is_none_or(|last| record.seq > last), "C10: numbers grow in the order of an enqueue");
            last = Some(record.seq);
            highest = highest.max(record.seq);
            // It lines up anew, with a number from the same source.
            assert!(bench.settle(&claimed, failure("again")).is_ok());
        }
        for claimed in retried(&bench, epoch) {
            assert!(claimed.turn > highest, "C10: a new place in line is a new number");
            highest = highest.max(claimed.turn);
        }
        bench = if round == 0 { bench.reopen() } else { bench.die() };
        bench.done(Command::Rescue);
    }
    bench.check();
}

/// Lets the backoff of all failed works pass, claims them and ends them well.
fn retried<F: StoreFactory>(bench: &Bench<'_, F>, epoch: u64) -> Vec<workman_core::store::WorkRecord> {
    if !bench.is_exclusive() {
        return Vec::new();
    }
    bench.advance(MINUTE);
    let claimed = bench.claim(epoch, 10);
    assert_eq!(claimed.len(), 10, "C9: the backoff passes in store time");
    claimed.iter().for_each(|claimed| assert!(bench.settle(claimed, success("null")).is_ok()));
    claimed.into_iter().map(|claimed| claimed.record).collect()
}

/// On an exclusive store a refused unit leaves no gap, whatever it had planned before.
pub fn c10_refused_units_use_no_numbers<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue([work(1)]);
    let before = bench.next_seq();
    let refused = || enqueue([work(2), work(3).worker("other").after([77])]);
    let results = bench.transact([refused(), stale(1)]);
    assert!(results.iter().all(Result::is_err), "{results:?}");
    let results = bench.transact([refused(), enqueue([work(4)])]);
    assert!(results[1].is_ok(), "C4: {results:?}");
    assert!(bench.next_seq() > before, "C10: numbers grow");
    if bench.is_exclusive() {
        assert_eq!(bench.next_seq(), before + 1, "C10: a refused unit used a number");
    }
    let (_, lanes) = bench.attach();
    assert_eq!(lanes.len(), 1, "C10: a refused unit made a lane");
}

/// A lane stands for one pair of worker and constraints, and keeps its number for good.
pub fn c10_a_pair_of_worker_and_constraints_has_one_lane<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let charging = |number| work(number).spec(|spec| spec.constraints = Constraints::new().requires_charging());
    bench.transact([enqueue([work(1), charging(2), work(3).worker("other")]), enqueue([work(4), charging(5)])]);
    let (_, lanes) = bench.attach();
    let numbers: BTreeSet<_> = lanes.iter().map(|lane| lane.id).collect();
    assert_eq!((lanes.len(), numbers.len()), (3, 3), "C10: a pair has one lane: {lanes:?}");
    let bench = bench.reopen();
    bench.enqueue([work(6), charging(7), work(8).worker("third")]);
    let (_, after) = bench.attach();
    assert_eq!(after.len(), 4, "C10: a pair has one lane across openings: {after:?}");
    assert!(lanes.iter().all(|lane| after.contains(lane)), "C10: a lane keeps its number");
    bench.check();
}

/// No two managers share an epoch, not even managers of different openings.
pub fn c10_epochs_are_handed_out_once_across_openings<F: StoreFactory>(factory: &F) {
    let mut bench = Bench::open(factory);
    let mut epochs = Vec::new();
    for round in 0..4 {
        epochs.push(bench.attach().0);
        let second = bench.attach().0;
        epochs.push(second);
        let released = bench.done(Command::Detach { epoch: second });
        assert_eq!(given_back(&released), (0, false));
        bench = if round % 2 == 0 { bench.die() } else { bench.reopen() };
        bench.done(cancel(WorkSelector::All));
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "C10: epochs are handed out once and grow: {epochs:?}");
}
