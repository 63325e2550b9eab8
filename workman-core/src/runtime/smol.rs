//! [`SmolRuntime`]: workers on smol's global executor.

use futures::future::BoxFuture;

use super::Runtime;

/// Runs workers on smol: async ones on its global executor, blocking ones on the pool of `smol::unblock`.
///
/// The executor is global and never ends. It has one thread unless the environment variable `SMOL_THREADS` says more.
///
/// ```
/// use workman_core::{Runtime, SmolRuntime};
///
/// let (answer, question) = futures::channel::oneshot::channel();
/// SmolRuntime::new().spawn(Box::pin(async { answer.send(42).unwrap() }));
/// assert_eq!(smol::block_on(question), Ok(42));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SmolRuntime;

impl SmolRuntime {
    /// smol's global executor.
    #[must_use]
    pub const fn new() -> Self {
        SmolRuntime
    }
}

impl Runtime for SmolRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        smol::spawn(task).detach();
    }

    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) {
        smol::unblock(job).detach();
    }

    fn name(&self) -> &'static str {
        "smol"
    }
}
