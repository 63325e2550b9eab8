//! [`Threads`]: the store's two threads, the writer's and the reader's, and what is sent to them.
//!
//! Both sleep until something is sent. The writer drains everything that waits into one group; while it syncs, the next
//! group gathers behind it. No call ever touches the disk on the caller's thread.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::{BoxFuture, Either, Shared, select};
use futures::{FutureExt, StreamExt};
use workman_core::store::{
    ChangeFeed, Dump, HomeProcess, LONGEST_SLEEP, Page, PageRequest, answer as tell, dump, page,
};
use workman_core::{Clock, StoreError, StoreErrorKind};

use crate::error::{OpenError, kills_the_handle};
use crate::handle::Handle;
use crate::report::VerifyReport;
use crate::verify::copy_store;
use crate::writer::{Answer, Units, Writer};

/// The most units of one commit; the calls behind them go with the next.
const GROUP_UNITS: usize = 1_024;

/// How often the writer gives way in vain before it serves those who are here. Giving way to nobody takes less than a
/// microsecond.
const PATIENCE: u32 = 16;

/// How long a drop waits for the threads to end. Only a disk that does not answer can make it wait that long.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

enum ToWriter {
    Transact(Units, oneshot::Sender<Answer>),
    /// The reader met an error of this generation of the handle.
    Replace(u64, oneshot::Sender<Result<(), StoreError>>),
    Verify(oneshot::Sender<Result<VerifyReport, StoreError>>),
    /// Somebody is about to look.
    Show(oneshot::Sender<()>),
    Close,
}

enum ToReader {
    Page(Box<PageRequest>, oneshot::Sender<Result<Page, StoreError>>),
    Dump(oneshot::Sender<Result<Dump, StoreError>>),
    Close,
}

/// A signal that both threads have ended.
type Ended = Shared<BoxFuture<'static, ()>>;

/// The store's threads.
pub(crate) struct Threads {
    writer: mpsc::UnboundedSender<ToWriter>,
    reader: mpsc::UnboundedSender<ToReader>,
    handle: Arc<Handle>,
    ended: Ended,
    clock: Arc<dyn Clock>,
    home: HomeProcess,
}

impl Threads {
    /// Starts both threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(writer: Writer, handle: Arc<Handle>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (to_writer, writes) = mpsc::unbounded();
        let (to_reader, reads) = mpsc::unbounded();
        let (reader_ends, reader_ended) = oneshot::channel::<()>();
        let (writer_ends, writer_ended) = oneshot::channel::<()>();
        let feed = writer.feed();
        let reader =
            ReaderThread { handle: Arc::clone(&handle), feed, reads, writer: to_writer.clone(), _ends: reader_ends };
        thread::Builder::new().name("workman-reader".into()).spawn(move || reader.run())?;
        let writer = WriterThread {
            writer,
            writes,
            reader: to_reader.clone(),
            reader_ended,
            clock: Arc::clone(&clock),
            alarm: None,
            company: 0,
            _ends: writer_ends,
        };
        thread::Builder::new().name("workman-writer".into()).spawn(move || writer.run())?;
        let ended = writer_ended.map(drop).boxed().shared();
        Ok(Threads { writer: to_writer, reader: to_reader, handle, ended, clock, home: HomeProcess::current() })
    }

    pub(crate) async fn transact(&self, units: Units) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.writer.unbounded_send(ToWriter::Transact(units, answer)).is_err() {
            return Err(StoreError::closed());
        }
        answered.await.unwrap_or_else(|_| {
            Err(StoreError::new(StoreErrorKind::Indeterminate, "the thread that writes the store is gone"))
        })
    }

    pub(crate) async fn page(&self, request: PageRequest) -> Result<Page, StoreError> {
        self.ask(|answer| ToReader::Page(Box::new(request), answer)).await
    }

    pub(crate) async fn dump(&self) -> Result<Dump, StoreError> {
        self.ask(ToReader::Dump).await
    }

    pub(crate) async fn verify(&self) -> Result<VerifyReport, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.writer.unbounded_send(ToWriter::Verify(answer)).is_err() {
            return Err(StoreError::closed());
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }

    /// Copies the store on a thread of its own.
    pub(crate) async fn copy(&self, to: PathBuf, cache: usize) -> Result<(), OpenError> {
        let (answer, answered) = oneshot::channel();
        let (handle, writer, path) = (Arc::clone(&self.handle), self.writer.clone(), to.clone());
        let copying = move || {
            see_all(&handle, &writer);
            tell(answer, copy_store(&handle, &to, cache));
        };
        thread::Builder::new()
            .name("workman-copy".into())
            .spawn(copying)
            .map_err(|error| OpenError::io(&path, error))?;
        answered.await.unwrap_or_else(|_| Err(OpenError::io(&path, io::Error::other("the copy was given up"))))
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> ToReader,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.reader.unbounded_send(ask(answer)).is_err() {
            return Err(StoreError::closed());
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }

    pub(crate) async fn close(&self) {
        // It was closed before if nobody listens any more.
        let _ = self.writer.unbounded_send(ToWriter::Close);
        self.ended.clone().await;
    }
}

