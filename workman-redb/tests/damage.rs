//! Damaged files, by whole pages and by bits of keys: without a word of it nothing settled runs again, nothing changes its state,
//! and no missing row is an answer; and verifying finds every case.
//!
//! `WORKMAN_DAMAGE=<cases>` makes more of them than the few hundred of every day, `WORKMAN_SEED=<number>` other ones.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use support::disk::Disk;
use support::workload::Workload;
use support::{Folder, Random, at, block_on, dump, number, run};
use workman_core::store::{
    Applied, Barred, Claim, Command, Dump, End, Enqueue, GateCommand, Lane, NewWork, OpenLane, Page, PageRequest,
    SerialLane, Settle, Store, SuspectsAllowed, Terms, Unit, WorkRecord, WorkSpec, WorkerKind,
};
use workman_core::{
    Builder, GateLimits, GateTarget, HealthStatus, OnSerialFailure, Payload, Rate, StoreError, StoreErrorKind, Tally,
    ThreadRuntime, WorkId, WorkManager, WorkQuery, WorkSelector, WorkState, worker,
};
use workman_redb::{OpenError, RedbBuilder, RedbStore};

const PAGE: usize = 4_096;

fn builder(disk: &Disk) -> RedbBuilder {
    disk.inline()
}

/// A closed store, and how its file looked at some earlier moments.
struct Story {
    bytes: Vec<u8>,
    earlier: Vec<Vec<u8>>,
    dump: Dump,
    /// The number of its newest commit.
    commit: u64,
    now: i64,
}

fn page(store: &RedbStore, id: WorkId) -> Result<Page, StoreError> {
    block_on(store.query(PageRequest { query: WorkQuery::id(id), after: None, limit: 1 }))
}

fn story(seed: u64) -> Story {
    let disk = Disk::default();
    let mut workload = Workload::new(seed);
    let mut earlier = Vec::new();
    let mut now = 0;
    for round in 0..4 {
        let store = builder(&disk).open().unwrap();
        workload.reopened();
        for turn in 0..60 {
            let mut units: Vec<Unit> = workload.call();
            units.retain(|unit| !forgets(&unit.command));
            // At the end there is work that has yet to run, whatever became of what was there before.
            if round == 3 && turn >= 40 {
                units.retain(|unit| matches!(unit.command, Command::Enqueue(_)));
            }
            now = now.max(units.iter().map(|unit| unit.at.wall.as_millis()).max().unwrap_or_default());
            workload.learn(&block_on(store.transact(units)).unwrap());
        }
        let found = dump(&store);
        let commit = page(&store, WorkId::from_u128(1)).unwrap().commit;
        drop(store);
        if round == 3 {
            return Story { bytes: disk.bytes(), earlier, dump: found, commit, now };
        }
        earlier.push(disk.bytes());
    }
    unreachable!("the last round returns")
}

/// What has finished is to be there, and not all of it cancelled.
fn forgets(command: &Command) -> bool {
    match command {
        Command::Prune(_) => true,
        Command::Cancel(cancel) => cancel.selector == WorkSelector::All,
        _ => false,
    }
}

/// How a file is damaged.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Older,
    Swapped,
    Copied,
    Zeroed,
    Bit,
}

const HARMS: [Harm; 5] = [Harm::Older, Harm::Swapped, Harm::Copied, Harm::Zeroed, Harm::Bit];

fn page_of(bytes: &[u8], page: usize) -> &[u8] {
    &bytes[page * PAGE..((page + 1) * PAGE).min(bytes.len())]
}

/// A page that is not the header and holds something.
fn some_page(bytes: &[u8], random: &mut Random) -> usize {
    loop {
        let page = 1 + random.below(bytes.len() / PAGE - 1);
        if page_of(bytes, page).iter().filter(|byte| **byte != 0).count() > 64 {
            return page;
        }
    }
}

fn put_page(bytes: &mut [u8], page: usize, content: &[u8]) {
    let length = content.len().min(bytes.len() - page * PAGE);
    bytes[page * PAGE..page * PAGE + length].copy_from_slice(&content[..length]);
}

