//! Which workloads run with which systems, how often, and with which of their settings.

use std::cell::{Cell as Mutable, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use crate::args::Args;
use crate::figure::Figure;
use crate::folder::Folder;
use crate::idle;
use crate::parent::Process;
use crate::peer::{Counts, Due};
use crate::series::{Cell, Run, Series, control};
use crate::systems::{self, Profile};
use crate::workload::{Allocations, Job, Task};

/// How much is measured.
struct Sizes {
    one: u64,
    callers: u64,
    batches: u64,
    drain: u64,
    samples: u64,
    waiting: u64,
    backlog: u64,
    idle: Duration,
    budget: f64,
    runs: u64,
}

impl Sizes {
    fn of(args: &Args) -> Self {
        let pick = |full: u64, short: u64| if args.short { short } else { full };
        Self {
            one: pick(2_000, 1_000),
            callers: pick(20_000, 5_000),
            batches: pick(100_000, 20_000),
            drain: pick(50_000, 10_000),
            samples: pick(500, 100),
            waiting: pick(100_000, 20_000),
            backlog: args.backlog.unwrap_or(pick(1_000_000, 50_000)),
            idle: Duration::from_secs(pick(10, 3)),
            budget: if args.short { 3.0 } else { 20.0 },
            runs: args.runs.unwrap_or(pick(3, 1)).max(1),
        }
    }
}

/// All that is to be measured.
pub struct Plan {
    sizes: Sizes,
    args: Args,
    stores: Mutable<u64>,
    seeds: RefCell<BTreeMap<String, Rc<Folder>>>,
    pickups: RefCell<BTreeMap<String, &'static str>>,
    controls: RefCell<Vec<f64>>,
}

impl Plan {
    /// What the command line asks for.
    #[must_use]
    pub fn new(args: Args) -> Self {
        Self {
            sizes: Sizes::of(&args),
            args,
            stores: Mutable::new(0),
            seeds: RefCell::default(),
            pickups: RefCell::default(),
            controls: RefCell::default(),
        }
    }

    /// Measures it, telling each figure as soon as it is there.
    pub fn run(&self, mut tell: impl FnMut(&Figure) -> Result<()>) -> Result<()> {
        for workload in ["B1", "B2", "B3", "B4", "B5", "B6", "B8", "B9"] {
            let asked = &self.args.workloads;
            if !asked.is_empty() && !asked.iter().any(|id| id.eq_ignore_ascii_case(workload)) {
                continue;
            }
            for figure in self.workload(workload)? {
                tell(&figure)?;
            }
            self.seeds.borrow_mut().clear();
        }
        tell(&self.disk())
    }

    fn workload(&self, workload: &str) -> Result<Vec<Figure>> {
        let sizes = &self.sizes;
        let cells = self.cells(workload);
        let plain = |task: Task| {
            cells.iter().map(|cell| Series::new(workload, *cell, cell.documented(), task)).collect::<Vec<_>>()
        };
        let series = match workload {
            "B1" => plain(Task::Enqueue { callers: 1, works: sizes.one }),
            "B2" => plain(Task::Enqueue { callers: 64, works: sizes.callers }),
            "B3" => plain(Task::Batches { works: sizes.batches, batch: 1_000 }),
            "B4" => cells.iter().flat_map(|cell| self.drains(*cell)).collect(),
            "B5" => cells.iter().flat_map(|cell| self.pickups(*cell)).collect(),
            "B6" => cells.iter().flat_map(|cell| self.with_backlog(*cell)).collect(),
            "B8" => cells.iter().map(|cell| self.start(*cell)).collect(),
            _ => cells.iter().map(|cell| self.idle(*cell)).collect(),
        };
        let mut figures = self.rounds(series);
        if workload == "B8" {
            figures.push(self.bare_process()?);
        }
        Ok(figures)
    }

    /// The first durability of each system, and the others too where the cost of durability is what one wants to see.
    fn cells(&self, workload: &str) -> Vec<Cell> {
        let only = &self.args.only;
        let wanted = |profile: &Profile| only.is_empty() || only.iter().any(|start| profile.name.starts_with(start));
        let variants = if matches!(workload, "B6" | "B8" | "B9") { 1 } else { usize::MAX };
        let profiles = systems::ALL.into_iter().filter(wanted);
        let with_durability = |profile: Profile| {
            let durabilities = profile.durabilities.iter().take(variants);
            durabilities.map(move |durability| Cell { profile, durability: *durability })
        };
        profiles.flat_map(with_durability).collect()
    }

    fn drains(&self, cell: Cell) -> Vec<Series> {
        let works = self.sizes.drain;
        let task = Task::Drain { works };
        let seed = match self.seed(cell, works, Due::Now) {
            Ok(folder) => (folder, works),
            Err(error) => return vec![Series::new("B4 at 16", cell, cell.documented(), task).failed(&error)],
        };
        let rate = |run: &Run| -run.value;
        let at_16 = self.best("B4 at 16", cell, cell.profile.at_16, task, Some(seed.clone()), rate);
        let default = self.best("B4 default", cell, cell.profile.default, task, Some(seed.clone()), rate);
        let best = self.best("B4 best", cell, cell.profile.drain, task, Some(seed), rate);
        vec![at_16, default, best]
    }

    fn pickups(&self, cell: Cell) -> Vec<Series> {
        let samples = self.sizes.samples;
        let body = self.best("B5 body", cell, cell.profile.pickup, Task::Body { samples }, None, |run| run.value);
        self.pickups.borrow_mut().insert(cell.key(), body.setting);
        let mut series = Vec::from([body]);
        if cell.profile.tells_the_end {
            series.push(Series::new("B5 output", cell, series[0].setting, Task::Output { samples }));
        }
        series
    }

    /// The setting that picks up fastest.
    fn pickup(&self, cell: Cell) -> &'static str {
        let known = self.pickups.borrow().get(&cell.key()).copied();
        known.unwrap_or_else(|| self.pickups(cell)[0].setting)
    }

    fn with_backlog(&self, cell: Cell) -> Vec<Series> {
        let Sizes { callers, samples, backlog, .. } = self.sizes;
        let enqueue = Series::new("B6 B2", cell, cell.documented(), Task::Enqueue { callers: 64, works: callers });
        let body = Series::new("B6 B5 body", cell, self.pickup(cell), Task::Body { samples });
        match self.seed(cell, backlog, Due::NextWeek) {
            Ok(folder) => [enqueue, body].map(|series| series.from((folder.clone(), backlog))).into(),
            Err(error) => [enqueue, body].map(|series| series.failed(&error)).into(),
        }
    }

    fn start(&self, cell: Cell) -> Series {
        let waiting = self.sizes.waiting;
        let series = Series::new("B8", cell, cell.documented(), Task::FirstBody);
        match self.seed(cell, waiting, Due::Now) {
            Ok(folder) => series.from((folder, waiting)),
            Err(error) => series.failed(&error),
        }
    }

    fn idle(&self, cell: Cell) -> Series {
        Series::new("B9", cell, self.pickup(cell), Task::Idle)
    }

    /// Tries each setting once and keeps the one whose run is least by `cost`.
    fn best(
        &self,
        workload: &str,
        cell: Cell,
        settings: &'static [&'static str],
        task: Task,
        seed: Option<(Rc<Folder>, u64)>,
        cost: fn(&Run) -> f64,
    ) -> Series {
        let with = |setting| Series { seed: seed.clone(), ..Series::new(workload, cell, setting, task) };
        let mut best = None;
        for &setting in settings.iter().filter(|_| settings.len() > 1) {
            let tried = self.once(&with(setting), Allocations::Ignored);
            match tried {
                Ok(run) => {
                    eprintln!("{workload} {}: tried {setting}: {:.1}", cell.key(), run.value);
                    if best.is_none_or(|(least, _)| cost(&run) < least) {
                        best = Some((cost(&run), setting));
                    }
                }
                Err(error) => eprintln!("{workload} {}: tried {setting}: {error:#}", cell.key()),
            }
        }
        with(best.map_or(settings[0], |(_, setting)| setting))
    }

    /// Runs all series in turn, as often as asked, so that what disturbs the machine disturbs all of them.
    fn rounds(&self, mut series: Vec<Series>) -> Vec<Figure> {
        for _ in 0..self.sizes.runs {
            for series in series.iter_mut().filter(|series| series.failed.is_none()) {
                match self.once(series, Allocations::Ignored) {
                    Ok(run) => series.runs.push(run),
                    Err(error) => series.failed = Some(format!("{error:#}")),
                }
            }
        }
        for series in series.iter_mut().filter(|series| series.failed.is_none() && series.task.is_rate()) {
            if let Ok(run) = self.once(series, Allocations::Counted) {
                series.allocations = Some(run.measured.allocations as f64 / run.measured.works as f64);
            }
        }
        series.iter().map(Series::figure).collect()
    }

    fn once(&self, series: &Series, allocations: Allocations) -> Result<Run> {
        let folder = match &series.seed {
            Some((seed, _)) => Folder::copy(seed, self.fresh())?,
            None => Folder::new(self.fresh())?,
        };
        let job = self.job(series.cell, series.setting, &folder, series.task, allocations);
        let mut process = Process::start(Some(&job))?;
        let (measured, took) = process.told()?;
        let value = match series.task {
            Task::Body { .. } | Task::Output { .. } => measured.p50.unwrap_or_default() / 1e3,
            Task::FirstBody => took.as_secs_f64() * 1e3,
            Task::Idle => idle::switches(process.id(), self.sizes.idle)? as f64,
            _ => measured.works as f64 / measured.seconds,
        };
        drop(process);
        if measured.control > 0.0 {
            self.controls.borrow_mut().push(measured.control);
        }
        let found = match series.task {
            Task::FirstBody | Task::Idle => None,
            task => {
                let seeded = series.seed.as_ref().map_or(0, |(_, works)| *works);
                let counts = self.count(series, &folder)?;
                Some(if matches!(task, Task::Drain { .. }) {
                    counts.done
                } else {
                    counts.waiting + counts.done - seeded
                })
            }
        };
        if found.is_some_and(|found| found < measured.acknowledged) {
            eprintln!("{} {}: acknowledged works are gone", series.workload, series.cell.key());
        }
        Ok(Run { value, measured, found })
    }

    fn count(&self, series: &Series, folder: &Folder) -> Result<Counts> {
        let job = self.job(series.cell, series.setting, folder, Task::Count, Allocations::Ignored);
        Ok(Process::start(Some(&job))?.told()?.0.counts)
    }

    /// A closed store with so many works, made once a workload.
    fn seed(&self, cell: Cell, works: u64, due: Due) -> Result<Rc<Folder>> {
        let name = format!("{} {works} {due:?}", cell.key());
        if let Some(seed) = self.seeds.borrow().get(&name) {
            return Ok(seed.clone());
        }
        let folder = Folder::new(self.fresh())?;
        let job = self.job(cell, cell.documented(), &folder, Task::Seed { works, due }, Allocations::Ignored);
        Process::start(Some(&job))?.told()?;
        let folder = Rc::new(folder);
        self.seeds.borrow_mut().insert(name, folder.clone());
        Ok(folder)
    }

    fn job(&self, cell: Cell, setting: &str, folder: &Folder, task: Task, allocations: Allocations) -> Job {
        Job {
            system: cell.profile.name.to_owned(),
            durability: cell.durability.name.to_owned(),
            setting: setting.to_owned(),
            folder: folder.path().to_owned(),
            task,
            budget: self.sizes.budget,
            allocations,
        }
    }

    fn fresh(&self) -> PathBuf {
        let number = self.stores.get();
        self.stores.set(number + 1);
        self.args.dir.join(format!("{}-{number}", std::process::id()))
    }

    /// What of B8 is the start of a process with a runtime.
    fn bare_process(&self) -> Result<Figure> {
        let starts = (0..self.sizes.runs.max(5)).map(|_| Ok(Process::start(None)?.told()?.1.as_secs_f64() * 1e3));
        let starts = starts.collect::<Result<Vec<_>>>()?;
        Ok(control("B8", "process (control)", "ms", &starts))
    }

    fn disk(&self) -> Figure {
        control("control", "fdatasync (control)", "calls/s", &self.controls.borrow())
    }
}
