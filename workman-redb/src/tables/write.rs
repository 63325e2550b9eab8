//! Tables that are written.

use std::sync::Arc;

use workman_core::store::{
    IfMissing, IndexKey, IndexRange, Origin, Row, RowKey, RowsMut, Standing, Unlinked, WorkRecord, WorkSpec,
};
use workman_core::{StoreError, StoreErrorKind, WorkId};

use super::WriteTables;
use crate::codec::{Body, CodecError, Format, JournalRow, Opening, Writer, write_cascade, write_gate, write_lane};
use crate::envelope::{self, Kind};
use crate::error::failed;
use crate::journal::Place;
use crate::keys;
use crate::rows::{self, Address, COMMIT_KEY, FORMAT_KEY, JOURNAL_KEY, OPENING_KEY, TableId, WorkTableId};

impl WriteTables<'_, '_> {
    /// Writes the row that says what the file is.
    pub(crate) fn put_format(&mut self, format: Format) -> Result<(), StoreError> {
        self.put_sealed(TableId::Meta, FORMAT_KEY, |row| {
            envelope::seal(row, Kind::Format, FORMAT_KEY, 0, |to| format.write(to))
        })
    }

    /// Writes the row that says who opened the store last.
    pub(crate) fn put_opening(&mut self, opening: Opening) -> Result<(), StoreError> {
        self.put_sealed(TableId::Meta, OPENING_KEY, |row| {
            envelope::seal(row, Kind::Opening, OPENING_KEY, 0, |to| opening.write(to))
        })
    }

    /// Writes the row that says what is to be found in the journal.
    pub(crate) fn put_journal(&mut self, row: JournalRow) -> Result<(), StoreError> {
        self.put_sealed(TableId::Meta, JOURNAL_KEY, |sealed| {
            envelope::seal(sealed, Kind::Journal, JOURNAL_KEY, 0, |to| row.write(to))
        })
    }

    /// Writes the number of this commit, so that a snapshot knows which commit it shows.
    pub(crate) fn put_commit(&mut self, commit: u64) -> Result<(), StoreError> {
        self.put_sealed(TableId::Meta, COMMIT_KEY, |row| {
            envelope::seal(row, Kind::Commit, COMMIT_KEY, 0, |to| {
                to.u64(commit);
                Ok(())
            })
        })
    }

    fn put_at(
        &mut self,
        at: &Address,
        body: impl FnOnce(&mut Writer) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        self.put_sealed(at.table, at.key(), |row| envelope::seal(row, at.kind, at.key(), 0, body))
    }

    fn put_sealed(
        &mut self,
        table: TableId,
        key: &[u8],
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        let mut row = Vec::new();
        seal(&mut row).map_err(unstorable)?;
        let place = self.place;
        self.table_mut(table)?.insert(key, &*row).map_err(|error| failed(place, error))?;
        self.log_put(Place::Bytes(table), key, &row);
        Ok(())
    }

    fn put_of_work(
        &mut self,
        table: WorkTableId,
        id: WorkId,
        seal: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        self.pending.put(table, id, seal).map_err(unstorable)?;
        self.flush_if_much()
    }

    fn remove_at(&mut self, at: &Address) -> Result<(), StoreError> {
        let place = self.place;
        self.table_mut(at.table)?.remove(at.key()).map_err(|error| failed(place, error))?;
        self.log_removal(Place::Bytes(at.table), at.key());
        Ok(())
    }

    /// Of the records that were just written only those of claimed works are kept.
    fn keep_record(&mut self, id: WorkId, record: Option<WorkRecord>) {
        let Some(kept) = &mut self.kept else { return };
        match record.filter(|record| matches!(record.standing, Standing::Running { .. })) {
            Some(record) => drop(kept.running.insert(id, record)),
            None => drop(kept.running.remove(&id)),
        }
    }
}

fn unstorable(error: CodecError) -> StoreError {
    StoreError::new(StoreErrorKind::Rejected, error.to_string())
}

