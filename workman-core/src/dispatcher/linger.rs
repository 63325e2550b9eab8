//! Ends that are about to come share a commit with those that are here.
//!
//! Works that start together often end together, and the first end must not take a commit for itself while the others are on
//! their way: a commit costs as much as many ends. So the dispatcher gives way a few times as long as ends keep coming. It waits
//! for nothing and sets no timer: nobody who takes his time can hold up those who don't.

use std::time::Duration;

use super::Dispatcher;

/// So many ends are worth a commit of their own. While that is written, the next ones come.
pub(super) const CROWD: usize = 64;

/// How often it gives way in vain. Giving way to nobody takes less than a microsecond.
const PATIENCE: u32 = 32;

/// What has been running for longer is not about to end, or no sooner than anything else.
const MOMENT: Duration = Duration::from_millis(1);

/// How long ends have been waiting for others, counted in turns.
#[derive(Default)]
pub(super) struct Linger {
    /// How many were there at the last look.
    ends: usize,
    turns_left: u32,
    /// When something was started last, on the monotonic clock.
    started_at: Duration,
}

impl Linger {
    /// Works were started.
    pub(super) fn on_started(&mut self, now: Duration) {
        self.started_at = now;
    }

    /// The ends that are here are on their way to the store.
    pub(super) fn on_sent(&mut self) {
        (self.ends, self.turns_left) = (0, 0);
    }

    fn goes_on(&mut self, ends: usize, now: Duration) -> bool {
        if ends > self.ends {
            (self.ends, self.turns_left) = (ends, PATIENCE);
        }
        let more_may_come = self.turns_left > 0 && now.saturating_sub(self.started_at) <= MOMENT;
        self.turns_left = self.turns_left.saturating_sub(1);
        more_may_come
    }
}

impl Dispatcher {
    /// Whether the ends that are here wait a little for those of works that have started since the last commit was sent.
    pub(super) fn lingers(&mut self) -> bool {
        let ends = self.ends.len();
        let may_have_company = (1..CROWD).contains(&ends) && self.attempts.young() > 0;
        may_have_company && self.linger.goes_on(ends, self.core.clock.monotonic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    /// How often ends give way if this many are there at each look, and the same number for ever after.
    fn turns(linger: &mut Linger, looks: &[usize]) -> u32 {
        let last = looks.last().copied().unwrap_or_default();
        let looks = looks.iter().copied().chain(std::iter::repeat(last));
        let turns = looks.take_while(|ends| linger.goes_on(*ends, NOW)).take(10_000).count();
        u32::try_from(turns).unwrap()
    }

    #[test]
    fn ends_give_way_a_few_times_after_the_last_one_came_and_then_no_more() {
        let mut linger = Linger::default();
        linger.on_started(NOW);
        assert_eq!(turns(&mut linger, &[1]), PATIENCE);
        assert_eq!(turns(&mut linger, &[1]), 0, "nobody else came");
        assert_eq!(turns(&mut linger, &[2, 2, 3]), 2 + PATIENCE);
        linger.on_sent();
        assert_eq!(turns(&mut linger, &[1]), PATIENCE);
    }

    #[test]
    fn nobody_waits_for_what_began_long_ago() {
        let mut linger = Linger::default();
        linger.on_started(NOW - MOMENT - MOMENT);
        assert_eq!(turns(&mut linger, &[1]), 0);
    }
}
