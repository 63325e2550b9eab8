//! Which values are read back before they are stored, and by whom.
//!
//! A pair of `Serialize` and `Deserialize` that do not fit is a mistake in a type, so the first values show it, and a look at every
//! value would make an enqueue half as fast. So: every value where mistakes are looked for, which is in builds with debug assertions
//! and in tests; elsewhere the first few of each worker in each process, and once one was refused, as many again until so many in
//! a row were fine. After that a value costs one load of a number that does not change.
//!
//! Inputs, outputs and checkpoints are read back. Progress is too where it is known what reads it, which is the items of a stream;
//! what else is given as progress may be of a type that is only written, and nothing depends on it.

use std::sync::atomic::{AtomicU8, Ordering};

use super::WorkerDef;
use crate::data::EncodeError;

/// How many values of a kind are read back in each process, for each worker.
const FIRST: u8 = 8;

/// Which values are read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// The first of each worker.
    First,
    /// Each.
    All,
}

impl Default for ReadBack {
    fn default() -> Self {
        if cfg!(debug_assertions) { ReadBack::All } else { ReadBack::First }
    }
}

/// How many values of one worker are still to be read back in this process. Part of the worker's definition; of no use to others.
#[derive(Debug)]
pub struct Trials {
    inputs: AtomicU8,
    outputs: AtomicU8,
    items: AtomicU8,
    checkpoints: AtomicU8,
}

impl Trials {
    /// None was yet.
    #[must_use]
    pub const fn new() -> Self {
        let [inputs, outputs, items, checkpoints] = [const { AtomicU8::new(FIRST) }; 4];
        Trials { inputs, outputs, items, checkpoints }
    }
}

impl Default for Trials {
    fn default() -> Self {
        Self::new()
    }
}

/// What a value is to its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Input,
    Output,
    Item,
    Checkpoint,
}

/// An argument that can't be encoded so that it would decode again.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unencodable {
    /// The argument.
    pub argument: &'static str,
    /// Why.
    pub error: EncodeError,
}

impl ReadBack {
    /// Reads back a value of this worker, if it is one of those.
    pub(crate) fn check<E>(
        self,
        def: &WorkerDef,
        role: Role,
        read_back: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let trials = match role {
            Role::Input => &def.trials.inputs,
            Role::Output => &def.trials.outputs,
            Role::Item => &def.trials.items,
            Role::Checkpoint => &def.trials.checkpoints,
        };
        if self == ReadBack::First && !is_one_of_the_first(trials) {
            return Ok(());
        }
        // The type has shown that it does not always fit, so it is watched anew.
        read_back().inspect_err(|_| trials.store(FIRST, Ordering::Relaxed))
    }
}

/// Counts one, if any are left.
fn is_one_of_the_first(trials: &AtomicU8) -> bool {
    // Most calls end here, and write nothing that other threads have to hear of.
    trials.load(Ordering::Relaxed) > 0
        && trials.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::registry::tests::def;

    #[test]
    fn the_first_of_each_role_are_read_back_and_as_many_again_after_one_that_was_refused() {
        let def = def("trial", &[], "here");
        let tried = |role, answer: Result<(), ()>| {
            let mut tried = 0;
            let answered = ReadBack::First.check(&def, role, || {
                tried += 1;
                answer
            });
            (tried, answered)
        };
        for role in [Role::Input, Role::Output, Role::Item, Role::Checkpoint] {
            for _ in 1..FIRST {
                assert_eq!(tried(role, Ok(())), (1, Ok(())));
            }
            assert_eq!(tried(role, Err(())), (1, Err(())), "the eighth");
            for _ in 0..FIRST {
                assert_eq!(tried(role, Ok(())), (1, Ok(())), "watched anew");
            }
            assert_eq!(tried(role, Err(())), (0, Ok(())), "{role:?} costs nothing any more");
        }
    }

    #[test]
    fn where_all_are_read_back_none_is_left_out() {
        let def = def("trial", &[], "here");
        let mut tried = 0;
        for _ in 0..1000 {
            let read_back = || {
                tried += 1;
                Ok::<(), ()>(())
            };
            ReadBack::All.check(&def, Role::Input, read_back).unwrap();
        }
        assert_eq!(tried, 1000);
    }
}
