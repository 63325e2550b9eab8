//! [`Tenure`]: what makes a store ours from its opening to its close, and whether its file is still where it was opened.
//!
//! redb locks its own file, but gives that lock up with each handle that dies, and a handle is opened again by its path. So we hold
//! a lock on a file beside it that redb does not know and nobody removes. And an open file lives on without its name: what is
//! written to a file that was deleted or replaced is acknowledged by every layer below, and gone at the next start. So before
//! anything is written or read, the path must still lead to the very file that was opened.
//!
//! Unix lets everybody take a name away from an open file, and gives each file a number that tells. Windows has no number that the
//! standard library shows, but a file that was opened so keeps its name until it is closed: there nobody can take it away.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use workman_core::store::HomeProcess;

use crate::error::{Astray, OpenError};

/// Which file it is, whatever it is called. Nothing but Unix says; elsewhere what is [`pinned`] can't become another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(#[cfg(unix)] (u64, u64));

impl Identity {
    /// The device and the number of the file on it.
    #[cfg(unix)]
    pub(crate) fn of(file: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Identity((file.dev(), file.ino()))
    }

    /// Not by when it was made: a file that takes the name of one that was just deleted gets that one's time from Windows, and what
    /// passes for that time elsewhere changes with each write.
    #[cfg(not(unix))]
    pub(crate) fn of(_: &Metadata) -> Self {
        Identity()
    }
}

/// Where a store lies.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// As it was asked for, from the root on, so that it means the same after a `chdir`. Links in it are looked at anew each time.
    pub(crate) path: PathBuf,
    /// The file itself, behind all links: two ways to one file have the same neighbours, and so the same lock.
    pub(crate) real: PathBuf,
}

impl Place {
    /// Follows the path to its file, which need not be there; its folder must.
    ///
    /// # Errors
    /// [`OpenError`] for what can't be the path of a store.
    pub(crate) fn find(path: &Path) -> Result<Self, OpenError> {
        let at = || path.to_owned();
        let place = |real| Place { path: path.to_owned(), real };
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(OpenError::Directory { path: at() }),
            Ok(found) if !found.is_file() => {
                return Err(OpenError::NotAStore { path: at(), why: "it is a device, a pipe or a socket".into() });
            }
            Ok(_) => return behind_links(path).map(place).map_err(|error| OpenError::io(path, error)),
            Err(_) if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) => {
                return Err(OpenError::BrokenLink { path: at() });
            }
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(OpenError::io(path, error));
            }
            Err(_) => {}
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(OpenError::Directory { path: at() });
        };
        if is_stream(name) {
            return Err(OpenError::NotAStore {
                path: at(),
                why: "its name is that of a stream of another file".into(),
            });
        }
        match behind_links(folder) {
            Ok(folder) if folder.is_dir() => Ok(place(folder.join(name))),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(OpenError::io(path, error)),
            _ => Err(OpenError::MissingFolder { path: at() }),
        }
    }

    /// Whether there is a file.
    pub(crate) fn is_taken(&self) -> bool {
        fs::symlink_metadata(&self.real).is_ok()
    }

    /// The folder in which the file lies, or will.
    pub(crate) fn folder(&self) -> &Path {
        self.real.parent().unwrap_or(&self.real)
    }

    /// Whether the links on the path still lead to the same name, where files have no numbers that would tell.
    fn leads_there(&self) -> bool {
        cfg!(unix) || behind_links(&self.path).is_ok_and(|real| real == self.real)
    }
}

/// The path behind all links. Some drives of Windows (in memory, of a network) have no answer to that, and Wine has none for long paths:
/// there the path stands for itself, and whoever comes another way meets the lock that redb holds on the file.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
        .or_else(|error| if cfg!(windows) && fs::metadata(path).is_ok() { Ok(path.to_owned()) } else { Err(error) })
}

/// Which file lies beside a store.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    path: PathBuf,
    identity: Identity,
}

impl Mark {
    /// The mark of an open file.
    pub(crate) fn of(path: PathBuf, file: &File) -> io::Result<Self> {
        Ok(Mark { identity: Identity::of(&file.metadata()?), path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self) -> Result<(), Astray> {
        match self.find() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Astray::LockReplaced(self.path.clone())),
            Err(error) => Err(Astray::LockGone(self.path.clone(), error)),
        }
    }

    /// What the system says of the file, if it is still the one at its path.
    pub(crate) fn find(&self) -> io::Result<Option<Metadata>> {
        let found = fs::symlink_metadata(&self.path)?;
        Ok((Identity::of(&found) == self.identity).then_some(found))
    }
}

/// The lock that says who has a store open. The system gives it back when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    mark: Mark,
    home: HomeProcess,
}

impl Lock {
    /// Takes the lock of a store.
    ///
    /// # Errors
    /// `AlreadyOpen` when somebody has it; `NotLockable` when the file of the lock can't be one, and what its folder says when there
    /// can be none.
    pub(crate) fn take(place: &Place) -> Result<Self, OpenError> {
        let path = sibling(&place.real, ".lock");
        let unusable = |source| OpenError::NotLockable { path: place.path.clone(), lock: path.clone(), source };
        // Through a link, or into a pipe, nobody would lock what the next one locks.
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(unusable(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
        }
        let mut options = OpenOptions::new();
        let options = pinned(private(options.read(true).write(true).create(true).truncate(false)));
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(error) if fs::symlink_metadata(&path).is_err() => return Err(OpenError::io(&place.path, error)),
            Err(error) => return Err(unusable(error)),
        };
        let busy = || OpenError::AlreadyOpen { path: place.path.clone() };
        match try_lock(&file) {
            Ok(true) => {}
            Ok(false) => return Err(busy()),
            Err(error) if is_without_locks(&error) => {
                tracing::warn!(lock = %path.display(), %error, "the file system has no locks, so nothing keeps a second process out of this store");
            }
            Err(error) => return Err(unusable(error)),
        }
        let mark = Mark::of(path.clone(), &file).map_err(unusable)?;
        // Somebody put another file in its place while we took it, and that one may be locked as well.
        mark.check().map_err(|_| busy())?;
        Ok(Lock { file, mark, home: HomeProcess::current() })
    }
}

