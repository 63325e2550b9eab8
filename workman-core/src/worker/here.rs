//! [`RunsHere`]: runs in this process that every manager of their store must know of, whichever began them.
//!
//! A thread can't be taken from a worker that does not return. Its store moves on without that run, and its manager may end and
//! another one begin, on a store that was closed and opened again. So what is known of such runs lies outside of all managers, by
//! the number of the works ([`Store::instance`](crate::store::Store::instance)): threads are the process's, and only the process
//! can know that the same work would run twice in it.
//!
//! A run under a unique name is known from its beginning, so that nobody has to hear first that its store has moved on. All others
//! are known from when they are told to stop without their store, and no run costs anything here before that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::foreign::foreign;
use crate::id::WorkId;
use crate::plan::{Barred, BarredName, Claimed, WorkerKind};
use crate::record::GateId;
use crate::store::HomeProcess;
use crate::time::Timestamp;

/// By the number of the works. Nothing is kept of works of which there is neither a manager nor a run.
static STORES: Mutex<BTreeMap<u128, Weak<RunsHere>>> = Mutex::new(BTreeMap::new());

/// Runs of one store in this process.
pub(crate) struct RunsHere {
    home: HomeProcess,
    state: Mutex<State>,
    /// Those of which the store knows nothing any more, so that nobody takes the lock while there are none.
    leftover: AtomicUsize,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<Key, KnownRun>,
    /// Runs under unique names, by the number from which works are born after them.
    names: BTreeMap<Arc<str>, BTreeSet<(u64, Key)>>,
    given_up: GivenUp,
    listeners: BTreeMap<u64, Listener>,
    next_number: u64,
}

/// A work and a number of its run, since fences begin anew when a work is deleted and enqueued again.
type Key = (WorkId, u64);

/// Called when a run is over that may have barred something.
type Listener = Arc<dyn Fn() + Send + Sync>;

/// A run, as far as others must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownRun {
    pub(crate) id: WorkId,
    pub(crate) worker: Arc<str>,
    pub(crate) kind: WorkerKind,
    pub(crate) suspect: bool,
    /// When it began, or was left behind.
    pub(crate) since: Timestamp,
    /// If it began under a unique name.
    pub(crate) named: Option<NamedRun>,
    /// The gates that counted it.
    pub(crate) gates: Vec<GateId>,
    pub(crate) hold: Hold,
}

/// What a run under a unique name has to do with others of that name. What was there when it began may run beside it: that is a chain.
/// What was born later has taken the name from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedRun {
    name: Arc<str>,
    seq: u64,
    born_from: u64,
    /// In the store's time.
    claimed: Timestamp,
}

/// What its store and its manager still know of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It is the run of its work, as far as anybody has heard.
    Current,
    /// Its store has moved on, and its manager waits until it ends.
    FencedOff,
    /// Nobody waits for it any more.
    GivenUp,
}

/// Runs for which nobody waits any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) for_async: usize,
    pub(crate) for_blocking: usize,
    pub(crate) suspects: usize,
}

impl GivenUp {
    fn of(&mut self, kind: WorkerKind) -> &mut usize {
        match kind {
            WorkerKind::Async => &mut self.for_async,
            WorkerKind::Blocking => &mut self.for_blocking,
        }
    }

    fn add(&mut self, run: &KnownRun) {
        *self.of(run.kind) += 1;
        self.suspects += usize::from(run.suspect);
    }

    fn remove(&mut self, run: &KnownRun) {
        *self.of(run.kind) -= 1;
        self.suspects -= usize::from(run.suspect);
    }
}

/// A run that must end before another may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InTheWay;

impl KnownRun {
    /// A run that begins now.
    pub(crate) fn of(claimed: &Claimed, kind: WorkerKind, now: Timestamp) -> Self {
        let Claimed { record, spec, born_from, .. } = claimed;
        let named = |name: &Arc<str>| NamedRun {
            name: Arc::clone(name),
            seq: record.seq,
            born_from: *born_from,
            claimed: record.started.unwrap_or_default(),
        };
        KnownRun {
            id: record.id,
            worker: Arc::clone(&spec.worker),
            kind,
            suspect: record.is_suspect(),
            since: now,
            named: spec.name.as_ref().map(named),
            gates: record.counted().to_vec(),
            hold: Hold::Current,
        }
    }

