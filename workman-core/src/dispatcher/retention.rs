//! When finished work is deleted: what is old a while after it is, and what is too much at once, in bounded commits.
//!
//! Which work goes is the planner's business; this says when it is asked. A pass goes through all that may go, one command in each
//! commit until it is through.

use std::time::Duration;

use crate::limits::Limits;
use crate::plan::{Prune, Retention};
use crate::store::index::IndexKey;
use crate::time::Timestamp;

/// The least time from the end of a pass to the next one, unless too much is stored: what is old may wait a little. It also
/// keeps passes apart when too much is stored and none of it can go.
const PAUSE: Duration = Duration::from_secs(60);

/// Says when to prune.
pub(super) struct Keeper {
    age: Duration,
    count: usize,
    pass: Option<Pass>,
    /// Finished works that are stored, as far as is known.
    stored: u64,
    /// Whether the last pass left more than shall be kept: that is waited for, or was asked to be kept.
    stuck: bool,
    /// When something has been kept long enough, in store time.
    due: Option<Timestamp>,
    /// No pass for what is due begins before, on the monotonic clock.
    rests_until: Duration,
}

/// A pass under way: where its next command begins.
#[derive(Clone, Default)]
struct Pass {
    after: Option<IndexKey>,
    deleted: usize,
    /// The first of what finished since it began.
    due: Option<Timestamp>,
}

/// What a store answered to a command of a pass.
pub(super) struct Pruned {
    pub(super) count: usize,
    pub(super) stored: u64,
    pub(super) next: Option<IndexKey>,
    pub(super) next_due: Option<Timestamp>,
}

/// The moment by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) store: Timestamp,
    pub(super) monotonic: Duration,
}

impl Keeper {
    /// Nobody knows yet what is stored, so the first pass is due at once.
    pub(super) fn new(limits: &Limits) -> Self {
        Keeper {
            age: limits.retention,
            count: limits.retained,
            pass: None,
            stored: 0,
            stuck: false,
            due: Some(Timestamp::MIN),
            rests_until: Duration::ZERO,
        }
    }

    /// The next command, if there is something to do now.
    pub(super) fn command(&mut self, now: Moment) -> Option<Prune> {
        if self.pass.is_none() && self.is_pass_due(now) {
            self.pass = Some(Pass::default());
        }
        let keep = Retention::Recent { age: self.age, count: self.count };
        // What finishes meanwhile comes later in the index, and is looked at by the same pass.
        self.pass.clone().map(|Pass { after, .. }| Prune { keep, before: None, after })
    }

    fn is_pass_due(&self, now: Moment) -> bool {
        let too_many = self.is_too_much(self.stored) && !self.stuck;
        too_many || (now.monotonic >= self.rests_until && self.due.is_some_and(|due| due <= now.store))
    }

    fn is_too_much(&self, stored: u64) -> bool {
        usize::try_from(stored).map_or(true, |stored| stored > self.count)
    }

    /// How long until there is something to do. With nothing stored there never is.
    pub(super) fn next_wake(&self, now: Moment) -> Option<Duration> {
        let due = self.due?.since(now.store);
        Some(due.max(self.rests_until.saturating_sub(now.monotonic)))
    }

    /// Works have finished; the first of them asked to be kept until then.
    pub(super) fn on_finished(&mut self, stored: u64, until: Timestamp) {
        self.stored = stored;
        let too_much = self.is_too_much(stored);
        self.stuck &= too_much;
        let due = if too_much { Some(until) } else { ever(until + self.age) };
        self.due = earlier(self.due, due);
        if let Some(pass) = &mut self.pass {
            pass.due = earlier(pass.due, due);
        }
    }

    /// What has finished is not known any more.
    pub(super) fn look_at_everything(&mut self) {
        self.due = Some(Timestamp::MIN);
        if let Some(pass) = &mut self.pass {
            pass.due = self.due;
        }
    }

    pub(super) fn on_pruned(&mut self, answer: Pruned, now: Moment) {
        self.stored = answer.stored;
        let Some(mut pass) = self.pass.take() else { return };
        pass.deleted += answer.count;
        if answer.next.is_some() {
            self.pass = Some(Pass { after: answer.next, ..pass });
            return;
        }
        self.stuck = self.is_too_much(answer.stored);
        self.rests_until = now.monotonic.saturating_add(PAUSE);
        // What depends on deleted work, or on much, may go once that has gone: there is another look.
        let again = (pass.deleted > 0 && answer.stored > 0).then_some(now.store);
        self.due = [answer.next_due.and_then(ever), pass.due, again].into_iter().fold(None, earlier);
    }

