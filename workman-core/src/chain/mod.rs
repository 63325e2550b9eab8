//! [`Chain`]: works that come after each other, checked by the compiler.
//!
//! A chain knows the shape of its last step: [`One`] output, [`Many`] of one type, or [`Several`] of different types. A request
//! fits behind it if it takes that shape, or nothing. A step of [`Erased`] requests is checked when the chain is enqueued. Chains come
//! together by [`WorkManager::combine`]. What has a shape that is known at run time only is a [`WorkGraph`].

mod graph;
mod link;
mod shape;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::id::WorkId;
use crate::manager::{EnqueueError, Naming, WorkHandle, WorkManager};
use crate::plan::{Enqueued, Unique, UniquePolicy};
use crate::policy::ExistingWorkPolicy;
use crate::query::WorkQuery;

pub use graph::{EnqueuedGraph, GraphNode, WorkGraph};
#[doc(hidden)]
pub(crate) use shape::Bodies;
pub use shape::{Alike, Branches, Erased, Fits, Many, One, Several, Shape, Start, Step};

use link::Link;
use shape::Compared;

/// How many works of a chain `Debug` names.
const SHOWN_WORKERS: usize = 16;

/// Works that come after each other. Nothing is stored before [`enqueue`](Self::enqueue), and then all of it at once.
///
/// A clone shares what is there already, so a chain may go on in several ways from one point and come together again:
/// [`WorkManager::combine`] has an example. The same request in several places is one work, which waits for what is before it in
/// all of them, in the order of declaration. Places that wait for each other in a circle are refused by `enqueue`.
#[must_use = "a chain is not stored before it is enqueued"]
#[doc(alias("WorkContinuation", "workflow", "pipeline"))]
pub struct Chain<S> {
    manager: WorkManager,
    body: Body,
    shape: PhantomData<fn() -> S>,
}

/// A chain without its shape.
#[derive(Clone)]
struct Body {
    naming: Naming,
    tip: Option<Arc<Link>>,
    /// How many steps come after each other in it, those aside that are stored already.
    steps: usize,
    /// Whether the types of all its steps are known.
    compared: Compared,
    /// What is wrong with it; `enqueue` says so.
    problem: Option<EnqueueError>,
}

impl Body {
    fn new(naming: Naming, tip: Option<Arc<Link>>) -> Self {
        Body { naming, tip, steps: 0, compared: Compared::ByType, problem: None }
    }
}

impl<S> Clone for Chain<S> {
    fn clone(&self) -> Self {
        Chain { manager: self.manager.clone(), body: self.body.clone(), shape: PhantomData }
    }
}

impl<S> fmt::Debug for Chain<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Body { naming, tip, steps, problem, .. } = &self.body;
        let workers = tip.as_ref().map(|tip| tip.workers(SHOWN_WORKERS)).unwrap_or_default();
        let mut shown = f.debug_struct("Chain");
        shown.field("name", &naming.name()).field("steps", steps).field("workers", &workers).field("problem", problem);
        shown.finish_non_exhaustive()
    }
}

impl Chain<Start> {
    fn new(manager: WorkManager) -> Self {
        Chain { manager, body: Body::new(Naming::None, None), shape: PhantomData }
    }

    fn unique(mut self, name: Arc<str>, policy: ExistingWorkPolicy) -> Self {
        self.body.naming = Naming::New(Unique { name, policy: UniquePolicy::OneTime(policy) });
        self
    }
}

impl<S> Chain<S> {
    /// Adds a step that runs when every work of the step before has succeeded: one request, a list of requests side by
    /// side (`[a, b]` or a `Vec`), or a tuple of requests of different workers. Requests whose workers are known at run time only
    /// are given [`erased`](crate::Request::erased), alone or in a list; what they take and give is compared by `enqueue`.
    ///
    /// A list without requests is refused by `enqueue` ([`EnqueueError::EmptyStep`]) and not passed over: what comes behind it
    /// takes the outputs of this step, and there would be none.
    pub fn then<N: Step<S>>(self, step: N) -> Chain<N::Shape> {
        let works = step.into_parts();
        let Chain { manager, mut body, .. } = self;
        body.steps += 1;
        body.compared = body.compared.and(works.compared);
        if works.works.is_empty() {
            body.problem.get_or_insert(EnqueueError::EmptyStep { step: body.steps });
        }
        body.tip = Some(Link::step(body.tip, works));
        Chain { manager, body, shape: PhantomData }
    }

