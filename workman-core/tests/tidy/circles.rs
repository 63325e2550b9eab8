//! Which file of a crate imports which, and that no two need each other.
//!
//! Read from `use` and from paths in the code. A name that a module only passes on (`pub use`) is looked for where it comes from, so
//! a room may show what is in it, and its files may say `super::` to each other's names; what a parent uses of a child itself
//! counts.

use std::collections::{BTreeMap, BTreeSet};

use super::{assert_none, library_sources, line_of, whole_words, words};

/// The crates whose files are held to it. In the core a file may say `super::` to the nouns of its own room, which its `mod.rs` has.
const CRATES: [&str; 4] = ["workman-core", "workman-macros", "workman-testing", "workman-redb"];

#[test]
fn no_two_files_of_a_crate_need_each_other() {
    let mut wrong = Vec::new();
    let sources = library_sources();
    for krate in CRATES {
        let prefix = format!("{krate}/src/");
        let files = sources.iter().filter(|file| file.path.starts_with(&prefix));
        let files: Vec<(String, &str)> =
            files.map(|file| (file.path[prefix.len()..].to_owned(), &*file.code)).collect();
        let nouns = if krate == "workman-core" { Nouns::InTheRoom } else { Nouns::Anywhere };
        wrong.extend(Crate::read(&files).circles(nouns).into_iter().map(|circle| format!("{krate}: {circle}")));
    }
    assert_none(&wrong, "imports between files lead in no circle: move what both need to the one below");
}

/// Where the nouns of a file lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nouns {
    /// In any file: its parent counts like every other.
    Anywhere,
    /// Also in the rooms that it lies in.
    InTheRoom,
}

/// A module by its path, without the name of the crate; that of the crate itself is empty.
type Module = Vec<String>;

/// One path of a file: what it names, and where.
struct Import {
    path: Module,
    line: usize,
    /// The name that it has here.
    name: String,
    /// Whether it is passed on.
    passed_on: bool,
}

/// A module that is a file.
struct File {
    name: String,
    imports: Vec<Import>,
    /// The names of what it defines, and more.
    defines: BTreeSet<String>,
}

/// A crate by its modules.
struct Crate {
    modules: BTreeMap<Module, File>,
}

impl Crate {
    fn read(files: &[(String, &str)]) -> Self {
        let module = |file: &str| -> Module {
            let parts = file.trim_end_matches(".rs").split('/');
            parts.filter(|part| !matches!(*part, "mod" | "lib")).map(str::to_owned).collect()
        };
        let all: BTreeSet<Module> = files.iter().map(|(file, _)| module(file)).collect();
        let modules = files.iter().map(|(file, code)| {
            let module = module(file);
            let children = all.iter().filter(|other| other.len() == module.len() + 1 && other.starts_with(&module));
            let children: Vec<&str> = children.filter_map(|child| child.last().map(String::as_str)).collect();
            let imports = imports(code, &module, &children);
            let file = File { name: file.clone(), imports, defines: defined(code) };
            (module, file)
        });
        Crate { modules: modules.collect() }
    }

    /// The file that a path leads to. What a module passes on is looked for where it comes from.
    fn origin(&self, path: &[String], turns: usize) -> Option<&Module> {
        let depth = (0..=path.len()).rev().find(|depth| self.modules.contains_key(&path[..*depth]))?;
        let (module, file) = self.modules.get_key_value(&path[..depth])?;
        let Some(name) = path.get(depth).filter(|name| turns > 0 && !file.defines.contains(*name)) else {
            return Some(module);
        };
        let mut passed_on = file.imports.iter().filter(|import| import.passed_on);
        if let Some(import) = passed_on.clone().find(|import| import.name == *name) {
            return self.origin(&import.path, turns - 1);
        }
        let whole = passed_on.find_map(|import| {
            let (star, path) = import.path.split_last()?;
            let (module, file) = self.modules.get_key_value(path).filter(|_| star == "*")?;
            file.defines.contains(name).then_some(module)
        });
        whole.or(Some(module))
    }

