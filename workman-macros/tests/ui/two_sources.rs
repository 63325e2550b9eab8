#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn join(#[prerequisite] #[state] a: u8) {}

fn main() {}
