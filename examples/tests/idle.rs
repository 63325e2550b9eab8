//! G15: a manager whose only work is due in an hour wakes for nothing. Measured by the context switches of this process,
//! which is why the file has one test.
#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use workman_core::{ThreadRuntime, WorkManager, WorkState, worker};
use workman_examples::process::empty_folder;
use workman_redb::RedbStore;

#[worker]
fn wake_up() {}

#[test]
fn g15_an_idle_manager_does_not_wake_up() {
    let folder = empty_folder("idle").unwrap();
    let store = RedbStore::open(folder.join("works.redb")).unwrap();
    let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
    block_on(block_on(manager.enqueue(wake_up::request())).unwrap().output()).unwrap();
    let later = wake_up::request().initial_delay(Duration::from_secs(3600));
    let later = block_on(manager.enqueue(later)).unwrap();
    assert!(block_on(manager.drain(Duration::from_secs(60))).unwrap().idle);

    let before = settled_switches();
    thread::sleep(Duration::from_secs(5)); // the idle window that is measured
    let after = switches();

    assert_eq!(after, before, "something woke up");
    assert_eq!(block_on(later.info()).unwrap().unwrap().state, WorkState::Enqueued);
    block_on(manager.shutdown(Duration::from_secs(1)));
    fs::remove_dir_all(folder).unwrap();
}

/// What the threads have done once they lie down: they may still be on their way after the last answer, and on a machine that has
/// other things to do it takes a while until each of them had its turn.
fn settled_switches() -> Vec<(String, u64)> {
    let (mut before, mut rounds) = (switches(), 0);
    while rounds < 50 {
        (0..10_000).for_each(|_| thread::yield_now());
        let now = switches();
        rounds = if now == before { rounds + 1 } else { 0 };
        before = now;
    }
    before
}

/// The voluntary context switches of every thread but this one, by its number and name.
fn switches() -> Vec<(String, u64)> {
    let own = fs::read_link("/proc/thread-self").unwrap();
    let own = own.file_name().unwrap().to_owned();
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap());
    let mut switches: Vec<(String, u64)> =
        tasks.filter(|task| task.file_name() != own).filter_map(|task| switches_of(&task.path())).collect();
    switches.sort();
    switches
}

/// None if the thread has just ended.
fn switches_of(task: &Path) -> Option<(String, u64)> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let count = field("voluntary_ctxt_switches:")?.parse().ok()?;
    Some((format!("{} {}", field("Pid:")?, field("Name:")?), count))
}
