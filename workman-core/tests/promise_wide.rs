//! Wide commands: what touches very many works does so in bounded commits, and in few of them.
//!
//! Counted in calls and commits, never in time.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/stores.rs"]
mod stores;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::executor::block_on;
use stores::{CountingHome, Ears, Overheard};
use workman_core::store::{
    Applied, Barred, CASCADE_LIMIT, Cancel, Claim, Claimed, Codec, Command, Decision, End, Enqueue, NewWork, Noticed,
    OpenLane, PageRequest, Prerequisites, Prune, Reading, SHORT_STRIDE, Settle, Snapshot, Store, Stride,
    SuspectsAllowed, Terms, Unique, UniquePolicy, Unit, WorkSpec, WorkerKind, Write, load, plan, stored_meta,
};
use workman_core::{
    AttemptEnd, Backoff, ErrorText, ExistingPeriodicWorkPolicy, ExistingWorkPolicy, Outcome, Payload, Refusal,
    StopReason, ThreadRuntime, Timestamp, WorkContext, WorkError, WorkId, WorkInfo, WorkManager, WorkQuery,
    WorkSelector, WorkState, worker,
};
use workman_testing::{StoreHome, TestDriver};

// ---- a store, and commands straight to its planner ----

fn id(number: u128) -> WorkId {
    WorkId::from_u128(number)
}

/// The work of this number, after those.
fn work(number: u128, after: impl IntoIterator<Item = u128>) -> NewWork {
    let ids = after.into_iter().map(id).collect();
    let spec = WorkSpec {
        prerequisites: Prerequisites { ids, ..Prerequisites::default() },
        ..WorkSpec::new("worker", Payload::new(Codec::JSON, *b"{}"))
    };
    let terms = Terms { retention: Duration::from_secs(86_400), ..Terms::default() };
    NewWork::new(id(number), spec, terms)
}

const NOW: Reading = Reading { wall: Timestamp::from_millis(1_800_000_000_000), monotonic: Duration::ZERO };

/// A store without a manager.
struct Bare {
    home: CountingHome,
    store: Arc<dyn Store>,
}

impl Bare {
    fn new() -> Self {
        let home = CountingHome::default();
        Bare { store: home.open(), home }
    }

    fn send(&self, command: Command) -> Result<Applied, Refusal> {
        let unit = Unit { command, at: NOW };
        self.store.transact(vec![unit]).now_or_never().unwrap().unwrap().remove(0)
    }

    fn enqueue(&self, works: impl IntoIterator<Item = NewWork>) {
        let works = works.into_iter().collect();
        self.send(Command::Enqueue(Enqueue { works, unique: None, offer: None })).unwrap();
    }

    fn attach(&self) -> u64 {
        match self.send(Command::Attach).unwrap() {
            Applied::Attached { epoch, .. } => epoch,
            other => panic!("{other:?}"),
        }
    }

