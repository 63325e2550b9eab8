#![allow(unused_variables)]

use workman_core::worker;

#[worker(concurrency = 0)]
fn paint() {}

fn main() {}
