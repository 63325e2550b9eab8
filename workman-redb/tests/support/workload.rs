//! A seeded stream of commands that knows enough of the answers to go on sensibly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use workman_core::store::{
    Advice, Applied, Barred, Cancel, Claim, Claimed, Codec, Command, End, Endurance, Enqueue, FreeSlots, GateCommand,
    LaneId, NewWork, NextScheduleTime, Note, Notes, OpenLane, Prerequisites, Prune, Reading, Retention, SerialLane,
    Settle, Steering, Stride, SuspectsAllowed, Terms, Unique, UniquePolicy, Unit, UnitResult, Urgency, WorkSpec,
    WorkerKind,
};
use workman_core::{
    Backoff, Constraints, ErrorText, ExistingPeriodicWorkPolicy, ExistingWorkPolicy, GateLimits, GateTarget,
    InputShape, NetworkType, OnDeath, OnInterruption, OnPause, OnSerialFailure, OutOfQuotaPolicy, ParkReason, Payload,
    Rate, Schedule, StopReason, Timestamp, WorkId, WorkSelector,
};

use super::Random;

const WORKERS: [&str; 3] = ["mail/send", "photo", "sync"];
const TAGS: [&str; 3] = ["a", "b", "nightly"];
const KEYS: [&str; 3] = ["c/1", "c/2", "d/ü"];
const ACCOUNTS: [&str; 2] = ["a/1", "a/2"];
const NAMES: [&str; 3] = ["inbox", "backup", "ü"];

pub struct Workload {
    pub random: Random,
    ids: Vec<WorkId>,
    held: Vec<(WorkId, u64)>,
    epochs: Vec<u64>,
    /// Lanes that are known not to be ordinary.
    urgencies: BTreeMap<LaneId, Urgency>,
    next_id: u128,
    now: i64,
    /// By a clock that nobody sets.
    passed: Duration,
}

impl Workload {
    pub fn new(seed: u64) -> Self {
        Workload {
            random: Random::new(seed),
            ids: Vec::new(),
            held: Vec::new(),
            epochs: Vec::new(),
            urgencies: BTreeMap::new(),
            next_id: 1,
            now: 1_700_000_000_000,
            passed: Duration::ZERO,
        }
    }

    /// The store was opened anew: no manager is left.
    pub fn reopened(&mut self) {
        self.epochs.clear();
        self.held.clear();
    }

    /// The units of the next call.
    pub fn call(&mut self) -> Vec<Unit> {
        let units = 1 + self.random.below(3);
        (0..units).map(|_| self.unit()).collect()
    }

    /// Learns from the answers.
    pub fn learn(&mut self, results: &[UnitResult]) {
        for result in results.iter().flatten() {
            match result {
                Applied::Attached { epoch, lanes, .. } => {
                    self.epochs.push(*epoch);
                    self.urgencies.extend(lanes.iter().map(|lane| (lane.id, lane.urgency)));
                }
                Applied::Reclaimed { lanes, .. } => {
                    self.urgencies.extend(lanes.iter().map(|lane| (lane.id, lane.urgency)));
                }
                Applied::Claimed { works, .. } => self.held.extend(works.iter().map(held)),
                _ => {}
            }
        }
    }

    pub fn unit(&mut self) -> Unit {
        // Now and then the clock is set back, or leaps.
        let passed = self.random.below(500);
        self.passed += Duration::from_millis(passed as u64);
        self.now += match self.random.below(12) {
            0 => -60_000,
            1 => 40_000,
            _ => passed as i64,
        };
        let at = Reading { wall: Timestamp::from_millis(self.now), monotonic: self.passed };
        Unit { command: self.command(), at }
    }

    fn steer(&mut self) -> Command {
        let how = match self.random.below(4) {
            0 => Steering::RunNow,
            1 => Steering::At(Timestamp::from_millis(self.now + 60_000)),
            _ => Steering::Retry,
        };
        Command::Steer { id: self.some_id(), how }
    }

    fn command(&mut self) -> Command {
        let Some(epoch) = self.epochs.last().copied() else { return Command::Attach };
        match self.random.below(27) {
            23 | 24 => self.steer(),
            25 => self.gate(),
            26 => Command::Drain,
            20 | 21 => self.update(),
            22 => self.prune(),
            0..=5 => self.enqueue(),
            6..=9 => self.claim(epoch),
            10..=14 => self.settle(),
            15 => self.note(),
            16 => self.cancel(),
            17 => Command::Retry(self.some_id()),
            18 => match self.random.below(4) {
                0 => Command::Attach,
                1 => Command::Rescue,
                2 => Command::Reclaim { epoch, held: self.held.clone() },
                _ => Command::Detach { epoch: self.epochs.swap_remove(0) },
            },
            _ => self.claim(epoch),
        }
    }

