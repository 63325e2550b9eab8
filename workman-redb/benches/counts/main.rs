//! Counts the instructions of the planner and the codec, and fails when a case takes more than it may.
//!
//! `cargo bench -p workman-redb --bench counts` runs each case in a process of its own under callgrind, with everything but the
//! case left out, prints what one work costs, and compares that with `counts/counts.txt`. Counts repeat where times don't, so
//! this can be part of the CI. `-- --write` measures anew and writes that file. Needs valgrind.

mod callgrind;
mod planner;
mod rows_of_works;
mod table;

use std::process::ExitCode;

use src::{codec, envelope, keys, rows, sample};
use table::Table;

/// What makes rows of works, compiled in here once more, so that no door has to be cut into the crate for it.
#[path = "../../src"]
#[expect(dead_code, unused_imports, reason = "the cases use what is hot, and the tests in there are not run")]
mod src {
    pub(crate) mod codec;
    pub(crate) mod envelope;
    pub(crate) mod keys;
    pub(crate) mod rows;
    pub(crate) mod sample;
}

/// Something that is measured: prepares what it needs, runs the rest [`measured`](callgrind::measured), and answers for how many
/// works that was.
struct Case {
    name: &'static str,
    run: fn() -> usize,
}

fn main() -> ExitCode {
    let cases: Vec<Case> = planner::cases().into_iter().chain(rows_of_works::cases()).collect();
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => compare(&cases),
        ["--write"] => measure(&cases).and_then(|table| table.write()),
        [callgrind::CASE, name] => callgrind::run(&cases, name),
        _ => Err(format!("no arguments or `--write` are wanted, not {arguments:?}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cases: &[Case]) -> Result<Table, String> {
    let mut table = Table::default();
    for case in cases {
        let count = callgrind::count(case.name)?;
        println!("{count:>8} {}", case.name);
        table.add(case.name, count);
    }
    Ok(table)
}

fn compare(cases: &[Case]) -> Result<(), String> {
    println!("instructions a work:");
    let measured = measure(cases)?;
    measured.compare_with(&Table::read()?)
}
