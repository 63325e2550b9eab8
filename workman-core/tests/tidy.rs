//! The rules of the house, as tests: who may import whom, how long things may get, and what is not done here.
//!
//! The rules read source text, so they hold for macros and for code behind features too. Comments and strings are
//! blanked out first, and so is code under `#[cfg(test)]`, unless a rule says that it looks at those.

#[path = "tidy/circles.rs"]
mod circles;
mod sources;

use std::collections::BTreeSet;
use std::ops::Range;

use sources::{CRATES, Source, read, rust_files};

// ---- who may import whom ----

/// The rooms of the core from the bottom to the top, and what each may import. A room that is not listed may not exist.
const ROOMS: [(&str, &str); 26] = [
    ("state", ""),
    ("foreign", ""),
    ("data", "foreign"),
    ("time", "foreign"),
    ("id", "time"),
    ("policy", "id"),
    ("limits", "policy"),
    ("constraints", "state"),
    ("record", "constraints data foreign id policy state time"),
    ("index", "id record time"),
    ("info", "constraints data id policy record state time"),
    ("query", "id index info record state time"),
    ("plan", "constraints data id index policy query record state time"),
    ("store", "constraints data foreign id index info plan query record state time"),
    ("runtime", "foreign"),
    ("sensor", "constraints foreign"),
    ("health", "plan store"),
    ("observe", "foreign id runtime store::HomeProcess"),
    ("worker", "constraints data foreign id limits observe plan policy query record runtime state store time"),
    ("request", "constraints data foreign id limits plan policy record time worker"),
    (
        "dispatcher",
        "constraints foreign health id index limits observe plan query record runtime sensor state store time worker",
    ),
    (
        "manager",
        "constraints data dispatcher foreign health id index info limits observe plan policy query record request runtime sensor state store time worker",
    ),
    ("chain", "id manager plan policy query record request"),
    // Doors: they are entered from outside, and nothing imports them.
    ("steps", "chain request"),
    ("private", "constraints data foreign id plan policy record request state worker"),
    ("seams", "data id limits plan record request runtime state store time worker"),
];

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for file in core_sources() {
        let inside = file.path.trim_start_matches("workman-core/src/");
        let room = inside.split(['/', '.']).next().unwrap_or_default();
        if matches!(room, "lib" | "docs" | "prelude") {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room `{room}` is not in the table", file.path));
            continue;
        };
        for (line, import) in imports(&file.code, depth(inside)) {
            let fine = is_within(&import, room) || allowed.split(' ').any(|allowed| is_within(&import, allowed));
            if !fine {
                wrong.push(format!("{}:{line}: `{room}` may not import `crate::{import}`", file.path));
            }
        }
    }
    assert_none(&wrong, "imports point one way: nouns, plan, boundary, worker, dispatcher, manager");
}

/// What follows each `crate::`, or as many `super::` as lead out of the room, with its line.
fn imports(code: &str, depth: usize) -> Vec<(usize, String)> {
    let out = "super::".repeat(depth);
    let mut found = Vec::new();
    for root in ["crate::", out.as_str()] {
        for (at, _) in code.match_indices(root) {
            if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | ':')) {
                continue;
            }
            let rest = &code[at + root.len()..];
            let path: String = rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            found.push((line_of(code, at), path.replace("__private", "private")));
        }
    }
    found
}

/// How many modules lie between a file and the root of the crate.
fn depth(inside: &str) -> usize {
    inside.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").count()
}

