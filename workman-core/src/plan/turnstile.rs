//! [`Turnstile`]: what gates let begin in one claim.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::Draft;
use super::view::{Halt, Want};
use super::{Claim, GATE_LIMIT};
use crate::id::WorkId;
use crate::record::{
    Effective, GateId, GateSettings, GateTarget, LaneId, Passage, Rare, SerialPlace, Standing, WorkRecord, WorkSpec,
    targets_of,
};
use crate::time::{Due, NextDue};

/// The most gates that one claim looks at because their time has come.
const OPENINGS: Want = Want::Openings { limit: 64 };

/// What gates let begin in one claim.
pub(super) struct Turnstile {
    settings: Arc<GateSettings>,
    /// The gates that shut each lane, those that count something or are shut.
    lanes: BTreeMap<LaneId, Vec<GateId>>,
    shut: BTreeSet<LaneId>,
    /// What this claim has let through.
    begun: BTreeMap<GateId, u32>,
    /// What still goes on in this process though the store knows nothing of it any more.
    beside: BTreeMap<GateId, u32>,
    /// When the next gate has to be looked at.
    next_due: NextDue,
    /// Whether something was held that stood in the way of others.
    pub(super) held: usize,
}

/// What gates say to one work.
pub(super) enum Word {
    /// It may begin, and these count it.
    Begin(Vec<GateId>),
    /// Its whole lane is shut, or its gate but for what goes on beside the store: it stays where it is.
    Wait,
    /// This gate holds it, one of these.
    Hold(Vec<GateId>, GateId),
}

impl Turnstile {
    /// Looks at the gates that shut lanes, and lets those open whose time has come. None if there are no gates.
    pub(super) fn new(draft: &mut Draft<'_>, claim: &Claim) -> Result<Option<Self>, Halt> {
        let gates = &draft.meta.gates;
        if gates.settings == 0 && gates.rows == 0 && gates.passing.is_empty() {
            return Ok(None);
        }
        let settings = draft.settings()?;
        let mut beside = BTreeMap::new();
        for gate in &claim.barred.gates {
            *beside.entry(*gate).or_default() += 1;
        }
        let (lanes, shut, begun) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let mut turnstile = Turnstile { settings, lanes, shut, begun, beside, next_due: NextDue::default(), held: 0 };
        turnstile.open_what_is_due(draft)?;
        if turnstile.settings.gates.keys().any(GateTarget::shuts_lanes) {
            turnstile.look_at_lanes(draft, claim)?;
        }
        Ok(Some(turnstile))
    }

    fn open_what_is_due(&mut self, draft: &mut Draft<'_>) -> Result<(), Halt> {
        if draft.meta.gates.openings > 0 {
            let list = draft.view.list(OPENINGS)?;
            draft.touch_due(&list.gates);
            self.next_due = list.next_due;
        }
        Ok(())
    }

    fn look_at_lanes(&mut self, draft: &mut Draft<'_>, claim: &Claim) -> Result<(), Halt> {
        let lanes: BTreeSet<LaneId> =
            claim.lanes.iter().map(|open| open.lane).chain(claim.watched.iter().copied()).collect();
        draft.view.require(lanes.iter().map(|lane| Want::LaneOf(*lane)))?;
        for lane in lanes {
            let Some(of) = draft.view.lanes.get(&Want::LaneOf(lane)).and_then(|found| found.first()) else { continue };
            let targets = [GateTarget::Everything, GateTarget::Worker(Arc::clone(&of.worker))];
            for target in targets.into_iter().filter(|target| self.settings.gates.contains_key(target)) {
                let gate = target.id();
                draft.know(target);
                self.lanes.entry(lane).or_default().push(gate);
                if self.room(draft, gate)? == 0 {
                    self.shut.insert(lane);
                }
            }
        }
        Ok(())
    }

    /// Whether nothing of this lane may begin.
    pub(super) fn is_shut(&self, lane: LaneId) -> bool {
        self.shut.contains(&lane)
    }

    /// How many works of a lane are read of which so many are of use: where a gate may stand before any of them, more.
    pub(super) fn reach(&self, of_use: usize) -> usize {
        let is_label = |target: &GateTarget| matches!(target, GateTarget::Tag(_) | GateTarget::Name(_));
        if self.settings.gates.keys().any(is_label) { of_use.max(GATE_LIMIT) } else { of_use }
    }

