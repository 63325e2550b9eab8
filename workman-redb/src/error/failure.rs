//! How an error of redb or of the journal becomes a [`StoreError`] that is honest about the data.

use std::error::Error;
use std::fmt;
use std::io;

use workman_core::{StoreError, StoreErrorKind};

use super::astray::Astray;
use crate::codec::CodecError;

/// An error of redb before a commit began: certainly nothing was written.
pub(crate) fn failed(place: &str, error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    let (kind, message) = match &error {
        redb::Error::Corrupted(_) => (StoreErrorKind::Corrupted, format!("the store {place} is damaged: {error}")),
        _ if is_full(&error) => (
            StoreErrorKind::Rejected,
            format!("the disk of the store {place} is full; free some space, then the same call works again"),
        ),
        _ => (StoreErrorKind::Rejected, format!("the store {place} could not be used: {error}")),
    };
    StoreError::new(kind, message).caused_by(error)
}

/// An error of redb in a commit: it may have happened, or not.
pub(crate) fn in_doubt(place: &str, error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    StoreError::new(StoreErrorKind::Indeterminate, format!("a commit to the store {place} failed: {error}"))
        .caused_by(error)
}

/// An error of the journal while a commit was written to it: it may be there, or not.
pub(crate) fn unwritten(place: &str, error: io::Error) -> StoreError {
    let message = format!("a commit to the journal of the store {place} failed: {error}");
    StoreError::new(StoreErrorKind::Indeterminate, message).caused_by(JournalFailed(error))
}

/// There is no journal, and none can be made: certainly nothing was written.
pub(crate) fn unmade(place: &str, error: io::Error) -> StoreError {
    let message = format!(
        "the journal of the store {place}, a file beside it, could not be made: {error}; the folder must be one in which this process \
         may make files, with room for it"
    );
    StoreError::new(StoreErrorKind::Rejected, message).caused_by(JournalFailed(error))
}

/// A record of the journal that is what was written, and means nothing to this build.
pub(crate) fn unreadable_record(place: &str, error: CodecError) -> StoreError {
    let message = format!(
        "a commit in the journal of the store {place} can't be read: {error}; use the version of the program that wrote it, or a newer one"
    );
    StoreError::new(StoreErrorKind::Corrupted, message)
}

/// An error of the journal of a store that is open.
#[derive(Debug)]
pub(crate) struct JournalFailed(pub(crate) io::Error);

impl fmt::Display for JournalFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for JournalFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Somebody put an older file, or a part of one, in the place of this one while it was open.
pub(crate) fn replaced(place: &str, stored: u64, shown: u64) -> StoreError {
    let message = format!(
        "the store {place} shows commit {stored}, and {shown} was the last that was written: the file was replaced or damaged \
         while it was open; nothing is written to it any more"
    );
    StoreError::new(StoreErrorKind::Corrupted, message)
}

/// A panic below us, as an error of this kind.
pub(crate) fn panicked(place: &str, kind: StoreErrorKind, said: &workman_core::store::Panicked) -> StoreError {
    StoreError::new(kind, format!("the store {place} panicked, which a damaged file can make it do: {said}"))
        .caused_by(Panicked)
}

/// Whether the handle that gave this error must not be used any more: redb latches its first I/O error for good.
pub(crate) fn kills_the_handle(error: &StoreError) -> bool {
    let kills =
        |source: &(dyn Error + 'static)| source.is::<Panicked>() || source.is::<JournalFailed>() || is_cut(source);
    cause(error).is_some() || error.source().is_some_and(kills)
}

/// What redb has in memory of a file that was cut short is not to be written, nor to be believed.
fn is_cut(source: &(dyn Error + 'static)) -> bool {
    source.downcast_ref().is_some_and(|astray| matches!(astray, Astray::Cut { .. }))
}

/// Whether the disk was full.
pub(crate) fn is_disk_full(error: &StoreError) -> bool {
    let journal = error.source().and_then(|source| source.downcast_ref::<JournalFailed>());
    cause(error).is_some_and(is_full) || journal.is_some_and(|failed| is_no_room(&failed.0))
}

fn cause(error: &StoreError) -> Option<&redb::Error> {
    error.source().and_then(|source| source.downcast_ref())
}

fn is_full(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(error) if is_no_room(error))
}

/// Whether a system says that there is no room left.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The mark of an error that was a panic.
#[derive(Debug)]
struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a panic")
    }
}

impl Error for Panicked {}
