#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn greet(name: Option<&str>) {}

fn main() {}
