//! What a plan may see: [`Snapshot`], and how it asks for more: [`Scope`].

use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::sync::Arc;

use super::{ById, Few, Refusal};
use crate::constraints::Constraints;
use crate::id::WorkId;
use crate::index::{IndexKey, Suspects};
use crate::query::WorkSelector;
use crate::record::{Cascade, GateId, GateRow, GateSettings, Lane, LaneId, Meta, Notes, Urgency, WorkRecord, WorkSpec};
use crate::time::{NextDue, Timestamp};

/// What a store is to load, all at once if it can: each thing once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    wants: Vec<Want>,
}

impl Scope {
    /// What is to be loaded.
    pub fn iter(&self) -> slice::Iter<'_, Want> {
        self.wants.iter()
    }
}

impl<'a> IntoIterator for &'a Scope {
    type Item = &'a Want;
    type IntoIter = slice::Iter<'a, Want>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Want> for Scope {
    fn from_iter<I: IntoIterator<Item = Want>>(wants: I) -> Self {
        let mut wants: Vec<Want> = wants.into_iter().collect();
        wants.sort();
        wants.dedup();
        Scope { wants }
    }
}

impl From<Want> for Scope {
    fn from(want: Want) -> Self {
        Scope { wants: vec![want] }
    }
}

/// One thing to load.
///
/// A list brings the records of its works along. `Due` and `Ready` bring their specs and notes too, since that is what
/// a claim hands out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum Want {
    /// The record of a work, or that there is none.
    Work(WorkId),
    /// What its request said.
    Spec(WorkId),
    /// What its worker said on the way.
    Notes(WorkId),
    /// Members of a unique name, oldest first.
    Name {
        name: Arc<str>,
        /// How many at the most.
        limit: usize,
    },
    /// All members of a unique name for which no other member waits, oldest first.
    Leaves(Arc<str>),
    /// The oldest member of a unique name that is enqueued or runs.
    Holder(Arc<str>),
    /// Works that wait for this one directly, in order of their ids.
    Dependents {
        /// This one.
        of: WorkId,
        /// Only those behind this id.
        after: Option<WorkId>,
        /// How many at the most.
        limit: usize,
    },
    /// As `Dependents`, and for each of them that has neither failed nor been cancelled again, breadth first, until the lists hold
    /// `limit` works, each as often as it is reached.
    Descendants {
        /// This one.
        of: WorkId,
        /// Only direct dependents behind this id.
        after: Option<WorkId>,
        /// How many at the most.
        limit: usize,
    },
    /// As `Descendants` of all its dependents, but behind those that have failed, and no others.
    FailedBehind {
        /// This one.
        of: WorkId,
        /// How many at the most.
        limit: usize,
    },
    /// Delayed work that is due by the store time of the plan, or by the wall clock as it stands there, and when the next is.
    Due {
        /// How many at the most.
        limit: usize,
    },
    /// Work that could run in a lane, in the order in which it should.
    Ready {
        lane: LaneId,
        /// The suspects, or the others.
        suspects: Suspects,
        /// How many at the most.
        limit: usize,
    },
    /// This lane, if there is one.
    Lane {
        /// The worker's name.
        worker: Arc<str>,
        /// The constraints.
        constraints: Constraints,
        /// Whether its work goes first.
        urgency: Urgency,
    },
    /// All lanes.
    Lanes,
    /// The lane of this number, if there is one.
    LaneOf(LaneId),
    /// What is wanted of gates.
    GateSettings,
    /// What goes on at a gate, or that nothing does.
    Gate(GateId),
    /// Work of a lane that is held at a gate, in the order in which it should run.
    Held {
        gate: GateId,
        lane: LaneId,
        /// How many at the most.
        limit: usize,
    },
    /// The gates that hold works, this one and those behind it, in order.
    Holding {
        from: GateId,
        /// How many at the most.
        limit: usize,
    },
    /// The works of a serial lane that have not finished, in the order in which they were enqueued.
    Serial {
        gate: GateId,
        /// How many at the most.
        limit: usize,
    },
    /// The gates that have to be looked at again, and when the next has to.
    Openings {
        /// How many at the most.
        limit: usize,
    },
    /// All claimed work.
    Claims,
    /// Claimed work of one manager.
    Running {
        epoch: u64,
        /// How many at the most.
        limit: usize,
    },
    /// Claimed work of managers that are not attached.
    DeadClaims {
        /// How many at the most.
        limit: usize,
    },
    /// Unfinished work of a selection.
    Selected {
        /// The selection.
        selector: SelectorWanted,
        /// Only works born before this number.
        before: u64,
        /// Only entries behind this one.
        after: Option<IndexKey>,
        /// How many at the most.
        limit: usize,
    },
    /// Finished work, by the time until which it asked to be kept.
    Finished {
        /// Only work that asked to be kept until then at the latest.
        until: Timestamp,
        /// Only entries behind this one.
        after: Option<IndexKey>,
        /// How many at the most.
        limit: usize,
    },
    /// The entry of the first finished work behind this one, without its record.
    FinishedEntry {
        /// This one.
        after: Option<IndexKey>,
    },
    /// All cascades, in line.
    Cascades,
}

