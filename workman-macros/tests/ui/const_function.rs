#![allow(unused_variables)]

use workman_core::worker;

#[worker]
const fn constant() {}

fn main() {}
