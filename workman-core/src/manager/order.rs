//! From what was declared to works: what is declared in several places is one work, and each work comes after its prerequisites.
//!
//! Linear in works and edges but for the sorting of their ids, and without recursion: a chain may be as deep as `Limits::works`
//! allows.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::EnqueueError;
use crate::id::WorkId;
use crate::limits::Limits;
use crate::plan::Refusal;
use crate::request::RequestParts;

/// Requests side by side, and what all of them come after: works of the same enqueue, or stored ones.
pub(crate) struct Declared {
    pub(crate) works: Vec<RequestParts>,
    pub(crate) after: Arc<[WorkId]>,
}

impl Declared {
    pub(crate) fn first(works: Vec<RequestParts>) -> Self {
        Declared { works, after: Arc::default() }
    }
}

/// The works of one enqueue.
pub(super) struct Ordered {
    /// Each after its prerequisites.
    pub(super) works: Vec<Node>,
    /// Their ids in the order in which they were declared.
    pub(super) ids: Vec<WorkId>,
}

/// Puts what was declared in order, or says why there is none.
pub(super) fn ordered(declared: impl IntoIterator<Item = Declared>, limits: &Limits) -> Result<Ordered, EnqueueError> {
    let (mut nodes, places) = joined(declared)?;
    if nodes.is_empty() {
        return Err(EnqueueError::Empty);
    }
    if nodes.len() > limits.works {
        return Err(EnqueueError::TooManyWorks { count: nodes.len(), limit: limits.works });
    }
    // Of several lists the longest is a lower bound; lists are not put together before that is known to be little enough.
    check_edges(nodes.iter().map(|node| node.lists().map(|ids| ids.len()).max().unwrap_or(0)), limits)?;
    for node in &mut nodes {
        node.after = node.union();
    }
    check_edges(nodes.iter().map(|node| node.after.len()), limits)?;
    let ids: Vec<WorkId> = nodes.iter().map(|node| node.parts.id).collect();
    // Works that wait for nothing stand as they were declared.
    if nodes.iter().any(|node| !node.after.is_empty()) {
        let order = order(&nodes, &places).map_err(|circle| refused(&circle, &nodes))?;
        arrange(&mut nodes, order);
    }
    Ok(Ordered { works: nodes, ids })
}

/// A request and all the lists of works that it was declared behind.
pub(super) struct Node {
    pub(super) parts: RequestParts,
    /// The works that it comes after, once the lists are put together.
    pub(super) after: Vec<WorkId>,
    /// The step that named it last.
    step: usize,
    first: Arc<[WorkId]>,
    others: Vec<Arc<[WorkId]>>,
}

impl Node {
    fn lists(&self) -> impl Iterator<Item = &Arc<[WorkId]>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The first list as it was declared (an output may be wanted twice), and of the others what is not there yet.
    fn union(&self) -> Vec<WorkId> {
        let mut ids = self.first.to_vec();
        if !self.others.is_empty() {
            let mut known: BTreeSet<WorkId> = ids.iter().copied().collect();
            ids.extend(self.others.iter().flat_map(|list| list.iter()).filter(|id| known.insert(**id)));
        }
        ids
    }
}

/// Ids in ascending order, each with the place of its node.
type Places = Vec<(WorkId, usize)>;

/// Ids that were made one after the other are in ascending order already, and sorting them costs one look at each.
fn places_of(nodes: &[Node]) -> Places {
    let mut places: Places = nodes.iter().enumerate().map(|(at, node)| (node.parts.id, at)).collect();
    places.sort_unstable();
    places
}

