//! B9: what an idle engine costs: the context switches of all threads of a process, and its wake-ups, read from outside of it.

use std::thread;
use std::time::Duration;

use futures::executor::block_on;

use crate::Outcome;
use crate::child::{Life, Mode, Promised, Report, Task};
use crate::figure::Measure;
use crate::pickup;
use crate::proc::Switches;
use crate::session::{Pass, Run};
use crate::stand::{Stand, run_all};
use crate::workers::{input, later, stamp_request};

/// The part in which nothing is due.
pub(crate) const NOTHING: &str = "B9 nothing due";
/// The part in which something is due in an hour.
pub(crate) const HOUR: &str = "B9 due in an hour";

pub(crate) const SWITCHES: &str = "context switches";
pub(crate) const WAKE_UPS: &str = "wake-ups";

/// Threads lie down, and the one checkpoint that follows a second after the last commit is made, before anything is counted.
const SETTLE: Duration = Duration::from_secs(3);

/// So many works leave enough in the journal that it is worth a checkpoint when nothing more comes.
const WORKS: usize = 500;

/// Runs works, and then has nothing to do.
pub(crate) fn wait(task: &Task) -> Outcome<Report> {
    let options = &task.options;
    let stand = Stand::open(task, &task.file("works.redb"))?;
    let manager = stand.runner(pickup::SLOTS)?;
    block_on(manager.enqueue_all((0..WORKS).map(|_| stamp_request(options))))?;
    run_all(&manager)?;
    let mut report = Report::default();
    if task.part == HOUR {
        let request = later::request(input(options)).initial_delay(Duration::from_secs(3_600));
        block_on(manager.enqueue(request))?;
        report.promise(stand.file(), "later", Promised::Stored, 1);
    }
    report.promise(stand.file(), pickup::name(options), Promised::Succeeded, WORKS);
    report.leave_open((manager, stand));
    Ok(report)
}

/// Watches both.
pub(crate) fn watch(pass: &Pass<'_>) -> Outcome<Run> {
    let mut run = Run::default();
    for (part, seconds) in [(NOTHING, pass.options.scaled(10, 2)), (HOUR, pass.options.scaled(65, 2))] {
        let task = pass.fresh(part, Mode::Timed)?;
        let mut life = Life::begin(&task)?;
        let report = life.report()?;
        thread::sleep(SETTLE);
        let before = Switches::of(life.id())?;
        thread::sleep(Duration::from_secs(seconds));
        let (switched, woken) = Switches::of(life.id())?.since(&before);
        run.add(pass.end(&task, life, report)?);
        let setting = format!("{seconds} s");
        run.measures.push(Measure::new(part, &setting, 1, switched as f64, SWITCHES));
        run.measures.push(Measure::new(part, &setting, 1, woken as f64, WAKE_UPS));
    }
    Ok(run)
}
