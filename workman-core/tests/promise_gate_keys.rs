//! What the attribute of a worker says of gates: how many of its works run at once, and the key that its requests share a limit by.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use workman_core::{
    EnqueueError, Gate, Limits, NameProblem, RequestError, Stopped, WorkContext, WorkId, WorkQuery, WorkState, worker,
};
use workman_testing::TestDriver;

const HOUR: Duration = Duration::from_secs(3600);
const LANES: u32 = 3;

#[worker(limit_key = "shop/{shop}/{type}-{{{shop}}}")]
fn restock(shop: u32, #[default] goods: Vec<u8>, r#type: String) -> usize {
    goods.len() + r#type.len() + shop as usize
}

#[worker(limit_key = "printer")]
fn print() {}

#[worker(name = "label/glue", handle = GlueLabel, limit_key = "{shop}")]
fn glue(#[prerequisite] count: usize, shop: char, #[state] glue: String) -> usize {
    count + glue.len() + shop.len_utf8()
}

fn key_of(test: &TestDriver, id: WorkId) -> Option<String> {
    test.info(id).limit_key.map(|key| key.to_string())
}

fn key(text: &str) -> Option<String> {
    Some(text.into())
}

#[test]
fn the_key_of_a_request_is_made_of_its_inputs_however_it_is_made() {
    let test = TestDriver::new().state("glue".to_owned());
    let once = test.enqueue(restock::request(4, vec![1], "tea".into()));
    let again = test.enqueue_periodic(restock::periodic(5, vec![], "rice".into(), HOUR));
    let alone = test.enqueue(GlueLabel::with(3, 'ß'));
    let same = test.enqueue(print::request());
    assert_eq!(key_of(&test, once), key("shop/4/tea-{4}"));
    assert_eq!(key_of(&test, again), key("shop/5/rice-{5}"));
    assert_eq!(key_of(&test, alone), key("ß"));
    assert_eq!(key_of(&test, same), key("printer"));
    let chain = test.manager().begin_with(restock::request(6, vec![], "oil".into())).then(GlueLabel::request('x'));
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    let keys: Vec<_> = ids.iter().map(|id| key_of(&test, *id)).collect();
    assert_eq!(keys, [key("shop/6/oil-{6}"), key("x")]);
    test.run_until_idle();
    assert_eq!(test.output::<usize>(once), 8);
}

macro_rules! worker_of_a_macro {
    ($name:ident, $argument:ident, $key:literal, $count:expr) => {
        #[worker(limit_key = $key, concurrency = $count)]
        fn $name($argument: u8) -> u8 {
            $argument
        }
    };
}

worker_of_a_macro!(stamp, colour, "ink/{colour}", LANES * 2);

#[test]
fn a_request_keeps_its_key_when_it_is_erased_and_when_a_macro_writes_its_worker() {
    let test = TestDriver::new();
    let chain = test.manager().begin_with(stamp::request(3).erased());
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    assert_eq!(ids.iter().map(|id| key_of(&test, *id)).collect::<Vec<_>>(), [key("ink/3")]);
}

#[test]
fn a_key_that_a_request_says_itself_counts_in_place_of_its_workers() {
    let test = TestDriver::new();
    let request = restock::request(4, vec![1], "tea".into()).limit_key("own").initial_delay(HOUR);
    let id = test.enqueue(request);
    assert_eq!(key_of(&test, id), key("own"));
    let other = restock::request(9, vec![], "tea".into()).with_id(id).initial_delay(HOUR);
    test.block_on(test.manager().update(other)).unwrap();
    assert_eq!(key_of(&test, id), key("shop/9/tea-{9}"));
}

/// A type with a text that is the program's own code.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Says {
    Nothing,
    NothingBut(char),
    Fails,
    Panics,
    WithoutEnd,
    WithoutEndAndDeaf,
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Says::Nothing => Ok(()),
            Says::NothingBut(letter) => (0..100).try_for_each(|_| write!(f, "{letter}")),
            Says::Fails => Err(fmt::Error),
            Says::Panics => panic!("no text today"),
            Says::WithoutEnd => loop {
                f.write_str("more and ")?;
            },
            Says::WithoutEndAndDeaf => loop {
                _ = f.write_str("more and ");
            },
        }
    }
}

#[worker(limit_key = "{first}{second}")]
fn say(first: Says, second: Says) {
    _ = (first, second);
}

