#![allow(unused_variables)]

use workman_core::worker;

#[worker]
extern "C" fn foreign() {}

fn main() {}
