//! Stores that break one sentence of the contract each, to show that the suite would notice.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, future};
use workman_core::store::{
    Applied, Change, ChangeFeed, Claimed, Command, Ownership, Page, PageRequest, Retention, Store, Unit, UnitResult,
};
use workman_core::{
    AttemptEnd, Enqueued, MemoryStore, Payload, StoreError, StoreErrorKind, Timestamp, UpdateResult, WorkId, WorkInfo,
    WorkQuery,
};

use super::{FaultInjected, StoreFactory, clauses};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    DropsLastUnit,
    SplitsCalls,
    ReversesUnits,
    FailsCallsWithRefusals,
    RejectsAfterWriting,
    WritesHalf,
    AnnouncesWithoutWriting,
    WithdrawsDroppedCalls,
    LosesCalls,
    TakesWallTime,
    ForgetsMonotonicTime,
    BelievesEveryWall,
    RepeatsNumbers,
    CountsRefusedUnits,
    RepeatsEpochs,
    ReversesClaims,
    OverfillsClaims,
    SaysDrained,
    ForgetsParked,
    KeepsOldTags,
    KeepsOldLeaves,
    KeepsDeleted,
    FlipsBytes,
    DropsSources,
    TouchesBystanders,
    ShowsOldWorks,
    LengthensPages,
    EndsAfterOnePage,
    NeverEnds,
    AnnouncesTwice,
    AnnouncesEarly,
    AnnouncesNoIds,
    AnnouncesNoHints,
    HidesLag,
    AnnouncesNothing,
    ReopensTheSameOpening,
    OpensTwice,
    ForgetsAtOpening,
    StaysOpen,
    KeepsStreamsOpen,
    SaysRejectedWhenClosed,
    IgnoresUrgency,
    PrunesTheYoung,
    PrunesOnePage,
    IgnoresUpdates,
    ForgetsGenerations,
    HidesLeftOut,
    SaysLaterCommits,
    IgnoresPruning,
    ForgetsTimeouts,
    ForgetsCancellations,
    ClaimsOnceMore,
    HidesOutputs,
    HidesAttempts,
    CountsOneMore,
    ForgetsDeletedCounts,
}

/// The fault, and the clause whose tests must find it.
const FAULTS: [(Fault, &str); 59] = [
    (Fault::DropsLastUnit, "c01"),
    (Fault::SplitsCalls, "c01"),
    (Fault::ForgetsAtOpening, "c02"),
    (Fault::ReversesUnits, "c03"),
    (Fault::FailsCallsWithRefusals, "c04"),
    (Fault::RejectsAfterWriting, "c05"),
    (Fault::WritesHalf, "c05"),
    (Fault::AnnouncesWithoutWriting, "c06"),
    (Fault::WithdrawsDroppedCalls, "c07"),
    (Fault::LosesCalls, "c08"),
    (Fault::TakesWallTime, "c09"),
    (Fault::ForgetsMonotonicTime, "c09_store_time_never_runs_backwards"),
    (Fault::BelievesEveryWall, "c09_a_reading"),
    (Fault::RepeatsNumbers, "c10"),
    (Fault::CountsRefusedUnits, "c10"),
    (Fault::RepeatsEpochs, "c10"),
    (Fault::ReversesUnits, "c11"),
    (Fault::ReversesClaims, "c12"),
    (Fault::OverfillsClaims, "c12"),
    (Fault::SaysDrained, "c12"),
    (Fault::ForgetsParked, "c13"),
    (Fault::KeepsOldTags, "c13"),
    (Fault::KeepsOldLeaves, "c13_the_members"),
    (Fault::KeepsDeleted, "c14"),
    (Fault::FlipsBytes, "c15"),
    (Fault::DropsSources, "c15"),
    (Fault::TouchesBystanders, "c15"),
    (Fault::ShowsOldWorks, "c16"),
    (Fault::LengthensPages, "c16"),
    (Fault::EndsAfterOnePage, "c16"),
    (Fault::NeverEnds, "c16"),
    (Fault::AnnouncesTwice, "c17"),
    (Fault::AnnouncesEarly, "c17"),
    (Fault::AnnouncesNoIds, "c17"),
    (Fault::AnnouncesNoHints, "c17"),
    (Fault::HidesLag, "c17"),
    (Fault::AnnouncesNothing, "c17"),
    (Fault::ReopensTheSameOpening, "c18"),
    (Fault::OpensTwice, "c18"),
    (Fault::ForgetsAtOpening, "c19"),
    (Fault::StaysOpen, "c20"),
    (Fault::KeepsStreamsOpen, "c20"),
    (Fault::SaysRejectedWhenClosed, "c20"),
    (Fault::IgnoresUrgency, "c10_expedited"),
    (Fault::PrunesTheYoung, "c12_finished"),
    (Fault::PrunesOnePage, "c12_finished"),
    (Fault::IgnoresUpdates, "c13_an_update_in_place"),
    (Fault::IgnoresPruning, "c14_pruned"),
    (Fault::ForgetsTimeouts, "c15_every_wish"),
    (Fault::ForgetsGenerations, "c15_attempts"),
    (Fault::HidesLeftOut, "c16_what_is_left_out"),
    (Fault::SaysLaterCommits, "c16_an_exclusive_store"),
    (Fault::ForgetsCancellations, "c16_a_page_says"),
    (Fault::ClaimsOnceMore, "c12"),
    (Fault::ClaimsOnceMore, "c13"),
    (Fault::HidesOutputs, "c15"),
    (Fault::HidesAttempts, "c15"),
    (Fault::CountsOneMore, "c16_counts"),
    (Fault::ForgetsDeletedCounts, "c16_kept_counts"),
];

