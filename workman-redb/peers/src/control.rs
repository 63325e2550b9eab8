//! What the disk and the machine give without any system.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

/// Appends of 4 KiB, each with `fdatasync`, a second: measured just before a timed part, beside the folder of the store.
pub fn appends_a_second(folder: &Path) -> Result<f64> {
    const APPENDS: u32 = 100;
    let path = folder.with_extension(format!("control-{}", std::process::id()));
    let mut file = OpenOptions::new().create(true).append(true).open(&path).context("opening the file to append to")?;
    let started = Instant::now();
    for _ in 0..APPENDS {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(f64::from(APPENDS) / seconds)
}
