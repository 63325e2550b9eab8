//! [`TestWorker`]: one attempt of one worker, alone.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::abortable;
use serde::Serialize;
use serde::de::DeserializeOwned;
use workman_core::seams::{Alone, Body, IdSource, Invocation, States, maker, stored};
use workman_core::store::{End, NewWork};
use workman_core::{Limits, Payload, Request, Runtime, StopReason, Worker};

use crate::baton::Stuck;
use crate::clock::VirtualClock;
use crate::executor::{Awaited, Executor};

/// How long the worker may wait for the world outside, in real time.
const PATIENCE: Duration = Duration::from_secs(5);

/// A sleep longer than this has no end for a test.
const FOR_EVER: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);

/// Runs one attempt of a worker, without store and manager, on a clock that moves by itself as soon as the worker only sleeps.
///
/// A worker that needs nothing of its context is an ordinary function and is tested by calling it. This is for the others:
/// they get the input, the attempt, the checkpoint, the state and the stop of the test's choice.
///
/// ```
/// use std::time::Duration;
/// use workman_core::store::End;
/// use workman_core::{StopReason, WorkContext, WorkError, worker};
/// use workman_testing::TestWorker;
///
/// #[worker]
/// async fn count(cx: &WorkContext, to: u32) -> Result<u32, WorkError> {
///     let from = cx.checkpoint::<u32>()?.unwrap_or(0);
///     for i in from + 1..=to {
///         cx.sleep(Duration::from_secs(1)).await?;
///         cx.save_checkpoint(&i)?;
///     }
///     Ok(to - from)
/// }
///
/// assert_eq!(TestWorker::<count>::new(count::request(1000)).output(), 1000);
/// assert_eq!(TestWorker::<count>::new(count::request(1000)).checkpoint(&990).attempt(3).output(), 10);
///
/// let unplugged = StopReason::ConstraintCharging;
/// let stopped = TestWorker::<count>::new(count::request(1000)).stop_after(Duration::from_secs(5), unplugged).run();
/// assert_eq!(stopped, End::Interrupted { reason: unplugged });
/// ```
///
/// A worker that waits for the world outside, a completer among it, gets five seconds of real time before the clock moves on; with
/// [`nobody_outside`](Self::nobody_outside) it gets none. A worker that was stopped and does not end by itself is given up, as
/// a manager does after the grace period.
///
/// An attempt is held to what its request and its worker say: it is told to stop when it has taken too long, what it gives may be
/// too large, an error may be permanent. What comes of that is judged as a manager judges it.
///
/// ```
/// # use std::time::Duration;
/// # use workman_core::store::End;
/// # use workman_core::{WorkContext, WorkError, worker};
/// # use workman_testing::TestWorker;
/// #[worker(timeout = Duration::from_secs(60))]
/// async fn naps(cx: &WorkContext, length: Duration) -> Result<(), WorkError> {
///     Ok(cx.sleep(length).await?)
/// }
///
/// let hour = Duration::from_secs(3_600);
/// let limit = Duration::from_secs(60);
/// assert!(matches!(TestWorker::<naps>::new(naps::request(hour)).run(), End::TimedOut { limit: passed, .. } if passed == limit));
/// let patient = naps::request(hour).timeout(2 * hour);
/// assert!(matches!(TestWorker::<naps>::new(patient).run(), End::Succeeded { .. }));
/// ```
#[must_use = "a worker does nothing until it is run"]
pub struct TestWorker<W> {
    work: NewWork,
    prerequisites: Vec<Option<Payload>>,
    states: States,
    attempt: u32,
    checkpoint: Option<Payload>,
    stop: Option<(Duration, StopReason)>,
    limits: Limits,
    nobody_outside: bool,
    worker: PhantomData<fn() -> W>,
}

impl<W: Worker> TestWorker<W> {
    /// The worker with this input.
    ///
    /// # Panics
    /// If the request would be refused, or is for another worker.
    #[track_caller]
    pub fn new<P>(request: Request<P, W::Output>) -> Self {
        let def = maker(&request);
        assert!(
            std::ptr::eq(def, W::DEF),
            "this tests the worker `{}` ({}), and the request is for `{}` ({}): make it with the function of the first",
            W::DEF.name,
            W::DEF.location,
            def.name,
            def.location
        );
        TestWorker {
            work: stored(request).unwrap_or_else(|error| panic!("{error}")),
            prerequisites: Vec::new(),
            states: States::default(),
            attempt: 0,
            checkpoint: None,
            stop: None,
            limits: Limits::default(),
            nobody_outside: false,
            worker: PhantomData,
        }
    }

    /// The number of the attempt; 0 is the first.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// The output of the next prerequisite, in declaration order.
    #[track_caller]
    pub fn prerequisite<T: Serialize>(mut self, output: &T) -> Self {
        self.prerequisites.push(Some(encode(output)));
        self
    }

    /// What an earlier run saved.
    #[track_caller]
    pub fn checkpoint<T: Serialize>(mut self, checkpoint: &T) -> Self {
        self.checkpoint = Some(encode(checkpoint));
        self
    }

