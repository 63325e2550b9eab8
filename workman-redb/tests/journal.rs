//! The journal beside a store: what it must be, what becomes of one that is not, and what a store does while it can't be used.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::disk::{Disk, Fault, Survivors};
use support::workload::{plain, sized};
use support::{Folder, Hands, Random, block_on, dump, run};
use workman_core::store::{Command, Store};
use workman_core::{Clock, StoreErrorKind, WorkId};
use workman_redb::{DiskFile, Durability, JournalFault, OpenError, RedbStore};

/// Where the first record lies.
const START: usize = 4_096;

fn put(store: &RedbStore, number: u128) {
    run(store, plain(WorkId::from_u128(number)), 1).unwrap().unwrap();
}

fn count(store: &RedbStore) -> usize {
    dump(store).records.len()
}

/// A store whose process was killed after these works were acknowledged.
struct Killed {
    folder: Folder,
}

impl Killed {
    fn after(works: u128) -> Self {
        let folder = Folder::new("killed");
        let alive = folder.path().join("alive.redb");
        let store = RedbStore::builder(&alive).inline().open().unwrap();
        (1..=works).for_each(|number| put(&store, number));
        for (from, to) in [("alive.redb", "work.redb"), ("alive.redb.journal", "work.redb.journal")] {
            fs::copy(folder.path().join(from), folder.path().join(to)).unwrap();
        }
        drop(store);
        Killed { folder }
    }

    fn store(&self) -> PathBuf {
        self.folder.store()
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("work.redb.journal")
    }

    /// Both files, byte for byte.
    fn bytes(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (fs::read(self.store()).unwrap(), fs::read(self.journal()).ok())
    }

    /// Why it does not open. Nothing is changed, and the message says what, where and what to do.
    fn fault(&self) -> JournalFault {
        let before = self.bytes();
        let error = RedbStore::open(self.store()).unwrap_err();
        assert!(self.bytes() == before, "{error}");
        for part in [self.store(), self.journal()] {
            assert!(error.to_string().contains(&part.display().to_string()), "{error}");
        }
        let OpenError::Journal { fault, .. } = error else { panic!("{error:?}") };
        fault
    }

    fn open_without(&self) -> RedbStore {
        RedbStore::builder(self.store()).discard_journal().open().unwrap()
    }

    /// What was set aside.
    fn discarded(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("work.redb.journal.discarded-1")).unwrap()
    }

    /// Opens as if nothing had been.
    fn opens_with(&self, works: usize) {
        for _ in 0..2 {
            assert_eq!(count(&RedbStore::open(self.store()).unwrap()), works);
        }
    }
}

#[test]
fn what_lies_in_the_journal_of_a_killed_process_is_put_into_the_store_once() {
    let killed = Killed::after(20);
    killed.opens_with(20);
    let store = RedbStore::open(killed.store()).unwrap();
    put(&store, 21);
    assert_eq!(count(&store), 21);
}

#[test]
fn without_its_journal_a_killed_store_is_refused_until_it_is_back_or_given_up() {
    let killed = Killed::after(5);
    let aside = killed.folder.path().join("aside");
    fs::rename(killed.journal(), &aside).unwrap();
    assert!(matches!(killed.fault(), JournalFault::Missing));
    fs::rename(&aside, killed.journal()).unwrap();
    killed.opens_with(5);
    let killed = Killed::after(5);
    fs::remove_file(killed.journal()).unwrap();
    assert_eq!(count(&killed.open_without()), 0);
    killed.opens_with(0);
}

#[test]
fn a_journal_of_another_program_or_store_is_refused_and_kept() {
    let (killed, other) = (Killed::after(5), Killed::after(7));
    let own = fs::read(killed.journal()).unwrap();
    for (content, is_foreign) in [
        (vec![], true),
        (b"some notes of mine".to_vec(), true),
        (vec![0; own.len()], true),
        (fs::read(other.journal()).unwrap(), false),
    ] {
        fs::write(killed.journal(), &content).unwrap();
        match killed.fault() {
            JournalFault::Foreign => assert!(is_foreign),
            JournalFault::OfAnotherStore => assert!(!is_foreign),
            fault => panic!("{fault:?}"),
        }
    }
    drop(killed.open_without());
    assert!(killed.discarded() == fs::read(other.journal()).unwrap());
    fs::remove_file(killed.journal()).unwrap();
    fs::create_dir(killed.journal()).unwrap();
    drop(RedbStore::open(killed.store()).unwrap_err());
    fs::remove_dir(killed.journal()).unwrap();
    killed.opens_with(0);
}

