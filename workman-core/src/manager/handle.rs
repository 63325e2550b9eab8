//! [`WorkHandle`]: one work, with the type of what it gives.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::de::DeserializeOwned;

use super::WorkManager;
use super::explain::FailedPrerequisite;
use super::refused::{ActionError, counted};
use crate::data::{Codec, DecodeError, Payload};
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::plan::{Refusal, RetryReport, SteerResult};
use crate::query::{PageRequest, WorkQuery};
use crate::record::ErrorText;
use crate::state::WorkState;
use crate::store::StoreError;
use crate::time::Timestamp;
use crate::worker::Current;

/// One work, typed by what its worker gives. It holds its manager: as long as there is a handle, the manager runs.
#[doc(alias("JoinHandle", "Operation", "AsyncResult", "TaskId"))]
pub struct WorkHandle<O> {
    manager: WorkManager,
    id: WorkId,
    output: PhantomData<fn() -> O>,
}

impl<O> Clone for WorkHandle<O> {
    fn clone(&self) -> Self {
        WorkHandle::new(self.manager.clone(), self.id)
    }
}

impl<O> fmt::Debug for WorkHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkHandle({})", self.id)
    }
}

impl<O> WorkHandle<O> {
    pub(crate) fn new(manager: WorkManager, id: WorkId) -> Self {
        WorkHandle { manager, id, output: PhantomData }
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> WorkId {
        self.id
    }

    pub(crate) fn manager(&self) -> &WorkManager {
        &self.manager
    }

    /// What is known of it now; `None` if it is gone.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn info(&self) -> Result<Option<WorkInfo>, StoreError> {
        self.manager.info(self.id).await
    }

    /// Ends it, and all that depends on it: [`WorkManager::cancel`]. Answers how many works were ended.
    ///
    /// # Errors
    /// [`ActionError`]: whether it was ended is not known, or it was not.
    #[doc(alias = "abort")]
    pub async fn cancel(&self) -> Result<usize, ActionError> {
        self.manager.cancel(self.id).await
    }

    /// Makes it due now: [`WorkManager::run_now`].
    ///
    /// # Errors
    /// [`ActionError`]: it is gone, or whether it is due is not known.
    pub async fn run_now(&self) -> Result<SteerResult, ActionError> {
        self.manager.run_now(self.id).await
    }

    /// Sets its next run: [`WorkManager::reschedule`].
    ///
    /// # Errors
    /// [`ActionError`]: it is gone, the time never comes, or whether it was set is not known.
    pub async fn reschedule(&self, at: impl Into<Timestamp>) -> Result<SteerResult, ActionError> {
        self.manager.reschedule(self.id, at).await
    }

    /// Tries it again if it is parked or has failed: [`WorkManager::retry`].
    ///
    /// # Errors
    /// [`ActionError`]: it is not tried again, or whether it is is not known.
    pub async fn retry(&self) -> Result<RetryReport, ActionError> {
        self.manager.retry(self.id).await
    }

    /// What is known of it, now and after every change; may skip states in between, never the last. Ends when the work
    /// is finished or gone, or the manager ends.
    #[doc(alias("getWorkInfoByIdFlow", "observe", "subscribe"))]
    pub fn watch(&self) -> BoxStream<'static, WorkInfo> {
        let infos = self.manager.watch_within(WorkQuery::id(self.id), 1);
        let step = |(mut infos, over): (BoxStream<'static, Vec<WorkInfo>>, bool)| async move {
            if over {
                return None;
            }
            let info = infos.next().await?.into_iter().next()?;
            let over = info.state.is_finished();
            Some((info, (infos, over)))
        };
        stream::unfold((infos, false), step).boxed()
    }
}

