//! The invariants notice what they are for.

use super::*;
use crate::record::{Finish, Wait};

/// A dump with works in every state: 1 succeeded, 2 running, 3 blocked on 2, 4 cancelled, 5 failed, 6 periodic.
fn sound() -> Dump {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).tag("t").name("n"), work(5), work(2), work(3).after([1, 2]), work(4), work(6).every(HOUR)]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    let claimed = house.run(epoch, 5);
    house.settle(&claimed, failure(Advice::Never));
    house.run(epoch, 2);
    house.cancel(WorkSelector::Id(id(4)));
    house.dump()
}

fn change(dump: &mut Dump, number: u128, change: impl FnOnce(&mut WorkRecord)) {
    let record = dump.records.get_mut(&id(number)).unwrap();
    dump.index.remove(&crate::index::standing_key(record));
    change(record);
    dump.index.insert(crate::index::standing_key(record));
}

fn key(dump: &Dump, is_it: impl Fn(&IndexKey) -> bool) -> IndexKey {
    dump.index.iter().find(|key| is_it(key)).unwrap().clone()
}

#[test]
fn a_sound_store_breaks_none() {
    assert_eq!(sound().broken_invariants(), Vec::<String>::new());
}

#[test]
fn every_fault_is_noticed() {
    type Break = fn(&mut Dump);
    let faults: [(&str, Break); 28] = [
        ("counts its works as Some(", |dump| {
            dump.tallies.values_mut().for_each(|tally| tally.running += 1);
        }),
        ("counts its works as None", |dump| dump.tallies.clear()),
        ("counts 2 finished works that nobody asked to keep, and has 3", |dump| dump.meta.finished = 2),
        ("the index lacks Running", |dump| {
            let key = key(dump, |key| matches!(key, IndexKey::Running { .. }));
            dump.index.remove(&key);
        }),
        ("the index lacks Tag", |dump| {
            let key = key(dump, |key| matches!(key, IndexKey::Tag { tag, .. } if &**tag == "t"));
            dump.index.remove(&key);
        }),
        ("the index lacks Name", |dump| {
            let key = key(dump, |key| matches!(key, IndexKey::Name { .. }));
            dump.index.remove(&key);
        }),
        ("the index lacks Leaf", |dump| {
            let key = key(dump, |key| matches!(key, IndexKey::Leaf { .. }));
            dump.index.remove(&key);
        }),
        ("counts Some(1) members of its name behind it, and has Some(0)", |dump| {
            change(dump, 1, |record| record.followers = Some(1));
        }),
        ("the index lacks Dependent", |dump| {
            let key = key(dump, |key| matches!(key, IndexKey::Dependent { .. }));
            dump.index.remove(&key);
        }),
        ("the index holds Ready", |dump| {
            let key = IndexKey::Ready { lane: LaneId(0), suspect: false, rank: 1, turn: 1, id: id(1) };
            dump.index.insert(key);
        }),
        ("the index holds Dependent", |dump| {
            dump.index.insert(IndexKey::Dependent { of: id(4), id: id(1) });
        }),
        ("has a spec and no record", |dump| drop(dump.records.remove(&id(4)))),
        ("has a record and no spec", |dump| drop(dump.specs.remove(&id(4)))),
        ("same birth number", |dump| {
            let seq = dump.records[&id(1)].seq;
            change(dump, 4, |record| record.seq = seq);
        }),
        ("not handed out yet", |dump| change(dump, 6, |record| record.turn = 1_000_000)),
        ("which does not exist", |dump| change(dump, 6, |record| record.lane = LaneId(77))),
        ("has a period and no schedule", |dump| change(dump, 6, |record| record.terms.schedule = Schedule::Once)),
        ("is periodic and succeeded", |dump| {
            let at = Timestamp::default();
            change(dump, 6, |record| record.standing = Standing::Finished { how: Finish::Succeeded, at });
        }),
        ("nobody can have claimed it", |dump| change(dump, 2, |record| record.fence = 0)),
        ("nobody can have claimed it", |dump| change(dump, 2, |record| record.started = None)),
        ("nobody can have claimed it", |dump| {
            change(dump, 2, |record| record.standing = Standing::Running { epoch: 99 });
        }),
        ("counts 2 open prerequisites, and has 1", |dump| change(dump, 3, |record| record.open = 2)),
        ("counts 1 open prerequisites, and has 0", |dump| {
            let at = Timestamp::default();
            change(dump, 2, |record| record.standing = Standing::Finished { how: Finish::Succeeded, at });
        }),
        ("counts 1 open prerequisites, and has 0", |dump| {
            // What is not older took the id of a prerequisite that was deleted.
            let seq = dump.records[&id(2)].seq;
            change(dump, 3, |record| record.seq = seq);
        }),
        ("a prerequisite has failed or was cancelled", |dump| {
            let at = Timestamp::default();
            change(dump, 2, |record| record.standing = Standing::Finished { how: Finish::Failed, at });
        }),
        ("but 1 prerequisites are open", |dump| {
            change(dump, 3, |record| {
                record.standing = Standing::Ready { since: Due::Store(Timestamp::default()), why: Wait::Delay }
            });
        }),
        ("is failed and has an output", |dump| change(dump, 5, |record| record.rows.output = true)),
        ("still has progress", |dump| change(dump, 1, |record| record.rows.notes = true)),
    ];
    for (message, fault) in faults {
        let mut dump = sound();
        fault(&mut dump);
        let wrong = dump.broken_invariants();
        assert!(wrong.iter().any(|wrong| wrong.contains(message)), "{message}: {wrong:?}");
    }
}

#[test]
fn rows_that_a_record_vouches_for_and_that_are_gone_are_an_error_and_no_loop() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    house.rows.remove(RowKey::Spec(id(1))).unwrap();
    let at = house.clock();
    let mut transaction = Transaction::begin(&house.rows, &mut house.opening).unwrap();
    let unit = Unit { command: Command::Update(Box::new(work(1))), at };
    let error = transaction.run_unit(&mut house.rows, &unit).unwrap_err();
    assert_eq!(error.kind(), crate::store::StoreErrorKind::Corrupted);
    // A claim goes on without that work.
    let unit = Unit { command: Command::Claim(house.claim_all(epoch, 1)), at };
    let mut transaction = Transaction::begin(&house.rows, &mut house.opening).unwrap();
    let claimed = transaction.run_unit(&mut house.rows, &unit).unwrap().unwrap();
    assert!(matches!(&claimed, Applied::Claimed { works, .. } if works.is_empty()), "{claimed:?}");
}