    /// Asks at once for what [`ask`](Self::ask) will look at.
    pub(super) fn foresee<'r>(
        &self,
        draft: &Draft<'_>,
        works: impl Iterator<Item = (&'r WorkRecord, &'r WorkSpec)>,
    ) -> Result<(), Halt> {
        if draft.view.meta.gates.rows == 0 {
            return Ok(());
        }
        let mut gates = BTreeSet::new();
        for (record, spec) in works {
            gates.extend(record.gates());
            gates.extend(record.rare.as_ref().and_then(|rare| rare.serial).map(|serial| serial.gate));
            gates.extend(self.settings.of_labels(&spec.tags, spec.name.as_ref()).map(GateTarget::id));
        }
        draft.view.require(gates.into_iter().map(Want::Gate))
    }

    /// The works that pass all gates at their next run, as far as they may begin. Those that are gone or run pass nothing any more.
    pub(super) fn passing(&self, draft: &mut Draft<'_>) -> Result<Vec<WorkRecord>, Halt> {
        let ids: Vec<WorkId> = draft.meta.gates.passing.iter().copied().collect();
        draft.view.require(ids.iter().flat_map(|id| [Want::Work(*id), Want::Spec(*id)]))?;
        let mut passing = Vec::new();
        for id in ids {
            match draft.work(id)? {
                Some(record) if matches!(record.standing, Standing::Ready { .. } | Standing::Held { .. }) => {
                    passing.push(record.clone());
                }
                Some(record) if matches!(record.standing, Standing::Waiting { .. }) => {}
                _ => drop(draft.meta.gates.passing.remove(&id)),
            }
        }
        Ok(passing)
    }

    /// What the gates of a work say to it. If they let it begin, they count it from now on.
    pub(super) fn ask(&mut self, draft: &mut Draft<'_>, record: &WorkRecord, spec: &WorkSpec) -> Result<Word, Halt> {
        let lanes = self.lanes.get(&record.lane).cloned().unwrap_or_default();
        let passes = draft.meta.gates.passing.remove(&record.id);
        for gate in lanes.iter().filter(|_| !passes) {
            if self.room(draft, *gate)? == 0 {
                return Ok(Word::Wait);
            }
        }
        if record.is_gated() {
            targets_of(spec).for_each(|target| draft.know(target));
        }
        let mut gates = record.gates().to_vec();
        let labels: Vec<GateTarget> = self.settings.of_labels(&spec.tags, spec.name.as_ref()).cloned().collect();
        for target in labels {
            let gate = target.id();
            draft.know(target);
            if !gates.contains(&gate) {
                gates.push(gate);
            }
        }
        let serial = record.rare.as_ref().and_then(|rare| rare.serial).map(|serial| serial.gate);
        if let Some(serial) = serial.filter(|_| !passes)
            && draft.is_paused(serial)?
        {
            return Ok(Word::Hold(gates, serial));
        }
        for gate in gates.clone() {
            if !passes && self.room(draft, gate)? == 0 {
                let beside = self.beside.remove(&gate);
                let is_full = self.room(draft, gate)? == 0;
                self.beside.extend(beside.map(|count| (gate, count)));
                // By what the store counts it is open, and would show at once what is held there.
                return Ok(if is_full { Word::Hold(gates, gate) } else { Word::Wait });
            }
        }
        gates.extend(lanes);
        for gate in &gates {
            self.let_through(draft, *gate)?;
        }
        Ok(Word::Begin(gates))
    }

    /// When something may begin that may not now: the next lane opens, or the next gate has to be looked at.
    pub(super) fn next_due(&self, draft: &mut Draft<'_>) -> Result<NextDue, Halt> {
        let mut next = draft.gates.next_due.iter().fold(self.next_due, NextDue::and);
        for gate in self.lanes.values().flatten().collect::<BTreeSet<_>>() {
            if let Passage::Shut(due) = self.passage(draft, *gate)? {
                next = due.into_iter().fold(next, NextDue::and);
            }
        }
        Ok(next)
    }

    fn room(&self, draft: &mut Draft<'_>, gate: GateId) -> Result<usize, Halt> {
        Ok(match self.passage(draft, gate)? {
            Passage::Open(room) => room,
            Passage::Shut(_) => 0,
        })
    }

    fn passage(&self, draft: &mut Draft<'_>, gate: GateId) -> Result<Passage, Halt> {
        let (now, offset) = (draft.now, draft.meta.clock_offset_ms);
        let (view, row) = (draft.view, draft.gate(gate)?);
        if view.is_lost(gate) {
            return Ok(Passage::Shut(None));
        }
        let count = |of: &BTreeMap<GateId, u32>| of.get(&gate).copied().unwrap_or(0);
        let running = row.running.saturating_add(count(&self.begun)).saturating_add(count(&self.beside));
        let effective: Effective<'_> = self.settings.of(&row.target);
        Ok(effective.passage(running, row.bucket, now, |due: Due| due.in_store_time(offset) <= now))
    }

    fn let_through(&mut self, draft: &mut Draft<'_>, gate: GateId) -> Result<(), Halt> {
        let begun = self.begun.entry(gate).or_default();
        *begun = begun.saturating_add(1);
        let now = draft.now;
        let row = draft.gate(gate)?;
        if let Some(rate) = self.settings.of(&row.target).limits.rate {
            row.bucket = rate.take(row.bucket, now);
        }
        Ok(())
    }

    /// The work is held at this gate from now on.
    pub(super) fn hold(&mut self, draft: &mut Draft<'_>, record: &WorkRecord, gates: Vec<GateId>, gate: GateId) {
        let (Some(since), Some(why)) = (record.next_run(), record.wait()) else { return };
        self.held += 1;
        let serial = |rare: &Rare| rare.serial.map(|serial| SerialPlace { is_out: serial.gate != gate, ..serial });
        let record = record.clone().with_rare(|rare| Rare { gates, serial: serial(&rare), ..rare });
        draft.put(record.standing_at(Standing::Held { gate, since, why }));
    }
}
