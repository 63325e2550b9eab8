//! C16 and C17: queries and the stream of changes.

use std::collections::BTreeSet;
use std::time::Duration;

use workman_core::store::{
    Applied, Change, Command, Cursor, Due, Endurance, Hint, Note, Notes, Offer, Page, PageRequest, Prune, Retention,
    Store, Stride,
};
use workman_core::{ExistingWorkPolicy, Payload, WorkId, WorkInfo, WorkQuery, WorkSelector, WorkState};

use super::StoreFactory;
use super::bench::{Bench, Watch, Wishes, cancel, enqueue, enqueue_unique, failure, id, payload, success, work, works};

/// After `transact` has answered, every query shows its commit, and a number that is not smaller than the commit's.
pub fn c16_a_query_shows_what_was_acknowledged_before<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let watch = bench.watch();
    for number in 1..=50 {
        bench.enqueue([work(number)]);
        let page = bench.page(PageRequest { query: WorkQuery::id(id(number)), after: None, limit: 1 });
        assert_eq!(page.works.len(), 1, "C16: a query does not show what was acknowledged before it");
        assert!(page.commit >= watch.commit().commit, "C16: a page says a number that is too small");
    }
    let before = bench.commit();
    assert_eq!(bench.commit(), before, "C16: without a commit the number stays");
}

/// Follows a query page by page. Between pages, `meanwhile` may do what it likes.
fn follow<F: StoreFactory>(
    bench: &Bench<'_, F>,
    query: &WorkQuery,
    limit: usize,
    mut meanwhile: impl FnMut(),
) -> Vec<WorkId> {
    let (mut ids, mut after, mut pages): (_, Option<Cursor>, _) = (Vec::new(), None, 0);
    loop {
        let Page { works, next, .. } = bench.page(PageRequest { query: query.clone(), after, limit });
        assert!(works.len() <= limit, "C16: a page of {} works is longer than {limit}", works.len());
        assert!(works.len() == limit || next.is_none(), "C16: a page is shorter than asked and not the last");
        ids.extend(works.into_iter().map(|work| work.id));
        pages += 1;
        assert!(pages < 1_000, "C16: a query never ends");
        meanwhile();
        let Some(next) = next else { return ids };
        after = Some(next);
    }
}

/// Works in every state and with shared labels: 1 to 40.
fn populate<F: StoreFactory>(bench: &Bench<'_, F>) {
    let (epoch, _) = bench.attach();
    bench.enqueue((1..=10).map(|number| work(number).tags(["a"])));
    for claimed in bench.claim(epoch, 5) {
        assert!(bench.settle(&claimed, success("null")).is_ok());
    }
    assert_eq!(bench.claim(epoch, 2).len(), 2);
    bench.enqueue((11..=20).map(|number| work(number).tags(["a", "b"]).name("n")));
    bench.enqueue((21..=30).map(|number| work(number).tags(["b"]).delay(Duration::from_secs(60))));
    bench.enqueue((31..=40).map(|number| work(number).tags(["c"]).after([20])));
    bench.done(cancel(WorkSelector::Id(id(15))));
}

/// For every kind of query and every length of page: no work is missing, and none comes twice.
pub fn c16_pages_are_no_longer_than_asked_and_reach_everything_once<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    populate(&bench);
    let queries = [
        (WorkQuery::all(), 40),
        (WorkQuery::tag("a"), 20),
        (WorkQuery::tag("a").tagged("b"), 30),
        (WorkQuery::tag("worker").tagged("a").tagged("c"), 40),
        (WorkQuery::unique("n"), 10),
        (WorkQuery::in_state(WorkState::Blocked).state(WorkState::Succeeded), 15),
        (WorkQuery::in_state(WorkState::Enqueued), 22),
        (WorkQuery::ids((1..=50).map(id)), 40),
        (WorkQuery::tag("nobody"), 0),
    ];
    for (query, count) in queries {
        let nothing = bench.page(PageRequest { query: query.clone(), after: None, limit: 0 });
        assert!(nothing.works.is_empty() && nothing.next.is_none(), "C16: a page of no works has some: {query:?}");
        for limit in [1, 2, 3, 7, 10, 39, 40, 41, usize::MAX] {
            let ids = follow(&bench, &query, limit, || ());
            let distinct: BTreeSet<WorkId> = ids.iter().copied().collect();
            assert_eq!(distinct.len(), ids.len(), "C16: {query:?} in pages of {limit} shows a work twice");
            assert_eq!(ids.len(), count, "C16: {query:?} in pages of {limit} misses works or shows others");
        }
    }
}

