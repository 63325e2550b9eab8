//! B1 to B3: enqueueing, on a manager that runs nothing. What a call costs until it is acknowledged, its request included.
//!
//! The store, raw redb and the raw log take turns, some hundred works at a time, so that whatever else the machine does meanwhile
//! meets all of them.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::try_join_all;
use workman_core::WorkManager;

use crate::Outcome;
use crate::child::{Mode, Promised, Report, Task};
use crate::control::{RawLog, RawRedb};
use crate::counting::counted;
use crate::figure::{Measure, OF_RAW_SYNC, PROCESSORS, RAW_REDB, RAW_SYNC, Times, median};
use crate::options::Options;
use crate::proc::processor_time;
use crate::sample;
use crate::stand::Stand;
use crate::workers::{no_op_name, no_op_request};

/// The threads of an async program with many tasks: as many as two cores have.
const TASK_THREADS: usize = 2;

/// One way of enqueueing.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) works: usize,
    /// Who enqueue at once, each one call after the other.
    pub(crate) callers: usize,
    /// The threads on which they are: each on its own, or as tasks of a few.
    pub(crate) threads: usize,
    /// Works of one call.
    pub(crate) call: usize,
}

impl Shape {
    pub(crate) fn b1(options: &Options) -> Self {
        Shape { name: "B1", works: options.works(2_000, 100), callers: 1, threads: 1, call: 1 }
    }

    pub(crate) fn b2(options: &Options) -> Self {
        let (callers, threads) = match options.tasks {
            Some(tasks) => (tasks.max(1), TASK_THREADS.min(tasks.max(1))),
            None => (options.callers, options.callers),
        };
        Shape { name: "B2", works: options.works(20_000, 2_000), callers, threads, call: 1 }
    }

    fn b3(options: &Options) -> Self {
        Shape { name: "B3", works: options.works(100_000, 4_000), callers: 1, threads: 1, call: options.call }
    }

    pub(crate) fn setting(&self) -> String {
        let Shape { callers, threads, call, .. } = self;
        match callers == threads {
            true => format!("callers {callers}, works a call {call}"),
            false => format!("tasks {callers} on {threads} threads, works a call {call}"),
        }
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
        let took = redb.replay(&script, works.clone(), batch)?;
        theirs.add(count, took, processor_time()? - processors);
        let bytes = works.clone().step_by(batch).map(|first| script.bytes(first..works.end.min(first + batch)));
        syncs.push(log.append(bytes.collect::<Vec<_>>())?.as_secs_f64() / count as f64);
    }
    let say = |value, unit| Measure::new(shape.name, &shape.setting(), shape.works, value, unit);
    report.say(say(ours.rate(), "works/s").with_times(&times));
    report.say(say(theirs.rate(), "works/s").of(RAW_REDB));
    report.say(say(1.0 / median(syncs.iter().copied()), "works/s").of(RAW_SYNC));
    report.say(say(ours.processors(shape.works), PROCESSORS));
    report.say(say(theirs.processors(shape.works), PROCESSORS).of(RAW_REDB));
    report.say(say(script.operations(), "table operations a work").of(RAW_REDB));
    report.say(say(median(batches), "works a commit"));
    let ratios = theirs.seconds.iter().zip(&ours.seconds).map(|(theirs, ours)| theirs / ours);
    report.say(say(100.0 * median(ratios), "% of raw redb"));
    let ratios = syncs.iter().zip(&ours.seconds).map(|(theirs, ours)| theirs / ours);
    report.say(say(100.0 * median(ratios), OF_RAW_SYNC));
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
    let start = Barrier::new(shape.threads + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..shape.threads)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let callers = (thread..shape.callers).step_by(shape.threads);
                    block_on(try_join_all(callers.map(|caller| call_in_turn(manager, options, shape, caller))))
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        let mut times = Times::default();
        for thread in threads {
            thread.join().map_err(|_| "a caller panicked")??.into_iter().for_each(|calls| times.extend(calls));
        }
        Ok((begin.elapsed(), times))
    })
}

/// All calls of one caller, one after the other.
async fn call_in_turn(manager: &WorkManager, options: &Options, shape: Shape, caller: usize) -> Result<Times, String> {
    let mut times = Times::default();
    for call in (caller..shape.works.div_ceil(shape.call)).step_by(shape.callers) {
        times.push(one_call(manager, options, shape, call).await?);
    }
    Ok(times)
}

async fn one_call(manager: &WorkManager, options: &Options, shape: Shape, call: usize) -> Result<Duration, String> {
    let begin = Instant::now();
    let first = call * shape.call;
    let works = shape.works.min(first + shape.call) - first;
    if shape.call == 1 {
        manager.enqueue(no_op_request(options)).await.map_err(|error| error.to_string())?;
    } else {
        let requests = (0..works).map(|_| no_op_request(options));
        manager.enqueue_all(requests).await.map_err(|error| error.to_string())?;
    }
    Ok(begin.elapsed())
}