impl<O: DeserializeOwned> WorkHandle<O> {
    /// Waits until the work is finished, and answers what it gave. Nothing is polled meanwhile.
    ///
    /// A worker that waits for its own work here, or for work that comes after its own, is told so instead of waiting for
    /// ever. That is seen where the worker itself waits, in its call or its future; not in another thread or task.
    ///
    /// A worker that waits here keeps its slot. If workers that wait hold all slots of a kind (`Limits::async_slots`,
    /// `Limits::blocking_slots`) and the works that they wait for need slots of that kind too, none of them ever runs, and nobody
    /// is told: `explain` says of the awaited work that it is ready and has no slot
    /// ([`Explanation::NoSlot`](crate::manager::Explanation::NoSlot)). Work that needs the output of other work does better as its
    /// dependent: [`then`](Self::then), or a chain. It takes the output with `#[prerequisite]` and no slot before that is there.
    /// Where a worker must wait nevertheless, its work and the awaited one are of different kinds, or it has a timeout.
    ///
    /// # Errors
    /// See [`OutputError`].
    #[doc(alias("result", "join", "wait", "get_result"))]
    pub async fn output(&self) -> Result<O, OutputError> {
        let mut signals = self.manager.core().hub.watch([self.id]);
        let driven = self.manager.core().driven;
        let mut looked = None;
        loop {
            let open = driven.wait("handle.output()", signals.next()).await.is_some();
            let own = PageRequest { query: WorkQuery::id(self.id), after: None, limit: 1 };
            let page = self.manager.page(own).await.map_err(OutputError::Store)?;
            signals.has_read(page.commit);
            let info = page.works.into_iter().next().ok_or(OutputError::Gone)?;
            match info.state {
                WorkState::Succeeded => return decode(info.output),
                WorkState::Failed => {
                    let last_error = info.last_error().cloned();
                    let prerequisite = self.manager.failed_prerequisite(&info).await.map_err(OutputError::Store)?;
                    let prerequisite = prerequisite.map(Box::new);
                    return Err(OutputError::Failed { attempts: info.failures, last_error, prerequisite });
                }
                WorkState::Cancelled => return Err(OutputError::Cancelled),
                _ if info.schedule.interval().is_some() => return Err(OutputError::Periodic),
                _ if !open => return Err(OutputError::ManagerEnded),
                _ if self.manager.has_lost_runtime_of(&info.worker) => return Err(OutputError::RuntimeGone),
                _ => {}
            }
            let current = Current::get();
            if current != looked {
                if let Some(current) = &current {
                    self.refuse_deadlock(info, current).await?;
                }
                looked = current;
            }
        }
    }
}

impl<O> WorkHandle<O> {
    /// An error, if this work can't end before the one that runs here. Pages are of several commits: what a work waits for never
    /// changes, and one that is no longer blocked waits for nobody.
    async fn refuse_deadlock(&self, info: WorkInfo, current: &Current) -> Result<(), OutputError> {
        let store = &self.manager.core().store;
        if current.store != store.identity() {
            return Ok(());
        }
        let mut seen = BTreeSet::from([info.id]);
        let mut open = match info.state {
            WorkState::Blocked => info.prerequisites,
            _ => Vec::new(),
        };
        open.retain(|id| seen.insert(*id));
        while !seen.contains(&current.id) && !open.is_empty() && seen.len() <= MOST_WORKS {
            let chunk = open.split_off(open.len().saturating_sub(WORKS_A_PAGE));
            let query = WorkQuery::ids(chunk).state(WorkState::Blocked).without_payloads();
            let page = self.manager.core().query(PageRequest { query, after: None, limit: WORKS_A_PAGE }).await;
            for info in page.map_err(OutputError::Store)?.works {
                open.extend(info.prerequisites.into_iter().filter(|id| seen.insert(*id)));
            }
        }
        if !seen.contains(&current.id) {
            return Ok(());
        }
        let (running, worker) = (current.id, Arc::clone(&current.worker));
        Err(OutputError::Deadlock { running, worker, awaited: self.id })
    }
}

