//! Values: what comes back is what was given, bit for bit, and what would not is refused before it is stored.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use futures::executor::block_on;
use futures::stream::{self, Stream};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use support::{Bystanders, HOUR, MINUTE, RedbHome};
use workman_core::seams::ReadBack;
use workman_core::store::{Advice, Codec, End};
use workman_core::{
    Completer, EnqueueError, ExistingWorkPolicy, InputMerger, MemoryStore, NoteError, Nothing, ParkReason, Payload,
    Request, RequestError, ThreadRuntime, WorkContext, WorkError, WorkManager, WorkSelector, WorkState, worker,
};
use workman_testing::{TestDriver, TestWorker};

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random bits, the same each time.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(SEED);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Each kind of number that there is, and so many at random.
fn floats(count: usize) -> Vec<f64> {
    let mut bits = Bits(SEED);
    let edges = [0.0, -0.0, f64::MIN, f64::MAX, f64::MIN_POSITIVE, -f64::MIN_POSITIVE, f64::EPSILON, 0.1 + 0.2];
    let least = (0..64).map(|shift| f64::from_bits(1 << shift));
    let random = std::iter::repeat_with(|| f64::from_bits(bits.next())).take(count);
    edges.into_iter().chain(least).chain(random).filter(|float| float.is_finite()).collect()
}

fn singles(count: usize) -> Vec<f32> {
    let mut bits = Bits(!SEED);
    let edges = [0.0, -0.0, f32::MIN, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), 0.1, 16_777_216.0];
    let random = std::iter::repeat_with(|| f32::from_bits((bits.next() >> 32) as u32)).take(count);
    edges.into_iter().chain(random).filter(|float| float.is_finite()).collect()
}

fn bits(floats: &[f64]) -> Vec<u64> {
    floats.iter().map(|float| float.to_bits()).collect()
}

fn bits32(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}

fn on_each_store(name: &str, check: impl Fn(&TestDriver)) {
    for test in [TestDriver::new(), TestDriver::new().store(RedbHome::new(name))] {
        let bystanders = Bystanders::of(&test);
        check(&test);
        bystanders.are_untouched(&test);
    }
}

// ---- numbers come back ----

#[test]
fn each_of_100_000_floats_comes_back_bit_for_bit() {
    for chunk in floats(100_000).chunks(10_000) {
        let back: Vec<f64> = Payload::encode(chunk).unwrap().decode().unwrap();
        assert_eq!(bits(&back), bits(chunk), "seed {SEED:#x}");
    }
    for chunk in singles(100_000).chunks(10_000) {
        let back: Vec<f32> = Payload::encode(chunk).unwrap().decode().unwrap();
        assert_eq!(bits32(&back), bits32(chunk), "seed {SEED:#x}");
    }
}

type Numbers = (Vec<f64>, Vec<f32>);

/// Takes them through all that it may say, and gives them.
#[worker]
fn carry(floats: Vec<f64>, singles: Vec<f32>, cx: &WorkContext) -> Result<Numbers, WorkError> {
    cx.set_progress(&(&floats, &singles))?;
    let Some((floats, singles)) = cx.checkpoint::<Numbers>()? else {
        cx.save_checkpoint(&(floats, singles))?;
        return Err(WorkError::retry_after(HOUR));
    };
    Ok((floats, singles))
}

#[worker]
fn pass_on(#[prerequisite] numbers: Numbers) -> Numbers {
    numbers
}

#[worker]
fn join(#[prerequisites] all: Vec<Numbers>) -> Numbers {
    all.into_iter().next().unwrap()
}

#[worker]
fn list(#[prerequisite] numbers: Numbers) -> impl Stream<Item = Numbers> {
    stream::iter([numbers])
}

