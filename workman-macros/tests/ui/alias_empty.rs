#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn resize(#[alias] width: u8) {}

fn main() {}
