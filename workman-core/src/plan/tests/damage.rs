//! A store that contradicts itself: no entry is believed, no missing row is an answer, and the rest goes on.

use super::*;
use crate::index::standing_key;
use crate::plan::{Prune, Retention, Stride};
use crate::query::{PageRequest, WorkQuery};
use crate::record::{Cascade, CascadeVerb};
use crate::store::Audit;
use crate::store::{Damage, StoreErrorKind};

/// Sends a command without a look at the invariants, which do not hold here. Nothing of a failed unit stays.
fn send(house: &mut House, command: &Command) -> (Result<UnitResult, StoreError>, Vec<Damage>) {
    let before = house.rows.clone();
    let unit = Unit { command: command.clone(), at: house.clock() };
    let mut transaction = Transaction::begin(&house.rows, &mut house.opening).unwrap();
    let result = transaction.run_unit(&mut house.rows, &unit);
    let damage = transaction.take_damage();
    match &result {
        Ok(_) => drop(transaction.finish(&mut house.rows, 1).unwrap()),
        Err(_) => house.rows = before,
    }
    (result, damage)
}

fn done(house: &mut House, command: &Command) -> (Applied, Vec<Damage>) {
    let (result, damage) = send(house, command);
    (result.unwrap().unwrap(), damage)
}

fn corrupted(house: &mut House, command: &Command) -> String {
    let error = send(house, command).0.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupted, "{error}");
    error.to_string()
}

fn shown(house: &House, query: WorkQuery) -> Result<Vec<u128>, StoreError> {
    let request = PageRequest { query, after: None, limit: 1_000 };
    let page = page(&house.rows, &request, 1, &mut Vec::new())?;
    Ok(page.works.iter().map(|work| work.id.as_u128()).collect())
}

fn standing(house: &House, number: u128) -> IndexKey {
    standing_key(&house.record(number))
}

/// Takes a row away that is there.
fn lose(house: &mut House, key: RowKey) {
    assert!(house.rows.keys().any(|there| there == key), "{key:?}");
    house.rows.remove(key).unwrap();
}

fn ids(applied: Applied) -> Vec<u128> {
    match applied {
        Applied::Claimed { works, .. } => numbers(&works),
        other => panic!("{other:?}"),
    }
}

fn prune_all() -> Command {
    Command::Prune(Prune { keep: Retention::Nothing, before: None, after: None, stride: Stride::Full })
}

/// A house in which 1 has succeeded and 2 waits for 1 and for 3, which is not due for an hour. Answers the entries that 1 had.
fn succeeded() -> (House, u64, [IndexKey; 2]) {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(3).delay(HOUR), work(2).after([1, 3])]);
    let ready = standing(&house, 1);
    let claimed = house.run(epoch, 1);
    let running = standing(&house, 1);
    house.settle(&claimed, success());
    (house, epoch, [ready, running])
}

