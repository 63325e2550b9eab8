#![allow(unused_variables)]

use workman_core::worker;

#[worker(backoff_fn = |attempt| attempt)]
fn paint() {}

fn main() {}
