//! The bench on which a store is tested: a wall clock that the test moves, works to write, and eyes on what came of them.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::oneshot;
use futures::stream::BoxStream;
use workman_core::seams::block_on;
use workman_core::store::{
    Applied, Barred, Cancel, Change, Claim, Claimed, Command, End, Enqueue, Lane, NewWork, OpenLane, Ownership,
    PageRequest, Reading, Settle, Store, Stride, SuspectsAllowed, Terms, Unique, UniquePolicy, Unit, UnitResult,
    WorkSpec, WorkerKind,
};
use workman_core::{
    Enqueued, ErrorText, Payload, Refusal, Schedule, StoreError, Timestamp, WorkId, WorkInfo, WorkQuery, WorkSelector,
    WorkState,
};

use super::StoreFactory;

/// Ends a test whose store says nothing any more. No test waits for it as long as its store is sound; the tests of the
/// suite itself, whose stores are not, wait less.
const WATCHDOG: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });

/// Some morning in 2027.
const MORNING_MS: i64 = 1_800_000_000_000;

/// An open store, the wall clock of its program, and the verbs of a test.
pub(super) struct Bench<'a, F: StoreFactory> {
    pub(super) factory: &'a F,
    pub(super) store: F::Store,
    wall_ms: AtomicI64,
    /// Nobody sets it.
    monotonic_ms: AtomicU64,
}

impl<'a, F: StoreFactory> Bench<'a, F> {
    pub(super) fn open(factory: &'a F) -> Self {
        Bench { factory, store: factory.open(), wall_ms: AtomicI64::new(MORNING_MS), monotonic_ms: AtomicU64::new(0) }
    }

    /// Closes the store in order and opens it again.
    pub(super) fn reopen(self) -> Self {
        block_on(self.store.close());
        let Bench { factory, store, wall_ms, .. } = self;
        drop(store);
        // Another process, whose monotonic clock begins anew.
        Bench { factory, store: factory.open(), wall_ms, monotonic_ms: AtomicU64::new(0) }
    }

    /// Lets the process of the store die and opens it again.
    pub(super) fn die(self) -> Self {
        let Bench { factory, store, wall_ms, .. } = self;
        factory.kill(store);
        // Another process, whose monotonic clock begins anew.
        Bench { factory, store: factory.open(), wall_ms, monotonic_ms: AtomicU64::new(0) }
    }

    pub(super) fn is_exclusive(&self) -> bool {
        self.store.ownership() == Ownership::Exclusive
    }

