//! C10 to C16 for what outlives a first run: expedited lanes, updates in place, finished work and its pruning.

use std::time::Duration;

use workman_core::store::{
    Advice, Applied, CASCADE_LIMIT, Cancel, Command, End, Lane, NewWork, NextScheduleTime, PageRequest, Prune,
    Retention, Steering, Stride, Urgency,
};
use workman_core::{
    Backoff, Constraints, ErrorText, ExpeditedState, InputMerger, InputShape, OnInterruption, OutOfQuotaPolicy,
    Schedule, Timestamp, UpdateResult, WorkId, WorkInfo, WorkQuery, WorkSelector, WorkState,
};

use super::StoreFactory;
use super::bench::{Bench, Wishes, cancel, id, settle, success, work, works};

const MINUTE: Duration = Duration::from_secs(60);

fn expedited(work: NewWork) -> NewWork {
    work.terms(|terms| terms.expedited = Some(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest))
}

/// The same worker and constraints with and without urgency are two lanes, each found again, and each claimed for itself.
pub fn c10_expedited_work_has_a_lane_of_its_own<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue([work(1), expedited(work(2))]);
    let bench = bench.reopen();
    bench.enqueue([work(3), expedited(work(4))]);
    let (epoch, lanes) = bench.attach();
    let of = |urgency| lanes.iter().filter(|lane| lane.urgency == urgency).cloned().collect::<Vec<Lane>>();
    assert_eq!(lanes.len(), 2, "C10: worker, constraints and urgency have one lane: {lanes:?}");
    for (urgency, numbers) in [(Urgency::Expedited, [2, 4]), (Urgency::Ordinary, [1, 3])] {
        let (claimed, _) = bench.claim_in(epoch, &of(urgency), 9);
        let mut ids: Vec<WorkId> = claimed.iter().map(|claimed| claimed.record.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, numbers.map(id), "C12: a claim in the {urgency:?} lane");
    }
    bench.check();
}

/// Prunes until all was looked at. Answers how many went, in how many commands, and when there is more to do.
fn prune<F: StoreFactory>(bench: &Bench<'_, F>, keep: Retention) -> (usize, usize, Option<Timestamp>) {
    let (mut total, mut commands, mut before, mut after) = (0, 0, None, None);
    loop {
        commands += 1;
        assert!(commands < 1_000, "C12: a list of finished work never ends");
        match bench.done(Command::Prune(Prune { keep, before, after, stride: Stride::Full })) {
            Applied::Pruned { count, before: bound, next: Some(next), .. } => {
                total += count;
                (before, after) = (Some(bound), Some(next));
            }
            Applied::Pruned { count, next_due, .. } => return (total + count, commands, next_due),
            other => panic!("a prune was answered with {other:?}"),
        }
    }
}

/// Ends these works, each with success, in this order.
fn finish<F: StoreFactory>(bench: &Bench<'_, F>, works: impl IntoIterator<Item = NewWork>) {
    let (epoch, _) = bench.attach();
    for work in works {
        bench.enqueue([work.priority(100)]);
        let claimed = bench.claim_one(epoch);
        bench.done(settle(&claimed, success("null")));
    }
}

/// The list of finished work is ordered by the time until which each asked to be kept, ends there, and says what comes next.
pub fn c12_finished_work_comes_by_the_time_that_it_asked_for<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    if !bench.is_exclusive() {
        return;
    }
    let start = bench.wall();
    let kept = |number: u128, minutes: u32| work(number).terms(|terms| terms.retention = MINUTE * minutes);
    finish(&bench, [kept(1, 30), kept(2, 10), kept(3, 20), kept(4, 10)]);
    let keep = Retention::Recent { age: Duration::ZERO, count: usize::MAX, grace: Duration::ZERO };
    for (minute, left) in [(10, vec![1, 3]), (20, vec![1]), (30, vec![])] {
        bench.set_wall(start + MINUTE * minute - Duration::from_millis(1));
        let (count, _, next_due) = prune(&bench, keep);
        assert_eq!(count, 0, "C12: finished work was listed before its time");
        assert_eq!(next_due, Some(start + MINUTE * minute), "C12: a list says when the first behind it is due");
        bench.advance(Duration::from_millis(1));
        prune(&bench, keep);
        assert_eq!(bench.find_ids(WorkQuery::all()), left.into_iter().map(id).collect::<Vec<_>>(), "minute {minute}");
    }
    bench.check();
}

