//! What Windows does in other ways than Unix: open files keep their names, one file has many ways to write its path, locks keep
//! others from reading, names may be devices, streams or no Unicode, and a file may be held by one program alone.

#![cfg(windows)]
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::windows::ffi::OsStringExt;
use std::os::windows::fs::{OpenOptionsExt, symlink_dir};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use support::workload::plain;
use support::{Folder, block_on, dump, run};
use workman_core::store::{Command, Store};
use workman_core::{StoreErrorKind, WorkId};
use workman_redb::{OpenError, RedbStore};

/// Opens, writes, is closed and shows what it wrote.
fn works(path: &Path) {
    let store = RedbStore::open(path).unwrap_or_else(|error| panic!("{}: {error}: {error:?}", path.display()));
    run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
    block_on(store.close());
    drop(store);
    assert_eq!(dump(&RedbStore::open(path).unwrap()).records.len(), 1, "{}", path.display());
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<OsString> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn an_open_store_can_not_be_deleted_renamed_or_replaced_and_a_closed_one_can() {
    let folder = Folder::new("pinned");
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let [file, lock, journal] = ["work.redb", "work.redb.lock", "work.redb.journal"].map(|name| home.join(name));
    for inline in [false, true] {
        let builder = RedbStore::builder(&file);
        let store = if inline { builder.inline() } else { builder }.open().unwrap();
        fs::write(folder.path().join("other"), "another file").unwrap();
        run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
        for name in [&file, &lock, &journal] {
            fs::remove_file(name).unwrap_err();
            fs::rename(name, folder.path().join("aside")).unwrap_err();
            fs::rename(folder.path().join("other"), name).unwrap_err();
        }
        fs::remove_dir_all(&home).unwrap_err();
        assert!(file.exists() && lock.exists() && journal.exists());
        run(&store, Command::Attach, 1).unwrap().unwrap();
        block_on(store.close());
        // Closed, though its handle lives.
        fs::rename(&file, folder.path().join("aside")).unwrap();
        fs::rename(folder.path().join("aside"), &file).unwrap();
        fs::remove_file(&lock).unwrap();
        fs::remove_file(&file).unwrap();
        drop(store);
        fs::remove_file(&journal).unwrap();
    }
    fs::remove_dir_all(&home).unwrap();
}

#[test]
fn all_ways_to_write_one_path_are_one_store() {
    let folder = Folder::new("Ways");
    let store = RedbStore::open(folder.store()).unwrap();
    let plain = folder.store().to_str().unwrap().to_owned();
    assert_eq!(&plain[1..3], ":\\", "a path with a drive");
    let ways = [
        format!(r"\\?\{plain}"),
        format!(r"\\.\{plain}"),
        plain.replace('\\', "/"),
        plain.to_uppercase(),
        plain.to_lowercase(),
        format!(r"{}\no-such-folder\..\work.redb", folder.path().display()),
        format!("{plain}."),
        format!("{plain} "),
    ];
    for way in ways {
        let error = RedbStore::open(&way).unwrap_err();
        assert!(error.is_already_open(), "{way:?}: {error:?}");
    }
    drop(store);
    works(&folder.store());
}

/// `C:work.redb` lies in the folder that the process is in on that drive, and `\work.redb` at the root of its drive.
#[test]
fn a_path_that_depends_on_the_current_folder_or_drive_means_the_same_after_a_change_of_folder() {
    let folder = Folder::new("relative");
    let drive = folder.path().to_str().unwrap()[..2].to_owned();
    let rooted = folder.store().to_str().unwrap()[2..].to_owned();
    for way in [format!("{drive}work.redb"), "work.redb".into(), r".\work.redb".into(), rooted] {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "wanderer", "--nocapture", "--test-threads=1"])
            .env("WORKMAN_REDB_WAY", &way)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("says: stored")), "{way}");
        assert!(RedbStore::open(folder.store()).unwrap_err().is_already_open(), "{way}");
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success(), "{way}");
        fs::remove_file(folder.store()).unwrap();
    }
}

/// Not a test of its own: what the children run.
#[test]
fn wanderer() {
    let Ok(way) = std::env::var("WORKMAN_REDB_WAY") else { return };
    let store = RedbStore::open(way).unwrap();
    std::env::set_current_dir(r"\").unwrap();
    run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
    assert_eq!(dump(&store).records.len(), 1);
    println!("\nsays: stored");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn a_path_of_more_than_260_units_is_that_of_a_store_like_others() {
    let folder = Folder::new("long");
    let mut deep = folder.path().to_owned();
    while deep.as_os_str().len() < 400 {
        deep.push("a-folder-with-a-name-of-forty-characters");
    }
    fs::create_dir_all(&deep).unwrap();
    works(&deep.join("work.redb"));
    let error = RedbStore::open(deep.join("x".repeat(256))).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. } | OpenError::MissingFolder { .. }), "{error:?}");
}

