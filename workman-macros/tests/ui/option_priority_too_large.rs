#![allow(unused_variables)]

use workman_core::worker;

#[worker(priority = 1000)]
fn paint() {}

fn main() {}
