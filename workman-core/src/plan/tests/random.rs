//! A seeded walk through all commands: the invariants hold after each, and every move is legal.

use super::super::{Prune, Retention, Steering, Stride};
use super::*;
use crate::policy::{OnInterruption, OutOfQuotaPolicy};
use crate::record::ParkReason;

const STEPS: usize = 3_000;

/// SplitMix64: the same seed walks the same way.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub(super) fn seconds(&mut self, most: u64) -> Duration {
        Duration::from_secs(self.roll(most))
    }
}

struct Walker {
    house: House,
    dice: Dice,
    epochs: Vec<u64>,
    /// Runs that are under way, and some that were fenced off.
    runs: Vec<Claimed>,
    last: u128,
}

impl Walker {
    fn new(seed: u64) -> Self {
        let mut house = House::new();
        house.label = format!("seed {seed}");
        Walker { house, dice: Dice(seed), epochs: Vec::new(), runs: Vec::new(), last: 0 }
    }

    fn fresh(&mut self) -> NewWork {
        self.last += 1;
        let backoff = Backoff::exponential(self.dice.seconds(100));
        let mut new = work(self.last)
            .priority(i8::try_from(self.dice.roll(3)).unwrap())
            .worker(["a", "b", "c"][usize::try_from(self.dice.roll(3)).unwrap()])
            .tag(["t", "u"][usize::try_from(self.dice.roll(2)).unwrap()])
            .attempts(u32::try_from(self.dice.roll(4)).unwrap() + 1)
            .terms(|terms| terms.backoff = backoff);
        if self.dice.roll(3) == 0 {
            new = new.delay(self.dice.seconds(600));
        }
        if self.dice.roll(8) == 0 {
            new = new.terms(|terms| terms.on_death = OnDeath::Fail);
        }
        if self.dice.roll(8) == 0 {
            new = new.terms(|terms| terms.on_interruption = OnInterruption::BackOff);
        }
        match self.dice.roll(8) {
            0 => new = new.expedited(OutOfQuotaPolicy::DropWorkRequest),
            1 => new = new.expedited(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest),
            _ => {}
        }
        new
    }

    fn name(&mut self) -> String {
        format!("n{}", self.dice.roll(6))
    }

    /// A few works, each behind some of those before it or some that are stored.
    fn chain(&mut self) -> Vec<NewWork> {
        let mut works: Vec<NewWork> = Vec::new();
        for _ in 0..=self.dice.roll(4) {
            let mut after = Vec::new();
            for _ in 0..self.dice.roll(3) {
                let back = u128::from(self.dice.roll(6)) + 1;
                after.push(self.last.saturating_sub(back).max(1));
            }
            let new = self.fresh();
            works.push(if self.last > 1 { new.after(after) } else { new });
        }
        works
    }

    fn enqueue(&mut self) {
        let (mut works, name) = (self.chain(), self.name());
        let policies = [KEEP, REPLACE, REPLACE, UPDATE, APPEND, APPEND_OR_REPLACE];
        let policy = policies[usize::try_from(self.dice.roll(6)).unwrap()];
        if policy == UPDATE {
            works.truncate(1);
            let interval = self.dice.seconds(1_000) + MINUTE;
            let wish = self.wish();
            let periodic =
                |work: NewWork| work.after([]).every(interval).terms(|terms| terms.expedited = None).wish(wish);
            works = works.into_iter().map(|work| periodic(work).name(&format!("p{name}"))).collect();
        } else {
            works = works.into_iter().map(|work| work.name(&name)).collect();
        }
        let unique = match (policy, self.dice.roll(8)) {
            (UPDATE, _) | (_, 1..) => Some(Unique { name: works[0].spec.name.clone().unwrap(), policy }),
            _ => None,
        };
        let offer = self.epochs.last().map(|epoch| super::super::Offer {
            epoch: *epoch,
            generation: 0,
            slots: usize::try_from(self.dice.roll(3)).unwrap(),
            ids: works.iter().map(|work| work.id).collect(),
            rivals: Vec::new(),
            lanes: 0,
        });
        let result = self.house.send(&Command::Enqueue(Enqueue { works, unique, offer }));
        if result.is_ok() {
            let hints = self.house.hints.clone();
            self.runs.extend(hints.into_iter().flat_map(|hint| match hint {
                Hint::Claimed { works, .. } => works,
                _ => Vec::new(),
            }));
        }
    }

