//! 10,000 works enqueued from 64 threads at once, on redb, at concurrency 64.
#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use workman_core::store::{PageRequest, Store};
use workman_core::{Limits, ThreadRuntime, WorkManager, WorkQuery, WorkState, worker};
use workman_examples::process::empty_folder;
use workman_redb::RedbStore;

const WORKS: usize = 10_000;
const CALLERS: usize = 64;

type Runs = Arc<Vec<AtomicU32>>;

/// Says that it ran.
#[worker]
async fn mark(#[state] runs: Runs, place: usize) {
    runs[place].fetch_add(1, Ordering::SeqCst);
}

#[test]
fn ten_thousand_works_from_sixty_four_callers_are_all_durable_and_run_once_in_few_commits() {
    let folder = empty_folder("many").unwrap();
    let file = folder.join("works.redb");
    let runs: Runs = Arc::new((0..WORKS).map(|_| AtomicU32::new(0)).collect());
    let store = Arc::new(RedbStore::open(&file).unwrap());
    let mut limits = Limits::default();
    limits.async_slots = CALLERS;
    limits.retained = WORKS;
    let manager = WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new()).limits(limits);
    let manager = manager.state(Arc::clone(&runs)).start().unwrap();

    let before = newest_commit(&store);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let manager = &manager;
            scope.spawn(move || {
                (caller..WORKS)
                    .step_by(CALLERS)
                    .for_each(|place| drop(block_on(manager.enqueue(mark::request(place))).unwrap()));
            });
        }
    });
    let report = block_on(manager.drain(Duration::from_secs(120))).unwrap();
    assert!(report.idle && report.remaining.is_empty(), "{} works are left", report.remaining.len());
    let commits = newest_commit(&store) - before;
    block_on(manager.shutdown(Duration::from_secs(1)));
    block_on(store.close());
    drop((manager, store));

    let changes = 3 * WORKS as u64; // enqueued, claimed, settled
    println!("{changes} changes in {commits} commits");
    assert!(commits < changes / 10, "{changes} changes took {commits} commits");
    assert!(runs.iter().all(|runs| runs.load(Ordering::SeqCst) == 1), "a work ran twice, or not at all");
    let store = RedbStore::open_waiting(&file, Duration::from_secs(10)).unwrap();
    let request = PageRequest { query: WorkQuery::all(), after: None, limit: usize::MAX };
    let page = block_on(store.query(request)).unwrap();
    assert_eq!(page.works.len(), WORKS);
    assert!(page.works.iter().all(|work| work.state == WorkState::Succeeded && work.runs == 1));
    block_on(store.close());
    fs::remove_dir_all(folder).unwrap();
}

fn newest_commit(store: &RedbStore) -> u64 {
    let request = PageRequest { query: WorkQuery::parked(), after: None, limit: 1 };
    block_on(store.query(request)).unwrap().commit
}
