#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn resize(#[default = "big"] size: u8) {}

fn main() {}