fn is_within(import: &str, allowed: &str) -> bool {
    !allowed.is_empty() && import.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

#[test]
fn the_planner_is_pure() {
    const BANNED: [&str; 16] = [
        "async",
        "await",
        "Future",
        "tracing",
        "log",
        "Clock",
        "SystemClock",
        "spawn",
        "thread",
        "Mutex",
        "RefCell",
        "AtomicU64",
        "OnceLock",
        "thread_local",
        "rand",
        "env",
    ];
    let planner = core_sources().into_iter().filter(|file| file.path.starts_with("workman-core/src/plan/"));
    let mut wrong = Vec::new();
    for file in planner {
        for (line, word) in words(&file.code) {
            if BANNED.contains(&word) {
                wrong.push(format!("{}:{line}: `{word}`", file.path));
            }
        }
    }
    assert_none(&wrong, "plan/ knows no async, clock, thread, log, shared state or randomness; pass it in");
}

// ---- who owns what in the dispatcher ----

/// The files of the dispatcher, and the types that own its state. What is no dispatching is somewhere else.
const DISPATCHER: [(&str, &[&str]); 14] = [
    // The loop has the owners, and says who hears of what. It touches nothing of what they own.
    ("mod", &["Dispatcher"]),
    ("commit", &[]),
    ("core", &[]),
    ("inbox", &["Inbox", "Timer", "Wake"]),
    ("claims", &["Claims", "Line"]),
    ("lanes", &["Lanes"]),
    ("slots", &["Slots", "Counts"]),
    ("attempts", &["Attempts", "Running"]),
    ("standstill", &["Standstill", "Watch"]),
    ("outbox", &["Outbox", "Linger"]),
    ("probe", &["Probes", "Probe"]),
    ("prune", &["Pruning", "Pass"]),
    ("sweep", &[]),
    ("exit", &["Exit", "Farewell"]),
];

#[test]
fn what_an_owner_of_the_dispatcher_has_is_touched_in_its_own_file_only() {
    let files: Vec<Code> = core_sources().into_iter().filter(|file| file.path.contains("/src/dispatcher/")).collect();
    let name = |file: &Code| file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
    let found: BTreeSet<String> = files.iter().map(name).collect();
    assert_eq!(found, DISPATCHER.iter().map(|(file, _)| (*file).to_owned()).collect(), "the files of the dispatcher");
    let mut wrong = Vec::new();
    for file in &files {
        let owners =
            DISPATCHER.iter().find(|(name_of, _)| **name_of == name(file)).map_or(&[][..], |(_, owners)| owners);
        for owner in owners {
            match fields(&file.code, owner) {
                Some(fields) if whole_words(fields, "pub").is_empty() => {}
                Some(_) => wrong.push(format!("{}: `{owner}` shows a field", file.path)),
                None => wrong.push(format!("{}: `{owner}` is not here", file.path)),
            }
        }
        // The fields of the loop are the owners, so who does not know the loop reaches no other owner.
        if !matches!(&*name(file), "mod" | "commit") && words(&file.code).iter().any(|(_, word)| *word == "Dispatcher")
        {
            wrong.push(format!("{}: an owner does not know the loop", file.path));
        }
    }
    assert_none(&wrong, "a field of the dispatcher is touched in one file");
}

/// What stands between the braces of a struct.
fn fields<'a>(code: &'a str, name: &str) -> Option<&'a str> {
    let at = *whole_words(code, &format!("struct {name}")).first()?;
    let open = at + code[at..].find('{')?;
    Some(&code[open..matching_brace(code, open)])
}

// ---- how long things may get ----

const LONG_FILE: usize = 400;
const LONGEST_FILE: usize = 800;
const LONGEST_FUNCTION: usize = 70;
const WIDEST_COMMENT: usize = 140;

/// Files over 400 lines without their tests, and why each is one.
const LONG_FILES: [(&str, &str); 10] = [
    ("workman-core/src/plan/command.rs", "all that anybody may want of the planner, read in one go"),
    ("workman-core/src/dispatcher/attempts.rs", "what runs, from its start to each of its ends, has one owner"),
    ("workman-core/src/manager/mod.rs", "the verbs of the manager, each a few lines and its contract"),
    ("workman-core/src/record/mod.rs", "what a store keeps; the nouns are read together"),
    ("workman-core/src/runtime/thread.rs", "an executor: its threads, what they take turns at, and its wakers"),
    ("workman-core/src/worker/context.rs", "what a worker is given, one type with its contract"),
    ("workman-testing/src/conformance/bench.rs", "the one bench on which every clause is tried"),
    ("workman-redb/src/tables/whole.rs", "a whole file: gone through, copied, and made anew from what is left"),
    ("workman-testing/src/conformance/reading.rs", "two clauses, a test for each of their sentences"),
    ("workman-testing/src/conformance/loading.rs", "five clauses, a test for each of their sentences"),
];

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    let files = library_sources();
    for file in &files {
        let lines = file.code_lines();
        let reason = LONG_FILES.iter().find(|(path, _)| *path == file.path);
        if lines > LONGEST_FILE {
            wrong.push(format!("{}: {lines} lines without its tests; split it", file.path));
        } else if lines > LONG_FILE && reason.is_none() {
            wrong.push(format!("{}: {lines} lines without its tests; split it or give a reason", file.path));
        }
    }
    assert_none(&wrong, "a file over 400 lines wants a reason, over 800 a split");
}

