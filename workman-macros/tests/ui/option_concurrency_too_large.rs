#![allow(unused_variables)]

use workman_core::worker;

#[worker(concurrency = 5_000_000_000)]
fn paint() {}

fn main() {}
