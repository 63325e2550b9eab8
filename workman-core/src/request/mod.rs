//! [`Request`] and [`PeriodicRequest`]: what somebody wants done, typed, before anything is written.
//!
//! `#[worker]` makes functions that make requests. A request knows its id from the first moment, so an enqueue whose answer
//! was lost is simply repeated. Nothing here fails: what is wrong with a request is found, all of it, when it is
//! enqueued ([`RequestError`]).

mod erased;
mod error;
mod parts;
mod periodic;
mod taken;
mod terms;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::constraints::Constraints;
use crate::id::WorkId;
use crate::policy::{Backoff, InputMerger, OnInterruption, OutOfQuotaPolicy};
use crate::record::{InputShape, OnSerialFailure, SerialLane};
use crate::time::Timestamp;

pub use erased::ErasedRequest;
pub(crate) use erased::Types;
pub use error::{NameProblem, RequestError};
pub(crate) use parts::{Input, RequestParts, check_name, read_back};
pub(crate) use taken::TakenTypes;
pub use taken::{Standalone, Taken, TakesNothing};

/// A trace tag has so many characters at the most, as on Android; the rest is cut off.
const TRACE_TAG: usize = 127;

/// Takes nothing from its prerequisites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nothing;

/// Takes the output of its one prerequisite.
pub struct Takes<T>(PhantomData<fn() -> T>);

/// Takes the outputs of all its prerequisites: `T` is `Vec<X>` for a list, or a tuple.
pub struct TakesAll<T>(PhantomData<fn() -> T>);

/// A wish to run a worker once.
///
/// `P` is what the worker takes from its prerequisites ([`Nothing`], [`Takes`] or [`TakesAll`]), `O` is what it gives. The
/// worker itself is not part of the type, so requests for different workers that take and give the same fit the same
/// place in a chain.
///
/// # Requests of different workers in one place
/// A list, or the arms of an `if` or a `match`, have one type. Where requests give different things, the compiler says so
/// ("expected `Request<_, u32>`, found `Request<_, String>`"), and there are three ways on:
/// ```
/// use workman_core::worker;
/// # use workman_core::{MemoryStore, ThreadRuntime, WorkManager};
///
/// #[worker]
/// fn count(text: String) -> usize {
///     text.len()
/// }
///
/// #[worker]
/// fn print(text: String) -> String {
///     text
/// }
///
/// # let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
/// let (text, quiet) = (String::from("abc"), true);
/// // A step of a chain may be a tuple, which keeps what each gives.
/// let chain = manager.begin_with((count::request(text.clone()), print::request(text.clone())));
/// // What is not needed can be dropped; then both give nothing.
/// let one = if quiet { count::request(text.clone()).discard_output() } else { print::request(text.clone()).discard_output() };
/// // An erased request goes anywhere, and what it takes and gives is compared when it is enqueued.
/// let many = vec![count::request(text.clone()).erased(), print::request(text).erased()];
/// # let _ = (chain, one, many);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// use std::time::Duration;
/// use workman_core::{Backoff, worker};
///
/// #[worker]
/// fn send_mail(to: String) -> Result<(), String> {
///     Err(format!("no such address: {to}"))
/// }
///
/// let request = send_mail::request("a@example.org".into())
///     .initial_delay(Duration::from_secs(60))
///     .backoff(Backoff::linear(Duration::from_secs(10)))
///     .max_attempts(5)
///     .tag("mail");
/// let id = request.id(); // known before anything is stored
/// # let _ = id;
/// ```
#[must_use = "a request does nothing until it is enqueued"]
#[doc(alias("OneTimeWorkRequest", "WorkRequest", "Job", "Task"))]
pub struct Request<P = Nothing, O = ()> {
    parts: RequestParts,
    types: PhantomData<fn(P) -> O>,
}

/// A wish to run a worker again and again.
///
/// ```
/// use std::time::Duration;
/// use workman_core::{Constraints, worker};
///
/// #[worker]
/// fn clean_up(days: u32) -> u32 {
///     days
/// }
///
/// let daily = clean_up::periodic(30, Duration::from_secs(24 * 3600))
///     .constraints(Constraints::new().requires_charging());
/// # let _ = daily;
/// ```
#[derive(Clone)]
#[must_use = "a request does nothing until it is enqueued"]
#[doc(alias("PeriodicWorkRequest", "CronJob"))]
pub struct PeriodicRequest {
    parts: RequestParts,
}

impl<P, O> Request<P, O> {
    pub(crate) fn new(parts: RequestParts) -> Self {
        Request { parts, types: PhantomData }
    }

