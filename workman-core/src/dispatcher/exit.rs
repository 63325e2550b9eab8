//! [`Exit`]: the way out. Nothing starts any more, what runs is stopped, what is left is given back, and who waits is told.

use std::time::Duration;

use futures::channel::oneshot;

use super::core::Role;
use super::inbox::{ShutdownReport, Wake};
use super::outbox::wait_after;
use crate::foreign::answer;
use crate::id::WorkId;
use crate::store::StoreError;

/// How long after the grace of a shutdown work is given back, however the store fails. With what it takes to say so, a shutdown is over a
/// second after its grace.
const FAREWELL: Duration = Duration::from_millis(900);

/// How far the manager is on its way out, and who waits for it.
pub(super) struct Exit {
    role: Role,
    phase: Phase,
    store_gone: bool,
    /// What there is to say of a store that did not answer in time.
    silence: Option<String>,
    /// Whether everything was given back.
    detached: bool,
    idle_waiters: Vec<oneshot::Sender<()>>,
    /// What has ended since the manager began to leave, and what had to be made to.
    report: ShutdownReport,
    /// How often it could not be given back, and when that is tried again, on the monotonic clock.
    failures: u32,
    retry_at: Option<Duration>,
}

enum Phase {
    Running,
    Leaving { waiting: Vec<oneshot::Sender<ShutdownReport>>, until: Duration },
}

/// Whether a manager that is told to leave was on its way already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Begins,
    GoesOn,
}

/// Whether a run ended by itself, or was made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    ByItself,
    GivenUp,
}

/// What is said at the very end of a manager, and to whom.
#[must_use = "somebody may wait for it"]
pub(crate) struct Farewell {
    waiting: Vec<oneshot::Sender<ShutdownReport>>,
    report: ShutdownReport,
}

impl Farewell {
    pub(crate) fn say(self) {
        for done in self.waiting {
            answer(done, self.report.clone());
        }
    }
}

impl Exit {
    pub(super) fn new(role: Role) -> Self {
        Exit {
            role,
            phase: Phase::Running,
            store_gone: false,
            silence: None,
            detached: false,
            idle_waiters: Vec::new(),
            report: ShutdownReport::default(),
            failures: 0,
            retry_at: None,
        }
    }

    /// Whether this manager may claim work, and start what it has claimed.
    pub(super) fn runs(&self) -> bool {
        self.role == Role::Runs && matches!(self.phase, Phase::Running)
    }

    pub(super) fn on_store_gone(&mut self) {
        self.store_gone = true;
    }

    pub(super) fn store_is_gone(&self) -> bool {
        self.store_gone
    }

    pub(super) fn wait_until_idle(&mut self, waiter: oneshot::Sender<()>) {
        self.idle_waiters.push(waiter);
    }

    /// Nothing runs and nothing can start.
    pub(super) fn tell_idle(&mut self) {
        for waiter in self.idle_waiters.drain(..) {
            answer(waiter, ());
        }
    }

    /// Somebody wants the manager to leave, or nobody is left who could want anything.
    pub(super) fn leave(
        &mut self,
        grace: Duration,
        done: Option<oneshot::Sender<ShutdownReport>>,
        now: Duration,
    ) -> Leaving {
        match &mut self.phase {
            Phase::Leaving { waiting, .. } => {
                waiting.extend(done);
                Leaving::GoesOn
            }
            Phase::Running => {
                let until = now.saturating_add(grace).saturating_add(FAREWELL);
                self.phase = Phase::Leaving { waiting: Vec::from_iter(done), until };
                Leaving::Begins
            }
        }
    }

    /// A run is over. Before the way out nobody will ask for that.
    pub(super) fn count(&mut self, id: WorkId, parting: Parting) {
        match (&self.phase, parting) {
            (Phase::Running, _) => {}
            (Phase::Leaving { .. }, Parting::ByItself) => self.report.ended += 1,
            (Phase::Leaving { .. }, Parting::GivenUp) => self.report.given_up.push(id),
        }
    }

