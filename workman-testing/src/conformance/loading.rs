//! C11 to C15: what a plan is shown, and what is left of what it wrote.

use std::collections::BTreeSet;
use std::time::Duration;

use workman_core::store::{
    Advice, Applied, CASCADE_LIMIT, Cancel, Codec, Command, End, Endurance, NewWork, Note, Notes, Prune, Retention,
    SELECT_LIMIT, Stride, UniquePolicy,
};
use workman_core::{
    AttemptEnd, Constraints, Enqueued, ErrorText, ExistingPeriodicWorkPolicy, ExistingWorkPolicy, NetworkType,
    ParkReason, Payload, StopReason, WorkId, WorkQuery, WorkSelector, WorkState,
};

use super::StoreFactory;
use super::bench::{
    Bench, Wishes, assert_stale, cancel, claim, enqueue, enqueue_unique, enqueued, failure, id, payload, settle,
    success, work, works,
};

const MINUTE: Duration = Duration::from_secs(60);

/// What has finished stays for a minute.
const AGE: Retention = Retention::Recent { age: MINUTE, count: 1_000, grace: Duration::ZERO };

/// A chain and a diamond end with their root, however deep they are.
pub fn c11_a_plan_walks_as_far_as_it_must<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let mut deep = vec![work(1)];
    deep.extend((2..=60).map(|number| work(number).after([number - 1])));
    bench.enqueue(deep);
    bench.enqueue([work(101), work(102).after([101]), work(103).after([101]), work(104).after([102, 103])]);
    bench.enqueue([work(200)]);
    let (epoch, _) = bench.attach();
    let root = bench.claim(epoch, 1).remove(0);
    let end = End::Failed { error: ErrorText::new("no"), advice: Advice::Never };
    assert!(bench.settle(&root, end).is_ok());
    assert_eq!(bench.find_ids(WorkQuery::in_state(WorkState::Failed)).len(), 60, "C11: a plan sees the whole chain");
    let answer = bench.done(cancel(WorkSelector::Id(id(101))));
    assert!(matches!(answer, Applied::Cancelled { count: 4, .. }), "C11: a plan sees the whole diamond: {answer:?}");
    // Through what has succeeded, too.
    bench.enqueue([work(301).priority(9), work(302).after([301]).priority(9), work(303).after([302]).priority(-9)]);
    for number in [301, 302] {
        let claimed = bench.claim_one(epoch);
        assert_eq!(claimed.record.id, id(number));
        assert!(bench.settle(&claimed, success("null")).is_ok());
    }
    let answer = bench.done(cancel(WorkSelector::Id(id(301))));
    assert!(matches!(answer, Applied::Cancelled { count: 1, .. }), "C11: a plan sees behind what is over: {answer:?}");
    assert_eq!(bench.state(id(200)), WorkState::Enqueued, "C15: a bystander changed");
    bench.check();
}

/// What a unit selects or claims is what stands there after the units before it.
pub fn c11_a_plan_sees_the_state_inside_the_commit<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue([work(1).tags(["t"])]);
    let (epoch, lanes) = bench.attach();
    let results = bench.transact([
        enqueue([work(2).tags(["t"]), work(3).tags(["t"]).after([2])]),
        cancel(WorkSelector::tag("t")),
        enqueue([work(4).tags(["t"]), work(5).after([4])]),
        claim(epoch, &lanes, 9),
    ]);
    assert!(
        matches!(results[1], Ok(Applied::Cancelled { count: 3, .. })),
        "C11: a selection sees the commit as it is: {results:?}"
    );
    let Ok(Applied::Claimed { works, .. }) = &results[3] else { panic!("C11: {results:?}") };
    let ids: Vec<WorkId> = works.iter().map(|claimed| claimed.record.id).collect();
    assert_eq!(ids, [id(4)], "C11: a claim sees the commit as it is");
    let results = bench.transact([settle(&works[0], success("null")), claim(epoch, &lanes, 9)]);
    let Ok(Applied::Claimed { works, .. }) = &results[1] else { panic!("C11: {results:?}") };
    assert_eq!(works.len(), 1, "C11: a claim sees what was released in its own commit");
    assert_eq!(works[0].record.id, id(5));
    bench.check();
}

