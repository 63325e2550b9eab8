#![allow(unused_variables)]

use workman_core::worker;

#[worker(priority = 1, priority = 2)]
fn paint() {}

fn main() {}
