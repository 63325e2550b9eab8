//! The seams of the engine that `workman-testing` and the tests of the house enter. Not public API: it changes without notice.

mod alone;

use std::sync::Arc;

use crate::data::Payload;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::NewWork;
use crate::record::InputShape;
use crate::request::{Input, Request, RequestError, read_back};
use crate::store::ExpectedTime;
use crate::time::{SystemClock, Timestamp};
use crate::worker::{Attempt, Fate, Shared, WorkContext, WorkerDef};

pub use crate::id::{IdSource, ScopedIds, scoped_ids};
pub use crate::runtime::{
    Ambient, BlockingHook, DriverHere, ScopedHook, block_on, completer_waits, default_runtime, note_own_wait,
    own_waits, pause_point, polled_by_driver, scoped_blocking_hook,
};
pub use crate::time::LONGEST_REST;
pub use crate::worker::{Body, Invocation, ReadBack, RegisteredWorker, Registry, StateKey, States, Stub, Unstartable};
pub use alone::{Alone, Judge, Stage};

/// A context without an engine, for tests of a worker alone: its notes go nowhere, and nobody stops it.
#[must_use]
pub fn detached_context(worker: &'static WorkerDef, input: Payload) -> WorkContext {
    let (engine, _nobody) = futures::channel::mpsc::unbounded();
    let attempt = Attempt {
        id: WorkId::generate(),
        fence: 1,
        worker: worker.name.into(),
        def: worker,
        tags: Vec::new(),
        gates: Vec::new(),
        number: 0,
        most: None,
        generation: 0,
        trace_tag: worker.name.into(),
        period: None,
        timeout: None,
        limits: Arc::default(),
        read_back: ReadBack::All,
        output: Fate::Kept,
        time: Arc::new(ExpectedTime::new(Arc::new(SystemClock::new()))),
        hub: Arc::default(),
        live: Arc::default(),
        engine,
        shared: Shared::new(None).into(),
    };
    WorkContext::new(Arc::new(attempt), input)
}

/// What a request would store, for tests without a store.
///
/// # Errors
/// The request is refused.
pub fn stored_input<P, O>(request: Request<P, O>) -> Result<Payload, RequestError> {
    Ok(stored(request)?.spec.input.clone())
}

/// The worker that a request is for.
#[must_use]
pub fn maker<P, O>(request: &Request<P, O>) -> &'static WorkerDef {
    request.parts().def
}

/// The work that a request would store, whatever it is to wait for.
///
/// # Errors
/// The request is refused.
pub fn stored<P, O>(request: Request<P, O>) -> Result<NewWork, RequestError> {
    let parts = request.into_parts();
    let prerequisites = match &parts.input {
        Ok(Input { takes: InputShape::Nothing, .. }) | Err(_) => Vec::new(),
        Ok(_) => vec![WorkId::from_u128(1)],
    };
    let def = parts.def;
    let work = parts.new_work(&Limits::default(), Timestamp::default(), prerequisites, None)?;
    read_back(ReadBack::All, def, &work)?;
    Ok(work)
}