    pub fn fresh_id(&mut self) -> WorkId {
        let id = WorkId::from_u128(self.next_id << 64 | u128::from(self.random.next() >> 2));
        self.next_id += 1;
        self.ids.push(id);
        id
    }

    fn some_id(&mut self) -> WorkId {
        if self.ids.is_empty() {
            return WorkId::from_u128(7);
        }
        let start = self.ids.len().saturating_sub(40);
        self.ids[start + self.random.below(self.ids.len() - start)]
    }

    fn text(&mut self, from: &[&str]) -> Arc<str> {
        from[self.random.below(from.len())].into()
    }

    fn payload(&mut self) -> Payload {
        let length = if self.random.one_in(30) { 9_000 } else { self.random.below(80) };
        Payload::new(Codec::JSON, vec![b'x'; length])
    }

    fn enqueue(&mut self) -> Command {
        match self.random.below(5) {
            0 | 1 => {
                let works = vec![self.work(Vec::new(), None, Schedule::Once)];
                Command::Enqueue(Enqueue { works, unique: None, offer: None })
            }
            2 => {
                let mut works: Vec<NewWork> = Vec::new();
                for _ in 0..2 + self.random.below(3) {
                    let mut before: Vec<WorkId> = works.iter().map(|work| work.id).collect();
                    if self.random.one_in(3) && !self.ids.is_empty() {
                        before.push(self.some_id());
                    }
                    before.sort_unstable();
                    before.dedup();
                    works.push(self.work(before, None, Schedule::Once));
                }
                Command::Enqueue(Enqueue { works, unique: None, offer: None })
            }
            3 => {
                use ExistingWorkPolicy::{Append, AppendOrReplace, Keep, Replace};
                let policy = [Keep, Replace, Append, AppendOrReplace][self.random.below(4)];
                self.unique(UniquePolicy::OneTime(policy), Schedule::Once)
            }
            _ => {
                use ExistingPeriodicWorkPolicy::{CancelAndReenqueue, Keep, Update};
                let policy = [Keep, Update, CancelAndReenqueue][self.random.below(3)];
                let interval = Duration::from_secs(1 + self.random.below(100) as u64);
                self.unique(UniquePolicy::Periodic(policy), Schedule::every(interval))
            }
        }
    }

    fn unique(&mut self, policy: UniquePolicy, schedule: Schedule) -> Command {
        let name = self.text(&NAMES);
        let next_schedule_time = match schedule {
            Schedule::Once => NextScheduleTime::Unchanged,
            _ => self.next_schedule_time(),
        };
        let work = self.work(Vec::new(), Some(Arc::clone(&name)), schedule);
        let works = vec![NewWork { next_schedule_time, ..work }];
        Command::Enqueue(Enqueue { works, unique: Some(Unique { name, policy }), offer: None })
    }

    /// What one of the last works is to become, of its own kind or not.
    fn update(&mut self) -> Command {
        let schedule = match self.random.below(4) {
            0 => Schedule::every(Duration::from_secs(1 + self.random.below(100) as u64)),
            _ => Schedule::Once,
        };
        let next_schedule_time = self.next_schedule_time();
        let id = self.some_id();
        let work = self.work(Vec::new(), None, schedule);
        self.ids.retain(|other| *other != work.id);
        Command::Update(Box::new(NewWork { id, next_schedule_time, ..work }))
    }

    fn next_schedule_time(&mut self) -> NextScheduleTime {
        let ahead = self.random.below(60_000) as i64;
        match self.random.below(4) {
            0 => NextScheduleTime::At(Timestamp::from_millis(self.now + ahead)),
            1 => NextScheduleTime::Cleared,
            _ => NextScheduleTime::Unchanged,
        }
    }

    fn prune(&mut self) -> Command {
        let keep = match self.random.below(3) {
            0 => Retention::Nothing,
            _ => Retention::Recent {
                age: Duration::from_secs(20),
                count: self.random.below(30),
                grace: Duration::from_secs(5),
            },
        };
        Command::Prune(Prune { keep, before: None, after: None, stride: Stride::Full })
    }

