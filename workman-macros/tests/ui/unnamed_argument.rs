#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn ignore(_: u8) {}

fn main() {}
