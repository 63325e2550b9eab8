//! One run, in named steps: gather what it takes, decode, run, report. A panic in any of them is a failed attempt.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{AbortRegistration, Abortable};
use tracing::{Instrument, Span};

use super::context::{Attempt, FromWorker};
use super::{
    Body, Current, Ending, Invocation, OwnWaits, RegisteredWorker, RunTerms, States, Unstartable, WorkContext,
};
use crate::data::Payload;
use crate::data::merge::{self, MergeError};
use crate::foreign::{self, Panicked, foreign};
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::{Claimed, End, WorkerKind};
use crate::policy::InputMerger;
use crate::query::{PageRequest, WorkQuery};
use crate::record::{ErrorText, InputShape, ParkReason, Prerequisites};
use crate::runtime::{self, Runtime, TOKIO_ADVICE};
use crate::state::StopReason;
use crate::store::{Store, StoreError, StoreErrorKind};

/// How many outputs are read at a time at the most.
const MOST_OUTPUTS_A_PAGE: usize = 256;

/// All that a run needs, apart from a runtime.
pub(crate) struct Run {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) worker: RegisteredWorker,
    pub(crate) states: Arc<States>,
    pub(crate) epoch: u64,
    pub(crate) claimed: Claimed,
    pub(crate) attempt: Arc<Attempt>,
    /// Asked once more right before the worker's own code begins; none if that needs nothing of the machine.
    pub(crate) may_begin: Option<MayBegin>,
    pub(crate) abort: AbortRegistration,
}

/// Whether what a worker needs of the machine is there at this moment.
pub(crate) type MayBegin = Box<dyn FnOnce() -> bool + Send>;

impl Run {
    /// Starts the run; its end comes as [`FromWorker::Ended`], exactly once, whatever happens to the runtime. Everything that it
    /// logs, and that its worker logs, is in one span.
    pub(crate) fn start(self, runtime: &Arc<dyn Runtime>) {
        let report = Report { attempt: Arc::clone(&self.attempt), sent: false };
        let span = self.span();
        match self.worker.def.kind {
            WorkerKind::Async => {
                let run = async move {
                    if !self.attempt.begin() {
                        return report.send(Ok(Ending::Cut(self.attempt.given_up())));
                    }
                    let ending = foreign::awaited(self.run_async()).await;
                    report.send(ending);
                };
                runtime.spawn(Box::pin(run.instrument(span)));
            }
            WorkerKind::Blocking => runtime.spawn_blocking(Box::new(move || {
                span.in_scope(|| {
                    if !self.attempt.begin() {
                        return report.send(Ok(Ending::Cut(self.attempt.given_up())));
                    }
                    let ending = foreign(|| self.run_blocking());
                    report.send(ending);
                });
            })),
        }
    }

    fn span(&self) -> Span {
        let Attempt { trace_tag, worker, id, number, .. } = &*self.attempt;
        tracing::info_span!("work", %trace_tag, %worker, %id, attempt = number)
    }

    /// Who runs, for those who want to wait for somebody.
    fn current(&self) -> Current {
        let Attempt { id, worker, .. } = &*self.attempt;
        Current { store: self.store.identity(), epoch: self.epoch, id: *id, worker: Arc::clone(worker) }
    }

    async fn run_async(self) -> Ending {
        let (current, attempt) = (self.current(), Arc::clone(&self.attempt));
        match prepare(self.store, &self.worker, self.states, self.claimed, self.attempt).await {
            Ok(_) if !begins(self.may_begin, &attempt) => Ending::Cut(End::NotBegun),
            Ok(Body::Async(future)) => match Abortable::new(current.beside(future), self.abort).await {
                Ok(end) => Ending::Answered(end),
                Err(_) => Ending::Cut(attempt.given_up()),
            },
            Ok(Body::Blocking(job)) => {
                let _entered = current.enter();
                Ending::Answered(job())
            }
            Err(end) => Ending::Cut(end),
        }
    }

