//! Periodic work: when the next period begins.
//!
//! Attempts belong to one period. A period that succeeds at once begins the next one interval after its completion
//! (PER-3); one that needed retries keeps to its regular time, so that failures do not push the series out. A missed
//! regular time is made up for once, now, and never twice.

use super::Write;
use super::draft::Draft;
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
/// as it began, poisoned work stays parked, and work that was parked for its input tries the new one. A wait that is neither
/// the period's own nor its policy's stays: a program that says `Update` at every start would else forgive a suspect each time.
pub(super) fn reschedule(draft: &mut Draft<'_>, before: &WorkRecord, record: WorkRecord) {
    let Some(period) = record.period else { return draft.put(record) };
    let due = match record.terms.schedule.interval() {
        Some(interval) if period.count > 0 => period.anchor + interval,
        _ => period.anchor + record.terms.initial_delay,
    };
    let wait = wait_of(before, &period);
    let record = WorkRecord { period: Some(Period { due, ..period }), ..record };
    match (&record.standing, wait) {
        (Standing::Running { .. } | Standing::Parked { why: ParkReason::Poisoned { .. } }, _) => draft.put(record),
        (_, Wait::Other(until)) => {
            draft.line_up_in_turn(record, until);
        }
        (_, Wait::Backoff { ended }) => {
            let next_run = ended + record.terms.backoff.delay_after(record.failures);
            draft.line_up(record, next_run);
        }
        (_, Wait::Period) => {
            draft.line_up(record, due);
        }
    }
}

/// What periodic work waits for.
enum Wait {
    /// The regular time of its period.
    Period,
    /// The end of the backoff that its policy asks for.
    Backoff { ended: Timestamp },
    /// What an attempt asked for, or its deaths, or nothing any more: it was stopped.
    Other(Timestamp),
}

/// The record does not say what it waits for, but each kind of wait has its own time.
fn wait_of(record: &WorkRecord, period: &Period) -> Wait {
    let backoff = record.ended.filter(|_| record.failures > 0);
    match record.standing {
        Standing::Waiting { due: at } | Standing::Ready { since: at } if record.is_suspect() => Wait::Other(at),
        Standing::Waiting { due: at } | Standing::Ready { since: at } => match backoff {
            Some(ended) if at == ended + record.terms.backoff.delay_after(record.failures) => Wait::Backoff { ended },
            _ if at == period.due => Wait::Period,
            _ => Wait::Other(at),
        },
        _ => backoff.map_or(Wait::Period, |ended| Wait::Backoff { ended }),
    }
}
