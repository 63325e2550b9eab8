//! [`Outbox`]: what is to be written. Ends of runs and what workers said wait here, share a commit where they can, and are tried
//! again when the store fails.
//!
//! Works that start together often end together, and the first end must not take a commit for itself while the others are on
//! their way: a commit costs as much as many ends. So the dispatcher gives way a few times as long as ends keep coming. It waits
//! for nothing and sets no timer: nobody who takes his time can hold up those who don't.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use futures::channel::oneshot;
use tracing::field::display;

use super::core::Core;
use super::inbox::Wake;
use super::prune::Company;
use crate::foreign::answer;
use crate::id::WorkId;
use crate::plan::{Applied, End, Note, Settle};
use crate::record::ErrorText;
use crate::runtime::TOKIO_ADVICE;
use crate::state::WorkState;
use crate::store::UnitResult;
use crate::time::Spoken;
use crate::worker::Attempt;

/// The first wait after a store's error; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// So many ends are worth a commit of their own. While that is written, the next ones come.
const CROWD: usize = 64;

/// How often it gives way in vain. Giving way to nobody takes less than a microsecond.
const PATIENCE: u32 = 32;

/// What has been running for longer is not about to end, or no sooner than anything else.
const MOMENT: Duration = Duration::from_millis(1);

/// What is to be written, and when.
#[derive(Default)]
pub(super) struct Outbox {
    /// Ends that are not settled yet.
    ends: Vec<Settle>,
    linger: Linger,
    /// What was said by runs that are over.
    last_words: Vec<Note>,
    /// Runs that may have said something that was not taken yet.
    noted: BTreeSet<WorkId>,
    /// When what was said is to be written, on the monotonic clock.
    write_notes_at: Option<Duration>,
    flushes: Vec<(WorkId, oneshot::Sender<()>)>,
    /// Failures of the store in a row.
    failures: u32,
    /// Runs in a row that could not read what they take.
    unreadable: u32,
    retry_at: Option<Duration>,
}

/// How long ends have been waiting for others, counted in turns.
#[derive(Default)]
struct Linger {
    /// How many were there at the last look.
    ends: usize,
    turns_left: u32,
    /// When something was started last, on the monotonic clock.
    started_at: Duration,
}

/// Whether the store has just begun to work again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    Recovered,
    AsBefore,
}

impl Outbox {
    // ---- what comes in ----

    /// A run is over.
    pub(super) fn on_end(&mut self, end: Settle) {
        self.ends.push(end);
    }

    /// A run that is over has said something that is not written.
    pub(super) fn on_last_words(&mut self, note: Note) {
        self.last_words.push(note);
    }

    /// A run has said something, which is to be on disk by then.
    pub(super) fn on_noted(&mut self, id: WorkId, by: Duration) {
        self.noted.insert(id);
        self.write_notes_at = Some(self.write_notes_at.map_or(by, |before| before.min(by)));
    }

    /// A run waits until what it said is on disk.
    pub(super) fn on_flush(&mut self, id: WorkId, done: oneshot::Sender<()>) {
        self.flushes.push((id, done));
    }

    /// Works were started.
    pub(super) fn on_started(&mut self, now: Duration) {
        self.linger.started_at = now;
    }

    /// Nothing of this run is written any more, so nobody hears that it was.
    pub(super) fn forget_flushes(&mut self, id: WorkId) {
        self.flushes.retain(|(flushed, _)| *flushed != id);
    }

    // ---- what goes out ----

    /// Whether anything may be written now. The store is left alone for a while after it has failed.
    pub(super) fn opens(&mut self, now: Duration) -> bool {
        self.retry_at = self.held_until(now);
        self.retry_at.is_none()
    }

    /// Until when nothing is written.
    pub(super) fn held_until(&self, now: Duration) -> Option<Duration> {
        self.retry_at.filter(|at| *at > now)
    }

    /// What others of this commit would ride with.
    pub(super) fn company(&self) -> Company {
        if self.ends.is_empty() { Company::Nothing } else { Company::Ends }
    }

