//! What the tests of promises share: bystanders, which nothing that happens to other works may touch, and short words for time.

#![allow(dead_code, reason = "each test uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::Arc;
use std::time::Duration;

use workman_core::store::Store;
use workman_core::{Constraints, NetworkType, Timestamp, WorkInfo, WorkState, worker};
use workman_redb::RedbStore;
use workman_testing::{StoreHome, TestDriver};

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const MINUTE: Duration = secs(60);
pub(crate) const HOUR: Duration = secs(3600);
pub(crate) const DAY: Duration = secs(24 * 3600);

const NEVER: Duration = secs(50 * 365 * 24 * 3600);

#[worker]
fn bystander(number: u32) -> u32 {
    number
}

/// Works in various states that have nothing to do with the test.
pub(crate) struct Bystanders {
    before: Vec<WorkInfo>,
}

impl Bystanders {
    /// Puts them into the store: finished, delayed, waiting for a constraint that is never met, blocked, periodic.
    pub(crate) fn of(test: &TestDriver) -> Self {
        let request = |number| bystander::request(number).keep_results_for_at_least(NEVER);
        let done = test.enqueue(request(1));
        let delayed = test.enqueue(request(2).initial_delay(NEVER));
        let metered = Constraints::new().network(NetworkType::Metered);
        let constrained = test.enqueue(request(3).constraints(metered));
        let periodic = test.enqueue_periodic(bystander::periodic(4, DAY).initial_delay(NEVER));
        let chain = test.manager().begin_with(request(5).initial_delay(NEVER)).then(request(6));
        let chain = test.block_on(chain.enqueue()).unwrap_or_else(|error| panic!("{error}")).ids;
        test.run_until_idle();
        let ids = [done, delayed, constrained, periodic].into_iter().chain(chain);
        let before: Vec<WorkInfo> = ids.map(|id| test.info(id)).collect();
        let states: Vec<WorkState> = before.iter().map(|info| info.state).collect();
        use WorkState::{Blocked, Enqueued, Succeeded};
        assert_eq!(states, [Succeeded, Enqueued, Enqueued, Enqueued, Enqueued, Blocked]);
        Bystanders { before }
    }

    /// Fails if anything about them has changed.
    #[track_caller]
    pub(crate) fn are_untouched(&self, test: &TestDriver) {
        for before in &self.before {
            let mut now = test.info(before.id);
            let moved = before.created.as_millis() - now.created.as_millis();
            move_times(&mut now, moved);
            assert_eq!(*before, now, "a bystander has changed");
        }
    }
}

/// Times are shown by the wall clock, so all of them move together when a test has set it.
fn move_times(info: &mut WorkInfo, by_ms: i64) {
    info.created = info.created.shifted(by_ms);
    for at in info.finished.iter_mut().chain(&mut info.next_run) {
        *at = at.shifted(by_ms);
    }
    for attempt in &mut info.attempts {
        (attempt.started, attempt.ended) = (attempt.started.shifted(by_ms), attempt.ended.shifted(by_ms));
    }
}

/// When the last failed or interrupted attempts ended, one after the other.
pub(crate) fn ends(info: &WorkInfo) -> Vec<Timestamp> {
    info.attempts.iter().map(|attempt| attempt.ended).collect()
}

/// Works in a redb file, opened in place without threads.
pub(crate) struct RedbHome {
    folder: std::path::PathBuf,
}

impl RedbHome {
    pub(crate) fn new(name: &str) -> Self {
        // A crash of the process loses no page of the system's, so a file in memory shows the same, sooner.
        let memory = std::path::Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let folder = place.join(format!("workman-promise-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        RedbHome { folder }
    }

    /// For those who want it with its threads.
    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.folder.join("works.redb")
    }
}

impl StoreHome for RedbHome {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(RedbStore::builder(self.file()).inline().open().unwrap())
    }
}

impl Drop for RedbHome {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