fn harmed(story: &Story, harm: Harm, random: &mut Random) -> (Vec<u8>, String) {
    let mut bytes = story.bytes.clone();
    let (one, other) = (some_page(&bytes, random), some_page(&bytes, random));
    let what = match harm {
        Harm::Older => {
            let earlier = &story.earlier[random.below(story.earlier.len())];
            if (one + 1) * PAGE <= earlier.len() {
                put_page(&mut bytes, one, page_of(earlier, one));
            }
            format!("page {one} is older")
        }
        Harm::Swapped => {
            let (first, second) = (page_of(&bytes, one).to_vec(), page_of(&bytes, other).to_vec());
            put_page(&mut bytes, one, &second);
            put_page(&mut bytes, other, &first);
            format!("pages {one} and {other} are swapped")
        }
        Harm::Copied => {
            let content = page_of(&bytes, one).to_vec();
            put_page(&mut bytes, other, &content);
            format!("page {one} is copied over {other}")
        }
        Harm::Zeroed => {
            put_page(&mut bytes, one, &[0; PAGE]);
            format!("page {one} is zeroed")
        }
        Harm::Bit => {
            let ids: Vec<WorkId> = story.dump.records.keys().copied().collect();
            let key = ids[random.below(ids.len())].as_u128().to_be_bytes();
            let places: Vec<usize> =
                bytes.windows(16).enumerate().filter(|(_, window)| *window == key).map(|(at, _)| at).collect();
            let (place, bit) = (places[random.below(places.len())] + random.below(16), random.below(8));
            bytes[place] ^= 1 << bit;
            format!("bit {bit} of byte {place}, in a key, is flipped")
        }
    };
    (bytes, what)
}

fn in_all_lanes(epoch: u64, lanes: &[Lane]) -> Claim {
    let open = |lane: &Lane| OpenLane { lane: lane.id, kind: WorkerKind::Async, urgency: lane.urgency };
    Claim {
        epoch,
        lanes: lanes.iter().map(open).collect(),
        async_slots_free: 20.into(),
        blocking_slots_free: 0.into(),
        expedited_budget: Duration::from_secs(600),
        barred: Barred::default(),
        watched: Vec::new(),
        suspects: SuspectsAllowed::One,
    }
}

/// Runs everything that can run, and settles it. Answers what ran; an error ends a step and nothing else.
fn run_all(store: &RedbStore, now: i64) -> Vec<WorkRecord> {
    let mut ran = Vec::new();
    let Ok(Ok(Applied::Attached { epoch, lanes, .. })) = run(store, Command::Attach, now) else { return ran };
    let _ = run(store, Command::Rescue, now);
    for _ in 0..8 {
        let claim = in_all_lanes(epoch, &lanes);
        let Ok(Ok(Applied::Claimed { works, .. })) = run(store, Command::Claim(claim), now) else { break };
        for claimed in &works {
            let output = Payload::new(workman_core::store::Codec::JSON, *b"1");
            let settle = Settle { id: claimed.record.id, fence: claimed.record.fence, end: End::Succeeded { output } };
            let _ = run(store, Command::Settle(settle), now);
        }
        ran.extend(works.into_iter().map(|claimed| claimed.record));
    }
    ran
}

fn has_succeeded((id, record): (&WorkId, &WorkRecord)) -> Option<WorkId> {
    (record.state() == WorkState::Succeeded).then_some(*id)
}

/// What one case came to.
fn judge(story: &Story, bytes: Vec<u8>, context: &str) -> &'static str {
    let looked = Disk::of(bytes.clone());
    let verified = match builder(&looked).verify_on_open(true).open() {
        Ok(_) => "sound",
        Err(OpenError::Damaged { report, .. }) => {
            assert!(report.total() > 0 && !report.findings().is_empty(), "{context}");
            "found"
        }
        Err(_) => "refused",
    };
    let Ok(store) = builder(&Disk::of(bytes)).open() else {
        assert_ne!(verified, "sound", "{context}");
        return "refused";
    };
    let mut harmless = true;
    for (id, record) in &story.dump.records {
        match page(&store, *id) {
            // An older root of all tables: a closed file shows an earlier commit, and only verifying tells.
            Ok(page) if page.commit < story.commit => {
                assert_ne!(verified, "sound", "{context}");
                return "an earlier commit";
            }
            Ok(page) => {
                let info = page.works.first().unwrap_or_else(|| panic!("{context}: {id} is said not to be there"));
                assert_eq!(info.state, record.state(), "{context}: {id}");
                assert_eq!(info.output.is_some(), record.rows.output, "{context}: {id}");
            }
            Err(error) => {
                assert!(
                    matches!(error.kind(), StoreErrorKind::Corrupted | StoreErrorKind::Rejected),
                    "{context}: {error}"
                );
                harmless = false;
            }
        }
    }
    let mut succeeded: BTreeSet<WorkId> = story.dump.records.iter().filter_map(has_succeeded).collect();
    for ran in run_all(&store, story.now + 100_000) {
        let before = story.dump.records.get(&ran.id).unwrap_or_else(|| panic!("{context}: {} was not stored", ran.id));
        assert!(!before.state().is_finished(), "{context}: {} has {} and runs again", ran.id, before.state());
        let awaited = &story.dump.specs[&ran.id].prerequisites.ids;
        let is_over = |id: &&WorkId| succeeded.contains(id) || !story.dump.records.contains_key(id);
        assert!(awaited.iter().all(|id| is_over(&id)), "{context}: {} runs before what it waits for", ran.id);
        succeeded.insert(ran.id);
    }
    for (id, record) in story.dump.records.iter().filter(|(_, record)| record.state().is_finished()) {
        if let Ok(page) = page(&store, *id) {
            assert_eq!(page.works.first().map(|info| info.state), Some(record.state()), "{context}: {id}");
        }
    }
    // A page that nothing points at any more may hold what it likes.
    assert!(verified != "sound" || harmless, "{context}: an error, and verifying finds nothing");
    verified
}

