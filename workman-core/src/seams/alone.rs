//! A context that belongs to no manager, for tests of one worker alone.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::{BoxFuture, join};

use crate::data::Payload;
use crate::limits::Limits;
use crate::plan::{End, NewWork};
use crate::state::StopReason;
use crate::store::ExpectedTime;
use crate::time::Clock;
use crate::worker::{Attempt, Ending, Fate, FromWorker, OwnWaits, ReadBack, RunTerms, Shared, WorkContext, Worker};

/// The attempt that a worker is to see.
pub struct Alone {
    /// The work.
    pub work: NewWork,
    /// The number of the attempt.
    pub attempt: u32,
    /// What an earlier run saved.
    pub checkpoint: Option<Payload>,
    /// When it is told to stop, and why.
    pub stop: Option<(Duration, StopReason)>,
    /// What its notes and its end are held to.
    pub limits: Limits,
    /// The clock that its sleeps go by.
    pub clock: Arc<dyn Clock>,
}

/// What stands in for a manager.
pub struct Stage {
    /// The stored arguments.
    pub input: Payload,
    /// The worker's side.
    pub context: WorkContext,
    /// Answers flushes and stops the attempt; polled beside the worker, it never ends before the context is gone.
    pub engine: BoxFuture<'static, ()>,
    /// Who judges the end.
    pub judge: Judge,
}

/// What a manager would make of the end of this attempt.
pub struct Judge(Arc<Attempt>);

impl Judge {
    /// Its worker has ended so by itself.
    #[must_use]
    pub fn answered(&self, end: End) -> End {
        self.0.verdict(Ending::Answered(end))
    }

    /// Its worker does not end by itself. A manager waits for ever for one that was not told to stop.
    #[must_use]
    pub fn given_up(&self) -> Option<End> {
        self.0.stop_reason().map(|_| self.0.verdict(Ending::Cut(self.0.given_up())))
    }
}

impl Alone {
    /// Sets the stage for this worker.
    #[must_use]
    pub fn stage<W: Worker>(self) -> Stage {
        let work = self.work;
        let worker = &work.spec.worker;
        let (engine, said) = unbounded();
        let run = RunTerms { id: work.id, worker, terms: &work.terms, failures: self.attempt, interruptions: 0 };
        let own_waits = OwnWaits::ask(W::DEF, &run, &self.limits);
        let attempt = Arc::new(Attempt {
            id: work.id,
            fence: 1,
            worker: Arc::clone(worker),
            def: W::DEF,
            tags: work.spec.tags.clone(),
            gates: Vec::new(),
            number: self.attempt,
            most: None,
            generation: 0,
            trace_tag: Arc::clone(work.spec.trace_tag.as_ref().unwrap_or(worker)),
            period: None,
            timeout: stops_by_itself(work.terms.timeout, self.stop),
            limits: Arc::new(self.limits),
            read_back: ReadBack::All,
            output: if work.terms.discards_output { Fate::Discarded } else { Fate::Kept },
            time: Arc::new(ExpectedTime::new(Arc::clone(&self.clock))),
            hub: Arc::default(),
            live: Arc::default(),
            engine,
            shared: Shared::new(self.checkpoint).into(),
        });
        attempt.set_own_waits(own_waits);
        // A test that stops it from the beginning wants to see what its worker makes of that.
        attempt.enter();
        let input = work.spec.input.clone();
        let stops = stop_in_time(Arc::clone(&attempt), self.stop);
        Stage {
            context: WorkContext::new(Arc::clone(&attempt), input.clone()),
            input,
            engine: Box::pin(async move {
                join(stops, answer_flushes(said)).await;
            }),
            judge: Judge(attempt),
        }
    }
}

/// How long the attempt may take. A test that stops it for its timeout says by that when it is over.
fn stops_by_itself(timeout: Option<Duration>, stop: Option<(Duration, StopReason)>) -> Option<Duration> {
    match stop {
        Some((after, StopReason::Timeout)) => Some(timeout.map_or(after, |timeout| timeout.min(after))),
        _ => timeout,
    }
}

/// Stops the attempt when the test says so, and when it has taken too long; the first reason stays.
fn stop_in_time(attempt: Arc<Attempt>, stop: Option<(Duration, StopReason)>) -> impl Future<Output = ()> + Send {
    if let Some((Duration::ZERO, reason)) = stop {
        attempt.stop(reason);
    }
    let began = attempt.time.clock().monotonic();
    let mut stops: Vec<_> = stop.into_iter().chain(attempt.timeout.map(|after| (after, StopReason::Timeout))).collect();
    stops.sort_by_key(|(after, _)| *after);
    async move {
        for (after, reason) in stops {
            let passed = attempt.time.clock().monotonic().saturating_sub(began);
            attempt.time.clock().sleep(after.saturating_sub(passed)).await;
            attempt.stop(reason);
        }
    }
}

async fn answer_flushes(mut said: UnboundedReceiver<FromWorker>) {
    while let Some(said) = said.next().await {
        if let FromWorker::Flush(_, done) = said {
            // A worker that does not wait any more does not want to know.
            let _ = done.send(());
        }
    }
}
