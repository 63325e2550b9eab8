//! B7: works that wait for each other: many short chains, one long chain, and one work before very many before one. Each is
//! enqueued and run to its end, at full size and at half of it: a step that were quadratic would take twice as long for each work.
//! What as many plain works take to run, right before it in the same process, is the measure.
//!
//! A step of a chain begins when the one before it has ended on disk, so one long chain is as fast as commits are, one after the
//! other. That is measured too: raw redb settling one work and claiming the next in each commit, and the same bytes appended and synced.

use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use futures::executor::block_on;
use workman_core::{WorkGraph, WorkManager};

use crate::Outcome;
use crate::child::{Promised, Report, Task};
use crate::figure::{Measure, OF_RAW_SYNC, RAW_REDB, RAW_SYNC};
use crate::options::Options;
use crate::stand::{Stand, leave};
use crate::workers::{no_op_name, no_op_request};
use crate::{drain, sample};

const SLOTS: usize = 1_024;

/// A form of works that wait for each other.
struct Form {
    name: &'static str,
    /// Works in all, at full size.
    works: usize,
    /// Enqueues that many, more or less, and says how many.
    enqueue: fn(&WorkManager, &Options, usize) -> Outcome<usize>,
}

const STEPS: usize = 5;

pub(crate) const FIVE: &str = "chains of five";
pub(crate) const ONE_CHAIN: &str = "one chain";
pub(crate) const FAN: &str = "fan-out and fan-in";

fn forms(options: &Options) -> [Form; 3] {
    [
        Form { name: FIVE, works: options.works(5_000, 200), enqueue: short_chains },
        Form { name: ONE_CHAIN, works: options.works(10_000, 200), enqueue: long_chain },
        Form { name: FAN, works: options.works(10_000, 200), enqueue: fan },
    ]
}

/// Chains of five steps, from all callers at once.
fn short_chains(manager: &WorkManager, options: &Options, works: usize) -> Outcome<usize> {
    let chains = works / STEPS;
    let caller = |caller: usize| -> Result<(), String> {
        for _ in (caller..chains).step_by(options.callers) {
            let mut chain = manager.begin_with(no_op_request(options));
            for _ in 1..STEPS {
                chain = chain.then(no_op_request(options));
            }
            block_on(chain.enqueue()).map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let callers: Vec<_> = (0..options.callers).map(|number| scope.spawn(move || caller(number))).collect();
        for caller in callers {
            caller.join().map_err(|_| "a caller panicked")??;
        }
        Ok(chains * STEPS)
    })
}

/// One chain, in one call.
fn long_chain(manager: &WorkManager, options: &Options, works: usize) -> Outcome<usize> {
    let mut chain = manager.begin_with(no_op_request(options));
    for _ in 1..works {
        chain = chain.then(no_op_request(options));
    }
    Ok(block_on(chain.enqueue())?.ids.len())
}

/// One work, then all others side by side, then one that waits for all of these, in one call.
fn fan(manager: &WorkManager, options: &Options, works: usize) -> Outcome<usize> {
    let mut graph = WorkGraph::new();
    let (first, last) = (graph.add(no_op_request(options)), graph.add(no_op_request(options)));
    for _ in 0..works {
        let between = graph.add(no_op_request(options));
        graph.edge(first, between).edge(between, last);
    }
    Ok(block_on(manager.enqueue_graph(graph))?.ids.len())
}

pub(crate) fn chains(task: &Task) -> Outcome<Report> {
    let mut report = Report::default();
    for form in forms(&task.options) {
        let plain = plain(task, &form, &mut report)?;
        let half = both(task, &form, form.works / 2, &mut report)?;
        let full = both(task, &form, form.works, &mut report)?;
        let mut say = |verb: &str, value: f64, unit: &str| {
            let setting = format!("{}, slots {SLOTS}", form.name);
            report.say(Measure::new(&format!("B7 {verb}"), &setting, form.works, value, unit));
        };
        say("enqueue", full.enqueued, "works/s");
        say("enqueue", half.enqueued / full.enqueued, "times the time of a work at half the size");
        say("run", full.run, "works/s");
        say("run", half.run / full.run, "times the time of a work at half the size");
        say("run", 100.0 * full.run / plain, "% of plain works");
        say("run", full.works_a_commit, "works a commit");
        if form.name == ONE_CHAIN {
            let (raw, synced) = one_by_one(task, form.works)?;
            say("run", 100.0 * full.run / raw, "% of raw redb");
            say("run", 100.0 * full.run / synced, OF_RAW_SYNC);
            let setting = format!("{ONE_CHAIN}, a commit a work");
            for (rate, system) in [(raw, RAW_REDB), (synced, RAW_SYNC)] {
                report.say(Measure::new("B7 run", &setting, form.works, rate, "works/s").of(system));
            }
        }
    }
    Ok(report)
}

struct Rates {
    /// Works a second.
    enqueued: f64,
    run: f64,
    works_a_commit: f64,
}

fn both(task: &Task, form: &Form, works: usize, report: &mut Report) -> Outcome<Rates> {
    let options = &task.options;
    let stand = Stand::open(task, &file(task, &format!("{works} in {}", form.name)))?;
    let manager = stand.enqueuer()?;
    let begin = Instant::now();
    let works = (form.enqueue)(&manager, options, works)?;
    let enqueued = works as f64 / begin.elapsed().as_secs_f64();
    leave(manager);
    let before = stand.commit()?;
    let (manager, took) = drain::timed(&stand, SLOTS)?;
    let works_a_commit = works as f64 / (stand.commit()? - before) as f64;
    report.promise(stand.file(), no_op_name(options), Promised::Succeeded, works);
    report.leave_open((manager, stand));
    Ok(Rates { enqueued, run: works as f64 / took.as_secs_f64(), works_a_commit })
}

/// How many works a second raw redb runs if each takes a commit, and how many are appended and synced one by one.
fn one_by_one(task: &Task, works: usize) -> Outcome<(f64, f64)> {
    let works = works.min(drain::works(&task.options));
    let (script, commits) = (sample::run_script(task)?, works as u64 + 1);
    let (took, _) = drain::replay(task, &script, &task.file("control.redb"), works, commits)?;
    let synced = drain::append(task, &script, &task.file("control.log"), works, commits)?;
    Ok((works as f64 / took.as_secs_f64(), works as f64 / synced.as_secs_f64()))
}

/// How fast as many works run that wait for nothing.
fn plain(task: &Task, form: &Form, report: &mut Report) -> Outcome<f64> {
    let stand = Stand::open(task, &file(task, &format!("before {}", form.name)))?;
    stand.fill(&task.options, form.works)?;
    let (manager, took) = drain::timed(&stand, SLOTS)?;
    report.promise(stand.file(), no_op_name(&task.options), Promised::Succeeded, form.works);
    report.leave_open((manager, stand));
    Ok(form.works as f64 / took.as_secs_f64())
}

fn file(task: &Task, name: &str) -> PathBuf {
    task.file(&format!("{}.redb", name.replace(' ', "-")))
}
