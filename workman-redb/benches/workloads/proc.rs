//! What the system knows of a process, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::Outcome;

/// The resident memory of this process in bytes.
pub(crate) fn resident() -> Outcome<u64> {
    Ok(field(&fs::read_to_string("/proc/self/status")?, "VmRSS:")? << 10)
}

/// The context switches of each thread of a process, by its number: those that it asked for and the others.
#[derive(Clone, Debug)]
pub(crate) struct Switches(BTreeMap<String, (u64, u64)>);

impl Switches {
    /// Up to now.
    pub(crate) fn of(process: u32) -> Outcome<Self> {
        let mut switches = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?;
            let status = fs::read_to_string(thread.path().join("status"))?;
            let counts = (field(&status, "voluntary_ctxt_switches:")?, field(&status, "nonvoluntary_ctxt_switches:")?);
            switches.insert(thread.file_name().to_string_lossy().into_owned(), counts);
        }
        Ok(Switches(switches))
    }

    /// All switches since then, and how often the thread has lain down again that did so most often: a timer that wakes another
    /// thread has woken the process once.
    pub(crate) fn since(&self, before: &Switches) -> (u64, u64) {
        let since = self.0.iter().map(|(thread, now)| {
            let then = before.0.get(thread).copied().unwrap_or_default();
            (now.0.saturating_sub(then.0), now.1.saturating_sub(then.1))
        });
        let since: Vec<(u64, u64)> = since.collect();
        let all = since.iter().map(|(asked, others)| asked + others).sum();
        (all, since.iter().map(|(asked, _)| *asked).max().unwrap_or(0))
    }
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
