//! What queries and watches show is one commit, whatever is written meanwhile, and a watch reads only what was touched.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use support::workload::{Workload, plain};
use support::{Folder, at, block_on, run};
use workman_core::store::{
    Change, Codec, Command, Enqueue, NewWork, Ownership, Page, PageRequest, Store, Terms, Unique, UniquePolicy, Unit,
    UnitResult, WorkSpec,
};
use workman_core::{
    Builder, ExistingWorkPolicy, MemoryStore, Payload, StoreError, ThreadRuntime, WorkId, WorkInfo, WorkManager,
    WorkQuery, WorkState,
};
use workman_redb::RedbStore;
use workman_testing::{StoreHome, TestDriver};

/// A store under which others write just before a page is read: the worst moment there is.
struct Busy {
    inner: Arc<dyn Store>,
    /// What others write, a call before each page.
    meanwhile: Mutex<VecDeque<Vec<Unit>>>,
    answers: Mutex<Vec<Vec<UnitResult>>>,
    /// What each query of the test shows after each commit, oldest first.
    history: Mutex<Vec<Vec<Vec<WorkInfo>>>>,
    queries: Vec<WorkQuery>,
}

impl Busy {
    fn new(inner: Arc<dyn Store>, queries: Vec<WorkQuery>) -> Arc<Self> {
        let busy =
            Busy { inner, meanwhile: Mutex::default(), answers: Mutex::default(), history: Mutex::default(), queries };
        busy.remember();
        Arc::new(busy)
    }

    /// All that matches now, in one page of the store's own.
    fn whole(&self, query: &WorkQuery) -> Vec<WorkInfo> {
        let query = query.clone().in_one_page();
        let page = self.inner.query(PageRequest { query, after: None, limit: usize::MAX });
        page.now_or_never().unwrap().unwrap().works
    }

    fn remember(&self) {
        let now = self.queries.iter().map(|query| self.whole(query)).collect();
        self.history.lock().unwrap().push(now);
    }

    fn write(&self, units: Vec<Unit>) {
        let answers = self.inner.transact(units).now_or_never().unwrap().unwrap();
        self.answers.lock().unwrap().push(answers);
        self.remember();
    }
}