#[test]
fn an_older_store_beside_a_newer_journal_is_refused() {
    let folder = Folder::new("older");
    let journal = folder.path().join("work.redb.journal");
    drop(RedbStore::open(folder.store()).unwrap());
    let (closed, mut older) = (fs::read(folder.store()).unwrap(), Vec::new());
    let store = RedbStore::builder(folder.store()).journal_bytes(64 << 10).inline().open().unwrap();
    for number in 1..=400 {
        put(&store, number);
        if number == 3 {
            older = fs::read(folder.store()).unwrap();
        }
    }
    let newer = (fs::read(folder.store()).unwrap(), fs::read(&journal).unwrap());
    drop(store);
    for old in [&closed, &older] {
        fs::write(folder.store(), old).unwrap();
        fs::write(&journal, &newer.1).unwrap();
        let error = RedbStore::open(folder.store()).unwrap_err();
        let OpenError::Journal { fault: JournalFault::Ahead { found, stored }, .. } = error else {
            panic!("{error:?}")
        };
        assert!(found > stored + 1, "{found} {stored}");
        assert!(fs::read(&journal).unwrap() == newer.1);
    }
    fs::write(folder.store(), &newer.0).unwrap();
    assert_eq!(count(&RedbStore::open(folder.store()).unwrap()), 400);
}

#[test]
fn a_journal_that_was_cut_short_is_refused_and_what_is_left_can_be_used() {
    let killed = Killed::after(12);
    let whole = fs::read(killed.journal()).unwrap();
    for length in [0, 10, 63] {
        fs::write(killed.journal(), &whole[..length]).unwrap();
        assert!(matches!(killed.fault(), JournalFault::Foreign));
    }
    for length in [64, START, START + 700, whole.len() - 1] {
        fs::write(killed.journal(), &whole[..length]).unwrap();
        assert!(matches!(killed.fault(), JournalFault::Short { .. }), "{length}");
    }
    fs::write(killed.journal(), &whole[..START + 1_500]).unwrap();
    let left = count(&killed.open_without());
    assert!((1..12).contains(&left), "{left}");
    killed.opens_with(left);
}

#[test]
fn a_damaged_commit_with_others_behind_it_is_refused_and_those_before_it_can_be_used() {
    let killed = Killed::after(12);
    let mut bytes = fs::read(killed.journal()).unwrap();
    bytes[START + 1_500] ^= 4;
    fs::write(killed.journal(), &bytes).unwrap();
    let JournalFault::Damaged { commit, .. } = killed.fault() else { panic!("it is damaged") };
    assert_eq!(count(&killed.open_without()) as u64, commit - 1);
    assert!(killed.discarded() == bytes);
    killed.opens_with(commit as usize - 1);
}

/// What a damaged journal comes to: an error, or a store that has everything, or all before the first damaged commit if the damage
/// reaches the very last: that looks like a commit which was under way when the power failed.
fn judge(killed: &Disk, journal: Vec<u8>, harmless: usize, context: &str) -> &'static str {
    let disk = Disk::with(killed.bytes(), journal);
    match disk.inline().open() {
        Err(OpenError::Journal { .. } | OpenError::Corrupted { .. }) => "refused",
        Err(error) => panic!("{error}: {context}"),
        Ok(store) => match count(&store) {
            30 => "whole",
            works if works == harmless => "the last is gone",
            works => panic!("{works} of 30 works, {harmless} before the damage: {context}"),
        },
    }
}

/// The places at which records begin, by the lengths that they say.
fn records(journal: &[u8]) -> Vec<usize> {
    let (mut places, mut at) = (Vec::new(), START);
    loop {
        let length = u32::from_le_bytes(journal[at..at + 4].try_into().unwrap()) as usize;
        if length == 0 {
            return places;
        }
        places.push(at);
        at += length;
    }
}

