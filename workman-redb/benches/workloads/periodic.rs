//! B11: very many periodic works of one second. The rule is that a period that succeeded begins the next one an interval after its
//! end. So a run is early if it begins less than a second after the end of the one before, and late by as much as it is more. What
//! is late moves the runs after it and is not made up for, so a work runs a little less often than once a second: once in a second
//! and what a run and its commits take.
//!
//! B12: the same planner on the virtual clock of `workman-testing`, for a year.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use workman_core::worker;
use workman_testing::TestDriver;

use crate::Outcome;
use crate::child::{Promised, Report, Task};
use crate::figure::{Measure, Times};
use crate::proc::processor_time;
use crate::stand::Stand;
use crate::workers::now;

const SECOND: Duration = Duration::from_secs(1);
/// Store time is counted in milliseconds, and cut.
const GRAIN: Duration = Duration::from_millis(2);
const SLOTS: usize = 64;

/// What the runs have said since the watch began.
#[derive(Default)]
struct Watch {
    runs: u64,
    early: u64,
    late: Times,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);
/// When the newest run of each work ended, in nanoseconds of [`now`]; 0 before the first.
static ENDS: OnceLock<Vec<AtomicU64>> = OnceLock::new();

/// Says when it runs.
#[worker]
async fn tick(number: usize) {
    let begin = now();
    let Some(end) = ENDS.get().and_then(|ends| ends.get(number)) else { return };
    let before = Duration::from_nanos(end.load(Ordering::Relaxed));
    if let Some(watch) = &mut *WATCH.lock().unwrap_or_else(PoisonError::into_inner)
        && !before.is_zero()
    {
        let due = before + SECOND;
        watch.runs += 1;
        watch.early += u64::from(begin + GRAIN < due);
        watch.late.push(begin.saturating_sub(due));
    }
    end.store(u64::try_from(now().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

pub(crate) fn every_second(task: &Task) -> Outcome<Report> {
    let (works, seconds) = (task.options.scaled(10_000, 500), task.options.seconds());
    ENDS.get_or_init(|| (0..works).map(|_| AtomicU64::new(0)).collect());
    let slots = task.options.slots.unwrap_or(SLOTS);
    let stand = Stand::open(task, &task.file("works.redb"))?;
    let manager = stand.runner(slots)?;
    thread::scope(|scope| {
        let callers: Vec<_> = (0..task.options.callers)
            .map(|caller| {
                let manager = &manager;
                scope.spawn(move || {
                    (caller..works).step_by(task.options.callers).try_for_each(|number| {
                        block_on(manager.enqueue_periodic(tick::periodic(number, SECOND))).map(drop)
                    })
                })
            })
            .collect();
        callers.into_iter().try_for_each(|caller| match caller.join() {
            Ok(enqueued) => enqueued.map_err(|error| error.to_string()),
            Err(_) => Err("a caller panicked".to_owned()),
        })
    })?;
    thread::sleep(3 * SECOND);

    let (begin, processors, before) = (Instant::now(), processor_time()?, stand.commit()?);
    *WATCH.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watch::default());
    thread::sleep(Duration::from_secs(seconds));
    let watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    let (took, processors) = (begin.elapsed().as_secs_f64(), processor_time()? - processors);
    let commits = stand.commit()? - before;

    let mut report = Report::default();
    let mut say = |workload, value, unit| {
        let setting = format!("{works} works of one second, for {seconds} s, slots {slots}");
        report.say(Measure::new(workload, &setting, works, value, unit));
    };
    say("B11 runs", watch.runs as f64 / took, "runs/s");
    say("B11 runs", 100.0 * watch.runs as f64 / (works as f64 * took), "% of one run a second");
    say("B11 runs", watch.runs as f64 / commits as f64, "runs a commit");
    say("B11 early", watch.early as f64, "runs before their time");
    say("B11 processors", processors.as_secs_f64() / took, "cores");
    report.say(
        Measure::new("B11 late", "behind the due time", works, watch.late.quantile(0.5), "us").with_times(&watch.late),
    );
    report.promise(stand.file(), "tick", Promised::Stored, works);
    report.leave_open((manager, stand));
    Ok(report)
}

const QUARTER: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// So many periodic works.
const SERIES: u64 = 4;

static QUARTERS: AtomicU64 = AtomicU64::new(0);

/// Runs.
#[worker]
async fn quarter() {
    QUARTERS.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn year(task: &Task) -> Outcome<Report> {
    let days: u32 = task.options.scaled(365, 7);
    let begin = Instant::now();
    let test = TestDriver::new();
    for _ in 0..SERIES {
        test.enqueue_periodic(quarter::periodic(QUARTER));
    }
    test.advance(DAY * days);
    let took = begin.elapsed();
    let (runs, wanted) = (QUARTERS.load(Ordering::Relaxed), SERIES * u64::from(days) * 24 * 4);
    if !(wanted..=wanted + SERIES).contains(&runs) {
        return Err(format!("{runs} runs instead of {wanted}").into());
    }
    let mut report = Report::default();
    let setting = format!("{SERIES} works of 15 minutes, {days} days");
    report.say(Measure::new("B12", &setting, runs as usize, took.as_secs_f64(), "s"));
    report.say(Measure::new("B12", &setting, runs as usize, runs as f64 / took.as_secs_f64(), "runs/s"));
    Ok(report)
}