    fn work(&mut self, prerequisites: Vec<WorkId>, name: Option<Arc<str>>, schedule: Schedule) -> NewWork {
        let mut tags: Vec<Arc<str>> = (0..self.random.below(3)).map(|_| self.text(&TAGS)).collect();
        tags.sort();
        tags.dedup();
        let constraints = match self.random.below(3) {
            0 => Constraints::new().network(NetworkType::Unmetered),
            _ => Constraints::NONE,
        };
        let shape = if prerequisites.is_empty() { InputShape::Nothing } else { InputShape::List };
        let spec = WorkSpec {
            worker: self.text(&WORKERS),
            input: self.payload(),
            tags,
            name,
            constraints,
            prerequisites: Prerequisites { shape, ids: prerequisites },
            trace_tag: self.random.one_in(5).then(|| "spans".into()),
            traceparent: None,
            worker_version: 0,
            limit_key: self.random.one_in(3).then(|| self.text(&KEYS)),
            serial: (matches!(schedule, Schedule::Once) && self.random.one_in(6)).then(|| self.serial()),
        };
        let (id, terms) = (self.fresh_id(), self.terms(schedule));
        NewWork::new(id, spec, terms)
    }

    fn serial(&mut self) -> SerialLane {
        use OnSerialFailure::{End, Hold, Skip};
        SerialLane { lane: self.text(&ACCOUNTS), on_failure: [Hold, Skip, End][self.random.below(3)] }
    }

    /// What somebody wants of a gate.
    fn gate(&mut self) -> Command {
        let target = match self.random.below(8) {
            0 => GateTarget::Everything,
            1 => GateTarget::Worker(self.text(&WORKERS)),
            2 => GateTarget::Tag(self.text(&TAGS)),
            3 => GateTarget::Name(self.text(&NAMES)),
            4 => GateTarget::Serial(self.text(&ACCOUNTS)),
            5 => GateTarget::Keys(["", "c/"][self.random.below(2)].into()),
            _ => GateTarget::Key(self.text(&KEYS)),
        };
        let is_key = matches!(target, GateTarget::Key(_) | GateTarget::Keys(_));
        let (count, per) = (1 + self.random.below(3) as u32, Duration::from_millis(700));
        let limits = GateLimits {
            at_once: self.random.one_in(2).then_some(count),
            rate: self.random.one_in(3).then_some(Rate { count, per, burst: count }),
            weight: (is_key && self.random.one_in(2)).then_some(count),
        };
        Command::Gate(Box::new(match (self.random.below(4), &target) {
            (0, _) => GateCommand::Resume { target },
            (1, _) | (_, GateTarget::Serial(_)) => GateCommand::Pause {
                target,
                reason: self.random.one_in(2).then(|| "it moves".into()),
                // Somebody ends it, or time does.
                until: (!self.random.one_in(4)).then(|| Timestamp::from_millis(self.now + 3_000)),
                running: if self.random.one_in(3) { OnPause::Stop } else { OnPause::LetFinish },
            },
            _ => GateCommand::Limit { target, limits: (!self.random.one_in(4)).then_some(limits) },
        }))
    }

    fn terms(&mut self, schedule: Schedule) -> Terms {
        let delay = if self.random.one_in(3) { self.random.below(20_000) as u64 } else { 0 };
        Terms {
            priority: self.random.below(5) as i8 - 2,
            initial_delay: Duration::from_millis(delay),
            run_at: Timestamp::MIN,
            backoff: Backoff::exponential(Duration::from_millis(700)).jitter([0, 50][self.random.below(2)]),
            max_attempts: [None, Some(2), Some(20)][self.random.below(3)],
            timeout: self.random.one_in(5).then(|| Duration::from_secs(30)),
            on_interruption: [OnInterruption::RunAgain, OnInterruption::BackOff][self.random.below(2)],
            expedited: match (&schedule, self.random.below(10)) {
                (Schedule::Once, 0) => Some(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest),
                (Schedule::Once, 1) => Some(OutOfQuotaPolicy::DropWorkRequest),
                _ => None,
            },
            retention: Duration::from_secs(60),
            on_death: [OnDeath::Park, OnDeath::Fail][self.random.below(2)],
            expires_at: Timestamp::MAX,
            discards_output: self.random.one_in(4),
            schedule,
        }
    }