#[test]
fn s10_no_damaged_page_changes_a_state_or_runs_what_has_ended_and_verifying_finds_each() {
    let seed = number("WORKMAN_SEED", 0x5eed_da4a);
    let cases = number("WORKMAN_DAMAGE", 250);
    let story = story(seed);
    let finished = story.dump.records.values().filter(|record| record.state().is_finished()).count();
    assert!(finished > 10 && finished + 10 < story.dump.records.len(), "{finished} of {}", story.dump.records.len());
    let mut random = Random::new(seed ^ 0xda4a);
    let mut outcomes = BTreeMap::<String, usize>::new();
    for case in 0..cases {
        let harm = HARMS[case as usize % HARMS.len()];
        let (bytes, what) = harmed(&story, harm, &mut random);
        if bytes == story.bytes {
            continue;
        }
        let outcome = judge(&story, bytes, &format!("{what}, case {case}, seed {seed:#x}"));
        *outcomes.entry(format!("{harm:?} {outcome}")).or_default() += 1;
    }
    println!("{outcomes:?}, seed {seed:#x}");
    assert!(outcomes.keys().any(|outcome| outcome.ends_with("found")), "{outcomes:?}");
}

#[test]
fn an_older_file_under_an_open_store_is_noticed_by_its_next_commit() {
    let disk = Disk::default();
    let store = builder(&disk).cache_bytes(0).open().unwrap();
    let mut workload = Workload::new(0x01d_f11e);
    let mut call =
        |store: &RedbStore| block_on(store.transact(workload.call())).map(|answers| workload.learn(&answers));
    (0..20).for_each(|_| call(&store).unwrap());
    drop(store);
    let early = disk.bytes();
    let store = builder(&disk).cache_bytes(0).open().unwrap();
    (0..40).for_each(|_| call(&store).unwrap());
    // The pages of the table `meta` are those that hold its key.
    let bytes = disk.bytes();
    let holds = |bytes: &[u8], page: usize| page_of(bytes, page).windows(12).any(|window| window == b"commitformat");
    let old = (1..early.len() / PAGE).find(|page| holds(&early, *page)).unwrap();
    let news: Vec<usize> = (1..bytes.len() / PAGE).filter(|page| holds(&bytes, *page)).collect();
    for page in news {
        disk.overwrite(page * PAGE, page_of(&early, old));
    }
    let error = call(&store).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupted, "{error}");
    assert!(call(&store).is_err(), "nothing is written any more");
}

