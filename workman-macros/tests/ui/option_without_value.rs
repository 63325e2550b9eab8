#![allow(unused_variables)]

use workman_core::worker;

#[worker(name)]
fn paint() {}

fn main() {}