    /// Whom each module needs, and where it says so.
    fn needs(&self, nouns: Nouns) -> BTreeMap<&Module, BTreeMap<&Module, usize>> {
        const TURNS: usize = 8;
        let needs = self.modules.iter().map(|(module, file)| {
            let used = file.imports.iter().filter(|import| !import.passed_on);
            let origins = used.filter_map(|import| Some((self.origin(&import.path, TURNS)?, import.line)));
            let is_room = |origin: &Module| nouns == Nouns::InTheRoom && module.starts_with(origin);
            (module, origins.filter(|(origin, _)| *origin != module && !is_room(origin)).collect())
        });
        needs.collect()
    }

    /// The shortest circle through each module that is in one, each circle once.
    fn circles(&self, nouns: Nouns) -> BTreeSet<String> {
        let needs = self.needs(nouns);
        let mut found = BTreeMap::new();
        for start in needs.keys().copied() {
            let mut before: BTreeMap<&Module, &Module> = BTreeMap::new();
            let mut next = std::collections::VecDeque::from([start]);
            while let Some(at) = next.pop_front().filter(|_| !before.contains_key(start)) {
                for to in needs[at].keys().copied() {
                    before.entry(to).or_insert_with(|| {
                        next.push_back(to);
                        at
                    });
                }
            }
            if before.contains_key(start) {
                let mut circle = vec![start];
                while let Some(at) = before.get(circle[circle.len() - 1]).filter(|at| **at != start) {
                    circle.push(at);
                }
                circle.reverse();
                let members: BTreeSet<&Module> = circle.iter().copied().collect();
                found.entry(members).or_insert(circle);
            }
        }
        found.values().map(|circle| self.describe(circle, &needs)).collect()
    }

    fn describe(&self, circle: &[&Module], needs: &BTreeMap<&Module, BTreeMap<&Module, usize>>) -> String {
        let steps = circle.iter().zip(circle.iter().cycle().skip(1)).map(|(from, to)| {
            format!("{}:{} needs {}", self.modules[*from].name, needs[from][to], self.modules[*to].name)
        });
        steps.collect::<Vec<_>>().join(", ")
    }
}

/// The words behind those that begin a definition.
fn defined(code: &str) -> BTreeSet<String> {
    const BEGIN: [&str; 8] = ["struct", "enum", "trait", "fn", "type", "const", "static", "union"];
    let words = words(code);
    let named = words.windows(2).filter(|pair| BEGIN.contains(&pair[0].1));
    named.map(|pair| pair[1].1.to_owned()).collect()
}

