//! B5: how soon an idle engine runs a work. From the call of `enqueue` until the body of the worker runs, and until `output()` has
//! returned; one work after the other, with a silence between them. After each, and another silence, a commit of raw redb writes the
//! same rows, and a record of the same bytes is appended and synced.

use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use workman_core::WorkManager;

use crate::Outcome;
use crate::child::{Mode, Promised, Report, Task};
use crate::control::{RawLog, RawRedb};
use crate::counting::counted;
use crate::figure::{Measure, RAW_REDB, RAW_SYNC, Times};
use crate::options::{Options, Workers};
use crate::sample;
use crate::stand::Stand;
use crate::workers::{now, stamp_request, stamped};

/// Long enough for every thread of the engine to lie down.
const SILENCE: Duration = Duration::from_millis(2);

/// As many works run at once as one by one can.
pub(crate) const SLOTS: usize = 16;

/// How many works are picked up.
pub(crate) fn works(options: &Options) -> usize {
    options.works(1_000, 50)
}

/// What the works are called.
pub(crate) fn name(options: &Options) -> &'static str {
    match options.workers {
        Workers::Async => "stamp",
        Workers::Blocking => "blocking_stamp",
    }
}

pub(crate) fn setting(options: &Options) -> &'static str {
    match options.workers {
        Workers::Async => "idle, async worker",
        Workers::Blocking => "idle, blocking worker",
    }
}

/// How long it took.
#[derive(Default)]
pub(crate) struct Pickup {
    pub(crate) body: Times,
    pub(crate) output: Times,
}

impl Pickup {
    /// One more.
    pub(crate) fn take(&mut self, manager: &WorkManager, options: &Options) -> Outcome {
        thread::sleep(SILENCE);
        let begin = now();
        let work = block_on(manager.enqueue(stamp_request(options)))?;
        block_on(work.output())?;
        let end = now();
        self.body.push(stamped().saturating_sub(begin));
        self.output.push(end - begin);
        Ok(())
    }
}

pub(crate) fn pickup(task: &Task) -> Outcome<Report> {
    let works = works(&task.options);
    let stand = Stand::open(task, &task.file("works.redb"))?;
    let manager = stand.runner(SLOTS)?;
    let mut report = Report::default();
    let mut pickup = Pickup::default();
    pickup.take(&manager, &task.options)?;
    let say = |workload, value, unit| Measure::new(workload, setting(&task.options), works, value, unit);
    match task.mode {
        Mode::Timed => {
            pickup = Pickup::default();
            let (commits, syncs) = in_turns(task, &manager, &mut pickup)?;
            let commit = commits.quantile(0.5);
            let (body, output) = (pickup.body.quantile(0.5), pickup.output.quantile(0.5));
            report.say(say("B5 body", body, "us").with_times(&pickup.body));
            report.say(say("B5 output", output, "us").with_times(&pickup.output));
            report.say(say("B5 body", commit, "us").with_times(&commits).of(RAW_REDB));
            report.say(say("B5 body", body / commit, "commits"));
            report.say(say("B5 body", syncs.quantile(0.5), "us").with_times(&syncs).of(RAW_SYNC));
        }
        Mode::Counted => {
            let (done, cost) = counted(|| (0..works).try_for_each(|_| pickup.take(&manager, &task.options)));
            done?;
            for workload in ["B5 body", "B5 output"] {
                report.say(Measure {
                    fsyncs: Some(cost.syncs as f64 / works as f64),
                    allocations: Some(cost.allocations as f64 / works as f64),
                    ..say(workload, 0.0, "us")
                });
            }
        }
    }
    report.promise(stand.file(), name(&task.options), Promised::Succeeded, works + 1);
    report.leave_open((manager, stand));
    Ok(report)
}

/// How long commits of raw redb took, and appends.
fn in_turns(task: &Task, manager: &WorkManager, pickup: &mut Pickup) -> Outcome<(Times, Times)> {
    let (begun, script) = sample::enqueue_script(task)?;
    let mut redb = RawRedb::create(&task.file("control.redb"), &begun, task.options.durability)?;
    let mut log = RawLog::create(&task.file("control.log"), task.options.durability)?;
    let (mut commits, mut syncs) = (Times::default(), Times::default());
    for work in 0..works(&task.options) {
        pickup.take(manager, &task.options)?;
        thread::sleep(SILENCE);
        let work = work % script.len();
        commits.push(redb.replay(&script, work..work + 1, 1)?);
        thread::sleep(SILENCE);
        syncs.push(log.append([script.bytes(work..work + 1)])?);
    }
    Ok((commits, syncs))
}
