//! [`Ballast`]: a file that takes up room until the disk is full, and then makes some.
//!
//! redb never writes over what it may still need, so on a full disk even a deletion fails. Giving up as much room as a checkpoint
//! takes lets the running work finish; until the ballast could be laid again, new work is refused, so that it does not eat that room
//! up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::is_no_room;
use crate::tenure::{private, sibling};

/// How large it is at least, and at most.
const SMALLEST: u64 = 1 << 20;
const LARGEST: u64 = 64 << 20;

/// How long to wait before another try to lay it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The ballast beside a store.
pub(crate) struct Ballast {
    path: PathBuf,
    size: u64,
    state: State,
}

enum State {
    Laid,
    /// Given up; not before this time is it worth trying to lay it again.
    Spent {
        retry_at: Duration,
    },
}

impl Ballast {
    /// Lays the ballast beside `store`, unless it lies there.
    pub(crate) fn beside(store: &Path, now: Duration) -> Self {
        let mut ballast =
            Ballast { path: sibling(store, ".ballast"), size: SMALLEST, state: State::Spent { retry_at: now } };
        ballast.lay(now);
        ballast
    }

    /// Gives it up: the disk is full.
    pub(crate) fn spend(&mut self, now: Duration) {
        tracing::error!(ballast = %self.path.display(), "the disk is full; the ballast is given up so that running work can finish, new work is refused until there is room again");
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, ballast = %self.path.display(), "there was no ballast to give up");
        }
        self.state = State::Spent { retry_at: now + PATIENCE };
    }

    /// A checkpoint took this much room: the next may take as much.
    pub(crate) fn reckon_with(&mut self, bytes: u64) {
        let size = bytes.min(LARGEST).next_multiple_of(SMALLEST);
        if size <= self.size || !matches!(self.state, State::Laid) {
            return;
        }
        match fill(&self.path, size) {
            Ok(()) => self.size = size,
            Err(error) => {
                tracing::debug!(%error, ballast = %self.path.display(), size, "the ballast stays smaller than a checkpoint was");
            }
        }
    }

    /// Whether it lies there, after another try to lay it if that is due.
    pub(crate) fn is_laid(&mut self, now: Duration) -> bool {
        if let State::Spent { retry_at } = self.state
            && now >= retry_at
        {
            self.lay(now);
        }
        matches!(self.state, State::Laid)
    }

    fn lay(&mut self, now: Duration) {
        self.state = match fill(&self.path, self.size) {
            Ok(()) => State::Laid,
            Err(error) if is_no_room(&error) => {
                let _ = fs::remove_file(&self.path);
                State::Spent { retry_at: now + PATIENCE }
            }
            Err(error) => {
                // Without the right to make files here, the store works as well as it can without ballast.
                tracing::debug!(%error, ballast = %self.path.display(), "no ballast could be laid");
                State::Laid
            }
        };
    }
}

/// Writes bytes that no file system can squeeze or leave out, until there are as many.
fn fill(path: &Path, size: u64) -> io::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Ok(file) if !file.is_file() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Ok(file) if file.len() >= size => return Ok(()),
        Ok(file) => file.len(),
        Err(_) => 0,
    };
    let mut file = private(OpenOptions::new().append(true).create(true)).open(path)?;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15 ^ there;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let missing = usize::try_from(size - there).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let bytes: Vec<u8> = noise.flatten().take(missing).collect();
    file.write_all(&bytes)?;
    File::sync_data(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_laid_again_after_a_while() {
        let folder = crate::sample::folder("ballast");
        let store = folder.path().join("store");
        let mut ballast = Ballast::beside(&store, Duration::ZERO);
        let file = folder.path().join("store.ballast");
        assert_eq!(fs::metadata(&file).unwrap().len(), SMALLEST);
        ballast.spend(Duration::ZERO);
        assert!(!file.exists());
        assert!(!ballast.is_laid(PATIENCE / 2));
        assert!(ballast.is_laid(PATIENCE));
        assert_eq!(fs::metadata(&file).unwrap().len(), SMALLEST);
    }

    #[test]
    fn it_becomes_as_large_as_the_largest_checkpoint_and_never_without_bound() {
        let folder = crate::sample::folder("ballast-grows");
        let store = folder.path().join("store");
        let mut ballast = Ballast::beside(&store, Duration::ZERO);
        let length = || fs::metadata(folder.path().join("store.ballast")).unwrap().len();
        for (taken, expected) in [(10, SMALLEST), (SMALLEST + 1, 2 * SMALLEST), (5, 2 * SMALLEST), (u64::MAX, LARGEST)]
        {
            ballast.reckon_with(taken);
            assert_eq!(length(), expected, "{taken}");
        }
    }
}
