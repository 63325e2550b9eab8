//! What changes stored work: cancel, update, retry, prune.

use std::error::Error;
use std::fmt;

use super::refused::{ActionError, broken};
use super::{EnqueueError, WorkManager, enqueue};
use crate::dispatcher::{Pace, Sweep, SweepState};
use crate::id::WorkId;
use crate::plan::{Applied, Cancel, Command, Refusal, Retention, UpdateResult};
use crate::query::WorkSelector;
use crate::request::{ErasedRequest, PeriodicRequest, Request, RequestParts};
use crate::store::{StoreError, StoreErrorKind, UnitResult};

impl WorkManager {
    /// Ends work, and all that depends on it. After this returns it never starts again; what runs is told to stop and its
    /// result is dropped. Answers how many works were ended; unknown ones are none.
    ///
    /// A work that has succeeded stays as it is, and all that depends on it ends, directly or through other works that have
    /// succeeded. By tag, by name and for all, only unfinished works are meant, and what depends on those.
    ///
    /// A selection is ended in bounded commits, so it may be seen half done. While other calls of this manager wait for the store,
    /// or its runs do, the commits are short, so that it takes longer in all and nobody waits long. It means the works that
    /// were born before the call. Dependents that are too many for one commit end right after it, and don't count.
    ///
    /// # Errors
    /// [`ActionError`], which says how many were ended before it.
    #[doc(alias("cancelWorkById", "cancelAllWorkByTag", "cancelUniqueWork", "cancelAllWork", "abort", "kill"))]
    pub async fn cancel(&self, selector: impl Into<WorkSelector>) -> Result<usize, ActionError> {
        let selector = selector.into();
        let (mut total, mut before) = (0, None);
        loop {
            let (ended, bound) = self.cancel_pass(&selector, before, total).await?;
            total += ended;
            // Works move between indexes while everything is being cancelled, so a pass that found some is followed by another.
            // All passes mean the works of the first one, or a program that goes on enqueueing would never see an end.
            if ended == 0 || selector != WorkSelector::All {
                return Ok(total);
            }
            before = Some(bound);
        }
    }

    /// Goes once through the works that were born before `before`, or before now. Answers how many it ended, and that bound.
    async fn cancel_pass(
        &self,
        selector: &WorkSelector,
        mut before: Option<u64>,
        done: usize,
    ) -> Result<(usize, u64), ActionError> {
        let (mut total, mut after) = (0, None);
        let health = &self.core().health;
        let mut pace = Pace::new(health);
        loop {
            let stride = pace.stride(health);
            let command = Command::Cancel(Cancel { selector: selector.clone(), before, after, stride });
            match self.act(command, done + total).await? {
                Applied::Cancelled { count, before: bound, next } => {
                    total += count;
                    if next.is_none() {
                        return Ok((total, bound));
                    }
                    (before, after) = (Some(bound), next);
                }
                other => return Err(ActionError::answered(&other, done + total)),
            }
        }
    }

    /// Frees parked work: it runs again as soon as it may, and its deaths are forgiven.
    ///
    /// # Errors
    /// [`ActionError`] when there is no such work or it is not parked.
    #[doc(alias("unpark", "requeue", "resume"))]
    pub async fn retry(&self, id: WorkId) -> Result<(), ActionError> {
        self.act(Command::Retry(id), 0).await.map(|_| ())
    }

