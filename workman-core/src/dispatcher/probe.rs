//! [`Probes`]: whether the runtime takes what it is given. One that dropped a run instead of beginning it has ended, or can't start a
//! thread for the moment, and nobody can tell which: so it is given something that costs nothing, again and again, later and later,
//! and work when that was run. Meanwhile no more runs than it has taken.

use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;

use super::core::Core;
use super::inbox::Wake;
use crate::foreign::foreign;
use crate::health::Trouble;
use crate::plan::WorkerKind;
use crate::runtime::Runtime;
use crate::time::LONGEST_SLEEP;
use crate::worker::{FromWorker, Tried};

/// The first wait after a failure; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = LONGEST_SLEEP;

/// A failure so long after the last one has nothing to do with it.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// A runtime that has taken nothing for so long counts as gone for those who wait for an output. It is tried all the same.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// Whether both kinds of workers are taken.
pub(super) struct Probes {
    for_async: Probe,
    for_blocking: Probe,
    to_dispatcher: UnboundedSender<FromWorker>,
}

#[derive(Default)]
struct Probe {
    trust: Trust,
    /// Failures in a row, and when the first and the last of them were.
    failures: u32,
    first_failed: Duration,
    last_failed: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    #[default]
    Full,
    /// Something is tried then.
    Lost { until: Duration },
    /// Something was given to it, and was neither run nor dropped yet.
    Asked,
}

/// What a kind of workers has to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prospect {
    /// It is tried again, soon.
    Soon,
    /// Nothing was taken for long.
    Gone,
}

impl Probe {
    /// It did not take something at that time.
    fn on_dropped(&mut self, now: Duration) -> Prospect {
        if now.saturating_sub(self.last_failed) >= FORGIVEN_AFTER {
            self.failures = 0;
        }
        if self.failures == 0 || self.trust == Trust::Full {
            self.first_failed = now;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failed = now;
        self.trust = Trust::Lost { until: now.saturating_add(wait_after(self.failures)) };
        self.prospect()
    }

    fn prospect(&self) -> Prospect {
        let is_gone = self.trust != Trust::Full && self.last_failed.saturating_sub(self.first_failed) >= GONE_AFTER;
        if is_gone { Prospect::Gone } else { Prospect::Soon }
    }

    fn is_due(&self, now: Duration) -> bool {
        matches!(self.trust, Trust::Lost { until } if until <= now)
    }
}

impl Probes {
    pub(super) fn new(to_dispatcher: UnboundedSender<FromWorker>) -> Self {
        Probes { for_async: Probe::default(), for_blocking: Probe::default(), to_dispatcher }
    }

    fn of(&mut self, kind: WorkerKind) -> &mut Probe {
        match kind {
            WorkerKind::Async => &mut self.for_async,
            WorkerKind::Blocking => &mut self.for_blocking,
        }
    }

    /// The runtime has dropped a run of this kind, or has not begun it; so many run.
    pub(super) fn on_dropped(&mut self, kind: WorkerKind, running: usize, core: &Core, now: Duration) {
        core.slots.set_ceiling(kind, Some(running));
        // Many are dropped at once, and that is one failure.
        if self.of(kind).trust == Trust::Full {
            self.on_failed(kind, core, now);
        }
    }

    fn on_failed(&mut self, kind: WorkerKind, core: &Core, now: Duration) {
        let prospect = self.of(kind).on_dropped(now);
        let why = format!(
            "the runtime ({}) does not run {} workers: it has ended, or has no thread for them; it is tried again",
            foreign(|| core.runtime.name()).unwrap_or("nameless"),
            kind.as_str()
        );
        tracing::warn!(failures = self.of(kind).failures, "{why}");
        core.health.is_in(Trouble::of(kind), why);
        if prospect == Prospect::Gone && core.health.lose_runtime(kind) {
            // Who waits for an output hears of that.
            core.hub.touch_all();
        }
    }

    /// What was tried was run, or dropped. Answers whether that kind is taken again.
    pub(super) fn on_tried(&mut self, kind: WorkerKind, tried: Tried, core: &Core, now: Duration) -> bool {
        match tried {
            Tried::Dropped if self.of(kind).trust == Trust::Asked => self.on_failed(kind, core, now),
            Tried::Dropped => {}
            Tried::Run => {
                self.of(kind).trust = Trust::Full;
                core.slots.set_ceiling(kind, None);
                core.health.is_over(Trouble::of(kind));
                core.health.regain_runtime(kind);
                tracing::info!("the runtime runs {} workers again", kind.as_str());
            }
        }
        tried == Tried::Run
    }

    /// Tries what is due.
    pub(super) fn on_time(&mut self, core: &Core, now: Duration) {
        for kind in [WorkerKind::Async, WorkerKind::Blocking] {
            if !self.of(kind).is_due(now) {
                continue;
            }
            self.of(kind).trust = Trust::Asked;
            let token = Token { kind, tried: Tried::Dropped, to_dispatcher: self.to_dispatcher.clone() };
            // It says by its drop what became of it, whatever the runtime does.
            let given = foreign(|| match kind {
                WorkerKind::Async => core.runtime.spawn(Box::pin(async move { token.run() })),
                WorkerKind::Blocking => core.runtime.spawn_blocking(Box::new(move || token.run())),
            });
            // One that panics may keep it all the same, and run it some day or never.
            if given.is_err() {
                self.on_failed(kind, core, now);
            }
        }
    }