    /// State of the application: one of each type.
    ///
    /// # Panics
    /// If there is one of this type already.
    #[track_caller]
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        if let Err(twice) = self.states.insert(state) {
            panic!("two states of type `{}` were given, and no argument can say which it means", twice.name());
        }
        self
    }

    /// Tells the worker to stop, from the beginning.
    pub fn stopped(self, reason: StopReason) -> Self {
        self.stop_after(Duration::ZERO, reason)
    }

    /// Tells the worker to stop after this long.
    pub fn stop_after(mut self, after: Duration, reason: StopReason) -> Self {
        self.stop = Some((after, reason));
        self
    }

    /// Holds the attempt to these limits instead of the default ones.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// No other thread does anything for the worker, so the clock moves on at once when it waits for something outside.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    /// use workman_core::store::End;
    /// use workman_core::{Completer, StopReason, worker};
    /// use workman_testing::TestWorker;
    ///
    /// #[worker]
    /// fn subscribe(#[state] callbacks: Arc<Mutex<Vec<Completer<u32>>>>, done: Completer<u32>) {
    ///     callbacks.lock().unwrap().push(done);               // nobody ever calls back
    /// }
    ///
    /// let reason = StopReason::CancelledByApp;
    /// let callbacks: Arc<Mutex<Vec<Completer<u32>>>> = Arc::default();
    /// let worker = TestWorker::<subscribe>::new(subscribe::request()).state(callbacks.clone()).nobody_outside();
    /// assert_eq!(worker.stop_after(Duration::from_secs(5), reason).run(), End::Interrupted { reason });
    /// ```
    pub fn nobody_outside(mut self) -> Self {
        self.nobody_outside = true;
        self
    }

    /// Runs the attempt, and answers how it ended, as a manager would see it.
    ///
    /// # Panics
    /// If the worker panics, can't be started with this input, or never ends and is not stopped.
    #[track_caller]
    pub fn run(self) -> End {
        let clock = VirtualClock::new();
        let stage = Alone {
            work: self.work,
            attempt: self.attempt,
            checkpoint: self.checkpoint,
            stop: self.stop,
            limits: self.limits,
            clock: Arc::new(clock.clone()),
        };
        let stage = stage.stage::<W>();
        let invocation = Invocation {
            context: stage.context,
            input: stage.input,
            prerequisites: self.prerequisites,
            states: Arc::new(self.states),
        };
        let body = (W::DEF.start)(invocation)
            .unwrap_or_else(|error| panic!("worker `{}` can't be started: {error:?}", W::DEF.name));
        let executor = Executor::new(0);
        let ids = Arc::new(IdSource::new(Arc::new(clock.clone()), 0));
        let runtime = executor.begin_process(ids);
        executor.spawn_engine(stage.engine);
        let ended = Ended::default();
        spawn(&runtime, body, ended.clone());
        let patience = if self.nobody_outside { Duration::ZERO } else { PATIENCE };
        let ran = drive(&executor, &clock, &ended, patience);
        // The end of the process stops everything, and that is nothing to be judged by.
        let ran = ran.map(|ran| match ran {
            Some(ran) => Some(ran.map(|end| stage.judge.answered(end))),
            None => stage.judge.given_up().map(Ok),
        });
        executor.end_process(PATIENCE);
        match ran {
            Ok(Some(Ok(end))) => end,
            Ok(Some(Err(panic))) => resume_unwind(panic),
            Ok(None) => panic!("worker `{}` waits for something that never happens", W::DEF.name),
            Err(Stuck) => panic!("worker `{}` holds its thread and waits for nothing of workman's", W::DEF.name),
        }
    }

    /// Runs the attempt, and answers what the worker gave.
    ///
    /// # Panics
    /// If it ended in any other way; and as [`run`](Self::run).
    #[track_caller]
    pub fn output(self) -> W::Output
    where
        W::Output: DeserializeOwned,
    {
        match self.run() {
            End::Succeeded { output } => output.decode().unwrap_or_else(|error| panic!("{error}")),
            other => panic!("worker `{}` gave nothing: {other:?}", W::DEF.name),
        }
    }
}

/// How the attempt ended: by itself, or with a panic.
type Ran = Result<End, Box<dyn Any + Send>>;

/// The end of the attempt, once there is one.
type Ended = Arc<Mutex<Option<Ran>>>;

fn take(ended: &Ended) -> Option<Ran> {
    ended.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn spawn(runtime: &impl Runtime, body: Body, ended: Ended) {
    let put = move |end| *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    match body {
        Body::Async(future) => {
            // As in a manager, where a run can be aborted: the executor knows from the wakers that are held who waits outside.
            let (future, _) = abortable(AssertUnwindSafe(future).catch_unwind());
            runtime.spawn(Box::pin(async move {
                if let Ok(ran) = future.await {
                    put(ran);
                }
            }));
        }
        Body::Blocking(job) => runtime.spawn_blocking(Box::new(move || put(catch_unwind(AssertUnwindSafe(job))))),
    }
}

/// Runs what is ready; when nothing is, waits for the world outside, and after so much real time lets virtual time pass. Answers
/// `None` if nothing is left to wait for.
fn drive(executor: &Executor, clock: &VirtualClock, ended: &Ended, patience: Duration) -> Result<Option<Ran>, Stuck> {
    let mut last_turn = false;
    loop {
        if !executor.run_one(PATIENCE)? {
            let outside = executor.awaited() != Awaited::Nothing;
            // Who was woken meanwhile is ready, and nobody holds a waker of theirs any more.
            let served = !executor.is_quiet() || (outside && executor.wait_for_the_world(patience));
            if !served {
                executor.end_time();
                // Who asks in a loop whether it is stopped has to hear of the last thing that happened.
                let stepped = clock.step(FOR_EVER);
                if !stepped && last_turn {
                    return Ok(take(ended));
                }
                last_turn = !stepped;
                executor.wake_spinners();
            }
        }
        if let Some(end) = take(ended) {
            return Ok(Some(end));
        }
    }
}

#[track_caller]
fn encode<T: Serialize>(value: &T) -> Payload {
    Payload::encode(value).unwrap_or_else(|error| panic!("{error}"))
}
