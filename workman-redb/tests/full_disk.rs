//! A disk that is really full: a small tmpfs, where this process may mount one.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use support::workload::{plain, sized};
use support::{Folder, Hands, block_on, dump, run};
use workman_core::store::{Cancel, Command, Prune, Retention, Stride};
use workman_core::{StoreErrorKind, WorkId, WorkSelector};
use workman_redb::{OpenError, RedbStore};

/// A mounted file system of a few mebibytes; unmounted when the guard goes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Process::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=9m", "tmpfs"]).arg(at).stdout(Stdio::null()).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn s8_on_a_full_disk_new_work_is_refused_running_work_goes_on_and_all_recovers() {
    let folder = Folder::new("full");
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        println!("skipped: this process may not mount a small disk");
        return;
    };
    let clock = Arc::new(Hands::default());
    let spare = folder.path().join("spare");
    fs::write(&spare, vec![1; 2_000_000]).unwrap();
    let store = RedbStore::builder(folder.store()).clock(Arc::clone(&clock) as _).open().unwrap();
    let mut acknowledged = 0;
    let error = loop {
        let filler = sized(WorkId::from_u128(acknowledged + 1), 100_000);
        match run(&store, filler, 1) {
            Ok(result) => drop(result.unwrap()),
            Err(error) => break error,
        }
        acknowledged += 1;
    };
    assert!(matches!(error.kind(), StoreErrorKind::Rejected | StoreErrorKind::Indeterminate), "{error}");
    assert!(acknowledged > 5);
    let ballast = folder.path().join("work.redb.ballast");
    assert!(!ballast.exists(), "the ballast makes room");
    let next = WorkId::from_u128(1 << 64);
    // Whatever else takes all the room that is left, work that is stored can still be ended, and deleted.
    let cancel = |id| Cancel {
        selector: WorkSelector::Id(WorkId::from_u128(id)),
        before: None,
        after: None,
        stride: Stride::Full,
        because: None,
    };
    for id in 1..=acknowledged.min(5) {
        run(&store, Command::Cancel(cancel(id)), 2).unwrap().unwrap();
    }
    let prune = Prune { keep: Retention::Nothing, before: None, after: None, stride: Stride::Full };
    run(&store, Command::Prune(prune), 2).unwrap().unwrap();
    fs::write(folder.path().join("other"), vec![1; 400_000]).unwrap();
    clock.advance(Duration::from_secs(1));
    let refused = run(&store, plain(next), 3).unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Rejected, "{refused}");
    assert!(refused.to_string().contains("full"), "{refused}");
    assert!(dump(&store).records.len() as u128 >= acknowledged - 5);
    fs::remove_file(folder.path().join("other")).unwrap();
    fs::remove_file(spare).unwrap();
    clock.advance(Duration::from_secs(1));
    run(&store, plain(next), 4).unwrap().unwrap();
    assert!(ballast.exists());
    drop((store, disk));
}

/// A small disk with a closed store of one work; none if this process may not mount one.
fn disk_with_a_store(folder: &Folder) -> Option<SmallDisk> {
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        println!("skipped: this process may not mount a small disk");
        return None;
    };
    let store = RedbStore::open(folder.store()).unwrap();
    run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
    Some(disk)
}

#[test]
fn a_store_opens_on_a_disk_that_is_full_to_the_last_byte() {
    let folder = Folder::new("full-open");
    let Some(disk) = disk_with_a_store(&folder) else { return };
    fs::write(folder.path().join("other"), vec![1; 12 << 20]).unwrap_err();
    let store = RedbStore::open(folder.store()).unwrap();
    assert_eq!(dump(&store).records.len(), 1);
    drop((store, disk));
}

#[test]
fn a_store_on_a_disk_that_may_not_be_written_is_refused_with_what_to_do() {
    let folder = Folder::new("read-only");
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        println!("skipped: this process may not mount a small disk");
        return;
    };
    drop(RedbStore::open(folder.store()).unwrap());
    let mut remount = Process::new("mount");
    assert!(remount.args(["-o", "remount,ro"]).arg(folder.path()).status().unwrap().success());
    for path in [folder.store(), folder.path().join("new.redb")] {
        let error = RedbStore::open(&path).unwrap_err();
        assert!(error.to_string().contains("lock") || matches!(error, OpenError::NotWritable { .. }), "{error:?}");
        assert_eq!(error.path(), path);
    }
    drop(disk);
}

#[test]
fn a_copy_for_which_there_is_no_room_leaves_nothing_behind_and_one_that_died_half_way_is_begun_anew() {
    let folder = Folder::new("full-copy");
    let (small, store) = (folder.path().join("small"), RedbStore::open(folder.store()).unwrap());
    fs::create_dir(&small).unwrap();
    let Some(disk) = SmallDisk::mount(&small) else {
        println!("skipped: this process may not mount a small disk");
        return;
    };
    for number in 1..=20 {
        run(&store, sized(WorkId::from_u128(number), 200_000), 1).unwrap().unwrap();
    }
    let (copy, other) = (small.join("copy.redb"), small.join("other"));
    fs::write(&other, vec![1; 8 << 20]).unwrap();
    block_on(store.copy_to(&copy)).unwrap_err();
    let left = fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(left.iter().all(|name| name == "other" || name == "copy.redb.lock"), "{left:?}");
    let elsewhere = folder.path().join("copy.redb");
    fs::write(folder.path().join("copy.redb.new"), "half a copy").unwrap();
    block_on(store.copy_to(&elsewhere)).unwrap();
    assert_eq!(dump(&RedbStore::open(&elsewhere).unwrap()).records.len(), 20);
    assert_eq!(dump(&store).records.len(), 20);
    drop(disk);
}

#[test]
fn a_store_whose_journal_finds_no_room_is_refused_and_opens_when_there_is_some() {
    let folder = Folder::new("full-journal");
    let Some(disk) = disk_with_a_store(&folder) else { return };
    // A closed store needs no journal, and no ballast; the next opening makes both.
    for beside in ["work.redb.journal", "work.redb.ballast"] {
        fs::remove_file(folder.path().join(beside)).unwrap();
    }
    let other = folder.path().join("other");
    fs::write(&other, vec![1; 12 << 20]).unwrap_err();
    let error = RedbStore::open(folder.store()).unwrap_err();
    let said = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(said.contains("journal") && said.contains("room"), "{error}: {said}");
    assert!(!folder.path().join("work.redb.journal").exists());
    fs::remove_file(other).unwrap();
    assert_eq!(dump(&RedbStore::open(folder.store()).unwrap()).records.len(), 1);
    drop(disk);
}