#[test]
fn an_entry_that_outlived_its_work_runs_nothing_settles_nothing_and_goes() {
    let (house, epoch, [ready, running]) = succeeded();
    let claim = Command::Claim(house.claim_all(epoch, 3));
    let waiting = IndexKey::Waiting { due: Due::Store(house.now), turn: 1, id: id(1) };
    let finished = IndexKey::Finished { until: Timestamp::MIN, seq: 0, id: id(3) };
    let cases: [(IndexKey, Command); 8] = [
        (ready.clone(), claim.clone()),
        (waiting, claim),
        (running.clone(), Command::Detach { epoch }),
        (running.clone(), Command::Reclaim { epoch, held: Vec::new() }),
        (IndexKey::Running { epoch: epoch + 7, id: id(1) }, Command::Rescue),
        (IndexKey::Running { epoch: epoch + 7, id: id(3) }, Command::Rescue),
        (finished, prune_all()),
        (IndexKey::Blocked { seq: 9, id: id(1) }, cancel(WorkSelector::All)),
    ];
    for (stale, command) in cases {
        let mut house = House { rows: house.rows.clone(), now: house.now, ..House::new() };
        let cancels = matches!(command, Command::Cancel(_));
        let before: Vec<WorkRecord> = (1..=3).map(|number| house.record(number)).collect();
        house.rows.index.insert(stale.clone());
        let (applied, damage) = done(&mut house, &command);
        assert!(damage.iter().any(|damage| damage.what.contains(&format!("{stale:?}"))), "{stale:?}: {damage:?}");
        if let Applied::Released { count, .. } | Applied::Reclaimed { count, .. } = applied {
            assert_eq!(count, 0, "{stale:?}");
        }
        assert!(!house.rows.index.contains(&stale), "{stale:?} is dropped by the same commit");
        for record in before.iter().filter(|record| !cancels || record.state().is_finished()) {
            let now = house.find(record.id.as_u128());
            // A pruning deletes what has finished, and nothing else.
            assert!(now.as_ref() == Some(record) || (now.is_none() && record.state().is_finished()), "{stale:?}");
        }
        assert_eq!(house.dump().broken_invariants(), Vec::<String>::new(), "{stale:?}");
    }
}

#[test]
fn stale_entries_at_the_head_of_a_lane_starve_nobody_and_go_a_bounded_number_at_a_time() {
    const STALE: u64 = 600;
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).delay(HOUR), work(2), work(3)]);
    let lane = house.record(2).lane;
    let key = |turn| IndexKey::Ready { lane, suspect: false, rank: 0, turn, id: id(1) };
    house.rows.index.extend((0..STALE).map(key));
    let count = |house: &House| (0..STALE).filter(|turn| house.rows.index.contains(&key(*turn))).count();
    for (number, left) in [(2, 344), (3, 88)] {
        let claim = Command::Claim(house.claim_all(epoch, 1));
        assert_eq!(ids(done(&mut house, &claim).0), [number]);
        assert_eq!(count(&house), left);
    }
    let claim = Command::Claim(house.claim_all(epoch, 1));
    assert_eq!(ids(done(&mut house, &claim).0), [0; 0]);
    assert_eq!(count(&house), 0);
    assert_eq!(house.dump().broken_invariants(), Vec::<String>::new());
}

#[test]
fn an_entry_stays_if_that_of_its_record_is_missing_and_whoever_must_know_is_told() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).tag("t").name("n"), work(2)]);
    let right = standing(&house, 1);
    let stale = IndexKey::Ready { lane: house.record(1).lane, suspect: false, rank: 127, turn: 77, id: id(1) };
    let claim = Command::Claim(house.claim_all(epoch, 5));
    house.rows.index.remove(&right);
    house.rows.index.insert(stale.clone());
    let (applied, damage) = done(&mut house, &claim);
    assert_eq!((ids(applied), damage.len()), (vec![2], 1), "{damage:?}");
    assert!(house.rows.index.contains(&stale), "the record may be the older one");
    for command in [
        cancel(WorkSelector::Id(id(1))),
        cancel(WorkSelector::Tag("t".into())),
        cancel(WorkSelector::All),
        Command::Update(Box::new(work(1))),
        unique(work(9).name("n"), KEEP),
        enqueue([work(9).after([1])]),
        enqueue([work(1).tag("t").name("n")]),
    ] {
        corrupted(&mut house, &command);
    }
    for query in [WorkQuery::id(id(1)), WorkQuery::tag("t"), WorkQuery::all().name("n"), WorkQuery::all()] {
        assert_eq!(shown(&house, query.clone()).unwrap_err().kind(), StoreErrorKind::Corrupted, "{query:?}");
    }
    assert_eq!(shown(&house, WorkQuery::id(id(2))).unwrap(), [2]);
}