/// While works are added, moved and taken away between pages, those that stay are shown once.
pub fn c16_pages_reach_what_did_not_move_while_others_move<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    bench.enqueue((1..=60).map(|number| work(number).tags(["a"]).priority(i8::from(number % 3 == 0))));
    let staying: Vec<WorkId> = (1..=60).filter(|number| number % 3 != 0).map(id).collect();
    let mut fresh = 300;
    for query in [WorkQuery::all(), WorkQuery::tag("a"), WorkQuery::in_state(WorkState::Enqueued)] {
        let ids = follow(&bench, &query, 4, || {
            // On every other page one goes and one comes, so that the end is reached.
            if fresh % 2 == 0 {
                bench.enqueue([work(3 * fresh).priority(1).tags(["a"])]);
                let claimed = bench.claim_one(epoch);
                assert_eq!(claimed.record.id.as_u128() % 3, 0, "C12: greater priority comes first");
                assert!(bench.settle(&claimed, success("null")).is_ok());
            }
            fresh += 1;
        });
        let seen: Vec<WorkId> = ids.into_iter().filter(|id| id.as_u128() % 3 != 0).collect();
        let distinct: BTreeSet<WorkId> = seen.iter().copied().collect();
        assert_eq!(distinct.len(), seen.len(), "C16: {query:?} shows a work twice that did not move");
        assert_eq!(distinct.into_iter().collect::<Vec<_>>(), staying, "C16: {query:?} misses works that did not move");
    }
}

/// What a query finds by times and the text of errors is what the works say, whatever else it asks for, in pages and counted.
pub fn c16_times_and_errors_are_asked_for_in_any_index<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    populate(&bench);
    let early = bench.wall();
    bench.advance(Duration::from_secs(30));
    let (epoch, _) = bench.attach();
    for (claimed, message) in bench.claim(epoch, 3).iter().zip(["the disk is full", "no route", "disk"]) {
        assert!(bench.settle(claimed, failure(message)).is_ok());
    }
    let late = bench.wall();
    bench.enqueue((41..=45).map(|number| work(number).tags(["a"]).delay(Duration::from_secs(5))));
    let all = bench.all();
    let bases =
        [WorkQuery::all(), WorkQuery::tag("a").tagged("b"), WorkQuery::unique("n"), WorkQuery::worker("worker")];
    let mut found = 0;
    for base in bases {
        let ids: BTreeSet<WorkId> = bench.find_ids(base.clone()).into_iter().collect();
        type Asked = (WorkQuery, Box<dyn Fn(&WorkInfo) -> bool>);
        let due = late + Duration::from_secs(5);
        let is_due = move |work: &WorkInfo, last| work.next_run.is_some_and(|at| (late..=last).contains(&at));
        let says = |work: &WorkInfo| work.last_error().is_some_and(|error| error.to_string().contains("disk"));
        let asked: [Asked; 9] = [
            (base.clone().created(late..), Box::new(move |work| work.created >= late)),
            (base.clone().created(..late), Box::new(move |work| work.created < late)),
            (base.clone().finished(late..=late), Box::new(move |work| work.finished == Some(late))),
            (base.clone().finished(..=early), Box::new(move |work| work.finished.is_some_and(|at| at <= early))),
            (base.clone().next_run(late..=due), Box::new(move |work| is_due(work, due))),
            (base.clone().next_run(..), Box::new(|work| work.next_run.is_some())),
            (base.clone().error_contains("disk"), Box::new(says)),
            (base.clone().created(late..early), Box::new(|_| false)),
            (base.clone().next_run(late..late), Box::new(|_| false)),
        ];
        for (query, is_meant) in asked {
            let meant: BTreeSet<WorkId> =
                all.iter().filter(|work| ids.contains(&work.id) && is_meant(work)).map(|work| work.id).collect();
            found += meant.len();
            assert_eq!(bench.count(&query), meant.len() as u64, "C16: {query:?} is counted");
            for limit in [1, 7, usize::MAX] {
                let shown = follow(&bench, &query, limit, || ());
                assert_eq!(shown.len(), meant.len(), "C16: {query:?} in pages of {limit}");
                assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), meant, "C16: {query:?} in pages of {limit}");
            }
        }
    }
    assert!(found > 50, "the works are of many kinds: {found}");
}