impl Want {
    /// The first members of a unique name.
    pub(super) fn members(name: &Arc<str>, limit: usize) -> Self {
        Want::Name { name: Arc::clone(name), limit }
    }

    pub(super) fn all_members(name: &Arc<str>) -> Self {
        Want::members(name, usize::MAX)
    }

    /// Whether a store finds it in its index; everything else lies under a key.
    #[must_use]
    pub const fn is_found_by_scan(&self) -> bool {
        match self {
            Want::Work(_)
            | Want::Spec(_)
            | Want::Notes(_)
            | Want::Lane { .. }
            | Want::Lanes
            | Want::LaneOf(_)
            | Want::GateSettings
            | Want::Gate(_)
            | Want::Cascades => false,
            Want::Name { .. }
            | Want::Leaves(_)
            | Want::Holder(_)
            | Want::Dependents { .. }
            | Want::Descendants { .. }
            | Want::FailedBehind { .. }
            | Want::Due { .. }
            | Want::Ready { .. }
            | Want::Running { .. }
            | Want::DeadClaims { .. }
            | Want::Selected { .. }
            | Want::Finished { .. }
            | Want::FinishedEntry { .. }
            | Want::Held { .. }
            | Want::Holding { .. }
            | Want::Serial { .. }
            | Want::Openings { .. }
            | Want::Claims => true,
        }
    }
}

/// A [`WorkSelector`] of several works, with an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SelectorWanted {
    /// All with this tag.
    Tag(Arc<str>),
    /// All under this unique name.
    Unique(Arc<str>),
    /// All there are.
    All,
}

impl SelectorWanted {
    /// The selection, unless it is a single work.
    pub(super) fn of(selector: &WorkSelector) -> Result<Self, WorkId> {
        match selector {
            WorkSelector::Id(id) => Err(*id),
            WorkSelector::Tag(tag) => Ok(SelectorWanted::Tag(Arc::clone(tag))),
            WorkSelector::Unique(name) => Ok(SelectorWanted::Unique(Arc::clone(name))),
            WorkSelector::All => Ok(SelectorWanted::All),
        }
    }
}

/// What was loaded for a want that is a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// The works, in the order of the index.
    pub ids: Vec<WorkId>,
    /// The last entry that was looked at, if there may be more behind it.
    pub next: Option<IndexKey>,
    /// Of `Due`: when the first works that are not due yet will be. Of `Finished`: until when the first work behind `until` asked to
    /// be kept.
    pub next_due: NextDue,
    /// Of `Openings`: the gates that have to be looked at again now. Of `Holding`: those gates.
    pub gates: Vec<GateId>,
    /// Of `Dependents`: how many more there are of which nobody knows where they stand.
    pub unknown: usize,
}

