#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn sum(numbers: &[u64]) {}

fn main() {}