/// What is too wide for one commit goes on in the commits after it, and nothing is claimed meanwhile.
pub fn c11_a_wide_release_is_drained_before_the_next_claim<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let last = u128::try_from(CASCADE_LIMIT).expect("a number") + 51;
    bench.enqueue([work(1)]);
    bench.enqueue((2..=last).map(|number| work(number).after([1])));
    let (epoch, lanes) = bench.attach();
    let root = bench.claim_one(epoch);
    assert!(bench.settle(&root, success("null")).is_ok());
    let blocked = WorkQuery::in_state(WorkState::Blocked);
    assert_eq!(bench.find(blocked.clone()).len(), 50, "C11: a commit releases no more than it may");
    let bench = bench.die();
    let refused = bench.send(claim(epoch, &lanes, 3));
    assert_eq!(refused.is_err(), bench.is_exclusive(), "C18: the manager of an earlier opening is gone");
    let (epoch, _) = bench.attach();
    let claimed = bench.claim(epoch, 3);
    assert_eq!(claimed.len(), 3, "C11: what was released can be claimed");
    assert!(bench.find(blocked).is_empty(), "C11: the rest of a wide release comes before the next claim");
    bench.check();
}

/// Greater priority first, and among equals the one that lined up first, whatever its lane and id.
pub fn c12_ready_work_comes_by_priority_and_place_in_line<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let priorities: [i8; 10] = [0, -1, 127, 1, -128, 0, -1, 127, 1, -128];
    let mut number = 100;
    for priority in priorities {
        number -= 1;
        let worker = if number % 3 == 0 { "third" } else { "worker" };
        bench.enqueue([work(number).priority(priority).worker(worker)]);
    }
    let (epoch, _) = bench.attach();
    let mut order = Vec::new();
    for room in [1, 2, 3, 4] {
        let claimed = bench.claim(epoch, room);
        order.extend(claimed.iter().map(|claimed| (claimed.record.terms.priority, claimed.record.turn)));
    }
    let mut sorted = order.clone();
    sorted.sort_by_key(|(priority, turn)| (-i16::from(*priority), *turn));
    assert_eq!(order.len(), 10, "C12: everything that is ready is found");
    assert_eq!(order, sorted, "C12: ready work comes in the order of the index");
    bench.check();
}

/// A claim gets as many works as it has room for, and a lane counts as drained only when it is empty.
pub fn c12_a_claim_takes_no_more_than_there_is_room_for<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue(works(1..=10));
    let (epoch, lanes) = bench.attach();
    let mut seen = BTreeSet::new();
    for (room, expected) in [(3, 3), (0, 0), (6, 6), (5, 1), (5, 0)] {
        let answer = bench.done(claim(epoch, &lanes, room));
        let Applied::Claimed { works, drained, .. } = answer else { panic!("C12: {answer:?}") };
        assert_eq!(works.len(), expected, "C12: a list holds no more than its limit, and no less than there is");
        let left = seen.len() + works.len() < 10;
        assert!(!left || drained.is_empty(), "C12: a lane in which something is left counts as drained");
        assert!(works.iter().all(|claimed| seen.insert(claimed.record.id)), "C12: a work was claimed twice");
    }
    let answer = bench.done(claim(epoch, &lanes, 5));
    let Applied::Claimed { drained, .. } = answer else { panic!("C12: {answer:?}") };
    assert!(!bench.is_exclusive() || drained == [lanes[0].id], "C12: an empty lane is drained: {drained:?}");
    bench.check();
}

