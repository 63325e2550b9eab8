//! Files of every format version that was ever released open and read as they did.
//!
//! `WORKMAN_GOLDEN=write cargo test -p workman-redb --test golden` makes the files of the current version anew, which is
//! right only before that version is released.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use support::workload::Workload;
use support::{Folder, block_on, dump, run};
use workman_core::info::WorkInfo;
use workman_core::plan::Command;
use workman_core::query::{PageRequest, WorkQuery};
use workman_core::store::Store;
use workman_redb::RedbStore;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn line(work: &WorkInfo) -> String {
    let mut line = format!("{} {} {}", work.id, work.worker, work.state);
    let payload = |payload: &Option<workman_core::data::Payload>| payload.as_ref().map(|p| (p.codec().code(), p.len()));
    let times = (work.created.as_millis(), work.finished.map(|at| at.as_millis()));
    let counts = (work.failures, work.interruptions, work.deaths, work.runs, work.open_prerequisites, work.periods);
    let ends: Vec<String> = work.attempts.iter().map(|attempt| format!("{:?}", attempt.end)).collect();
    write!(line, " name {:?} tags {:?} input {}", work.name, work.tags, work.input.len()).unwrap();
    write!(line, " times {times:?} counts {counts:?} priority {}", work.priority).unwrap();
    write!(line, " output {:?} progress {:?}", payload(&work.output), payload(&work.progress)).unwrap();
    write!(line, " stop {:?} attempts {ends:?}", work.stop_reason).unwrap();
    line
}

/// Everything in the store that outlives changes of the nouns, a line a work.
fn summary(store: &RedbStore) -> String {
    let all = PageRequest { query: WorkQuery::all(), after: None, limit: usize::MAX };
    let mut works = block_on(store.query(all)).unwrap().works;
    works.sort_by_key(|work| work.id);
    let meta = dump(store).meta;
    let mut lines: Vec<String> = works.iter().map(line).collect();
    lines.push(format!("incarnation {} next epoch {} next seq {}", meta.incarnation, meta.next_epoch, meta.next_seq));
    lines.join("\n") + "\n"
}

fn write_golden() {
    let file = golden("format-1.store");
    let _ = fs::remove_file(&file);
    let store = RedbStore::open(&file).unwrap();
    let mut workload = Workload::new(0x901d);
    for _ in 0..60 {
        let units = workload.call();
        workload.learn(&block_on(store.transact(units)).unwrap());
    }
    fs::write(golden("format-1.txt"), summary(&store)).unwrap();
    drop(store);
    fs::remove_file(golden("format-1.store.ballast")).unwrap();
}

#[test]
fn a_file_of_format_1_reads_as_it_did_and_can_be_written() {
    if std::env::var("WORKMAN_GOLDEN").is_ok_and(|wish| wish == "write") {
        write_golden();
    }
    let folder = Folder::new("golden");
    fs::copy(golden("format-1.store"), folder.store()).unwrap();
    let store = RedbStore::open(folder.store()).unwrap();
    assert_eq!(summary(&store), fs::read_to_string(golden("format-1.txt")).unwrap());
    run(&store, Command::Attach, 1_800_000_000_000).unwrap().unwrap();
    run(&store, Command::Rescue, 1_800_000_000_000).unwrap().unwrap();
    dump(&store);
}
