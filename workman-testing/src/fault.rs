//! [`FaultStore`]: a store that counts commits, fails where a test wants it to, and dies with its process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use workman_core::store::{Change, Ownership, Page, PageRequest, Store, Unit, UnitResult};
use workman_core::{StoreError, StoreErrorKind};

use crate::home::StoreHome;

/// Where a process dies, seen from one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// Right before it: nothing of it is written.
    Before,
    /// Right after it: all of it is written, and nobody was told.
    After,
    /// In the middle of it: the seed says whether it was written.
    Indeterminate,
}

impl CrashPoint {
    /// All of them, for sweeps.
    pub const ALL: [CrashPoint; 3] = [CrashPoint::Before, CrashPoint::After, CrashPoint::Indeterminate];
}

/// How a store fails at one commit, without a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It refuses: nothing is written, and it says so.
    Rejected,
    /// All of it is written, and the store says that it doesn't know.
    IndeterminateApplied,
    /// Nothing of it is written, and the store says that it doesn't know.
    IndeterminateLost,
}

#[derive(Clone, Copy, Debug)]
enum Point {
    Crash(CrashPoint),
    Fail(Fault),
}

/// What happens to one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Happens,
    Refused,
    /// It fails before anything is written; whether the process dies with it.
    Lost {
        crash: bool,
    },
    /// It is written and then fails, if it turns out to be a commit.
    Applied {
        crash: bool,
    },
}

/// Long walks are checked less and less often: after so many commits of one verb, every 64th part of them goes by unchecked.
const CHECKED_ONE_BY_ONE: u64 = 1_024;
const PARTS_OF_A_WALK: u64 = 64;

/// A check looks at every work, so each commit pays for a look at so many.
const LOOKS_A_COMMIT: usize = 8;

/// What outlives the processes of one test: the count of commits, the points at which something happens, what was broken.
pub(crate) struct Ledger {
    home: Arc<dyn StoreHome>,
    seed: u64,
    book: Mutex<Book>,
    /// The first thing that was found broken, wherever; the test fails as soon as its driver sees it.
    broken: Broken,
}

/// A place for what was found broken.
#[derive(Clone, Default)]
pub(crate) struct Broken(Arc<Mutex<Option<String>>>);

impl Broken {
    pub(crate) fn report(&self, broken: String) {
        lock(&self.0).get_or_insert(broken);
    }
}

#[derive(Default)]
struct Book {
    commits: u64,
    points: BTreeMap<u64, Point>,
    crashed: bool,
    /// The commits of the verb that runs now.
    walked: u64,
    /// The last commit that was checked, and how many works were stored then.
    checked: u64,
    works: usize,
    /// Whether the test was told already that its store is broken.
    told: bool,
}

impl Book {
    /// The commits that a check would be about.
    fn unchecked(&self) -> u64 {
        if self.told { 0 } else { self.commits - self.checked }
    }

    /// Whether the commits since the last check pay for the next.
    fn is_paid(&self) -> bool {
        let paid = usize::try_from(self.unchecked()).unwrap_or(usize::MAX).saturating_mul(LOOKS_A_COMMIT);
        self.unchecked() > 0 && paid >= self.works
    }

    fn is_due(&self) -> bool {
        let stride = if self.walked <= CHECKED_ONE_BY_ONE { 1 } else { self.walked / PARTS_OF_A_WALK };
        self.is_paid() && self.unchecked() >= stride
    }
}