    /// Whether work that can't start may do so soon.
    pub(super) fn are_hopeful(&self) -> bool {
        [&self.for_async, &self.for_blocking]
            .into_iter()
            .any(|probe| probe.trust != Trust::Full && probe.prospect() == Prospect::Soon)
    }

    pub(super) fn next_wake(&self) -> Option<Wake> {
        let lost = [&self.for_async, &self.for_blocking].into_iter().filter_map(|probe| match probe.trust {
            Trust::Lost { until } => Some(until),
            Trust::Full | Trust::Asked => None,
        });
        lost.min().map(Wake::at)
    }
}

fn wait_after(failures: u32) -> Duration {
    let doubled = 1_u32 << failures.saturating_sub(1).min(16);
    FIRST_RETRY.saturating_mul(doubled).min(LONGEST_RETRY)
}

/// What is given to a runtime to try it.
struct Token {
    kind: WorkerKind,
    tried: Tried,
    to_dispatcher: UnboundedSender<FromWorker>,
}

impl Token {
    fn run(mut self) {
        self.tried = Tried::Run;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let Token { kind, tried, .. } = *self;
        // A dispatcher that is gone does not want to know.
        let _ = self.to_dispatcher.unbounded_send(FromWorker::Tried(kind, tried));
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::unbounded;

    use super::*;
    use crate::health::HealthStatus;
    use crate::limits::Limits;
    use crate::worker::Registry;

    const KIND: WorkerKind = WorkerKind::Blocking;
    const HOUR: Duration = Duration::from_secs(3_600);

    fn bench() -> (Probes, Core) {
        let mut limits = Limits::default();
        (limits.async_slots, limits.blocking_slots, limits.expedited_slots) = (4, 4, 0);
        (Probes::new(unbounded().0), Core::still(Registry::new(), limits))
    }

    fn free(core: &Core) -> [usize; 2] {
        core.slots.take_offers(0);
        let (for_async, for_blocking) = core.slots.begin_claim();
        core.slots.set_running(Default::default());
        [for_async.ordinary, for_blocking.ordinary]
    }

    #[test]
    fn no_more_run_than_the_runtime_has_taken_until_it_takes_more() {
        let (mut probes, core) = bench();
        probes.on_dropped(KIND, 1, &core, HOUR);
        assert_eq!(free(&core), [4, 1], "the other kind has nothing to do with it");
        assert!(matches!(core.health.status(), HealthStatus::Degraded { failures: 1, .. }));
        probes.on_dropped(KIND, 0, &core, HOUR);
        assert_eq!(free(&core), [4, 0]);
        assert!(
            matches!(core.health.status(), HealthStatus::Degraded { failures: 1, .. }),
            "they were dropped together"
        );
        assert!(probes.on_tried(KIND, Tried::Run, &core, HOUR));
        assert_eq!((free(&core), core.health.status()), ([4, 4], HealthStatus::Healthy));
    }

    #[test]
    fn it_is_tried_again_later_and_later_up_to_a_minute_and_counts_as_gone_after_a_while() {
        let (mut probes, core) = bench();
        let (mut now, mut waits) = (HOUR, Vec::new());
        probes.on_dropped(KIND, 0, &core, now);
        for _ in 0..16 {
            let lasted = now - HOUR;
            assert_eq!(core.health.has_lost_runtime(KIND), lasted >= GONE_AFTER, "{lasted:?}");
            assert_eq!(probes.are_hopeful(), lasted < GONE_AFTER);
            let Trust::Lost { until } = probes.for_blocking.trust else { panic!("it is not trusted") };
            waits.push(until - now);
            now = until;
            // The bench's runtime drops whatever it is given.
            probes.on_time(&core, now);
            assert_eq!((probes.for_blocking.trust, probes.next_wake()), (Trust::Asked, None));
            assert!(!probes.on_tried(KIND, Tried::Dropped, &core, now));
        }
        assert!(waits.is_sorted() && waits[0] == FIRST_RETRY && waits[15] == LONGEST_RETRY, "{waits:?}");
        assert!(probes.on_tried(KIND, Tried::Run, &core, now));
        assert!(!core.health.has_lost_runtime(KIND) && !probes.are_hopeful());
        probes.on_dropped(KIND, 3, &core, now);
        assert_eq!(probes.next_wake(), Some(Wake::at(now + LONGEST_RETRY)), "it has not held for long");
        assert!(!core.health.has_lost_runtime(KIND), "but this is another failure");
        assert!(probes.on_tried(KIND, Tried::Run, &core, now));
        now += FORGIVEN_AFTER;
        probes.on_dropped(KIND, 3, &core, now);
        assert_eq!(probes.next_wake(), Some(Wake::at(now + FIRST_RETRY)));
    }
}
