//! [`Home`]: where a store lives, and how its file is made, checked and opened.
//!
//! A file is made under another name and takes its own only when it is complete, so there is never half a store. A file
//! that is not ours, or newer than this build, is never written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf, is_separator};
use std::sync::Arc;

use redb::{Database, DatabaseError, StorageBackend};
use workman_core::StoreError;

use crate::codec::{Opening, Usage};
use crate::error::{Astray, JournalFault, OpenError};
use crate::gate::{Admission, Gate};
use crate::journal::{Found, JournalFile, Wanted, path_beside};
use crate::papers::Papers;
use crate::tenure::{Extent, Identity, Lock, Place, Tenure, private, sibling, sync_folder};

/// The first bytes of every redb file.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// A disk of somebody else's making.
pub(crate) trait Disk: Send + Sync {
    /// Opens the database on it.
    fn database(&self, builder: &redb::Builder) -> Result<Database, DatabaseError>;

    /// The journal on it.
    fn journal(&self) -> io::Result<Box<dyn StorageBackend>>;
}

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// The memory for pages, in bytes.
    pub(crate) cache: usize,
    /// How many bytes of records the journal takes.
    pub(crate) journal: u64,
    pub(crate) need: JournalNeed,
}

/// Whether a store is opened without the journal that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalNeed {
    Needed,
    /// What can be used of it is, and the rest is set aside.
    Dispensable,
}

/// A file that was opened to be looked at.
pub(crate) struct Inspected {
    pub(crate) database: Database,
    /// What the journal holds that the file does not.
    pub(crate) sought: Sought,
    /// The file itself, behind all links.
    pub(crate) file: PathBuf,
    pub(crate) lock: Lock,
}

/// Where a store lives.
pub(crate) enum Home {
    /// In a file.
    File(PathBuf),
    /// On [`redb::StorageBackend`]s.
    Disk(Box<dyn Disk>),
}

/// The journal that was found beside a store.
pub(crate) struct Sought {
    pub(crate) found: Found,
    /// What is wrong with it, if the store is opened all the same. It is set aside then.
    pub(crate) fault: Option<JournalFault>,
}

/// A store that was opened.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) papers: Papers,
    pub(crate) sought: Sought,
    /// What makes it ours; only a file has that.
    pub(crate) tenure: Option<Tenure>,
}

