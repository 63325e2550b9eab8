//! C1 to C8: what a commit is, and what an error says about it.

use std::sync::Barrier;
use std::task::{Context, Waker};
use std::thread;

use workman_core::store::{Applied, Ownership, Store, UniquePolicy};
use workman_core::{Enqueued, ExistingWorkPolicy, StoreErrorKind, WorkQuery, WorkSelector, WorkState};

use super::bench::{
    Bench, Wishes, assert_stale, cancel, claim, enqueue, enqueue_unique, enqueued, failure, id, settle, stale, success,
    work, works,
};
use super::{FaultInjected, StoreFactory};

/// One call is announced as one commit that touches what all its units touched.
pub fn c01_a_call_is_one_commit<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let watch = bench.watch();
    let before = bench.commit();
    bench.transact([enqueue([work(1)]), enqueue([work(2)]), enqueue(works(3..=5))]);
    let seen = watch.commit();
    assert_eq!(seen.touched, (1..=5).map(id).collect::<Vec<_>>(), "C1: all units of a call are one commit");
    if bench.is_exclusive() {
        assert_eq!(bench.commit(), before + 1, "C1: one call is one commit");
    }
    assert_eq!(bench.all().len(), 5, "C1: what all units wrote is visible");
    bench.check();
}

/// While pairs of works are written, every reader finds an even number of works.
pub fn c01_a_reader_never_sees_half_a_call<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            start.wait();
            for pair in 0..100 {
                bench.transact([enqueue([work(2 * pair + 1)]), enqueue([work(2 * pair + 2)])]);
            }
        });
        start.wait();
        let mut last = 0;
        while !writer.is_finished() {
            let count = bench.all().len();
            assert_eq!(count % 2, 0, "C1: a query shows half a call");
            assert!(count >= last, "C16: a query shows less than the one before it");
            last = count;
        }
    });
    assert_eq!(bench.all().len(), 200, "C1: what was acknowledged is visible");
}

/// What `transact` acknowledged is there when the process dies right after it.
pub fn c02_acknowledged_work_survives_the_death_of_the_process<F: StoreFactory>(factory: &F) {
    let mut bench = Bench::open(factory);
    for round in 1..=5 {
        bench.enqueue([work(round)]);
        bench = bench.die();
        let ids: Vec<_> = (1..=round).map(id).collect();
        assert_eq!(bench.find_ids(WorkQuery::all()), ids, "C2: an acknowledged commit is lost");
    }
    bench.check();
}

/// A later unit acts on what an earlier one of the same call wrote.
pub fn c03_units_run_in_order_and_see_each_other<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let results = bench.transact([
        enqueue([work(1)]),
        enqueue([work(2).after([1])]),
        cancel(WorkSelector::Id(id(1))),
        enqueue([work(3).after([2])]),
        enqueue([work(4)]),
    ]);
    assert!(results.iter().all(Result::is_ok), "C3: a unit does not see those before it: {results:?}");
    assert!(
        matches!(results[2], Ok(Applied::Cancelled { count: 2, .. })),
        "C3: the cancellation does not see both works: {:?}",
        results[2]
    );
    let states: Vec<_> = (1..=4).map(|number| bench.state(id(number))).collect();
    use WorkState::{Cancelled, Enqueued};
    assert_eq!(states, [Cancelled, Cancelled, Cancelled, Enqueued], "C3: units run in the order of the call");
    bench.check();
}

/// A call sees what was acknowledged before it began.
pub fn c03_a_call_sees_every_commit_acknowledged_before<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue([work(1)]);
    for number in 2..=50 {
        let result = bench.send(enqueue([work(number).after([number - 1])]));
        assert!(result.is_ok(), "C3: a call does not see the commit before it: {result:?}");
    }
    let cancelled = bench.done(cancel(WorkSelector::Id(id(1))));
    assert!(matches!(cancelled, Applied::Cancelled { count: 50, .. }), "C3: a call sees every commit: {cancelled:?}");
    bench.check();
}

/// The units beside a refused one happen.
pub fn c04_a_refusal_touches_its_own_unit_only<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let results = bench.transact([stale(9), enqueue([work(1)]), stale(1), enqueue([work(2)]), stale(2)]);
    for place in [0, 2, 4] {
        assert_stale(&results[place], "C4");
    }
    for place in [1, 3] {
        assert!(results[place].is_ok(), "C4: the unit beside a refused one happens: {:?}", results[place]);
    }
    assert_eq!(bench.find_ids(WorkQuery::all()), [id(1), id(2)], "C4: the units beside refused ones are written");
    bench.check();
}