/// Takes the first index entry of this kind away, or puts one in.
fn change_entries(folder: &Folder, change: impl FnOnce(&mut redb::Table<'_, &'static [u8; 33], &'static [u8; 4]>)) {
    let database = Database::open(folder.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&mut transaction.open_table(ENTRIES).unwrap());
    transaction.commit().unwrap();
}

const ENTRIES: TableDefinition<'_, &[u8; 33], &[u8; 4]> = TableDefinition::new("entry");

fn entries(folder: &Folder) -> Vec<([u8; 33], [u8; 4])> {
    let database = Database::open(folder.store()).unwrap();
    let table = database.begin_read().unwrap().open_table(ENTRIES).unwrap();
    table.iter().unwrap().map(|row| row.map(|(key, sum)| (*key.value(), *sum.value())).unwrap()).collect()
}

fn filled(folder: &Folder, seed: u64) -> (Dump, i64) {
    let store = RedbStore::builder(folder.store()).inline().open().unwrap();
    let mut workload = Workload::new(seed);
    let mut now = 0;
    for _ in 0..80 {
        let units = workload.call();
        now = now.max(units.iter().map(|unit| unit.at.wall.as_millis()).max().unwrap_or_default());
        workload.learn(&block_on(store.transact(units)).unwrap());
    }
    (dump(&store), now)
}

#[test]
fn a_sound_file_is_said_to_be_sound_and_is_left_as_it_is() {
    let folder = Folder::new("sound");
    let (before, _) = filled(&folder, 0x50d);
    let bytes = fs::read(folder.store()).unwrap();
    let report = RedbStore::verify(folder.store()).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.works(), report.entries()), (before.records.len() as u64, before.index.len() as u64));
    assert!(report.to_string().ends_with("all sound"), "{report}");
    assert_eq!(fs::read(folder.store()).unwrap(), bytes, "verifying writes nothing");
    for builder in [RedbStore::builder(folder.store()).inline(), RedbStore::builder(folder.store())] {
        let store = builder.open().unwrap();
        let report = block_on(store.verify_open()).unwrap();
        assert!(report.is_sound(), "{report}");
        assert!(matches!(RedbStore::verify(folder.store()), Err(error) if error.is_already_open()));
        assert!(matches!(RedbStore::repair(folder.store()), Err(error) if error.is_already_open()));
        assert!(run(&store, Command::Attach, 1_700_000_100_000).is_ok(), "it works on");
        block_on(store.close());
    }
    assert!(RedbStore::builder(folder.store()).verify_on_open(true).open().is_ok());
}

#[test]
fn a_file_whose_index_is_wrong_is_found_refused_and_repaired_and_no_record_is_lost() {
    let folder = Folder::new("repair");
    let (before, now) = filled(&folder, 0x4e9a);
    let stored = entries(&folder);
    // Every third entry goes.
    change_entries(&folder, |table| {
        for (key, _) in stored.iter().step_by(3) {
            table.remove(key).unwrap();
        }
    });
    let damaged = fs::read(folder.store()).unwrap();
    let report = RedbStore::verify(folder.store()).unwrap();
    assert!(report.total() >= stored.len().div_ceil(3) as u64, "{report}");
    let refused = RedbStore::builder(folder.store()).verify_on_open(true).open().unwrap_err();
    assert!(matches!(&refused, OpenError::Damaged { report: found, .. } if **found == report), "{refused}");
    assert_eq!(fs::read(folder.store()).unwrap(), damaged);
    let repaired = RedbStore::repair(folder.store()).unwrap();
    assert_eq!(repaired.added(), stored.len().div_ceil(3) as u64, "{repaired}");
    assert_eq!((repaired.dropped(), repaired.works()), (0, before.records.len() as u64), "{repaired}");
    assert!(repaired.after().is_sound(), "{repaired}");
    assert_eq!(fs::read(repaired.before()).unwrap(), damaged, "the old file is kept");
    let store = RedbStore::builder(folder.store()).inline().verify_on_open(true).open().unwrap();
    let after = dump(&store);
    assert_eq!((&after.records, &after.specs, &after.index), (&before.records, &before.specs, &before.index));
    run_all(&store, now + 100_000);
    assert_eq!(block_on(store.dump()).unwrap().broken_invariants(), Vec::<String>::new());
    drop(store);
    let again = RedbStore::repair(folder.store()).unwrap();
    assert_ne!(again.before(), repaired.before(), "no kept file is overwritten");
}

/// The keys of the rows that say how many works of a lane stand where.
fn tallies(folder: &Folder) -> Vec<Vec<u8>> {
    let database = Database::open(folder.store()).unwrap();
    let table = database.begin_read().unwrap().open_table(META).unwrap();
    let keys = table.iter().unwrap().map(|row| row.unwrap().0.value().to_vec());
    keys.filter(|key| key.starts_with(b"tally")).collect()
}

fn counts(store: &RedbStore) -> Result<Page, StoreError> {
    block_on(store.query(PageRequest { query: WorkQuery::all().tallied(), after: None, limit: 1 }))
}

