//! The gates that a plan looks at, as it leaves them.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::{GateStatus, Sweep};
use crate::index::rank;
use crate::plan::draft::Draft;
use crate::plan::view::Halt;
use crate::plan::{Hint, Write};
use crate::record::{
    Effective, GateId, GateRow, GateSettings, GateTarget, Passage, Rare, SerialPlace, Standing, WorkRecord, WorkSpec,
    targets_of,
};
use crate::time::Due;

/// The gates of a request, and its place in a serial lane.
type Gates = (Vec<GateId>, Option<SerialPlace>);

impl Draft<'_> {
    /// What is wanted of gates, as this plan leaves it.
    pub(in crate::plan) fn settings(&self) -> Result<Arc<GateSettings>, Halt> {
        self.gates.settings.clone().map_or_else(|| self.view.settings(), Ok)
    }

    /// Something else is wanted of these gates from now on. All that hold something are looked at in time, these at once.
    pub(in crate::plan) fn put_settings<'t>(
        &mut self,
        settings: GateSettings,
        targets: impl Iterator<Item = &'t GateTarget>,
    ) {
        self.meta.gates.settings = u32::try_from(settings.gates.len()).unwrap_or(u32::MAX);
        let settings = Arc::new(settings);
        self.write(Write::GateSettings(Arc::clone(&settings)));
        self.gates.settings = Some(settings);
        self.meta.gates.refill = Some(GateId(0));
        self.hint(Hint::Cascade);
        self.hint(Hint::Opened);
        targets.filter(|target| !matches!(target, GateTarget::Keys(_))).for_each(|target| self.touch(target));
    }

    /// The gate is to be looked at.
    pub(in crate::plan) fn touch(&mut self, target: &GateTarget) {
        self.know(target.clone());
        self.gates.touched.insert(target.id());
    }

    /// What a gate stands before that this plan has to do with.
    pub(in crate::plan) fn know(&mut self, target: GateTarget) {
        let id = target.id();
        // It may have been looked at before anybody knew.
        if let Some(row) = self.gates.rows.get_mut(&id).filter(|row| row.target.id() != id) {
            row.target = target.clone();
        }
        self.gates.targets.insert(id, target);
    }

    /// What is wanted of a gate and what goes on there.
    pub(in crate::plan) fn gate_status(&mut self, target: GateTarget) -> Result<GateStatus, Halt> {
        let (settings, id) = (self.settings()?, target.id());
        self.know(target.clone());
        let (passage, offset) = (passage(self, id)?, self.meta.clock_offset_ms);
        let row = self.gate(id)?;
        let Effective { limits, pause } = settings.of(&target);
        let opens = match passage {
            Passage::Shut(due) => due.map(|due| due.on_the_wall(offset)),
            Passage::Open(_) => None,
        };
        let is_occupied = matches!(target, GateTarget::Serial(_)) && (row.running > 0 || row.halted.is_some());
        Ok(GateStatus {
            setting: settings.gates.get(&target).cloned().unwrap_or_default(),
            limits,
            pause: pause.filter(|_| matches!(passage, Passage::Shut(_))).cloned(),
            running: row.running,
            holders: Vec::new(),
            held: row.held(),
            halted: row.halted,
            shut: is_occupied || matches!(passage, Passage::Shut(_)),
            opens,
            target,
        })
    }

    /// Whether nothing passes this gate for now, since somebody said so.
    pub(in crate::plan) fn is_paused(&mut self, gate: GateId) -> Result<bool, Halt> {
        let settings = self.settings()?;
        let (now, offset) = (self.now, self.meta.clock_offset_ms);
        let row = self.gate(gate)?;
        let pause = Effective { pause: settings.of(&row.target).pause, ..Effective::default() };
        let passage = pause.passage(0, row.bucket, now, |due| due.in_store_time(offset) <= now);
        Ok(matches!(passage, Passage::Shut(_)))
    }

    /// Time may have opened these.
    pub(in crate::plan) fn touch_due(&mut self, gates: &[GateId]) {
        self.gates.touched.extend(gates);
    }

    /// A work of this turn was claimed in a lane.
    pub(in crate::plan) fn claimed_turn(&mut self, record: &WorkRecord) {
        self.meta.gates.claimed = self.meta.gates.claimed.max(record.turn);
        if record.key_gate().is_some()
            && let Some(fair) = self.meta.gates.fair.get_mut(&(record.lane, rank(record.terms.priority)))
        {
            fair.turn = fair.turn.max(record.turn);
        }
    }

    /// Runs that these counted never began.
    pub(in crate::plan) fn return_tokens(&mut self, counted: &[GateId]) {
        self.gates.returned.extend(counted);
    }

    /// Goes through the gates whose settings have changed, as far as one commit may.
    pub(in crate::plan) fn sweep_gates(&mut self) {
        if self.meta.gates.refill.is_some() {
            self.gates.sweep = Sweep::Yes;
        }
    }

    /// What goes on at a gate, as this plan leaves it.
    pub(in crate::plan) fn gate(&mut self, id: GateId) -> Result<&mut GateRow, Halt> {
        match self.gates.rows.entry(id) {
            Entry::Occupied(row) => Ok(row.into_mut()),
            Entry::Vacant(place) => {
                let target = || self.gates.targets.get(&id).cloned();
                // A gate that nobody knows is one of which nothing can be wanted: its works pass.
                let new = || GateRow { id, ..GateRow::new(target().unwrap_or(GateTarget::Name(Arc::default()))) };
                Ok(place.insert(self.view.gate(id)?.cloned().unwrap_or_else(new)))
            }
        }
    }

    /// The gates of a work of this request: its key, and the tags and the name of which something is wanted.
    pub(in crate::plan) fn gates_of(&mut self, spec: &WorkSpec) -> Result<Option<Gates>, Halt> {
        let is_wanted = self.gates.settings.is_some() || self.meta.gates.settings > 0;
        if !is_wanted && spec.limit_key.is_none() && spec.serial.is_none() {
            return Ok(None);
        }
        let settings = self.settings()?;
        let key = spec.limit_key.clone().map(GateTarget::Key);
        let labels = settings.of_labels(&spec.tags, spec.name.as_ref()).cloned();
        let targets: Vec<GateTarget> = key.into_iter().chain(labels).collect();
        let gates = targets.iter().map(GateTarget::id).collect();
        let serial = spec.serial.as_ref().map(|serial| {
            let target = GateTarget::Serial(Arc::clone(&serial.lane));
            let place = SerialPlace { gate: target.id(), on_failure: serial.on_failure, is_out: false };
            self.know(target);
            place
        });
        targets.into_iter().for_each(|target| self.know(target));
        Ok(Some((gates, serial)))
    }

    /// The record with the gates of this request.
    pub(in crate::plan) fn gated(&mut self, record: WorkRecord, spec: &WorkSpec) -> Result<WorkRecord, Halt> {
        match self.gates_of(spec)? {
            None if !record.is_gated() => Ok(record),
            gates => {
                let (gates, serial) = gates.unwrap_or_default();
                let before = record.rare.as_ref().and_then(|rare| rare.serial);
                let is_out = |serial: &SerialPlace| before.is_some_and(|at| at.is_out && at.gate == serial.gate);
                let serial = serial.map(|serial| SerialPlace { is_out: is_out(&serial), ..serial });
                Ok(record.with_rare(|rare| Rare { gates, serial, ..rare }))
            }
        }
    }
}

