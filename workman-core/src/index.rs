//! The indexes of a store, derived from records and never written by a plan.
//!
//! Every store derives them by the same three functions, [`standing_key`], [`member_keys`] and [`label_keys`], from a record's
//! before and after. The order of [`IndexKey`] is the order of the index: an embedded store encodes it so that bytes sort the same.

use std::sync::Arc;

use crate::id::WorkId;
use crate::record::{LaneId, Standing, WorkRecord, WorkSpec};
use crate::time::{Due, Timestamp};

/// One entry of an index. Entries sort by kind, then by their fields in declaration order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum IndexKey {
    /// Blocked work, oldest first.
    Blocked {
        /// Its birth number.
        seq: u64,
        id: WorkId,
    },
    /// Delayed work, by due time: what waits in store time before what waits for a time of the wall clock.
    Waiting {
        /// When it is due.
        due: Due,
        /// Its place in line.
        turn: u64,
        id: WorkId,
    },
    /// Work that could run, lane by lane; suspects apart, so that they hold up nobody.
    Ready {
        lane: LaneId,
        /// Whether the process died under it too often to run it beside another such.
        suspect: bool,
        /// Greater priority sorts first: 127 minus the priority.
        rank: u8,
        /// Its place in line.
        turn: u64,
        id: WorkId,
    },
    /// Work that waits for somebody's help.
    Parked {
        lane: LaneId,
        /// Its birth number.
        seq: u64,
        id: WorkId,
    },
    /// Claimed work, by the manager that claimed it.
    Running { epoch: u64, id: WorkId },
    /// Finished work, by its end plus the time for which its request asked to be kept. What the manager adds is not in here.
    Finished {
        /// The time.
        until: Timestamp,
        /// Its birth number.
        seq: u64,
        id: WorkId,
    },
    /// The members of a unique name.
    Name {
        name: Arc<str>,
        /// The birth number of the member.
        seq: u64,
        /// The member.
        id: WorkId,
    },
    /// The works with a tag.
    Tag {
        /// The tag.
        tag: Arc<str>,
        /// The work. It comes before its number, so that a work is found by its tag and its id.
        id: WorkId,
        /// The birth number of the work.
        seq: u64,
    },
    /// The works that wait for another.
    Dependent {
        /// The other.
        of: WorkId,
        /// The work that waits.
        id: WorkId,
    },
    /// The members of a unique name for which no other member waits: what is appended to the name comes behind these, and does
    /// not have to look at the others.
    Leaf {
        name: Arc<str>,
        /// The birth number of the member.
        seq: u64,
        /// The member.
        id: WorkId,
    },
    /// The members of a unique name that have not finished. Those that are blocked come first: a member is unblocked and never
    /// blocked again, so whoever goes through them in order, commit by commit, passes over none.
    Unfinished {
        name: Arc<str>,
        /// Whether it waits for no prerequisite any more.
        unblocked: bool,
        /// The birth number of the member.
        seq: u64,
        /// The member.
        id: WorkId,
    },
}

impl IndexKey {
    /// The work that the entry points at.
    #[must_use]
    pub const fn id(&self) -> WorkId {
        match self {
            IndexKey::Blocked { id, .. }
            | IndexKey::Waiting { id, .. }
            | IndexKey::Ready { id, .. }
            | IndexKey::Parked { id, .. }
            | IndexKey::Running { id, .. }
            | IndexKey::Finished { id, .. }
            | IndexKey::Name { id, .. }
            | IndexKey::Tag { id, .. }
            | IndexKey::Dependent { id, .. }
            | IndexKey::Leaf { id, .. }
            | IndexKey::Unfinished { id, .. } => *id,
        }
    }
}