    /// The wall clock.
    pub(super) fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.wall_ms.load(Ordering::SeqCst))
    }

    pub(super) fn set_wall(&self, wall: Timestamp) {
        self.wall_ms.store(wall.as_millis(), Ordering::SeqCst);
    }

    /// Lets time pass, by both hands.
    pub(super) fn advance(&self, by: Duration) {
        self.set_wall(self.wall() + by);
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(super) fn clock(&self) -> Reading {
        let monotonic = Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst));
        Reading { wall: self.wall(), monotonic }
    }

    pub(super) fn unit(&self, command: Command) -> Unit {
        Unit { command, at: self.clock() }
    }

    pub(super) fn try_transact(
        &self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<Vec<UnitResult>, StoreError> {
        let units = commands.into_iter().map(|command| self.unit(command)).collect();
        block_on(self.store.transact(units))
    }

    /// One call of `transact`, which must not fail.
    pub(super) fn transact(&self, commands: impl IntoIterator<Item = Command>) -> Vec<UnitResult> {
        let commands: Vec<Command> = commands.into_iter().collect();
        let count = commands.len();
        let results = self.try_transact(commands).unwrap_or_else(|error| panic!("a sound call failed: {error}"));
        assert_eq!(results.len(), count, "C3: `transact` answers each unit, in order");
        results
    }

    pub(super) fn send(&self, command: Command) -> UnitResult {
        self.transact([command]).remove(0)
    }

    /// A command that must not be refused.
    pub(super) fn done(&self, command: Command) -> Applied {
        let said = format!("{command:?}");
        self.send(command).unwrap_or_else(|refusal| panic!("{said} was refused: {refusal}"))
    }

    pub(super) fn enqueue(&self, works: impl IntoIterator<Item = NewWork>) {
        self.done(enqueue(works));
    }

    pub(super) fn attach(&self) -> (u64, Vec<Lane>) {
        match self.done(Command::Attach) {
            Applied::Attached { epoch, lanes, .. } => (epoch, lanes),
            other => wrong_answer(&other),
        }
    }

    /// Claims from every lane, until there is no room left or nothing to do.
    pub(super) fn claim(&self, epoch: u64, room: usize) -> Vec<Claimed> {
        let lanes = self.attached_lanes(epoch);
        let mut all = Vec::new();
        loop {
            let (works, again) = self.claim_in(epoch, &lanes, room - all.len());
            all.extend(works);
            if !again || all.len() >= room {
                return all;
            }
        }
    }

    /// Claims from these lanes, and answers whether there is more to do.
    pub(super) fn claim_in(&self, epoch: u64, lanes: &[Lane], room: usize) -> (Vec<Claimed>, bool) {
        match self.done(claim(epoch, lanes, room)) {
            Applied::Claimed { works, again, .. } => (works, again),
            other => wrong_answer(&other),
        }
    }

    /// All lanes, as an attached manager learns them when it asks anew. Nothing is given back, since all is held.
    pub(super) fn attached_lanes(&self, epoch: u64) -> Vec<Lane> {
        let held = self.all().into_iter().filter(|work| work.state == WorkState::Running);
        let held = held.map(|work| (work.id, work.runs)).collect();
        match self.done(Command::Reclaim { epoch, held }) {
            Applied::Reclaimed { lanes, .. } => lanes,
            other => wrong_answer(&other),
        }
    }

    /// Claims one work and nothing else.
    pub(super) fn claim_one(&self, epoch: u64) -> Claimed {
        let mut works = self.claim(epoch, 1);
        assert_eq!(works.len(), 1, "a work that is ready can be claimed");
        works.remove(0)
    }

    pub(super) fn settle(&self, claimed: &Claimed, end: End) -> UnitResult {
        self.send(settle(claimed, end))
    }

    /// The next sequence number, learned without writing anything.
    pub(super) fn next_seq(&self) -> u64 {
        match self.done(cancel(WorkSelector::Id(id(u128::MAX)))) {
            Applied::Cancelled { before, .. } => before,
            other => wrong_answer(&other),
        }
    }

    pub(super) fn page(&self, request: PageRequest) -> workman_core::store::Page {
        block_on(self.store.query(request)).unwrap_or_else(|error| panic!("a sound query failed: {error}"))
    }

    /// All works that match, in one page.
    pub(super) fn find(&self, query: WorkQuery) -> Vec<WorkInfo> {
        self.page(PageRequest { query, after: None, limit: usize::MAX }).works
    }

    /// How many works match, counted to the end.
    pub(super) fn count(&self, query: &WorkQuery) -> u64 {
        let (query, mut sum, mut after) = (query.clone().counted(), 0, None);
        loop {
            let page = self.page(PageRequest { query: query.clone(), after, limit: usize::MAX });
            assert!(page.works.is_empty(), "C16: what is counted is not shown");
            sum += page.counted;
            let Some(next) = page.next else { return sum };
            after = Some(next);
        }
    }

    pub(super) fn find_ids(&self, query: WorkQuery) -> Vec<WorkId> {
        let mut ids: Vec<WorkId> = self.find(query).into_iter().map(|work| work.id).collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn all(&self) -> Vec<WorkInfo> {
        let mut works = self.find(WorkQuery::all());
        works.sort_by_key(|work| work.id);
        works
    }

    pub(super) fn info(&self, id: WorkId) -> Option<WorkInfo> {
        let mut works = self.find(WorkQuery::id(id));
        assert!(works.len() <= 1, "C16: an id finds one work");
        works.pop()
    }

    pub(super) fn stored(&self, id: WorkId) -> WorkInfo {
        self.info(id).unwrap_or_else(|| panic!("work {id} was stored and is not found"))
    }

    pub(super) fn state(&self, id: WorkId) -> WorkState {
        self.stored(id).state
    }

    /// The number of the newest commit that a query shows.
    pub(super) fn commit(&self) -> u64 {
        self.page(PageRequest { query: WorkQuery::all(), after: None, limit: 1 }).commit
    }

    pub(super) fn watch(&self) -> Watch {
        Watch::over(self.store.changes())
    }

    /// Holds the invariants against everything that is stored, if the factory can show it.
    pub(super) fn check(&self) {
        if let Some(dump) = self.factory.dump(&self.store) {
            let wrong = dump.broken_invariants();
            assert!(wrong.is_empty(), "the invariants are broken:\n{}", wrong.join("\n"));
        }
    }
}

fn wrong_answer<T>(answer: &dyn Debug) -> T {
    panic!("a command got the answer of another: {answer:?}")
}

/// A change stream, read by a thread of its own so that a silent store ends in a message.
pub(super) struct Watch {
    changes: Receiver<Change>,
    _stop: oneshot::Sender<()>,
}

/// A commit as it was announced.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub(super) commit: u64,
    pub(super) now: Timestamp,
    pub(super) touched: Vec<WorkId>,
    pub(super) hints: Vec<workman_core::store::Hint>,
}

