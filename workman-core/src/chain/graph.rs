//! [`WorkGraph`]: works and edges whose shape is known at run time only.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::link::{Known, compare};
use crate::id::WorkId;
use crate::manager::{Declared, EnqueueError, Naming, WorkManager};
use crate::plan::{Enqueued, Unique, UniquePolicy};
use crate::policy::ExistingWorkPolicy;
use crate::query::WorkQuery;
use crate::request::ErasedRequest;

/// Works and what waits for what, put together at run time. What the compiler checks in a [`Chain`](super::Chain) is checked by
/// [`WorkManager::enqueue_graph`] here.
///
/// ```
/// # use futures::executor::block_on;
/// # use workman_core::{MemoryStore, ThreadRuntime, WorkManager};
/// use workman_core::{WorkGraph, worker};
///
/// #[worker]
/// fn number(number: u64) -> u64 {
///     number
/// }
///
/// #[worker]
/// fn sum(#[prerequisites] numbers: Vec<u64>) -> u64 {
///     numbers.iter().sum()
/// }
///
/// # let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
/// # block_on(async {
/// let mut graph = WorkGraph::new();
/// let total = graph.add(sum::request());
/// for n in [1, 2, 39] {
///     let node = graph.add(number::request(n));
///     graph.edge(node, total);
/// }
/// manager.enqueue_graph(graph).await?;
/// let total = manager.handle(sum::worker(), total.id()).await?;
/// assert_eq!(total.output().await?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a graph is not stored before it is enqueued"]
pub struct WorkGraph {
    requests: Vec<ErasedRequest>,
    /// What each work waits for, in the order in which the edges were added; whether it is stored or of the graph is found out at
    /// the end, so nodes and edges may come in any order.
    after: BTreeMap<WorkId, Vec<Prerequisite>>,
    unique: Option<Unique>,
}

#[derive(Clone, Copy, Debug)]
enum Prerequisite {
    Node(WorkId),
    Stored(WorkId),
}

impl Prerequisite {
    fn id(self) -> WorkId {
        match self {
            Prerequisite::Node(id) | Prerequisite::Stored(id) => id,
        }
    }
}

/// A work of a [`WorkGraph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphNode(WorkId);

impl GraphNode {
    /// The id that the work will have.
    #[must_use]
    pub fn id(self) -> WorkId {
        self.0
    }
}

impl WorkGraph {
    /// A graph without works.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a work: a request of any worker, erased or not.
    pub fn add(&mut self, request: impl Into<ErasedRequest>) -> GraphNode {
        let request = request.into();
        let node = GraphNode(request.id());
        self.requests.push(request);
        node
    }

    /// Lets `to` wait for `from`. A work that takes outputs gets them in the order in which its edges were added, those of
    /// [`after_stored`](Self::after_stored) among them. An edge that is added twice gives its output twice: a list has it in two
    /// places, and a tuple needs two places for it.
    pub fn edge(&mut self, from: GraphNode, to: GraphNode) -> &mut Self {
        self.after.entry(to.0).or_default().push(Prerequisite::Node(from.0));
        self
    }

    /// Lets `node` wait for a work that is stored already. What that gives is not known here: if `node` takes something else, it
    /// is parked when it is to start.
    pub fn after_stored(&mut self, node: GraphNode, id: WorkId) -> &mut Self {
        self.after.entry(node.0).or_default().push(Prerequisite::Stored(id));
        self
    }

    /// Stores the graph under a name that only one can hold.
    pub fn unique(&mut self, name: impl Into<Arc<str>>, policy: ExistingWorkPolicy) -> &mut Self {
        self.unique = Some(Unique { name: name.into(), policy: UniquePolicy::OneTime(policy) });
        self
    }

    /// The works with what they come after, if edges lead where they should and what is given is what is taken.
    fn declared(self) -> Result<Vec<Declared>, EnqueueError> {
        let mut nodes = Known::new();
        for request in &self.requests {
            if nodes.insert(request.id(), (&request.parts, request.types)).is_some() {
                return Err(EnqueueError::SameRequestTwice(request.id()));
            }
        }
        for (to, prerequisites) in &self.after {
            let ends = prerequisites.iter().filter_map(|prerequisite| match prerequisite {
                Prerequisite::Node(id) => Some(id),
                Prerequisite::Stored(_) => None,
            });
            if let Some(unknown) = ends.chain([to]).find(|id| !nodes.contains_key(id)) {
                return Err(EnqueueError::UnknownNode(*unknown));
            }
        }
        for request in &self.requests {
            let prerequisites = self.prerequisites_of(request).iter().map(|prerequisite| prerequisite.id());
            compare(&request.parts, request.types, prerequisites, &nodes)?;
        }
        let declared = self.requests.iter().map(|request| Declared {
            works: vec![request.parts.clone()],
            after: self.prerequisites_of(request).iter().map(|prerequisite| prerequisite.id()).collect(),
        });
        Ok(declared.collect())
    }

    fn prerequisites_of(&self, request: &ErasedRequest) -> &[Prerequisite] {
        self.after.get(&request.id()).map_or(&[], Vec::as_slice)
    }
}

impl WorkManager {
    /// Stores a whole graph in one commit. Its works may be added in any order.
    ///
    /// # Errors
    /// See [`EnqueueError`]. Beside what is refused in a chain: an edge to a node of another graph, a prerequisite too many or
    /// too few, a worker that takes another type than its prerequisite gives. Nothing is stored then.
    pub async fn enqueue_graph(&self, mut graph: WorkGraph) -> Result<EnqueuedGraph, EnqueueError> {
        let naming = graph.unique.take().map_or(Naming::None, Naming::New);
        let stored = self.submit(graph.declared()?, naming).await?;
        Ok(EnqueuedGraph { how: stored.how, ids: stored.ids })
    }
}

/// What enqueueing a graph did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnqueuedGraph {
    /// What happened, if the graph has a unique name: it was inserted, the holder was kept, replaced, or appended to.
    pub how: Enqueued,
    /// The ids of the works, in the order in which they were added; not stored if the holder was kept.
    /// [`WorkManager::handle`] gives a typed handle of each.
    pub ids: Vec<WorkId>,
}

impl EnqueuedGraph {
    /// All works of the graph: for [`WorkManager::query`] and [`WorkManager::watch`].
    pub fn query(&self) -> WorkQuery {
        WorkQuery::ids(self.ids.iter().copied())
    }
}
