#![allow(unused_variables)]

use workman_core::worker;

#[worker(backoff = 30)]
fn paint() {}

fn main() {}