struct Broken {
    inner: Arc<MemoryStore>,
    fault: Fault,
    feed: ChangeFeed,
    memory: Mutex<Memory>,
    queried: Condvar,
}

/// What a broken store remembers in order to lie.
struct Memory {
    changes: BoxStream<'static, Change>,
    fails_next: bool,
    gave_time: bool,
    calls: usize,
    refused: u64,
    settled: u32,
    queries: usize,
    walls: BTreeMap<WorkId, Timestamp>,
    tags: BTreeMap<Arc<str>, BTreeSet<WorkId>>,
    shown: BTreeMap<WorkId, WorkInfo>,
    before: BTreeSet<WorkId>,
    leaf: Option<WorkId>,
    claimed: Vec<Claimed>,
}

impl Broken {
    fn over(inner: Arc<MemoryStore>, fault: Fault) -> Self {
        let memory = Memory {
            changes: inner.changes(),
            fails_next: false,
            gave_time: false,
            calls: 0,
            refused: 0,
            settled: 0,
            queries: 0,
            walls: BTreeMap::new(),
            tags: BTreeMap::new(),
            shown: BTreeMap::new(),
            before: BTreeSet::new(),
            leaf: None,
            claimed: Vec::new(),
        };
        Broken { inner, fault, feed: ChangeFeed::new(), memory: Mutex::new(memory), queried: Condvar::new() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no test panics while it lies")
    }

    fn inner(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        self.inner.transact(units).now_or_never().expect("memory answers at once")
    }

    fn find(&self, query: WorkQuery) -> Vec<WorkInfo> {
        let request = PageRequest { query, after: None, limit: usize::MAX };
        let page = self.inner.query(request).now_or_never().expect("memory answers at once");
        page.map(|page| page.works).unwrap_or_default()
    }

    fn remember(&self, units: &[Unit]) {
        let before = self.find(WorkQuery::all());
        let mut memory = self.memory();
        memory.calls += 1;
        memory.before = before.iter().map(|work| work.id).collect();
        memory.shown.extend(before.into_iter().map(|work| (work.id, work)));
        for unit in units {
            if let Command::Settle(_) = unit.command {
                memory.settled += 1;
            }
            let Command::Enqueue(enqueue) = &unit.command else { continue };
            for work in &enqueue.works {
                memory.walls.insert(work.id, unit.at.wall);
                for tag in &work.spec.tags {
                    memory.tags.entry(Arc::clone(tag)).or_default().insert(work.id);
                }
            }
        }
    }

    fn run(&self, mut units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        match self.fault {
            Fault::DropsLastUnit if units.len() > 1 => {
                units.pop();
                let mut results = self.inner(units)?;
                results.extend(results.last().cloned());
                Ok(results)
            }
            Fault::SplitsCalls => units.into_iter().map(|unit| Ok(self.inner(vec![unit])?.remove(0))).collect(),
            Fault::ReversesUnits => {
                units.reverse();
                let mut results = self.inner(units)?;
                results.reverse();
                Ok(results)
            }
            Fault::FailsCallsWithRefusals => {
                let results = self.inner(units)?;
                let refused = results.iter().any(Result::is_err);
                if refused { Err(StoreError::new(StoreErrorKind::Rejected, "a unit was refused")) } else { Ok(results) }
            }
            Fault::LosesCalls if self.memory().calls.is_multiple_of(40) && only_enqueues(&units) => Ok(units
                .iter()
                .map(|_| Ok(Applied::Enqueued { how: Enqueued::Inserted, claimed: Vec::new() }))
                .collect()),
            Fault::ForgetsMonotonicTime => {
                units.iter_mut().for_each(|unit| unit.at.monotonic = Duration::ZERO);
                self.inner(units)
            }
            Fault::BelievesEveryWall => {
                for unit in units.iter_mut().filter(|unit| unit.at.wall == Timestamp::MAX) {
                    unit.at.wall = Timestamp::from_millis(253_402_300_000_000);
                }
                self.inner(units)
            }
            Fault::IgnoresUrgency => {
                for unit in &mut units {
                    if let Command::Enqueue(enqueue) = &mut unit.command {
                        enqueue.works.iter_mut().for_each(|work| work.terms.expedited = None);
                    }
                }
                self.inner(units)
            }
            Fault::PrunesTheYoung => {
                for unit in &mut units {
                    if let Command::Prune(prune) = &mut unit.command {
                        prune.keep = Retention::Nothing;
                    }
                }
                self.inner(units)
            }
            Fault::IgnoresUpdates if matches!(units[0].command, Command::Update(_)) => {
                Ok(vec![Ok(Applied::Updated(UpdateResult::AppliedImmediately))])
            }
            Fault::IgnoresPruning if matches!(units[0].command, Command::Prune(_)) => {
                Ok(vec![Ok(Applied::Pruned { count: 1, stored: 0, before: 0, next: None, next_due: None })])
            }
            Fault::OverfillsClaims => {
                for unit in &mut units {
                    if let Command::Claim(claim) = &mut unit.command {
                        claim.async_slots_free.ordinary += 1;
                    }
                }
                self.inner(units)
            }
            _ => self.inner(units),
        }
    }

    fn fail(&self, mut units: Vec<Unit>) -> StoreError {
        let kind = match self.fault {
            Fault::RejectsAfterWriting => StoreErrorKind::Rejected,
            Fault::WritesHalf => {
                units.truncate(1);
                StoreErrorKind::Indeterminate
            }
            _ => {
                units.clear();
                StoreErrorKind::Rejected
            }
        };
        self.inner(units).expect("memory takes everything");
        StoreError::new(kind, "as the test wished")
    }

    fn bend(&self, results: &mut [UnitResult]) {
        let mut memory = self.memory();
        for result in results {
            memory.refused += u64::from(result.is_err());
            match (self.fault, result) {
                (Fault::RepeatsNumbers, Ok(Applied::Claimed { works, .. })) => {
                    works.iter_mut().for_each(|claimed| claimed.record.seq = 7);
                }
                (Fault::ReversesClaims, Ok(Applied::Claimed { works, .. })) => works.reverse(),
                (Fault::SaysDrained, Ok(Applied::Claimed { works, drained, .. })) => {
                    drained.extend(works.iter().map(|Claimed { record, .. }| record.lane));
                }
                (Fault::CountsRefusedUnits, Ok(Applied::Cancelled { before, .. })) => *before += memory.refused,
                (Fault::ClaimsOnceMore, Ok(Applied::Claimed { works, .. })) => {
                    let again = std::mem::replace(&mut memory.claimed, works.clone());
                    works.extend(again);
                }
                (Fault::RepeatsEpochs, Ok(Applied::Attached { epoch, .. })) => *epoch = 0,
                (Fault::PrunesOnePage, Ok(Applied::Pruned { next, .. })) => *next = None,
                (Fault::KeepsOldLeaves, Ok(Applied::Enqueued { how: Enqueued::Appended(after), .. })) => {
                    let first = *memory.leaf.get_or_insert(after[0]);
                    after.extend(Some(first).filter(|first| *first != after[0]));
                }
                _ => {}
            }
        }
    }

    /// Passes on what the inner store announced, bent.
    fn announce(&self) {
        let mut memory = self.memory();
        while let Some(Some(change)) = memory.changes.next().now_or_never() {
            let Change::Commit { commit, mut now, mut touched, mut hints } = change else { continue };
            match self.fault {
                Fault::AnnouncesNothing => continue,
                Fault::AnnouncesNoIds => touched = Arc::from([]),
                Fault::AnnouncesNoHints => hints = Arc::from(Vec::new()),
                Fault::TakesWallTime => {
                    now = touched.iter().filter_map(|id| memory.walls.get(id)).max().copied().unwrap_or(now);
                }
                _ => {}
            }
            let change = Change::Commit { commit, now, touched, hints };
            self.feed.announce(&change);
            if self.fault == Fault::AnnouncesTwice {
                self.feed.announce(&change);
            }
        }
    }

    /// Announces what is still to come, and lets whoever listens look first.
    fn announce_early(&self, units: &[Unit]) {
        let ids = units.iter().flat_map(|unit| match &unit.command {
            Command::Enqueue(enqueue) => enqueue.works.iter().map(|work| work.id).collect(),
            _ => Vec::new(),
        });
        let touched: Arc<[WorkId]> = ids.collect();
        let request = PageRequest { query: WorkQuery::all(), after: None, limit: 1 };
        let page = self.inner.query(request).now_or_never().expect("memory answers at once");
        let commit = page.map_or(0, |page| page.commit) + 1;
        let hints = Arc::from(Vec::new());
        self.feed.announce(&Change::Commit { commit, now: Timestamp::default(), touched, hints });
        let mut memory = self.memory();
        if std::mem::replace(&mut memory.gave_time, true) {
            return;
        }
        let asked = memory.queries;
        let looked = self.queried.wait_timeout_while(memory, Duration::from_secs(1), |memory| memory.queries == asked);
        drop(looked);
    }

    fn bend_page(&self, request: &PageRequest, page: &mut Page) {
        let memory = self.memory();
        match self.fault {
            Fault::EndsAfterOnePage => page.next = None,
            Fault::SaysLaterCommits => page.commit += 1,
            Fault::ForgetsCancellations => page.last_cancel_all = None,
            Fault::ShowsOldWorks => page.works.retain(|work| memory.before.contains(&work.id)),
            Fault::ForgetsParked if request.query == WorkQuery::parked() => page.works.clear(),
            Fault::KeepsOldTags => {
                for (tag, ids) in &memory.tags {
                    if request.query == WorkQuery::tag(Arc::clone(tag)) {
                        let there: BTreeSet<WorkId> = page.works.iter().map(|work| work.id).collect();
                        let gone = ids.difference(&there).filter_map(|id| memory.shown.get(id));
                        page.works.extend(gone.cloned());
                    }
                }
            }
            Fault::CountsOneMore => page.counted += 1,
            Fault::ForgetsDeletedCounts => {
                let gone = memory.shown.keys().filter(|id| !memory.before.contains(id)).count();
                page.tallies.values_mut().for_each(|tally| tally.succeeded += gone as u64);
            }
            Fault::KeepsDeleted => {
                for (id, work) in &memory.shown {
                    if request.query == WorkQuery::id(*id) && page.works.is_empty() {
                        page.works.push(work.clone());
                    }
                }
            }
            _ => page.works.iter_mut().for_each(|work| bend_work(self.fault, &memory, work)),
        }
    }
}

fn only_enqueues(units: &[Unit]) -> bool {
    units.iter().all(|unit| matches!(&unit.command, Command::Enqueue(enqueue) if enqueue.unique.is_none()))
}

fn bend_work(fault: Fault, memory: &Memory, work: &mut WorkInfo) {
    match fault {
        Fault::FlipsBytes if work.input.len() > 1_000 => {
            let mut bytes = work.input.bytes().to_vec();
            bytes[777] ^= 1;
            work.input = Payload::new(work.input.codec(), bytes);
        }
        Fault::DropsSources => {
            for attempt in &mut work.attempts {
                if let AttemptEnd::Failed { error } = &mut attempt.end {
                    error.sources.clear();
                }
            }
        }
        Fault::ForgetsTimeouts => work.timeout = None,
        Fault::HidesLeftOut => work.output = work.output.take().filter(|output| !output.is_left_out()),
        Fault::ForgetsGenerations => {
            work.attempts.iter_mut().for_each(|attempt| attempt.generation = work.generation);
        }
        Fault::HidesOutputs => work.output = None,
        Fault::HidesAttempts => work.attempts.clear(),
        Fault::TouchesBystanders => work.interruptions += memory.settled,
        Fault::TakesWallTime => work.created = memory.walls.get(&work.id).copied().unwrap_or(work.created),
        _ => {}
    }
}

/// Pending once.
async fn give_way() {
    let mut gave_way = false;
    future::poll_fn(|cx| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl Store for Broken {
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        if self.fault == Fault::WithdrawsDroppedCalls {
            give_way().await;
        }
        if self.fault == Fault::AnnouncesEarly && only_enqueues(&units) {
            self.announce_early(&units);
        }
        self.remember(&units);
        if std::mem::take(&mut self.memory().fails_next) {
            return Err(self.fail(units));
        }
        let mut results = self.run(units).map_err(|error| match self.fault {
            Fault::SaysRejectedWhenClosed => StoreError::new(StoreErrorKind::Rejected, "closed, maybe"),
            _ => error,
        })?;
        self.bend(&mut results);
        self.announce();
        if self.fault == Fault::AnnouncesWithoutWriting && results.iter().all(Result::is_err) {
            let (touched, hints) = (Arc::from([]), Arc::from(Vec::new()));
            self.feed.announce(&Change::Commit { commit: 1, now: Timestamp::default(), touched, hints });
        }
        Ok(results)
    }

    async fn query(&self, mut request: PageRequest) -> Result<Page, StoreError> {
        let asked = request.clone();
        match self.fault {
            Fault::LengthensPages => request.limit = request.limit.saturating_add(1),
            Fault::NeverEnds => request.after = None,
            _ => {}
        }
        let mut page = self.inner.query(request).await?;
        self.bend_page(&asked, &mut page);
        self.memory().queries += 1;
        self.queried.notify_all();
        Ok(page)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let changes = self.feed.subscribe();
        match self.fault {
            Fault::HidesLag => changes.filter(|change| future::ready(!matches!(change, Change::Lagged))).boxed(),
            _ => changes,
        }
    }

    fn ownership(&self) -> Ownership {
        Ownership::Exclusive
    }

    async fn close(&self) {
        if self.fault != Fault::StaysOpen {
            self.inner.close().await;
            self.announce();
            if self.fault != Fault::KeepsStreamsOpen {
                self.feed.close();
            }
        }
    }
}

struct BrokenFactory {
    anchor: MemoryStore,
    last: Mutex<Option<Arc<MemoryStore>>>,
    fault: Fault,
}

impl BrokenFactory {
    fn with(fault: Fault) -> Self {
        BrokenFactory { anchor: MemoryStore::new(), last: Mutex::default(), fault }
    }
}

impl StoreFactory for BrokenFactory {
    type Store = Broken;

    fn new() -> Self {
        BrokenFactory::with(Fault::None)
    }

    fn open(&self) -> Broken {
        let mut last = self.last.lock().expect("no test panics here");
        let inner = match (self.fault, &*last) {
            (Fault::ReopensTheSameOpening, Some(last)) => Arc::clone(last),
            (Fault::ForgetsAtOpening, _) => Arc::new(MemoryStore::new()),
            _ => Arc::new(self.anchor.reopen()),
        };
        *last = Some(Arc::clone(&inner));
        Broken::over(inner, self.fault)
    }

    fn open_beside(&self, first: &Broken) -> Option<Broken> {
        (self.fault == Fault::OpensTwice).then(|| Broken::over(Arc::clone(&first.inner), Fault::None))
    }

    fn fail_next_commit(&self, store: &Broken) -> FaultInjected {
        store.memory().fails_next = true;
        FaultInjected::Yes
    }
}

/// The sentences that this store breaks, among those of the clauses that begin like this, one after the other.
fn broken_sentences(fault: Fault, clause: &'static str) -> impl Iterator<Item = &'static str> {
    let suite = clauses::<BrokenFactory>().into_iter().filter(move |sentence| sentence.name.starts_with(clause));
    let fails = move |check: fn(&BrokenFactory)| {
        let factory = BrokenFactory::with(fault);
        catch_unwind(AssertUnwindSafe(|| check(&factory))).is_err()
    };
    suite.filter(move |sentence| fails(sentence.check)).map(|sentence| sentence.name)
}

#[test]
fn every_fault_is_found_by_the_clause_that_it_breaks() {
    for (fault, clause) in FAULTS {
        let found = broken_sentences(fault, clause).next();
        assert!(found.is_some(), "{fault:?} keeps every sentence of {clause}");
    }
}

#[test]
fn a_sound_store_keeps_every_sentence() {
    assert_eq!(broken_sentences(Fault::None, "c").collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn every_clause_has_a_sentence_and_a_fault_that_it_finds() {
    for number in 1..=20 {
        let clause = format!("c{number:02}");
        assert!(clauses::<BrokenFactory>().iter().any(|sentence| sentence.name.starts_with(&clause)), "{clause}");
        assert!(FAULTS.iter().any(|(_, finds)| *finds == clause), "{clause}");
    }
}
