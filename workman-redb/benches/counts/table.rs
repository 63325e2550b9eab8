//! What each case took when it was last looked at.

use std::collections::BTreeMap;
use std::fs;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts/counts.txt");

/// How much more than written down a case may take, in hundredths: another compiler or another libc makes a small difference.
const MARGIN: u64 = 10;

const WRITE: &str = "cargo bench -p workman-redb --bench counts -- --write";

/// Instructions a work, by the name of the case.
#[derive(Default)]
pub(crate) struct Table {
    counts: BTreeMap<String, u64>,
}

impl Table {
    pub(crate) fn add(&mut self, name: &str, count: u64) {
        self.counts.insert(name.to_owned(), count);
    }

    pub(crate) fn read() -> Result<Self, String> {
        let text = fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        let line = |line: &str| {
            let (count, name) = line.trim_start().split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        let counts =
            text.lines().map(|text| line(text).ok_or_else(|| format!("{FILE}: `{text}` is no count and case")));
        Ok(Table { counts: counts.collect::<Result<_, _>>()? })
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        let lines: String = self.counts.iter().map(|(name, count)| format!("{count:>8} {name}\n")).collect();
        fs::write(FILE, lines).map_err(|error| format!("{FILE}: {error}"))
    }

    /// Says which cases take more than they may, or are not in both tables.
    pub(crate) fn compare_with(&self, stored: &Table) -> Result<(), String> {
        let mut wrong = Vec::new();
        for (name, count) in &self.counts {
            let Some(before) = stored.counts.get(name) else {
                wrong.push(format!("`{name}` takes {count} instructions a work and is not in the table"));
                continue;
            };
            let bound = before + before * MARGIN / 100;
            if *count > bound {
                wrong.push(format!(
                    "`{name}` takes {count} instructions a work: the bound is {bound}, {MARGIN} % above {before}"
                ));
            } else if count + count * MARGIN / 100 < *before {
                println!("`{name}` takes less than it did ({before}): write that down");
            }
        }
        let gone = stored.counts.keys().filter(|name| !self.counts.contains_key(*name));
        wrong.extend(gone.map(|name| format!("`{name}` is in the table and is no case any more")));
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{}\n\nFind out why: `valgrind --tool=callgrind` on this program with `--case NAME` says where instructions go.\nIf it is worth it, say so in the message of the commit that raises the bound by `{WRITE}` ({FILE}).",
            wrong.join("\n")
        ))
    }
}
