//! [`Home`]: where a store lives, and how its file is made, checked and opened.
//!
//! A file is made under another name and takes its own only when it is complete, so there is never half a store. A file
//! that is not ours, or newer than this build, is never written to.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};
use workman_core::id::WorkId;
use workman_core::store::{StoreError, StoreErrorKind};

use crate::ballast::{private, sibling};
use crate::codec::{Body, Format};
use crate::envelope::{self, Damage, Kind};
use crate::error::OpenError;
use crate::gate::{Admission, Gate};
use crate::rows::{FORMAT_KEY, NAMES, TableId};
use crate::tables::WriteTables;

/// The version of the file format that this build writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// The first bytes of every redb file.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Opens a database on a disk of somebody else's making.
pub(crate) type OpenDisk = dyn Fn(&redb::Builder) -> Result<Database, DatabaseError> + Send + Sync;

/// A file that was opened to be looked at, and its lock.
pub(crate) struct FilePair {
    pub(crate) database: Database,
    format: Format,
    gate: Gate,
    kept: File,
}

/// Where a store lives.
pub(crate) enum Home {
    /// In a file.
    File(PathBuf),
    /// On a [`redb::StorageBackend`].
    Disk(Box<OpenDisk>),
}

impl Home {
    /// What messages call it.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Home::File(path) => path,
            Home::Disk(_) => Path::new("(storage backend)"),
        }
    }

    /// Opens the store, and makes it if there is none.
    pub(crate) fn open(&self, cache: usize) -> Result<(Database, Format), OpenError> {
        match self {
            Home::File(path) if fs::symlink_metadata(path).is_ok() => self.open_file(path, cache),
            Home::File(path) => self.create_file(path, cache),
            Home::Disk(open) => {
                let database = self.check(open(&builder(cache)))?;
                let format = match self.format_of(&database)? {
                    Some(format) => format,
                    None => self.begin(&database)?,
                };
                Ok((database, format))
            }
        }
    }

    /// Opens the same store again. A file that is gone or is another one is not taken for it.
    pub(crate) fn reopen(&self, cache: usize, instance: WorkId) -> Result<Database, OpenError> {
        let database = match self {
            Home::File(path) => builder(cache).open(path),
            Home::Disk(open) => open(&builder(cache)),
        };
        let database = self.check(database)?;
        match self.format_of(&database)? {
            Some(format) if format.instance == instance => Ok(database),
            _ => Err(self.not_a_store("it is another store than the one that was opened")),
        }
    }

    /// Opens a file that may be a store, and writes nothing to it: what redb would write stays behind the gate.
    pub(crate) fn look(&self, path: &Path, cache: usize) -> Result<FilePair, OpenError> {
        let io = |error| OpenError::io(path, error);
        if fs::metadata(path).map_err(io)?.is_dir() {
            return Err(OpenError::Directory { path: path.to_owned() });
        }
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        lock(&file).map_err(io)?;
        if !begins_like_redb(&mut file).map_err(io)? {
            return Err(self.not_a_store("it does not begin as a redb file does"));
        }
        let kept = file.try_clone().map_err(io)?;
        let gate = self.check(hand_over(file).and_then(Gate::before))?;
        let database = self.check(gate.look_in(builder(cache)))?;
        let Some(format) = self.format_of(&database)? else {
            return Err(self.not_a_store("it is empty, or a redb file of another program"));
        };
        Ok(FilePair { database, format, gate, kept })
    }

    fn open_file(&self, path: &Path, cache: usize) -> Result<(Database, Format), OpenError> {
        let FilePair { database, format, gate, kept } = self.look(path, cache)?;
        let database = match gate.open().map_err(|error| OpenError::io(path, error))? {
            Admission::Granted => database,
            Admission::NeedsRepair => {
                drop((database, gate));
                self.check(in_file(kept, cache))?
            }
        };
        Ok((database, format))
    }

    fn create_file(&self, path: &Path, cache: usize) -> Result<(Database, Format), OpenError> {
        let io = |error| OpenError::io(path, error);
        let folder = folder_of(path);
        if !folder.is_dir() {
            return Err(OpenError::MissingFolder { path: path.to_owned() });
        }
        let fresh = sibling(path, ".new");
        // Whoever holds the lock on the fresh file is the only one who makes this store. What an earlier one left behind
        // when it died half-way is begun anew.
        let mut options = OpenOptions::new();
        let options = private(options.read(true).write(true).create(true).truncate(false));
        let file = options.open(&fresh).map_err(io)?;
        lock(&file).map_err(io)?;
        if !is_at(&file, &fresh) {
            // What we locked has become the store meanwhile.
            return Err(OpenError::AlreadyOpen { path: path.to_owned() });
        }
        if fs::symlink_metadata(path).is_ok() {
            fs::remove_file(&fresh).map_err(io)?;
            return self.open_file(path, cache);
        }
        file.set_len(0).map_err(io)?;
        let synced = file.try_clone().map_err(io)?;
        let database = self.check(hand_over(file).and_then(|file| in_file(file, cache)))?;
        let format = self.begin(&database)?;
        synced.sync_all().map_err(io)?;
        // The lock belongs to the file and not to its name: from here on, and for everybody, the store is open.
        fs::rename(&fresh, path).map_err(io)?;
        sync_folder(folder).map_err(io)?;
        Ok((database, format))
    }

    /// Makes the tables of an empty database, and says what it is.
    fn begin(&self, database: &Database) -> Result<Format, OpenError> {
        let format = Format { version: FORMAT, instance: WorkId::generate() };
        self.write(database, |tables| tables.put_format(format))?;
        Ok(format)
    }

    /// Writes in one commit that is synced.
    fn write(
        &self,
        database: &Database,
        write: impl FnOnce(&mut WriteTables<'_, '_>) -> Result<(), StoreError>,
    ) -> Result<(), OpenError> {
        let refused = |error: StoreError| {
            let path = self.path().to_owned();
            match error.kind() {
                StoreErrorKind::Corrupted => OpenError::Corrupted { path, why: error.to_string() },
                _ => OpenError::Io { path, source: io::Error::other(error) },
            }
        };
        let mut transaction = self.check(database.begin_write())?;
        transaction.set_quick_repair(true);
        let place = self.path().display().to_string();
        let mut tables = WriteTables::open(&place, &transaction, None).map_err(refused)?;
        tables.make_all().map_err(refused)?;
        write(&mut tables).map_err(refused)?;
        tables.flush().map_err(refused)?;
        drop(tables);
        self.check(transaction.commit())
    }

    /// What a database says that it is; `None` if it is empty.
    fn format_of(&self, database: &Database) -> Result<Option<Format>, OpenError> {
        let meta: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(NAMES[TableId::Meta as usize]);
        let transaction = self.check(database.begin_read())?;
        let table = match transaction.open_table(meta) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) if self.check(transaction.list_tables())?.next().is_none() => {
                return Ok(None);
            }
            Err(TableError::Storage(error)) => return self.check(Err(error)),
            Err(_) => return Err(self.not_a_store("it is a redb file of another program")),
        };
        let Some(row) = self.check(table.get(FORMAT_KEY))? else {
            return Err(self.not_a_store("it is a redb file of another program"));
        };
        let path = || self.path().to_owned();
        match envelope::open(Kind::Format, FORMAT_KEY, row.value(), |_, from| Format::read(from)) {
            Ok(format) if format.version <= FORMAT => Ok(Some(format)),
            Ok(format) => Err(OpenError::NewerFormat { path: path(), found: format.version, supported: FORMAT }),
            Err(Damage::Newer(_)) => Err(OpenError::NewerFormat { path: path(), found: FORMAT + 1, supported: FORMAT }),
            Err(damage) => Err(OpenError::Corrupted { path: path(), why: format!("its format row: {damage}") }),
        }
    }

    fn check<T>(&self, result: Result<T, impl Into<redb::Error>>) -> Result<T, OpenError> {
        result.map_err(|error| OpenError::redb(self.path(), error))
    }

    fn not_a_store(&self, why: &str) -> OpenError {
        OpenError::NotAStore { path: self.path().to_owned(), why: why.into() }
    }
}

fn builder(cache: usize) -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(cache);
    builder
}

/// The database in this file, made if the file is empty.
fn in_file(file: File, cache: usize) -> Result<Database, DatabaseError> {
    builder(cache).create_with_backend(FileBackend::new(file)?)
}

/// Takes the lock that redb takes, before a byte is read. A file system without locks is redb's to judge.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

/// On Unix redb takes the same lock again through the same open file, so nobody can come between. Elsewhere it must
/// be free for a moment.
fn hand_over(file: File) -> Result<File, DatabaseError> {
    if cfg!(not(unix)) {
        file.unlock()?;
    }
    Ok(file)
}

fn begins_like_redb(file: &mut File) -> io::Result<bool> {
    let mut first = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(MAGIC.len() as u64).read_to_end(&mut first)?;
    Ok(first == MAGIC)
}

/// Whether this open file is the one with that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().ok().map(identity) == fs::metadata(path).ok().map(identity)
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a new name of this file durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    sync_folder(folder_of(path))
}

/// Makes a new name durable.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Folders can't be opened as files here; the file system keeps names by itself.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
