//! [`Script`]: what a verb of the store does to the tables, for each work, taken from files that the store itself has written.
//!
//! The rows of a file before and after are compared. What is new or changed was written, what is gone was removed: so the control
//! writes the bytes of the store, whatever its layout. What the store reads leaves no trace in the file, and is listed in
//! [`ENQUEUE_READS`], [`CLAIM_READS`] and [`SETTLE_READS`]; those are all that a change of the store asks for here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use redb::{Database, ReadableDatabase, TableHandle};

use crate::Outcome;
use crate::table::{Form, RawRows};

/// What the store reads for each work.
#[derive(Clone, Copy)]
pub(crate) struct Reads {
    /// How often it reads the row of the work in a table.
    rows: &'static [(&'static str, usize)],
    /// How often it looks for an entry of an index before it removes it.
    seeks: usize,
}

/// Nothing: an id that is greater than all others is known to be new.
pub(crate) const ENQUEUE_READS: Reads = Reads { rows: &[], seeks: 0 };
/// The entry of the ready work, how it was born, and what has changed since.
pub(crate) const CLAIM_READS: Reads = Reads { rows: &[("work", 1), ("state", 1)], seeks: 1 };
/// Nothing: the store keeps what it has claimed in memory.
pub(crate) const SETTLE_READS: Reads = Reads { rows: &[], seeks: 0 };

/// All rows of a file, with the forms of their tables.
pub(crate) struct Snapshot {
    tables: BTreeMap<String, (Form, RawRows)>,
}

impl Snapshot {
    /// Reads a file that nobody has open.
    pub(crate) fn read(file: &Path) -> Outcome<Self> {
        let database = Database::open(file)?;
        let transaction = database.begin_read()?;
        let names = transaction.list_tables()?.map(|table| table.name().to_owned());
        let tables = names.map(|name| Form::read(&transaction, &name).map(|read| (name, read)));
        Ok(Snapshot { tables: tables.collect::<Outcome<_>>()? })
    }

    /// The tables in the order in which [`Op`] numbers them.
    pub(crate) fn forms(&self) -> impl Iterator<Item = (&str, Form)> {
        self.tables.iter().map(|(name, (form, _))| (&**name, *form))
    }

    /// All rows, with the number of their table.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, &[u8], &[u8])> {
        let tables = self.tables.values().enumerate();
        tables.flat_map(|(table, (_, rows))| rows.iter().map(move |(key, value)| (table, &key[..], &value[..])))
    }
}

/// One operation on a table, by its number.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Get(usize, Vec<u8>),
    /// The first row from there on: how an entry of an index is found before it is removed.
    Seek(usize, Vec<u8>),
    Put(usize, Vec<u8>, Vec<u8>),
    Remove(usize, Vec<u8>),
}

impl Op {
    /// How many bytes it writes.
    fn bytes(&self) -> usize {
        match self {
            Op::Get(..) | Op::Seek(..) => 0,
            Op::Put(_, key, value) => key.len() + value.len(),
            Op::Remove(_, key) => key.len(),
        }
    }
}

/// The operations of one verb.
pub(crate) struct Script {
    /// Of each work, oldest first.
    works: Vec<Vec<Op>>,
    /// Of each commit: the rows of the store itself.
    commit: Vec<Op>,
}

/// Operations of one kind: on one table, on keys that begin alike. An index holds entries of several kinds, told by their first
/// byte, and every work has as many of each.
type Group = (usize, Kind, Option<u8>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Remove,
    Put,
}

impl Script {
    /// What so many works did between two snapshots.
    pub(crate) fn between(before: &Snapshot, after: &Snapshot, works: usize, reads: Reads) -> Outcome<Self> {
        let mut groups: BTreeMap<Group, Vec<Op>> = BTreeMap::new();
        let nothing = RawRows::new();
        for (table, (name, (_, rows))) in after.tables.iter().enumerate() {
            let old = before.tables.get(name).map_or(&nothing, |(_, rows)| rows);
            for key in old.keys().filter(|key| !rows.contains_key(*key)) {
                let group = groups.entry((table, Kind::Remove, key.first().copied())).or_default();
                group.push(Op::Remove(table, key.clone()));
            }
            for (key, value) in rows.iter().filter(|(key, value)| old.get(*key) != Some(*value)) {
                let group = groups.entry((table, Kind::Put, key.first().copied())).or_default();
                group.push(Op::Put(table, key.clone(), value.clone()));
            }
        }
        let mut script = Script { works: vec![Vec::new(); works], commit: Vec::new() };
        for (name, times) in reads.rows {
            let table = after.tables.keys().position(|table| table == name);
            let table = table.ok_or_else(|| format!("no table {name}: the reads in {} are of the past", file!()))?;
            let rows = after.tables.get(*name).map_or(&nothing, |(_, rows)| rows);
            let keys: Vec<&Vec<u8>> = rows.keys().rev().take(works).collect();
            for (work, key) in script.works.iter_mut().zip(keys.into_iter().rev()) {
                work.extend((0..*times).map(|_| Op::Get(table, key.clone())));
            }
        }
        for group in groups.into_values() {
            script.add(group, reads.seeks);
        }
        Ok(script)
    }

    /// Deals operations of one kind out to the works, as many to each. Those that are fewer than the works belong to commits.
    fn add(&mut self, group: Vec<Op>, seeks: usize) {
        let works = self.works.len();
        if group.len() < works {
            self.commit.extend(group);
            return;
        }
        let count = group.len();
        for (place, op) in group.into_iter().enumerate() {
            let work = &mut self.works[place * works / count];
            if let Op::Remove(table, key) = &op {
                work.extend((0..seeks).map(|_| Op::Seek(*table, key.clone())));
            }
            work.push(op);
        }
    }

    /// How many operations each work has, about.
    pub(crate) fn operations(&self) -> f64 {
        self.works.iter().map(Vec::len).sum::<usize>() as f64 / self.works.len().max(1) as f64
    }

    /// How many works it has.
    pub(crate) fn len(&self) -> usize {
        self.works.len()
    }

    /// The operations of some works.
    pub(crate) fn of(&self, works: Range<usize>) -> impl Iterator<Item = &Op> {
        self.works[works].iter().flatten()
    }

    /// How many bytes of keys and values these works and their commit write.
    pub(crate) fn bytes(&self, works: Range<usize>) -> usize {
        self.of(works).chain(&self.commit).map(Op::bytes).sum()
    }

    /// The operations of a commit.
    pub(crate) fn of_commit(&self) -> &[Op] {
        &self.commit
    }
}
