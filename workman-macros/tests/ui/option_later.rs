#![allow(unused_variables)]

use workman_core::worker;

#[worker(concurrency = 5)]
fn paint() {}

fn main() {}
