//! What ends a chain, and what fits behind it.

use std::marker::PhantomData;

use super::{Body, Chain};
use crate::id::WorkId;
use crate::manager::{WorkHandle, WorkManager};
use crate::request::{ErasedRequest, Nothing, Request, RequestParts, Taken, Takes, TakesAll, TakesNothing, Types};

/// The shape of a chain that has not begun.
pub struct Start(());

/// The shape of a step of one work that gives `O`.
pub struct One<O>(PhantomData<fn() -> O>);

/// The shape of a step of works side by side that all give `O`.
pub struct Many<O>(PhantomData<fn() -> O>);

/// The shape of a step of works side by side that give a tuple of different things.
pub struct Several<T>(PhantomData<fn() -> T>);

/// The shape of a step of erased requests. What they give is compared with what comes behind them when the chain is enqueued.
pub struct Erased(());

/// A request that takes `Self` from its prerequisites fits behind a step of shape `S`.
#[diagnostic::on_unimplemented(
    message = "this step does not fit the step before it",
    label = "its worker takes `{Self}` from its prerequisites, and the step before gives `{S}`",
    note = "a worker that takes nothing fits everywhere; `#[prerequisite] x: T` fits one work that gives `T`; `#[prerequisites] xs: Vec<T>` fits a list of them; a tuple fits a tuple"
)]
pub trait Fits<S>: Taken {}

impl<S> Fits<S> for Nothing {}

// These two never hold. Behind them the compiler finds what is to be said of a worker that takes where there is nothing to take.
impl<T> Fits<Start> for Takes<T> where Takes<T>: TakesNothing {}
impl<T> Fits<Start> for TakesAll<T> where TakesAll<T>: TakesNothing + Taken {}

#[diagnostic::do_not_recommend]
impl<T> Fits<Erased> for Takes<T> {}
#[diagnostic::do_not_recommend]
impl<T> Fits<Erased> for TakesAll<T> where TakesAll<T>: Taken {}
impl<T> Fits<One<T>> for Takes<T> {}
impl<T> Fits<One<T>> for TakesAll<Vec<T>> {}
impl<T> Fits<One<T>> for TakesAll<(T,)> {}
impl<T> Fits<Many<T>> for TakesAll<Vec<T>> {}

/// What may come next behind a step of shape `S`: a request, a list of requests, or a tuple of requests.
#[diagnostic::on_unimplemented(
    message = "this is no step that fits behind the step before it",
    label = "not a fitting request, list of requests or tuple of requests",
    note = "`name::request(inputs..)` makes a request for the worker `name`; `name(inputs..)` only calls its function, here and now",
    note = "what a worker takes from its prerequisites must be what the step before gives; a worker that takes nothing fits everywhere"
)]
pub trait Step<S> {
    /// The shape of this step.
    type Shape: Shape;

    #[doc(hidden)]
    fn into_parts(self) -> PartsOfStep;
}

/// The requests of one step, erased.
#[doc(hidden)]
pub struct PartsOfStep {
    pub(super) works: Vec<RequestParts>,
    pub(super) types: StepTypes,
    pub(super) compared: Compared,
}

/// What the works of a step take and give.
#[derive(Clone)]
pub(super) enum StepTypes {
    /// All the same.
    Alike(Types),
    /// Each its own.
    Each(Vec<Types>),
}

/// Who compares what works take with what those before them give.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// The compiler has.
    ByType,
    /// The enqueue does, since somewhere they are known by their names only.
    ByName,
}

impl Compared {
    /// Of two parts of a chain.
    pub(super) fn and(self, other: Compared) -> Compared {
        if self == Compared::ByName { self } else { other }
    }
}

impl PartsOfStep {
    fn alike<P: Taken, O>(requests: impl IntoIterator<Item = Request<P, O>>) -> Self {
        PartsOfStep {
            works: requests.into_iter().map(Request::into_parts).collect(),
            types: StepTypes::Alike(Types::of::<P, O>()),
            compared: Compared::ByType,
        }
    }

    fn erased(requests: impl IntoIterator<Item = ErasedRequest>) -> Self {
        let (works, types) = requests.into_iter().map(|request| (request.parts, request.types)).unzip();
        PartsOfStep { works, types: StepTypes::Each(types), compared: Compared::ByName }
    }

    /// Each request with its types.
    pub(super) fn each(&self) -> impl Iterator<Item = (&RequestParts, Types)> {
        self.works.iter().enumerate().map(|(at, parts)| match &self.types {
            StepTypes::Alike(types) => (parts, *types),
            StepTypes::Each(types) => (parts, types[at]),
        })
    }
}

impl<S, P: Fits<S>, O> Step<S> for Request<P, O> {
    type Shape = One<O>;

