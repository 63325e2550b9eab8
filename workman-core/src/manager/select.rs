//! What a person does to many works at once, in bounded commits that may be seen one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::WorkManager;
use super::refused::ActionError;
use super::selection::{Cancelling, Matching, Meant, Progress, RetriedAll, Selection};
use crate::dispatcher::Pace;
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::plan::{Applied, Cancel, Command, Listed, ListedVerb, Refusal, RetryReport, SELECT_LIMIT, Steering};
use crate::query::{Cursor, PageRequest, WorkQuery, WorkSelector};
use crate::state::WorkState;
use crate::store::{StoreError, StoreErrorKind};

/// How many works a dry run and a report name.
const NAMED: usize = 100;

/// How many works one page of a walk shows: many commits' worth of ids would be old before they are sent.
const PAGE: usize = SELECT_LIMIT;

/// How many retries share a commit at the most. Each may bring back all that failed behind it.
const RETRIES_A_COMMIT: usize = 128;

/// How many damaged works a selection goes around. With more than that something else is wrong.
const MOST_DAMAGED: usize = 64;

/// Goes through all works of a query, page by page.
struct Walk {
    query: WorkQuery,
    place: Place,
}

enum Place {
    Begin,
    After(Cursor),
    End,
}

impl Walk {
    fn new(query: &WorkQuery) -> Self {
        Walk { query: query.clone().without_payloads(), place: Place::Begin }
    }

    /// The next works, which may be none; `None` at the end.
    async fn next(&mut self, manager: &WorkManager, limit: usize) -> Result<Option<Vec<WorkInfo>>, StoreError> {
        let after = match &self.place {
            Place::Begin => None,
            Place::After(cursor) => Some(cursor.clone()),
            Place::End => return Ok(None),
        };
        let page = manager.page(PageRequest { query: self.query.clone(), after, limit }).await?;
        self.place = page.next.map_or(Place::End, Place::After);
        Ok(Some(page.works))
    }
}

/// A selection that is under way.
struct Course {
    /// Only works born before this number are meant. Known from the first commit on.
    before: Option<u64>,
    done: usize,
    /// What was left where it lies, and what the store said to the last of it.
    damaged: Vec<WorkId>,
    error: Option<StoreError>,
    pace: Pace,
    progress: Progress,
}

impl Course {
    fn new(manager: &WorkManager, progress: Progress) -> Self {
        let pace = Pace::new(&manager.core().health);
        Course { before: None, done: 0, damaged: Vec::new(), error: None, pace, progress }
    }

    /// How many works the next commit looks at.
    fn stride(&mut self, manager: &WorkManager) -> usize {
        self.pace.stride(&manager.core().health).of(SELECT_LIMIT)
    }

    fn failed(&self, error: StoreError) -> ActionError {
        ActionError::Store { error, done: self.done }
    }

    fn add(&mut self, count: usize) {
        self.done += count;
        self.progress.tell(self.done);
    }

    fn end(self) -> Result<usize, ActionError> {
        match self.error {
            Some(error) => Err(ActionError::Damaged { error, works: self.damaged, done: self.done }),
            None => Ok(self.done),
        }
    }
}