#[test]
fn s10_no_damage_to_a_journal_is_wrong_data_or_a_commit_less_but_for_the_very_last() {
    let disk = Disk::default();
    let store = disk.inline().open().unwrap();
    (1..=15).for_each(|number| put(&store, number));
    let earlier = disk.journal();
    (16..=30).for_each(|number| put(&store, number));
    let (killed, mut random) = (disk.after_kill(), Random::new(0xda_4a6e));
    drop(store);
    let journal = killed.journal();
    let places = records(&journal);
    let (last, end) = (places[places.len() - 1], START + 40_000);
    let end_of_last = last + u32::from_le_bytes(journal[last..last + 4].try_into().unwrap()) as usize;
    assert_eq!(places.len(), 30);
    let mut outcomes = BTreeMap::<&str, usize>::new();
    for case in 0..1_500 {
        let mut bytes = journal.clone();
        let at = match case % 4 {
            0 => random.below(64),
            _ => START + random.below(last + 900 - START),
        };
        let what = match case % 5 {
            0 | 1 => {
                bytes[at] ^= 1 << random.below(8);
                "a bit"
            }
            2 => {
                let sector = at / 512 * 512;
                bytes[sector..sector + 512].copy_from_slice(&earlier[sector..sector + 512]);
                "an older sector"
            }
            3 => {
                let (one, other) = (at / 512 * 512, (START + random.below(end - START)) / 512 * 512);
                for byte in 0..512 {
                    bytes.swap(one + byte, other + byte);
                }
                "swapped sectors"
            }
            _ => {
                let sector = at / 512 * 512;
                bytes[sector..sector + 512].fill(random.next() as u8 * (case % 2) as u8);
                "a filled sector"
            }
        };
        let hit = |(at, place): (usize, &usize)| {
            let end = places.get(at + 1).copied().unwrap_or(end_of_last);
            bytes[*place..end] != journal[*place..end]
        };
        let hits: Vec<usize> = (0..30).filter(|at| hit((*at, &places[*at]))).collect();
        let harmless = if hits.contains(&29) { hits[0] } else { 30 };
        let context = format!("{what} at {at}, case {case}, seed {:#x}", random.seed);
        let outcome = judge(&killed, bytes, harmless, &context);
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}, seed {:#x}", random.seed);
    assert!(outcomes["refused"] > 300 && outcomes["whole"] > 50, "{outcomes:?}");
}

#[test]
fn a_closed_store_is_complete_without_its_journal_and_minds_no_other() {
    let folder = Folder::new("closed");
    let journal = folder.path().join("work.redb.journal");
    let store = RedbStore::open(folder.store()).unwrap();
    (1..=9).for_each(|number| put(&store, number));
    block_on(store.close());
    drop(store);
    let closed = fs::read(&journal).unwrap();
    assert!(closed[START..2 * START].iter().all(|byte| *byte == 0), "a copy of an earlier store is not older than it");
    fs::remove_file(&journal).unwrap();
    assert_eq!(count(&RedbStore::open(folder.store()).unwrap()), 9);
    fs::write(&journal, &closed).unwrap();
    assert_eq!(count(&RedbStore::open(folder.store()).unwrap()), 9);
    fs::write(&journal, "notes of somebody else").unwrap();
    let error = RedbStore::open(folder.store()).unwrap_err();
    assert!(matches!(error, OpenError::Journal { fault: JournalFault::Foreign, .. }), "{error:?}");
    assert_eq!(fs::read(&journal).unwrap(), b"notes of somebody else");
}

#[test]
fn a_new_store_beside_the_journal_of_a_deleted_one_begins_and_keeps_it() {
    let killed = Killed::after(3);
    let left = fs::read(killed.journal()).unwrap();
    fs::remove_file(killed.store()).unwrap();
    killed.opens_with(0);
    assert!(killed.discarded() == left);
}

/// A store of another user's making in a folder that anybody may enter.
#[cfg(unix)]
fn as_nobody(path: &std::path::Path) -> Option<String> {
    let mut child = std::process::Command::new("setpriv");
    child.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(std::env::current_exe().unwrap());
    child.args(["--exact", "opens_as_somebody_else", "--nocapture"]).env("WORKMAN_REDB_STORE", path);
    let output = child.output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("opened: ").map(str::to_owned));
    line.filter(|_| output.status.success())
}

/// Not a test of its own: what the child runs.
#[test]
fn opens_as_somebody_else() {
    let Ok(path) = std::env::var("WORKMAN_REDB_STORE") else { return };
    let opened = RedbStore::open(path).map(|store| count(&store));
    println!("\nopened: {}", opened.map_or_else(|error| error.to_string(), |works| works.to_string()));
}

