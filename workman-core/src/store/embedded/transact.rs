//! [`Transaction`]: plans units and applies what was decided, one after the other in one commit.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::{Change, Damage, StoreError, Unit, UnitResult};
use super::clock::{Opening, StoreClock};
use super::load::load_for;
use super::rows::{
    IfMissing, Origin, Row, RowKey, Rows, RowsMut, Unlinked, get_record, get_spec, get_tally, incomplete, stored_meta,
};
use super::trust::{Loading, Noticed, is_stale, not_there, record_by_id};
use crate::id::WorkId;
use crate::index::{IndexKey, IndexRange, Membership, label_keys, member_keys, serial_key, standing_key};
use crate::plan::{Command, Decision, Hint, Plan, Scope, Snapshot, Want, Write, plan};
use crate::record::{GateId, GateRow, LaneId, Meta, RowsPresent, Tally, TallyChanges, WorkRecord, WorkSpec};
use crate::time::Due;

/// What one transaction has gathered so far: the store's own row, and what its commit will announce.
#[derive(Debug)]
pub struct Transaction<'o> {
    opening: &'o mut Opening,
    /// As the opening's. What is given up has told nobody the time, so only the end of the transaction makes it the opening's.
    clock: StoreClock,
    meta: Meta,
    before: Meta,
    written: bool,
    /// In order only when the transaction ends.
    touched: Vec<WorkId>,
    hints: Vec<Hint>,
    tallies: TallyChanges,
    noticed: Noticed,
    /// The work whose run the unit settles that is applied now.
    settles: Option<WorkId>,
    /// How many stale entries were dropped.
    dropped: usize,
}

/// The most entries that one transaction drops because they contradict their records.
const DROP_LIMIT: usize = 256;

impl<'o> Transaction<'o> {
    /// Begins with the stored meta row.
    ///
    /// # Errors
    /// When the meta row can't be read.
    pub fn begin(rows: &impl Rows, opening: &'o mut Opening) -> Result<Self, StoreError> {
        let stored = stored_meta(rows)?;
        let meta = Meta { incarnation: opening.incarnation, ..stored.clone() };
        Ok(Transaction {
            clock: opening.clock.clone(),
            opening,
            before: stored,
            meta,
            written: false,
            touched: Vec::new(),
            hints: Vec::new(),
            tallies: TallyChanges::default(),
            noticed: Noticed::default(),
            settles: None,
            dropped: 0,
        })
    }

    /// Plans one unit and applies what was decided. The unit is planned completely before its first write.
    ///
    /// # Errors
    /// When rows can't be read or written; the whole transaction must then be given up.
    pub fn run_unit(&mut self, rows: &mut impl RowsMut, unit: &Unit) -> Result<UnitResult, StoreError> {
        let stamp = self.clock.stamp(unit.at, self.meta.latest);
        let now = stamp.now;
        (self.meta.latest, self.meta.clock_offset_ms) = (now, stamp.offset_ms);
        let mut view = Snapshot { meta: std::mem::take(&mut self.meta), ..Snapshot::default() };
        let mut asked = Scope::default();
        let settles = match &unit.command {
            Command::Settle(settle) => Some((settle.id, settle.fence)),
            _ => None,
        };
        let decided = loop {
            match plan(&view, &unit.command, now) {
                // The same inputs give the same answer, so loading it again would never end.
                Ok(Decision::Load(scope)) if scope == asked => return Err(incomplete(&scope)),
                Ok(Decision::Load(scope)) => {
                    catch_up(rows, &scope)?;
                    let noticed = &mut self.noticed;
                    load_for(rows, &scope, &mut Loading { view: &mut view, noticed, settles })?;
                    asked = scope;
                }
                Ok(Decision::Done(plan)) => break plan,
                Err(refusal) => {
                    self.meta = view.meta;
                    return Ok(Err(refusal));
                }
            }
        };
        let Plan { writes, meta, hints, applied } = decided;
        self.written |= !writes.is_empty() || meta != view.meta;
        self.meta = meta;
        self.hints.extend(hints);
        self.settles = settles.map(|(id, _)| id);
        for write in writes {
            self.apply(rows, &view, write)?;
        }
        self.drop_stale(rows)?;
        Ok(Ok(applied))
    }

