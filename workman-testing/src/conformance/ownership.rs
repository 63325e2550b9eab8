//! C18 to C20: who may use a store, and what is left when it is closed.

use futures::StreamExt;
use workman_core::seams::block_on;
use workman_core::store::{Command, Ownership, PageRequest, Store};
use workman_core::{Refusal, WorkQuery, WorkSelector, WorkState};

use super::StoreFactory;
use super::bench::{Bench, Watch, Wishes, cancel, claim, enqueue, failure, given_back, id, success, work, works};

/// A second opening of an exclusive store is refused and harms nothing; one of a shared store shows the same works.
pub fn c18_a_second_opening_is_refused_or_shares<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue([work(1)]);
    match (bench.store.ownership(), factory.open_beside(&bench.store)) {
        (Ownership::Exclusive, second) => assert!(second.is_none(), "C18: an exclusive store was opened twice"),
        (Ownership::Shared, None) => {}
        (Ownership::Shared, Some(second)) => {
            let request = PageRequest { query: WorkQuery::all(), after: None, limit: 10 };
            let page = block_on(second.query(request)).expect("C18: a second opening of a shared store works");
            assert_eq!(page.works.len(), 1, "C18: a shared store shows the same works to all");
            block_on(second.close());
        }
    }
    bench.enqueue([work(2)]);
    assert_eq!(bench.find_ids(WorkQuery::all()), [id(1), id(2)], "C18: a second opening harmed the first");
    let bench = bench.reopen();
    assert_eq!(bench.find_ids(WorkQuery::all()), [id(1), id(2)], "C18: a second opening harmed the store");
    bench.check();
}

/// After an opening that died, its manager may claim nothing, and all that it held is given back, exactly.
pub fn c18_claims_of_an_earlier_opening_are_dead<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    if !bench.is_exclusive() {
        return;
    }
    bench.enqueue(works(1..=4));
    let (old, lanes) = bench.attach();
    let held = bench.claim(old, 2);
    assert_eq!(held.len(), 2);
    let bench = bench.die();
    let refused = bench.send(claim(old, &lanes, 5));
    assert_eq!(refused, Err(Refusal::EpochClosed(old)), "C18: the manager of an earlier opening is gone");
    let (new, _) = bench.attach();
    let released = bench.done(Command::Rescue);
    assert_eq!(given_back(&released), (2, false), "C18: claims of earlier openings are dead");
    for claimed in &held {
        assert_eq!(bench.stored(claimed.record.id).deaths, 1, "C18: it was a death");
        assert_eq!(
            bench.settle(claimed, success("null")).map(drop),
            Err(Refusal::Stale(claimed.record.id)),
            "C18: what was given back can't be settled by the run before"
        );
    }
    let again = bench.done(Command::Rescue);
    assert_eq!(given_back(&again), (0, false), "C18: a claim dies once");
    assert_eq!(bench.claim(new, 10).len(), 4, "C18: what was given back can be claimed");
    let alive = bench.done(Command::Rescue);
    assert_eq!(given_back(&alive), (0, false), "C18: claims of this opening are alive");
    bench.check();
}

/// Works in all six states, with what their workers said, are the same after the store was closed and opened again.
pub fn c19_what_was_acknowledged_is_there_after_close_and_open<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    bench.enqueue([work(1).tags(["a"]), work(2).name("n"), work(3), work(4).after([3]), work(5).priority(-9)]);
    let claimed = bench.claim(epoch, 3);
    assert_eq!(claimed.len(), 3);
    assert!(bench.settle(&claimed[0], success("{\"a\":1}")).is_ok());
    assert!(bench.settle(&claimed[1], failure("no luck")).is_ok());
    bench.enqueue([work(6), work(7).after([6])]);
    bench.done(cancel(WorkSelector::Id(id(6))));
    let before = bench.all();
    assert_eq!(before.len(), 7);
    let bench = bench.reopen();
    assert_eq!(bench.all(), before, "C19: works changed while the store was closed");
    let bench = bench.die();
    assert_eq!(bench.all(), before, "C19: works changed while the process died");
    assert_eq!(bench.find_ids(WorkQuery::tag("a")), [id(1)], "C19: indexes are there again");
    assert_eq!(bench.find_ids(WorkQuery::unique("n")), [id(2)], "C19: indexes are there again");
    assert_eq!(bench.find_ids(WorkQuery::in_state(WorkState::Running)), [id(3)], "C19: indexes are there again");
    bench.check();
}

/// After `close` every call is answered with `Closed`, and nothing is written.
pub fn c20_a_closed_store_answers_closed_and_writes_nothing<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue([work(1)]);
    block_on(bench.store.close());
    block_on(bench.store.close());
    let error = bench.try_transact([enqueue([work(2)])]).expect_err("C20: a closed store took a unit");
    assert!(error.is_closed(), "C20: a closed store says so, not {error}");
    let error = bench.try_transact([]).expect_err("C20: a closed store took a call");
    assert!(error.is_closed(), "C20: a closed store says so, not {error}");
    let request = PageRequest { query: WorkQuery::all(), after: None, limit: 10 };
    let error = block_on(bench.store.query(request)).expect_err("C20: a closed store answered a query");
    assert!(error.is_closed(), "C20: a closed store says so, not {error}");
    let bench = bench.reopen();
    assert_eq!(bench.find_ids(WorkQuery::all()), [id(1)], "C20: a closed store wrote something");
    bench.check();
}

/// Streams hand over what was announced and then end, also those that were asked for too late.
pub fn c20_change_streams_end_with_the_store<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (early, unread) = (bench.watch(), bench.store.changes());
    bench.enqueue([work(1)]);
    block_on(bench.store.close());
    let late = bench.watch();
    assert_eq!(early.commit().touched, [id(1)], "C20: what was announced before the end is read");
    assert!(early.next().is_none(), "C20: a change stream ends with its store");
    assert!(late.next().is_none(), "C20: a change stream of a closed store ends");
    let unread = Watch::over(unread.boxed());
    assert_eq!(unread.commit().touched, [id(1)], "C20: what was announced before the end is read");
    assert!(unread.next().is_none(), "C20: a change stream ends with its store");
}
