#![allow(unused_variables)]

use workman_core::worker;

#[worker(concurrency = "two")]
fn paint() {}

fn main() {}