#[test]
fn floats_come_back_from_inputs_checkpoints_progress_outputs_chains_and_streams() {
    on_each_store("floats", |test| {
        let (floats, singles) = (floats(1_000), singles(1_000));
        let same = |(a, b): Numbers| {
            assert_eq!(bits(&a), bits(&floats), "seed {SEED:#x}");
            assert_eq!(bits32(&b), bits32(&singles), "seed {SEED:#x}");
        };
        let first = carry::request(floats.clone(), singles.clone());
        let id = first.id();
        let chain =
            test.manager().begin_with(first).then(pass_on::request()).then([list::request()]).then(join::request());
        let ids = test.block_on(chain.enqueue()).unwrap().ids;
        test.run_until_idle();
        same(test.info(id).progress.unwrap().decode().unwrap());
        test.crash_and_restart();
        test.advance(HOUR);
        ids.iter().for_each(|id| same(test.output(*id)));
    });
}

#[worker]
fn give_text(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap()
}

/// Gives what it got, as it is written.
#[worker]
fn as_written(#[default] own: Value, cx: &WorkContext) -> Result<BTreeMap<String, Box<RawValue>>, WorkError> {
    assert!(!own.is_string());
    Ok(cx.input()?)
}

const DIGITS: [&str; 6] = [
    "340282366920938463463374607431768211455",
    "-170141183460469231731687303715884105728",
    "0.1000000000000000055511151231257827021181583404541015625",
    "123456789.12345679",
    "1e-400",
    "-0.0",
];

