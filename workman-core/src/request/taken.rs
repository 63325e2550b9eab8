//! What a request takes from what comes before it: [`Taken`] in general, nothing ([`TakesNothing`]), and what can be enqueued alone
//! for that reason ([`Standalone`]).

use std::any::type_name;

use super::{Nothing, Request, Takes, TakesAll};

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

/// What a worker takes if it takes nothing from prerequisites, so that its work can stand alone or come first: [`Nothing`].
#[diagnostic::on_unimplemented(
    message = "this worker takes the output of a step before it, and there is none",
    label = "its work can neither stand alone nor come first",
    note = "put it behind the work whose output it takes, with `.then(..)`; or give the value yourself: `name::with(output, inputs..)` makes a request that takes nothing, where `name::request(inputs..)` was"
)]
pub trait TakesNothing {}

impl TakesNothing for Nothing {}

/// What can be enqueued alone: the [`Request`] of a worker that takes nothing from prerequisites.
#[diagnostic::on_unimplemented(
    message = "this is no request that can be enqueued alone",
    label = "not a `Request`",
    note = "`name::request(inputs..)` makes a request for the worker `name`; `name(inputs..)` only calls its function, here and now",
    note = "periodic requests are for `enqueue_periodic`, several requests for `enqueue_all`, and steps that come after each other for `begin_with`"
)]
pub trait Standalone {
    /// What the worker gives.
    type Output;

    #[doc(hidden)]
    fn into_request(self) -> Request<Nothing, Self::Output>;
}

impl<P: TakesNothing, O> Standalone for Request<P, O> {
    type Output = O;

    fn into_request(self) -> Request<Nothing, O> {
        Request::new(self.parts)
    }
}
