//! The sources of the workspace, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the workspace.
pub(crate) struct Source {
    /// Its path from the root of the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The crates of the workspace, by folder.
pub(crate) const CRATES: [&str; 5] = ["workman-core", "workman-macros", "workman-redb", "workman-testing", "examples"];

/// A file by its path from the root of the workspace.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files, in order of their paths; none of a nested target folder.
pub(crate) fn rust_files() -> Vec<Source> {
    let mut files = Vec::new();
    for krate in CRATES {
        collect(&root().join(krate), &mut files);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn root() -> PathBuf {
    let core = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    Path::new(&core).parent().expect("the crate lies in a workspace").to_owned()
}

fn collect(folder: &Path, files: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if entry.file_name() != "target" && !hidden {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path.strip_prefix(root()).expect("it lies under the root").to_string_lossy().replace('\\', "/");
            files.push(Source { path, text });
        }
    }
}
