//! [`Journal`]: what was committed since the last checkpoint, in a file beside the store.
//!
//! redb needs two or three syncs and some sixteen pages for a commit that a killed process can reopen quickly. So a commit goes into
//! the journal first, as one record and with one sync; redb makes it without durability then, and once in a while durably, with all
//! that came before: that is a checkpoint. Whoever opens the store after a kill puts the records after the last checkpoint into it.
//!
//! What holds, whatever fails and whenever the power does:
//! - Nobody is answered, told or shown what is not synced in the journal or in the store.
//! - Records have the numbers of their commits, without a gap. A store that has some of them already passes over those.
//! - A record belongs to one checkpoint by its salt. So a checkpoint empties the journal without a write to it, and old records may
//!   lie behind the first new one.
//! - A journal that failed is never written on: the system may have thrown away what it could not write. First a checkpoint makes
//!   superfluous what it holds.
//! - It never grows. A commit for which there is no room in it is itself the checkpoint.
//!
//! The planner, the contract of stores and the readers know nothing of it.

mod file;
mod record;
mod rows;

use std::io;
use std::path::Path;

use crate::codec::{JournalRow, Salt, Usage};
use crate::error::Astray;

pub(crate) use file::{Found, JournalFile, Wanted, keep_aside, path_beside};
pub(crate) use record::Header;
pub(crate) use rows::{Place, RowLog, RowWrite, each};

use record::{LONGEST, Link, SHORTEST, START};

/// As much in a journal is worth a checkpoint when nothing more comes: the next opening then has little to do.
const WORTH_A_CHECKPOINT: u64 = 64 << 10;

/// What may be done with a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Records go behind the last one.
    Sound,
    /// A write or a sync failed, or it is not known whether a checkpoint is on disk. Nothing is written before one is.
    Doubtful,
    /// The store has everything and says that it needs none: the file is not where it was, or the store is closed.
    Away,
}

/// The journal of an open store.
pub(crate) struct Journal {
    file: JournalFile,
    header: Header,
    salt: Salt,
    end: u64,
    sum: u64,
    trust: Trust,
    /// The memory of the record before, for the next one.
    buffer: Vec<u8>,
}