#[test]
fn no_function_is_too_long() {
    let mut wrong = Vec::new();
    for file in library_sources() {
        for (name, line, length) in functions(&file.code) {
            if length > LONGEST_FUNCTION {
                wrong.push(format!("{}:{line}: `{name}` has {length} lines", file.path));
            }
        }
    }
    assert_none(&wrong, "a function aims at 20 lines and stops at 70");
}

/// Rustfmt holds code to 120 characters and leaves comments alone, so this test does not. Links and tables can't be broken.
#[test]
fn no_comment_is_too_wide() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        for (number, line) in file.text.lines().enumerate() {
            let width = line.chars().count();
            let breaks = line.trim_start().starts_with("//") && !line.contains("http") && !line.contains('|');
            if width > WIDEST_COMMENT && breaks {
                wrong.push(format!("{}:{}: {width} characters", file.path, number + 1));
            }
        }
    }
    assert_none(&wrong, "a comment is at most 140 characters wide");
}

/// Each function with a body: its name, its line, and its length in lines.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut offset = 0;
    while let Some(at) = next_word(code, "fn", offset) {
        offset = at + 2;
        let name: String =
            code[offset..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(body) = end_of_signature(code, offset) else { break };
        if name.is_empty() || code[body..].starts_with(';') {
            continue;
        }
        let end = matching_brace(code, body);
        let line = line_of(code, at);
        found.push((name, line, line_of(code, end) - line + 1));
    }
    found
}

/// The brace that opens the body, or the semicolon of a function without one; `[u8; 4]` among the arguments is neither.
fn end_of_signature(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' | ';' if depth == 0 => return Some(from + at),
            _ => {}
        }
    }
    None
}

// ---- what is not done here ----

/// Calls that are not made, where they may be made all the same, and what to do instead.
const BANNED: [(&str, &[&str], &str); 15] = [
    ("todo!", &[], "do it, or leave it out"),
    ("unimplemented!", &[], "do it, or leave it out"),
    ("dbg!", &[], "use tracing"),
    ("println!", &["examples/"], "use tracing; a library does not write to somebody's terminal"),
    (
        "eprintln!",
        &["examples/", "workman-testing/", PEERS],
        "use tracing; a library does not write to somebody's terminal",
    ),
    ("SystemTime::now", TIME, "ask the Clock"),
    ("Instant::now", TIME, "ask the Clock"),
    ("thread::sleep", TIME, "sleep on the Clock"),
    ("HashMap", &["examples/"], "use BTreeMap: its order is the same in every run"),
    ("HashSet", &["examples/"], "use BTreeSet: its order is the same in every run"),
    ("process::exit", &["examples/", PEERS], "return: a library does not end somebody's process"),
    ("mem::forget", &[], "drop it, or keep it"),
    ("catch_unwind", FOREIGN, "call what is not ours through `foreign`"),
    ("resume_unwind", FOREIGN, "call what is not ours through `foreign`"),
    ("Waker::wake", FOREIGN, "a waker is not ours; wake through `wake_all`"),
];

/// The door through which code of the program's own is called. The test driver runs workers in its own way.
const FOREIGN: &[&str] = &["workman-core/src/foreign.rs", "workman-testing/", "examples/", PEERS];

/// The doors through which time enters. The examples are programs of users, who may look at a clock, and a benchmark has to.
const TIME: &[&str] = &["workman-core/src/time/system.rs", "examples/", PEERS];

/// A program that measures other systems; it is no part of the workspace.
const PEERS: &str = "workman-redb/peers/";

#[test]
fn banned_calls_are_not_made() {
    let mut wrong = Vec::new();
    for file in library_sources() {
        for (call, allowed, instead) in BANNED {
            if allowed.iter().any(|path| file.path.starts_with(path)) {
                continue;
            }
            for at in whole_words(&file.code, call) {
                wrong.push(format!("{}:{}: `{call}`: {instead}", file.path, line_of(&file.code, at)));
            }
        }
    }
    assert_none(&wrong, "some calls are not made here");
}

#[test]
fn nothing_unwraps_outside_of_tests() {
    let mut wrong = Vec::new();
    for file in library_sources() {
        if file.path.starts_with("examples/") || file.path.starts_with("workman-testing/") {
            continue;
        }
        for (at, _) in file.code.match_indices(".unwrap()") {
            wrong.push(format!("{}:{}", file.path, line_of(&file.code, at)));
        }
    }
    assert_none(&wrong, "an error that can happen is answered, one that can't is `expect`ed with the reason");
}

