//! What a work takes, compared with what the works before it give: by the names of the types, where the compiler knows no more.

use std::collections::BTreeMap;

use crate::id::WorkId;
use crate::manager::EnqueueError;
use crate::record::InputShape;
use crate::request::{RequestError, RequestParts, TakenTypes, Types};

/// The works that are enqueued together. Of others it is not known what they give.
pub(super) type Known<'a> = BTreeMap<WorkId, (&'a RequestParts, Types)>;

/// Compares what a work takes with what the works before it give. Whether there are as many as it takes is checked with
/// everything else about a request; only a tuple has a length that its shape does not say.
pub(super) fn compare(
    parts: &RequestParts,
    types: Types,
    prerequisites: impl ExactSizeIterator<Item = WorkId>,
    known: &Known<'_>,
) -> Result<(), EnqueueError> {
    let takes = (types.takes)();
    if let TakenTypes::Tuple(taken) = &takes
        && taken.len() != prerequisites.len()
    {
        let (worker, given) = (parts.worker(), prerequisites.len());
        if given == 0 {
            let error = RequestError::Prerequisites { worker, takes: InputShape::Tuple, given };
            return Err(EnqueueError::Request(error));
        }
        return Err(EnqueueError::TupleLength { worker, takes: taken.len(), given });
    }
    for (at, prerequisite) in prerequisites.enumerate() {
        let wanted = match &takes {
            TakenTypes::Any => None,
            TakenTypes::One(taken) | TakenTypes::Each(taken) => Some(*taken),
            TakenTypes::Tuple(taken) => taken.get(at).copied(),
        };
        let (Some(takes), Some((before, given))) = (wanted, known.get(&prerequisite)) else { continue };
        if given.gives != takes {
            let (worker, prerequisite, gives) = (parts.worker(), before.worker(), given.gives);
            return Err(EnqueueError::OtherType { worker, takes, prerequisite, gives });
        }
    }
    Ok(())
}
