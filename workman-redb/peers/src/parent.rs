//! The side of the measuring program: it starts a process, listens to it and kills it.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workload::{Job, Measured};

/// A process that does one workload. It is killed, with SIGKILL, when this goes.
pub struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    started: Instant,
}

impl Process {
    /// Starts one that does `job`, or one that does nothing.
    pub fn start(job: Option<&Job>) -> Result<Self> {
        let told = job.map(serde_json::to_string).transpose()?.unwrap_or_default();
        let program = std::env::current_exe()?;
        let started = Instant::now();
        let mut child = Command::new(program)
            .args(["--child", &told])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a process")?;
        let output = BufReader::new(child.stdout.take().context("its output was asked for")?);
        Ok(Self { child, output, started })
    }

    /// Waits for what it tells, and says how long that was after its start.
    pub fn told(&mut self) -> Result<(Measured, Duration)> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let took = self.started.elapsed();
        if line.is_empty() {
            bail!("the process ended without a word: {}", self.child.wait()?);
        }
        Ok((serde_json::from_str(&line)?, took))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing left to do then.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