#[cfg(unix)]
#[test]
fn a_journal_that_may_not_be_written_is_refused_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let killed = Killed::after(5);
    let mode = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(killed.folder.path(), 0o777);
    mode(&killed.store(), 0o666);
    mode(&killed.journal(), 0o444);
    let before = killed.bytes();
    let Some(said) = as_nobody(&killed.store()) else {
        println!("skipped: this process can't be another user");
        return;
    };
    assert!(said.contains("work.redb.journal") && said.contains("read and write"), "{said}");
    assert!(killed.bytes() == before);
    mode(&killed.journal(), 0o666);
    assert_eq!(as_nobody(&killed.store()).unwrap(), "5");
}

/// Windows lets nobody take it away: see `windows.rs`.
#[cfg(unix)]
#[test]
fn a_journal_that_is_taken_away_from_an_open_store_costs_nothing_and_it_goes_on_when_it_is_back() {
    type Harm = fn(&std::path::Path, &std::path::Path);
    let gone: Harm = |journal, aside| fs::rename(journal, aside).unwrap();
    let replaced: Harm = |journal, aside| {
        fs::rename(journal, aside).unwrap();
        fs::write(journal, vec![0; 2 << 20]).unwrap();
    };
    for harm in [gone, replaced] {
        let folder = Folder::new("away");
        let (journal, aside) = (folder.path().join("work.redb.journal"), folder.path().join("aside"));
        let store = RedbStore::builder(folder.store()).inline().open().unwrap();
        (1..=5).for_each(|number| put(&store, number));
        harm(&journal, &aside);
        for _ in 0..2 {
            let error = run(&store, plain(WorkId::from_u128(6)), 1).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Rejected, "{error}");
            assert!(error.to_string().contains("work.redb.journal"), "{error}");
            assert_eq!(count(&store), 5);
        }
        let killed = folder.path().join("killed.redb");
        fs::copy(folder.store(), &killed).unwrap();
        assert_eq!(count(&RedbStore::open(&killed).unwrap()), 5, "the store itself has everything");
        fs::rename(&aside, &journal).unwrap();
        put(&store, 6);
        fs::copy(folder.store(), &killed).unwrap();
        fs::copy(&journal, folder.path().join("killed.redb.journal")).unwrap();
        assert_eq!(count(&RedbStore::open(&killed).unwrap()), 6);
        drop(store);
        assert_eq!(count(&RedbStore::open(folder.store()).unwrap()), 6);
    }
}

#[cfg(unix)]
#[test]
fn an_idle_checkpoint_without_its_journal_leaves_a_store_that_needs_none() {
    let folder = Folder::new("away-idle");
    let clock = Arc::new(Hands::default());
    let store = RedbStore::builder(folder.store()).clock(Arc::clone(&clock) as _).inline().open().unwrap();
    put(&store, 1);
    fs::rename(folder.path().join("work.redb.journal"), folder.path().join("aside")).unwrap();
    // A look at everything is a checkpoint, as an idle second is.
    block_on(store.verify_open()).unwrap();
    let killed = folder.path().join("killed.redb");
    fs::copy(folder.store(), &killed).unwrap();
    assert_eq!(count(&RedbStore::open(&killed).unwrap()), 1);
    drop(store);
}

#[test]
fn a_path_without_a_name_is_refused_in_words() {
    let error = RedbStore::open("").unwrap_err();
    assert!(error.to_string().contains("give that of a file"), "{error}");
}

#[test]
fn a_journal_that_is_cut_short_under_an_open_store_is_not_written_on() {
    let folder = Folder::new("cut");
    let journal = folder.path().join("work.redb.journal");
    let store = RedbStore::builder(folder.store()).inline().open().unwrap();
    put(&store, 1);
    fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len(100).unwrap();
    let error = run(&store, plain(WorkId::from_u128(2)), 1).unwrap_err();
    assert!(error.to_string().contains("cut short"), "{error}");
    drop(store);
    assert_eq!(count(&RedbStore::open(folder.store()).unwrap()), 1);
}

/// A store on a simulated disk, and the clock by which it tries again.
fn on_disk() -> (Disk, Arc<Hands>, RedbStore) {
    let (disk, clock) = (Disk::default(), Arc::new(Hands::default()));
    let store = disk.inline().clock(Arc::clone(&clock) as _).open().unwrap();
    (disk, clock, store)
}

