//! Opening: what is no store is refused with a reason and left as it is; what is one opens once.
//!
//! `WORKMAN_KILLS=<kills>` kills more processes than the twenty of every day, each way.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::time::Duration;

use redb::{Database, TableDefinition};
use support::workload::plain;
use support::{Folder, Random, block_on, dump, number, run};
use workman_core::store::{Command, Store};
use workman_core::{StoreErrorKind, WorkId};
use workman_redb::{Durability, OpenError, RedbStore};

fn refused(path: &Path) -> OpenError {
    let error = RedbStore::open(path).expect_err("it must not open");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    error
}

#[test]
fn s11_what_is_no_store_is_refused_and_left_as_it_is() {
    let folder = Folder::new("refused");
    let file = folder.store();
    assert!(matches!(refused(folder.path()), OpenError::Directory { .. }));
    assert!(matches!(
        refused(&folder.path().join("no").join("such").join("work.redb")),
        OpenError::MissingFolder { .. }
    ));
    for content in ["", "x", "just some text, much longer than a magic number", "redb\x1A\x0A"] {
        fs::write(&file, content).unwrap();
        assert!(matches!(refused(&file), OpenError::NotAStore { .. }), "{content:?}");
        assert_eq!(fs::read(&file).unwrap(), content.as_bytes());
    }
}

#[test]
fn s11_and_rec_4_a_store_that_was_cut_short_is_damaged_and_left_as_it_is() {
    let folder = Folder::new("short");
    let file = folder.store();
    drop(RedbStore::open(&file).unwrap());
    let whole = fs::read(&file).unwrap();
    for length in [100, 320, 4096, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        let error = refused(&file);
        assert!(matches!(error, OpenError::Corrupted { .. } | OpenError::Io { .. }), "{length} bytes: {error:?}");
        assert_eq!(fs::read(&file).unwrap(), &whole[..length], "{length} bytes");
    }
}

#[test]
fn a_redb_file_of_another_program_is_left_as_it_is() {
    let folder = Folder::new("foreign");
    let file = folder.store();
    let table: TableDefinition<'_, u64, u64> = TableDefinition::new("meta");
    for with_table in [true, false] {
        let _ = fs::remove_file(&file);
        let database = Database::create(&file).unwrap();
        if with_table {
            let transaction = database.begin_write().unwrap();
            transaction.open_table(table).unwrap().insert(1, 2).unwrap();
            transaction.commit().unwrap();
        }
        drop(database);
        let before = fs::read(&file).unwrap();
        assert!(matches!(refused(&file), OpenError::NotAStore { .. }));
        assert_eq!(fs::read(&file).unwrap(), before);
    }
}

