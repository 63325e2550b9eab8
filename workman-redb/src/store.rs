//! [`RedbStore`] and its [`RedbBuilder`].

use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use redb::StorageBackend;
use workman_core::store::{
    Change, ChangeFeed, Dump, HomeProcess, Ownership, Page, PageRequest, Store, Unit, UnitResult,
};
use workman_core::{Clock, StoreError, SystemClock};

use crate::durability::Durability;
use crate::error::{OpenError, kills_the_handle};
use crate::handle::Handle;
use crate::home::{Home, JournalNeed, Setup};
use crate::opening::{DiskFile, OnDisk, Wishes, open_patiently};
use crate::report::{RepairReport, VerifyReport};
use crate::threads::{Threads, read_dump, read_page};
use crate::verify::{copy_store, repair_file, verify_file};
use crate::writer::Writer;

/// Works in one file, owned by one process at a time.
///
/// It keeps the whole contract of [`Store`]. All reading and writing happens on two threads of the store's own, which
/// sleep while there is nothing to do and outlive any async runtime. Calls that wait at the same time share one commit.
///
/// Opening and dropping a store block the calling thread for a few milliseconds; in async code, open it before the runtime
/// starts or on a thread for blocking code, and [`close`](Store::close) it before it is dropped.
///
/// # What an error means
/// After an I/O error the store opens its file again by itself, with growing pauses if that fails, and goes on;
/// meanwhile calls are answered with honest errors. Claims stay alive. A row that is damaged is an error that names it
/// (`Corrupted`), for the calls that need that row and no others.
///
/// # Examples
/// ```
/// use workman_core::store::Store;
/// use workman_redb::RedbStore;
///
/// # let folder = std::env::temp_dir().join(format!("workman-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("open.redb");
/// let store = RedbStore::open(&path)?;
/// assert!(RedbStore::open(&path).unwrap_err().is_already_open());
///
/// futures::executor::block_on(store.close());
/// let again = RedbStore::open(&path)?;
/// # drop(again);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RedbStore {
    engine: Engine,
    feed: Arc<ChangeFeed>,
    path: PathBuf,
    /// Of the file, however often it is opened.
    instance: u128,
    home: HomeProcess,
}

/// Who does the work.
enum Engine {
    Threads(Threads),
    /// Whoever calls.
    Inline {
        handle: Arc<Handle>,
        writer: Box<Mutex<Writer>>,
    },
}