/// Delayed work comes in the order of its due times, at its time and not before.
pub fn c12_due_work_comes_when_it_is_due<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    if !bench.is_exclusive() {
        return;
    }
    let start = bench.wall();
    bench.enqueue((1..=5).map(|number| work(number).delay(MINUTE * u32::try_from(6 - number).expect("small"))));
    let (epoch, lanes) = bench.attach();
    for minute in 1..=5 {
        bench.set_wall(start + MINUTE * minute - Duration::from_millis(1));
        let early = bench.done(claim(epoch, &lanes, 9));
        let Applied::Claimed { works, next_due, .. } = early else { panic!("C12: {early:?}") };
        assert!(works.is_empty(), "C12: work was due too early");
        assert_eq!(
            next_due.store,
            Some(start + MINUTE * minute),
            "C12: the next due time is that of the first in line"
        );
        bench.advance(Duration::from_millis(1));
        let claimed = bench.claim(epoch, 9);
        assert_eq!(claimed.len(), 1, "C12: work that is due now is found");
        assert_eq!(claimed[0].record.id, id(6 - u128::from(minute)), "C12: due work comes by due time");
    }
    bench.check();
}

/// A selection comes in pages that say where to go on, and means no work that was born after it began.
pub fn c12_selections_go_on_where_they_ended<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let last = u128::try_from(SELECT_LIMIT * 2 + 300).expect("a number");
    bench.enqueue((1..=last).map(|number| work(number).tags(["t"])));
    bench.enqueue([work(100_000)]);
    let selection = |before, after, stride| {
        Command::Cancel(Cancel { selector: WorkSelector::tag("t"), before, after, stride, because: None })
    };
    let (mut total, mut pages, mut before, mut after) = (0, 0, None, None);
    loop {
        let (stride, most) = if pages == 1 { (Stride::AtMost(7), 7) } else { (Stride::Full, SELECT_LIMIT) };
        let answer = bench.done(selection(before, after, stride));
        let Applied::Cancelled { count, before: upper, next } = answer else { panic!("C12: {answer:?}") };
        assert!(count <= most, "C12: a page holds no more than its limit");
        (total, pages) = (total + count, pages + 1);
        bench.enqueue([work(200_000 + pages).tags(["t"])]);
        if next.is_none() {
            break;
        }
        (before, after) = (Some(upper), next);
    }
    assert_eq!(total as u128, last, "C12: a selection reaches every work once");
    assert!(pages >= 3, "C12: a page holds no more than its limit");
    let left: Vec<WorkId> = std::iter::once(100_000).chain(200_001..=200_000 + pages).map(id).collect();
    assert_eq!(bench.find_ids(WorkQuery::in_state(WorkState::Enqueued)), left, "C12: a selection means older works");
    bench.check();
}

/// A claim that does not name a lane gets nothing from it.
pub fn c12_a_closed_lane_is_never_read<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    bench.enqueue([work(1).worker("closed").priority(100), work(2).worker("open")]);
    let (epoch, lanes) = bench.attach();
    let open: Vec<_> = lanes.iter().filter(|lane| &*lane.worker == "open").cloned().collect();
    let (claimed, _) = bench.claim_in(epoch, &open, 9);
    assert_eq!(claimed.len(), 1, "C12: work of other lanes was claimed, or none");
    assert_eq!(claimed[0].record.id, id(2));
    assert_eq!(bench.state(id(1)), WorkState::Enqueued);
    bench.check();
}

/// A work is found in its state and in no other, and under its tags and name in every state.
fn assert_stands<F: StoreFactory>(bench: &Bench<'_, F>, state: WorkState, parked: bool) {
    for other in WorkState::ALL {
        let found = bench.find_ids(WorkQuery::in_state(other).id_too(1));
        assert_eq!(!found.is_empty(), other == state, "C13: the index of {other} is wrong while the work is {state}");
        let found = bench.find_ids(WorkQuery::in_state(other)).contains(&id(1));
        assert_eq!(found, other == state, "C13: the index of {other} is wrong while the work is {state}");
    }
    for query in [WorkQuery::tag("a"), WorkQuery::tag("b"), WorkQuery::tag("worker"), WorkQuery::unique("n")] {
        assert!(bench.find_ids(query.clone()).contains(&id(1)), "C13: {query:?} does not find work that is {state}");
        assert!(bench.find_ids(query.state(state)).contains(&id(1)), "C13: a label and a state find it together");
    }
    assert_eq!(!bench.find(WorkQuery::parked()).is_empty(), parked, "C13: the index of parked work is wrong");
    bench.check();
}

