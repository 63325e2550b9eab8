//! [`Pruning`]: the deletion of finished works, of what is old a while after it is, and of what is too much, in bounded commits.
//!
//! Which work goes is the planner's business; this says when it is asked. A pass goes through all that may go, one command in each
//! commit until it is through. It begins when something is due, or rides on a commit that happens anyway once that is worth it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::inbox::Wake;
use super::sweep::{Sweep, SweepState};
use crate::id::WorkId;
use crate::index::IndexKey;
use crate::limits::Limits;
use crate::plan::{PRUNE_GRACE, Prune, Retention, Stride};
use crate::store::StoreError;
use crate::time::{LONGEST_REST, Timestamp};

/// The least time from the end of a pass to the next one, unless that rides: what is old may wait a little. It also keeps
/// passes apart when too much is stored and none of it can go.
const PAUSE: Duration = Duration::from_secs(60);

/// A pass for what is too much rides as soon as that is this part of what shall be kept.
const WORTH_A_PASS: usize = 100;

/// When finished works are deleted, and how far that is.
pub(super) struct Pruning {
    age: Duration,
    count: usize,
    pass: Option<Pass>,
    /// Finished works that are stored, as far as is known.
    stored: u64,
    /// Whether the last pass left more than shall be kept: that is too young, or waited for.
    stuck: bool,
    /// When something has been kept long enough, in store time.
    due: Option<Timestamp>,
    /// No pass for what is due begins before, on the monotonic clock.
    rests_until: Duration,
    /// No pass rides before: the last one met damage, and to find a way around it takes time.
    rides_from: Duration,
    /// Damaged works that somebody was told of.
    reported: BTreeSet<WorkId>,
    /// Whether something was written: until then everything else comes first.
    warm: bool,
}

/// A pass under way.
struct Pass {
    sweep: Sweep,
    /// When the first of what it passed, or of what finished since it began, has been kept long enough.
    due: Option<Timestamp>,
}

/// What a store answered to a command of a pass.
pub(super) struct Pruned {
    pub(super) count: usize,
    pub(super) stored: u64,
    pub(super) next: Option<IndexKey>,
    pub(super) next_due: Option<Timestamp>,
}

/// A finished work that can't be read, and stays where it lies.
#[derive(Debug)]
pub(super) struct Damaged {
    pub(super) id: WorkId,
    pub(super) error: Option<StoreError>,
}

/// The moment by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) store: Timestamp,
    pub(super) monotonic: Duration,
}

/// What a pass can ride on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Company {
    /// Ends of runs, which are written now anyway.
    Ends,
    Nothing,
}

impl Pruning {
    /// Nobody knows yet what is stored, so the first pass is due at once.
    pub(super) fn new(limits: &Limits) -> Self {
        Pruning {
            age: limits.retention.max(PRUNE_GRACE),
            count: limits.retained,
            pass: None,
            stored: 0,
            stuck: false,
            due: Some(Timestamp::MIN),
            rests_until: Duration::ZERO,
            rides_from: Duration::ZERO,
            reported: BTreeSet::new(),
            warm: false,
        }
    }

    /// Something was written, so whatever had to come first has come.
    pub(super) fn on_written(&mut self) {
        self.warm = true;
    }

    /// The next command, if there is something to do now, and how far it goes. Both `now` and `stride` are only asked for if they
    /// matter.
    pub(super) fn command(
        &mut self,
        now: impl FnOnce() -> Moment,
        company: Company,
        stride: impl FnOnce() -> Stride,
    ) -> Option<Prune> {
        if !self.warm || (self.pass.is_none() && self.due.is_none() && !self.is_worth_a_ride()) {
            return None;
        }
        let now = now();
        if self.pass.is_none() && (self.is_due(now) || (company == Company::Ends && self.may_ride(now))) {
            let keep = Retention::Recent { age: self.age, count: self.count, grace: PRUNE_GRACE };
            // What finishes meanwhile comes later in the index, and is looked at by the same pass.
            self.pass = Some(Pass { sweep: Sweep::new(keep, None), due: None });
        }
        self.pass.as_ref().map(|pass| pass.sweep.command(stride()))
    }

    fn is_due(&self, now: Moment) -> bool {
        now.monotonic >= self.rests_until && self.due.is_some_and(|due| due <= now.store)
    }

    /// Whether so much is too much that a pass is worth it, before that is due.
    fn may_ride(&self, now: Moment) -> bool {
        self.is_worth_a_ride() && now.monotonic >= self.rides_from
    }