#[test]
fn on_a_full_disk_work_goes_on_as_long_as_the_journal_has_room() {
    let (disk, clock, store) = on_disk();
    put(&store, 1);
    disk.fill();
    // These are checkpoints, until one meets the end of the room. The journal takes what it can from then on.
    let mut number = 2;
    let error = loop {
        match run(&store, sized(WorkId::from_u128(number), 20_000), 1) {
            Ok(result) => drop(result.unwrap()),
            Err(error) => break error,
        }
        number += 1;
    };
    assert_eq!(error.kind(), StoreErrorKind::Indeterminate, "{error}");
    run(&store, sized(WorkId::from_u128(number), 20_000), 1).unwrap().unwrap();
    let full_since = number;
    let error = loop {
        number += 1;
        match run(&store, plain(WorkId::from_u128(number)), 1) {
            Ok(result) => drop(result.unwrap()),
            Err(error) => break error,
        }
    };
    assert!(number > full_since + 50, "{full_since} to {number}");
    assert_eq!(error.kind(), StoreErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("journal"), "{error}");
    assert_eq!(count(&store) as u128, number - 1, "all that was acknowledged is shown");
    let killed = disk.after_kill();
    assert_eq!(count(&killed.inline().open().unwrap()) as u128, number - 1);
    disk.mend();
    clock.advance(Duration::from_secs(20));
    put(&store, number);
    drop(store);
    assert_eq!(count(&disk.inline().open().unwrap()) as u128, number);
}

#[test]
fn while_the_store_file_can_not_be_written_at_all_nothing_is_lost_and_it_recovers() {
    let (disk, clock, store) = on_disk();
    (1..=3).for_each(|number| put(&store, number));
    disk.break_for_good(DiskFile::Store, ErrorKind::Other);
    // The journal takes what needs nothing of the store.
    put(&store, 4);
    run(&store, sized(WorkId::from_u128(5), 20_000), 1).unwrap_err();
    let error = run(&store, plain(WorkId::from_u128(6)), 1).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Rejected, "{error}");
    let killed = disk.after_kill();
    killed.mend();
    assert_eq!(count(&killed.inline().open().unwrap()), 4);
    disk.mend();
    clock.advance(Duration::from_secs(20));
    put(&store, 5);
    assert_eq!(count(&store), 5);
}

#[test]
fn while_the_journal_can_not_be_written_nothing_is_acknowledged_and_nothing_is_lost() {
    let (disk, clock, store) = on_disk();
    (1..=3).for_each(|number| put(&store, number));
    disk.break_for_good(DiskFile::Journal, ErrorKind::Other);
    let error = run(&store, plain(WorkId::from_u128(4)), 1).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Indeterminate, "{error}");
    // The store took over what was acknowledged; each further commit fails honestly.
    for _ in 0..3 {
        run(&store, plain(WorkId::from_u128(4)), 1).unwrap_err();
        assert!((3..=4).contains(&count(&store)));
    }
    disk.mend();
    clock.advance(Duration::from_secs(20));
    run(&store, plain(WorkId::from_u128(4)), 1).unwrap().unwrap();
    assert_eq!(count(&store), 4);
    drop(store);
    assert_eq!(count(&disk.inline().open().unwrap()), 4);
}

#[test]
fn s8_no_room_inside_the_putting_back_is_tried_again_and_loses_nothing() {
    let (disk, clock, store) = on_disk();
    (1..=30).for_each(|number| put(&store, number));
    let killed = disk.after_kill();
    for after in 0..12 {
        let left = killed.copy();
        left.plan_fault(after, Fault::Error(ErrorKind::StorageFull));
        drop(left.inline().open());
        assert_eq!(count(&left.inline().open().unwrap()), 30, "operation {after}");
    }
    // Of a store that is open.
    disk.plan_fault(0, Fault::Error(ErrorKind::Other));
    disk.break_for_good(DiskFile::Store, ErrorKind::StorageFull);
    run(&store, plain(WorkId::from_u128(31)), 1).unwrap_err();
    run(&store, plain(WorkId::from_u128(31)), 1).unwrap_err();
    disk.mend();
    clock.advance(Duration::from_secs(20));
    run(&store, plain(WorkId::from_u128(31)), 1).unwrap().unwrap();
    assert_eq!(count(&store), 31);
}

