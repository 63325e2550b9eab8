//! [`Journal`]: one line for each beginning and each end of an effect, written with the effect and not with the work's state.
//!
//! That is what makes it evidence: the store says which attempts there were, the journal says which effects there were.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use workman_core::{WorkContext, WorkId};

/// A file that is only ever appended to, a line with one write.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    file: Option<Arc<File>>,
    aloud: bool,
}

/// Whether an effect begins or is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the effect.
    Begin,
    /// After it.
    End,
}

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Before or after the effect.
    pub moment: Moment,
    /// The worker.
    pub step: String,
    /// The work.
    pub id: WorkId,
    /// The fence of the run.
    pub fence: u64,
}

impl Journal {
    /// Appends to this file, and says each line on standard output too if `aloud`.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path).map(Arc::new);
        Ok(Journal { file: path.map(open).transpose()?, aloud: false })
    }

    /// Says each line on standard output too.
    #[must_use]
    pub fn aloud(self) -> Self {
        Journal { aloud: true, ..self }
    }

    /// Runs the effect between two lines. An effect that fails has no second one.
    ///
    /// # Errors
    /// Those of the effect, and those of writing.
    pub fn around<T, E: From<io::Error>>(
        &self,
        cx: &WorkContext,
        effect: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.write(Moment::Begin, cx)?;
        let done = effect()?;
        self.write(Moment::End, cx)?;
        Ok(done)
    }

    fn write(&self, moment: Moment, cx: &WorkContext) -> io::Result<()> {
        let entry = Entry { moment, step: cx.worker().to_owned(), id: cx.id(), fence: cx.fencing_token() };
        let line = format!("{entry}\n");
        if let Some(file) = &self.file {
            (&**file).write_all(line.as_bytes())?;
        }
        if self.aloud {
            // A reader that has gone away is no reason for the effect to fail.
            let mut out = io::stdout().lock();
            drop(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
        }
        Ok(())
    }

    /// All lines of a journal; a file that is not there has none.
    ///
    /// # Errors
    /// When the file can't be read or holds something else.
    pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
        match fs::read_to_string(path) {
            Ok(text) => text.lines().map(str::parse).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Begin => "begin",
            Moment::End => "end",
        };
        write!(f, "{moment} {} {} {}", self.step, self.id, self.fence)
    }
}

impl FromStr for Entry {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("no journal line: {line:?}"));
        let words: Vec<&str> = line.split(' ').collect();
        let [moment, step, id, fence] = words[..] else { return Err(bad()) };
        let moment = match moment {
            "begin" => Moment::Begin,
            "end" => Moment::End,
            _ => return Err(bad()),
        };
        let id = id.parse().map_err(|_| bad())?;
        let fence = fence.parse().map_err(|_| bad())?;
        Ok(Entry { moment, step: step.to_owned(), id, fence })
    }
}
