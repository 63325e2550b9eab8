//! [`Dump`]: everything that a store holds, and what must hold in it at every commit, whatever happened before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gate_tally::GateTally;
use crate::id::WorkId;
use crate::index::{IndexKey, label_keys, member_keys, serial_key, standing_key};
use crate::record::{
    Finish, GateId, GateMeta, GateRow, GateSettings, Lane, LaneId, Meta, Standing, Tally, WorkRecord, WorkSpec,
};
use crate::state::WorkState;

/// Everything that a store holds, for the invariants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dump {
    /// The store's own row.
    pub meta: Meta,
    /// Records by id.
    pub records: BTreeMap<WorkId, WorkRecord>,
    /// What requests said.
    pub specs: BTreeMap<WorkId, Arc<WorkSpec>>,
    /// All lanes.
    pub lanes: Vec<Lane>,
    /// What goes on at gates.
    pub gates: BTreeMap<GateId, GateRow>,
    /// What is wanted of gates.
    pub settings: Arc<GateSettings>,
    /// How many works stand where, by lane.
    pub tallies: BTreeMap<LaneId, Tally>,
    /// All index entries.
    pub index: BTreeSet<IndexKey>,
}

impl Dump {
    /// Holds everything against everything else, and answers one sentence for each thing that is wrong.
    #[must_use]
    pub fn broken_invariants(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        check_indexes(self, &mut wrong);
        check_numbers(self, &mut wrong);
        check_followers(self, &mut wrong);
        check_gates(self, &mut wrong);
        check_tallies(self, &mut wrong);
        for record in self.records.values() {
            check_record(self, record, &mut wrong);
        }
        wrong
    }
}

/// Every index follows from the records, and holds nothing else.
fn check_indexes(dump: &Dump, wrong: &mut Vec<String>) {
    let mut keys: Vec<IndexKey> = dump.records.values().map(standing_key).collect();
    keys.extend(dump.records.values().filter_map(serial_key));
    keys.extend(dump.gates.values().filter_map(|gate| Some(IndexKey::Opens { due: gate.opens?, gate: gate.id })));
    for (id, spec) in &dump.specs {
        match dump.records.get(id) {
            Some(record) => {
                keys.extend(label_keys(*id, record.seq, spec));
                keys.extend(spec.name.iter().flat_map(|name| member_keys(record, name)));
            }
            None => wrong.push(format!("{id} has a spec and no record")),
        }
    }
    // At once, since a set is made faster from all than from one after the other.
    let expected = BTreeSet::from_iter(keys);
    if expected == dump.index {
        return;
    }
    let stored = |key: &&IndexKey| {
        // An edge from a work that was deleted goes with it, and its dependents keep the id in their spec.
        !matches!(key, IndexKey::Dependent { of, id } if prerequisite(dump, *id, *of).is_none())
    };
    for key in expected.iter().filter(stored).filter(|key| !dump.index.contains(key)) {
        wrong.push(format!("the index lacks {key:?}"));
    }
    for key in dump.index.difference(&expected) {
        wrong.push(format!("the index holds {key:?}, which follows from no record"));
    }
}

/// The work `of` that `id` waits for or waited for. None if it was deleted meanwhile, even if another work took its id: every
/// work is born after its prerequisites.
fn prerequisite(dump: &Dump, id: WorkId, of: WorkId) -> Option<&WorkRecord> {
    let born = dump.records.get(&id).map(|record| record.seq);
    dump.records.get(&of).filter(|record| born.is_some_and(|born| record.seq < born))
}

/// Numbers are handed out once, and those to come are greater. The store knows how much has finished.
fn check_numbers(dump: &Dump, wrong: &mut Vec<String>) {
    let finished = dump.records.values().filter(|record| record.counts_as_finished()).count();
    if dump.meta.finished != finished as u64 {
        wrong.push(format!(
            "the store counts {} finished works that nobody asked to keep, and has {finished}",
            dump.meta.finished
        ));
    }
    let mut births = BTreeMap::new();
    for record in dump.records.values() {
        if let Some(other) = births.insert(record.seq, record.id) {
            wrong.push(format!("{other} and {} have the same birth number {}", record.id, record.seq));
        }
        if record.seq.max(record.turn) >= dump.meta.next_seq {
            wrong.push(format!("{} has a number that was not handed out yet", record.id));
        }
        if !dump.lanes.iter().any(|lane| lane.id == record.lane) {
            wrong.push(format!("{} stands in lane {:?}, which does not exist", record.id, record.lane));
        }
    }
}

/// Each gate counts what the records say, and the store its gates.
fn check_gates(dump: &Dump, wrong: &mut Vec<String>) {
    let mut tally = GateTally::default();
    let works = dump.records.values().filter_map(|record| Some((record, dump.specs.get(&record.id)?)));
    works.for_each(|(record, spec)| tally.add(record, spec));
    wrong.extend(dump.gates.values().filter_map(|row| tally.hold_against(row)));
    wrong.extend(tally.hold_rest_against(&dump.meta.gates));
    let openings = dump.gates.values().filter(|gate| gate.opens.is_some()).count();
    wrong.extend(check_gate_numbers(
        &dump.meta.gates,
        (dump.settings.gates.len(), dump.gates.len() as u64, openings as u64),
    ));
}