impl Drop for Lock {
    /// A forked child has the same open file, and would give back what is its parent's. The answer does not matter: the lock goes
    /// with the file, too, and some systems answer an error though they gave it back.
    fn drop(&mut self) {
        if self.home.is_current() {
            let _ = self.file.unlock();
        }
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// `ENOLCK`, which the standard library has no name for.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_LOCKS: i32 = 37;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const NO_LOCKS: i32 = 77;

fn is_without_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(NO_LOCKS) {
        return true;
    }
    error.kind() == io::ErrorKind::Unsupported
}

/// How long the file is as far as redb knows. Its gate keeps it.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    length: AtomicU64,
    is_cut: AtomicBool,
    /// How many bytes were written since somebody asked.
    written: AtomicU64,
}

impl Extent {
    /// A file that was just opened.
    pub(crate) fn begin(&self, length: u64) {
        self.length.store(length, Ordering::Release);
        self.is_cut.store(false, Ordering::Release);
    }

    /// The file becomes, or has become, this long.
    pub(crate) fn set(&self, length: u64) {
        self.length.store(length, Ordering::Release);
    }

    pub(crate) fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes were written since this was asked last.
    pub(crate) fn take_written(&self) -> u64 {
        self.written.swap(0, Ordering::Relaxed)
    }

    pub(crate) fn get(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// Whether somebody else has cut the file short, so that nothing may be written to it any more: redb would fill the gap with
    /// zeros.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }
}

/// A store that is ours.
#[derive(Debug)]
pub(crate) struct Tenure {
    place: Place,
    identity: Identity,
    extent: Arc<Extent>,
    hold: Mutex<Option<(Lock, Pin)>>,
    mark: Mark,
}

impl Tenure {
    /// A store whose file was opened under this lock.
    ///
    /// # Errors
    /// When its name can't be kept to it.
    pub(crate) fn new(place: Place, lock: Lock, identity: Identity, extent: Arc<Extent>) -> io::Result<Self> {
        let pin = Pin::put(&place.real)?;
        Ok(Tenure { place, identity, extent, mark: lock.mark.clone(), hold: Mutex::new(Some((lock, pin))) })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn extent(&self) -> &Arc<Extent> {
        &self.extent
    }

    /// Whether the path still leads to our file, as long as it was, and the lock is still the lock.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self) -> Result<(), Astray> {
        // redb may make the file longer or shorter meanwhile, so only what is too short by both counts was cut.
        let before = self.extent.get();
        let found = self.check_identity()?;
        let least = before.min(self.extent.get());
        if found.len() < least {
            self.extent.is_cut.store(true, Ordering::Release);
            return Err(Astray::Cut { from: least, to: found.len() });
        }
        self.mark.check()
    }

    /// Whether the path still leads to our file.
    fn check_identity(&self) -> Result<Metadata, Astray> {
        match fs::metadata(&self.place.path) {
            Ok(found) if Identity::of(&found) == self.identity && self.place.leads_there() => Ok(found),
            Ok(_) => Err(Astray::Replaced),
            Err(error) => Err(Astray::Gone(error)),
        }
    }

    /// Whether this is the file that was opened.
    pub(crate) fn is_ours(&self, file: &File) -> io::Result<bool> {
        Ok(Identity::of(&file.metadata()?) == self.identity)
    }

    /// The store is nobody's again.
    pub(crate) fn end(&self) {
        drop(self.hold.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The path of a file that belongs to `store`.
pub(crate) fn sibling(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a name is that of a stream in a file (`file:stream`). What would lie beside it would lie in that file, too.
fn is_stream(name: &OsStr) -> bool {
    cfg!(windows) && name.as_encoded_bytes().contains(&b':')
}

/// Keeps a name to its file, where the system does that.
#[derive(Debug)]
pub(crate) struct Pin(
    #[cfg(windows)]
    #[expect(dead_code, reason = "it is held, not used")]
    File,
);

impl Pin {
    /// A handle that works with the file would not do: it goes when it is dead, and a new file has another name at first.
    #[cfg(windows)]
    pub(crate) fn put(file: &Path) -> io::Result<Self> {
        pinned(OpenOptions::new().read(true)).open(file).map(Pin)
    }

    #[cfg(not(windows))]
    #[expect(clippy::unnecessary_wraps, reason = "it can fail elsewhere")]
    pub(crate) fn put(_: &Path) -> io::Result<Self> {
        Ok(Pin())
    }
}

/// What is opened so can't be deleted, renamed or replaced until it is closed, nor can its folder.
#[cfg(windows)]
pub(crate) fn pinned(options: &mut OpenOptions) -> &mut OpenOptions {
    const OTHERS_MAY_READ_AND_WRITE: u32 = 1 | 2;
    std::os::windows::fs::OpenOptionsExt::share_mode(options, OTHERS_MAY_READ_AND_WRITE)
}

/// Here that can be done, and is found by the [`Identity`].
#[cfg(not(windows))]
pub(crate) fn pinned(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Only the user who runs the program may read what it keeps.
#[cfg(unix)]
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

/// The folder's own rights decide here.
#[cfg(not(unix))]
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
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
