#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn join(#[prerequisite] a: u8, #[prerequisites] b: Vec<u8>) {}

fn main() {}