#[test]
fn a_run_is_settled_though_the_index_lacks_its_entry_and_nothing_else_is_done_to_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1])]);
    let claimed = house.run(epoch, 1);
    house.rows.index.remove(&standing(&house, 1));
    corrupted(&mut house, &note(&claimed, Some("1"), None));
    corrupted(&mut house, &cancel(WorkSelector::Id(id(1))));
    let old = Command::Settle(Settle { id: id(1), fence: claimed.record.fence + 1, end: success() });
    corrupted(&mut house, &old);
    let (applied, damage) = done(&mut house, &settle(&claimed, success()));
    assert!(matches!(applied, Applied::Settled { state: WorkState::Succeeded, .. }));
    assert!(damage.iter().all(|damage| damage.what.contains("the index lacks Running")), "{damage:?}");
    assert!(!damage.is_empty());
    assert_eq!(house.states([1, 2]), [WorkState::Succeeded, WorkState::Enqueued]);
    assert_eq!(house.dump().broken_invariants(), Vec::<String>::new());
}

#[test]
fn labels_and_edges_that_contradict_their_spec_are_passed_over() {
    let (mut house, epoch, _) = succeeded();
    house.enqueue([work(5).tag("t"), work(6), work(7).after([6]), work(8).after([3])]);
    let seq = |house: &House, number| house.record(number).seq;
    let stale = [
        IndexKey::Tag { tag: "t".into(), id: id(6), seq: seq(&house, 6) },
        IndexKey::Tag { tag: "t".into(), id: id(5), seq: 0 },
        IndexKey::Name { name: "n".into(), seq: seq(&house, 6), id: id(6) },
        IndexKey::Dependent { of: id(6), id: id(8) },
    ];
    house.rows.index.extend(stale.clone());
    assert_eq!(shown(&house, WorkQuery::tag("t")).unwrap(), [5]);
    assert_eq!(shown(&house, WorkQuery::all().name("n")).unwrap(), [0; 0]);
    let claim = Command::Claim(house.claim_all(epoch, 5));
    let Applied::Claimed { works, .. } = done(&mut house, &claim).0 else { panic!() };
    let run = works.iter().find(|claimed| claimed.record.id == id(6)).unwrap();
    done(&mut house, &settle(run, success()));
    assert_eq!(house.states([7, 8]), [WorkState::Enqueued, WorkState::Blocked], "8 does not wait for 6");
    done(&mut house, &cancel(WorkSelector::Tag("t".into())));
    assert_eq!(house.state(6), WorkState::Succeeded);
    done(&mut house, &unique(work(9).name("n"), KEEP));
    assert_eq!(house.state(9), WorkState::Enqueued, "6 does not hold the name");
    assert!(stale.iter().all(|stale| !house.rows.index.contains(stale)));
    assert_eq!(house.dump().broken_invariants(), Vec::<String>::new());
}

#[test]
fn labels_and_edges_that_are_missing_refuse_what_would_take_them_away() {
    let missing = |house: &House| {
        let seq = house.record(1).seq;
        let tag = |tag: &str| IndexKey::Tag { tag: tag.into(), id: id(1), seq };
        [tag("worker"), tag("t"), IndexKey::Name { name: "n".into(), seq, id: id(1) }]
    };
    for which in 0..3 {
        let mut house = House::new();
        house.enqueue([work(1).tag("t").name("n")]);
        house.cancel(WorkSelector::Id(id(1)));
        let gone = missing(&house)[which].clone();
        assert!(house.rows.index.remove(&gone), "{gone:?}");
        corrupted(&mut house, &prune_all());
    }
    let mut house = House::new();
    house.enqueue([work(1), work(2).after([1])]);
    house.cancel(WorkSelector::Id(id(1)));
    // 1 is kept by a wish of its own, so that only 2 goes, whose edge at 1 should be there.
    house.rows.index.remove(&standing(&house, 1));
    let mut record = house.record(1);
    record.terms.retention = HOUR;
    house.rows.put(Row::Record(record)).unwrap();
    house.rows.index.insert(standing(&house, 1));
    house.rows.index.remove(&IndexKey::Dependent { of: id(1), id: id(2) });
    let keep = Retention::Recent { age: Duration::ZERO, count: 0, grace: Duration::ZERO };
    let prune = Command::Prune(Prune { keep, before: None, after: None, stride: Stride::Full });
    corrupted(&mut house, &prune);
}

