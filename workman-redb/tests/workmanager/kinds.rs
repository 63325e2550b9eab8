//! Kinds of workers, expedited work and work that waits for itself.

use std::sync::{Arc, Mutex};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use workman_core::{
    Completer, ConstraintKind, ExistingWorkPolicy, ExpeditedState, OutOfQuotaPolicy, OutputError, StopReason,
    WorkContext, WorkError, WorkManager, WorkSelector, WorkState, worker,
};

use crate::bench::{Bench, CHARGING, DAY, Diary, Gates, HOUR, MINUTE, held, millis, on_both_stores, say, secs};

use WorkState::{Cancelled, Enqueued as Waits, Failed, Running, Succeeded};

/// Where a worker leaves its completer for the test.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Vec<Completer<u32>>>>);

impl Desk {
    fn take(&self) -> Completer<u32> {
        self.0.lock().unwrap().remove(0)
    }
}

fn with_desk(test: Bench) -> (Bench, Desk) {
    let desk = Desk::default();
    let test = test.shaped(|driver| driver.state(desk.clone()));
    (test, desk)
}

/// Leaves the answer to the test, and waits until that has given it, so that the driver knows whom the run waits for.
#[worker]
async fn leaves(done: Completer<u32>, #[state] desk: Desk, #[state] gates: Gates) {
    desk.0.lock().unwrap().push(done);
    gates.get("settled").wait().await;
}

/// Leaves the answer to a thread.
#[worker]
fn asks_a_thread(number: u32, done: Completer<u32>) {
    std::thread::spawn(move || done.succeed(number + 1));
}

/// `ListenableWorker`, WorkerWrapperTest 38: a run lasts until its completer is settled, from wherever.
#[test]
fn a_run_lasts_until_its_completer_is_settled() {
    on_both_stores(|test| {
        let (test, desk) = with_desk(test);
        let ids = [0, 1, 2].map(|_| test.enqueue(leaves::request()));
        test.advance(HOUR);
        assert_eq!(test.states(&ids), [Running; 3]);
        let mut completers: Vec<Completer<u32>> = ids.map(|_| desk.take()).into();
        completers.sort_by_key(|completer| ids.iter().position(|id| *id == completer.context().id()));
        let [good, bad, dropped] = completers.try_into().unwrap_or_else(|_| panic!("three"));
        std::thread::spawn(move || good.succeed(7)).join().unwrap();
        bad.fail(WorkError::permanent("refused"));
        drop(dropped);
        test.open("settled");
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded, Failed, Waits]);
        assert_eq!(test.output::<u32>(ids[0]), 7);
        assert_eq!(test.info(ids[1]).last_error().unwrap().to_string(), "refused");
        assert_eq!((test.info(ids[2]).failures, test.due_in(ids[2])), (1, secs(30)), "no answer is none");
        let asked = test.enqueue(asks_a_thread::request(1));
        test.run_until_idle();
        assert_eq!(test.output::<u32>(asked), 2);
    });
}

/// RemoteListenableWorkerTest `testRemoteStopWorker` and SM-4: a stop reaches what runs elsewhere, and an answer after the
/// end is dropped.
#[test]
fn sm_4_and_can_6_a_stop_reaches_a_completer_and_a_late_answer_is_dropped() {
    on_both_stores(|test| {
        let (test, desk) = with_desk(test);
        let stopped = test.enqueue(leaves::request().constraints(CHARGING));
        test.run_until_idle();
        let first = desk.take();
        let told: Arc<Mutex<Vec<StopReason>>> = Arc::default();
        let hears = Arc::clone(&told);
        first.on_stop(move |reason| hears.lock().unwrap().push(reason));
        test.lose(ConstraintKind::Charging);
        test.advance(secs(5));
        assert_eq!((first.is_stopped(), first.stop_reason()), (true, Some(StopReason::ConstraintCharging)));
        assert_eq!(*told.lock().unwrap(), [StopReason::ConstraintCharging]);
        test.advance(MINUTE);
        assert_eq!((test.state_of(stopped), test.info(stopped).failures), (Waits, 0));
        first.succeed(1);
        test.run_until_idle();
        assert_eq!((test.state_of(stopped), test.info(stopped).interruptions), (Waits, 1), "too late");

        let cancelled = test.enqueue(leaves::request());
        test.run_until_idle();
        let second = desk.take();
        test.cancel(WorkSelector::id(cancelled));
        second.succeed(2);
        test.advance(MINUTE);
        assert_eq!((test.state_of(cancelled), test.info(cancelled).output), (Cancelled, None));
    });
}

