#![allow(unused_variables)]

use workman_core::worker;

#[worker(retry = never, max_attempts = 4)]
fn paint() {}

fn main() {}
