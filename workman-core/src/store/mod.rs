//! The boundary to storage: the [`Store`] trait and its contract, clause by clause.
//!
//! This is the door of those who keep works somewhere else: all nouns that a store needs are here, and programs need none of
//! them. A store loads what a plan asks for, commits what it decided, and knows no policy. What embedded stores (one file, one
//! process) have in common is here too, from [`Rows`] on; [`MemoryStore`](crate::MemoryStore) is the reference.

mod embedded;
pub(crate) mod error;
mod expected;
mod feed;
pub(crate) mod memory;
mod process;

use async_trait::async_trait;
use futures::stream::BoxStream;
use std::pin::Pin;
use std::sync::Arc;

use crate::id::WorkId;
use crate::plan::Refusal;
use crate::time::Timestamp;

pub use crate::foreign::{Panicked, answer, foreign};
pub use error::Damage;
pub(crate) use error::{StoreError, StoreErrorKind};
pub(crate) use expected::ExpectedTime;
pub use feed::ChangeFeed;
pub use process::HomeProcess;

// What the contract speaks of: commands and answers, ...
pub use crate::plan::{
    Advice, Applied, Barred, BarredName, Blame, ById, CASCADE_LIMIT, Cancel, Claim, Claimed, Command, Death, Decision,
    End, Endurance, Enqueue, Few, FreeSlots, GATE_LIMIT, GateChange, GateCommand, GateLook, HISTORY_LIMIT, Hint, List,
    Listed, ListedVerb, NUMBERS_A_PLAN, NewWork, NextScheduleTime, Note, Offer, OpenLane, PROMOTE_LIMIT, PRUNE_GRACE,
    PRUNE_LIMIT, Plan, Prune, REASON_LIMIT, RESCUE_LIMIT, Retention, SELECT_LIMIT, SHORT_STRIDE, Scope, SelectorWanted,
    Settle, Snapshot, Steering, Stride, SuspectsAllowed, Unique, UniquePolicy, Want, WorkerKind, Write, plan,
};

// ... rows, ...
pub use crate::data::Codec;
pub use crate::record::{
    Bucket, Cascade, CascadeVerb, Effective, FairLane, Finish, GateId, GateLane, GateMeta, GateRow, GateSetting,
    GateSettings, Lane, LaneId, MOST_GATE_SETTINGS, Meta, Notes, Passage, Pause, Period, Prerequisites, Rare,
    RowsPresent, RunTime, SerialLane, SerialPlace, Standing, Tally, Terms, Urgency, WorkRecord, WorkSpec,
};
pub use crate::time::{Due, LONGEST_SLEEP, NextDue, Reading};

// ... the order in which they are found, ...
pub use crate::index::{IndexKey, IndexRange, Suspects, keys_of, standing_key};
pub use crate::query::{Cursor, Page, PageRequest};

// ... and what embedded stores have in common.
pub use embedded::{
    Audit, Dump, GateTally, IfMissing, Noticed, Opening, Origin, Row, RowKey, RowMap, Rows, RowsMut, Stamp, StoreClock,
    Transaction, Unlinked, dump, load, page, stored_meta,
};

/// A command and the time of whoever sends it.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What is to happen.
    pub command: Command,
    /// The sender's clock; a store with a clock of its own ignores it.
    pub at: Reading,
}

/// What a unit did, or why it did nothing.
pub type UnitResult = Result<Applied, Refusal>;

