//! How often a process was switched to while it had nothing to do, seen from outside.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// What a process is given to come to rest.
const REST: Duration = Duration::from_secs(1);

/// Switches, voluntary and not, of all threads of a process over `span`. Threads that ended in between are missing.
pub fn switches(process: u32, span: Duration) -> Result<u64> {
    thread::sleep(REST);
    let before = by_thread(process)?;
    thread::sleep(span);
    let after = by_thread(process)?;
    Ok(after.iter().map(|(thread, count)| count - before.get(thread).unwrap_or(&0)).sum())
}

fn by_thread(process: u32) -> Result<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{process}/task")).context("the process is there")? {
        let entry = entry?;
        // A thread may end between the listing and the reading.
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        threads.insert(entry.file_name().to_string_lossy().into_owned(), count(&status));
    }
    Ok(threads)
}

fn count(status: &str) -> u64 {
    let switches = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
    switches.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_switches_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(count(status), 157);
    }
}
