#![allow(unused_variables)]

use workman_core::worker;

#[worker]
struct Mail {}

fn main() {}