#[test]
fn no_test_is_ignored_and_no_note_is_left() {
    const ME: &str = "workman-core/tests/tidy.rs";
    // Draws what is shipped; whoever wants that says so.
    const GENERATOR: &str = "#[ignore = \"writes into the source tree\"]";
    let mut wrong = Vec::new();
    for file in rust_files().into_iter().filter(|file| file.path != ME) {
        for (number, line) in file.text.lines().enumerate() {
            for banned in ["#[ignore", "TODO", "FIXME", "XXX", "HACK"] {
                if !whole_words(line, banned).is_empty() && line.trim() != GENERATOR {
                    wrong.push(format!("{}:{}: `{banned}`", file.path, number + 1));
                }
            }
        }
    }
    assert_none(&wrong, "a test runs or goes, and what is to be done is in an issue");
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    const BANNED: [&str; 7] = ["common", "utils", "util", "helpers", "helper", "types", "misc"];
    let mut wrong = Vec::new();
    for file in rust_files() {
        let says_nothing = |part: &str| BANNED.contains(&part.trim_end_matches(".rs"));
        if file.path.split('/').any(says_nothing) {
            wrong.push(file.path.clone());
        }
    }
    assert_none(&wrong, "a module is named after what is in it");
}

#[test]
fn letters_are_plain() {
    const ALLOWED: &str = "×…·–→←≤≥";
    let mut wrong = Vec::new();
    // The examples draw on a terminal, and the conformance tests store odd letters on purpose.
    let draws = |file: &Code| file.path.starts_with("examples/") || file.path.contains("/conformance/");
    for file in library_sources().into_iter().filter(|file| !draws(file)) {
        for (number, line) in file.untested.lines().enumerate() {
            if let Some(odd) = line.chars().find(|c| !c.is_ascii() && !ALLOWED.contains(*c)) {
                wrong.push(format!("{}:{}: `{odd}`", file.path, number + 1));
            }
        }
    }
    assert_none(&wrong, "sources are ASCII, but for a few signs");
}

#[test]
fn every_crate_keeps_the_lints_and_the_oldest_compiler_of_the_workspace() {
    let mut wrong = Vec::new();
    for krate in CRATES {
        let manifest = read(&format!("{krate}/Cargo.toml"));
        let lints =
            manifest.split("[lints]").nth(1).is_some_and(|rest| rest.trim_start().starts_with("workspace = true"));
        for (holds, what) in [
            (lints, "[lints] workspace = true"),
            (manifest.contains("rust-version.workspace = true"), "rust-version.workspace = true"),
            (manifest.contains("license.workspace = true"), "license.workspace = true"),
        ] {
            if !holds {
                wrong.push(format!("{krate}/Cargo.toml lacks `{what}`"));
            }
        }
    }
    assert_none(&wrong, "what holds for one crate holds for all");
}

/// The workspace only denies it, for the sake of the files that are no part of a library.
#[test]
fn every_library_forbids_unsafe_code_and_counters_forks_and_what_c_calls_have_some() {
    const COUNTERS: [&str; 2] = ["workman-redb/benches/workloads/counting.rs", "workman-redb/peers/src/counters.rs"];
    const OUTSIDE: [&str; 2] = ["workman-redb/tests/forked/", "examples/linked_from_c/"];
    let mut wrong = Vec::new();
    for krate in CRATES {
        let path = format!("{krate}/src/lib.rs");
        if !read(&path).lines().any(|line| line == "#![forbid(unsafe_code)]") {
            wrong.push(format!("{path} lacks `#![forbid(unsafe_code)]`"));
        }
    }
    // What the macro refuses is unsafe on purpose.
    let may = |file: &&Source| {
        let is_outside = OUTSIDE.iter().any(|folder| file.path.starts_with(folder));
        COUNTERS.contains(&file.path.as_str()) || is_outside || file.path.contains("/tests/ui/")
    };
    for file in rust_files().iter().filter(|file| !may(file)) {
        for at in whole_words(&blank_comments_and_strings(&file.text), "unsafe") {
            wrong.push(format!("{}:{}: unsafe code", file.path, line_of(&file.text, at)));
        }
    }
    assert_none(&wrong, "no crate has unsafe code");
}

// ---- reading Rust ----

