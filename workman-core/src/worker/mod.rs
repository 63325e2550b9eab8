//! The user's side: what a worker is, what it gets, and what its answer means.
//!
//! The `#[worker]` macro turns a function into a [`WorkerDef`]; a [`Registry`] finds it by name; the dispatcher calls
//! [`WorkerDef::start`] with an [`Invocation`] and gets a [`Body`] to run. Generics end here: everything behind this room
//! deals with names and payloads.

mod completer;
mod context;
mod current;
mod execute;
mod here;
mod outcome;
mod registry;
mod streaming;
mod trial;
mod verdict;
mod waits;

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::constraints::Constraints;
use crate::data::{EncodeError, Payload};
use crate::foreign::discard;
use crate::plan::{End, WorkerKind};
use crate::policy::{Backoff, OnDeath};
use crate::record::InputShape;

pub use completer::Completer;
pub(crate) use completer::complete;
pub(crate) use context::{Attempt, Fate, FromWorker, Live, Shared, Tried};
pub use context::{NoteError, Stopped, WorkContext};
pub(crate) use current::Current;
pub(crate) use execute::{Given, MayBegin, Run};
pub(crate) use here::{Hold, InTheWay, KnownRun, Listening, RunHere, RunsHere};
use outcome::Unstorable;
#[doc(hidden)]
pub(crate) use outcome::{Answer, by};
pub use outcome::{Outcome, WorkError};
#[doc(hidden)]
pub use registry::Linked;
pub use registry::{DuplicateWorker, RegisteredWorker, Registry, Stub};
pub(crate) use streaming::stream;
pub(crate) use trial::Role;
#[doc(hidden)]
pub(crate) use trial::Unencodable;
pub use trial::{ReadBack, Trials};
pub(crate) use verdict::Ending;
pub(crate) use waits::{OwnWaits, RunTerms};

/// A worker as a type: what `#[worker]` puts beside the function.
///
/// # Four kinds of workers
///
/// A plain `fn` runs on a thread for blocking code, and may block it as long as it likes:
/// ```
/// use workman_core::worker;
/// use workman_testing::TestWorker;
///
/// #[worker]
/// fn count_lines(text: String) -> usize {
///     text.lines().count()
/// }
/// # assert_eq!(TestWorker::<count_lines>::new(count_lines::request("a\nb".into())).output(), 2);
/// ```
/// An `async fn` is polled on the runtime:
/// ```
/// use std::time::Duration;
/// use workman_core::{WorkContext, WorkError, worker};
/// use workman_testing::TestWorker;
///
/// #[worker]
/// async fn echo_later(cx: &WorkContext, text: String) -> Result<String, WorkError> {
///     cx.sleep(Duration::from_secs(60)).await?;
///     Ok(text)
/// }
/// # assert_eq!(TestWorker::<echo_later>::new(echo_later::request("tea".into())).output(), "tea");
/// ```
/// One with a [`Completer`] starts something that calls back; see there.
///
/// One that returns a stream gives its last item, and each item is its progress at once. It can't borrow the context, so it
/// asks for one of its own:
/// ```
/// use futures::stream::{self, Stream, StreamExt};
/// use workman_core::{WorkContext, WorkError, worker};
/// use workman_testing::TestWorker;
///
/// /// Adds up numbers, and says each sum on the way.
/// #[worker]
/// fn running_total(numbers: Vec<u64>, cx: WorkContext) -> impl Stream<Item = Result<u64, WorkError>> {
///     let mut sum = 0_u64;
///     stream::iter(numbers).map(move |number| {
///         sum = sum.checked_add(number).ok_or("too much")?;
///         cx.save_checkpoint(&sum)?;
///         Ok(sum)
///     })
/// }
///
/// assert_eq!(TestWorker::<running_total>::new(running_total::request(vec![1, 2, 39])).output(), 42);
/// ```
///
/// # Workers with limits
///
/// The attribute says how many works run at once, and which key each shares a limit by:
/// ```
/// use std::time::Duration;
/// use workman_core::{Gate, Stopped, WorkContext, WorkState, worker};
/// use workman_testing::TestDriver;
///
/// #[worker(concurrency = 4, limit_key = "customer/{customer}")]
/// async fn send_invoice(cx: &WorkContext, customer: u64, number: u32) -> Result<String, Stopped> {
///     cx.sleep(Duration::from_secs(60)).await?;
///     Ok(format!("{customer}-{number}"))
/// }
///
/// let test = TestDriver::new().shape(|builder| builder.limit(Gate::keys("customer/*").at_once(1)));
/// let invoices = [(7, 1), (7, 2), (8, 1)].map(|(customer, number)| test.enqueue(send_invoice::request(customer, number)));
/// test.run_until_idle();
/// assert_eq!(test.info(invoices[0]).limit_key.as_deref(), Some("customer/7"));
/// assert_eq!(test.info(invoices[1]).state, WorkState::Enqueued, "one of customer 7 after the other");
/// assert_eq!(test.info(invoices[2]).state, WorkState::Running, "and customer 8 does not wait for them");
/// ```
pub trait Worker: 'static {
    /// What the worker gives.
    type Output;
    /// Everything that workman knows about it.
    const DEF: &'static WorkerDef;

    /// Whether its attribute says `permanent = ..` and that function says so of this error: for those who stand in for the worker.
    #[doc(hidden)]
    fn is_permanent(_error: &WorkError) -> bool {
        false
    }
}

