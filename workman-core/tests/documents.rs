//! The documents say what the code does: tables are compared with it, and every name that they cite exists.

mod sources;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use workman_core::seams::LONGEST_REST;
use workman_core::store::{
    CASCADE_LIMIT, HISTORY_LIMIT, LONGEST_SLEEP, PROMOTE_LIMIT, PRUNE_GRACE, PRUNE_LIMIT, REASON_LIMIT, RESCUE_LIMIT,
    SELECT_LIMIT, SHORT_STRIDE,
};
use workman_core::{
    Backoff, DEATHS_AS_SUSPECT, DEATHS_TO_SUSPECT, DEFAULT_MAX_ATTEMPTS, FIRST_FLAP, LONGEST_FLAP, Limits,
    MissingSensor, OnDeath, SHORTEST_WAIT, WorkManagerLimits, WorkState,
};

use sources::{read, rust_files};

/// The cells of all rows below the heading, without the head of the table.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let section = text.split(heading).nth(1).unwrap_or_else(|| panic!("there is no heading {heading:?}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_table_of_moves_is_the_one_of_the_code() {
    let name = |state: WorkState| format!("{state:?}");
    let rows = table(&read("workman-core/docs/lifecycle.md"), "\n## Moves\n");
    let written: BTreeSet<(String, String)> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let pairs = WorkState::ALL.into_iter().flat_map(|from| WorkState::ALL.map(|to| (from, to)));
    let legal: BTreeSet<(String, String)> =
        pairs.filter(|(from, to)| from.may_become(*to)).map(|(from, to)| (name(from), name(to))).collect();
    assert_eq!(written, legal, "docs/lifecycle.md against WorkState::may_become");
}

/// Each default as the table writes it.
fn defaults() -> Vec<(&'static str, String)> {
    let limits = Limits::default();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let times_cores = |slots: usize| {
        if slots.is_multiple_of(cores) { format!("{} × cores", slots / cores) } else { slots.to_string() }
    };
    let seconds = |length: Duration| length.as_secs_f64().to_string();
    vec![
        ("Backoff::default().policy()", format!("{:?}", Backoff::default().policy())),
        ("Backoff::DEFAULT_DELAY", seconds(Backoff::default().first_delay())),
        ("Backoff::DEFAULT_CEILING", seconds(Backoff::default().max_delay())),
        ("DEFAULT_MAX_ATTEMPTS", DEFAULT_MAX_ATTEMPTS.to_string()),
        ("DEATHS_TO_SUSPECT", DEATHS_TO_SUSPECT.to_string()),
        ("DEATHS_AS_SUSPECT", DEATHS_AS_SUSPECT.to_string()),
        ("OnDeath::default()", format!("{:?}", OnDeath::default())),
        ("FIRST_FLAP", seconds(FIRST_FLAP)),
        ("LONGEST_FLAP", seconds(LONGEST_FLAP)),
        ("SHORTEST_WAIT", seconds(SHORTEST_WAIT)),
        ("Limits::payload", limits.payload.to_string()),
        ("Limits::progress", limits.progress.to_string()),
        ("Limits::error_text", limits.error_text.to_string()),
        ("Limits::tags", limits.tags.to_string()),
        ("Limits::tag", limits.tag.to_string()),
        ("Limits::name", limits.name.to_string()),
        ("Limits::works", limits.works.to_string()),
        ("Limits::edges", limits.edges.to_string()),
        ("Limits::prerequisites", limits.prerequisites.to_string()),
        ("Limits::query", limits.query.to_string()),
        ("Limits::async_slots", times_cores(limits.async_slots)),
        ("Limits::blocking_slots", times_cores(limits.blocking_slots)),
        ("Limits::grace", seconds(limits.grace)),
        ("Limits::dwell", seconds(limits.dwell)),
        ("Limits::retention", seconds(limits.retention)),
        ("Limits::retained", limits.retained.to_string()),
        ("Limits::expedited_budget", seconds(limits.expedited_budget)),
        ("Limits::expedited_slots", limits.expedited_slots.to_string()),
        ("Limits::minimums", if limits.minimums == WorkManagerLimits::NONE { "none".into() } else { String::new() }),
        ("Limits::suspect_within", seconds(limits.suspect_within)),
        ("Limits::standstill", seconds(limits.standstill)),
        ("Limits::progress_delay", seconds(limits.progress_delay)),
        ("CASCADE_LIMIT", CASCADE_LIMIT.to_string()),
        ("PROMOTE_LIMIT", PROMOTE_LIMIT.to_string()),
        ("RESCUE_LIMIT", RESCUE_LIMIT.to_string()),
        ("SELECT_LIMIT", SELECT_LIMIT.to_string()),
        ("REASON_LIMIT", REASON_LIMIT.to_string()),
        ("PRUNE_LIMIT", PRUNE_LIMIT.to_string()),
        ("SHORT_STRIDE", SHORT_STRIDE.to_string()),
        ("PRUNE_GRACE", seconds(PRUNE_GRACE)),
        ("HISTORY_LIMIT", HISTORY_LIMIT.to_string()),
        ("LONGEST_SLEEP", seconds(LONGEST_SLEEP)),
        ("LONGEST_REST", seconds(LONGEST_REST)),
        ("MissingSensor::default()", format!("{:?}", MissingSensor::default())),
    ]
}