    /// What was passed over so far and is to be told, whatever becomes of the transaction.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.noticed.damage)
    }

    /// Entries that contradict their records go, a bounded number. Each is looked at once more, as the unit has left it.
    fn drop_stale(&mut self, rows: &mut impl RowsMut) -> Result<(), StoreError> {
        for key in std::mem::take(&mut self.noticed.stale) {
            if self.dropped < DROP_LIMIT && is_stale(rows, &key)? {
                rows.unlink(&key, IfMissing::Ignore)?;
                (self.dropped, self.written) = (self.dropped + 1, true);
            }
        }
        Ok(())
    }

    /// Takes an entry away that must be there.
    fn unlink(&mut self, rows: &mut impl RowsMut, key: &IndexKey, if_missing: IfMissing) -> Result<(), StoreError> {
        match (rows.unlink(key, if_missing)?, if_missing) {
            (Unlinked::Missing, IfMissing::Refuse) => return Err(not_there(key)),
            (Unlinked::Missing, IfMissing::Tell) => self.noticed.damage.push(Damage::missing(key)),
            _ => {}
        }
        Ok(())
    }

    fn apply(&mut self, rows: &mut impl RowsMut, view: &Snapshot, write: Write) -> Result<(), StoreError> {
        match write {
            Write::Work(record, spec) => {
                let before = self.move_to(rows, view, &record)?;
                let labelled = match &before {
                    Some(_) => get_spec(rows, record.id)?,
                    None => None,
                };
                relabel(self, rows, before.as_deref().zip(labelled.as_deref()), Some((&record, &spec)))?;
                rows.put_work(record, spec, if before.is_some() { Origin::Stored } else { Origin::New })
            }
            Write::Record(record) => {
                self.move_member_to(rows, view, &record)?;
                rows.put(Row::Record(record))
            }
            Write::Finished(record, output) => {
                self.move_member_to(rows, view, &record)?;
                rows.put_result(record, output)
            }
            Write::Notes(id, Some(notes)) => {
                self.touched.push(id);
                rows.put(Row::Notes(id, notes))
            }
            Write::Notes(id, None) => rows.remove(RowKey::Notes(id)),
            Write::Attempt { id, attempt, keep } => match rows.put_attempt(id, attempt, keep) {
                // What became of the work matters more than the list of its attempts, which stays as it is.
                Err(error) if error.is_of_one_row() => {
                    self.noticed.damage.push(Damage::unreadable(id, &error));
                    Ok(())
                }
                put => put,
            },
            Write::Lane(lane) => rows.put(Row::Lane(lane)),
            Write::Cascade(cascade) => rows.put(Row::Cascade(cascade)),
            Write::CascadeDone(number) => rows.remove(RowKey::Cascade(number)),
            Write::Gate(gate) => {
                self.move_opening(rows, view, gate.id, Some(&gate))?;
                rows.put(Row::Gate(gate))
            }
            Write::GateIdle(id) => {
                self.move_opening(rows, view, id, None)?;
                rows.remove(RowKey::Gate(id))
            }
            Write::GateSettings(settings) => rows.put(Row::GateSettings(settings)),
            Write::Delete(id) => {
                self.touched.push(id);
                delete(self, rows, id)
            }
        }
    }

    /// What a missing entry of this work means to the unit.
    fn if_missing(&self, id: WorkId) -> IfMissing {
        if self.settles == Some(id) { IfMissing::Tell } else { IfMissing::Refuse }
    }

    /// The index entry of a record moves from where it was; answers the record that was there. What the plan saw is what is
    /// stored.
    fn move_to<'v>(
        &mut self,
        rows: &mut impl RowsMut,
        view: &'v Snapshot,
        record: &WorkRecord,
    ) -> Result<Option<Cow<'v, WorkRecord>>, StoreError> {
        self.touched.push(record.id);
        let before = match view.works.get(&record.id) {
            Some(seen) => seen.as_ref().map(Cow::Borrowed),
            None => record_by_id(rows, record.id)?.map(Cow::Owned),
        };
        let (left, after) = (before.as_deref().map(standing_key), standing_key(record));
        self.tallies.count(before.as_deref(), Some(record));
        if left.as_ref() != Some(&after) {
            if let Some(left) = &left {
                self.unlink(rows, left, self.if_missing(record.id))?;
            }
            rows.link(&after)?;
        }
        let (left, after) = (before.as_deref().and_then(serial_key), serial_key(record));
        if left != after {
            if let Some(left) = &left {
                self.unlink(rows, left, self.if_missing(record.id))?;
            }
            after.iter().try_for_each(|key| rows.link(key))?;
        }
        Ok(before)
    }

    /// The entry of a gate that has to be looked at moves from where it was.
    fn move_opening(
        &mut self,
        rows: &mut impl RowsMut,
        view: &Snapshot,
        gate: GateId,
        after: Option<&GateRow>,
    ) -> Result<(), StoreError> {
        let opens = |row: &GateRow| -> Option<Due> { row.opens };
        let left = view.gates.get(&gate).and_then(Option::as_ref).and_then(opens);
        let after = after.and_then(opens);
        if left != after {
            if let Some(due) = left {
                self.unlink(rows, &IndexKey::Opens { due, gate }, IfMissing::Tell)?;
            }
            after.map_or(Ok(()), |due| rows.link(&IndexKey::Opens { due, gate }))?;
        }
        Ok(())
    }

    /// As [`move_to`](Self::move_to), of a work whose spec stays: its name is looked up only if its place among the members of that
    /// has changed.
    fn move_member_to(
        &mut self,
        rows: &mut impl RowsMut,
        view: &Snapshot,
        record: &WorkRecord,
    ) -> Result<(), StoreError> {
        let Some(before) = self.move_to(rows, view, record)? else { return Ok(()) };
        if Membership::of(&before) == Membership::of(record) {
            return Ok(());
        }
        let spec = match view.specs.get(&record.id) {
            Some(seen) => Some(Arc::clone(seen)),
            None => get_spec(rows, record.id)?,
        };
        let name = spec.as_ref().and_then(|spec| spec.name.as_ref());
        let name = name.ok_or_else(|| incomplete(&Want::Spec(record.id).into()))?;
        move_membership(self, rows, name, (&before, record), self.if_missing(record.id))
    }

    /// Ends the transaction: writes the tallies of the lanes whose works have moved and the meta row, and answers what the commit
    /// announces; `None` when nothing was written and there is nothing to commit. A store whose commit fails after that goes on with
    /// the opening as it was before.
    ///
    /// # Errors
    /// When these rows can't be written.
    pub fn finish(self, rows: &mut impl RowsMut, commit: u64) -> Result<Option<Change>, StoreError> {
        if !self.written {
            self.opening.clock = self.clock;
            return Ok(None);
        }
        let now = self.meta.latest;
        for (lane, moves) in self.tallies.changed() {
            retally(rows, *lane, |tally| moves.of(tally))?;
        }
        if self.meta != self.before {
            rows.put(Row::Meta(self.meta))?;
        }
        self.opening.clock = self.clock;
        let mut touched = self.touched;
        touched.sort_unstable();
        touched.dedup();
        Ok(Some(Change::Commit { commit, now, touched: touched.into(), hints: self.hints.into() }))
    }
}

