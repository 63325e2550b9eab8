//! Every kind of return type, and what the options set.

mod support;

use std::fmt;
use std::time::Duration;

use support::run_of;
use workman_core::seams::Registry;
use workman_core::store::{Advice, End};
use workman_core::{Backoff, Constraints, OnDeath, Outcome, WorkContext, WorkError, Worker, worker};

#[derive(Debug)]
enum UploadError {
    NotFound,
    Busy,
}

impl UploadError {
    fn is_permanent(&self) -> bool {
        matches!(self, UploadError::NotFound)
    }
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for UploadError {}

#[worker]
fn plain(n: u8) -> u8 {
    n
}

#[worker]
async fn text_error(n: u8) -> Result<u8, String> {
    n.checked_sub(1).ok_or_else(|| "too small".into())
}

#[worker]
fn boxed_error() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err(UploadError::Busy.into())
}

#[worker]
fn work_error(n: u8) -> Result<u8, WorkError> {
    match n {
        0 => Err(WorkError::permanent("zero")),
        1 => Err(WorkError::retry_after(Duration::from_secs(9)).because(UploadError::Busy)),
        2 => Err(UploadError::Busy)?,
        _ => Ok(n),
    }
}

#[worker]
fn outcome(n: u8) -> Outcome<u8> {
    if n == 0 { Outcome::Snooze(Duration::from_secs(1)) } else { Outcome::Success(n) }
}

#[worker]
async fn result_of_outcome(n: u8) -> Result<Outcome<u8>, UploadError> {
    if n == 0 { Err(UploadError::Busy) } else { Ok(outcome(n)) }
}

#[worker(permanent = UploadError::is_permanent)]
fn sorted(found: bool) -> Result<(), UploadError> {
    Err(if found { UploadError::Busy } else { UploadError::NotFound })
}

type Answer<T> = Result<T, UploadError>;
type Upload = Answer<Outcome<u8>>;

#[worker(output = u8, permanent = UploadError::is_permanent)]
fn aliased() -> Upload {
    Err(UploadError::NotFound)
}

#[worker(output = u8)]
fn aliased_once(n: u8) -> Answer<u8> {
    Ok(n)
}

mod io {
    pub(crate) type Result<T> = std::io::Result<T>;
}

#[worker]
fn result_of_one() -> io::Result<u8> {
    Ok(1)
}

#[test]
fn each_return_type_ends_the_attempt_as_it_says() {
    let busy = ("Busy".to_owned(), Advice::ByPolicy);
    assert_eq!(run_of(plain::request(3)).output::<plain>(), 3);
    assert_eq!(run_of(text_error::request(3)).output::<text_error>(), 2);
    assert_eq!(run_of(text_error::request(0)).failure::<text_error>(), ("too small".into(), Advice::ByPolicy));
    assert_eq!(run_of(boxed_error::request()).failure::<boxed_error>(), busy);
    assert_eq!(run_of(work_error::request(0)).failure::<work_error>(), ("zero".into(), Advice::Never));
    let later = ("Busy".to_owned(), Advice::After(Duration::from_secs(9)));
    assert_eq!(run_of(work_error::request(1)).failure::<work_error>(), later);
    assert_eq!(run_of(work_error::request(2)).failure::<work_error>(), busy);
    assert_eq!(run_of(work_error::request(3)).output::<work_error>(), 3);
    let snoozed = End::Snoozed { delay: Duration::from_secs(1) };
    assert_eq!(run_of(outcome::request(0)).end::<outcome>(), Ok(snoozed));
    assert_eq!(run_of(outcome::request(2)).output::<outcome>(), 2);
    assert_eq!(run_of(result_of_outcome::request(0)).failure::<result_of_outcome>(), busy);
    assert_eq!(run_of(result_of_outcome::request(5)).output::<result_of_outcome>(), 5);
    assert_eq!(run_of(result_of_one::request()).output::<result_of_one>(), 1);
}

#[test]
fn permanent_errors_are_sorted_out_even_behind_an_alias() {
    assert_eq!(run_of(sorted::request(true)).failure::<sorted>().1, Advice::ByPolicy);
    assert_eq!(run_of(sorted::request(false)).failure::<sorted>().1, Advice::Never);
    assert_eq!(run_of(aliased::request()).failure::<aliased>().1, Advice::Never);
    assert_eq!(run_of(aliased_once::request(4)).output::<aliased_once>(), 4);
}