#[test]
fn a_number_that_is_merged_comes_through_digit_by_digit() {
    on_each_store("digits", |test| {
        for digits in DIGITS {
            let steps = || give_text::request(format!(r#"{{"n":{digits},"deep":{{"n":[{digits}]}}}}"#));
            for (merger, wanted) in [
                (InputMerger::Overwriting, digits.to_owned()),
                (InputMerger::ArrayCreating, format!("[{digits},{digits}]")),
            ] {
                let merged = as_written::request(json!(1)).input_merger(merger);
                let chain = test.manager().begin_with([steps(), steps()]).then(merged);
                let last = test.block_on(chain.enqueue()).unwrap().ids[2];
                test.run_until_idle();
                let output: BTreeMap<String, Box<RawValue>> = test.output(last);
                assert_eq!(output["n"].get(), wanted);
                assert!(output["deep"].get().contains(&format!("[{digits}]")), "{}", output["deep"]);
            }
        }
    });
}

// ---- numbers that don't fit (semantics, row 26) ----

macro_rules! takers {
    ($($taker:ident: $type:ty,)*) => {$(
        #[worker]
        fn $taker(n: $type) -> String {
            format!("{n:?}")
        }
    )*};
}

takers! {
    takes_u8: u8,
    takes_i32: i32,
    takes_u64: u64,
    takes_u128: u128,
    takes_f32: f32,
    takes_f64: f64,
}

/// What becomes of a number that a merger puts in the place of an argument, whose type could not be compared.
fn given(test: &TestDriver, digits: &str, taker: Request<Nothing, String>) -> Result<String, ParkReason> {
    let gives = give_text::request(format!(r#"{{"n":{digits}}}"#));
    let chain = test.manager().begin_with(gives).then(taker.input_merger(InputMerger::Overwriting));
    let id = test.block_on(chain.enqueue()).unwrap().ids[1];
    test.run_until_idle();
    let info = test.info(id);
    let Some(parked) = info.parked else { return Ok(test.output(id)) };
    assert_eq!((info.state, info.failures, info.attempts.len()), (WorkState::Enqueued, 0, 0));
    Err(parked)
}

#[test]
fn data_5_a_number_that_does_not_fit_parks_the_work_and_one_that_fits_is_not_widened() {
    on_each_store("fit", |test| {
        let refused = |digits, taker| {
            let parked = given(test, digits, taker).expect_err(digits);
            assert!(parked.to_string().contains("argument `n`"), "{parked}");
        };
        refused("18446744073709551615", takes_i32::request(0));
        refused("256", takes_u8::request(0));
        refused("-1", takes_u8::request(0));
        refused("-1", takes_u64::request(0));
        refused("1.5", takes_i32::request(0));
        refused("1.0", takes_i32::request(0));
        refused("1e2", takes_u64::request(0));
        refused("18446744073709551616", takes_u64::request(0));
        refused("340282366920938463463374607431768211456", takes_u128::request(0));
        refused("1e300", takes_f32::request(0.0));
        refused("1e999", takes_f64::request(0.0));
        refused("\"1\"", takes_u64::request(0));
        refused("null", takes_f64::request(0.0));

        let fits = |digits, taker| given(test, digits, taker).unwrap();
        assert_eq!(fits("18446744073709551615", takes_u64::request(0)), u64::MAX.to_string());
        assert_eq!(fits("340282366920938463463374607431768211455", takes_u128::request(0)), u128::MAX.to_string());
        assert_eq!(fits("255", takes_u8::request(0)), "255");
        assert_eq!(fits("1", takes_f64::request(0.0)), "1.0", "JSON has one kind of number");
        assert_eq!(fits("9007199254740992", takes_f64::request(0.0)), "9007199254740992.0");
        assert_eq!(fits("0.1", takes_f32::request(0.0)), "0.1", "the nearest that there is");
    });
}

#[worker]
fn shows_all(own: Value, cx: &WorkContext) -> Result<Value, WorkError> {
    let input: Value = cx.input()?;
    assert_eq!(input["own"], own);
    Ok(input)
}

#[test]
fn data_1_without_a_merger_nothing_is_merged() {
    on_each_store("no-merger", |test| {
        let gives = || give_text::request(r#"{"own":2,"other":[3]}"#.into());
        let chain = test.manager().begin_with([gives(), gives()]).then(shows_all::request(json!({"a": [1]})));
        let id = test.block_on(chain.enqueue()).unwrap().ids[2];
        test.run_until_idle();
        assert_eq!(test.output::<Value>(id), json!({"own": {"a": [1]}}));
    });
}

// ---- what does not come back is refused ----

#[derive(Clone, Default, Serialize, Deserialize)]
struct Tree {
    kids: Vec<Tree>,
}

/// Nested so deep: an object and a list for each.
fn tree(levels: usize) -> Tree {
    (1..levels).fold(Tree::default(), |tree, _| Tree { kids: vec![tree] })
}

/// Lists in lists, so deep.
fn lists(deep: usize) -> Value {
    (1..deep).fold(json!([]), |inner, _| json!([inner]))
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Amount {
    Exact { cents: u128 },
    Text(String),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Event {
    Paid { cents: i128 },
}

#[derive(Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    by_year: BTreeMap<u32, u8>,
}

#[derive(Serialize, Deserialize)]
struct Doubled {
    name: String,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Serialize, Deserialize)]
#[expect(dead_code, reason = "nobody reads a field that is never there")]
struct Secretive {
    name: String,
    #[serde(skip_serializing)]
    password: String,
}

/// Writes what it does not read.
struct Contrary;

impl Serialize for Contrary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Contrary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            2 => Ok(Contrary),
            other => Err(D::Error::custom(format_args!("{other} is no 2"))),
        }
    }
}

/// Panics on its way out or back.
enum Panics {
    Out,
    Back,
}

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Panics::Out => panic!("not today"),
            Panics::Back => serializer.serialize_unit(),
        }
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("not tomorrow")
    }
}

macro_rules! takes_one {
    ($($taker:ident: $type:ty,)*) => {$(
        #[worker]
        fn $taker(before: u8, value: $type) {
            let _ = (before, value);
        }
    )*};
}

takes_one! {
    plant: Tree,
    pay: Amount,
    note: Event,
    count: Flat,
    double: Doubled,
    hide: Secretive,
    object: Contrary,
    panic: Panics,
    nest: Option<Option<u8>>,
}

fn deep_down(value: Tree) -> Request<Nothing, ()> {
    plant::request(1, value)
}

