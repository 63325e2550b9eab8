//! Periodic work: when the next period begins.
//!
//! Attempts belong to one period. A period that succeeds at once begins the next one interval after its completion
//! (PER-3); one that needed retries keeps to its regular time, so that failures do not push the series out. A missed
//! regular time is made up for once, now, and never twice.

use super::Write;
use super::draft::Draft;
use super::recover::wait_as_suspect;
use crate::record::{ParkReason, Period, RowsPresent, Standing, WorkRecord};
use crate::time::Timestamp;

/// When the period after this one is regularly due, whatever happens in this one.
pub(super) fn regular_due(record: &WorkRecord, period: &Period) -> Timestamp {
    record.terms.schedule.interval().map_or(Timestamp::MAX, |interval| period.due + interval)
}

/// Ends the period well.
pub(super) fn succeed(draft: &mut Draft<'_>, record: &WorkRecord, period: &Period) -> WorkRecord {
    let due = match record.terms.schedule.interval() {
        Some(interval) if record.failures == 0 => draft.now + interval,
        _ => regular_due(record, period),
    };
    begin_next(draft, record, period, due)
}

/// Ends the period badly: the series goes on.
pub(super) fn fail(draft: &mut Draft<'_>, record: &WorkRecord, period: &Period) -> WorkRecord {
    begin_next(draft, record, period, regular_due(record, period))
}

fn begin_next(draft: &mut Draft<'_>, record: &WorkRecord, period: &Period, due: Timestamp) -> WorkRecord {
    let due = due.max(draft.now);
    let anchor = record.terms.schedule.interval().map_or(draft.now, |interval| due - interval);
    if record.rows.notes {
        draft.write(Write::Notes(record.id, None));
    }
    let next = WorkRecord {
        enqueued: draft.now,
        failures: 0,
        deaths: 0,
        period: Some(Period { count: period.count + 1, due, anchor }),
        rows: RowsPresent { notes: false, ..record.rows },
        ..record.clone()
    };
    draft.line_up(next, due)
}

/// Puts updated work where its new terms want it; counters and the place in the series stay (UPD-2, UPD-5). A run goes on
/// as it began, poisoned work stays parked, and work that was parked for its input tries the new one.
pub(super) fn reschedule(draft: &mut Draft<'_>, record: WorkRecord) {
    let Some(period) = record.period else { return draft.put(record) };
    let due = match record.terms.schedule.interval() {
        Some(interval) if period.count > 0 => period.anchor + interval,
        _ => period.anchor + record.terms.initial_delay,
    };
    let record = WorkRecord { period: Some(Period { due, ..period }), ..record };
    let next_run = match record.ended {
        // Programs update at every start, so an update must not let a work that kills its process loose at once.
        Some(ended) if record.is_suspect() => due.max(ended + wait_as_suspect(&record).unwrap_or_default()),
        Some(ended) if record.failures > 0 => ended + record.terms.backoff.delay_after(record.failures),
        _ => due,
    };
    match record.standing {
        Standing::Running { .. } | Standing::Parked { why: ParkReason::Poisoned { .. } } => draft.put(record),
        _ => {
            draft.line_up(record, next_run);
        }
    }
}
