#![allow(unused_variables)]

use workman_core::worker;

#[worker(name = 5)]
fn paint() {}

fn main() {}