/// More finished work than one command looks at is reached, once, page by page; and the oldest goes first.
pub fn c12_finished_work_comes_in_pages_that_say_where_to_go_on<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue(works(1..=2_300));
    bench.enqueue([work(5_000)]);
    let (mut before, mut after) = (None, None);
    loop {
        let selector = WorkSelector::tag("worker");
        let command = Command::Cancel(Cancel { selector, before, after, stride: Stride::Full, because: None });
        let Applied::Cancelled { before: bound, next, .. } = bench.done(command) else { panic!("C12: a cancellation") };
        if next.is_none() {
            break;
        }
        (before, after) = (Some(bound), next);
    }
    bench.enqueue([work(6_000)]);
    let past = |after| {
        let command = Prune { keep: Retention::Nothing, before: None, after, stride: Stride::PastOne };
        match bench.done(Command::Prune(command)) {
            Applied::Pruned { count: 0, next, .. } => next,
            other => panic!("C12: the entry behind another was asked for: {other:?}"),
        }
    };
    let first = past(None);
    let second = past(first.clone());
    assert!(first.is_some() && first < second, "C12: one entry comes behind the other: {first:?}, {second:?}");
    let (count, commands, _) = prune(&bench, Retention::Nothing);
    assert_eq!(count, 2_301, "C12: every finished work is listed once");
    assert!(commands >= 3, "C12: a page holds no more than its limit");
    assert_eq!(bench.find_ids(WorkQuery::all()), [id(6_000)]);
    bench.check();
}

/// Why a work was cancelled is stored with it, and with what it leaves for later commits.
pub fn c13_the_reason_of_a_cancellation_is_kept_and_goes_on_after_a_new_opening<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let last = 10_000 + CASCADE_LIMIT as u128 + 9;
    bench.enqueue([work(1), work(2)]);
    bench.enqueue((10_000..=last).map(|number| work(number).after([1])));
    let because = Some("the order was called off: ä".into());
    let selector = WorkSelector::Id(id(1));
    bench.done(Command::Cancel(Cancel { selector, before: None, after: None, stride: Stride::Full, because }));
    bench.done(cancel(WorkSelector::Id(id(2))));
    let bench = bench.reopen();
    bench.done(Command::Drain);
    let reason = |number| bench.stored(id(number)).cancel_reason;
    let said = Some("the order was called off: ä".into());
    assert_eq!([1, 10_000, last, 2].map(reason), [said.clone(), said.clone(), said, None], "C13: the reason is stored");
    bench.check();
}

/// Nothing is left of pruned work, not even in the count of the store; and what something unfinished waits for is there.
pub fn c14_pruned_work_is_found_nowhere<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    finish(&bench, [work(1).tags(["a"]).name("n"), work(2).tags(["a"])]);
    bench.enqueue([work(3).after([2, 1]).delay(MINUTE), work(4)]);
    bench.done(cancel(WorkSelector::Id(id(4))));
    assert_eq!(prune(&bench, Retention::Nothing).0, 1, "C14: only what nobody waits for goes");
    bench.done(cancel(WorkSelector::Id(id(3))));
    assert_eq!(prune(&bench, Retention::Nothing).0, 3);
    let queries = [WorkQuery::id(id(1)), WorkQuery::tag("a"), WorkQuery::unique("n"), WorkQuery::all()];
    for query in queries {
        assert_eq!(bench.find(query.clone()), [], "C14: a pruned work is found by {query:?}");
    }
    bench.check();
    let bench = bench.reopen();
    bench.enqueue([work(1)]);
    let info = bench.stored(id(1));
    assert!(info.output.is_none() && info.attempts.is_empty() && info.runs == 0, "C14: rows stayed: {info:?}");
    let answer = bench.done(cancel(WorkSelector::Id(id(1))));
    assert!(matches!(answer, Applied::Cancelled { count: 1, .. }), "C14: an edge stayed: {answer:?}");
    bench.check();
}

