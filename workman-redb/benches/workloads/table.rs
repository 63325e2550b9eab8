//! The tables of a store as [`RawTable`]s: rows by bytes, whatever the types that redb knows them by.
//!
//! Keys and rows of one length cost redb less than others, so a control has the types of the store: `workman-redb/docs/format.md`
//! says which there are, and a new one needs a form here.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;

use redb::{
    CursorError, Key, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, Value, WriteTransaction,
};

use crate::Outcome;

type Bytes = &'static [u8];
type Id = &'static [u8; 16];
type Entry = &'static [u8; 33];
type Sum = &'static [u8; 4];

/// A row that is written under its key, or taken away.
pub(crate) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// Fewer neighbours than this are put down one by one, as the store does it.
const SHORTEST_RUN: usize = 4;

/// The rows of a table.
pub(crate) type RawRows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Which types a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Keys and rows of many lengths.
    Bytes,
    /// Rows of works, by id.
    Works,
    /// Entries of an index.
    Entries,
}

impl Form {
    /// The form of a table, and all its rows.
    pub(crate) fn read(transaction: &ReadTransaction, name: &str) -> Outcome<(Form, RawRows)> {
        if let Some(rows) = rows::<Bytes, Bytes>(transaction, name)? {
            return Ok((Form::Bytes, rows));
        }
        if let Some(rows) = rows::<Id, Bytes>(transaction, name)? {
            return Ok((Form::Works, rows));
        }
        if let Some(rows) = rows::<Entry, Sum>(transaction, name)? {
            return Ok((Form::Entries, rows));
        }
        Err(format!("the table {name} has types that the control does not know; see {}", file!()).into())
    }

    /// Opens the table with these types, and makes it if there is none.
    pub(crate) fn open<'t>(self, transaction: &'t WriteTransaction, name: &str) -> Result<RawTable<'t>, TableError> {
        Ok(match self {
            Form::Bytes => RawTable::Bytes(transaction.open_table(TableDefinition::new(name))?),
            Form::Works => RawTable::Works(transaction.open_table(TableDefinition::new(name))?),
            Form::Entries => RawTable::Entries(transaction.open_table(TableDefinition::new(name))?),
        })
    }
}

/// A table that is written.
pub(crate) enum RawTable<'t> {
    Bytes(Table<'t, Bytes, Bytes>),
    Works(Table<'t, Id, Bytes>),
    Entries(Table<'t, Entry, Sum>),
}

/// Does the same with a table of any form.
macro_rules! whatever_form {
    ($table:expr, $typed:ident => $what:expr) => {
        match $table {
            RawTable::Bytes($typed) => $what,
            RawTable::Works($typed) => $what,
            RawTable::Entries($typed) => $what,
        }
    };
}

impl RawTable<'_> {
    /// Reads a row.
    pub(crate) fn get(&self, key: &[u8]) -> Outcome {
        whatever_form!(self, table => get(table, key))
    }

    /// Reads the first row from there on.
    pub(crate) fn seek(&self, key: &[u8]) -> Outcome {
        whatever_form!(self, table => seek(table, key))
    }

    pub(crate) fn put(&mut self, key: &[u8], row: &[u8]) -> Outcome {
        whatever_form!(self, table => put(table, key, row))
    }

    /// Writes rows and takes rows away, in the order of their keys.
    pub(crate) fn change_all(&mut self, changes: &[Change<'_>]) -> Outcome {
        whatever_form!(self, table => change_all(table, changes))
    }
}

/// A type of redb that is nothing but bytes.
trait Plain: Value + 'static {
    fn of(bytes: &[u8]) -> Outcome<Self::SelfType<'_>>;
    fn bytes<'a>(value: &'a Self::SelfType<'_>) -> &'a [u8];
}

impl Plain for Bytes {
    fn of(bytes: &[u8]) -> Outcome<&[u8]> {
        Ok(bytes)
    }

    fn bytes<'a>(value: &'a &[u8]) -> &'a [u8] {
        value
    }
}

impl<const N: usize> Plain for &'static [u8; N] {
    fn of(bytes: &[u8]) -> Outcome<&[u8; N]> {
        Ok(bytes.try_into()?)
    }

    fn bytes<'a>(value: &'a &[u8; N]) -> &'a [u8] {
        &value[..]
    }
}

/// All rows; none if the table has other types.
fn rows<K: Plain + Key, V: Plain>(transaction: &ReadTransaction, name: &str) -> Outcome<Option<RawRows>> {
    let table = match transaction.open_table(TableDefinition::<K, V>::new(name)) {
        Err(TableError::TableTypeMismatch { .. }) => return Ok(None),
        table => table?,
    };
    let rows = table.iter()?.map(|row| {
        let (key, value) = row?;
        Ok((K::bytes(&key.value()).to_vec(), V::bytes(&value.value()).to_vec()))
    });
    Ok(Some(rows.collect::<Result<_, redb::StorageError>>()?))
}

fn get<K: Plain + Key, V: Plain>(table: &Table<'_, K, V>, key: &[u8]) -> Outcome {
    black_box(table.get(K::of(key)?)?.map(|row| V::bytes(&row.value()).len()));
    Ok(())
}

fn seek<K: Plain + Key, V: Plain>(table: &Table<'_, K, V>, key: &[u8]) -> Outcome {
    let first = table.range::<K::SelfType<'_>>(K::of(key)?..)?.next().transpose()?;
    black_box(first.map(|(key, _)| K::bytes(&key.value()).len()));
    Ok(())
}

fn put<K: Plain + Key, V: Plain>(table: &mut Table<'_, K, V>, key: &[u8], row: &[u8]) -> Outcome {
    table.insert(K::of(key)?, V::of(row)?)?;
    Ok(())
}

fn remove<K: Plain + Key, V: Plain>(table: &mut Table<'_, K, V>, key: &[u8]) -> Outcome {
    table.remove(K::of(key)?)?;
    Ok(())
}

fn change_all<K: Plain + Key, V: Plain>(table: &mut Table<'_, K, V>, changes: &[Change<'_>]) -> Outcome {
    for run in changes.chunk_by(|(_, one), (_, next)| one.is_some() == next.is_some()) {
        let mut rest = run;
        while rest.len() >= SHORTEST_RUN && rest[0].1.is_some() {
            let put = put_run(table, rest)?;
            rest = &rest[put..];
            if put < SHORTEST_RUN
                && let Some(((key, Some(row)), behind)) = rest.split_first()
            {
                self::put(table, key, row)?;
                rest = behind;
            }
        }
        for (key, row) in rest {
            match row {
                Some(row) => put(table, key, row)?,
                None => remove(table, key)?,
            }
        }
    }
    Ok(())
}

/// Puts down rows until one lies behind a row that is there already. Says how many.
fn put_run<K: Plain + Key, V: Plain>(table: &mut Table<'_, K, V>, run: &[Change<'_>]) -> Outcome<usize> {
    let mut cursor = table.upper_bound_mut(Bound::Excluded(K::of(run[0].0)?))?;
    let mut put = 0;
    while let Some((key, Some(row))) = run.get(put) {
        match cursor.insert_before(K::of(key)?, V::of(row)?) {
            Ok(()) => put += 1,
            Err(CursorError::UnorderedKey) => break,
            Err(error) => return Err(error.into()),
        }
    }
    cursor.close()?;
    Ok(put)
}
