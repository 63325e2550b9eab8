//! [`Home`]: where a store lives, and how its file is made, checked and opened.
//!
//! A file is made under another name and takes its own only when it is complete, so there is never half a store. A file
//! that is not ours, or newer than this build, is never written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf, is_separator};
use std::sync::Arc;

use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};
use workman_core::{StoreError, WorkId};

use crate::codec::{Body, Format, Opening};
use crate::envelope::{self, Damage, Kind};
use crate::error::{Astray, OpenError, failed, in_doubt};
use crate::gate::{Admission, Gate};
use crate::rows::{COMMIT_KEY, FORMAT_KEY, NAMES, OPENING_KEY, TableId};
use crate::tables::WriteTables;
use crate::tenure::{Extent, Identity, Lock, Place, Tenure, private, sibling};

/// The version of the file format that this build writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// The first bytes of every redb file.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Opens a database on a disk of somebody else's making.
pub(crate) type OpenDisk = dyn Fn(&redb::Builder) -> Result<Database, DatabaseError> + Send + Sync;

/// A file that was opened to be looked at.
pub(crate) struct Inspected {
    pub(crate) database: Database,
    /// The file itself, behind all links.
    pub(crate) file: PathBuf,
    _lock: Lock,
}

/// Where a store lives.
pub(crate) enum Home {
    /// In a file.
    File(PathBuf),
    /// On a [`redb::StorageBackend`].
    Disk(Box<OpenDisk>),
}

/// A store that was opened.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) papers: Papers,
    /// What makes it ours; only a file has that.
    pub(crate) tenure: Option<Tenure>,
}

/// What a store says that it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Papers {
    pub(crate) format: Format,
    pub(crate) opening: Opening,
    /// The number of its newest commit.
    pub(crate) commit: u64,
}

/// Why a store was not opened again.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It can't be opened, now.
    Open(OpenError),
    /// It is not where it was, now.
    Astray(Astray),
    /// Somebody else has opened it meanwhile.
    Taken(Opening),
    /// It shows this commit, which can't be if nobody else has written to it.
    Strange(u64),
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        Refused::Open(error)
    }
}

impl Home {
    /// The same for good, wherever the process goes: a file's path begins at the root.
    ///
    /// # Errors
    /// When the path can't be that of a file, or the folder that it begins in is gone.
    pub(crate) fn settle(self) -> Result<Self, OpenError> {
        let Home::File(path) = self else { return Ok(self) };
        if path.as_os_str().as_encoded_bytes().last().is_some_and(|last| is_separator(char::from(*last))) {
            return Err(OpenError::Directory { path });
        }
        match std::path::absolute(&path) {
            Ok(absolute) => Ok(Home::File(absolute)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::MissingFolder { path }),
            Err(source) => Err(OpenError::Io { path, source }),
        }
    }