/// Keeps works, and moves them only as [`plan`] decides.
///
/// # The contract
/// `workman_testing::store_conformance!` has tests for each clause. Where a clause tells them apart, an *exclusive* store is a
/// file or a memory that one process has to itself, and a *shared* one a server that many talk to ([`Ownership`]).
///
/// **Commits**
/// - **C1** One call of `transact` is one atomic commit: what its units wrote becomes visible together, or nothing does.
/// - **C2** When `transact` returns `Ok`, the commit is as durable as the store says it is: by default it survives the
///   death of the process and a loss of power; on a server it is as durable as its `synchronous_commit` and its standbys
///   make it.
/// - **C3** The units run in order, and each sees what those before it wrote, and every earlier commit. On a shared store a
///   commit acknowledged before the call counts as earlier.
/// - **C4** A refusal touches its own unit only; the others of the call happen.
/// - **C5** An error is honest. `Rejected` and `Closed`: nothing was written. `Indeterminate`: all of it was written or nothing,
///   and the same units may be sent again. A store that gives up on conflicts with other transactions answers `Rejected`.
/// - **C6** A call that writes nothing is no commit: it costs no sync and no change is announced.
/// - **C7** Dropping the future of `transact` after its first poll does not withdraw it.
/// - **C8** Calls from many threads at once lose nothing. Their effect is that of some one order, as far as plans look: what a
///   plan decided by was still so when it was committed.
///
/// **Time and numbers**
/// - **C9** Each unit is stamped with store time, never earlier than any stamp before it, across openings too. On an exclusive store
///   that is the wall time of its reading plus an offset: at an opening, as much as the wall clock is behind the newest stamp, and
///   else nothing. While the store is open, the monotonic time says how far the wall clock was set: back adds to the offset,
///   forward takes from it first and is believed beyond it; less than two seconds are no setting. A reading beyond the years 1970
///   to 9999 moves store time no further than the other hand does. On a shared store it is its server's clock; the stamps
///   of concurrent commits may differ from the order of commits by as long as the commits took. The plan is shown the offset, so
///   that what is due by the wall clock is due by the clock as it stands.
/// - **C10** Sequence numbers, lanes, epochs and cascades are numbered by the store, each number handed out once. One that is
///   asked for after a commit was acknowledged is greater than all that it used. Gaps are legal; an exclusive store uses
///   none for refused units.
///
/// **Loading**
/// - **C11** A plan is called again with more until it is done. What it sees is the state inside the commit, or was loaded
///   before and is checked by the commit; if that has changed, the unit is planned again.
/// - **C12** Lists come in the order of [`IndexKey`], hold no more than their limit, and say where to go on.
///   `Ready` and `Due` may leave out works that another transaction holds; such a list is never said to be complete.
///   What a list would hold and its record contradicts is left out, told by [`Change::Damaged`], and holds up nothing behind it.
/// - **C13** Every index follows from the records by [`keys_of`] and from nothing else. So no entry is believed: what it
///   says is compared with its record, and the record is right. A unit that takes away an entry that is not there is an error
///   (`Corrupted`), unless it settles a run under its current fence.
/// - **C14** A deleted work leaves no row and no index entry behind.
/// - **C15** What was written comes back byte for byte, or the read is an error (`Corrupted`); bystanders never change. A row
///   that another one vouches for is never answered with "there is none".
///
/// **Reading and watching**
/// - **C16** `query` shows one snapshot, not older than the newest commit acknowledged before the call, and says a number:
///   every commit up to it is shown, and on a shared store later ones may be. Pages are no longer than asked, and following
///   `next` reaches every work that matches and did not move, once; one that is to be the only one
///   ([`in_one_page`](crate::WorkQuery::in_one_page)) is cut short by nothing but its limit. What a query leaves out is not said
///   to be missing. One that [counts](crate::WorkQuery::counted) counts what it would show, and the
///   [numbers that are kept](crate::WorkQuery::tallied)
///   are those of the works at that commit.
/// - **C17** `changes` announces each commit after it is durable, once, with the ids it touched and its hints; numbers grow and
///   may have gaps. An exclusive store announces in the order of commits, a shared one in the order of numbers, and may be
///   late. A subscriber misses nothing from its subscription on; one that is too slow gets [`Change::Lagged`] in place of
///   what it missed, and then everything newer.
///
/// **Ownership**
/// - **C18** An exclusive store can be open once; a second opening is refused and harms nothing. Each opening is a new
///   incarnation, so claims of earlier ones are dead. A shared store can be open many times; its incarnation is 0, and a
///   claim is alive as long as the lease of its manager's epoch lasts in the store's time.
/// - **C19** Everything that was acknowledged is there after the store was closed, or its process killed, and opened again; on
///   a server: as durable as its `synchronous_commit` and standby settings.
/// - **C20** After `close` this handle answers `Closed` to every call and writes nothing; its change streams end. A store
///   that is lost to its process (somebody else had it meanwhile, or the process is a forked child) answers `Lost` for good.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no store",
    label = "not a `Store`",
    note = "`MemoryStore::new()` keeps works in memory, `RedbStore::open(path)?` of the crate `workman-redb` in a file; behind a `Result` comes `?`"
)]
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Runs the units in order in one atomic, durable commit.
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError>;

    /// A page of works, as of one commit.
    async fn query(&self, page: PageRequest) -> Result<Page, StoreError>;

    /// Every commit from now on.
    fn changes(&self) -> BoxStream<'static, Change>;

    /// Who may use the store beside this process.
    fn ownership(&self) -> Ownership;

    /// A number that is the same for all handles of one open store in this process, and another for every other. One that
    /// wraps a store, and is not the only handle of it, says what that says.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>().addr()
    }

    /// A number of the works in it: the same for every opening of them in this process, whichever comes first, and another for
    /// all others. What still runs of an earlier opening is known by it, so that nothing of that starts a second time beside it. A
    /// store that does not say it is known by this opening alone.
    fn instance(&self) -> u128 {
        self.identity() as u128
    }

    /// Ends the store: what was sent before is finished, everything later is answered with `Closed`. Idempotent.
    async fn close(&self);
}

/// What a future of [`Store`] looks like without `async`.
type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store that several managers share. It hands on the store's own futures: to wait for one inside another would be one more
/// box for each call.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn transact<'store, 'answer>(&'store self, units: Vec<Unit>) -> Answer<'answer, Result<Vec<UnitResult>, StoreError>>
    where
        'store: 'answer,
        Self: 'answer,
    {
        (**self).transact(units)
    }

    fn query<'store, 'answer>(&'store self, page: PageRequest) -> Answer<'answer, Result<Page, StoreError>>
    where
        'store: 'answer,
        Self: 'answer,
    {
        (**self).query(page)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        (**self).changes()
    }

    fn ownership(&self) -> Ownership {
        (**self).ownership()
    }

    fn identity(&self) -> usize {
        (**self).identity()
    }

    fn instance(&self) -> u128 {
        (**self).instance()
    }

    fn close<'store, 'answer>(&'store self) -> Answer<'answer, ()>
    where
        'store: 'answer,
        Self: 'answer,
    {
        (**self).close()
    }
}

/// Who may use a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This process alone, as long as it has the store open.
    Exclusive,
    /// Other processes too; claims are leases there.
    Shared,
}

/// One commit, or the fact that some were missed.
#[derive(Clone, Debug)]
pub enum Change {
    /// A commit.
    Commit {
        /// Its number, greater than those announced before it on the same handle. An exclusive store numbers the
        /// commits of one opening without gaps; a shared one may skip numbers.
        commit: u64,
        /// The store time of its last unit.
        now: Timestamp,
        /// The works whose visible state it touched.
        touched: Arc<[WorkId]>,
        /// What its plans hinted at.
        hints: Arc<[Hint]>,
    },
    /// Commits were missed: look at everything again.
    Lagged,
    /// Something contradicts itself and was passed over. Told once for each thing, and no commit; whoever subscribes is told first
    /// what was met before.
    Damaged(Damage),
}