impl RedbStore {
    /// Opens the store in this file, and makes the file if there is none.
    ///
    /// # Errors
    /// [`OpenError`]; the file is as it was before then.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Self::builder(path).open()
    }

    /// As [`open`](Self::open), but waits up to `patience` while somebody else has the store open: for a program that is
    /// started anew while its predecessor still ends.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_waiting(path: impl Into<PathBuf>, patience: Duration) -> Result<Self, OpenError> {
        Self::builder(path).waiting(patience).open()
    }

    /// A store in this file with other settings than the usual.
    pub fn builder(path: impl Into<PathBuf>) -> RedbBuilder {
        RedbBuilder::new(Home::File(path.into()))
    }

    /// A store on a disk of your own making, for tests that simulate one. `disk` is called for both files when the store is opened,
    /// and again each time that it opens itself anew after an error; each time it must show the same bytes.
    ///
    /// There is no ballast, and a store of a newer format is refused after redb has looked at it.
    pub fn builder_on<B: StorageBackend>(
        disk: impl Fn(DiskFile) -> io::Result<B> + Send + Sync + 'static,
    ) -> RedbBuilder {
        RedbBuilder::new(Home::Disk(Box::new(OnDisk(disk))))
    }

    /// Looks at everything in the file of a store that nobody has open: at redb's own checksums, which redb does not look at when
    /// it reads, at each record and each index entry, both ways, at each row and the record that vouches for it, and at all
    /// numbers. It reads the whole file, and writes nothing to it.
    ///
    /// Do that after a copy was restored, after the disk or the memory of the machine has failed, or when
    /// `WorkManager::health` says that the store is damaged. What it finds is mended by a backup, or else by [`repair`](Self::repair).
    ///
    /// # Errors
    /// [`OpenError`] when it can't even be opened, which may be damage as well; the file is as it was before.
    pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport, OpenError> {
        verify_file(path.as_ref(), RedbBuilder::DEFAULT_CACHE_BYTES)
    }

    /// As [`verify`](Self::verify), of this open store. Nothing else is read or written meanwhile.
    ///
    /// # Errors
    /// When the store is closed, or its file can't be used at all now.
    pub async fn verify_open(&self) -> Result<VerifyReport, StoreError> {
        match &self.engine {
            Engine::Threads(threads) => threads.verify().await,
            Engine::Inline { writer, .. } => lock(writer).verify(),
        }
    }

    /// Copies the store to another path while it is open, as it is at one moment: a store of its own, for a backup or to move it. A
    /// `cp` of the files of an open store may be torn. Runs on a thread of its own; calls and queries go on, but for the time that an
    /// error of the disk takes.
    ///
    /// # Errors
    /// [`OpenError`] when the copy can't be made, or there is a file already; nothing is left there then.
    pub async fn copy_to(&self, path: impl Into<PathBuf>) -> Result<(), OpenError> {
        let path = path.into();
        let cache = RedbBuilder::DEFAULT_CACHE_BYTES;
        self.home.check().map_err(|error| OpenError::beginning(&path, error))?;
        match &self.engine {
            Engine::Threads(threads) => threads.copy(path, cache).await,
            Engine::Inline { handle, writer } => {
                lock(writer).show();
                copy_store(handle, &path, cache)
            }
        }
    }

    /// Makes the file of a store anew that nobody has open: every row that can be read is copied as it lies, and all index entries
    /// are made from the records. No record is lost: what can't be read is copied too where it can be reached, the report lists
    /// it, and the old file stays beside the new one under the name that [`RepairReport::before`] says.
    ///
    /// It believes the records. Where they are older than the index, work that has run may run again, so a backup that is sound
    /// is better. It needs as much room as the file has.
    ///
    /// # Errors
    /// [`OpenError`] when the file can't be opened or the new one can't be written; the file is as it was before.
    pub fn repair(path: impl AsRef<Path>) -> Result<RepairReport, OpenError> {
        repair_file(path.as_ref(), RedbBuilder::DEFAULT_CACHE_BYTES)
    }

    /// Everything that is stored, for [`Dump::broken_invariants`]. It reads the whole
    /// file: for tests and for doctors.
    ///
    /// # Errors
    /// When something can't be read, or is not what was written.
    pub async fn dump(&self) -> Result<Dump, StoreError> {
        self.home.check()?;
        match &self.engine {
            Engine::Threads(threads) => threads.dump().await,
            Engine::Inline { handle, writer } => inline_look(handle, writer, read_dump),
        }
    }

    /// The file, by the path that it was opened with, from the root on.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        let Engine::Inline { handle, writer } = &mut self.engine else { return };
        let writer = writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.home.is_current() {
            writer.end();
        } else {
            writer.abandon();
            // A forked child has the parent's open file: closing it here would write to it and give the parent's locks away.
            let _kept = ManuallyDrop::new(Arc::clone(handle));
        }
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        self.home.check()?;
        match &self.engine {
            Engine::Threads(threads) => threads.transact(units).await,
            Engine::Inline { writer, .. } => {
                lock(writer).serve(&[units]).pop().unwrap_or_else(|| Err(StoreError::closed()))
            }
        }
    }

    async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        self.home.check()?;
        match &self.engine {
            Engine::Threads(threads) => threads.page(request).await,
            Engine::Inline { handle, writer } => {
                inline_look(handle, writer, |handle| read_page(handle, &request, &self.feed))
            }
        }
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        if self.home.is_current() { self.feed.subscribe() } else { stream::empty().boxed() }
    }

    fn ownership(&self) -> Ownership {
        Ownership::Exclusive
    }

    fn instance(&self) -> u128 {
        self.instance
    }

    async fn close(&self) {
        if !self.home.is_current() {
            return;
        }
        match &self.engine {
            Engine::Threads(threads) => threads.close().await,
            Engine::Inline { writer, .. } => lock(writer).end(),
        }
    }
}

/// How a [`RedbStore`] is opened.
#[must_use = "a builder opens nothing until `open` is called"]
pub struct RedbBuilder {
    home: Home,
    durability: Durability,
    setup: Setup,
    patience: Duration,
    clock: Option<Arc<dyn Clock>>,
    mode: Mode,
    verifies: bool,
}