#[async_trait]
impl Store for Busy {
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        let answers = self.inner.transact(units).await;
        self.remember();
        answers
    }

    async fn query(&self, request: PageRequest) -> Result<Page, StoreError> {
        let units = self.meanwhile.lock().unwrap().pop_front();
        units.into_iter().for_each(|units| self.write(units));
        self.inner.query(request).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        self.inner.changes()
    }

    fn ownership(&self) -> Ownership {
        self.inner.ownership()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct BusyHome(Arc<Busy>);

impl StoreHome for BusyHome {
    fn open(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }
}

fn on_both_stores(check: impl Fn(Arc<dyn Store>)) {
    check(Arc::new(MemoryStore::new()));
    let folder = Folder::new("watching");
    check(Arc::new(RedbStore::builder(folder.store()).inline().open().unwrap()));
}

fn queries() -> Vec<WorkQuery> {
    let some = (1..40).step_by(3).map(WorkId::from_u128);
    vec![
        WorkQuery::all(),
        WorkQuery::tag("a").tagged("nightly"),
        WorkQuery::tag("photo").tagged("b").state(WorkState::Enqueued).state(WorkState::Running),
        WorkQuery::unique("inbox").name("ü"),
        WorkQuery::unique("backup").without_payloads(),
        WorkQuery::in_state(WorkState::Blocked).state(WorkState::Succeeded),
        WorkQuery::in_state(WorkState::Enqueued).without_payloads(),
        WorkQuery::parked(),
        WorkQuery::ids(some),
        WorkQuery::ids([WorkId::from_u128(2)]),
        WorkQuery::ids([]),
    ]
}

/// Streams, and for each the place in the history of what it has shown last.
struct Watchers {
    streams: Vec<(BoxStream<'static, Vec<WorkInfo>>, usize)>,
    shown: usize,
}

impl Watchers {
    /// Takes what there is to see: each snapshot is that of a commit, and of no earlier one than the last.
    fn look(&mut self, test: &TestDriver, busy: &Busy, seed: u64) {
        test.run_until_idle();
        for (place, (stream, last)) in self.streams.iter_mut().enumerate() {
            while let Some(works) = stream.next().now_or_never() {
                let works = works.expect("the manager lives");
                let history = busy.history.lock().unwrap();
                let query = &busy.queries[place];
                let found = history[*last..].iter().position(|of| of[place] == works);
                let found = found.unwrap_or_else(|| {
                    panic!("seed {seed:#x}: {query:?} shows what no commit since the last look shows: {works:#?}")
                });
                *last += found;
                self.shown += 1;
            }
        }
    }
}

/// Random histories, of which parts are written between the looks and parts right before a page is read. Each snapshot is that of
/// a commit, in the order of a page that reads everything, and the last one is that of the last commit.
#[test]
fn a_watch_that_is_patched_shows_what_a_full_read_shows() {
    for seed in [1, 0x5eed, 0xfeed_beef] {
        on_both_stores(|store| {
            let busy = Busy::new(store, queries());
            let home = BusyHome(Arc::clone(&busy));
            let test = TestDriver::with_seed(seed).store(home).shape(Builder::enqueue_only);
            let manager = test.manager();
            let streams = busy.queries.iter().map(|query| (manager.watch(query.clone()), 0)).collect();
            let mut watchers = Watchers { streams, shown: 0 };
            let mut workload = Workload::new(seed);
            for _ in 0..60 {
                for _ in 0..workload.random.below(4) {
                    busy.write(workload.call());
                    busy.answers.lock().unwrap().drain(..).for_each(|answers| workload.learn(&answers));
                }
                let between: Vec<_> = (0..workload.random.below(3)).map(|_| workload.call()).collect();
                busy.meanwhile.lock().unwrap().extend(between);
                watchers.look(&test, &busy, seed);
                busy.answers.lock().unwrap().drain(..).for_each(|answers| workload.learn(&answers));
            }
            busy.meanwhile.lock().unwrap().clear();
            // A watch that waits for a commit to be announced gives up at last.
            for _ in 0..3 {
                test.advance(Duration::from_secs(1));
                watchers.look(&test, &busy, seed);
            }
            let end = busy.history.lock().unwrap().last().cloned().unwrap();
            for (place, (_, last)) in watchers.streams.iter().enumerate() {
                let shown = busy.history.lock().unwrap()[*last][place].clone();
                assert_eq!(shown, end[place], "seed {seed:#x}: {:?} misses the last change", busy.queries[place]);
            }
            assert!(watchers.shown > 100, "seed {seed:#x}: only {} snapshots", watchers.shown);
        });
    }
}

/// How many of the works are of each generation.
fn by_generation(works: &[WorkInfo]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for work in works {
        let tag = work.tags.iter().find(|tag| tag.starts_with("generation")).unwrap();
        *counts.entry(tag.to_string()).or_default() += 1;
    }
    counts
}

/// A name that is held by so many works at once, of one generation after the other.
const HOLDERS: usize = 600;

/// The works of a generation take the name, all at once.
fn take_over(generation: usize) -> Vec<Unit> {
    let spec = WorkSpec {
        name: Some("name".into()),
        tags: vec![format!("generation {generation:02}").into()],
        ..WorkSpec::new("sync", Payload::new(Codec::JSON, *b"{}"))
    };
    let terms = Terms { initial_delay: Duration::from_secs(3600), ..Terms::default() };
    let first = generation * HOLDERS + 1;
    let works = (first..first + HOLDERS).map(|number| WorkId::from_u128(number as u128));
    let works = works.map(|id| NewWork::new(id, spec.clone(), terms.clone())).collect();
    let policy = UniquePolicy::OneTime(ExistingWorkPolicy::Replace);
    let unique = Some(Unique { name: "name".into(), policy });
    vec![at(Command::Enqueue(Enqueue { works, unique, offer: None }), 1_700_000_000_000)]
}

#[track_caller]
fn assert_is_one_generation(works: &[WorkInfo]) {
    let counts = by_generation(works);
    assert!(counts.len() <= 1 && counts.values().all(|count| *count == HOLDERS), "half a commit: {counts:?}");
}

/// Deterministic: right before each page that is read, the next generation takes the name.
#[test]
fn a_query_and_a_watch_show_one_generation_of_a_name_however_often_it_is_replaced_meanwhile() {
    on_both_stores(|store| {
        let busy = Busy::new(store, Vec::new());
        let test = TestDriver::new().store(BusyHome(Arc::clone(&busy))).shape(Builder::enqueue_only);
        let manager = test.manager();
        let mut watch = manager.watch(WorkQuery::unique("name"));
        busy.meanwhile.lock().unwrap().extend((0..12).map(take_over));
        let mut looks = 0;
        while !busy.meanwhile.lock().unwrap().is_empty() {
            test.run_until_idle();
            let watched = watch.next().now_or_never().flatten();
            let queried = test.block_on(manager.query(WorkQuery::unique("name"))).unwrap();
            for works in watched.into_iter().chain([queried]) {
                assert_is_one_generation(&works);
                looks += 1;
            }
        }
        assert!(looks > 6, "{looks} looks");
    });
}

/// The same with threads, and a file: two look, one replaces, one does other things.
#[test]
fn observers_in_other_threads_never_see_half_a_replacement() {
    let folder = Folder::new("threads");
    let store = Arc::new(RedbStore::open(folder.store()).unwrap());
    let manager =
        WorkManager::builder(Arc::clone(&store)).runtime(ThreadRuntime::new()).enqueue_only().start().unwrap();
    let (over, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                assert_is_one_generation(&block_on(manager.query(WorkQuery::unique("name"))).unwrap());
                looks.fetch_add(1, Ordering::SeqCst);
            }
        });
        scope.spawn(|| {
            let mut watch = manager.watch(WorkQuery::unique("name"));
            // The last generation is always shown.
            while let Some(works) = block_on(watch.next()) {
                assert_is_one_generation(&works);
                if by_generation(&works).contains_key(&format!("generation {LAST:02}")) {
                    return;
                }
            }
        });
        scope.spawn(|| {
            let mut number = 1 << 100;
            while !over.load(Ordering::SeqCst) {
                number += 1;
                run(&*store, plain(WorkId::from_u128(number)), 1_700_000_000_000).unwrap().unwrap();
            }
        });
        for generation in 0..=LAST {
            block_on(store.transact(take_over(generation))).unwrap();
        }
        over.store(true, Ordering::SeqCst);
    });
    assert!(looks.load(Ordering::SeqCst) > 0);
    drop(manager);
}

/// The last generation of the test with threads.
const LAST: usize = 15;
