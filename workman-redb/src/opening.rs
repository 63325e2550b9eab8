//! How a store is opened: on which disk, with how much patience, and looked at first or not.

use std::io;
use std::time::Duration;

use redb::StorageBackend;
use workman_core::Clock;

use crate::error::OpenError;
use crate::handle::Handle;
use crate::home::{Disk, Home, Opened, Setup, Sought};
use crate::report::VerifyReport;
use crate::threads::block_on;
use crate::verify::{verify, verify_file};

/// A file of a store that lies on a disk of your own making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFile {
    /// The store itself.
    Store,
    /// Its journal.
    Journal,
}

/// What shows both files.
pub(crate) struct OnDisk<F>(pub(crate) F);

impl<B: StorageBackend, F: Fn(DiskFile) -> io::Result<B> + Send + Sync> Disk for OnDisk<F> {
    fn database(&self, builder: &redb::Builder) -> Result<redb::Database, redb::DatabaseError> {
        builder.create_with_backend((self.0)(DiskFile::Store)?)
    }

    fn journal(&self) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new((self.0)(DiskFile::Journal)?))
    }
}

/// The pauses between two tries grow from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How a file is opened.
pub(crate) struct Wishes {
    pub(crate) setup: Setup,
    pub(crate) patience: Duration,
    pub(crate) verifies: bool,
}

/// Opens a store, if it is sound or nobody asked.
fn open_once(home: &Home, wishes: &Wishes) -> Result<Opened, OpenError> {
    let refuse = |report: VerifyReport| match report.is_sound() {
        true => Ok(()),
        false => Err(OpenError::Damaged { path: home.path().to_owned(), report: Box::new(report) }),
    };
    match home {
        Home::File(path) if wishes.verifies && path.exists() => refuse(verify_file(path, wishes.setup.cache)?)?,
        _ => {}
    }
    let mut opened = Handle::open(home, &wishes.setup)?;
    if let (Home::Disk(_), true) = (home, wishes.verifies) {
        refuse(verify(&home.path().display().to_string(), &mut opened.database).0)?;
    }
    Ok(opened)
}

/// Opens a store, and waits for whoever else has it.
///
/// # Errors
/// Why it can't be opened.
pub(crate) fn open_patiently(home: Home, wishes: &Wishes, clock: &dyn Clock) -> Result<(Handle, Sought), OpenError> {
    let until = clock.monotonic() + wishes.patience;
    let mut pause = FIRST_PAUSE;
    loop {
        match open_once(&home, wishes) {
            Err(error) if error.is_already_open() && clock.monotonic() < until => {
                let left = until.saturating_sub(clock.monotonic());
                block_on(clock.sleep(pause.min(left)));
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error),
            Ok(opened) => return Ok(Handle::new(opened, home, wishes.setup)),
        }
    }
}