trait AlsoById {
    fn id_too(self, number: u128) -> Self;
}

impl AlsoById for WorkQuery {
    fn id_too(self, number: u128) -> Self {
        self.or_id(id(number))
    }
}

/// Along a life with every standing, each index holds the work exactly while it belongs there.
pub fn c13_every_move_moves_the_indexes<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    bench.enqueue([work(9), work(1).tags(["a", "b"]).name("n").after([9])]);
    assert_stands(&bench, WorkState::Blocked, false);
    let first = bench.claim_one(epoch);
    assert!(bench.settle(&first, success("null")).is_ok());
    let at_once = End::Failed { error: ErrorText::new("no"), advice: Advice::After(Duration::ZERO) };
    let parked = End::Unrunnable { why: ParkReason::Undecodable { message: "what?".into() } };
    let interrupted = End::Interrupted { reason: StopReason::Preempted };
    for end in [at_once, interrupted, parked] {
        assert_stands(&bench, WorkState::Enqueued, false);
        let claimed = bench.claim_one(epoch);
        assert_stands(&bench, WorkState::Running, false);
        assert!(bench.settle(&claimed, end).is_ok());
    }
    assert_stands(&bench, WorkState::Enqueued, true);
    assert!(bench.claim(epoch, 5).is_empty(), "C13: parked work is in no lane");
    bench.done(Command::Retry(id(1)));
    assert_stands(&bench, WorkState::Enqueued, false);
    let claimed = bench.claim_one(epoch);
    let later = End::Snoozed { delay: MINUTE };
    assert!(bench.settle(&claimed, later).is_ok());
    assert_stands(&bench, WorkState::Enqueued, false);
    assert!(bench.claim(epoch, 5).is_empty(), "C13: delayed work is in no lane");
    bench.done(cancel(WorkSelector::Id(id(1))));
    assert_stands(&bench, WorkState::Cancelled, false);
    assert!(bench.claim(epoch, 5).is_empty(), "C13: finished work is in no lane");
}

/// An update takes the work out from under its old labels and its old lane.
pub fn c13_an_update_moves_the_labels<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let update = UniquePolicy::Periodic(ExistingPeriodicWorkPolicy::Update);
    let first = work(1).tags(["a", "b"]).name("n").every(60 * MINUTE);
    bench.done(enqueue_unique(first, update));
    let second = work(2).tags(["b", "c"]).name("n").every(60 * MINUTE).worker("other");
    let result = bench.send(enqueue_unique(second, update));
    assert_eq!(enqueued(&result), &Enqueued::Updated(id(1)));
    for (label, found) in [("a", false), ("b", true), ("c", true), ("worker", false), ("other", true)] {
        let there = bench.find_ids(WorkQuery::tag(label)) == [id(1)];
        assert_eq!(there, found, "C13: after an update the index of the tag {label} is wrong");
    }
    assert_eq!(bench.find_ids(WorkQuery::unique("n")), [id(1)], "C13: the name stays");
    bench.check();
    let (epoch, lanes) = bench.attach();
    let old: Vec<_> = lanes.iter().filter(|lane| &*lane.worker == "worker").cloned().collect();
    assert!(bench.claim_in(epoch, &old, 5).0.is_empty(), "C13: an updated work stands in its old lane");
    let claimed = bench.claim_one(epoch);
    assert_eq!(&*claimed.spec.worker, "other", "C13: an update replaces the spec");
}

