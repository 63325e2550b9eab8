//! What a work costs: the workloads B1 to B12, each beside a control in the same process.
//!
//! ```sh
//! cargo bench -p workman-redb --bench workloads -- [--only B1,B4] [--short] [--runs 5] [--dir PATH] ..
//! ```
//!
//! Each workload runs in a process of its own on a fresh file. It says what was acknowledged and waits; then it is killed (`kill -9`),
//! the file is opened here, and what is in it is counted. A figure that has lost an acknowledged work is void, and the command
//! fails. A figure that misses its target fails nothing: speed depends on the machine, and is no test.
//!
//! Figures are JSON lines on stdout, each the median over the runs; what goes on, and how the targets were met, is told on stderr.
//! `--help` says what can be asked for, `workloads/figure.rs` what the fields of a line mean, and `workloads/registry.rs` is the
//! list of workloads: a new one is a module and an entry there.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock, and leaves the engine idle for a while")]

#[path = "workloads/backlog.rs"]
mod backlog;
#[path = "workloads/chains.rs"]
mod chains;
#[path = "workloads/child.rs"]
mod child;
#[path = "workloads/control.rs"]
mod control;
#[path = "workloads/counting.rs"]
mod counting;
#[path = "workloads/drain.rs"]
mod drain;
#[path = "workloads/enqueue.rs"]
mod enqueue;
#[path = "workloads/figure.rs"]
mod figure;
#[path = "workloads/gates.rs"]
mod gates;
#[path = "workloads/idle.rs"]
mod idle;
#[path = "workloads/mass.rs"]
mod mass;
#[path = "workloads/options.rs"]
mod options;
#[path = "workloads/periodic.rs"]
mod periodic;
#[path = "workloads/pickup.rs"]
mod pickup;
#[path = "workloads/proc.rs"]
mod proc;
#[path = "workloads/registry.rs"]
mod registry;
#[path = "workloads/sample.rs"]
mod sample;
#[path = "workloads/script.rs"]
mod script;
#[path = "workloads/session.rs"]
mod session;
#[path = "workloads/stand.rs"]
mod stand;
#[path = "workloads/start.rs"]
mod start;
#[path = "workloads/table.rs"]
mod table;
#[path = "workloads/targets.rs"]
mod targets;
#[path = "workloads/workers.rs"]
mod workers;

use std::process::ExitCode;

use options::{Asked, Options};
use session::Losses;

/// What goes wrong in a benchmark ends it, and is told in its own words.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let done = Options::read(std::env::args().skip(1)).and_then(|asked| match asked {
        Asked::Help => {
            eprintln!("{}", options::HELP);
            Ok(Losses::None)
        }
        Asked::Child(task) => child::live(&task).map(|()| Losses::None),
        Asked::Workloads(options) => session::measure(&options),
    });
    match done {
        Ok(Losses::None) => ExitCode::SUCCESS,
        Ok(Losses::Some) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the benchmark ended: {error}");
            ExitCode::FAILURE
        }
    }
}
