//! [`Touched`]: what a watcher must read again.

use std::collections::{BTreeMap, BTreeSet};

use super::News;
use crate::id::WorkId;

/// How many touched works are kept for a watcher that does not look. With more it reads all again, which is no more work then.
pub(super) const MOST_TOUCHED: usize = 4_096;

/// The works that commits have touched since somebody looked.
#[derive(Default)]
pub(crate) struct Touched {
    works: BTreeMap<WorkId, Touch>,
    /// Whether others may have been touched too.
    lost: bool,
}

/// When a work was touched.
#[derive(Clone, Copy)]
struct Touch {
    /// The first commit that did; none if no commit did, but what its worker says of itself.
    first: Option<u64>,
    last: News,
}

impl Touched {
    pub(super) fn note(&mut self, news: News, ids: &[WorkId]) {
        if self.lost {
            return;
        }
        let commit = match news {
            News::Commit(commit) => Some(commit),
            News::Unnumbered => None,
        };
        for id in ids {
            let touch = self.works.entry(*id).or_insert(Touch { first: commit, last: news });
            touch.first = touch.first.or(commit);
            touch.last = touch.last.max(news);
        }
        if self.works.len() > MOST_TOUCHED {
            self.lose();
        }
    }

    pub(super) fn lose(&mut self) {
        self.works.clear();
        self.lost = true;
    }

    /// A page was read that shows this commit and all before.
    pub(super) fn was_read(&mut self, commit: u64) {
        self.works.retain(|_, touch| touch.last > News::Commit(commit));
    }

    /// Whether the commits up to this one touched nothing but these works.
    pub(super) fn is_within(&self, commit: u64, ids: &BTreeSet<WorkId>) -> bool {
        let mut touched = self.works.iter().filter(|(_, touch)| touch.first.is_some_and(|first| first <= commit));
        !self.lost && touched.all(|(id, _)| ids.contains(id))
    }

    /// The works, if no others may have been touched.
    pub(crate) fn into_ids(self) -> Option<BTreeSet<WorkId>> {
        let Touched { works, lost } = self;
        (!lost).then(|| works.into_keys().collect())
    }
}