/// What is appended to a name, kept or cancelled by it depends on which of its members no other waits for and which have not
/// finished, through everything that can happen to them, and in the next opening too.
pub fn c13_the_members_of_a_name_are_found_by_where_they_stand<F: StoreFactory>(factory: &F) {
    let append = UniquePolicy::OneTime(ExistingWorkPolicy::Append);
    let keep = UniquePolicy::OneTime(ExistingWorkPolicy::Keep);
    let bench = Bench::open(factory);
    let unique =
        |bench: &Bench<'_, F>, work: NewWork, policy| enqueued(&bench.send(enqueue_unique(work, policy))).clone();
    let succeeds = |bench: &Bench<'_, F>, epoch| {
        let claimed = bench.claim_one(epoch);
        assert!(bench.settle(&claimed, success("null")).is_ok());
    };
    let (epoch, _) = bench.attach();
    bench.done(enqueue_unique(work(1).name("n"), append));
    // Neither other names nor works without one make a member anything else.
    bench.enqueue([work(20).name("m").after([1]).priority(-9), work(21).after([1]).priority(-9)]);
    let brief = work(2).name("n").terms(|terms| terms.retention = Duration::ZERO);
    assert_eq!(unique(&bench, brief, append), Enqueued::Appended(vec![id(1)]), "C13: leaves");
    assert_eq!(unique(&bench, work(3).name("n"), keep), Enqueued::Kept(id(1)), "C13: a holder is enqueued");
    succeeds(&bench, epoch);
    assert_eq!(unique(&bench, work(3).name("n"), keep), Enqueued::Kept(id(2)), "C13: a holder was unblocked");
    succeeds(&bench, epoch);
    bench.advance(10 * MINUTE);
    let prune = Prune { keep: AGE, before: None, after: None, stride: Stride::Full };
    bench.done(Command::Prune(prune));
    assert!(bench.info(id(2)).is_none() && bench.info(id(1)).is_some());
    bench.check();
    let bench = bench.reopen();
    let third = work(3).name("n").delay(100 * MINUTE);
    assert_eq!(unique(&bench, third, append), Enqueued::Appended(vec![id(1)]), "C13: a leaf again");
    assert_eq!(unique(&bench, work(4).name("n"), append), Enqueued::Appended(vec![id(3)]), "C13: the newest leaf");
    bench.check();
    let answer = bench.done(cancel(WorkSelector::unique("n")));
    assert!(matches!(answer, Applied::Cancelled { count: 2, next: None, .. }), "C13: unfinished members: {answer:?}");
    let answer = bench.done(cancel(WorkSelector::unique("n")));
    assert!(matches!(answer, Applied::Cancelled { count: 0, next: None, .. }), "C13: finished members: {answer:?}");
    assert_eq!(unique(&bench, work(5).name("n"), append), Enqueued::Appended(vec![id(4)]), "C13: a cancelled leaf");
    assert_eq!(bench.state(id(5)), WorkState::Cancelled);
    assert_eq!(bench.find_ids(WorkQuery::unique("n")), [id(1), id(3), id(4), id(5)], "C13: all members");
    bench.check();
}

/// What has lost its name is found by all else that it has, and keeps what few works have, in the next opening too.
pub fn c13_what_has_lost_its_name_is_found_by_all_else<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    let keep = UniquePolicy::OneTime(ExistingWorkPolicy::Keep);
    bench.done(enqueue_unique(work(1).tags(["a"]).name("n"), keep));
    bench.enqueue([work(2).name("n").after([1])]);
    let lost = End::Interrupted { reason: StopReason::ConstraintConnectivity };
    let claimed = bench.claim_one(epoch);
    assert!(bench.settle(&claimed, lost).is_ok());
    bench.advance(MINUTE);
    let claimed = bench.claim_one(epoch);
    let why = ParkReason::Undecodable { message: "what?".into() };
    assert!(bench.settle(&claimed, End::Unrunnable { why: why.clone() }).is_ok());
    let result = bench.send(enqueue_unique(work(3).name("n"), keep));
    assert!(matches!(enqueued(&result), Enqueued::Superseded(old) if old.len() == 2), "C13: {result:?}");
    let look = |bench: &Bench<'_, F>| {
        bench.check();
        assert_eq!(bench.find_ids(WorkQuery::unique("n")), [id(3)], "C13: a name that was lost");
        assert_eq!(bench.find_ids(WorkQuery::tag("a")), [id(1)]);
        assert_eq!(bench.find_ids(WorkQuery::parked()), [id(1)]);
        let info = bench.stored(id(1));
        assert_eq!((info.name, info.superseded, info.flaps, info.parked), (None, true, 1, Some(why.clone())), "C15");
        assert!(bench.stored(id(2)).superseded && !bench.stored(id(3)).superseded, "C15: a mark");
    };
    look(&bench);
    look(&bench.reopen());
}

