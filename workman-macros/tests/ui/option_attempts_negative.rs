#![allow(unused_variables)]

use workman_core::worker;

#[worker(max_attempts = -1)]
fn paint() {}

fn main() {}