/// What is about to be scanned is to be found, and no more than that.
fn catch_up(rows: &mut impl RowsMut, scope: &Scope) -> Result<(), StoreError> {
    let scans = || scope.iter().filter(|want| want.is_found_by_scan());
    match scans().map(stretch_of).collect::<Option<Vec<_>>>() {
        Some(stretches) => stretches.iter().try_for_each(|stretch| rows.catch_up_within(stretch)),
        None => rows.catch_up(),
    }
}

/// The one stretch of the index in which this is found, if it is one that few changes concern.
fn stretch_of(want: &Want) -> Option<IndexRange> {
    match want {
        Want::Held { gate, lane, .. } => Some(IndexRange::held_in(*gate, *lane)),
        Want::Serial { gate, .. } => Some(IndexRange::serial(*gate)),
        _ => None,
    }
}

/// A tally follows the works of its lane. One that can't be read stays as it is: whoever asks for counts is told, and nothing else
/// needs it.
fn retally(rows: &mut impl RowsMut, lane: LaneId, count: impl Fn(&Tally) -> Tally) -> Result<(), StoreError> {
    let counted = match get_tally(rows, lane) {
        Ok(tally) => count(&tally),
        Err(error) if error.is_of_one_row() => return Ok(()),
        Err(error) => return Err(error),
    };
    if counted == Tally::default() { rows.remove(RowKey::Tally(lane)) } else { rows.put(Row::Tally(lane, counted)) }
}