/// A life with an output, notes, attempts and dependents, as work 1 under the name "n".
fn full_life<F: StoreFactory>(bench: &Bench<'_, F>, epoch: u64) {
    bench.enqueue([work(1).tags(["a"]).name("n"), work(2).after([1]).tags(["child"])]);
    let claimed = bench.claim_one(epoch);
    let again = End::Failed { error: ErrorText::new("no"), advice: Advice::After(Duration::ZERO) };
    assert!(bench.settle(&claimed, again).is_ok());
    let claimed = bench.claim_one(epoch);
    let notes = Notes { progress: Some(payload("1")), checkpoint: Some(payload("2")) };
    bench.done(Command::Note(Note { id: id(1), fence: claimed.record.fence, notes, endurance: Endurance::Unproven }));
    assert!(bench.settle(&claimed, success("\"output\"")).is_ok());
    let info = bench.stored(id(1));
    assert_eq!((info.output, info.attempts.len()), (Some(payload("\"output\"")), 2));
}

/// No query finds a work that was replaced.
pub fn c14_deleted_work_is_found_nowhere<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    full_life(&bench, epoch);
    bench.done(cancel(WorkSelector::Id(id(2))));
    let replace = UniquePolicy::OneTime(ExistingWorkPolicy::Replace);
    let result = bench.send(enqueue_unique(work(3).name("n"), replace));
    assert_eq!(enqueued(&result), &Enqueued::Replaced(vec![id(1)]));
    assert!(bench.info(id(1)).is_none(), "C14: a deleted work is found by its id");
    assert!(bench.find(WorkQuery::tag("a")).is_empty(), "C14: a deleted work is found by its tag");
    assert_eq!(bench.find_ids(WorkQuery::unique("n")), [id(3)], "C14: a deleted work is found by its name");
    assert_eq!(bench.find_ids(WorkQuery::all()), [id(2), id(3)], "C14: a deleted work is found by its state");
    bench.check();
    let bench = bench.reopen();
    assert_eq!(bench.find_ids(WorkQuery::all()), [id(2), id(3)], "C14: a deleted work came back");
    bench.check();
}

/// An id that was deleted is free, and nothing of its first life shows in its second.
pub fn c14_a_deleted_id_begins_anew<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    full_life(&bench, epoch);
    bench.done(cancel(WorkSelector::Id(id(2))));
    let replace = UniquePolicy::OneTime(ExistingWorkPolicy::Replace);
    bench.done(enqueue_unique(work(3).name("n"), replace));
    bench.enqueue([work(1).tags(["b"])]);
    let info = bench.stored(id(1));
    assert_eq!(info.state, WorkState::Enqueued, "C14: a deleted id begins anew");
    assert!(info.output.is_none() && info.attempts.is_empty() && info.progress.is_none(), "C14: rows stayed: {info:?}");
    assert_eq!((info.runs, info.failures), (0, 0), "C14: a deleted id begins anew");
    assert!(bench.find(WorkQuery::tag("a")).is_empty(), "C14: an index entry stayed");
    // Its dependents of the first life are none of the second.
    bench.enqueue([work(4).after([1])]);
    let answer = bench.done(cancel(WorkSelector::Id(id(1))));
    assert!(matches!(answer, Applied::Cancelled { count: 2, .. }), "C14: an edge stayed: {answer:?}");
    bench.check();
}

