//! Graphs whose shape is known at run time: what the compiler would refuse is refused when they are enqueued.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "promise_support/letters.rs"]
mod letters;
#[path = "promise_support/mod.rs"]
mod support;

use std::thread;

use letters::{letter, number, slow_letter};
use support::{Bystanders, MINUTE, RedbHome};
use workman_core::{
    EnqueueError, Enqueued, ErasedRequest, ExistingWorkPolicy, GraphNode, InputMerger, Refusal, RequestError,
    WorkGraph, WorkQuery, WorkState, worker,
};
use workman_testing::TestDriver;

#[worker]
fn twice(#[prerequisite] text: String) -> String {
    text.repeat(2)
}

#[worker]
async fn join(#[prerequisites] parts: Vec<String>) -> String {
    parts.join(" ")
}

#[worker]
async fn repeat(#[prerequisites] both: (String, u32)) -> String {
    both.0.repeat(both.1 as usize)
}

#[worker]
fn whatever() {}

fn say(text: &str) -> ErasedRequest {
    letter::request(text.into()).erased()
}

#[track_caller]
fn refused(test: &TestDriver, graph: WorkGraph) -> EnqueueError {
    let manager = test.manager();
    let error = test.block_on(manager.enqueue_graph(graph)).unwrap_err();
    assert_eq!(test.query(WorkQuery::all()), [], "nothing of it is stored");
    error
}

/// DEP-9: the order of edges, not that of nodes or of ends, is the order of outputs.
#[test]
fn dep_9_outputs_come_in_the_order_in_which_the_edges_were_added() {
    for store in ["memory", "redb"] {
        let test = TestDriver::new();
        let test = if store == "redb" { test.store(RedbHome::new("graph")) } else { test };
        let bystanders = Bystanders::of(&test);
        let mut graph = WorkGraph::new();
        let end = graph.add(join::request());
        let slow = graph.add(slow_letter::request("slow".into(), 60));
        let [a, b] = ["a", "b"].map(|text| graph.add(say(text)));
        let doubled = graph.add(twice::request());
        graph.edge(b, end).edge(slow, doubled).edge(doubled, end).edge(a, end);
        let manager = test.manager();
        let stored = test.block_on(manager.enqueue_graph(graph)).unwrap();
        assert_eq!(stored.how, Enqueued::Inserted);
        assert_eq!(stored.ids, [end, slow, a, b, doubled].map(GraphNode::id), "as they were added");
        assert_eq!(test.query(stored.query()).len(), 5);
        test.advance(MINUTE);
        assert_eq!(test.output::<String>(end.id()), "b slowslow a");
        let end = test.block_on(manager.handle(join::worker(), end.id())).unwrap();
        assert_eq!(test.block_on(end.output()).unwrap(), "b slowslow a");
        bystanders.are_untouched(&test);
    }
}

#[test]
fn what_a_worker_takes_must_be_what_its_prerequisite_gives() {
    let test = TestDriver::new();
    let mut one = WorkGraph::new();
    let (from, to) = (one.add(number::request(3)), one.add(twice::request()));
    one.edge(from, to);
    let error = refused(&test, one);
    assert_eq!(
        error.to_string(),
        "worker \"twice\" takes `alloc::string::String` where its prerequisite, of worker \"number\", gives `u32`; \
         put a worker between them that makes the one of the other"
    );

    let mut list = WorkGraph::new();
    let (text, number_node, to) = (list.add(say("a")), list.add(number::request(3)), list.add(join::request()));
    list.edge(text, to).edge(number_node, to);
    assert!(matches!(refused(&test, list), EnqueueError::OtherType { gives: "u32", .. }));

    let mut swapped = WorkGraph::new();
    let (text, number_node, to) =
        (swapped.add(say("a")), swapped.add(number::request(3)), swapped.add(repeat::request()));
    swapped.edge(number_node, to).edge(text, to);
    assert!(matches!(refused(&test, swapped), EnqueueError::OtherType { gives: "u32", .. }), "a tuple has an order");

    let mut dropped = WorkGraph::new();
    let (from, to) = (dropped.add(letter::request("a".into()).discard_output()), dropped.add(twice::request()));
    dropped.edge(from, to);
    assert!(matches!(refused(&test, dropped), EnqueueError::OtherType { gives: "()", .. }), "it is not stored");

    let mut graph = WorkGraph::new();
    let (text, number_node, to) = (graph.add(say("a")), graph.add(number::request(3)), graph.add(repeat::request()));
    graph.edge(text, to).edge(number_node, to);
    let nothing = graph.add(whatever::request());
    graph.edge(number_node, nothing).edge(to, nothing);
    let merged = graph.add(letter::request("b".into()).input_merger(InputMerger::Overwriting));
    graph.edge(to, merged);
    let manager = test.manager();
    test.block_on(manager.enqueue_graph(graph)).unwrap();
    test.run_until_idle();
    assert_eq!(test.output::<String>(to.id()), "aaa");
    assert_eq!(test.state_of(nothing.id()), WorkState::Succeeded, "what takes nothing fits anywhere");
}

