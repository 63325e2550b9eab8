#![allow(unused_variables)]

use workman_core::worker;

#[worker]
unsafe fn danger() {}

fn main() {}
