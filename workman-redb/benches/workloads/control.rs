//! The controls: what the disk and the B-tree allow. [`RawRedb`] repeats a [`Script`] with the options of the store, [`RawLog`]
//! appends and syncs.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
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

/// A file that grows by a page for each commit.
pub(crate) struct RawLog {
    file: File,
    durability: Durability,
}

/// What is appended for each commit.
const PAGE: [u8; 4_096] = [7; 4_096];

impl RawLog {
    pub(crate) fn create(file: &Path, durability: Durability) -> Outcome<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(file)?;
        Ok(RawLog { file, durability })
    }

    /// So many commits, and how long they took.
    pub(crate) fn append(&mut self, commits: usize) -> Outcome<Duration> {
        let begin = Instant::now();
        for _ in 0..commits {
            self.file.write_all(&PAGE)?;
            if self.durability == Durability::Synced {
                self.file.sync_data()?;
            }
        }
        Ok(begin.elapsed())
    }
}
