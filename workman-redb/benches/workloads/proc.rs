//! What the system knows of a process, from `/proc`.

use std::fs;
use std::time::Duration;

use crate::Outcome;

/// The resident memory of this process in bytes.
pub(crate) fn resident() -> Outcome<u64> {
    Ok(field(&fs::read_to_string("/proc/self/status")?, "VmRSS:")? << 10)
}

/// The context switches of all threads of a process, those that they asked for and the others.
pub(crate) fn switches(process: u32) -> Outcome<u64> {
    let mut switches = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        switches += field(&status, "voluntary_ctxt_switches:")? + field(&status, "nonvoluntary_ctxt_switches:")?;
    }
    Ok(switches)
}

/// The first number behind a name in a status file.
fn field(status: &str, name: &str) -> Outcome<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("there is no {name} in a status file"))?.parse()?)
}

/// How long the processors have worked for this process.
pub(crate) fn processor_time() -> Outcome<Duration> {
    /// The unit of the file, the same on every Linux that is in use.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the process is in parentheses, and may be anything.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // Its own time and that for which the system worked for it, fields 14 and 15 of the line.
    let ticks: u64 =
        behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_A_SECOND))
}
