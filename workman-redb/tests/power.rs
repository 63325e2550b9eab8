//! The power fails at any operation on the store or its journal: what was acknowledged is there, and nothing is half there.
//!
//! `WORKMAN_CUTS=<scenarios>` makes more of them than the fifteen thousand of every day, `WORKMAN_SEED=<number>` other ones.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::disk::{Disk, Fault, Moment, Op, Survivors};
use support::workload::{Workload, fan, sized};
use support::{Hands, Random, block_on, number};
use workman_core::MemoryStore;
use workman_core::store::{Command, Dump, Prune, Retention, Store, Stride, Unit};
use workman_redb::Durability;

/// What was done to the disk from the opening of a store to its end, and what must be stored when.
struct Story {
    seed: u64,
    durability: Durability,
    begin: Moment,
    ops: Vec<(usize, Op)>,
    /// How many operations there were when each call was acknowledged.
    acknowledged: Vec<usize>,
    /// What is stored before the first call, and after each.
    dumps: Vec<Arc<Dump>>,
}

/// Calls of every kind: chains, unique names, claims, settles that release, a wide release or cancellation, a prune, and now and then
/// one that is large enough to be itself a checkpoint.
fn call(workload: &mut Workload, number: usize) -> Vec<Unit> {
    let command = match number % 10 {
        4 => sized(workload.fresh_id(), 20_000),
        6 if number < 20 => fan(workload, 40),
        7 => Command::Drain,
        9 => Command::Prune(Prune { keep: Retention::Nothing, before: None, after: None, stride: Stride::Full }),
        _ => return workload.call(),
    };
    vec![Unit { command, ..workload.unit() }]
}

fn story(seed: u64, durability: Durability) -> Story {
    let (disk, memory, mut workload) = (Disk::default(), MemoryStore::new(), Workload::new(seed));
    let store = disk.inline().open().unwrap();
    for number in 0..8 {
        let units = call(&mut workload, number);
        block_on(store.transact(units.clone())).unwrap();
        workload.learn(&block_on(memory.transact(units)).unwrap());
    }
    drop(store);
    let memory = memory.reopen();
    workload.reopened();
    let begin = disk.record();
    let (mut dumps, mut acknowledged) = (vec![Arc::new(memory.dump())], Vec::new());
    let store = disk.inline().durability(durability).clock(Arc::new(Hands::default())).open().unwrap();
    for number in 0..30 {
        let units = call(&mut workload, number);
        block_on(store.transact(units.clone())).unwrap();
        acknowledged.push(disk.recorded());
        workload.learn(&block_on(memory.transact(units)).unwrap());
        let dump = memory.dump();
        assert_eq!(dump.broken_invariants(), Vec::<String>::new());
        // Every other store is looked at now and then, which ends a transaction of redb; the others hold all commits in one.
        if seed % 2 == 1 && number % 4 == 1 {
            assert_eq!(block_on(store.dump()).unwrap(), dump);
        }
        dumps.push(Arc::new(dump));
    }
    drop(store);
    Story { seed, durability, begin, ops: disk.take_record(), acknowledged, dumps }
}

impl Story {
    /// Every operation with everything that may be left when the power fails there. Answers how many scenarios that were.
    fn cut_everywhere(&self, random: &mut Random) -> usize {
        let mut moment = self.begin.clone();
        let mut scenarios = 0;
        for (number, (which, op)) in self.ops.iter().enumerate() {
            for survivors in Survivors::ALL {
                self.cut(&moment, number, survivors, random);
                scenarios += 1;
            }
            moment.step(*which, op.clone());
        }
        scenarios
    }

    fn cut(&self, moment: &Moment, operation: usize, survivors: Survivors, random: &mut Random) {
        let mut left = moment.left(survivors, random);
        let mut second = None;
        if random.one_in(3) {
            let after = random.below(12) as u64;
            left.plan_fault(after, Fault::PowerLoss);
            drop(left.inline().open());
            left = left.after_power_loss(Survivors::ALL[random.below(7)], random);
            second = Some(after);
        }
        let context = || {
            format!(
                "power cut at operation {operation}, {survivors:?} survives, then at {second:?} of the opening; seed {:#x}, {:?}",
                self.seed, self.durability
            )
        };
        let store = left.inline().open().unwrap_or_else(|error| panic!("{error}: {}", context()));
        // What is expected keeps all invariants, and was looked at for that.
        let found = block_on(store.dump()).unwrap();
        let done = self.acknowledged.iter().filter(|ops| **ops <= operation).count();
        // What a process wrote is there when it alone dies, synced or not.
        let is_exact = self.durability == Durability::Synced || (survivors, second) == (Survivors::Everything, None);
        let expected = match is_exact {
            true => &self.dumps[done..(done + 2).min(self.dumps.len())],
            false => &self.dumps[..(done + 2).min(self.dumps.len())],
        };
        assert!(expected.iter().any(|dump| **dump == found), "{}", context());
        if random.one_in(50) {
            let report = block_on(store.verify_open()).unwrap();
            assert!(report.is_sound(), "{report}: {}", context());
        }
    }
}

fn cut_power(scenarios: usize, durability: Durability) {
    let seed = number("WORKMAN_SEED", 0x0050_7e55);
    let mut random = Random::new(seed ^ 0xdead_d15c);
    let (mut done, mut operations) = (0, 0);
    for story_number in 0.. {
        let story = story(seed.wrapping_add(story_number), durability);
        operations += story.ops.len();
        done += story.cut_everywhere(&mut random);
        if done >= scenarios {
            break;
        }
    }
    println!("{done} scenarios over {operations} operations, {durability:?}, seed {seed:#x}");
}

#[test]
fn s2_after_a_power_cut_at_any_operation_on_either_file_all_that_was_acknowledged_is_there() {
    cut_power(number("WORKMAN_CUTS", 13_000) as usize, Durability::Synced);
}

#[test]
fn a_relaxed_store_shows_an_earlier_commit_after_a_power_cut_and_the_last_one_after_a_kill() {
    // Each commit waits a little for its sync, and every other is late.
    cut_power(number("WORKMAN_CUTS", 13_000) as usize / 5, Durability::Relaxed { within: Duration::ZERO });
}
