//! [`Measure`], what one run of one process says, and [`Figure`], the line that comes of several.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One measured number of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measure {
    pub(crate) workload: String,
    pub(crate) system: String,
    pub(crate) setting: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
    /// Of single calls, in microseconds.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    /// How many works it was measured with.
    pub(crate) works: usize,
    /// Syncs of the file for each work; known of a counting run only.
    pub(crate) fsyncs: Option<f64>,
    /// Allocations for each work; known of a counting run only.
    pub(crate) allocations: Option<f64>,
}

/// The system under test.
pub(crate) const WORKMAN: &str = "workman";
/// redb doing the same operations on the same tables without any of us.
pub(crate) const RAW_REDB: &str = "raw redb";
/// For each commit, a record of the same bytes into a file that is there already, and an fdatasync.
pub(crate) const RAW_SYNC: &str = "raw fdatasync";
/// A rate beside that.
pub(crate) const OF_RAW_SYNC: &str = "% of raw fdatasync";

/// How long the processors worked, which other programs and the disk disturb less than the time that passed. The system counts
/// it in hundredths of a second.
pub(crate) const PROCESSORS: &str = "us of processors a work";

impl Measure {
    /// A number of the system under test.
    pub(crate) fn new(workload: &str, setting: &str, works: usize, value: f64, unit: &str) -> Self {
        Measure {
            workload: workload.into(),
            system: WORKMAN.into(),
            setting: setting.into(),
            unit: unit.into(),
            value,
            p50: None,
            p99: None,
            works,
            fsyncs: None,
            allocations: None,
        }
    }

    /// The same of another system.
    pub(crate) fn of(self, system: &str) -> Self {
        Measure { system: system.into(), ..self }
    }

    /// With the times of single calls.
    pub(crate) fn with_times(self, times: &Times) -> Self {
        Measure { p50: Some(times.quantile(0.5)), p99: Some(times.quantile(0.99)), ..self }
    }

    /// Whether both are the same number of different runs.
    pub(crate) fn is_same(&self, other: &Measure) -> bool {
        let key = |measure: &Measure| {
            let Measure { workload, system, setting, unit, .. } = measure.clone();
            (workload, system, setting, unit)
        };
        key(self) == key(other)
    }
}

/// How long single calls took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, other: Times) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// In microseconds; 0 of none.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Times(times.into_iter().collect())
    }
}

/// The middle one; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}

/// What one run acknowledged, and what was found in the file after its process was killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) acknowledged: u64,
    pub(crate) found: u64,
}

/// One line of the output. The fields come in this order.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) workload: String,
    /// `workman`, or the control.
    pub(crate) system: String,
    pub(crate) durability: &'static str,
    /// The median over the runs; none if an acknowledged work was lost in any of them.
    pub(crate) value: Option<f64>,
    pub(crate) unit: String,
    /// Of single calls in microseconds, the median over the runs.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    /// For each work, in a run apart from those that were timed.
    pub(crate) fsyncs: Option<f64>,
    pub(crate) allocations: Option<f64>,
    /// Whether every synced commit also writes what a quick repair needs. The controls do what the store does.
    pub(crate) quick_repair: bool,
    /// What is on disk when a call counts as done.
    pub(crate) syncs: &'static str,
    pub(crate) setting: String,
    pub(crate) works: usize,
    pub(crate) runs: usize,
    /// Works that were acknowledged in all runs, and those of them that were there after the kill.
    pub(crate) acknowledged: u64,
    pub(crate) found: u64,
}

impl Figure {
    /// Joins the same number of several runs.
    pub(crate) fn of(runs: &[Measure], durability: &'static str, syncs: &'static str, count: Count) -> Option<Self> {
        let first = runs.first()?;
        let middle = |get: fn(&Measure) -> Option<f64>| {
            let values: Vec<f64> = runs.iter().filter_map(get).collect();
            (!values.is_empty()).then(|| rounded(median(values)))
        };
        Some(Figure {
            workload: first.workload.clone(),
            system: first.system.clone(),
            durability,
            value: (count.found >= count.acknowledged).then(|| rounded(median(runs.iter().map(|run| run.value)))),
            unit: first.unit.clone(),
            p50: middle(|run| run.p50),
            p99: middle(|run| run.p99),
            fsyncs: middle(|run| run.fsyncs),
            allocations: middle(|run| run.allocations),
            quick_repair: first.system != RAW_SYNC,
            syncs,
            setting: first.setting.clone(),
            works: first.works,
            runs: runs.len(),
            acknowledged: count.acknowledged,
            found: count.found,
        })
    }
}

/// Four digits are more than any of these figures is good for.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}