/// What a store has loaded for one command. A plan sees nothing else.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The store's own row.
    pub meta: Meta,
    /// Records, and that there is none.
    pub works: ById<Option<WorkRecord>>,
    /// What requests said.
    pub specs: ById<Arc<WorkSpec>>,
    /// What workers said on the way.
    pub notes: ById<Notes>,
    /// What was loaded for each want that is a list.
    pub lists: Few<Want, List>,
    /// What was loaded for each `Want::Lane`, and under `Want::Lanes` nothing but the fact.
    pub lanes: Few<Want, Vec<Lane>>,
    /// All cascades in line, once they were asked for.
    pub cascades: Option<Vec<Cascade>>,
    /// What is wanted of gates, once it was asked for.
    pub settings: Option<Arc<GateSettings>>,
    /// What goes on at gates, and that nothing does.
    pub gates: BTreeMap<GateId, Option<GateRow>>,
    /// Those of them of which nobody can read what goes on there. Nothing passes them, and nothing is counted there.
    pub lost_gates: BTreeSet<GateId>,
}

/// Why a plan stops half-way: it must see more, or it says no.
#[derive(Debug)]
pub(super) enum Halt {
    Load(Scope),
    Refuse(Refusal),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Halt::Refuse(refusal)
    }
}

impl From<Want> for Halt {
    fn from(want: Want) -> Self {
        Halt::Load(want.into())
    }
}

impl Snapshot {
    /// Whether this was loaded.
    #[must_use]
    pub fn has(&self, want: &Want) -> bool {
        match want {
            Want::Work(id) => self.works.contains_key(id),
            Want::Spec(id) => self.specs.contains_key(id) || matches!(self.works.get(id), Some(None)),
            Want::Notes(id) => self.notes.contains_key(id),
            Want::Lane { .. } | Want::Lanes | Want::LaneOf(_) => self.lanes.contains_key(want),
            Want::GateSettings => self.settings.is_some(),
            Want::Gate(id) => self.gates.contains_key(id),
            Want::Cascades => self.cascades.is_some(),
            _ => self.lists.contains_key(want),
        }
    }

    /// Stops the plan until all this is loaded.
    pub(super) fn require(&self, wants: impl IntoIterator<Item = Want>) -> Result<(), Halt> {
        let missing: Scope = wants.into_iter().filter(|want| !self.has(want)).collect();
        if missing.wants.is_empty() { Ok(()) } else { Err(Halt::Load(missing)) }
    }

    pub(super) fn work(&self, id: WorkId) -> Result<Option<&WorkRecord>, Halt> {
        self.works.get(&id).map(Option::as_ref).ok_or_else(|| Want::Work(id).into())
    }

    pub(super) fn spec(&self, id: WorkId) -> Result<&Arc<WorkSpec>, Halt> {
        self.specs.get(&id).ok_or_else(|| Want::Spec(id).into())
    }

    pub(super) fn list(&self, want: Want) -> Result<&List, Halt> {
        self.lists.get(&want).ok_or_else(|| want.into())
    }

    /// All cascades in line; none without asking if the meta row says so.
    pub(super) fn cascades(&self) -> Result<&[Cascade], Halt> {
        if self.meta.first_cascade == self.meta.next_cascade {
            return Ok(&[]);
        }
        self.cascades.as_deref().ok_or_else(|| Want::Cascades.into())
    }

    /// What is wanted of gates; nothing without asking if the meta row says so.
    pub(super) fn settings(&self) -> Result<Arc<GateSettings>, Halt> {
        if self.meta.gates.settings == 0 {
            return Ok(Arc::default());
        }
        self.settings.clone().ok_or_else(|| Want::GateSettings.into())
    }

    /// What goes on at a gate; nothing without asking if the meta row says so.
    pub(super) fn gate(&self, id: GateId) -> Result<Option<&GateRow>, Halt> {
        if self.meta.gates.rows == 0 {
            return Ok(None);
        }
        self.gates.get(&id).map(Option::as_ref).ok_or_else(|| Want::Gate(id).into())
    }

    /// Whether nobody can read what goes on at a gate.
    pub(super) fn is_lost(&self, gate: GateId) -> bool {
        self.lost_gates.contains(&gate)
    }

    /// The notes of a work; none without asking if its record says so.
    pub(super) fn notes_of(&self, record: &WorkRecord) -> Result<Notes, Halt> {
        if !record.rows.notes {
            return Ok(Notes::default());
        }
        self.notes.get(&record.id).cloned().ok_or_else(|| Want::Notes(record.id).into())
    }
}
