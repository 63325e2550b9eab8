//! The planner's rules, each test by the id of its rule.
//!
//! Every command goes through a [`House`], a store in a few maps: it plans twice and wants the same answer, applies it,
//! holds the invariants, and looks at every move.

mod cancel;
mod cascade;
mod claim;
mod damage;
mod enqueue;
mod expedited;
mod flapping;
mod gates;
mod invariants;
mod loading;
mod periodic;
mod prune;
mod random;
mod recover;
mod refusals;
mod settle;
mod steer;
mod superseded;
mod unique;
mod update;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{
    Advice, Applied, Barred, BarredName, Cancel, Claim, Claimed, Command, Decision, End, Endurance, Enqueue, Enqueued,
    Hint, NewWork, NextScheduleTime, Note, OpenLane, Plan, Refusal, Scope, Settle, Snapshot, Stride, SuspectsAllowed,
    Unique, UniquePolicy, UpdateResult, WorkerKind, plan,
};
use crate::data::{Codec, Payload};
use crate::id::WorkId;
use crate::index::IndexKey;
use crate::policy::{Backoff, ExistingPeriodicWorkPolicy, ExistingWorkPolicy, OnDeath, OutOfQuotaPolicy};
use crate::query::{PageRequest, WorkQuery, WorkSelector};
use crate::record::{ErrorText, LaneId, Notes, Schedule, Standing, Terms, Urgency, WorkRecord, WorkSpec};
use crate::state::{StopReason, WorkState};
use crate::store::{Change, StoreError, Unit, UnitResult};
use crate::store::{
    Dump, Noticed, Opening, Row, RowKey, RowMap, Rows, RowsMut, Transaction, dump, load, page, stored_meta,
};
use crate::time::{Due, NextDue, Reading, Timestamp};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// No plan asks more often than this, however much it moves: each time costs a round trip where the store is a server.
const MOST_ROUNDS: usize = 20;

/// A store, its clock, and a suspicious eye on every plan.
struct House {
    rows: RowMap,
    now: Timestamp,
    opening: Opening,
    commits: u64,
    /// What the last command hinted at.
    hints: Vec<Hint>,
    /// What a failure should say, a seed for instance.
    label: String,
    /// What was stored after the last command.
    seen: Dump,
    /// The moves that were made so far.
    moves: BTreeSet<(WorkState, WorkState)>,
}

impl House {
    fn new() -> Self {
        House {
            rows: RowMap::default(),
            now: Timestamp::from_millis(1_000_000),
            opening: Opening::new(1),
            commits: 0,
            hints: Vec::new(),
            label: String::new(),
            seen: Dump::default(),
            moves: BTreeSet::new(),
        }
    }

    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// Both hands of a clock that nobody sets.
    fn clock(&self) -> Reading {
        let monotonic = self.now.since(Timestamp::default());
        Reading { wall: self.now, monotonic }
    }

    /// The process dies, and the store is opened anew.
    fn die(&mut self) {
        self.opening = Opening::new(self.opening.incarnation() + 1);
    }

    /// What the planner decides about the command now.
    fn decide(&self, command: &Command) -> Result<Plan, Refusal> {
        self.think(command).0
    }

    /// How many records are loaded for the command.
    fn loaded(&self, command: &Command) -> usize {
        self.think(command).2.works.into_ordered().len()
    }

    /// What the planner asks for, round after round, before it decides about the command.
    fn scopes(&self, command: &Command) -> Vec<Scope> {
        self.think(command).1
    }

    fn think(&self, command: &Command) -> (Result<Plan, Refusal>, Vec<Scope>, Snapshot) {
        let stored = stored_meta(&self.rows).unwrap();
        let latest = stored.latest.max(self.now);
        let mut view = Snapshot {
            meta: crate::record::Meta { incarnation: self.opening.incarnation(), latest, ..stored },
            ..Snapshot::default()
        };
        let mut scopes = Vec::new();
        loop {
            match plan(&view, command, latest) {
                Ok(Decision::Done(plan)) => return (Ok(plan), scopes, view),
                Err(refusal) => return (Err(refusal), scopes, view),
                Ok(Decision::Load(scope)) => {
                    load(&self.rows, &scope, &mut view, &mut Noticed::default()).unwrap();
                    assert!(
                        scopes.len() < MOST_ROUNDS,
                        "{}: a plan for {command:?} still asks for {scope:?}",
                        self.label
                    );
                    scopes.push(scope);
                }
            }
        }
    }