/// Bytes of every value, of a length.
fn every_byte(length: usize) -> Payload {
    let bytes: Vec<u8> =
        (0..length).map(|place| u8::try_from((place * 7 + place / 256) % 256).expect("a byte")).collect();
    Payload::new(Codec::from_code(200), bytes)
}

/// A work in which every field of the request says something.
fn rich() -> NewWork {
    let long = "ä☃𝄞".repeat(14);
    let names = (work(1).worker(&format!("crate/{long}")), long.clone());
    let (wish, long) = names;
    wish.name(&long).priority(-128).spec(|spec| {
        spec.input = every_byte(1 << 20);
        spec.tags = (0..31).map(|number| format!("{number:02} {long}").into()).collect();
        spec.constraints = Constraints::new().network(NetworkType::Metered).requires_device_idle();
    })
}

/// Everything that a request says comes back as it was given, from the same opening and from the next.
pub fn c15_what_was_written_comes_back<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let rich = rich();
    let empty = work(2).spec(|spec| spec.input = Payload::new(Codec::JSON, Vec::new()));
    let chained = work(3).after([2, 1]).every(Duration::ZERO).terms(|terms| {
        terms.schedule = workman_core::Schedule::Once;
        terms.retention = Duration::MAX;
        terms.initial_delay = Duration::from_millis(1);
    });
    let works = [rich, empty, chained];
    bench.enqueue(works.clone());
    let check = |bench: &Bench<'_, F>| {
        for work in &works {
            let info = bench.stored(work.id);
            assert_eq!(info.input.codec(), work.spec.input.codec(), "C15: a codec changed");
            assert!(info.input == work.spec.input, "C15: an input of {} bytes changed", work.spec.input.len());
            assert_eq!((&info.worker, &info.name), (&work.spec.worker, &work.spec.name), "C15: a name changed");
            let mut tags = work.spec.tags.clone();
            tags.push(work.spec.worker.clone());
            tags.sort_unstable();
            assert_eq!(info.tags, tags, "C15: tags changed");
            assert_eq!(info.constraints, work.spec.constraints, "C15: constraints changed");
            assert_eq!(info.prerequisites, work.spec.prerequisites.ids, "C15: prerequisites or their order changed");
            assert_eq!(
                (info.priority, &info.schedule),
                (work.terms.priority, &work.terms.schedule),
                "C15: terms changed"
            );
        }
    };
    check(&bench);
    let bench = bench.die();
    check(&bench);
    // A request that is sent again is compared with the stored one, so terms are there to the last bit.
    bench.enqueue(works.clone());
    let changed = works[2].clone().terms(|terms| terms.retention -= Duration::from_nanos(1));
    assert!(bench.send(enqueue([changed])).is_err(), "C15: terms changed");
    bench.check();
}