    fn into_parts(self) -> PartsOfStep {
        PartsOfStep::alike([self])
    }
}

impl<S, P: Fits<S>, O, const N: usize> Step<S> for [Request<P, O>; N] {
    type Shape = Many<O>;

    fn into_parts(self) -> PartsOfStep {
        PartsOfStep::alike(self)
    }
}

impl<S, P: Fits<S>, O> Step<S> for Vec<Request<P, O>> {
    type Shape = Many<O>;

    fn into_parts(self) -> PartsOfStep {
        PartsOfStep::alike(self)
    }
}

#[diagnostic::do_not_recommend]
impl<S> Step<S> for ErasedRequest {
    type Shape = Erased;

    fn into_parts(self) -> PartsOfStep {
        PartsOfStep::erased([self])
    }
}

#[diagnostic::do_not_recommend]
impl<S, const N: usize> Step<S> for [ErasedRequest; N] {
    type Shape = Erased;

    fn into_parts(self) -> PartsOfStep {
        PartsOfStep::erased(self)
    }
}

#[diagnostic::do_not_recommend]
impl<S> Step<S> for Vec<ErasedRequest> {
    type Shape = Erased;

    fn into_parts(self) -> PartsOfStep {
        PartsOfStep::erased(self)
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

impl Shape for Erased {
    /// The ids of the works; [`WorkManager::handle`] gives a typed handle of each.
    type Handles = Vec<WorkId>;

    fn handles(_: &WorkManager, ids: &[WorkId]) -> Option<Self::Handles> {
        Some(ids.to_vec())
    }
}

/// Chains that [`WorkManager::combine`] can join: a tuple of chains that each end in one work, or a list of chains that all end
/// alike, in one work or in a list of works.
#[diagnostic::on_unimplemented(
    message = "these chains can't be joined",
    label = "neither a tuple of chains that each end in one work, nor a list of chains that end alike",
    note = "a chain that ends in a tuple of different works ends in one if `.then(..)` puts a work behind them"
)]
pub trait Branches {
    /// The shape of the joined chain.
    type Shape: Shape;

    #[doc(hidden)]
    fn into_bodies(self) -> Bodies;
}

/// The chains that are to be joined, erased.
#[doc(hidden)]
pub struct Bodies(pub(super) Vec<Body>);

/// The shape of chains that can stand in one list.
pub trait Alike: Shape {
    /// The shape of all of them together.
    type Together: Shape;
}

impl<O> Alike for One<O> {
    type Together = Many<O>;
}

impl<O> Alike for Many<O> {
    type Together = Many<O>;
}

impl Alike for Erased {
    type Together = Erased;
}

impl<S: Alike, const N: usize> Branches for [Chain<S>; N] {
    type Shape = S::Together;

    fn into_bodies(self) -> Bodies {
        Bodies(self.into_iter().map(|chain| chain.body).collect())
    }
}

impl<S: Alike> Branches for Vec<Chain<S>> {
    type Shape = S::Together;

    fn into_bodies(self) -> Bodies {
        Bodies(self.into_iter().map(|chain| chain.body).collect())
    }
}

macro_rules! tuples {
    ($(($($take:ident $output:ident $field:tt),+))+) => {$(
        impl<$($output),+> Fits<Several<($($output,)+)>> for TakesAll<($($output,)+)> {}

        impl<Behind, $($take: Fits<Behind>, $output),+> Step<Behind> for ($(Request<$take, $output>,)+) {
            type Shape = Several<($($output,)+)>;

            fn into_parts(self) -> PartsOfStep {
                PartsOfStep {
                    works: vec![$(self.$field.into_parts()),+],
                    types: StepTypes::Each(vec![$(Types::of::<$take, $output>()),+]),
                    compared: Compared::ByType,
                }
            }
        }

        impl<$($output),+> Shape for Several<($($output,)+)> {
            type Handles = ($(WorkHandle<$output>,)+);

            fn handles(manager: &WorkManager, ids: &[WorkId]) -> Option<Self::Handles> {
                Some(($(WorkHandle::<$output>::new(manager.clone(), *ids.get($field)?),)+))
            }
        }

        impl<$($output),+> Branches for ($(Chain<One<$output>>,)+) {
            type Shape = Several<($($output,)+)>;

            fn into_bodies(self) -> Bodies {
                Bodies(vec![$(self.$field.body),+])
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
    (P0 O0 0, P1 O1 1, P2 O2 2, P3 O3 3, P4 O4 4, P5 O5 5, P6 O6 6)
    (P0 O0 0, P1 O1 1, P2 O2 2, P3 O3 3, P4 O4 4, P5 O5 5, P6 O6 6, P7 O7 7)
}