/// A unit that is refused after it planned half of its work has written none of it.
pub fn c04_a_refused_unit_leaves_no_trace<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let half = [work(1).tags(["half"]), work(2).tags(["half"]).after([77])];
    let results = bench.transact([enqueue(half), enqueue([work(3)])]);
    assert!(results[0].is_err(), "C4: a missing prerequisite is refused");
    assert_eq!(bench.find_ids(WorkQuery::all()), [id(3)], "C4: a refused unit left something behind");
    assert!(bench.find_ids(WorkQuery::tag("half")).is_empty(), "C4: a refused unit left an index entry behind");
    bench.check();
}

/// After an error the store is as the error says: all or nothing, and nothing if it was rejected.
pub fn c05_a_failed_commit_says_what_became_of_it<F: StoreFactory>(factory: &F) {
    let mut bench = Bench::open(factory);
    bench.enqueue([work(1)]);
    if factory.fail_next_commit(&bench.store) == FaultInjected::No {
        return;
    }
    let units = || [enqueue([work(2)]), enqueue([work(3)]), cancel(WorkSelector::Id(id(1)))];
    let error = bench.try_transact(units()).expect_err("the factory said that this commit fails");
    bench = bench.die();
    let there = bench.find_ids(WorkQuery::all());
    let (nothing, all) = (vec![id(1)], vec![id(1), id(2), id(3)]);
    match error.kind() {
        StoreErrorKind::Indeterminate => {
            assert!(there == nothing || there == all, "C5: a failed commit is written in part: {there:?}");
        }
        kind => assert_eq!(there, nothing, "C5: after {kind:?} nothing was written"),
    }
    let cancelled = bench.state(id(1)) == WorkState::Cancelled;
    assert_eq!(cancelled, there == all, "C5: a failed commit is written in part");
    bench.transact(units());
    assert_eq!(bench.find_ids(WorkQuery::all()), all, "C5: sending the same units again completes them");
    bench.check();
}

/// The same units sent again give the same works: each once, with the same answers.
pub fn c05_units_may_be_sent_again<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let units = || {
        let named = work(3).name("name");
        [enqueue(works(1..=2)), enqueue_unique(named, UniquePolicy::OneTime(ExistingWorkPolicy::Replace))]
    };
    bench.transact(units());
    let before = bench.all();
    let again = bench.transact(units());
    assert!(again.iter().all(|result| *enqueued(result) == Enqueued::Inserted), "C5: {again:?}");
    assert_eq!(bench.all(), before, "C5: units that are sent again change nothing");
    bench.check();
}

/// Calls without a write have no number, and no subscriber hears of them.
pub fn c06_a_call_that_writes_nothing_is_no_commit<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    bench.enqueue([work(1)]);
    let taken = bench.claim_one(epoch);
    let lanes = bench.attached_lanes(epoch);
    let watch = bench.watch();
    let before = bench.commit();
    bench.transact([]);
    bench.transact([stale(1), stale(2)]);
    bench.transact([enqueue([work(1)]), cancel(WorkSelector::Id(id(99))), claim(epoch, &lanes, 5)]);
    assert_eq!(bench.commit(), before, "C6: a call that writes nothing is no commit");
    bench.enqueue([work(2)]);
    let first = watch.commit();
    assert_eq!(first.touched, [id(2)], "C6: a call that writes nothing is not announced");
    assert!(first.commit > before, "C17: numbers grow");
    assert!(bench.settle(&taken, success("null")).is_ok());
}

/// A future that is dropped after its first poll has handed its units over.
pub fn c07_a_dropped_call_still_happens<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let mut cx = Context::from_waker(Waker::noop());
    for number in 1..=20 {
        let mut call = bench.store.transact(vec![bench.unit(enqueue([work(number)]))]);
        let _ = call.as_mut().poll(&mut cx);
        drop(call);
    }
    // Commits of a shared store may overtake each other, so the dropped ones get some time, measured in other commits.
    let arrived = (1..=1_000).any(|round| {
        bench.enqueue([work(1_000 + round)]);
        (1..=20).all(|number| bench.info(id(number)).is_some())
    });
    assert!(arrived, "C7: a call whose future was dropped after its first poll was withdrawn");
    bench.check();
}

const THREADS: u128 = 8;
const ROUNDS: u128 = 25;