    fn run_blocking(self) -> Ending {
        let (current, attempt) = (self.current(), Arc::clone(&self.attempt));
        let prepared = prepare(self.store, &self.worker, self.states, self.claimed, self.attempt);
        let prepared = runtime::block_on(prepared);
        let _entered = current.enter();
        match prepared {
            Ok(_) if !begins(self.may_begin, &attempt) => Ending::Cut(End::NotBegun),
            Ok(Body::Blocking(job)) => Ending::Answered(job()),
            Ok(Body::Async(future)) => Ending::Answered(runtime::block_on(future)),
            Err(end) => Ending::Cut(end),
        }
    }
}

/// Whether the worker's own code begins. Since the run was started it may have waited for a thread, and read what it takes.
fn begins(may_begin: Option<MayBegin>, attempt: &Attempt) -> bool {
    may_begin.is_none_or(|may_begin| may_begin()) && attempt.enter()
}

/// Reads the outputs that the run takes and decodes everything.
async fn prepare(
    store: Arc<dyn Store>,
    worker: &RegisteredWorker,
    states: Arc<States>,
    claimed: Claimed,
    attempt: Arc<Attempt>,
) -> Result<Body, End> {
    let limits = &attempt.limits;
    if attempt.is_stopped_unbegun() {
        return Err(End::NotBegun);
    }
    attempt.set_own_waits(OwnWaits::ask(worker.def, &RunTerms::from(&claimed), limits));
    let Prerequisites { shape, ids } = &claimed.spec.prerequisites;
    let given = Given::read(&*store, &claimed.spec.input, *shape, ids, limits).await;
    let given = given.inspect_err(|end| {
        if let End::Unrunnable { why } = end {
            tracing::warn!(worker = %attempt.worker, %why, "can't begin");
        }
    })?;
    worker.start(given.invocation(attempt, states)).map_err(|unstartable| {
        undecodable(match unstartable {
            Unstartable::Undecodable(message) => message,
            Unstartable::MissingState(key) => format!("the state {} was not given to the builder", key.name()),
        })
    })
}

/// What a run is given: its input, merged if its request said so, and the outputs that it takes apart from that.
pub(crate) struct Given {
    input: Payload,
    outputs: Vec<Option<Payload>>,
}

impl Given {
    /// Reads it.
    pub(crate) async fn read(
        store: &dyn Store,
        input: &Payload,
        takes: InputShape,
        prerequisites: &[WorkId],
        limits: &Limits,
    ) -> Result<Given, End> {
        let input = input.clone();
        match takes {
            InputShape::Nothing => Ok(Given { input, outputs: Vec::new() }),
            InputShape::Merged(merger) => {
                let outputs = outputs(store, prerequisites, limits).await?;
                let input = merged(merger, &input, prerequisites, &outputs)?;
                within(input.len(), limits.prerequisites)?;
                Ok(Given { input, outputs: Vec::new() })
            }
            _ => Ok(Given { input, outputs: outputs(store, prerequisites, limits).await? }),
        }
    }

    pub(crate) fn invocation(self, attempt: Arc<Attempt>, states: Arc<States>) -> Invocation {
        let context = WorkContext::new(attempt, self.input.clone());
        Invocation { context, input: self.input, prerequisites: self.outputs, states }
    }
}

/// The outputs of the prerequisites, in declaration order. A prerequisite without one gives `None`.
///
/// A page is so small that what is held at once is within the limit, or beyond it by one work at the most. Outputs that are too
/// large together are all counted, so that it is known how large the limit must be, and none of them is held. Pages are of several
/// commits, which does no harm: the prerequisites have finished, and what a running work waited for does not go.
async fn outputs(store: &dyn Store, ids: &[WorkId], limits: &Limits) -> Result<Vec<Option<Payload>>, End> {
    let limit = limits.prerequisites;
    let (mut found, mut size, mut held, mut rest) = (BTreeMap::new(), 0, 0, ids);
    while !rest.is_empty() {
        // A work is read with its input, which may be as large as its output.
        let fits = (limit.saturating_sub(held) / limits.payload.saturating_mul(2).max(1)).clamp(1, MOST_OUTPUTS_A_PAGE);
        let (chunk, others) = rest.split_at(fits.min(rest.len()));
        rest = others;
        let query = WorkQuery::ids(chunk.iter().copied());
        let page = store.query(PageRequest { query, after: None, limit: fits }).await;
        for info in page.map_err(|error| unreadable(&error))?.works {
            size += info.output.as_ref().map_or(0, Payload::len);
            if size <= limit {
                held = size;
                found.insert(info.id, info.output);
            }
        }
        if size > limit {
            (found, held) = (BTreeMap::new(), 0);
        }
    }
    within(size, limit)?;
    Ok(ids.iter().map(|id| found.get(id).cloned().flatten()).collect())
}

