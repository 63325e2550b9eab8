//! Every kind of argument: what is stored for it, and where its value comes from.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{run_of, run_with};
use workman_core::seams::{StateKey, Unstartable};
use workman_core::store::WorkerKind;
use workman_core::{InputShape, PeriodicRequest, Request, Takes, TakesAll, WorkContext, Worker, worker};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Image {
    name: String,
    scale: f64,
}

fn image(name: &str) -> Image {
    Image { name: name.into(), scale: 1.0 }
}

#[worker]
fn nothing() {}

#[worker]
async fn describe(path: PathBuf, tags: BTreeMap<String, u128>, image: Option<Image>) -> String {
    format!("{} {tags:?} {}", path.display(), image.map_or_else(String::new, |image| image.name))
}

#[test]
fn inputs_are_stored_by_name_and_come_back() {
    let tags = BTreeMap::from([("wide".to_owned(), u128::MAX)]);
    let run = run_of(describe::request("a.png".into(), tags, Some(image("cat"))));
    assert_eq!(
        run.json(),
        r#"{"path":"a.png","tags":{"wide":340282366920938463463374607431768211455},"image":{"name":"cat","scale":1.0}}"#
    );
    assert_eq!(run.output::<describe>(), format!("a.png {{\"wide\": {}}} cat", u128::MAX));
    assert_eq!(run_of(nothing::request()).json(), "{}");
    assert_eq!(run_of(nothing::request()).output::<nothing>(), ());
}

#[test]
fn an_async_fn_is_polled_and_a_plain_fn_is_called() {
    assert_eq!(describe::DEF.kind, WorkerKind::Async);
    assert_eq!(nothing::DEF.kind, WorkerKind::Blocking);
}

#[test]
fn the_function_is_still_a_plain_function() {
    nothing();
    let described = describe("a".into(), BTreeMap::new(), None);
    drop(described);
}

#[worker]
fn evolved(
    #[alias("file")] path: String,
    #[default] tries: u32,
    #[default = vec![7]] sizes: Vec<u8>,
    r#type: u8,
) -> (String, u32, Vec<u8>, u8) {
    (path, tries, sizes, r#type)
}

#[test]
fn what_an_older_build_stored_is_still_read() {
    let old = run_with(r#"{"file":"a","type":1,"gone":true}"#);
    assert_eq!(old.output::<evolved>(), ("a".into(), 0, vec![7], 1));
    let new = run_of(evolved::request("b".into(), 5, vec![], 2));
    assert_eq!(new.json(), r#"{"path":"b","tries":5,"sizes":[],"type":2}"#);
    assert_eq!(new.output::<evolved>(), ("b".into(), 5, vec![], 2));
}

#[test]
fn what_does_not_decode_is_named() {
    let said = |json: &str| match run_with(json).unstartable::<evolved>() {
        Unstartable::Undecodable(message) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(said(r#"{"type":1}"#), "argument `path`: missing");
    assert!(
        said(r#"{"path":7,"type":1}"#).starts_with("argument `path`: invalid type: integer `7`, expected a string")
    );
    assert!(said("[]").starts_with("the input is no object keyed by argument name"));
}

#[derive(Clone)]
struct Db(Arc<str>);

#[worker]
async fn ask(cx: &WorkContext, question: String, #[state] db: Db, #[state] _: Arc<str>) -> String {
    format!("{} asks {}: {question}", cx.worker(), db.0)
}

#[test]
fn context_and_state_are_given_and_not_stored() {
    let run = || run_of(ask::request("why".into()));
    assert_eq!(run().json(), r#"{"question":"why"}"#);
    let db = Db("db".into());
    assert_eq!(run().state(db.clone()).state(Arc::<str>::from("")).output::<ask>(), "ask asks db: why");
    let missing = run().state(db).unstartable::<ask>();
    assert_eq!(missing, Unstartable::MissingState(StateKey::of::<Arc<str>>()));
    assert_eq!((ask::DEF.states)(), [StateKey::of::<Db>(), StateKey::of::<Arc<str>>()]);
}

#[worker]
fn blur(radius: u32, #[prerequisite] image: Image) -> Image {
    Image { scale: image.scale / f64::from(radius), ..image }
}

#[test]
fn one_prerequisite_gives_its_output_or_the_request_does() {
    let chained: Request<Takes<Image>, Image> = blur::request(2);
    assert_eq!(blur::DEF.takes, InputShape::One);
    assert_eq!(run_of(chained.clone()).json(), r#"{"radius":2}"#);
    assert_eq!(run_of(chained.clone()).after(&image("cat")).output::<blur>(), Image { scale: 0.5, ..image("cat") });
    let alone = run_of(blur::with(image("dog"), 4));
    assert_eq!(alone.json(), r#"{"image":{"name":"dog","scale":1.0},"radius":4}"#);
    assert_eq!(alone.output::<blur>(), Image { scale: 0.25, ..image("dog") });
    let said = format!("{:?}", run_of(chained.clone()).after_no_output().unstartable::<blur>());
    assert!(said.contains("argument `image`: prerequisite 1 left no output"), "{said}");
    let said = format!("{:?}", run_of(chained).after(&7).unstartable::<blur>());
    assert!(said.contains("argument `image`: the output of prerequisite 1: invalid type"), "{said}");
}

#[worker]
fn archive(#[prerequisites] parts: Vec<Image>, name: String) -> String {
    parts.iter().fold(name, |all, part| all + " " + &part.name)
}

type Pair = (Image, Option<u8>);

#[worker]
fn join(#[prerequisites] pair: Pair) -> String {
    format!("{} {:?}", pair.0.name, pair.1)
}

#[test]
fn several_prerequisites_give_a_list_or_a_tuple_in_order() {
    let list: Request<TakesAll<Vec<Image>>, String> = archive::request("zip".into());
    assert_eq!(archive::DEF.takes, InputShape::List);
    assert_eq!(run_of(list.clone()).after(&image("a")).after(&image("b")).output::<archive>(), "zip a b");
    assert_eq!(run_of(list).output::<archive>(), "zip");
    assert_eq!(run_of(archive::with(vec![image("c")], "tar".into())).output::<archive>(), "tar c");

    let tuple: Request<TakesAll<(Image, Option<u8>)>, String> = join::request();
    assert_eq!(join::DEF.takes, InputShape::Tuple);
    assert_eq!(run_of(tuple.clone()).after(&image("a")).after_no_output().output::<join>(), "a None");
    let said = format!("{:?}", run_of(tuple).after(&image("a")).unstartable::<join>());
    assert!(said.contains("takes the outputs of 2 prerequisites, and there are 1"), "{said}");
}

#[test]
fn requests_and_periodic_requests_carry_the_inputs() {
    let hour = Duration::from_secs(3600);
    let _: PeriodicRequest = nothing::periodic(hour).tag("x");
    let _: PeriodicRequest = describe::periodic("a".into(), BTreeMap::new(), None, hour);
    let shown = format!("{:?}", describe::request("a".into(), BTreeMap::new(), None));
    assert!(shown.contains("worker: \"describe\""), "{shown}");
    assert_eq!(describe::worker().def().name, describe::NAME);
}

#[test]
fn an_input_that_would_not_decode_again_is_refused_with_worker_and_argument() {
    let request = blur::with(Image { name: String::new(), scale: f64::NAN }, 1);
    let refusal = workman_core::seams::stored_input(request).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "the argument `image` of worker `blur` can't be encoded: at .scale: NaN is no JSON number; an `Option` has `None` for it"
    );
}
