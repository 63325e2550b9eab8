//! [`Chain`]: works that come after each other, checked by the compiler.
//!
//! A chain knows the shape of its last step: [`One`] output, [`Many`] of one type, or [`Several`] of different types. A request
//! fits behind it if it takes that shape, or nothing.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::id::WorkId;
use crate::manager::{EnqueueError, Node, WorkHandle, WorkManager};
use crate::plan::{Enqueued, Unique, UniquePolicy};
use crate::policy::ExistingWorkPolicy;
use crate::request::{Nothing, Request, RequestDraft, Takes, TakesAll};

/// The shape of a chain that has not begun.
pub struct Start(());

/// The shape of a step of one work that gives `O`.
pub struct One<O>(PhantomData<fn() -> O>);

/// The shape of a step of works side by side that all give `O`.
pub struct Many<O>(PhantomData<fn() -> O>);

/// The shape of a step of works side by side that give a tuple of different things.
pub struct Several<T>(PhantomData<fn() -> T>);

/// A request that takes `Self` from its prerequisites fits behind a step of shape `S`.
#[diagnostic::on_unimplemented(
    message = "this step does not fit the step before it",
    label = "this worker takes another type from its prerequisites than the step before gives",
    note = "a worker that takes nothing fits everywhere; `#[prerequisite] x: T` fits one work that gives `T`; `#[prerequisites] xs: Vec<T>` fits a list of them; a tuple fits a tuple"
)]
pub trait Fits<S> {}

impl<S> Fits<S> for Nothing {}
impl<T> Fits<One<T>> for Takes<T> {}
impl<T> Fits<One<T>> for TakesAll<Vec<T>> {}
impl<T> Fits<Many<T>> for TakesAll<Vec<T>> {}

/// What may come next behind a step of shape `S`: a request, a list of requests, or a tuple of requests.
#[diagnostic::on_unimplemented(
    message = "this is no step that fits behind the step before it",
    label = "not a fitting request, list of requests or tuple of requests",
    note = "what a worker takes from its prerequisites must be what the step before gives; a worker that takes nothing fits everywhere"
)]
pub trait Step<S> {
    /// The shape of this step.
    type Shape: Shape;

    #[doc(hidden)]
    fn into_drafts(self) -> Drafts;
}

/// The requests of one step, erased.
#[doc(hidden)]
pub struct Drafts(pub(crate) Vec<RequestDraft>);

impl<S, P: Fits<S>, O> Step<S> for Request<P, O> {
    type Shape = One<O>;

    fn into_drafts(self) -> Drafts {
        Drafts(vec![self.into_draft()])
    }
}

impl<S, P: Fits<S>, O, const N: usize> Step<S> for [Request<P, O>; N] {
    type Shape = Many<O>;

    fn into_drafts(self) -> Drafts {
        Drafts(self.into_iter().map(Request::into_draft).collect())
    }
}

impl<S, P: Fits<S>, O> Step<S> for Vec<Request<P, O>> {
    type Shape = Many<O>;

    fn into_drafts(self) -> Drafts {
        Drafts(self.into_iter().map(Request::into_draft).collect())
    }
}

/// What a step of some shape gives: handles.
pub trait Shape {
    /// The handles of the step.
    type Handles;

    #[doc(hidden)]
    fn handles(manager: &WorkManager, ids: &[WorkId]) -> Option<Self::Handles>;
}

impl<O> Shape for One<O> {
    type Handles = WorkHandle<O>;

    fn handles(manager: &WorkManager, ids: &[WorkId]) -> Option<Self::Handles> {
        ids.first().map(|id| WorkHandle::new(manager.clone(), *id))
    }
}

impl<O> Shape for Many<O> {
    type Handles = Vec<WorkHandle<O>>;

    fn handles(manager: &WorkManager, ids: &[WorkId]) -> Option<Self::Handles> {
        Some(ids.iter().map(|id| WorkHandle::new(manager.clone(), *id)).collect())
    }
}

