//! [`ErasedRequest`]: a request whose types are kept as names, to be compared when it is enqueued.

use std::any::type_name;
use std::fmt;

use super::Request;
use super::parts::RequestParts;
use super::taken::{Taken, TakenTypes};
use crate::id::WorkId;

/// A request of any worker, for a [`WorkGraph`](crate::chain::WorkGraph) or a step of a chain. What it takes and gives is known by the
/// names of the types, and is compared when the graph or the chain is enqueued.
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
    pub(crate) parts: RequestParts,
    pub(crate) types: Types,
}

/// What a request takes and gives, by the names of the types.
#[derive(Clone, Copy)]
pub(crate) struct Types {
    /// A function, so that nobody makes a list that nobody reads: most chains are checked by the compiler.
    pub(crate) takes: fn() -> TakenTypes,
    pub(crate) gives: &'static str,
}

impl Types {
    pub(crate) fn of<P: Taken, O>() -> Self {
        Types { takes: P::types, gives: type_name::<O>() }
    }
}

impl ErasedRequest {
    /// The id that the work will have.
    #[must_use]
    pub fn id(&self) -> WorkId {
        self.parts.id
    }
}

impl fmt::Debug for ErasedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.describe(f.debug_struct("ErasedRequest").field("gives", &self.types.gives))
    }
}

impl<P: Taken, O> Request<P, O> {
    /// The same request without its types, for a graph or a step whose works are known at run time only. What it takes and gives is
    /// checked when the graph or the chain is enqueued.
    pub fn erased(self) -> ErasedRequest {
        ErasedRequest { parts: self.parts, types: Types::of::<P, O>() }
    }
}

impl<P: Taken, O> From<Request<P, O>> for ErasedRequest {
    fn from(request: Request<P, O>) -> Self {
        request.erased()
    }
}
