//! [`Options`]: what the command line asks for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::child::Task;

/// The text of `--help`.
pub(crate) const HELP: &str = "\
cargo bench -p workman-redb --bench workloads -- [OPTIONS]

  --only B1,B4              only these workloads
  --short                   one small run of each: whether it works, not how fast it is
  --runs N                  the runs of which each figure is the median (5)
  --dir PATH                where the files lie: a folder on a real disk (target/workloads)
  --works N                 works of B1 to B5 and B7, instead of each one's own number
  --payload BYTES           the encoded input of a work (100)
  --callers N               the callers of B2 (64), each on a thread of its own
  --tasks N                 as many callers of B2 instead, as tasks on two threads
  --call N                  the works of a call of B3 (1000)
  --slots N                 the one number of slots of B4, instead of 16, 64, 256, 1024, 4096 and the default; slots of B11 (64)
  --workers async|blocking  of which kind the workers of B4 and B5 are (async)
  --durability synced|relaxed
  --backlog N               the waiting works of B6 and B10 (1000000); a tenth of that is parked
  --seconds N               the length of B11 (60)";

/// What the command line asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) only: Vec<String>,
    pub(crate) scale: Scale,
    pub(crate) runs: usize,
    pub(crate) dir: PathBuf,
    works: Option<usize>,
    pub(crate) payload: usize,
    pub(crate) callers: usize,
    pub(crate) tasks: Option<usize>,
    pub(crate) call: usize,
    pub(crate) slots: Option<usize>,
    pub(crate) workers: Workers,
    pub(crate) durability: Durability,
    backlog: Option<usize>,
    seconds: Option<u64>,
}

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scale {
    Full,
    /// A look at whether everything works, for CI.
    Short,
}

/// Of which kind the workers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Workers {
    Async,
    Blocking,
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Durability {
    Synced,
    Relaxed,
}

impl Durability {
    /// As in a line of the output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Durability::Synced => "synced",
            Durability::Relaxed => "relaxed",
        }
    }
}

/// What this process is to do.
pub(crate) enum Asked {
    Help,
    Workloads(Options),
    /// This process is a child of a benchmark.
    Child(Task),
}

impl Options {
    /// Reads the arguments behind the program's name.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Outcome<Asked> {
        let mut arguments = arguments.peekable();
        if arguments.peek().is_none() {
            // `cargo test --benches` says nothing, and does not mean minutes of measuring.
            return Ok(Asked::Help);
        }
        let mut options = Options {
            only: Vec::new(),
            scale: Scale::Full,
            runs: 5,
            dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("workloads"),
            works: None,
            payload: 100,
            callers: 64,
            tasks: None,
            call: 1_000,
            slots: None,
            workers: Workers::Async,
            durability: Durability::Synced,
            backlog: None,
            seconds: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                // Cargo says this to every benchmark.
                "--bench" => {}
                "--help" | "-h" => return Ok(Asked::Help),
                "--child" => return Ok(Asked::Child(serde_json::from_str(&value()?)?)),
                "--short" => (options.scale, options.runs) = (Scale::Short, 1),
                "--only" => options.only = value()?.split(',').map(|name| name.trim().to_uppercase()).collect(),
                "--runs" => options.runs = value()?.parse()?,
                "--dir" => options.dir = PathBuf::from(value()?),
                "--works" => options.works = Some(value()?.parse()?),
                "--payload" => options.payload = value()?.parse()?,
                "--callers" => options.callers = value()?.parse()?,
                "--tasks" => options.tasks = Some(value()?.parse()?),
                "--call" => options.call = value()?.parse()?,
                "--slots" => options.slots = Some(value()?.parse()?),
                "--backlog" => options.backlog = Some(value()?.parse()?),
                "--seconds" => options.seconds = Some(value()?.parse()?),
                "--workers" => {
                    options.workers = match value()?.as_str() {
                        "async" => Workers::Async,
                        "blocking" => Workers::Blocking,
                        other => return Err(format!("--workers {other}: async or blocking").into()),
                    }
                }
                "--durability" => {
                    options.durability = match value()?.as_str() {
                        "synced" => Durability::Synced,
                        "relaxed" => Durability::Relaxed,
                        other => return Err(format!("--durability {other}: synced or relaxed").into()),
                    }
                }
                other => return Err(format!("{other} is not known; --help says what is").into()),
            }
        }
        Ok(Asked::Workloads(options))
    }

    /// Whether a workload is asked for.
    pub(crate) fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == workload)
    }

    /// How many works: what was asked for, or the workload's own number.
    pub(crate) fn works(&self, full: usize, short: usize) -> usize {
        self.works.unwrap_or_else(|| self.scaled(full, short))
    }

    /// A size that no option changes but `--short`.
    pub(crate) fn scaled<T>(&self, full: T, short: T) -> T {
        match self.scale {
            Scale::Full => full,
            Scale::Short => short,
        }
    }

    /// How many works wait for next week.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.unwrap_or_else(|| self.scaled(1_000_000, 20_000))
    }

    /// How long periodic work is watched.
    pub(crate) fn seconds(&self) -> u64 {
        self.seconds.unwrap_or_else(|| self.scaled(60, 3))
    }
}