/// Whatever is asked for, as many are counted as are shown, and none is shown then.
pub fn c16_counts_are_those_of_the_works<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    populate(&bench);
    bench.enqueue((41..=50).map(|number| work(number).worker("other").tags(["worker", "a"])));
    let queries = [
        WorkQuery::all(),
        WorkQuery::worker("worker"),
        WorkQuery::worker("other"),
        WorkQuery::worker("other").run_by("worker").state(WorkState::Enqueued),
        WorkQuery::worker("other").tagged("a").tagged("b"),
        WorkQuery::worker("nobody"),
        WorkQuery::tag("worker"),
        WorkQuery::tag("a").tagged("b").tagged("worker"),
        WorkQuery::tag("b").state(WorkState::Enqueued),
        WorkQuery::unique("n").name("m"),
        WorkQuery::unique("n").tagged("b").state(WorkState::Cancelled),
        WorkQuery::parked(),
        WorkQuery::parked().state(WorkState::Running),
        WorkQuery::ids((1..=90).map(id)).state(WorkState::Succeeded),
        WorkQuery::ids([]),
    ];
    let states = WorkState::ALL.map(WorkQuery::in_state);
    for query in queries.into_iter().chain(states) {
        let shown = bench.find_ids(query.clone());
        assert_eq!(bench.count(&query), shown.len() as u64, "C16: {query:?} counts others than it shows");
    }
    assert_eq!(bench.count(&WorkQuery::worker("worker")), 40, "C16: a tag that is called like a worker is none");
    let counted = WorkQuery::all().counted();
    let nothing = bench.page(PageRequest { query: counted, after: None, limit: 0 });
    assert_eq!((nothing.counted, nothing.next), (0, None), "C16: a page of no works counts some");
}

/// The numbers that are kept are those of the works after every commit: when they move, when they go, after an opening and a death.
pub fn c16_kept_counts_follow_every_move<F: StoreFactory>(factory: &F) {
    fn check<F: StoreFactory>(bench: &Bench<'_, F>) {
        let page = bench.page(PageRequest { query: WorkQuery::all().tallied(), after: None, limit: 1 });
        assert!(page.works.is_empty(), "C16: what is counted is not shown");
        let works = bench.all();
        let workers: BTreeSet<_> = works.iter().map(|work| work.worker.clone()).collect();
        assert_eq!(page.tallies.keys().cloned().collect::<BTreeSet<_>>(), workers, "C16: counts are of other workers");
        for (worker, tally) in &page.tallies {
            for state in WorkState::ALL {
                let found = works.iter().filter(|work| work.worker == *worker && work.state == state).count() as u64;
                assert_eq!(tally.in_state(state), found, "C16: {worker} counts its {state} works");
            }
            let parked = works.iter().filter(|work| work.worker == *worker && work.parked.is_some()).count() as u64;
            assert_eq!(tally.parked, parked, "C16: {worker} counts its parked works");
        }
        bench.check();
    }
    let bench = Bench::open(factory);
    check(&bench);
    populate(&bench);
    check(&bench);
    bench.enqueue((41..=50).map(|number| work(number).worker("other")));
    check(&bench);
    let bench = bench.die();
    check(&bench);
    let (epoch, _) = bench.attach();
    let claimed = bench.claim(epoch, 4);
    check(&bench);
    for (claimed, end) in claimed.iter().zip([success("null"), failure("no"), success("null"), failure("no")]) {
        assert!(bench.settle(claimed, end).is_ok());
        check(&bench);
    }
    bench.done(Command::Prune(Prune { keep: Retention::Nothing, before: None, after: None, stride: Stride::Full }));
    check(&bench);
    bench.enqueue([work(51)]);
    check(&bench);
    let bench = bench.reopen();
    check(&bench);
    bench.done(cancel(WorkSelector::All));
    check(&bench);
    bench.done(Command::Prune(Prune { keep: Retention::Nothing, before: None, after: None, stride: Stride::Full }));
    check(&bench);
}

