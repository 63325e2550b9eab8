//! [`Request`] and [`PeriodicRequest`]: what somebody wants done, typed, before anything is written.
//!
//! `#[worker]` makes functions that make requests. A request knows its id from the first moment, so an enqueue whose answer
//! was lost is simply repeated. Nothing here fails: what is wrong with a request is found, all of it, when it is
//! enqueued ([`RequestError`]).

mod draft;
mod error;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::constraints::Constraints;
use crate::id::WorkId;
use crate::policy::Backoff;
use crate::record::Schedule;

pub(crate) use draft::{Input, RequestDraft, Unencodable, check_name};
pub use error::{NameProblem, RequestError};

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
pub struct Request<P = Nothing, O = ()> {
    draft: RequestDraft,
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
pub struct PeriodicRequest {
    draft: RequestDraft,
}

impl<P, O> Request<P, O> {
    pub(crate) fn new(draft: RequestDraft) -> Self {
        Request { draft, types: PhantomData }
    }

    pub(crate) fn into_draft(self) -> RequestDraft {
        self.draft
    }

    /// Drops what the worker gives instead of storing it. Evens out requests that differ in their output only.
    pub fn discard_output(mut self) -> Request<P, ()> {
        self.draft.terms.discards_output = true;
        Request::new(self.draft)
    }
}

impl PeriodicRequest {
    pub(crate) fn new(mut draft: RequestDraft, schedule: Schedule) -> Self {
        draft.terms.schedule = schedule;
        draft.periodic = true;
        PeriodicRequest { draft }
    }

    pub(crate) fn into_draft(self) -> RequestDraft {
        self.draft
    }
}

macro_rules! builder_methods {
    () => {
        /// The id that the work will have.
        #[must_use]
        pub fn id(&self) -> WorkId {
            self.draft.id
        }

        /// Gives the work this id: one of your own making, or that of stored work that is to be updated.
        pub fn with_id(mut self, id: WorkId) -> Self {
            self.draft.id = id;
            self
        }

        /// Adds a tag. The worker's name always counts as one.
        pub fn tag(mut self, tag: impl Into<Arc<str>>) -> Self {
            self.draft.tags.push(tag.into());
            self
        }

        /// The conditions under which the work may run, instead of the worker's.
        pub fn constraints(mut self, constraints: Constraints) -> Self {
            self.draft.constraints = constraints;
            self
        }

        /// How long the work waits after it was enqueued, or after its prerequisites succeeded.
        pub fn initial_delay(mut self, delay: Duration) -> Self {
            self.draft.terms.initial_delay = delay;
            self
        }

        /// How long the work waits after a failed attempt, instead of the worker's backoff.
        pub fn backoff(mut self, backoff: Backoff) -> Self {
            self.draft.terms.backoff = backoff;
            self
        }

        /// After how many failed attempts it is over: the work, or the period of periodic work.
        pub fn max_attempts(mut self, attempts: u32) -> Self {
            self.draft.terms.max_attempts = Some(attempts);
            self
        }

        /// Tries again however many attempts failed.
        pub fn unlimited_attempts(mut self) -> Self {
            self.draft.terms.max_attempts = None;
            self
        }

        /// Greater runs first among work that is ready; 0 is usual.
        pub fn priority(mut self, priority: i8) -> Self {
            self.draft.terms.priority = priority;
            self
        }

        /// Keeps the finished work at least this long, beside what `Limits::retention` and `Limits::retained` say.
        pub fn keep_results_for_at_least(mut self, length: Duration) -> Self {
            self.draft.terms.retention = length;
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
        Self::new(self.draft.clone())
    }
}

impl<P, O> fmt::Debug for Request<P, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draft.describe(&mut f.debug_struct("Request"))
    }
}

impl fmt::Debug for PeriodicRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draft.describe(f.debug_struct("PeriodicRequest").field("interval", &self.draft.terms.schedule.interval()))
    }
}

impl From<Duration> for Schedule {
    /// A period of this length.
    fn from(interval: Duration) -> Self {
        Schedule::every(interval)
    }
}
