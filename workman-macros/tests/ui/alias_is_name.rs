#![allow(unused_variables)]

use workman_core::worker;

#[worker(aliases = ["paint"])]
fn paint() {}

fn main() {}
