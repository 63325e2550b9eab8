//! The examples as real processes, for those that start, watch and kill them.

use std::env;
use std::io::{self, BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

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

/// A program that runs, with what it says on standard output. It is killed when this is dropped.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Running { child, lines: BufReader::new(output).lines() })
    }

    /// Waits until it says a line that begins like this, and answers with the rest of the line.
    ///
    /// # Errors
    /// When it ends before.
    pub fn says(&mut self, begin: &str) -> io::Result<String> {
        for line in &mut self.lines {
            if let Some(rest) = line?.strip_prefix(begin) {
                return Ok(rest.to_owned());
            }
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ended and did not say {begin:?}")))
    }

    /// `kill -9`, and waits until it is dead.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// SIGTERM: asks it to end. Where there are no signals it is killed.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn terminate(&mut self) -> io::Result<()> {
        if !cfg!(unix) {
            return self.child.kill();
        }
        // Every shell has this command; a program for it is not on every system.
        let status = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill ended with {status}"))) }
    }

    /// Waits for its end and answers with all lines that were left.
    ///
    /// # Errors
    /// When it says that it failed, or was killed.
    pub fn end(&mut self) -> io::Result<Vec<String>> {
        let lines = self.lines.by_ref().collect::<io::Result<Vec<String>>>()?;
        let status = self.child.wait()?;
        if status.success() { Ok(lines) } else { Err(io::Error::other(format!("it ended with {status}: {lines:?}"))) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is no error here.
        drop(self.kill());
    }
}
