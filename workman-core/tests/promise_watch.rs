//! What a query and a watch show, how much of it, and what that costs: rows are counted, time is not.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/stores.rs"]
mod stores;
#[path = "promise_support/mod.rs"]
mod support;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use stores::CountingHome;
use support::{DAY, HOUR, MINUTE, RedbHome, secs};
use workman_core::store::PageRequest;
use workman_core::{
    GateTarget, Limits, OnSerialFailure, QueryError, UpdateResult, WorkContext, WorkError, WorkId, WorkInfo, WorkQuery,
    WorkSelector, WorkState, worker,
};
use workman_testing::TestDriver;

#[worker]
fn count_to(number: u32) -> u32 {
    number
}

#[worker]
async fn says_how_far(cx: &WorkContext) -> Result<(), WorkError> {
    for step in 0..3 {
        cx.set_progress(&step)?;
        cx.sleep(MINUTE).await?;
    }
    Ok(())
}

/// What is shown now, if it is not what was shown last.
fn next(test: &TestDriver, watch: &mut BoxStream<'static, Vec<WorkInfo>>) -> Option<Vec<WorkInfo>> {
    test.run_until_idle();
    watch.next().now_or_never().map(Option::unwrap)
}

/// A test, and what its pages have read since that was asked last: how many rows and entries, how many of them payloads.
fn counting() -> (TestDriver, impl Fn() -> (usize, usize)) {
    let home = CountingHome::default();
    let test = TestDriver::new().store(home.clone());
    let read = move || {
        let seen = home.rows().take_seen();
        (seen.rows + seen.entries, seen.payloads)
    };
    (test, read)
}

fn later(number: u32) -> workman_core::Request<workman_core::Nothing, u32> {
    count_to::request(number).initial_delay(DAY)
}

const STORED: usize = 8_000;

/// A program with many works has a list of them on its screen.
#[test]
fn a_watcher_of_everything_reads_what_was_touched_and_not_all_again() {
    let (test, read) = counting();
    let manager = test.manager();
    let requests = (0..STORED as u32).map(later);
    let ids: Vec<WorkId> = test.block_on(manager.enqueue_all(requests)).unwrap().iter().map(|work| work.id()).collect();
    let mut watch = manager.watch(WorkQuery::all());
    assert_eq!(next(&test, &mut watch).unwrap().len(), STORED);
    assert!(read().0 >= STORED);
    let update = || {
        let sooner = count_to::request(5).with_id(ids[3]).initial_delay(HOUR);
        assert_eq!(test.block_on(manager.update(sooner)).unwrap(), UpdateResult::AppliedImmediately);
    };
    let changes: [(&str, &dyn Fn()); 4] = [
        ("one more", &|| _ = test.enqueue(later(1))),
        ("one less", &|| assert_eq!(test.cancel(WorkSelector::id(ids[7_000])), 1)),
        ("another", &update),
        ("a run", &|| _ = test.enqueue(count_to::request(1))),
    ];
    for (what, change) in changes {
        change();
        read();
        let shown = next(&test, &mut watch).unwrap_or_else(|| panic!("{what} is not shown"));
        let read = read().0;
        assert!(read < 40, "{what}: {read} rows were read");
        let query = WorkQuery::all();
        assert_eq!(shown, test.query(query), "{what}: the same in the same order");
        assert_eq!(next(&test, &mut watch), None);
    }
}

/// And what does not match is read, but not shown again.
#[test]
fn a_watcher_of_a_tag_is_not_shown_what_others_do() {
    let (test, read) = counting();
    let manager = test.manager();
    let tagged = (0..500).map(|number| later(number).tag("shown"));
    let ids: Vec<WorkId> = test.block_on(manager.enqueue_all(tagged)).unwrap().iter().map(|work| work.id()).collect();
    let mut watch = manager.watch(WorkQuery::tag("shown").state(WorkState::Enqueued).without_payloads());
    assert_eq!(next(&test, &mut watch).unwrap().len(), 500);
    read();
    for _ in 0..20 {
        test.enqueue(later(1));
    }
    assert_eq!(next(&test, &mut watch), None);
    assert!(read().0 < 100, "twenty works of others were looked at");
    let untagged = count_to::request(1).with_id(ids[10]).initial_delay(DAY);
    test.block_on(manager.update(untagged)).unwrap();
    let mut expected = ids.clone();
    expected.remove(10);
    let shown: Vec<WorkId> = next(&test, &mut watch).unwrap().iter().map(|info| info.id).collect();
    assert_eq!(shown, expected, "it left with its tag");
    test.block_on(manager.update(later(2).with_id(ids[10]).tag("shown"))).unwrap();
    let shown: Vec<WorkId> = next(&test, &mut watch).unwrap().iter().map(|info| info.id).collect();
    assert_eq!(shown, ids, "it came back, to the place that its birth gives it");
    assert_eq!(read().1, 0);
}