/// A work as it is stored, or as it is to be.
type Work<'a> = (&'a WorkRecord, &'a WorkSpec);

/// The labels of a work become those that it has afterwards, or go.
fn relabel(
    transaction: &mut Transaction,
    rows: &mut impl RowsMut,
    before: Option<Work<'_>>,
    after: Option<Work<'_>>,
) -> Result<(), StoreError> {
    let seq = before.or(after).map_or(0, |(record, _)| record.seq);
    let (before, after) = (before.map(labels).unwrap_or_default(), after.map(labels).unwrap_or_default());
    let is_in = |labels: &[IndexKey], key: &IndexKey| labels.binary_search(key).is_ok();
    for gone in before.iter().filter(|gone| !is_in(&after, gone)) {
        let if_missing = if_missing(rows, seq, gone)?;
        transaction.unlink(rows, gone, if_missing)?;
    }
    after.iter().filter(|new| !is_in(&before, new)).try_for_each(|new| rows.link(new))
}

/// What is waited for twice is one edge.
fn labels((record, spec): Work<'_>) -> Vec<IndexKey> {
    let members = spec.name.iter().flat_map(|name| member_keys(record, name));
    let mut labels: Vec<IndexKey> = label_keys(record.id, record.seq, spec).chain(members).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

/// The entries of a member of this name follow its record.
fn move_membership(
    transaction: &mut Transaction,
    rows: &mut impl RowsMut,
    name: &Arc<str>,
    (before, after): (&WorkRecord, &WorkRecord),
    if_missing: IfMissing,
) -> Result<(), StoreError> {
    let (before, after): (Vec<IndexKey>, Vec<IndexKey>) =
        (member_keys(before, name).collect(), member_keys(after, name).collect());
    for gone in before.iter().filter(|gone| !after.contains(gone)) {
        transaction.unlink(rows, gone, if_missing)?;
    }
    after.iter().filter(|new| !before.contains(new)).try_for_each(|new| rows.link(new))
}

/// An edge goes with the prerequisite too, so it is missed only where that is still there: the one that was waited for, since
/// every work is born after its prerequisites.
fn if_missing(rows: &impl RowsMut, seq: u64, label: &IndexKey) -> Result<IfMissing, StoreError> {
    let IndexKey::Dependent { of, .. } = label else { return Ok(IfMissing::Refuse) };
    let prerequisite = get_record(rows, *of)?.filter(|prerequisite| prerequisite.seq < seq);
    Ok(if prerequisite.is_some() { IfMissing::Refuse } else { IfMissing::Ignore })
}

/// C14: whatever its record vouches for goes with a work.
fn delete(transaction: &mut Transaction, rows: &mut impl RowsMut, id: WorkId) -> Result<(), StoreError> {
    let Some((record, spec)) = rows.get_work(id)? else { return Ok(()) };
    transaction.tallies.count(Some(&record), None);
    transaction.unlink(rows, &standing_key(&record), IfMissing::Refuse)?;
    if let Some(serial) = serial_key(&record) {
        transaction.unlink(rows, &serial, IfMissing::Refuse)?;
    }
    relabel(transaction, rows, Some((&record, &spec)), None)?;
    let RowsPresent { output, notes, history, dependents } = record.rows;
    if dependents {
        rows.catch_up()?;
        let edges = rows.scan(&IndexRange::dependents(id), usize::MAX)?;
        edges.iter().try_for_each(|edge| rows.unlink(edge, IfMissing::Ignore).map(drop))?;
    }
    let beside = [(output, RowKey::Output(id)), (notes, RowKey::Notes(id)), (history, RowKey::History(id))];
    let beside = beside.into_iter().filter(|(is_there, _)| *is_there).map(|(_, key)| key);
    beside.chain([RowKey::Record(id), RowKey::Spec(id)]).try_for_each(|key| rows.remove(key))
}