/// OR inside a list, AND across lists, and the empty query means all.
pub fn c16_queries_are_or_inside_a_list_and_and_across<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    populate(&bench);
    let cases: [(WorkQuery, Vec<u128>); 11] = [
        (WorkQuery::tag("c").tagged("nobody"), (31..=40).collect()),
        (WorkQuery::tag("a").name("n"), (11..=20).collect()),
        (WorkQuery::tag("b").name("n").state(WorkState::Cancelled), vec![15]),
        (WorkQuery::tag("a").state(WorkState::Running).state(WorkState::Succeeded), (1..=7).collect()),
        (WorkQuery::id(id(3)).or_id(id(33)).tagged("c"), vec![33]),
        (WorkQuery::unique("n").tagged("c"), vec![]),
        (WorkQuery::all(), (1..=40).collect()),
        (WorkQuery::all().or_id(id(7)), vec![7]),
        (WorkQuery::ids([]), vec![]),
        (WorkQuery::ids([]).tagged("a").state(WorkState::Running), vec![]),
        (WorkQuery::ids([]).or_id(id(3)).or_id(id(99)), vec![3]),
    ];
    for (query, numbers) in cases {
        let expected: Vec<WorkId> = numbers.into_iter().map(id).collect();
        assert_eq!(bench.find_ids(query.clone()), expected, "C16: {query:?}");
    }
}

/// A page that is to show all shows it in one go, though most of what lies in the index is not asked for.
pub fn c16_one_page_looks_at_as_much_as_it_takes<F: StoreFactory>(factory: &F) {
    const MANY: u128 = 4_400;
    let bench = Bench::open(factory);
    bench.enqueue((1..=MANY).map(|number| work(number).tags(["a"])));
    let wanted = [1, 2_200, MANY].map(id);
    for id in wanted {
        bench.done(cancel(WorkSelector::Id(id)));
    }
    let query = WorkQuery::tag("a").state(WorkState::Cancelled).in_one_page();
    for limit in [4, 5_000, usize::MAX] {
        let page = bench.page(PageRequest { query: query.clone(), after: None, limit });
        let ids: Vec<WorkId> = page.works.iter().map(|work| work.id).collect();
        assert!(page.next.is_none() && ids == wanted, "C16: one page of {limit} does not show all: {ids:?}");
    }
    let first = bench.page(PageRequest { query: query.clone(), after: None, limit: 2 });
    assert_eq!(first.works.len(), 2, "C16: a page is longer or shorter than asked");
    let rest = bench.page(PageRequest { query, after: first.next, limit: 2 });
    assert!(rest.works.len() == 1 && rest.next.is_none(), "C16: the second page does not show the rest");
}

/// Without payloads everything else is as ever, and each payload that there is says that it was left out.
pub fn c16_what_is_left_out_is_not_said_to_be_missing<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let (epoch, _) = bench.attach();
    bench.enqueue([work(1), work(2), work(3), work(4)]);
    let [done, noted, failed] = [(); 3].map(|()| bench.claim_one(epoch));
    assert!(bench.settle(&done, success("\"output\"")).is_ok());
    let notes = Notes { progress: Some(payload("1")), checkpoint: None };
    bench.done(Command::Note(Note {
        id: noted.record.id,
        fence: noted.record.fence,
        notes,
        endurance: Endurance::Unproven,
    }));
    assert!(bench.settle(&failed, failure("no")).is_ok());
    for whole in bench.find(WorkQuery::all()) {
        let id = whole.id;
        let outline = bench.find(WorkQuery::id(id).without_payloads()).remove(0);
        assert!(outline.input.is_left_out(), "C16: an input was not left out");
        let is_left_out = |payload: &Option<Payload>| payload.as_ref().map(Payload::is_left_out);
        let there = |payload: &Option<Payload>| payload.is_some().then_some(true);
        assert_eq!(is_left_out(&outline.output), there(&whole.output), "C16: the output of {id}");
        assert_eq!(is_left_out(&outline.progress), there(&whole.progress), "C16: the progress of {id}");
        let mut rest: WorkInfo = whole;
        (rest.input, rest.output, rest.progress) =
            (outline.input.clone(), outline.output.clone(), outline.progress.clone());
        assert_eq!(outline, rest, "C16: without payloads it is another work");
    }
}

