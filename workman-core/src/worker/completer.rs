//! [`Completer`]: for work that is finished elsewhere, by a thread or a callback.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use futures::FutureExt;
use futures::channel::oneshot;

use super::context::{Attempt, StopWatch};
use super::{Outcome, WorkContext, WorkError};
use crate::foreign::foreign;
use crate::plan::{Advice, End};
use crate::record::ErrorText;
use crate::runtime;
use crate::state::StopReason;

/// Says how an attempt ended, once, from any thread or callback: for APIs that call back instead of returning.
///
/// A worker asks for it with an argument of this type, and gives `T`. Its function starts what is to be done, hands the
/// completer over, and returns. A plain `fn` is called on the runtime, not on a thread for blocking code, so it must return
/// quickly; an `async fn` may take its time. It returns `()` or `Result<(), E>`: an error is a failed attempt at once,
/// whatever becomes of the completer. Else the attempt lasts until both the function has returned and the completer is
/// settled; so long it holds a slot for async workers, and no thread.
///
/// A completer that is dropped instead is a failed attempt that says so, or an interruption if the run was to stop. What
/// is settled after the attempt has ended is dropped.
///
/// ```
/// use std::thread;
/// use workman_core::store::End;
/// use workman_core::{Completer, worker};
/// use workman_testing::TestWorker;
///
/// /// A library of the old kind, which calls back from a thread of its own.
/// fn fetch(url: String, callback: impl FnOnce(Result<Vec<u8>, String>) + Send + 'static) {
///     thread::spawn(move || callback(if url.starts_with("https:") { Ok(vec![1, 2, 3]) } else { Err("refused".into()) }));
/// }
///
/// #[worker]
/// fn download(url: String, done: Completer<usize>) {
///     fetch(url, move |fetched| match fetched {
///         Ok(bytes) => done.succeed(bytes.len()),
///         Err(error) => done.fail(error),
///     });
/// }
///
/// assert_eq!(TestWorker::<download>::new(download::request("https://example.org".into())).output(), 3);
/// let failed = TestWorker::<download>::new(download::request("file:///".into())).run();
/// assert!(matches!(failed, End::Failed { error, .. } if error.to_string() == "refused"));
/// ```
///
/// In tests, a thread that settles a completer is waited for in real time before virtual time goes on. A test that keeps
/// completers to itself, or lets them go unanswered, says `nobody_outside()` to its `TestDriver` or `TestWorker`, and
/// nothing waits.
#[must_use = "a completer that is dropped is a failed attempt"]
#[doc(alias("CallbackToFutureAdapter", "async_completion"))]
pub struct Completer<T> {
    context: WorkContext,
    settled: oneshot::Sender<Outcome<T>>,
}

impl<T> Completer<T> {
    /// The work succeeded and gives this.
    pub fn succeed(self, value: T) {
        self.settle(Outcome::Success(value));
    }

    /// The attempt failed.
    pub fn fail(self, error: impl Into<WorkError>) {
        self.settle(Outcome::Failed(error.into()));
    }

    /// The attempt ended so.
    pub fn settle(self, outcome: Outcome<T>) {
        // Whoever would have heard of it has ended.
        let _ = self.settled.send(outcome);
    }