impl Ledger {
    pub(crate) fn new(home: Arc<dyn StoreHome>, seed: u64, broken: Broken) -> Arc<Self> {
        Arc::new(Ledger { home, seed, book: Mutex::default(), broken })
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn commits(&self) -> u64 {
        self.lock().commits
    }

    pub(crate) fn crash_at(&self, commit: u64, point: CrashPoint) {
        self.lock().points.insert(commit, Point::Crash(point));
    }

    pub(crate) fn fail_at(&self, commit: u64, fault: Fault) {
        self.lock().points.insert(commit, Point::Fail(fault));
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.lock().crashed
    }

    pub(crate) fn begin_process(&self) {
        self.lock().crashed = false;
    }

    /// The first thing that was found broken.
    pub(crate) fn take_broken(&self) -> Option<String> {
        lock(&self.broken.0).take()
    }

    /// Where to report what is broken.
    pub(crate) fn broken(&self) -> Broken {
        self.broken.clone()
    }

    /// The fate of a call. Whether a call is a commit is known only afterwards, so *before commit n* is the first call after
    /// commit n - 1.
    fn fate(&self) -> Fate {
        let mut book = self.lock();
        if book.crashed {
            return Fate::Lost { crash: true };
        }
        let next = book.commits + 1;
        let fate = match book.points.get(&next) {
            None => return Fate::Happens,
            Some(Point::Fail(Fault::Rejected)) => Fate::Refused,
            Some(Point::Fail(Fault::IndeterminateLost)) => Fate::Lost { crash: false },
            Some(Point::Fail(Fault::IndeterminateApplied)) => Fate::Applied { crash: false },
            Some(Point::Crash(CrashPoint::Before)) => Fate::Lost { crash: true },
            Some(Point::Crash(CrashPoint::After)) => Fate::Applied { crash: true },
            Some(Point::Crash(CrashPoint::Indeterminate)) => {
                let written = crate::executor::split_mix(self.seed ^ next) & 1 == 0;
                if written { Fate::Applied { crash: true } } else { Fate::Lost { crash: true } }
            }
        };
        if !matches!(fate, Fate::Applied { .. }) {
            book.points.remove(&next);
        }
        book.crashed |= fate == Fate::Lost { crash: true };
        fate
    }

    /// Counts a commit, and checks what must hold after each if it is time for that.
    fn committed(&self, fate: Fate) {
        let mut book = self.lock();
        book.commits += 1;
        book.walked += 1;
        let commit = book.commits;
        if let Fate::Applied { crash } = fate {
            book.points.remove(&commit);
            book.crashed |= crash;
        }
        if book.is_due() {
            self.look(book);
        }
    }

    /// A verb of the test begins.
    pub(crate) fn begin_verb(&self) {
        self.lock().walked = 0;
    }

    /// A verb ends: what it has passed over is checked, unless so much is stored that later commits have to pay for that.
    pub(crate) fn end_verb(&self) {
        let book = self.lock();
        if book.is_paid() {
            self.look(book);
        }
    }

    /// A process ends: what was never checked is checked now.
    pub(crate) fn end_process(&self) {
        let book = self.lock();
        if book.unchecked() > 0 {
            self.look(book);
        }
    }

    /// Holds the invariants against everything that is stored.
    fn look(&self, mut book: MutexGuard<'_, Book>) {
        let (first, last) = (book.checked + 1, book.commits);
        book.checked = last;
        drop(book);
        let Some(dump) = self.home.dump() else { return };
        let wrong = dump.broken_invariants();
        let mut book = self.lock();
        (book.works, book.told) = (dump.records.len(), !wrong.is_empty());
        drop(book);
        if !wrong.is_empty() {
            let when = if first == last { format!("commit {last}") } else { format!("the commits {first} to {last}") };
            self.broken.report(format!("after {when} the store breaks its invariants: {}", wrong.join("; ")));
        }
    }
}

/// One process's opening of a store: it counts commits and fails where the test wants it to, until its process dies.
///
/// [`TestDriver`](crate::TestDriver) makes it around the store of its [`StoreHome`].
pub struct FaultStore {
    inner: Mutex<Option<Arc<dyn Store>>>,
    ledger: Arc<Ledger>,
    /// The store's own announcements, by which a commit is told from a call that wrote nothing.
    announced: Mutex<BoxStream<'static, Change>>,
}

impl FaultStore {
    pub(crate) fn open(ledger: Arc<Ledger>) -> Arc<Self> {
        let store = ledger.home.open();
        let announced = Mutex::new(store.changes());
        Arc::new(FaultStore { inner: Mutex::new(Some(store)), ledger, announced })
    }

    /// The process is dead: every call is answered with `Closed` from now on, and the store itself is let go.
    pub(crate) fn shut(&self) {
        let store = lock(&self.inner).take();
        *lock(&self.announced) = stream::empty().boxed();
        drop(store);
    }

    fn inner(&self) -> Result<Arc<dyn Store>, StoreError> {
        if self.ledger.has_crashed() {
            return Err(StoreError::closed());
        }
        lock(&self.inner).clone().ok_or_else(StoreError::closed)
    }

    fn was_a_commit(&self) -> bool {
        let mut announced = lock(&self.announced);
        let mut any = false;
        while let Some(Some(_)) = announced.next().now_or_never() {
            any = true;
        }
        any
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore").field("commits", &self.ledger.commits()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for FaultStore {
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        let store = self.inner()?;
        let fate = self.ledger.fate();
        match fate {
            Fate::Happens | Fate::Applied { .. } => {}
            Fate::Refused => return Err(StoreError::new(StoreErrorKind::Rejected, "a fault that the test asked for")),
            Fate::Lost { .. } => return Err(unknown()),
        }
        let answers = store.transact(units).await?;
        if self.was_a_commit() {
            self.ledger.committed(fate);
            if matches!(fate, Fate::Applied { .. }) {
                return Err(unknown());
            }
        }
        Ok(answers)
    }

    async fn query(&self, page: PageRequest) -> Result<Page, StoreError> {
        self.inner()?.query(page).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        self.inner().map_or_else(|_| stream::empty().boxed(), |store| store.changes())
    }

    fn ownership(&self) -> Ownership {
        self.inner().map_or(Ownership::Exclusive, |store| store.ownership())
    }

    async fn close(&self) {
        if let Ok(store) = self.inner() {
            store.close().await;
        }
    }
}

fn unknown() -> StoreError {
    StoreError::new(StoreErrorKind::Indeterminate, "a fault that the test asked for")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
