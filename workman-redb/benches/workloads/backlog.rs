//! B6: enqueueing, running and picking up again, beside very many works that wait: most for next week, a tenth of them for a
//! charger that is not there. The same is done on an empty file in turns, in the same process.
//!
//! The backlog is stored once in a pass, by a process that is killed; each run works on a copy of its file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::executor::block_on;
use workman_core::{Constraints, Nothing, Request, WorkManager};

use crate::Outcome;
use crate::child::{Promised, Report, Task};
use crate::enqueue::{self, Shape};
use crate::figure::{Measure, median};
use crate::options::Options;
use crate::pickup::{self, Pickup};
use crate::stand::{Stand, copy, leave, run_all};
use crate::workers::{input, later, no_op_name, on_charger};
use crate::{drain, proc, sample};

/// The part that stores the backlog.
pub(crate) const BACKLOG: &str = "backlog";

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const CALL: usize = 1_000;
const FILE: &str = "works.redb";

/// So many works wait for a charger, beside those that wait for next week.
fn parked(options: &Options) -> usize {
    options.backlog() / 10
}

/// Stores the backlog.
pub(crate) fn store(task: &Task) -> Outcome<Report> {
    let stand = Stand::open(task, &task.file(FILE))?;
    let manager = stand.enqueuer()?;
    let (waiting, parked) = (task.options.backlog(), parked(&task.options));
    enqueue_many(&manager, waiting, || later::request(input(&task.options)).initial_delay(WEEK))?;
    let constraints = Constraints::new().requires_charging();
    enqueue_many(&manager, parked, || on_charger::request(input(&task.options)).constraints(constraints.clone()))?;
    let mut report = Report::default();
    report.promise(stand.file(), "later", Promised::Stored, waiting);
    report.promise(stand.file(), "on_charger", Promised::Stored, parked);
    report.leave_open((manager, stand));
    Ok(report)
}

fn enqueue_many(manager: &WorkManager, works: usize, request: impl Fn() -> Request<Nothing, ()>) -> Outcome {
    for first in (0..works).step_by(CALL) {
        block_on(manager.enqueue_all((first..works.min(first + CALL)).map(|_| request())))?;
    }
    Ok(())
}

/// A copy of the backlog for this child.
pub(crate) fn own_copy(task: &Task) -> Outcome<PathBuf> {
    let file = task.file("loaded.redb");
    copy(&backlog(task), &file)?;
    Ok(file)
}

fn backlog(task: &Task) -> PathBuf {
    sample::prepared(task, BACKLOG).join(FILE)
}

pub(crate) fn setting(options: &Options) -> String {
    format!("{} works wait, {} parked", options.backlog(), parked(options))
}

/// A number without the backlog and with it.
struct Pair {
    empty: f64,
    loaded: f64,
}

/// How often enqueueing on the one file takes turns with enqueueing on the other.
const TURNS: usize = 10;
/// How often running on the one file takes turns with running on the other.
const DRAINS: usize = 5;

/// The speed of everything, with the backlog and without.
pub(crate) fn speed(task: &Task) -> Outcome<Report> {
    let options = &task.options;
    let stands = [Stand::open(task, &task.file("empty.redb"))?, Stand::open(task, &own_copy(task)?)?];
    let mut report = Report::default();

    let shape = Shape::b2(options);
    let pairs = enqueue_in_turns(&stands, options, shape)?;
    say(&mut report, options, "B6 enqueue", &format!("callers {}", shape.callers), &pairs);

    let mut ran = shape.works;
    stands.iter().try_for_each(|stand| drain::timed(stand, drain::SLOTS[1]).map(|(manager, _)| leave(manager)))?;
    for slots in [drain::SLOTS[0], drain::SLOTS[3]] {
        let works = drain::works(options).div_ceil(DRAINS);
        let pairs = (0..DRAINS).map(|_| run_in_turns(&stands, options, works, slots)).collect::<Outcome<Vec<_>>>()?;
        say(&mut report, options, "B6 run", &drain::setting(slots), &pairs);
        ran += DRAINS * works;
    }

    let managers = [stands[0].runner(pickup::SLOTS)?, stands[1].runner(pickup::SLOTS)?];
    let mut pickups = [Pickup::default(), Pickup::default()];
    let samples = pickup::works(options);
    for _ in 0..samples {
        for (manager, pickup) in managers.iter().zip(&mut pickups) {
            pickup.take(manager, options)?;
        }
    }
    let [empty, loaded] = pickups.map(|pickup| pickup.body.quantile(0.5));
    say(&mut report, options, "B6 pickup", pickup::setting(options), &[Pair { empty, loaded }]);

    for stand in &stands {
        report.promise(stand.file(), no_op_name(options), Promised::Succeeded, ran);
        report.promise(stand.file(), pickup::name(options), Promised::Succeeded, samples);
    }
    report.leave_open((managers, stands));
    Ok(report)
}

fn enqueue_in_turns(stands: &[Stand; 2], options: &Options, shape: Shape) -> Outcome<Vec<Pair>> {
    let managers = [stands[0].enqueuer()?, stands[1].enqueuer()?];
    let turn = shape.works.div_ceil(TURNS);
    let mut pairs = Vec::new();
    for first in (0..shape.works).step_by(turn) {
        let turn = Shape { works: turn.min(shape.works - first), ..shape };
        let mut seconds = Vec::new();
        for manager in &managers {
            seconds.push(enqueue::enqueue(manager, options, turn)?.0.as_secs_f64());
        }
        pairs.push(Pair { empty: seconds[0], loaded: seconds[1] });
    }
    managers.into_iter().for_each(leave);
    Ok(pairs)
}

fn run_in_turns(stands: &[Stand; 2], options: &Options, works: usize, slots: usize) -> Outcome<Pair> {
    let mut seconds = Vec::new();
    for stand in stands {
        stand.fill(options, works)?;
        let (manager, took) = drain::timed(stand, slots)?;
        leave(manager);
        seconds.push(took.as_secs_f64());
    }
    Ok(Pair { empty: seconds[0], loaded: seconds[1] })
}

/// How many times as long it takes with the backlog.
fn say(report: &mut Report, options: &Options, workload: &str, how: &str, pairs: &[Pair]) {
    let times = median(pairs.iter().map(|pair| pair.loaded / pair.empty));
    let setting = format!("{how}; {}", setting(options));
    report.say(Measure::new(workload, &setting, options.backlog(), times, "times the time without backlog"));
}

/// The memory of a process that works beside the backlog, and the size of its file.
pub(crate) fn memory(task: &Task) -> Outcome<Report> {
    let options = &task.options;
    let empty = proc::resident()?;
    let file = own_copy(task)?;
    let stand = Stand::open(task, &file)?;
    let works = Shape::b2(options).works;
    stand.fill(options, works)?;
    let manager = stand.runner(drain::SLOTS[0])?;
    run_all(&manager)?;
    let grown = proc::resident()?.saturating_sub(empty);

    let mut report = Report::default();
    let mut say = |workload, value, unit| {
        report.say(Measure::new(workload, &setting(options), options.backlog(), value, unit));
    };
    say("B6 memory", grown as f64 / f64::from(1 << 20), "MiB over the empty process");
    say("B6 file", bytes_a_work(&backlog(task), options)?, "bytes a work");
    report.promise(&file, no_op_name(options), Promised::Succeeded, works);
    report.leave_open((manager, stand));
    Ok(report)
}

fn bytes_a_work(file: &Path, options: &Options) -> Outcome<f64> {
    let works = options.backlog() + parked(options);
    Ok(fs::metadata(file)?.len() as f64 / works as f64)
}