macro_rules! tuples {
    ($(($($take:ident $output:ident $field:tt),+))+) => {$(
        impl<$($output),+> Fits<Several<($($output,)+)>> for TakesAll<($($output,)+)> {}

        impl<Behind, $($take: Fits<Behind>, $output),+> Step<Behind> for ($(Request<$take, $output>,)+) {
            type Shape = Several<($($output,)+)>;

            fn into_drafts(self) -> Drafts {
                Drafts(vec![$(self.$field.into_draft()),+])
            }
        }

        impl<$($output),+> Shape for Several<($($output,)+)> {
            type Handles = ($(WorkHandle<$output>,)+);

            fn handles(manager: &WorkManager, ids: &[WorkId]) -> Option<Self::Handles> {
                Some(($(WorkHandle::<$output>::new(manager.clone(), *ids.get($field)?),)+))
            }
        }
    )+};
}

tuples! {
    (P0 O0 0, P1 O1 1)
    (P0 O0 0, P1 O1 1, P2 O2 2)
    (P0 O0 0, P1 O1 1, P2 O2 2, P3 O3 3)
    (P0 O0 0, P1 O1 1, P2 O2 2, P3 O3 3, P4 O4 4)
    (P0 O0 0, P1 O1 1, P2 O2 2, P3 O3 3, P4 O4 4, P5 O5 5)
}

/// Works that come after each other. Nothing is stored before [`enqueue`](Self::enqueue), and then all of it at once.
#[must_use = "a chain is not stored before it is enqueued"]
pub struct Chain<S> {
    manager: WorkManager,
    unique: Option<Unique>,
    nodes: Vec<Node>,
    last: Vec<usize>,
    empty_step: bool,
    shape: PhantomData<fn() -> S>,
}

impl Chain<Start> {
    pub(crate) fn new(manager: WorkManager) -> Self {
        Chain { manager, unique: None, nodes: Vec::new(), last: Vec::new(), empty_step: false, shape: PhantomData }
    }

    pub(crate) fn unique(mut self, name: Arc<str>, policy: ExistingWorkPolicy) -> Self {
        self.unique = Some(Unique { name, policy: UniquePolicy::OneTime(policy) });
        self
    }
}

impl<S> Chain<S> {
    /// Adds a step that runs when every work of the step before has succeeded: one request, a list of requests side by
    /// side (`[a, b]` or a `Vec`), or a tuple of requests of different workers.
    pub fn then<N: Step<S>>(mut self, step: N) -> Chain<N::Shape> {
        let Drafts(drafts) = step.into_drafts();
        let first = self.nodes.len();
        let empty_step = self.empty_step || drafts.is_empty();
        self.nodes.extend(drafts.into_iter().map(|draft| Node { draft, after: self.last.clone() }));
        let last = (first..self.nodes.len()).collect();
        let Chain { manager, unique, nodes, .. } = self;
        Chain { manager, unique, nodes, last, empty_step, shape: PhantomData }
    }
}

impl<S: Shape> Chain<S> {
    /// Stores the whole chain in one commit.
    ///
    /// # Errors
    /// See [`EnqueueError`]. Nothing of the chain is stored then, unless the error is indeterminate.
    pub async fn enqueue(self) -> Result<EnqueuedChain<S>, EnqueueError> {
        if self.empty_step {
            return Err(EnqueueError::Empty);
        }
        let stored = self.manager.submit(self.nodes, self.unique).await?;
        let last: Vec<WorkId> = self.last.iter().filter_map(|place| stored.ids.get(*place)).copied().collect();
        let last = if stored.is_new() { S::handles(&self.manager, &last) } else { None };
        Ok(EnqueuedChain { how: stored.how, ids: stored.ids, last })
    }
}

/// What enqueueing a chain did.
pub struct EnqueuedChain<S: Shape> {
    /// What happened, if the chain has a unique name: it was inserted, the holder was kept, or replaced.
    pub how: Enqueued,
    /// The ids of the works of this chain, in the order in which they were added; not stored if the holder was kept.
    pub ids: Vec<WorkId>,
    /// Handles of the last step; none if the holder of the name was kept.
    pub last: Option<S::Handles>,
}