#[test]
fn rows_of_payloads_that_are_left_out_are_not_read() {
    let (test, read) = counting();
    let ids: Vec<WorkId> = (0..20).map(|number| test.enqueue(count_to::request(number))).collect();
    test.run_until_idle();
    read();
    let outlines = test.query(WorkQuery::ids(ids.clone()).without_payloads());
    assert_eq!((outlines.len(), read().1), (20, 0));
    assert!(outlines.iter().all(|info| info.output.as_ref().is_some_and(|output| output.is_left_out())));
    let error = outlines[0].input.decode::<u32>().unwrap_err().to_string();
    assert!(error.contains("without_payloads"), "{error}");
    assert_eq!(format!("{:?}", outlines[0].input), "Payload(left out)");
    ids.iter().for_each(|id| drop(test.explain(*id)));
    assert_eq!(read().1, 0, "explain reads no payload");
    let _ = test.query(WorkQuery::ids(ids));
    assert_eq!(read().1, 20);
}

/// Progress that is in memory only is left out too, and who watches without payloads is not told of it.
#[test]
fn progress_is_no_news_to_a_watch_without_payloads() {
    let test = TestDriver::new();
    let id = test.enqueue(says_how_far::request());
    let mut outlines = test.manager().watch(WorkQuery::id(id).without_payloads());
    let mut infos = test.manager().watch(WorkQuery::id(id));
    test.advance(secs(10));
    let (outline, info) = (next(&test, &mut outlines).unwrap().remove(0), next(&test, &mut infos).unwrap().remove(0));
    assert!(outline.progress.is_some_and(|progress| progress.is_left_out()));
    assert_eq!(info.progress.unwrap().decode::<u32>().unwrap(), 0);
    test.advance(MINUTE);
    assert_eq!(next(&test, &mut infos).unwrap()[0].progress.as_ref().unwrap().decode::<u32>().unwrap(), 1);
    assert_eq!(next(&test, &mut outlines), None);
}

fn limited(query: usize) -> TestDriver {
    let mut limits: Limits = TestDriver::default_limits();
    limits.query = query;
    TestDriver::new().limits(limits)
}

#[test]
fn a_query_of_more_works_than_the_limit_is_refused_and_says_what_helps() {
    for (limit, fits) in [(0, 0), (1, 1), (5, 5), (usize::MAX, 7), (usize::MAX - 1, 7)] {
        let test = limited(limit);
        let manager = test.manager();
        for number in 0..7 {
            test.enqueue(later(number).tag(if number < fits { "fits" } else { "more" }));
        }
        assert_eq!(test.block_on(manager.query(WorkQuery::tag("nobody"))).unwrap(), [], "nothing is never too much");
        let found = test.block_on(manager.query(WorkQuery::tag("fits"))).unwrap();
        assert_eq!(found.len(), fits as usize, "limit {limit}");
        match test.block_on(manager.query(WorkQuery::all())) {
            Ok(all) => assert!(all.len() == 7 && limit >= 7),
            Err(error @ QueryError::TooMany { found, .. }) => {
                assert!(found > limit && found <= 7 && limit < 7, "{found} of {limit}");
                let text = error.to_string();
                let count = limit + 1;
                assert!(text.contains(&format!("at least {count} work")) && error.is_too_many(), "{text}");
                assert!(text.contains(&format!("{limit} at the most")), "{text}");
                assert!(text.contains("page") && text.contains("`Limits::query`"), "{text}");
            }
            Err(error) => panic!("{error}"),
        }
        let page = PageRequest { query: WorkQuery::all(), after: None, limit: 100 };
        assert_eq!(test.block_on(manager.page(page)).unwrap().works.len(), 7, "a page has a limit of its own");
    }
}