    pub(crate) fn parts(&self) -> &RequestParts {
        &self.parts
    }

    pub(crate) fn into_parts(self) -> RequestParts {
        self.parts
    }

    /// Drops what the worker gives instead of storing it. Evens out requests that differ in their output only.
    pub fn discard_output(mut self) -> Request<P, ()> {
        self.parts.terms.discards_output = true;
        Request::new(self.parts)
    }

    /// Somebody waits for it: it goes before all other work, into a slot that is reserved for such work if no other is free. All
    /// such work together has a budget of run time (`Limits::expedited_budget`); once that is spent, `policy` says what happens.
    ///
    /// A retry is ordinary work again. Such work can't be delayed, and supports network and storage constraints only.
    ///
    /// ```
    /// use workman_core::{OutOfQuotaPolicy, worker};
    ///
    /// #[worker]
    /// fn send(message: String) -> usize {
    ///     message.len()
    /// }
    ///
    /// let request = send::request("at once".into()).expedited(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest);
    /// # let _ = request;
    /// ```
    #[doc(alias("setExpedited", "urgent"))]
    pub fn expedited(mut self, policy: OutOfQuotaPolicy) -> Self {
        self.parts.terms.expedited = Some(policy);
        self
    }

    /// The work runs in this serial lane: one after the other, in the order in which they were enqueued, whatever their workers and
    /// priorities, and the next not before this one has finished. While it waits for its prerequisites, its delay or its backoff, those
    /// behind it wait too. What its failure does to the lane is said with it; a cancellation lets the next one go on.
    ///
    /// ```
    /// use workman_core::{OnSerialFailure, worker};
    ///
    /// #[worker]
    /// fn book(account: u32, cents: i64) {
    ///     println!("{account}: {cents}");
    /// }
    ///
    /// let request = book::request(7, 100).serial("account/7", OnSerialFailure::Hold);
    /// # let _ = request;
    /// ```
    #[doc(alias("fifo", "ordered", "message_group"))]
    pub fn serial(mut self, lane: impl Into<Arc<str>>, on_failure: OnSerialFailure) -> Self {
        self.parts.serial = Some(SerialLane { lane: lane.into(), on_failure });
        self
    }

    /// The work does not run before this moment by the wall clock: the clock may be set before it has come. A delay or prerequisites
    /// may make it later. A moment that has passed is now.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use workman_core::worker;
    ///
    /// #[worker]
    /// fn ring(text: String) {
    ///     println!("{text}");
    /// }
    ///
    /// let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
    /// let request = ring::request("tea".into()).run_at(in_an_hour);
    /// # let _ = request;
    /// ```
    #[doc(alias("run_after", "schedule_at", "eta"))]
    pub fn run_at(mut self, at: impl Into<Timestamp>) -> Self {
        self.parts.terms.run_at = at.into();
        self
    }
}

impl<O> Request<Nothing, O> {
    /// Merges the outputs of its prerequisites, each a JSON object, with its own input: for data whose shape is not known when
    /// the program is compiled. Its own input comes first, then the outputs in the order of their declaration.
    ///
    /// The worker's arguments are read from what comes out, so what it takes may come from either side, and it still fits any
    /// place in a chain.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use workman_core::{InputMerger, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn size(width: u32) -> BTreeMap<String, u32> {
    ///     BTreeMap::from([("width".to_owned(), width)])
    /// }
    ///
    /// #[worker]
    /// fn area(width: u32, height: u32) -> u32 {
    ///     width * height
    /// }
    ///
    /// let test = TestDriver::new();
    /// let area = area::request(1, 7).input_merger(InputMerger::Overwriting);
    /// let chain = test.manager().begin_with(size::request(6)).then(area);
    /// let chain = test.block_on(chain.enqueue())?;
    /// test.run_until_idle();
    /// assert_eq!(test.output::<u32>(chain.ids[1]), 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "setInputMerger")]
    pub fn input_merger(mut self, merger: InputMerger) -> Self {
        if let Ok(input) = &mut self.parts.input {
            input.takes = InputShape::Merged(merger);
        }
        self
    }
}

