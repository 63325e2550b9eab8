//! An expansion gives no warning in a crate that forbids and denies what it can.

#![forbid(unsafe_code)]
#![deny(
    warnings,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    unused_results,
    missing_debug_implementations,
    unused_crate_dependencies
)]
#![deny(rust_2018_idioms, let_underscore_drop, single_use_lifetimes, trivial_casts, elided_lifetimes_in_paths)]
#![deny(clippy::all, clippy::pedantic)]
#![allow(unused_crate_dependencies, reason = "the package's other tests use them")]

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use workman_core::{Backoff, Completer, Outcome, WorkContext, WorkError, worker};

/// Nothing to see.
#[worker]
fn unused() {}

/// Settled elsewhere.
#[worker(timeout = Duration::from_secs(1))]
pub fn settled(done: Completer<u8>, n: u8) {
    done.succeed(n);
}

/// Item by item.
#[worker(backoff_fn = seconds)]
pub fn streamed(cx: WorkContext, n: u8) -> impl Stream<Item = Result<u8, WorkError>> {
    futures::stream::once(async move { cx.sleep(Duration::ZERO).await.map(|()| n).map_err(WorkError::from) })
}

fn seconds(failed_attempts: u32) -> Duration {
    Duration::from_secs(failed_attempts.into())
}

/// Everything at once.
///
/// # Errors
/// Never.
#[allow(clippy::too_many_arguments, reason = "it is about the function, not about what the macro adds")]
#[worker(name = "all", backoff = Backoff::linear(Duration::from_secs(1)), max_attempts = 3, on_death = park, priority = 1)]
pub async fn everything(
    cx: &WorkContext,
    path: String,
    mut list: Vec<u8>,
    #[default] _unused: u32,
    #[default = 7] n: u8,
    #[alias("was")] is: bool,
    a: u8,
    b: u8,
    #[state] state: Arc<str>,
    #[prerequisites] parts: Vec<u8>,
) -> Result<Outcome<String>, WorkError> {
    list.push(n + a + b);
    list.extend(parts);
    cx.sleep(Duration::ZERO).await?;
    Ok(Outcome::Success(format!("{path}{list:?}{is}{state}")))
}

/// One after the other for each key.
#[worker(concurrency = 2 + 2, limit_key = "{of}/{{{_unused}}}")]
pub fn keyed(of: String, #[default] _unused: u8) {
    drop(of);
}

/// Gives and takes nothing.
#[worker]
pub async fn quiet(cx: &WorkContext) {
    let _stopped = cx.until_stopped().await;
}

/// Was a good worker once.
#[deprecated]
#[must_use]
#[worker]
pub fn old(n: u8) -> u8 {
    n
}

#[cfg(any())]
#[worker]
fn configured_away_above() -> Missing {}

#[worker]
#[cfg(any())]
fn configured_away_below() -> Missing {}

mod inner {
    use workman_core::worker;

    #[worker]
    pub(super) fn visible(n: u8) -> u8 {
        n
    }

    #[worker]
    pub(in crate::inner) fn less_visible(n: u8) -> u8 {
        n
    }
}

#[test]
fn this_file_compiles() {
    let _request = inner::visible::request(1);
}