/// All paths of a file that may lead to another file of its crate.
fn imports(code: &str, module: &[String], children: &[&str]) -> Vec<Import> {
    let mut found = Vec::new();
    let mut rest = code.to_owned();
    for at in whole_words(code, "use") {
        let Some(end) = code[at..].find(';').map(|end| at + end) else { continue };
        let before = code[..at].trim_end();
        let starts = before.is_empty() || before.ends_with(['}', ';', '{', ']', ')']) || before.ends_with("pub");
        if !starts {
            continue;
        }
        let passed_on = before.ends_with("pub")
            || before.ends_with(')') && before.rfind("pub(").is_some_and(|open| !before[open..].contains(' '));
        rest.replace_range(at..end, &blank(&code[at..end]));
        for (path, name) in tree(&code[at + 3..end]) {
            if let Some(path) = absolute(&path, module, children) {
                found.push(Import { path, line: line_of(code, at), name, passed_on });
            }
        }
    }
    // What is passed on may be used here too.
    let used =
        |import: &&Import| import.passed_on && import.name != "*" && !whole_words(&rest, &import.name).is_empty();
    let used: Vec<Import> = found
        .iter()
        .filter(used)
        .map(|i| Import { path: i.path.clone(), line: i.line, name: String::new(), passed_on: false })
        .collect();
    found.extend(used);
    for root in ["crate", "super", "self"].iter().chain(children) {
        for at in whole_words(&rest, root) {
            let before = rest[..at].chars().next_back();
            let path: String =
                rest[at..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            if path.contains("::") && !matches!(before, Some(':' | '$' | '.')) {
                let path: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
                let path = absolute(&path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>(), module, children);
                let line = line_of(&rest, at);
                found.extend(path.map(|path| Import { path, line, name: String::new(), passed_on: false }));
            }
        }
    }
    found
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

/// The paths of a tree of imports, each with the name that it has here.
fn tree(text: &str) -> Vec<(Vec<String>, String)> {
    let text = text.trim();
    if let Some(open) = text.find('{') {
        let prefix = text[..open].trim().trim_end_matches("::");
        let inside = &text[open + 1..text.rfind('}').unwrap_or(text.len())];
        let mut depth = 0_usize;
        let parts = inside.split(|c: char| {
            depth = match c {
                '{' => depth + 1,
                '}' => depth - 1,
                _ => depth,
            };
            c == ',' && depth == 0
        });
        let parts = parts.filter(|part| !part.trim().is_empty()).flat_map(tree);
        let under = parts.map(|(path, name)| {
            let own = path == ["self"];
            let full: Vec<String> = prefix.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
            let name = if own { full.last().cloned().unwrap_or(name) } else { name };
            (full.into_iter().chain(path.into_iter().filter(|_| !own)).collect(), name)
        });
        return under.collect();
    }
    let (path, alias) =
        text.split_once(" as ").map_or((text, None), |(path, alias)| (path, Some(alias.trim().to_owned())));
    let path: Vec<String> = path.trim().split("::").map(|part| part.trim().to_owned()).collect();
    let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
    vec![(path, name)]
}

/// The path from the root of the crate, if it leads into the crate.
fn absolute(path: &[String], module: &[String], children: &[&str]) -> Option<Module> {
    let mut from = module.to_vec();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => (from, rest) = (Vec::new(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                from.pop()?;
                rest = &rest[1..];
            }
        }
        first if children.contains(&first) => {}
        _ => return None,
    }
    from.extend(rest.iter().cloned());
    Some(from)
}

#[test]
fn the_reader_of_imports_sees_a_circle_and_looks_through_what_is_passed_on() {
    let circles = |files: &[(&str, &str)]| {
        let files: Vec<(String, &str)> = files.iter().map(|(file, code)| ((*file).to_owned(), *code)).collect();
        Crate::read(&files).circles(Nouns::Anywhere).into_iter().collect::<Vec<_>>()
    };
    let lib = ("lib.rs", "mod a;\nmod b;\npub use a::{x::X, Y};\n");
    let passes_on = ("a/mod.rs", "mod x;\nmod y;\npub(crate) use x::X;\npub use y::Y as Z;\n");
    let fine = [
        lib,
        passes_on,
        ("a/x.rs", "struct X;"),
        ("a/y.rs", "use super::X;\nuse crate::b::B;"),
        ("b.rs", "use crate::a::X;"),
    ];
    assert!(circles(&fine).is_empty(), "{:?}", circles(&fine));
    let mut wrong = fine;
    wrong[4].1 = "fn f() { crate::a::Z::new() }";
    assert_eq!(circles(&wrong), ["b.rs:1 needs a/y.rs, a/y.rs:2 needs b.rs"]);
    let mut wrong = fine;
    (wrong[1].1, wrong[2].1, wrong[4].1) = ("mod x;\nmod y;\npub use x::X;\nstruct N(X);", "use super::N;", "");
    assert_eq!(circles(&wrong), ["a/x.rs:1 needs a/mod.rs, a/mod.rs:3 needs a/x.rs"]);
}