    fn send(&mut self, command: &Command) -> UnitResult {
        let decided = self.decide(command);
        assert!(decided == self.decide(command), "{}: the same inputs gave two plans for {command:?}", self.label);
        let result = self.commit(command);
        match (&result, &decided) {
            (Ok(applied), Ok(plan)) => assert_eq!(*applied, plan.applied, "{}", self.label),
            (Err(refusal), Err(decided)) => assert_eq!(refusal, decided, "{}", self.label),
            _ => panic!("{}: the store did not do what was planned: {result:?}", self.label),
        }
        self.look(command);
        result
    }

    fn commit(&mut self, command: &Command) -> UnitResult {
        let unit = Unit { command: command.clone(), at: self.clock() };
        let mut transaction = Transaction::begin(&self.rows, &mut self.opening).unwrap();
        let result = transaction.run_unit(&mut self.rows, &unit).unwrap();
        let change = transaction.finish(&mut self.rows, self.commits + 1).unwrap();
        self.commits += u64::from(change.is_some());
        self.hints = match change {
            Some(Change::Commit { hints, .. }) => hints.to_vec(),
            _ => Vec::new(),
        };
        result
    }

    /// The invariants hold, and no work made an illegal move.
    fn look(&mut self, command: &Command) {
        let now = self.dump();
        let before = std::mem::replace(&mut self.seen, now.clone());
        let wrong = now.broken_invariants();
        assert!(wrong.is_empty(), "{}: after {command:?}:\n{}", self.label, wrong.join("\n"));
        let finished = now.records.values().filter(|record| record.counts_as_finished()).count() as u64;
        assert_eq!(now.meta.finished, finished, "{}: finished works are miscounted after {command:?}", self.label);
        for (id, record) in &now.records {
            let Some(before) = before.records.get(id).filter(|before| before.seq == record.seq) else { continue };
            let (from, to) = (before.state(), record.state());
            self.moves.extend((from != to).then_some((from, to)));
            assert!(from == to || from.may_become(to), "{}: {id} went from {from} to {to} by {command:?}", self.label);
            assert!(record.fence >= before.fence, "{}: the fence of {id} fell by {command:?}", self.label);
            let claims = record.fence - before.fence;
            assert!(claims == u64::from(to == WorkState::Running && claims > 0), "{}: {id}: {command:?}", self.label);
        }
    }

    fn dump(&self) -> Dump {
        dump(&self.rows).unwrap()
    }

    /// A command that must not be refused.
    fn done(&mut self, command: &Command) -> Applied {
        self.send(command).unwrap_or_else(|refusal| panic!("{}: {command:?} was refused: {refusal}", self.label))
    }

    fn refused(&mut self, command: &Command) -> Refusal {
        let before = self.dump();
        let refusal = self.send(command).expect_err("the command is to be refused");
        assert_eq!(self.dump(), before, "a refused command changed something");
        refusal
    }

    /// How many cascades wait to be drained.
    fn cascades(&self) -> usize {
        self.rows.keys().filter(|key| matches!(key, RowKey::Cascade(_))).count()
    }

    fn find(&self, number: u128) -> Option<WorkRecord> {
        match self.rows.get(RowKey::Record(id(number))).unwrap() {
            Some(Row::Record(record)) => Some(record),
            _ => None,
        }
    }

    fn record(&self, number: u128) -> WorkRecord {
        self.find(number).unwrap_or_else(|| panic!("work {number} is not stored"))
    }

    fn state(&self, number: u128) -> WorkState {
        self.record(number).state()
    }

    fn count(&self, state: WorkState) -> usize {
        self.rows.dump().records.values().filter(|record| record.state() == state).count()
    }

    fn states<const N: usize>(&self, numbers: [u128; N]) -> [WorkState; N] {
        numbers.map(|number| self.state(number))
    }

