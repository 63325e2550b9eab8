//! [`Standstill`]: whether the same runs have held all slots of a kind for long, while work waits that could run.
//!
//! Slots that are taken are no trouble, and neither is a long line: it gets shorter whenever a run ends. It is trouble when nothing of
//! a kind has started or ended for longer than a limit, since then its workers hang, or have got more than they are made for. Nobody is
//! woken for that but once after the limit, and only while something seems to wait. Whether it does is asked of the store then.

use std::time::Duration;

use super::inbox::Wake;
use crate::health::{Health, Trouble};
use crate::plan::WorkerKind;

/// How long nothing is asked at the least when the answer was that nothing waits.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

const KINDS: [WorkerKind; 2] = [WorkerKind::Async, WorkerKind::Blocking];

/// How it goes with the slots of each kind.
pub(super) struct Standstill {
    limit: Duration,
    for_async: Watch,
    for_blocking: Watch,
}

/// Whether work waits for a slot, as the store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// And what there is to say of that.
    Yes(String),
    /// It looks as if something waited, since what stands there must not start now. The same is not asked again at once.
    ItOnlySeems,
    No,
}

#[derive(Default)]
struct Watch {
    /// When something of the kind was started or ended last, on the monotonic clock.
    turned_at: Duration,
    /// When somebody looks. It stays when something turns, so that no timer is set for each run.
    look_at: Option<Duration>,
    /// Whether the store is to say if something waits.
    asks: bool,
    stands: bool,
}

impl Standstill {
    pub(super) fn new(limit: Duration, now: Duration) -> Self {
        let watch = || Watch { turned_at: now, ..Watch::default() };
        Standstill { limit, for_async: watch(), for_blocking: watch() }
    }

    fn of(&mut self, kind: WorkerKind) -> &mut Watch {
        match kind {
            WorkerKind::Async => &mut self.for_async,
            WorkerKind::Blocking => &mut self.for_blocking,
        }
    }

    /// A run of this kind has started, or is over.
    pub(super) fn on_turn(&mut self, kind: WorkerKind, now: Duration, health: &Health) {
        let watch = self.of(kind);
        watch.turned_at = now;
        if watch.stands {
            (watch.stands, watch.asks) = (false, false);
            health.is_over(Trouble::standstill(kind));
        }
    }

    /// Somebody asks how it goes, so what was said before is looked at once more.
    pub(super) fn look_again(&mut self) {
        for watch in [&mut self.for_async, &mut self.for_blocking] {
            watch.asks |= watch.stands;
        }
    }

    /// `seems_to_wait` says of a kind whether all of its slots are taken and work seems to wait for one.
    pub(super) fn on_time(&mut self, now: Duration, seems_to_wait: impl Fn(WorkerKind) -> bool) {
        let limit = self.limit;
        for kind in KINDS {
            let watch = self.of(kind);
            if watch.asks || watch.stands || watch.look_at.is_some_and(|at| at > now) {
                continue;
            }
            let due_at = watch.turned_at.saturating_add(limit);
            watch.look_at = (due_at < Duration::MAX && seems_to_wait(kind)).then_some(due_at);
            if watch.look_at.is_some_and(|at| at <= now) {
                (watch.look_at, watch.asks) = (None, true);
            }
        }
    }

    /// Of which kinds the store is to say whether something waits.
    pub(super) fn asks(&self) -> Vec<WorkerKind> {
        let asks = |kind: &WorkerKind| match kind {
            WorkerKind::Async => self.for_async.asks,
            WorkerKind::Blocking => self.for_blocking.asks,
        };
        KINDS.into_iter().filter(asks).collect()
    }

    /// The store has said it.
    pub(super) fn on_answer(&mut self, kind: WorkerKind, waits: Waits, now: Duration, health: &Health) {
        let pause = self.limit.max(SHORTEST_PAUSE);
        let watch = self.of(kind);
        if !std::mem::take(&mut watch.asks) {
            return;
        }
        let stood = std::mem::replace(&mut watch.stands, matches!(waits, Waits::Yes(_)));
        watch.look_at = (waits == Waits::ItOnlySeems).then(|| now.saturating_add(pause));
        match waits {
            Waits::Yes(why) if !stood => {
                tracing::warn!("{why}");
                health.is_in(Trouble::standstill(kind), why);
            }
            Waits::ItOnlySeems | Waits::No if stood => health.is_over(Trouble::standstill(kind)),
            _ => {}
        }
    }