/// Counts to a number, a minute for each.
#[worker]
fn counts(to: u32, cx: WorkContext) -> impl Stream<Item = Result<u32, WorkError>> {
    stream::iter(1..=to).then(move |n| {
        let cx = cx.clone();
        async move {
            cx.sleep(MINUTE).await?;
            Ok(n)
        }
    })
}

/// Gives these one after the other.
#[worker]
fn lists(items: Vec<u32>) -> BoxStream<'static, u32> {
    stream::iter(items).boxed()
}

/// `RxWorker`: the items of a stream are progress, and the last is the output.
#[test]
fn sm_9_items_of_a_stream_are_progress_and_the_last_is_the_output() {
    on_both_stores(|test| {
        let id = test.enqueue(counts::request(3));
        let progress = || test.info(id).progress.map(|progress| progress.decode::<u32>().unwrap());
        test.advance(MINUTE);
        assert_eq!((test.state_of(id), progress()), (Running, Some(1)));
        test.advance(MINUTE);
        assert_eq!(progress(), Some(2));
        test.advance(MINUTE);
        assert_eq!((test.output::<u32>(id), progress()), (3, None));

        let one = test.enqueue(lists::request(vec![9]));
        let none = test.enqueue(lists::request(vec![]).max_attempts(1));
        let stopped = test.enqueue(counts::request(9));
        test.run_until_idle();
        assert_eq!((test.output::<u32>(one), test.state_of(none)), (9, Failed), "no item is no answer");
        test.cancel(WorkSelector::id(stopped));
        test.advance(HOUR);
        assert_eq!((test.state_of(stopped), test.info(stopped).output), (Cancelled, None));
    });
}

/// What a worker needs to wait for other work. It takes it out, since a manager that is state of its own never ends.
#[derive(Clone, Default)]
struct Inside(Arc<Mutex<Option<WorkManager>>>);

/// Appends to its own name and waits for what it appended.
#[worker]
async fn waits_for_its_successor(#[state] inside: Inside, #[state] diary: Diary) -> Result<(), WorkError> {
    let manager = inside.0.lock().unwrap().take().unwrap();
    let next = say::request("next".into());
    let next = manager.enqueue_unique("name", ExistingWorkPolicy::Append, next).await?.handle.ok_or("no handle")?;
    match next.output().await {
        Err(error @ OutputError::Deadlock { .. }) => {
            diary.write("deadlock");
            Err(WorkError::permanent(error))
        }
        other => Err(format!("{other:?}").into()),
    }
}

/// DEP-8 and D4: a worker that waits for work which waits for it is told so, instead of waiting for
/// ever.
#[test]
fn dep_8_a_worker_that_waits_for_what_it_appended_to_its_own_name_is_told() {
    on_both_stores(|test| {
        let inside = Inside::default();
        let test = test.shaped(|driver| driver.state(inside.clone()));
        *inside.0.lock().unwrap() = Some(test.manager());
        let id = test.enqueue_unique("name", ExistingWorkPolicy::Keep, waits_for_its_successor::request()).id;
        test.run_until_idle();
        assert_eq!((test.diary(), test.state_of(id)), (vec!["deadlock".to_owned()], Failed));
        assert!(test.info(id).last_error().unwrap().to_string().contains("deadlock"));
        let named = test.named("name");
        assert_eq!(test.states(&named), [Failed, Failed], "what waited for it fails with it");
    });
}