impl Watch {
    pub(super) fn over(stream: BoxStream<'static, Change>) -> Self {
        let (sender, changes) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::spawn(move || {
            let mut stream = stream.take_until(stopped);
            while let Some(change) = block_on(stream.next()) {
                if sender.send(change).is_err() {
                    return;
                }
            }
        });
        Watch { changes, _stop: stop }
    }

    /// The next change; `None` when the stream has ended.
    pub(super) fn next(&self) -> Option<Change> {
        match self.changes.recv_timeout(WATCHDOG) {
            Ok(change) => Some(change),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("C17: a commit was not announced, or a stream did not end"),
        }
    }

    /// The next commit.
    pub(super) fn commit(&self) -> Announced {
        match self.next() {
            Some(Change::Commit { commit, now, touched, hints }) => {
                Announced { commit, now, touched: touched.to_vec(), hints: hints.to_vec() }
            }
            Some(Change::Lagged) => panic!("C17: a subscriber that reads at once does not lag"),
            Some(Change::Damaged(damage)) => panic!("C12: nothing is damaged here: {damage}"),
            None => panic!("C17: the stream of an open store ended"),
        }
    }
}

pub(super) fn id(number: u128) -> WorkId {
    WorkId::from_u128(number)
}

/// The work of this number: due at once, by the worker "worker".
pub(super) fn work(number: u128) -> NewWork {
    let spec = WorkSpec::new("worker", payload(&format!("{{\"number\":{number}}}")));
    let terms = Terms { retention: Duration::from_secs(86_400), ..Terms::default() };
    NewWork::new(id(number), spec, terms)
}

pub(super) fn works(numbers: impl IntoIterator<Item = u128>) -> Vec<NewWork> {
    numbers.into_iter().map(work).collect()
}

/// A work in the making, one wish after the other.
pub(super) trait Wishes: Sized {
    fn spec(self, change: impl FnOnce(&mut WorkSpec)) -> Self;
    fn terms(self, change: impl FnOnce(&mut Terms)) -> Self;

    fn worker(self, worker: &str) -> Self {
        self.spec(|spec| spec.worker = worker.into())
    }

    fn tags<const N: usize>(self, tags: [&str; N]) -> Self {
        self.spec(|spec| spec.tags = tags.map(Into::into).to_vec())
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
}

pub(super) fn enqueue(works: impl IntoIterator<Item = NewWork>) -> Command {
    Command::Enqueue(Enqueue { works: works.into_iter().collect(), unique: None, offer: None })
}

/// Enqueues one work under the name that its spec says.
pub(super) fn enqueue_unique(work: NewWork, policy: UniquePolicy) -> Command {
    let name = work.spec.name.clone().expect("the test names the work");
    Command::Enqueue(Enqueue { works: vec![work], unique: Some(Unique { name, policy }), offer: None })
}

pub(super) fn claim(epoch: u64, lanes: &[Lane], room: usize) -> Command {
    let lanes =
        lanes.iter().map(|lane| OpenLane { lane: lane.id, kind: WorkerKind::Async, urgency: lane.urgency }).collect();
    Command::Claim(Claim {
        epoch,
        lanes,
        async_slots_free: room.into(),
        blocking_slots_free: 0.into(),
        expedited_budget: Duration::from_secs(600),
        barred: Barred::default(),
        watched: Vec::new(),
        suspects: SuspectsAllowed::One,
    })
}

pub(super) fn settle(claimed: &Claimed, end: End) -> Command {
    Command::Settle(Settle { id: claimed.record.id, fence: claimed.record.fence, end })
}

pub(super) fn cancel(selector: WorkSelector) -> Command {
    Command::Cancel(Cancel { selector, before: None, after: None, stride: Stride::Full, because: None })
}

pub(super) fn success(output: &str) -> End {
    End::Succeeded { output: payload(output) }
}

pub(super) fn failure(message: &str) -> End {
    End::Failed { error: ErrorText::new(message), advice: workman_core::store::Advice::ByPolicy }
}

pub(super) fn payload(text: &str) -> Payload {
    Payload::new(workman_core::store::Codec::JSON, text.as_bytes())
}

/// A settle that no store can know, so that it is refused.
pub(super) fn stale(number: u128) -> Command {
    Command::Settle(Settle { id: id(number), fence: u64::MAX, end: success("null") })
}

pub(super) fn assert_stale(result: &UnitResult, clause: &str) {
    assert!(matches!(result, Err(Refusal::Stale(_))), "{clause}: an unknown run is refused, not {result:?}");
}

/// How many works were given back, and whether there are more.
pub(super) fn given_back(released: &Applied) -> (usize, bool) {
    match released {
        Applied::Released { count, again, .. } => (*count, *again),
        other => panic!("{other:?}"),
    }
}

pub(super) fn enqueued(result: &UnitResult) -> &Enqueued {
    match result {
        Ok(Applied::Enqueued { how, .. }) => how,
        other => panic!("an enqueue was answered with {other:?}"),
    }
}
