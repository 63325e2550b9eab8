#![allow(unused_variables)]

use workman_core::worker;

#[worker(timeout = 5)]
fn paint() {}

fn main() {}