#[test]
fn an_idle_store_takes_over_what_is_worth_it_once_and_then_sleeps() {
    let (disk, clock) = (Disk::default(), Arc::new(Hands::default()));
    let store = disk.builder().journal_bytes(1 << 20).clock(Arc::clone(&clock) as _).open().unwrap();
    put(&store, 1);
    clock.advance(Duration::from_secs(5));
    assert_eq!(clock.sleepers(), 0, "so little is not worth it");
    for number in 2..=4 {
        run(&store, sized(WorkId::from_u128(number), 40_000), 1).unwrap().unwrap();
    }
    let synced = disk.next_sync();
    clock.wait_for_sleepers(1);
    clock.advance(Duration::from_secs(1));
    synced.recv().unwrap();
    // A call behind it is answered when it is done. What that writes is little, so nothing is due any more.
    run(&store, Command::Attach, 1).unwrap().unwrap();
    assert_eq!(clock.sleepers(), 0);
    let before = disk.ops();
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(count(&store), 4);
    assert_eq!(disk.ops(), before, "it was taken over once");
    let first = u64::from_le_bytes(disk.journal()[START + 24..START + 32].try_into().unwrap());
    assert_eq!(first, 5, "and the journal began anew with the call");
    drop(store);
}

#[test]
fn a_journal_never_grows_and_has_the_length_that_it_is_told_at_the_next_opening() {
    let folder = Folder::new("length");
    let journal = folder.path().join("work.redb.journal");
    for (wished, length) in [(64 << 10, 64 << 10), (1, 64 << 10), (1 << 20, 1 << 20), (128 << 10, 128 << 10)] {
        let store = RedbStore::builder(folder.store()).journal_bytes(wished).inline().open().unwrap();
        let length = START as u64 + length;
        assert_eq!(fs::metadata(&journal).unwrap().len(), length);
        for number in 0..150 {
            let id = WorkId::from_u128(u128::from(length) << 32 | u128::from(wished) << 16 | number);
            run(&store, sized(id, 3_000), 1).unwrap().unwrap();
        }
        assert_eq!(fs::metadata(&journal).unwrap().len(), length);
    }
    assert_eq!(count(&RedbStore::open(folder.store()).unwrap()), 600);
}

#[test]
fn a_copy_of_an_open_store_is_a_store_of_its_own() {
    let folder = Folder::new("copy");
    let copy = folder.path().join("copy.redb");
    for (number, inline) in [(1, false), (2, true)] {
        let builder = RedbStore::builder(folder.store());
        let store = if inline { builder.inline() } else { builder }.open().unwrap();
        put(&store, number);
        block_on(store.copy_to(&copy)).unwrap();
        put(&store, number + 10);
        let again = block_on(store.copy_to(&copy)).unwrap_err();
        assert!(again.to_string().contains(&copy.display().to_string()), "{again}");
        assert!(matches!(block_on(store.copy_to(folder.path())).unwrap_err(), OpenError::Directory { .. }));
        assert!(block_on(store.copy_to(folder.store())).is_err());
        let copied = RedbStore::open(&copy).unwrap();
        assert_eq!(count(&copied), count(&store) - 1);
        put(&copied, 100);
        assert!(block_on(copied.verify_open()).unwrap().is_sound());
        drop(copied);
        drop(store);
        // The copy's journal is not that of the other.
        fs::copy(folder.path().join("copy.redb.journal"), folder.path().join("work.redb.journal")).unwrap();
        drop(RedbStore::open(folder.store()).unwrap());
        fs::remove_file(&copy).unwrap();
        fs::remove_file(folder.path().join("copy.redb.journal")).unwrap();
    }
}

#[test]
fn verifying_looks_at_what_lies_in_the_journal_and_writes_nothing() {
    let killed = Killed::after(25);
    let before = killed.bytes();
    let report = RedbStore::verify(killed.store()).unwrap();
    assert!(report.is_sound() && report.works() == 25, "{report}");
    assert!(killed.bytes() == before);
    let repaired = RedbStore::repair(killed.store()).unwrap();
    assert!(repaired.works() == 25 && repaired.after().is_sound(), "{repaired}");
    let kept = repaired.before().with_added_extension("journal");
    assert!(fs::read(kept).unwrap() == before.1.unwrap(), "the old file has its journal");
    killed.opens_with(25);
    let mut bytes = fs::read(Killed::after(9).journal()).unwrap();
    let damaged = Killed::after(9);
    bytes.clone_from(&fs::read(damaged.journal()).unwrap());
    bytes[START + 900] ^= 1;
    fs::write(damaged.journal(), bytes).unwrap();
    assert!(matches!(RedbStore::verify(damaged.store()).unwrap_err(), OpenError::Journal { .. }));
    let repaired = RedbStore::repair(damaged.store()).unwrap();
    assert!(repaired.unreadable().iter().any(|what| what.contains("journal")), "{repaired}");
    damaged.opens_with(repaired.works() as usize);
}

