//! What the examples have in common on the command line: how they end, and where they keep their files. Their arguments are
//! read by clap.

use std::env;
use std::error::Error;
use std::fs;
use std::io;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use futures::executor::block_on;

/// Any error, as an example returns it.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Reads a number of milliseconds, for `#[arg(value_parser = milliseconds)]`.
///
/// # Errors
/// When it is no such number.
pub fn milliseconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_millis)
}

/// The folder where an example keeps its files from run to run: `target/workman-examples/<example>`.
///
/// # Errors
/// When it can't be made.
pub fn place(example: &str) -> io::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new("target").to_path_buf(), PathBuf::from);
    let folder = target.join("workman-examples").join(example);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Runs an example to its end and says how it went: an error is printed with its sources, and the exit code tells of it.
pub fn run(example: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    ended(block_on(example))
}

/// The exit code for what came of an example; an error is printed with its sources.
pub fn ended(result: Result<(), Failure>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprintln!("  because: {error}");
        source = error.source();
    }
    ExitCode::FAILURE
}
