//! [`Sweep`]: goes through the finished works, around those that can't be read; and [`Pace`]: in which steps something goes that takes
//! many commits.
//!
//! A store says that something is damaged, and not where. So the steps get shorter until the next work is the one, and then
//! it is left where it lies.
//!
//! A long commit is the cheapest way to write much, and whoever calls meanwhile waits for the end of it. So the steps are long while
//! nobody does, and short while somebody does.

use crate::health::Health;
use crate::id::WorkId;
use crate::index::IndexKey;
use crate::plan::{PRUNE_LIMIT, Prune, Retention, SELECT_LIMIT, SHORT_STRIDE, Stride};
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

    /// The next command, which goes no further than this.
    pub(crate) fn command(&self, stride: Stride) -> Prune {
        let stride = shorter(self.stride, stride);
        Prune { keep: self.keep, before: self.before, after: self.after.clone(), stride }
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

/// The shorter of both. What goes past one work is as short as can be.
fn shorter(one: Stride, other: Stride) -> Stride {
    match (one, other) {
        (Stride::PastOne, _) | (_, Stride::PastOne) => Stride::PastOne,
        (Stride::AtMost(one), Stride::AtMost(other)) => Stride::AtMost(one.min(other)),
        (Stride::Full, shorter) | (shorter, Stride::Full) => shorter,
    }
}

/// In which steps something goes that takes many commits. It sees the calls and runs of its own manager only: what other programs
/// and other managers wait for is known to the store, and to nobody who sends commands.
pub(crate) struct Pace {
    stride: Stride,
    /// How many commits somebody had waited for at the last step.
    asked: u64,
}

impl Pace {
    pub(crate) fn new(health: &Health) -> Self {
        Pace { stride: Stride::Full, asked: health.writes().0 }
    }

    /// How far the next command goes. The one before has been answered, and is one of the calls since then.
    pub(crate) fn stride(&mut self, health: &Health) -> Stride {
        let (asked, waiting) = health.writes();
        let others = waiting > 0 || asked - self.asked > 1;
        self.asked = asked;
        self.stride = match self.stride {
            _ if others => Stride::AtMost(SHORT_STRIDE),
            Stride::AtMost(most) if 2 * most < SELECT_LIMIT => Stride::AtMost(2 * most),
            _ => Stride::Full,
        };
        self.stride
    }
}

/// How far a deletion goes that the dispatcher sends along with so many ends. While calls of the program wait it is short, but
/// deletes twice what ends: else more works would finish than go, and the file would grow as long as somebody calls.
pub(super) fn stride_beside(ends: usize, health: &Health) -> Stride {
    let (_, waiting) = health.writes();
    if waiting == 0 { Stride::Full } else { Stride::AtMost(SHORT_STRIDE.max(2 * ends)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Awaited;
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
            let Prune { after, stride, .. } = sweep.command(Stride::Full);
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
    fn something_long_takes_short_steps_while_others_wait_and_longer_ones_again_when_they_are_gone() {
        let (health, now) = (Health::default(), std::time::Duration::ZERO);
        let once = |health: &Health| {
            health.asks(Awaited::BySomebody, now);
            health.asks_no_more(Awaited::BySomebody, now);
        };
        let mut pace = Pace::new(&health);
        let mut step = |health: &Health| {
            let stride = pace.stride(health);
            once(health);
            stride
        };
        let short = Stride::AtMost(SHORT_STRIDE);
        assert_eq!([step(&health), step(&health)], [Stride::Full; 2], "its own calls don't count");
        once(&health);
        assert_eq!(step(&health), short, "somebody came and was answered meanwhile");
        health.asks(Awaited::BySomebody, now);
        assert_eq!([step(&health), step(&health)], [short; 2], "somebody waits");
        health.asks(Awaited::ByNobody, now);
        health.asks_no_more(Awaited::BySomebody, now);
        let longer: Vec<Stride> = (1..4).map(|times| Stride::AtMost(SHORT_STRIDE << times)).collect();
        assert_eq!([step(&health), step(&health), step(&health)], longer[..], "who reads waits for no commit");
        assert_eq!(step(&health), Stride::Full);
    }

    #[test]
    fn what_goes_with_ends_is_short_while_calls_wait_and_always_more_than_what_ends() {
        let health = Health::default();
        assert_eq!(stride_beside(1_000, &health), Stride::Full);
        health.asks(Awaited::BySomebody, std::time::Duration::ZERO);
        for ends in [0, 1, SHORT_STRIDE, 1_000, 100_000] {
            let Stride::AtMost(most) = stride_beside(ends, &health) else { panic!("{ends} ends") };
            assert!(most >= SHORT_STRIDE && most > ends, "{most} beside {ends} ends");
        }
    }

    #[test]
    fn of_damage_and_company_the_one_that_asks_for_shorter_steps_counts() {
        let mut sweep = Sweep::new(Retention::Nothing, None);
        let stride = |sweep: &Sweep, most| sweep.command(Stride::AtMost(most)).stride;
        assert_eq!(stride(&sweep, 7), Stride::AtMost(7));
        let error = StoreError::new(StoreErrorKind::Corrupted, "damaged");
        sweep.on_damage(&error);
        assert_eq!(stride(&sweep, 7), Stride::AtMost(7));
        assert_eq!(stride(&sweep, 700), Stride::AtMost(PRUNE_LIMIT / 2));
        while sweep.stride != Stride::PastOne {
            sweep.on_damage(&error);
        }
        assert_eq!(stride(&sweep, 7), Stride::PastOne);
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
