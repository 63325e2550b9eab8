//! Where workers run: the [`Runtime`] trait, its three implementations, and the seam for blocking workers in tests.
//!
//! Only workers run here. The store, the dispatcher and the timer live on workman's own threads and outlive every async
//! runtime, so nothing in this module may be needed to keep a promise: a runtime that goes away drops its futures, and
//! whoever owns one of them notices.

mod blocking;
#[cfg(feature = "smol")]
mod smol;
mod thread;
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

pub use self::blocking::{
    BlockingHook, ScopedHook, block_on, completer_waits, note_own_wait, own_waits, pause_point, scoped_blocking_hook,
};
pub(crate) use self::blocking::{note_completer_wait, own_wait, yield_now};
#[cfg(feature = "smol")]
pub use self::smol::SmolRuntime;
pub use self::thread::ThreadRuntime;
#[cfg(feature = "tokio")]
pub use self::tokio::TokioRuntime;

/// Where workers run, in two verbs.
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
pub trait Runtime: Send + Sync + 'static {
    /// Polls the future to its end in the background, or drops it if the runtime is gone.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs the job on a thread where blocking is fine, so that it stalls no future; drops it if the runtime is gone.
    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>);

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

    fn name(&self) -> &'static str {
        (**self).name()
    }
}

/// The runtime of a manager that was given none.
///
/// Without the feature `tokio` that is a new [`ThreadRuntime`]. With it, it is the tokio runtime that surrounds the call,
/// and nothing else: a worker that uses tokio's sockets would panic on plain threads, so there is no fallback.
///
/// # Errors
/// [`NoRuntime`] with the feature `tokio`, outside of a tokio runtime.
pub fn default_runtime() -> Result<Arc<dyn Runtime>, NoRuntime> {
    #[cfg(feature = "tokio")]
    let runtime = TokioRuntime::current()?;
    #[cfg(not(feature = "tokio"))]
    let runtime = ThreadRuntime::new();
    Ok(Arc::new(runtime))
}

/// No runtime was given, and none surrounds the call. The message says which line to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoRuntime;

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no runtime was given and no tokio runtime surrounds this call: start inside of tokio, or tell the builder \
             where workers run, `.runtime(TokioRuntime::new(handle))` or `.runtime(ThreadRuntime::new())`",
        )
    }
}

impl std::error::Error for NoRuntime {}