    /// What the work waits for, in the order of the declaration.
    fn prerequisites(&self, number: u128) -> Vec<u128> {
        match self.rows.get(RowKey::Spec(id(number))).unwrap() {
            Some(Row::Spec(_, spec)) => spec.prerequisites.ids.iter().map(|id| id.as_u128()).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Why the last run of the work was stopped, as everybody sees it.
    fn stop_reason(&self, number: u128) -> Option<StopReason> {
        let request = PageRequest { query: WorkQuery::ids([id(number)]), after: None, limit: 1 };
        page(&self.rows, &request, 1, &mut Vec::new()).unwrap().works[0].stop_reason
    }

    /// When the work may run; how long from now, in seconds.
    fn due_in(&self, number: u128) -> u64 {
        match self.record(number).standing {
            Standing::Waiting { due, .. } => {
                let offset = stored_meta(&self.rows).unwrap().clock_offset_ms;
                due.in_store_time(offset).since(self.now).as_secs()
            }
            Standing::Ready { .. } => 0,
            other => panic!("work {number} is {other:?}"),
        }
    }

    fn enqueue(&mut self, works: impl IntoIterator<Item = NewWork>) -> Enqueued {
        how(self.done(&enqueue(works)))
    }

    fn unique(&mut self, work: NewWork, policy: UniquePolicy) -> Enqueued {
        how(self.done(&unique(work, policy)))
    }

    fn attach(&mut self) -> u64 {
        match self.done(&Command::Attach) {
            Applied::Attached { epoch, .. } => epoch,
            other => panic!("{other:?}"),
        }
    }

    fn lanes(&self) -> Vec<OpenLane> {
        let lanes = self.dump().lanes;
        lanes.iter().map(|lane| OpenLane { lane: lane.id, kind: WorkerKind::Async, urgency: lane.urgency }).collect()
    }

    /// A claim in all lanes, for async workers.
    fn claim_all(&self, epoch: u64, room: usize) -> Claim {
        Claim {
            epoch,
            lanes: self.lanes(),
            async_slots_free: room.into(),
            blocking_slots_free: 0.into(),
            expedited_budget: 10 * MINUTE,
            barred: Barred::default(),
            watched: Vec::new(),
            suspects: SuspectsAllowed::One,
        }
    }

    fn claim(&mut self, epoch: u64, room: usize) -> Vec<Claimed> {
        let claim = self.claim_all(epoch, room);
        self.claim_with(claim).0
    }

    fn claim_with(&mut self, claim: Claim) -> (Vec<Claimed>, Vec<LaneId>, NextDue, bool) {
        match self.done(&Command::Claim(claim)) {
            Applied::Claimed { works, drained, next_due, again, .. } => (works, drained, next_due, again),
            other => panic!("{other:?}"),
        }
    }

    /// Claims this work, which must be the next in line.
    fn run(&mut self, epoch: u64, number: u128) -> Claimed {
        let mut works = self.claim(epoch, 1);
        assert_eq!(numbers(&works), [number], "{}", self.label);
        works.remove(0)
    }

    fn settle(&mut self, claimed: &Claimed, end: End) -> Applied {
        self.done(&settle(claimed, end))
    }

    fn cancel(&mut self, selector: WorkSelector) -> usize {
        match self.done(&cancel(selector)) {
            Applied::Cancelled { count, next: None, .. } => count,
            other => panic!("{other:?}"),
        }
    }

    fn update(&mut self, work: NewWork) -> UpdateResult {
        match self.done(&Command::Update(Box::new(work))) {
            Applied::Updated(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn rescue(&mut self) -> usize {
        match self.done(&Command::Rescue) {
            Applied::Released { count, again: false, .. } => count,
            other => panic!("{other:?}"),
        }
    }
}

fn how(applied: Applied) -> Enqueued {
    match applied {
        Applied::Enqueued { how, .. } => how,
        other => panic!("{other:?}"),
    }
}

fn id(number: u128) -> WorkId {
    WorkId::from_u128(number)
}

fn numbers(works: &[Claimed]) -> Vec<u128> {
    works.iter().map(|claimed| claimed.record.id.as_u128()).collect()
}

fn work(number: u128) -> NewWork {
    let spec = WorkSpec::new("worker", payload(&number.to_string()));
    let terms = Terms::default();
    NewWork::new(id(number), spec, terms)
}

/// A work in the making, one wish after the other.
trait Wishes: Sized {
    fn spec(self, change: impl FnOnce(&mut WorkSpec)) -> Self;
    fn terms(self, change: impl FnOnce(&mut Terms)) -> Self;
    fn wish(self, wish: NextScheduleTime) -> Self;

    fn worker(self, worker: &str) -> Self {
        self.spec(|spec| spec.worker = worker.into())
    }

    fn tag(self, tag: &str) -> Self {
        self.spec(|spec| spec.tags.push(tag.into()))
    }

    fn name(self, name: &str) -> Self {
        self.spec(|spec| spec.name = Some(name.into()))
    }

    fn after(self, numbers: impl IntoIterator<Item = u128>) -> Self {
        self.spec(|spec| spec.prerequisites.ids = numbers.into_iter().map(id).collect())
    }

    fn priority(self, priority: i8) -> Self {
        self.terms(|terms| terms.priority = priority)
    }

    fn delay(self, delay: Duration) -> Self {
        self.terms(|terms| terms.initial_delay = delay)
    }

    fn every(self, interval: Duration) -> Self {
        self.terms(|terms| terms.schedule = Schedule::every(interval))
    }

    fn expedited(self, policy: OutOfQuotaPolicy) -> Self {
        self.terms(|terms| terms.expedited = Some(policy))
    }

    /// The next run is due then, by the wall clock.
    fn at(self, wall: Timestamp) -> Self {
        self.wish(NextScheduleTime::At(wall))
    }

    fn backoff(self, backoff: Backoff) -> Self {
        self.terms(|terms| terms.backoff = backoff)
    }

    fn attempts(self, attempts: u32) -> Self {
        self.terms(|terms| terms.max_attempts = Some(attempts))
    }
}

impl Wishes for NewWork {
    fn spec(mut self, change: impl FnOnce(&mut WorkSpec)) -> Self {
        change(Arc::make_mut(&mut self.spec));
        self
    }

    fn terms(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(&mut self.terms);
        self
    }

    fn wish(self, next_schedule_time: NextScheduleTime) -> Self {
        NewWork { next_schedule_time, ..self }
    }
}

const KEEP: UniquePolicy = UniquePolicy::OneTime(ExistingWorkPolicy::Keep);
const REPLACE: UniquePolicy = UniquePolicy::OneTime(ExistingWorkPolicy::Replace);
const APPEND: UniquePolicy = UniquePolicy::OneTime(ExistingWorkPolicy::Append);
const APPEND_OR_REPLACE: UniquePolicy = UniquePolicy::OneTime(ExistingWorkPolicy::AppendOrReplace);
const UPDATE: UniquePolicy = UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Update);

fn enqueue(works: impl IntoIterator<Item = NewWork>) -> Command {
    Command::Enqueue(Enqueue { works: works.into_iter().collect(), unique: None, offer: None })
}

/// Enqueues one work under its name.
fn unique(work: NewWork, policy: UniquePolicy) -> Command {
    unique_all(vec![work], policy)
}

/// Enqueues works under the name of the first.
fn unique_all(works: Vec<NewWork>, policy: UniquePolicy) -> Command {
    let name = works[0].spec.name.clone().unwrap();
    Command::Enqueue(Enqueue { works, unique: Some(Unique { name, policy }), offer: None })
}

fn settle(claimed: &Claimed, end: End) -> Command {
    Command::Settle(Settle { id: claimed.record.id, fence: claimed.record.fence, end })
}

fn cancel(selector: WorkSelector) -> Command {
    Command::Cancel(Cancel { selector, before: None, after: None, stride: Stride::Full, because: None })
}

fn note(claimed: &Claimed, progress: Option<&str>, checkpoint: Option<&str>) -> Command {
    let notes = Notes { progress: progress.map(payload), checkpoint: checkpoint.map(payload) };
    let (id, fence) = (claimed.record.id, claimed.record.fence);
    Command::Note(Note { id, fence, notes, endurance: Endurance::Unproven })
}

fn payload(text: &str) -> Payload {
    Payload::new(Codec::JSON, text.as_bytes())
}

fn success() -> End {
    End::Succeeded { output: payload("null") }
}

fn failure(advice: Advice) -> End {
    End::Failed { error: ErrorText::new("no"), advice }
}

fn interrupted() -> End {
    End::Interrupted { reason: StopReason::Preempted }
}