    /// The unique name under which it began, and when that was, in the store's time.
    pub(crate) fn began_as(&self) -> Option<(&str, Timestamp)> {
        self.named.as_ref().map(|named| (&*named.name, named.claimed))
    }
}

impl State {
    /// Runs that can't be beside this one. Of one name, and neither was there when the other began: then the store has moved on from
    /// the older of the two, whether anybody has heard of that or not.
    fn in_the_way(&self, of: &KnownRun) -> Vec<Key> {
        let mut found: Vec<Key> = self.runs.range((of.id, 0)..=(of.id, u64::MAX)).map(|(key, _)| *key).collect();
        let Some(named) = &of.named else { return found };
        let Some(others) = self.names.get(&named.name) else { return found };
        let older = others.iter().take_while(|(born_from, _)| *born_from <= named.seq);
        let later = others.iter().rev().take_while(|(born_from, _)| *born_from > named.born_from);
        let later = later.filter(|(_, key)| {
            self.runs.get(key).and_then(|run| run.named.as_ref()).is_some_and(|other| other.seq >= named.born_from)
        });
        found.extend(older.chain(later).map(|(_, key)| *key).filter(|(id, _)| *id != of.id));
        found
    }

    fn insert(&mut self, run: KnownRun) -> Key {
        let key = (run.id, self.next_number);
        self.next_number += 1;
        if let Some(NamedRun { name, born_from, .. }) = &run.named {
            self.names.entry(Arc::clone(name)).or_default().insert((*born_from, key));
        }
        self.runs.insert(key, run);
        key
    }

    fn remove(&mut self, key: Key) -> Option<KnownRun> {
        let run = self.runs.remove(&key)?;
        if let Some(NamedRun { name, born_from, .. }) = &run.named
            && let Some(others) = self.names.get_mut(name)
        {
            others.remove(&(*born_from, key));
            if others.is_empty() {
                self.names.remove(name);
            }
        }
        Some(run)
    }
}

