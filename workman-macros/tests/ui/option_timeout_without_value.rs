#![allow(unused_variables)]

use workman_core::worker;

#[worker(timeout)]
fn paint() {}

fn main() {}
