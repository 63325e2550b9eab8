//! Files of every format version that was ever released open and read as they did.
//!
//! `WORKMAN_GOLDEN=write cargo test -p workman-redb --test golden` makes the files of the current version anew, which is
//! right only before that version is released.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, TableDefinition};
use support::disk::{Disk, Fault, Survivors};
use support::workload::Workload;
use support::{Folder, Random, block_on, dump, run};
use workman_core::id::WorkId;
use workman_core::info::WorkInfo;
use workman_core::plan::Command;
use workman_core::policy::OnInterruption;
use workman_core::query::{PageRequest, WorkQuery};
use workman_core::record::{Schedule, Urgency, WorkRecord};
use workman_core::store::Store;
use workman_core::store::embedded::Dump;
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

/// Makes a file of today's format that has everything that a store can hold.
fn write_golden() {
    let file = golden("format-3.store");
    for seed in 0x901d.. {
        let _ = fs::remove_file(&file);
        let store = RedbStore::open(&file).unwrap();
        let mut workload = Workload::new(seed);
        for _ in 0..120 {
            let units = workload.call();
            workload.learn(&block_on(store.transact(units)).unwrap());
        }
        if what_is_new_in_2(&dump(&store)).iter().all(|(_, is_there)| *is_there) {
            fs::write(golden("format-3.txt"), summary(&store)).unwrap();
            break;
        }
    }
    fs::remove_file(golden("format-3.store.ballast")).unwrap();
}

/// What format 1 could not hold, and whether it is there.
fn what_is_new_in_2(dump: &Dump) -> [(&'static str, bool); 9] {
    let any = |is_it: &dyn Fn(&WorkRecord) -> bool| dump.records.values().any(is_it);
    [
        ("expedited work", any(&|record| record.urgency == Urgency::Expedited)),
        ("its lane", dump.lanes.iter().any(|lane| lane.urgency == Urgency::Expedited)),
        ("its run time", !dump.meta.expedited.steps.is_empty()),
        ("a timeout", any(&|record| record.terms.timeout.is_some())),
        ("jitter", any(&|record| record.terms.backoff.jitter_percent() > 0)),
        ("backoff after interruptions", any(&|record| record.terms.on_interruption == OnInterruption::BackOff)),
        ("an override", any(&|record| record.period.is_some_and(|period| period.next_run.is_some()))),
        ("a trace tag", dump.specs.values().any(|spec| spec.trace_tag.is_some())),
        ("a cancellation of everything", dump.meta.last_cancel_all.is_some()),
    ]
}

/// The version in the row that says what the file is; it lies behind the eight bytes of its envelope's head.
fn stored_format(file: &Path) -> u8 {
    let meta: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
    let database = Database::open(file).unwrap();
    let table = database.begin_read().unwrap().open_table(meta).unwrap();
    table.get(&b"format"[..]).unwrap().unwrap().value()[8]
}

/// Opens a copy of a golden file, compares it, and goes on writing it.
fn reads_as_it_did(format: &str) -> Dump {
    let folder = Folder::new("golden");
    fs::copy(golden(&format!("{format}.store")), folder.store()).unwrap();
    let store = RedbStore::open(folder.store()).unwrap();
    assert_eq!(summary(&store), fs::read_to_string(golden(&format!("{format}.txt"))).unwrap());
    let opened = dump(&store);
    run(&store, Command::Attach, 1_800_000_000_000).unwrap().unwrap();
    run(&store, Command::Rescue, 1_800_000_000_000).unwrap().unwrap();
    dump(&store);
    drop(store);
    assert_eq!(stored_format(&folder.store()), 3, "it has the format of today");
    let again = RedbStore::open(folder.store()).unwrap();
    let ids = opened.records.keys().copied().collect::<Vec<WorkId>>();
    assert_eq!(dump(&again).records.keys().copied().collect::<Vec<WorkId>>(), ids, "also when it is opened once more");
    opened
}

#[test]
fn e1_a_file_of_format_1_is_upgraded_when_it_is_opened_and_reads_as_it_did() {
    assert_eq!(stored_format_of_copy("format-1"), 1);
    let opened = reads_as_it_did("format-1");
    assert_eq!(
        opened.meta.finished, 0,
        "all that had finished is kept for as long as its request and its manager said"
    );
    assert!(opened.lanes.iter().all(|lane| lane.urgency == Urgency::Ordinary));
    let ordinary = |record: &WorkRecord| record.urgency == Urgency::Ordinary && record.terms.timeout.is_none();
    assert!(opened.records.values().all(ordinary), "nobody asked for what did not exist");
    let whole = opened.records.values().filter_map(|record| match record.terms.schedule {
        Schedule::Every { interval, flex } => Some(interval == flex),
        _ => None,
    });
    assert!(whole.clone().count() > 0 && whole.clone().all(|whole| whole), "a period without flex");
}

#[test]
fn e1_a_file_of_format_2_is_upgraded_when_it_is_opened_and_reads_as_it_did() {
    assert_eq!(stored_format_of_copy("format-2"), 2);
    let opened = reads_as_it_did("format-2");
    for (what, is_there) in what_is_new_in_2(&opened) {
        assert!(is_there, "{what}");
    }
}

#[test]
fn e1_a_file_of_format_3_reads_as_it_did_and_can_be_written() {
    if std::env::var("WORKMAN_GOLDEN").is_ok_and(|wish| wish == "write") {
        write_golden();
    }
    assert_eq!(stored_format_of_copy("format-3"), 3);
    let opened = reads_as_it_did("format-3");
    for (what, is_there) in what_is_new_in_2(&opened) {
        assert!(is_there, "{what}");
    }
}

#[test]
fn s4_a_power_cut_during_the_upgrade_leaves_a_store_that_opens_and_lost_nothing() {
    for format in ["format-1", "format-2"] {
        cut_the_power_during_its_upgrade(format);
    }
}

fn cut_the_power_during_its_upgrade(format: &str) {
    let old = fs::read(golden(&format!("{format}.store"))).unwrap();
    let expected = fs::read_to_string(golden(&format!("{format}.txt"))).unwrap();
    let mut random = Random::new(0x0_1dd1);
    let open = |disk: &Disk| {
        let disk = disk.clone();
        RedbStore::builder_on(move || Ok(disk.clone())).inline().open()
    };
    for cut in 0.. {
        let disk = Disk::of(old.clone());
        disk.plan_fault(cut, Fault::PowerLoss);
        drop(open(&disk));
        if !disk.is_dead() {
            assert!(cut > 3, "only {cut} operations");
            break;
        }
        use Survivors::{Everything, Nothing, Prefix, Subset, Torn};
        for survivors in [Nothing, Everything, Prefix, Subset, Torn] {
            let store = open(&disk.after_power_loss(survivors, &mut random)).unwrap();
            assert_eq!(summary(&store), expected, "cut at {cut}, {survivors:?} survive, seed {:#x}", random.seed);
            dump(&store);
        }
    }
}

fn stored_format_of_copy(format: &str) -> u8 {
    let folder = Folder::new("golden-format");
    fs::copy(golden(&format!("{format}.store")), folder.store()).unwrap();
    stored_format(&folder.store())
}
