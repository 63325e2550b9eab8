//! Wide commands: what touches very many works does so in bounded commits, and in few of them.
//!
//! Counted in calls and commits, never in time.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use workman_core::constraints::Constraints;
use workman_core::data::Codec;
use workman_core::plan::{
    Applied, CASCADE_LIMIT, Cancel, Claim, Claimed, Command, End, Enqueue, NewWork, OpenLane, Settle, SuspectsAllowed,
    WorkerKind, invariants,
};
use workman_core::policy::Backoff;
use workman_core::query::PageRequest;
use workman_core::record::{ErrorText, Prerequisites, Schedule, Terms, WorkSpec};
use workman_core::store::{Store, Unit};
use workman_core::{
    MemoryStore, OnDeath, Payload, Refusal, Timestamp, WorkId, WorkInfo, WorkQuery, WorkSelector, WorkState,
};

// ---- a store, and commands straight to its planner ----

fn id(number: u128) -> WorkId {
    WorkId::from_u128(number)
}

/// The work of this number, after those.
fn work(number: u128, after: impl IntoIterator<Item = u128>) -> NewWork {
    let ids = after.into_iter().map(id).collect();
    let spec = WorkSpec {
        worker: "worker".into(),
        input: Payload::new(Codec::JSON, *b"{}"),
        tags: Vec::new(),
        name: None,
        constraints: Constraints::NONE,
        prerequisites: Prerequisites { ids, ..Prerequisites::default() },
    };
    let terms = Terms {
        priority: 0,
        initial_delay: Duration::ZERO,
        backoff: Backoff::default(),
        max_attempts: Some(20),
        retention: Duration::from_secs(86_400),
        on_death: OnDeath::Park,
        discards_output: false,
        schedule: Schedule::Once,
    };
    NewWork { id: id(number), spec: Arc::new(spec), terms }
}

/// A store without a manager; it counts its commands.
struct Bare {
    store: MemoryStore,
}

impl Bare {
    fn new() -> Self {
        Bare { store: MemoryStore::new() }
    }

    fn send(&self, command: Command) -> Result<Applied, Refusal> {
        let unit = Unit { command, wall: Timestamp::from_millis(1_800_000_000_000) };
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
        let lanes = vec![OpenLane { lane: workman_core::record::LaneId(0), kind: WorkerKind::Async }];
        let suspects = SuspectsAllowed::One;
        let claim = Claim { epoch, lanes, async_room: 1, blocking_room: 0, barred: Vec::new(), suspects };
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
        let cancel = Cancel { selector: WorkSelector::Id(id(number)), before: None, after: None };
        match self.send(Command::Cancel(cancel)).unwrap() {
            Applied::Cancelled { count, .. } => count,
            other => panic!("{other:?}"),
        }
    }

    /// Drains what is left over, and answers how many commands that took.
    fn drain(&self) -> usize {
        for count in 1.. {
            match self.send(Command::Drain).unwrap() {
                Applied::Drained { again: false } => return count,
                Applied::Drained { again: true } => {}
                other => panic!("{other:?}"),
            }
        }
        0
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
        assert_eq!(invariants::check(&self.store.dump()), Vec::<String>::new());
    }
}

fn success() -> End {
    End::Succeeded { output: Payload::new(Codec::JSON, *b"null") }
}

fn failure() -> End {
    End::Failed { error: ErrorText::new("gone"), advice: workman_core::plan::Advice::Never }
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
