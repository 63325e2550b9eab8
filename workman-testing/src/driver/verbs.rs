//! What a test says: enqueue, look, steer, fake a worker, change the machine.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use workman_core::seams::{Body, Invocation, Unstartable};
use workman_core::steps::Standalone;
use workman_core::store::{End, WorkerKind};
use workman_core::{
    Cancelling, ConstraintKind, Counts, EnqueueError, Enqueued, ExistingPeriodicWorkPolicy, ExistingWorkPolicy,
    Explanation, Gate, GateStatus, Network, Outcome, Pausing, PeriodicRequest, RetryReport, SteerResult, Timestamp,
    UniqueWork, WorkError, WorkId, WorkInfo, WorkQuery, WorkState, Worker,
};

use super::TestDriver;

/// What an enqueue under a name did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What happened.
    pub how: Enqueued,
    /// The work that holds the name now.
    pub id: WorkId,
}

impl TestDriver {
    // ---- enqueue ----

    /// Stores one work.
    ///
    /// # Panics
    /// If it is refused, with the error's text. [`try_enqueue`](Self::try_enqueue) answers it instead.
    #[track_caller]
    pub fn enqueue(&self, request: impl Standalone) -> WorkId {
        let stored = self.try_enqueue(request);
        self.expect(stored)
    }

    /// Stores one work.
    ///
    /// # Errors
    /// As [`WorkManager::enqueue`](workman_core::WorkManager::enqueue).
    #[track_caller]
    pub fn try_enqueue(&self, request: impl Standalone) -> Result<WorkId, EnqueueError> {
        let manager = self.manager();
        self.block_on(manager.enqueue(request)).map(|handle| handle.id())
    }

    /// Stores one work under a name.
    #[track_caller]
    pub fn enqueue_unique(&self, name: &str, policy: ExistingWorkPolicy, request: impl Standalone) -> Named {
        let request = request.into_request();
        let (manager, own) = (self.manager(), request.id());
        let stored = self.block_on(manager.enqueue_unique(name, policy, request));
        named(self.expect(stored), own)
    }

    /// Stores periodic work.
    #[track_caller]
    pub fn enqueue_periodic(&self, request: PeriodicRequest) -> WorkId {
        let manager = self.manager();
        let stored = self.block_on(manager.enqueue_periodic(request));
        self.expect(stored).id()
    }

    /// Stores periodic work under a name.
    #[track_caller]
    pub fn enqueue_unique_periodic(
        &self,
        name: &str,
        policy: ExistingPeriodicWorkPolicy,
        request: PeriodicRequest,
    ) -> Named {
        let (manager, own) = (self.manager(), request.id());
        let stored = self.block_on(manager.enqueue_unique_periodic(name, policy, request));
        named(self.expect(stored), own)
    }

    // ---- look ----

    /// What is known of a work.
    ///
    /// # Panics
    /// If it is not stored. [`find`](Self::find) answers `None` instead.
    #[track_caller]
    #[must_use]
    pub fn info(&self, id: WorkId) -> WorkInfo {
        self.find(id).unwrap_or_else(|| self.fail(format_args!("there is no work {id}")))
    }

    /// What is known of a work, if it is stored.
    #[track_caller]
    #[must_use]
    pub fn find(&self, id: WorkId) -> Option<WorkInfo> {
        let manager = self.manager();
        let info = self.block_on(manager.info(id));
        self.expect(info)
    }

    /// Where a work stands.
    #[track_caller]
    #[must_use]
    pub fn state_of(&self, id: WorkId) -> WorkState {
        self.info(id).state
    }

    /// All works that match.
    #[track_caller]
    #[must_use]
    pub fn query(&self, query: WorkQuery) -> Vec<WorkInfo> {
        let manager = self.manager();
        let works = self.block_on(manager.query(query));
        self.expect(works)
    }

    /// How many works match.
    #[track_caller]
    #[must_use]
    pub fn count(&self, query: WorkQuery) -> u64 {
        let manager = self.manager();
        let count = self.block_on(manager.count(query));
        self.expect(count)
    }

    /// How many works of each worker stand where.
    #[track_caller]
    pub fn counts(&self) -> Counts {
        let manager = self.manager();
        let counts = self.block_on(manager.counts());
        self.expect(counts)
    }

    /// What a work gave.
    ///
    /// # Panics
    /// If it has not succeeded, or gave something else.
    #[track_caller]
    #[must_use]
    pub fn output<T: DeserializeOwned>(&self, id: WorkId) -> T {
        let info = self.info(id);
        let output = match (&info.state, &info.output) {
            (WorkState::Succeeded, Some(output)) => output.decode::<T>(),
            _ => self.fail(format_args!(
                "work {id} of worker `{}` has no output: it is {}, last error {:?}",
                info.worker,
                info.state,
                info.last_error().map(ToString::to_string)
            )),
        };
        self.expect(output)
    }

    /// Why a work is not running.
    #[track_caller]
    #[must_use]
    pub fn explain(&self, id: WorkId) -> Explanation {
        let manager = self.manager();
        let explanation = self.block_on(manager.explain(id));
        self.expect(explanation)
    }

    // ---- steer ----

    /// Ends works; answers how many.
    #[track_caller]
    pub fn cancel(&self, selector: impl Into<Cancelling>) -> usize {
        let manager = self.manager();
        let cancelled = self.block_on(manager.cancel(selector));
        self.expect(cancelled)
    }