#[test]
fn a_worker_has_as_many_prerequisites_as_it_takes() {
    let test = TestDriver::new();
    let graph = |taker: ErasedRequest, letters: usize| {
        let mut graph = WorkGraph::new();
        let to = graph.add(taker);
        for _ in 0..letters {
            let from = graph.add(say("a"));
            graph.edge(from, to);
        }
        graph
    };
    for (taker, letters) in [
        (twice::request().erased(), 0),
        (twice::request().erased(), 2),
        (join::request().erased(), 0),
        (repeat::request().erased(), 0),
    ] {
        let error = refused(&test, graph(taker, letters));
        let EnqueueError::Request(RequestError::Prerequisites { given, .. }) = error else { panic!("{error}") };
        assert_eq!(given, letters);
    }
    let error = refused(&test, graph(repeat::request().erased(), 3));
    assert_eq!(error.to_string(), "worker \"repeat\" takes a tuple of 2 outputs, and has 3 prerequisites");
}

#[test]
fn dep_7_a_graph_that_goes_in_circles_is_refused_by_name() {
    let test = TestDriver::new();
    let mut graph = WorkGraph::new();
    let nodes: Vec<GraphNode> = (0..4).map(|_| graph.add(whatever::request())).collect();
    graph.edge(nodes[0], nodes[1]).edge(nodes[1], nodes[2]).edge(nodes[2], nodes[3]).edge(nodes[3], nodes[1]);
    let error = refused(&test, graph);
    let EnqueueError::Cycle { id, workers } = &error else { panic!("{error}") };
    assert!(nodes[1..].iter().any(|node| node.id() == *id), "the first node is in no circle");
    assert_eq!(workers.len(), 3);
    let said = error.to_string();
    assert!(
        said.contains("waits for work of \"whatever\", which waits for work of \"whatever\", and so for itself"),
        "{said}"
    );

    let mut own = WorkGraph::new();
    let node = own.add(whatever::request());
    own.edge(node, node);
    assert!(matches!(refused(&test, own), EnqueueError::Cycle { id, .. } if id == node.id()));
}

#[test]
fn nodes_of_other_graphs_and_works_that_are_there_twice_are_refused() {
    let test = TestDriver::new();
    let stranger = WorkGraph::new().add(whatever::request());
    let mut from_outside = WorkGraph::new();
    let own = from_outside.add(whatever::request());
    let mut to_outside = from_outside.clone();
    let mut after_stored = from_outside.clone();
    from_outside.edge(stranger, own);
    to_outside.edge(own, stranger);
    after_stored.after_stored(stranger, own.id());
    for graph in [from_outside, to_outside, after_stored] {
        assert!(matches!(refused(&test, graph), EnqueueError::UnknownNode(id) if id == stranger.id()));
    }
    let mut twice_there = WorkGraph::new();
    let request = whatever::request();
    twice_there.add(request.clone());
    twice_there.add(request.clone());
    assert!(matches!(refused(&test, twice_there), EnqueueError::SameRequestTwice(id) if id == request.id()));
    assert!(matches!(refused(&test, WorkGraph::new()), EnqueueError::Empty));
}

