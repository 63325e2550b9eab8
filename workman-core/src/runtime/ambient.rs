//! [`Ambient`]: the tokio runtime that surrounds a test, for workers that the test polls by itself.
//!
//! A manager's workers run on tokio, and find it around them. A test driver polls workers on the thread of the test, and gives
//! blocking ones threads of its own: those it has to lead inside of the runtime. A runtime of one thread (`#[tokio::test]` as it is) serves
//! timers and sockets only while nothing runs on that thread, which the driver does all the time. So beside such a runtime there is
//! another one, on a thread of its own, and workers are led into that.

#[cfg(feature = "tokio")]
pub use with_tokio::Ambient;

/// Without the feature `tokio`, nothing surrounds anybody.
#[cfg(not(feature = "tokio"))]
#[derive(Clone, Debug, Default)]
pub struct Ambient(());

#[cfg(not(feature = "tokio"))]
impl Ambient {
    /// What surrounds this call.
    #[must_use]
    pub fn current() -> Self {
        Self::default()
    }

    /// Calls inside of it.
    pub fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        call()
    }
}

#[cfg(feature = "tokio")]
mod with_tokio {
    use std::fmt;
    use std::sync::Arc;
    use std::thread;

    use futures::channel::oneshot;
    use tokio::runtime::{Builder, Handle, RuntimeFlavor};

    /// The tokio runtime that surrounded the call of [`current`](Self::current), if one did.
    #[derive(Clone, Default)]
    pub struct Ambient {
        handle: Option<Handle>,
        /// The runtime beside it, if it is one of a single thread.
        _own: Option<Arc<Own>>,
    }

    /// A runtime that serves timers and sockets on a thread of its own until this is dropped.
    struct Own {
        _end: oneshot::Sender<()>,
    }

    impl Ambient {
        /// What surrounds this call.
        ///
        /// # Panics
        /// If the system gives no thread or no reactor to a test that needs one.
        #[must_use]
        pub fn current() -> Self {
            match Handle::try_current() {
                Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::CurrentThread => Self::beside(),
                Ok(handle) => Ambient { handle: Some(handle), _own: None },
                Err(_) => Ambient::default(),
            }
        }

        fn beside() -> Self {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a test can have a reactor");
            let handle = runtime.handle().clone();
            let (end, ended) = oneshot::channel::<()>();
            let serve = move || {
                // It ends when the other side is dropped.
                let _ = runtime.block_on(ended);
                runtime.shutdown_background();
            };
            let thread = thread::Builder::new().name("workman-test-tokio".into()).spawn(serve);
            thread.expect("a test can start a thread");
            Ambient { handle: Some(handle), _own: Some(Arc::new(Own { _end: end })) }
        }

        /// Calls inside of it.
        pub fn within<T>(&self, call: impl FnOnce() -> T) -> T {
            let _inside = self.handle.as_ref().map(Handle::enter);
            call()
        }
    }

    impl fmt::Debug for Ambient {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Ambient").field("handle", &self.handle).finish_non_exhaustive()
        }
    }
}