/// One that is gone, one that can't be read, and one of a lane that there is not.
#[test]
fn wrong_counts_are_found_and_repaired_and_one_that_can_not_be_read_stops_no_work() {
    let folder = Folder::new("tally");
    let (before, now) = filled(&folder, 0x7a11);
    let keys = tallies(&folder);
    assert!(keys.len() >= 2 && keys.len() == before.tallies.len(), "{keys:?}");
    let change = |key: &[u8], row: Option<&[u8]>| {
        let database = Database::open(folder.store()).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(META).unwrap();
        match row {
            Some(row) => drop(table.insert(key, row).unwrap()),
            None => drop(table.remove(key).unwrap()),
        }
        drop(table);
        transaction.commit().unwrap();
    };
    change(&keys[0], None);
    assert_eq!(RedbStore::verify(folder.store()).unwrap().total(), 1);
    change(b"tally\xff\xff\xff\xff", Some(b"of no lane"));
    assert_eq!(RedbStore::verify(folder.store()).unwrap().total(), 2);
    for key in &keys[1..] {
        change(key, Some(b"no row"));
    }
    assert_eq!(RedbStore::verify(folder.store()).unwrap().total(), 2 + keys.len() as u64 - 1);

    let store = RedbStore::builder(folder.store()).inline().open().unwrap();
    assert_eq!(counts(&store).unwrap_err().kind(), StoreErrorKind::Corrupted, "what is not known is not counted");
    let ran = run_all(&store, now + 100_000);
    assert!(!ran.is_empty(), "the works of these lanes run");
    assert!(counts(&store).is_err());
    drop(store);

    let repaired = RedbStore::repair(folder.store()).unwrap();
    assert!(repaired.after().is_sound(), "{}", repaired.after());
    let store = RedbStore::builder(folder.store()).inline().open().unwrap();
    assert_eq!(dump(&store).broken_invariants(), Vec::<String>::new());
    let counted: u64 = counts(&store).unwrap().tallies.values().map(Tally::total).sum();
    assert_eq!(counted, before.records.len() as u64);
}

#[test]
fn a_repair_keeps_what_it_can_not_read_and_says_so() {
    const WORKS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("work");
    let folder = Folder::new("unreadable");
    let (before, _) = filled(&folder, 0x0bad);
    let first = before.records.keys().next().unwrap().as_u128().to_be_bytes();
    let database = Database::open(folder.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(WORKS).unwrap();
    let mut row = table.get(&first).unwrap().unwrap().value().to_vec();
    row[9] ^= 1;
    table.insert(&first, &*row).unwrap();
    drop(table);
    transaction.commit().unwrap();
    drop(database);
    let repaired = RedbStore::repair(folder.store()).unwrap();
    assert_eq!(repaired.works() + 1, before.records.len() as u64, "{repaired}");
    assert!(!repaired.unreadable().is_empty() && !repaired.after().is_sound(), "{repaired}");
    let store = RedbStore::builder(folder.store()).inline().open().unwrap();
    let request = |id| PageRequest { query: WorkQuery::id(id), after: None, limit: 1 };
    let mut ids = before.records.keys();
    let error = block_on(store.query(request(*ids.next().unwrap()))).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupted, "the row is there, and damaged as before");
    for id in ids {
        assert_eq!(block_on(store.query(request(*id))).unwrap().works.len(), 1);
    }
}

#[worker]
fn pay(amount: u64) -> u64 {
    amount
}

fn manager(folder: &Folder) -> Builder {
    let store = RedbStore::open_waiting(folder.store(), Duration::from_secs(60)).unwrap();
    WorkManager::builder(store).runtime(ThreadRuntime::new())
}