#[test]
fn a_row_that_another_vouches_for_is_never_answered_with_there_is_none() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2), work(3)]);
    let first = house.run(epoch, 1);
    house.settle(&first, success());
    let second = house.run(epoch, 2);
    house.done(&note(&second, None, Some("here")));
    house.settle(&second, interrupted());
    for row in [RowKey::Output(id(1)), RowKey::Spec(id(1)), RowKey::Record(id(1))] {
        let mut damaged = House { rows: house.rows.clone(), now: house.now, ..House::new() };
        lose(&mut damaged, row);
        let by_id = shown(&damaged, WorkQuery::id(id(1)));
        let is_known_by_id = row != RowKey::Record(id(1));
        assert_eq!(by_id.is_err(), is_known_by_id, "{row:?}: these rows know of a work by its record alone");
        assert!(shown(&damaged, WorkQuery::all()).is_err(), "{row:?}");
    }
    for row in [RowKey::Notes(id(2)), RowKey::History(id(2)), RowKey::Spec(id(2)), RowKey::Record(id(2))] {
        let mut damaged = House { rows: house.rows.clone(), now: house.now, ..House::new() };
        lose(&mut damaged, row);
        assert!(shown(&damaged, WorkQuery::all()).is_err(), "{row:?}");
        let claim = Command::Claim(damaged.claim_all(epoch, 5));
        let (applied, damage) = done(&mut damaged, &claim);
        let is_claimed = row == RowKey::History(id(2));
        assert_eq!(ids(applied), if is_claimed { vec![2, 3] } else { vec![3] }, "{row:?}");
        assert_eq!(damage.is_empty(), is_claimed, "{row:?}");
    }
    let lane = house.record(1).lane;
    lose(&mut house, RowKey::Lane(lane));
    corrupted(&mut house, &Command::Attach);
    corrupted(&mut house, &enqueue([work(7)]));
}

#[test]
fn an_attempt_that_can_not_join_those_before_it_does_not_keep_its_run_from_being_settled() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let first = house.run(epoch, 1);
    house.settle(&first, interrupted());
    let again = house.run(epoch, 1);
    lose(&mut house, RowKey::History(id(1)));
    let (applied, damage) = done(&mut house, &settle(&again, failure(Advice::Never)));
    assert!(matches!(applied, Applied::Settled { state: WorkState::Failed, .. }));
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(shown(&house, WorkQuery::id(id(1))).is_err(), "nobody is shown half of its attempts");
}

#[test]
fn a_finished_work_is_not_deleted_while_nobody_knows_where_one_stands_that_depends_on_it() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1), work(2).after([1])]);
    let claimed = house.run(epoch, 1);
    house.settle(&claimed, success());
    house.rows.index.remove(&standing(&house, 2));
    house.now = house.now + HOUR;
    let (applied, damage) = done(&mut house, &prune_all());
    assert!(matches!(applied, Applied::Pruned { count: 0, .. }), "{applied:?}");
    assert_eq!(damage.len(), 1);
}

#[test]
fn a_cascade_that_is_missing_is_an_error_and_holds_back_what_it_would_tell() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1)]);
    let mut meta = stored_meta(&house.rows).unwrap();
    meta.next_cascade += 1;
    house.rows.put(Row::Meta(meta)).unwrap();
    let claim = Command::Claim(house.claim_all(epoch, 1));
    corrupted(&mut house, &claim);
    let cascade =
        Cascade { number: 0, verb: CascadeVerb::Release, of: id(1), after: None, born_before: None, because: None };
    house.rows.put(Row::Cascade(cascade)).unwrap();
    done(&mut house, &claim);
}