    /// How many ends are to be written.
    pub(super) fn ended(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are ends enough for a commit of their own.
    pub(super) fn is_crowded(&self) -> bool {
        self.ends.len() >= CROWD
    }

    /// Whether the ends that are here could wait for others, of which so many may come.
    pub(super) fn may_have_company(&self, young: usize) -> bool {
        (1..CROWD).contains(&self.ends.len()) && young > 0
    }

    /// Whether they do that once more.
    pub(super) fn lingers(&mut self, now: Duration) -> bool {
        self.linger.goes_on(self.ends.len(), now)
    }

    /// Whether what was said is written now, since it has waited long enough or somebody waits for it.
    pub(super) fn writes_notes(&self, now: Duration) -> bool {
        self.write_notes_at.is_some_and(|at| at <= now) || !self.flushes.is_empty()
    }

    /// Takes what was said by runs that are over, and the runs that are to be asked for the rest.
    pub(super) fn take_notes(&mut self) -> (Vec<Note>, BTreeSet<WorkId>) {
        self.write_notes_at = None;
        (std::mem::take(&mut self.last_words), std::mem::take(&mut self.noted))
    }

    /// The works whose ends are here.
    pub(super) fn ends(&self) -> impl Iterator<Item = WorkId> {
        self.ends.iter().map(|end| end.id)
    }

    pub(super) fn take_ends(&mut self) -> Vec<Settle> {
        std::mem::take(&mut self.ends)
    }

    /// What was taken is on its way to the store.
    pub(super) fn on_sent(&mut self) {
        (self.linger.ends, self.linger.turns_left) = (0, 0);
    }

    // ---- what the store answers ----

    /// The store has written something.
    pub(super) fn on_written(&mut self) -> Recovery {
        if std::mem::take(&mut self.failures) == 0 {
            return Recovery::AsBefore;
        }
        tracing::info!("the store works again");
        Recovery::Recovered
    }

    /// All that was said is on disk.
    pub(super) fn answer_flushes(&mut self) {
        for (_, done) in self.flushes.drain(..) {
            answer(done, ());
        }
    }

    /// G14: an error of the store never ends the loop. It is tried again, later and later; answers how long it rests.
    pub(super) fn on_failed(&mut self, now: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = wait_after(self.failures);
        self.retry_at = Some(now.saturating_add(wait));
        wait
    }

    /// These were not written, and come first at the next try.
    pub(super) fn put_back(&mut self, ends: Vec<Settle>) {
        self.ends.splice(0..0, ends);
    }

    /// A run could not read what it takes, and the next would not either.
    pub(super) fn on_unreadable(&mut self, now: Duration) {
        self.unreadable = self.unreadable.saturating_add(1);
        self.retry_at = Some(now.saturating_add(wait_after(self.unreadable)));
    }

    /// A run has read what it takes.
    pub(super) fn on_readable(&mut self) {
        self.unreadable = 0;
    }

    /// Whether nothing waits here for an end or for the store.
    pub(super) fn is_quiet(&self) -> bool {
        self.ends.is_empty() && self.retry_at.is_none()
    }

    /// While the store is left alone, nothing else is a reason to wake.
    pub(super) fn next_wake(&self, now: Duration) -> Option<Wake> {
        self.held_until(now).or(self.write_notes_at).map(Wake::at)
    }
}

impl Linger {
    fn goes_on(&mut self, ends: usize, now: Duration) -> bool {
        if ends > self.ends {
            (self.ends, self.turns_left) = (ends, PATIENCE);
        }
        let more_may_come = self.turns_left > 0 && now.saturating_sub(self.started_at) <= MOMENT;
        self.turns_left = self.turns_left.saturating_sub(1);
        more_may_come
    }
}

/// How long to wait after so many failures in a row.
pub(super) fn wait_after(failures: u32) -> Duration {
    let doubled = 1_u32 << failures.saturating_sub(1).min(16);
    FIRST_RETRY.saturating_mul(doubled).min(LONGEST_RETRY)
}

/// Says what became of an attempt; of one that failed it is known which it was. Its number is that of [`WorkContext::attempt`], here as
/// everywhere. The first failure is a warning, since the program's author may not expect a retry.
///
/// [`WorkContext::attempt`]: crate::WorkContext::attempt
pub(super) fn log_settled(settle: &Settle, answer: &UnitResult, attempt: Option<&Attempt>, core: &Core) {
    let id = settle.id;
    match (&settle.end, answer, attempt) {
        (End::Failed { error, .. }, Ok(applied), Some(attempt)) => {
            let Attempt { worker, number, .. } = attempt;
            // A retry changes nothing about it, and whoever awaits the output would wait as long as there are attempts.
            if *number == 0 && error.sources.iter().any(|source| source == TOKIO_ADVICE) {
                tracing::error!(%id, %worker, "{TOKIO_ADVICE}");
            }
            log_failed(attempt, error, applied, core);
        }
        (End::TimedOut { limit, error, .. }, Ok(applied), Some(attempt)) => {
            log_failed(attempt, &ErrorText::timed_out(*limit, error.clone()), applied, core);
        }
        (End::Unrunnable { why }, Ok(_), Some(Attempt { worker, number, .. })) => {
            tracing::warn!(%id, %worker, attempt = number, %why, "parked");
        }
        (_, Ok(_), _) => tracing::debug!(%id, "settled"),
        (_, Err(refusal), _) => tracing::debug!(%id, %refusal, "the end of a run came too late"),
    }
}

fn log_failed(attempt: &Attempt, error: &dyn fmt::Display, applied: &Applied, core: &Core) {
    let Applied::Settled { state, next_run, .. } = applied else { return };
    let Attempt { id, worker, number, most: of, .. } = attempt;
    if *state == WorkState::Failed {
        return tracing::warn!(%id, %worker, attempt = number, of, %error, "failed for good");
    }
    let next_in = next_run.map(|due| display(Spoken(core.until(due))));
    if *number == 0 {
        tracing::warn!(%id, %worker, attempt = number, of, %error, next_in, "an attempt failed; it is tried again");
    } else {
        tracing::info!(%id, %worker, attempt = number, of, %error, next_in, "an attempt failed; it is tried again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Endurance;
    use crate::record::Notes;
    use crate::state::StopReason;

    const NOW: Duration = Duration::from_secs(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn id(number: u128) -> WorkId {
        WorkId::from_u128(number)
    }

    fn end(number: u128) -> Settle {
        Settle { id: id(number), fence: 1, end: End::Interrupted { reason: StopReason::Shutdown } }
    }

    fn with_ends(count: u128) -> Outbox {
        let mut outbox = Outbox::default();
        outbox.on_started(NOW);
        (0..count).for_each(|number| outbox.on_end(end(number)));
        outbox
    }

    /// How often the ends that are here give way.
    fn turns(outbox: &mut Outbox) -> usize {
        (0..10_000).take_while(|_| outbox.lingers(NOW)).count()
    }

    #[test]
    fn ends_give_way_a_few_times_after_the_last_one_came_and_then_no_more() {
        let patience = usize::try_from(PATIENCE).unwrap();
        let mut outbox = with_ends(1);
        assert_eq!(turns(&mut outbox), patience);
        assert_eq!(turns(&mut outbox), 0, "nobody else came");
        outbox.on_end(end(2));
        assert!(outbox.lingers(NOW) && outbox.lingers(NOW));
        outbox.on_end(end(3));
        assert_eq!(turns(&mut outbox), patience);
        assert_eq!(outbox.take_ends().len(), 3);
        outbox.on_sent();
        outbox.on_end(end(4));
        assert_eq!(turns(&mut outbox), patience);
    }

    #[test]
    fn nobody_waits_for_what_began_long_ago_or_for_nothing() {
        let mut outbox = with_ends(1);
        outbox.on_started(NOW - MOMENT - MOMENT);
        assert_eq!(turns(&mut outbox), 0);
        assert!(outbox.may_have_company(1) && !outbox.may_have_company(0));
        assert!(!with_ends(0).may_have_company(9), "no end is there");
        let crowd = with_ends(CROWD as u128);
        assert!(crowd.is_crowded() && !crowd.may_have_company(9));
    }

    #[test]
    fn what_was_said_waits_for_its_time_unless_somebody_waits_for_it() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.next_wake(NOW), None);
        outbox.on_noted(id(1), NOW + 3 * SECOND);
        outbox.on_noted(id(2), NOW + SECOND);
        outbox.on_noted(id(1), NOW + 2 * SECOND);
        assert_eq!(outbox.next_wake(NOW), Some(Wake::at(NOW + SECOND)));
        assert!(!outbox.writes_notes(NOW) && outbox.writes_notes(NOW + SECOND));
        let (done, mut written) = oneshot::channel();
        outbox.on_flush(id(2), done);
        assert!(outbox.writes_notes(NOW));
        assert_eq!(outbox.take_notes(), (Vec::new(), BTreeSet::from([id(1), id(2)])));
        assert_eq!(outbox.next_wake(NOW), None);
        assert_eq!(written.try_recv(), Ok(None), "it is only on its way");
        outbox.answer_flushes();
        assert_eq!(written.try_recv(), Ok(Some(())));
        assert!(!outbox.writes_notes(NOW + SECOND));
    }

    #[test]
    fn a_flush_of_a_run_of_which_the_store_knows_nothing_is_never_answered_and_the_others_are() {
        let mut outbox = Outbox::default();
        let ((first, mut lost), (second, mut kept)) = (oneshot::channel(), oneshot::channel());
        outbox.on_flush(id(1), first);
        outbox.on_flush(id(2), second);
        outbox.forget_flushes(id(1));
        outbox.answer_flushes();
        assert_eq!((lost.try_recv(), kept.try_recv()), (Err(oneshot::Canceled), Ok(Some(()))));
    }

    #[test]
    fn last_words_are_taken_once() {
        let mut outbox = Outbox::default();
        let note = Note { id: id(1), fence: 7, notes: Notes::default(), endurance: Endurance::Unproven };
        outbox.on_last_words(note.clone());
        assert_eq!(outbox.take_notes().0, [note]);
        assert_eq!(outbox.take_notes().0, []);
    }

    #[test]
    fn a_store_that_fails_is_left_alone_longer_and_longer_and_what_failed_comes_first_afterwards() {
        let mut outbox = with_ends(3);
        let (mut now, mut waits) = (NOW, Vec::new());
        for round in 0..12 {
            assert!(outbox.opens(now), "round {round}");
            let ends = outbox.take_ends();
            outbox.on_end(end(100 + round));
            let wait = outbox.on_failed(now);
            outbox.put_back(ends);
            waits.push(wait);
            assert!(!outbox.opens(now) && !outbox.is_quiet());
            outbox.on_noted(id(1), now);
            assert_eq!(outbox.next_wake(now), Some(Wake::at(now + wait)), "nothing else is a reason to wake");
            now += wait;
        }
        assert!(waits.is_sorted() && waits[0] == FIRST_RETRY && waits[11] == LONGEST_RETRY, "{waits:?}");
        assert!(outbox.opens(now));
        let ends: Vec<u128> = outbox.take_ends().iter().map(|end| end.id.as_u128()).collect();
        assert_eq!(ends, Vec::from_iter((0..3).chain(100..112)));
        assert_eq!(outbox.on_written(), Recovery::Recovered);
        assert_eq!(outbox.on_written(), Recovery::AsBefore);
        assert_eq!(outbox.on_failed(now), FIRST_RETRY, "it begins anew");
    }

    #[test]
    fn runs_that_can_not_read_what_they_take_hold_everything_up_until_one_can() {
        let mut outbox = Outbox::default();
        for round in 1..4 {
            outbox.on_unreadable(NOW);
            assert_eq!(outbox.held_until(NOW), Some(NOW + wait_after(round)));
        }
        outbox.on_readable();
        outbox.on_unreadable(NOW);
        assert_eq!(outbox.held_until(NOW), Some(NOW + FIRST_RETRY));
        assert_eq!(outbox.held_until(NOW + FIRST_RETRY), None);
    }

    #[test]
    fn however_often_and_however_late_the_store_fails_the_wait_is_bounded() {
        let mut outbox = Outbox { failures: u32::MAX, ..Outbox::default() };
        assert_eq!(outbox.on_failed(Duration::MAX), LONGEST_RETRY);
        assert_eq!(wait_after(0), FIRST_RETRY);
    }
}
