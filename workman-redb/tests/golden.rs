//! A file of each released format opens and reads as it did.
//!
//! `WORKMAN_GOLDEN=write cargo test -p workman-redb --test golden` makes the file of today's format anew, which is right only
//! before that is released.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableDatabase, TableDefinition};
use support::workload::Workload;
use support::{Folder, block_on, dump, run};
use workman_core::store::{
    Applied, Barred, Claim, Codec, Command, Dump, End, Enqueue, NewWork, OpenLane, PageRequest, Settle, Standing,
    Store, SuspectsAllowed, Terms, Unique, UniquePolicy, Urgency, WorkRecord, WorkSpec, WorkerKind,
};
use workman_core::{ExistingWorkPolicy, OnInterruption, ParkReason, Payload, WorkId, WorkInfo, WorkQuery};
use workman_redb::RedbStore;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn line(work: &WorkInfo) -> String {
    let mut line = format!("{} {} {}", work.id, work.worker, work.state);
    let payload = |payload: &Option<Payload>| payload.as_ref().map(|p| (p.codec().code(), p.len()));
    let times = (work.created.as_millis(), work.finished.map(|at| at.as_millis()));
    let counts = (work.failures, work.interruptions, work.deaths, work.runs, work.open_prerequisites, work.periods);
    let ends: Vec<String> =
        work.attempts.iter().map(|attempt| format!("{} {:?}", attempt.generation, attempt.end)).collect();
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
    let gates = dump(store).gates.into_values();
    lines.extend(gates.map(|gate| format!("gate {} running {} held {}", gate.target, gate.running, gate.held())));
    let settings = dump(store).settings;
    lines.extend(settings.gates.iter().map(|(target, setting)| {
        let limits = setting.limits().map(ToString::to_string);
        let pause = setting.pause.as_ref().map(|pause| (pause.reason.clone(), pause.until.map(|at| at.as_millis())));
        format!("wanted of {target} {limits:?} pause {pause:?}")
    }));
    lines.push(format!("incarnation {} next epoch {} next seq {}", meta.incarnation, meta.next_epoch, meta.next_seq));
    lines.join("\n") + "\n"
}

/// Makes a file of today's format that has everything that a store can hold.
fn write_golden() {
    let file = golden("format-1.store");
    for seed in 0x901d.. {
        let _ = fs::remove_file(&file);
        let store = RedbStore::open(&file).unwrap();
        let mut workload = Workload::new(seed);
        for _ in 0..120 {
            let units = workload.call();
            workload.learn(&block_on(store.transact(units)).unwrap());
        }
        supersede(&store);
        if what_a_store_can_hold(&dump(&store)).iter().all(|(_, is_there)| *is_there) {
            fs::write(golden("format-1.txt"), summary(&store)).unwrap();
            break;
        }
    }
    for beside in ["format-1.store.ballast", "format-1.store.journal", "format-1.store.lock"] {
        fs::remove_file(golden(beside)).unwrap();
    }
}

/// A work that could not begin, and another that has taken its name since.
fn supersede(store: &RedbStore) {
    const NOW: i64 = 1_750_000_000_000;
    let answer = |command| run(store, command, NOW).unwrap().unwrap();
    let name: Arc<str> = "taken".into();
    let enqueue = |number| {
        let input = Payload::new(Codec::JSON, *b"{}");
        let spec = WorkSpec { name: Some(name.clone()), ..WorkSpec::new("older", input) };
        let works = vec![NewWork::new(WorkId::from_u128(number), spec, Terms::default())];
        let unique = Unique { name: name.clone(), policy: UniquePolicy::OneTime(ExistingWorkPolicy::Keep) };
        Command::Enqueue(Enqueue { works, unique: Some(unique), offer: None })
    };
    answer(enqueue(1_000_001));
    while matches!(answer(Command::Drain), Applied::Drained { again: true }) {}
    let Applied::Attached { epoch, lanes, .. } = answer(Command::Attach) else { panic!("it is the answer") };
    let lane = lanes.iter().find(|lane| &*lane.worker == "older").unwrap();
    let open = OpenLane { lane: lane.id, kind: WorkerKind::Async, urgency: lane.urgency };
    let claim = Claim {
        epoch,
        lanes: vec![open],
        async_slots_free: 1.into(),
        blocking_slots_free: 0.into(),
        expedited_budget: Duration::ZERO,
        barred: Barred::default(),
        watched: Vec::new(),
        suspects: SuspectsAllowed::None,
    };
    let Applied::Claimed { works, .. } = answer(Command::Claim(claim)) else { panic!("it is the answer") };
    // A gate may be shut that the workload has left there.
    let Some(begun) = works.first() else { return };
    let (id, fence) = (begun.record.id, begun.record.fence);
    let end = End::Unrunnable { why: ParkReason::Undecodable { message: "another build wrote it".into() } };
    answer(Command::Settle(Settle { id, fence, end }));
    answer(enqueue(1_000_002));
}

/// What is rare in a store, and whether it is there.
fn what_a_store_can_hold(dump: &Dump) -> [(&'static str, bool); 18] {
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
        ("a pause after a lost constraint", any(&|record| record.flaps() > 0)),
        ("superseded work", any(&|record| record.is_superseded())),
        ("a cancellation of everything", dump.meta.last_cancel_all.is_some()),
        ("work with a limit key", dump.specs.values().any(|spec| spec.limit_key.is_some())),
        ("work of a serial lane", dump.specs.values().any(|spec| spec.serial.is_some())),
        ("work that a gate holds", any(&|record| matches!(record.standing, Standing::Held { .. }))),
        (
            "work that its serial lane has let on",
            any(&|record| record.rare.as_ref().is_some_and(|rare| rare.serial.is_some_and(|serial| serial.is_out))),
        ),
        ("gates at which something goes on", dump.gates.len() > 1),
        ("a limit", dump.settings.gates.values().any(|setting| setting.hand.is_some())),
        ("a pause", dump.settings.gates.values().any(|setting| setting.pause.is_some())),
    ]
}

/// The version in the row that says what the file is; it lies behind the eight bytes of its envelope's head.
fn stored_format(file: &Path) -> u8 {
    let meta: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
    let database = Database::open(file).unwrap();
    let table = database.begin_read().unwrap().open_table(meta).unwrap();
    table.get(&b"format"[..]).unwrap().unwrap().value()[8]
}

#[test]
fn e1_a_file_of_format_1_reads_as_it_did_and_can_be_written() {
    if std::env::var("WORKMAN_GOLDEN").is_ok_and(|wish| wish == "write") {
        write_golden();
    }
    let folder = Folder::new("golden");
    fs::copy(golden("format-1.store"), folder.store()).unwrap();
    assert_eq!(stored_format(&folder.store()), 1);
    let store = RedbStore::open(folder.store()).unwrap();
    assert_eq!(summary(&store), fs::read_to_string(golden("format-1.txt")).unwrap());
    let opened = dump(&store);
    for (what, is_there) in what_a_store_can_hold(&opened) {
        assert!(is_there, "{what}");
    }
    run(&store, Command::Attach, 1_800_000_000_000).unwrap().unwrap();
    run(&store, Command::Rescue, 1_800_000_000_000).unwrap().unwrap();
    dump(&store);
    drop(store);
    assert_eq!(stored_format(&folder.store()), 1, "it keeps its format");
    let again = RedbStore::open(folder.store()).unwrap();
    let ids = opened.records.keys().copied().collect::<Vec<WorkId>>();
    assert_eq!(dump(&again).records.keys().copied().collect::<Vec<WorkId>>(), ids, "also when it is opened once more");
}
