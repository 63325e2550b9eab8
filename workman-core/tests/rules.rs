//! `docs/rules.md` has each rule of WorkManager, and each is proved by a test that carries its id, changed by a line that says so, or
//! left out with its reason.

mod sources;

use std::collections::BTreeSet;

use sources::{Source, read, rust_files};

/// The families, with their last numbers, in the order of the document.
const FAMILIES: [(&str, usize); 14] = [
    ("SM", 10),
    ("DEP", 10),
    ("BO", 9),
    ("NRT", 4),
    ("PER", 8),
    ("UNQ", 10),
    ("UPD", 6),
    ("CAN", 6),
    ("DATA", 6),
    ("CON", 5),
    ("SCH", 7),
    ("REC", 8),
    ("OBS", 5),
    ("TST", 5),
];

/// One rule: its wording, and the lines below it.
struct Rule {
    id: String,
    wording: String,
    notes: Vec<Note>,
}

/// How one can know that the rule holds, or why it does not.
struct Note {
    /// `Proof`, `Changed`, `Later` or `Not here`.
    kind: String,
    text: String,
}

/// The rules of the families, in the order of the document.
fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in read("workman-core/docs/rules.md").lines() {
        if let Some((id, wording)) = line.strip_prefix("- **").and_then(|line| line.split_once("** ")) {
            rules.push(Rule { id: id.to_owned(), wording: wording.to_owned(), notes: Vec::new() });
        } else if let (Some((kind, text)), Some(rule)) = (note(line), rules.last_mut()) {
            rule.notes.push(Note { kind: kind.to_owned(), text: text.to_owned() });
        } else if let (Some(rest), Some(rule)) = (line.strip_prefix("  "), rules.last_mut()) {
            let text = rule.notes.last_mut().map_or(&mut rule.wording, |note| &mut note.text);
            text.push(' ');
            text.push_str(rest.trim());
        }
    }
    // Faults have no hyphen, and their tests are found by their names alone.
    rules.retain(|rule| rule.id.contains('-'));
    rules
}

fn note(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("  - ")?.split_once(": ")
}

/// The changes that the document numbers.
fn changes() -> Vec<String> {
    let text = read("workman-core/docs/rules.md");
    let cells = text.lines().filter_map(|line| line.strip_prefix("| D")?.split_once(" | "));
    cells.map(|(number, _)| format!("D{number}")).collect()
}

#[test]
fn no_rule_of_work_manager_is_missing() {
    let wanted = FAMILIES.iter().flat_map(|(family, last)| (1..=*last).map(move |number| format!("{family}-{number}")));
    let wanted: Vec<String> = wanted.collect();
    let written: Vec<String> = rules().into_iter().map(|rule| rule.id).collect();
    assert_eq!(written, wanted, "docs/rules.md against the rules of WorkManager, in their order");
}

#[test]
fn every_rule_is_proved_or_changed_or_left_out_with_a_reason() {
    let (sources, changes) = (rust_files(), changes());
    let mut wrong = Vec::new();
    for Rule { id, wording, notes } in rules() {
        if wording.split(' ').count() < 4 {
            wrong.push(format!("{id} has no wording"));
        }
        if notes.is_empty() {
            wrong.push(format!("{id} has no proof"));
        }
        for Note { kind, text } in notes {
            let fault = match kind.as_str() {
                "Proof" => fault_of_proof(&id, &text, &sources),
                "Changed" => fault_of_change(&text, &changes),
                "Later" | "Not here" if text.split(' ').count() < 3 => Some("no reason".to_owned()),
                "Later" | "Not here" => None,
                _ => Some("no such note".to_owned()),
            };
            wrong.extend(fault.map(|fault| format!("{id}, {kind}: {text}: {fault}")));
        }
    }
    assert!(wrong.is_empty(), "docs/rules.md: {wrong:#?}");
}

#[test]
fn every_change_is_numbered_and_changes_a_rule() {
    let changes = changes();
    let numbered: Vec<String> = (1..=changes.len()).map(|number| format!("D{number}")).collect();
    assert_eq!(changes, numbered);
    let rules = rules();
    let notes = rules.iter().flat_map(|rule| &rule.notes).filter(|note| note.kind == "Changed");
    let cited: BTreeSet<&str> = notes.flat_map(|note| note.text.trim_end_matches('.').split(", ")).collect();
    let idle: Vec<&String> = changes.iter().filter(|change| !cited.contains(change.as_str())).collect();
    assert!(idle.is_empty(), "these changes change no rule: {idle:?}");
}

/// What is wrong with a line that cites a test.
fn fault_of_proof(id: &str, text: &str, sources: &[Source]) -> Option<String> {
    let cited = text.strip_prefix('`').and_then(|text| text.strip_suffix('`')).and_then(|text| text.split_once("::"));
    let Some((path, name)) = cited else { return Some("not `path::test`".to_owned()) };
    let lower = id.to_ascii_lowercase().replace('-', "_");
    if !format!("_{name}_").contains(&format!("_{lower}_")) {
        return Some(format!("its name has no `{lower}`"));
    }
    let Some(source) = sources.iter().find(|source| source.path == path) else {
        return Some("there is no such file".to_owned());
    };
    (!is_test(&source.text, name)).then(|| "there is no such test".to_owned())
}

/// Whether the text has a test of that name, and not merely a function.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let at = lines.iter().position(|line| line.starts_with(&head));
    at.is_some_and(|at| {
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        attributes.into_iter().any(|line| *line == "#[test]")
    })
}

/// What is wrong with a line that cites changes.
fn fault_of_change(text: &str, changes: &[String]) -> Option<String> {
    let Some(cited) = text.strip_suffix('.') else { return Some("no full stop".to_owned()) };
    let unknown = cited.split(", ").find(|cited| !changes.iter().any(|change| change == cited));
    unknown.map(|unknown| format!("there is no change {unknown}"))
}

#[test]
fn a_proof_is_a_test_with_the_id_in_its_name() {
    let text = "#[test]\nfn unq_1_and_dep_2_holds() {}\n\nfn unq_1_is_no_test() {}\n// fn unq_1_is_a_comment() {}\n";
    let sources = [Source { path: "a.rs".to_owned(), text: text.to_owned() }];
    let fault = |id, text| fault_of_proof(id, text, &sources);
    assert_eq!(fault("UNQ-1", "`a.rs::unq_1_and_dep_2_holds`"), None);
    assert_eq!(fault("DEP-2", "`a.rs::unq_1_and_dep_2_holds`"), None);
    for (id, text) in [
        ("UNQ-10", "`a.rs::unq_1_and_dep_2_holds`"),
        ("EP-2", "`a.rs::unq_1_and_dep_2_holds`"),
        ("UNQ-1", "`b.rs::unq_1_and_dep_2_holds`"),
        ("UNQ-1", "`a.rs::unq_1_is_no_test`"),
        ("UNQ-1", "`a.rs::unq_1_is_a_comment`"),
        ("UNQ-1", "a.rs, unq_1_and_dep_2_holds"),
    ] {
        assert!(fault(id, text).is_some(), "{id} {text}");
    }
}