/// Sees to it that it is known what the gates of this record stand before.
pub(super) fn name_gates(draft: &mut Draft<'_>, record: &WorkRecord) -> Result<(), Halt> {
    if knows_all_gates(draft, record)? {
        return Ok(());
    }
    // Also those of which nothing is wanted any more: something may be again.
    let spec = draft.spec_of(record.id)?;
    targets_of(&spec).for_each(|target| draft.know(target));
    Ok(())
}

/// As [`name_gates`], of a record as it is stored, whose request the plan may replace.
pub(super) fn name_stored_gates(draft: &mut Draft<'_>, record: &WorkRecord) -> Result<(), Halt> {
    if knows_all_gates(draft, record)? {
        return Ok(());
    }
    let spec = Arc::clone(draft.view.spec(record.id)?);
    targets_of(&spec).for_each(|target| draft.know(target));
    Ok(())
}

fn knows_all_gates(draft: &Draft<'_>, record: &WorkRecord) -> Result<bool, Halt> {
    for gate in all_gates(record) {
        if draft.view.gate(gate)?.is_none() && !draft.gates.targets.contains_key(&gate) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All gates that have to do with a record.
pub(super) fn all_gates(record: &WorkRecord) -> impl Iterator<Item = GateId> + '_ {
    let held = match record.standing {
        Standing::Held { gate, .. } => Some(gate),
        _ => None,
    };
    let serial = record.rare.as_ref().and_then(|rare| rare.serial).map(|serial| serial.gate);
    serial.into_iter().chain(held).chain(record.gates().iter().chain(record.counted()).copied())
}

/// The gates from this one on are looked at by a later commit.
pub(super) fn sweep_later(draft: &mut Draft<'_>, gate: GateId) {
    let from = draft.meta.gates.refill.map_or(gate, |from| from.min(gate));
    draft.meta.gates.refill = Some(from);
    draft.hint(Hint::Cascade);
}

/// How many works a gate shows in each lane.
pub(super) fn room(draft: &mut Draft<'_>, gate: GateId) -> Result<usize, Halt> {
    Ok(match passage(draft, gate)? {
        Passage::Open(room) => room,
        Passage::Shut(_) => 0,
    })
}

pub(super) fn passage(draft: &mut Draft<'_>, gate: GateId) -> Result<Passage, Halt> {
    let (settings, now, offset) = (draft.settings()?, draft.now, draft.meta.clock_offset_ms);
    let (view, row) = (draft.view, draft.gate(gate)?);
    if view.is_lost(gate) {
        return Ok(Passage::Shut(None));
    }
    let has_come = |due: Due| due.in_store_time(offset) <= now;
    Ok(effective(&settings, row).passage(row.running, row.bucket, now, has_come))
}

/// Of a serial lane only a pause counts: how many run there at once is never in question.
pub(super) fn effective<'s>(settings: &'s GateSettings, row: &GateRow) -> Effective<'s> {
    let effective = settings.of(&row.target);
    match row.target {
        GateTarget::Serial(_) => Effective { pause: effective.pause, ..Effective::default() },
        _ => effective,
    }
}