    fn claim(&mut self, epoch: u64) -> Command {
        let kind = |n: u32| if n.is_multiple_of(2) { WorkerKind::Async } else { WorkerKind::Blocking };
        let urgency = |lane| self.urgencies.get(&lane).copied().unwrap_or_default();
        let open = |n| OpenLane { lane: LaneId(n), kind: kind(n), urgency: urgency(LaneId(n)) };
        let lanes = (0..12).map(open).collect();
        Command::Claim(Claim {
            epoch,
            lanes,
            async_slots_free: FreeSlots { ordinary: self.random.below(4), reserved: self.random.below(2) },
            blocking_slots_free: self.random.below(4).into(),
            expedited_budget: Duration::from_secs(10),
            barred: Barred::default(),
            watched: Vec::new(),
            suspects: SuspectsAllowed::One,
        })
    }

    fn a_run(&mut self) -> (WorkId, u64) {
        if self.held.is_empty() || self.random.one_in(12) {
            return (self.some_id(), self.random.below(3) as u64);
        }
        let place = self.random.below(self.held.len());
        self.held[place]
    }

    fn settle(&mut self) -> Command {
        let (id, fence) = self.a_run();
        self.held.retain(|run| *run != (id, fence));
        let error =
            ErrorText { message: "no".into(), sources: vec!["because".into()], panicked: self.random.one_in(2) };
        let end = match self.random.below(10) {
            9 => End::TimedOut { limit: Duration::from_secs(30), advice: Advice::ByPolicy, error: None },
            0..=3 => End::Succeeded { output: self.payload() },
            4 => End::Failed { error, advice: Advice::ByPolicy },
            5 => End::Failed { error, advice: Advice::Never },
            6 => End::Snoozed { delay: Duration::from_millis(self.random.below(3000) as u64) },
            7 if fence % 2 == 0 => {
                End::HeldBack { reason: StopReason::ConstraintConnectivity, delay: Duration::from_millis(700) }
            }
            7 if self.random.one_in(3) => End::NotBegun,
            7 => End::Interrupted { reason: StopReason::ConstraintConnectivity },
            _ => End::Unrunnable { why: ParkReason::Undecodable { message: "argument `to` is missing".into() } },
        };
        Command::Settle(Settle { id, fence, end })
    }

    fn note(&mut self) -> Command {
        let (id, fence) = self.a_run();
        let mut some = || self.random.one_in(2).then(|| Payload::new(Codec::JSON, *b"{\"at\":1}"));
        let notes = Notes { progress: some(), checkpoint: some() };
        let endurance = if self.random.one_in(4) { Endurance::Proven } else { Endurance::Unproven };
        Command::Note(Note { id, fence, notes, endurance })
    }

    fn cancel(&mut self) -> Command {
        let selector = match self.random.below(8) {
            0 => WorkSelector::Tag(self.text(&TAGS)),
            1 => WorkSelector::Unique(self.text(&NAMES)),
            2 if self.random.one_in(6) => WorkSelector::All,
            _ => WorkSelector::Id(self.some_id()),
        };
        Command::Cancel(Cancel { selector, before: None, after: None, stride: Stride::Full, because: None })
    }
}

fn held(claimed: &Claimed) -> (WorkId, u64) {
    (claimed.record.id, claimed.record.fence)
}

/// A plain work, for tests that want nothing else.
pub fn plain(id: WorkId) -> Command {
    sized(id, 2)
}

/// A plain work with an input of this many bytes.
pub fn sized(id: WorkId, bytes: usize) -> Command {
    let spec = WorkSpec::new("sync", Payload::new(Codec::JSON, vec![b'1'; bytes]));
    let terms = Terms { retention: Duration::from_secs(86_400), ..Terms::default() };
    Command::Enqueue(Enqueue { works: vec![NewWork::new(id, spec, terms)], unique: None, offer: None })
}

/// A work with this many dependents, all of which it releases or takes with it.
pub fn fan(workload: &mut Workload, dependents: usize) -> Command {
    let first = workload.fresh_id();
    let mut works = vec![new_work(first, Vec::new())];
    works.extend((0..dependents).map(|_| new_work(workload.fresh_id(), vec![first])));
    Command::Enqueue(Enqueue { works, unique: None, offer: None })
}

fn new_work(id: WorkId, before: Vec<WorkId>) -> NewWork {
    let shape = if before.is_empty() { InputShape::Nothing } else { InputShape::List };
    let prerequisites = Prerequisites { shape, ids: before };
    let spec = WorkSpec { prerequisites, ..WorkSpec::new("sync", Payload::new(Codec::JSON, *b"{}")) };
    NewWork::new(id, spec, Terms::default())
}
