//! [`Pass`]: all workloads, run by run; each run is a child that is killed, and a count of what it left.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::executor::block_on;
use workman_core::store::{PageRequest, Store};
use workman_core::{WorkInfo, WorkQuery, WorkState};
use workman_redb::RedbStore;

use crate::Outcome;
use crate::child::{Life, Mode, Promise, Promised, Report, Task};
use crate::figure::{Count, Figure, Measure};
use crate::options::Options;
use crate::registry::{Runs, WORKLOADS, Workload};
use crate::targets;

/// Whether an acknowledged work was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Losses {
    None,
    Some,
}

/// What one run said, and what was found after its kill.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) measures: Vec<Measure>,
    pub(crate) count: Count,
}

impl Run {
    /// Another part of the same run.
    pub(crate) fn add(&mut self, part: Run) {
        self.measures.extend(part.measures);
        self.count.acknowledged += part.count.acknowledged;
        self.count.found += part.count.found;
    }
}

/// One call of the command.
pub(crate) struct Pass<'a> {
    pub(crate) options: &'a Options,
    folder: PathBuf,
    prepared: RefCell<BTreeSet<&'static str>>,
    /// The number of the next child.
    next: Cell<u32>,
    losses: Cell<Losses>,
}

/// Measures all that is asked for, and tells it.
pub(crate) fn measure(options: &Options) -> Outcome<Losses> {
    let pass = Pass::begin(options)?;
    let mut figures = Vec::new();
    for workload in WORKLOADS.iter().filter(|workload| options.wants(workload.name)) {
        for figure in pass.figures(workload)? {
            println!("{}", serde_json::to_string(&figure)?);
            figures.push(figure);
        }
    }
    targets::tell(&figures);
    Ok(pass.losses.get())
}

impl<'a> Pass<'a> {
    fn begin(options: &'a Options) -> Outcome<Self> {
        fs::create_dir_all(&options.dir)?;
        refuse_memory(&options.dir.canonicalize()?)?;
        let folder = options.dir.join(format!("pass-{}", std::process::id()));
        fs::create_dir(&folder)?;
        fs::create_dir(folder.join("prepared"))?;
        Ok(Pass {
            options,
            folder: folder.canonicalize()?,
            prepared: RefCell::default(),
            next: Cell::new(0),
            losses: Cell::new(Losses::None),
        })
    }

    /// All runs of a workload, each number the median of them.
    fn figures(&self, workload: &Workload) -> Outcome<Vec<Figure>> {
        for part in workload.prepared {
            self.prepare(part)?;
        }
        let mut count = Count::default();
        let mut numbers: Vec<Vec<Measure>> = Vec::new();
        let runs = if workload.runs == Runs::Once { 1 } else { self.options.runs.max(1) };
        for number in 1..=runs {
            eprintln!("{}: run {number} of {runs}", workload.name);
            let run = workload.run(self, Mode::Timed)?;
            count.acknowledged += run.count.acknowledged;
            count.found += run.count.found;
            for measure in run.measures {
                match numbers.iter_mut().find(|same| same[0].is_same(&measure)) {
                    Some(same) => same.push(measure),
                    None => numbers.push(vec![measure]),
                }
            }
        }
        if workload.runs == Runs::ManyAndCounted {
            eprintln!("{}: counts syncs and allocations", workload.name);
            for counted in workload.run(self, Mode::Counted)?.measures {
                let Some(same) = numbers.iter_mut().find(|same| same[0].is_same(&counted)) else { continue };
                for measure in same {
                    (measure.fsyncs, measure.allocations) = (counted.fsyncs, counted.allocations);
                }
            }
        }
        let durability = self.options.durability.name();
        Ok(numbers.iter().filter_map(|runs| Figure::of(runs, durability, workload.syncs, count)).collect())
    }

    /// Lets a part leave its files for all runs, once in a pass.
    fn prepare(&self, part: &'static str) -> Outcome {
        if !self.prepared.borrow_mut().insert(part) {
            return Ok(());
        }
        eprintln!("prepares a {part}");
        let task = self.task(part, Mode::Timed, self.folder.join("prepared").join(part.replace(' ', "-")));
        fs::create_dir(&task.folder)?;
        let mut life = Life::begin(&task)?;
        let report = life.report()?;
        life.kill()?;
        self.count(&report.promises)?;
        Ok(())
    }

    /// A task with a folder of its own.
    pub(crate) fn fresh(&self, part: &str, mode: Mode) -> Outcome<Task> {
        let number = self.next.replace(self.next.get() + 1);
        let task = self.task(part, mode, self.folder.join(number.to_string()));
        fs::create_dir(&task.folder)?;
        Ok(task)
    }

    fn task(&self, part: &str, mode: Mode, folder: PathBuf) -> Task {
        let prepared = self.folder.join("prepared");
        Task { part: part.into(), folder, prepared, mode, options: self.options.clone() }
    }

    /// A whole life of a child: it reports, is killed, and what it left is counted.
    pub(crate) fn live(&self, part: &str, mode: Mode) -> Outcome<Run> {
        let task = self.fresh(part, mode)?;
        let mut life = Life::begin(&task)?;
        let report = life.report()?;
        self.end(&task, life, report)
    }

    /// The end of a child that has reported.
    pub(crate) fn end(&self, task: &Task, life: Life, report: Report) -> Outcome<Run> {
        life.kill()?;
        let count = self.count(&report.promises)?;
        fs::remove_dir_all(&task.folder)?;
        Ok(Run { measures: report.measures, count })
    }

    /// Opens what a killed process has left, and counts.
    fn count(&self, promises: &[Promise]) -> Outcome<Count> {
        let mut count = Count::default();
        for promise in promises {
            let found = found(promise)?;
            if found < promise.works {
                self.losses.set(Losses::Some);
                eprintln!("LOST: {promise:?}, but {found} were found");
            }
            count.acknowledged += promise.works;
            // Too many of one thing don't make up for another.
            count.found += found.min(promise.works);
        }
        Ok(count)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        // What can't be removed is in nobody's way: the next pass has a folder of its own.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How long the lock of a killed process may stay.
const LOCKED: Duration = Duration::from_secs(10);
const PAGE: usize = 4_096;

fn found(promise: &Promise) -> Outcome<u64> {
    let keeps = |work: &WorkInfo| match promise.what {
        Promised::Stored => true,
        Promised::Succeeded => work.state == WorkState::Succeeded,
        Promised::Rescued => work.state == WorkState::Succeeded && work.runs > 1,
    };
    let store = RedbStore::open_waiting(&promise.file, LOCKED)?;
    let (mut found, mut after) = (0, None);
    loop {
        let request = PageRequest { query: WorkQuery::tag(&*promise.tag), after, limit: PAGE };
        let page = block_on(store.query(request))?;
        found += page.works.iter().filter(|work| keeps(work)).count() as u64;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    block_on(store.close());
    Ok(found)
}

/// What lies in memory is synced in no time.
fn refuse_memory(folder: &Path) -> Outcome {
    let Ok(mounts) = fs::read_to_string("/proc/self/mounts") else { return Ok(()) };
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((PathBuf::from(fields.next()?), fields.next()?))
    });
    let around = mounts.filter(|(place, _)| folder.starts_with(place)).max_by_key(|(place, _)| place.as_os_str().len());
    match around {
        Some((_, kind @ ("tmpfs" | "ramfs"))) => {
            Err(format!("{} is a {kind}: give a folder on a disk, --dir PATH", folder.display()).into())
        }
        _ => Ok(()),
    }
}
