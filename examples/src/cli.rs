//! Arguments of the examples, and the place where they keep their files.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use futures::executor::block_on;

/// Any error, as the `main` of an example returns it.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The arguments of this program, each taken out once.
#[derive(Debug)]
pub struct Args {
    left: Vec<OsString>,
}

impl Args {
    /// The arguments that the program was started with.
    #[must_use]
    pub fn of_this_program() -> Self {
        Args { left: env::args_os().skip(1).collect() }
    }

    /// Whether the option is there.
    pub fn flag(&mut self, option: &str) -> bool {
        let found = self.left.iter().position(|argument| argument == option);
        found.map(|place| self.left.remove(place)).is_some()
    }

    /// The path behind the option, if it is there.
    ///
    /// # Errors
    /// When nothing stands behind it.
    pub fn path(&mut self, option: &str) -> Result<Option<PathBuf>, Failure> {
        let Some(place) = self.left.iter().position(|argument| argument == option) else { return Ok(None) };
        self.left.remove(place);
        if place < self.left.len() {
            Ok(Some(self.left.remove(place).into()))
        } else {
            Err(format!("{option} wants a value behind it").into())
        }
    }

    /// The value behind the option, or this one.
    ///
    /// # Errors
    /// When nothing stands behind it, or no such value.
    pub fn value_or<T: FromStr>(&mut self, option: &str, otherwise: T) -> Result<T, Failure>
    where
        T::Err: Error,
    {
        let Some(text) = self.path(option)? else { return Ok(otherwise) };
        let text = text.to_string_lossy();
        text.parse().map_err(|error| format!("{option} {text}: {error}").into())
    }

    /// The one argument that belongs to no option, if there is one.
    ///
    /// # Errors
    /// When there is more than that, or an unknown option.
    pub fn rest(mut self) -> Result<Option<PathBuf>, Failure> {
        let unknown = self.left.iter().find(|argument| argument.to_string_lossy().starts_with("--"));
        if let Some(unknown) = unknown.or(self.left.get(1)) {
            return Err(format!("what does {} mean? --help says what this program takes", unknown.display()).into());
        }
        Ok(self.left.pop().map(PathBuf::from))
    }

    /// Nothing else was given.
    ///
    /// # Errors
    /// When there is.
    pub fn done(self) -> Result<(), Failure> {
        match self.rest()? {
            None => Ok(()),
            Some(other) => Err(format!("{} is one argument too many", other.display()).into()),
        }
    }
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

/// Runs an example to its end: an error is printed with its sources, and the exit code says so. `--help` prints the comment
/// on top of its source instead.
pub fn run(source: &str, example: impl AsyncFnOnce(Args) -> Result<(), Failure>) -> ExitCode {
    let mut args = Args::of_this_program();
    if args.flag("--help") || args.flag("-h") {
        let comment = source.lines().map_while(|line| line.strip_prefix("//!"));
        comment.for_each(|line| println!("{}", line.strip_prefix(' ').unwrap_or(line)));
        return ExitCode::SUCCESS;
    }
    let Err(error) = block_on(example(args)) else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprintln!("  because: {error}");
        source = error.source();
    }
    ExitCode::FAILURE
}