/// A source file without its comments, strings and tests; everything else is where it was.
struct Code {
    path: String,
    code: String,
    /// The text with its comments and strings, without its tests.
    untested: String,
}

impl Code {
    fn new(source: &Source) -> Self {
        let plain = blank_comments_and_strings(&source.text);
        let tests = test_modules(&plain);
        let blanked = |text: &str| tests.iter().fold(text.to_owned(), |text, range| blank(&text, range.clone()));
        Code { path: source.path.clone(), code: blanked(&plain), untested: blanked(&source.text) }
    }

    /// Lines up to the last one that is not a test.
    fn code_lines(&self) -> usize {
        self.untested.trim_end().lines().count()
    }
}

/// What is compiled into libraries and programs: no tests, no benches, no modules that are there for tests only.
fn library_sources() -> Vec<Code> {
    let files = rust_files();
    let mut for_tests = BTreeSet::new();
    for file in &files {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for module in file.text.split("#[cfg(test)]").skip(1) {
            let module = module.trim_start().trim_start_matches("pub(crate) ");
            if let Some((name, _)) = module.strip_prefix("mod ").and_then(|rest| rest.split_once(';')) {
                for_tests.extend([format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]);
            }
        }
    }
    let is_library = |file: &&Source| {
        let parts: Vec<&str> = file.path.split('/').collect();
        !for_tests.contains(&file.path) && !parts[1..].iter().any(|part| matches!(*part, "tests" | "benches"))
    };
    files.iter().filter(is_library).map(Code::new).collect()
}

fn core_sources() -> Vec<Code> {
    library_sources().into_iter().filter(|file| file.path.starts_with("workman-core/src/")).collect()
}

/// Replaces comments and the insides of strings by spaces, so that lines and columns stay.
fn blank_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' | 'c' if !ends_in_word(&code) => raw_string(rest).unwrap_or(0),
            '\'' => character(rest),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string (`r"`, `br#"` and so on), or none if it is something else. A plain `b"` is left to [`string`].
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or(text.strip_prefix("cr")).or(text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |end| end + close.len());
    Some(text.len() - body.len() + end)
}

/// The length of a character, or 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => text[3..].find('\'').map_or(0, |end| 3 + end + 1),
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 0,
    }
}

/// Where modules and functions under `#[cfg(test)]` lie, in blanked code.
fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, attribute) in code.match_indices("#[cfg(test)]") {
        let rest = at + attribute.len();
        if let Some(open) = code[rest..].find(['{', ';']).map(|open| rest + open) {
            let end = if code[open..].starts_with('{') { matching_brace(code, open) } else { open };
            found.push(at..end + 1);
        }
    }
    found
}

fn blank(text: &str, range: Range<usize>) -> String {
    // The two texts have the same characters in the same lines, but not the same bytes: go by lines.
    let first = text.get(..range.start).map_or(0, |before| before.matches('\n').count());
    let count = text.get(range.clone()).map_or(0, |inside| inside.matches('\n').count());
    let keep = |(number, line): (usize, &str)| {
        if (first..=first + count).contains(&number) { String::new() } else { line.to_owned() }
    };
    text.lines().enumerate().map(keep).collect::<Vec<_>>().join("\n")
}

/// Where the brace that opens at `open` is closed.
fn matching_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len() - 1
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// All words of the code, each with its line.
fn words(code: &str) -> Vec<(usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let lines = code.lines().enumerate();
    lines.flat_map(|(number, line)| line.split(move |c| !is_word(c)).map(move |word| (number + 1, word))).collect()
}

/// Where `what` stands that is no part of a longer word.
fn whole_words(code: &str, what: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let found = code.match_indices(what).map(|(at, _)| at);
    let whole = found.filter(|at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + what.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    });
    whole.collect()
}

fn next_word(code: &str, word: &str, from: usize) -> Option<usize> {
    whole_words(&code[from..], word).first().map(|at| from + at)
}

fn assert_none(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}:\n  {}\n", wrong.join("\n  "));
}

#[test]
fn the_reader_of_rust_sees_what_is_code() {
    let text =
        "let a = \"fn }\"; // fn {\nlet b = '{'; let c: &'a str = r#\"\" fn\"#; /* fn */\nfn f(_: [u8; 4]) {\n}\n";
    let code = blank_comments_and_strings(text);
    assert_eq!(functions(&code), [("f".to_owned(), 3, 2)]);
    assert!(!code.contains("fn }") && code.contains("&'a str"));
}