#[test]
fn the_table_of_defaults_is_the_one_of_the_code() {
    let rows = table(&read("workman-core/docs/defaults.md"), "# Defaults\n");
    let written: Vec<(String, String)> =
        rows.iter().map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone())).collect();
    let coded: Vec<(String, String)> = defaults().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(written, coded, "docs/defaults.md against the code");
    let limits = read("workman-core/src/limits.rs");
    let (_, fields) = limits.split_once("pub struct Limits {").expect("the limits are there");
    let fields = fields.lines().take_while(|line| *line != "}");
    for field in fields.filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": ")) {
        let name = format!("Limits::{}", field.0);
        assert!(coded.iter().any(|(other, _)| *other == name), "docs/defaults.md lacks `{name}`");
    }
}

/// The documents that cite tests, each as `path::test`.
const CITING: [&str; 3] = ["guarantees.md", "rules.md", "compare.md"];

#[test]
fn every_test_that_is_cited_exists() {
    let sources = rust_files();
    let mut wrong = Vec::new();
    for document in CITING {
        let text = read(&format!("workman-core/docs/{document}"));
        let cited: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains(".rs::")).collect();
        assert!(!cited.is_empty(), "docs/{document} cites no test at all");
        for quoted in cited {
            let found = quoted
                .split_once("::")
                .is_some_and(|(path, test)| sources.iter().any(|file| file.path == path && has_test(&file.text, test)));
            if !found {
                wrong.push(format!("docs/{document}: {quoted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "there are no such tests: {wrong:#?}");
}

/// Whether the text has a test of that name, or one that a store's author calls with a store, and not merely a function.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("fn {name}(")));
    let is_test =
        |at: usize| lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|l| *l == "#[test]");
    at.is_some_and(is_test) || text.contains(&format!("pub fn {name}<"))
}

/// What the README shows and doctests leave out, since it is marked `#[test]` or needs tokio: by what is in it, with the file that
/// holds it word for word and is built and run.
const KEPT_AS_FILES: [(&str, &str); 4] = [
    ("#[test]", "workman-core/tests/readme.rs"),
    ("#[tokio::main]\n", "examples/examples/tokio_main.rs"),
    ("#[tokio::test]", "examples/tests/tokio_worker.rs"),
    ("shutdown_background", "examples/examples/tokio_stubborn.rs"),
];

#[test]
fn every_program_in_the_readme_is_one_that_is_built() {
    // Rustfmt lines up comments in its own way.
    let words = |code: &str| code.split_whitespace().collect::<Vec<_>>().join(" ");
    let readme = read("README.md");
    let blocks = readme.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let mut kept = Vec::new();
    for (kind, code) in blocks.filter(|(kind, _)| kind.starts_with("rust")) {
        match KEPT_AS_FILES.iter().find(|(mark, _)| code.contains(mark)) {
            Some((_, path)) => {
                assert!(words(&read(path)).contains(&words(code)), "{path} does not hold, word for word:\n{code}");
                kept.push(*path);
            }
            None => assert!(!kind.contains("ignore"), "nothing builds this program of the README:\n{code}"),
        }
    }
    assert_eq!(kept.len(), KEPT_AS_FILES.len(), "a file is kept for each of them, and these are there: {kept:?}");
}

#[test]
fn a_function_or_a_comment_is_no_test() {
    let text = "#[test]\nfn one() {}\n\nfn two() {}\n// fn three() {}\npub fn four<S>() {}\n";
    assert_eq!(["one", "two", "three", "four"].map(|name| has_test(text, name)), [true, false, false, true]);
}

/// Families of rules with a hyphen, and those without.
const RULES: [&str; 14] =
    ["SM", "DEP", "BO", "NRT", "PER", "UNQ", "UPD", "CAN", "DATA", "CON", "SCH", "REC", "OBS", "TST"];
const PROMISES_AND_FAULTS: [&str; 7] = ["G", "C", "S", "E", "W", "T", "L"];

#[test]
fn every_id_that_is_cited_has_its_wording() {
    let rules = read("workman-core/docs/rules.md");
    let promises = read("workman-core/docs/guarantees.md");
    let contract = read("workman-core/src/store/mod.rs");
    let mut missing = BTreeSet::new();
    for file in rust_files() {
        let parts: Vec<&str> = file.path.split('/').collect();
        let proves = parts.iter().any(|part| matches!(*part, "tests" | "conformance" | "promises"));
        for id in cited_ids(&file.text, proves) {
            let known = match id.as_bytes().first() {
                Some(b'G') => promises.contains(&format!("**{id}. ")),
                Some(b'C') if !id.contains('-') => contract.contains(&format!("**{id}**")),
                _ => rules.contains(&format!("- **{id}** ")),
            };
            if !known {
                missing.insert(format!("{}: {id}", file.path));
            }
        }
    }
    assert!(missing.is_empty(), "these ids have no wording in docs/rules.md or where it says: {missing:#?}");
}

/// Ids of rules in any text; ids without a hyphen only in comments of files that prove something, and in the names of tests, since
/// `E1` may as well be a type.
fn cited_ids(text: &str, proves: bool) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        for word in words.map(|word| word.trim_matches('-')) {
            let (family, number) = word.split_once('-').unwrap_or_else(|| split_number(word));
            let hyphen = word.contains('-') && RULES.contains(&family);
            let plain = proves && line.starts_with("//") && PROMISES_AND_FAULTS.contains(&family);
            if (hyphen || plain) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
                ids.insert(word.to_owned());
            }
        }
        let function =
            line.split("fn ").nth(1).filter(|_| !line.starts_with("//")).and_then(|rest| rest.split(['(', '<']).next());
        ids.extend(function.into_iter().flat_map(ids_of_name));
    }
    ids
}