/// DEP-5, DEP-6: stored works may come first, and must be stored.
#[test]
fn dep_5_and_dep_6_a_graph_goes_on_behind_stored_works() {
    let test = TestDriver::new();
    let stored = test.enqueue(slow_letter::request("stored".into(), 60));
    let mut graph = WorkGraph::new();
    let (new, end) = (graph.add(say("new")), graph.add(join::request()));
    graph.edge(new, end).after_stored(end, stored).edge(new, end);
    let manager = test.manager();
    test.block_on(manager.enqueue_graph(graph)).unwrap();
    test.advance(MINUTE);
    assert_eq!(test.output::<String>(end.id()), "new stored new", "an edge that is there twice gives its output twice");

    let mut wrong = WorkGraph::new();
    let to = wrong.add(twice::request());
    let behind = wrong.add(twice::request());
    wrong.after_stored(to, behind.id()).after_stored(behind, to.id());
    let error = test.block_on(manager.enqueue_graph(wrong)).unwrap_err();
    assert!(matches!(error, EnqueueError::Cycle { .. }), "a work of the graph is not stored: {error}");
    let mut missing = WorkGraph::new();
    let to = missing.add(whatever::request());
    missing.after_stored(to, whatever::request().id());
    let error = test.block_on(manager.enqueue_graph(missing)).unwrap_err();
    assert!(matches!(error, EnqueueError::Refused(Refusal::MissingPrerequisite { .. })), "{error}");
}

#[test]
fn a_graph_holds_a_unique_name_as_one_unit() {
    let test = TestDriver::new();
    let manager = test.manager();
    let graph = |policy| {
        let mut graph = WorkGraph::new();
        let (from, to) = (graph.add(slow_letter::request("a".into(), 60)), graph.add(twice::request()));
        graph.edge(from, to).unique("graph", policy);
        graph
    };
    let first = test.block_on(manager.enqueue_graph(graph(ExistingWorkPolicy::Keep))).unwrap();
    let kept = test.block_on(manager.enqueue_graph(graph(ExistingWorkPolicy::Keep))).unwrap();
    assert_eq!(kept.how, Enqueued::Kept(first.ids[0]));
    assert!(kept.ids.iter().all(|id| test.find(*id).is_none()));
    let appended = test.block_on(manager.enqueue_graph(graph(ExistingWorkPolicy::Append))).unwrap();
    assert_eq!(appended.how, Enqueued::Appended(vec![first.ids[1]]));
    let replaced = test.block_on(manager.enqueue_graph(graph(ExistingWorkPolicy::Replace))).unwrap();
    let old = [first.ids.clone(), appended.ids].concat();
    assert_eq!(replaced.how, Enqueued::Replaced(old));
    assert_eq!(test.query(WorkQuery::unique("graph")).len(), 2);
}

#[test]
fn unq_8_a_graph_that_is_enqueued_again_changes_nothing() {
    let test = TestDriver::new();
    let manager = test.manager();
    let mut graph = WorkGraph::new();
    let (from, to) = (graph.add(say("a")), graph.add(twice::request()));
    graph.edge(from, to);
    test.block_on(manager.enqueue_graph(graph.clone())).unwrap();
    test.run_until_idle();
    let before = test.info(to.id());
    let again = test.block_on(manager.enqueue_graph(graph)).unwrap();
    assert_eq!(again.how, Enqueued::Inserted);
    test.run_until_idle();
    assert_eq!(test.info(to.id()), before);
}

