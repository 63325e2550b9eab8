//! What a cancellation, a retry and a pruning of many works are told, and what they answer.

use std::fmt;
use std::sync::Arc;

use crate::foreign::{discard, foreign};
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::plan::Refusal;
use crate::query::{WorkQuery, WorkSelector};

/// A wish to end works, for [`WorkManager::cancel`](super::WorkManager::cancel): an id, a selector or a query, and what else there is
/// to say.
///
/// ```
/// use workman_core::{Cancelling, WorkSelector, worker};
/// use workman_testing::TestDriver;
///
/// #[worker]
/// fn announce(to: String) -> usize {
///     to.len()
/// }
///
/// let test = TestDriver::new();
/// let id = test.enqueue(announce::request("you".into()).tag("mail"));
/// let why = Cancelling::of(WorkSelector::tag("mail")).because("the list was wrong").on_progress(|done| println!("{done} so far"));
/// assert_eq!(test.cancel(why), 1);
/// assert_eq!(test.info(id).cancel_reason.as_deref(), Some("the list was wrong"));
/// ```
#[derive(Debug)]
#[must_use = "nothing is cancelled until a manager is told"]
pub struct Cancelling {
    pub(super) of: Meant,
    pub(super) because: Option<Arc<str>>,
    pub(super) progress: Progress,
}

/// Which works.
#[derive(Clone, Debug)]
pub(super) enum Meant {
    Selected(WorkSelector),
    Matching(Box<WorkQuery>),
}

impl Cancelling {
    /// These works.
    pub fn of(works: impl Into<Cancelling>) -> Self {
        works.into()
    }

    /// Says why, to whoever asks: all works that end by this show it. 1,024 bytes at the most
    /// ([`Refusal::ReasonTooLong`](crate::Refusal::ReasonTooLong)).
    pub fn because(mut self, reason: impl Into<Arc<str>>) -> Self {
        self.because = Some(reason.into());
        self
    }

    /// Is called after each commit with how many works were ended so far. If it panics that is logged, it is not called any more, and
    /// the selection goes on.
    pub fn on_progress(mut self, tell: impl FnMut(usize) + Send + 'static) -> Self {
        self.progress = Progress::new(tell);
        self
    }

    fn meant(of: Meant) -> Self {
        Cancelling { of, because: None, progress: Progress::default() }
    }
}

impl From<WorkId> for Cancelling {
    fn from(id: WorkId) -> Self {
        Cancelling::meant(Meant::Selected(id.into()))
    }
}

impl From<WorkSelector> for Cancelling {
    fn from(selector: WorkSelector) -> Self {
        Cancelling::meant(Meant::Selected(selector))
    }
}

impl From<WorkQuery> for Cancelling {
    fn from(query: WorkQuery) -> Self {
        Cancelling::meant(Meant::Matching(Box::new(query)))
    }
}

/// Whom to tell how far it is.
#[derive(Default)]
pub(super) struct Progress(Option<Box<dyn FnMut(usize) + Send>>);

impl Progress {
    pub(super) fn new(tell: impl FnMut(usize) + Send + 'static) -> Self {
        Progress(Some(Box::new(tell)))
    }

    pub(super) fn tell(&mut self, done: usize) {
        let Some(tell) = &mut self.0 else { return };
        if let Err(panicked) = foreign(|| tell(done)) {
            tracing::error!("who is told the progress of a selection panicked, and is not told any more: {panicked}");
            discard("what is told the progress of a selection", self.0.take());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            discard("what is told the progress of a selection", tell);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress" } else { "None" })
    }
}

/// Works that match a query, for what is done to many at once: [`retry_all`](super::WorkManager::retry_all) and
/// [`prune_matching`](super::WorkManager::prune_matching). A query alone is one.
#[derive(Debug)]
#[must_use = "a selection does nothing until a manager gets it"]
pub struct Selection {
    pub(super) query: WorkQuery,
    pub(super) progress: Progress,
}

impl Selection {
    /// The works that match.
    pub fn of(query: WorkQuery) -> Self {
        Selection { query, progress: Progress::default() }
    }

    /// Is called after each commit with how many works it was done to so far, as [`Cancelling::on_progress`].
    pub fn on_progress(mut self, tell: impl FnMut(usize) + Send + 'static) -> Self {
        self.progress = Progress::new(tell);
        self
    }
}

impl From<WorkQuery> for Selection {
    fn from(query: WorkQuery) -> Self {
        Selection::of(query)
    }
}

/// What a query means, as it was when somebody looked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Matching {
    /// How many works match.
    pub count: usize,
    /// The first of them, without their payloads: 100 at the most.
    pub first: Vec<WorkInfo>,
}

/// What a retry of many works has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetriedAll {
    /// How many works are tried again, dependents that came back with others included.
    pub retried: usize,
    /// How many of those that matched stay as they are.
    pub stayed: usize,
    /// The first of those, and why: 100 at the most, in the order of their ids.
    pub first_stayed: Vec<(WorkId, Refusal)>,
}