/// The format row of a store as a later version would write it: the envelope is of today, the number is not.
fn write_newer_format(file: &Path) {
    let meta: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
    let database = Database::open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut row = vec![10, 1, 0, 0, 17, 0, 0, 0, 9];
    row.extend_from_slice(&7_u128.to_be_bytes());
    let seed = xxhash_rust::xxh3::xxh3_64_with_seed(b"format", 10);
    let sum = xxhash_rust::xxh3::xxh3_64_with_seed(&row, seed);
    row.extend_from_slice(&sum.to_le_bytes());
    transaction.open_table(meta).unwrap().insert(&b"format"[..], &row[..]).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn rec_4_a_store_of_a_newer_format_is_refused_and_not_touched() {
    let folder = Folder::new("newer");
    let file = folder.store();
    drop(RedbStore::open(&file).unwrap());
    write_newer_format(&file);
    let before = fs::read(&file).unwrap();
    let error = refused(&file);
    assert!(matches!(error, OpenError::NewerFormat { found: 9, supported: 1, .. }), "{error:?}");
    assert!(fs::read(&file).unwrap() == before, "not one byte may change");
}

#[test]
fn a_store_that_must_be_repaired_is_repaired() {
    let folder = Folder::new("repair");
    let file = folder.store();
    let store = RedbStore::open(&file).unwrap();
    run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
    drop(store);
    let other: TableDefinition<'_, u64, u64> = TableDefinition::new("other");
    let database = Database::open(&file).unwrap();
    // Without quick repair, and cut off before it is closed.
    let transaction = database.begin_write().unwrap();
    transaction.open_table(other).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    let killed = folder.path().join("killed.redb");
    fs::copy(&file, &killed).unwrap();
    for _ in 0..2 {
        let store = RedbStore::open(&killed).unwrap();
        assert!(refused(&killed).is_already_open());
        assert_eq!(dump(&store).records.len(), 1);
    }
}

#[cfg(unix)]
#[test]
fn rec_3_what_can_not_be_written_is_refused() {
    // The superuser may write anything, so permissions would prove nothing here; nobody may make a file in /proc.
    let path = Path::new("/proc/work.redb");
    if !path.parent().is_some_and(Path::is_dir) {
        println!("skipped: there is no /proc here");
        return;
    }
    let error = refused(path);
    assert!(matches!(error, OpenError::NotWritable { .. } | OpenError::Io { .. }), "{error:?}");
}

#[test]
fn s14_a_second_opening_in_the_same_process_is_refused_and_harms_nothing() {
    let folder = Folder::new("twice");
    let store = RedbStore::open(folder.store()).unwrap();
    assert!(refused(&folder.store()).is_already_open());
    assert!(run(&store, plain(WorkId::from_u128(1)), 1).unwrap().is_ok());
    assert_eq!(dump(&store).records.len(), 1);
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    let store = RedbStore::open(folder.store()).unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["work.redb", "work.redb.ballast", "work.redb.journal", "work.redb.lock"]);
    drop(store);
}

#[test]
fn of_many_who_make_the_same_store_at_once_one_has_it_and_the_others_are_told() {
    for _ in 0..5 {
        let folder = Folder::new("race");
        let start = std::sync::Barrier::new(8);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                start.wait();
                RedbStore::open(folder.store())
            };
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            openers.into_iter().map(|opener| opener.join().unwrap()).collect()
        });
        assert_eq!(opened.iter().filter(|store| store.is_ok()).count(), 1);
        for error in opened.iter().filter_map(|store| store.as_ref().err()) {
            assert!(error.is_already_open(), "{error}");
        }
        assert!(!folder.path().join("work.redb.new").exists());
    }
}

#[test]
fn s5_a_creation_that_died_half_way_is_begun_anew() {
    let folder = Folder::new("half");
    fs::write(folder.path().join("work.redb.new"), "half a database").unwrap();
    let store = RedbStore::open(folder.store()).unwrap();
    assert!(run(&store, Command::Attach, 1).unwrap().is_ok());
    assert!(!folder.path().join("work.redb.new").exists());
}

#[test]
fn c19_what_was_acknowledged_is_there_after_a_close_and_after_a_drop_and_each_opening_is_a_new_incarnation() {
    let folder = Folder::new("reopen");
    let mut incarnations = Vec::new();
    for opening in 1..=4_u128 {
        let store = RedbStore::open(folder.store()).unwrap();
        run(&store, Command::Attach, 1).unwrap().unwrap();
        run(&store, plain(WorkId::from_u128(opening)), 2).unwrap().unwrap();
        let dump = dump(&store);
        assert_eq!(dump.records.len() as u128, opening);
        incarnations.push(dump.meta.incarnation);
        if opening.is_multiple_of(2) {
            block_on(store.close());
        }
    }
    assert_eq!(incarnations, [1, 2, 3, 4]);
}

#[test]
fn c20_a_closed_store_answers_closed_and_its_changes_end() {
    use futures::StreamExt;
    let folder = Folder::new("closed");
    for inline in [false, true] {
        let builder = RedbStore::builder(folder.store());
        let store = if inline { builder.inline() } else { builder }.open().unwrap();
        let changes = store.changes();
        run(&store, Command::Attach, 1).unwrap().unwrap();
        block_on(store.close());
        block_on(store.close());
        assert_eq!(run(&store, Command::Attach, 1).unwrap_err().kind(), StoreErrorKind::Closed);
        assert_eq!(block_on(store.dump()).unwrap_err().kind(), StoreErrorKind::Closed);
        assert_eq!(block_on(changes.count()), 1);
        assert_eq!(block_on(store.changes().count()), 0);
    }
}