    fn wish(&mut self) -> NextScheduleTime {
        match self.dice.roll(4) {
            0 => NextScheduleTime::At(self.house.now + self.dice.seconds(1_000)),
            1 => NextScheduleTime::Cleared,
            _ => NextScheduleTime::Unchanged,
        }
    }

    /// Changes one of the last works, to something of its own kind mostly.
    fn update(&mut self) {
        let number = u128::from(self.dice.roll(30)) + self.last.saturating_sub(25);
        let mut changed = NewWork { id: id(number), ..self.fresh() };
        let is_periodic = self.house.find(number).is_some_and(|record| record.period.is_some());
        if is_periodic != (self.dice.roll(9) == 0) {
            let (interval, wish) = (self.dice.seconds(1_000) + MINUTE, self.wish());
            changed = changed.every(interval).terms(|terms| terms.expedited = None).wish(wish);
        }
        let before = self.house.find(number);
        let Ok(Applied::Updated(result)) = self.house.send(&Command::Update(Box::new(changed))) else { return };
        let (before, after) = (before.unwrap(), self.house.record(number));
        assert_eq!(before.state(), after.state(), "{}: UPD-2", self.house.label);
        let applied = u32::from(result != UpdateResult::NotApplied);
        assert_eq!(after.generation, before.generation + applied, "{}", self.house.label);
    }

    fn prune(&mut self) {
        let keep = match self.dice.roll(3) {
            0 => Retention::Nothing,
            _ => Retention::Recent {
                age: self.dice.seconds(900),
                count: usize::try_from(self.dice.roll(40)).unwrap(),
                grace: self.dice.seconds(90),
            },
        };
        self.house.done(&Command::Prune(Prune { keep, before: None, after: None, stride: Stride::Full }));
    }

    fn claim(&mut self) {
        let Some(epoch) = self.epochs.last().copied() else { return };
        let room = usize::try_from(self.dice.roll(4)).unwrap();
        let mut claim = self.house.claim_all(epoch, room);
        claim.lanes.retain(|_| self.dice.roll(4) > 0);
        claim.async_slots_free.reserved = usize::try_from(self.dice.roll(2)).unwrap();
        claim.expedited_budget = self.dice.seconds(1_000);
        if self.dice.roll(3) == 0 {
            claim.suspects = SuspectsAllowed::None;
        }
        if let Ok(Applied::Claimed { works, .. }) = self.house.send(&Command::Claim(claim)) {
            self.runs.extend(works);
        }
    }

    fn end(&mut self) -> End {
        match self.dice.roll(10) {
            0..4 => success(),
            9 => End::TimedOut { limit: MINUTE, advice: Advice::ByPolicy, error: None },
            4 => failure(Advice::Never),
            5 => failure(Advice::After(self.dice.seconds(300))),
            6 => failure(Advice::ByPolicy),
            7 => [interrupted(), End::Snoozed { delay: MINUTE }][usize::try_from(self.dice.roll(2)).unwrap()].clone(),
            _ => End::Unrunnable { why: ParkReason::Undecodable { message: "what?".into() } },
        }
    }