/// A planner whose store believes its index: what a list holds is looked at before it is moved.
#[test]
fn the_planner_moves_nothing_that_does_not_stand_where_a_list_says() {
    use super::super::{List, Want};
    use crate::index::Suspects;
    let (house, epoch, _) = succeeded();
    let record = house.record(1);
    let lane = record.lane;
    let list = || List { ids: vec![id(1)], ..List::default() };
    let claim = house.claim_all(epoch, 1);
    let lists = [
        Want::Due { limit: super::super::PROMOTE_LIMIT },
        Want::Ready { lane, suspects: Suspects::None, limit: 1 },
        Want::Ready { lane, suspects: Suspects::Only, limit: 1 },
        Want::Running { epoch, limit: super::super::RESCUE_LIMIT },
        Want::Running { epoch, limit: usize::MAX },
        Want::DeadClaims { limit: super::super::RESCUE_LIMIT },
    ];
    let stored = stored_meta(&house.rows).unwrap();
    let mut view = Snapshot { meta: stored, ..Snapshot::default() };
    view.works.insert(id(1), Some(record));
    lists.into_iter().for_each(|want| view.lists.insert(want, list()));
    view.lanes.insert(Want::Lanes, Vec::new());
    let reclaim = Command::Reclaim { epoch, held: Vec::new() };
    for command in [Command::Claim(claim), Command::Detach { epoch }, reclaim, Command::Rescue] {
        let Ok(Decision::Done(plan)) = plan(&view, &command, house.now) else { panic!("{command:?}") };
        assert_eq!(plan.writes, [], "{command:?}");
        if let Applied::Claimed { works, drained, .. } = plan.applied {
            assert_eq!((works.len(), drained.len()), (0, 1), "the lane holds nothing that could start");
        }
    }
}

#[test]
fn an_audit_finds_each_thing_that_is_missing_or_too_much() {
    let mut house = House::new();
    let epoch = house.attach();
    house.enqueue([work(1).tag("t").name("n"), work(2).after([1])]);
    let claimed = house.run(epoch, 1);
    house.done(&note(&claimed, None, Some("here")));
    house.settle(&claimed, interrupted());
    let audit = |rows: &RowMap| {
        let mut audit = Audit::begin(rows);
        for key in rows.keys() {
            match key {
                RowKey::Record(id) => drop(audit.work(rows, id)),
                RowKey::Output(id) | RowKey::Notes(id) | RowKey::History(id) => audit.row_beside(rows, id, "beside"),
                other => audit.number(other),
            }
        }
        rows.index.iter().for_each(|key| audit.entry(rows, key));
        audit.end()
    };
    assert_eq!(audit(&house.rows), (Vec::new(), 0));
    let changed = |change: &dyn Fn(&mut RowMap)| {
        let mut rows = house.rows.clone();
        change(&mut rows);
        audit(&rows).1
    };
    for key in &house.rows.index {
        assert!(changed(&|rows| assert!(rows.index.remove(key))) > 0, "{key:?} is missing");
    }
    for key in house.rows.keys() {
        assert!(changed(&|rows| rows.remove(key).unwrap()) > 0, "{key:?} is missing");
    }
    let stale = IndexKey::Blocked { seq: 0, id: id(1) };
    assert!(changed(&|rows| assert!(rows.index.insert(stale.clone()))) > 0, "an entry is too much");
    let output = Row::Output(id(1), payload("1"));
    assert!(changed(&|rows| rows.put(output.clone()).unwrap()) > 0, "a row is too much");
    let older = WorkRecord { fence: 0, ..house.record(1) };
    let older = changed(&|rows| rows.put(Row::Record(older.clone())).unwrap());
    assert_eq!(older, 1, "an older record at the same place");
}
