//! Power cuts, failing disks and flipped bits: what was acknowledged is there, and nothing is ever half there.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use support::disk::{Disk, Fault, Survivors};
use support::workload::{Workload, plain, sized};
use support::{Hands, Random, block_on, dump, number, run};
use workman_core::store::{
    Applied, Barred, Change, Claim, Command, Dump, Lane, OpenLane, PageRequest, Store, SuspectsAllowed, Unit,
    WorkerKind,
};
use workman_core::{MemoryStore, StoreErrorKind, WorkId, WorkQuery};
use workman_redb::{Durability, RedbBuilder, RedbStore};

/// A closed store, calls to make, and what must be stored after each of them.
struct Story {
    disk: Disk,
    calls: Vec<Vec<Unit>>,
    dumps: Vec<Arc<Dump>>,
}

fn builder(disk: &Disk) -> RedbBuilder {
    disk.inline()
}

fn story(seed: u64, before: usize, calls: usize) -> Story {
    let disk = Disk::default();
    let mut memory = MemoryStore::new();
    let store = builder(&disk).open().unwrap();
    let mut workload = Workload::new(seed);
    for _ in 0..before {
        let units = workload.call();
        block_on(store.transact(units.clone())).unwrap();
        workload.learn(&block_on(memory.transact(units)).unwrap());
    }
    drop(store);
    memory = memory.reopen();
    workload.reopened();
    let mut story = Story { disk, calls: Vec::new(), dumps: vec![Arc::new(memory.dump())] };
    for call in 0..calls {
        let units = match call % 3 {
            // As much is itself a checkpoint.
            1 => vec![Unit { command: sized(workload.fresh_id(), 20_000), ..workload.unit() }],
            _ => workload.call(),
        };
        workload.learn(&block_on(memory.transact(units.clone())).unwrap());
        story.calls.push(units);
        story.dumps.push(Arc::new(memory.dump()));
    }
    story
}

/// Claims the one work there is, and answers its fence.
fn claim(store: &RedbStore) -> u64 {
    let attached = run(store, Command::Attach, 1).unwrap().unwrap();
    let Applied::Attached { epoch, lanes, .. } = attached else { panic!("{attached:?}") };
    run(store, Command::Rescue, 1).unwrap().unwrap();
    let open = |lane: &Lane| OpenLane { lane: lane.id, kind: WorkerKind::Async, urgency: lane.urgency };
    let claim = Claim {
        epoch,
        lanes: lanes.iter().map(open).collect(),
        async_slots_free: 1.into(),
        blocking_slots_free: 0.into(),
        expedited_budget: Duration::ZERO,
        barred: Barred::default(),
        watched: Vec::new(),
        suspects: SuspectsAllowed::One,
    };
    let claimed = run(store, Command::Claim(claim), 1).unwrap().unwrap();
    let Applied::Claimed { works, .. } = claimed else { panic!("{claimed:?}") };
    works[0].record.fence
}

#[test]
fn a_relaxed_store_may_hand_out_a_fencing_token_twice_and_a_synced_one_does_not() {
    for (durability, expected) in [(Durability::Synced, [1, 2]), (Durability::RELAXED, [1, 1])] {
        let disk = Disk::default();
        let store = builder(&disk).open().unwrap();
        run(&store, plain(WorkId::from_u128(1)), 1).unwrap().unwrap();
        drop(store);
        let store = builder(&disk).durability(durability).clock(Arc::new(Hands::default())).open().unwrap();
        let first = claim(&store);
        let left = disk.after_power_loss(Survivors::Nothing, &mut Random::new(1));
        let second = claim(&builder(&left).open().unwrap());
        assert_eq!([first, second], expected, "{durability:?}");
    }
}

/// The same however often the store was opened: an opening that failed may count.
fn counted_once(dump: &Dump) -> Dump {
    let mut dump = dump.clone();
    dump.meta.epochs_of = u64::from(dump.meta.epochs_of == dump.meta.incarnation);
    dump.meta.incarnation = 0;
    dump
}

