//! What was answered is seen by whoever looks next, though redb is told of it late; and no failure takes it away again.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use redb::{Database, ReadableTable, TableDefinition};
use support::disk::{Disk, Fault};
use support::workload::{plain, sized};
use support::{Folder, at, block_on, dump, run};
use workman_core::store::{Cancel, Command, PageRequest, Store, Stride};
use workman_core::{StoreErrorKind, WorkId, WorkQuery, WorkSelector};
use workman_redb::RedbStore;

fn put(store: &RedbStore, numbers: std::ops::RangeInclusive<u128>) {
    for number in numbers {
        run(store, plain(WorkId::from_u128(number)), 1).unwrap().unwrap();
    }
}

/// How many works a query finds, and the commit that it shows.
fn seen(store: &RedbStore) -> (usize, u64) {
    let page = block_on(store.query(PageRequest { query: WorkQuery::all(), after: None, limit: usize::MAX })).unwrap();
    (page.works.len(), page.commit)
}

fn cancel(id: WorkId) -> Command {
    Command::Cancel(Cancel {
        selector: WorkSelector::Id(id),
        before: None,
        after: None,
        stride: Stride::Full,
        because: None,
    })
}

#[test]
fn every_way_to_look_shows_all_that_was_answered_before_it() {
    let folder = Folder::new("ways");
    for (number, builder) in
        [RedbStore::builder(folder.path().join("inline")).inline(), RedbStore::builder(folder.path().join("threads"))]
            .into_iter()
            .enumerate()
    {
        let store = builder.open().unwrap();
        put(&store, 1..=20);
        assert_eq!(seen(&store), (20, 20));
        put(&store, 21..=60);
        assert_eq!(dump(&store).records.len(), 60);
        put(&store, 61..=90);
        let copy = folder.path().join(format!("copy-{number}"));
        block_on(store.copy_to(&copy)).unwrap();
        assert_eq!(dump(&RedbStore::open(&copy).unwrap()).records.len(), 90);
        put(&store, 91..=110);
        assert!(block_on(store.verify_open()).unwrap().is_sound());
        assert_eq!(seen(&store).0, 110);
        put(&store, 111..=120);
        block_on(store.close());
    }
    for name in ["inline", "threads"] {
        assert_eq!(dump(&RedbStore::open(folder.path().join(name)).unwrap()).records.len(), 120, "{name}");
    }
}

#[test]
fn who_looks_beside_a_busy_writer_sees_what_was_answered_and_no_commit_twice_or_backwards() {
    const CALLS: u64 = 400;
    let folder = Folder::new("busy");
    let store = Arc::new(RedbStore::open(folder.store()).unwrap());
    let answered = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, answered) = (Arc::clone(&store), Arc::clone(&answered));
            thread::spawn(move || {
                let mut last = 0;
                while last < CALLS {
                    let before = answered.load(Ordering::SeqCst);
                    let (works, commit) = seen(&store);
                    assert_eq!(works as u64, commit, "each commit is one work");
                    assert!(commit >= before.max(last), "{commit}, and {before} was answered, {last} was seen");
                    last = commit;
                }
            })
        })
        .collect();
    for number in 1..=CALLS {
        put(&store, u128::from(number)..=u128::from(number));
        answered.store(number, Ordering::SeqCst);
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

/// A closed store with two works, of which the second can't be read.
fn spoiled(folder: &Folder) -> Disk {
    let store = RedbStore::open(folder.store()).unwrap();
    put(&store, 1..=2);
    drop(store);
    let table: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("work");
    let database = Database::open(folder.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut works = transaction.open_table(table).unwrap();
    let mut row = works.get(&2_u128.to_be_bytes()).unwrap().unwrap().value().to_vec();
    row[12] ^= 0x10;
    works.insert(&2_u128.to_be_bytes(), &row[..]).unwrap();
    drop(works);
    transaction.commit().unwrap();
    drop(database);
    Disk::of(fs::read(folder.store()).unwrap())
}

/// The works of a store in which the second can't be read.
fn readable(store: &RedbStore, numbers: std::ops::RangeInclusive<u128>) -> Vec<u128> {
    let page = |number| PageRequest { query: WorkQuery::id(WorkId::from_u128(number)), after: None, limit: 1 };
    let is_there = |number: &u128| block_on(store.query(page(*number))).is_ok_and(|page| !page.works.is_empty());
    numbers.filter(is_there).collect()
}

#[test]
fn a_call_that_fails_when_half_of_it_is_written_leaves_nothing_and_takes_no_commit_before_it_along() {
    let folder = Folder::new("half");
    let disk = spoiled(&folder);
    let store = disk.inline().open().unwrap();
    for round in 0..3_u128 {
        let first = 10 + 10 * round;
        put(&store, first..=first + 3);
        // So much that it does not wait in memory for the end of the call.
        let mut call: Vec<_> = (1_000..1_200).map(|number| at(sized(WorkId::from_u128(number), 10_000), 2)).collect();
        call.push(at(cancel(WorkId::from_u128(2)), 2));
        let error = block_on(store.transact(call)).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupted, "{error}");
        put(&store, first + 4..=first + 4);
        let killed = disk.after_kill().inline().open().unwrap();
        if round == 1 {
            // In the other rounds nobody looks, so that what comes back must come from the journal.
            assert_eq!(readable(&store, first..=first + 9).len(), 5);
        }
        assert_eq!(readable(&killed, first..=first + 9).len(), 5, "round {round}");
        assert!(readable(&killed, 1_000..=1_200).is_empty(), "round {round}");
    }
    assert_eq!(readable(&store, 1..=1_200).len(), 16);
}

#[test]
fn a_call_that_fails_before_it_wrote_anything_leaves_the_commits_before_it_as_they_are() {
    let folder = Folder::new("whole");
    let disk = spoiled(&folder);
    let store = disk.inline().open().unwrap();
    put(&store, 10..=13);
    for _ in 0..3 {
        let error = run(&store, cancel(WorkId::from_u128(2)), 2).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupted, "{error}");
    }
    assert_eq!(readable(&store, 1..=20), [1, 10, 11, 12, 13]);
}

#[test]
fn a_panic_or_an_error_of_the_disk_under_a_call_takes_no_commit_before_it_along() {
    for fault in [Fault::Panic, Fault::Error(std::io::ErrorKind::Other), Fault::DroppedPages] {
        for after in 0..2 {
            let disk = Disk::default();
            let store = disk.inline().open().unwrap();
            put(&store, 1..=9);
            disk.plan_fault(after, fault);
            let error = run(&store, plain(WorkId::from_u128(10)), 1).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Indeterminate, "{error}");
            let works = seen(&store).0;
            assert!(matches!(works, 9 | 10), "{works} works, {fault:?} at operation {after}");
            put(&store, 11..=15);
            let killed = disk.after_kill().inline().open().unwrap();
            assert_eq!((seen(&store).0, seen(&killed).0), (works + 5, works + 5), "{fault:?} at operation {after}");
        }
    }
}

#[test]
fn a_process_that_is_killed_between_two_calls_leaves_every_commit_wherever_the_last_checkpoint_was() {
    let disk = Disk::default();
    let store = disk.inline().open().unwrap();
    for number in 1..=300_u128 {
        put(&store, number..=number);
        if number % 7 == 0 {
            assert_eq!(seen(&disk.after_kill().inline().open().unwrap()), (number as usize, number as u64));
        }
    }
}
