//! What changes stored work: update, retry, run now, reschedule, prune. What is done to many at once lies in `select`.

use std::error::Error;
use std::fmt;

use super::refused::{ActionError, broken};
use super::{EnqueueError, WorkManager, enqueue};
use crate::dispatcher::{Pace, Sweep, SweepState};
use crate::id::WorkId;
use crate::plan::{Applied, Command, Refusal, Retention, RetryReport, SteerResult, Steering, UpdateResult};
use crate::request::{ErasedRequest, PeriodicRequest, Request, RequestParts};
use crate::store::{StoreError, StoreErrorKind, UnitResult};
use crate::time::Timestamp;

impl WorkManager {
    /// Tries parked or failed work again, as if it had never been tried: its attempts count from 0, and its deaths are forgiven. Its
    /// history stays. A time for which it was to wait does not count again; its constraints do.
    ///
    /// With failed work all comes back that had failed because of it, in the same commit, and waits for it again. A dependent stays
    /// failed if another of its prerequisites has ended badly or is not stored any more, and so does what is behind that; the report
    /// says which. What was cancelled stays cancelled. It comes back in one commit, so that is refused where more than 10,000 edges
    /// lead to what depends on it. Failed work whose unique name newer work has taken since is not stored any more, and can't come back.
    ///
    /// ```
    /// use workman_core::{WorkState, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker(max_attempts = 1)]
    /// fn pay_the_rent() -> Result<(), String> {
    ///     Err("the bank is closed".into())
    /// }
    ///
    /// let test = TestDriver::new();
    /// test.stub::<pay_the_rent>([Err("the bank is closed".into()), Ok(())]);
    /// let id = test.enqueue(pay_the_rent::request());
    /// test.run_until_idle();
    /// assert_eq!(test.state_of(id), WorkState::Failed);
    /// assert_eq!(test.retry(id).retried, [id]);
    /// test.run_until_idle();
    /// assert_eq!(test.state_of(id), WorkState::Succeeded);
    /// ```
    ///
    /// # Errors
    /// [`ActionError`] when there is no such work, it is neither parked nor failed, or, of failed work, a prerequisite is gone or has
    /// ended badly itself; nothing was changed then.
    #[doc(alias("unpark", "requeue", "resume"))]
    pub async fn retry(&self, id: WorkId) -> Result<RetryReport, ActionError> {
        let command = || Command::Steer { id, how: Steering::Retry };
        let mut answer = self.act(command(), 0).await;
        while let Err(ActionError::Refused(Refusal::StillEnding(_))) = answer {
            self.act(Command::Drain, 0).await?;
            answer = self.act(command(), 0).await;
        }
        match answer? {
            Applied::Retried(report) => Ok(report),
            other => Err(ActionError::answered(&other, 0)),
        }
    }

    /// Makes work due now that waits for a time: its delay, its backoff, its next period, a snooze, or as a suspect. That is skipped
    /// once. Its constraints are not, nor is its place in line: what is due already and ranks as high goes first.
    ///
    /// The period of periodic work begins with this run, as with `next_schedule_time_override`, and the next is counted from it. To
    /// say it twice is to say it once. Work that waits for no time is left as it is, and the answer says where it stands.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use workman_core::{SteerResult, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn send_figures() -> String {
    ///     "done".into()
    /// }
    ///
    /// let test = TestDriver::new();
    /// let id = test.enqueue(send_figures::request().initial_delay(Duration::from_secs(3600)));
    /// assert_eq!(test.run_now(id), SteerResult::Applied);
    /// test.run_until_idle();
    /// assert_eq!(test.output::<String>(id), "done");
    /// ```
    ///
    /// # Errors
    /// [`ActionError`] when there is no such work.
    #[doc(alias("trigger", "promote", "force"))]
    pub async fn run_now(&self, id: WorkId) -> Result<SteerResult, ActionError> {
        self.steer(id, Steering::RunNow).await
    }

    /// As [`run_now`](Self::run_now), and the work passes all its gates once: limits, rates, pauses and its serial lane. Its
    /// constraints have to hold, and a slot must be free. It counts at its gates while it runs, so that others wait for it; nothing else
    /// ever passes above a limit.
    ///
    /// # Errors
    /// As [`run_now`](Self::run_now), and when 64 works are about to pass already.
    pub async fn run_now_past_gates(&self, id: WorkId) -> Result<SteerResult, ActionError> {
        self.steer(id, Steering::RunNowPastGates).await
    }

    /// Sets the next run of work to a time by the wall clock, sooner or later than it was. It takes the place of a delay, a backoff, a
    /// snooze and a period; of periodic work it is an override of the next run, and one that runs has it for the run after. A past
    /// time is now. It counts once, and an [`update`](Self::update) of one-time work says its delay anew.
    ///
    /// Work under which the process died does not run any sooner by this ([`SteerResult::Suspect`]).
    ///
    /// # Errors
    /// [`ActionError`] when there is no such work, or the time is the last that there is ([`Refusal::Never`]).
    #[doc(alias("postpone", "snooze", "delay"))]
    pub async fn reschedule(&self, id: WorkId, at: impl Into<Timestamp>) -> Result<SteerResult, ActionError> {
        self.steer(id, Steering::At(at.into())).await
    }

    async fn steer(&self, id: WorkId, how: Steering) -> Result<SteerResult, ActionError> {
        match self.act(Command::Steer { id, how }, 0).await? {
            Applied::Steered(result) => Ok(result),
            other => Err(ActionError::answered(&other, 0)),
        }
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

    pub(super) async fn act(&self, command: Command, done: usize) -> Result<Applied, ActionError> {
        self.core().home.check().map_err(|error| ActionError::Store { error, done })?;
        let wide = matches!(command, Command::Cancel(_) | Command::Listed(_)).then(|| self.core().wide());
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
