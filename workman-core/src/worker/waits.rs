//! [`OwnWaits`]: what a worker's own backoff function says of the time after a run.

use std::time::Duration;

use super::WorkerDef;
use crate::foreign::foreign;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::Claimed;
use crate::policy::{BackoffPolicy, OnInterruption};
use crate::record::Terms;
use crate::time::in_whole_millis;

/// How long the work waits after this run, where that is for its worker's own function to say.
///
/// It is asked on the run's own thread and before the worker: it is the program's code, which may take its time, and after a
/// worker that had to be given up there is no thread left to ask it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnWaits {
    /// If the attempt fails.
    pub(crate) failed: Option<Duration>,
    /// If the system interrupts it, and its request asks for a wait then.
    pub(crate) interrupted: Option<Duration>,
}

/// The run that a worker's own function is asked about.
pub(crate) struct RunTerms<'a> {
    pub(crate) id: WorkId,
    pub(crate) worker: &'a str,
    pub(crate) terms: &'a Terms,
    /// How many attempts failed before it, and how often the work was interrupted.
    pub(crate) failures: u32,
    pub(crate) interruptions: u32,
}

impl<'a> From<&'a Claimed> for RunTerms<'a> {
    fn from(Claimed { record, spec, .. }: &'a Claimed) -> Self {
        let (failures, interruptions) = (record.failures, record.interruptions);
        RunTerms { id: record.id, worker: &spec.worker, terms: &record.terms, failures, interruptions }
    }
}

impl OwnWaits {
    /// Asks for what this run may need.
    pub(crate) fn ask(def: &WorkerDef, run: &RunTerms<'_>, limits: &Limits) -> Self {
        let backoff = run.terms.backoff;
        let Some(backoff_fn) = def.defaults.backoff_fn.filter(|_| backoff.policy() == BackoffPolicy::Custom) else {
            return OwnWaits::default();
        };
        let wait_after = |failures: u32| match foreign(|| backoff_fn(failures)) {
            Ok(said) => {
                let said = in_whole_millis(said).max(limits.minimums.backoff);
                Some(backoff.own_delay_of(run.id, failures, said))
            }
            Err(panicked) => {
                let worker = run.worker;
                tracing::error!(worker, failures, %panicked, "the worker's backoff function panicked; the wait doubles instead");
                None
            }
        };
        let failures = run.failures.saturating_add(1);
        let is_last = run.terms.max_attempts.is_some_and(|max| failures >= max);
        let backs_off = run.terms.on_interruption == OnInterruption::BackOff;
        let failed = if is_last { None } else { wait_after(failures) };
        let interrupted = match run.interruptions {
            _ if !backs_off => None,
            0 if !is_last => failed,
            before => wait_after(failures.saturating_add(before)),
        };
        OwnWaits { failed, interrupted }
    }
}
