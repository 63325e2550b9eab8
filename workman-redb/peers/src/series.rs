//! A figure in the making: what to run for it, and what came out.

use std::rc::Rc;

use crate::figure::{Figure, median, rounded};
use crate::folder::Folder;
use crate::peer::Durability;
use crate::systems::Profile;
use crate::workload::{Measured, Task};

/// A system with one of its durabilities.
#[derive(Clone, Copy)]
pub struct Cell {
    /// The system.
    pub profile: Profile,
    /// The durability.
    pub durability: Durability,
}

impl Cell {
    /// A name for both.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.profile.name, self.durability.name)
    }

    /// The setting with sixteen works at once, as the documentation of the system has it.
    #[must_use]
    pub fn documented(&self) -> &'static str {
        self.profile.at_16[0]
    }
}

/// A figure to be.
pub struct Series {
    /// The name of the workload.
    pub workload: String,
    /// Who runs it.
    pub cell: Cell,
    /// With which setting.
    pub setting: &'static str,
    /// What one process does for it.
    pub task: Task,
    /// The store to start from, and how many works it holds.
    pub seed: Option<(Rc<Folder>, u64)>,
    /// What came out so far.
    pub runs: Vec<Run>,
    /// Allocations a work, from a run apart.
    pub allocations: Option<f64>,
    /// Why nothing more is run.
    pub failed: Option<String>,
}

/// What one run gave.
pub struct Run {
    /// The figure.
    pub value: f64,
    /// All else.
    pub measured: Measured,
    /// How many works were there after the process was killed.
    pub found: Option<u64>,
}

impl Series {
    /// One that starts from an empty store.
    #[must_use]
    pub fn new(workload: &str, cell: Cell, setting: &'static str, task: Task) -> Self {
        let workload = workload.to_owned();
        Self { workload, cell, setting, task, seed: None, runs: Vec::new(), allocations: None, failed: None }
    }

    /// Starts from a copy of this store.
    #[must_use]
    pub fn from(mut self, seed: (Rc<Folder>, u64)) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Gives up.
    #[must_use]
    pub fn failed(mut self, error: &anyhow::Error) -> Self {
        self.failed = Some(format!("{error:#}"));
        self
    }

    /// The medians over all runs; what was acknowledged and found is summed up, so that a single loss shows.
    #[must_use]
    pub fn figure(&self) -> Figure {
        let of = |field: fn(&Run) -> Option<f64>| median(self.runs.iter().filter_map(field)).map(rounded);
        let sum = |field: fn(&Run) -> Option<u64>| {
            let all: Option<Vec<u64>> = self.runs.iter().map(field).collect();
            all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<u64>() as f64)
        };
        let counted = !matches!(self.task, Task::FirstBody | Task::Idle);
        Figure {
            workload: self.workload.clone(),
            system: self.cell.profile.name.to_owned(),
            durability: Some(self.cell.durability.says.to_owned()),
            value: of(|run| Some(run.value)),
            unit: self.task.unit().to_owned(),
            p50: of(|run| run.measured.p50),
            p99: of(|run| run.measured.p99),
            fsyncs: of(|run| Some(run.measured.fsyncs as f64 / run.measured.works as f64)).filter(|_| counted),
            allocations: self.allocations.map(rounded),
            setting: Some(self.setting.to_owned()),
            works: of(|run| Some(run.measured.works as f64)).filter(|_| counted),
            runs: Some(self.runs.len() as f64),
            acknowledged: sum(|run| Some(run.measured.acknowledged)).filter(|_| counted),
            found: sum(|run| run.found),
            control: of(|run| Some(run.measured.control)).filter(|_| counted),
            durable: Some(self.cell.durability.syncs),
            failed: self.failed.clone(),
        }
    }
}

/// A figure of no system, the median of `values`.
#[must_use]
pub fn control(workload: &str, system: &str, unit: &str, values: &[f64]) -> Figure {
    Figure {
        workload: workload.to_owned(),
        system: system.to_owned(),
        unit: unit.to_owned(),
        value: median(values.iter().copied()).map(rounded),
        runs: Some(values.len() as f64),
        ..Figure::default()
    }
}