    /// Goes on behind works that are stored.
    fn behind(manager: WorkManager, naming: Naming, stored: Arc<Link>) -> Self {
        Chain { manager, body: Body::new(naming, Some(stored)), shape: PhantomData }
    }
}

impl<S: Shape> Chain<S> {
    /// Stores the whole chain in one commit. Works of it that are stored already, by this chain or by a clone of it, are left
    /// as they are, so a call whose answer was lost can be repeated.
    ///
    /// # Errors
    /// See [`EnqueueError`]. Nothing of the chain is stored then, unless the error is indeterminate.
    pub async fn enqueue(self) -> Result<EnqueuedChain<S>, EnqueueError> {
        let Body { naming, tip, compared, problem, .. } = self.body;
        let (Some(tip), None) = (tip, &problem) else {
            return Err(problem.unwrap_or(EnqueueError::Empty));
        };
        if compared == Compared::ByName {
            tip.compare()?;
        }
        let stored = self.manager.submit(tip.declared(), naming.clone()).await?;
        let handles = if stored.is_new() { S::handles(&self.manager, tip.last()) } else { None };
        let mut family = tip.already_stored();
        family.extend(&stored.ids);
        let tail = Tail { manager: self.manager, naming, family, last: Arc::clone(tip.last()) };
        Ok(EnqueuedChain { how: stored.how, ids: stored.ids, last: handles, tail })
    }
}

impl WorkManager {
    /// Begins a chain with one request, a list of requests side by side, or a tuple of different ones.
    #[doc(alias("beginWith", "chain", "pipeline", "workflow"))]
    pub fn begin_with<N: Step<Start>>(&self, step: N) -> Chain<N::Shape> {
        Chain::new(self.clone()).then(step)
    }

    /// Begins a chain under a unique name. All its works belong to the name; the policy is asked once, for the whole of it, as
    /// [`enqueue_unique`](Self::enqueue_unique) says. Appended, its first step waits for what was last under the name.
    #[doc(alias = "beginUniqueWork")]
    pub fn begin_unique<N: Step<Start>>(
        &self,
        name: impl Into<Arc<str>>,
        policy: ExistingWorkPolicy,
        step: N,
    ) -> Chain<N::Shape> {
        Chain::new(self.clone()).unique(name.into(), policy).then(step)
    }

    /// Joins chains: what comes next waits for the last works of all of them and takes their outputs in the order in which the
    /// chains are given. A tuple of chains that each end in one work gives a tuple; a list of chains that end alike gives a list.
    ///
    /// The branches may share their beginnings. They may be of one name; a name that is given to one of them is the name of the
    /// whole, and two different names, or policies, are refused; so is a list without chains ([`EnqueueError::Empty`]).
    ///
    /// ```
    /// # use futures::executor::block_on;
    /// # use workman_core::{MemoryStore, ThreadRuntime, WorkManager, worker};
    /// #[worker]
    /// fn read(text: String) -> String {
    ///     text
    /// }
    ///
    /// #[worker]
    /// fn upper(#[prerequisite] text: String) -> String {
    ///     text.to_uppercase()
    /// }
    ///
    /// #[worker]
    /// fn length(#[prerequisite] text: String) -> usize {
    ///     text.len()
    /// }
    ///
    /// #[worker]
    /// fn report(#[prerequisites] both: (String, usize)) -> String {
    ///     format!("{}: {}", both.0, both.1)
    /// }
    ///
    /// # let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
    /// # block_on(async {
    /// let text = manager.begin_with(read::request("abc".into()));
    /// let both = (text.clone().then(upper::request()), text.then(length::request()));
    /// let chain = manager.combine(both).then(report::request()).enqueue().await?;
    /// assert_eq!(chain.ids.len(), 4, "the text is read once");
    /// assert_eq!(chain.last.expect("it has no unique name").output().await?, "ABC: 3");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("join", "fan_in", "group", "chord"))]
    pub fn combine<B: Branches>(&self, branches: B) -> Chain<B::Shape> {
        let Bodies(bodies) = branches.into_bodies();
        let mut joint = Body::new(Naming::None, None);
        if bodies.is_empty() {
            joint.problem = Some(EnqueueError::Empty);
        }
        let mut tips = Vec::with_capacity(bodies.len());
        for Body { naming, tip, steps, compared, problem } in bodies {
            joint.steps = joint.steps.max(steps);
            joint.compared = joint.compared.and(compared);
            joint.problem = joint.problem.or(problem);
            match joint.naming.joined_with(naming) {
                Ok(naming) => joint.naming = naming,
                Err(problem) => {
                    joint.problem.get_or_insert(problem);
                }
            }
            tips.extend(tip);
        }
        joint.tip = Some(Link::joint(tips));
        Chain { manager: self.clone(), body: joint, shape: PhantomData }
    }
}