/// The number of a page is that of the newest commit that it shows, while others write: who knows what was touched up to then
/// knows what may be another in the page.
pub fn c16_an_exclusive_store_shows_no_later_commit_than_it_says<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    if !bench.is_exclusive() {
        return;
    }
    let watch = bench.watch();
    bench.enqueue([work(1)]);
    let first = watch.commit().commit;
    std::thread::scope(|scope| {
        scope.spawn(|| (2..=100).for_each(|number| bench.enqueue([work(number)])));
        let mut shown = 0;
        while shown < 100 {
            let page = bench.page(PageRequest { query: WorkQuery::all(), after: None, limit: usize::MAX });
            shown = page.works.len();
            assert_eq!(shown as u64, page.commit - first + 1, "C16: a page shows other commits than it says");
        }
    });
}

/// Every subscriber hears of every commit, once, in order, with the ids that it touched.
pub fn c17_every_commit_is_announced_once_in_order<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let watches = [bench.watch(), bench.watch()];
    bench.enqueue(works(1..=3));
    bench.enqueue([work(4).after([3])]);
    bench.done(cancel(WorkSelector::Id(id(3))));
    let replace = workman_core::store::UniquePolicy::OneTime(ExistingWorkPolicy::Replace);
    bench.done(enqueue_unique(work(5).name("n"), replace));
    bench.done(enqueue_unique(work(6).name("n"), replace));
    // The prerequisite of a new work learns that it has a dependent, which is no visible change; it may be announced.
    let expected: [&[u128]; 5] = [&[1, 2, 3], &[4], &[3, 4], &[5], &[5, 6]];
    for watch in watches {
        let mut last = 0;
        for touched in expected {
            let commit = watch.commit();
            assert!(commit.commit > last, "C17: numbers grow");
            if bench.is_exclusive() && last > 0 {
                assert_eq!(commit.commit, last + 1, "C17: an exclusive store announces every commit, in order");
            }
            last = commit.commit;
            let ids = commit.touched;
            let missing: Vec<_> = touched.iter().map(|number| id(*number)).filter(|id| !ids.contains(id)).collect();
            assert!(missing.is_empty(), "C17: a commit is announced without {missing:?}");
            assert!(ids.iter().all(|id| id.as_u128() <= 6), "C17: a commit is announced with others: {ids:?}");
        }
        assert!(last <= bench.commit(), "C16: a page says a number that is too small");
    }
}

/// Whoever hears of a commit and looks finds it.
pub fn c17_a_commit_is_announced_after_it_can_be_seen<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let watch = bench.watch();
    std::thread::scope(|scope| {
        scope.spawn(|| (1..=50).for_each(|number| bench.enqueue([work(number)])));
        let mut seen = 0;
        while seen < 50 {
            let commit = watch.commit();
            for touched in &commit.touched {
                let page = bench.page(PageRequest { query: WorkQuery::id(*touched), after: None, limit: 1 });
                assert_eq!(page.works.len(), 1, "C17: a commit is announced before it can be seen");
                assert!(page.commit >= commit.commit, "C17: a commit is announced before it can be seen");
                seen += 1;
            }
        }
    });
}