impl Journal {
    /// The journal that was found beside this store, or a new one. The store must be told a salt before anything is written to it.
    ///
    /// # Errors
    /// When it can't be made.
    pub(crate) fn begin(found: &mut Found, store: Option<&Path>, wanted: Header) -> io::Result<Self> {
        let (file, header) = match (found.take(), store) {
            (Some((file, Some(header))), _) if header.instance == wanted.instance => (file, header),
            // They hold nothing of anybody's. A file is made anew under another name: one that is half written is nobody's journal.
            (Some((file, _)), Some(store)) => {
                // Some systems replace no file that is open.
                drop(file);
                (JournalFile::make_beside(store, wanted)?, wanted)
            }
            (Some((file, _)), None) => {
                file.lay_out(wanted)?;
                (file, wanted)
            }
            (None, Some(store)) => (JournalFile::make_beside(store, wanted)?, wanted),
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        let (end, sum) = (found.tail().end, found.tail().sum);
        Ok(Journal { file, header, salt: Salt::generate(), end, sum, trust: Trust::Doubtful, buffer: Vec::new() })
    }

    /// Makes an empty journal as long as it should be.
    ///
    /// # Errors
    /// When there is no room; it is as long as it was.
    pub(crate) fn resize(&mut self, length: u64) -> io::Result<()> {
        if self.header.length != length {
            let header = Header { length, ..self.header };
            self.file.resize(self.header, header)?;
            self.header = header;
        }
        Ok(())
    }

    /// The length of a journal for this many bytes of records.
    pub(crate) fn length_for(bytes: u64) -> u64 {
        START + bytes.clamp(SHORTEST, LONGEST)
    }

    pub(crate) fn trust(&self) -> Trust {
        self.trust
    }

    pub(crate) fn salt(&self) -> Salt {
        self.salt
    }

    /// Begins the log of a commit that goes into one record, if that becomes no longer than `share` of the journal.
    pub(crate) fn log(&mut self, share: Share) -> RowLog {
        let most = match share {
            Share::Quarter => self.room() / 4,
            Share::All => self.header.length - self.end.min(self.header.length),
        };
        RowLog::begin(std::mem::take(&mut self.buffer), usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// Ends the log of a commit that wrote nothing.
    pub(crate) fn dismiss(&mut self, log: RowLog) {
        let (record, _) = log.end();
        self.keep(record);
    }

    /// Ends the log of a commit. Answers its record, if it is one for the journal as it is now.
    pub(crate) fn admit(&mut self, log: RowLog) -> Option<Vec<u8>> {
        let (record, is_whole) = log.end();
        let is_room = self.end + record::sealed_len(record.len()) as u64 <= self.header.length;
        if is_whole && is_room && self.trust == Trust::Sound {
            return Some(record);
        }
        self.keep(record);
        None
    }

    /// Writes a record behind the last one. It is not synced.
    ///
    /// # Errors
    /// It may be there or not, and nothing more is written before a checkpoint.
    pub(crate) fn append(&mut self, mut record: Vec<u8>, number: u64, lag: u64) -> io::Result<()> {
        self.trust = Trust::Doubtful;
        let lag = u32::try_from(lag).unwrap_or(u32::MAX);
        let sum = record::seal(&mut record, Link { salt: self.salt, number, previous: self.sum, lag });
        let written = self.file.write(self.end, &record);
        let length = record.len() as u64;
        self.keep(record);
        written?;
        (self.end, self.sum, self.trust) = (self.end + length, sum, Trust::Sound);
        Ok(())
    }

    /// Syncs what was written.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let trust = std::mem::replace(&mut self.trust, Trust::Doubtful);
        self.file.sync()?;
        self.trust = trust;
        Ok(())
    }

    /// What was used for a record is used for the next, unless that was a large one.
    fn keep(&mut self, mut record: Vec<u8>) {
        record.shrink_to(WORTH_A_CHECKPOINT as usize);
        self.buffer = record;
    }

    /// Writes the header again into a file that is back where it was.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn claim(&mut self) -> io::Result<()> {
        self.file.write(0, &self.header.encode())?;
        self.file.sync()
    }

    /// A checkpoint that is on disk has told the store this salt: the journal is empty.
    pub(crate) fn restart(&mut self, row: JournalRow) {
        self.trust = match row.usage {
            Usage::InUse => Trust::Sound,
            Usage::Idle => Trust::Away,
        };
        (self.salt, self.end, self.sum) = (row.salt, START, 0);
    }

    /// What it holds that follows this commit, read again while it is in use.
    ///
    /// # Errors
    /// When it can't be read, or is not what was written.
    pub(crate) fn look_back(&self, stored: u64) -> io::Result<Found> {
        self.file.look_back(self.salt, stored, self.end)
    }

    /// Goes on behind what was found in it. Only a sound one is trusted after that.
    pub(crate) fn take_up(&mut self, found: &mut Found) {
        if let Some((file, header)) = found.take() {
            self.file = file;
            self.header = header.unwrap_or(self.header);
        }
        (self.end, self.sum) = (found.tail().end, found.tail().sum);
    }

    /// Whether its file is where it was, and as long.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self) -> Result<(), Astray> {
        self.file.check(self.header.length)
    }

    /// Whether what it holds is worth a checkpoint when nothing more comes.
    pub(crate) fn is_worth_a_checkpoint(&self) -> bool {
        self.trust == Trust::Sound && self.end - START > WORTH_A_CHECKPOINT
    }

    /// A store that is not in use lies beside a journal without a record at its beginning: a backup of it is not taken for an older
    /// copy.
    ///
    /// # Errors
    /// When it can't be written, which harms nobody.
    pub(crate) fn erase(&mut self) -> io::Result<()> {
        self.file.fill(START, (2 * START).min(self.header.length))?;
        self.file.sync()
    }

    fn room(&self) -> u64 {
        self.header.length.saturating_sub(START)
    }
}

/// How much of the journal a commit may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// What is larger costs less as a checkpoint of its own.
    Quarter,
    /// No checkpoint can be made now.
    All,
}
