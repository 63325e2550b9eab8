//! One run, in named steps: gather what it takes, decode, run, report. A panic in any of them is a failed attempt.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt;
use futures::channel::mpsc::UnboundedSender;
use futures::future::{AbortRegistration, Abortable};

use super::context::{Attempt, FromWorker};
use super::{Body, Invocation, RegisteredWorker, States, Unstartable, WorkContext};
use crate::data::Payload;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::{Advice, Claimed, End, WorkerKind};
use crate::query::{PageRequest, WorkQuery};
use crate::record::{ErrorText, InputShape, ParkReason};
use crate::runtime::{self, Runtime};
use crate::state::StopReason;
use crate::store::{Store, StoreError, StoreErrorKind};

/// How many outputs are read at a time.
const OUTPUTS_A_PAGE: usize = 256;

/// All that a run needs, apart from a runtime.
pub(crate) struct Run {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) worker: RegisteredWorker,
    pub(crate) states: Arc<States>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) claimed: Claimed,
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) abort: AbortRegistration,
}

impl Run {
    /// Starts the run; its end comes as [`FromWorker::Ended`], exactly once, whatever happens to the runtime.
    pub(crate) fn start(self, runtime: &Arc<dyn Runtime>) {
        let report = Report::new(&self.attempt);
        match self.worker.def.kind {
            WorkerKind::Async => runtime.spawn(Box::pin(async move {
                let attempt = Arc::clone(&self.attempt);
                let end = AssertUnwindSafe(self.run_async()).catch_unwind().await;
                report.send(&attempt, end);
            })),
            WorkerKind::Blocking => runtime.spawn_blocking(Box::new(move || {
                let attempt = Arc::clone(&self.attempt);
                let end = catch_unwind(AssertUnwindSafe(|| self.run_blocking()));
                report.send(&attempt, end);
            })),
        }
    }

    async fn run_async(self) -> End {
        let reason = Arc::clone(&self.attempt);
        let (abort, prepared) = (
            self.abort,
            prepare(self.store, &self.worker, self.states, &self.limits, self.claimed, self.attempt).await,
        );
        match prepared {
            Ok(Body::Async(future)) => match Abortable::new(future, abort).await {
                Ok(end) => end,
                Err(_) => End::Interrupted { reason: reason.stop_reason().unwrap_or(StopReason::Shutdown) },
            },
            Ok(Body::Blocking(job)) => job(),
            Err(end) => end,
        }
    }

    fn run_blocking(self) -> End {
        let prepared = prepare(self.store, &self.worker, self.states, &self.limits, self.claimed, self.attempt);
        match runtime::block_on(prepared) {
            Ok(Body::Blocking(job)) => job(),
            Ok(Body::Async(future)) => runtime::block_on(future),
            Err(end) => end,
        }
    }
}

/// Reads the outputs that the run takes and decodes everything.
async fn prepare(
    store: Arc<dyn Store>,
    worker: &RegisteredWorker,
    states: Arc<States>,
    limits: &Limits,
    claimed: Claimed,
    attempt: Arc<Attempt>,
) -> Result<Body, End> {
    let prerequisites = match claimed.spec.prerequisites.shape {
        InputShape::Nothing => Vec::new(),
        _ => outputs(&*store, &claimed.spec.prerequisites.ids, limits.prerequisites).await?,
    };
    let input = claimed.spec.input.clone();
    let invocation = Invocation { context: WorkContext::new(attempt), input, prerequisites, states };
    worker.start(invocation).map_err(|unstartable| {
        let message = match unstartable {
            Unstartable::Undecodable(message) => message,
            Unstartable::MissingState(key) => format!("the state {} was not given to the builder", key.name()),
        };
        End::Unrunnable { why: ParkReason::Undecodable { message: message.into() } }
    })
}

/// The outputs of the prerequisites, in declaration order. A prerequisite without one gives `None`.
pub(crate) async fn outputs(store: &dyn Store, ids: &[WorkId], limit: usize) -> Result<Vec<Option<Payload>>, End> {
    let mut found = BTreeMap::new();
    let mut size = 0;
    for chunk in ids.chunks(OUTPUTS_A_PAGE) {
        let query = WorkQuery::ids(chunk.iter().copied());
        let page = store.query(PageRequest { query, after: None, limit: OUTPUTS_A_PAGE }).await;
        let page = page.map_err(|error| unreadable(&error))?;
        for info in page.works {
            size += info.output.as_ref().map_or(0, Payload::len);
            found.insert(info.id, info.output);
        }
        if size > limit {
            let why = ParkReason::TooLarge { size: size as u64, limit: limit as u64 };
            return Err(End::Unrunnable { why });
        }
    }
    Ok(ids.iter().map(|id| found.get(id).cloned().flatten()).collect())
}

/// Nothing ran yet, so a store that can't be read costs the work nothing: it is given back, or parked if it would be in vain.
fn unreadable(error: &StoreError) -> End {
    match error.kind() {
        StoreErrorKind::Corrupted => {
            let message = format!("the output of a prerequisite can't be read: {error}");
            End::Unrunnable { why: ParkReason::Undecodable { message: message.into() } }
        }
        _ => End::Interrupted { reason: StopReason::StoreUnavailable },
    }
}

/// Sends the end of a run. Dropped without one, the runtime must have gone away under the worker.
struct Report {
    to: UnboundedSender<FromWorker>,
    id: WorkId,
    fence: u64,
    sent: bool,
}

impl Report {
    fn new(attempt: &Attempt) -> Self {
        Report { to: attempt.engine.clone(), id: attempt.id, fence: attempt.fence, sent: false }
    }

    fn send(mut self, attempt: &Attempt, end: std::thread::Result<End>) {
        let end = match end {
            Ok(end) => end,
            Err(panic) => End::Failed { error: panic_text(&*panic), advice: Advice::ByPolicy },
        };
        self.tell(attempt.verdict(end));
    }

    fn tell(&mut self, end: End) {
        self.sent = true;
        // A dispatcher that is gone has given the work back already.
        let _ = self.to.unbounded_send(FromWorker::Ended { id: self.id, fence: self.fence, end });
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.sent {
            self.tell(End::Interrupted { reason: StopReason::RuntimeGone });
        }
    }
}

/// What a panic said. tokio's own message does not know about workman, so the way out is added.
fn panic_text(panic: &(dyn Any + Send)) -> ErrorText {
    let message = panic.downcast_ref::<&str>().map(ToString::to_string);
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    let message = message.unwrap_or_else(|| "with a value that is no text".to_owned());
    if message.contains("there is no reactor running") || message.contains("no timer running") {
        let advice = "this worker needs a tokio runtime: give the builder `.runtime(TokioRuntime::new(handle))`";
        return ErrorText { sources: vec![advice.to_owned()], ..ErrorText::panic(message) };
    }
    ErrorText::panic(message)
}
