//! B13: what gates cost. Works whose keys may run once each are run to their end, as many keys as a large service has customers, beside
//! as many plain works; works begin beside very many that a pause holds, and beside none; and those run once the pause ends.

use std::time::Instant;

use futures::executor::block_on;
use workman_core::{Gate, WorkManager};

use crate::Outcome;
use crate::child::{Promised, Report, Task};
use crate::figure::{Measure, PROCESSORS};
use crate::options::Options;
use crate::proc::processor_time;
use crate::stand::{Stand, leave, run_all};
use crate::workers::{no_op_name, no_op_request};

const SLOTS: usize = 16;
const KEYS: usize = 1_000;
/// How many works of a call.
const CALL: usize = 1_000;
const HELD: &str = "held";

pub(crate) const KEYED: &str = "1,000 keys, one at a time each";
pub(crate) const BESIDE: &str = "beside works that are held";
pub(crate) const TIMES: &str = "times the time of a work without them";
pub(crate) const OPENED: &str = "once the gate opens";

pub(crate) fn gates(task: &Task) -> Outcome<Report> {
    let mut report = Report::default();
    let works = task.options.works(30_000, 300);
    let held = task.options.works(1_000_000, 2_000);
    let plain = run(task, "plain", works, |_| None)?;
    let keyed = run(task, "keyed", works, |place| Some(format!("customer/{}", place % KEYS)))?;
    let mut say = |setting: &str, count: usize, value: f64, unit: &str| {
        report.say(Measure::new("B13", setting, count, value, unit));
    };
    for (setting, (rate, processors)) in [("plain works", plain), (KEYED, keyed)] {
        say(setting, works, rate, "works/s");
        say(setting, works, processors, PROCESSORS);
    }
    say(KEYED, works, 100.0 * keyed.0 / plain.0, "% of plain works");
    let file = task.file("b13-held.redb");
    let stand = Stand::open(task, &file)?;
    let manager = stand.builder(SLOTS).start()?;
    block_on(manager.pause(Gate::tag(HELD)))?;
    let few = held / 10;
    let alone = begin(&manager, &task.options, few)?;
    for first in (0..held).step_by(CALL) {
        let requests = (first..held.min(first + CALL)).map(|_| no_op_request(&task.options).tag(HELD));
        block_on(manager.enqueue_all(requests))?;
    }
    let beside = begin(&manager, &task.options, few)?;
    say(BESIDE, held, beside, "works/s");
    say(BESIDE, held, alone / beside, TIMES);
    let started = Instant::now();
    block_on(manager.resume(Gate::tag(HELD)))?;
    run_all(&manager)?;
    let opened = held as f64 / started.elapsed().as_secs_f64();
    say(OPENED, held, opened, "works/s");
    say(OPENED, held, 100.0 * opened / plain.0, "% of plain works");
    report.promise(stand.file(), no_op_name(&task.options), Promised::Succeeded, held + 2 * few);
    report.leave_open((manager, stand));
    Ok(report)
}

/// Works that wait are run to their durable end, as many at once as have slots. Answers how many in a second, and the time of the
/// processors that each takes.
fn run(task: &Task, name: &str, works: usize, key_of: impl Fn(usize) -> Option<String>) -> Outcome<(f64, f64)> {
    let stand = Stand::open(task, &task.file(&format!("b13-{name}.redb")))?;
    let manager = stand.builder(SLOTS).limit(Gate::keys("customer/*").at_once(1)).start()?;
    block_on(manager.pause(Gate::everything()))?;
    for first in (0..works).step_by(CALL) {
        let requests = (first..works.min(first + CALL)).map(|place| match key_of(place) {
            Some(key) => no_op_request(&task.options).limit_key(key),
            None => no_op_request(&task.options),
        });
        block_on(manager.enqueue_all(requests))?;
    }
    block_on(manager.resume(Gate::everything()))?;
    let (begin, processors) = (Instant::now(), processor_time()?);
    run_all(&manager)?;
    let rate = works as f64 / begin.elapsed().as_secs_f64();
    let processors = (processor_time()? - processors).as_secs_f64() * 1e6 / works as f64;
    leave(manager);
    Ok((rate, processors))
}

/// Works that nothing holds are enqueued and run. Answers how many in a second.
fn begin(manager: &WorkManager, options: &Options, works: usize) -> Outcome<f64> {
    let begin = Instant::now();
    for first in (0..works).step_by(CALL) {
        let requests = (first..works.min(first + CALL)).map(|_| no_op_request(options));
        block_on(manager.enqueue_all(requests))?;
    }
    run_all(manager)?;
    Ok(works as f64 / begin.elapsed().as_secs_f64())
}
