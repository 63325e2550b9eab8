//! [`VerifyReport`] and [`RepairReport`]: what a look at a whole file has found, and what a repair has done.

use std::fmt;
use std::path::{Path, PathBuf};

/// What a look at a whole file has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub(crate) works: u64,
    pub(crate) entries: u64,
    pub(crate) findings: Vec<String>,
    pub(crate) total: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.total == 0
    }

    /// How many works there are.
    #[must_use]
    pub fn works(&self) -> u64 {
        self.works
    }

    /// How many index entries there are.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// What is wrong, a sentence each; the first thousand, if it is more.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// How much is wrong in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// As many findings are printed.
const PRINTED: usize = 20;

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} works and {} index entries", self.works, self.entries)?;
        match self.total {
            0 => return f.write_str(", all sound"),
            1 => f.write_str(", and 1 thing is wrong")?,
            total => write!(f, ", and {total} things are wrong")?,
        }
        print(f, &self.findings, self.total)
    }
}

fn print(f: &mut fmt::Formatter<'_>, findings: &[String], total: u64) -> fmt::Result {
    findings.iter().take(PRINTED).try_for_each(|finding| write!(f, "\n- {finding}"))?;
    let more = total.saturating_sub(findings.len().min(PRINTED) as u64);
    if more > 0 { write!(f, "\n- and {more} more") } else { Ok(()) }
}

/// What a repair has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairReport {
    pub(crate) works: u64,
    pub(crate) added: u64,
    pub(crate) dropped: u64,
    pub(crate) unreadable: Vec<String>,
    pub(crate) before: PathBuf,
    pub(crate) after: VerifyReport,
}

impl RepairReport {
    /// Works whose records could be read, and for which all entries were made anew.
    #[must_use]
    pub fn works(&self) -> u64 {
        self.works
    }

    /// Index entries that records ask for and that were missing.
    #[must_use]
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Index entries that no record asks for, and that are gone.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What could not be read. It was copied as it lies where it could be reached, and is in the old file in any case.
    #[must_use]
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Where the old file lies now, as it was.
    #[must_use]
    pub fn before(&self) -> &Path {
        &self.before
    }

    /// What is still wrong with the new file.
    #[must_use]
    pub fn after(&self) -> &VerifyReport {
        &self.after
    }
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (works, added, dropped) = (self.works, self.added, self.dropped);
        write!(
            f,
            "the index of {works} works was made anew: {added} entries were missing, {dropped} belonged to nothing"
        )?;
        write!(f, "; the old file is {}", self.before.display())?;
        if !self.unreadable.is_empty() {
            write!(f, "\nwhat could not be read, and was left as it is:")?;
            print(f, &self.unreadable, self.unreadable.len() as u64)?;
        }
        write!(f, "\nthe file as it is now: {}", self.after)
    }
}
