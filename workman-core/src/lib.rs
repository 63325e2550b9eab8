//! Reliable persistent background work: annotate a function, enqueue it, and it will be done, even if your process dies in
//! between.
//!
//! This crate is the whole of workman but for a place to keep works: take `workman-redb` (one file) for a program, and
//! [`MemoryStore`] for what may die with its process. What follows is the story in four short programs.
//!
//! # 1. Define work, enqueue it, get a typed answer
//!
//! [`#[worker]`](macro@worker) leaves the function as it is and puts a type of the same name beside it, which makes requests.
//! Once [`enqueue`](WorkManager::enqueue) has returned, the work is stored. An error or a panic is a failed attempt, and it is
//! tried again later.
//!
//! ```
//! use futures::executor::block_on;
//! use workman_core::{MemoryStore, ThreadRuntime, WorkManager, worker};
//!
//! /// Adds up what is in a list.
//! #[worker]
//! fn add_up(numbers: Vec<u64>) -> Result<u64, String> {
//!     numbers.into_iter().try_fold(0_u64, u64::checked_add).ok_or_else(|| "too much".to_owned())
//! }
//!
//! let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
//! block_on(async {
//!     let work = manager.enqueue(add_up::request(vec![1, 2, 39])).await?;
//!     assert_eq!(work.output().await?, 42);
//!     # Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! assert_eq!(add_up(vec![1, 2])?, 3); // still a plain function
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # 2. Chains: one after the other, side by side, and together again
//!
//! A worker that takes outputs says so, and a step that does not fit the step before it does not compile. A whole chain is
//! stored in one commit; under a unique name it is there once, however often a program starts.
//!
//! ```
//! # use futures::executor::block_on;
//! use workman_core::{Enqueued, ExistingWorkPolicy, MemoryStore, ThreadRuntime, WorkManager, worker};
//!
//! #[worker]
//! fn count_words(text: String) -> usize {
//!     text.split_whitespace().count()
//! }
//!
//! #[worker]
//! async fn total(#[prerequisites] counts: Vec<usize>) -> usize {
//!     counts.iter().sum()
//! }
//!
//! # let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
//! # block_on(async {
//! let texts = ["one two", "three"].map(|text| count_words::request(text.to_owned()));
//! let chain = manager.begin_unique("words", ExistingWorkPolicy::Keep, texts).then(total::request()).enqueue().await?;
//! assert_eq!(chain.how, Enqueued::Inserted);
//! let last = chain.last.expect("the name was free");
//! assert_eq!(last.output().await?, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # 3. Again and again, when the machine has time for it
//!
//! Periodic work under a unique name is what a program asks for at every start. It runs only while its constraints hold;
//! a [`ConstraintSensor`] says whether they do. A long run saves where it is, so that the next attempt goes on from there.
//!
//! ```
//! # use std::time::Duration;
//! # use futures::executor::block_on;
//! # use workman_core::{MemoryStore, ThreadRuntime, WorkManager, worker};
//! use workman_core::{
//!     Constraints, Enqueued, ExistingPeriodicWorkPolicy, ManualSensor, NetworkType, WorkContext, WorkError,
//! };
//!
//! #[worker]
//! async fn sync(cx: &WorkContext) -> Result<(), WorkError> {
//!     let from = cx.checkpoint::<u32>()?.unwrap_or(0);
//!     for page in from..100 {
//!         cx.save_checkpoint(&page)?;                      // on disk within a second
//!         cx.sleep(Duration::from_millis(200)).await?;     // `Stopped` when the network goes: no failed attempt
//!     }
//!     Ok(())
//! }
//!
//! let sensor = ManualSensor::new();
//! let manager = WorkManager::builder(MemoryStore::new()).sensor(sensor.clone()).runtime(ThreadRuntime::new()).start()?;
//! # block_on(async {
//! let every_hour = sync::periodic(Duration::from_secs(3600))
//!     .constraints(Constraints::new().network(NetworkType::Unmetered));
//! let sync = manager.enqueue_unique_periodic("sync", ExistingPeriodicWorkPolicy::Update, every_hour).await?;
//! assert_eq!(sync.how, Enqueued::Inserted);
//! # manager.shutdown(Duration::ZERO).await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # 4. Tests without waiting
//!
//! `workman-testing` runs the same planner and the same dispatcher on a clock that moves when it is told to.
//!
//! ```
//! # use std::time::Duration;
//! use workman_core::{WorkState, worker};
//! use workman_testing::TestDriver;
//!
//! #[worker]
//! fn upload(path: String) -> Result<String, std::io::Error> {
//!     Ok(format!("https://example.org/{path}"))
//! }
//!
//! let test = TestDriver::new();
//! test.stub::<upload>([Err("offline".into()), Ok("https://example.org/cat".to_owned())]);
//! let work = test.enqueue(upload::request("cat.png".to_owned()));
//! test.run_until_idle();
//! assert_eq!(test.info(work).state, WorkState::Enqueued);       // failed once, waits for its backoff
//! test.crash_and_restart();
//! test.advance(Duration::from_secs(30));
//! assert_eq!(test.output::<String>(work), "https://example.org/cat");
//! ```
//!
//! # Which workers a manager runs
//!
//! All that are linked into the program, unless the builder names some with [`register`](Builder::register). A crate that the
//! program never names is not linked: say `use my_workers as _;` for a crate that holds nothing but workers. In a program of another
//! language that links a static library (an app for iOS or Android) not even that is enough: `register` each worker there. A start
//! with no worker at all warns. Two workers of one name are refused at the start, with the places of both. (The doctests of a
//! crate are one program since edition 2024: mark those that repeat a worker's name `standalone_crate`.)
//!
//! # The types, in the order in which one meets them
//!
//! | | |
//! |---|---|
//! | In a program's hands | [`WorkManager`], its [`Builder`], [`WorkHandle`], [`WorkId`] |
//! | Asking for work | [`Request`], [`PeriodicRequest`], [`Schedule`], [`Constraints`], [`Backoff`], [`ExistingWorkPolicy`] |
//! | Several works | [`Chain`], [`WorkGraph`], [`InputMerger`]; [`steps`] has what the compiler checks by |
//! | In a worker | [`WorkContext`], [`WorkError`], [`Outcome`], [`Completer`] |
//! | Looking | [`WorkInfo`], [`WorkState`], [`WorkQuery`], [`Explanation`], [`HealthStatus`] |
//! | Steering | [`WorkSelector`], [`StopReason`], [`Limits`] |
//! | Bringing your own | [`Runtime`], [`ConstraintSensor`], [`Clock`], [`store::Store`] |
//!
//! `use workman_core::prelude::*` brings those that most programs use.
//!
//! # Where to read on
//!
//! - [`docs::guarantees`] says what is promised and what is not, [`docs::lifecycle`] what can happen to a work.
//! - [`docs::when`] says when to use something else and how to come from there, `docs/compare.md` what each feature of
//!   WorkManager is here.
//! - [`WorkManager`] is what a program holds in its hands, [`WorkContext`] what a worker is given; [`Worker`] shows which
//!   kinds of workers there are.
//! - [`docs::architecture`] is the way into the sources, [`docs::design`] says why they are like this.
//! - [`store`] is for those who keep works somewhere else, [`Runtime`] for those who run workers somewhere else.
//!
//! # Features
//!
//! None is on by default: workers run on built-in threads, and no executor is needed. `tokio` and `smol` run workers there.
//! With `tokio` on, a manager that is given no runtime takes the tokio runtime that surrounds `start()`, if one does.

