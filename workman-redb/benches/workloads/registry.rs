//! The list of workloads, and of the parts that run in processes of their own.

use crate::Outcome;
use crate::child::{Mode, Report, Task};
use crate::session::{Pass, Run};
use crate::{drain, enqueue, pickup, sample};

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
    /// Whether there is a run that counts syncs and allocations.
    pub(crate) counted: Counted,
}

/// How a run is done.
pub(crate) enum How {
    /// By one child, whose part is called as the workload is.
    Child,
    /// By this, in the parent.
    Parent(fn(&Pass<'_>) -> Outcome<Run>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Yes,
    No,
}

/// Each call returns when what it stored is synced.
const EACH_CALL: &str = "each call is synced before it returns; calls that wait together share a sync";
/// Claims and ends are commits as all others.
const EACH_STEP: &str = "enqueued, claimed and ended, each synced before it counts; many share a sync";

/// All workloads, in the order in which they run.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload { name: "B1", syncs: EACH_CALL, prepared: &[sample::STORED], run: How::Child, counted: Counted::Yes },
    Workload { name: "B2", syncs: EACH_CALL, prepared: &[sample::STORED], run: How::Child, counted: Counted::Yes },
    Workload { name: "B3", syncs: EACH_CALL, prepared: &[sample::STORED], run: How::Child, counted: Counted::Yes },
    Workload { name: "B4", syncs: EACH_STEP, prepared: &[sample::RUN], run: How::Child, counted: Counted::Yes },
    Workload { name: "B5", syncs: EACH_STEP, prepared: &[sample::STORED], run: How::Child, counted: Counted::Yes },
];

impl Workload {
    /// One run.
    pub(crate) fn run(&self, pass: &Pass<'_>, mode: Mode) -> Outcome<Run> {
        match (&self.run, mode) {
            (How::Parent(run), Mode::Timed) => run(pass),
            (How::Parent(_), Mode::Counted) | (How::Child, _) => pass.live(self.name, mode),
        }
    }
}