/// What a user sees of an entry that outlived its work.
#[test]
fn a_stale_entry_is_told_by_health_and_check_and_the_rest_goes_on() {
    let folder = Folder::new("told");
    let bare = manager(&folder).enqueue_only().start().unwrap();
    let paid = block_on(bare.enqueue(pay::request(7))).unwrap().id();
    block_on(bare.shutdown(Duration::ZERO));
    drop(bare);
    drop(RedbStore::open_waiting(folder.store(), Duration::from_secs(60)).unwrap());
    let (ready, sum) = entries(&folder).into_iter().find(|(key, _)| key[0] == 3).unwrap();
    let runs = |manager: &WorkManager| block_on(manager.info(paid)).unwrap().map(|info| (info.state, info.runs));
    let running = manager(&folder).start().unwrap();
    assert!(block_on(running.drain(Duration::from_secs(60))).unwrap().idle);
    assert_eq!(runs(&running), Some((WorkState::Succeeded, 1)));
    assert_eq!(running.health(), HealthStatus::Healthy);
    block_on(running.shutdown(Duration::ZERO));
    drop(running);
    drop(RedbStore::open_waiting(folder.store(), Duration::from_secs(60)).unwrap());
    change_entries(&folder, |table| drop(table.insert(&ready, &sum).unwrap()));
    assert_eq!(RedbStore::verify(folder.store()).unwrap().total(), 1);
    let again = manager(&folder).start().unwrap();
    let other = block_on(again.enqueue(pay::request(8))).unwrap();
    assert_eq!(block_on(other.output()).unwrap(), 8, "claims go on");
    drop(other);
    assert!(block_on(again.drain(Duration::from_secs(60))).unwrap().idle);
    assert_eq!(runs(&again), Some((WorkState::Succeeded, 1)));
    let findings = block_on(again.check()).unwrap();
    assert_eq!((findings.works.len(), findings.damage.len()), (0, 1), "{findings:?}");
    assert_eq!(findings.damage[0].id, paid);
    let HealthStatus::Degraded { error, failures: 1 } = again.health() else { panic!("{:?}", again.health()) };
    assert!(error.contains(&findings.damage[0].what), "{error}");
    block_on(again.shutdown(Duration::ZERO));
    drop(again);
    drop(RedbStore::open_waiting(folder.store(), Duration::from_secs(60)).unwrap());
    let report = RedbStore::verify(folder.store()).unwrap();
    assert!(report.is_sound(), "the entry is gone: {report}");
}

/// A refusal hits the call that needs what is missing, and none of those that share its commit.
#[test]
fn an_entry_that_is_missing_refuses_its_own_call_of_a_group_only() {
    let folder = Folder::new("group");
    let store = RedbStore::open(folder.store()).unwrap();
    let plain = support::workload::plain;
    let id = |number| WorkId::from_u128(number);
    for number in 1..=3 {
        run(&store, plain(id(number)), 1_000).unwrap().unwrap();
    }
    block_on(store.close());
    drop(store);
    // The label of the second: names and tags lie in a table of their own.
    const LABELS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("label");
    let database = Database::open(folder.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(LABELS).unwrap();
    let bits = id(2).as_u128().to_be_bytes();
    let labels = table.iter().unwrap().map(|row| row.unwrap().0.value().to_vec());
    let labels: Vec<Vec<u8>> = labels.filter(|key| key.windows(16).any(|window| window == bits)).collect();
    for label in &labels {
        table.remove(&**label).unwrap();
    }
    assert_eq!(labels.len(), 1);
    drop(table);
    transaction.commit().unwrap();
    drop(database);
    let store = RedbStore::open(folder.store()).unwrap();
    let update = |number| {
        let Command::Enqueue(enqueue) = plain(id(number)) else { unreachable!("it enqueues") };
        let mut work = enqueue.works[0].clone();
        std::sync::Arc::make_mut(&mut work.spec).worker = "other".into();
        at(Command::Update(Box::new(work)), 2_000)
    };
    let calls = [1, 2, 3].map(|number| store.transact(vec![update(number)]));
    let answers = block_on(futures::future::join_all(calls));
    let kinds: Vec<Option<StoreErrorKind>> =
        answers.iter().map(|answer| answer.as_ref().err().map(StoreError::kind)).collect();
    assert_eq!(kinds, [None, Some(StoreErrorKind::Corrupted), None]);
    let all = PageRequest { query: WorkQuery::tag("other"), after: None, limit: 9 };
    assert_eq!(block_on(store.query(all)).unwrap().works.len(), 2);
    let enqueued = PageRequest { query: WorkQuery::id(id(2)), after: None, limit: 1 };
    assert_eq!(block_on(store.query(enqueued)).unwrap().works[0].state, WorkState::Enqueued);
}

const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
const GATES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("gate");

/// Changes the rows of a table, as a program that is not ours might.
fn change_rows(
    folder: &Folder,
    table: TableDefinition<'_, &'static [u8], &'static [u8]>,
    change: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>),
) {
    let database = Database::open(folder.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&mut transaction.open_table(table).unwrap());
    transaction.commit().unwrap();
}

fn flip(table: &mut redb::Table<'_, &'static [u8], &'static [u8]>, key: &[u8]) {
    let mut row = table.get(key).unwrap().unwrap().value().to_vec();
    let middle = row.len() / 2;
    row[middle] ^= 1;
    table.insert(key, &*row).unwrap();
}