/// What enqueueing a chain did.
pub struct EnqueuedChain<S: Shape> {
    /// What happened, if the chain has a unique name: it was inserted, the holder was kept, replaced, or appended to.
    pub how: Enqueued,
    /// The ids of the works of this chain, in the order in which they were added; not stored if the holder was kept.
    pub ids: Vec<WorkId>,
    /// Handles of the last step; none if the holder of the name was kept.
    pub last: Option<S::Handles>,
    tail: Tail,
}

impl<S: Shape> fmt::Debug for EnqueuedChain<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnqueuedChain").field("how", &self.how).field("ids", &self.ids).finish_non_exhaustive()
    }
}

/// Where an enqueued chain ends.
struct Tail {
    manager: WorkManager,
    naming: Naming,
    /// The works of the chain, and of the chains that it was appended to.
    family: Vec<WorkId>,
    last: Arc<[WorkId]>,
}

impl<S: Shape> EnqueuedChain<S> {
    /// Goes on behind the last step of what is stored: the works of this chain are not enqueued again, and the new ones look at
    /// their states as they are then. The new works belong to the same unique name, if there is one; its policy is not asked
    /// again. If the holder of the name was kept, the works of this chain are not stored, and neither is anything behind them.
    ///
    /// ```
    /// # use futures::executor::block_on;
    /// # use workman_core::{MemoryStore, ThreadRuntime, WorkManager, worker};
    /// #[worker]
    /// fn double(number: u32) -> u32 {
    ///     2 * number
    /// }
    ///
    /// #[worker]
    /// fn add_one(#[prerequisite] number: u32) -> u32 {
    ///     number + 1
    /// }
    ///
    /// # let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
    /// # block_on(async {
    /// let first = manager.begin_with(double::request(3)).enqueue().await?;
    /// let second = first.then(add_one::request()).enqueue().await?;
    /// assert_eq!(second.last.expect("it has no unique name").output().await?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn then<N: Step<S>>(&self, step: N) -> Chain<N::Shape> {
        let Tail { manager, naming, family, last } = &self.tail;
        let stored = Link::stored(last, family.clone());
        Chain::<S>::behind(manager.clone(), naming.inherited(), stored).then(step)
    }

    /// All works of the chain, and of the chains that it was appended to: for [`WorkManager::query`] and [`WorkManager::watch`].
    pub fn query(&self) -> WorkQuery {
        WorkQuery::ids(self.tail.family.iter().copied())
    }
}

impl<O> WorkHandle<O> {
    /// Goes on behind this work, whenever it was enqueued: after a restart too, by a handle of
    /// [`WorkManager::handle`]. The work itself is not enqueued again. The new works belong to no unique name.
    ///
    /// ```
    /// # use futures::executor::block_on;
    /// # use workman_core::{MemoryStore, ThreadRuntime, WorkManager, worker};
    /// #[worker]
    /// fn front_page() -> String {
    ///     "page".into()
    /// }
    ///
    /// #[worker]
    /// fn page_length(#[prerequisite] page: String) -> usize {
    ///     page.len()
    /// }
    ///
    /// # let manager = WorkManager::builder(MemoryStore::new()).runtime(ThreadRuntime::new()).start()?;
    /// # block_on(async {
    /// let id = manager.enqueue(front_page::request()).await?.id();
    /// let downloaded = manager.handle(front_page::worker(), id).await?;
    /// let chain = downloaded.then(page_length::request()).enqueue().await?;
    /// assert_eq!(chain.last.expect("it has no unique name").output().await?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn then<N: Step<One<O>>>(&self, step: N) -> Chain<N::Shape> {
        let stored = Link::stored(&[self.id()], vec![self.id()]);
        Chain::<One<O>>::behind(self.manager().clone(), Naming::None, stored).then(step)
    }
}
