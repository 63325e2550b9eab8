//! The targets that need no other system, and whether they were met. Nothing depends on it: it is for whoever reads.

use crate::figure::{Figure, RAW_REDB, WORKMAN};

/// One target: what it asks for, and what came of it, with whether that is enough.
struct Target {
    workload: &'static str,
    asks: &'static str,
    found: fn(&Figures<'_>) -> Option<(bool, String)>,
}

/// All figures of a pass.
struct Figures<'a>(&'a [Figure]);

impl Figures<'_> {
    fn find(&self, workload: &str, system: &str, setting: &str, unit: &str) -> Option<&Figure> {
        self.0.iter().find(|figure| {
            figure.workload == workload
                && figure.system == system
                && figure.setting.contains(setting)
                && figure.unit == unit
        })
    }

    fn ours(&self, workload: &str, unit: &str) -> Option<&Figure> {
        self.find(workload, WORKMAN, "", unit)
    }

    /// At least so many percent of raw redb.
    fn at_least(&self, workload: &str, percent: f64) -> Option<(bool, String)> {
        let figure = self.ours(workload, "% of raw redb")?;
        Some((figure.value >= percent, format!("{:.0} %", figure.value)))
    }
}

const TARGETS: &[Target] = &[
    Target {
        workload: "B1",
        asks: "at most 1.3 times the time of a raw redb commit",
        found: |figures| {
            let times = 100.0 / figures.ours("B1", "% of raw redb")?.value;
            Some((times <= 1.3, format!("{times:.2} times")))
        },
    },
    Target {
        workload: "B2",
        asks: "at least 70 % of raw redb at the batch size reached",
        found: |figures| figures.at_least("B2", 70.0),
    },
    Target { workload: "B3", asks: "at least 60 % of raw redb", found: |figures| figures.at_least("B3", 60.0) },
    Target {
        workload: "B4",
        asks: "at least 50 % of raw redb's claim and settle, in each setting",
        found: |figures| {
            let settings = figures.0.iter().filter(|figure| figure.workload == "B4" && figure.unit == "% of raw redb");
            let settings: Vec<&Figure> = settings.collect();
            let told: Vec<String> =
                settings.iter().map(|figure| format!("{}: {:.0} %", figure.setting, figure.value)).collect();
            let met = settings.iter().all(|figure| figure.value >= 50.0);
            (!settings.is_empty()).then(|| (met, told.join(", ")))
        },
    },
    Target {
        workload: "B4",
        asks: "(the best setting)",
        found: |figures| {
            let ours = figures
                .0
                .iter()
                .filter(|figure| figure.workload == "B4" && figure.system == WORKMAN && figure.unit == "works/s");
            let best = ours.max_by(|one, two| one.value.total_cmp(&two.value))?;
            Some((true, format!("{}, {:.0} works/s", best.setting, best.value)))
        },
    },
    Target {
        workload: "B5",
        asks: "at most 1.6 commits until the body runs",
        found: |figures| {
            let commits = figures.ours("B5 body", "commits")?.value;
            let commit = figures.find("B5 body", RAW_REDB, "", "us")?.value;
            Some((commits <= 1.6, format!("{commits:.2} commits of {commit:.0} us")))
        },
    },
    Target {
        workload: "B5",
        asks: "p99 at most 3 times the median",
        found: |figures| {
            let mut told = Vec::new();
            let mut met = true;
            for workload in ["B5 body", "B5 output"] {
                let figure = figures.ours(workload, "us")?;
                let times = figure.p99? / figure.p50?;
                met &= times <= 3.0;
                told.push(format!("{workload} {times:.1} times"));
            }
            Some((met, told.join(", ")))
        },
    },
];

/// Tells how the targets were met, as far as they were measured.
pub(crate) fn tell(figures: &[Figure]) {
    let figures = Figures(figures);
    eprintln!("\n{:<5} {:<8} {:<70} found", "", "target", "asks for");
    for target in TARGETS {
        let Some((met, found)) = (target.found)(&figures) else { continue };
        eprintln!("{:<5} {:<8} {:<70} {found}", target.workload, if met { "reached" } else { "missed" }, target.asks);
    }
}