enum Mode {
    Threads,
    Inline,
}

impl RedbBuilder {
    /// The cache that a store has unless it is told otherwise: 16 MiB.
    pub const DEFAULT_CACHE_BYTES: usize = 16 << 20;

    /// The room for commits in the journal of a store that is not told otherwise: a mebibyte, some thousands of them.
    pub const DEFAULT_JOURNAL_BYTES: u64 = 1 << 20;

    fn new(home: Home) -> Self {
        RedbBuilder {
            home,
            durability: Durability::Synced,
            setup: Setup {
                cache: Self::DEFAULT_CACHE_BYTES,
                journal: Self::DEFAULT_JOURNAL_BYTES,
                need: JournalNeed::Needed,
            },
            patience: Duration::ZERO,
            clock: None,
            mode: Mode::Threads,
            verifies: false,
        }
    }

    /// What an acknowledged commit survives; everything, unless this says otherwise.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The memory that pages are kept in. A larger one makes a store of a million works and more a little faster.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.setup.cache = bytes;
        self
    }

    /// The room for commits in the journal, from 64 KiB to a gibibyte; what is less or more counts as these. When it is full, one
    /// commit takes some milliseconds longer, since the store takes over what the journal holds; and so long does an opening
    /// take longer after a kill. A larger one makes both rarer and longer.
    pub fn journal_bytes(mut self, bytes: u64) -> Self {
        self.setup.journal = bytes;
        self
    }

    /// Opens the store also if its journal is missing, damaged or that of another store ([`OpenError::Journal`]). What can be read of
    /// it up to the damage is used; **what was acknowledged after that is lost**. The file of the journal is kept under the name
    /// `<file>.journal.discarded-<n>`.
    pub fn discard_journal(mut self) -> Self {
        self.setup.need = JournalNeed::Dispensable;
        self
    }

    /// Waits this long for whoever else has the store open.
    pub fn waiting(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Takes time from this clock: the pauses between two tries, and the syncs of a relaxed store.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Without threads: each call runs where it is made, and blocks there. For tests that drive everything by hand, and
    /// for those who have no threads. A relaxed store syncs at its next call then, and when it is closed.
    pub fn inline(mut self) -> Self {
        self.mode = Mode::Inline;
        self
    }

    /// Looks at everything in the file before it is used, as [`RedbStore::verify`] does, and refuses to open a damaged one
    /// ([`OpenError::Damaged`]). That reads the whole file at each start: some seconds for a million works.
    pub fn verify_on_open(mut self, verify: bool) -> Self {
        self.verifies = verify;
        self
    }

    /// Opens the store, and makes it if there is none.
    ///
    /// # Errors
    /// [`OpenError`]; the file is as it was before then.
    pub fn open(self) -> Result<RedbStore, OpenError> {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let home = self.home.settle()?;
        let path = home.path().to_owned();
        let wishes = Wishes { setup: self.setup, patience: self.patience, verifies: self.verifies };
        let (handle, sought) = open_patiently(home, &wishes, &*clock)?;
        let (handle, feed) = (Arc::new(handle), Arc::new(ChangeFeed::new()));
        let instance = handle.instance().as_u128();
        let writer = Writer::begin(Arc::clone(&handle), sought, Arc::clone(&feed), Arc::clone(&clock), self.durability)
            .map_err(|error| OpenError::beginning(&path, error))?;
        let engine = match self.mode {
            Mode::Inline => Engine::Inline { handle, writer: Box::new(Mutex::new(writer)) },
            Mode::Threads => Engine::Threads(
                Threads::start(writer, handle, clock).map_err(|source| OpenError::Io { path: path.clone(), source })?,
            ),
        };
        Ok(RedbStore { engine, feed, path, instance, home: HomeProcess::current() })
    }
}

/// Looks once, and once more with a new handle if the first one died.
fn inline_look<T>(
    handle: &Handle,
    writer: &Mutex<Writer>,
    look: impl Fn(&Handle) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut writer = lock(writer);
    writer.recover()?;
    writer.show();
    let generation = handle.generation();
    match look(handle) {
        Err(error) if kills_the_handle(&error) => {
            writer.replace(generation)?;
            look(handle)
        }
        looked => looked,
    }
}

fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}
