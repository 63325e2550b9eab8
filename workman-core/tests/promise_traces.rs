//! What a subscriber of `tracing` sees of runs. Alone in its program: what one thread subscribes to, the others of a program know.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use workman_core::seams::Registry;
use workman_core::{Builder, ExistingWorkPolicy, Gate, InputMerger, MemoryStore, WorkContext, WorkManager, worker};
use workman_testing::TestDriver;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Name and fields of a span, and what was said in it.
type Span = (String, Vec<String>);

/// What was seen.
#[derive(Clone, Default)]
struct Traces {
    spans: Arc<Mutex<Vec<Span>>>,
    inside: Arc<Mutex<Vec<u64>>>,
    entered: Arc<Mutex<BTreeSet<u64>>>,
    /// What was said about runs, inside of spans and outside, from the level of information on.
    said: Arc<Mutex<Vec<String>>>,
    /// What was said in no span, with its level.
    outside: Arc<Mutex<Vec<String>>>,
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0 = format!("{value:?}{}", self.0),
            name => self.0 += &format!(" {name}={value:?}"),
        }
    }
}

impl Subscriber for Traces {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        let mut spans = self.spans.lock().unwrap();
        spans.push((fields.0, Vec::new()));
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        if *event.metadata().level() <= Level::INFO {
            self.said.lock().unwrap().push(fields.0.clone());
        }
        match self.inside.lock().unwrap().last() {
            Some(span) => self.spans.lock().unwrap()[*span as usize - 1].1.push(fields.0),
            None => self.outside.lock().unwrap().push(format!("{} {}", event.metadata().level(), fields.0)),
        }
    }

    fn enter(&self, span: &Id) {
        self.inside.lock().unwrap().push(span.into_u64());
        self.entered.lock().unwrap().insert(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.inside.lock().unwrap().pop();
    }
}

#[worker]
async fn says(cx: &WorkContext, first: u32) -> Result<(), String> {
    tracing::info!("said before");
    cx.sleep(secs(1)).await.map_err(|stopped| stopped.to_string())?;
    tracing::info!("said after");
    if cx.attempt() == first { Ok(()) } else { Err("not yet".into()) }
}

#[worker]
fn says_blocking() {}

#[worker]
async fn gives_text() -> String {
    "text".to_owned()
}

#[worker]
async fn holds(cx: &WorkContext) -> Result<(), workman_core::WorkError> {
    cx.until_stopped().await;
    cx.stopped()
}

/// What a program must be told, since no error tells it: under what its process died, and that a name is held by what does not get on.
#[test]
fn a_death_is_told_by_work_and_so_is_a_kept_holder_that_does_not_get_on() {
    let traces = Traces::default();
    let id = tracing::subscriber::with_default(traces.clone(), || {
        let test = TestDriver::new();
        let id = test.enqueue_unique("name", ExistingWorkPolicy::Keep, holds::request()).id;
        for _ in 0..7 {
            test.advance(secs(481));
            test.crash_and_restart();
        }
        test.run_until_idle();
        assert!(test.info(id).parked.is_some());
        test.enqueue_unique("name", ExistingWorkPolicy::Keep, holds::request());
        id
    });
    let told: Vec<String> = traces
        .outside
        .lock()
        .unwrap()
        .iter()
        .filter(|line| line.contains(&id.to_string()) && !line.starts_with("DEBUG"))
        .cloned()
        .collect();
    let died =
        |deaths: u32| format!("INFO its process died while it ran; it runs again id={id} worker=holds deaths={deaths}");
    assert_eq!(told[0], died(1));
    let suspected: Vec<&String> = told
        .iter()
        .filter(|line| line.starts_with("WARN its process died while it ran; it runs again later"))
        .collect();
    assert_eq!(suspected.len(), 5);
    let parked = format!("WARN its process died while it ran; it is parked id={id} worker=holds deaths=7");
    assert!(told.iter().any(|line| line.starts_with(&parked)), "{told:#?}");
    let kept = format!(
        "WARN was kept under its unique name, and does not get on id={id} worker=holds name=\"name\" why=poisoned"
    );
    assert!(told.last().is_some_and(|line| line.starts_with(&kept)), "{told:#?}");
}

#[test]
fn a_kept_holder_whose_worker_this_build_lacks_is_told_of() {
    let traces = Traces::default();
    let id = tracing::subscriber::with_default(traces.clone(), || {
        let test = TestDriver::new();
        let id = test.enqueue_unique("name", ExistingWorkPolicy::Keep, holds::request().initial_delay(secs(60))).id;
        let mut without = Registry::new();
        without.add::<says_blocking>();
        test.next_build(without);
        test.restart();
        test.enqueue_unique("name", ExistingWorkPolicy::Keep, says_blocking::request());
        id
    });
    let outside = traces.outside.lock().unwrap();
    let wanted = format!(
        "WARN was kept under its unique name, and this build has no such worker id={id} worker=holds name=\"name\""
    );
    assert_eq!(outside.iter().filter(|line| line.starts_with("WARN was kept")).collect::<Vec<_>>(), [&wanted]);
}

#[worker]
async fn misses_tokio() {
    panic!("there is no reactor running, must be called from the context of a Tokio 1.x runtime");
}