    pub(super) fn next_wake(&self) -> Option<Wake> {
        [&self.for_async, &self.for_blocking].into_iter().filter_map(|watch| watch.look_at).min().map(Wake::at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::HealthStatus;

    const KIND: WorkerKind = WorkerKind::Blocking;
    const LIMIT: Duration = Duration::from_secs(300);
    const SECOND: Duration = Duration::from_secs(1);

    fn waits(kind: WorkerKind) -> bool {
        kind == KIND
    }

    const WHY: &str = "as this test wants it";

    fn yes() -> Waits {
        Waits::Yes(WHY.into())
    }

    #[test]
    fn it_is_told_of_after_the_limit_and_is_over_when_something_turns() {
        let (health, mut standstill) = (Health::default(), Standstill::new(LIMIT, SECOND));
        standstill.on_time(SECOND, waits);
        assert_eq!(standstill.next_wake(), Some(Wake::at(SECOND + LIMIT)));
        assert_eq!(standstill.asks(), []);
        standstill.on_time(SECOND + LIMIT, waits);
        assert_eq!((standstill.asks(), standstill.next_wake()), (vec![KIND], None));
        standstill.on_answer(KIND, yes(), 2 * LIMIT, &health);
        standstill.on_answer(WorkerKind::Async, yes(), 2 * LIMIT, &health);
        let wanted = HealthStatus::Degraded { error: WHY.into(), failures: 1 };
        assert_eq!((health.status(), standstill.asks()), (wanted, vec![]));
        standstill.on_turn(WorkerKind::Async, SECOND + LIMIT, &health);
        assert_ne!(health.status(), HealthStatus::Healthy, "the other kind has nothing to do with it");
        standstill.on_turn(KIND, SECOND + LIMIT, &health);
        assert_eq!(health.status(), HealthStatus::Healthy);
    }

    #[test]
    fn what_turns_within_the_limit_sets_no_timer_anew_and_a_line_that_gets_on_is_no_trouble() {
        let (health, mut standstill) = (Health::default(), Standstill::new(LIMIT, Duration::ZERO));
        standstill.on_time(Duration::ZERO, waits);
        for turn in 1..=10 {
            let now = turn * LIMIT / 10;
            standstill.on_turn(KIND, now, &health);
            assert_eq!(standstill.next_wake(), Some(Wake::at(LIMIT)));
            standstill.on_time(now, waits);
        }
        assert_eq!((standstill.asks(), standstill.next_wake()), (vec![], Some(Wake::at(2 * LIMIT))));
    }

    #[test]
    fn while_nothing_waits_nobody_is_woken_and_with_no_limit_never() {
        let mut standstill = Standstill::new(LIMIT, Duration::ZERO);
        standstill.on_time(10 * LIMIT, |_| false);
        assert_eq!((standstill.asks(), standstill.next_wake()), (vec![], None));
        let mut never = Standstill::new(Duration::MAX, Duration::ZERO);
        never.on_time(10 * LIMIT, waits);
        assert_eq!((never.asks(), never.next_wake()), (vec![], None));
    }

    #[test]
    fn what_waited_and_was_withdrawn_is_no_trouble_any_more_as_soon_as_somebody_asks() {
        let (health, mut standstill) = (Health::default(), Standstill::new(LIMIT, Duration::ZERO));
        standstill.on_time(LIMIT, waits);
        standstill.on_answer(KIND, yes(), 2 * LIMIT, &health);
        standstill.look_again();
        assert_eq!(standstill.asks(), [KIND]);
        standstill.on_answer(KIND, Waits::ItOnlySeems, 2 * LIMIT, &health);
        assert_eq!((health.status(), standstill.asks()), (HealthStatus::Healthy, vec![]));
        standstill.on_time(2 * LIMIT, waits);
        assert_eq!(
            (standstill.asks(), standstill.next_wake()),
            (vec![], Some(Wake::at(3 * LIMIT))),
            "that it only seems so"
        );
        standstill.on_time(3 * LIMIT, waits);
        standstill.on_answer(KIND, Waits::No, 3 * LIMIT, &health);
        standstill.on_time(3 * LIMIT, waits);
        assert_eq!(standstill.asks(), [KIND], "it is something new");
    }
}