/// `setExpedited`: such work goes first, and into a slot that is kept for it.
#[test]
fn expedited_work_goes_first_into_a_slot_of_its_own() {
    on_both_stores(|test| {
        let test = test.shaped(|driver| {
            let mut limits = workman_testing::TestDriver::default_limits();
            (limits.async_slots, limits.expedited_slots) = (2, 1);
            driver.limits(limits)
        });
        let busy = ["a", "b"].map(|name| test.enqueue(held::request(name.into())));
        test.run_until_idle();
        assert_eq!(test.states(&busy), [Running; 2]);
        let ordinary = test.enqueue(say::request("ordinary".into()).priority(127));
        test.run_until_idle();
        assert_eq!(test.state_of(ordinary), Waits);
        let policy = OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest;
        let expedited = test.enqueue(say::request("expedited".into()).expedited(policy));
        test.run_until_idle();
        assert_eq!(test.states(&[expedited, ordinary]), [Succeeded, Waits], "in the reserved slot");
        test.open("a");
        test.run_until_idle();
        assert_eq!(test.diary().last().unwrap(), "ordinary");
    });
}

/// Sleeps.
#[worker]
async fn urgent(minutes: u64, fails: bool, cx: &WorkContext, #[state] diary: Diary) -> Result<(), WorkError> {
    cx.sleep(secs(60 * minutes)).await?;
    diary.write(format!("{minutes}"));
    if fails && cx.attempt() == 0 { Err("first".into()) } else { Ok(()) }
}

/// `OutOfQuotaPolicy`: when the budget of run time is spent, one policy runs the work as ordinary work, and the other drops it,
/// with what depends on it.
#[test]
fn when_the_budget_is_spent_expedited_work_falls_back_or_is_dropped() {
    on_both_stores(|test| {
        let policies = [OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest, OutOfQuotaPolicy::DropWorkRequest];
        let first = test.enqueue(urgent::request(10, false).expedited(policies[0]));
        test.advance(10 * MINUTE);
        assert_eq!(test.state_of(first), Succeeded, "all of the budget");
        let falls_back = test.enqueue(urgent::request(1, false).expedited(policies[0]));
        let dropped = test.manager().begin_with(urgent::request(1, false).expedited(policies[1]));
        let dropped = test.chain(dropped.then(say::request("dependent".into())));
        test.advance(2 * MINUTE);
        assert_eq!((test.state_of(falls_back), test.states(&dropped)), (Succeeded, vec![Cancelled; 2]));
        let info = test.info(dropped[0]);
        assert_eq!((info.stop_reason, info.runs), (Some(StopReason::Quota), 0));
        let state = info.expedited.unwrap().state;
        assert_eq!(state, ExpeditedState::Dropped, "it never went on as ordinary work");
        assert_eq!(state.to_string(), "dropped, since the budget of expedited work was spent");
        test.advance(DAY);
        let later = test.enqueue(urgent::request(2, false).expedited(policies[1]));
        test.advance(2 * MINUTE);
        assert_eq!(test.state_of(later), Succeeded, "a day later there is a budget again");
    });
}

/// `setExpedited` and attempts: a retry is ordinary work, and its wait is an ordinary backoff.
#[test]
fn a_retry_is_never_expedited() {
    on_both_stores(|test| {
        let test = test.shaped(|driver| {
            let mut limits = workman_testing::TestDriver::default_limits();
            (limits.async_slots, limits.expedited_slots) = (1, 1);
            driver.limits(limits)
        });
        let id = test.enqueue(urgent::request(0, true).expedited(OutOfQuotaPolicy::DropWorkRequest));
        test.run_until_idle();
        assert_eq!((test.info(id).failures, test.due_in(id)), (1, secs(30)));
        test.enqueue(held::request("busy".into()));
        test.advance(30 * secs(1) + millis(1));
        assert_eq!(test.state_of(id), Waits, "the reserved slot is not for it");
        test.open("busy");
        test.run_until_idle();
        assert_eq!(test.state_of(id), Succeeded);
    });
}

/// Opens a gate, then waits at another.
#[worker]
async fn relay(from: String, to: String, #[state] gates: Gates) {
    gates.get(&from).set();
    gates.get(&to).wait().await;
}

