//! [`IndexRange`]: a stretch of the index.

use std::sync::Arc;

use super::{IndexKey, NIL, Suspects};
use crate::id::WorkId;
use crate::record::{GateId, LaneId};
use crate::time::{Due, Timestamp};

/// A stretch of the index: from `after` (exclusive, or `first` inclusive) to `last` inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRange {
    /// Entries from here on, this one included.
    pub first: IndexKey,
    /// Entries up to here, this one included.
    pub last: IndexKey,
    /// Only entries behind this one.
    pub after: Option<IndexKey>,
}

const END: WorkId = WorkId::from_u128(u128::MAX);

impl IndexRange {
    fn new(first: IndexKey, last: IndexKey) -> Self {
        IndexRange { first, last, after: None }
    }

    /// The same stretch, behind `after`.
    #[must_use]
    pub fn after(mut self, after: Option<IndexKey>) -> Self {
        self.after = after;
        self
    }

    /// All blocked work.
    #[must_use]
    pub fn blocked() -> Self {
        Self::new(IndexKey::Blocked { seq: 0, id: NIL }, IndexKey::Blocked { seq: u64::MAX, id: END })
    }

    /// All delayed work.
    #[must_use]
    pub fn waiting() -> Self {
        let first = IndexKey::Waiting { due: Due::Store(Timestamp::MIN), turn: 0, id: NIL };
        Self::new(first, Self::waiting_for_the_wall().last)
    }

    /// The delayed work that waits for a time of the wall clock.
    #[must_use]
    pub fn waiting_for_the_wall() -> Self {
        Self::new(
            IndexKey::Waiting { due: Due::Wall(Timestamp::MIN), turn: 0, id: NIL },
            IndexKey::Waiting { due: Due::Wall(Timestamp::MAX), turn: u64::MAX, id: END },
        )
    }

    /// The delayed work that is due in these times: what waits in store time, and what waits for a time of the wall clock.
    #[must_use]
    pub fn due_within(first: Timestamp, last: Timestamp) -> [Self; 2] {
        [Due::Store, Due::Wall].map(|due: fn(Timestamp) -> Due| {
            Self::new(
                IndexKey::Waiting { due: due(first), turn: 0, id: NIL },
                IndexKey::Waiting { due: due(last), turn: u64::MAX, id: END },
            )
        })
    }

    /// All work that could run.
    #[must_use]
    pub fn ready() -> Self {
        let key = |lane, suspect, edge, turn, id| IndexKey::Ready { lane: LaneId(lane), suspect, rank: edge, turn, id };
        Self::new(key(0, false, 0, 0, NIL), key(u32::MAX, true, u8::MAX, u64::MAX, END))
    }

    /// The work that could run in one lane, the suspects or the others.
    #[must_use]
    pub fn ready_in(lane: LaneId, suspects: Suspects) -> Self {
        let suspect = suspects == Suspects::Only;
        let key = |rank, turn, id| IndexKey::Ready { lane, suspect, rank, turn, id };
        Self::new(key(0, 0, NIL), key(u8::MAX, u64::MAX, END))
    }

    /// The work of a lane that is held at a gate.
    #[must_use]
    pub fn held_in(gate: GateId, lane: LaneId) -> Self {
        let key = |suspect, rank, turn, id| IndexKey::Held { gate, lane, suspect, rank, turn, id };
        Self::new(key(false, 0, 0, NIL), key(true, u8::MAX, u64::MAX, END))
    }

    /// All work that is held at this gate or one behind it.
    #[must_use]
    pub fn held_from(gate: GateId) -> Self {
        let key =
            |gate, lane, suspect, rank, turn, id| IndexKey::Held { gate, lane: LaneId(lane), suspect, rank, turn, id };
        Self::new(key(gate, 0, false, 0, 0, NIL), key(GateId(u128::MAX), u32::MAX, true, u8::MAX, u64::MAX, END))
    }

    /// All work that is held at this gate.
    #[must_use]
    pub fn held_at(gate: GateId) -> Self {
        let last = Self::held_in(gate, LaneId(u32::MAX)).last;
        Self::new(Self::held_in(gate, LaneId(0)).first, last)
    }

