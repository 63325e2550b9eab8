//! Folders of stores: made, copied, thrown away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A folder that goes with its owner.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes `path`, empty.
    pub fn new(path: PathBuf) -> Result<Self> {
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    /// Makes `path` with all that is in `from`, on the disk: what the copy left unwritten would be paid for by the next sync.
    pub fn copy(from: &Self, path: PathBuf) -> Result<Self> {
        let folder = Self::new(path)?;
        copy_into(&from.0, &folder.0)?;
        let synced = Command::new("sync").arg("-f").arg(&folder.0).status().context("running `sync`")?;
        ensure!(synced.success(), "`sync` says {synced}");
        Ok(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the name is wanted again.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn copy_into(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_into(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
