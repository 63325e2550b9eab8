//! The programs for tokio on the README, as real processes.
#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]
#![cfg(unix)]

use std::fs;

use futures::executor::block_on;
use workman_core::store::{PageRequest, Store};
use workman_core::{WorkQuery, WorkState};
use workman_examples::process::{Running, empty_folder, example};
use workman_redb::RedbStore;

#[test]
fn the_first_program_on_tokio_ends_in_order_when_it_is_done_or_told_to_while_its_work_still_fails() {
    let folder = empty_folder("tokio-main").unwrap();
    let start = || Running::start(example("tokio_main").unwrap().current_dir(&folder)).unwrap();
    let mut waits = start();
    assert_eq!(waits.says("stored").unwrap(), "");
    waits.terminate().unwrap();
    assert_eq!(waits.end().unwrap(), [""; 0], "there is nothing to copy yet");
    fs::create_dir(folder.join("backup")).unwrap();
    fs::write(folder.join("notes.txt"), "hello").unwrap();
    let mut copies = start();
    assert_eq!(copies.says("5 bytes").unwrap(), "");
    assert_eq!(copies.end().unwrap(), [""; 0]);
    assert_eq!(fs::read_to_string(folder.join("backup/notes.txt")).unwrap(), "hello");
    let store = RedbStore::open(folder.join("app.redb")).unwrap();
    let request = PageRequest { query: WorkQuery::all().state(WorkState::Succeeded), after: None, limit: 10 };
    let works = block_on(store.query(request)).unwrap().works;
    assert!(works.iter().any(|work| work.runs == 1), "{works:?}");
    block_on(store.close());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_program_with_a_worker_that_hangs_ends_all_the_same() {
    let mut program = Running::start(&mut example("tokio_stubborn").unwrap()).unwrap();
    assert_eq!(program.end().unwrap(), ["given back: 1"]);
}
