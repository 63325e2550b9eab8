#![allow(unused_variables)]

use workman_core::worker;

#[worker(version = 2)]
fn paint() {}

fn main() {}
