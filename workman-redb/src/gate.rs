//! [`Gate`]: lets redb open a file, and leave no trace in it until we know that it is ours.
//!
//! Opening a redb file marks it as open, and may repair it. Before we know that a file is a store of a format that we read,
//! nothing may be written to it; so redb's writes stay in memory until the gate is opened. A second opening, after a look,
//! would read everything twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};

use crate::tenure::Extent;

/// The unit in which writes are held.
const BLOCK: u64 = 4096;

/// A file behind a gate that is shut at first.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: FileBackend,
    extent: Arc<Extent>,
    is_open: AtomicBool,
    is_repaired: AtomicBool,
    held: Mutex<Held>,
}

/// What redb thinks that it has written.
#[derive(Debug)]
struct Held {
    /// Bytes of the file that still count; what lies behind was cut off or never there.
    file_len: u64,
    len: u64,
    written: BTreeMap<u64, Box<[u8]>>,
}

/// What became of the attempt to open a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// redb has the file.
    Granted,
    /// redb has written more than its mark, and in an order that is not known any more: the file must be opened anew,
    /// without a gate. Nothing has happened to it.
    NeedsRepair,
}

impl Gate {
    /// A file that is looked at first.
    ///
    /// # Errors
    /// When the file can't be used.
    pub(crate) fn before(file: File, extent: Arc<Extent>) -> Result<Self, DatabaseError> {
        let len = file.metadata()?.len();
        extent.begin(len);
        let held = Held { file_len: len, len, written: BTreeMap::new() };
        let inner = Inner {
            file: FileBackend::new(file)?,
            extent,
            is_open: AtomicBool::new(false),
            is_repaired: AtomicBool::new(false),
            held: Mutex::new(held),
        };
        Ok(Gate { inner: Arc::new(inner) })
    }

    /// A file that needs no look: it is new, or was looked at.
    ///
    /// # Errors
    /// When the file can't be used.
    pub(crate) fn wide(file: File, extent: Arc<Extent>) -> Result<Self, DatabaseError> {
        let gate = Self::before(file, extent)?;
        gate.inner.is_open.store(true, Ordering::Release);
        Ok(gate)
    }

    /// The database in the file, to be read.
    ///
    /// # Errors
    /// When redb can't open it.
    pub(crate) fn look_in(&self, mut builder: Builder) -> Result<Database, DatabaseError> {
        let inner = Arc::clone(&self.inner);
        builder.set_repair_callback(move |_| inner.is_repaired.store(true, Ordering::Relaxed));
        builder.create_with_backend(self.clone())
    }

    /// Lets redb have the file, unless that has to be repaired or has changed its length.
    ///
    /// # Errors
    /// When the mark can't be written.
    pub(crate) fn open(&self) -> io::Result<Admission> {
        let mut held = self.held();
        let is_more_than_marked = held.len != held.file_len || held.written.keys().any(|number| *number != 0);
        if is_more_than_marked || self.inner.is_repaired.load(Ordering::Relaxed) {
            return Ok(Admission::NeedsRepair);
        }
        if let Some(first) = held.written.remove(&0) {
            let there = held.len.min(BLOCK) as usize;
            self.inner.file.write(0, &first[..there])?;
            self.inner.file.sync_data()?;
        }
        self.inner.is_open.store(true, Ordering::Release);
        Ok(Admission::Granted)
    }

    /// What redb writes to a file that somebody cut short would fill the gap with zeros.
    fn admit_writing(&self) -> io::Result<()> {
        if self.inner.extent.is_cut() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "somebody has cut the file short"));
        }
        Ok(())
    }

    /// Sets the length of the file itself, and says so before it is shorter or after it is longer.
    fn resize(&self, len: u64) -> io::Result<()> {
        self.admit_writing()?;
        let extent = &self.inner.extent;
        extent.set(len.min(extent.get()));
        self.inner.file.set_len(len)?;
        extent.set(len);
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.inner.is_open.load(Ordering::Acquire)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Reads what redb would find there.
    fn read(&self, file: &FileBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset.saturating_add(out.len() as u64) > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = self.file_len.saturating_sub(offset).min(out.len() as u64) as usize;
        file.read(offset, &mut out[..there])?;
        out[there..].fill(0);
        for (number, within, of) in pieces(offset, out.len()) {
            if let Some(block) = self.written.get(&number) {
                out[of].copy_from_slice(&block[within]);
            }
        }
        Ok(())
    }

    fn write(&mut self, file: &FileBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        self.len = self.len.max(offset + data.len() as u64);
        for (number, within, of) in pieces(offset, data.len()) {
            if !self.written.contains_key(&number) {
                let mut block = vec![0; BLOCK as usize].into_boxed_slice();
                let there = self.len.saturating_sub(number * BLOCK).min(BLOCK) as usize;
                self.read(file, number * BLOCK, &mut block[..there])?;
                self.written.insert(number, block);
            }
            if let Some(block) = self.written.get_mut(&number) {
                block[within].copy_from_slice(&data[of]);
            }
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        self.len = len;
        self.file_len = self.file_len.min(len);
        self.written.retain(|number, _| number * BLOCK < len);
        if let Some(last) = self.written.get_mut(&(len / BLOCK)) {
            last[(len % BLOCK) as usize..].fill(0);
        }
    }
}

/// Goes over a stretch block by block: which part of the block is which part of the stretch.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let end = offset + length as u64;
    (offset / BLOCK..end.div_ceil(BLOCK)).map(move |number| {
        let (from, to) = (offset.max(number * BLOCK), end.min((number + 1) * BLOCK));
        let within = (from - number * BLOCK) as usize..(to - number * BLOCK) as usize;
        (number, within, (from - offset) as usize..(to - offset) as usize)
    })
}