impl RunsHere {
    /// The runs of these works in this process. A forked child has none of its parent's threads, so it begins with none.
    pub(crate) fn of(instance: u128) -> Arc<Self> {
        let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, runs| runs.strong_count() > 0);
        let known = stores.get(&instance).and_then(Weak::upgrade).filter(|runs| runs.home.is_current());
        known.unwrap_or_else(|| {
            let runs = Arc::new(Self::new());
            stores.insert(instance, Arc::downgrade(&runs));
            runs
        })
    }

    fn new() -> Self {
        RunsHere { home: HomeProcess::current(), state: Mutex::default(), leftover: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_leftovers(&self) -> bool {
        self.leftover.load(Ordering::Acquire) > 0
    }

    /// What was claimed is about to begin. What is answered has to be kept until that is over, if there is anything.
    ///
    /// # Errors
    /// When it must not begin while another run goes on. Whoever listens hears of the end of that.
    pub(crate) fn enter(
        self: &Arc<Self>,
        claimed: &Claimed,
        kind: WorkerKind,
        now: impl FnOnce() -> Timestamp,
    ) -> Result<Option<RunHere>, InTheWay> {
        if claimed.spec.name.is_none() && !self.has_leftovers() {
            return Ok(None);
        }
        self.admit(KnownRun::of(claimed, kind, now()))
    }

    fn admit(self: &Arc<Self>, run: KnownRun) -> Result<Option<RunHere>, InTheWay> {
        let mut state = self.lock();
        let in_the_way = state.in_the_way(&run);
        if let Some((other, _)) = in_the_way.first().copied() {
            let (id, worker) = (run.id, &run.worker);
            tracing::info!(%id, %worker, %other, "waits for the end of another run, from which its store has moved on");
            in_the_way.into_iter().for_each(|key| self.hold(&mut state, key, Hold::FencedOff, run.since));
            return Err(InTheWay);
        }
        let key = run.named.is_some().then(|| state.insert(run));
        Ok(key.map(|key| RunHere { runs: Arc::clone(self), key }))
    }

    /// A run that nobody knew of is left behind.
    pub(crate) fn leave_behind(self: &Arc<Self>, run: KnownRun) -> RunHere {
        let key = self.lock().insert(KnownRun { hold: Hold::Current, ..run });
        RunHere { runs: Arc::clone(self), key }
    }

    /// Nobody goes back: what was given up is not waited for again.
    fn hold(&self, state: &mut State, key: Key, hold: Hold, now: Timestamp) {
        let State { runs, given_up, .. } = state;
        let Some(run) = runs.get_mut(&key) else { return };
        let before = run.hold;
        if before == Hold::GivenUp || before == hold {
            return;
        }
        run.hold = hold;
        if before == Hold::Current {
            run.since = now;
            self.leftover.fetch_add(1, Ordering::AcqRel);
        }
        if hold == Hold::GivenUp {
            given_up.add(run);
        }
    }

    /// Whether a run goes on that began under this unique name, so that who takes the name now may have to wait.
    pub(crate) fn is_taken(&self, name: &str) -> bool {
        self.lock().names.contains_key(name)
    }

    /// What must not start while these runs go on.
    pub(crate) fn barred(&self) -> Barred {
        let mut barred = Barred::default();
        if !self.has_leftovers() {
            return barred;
        }
        for run in self.leftovers() {
            barred.works.push(run.id);
            let name = run.named.map(|NamedRun { name, born_from, .. }| BarredName { name, born_from });
            barred.names.extend(name);
            barred.gates.extend(run.gates);
        }
        barred
    }

    /// Runs that go on though their store has moved on.
    pub(crate) fn leftovers(&self) -> Vec<KnownRun> {
        if !self.has_leftovers() {
            return Vec::new();
        }
        self.lock().runs.values().filter(|run| run.hold != Hold::Current).cloned().collect()
    }

    /// Those for which nobody waits.
    pub(crate) fn given_up(&self) -> GivenUp {
        if self.has_leftovers() { self.lock().given_up } else { GivenUp::default() }
    }

    /// Calls this whenever a run is over that may have barred something, until what is answered is dropped.
    pub(crate) fn listen(self: &Arc<Self>, listener: impl Fn() + Send + Sync + 'static) -> Listening {
        let mut state = self.lock();
        let number = state.next_number;
        state.next_number += 1;
        state.listeners.insert(number, Arc::new(listener));
        Listening { runs: Arc::clone(self), number }
    }
}

/// Somebody listens, as long as this is there.
pub(crate) struct Listening {
    runs: Arc<RunsHere>,
    number: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.runs.lock().listeners.remove(&self.number);
    }
}

/// A run goes on, as long as this is there.
pub(crate) struct RunHere {
    runs: Arc<RunsHere>,
    key: Key,
}

impl RunHere {
    /// From now on less is known of it.
    pub(crate) fn hold(&self, hold: Hold, now: Timestamp) {
        self.runs.hold(&mut self.runs.lock(), self.key, hold, now);
    }
}