    /// Claims one work, and says whether there was something else to do first.
    fn claim(&self, epoch: u64) -> (Option<Claimed>, bool) {
        let urgency = workman_core::store::Urgency::Ordinary;
        let lanes = vec![OpenLane { lane: workman_core::store::LaneId(0), kind: WorkerKind::Async, urgency }];
        let suspects = SuspectsAllowed::One;
        let claim = Claim {
            epoch,
            lanes,
            async_slots_free: 1.into(),
            blocking_slots_free: 0.into(),
            expedited_budget: Duration::ZERO,
            barred: Barred::default(),
            watched: Vec::new(),
            suspects,
        };
        match self.send(Command::Claim(claim)).unwrap() {
            Applied::Claimed { works, again, .. } => (works.into_iter().next(), again),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&self, claimed: &Claimed, end: End) {
        let settle = Settle { id: claimed.record.id, fence: claimed.record.fence, end };
        self.send(Command::Settle(settle)).unwrap();
    }

    /// Cancels one work and answers how many were ended at once.
    fn cancel(&self, number: u128) -> usize {
        let cancel = Cancel {
            selector: WorkSelector::Id(id(number)),
            before: None,
            after: None,
            stride: Stride::Full,
            because: None,
        };
        match self.send(Command::Cancel(cancel)).unwrap() {
            Applied::Cancelled { count, .. } => count,
            other => panic!("{other:?}"),
        }
    }

    /// Cancels a tag and answers how many works that ended, and how many commands it took.
    fn cancel_all(&self, tag: &str) -> (usize, usize) {
        let (mut total, mut before, mut after) = (0, None, None);
        for commands in 1..100 {
            let cancel =
                Cancel { selector: WorkSelector::tag(tag), before, after, stride: Stride::Full, because: None };
            let answer = self.send(Command::Cancel(cancel)).unwrap();
            let Applied::Cancelled { count, before: bound, next } = answer else { panic!("{answer:?}") };
            total += count;
            if next.is_none() {
                return (total, commands);
            }
            (before, after) = (Some(bound), next);
        }
        panic!("never done")
    }

    /// Drains what is left over, and answers how many commands that took.
    fn drain(&self) -> usize {
        for count in 1..100 {
            match self.send(Command::Drain).unwrap() {
                Applied::Drained { again: false } => return count,
                Applied::Drained { again: true } => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("never done")
    }

    fn find(&self, query: WorkQuery) -> Vec<WorkInfo> {
        let page = self.store.query(PageRequest { query, after: None, limit: usize::MAX });
        page.now_or_never().unwrap().unwrap().works
    }

    fn count(&self, state: WorkState) -> usize {
        self.find(WorkQuery::in_state(state)).len()
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!(self.home.rows().rows.dump().broken_invariants(), Vec::<String>::new());
    }
}

// ---- how much one command costs ----

/// What a plan has cost, and what it would write.
#[derive(Debug)]
struct Cost {
    rounds: usize,
    scanned: usize,
    read: usize,
    writes: Vec<Write>,
}

impl Bare {
    /// Plans a command, twice each time, and counts what that takes; changes nothing.
    fn cost(&self, command: &Command) -> Cost {
        let rows = self.home.rows();
        let mut view = Snapshot { meta: stored_meta(&*rows).unwrap(), ..Snapshot::default() };
        rows.take_seen();
        let now = view.meta.latest;
        for rounds in 1..10 {
            let (step, again) = (plan(&view, command, now).unwrap(), plan(&view, command, now).unwrap());
            assert_eq!(format!("{step:?}"), format!("{again:?}"), "a planner answers the same again");
            match step {
                Decision::Load(scope) => load(&*rows, &scope, &mut view, &mut Noticed::default()).unwrap(),
                Decision::Done(plan) => {
                    let seen = rows.take_seen();
                    return Cost { rounds, scanned: seen.entries, read: seen.rows, writes: plan.writes };
                }
            }
        }
        panic!("never done")
    }
}

fn success() -> End {
    End::Succeeded { output: Payload::new(Codec::JSON, *b"null") }
}

fn failure() -> End {
    End::Failed { error: ErrorText::new("gone"), advice: workman_core::store::Advice::Never }
}

const LIMIT: u128 = CASCADE_LIMIT as u128;

// ---- draining ----

/// A process that only enqueues and cancels has no slots, and no manager that could claim.
#[test]
fn what_is_too_wide_for_one_commit_is_drained_without_a_manager() {
    let bare = Bare::new();
    bare.enqueue([work(1, [])]);
    bare.enqueue((2..LIMIT + 52).map(|number| work(number, [1])));
    assert_eq!(bare.cancel(1), CASCADE_LIMIT + 1);
    assert_eq!(bare.count(WorkState::Blocked), 50);
    assert_eq!(bare.drain(), 1);
    assert_eq!(bare.count(WorkState::Cancelled), CASCADE_LIMIT + 51);
    bare.check();
}

#[test]
fn a_wide_release_is_drained_without_a_free_slot() {
    let bare = Bare::new();
    let epoch = bare.attach();
    bare.enqueue([work(1, [])]);
    bare.enqueue((2..LIMIT + 52).map(|number| work(number, [1])));
    let (root, _) = bare.claim(epoch);
    bare.settle(&root.unwrap(), success());
    assert_eq!(bare.count(WorkState::Blocked), 50);
    assert_eq!(bare.drain(), 1);
    assert_eq!(bare.count(WorkState::Blocked), 0);
    let (next, again) = bare.claim(epoch);
    assert!(next.is_some() && !again, "nothing is left that would come before a claim");
    bare.check();
}

/// A claim drains too, and says that it has to be asked again.
#[test]
fn nothing_is_claimed_while_something_wide_is_unfinished() {
    let bare = Bare::new();
    let epoch = bare.attach();
    bare.enqueue([work(1, [])]);
    bare.enqueue((2..LIMIT + 52).map(|number| work(number, [1])));
    let (root, _) = bare.claim(epoch);
    bare.settle(&root.unwrap(), failure());
    bare.enqueue([work(LIMIT * 2, [])]);
    let (none, again) = bare.claim(epoch);
    assert!(none.is_none() && again);
    assert_eq!(bare.count(WorkState::Failed), CASCADE_LIMIT + 51);
    let (next, _) = bare.claim(epoch);
    assert_eq!(next.unwrap().record.id, id(LIMIT * 2));
    assert_eq!(bare.drain(), 1, "a drain with nothing to do is legal, and writes nothing");
    bare.check();
}

// ---- selections and names ----

fn cancel_tag(tag: &str) -> Command {
    Command::Cancel(Cancel {
        selector: WorkSelector::tag(tag),
        before: None,
        after: None,
        stride: Stride::Full,
        because: None,
    })
}

/// The plan begins anew with each round of loading, so a round for each work would be quadratic.
#[test]
fn a_selection_of_many_heads_is_loaded_in_a_few_rounds() {
    let bare = Bare::new();
    let tag = |mut work: NewWork| {
        Arc::make_mut(&mut work.spec).tags = vec!["t".into()];
        work
    };
    bare.enqueue((1..=900).map(|number| tag(work(number, []))));
    bare.enqueue((1..=900).map(|number| work(10_000 + number, [number])));
    let cost = bare.cost(&cancel_tag("t"));
    // Each of 900 labels and 900 edges, and the entry that its record asks for; each record, and its request.
    assert!(cost.rounds <= 4 && cost.scanned <= 4_000 && cost.read <= 4_000, "{} and {}", cost.scanned, cost.read);
    let done = bare.send(cancel_tag("t")).unwrap();
    assert!(matches!(done, Applied::Cancelled { count: 1_800, next: None, .. }), "{done:?}");
    assert_eq!(bare.count(WorkState::Cancelled), 1_800);
    bare.check();
}

/// A tag is on finished works too, and they stay for a day.
#[test]
fn a_selection_and_a_page_look_at_no_more_than_they_may_and_go_on() {
    let bare = Bare::new();
    let tag = |mut work: NewWork| {
        Arc::make_mut(&mut work.spec).tags = vec!["t".into()];
        work
    };
    bare.enqueue((1..=10_000).map(|number| tag(work(number, []))));
    assert_eq!(bare.cancel_all("t"), (10_000, 11), "so many in ten commits, and a last look");
    bare.enqueue([tag(work(10_001, []))]);
    let cost = bare.cost(&cancel_tag("t"));
    // Beside each label the entry that its record asks for, and beside each record its request.
    assert!(cost.scanned <= 9_000 && cost.read <= 9_000, "{} and {}", cost.scanned, cost.read);
    let query = WorkQuery::tag("t").state(WorkState::Enqueued);
    let (mut after, mut found, mut pages) = (None, Vec::new(), 0);
    loop {
        let request = PageRequest { query: query.clone(), after, limit: 10 };
        let page = bare.store.query(request).now_or_never().unwrap().unwrap();
        found.extend(page.works.iter().map(|work| work.id));
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (vec![id(10_001)], 3));
    assert_eq!(bare.cancel_all("t"), (1, 3));
}

/// Two layers, each work of the second behind each of the first, all under one name.
fn mesh(first: u128, side: u128) -> Vec<NewWork> {
    let top = (0..side).map(|at| work(first + at, []));
    let bottom = (0..side).map(|at| work(first + side + at, first..first + side));
    let named = |mut work: NewWork| {
        Arc::make_mut(&mut work.spec).name = Some("mesh".into());
        work
    };
    top.chain(bottom).map(named).collect()
}

#[test]
fn a_mesh_is_replaced_in_one_commit_and_each_edge_is_looked_at_once() {
    let bare = Bare::new();
    const SIDE: u128 = 100;
    let unique = Unique { name: "mesh".into(), policy: UniquePolicy::OneTime(ExistingWorkPolicy::Replace) };
    let enqueue =
        |first| Command::Enqueue(Enqueue { works: mesh(first, SIDE), unique: Some(unique.clone()), offer: None });
    bare.send(enqueue(1)).unwrap();
    bare.enqueue([work(5_000, [1, 2, 2 * SIDE]), work(5_001, [5_000])]);
    let cost = bare.cost(&enqueue(10_000));
    assert!(cost.rounds <= 4 && cost.scanned <= 11_000 && cost.read <= 2_000, "{cost:?}");
    bare.send(enqueue(10_000)).unwrap();
    assert_eq!(bare.find(WorkQuery::unique("mesh")).len(), 200, "the old ones are gone");
    bare.drain();
    let states = [5_000, 5_001].map(|number| bare.find(WorkQuery::id(id(number)))[0].state);
    assert_eq!(states, [WorkState::Cancelled; 2], "what waited for them from outside is cancelled with them");
    bare.check();
}

/// The edges of a deleted work go with it, so a work stays for as long as something is owed along them.
#[test]
fn a_name_that_is_replaced_leaves_nobody_waiting_for_the_rest_of_something_wide() {
    for end in [Some(success()), Some(failure()), None] {
        let bare = Bare::new();
        let epoch = bare.attach();
        let unique = Unique { name: "wide".into(), policy: UniquePolicy::OneTime(ExistingWorkPolicy::Replace) };
        let enqueue = |number| {
            let mut work = work(number, []);
            Arc::make_mut(&mut work.spec).name = Some("wide".into());
            Command::Enqueue(Enqueue { works: vec![work], unique: Some(unique.clone()), offer: None })
        };
        bare.send(enqueue(1)).unwrap();
        bare.enqueue((2..LIMIT + 52).map(|number| work(number, [1])));
        match end {
            Some(end) => bare.settle(&bare.claim(epoch).0.unwrap(), end),
            None => assert_eq!(bare.cancel(1), CASCADE_LIMIT + 1),
        }
        assert_eq!(bare.count(WorkState::Blocked), 50);
        bare.send(enqueue(1_000_000)).unwrap();
        assert_eq!(bare.drain(), 1);
        assert_eq!(bare.count(WorkState::Blocked), 0);
        bare.check();
    }
}

/// A program that enqueues a work whenever one is cancelled.
#[derive(Clone, Default)]
struct Breeds(Arc<AtomicU64>);

impl Ears for Breeds {
    fn units(&self, units: &mut Vec<Unit>) {
        let births = self.0.load(Ordering::SeqCst);
        let cancels = units.iter().any(|unit| matches!(unit.command, Command::Cancel(_)));
        if cancels && births < 50 {
            self.0.fetch_add(1, Ordering::SeqCst);
            let works = vec![work(u128::from(1_000 + births), [])];
            let at = units[0].at;
            units.push(Unit { command: Command::Enqueue(Enqueue { works, unique: None, offer: None }), at });
        }
    }
}

/// Else it would never end in a program that goes on enqueueing.
#[test]
fn cancelling_everything_means_the_works_there_were() {
    let breeds = Breeds::default();
    let store = Arc::new(Overheard::by(&breeds));
    let manager =
        WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new()).enqueue_only().start().unwrap();
    let works = (1..=3).map(|number| work(number, [])).collect();
    let enqueue = Command::Enqueue(Enqueue { works, unique: None, offer: None });
    let unit = Unit { command: enqueue, at: NOW };
    store.transact(vec![unit]).now_or_never().unwrap().unwrap().remove(0).unwrap();
    assert_eq!(block_on(manager.cancel(WorkSelector::All)).unwrap(), 3);
    let spared = block_on(manager.query(WorkQuery::in_state(WorkState::Enqueued))).unwrap();
    assert_eq!(spared.len() as u64, breeds.0.load(Ordering::SeqCst));
}

/// A program in which somebody writes while something long goes on, for the first so many of its commands.
#[derive(Clone)]
struct Busy {
    manager: Arc<OnceLock<WorkManager>>,
    /// How many commands somebody still writes beside.
    beside: Arc<AtomicU64>,
    strides: Arc<Mutex<Vec<Stride>>>,
}

impl Ears for Busy {
    fn units(&self, units: &mut Vec<Unit>) {
        let stride = match &units[0].command {
            Command::Cancel(Cancel { stride, .. }) | Command::Prune(Prune { stride, .. }) => *stride,
            _ => return,
        };
        self.strides.lock().unwrap().push(stride);
        let left = self.beside.load(Ordering::SeqCst);
        if left > 0 {
            self.beside.store(left - 1, Ordering::SeqCst);
            let manager = self.manager.get().unwrap();
            // Nothing has this id: what counts is that somebody asked.
            assert!(manager.retry(id(1 << 40)).now_or_never().unwrap().is_err());
        }
    }
}

#[test]
fn a_cancellation_and_a_pruning_of_very_many_take_short_commits_while_others_write() {
    let busy = Busy { manager: Arc::default(), beside: Arc::default(), strides: Arc::default() };
    let store = Arc::new(Overheard::by(&busy));
    let manager =
        WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new()).enqueue_only().start().unwrap();
    assert!(busy.manager.set(manager.clone()).is_ok());
    let enqueue = |works: std::ops::Range<u128>| {
        let works = works.map(|number| work(number, [])).collect();
        let unit = Unit { command: Command::Enqueue(Enqueue { works, unique: None, offer: None }), at: NOW };
        store.transact(vec![unit]).now_or_never().unwrap().unwrap().remove(0).unwrap();
    };
    let strides = || std::mem::take(&mut *busy.strides.lock().unwrap());
    let short = Stride::AtMost(SHORT_STRIDE);
    let longer = [2, 4, 8].map(|times| Stride::AtMost(times * SHORT_STRIDE));

    enqueue(1..2_001);
    assert_eq!(block_on(manager.cancel(WorkSelector::tag("worker"))).unwrap(), 2_000);
    assert!(strides().iter().all(|stride| *stride == Stride::Full), "nobody waits");
    assert_eq!(block_on(manager.prune()).unwrap(), 2_000);
    assert!(strides().iter().all(|stride| *stride == Stride::Full), "nobody waits");

    enqueue(3_001..5_501);
    busy.beside.store(2, Ordering::SeqCst);
    assert_eq!(block_on(manager.cancel(WorkSelector::tag("worker"))).unwrap(), 2_500);
    let expected: Vec<Stride> = [Stride::Full, short, short].into_iter().chain(longer).collect();
    assert_eq!(strides()[..6], expected, "somebody wrote beside the first two");
    busy.beside.store(2, Ordering::SeqCst);
    assert_eq!(block_on(manager.prune()).unwrap(), 2_500);
    assert_eq!(strides()[..6], expected, "somebody wrote beside the first two");
}

/// An enqueue that is sent again, since nobody knows whether it was written, reads what is stored in one go.
#[test]
fn an_enqueue_that_is_sent_again_is_compared_in_a_few_rounds() {
    let bare = Bare::new();
    let works: Vec<NewWork> = (1..=500).map(|number| work(number, [])).collect();
    bare.enqueue(works.clone());
    let cost = bare.cost(&Command::Enqueue(Enqueue { works, unique: None, offer: None }));
    assert!(cost.rounds <= 3, "{cost:?}");
}

// ---- what an update and a cancellation keep ----

#[worker]
async fn crawl(cx: &WorkContext) -> Result<(), WorkError> {
    cx.sleep(Duration::from_secs(3_600)).await?;
    Ok(())
}

const MINUTE: Duration = Duration::from_secs(60);

/// A program that says `Update` at every start and dies of a work must not run it at once each time.
#[test]
fn an_update_keeps_the_wait_of_a_suspect() {
    let test = TestDriver::new();
    let start = |test: &TestDriver| {
        let request = crawl::periodic(24 * 60 * MINUTE);
        test.enqueue_unique_periodic("crawl", ExistingPeriodicWorkPolicy::Update, request).id
    };
    let crawl = start(&test);
    test.run_until_idle();
    for _ in 0..3 {
        test.crash_and_restart();
        test.run_until_idle();
    }
    let (runs, due) = (test.info(crawl).runs, test.info(crawl).next_run.unwrap());
    assert_eq!(test.state_of(crawl), WorkState::Enqueued);
    assert_eq!(start(&test), crawl);
    test.run_until_idle();
    let info = test.info(crawl);
    assert_eq!((info.runs, info.next_run, info.generation), (runs, Some(due), 1));
    test.advance(5 * MINUTE);
    assert_eq!(test.info(crawl).runs, runs + 1, "its wait has an end");
}

#[test]
fn an_update_keeps_what_an_attempt_asked_for_and_recomputes_a_backoff() {
    let test = TestDriver::new();
    test.stub_outcomes::<crawl>([
        Outcome::Snooze(7 * MINUTE),
        Outcome::Failed(WorkError::retry_after(9 * MINUTE)),
        Outcome::Failed("offline".into()),
    ]);
    let update = |test: &TestDriver, backoff| {
        let request = crawl::periodic(24 * 60 * MINUTE).backoff(backoff);
        test.enqueue_unique_periodic("crawl", ExistingPeriodicWorkPolicy::Update, request).id
    };
    let wait = |test: &TestDriver, id| {
        let info = test.info(id);
        info.next_run.unwrap().since(info.attempts.last().unwrap().ended)
    };
    let crawl = update(&test, Backoff::default());
    test.run_until_idle();
    for expected in [7, 9] {
        assert_eq!(wait(&test, crawl), expected * MINUTE);
        update(&test, Backoff::linear(2 * MINUTE));
        assert_eq!(wait(&test, crawl), expected * MINUTE);
        test.advance(expected * MINUTE);
    }
    assert_eq!(wait(&test, crawl), 4 * MINUTE, "the second failed attempt");
    update(&test, Backoff::linear(3 * MINUTE));
    assert_eq!(wait(&test, crawl), 6 * MINUTE, "the backoff of the new terms, from the end of the attempt");
}

#[test]
fn a_run_that_was_cancelled_is_in_the_history() {
    let test = TestDriver::new();
    let crawl = test.enqueue(crawl::request());
    test.run_until_idle();
    assert_eq!(test.cancel(WorkSelector::id(crawl)), 1);
    test.run_until_idle();
    let info = test.info(crawl);
    let ends: Vec<&AttemptEnd> = info.attempts.iter().map(|attempt| &attempt.end).collect();
    assert_eq!(ends, [&AttemptEnd::Interrupted { reason: StopReason::CancelledByApp }]);
    assert_eq!((info.interruptions, info.stop_reason), (0, Some(StopReason::CancelledByApp)), "it was not given back");
}

/// What is written of a work that goes would lie around for ever, and belong to the next work of that id.
#[test]
fn a_run_that_was_replaced_leaves_nothing_behind() {
    let bare = Bare::new();
    let epoch = bare.attach();
    let unique = Unique { name: "one".into(), policy: UniquePolicy::OneTime(ExistingWorkPolicy::Replace) };
    let enqueue = |number| {
        let mut work = work(number, []);
        Arc::make_mut(&mut work.spec).name = Some("one".into());
        Command::Enqueue(Enqueue { works: vec![work], unique: Some(unique.clone()), offer: None })
    };
    bare.send(enqueue(1)).unwrap();
    assert!(bare.claim(epoch).0.is_some());
    let writes = bare.cost(&enqueue(2)).writes;
    assert!(writes.contains(&Write::Delete(id(1))), "{writes:?}");
    assert!(!writes.iter().any(|write| matches!(write, Write::Attempt { .. })), "{writes:?}");
}

/// Each of these has a history, and a round of loading for each would begin the plan anew as often.
#[test]
fn many_runs_with_a_history_are_cancelled_in_a_few_rounds() {
    let bare = Bare::new();
    let epoch = bare.attach();
    for number in 1..=30 {
        let mut work = work(number, []);
        Arc::make_mut(&mut work.spec).tags = vec!["t".into()];
        bare.enqueue([work]);
        let (run, _) = bare.claim(epoch);
        bare.settle(&run.unwrap(), End::Interrupted { reason: StopReason::Preempted });
    }
    for _ in 1..=30 {
        assert!(bare.claim(epoch).0.is_some());
    }
    let cost = bare.cost(&cancel_tag("t"));
    assert!(cost.rounds <= 3, "{}", cost.rounds);
    let histories = cost.writes.iter().filter(|write| matches!(write, Write::Attempt { .. }));
    assert_eq!(histories.count(), 30);
}

// ---- edges ----

#[test]
fn a_prerequisite_that_is_named_twice_is_waited_for_once() {
    let bare = Bare::new();
    let epoch = bare.attach();
    bare.enqueue([work(1, []), work(2, [1, 1])]);
    assert_eq!(bare.find(WorkQuery::id(id(2)))[0].open_prerequisites, 1);
    bare.check();
    let (first, _) = bare.claim(epoch);
    bare.settle(&first.unwrap(), success());
    assert_eq!(bare.claim(epoch).0.unwrap().record.id, id(2));
    bare.check();
}

// ---- cascades ----

/// Ten thousand works side by side and a join: what is left over is the join, and not a row for each way to it.
#[test]
fn a_fan_out_with_a_join_fails_in_two_commits() {
    let bare = Bare::new();
    let epoch = bare.attach();
    bare.enqueue([work(1, [])]);
    bare.enqueue((2..LIMIT + 2).map(|number| work(number, [1])));
    bare.enqueue([work(LIMIT + 2, 2..LIMIT + 2)]);
    let (root, _) = bare.claim(epoch);
    bare.settle(&root.unwrap(), failure());
    assert_eq!(bare.count(WorkState::Blocked), 1);
    assert_eq!(bare.drain(), 1);
    assert_eq!(bare.count(WorkState::Failed), CASCADE_LIMIT + 2);
    bare.check();
}

/// Each of ten thousand works has a chain behind it: the rest is ten thousand cascades, drained many at a time.
#[test]
fn many_cascades_are_drained_by_one_commit() {
    let bare = Bare::new();
    bare.enqueue([work(1, [])]);
    bare.enqueue((0..LIMIT).map(|at| work(10 + at, [1])));
    bare.enqueue((0..LIMIT).map(|at| work(10 + LIMIT + at, [10 + at])));
    bare.enqueue((0..LIMIT).map(|at| work(10 + 2 * LIMIT + at, [10 + LIMIT + at])));
    assert_eq!(bare.cancel(1), CASCADE_LIMIT + 1);
    assert!(bare.drain() <= 3);
    assert_eq!(bare.count(WorkState::Cancelled), 3 * CASCADE_LIMIT + 1);
    bare.check();
}

/// More edges than one commit follows, between few works: it goes on where it stopped.
#[test]
fn a_dense_mesh_ends_in_bounded_commits() {
    let bare = Bare::new();
    const SIDE: u128 = 420;
    bare.enqueue([work(1, [])]);
    bare.enqueue((0..SIDE).map(|at| work(10 + at, [1])));
    bare.enqueue((0..SIDE).map(|at| work(10 + SIDE + at, 10..10 + SIDE)));
    bare.enqueue([work(10 + 2 * SIDE, 10 + SIDE..10 + 2 * SIDE)]);
    let cost = bare.cost(&Command::Cancel(Cancel {
        selector: WorkSelector::Id(id(1)),
        before: None,
        after: None,
        stride: Stride::Full,
        because: None,
    }));
    assert!(cost.rounds <= 3 && cost.scanned <= 2 * CASCADE_LIMIT, "{cost:?}");
    bare.cancel(1);
    let edges = usize::try_from(SIDE * SIDE).unwrap();
    assert!(bare.drain() <= edges / CASCADE_LIMIT + 2);
    assert_eq!(bare.count(WorkState::Cancelled) as u128, 2 * SIDE + 2);
    bare.check();
}
