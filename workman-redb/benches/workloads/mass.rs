//! B10: what concerns very many works at once: all pages of a tag, cancelling by a tag, and pruning. Somebody enqueues one work
//! after the other meanwhile, as B1 does; how long those calls take then is compared with how long they take alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use futures::executor::block_on;
use workman_core::store::PageRequest;
use workman_core::{WorkManager, WorkQuery, WorkSelector};

use crate::backlog::{own_copy, setting};
use crate::child::{Promised, Report, Task};
use crate::enqueue::{self, Shape};
use crate::figure::{Measure, Times};
use crate::options::Options;
use crate::stand::Stand;
use crate::workers::no_op_name;
use crate::{Outcome, workers};

const PAGE: usize = 1_000;
/// The worker of the works that wait, and so a tag of theirs.
const TAG: &str = "later";

/// Something that is done to all of them; it says how many there were.
type Deed = fn(&WorkManager) -> Result<usize, String>;

const DEEDS: [(&str, Deed); 3] = [("B10 query", query), ("B10 cancel", cancel), ("B10 prune", prune)];

fn query(manager: &WorkManager) -> Result<usize, String> {
    let (mut works, mut after) = (0, None);
    loop {
        let request = PageRequest { query: WorkQuery::tag(TAG), after, limit: PAGE };
        let page = block_on(manager.page(request)).map_err(|error| error.to_string())?;
        works += page.works.len();
        after = page.next;
        if after.is_none() {
            return Ok(works);
        }
    }
}

fn cancel(manager: &WorkManager) -> Result<usize, String> {
    block_on(manager.cancel(WorkSelector::tag(TAG))).map_err(|error| error.to_string())
}

fn prune(manager: &WorkManager) -> Result<usize, String> {
    block_on(manager.prune()).map_err(|error| error.to_string())
}

pub(crate) fn mass(task: &Task) -> Outcome<Report> {
    let options = &task.options;
    let stand = Stand::open(task, &own_copy(task)?)?;
    let manager = stand.enqueuer()?;
    let mut report = Report::default();
    let shape = Shape::b1(options);
    let (_, alone) = enqueue::enqueue(&manager, options, shape)?;
    let mut enqueued = shape.works;
    let say = |workload: &str, value, unit| Measure::new(workload, &setting(options), options.backlog(), value, unit);
    report.say(say("B10 alone", alone.quantile(0.5), "us of an enqueue").with_times(&alone));
    for (name, deed) in DEEDS {
        let before = stand.commit()?;
        let begin = Instant::now();
        let (works, beside) = beside(&manager, options, deed)?;
        let took = begin.elapsed().as_secs_f64();
        let commits = stand.commit()?.saturating_sub(before + beside.len() as u64);
        if works != options.backlog() {
            return Err(format!("{name}: {works} works instead of {}", options.backlog()).into());
        }
        enqueued += beside.len();
        report.say(say(name, took, "s").with_times(&beside));
        report.say(say(name, works as f64 / commits.max(1) as f64, "works a commit"));
        report.say(say(name, beside.quantile(0.99) / alone.quantile(0.99), "times the p99 of an enqueue alone"));
    }
    report.promise(stand.file(), no_op_name(options), Promised::Stored, enqueued);
    report.leave_open((manager, stand));
    Ok(report)
}

/// Enqueues works one after the other until the deed is done.
fn beside(manager: &WorkManager, options: &Options, deed: Deed) -> Outcome<(usize, Times)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut times = Times::default();
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                block_on(manager.enqueue(workers::no_op_request(options))).map_err(|error| error.to_string())?;
                times.push(begin.elapsed());
            }
            Ok::<_, String>(times)
        });
        let works = deed(manager);
        over.store(true, Ordering::Relaxed);
        let times = caller.join().map_err(|_| "the caller panicked")??;
        Ok((works?, times))
    })
}