#[test]
fn what_would_not_be_read_is_refused_at_the_enqueue_by_worker_and_argument() {
    on_each_store("refused", |test| {
        let refused = |request: Request<Nothing, ()>, name: &str, why: &str| {
            let id = request.id();
            match test.try_enqueue(request) {
                Err(EnqueueError::Request(error @ RequestError::Unencodable { .. })) => {
                    let text = error.to_string();
                    let start = format!("the argument `value` of worker `{name}` can't be encoded: ");
                    assert!(text.starts_with(&start) && text.contains(why), "{text}");
                }
                other => panic!("{name}: {other:?}"),
            }
            assert_eq!(test.find(id), None);
        };
        let unread = "what its `Serialize` writes, its `Deserialize` does not read";
        refused(deep_down(tree(64)), "plant", "more than 126 deep");
        refused(deep_down(tree(5_000)), "plant", "nest less, or store it elsewhere and pass where it is");
        refused(pay::request(1, Amount::Exact { cents: 1 }), "pay", unread);
        refused(note::request(1, Event::Paid { cents: -1 }), "note", unread);
        refused(count::request(1, Flat { name: "a".into(), by_year: [(2026, 1)].into() }), "count", unread);
        refused(double::request(1, Doubled { name: "a".into(), rest: [("name".into(), 1)].into() }), "double", unread);
        refused(
            hide::request(1, Secretive { name: "a".into(), password: "b".into() }),
            "hide",
            "missing field `password`",
        );
        refused(object::request(1, Contrary), "object", "1 is no 2");
        refused(panic::request(1, Panics::Out), "panic", "its `Serialize` panicked: not today");
        refused(panic::request(1, Panics::Back), "panic", "its `Deserialize` panicked: not tomorrow");
        refused(nest::request(1, Some(None)), "nest", "`Some` of nothing would be read as `None`");

        for fine in [
            deep_down(tree(63)),
            pay::request(1, Amount::Text("1".into())),
            count::request(1, Flat { name: "a".into(), by_year: BTreeMap::new() }),
            double::request(1, Doubled { name: "a".into(), rest: [("b".into(), 1)].into() }),
            nest::request(1, Some(Some(1))),
            nest::request(1, None),
        ] {
            let id = test.enqueue(fine);
            test.run_until_idle();
            assert_eq!(test.state_of(id), WorkState::Succeeded);
        }
    });
}

#[test]
fn each_way_to_enqueue_refuses_what_would_not_be_read() {
    let test = TestDriver::new();
    let bystanders = Bystanders::of(&test);
    let manager = test.manager();
    let bad = || pay::request(1, Amount::Exact { cents: 1 });
    let good = || pay::request(1, Amount::Text("1".into())).initial_delay(HOUR);
    let id = test.enqueue(good());
    let before = test.info(id);

    let is_refused = |error: EnqueueError| assert!(matches!(error, EnqueueError::Request(_)), "{error}");
    is_refused(test.block_on(manager.enqueue_all([good(), bad()])).unwrap_err());
    is_refused(test.block_on(manager.enqueue_unique("name", ExistingWorkPolicy::Keep, bad())).unwrap_err());
    is_refused(test.block_on(manager.begin_with(good()).then(bad()).enqueue()).unwrap_err());
    let periodic = pay::periodic(1, Amount::Exact { cents: 1 }, HOUR);
    is_refused(test.block_on(manager.enqueue_periodic(periodic)).unwrap_err());
    assert!(test.block_on(manager.update(bad().with_id(id))).is_err());

    assert_eq!(test.info(id), before);
    assert_eq!(test.cancel(WorkSelector::tag("pay")), 1, "nothing else was stored");
    bystanders.are_untouched(&test);
}

#[worker]
fn reads_lists(value: Value) -> Value {
    value
}

#[worker]
fn takes_lists(#[prerequisite] value: Value) -> usize {
    deepest(&value)
}

#[worker]
fn gives_lists(deep: usize) -> Value {
    lists(deep)
}

#[worker]
fn gives_a_key(deep: usize) -> Value {
    json!({ "value": lists(deep) })
}

#[worker]
fn measures(value: Value) -> usize {
    deepest(&value)
}

/// How many lists lie in each other.
fn deepest(value: &Value) -> usize {
    std::iter::successors(Some(value), |value| value.get(0)).count()
}