fn refused(test: &TestDriver, first: Says, second: Says) -> RequestError {
    match test.try_enqueue(say::request(first, second)) {
        Err(EnqueueError::Request(error)) => error,
        other => panic!("{first:?} and {second:?} are no key: {other:?}"),
    }
}

#[test]
fn a_key_that_is_empty_or_too_long_or_of_more_than_one_line_is_refused_as_a_tag_is() {
    let test = TestDriver::new();
    let problem = |first, second| match refused(&test, first, second) {
        RequestError::Key { worker, field: "limit_key", problem, .. } if &*worker == "say" => problem,
        other => panic!("{other}"),
    };
    let limit = Limits::default().tag;
    assert_eq!(problem(Says::Nothing, Says::Nothing), NameProblem::Empty);
    let long = problem(Says::NothingBut('a'), Says::NothingBut('ü'));
    assert_eq!(long, NameProblem::TooLong { size: 300, limit });
    assert_eq!(problem(Says::Nothing, Says::NothingBut('\n')), NameProblem::ControlCharacter('\n'));
    assert!(test.try_enqueue(say::request(Says::Nothing, Says::NothingBut('b'))).is_ok());
    assert_eq!(test.query(WorkQuery::all()).len(), 1);
}

#[test]
fn an_input_whose_text_fails_panics_or_never_ends_is_refused_by_its_name() {
    let mut limits = TestDriver::default_limits();
    limits.tag = usize::MAX;
    let test = TestDriver::new().limits(limits);
    for (bad, why) in [
        (Says::Fails, "its `Display` fails"),
        (Says::Panics, "its text panicked: no text today"),
        (Says::WithoutEnd, "its text is too long"),
        (Says::WithoutEndAndDeaf, "its text is too long"),
    ] {
        for (first, second, argument) in [(bad, Says::Nothing, "first"), (Says::NothingBut('a'), bad, "second")] {
            let error = refused(&test, first, second);
            assert!(matches!(error, RequestError::Unencodable { argument: named, .. } if named == argument), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }
    assert_eq!(test.query(WorkQuery::all()), []);
}

#[test]
fn a_key_said_on_the_request_does_not_need_the_text_of_an_input() {
    let test = TestDriver::new();
    for input in [Says::Nothing, Says::Fails, Says::Panics, Says::WithoutEnd] {
        let id = test.enqueue(say::request(input, input).limit_key("own"));
        assert_eq!(key_of(&test, id), key("own"));
    }
}

#[worker(concurrency = LANES - 1, limit_key = "customer/{customer}")]
async fn paint(cx: &WorkContext, customer: u8) -> Result<u8, Stopped> {
    cx.sleep(HOUR).await?;
    Ok(customer)
}

fn running(test: &TestDriver) -> usize {
    test.query(WorkQuery::tag("paint").state(WorkState::Running)).len()
}

#[test]
fn no_more_run_at_once_than_the_attribute_says() {
    let test = TestDriver::new();
    let ids: Vec<WorkId> = (0..5).map(|customer| test.enqueue(paint::request(customer))).collect();
    for at_once in [2, 2, 1, 0] {
        test.run_until_idle();
        assert_eq!(running(&test), at_once);
        test.advance(HOUR);
    }
    assert!(ids.iter().all(|id| test.state_of(*id) == WorkState::Succeeded));
}

#[test]
fn what_the_builder_says_of_a_worker_counts_in_place_of_its_attribute() {
    let test = TestDriver::new().shape(|builder| builder.limit(Gate::worker::<paint>().at_once(4)));
    for customer in 0..5 {
        test.enqueue(paint::request(customer));
    }
    test.run_until_idle();
    assert_eq!(running(&test), 4);
}

#[test]
fn works_whose_inputs_make_one_key_share_its_limit() {
    let test = TestDriver::new().shape(|builder| builder.limit(Gate::keys("customer/*").at_once(1)));
    let ids = [7, 7, 8].map(|customer| test.enqueue(paint::request(customer)));
    test.run_until_idle();
    use WorkState::{Enqueued, Running};
    assert_eq!(ids.map(|id| test.state_of(id)), [Running, Enqueued, Running]);
    assert!(test.explain(ids[1]).to_string().contains("customer/7"), "{}", test.explain(ids[1]));
}
