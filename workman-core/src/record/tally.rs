//! [`Tally`]: how many works of a lane stand where, kept beside the records so that nobody has to read those to count them.

use serde::{Deserialize, Serialize};

use super::{Finish, LaneId, Standing, WorkRecord};
use crate::state::WorkState;

/// How many works stand where. A store keeps one for each lane, by what each record says before and after a commit; a plan never
/// writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[doc(alias("counts", "statistics"))]
pub struct Tally {
    /// Those that wait for prerequisites.
    pub blocked: u64,
    /// Those that wait for their time.
    pub waiting: u64,
    /// Those that could run: what they lack is a free slot, or a constraint.
    pub ready: u64,
    /// Those that a gate holds.
    pub held: u64,
    /// Those that can't run until somebody helps.
    pub parked: u64,
    /// Those that run.
    pub running: u64,
    /// Those that have finished well.
    pub succeeded: u64,
    /// Those that have finished badly.
    pub failed: u64,
    /// Those that were ended by the program.
    pub cancelled: u64,
}

impl Tally {
    /// The counts in the order in which a store writes them.
    #[must_use]
    pub const fn counts(&self) -> [u64; 9] {
        let Tally { blocked, waiting, ready, held, parked, running, succeeded, failed, cancelled } = *self;
        [blocked, waiting, ready, held, parked, running, succeeded, failed, cancelled]
    }

    /// The tally with these counts, which are in the order of [`counts`](Self::counts).
    #[must_use]
    pub const fn from_counts(counts: [u64; 9]) -> Self {
        let [blocked, waiting, ready, held, parked, running, succeeded, failed, cancelled] = counts;
        Tally { blocked, waiting, ready, held, parked, running, succeeded, failed, cancelled }
    }

    /// How many are in this state. The enqueued ones are those that wait, that are ready, held and parked.
    #[must_use]
    pub fn in_state(&self, state: WorkState) -> u64 {
        let enqueued = [self.waiting, self.ready, self.held, self.parked];
        match state {
            WorkState::Enqueued => enqueued.into_iter().fold(0, u64::saturating_add),
            WorkState::Running => self.running,
            WorkState::Succeeded => self.succeeded,
            WorkState::Failed => self.failed,
            WorkState::Blocked => self.blocked,
            WorkState::Cancelled => self.cancelled,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts().into_iter().fold(0, u64::saturating_add)
    }

    /// Those that have not finished.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        WorkState::ALL
            .into_iter()
            .filter(|state| !state.is_finished())
            .map(|state| self.in_state(state))
            .fold(0, u64::saturating_add)
    }

    /// This one and another together.
    #[must_use]
    pub fn plus(&self, other: &Tally) -> Tally {
        let (mine, others) = (self.counts(), other.counts());
        Tally::from_counts(std::array::from_fn(|at| mine[at].saturating_add(others[at])))
    }

    /// This one with one more where this record stands.
    #[must_use]
    pub fn with(&self, record: &WorkRecord) -> Tally {
        let mut moved = TallyMoves::default();
        moved.counts[place(record)] += 1;
        moved.of(self)
    }
}

/// The place of a record among the counts.
const fn place(record: &WorkRecord) -> usize {
    match record.standing {
        Standing::Blocked => 0,
        Standing::Waiting { .. } => 1,
        Standing::Ready { .. } => 2,
        Standing::Held { .. } => 3,
        Standing::Parked { .. } => 4,
        Standing::Running { .. } => 5,
        Standing::Finished { how: Finish::Succeeded, .. } => 6,
        Standing::Finished { how: Finish::Failed, .. } => 7,
        Standing::Finished { how: Finish::Cancelled, .. } => 8,
    }
}

/// How many more or fewer works of a lane stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TallyMoves {
    counts: [i64; 9],
}

impl TallyMoves {
    /// The tally after these moves. One that was damaged may count fewer than have left; nothing is less than none.
    pub(crate) fn of(&self, tally: &Tally) -> Tally {
        let before = tally.counts();
        Tally::from_counts(std::array::from_fn(|at| before[at].saturating_add_signed(self.counts[at])))
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.counts == [0; 9]
    }
}

/// What one transaction changes of the tallies, by lane.
#[derive(Debug, Default)]
pub(crate) struct TallyChanges {
    /// In the order of lanes. Most transactions move the works of a few.
    lanes: Vec<(LaneId, TallyMoves)>,
}

impl TallyChanges {
    /// Counts a record as it was and as it is; none where there is none.
    pub(crate) fn count(&mut self, before: Option<&WorkRecord>, after: Option<&WorkRecord>) {
        let stand = |record: &WorkRecord| (record.lane, place(record));
        if before.map(stand) == after.map(stand) {
            return;
        }
        for (record, step) in [(before, -1), (after, 1)] {
            let Some((lane, place)) = record.map(stand) else { continue };
            let at = self.lanes.binary_search_by_key(&lane, |(lane, _)| *lane).unwrap_or_else(|at| {
                self.lanes.insert(at, (lane, TallyMoves::default()));
                at
            });
            self.lanes[at].1.counts[place] += step;
        }
    }

    /// The lanes of which something is another than before.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &(LaneId, TallyMoves)> {
        self.lanes.iter().filter(|(_, moves)| !moves.is_nothing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_back_in_their_order_and_states_add_up_to_all() {
        let tally = Tally::from_counts([1, 2, 4, 8, 16, 32, 64, 128, 256]);
        assert_eq!(Tally::from_counts(tally.counts()), tally);
        assert_eq!((tally.in_state(WorkState::Enqueued), tally.unfinished(), tally.total()), (30, 63, 511));
        assert_eq!(WorkState::ALL.into_iter().map(|state| tally.in_state(state)).sum::<u64>(), tally.total());
        assert_eq!(tally.plus(&tally).total(), 1_022);
    }

    #[test]
    fn a_tally_that_counts_too_few_or_too_many_stops_at_its_ends() {
        let mut moves = TallyMoves::default();
        (moves.counts[0], moves.counts[8]) = (-3, 1);
        let full = Tally { blocked: 1, cancelled: u64::MAX, ..Tally::default() };
        assert_eq!(moves.of(&full), Tally { blocked: 0, ..full });
        assert_eq!(full.plus(&full).total(), u64::MAX);
    }
}