impl Drop for Threads {
    /// A forked child has none of the threads, so it would wait for ever for their end.
    fn drop(&mut self) {
        if !self.home.is_current() {
            return;
        }
        let _ = self.writer.unbounded_send(ToWriter::Close);
        if self.ended.clone().now_or_never().is_some() {
            return;
        }
        let patience = self.clock.sleep(DROP_PATIENCE);
        if let Either::Right(_) = block_on(select(self.ended.clone(), patience)) {
            tracing::warn!("a store was dropped and its disk does not answer; its threads end when it does");
        }
    }
}

struct WriterThread {
    writer: Writer,
    writes: mpsc::UnboundedReceiver<ToWriter>,
    reader: mpsc::UnboundedSender<ToReader>,
    reader_ended: oneshot::Receiver<()>,
    clock: Arc<dyn Clock>,
    /// Rings when something is due, or before; and when.
    alarm: Option<(Duration, BoxFuture<'static, ()>)>,
    /// How many calls the last commit served.
    company: usize,
    /// Dropped when the thread ends, which is the signal.
    _ends: oneshot::Sender<()>,
}

impl WriterThread {
    fn run(mut self) {
        let mut next = self.wait();
        while let Some(message) = next.take() {
            match message {
                ToWriter::Transact(units, answer) => next = self.serve_group(units, answer),
                ToWriter::Replace(generation, answer) => {
                    tell(answer, self.writer.replace(generation));
                }
                ToWriter::Verify(answer) => tell(answer, self.writer.verify()),
                ToWriter::Show(answer) => {
                    self.writer.show();
                    tell(answer, ());
                }
                ToWriter::Close => break,
            }
            next = next.or_else(|| self.wait());
        }
        self.close();
    }

    /// The next message. What is due is done in time meanwhile.
    fn wait(&mut self) -> Option<ToWriter> {
        if let Some(message) = self.writes.next().now_or_never() {
            return message;
        }
        loop {
            let Some(due_at) = self.writer.due_at() else { return block_on(self.writes.next()) };
            let now = self.clock.monotonic();
            if due_at <= now {
                self.alarm = None;
                self.writer.tend();
                continue;
            }
            // An alarm that was set for the commit before is not set anew for each; it rings early, and is set again.
            let rings_at = due_at.min(now.saturating_add(LONGEST_SLEEP));
            if self.alarm.as_ref().is_some_and(|(at, _)| *at > rings_at) {
                self.alarm = None;
            }
            let (_, alarm) = self.alarm.get_or_insert_with(|| (rings_at, self.clock.sleep(rings_at - now)));
            if let Either::Left((message, _)) = block_on(select(self.writes.next(), alarm)) {
                return message;
            }
            self.alarm = None;
        }
    }

    /// Serves a call and those that wait behind it. Answers the message that did not fit the group.
    ///
    /// Those who were answered together come again together, and the first of them should not get a commit for himself: while
    /// fewer are here than last time and more keep coming, the writer gives way a little. It waits for nobody who does not come.
    fn serve_group(&mut self, units: Units, answer: oneshot::Sender<Answer>) -> Option<ToWriter> {
        let mut size = units.len();
        let (mut calls, mut answers) = (vec![units], vec![answer]);
        let mut left = None;
        let mut patience = PATIENCE;
        while size < GROUP_UNITS {
            match self.writes.next().now_or_never().flatten() {
                Some(ToWriter::Transact(units, answer)) => {
                    size += units.len();
                    calls.push(units);
                    answers.push(answer);
                    patience = PATIENCE;
                }
                Some(ToWriter::Show(answer)) => {
                    self.writer.show();
                    tell(answer, ());
                }
                None if patience > 0 && calls.len() < self.company => {
                    patience -= 1;
                    thread::yield_now();
                }
                other => {
                    left = other;
                    break;
                }
            }
        }
        self.company = calls.len();
        for (answer, result) in answers.into_iter().zip(self.writer.serve(&calls)) {
            // Nobody waits for it if the caller dropped its future; the work is done all the same.
            tell(answer, result);
        }
        left
    }

