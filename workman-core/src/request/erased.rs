//! [`ErasedRequest`]: a request whose types are kept as names, to be compared when it is enqueued.

use std::any::type_name;
use std::fmt;

use super::draft::RequestDraft;
use super::{Nothing, Request, Takes, TakesAll};
use crate::id::WorkId;

/// A request of any worker, for a [`WorkGraph`](crate::chain::WorkGraph). What it takes and gives is known by the names of the
/// types, and is compared when the graph is enqueued.
///
/// ```
/// use workman_core::{ErasedRequest, worker};
///
/// #[worker]
/// fn load(path: String) -> String {
///     path
/// }
///
/// #[worker]
/// fn measure(#[prerequisite] text: String) -> usize {
///     text.len()
/// }
///
/// let requests: Vec<ErasedRequest> = vec![load::request("a".into()).erased(), measure::request().erased()];
/// # let _ = requests;
/// ```
#[derive(Clone)]
#[must_use = "a request does nothing until it is enqueued"]
pub struct ErasedRequest {
    pub(crate) draft: RequestDraft,
    pub(crate) takes: TakenTypes,
    pub(crate) gives: &'static str,
}

impl ErasedRequest {
    /// The id that the work will have.
    #[must_use]
    pub fn id(&self) -> WorkId {
        self.draft.id
    }
}

impl fmt::Debug for ErasedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draft.describe(f.debug_struct("ErasedRequest").field("gives", &self.gives))
    }
}

/// The names of the types that a worker takes from its prerequisites.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenTypes {
    /// None, or whatever there is.
    Any,
    /// The one.
    One(&'static str),
    /// Of each the same.
    Each(&'static str),
    /// Of each its own.
    Tuple(Vec<&'static str>),
}

mod sealed {
    pub trait Sealed {}
}

/// What a request may take from its prerequisites: [`Nothing`], [`Takes`] or [`TakesAll`].
pub trait Taken: sealed::Sealed {
    #[doc(hidden)]
    fn types() -> TakenTypes;
}

impl sealed::Sealed for Nothing {}

impl Taken for Nothing {
    fn types() -> TakenTypes {
        TakenTypes::Any
    }
}

impl<T> sealed::Sealed for Takes<T> {}

impl<T> Taken for Takes<T> {
    fn types() -> TakenTypes {
        TakenTypes::One(type_name::<T>())
    }
}

impl<T> sealed::Sealed for TakesAll<T> {}

impl<T> Taken for TakesAll<Vec<T>> {
    fn types() -> TakenTypes {
        TakenTypes::Each(type_name::<T>())
    }
}

macro_rules! tuples {
    ($(($($type:ident)+))+) => {$(
        impl<$($type),+> Taken for TakesAll<($($type,)+)> {
            fn types() -> TakenTypes {
                TakenTypes::Tuple(vec![$(type_name::<$type>()),+])
            }
        }
    )+};
}

tuples! {
    (A)
    (A B)
    (A B C)
    (A B C D)
    (A B C D E)
    (A B C D E F)
    (A B C D E F G)
    (A B C D E F G H)
}

impl<P: Taken, O> Request<P, O> {
    /// The same request without its types, for a graph whose shape is known at run time only. What it takes and gives is checked
    /// when the graph is enqueued.
    pub fn erased(self) -> ErasedRequest {
        ErasedRequest { draft: self.draft, takes: P::types(), gives: type_name::<O>() }
    }
}

impl<P: Taken, O> From<Request<P, O>> for ErasedRequest {
    fn from(request: Request<P, O>) -> Self {
        request.erased()
    }
}
