#![allow(unused_variables)]

use workman_core::worker;

#[worker(name = "a\tb")]
fn paint() {}

fn main() {}