/// The reader goes 127 deep. An argument lies in an object, what is merged may lie in a list of its own besides.
#[test]
fn what_is_accepted_is_read_where_it_lies_however_deep_and_one_level_more_is_refused() {
    on_each_store("deep", |test| {
        for (deep, accepted) in [(1, true), (126, true), (127, false), (128, false)] {
            assert_eq!(test.try_enqueue(reads_lists::request(lists(deep))).is_ok(), accepted, "{deep}");
        }
        for (deep, succeeds) in [(126, true), (127, true), (128, false), (1_000, false)] {
            let chain = test.manager().begin_with(gives_lists::request(deep)).then(takes_lists::request());
            let ids = test.block_on(chain.enqueue()).unwrap().ids;
            test.run_until_idle();
            let ended = if succeeds { WorkState::Succeeded } else { WorkState::Failed };
            assert_eq!([test.state_of(ids[0]), test.state_of(ids[1])], [ended; 2], "{deep}");
            if succeeds {
                assert_eq!((deepest(&test.output(ids[0])), test.output::<usize>(ids[1])), (deep, deep));
            }
        }
        for merger in [InputMerger::Overwriting, InputMerger::ArrayCreating] {
            let own = measures::request(lists(126)).input_merger(merger);
            let id = test.enqueue(own);
            let merged = measures::request(json!([])).input_merger(merger);
            let chain = test.manager().begin_with(gives_a_key::request(126)).then(merged);
            let last = test.block_on(chain.enqueue()).unwrap().ids[1];
            test.run_until_idle();
            assert_eq!((test.output::<usize>(id), test.output::<usize>(last)), (126, 126), "{merger:?}");
        }
    });
}

#[test]
fn without_debug_assertions_the_first_eight_of_a_worker_are_read_back_and_eight_more_after_a_refusal() {
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Sum {
        Exact { cents: u128 },
        Text(String),
    }
    #[worker]
    fn add(sum: Sum) {
        let _ = sum;
    }
    let builder = WorkManager::builder(MemoryStore::new()).read_back(ReadBack::First).runtime(ThreadRuntime::new());
    let manager = builder.enqueue_only().start().unwrap();
    let accepts = |sum| block_on(manager.enqueue(add::request(sum))).is_ok();
    let bad = || Sum::Exact { cents: 1 };
    assert!(!accepts(bad()));
    for _ in 0..7 {
        assert!(accepts(Sum::Text("1".into())));
    }
    assert!(!accepts(bad()), "the last of eight");
    for _ in 0..8 {
        assert!(accepts(Sum::Text("1".into())));
    }
    assert!(accepts(bad()), "what a worker takes was fine eight times in a row, and is not looked at any more");
}

// ---- outputs ----

/// How often a worker was run.
type Runs = Arc<AtomicU32>;

#[worker]
async fn gives_amount(#[state] runs: Runs) -> Amount {
    runs.fetch_add(1, Ordering::SeqCst);
    Amount::Exact { cents: 1 }
}

#[worker]
fn gives_nan(#[state] runs: Runs) -> Result<f64, WorkError> {
    runs.fetch_add(1, Ordering::SeqCst);
    Ok(f64::NAN)
}

#[worker]
fn gives_a_panic(#[state] runs: Runs) -> Panics {
    runs.fetch_add(1, Ordering::SeqCst);
    Panics::Out
}

#[worker]
fn completes(#[state] runs: Runs, done: Completer<Flat>) {
    runs.fetch_add(1, Ordering::SeqCst);
    thread::spawn(move || done.succeed(Flat { name: "a".into(), by_year: [(1, 1)].into() }));
}

#[worker]
fn streams(#[state] runs: Runs) -> impl Stream<Item = Tree> {
    runs.fetch_add(1, Ordering::SeqCst);
    stream::iter([tree(1), tree(64)])
}

#[worker]
fn streams_amounts(#[state] runs: Runs) -> impl Stream<Item = Result<Amount, WorkError>> {
    runs.fetch_add(1, Ordering::SeqCst);
    stream::iter([Ok(Amount::Text("1".into())), Ok(Amount::Exact { cents: 1 }), Err("too late".into())])
}