/// A new spec moves the entries under the tags, a new worker the lane; name and edges stay.
pub fn c13_an_update_in_place_moves_tags_and_lane_and_no_edge<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue([work(1).tags(["a", "b"]).name("n").delay(MINUTE), work(2).after([1]).tags(["child"])]);
    let changed = |number| work(number).tags(["b", "c"]).worker("other");
    let answer = bench.done(Command::Update(Box::new(changed(1))));
    assert_eq!(answer, Applied::Updated(UpdateResult::AppliedImmediately));
    bench.done(Command::Update(Box::new(changed(2))));
    let bench = bench.die();
    let found = [("a", vec![]), ("b", vec![1, 2]), ("c", vec![1, 2]), ("child", vec![]), ("worker", vec![])];
    for (label, numbers) in found {
        let ids: Vec<WorkId> = numbers.into_iter().map(id).collect();
        assert_eq!(
            bench.find_ids(WorkQuery::tag(label)),
            ids,
            "C13: after an update the tag {label} finds something else"
        );
    }
    assert_eq!(bench.find_ids(WorkQuery::unique("n")), [id(1)], "C13: the name stays");
    assert_eq!(bench.stored(id(2)).prerequisites, [id(1)], "C13: the edges stay");
    let (epoch, lanes) = bench.attach();
    let old: Vec<Lane> = lanes.iter().filter(|lane| &*lane.worker == "worker").cloned().collect();
    assert!(bench.claim_in(epoch, &old, 5).0.is_empty(), "C13: an updated work stands in its old lane");
    let claimed = bench.claim_one(epoch);
    assert_eq!((claimed.record.id, &*claimed.spec.worker), (id(1), "other"), "C13: an update replaces the spec");
    bench.done(settle(&claimed, success("null")));
    assert_eq!(bench.claim_one(epoch).record.id, id(2), "C13: the edges stay");
    bench.check();
}

/// Whatever a request may say beside its input is there after the process died.
pub fn c15_every_wish_of_a_request_comes_back<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let odd = Duration::new(3, 141_592_653);
    let once = expedited(work(1)).spec(|spec| {
        spec.trace_tag = Some("☃ spans".into());
        spec.constraints = Constraints::new().requires_storage_not_low();
        spec.prerequisites.shape = InputShape::Merged(InputMerger::ArrayCreating);
    });
    let once = once.terms(|terms| {
        terms.backoff = Backoff::linear(odd).ceiling(2 * odd).jitter(99);
        terms.max_attempts = Some(u32::MAX);
        terms.timeout = Some(odd);
        terms.on_interruption = OnInterruption::BackOff;
        terms.retention = 5 * odd;
    });
    let schedule = Schedule::every(60 * MINUTE).flex(odd);
    let periodic = work(2).terms(|terms| (terms.schedule, terms.initial_delay) = (schedule, odd));
    let at = bench.wall() + 90 * MINUTE;
    let periodic = NewWork { next_schedule_time: NextScheduleTime::At(at), ..periodic };
    bench.enqueue([once.clone(), periodic.clone()]);
    let written = [bench.stored(id(1)), bench.stored(id(2))];
    for (work, info) in [&once, &periodic].into_iter().zip(&written) {
        assert_wishes(work, info);
    }
    assert_eq!(written[0].expedited.map(|expedited| expedited.state), Some(ExpeditedState::Granted), "C15: urgency");
    if bench.is_exclusive() {
        assert_eq!(
            (written[1].next_run, written[1].next_run_override),
            (Some(at), Some(at)),
            "C15: an override changed"
        );
    }
    let bench = bench.die();
    assert_eq!([bench.stored(id(1)), bench.stored(id(2))], written, "C15: something changed with the opening");
    bench.check();
}

fn assert_wishes(work: &NewWork, info: &WorkInfo) {
    let terms = &work.terms;
    assert_eq!(
        (&info.schedule, info.initial_delay, info.keep_results_for_at_least),
        (&terms.schedule, terms.initial_delay, terms.retention),
        "C15: times changed"
    );
    assert_eq!(
        (info.backoff, info.max_attempts, info.on_interruption, info.timeout),
        (terms.backoff, terms.max_attempts, terms.on_interruption, terms.timeout),
        "C15: what is said about attempts changed"
    );
    assert_eq!(
        info.expedited.map(|expedited| expedited.policy),
        terms.expedited,
        "C15: the out-of-quota policy changed"
    );
    assert_eq!(
        (&info.trace_tag, info.takes),
        (&work.spec.trace_tag, work.spec.prerequisites.shape),
        "C15: a wish changed"
    );
}

