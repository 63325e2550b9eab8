#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn resize(size: u8, #[alias("size")] width: u8) {}

fn main() {}