macro_rules! builder_methods {
    () => {
        /// The id that the work will have.
        #[must_use]
        pub fn id(&self) -> WorkId {
            self.parts.id
        }

        /// Gives the work this id: one of your own making, or that of stored work that is to be updated.
        #[doc(alias("setId", "job_id", "idempotency_key"))]
        pub fn with_id(mut self, id: WorkId) -> Self {
            self.parts.id = id;
            self
        }

        /// Adds a tag. The worker's name always counts as one.
        #[doc(alias("addTag", "label"))]
        pub fn tag(mut self, tag: impl Into<Arc<str>>) -> Self {
            self.parts.tags.push(tag.into());
            self
        }

        /// The key by which the work shares a limit with others, whatever their workers, instead of what its worker's attribute makes
        /// of its inputs: see `Gate::key` and `Gate::keys`. Works of one lane with different keys take turns within a priority, so
        /// that who has many waits for those, and nobody else does. As long as a tag may be.
        #[doc(alias("concurrency_key", "group", "partition"))]
        pub fn limit_key(mut self, key: impl Into<Arc<str>>) -> Self {
            self.parts.limit_key = Ok(Some(key.into()));
            self
        }

        /// The conditions under which the work may run, instead of the worker's.
        #[doc(alias("setConstraints", "conditions"))]
        pub fn constraints(mut self, constraints: Constraints) -> Self {
            self.parts.constraints = constraints;
            self
        }

        /// How long the work waits after it was enqueued, or after its prerequisites succeeded.
        #[doc(alias("setInitialDelay", "delay", "countdown", "schedule_in"))]
        pub fn initial_delay(mut self, delay: Duration) -> Self {
            self.parts.terms.initial_delay = delay;
            self
        }

        /// How long the work waits after a failed attempt, instead of the worker's backoff or backoff function.
        #[doc(alias("setBackoffCriteria", "retry_policy"))]
        pub fn backoff(mut self, backoff: Backoff) -> Self {
            self.parts.terms.backoff = backoff;
            self.parts.own_backoff = true;
            self
        }

        /// The waits of this work after its first `count` failed attempts, exactly as they would be: with the jitter of its id,
        /// or as its worker's backoff function says. How many attempts there are is another matter: see `max_attempts`.
        ///
        /// `Limits::minimums` of a manager, if there are any, are not known here.
        #[must_use]
        pub fn backoff_delays(&self, count: usize) -> Vec<Duration> {
            self.parts.backoff_delays(count)
        }

        /// Waits for its backoff also after it was stopped by the system: a constraint was lost, more important work came.
        /// Without this it runs again as soon as it may.
        pub fn backoff_for_system_interruptions(mut self) -> Self {
            self.parts.terms.on_interruption = OnInterruption::BackOff;
            self
        }

        /// How long an attempt may take; one that takes longer is stopped and is a failed attempt. Unless this is said, the
        /// worker's timeout counts, if it has one.
        #[doc(alias("deadline", "max_runtime"))]
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.parts.terms.timeout = Some(timeout);
            self
        }

        /// What its runs are called in traces, instead of the worker's name. It is cut to 127 characters.
        #[doc(alias = "setTraceTag")]
        pub fn trace_tag(mut self, tag: impl Into<Arc<str>>) -> Self {
            let tag: Arc<str> = tag.into();
            let end = tag.char_indices().nth(TRACE_TAG).map(|(end, _)| end);
            self.parts.trace_tag = Some(end.map_or_else(|| tag.clone(), |end| tag[..end].into()));
            self
        }

        /// After how many failed attempts it is over: the work, or the period of periodic work.
        #[doc(alias("max_retries", "retries"))]
        pub fn max_attempts(mut self, attempts: u32) -> Self {
            self.parts.terms.max_attempts = Some(attempts);
            self
        }

        /// Tries again however many attempts failed.
        pub fn unlimited_attempts(mut self) -> Self {
            self.parts.terms.max_attempts = None;
            self
        }

        /// Greater runs first among work that is ready; 0 is usual.
        pub fn priority(mut self, priority: i8) -> Self {
            self.parts.terms.priority = priority;
            self
        }

        /// Keeps the finished work at least this long, with `Limits::retention` on top, and beside the `Limits::retained` others.
        #[doc(alias("keepResultsForAtLeast", "retention", "ttl"))]
        pub fn keep_results_for_at_least(mut self, length: Duration) -> Self {
            self.parts.terms.retention = length;
            self
        }
    };
}

impl<P, O> Request<P, O> {
    builder_methods!();
}

impl PeriodicRequest {
    builder_methods!();
}

impl<P, O> Clone for Request<P, O> {
    fn clone(&self) -> Self {
        Self::new(self.parts.clone())
    }
}

impl<P, O> fmt::Debug for Request<P, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.describe(&mut f.debug_struct("Request"))
    }
}