/// The input with the outputs in it.
fn merged(
    merger: InputMerger,
    input: &Payload,
    prerequisites: &[WorkId],
    outputs: &[Option<Payload>],
) -> Result<Payload, End> {
    let objects: Vec<Option<&Payload>> =
        std::iter::once(Some(input)).chain(outputs.iter().map(Option::as_ref)).collect();
    let merged = match merger {
        InputMerger::Overwriting => merge::overwriting(&objects),
        InputMerger::ArrayCreating => merge::array_creating(&objects),
    };
    let origin = |place: usize| match place.checked_sub(1).map(|at| prerequisites.get(at)) {
        None => "its input".to_owned(),
        Some(Some(id)) => format!("the output of prerequisite {place} ({id})"),
        Some(None) => format!("the output of prerequisite {place}"),
    };
    merged.map_err(|error| {
        let what = match &error {
            MergeError::NoObject { place, .. } => format!("{}: {error}", origin(*place)),
            MergeError::Mixed { one, other, .. } => format!(
                "its input with the outputs of its prerequisites: {error}, the {} in {}, the {} in {}",
                one.kind,
                origin(one.place),
                other.kind,
                origin(other.place)
            ),
        };
        undecodable(format!(
            "{what}; fix the worker that gives it for works to come, and `update` this one, to another merger or none"
        ))
    })
}

fn within(size: usize, limit: usize) -> Result<(), End> {
    if size <= limit {
        return Ok(());
    }
    Err(End::Unrunnable { why: ParkReason::TooLarge { size: size as u64, limit: limit as u64 } })
}

fn undecodable(message: String) -> End {
    End::Unrunnable { why: ParkReason::Undecodable { message: message.into() } }
}

/// Nothing ran yet, so a store that can't be read costs the work nothing: it is given back, or parked if it would be in vain.
fn unreadable(error: &StoreError) -> End {
    match error.kind() {
        StoreErrorKind::Corrupted => undecodable(format!("the output of a prerequisite can't be read: {error}")),
        _ => End::Interrupted { reason: StopReason::StoreUnavailable },
    }
}

/// Sends the end of a run. Dropped without one, the runtime must have gone away under the worker.
struct Report {
    attempt: Arc<Attempt>,
    sent: bool,
}

impl Report {
    fn send(mut self, ending: Result<Ending, Panicked>) {
        self.tell(ending.unwrap_or_else(|panicked| Ending::Panicked(panic_text(panicked))));
    }

    fn tell(&mut self, ending: Ending) {
        self.sent = true;
        let Attempt { id, fence, engine, .. } = &*self.attempt;
        let end = self.attempt.verdict(ending);
        self.attempt.leave();
        // A dispatcher that is gone has given the work back already.
        let _ = engine.unbounded_send(FromWorker::Ended { id: *id, fence: *fence, end });
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.sent {
            self.tell(Ending::Cut(End::Interrupted { reason: StopReason::RuntimeGone }));
        }
    }
}

/// What a panic said. tokio's own message does not know about workman, so the way out is added.
fn panic_text(panicked: Panicked) -> ErrorText {
    let message = panicked.into_text();
    if message.contains("there is no reactor running") || message.contains("no timer running") {
        return ErrorText { sources: vec![TOKIO_ADVICE.to_owned()], ..ErrorText::panic(message) };
    }
    ErrorText::panic(message)
}