impl StorageBackend for Gate {
    fn len(&self) -> io::Result<u64> {
        if self.is_open() { self.inner.file.len() } else { Ok(self.held().len) }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_open() { self.inner.file.read(offset, out) } else { self.held().read(&self.inner.file, offset, out) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.is_open() {
            return self.resize(len);
        }
        self.held().set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is_open() { self.inner.file.sync_data() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.is_open() {
            self.admit_writing()?;
            self.inner.extent.wrote(data.len() as u64);
            return self.inner.file.write(offset, data);
        }
        self.held().write(&self.inner.file, offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::path::{Path, PathBuf};

    use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("numbers");

    #[derive(Clone, Copy)]
    enum Repair {
        Quick,
        Full,
    }

    fn put(database: &Database, number: u64, repair: Repair) {
        let mut transaction = database.begin_write().unwrap();
        transaction.set_quick_repair(matches!(repair, Repair::Quick));
        transaction.open_table(TABLE).unwrap().insert(number, number).unwrap();
        transaction.commit().unwrap();
    }

    fn numbers(database: &Database) -> u64 {
        database.begin_read().unwrap().open_table(TABLE).unwrap().len().unwrap()
    }

    /// A file as a process leaves it that is killed after a commit.
    fn killed(folder: &Path, repair: Repair) -> PathBuf {
        let (alive, killed) = (folder.join("alive"), folder.join("killed"));
        let database = Database::create(&alive).unwrap();
        put(&database, 1, repair);
        fs::copy(&alive, &killed).unwrap();
        killed
    }

    fn gated(file: &Path) -> (Gate, Database) {
        let gate = Gate::before(OpenOptions::new().read(true).write(true).open(file).unwrap(), Arc::default()).unwrap();
        let database = gate.look_in(Builder::new()).unwrap();
        (gate, database)
    }

    #[test]
    fn while_it_is_shut_nothing_is_written_whatever_redb_writes() {
        let folder = crate::sample::folder("shut");
        for repair in [Repair::Quick, Repair::Full] {
            let file = killed(folder.path(), repair);
            let before = fs::read(&file).unwrap();
            let (gate, database) = gated(&file);
            for number in 2..2_000 {
                put(&database, number, Repair::Quick);
            }
            assert_eq!(numbers(&database), 1_999);
            drop((gate, database));
            assert!(fs::read(&file).unwrap() == before);
        }
    }

    #[test]
    fn when_it_opens_redb_goes_on_as_if_it_had_never_been_there() {
        let folder = crate::sample::folder("opens");
        let file = killed(folder.path(), Repair::Quick);
        let before = fs::read(&file).unwrap();
        let (gate, database) = gated(&file);
        assert_eq!(gate.open().unwrap(), Admission::Granted);
        let marked = fs::read(&file).unwrap();
        let plain = folder.path().join("plain");
        fs::write(&plain, &before).unwrap();
        let without_gate = Database::open(&plain).unwrap();
        assert!(marked == fs::read(&plain).unwrap(), "the mark is redb's own");
        drop(without_gate);
        put(&database, 2, Repair::Quick);
        drop((gate, database));
        assert_eq!(numbers(&Database::open(&file).unwrap()), 2);
    }

    #[test]
    fn what_must_be_repaired_does_not_pass() {
        let folder = crate::sample::folder("repair");
        let file = killed(folder.path(), Repair::Full);
        let before = fs::read(&file).unwrap();
        let (gate, database) = gated(&file);
        assert_eq!(gate.open().unwrap(), Admission::NeedsRepair);
        drop((gate, database));
        assert!(fs::read(&file).unwrap() == before);
    }
}
