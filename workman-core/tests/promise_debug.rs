//! What is in a payload is nobody's business: `Debug` shows its size, whatever holds it, and so do errors and the texts of them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/stores.rs"]
mod stores;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stores::{Ears, Overheard};
use workman_core::store::{Change, Page, Snapshot, Unit, UnitResult, plan};
use workman_core::{
    ExistingPeriodicWorkPolicy, ExistingWorkPolicy, InputMerger, NoteError, Nothing, Payload, Request, StoreError,
    WorkContext, WorkError, WorkGraph, WorkId, WorkQuery, WorkState, worker,
};
use workman_testing::{TestDriver, TestWorker};

const SECRET: &str = "swordfish";

/// All that was shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<String>>>);

impl Shown {
    fn show(&self, what: &impl Debug) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.extend([format!("{what:?}"), format!("{what:#?}")]);
    }

    #[track_caller]
    fn has_no_secret(&self) {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(shown.len() > 100, "only {} were shown", shown.len());
        for shown in shown.iter() {
            assert!(!shown.contains(SECRET), "{shown}");
            // As a list of numbers, too.
            assert!(!shown.contains("115, 119, 111, 114, 100") && !shown.contains("115,\n"), "{shown}");
        }
    }
}

impl Ears for Shown {
    fn units(&self, units: &mut Vec<Unit>) {
        self.show(units);
        for Unit { command, at } in units {
            self.show(&plan(&Snapshot::default(), command, at.wall));
        }
    }
    fn answers(&self, answers: &Result<Vec<UnitResult>, StoreError>) {
        self.show(answers);
    }
    fn page(&self, page: &Result<Page, StoreError>) {
        self.show(page);
    }
    fn change(&self, change: &Change) {
        self.show(change);
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Login {
    password: String,
}

fn login() -> Login {
    Login { password: SECRET.into() }
}

/// Keeps it everywhere.
#[worker]
async fn keeps(login: Login, #[state] shown: Shown, cx: &WorkContext) -> Result<Login, WorkError> {
    shown.show(cx);
    cx.set_progress(&login)?;
    cx.save_checkpoint(&login)?;
    cx.flush().await?;
    if cx.attempt() == 0 {
        shown.show(&cx.checkpoint::<u32>().map(drop).unwrap_err());
        shown.show(&cx.input::<u32>().map(drop).unwrap_err());
        let note: Result<(), NoteError> = cx.set_progress(&vec![SECRET; 10_000]);
        shown.show(&note.unwrap_err());
        return Err("offline".into());
    }
    Ok(login)
}

#[worker]
async fn takes(#[prerequisite] login: Login) -> Login {
    login
}

#[worker]
fn takes_number(login: u32) -> u32 {
    login
}

#[worker]
fn takes_chosen(login: Chosen) {
    let _ = login;
}

#[derive(Serialize, Deserialize)]
enum Chosen {
    This,
}

/// Gives an object in which an argument has another type.
#[worker]
fn gives_login(password: String) -> serde_json::Value {
    serde_json::json!({ "login": password })
}

fn shows_requests(shown: &Shown) {
    let request = || keeps::request(login());
    shown.show(&request());
    shown.show(&request().erased());
    shown.show(&keeps::periodic(login(), Duration::from_secs(60)));
    shown.show(&takes::with(login()));
    shown.show(&Payload::encode(&login()).unwrap());
    let mut graph = WorkGraph::new();
    let first = graph.add(request());
    let second = graph.add(takes::request());
    graph.edge(first, second);
    shown.show(&graph);
}

/// Enqueues this work behind one that gives the secret under the name of its argument.
fn does_not_fit<O>(test: &TestDriver, request: Request<Nothing, O>) -> WorkId {
    let merged = request.input_merger(InputMerger::Overwriting);
    let chain = test.manager().begin_with(gives_login::request(SECRET.into())).then(merged);
    test.block_on(chain.enqueue()).unwrap().ids[1]
}

#[test]
fn nothing_shows_what_is_in_a_payload() {
    let shown = Shown::default();
    let test = TestDriver::new().store(Overheard::by(&shown)).state(shown.clone());
    let manager = test.manager();
    shows_requests(&shown);

    let chain = manager.begin_with(keeps::request(login())).then(takes::request());
    shown.show(&chain);
    let chain = test.block_on(chain.enqueue()).unwrap();
    shown.show(&chain);
    let handle = test.block_on(manager.enqueue(keeps::request(login()))).unwrap();
    shown.show(&handle);
    let unique = manager.enqueue_unique(SECRET.len().to_string(), ExistingWorkPolicy::Keep, keeps::request(login()));
    shown.show(&test.block_on(unique).unwrap().how);
    let periodic = keeps::periodic(login(), Duration::from_secs(3600));
    let named = manager.enqueue_unique_periodic("sync", ExistingPeriodicWorkPolicy::Update, periodic);
    shown.show(&test.block_on(named).unwrap().how);
    let parked =
        [does_not_fit(&test, takes_number::request(1)), does_not_fit(&test, takes_chosen::request(Chosen::This))];
    let reused = keeps::request(Login { password: format!("{SECRET}, another") }).with_id(handle.id());
    shown.show(&test.try_enqueue(reused).unwrap_err());
    test.run_until_idle();
    shown.show(&test.query(WorkQuery::all()));
    shown.show(&test.block_on(manager.update(keeps::request(login()).with_id(handle.id()))));
    test.advance(Duration::from_secs(60));

    assert_eq!(test.state_of(chain.ids[1]), WorkState::Succeeded);
    for id in parked {
        shown.show(&test.info(id));
        let explained = test.explain(id);
        assert!(test.info(id).parked.is_some());
        shown.show(&explained);
        shown.show(&explained.to_string());
    }
    shown.show(&test.query(WorkQuery::all()));
    shown.show(&test.block_on(manager.check()));
    shown.show(&test.block_on(manager.handle(takes_number::worker(), handle.id())).map(drop).unwrap_err());
    shown.show(&test.info(handle.id()).output.unwrap().decode::<u32>().unwrap_err());
    assert_eq!(test.block_on(handle.output()).unwrap().password, SECRET);
    shown.show(&manager);
    shown.has_no_secret();
}

#[test]
fn an_end_shows_how_large_its_output_is() {
    let shown = Shown::default();
    let end = TestWorker::<keeps>::new(keeps::request(login())).state(shown.clone()).attempt(1).run();
    shown.show(&end);
    let shown_end = format!("{end:?}");
    assert!(shown_end.contains("bytes") && !shown_end.contains(SECRET), "{shown_end}");
    let recorded = shown.0.lock().unwrap().join("\n");
    assert!(!recorded.contains(SECRET), "{recorded}");
}