/// A database, what it says that it is, and its journal.
type Entered = (Database, Papers, Sought);

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
    /// What its journal holds can't be put into it, now.
    Failed(StoreError),
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
    pub(crate) fn open(&self, setup: &Setup) -> Result<Opened, OpenError> {
        match self {
            Home::File(path) => self.open_place(Place::find(path)?, setup),
            Home::Disk(disk) => {
                let database = self.check(disk.database(&builder(setup.cache)))?;
                let papers = match Papers::read(self.path(), &database)? {
                    Some(papers) => papers,
                    None => Papers::begin(self.path(), &database)?,
                };
                let sought = self.seek(&papers, None, setup)?;
                Ok(Opened { database, papers, sought, tenure: None })
            }
        }
    }

    /// Looks for the journal that belongs to a store, and writes nothing.
    fn seek(&self, papers: &Papers, store: Option<&Path>, setup: &Setup) -> Result<Sought, OpenError> {
        let file = match (self, store) {
            (Home::Disk(disk), _) => disk.journal().map(|backend| Some(JournalFile::on(backend))),
            (Home::File(path), store) => JournalFile::beside(store.unwrap_or(path)),
        };
        let wanted = Wanted { instance: papers.format.instance, commit: papers.commit, row: papers.journal };
        match file.and_then(|file| Found::look(file, wanted)) {
            Ok(Ok(found)) => Ok(Sought { found, fault: None }),
            Ok(Err((fault, found)))
                if setup.need == JournalNeed::Dispensable || is_left_over(papers, &fault, store) =>
            {
                Ok(Sought { found, fault: Some(fault) })
            }
            Ok(Err((fault, _))) => Err(self.without_journal(store, fault)),
            Err(error) => Err(self.without_journal(store, JournalFault::Unusable(error))),
        }
    }

    /// The journal on a disk without names, for what is to be written over it.
    pub(crate) fn journal_anew(&self) -> io::Result<Option<JournalFile>> {
        match self {
            Home::File(_) => Ok(None),
            Home::Disk(disk) => disk.journal().map(|backend| Some(JournalFile::on(backend))),
        }
    }

    /// Says that the store can't be opened with its journal.
    pub(crate) fn without_journal(&self, store: Option<&Path>, fault: JournalFault) -> OpenError {
        let path = self.path().to_owned();
        let journal = path_beside(store.unwrap_or(&path));
        OpenError::Journal { path, journal, fault }
    }

    /// Opens the same store again, if `is_ours` says so of its papers. What is not the same is not touched.
    pub(crate) fn reopen(
        &self,
        setup: &Setup,
        tenure: Option<&Tenure>,
        is_ours: impl Fn(Papers) -> Result<(), Refused>,
    ) -> Result<Entered, Refused> {
        let tenure = match (self, tenure) {
            (Home::Disk(disk), _) => return self.reopen_disk(&**disk, setup, is_ours),
            (Home::File(_), Some(tenure)) => tenure,
            (Home::File(_), None) => unreachable!("a file is opened with its tenure"),
        };
        tenure.check().map_err(Refused::Astray)?;
        let io = |error| OpenError::io(self.path(), error);
        let file = OpenOptions::new().read(true).write(true).open(self.path()).map_err(io)?;
        if !tenure.is_ours(&file).map_err(io)? {
            return Err(Refused::Astray(Astray::Replaced));
        }
        self.enter(file, setup, tenure.extent(), &tenure.place().real, is_ours)
    }

    fn reopen_disk(
        &self,
        disk: &dyn Disk,
        setup: &Setup,
        is_ours: impl Fn(Papers) -> Result<(), Refused>,
    ) -> Result<Entered, Refused> {
        let database = self.check(disk.database(&builder(setup.cache)))?;
        let papers =
            Papers::read(self.path(), &database)?.ok_or_else(|| OpenError::not_a_store(self.path(), "it is empty"))?;
        is_ours(papers)?;
        let sought = self.seek(&papers, None, setup)?;
        Ok((database, papers, sought))
    }

    /// The lock comes first: who has it is alone with the file, and with what is beside it.
    fn open_place(&self, place: Place, setup: &Setup) -> Result<Opened, OpenError> {
        let io = |error| OpenError::io(&place.path, error);
        // What is no store gets no lock beside it. What can't be read may be locked, which the lock says better.
        if place.is_taken() {
            match begins_like_redb(&place.real) {
                Ok(false) => return Err(OpenError::not_a_store(self.path(), "it does not begin as a redb file does")),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(io(error)),
                _ => {}
            }
        }
        let lock = Lock::take(&place)?;
        let extent = Arc::new(Extent::default());
        let (identity, (database, papers, sought)) = if place.is_taken() {
            let file = OpenOptions::new().read(true).write(true).open(&place.real).map_err(io)?;
            let identity = Identity::of(&file.metadata().map_err(io)?);
            (identity, self.enter(file, setup, &extent, &place.real, |_| Ok::<(), OpenError>(()))?)
        } else {
            self.create(&place, setup, &extent)?
        };
        let tenure = Tenure::new(place, lock, identity, extent).map_err(|error| OpenError::io(self.path(), error))?;
        match tenure.check() {
            Ok(()) => Ok(Opened { database, papers, sought, tenure: Some(tenure) }),
            Err(astray) => Err(OpenError::Io { path: self.path().to_owned(), source: io::Error::other(astray) }),
        }
    }

    /// Looks at a file that nobody has open, and lets nobody have it meanwhile. Nothing is written to it: what redb would write stays
    /// behind the gate.
    pub(crate) fn inspect(path: &Path, setup: &Setup) -> Result<Inspected, OpenError> {
        let home = Home::File(path.to_owned()).settle()?;
        let place = Place::find(home.path())?;
        let io = |error| OpenError::io(&place.path, error);
        let file = OpenOptions::new().read(true).write(true).open(&place.real).map_err(io)?;
        // Where locks are mandatory, what somebody has open may be impossible to read.
        let begins_like_redb = begins_like_redb(&place.real);
        if matches!(begins_like_redb, Ok(false)) {
            return Err(OpenError::not_a_store(home.path(), "it does not begin as a redb file does"));
        }
        let lock = Lock::take(&place)?;
        begins_like_redb.map_err(io)?;
        let gate = home.check(Gate::before(file, Arc::new(Extent::default())))?;
        let database = home.check(gate.look_in(builder(setup.cache)))?;
        let papers = home.look(&database, |_| Ok::<(), OpenError>(()))?;
        let sought = home.seek(&papers, Some(&place.real), setup)?;
        Ok(Inspected { database, sought, file: place.real, lock })
    }

    /// Opens a file, and lets redb write to it once `look` has found it to be the right one, and its journal is.
    fn enter<E: From<OpenError>>(
        &self,
        file: File,
        setup: &Setup,
        extent: &Arc<Extent>,
        store: &Path,
        look: impl Fn(Papers) -> Result<(), E>,
    ) -> Result<Entered, E> {
        let io = |error| OpenError::io(self.path(), error);
        let kept = file.try_clone().map_err(io)?;
        let gate = self.check(Gate::before(file, Arc::clone(extent)))?;
        let database = self.check(gate.look_in(builder(setup.cache)))?;
        let papers = self.look(&database, &look)?;
        let sought = self.seek(&papers, Some(store), setup)?;
        let database = match gate.open().map_err(io)? {
            Admission::Granted => return Ok((database, papers, sought)),
            Admission::NeedsRepair => {
                drop((database, gate, sought));
                self.check(in_file(kept, setup.cache, extent))?
            }
        };
        let papers = self.look(&database, &look)?;
        let sought = self.seek(&papers, Some(store), setup)?;
        Ok((database, papers, sought))
    }

    fn look<E: From<OpenError>>(
        &self,
        database: &Database,
        look: impl Fn(Papers) -> Result<(), E>,
    ) -> Result<Papers, E> {
        let papers = Papers::read(self.path(), database)?;
        let papers = papers
            .ok_or_else(|| OpenError::not_a_store(self.path(), "it is empty, or a redb file of another program"))?;
        look(papers).map(|()| papers)
    }

    /// What an earlier one left behind when it died half-way is begun anew, and never through a link that lies there.
    fn create(&self, place: &Place, setup: &Setup, extent: &Arc<Extent>) -> Result<(Identity, Entered), OpenError> {
        let io = |error| OpenError::io(&place.path, error);
        let fresh = sibling(&place.real, ".new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = private(options.read(true).write(true).create_new(true)).open(&fresh).map_err(io)?;
        let synced = file.try_clone().map_err(io)?;
        let database = self.check(in_file(file, setup.cache, extent))?;
        let papers = Papers::begin(self.path(), &database)?;
        // What lies beside a store that was moved away may be needed with it.
        let sought = self.seek(&papers, Some(&place.real), setup)?;
        synced.sync_all().map_err(io)?;
        fs::rename(&fresh, &place.real).map_err(io)?;
        sync_folder(place.folder()).map_err(io)?;
        Ok((Identity::of(&synced.metadata().map_err(io)?), (database, papers, sought)))
    }

    fn check<T>(&self, result: Result<T, impl Into<redb::Error>>) -> Result<T, OpenError> {
        result.map_err(|error| OpenError::redb(self.path(), error))
    }
}

/// A store that needs no journal is opened beside that of another store, which keeps what it holds under another name.
fn is_left_over(papers: &Papers, fault: &JournalFault, store: Option<&Path>) -> bool {
    let is_idle = papers.journal.usage == Usage::Idle && store.is_some();
    is_idle && matches!(fault, JournalFault::OfAnotherStore)
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

fn begins_like_redb(path: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut first)?;
    Ok(first == MAGIC)
}
