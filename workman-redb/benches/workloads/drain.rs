//! B4: works that wait are run to their durable end. Timed is all from the start of a manager on an open store until it is idle:
//! the attachment, every claim, every run, every settled end, and the commits of all of these.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use workman_core::{Limits, WorkManager};

use crate::Outcome;
use crate::child::{Mode, Promised, Report, Task};
use crate::control::{RawLog, RawRedb};
use crate::counting::counted;
use crate::figure::{Measure, OF_RAW_SYNC, PROCESSORS, RAW_REDB, RAW_SYNC};
use crate::options::Options;
use crate::proc::processor_time;
use crate::sample::{self, RunScript};
use crate::stand::{Stand, copy, run_all};
use crate::workers::no_op_name;

/// At the first, systems are compared; the best of the others is the best setting of this one.
pub(crate) const SLOTS: [usize; 5] = [16, 64, 256, 1_024, 4_096];

/// The same with as many slots as a program has that says nothing.
pub(crate) const DEFAULT: &str = "B4 default";

/// How many works are run.
pub(crate) fn works(options: &Options) -> usize {
    options.works(50_000, 2_000)
}

pub(crate) fn setting(slots: usize) -> String {
    format!("slots {slots}")
}

pub(crate) fn drain(task: &Task) -> Outcome<Report> {
    let mut report = Report::default();
    let script = match task.mode {
        Mode::Timed => Some(sample::run_script(task)?),
        Mode::Counted => None,
    };
    let chosen = task.options.slots;
    let slots: &[usize] = chosen.as_ref().map_or(&SLOTS, std::slice::from_ref);
    for slots in slots {
        one_setting(task, "B4", *slots, script.as_ref(), &mut report)?;
    }
    if chosen.is_none() {
        one_setting(task, DEFAULT, Limits::default().async_slots, script.as_ref(), &mut report)?;
    }
    Ok(report)
}

fn one_setting(task: &Task, name: &str, slots: usize, script: Option<&RunScript>, report: &mut Report) -> Outcome {
    let works = works(&task.options);
    let file = task.file(&format!("{name}-{slots}.redb"));
    copy(&sample::waiting(task), &file)?;
    let stand = Stand::open(task, &file)?;
    let say = |value, unit| Measure::new(name, &setting(slots), works, value, unit);
    let manager = match script {
        Some(script) => {
            let (before, processors) = (stand.commit()?, processor_time()?);
            let (manager, took) = timed(&stand, slots)?;
            let ours = processor_time()? - processors;
            let commits = stand.commit()? - before;
            let control = task.file(&format!("{name}-control-{slots}"));
            let (raw, theirs) = replay(task, script, &control, works, commits)?;
            let synced = append(task, script, &control.with_extension("log"), works, commits)?;
            let a_work = |processors: Duration| processors.as_secs_f64() * 1e6 / works as f64;
            report.say(say(works as f64 / took.as_secs_f64(), "works/s"));
            report.say(say(works as f64 / raw.as_secs_f64(), "works/s").of(RAW_REDB));
            report.say(say(a_work(ours), PROCESSORS));
            report.say(say(a_work(theirs), PROCESSORS).of(RAW_REDB));
            let operations = script.claim.operations() + script.settle.operations();
            report.say(say(operations, "table operations a work").of(RAW_REDB));
            report.say(say(works as f64 / commits as f64, "works a commit"));
            report.say(say(100.0 * raw.as_secs_f64() / took.as_secs_f64(), "% of raw redb"));
            report.say(say(works as f64 / synced.as_secs_f64(), "works/s").of(RAW_SYNC));
            report.say(say(100.0 * synced.as_secs_f64() / took.as_secs_f64(), OF_RAW_SYNC));
            manager
        }
        None => {
            let (drained, cost) = counted(|| timed(&stand, slots));
            report.say(Measure {
                fsyncs: Some(cost.syncs as f64 / works as f64),
                allocations: Some(cost.allocations as f64 / works as f64),
                ..say(0.0, "works/s")
            });
            drained?.0
        }
    };
    report.promise(stand.file(), no_op_name(&task.options), Promised::Succeeded, works);
    report.leave_open((manager, stand));
    Ok(())
}

/// Starts a manager and waits until it is idle.
pub(crate) fn timed(stand: &Stand, slots: usize) -> Outcome<(WorkManager, Duration)> {
    let begin = Instant::now();
    let manager = stand.runner(slots)?;
    run_all(&manager)?;
    Ok((manager, begin.elapsed()))
}

/// The same operations in as many commits: each settles one batch and claims the next. Answers the time that passed, and that of
/// the processors.
pub(crate) fn replay(
    task: &Task,
    script: &RunScript,
    file: &Path,
    works: usize,
    commits: u64,
) -> Outcome<(Duration, Duration)> {
    let mut redb = RawRedb::create(file, &script.before, task.options.durability)?;
    let batches = batches(works, commits)?;
    let (begin, processors) = (Instant::now(), processor_time()?);
    for (settled, claimed) in batches {
        redb.commit(script.settle.of(settled).chain(script.claim.of(claimed)), &script.settle)?;
    }
    Ok((begin.elapsed(), processor_time()? - processors))
}

/// The same bytes in as many commits, each a record and a sync.
pub(crate) fn append(task: &Task, script: &RunScript, file: &Path, works: usize, commits: u64) -> Outcome<Duration> {
    let mut log = RawLog::create(file, task.options.durability)?;
    let bytes = batches(works, commits)?.into_iter().map(|(settled, claimed)| {
        // The rows of the store itself are written once.
        script.settle.bytes(settled) + script.claim.bytes(claimed) - script.claim.bytes(0..0)
    });
    log.append(bytes.collect::<Vec<_>>())
}

/// What each of so many commits settles, and what it claims.
fn batches(works: usize, commits: u64) -> Outcome<Vec<(Range<usize>, Range<usize>)>> {
    let batch = works.div_ceil(usize::try_from(commits)?.max(2) - 1);
    let none = std::iter::once(0..0);
    let batches = (0..works).step_by(batch).map(|first| first..works.min(first + batch));
    Ok(none.clone().chain(batches.clone()).zip(batches.chain(none)).collect())
}
