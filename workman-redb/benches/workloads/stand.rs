//! [`Stand`]: a store as a program opens it, and managers on it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use workman_core::store::{PageRequest, Store};
use workman_core::{Builder, Limits, ManualSensor, ThreadRuntime, WorkManager, WorkQuery};
use workman_redb::{Durability as StoreDurability, RedbStore};

use crate::Outcome;
use crate::child::{Mode, Task};
use crate::counting::CountingDisk;
use crate::options::{Durability, Options};
use crate::workers::no_op_request;

/// More finished works than any workload leaves, so that none is deleted while something is measured.
const RETAINED: usize = 100_000_000;
/// Longer than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3_600);
/// How many works are prepared in one commit.
const CALL: usize = 1_000;

/// An open store.
pub(crate) struct Stand {
    store: Arc<RedbStore>,
    file: PathBuf,
}

impl Stand {
    /// Opens the store as a program does, or on a disk that counts its syncs if that is the task.
    pub(crate) fn open(task: &Task, file: &Path) -> Outcome<Self> {
        let durability = match task.options.durability {
            Durability::Synced => StoreDurability::Synced,
            Durability::Relaxed => StoreDurability::RELAXED,
        };
        let disk = file.to_owned();
        let builder = match task.mode {
            Mode::Timed => RedbStore::builder(file),
            Mode::Counted => RedbStore::builder_on(move |which| CountingDisk::open(&disk, which)),
        };
        Ok(Stand { store: Arc::new(builder.durability(durability).open()?), file: file.into() })
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The number of the newest commit.
    pub(crate) fn commit(&self) -> Outcome<u64> {
        let request = PageRequest { query: WorkQuery::parked(), after: None, limit: 1 };
        Ok(block_on(self.store.query(request))?.commit)
    }

    /// Puts all that was committed into the file of the store, of which the controls take their bytes.
    pub(crate) fn checkpoint(&self) -> Outcome {
        // A look at everything begins with that.
        let report = block_on(self.store.verify_open())?;
        if report.is_sound() { Ok(()) } else { Err(format!("the store is broken: {report:?}").into()) }
    }

    /// A manager that is not built yet. The machine is on battery, and all else is as good as can be.
    pub(crate) fn builder(&self, slots: usize) -> Builder {
        let mut limits = Limits::default();
        (limits.async_slots, limits.blocking_slots, limits.retained) = (slots, slots, RETAINED);
        let sensor = ManualSensor::new();
        sensor.set_charging(false);
        WorkManager::builder(Arc::clone(&self.store)).runtime(ThreadRuntime::new()).sensor(sensor).limits(limits)
    }

    /// A manager that runs works.
    pub(crate) fn runner(&self, slots: usize) -> Outcome<WorkManager> {
        Ok(self.builder(slots).start()?)
    }

    /// A manager that enqueues only.
    pub(crate) fn enqueuer(&self) -> Outcome<WorkManager> {
        Ok(self.builder(1).enqueue_only().start()?)
    }

    /// Stores works that do nothing, fast.
    pub(crate) fn fill(&self, options: &Options, works: usize) -> Outcome {
        let manager = self.enqueuer()?;
        for first in (0..works).step_by(CALL) {
            block_on(manager.enqueue_all((first..works.min(first + CALL)).map(|_| no_op_request(options))))?;
        }
        leave(manager);
        Ok(())
    }
}

/// Ends a manager whose workers may be given up.
pub(crate) fn leave(manager: WorkManager) {
    block_on(manager.shutdown(Duration::ZERO));
}

/// Runs everything that can run, to its durable end.
pub(crate) fn run_all(manager: &WorkManager) -> Outcome {
    let report = block_on(manager.drain(PATIENCE))?;
    if report.idle { Ok(()) } else { Err("the works took too long".into()) }
}

/// Copies a store that nobody writes to just now, with what lies beside it: the ballast, and the journal that belongs to it.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    copy_file(from, to)?;
    for beside in ["ballast", "journal"] {
        let [from, to] = [from, to].map(|file| file.with_added_extension(beside));
        if from.exists() {
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Outcome {
    fs::copy(from, to)?;
    // What is synced later is not to pay for the copy.
    Ok(File::open(to)?.sync_all()?)
}