#[worker]
async fn gives_after_a_stop(#[state] runs: Runs, cx: &WorkContext, deep: usize) -> Tree {
    runs.fetch_add(1, Ordering::SeqCst);
    cx.until_stopped().await;
    tree(deep)
}

/// Runs the work and answers what its attempt said.
fn fails_once<O>(test: &TestDriver, runs: &Runs, request: Request<Nothing, O>) -> String {
    runs.store(0, Ordering::SeqCst);
    let id = request.id();
    let then = pay::request(1, Amount::Text("1".into()));
    let chain = test.manager().begin_with(request).then(then);
    let ids = test.block_on(chain.enqueue()).unwrap().ids;
    test.run_until_idle();
    test.advance(12 * HOUR);
    assert_eq!([test.state_of(id), test.state_of(ids[1])], [WorkState::Failed; 2]);
    let info = test.info(id);
    assert_eq!((info.attempts.len(), info.output, runs.load(Ordering::SeqCst)), (1, None, 1), "no second try");
    let error = test.info(id).last_error().unwrap().to_string();
    let name = &test.info(id).worker;
    assert!(
        error.starts_with(&format!("the output of worker `{name}` can't be encoded, so the work is not tried again"))
    );
    error
}

#[test]
fn an_output_that_nobody_could_read_fails_the_work_for_good_and_says_so() {
    for home in [None, Some(RedbHome::new("outputs"))] {
        let runs = Runs::default();
        let test = TestDriver::new().state(Arc::clone(&runs));
        let test = match home {
            Some(home) => test.store(home),
            None => test,
        };
        let unread = "its `Deserialize` does not read";
        assert!(fails_once(&test, &runs, gives_amount::request()).contains(unread));
        assert!(fails_once(&test, &runs, gives_nan::request()).contains("NaN is no JSON number"));
        assert!(fails_once(&test, &runs, gives_a_panic::request()).contains("its `Serialize` panicked: not today"));
        assert!(fails_once(&test, &runs, completes::request()).contains(unread));
        assert!(fails_once(&test, &runs, streams::request()).contains("more than 127 deep"));
        assert!(fails_once(&test, &runs, streams_amounts::request()).contains(unread));
    }
}

#[test]
fn an_output_that_nobody_wants_is_not_read_back() {
    let runs = Runs::default();
    let test = TestDriver::new().state(Arc::clone(&runs));
    let id = test.enqueue(gives_amount::request().discard_output());
    test.run_until_idle();
    assert_eq!((test.state_of(id), test.info(id).output), (WorkState::Succeeded, None));
}

/// An error of a run that was told to stop is an interruption, and the run is repeated. This one has done what it was to do.
#[test]
fn an_output_that_nobody_could_read_is_no_interruption_though_the_run_was_told_to_stop() {
    use workman_core::{ConstraintKind, Constraints};

    for (deep, accepted) in [(10, true), (64, false)] {
        let runs = Runs::default();
        let test = TestDriver::new().state(Arc::clone(&runs));
        let charging = Constraints::new().requires_charging();
        let id = test.enqueue(gives_after_a_stop::request(deep).constraints(charging));
        test.run_until_idle();
        test.lose(ConstraintKind::Charging);
        test.advance(MINUTE);
        test.meet(ConstraintKind::Charging);
        test.advance(MINUTE);
        let state = if accepted { WorkState::Succeeded } else { WorkState::Failed };
        assert_eq!((test.state_of(id), runs.load(Ordering::SeqCst)), (state, 1));
    }
}

#[test]
fn a_stub_that_gives_what_nobody_could_read_fails_for_good_like_its_worker() {
    let test = TestDriver::new().state(Runs::default());
    test.stub::<gives_amount>([Ok(Amount::Exact { cents: 1 })]);
    let id = test.enqueue(gives_amount::request());
    test.run_until_idle();
    assert_eq!((test.state_of(id), test.info(id).attempts.len()), (WorkState::Failed, 1));
}

