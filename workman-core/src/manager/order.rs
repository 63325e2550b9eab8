//! From what was declared to works: what is declared in several places is one work, and each work comes after its prerequisites.
//!
//! Linear in works and edges, and without recursion: a chain may be as deep as `Limits::works` allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::EnqueueError;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::Refusal;
use crate::request::RequestDraft;

/// Requests side by side, and what all of them come after: works of the same enqueue, or stored ones.
pub(crate) struct Declared {
    pub(crate) drafts: Vec<RequestDraft>,
    pub(crate) after: Arc<[WorkId]>,
}

impl Declared {
    pub(crate) fn first(drafts: Vec<RequestDraft>) -> Self {
        Declared { drafts, after: Arc::default() }
    }
}

/// The works of one enqueue.
pub(super) struct Ordered {
    /// Each after its prerequisites.
    pub(super) works: Vec<(RequestDraft, Vec<WorkId>)>,
    /// Their ids in the order in which they were declared.
    pub(super) ids: Vec<WorkId>,
}

/// Puts what was declared in order, or says why there is none.
pub(super) fn ordered(declared: Vec<Declared>, limits: &Limits) -> Result<Ordered, EnqueueError> {
    let nodes = joined(declared)?;
    if nodes.is_empty() {
        return Err(EnqueueError::Empty);
    }
    if nodes.len() > limits.works {
        return Err(EnqueueError::TooManyWorks { count: nodes.len(), limit: limits.works });
    }
    // Of several lists the longest is a lower bound; lists are not put together before that is known to be little enough.
    check_edges(nodes.iter().map(|node| node.after.iter().map(|ids| ids.len()).max().unwrap_or(0)), limits)?;
    let ids: Vec<WorkId> = nodes.iter().map(|node| node.draft.id).collect();
    let after: Vec<Vec<WorkId>> = nodes.iter().map(|node| union(&node.after)).collect();
    check_edges(after.iter().map(Vec::len), limits)?;
    let order = order(&ids, &after).map_err(|circle| refused(&circle, &nodes))?;
    let mut works: Vec<Option<(RequestDraft, Vec<WorkId>)>> =
        nodes.into_iter().map(|node| node.draft).zip(after).map(Some).collect();
    let works = order.into_iter().filter_map(|at| works[at].take()).collect();
    Ok(Ordered { works, ids })
}

/// A request and all the lists of works that it was declared behind.
struct Node {
    draft: RequestDraft,
    after: Vec<Arc<[WorkId]>>,
}

/// Each request once, in the order of declaration. Within one step a request stands once.
fn joined(declared: Vec<Declared>) -> Result<Vec<Node>, EnqueueError> {
    let mut nodes: Vec<Node> = Vec::with_capacity(declared.iter().map(|step| step.drafts.len()).sum());
    let mut places: BTreeMap<WorkId, usize> = BTreeMap::new();
    for Declared { drafts, after } in declared {
        let mut beside = BTreeSet::new();
        for draft in drafts {
            if !beside.insert(draft.id) {
                return Err(EnqueueError::SameRequestTwice(draft.id));
            }
            let Some(place) = places.get(&draft.id) else {
                places.insert(draft.id, nodes.len());
                nodes.push(Node { draft, after: vec![Arc::clone(&after)] });
                continue;
            };
            let node = &mut nodes[*place];
            if !node.draft.is_same(&draft) {
                return Err(EnqueueError::Refused(Refusal::IdReused(draft.id)));
            }
            if !node.after.iter().any(|known| Arc::ptr_eq(known, &after)) {
                node.after.push(Arc::clone(&after));
            }
        }
    }
    Ok(nodes)
}

fn check_edges(counts: impl Iterator<Item = usize>, limits: &Limits) -> Result<(), EnqueueError> {
    let count = counts.fold(0, usize::saturating_add);
    if count > limits.edges { Err(EnqueueError::TooManyEdges { count, limit: limits.edges }) } else { Ok(()) }
}

/// The first list as it was declared (an output may be wanted twice), and of the others what is not there yet.
fn union(lists: &[Arc<[WorkId]>]) -> Vec<WorkId> {
    let Some((first, others)) = lists.split_first() else { return Vec::new() };
    let mut ids = first.to_vec();
    if !others.is_empty() {
        let mut known: BTreeSet<WorkId> = ids.iter().copied().collect();
        ids.extend(others.iter().flat_map(|list| list.iter()).filter(|id| known.insert(**id)));
    }
    ids
}

/// How many workers of a circle are named.
const NAMED_WORKERS: usize = 10;

/// Places of works, each before one that it waits for; the last waits for the first.
struct Circle {
    first: usize,
    works: Vec<usize>,
}

impl Circle {
    /// The end of the path, from the work to which it has come back.
    fn of(path: &[(usize, usize)], back_at: usize) -> Self {
        let works = path.iter().map(|(at, _)| *at).skip_while(|at| *at != back_at).collect();
        Circle { first: back_at, works }
    }
}

fn refused(circle: &Circle, nodes: &[Node]) -> EnqueueError {
    let workers = circle.works.iter().take(NAMED_WORKERS).map(|at| Arc::clone(&nodes[*at].draft.worker)).collect();
    EnqueueError::Cycle { id: nodes[circle.first].draft.id, workers }
}

/// How far a work is put in order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unseen,
    /// Its prerequisites are on their way.
    Open,
    Done,
}

/// The places of the works, each after its prerequisites and otherwise as they were declared. Ids that are not among the works
/// are stored already, and can't wait for new ones.
fn order(ids: &[WorkId], after: &[Vec<WorkId>]) -> Result<Vec<usize>, Circle> {
    let places: BTreeMap<WorkId, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut marks = vec![Mark::Unseen; ids.len()];
    let mut order = Vec::with_capacity(ids.len());
    // Works whose prerequisites are on their way, each with the place of the prerequisite that comes next.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for root in 0..ids.len() {
        if marks[root] == Mark::Unseen {
            marks[root] = Mark::Open;
            path.push((root, 0));
        }
        while let Some((at, next)) = path.last_mut() {
            let Some(prerequisite) = after[*at].get(*next) else {
                marks[*at] = Mark::Done;
                order.push(*at);
                path.pop();
                continue;
            };
            *next += 1;
            let Some(place) = places.get(prerequisite) else { continue };
            match marks[*place] {
                Mark::Open => return Err(Circle::of(&path, *place)),
                Mark::Done => {}
                Mark::Unseen => {
                    marks[*place] = Mark::Open;
                    path.push((*place, 0));
                }
            }
        }
    }
    Ok(order)
}
