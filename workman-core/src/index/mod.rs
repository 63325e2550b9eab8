//! The indexes of a store, derived from records and never written by a plan.
//!
//! Every store derives them by the same three functions, [`standing_key`], [`member_keys`] and [`label_keys`], from a record's
//! before and after. The order of [`IndexKey`] is the order of the index: an embedded store encodes it so that bytes sort the same.

mod range;

use std::sync::Arc;

use crate::id::WorkId;
use crate::record::{GateId, LaneId, Standing, WorkRecord, WorkSpec, serial_of};
use crate::time::{Due, Timestamp};

pub use range::IndexRange;

const NIL: WorkId = WorkId::from_u128(0);

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
    /// Work that could run and is held at a gate: lane by lane, in the order in which it lines up there.
    Held {
        gate: GateId,
        lane: LaneId,
        /// As in `Ready`.
        suspect: bool,
        /// As in `Ready`.
        rank: u8,
        /// Its place in line.
        turn: u64,
        id: WorkId,
    },
    /// The works of a serial lane that have not finished, in the order in which they were enqueued.
    Serial {
        gate: GateId,
        /// Its birth number.
        seq: u64,
        id: WorkId,
    },
    /// A gate that has to be looked at again, and when. It points at no work.
    Opens {
        /// The time.
        due: Due,
        gate: GateId,
    },
}

impl IndexKey {
    /// The work that the entry points at; the id that no work has if it points at a gate.
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
            | IndexKey::Unfinished { id, .. }
            | IndexKey::Held { id, .. }
            | IndexKey::Serial { id, .. } => *id,
            IndexKey::Opens { .. } => NIL,
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
        Standing::Held { gate, .. } => {
            let (suspect, rank) = (record.is_suspect(), rank(record.terms.priority));
            IndexKey::Held { gate, lane, suspect, rank, turn, id }
        }
        Standing::Parked { .. } => IndexKey::Parked { lane, seq, id },
        Standing::Running { epoch } => IndexKey::Running { epoch, id },
        Standing::Finished { at, .. } => IndexKey::Finished { until: at + record.terms.retention, seq, id },
    }
}

/// The entry that says where a record stands in its serial lane, if it runs in one and has not finished.
#[must_use]
pub(crate) fn serial_key(record: &WorkRecord) -> Option<IndexKey> {
    serial_of(record).map(|serial| IndexKey::Serial { gate: serial.gate, seq: record.seq, id: record.id })
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
    let standing = std::iter::once(standing_key(record)).chain(serial_key(record));
    standing.chain(label_keys(record.id, record.seq, spec)).chain(members)
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