    fn settle(&mut self) {
        if self.runs.is_empty() {
            return;
        }
        let place = usize::try_from(self.dice.roll(self.runs.len() as u64)).unwrap();
        let run = if self.dice.roll(5) == 0 { self.runs[place].clone() } else { self.runs.swap_remove(place) };
        let held = self.house.find(run.record.id.as_u128()).is_some_and(|now| now.is_held_under(run.record.fence));
        if self.dice.roll(3) == 0 {
            let said = self.house.send(&note(&run, Some("1"), (self.dice.roll(2) == 0).then_some("2")));
            assert_eq!(said.is_ok(), held, "{}: a note under an old fence", self.house.label);
        }
        let end = self.end();
        let settled = self.house.send(&settle(&run, end));
        assert_eq!(settled.is_ok(), held, "{}: a settle under an old fence", self.house.label);
    }

    fn cancel(&mut self) {
        let selector = match self.dice.roll(12) {
            0..9 => WorkSelector::Id(id(u128::from(self.dice.roll(30)) + self.last.saturating_sub(25))),
            9 | 10 => WorkSelector::unique(self.name()),
            _ => WorkSelector::tag("u"),
        };
        self.house.cancel(selector);
    }

    fn recover(&mut self) {
        match self.dice.roll(6) {
            0 | 1 => self.epochs.push(self.house.attach()),
            2 => {
                if let Some(epoch) = self.epochs.pop() {
                    self.house.done(&Command::Detach { epoch });
                }
            }
            3 => {
                self.house.die();
                self.epochs = vec![self.house.attach()];
            }
            4 => {
                if let Some(epoch) = self.epochs.last().copied() {
                    let held = self.runs.iter().skip(1).map(|run| (run.record.id, run.record.fence)).collect();
                    self.house.done(&Command::Reclaim { epoch, held });
                }
            }
            _ => drop(
                self.house.send(&Command::Retry(id(u128::from(self.dice.roll(30)) + self.last.saturating_sub(25)))),
            ),
        }
        self.house.rescue();
    }

    fn steer(&mut self) {
        let id = id(u128::from(self.dice.roll(30)) + self.last.saturating_sub(25));
        let how = match self.dice.roll(4) {
            0 => Steering::RunNow,
            1 => Steering::At(self.house.now + self.dice.seconds(200)),
            2 => Steering::Retry,
            // Of those that have failed any: few works have, and fewer have dependents.
            _ => return self.retry_failed(),
        };
        drop(self.house.send(&Command::Steer { id, how }));
    }

    fn retry_failed(&mut self) {
        let failed = |record: &&WorkRecord| record.state() == WorkState::Failed && record.rows.dependents;
        let failed: Vec<WorkId> = self.house.seen.records.values().filter(failed).map(|record| record.id).collect();
        if !failed.is_empty() {
            let id = failed[usize::try_from(self.dice.roll(failed.len() as u64)).unwrap()];
            drop(self.house.send(&Command::Steer { id, how: Steering::Retry }));
        }
    }

    fn step(&mut self) {
        match self.dice.roll(25) {
            22 | 23 => self.steer(),
            0..5 => self.enqueue(),
            5..11 => self.claim(),
            11..17 => self.settle(),
            17 => self.cancel(),
            18 => self.recover(),
            19 | 20 => self.update(),
            21 => self.prune(),
            _ => {
                let time = self.dice.seconds(200);
                self.house.advance(time);
            }
        }
    }
}

#[test]
fn g5_a_walk_through_all_commands_keeps_every_invariant_and_makes_each_legal_move_and_no_other() {
    let pairs = WorkState::ALL.into_iter().flat_map(|from| WorkState::ALL.map(|to| (from, to)));
    let legal: BTreeSet<(WorkState, WorkState)> = pairs.filter(|(from, to)| from.may_become(*to)).collect();
    let mut made = BTreeSet::new();
    for seed in 1..=4 {
        let mut walker = Walker::new(seed);
        let mut seen = BTreeSet::new();
        for _ in 0..STEPS {
            walker.step();
            seen.extend(walker.house.seen.records.values().map(WorkRecord::state));
        }
        assert_eq!(seen.len(), 6, "seed {seed}: the walk does not reach all states, only {seen:?}");
        made.append(&mut walker.house.moves);
    }
    assert_eq!(made, legal, "the seeds 1 to 4");
}
