//! Calls that wait together share a commit; a call that is dropped happens all the same; a bad row harms nobody else.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use redb::{Database, ReadableTable, TableDefinition};
use support::disk::{Disk, Survivors};
use support::workload::plain;
use support::{Folder, Hands, Random, at, block_on, dump, run};
use workman_core::store::{Cancel, Change, Command, PageRequest, Store, Stride};
use workman_core::{Cancelling, StoreErrorKind, WorkId, WorkManager, WorkQuery, WorkSelector, WorkState};
use workman_redb::{Durability, RedbStore};

#[test]
fn c8_calls_from_many_threads_share_commits_and_lose_nothing() {
    const THREADS: u128 = 40;
    const CALLS: u128 = 25;
    let folder = Folder::new("group");
    let store = Arc::new(RedbStore::open(folder.store()).unwrap());
    let changes = store.changes();
    let callers: Vec<_> = (0..THREADS)
        .map(|caller| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let calls = (0..CALLS).map(|n| WorkId::from_u128(1 + caller * CALLS + n));
                let calls = calls.map(|id| store.transact(vec![at(plain(id), 1)]));
                for answer in block_on(futures::future::join_all(calls)) {
                    assert!(answer.unwrap()[0].is_ok());
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    assert_eq!(dump(&store).records.len() as u128, THREADS * CALLS);
    block_on(store.close());
    let changes: Vec<Change> = block_on(changes.collect());
    let mut touched = 0;
    for (number, change) in changes.iter().enumerate() {
        let Change::Commit { commit, touched: ids, .. } = change else { panic!("{change:?}") };
        assert_eq!(*commit, number as u64 + 1);
        touched += ids.len() as u128;
    }
    assert_eq!(touched, THREADS * CALLS);
    assert!(changes.len() as u128 * 4 < THREADS * CALLS, "{} commits for {} calls", changes.len(), THREADS * CALLS);
}

#[test]
fn c6_a_call_that_writes_nothing_costs_no_sync_and_announces_nothing() {
    let disk = Disk::default();
    let store = disk.inline().open().unwrap();
    let mut changes = store.changes();
    let before = disk.ops();
    assert!(run(&store, Command::Retry(WorkId::from_u128(1)), 1).unwrap().is_err());
    assert!(block_on(store.transact(Vec::new())).unwrap().is_empty());
    assert_eq!(disk.ops(), before);
    assert!(changes.next().now_or_never().is_none());
}

/// What costs more are checkpoints, and that redb syncs a file which it makes longer before anything points behind the old end; it
/// doubles it each time, and a new file is small. No option of redb changes where it begins.
#[test]
fn a_lone_call_costs_one_sync_a_relaxed_one_none_and_a_checkpoint_or_a_doubled_file_a_few_more() {
    for (durability, syncs) in [(Durability::Synced, 1), (Durability::RELAXED, 0)] {
        let disk = Disk::default();
        let builder = disk.inline().durability(durability);
        let store = builder.clock(Arc::new(Hands::default())).open().unwrap();
        let mut dear = 0;
        for number in 1..=500_u128 {
            let (before, length) = (disk.syncs(), disk.bytes().len());
            run(&store, plain(WorkId::from_u128(number)), 1).unwrap().unwrap();
            let (cost, is_longer) = (disk.syncs() - before, disk.bytes().len() > length);
            match cost - syncs.min(cost) {
                0 => assert_eq!(cost, syncs, "{durability:?}, call {number}"),
                more => {
                    dear += 1;
                    assert!(more <= 3, "{durability:?}, call {number}: {cost} syncs, longer: {is_longer}");
                }
            }
        }
        // A journal of 64 KiB takes some hundred and more of these.
        assert!((3..=16).contains(&dear), "{durability:?}: {dear} of 500 calls");
        drop(store);
        let store = disk.inline().open().unwrap();
        assert_eq!(dump(&store).records.len(), 500, "{durability:?}");
    }
}

#[test]
fn c7_a_call_whose_future_is_dropped_after_its_first_poll_happens() {
    let folder = Folder::new("dropped");
    let store = RedbStore::open(folder.store()).unwrap();
    let mut call = store.transact(vec![at(plain(WorkId::from_u128(1)), 1)]);
    let _ = call.poll_unpin(&mut Context::from_waker(Waker::noop()));
    drop(call);
    run(&store, Command::Attach, 2).unwrap().unwrap();
    assert_eq!(dump(&store).records.len(), 1);
}

#[test]
fn c16_a_query_sees_every_commit_that_was_acknowledged_before_it() {
    let folder = Folder::new("query");
    let store = RedbStore::open(folder.store()).unwrap();
    for number in 1..=30_u128 {
        run(&store, plain(WorkId::from_u128(number)), 1).unwrap().unwrap();
        let page = PageRequest { query: WorkQuery::all(), after: None, limit: 100 };
        let page = block_on(store.query(page)).unwrap();
        assert_eq!((page.works.len() as u128, u128::from(page.commit)), (number, number));
    }
}

/// Spoils the record of this work, from outside.
fn spoil(folder: &Folder, id: WorkId) {
    let table: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("work");
    let database = Database::open(folder.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    let key = id.as_u128().to_be_bytes();
    let mut works = transaction.open_table(table).unwrap();
    let mut row = works.get(&key).unwrap().unwrap().value().to_vec();
    row[12] ^= 0x10;
    works.insert(&key, &row[..]).unwrap();
    drop(works);
    transaction.commit().unwrap();
}

#[test]
fn a_damaged_row_harms_only_the_calls_that_need_it() {
    let folder = Folder::new("spoiled");
    let (good, bad) = (WorkId::from_u128(1), WorkId::from_u128(2));
    let store = RedbStore::open(folder.store()).unwrap();
    for id in [good, bad] {
        run(&store, plain(id), 1).unwrap().unwrap();
    }
    drop(store);
    spoil(&folder, bad);
    let store = RedbStore::open(folder.store()).unwrap();
    let cancel = |id| {
        let cancel =
            Cancel { selector: WorkSelector::Id(id), before: None, after: None, stride: Stride::Full, because: None };
        store.transact(vec![at(Command::Cancel(cancel), 2)])
    };
    let others = (10..40_u128).map(|id| store.transact(vec![at(plain(WorkId::from_u128(id)), 3)]));
    let others = futures::future::join_all(others);
    let (bad_answer, good_answer, others) = block_on(futures::future::join3(cancel(bad), cancel(good), others));
    let error = bad_answer.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupted);
    let message = error.to_string();
    for part in ["`work`", &bad.to_string(), &folder.store().display().to_string(), "checksum"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert!(good_answer.unwrap()[0].is_ok());
    assert!(others.into_iter().all(|answer| answer.unwrap()[0].is_ok()));
}

/// Takes away, from outside, what has changed of this work since its birth.
fn hide_changes(folder: &Folder, id: WorkId) {
    let table: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("state");
    let database = Database::open(folder.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    let removed = transaction.open_table(table).unwrap().remove(&id.as_u128().to_be_bytes()).unwrap().is_some();
    assert!(removed, "nothing had changed");
    transaction.commit().unwrap();
}

#[test]
fn c15_a_work_whose_changes_are_gone_is_an_error_and_does_not_look_newborn() {
    let folder = Folder::new("hidden");
    let (good, bad) = (WorkId::from_u128(1), WorkId::from_u128(2));
    let store = RedbStore::open(folder.store()).unwrap();
    for id in [good, bad] {
        run(&store, plain(id), 1).unwrap().unwrap();
    }
    let cancel =
        Cancel { selector: WorkSelector::Id(bad), before: None, after: None, stride: Stride::Full, because: None };
    run(&store, Command::Cancel(cancel), 2).unwrap().unwrap();
    drop(store);
    hide_changes(&folder, bad);
    let store = RedbStore::open(folder.store()).unwrap();
    let query = |query| block_on(store.query(PageRequest { query, after: None, limit: 10 }));
    for asked in [WorkQuery::id(bad), WorkQuery::all(), WorkQuery::in_state(WorkState::Cancelled)] {
        let error = query(asked).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupted);
        let message = error.to_string();
        for part in [&bad.to_string(), "the index does not list it there"] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
    assert_eq!(query(WorkQuery::id(good)).unwrap().works[0].state, WorkState::Enqueued);
}

#[test]
fn a_store_on_a_disk_that_is_away_answers_and_comes_back() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (disk, away) = (Disk::default(), Arc::new(AtomicBool::new(false)));
    let (handle, gone) = (disk.clone(), Arc::clone(&away));
    let open = move |file| {
        if gone.load(Ordering::SeqCst) { Err(std::io::ErrorKind::NotFound.into()) } else { Ok(handle.file(file)) }
    };
    let clock = Arc::new(Hands::default());
    let store = RedbStore::builder_on(open).clock(Arc::clone(&clock) as _).open().unwrap();
    run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
    away.store(true, Ordering::SeqCst);
    disk.plan_fault(0, support::disk::Fault::Error(std::io::ErrorKind::Other));
    run(&store, plain(WorkId::from_u128(2)), 1).unwrap_err();
    for _ in 0..3 {
        assert_eq!(run(&store, plain(WorkId::from_u128(2)), 1).unwrap_err().kind(), StoreErrorKind::Rejected);
    }
    away.store(false, Ordering::SeqCst);
    let error = run(&store, plain(WorkId::from_u128(2)), 1).unwrap_err();
    assert!(error.to_string().contains("next try"), "{error}");
    clock.advance(Duration::from_secs(10));
    run(&store, plain(WorkId::from_u128(2)), 1).unwrap().unwrap();
    assert_eq!(dump(&store).records.len(), 2);
}

#[test]
fn a_relaxed_store_syncs_within_its_time_without_being_asked() {
    let (disk, clock) = (Disk::default(), Arc::new(Hands::default()));
    let builder = disk.builder().durability(Durability::RELAXED);
    let store = builder.clock(Arc::clone(&clock) as _).open().unwrap();
    let mut growing = 0;
    for number in 1..=2 {
        let (before, length) = (disk.syncs(), disk.bytes().len());
        run(&store, plain(WorkId::from_u128(number)), 1).unwrap().unwrap();
        assert_eq!(disk.syncs() - before, u64::from(disk.bytes().len() > length));
        growing += disk.syncs() - before;
    }
    assert!(growing < 2, "a small file is doubled once at the most");
    let synced = disk.next_sync();
    // No call asks for it. The writer may not sleep yet when the clock moves, so it is moved until the disk tells.
    let told = (0..10_000).any(|_| {
        clock.advance(Duration::from_secs(1));
        synced.recv_timeout(Duration::from_millis(20)).is_ok()
    });
    assert!(told);
    block_on(store.close());
    let left = disk.after_power_loss(Survivors::Nothing, &mut Random::new(1));
    let store = left.inline().open().unwrap();
    assert_eq!(dump(&store).records.len(), 2);
}

#[test]
fn s21_another_store_in_the_place_of_the_open_one_is_not_taken_for_it() {
    let (mine, other) = (Disk::default(), Disk::default());
    for disk in [&mine, &other] {
        drop(disk.inline().open().unwrap());
    }
    let current = Arc::new(std::sync::Mutex::new(mine.clone()));
    let shown = Arc::clone(&current);
    let store = RedbStore::builder_on(move |file| Ok(shown.lock().unwrap().file(file))).inline().open().unwrap();
    *current.lock().unwrap() = other.clone();
    let before = other.bytes();
    mine.plan_fault(0, support::disk::Fault::Error(std::io::ErrorKind::Other));
    run(&store, plain(WorkId::from_u128(1)), 1).unwrap_err();
    let error = run(&store, plain(WorkId::from_u128(1)), 1).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Rejected);
    drop(store);
    let dump = dump(&other.inline().open().unwrap());
    assert_eq!((dump.records.len(), before.is_empty()), (0, false));
}

/// What was sent happens whole, and nothing of what was not.
#[test]
fn a_selection_whose_caller_goes_away_has_done_whole_commits_and_the_next_call_does_the_rest() {
    const WORKS: u128 = 2_500;
    let folder = Folder::new("selection");
    let store = Arc::new(RedbStore::open(folder.store()).unwrap());
    let works = (1..=WORKS).map(|number| at(plain(WorkId::from_u128(number)), 1)).collect();
    assert!(block_on(store.transact(works)).unwrap().iter().all(Result::is_ok));
    let manager = WorkManager::builder(Arc::clone(&store)).enqueue_only().start().unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let tell = Arc::clone(&told);
    let wish = Cancelling::of(WorkQuery::all()).on_progress(move |done| tell.store(done, Ordering::SeqCst));
    let mut cancelling = Box::pin(manager.cancel(wish));
    while told.load(Ordering::SeqCst) == 0 {
        assert!(cancelling.as_mut().now_or_never().is_none(), "it takes more than one commit");
        thread::yield_now();
    }
    drop(cancelling);
    let rest = block_on(manager.cancel(WorkQuery::all())).unwrap();
    assert!((1..2_500).contains(&rest), "{rest} were left");
    let cancelled = WorkQuery::in_state(WorkState::Cancelled);
    assert_eq!(block_on(manager.count(cancelled)).unwrap(), 2_500);
}
