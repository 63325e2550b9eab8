//! The file of an open store is deleted, renamed, replaced, cut short, or its lock is: nothing is acknowledged that the next start
//! would not find, nothing is made anew in silence, and what comes back is used again.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use support::workload::plain;
use support::{Folder, block_on, dump, run};
use workman_core::store::{Command, PageRequest, Store};
use workman_core::{HealthStatus, StoreErrorKind, ThreadRuntime, WorkId, WorkManager, WorkQuery, worker};
use workman_redb::{Durability, RedbStore};

/// A store below a link, and what else is there.
struct Scene {
    _folder: Folder,
    /// The path that is opened: `link/work.redb`, and `link` leads to `one`.
    path: PathBuf,
    link: PathBuf,
    one: PathBuf,
    two: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let [one, two, link] = ["one", "two", "link"].map(|name| folder.path().join(name));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        symlink(&one, &link).unwrap();
        drop(RedbStore::open(two.join("work.redb")).unwrap());
        Scene { path: link.join("work.redb"), _folder: folder, link, one, two }
    }

    fn file(&self) -> PathBuf {
        self.one.join("work.redb")
    }

    fn lock(&self) -> PathBuf {
        self.one.join("work.redb.lock")
    }

    fn aside(&self) -> PathBuf {
        self.one.join("aside")
    }
}

type Step = fn(&Scene);

/// What happens to the file, and how it is undone, if it can be.
const MISHAPS: [(&str, Step, Option<Step>); 10] = [
    ("deleted", |scene| fs::remove_file(scene.file()).unwrap(), None),
    (
        "renamed",
        |scene| fs::rename(scene.file(), scene.aside()).unwrap(),
        Some(|scene| fs::rename(scene.aside(), scene.file()).unwrap()),
    ),
    (
        "replaced by another store",
        |scene| {
            fs::rename(scene.file(), scene.aside()).unwrap();
            fs::copy(scene.two.join("work.redb"), scene.file()).unwrap();
        },
        Some(|scene| fs::rename(scene.aside(), scene.file()).unwrap()),
    ),
    (
        "replaced by a copy of itself",
        |scene| {
            fs::copy(scene.file(), scene.aside()).unwrap();
            fs::rename(scene.aside(), scene.file()).unwrap();
        },
        None,
    ),
    (
        "replaced by a folder",
        |scene| {
            fs::rename(scene.file(), scene.aside()).unwrap();
            fs::create_dir(scene.file()).unwrap();
        },
        Some(|scene| {
            fs::remove_dir(scene.file()).unwrap();
            fs::rename(scene.aside(), scene.file()).unwrap();
        }),
    ),
    (
        "its folder renamed",
        |scene| fs::rename(&scene.one, scene.two.join("one")).unwrap(),
        Some(|scene| fs::rename(scene.two.join("one"), &scene.one).unwrap()),
    ),
    ("its folder removed", |scene| fs::remove_dir_all(&scene.one).unwrap(), None),
    (
        "the link changed",
        |scene| {
            fs::remove_file(&scene.link).unwrap();
            symlink(&scene.two, &scene.link).unwrap();
        },
        Some(|scene| {
            fs::remove_file(&scene.link).unwrap();
            symlink(&scene.one, &scene.link).unwrap();
        }),
    ),
    (
        "its lock renamed",
        |scene| fs::rename(scene.lock(), scene.aside()).unwrap(),
        Some(|scene| fs::rename(scene.aside(), scene.lock()).unwrap()),
    ),
    (
        "its lock replaced",
        |scene| {
            fs::rename(scene.lock(), scene.aside()).unwrap();
            fs::write(scene.lock(), "").unwrap();
        },
        Some(|scene| fs::rename(scene.aside(), scene.lock()).unwrap()),
    ),
];

fn open(path: &Path, inline: bool, durability: Durability) -> RedbStore {
    let builder = RedbStore::builder(path).durability(durability);
    if inline { builder.inline() } else { builder }.open().unwrap()
}

/// All files below, with what is in them; links are not followed.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match fs::symlink_metadata(&entry).unwrap() {
            metadata if metadata.is_dir() => found.extend(files(&entry)),
            metadata if metadata.is_file() => found.push((entry.clone(), fs::read(&entry).unwrap())),
            _ => {}
        }
    }
    found.sort();
    found
}