/// The store knows of how many gates something is wanted, at how many something goes on, and how many of those open some time.
pub(super) fn check_gate_numbers(meta: &GateMeta, has: (usize, u64, u64)) -> Option<String> {
    let said = (meta.settings as usize, meta.rows, meta.openings);
    let wrong = || format!("the store counts {said:?} settings, rows and openings of gates, and has {has:?}");
    (said != has).then(wrong)
}

/// Each lane counts its works where they stand. A lane without works has no tally.
fn check_tallies(dump: &Dump, wrong: &mut Vec<String>) {
    let mut counted: BTreeMap<LaneId, Tally> = BTreeMap::new();
    for record in dump.records.values() {
        let tally = counted.entry(record.lane).or_default();
        *tally = tally.with(record);
    }
    for lane in counted.keys().chain(dump.tallies.keys()).collect::<BTreeSet<_>>() {
        let (found, said) = (counted.get(lane), dump.tallies.get(lane));
        if found != said {
            wrong.push(format!("lane {} counts its works as {said:?}, and has {found:?}", lane.0));
        }
    }
}

/// Each member of a unique name counts the other members that wait for it, or waited.
fn check_followers(dump: &Dump, wrong: &mut Vec<String>) {
    let mut followers: BTreeMap<WorkId, u32> = BTreeMap::new();
    let name_of = |id: &WorkId| dump.specs.get(id).and_then(|spec| spec.name.as_ref());
    for (id, spec) in dump.specs.iter().filter(|(_, spec)| spec.name.is_some()) {
        let awaited: BTreeSet<WorkId> = spec.prerequisites.ids.iter().copied().collect();
        for of in awaited.into_iter().filter(|of| name_of(of) == spec.name.as_ref()) {
            *followers.entry(of).or_default() += u32::from(prerequisite(dump, *id, of).is_some());
        }
    }
    for (id, record) in &dump.records {
        let counted = name_of(id).map(|_| followers.get(id).copied().unwrap_or(0));
        if record.followers != counted {
            wrong
                .push(format!("{id} counts {:?} members of its name behind it, and has {counted:?}", record.followers));
        }
    }
}

/// Checks one record, given its prerequisites.
pub(super) fn check_record(dump: &Dump, record: &WorkRecord, wrong: &mut Vec<String>) {
    let id = record.id;
    let Some(spec) = dump.specs.get(&id) else {
        wrong.push(format!("{id} has a record and no spec"));
        return;
    };
    if record.period.is_some() != record.terms.schedule.interval().is_some() {
        wrong.push(format!("{id} has a period and no schedule, or the other way round"));
    }
    if record.period.is_some() && matches!(record.state(), WorkState::Succeeded | WorkState::Failed) {
        wrong.push(format!("{id} is periodic and {}", record.state()));
    }
    if let Standing::Running { epoch } = record.standing
        && (record.fence == 0 || record.started.is_none() || epoch >= dump.meta.next_epoch)
    {
        wrong.push(format!("{id} runs, but nobody can have claimed it"));
    }
    if record.is_superseded() && spec.name.is_some() {
        wrong.push(format!("{id} has a unique name and is marked as one whose name newer work has taken"));
    }
    check_prerequisites(dump, record, &spec.prerequisites.ids, wrong);
    let finished_badly = matches!(record.standing, Standing::Finished { how: Finish::Failed | Finish::Cancelled, .. });
    if finished_badly && record.rows.output {
        wrong.push(format!("{id} is {} and has an output", record.state()));
    }
    if record.state().is_finished() && record.rows.notes {
        wrong.push(format!("{id} is {} and still has progress", record.state()));
    }
}

/// The counter of open prerequisites is true, and only blocked work has any, unless a cascade is still on its way.
fn check_prerequisites(dump: &Dump, record: &WorkRecord, ids: &[WorkId], wrong: &mut Vec<String>) {
    let id = record.id;
    if dump.meta.first_cascade < dump.meta.next_cascade {
        return;
    }
    let ids: BTreeSet<WorkId> = ids.iter().copied().collect();
    let state_of = |of: &WorkId| prerequisite(dump, id, *of).map(WorkRecord::state);
    let open = ids.iter().filter(|id| state_of(id).is_some_and(|state| state != WorkState::Succeeded)).count();
    match record.state() {
        WorkState::Blocked if open != record.open as usize || open == 0 => {
            wrong.push(format!("{id} counts {} open prerequisites, and has {open}", record.open));
        }
        WorkState::Blocked => {
            let over = |id: &WorkId| matches!(state_of(id), Some(WorkState::Failed | WorkState::Cancelled));
            if ids.iter().any(over) {
                wrong.push(format!("{id} is blocked, but a prerequisite has failed or was cancelled"));
            }
        }
        WorkState::Enqueued | WorkState::Running | WorkState::Succeeded if open > 0 => {
            wrong.push(format!("{id} is {}, but {open} prerequisites are open", record.state()));
        }
        _ => {}
    }
}