/// That stands on every page, whatever it is about, and after the store was opened again.
pub fn c16_a_page_says_when_everything_was_last_cancelled<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let said = |bench: &Bench<'_, F>| {
        let queries = [WorkQuery::all(), WorkQuery::id(id(99)), WorkQuery::tag("nobody")];
        queries.map(|query| bench.page(PageRequest { query, after: None, limit: 1 }).last_cancel_all)
    };
    bench.enqueue([work(1), work(2)]);
    bench.done(cancel(WorkSelector::Id(id(1))));
    assert_eq!(said(&bench), [None; 3], "C16: nobody has cancelled everything");
    bench.done(cancel(WorkSelector::All));
    assert_eq!(bench.state(id(2)), WorkState::Cancelled);
    let first = said(&bench);
    assert!(first[0].is_some() && first == [first[0]; 3], "C16: every page says it: {first:?}");
    bench.advance(MINUTE);
    bench.done(cancel(WorkSelector::All));
    let second = said(&bench);
    if bench.is_exclusive() {
        assert_eq!((first[0], second[0]), (Some(bench.wall() - MINUTE), Some(bench.wall())), "C16: by the wall clock");
    }
    let bench = bench.reopen();
    assert_eq!(said(&bench), second, "C16: it outlives the opening");
    bench.check();
}

/// An attempt says which generation of its work it ran, also when the work was updated meanwhile, and however it ended.
pub fn c15_attempts_say_which_generation_ran<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    bench.enqueue([work(1)]);
    let update = || bench.done(Command::Update(Box::new(work(1))));
    let fails = || End::Failed { error: ErrorText::new("no"), advice: Advice::After(Duration::ZERO) };
    update();
    update();
    let claimed = bench.claim_one(epoch);
    update();
    assert!(bench.settle(&claimed, fails()).is_ok());
    let claimed = bench.claim_one(epoch);
    assert!(bench.settle(&claimed, fails()).is_ok());
    let claimed = bench.claim_one(epoch);
    update();
    update();
    assert!(bench.settle(&claimed, success("1")).is_ok());
    let bench = bench.reopen();
    let info = bench.stored(id(1));
    let ran: Vec<u32> = info.attempts.iter().map(|attempt| attempt.generation).collect();
    assert_eq!((ran, info.generation), (vec![2, 3, 3], 5), "C15: an attempt says another generation");
}

/// Failed work that is tried again stands where unfinished work does, with what failed because of it, after a new opening too.
pub fn c13_failed_work_that_is_tried_again_is_unfinished_everywhere<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue([work(1), work(2).after([1]), work(3).after([2])]);
    let (epoch, _) = bench.attach();
    let claimed = bench.claim_one(epoch);
    assert!(bench.settle(&claimed, End::Failed { error: ErrorText::new("no"), advice: Advice::Never }).is_ok());
    let failed = || bench.find_ids(WorkQuery::in_state(WorkState::Failed)).len();
    assert_eq!(failed(), 3, "C13: a failure and what depends on it");
    let answer = bench.done(Command::Steer { id: id(1), how: Steering::Retry });
    assert!(matches!(&answer, Applied::Retried(report) if report.retried == [1, 2, 3].map(id)), "C13: {answer:?}");
    assert_eq!(failed(), 0, "C13: nothing of it is finished any more");
    bench.check();
    let bench = bench.reopen();
    let late = bench.send(settle(&claimed, success("null")));
    assert!(late.is_err(), "C13: the run that had failed is over, whatever it says: {late:?}");
    let (epoch, _) = bench.attach();
    for number in [1, 2, 3] {
        let claimed = bench.claim_one(epoch);
        assert_eq!(claimed.record.id, id(number), "C13: the chain goes on in its order");
        assert!(bench.settle(&claimed, success("null")).is_ok());
    }
    bench.check();
}
