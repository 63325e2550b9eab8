//! What the tests share: a seeded workload, a model to compare with, and a disk that can fail.

#![allow(dead_code, unreachable_pub, reason = "every test uses another part")]

pub mod disk;
pub mod workload;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
pub use futures::executor::block_on;
use futures::future::BoxFuture;
use workman_core::store::{Command, Dump, Reading, Store, Unit, UnitResult};
use workman_core::{Clock, StoreError, Timestamp};
use workman_redb::RedbStore;

/// The number that the environment has for this, decimal or with `0x`.
pub fn number(name: &str, otherwise: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return otherwise };
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|error| panic!("{name}={text}: {error}"))
}

/// SplitMix64.
pub struct Random {
    pub seed: u64,
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Random { seed, state: seed }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// An empty folder that goes with its guard.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("workman-redb-{}-{count}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn store(&self) -> PathBuf {
        self.0.join("work.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The command by a clock that nobody sets.
pub fn at(command: Command, ms: i64) -> Unit {
    let wall = Timestamp::from_millis(ms);
    Unit { command, at: Reading { wall, monotonic: wall.since(Timestamp::default()) } }
}

/// One command, one call.
pub fn run(store: &dyn Store, command: Command, ms: i64) -> Result<UnitResult, StoreError> {
    block_on(store.transact(vec![at(command, ms)])).map(|mut results| results.remove(0))
}

/// Everything that is stored, after a look at the invariants.
pub fn dump(store: &RedbStore) -> Dump {
    let dump = block_on(store.dump()).unwrap();
    assert_eq!(dump.broken_invariants(), Vec::<String>::new());
    dump
}

/// A clock that is moved by hand.
#[derive(Default)]
pub struct Hands {
    state: Arc<Mutex<HandsState>>,
}

#[derive(Default)]
struct HandsState {
    now: Duration,
    sleepers: Vec<(Duration, oneshot::Sender<()>)>,
}

impl Hands {
    pub fn advance(&self, length: Duration) {
        let mut state = self.state.lock().unwrap();
        state.now += length;
        let now = state.now;
        let (due, asleep) = std::mem::take(&mut state.sleepers).into_iter().partition(|(until, _)| *until <= now);
        state.sleepers = asleep;
        drop(state);
        let due: Vec<(Duration, oneshot::Sender<()>)> = due;
        for (_, sleeper) in due {
            let _ = sleeper.send(());
        }
    }
}

impl Hands {
    /// How many sleep, of whom somebody still waits.
    pub fn sleepers(&self) -> usize {
        self.state.lock().unwrap().sleepers.iter().filter(|(_, sleeper)| !sleeper.is_canceled()).count()
    }

    /// Gives way until as many sleep.
    pub fn wait_for_sleepers(&self, count: usize) {
        while self.sleepers() < count {
            std::thread::yield_now();
        }
    }
}

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().unwrap().now
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.state.lock().unwrap();
        let (wake, woken) = oneshot::channel();
        let until = state.now + length;
        state.sleepers.push((until, wake));
        woken.map(drop).boxed()
    }
}
