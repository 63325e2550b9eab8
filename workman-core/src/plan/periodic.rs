//! Periodic work: when the next period begins.
//!
//! Attempts belong to one period. A period that succeeds at once begins the next one interval after its completion
//! (PER-3); one that needed retries keeps to its regular time, so that failures do not push the series out. A missed
//! regular time is made up for once, now, and never twice: a period that is late by an interval or more is that of the moment at
//! which it runs, so that its retries have all of an interval. An override of the next run goes before all of that (PER-6).

use super::draft::Draft;
use super::{NewWork, NextScheduleTime, Write};
use crate::record::{Period, RowsPresent, Terms, Wait, WorkRecord};
use crate::time::{Due, Timestamp};

/// Where new periodic work begins; none for work that runs once.
pub(super) fn first(draft: &Draft<'_>, work: &NewWork) -> Option<Period> {
    work.terms.schedule.interval()?;
    let period = Period { count: 0, due: draft.now, anchor: draft.now, next_run: None };
    let period = Period { due: due_from_anchor(&work.terms, &period), ..period };
    Some(overridden(period, work.next_schedule_time))
}

/// When new work is due, and what it waits for until that time.
pub(super) fn first_run(draft: &Draft<'_>, terms: &Terms, period: Option<&Period>) -> (Due, Wait) {
    match period {
        Some(Period { next_run: Some(wall), .. }) => (Due::Wall(*wall), Wait::Override),
        Some(period) => (Due::Store(period.due), regular_wait(terms, Some(period))),
        None => (after_delay(draft, terms, draft.now), Wait::Delay),
    }
}

/// When one-time work is due by its own delay, which counts from when it was enqueued or unblocked.
pub(super) fn after_delay(draft: &Draft<'_>, terms: &Terms, enqueued: Timestamp) -> Due {
    let delayed = Due::Store(enqueued + terms.initial_delay);
    if terms.run_at > Timestamp::MIN { draft.later(delayed, Due::Wall(terms.run_at)) } else { delayed }
}

/// What work waits for that waits for its delay, or for the regular time of its period.
pub(super) fn regular_wait(terms: &Terms, period: Option<&Period>) -> Wait {
    match period {
        Some(period) if period.count > 0 => Wait::Period,
        Some(_) if !terms.schedule.first_offset().is_zero() => Wait::FirstRun,
        _ => Wait::Delay,
    }
}

/// When the period is regularly due by these terms: the first after its delay, in the part of it that flex leaves (PER-2), the
/// others one interval after the one before.
pub(super) fn due_from_anchor(terms: &Terms, period: &Period) -> Timestamp {
    match terms.schedule.interval() {
        Some(interval) if period.count > 0 => period.anchor + interval,
        _ => period.anchor + terms.initial_delay + terms.schedule.first_offset(),
    }
}

/// The period with what a request says about its next run. A wish is wall time and stays that: the clock may be set before the
/// time has come.
pub(super) fn overridden(period: Period, wish: NextScheduleTime) -> Period {
    let next_run = match wish {
        NextScheduleTime::Unchanged => period.next_run,
        NextScheduleTime::At(wall) => Some(wall),
        NextScheduleTime::Cleared => None,
    };
    Period { next_run, ..period }
}

/// The period once its run is claimed: an override is spent, and what follows is counted from its time, as the clocks stand. A
/// period whose successor would be due already is that of now.
pub(super) fn claimed(draft: &Draft<'_>, record: &WorkRecord, period: Period) -> Period {
    let period = match period.next_run {
        Some(wall) => {
            let due = draft.store_time(Due::Wall(wall)).min(draft.now);
            Period { next_run: None, ..due_at(&record.terms, period, due) }
        }
        None => period,
    };
    let is_late = record.failures == 0 && regular_due(record, &period) <= draft.now;
    if is_late { due_at(&record.terms, period, draft.now) } else { period }
}

/// The period that is regularly due then by these terms.
pub(super) fn due_at(terms: &Terms, period: Period, due: Timestamp) -> Period {
    let from_zero = due_from_anchor(terms, &Period { anchor: Timestamp::default(), ..period });
    Period { due, anchor: due - from_zero.since(Timestamp::default()), ..period }
}

/// When a work that would be due then is due, and why: an override goes before everything else (NRT-1).
pub(super) fn next_run(record: &WorkRecord, due: Timestamp, why: Wait) -> (Due, Wait) {
    overriding(record).map_or((Due::Store(due), why), |due| (due, Wait::Override))
}

/// The override of the next run, if there is one.
pub(super) fn overriding(record: &WorkRecord) -> Option<Due> {
    record.period.and_then(|period| period.next_run).map(Due::Wall)
}

/// When the period after this one is regularly due, whatever happens in this one.
pub(super) fn regular_due(record: &WorkRecord, period: &Period) -> Timestamp {
    record.terms.schedule.interval().map_or(Timestamp::MAX, |interval| period.due + interval)
}

/// Ends the period well.
pub(super) fn succeed(draft: &mut Draft<'_>, record: WorkRecord, period: &Period) {
    let due = match record.terms.schedule.interval() {
        Some(interval) if record.failures == 0 => draft.now + interval,
        _ => regular_due(&record, period),
    };
    begin_next(draft, record, period, due);
}

/// Ends the period badly: the series goes on at its regular time. If that has passed, since the run took longer than a period,
/// it pauses for a backoff, and for no longer than a period, before it is run again.
pub(super) fn fail(draft: &mut Draft<'_>, record: WorkRecord, period: &Period) {
    let regular = regular_due(&record, period);
    let pause = record.terms.backoff.delay_of(record.id, 1);
    let pause = record.terms.schedule.interval().map_or(pause, |interval| pause.min(interval));
    let due = if regular > draft.now { regular } else { draft.now + pause };
    begin_next(draft, record, period, due);
}

fn begin_next(draft: &mut Draft<'_>, record: WorkRecord, period: &Period, due: Timestamp) {
    let due = due.max(draft.now);
    let anchor = record.terms.schedule.interval().map_or(draft.now, |interval| due - interval);
    if record.rows.notes {
        draft.write(Write::Notes(record.id, None));
    }
    let next = WorkRecord {
        enqueued: draft.now,
        failures: 0,
        interruptions: 0,
        deaths: 0,
        period: Some(Period { count: period.count + 1, due, anchor, next_run: period.next_run }),
        rows: RowsPresent { notes: false, ..record.rows },
        ..record
    };
    let (due, why) = next_run(&next, due, Wait::Period);
    draft.line_up(next, due, why);
}