/// File names are sequences of 16-bit units, of which not all are Unicode.
#[test]
fn a_name_that_is_no_unicode_is_that_of_a_store_or_refused_and_never_another_name() {
    let folder = Folder::new("units");
    let units: Vec<u16> = "wörk-".encode_utf16().chain([0xd800]).chain(".redb".encode_utf16()).collect();
    let path = folder.path().join(OsString::from_wide(&units));
    match RedbStore::open(&path) {
        Ok(store) => {
            drop(store);
            works(&path);
            assert!(names(folder.path()).contains(&path.file_name().unwrap().to_owned()));
        }
        Err(error) => assert!(names(folder.path()).is_empty(), "{error:?}"),
    }
    works(&folder.path().join("wörk-店.redb"));
}

#[test]
fn devices_streams_and_what_is_no_name_are_refused_and_nothing_is_made() {
    let folder = Folder::new("names");
    for name in ["NUL", "work.redb:stream", "work?.redb", "work*.redb", "a|b", "a<b"] {
        let path = folder.path().join(name);
        let error = RedbStore::open(&path).unwrap_err();
        assert!(!error.is_already_open(), "{name}: {error:?}");
        assert_eq!(names(folder.path()), [] as [OsString; 0], "{name}");
    }
    for path in ["NUL", r"\\.\NUL", "C:", r"C:\", r"\\?\", r"\\no-such-server\share\work.redb"] {
        let error = RedbStore::open(path).unwrap_err();
        assert!(!error.is_already_open(), "{path}: {error:?}");
    }
}

#[test]
fn a_file_that_another_program_holds_alone_is_told_as_open_and_opens_afterwards() {
    let folder = Folder::new("alone");
    drop(RedbStore::open(folder.store()).unwrap());
    let alone = OpenOptions::new().read(true).share_mode(0).open(folder.store()).unwrap();
    let error = RedbStore::open(folder.store()).unwrap_err();
    assert!(error.is_already_open(), "{error:?}");
    assert!(RedbStore::verify(folder.store()).unwrap_err().is_already_open());
    drop(alone);
    works(&folder.store());
}

/// Locks are mandatory there, so who looks at an open store must be told that it is open, and not that it can't be read.
#[test]
fn who_verifies_or_repairs_an_open_store_is_told_that_it_is_open() {
    let folder = Folder::new("mandatory");
    let store = RedbStore::open(folder.store()).unwrap();
    assert!(RedbStore::verify(folder.store()).unwrap_err().is_already_open());
    assert!(RedbStore::repair(folder.store()).unwrap_err().is_already_open());
    run(&store, Command::Attach, 1).unwrap().unwrap();
    drop(store);
    assert!(RedbStore::verify(folder.store()).unwrap().is_sound());
}

#[test]
fn a_file_that_is_marked_read_only_is_refused_and_left_as_it_is() {
    let folder = Folder::new("read-only");
    drop(RedbStore::open(folder.store()).unwrap());
    let before = fs::read(folder.store()).unwrap();
    let mark = |is_marked| {
        let mut permissions = fs::metadata(folder.store()).unwrap().permissions();
        permissions.set_readonly(is_marked);
        fs::set_permissions(folder.store(), permissions).unwrap();
    };
    mark(true);
    if OpenOptions::new().write(true).open(folder.store()).is_ok() {
        println!("skipped: this user may write what is marked read-only, as root may under Wine");
        return mark(false);
    }
    let error = RedbStore::open(folder.store()).unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
    assert!(fs::read(folder.store()).unwrap() == before);
    mark(false);
    works(&folder.store());
}

#[test]
fn a_link_that_leads_elsewhere_meanwhile_is_noticed_before_anything_is_stored() {
    let folder = Folder::new("links");
    let [one, two, link]: [PathBuf; 3] = ["one", "two", "link"].map(|name| folder.path().join(name));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    if symlink_dir(&one, &link).is_err() || !link.exists() {
        println!("skipped: this process may make no links");
        return;
    }
    drop(RedbStore::open(two.join("work.redb")).unwrap());
    let store = RedbStore::open(link.join("work.redb")).unwrap();
    assert!(RedbStore::open(one.join("work.redb")).unwrap_err().is_already_open());
    fs::remove_dir(&link).unwrap();
    symlink_dir(&two, &link).unwrap();
    let error = run(&store, plain(WorkId::from_u128(1)), 1).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Rejected, "{error}");
    fs::remove_dir(&link).unwrap();
    symlink_dir(&one, &link).unwrap();
    run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
}
