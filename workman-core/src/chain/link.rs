//! [`Link`]: one step of a chain, and the steps before it, which several chains may share.

use crate::record::InputShape;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::shape::PartsOfStep;
use crate::id::WorkId;
use crate::manager::{Declared, EnqueueError};
use crate::request::{RequestError, RequestParts, TakenTypes, Types};

/// One step of a chain. A clone of a chain shares its steps, so that a chain of chains that share their beginnings stays small.
pub(super) struct Link {
    kind: Kind,
    /// Whom the next step comes after, in order.
    last: Arc<[WorkId]>,
    before: Vec<Arc<Link>>,
}

enum Kind {
    /// New works side by side.
    Step(PartsOfStep),
    /// Several chains come together here.
    Joint,
    /// Works that are stored already.
    Stored {
        /// All works of the chain that they are the last step of.
        all: Vec<WorkId>,
    },
}

impl Kind {
    fn step(&self) -> Option<&PartsOfStep> {
        match self {
            Kind::Step(step) => Some(step),
            Kind::Joint | Kind::Stored { .. } => None,
        }
    }
}

impl Link {
    pub(super) fn step(before: Option<Arc<Link>>, works: PartsOfStep) -> Arc<Self> {
        let last = works.works.iter().map(|parts| parts.id).collect();
        Arc::new(Link { kind: Kind::Step(works), last, before: before.into_iter().collect() })
    }

    pub(super) fn joint(before: Vec<Arc<Link>>) -> Arc<Self> {
        let last = before.iter().flat_map(|link| link.last.iter()).copied().collect();
        Arc::new(Link { kind: Kind::Joint, last, before })
    }

    pub(super) fn stored(last: &[WorkId], all: Vec<WorkId>) -> Arc<Self> {
        Arc::new(Link { kind: Kind::Stored { all }, last: last.into(), before: Vec::new() })
    }

    pub(super) fn last(&self) -> &Arc<[WorkId]> {
        &self.last
    }

    /// This link and all before it, each once and after those before it.
    fn family(&self) -> Vec<&Link> {
        let mut family = Vec::new();
        let mut seen: BTreeSet<*const Link> = BTreeSet::new();
        let mut path = vec![(self, self.before.iter())];
        while let Some((link, before)) = path.last_mut() {
            match before.next() {
                Some(next) if seen.insert(Arc::as_ptr(next)) => path.push((next, next.before.iter())),
                Some(_) => {}
                None => {
                    family.push(*link);
                    path.pop();
                }
            }
        }
        family
    }

    /// Whom the works of a step come after. It has one link before it at the most.
    fn after(&self) -> Arc<[WorkId]> {
        self.before.first().map(|before| Arc::clone(&before.last)).unwrap_or_default()
    }

    /// Compares what each work takes with what those before it give, by the names of the types.
    pub(super) fn compare(&self) -> Result<(), EnqueueError> {
        let family = self.family();
        let steps = || family.iter().filter_map(|link| link.kind.step().map(|step| (link, step)));
        let known: Known<'_> =
            steps().flat_map(|(_, step)| step.each().map(|(parts, types)| (parts.id, (parts, types)))).collect();
        for (link, step) in steps() {
            let after = link.after();
            step.each().try_for_each(|(parts, types)| compare(parts, types, after.iter().copied(), &known))?;
        }
        Ok(())
    }

    /// What is to be stored.
    pub(super) fn declared(&self) -> Vec<Declared> {
        let steps = self.family().into_iter().filter_map(|link| link.kind.step().map(|step| (link, step)));
        steps.map(|(link, step)| Declared { works: step.works.clone(), after: link.after() }).collect()
    }

    /// The workers of what is to be stored, in order, one for each work; the first `most` of them.
    pub(super) fn workers(&self, most: usize) -> Vec<Arc<str>> {
        let works = self.family().into_iter().filter_map(|link| link.kind.step().map(|step| &step.works));
        works.flatten().take(most).map(RequestParts::worker).collect()
    }

    /// The works that were stored before.
    pub(super) fn already_stored(&self) -> Vec<WorkId> {
        let all = self.family().into_iter().filter_map(|link| match &link.kind {
            Kind::Stored { all } => Some(all),
            Kind::Step(_) | Kind::Joint => None,
        });
        all.flatten().copied().collect()
    }
}

/// Drops the links before this one in a loop: one inside the other they would use up the stack of a thread.
impl Drop for Link {
    fn drop(&mut self) {
        let mut before = std::mem::take(&mut self.before);
        while let Some(link) = before.pop() {
            if let Some(mut link) = Arc::into_inner(link) {
                before.append(&mut link.before);
            }
        }
    }
}

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