    /// What messages call it.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Home::File(path) => path,
            Home::Disk(_) => Path::new("(storage backend)"),
        }
    }

    /// Opens the store, and makes it if there is none.
    pub(crate) fn open(&self, cache: usize) -> Result<Opened, OpenError> {
        match self {
            Home::File(path) => self.open_place(Place::find(path)?, cache),
            Home::Disk(open) => {
                let database = self.check(open(&builder(cache)))?;
                let papers = match self.papers(&database)? {
                    Some(papers) => papers,
                    None => self.begin(&database)?,
                };
                Ok(Opened { database, papers, tenure: None })
            }
        }
    }

    /// Opens the same store again, if `is_ours` says so of its papers. What is not the same is not touched.
    pub(crate) fn reopen(
        &self,
        cache: usize,
        tenure: Option<&Tenure>,
        is_ours: impl Fn(Papers) -> Result<(), Refused>,
    ) -> Result<(Database, Papers), Refused> {
        let tenure = match (self, tenure) {
            (Home::Disk(open), _) => return self.reopen_disk(open, cache, is_ours),
            (Home::File(_), Some(tenure)) => tenure,
            (Home::File(_), None) => unreachable!("a file is opened with its tenure"),
        };
        tenure.check().map_err(Refused::Astray)?;
        let io = |error| OpenError::io(self.path(), error);
        let file = OpenOptions::new().read(true).write(true).open(self.path()).map_err(io)?;
        if !tenure.is_ours(&file).map_err(io)? {
            return Err(Refused::Astray(Astray::Replaced));
        }
        self.enter(file, cache, tenure.extent(), is_ours)
    }

    fn reopen_disk(
        &self,
        open: &OpenDisk,
        cache: usize,
        is_ours: impl Fn(Papers) -> Result<(), Refused>,
    ) -> Result<(Database, Papers), Refused> {
        let database = self.check(open(&builder(cache)))?;
        let papers = self.papers(&database)?.ok_or_else(|| self.not_a_store("it is empty"))?;
        is_ours(papers).map(|()| (database, papers))
    }

    /// The lock comes first: who has it is alone with the file, and with what is beside it.
    fn open_place(&self, place: Place, cache: usize) -> Result<Opened, OpenError> {
        let io = |error| OpenError::io(&place.path, error);
        // What is no store gets no lock beside it. What can't be read may be locked, which the lock says better.
        if place.is_taken() {
            match begins_like_redb(&place.real) {
                Ok(false) => return Err(self.not_a_store("it does not begin as a redb file does")),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(io(error)),
                _ => {}
            }
        }
        let lock = Lock::take(&place)?;
        let extent = Arc::new(Extent::default());
        let (identity, database, papers) = if place.is_taken() {
            let file = OpenOptions::new().read(true).write(true).open(&place.real).map_err(io)?;
            let identity = Identity::of(&file.metadata().map_err(io)?);
            let (database, papers) = self.enter(file, cache, &extent, |_| Ok::<(), OpenError>(()))?;
            (identity, database, papers)
        } else {
            self.create(&place, cache, &extent)?
        };
        let tenure = Tenure::new(place, lock, identity, extent);
        match tenure.check() {
            Ok(()) => Ok(Opened { database, papers, tenure: Some(tenure) }),
            Err(astray) => Err(OpenError::Io { path: self.path().to_owned(), source: io::Error::other(astray) }),
        }
    }

    /// Looks at a file that nobody has open, and lets nobody have it meanwhile. Nothing is written to it: what redb would write stays
    /// behind the gate.
    pub(crate) fn inspect(path: &Path, cache: usize) -> Result<Inspected, OpenError> {
        let home = Home::File(path.to_owned()).settle()?;
        let place = Place::find(home.path())?;
        let io = |error| OpenError::io(&place.path, error);
        let file = OpenOptions::new().read(true).write(true).open(&place.real).map_err(io)?;
        if !begins_like_redb(&place.real).map_err(io)? {
            return Err(home.not_a_store("it does not begin as a redb file does"));
        }
        let lock = Lock::take(&place)?;
        let gate = home.check(Gate::before(file, Arc::new(Extent::default())))?;
        let database = home.check(gate.look_in(builder(cache)))?;
        home.look(&database, |_| Ok::<(), OpenError>(()))?;
        Ok(Inspected { database, file: place.real, _lock: lock })
    }

    /// Opens a file, and lets redb write to it once `look` has found it to be the right one.
    fn enter<E: From<OpenError>>(
        &self,
        file: File,
        cache: usize,
        extent: &Arc<Extent>,
        look: impl Fn(Papers) -> Result<(), E>,
    ) -> Result<(Database, Papers), E> {
        let io = |error| OpenError::io(self.path(), error);
        let kept = file.try_clone().map_err(io)?;
        let gate = self.check(Gate::before(file, Arc::clone(extent)))?;
        let database = self.check(gate.look_in(builder(cache)))?;
        let looked = self.look(&database, &look)?;
        let database = match gate.open().map_err(io)? {
            Admission::Granted => return Ok((database, looked)),
            Admission::NeedsRepair => {
                drop((database, gate));
                self.check(in_file(kept, cache, extent))?
            }
        };
        let looked = self.look(&database, &look)?;
        Ok((database, looked))
    }

    fn look<E: From<OpenError>>(
        &self,
        database: &Database,
        look: impl Fn(Papers) -> Result<(), E>,
    ) -> Result<Papers, E> {
        let papers = self.papers(database)?;
        let papers = papers.ok_or_else(|| self.not_a_store("it is empty, or a redb file of another program"))?;
        look(papers).map(|()| papers)
    }

    /// What an earlier one left behind when it died half-way is begun anew, and never through a link that lies there.
    fn create(
        &self,
        place: &Place,
        cache: usize,
        extent: &Arc<Extent>,
    ) -> Result<(Identity, Database, Papers), OpenError> {
        let io = |error| OpenError::io(&place.path, error);
        let fresh = sibling(&place.real, ".new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = private(options.read(true).write(true).create_new(true)).open(&fresh).map_err(io)?;
        let synced = file.try_clone().map_err(io)?;
        let database = self.check(in_file(file, cache, extent))?;
        let papers = self.begin(&database)?;
        synced.sync_all().map_err(io)?;
        fs::rename(&fresh, &place.real).map_err(io)?;
        sync_folder(place.folder()).map_err(io)?;
        Ok((Identity::of(&synced.metadata().map_err(io)?), database, papers))
    }

    /// Makes the tables of an empty database, and says what it is.
    fn begin(&self, database: &Database) -> Result<Papers, OpenError> {
        let format = Format { version: FORMAT, instance: WorkId::generate() };
        let opening = Opening { incarnation: 0, id: WorkId::generate() };
        let made = write_alone(&self.path().display().to_string(), database, |tables| {
            tables.make_all()?;
            tables.put_format(format)?;
            tables.put_opening(opening)
        });
        made.map_err(|error| OpenError::beginning(self.path(), error))?;
        Ok(Papers { format, opening, commit: 0 })
    }

    /// What a database says that it is; `None` if it is empty.
    fn papers(&self, database: &Database) -> Result<Option<Papers>, OpenError> {
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
        let damaged = |key: &[u8], damage: Damage| {
            let why = format!("its row `{}`: {damage}", String::from_utf8_lossy(key));
            OpenError::Corrupted { path: path(), why }
        };
        let newer = |found| OpenError::NewerFormat { path: path(), found, supported: FORMAT };
        let format = match envelope::open(Kind::Format, FORMAT_KEY, row.value(), |_, from| Format::read(from)) {
            Ok(format) if format.version <= FORMAT => format,
            Ok(format) => return Err(newer(format.version)),
            Err(Damage::Newer(_)) => return Err(newer(FORMAT + 1)),
            Err(damage) => return Err(damaged(FORMAT_KEY, damage)),
        };
        let opening = self.check(table.get(OPENING_KEY))?.map_or(Err(Damage::Missing), |row| {
            envelope::open(Kind::Opening, OPENING_KEY, row.value(), |_, from| Opening::read(from))
        });
        let opening = opening.map_err(|damage| damaged(OPENING_KEY, damage))?;
        let commit = self
            .check(table.get(COMMIT_KEY))?
            .map_or(Ok(0), |row| envelope::open(Kind::Commit, COMMIT_KEY, row.value(), |_, from| from.u64()));
        let commit = commit.map_err(|damage| damaged(COMMIT_KEY, damage))?;
        Ok(Some(Papers { format, opening, commit }))
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
fn in_file(file: File, cache: usize, extent: &Arc<Extent>) -> Result<Database, DatabaseError> {
    builder(cache).create_with_backend(Gate::wide(file, Arc::clone(extent))?)
}

/// Writes what is no commit of works, in one transaction that is synced.
pub(crate) fn write_alone(
    place: &str,
    database: &Database,
    write: impl FnOnce(&mut WriteTables<'_, '_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut transaction = database.begin_write().map_err(|error| failed(place, error))?;
    transaction.set_quick_repair(true);
    let mut tables = WriteTables::open(place, &transaction, None)?;
    write(&mut tables)?;
    tables.flush()?;
    drop(tables);
    transaction.commit().map_err(|error| in_doubt(place, error))
}

fn begins_like_redb(path: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut first)?;
    Ok(first == MAGIC)
}

/// Makes a new name durable.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Folders can't be opened as files here; the file system keeps names by itself.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
