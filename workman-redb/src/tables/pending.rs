//! [`Pending`]: what a transaction has written and its tables do not hold yet.
//!
//! Row by row, each write walks down a tree. Sorted, the rows of a commit fall into runs of neighbours, and redb's cursors put
//! down a run at once and fill its pages: a thousand new works take a third of the time. So writes wait here until somebody
//! scans, until there are many, or until the commit.

use std::collections::BTreeMap;
use std::ops::Range;

use workman_core::WorkId;
use workman_core::store::{IfMissing, IndexKey};

use crate::codec::CodecError;
use crate::envelope::entry_sum;
use crate::keys::{self, ENTRY, Key as EntryKey};
use crate::rows::{WORK_NAMES, WorkTableId};

/// As much as waits at the most.
const MOST_BYTES: usize = 1 << 20;
const MOST_CHANGES: usize = 1 << 14;

/// Writes that wait.
#[derive(Default)]
pub(super) struct Pending {
    /// The rows, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// Where each row lies among them; `None` if it goes.
    pub(super) works: [BTreeMap<WorkId, Option<Range<usize>>>; WORK_NAMES.len()],
    /// In the order in which they were made.
    pub(super) entries: Vec<([u8; ENTRY], Edit)>,
    pub(super) labels: Vec<(Vec<u8>, Edit)>,
}

/// What happens to an index entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Link([u8; 4]),
    Unlink(IfMissing),
}

impl Pending {
    /// The row of this work that waits; `Some(None)` if it is to go.
    pub(super) fn row(&self, table: WorkTableId, id: WorkId) -> Option<Option<&[u8]>> {
        let row = self.works[table as usize].get(&id)?;
        Some(row.clone().map(|range| &self.bytes[range]))
    }

    /// A row that `seal` puts behind what it is given.
    pub(super) fn put(
        &mut self,
        table: WorkTableId,
        id: WorkId,
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let begin = self.bytes.len();
        seal(&mut self.bytes)?;
        self.works[table as usize].insert(id, Some(begin..self.bytes.len()));
        Ok(())
    }

    pub(super) fn remove(&mut self, table: WorkTableId, id: WorkId) {
        self.works[table as usize].insert(id, None);
    }

    pub(super) fn link(&mut self, key: &IndexKey) {
        let key = keys::encode(key);
        let link = Edit::Link(entry_sum(key.bytes()));
        self.change(key, link);
    }

    pub(super) fn unlink(&mut self, key: &IndexKey, if_missing: IfMissing) {
        self.change(keys::encode(key), Edit::Unlink(if_missing));
    }

    fn change(&mut self, key: EntryKey, change: Edit) {
        match key {
            EntryKey::Entry(key) => self.entries.push((key, change)),
            EntryKey::Label(key) => self.labels.push((key, change)),
        }
    }

    /// Whether a change of the index waits that lies between these, both included.
    pub(super) fn concerns(&self, first: &EntryKey, last: &EntryKey) -> bool {
        let (first, last) = (first.bytes(), last.bytes());
        let is_between = |key: &[u8]| first <= key && key <= last;
        self.labels.iter().any(|(key, _)| is_between(key)) || self.entries.iter().any(|(key, _)| is_between(key))
    }

    pub(super) fn is_much(&self) -> bool {
        let rows: usize = self.works.iter().map(BTreeMap::len).sum();
        self.bytes.len() > MOST_BYTES || rows.max(self.entries.len()).max(self.labels.len()) > MOST_CHANGES
    }
}

/// What becomes of each key in the end, in order. What came and went again leaves nothing.
pub(super) fn in_order<K: Ord>(mut changes: Vec<(K, Edit)>) -> Vec<(K, Edit)> {
    changes.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut net: Vec<(K, Edit)> = Vec::with_capacity(changes.len());
    let mut first = Edit::Unlink(IfMissing::Ignore);
    for (key, change) in changes {
        match net.last_mut().filter(|(last, _)| *last == key) {
            Some((_, last)) => *last = change,
            None => {
                drop_undone(&mut net, first);
                first = change;
                net.push((key, change));
            }
        }
    }
    drop_undone(&mut net, first);
    net
}

/// The last key was changed from `first` on. If its last change takes back the first, it is as it was.
fn drop_undone<K>(net: &mut Vec<(K, Edit)>, first: Edit) {
    let undone = |(_, last): &mut (K, Edit)| matches!((first, *last), (Edit::Link(_), Edit::Unlink(_)));
    let redone = |(_, last): &mut (K, Edit)| matches!((first, *last), (Edit::Unlink(_), Edit::Link(_)));
    net.pop_if(|last| undone(last) || redone(last));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Edit = Edit::Link([7; 4]);
    const GO: Edit = Edit::Unlink(IfMissing::Refuse);

    #[test]
    fn what_came_and_went_leaves_nothing_and_the_rest_is_in_order() {
        let changes = vec![
            (5, LINK),
            (1, GO),
            (5, GO),
            (3, LINK),
            (2, GO),
            (2, LINK),
            (4, LINK),
            (4, GO),
            (4, LINK),
            (6, GO),
            (6, LINK),
            (6, GO),
        ];
        assert_eq!(in_order(changes), [(1, GO), (3, LINK), (4, LINK), (6, GO)]);
        assert_eq!(in_order(Vec::<(u8, Edit)>::new()), []);
        assert_eq!(in_order(vec![(1, LINK), (1, GO)]), []);
    }
}