impl Drop for RunHere {
    fn drop(&mut self) {
        let mut state = self.runs.lock();
        let Some(run) = state.remove(self.key).filter(|run| run.hold != Hold::Current) else { return };
        if run.hold == Hold::GivenUp {
            state.given_up.remove(&run);
        }
        let listeners: Vec<Listener> = state.listeners.values().cloned().collect();
        drop(state);
        self.runs.leftover.fetch_sub(1, Ordering::AcqRel);
        // Whoever drives a manager is woken by that, and its waker is not our code.
        for panicked in listeners.into_iter().filter_map(|listener| foreign(|| listener()).err()) {
            tracing::warn!(%panicked, "a manager could not be woken, whose work may start now");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> WorkId {
        WorkId::from_u128(number)
    }

    fn unnamed(number: u128) -> KnownRun {
        KnownRun {
            id: id(number),
            worker: "worker".into(),
            kind: WorkerKind::Blocking,
            suspect: false,
            since: Timestamp::default(),
            named: None,
            gates: Vec::new(),
            hold: Hold::Current,
        }
    }

    /// A run of the work that was born with this number, when works up to another one were there.
    fn named(seq: u64, born_from: u64) -> KnownRun {
        let named = NamedRun { name: "name".into(), seq, born_from, claimed: Timestamp::default() };
        KnownRun { named: Some(named), ..unnamed(seq.into()) }
    }

    #[test]
    fn a_work_whose_run_was_left_behind_begins_again_when_that_is_over_and_no_other_waits_for_it() {
        let runs = Arc::new(RunsHere::new());
        assert!(matches!(runs.admit(unnamed(1)), Ok(None)), "nobody has to know of it");
        let first = runs.leave_behind(unnamed(1));
        first.hold(Hold::FencedOff, Timestamp::default());
        assert_eq!(runs.admit(unnamed(1)).err(), Some(InTheWay));
        assert!(runs.admit(unnamed(2)).is_ok());
        assert_eq!(runs.barred(), Barred { works: vec![id(1)], names: Vec::new(), gates: Vec::new() });
        drop(first);
        assert!(runs.admit(unnamed(1)).is_ok());
        assert_eq!(runs.barred(), Barred::default());
    }

    #[test]
    fn who_was_there_when_a_run_of_the_name_began_runs_beside_it_and_who_was_born_later_waits() {
        let runs = Arc::new(RunsHere::new());
        let first = runs.admit(named(1, 10)).unwrap();
        let beside = runs.admit(named(9, 10)).unwrap();
        assert_eq!(runs.admit(named(10, 11)).err(), Some(InTheWay));
        // Nobody had to tell that its store has moved on.
        assert_eq!(runs.leftovers().len(), 2);
        assert_eq!(runs.barred().names.len(), 2);
        drop(beside);
        assert_eq!(runs.admit(named(10, 11)).err(), Some(InTheWay));
        drop(first);
        let _later = runs.admit(named(10, 11)).unwrap();
        assert_eq!(runs.admit(named(2, 10)).err(), Some(InTheWay), "it was claimed before, and is too late");
        assert!(runs.is_taken("name") && !runs.is_taken("another"));
    }

    #[test]
    fn who_listens_hears_of_the_end_of_what_was_left_behind_and_of_nothing_else() {
        let runs = Arc::new(RunsHere::new());
        let heard = Arc::new(AtomicUsize::new(0));
        let hears = Arc::clone(&heard);
        let listening = runs.listen(move || _ = hears.fetch_add(1, Ordering::SeqCst));
        drop(runs.admit(named(1, 10)));
        assert_eq!(heard.load(Ordering::SeqCst), 0);
        let left = runs.admit(named(1, 10)).unwrap().unwrap();
        left.hold(Hold::FencedOff, Timestamp::default());
        drop(left);
        assert_eq!(heard.load(Ordering::SeqCst), 1);
        drop(listening);
        let left = runs.leave_behind(unnamed(1));
        left.hold(Hold::GivenUp, Timestamp::default());
        drop(left);
        assert_eq!(heard.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_was_given_up_is_counted_once_until_it_ends() {
        let runs = Arc::new(RunsHere::new());
        let run = runs.leave_behind(KnownRun { suspect: true, ..unnamed(1) });
        assert_eq!(runs.given_up(), GivenUp::default());
        for hold in [Hold::FencedOff, Hold::GivenUp, Hold::GivenUp, Hold::FencedOff] {
            run.hold(hold, Timestamp::default());
        }
        assert_eq!(runs.given_up(), GivenUp { for_async: 0, for_blocking: 1, suspects: 1 });
        drop(run);
        assert_eq!(runs.given_up(), GivenUp::default());
    }

    #[test]
    fn all_openings_of_the_same_works_know_the_same_runs_as_long_as_there_are_any() {
        const SOME: u128 = 0x5eed;
        let first = RunsHere::of(SOME);
        let run = first.leave_behind(unnamed(1));
        run.hold(Hold::GivenUp, Timestamp::default());
        drop(first);
        assert_eq!(RunsHere::of(SOME).barred().works, [id(1)]);
        assert_eq!(RunsHere::of(SOME + 1).barred(), Barred::default());
        drop(run);
        assert_eq!(RunsHere::of(SOME).barred(), Barred::default());
    }
}
