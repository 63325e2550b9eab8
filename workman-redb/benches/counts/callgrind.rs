//! One case under callgrind.

use std::hint::black_box;
use std::process::Command;

use super::Case;

/// The argument before the name of the case that a process of its own runs.
pub(crate) const CASE: &str = "--case";

/// What is collected: all that happens within [`measured`].
const COLLECTED: &str = "--toggle-collect=counts::callgrind::measured*";

/// Runs what is to be counted.
#[inline(never)]
pub(crate) fn measured<T>(case: impl FnOnce() -> T) -> T {
    black_box(case())
}

/// Runs one case in this process, and says for how many works it was.
pub(crate) fn run(cases: &[Case], name: &str) -> Result<(), String> {
    let case = cases.iter().find(|case| case.name == name).ok_or_else(|| format!("no case is called `{name}`"))?;
    println!("{}", (case.run)());
    Ok(())
}

/// The instructions that one work costs in this case.
pub(crate) fn count(name: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", COLLECTED])
        .arg(program)
        .args([CASE, name])
        .output()
        .map_err(|error| format!("valgrind can't be run ({error}); install it to count instructions"))?;
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let works = said.trim().parse::<u64>().ok().filter(|works| *works > 0);
    let collected = log.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse::<u64>().ok());
    match (works, collected) {
        (Some(works), Some(collected)) if output.status.success() && collected > 0 => Ok(collected / works),
        _ => Err(format!("the case `{name}` could not be counted:\n{said}{log}")),
    }
}
