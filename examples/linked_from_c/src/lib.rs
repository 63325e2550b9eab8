//! Workers in a static library, called from C: `main.c` beside this. So are they in an app for iOS (Swift) or Android (Kotlin).
//!
//! ```text
//! .ci/platforms static        # builds both, links them and runs the program
//! ```
//! What to watch: a linker takes from a static library what somebody names, and nobody names a worker. In a program in Rust
//! `use app_workers as _;` would be enough; here a manager that is not told its workers has none, and warns.

use std::error::Error;
use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;

use app_workers as _;
use futures::executor::block_on;
use workman_core::WorkManager;
use workman_redb::RedbStore;

/// Writes warnings and errors to standard error, as an app writes them to the log of its system.
struct Log;

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("{}: {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

/// Stores a work, and waits until it has run.
#[cfg(feature = "register")]
fn run(store: &str, text: &str) -> Result<usize, Box<dyn Error>> {
    use app_workers::measure;

    let manager = WorkManager::builder(RedbStore::open(store)?).register::<measure>().start()?;
    let work = block_on(manager.enqueue(measure::request(text.to_owned())))?;
    let length = block_on(work.output())?;
    block_on(manager.shutdown(Duration::from_secs(1)));
    Ok(length)
}

/// Starts without a word about the workers, and stores nothing.
#[cfg(not(feature = "register"))]
fn run(store: &str, _: &str) -> Result<usize, Box<dyn Error>> {
    let manager = WorkManager::builder(RedbStore::open(store)?).start()?;
    block_on(manager.shutdown(Duration::from_secs(1)));
    Ok(0)
}

/// How long `text` is, by a work in this store; -1 if that failed.
///
/// # Safety
/// Both strings end with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn app_measure(store: *const c_char, text: *const c_char) -> c_int {
    let _ = log::set_logger(&Log).map(|()| log::set_max_level(log::LevelFilter::Warn));
    // SAFETY: the caller says so.
    let (store, text) = unsafe { (CStr::from_ptr(store), CStr::from_ptr(text)) };
    match run(&store.to_string_lossy(), &text.to_string_lossy()) {
        Ok(length) => c_int::try_from(length).unwrap_or(c_int::MAX),
        Err(error) => {
            eprintln!("ERROR: {error}");
            -1
        }
    }
}
