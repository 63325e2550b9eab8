//! A context that belongs to no manager, for tests of one worker alone.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::unbounded;
use futures::future::{BoxFuture, join};

use crate::data::Payload;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::End;
use crate::state::StopReason;
use crate::store::ExpectedTime;
use crate::time::Clock;
use crate::worker::{Attempt, Fate, FromWorker, ReadBack, Shared, WorkContext, WorkerDef};

/// The attempt that a worker is to see.
pub struct Alone {
    /// The work.
    pub id: WorkId,
    /// The worker.
    pub worker: &'static WorkerDef,
    /// The stored arguments.
    pub input: Payload,
    /// The number of the attempt.
    pub attempt: u32,
    /// What an earlier run saved.
    pub checkpoint: Option<Payload>,
    /// When it is told to stop, and why.
    pub stop: Option<(Duration, StopReason)>,
    /// The clock that its sleeps go by.
    pub clock: Arc<dyn Clock>,
}

/// What stands in for a manager.
pub struct Stage {
    /// The worker's side.
    pub context: WorkContext,
    /// Answers flushes and stops the attempt; polled beside the worker, it never ends before the context is gone.
    pub engine: BoxFuture<'static, ()>,
    /// What a manager would make of the end of this attempt.
    pub verdict: Box<dyn FnOnce(End) -> End + Send>,
}

impl Alone {
    /// Sets the stage.
    #[must_use]
    pub fn stage(self) -> Stage {
        let (engine, mut said) = unbounded();
        let attempt = Arc::new(Attempt {
            id: self.id,
            fence: 1,
            worker: self.worker.name.into(),
            def: self.worker,
            tags: Vec::new(),
            number: self.attempt,
            generation: 0,
            trace_tag: self.worker.name.into(),
            period: None,
            notes_limit: Limits::default().progress,
            read_back: ReadBack::All,
            output: Fate::Kept,
            time: Arc::new(ExpectedTime::new(Arc::clone(&self.clock))),
            hub: Arc::default(),
            live: Arc::default(),
            engine,
            shared: Shared::new(self.checkpoint).into(),
        });
        if let Some((Duration::ZERO, reason)) = self.stop {
            attempt.stop(reason);
        }
        let (to_stop, judged) = (Arc::clone(&attempt), Arc::clone(&attempt));
        let stop = async move {
            if let Some((after, reason)) = self.stop {
                self.clock.sleep(after).await;
                to_stop.stop(reason);
            }
        };
        let answer = async move {
            while let Some(said) = said.next().await {
                if let FromWorker::Flush(_, done) = said {
                    // A worker that does not wait any more does not want to know.
                    let _ = done.send(());
                }
            }
        };
        Stage {
            context: WorkContext::new(attempt, self.input),
            engine: Box::pin(async move {
                join(stop, answer).await;
            }),
            verdict: Box::new(move |end| judged.verdict(end)),
        }
    }
}
