//! Workers that return a stream: each item is progress, and the last one is the output.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures::Stream;

use super::context::{NoteError, StopWatch};
use super::{Role, WorkContext};
use crate::data::Payload;
use crate::plan::{Advice, End};
use crate::record::ErrorText;

/// Runs a worker that returns a stream. `end` says what an item would be as the end of the attempt: success with its
/// encoded value, or whatever ends the stream early.
///
/// The stream is dropped when the run is to stop and no item is ready.
pub(crate) async fn stream<S: Stream>(
    context: WorkContext,
    stream: impl Future<Output = S>,
    end: impl Fn(S::Item) -> End,
) -> End {
    let mut stream = pin!(stream.await);
    let attempt = Arc::clone(context.run());
    let mut watch = StopWatch::new(&attempt);
    let mut last = Last::default();
    loop {
        let item = poll_fn(|cx| match stream.as_mut().poll_next(cx) {
            Poll::Ready(item) => Poll::Ready(Ok(item)),
            Poll::Pending => watch.poll(cx).map(Err),
        });
        match item.await {
            Err(reason) => return End::Interrupted { reason },
            Ok(None) => return last.end(&context),
            Ok(Some(item)) => match end(item) {
                End::Succeeded { output } => {
                    if let Err(end) = last.replace(output, &context) {
                        return end;
                    }
                }
                other => return other,
            },
        }
        let_others_run().await;
    }
}

/// The last item so far.
#[derive(Default)]
struct Last {
    item: Option<Payload>,
    /// How many there were.
    count: u64,
}

impl Last {
    /// There is a newer item: it is progress, unless it is too large for that.
    fn replace(&mut self, item: Payload, context: &WorkContext) -> Result<(), End> {
        let limit = context.run().limits.progress;
        if let Some(size) = self.item.as_ref().map(Payload::len).filter(|size| *size > limit) {
            return Err(failed(format!(
                "item {} of the stream of worker `{}` has {size} bytes, and the limit of progress is {limit}: only the last item, which is the output, may be larger; see `Limits::progress`",
                self.count,
                context.worker()
            )));
        }
        if let Some(reason) = context.stop_reason() {
            return Err(End::Interrupted { reason });
        }
        context.run().read_back(Role::Item, &item)?;
        self.count += 1;
        self.item = Some(item.clone());
        if item.len() <= limit
            && let Err(NoteError::Stopped(stopped)) = context.set_encoded_progress(item)
        {
            return Err(End::Interrupted { reason: stopped.reason });
        }
        Ok(())
    }

    fn end(self, context: &WorkContext) -> End {
        match self.item {
            Some(output) => End::Succeeded { output },
            None => failed(format!(
                "the stream of worker `{}` gave no item: its last item would be the output",
                context.worker()
            )),
        }
    }
}

fn failed(text: String) -> End {
    End::Failed { error: ErrorText::new(text), advice: Advice::ByPolicy }
}

/// A stream that is always ready must not keep its thread to itself.
async fn let_others_run() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