/// Progress, checkpoints, errors and outputs come back, and the last ten attempts.
pub fn c15_what_workers_said_comes_back<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    bench.enqueue([work(1).terms(|terms| terms.max_attempts = Some(99))]);
    let error = |number: u32| ErrorText {
        message: format!("☃ {number}\n\0"),
        sources: vec!["first".to_owned(), String::new(), "third".repeat(100)],
        panicked: number.is_multiple_of(2),
    };
    for number in 0..12 {
        let claimed = bench.claim_one(epoch);
        let end = End::Failed { error: error(number), advice: Advice::After(Duration::ZERO) };
        assert!(bench.settle(&claimed, end).is_ok());
    }
    let said = |bench: &Bench<'_, F>| -> Vec<(u32, AttemptEnd)> {
        let attempts = bench.stored(id(1)).attempts;
        attempts.into_iter().map(|attempt| (attempt.number, attempt.end)).collect()
    };
    let expected: Vec<_> = (2..12).map(|number| (number, AttemptEnd::Failed { error: error(number) })).collect();
    assert_eq!(said(&bench), expected, "C15: attempts changed");
    let claimed = bench.claim_one(epoch);
    let notes = Notes { progress: Some(every_byte(1)), checkpoint: Some(every_byte(64 << 10)) };
    let note = Note { id: id(1), fence: claimed.record.fence, notes, endurance: Endurance::Unproven };
    bench.done(Command::Note(note.clone()));
    let progress = Notes { progress: Some(every_byte(300)), checkpoint: None };
    bench.done(Command::Note(Note { notes: progress, ..note.clone() }));
    assert_stale(&bench.send(Command::Note(Note { fence: 99, ..note })), "C4");
    assert_eq!(bench.stored(id(1)).progress, Some(every_byte(300)), "C15: progress changed");
    assert!(bench.settle(&claimed, End::Interrupted { reason: StopReason::RuntimeGone }).is_ok());
    let bench = bench.reopen();
    assert_eq!(said(&bench).len(), 10, "C15: attempts changed");
    assert_eq!(bench.stored(id(1)).stop_reason, Some(StopReason::RuntimeGone), "C15: a stop reason changed");
    let (epoch, _) = bench.attach();
    let claimed = bench.claim_one(epoch);
    assert_eq!(claimed.checkpoint, Some(every_byte(64 << 10)), "C15: a checkpoint changed");
    assert!(bench.settle(&claimed, End::Succeeded { output: every_byte(1 << 20) }).is_ok());
    let bench = bench.die();
    assert!(bench.stored(id(1)).output == Some(every_byte(1 << 20)), "C15: an output changed");
    bench.check();
}

/// Whatever happens to others, a work that nobody names stays as it is.
pub fn c15_bystanders_never_change<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    // Neighbours of the ids that move, on both sides, in every state and under labels that begin alike.
    bench.enqueue([work(10), work(12), work(14).after([12]), work(20).tags(["tag", "ta"]).name("name")]);
    let held = bench.claim(epoch, 2);
    assert!(bench.settle(&held[0], success("\"kept\"")).is_ok());
    bench.enqueue([work(16).delay(MINUTE), work(18)]);
    bench.done(cancel(WorkSelector::Id(id(18))));
    let parked = work(22);
    bench.enqueue([parked]);
    let bystanders: Vec<WorkId> = (10..=22).step_by(2).map(id).collect();
    let before = bench.find(WorkQuery::ids(bystanders.iter().copied()));
    assert_eq!(before.len(), 7);
    let unchanged = |bench: &Bench<'_, F>, after: &str| {
        let now = bench.find(WorkQuery::ids(bystanders.iter().copied()));
        assert_eq!(now, before, "C15: bystanders changed after {after}");
    };
    let moving = |number: u128| work(number).priority(100).tags(["tag1"]).name("name1");
    bench.enqueue([moving(11), moving(13).after([11]), moving(15).after([13]), moving(17)]);
    unchanged(&bench, "an enqueue");
    let claimed = bench.claim(epoch, 2);
    assert_eq!(claimed.iter().map(|claimed| claimed.record.id).collect::<Vec<_>>(), [id(11), id(17)]);
    unchanged(&bench, "a claim");
    assert!(bench.settle(&claimed[0], success("1")).is_ok());
    assert!(bench.settle(&claimed[1], failure("2")).is_ok());
    unchanged(&bench, "two settles");
    bench.done(cancel(WorkSelector::tag("tag1")));
    unchanged(&bench, "a cancellation by tag");
    let replace = UniquePolicy::OneTime(ExistingWorkPolicy::Replace);
    bench.done(enqueue_unique(work(19).name("name1"), replace));
    bench.done(enqueue_unique(work(21).name("nam"), replace));
    unchanged(&bench, "a replacement");
    bench.done(cancel(WorkSelector::unique("name1")));
    unchanged(&bench, "a cancellation by name");
    let bench = bench.reopen();
    unchanged(&bench, "an opening");
    bench.check();
}