const MANY: u32 = 50;

#[worker(
    name = "files/move",
    aliases = ["move", "mv"],
    handle = MoveFiles,
    max_attempts = MANY,
    on_death = fail,
    backoff = Backoff::linear(Duration::from_secs(2)),
    priority = -3,
    constraints = Constraints::new().requires_charging(),
)]
fn move_files() {}

#[worker(max_attempts = unlimited)]
fn tireless() {}

#[worker(retry = never)]
fn once() {}

#[test]
fn options_set_what_requests_start_from() {
    let def = MoveFiles::DEF;
    assert_eq!((def.name, MoveFiles::NAME, def.aliases), ("files/move", "files/move", &["move", "mv"][..]));
    assert_eq!((def.defaults.max_attempts, def.defaults.priority), (Some(50), -3));
    assert_eq!((def.defaults.on_death, def.defaults.backoff), (OnDeath::Fail, Backoff::linear(Duration::from_secs(2))));
    assert_eq!(def.defaults.constraints, Constraints::new().requires_charging());
    assert_eq!((tireless::DEF.defaults.max_attempts, once::DEF.defaults.max_attempts), (None, Some(1)));
    let defaults = plain::DEF.defaults.clone();
    assert_eq!((defaults.max_attempts, defaults.backoff), (Some(20), Backoff::default()));
    assert_eq!((defaults.on_death, defaults.priority), (OnDeath::Park, 0));
    move_files();
}

#[test]
fn every_worker_of_the_program_is_linked_with_its_place() {
    let registry = Registry::linked().validate().expect("no two workers of one name");
    let plain = registry.get("plain").expect("it is linked");
    assert!(std::ptr::eq(plain.def, plain::DEF) && !plain.explicit);
    let (file, line) = plain.def.location.rsplit_once(':').expect("file:line");
    assert!(file.ends_with("answers.rs"), "{file}");
    assert!(
        include_str!("answers.rs").lines().nth(line.parse::<usize>().unwrap() - 1).unwrap().starts_with("#[worker]")
    );
    assert_eq!(registry.get("mv").unwrap().def.name, "files/move");
    let mut names: Vec<&str> = registry.iter().map(|worker| &*worker.name).collect();
    assert!(names.is_sorted());
    names.retain(|name| name.starts_with("nested"));
    assert_eq!(names, ["nested_deep", "nested_in_fn"]);
}

#[test]
fn the_same_worker_linked_and_added_is_one_worker() {
    let mut registry = Registry::linked();
    let count = registry.len();
    registry.add::<plain>().add::<MoveFiles>();
    let registry = registry.validate().unwrap();
    assert_eq!(registry.len(), count);
    assert!(registry.get("plain").unwrap().explicit);
}

mod outer {
    pub(crate) use inner::nested_deep;

    mod inner {
        #[workman_core::worker]
        pub(crate) fn nested_deep() -> u8 {
            9
        }
    }
}

use outer::nested_deep;

#[test]
fn a_worker_may_be_re_exported_and_may_stand_in_a_function() {
    #[worker]
    fn nested_in_fn(n: u8) -> u8 {
        n + 1
    }

    assert_eq!(run_of(nested_deep::request()).output::<nested_deep>(), nested_deep());
    assert_eq!(run_of(nested_in_fn::request(1)).output::<nested_in_fn>(), nested_in_fn(1));
}

macro_rules! worker_of {
    ($name:ident, $stored:literal, $context:ty, $input:ty => $answer:ty, $n:ident $value:expr) => {
        #[worker(name = $stored, max_attempts = 2 + 1)]
        fn $name(_: $context, $n: $input) -> $answer {
            $value
        }
    };
}

worker_of!(made, "made by a macro", &WorkContext, u8 => Result<Outcome<u8>, UploadError>, n Ok(Outcome::Success(n)));

#[test]
fn a_macro_may_write_a_worker() {
    assert_eq!((made::NAME, made::DEF.defaults.max_attempts), ("made by a macro", Some(3)));
    assert_eq!(run_of(made::request(3)).json(), r#"{"n":3}"#);
    assert_eq!(run_of(made::request(3)).output::<made>(), 3);
}