/// Each request once, in the order of declaration. Within one step a request stands once.
fn joined(declared: impl IntoIterator<Item = Declared>) -> Result<(Vec<Node>, Places), EnqueueError> {
    let mut nodes: Vec<Node> = Vec::new();
    for (step, Declared { works, after }) in declared.into_iter().enumerate() {
        let node = |parts| Node { parts, after: Vec::new(), step, first: Arc::clone(&after), others: Vec::new() };
        nodes.extend(works.into_iter().map(node));
    }
    let places = places_of(&nodes);
    let same = places.chunk_by(|(a, _), (b, _)| a == b);
    let mut again: Vec<(usize, usize)> =
        same.flat_map(|same| same.iter().skip(1).map(|(_, at)| (*at, same[0].1))).collect();
    if again.is_empty() {
        return Ok((nodes, places));
    }
    again.sort_unstable();
    for (at, first) in &again {
        let (before, rest) = nodes.split_at_mut(*at);
        join(&mut before[*first], &rest[0])?;
    }
    let mut again = again.into_iter().map(|(at, _)| at).peekable();
    let mut places = 0..nodes.len();
    nodes.retain(|_| places.next().and_then(|at| again.next_if_eq(&at)).is_none());
    let places = places_of(&nodes);
    Ok((nodes, places))
}

/// A request that was declared before is declared again.
fn join(node: &mut Node, again: &Node) -> Result<(), EnqueueError> {
    if node.step == again.step {
        return Err(EnqueueError::SameRequestTwice(again.parts.id));
    }
    if !node.parts.is_same(&again.parts) {
        return Err(EnqueueError::Refused(Refusal::IdReused(again.parts.id)));
    }
    node.step = again.step;
    if !node.lists().any(|known| Arc::ptr_eq(known, &again.first)) {
        node.others.push(Arc::clone(&again.first));
    }
    Ok(())
}

fn check_edges(counts: impl Iterator<Item = usize>, limits: &Limits) -> Result<(), EnqueueError> {
    let count = counts.fold(0, usize::saturating_add);
    if count > limits.edges { Err(EnqueueError::TooManyEdges { count, limit: limits.edges }) } else { Ok(()) }
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
    let workers = circle.works.iter().take(NAMED_WORKERS).map(|at| nodes[*at].parts.worker()).collect();
    EnqueueError::Cycle { id: nodes[circle.first].parts.id, workers }
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
fn order(nodes: &[Node], places: &Places) -> Result<Vec<usize>, Circle> {
    let mut marks = vec![Mark::Unseen; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    // Works whose prerequisites are on their way, each with the place of the prerequisite that comes next.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for root in 0..nodes.len() {
        if marks[root] == Mark::Unseen {
            marks[root] = Mark::Open;
            path.push((root, 0));
        }
        while let Some((at, next)) = path.last_mut() {
            let Some(prerequisite) = nodes[*at].after.get(*next) else {
                marks[*at] = Mark::Done;
                order.push(*at);
                path.pop();
                continue;
            };
            *next += 1;
            let Ok(found) = places.binary_search_by_key(prerequisite, |(id, _)| *id) else { continue };
            let place = places[found].1;
            match marks[place] {
                Mark::Open => return Err(Circle::of(&path, place)),
                Mark::Done => {}
                Mark::Unseen => {
                    marks[place] = Mark::Open;
                    path.push((place, 0));
                }
            }
        }
    }
    Ok(order)
}

/// Moves the items so that those of these places come one after the other. What stands right stays where it is.
fn arrange<T>(items: &mut [T], mut order: Vec<usize>) {
    for start in 0..order.len() {
        let mut at = start;
        loop {
            // A place that is settled says its own number.
            let from = std::mem::replace(&mut order[at], at);
            if from == start {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_moved_to_where_the_order_has_them() {
        // Every order of up to six items, by counting in a base that has room for each place.
        for count in 0..=6_usize {
            let items: Vec<usize> = (0..count).collect();
            for number in 0..count.pow(u32::try_from(count).unwrap()) {
                let order: Vec<usize> =
                    items.iter().map(|digit| number / count.pow(u32::try_from(*digit).unwrap()) % count).collect();
                if items.iter().all(|item| order.contains(item)) {
                    let mut moved = items.clone();
                    arrange(&mut moved, order.clone());
                    assert_eq!(moved, order);
                }
            }
        }
    }
}
