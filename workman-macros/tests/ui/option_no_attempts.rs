#![allow(unused_variables)]

use workman_core::worker;

#[worker(max_attempts = 0)]
fn paint() {}

fn main() {}
