//! The targets that need no other system, and whether they were met. Those beside other systems are in the table of `report`, in
//! `workman-redb/peers`. Nothing depends on any of it: it is for whoever reads.

use crate::figure::{Figure, OF_RAW_SYNC, RAW_SYNC, WORKMAN};
use crate::{chains, drain, gates, idle, start};

/// One target: what it asks for, and what came of it.
struct Target {
    workload: &'static str,
    asks: &'static str,
    found: fn(&Figures<'_>) -> Option<(Verdict, String)>,
}

/// Whether what came of it is enough.
#[derive(Clone, Copy)]
enum Verdict {
    Reached,
    Missed,
    /// Nothing was asked for: the figure stands beside another.
    Noted,
}

impl From<bool> for Verdict {
    fn from(met: bool) -> Self {
        if met { Verdict::Reached } else { Verdict::Missed }
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Reached => "reached",
            Verdict::Missed => "missed",
            Verdict::Noted => "",
        }
    }
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

    /// The figures of a workload with this unit, whatever their setting; and of all workloads that begin so.
    fn all(&self, workload: &str, unit: &str) -> Vec<&Figure> {
        let fits =
            |figure: &&Figure| figure.workload.starts_with(workload) && figure.system == WORKMAN && figure.unit == unit;
        self.0.iter().filter(fits).collect()
    }

    /// Each of these, one by one.
    fn noted(&self, workload: &str, unit: &str) -> Option<(Verdict, String)> {
        self.each(workload, unit, |_| true).map(|(_, told)| (Verdict::Noted, told))
    }

    /// Whether each of these is good enough, told one by one.
    fn each(&self, workload: &str, unit: &str, enough: impl Fn(f64) -> bool) -> Option<(Verdict, String)> {
        let figures = self.all(workload, unit);
        let tell = |figure: &&Figure| {
            let setting = figure.setting.split(';').next().unwrap_or_default();
            format!("{} ({setting}) {}", figure.workload, value(figure))
        };
        let told: Vec<String> = figures.iter().map(tell).collect();
        let met = figures.iter().all(|figure| enough(value(figure)));
        (!figures.is_empty()).then(|| (met.into(), told.join(", ")))
    }

    /// At least so many percent of a control.
    fn at_least(&self, workload: &str, control: &str, percent: f64) -> Option<(Verdict, String)> {
        self.at_least_in(workload, "", control, percent)
    }

    /// The same of this setting.
    fn at_least_in(&self, workload: &str, setting: &str, of: &str, percent: f64) -> Option<(Verdict, String)> {
        let value = value(self.find(workload, WORKMAN, setting, of)?);
        Some(((value >= percent).into(), format!("{value:.0} %")))
    }

    /// In microseconds, how long it may take until a body runs: as a sync of the same bytes and a third, and 100 us for all else.
    fn pickup(&self) -> Option<f64> {
        Some(1.3 * value(self.find("B5 body", RAW_SYNC, "", "us")?) + 100.0)
    }

    fn at_most(&self, workload: &str, us: f64) -> Option<(Verdict, String)> {
        let value = value(self.ours(workload, "us")?);
        Some(((value <= us).into(), format!("{value:.0} us of {us:.0} us")))
    }
}

/// No target is met by a figure that is void.
fn value(figure: &Figure) -> f64 {
    figure.value.unwrap_or(f64::NAN)
}

const OF_RAW_REDB: &str = "% of raw redb";
const OF_PLAIN: &str = "% of plain works";

