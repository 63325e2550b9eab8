//! [`Health`]: whether the engine and the calls of the program get on with the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::plan::WorkerKind;
use crate::store::{Damage, StoreError, StoreErrorKind};

/// How the engine is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthStatus {
    /// All is well.
    #[default]
    Healthy,
    /// Something fails: the store (nothing is lost, and the same is tried again, later and later; or it has answered nothing for five
    /// seconds, and since when), the runtime, or the sensor. What a call of
    /// the program met counts until a call of its kind succeeds. Or something in the store is damaged: it is passed over and the
    /// rest goes on, and that is said until the store is opened anew. Or workers hang: the same runs have held all slots of their kind
    /// for [`Limits::standstill`](crate::Limits::standstill) while work waits that could run, or a run that was told to stop that
    /// long ago still goes on in this process. Their workers are named, and it is over when they end.
    Degraded {
        /// What it is.
        error: String,
        /// How often in a row; how many things, if that is what is damaged.
        failures: u32,
    },
    /// The store is lost to this process for good: somebody else has had it, or this is a forked child. Nothing runs and nothing
    /// is stored until the store is opened anew.
    Lost {
        /// What happened, and what to do.
        error: String,
    },
    /// The manager has ended, or its store is closed.
    Ended,
}

/// What may be in trouble beside the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    AsyncWorkers,
    BlockingWorkers,
    Sensor,
    /// All slots of the kind are taken for long, and work waits.
    AsyncSlots,
    BlockingSlots,
}

impl Trouble {
    pub(crate) fn of(kind: WorkerKind) -> Self {
        match kind {
            WorkerKind::Async => Trouble::AsyncWorkers,
            WorkerKind::Blocking => Trouble::BlockingWorkers,
        }
    }

    pub(crate) fn standstill(kind: WorkerKind) -> Self {
        match kind {
            WorkerKind::Async => Trouble::AsyncSlots,
            WorkerKind::Blocking => Trouble::BlockingSlots,
        }
    }
}

/// What a call of the program asks of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Read,
    Write,
}

#[derive(Default)]
pub(crate) struct Health {
    state: Mutex<State>,
    /// Whether calls of a kind fail, so that those that don't need not take the lock.
    failing: [AtomicBool; 2],
    /// Whether the runtime has taken no workers of a kind for long.
    lost: [AtomicBool; 2],
    silence: Silence,
    writes: Writes,
}

/// Whether somebody waits for the commit of what the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A call of the program, or a run.
    BySomebody,
    /// It reads, or it is what the engine does for itself: it deletes, or goes on with a cascade.
    ByNobody,
}

/// How many commits were waited for, and how many are now.
#[derive(Default)]
struct Writes {
    asked: AtomicU64,
    open: AtomicUsize,
}

/// A store that has answered nothing for so long is silent.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(5);

/// How many questions the store has not answered, and since when it has answered none.
#[derive(Default)]
struct Silence {
    open: AtomicUsize,
    /// On the monotonic clock, in milliseconds.
    since_ms: AtomicU64,
}

impl Silence {
    fn note(&self, now: Duration) {
        self.since_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn lasts(&self, now: Duration) -> Duration {
        let since = Duration::from_millis(self.since_ms.load(Ordering::Acquire));
        if self.open.load(Ordering::Acquire) == 0 { Duration::ZERO } else { now.saturating_sub(since) }
    }
}

#[derive(Default)]
struct State {
    engine: HealthStatus,
    /// What calls of each kind have met since one of them succeeded.
    calls: [Option<(String, u32)>; 2],
    /// What is in trouble, why, and how often in a row.
    troubles: BTreeMap<Trouble, (String, u32)>,
    damage: Vec<Damage>,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the engine is doing, and its store.
    pub(crate) fn status(&self) -> HealthStatus {
        let state = self.lock();
        let failing = state.calls.iter().flatten().chain(state.troubles.values()).max_by_key(|(_, failures)| *failures);
        match (&state.engine, failing, state.damage.first()) {
            (HealthStatus::Healthy, Some((error, failures)), _) => {
                HealthStatus::Degraded { error: error.clone(), failures: *failures }
            }
            (HealthStatus::Healthy, None, Some(first)) => {
                let error = format!("the store is damaged: {first}; `WorkManager::check` lists all that was met");
                HealthStatus::Degraded { error, failures: u32::try_from(state.damage.len()).unwrap_or(u32::MAX) }
            }
            (engine, _, _) => engine.clone(),
        }
    }

    /// The store is asked something.
    pub(crate) fn asks(&self, by: Awaited, now: Duration) {
        if by == Awaited::BySomebody {
            self.writes.asked.fetch_add(1, Ordering::AcqRel);
            self.writes.open.fetch_add(1, Ordering::AcqRel);
        }
        if self.silence.open.fetch_add(1, Ordering::AcqRel) == 0 {
            self.silence.note(now);
        }
    }