    /// Whether this run is to stop: the rest of it is in vain, and if the completer is not settled within the grace period
    /// the attempt ends as interrupted.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.context.is_stopped()
    }

    /// Why this run is to stop, once it is.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.context.stop_reason()
    }

    /// Calls `callback` once when this run is to stop, at once if it already is; never if the run ends by itself before. From
    /// then on an error is an interruption and no failed attempt.
    ///
    /// It is called on the runtime, or right here, and must return quickly.
    ///
    /// ```
    /// use std::time::Duration;
    /// use workman_core::store::End;
    /// use workman_core::{Completer, StopReason, WorkContext, worker};
    /// use workman_testing::TestWorker;
    ///
    /// #[worker]
    /// async fn transfer(done: Completer<u64>, cx: &WorkContext) {
    ///     let (cancel, cancelled) = futures::channel::oneshot::channel();
    ///     done.on_stop(move |reason| drop(cancel.send(reason)));
    ///     # cx.until_stopped().await;
    ///     if cancelled.await.is_ok() {
    ///         done.fail("the transfer was cancelled");
    ///     }
    /// }
    ///
    /// let unplugged = StopReason::ConstraintCharging;
    /// let transfer = TestWorker::<transfer>::new(transfer::request());
    /// assert_eq!(transfer.stop_after(Duration::from_secs(5), unplugged).run(), End::Interrupted { reason: unplugged });
    /// ```
    pub fn on_stop(&self, callback: impl FnOnce(StopReason) + Send + 'static) {
        self.context.run().on_stop(Box::new(callback));
    }

    /// The worker's side of the attempt: progress, checkpoints, keys.
    #[must_use]
    pub fn context(&self) -> &WorkContext {
        &self.context
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completer").field("context", &self.context).finish_non_exhaustive()
    }
}

/// Runs a worker with a completer: `call` is its function, which may end the attempt early.
pub(crate) async fn complete<T, F: Future<Output = Result<(), End>>>(
    context: WorkContext,
    call: impl FnOnce(Completer<T>) -> F,
    end: impl FnOnce(Outcome<T>) -> End,
) -> End {
    let attempt = Arc::clone(context.run());
    let mut callbacks = Callbacks { attempt: &attempt, watch: StopWatch::new(&attempt), over: false };
    let (sender, settled) = oneshot::channel();
    let early = callbacks.beside(call(Completer { context, settled: sender })).await;
    let ended = match early {
        Ok(()) => callbacks.beside(noted(settled)).await.map_or_else(|oneshot::Canceled| dropped(&attempt), end),
        Err(end) => end,
    };
    callbacks.over = true;
    ended
}

/// What the completer is settled with, known as such while it is awaited.
async fn noted<T>(mut settled: oneshot::Receiver<T>) -> Result<T, oneshot::Canceled> {
    std::future::poll_fn(|cx| {
        let polled = settled.poll_unpin(cx);
        if polled.is_pending() {
            runtime::note_completer_wait();
        }
        polled
    })
    .await
}

/// Nobody will settle it any more. If the run was to stop, that was the reason.
fn dropped(attempt: &Attempt) -> End {
    match attempt.stop_reason() {
        Some(reason) => End::Interrupted { reason },
        None => {
            let text = format!("the completer of worker `{}` was dropped before it was settled", attempt.worker);
            End::Failed { error: ErrorText::new(text), advice: Advice::ByPolicy }
        }
    }
}

/// Calls what is to be called when the run is to stop.
struct Callbacks<'a> {
    attempt: &'a Attempt,
    watch: StopWatch<'a>,
    over: bool,
}

impl Callbacks<'_> {
    /// The future, with callbacks called meanwhile.
    async fn beside<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => {
                self.call(cx);
                Poll::Pending
            }
        })
        .await
    }

    fn call(&mut self, cx: &Context<'_>) {
        if self.watch.poll(cx).is_ready()
            && let Some((reason, callbacks)) = self.attempt.take_on_stop()
        {
            // Each is called, whatever the one before does; then the attempt fails with the first that panicked.
            let panicked = callbacks.into_iter().filter_map(|callback| foreign(|| callback(reason)).err());
            if let Some(panicked) = panicked.reduce(|first, _| first) {
                panicked.go_on();
            }
        }
    }
}

/// Dropped before its end, without a stop: the runtime is gone, and what goes on elsewhere goes on in vain.
impl Drop for Callbacks<'_> {
    fn drop(&mut self) {
        if self.over || thread::panicking() {
            return self.attempt.forget_on_stop();
        }
        self.attempt.stop(StopReason::RuntimeGone);
        if let Some((reason, callbacks)) = self.attempt.take_on_stop() {
            for callback in callbacks {
                // There is no attempt any more that could fail with it.
                if let Err(panicked) = foreign(|| callback(reason)) {
                    tracing::error!(%panicked, "what was to be called at a stop panicked");
                }
            }
        }
    }
}