/// One fault at operation `k`; every call is sent until it happened, and each happens once.
fn survive(story: &Story, k: u64, fault: Fault) -> bool {
    let disk = story.disk.copy();
    disk.plan_fault(k, fault);
    let store = match builder(&disk).open() {
        Ok(store) => store,
        Err(_) => builder(&disk).open().unwrap(),
    };
    let mut changes = store.changes();
    for (number, units) in story.calls.iter().enumerate() {
        let Err(error) = block_on(store.transact(units.clone())) else { continue };
        let context = format!("{fault:?} at operation {k}, call {number}: {error}");
        let found = dump(&store);
        let found = counted_once(&found);
        let happened = found == counted_once(&story.dumps[number + 1]);
        assert!(happened || found == counted_once(&story.dumps[number]), "neither before nor after: {context}");
        let unchanged = story.dumps[number] == story.dumps[number + 1];
        let honest = match error.kind() {
            StoreErrorKind::Indeterminate => true,
            StoreErrorKind::Rejected => !happened || unchanged,
            StoreErrorKind::Corrupted => fault == Fault::Panic && (!happened || unchanged),
            _ => false,
        };
        assert!(honest, "{context}");
        if !happened || unchanged {
            block_on(store.transact(units.clone())).unwrap_or_else(|again| panic!("{again} after {context}"));
        }
    }
    let last = counted_once(story.dumps.last().unwrap());
    assert_eq!(counted_once(&dump(&store)), last, "{fault:?} at operation {k}");
    let mut number = None;
    while let Some(Some(change)) = changes.next().now_or_never() {
        let Change::Commit { commit, .. } = change else { panic!("{change:?}: nothing was lost") };
        assert!(number.is_none_or(|last| commit == last + 1), "{fault:?} at operation {k}: {commit} after {number:?}");
        number = Some(commit);
    }
    drop(store);
    let met = disk.take_fault().is_none();
    assert_eq!(counted_once(&dump(&builder(&disk).open().unwrap())), last);
    met
}

fn survive_everywhere(seed: u64, fault: Fault) {
    let story = story(seed, 12, 6);
    let faults = (0..).take_while(|k| survive(&story, *k, fault)).count();
    assert!(faults > 30, "only {faults} operations");
}

#[test]
fn s6_s7_one_failing_write_or_sync_is_told_honestly_and_the_next_call_works() {
    survive_everywhere(0xe10, Fault::Error(ErrorKind::Other));
}

#[test]
fn s6_a_failing_sync_that_throws_its_pages_away_is_told_honestly_too() {
    survive_everywhere(0xd309, Fault::DroppedPages);
}

#[test]
fn s8_a_full_disk_is_told_honestly_and_the_next_call_works_once_there_is_room() {
    survive_everywhere(0xf011, Fault::Error(ErrorKind::StorageFull));
}

#[test]
fn s15_a_panic_below_the_store_stays_below_it() {
    survive_everywhere(0x9a1c, Fault::Panic);
}

/// An error at operation `k`, and a loss of power some operations later, while the store opens itself again. Answers whether the
/// error was met.
fn survive_two(story: &Story, k: u64, fault: Fault, random: &mut Random) -> bool {
    let disk = story.disk.copy();
    disk.plan_fault(k, fault);
    let after = 1 + random.below(14) as u64;
    disk.plan_fault(k + after, Fault::PowerLoss);
    let Ok(store) = builder(&disk).open() else { return true };
    let acknowledged =
        story.calls.iter().take_while(|units| block_on(store.transact((*units).clone())).is_ok()).count();
    let survivors = Survivors::ALL[random.below(Survivors::ALL.len())];
    let left = disk.after_power_loss(survivors, random);
    // Only now: what a store does when it is dropped is not to be left.
    drop(store);
    let found = dump(&builder(&left).open().unwrap());
    let expected = &story.dumps[acknowledged..(acknowledged + 2).min(story.dumps.len())];
    let context =
        format!("{fault:?} at {k}, the power fails {after} later, {survivors:?} survives, seed {:#x}", random.seed);
    assert!(expected.iter().any(|dump| counted_once(dump) == counted_once(&found)), "{context}");
    disk.ops() > k
}