/// A worker's type as a value: `upload_image::worker()` tells `manager.handle(..)` what the work gives.
pub struct WorkerType<W> {
    worker: PhantomData<fn() -> W>,
}

impl<W: Worker> WorkerType<W> {
    /// The value.
    #[must_use]
    pub const fn new() -> Self {
        WorkerType { worker: PhantomData }
    }

    /// Everything that workman knows about the worker.
    #[must_use]
    pub const fn def(self) -> &'static WorkerDef {
        W::DEF
    }
}

impl<W: Worker> Default for WorkerType<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> Clone for WorkerType<W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for WorkerType<W> {}

impl<W: Worker> fmt::Debug for WorkerType<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerType({})", W::DEF.name)
    }
}

/// Everything that workman knows about a worker. Made by `#[worker]`.
#[derive(Debug)]
pub struct WorkerDef {
    /// The name under which its work is stored.
    pub name: &'static str,
    /// Names under which older builds stored its work.
    pub aliases: &'static [&'static str],
    /// Where it is defined: `file:line`.
    pub location: &'static str,
    /// Which slots it takes.
    pub kind: WorkerKind,
    /// How it takes the outputs of its prerequisites.
    pub takes: InputShape,
    /// What its requests start from.
    pub defaults: Defaults,
    /// The application state that it needs.
    pub states: fn() -> Vec<StateKey>,
    /// Decodes everything, and answers the body to run, or what does not decode. Runs no user code but `Deserialize`.
    pub start: fn(Invocation) -> Result<Body, Unstartable>,
    /// Refuses freshly encoded arguments that do not decode to what they were. Runs no user code but that of serde.
    pub reads_input: fn(&Payload) -> Result<(), Unencodable>,
    /// Refuses a freshly encoded output that does not decode to what it was.
    pub reads_output: fn(&Payload) -> Result<(), EncodeError>,
    /// How often both were asked in this process.
    pub trials: Trials,
}

/// What a worker's requests start from.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// After how many failed attempts work fails for good; `None` is never.
    pub max_attempts: Option<u32>,
    /// How long to wait after a failed attempt.
    pub backoff: Backoff,
    /// Greater runs first.
    pub priority: i8,
    /// When it may run.
    pub constraints: Constraints,
    /// What a death of the process does to its work.
    pub on_death: OnDeath,
    /// How long an attempt may take; `None` is as long as it likes.
    pub timeout: Option<Duration>,
    /// How many of its works run at once in all processes that share the store; `None` is as many as have slots. Never 0, which is a pause.
    pub concurrency: Option<u32>,
    /// How long to wait after so many failed attempts, asked if the policy of the work is
    /// [`Custom`](crate::policy::BackoffPolicy::Custom). If it panics, the wait is what it would be without it.
    ///
    /// It depends on its argument alone: each run asks it before its worker, on the worker's thread, for the wait that comes
    /// if this attempt fails. One that is slow holds up the runs of its own worker and no others.
    pub backoff_fn: Option<fn(failed_attempts: u32) -> Duration>,
}

/// All that a run gets.
pub struct Invocation {
    /// The worker's side of the attempt.
    pub context: WorkContext,
    /// The arguments, an object keyed by argument name.
    pub input: Payload,
    /// The outputs of its prerequisites, in declaration order; `None` where one left none.
    pub prerequisites: Vec<Option<Payload>>,
    /// The application's state.
    pub states: Arc<States>,
}

/// What is to be run.
pub enum Body {
    /// Polled on the runtime.
    Async(BoxFuture<'static, End>),
    /// Called on a thread for blocking code.
    Blocking(Box<dyn FnOnce() -> End + Send>),
}

/// Why a run can't begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unstartable {
    /// An argument or the output of a prerequisite does not decode.
    Undecodable(String),
    /// A state was never given to the builder.
    MissingState(StateKey),
}

/// A type of application state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateKey {
    id: TypeId,
    name: &'static str,
}

impl StateKey {
    /// The key of this type.
    #[must_use]
    pub fn of<T: 'static>() -> Self {
        StateKey { id: TypeId::of::<T>(), name: std::any::type_name::<T>() }
    }

    /// The type's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The application's state, one value a type, as `builder.state(..)` got it.
#[derive(Default)]
pub struct States {
    values: BTreeMap<TypeId, Box<dyn Any + Send + Sync>>,
}

/// What the program gave is dropped one by one, whatever the drop of another does.
impl Drop for States {
    fn drop(&mut self) {
        std::mem::take(&mut self.values).into_values().for_each(|value| discard("a state", value));
    }
}

impl States {
    /// Adds a value, the only one of its type.
    ///
    /// # Errors
    /// The type, if there is such a value already: each argument of the type would get the one and never the other. The first stays.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) -> Result<(), StateKey> {
        match self.values.entry(TypeId::of::<T>()) {
            Entry::Vacant(place) => {
                place.insert(Box::new(value));
                Ok(())
            }
            Entry::Occupied(_) => Err(StateKey::of::<T>()),
        }
    }

    /// A clone of the value of this type.
    #[must_use]
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.values.get(&TypeId::of::<T>()).and_then(|value| value.downcast_ref::<T>()).cloned()
    }

    /// Whether there is a value of this type.
    #[must_use]
    pub fn has(&self, key: &StateKey) -> bool {
        self.values.contains_key(&key.id)
    }
}