impl WorkManager {
    /// Ends work, and all that depends on it. After this returns it never starts again; what runs is told to stop and its
    /// result is dropped. Answers how many works were ended; unknown ones are none.
    ///
    /// A work that has succeeded stays as it is, and all that depends on it ends, directly or through other works that have
    /// succeeded. By tag, by name and for all, only unfinished works are meant, and what depends on those.
    ///
    /// A query means the unfinished works that match when they are looked at, and what depends on those. What is ended shows why, if
    /// that is said ([`Cancelling::because`]).
    ///
    /// A selection is ended in bounded commits, so it may be seen half done. While other calls of this manager wait for the store,
    /// or its runs do, the commits are short, so that it takes longer in all and nobody waits long. It means the works that
    /// were born before the call. Dependents that are too many for one commit end right after it, and don't count.
    ///
    /// # Errors
    /// [`ActionError`], which says how many were ended before it: the others are untouched, and to call again goes on. So it is if the call
    /// is dropped half-way ([`Cancelling::on_progress`] tells how far it was). A reason that is too long is refused.
    #[doc(alias("cancelWorkById", "cancelAllWorkByTag", "cancelUniqueWork", "cancelAllWork", "abort", "kill"))]
    pub async fn cancel(&self, works: impl Into<Cancelling>) -> Result<usize, ActionError> {
        let Cancelling { of, because, progress } = works.into();
        match of {
            Meant::Selected(selector) => self.cancel_selected(&selector, because.as_ref(), progress).await,
            Meant::Matching(query) => {
                let unfinished = [WorkState::Blocked, WorkState::Enqueued, WorkState::Running];
                let Some(query) = among(*query, unfinished) else { return Ok(0) };
                self.through_listed(&query, &ListedVerb::Cancel { because }, progress).await
            }
        }
    }

    async fn cancel_selected(
        &self,
        selector: &WorkSelector,
        because: Option<&Arc<str>>,
        progress: Progress,
    ) -> Result<usize, ActionError> {
        let mut course = Course::new(self, progress);
        loop {
            let (mut after, before_pass, mut bound) = (None, course.done, course.before);
            loop {
                let stride = course.pace.stride(&self.core().health);
                let (selector, because) = (selector.clone(), because.cloned());
                let cancel = Cancel { selector, before: bound, after, stride, because };
                match self.act(Command::Cancel(cancel), course.done).await? {
                    Applied::Cancelled { count, before, next } => {
                        course.add(count);
                        (bound, after) = (Some(before), next);
                    }
                    other => return Err(ActionError::answered(&other, course.done)),
                }
                if after.is_none() {
                    break;
                }
            }
            // Works move between indexes while everything is being cancelled, so a pass that found some is followed by another.
            // All passes mean the works of the first one, or a program that goes on enqueueing would never see an end.
            if course.done == before_pass || *selector != WorkSelector::All {
                return Ok(course.done);
            }
            course.before = bound;
        }
    }

    /// Ends what matches and is unfinished, in passes: works move between indexes while one goes on, so one that found some is followed
    /// by another, and all mean the works that were born before the first commit.
    async fn through_listed(
        &self,
        query: &WorkQuery,
        verb: &ListedVerb,
        progress: Progress,
    ) -> Result<usize, ActionError> {
        let mut course = Course::new(self, progress);
        loop {
            let (mut walk, done) = (Walk::new(query), course.done);
            while course.damaged.len() < MOST_DAMAGED {
                let limit = course.stride(self);
                let Some(works) = walk.next(self, limit).await.map_err(|error| course.failed(error))? else { break };
                let ids = works.into_iter().map(|info| info.id).filter(|id| !course.damaged.contains(id)).collect();
                self.listed(ids, verb, &mut course).await?;
            }
            if course.done == done || course.damaged.len() >= MOST_DAMAGED {
                return course.end();
            }
        }
    }

