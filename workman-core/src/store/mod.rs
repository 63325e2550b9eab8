//! The boundary to storage: the [`Store`] trait and its contract, clause by clause.
//!
//! A store loads what a plan asks for, commits what it decided, and knows no policy. Everything that an embedded store
//! (one file, one process) has in common with every other lies in [`embedded`]; [`MemoryStore`] is the reference.

pub mod embedded;
mod error;
mod feed;
pub mod index;
mod memory;

use async_trait::async_trait;
use futures::stream::BoxStream;
use std::sync::Arc;

use crate::id::WorkId;
use crate::plan::{Applied, Command, Hint, Refusal};
use crate::query::{Page, PageRequest};
use crate::time::Timestamp;

pub use error::{StoreError, StoreErrorKind};
pub use feed::ChangeFeed;
pub use memory::MemoryStore;

/// A command and the wall time of whoever sends it.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What is to happen.
    pub command: Command,
    /// The sender's wall clock; a store with a clock of its own ignores it.
    pub wall: Timestamp,
}

/// What a unit did, or why it did nothing.
pub type UnitResult = Result<Applied, Refusal>;

/// Keeps works, and moves them only as [`plan`](crate::plan::plan) decides.
///
/// # The contract
/// `workman_testing::store_conformance!` has a test for each clause.
///
/// **Commits**
/// - **C1** One call of `transact` is one atomic commit: what its units wrote becomes visible together, or nothing does.
/// - **C2** When `transact` returns `Ok`, the commit is as durable as the store says it is: by default it survives the
///   death of the process and a loss of power.
/// - **C3** The units run in order, and each sees what those before it wrote, and every earlier commit.
/// - **C4** A refusal touches its own unit only; the others of the call happen.
/// - **C5** An error is honest. `Rejected` and `Closed`: nothing was written. `Indeterminate`: all of it was written or nothing,
///   and the same units may be sent again.
/// - **C6** A call that writes nothing is no commit: it costs no sync and no change is announced.
/// - **C7** Dropping the future of `transact` after its first poll does not withdraw it.
/// - **C8** Calls from many threads at once lose nothing; their commits have one order.
///
/// **Time and numbers**
/// - **C9** Each unit is stamped with store time: the wall time plus a persisted offset, never earlier than any stamp before it,
///   across openings too.
/// - **C10** Sequence numbers, lanes and epochs are handed out inside the commit, each once, growing; refused units use none.
///
/// **Loading**
/// - **C11** A plan is called again with more until it is done; what it sees is the state inside the commit.
/// - **C12** Lists come in the order of [`IndexKey`](index::IndexKey), hold no more than their limit, and say where to go on.
/// - **C13** Every index follows from the records by [`index::standing_key`] and [`index::label_keys`] and from nothing else.
/// - **C14** A deleted work leaves no row and no index entry behind.
/// - **C15** What was written comes back byte for byte, or the read is an error (`Corrupted`); bystanders never change.
///
/// **Reading and watching**
/// - **C16** `query` shows one commit, the newest that was acknowledged before the call or a later one, and says its number.
///   Pages are no longer than asked, and following `next` reaches every work that matches and did not move, once.
/// - **C17** `changes` announces each commit after it is durable, in order, once, with the ids it touched and its hints. A
///   subscriber misses nothing from its subscription on; one that is too slow gets [`Change::Lagged`] in place of what it missed.
///
/// **Ownership**
/// - **C18** An exclusive store can be open once; a second opening is refused and harms nothing. Each opening is a new
///   incarnation, so claims of earlier ones are dead.
/// - **C19** Everything that was acknowledged is there after the store was closed, or its process killed, and opened again.
/// - **C20** A closed store answers `Closed` to every call and writes nothing; its change streams end.
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

    /// Ends the store: what was sent before is finished, everything later is answered with `Closed`. Idempotent.
    async fn close(&self);
}

/// A store that several managers share.
#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn transact(&self, units: Vec<Unit>) -> Result<Vec<UnitResult>, StoreError> {
        (**self).transact(units).await
    }

    async fn query(&self, page: PageRequest) -> Result<Page, StoreError> {
        (**self).query(page).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        (**self).changes()
    }

    fn ownership(&self) -> Ownership {
        (**self).ownership()
    }

    async fn close(&self) {
        (**self).close().await;
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
        /// Its number; each commit of one opening has the next.
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
}