/// The one entry that says where a record stands.
#[must_use]
pub fn standing_key(record: &WorkRecord) -> IndexKey {
    let (id, seq, turn, lane) = (record.id, record.seq, record.turn, record.lane);
    match record.standing {
        Standing::Blocked => IndexKey::Blocked { seq, id },
        Standing::Waiting { due, .. } => IndexKey::Waiting { due, turn, id },
        Standing::Ready { .. } => {
            IndexKey::Ready { lane, suspect: record.is_suspect(), rank: rank(record.terms.priority), turn, id }
        }
        Standing::Parked { .. } => IndexKey::Parked { lane, seq, id },
        Standing::Running { epoch } => IndexKey::Running { epoch, id },
        Standing::Finished { at, .. } => IndexKey::Finished { until: at + record.terms.retention, seq, id },
    }
}

/// Where a record stands among the members of its unique name. Records that stand alike there have the same [`member_keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    leaf: bool,
    /// Whether it is unblocked; `None` once it has finished.
    unfinished: Option<bool>,
}

impl Membership {
    /// That of this record; none if it has no unique name.
    #[must_use]
    pub(crate) fn of(record: &WorkRecord) -> Option<Self> {
        let unfinished = match record.standing {
            Standing::Finished { .. } => None,
            Standing::Blocked => Some(false),
            _ => Some(true),
        };
        record.followers.map(|followers| Membership { leaf: followers == 0, unfinished })
    }
}

/// The entries that say where a record stands among the members of this name, which is its own.
pub(crate) fn member_keys<'a>(record: &WorkRecord, name: &'a Arc<str>) -> impl Iterator<Item = IndexKey> + use<'a> {
    let (id, seq, membership) = (record.id, record.seq, Membership::of(record));
    let leaf = membership.filter(|membership| membership.leaf);
    let leaf = leaf.map(|_| IndexKey::Leaf { name: Arc::clone(name), seq, id });
    let unfinished = membership.and_then(|membership| membership.unfinished);
    let unfinished = unfinished.map(|unblocked| IndexKey::Unfinished { name: Arc::clone(name), unblocked, seq, id });
    leaf.into_iter().chain(unfinished)
}

/// All entries that a record and its spec ask for. An edge to a work that is waited for twice is among them twice.
pub fn keys_of<'a>(record: &'a WorkRecord, spec: &'a WorkSpec) -> impl Iterator<Item = IndexKey> + 'a {
    let members = spec.name.iter().flat_map(|name| member_keys(record, name));
    std::iter::once(standing_key(record)).chain(label_keys(record.id, record.seq, spec)).chain(members)
}

/// Whether a record and its spec ask for this entry.
#[must_use]
pub(crate) fn asks_for(record: &WorkRecord, spec: &WorkSpec, key: &IndexKey) -> bool {
    keys_of(record, spec).any(|asked| asked == *key)
}

/// The entries that a work has from its birth to its end: name, tags, and one at each of its prerequisites.
pub(crate) fn label_keys(id: WorkId, seq: u64, spec: &WorkSpec) -> impl Iterator<Item = IndexKey> + '_ {
    let name = spec.name.iter().map(move |name| IndexKey::Name { name: Arc::clone(name), seq, id });
    let tags = std::iter::once(&spec.worker).chain(&spec.tags);
    let tags = tags.map(move |tag| IndexKey::Tag { tag: Arc::clone(tag), id, seq });
    let edges = spec.prerequisites.ids.iter().map(move |of| IndexKey::Dependent { of: *of, id });
    name.chain(tags).chain(edges)
}

/// Greater priorities sort first.
#[must_use]
pub(crate) fn rank(priority: i8) -> u8 {
    (i16::from(i8::MAX) - i16::from(priority)).unsigned_abs().try_into().unwrap_or(u8::MAX)
}

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

const NIL: WorkId = WorkId::from_u128(0);
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

/// Which of the ready works in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suspects {
    /// Those that are no suspects.
    None,
    /// Only the suspects.
    Only,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greater_priority_sorts_first() {
        let ranks: Vec<u8> = [127, 1, 0, -1, -128].into_iter().map(rank).collect();
        assert_eq!(ranks, [0, 126, 127, 128, 255]);
    }
}