fn split_number(word: &str) -> (&str, &str) {
    word.split_at(word.find(|c: char| c.is_ascii_digit()).unwrap_or(word.len()))
}

/// The ids with which a test's name begins: `s6_s7_..` has S6 and S7, `bo_2_and_bo_3_..` has BO-2 and BO-3.
fn ids_of_name(name: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut parts = name.split('_').filter(|part| *part != "and").peekable();
    while let Some(part) = parts.next() {
        let upper = part.to_ascii_uppercase();
        let (family, number) = split_number(&upper);
        let number = number.trim_start_matches('0');
        if number.is_empty() && RULES.contains(&family) {
            match parts.peek().filter(|next| next.bytes().all(|b| b.is_ascii_digit())) {
                Some(number) => ids.push(format!("{family}-{number}")),
                None => break,
            }
            parts.next();
        } else if PROMISES_AND_FAULTS.contains(&family)
            && number.bytes().all(|b| b.is_ascii_digit())
            && !number.is_empty()
        {
            ids.push(format!("{family}{number}"));
        } else {
            break;
        }
    }
    ids
}

#[test]
fn ids_are_found_where_they_are_cited() {
    let text = "// BO-2 and G14 hold.\nfn s6_s7_one_failing_write(\nfn bo_2_and_bo_3_the_default(\npub fn c07_a_dropped_call<F>(\nlet x: E1 = C9;\n";
    let found: Vec<String> = cited_ids(text, true).into_iter().collect();
    assert_eq!(found, ["BO-2", "BO-3", "C7", "G14", "S6", "S7"]);
}