#[test]
fn ten_thousand_nodes_deep_and_wide_in_any_order() {
    let deep_and_wide = || {
        let test = TestDriver::new();
        let manager = test.manager();
        let mut deep = WorkGraph::new();
        let nodes: Vec<GraphNode> = (0..10_000).map(|_| deep.add(whatever::request())).collect();
        for pair in nodes.windows(2) {
            deep.edge(pair[1], pair[0]);
        }
        let stored = test.block_on(manager.enqueue_graph(deep)).unwrap();
        assert_eq!(test.info(stored.ids[0]).open_prerequisites, 1);
        assert_ne!(test.state_of(stored.ids[9_999]), WorkState::Blocked, "the last that was added comes first");

        let mut wide = WorkGraph::new();
        let end = wide.add(join::request());
        for _ in 0..10_000 {
            let node = wide.add(say("a"));
            wide.edge(node, end);
        }
        let stored = test.block_on(manager.enqueue_graph(wide)).unwrap();
        assert_eq!(test.info(stored.ids[0]).prerequisites.len(), 10_000);
    };
    thread::Builder::new().stack_size(512 * 1024).spawn(deep_and_wide).unwrap().join().unwrap();
}

/// Requests whose workers are known at run time only stand in steps of a chain, beside typed ones.
#[test]
fn erased_requests_are_steps_of_a_chain_in_front_of_typed_ones_and_behind_them() {
    let test = TestDriver::new();
    let manager = test.manager();
    let both = vec![say("ab"), number::request(2).erased()];
    let chain = manager.begin_with(both).then(repeat::request()).then([twice::request().erased()]);
    let stored = test.block_on(chain.then(whatever::request().erased()).enqueue()).unwrap();
    let joined = manager.combine([manager.begin_with(say("a")), manager.begin_with([say("b"), say("c")])]);
    let joined = test.block_on(joined.then(join::request()).enqueue()).unwrap();
    test.run_until_idle();
    assert_eq!(test.output::<String>(stored.ids[3]), "abababab");
    assert_eq!(stored.last.as_deref(), Some(&stored.ids[4..]));
    assert_eq!(test.state_of(stored.ids[4]), WorkState::Succeeded);
    assert_eq!(test.block_on(joined.last.unwrap().output()).unwrap(), "a b c");
    let behind = test.block_on(stored.then(whatever::request()).enqueue()).unwrap();
    test.run_until_idle();
    assert_eq!(test.state_of(behind.ids[0]), WorkState::Succeeded);
}

#[test]
fn an_erased_step_that_does_not_fit_its_neighbours_is_refused_with_both_types_wherever_it_stands() {
    let test = TestDriver::new();
    let manager = test.manager();
    let refused = |chain: Result<Vec<workman_core::WorkId>, EnqueueError>| {
        assert_eq!(test.query(WorkQuery::all()), [], "nothing of it is stored");
        chain.unwrap_err()
    };
    macro_rules! refused {
        ($chain:expr) => {
            refused(test.block_on($chain.enqueue()).map(|stored| stored.ids))
        };
    }
    let takes_text = |error: EnqueueError| {
        let text = error.to_string();
        assert!(matches!(error, EnqueueError::OtherType { .. }), "{text}");
        assert!(text.contains("String") && text.contains("u32"), "{text}");
    };
    takes_text(refused!(manager.begin_with(number::request(1)).then(twice::request().erased())));
    takes_text(refused!(manager.begin_with(number::request(1).erased()).then(twice::request())));
    takes_text(refused!(manager.begin_with([number::request(1).erased(), say("a")]).then(repeat::request())));
    let late = manager.begin_with(say("a")).then(whatever::request()).then(number::request(1));
    takes_text(refused!(late.then(vec![whatever::request().erased(), twice::request().erased()])));
    let branch = manager.begin_with(number::request(1)).then(twice::request().erased());
    takes_text(refused!(manager.combine([manager.begin_with(say("a")).then(say("b")), branch])));

    let error = refused!(manager.begin_with([say("a"), say("b"), say("c")]).then(repeat::request()));
    assert!(matches!(error, EnqueueError::TupleLength { takes: 2, given: 3, .. }), "{error}");
    let error = refused!(manager.begin_with(twice::request().erased()));
    assert!(matches!(error, EnqueueError::Request(RequestError::Prerequisites { given: 0, .. })), "{error}");
    let error = refused!(manager.begin_with(Vec::<ErasedRequest>::new()));
    assert!(matches!(error, EnqueueError::EmptyStep { step: 1 }), "{error}");
}
