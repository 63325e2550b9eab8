//! B1 to B3: enqueueing, on a manager that runs nothing. What a call costs until it is acknowledged, its request included.
//!
//! The store, raw redb and the raw log take turns, some hundred works at a time, so that whatever else the machine does meanwhile
//! meets all of them.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use workman_core::WorkManager;

use crate::Outcome;
use crate::child::{Mode, Promised, Report, Task};
use crate::control::{RawLog, RawRedb};
use crate::counting::counted;
use crate::figure::{Measure, PROCESSORS, RAW_REDB, RAW_SYNC, Times, median};
use crate::options::Options;
use crate::proc::processor_time;
use crate::sample;
use crate::stand::Stand;
use crate::workers::{no_op_name, no_op_request};

/// One way of enqueueing.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) works: usize,
    /// Threads that enqueue at once.
    pub(crate) callers: usize,
    /// Works of one call.
    pub(crate) call: usize,
}

impl Shape {
    pub(crate) fn b1(options: &Options) -> Self {
        Shape { name: "B1", works: options.works(2_000, 100), callers: 1, call: 1 }
    }

    pub(crate) fn b2(options: &Options) -> Self {
        Shape { name: "B2", works: options.works(20_000, 2_000), callers: options.callers, call: 1 }
    }

    fn b3(options: &Options) -> Self {
        Shape { name: "B3", works: options.works(100_000, 4_000), callers: 1, call: options.call }
    }

    pub(crate) fn setting(&self) -> String {
        format!("callers {}, works a call {}", self.callers, self.call)
    }
}

/// How many works the largest of the workloads enqueues.
pub(crate) fn most_works(options: &Options) -> usize {
    [Shape::b1(options), Shape::b2(options), Shape::b3(options)].iter().map(|shape| shape.works).max().unwrap_or(0)
}

pub(crate) fn one_caller(task: &Task) -> Outcome<Report> {
    measure(task, Shape::b1(&task.options))
}

pub(crate) fn many_callers(task: &Task) -> Outcome<Report> {
    measure(task, Shape::b2(&task.options))
}

pub(crate) fn long_calls(task: &Task) -> Outcome<Report> {
    measure(task, Shape::b3(&task.options))
}

/// How many turns each of the three takes.
const TURNS: usize = 10;

fn measure(task: &Task, shape: Shape) -> Outcome<Report> {
    let stand = Stand::open(task, &task.file("works.redb"))?;
    let manager = stand.enqueuer()?;
    block_on(manager.enqueue(no_op_request(&task.options)))?;
    let mut report = Report::default();
    match task.mode {
        Mode::Timed => in_turns(task, shape, &stand, &manager, &mut report)?,
        Mode::Counted => {
            let (done, cost) = counted(|| enqueue(&manager, &task.options, shape));
            done?;
            let works = shape.works as f64;
            let measure = Measure::new(shape.name, &shape.setting(), shape.works, 0.0, "works/s");
            report.say(Measure {
                fsyncs: Some(cost.syncs as f64 / works),
                allocations: Some(cost.allocations as f64 / works),
                ..measure
            });
        }
    }
    report.promise(stand.file(), no_op_name(&task.options), Promised::Stored, shape.works + 1);
    report.leave_open((manager, stand));
    Ok(report)
}

fn in_turns(task: &Task, shape: Shape, stand: &Stand, manager: &WorkManager, report: &mut Report) -> Outcome {
    let (begun, script) = sample::enqueue_script(task)?;
    let mut redb = RawRedb::create(&task.file("control.redb"), &begun, task.options.durability)?;
    let mut log = RawLog::create(&task.file("control.log"), task.options.durability)?;
    let (mut ours, mut theirs, mut syncs, mut batches) = (Spent::default(), Spent::default(), Vec::new(), Vec::new());
    let mut times = Times::default();
    let turn = shape.works.div_ceil(TURNS).next_multiple_of(shape.call);
    for first in (0..shape.works).step_by(turn) {
        let works = first..shape.works.min(first + turn);
        let count = works.len();
        let before = stand.commit()?;
        let processors = processor_time()?;
        let (took, calls) = enqueue(manager, &task.options, Shape { works: count, ..shape })?;
        ours.add(count, took, processor_time()? - processors);
        times.extend(calls);
        let commits = (stand.commit()? - before).max(1);
        let batch = ((count as f64 / commits as f64).round() as usize).max(1);
        batches.push(batch as f64);
        let processors = processor_time()?;
        let took = redb.replay(&script, works, batch)?;
        theirs.add(count, took, processor_time()? - processors);
        syncs.push(count as f64 / log.append(count.div_ceil(batch))?.as_secs_f64());
    }
    let say = |value, unit| Measure::new(shape.name, &shape.setting(), shape.works, value, unit);
    report.say(say(ours.rate(), "works/s").with_times(&times));
    report.say(say(theirs.rate(), "works/s").of(RAW_REDB));
    report.say(say(median(syncs), "works/s").of(RAW_SYNC));
    report.say(say(ours.processors(shape.works), PROCESSORS));
    report.say(say(theirs.processors(shape.works), PROCESSORS).of(RAW_REDB));
    report.say(say(script.operations(), "table operations a work").of(RAW_REDB));
    report.say(say(median(batches), "works a commit"));
    let ratios = theirs.seconds.iter().zip(&ours.seconds).map(|(theirs, ours)| theirs / ours);
    report.say(say(100.0 * median(ratios), "% of raw redb"));
    Ok(())
}

/// What several turns took.
#[derive(Default)]
struct Spent {
    /// For each work, turn by turn.
    seconds: Vec<f64>,
    /// The time of all processors, of all turns together.
    processors: Duration,
}

impl Spent {
    fn add(&mut self, works: usize, took: Duration, processors: Duration) {
        self.seconds.push(took.as_secs_f64() / works as f64);
        self.processors += processors;
    }

    fn rate(&self) -> f64 {
        1.0 / median(self.seconds.iter().copied())
    }

    fn processors(&self, works: usize) -> f64 {
        self.processors.as_secs_f64() * 1e6 / works as f64
    }
}

/// Enqueues as many works as the shape says, and answers how long that took, and how long single calls did.
pub(crate) fn enqueue(manager: &WorkManager, options: &Options, shape: Shape) -> Outcome<(Duration, Times)> {
    let start = Barrier::new(shape.callers + 1);
    let calls = shape.works.div_ceil(shape.call);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..shape.callers)
            .map(|caller| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let own = (caller..calls).step_by(shape.callers);
                    own.map(|call| one_call(manager, options, shape, call)).collect::<Result<Times, String>>()
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        let mut times = Times::default();
        for caller in callers {
            times.extend(caller.join().map_err(|_| "a caller panicked")??);
        }
        Ok((begin.elapsed(), times))
    })
}

fn one_call(manager: &WorkManager, options: &Options, shape: Shape, call: usize) -> Result<Duration, String> {
    let begin = Instant::now();
    let first = call * shape.call;
    let works = shape.works.min(first + shape.call) - first;
    if shape.call == 1 {
        block_on(manager.enqueue(no_op_request(options))).map_err(|error| error.to_string())?;
    } else {
        let requests = (0..works).map(|_| no_op_request(options));
        block_on(manager.enqueue_all(requests)).map_err(|error| error.to_string())?;
    }
    Ok(begin.elapsed())
}