impl RowsMut for WriteTables<'_, '_> {
    fn put(&mut self, row: Row) -> Result<(), StoreError> {
        match row {
            Row::Record(record) => {
                self.put_of_work(WorkTableId::State, record.id, |row| rows::seal_state(row, &record))?;
                self.keep_record(record.id, Some(record));
                Ok(())
            }
            Row::Spec(id, spec) => {
                let record = self.record(id)?.ok_or_else(|| {
                    StoreError::new(
                        StoreErrorKind::Rejected,
                        format!("what work {id} was asked for comes with its record"),
                    )
                })?;
                self.put_work(record, spec, Origin::Stored)
            }
            Row::Output(id, output) => {
                self.put_of_work(WorkTableId::Output, id, |row| rows::seal_output(row, id, &output))
            }
            Row::Notes(id, notes) => self.put_at(&Address::notes(id), |to| notes.write(to)),
            Row::History(id, history) => self.put_at(&Address::history(id), |to| history.write(to)),
            Row::Lane(lane) => {
                self.put_at(&Address::lane(lane.id), |to| write_lane(&lane, to))?;
                self.kept.iter_mut().for_each(|kept| drop(kept.lanes.insert(lane.id, lane.clone())));
                Ok(())
            }
            Row::Cascade(cascade) => self.put_at(&Address::cascade(cascade.number), |to| write_cascade(&cascade, to)),
            Row::Gate(gate) => self.put_at(&Address::gate(gate.id), |to| write_gate(&gate, to)),
            Row::GateSettings(settings) => self.put_at(&Address::gate_settings(), |to| settings.write(to)),
            Row::Tally(lane, tally) => {
                self.put_at(&Address::tally(lane), |to| tally.write(to))?;
                if let Some(kept) = &mut self.kept {
                    kept.tallies.insert(lane, tally);
                }
                Ok(())
            }
            Row::Meta(meta) => self.put_at(&Address::meta(), |to| meta.write(to)),
        }
    }

    fn put_work(&mut self, record: WorkRecord, spec: Arc<WorkSpec>, origin: Origin) -> Result<(), StoreError> {
        self.put_of_work(WorkTableId::Work, record.id, |row| rows::seal_work(row, &record, &spec))?;
        self.kept.iter_mut().for_each(|kept| kept.known.take(record.id));
        match origin {
            Origin::New => Ok(()),
            // What has changed since its birth would hide what is written here.
            Origin::Stored => self.put(Row::Record(record)),
        }
    }

    fn remove(&mut self, key: RowKey) -> Result<(), StoreError> {
        match key {
            // Both go with the work's one row.
            RowKey::Record(id) => {
                self.keep_record(id, None);
                self.pending.remove(WorkTableId::Work, id);
                self.pending.remove(WorkTableId::State, id);
                self.flush_if_much()
            }
            RowKey::Spec(_) => Ok(()),
            RowKey::Output(id) => {
                self.pending.remove(WorkTableId::Output, id);
                self.flush_if_much()
            }
            RowKey::Notes(id) => self.remove_at(&Address::notes(id)),
            RowKey::History(id) => self.remove_at(&Address::history(id)),
            RowKey::Lane(id) => {
                self.kept.iter_mut().for_each(|kept| drop(kept.lanes.remove(&id)));
                self.remove_at(&Address::lane(id))
            }
            RowKey::Cascade(number) => self.remove_at(&Address::cascade(number)),
            RowKey::Gate(id) => self.remove_at(&Address::gate(id)),
            RowKey::GateSettings => self.remove_at(&Address::gate_settings()),
            RowKey::Tally(lane) => {
                if let Some(kept) = &mut self.kept {
                    kept.tallies.remove(&lane);
                }
                self.remove_at(&Address::tally(lane))
            }
            RowKey::Meta => self.remove_at(&Address::meta()),
        }
    }

    fn link(&mut self, key: &IndexKey) -> Result<(), StoreError> {
        self.pending.link(key);
        self.flush_if_much()
    }

    fn unlink(&mut self, key: &IndexKey, if_missing: IfMissing) -> Result<Unlinked, StoreError> {
        self.pending.unlink(key, if_missing);
        self.flush_if_much()?;
        Ok(Unlinked::Later)
    }

    fn catch_up(&mut self) -> Result<(), StoreError> {
        self.flush_index()
    }

    fn catch_up_within(&mut self, stretch: &IndexRange) -> Result<(), StoreError> {
        let ends = (keys::encode(&stretch.first), keys::encode(&stretch.last));
        if self.pending.concerns(&ends.0, &ends.1) { self.flush_index() } else { Ok(()) }
    }
}