#[test]
fn a_worker_that_is_tested_alone_fails_for_good_too() {
    let unstorable = |end| match end {
        End::Failed { error, advice: Advice::Unstorable } => error.to_string(),
        other => panic!("{other:?}"),
    };
    let end = TestWorker::<gives_amount>::new(gives_amount::request()).state(Runs::default()).run();
    assert!(unstorable(end).contains("its `Deserialize` does not read"));
    let end = TestWorker::<gives_nan>::new(gives_nan::request()).state(Runs::default()).run();
    assert!(unstorable(end).contains("NaN"));
    let end = TestWorker::<streams_amounts>::new(streams_amounts::request()).state(Runs::default()).run();
    assert!(unstorable(end).contains("its `Deserialize` does not read"));
}

#[test]
#[should_panic(expected = "the argument `value` of worker `pay` can't be encoded")]
fn a_worker_that_is_tested_alone_is_given_nothing_that_would_not_be_read() {
    let _ = TestWorker::<pay>::new(pay::request(1, Amount::Exact { cents: 1 }));
}

// ---- progress and checkpoints ----

#[worker]
async fn keeps(cx: &WorkContext) -> Result<(u32, Vec<String>), WorkError> {
    if let Some(at) = cx.checkpoint::<Amount>()? {
        let Amount::Text(at) = at else { return Err("another checkpoint".into()) };
        return Ok((1, vec![at]));
    }
    cx.set_progress(&1)?;
    cx.save_checkpoint(&Amount::Text("first".into()))?;
    let errors = [
        cx.save_checkpoint(&Amount::Exact { cents: 1 }),
        cx.save_checkpoint(&Panics::Back),
        cx.save_checkpoint(&tree(64)),
        cx.set_progress(&Panics::Out),
        cx.set_progress(&tree(64)),
    ];
    let text = |noted: Result<(), NoteError>| match noted {
        Err(error @ NoteError::Encode { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let errors: Vec<String> = errors.map(text).into();
    cx.flush().await?;
    Err(errors.join("\n").into())
}

#[test]
fn a_checkpoint_that_would_not_be_read_is_refused_and_the_one_before_stays() {
    on_each_store("notes", |test| {
        let id = test.enqueue(keeps::request());
        test.run_until_idle();
        let said = test.info(id).last_error().unwrap().to_string();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("the checkpoint can't be encoded: what its `Serialize` writes"), "{said}");
        assert!(lines[1].contains("its `Deserialize` panicked: not tomorrow"), "{said}");
        assert!(lines[2].contains("more than 127 deep"), "{said}");
        assert!(lines[3].starts_with("the progress can't be encoded: its `Serialize` panicked: not today"), "{said}");
        assert!(lines[4].contains("more than 127 deep"), "{said}");
        assert_eq!(test.info(id).progress.unwrap().decode::<u8>(), Ok(1));
        test.advance(MINUTE);
        assert_eq!(test.output::<(u32, Vec<String>)>(id), (1, vec!["first".to_owned()]));
    });
}

// ---- what an error says about a value ----

#[test]
fn what_does_not_decode_is_explained_without_the_text_that_it_is() {
    let payload = |json: &str| Payload::new(Codec::JSON, json.as_bytes());
    #[derive(Debug, Deserialize)]
    enum Colour {
        Red,
    }
    let said = payload(r#""a \" secret, expected b""#).decode::<u32>().unwrap_err().to_string();
    assert_eq!(said, "invalid type: string, expected u32 at line 1 column 25");
    let said = payload(r#""a `secret`, expected `x`""#).decode::<Colour>().unwrap_err().to_string();
    assert!(said.starts_with("unknown variant, expected `Red`"), "{said}");
    let said = payload(r#""secret""#).decode::<char>().unwrap_err().to_string();
    assert!(said.starts_with("invalid value: string, expected a character"), "{said}");
    let said = payload("300").decode::<u8>().unwrap_err().to_string();
    assert!(said.starts_with("invalid value: integer `300`, expected u8"), "a number is no text: {said}");
    assert!(matches!(payload(r#""Red""#).decode(), Ok(Colour::Red)));
}
