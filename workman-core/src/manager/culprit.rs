//! Of work that failed without a run of its own: which failure was the first.

use std::fmt;
use std::sync::Arc;

use super::WorkManager;
use crate::id::WorkId;
use crate::info::WorkInfo;
use crate::query::{PageRequest, WorkQuery};
use crate::record::ErrorText;
use crate::state::WorkState;
use crate::store::StoreError;

/// How many works are looked at on the way back, one behind the other; a longer chain is followed no further.
const MOST_STEPS: usize = 1_000;

/// The work whose failure failed what came after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedPrerequisite {
    /// The work.
    pub id: WorkId,
    /// Its worker.
    pub worker: Arc<str>,
    /// What the last of its attempts that failed said.
    pub last_error: Option<ErrorText>,
}

impl fmt::Display for FailedPrerequisite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its prerequisite {} of worker \"{}\" failed", self.id, self.worker)?;
        self.last_error.iter().try_for_each(|error| write!(f, ": {error}"))
    }
}

impl WorkManager {
    /// The first failure before this one, as far as works are stored still; none if the work failed by itself. Work that was run
    /// is no victim, since nothing runs behind failed work. Each step is a commit of its own, which does no harm: what has failed
    /// stays as it is until it goes.
    pub(super) async fn failed_prerequisite(&self, info: &WorkInfo) -> Result<Option<FailedPrerequisite>, StoreError> {
        let (mut found, mut steps) = (None, 0);
        let mut next = failed_before(info);
        while let Some(query) = next.take().filter(|_| steps < MOST_STEPS) {
            steps += 1;
            let page = self.page(PageRequest { query, after: None, limit: 1 }).await?;
            let Some(failed) = page.works.into_iter().next() else { break };
            next = failed_before(&failed);
            let last_error = failed.last_error().cloned();
            found = Some(FailedPrerequisite { id: failed.id, worker: failed.worker, last_error });
        }
        Ok(found)
    }
}

/// The failed works among what this one waited for, if it never ran.
fn failed_before(info: &WorkInfo) -> Option<WorkQuery> {
    let never_ran = info.runs == 0 && !info.prerequisites.is_empty();
    let query = || WorkQuery::ids(info.prerequisites.iter().copied()).state(WorkState::Failed).without_payloads();
    never_ran.then(query)
}