fn key_of(target: &GateTarget) -> [u8; 16] {
    target.id().0.to_be_bytes()
}

fn customer(number: u32) -> GateTarget {
    GateTarget::Key(format!("customer/{number}").into())
}

const NOW: i64 = 1_700_000_000_000;

fn gate(store: &RedbStore, command: GateCommand) {
    run(store, Command::Gate(Box::new(command)), NOW).unwrap().unwrap();
}

fn wanted(work: u128, customer_number: u32) -> Command {
    let spec = WorkSpec {
        limit_key: Some(format!("customer/{customer_number}").into()),
        serial: (work == 31).then(|| SerialLane { lane: "account".into(), on_failure: OnSerialFailure::Hold }),
        ..WorkSpec::new("sync", Payload::new(workman_core::store::Codec::JSON, *b"1"))
    };
    let terms = Terms { retention: Duration::from_secs(86_400), ..Terms::default() };
    let works = vec![NewWork::new(WorkId::from_u128(work), spec, terms)];
    Command::Enqueue(Enqueue { works, unique: None, offer: None })
}

/// A store in which two customers have three works each, one of which runs; one at a time, and no more than 100 an hour.
fn gated(folder: &Folder) -> (Dump, Vec<WorkRecord>) {
    let store = RedbStore::builder(folder.store()).inline().open().unwrap();
    let rate = Rate { count: 100, per: Duration::from_secs(3_600), burst: 50 };
    let limits = GateLimits { at_once: Some(1), rate: Some(rate), weight: None };
    gate(&store, GateCommand::Limit { target: GateTarget::Keys("customer/".into()), limits: Some(limits) });
    for work in 1..=3 {
        for customer in 1..=2 {
            run(&store, wanted(work * 10 + u128::from(customer), customer), NOW).unwrap().unwrap();
        }
    }
    let (_, works) = claim(&store);
    (dump(&store), works)
}

fn claim(store: &RedbStore) -> (u64, Vec<WorkRecord>) {
    let Applied::Attached { epoch, lanes, .. } = run(store, Command::Attach, NOW).unwrap().unwrap() else { panic!() };
    run(store, Command::Rescue, NOW).unwrap().unwrap();
    let claim = in_all_lanes(epoch, &lanes);
    let Applied::Claimed { works, .. } = run(store, Command::Claim(claim), NOW).unwrap().unwrap() else { panic!() };
    (epoch, works.into_iter().map(|claimed| claimed.record).collect())
}

fn succeed(store: &RedbStore, record: &WorkRecord) {
    let output = Payload::new(workman_core::store::Codec::JSON, *b"1");
    let settle = Settle { id: record.id, fence: record.fence, end: End::Succeeded { output } };
    run(store, Command::Settle(settle), NOW).unwrap().unwrap();
}

