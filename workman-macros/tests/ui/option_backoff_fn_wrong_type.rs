#![allow(unused_variables)]

use std::time::Duration;

use workman_core::worker;

fn slower(attempt: u64) -> Duration {
    Duration::from_secs(attempt)
}

#[worker(backoff_fn = slower)]
fn paint() {}

fn main() {}
