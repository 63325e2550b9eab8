//! The examples as real processes, for tests that start, watch and kill them.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// The command that runs an example as `cargo test` has built it.
///
/// # Errors
/// When it was not built, as after `cargo test --test ..`, which builds no examples.
pub fn example(name: &str) -> io::Result<Command> {
    let tests = env::current_exe()?;
    let profile = tests.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let program = profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    if program.is_file() {
        return Ok(Command::new(program));
    }
    let text = format!("{} is missing: run `cargo build -p workman-examples --example {name}`", program.display());
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

/// An empty folder of its own for a test or a program that keeps nothing.
///
/// # Errors
/// When it can't be made.
pub fn empty_folder(name: &str) -> io::Result<PathBuf> {
    let folder = env::temp_dir().join(format!("workman-{name}-{}", std::process::id()));
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => std::fs::create_dir_all(&folder)?,
    }
    Ok(folder)
}