    /// Everything before the close is done. What comes behind it is told so; the reader finishes its own.
    fn close(mut self) {
        self.writes.close();
        self.writer.show();
        while let Some(message) = self.writes.next().now_or_never().flatten() {
            match message {
                ToWriter::Transact(_, answer) => tell(answer, Err(StoreError::closed())),
                ToWriter::Replace(_, answer) => tell(answer, Err(StoreError::closed())),
                ToWriter::Verify(answer) => tell(answer, Err(StoreError::closed())),
                ToWriter::Show(answer) => tell(answer, ()),
                ToWriter::Close => {}
            }
        }
        let _ = self.reader.unbounded_send(ToReader::Close);
        let _ = block_on(self.reader_ended);
        self.writer.end();
    }
}

struct ReaderThread {
    handle: Arc<Handle>,
    feed: Arc<ChangeFeed>,
    reads: mpsc::UnboundedReceiver<ToReader>,
    writer: mpsc::UnboundedSender<ToWriter>,
    /// Dropped when the thread ends, which is the signal.
    _ends: oneshot::Sender<()>,
}

impl ReaderThread {
    fn run(mut self) {
        while let Some(message) = block_on(self.reads.next()) {
            match message {
                ToReader::Page(request, answer) => {
                    tell(answer, self.look(|handle| read_page(handle, &request, &self.feed)));
                }
                ToReader::Dump(answer) => {
                    tell(answer, self.look(read_dump));
                }
                ToReader::Close => break,
            }
        }
        self.reads.close();
        while let Some(message) = self.reads.next().now_or_never().flatten() {
            match message {
                ToReader::Page(_, answer) => tell(answer, Err(StoreError::closed())),
                ToReader::Dump(answer) => tell(answer, Err(StoreError::closed())),
                ToReader::Close => {}
            }
        }
    }

    /// Looks once, and once more with a new handle if the first one died.
    fn look<T>(&self, look: impl Fn(&Handle) -> Result<T, StoreError>) -> Result<T, StoreError> {
        see_all(&self.handle, &self.writer);
        let generation = self.handle.generation();
        match look(&self.handle) {
            Err(error) if kills_the_handle(&error) || self.handle.is_down() => {
                let (answer, answered) = oneshot::channel();
                let _ = self.writer.unbounded_send(ToWriter::Replace(generation, answer));
                match block_on(answered) {
                    Ok(Ok(())) => look(&self.handle),
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(error),
                }
            }
            looked => looked,
        }
    }
}

/// Has everything shown that was answered. Usually it is: only the first look after a while waits for the group that is under way.
fn see_all(handle: &Handle, writer: &mpsc::UnboundedSender<ToWriter>) {
    handle.looks().note();
    if !handle.looks().is_behind() {
        return;
    }
    let (answer, answered) = oneshot::channel();
    if writer.unbounded_send(ToWriter::Show(answer)).is_ok() {
        // A writer that is gone has shown everything before.
        let _ = block_on(answered);
    }
}

/// A page, with the commit that it shows.
pub(crate) fn read_page(handle: &Handle, request: &PageRequest, feed: &ChangeFeed) -> Result<Page, StoreError> {
    let mut damage = Vec::new();
    let found = handle.read(|tables| page(tables, request, tables.commit()?, &mut damage));
    feed.report(damage);
    found
}

/// Everything, for the invariants.
pub(crate) fn read_dump(handle: &Handle) -> Result<Dump, StoreError> {
    handle.read(|tables| dump(tables))
}

/// Wakes a thread. The mark keeps a wake-up that somebody else's waiting on the same thread has swallowed.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Waits for a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while !unpark.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}