#[test]
fn s4_a_power_cut_at_any_step_of_a_reopening_loses_nothing() {
    let mut random = Random::new(0x4e09e4);
    for fault in [Fault::Error(ErrorKind::Other), Fault::DroppedPages, Fault::Error(ErrorKind::StorageFull)] {
        let story = story(0x5ec0 + random.below(9) as u64, 12, 6);
        for _ in 0..3 {
            let faults = (0..).take_while(|k| survive_two(&story, *k, fault, &mut random)).count();
            assert!(faults > 30, "only {faults} operations");
        }
    }
}

/// One read fails, of whatever asks next: an opening, a call, a look.
fn survive_failing_read(story: &Story, k: u64) -> bool {
    let disk = story.disk.copy();
    let open = || builder(&disk).cache_bytes(0).open();
    disk.plan_failing_read(k);
    let store = open().unwrap_or_else(|_| open().unwrap());
    for (number, units) in story.calls.iter().enumerate() {
        let context = format!("a failing read {k}, call {number}");
        assert_eq!(counted_once(&block_on(store.dump()).unwrap()), counted_once(&story.dumps[number]), "{context}");
        if let Err(error) = block_on(store.transact(units.clone())) {
            assert!(error.is_retryable(), "{error}, {context}");
            if counted_once(&block_on(store.dump()).unwrap()) == counted_once(&story.dumps[number]) {
                block_on(store.transact(units.clone())).unwrap();
            }
        }
    }
    let last = counted_once(story.dumps.last().unwrap());
    assert_eq!(counted_once(&dump(&store)), last, "a failing read {k}");
    disk.take_failing_read().is_none()
}

#[test]
fn s9_a_failing_read_costs_an_error_at_the_most_and_a_look_not_even_that() {
    let story = story(0x4ead, 12, 3);
    let faults = (0..).step_by(19).take_while(|k| survive_failing_read(&story, *k)).count();
    assert!(faults > 10, "only {faults} reads");
}

/// What is read is what was written, or an error.
fn flip(original: &Dump, bytes: &[u8], random: &mut Random) -> &'static str {
    let mut bytes = bytes.to_vec();
    // Most of a small file is empty; flips there prove nothing.
    let place = loop {
        let place = random.below(bytes.len());
        let page = place / 4096 * 4096;
        if bytes[page..(page + 4096).min(bytes.len())].iter().filter(|byte| **byte != 0).count() > 64 {
            break place;
        }
    };
    bytes[place] ^= 1 << random.below(8);
    let disk = Disk::of(bytes);
    let Ok(store) = builder(&disk).open() else { return "refused" };
    let Ok(found) = block_on(store.dump()) else { return "an error" };
    let context = format!("a flipped bit in byte {place}, seed {:#x}", random.seed);
    for (id, record) in &found.records {
        assert_eq!(original.records.get(id), Some(record), "{context}");
    }
    for (id, spec) in &found.specs {
        assert_eq!(original.specs.get(id), Some(spec), "{context}");
    }
    assert!(found.index.is_subset(&original.index), "{context}");
    assert!(found.lanes.iter().all(|lane| original.lanes.contains(lane)), "{context}");
    let page = PageRequest { query: WorkQuery::all(), after: None, limit: usize::MAX };
    let shown = block_on(store.query(page)).map_or(original.records.len(), |page| page.works.len());
    assert_eq!(shown, original.records.len(), "{context}: works are passed over without a word");
    if found == *original {
        return "no harm";
    }
    assert!(!found.broken_invariants().is_empty(), "{context}: works are missing, and nobody can tell");
    "missing"
}

#[test]
fn s10_a_flipped_bit_is_an_error_and_never_another_answer() {
    let story = story(0x00b1_7f11, 40, 0);
    let bytes = story.disk.bytes();
    let mut random = Random::new(number("WORKMAN_SEED", 0xf11b));
    let mut outcomes = std::collections::BTreeMap::<&str, usize>::new();
    for _ in 0..2_000 {
        *outcomes.entry(flip(&story.dumps[0], &bytes, &mut random)).or_default() += 1;
    }
    println!("{outcomes:?}, seed {:#x}", random.seed);
    assert!(outcomes.get("an error").is_some_and(|errors| *errors > 0), "{outcomes:?}");
}
