//! [`Looks`]: what readers and the writer tell each other without waiting.

use std::sync::atomic::{AtomicBool, Ordering};

/// What readers and the writer tell each other.
#[derive(Default)]
pub(crate) struct Looks {
    is_behind: AtomicBool,
    is_noted: AtomicBool,
}

impl Looks {
    /// Whether something was answered that a snapshot does not show yet: the writer must be asked to show it.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Something is about to be answered that a snapshot does not show.
    pub(crate) fn fall_behind(&self) {
        self.is_behind.store(true, Ordering::Release);
    }

    /// A snapshot shows everything that was answered.
    pub(crate) fn catch_up(&self) {
        self.is_behind.store(false, Ordering::Release);
    }

    /// Somebody looks.
    pub(crate) fn note(&self) {
        self.is_noted.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has looked since this was asked last.
    pub(crate) fn take_noted(&self) -> bool {
        self.is_noted.load(Ordering::Relaxed) && self.is_noted.swap(false, Ordering::Relaxed)
    }
}