    /// Tries parked or failed work again; answers what came back with it.
    #[track_caller]
    pub fn retry(&self, id: WorkId) -> RetryReport {
        let manager = self.manager();
        let retried = self.block_on(manager.retry(id));
        self.expect(retried)
    }

    /// Makes work due now.
    #[track_caller]
    pub fn run_now(&self, id: WorkId) -> SteerResult {
        let manager = self.manager();
        let steered = self.block_on(manager.run_now(id));
        self.expect(steered)
    }

    /// Sets the next run of a work.
    #[track_caller]
    pub fn reschedule(&self, id: WorkId, at: impl Into<Timestamp>) -> SteerResult {
        let manager = self.manager();
        let steered = self.block_on(manager.reschedule(id, at));
        self.expect(steered)
    }

    // ---- gates ----

    /// Limits a gate by hand.
    #[track_caller]
    pub fn limit(&self, gate: Gate) {
        let manager = self.manager();
        let limited = self.block_on(manager.limit(gate));
        self.expect(limited);
    }

    /// Lets nothing pass a gate; answers how many runs were stopped.
    #[track_caller]
    pub fn pause(&self, pausing: impl Into<Pausing>) -> usize {
        let manager = self.manager();
        let paused = self.block_on(manager.pause(pausing));
        self.expect(paused)
    }

    /// Ends a pause, or lets a serial lane go on that a failure holds.
    #[track_caller]
    pub fn resume(&self, gate: Gate) {
        let manager = self.manager();
        let resumed = self.block_on(manager.resume(gate));
        self.expect(resumed);
    }

    /// All gates of which something is wanted, and what goes on there.
    #[track_caller]
    #[must_use]
    pub fn gates(&self) -> Vec<GateStatus> {
        let manager = self.manager();
        let gates = self.block_on(manager.gates());
        self.expect(gates)
    }

    // ---- the machine ----

    /// Makes this condition as bad as can be.
    ///
    /// This and the other verbs of the machine count at once: for what is enqueued next, and from this moment on. Runs that
    /// have to stop are told when they run, by [`run_until_idle`](Self::run_until_idle) or [`advance`](Self::advance).
    #[track_caller]
    pub fn lose(&self, kind: ConstraintKind) {
        self.sensor().lose(kind);
        self.tell_conditions();
    }

    /// Makes this condition ideal.
    #[track_caller]
    pub fn meet(&self, kind: ConstraintKind) {
        self.sensor().meet(kind);
        self.tell_conditions();
    }

    /// Says what the network is like.
    #[track_caller]
    pub fn set_network(&self, network: Network) {
        self.sensor().set_network(network);
        self.tell_conditions();
    }

    // ---- fakes ----

    /// Fakes a worker: its attempts, in any works, end with these results, one each. Its codec stays real: an input that does not
    /// decode parks the work as ever, and what the worker's attribute says holds. Its function of `permanent = ..` is asked about an
    /// error that is of its type (`Err(Refused.into())`); a text is the error of a worker that fails with a `String`, and an
    /// `anyhow::Error` is never handed on: [`WorkError::permanent`] says it there. A run that finds no result left fails the test.
    #[track_caller]
    pub fn stub<W>(&self, results: impl IntoIterator<Item = Result<W::Output, WorkError>>)
    where
        W: Worker,
        W::Output: Serialize,
    {
        self.stub_outcomes::<W>(results.into_iter().map(|result| match result {
            Ok(output) => Outcome::Success(output),
            Err(error) => Outcome::Failed(error.sorted_by::<W>()),
        }));
    }

    /// As [`stub`](Self::stub), with outcomes, so that an attempt can snooze too.
    #[track_caller]
    pub fn stub_outcomes<W>(&self, outcomes: impl IntoIterator<Item = Outcome<W::Output>>)
    where
        W: Worker,
        W::Output: Serialize,
    {
        self.must_not_run("stub");
        let name = W::DEF.name;
        let ends: VecDeque<End> = outcomes.into_iter().map(|outcome| outcome.end(name)).collect();
        let (count, ends) = (ends.len(), Arc::new(Mutex::new(ends)));
        let broken = self.ledger.borrow().broken();
        let next = move || {
            let end = ends.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            end.unwrap_or_else(|| {
                let text =
                    format!("the stub of worker `{name}` was run once more than it has results, which are {count}");
                broken.report(text.clone());
                Outcome::<W::Output>::Failed(WorkError::permanent(text)).end(name)
            })
        };
        let stub = move |invocation: Invocation| {
            if let Err(error @ Unstartable::Undecodable(_)) = (W::DEF.start)(invocation) {
                return Err(error);
            }
            let next = next.clone();
            Ok(match W::DEF.kind {
                WorkerKind::Async => Body::Async(Box::pin(async move { next() })),
                WorkerKind::Blocking => Body::Blocking(Box::new(next)),
            })
        };
        let stub: workman_core::seams::Stub = Arc::new(stub);
        self.setup.borrow_mut().stubs.push(Box::new(move |registry| {
            registry.stub::<W>(Arc::clone(&stub));
        }));
    }

    #[track_caller]
    fn expect<T, E: fmt::Display>(&self, result: Result<T, E>) -> T {
        result.unwrap_or_else(|error| self.fail(format_args!("{error}")))
    }
}

fn named<O>(stored: UniqueWork<O>, own: WorkId) -> Named {
    let id = match &stored.how {
        Enqueued::Kept(id) | Enqueued::Updated(id) => *id,
        _ => own,
    };
    Named { how: stored.how, id }
}