#![forbid(unsafe_code)]

mod chain;
mod constraints;
mod data;
mod dispatcher;
pub mod docs;
mod foreign;
mod health;
mod id;
mod index;
mod info;
mod limits;
mod manager;
mod observe;
mod plan;
mod policy;
pub mod prelude;
mod query;
mod record;
mod request;
mod runtime;
mod sensor;
mod state;
pub mod steps;
pub mod store;
mod time;
mod worker;

#[doc(hidden)]
#[path = "private/mod.rs"]
pub mod __private;
#[doc(hidden)]
pub mod seams;

pub use workman_macros::worker;

// What a program holds in its hands.
pub use manager::{Builder, Engine, Enqueueing, UniqueWork, WorkHandle, WorkManager};

// What it asks for.
pub use chain::{Chain, EnqueuedChain, EnqueuedGraph, GraphNode, WorkGraph};
pub use constraints::{Conditions, ConstraintKind, Constraints, Network, NetworkType};
pub use limits::{Limits, WorkManagerLimits};
pub use manager::{Cancelling, Gate, Matching, Pausing, RetriedAll, Selection, Updatable};
pub use plan::{Enqueued, GateProblem, GateStatus, OnPause, RetryReport, StayedFailed, SteerResult, UpdateResult};
pub use policy::{
    Backoff, BackoffPolicy, DEATHS_AS_SUSPECT, DEATHS_TO_SUSPECT, DEFAULT_MAX_ATTEMPTS, EXPEDITED_WINDOW,
    ExistingPeriodicWorkPolicy, ExistingWorkPolicy, FIRST_FLAP, InputMerger, LONGEST_FLAP, OnDeath, OnInterruption,
    OutOfQuotaPolicy, SHORTEST_WAIT,
};
pub use record::{GateLimits, GateTarget, InputShape, OnSerialFailure, Rate, Schedule};
pub use request::{ErasedRequest, Nothing, PeriodicRequest, Request, Taken, Takes, TakesAll};

// What a worker is given, and what it says.
pub use worker::{Completer, Outcome, Stopped, WorkContext, WorkError, Worker, WorkerType};

// What is known about a work.
pub use data::Payload;
pub use dispatcher::ShutdownReport;
pub use health::HealthStatus;
pub use id::WorkId;
pub use info::{Expedited, ExpeditedState, WorkInfo};
pub use manager::{Counts, DrainReport, Explanation, FailedPrerequisite, Findings};
pub use query::{WorkQuery, WorkSelector};
pub use record::{AttemptEnd, AttemptRecord, ErrorText, ParkReason, Tally, Wait};
pub use state::{StopReason, WorkState};

// What a program may bring of its own.
pub use dispatcher::MissingSensor;
#[cfg(feature = "smol")]
pub use runtime::SmolRuntime;
#[cfg(feature = "tokio")]
pub use runtime::TokioRuntime;
pub use runtime::{Runtime, ThreadRuntime};
pub use sensor::{ConstraintSensor, ManualSensor, NoSensor};
pub use store::memory::MemoryStore;
pub use time::{Clock, SystemClock, Timestamp};

// What may go wrong.
pub use data::{DecodeError, EncodeError};
pub use id::ParseWorkIdError;
pub use manager::{ActionError, EnqueueError, HandleError, OutputError, QueryError, StartError, UpdateError};
pub use plan::Refusal;
pub use request::{NameProblem, RequestError};
pub use runtime::NoRuntime;
pub use store::error::{StoreError, StoreErrorKind};
pub use worker::{DuplicateWorker, NoteError};

/// The programs of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
