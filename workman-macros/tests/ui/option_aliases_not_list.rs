#![allow(unused_variables)]

use workman_core::worker;

#[worker(aliases = "old")]
fn paint() {}

fn main() {}
