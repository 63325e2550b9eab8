//! What a worker's own backoff function says of the time after a run.

use std::panic::catch_unwind;
use std::time::Duration;

use super::WorkerDef;
use crate::limits::Limits;
use crate::plan::Claimed;
use crate::policy::{BackoffPolicy, OnInterruption};

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

impl OwnWaits {
    /// Asks for what this run may need.
    pub(crate) fn ask(def: &WorkerDef, claimed: &Claimed, limits: &Limits) -> Self {
        let (record, backoff) = (&claimed.record, claimed.record.terms.backoff);
        let Some(backoff_fn) = def.defaults.backoff_fn.filter(|_| backoff.policy() == BackoffPolicy::Custom) else {
            return OwnWaits::default();
        };
        let wait_after = |failures: u32| match catch_unwind(|| backoff_fn(failures)) {
            Ok(said) => Some(backoff.own_delay_of(record.id, failures, said.max(limits.minimums.backoff))),
            Err(_) => {
                let worker = &*claimed.spec.worker;
                tracing::error!(worker, failures, "the worker's backoff function panicked; the wait doubles instead");
                None
            }
        };
        let failures = record.failures.saturating_add(1);
        let is_last = record.terms.max_attempts.is_some_and(|max| failures >= max);
        let backs_off = record.terms.on_interruption == OnInterruption::BackOff;
        let failed = if is_last { None } else { wait_after(failures) };
        let interrupted = match record.interruptions {
            _ if !backs_off => None,
            0 if !is_last => failed,
            before => wait_after(failures.saturating_add(before)),
        };
        OwnWaits { failed, interrupted }
    }
}
