#![allow(unused_variables)]

use workman_core::worker;

#[worker(max_attempts = "five")]
fn paint() {}

fn main() {}