/// A child process that plays the part its environment names.
struct Actor {
    child: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Actor {
    fn start(part: &str, store: &Path) -> Self {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "actor", "--nocapture", "--test-threads=1"])
            .env("WORKMAN_REDB_PART", part)
            .env("WORKMAN_REDB_STORE", store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        let hears = child.stdin.take().unwrap();
        Actor { child, says, hears }
    }

    /// The number in the next line that begins with `word`; `None` at the end.
    fn next(&mut self, word: &str) -> Option<u128> {
        let mut line = String::new();
        while self.says.read_line(&mut line).unwrap() > 0 {
            if let Some(number) = line.trim_end().strip_prefix(word) {
                // A line without its end was cut off by the kill.
                return line.ends_with('\n').then(|| number.parse().unwrap_or(0));
            }
            line.clear();
        }
        None
    }
}

/// Not a test of its own: what the children run.
#[test]
fn actor() {
    let Ok(part) = std::env::var("WORKMAN_REDB_PART") else { return };
    let durability = if part == "write relaxed" { Durability::RELAXED } else { Durability::Synced };
    // So small that it is full now and then, even in a short life.
    let builder = RedbStore::builder(std::env::var("WORKMAN_REDB_STORE").unwrap()).journal_bytes(64 << 10);
    let store = builder.durability(durability).open().unwrap();
    let say = |word: &str, number: u128| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{word}{number}").and_then(|()| out.flush()).unwrap();
    };
    if part == "hold" {
        say("holding ", 1);
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let first = dump(&store).records.len() as u128;
    for number in first.. {
        run(&store, plain(WorkId::from_u128(number + 1)), 1).unwrap().unwrap();
        say("acknowledged ", number + 1);
    }
}

#[test]
fn s13_and_rec_7_a_second_process_is_refused_and_may_wait_for_the_first() {
    let folder = Folder::new("processes");
    let mut holder = Actor::start("hold", &folder.store());
    holder.next("holding ").unwrap();
    assert!(refused(&folder.store()).is_already_open());
    holder.hears.write_all(b"go\n").unwrap();
    let store = RedbStore::open_waiting(folder.store(), Duration::from_secs(60)).unwrap();
    assert!(holder.child.wait().unwrap().success());
    assert!(run(&store, Command::Attach, 1).unwrap().is_ok());
}

#[test]
fn s1_a_process_that_is_killed_loses_nothing_that_it_acknowledged() {
    let seed = number("WORKMAN_SEED", 0x1c11);
    for part in ["write", "write relaxed"] {
        kill(part, number("WORKMAN_KILLS", 20), &mut Random::new(seed));
    }
}

/// Kills so many processes that write to one store, each after some answers.
fn kill(part: &str, kills: u64, random: &mut Random) {
    let folder = Folder::new("kill");
    let mut acknowledged = 0;
    for kill in 0..kills {
        let mut writer = Actor::start(part, &folder.store());
        for _ in 0..random.below(60) {
            acknowledged = writer.next("acknowledged ").unwrap();
        }
        writer.child.kill().unwrap();
        while let Some(number) = writer.next("acknowledged ") {
            acknowledged = number;
        }
        writer.child.wait().unwrap();
        let store = RedbStore::open(folder.store()).unwrap();
        let found = dump(&store);
        let last = found.records.keys().next_back().map_or(0, |id| id.as_u128());
        let context = format!("{part}, kill {kill}, seed {:#x}", random.seed);
        assert!(last >= acknowledged, "{last} of {acknowledged}, {context}");
        assert_eq!(found.records.len() as u128, last, "{context}");
        acknowledged = last;
    }
    assert!(acknowledged > u128::from(kills), "{acknowledged}");
}