/// No retry helps there, so it is said as what it is, once, with what to add.
#[test]
fn a_worker_that_misses_tokio_is_an_error_in_the_log_that_says_what_to_add() {
    let traces = Traces::default();
    tracing::subscriber::with_default(traces.clone(), || {
        let test = TestDriver::new();
        test.enqueue(misses_tokio::request());
        test.advance(secs(3600));
    });
    let outside = traces.outside.lock().unwrap();
    let errors: Vec<&String> = outside.iter().filter(|line| line.starts_with("ERROR")).collect();
    let [error] = errors[..] else { panic!("{outside:#?}") };
    assert!(error.contains("worker=misses_tokio") && error.contains("TokioRuntime::new(handle)"), "{error}");
}

/// A linker may leave out every worker, and then nothing else tells why nothing runs.
#[test]
fn a_start_without_any_worker_warns_and_says_what_to_write_and_one_that_only_enqueues_does_not() {
    let warnings = |build: fn(Builder) -> Builder| {
        let traces = Traces::default();
        let manager = tracing::subscriber::with_default(traces.clone(), || {
            build(WorkManager::builder(MemoryStore::new())).start_inline().unwrap()
        });
        drop(manager);
        let outside = traces.outside.lock().unwrap();
        outside.iter().filter(|line| line.starts_with("WARN")).cloned().collect::<Vec<String>>()
    };
    let told = warnings(|builder| builder.workers(Registry::new()));
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert!(told.starts_with("WARN no worker is linked into this program or registered, so nothing runs"), "{told}");
    for way_out in [".register::<my_worker>()", "use my_workers as _;"] {
        assert!(told.contains(way_out), "{told}");
    }
    assert_eq!(warnings(|builder| builder.workers(Registry::new()).enqueue_only()), [] as [String; 0]);
    assert_eq!(warnings(|builder| builder.register::<says>()), [] as [String; 0]);
    assert_eq!(warnings(|builder| builder), [] as [String; 0], "those of this program are linked");
}

#[test]
fn a_program_that_wants_another_limit_than_the_one_before_it_counts_and_the_log_names_both() {
    let store: Arc<dyn workman_core::store::Store> = Arc::new(MemoryStore::new());
    let start = |at_once: u32| {
        let traces = Traces::default();
        let manager = tracing::subscriber::with_default(traces.clone(), || {
            let builder = WorkManager::builder(Arc::clone(&store)).limit(Gate::worker::<says>().at_once(at_once));
            builder.start_inline().unwrap()
        });
        let outside = traces.outside.lock().unwrap();
        (manager, outside.iter().filter(|line| line.starts_with("WARN")).cloned().collect::<Vec<String>>())
    };
    let (first, none) = start(2);
    assert_eq!(none, [] as [String; 0]);
    let ((second, _engine), told) = start(5);
    let [told] = told.as_slice() else { panic!("{told:?}") };
    for named in ["says", "before=2 at once", "after=5 at once", "the later start counts"] {
        assert!(told.contains(named), "{told}");
    }
    let gates = futures::executor::block_on(second.gates()).unwrap();
    assert_eq!(gates.iter().find_map(|gate| gate.limits.at_once), Some(5));
    drop(first);
}

/// One span for each attempt, with what is logged inside, also if it ends before its body begins.
#[test]
fn each_attempt_has_one_span_with_its_tag_worker_id_and_number() {
    let traces = Traces::default();
    let (twice, array, parked, blocking) = tracing::subscriber::with_default(traces.clone(), || {
        let test = TestDriver::new();
        let twice = test.enqueue(says::request(1).trace_tag("morning"));
        test.advance(secs(32));
        let merging = says::request(0).input_merger(InputMerger::Overwriting);
        let chain = test.manager().begin_with(gives_text::request()).then(merging);
        let ids = test.block_on(chain.enqueue()).unwrap().ids;
        test.run_until_idle();
        assert!(test.info(ids[1]).parked.is_some());
        let blocking = test.enqueue(says_blocking::request());
        test.run_until_idle();
        (twice, ids[0], ids[1], blocking)
    });
    let spans = traces.spans.lock().unwrap().clone();
    let names: Vec<&str> = spans.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = [
        format!("work trace_tag=morning worker=says id={twice} attempt=0"),
        format!("work trace_tag=morning worker=says id={twice} attempt=1"),
        format!("work trace_tag=gives_text worker=gives_text id={array} attempt=0"),
        format!("work trace_tag=says worker=says id={parked} attempt=0"),
        format!("work trace_tag=says_blocking worker=says_blocking id={blocking} attempt=0"),
    ];
    assert_eq!(names, wanted);
    assert_eq!(traces.entered.lock().unwrap().len(), wanted.len(), "also on a thread for blocking code");
    let said = ["said before", "said after"];
    assert_eq!([&spans[0].1, &spans[1].1], [&said, &said]);
    let [parked] = spans[3].1.as_slice() else { panic!("{:?}", spans[3]) };
    assert!(parked.starts_with("can't begin worker=says why=input does not decode"), "{parked}");

    // One attempt has one number, in its span and in what the manager says of it, and lengths of time read well.
    let said = traces.said.lock().unwrap().clone();
    let failed: Vec<&String> = said.iter().filter(|said| said.starts_with("an attempt failed")).collect();
    let again = "an attempt failed; it is tried again";
    assert_eq!(failed, [&format!("{again} id={twice} worker=says attempt=0 of=20 error=not yet next_in=30 s")]);
    let parked = said.iter().find(|said| said.starts_with("parked")).unwrap();
    assert!(parked.contains("worker=says attempt=0 why=input does not decode"), "{parked}");
}