/// How many works are looked at before a worker waits for one, at the most and about; a wider circle is not seen.
const MOST_WORKS: usize = 20_000;

/// How many works are read at a time.
const WORKS_A_PAGE: usize = 256;

/// A work that discards its output gives null, which is what `()` decodes from.
fn decode<O: DeserializeOwned>(output: Option<Payload>) -> Result<O, OutputError> {
    let output = output.unwrap_or_else(|| Payload::new(Codec::JSON, *b"null"));
    output.decode().map_err(OutputError::Decode)
}

/// Why there is no output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OutputError {
    /// The work failed for good, or something that it depended on did.
    Failed {
        /// Its failed attempts; 0 if none failed: a prerequisite did, or its process died and `OnDeath::Fail` forbids another run.
        attempts: u32,
        /// What the last of them said.
        last_error: Option<ErrorText>,
        /// The work whose failure failed this one, if that is so and it is stored still.
        prerequisite: Option<Box<FailedPrerequisite>>,
    },
    /// The work was cancelled.
    Cancelled,
    /// The work is not stored any more: it was kept long enough or pruned, or it was replaced.
    Gone,
    /// Periodic work never finishes, so there is no output to wait for.
    Periodic,
    /// A worker wants to wait for work that waits for that worker's own, directly or through others.
    Deadlock {
        /// The work that wants to wait.
        running: WorkId,
        /// Its worker.
        worker: Arc<str>,
        /// The work that it wants to wait for.
        awaited: WorkId,
    },
    /// What the work gave is no such value.
    Decode(DecodeError),
    /// The manager ended before the work did; the work goes on when the next one starts.
    ManagerEnded,
    /// The runtime of the manager has run nothing for some seconds: it has ended, or can't start a thread. The work is stored still,
    /// and is run once the runtime runs anything again, or by the next manager.
    RuntimeGone,
    /// The store can't be read.
    Store(StoreError),
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputError::Failed { prerequisite: Some(prerequisite), .. } => write!(f, "the work failed, since {prerequisite}"),
            OutputError::Failed { attempts: 0, .. } => f.write_str("the work failed without a failed attempt: a prerequisite failed, or its process died while it ran and `OnDeath::Fail` forbids another run"),
            OutputError::Failed { attempts, last_error, .. } => {
                write!(f, "the work failed for good after {}", counted(*attempts, "failed attempt"))?;
                last_error.iter().try_for_each(|error| write!(f, "; the last error: {error}"))
            }
            OutputError::Cancelled => f.write_str("the work was cancelled, or something that it depended on was"),
            OutputError::Gone => write!(f, "the work is not stored: {}", Refusal::WHY_GONE),
            OutputError::Periodic => f.write_str("periodic work never finishes, so there is no output to wait for; use `watch()`"),
            OutputError::Deadlock { running, worker, awaited } if running == awaited => write!(
                f,
                "deadlock: worker \"{worker}\" waits for the output of its own work {running}, which it gives only by returning"
            ),
            OutputError::Deadlock { running, worker, awaited } => write!(
                f,
                "deadlock: work {running} of worker \"{worker}\" waits for the output of {awaited}, which comes after it and can't start before it has ended; return instead, and take that output in a step that comes after both"
            ),
            OutputError::Decode(error) => write!(f, "what the work gave does not decode as the wanted type: {error}"),
            OutputError::ManagerEnded => {
                f.write_str("the manager ended before the work did; it goes on when the next one starts")
            }
            OutputError::RuntimeGone => f.write_str(
                "the runtime of the manager runs nothing: it has ended, or can't start a thread; the work is stored, and goes on when it does or when the next manager starts",
            ),
            OutputError::Store(error) => error.fmt(f),
        }
    }
}

impl Error for OutputError {
    /// The texts of these errors contain those of the errors in them, so the chain goes on behind those.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OutputError::Decode(error) => error.source(),
            OutputError::Store(error) => error.source(),
            _ => None,
        }
    }
}
