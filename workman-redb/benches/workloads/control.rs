//! The controls: what the disk and the B-tree allow. [`RawRedb`] repeats a [`Script`] with the options of the store, [`RawLog`]
//! appends the same bytes to a file that is there already, and syncs.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Builder, Database, Durability as RawDurability, WriteTransaction};
use workman_redb::RedbBuilder;

use crate::Outcome;
use crate::options::Durability;
use crate::script::{Op, Script, Snapshot};
use crate::table::{Change, Form, RawTable};

/// A relaxed store syncs this long after a commit, at the latest.
const RELAXED: Duration = Duration::from_secs(1);

/// A redb database with the tables, the cache and the options of a store.
pub(crate) struct RawRedb {
    database: Database,
    tables: Vec<(String, Form)>,
    durability: Durability,
    synced: Instant,
}

impl RawRedb {
    /// A new file with the rows of a snapshot.
    pub(crate) fn create(file: &Path, rows: &Snapshot, durability: Durability) -> Outcome<Self> {
        let database = Builder::new().set_cache_size(RedbBuilder::DEFAULT_CACHE_BYTES).create(file)?;
        let forms: Vec<_> = rows.forms().map(|(name, form)| (name.to_owned(), form)).collect();
        let transaction = database.begin_write()?;
        {
            let mut tables = open_tables(&transaction, &forms)?;
            for (table, key, value) in rows.rows() {
                tables[table].put(key, value)?;
            }
        }
        transaction.commit()?;
        Ok(RawRedb { database, tables: forms, durability, synced: Instant::now() })
    }

    /// Does what some works ask for, and what every commit does, in one commit.
    pub(crate) fn commit<'a>(&mut self, ops: impl Iterator<Item = &'a Op>, script: &'a Script) -> Outcome {
        let transaction = self.begin()?;
        {
            // As the store does it: tables are opened when they are used, and what is written goes down in the order of its keys.
            let mut tables: Vec<Option<RawTable<'_>>> = self.tables.iter().map(|_| None).collect();
            let mut changes: BTreeMap<usize, Vec<Change<'a>>> = BTreeMap::new();
            for op in ops.chain(script.of_commit()) {
                match op {
                    Op::Get(at, key) => self.open(&transaction, &mut tables, *at)?.get(key)?,
                    Op::Seek(at, key) => self.open(&transaction, &mut tables, *at)?.seek(key)?,
                    Op::Put(at, key, row) => changes.entry(*at).or_default().push((key, Some(row))),
                    Op::Remove(at, key) => changes.entry(*at).or_default().push((key, None)),
                }
            }
            for (at, mut changes) in changes {
                changes.sort_by_key(|(key, _)| *key);
                self.open(&transaction, &mut tables, at)?.change_all(&changes)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn open<'s, 't>(
        &self,
        transaction: &'t WriteTransaction,
        tables: &'s mut [Option<RawTable<'t>>],
        at: usize,
    ) -> Outcome<&'s mut RawTable<'t>> {
        if tables[at].is_none() {
            let (name, form) = &self.tables[at];
            tables[at] = Some(form.open(transaction, name)?);
        }
        tables[at].as_mut().ok_or_else(|| "it was opened right before".into())
    }

    /// As `workman-redb/src/writer/mod.rs` begins its transactions.
    fn begin(&mut self) -> Outcome<WriteTransaction> {
        let mut transaction = self.database.begin_write()?;
        let due = self.synced.elapsed() >= RELAXED;
        match self.durability {
            Durability::Relaxed if !due => transaction.set_durability(RawDurability::None)?,
            Durability::Synced | Durability::Relaxed => {
                transaction.set_quick_repair(true);
                self.synced = Instant::now();
            }
        }
        Ok(transaction)
    }

    /// Does what these works ask for, so many in one commit, and says how long all of it took.
    pub(crate) fn replay(&mut self, script: &Script, works: std::ops::Range<usize>, batch: usize) -> Outcome<Duration> {
        let begin = Instant::now();
        for first in works.clone().step_by(batch) {
            self.commit(script.of(first..works.end.min(first + batch)), script)?;
        }
        Ok(begin.elapsed())
    }
}

fn open_tables<'t>(transaction: &'t WriteTransaction, tables: &[(String, Form)]) -> Outcome<Vec<RawTable<'t>>> {
    let tables = tables.iter().map(|(name, form)| form.open(transaction, name));
    Ok(tables.collect::<Result<_, _>>()?)
}

/// A file of zeros, over which one record goes after the other: what a commit costs that is nothing but its bytes and a sync. The file is
/// as long as it will be before the first record, so a sync has no new length to write.
pub(crate) struct RawLog {
    file: File,
    durability: Durability,
    at: usize,
}

/// As long as the file is. Behind its end the next record begins anew.
const LENGTH: usize = 4 << 20;

impl RawLog {
    pub(crate) fn create(file: &Path, durability: Durability) -> Outcome<Self> {
        let mut file = OpenOptions::new().create_new(true).write(true).open(file)?;
        file.write_all(&vec![0; LENGTH])?;
        file.sync_all()?;
        Ok(RawLog { file, durability, at: 0 })
    }

    /// A commit for each of these lengths in bytes, and how long all of them took.
    pub(crate) fn append(&mut self, commits: impl IntoIterator<Item = usize>) -> Outcome<Duration> {
        let record = vec![7; LENGTH];
        let begin = Instant::now();
        for mut left in commits {
            while left > 0 {
                let part = left.min(LENGTH - self.at);
                self.file.write_all_at(&record[..part], self.at as u64)?;
                (left, self.at) = (left - part, (self.at + part) % LENGTH);
            }
            if self.durability == Durability::Synced {
                self.file.sync_data()?;
            }
        }
        Ok(begin.elapsed())
    }
}
