//! Putting what a journal holds into the tables.

use std::collections::BTreeMap;

use workman_core::StoreError;

use super::WriteTables;
use super::flush::change_all;
use crate::envelope::entry_sum;
use crate::error::{failed, unreadable_record};
use crate::journal::{Place, RowWrite, each};
use crate::keys::ENTRY;
use crate::rows::{TableId, WorkTableId};

/// What becomes of each key in the end.
type Last<'a> = BTreeMap<&'a [u8], Option<&'a [u8]>>;

/// The last write to each row, by table.
#[derive(Default)]
struct LastWrites<'a> {
    bytes: [Last<'a>; TableId::ALL.len()],
    works: [Last<'a>; WorkTableId::ALL.len()],
    entries: Last<'a>,
}

impl<'a> LastWrites<'a> {
    fn note(&mut self, write: RowWrite<'a>) {
        let table = match write.place {
            Place::Bytes(table) => &mut self.bytes[table as usize],
            Place::Works(table) => &mut self.works[table as usize],
            Place::Entries => &mut self.entries,
        };
        table.insert(write.key, write.row);
    }
}

impl WriteTables<'_, '_> {
    /// Puts the row writes of these commits, in this order, into the tables.
    ///
    /// # Errors
    /// When a commit means nothing to this build, or the tables can't be written.
    pub(crate) fn replay<'a>(&mut self, commits: impl Iterator<Item = &'a [u8]>) -> Result<(), StoreError> {
        let place = self.place;
        let mut last = LastWrites::default();
        for commit in commits {
            each(commit, |write| last.note(write)).map_err(|error| unreadable_record(place, error))?;
        }
        for table in TableId::ALL {
            let rows = &last.bytes[table as usize];
            let sums: Vec<[u8; 4]> = match table {
                TableId::Label => rows.keys().map(|key| entry_sum(key)).collect(),
                _ => Vec::new(),
            };
            let row_of = |at: usize, row: Option<&'a [u8]>| match table {
                TableId::Label => row.and_then(|_| sums.get(at)).map(|sum| &sum[..]),
                _ => row,
            };
            let changes = rows.iter().enumerate().map(|(at, (key, row))| (*key, row_of(at, *row)));
            change_all(self.table_mut(table)?, changes).map_err(|error| failed(place, error))?;
        }
        for table in WorkTableId::ALL {
            let rows = last.works[table as usize].iter();
            let changes = rows.filter_map(|(key, row)| Some((<&[u8; 16]>::try_from(*key).ok()?, *row)));
            change_all(self.work_table_mut(table)?, changes).map_err(|error| failed(place, error))?;
        }
        let sums: Vec<[u8; 4]> = last.entries.keys().map(|key| entry_sum(key)).collect();
        let entries = last.entries.iter().zip(&sums).filter_map(|((key, row), sum)| {
            let key = <&[u8; ENTRY]>::try_from(*key).ok()?;
            Some((key, row.map(|_| sum)))
        });
        change_all(self.entry_table_mut()?, entries).map_err(|error| failed(place, error))?;
        Ok(())
    }
}
