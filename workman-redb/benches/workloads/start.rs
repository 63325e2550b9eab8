//! B8: how soon a program that starts runs its first work, with very many waiting in its file, which was closed; and again when its
//! predecessor was killed while it ran many of them, with as much in the journal as it holds. Timed by the parent, from just before
//! the process starts until the body of a worker says so.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use workman_core::WorkManager;

use crate::Outcome;
use crate::child::{Life, Mode, Promised, Report, Task};
use crate::figure::Measure;
use crate::options::{Options, Workers};
use crate::sample;
use crate::session::{Pass, Run};
use crate::stand::{Stand, copy, run_all};
use crate::workers::{FIRST_BODY, HELD, SAID, announce, hold, no_op_request};

/// The part that stores works that wait.
pub(crate) const WAITING: &str = "file of waiting works";
/// The part that dies while it runs some of them.
pub(crate) const KILLED: &str = "file of running works";
/// The part that starts on the first file.
pub(crate) const START: &str = "B8 start";
/// The part that starts on the second.
pub(crate) const RESCUE: &str = "B8 rescue";

pub(crate) const UNIT: &str = "ms to the first body";

const FILE: &str = "works.redb";
/// The name of the workers, whatever they do.
const NAME: &str = "no_op";

fn waiting(options: &Options) -> usize {
    options.scaled(100_000, 2_000)
}

fn running(options: &Options) -> usize {
    options.scaled(1_000, 100)
}

pub(crate) fn store(task: &Task) -> Outcome<Report> {
    let mut options = task.options.clone();
    options.workers = Workers::Async;
    let stand = Stand::open(task, &task.file(FILE))?;
    stand.fill(&options, waiting(&options))?;
    let mut report = Report::default();
    report.promise(stand.file(), NAME, Promised::Stored, waiting(&options));
    report.leave_open(stand);
    Ok(report)
}

/// Runs works that do not end, fills the journal, and is killed right then. What is promised is counted after the rescue: whoever opens
/// the file before would empty the journal.
pub(crate) fn run(task: &Task) -> Outcome<Report> {
    let file = task.file(FILE);
    copy(&sample::prepared(task, WAITING).join(FILE), &file)?;
    let stand = Stand::open(task, &file)?;
    let running = running(&task.options);
    let manager = stand.builder(running).register_as::<hold>(NAME).start()?;
    while HELD.load(Ordering::SeqCst) < running as u64 {
        thread::sleep(Duration::from_millis(10));
    }
    fill_the_journal(&stand, &manager, &task.options)?;
    let mut report = Report::default();
    report.leave_open((manager, stand));
    Ok(report)
}

/// Works of one commit while the journal is filled.
const CALL: usize = 10;
/// So many commits less than go between two checkpoints are nearly as much, and never too much.
const MARGIN: usize = 3;
/// More commits than any journal takes.
const MOST_COMMITS: usize = 100_000;

/// Makes commits until the next or the one after that would be a checkpoint. The first record of a journal is written anew after each
/// checkpoint and else never, so that shows how many commits there are from one to the next.
fn fill_the_journal(stand: &Stand, manager: &WorkManager, options: &Options) -> Outcome {
    let journal = File::open(stand.file().with_added_extension("journal"))?;
    let (mut checkpoints, mut since, mut round) = (0, 0, 0);
    let mut before = first_record(&journal)?;
    for _ in 0..MOST_COMMITS {
        block_on(manager.enqueue_all((0..CALL).map(|_| no_op_request(options))))?;
        since += 1;
        let now = first_record(&journal)?;
        if now != before {
            (before, round, since, checkpoints) = (now, since, 0, checkpoints + 1);
        }
        // The first round began somewhere in the middle.
        if checkpoints >= 2 && since + MARGIN >= round {
            return Ok(());
        }
    }
    Err("the journal is never full".into())
}

/// Where the first record of a journal lies, and as much of it as tells it from others: its lengths, its salt and its number.
const FIRST_RECORD: u64 = 4_096;

fn first_record(journal: &File) -> Outcome<[u8; 40]> {
    let mut head = [0; 40];
    journal.read_exact_at(&mut head, FIRST_RECORD)?;
    Ok(head)
}

/// Starts; the first body that runs says so. What was rescued is run, with everything else.
pub(crate) fn start(task: &Task) -> Outcome<Report> {
    let stand = Stand::open(task, &task.file(FILE))?;
    let manager = stand.builder(SLOTS).register_as::<announce>(NAME).start()?;
    SAID.wait();
    let mut report = Report::default();
    if task.part == RESCUE {
        run_all(&manager)?;
        report.promise(stand.file(), NAME, Promised::Rescued, running(&task.options));
        report.promise(stand.file(), NAME, Promised::Succeeded, waiting(&task.options));
    } else {
        report.promise(stand.file(), NAME, Promised::Stored, waiting(&task.options));
    }
    report.leave_open((manager, stand));
    Ok(report)
}

const SLOTS: usize = 16;

/// Both starts.
pub(crate) fn both(pass: &Pass<'_>) -> Outcome<Run> {
    let mut run = Run::default();
    for (part, from) in [(START, WAITING), (RESCUE, KILLED)] {
        let task = pass.fresh(part, Mode::Timed)?;
        copy(&sample::prepared(&task, from).join(FILE), &task.file(FILE))?;
        let mut life = Life::begin(&task)?;
        let line = life.line()?;
        let took = life.born.elapsed();
        if line != FIRST_BODY {
            return Err(format!("a child said {line} instead of running a work").into());
        }
        let report = life.report()?;
        run.add(pass.end(&task, life, report)?);
        let (waiting, running) = (waiting(pass.options), running(pass.options));
        let setting = match part {
            START => format!("{waiting} works wait in a closed store"),
            _ => format!("{waiting} works, of which {running} ran when their process was killed, and a full journal"),
        };
        run.measures.push(Measure::new(part, &setting, waiting, took.as_secs_f64() * 1e3, UNIT));
    }
    Ok(run)
}
