//! The list of workloads, and of the parts that run in processes of their own.

use crate::Outcome;
use crate::child::{Mode, Report, Task};
use crate::session::{Pass, Run};
use crate::{backlog, chains, drain, enqueue, gates, idle, mass, periodic, pickup, sample, start};

/// What a child does.
pub(crate) type Part = fn(&Task) -> Outcome<Report>;

/// All parts, by name.
const PARTS: &[(&str, Part)] = &[
    (sample::STORED, sample::store),
    (sample::RUN, sample::run),
    ("B1", enqueue::one_caller),
    ("B2", enqueue::many_callers),
    ("B3", enqueue::long_calls),
    ("B4", drain::drain),
    ("B5", pickup::pickup),
    (backlog::BACKLOG, backlog::store),
    ("B6 speed", backlog::speed),
    ("B6 memory", backlog::memory),
    ("B7", chains::chains),
    (start::WAITING, start::store),
    (start::KILLED, start::run),
    (start::START, start::start),
    (start::RESCUE, start::start),
    (idle::NOTHING, idle::wait),
    (idle::HOUR, idle::wait),
    ("B10", mass::mass),
    ("B11", periodic::every_second),
    ("B12", periodic::year),
    ("B13", gates::gates),
];

/// The part of that name.
pub(crate) fn part(name: &str) -> Option<Part> {
    PARTS.iter().find(|(part, _)| *part == name).map(|(_, part)| *part)
}

/// A workload.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What is on disk when a call counts as done.
    pub(crate) syncs: &'static str,
    /// Parts that run once before, and whose files are for every run.
    pub(crate) prepared: &'static [&'static str],
    pub(crate) run: How,
    pub(crate) runs: Runs,
}

/// How a run is done.
pub(crate) enum How {
    /// By these children, one after the other.
    Children(&'static [&'static str]),
    /// By this, in the parent.
    Parent(fn(&Pass<'_>) -> Outcome<Run>),
}

/// How often it is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    /// As often as was asked for, and once to count syncs and allocations.
    ManyAndCounted,
    /// As often as was asked for.
    Many,
    /// Once: it takes minutes, and is a median of very many calls or a sum already.
    Once,
}

/// Each call returns when what it stored is synced.
const EACH_CALL: &str = "each call is synced before it returns; calls that wait together share a sync";
/// Claims and ends are commits as all others.
const EACH_STEP: &str = "enqueued, claimed and ended, each synced before it counts; many share a sync";

/// There is no file.
const NOTHING: &str = "none, since the store is in memory";

/// All workloads, in the order in which they run.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "B1",
        syncs: EACH_CALL,
        prepared: &[sample::STORED],
        run: How::Children(&["B1"]),
        runs: Runs::ManyAndCounted,
    },
    Workload {
        name: "B2",
        syncs: EACH_CALL,
        prepared: &[sample::STORED],
        run: How::Children(&["B2"]),
        runs: Runs::ManyAndCounted,
    },
    Workload {
        name: "B3",
        syncs: EACH_CALL,
        prepared: &[sample::STORED],
        run: How::Children(&["B3"]),
        runs: Runs::ManyAndCounted,
    },
    Workload {
        name: "B4",
        syncs: EACH_STEP,
        prepared: &[sample::RUN],
        run: How::Children(&["B4"]),
        runs: Runs::ManyAndCounted,
    },
    Workload {
        name: "B5",
        syncs: EACH_STEP,
        prepared: &[sample::STORED],
        run: How::Children(&["B5"]),
        runs: Runs::ManyAndCounted,
    },
    Workload {
        name: "B6",
        syncs: EACH_STEP,
        prepared: &[backlog::BACKLOG],
        run: How::Children(&["B6 speed", "B6 memory"]),
        runs: Runs::Many,
    },
    Workload { name: "B7", syncs: EACH_STEP, prepared: &[sample::RUN], run: How::Children(&["B7"]), runs: Runs::Many },
    Workload {
        name: "B8",
        syncs: EACH_STEP,
        prepared: &[start::WAITING, start::KILLED],
        run: How::Parent(start::both),
        runs: Runs::Many,
    },
    Workload { name: "B9", syncs: EACH_STEP, prepared: &[], run: How::Parent(idle::watch), runs: Runs::Once },
    Workload {
        name: "B10",
        syncs: EACH_CALL,
        prepared: &[backlog::BACKLOG],
        run: How::Children(&["B10"]),
        runs: Runs::Once,
    },
    Workload { name: "B11", syncs: EACH_STEP, prepared: &[], run: How::Children(&["B11"]), runs: Runs::Once },
    Workload { name: "B12", syncs: NOTHING, prepared: &[], run: How::Children(&["B12"]), runs: Runs::Many },
    Workload { name: "B13", syncs: EACH_STEP, prepared: &[], run: How::Children(&["B13"]), runs: Runs::Many },
];

impl Workload {
    /// One run.
    pub(crate) fn run(&self, pass: &Pass<'_>, mode: Mode) -> Outcome<Run> {
        match self.run {
            How::Parent(run) => run(pass),
            How::Children(parts) => {
                let mut run = Run::default();
                for part in parts {
                    run.add(pass.live(part, mode)?);
                }
                Ok(run)
            }
        }
    }
}