    /// Sends the works in one commit; in more if some of them can't be read, and around these.
    async fn listed(&self, ids: Vec<WorkId>, verb: &ListedVerb, course: &mut Course) -> Result<(), ActionError> {
        let mut left = vec![ids];
        while let Some(ids) = left.pop() {
            if ids.is_empty() {
                continue;
            }
            let listed = Listed { ids: ids.clone(), before: course.before, verb: verb.clone() };
            match self.act(Command::Listed(listed), course.done).await {
                Ok(Applied::Cancelled { count, before, .. }) => {
                    course.before = Some(before);
                    course.add(count);
                }
                Ok(Applied::Pruned { count, before, next, .. }) => {
                    course.before = Some(before);
                    course.add(count);
                    let at = next.and_then(|key| ids.iter().position(|id| *id == key.id()));
                    left.extend(at.map(|at| ids[at + 1..].to_vec()));
                }
                Ok(other) => return Err(ActionError::answered(&other, course.done)),
                Err(ActionError::Store { error, .. }) if error.kind() == StoreErrorKind::Corrupted => {
                    match ids.split_at(ids.len() / 2) {
                        ([], one) => {
                            course.damaged.extend(one);
                            course.error = Some(error);
                        }
                        (first, second) => left.extend([second.to_vec(), first.to_vec()]),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes the finished works that match and that nothing unfinished waits for, whatever time they asked to be kept; as
    /// [`prune`](Self::prune), which deletes all. Answers how many were deleted. It is done in bounded commits, and means the works that
    /// were born before the call.
    ///
    /// # Errors
    /// As [`prune`](Self::prune). What was deleted before an error is, and so it is if the call is dropped half-way; to call again goes on.
    pub async fn prune_matching(&self, selection: impl Into<Selection>) -> Result<usize, ActionError> {
        let Selection { query, progress } = selection.into();
        let finished = [WorkState::Succeeded, WorkState::Failed, WorkState::Cancelled];
        let Some(query) = among(query, finished) else { return Ok(0) };
        self.through_listed(&query, &ListedVerb::Prune, progress).await
    }

    /// Counts what matches a query and shows the first of it, reading only: what [`cancel`](Self::cancel),
    /// [`retry_all`](Self::retry_all) or [`prune_matching`](Self::prune_matching) would look at. Of that they mean what is
    /// unfinished, failed or parked, and finished: ask for these states to see no more. It reads
    /// page by page, so what moves meanwhile may count twice or not at all.
    ///
    /// ```
    /// use workman_core::{WorkQuery, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker]
    /// fn invite(to: String) -> usize {
    ///     to.len()
    /// }
    ///
    /// let test = TestDriver::new();
    /// let id = test.enqueue(invite::request("you".into()).tag("mail"));
    /// let meant = test.block_on(test.manager().matching(WorkQuery::tag("mail")))?;
    /// assert_eq!((meant.count, meant.first[0].id), (1, id));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the store can't be read.
    #[doc(alias("dry_run", "count"))]
    pub async fn matching(&self, query: WorkQuery) -> Result<Matching, StoreError> {
        let mut walk = Walk::new(&query);
        let mut matching = Matching { count: 0, first: Vec::new() };
        while let Some(works) = walk.next(self, PAGE).await? {
            matching.count += works.len();
            let room = NAMED - matching.first.len();
            matching.first.extend(works.into_iter().take(room));
        }
        Ok(matching)
    }

    /// Tries all works again that match and are parked or have failed, each as [`retry`](Self::retry) does: its failed dependents come
    /// back with it, whether they match or not. It is done in bounded commits. Each work is tried once, however often it fails anew
    /// meanwhile. The ids of the works are kept until the call ends, 16 bytes each.
    ///
    /// ```
    /// use workman_core::{WorkQuery, WorkState, worker};
    /// use workman_testing::TestDriver;
    ///
    /// #[worker(max_attempts = 1)]
    /// fn dial(to: String) -> Result<(), String> {
    ///     Err(format!("no way to {to}"))
    /// }
    ///
    /// let test = TestDriver::new();
    /// let ids = ["you", "me"].map(|to| test.enqueue(dial::request(to.into())));
    /// test.run_until_idle();
    /// let report = test.block_on(test.manager().retry_all(WorkQuery::tag("dial")))?;
    /// assert_eq!((report.retried, report.stayed), (2, 0));
    /// assert_eq!(test.state_of(ids[0]), WorkState::Enqueued);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ActionError::Store`], which says how many came back before it: they stay so, and to call again goes on with the others.
    #[doc(alias("retry_failed", "requeue_all"))]
    pub async fn retry_all(&self, selection: impl Into<Selection>) -> Result<RetriedAll, ActionError> {
        let Selection { query, progress } = selection.into();
        let mut course = Course::new(self, progress);
        let mut all = Retries::default();
        for query in [among(query.clone(), [WorkState::Failed]), parked_of(query)].into_iter().flatten() {
            let mut walk = Walk::new(&query);
            while let Some(works) = walk.next(self, PAGE).await.map_err(|error| course.failed(error))? {
                let mut ids: Vec<WorkId> = works.into_iter().map(|info| info.id).collect();
                ids.retain(|id| all.looked_at.insert(*id));
                self.retry_listed(&ids, &mut all, &mut course).await?;
            }
        }
        Ok(all.report())
    }

    async fn retry_listed(
        &self,
        mut ids: &[WorkId],
        all: &mut Retries,
        course: &mut Course,
    ) -> Result<(), ActionError> {
        let mut size = RETRIES_A_COMMIT;
        while !ids.is_empty() {
            let (now, later) = ids.split_at(size.min(course.stride(self)).min(ids.len()));
            let commands = now.iter().map(|id| Command::Steer { id: *id, how: Steering::Retry });
            let units = self.core().units(commands);
            let answers = self.core().transact(units).await.map_err(|error| course.failed(error))?;
            if answers.len() != now.len() {
                return Err(ActionError::answered(&answers, course.done));
            }
            let (before, mut ending) = (course.done, None);
            let mut came_back = 0;
            for (place, (id, answer)) in now.iter().zip(answers).enumerate() {
                match answer {
                    Ok(Applied::Retried(report)) => came_back += all.came_back(*id, &report),
                    Ok(other) => return Err(ActionError::answered(&other, course.done)),
                    Err(Refusal::StillEnding(_)) => ending = ending.or(Some(place)),
                    Err(refusal) => all.stays(*id, refusal),
                }
            }
            course.add(came_back);
            // Nothing is refused for that reason once it is drained; what was done behind it is done.
            if let Some(place) = ending {
                self.act(Command::Drain, course.done).await?;
                ids = &ids[place..];
                continue;
            }
            let is_wide = course.done - before > SELECT_LIMIT;
            size = if is_wide { (size / 8).max(1) } else { (2 * size).min(RETRIES_A_COMMIT) };
            ids = later;
        }
        Ok(())
    }
}

/// What has come of retries so far.
#[derive(Default)]
struct Retries {
    looked_at: BTreeSet<WorkId>,
    retried: BTreeSet<WorkId>,
    stayed: BTreeMap<WorkId, Refusal>,
}

impl Retries {
    /// Answers how many works are new among those that came back.
    fn came_back(&mut self, id: WorkId, report: &RetryReport) -> usize {
        self.looked_at.extend(report.retried.iter().copied());
        report.retried.iter().for_each(|id| drop(self.stayed.remove(id)));
        debug_assert!(report.retried.contains(&id), "a retry that is not refused brings back what it is for");
        report.retried.iter().filter(|id| self.retried.insert(**id)).count()
    }

    /// What came back with another before its turn is no failed work any more.
    fn stays(&mut self, id: WorkId, refusal: Refusal) {
        if !self.retried.contains(&id) {
            self.stayed.insert(id, refusal);
        }
    }

    fn report(self) -> RetriedAll {
        let (retried, stayed) = (self.retried.len(), self.stayed.len());
        RetriedAll { retried, stayed, first_stayed: self.stayed.into_iter().take(NAMED).collect() }
    }
}

/// The query for those of its works that are in one of these states; none if it asks for others only.
fn among<const N: usize>(query: WorkQuery, states: [WorkState; N]) -> Option<WorkQuery> {
    let is_asked = |state: &WorkState| query.states.is_empty() || query.states.contains(state);
    let states: BTreeSet<WorkState> = states.into_iter().filter(is_asked).collect();
    (!states.is_empty()).then_some(WorkQuery { states, ..query })
}

/// The query for those of its works that are parked; none if it asks for other states only.
fn parked_of(query: WorkQuery) -> Option<WorkQuery> {
    let query = among(query, [WorkState::Enqueued])?;
    Some(WorkQuery { parked: true, ..query })
}
