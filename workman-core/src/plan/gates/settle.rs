//! The last step of a plan: what it has moved is counted, what has come is admitted, and what may go on is let on.

use super::count::{count, give_back};
use super::fill::{fill, foresee, sweep};
use super::line::{admit, take_turns};
use super::row::effective;
use super::serial::end_lanes;
use super::{GateDraft, Sweep};
use crate::plan::draft::Draft;
use crate::plan::view::Halt;
use crate::plan::{Applied, GATE_LIMIT, Hint, Plan, Write};
use crate::record::{GateRow, Passage, WorkRecord};
use crate::time::Due;

/// Whether a plan has to do with gates at all.
fn is_concerned(draft: &Draft<'_>) -> bool {
    let GateDraft { targets, touched, sweep, .. } = &draft.gates;
    let is_told = draft.meta.gates.rows > 0 || !targets.is_empty() || !touched.is_empty() || *sweep == Sweep::Yes;
    is_told || draft.moved().any(WorkRecord::is_gated)
}

impl Draft<'_> {
    /// The finished plan.
    pub(in crate::plan) fn done(mut self, applied: Applied) -> Result<Plan, Halt> {
        self.settle_gates()?;
        Ok(self.written(applied))
    }

    /// Counts what this plan has moved, admits what has come, and lets on what may go on. Nothing moves after it.
    pub(in crate::plan) fn settle_gates(&mut self) -> Result<(), Halt> {
        if self.gates.is_settled || !is_concerned(self) {
            return Ok(());
        }
        self.gates.is_settled = true;
        self.gates.left = GATE_LIMIT;
        end_lanes(self)?;
        let mut arrivals = count(self)?;
        give_back(self)?;
        take_turns(self, &mut arrivals)?;
        admit(self, arrivals)?;
        sweep(self)?;
        let touched = self.gates.touched.clone();
        foresee(self, &touched)?;
        for gate in touched {
            fill(self, gate)?;
        }
        write(self)
    }
}

fn write(draft: &mut Draft<'_>) -> Result<(), Halt> {
    let fair = &mut draft.meta.gates.fair;
    fair.retain(|_, lane| lane.waiting > 0);
    let (view, settings) = (draft.view, draft.settings()?);
    let rows = std::mem::take(&mut draft.gates.rows).into_iter();
    for (id, mut row) in rows.filter(|(id, _)| !view.is_lost(*id)) {
        row.lanes.retain(|_, lane| lane.shown > 0 || lane.held > 0);
        row.opens = opens(draft, &row)?;
        let before = draft.view.gate(id)?;
        let is_idle = row.is_idle(draft.now);
        let openings = |row: &GateRow| u64::from(row.opens.is_some());
        let (rows, opening) = before.map_or((0, 0), |row| (1, openings(row)));
        let (rows_after, opening_after) = if is_idle { (0, 0) } else { (1, openings(&row)) };
        let meta = &mut draft.meta.gates;
        meta.rows = meta.rows.saturating_add(rows_after).saturating_sub(rows);
        meta.openings = meta.openings.saturating_add(opening_after).saturating_sub(opening);
        if let Some(due) = row.opens.filter(|_| !is_idle) {
            draft.gates.next_due = draft.gates.next_due.and(due);
            draft.hint(Hint::Due(due));
        }
        let is_free_again = |before: &GateRow| {
            let most = settings.of(&row.target).limits.at_once.unwrap_or(u32::MAX);
            row.target.shuts_lanes() && before.running >= most && row.running < most
        };
        if before.is_some_and(is_free_again) {
            // Another manager may have found its lanes shut.
            draft.hint(Hint::Opened);
        }
        match before {
            None if is_idle => {}
            Some(_) if is_idle => draft.write(Write::GateIdle(id)),
            Some(before) if *before == row => {}
            _ => draft.write(Write::Gate(row)),
        }
    }
    Ok(())
}

/// When a gate has to be looked at though nothing happens: a failure that ends its lane has not reached all, time opens it for what it
/// holds, or time fills its bucket, and then nothing goes on there any more.
fn opens(draft: &Draft<'_>, row: &GateRow) -> Result<Option<Due>, Halt> {
    let (settings, offset) = (draft.settings()?, draft.meta.clock_offset_ms);
    if row.ends_before.is_some() {
        return Ok(Some(Due::Store(draft.now)));
    }
    if row.held() > 0 {
        let has_come = |due: Due| due.in_store_time(offset) <= draft.now;
        return Ok(match effective(&settings, row).passage(row.running, row.bucket, draft.now, has_come) {
            Passage::Shut(due) => due,
            Passage::Open(_) => None,
        });
    }
    let is_quiet = GateRow { bucket: Default::default(), ..row.clone() }.is_idle(draft.now);
    Ok((is_quiet && row.bucket.full() > draft.now).then(|| Due::Store(row.bucket.full())))
}