const TARGETS: &[Target] = &[
    Target {
        workload: "B1",
        asks: "at least 50 % of append + fdatasync",
        found: |figures| figures.at_least("B1", OF_RAW_SYNC, 50.0),
    },
    Target { workload: "B1", asks: "(beside raw redb)", found: |figures| figures.noted("B1", OF_RAW_REDB) },
    Target {
        workload: "B2",
        asks: "(beside raw redb at the batch size reached)",
        found: |figures| figures.noted("B2", OF_RAW_REDB),
    },
    Target {
        workload: "B3",
        asks: "at least 60 % of raw redb",
        found: |figures| figures.at_least("B3", OF_RAW_REDB, 60.0),
    },
    Target {
        workload: "B4",
        asks: "(beside raw redb's claim and settle)",
        found: |figures| figures.noted("B4", OF_RAW_REDB),
    },
    Target {
        workload: "B4",
        asks: "(as many slots as a program has that says nothing)",
        found: |figures| figures.noted(drain::DEFAULT, "works/s"),
    },
    Target {
        workload: "B4",
        asks: "(the best setting)",
        found: |figures| {
            let ours = figures
                .0
                .iter()
                .filter(|figure| figure.workload == "B4" && figure.system == WORKMAN && figure.unit == "works/s");
            let best = ours.max_by(|one, two| value(one).total_cmp(&value(two)))?;
            Some((Verdict::Noted, format!("{}, {:.0} works/s", best.setting, value(best))))
        },
    },
    Target {
        workload: "B5",
        asks: "at most 1.3 times append + fdatasync and 100 us until the body runs",
        found: |figures| figures.at_most("B5 body", figures.pickup()?),
    },
    Target {
        workload: "B5",
        asks: "at most twice that until the output is there",
        found: |figures| figures.at_most("B5 output", 2.0 * figures.pickup()?),
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
            Some((met.into(), told.join(", ")))
        },
    },
    Target {
        workload: "B6",
        asks: "with the backlog at most 1.2 times as slow",
        found: |figures| figures.each("B6", "times the time without backlog", |times| times <= 1.2),
    },
    Target {
        workload: "B6",
        asks: "at most 64 MiB over the empty process",
        found: |figures| figures.each("B6", "MiB over the empty process", |memory| memory <= 64.0),
    },
    Target {
        workload: "B6",
        asks: "at most 600 bytes of file a work",
        found: |figures| figures.each("B6", "bytes a work", |bytes| bytes <= 600.0),
    },
    Target {
        workload: "B7",
        asks: "chains of five run at 60 % of the rate of plain works, or more",
        found: |figures| figures.at_least_in("B7 run", chains::FIVE, OF_PLAIN, 60.0),
    },
    Target {
        workload: "B7",
        asks: "a fan at 50 %, or more",
        found: |figures| figures.at_least_in("B7 run", chains::FAN, OF_PLAIN, 50.0),
    },
    Target {
        workload: "B7",
        asks: "one chain at 60 % of one append + fdatasync a step, or more",
        found: |figures| figures.at_least_in("B7 run", chains::ONE_CHAIN, OF_RAW_SYNC, 60.0),
    },
    Target {
        workload: "B7",
        asks: "(one chain beside raw redb with a commit a work)",
        found: |figures| figures.noted("B7", OF_RAW_REDB),
    },
    Target {
        workload: "B7",
        asks: "no step quadratic: a work at full size takes < 1.5 times as long",
        found: |figures| figures.each("B7", "times the time of a work at half the size", |times| times < 1.5),
    },
    Target {
        workload: "B8",
        asks: "the first body within 5 ms of the start after a clean end",
        found: |figures| figures.each(start::START, start::UNIT, |ms| ms <= 5.0),
    },
    Target {
        workload: "B8",
        asks: "within 25 ms with the rescue and a full journal after a kill",
        found: |figures| figures.each(start::RESCUE, start::UNIT, |ms| ms <= 25.0),
    },
    Target {
        workload: "B9",
        asks: "no wake-up after the one checkpoint when nothing is due",
        found: |figures| figures.each(idle::NOTHING, idle::WAKE_UPS, |times| times == 0.0),
    },
    Target {
        workload: "B9",
        asks: "at most 1 wake-up in 65 s when something is due in an hour",
        found: |figures| figures.each(idle::HOUR, idle::WAKE_UPS, |times| times <= 1.0),
    },
    Target {
        workload: "B10",
        asks: "an enqueue beside it has at most 5 times its own p99",
        found: |figures| figures.each("B10", "times the p99 of an enqueue alone", |times| times <= 5.0),
    },
    Target {
        workload: "B11",
        asks: "no run before its time",
        found: |figures| figures.each("B11 early", "runs before their time", |runs| runs == 0.0),
    },
    Target {
        workload: "B11",
        asks: "(behind its time at the median, in us)",
        found: |figures| figures.noted("B11 late", "us"),
    },
    Target {
        workload: "B11",
        asks: "less than half a core",
        found: |figures| figures.each("B11 processors", "cores", |cores| cores < 0.5),
    },
    Target {
        workload: "B12",
        asks: "the year within 0.3 s",
        found: |figures| figures.each("B12", "s", |seconds| seconds <= 0.3),
    },
    Target {
        workload: "B13",
        asks: "1,000 keys in use: at least 85 % of plain works",
        found: |figures| figures.at_least_in("B13", gates::KEYED, OF_PLAIN, 85.0),
    },
    Target {
        workload: "B13",
        asks: "beside works that are held: at most 1.1 times the time of a work without them",
        found: |figures| {
            let times = value(figures.find("B13", WORKMAN, gates::BESIDE, gates::TIMES)?);
            Some(((times <= 1.1).into(), format!("{times:.2}")))
        },
    },
    Target {
        workload: "B13",
        asks: "once the gate opens: as fast as plain works",
        found: |figures| figures.at_least_in("B13", gates::OPENED, OF_PLAIN, 100.0),
    },
];

/// Tells how the targets were met, as far as they were measured.
pub(crate) fn tell(figures: &[Figure]) {
    let figures = Figures(figures);
    eprintln!("\n{:<5} {:<8} {:<70} found", "", "target", "asks for");
    for target in TARGETS {
        let Some((verdict, found)) = (target.found)(&figures) else { continue };
        eprintln!("{:<5} {:<8} {:<70} {found}", target.workload, verdict.word(), target.asks);
    }
}