/// `beginWith(list)`: works of one step run side by side.
#[test]
fn sch_6_works_of_one_step_run_side_by_side() {
    on_both_stores(|test| {
        let step = [relay::request("a".into(), "b".into()), relay::request("b".into(), "a".into())];
        let ids = test.chain(test.manager().begin_with(step));
        test.run_until_idle();
        assert_eq!(test.states(&ids), [Succeeded; 2]);
    });
}

/// Does not hear a stop before its gate is open.
#[worker]
pub(crate) fn deaf_thread(cx: &WorkContext, #[state] gates: Gates) -> u32 {
    let _ = cx;
    gates.get("deaf thread").wait_blocking();
    7
}

/// SCH-4 and SM-8, for each kind of worker: what takes too long has failed, and a thread that goes on all the same is not joined by a
/// second.
#[test]
fn sch_4_and_sm_8_every_kind_of_worker_can_take_too_long() {
    on_both_stores(|test| {
        let (test, desk) = with_desk(test);
        let ids = [
            test.enqueue(leaves::request().timeout(MINUTE).max_attempts(1)),
            test.enqueue(counts::request(9).timeout(MINUTE + secs(1))),
            test.enqueue(deaf_thread::request().timeout(MINUTE)),
            test.enqueue_periodic(counts::periodic(9, DAY).timeout(MINUTE + secs(1))),
        ];
        test.advance(2 * MINUTE - secs(30));
        for id in ids {
            let info = test.info(id);
            assert_eq!((info.failures, info.stop_reason), (1, Some(StopReason::Timeout)), "{}", info.worker);
        }
        drop(desk.take());
        test.open("settled");
        test.advance(HOUR);
        assert_eq!((test.info(ids[2]).runs, test.info(ids[2]).failures), (1, 1), "its thread is still there");
        test.open("deaf thread");
        test.advance(HOUR);
        assert_eq!((test.info(ids[2]).runs, test.output::<u32>(ids[2])), (2, 7));
        assert_eq!(test.info(ids[3]).periods, 0, "a retry stays in its period");
    });
}

/// UPD-4 for the timeout: a run keeps the one that it began with.
#[test]
fn upd_4_a_run_keeps_its_timeout() {
    on_both_stores(|test| {
        let id = test.enqueue(held::request("x".into()).timeout(HOUR));
        let free = test.enqueue(held::request("y".into()));
        test.run_until_idle();
        test.wait(test.manager().update(held::request("x".into()).with_id(id)));
        test.wait(test.manager().update(held::request("y".into()).timeout(MINUTE).with_id(free)));
        test.advance(HOUR - secs(1));
        assert_eq!(test.states(&[id, free]), [Running; 2]);
        test.advance(secs(1));
        assert_eq!(test.states(&[id, free]), [Waits, Running]);
        test.advance(2 * HOUR);
        assert_eq!((test.state_of(id), test.info(id).failures), (Running, 1), "its next run has none");
    });
}

/// UPD-3 for expedited work: waiting work becomes expedited, and goes into the slot that is kept for it.
#[test]
fn upd_3_waiting_work_becomes_expedited() {
    on_both_stores(|test| {
        let test = test.shaped(|driver| {
            let mut limits = workman_testing::TestDriver::default_limits();
            (limits.async_slots, limits.expedited_slots) = (1, 1);
            driver.limits(limits)
        });
        test.enqueue(held::request("busy".into()));
        test.run_until_idle();
        let id = test.enqueue(say::request("x".into()));
        let delayed = test.enqueue(say::request("delayed".into()).initial_delay(DAY));
        test.run_until_idle();
        assert_eq!(test.states(&[id, delayed]), [Waits; 2]);
        for (id, name) in [(id, "x"), (delayed, "delayed")] {
            let urgent =
                say::request(name.into()).expedited(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest).with_id(id);
            test.wait(test.manager().update(urgent));
        }
        test.run_until_idle();
        assert_eq!(test.states(&[id, delayed]), [Succeeded; 2]);
    });
}
