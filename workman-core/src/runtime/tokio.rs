//! [`TokioRuntime`]: workers on tokio.

use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::{NoRuntime, Runtime};

/// Runs workers on a tokio runtime: async ones as its tasks, blocking ones on its blocking pool.
///
/// It holds a handle and does not keep the runtime alive. When the runtime shuts down, its workers are interrupted, and
/// what is spawned later is dropped. A *current-thread* runtime polls only while somebody is inside its `block_on`.
///
/// ```
/// use workman_core::{Runtime, TokioRuntime};
///
/// let tokio = tokio::runtime::Builder::new_current_thread().build()?;
/// let runtime = TokioRuntime::new(tokio.handle().clone());
///
/// let (answer, question) = futures::channel::oneshot::channel();
/// runtime.spawn(Box::pin(async { answer.send(42).unwrap() }));
/// assert_eq!(tokio.block_on(question), Ok(42));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokioRuntime {
    handle: Handle,
}

impl TokioRuntime {
    /// The runtime that this handle belongs to.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        TokioRuntime { handle }
    }

    /// The runtime that surrounds this call.
    ///
    /// # Errors
    /// [`NoRuntime`] when there is none.
    pub fn current() -> Result<Self, NoRuntime> {
        Handle::try_current().map(Self::new).map_err(|_| NoRuntime)
    }
}

impl Runtime for TokioRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.handle.spawn(task));
    }

    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) {
        drop(self.handle.spawn_blocking(job));
    }

    fn name(&self) -> &'static str {
        "tokio"
    }
}
