//! A workload in a process of its own: [`live`] is the child's side, [`Life`] the parent's.
//!
//! The child says its report on stdout and waits. Nothing is closed and nothing is dropped: the parent kills it.

use std::any::Any;
use std::env;
use std::io::{self, BufRead, BufReader, Lines, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::figure::Measure;
use crate::options::{Durability, Options};
use crate::registry;

/// What a child is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Which part of which workload.
    pub(crate) part: String,
    /// A folder of its own.
    pub(crate) folder: PathBuf,
    /// Where what was prepared for all runs lies.
    pub(crate) prepared: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) options: Options,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// Time.
    Timed,
    /// Syncs and allocations.
    Counted,
}

impl Task {
    /// A file of this child's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// What was acknowledged, to be found in the file after the kill.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Promise {
    pub(crate) file: PathBuf,
    /// The tag that these works, and no others of the file, have.
    pub(crate) tag: String,
    pub(crate) what: Promised,
    pub(crate) works: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Promised {
    /// They were enqueued.
    Stored,
    /// They succeeded.
    Succeeded,
    /// They ran more than once, since their process died under them, and succeeded.
    Rescued,
}

/// What a child says when everything is acknowledged.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) measures: Vec<Measure>,
    pub(crate) promises: Vec<Promise>,
    /// What stays open until the kill.
    #[serde(skip)]
    open: Vec<Box<dyn Any>>,
}

impl Report {
    pub(crate) fn say(&mut self, measure: Measure) {
        self.measures.push(measure);
    }

    pub(crate) fn promise(&mut self, file: &Path, tag: &str, what: Promised, works: usize) {
        self.promises.push(Promise { file: file.into(), tag: tag.into(), what, works: works as u64 });
    }

    /// Leaves this as it is until the process is killed.
    pub(crate) fn leave_open(&mut self, what: impl Any) {
        self.open.push(Box::new(what));
    }
}

/// A relaxed store promises that what is older than a second is on disk.
const RELAXED_PROMISE: Duration = Duration::from_millis(1_500);

/// The child's side: does the task, reports, and waits for its end.
pub(crate) fn live(task: &Task) -> Outcome {
    let part = registry::part(&task.part).ok_or_else(|| format!("there is no part {}", task.part))?;
    let report = part(task)?;
    if task.options.durability == Durability::Relaxed {
        thread::sleep(RELAXED_PROMISE);
    }
    say(&serde_json::to_string(&report)?)?;
    wait_for_parent()
}

/// Says a line to the parent.
pub(crate) fn say(line: &str) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Waits for the kill. If the parent is gone instead, this process ends too.
fn wait_for_parent() -> Outcome {
    io::stdin().read_to_end(&mut Vec::new())?;
    Err("the benchmark has ended".into())
}

/// The parent's side of a child. Dropped, it is killed.
pub(crate) struct Life {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Just before the process was started.
    pub(crate) born: Instant,
}

impl Life {
    /// Starts this program anew, for that task.
    pub(crate) fn begin(task: &Task) -> Outcome<Self> {
        let mut program = Command::new(env::current_exe()?);
        program.arg("--child").arg(serde_json::to_string(task)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let born = Instant::now();
        let mut process = program.spawn()?;
        let out = process.stdout.take().ok_or("the child has no stdout")?;
        Ok(Life { process, lines: BufReader::new(out).lines(), born })
    }

    /// The next line that the child says.
    pub(crate) fn line(&mut self) -> Outcome<String> {
        match self.lines.next() {
            Some(line) => Ok(line?),
            None => Err(format!("the child ended before its report: {}", self.process.wait()?).into()),
        }
    }

    /// Its report, which is the last line that it says.
    pub(crate) fn report(&mut self) -> Outcome<Report> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`, and the end of it.
    pub(crate) fn kill(mut self) -> Outcome {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // Killed already, unless something went wrong before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