fn numbers(records: &[WorkRecord]) -> Vec<u128> {
    let mut numbers: Vec<u128> = records.iter().map(|record| record.id.as_u128()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_gate_that_can_not_be_read_holds_up_its_own_works_only_and_a_repair_counts_it_anew() {
    let folder = Folder::new("gate");
    let (before, running) = gated(&folder);
    assert_eq!(numbers(&running), [11, 12]);
    let broken = key_of(&customer(1));
    change_rows(&folder, GATES, |table| flip(table, &broken));
    let report = RedbStore::verify(folder.store()).unwrap();
    assert!(!report.is_sound() && report.to_string().contains("Gate"), "{report}");
    // What died runs again where its gate can be read; at the other one nothing begins, and new work lines up there.
    let store = RedbStore::builder(folder.store()).inline().open().unwrap();
    run(&store, wanted(41, 1), NOW).unwrap().unwrap();
    run(&store, wanted(42, 2), NOW).unwrap().unwrap();
    for number in [12, 22, 32, 42] {
        let (_, works) = claim(&store);
        assert_eq!(numbers(&works), [number]);
        succeed(&store, &works[0]);
    }
    let state = |number| page(&store, WorkId::from_u128(number)).unwrap().works[0].state;
    assert!([11, 21, 31, 41].iter().all(|number| state(*number) == WorkState::Enqueued));
    drop(store);
    let repaired = RedbStore::repair(folder.store()).unwrap();
    assert!(repaired.after().is_sound(), "{repaired}");
    assert!(repaired.unreadable().iter().any(|what| what.contains("counted anew")), "{repaired}");
    let store = RedbStore::builder(folder.store()).inline().verify_on_open(true).open().unwrap();
    assert_eq!(dump(&store).settings, before.settings, "what was wanted stays");
    let mut ran = Vec::new();
    for _ in 0..4 {
        while matches!(run(&store, Command::Drain, NOW).unwrap().unwrap(), Applied::Drained { again: true }) {}
        let (_, works) = claim(&store);
        assert_eq!(works.len(), 1, "one at a time");
        ran.extend(numbers(&works));
        succeed(&store, &works[0]);
        dump(&store);
    }
    ran.sort_unstable();
    assert_eq!(ran, [11, 21, 31, 41]);
}

#[test]
fn counts_and_entries_of_gates_that_are_wrong_are_found_and_a_repair_puts_them_right() {
    type Harm = fn(&Folder);
    let harms: [(&str, Harm); 3] = [
        ("a row is gone", |folder| {
            change_rows(folder, GATES, |table| drop(table.remove(key_of(&customer(2)).as_slice()).unwrap()));
        }),
        ("a row is older", |folder| {
            let row = |folder: &Folder| {
                let database = Database::open(folder.store()).unwrap();
                let table = database.begin_read().unwrap().open_table(GATES).unwrap();
                table.get(key_of(&customer(2)).as_slice()).unwrap().unwrap().value().to_vec()
            };
            let old = row(folder);
            let store = RedbStore::builder(folder.store()).inline().open().unwrap();
            run(&store, wanted(52, 2), NOW).unwrap().unwrap();
            drop(store);
            assert_ne!(old, row(folder));
            change_rows(folder, GATES, |table| drop(table.insert(key_of(&customer(2)).as_slice(), &*old).unwrap()));
        }),
        ("an entry that holds work is gone", |folder| {
            const LABELS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("label");
            change_rows(folder, LABELS, |table| {
                let keys: Vec<Vec<u8>> = table.iter().unwrap().map(|row| row.unwrap().0.value().to_vec()).collect();
                let held = keys.iter().find(|key| key[0] == 12).unwrap();
                table.remove(&**held).unwrap();
            });
        }),
    ];
    for (what, harm) in harms {
        let folder = Folder::new("miscounted");
        let (before, _) = gated(&folder);
        harm(&folder);
        let report = RedbStore::verify(folder.store()).unwrap();
        assert!(!report.is_sound(), "{what}");
        let repaired = RedbStore::repair(folder.store()).unwrap();
        assert!(repaired.after().is_sound(), "{what}: {repaired}");
        let store = RedbStore::builder(folder.store()).inline().open().unwrap();
        let after = dump(&store);
        assert_eq!(after.settings, before.settings, "{what}");
        assert_eq!(after.gates.len(), before.gates.len(), "{what}");
        let bucket = |dump: &Dump| dump.gates[&customer(1).id()].bucket;
        assert_eq!(bucket(&after), bucket(&before), "{what}: what is left of a rate is kept");
    }
}

#[test]
fn what_is_wanted_of_gates_and_can_not_be_read_lets_nothing_begin_and_is_none_after_a_repair() {
    type Harm = fn(&mut redb::Table<'_, &'static [u8], &'static [u8]>);
    let harms: [Harm; 2] = [|table| flip(table, b"gates"), |table| drop(table.remove(&b"gates"[..]).unwrap())];
    for harm in harms {
        let folder = Folder::new("settings");
        let (_, running) = gated(&folder);
        change_rows(&folder, META, harm);
        assert!(!RedbStore::verify(folder.store()).unwrap().is_sound());
        let store = RedbStore::builder(folder.store()).inline().open().unwrap();
        assert_eq!(claim(&store).1, Vec::new(), "what may not begin is not known");
        run(&store, wanted(61, 1), NOW).unwrap().unwrap();
        drop(store);
        let repaired = RedbStore::repair(folder.store()).unwrap();
        assert!(repaired.after().is_sound(), "{repaired}");
        assert!(repaired.unreadable().iter().any(|what| what.contains("limits and pauses are gone")), "{repaired}");
        let store = RedbStore::builder(folder.store()).inline().open().unwrap();
        assert!(dump(&store).settings.gates.is_empty());
        while matches!(run(&store, Command::Drain, NOW).unwrap().unwrap(), Applied::Drained { again: true }) {}
        assert!(claim(&store).1.len() > running.len(), "nothing is limited any more");
    }
}