    /// The store can't read something that the pass needs.
    pub(super) fn give_up(&mut self, now: Moment) {
        self.pass = None;
        self.stuck = true;
        self.rests_until = now.monotonic.saturating_add(PAUSE);
        self.due = Some(now.store);
    }
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// The time, if it ever comes: what is kept for good is never due.
fn ever(at: Timestamp) -> Option<Timestamp> {
    (at < Timestamp::MAX).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WorkId;

    const HOUR: Duration = Duration::from_secs(3_600);
    const SECOND: Duration = Duration::from_secs(1);

    fn keeper(count: usize) -> Keeper {
        let mut limits = Limits::default();
        (limits.retention, limits.retained) = (HOUR, count);
        Keeper::new(&limits)
    }

    fn at(passed: Duration) -> Moment {
        Moment { store: Timestamp::from_millis(0) + passed, monotonic: passed }
    }

    fn pruned(count: usize, stored: u64, next_due: Option<Timestamp>) -> Pruned {
        Pruned { count, stored, next: None, next_due }
    }

    /// A keeper that has had its first pass, at the beginning of time.
    fn rested(count: usize, stored: u64, next_due: Option<Timestamp>) -> Keeper {
        let mut keeper = keeper(count);
        assert!(keeper.command(at(Duration::ZERO)).is_some(), "nobody knows yet what is stored");
        keeper.on_pruned(pruned(0, stored, next_due), at(Duration::ZERO));
        keeper
    }

    #[test]
    fn with_nothing_stored_there_is_nothing_to_wait_for() {
        let mut keeper = rested(10, 0, None);
        assert_eq!(keeper.next_wake(at(SECOND)), None);
        assert!(keeper.command(at(1_000 * HOUR)).is_none());
    }

    #[test]
    fn what_is_old_enough_is_pruned_then_and_not_before() {
        let mut keeper = rested(10, 1, Some(at(2 * HOUR).store));
        assert_eq!(keeper.next_wake(at(HOUR)), Some(HOUR));
        assert!(keeper.command(at(2 * HOUR - SECOND)).is_none());
        assert!(keeper.command(at(2 * HOUR)).is_some());
    }

    #[test]
    fn what_has_just_finished_is_due_when_its_time_is_over() {
        let mut keeper = rested(10, 0, None);
        keeper.on_finished(1, at(HOUR).store);
        keeper.on_finished(2, at(3 * HOUR).store);
        assert_eq!(keeper.next_wake(at(HOUR)), Some(HOUR));
    }

    #[test]
    fn too_much_is_pruned_at_once_but_not_again_and_again_if_none_of_it_may_go() {
        let mut keeper = rested(10, 0, None);
        keeper.on_finished(10, at(SECOND).store);
        assert!(keeper.command(at(SECOND)).is_none());
        keeper.on_finished(11, at(SECOND).store);
        assert!(keeper.command(at(SECOND)).is_some());
        keeper.on_pruned(pruned(0, 11, None), at(SECOND));
        assert!(keeper.command(at(HOUR)).is_none(), "nothing has happened since");
        assert_eq!(keeper.next_wake(at(HOUR)), None);
        keeper.on_finished(12, at(2 * SECOND).store);
        assert!(keeper.command(at(2 * SECOND)).is_none());
        assert_eq!(keeper.next_wake(at(2 * SECOND)), Some(PAUSE - SECOND));
        assert!(keeper.command(at(SECOND + PAUSE)).is_some());
        keeper.on_pruned(pruned(9, 3, None), at(SECOND + PAUSE));
        keeper.on_finished(11, at(SECOND + PAUSE).store);
        assert!(keeper.command(at(SECOND + PAUSE)).is_some(), "now it may go again");
    }

    #[test]
    fn a_pass_goes_on_where_it_was_until_it_is_through() {
        let mut keeper = keeper(10);
        let next = Some(IndexKey::Blocked { seq: 1, id: WorkId::from_u128(1) });
        assert_eq!(keeper.command(at(SECOND)).unwrap().after, None);
        keeper.on_pruned(Pruned { next: next.clone(), ..pruned(256, 500, None) }, at(SECOND));
        let second = keeper.command(at(SECOND)).unwrap();
        assert_eq!((second.before, second.after), (None, next));
        keeper.on_finished(245, at(HOUR).store);
        keeper.on_pruned(pruned(244, 1, None), at(SECOND));
        assert!(keeper.command(at(SECOND)).is_none());
        assert_eq!(keeper.next_wake(at(SECOND)), Some(PAUSE), "something may have been freed by what went");
        assert!(keeper.command(at(SECOND + PAUSE)).is_some());
        keeper.on_pruned(pruned(0, 1, Some(at(2 * HOUR).store)), at(SECOND + PAUSE));
        assert_eq!(keeper.next_wake(at(HOUR)), Some(HOUR));
    }

    #[test]
    fn passes_for_what_is_old_are_a_minute_apart() {
        let mut keeper = rested(10, 1, Some(at(SECOND).store));
        assert!(keeper.command(at(SECOND)).is_none());
        assert_eq!(keeper.next_wake(at(SECOND)), Some(PAUSE - SECOND));
        assert!(keeper.command(at(PAUSE)).is_some());
    }

    #[test]
    fn what_is_kept_for_good_is_never_waited_for() {
        let limits = Limits { retention: Duration::MAX, ..Limits::default() };
        let mut keeper = Keeper::new(&limits);
        assert!(keeper.command(at(SECOND)).is_some());
        keeper.on_finished(1, at(SECOND).store);
        keeper.on_pruned(pruned(0, 1, Some(Timestamp::MAX)), at(SECOND));
        assert_eq!(keeper.next_wake(at(SECOND)), None);
    }

    #[test]
    fn a_damaged_row_is_left_alone_for_a_while() {
        let mut keeper = keeper(0);
        assert!(keeper.command(at(SECOND)).is_some());
        keeper.give_up(at(SECOND));
        assert!(keeper.command(at(SECOND)).is_none());
        assert_eq!(keeper.next_wake(at(SECOND)), Some(PAUSE));
    }

    #[test]
    fn lost_hints_are_made_up_for_by_a_pass() {
        let mut keeper = rested(10, 0, None);
        keeper.look_at_everything();
        assert!(keeper.command(at(PAUSE)).is_some());
    }
}