#[test]
fn a_relaxed_store_that_is_killed_has_everything() {
    let disk = Disk::default();
    let store = disk.inline().durability(Durability::RELAXED).clock(Arc::new(Hands::default())).open().unwrap();
    let syncs = disk.syncs();
    (1..=40).for_each(|number| put(&store, number));
    assert!(disk.syncs() <= syncs + 2, "only redb syncs, a file that it makes longer");
    assert_eq!(count(&disk.after_kill().inline().open().unwrap()), 40);
}

/// A relaxed store after an error of both files threw away what was not synced.
fn lost_its_last_commits() -> (Disk, Arc<Hands>, RedbStore) {
    let (disk, clock) = (Disk::default(), Arc::new(Hands::default()));
    let builder = disk.inline().durability(Durability::RELAXED).clock(Arc::clone(&clock) as _);
    let store = builder.open().unwrap();
    (1..=5).for_each(|number| put(&store, number));
    clock.advance(Duration::from_secs(2));
    disk.plan_fault(1, Fault::DroppedPages);
    disk.break_for_good(DiskFile::Store, ErrorKind::Other);
    run(&store, plain(WorkId::from_u128(6)), 1).unwrap_err();
    disk.mend();
    clock.advance(Duration::from_secs(20));
    assert_eq!(count(&store), 0, "nothing was synced");
    (disk, clock, store)
}

#[test]
fn what_a_relaxed_store_commits_after_a_loss_is_found_by_the_next_opening() {
    let (disk, _, store) = lost_its_last_commits();
    for number in 7..=9 {
        put(&store, number);
        assert_eq!(count(&disk.after_kill().inline().open().unwrap()) as u128, number - 6);
    }
    drop(store);
    assert_eq!(count(&disk.inline().open().unwrap()), 3);
}

#[test]
fn a_relaxed_store_that_lost_commits_is_not_taken_for_an_older_copy_at_its_next_error() {
    let (disk, clock, store) = lost_its_last_commits();
    assert!(block_on(store.verify_open()).unwrap().is_sound());
    disk.plan_fault(0, Fault::Error(ErrorKind::Other));
    run(&store, plain(WorkId::from_u128(7)), 1).unwrap_err();
    clock.advance(Duration::from_secs(20));
    put(&store, 7);
    assert_eq!(count(&store), 1);
}

#[test]
fn a_relaxed_store_that_is_never_to_sync_does_not_panic_over_that() {
    let (disk, clock) = (Disk::default(), Arc::new(Hands::default()));
    clock.advance(Duration::from_secs(1));
    let builder = disk.builder().durability(Durability::Relaxed { within: Duration::MAX });
    let store = builder.clock(Arc::clone(&clock) as _).open().unwrap();
    (1..=3).for_each(|number| put(&store, number));
    drop(store);
    assert_eq!(count(&disk.inline().open().unwrap()), 3);
}

#[test]
fn a_relaxed_commit_is_synced_in_time_though_something_later_was_due_before_it_came() {
    let within = Duration::from_millis(50);
    let (disk, clock) = (Disk::default(), Arc::new(Hands::default()));
    let builder = disk.builder().journal_bytes(1 << 20).durability(Durability::Relaxed { within });
    let store = builder.clock(Arc::clone(&clock) as _).open().unwrap();
    for number in 1..=3 {
        run(&store, sized(WorkId::from_u128(number), 40_000), 1).unwrap().unwrap();
    }
    let synced = disk.next_sync();
    clock.wait_for_sleepers(1);
    clock.advance(within);
    synced.recv().unwrap();
    // The store sleeps until a checkpoint is due.
    clock.wait_for_sleepers(1);
    put(&store, 4);
    let synced = disk.next_sync();
    while synced.try_recv().is_err() {
        assert!(clock.monotonic() <= 3 * within, "it is synced late");
        std::thread::yield_now();
        if clock.sleepers() == 1 {
            clock.advance(within / 10);
        }
    }
    drop(store);
}

