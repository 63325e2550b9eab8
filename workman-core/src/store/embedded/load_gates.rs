//! Loading what a plan asks for of gates, and works in the order of the index.

use std::sync::Arc;

use super::super::{Damage, StoreError};
use super::gather::{Gathered, Peek, gather};
use super::rows::{Row, RowKey, Rows, incomplete};
use super::trust::{Loading, listed_record};
use crate::index::{IndexKey, IndexRange};
use crate::plan::{List, Snapshot, Want};
use crate::record::{GateId, GateSettings, WorkRecord};

/// What is wanted of gates and what goes on there.
pub(super) fn load_gates(rows: &impl Rows, want: &Want, to: &mut Loading<'_>) -> Result<(), StoreError> {
    match want {
        Want::Gate(id) => {
            let gate = match rows.get(RowKey::Gate(*id)) {
                Ok(Some(Row::Gate(gate))) => Some(gate),
                Ok(_) => None,
                // It holds up its own works, and nobody else's.
                Err(error) if error.is_of_one_row() => {
                    to.noticed.damage.push(Damage::of_gates(&error));
                    to.view.lost_gates.insert(*id);
                    None
                }
                Err(error) => return Err(error),
            };
            to.view.gates.insert(*id, gate);
        }
        Want::Openings { limit } => {
            let (latest, offset_ms) = (to.view.meta.latest, to.view.meta.clock_offset_ms);
            let mut list = List::default();
            for range in IndexRange::openings() {
                for key in rows.scan(&range, limit.saturating_add(1))? {
                    let IndexKey::Opens { due, gate } = key else { continue };
                    let has_come = due.in_store_time(offset_ms) <= latest;
                    if has_come && list.gates.len() < *limit {
                        list.gates.push(gate);
                    } else {
                        list.next_due = list.next_due.and(due);
                        break;
                    }
                }
            }
            to.view.lists.insert(want.clone(), list);
        }
        Want::Holding { from, limit } => {
            let (mut gates, mut next) = (Vec::new(), Some(*from));
            while let Some(from) = next.filter(|_| gates.len() < *limit) {
                let first = rows.scan(&IndexRange::held_from(from), 1)?;
                let Some(IndexKey::Held { gate, .. }) = first.first() else { break };
                gates.push(*gate);
                next = gate.0.checked_add(1).map(GateId);
            }
            to.view.lists.insert(want.clone(), List { gates, ..List::default() });
        }
        _ => {
            let settings = match rows.get(RowKey::GateSettings) {
                Ok(Some(Row::GateSettings(settings))) => Ok(settings),
                Ok(_) => Err(incomplete(&Want::GateSettings.into())),
                Err(error) => Err(error),
            };
            // What has run is settled, and nothing begins that a limit or a pause might forbid.
            to.view.settings = Some(match settings {
                Err(error) if error.is_of_one_row() => {
                    to.noticed.damage.push(Damage::of_gates(&error));
                    Arc::new(GateSettings::lost())
                }
                settings => settings?,
            });
        }
    }
    Ok(())
}

/// Works in the order of the index. What can't be read is passed over.
pub(super) fn load_listed(
    rows: &impl Rows,
    want: &Want,
    range: IndexRange,
    limit: usize,
    to: &mut Loading<'_>,
) -> Result<(), StoreError> {
    let gathered = gather_claims(rows, range, limit, to)?;
    to.view.lists.insert(want.clone(), gathered.list());
    Ok(())
}

/// Of claims that can't be read nothing is known; the others go on.
pub(super) fn gather_claims(
    rows: &impl Rows,
    range: IndexRange,
    limit: usize,
    to: &mut Loading<'_>,
) -> Result<Gathered, StoreError> {
    gather(rows, range, (limit, Peek::Nothing), |_| true, &mut |key| {
        let record = to.noticed.pass_over(key, listed_record(rows, key)?);
        let fits = record.is_some();
        record.into_iter().for_each(|record| keep(to.view, record));
        Ok(fits)
    })
}

/// The record of an entry that fits is known to the plan from now on.
pub(super) fn keep(view: &mut Snapshot, record: WorkRecord) {
    if !view.works.contains_key(&record.id) {
        view.works.insert(record.id, Some(record));
    }
}