    fn is_worth_a_ride(&self) -> bool {
        !self.stuck && self.surplus() >= (self.count / WORTH_A_PASS).max(1)
    }

    fn surplus(&self) -> usize {
        usize::try_from(self.stored).unwrap_or(usize::MAX).saturating_sub(self.count)
    }

    /// Nobody waits for that.
    pub(super) fn next_wake(&self, now: Moment) -> Option<Wake> {
        self.rests_for(now).map(|rest| Wake::at_leisure(now.monotonic.saturating_add(rest)))
    }

    /// How long until there is something to do. With nothing stored there never is.
    fn rests_for(&self, now: Moment) -> Option<Duration> {
        let due = self.due?.since(now.store);
        Some(due.max(self.rests_until.saturating_sub(now.monotonic)))
    }

    /// Works have finished; the first of them asked to be kept until then.
    pub(super) fn on_finished(&mut self, stored: u64, until: Timestamp) {
        self.stored = stored;
        let too_much = self.surplus() > 0;
        self.stuck &= too_much;
        let due = ever(until + if too_much { PRUNE_GRACE } else { self.age });
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

    /// Answers the work that turned out to be damaged, unless that was said before.
    pub(super) fn on_pruned(&mut self, answer: Pruned, now: Moment) -> Option<Damaged> {
        self.stored = answer.stored;
        let mut pass = self.pass.take()?;
        pass.due = earlier(pass.due, answer.next_due.and_then(ever));
        let known = pass.sweep.damaged.len();
        let progress = pass.sweep.on_pruned(answer.count, answer.next);
        let news = pass.sweep.damaged.get(known).copied().filter(|id| self.reported.insert(*id));
        let news = news.map(|id| Damaged { id, error: pass.sweep.error.clone() });
        news.iter().for_each(
            |Damaged { id, error }| tracing::error!(%id, ?error, "finished work is damaged and stays; the others go"),
        );
        match progress {
            SweepState::GoesOn => self.pass = Some(pass),
            SweepState::Over => self.end(&pass, now),
        }
        news
    }

    fn end(&mut self, pass: &Pass, now: Moment) {
        self.stuck = self.surplus() > 0;
        self.rests_until = now.monotonic.saturating_add(PAUSE);
        if pass.sweep.error.is_some() {
            self.rides_from = self.rests_until;
        }
        // What depends on deleted work, or on much, may go once that has gone: there is another look.
        let again = (pass.sweep.deleted > 0 && self.stored > 0).then_some(now.store);
        self.due = earlier(pass.due, again);
    }

    /// The store can't read something that the pass needs. It goes around that, or gives up for a while and says so.
    pub(super) fn on_damage(&mut self, error: &StoreError, now: Moment) -> SweepState {
        let progress = self.pass.as_mut().map_or(SweepState::Over, |pass| pass.sweep.on_damage(error));
        if progress == SweepState::Over {
            tracing::error!(%error, "finished work can't be deleted, since what lists it is damaged; it is tried again later");
            self.pass = None;
            self.rests_until = now.monotonic.saturating_add(LONGEST_REST);
            self.rides_from = self.rests_until;
            self.due = Some(now.store);
        }
        progress
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
    use crate::store::StoreErrorKind;

    const HOUR: Duration = Duration::from_secs(3_600);
    const SECOND: Duration = Duration::from_secs(1);

    fn pruning(count: usize) -> Pruning {
        let mut limits = Limits::default();
        (limits.retention, limits.retained) = (HOUR, count);
        warm(&limits)
    }

    /// One that may begin.
    fn warm(limits: &Limits) -> Pruning {
        let mut pruning = Pruning::new(limits);
        pruning.on_written();
        pruning
    }

    fn at(passed: Duration) -> Moment {
        Moment { store: Timestamp::from_millis(0) + passed, monotonic: passed }
    }

    /// What it does by itself.
    fn next(pruning: &mut Pruning, passed: Duration) -> Option<Prune> {
        pruning.command(|| at(passed), Company::Nothing, || Stride::Full)
    }

    /// What it does when ends are written anyway.
    fn rides(pruning: &mut Pruning, passed: Duration) -> bool {
        pruning.command(|| at(passed), Company::Ends, || Stride::Full).is_some()
    }

    fn corrupted() -> StoreError {
        StoreError::new(StoreErrorKind::Corrupted, "a row is damaged")
    }

    fn pruned(count: usize, stored: u64, next_due: Option<Timestamp>) -> Pruned {
        Pruned { count, stored, next: None, next_due }
    }

    /// One that has had its first pass, at the beginning of time.
    fn rested(count: usize, stored: u64, next_due: Option<Timestamp>) -> Pruning {
        let mut pruning = pruning(count);
        assert!(next(&mut pruning, Duration::ZERO).is_some(), "nobody knows yet what is stored");
        pruning.on_pruned(pruned(0, stored, next_due), at(Duration::ZERO));
        pruning
    }

    #[test]
    fn nothing_is_deleted_before_something_else_was_written() {
        let mut pruning = Pruning::new(&Limits::default());
        assert!(!rides(&mut pruning, HOUR) && next(&mut pruning, HOUR).is_none());
        pruning.on_written();
        assert!(next(&mut pruning, HOUR).is_some());
    }

    #[test]
    fn with_nothing_stored_there_is_nothing_to_wait_for() {
        let mut pruning = rested(10, 0, None);
        assert_eq!(pruning.rests_for(at(SECOND)), None);
        assert!(next(&mut pruning, 1_000 * HOUR).is_none());
    }

    #[test]
    fn what_is_old_enough_is_pruned_then_and_not_before() {
        let mut pruning = rested(10, 1, Some(at(2 * HOUR).store));
        assert_eq!(pruning.rests_for(at(HOUR)), Some(HOUR));
        assert!(next(&mut pruning, 2 * HOUR - SECOND).is_none());
        assert!(next(&mut pruning, 2 * HOUR).is_some());
    }

    #[test]
    fn what_has_just_finished_is_due_when_its_time_is_over() {
        let mut pruning = rested(10, 0, None);
        pruning.on_finished(1, at(HOUR).store);
        pruning.on_finished(2, at(3 * HOUR).store);
        assert_eq!(pruning.rests_for(at(HOUR)), Some(HOUR));
    }

    #[test]
    fn too_much_goes_with_the_next_end_or_after_its_grace() {
        let mut pruning = rested(10, 0, None);
        pruning.on_finished(10, at(SECOND).store);
        assert!(!rides(&mut pruning, SECOND));
        pruning.on_finished(11, at(HOUR / 2).store);
        assert!(next(&mut pruning, HOUR / 2).is_none(), "that is no reason for a commit");
        assert_eq!(pruning.rests_for(at(HOUR / 2)), Some(PRUNE_GRACE));
        assert!(rides(&mut pruning, HOUR / 2));
        pruning.on_pruned(pruned(1, 10, Some(at(4 * HOUR).store)), at(HOUR / 2));
        assert!(next(&mut pruning, HOUR).is_some(), "what depended on the one that went may go too");
        pruning.on_pruned(pruned(0, 10, Some(at(4 * HOUR).store)), at(HOUR));
        pruning.on_finished(11, at(3 * HOUR).store);
        assert!(next(&mut pruning, 3 * HOUR + PRUNE_GRACE).is_some());
    }

    #[test]
    fn of_many_that_are_kept_a_hundredth_is_worth_a_ride() {
        let mut pruning = rested(10_000, 10_000, None);
        pruning.on_finished(10_099, at(HOUR).store);
        assert!(!rides(&mut pruning, HOUR));
        pruning.on_finished(10_100, at(HOUR).store);
        assert!(rides(&mut pruning, HOUR));
    }

    #[test]
    fn too_much_of_which_nothing_may_go_is_not_looked_at_again_and_again() {
        let mut pruning = rested(10, 0, None);
        pruning.on_finished(11, at(SECOND).store);
        assert!(rides(&mut pruning, SECOND));
        pruning.on_pruned(pruned(0, 11, None), at(SECOND));
        assert!(!rides(&mut pruning, HOUR), "nothing has happened since");
        assert_eq!(pruning.rests_for(at(HOUR)), None);
        pruning.on_finished(12, at(2 * SECOND).store);
        assert!(!rides(&mut pruning, 2 * SECOND));
        assert_eq!(pruning.rests_for(at(2 * SECOND)), Some(PRUNE_GRACE));
        assert!(next(&mut pruning, 2 * SECOND + PRUNE_GRACE).is_some());
        pruning.on_pruned(pruned(9, 3, None), at(2 * SECOND + PRUNE_GRACE));
        pruning.on_finished(11, at(HOUR).store);
        assert!(rides(&mut pruning, HOUR), "now it may go again");
    }

    #[test]
    fn a_pass_goes_on_where_it_was_until_it_is_through() {
        let mut pruning = pruning(10);
        let key = Some(IndexKey::Blocked { seq: 1, id: WorkId::from_u128(1) });
        assert_eq!(next(&mut pruning, SECOND).unwrap().after, None);
        pruning.on_pruned(Pruned { next: key.clone(), ..pruned(256, 500, None) }, at(SECOND));
        let second = next(&mut pruning, SECOND).unwrap();
        assert_eq!((second.before, second.after), (None, key));
        pruning.on_finished(245, at(HOUR).store);
        pruning.on_pruned(pruned(244, 1, None), at(SECOND));
        assert!(next(&mut pruning, SECOND).is_none());
        assert_eq!(pruning.rests_for(at(SECOND)), Some(PAUSE), "something may have been freed by what went");
        assert!(next(&mut pruning, SECOND + PAUSE).is_some());
        pruning.on_pruned(pruned(0, 1, Some(at(2 * HOUR).store)), at(SECOND + PAUSE));
        assert_eq!(pruning.rests_for(at(HOUR)), Some(HOUR));
    }

    #[test]
    fn what_any_command_of_a_pass_left_is_due_in_its_time() {
        let mut pruning = pruning(10);
        let key = Some(IndexKey::Blocked { seq: 1, id: WorkId::from_u128(1) });
        assert!(next(&mut pruning, SECOND).is_some());
        pruning.on_pruned(Pruned { next: key, ..pruned(0, 500, Some(at(HOUR).store)) }, at(SECOND));
        pruning.on_pruned(pruned(0, 500, Some(at(2 * HOUR).store)), at(SECOND));
        assert_eq!(pruning.rests_for(at(SECOND)), Some(HOUR - SECOND));
    }

    #[test]
    fn passes_for_what_is_old_are_a_minute_apart() {
        let mut pruning = rested(10, 1, Some(at(SECOND).store));
        assert!(next(&mut pruning, SECOND).is_none());
        assert_eq!(pruning.rests_for(at(SECOND)), Some(PAUSE - SECOND));
        assert!(next(&mut pruning, PAUSE).is_some());
    }

    #[test]
    fn what_is_kept_for_good_is_never_waited_for() {
        let limits = Limits { retention: Duration::MAX, ..Limits::default() };
        let mut pruning = warm(&limits);
        assert!(next(&mut pruning, SECOND).is_some());
        pruning.on_finished(1, at(SECOND).store);
        pruning.on_pruned(pruned(0, 1, Some(Timestamp::MAX)), at(SECOND));
        assert_eq!(pruning.rests_for(at(SECOND)), None);
    }

    #[test]
    fn a_pass_goes_around_damage_and_says_so_once() {
        let mut pruning = pruning(0);
        let key = IndexKey::Finished { until: Timestamp::MIN, seq: 1, id: WorkId::from_u128(1) };
        for said in [true, false] {
            let now = at(pruning.rests_until);
            assert!(next(&mut pruning, now.monotonic).is_some());
            while next(&mut pruning, now.monotonic).unwrap().stride != Stride::PastOne {
                assert_eq!(pruning.on_damage(&corrupted(), now), SweepState::GoesOn);
            }
            let news = pruning.on_pruned(Pruned { next: Some(key.clone()), ..pruned(0, 9, None) }, now);
            assert_eq!(news.map(|news| news.id), said.then(|| WorkId::from_u128(1)));
            assert_eq!(next(&mut pruning, now.monotonic).unwrap().after, Some(key.clone()), "it goes on behind it");
            pruning.on_pruned(pruned(9, 1, None), now);
            assert!(!rides(&mut pruning, now.monotonic + SECOND), "to go around it takes time");
        }
    }

    #[test]
    fn a_list_that_can_not_be_read_is_left_alone_for_an_hour() {
        let mut pruning = pruning(0);
        assert!(next(&mut pruning, SECOND).is_some());
        while pruning.on_damage(&corrupted(), at(SECOND)) == SweepState::GoesOn {}
        assert!(next(&mut pruning, SECOND).is_none());
        assert_eq!(pruning.rests_for(at(SECOND)), Some(LONGEST_REST));
        assert!(next(&mut pruning, SECOND + LONGEST_REST).is_some());
    }

    #[test]
    fn nothing_is_kept_for_less_than_the_grace() {
        let mut pruning = warm(&Limits { retention: Duration::ZERO, ..Limits::default() });
        let keep = next(&mut pruning, SECOND).unwrap().keep;
        assert_eq!(keep, Retention::Recent { age: PRUNE_GRACE, count: 10_000, grace: PRUNE_GRACE });
    }

    #[test]
    fn lost_hints_are_made_up_for_by_a_pass() {
        let mut pruning = rested(10, 0, None);
        pruning.look_at_everything();
        assert!(next(&mut pruning, PAUSE).is_some());
    }
}