#[test]
fn a_store_whose_file_is_not_where_it_was_acknowledges_nothing_shows_nothing_and_makes_nothing() {
    for (mishap, happen, undo) in MISHAPS {
        for (inline, durability) in
            [(false, Durability::Synced), (true, Durability::Synced), (true, Durability::RELAXED)]
        {
            let scene = Scene::new("moved");
            let context = format!("{mishap}, inline {inline}, {durability:?}");
            let store = open(&scene.path, inline, durability);
            run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
            happen(&scene);
            let before = files(&scene.two.join(".."));
            for number in 2..4 {
                let error = run(&store, plain(WorkId::from_u128(number)), 2).expect_err(&context);
                assert_eq!(error.kind(), StoreErrorKind::Rejected, "{context}: {error}");
                assert!(error.to_string().contains(&scene.path.display().to_string()), "{context}: {error}");
            }
            let page = PageRequest { query: WorkQuery::all(), after: None, limit: 10 };
            assert_eq!(block_on(store.query(page)).expect_err(&context).kind(), StoreErrorKind::Rejected, "{context}");
            assert_eq!(block_on(store.dump()).expect_err(&context).kind(), StoreErrorKind::Rejected, "{context}");
            assert!(files(&scene.two.join("..")) == before, "{context}: something was written");
            if let Some(undo) = undo {
                undo(&scene);
                run(&store, plain(WorkId::from_u128(9)), 3)
                    .unwrap_or_else(|error| panic!("{context}: {error}"))
                    .unwrap();
                assert_eq!(dump(&store).records.len(), 2, "{context}");
                block_on(store.close());
                assert_eq!(dump(&RedbStore::open(&scene.path).unwrap()).records.len(), 2, "{context}");
            }
        }
    }
}

#[test]
fn a_file_that_was_cut_short_is_damage_and_not_one_byte_is_added_to_it() {
    for (inline, keep) in [(false, 0), (true, 100), (false, 4096), (true, 40_000)] {
        let scene = Scene::new("cut");
        let store = open(&scene.path, inline, Durability::Synced);
        run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
        fs::OpenOptions::new().write(true).open(scene.file()).unwrap().set_len(keep).unwrap();
        let cut = fs::read(scene.file()).unwrap();
        for _ in 0..2 {
            let error = run(&store, plain(WorkId::from_u128(2)), 2).unwrap_err();
            assert!(error.to_string().contains("cut"), "{error}");
            assert!(block_on(store.dump()).is_err());
        }
        block_on(store.close());
        drop(store);
        assert!(fs::read(scene.file()).unwrap() == cut, "{keep} bytes were left, and something was written");
        RedbStore::open(&scene.path).unwrap_err();
    }
}

#[test]
fn whoever_takes_the_lock_away_makes_no_second_owner() {
    let scene = Scene::new("lock");
    let store = open(&scene.path, false, Durability::Synced);
    fs::remove_file(scene.lock()).unwrap();
    assert!(RedbStore::open(&scene.path).unwrap_err().is_already_open());
    let error = run(&store, Command::Attach, 1).unwrap_err();
    assert!(error.to_string().contains("work.redb.lock"), "{error}");
    block_on(store.close());
    run(&RedbStore::open(&scene.path).unwrap(), Command::Attach, 1).unwrap().unwrap();
}

#[worker]
fn note(number: u32) -> u32 {
    number
}

#[test]
fn a_manager_whose_file_is_gone_says_so_in_its_health_and_goes_on_when_it_is_back() {
    let scene = Scene::new("health");
    let store = open(&scene.path, false, Durability::Synced);
    let manager = WorkManager::builder(store).runtime(ThreadRuntime::new()).start().unwrap();
    assert_eq!(block_on(block_on(manager.enqueue(note::request(1))).unwrap().output()).unwrap(), 1);
    fs::rename(scene.file(), scene.aside()).unwrap();
    block_on(manager.enqueue(note::request(2))).unwrap_err();
    let HealthStatus::Degraded { error, .. } = manager.health() else { panic!("{:?}", manager.health()) };
    assert!(error.contains("put it back"), "{error}");
    fs::rename(scene.aside(), scene.file()).unwrap();
    assert_eq!(block_on(block_on(manager.enqueue(note::request(3))).unwrap().output()).unwrap(), 3);
    assert_eq!(manager.health(), HealthStatus::Healthy);
}