    /// Whether the manager goes as soon as nothing runs any more.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    /// Whether the time to leave in is over, on the monotonic clock.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        matches!(self.phase, Phase::Leaving { until, .. } if until <= now)
    }

    /// The time to leave in is over, and the store has not answered.
    pub(super) fn on_silence(&mut self, silence: Option<String>) {
        self.silence = silence.or_else(|| Some("the store does not answer".to_owned()));
    }

    pub(super) fn store_is_silent(&self) -> bool {
        self.silence.is_some()
    }

    pub(super) fn silence(&self) -> Option<String> {
        self.silence.clone()
    }

    /// When the time to leave in is over, if it has begun.
    pub(super) fn ends_at(&self) -> Option<Wake> {
        match &self.phase {
            Phase::Leaving { until, .. } => Some(Wake::at(*until)),
            Phase::Running => None,
        }
    }

    /// Nobody knows what the store says of these.
    pub(super) fn on_uncertain(&mut self, works: impl IntoIterator<Item = WorkId>) {
        self.report.uncertain.extend(works);
    }

    /// What is left could not be given back. Whether that is tried once more.
    pub(super) fn tries_again(&mut self, error: &StoreError, now: Duration) -> Trying {
        let until = match &self.phase {
            Phase::Leaving { until, .. } => *until,
            Phase::Running => now,
        };
        self.failures += 1;
        let retry_at = now.saturating_add(wait_after(self.failures));
        if error.is_closed() || retry_at > until {
            return Trying::InVain;
        }
        self.retry_at = Some(retry_at);
        Trying::Again
    }

    /// Whether it is too early to give back what is left.
    pub(super) fn rests(&self, now: Duration) -> bool {
        self.retry_at.is_some_and(|at| at > now)
    }

    pub(super) fn next_wake(&self) -> Option<Wake> {
        self.retry_at.map(Wake::at)
    }

    /// Everything was given back, or can't be.
    pub(super) fn farewell(&mut self, error: Option<String>) -> Farewell {
        self.detached = error.is_none();
        let uncertain = &mut self.report.uncertain;
        uncertain.sort();
        uncertain.dedup();
        if self.detached {
            uncertain.clear();
        }
        let waiting = match &mut self.phase {
            Phase::Leaving { waiting, .. } => std::mem::take(waiting),
            Phase::Running => Vec::new(),
        };
        Farewell { waiting, report: ShutdownReport { error, ..std::mem::take(&mut self.report) } }
    }

    /// Whether somebody else may have this manager's works already.
    pub(super) fn has_left(&self) -> bool {
        self.detached || self.store_gone || self.store_is_silent()
    }
}

/// Whether there is any use in another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trying {
    Again,
    InVain,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;

    const NOW: Duration = Duration::from_secs(100);
    const SECOND: Duration = Duration::from_secs(1);

    fn rejected() -> StoreError {
        StoreError::new(StoreErrorKind::Rejected, "no")
    }

    #[test]
    fn a_manager_claims_and_starts_until_it_leaves_and_one_that_only_enqueues_never_does() {
        let mut exit = Exit::new(Role::Runs);
        assert!(exit.runs() && !exit.is_leaving());
        assert_eq!(exit.leave(SECOND, None, NOW), Leaving::Begins);
        assert!(!exit.runs() && exit.is_leaving());
        assert!(!Exit::new(Role::EnqueuesOnly).runs());
    }

    #[test]
    fn everybody_who_asked_is_told_what_ended_on_the_way_out_and_nothing_before() {
        let mut exit = Exit::new(Role::Runs);
        let (one, two) = (WorkId::from_u128(1), WorkId::from_u128(2));
        exit.count(one, Parting::GivenUp);
        let ((first, mut hears), (second, mut hears_too)) = (oneshot::channel(), oneshot::channel());
        assert_eq!(exit.leave(SECOND, Some(first), NOW), Leaving::Begins);
        exit.count(two, Parting::GivenUp);
        exit.count(one, Parting::ByItself);
        assert_eq!(exit.leave(SECOND, Some(second), NOW), Leaving::GoesOn);
        exit.on_uncertain([two, one, two]);
        exit.farewell(Some("no".to_owned())).say();
        let error = Some("no".to_owned());
        let wanted = ShutdownReport { ended: 1, given_up: vec![two], error, uncertain: vec![one, two] };
        assert_eq!(hears.try_recv(), Ok(Some(wanted.clone())));
        assert_eq!(hears_too.try_recv(), Ok(Some(wanted)));
        assert!(!exit.has_left(), "a last try is made when it is dropped");
        let _ = exit.farewell(None);
        assert!(exit.has_left());
    }

    #[test]
    fn giving_back_is_tried_again_as_long_as_the_grace_lasts_and_never_in_a_store_that_is_closed() {
        for grace in [Duration::ZERO, 10 * SECOND] {
            let mut exit = Exit::new(Role::Runs);
            let _ = exit.leave(grace, None, NOW);
            let mut now = NOW;
            while exit.tries_again(&rejected(), now) == Trying::Again {
                assert!(exit.rests(now));
                assert_eq!(exit.next_wake(), exit.retry_at.map(Wake::at));
                now = exit.retry_at.unwrap_or(now);
                assert!(!exit.rests(now));
            }
            let (lasted, most) = (now - NOW, grace + FAREWELL);
            assert!(lasted <= most && lasted >= most / 4, "{lasted:?}");
            assert!(!exit.is_over(NOW + most / 2) && exit.is_over(NOW + most));
            assert_eq!(exit.ends_at(), Some(Wake::at(NOW + most)));
            assert!(exit.tries_again(&StoreError::closed(), NOW) == Trying::InVain);
        }
        assert!(Exit::new(Role::Runs).tries_again(&rejected(), NOW) == Trying::InVain, "nobody waits for it");
    }
}
