//! The progress bar and the summary.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use workman_core::{AttemptEnd, WorkInfo, WorkState};
use workman_examples::cli::Failure;

/// A bar on a terminal; nothing elsewhere.
pub(crate) fn bar() -> Result<ProgressBar, Failure> {
    Ok(ProgressBar::no_length().with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}")?))
}

/// Shows how many works are finished, and which run.
pub(crate) fn show(bar: &ProgressBar, works: &[WorkInfo]) {
    let running = works.iter().filter(|work| work.state == WorkState::Running).map(|work| &*work.worker);
    bar.set_message(running.collect::<Vec<_>>().join(", "));
    bar.set_length(works.len() as u64);
    bar.set_position(works.iter().filter(|work| work.state.is_finished()).count() as u64);
    if works.iter().all(|work| work.state.is_finished()) {
        bar.abandon();
    }
}

#[derive(Default)]
struct Tally {
    works: usize,
    attempts: u64,
    failed: usize,
    died: usize,
    ran: Duration,
}

/// What ran, how long, in how many attempts. An error if not all succeeded.
pub(crate) fn summary(works: &[WorkInfo], out: &Path) -> Result<(), Failure> {
    let mut steps: Vec<(&str, Tally)> = Vec::new();
    for work in works {
        let place = steps.iter().position(|(step, _)| *step == &*work.worker).unwrap_or_else(|| {
            steps.push((&work.worker, Tally::default()));
            steps.len() - 1
        });
        count(&mut steps[place].1, work);
    }
    println!("{:16} {:>6} {:>9} {:>7} {:>5} {:>9}", "step", "works", "attempts", "failed", "died", "time");
    for (step, Tally { works, attempts, failed, died, ran }) in &steps {
        println!("{step:16} {works:>6} {attempts:>9} {failed:>7} {died:>5} {:>7.2} s", ran.as_secs_f64());
    }
    if let Some(work) = works.iter().find(|work| work.state != WorkState::Succeeded) {
        let why = work.last_error().map_or_else(|| "a step before it failed".to_owned(), ToString::to_string);
        return Err(
            format!("{} {} has {}: {why} (--replace does everything anew)", work.worker, work.id, work.state).into()
        );
    }
    let begun = works.iter().map(|work| work.created).min();
    let finished = works.iter().filter_map(|work| work.finished).max();
    let took = finished.zip(begun).map(|(finished, begun)| finished.since(begun)).unwrap_or_default();
    println!(
        "{} works succeeded, {:.2} s after they were asked for: see {}",
        works.len(),
        took.as_secs_f64(),
        out.display()
    );
    Ok(())
}

fn count(tally: &mut Tally, work: &WorkInfo) {
    tally.works += 1;
    tally.attempts += work.runs;
    for attempt in &work.attempts {
        tally.ran += attempt.ended.since(attempt.started);
        tally.failed += usize::from(matches!(attempt.end, AttemptEnd::Failed { .. }));
        tally.died += usize::from(attempt.end == AttemptEnd::Died);
    }
}