    /// Changes stored work in place: whatever the request says counts from now on, and what it does not say is as in any new
    /// request. The request carries the id of the work ([`with_id`](Request::with_id)).
    ///
    /// The work keeps its state, its counters, its place among its periods, its unique name and its prerequisites; its
    /// generation grows by one, and progress that it showed is gone. A run that is under way goes on as it began, and so the
    /// answer is [`UpdateResult::AppliedForNextRun`]; if it succeeds there is no next run of one-time work. A checkpoint stays
    /// if worker and input do.
    ///
    /// A wait for a backoff, or for the next period, is counted anew from where it began; one that an attempt asked for itself,
    /// or that follows from deaths of the process, stays.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use workman_core::UpdateResult;
    /// use workman_core::worker;
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn remind(text: String) -> String {
    ///     text
    /// }
    ///
    /// let test = TestDriver::new();
    /// let id = test.enqueue(remind::request("at nine".into()).initial_delay(Duration::from_secs(3600)));
    /// let sooner = remind::request("at once".into()).with_id(id);
    /// let manager = test.manager();
    /// assert_eq!(test.block_on(manager.update(sooner)).ok(), Some(UpdateResult::AppliedImmediately));
    /// test.run_until_idle();
    /// assert_eq!(test.output::<String>(id), "at once");
    /// ```
    ///
    /// # Errors
    /// See [`UpdateError`]; nothing was changed then, unless it is indeterminate.
    #[doc(alias = "updateWork")]
    pub async fn update(&self, request: impl Updatable) -> Result<UpdateResult, UpdateError> {
        let PartsOfUpdate(parts) = request.into_parts();
        let work = enqueue::changed_work(self.core(), parts).map_err(UpdateError::Request)?;
        match self.act(Command::Update(Box::new(work)), 0).await {
            Ok(Applied::Updated(result)) => Ok(result),
            Ok(other) => Err(UpdateError::Store(broken(&other))),
            Err(ActionError::Refused(refusal)) => Err(UpdateError::Refused(refusal)),
            Err(ActionError::Store { error, .. } | ActionError::Damaged { error, .. }) => {
                Err(UpdateError::Store(error))
            }
        }
    }

    /// Deletes all finished work that nothing unfinished waits for, whatever time it asked to be kept. Answers how many works
    /// were deleted.
    ///
    /// Nobody has to say this: finished work goes by itself once it was kept long enough (`Limits::retention`,
    /// `Limits::retained`). It concerns the works of every part of the program that shares the store; and what is gone can't be
    /// asked for its output any more. Works are deleted in bounded commits, so they may be seen in part; the commits are short while
    /// other calls wait, as those of [`cancel`](Self::cancel).
    ///
    /// # Errors
    /// [`ActionError`], which says how many were deleted before it. What is damaged stays: the others are deleted all the same,
    /// and [`ActionError::Damaged`] says at the end what is left. Where not even the list of finished works can be read, it is
    /// [`ActionError::Store`].
    #[doc(alias("pruneWork", "vacuum", "clean"))]
    pub async fn prune(&self) -> Result<usize, ActionError> {
        let (mut total, mut before) = (0, None);
        loop {
            let sweep = self.prune_pass(before, total).await?;
            total += sweep.deleted;
            // Work with very many dependents goes after them, and those may have gone in this pass.
            if sweep.deleted > 0 {
                before = sweep.before;
                continue;
            }
            return match sweep.error.filter(|_| !sweep.damaged.is_empty()) {
                Some(error) => Err(ActionError::Damaged { error, works: sweep.damaged, done: total }),
                None => Ok(total),
            };
        }
    }

    /// Goes once through the finished works that were born before `before`, or before now.
    async fn prune_pass(&self, before: Option<u64>, done: usize) -> Result<Sweep, ActionError> {
        let mut sweep = Sweep::new(Retention::Nothing, before);
        let health = &self.core().health;
        let mut pace = Pace::new(health);
        loop {
            let done = done + sweep.deleted;
            let progress = match self.act(Command::Prune(sweep.command(pace.stride(health))), done).await {
                Ok(Applied::Pruned { count, before, next, .. }) => {
                    sweep.before = Some(before);
                    sweep.on_pruned(count, next)
                }
                Ok(other) => return Err(ActionError::answered(&other, done)),
                Err(ActionError::Store { error, .. }) if error.kind() == StoreErrorKind::Corrupted => {
                    match sweep.on_damage(&error) {
                        SweepState::Over => return Err(ActionError::Store { error, done }),
                        SweepState::GoesOn => SweepState::GoesOn,
                    }
                }
                Err(error) => return Err(error),
            };
            if progress == SweepState::Over {
                return Ok(sweep);
            }
        }
    }

    async fn act(&self, command: Command, done: usize) -> Result<Applied, ActionError> {
        self.core().home.check().map_err(|error| ActionError::Store { error, done })?;
        let wide = matches!(command, Command::Cancel(_)).then(|| self.core().wide());
        let unit = self.core().unit(command);
        let answers = self.core().transact(vec![unit]).await;
        let answer: Option<UnitResult> =
            answers.map_err(|error| ActionError::Store { error, done })?.into_iter().next();
        drop(wide);
        match answer {
            Some(Ok(applied)) => Ok(applied),
            Some(Err(refusal)) => Err(ActionError::Refused(refusal)),
            None => Err(ActionError::answered(&"nothing", done)),
        }
    }
}

/// A request that can change stored work: [`Request`], [`PeriodicRequest`] and [`ErasedRequest`].
pub trait Updatable: sealed::Sealed {
    #[doc(hidden)]
    fn into_parts(self) -> PartsOfUpdate;
}

/// A request without its types.
#[doc(hidden)]
pub struct PartsOfUpdate(RequestParts);

impl<P, O> Updatable for Request<P, O> {
    fn into_parts(self) -> PartsOfUpdate {
        PartsOfUpdate(self.into_parts())
    }
}

impl Updatable for PeriodicRequest {
    fn into_parts(self) -> PartsOfUpdate {
        PartsOfUpdate(self.into_parts())
    }
}

impl Updatable for ErasedRequest {
    fn into_parts(self) -> PartsOfUpdate {
        PartsOfUpdate(self.parts)
    }
}

mod sealed {
    use crate::request::{ErasedRequest, PeriodicRequest, Request};

    pub trait Sealed {}

    impl<P, O> Sealed for Request<P, O> {}
    impl Sealed for PeriodicRequest {}
    impl Sealed for ErasedRequest {}
}

/// Why work was not updated, or not certainly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UpdateError {
    /// The request is not in order; to enqueue it would be refused just so.
    Request(EnqueueError),
    /// The planner said no: no work has the id ([`Refusal::NotFound`]), one-time work can't become periodic nor the other way
    /// round ([`Refusal::OtherSchedule`]), or the new worker takes from more or fewer prerequisites than the work has
    /// ([`Refusal::OtherShape`]). Types are not compared, since what is stored has none: work whose new worker takes another type
    /// than its prerequisites give is parked when it is to start.
    Refused(Refusal),
    /// The store failed. [`is_indeterminate`](Self::is_indeterminate) says whether the work may be updated all the same; to say
    /// it again is safe.
    Store(StoreError),
}

impl UpdateError {
    /// Whether the work may be updated in spite of the error. If not, it certainly isn't.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        matches!(self, UpdateError::Store(error) if error.is_indeterminate())
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateError::Request(error) => error.fmt(f),
            UpdateError::Refused(refusal) => refusal.fmt(f),
            UpdateError::Store(error) => write!(f, "the store failed: {error}"),
        }
    }
}

impl Error for UpdateError {
    /// The texts of these errors contain those of the errors in them, so the chain goes on behind those.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            UpdateError::Request(error) => error.source(),
            UpdateError::Refused(refusal) => refusal.source(),
            UpdateError::Store(error) => error.source(),
        }
    }
}
