//! Where workers run: the [`Runtime`] trait, its three implementations, and the seam for blocking workers in tests.
//!
//! Only workers run here. The store, the dispatcher and the timer live on workman's own threads and outlive every async
//! runtime, so nothing in this module may be needed to keep a promise: a runtime that goes away drops its futures, and
//! whoever owns one of them notices.

mod ambient;
mod blocking;
mod driven;
#[cfg(feature = "smol")]
mod smol;
mod thread;
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

#[doc(hidden)]
pub use self::ambient::Ambient;
pub use self::blocking::{
    BlockingHook, ScopedHook, block_on, completer_waits, note_own_wait, own_waits, pause_point, scoped_blocking_hook,
};
pub(crate) use self::blocking::{note_completer_wait, own_wait, yield_now};
pub(crate) use self::driven::Driven;
#[doc(hidden)]
pub use self::driven::{DriverHere, polled_by_driver};
#[cfg(feature = "smol")]
pub use self::smol::SmolRuntime;
pub use self::thread::ThreadRuntime;
#[cfg(feature = "tokio")]
pub use self::tokio::TokioRuntime;

/// Where workers run, in two verbs, and a third for who has threads of his own.
///
/// # The contract
/// - Neither verb blocks, and neither runs what it was given before it returns.
/// - What is given is either run to its end or **dropped**: a runtime that ends, or that can't run it, drops it, and never
///   keeps it unpolled for ever. workman sees the drop and counts the run as interrupted.
/// - A panic ends the future or the job that panicked and nothing else.
///
/// Not promised: fairness, an order, or a thread. workman decides how much runs at once; a runtime has no limit of its own
/// to keep for it.
///
/// # Example
/// A runtime of one's own is a few lines:
/// ```
/// use futures::future::BoxFuture;
/// use workman_core::Runtime;
/// use workman_core::seams::block_on;
///
/// /// A thread for everything.
/// struct Extravagant;
///
/// impl Runtime for Extravagant {
///     fn spawn(&self, task: BoxFuture<'static, ()>) {
///         std::thread::spawn(move || block_on(task));
///     }
///
///     fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) {
///         std::thread::spawn(job);
///     }
/// }
///
/// let (answer, question) = std::sync::mpsc::channel();
/// Extravagant.spawn(Box::pin(async move { answer.send(42).unwrap() }));
/// assert_eq!(question.recv(), Ok(42));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no runtime of workman",
    label = "not a `Runtime`",
    note = "a handle of tokio is wrapped, `TokioRuntime::new(handle)`, with the feature `tokio`; `ThreadRuntime::new()` has threads of its own"
)]
pub trait Runtime: Send + Sync + 'static {
    /// Polls the future to its end in the background, or drops it if the runtime is gone.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs the job on a thread where blocking is fine, so that it stalls no future; drops it if the runtime is gone.
    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>);

    /// A future that was given to this runtime does not give way: it was told to stop, and dropped, in vain, and keeps the thread that
    /// polls it. A runtime whose threads are its own may let another one take its place, until what it answers is dropped.
    fn spare(&self) -> Option<Box<dyn Send>> {
        None
    }

    /// What the log calls this runtime.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

/// A runtime that several managers share.
impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        (**self).spawn(task);
    }

    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) {
        (**self).spawn_blocking(job);
    }

    fn spare(&self) -> Option<Box<dyn Send>> {
        (**self).spare()
    }

    fn name(&self) -> &'static str {
        (**self).name()
    }
}

/// The runtime of a manager that was given none: with the feature `tokio` the tokio runtime that surrounds the call, if one does;
/// otherwise a new [`ThreadRuntime`].
///
/// Features of one program are shared by all of its crates, so a program that never heard of tokio must not fail because another
/// crate has turned it on. A worker that misses tokio on plain threads fails and is told what to add.
#[must_use]
pub fn default_runtime() -> Arc<dyn Runtime> {
    #[cfg(feature = "tokio")]
    match TokioRuntime::current() {
        Ok(ambient) => return Arc::new(ambient),
        Err(_) => tracing::info!("no tokio runtime surrounds the start, so workers run on built-in threads"),
    }
    Arc::new(ThreadRuntime::new())
}

/// What a worker that misses tokio on its thread needs. `TokioRuntime` is there with the feature only.
pub(crate) const TOKIO_ADVICE: &str = if cfg!(feature = "tokio") {
    "this worker needs a tokio runtime, and none surrounds it: start the manager inside of one, or give the builder \
     `.runtime(TokioRuntime::new(handle))`; a test driver is made inside of one, say in a `#[tokio::test]`"
} else {
    "this worker needs a tokio runtime, and none surrounds it: turn on the feature `tokio` of `workman-core`, and start the manager \
     inside of one, or give the builder `.runtime(TokioRuntime::new(handle))`; a test driver is made inside of one, say in a \
     `#[tokio::test]`"
};

/// No tokio runtime surrounds a call that was to find one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoRuntime;

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no tokio runtime surrounds this call: make it inside of one, or say which is meant, with \
             `TokioRuntime::new(handle)`",
        )
    }
}

impl std::error::Error for NoRuntime {}