/// Runs the same on several threads, which begin together.
fn at_once(run: impl Fn(u128) + Sync) {
    let start = Barrier::new(usize::try_from(THREADS).expect("a few threads"));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, run) = (&start, &run);
            scope.spawn(move || {
                start.wait();
                run(thread);
            });
        }
    });
}

/// Every call of every thread is there afterwards, each announced once.
pub fn c08_calls_from_many_threads_lose_nothing<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let watch = bench.watch();
    at_once(|thread| {
        for round in 0..ROUNDS {
            bench.enqueue([work(thread * 1_000 + round + 1)]);
        }
    });
    let mut expected: Vec<_> =
        (0..THREADS).flat_map(|thread| (0..ROUNDS).map(move |round| id(thread * 1_000 + round + 1))).collect();
    expected.sort_unstable();
    assert_eq!(bench.find_ids(WorkQuery::all()), expected, "C8: calls from many threads were lost");
    let (mut announced, mut last) = (Vec::new(), 0);
    while announced.len() < expected.len() {
        let commit = watch.commit();
        assert!(commit.commit > last, "C8: commits have one order, and their numbers grow");
        last = commit.commit;
        announced.extend(commit.touched);
    }
    announced.sort_unstable();
    assert_eq!(announced, expected, "C8: each call is announced once");
    bench.check();
}

/// Managers that claim at the same time share the works, and each work runs once.
pub fn c08_a_work_is_claimed_by_one_thread_only<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue(works(1..=100));
    let (_, lanes) = bench.attach();
    at_once(|_| {
        let (epoch, _) = bench.attach();
        loop {
            let (works, again) = bench.claim_in(epoch, &lanes, 3);
            for claimed in &works {
                assert_eq!(claimed.record.fence, 1, "C8: a work was claimed twice");
                let settled = bench.settle(claimed, success("null"));
                assert!(settled.is_ok(), "C8: a claim was taken away: {settled:?}");
            }
            if works.is_empty() && !again {
                return;
            }
        }
    });
    // What a shared store held back from everybody while it was being looked at is still there.
    let (epoch, _) = bench.attach();
    for claimed in bench.claim(epoch, 100) {
        assert!(bench.settle(&claimed, success("null")).is_ok());
    }
    assert_eq!(bench.find_ids(WorkQuery::in_state(WorkState::Succeeded)).len(), 100, "C8: a work was lost");
    bench.check();
}

/// Of many threads that want a unique name at once, one gets it.
pub fn c08_a_unique_name_has_one_holder<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    at_once(|thread| {
        for round in 0..ROUNDS {
            let policy = match thread % 2 {
                0 => ExistingWorkPolicy::Keep,
                _ => ExistingWorkPolicy::Replace,
            };
            let named = work(thread * 1_000 + round + 1).name("name");
            let result = bench.send(enqueue_unique(named, UniquePolicy::OneTime(policy)));
            assert!(result.is_ok(), "C8: {result:?}");
        }
    });
    let holders = bench.find(WorkQuery::unique("name"));
    assert_eq!(holders.len(), 1, "C8: a plan decided by what was no longer so when it was committed");
    bench.check();
}

/// However the ends of prerequisites race, what waits for them is released once, by the last of them.
pub fn c08_prerequisites_that_finish_at_once_release_once<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let mut chain = works(1..=THREADS);
    chain.push(work(100).after(1..=THREADS));
    bench.enqueue(chain);
    let (epoch, _) = bench.attach();
    let claimed = bench.claim(epoch, 100);
    assert_eq!(claimed.len(), usize::try_from(THREADS).expect("a few"), "C8: what waits is not claimed");
    at_once(|thread| {
        let mine = claimed.iter().find(|claimed| claimed.record.id == id(thread + 1)).expect("each was claimed");
        let result = bench.settle(mine, success("null"));
        assert!(result.is_ok(), "C8: {result:?}");
    });
    let released = bench.stored(id(100));
    assert_eq!((released.state, released.open_prerequisites), (WorkState::Enqueued, 0), "C8: it is released once");
    let last = bench.claim_one(epoch);
    assert_eq!(last.record.id, id(100));
    let results = bench.transact([settle(&last, failure("no")), settle(&last, success("null"))]);
    assert!(results[0].is_ok() && results[1].is_err(), "C3: the second settle sees the first: {results:?}");
    assert!(bench.store.ownership() == Ownership::Shared || bench.state(id(100)) == WorkState::Enqueued);
    bench.check();
}