    /// It has answered, or nobody waits for that any more.
    pub(crate) fn asks_no_more(&self, by: Awaited, now: Duration) {
        self.silence.note(now);
        self.silence.open.fetch_sub(1, Ordering::AcqRel);
        if by == Awaited::BySomebody {
            self.writes.open.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// How many commits somebody has waited for so far, and how many are waited for now.
    pub(crate) fn writes(&self) -> (u64, usize) {
        (self.writes.asked.load(Ordering::Acquire), self.writes.open.load(Ordering::Acquire))
    }

    /// For how long the store has answered nothing, though somebody waits.
    pub(crate) fn silence(&self, now: Duration) -> Duration {
        self.silence.lasts(now)
    }

    /// How the engine is doing: what is damaged holds up nothing else.
    pub(crate) fn engine(&self) -> HealthStatus {
        self.lock().engine.clone()
    }

    /// Something in the store is damaged, and was passed over.
    pub(crate) fn damaged(&self, damage: Damage) {
        let mut state = self.lock();
        if !state.damage.contains(&damage) {
            state.damage.push(damage);
        }
    }

    /// All that is damaged and was met.
    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.lock().damage.clone()
    }

    pub(crate) fn failed(&self, error: &StoreError) {
        let mut state = self.lock();
        let before = match state.engine {
            HealthStatus::Degraded { failures, .. } => failures,
            _ => 0,
        };
        state.engine = HealthStatus::Degraded { error: error.to_string(), failures: before.saturating_add(1) };
    }

    /// What a call of the program was answered. A damaged row is that call's own trouble.
    pub(crate) fn heard(&self, asked: Asked, error: Option<&StoreError>) {
        let (kind, failing) = (asked as usize, &self.failing[asked as usize]);
        match error {
            None if failing.load(Ordering::Relaxed) => {
                self.lock().calls[kind] = None;
                failing.store(false, Ordering::Relaxed);
            }
            Some(error) if error.is_lost() => self.lost(error),
            Some(error) if matches!(error.kind(), StoreErrorKind::Rejected | StoreErrorKind::Indeterminate) => {
                let call = &mut self.lock().calls[kind];
                let before = call.as_ref().map_or(0, |(_, failures)| *failures);
                *call = Some((error.to_string(), before.saturating_add(1)));
                failing.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Something beside the store fails, once more.
    pub(crate) fn is_in(&self, trouble: Trouble, why: String) {
        let mut state = self.lock();
        let before = state.troubles.get(&trouble).map_or(0, |(_, failures)| *failures);
        state.troubles.insert(trouble, (why, before.saturating_add(1)));
    }

    /// It is well again.
    pub(crate) fn is_over(&self, trouble: Trouble) {
        self.lock().troubles.remove(&trouble);
    }

    /// Whether all slots of a kind are taken for long, and work waits.
    pub(crate) fn stands_still(&self) -> bool {
        let troubles = &self.lock().troubles;
        troubles.contains_key(&Trouble::AsyncSlots) || troubles.contains_key(&Trouble::BlockingSlots)
    }

    /// The runtime has taken no workers of this kind for long. Whether that is news.
    pub(crate) fn lose_runtime(&self, kind: WorkerKind) -> bool {
        !self.lost[kind as usize].swap(true, Ordering::Relaxed)
    }

    /// It takes them again.
    pub(crate) fn regain_runtime(&self, kind: WorkerKind) {
        self.lost[kind as usize].store(false, Ordering::Relaxed);
    }

    pub(crate) fn has_lost_runtime(&self, kind: WorkerKind) -> bool {
        self.lost[kind as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn recovered(&self) {
        self.lock().engine = HealthStatus::Healthy;
    }

    /// The store is gone for good. Nothing that comes later changes that.
    pub(crate) fn lost(&self, error: &StoreError) {
        self.lock().engine = HealthStatus::Lost { error: error.to_string() };
    }

    pub(crate) fn ended(&self) {
        let mut state = self.lock();
        if !matches!(state.engine, HealthStatus::Lost { .. }) {
            state.engine = HealthStatus::Ended;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: StoreErrorKind) -> StoreError {
        StoreError::new(kind, "as this test wants it")
    }

    fn failures(health: &Health) -> u32 {
        match health.status() {
            HealthStatus::Degraded { failures, .. } => failures,
            HealthStatus::Healthy => 0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_that_fails_is_seen_until_one_of_its_kind_succeeds() {
        let health = Health::default();
        for expected in 1..=3 {
            health.heard(Asked::Write, Some(&error(StoreErrorKind::Rejected)));
            assert_eq!(failures(&health), expected);
        }
        health.heard(Asked::Read, None);
        assert_eq!(failures(&health), 3, "that it can be read says nothing of writing");
        health.heard(Asked::Read, Some(&error(StoreErrorKind::Indeterminate)));
        health.heard(Asked::Write, None);
        assert_eq!(failures(&health), 1);
        health.heard(Asked::Read, None);
        assert_eq!(health.status(), HealthStatus::Healthy);
    }

    #[test]
    fn a_damaged_row_and_a_closed_store_are_no_failing_calls() {
        let health = Health::default();
        for kind in [StoreErrorKind::Corrupted, StoreErrorKind::Closed] {
            health.heard(Asked::Write, Some(&error(kind)));
        }
        assert_eq!(health.status(), HealthStatus::Healthy);
    }

    #[test]
    fn what_the_engine_met_is_not_undone_by_a_call() {
        let health = Health::default();
        health.failed(&error(StoreErrorKind::Rejected));
        health.heard(Asked::Write, None);
        assert_eq!(failures(&health), 1);
        health.recovered();
        assert_eq!(health.status(), HealthStatus::Healthy);
    }

    #[test]
    fn a_store_that_is_lost_stays_lost_when_the_manager_ends() {
        let health = Health::default();
        health.heard(Asked::Read, Some(&error(StoreErrorKind::Lost)));
        health.ended();
        assert!(matches!(health.status(), HealthStatus::Lost { .. }));
        let other = Health::default();
        other.ended();
        assert_eq!(other.status(), HealthStatus::Ended);
    }
}
