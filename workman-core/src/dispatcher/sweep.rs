//! [`Sweep`]: goes through the finished works, around those that can't be read.
//!
//! A store says that something is damaged, and not where. So the steps get shorter until the next work is the one, and then
//! it is left where it lies.

use crate::id::WorkId;
use crate::index::IndexKey;
use crate::plan::{PRUNE_LIMIT, Prune, Retention, Stride};
use crate::store::StoreError;

/// How many damaged works one sweep goes around. With more than that something else is wrong.
const DAMAGED_LIMIT: usize = 64;

/// One command after the other, until all has been looked at.
pub(crate) struct Sweep {
    keep: Retention,
    /// Only works born before this number are meant.
    pub(crate) before: Option<u64>,
    after: Option<IndexKey>,
    stride: Stride,
    pub(crate) deleted: usize,
    /// What was left where it lies, and what the store said to the last of it.
    pub(crate) damaged: Vec<WorkId>,
    pub(crate) error: Option<StoreError>,
}

/// Whether a sweep has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SweepState {
    GoesOn,
    Over,
}

impl Sweep {
    pub(crate) fn new(keep: Retention, before: Option<u64>) -> Self {
        Sweep { keep, before, after: None, stride: Stride::Full, deleted: 0, damaged: Vec::new(), error: None }
    }

    pub(crate) fn command(&self) -> Prune {
        Prune { keep: self.keep, before: self.before, after: self.after.clone(), stride: self.stride }
    }

    /// What a store answered: how many works went, and where to go on.
    pub(crate) fn on_pruned(&mut self, count: usize, next: Option<IndexKey>) -> SweepState {
        self.deleted += count;
        self.stride = match self.stride {
            Stride::AtMost(most) if most < PRUNE_LIMIT / 2 => Stride::AtMost(2 * most),
            Stride::PastOne => {
                self.damaged.extend(next.as_ref().map(IndexKey::id));
                Stride::Full
            }
            Stride::AtMost(_) | Stride::Full => Stride::Full,
        };
        let over = next.is_none() || self.damaged.len() >= DAMAGED_LIMIT;
        self.after = next;
        if over { SweepState::Over } else { SweepState::GoesOn }
    }

    /// Something can't be read, and nothing was changed. It is over if that is the index itself.
    pub(crate) fn on_damage(&mut self, error: &StoreError) -> SweepState {
        self.error = Some(error.clone());
        self.stride = match self.stride {
            Stride::Full => Stride::AtMost(PRUNE_LIMIT / 2),
            Stride::AtMost(most) if most > 1 => Stride::AtMost(most / 2),
            Stride::AtMost(_) => Stride::PastOne,
            Stride::PastOne => return SweepState::Over,
        };
        SweepState::GoesOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;
    use crate::time::Timestamp;

    fn key(number: u64) -> IndexKey {
        IndexKey::Finished { until: Timestamp::MIN, seq: number, id: WorkId::from_u128(number.into()) }
    }

    /// Answers as a store with so many works does, of which these are damaged; the rest go. Says how many commands it took.
    fn walk_through(works: u64, damaged: &[u64]) -> (Sweep, usize) {
        let mut sweep = Sweep::new(Retention::Nothing, None);
        let mut commands = 0;
        loop {
            commands += 1;
            let Prune { after, stride, .. } = sweep.command();
            let first = after.map_or(0, |after| u64::try_from(after.id().as_u128()).unwrap() + 1);
            let most = match stride {
                Stride::Full => 1_000,
                Stride::AtMost(most) => u64::try_from(most).unwrap(),
                Stride::PastOne => 0,
            };
            let end = works.min(first + most);
            let progress = if stride == Stride::PastOne {
                sweep.on_pruned(0, Some(key(first)))
            } else if damaged.iter().any(|number| (first..end).contains(number)) {
                sweep.on_damage(&StoreError::new(StoreErrorKind::Corrupted, "damaged"))
            } else {
                let count = usize::try_from(end - first).unwrap();
                sweep.on_pruned(count, (end < works).then(|| key(end - 1)))
            };
            if progress == SweepState::Over {
                return (sweep, commands);
            }
        }
    }

    #[test]
    fn a_walk_goes_around_each_damaged_work_and_past_nothing_else() {
        let (sweep, commands) = walk_through(5_000, &[]);
        assert_eq!((sweep.deleted, sweep.damaged.len(), commands), (5_000, 0, 5));
        for damaged in [vec![0], vec![2_718], vec![999, 1_000, 1_001], vec![17, 3_000, 4_999]] {
            let (sweep, commands) = walk_through(5_000, &damaged);
            let left: Vec<WorkId> = damaged.iter().map(|number| WorkId::from_u128((*number).into())).collect();
            assert_eq!((sweep.deleted, &sweep.damaged), (5_000 - damaged.len(), &left));
            assert!(commands < 5 + 40 * damaged.len(), "{commands} commands around {damaged:?}");
        }
    }

    #[test]
    fn a_walk_on_which_everything_is_damaged_ends() {
        let all: Vec<u64> = (0..5_000).collect();
        let (sweep, commands) = walk_through(5_000, &all);
        assert_eq!((sweep.deleted, sweep.damaged.len()), (0, DAMAGED_LIMIT));
        assert!(commands < 1_000, "{commands}");
    }

    #[test]
    fn a_walk_on_which_not_even_the_index_can_be_read_ends() {
        let mut sweep = Sweep::new(Retention::Nothing, None);
        let error = StoreError::new(StoreErrorKind::Corrupted, "damaged");
        let tries = (1..).find(|_| sweep.on_damage(&error) == SweepState::Over);
        assert!(tries.is_some_and(|tries| tries < 15), "{tries:?}");
        assert_eq!(sweep.damaged, []);
    }
}
