//! Files from which the controls take their bytes: works as the store itself has written them, waiting, running and finished.
//!
//! They are made once in a pass, by processes of their own.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::child::{Promised, Report, Task};
use crate::script::{CLAIM_READS, ENQUEUE_READS, SETTLE_READS, Script, Snapshot};
use crate::stand::{Stand, copy, run_all};
use crate::workers::{HELD, hold, no_op_name};
use crate::{drain, enqueue};

/// The part that stores works.
pub(crate) const STORED: &str = "sample of stored works";
/// The part that stores works and runs them.
pub(crate) const RUN: &str = "sample of works that run";

const BEGUN: &str = "begun.redb";
const WAITING: &str = "waiting.redb";
const RUNNING: &str = "running.redb";
const FINISHED: &str = "finished.redb";

/// How long a store must be silent before its file is copied.
const SILENCE: Duration = Duration::from_millis(100);

/// Stores one work, which brings its lane, and then as many as any workload enqueues.
pub(crate) fn store(task: &Task) -> Outcome<Report> {
    let works = enqueue::most_works(&task.options);
    let stand = Stand::open(task, &task.file("works.redb"))?;
    stand.fill(&task.options, 1)?;
    copy_silent(&stand, task.file(BEGUN))?;
    stand.fill(&task.options, works)?;
    copy_silent(&stand, task.file(WAITING))?;
    let mut report = Report::default();
    report.promise(stand.file(), no_op_name(&task.options), Promised::Stored, works + 1);
    report.leave_open(stand);
    Ok(report)
}

/// Stores works and runs all of them at once, so that there is a moment at which all run; and another time to their end.
pub(crate) fn run(task: &Task) -> Outcome<Report> {
    let works = drain::works(&task.options);
    let stand = Stand::open(task, &task.file("works.redb"))?;
    stand.fill(&task.options, works)?;
    copy_silent(&stand, task.file(WAITING))?;

    let held = task.file("held.redb");
    copy(stand.file(), &held)?;
    let held = Stand::open(task, &held)?;
    let holder = held.builder(works).register_as::<hold>(no_op_name(&task.options)).start()?;
    while HELD.load(Ordering::SeqCst) < works as u64 {
        thread::sleep(SILENCE);
    }
    copy_silent(&held, task.file(RUNNING))?;

    let runner = stand.runner(drain::SLOTS[1])?;
    run_all(&runner)?;
    copy_silent(&stand, task.file(FINISHED))?;

    let mut report = Report::default();
    report.promise(stand.file(), no_op_name(&task.options), Promised::Succeeded, works);
    report.leave_open((stand, runner, held, holder));
    Ok(report)
}

/// Copies the file once nothing has been committed for a while.
fn copy_silent(stand: &Stand, to: PathBuf) -> Outcome {
    let mut before = stand.commit()?;
    loop {
        thread::sleep(SILENCE);
        match stand.commit()? {
            now if now == before => break,
            now => before = now,
        }
    }
    stand.checkpoint()?;
    copy(stand.file(), &to)
}

fn snapshot(task: &Task, part: &str, name: &str) -> Outcome<Snapshot> {
    // Another child may have left it open when it was killed; redb repairs a file that it opens, so each has its own.
    let file = task.file(&format!("snapshot-{name}"));
    copy(&prepared(task, part).join(name), &file)?;
    Snapshot::read(&file)
}

/// Where a part that was prepared has left its files.
pub(crate) fn prepared(task: &Task, part: &str) -> PathBuf {
    task.prepared.join(part.replace(' ', "-"))
}

/// The file with works that wait to run.
pub(crate) fn waiting(task: &Task) -> PathBuf {
    prepared(task, RUN).join(WAITING)
}

/// What enqueueing does, and the rows before it.
pub(crate) fn enqueue_script(task: &Task) -> Outcome<(Snapshot, Script)> {
    let (begun, waiting) = (snapshot(task, STORED, BEGUN)?, snapshot(task, STORED, WAITING)?);
    let script = Script::between(&begun, &waiting, enqueue::most_works(&task.options), ENQUEUE_READS)?;
    Ok((begun, script))
}

/// What running works to their end does, and the rows before it.
pub(crate) struct RunScript {
    pub(crate) before: Snapshot,
    pub(crate) claim: Script,
    pub(crate) settle: Script,
}

pub(crate) fn run_script(task: &Task) -> Outcome<RunScript> {
    let works = drain::works(&task.options);
    let (waiting, running) = (snapshot(task, RUN, WAITING)?, snapshot(task, RUN, RUNNING)?);
    let claim = Script::between(&waiting, &running, works, CLAIM_READS)?;
    let settle = Script::between(&running, &snapshot(task, RUN, FINISHED)?, works, SETTLE_READS)?;
    Ok(RunScript { before: waiting, claim, settle })
}