#[test]
fn a_relaxed_store_that_is_closed_while_its_file_can_not_be_used_syncs_its_journal() {
    let (disk, clock) = (Disk::default(), Arc::new(Hands::default()));
    let builder = disk.inline().durability(Durability::RELAXED);
    let store = builder.clock(Arc::clone(&clock) as _).open().unwrap();
    (1..=3).for_each(|number| put(&store, number));
    disk.break_for_good(DiskFile::Store, ErrorKind::Other);
    run(&store, sized(WorkId::from_u128(4), 20_000), 1).unwrap_err();
    let error = run(&store, plain(WorkId::from_u128(5)), 1).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Rejected, "it is down: {error}");
    drop(store);
    let left = disk.after_power_loss(Survivors::Nothing, &mut Random::new(1));
    assert_eq!(count(&left.inline().open().unwrap()), 3);
}

#[test]
fn a_store_that_is_lost_is_woken_by_nothing() {
    let (disk, clock, away) = (Disk::default(), Arc::new(Hands::default()), Arc::new(AtomicBool::new(false)));
    let (handle, gone) = (disk.clone(), Arc::clone(&away));
    let open = move |file| {
        if gone.load(Ordering::SeqCst) { Err(ErrorKind::NotFound.into()) } else { Ok(handle.file(file)) }
    };
    let store = RedbStore::builder_on(open).clock(Arc::clone(&clock) as _).open().unwrap();
    for number in 1..=3 {
        run(&store, sized(WorkId::from_u128(number), 40_000), 1).unwrap().unwrap();
    }
    away.store(true, Ordering::SeqCst);
    disk.break_for_good(DiskFile::Store, ErrorKind::Other);
    run(&store, sized(WorkId::from_u128(4), 400_000), 1).unwrap_err();
    disk.mend();
    drop(disk.inline().open().unwrap());
    away.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(20));
    for _ in 0..2 {
        let error = run(&store, plain(WorkId::from_u128(5)), 1).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Lost, "{error}");
    }
    // The writer sleeps, or is about to, when it is asked and answers.
    clock.advance(Duration::from_secs(20));
    block_on(store.verify_open()).unwrap_err();
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn the_journal_of_a_deleted_store_is_replaced_whole_and_never_half_written() {
    let folder = Folder::new("left");
    let (journal, kept) = (folder.path().join("work.redb.journal"), folder.path().join("kept"));
    drop(RedbStore::open(folder.store()).unwrap());
    fs::remove_file(folder.store()).unwrap();
    fs::hard_link(&journal, &kept).unwrap();
    let before = fs::read(&kept).unwrap();
    let store = RedbStore::open(folder.store()).unwrap();
    put(&store, 1);
    assert!(fs::read(&kept).unwrap() == before, "what is written over is nobody's journal if the process dies then");
    drop(store);
    assert_eq!(count(&RedbStore::open(folder.store()).unwrap()), 1);
}

#[test]
fn a_journal_that_can_not_be_made_is_an_error_that_says_so_and_what_to_do() {
    let folder = Folder::new("unmade");
    let in_the_way = folder.path().join("work.redb.journal.new");
    fs::create_dir(&in_the_way).unwrap();
    let error = RedbStore::open(folder.store()).unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(said.contains("journal of the store") && said.contains("may make files"), "{said}");
    fs::remove_dir(&in_the_way).unwrap();
    drop(RedbStore::open(folder.store()).unwrap());
}

#[test]
fn a_store_that_was_repaired_beside_a_journal_that_can_not_be_used_opens() {
    let other = fs::read(Killed::after(7).journal()).unwrap();
    for journal in [b"some notes of mine".to_vec(), other] {
        let killed = Killed::after(5);
        fs::write(killed.journal(), &journal).unwrap();
        let repaired = RedbStore::repair(killed.store()).unwrap();
        assert!(repaired.unreadable().iter().any(|what| what.contains("journal")), "{repaired}");
        assert!(
            fs::read(repaired.before().with_added_extension("journal")).unwrap() == journal,
            "it is with the old file"
        );
        killed.opens_with(repaired.works() as usize);
    }
}

#[test]
fn a_foreign_file_in_the_place_of_a_journal_is_not_read_however_long_it_is() {
    let folder = Folder::new("long");
    drop(RedbStore::open(folder.store()).unwrap());
    let file = fs::File::create(folder.path().join("work.redb.journal")).unwrap();
    std::io::Write::write_all(&mut &file, b"somebody else's").unwrap();
    file.set_len(1 << 36).unwrap();
    let error = RedbStore::open(folder.store()).unwrap_err();
    assert!(matches!(error, OpenError::Journal { fault: JournalFault::Foreign, .. }), "{error:?}");
}