/// What happened before is not announced, and all that happens after is.
pub fn c17_a_subscriber_misses_nothing_from_its_subscription_on<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let mut watches = Vec::new();
    for number in 1..=20 {
        bench.enqueue([work(number)]);
        watches.push((number + 1, bench.watch()));
    }
    bench.enqueue([work(21)]);
    for (first, watch) in watches {
        let mut last = 0;
        for number in first..=21 {
            let commit = watch.commit();
            // A shared store may announce late, so a subscriber may hear of what was acknowledged just before.
            if commit.touched != [id(number)] && number == first && !bench.is_exclusive() {
                continue;
            }
            assert_eq!(commit.touched, [id(number)], "C17: a subscriber missed a commit, or heard of an old one");
            assert!(commit.commit > last, "C17: numbers grow");
            last = commit.commit;
        }
    }
}

/// A subscriber that reads nothing for long gets every commit in the end, or is told that it missed some and gets
/// all that are newer.
pub fn c17_a_slow_subscriber_is_told_what_it_missed<F: StoreFactory>(factory: &F) {
    const COMMITS: u128 = 1_500;
    let bench = Bench::open(factory);
    let slow = bench.store.changes();
    for number in 1..=COMMITS {
        bench.enqueue([work(number)]);
    }
    let slow = Watch::over(slow);
    let mut next = Some(1);
    let mut last = 0;
    while last < COMMITS {
        match slow.next() {
            Some(Change::Lagged) => next = None,
            Some(Change::Damaged(damage)) => panic!("C12: nothing is damaged here: {damage}"),
            Some(Change::Commit { touched, .. }) => {
                let number = touched.first().expect("C17: a commit is announced with the ids it touched").as_u128();
                assert!(next.is_none_or(|next| next == number), "C17: a subscriber missed a commit and was not told");
                assert!(number > last, "C17: a commit was announced twice, or out of order");
                last = number;
                next = Some(number + 1);
            }
            None => panic!("C17: the stream of an open store ended"),
        }
    }
    bench.enqueue([work(COMMITS + 1)]);
    assert_eq!(slow.commit().touched, [id(COMMITS + 1)], "C17: a subscriber that has caught up misses nothing");
}

/// New lanes, ready work, due times and claims by offer are told to whoever listens.
pub fn c17_hints_are_announced<F: StoreFactory>(factory: &F) {
    let bench = Bench::open(factory);
    let watch = bench.watch();
    let (epoch, _) = bench.attach();
    bench.enqueue([work(1), work(2).delay(Duration::from_secs(60))]);
    let hints = loop {
        let commit = watch.commit();
        if commit.touched == [id(1), id(2)] {
            break commit.hints;
        }
    };
    let lane = hints.iter().find_map(|hint| match hint {
        Hint::Lane(lane) => Some(lane.id),
        _ => None,
    });
    let lane = lane.expect("C17: the hint of a new lane is missing");
    assert!(hints.contains(&Hint::Ready(lane)), "C17: the hint of ready work is missing: {hints:?}");
    let due = bench.stored(id(2)).next_run.expect("it is delayed");
    assert!(hints.contains(&Hint::Due(Due::Store(due))), "C17: the hint of a due time is missing: {hints:?}");
    let offer = Offer { epoch, generation: 5, slots: 1, ids: vec![id(3)], rivals: Vec::new(), lanes: u32::MAX };
    let mut command = enqueue([work(3).priority(9)]);
    if let Command::Enqueue(enqueue) = &mut command {
        enqueue.offer = Some(offer);
    }
    let answer = bench.done(command);
    let taken = matches!(&answer, Applied::Enqueued { claimed, .. } if *claimed == [id(3)]);
    assert!(taken, "C11: an offer is taken: {answer:?}");
    let told = watch.commit().hints.iter().any(|hint| match hint {
        Hint::Claimed { works, .. } => works.iter().any(|claimed| claimed.record.id == id(3)),
        _ => false,
    });
    assert!(told, "C17: the hint of a claim is missing");
    bench.done(cancel(WorkSelector::Id(id(3))));
    let stopped = watch.commit().hints.iter().any(|hint| matches!(hint, Hint::Stop { fence: 1, .. }));
    assert!(stopped, "C17: the hint of a stop is missing");
}
