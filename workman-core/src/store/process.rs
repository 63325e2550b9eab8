//! [`HomeProcess`]: which process something belongs to, since a forked child has a copy of everything but the threads.

use super::{StoreError, StoreErrorKind};

/// The process in which something was made that lives by its threads and locks.
///
/// A child that was forked without `exec` has a copy of the memory, and none of the threads: who waits for one of them waits for
/// ever. It also has the parent's open files, so that letting go of a lock there would take it from the parent. So a store and a
/// manager ask first whether they are at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HomeProcess(u32);

impl HomeProcess {
    /// The process that asks.
    #[must_use]
    pub fn current() -> Self {
        HomeProcess(std::process::id())
    }

    /// Whether this is the process that asks.
    #[must_use]
    pub fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Nothing, at home.
    ///
    /// # Errors
    /// [`Lost`](StoreErrorKind::Lost) in a forked child.
    pub fn check(self) -> Result<(), StoreError> {
        if self.is_current() {
            return Ok(());
        }
        let (home, here) = (self.0, std::process::id());
        let message = format!(
            "the store and its manager belong to process {home}, and this is a forked child of it ({here}), which has none of \
             their threads; use them in the parent, or open the store in the child after the parent has closed it"
        );
        Err(StoreError::new(StoreErrorKind::Lost, message))
    }
}

impl Default for HomeProcess {
    /// The process that asks.
    fn default() -> Self {
        Self::current()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_at_home_is_told_whose_it_is_and_that_it_stays_so() {
        let here = HomeProcess::current();
        assert!(here.check().is_ok());
        let elsewhere = HomeProcess(here.0.wrapping_add(1));
        let error = elsewhere.check().unwrap_err();
        assert!(error.is_closed() && error.is_lost() && !error.is_retryable());
        let message = error.to_string();
        for part in [elsewhere.0.to_string(), here.0.to_string(), "forked".into()] {
            assert!(message.contains(&part), "{part} is not in {message:?}");
        }
    }
}
