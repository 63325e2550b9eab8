#![allow(unused_variables)]

use workman_core::worker;

#[worker]
fn open(path: &std::path::Path) {}

fn main() {}