    /// All work that is held at gates.
    #[must_use]
    pub fn held() -> Self {
        Self::held_from(GateId(0))
    }

    /// The works of a serial lane that have not finished.
    #[must_use]
    pub fn serial(gate: GateId) -> Self {
        let key = |seq, id| IndexKey::Serial { gate, seq, id };
        Self::new(key(0, NIL), key(u64::MAX, END))
    }

    /// The gates that have to be looked at again: those in store time, and those by the wall clock.
    #[must_use]
    pub fn openings() -> [Self; 2] {
        [Due::Store, Due::Wall].map(|in_time: fn(Timestamp) -> Due| {
            Self::new(
                IndexKey::Opens { due: in_time(Timestamp::MIN), gate: GateId(0) },
                IndexKey::Opens { due: in_time(Timestamp::MAX), gate: GateId(u128::MAX) },
            )
        })
    }

    /// All parked work.
    #[must_use]
    pub fn parked() -> Self {
        Self::new(
            IndexKey::Parked { lane: LaneId(0), seq: 0, id: NIL },
            IndexKey::Parked { lane: LaneId(u32::MAX), seq: u64::MAX, id: END },
        )
    }

    /// All claimed work of the managers `from..=to`.
    #[must_use]
    pub fn running(from: u64, to: u64) -> Self {
        Self::new(IndexKey::Running { epoch: from, id: NIL }, IndexKey::Running { epoch: to, id: END })
    }

    /// All finished work.
    #[must_use]
    pub fn finished() -> Self {
        Self::new(
            IndexKey::Finished { until: Timestamp::MIN, seq: 0, id: NIL },
            IndexKey::Finished { until: Timestamp::MAX, seq: u64::MAX, id: END },
        )
    }

    /// The finished work that its request asked to be kept until this time or longer.
    #[must_use]
    pub fn finished_from(until: Timestamp) -> Self {
        Self::new(IndexKey::Finished { until, seq: 0, id: NIL }, Self::finished().last)
    }

    /// The members of a unique name.
    #[must_use]
    pub fn name(name: &Arc<str>) -> Self {
        let key = |seq, id| IndexKey::Name { name: Arc::clone(name), seq, id };
        Self::new(key(0, NIL), key(u64::MAX, END))
    }

    /// The members of a unique name for which no other member waits.
    #[must_use]
    pub fn leaves(name: &Arc<str>) -> Self {
        let key = |seq, id| IndexKey::Leaf { name: Arc::clone(name), seq, id };
        Self::new(key(0, NIL), key(u64::MAX, END))
    }

    /// The members of a unique name that have not finished.
    #[must_use]
    pub fn unfinished(name: &Arc<str>) -> Self {
        let key = |unblocked, seq, id| IndexKey::Unfinished { name: Arc::clone(name), unblocked, seq, id };
        Self::new(key(false, 0, NIL), key(true, u64::MAX, END))
    }

    /// The members of a unique name that are enqueued or run.
    #[must_use]
    pub fn holders(name: &Arc<str>) -> Self {
        let key = |seq, id| IndexKey::Unfinished { name: Arc::clone(name), unblocked: true, seq, id };
        Self::new(key(0, NIL), key(u64::MAX, END))
    }

    /// The works with a tag.
    #[must_use]
    pub fn tag(tag: &Arc<str>) -> Self {
        let key = |id, seq| IndexKey::Tag { tag: Arc::clone(tag), id, seq };
        Self::new(key(NIL, 0), key(END, u64::MAX))
    }

    /// The entries that say that this work has a tag: one at the most.
    #[must_use]
    pub fn tag_of(tag: &Arc<str>, id: WorkId) -> Self {
        let key = |seq| IndexKey::Tag { tag: Arc::clone(tag), id, seq };
        Self::new(key(0), key(u64::MAX))
    }

    /// This entry alone.
    #[must_use]
    pub fn one(key: &IndexKey) -> Self {
        Self::new(key.clone(), key.clone())
    }

    /// The works that wait for another.
    #[must_use]
    pub fn dependents(of: WorkId) -> Self {
        Self::new(IndexKey::Dependent { of, id: NIL }, IndexKey::Dependent { of, id: END })
    }
}