#[test]
fn a_watch_ends_when_more_works_match_than_the_limit_and_one_work_is_never_too_much() {
    let test = limited(3);
    let manager = test.manager();
    let mut watch = manager.watch(WorkQuery::all());
    assert_eq!(next(&test, &mut watch), Some(vec![]));
    let mut last = None;
    for number in 0..3 {
        last = Some(test.enqueue(later(number)));
        assert_eq!(next(&test, &mut watch).unwrap().len(), number as usize + 1);
    }
    test.enqueue(later(3));
    test.run_until_idle();
    assert_eq!(watch.next().now_or_never(), Some(None), "a part would be taken for all");
    let mut late = manager.watch(WorkQuery::tag("count_to"));
    test.run_until_idle();
    assert_eq!(late.next().now_or_never(), Some(None));
    let none = limited(0);
    let id = none.enqueue(later(1));
    let handle = none.block_on(none.manager().handle(count_to::worker(), id)).unwrap();
    none.run_until_idle();
    assert_eq!(handle.watch().next().now_or_never().flatten().unwrap().id, id, "a handle is no query");
    assert_eq!(test.info(last.unwrap()).state, WorkState::Enqueued);
}

/// With a limit that is below what one page looks at, all of the index is looked at nevertheless.
#[test]
fn a_small_limit_does_not_hide_what_lies_far_behind() {
    let folder = RedbHome::new("far");
    let mut limits: Limits = TestDriver::default_limits();
    limits.query = 2;
    let test = TestDriver::new().store(folder).limits(limits);
    let requests = (0..6_000).map(|number| later(number).tag("many"));
    let ids: Vec<WorkId> =
        test.block_on(test.manager().enqueue_all(requests)).unwrap().iter().map(|work| work.id()).collect();
    assert_eq!(test.cancel(WorkSelector::id(ids[5_999])), 1);
    let found = test.query(WorkQuery::tag("many").state(WorkState::Cancelled));
    assert_eq!(found.iter().map(|info| info.id).collect::<Vec<_>>(), [ids[5_999]]);
}

#[test]
fn a_query_and_a_watch_of_no_ids_find_nothing_and_end_with_the_manager() {
    let test = TestDriver::new();
    let id = test.enqueue(later(1));
    assert_eq!(test.query(WorkQuery::ids([])), []);
    assert_eq!(test.query(WorkQuery::ids([]).tagged("count_to")), []);
    assert_eq!(test.query(WorkQuery::ids([]).or_id(id)).len(), 1);
    let mut watch = test.manager().watch(WorkQuery::ids([]));
    assert_eq!(next(&test, &mut watch), Some(vec![]));
    test.enqueue(later(2));
    test.cancel(WorkSelector::All);
    assert_eq!(next(&test, &mut watch), None);
    test.block_on(test.manager().shutdown(secs(1)));
    test.run_until_idle();
    assert_eq!(watch.next().now_or_never(), Some(None));
}

#[test]
fn what_a_gate_holds_is_found_counted_and_watched_by_that_gate() {
    let test = TestDriver::new();
    let lane = |name: &str| WorkQuery::held_by(GateTarget::Serial(name.into()));
    for number in 0..4 {
        test.enqueue(count_to::request(number).serial("account/7", OnSerialFailure::Skip));
        test.enqueue(count_to::request(number).serial("account/8", OnSerialFailure::Skip).tag("eight"));
        test.enqueue(count_to::request(number));
    }
    let held = |query: WorkQuery| {
        let found = test.query(query.clone());
        assert!(found.iter().all(|work| work.held.is_some()), "{found:?}");
        assert_eq!(test.count(query), found.len() as u64);
        found.len()
    };
    assert_eq!([held(lane("account/7")), held(lane("account/8")), held(lane("account/9"))], [3, 3, 0]);
    assert_eq!(held(lane("account/7").at_gate(GateTarget::Serial("account/8".into()))), 6);
    assert_eq!(held(lane("account/8").tagged("eight")), 3);
    assert_eq!(held(lane("account/7").tagged("eight")), 0);
    assert_eq!(held(lane("account/8").state(WorkState::Running)), 0);
    assert_eq!(test.counts().all().held, 6);
    let all = test.query(WorkQuery::in_state(WorkState::Enqueued));
    assert_eq!(all.len() as u64, test.counts().all().in_state(WorkState::Enqueued), "held works are enqueued ones");
    let mut watch = test.manager().watch(lane("account/7"));
    assert!(next(&test, &mut watch).is_some());
    let mut last = None;
    while let Some(works) = next(&test, &mut watch) {
        last = Some(works.len());
    }
    assert!(last.is_none_or(|works| works == 0), "{last:?} are shown as held, and all have run");
    assert_eq!(test.count(WorkQuery::in_state(WorkState::Succeeded)), 12);
}
